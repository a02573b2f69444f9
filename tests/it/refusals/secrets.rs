//! No part of a token, a secret or a claim is in `Debug`, in a response, or in a log line, even at level TRACE.

use std::{
    error::Error,
    fmt::{Debug, Display},
    sync::{Arc, Mutex},
};

use axum::{Router, body::Body, extract::Request, routing::get};
use tower_oauth::{
    AuthError, Claims, ClientToken, JwtVerifier, OAuthLayer, ResourceServer, Token, UserToken,
    keys::{HmacAlgorithm, KeySet, SharedSecret},
    layer::ProblemJson,
    layer::require::RequireScopesLayer,
    scope::Scopes,
    step_up::StepUp,
    testing::{ManualClock, TestToken, TokenBuilder},
    verify::{BearerMethod, Verdict},
};

use crate::{
    log::Log,
    support::{
        API, Admin, ISSUER, OrdersRead, get_with_headers, get_with_token, issuer, layer_with, router, valid_token,
        verifier_from,
    },
};

/// Claims of the tokens in these tests, which must not be anywhere else.
const SUBJECT: &str = "subject-4711-that-is-confidential";
const TENANT: &str = "tenant-acme-the-secret-customer";

fn confidential() -> TokenBuilder {
    let token = issuer().token(SUBJECT).claim("tenant", TENANT).claim("jti", format!("jti-{SUBJECT}"));
    token.scope("orders:read scope-only-the-token-names").client_id("client-that-is-confidential")
}

/// Claims of a wrong type: the tenant is text. serde's own message would quote it.
#[derive(serde::Deserialize)]
struct WrongClaims {
    #[serde(rename = "tenant")]
    _tenant: u8,
}

/// Every piece of a token that would be long enough to matter in a leak, and the values of its claims.
fn pieces(token: &str) -> Vec<&str> {
    const LENGTH: usize = 24;
    let windows = (0..token.len().saturating_sub(LENGTH - 1)).step_by(4);
    let pieces = windows.filter_map(|start| token.get(start..start + LENGTH));
    pieces.chain([SUBJECT, TENANT, "scope-only-the-token-names", "client-that-is-confidential"]).collect()
}

#[track_caller]
fn assert_no_leak(secret: &str, text: &str, what: &str) {
    for piece in pieces(secret) {
        assert!(!text.contains(piece), "{what} contains {piece:?}: {text}");
    }
}

/// RFC 6749 §10.3 a (MUST, accepts)
#[test]
fn the_search_finds_a_leak() {
    let token = confidential().sign();
    let (start, end) = (token.len() / 3, token.len() / 3 + 28);
    for leak in [format!("bad token {token}!"), format!("...{}...", &token[start..end]), format!("sub={SUBJECT}")] {
        assert!(pieces(&token).iter().any(|piece| leak.contains(piece)), "{leak}");
    }
}

/// RFC 6749 §10.3 a (MUST, accepts)
#[tokio::test]
async fn the_log_is_captured_at_every_level() {
    let log = Log::default();
    log.capture(async {
        let _span = tracing::trace_span!("span").entered();
        tracing::trace!("a trace event");
    })
    .await;
    assert!(log.text().contains("TRACE span") && log.text().contains("a trace event"), "{}", log.text());
}

/// RFC 6749 §10.3 a (MUST, refuses)
/// Threat R4
#[tokio::test]
async fn no_response_and_no_log_line_quotes_a_token_or_its_claims() {
    let wrong_claims = get(|Claims(_): Claims<WrongClaims>| async { "" });
    let in_handler = get(|token: Token| async move { token.require::<Admin>().map(drop) });
    let routes = || {
        let step_up = |token: Token| async move { StepUp::builder().acr("urn:mfa").build().unwrap().check(&token) };
        let open = router()
            .route("/wrong-claims", wrong_claims.clone())
            .route("/in-handler", in_handler.clone())
            .route("/step-up", get(step_up));
        open.route("/user", get(|_: UserToken| async { "" })).route("/client", get(|_: ClientToken| async { "" }))
    };
    let apps = [
        routes()
            .layer(layer_with(|server| server.danger_accept_query().accept_cookie("session").accept_header("x-token"))),
        routes().layer(layer_with(|server| server).render(ProblemJson::new())),
        routes().layer(layer_with(|server| server).allow_anonymous()),
        routes().layer(RequireScopesLayer::all(["b"]).unwrap()).layer(layer_with(|server| server)),
        routes(),
    ];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut tokens = vec![
        confidential().sign(),
        confidential().claim("exp", now - 100).sign(),
        confidential().claim("nbf", now + 100).sign(),
        confidential().claim("iss", "https://other.test").sign(),
        confidential().audience("https://other.test").sign(),
        confidential().header("kid", "other").sign(),
        confidential().header("typ", "other").sign(),
        confidential().claim("scope", serde_json::json!([TENANT, 5])).sign(),
        confidential().claim("exp", SUBJECT).sign(),
        format!("{} {}", confidential().sign(), confidential().sign()),
    ];
    tokens.extend(confidential().forgeries().iter().map(|forgery| forgery.token().to_owned()));
    let paths = ["/me", "/orders", "/admin", "/wrong-claims", "/in-handler", "/step-up", "/user", "/client"];
    let mut refused = 0;
    for token in tokens {
        let bearer = format!("Bearer {token}");
        let cookie = format!("session={token}");
        if http::HeaderValue::from_str(&bearer).is_err() {
            continue;
        }
        let methods: [&[(&str, &[u8])]; 4] = [
            &[("authorization", bearer.as_bytes())],
            &[("authorization", bearer.as_bytes()), ("authorization", bearer.as_bytes())],
            &[("cookie", cookie.as_bytes())],
            &[("authorization", bearer.as_bytes()), ("x-token", token.as_bytes())],
        ];
        let genuine = token.contains('.') && refused == 0;
        for (app, headers) in apps.iter().flat_map(|app| methods.iter().map(move |headers| (app, *headers))) {
            // All routes for the first token, which is valid. One route is enough for tokens that the layer refuses.
            for path in paths.iter().take(if genuine { paths.len() } else { 1 }) {
                let log = Log::default();
                let response = log.capture(get_with_headers(app, path, headers)).await;
                if response.status == 200 {
                    continue;
                }
                refused += 1;
                assert_no_leak(&token, &format!("{:?} {}", response.headers, response.body), "the response");
                assert_no_leak(&token, &log.text(), "the log");
                assert!(!log.text().is_empty() || response.status == 404, "every refusal is logged: {response:?}");
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}

/// RFC 6749 §10.3 a (MUST, refuses)
#[tokio::test]
async fn credentials_are_marked_as_sensitive_in_the_handlers_request() {
    let layer = layer_with(|server| {
        server.accept_cookie("session").accept_header("x-token").accept_authorization_without_scheme()
    });
    let app = Router::new().route("/", get(|request: Request| async move { format!("{request:?}") })).layer(layer);
    let token = confidential().sign();
    let bearer = format!("Bearer {token}");
    let cookie = format!("session={token}");
    for header in [("authorization", &bearer), ("authorization", &token), ("cookie", &cookie), ("x-token", &token)] {
        let headers = [(header.0, header.1.as_bytes()), ("x-other", b"shown")];
        let response = get_with_headers(&app, "/", &headers).await;
        assert!(response.body.contains("Sensitive") && response.body.contains("shown"), "{response:?}");
        assert_no_leak(&token, &response.body, "the request's Debug");
    }
}

/// RFC 6749 §10.3 a (MUST, refuses)
#[tokio::test]
async fn a_verifier_that_prints_the_head_shows_no_token() {
    let printed = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&printed);
    let verifier = verifier_from(move |presented| {
        assert!(presented.token().len() > 100, "the verifier still sees the token itself");
        let text = format!("{:?} {:#?}", presented.parts(), presented.parts().extensions);
        seen.lock().unwrap().push_str(&text);
        Verdict::Now(presented.permit().token(&serde_json::json!({"sub": "ada"})))
    });
    let server = ResourceServer::builder(verifier).accept_cookie("session").accept_header("x-token");
    let app = router().layer(OAuthLayer::from_server(server.build().unwrap()).accept_form_body(8_192));
    let token = confidential().sign();
    let (bearer, cookie) = (format!("Bearer {token}"), format!("session={token}"));
    for header in [("authorization", &bearer), ("cookie", &cookie), ("x-token", &token)] {
        let headers = [(header.0, header.1.as_bytes()), ("x-other", b"shown")];
        assert_eq!(get_with_headers(&app, "/me", &headers).await.status, 200);
    }
    let form = http::Request::post("/orders").header("content-type", "application/x-www-form-urlencoded");
    crate::support::send(&app, form.body(Body::from(format!("access_token={token}"))).unwrap()).await;
    let printed = printed.lock().unwrap();
    assert_eq!((printed.matches("x-other").count(), printed.matches("Sensitive").count()), (3, 3), "{printed}");
    assert_no_leak(&token, &printed, "the head");
}

/// RFC 6749 §10.3 a (MUST, refuses)
#[tokio::test]
async fn debug_of_a_request_does_not_show_the_token_of_a_form_body() {
    let app = Router::new()
        .route(
            "/",
            axum::routing::post(|request: Request| async move { format!("{:?} {:?}", request, request.extensions()) }),
        )
        .layer(layer_with(|server| server).accept_form_body(8_192));
    let token = confidential().sign();
    let request = http::Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(Body::from(format!("access_token={token}"))).unwrap();
    let response = crate::support::send(&app, request).await;
    assert_eq!(response.status, 200);
    assert_no_leak(&token, &response.body, "the request's Debug");
}

/// RFC 6749 §10.3 a (MUST, refuses)
#[tokio::test]
async fn debug_and_display_of_public_types_show_no_secret() {
    fn display_and_debug(value: &(impl Debug + Display)) -> String {
        format!("{value} {value:?} {value:#?}")
    }
    fn debug(value: impl Debug) -> String {
        format!("{value:?} {value:#?}")
    }
    let secret = "a-shared-secret-of-more-than-32-bytes, honestly";
    let shared = || SharedSecret::new(HmacAlgorithm::HS256, secret).unwrap();
    let token = confidential().sign();
    let facts = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&facts);
    let verifier = verifier_from(move |presented| {
        let verdict = presented.permit().token(
            &serde_json::json!({"sub": SUBJECT, "tenant": TENANT, "scope": "orders:read scope-only-the-token-names"}),
        );
        seen.lock().unwrap().push_str(&debug((presented, presented.bearer_method(), presented.permit(), &verdict)));
        seen.lock().unwrap().push_str(&debug((
            Verdict::Now(verdict.clone()),
            Verdict::later(async { Err(AuthError::invalid_token()) }),
        )));
        Verdict::Now(verdict)
    });
    let app = router().layer(OAuthLayer::new(verifier));
    assert_eq!(get_with_token(&app, "/orders", &token).await.status, 200);
    assert!(facts.lock().unwrap().contains("PresentedToken"), "the verifier ran");

    let server = ResourceServer::builder(issuer().verifier(API)).accept_cookie("session").build().unwrap();
    let request = http::Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
    let accepted = server.authenticate(&request.into_parts().0).await.unwrap();
    let wrong_claims = accepted.claims::<WrongClaims>().err().unwrap();
    let missing_scope = accepted.require::<Admin>().unwrap_err();
    let request = http::Request::get("/").header("authorization", format!("Bearer {token}x")).body(()).unwrap();
    let forged = server.authenticate(&request.into_parts().0).await.unwrap_err();
    let wrong_audience = confidential().claim("aud", serde_json::json!({SUBJECT: TENANT})).sign();
    let request = http::Request::get("/").header("authorization", format!("Bearer {wrong_audience}")).body(()).unwrap();
    let malformed = server.authenticate(&request.into_parts().0).await.unwrap_err();
    let causes = [&wrong_claims, &malformed].map(|error| error.source().map(ToString::to_string));

    let layer = OAuthLayer::from_server(server.clone());
    let shared_verifier = JwtVerifier::builder_from_secret(ISSUER, shared(), API);
    let short = SharedSecret::new(HmacAlgorithm::HS512, secret).unwrap_err();
    let oct = format!("{{\"keys\":[{{\"kty\":\"oct\",\"k\":\"{secret}\"}},\"{secret}\"]}}");
    let unusable = KeySet::from_json(&oct).unwrap_err();
    let no_set = KeySet::from_json(format!("{{\"keys\":\"{secret}\"}}")).unwrap_err();
    let private = format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----");
    let no_key = KeySet::from_pem(private).unwrap_err();

    let shown = [
        facts.lock().unwrap().clone(),
        debug(&accepted),
        debug(accepted.require::<OrdersRead>().unwrap()),
        debug(accepted.scopes()),
        debug(accepted.acts_for()),
        debug(BearerMethod::Authorization),
        [&wrong_claims, &missing_scope, &forged, &malformed].map(display_and_debug).concat(),
        debug(causes),
        [&short, &unusable, &no_set, &no_key].map(display_and_debug).concat(),
        unusable.mistakes().iter().map(display_and_debug).collect(),
        debug(server.challenge(&missing_scope)),
        debug((&server, &layer, layer.clone().accept_form_body(9))),
        debug((layer.clone().render(ProblemJson::new()), tower::Layer::layer(&layer, router()))),
        debug((shared(), KeySet::from_json(issuer().jwks().to_string()).unwrap(), issuer().issuer())),
        debug((&shared_verifier, issuer().verifier(API), issuer().verifier_builder(API))),
        debug((shared_verifier.build().unwrap(), ResourceServer::builder(issuer().verifier(API)))),
        debug((
            RequireScopesLayer::all(["a"]).unwrap(),
            Scopes::new(["a"]).unwrap(),
            StepUp::builder().build().unwrap(),
        )),
        debug((issuer(), ManualClock::default(), TestToken::user(SUBJECT).build())),
    ];
    for text in &shown {
        assert!(!text.is_empty());
        assert_no_leak(&token, text, "a Debug or Display");
        assert_no_leak(&wrong_audience, text, "a Debug or Display");
        assert!(!text.contains(&secret[..16]), "{text}");
        assert!(!text.contains(&format!("{:?}", secret.as_bytes())[1..40]), "the secret's bytes: {text}");
    }
}

#[tokio::test]
async fn debug_of_evidence_types_shows_nothing_of_the_token() {
    let app = Router::new()
        .route("/user", get(|user: UserToken| async move { format!("{user:?}") }))
        .route("/client", get(|client: ClientToken| async move { format!("{client:?}") }))
        .route("/token", get(|token: Option<Token>| async move { format!("{token:?}") }))
        .layer(layer_with(|server| server));
    let (user, client) =
        (confidential().sign(), issuer().client_token("client-that-is-confidential").claim("tenant", TENANT).sign());
    for (path, token) in [("/user", user.clone()), ("/client", client), ("/token", user)] {
        let response = get_with_token(&app, path, &token).await;
        assert!(response.status == 200 && response.body.contains("Token"), "{response:?}");
        assert_no_leak(&token, &response.body, path);
    }
}

/// RFC 8725 §3.10 a (MUST, refuses)
/// Threats K5, R4
#[tokio::test]
async fn a_token_header_cannot_forge_a_log_line() {
    let log = Log::default();
    for header in ["kid", "typ", "alg"] {
        let token = valid_token().header(header, "x\r\n2026-01-01 ERROR tower_oauth: forged line").sign();
        let response = log.capture(get_with_token(&crate::support::app(), "/me", &token)).await;
        assert_eq!(response.status, 401);
    }
    let text = log.text();
    assert!(text.contains(r"x\\r\\n2026-01-01") || text.contains(r"x\r\n2026-01-01"), "{text}");
    assert!(text.contains("DEBUG") && !text.lines().any(|line| line.starts_with("2026-01-01")), "{text}");
}
