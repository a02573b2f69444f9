//! Nothing of a token, a secret or a claim gets out: not into `Debug`, an answer, or a log line at TRACE level.

use std::{
    error::Error,
    fmt::{Debug, Display},
    io,
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
use tracing::instrument::WithSubscriber as _;
use tracing_subscriber::fmt::{MakeWriter, format::FmtSpan};

use crate::support::{
    API, Admin, ISSUER, OrdersRead, get_with_headers, get_with_token, issuer, layer_with, router, valid_token,
    verifier_from,
};

/// All that is logged, at every level.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// Runs the future with this as its log.
    pub(crate) async fn capture<F: Future>(&self, future: F) -> F::Output {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::FULL)
            .with_ansi(false)
            .with_writer(self.clone())
            .finish();
        future.with_subscriber(subscriber).await
    }
}

impl<'l> MakeWriter<'l> for Log {
    type Writer = Self;

    fn make_writer(&'l self) -> Self {
        self.clone()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the tokens here say, and must not be heard anywhere else.
const SUBJECT: &str = "subject-4711-of-nobodys-business";
const TENANT: &str = "tenant-acme-the-secret-customer";

fn telling() -> TokenBuilder {
    let token = issuer().token(SUBJECT).claim("tenant", TENANT).claim("jti", format!("jti-{SUBJECT}"));
    token.scope("orders:read scope-only-the-token-names").client_id("client-nobody-should-read")
}

/// Doesn't fit: the tenant is text. serde's own message would quote it.
#[derive(serde::Deserialize)]
struct Misfit {
    #[serde(rename = "tenant")]
    _tenant: u8,
}

/// Every piece of a token that is long enough to be of use, and its claims' values.
fn pieces(token: &str) -> Vec<&str> {
    const LENGTH: usize = 24;
    let windows = (0..token.len().saturating_sub(LENGTH - 1)).step_by(4);
    let pieces = windows.filter_map(|start| token.get(start..start + LENGTH));
    pieces.chain([SUBJECT, TENANT, "scope-only-the-token-names", "client-nobody-should-read"]).collect()
}

#[track_caller]
fn assert_keeps(secret: &str, text: &str, what: &str) {
    for piece in pieces(secret) {
        assert!(!text.contains(piece), "{what} lets {piece:?} out: {text}");
    }
}

#[test]
fn a_leak_would_be_found() {
    let token = telling().sign();
    let (start, end) = (token.len() / 3, token.len() / 3 + 28);
    for leak in [format!("bad token {token}!"), format!("...{}...", &token[start..end]), format!("sub={SUBJECT}")] {
        assert!(pieces(&token).iter().any(|piece| leak.contains(piece)), "{leak}");
    }
}

#[tokio::test]
async fn the_log_is_captured_at_every_level() {
    let log = Log::default();
    log.capture(async {
        let _room = tracing::trace_span!("room").entered();
        tracing::trace!("a whisper");
    })
    .await;
    assert!(log.text().contains("TRACE room") && log.text().contains("a whisper"), "{}", log.text());
}

#[tokio::test]
async fn no_answer_and_no_log_line_quotes_a_token_or_its_claims() {
    let misfit = get(|Claims(_): Claims<Misfit>| async { "" });
    let in_handler = get(|token: Token| async move { token.require::<Admin>().map(drop) });
    let rooms = || {
        let step_up = |token: Token| async move { StepUp::builder().acr("urn:mfa").build().unwrap().check(&token) };
        let open = router()
            .route("/misfit", misfit.clone())
            .route("/in-handler", in_handler.clone())
            .route("/step-up", get(step_up));
        open.route("/person", get(|_: UserToken| async { "" })).route("/client", get(|_: ClientToken| async { "" }))
    };
    let apps = [
        rooms()
            .layer(layer_with(|server| server.danger_accept_query().accept_cookie("session").accept_header("x-token"))),
        rooms().layer(layer_with(|server| server).render(ProblemJson::new())),
        rooms().layer(layer_with(|server| server).allow_anonymous()),
        rooms().layer(RequireScopesLayer::all(["b"]).unwrap()).layer(layer_with(|server| server)),
        rooms(),
    ];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let mut tokens = vec![
        telling().sign(),
        telling().claim("exp", now - 100).sign(),
        telling().claim("nbf", now + 100).sign(),
        telling().claim("iss", format!("https://{SUBJECT}.test")).sign(),
        telling().audience(SUBJECT).sign(),
        telling().header("kid", SUBJECT).sign(),
        telling().header("typ", TENANT).sign(),
        telling().claim("scope", serde_json::json!([TENANT, 5])).sign(),
        telling().claim("exp", SUBJECT).sign(),
        format!("{} {}", telling().sign(), telling().sign()),
    ];
    tokens.extend(telling().forgeries().iter().map(|forgery| forgery.token().to_owned()));
    let paths = ["/me", "/orders", "/admin", "/misfit", "/in-handler", "/step-up", "/person", "/client"];
    let mut refused = 0;
    for token in tokens {
        let bearer = format!("Bearer {token}");
        let cookie = format!("session={token}");
        if http::HeaderValue::from_str(&bearer).is_err() {
            continue;
        }
        let ways: [&[(&str, &[u8])]; 4] = [
            &[("authorization", bearer.as_bytes())],
            &[("authorization", bearer.as_bytes()), ("authorization", bearer.as_bytes())],
            &[("cookie", cookie.as_bytes())],
            &[("authorization", bearer.as_bytes()), ("x-token", token.as_bytes())],
        ];
        let genuine = token.contains('.') && refused == 0;
        for (app, headers) in apps.iter().flat_map(|app| ways.iter().map(move |headers| (app, *headers))) {
            // All rooms for the first token, which is good; one is enough for what doesn't get past the door.
            for path in paths.iter().take(if genuine { paths.len() } else { 1 }) {
                let log = Log::default();
                let answer = log.capture(get_with_headers(app, path, headers)).await;
                if answer.status == 200 {
                    continue;
                }
                refused += 1;
                assert_keeps(&token, &format!("{:?} {}", answer.headers, answer.body), "the answer");
                assert_keeps(&token, &log.text(), "the log");
                assert!(!log.text().is_empty() || answer.status == 404, "a refusal is told: {answer:?}");
            }
        }
    }
    assert!(refused > 1_000, "{refused}");
}

#[tokio::test]
async fn handlers_see_the_credentials_marked_as_sensitive() {
    let layer = layer_with(|server| {
        server.accept_cookie("session").accept_header("x-token").accept_authorization_without_scheme()
    });
    let app = Router::new().route("/", get(|request: Request| async move { format!("{request:?}") })).layer(layer);
    let token = telling().sign();
    let bearer = format!("Bearer {token}");
    let cookie = format!("session={token}");
    for header in [("authorization", &bearer), ("authorization", &token), ("cookie", &cookie), ("x-token", &token)] {
        let headers = [(header.0, header.1.as_bytes()), ("x-other", b"shown")];
        let answer = get_with_headers(&app, "/", &headers).await;
        assert!(answer.body.contains("Sensitive") && answer.body.contains("shown"), "{answer:?}");
        assert_keeps(&token, &answer.body, "the request's Debug");
    }
}

#[tokio::test]
async fn the_token_in_a_form_body_is_not_in_the_requests_debug() {
    let app = Router::new()
        .route(
            "/",
            axum::routing::post(|request: Request| async move { format!("{:?} {:?}", request, request.extensions()) }),
        )
        .layer(layer_with(|server| server).accept_form_body(8_192));
    let token = telling().sign();
    let request = http::Request::post("/").header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(Body::from(format!("access_token={token}"))).unwrap();
    let answer = crate::support::send(&app, request).await;
    assert_eq!(answer.status, 200);
    assert_keeps(&token, &answer.body, "the request's Debug");
}

#[tokio::test]
async fn no_public_types_debug_or_display_tells_a_secret() {
    fn both(value: &(impl Debug + Display)) -> String {
        format!("{value} {value:?} {value:#?}")
    }
    fn debug(value: impl Debug) -> String {
        format!("{value:?} {value:#?}")
    }
    let secret = "a-shared-secret-of-more-than-32-bytes, honestly";
    let shared = || SharedSecret::new(HmacAlgorithm::HS256, secret).unwrap();
    let token = telling().sign();
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
    let admitted = server.authenticate(&request.into_parts().0).await.unwrap();
    let misfit = admitted.claims::<Misfit>().err().unwrap();
    let too_little = admitted.require::<Admin>().unwrap_err();
    let request = http::Request::get("/").header("authorization", format!("Bearer {token}x")).body(()).unwrap();
    let forged = server.authenticate(&request.into_parts().0).await.unwrap_err();
    let twisted = telling().claim("aud", serde_json::json!({SUBJECT: TENANT})).sign();
    let request = http::Request::get("/").header("authorization", format!("Bearer {twisted}")).body(()).unwrap();
    let malformed = server.authenticate(&request.into_parts().0).await.unwrap_err();
    let causes = [&misfit, &malformed].map(|error| error.source().map(ToString::to_string));

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
        debug(&admitted),
        debug(admitted.require::<OrdersRead>().unwrap()),
        debug(admitted.scopes()),
        debug(admitted.acts_for()),
        debug(BearerMethod::Authorization),
        [&misfit, &too_little, &forged, &malformed].map(both).concat(),
        debug(causes),
        [&short, &unusable, &no_set, &no_key].map(both).concat(),
        unusable.mistakes().iter().map(both).collect(),
        debug(server.challenge(&too_little)),
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
        assert_keeps(&token, text, "a Debug or Display");
        assert_keeps(&twisted, text, "a Debug or Display");
        assert!(!text.contains(&secret[..16]), "{text}");
        assert!(!text.contains(&format!("{:?}", secret.as_bytes())[1..40]), "the secret's bytes: {text}");
    }
}

#[tokio::test]
async fn evidence_types_show_nothing_of_the_token() {
    let app = Router::new()
        .route("/user", get(|user: UserToken| async move { format!("{user:?}") }))
        .route("/client", get(|client: ClientToken| async move { format!("{client:?}") }))
        .route("/token", get(|token: Option<Token>| async move { format!("{token:?}") }))
        .layer(layer_with(|server| server));
    let (person, own) =
        (telling().sign(), issuer().client_token("client-nobody-should-read").claim("tenant", TENANT).sign());
    for (path, token) in [("/user", person.clone()), ("/client", own), ("/token", person)] {
        let answer = get_with_token(&app, path, &token).await;
        assert!(answer.status == 200 && answer.body.contains("Token"), "{answer:?}");
        assert_keeps(&token, &answer.body, path);
    }
}

#[tokio::test]
async fn a_log_line_cannot_be_forged_by_a_header_of_the_token() {
    let log = Log::default();
    for header in ["kid", "typ", "alg"] {
        let token = valid_token().header(header, "x\r\n2026-01-01 ERROR tower_oauth: forged line").sign();
        let answer = log.capture(get_with_token(&crate::support::app(), "/me", &token)).await;
        assert_eq!(answer.status, 401);
    }
    assert!(log.text().contains("DEBUG") && !log.text().contains("forged line"), "{}", log.text());
}
