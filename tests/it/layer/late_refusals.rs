//! Refusals that a handler records inside of a protocol of its own, and that replace its response.

use std::{convert::Infallible, net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::stream;
use http::{Extensions, HeaderMap, Request, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tower::{Layer as _, Service as _, ServiceBuilder, ServiceExt as _, service_fn};
use tower_oauth::{
    AnyOf, AuthError, ClientToken, InRole, OAuthLayer, Token, UserToken,
    error::AuthErrorKind,
    layer::{ProblemJson, TokenSlot, late_refusals::LateRefusals},
    scope::RequiredScopes,
    server::ResourceServerBuilder,
    step_up::StepUp,
    testing::{MockIssuer, TestToken},
};

use crate::{
    log::Log,
    support::{
        API, Admin, Answer, DEFAULT_CHALLENGE, OrdersRead, OrdersWrite, get_with_token, get_without_token, issuer,
        layer_with, send, serve, valid_token, write_raw,
    },
};

tower_oauth::roles! {
    Auditor = "auditor";
}

/// Responds 200, whatever it finds, as a service of JSON-RPC does.
async fn responds_200<S: RequiredScopes>(extensions: Extensions) -> String {
    match LateRefusals::of(&extensions).require::<S>() {
        Ok(token) => token.subject().unwrap_or("no subject").to_owned(),
        Err(error) => format!("refused: {}", error.description()),
    }
}

fn routes() -> Router {
    Router::new()
        .route("/read", get(responds_200::<OrdersRead>))
        .route("/admin", get(responds_200::<(OrdersRead, Admin)>))
}

fn late() -> Router {
    routes().layer(layer_with(|server| server).late_refusals())
}

/// Checks for 403 with these scopes in the challenge.
#[track_caller]
fn lacks(answer: &Answer, scopes: &str) {
    assert!(answer.is_refusal(403, "insufficient_scope"), "{answer:?}");
    assert!(answer.challenges()[0].contains(&format!("scope=\"{scopes}\"")), "{answer:?}");
}

async fn post_json(app: &Router, path: &str, token: &str, body: &Value) -> Answer {
    let request = Request::post(path).header("authorization", format!("Bearer {token}"));
    send(app, request.header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()).await
}

/// MCP 8 (derived, accepts)
/// Threat W4
#[tokio::test]
async fn a_recorded_refusal_replaces_a_response_with_200() {
    let token = valid_token().sign();
    assert_eq!(get_with_token(&late(), "/read", &token).await.body, "ada");
    lacks(&get_with_token(&late(), "/admin", &token).await, "orders:read admin");
    assert!(get_with_token(&late(), "/read", "x").await.is_refusal(401, "invalid_token"));
    let answer = get_without_token(&late(), "/read").await;
    assert_eq!((answer.status.as_u16(), answer.challenges()), (401, vec![DEFAULT_CHALLENGE]));
}

/// MCP 7 (SHOULD, accepts)
#[tokio::test]
async fn a_late_refusal_is_rendered_like_that_of_an_extractor() {
    let app = |late: bool| {
        let layer = layer_with(|server| server.realm("orders")).render(ProblemJson::new());
        let routes = Router::new()
            .route("/late", get(responds_200::<Admin>))
            .route("/extractor", get(|_: tower_oauth::Scoped<Admin>| async { "" }));
        if late { routes.layer(layer.late_refusals()) } else { routes.layer(layer) }
    };
    let token = valid_token().sign();
    let log = Log::default();
    let late = log.capture(get_with_token(&app(true), "/late", &token)).await;
    let extractor = get_with_token(&app(false), "/extractor", &token).await;
    assert_eq!((late.status, &late.headers, &late.body), (extractor.status, &extractor.headers, &extractor.body));
    assert_eq!(late.header("content-type"), Some("application/problem+json"));
    let text = log.text();
    let refusals = text.lines().filter(|line| line.contains("a request was refused")).count();
    assert_eq!(refusals, 1, "{text}");
}

#[tokio::test]
async fn the_error_is_in_the_extensions_of_the_response_and_the_token_in_the_slot() {
    let slot = TokenSlot::new();
    let mut request = Request::get("/admin").body(Body::empty()).unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", valid_token().sign()).parse().unwrap());
    request.extensions_mut().insert(slot.clone());
    let response = late().oneshot(request).await.unwrap();
    assert_eq!(response.extensions().get::<AuthError>().unwrap().kind(), AuthErrorKind::InsufficientScope);
    assert_eq!(slot.token().unwrap().subject(), Some("ada"));
}

/// MCP 8 (derived, refuses)
#[tokio::test]
async fn a_call_of_json_rpc_without_the_scope_is_403_and_other_calls_are_not_changed() {
    async fn rpc(extensions: Extensions, Json(call): Json<Value>) -> Json<Value> {
        let refusals = LateRefusals::of(&extensions);
        let checked = match call["method"].as_str() {
            Some("list") => refusals.require::<OrdersRead>().map(drop),
            Some("wipe") => refusals.require::<(OrdersRead, AnyOf<(OrdersWrite, Admin)>)>().map(drop),
            _ => {
                let error = json!({"code": -32601, "message": "Method not found"});
                return Json(json!({"jsonrpc": "2.0", "id": call["id"], "error": error}));
            }
        };
        Json(match checked {
            Ok(()) => json!({"jsonrpc": "2.0", "id": call["id"], "result": "done"}),
            Err(error) => {
                json!({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32600, "message": error.description()}})
            }
        })
    }
    let app = Router::new().route("/rpc", post(rpc)).layer(layer_with(|server| server).late_refusals());
    let token = valid_token().sign();
    let call = |method: &str| json!({"jsonrpc": "2.0", "id": 7, "method": method});
    let listed = post_json(&app, "/rpc", &token, &call("list")).await;
    assert_eq!((listed.status.as_u16(), &*listed.body), (200, r#"{"id":7,"jsonrpc":"2.0","result":"done"}"#));
    let unknown = post_json(&app, "/rpc", &token, &call("nothing")).await;
    assert_eq!(unknown.status, 200, "an error of the protocol is no refusal");
    assert!(unknown.body.contains("-32601"), "{unknown:?}");
    let wiped = post_json(&app, "/rpc", &token, &call("wipe")).await;
    assert!(wiped.is_refusal(403, "insufficient_scope"), "{wiped:?}");
}

/// Threat W4
#[tokio::test]
async fn one_refused_field_of_graphql_refuses_the_whole_response_and_the_first_refusal_stands() {
    async fn graphql(extensions: Extensions, Json(fields): Json<Vec<String>>) -> Json<Value> {
        let refusals = LateRefusals::of(&extensions);
        let resolve = |field: &String| match &**field {
            "orders" => refusals.require::<OrdersRead>().map(drop),
            "books" => refusals.require_role::<Auditor>().map(drop),
            "write" => refusals.require::<OrdersWrite>().map(drop),
            _ => refusals.require::<Admin>().map(drop),
        };
        let data: Vec<_> = fields.iter().map(|field| resolve(field).err().map(|error| error.description())).collect();
        Json(json!({"data": data}))
    }
    let app = Router::new().route("/graphql", post(graphql)).layer(layer_with(|server| server).late_refusals());
    let token = valid_token().sign();
    let query = async |fields: &[&str]| post_json(&app, "/graphql", &token, &json!(fields)).await;
    assert_eq!(query(&["orders", "orders"]).await.body, r#"{"data":[null,null]}"#);
    lacks(&query(&["orders", "write", "wipe", "orders"]).await, "orders:write");
    lacks(&query(&["wipe", "write"]).await, "admin");
    let role = query(&["books", "write"]).await;
    assert!(role.is_refusal(403, "insufficient_scope") && !role.challenges()[0].contains("scope="), "{role:?}");
}

#[tokio::test]
async fn checks_for_roles_users_clients_step_up_and_rules_of_the_application() {
    async fn checked(extensions: Extensions, uri: http::Uri) -> String {
        let refusals = LateRefusals::of(&extensions);
        let recent = StepUp::builder().acr("urn:example:mfa").max_age(Duration::from_secs(300)).build().unwrap();
        let checked = match uri.path() {
            "/role" => refusals.require_role::<Auditor>().map(InRole::into_token),
            "/user" => refusals.check(|token| UserToken::try_from(token.clone())).map(UserToken::into_token),
            "/client" => refusals.check(|token| ClientToken::try_from(token.clone())).map(ClientToken::into_token),
            "/step-up" => refusals.check(|token| recent.check(token).map(|()| token.clone())),
            "/claims" => refusals.check(|token| token.claims::<Tenant>().map(|_| token.clone())),
            _ => refusals.check(|_| Err(AuthError::forbidden("This order belongs to another tenant"))),
        };
        checked.map_or_else(|error| format!("refused: {error}"), |token| format!("{:?}", token.subject()))
    }
    #[derive(serde::Deserialize)]
    struct Tenant {
        #[expect(dead_code, reason = "only its presence counts")]
        tenant: String,
    }
    let app = Router::new().fallback(checked).layer(layer_with(|server| server).late_refusals());
    let (user, client) = (valid_token().sign(), issuer().client_token("batch").sign());
    let refused = async |path: &str, token: &str, status: u16, text: &str| {
        let answer = get_with_token(&app, path, token).await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.body.is_empty(), "{path}: {answer:?}");
        assert!(answer.challenges().concat().contains(text), "{path}: {answer:?}");
    };
    refused("/role", &user, 403, "error_description=\"The subject does not have the required role\"").await;
    refused("/user", &client, 403, "a token that acts for a user").await;
    refused("/client", &user, 403, "a token that a client obtained for itself").await;
    refused("/step-up", &user, 401, "acr_values=\"urn:example:mfa\", max_age=\"300\"").await;
    refused("/claims", &user, 401, "lacks a required claim").await;
    refused("/tenant", &user, 403, "").await;
    assert!(get_with_token(&app, "/tenant", &user).await.challenges().is_empty(), "no scope would help");
    let auditor = valid_token().claim("roles", vec!["auditor"]).claim("tenant", "acme").sign();
    for (path, token, subject) in [
        ("/role", &auditor, "ada"),
        ("/user", &user, "ada"),
        ("/client", &client, "batch"),
        ("/claims", &auditor, "ada"),
    ] {
        let answer = get_with_token(&app, path, token).await;
        assert_eq!((answer.status.as_u16(), answer.body), (200, format!("Some({subject:?})")), "{path}");
    }
}

#[test]
fn evidence_of_a_user_or_a_client_can_be_made_of_a_token() {
    let (user, client) = (TestToken::user("ada").build(), TestToken::client("batch").build());
    assert_eq!(UserToken::try_from(user.clone()).unwrap().subject(), Some("ada"));
    assert_eq!(ClientToken::try_from(client.clone()).unwrap().subject(), Some("batch"));
    assert_eq!(UserToken::try_from(client).unwrap_err().reason(), "not_acting_for_user");
    assert_eq!(ClientToken::try_from(user).unwrap_err().reason(), "not_acting_for_client");
}

/// Threat W8
#[tokio::test]
async fn of_the_replaced_response_only_headers_remain_that_are_not_about_its_content() {
    const KEPT: [&str; 5] = ["access-control-allow-origin", "mcp-session-id", "set-cookie", "vary", "x-request-id"];
    const REMOVED: [&str; 22] = [
        "accept-ranges",
        "age",
        "connection",
        "content-digest",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-range",
        "content-type",
        "etag",
        "expires",
        "grpc-status",
        "last-modified",
        "location",
        "repr-digest",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-protocol",
        "trailer",
        "upgrade",
    ];
    async fn handler(extensions: Extensions) -> Response {
        let _ = LateRefusals::of(&extensions).require::<Admin>();
        let mut response = Response::new(Body::from("0123456789"));
        *response.status_mut() = StatusCode::CREATED;
        for name in KEPT.into_iter().chain(REMOVED) {
            response.headers_mut().insert(name, "10".parse().unwrap());
        }
        response.headers_mut().append("set-cookie", "b=2".parse().unwrap());
        response.headers_mut().insert(header::CACHE_CONTROL, "public, max-age=60".parse().unwrap());
        response.headers_mut().insert(header::WWW_AUTHENTICATE, "Basic".parse().unwrap());
        response
    }
    let app = Router::new().route("/", get(handler)).layer(layer_with(|server| server).late_refusals());
    let answer = get_with_token(&app, "/", &valid_token().sign()).await;
    lacks(&answer, "admin");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "a cache must not store the refusal");
    assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
    assert!(KEPT.iter().all(|name| answer.headers.contains_key(*name)), "{answer:?}");
    let left: Vec<_> = REMOVED.iter().filter(|name| answer.headers.contains_key(**name)).collect();
    // axum adds the length of the empty body.
    assert!(left.is_empty() || left == [&"content-length"] && answer.header("content-length") == Some("0"), "{left:?}");
}

/// Threat W4
#[tokio::test]
async fn a_refusal_replaces_an_error_response_too_and_an_error_of_the_service_stays() {
    async fn fails(extensions: Extensions) -> Response {
        let _ = LateRefusals::of(&extensions).require::<Admin>();
        (StatusCode::INTERNAL_SERVER_ERROR, "broken").into_response()
    }
    async fn refuses_twice(extensions: Extensions) -> AuthError {
        let _ = LateRefusals::of(&extensions).require::<Admin>();
        AuthError::invalid_token()
    }
    let app = Router::new().route("/fails", get(fails)).route("/twice", get(refuses_twice));
    let app = app.layer(layer_with(|server| server).late_refusals());
    let token = valid_token().sign();
    lacks(&get_with_token(&app, "/fails", &token).await, "admin");
    lacks(&get_with_token(&app, "/twice", &token).await, "admin");
    let failing = service_fn(async |request: Request<()>| {
        let _ = LateRefusals::of(request.extensions()).require::<Admin>();
        Err::<Response<String>, _>("the connection is lost")
    });
    let service = layer_with(|server| server).late_refusals().layer(failing);
    let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
    assert_eq!(service.oneshot(request).await.unwrap_err(), "the connection is lost");
}

/// Threat W5
#[tokio::test]
async fn a_handle_in_a_spawned_task_records_for_its_own_request() {
    async fn spawns(extensions: Extensions) -> &'static str {
        let refusals = LateRefusals::of(&extensions);
        let clone = refusals.clone();
        tokio::spawn(async move { clone.require::<OrdersWrite>().is_err() }).await.unwrap();
        let _ = refusals.require::<Admin>();
        "done"
    }
    let app = Router::new().route("/", get(spawns)).layer(layer_with(|server| server).late_refusals());
    lacks(&get_with_token(&app, "/", &valid_token().sign()).await, "orders:write");
    let writer = issuer().token("bob").scope("orders:write admin").sign();
    assert_eq!(get_with_token(&app, "/", &writer).await.body, "done");
}

/// Threat W5
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_requests_never_share_a_refusal() {
    let app = routes().layer(layer_with(|server| server).late_refusals());
    let (reader, admin) = (valid_token().sign(), issuer().token("eve").scope("orders:read admin").sign());
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..200 {
        let (app, token) = (app.clone(), if number % 2 == 0 { reader.clone() } else { admin.clone() });
        requests.spawn(async move { (number % 2, get_with_token(&app, "/admin", &token).await.status.as_u16()) });
    }
    let statuses = requests.join_all().await;
    assert!(statuses.iter().all(|(odd, status)| *status == if *odd == 0 { 403 } else { 200 }), "{statuses:?}");
}

// --- the head has left ---

/// `/stream` sends its head, checks when the test says so, and sends what the check returned.
fn streams(layer: OAuthLayer, mut checks: mpsc::UnboundedReceiver<oneshot::Sender<String>>) -> Router {
    let (sender, mut waiting) = mpsc::unbounded_channel::<(LateRefusals, mpsc::UnboundedSender<String>)>();
    tokio::spawn(async move {
        while let Some((refusals, output)) = waiting.recv().await {
            let Some(report) = checks.recv().await else { return };
            let texts: Vec<_> = [refusals.require::<Admin>().map(drop), refusals.require::<OrdersWrite>().map(drop)]
                .into_iter()
                .map(|checked| checked.map_or_else(|error| error.reason(), |()| "granted"))
                .collect();
            let text = texts.join(" ");
            output.send(text.clone()).unwrap();
            let _ = report.send(text);
        }
    });
    let handler = async move |extensions: Extensions| {
        let (output, chunks) = mpsc::unbounded_channel::<String>();
        sender.send((LateRefusals::of(&extensions), output)).unwrap();
        Body::from_stream(stream::unfold(chunks, async |mut chunks| {
            chunks.recv().await.map(|chunk| (Ok::<_, Infallible>(chunk), chunks))
        }))
    };
    Router::new().route("/stream", get(handler)).layer(layer.late_refusals())
}

/// Threat W7
#[tokio::test]
async fn a_refusal_after_the_head_has_left_refuses_the_operation_and_is_logged_once() {
    let log = Log::default();
    let _guard = log.install();
    let (check, checks) = mpsc::unbounded_channel();
    let app = streams(layer_with(|server| server), checks);
    for _ in 0..2 {
        let request = Request::get("/stream").header("authorization", format!("Bearer {}", valid_token().sign()));
        let response = app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(response.status(), 200, "the head left before the check");
        let before = log.text().lines().filter(|line| line.contains("after the head of the response had left")).count();
        let (report, reported) = oneshot::channel();
        check.send(report).unwrap();
        assert_eq!(reported.await.unwrap(), "scope scope", "both operations are refused");
        let text = log.text();
        let lines: Vec<_> =
            text.lines().filter(|line| line.contains("after the head of the response had left")).collect();
        assert_eq!(lines.len(), before + 1, "one line for the request: {text}");
        let line = lines.last().unwrap();
        assert!(line.contains("kind=\"insufficient_scope\" reason=\"scope\""), "{line}");
        assert!(!text.contains("a request was refused"), "{text}");
    }
}

#[tokio::test]
async fn a_second_refusal_after_the_first_was_returned_is_no_late_one() {
    let log = Log::default();
    let _guard = log.install();
    let (sender, mut recorded) = mpsc::unbounded_channel();
    let handler = async move |extensions: Extensions| {
        let refusals = LateRefusals::of(&extensions);
        let _ = refusals.require::<Admin>();
        sender.send(refusals).unwrap();
    };
    let app = Router::new().route("/", get(handler)).layer(layer_with(|server| server).late_refusals());
    lacks(&get_with_token(&app, "/", &valid_token().sign()).await, "admin");
    assert!(recorded.recv().await.unwrap().require::<OrdersWrite>().is_err());
    assert!(!log.text().contains("after the head of the response had left"), "{}", log.text());
}

/// Threat W8
#[tokio::test]
async fn a_stream_that_checks_before_its_first_message_is_refused_over_a_socket() {
    async fn stream(extensions: Extensions) -> Body {
        let checked = LateRefusals::of(&extensions).require::<Admin>().map_or("refused\n", |_| "granted\n");
        Body::from_stream(stream::iter([Ok::<_, Infallible>(checked), Ok("more\n")]))
    }
    let app = Router::new().route("/", get(stream)).layer(layer_with(|server| server).late_refusals());
    let address: SocketAddr = serve(app).await;
    let request = |token: &str| {
        format!("GET / HTTP/1.1\r\nhost: api.test\r\nauthorization: Bearer {token}\r\nconnection: close\r\n\r\n")
    };
    let refused = write_raw(address, request(&valid_token().sign())).await;
    assert!(refused.starts_with("HTTP/1.1 403 ") && refused.contains("scope=\"admin\""), "{refused}");
    assert!(!refused.contains("more") && !refused.contains("transfer-encoding"), "{refused}");
    let granted = write_raw(address, request(&issuer().token("eve").scope("admin").sign())).await;
    assert!(granted.starts_with("HTTP/1.1 200 ") && granted.contains("granted\n"), "{granted}");
}

// --- with other settings of the layer ---

#[tokio::test]
async fn an_anonymous_request_is_refused_as_one_without_credentials() {
    let layer = layer_with(|server| server).allow_anonymous().late_refusals();
    let app = routes().route("/open", get(async || "open")).layer(layer);
    assert_eq!(get_without_token(&app, "/open").await.body, "open");
    let answer = get_without_token(&app, "/read").await;
    assert_eq!((answer.status.as_u16(), answer.challenges()), (401, vec![DEFAULT_CHALLENGE]));
    assert_eq!(get_with_token(&app, "/read", &valid_token().sign()).await.body, "ada");
    lacks(&get_with_token(&app, "/admin", &valid_token().sign()).await, "orders:read admin");
}

#[tokio::test]
async fn of_nested_layers_the_innermost_records_and_renders() {
    let token = valid_token().sign();
    let inner = routes().layer(layer_with(|server| server.realm("inner")).late_refusals());
    let both = inner.layer(layer_with(|server| server.realm("outer")).late_refusals());
    let answer = get_with_token(&both, "/admin", &token).await;
    assert!(answer.is_refusal(403, "insufficient_scope"), "{answer:?}");
    assert!(answer.challenges()[0].starts_with("Bearer realm=\"inner\""), "{answer:?}");
    assert_eq!(get_with_token(&both, "/read", &token).await.body, "ada");
    // Only the outer one records: the token is that of the inner layer, the challenge that of the outer one.
    let inner = routes().layer(layer_with(|server| server.realm("inner").accept_header("x-inner")).allow_anonymous());
    let outer = inner.layer(layer_with(|server| server.realm("outer")).late_refusals());
    let answer = get_with_token(&outer, "/admin", &token).await;
    assert!(answer.challenges()[0].starts_with("Bearer realm=\"outer\""), "{answer:?}");
    lacks(&answer, "orders:read admin");
    let staff = MockIssuer::new("https://staff.test");
    let inner = routes().layer(OAuthLayer::from_server(
        tower_oauth::ResourceServer::builder(staff.verifier(API)).accept_header("x-staff").build().unwrap(),
    ));
    let app = inner.layer(layer_with(|server| server).late_refusals());
    assert_eq!(get_with_token(&app, "/read", &token).await.status, 401, "the inner layer does not know the issuer");
}

#[tokio::test]
async fn a_grpc_request_gets_the_status_of_grpc() {
    let service = service_fn(async |request: Request<Full<Bytes>>| {
        let checked = LateRefusals::of(request.extensions()).require::<Admin>();
        let mut response = Response::new(Full::<Bytes>::default());
        response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
        response.headers_mut().insert("grpc-status", if checked.is_ok() { "0" } else { "2" }.parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let mut service =
        ServiceBuilder::new().layer(layer_with(ResourceServerBuilder::grpc_status).late_refusals()).service(service);
    for (scope, code, message) in
        [("orders:read", "7", Some("The access token does not grant the required scope")), ("admin", "0", None)]
    {
        let mut request = Request::post("/orders.Orders/Wipe").version(http::Version::HTTP_2);
        request = request.header("content-type", "application/grpc");
        let token = issuer().token("ada").scope(scope).sign();
        let request = request.header("authorization", format!("Bearer {token}")).body(Full::default()).unwrap();
        let response = service.ready().await.unwrap().call(request).await.unwrap();
        let header =
            |headers: &HeaderMap, name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(response.status(), 200);
        assert_eq!(header(response.headers(), "grpc-status").as_deref(), Some(code));
        assert_eq!(header(response.headers(), "grpc-message").as_deref(), message);
    }
}

// --- a missing layer ---

/// Threat W9
#[tokio::test]
async fn without_the_layer_every_check_refuses_and_the_mistake_is_logged_with_its_place() {
    async fn checks(extensions: Extensions) -> String {
        let refusals = LateRefusals::of(&extensions);
        let scope = refusals.require::<OrdersRead>().map(drop).unwrap_err();
        let any = refusals.check(|_: &Token| Ok(())).unwrap_err();
        format!("{} {}", scope.reason(), any.reason())
    }
    let routes = || Router::new().route("/", get(checks));
    let log = Log::default();
    for (case, app) in [
        ("no layer at all", routes()),
        ("an OAuthLayer alone", routes().layer(layer_with(|server| server))),
        ("a token of a test", routes().layer(TestToken::user("ada").into_layer())),
    ] {
        let answer = log.capture(get_with_token(&app, "/", &valid_token().sign())).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "missing_layer missing_layer"), "{case}");
    }
    let text = log.text();
    let errors: Vec<_> = text.lines().filter(|line| line.contains("ERROR")).collect();
    let [line] = errors[..] else { panic!("there must be one error line: {text}") };
    assert!(
        line.contains("use `OAuthLayer::late_refusals()`") && line.contains(&format!("caller={}:", file!())),
        "{line}"
    );
    assert_eq!(
        text.lines().filter(|line| line.contains("DEBUG") && line.contains("missing_layer")).count(),
        2,
        "{text}"
    );
}

/// Threat W9
#[tokio::test]
async fn handlers_take_the_handle_as_an_extractor() {
    async fn checks(refusals: LateRefusals) -> String {
        refusals.require::<Admin>().map_or_else(|error| error.to_string(), |_| "granted".to_owned())
    }
    let routes = |path: &str| Router::new().route(path, get(checks));
    let token = valid_token().sign();
    let app = routes("/").layer(layer_with(|server| server).allow_anonymous().late_refusals());
    lacks(&get_with_token(&app, "/", &token).await, "admin");
    assert_eq!(get_with_token(&app, "/", &issuer().token("eve").scope("admin").sign()).await.body, "granted");
    assert!(get_without_token(&app, "/").await.is_refusal(401, ""), "the check refuses, not the extractor");
    let log = Log::default();
    for (path, app) in [
        ("/no-layer-of-late-refusals", routes("/no-layer-of-late-refusals")),
        ("/without-late-refusals", routes("/without-late-refusals").layer(layer_with(|server| server))),
    ] {
        for _ in 0..2 {
            assert_eq!(log.capture(get_with_token(&app, path, &token)).await.status, 500, "{path}");
        }
        let text = log.text();
        let lines = text.lines().filter(|line| line.contains("ERROR") && line.contains(&format!("path={path:?}")));
        assert_eq!(lines.filter(|line| line.contains("use `OAuthLayer::late_refusals()`")).count(), 1, "{text}");
    }
}

#[test]
fn debug_of_a_handle_shows_nothing_of_the_token() {
    let mut request = Request::new(());
    TestToken::user("subject-4711").insert_into(&mut request);
    assert_eq!(format!("{:?}", LateRefusals::of(request.extensions())), "LateRefusals { .. }");
}
