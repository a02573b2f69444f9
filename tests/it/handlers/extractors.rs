//! Extractors in the signatures of handlers, with and without a layer on the route.

use axum::{Router, body::Body, response::IntoResponse as _, routing::get};
use http::Request;
use serde::Deserialize;
use tower_oauth::{
    AuthError, Claims, ClientToken, InRole, OAuthLayer, Scoped, Token, UserToken,
    testing::{MockIssuer, TestToken, TokenBuilder},
    verify::{BearerMethod, Verdict},
};

use crate::{
    log::Log,
    support::{
        API, Admin, Answer, DEFAULT_CHALLENGE, OrdersRead, get_with, get_with_token, get_without_token, issuer,
        layer_with, valid_token, verifier_from,
    },
};

tower_oauth::roles! {
    Auditor = "auditor";
}

#[derive(Deserialize)]
struct Tenant {
    tenant: String,
    #[serde(default)]
    level: Option<u8>,
}

async fn token(token: Token) -> String {
    token.subject().unwrap_or("no subject").to_owned()
}

async fn optional(token: Option<Token>) -> String {
    token.as_ref().map_or("anonymous", |token| token.subject().unwrap_or("no subject")).to_owned()
}

async fn scoped(token: Scoped<OrdersRead>) -> String {
    token.clone().into_token().subject().unwrap().to_owned()
}

async fn claims(Claims(Tenant { tenant, level }): Claims<Tenant>) -> String {
    format!("{tenant} {level:?}")
}

async fn user(token: UserToken) -> String {
    token.into_token().subject().unwrap().to_owned()
}

async fn optional_user(token: Option<UserToken>) -> String {
    token.as_ref().map_or("no user", |token| token.subject().unwrap()).to_owned()
}

async fn client(token: ClientToken) -> String {
    token.client_id().unwrap_or("unnamed").to_owned()
}

const PATHS: [&str; 7] = ["/token", "/optional", "/scoped", "/claims", "/user", "/optional-user", "/client"];

fn routes() -> Router {
    routes_below("")
}

fn routes_below(prefix: &str) -> Router {
    Router::new()
        .route(&format!("{prefix}/token"), get(token))
        .route(&format!("{prefix}/optional"), get(optional))
        .route(&format!("{prefix}/scoped"), get(scoped))
        .route(&format!("{prefix}/claims"), get(claims))
        .route(&format!("{prefix}/user"), get(user))
        .route(&format!("{prefix}/optional-user"), get(optional_user))
        .route(&format!("{prefix}/client"), get(client))
}

fn layered_routes() -> Router {
    let builder = issuer().verifier_builder(API).accept_without(tower_oauth::verify::OptionalClaim::Subject);
    let verifier = builder.accept_without(tower_oauth::verify::OptionalClaim::ClientId).build().unwrap();
    routes().layer(OAuthLayer::new(verifier))
}

async fn get_signed(path: &str, token: &TokenBuilder) -> Answer {
    get_with_token(&layered_routes(), path, &token.sign()).await
}

#[tokio::test]
async fn required_and_optional_extractors_return_the_token() {
    assert_eq!(get_signed("/token", &valid_token()).await.body, "ada");
    assert_eq!(get_signed("/optional", &valid_token()).await.body, "ada");
    assert_eq!(get_signed("/scoped", &valid_token()).await.body, "ada");
    for path in PATHS {
        let answer = get_without_token(&layered_routes(), path).await;
        assert_eq!((answer.status.as_u16(), answer.challenges()), (401, vec![DEFAULT_CHALLENGE]), "{path}");
        assert!(get_with_token(&layered_routes(), path, "x").await.is_refusal(401, "invalid_token"), "{path}");
    }
}

/// RFC 9068 §2.2.3.1 a (MAY, accepts)
/// Threat C16
#[tokio::test]
async fn deserializes_claims_and_refuses_a_mismatch_with_401() {
    assert_eq!(get_signed("/claims", &valid_token().claim("tenant", "acme")).await.body, "acme None");
    assert_eq!(
        get_signed("/claims", &valid_token().claim("tenant", "acme").claim("level", 3)).await.body,
        "acme Some(3)"
    );
    for mismatch in
        [valid_token(), valid_token().claim("tenant", 5), valid_token().claim("tenant", "acme").claim("level", 256)]
    {
        let answer = get_signed("/claims", &mismatch).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{answer:?}");
        assert!(answer.challenges()[0].contains("lacks a required claim"), "{answer:?}");
    }
}

#[tokio::test]
async fn deserializes_standard_claims_into_the_handlers_type() {
    #[derive(Deserialize)]
    struct Standard {
        sub: String,
        exp: u64,
        aud: serde_json::Value,
    }
    let app = Router::new()
        .route(
            "/",
            get(|Claims(own): Claims<Standard>| async move { format!("{} {} {}", own.sub, own.exp > 0, own.aud) }),
        )
        .layer(layer_with(|server| server));
    assert_eq!(get_with_token(&app, "/", &valid_token().sign()).await.body, format!("ada true \"{API}\""));
}

#[tokio::test]
async fn distinguishes_a_users_token_from_a_clients_own_token() {
    let user_token = valid_token();
    let own = issuer().client_token("batch");
    let without_subject = valid_token().without_claim("sub").client_id("batch");
    let without_client = valid_token().without_claim("client_id");
    let rows = [
        ("user", &user_token, Ok("ada"), "ada", Err("client obtained for itself")),
        ("client", &own, Err("acts for a user"), "no user", Ok("batch")),
        ("no sub", &without_subject, Err("acts for a user"), "no user", Ok("batch")),
        ("no client_id", &without_client, Err("acts for a user"), "no user", Err("client obtained for itself")),
    ];
    for (case, token, as_user, as_optional_user, as_client) in rows {
        for (path, expected) in [("/user", as_user), ("/client", as_client)] {
            let answer = get_signed(path, token).await;
            match expected {
                Ok(body) => assert_eq!((answer.status.as_u16(), &*answer.body), (200, body), "{case} {path}"),
                Err(text) => {
                    assert!(answer.is_refusal(403, "insufficient_scope"), "{case} {path}: {answer:?}");
                    let challenge = answer.challenges()[0];
                    assert!(challenge.contains(text) && !challenge.contains("scope=\""), "{challenge}");
                }
            }
        }
        assert_eq!(get_signed("/optional-user", token).await.body, as_optional_user, "{case}");
    }
}

#[tokio::test]
async fn allow_anonymous_accepts_missing_but_not_invalid_credentials() {
    let app = routes().layer(layer_with(|server| server).allow_anonymous());
    assert_eq!(get_without_token(&app, "/optional").await.body, "anonymous");
    assert_eq!(get_without_token(&app, "/optional-user").await.body, "no user");
    assert_eq!(get_with_token(&app, "/optional", &valid_token().sign()).await.body, "ada");
    for path in ["/token", "/scoped", "/claims", "/user", "/client"] {
        let answer = get_without_token(&app, path).await;
        assert_eq!((answer.status.as_u16(), answer.challenges()), (401, vec![DEFAULT_CHALLENGE]), "{path}");
    }
    for path in PATHS {
        assert!(get_with_token(&app, path, "x").await.is_refusal(401, "invalid_token"), "{path}");
        assert!(get_with(&app, path, "Bearer").await.is_refusal(400, "invalid_request"), "{path}");
        assert!(
            get_with(&app, path, "Basic YWRhOnB3").await.is_refusal(401, ""),
            "another scheme counts as credentials: {path}"
        );
    }
    assert_eq!(get_without_token(&app, "/optional?access_token=x").await.body, "anonymous", "the query is ignored");
}

#[tokio::test]
async fn allow_anonymous_responds_503_if_the_token_cannot_be_checked() {
    let verifier = verifier_from(|_| Verdict::Now(Err(AuthError::unavailable(std::time::Duration::from_secs(1)))));
    let app = routes().layer(OAuthLayer::new(verifier).allow_anonymous());
    assert_eq!(get_with_token(&app, "/optional", "x").await.status, 503);
}

/// Threats P9, W11
#[tokio::test]
async fn a_missing_layer_responds_500_and_logs_the_mistake() {
    // Paths of this test only: the mistake is logged once for each path of the process.
    let app = routes_below("/unlayered");
    for path in PATHS.map(|path| format!("/unlayered{path}")) {
        let log = Log::default();
        let answer = log.capture(get_with_token(&app, &path, &valid_token().sign())).await;
        assert_eq!((answer.status.as_u16(), answer.challenges(), &*answer.body), (500, vec![], ""), "{path}");
        let text = log.text();
        let lines: Vec<_> = text.lines().filter(|line| line.contains("ERROR")).collect();
        let [line] = lines[..] else { panic!("there must be one error line: {text}") };
        assert!(
            line.contains("its route has no OAuthLayer") && line.contains(".layer(OAuthLayer::new(verifier))"),
            "{line}"
        );
    }
    let log = Log::default();
    log.capture(get_with_token(&layered_routes(), "/token", &valid_token().sign())).await;
    assert!(!log.text().contains("ERROR"), "no error with the layer: {}", log.text());
}

/// Threat W13
#[tokio::test]
async fn a_missing_layer_is_logged_where_the_token_is_looked_for() {
    type Rejected<T> = Result<T, AuthError>;
    async fn served<T>(_: T) -> &'static str {
        "served"
    }
    // Paths of this test only: the mistake is logged once for each path of the process.
    let app = Router::new()
        .route("/ignored/token", get(served::<Rejected<Token>>))
        .route("/ignored/scoped", get(served::<Rejected<Scoped<OrdersRead>>>))
        .route("/ignored/role", get(served::<Rejected<InRole<Auditor>>>))
        .route("/ignored/claims", get(served::<Rejected<Claims<Tenant>>>))
        .route("/ignored/user", get(served::<Rejected<UserToken>>))
        .route("/ignored/two", get(async |_: Rejected<Token>, _: Rejected<ClientToken>| "served"))
        .route("/refused/token", get(served::<Option<Token>>))
        .route("/refused/scoped", get(served::<Option<Scoped<OrdersRead>>>))
        .route("/refused/claims", get(served::<Option<Claims<Tenant>>>));
    let ignored =
        ["/ignored/token", "/ignored/scoped", "/ignored/role", "/ignored/claims", "/ignored/user", "/ignored/two"];
    for path in ignored.into_iter().chain(["/refused/token", "/refused/scoped", "/refused/claims"]) {
        let log = Log::default();
        for _ in 0..3 {
            let answer = log.capture(get_without_token(&app, &format!("{path}?a=b"))).await;
            assert_eq!(answer.status, if ignored.contains(&path) { 200 } else { 500 }, "{path}");
        }
        let text = log.text();
        let errors: Vec<_> = text.lines().filter(|line| line.contains("ERROR")).collect();
        let [line] = errors[..] else { panic!("there must be one error line for {path}: {text}") };
        assert!(line.contains("its route has no OAuthLayer") && line.contains(&format!("path={path:?}")), "{line}");
        let debug = text.lines().filter(|line| line.contains("DEBUG") && line.contains("missing_layer")).count();
        assert_eq!(debug, if path == "/ignored/two" { 5 } else { 2 }, "no look is logged twice: {text}");
    }
}

#[tokio::test]
async fn each_of_two_layers_must_accept_the_token() {
    let staff = MockIssuer::new("https://staff.test");
    let inner = Router::new().route("/token", get(token)).layer(OAuthLayer::new(staff.verifier(API)));
    let both = inner.clone().layer(layer_with(|server| server));
    for (app, status_of_staff, status_of_ours) in [(&inner, 200, 401), (&both, 401, 401)] {
        assert_eq!(get_with_token(app, "/token", &staff.token("eve").sign()).await.status, status_of_staff);
        assert_eq!(get_with_token(app, "/token", &valid_token().sign()).await.status, status_of_ours);
    }
}

#[tokio::test]
async fn an_inner_anonymous_layer_removes_the_token_of_the_outer_layer() {
    let inner = routes().layer(layer_with(|server| server).allow_anonymous());
    let app = inner.layer(layer_with(|server| server.accept_header("x-token")));
    let request = Request::get("/optional").header("x-token", valid_token().sign()).body(Body::empty()).unwrap();
    assert_eq!(crate::support::send(&app, request).await.body, "anonymous");
}

#[tokio::test]
async fn an_anonymous_layer_does_not_weaken_a_second_layer() {
    let app = routes().layer(layer_with(|server| server)).layer(layer_with(|server| server).allow_anonymous());
    assert_eq!(get_without_token(&app, "/optional").await.challenges(), [DEFAULT_CHALLENGE]);
    let reversed = routes().layer(layer_with(|server| server).allow_anonymous()).layer(layer_with(|server| server));
    assert_eq!(get_without_token(&reversed, "/optional").await.challenges(), [DEFAULT_CHALLENGE]);
}

#[tokio::test]
async fn the_outer_layer_keeps_the_challenge_of_the_inner_layer() {
    let inner = routes().layer(layer_with(|server| server.realm("inner")));
    let app = inner.layer(layer_with(|server| server.realm("outer")));
    let answer = get_with_token(&app, "/scoped", &valid_token().scope("").sign()).await;
    assert!(answer.is_refusal(403, "insufficient_scope") && answer.challenges()[0].contains("\"inner\""), "{answer:?}");
}

#[tokio::test]
async fn a_refusal_without_an_oauth_layer_has_a_complete_challenge() {
    let app = Router::new()
        .route("/", get(|token: Token| async move { token.require::<Admin>().map(drop) }))
        .layer(TestToken::user("ada").into_layer());
    let answer = get_without_token(&app, "/").await;
    assert!(
        answer.is_refusal(403, "insufficient_scope") && answer.header("cache-control") == Some("no-store"),
        "{answer:?}"
    );
    assert!(answer.challenges()[0].ends_with(r#"scope="admin""#));
    assert_eq!(AuthError::invalid_token().into_response().status(), 401);
}

#[tokio::test]
async fn handlers_accept_an_injected_test_token_without_the_layer() {
    let user = TestToken::user("ada").scope("orders:read").claim("tenant", "acme");
    let app = routes().layer(user.into_layer());
    for (path, body) in
        [("/token", "ada"), ("/optional", "ada"), ("/scoped", "ada"), ("/claims", "acme None"), ("/user", "ada")]
    {
        assert_eq!(get_without_token(&app, path).await.body, body, "{path}");
    }
    assert_eq!(get_without_token(&app, "/client").await.status, 403);
    let batch = routes().layer(TestToken::client("batch").into_layer());
    assert_eq!(get_without_token(&batch, "/client").await.body, "batch");
    assert_eq!(get_without_token(&batch, "/user").await.status, 403);

    let mut request = Request::get("/token").body(Body::empty()).unwrap();
    TestToken::user("eve").insert_into(&mut request);
    assert_eq!(crate::support::send(&routes(), request).await.body, "eve");
}

#[tokio::test]
async fn a_custom_verifier_gets_the_token_bearer_method_and_request() {
    let verifier = verifier_from(|presented| {
        if presented.token() != "correct-horse" || presented.bearer_method() != BearerMethod::Header {
            return Verdict::Now(Err(AuthError::invalid_token()));
        }
        let claims = serde_json::json!({"sub": presented.parts().uri.path(), "scope": "orders:read"});
        Verdict::Now(presented.permit().token(&claims))
    });
    let server = tower_oauth::ResourceServer::builder(verifier).accept_header("x-token").build().unwrap();
    let app = routes().layer(OAuthLayer::from_server(server));
    let request = Request::get("/scoped").header("x-token", "correct-horse").body(Body::empty()).unwrap();
    assert_eq!(crate::support::send(&app, request).await.body, "/scoped");
    assert!(get_with_token(&app, "/scoped", "correct-horse").await.is_refusal(401, "invalid_token"));

    let wrong_type = verifier_from(|presented| Verdict::Now(presented.permit().token(&serde_json::json!({"sub": 5}))));
    let app = routes().layer(OAuthLayer::new(wrong_type));
    assert!(get_with_token(&app, "/token", "x").await.is_refusal(401, "invalid_token"), "claims of a wrong type");
}
