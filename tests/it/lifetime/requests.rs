//! Which requests get a lifetime, and what a handler gets without one.

use axum::{Router, body::Body, routing::get};
use http::Request;
use serde_json::json;
use tower_oauth::{
    AuthError, OAuthLayer, ResourceServer, Token,
    error::AuthErrorKind,
    lifetime::TokenLifetime,
    server::ResourceServerBuilder,
    testing::{MockIssuer, TestToken},
    verify::{BearerMethod, Verdict},
};

use super::{Chosen, SECOND, clock, has_ended, reach_the_events, request, server};
use crate::{
    log::Log,
    support::{API, get_with_token, get_without_token, issuer, layer_with, send, valid_token, verifier_from},
};

async fn required(lifetime: TokenLifetime) -> String {
    lifetime.token().subject().unwrap_or_default().to_owned()
}

async fn optional(lifetime: Option<TokenLifetime>) -> &'static str {
    if lifetime.is_some() { "a lifetime" } else { "anonymous" }
}

/// Routes below a path of the test only: a wrong layer is logged once for each path of the process.
fn routes(below: &str) -> Router {
    Router::new().route(&format!("{below}/required"), get(required)).route(&format!("{below}/optional"), get(optional))
}

/// Stream 3 (own, accepts)
#[tokio::test]
async fn handlers_take_a_lifetime_as_an_extractor() {
    let app = routes("").layer(layer_with(|server| server).token_lifetimes().allow_anonymous());
    let token = valid_token().sign();
    assert_eq!(get_with_token(&app, "/required", &token).await.body, "ada");
    assert_eq!(get_with_token(&app, "/optional", &token).await.body, "a lifetime");
    assert_eq!(get_without_token(&app, "/optional").await.body, "anonymous");
    assert!(get_without_token(&app, "/required").await.is_refusal(401, ""));
    // A renderer that is chosen later keeps the setting.
    let app =
        routes("").layer(layer_with(|server| server).token_lifetimes().render(tower_oauth::layer::ProblemJson::new()));
    assert_eq!(get_with_token(&app, "/required", &token).await.body, "ada");
}

/// Stream 3 (own, refuses)
#[tokio::test]
async fn a_layer_without_token_lifetimes_responds_500_and_the_log_says_what_to_call() {
    reach_the_events().await;
    let token = valid_token().sign();
    let layered = routes("/without-lifetimes").layer(layer_with(|server| server));
    let injected = routes("/injected").layer(TestToken::user("ada").into_layer());
    for (app, below) in [(layered, "/without-lifetimes"), (injected, "/injected")] {
        for path in ["required", "optional"] {
            let (log, path) = (Log::default(), format!("{below}/{path}"));
            for _ in 0..3 {
                assert_eq!(log.capture(get_with_token(&app, &path, &token)).await.status, 500);
            }
            let text = log.text();
            let errors: Vec<_> = text.lines().filter(|line| line.contains("ERROR")).collect();
            let [line] = errors[..] else { panic!("there must be one error line for {path}: {text}") };
            assert!(
                line.contains("call `.token_lifetimes()` on the layer") && line.contains(&format!("path={path:?}")),
                "{line}"
            );
            assert!(text.contains("call token_lifetimes() on the OAuthLayer of this route"), "{text}");
        }
    }
    let (app, log) = (routes("/no-layer-of-lifetimes"), Log::default());
    assert_eq!(log.capture(get_with_token(&app, "/no-layer-of-lifetimes/required", &token)).await.status, 500);
    assert!(log.text().contains("its route has no OAuthLayer"), "{}", log.text());
}

/// Stream 3 (own, refuses)
#[tokio::test]
async fn a_lifetime_belongs_to_the_token_of_the_innermost_layer() {
    let staff = MockIssuer::new("https://staff.test");
    let ours = |lifetimes: bool| {
        let layer = layer_with(|server| server);
        if lifetimes { layer.token_lifetimes() } else { layer }
    };
    let theirs = || {
        let server = ResourceServer::builder(staff.verifier(API)).accept_header("x-staff").build().unwrap();
        OAuthLayer::from_server(server).allow_anonymous().token_lifetimes()
    };
    // As a gateway does that has a token of its own: the outer layer accepts one token, the inner one another.
    let gateway = async |mut request: Request<Body>| {
        request.headers_mut().insert("authorization", format!("Bearer {}", valid_token().sign()).parse().unwrap());
        request
    };
    let between = |inner: Router| inner.layer(axum::middleware::map_request(gateway));
    let request =
        || Request::get("/required").header("x-staff", staff.token("eve").sign()).body(Body::empty()).unwrap();
    let inner_with = between(routes("").layer(ours(true))).layer(theirs());
    assert_eq!(send(&inner_with, request()).await.body, "ada");
    let inner_without = between(routes("").layer(ours(false))).layer(theirs());
    assert_eq!(send(&inner_without, request()).await.status, 500, "the lifetime of eve is not that of ada");
    let inner_anonymous = routes("").layer(layer_with(|server| server).allow_anonymous()).layer(theirs());
    assert_eq!(send(&inner_anonymous, request()).await.status, 401, "for the inner layer the request is anonymous");
}

/// Stream 1 (own, accepts)
#[tokio::test]
async fn tokens_of_every_bearer_method_are_checked_again_in_the_same_way() {
    let accept_all =
        |server: ResourceServerBuilder| server.accept_cookie("session").accept_header("x-token").danger_accept_query();
    for (head, method) in [
        (Request::get("/").header("authorization", "Bearer abc"), BearerMethod::Authorization),
        (Request::get("/").header("cookie", "a=b; session=abc"), BearerMethod::Cookie),
        // Only a header that the application chose may have such a token.
        (Request::get("/").header("x-token", "a b c"), BearerMethod::Header),
        (Request::get("/?access_token=abc"), BearerMethod::Query),
    ] {
        let (clock, chosen) = (clock(), Chosen::ada());
        let server = accept_all(ResourceServer::builder(chosen.verifier()).clock(clock.clone())).build().unwrap();
        let lifetime = request(server, head.body(String::new()).unwrap()).await.unwrap().recheck_every(SECOND);
        chosen.choose(Err(AuthError::invalid_token()));
        clock.advance(SECOND);
        lifetime.ended().await;
        let asked = chosen.asked();
        assert_eq!((asked[1].method, &asked[1].token), (method, &asked[0].token));
        let credentials = ["authorization", "cookie", "x-token"];
        assert!(credentials.iter().all(|name| !asked[1].headers.contains_key(*name)), "{method:?}");
    }
}

/// RFC 6749 §10.3 b (MUST, refuses)
#[tokio::test]
async fn a_verifier_that_is_asked_again_sees_no_token_in_subprotocols_and_query() {
    let handshake = |lines: &[&str]| {
        let head = Request::get("/socket?access=1").header("upgrade", "websocket").header("connection", "upgrade");
        lines.iter().fold(head, |head, line| head.header("sec-websocket-protocol", *line))
    };
    let protocol = BearerMethod::WebSocketProtocol;
    for (head, method, uri, offered) in [
        (handshake(&["chat, bearer, secret"]), protocol, "/socket?access=1", &["chat, bearer"][..]),
        (handshake(&["bearer", "secret", "chat"]), protocol, "/socket?access=1", &["bearer, chat"]),
        (handshake(&["bearer.c2VjcmV0"]), protocol, "/socket?access=1", &[]),
        // No handshake: the header has no meaning.
        (Request::get("/?access_token=secret"), BearerMethod::Query, "/", &[]),
        (Request::get("/a?b=%20c&access_token=secret&&d"), BearerMethod::Query, "/a?b=%20c&&d", &[]),
        (Request::get("/?access%5Ftoken=se%63ret&access_tokens=x"), BearerMethod::Query, "/?access_tokens=x", &[]),
        (Request::get("https://api.test/a?access_token=secret"), BearerMethod::Query, "https://api.test/a", &[]),
        (Request::get("/?b=c").header("authorization", "Bearer secret"), BearerMethod::Authorization, "/?b=c", &[]),
    ] {
        let (clock, chosen) = (clock(), Chosen::ada());
        let server = ResourceServer::builder(chosen.verifier()).clock(clock.clone()).danger_accept_query();
        let server = server.accept_websocket_protocol("bearer").build().unwrap();
        let lifetime = request(server, head.body(String::new()).unwrap()).await.unwrap().recheck_every(SECOND);
        chosen.choose(Err(AuthError::invalid_token()));
        clock.advance(SECOND);
        lifetime.ended().await;
        let [_, again] = &chosen.asked()[..] else { panic!("asked twice") };
        assert_eq!((again.method, &*again.token, again.uri.to_string()), (method, "secret", uri.to_owned()));
        assert_eq!(again.headers.get_all("sec-websocket-protocol").iter().collect::<Vec<_>>(), offered, "{uri}");
        let seen = format!("{:?} {:?}", again.uri, again.headers);
        assert!(!seen.contains("secret") && !seen.contains("c2VjcmV0"), "{seen}");
    }
}

/// RFC 9068 §2.2 c (MUST, accepts)
#[tokio::test]
async fn a_token_from_a_form_has_a_lifetime() {
    let form = |app: &Router| {
        let request = Request::post("/").header("content-type", "application/x-www-form-urlencoded");
        let request = request.body(Body::from(format!("access_token={}", valid_token().sign()))).unwrap();
        let app = app.clone();
        async move { send(&app, request).await }
    };
    let app = Router::new().route("/", axum::routing::post(required));
    let app = app.layer(layer_with(|server| server).token_lifetimes().accept_form_body(10_000));
    assert_eq!(form(&app).await.body, "ada");
}

/// RFC 6749 §10.3 b (MUST, refuses)
#[tokio::test]
async fn debug_and_the_log_show_no_token() {
    let log = Log::default();
    let (clock, secret) = (clock(), "a-very-secret-token");
    let verifier = verifier_from(|presented| Verdict::Now(presented.permit().token(&json!({"sub": "ada"}))));
    let lifetime = super::lifetime(server(verifier, &clock), secret).await.recheck_every(SECOND);
    log.capture(async {
        lifetime.renew("another-secret-token").await.unwrap();
        lifetime.renew("another secret token").await.unwrap_err();
        clock.advance(SECOND);
        assert!(!has_ended(&lifetime));
    })
    .await;
    let text = format!("{lifetime:?} {lifetime:#?} {:?} {:?} {}", lifetime.ended(), lifetime.token(), log.text());
    assert!(!text.contains("secret"), "{text}");
}

/// Stream 3 (own, refuses)
#[tokio::test]
async fn an_anonymous_request_has_no_lifetime() {
    let error = request(server(issuer().verifier(API), &clock()), Request::new(String::new())).await.unwrap_err();
    assert_eq!(error.kind(), AuthErrorKind::MissingCredentials);
    assert_eq!(TokenLifetime::of(&http::Extensions::new()).unwrap_err().kind(), AuthErrorKind::MissingLayer);
    let mut extensions = http::Extensions::new();
    extensions.insert::<Token>(TestToken::user("ada").build());
    assert_eq!(TokenLifetime::of(&extensions).unwrap_err().kind(), AuthErrorKind::MissingLayer);
}
