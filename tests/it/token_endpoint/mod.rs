//! The token endpoint, driven over HTTP through its tower service.

mod administration;
mod assertions_and_retries;
mod certificates;
#[cfg(all(feature = "redis", feature = "http-client"))]
pub(crate) mod client_documents;
mod client_secrets;
mod clients;
mod codes;
mod compatibility;
mod configuration;
mod cors;
mod dpop;
mod endpoint_verifier;
#[cfg(feature = "metrics")]
mod events;
mod guessing;
mod introspection;
mod keys;
mod keys_of_instances;
mod model;
mod own_grants;
mod properties;
mod refresh;
mod reports;
mod requests;
mod resource_server;
mod revocation;
mod stores;
#[cfg(feature = "axum")]
mod systems;
mod token_content;
mod tokens;
mod without_pkce;

use std::time::Duration;

use axum::body::Body;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use http::{Method, Request};
use serde_json::Value;
use tower::ServiceExt as _;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    testing::{ManualClock, MockIssuer},
    token_endpoint::{
        AuthorizationCodeGrant, AuthorizationError, AuthorizationRequest, Client, ClientBuilder, ClientCredential,
        ClientCredentialsGrant, ClientSecret, Clients, RefreshTokenGrant, TokenEndpoint, TokenEndpointBuilder,
        TokenFormat,
    },
};

use crate::support::{self, API};

pub(crate) const ISSUER: &str = "https://as.test";
/// An API with opaque tokens.
pub(crate) const OPAQUE: &str = "https://opaque.test";
pub(crate) const AUTHORIZE: &str = "https://as.test/authorize";
/// The redirect URI of `app`.
pub(crate) const CB: &str = "https://app.test/cb";
/// RFC 7636 Appendix B.
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub(crate) const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// An endpoint, its clients, and the clock that it uses.
pub(crate) struct World {
    pub(crate) endpoint: TokenEndpoint,
    pub(crate) clients: Clients,
    pub(crate) clock: ManualClock,
}

pub(crate) fn confidential(id: &str) -> ClientBuilder {
    Client::builder(id, ClientSecret::new(format!("{id}-secret")))
}

/// A client with everything that a client can obtain for itself.
pub(crate) fn machine(id: &str) -> ClientBuilder {
    may_have_tokens(confidential(id))
}

pub(crate) fn may_have_tokens(client: ClientBuilder) -> ClientBuilder {
    client
        .grant_types(["client_credentials"])
        .default_scopes(["orders:read"])
        .optional_scopes(["orders:write"])
        .audience(API, TokenFormat::Jwt)
        .audience(OPAQUE, TokenFormat::Opaque)
}

/// A client with everything that a user can approve.
fn with_users(client: ClientBuilder) -> ClientBuilder {
    client
        .grant_types(["authorization_code", "refresh_token"])
        .default_scopes(["orders:read"])
        .optional_scopes(["orders:write"])
        .audience(API, TokenFormat::Jwt)
        .audience(OPAQUE, TokenFormat::Opaque)
}

/// Signs the assertions of the client `signs`.
pub(crate) fn assertion_key(algorithm: Algorithm) -> MockIssuer {
    MockIssuer::new("https://signs.test").with_algorithm(algorithm)
}

/// A valid assertion of `signs`.
pub(crate) fn assertion(world: &World, jti: &str) -> tower_oauth::testing::TokenBuilder {
    assertion_key(Algorithm::ES256)
        .with_clock(world.clock.clone())
        .client_token("signs")
        .claim("iss", "signs")
        .claim("jti", jti)
        .audience(ISSUER)
        .expires_in(Duration::from_secs(60))
        .header("typ", "JWT")
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(configure: impl FnOnce(TokenEndpointBuilder) -> TokenEndpointBuilder) -> Self {
        let clients = [
            machine("reports").access_token_lifetime(Duration::from_secs(3600)),
            machine("others"),
            may_have_tokens(Client::builder("odd: id%+ä", ClientSecret::new("s:e%41 r+é&="))),
            machine("limited").max_active_tokens(2),
            may_have_tokens(Client::builder("signs", assertion_key(Algorithm::ES256).key_set())),
            confidential("api").introspects_audience(API),
            confidential("watch").introspects_any_token(),
            Client::builder("app", ClientCredential::None)
                .grant_types(["authorization_code", "refresh_token"])
                .redirect_uri("https://app.test/cb")
                .default_scopes(["orders:read"])
                .audience(API, TokenFormat::Jwt),
            with_users(
                confidential("web").redirect_uri("https://web.test/cb?tenant=1").redirect_uri("https://web.test/2"),
            ),
            with_users(Client::builder("native", ClientCredential::None).redirect_uri("http://127.0.0.1/cb")),
            with_users(Client::builder("bank", assertion_key(Algorithm::ES256).key_set()).redirect_uri(CB)),
        ];
        let clients = Clients::new(clients.map(|client| client.build().unwrap())).unwrap();
        let clock = ManualClock::default();
        let key = PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id("first");
        let builder = TokenEndpoint::builder(ISSUER, key, clients.clone())
            .grant(ClientCredentialsGrant::new())
            .clock(clock.clone());
        Self { endpoint: configure(builder).build().unwrap(), clients, clock }
    }

    /// An endpoint with authorization codes and refresh tokens.
    pub(crate) fn with_users() -> Self {
        Self::with_refresh(RefreshTokenGrant::new())
    }

    pub(crate) fn with_refresh(settings: RefreshTokenGrant) -> Self {
        Self::with(|builder| builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(settings))
    }

    /// Sends an authorization request of `app` with these changes, and returns what the application gets. An empty value removes
    /// a parameter.
    pub(crate) async fn ask(&self, change: &[(&str, &str)]) -> Result<AuthorizationRequest, AuthorizationError> {
        let usual = [
            ("client_id", "app"),
            ("redirect_uri", CB),
            ("response_type", "code"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("state", "s t&te"),
        ];
        let kept = usual.iter().filter(|(name, _)| change.iter().all(|(changed, _)| changed != name));
        let query: Vec<_> = kept.chain(change).filter(|(_, value)| !value.is_empty()).copied().collect();
        let uri = format!("/authorize?{}", encode(&query)).parse().unwrap();
        self.endpoint.authorize(&uri).await
    }

    /// Returns a code that Ada approved.
    pub(crate) async fn code(&self, change: &[(&str, &str)]) -> String {
        let request = self.ask(change).await.unwrap();
        let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
        let sent = sent(&request.approve("ada", scopes).await.map(Body::new));
        sent.into_iter().find(|(name, _)| name == "code").unwrap().1
    }

    /// Redeems a code as `app`, with these changes.
    pub(crate) async fn redeem(&self, code: &str, change: &[(&str, &str)]) -> Answer {
        let usual = [
            ("grant_type", "authorization_code"),
            ("client_id", "app"),
            ("redirect_uri", CB),
            ("code_verifier", VERIFIER),
            ("code", code),
        ];
        let kept = usual.iter().filter(|(name, _)| change.iter().all(|(changed, _)| changed != name));
        let form: Vec<_> = kept.chain(change).copied().collect();
        self.post("/token", "", &form).await
    }

    pub(crate) async fn refresh(&self, token: &str, change: &[(&str, &str)]) -> Answer {
        let usual = [("grant_type", "refresh_token"), ("client_id", "app"), ("refresh_token", token)];
        let kept = usual.iter().filter(|(name, _)| change.iter().all(|(changed, _)| changed != name));
        let form: Vec<_> = kept.chain(change).copied().collect();
        self.post("/token", "", &form).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.endpoint.clone().oneshot(request).await.unwrap();
        let answer = support::read(response.map(Body::new)).await;
        let json = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
        Answer { plain: answer, json }
    }

    /// Sends a request. While there is no answer, the clock advances.
    pub(crate) async fn send_and_wait(&self, request: Request<Body>) -> Answer {
        let passing = async {
            loop {
                tokio::task::yield_now().await;
                self.clock.advance(Duration::from_millis(100));
            }
        };
        tokio::select! {
            biased;
            answer = self.send(request) => answer,
            () = passing => unreachable!("the clock never stops"),
        }
    }

    /// Posts a form, with this `Authorization` header if it is not empty.
    pub(crate) async fn post(&self, path: &str, authorization: &str, form: &[(&str, &str)]) -> Answer {
        self.send(post(path, authorization, form)).await
    }

    /// Posts a form as [`post`](Self::post). While there is no answer, the clock advances.
    pub(crate) async fn post_and_wait(&self, path: &str, authorization: &str, form: &[(&str, &str)]) -> Answer {
        self.send_and_wait(post(path, authorization, form)).await
    }

    /// Requests a token for `client`, with its usual secret.
    pub(crate) async fn token(&self, client: &str, form: &[(&str, &str)]) -> Answer {
        let form = [&[("grant_type", "client_credentials")], form].concat();
        self.post("/token", &usual(client), &form).await
    }

    /// Requests a token for `client`, which must succeed, and returns it.
    pub(crate) async fn access_token(&self, client: &str, form: &[(&str, &str)]) -> String {
        let answer = self.token(client, form).await;
        answer.is_ok();
        answer.json["access_token"].as_str().unwrap().to_owned()
    }

    /// Returns the introspection response for `client`.
    pub(crate) async fn introspect(&self, client: &str, token: &str) -> Value {
        let answer = self.post("/introspect", &usual(client), &[("token", token)]).await;
        answer.is_ok();
        answer.json
    }

    pub(crate) async fn is_active(&self, token: &str) -> bool {
        self.introspect("watch", token).await["active"].as_bool().unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::builder().method(Method::GET).uri(path).body(Body::empty()).unwrap()).await
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) plain: support::Answer,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.plain.header(name)
    }

    pub(crate) fn status(&self) -> u16 {
        self.plain.status.as_u16()
    }

    /// Checks for 200 and JSON that is never cached (RFC 6749 §5.1).
    #[track_caller]
    pub(crate) fn is_ok(&self) {
        assert_eq!(self.status(), 200, "{self:?}");
        self.is_json_with_no_store();
    }

    /// Checks for an error exactly as in RFC 6749 §5.2.
    #[track_caller]
    pub(crate) fn is_error(&self, status: u16, code: &str) {
        assert_eq!((self.status(), self.json["error"].as_str()), (status, Some(code)), "{self:?}");
        self.is_json_with_no_store();
        let members = self.json.as_object().unwrap();
        assert_eq!(members.keys().collect::<Vec<_>>(), ["error", "error_description"]);
        let description = self.json["error_description"].as_str().unwrap();
        assert!(description.bytes().all(|b| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)), "{description}");
        let challenged = self.header("www-authenticate").is_some_and(|value| value.starts_with("Basic realm=\""));
        assert_eq!(challenged, status == 401, "{self:?}");
        assert_eq!(self.header("retry-after").is_some(), [429, 503].contains(&status), "{self:?}");
    }

    #[track_caller]
    fn is_json_with_no_store(&self) {
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("cache-control"), Some("no-store"));
        assert_eq!(self.header("pragma"), Some("no-cache"));
        // Checked in the members, not in the text: a random token can contain the text `null`.
        assert!(self.json.as_object().unwrap().values().all(|value| !value.is_null()), "{self:?}");
    }

    pub(crate) fn text(&self, member: &str) -> &str {
        self.json[member].as_str().unwrap_or_else(|| panic!("{member}: {self:?}"))
    }
}

/// Returns the query parameters of a redirect to the client, including those of the redirect URI itself.
#[track_caller]
pub(crate) fn sent(response: &http::Response<Body>) -> Vec<(String, String)> {
    assert_eq!(response.status(), 303);
    assert_eq!(response.headers()["cache-control"], "no-store");
    assert_eq!(response.headers()["referrer-policy"], "no-referrer");
    let location = response.headers()["location"].to_str().unwrap();
    let (_, query) = location.split_once('?').unwrap();
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// Returns a request that posts a form, with this `Authorization` header if it is not empty.
pub(crate) fn post(path: &str, authorization: &str, form: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::post(path).header("content-type", FORM);
    if !authorization.is_empty() {
        request = request.header("authorization", authorization);
    }
    request.body(Body::from(encode(form))).unwrap()
}

/// Encodes a form with an escape for everything but letters and digits.
pub(crate) fn encode(form: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = form.iter().map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect();
    pairs.join("&")
}

pub(crate) fn escape(text: &str) -> String {
    let byte = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}

/// Returns a Basic header with form-encoded id and secret (RFC 6749 §2.3.1).
pub(crate) fn basic(id: &str, secret: &str) -> String {
    raw_basic(format!("{}:{}", escape(id), escape(secret)))
}

pub(crate) fn raw_basic(credentials: impl AsRef<[u8]>) -> String {
    format!("Basic {}", STANDARD.encode(credentials))
}

/// Returns a Basic header with the secret that most clients here have.
pub(crate) fn usual(client: &str) -> String {
    basic(client, &format!("{client}-secret"))
}

/// Decodes one segment of a JWT.
pub(crate) fn part(jwt: &str, place: usize) -> Value {
    let part = jwt.split('.').nth(place).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}
