//! Inputs from public bug reports of other products, each with the right response: tokens, key sets, metadata and introspection
//! responses. `reports/*.json` has them.
//!
//! Every case goes through the real layer. A case says in `must` which status is right, and what the log must name.

use std::{
    fmt::Write as _,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use axum::{Json, Router, body::Body, extract::State, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, Uri};
use serde_json::{Value, json};
use tower_oauth::{
    ConfigError, IntrospectionVerifier, Issuer, JwtVerifier, OAuthLayer, Preset, ResourceServer, Token,
    fetch::{Fetch, FetchError, FetchFuture, HttpClient},
    keys::KeySet,
    step_up::StepUp,
    testing::ManualClock,
    verify::{ClientAuthentication, JwtVerifierBuilder, OptionalClaim, Verdict, Verify},
};

use crate::{
    log::Log,
    support::{Answer, get_with_headers, get_with_token, serve, verifier_from},
};

/// 2026-11-28. The tokens of the cases are valid from 2023 to 2100.
const NOW: u64 = 1_795_824_000;
const ISSUER: &str = "https://issuer.example";
const SECOND: Duration = Duration::from_secs(1);

/// What the log or the configuration error must contain: of each group, one text at least. Upper and lower case are equal.
fn required_words(id: &str) -> &'static [&'static [&'static str]] {
    match id {
        "jwks-gzip-regardless" => &[&["content-encoding"], &["gzip"]],
        "bom-before-the-key-set" => &[&["byte order mark"]],
        "metadata-forbidden-everywhere" => &[&["403"]],
        "certificates-instead-of-keys" => &[&["certificate"]],
        "token-of-the-same-issuer-with-a-slash" => &[
            &["another issuer", "wrong_issuer"],
            &["https://issuer.example/\"", "https://issuer.example/\\\""],
            &["slash"],
        ],
        "active-as-a-string" => &[&["active in the response is not a boolean"]],
        "sub-is-a-number" => &[&["the claim sub is not a string"]],
        "five-keys-token-without-kid" => &[&["not all", "only 4", "only the first"]],
        "jwk-private-control" => &[&["private"]],
        "pem-is-a-certificate" => &[&["certificate"], &["openssl", "public key"]],
        "pem-bare-base64" => &[&["BEGIN"]],
        "pem-with-literal-backslash-n" => &[&["\\n"]],
        _ => &[],
    }
}

fn names_required(id: &str, text: &str) -> Result<(), String> {
    let text = text.to_lowercase();
    let missing = |group: &&&[&str]| !group.iter().any(|word| text.contains(&word.to_lowercase()));
    match required_words(id).iter().find(missing) {
        Some(group) => Err(format!("none of {group:?} in {text}")),
        None => Ok(()),
    }
}

type Outcome = Result<(), String>;

/// Runs the cases of a file. Its number of cases is given, so that none is lost.
async fn run<F: Future<Output = Outcome>>(file: &str, count: usize, case: impl Fn(Value) -> F) {
    let cases: Vec<Value> = serde_json::from_str(file).unwrap();
    assert_eq!(cases.len(), count);
    let mut wrong = String::new();
    for value in cases {
        let id = value["id"].as_str().unwrap().to_owned();
        if let Err(why) = case(value).await {
            writeln!(wrong, "{id}: {why}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

const HTTP: &str = include_str!("reports/http.json");
const INTROSPECTION: &str = include_str!("reports/introspection.json");
const ISSUERS: &str = include_str!("reports/issuers.json");
const JWT: &str = include_str!("reports/jwt.json");
const PEM: &str = include_str!("reports/pem.json");
const ROTATION: &str = include_str!("reports/rotation.json");

#[tokio::test]
async fn tokens_from_reports_get_the_right_response() {
    run(JWT, 18, jwt).await;
}

#[tokio::test]
async fn issuers_from_reports_get_the_right_response() {
    run(ISSUERS, 3, jwt).await;
}

#[tokio::test]
async fn pem_keys_from_reports_get_the_right_response() {
    run(PEM, 4, jwt).await;
}

#[tokio::test]
async fn responses_of_issuers_from_reports_get_the_right_response() {
    run(HTTP, 7, fetched).await;
}

#[tokio::test]
async fn rotated_keys_from_reports_are_found() {
    run(ROTATION, 2, rotated).await;
}

#[tokio::test]
async fn introspection_responses_from_reports_get_the_right_response() {
    run(INTROSPECTION, 10, introspected).await;
}

fn clock() -> ManualClock {
    ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW))
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

fn texts<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v str> {
    value[name].as_array().into_iter().flatten().map(|text| text.as_str().unwrap())
}

/// An API that responds with the token's scopes. `/recent` requires that the user authenticated within the last century.
fn app(server: ResourceServer) -> Router {
    let recent = StepUp::builder().max_age(Duration::from_secs(100 * 365 * 86_400)).clock(clock()).build().unwrap();
    Router::new()
        .route("/", get(async |token: Token| Json(token.scopes().iter().map(str::to_owned).collect::<Vec<_>>())))
        .route("/recent", get(async move |token: Token| recent.check(&token).map(|()| "recent")))
        .layer(OAuthLayer::from_server(server))
}

/// Compares a response and a log with `must`, which may have a second choice in `or`.
fn compare(case: &Value, answer: &Answer, log: &Log) -> Outcome {
    let (id, must) = (text(case, "id"), &case["must"]);
    let status = json!(answer.status.as_u16());
    let is = |expected: &Value| *expected == status || expected.as_array().is_some_and(|list| list.contains(&status));
    if id == "five-keys-token-without-kid" {
        // The bound of four candidate keys stays. The reason says so.
        return if status == 401 { names_required(id, &log.text()) } else { Err(format!("{status}")) };
    }
    if is(&must["status"]) {
        if must["scopes"].is_array() && must["scopes"] != serde_json::from_str::<Value>(&answer.body).unwrap() {
            return Err(format!("the scopes are {}", answer.body));
        }
        return if must["log"].is_null() { Ok(()) } else { names_required(id, &log.text()) };
    }
    if is(&must["or"]["status"]) {
        return names_required(id, &log.text());
    }
    Err(format!("{status} in place of {must}; log: {}", log.text()))
}

/// A case whose keys are given: `jwks` or `pem`.
async fn jwt(case: Value) -> Outcome {
    let (id, must) = (text(&case, "id"), &case["must"]);
    let verifier = match verifier(&case) {
        Ok(builder) => builder,
        Err(error) => {
            let expected = !must["config_error"].is_null() || !must["or"]["config_error"].is_null();
            return if expected { names_required(id, &error.to_string()) } else { Err(error.to_string()) };
        }
    };
    if must["status"].is_null() {
        return Err("the configuration is accepted".to_owned());
    }
    let verifier = verifier.clock(clock());
    if id == "alb-oidc-data-padded" {
        return padded_header(&case, verifier.build().unwrap()).await;
    }
    let log = Log::default();
    let app = app(ResourceServer::new(verifier.build().unwrap()));
    let _guard = log.install();
    let token = text(&case, "token");
    compare(&case, &get_with_token(&app, "/", token).await, &log)?;
    if case["fault"] == "F7" {
        // A date that is not a number is no proof of a recent authentication.
        let recent = if case["claims"]["auth_time"].is_number() { 200 } else { 401 };
        let status = get_with_token(&app, "/recent", token).await.status;
        if status != recent {
            return Err(format!("the step-up rule responds {status}"));
        }
    }
    if let Some(expected) = must["with_the_named_relaxation"].as_u64() {
        let relaxed = self::verifier(&case).unwrap().clock(clock()).danger_accept_missing_audience();
        let app = self::app(ResourceServer::new(relaxed.build().unwrap()));
        let status = get_with_token(&app, "/", token).await.status;
        if u64::from(status.as_u16()) != expected {
            return Err(format!("{status} with the relaxation"));
        }
    }
    Ok(())
}

fn verifier(case: &Value) -> Result<JwtVerifierBuilder, ConfigError> {
    let setup = &case["setup"];
    let keys = match case["pem"].as_str() {
        Some(pem) => KeySet::from_pem(pem)?,
        None => KeySet::from_json(case["jwks"].to_string())?,
    };
    let mut builder = JwtVerifier::builder(Issuer::from_keys(text(setup, "issuer"), keys)?, text(setup, "audience"));
    if setup["plain_type"] == true {
        builder = builder.accept_plain_jwt_type();
    }
    if setup["preset"] == "EntraId" {
        builder = builder.preset(Preset::EntraId);
    }
    for name in texts(setup, "without") {
        builder = builder.accept_without(match name {
            "sub" => OptionalClaim::Subject,
            "client_id" => OptionalClaim::ClientId,
            "jti" => OptionalClaim::JwtId,
            other => panic!("{other}"),
        });
    }
    builder = texts(setup, "client_from").fold(builder, JwtVerifierBuilder::client_claim);
    Ok(texts(setup, "scopes_from").fold(builder, JwtVerifierBuilder::scope_claim))
}

/// A JWT whose parts are padded, in a header that the server accepts. A verifier of the application gets it as it is.
async fn padded_header(case: &Value, verifier: JwtVerifier) -> Outcome {
    let (token, claims) = (text(case, "token").to_owned(), case["claims"].clone());
    let own = |token: String, claims: Value| {
        verifier_from(move |presented| {
            assert_eq!(presented.token(), token);
            Verdict::Now(presented.permit().token(&claims))
        })
    };
    let with_header = |verifier: Arc<dyn Verify>| {
        app(ResourceServer::builder(verifier).accept_header("x-amzn-oidc-data").build().unwrap())
    };
    let expected: [(Arc<dyn Verify>, u16); 2] =
        [(Arc::new(own(token.clone(), claims)), 200), (Arc::new(verifier), 401)];
    for (verifier, status) in expected {
        let answer = get_with_headers(&with_header(verifier), "/", &[("x-amzn-oidc-data", token.as_bytes())]).await;
        if answer.status != status {
            return Err(format!("{} in place of {status}", answer.status));
        }
    }
    Ok(())
}

/// Returns the first answer for this URL that the request doesn't avoid by a header. `None` if the server never answers.
fn matching(answers: &[Value], request: &Request<Bytes>) -> Option<Response<Bytes>> {
    let avoided = |answer: &Value| {
        let headers = answer["unless_request_has"].as_object();
        headers.is_some_and(|headers| {
            headers
                .iter()
                .any(|(name, value)| request.headers().get(name).is_some_and(|has| *value == has.to_str().unwrap()))
        })
    };
    let answer = answers.iter().find(|answer| answer["url"] == request.uri().to_string() && !avoided(answer));
    let Some(answer) = answer else {
        return Some(Response::builder().status(404).body(Bytes::new()).unwrap());
    };
    answer["status"].is_u64().then(|| response(answer))
}

/// Returns the response with `status`, `headers` and `body` or `body_base64`.
fn response(answer: &Value) -> Response<Bytes> {
    let mut response = Response::builder().status(u16::try_from(answer["status"].as_u64().unwrap()).unwrap());
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        response = response.header(name, value.as_str().unwrap());
    }
    let body = match (&answer["body_base64"], &answer["body"]) {
        (Value::String(encoded), _) => STANDARD.decode(encoded).unwrap(),
        (_, Value::String(text)) => text.clone().into_bytes(),
        (_, json) => json.to_string().into_bytes(),
    };
    response.body(body.into()).unwrap()
}

/// Fetches by a function.
struct FetchBy<F>(F);

impl<F: Fn(Request<Bytes>) -> Option<Response<Bytes>> + Send + Sync + 'static> Fetch for FetchBy<F> {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        let response = (self.0)(request);
        FetchFuture::new(async move {
            match response {
                Some(response) => Ok(response),
                None => pending::<Result<_, FetchError>>().await,
            }
        })
    }
}

/// Sends each request to a server on the loopback address, with the crate's own HTTP client.
struct Loopback {
    client: HttpClient,
    authority: String,
}

impl Loopback {
    async fn start(answers: Vec<Value>) -> Self {
        async fn respond(State(answers): State<Arc<Vec<Value>>>, request: Request<Body>) -> Response<Body> {
            let (mut parts, _) = request.into_parts();
            parts.uri = format!("{ISSUER}{}", parts.uri.path()).parse().unwrap();
            match matching(&answers, &Request::from_parts(parts, Bytes::new())) {
                Some(response) => response.map(Body::from),
                None => pending().await,
            }
        }
        let address = serve(Router::new().fallback(respond).with_state(Arc::new(answers))).await;
        Self { client: HttpClient::new().unwrap(), authority: address.to_string() }
    }
}

impl Fetch for Loopback {
    fn fetch(&self, mut request: Request<Bytes>) -> FetchFuture {
        let uri = Uri::builder().scheme("http").authority(&*self.authority).path_and_query(request.uri().path());
        *request.uri_mut() = uri.build().unwrap();
        self.client.fetch(request)
    }
}

/// A case whose keys and metadata are fetched.
async fn fetched(case: Value) -> Outcome {
    let answers = case["answers"].as_array().unwrap().clone();
    let (clock, builder) = (clock(), Issuer::builder(text(&case, "issuer")));
    let builder = if text(&case, "id").starts_with("jwks-gzip") {
        builder.fetch(Loopback::start(answers).await)
    } else {
        builder.fetch(FetchBy(move |request| matching(&answers, &request)))
    };
    let issuer = builder.clock(clock.clone()).build().unwrap();
    let verifier = JwtVerifier::builder(issuer, text(&case, "audience")).clock(clock.clone()).build().unwrap();
    let app = app(ResourceServer::new(verifier));
    let log = Log::default();
    let _guard = log.install();
    // A client repeats a request that got 503, for as long as the case allows.
    let mut seconds = case["must"]["within_s"].as_u64().unwrap_or(0);
    loop {
        let answer = within(&clock, &mut seconds, get_with_token(&app, "/", text(&case, "token"))).await?;
        if seconds == 0 || answer.status == 200 {
            return compare(&case, &answer, &log);
        }
    }
}

/// Waits for a response. Each second that it takes on the clock is subtracted from `seconds`, and so is a second afterwards.
async fn within(
    clock: &ManualClock,
    seconds: &mut u64,
    request: impl Future<Output = Answer>,
) -> Result<Answer, String> {
    if *seconds == 0 {
        return Ok(request.await);
    }
    let mut request = std::pin::pin!(request);
    while *seconds > 0 {
        tokio::select! {
            biased;
            answer = &mut request => {
                clock.advance(SECOND);
                *seconds -= 1;
                return Ok(answer);
            }
            () = idle() => {}
        }
        clock.advance(SECOND);
        *seconds -= 1;
    }
    Err("no response in time".to_owned())
}

/// Lets every other task run until it waits. Nothing here waits for anything but the clock.
async fn idle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// A case in which the issuer's key changes.
async fn rotated(case: Value) -> Outcome {
    let published = Arc::new(Mutex::new(case["before"]["jwks"].clone()));
    let looks = Arc::new(AtomicUsize::new(0));
    let (current, counted) = (Arc::clone(&published), Arc::clone(&looks));
    let fetch = FetchBy(move |request: Request<Bytes>| {
        let body = if request.uri().path() == "/jwks" {
            counted.fetch_add(1, Ordering::SeqCst);
            current.lock().unwrap().clone()
        } else {
            json!({"issuer": ISSUER, "jwks_uri": format!("{ISSUER}/jwks")})
        };
        Some(response(&json!({"status": 200, "headers": {"content-type": "application/json"}, "body": body})))
    });
    let clock = clock();
    let issuer = Issuer::builder(text(&case, "issuer")).fetch(fetch).clock(clock.clone()).build().unwrap();
    let verifier = JwtVerifier::builder(issuer, text(&case, "audience")).clock(clock.clone()).build().unwrap();
    let app = app(ResourceServer::new(verifier));
    let expect = async |token: &str, expected: &Value, what: &str| {
        let status = get_with_token(&app, "/", token).await.status.as_u16();
        if *expected == json!(status) { Ok(()) } else { Err(format!("{what}: {status} in place of {expected}")) }
    };
    let (before, after) = (text(&case["before"], "token"), text(&case["after"], "token"));
    expect(before, &case["must"]["before"], "before").await?;
    // The pause that follows a refresh.
    clock.advance(31 * SECOND);
    *published.lock().unwrap() = case["after"]["jwks"].clone();
    let seen = looks.load(Ordering::SeqCst);
    expect(after, &case["must"]["after"], "after").await?;
    let forged = format!("{}AAAA", &after[..after.len() - 4]);
    for _ in 0..100 {
        expect(&forged, &json!(401), "forged").await?;
    }
    match looks.load(Ordering::SeqCst) - seen {
        1 => Ok(()),
        more => Err(format!("{more} looks at the key set")),
    }
}

/// A verifier that introspects tokens. `answer` gets the form of the request.
fn introspecting(answer: impl Fn(&str) -> Value + Send + Sync + 'static, breaker: bool) -> Router {
    let fetch = FetchBy(move |request: Request<Bytes>| {
        assert_eq!(request.uri(), "https://issuer.example/introspect");
        Some(response(&answer(str::from_utf8(request.body()).unwrap())))
    });
    let issuer = Issuer::builder(ISSUER).clock(clock()).build().unwrap();
    let client = ClientAuthentication::secret_basic("api", "correct horse battery staple");
    let builder = IntrospectionVerifier::builder(issuer, client, "https://api.example.test")
        .endpoint("https://issuer.example/introspect")
        .fetch(fetch)
        .clock(clock());
    let builder = if breaker { builder.circuit_breaker() } else { builder };
    app(ResourceServer::new(builder.build().unwrap()))
}

/// A case with one introspection response, or with a script for one verifier.
async fn introspected(case: Value) -> Outcome {
    if case["script"].is_array() {
        return scripted(&case).await;
    }
    let answer = case["answer"].clone();
    let app = introspecting(move |_| answer.clone(), false);
    let log = Log::default();
    let _guard = log.install();
    compare(&case, &get_with_token(&app, "/", "opaque").await, &log)
}

/// Sends the requests of the script, once for each response to a bad token. The last request decides.
async fn scripted(case: &Value) -> Outcome {
    for bad in case["answer_to_bad"].as_array().unwrap() {
        let (good, answer) = (case["answer_to_good"].clone(), bad.clone());
        let answer = move |form: &str| if form.contains("token=good") { good.clone() } else { answer.clone() };
        let app = introspecting(answer, case["setup"]["circuit_breaker"] == true);
        let mut last = 0;
        for (number, token) in texts(case, "script").enumerate() {
            let token = if token == "good" { token.to_owned() } else { format!("{token}-{number}") };
            last = get_with_token(&app, "/", &token).await.status.as_u16();
        }
        if case["must"]["last"] != last {
            return Err(format!("the last response is {last} after {bad}"));
        }
    }
    Ok(())
}
