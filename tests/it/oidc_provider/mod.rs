//! A real authorization server: npm's oidc-provider, as `tests/interop` sets it up, in a process of each test's own.
//!
//! It runs where `node` is there and its packages are installed (`npm ci` in `tests/interop`, or in the folder that
//! `OIDC_PROVIDER_DIR` names). Otherwise nothing is proved here, and that is said aloud.

mod introspection;

use std::{
    env,
    io::{self, BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use axum::{body::Body, routing::get};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_oauth::{
    AuthError, ClientToken, Issuer, JwtVerifier, OAuthLayer, ResourceServer, Token, UserToken, acts_for::ActsFor,
    clock::Clock as _, error::AuthErrorKind, fetch::Fetch as _, fetch::HttpClient, testing::ManualClock,
};

use crate::support::router;

const RESOURCES: &str = "https://api.interop.test";
const ALGORITHMS: [&str; 6] = ["rs256", "ps256", "es256", "es384", "eddsa", "ed25519"];
/// Longer than any set is fresh by itself, and than the cool-down between two forced refreshes.
const LATER: Duration = Duration::from_secs(3700);

/// A running oidc-provider, with no state but its key files. It ends with this value.
struct Provider {
    folder: PathBuf,
    identifier: String,
    /// Where it asks for a client's certificate. Absent where there is no `openssl` to make any.
    mtls: Option<String>,
    process: Child,
}

impl Provider {
    fn start() -> Option<Self> {
        let folder = folder()?;
        let (process, identifier, mtls) = spawn(&folder, "0");
        Some(Self { folder, identifier, mtls, process })
    }

    fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// At the same address, with the keys of its files again.
    fn start_again(&mut self) {
        let (_, port) = self.identifier.rsplit_once(':').unwrap();
        let (process, identifier, mtls) = spawn(&self.folder, port);
        assert_eq!(identifier, self.identifier);
        (self.process, self.mtls) = (process, mtls);
    }

    async fn ask(&self, request: Request<Bytes>) -> Value {
        let answer = HttpClient::new().unwrap().fetch(request).await.unwrap();
        assert!(answer.status().is_success(), "{answer:?}");
        serde_json::from_slice(answer.body()).unwrap()
    }

    /// An access token by `client_credentials`.
    async fn token(&self, resource: &str, scope: &str) -> String {
        let resource = format!("{RESOURCES}/{resource}");
        let form = [("grant_type", "client_credentials"), ("resource", &*resource), ("scope", scope)];
        self.ask(self.form("token", &form)).await["access_token"].as_str().unwrap().to_owned()
    }

    /// What the client `cc-basic` sends.
    fn form(&self, path: &str, form: &[(&str, &str)]) -> Request<Bytes> {
        Request::post(format!("{}/{path}", self.identifier))
            .header("authorization", format!("Basic {}", STANDARD.encode("cc-basic:cc-basic-secret")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into())
            .unwrap()
    }

    async fn rotate(&self, mode: &str) {
        let body = json!({"mode": mode, "alg": "ES256"}).to_string();
        self.ask(Request::post(format!("{}/__rotate", self.identifier)).body(body.into()).unwrap()).await;
    }

    /// How often its key set was asked for.
    async fn fetches(&self) -> u64 {
        self.requests("/jwks").await
    }

    async fn requests(&self, path: &str) -> u64 {
        let request = Request::get(format!("{}/__stats", self.identifier)).body(Bytes::new()).unwrap();
        self.ask(request).await[path].as_u64().unwrap_or_default()
    }

    /// The issuer as it is found, and a clock for it.
    async fn discover(&self) -> (Issuer, ManualClock) {
        let clock = ManualClock::default();
        let issuer = Issuer::builder(&self.identifier).clock(clock.clone()).discover().await.unwrap();
        (issuer, clock)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have been stopped before.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Where it can be started. Says so aloud, once, if there is no such place.
fn folder() -> Option<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(find).clone()
}

fn find() -> Option<PathBuf> {
    let named = env::var_os("OIDC_PROVIDER_DIR").map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop"));
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !(node.is_ok_and(|status| status.success()) && folder.join("node_modules/oidc-provider").is_dir()) {
        assert!(named.is_none(), "OIDC_PROVIDER_DIR is set, but there is no node, or no `npm ci` was run there");
        say(
            "\n*** NOT RUN: the tests against oidc-provider: no node, or no `npm ci` in tests/interop (see README.md) ***\n",
        );
        return None;
    }
    let keys = Command::new(folder.join("gen-keys.sh")).stdout(Stdio::null()).status().unwrap();
    assert!(keys.success(), "gen-keys.sh made no keys");
    Some(folder)
}

/// Straight to standard error: what `eprintln!` says in a test that passes is swallowed.
fn say(line: &str) {
    writeln!(io::stderr().lock(), "{line}").unwrap();
}

fn spawn(folder: &Path, port: &str) -> (Child, String, Option<String>) {
    let mut process = Command::new("node");
    if folder.join("keys/certificates").is_dir() {
        process.env("MTLS_PORT", "0");
    }
    let mut process = process
        .arg("oidc-provider.mjs")
        .current_dir(folder)
        .env_remove("ISSUER")
        .env("PORT", port)
        .env("UNTIL_STDIN_ENDS", "1") // if this process should die without dropping anything
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
    let mut mtls = None;
    let identifier = lines.find_map(|line| {
        mtls = mtls.take().or_else(|| line.strip_prefix("mtls ").map(str::to_owned));
        line.strip_prefix("oidc-provider http").map(|rest| format!("http{rest}"))
    });
    (process, identifier.expect("oidc-provider ended; see `node oidc-provider.mjs`"), mtls)
}

fn api(issuer: &Issuer, clock: &ManualClock, resource: &str) -> ResourceServer {
    let builder = JwtVerifier::builder(issuer.clone(), format!("{RESOURCES}/{resource}"));
    ResourceServer::new(builder.clock(clock.clone()).build().unwrap())
}

async fn authenticate(server: &ResourceServer, token: &str) -> Result<Token, AuthError> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
    server.authenticate(&request.into_parts().0).await
}

async fn kind(server: &ResourceServer, token: &str) -> Option<AuthErrorKind> {
    authenticate(server, token).await.err().map(|error| error.kind())
}

/// Lets what is remembered grow older, and no token expire.
fn wait(clock: &ManualClock, time: Duration) {
    let now = clock.now();
    clock.advance(time);
    clock.set(now);
}

#[tokio::test]
async fn finds_the_keys_and_accepts_a_token_of_every_algorithm() {
    let Some(provider) = Provider::start() else { return };
    let issuer = Issuer::discover(&provider.identifier).await.unwrap();
    for algorithm in ALGORITHMS {
        let verifier = JwtVerifier::new(issuer.clone(), format!("{RESOURCES}/{algorithm}")).unwrap();
        let token = provider.token(algorithm, "orders:read admin").await;
        let token = authenticate(&ResourceServer::new(verifier), &token)
            .await
            .unwrap_or_else(|error| panic!("{algorithm}: {error}"));
        assert_eq!(token.issuer(), Some(&*provider.identifier));
        assert_eq!((token.client_id(), token.subject()), (Some("cc-basic"), Some("cc-basic")));
        assert_eq!(token.acts_for(), ActsFor::Client);
        assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["orders:read", "admin"]);
        assert!(token.allows("admin") && !token.allows("orders:write"));
    }
    assert_eq!(provider.fetches().await, 1);
}

#[tokio::test]
async fn handlers_see_its_scopes_and_that_it_is_a_clients() {
    let Some(provider) = Provider::start() else { return };
    let verifier =
        JwtVerifier::new(Issuer::discover(&provider.identifier).await.unwrap(), format!("{RESOURCES}/eddsa"));
    let app = router()
        .route("/client", get(async |_: ClientToken| ""))
        .route("/person", get(async |_: UserToken| ""))
        .layer(OAuthLayer::new(verifier.unwrap()));
    let token = provider.token("eddsa", "orders:read").await;
    for (path, status) in [("/client", 200), ("/person", 403), ("/me", 200), ("/orders", 200), ("/admin", 403)] {
        let request =
            Request::get(path).header("authorization", format!("Bearer {token}")).body(Body::empty()).unwrap();
        assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status, "{path}");
    }
}

#[tokio::test]
async fn a_token_for_another_of_its_resources_is_refused() {
    let Some(provider) = Provider::start() else { return };
    let (issuer, clock) = provider.discover().await;
    let server = api(&issuer, &clock, "es256");
    for algorithm in ALGORITHMS {
        let error = authenticate(&server, &provider.token(algorithm, "orders:read").await).await.err();
        let expected = (algorithm != "es256").then_some("The access token is meant for another resource");
        assert_eq!(error.map(|error| error.description()), expected, "{algorithm}");
    }
}

#[tokio::test]
async fn tokens_under_a_secret_encrypted_or_opaque_are_refused_and_cost_nothing() {
    let Some(provider) = Provider::start() else { return };
    let (issuer, clock) = provider.discover().await;
    wait(&clock, Duration::from_secs(40));
    for resource in ["hs256", "jwe", "opaque"] {
        let token = provider.token(resource, "orders:read").await;
        let server = api(&issuer, &clock, resource);
        assert_eq!(kind(&server, &token).await, Some(AuthErrorKind::InvalidToken), "{resource}");
    }
    assert_eq!(provider.fetches().await, 1);
}

#[tokio::test]
async fn one_audience_of_several_is_enough() {
    let Some(provider) = Provider::start() else { return };
    let (issuer, clock) = provider.discover().await;
    let token = provider.token("aud-array", "orders:read").await;
    let token = authenticate(&api(&issuer, &clock, "aud-array"), &token).await.unwrap();
    assert_eq!(token.audience().count(), 2);
}

#[tokio::test]
async fn a_short_lived_token_expires() {
    let Some(provider) = Provider::start() else { return };
    let (issuer, clock) = provider.discover().await;
    let server = api(&issuer, &clock, "short");
    let token = provider.token("short", "orders:read").await;
    let expiry = authenticate(&server, &token).await.unwrap().expires_at().unwrap();
    assert!(expiry < clock.now() + Duration::from_secs(30), "it was to live for two seconds");
    clock.set(expiry + Duration::from_secs(29));
    assert_eq!(kind(&server, &token).await, None, "the leeway is not over");
    clock.set(expiry + Duration::from_secs(31));
    assert_eq!(authenticate(&server, &token).await.unwrap_err().description(), "The access token expired");
}

#[tokio::test]
async fn a_rotation_is_survived_at_once_and_a_retired_key_dies() {
    let Some(provider) = Provider::start() else { return };
    let (issuer, clock) = provider.discover().await;
    let server = api(&issuer, &clock, "es256");
    let old = provider.token("es256", "orders:read").await;
    assert_eq!(kind(&server, &old).await, None);

    provider.rotate("add").await;
    let new = provider.token("es256", "orders:read").await;
    let started = Instant::now();
    assert_eq!(kind(&server, &new).await, None);
    say(&format!("oidc-provider: first token under a new key judged in {:?}, refresh included", started.elapsed()));
    for _ in 0..100 {
        assert_eq!((kind(&server, &old).await, kind(&server, &new).await), (None, None));
    }
    assert_eq!(provider.fetches().await, 2);

    provider.rotate("retire").await;
    assert_eq!(kind(&server, &old).await, None, "nobody has asked yet");
    wait(&clock, LATER);
    issuer.warm_up().await.unwrap();
    assert_eq!((kind(&server, &old).await, kind(&server, &new).await), (Some(AuthErrorKind::InvalidToken), None));
    for _ in 0..100 {
        assert_eq!(kind(&server, &old).await, Some(AuthErrorKind::InvalidToken));
    }
    assert_eq!(provider.fetches().await, 4, "the renewal, and one more on account of the dead key");
}

#[tokio::test]
async fn its_outage_and_restart_are_survived() {
    let Some(mut provider) = Provider::start() else { return };
    let (issuer, clock) = provider.discover().await;
    let server = api(&issuer, &clock, "es256");
    let known = provider.token("es256", "orders:read").await;
    provider.rotate("add").await;
    let unknown = provider.token("es256", "orders:read").await;

    provider.stop();
    for _ in 0..2 {
        assert_eq!(kind(&server, &known).await, None);
        assert_eq!(kind(&server, &unknown).await, Some(AuthErrorKind::Unavailable), "not its fault");
        wait(&clock, LATER);
        issuer.warm_up().await.ok();
    }

    provider.start_again();
    wait(&clock, LATER);
    issuer.warm_up().await.unwrap();
    let fresh = provider.token("es256", "orders:read").await;
    assert_eq!((kind(&server, &known).await, kind(&server, &fresh).await), (None, None));
    assert_eq!(kind(&server, &unknown).await, Some(AuthErrorKind::InvalidToken), "its key is gone with the restart");
}

#[tokio::test]
async fn an_api_that_starts_before_it_recovers_by_itself() {
    let Some(mut provider) = Provider::start() else { return };
    let token = provider.token("es256", "orders:read").await;
    provider.stop();
    let clock = ManualClock::default();
    let issuer = Issuer::builder(&provider.identifier).clock(clock.clone()).build().unwrap();
    let server = api(&issuer, &clock, "es256");
    assert_eq!(kind(&server, &token).await, Some(AuthErrorKind::Unavailable));
    assert!(!issuer.is_ready());
    provider.start_again();
    wait(&clock, Duration::from_secs(2)); // the back-off after one failure
    assert_eq!(kind(&server, &token).await, None);
}
