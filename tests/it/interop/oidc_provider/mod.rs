//! A real authorization server: npm's oidc-provider, configured by `tests/interop`. Each test starts its own process.
//!
//! These tests need `node` and the installed packages (`npm ci` in `tests/interop`, or in the directory that
//! `OIDC_PROVIDER_DIR` names). Without them, the tests do not run.

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

use crate::support::{not_run, router};

const RESOURCES: &str = "https://api.interop.test";
const ALGORITHMS: [&str; 6] = ["rs256", "ps256", "es256", "es384", "eddsa", "ed25519"];
/// Longer than any key set stays fresh, and than the cooldown between two refreshes caused by unknown `kid`s.
const LATER: Duration = Duration::from_secs(3700);

/// A running oidc-provider, whose only stored state is its key files. Dropping this value stops the process.
pub(crate) struct Provider {
    pub(crate) folder: PathBuf,
    pub(crate) identifier: String,
    /// The URL at which it requires a client certificate. `None` if there is no `openssl` to make one.
    pub(crate) mtls: Option<String>,
    process: Child,
}

impl Provider {
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(&[])
    }

    /// Starts it with these variables.
    pub(crate) fn start_with(settings: &[(&str, &str)]) -> Option<Self> {
        let folder = folder()?;
        let (process, identifier, mtls) = spawn(&folder, "0", settings);
        Some(Self { folder, identifier, mtls, process })
    }

    pub(crate) fn stop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again at the same address, with the keys of its files.
    pub(crate) fn start_again(&mut self) {
        let (_, port) = self.identifier.rsplit_once(':').unwrap();
        let (process, identifier, mtls) = spawn(&self.folder, port, &[]);
        assert_eq!(identifier, self.identifier);
        (self.process, self.mtls) = (process, mtls);
    }

    async fn fetch_json(&self, request: Request<Bytes>) -> Value {
        let response = HttpClient::new().unwrap().fetch(request).await.unwrap();
        assert!(response.status().is_success(), "{response:?}");
        serde_json::from_slice(response.body()).unwrap()
    }

    /// Requests an access token with the grant `client_credentials`.
    pub(crate) async fn token(&self, resource: &str, scope: &str) -> String {
        let resource = format!("{RESOURCES}/{resource}");
        let form = [("grant_type", "client_credentials"), ("resource", &*resource), ("scope", scope)];
        self.fetch_json(self.form("token", &form)).await["access_token"].as_str().unwrap().to_owned()
    }

    /// A form that the client `cc-basic` posts.
    fn form(&self, path: &str, form: &[(&str, &str)]) -> Request<Bytes> {
        Request::post(format!("{}/{path}", self.identifier))
            .header("authorization", format!("Basic {}", STANDARD.encode("cc-basic:cc-basic-secret")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into())
            .unwrap()
    }

    pub(crate) async fn rotate(&self, mode: &str) {
        let body = json!({"mode": mode, "alg": "ES256"}).to_string();
        self.fetch_json(Request::post(format!("{}/__rotate", self.identifier)).body(body.into()).unwrap()).await;
    }

    /// The number of requests for its key set.
    pub(crate) async fn fetches(&self) -> u64 {
        self.requests("/jwks").await
    }

    pub(crate) async fn requests(&self, path: &str) -> u64 {
        self.all_requests().await[path].as_u64().unwrap_or_default()
    }

    /// The number of requests for each path.
    pub(crate) async fn all_requests(&self) -> Value {
        let request = Request::get(format!("{}/__stats", self.identifier)).body(Bytes::new()).unwrap();
        self.fetch_json(request).await
    }

    /// Discovers the issuer. Returns it with its clock.
    async fn discover(&self) -> (Issuer, ManualClock) {
        let clock = ManualClock::default();
        let issuer = Issuer::builder(&self.identifier).clock(clock.clone()).discover().await.unwrap();
        (issuer, clock)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // The process may have been stopped before.
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The directory from which it can be started. If there is none, prints that once.
fn folder() -> Option<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOLDER.get_or_init(find).clone()
}

fn find() -> Option<PathBuf> {
    let named = env::var_os("OIDC_PROVIDER_DIR").map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop"));
    let node = Command::new("node").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !(node.is_ok_and(|status| status.success()) && folder.join("node_modules/oidc-provider").is_dir()) {
        assert!(named.is_none(), "OIDC_PROVIDER_DIR is set, but node is missing, or `npm ci` was not run there");
        not_run("oidc-provider", "the issuers of others are not installed (CI=true .ci/install issuers)");
        return None;
    }
    let keys = Command::new(folder.join("gen-keys.sh")).stdout(Stdio::null()).status().unwrap();
    assert!(keys.success(), "gen-keys.sh failed");
    Some(folder)
}

/// Writes directly to standard error, because the test harness hides the `eprintln!` output of a test that passes.
fn print_line(line: &str) {
    writeln!(io::stderr().lock(), "{line}").unwrap();
}

fn spawn(folder: &Path, port: &str, settings: &[(&str, &str)]) -> (Child, String, Option<String>) {
    let mut process = Command::new("node");
    if folder.join("keys/certificates").is_dir() {
        process.env("MTLS_PORT", "0");
    }
    let mut process = process
        .arg("oidc-provider.mjs")
        .current_dir(folder)
        .env_remove("ISSUER")
        .env("PORT", port)
        .envs(settings.iter().copied())
        .env("UNTIL_STDIN_ENDS", "1") // so that it also stops if this process is killed and drops nothing
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
    (process, identifier.expect("oidc-provider stopped; run `node oidc-provider.mjs` to see why"), mtls)
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

/// Makes everything that is cached older, and leaves the time of day, so that no token expires.
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
async fn handlers_get_its_scopes_and_see_a_client_token() {
    let Some(provider) = Provider::start() else { return };
    let verifier =
        JwtVerifier::new(Issuer::discover(&provider.identifier).await.unwrap(), format!("{RESOURCES}/eddsa"));
    let app = router()
        .route("/client", get(async |_: ClientToken| ""))
        .route("/user", get(async |_: UserToken| ""))
        .layer(OAuthLayer::new(verifier.unwrap()));
    let token = provider.token("eddsa", "orders:read").await;
    for (path, status) in [("/client", 200), ("/user", 403), ("/me", 200), ("/orders", 200), ("/admin", 403)] {
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
async fn refuses_hs256_encrypted_and_opaque_tokens_without_a_fetch() {
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
async fn accepts_a_token_with_several_audiences() {
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
    assert!(expiry < clock.now() + Duration::from_secs(30), "its lifetime is two seconds");
    clock.set(expiry + Duration::from_secs(29));
    assert_eq!(kind(&server, &token).await, None, "within the leeway");
    clock.set(expiry + Duration::from_secs(31));
    assert_eq!(authenticate(&server, &token).await.unwrap_err().description(), "The access token expired");
}

#[tokio::test]
async fn accepts_a_rotated_key_at_once_and_refuses_a_withdrawn_one() {
    let Some(provider) = Provider::start() else { return };
    let (issuer, clock) = provider.discover().await;
    let server = api(&issuer, &clock, "es256");
    let old = provider.token("es256", "orders:read").await;
    assert_eq!(kind(&server, &old).await, None);

    provider.rotate("add").await;
    let new = provider.token("es256", "orders:read").await;
    let started = Instant::now();
    assert_eq!(kind(&server, &new).await, None);
    print_line(&format!(
        "oidc-provider: first token with a new key verified in {:?}, with the refresh",
        started.elapsed()
    ));
    for _ in 0..100 {
        assert_eq!((kind(&server, &old).await, kind(&server, &new).await), (None, None));
    }
    assert_eq!(provider.fetches().await, 2);

    provider.rotate("retire").await;
    assert_eq!(kind(&server, &old).await, None, "the key set was not refreshed yet");
    wait(&clock, LATER);
    issuer.warm_up().await.unwrap();
    assert_eq!((kind(&server, &old).await, kind(&server, &new).await), (Some(AuthErrorKind::InvalidToken), None));
    for _ in 0..100 {
        assert_eq!(kind(&server, &old).await, Some(AuthErrorKind::InvalidToken));
    }
    assert_eq!(provider.fetches().await, 4, "the regular refresh, and one because of the unknown kid");
}

#[tokio::test]
async fn accepts_known_keys_during_an_outage_and_after_a_restart() {
    let Some(mut provider) = Provider::start() else { return };
    let (issuer, clock) = provider.discover().await;
    let server = api(&issuer, &clock, "es256");
    let known = provider.token("es256", "orders:read").await;
    provider.rotate("add").await;
    let unknown = provider.token("es256", "orders:read").await;

    provider.stop();
    for _ in 0..2 {
        assert_eq!(kind(&server, &known).await, None);
        assert_eq!(kind(&server, &unknown).await, Some(AuthErrorKind::Unavailable), "the token can't be checked");
        wait(&clock, LATER);
        issuer.warm_up().await.ok();
    }

    provider.start_again();
    wait(&clock, LATER);
    issuer.warm_up().await.unwrap();
    let fresh = provider.token("es256", "orders:read").await;
    assert_eq!((kind(&server, &known).await, kind(&server, &fresh).await), (None, None));
    assert_eq!(kind(&server, &unknown).await, Some(AuthErrorKind::InvalidToken), "the restart removed its key");
}

#[tokio::test]
async fn an_api_that_starts_before_its_issuer_recovers_by_itself() {
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
