//! Client ID Metadata Documents over TLS sockets: what is fetched, and who is a client then.

mod attacks;
mod caching;
mod dpop;
mod judging;
pub(crate) mod server;

use serde_json::{Value, json};
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    testing::{ManualClock, MockIssuer},
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientCredentialsGrant, ClientDocuments, ClientDocumentsBuilder, Clients,
        RefreshTokenGrant, TokenEndpoint, TokenEndpointBuilder, TokenFormat,
    },
};

use self::server::{Answer, DocumentServer};
use crate::{
    support::API,
    token_endpoint::{AUTHORIZE, ISSUER, World, confidential},
};

const CB: &str = "https://app.test/cb";

/// A token endpoint whose registry reads documents, and a server with documents.
struct Documents {
    world: World,
    server: DocumentServer,
}

impl Documents {
    /// Trusts `localhost`, and accepts loopback addresses.
    fn new() -> Option<Self> {
        Self::with(|builder| builder.trust_hosts(["localhost"]).danger_allow_loopback())
    }

    fn with(configure: impl FnOnce(ClientDocumentsBuilder) -> ClientDocumentsBuilder) -> Option<Self> {
        Self::with_endpoint(configure, |endpoint| endpoint)
    }

    fn with_endpoint(
        configure: impl FnOnce(ClientDocumentsBuilder) -> ClientDocumentsBuilder,
        configure_endpoint: impl FnOnce(TokenEndpointBuilder) -> TokenEndpointBuilder,
    ) -> Option<Self> {
        let server = DocumentServer::start()?;
        let clock = ManualClock::default();
        let clients = [confidential("watch").introspects_any_token()];
        let clients = Clients::new(clients.map(|client| client.build().unwrap())).unwrap();
        let documents = ClientDocuments::builder(clients.clone())
            .default_scopes(["orders:read"])
            .optional_scopes(["orders:write"])
            .audience(API, TokenFormat::Jwt)
            .root_certificates(server::certificate()?)
            .clock(clock.clone());
        let key = PrivateKey::generate(Algorithm::ES256).unwrap();
        let endpoint = TokenEndpoint::builder(ISSUER, key, configure(documents).build().unwrap())
            .grant(ClientCredentialsGrant::new())
            .grant(AuthorizationCodeGrant::new(AUTHORIZE))
            .grant(RefreshTokenGrant::new())
            .clock(clock.clone());
        let endpoint = configure_endpoint(endpoint).build().unwrap();
        Some(Self { world: World { endpoint, clients, clock }, server })
    }

    /// Publishes a valid document with these changes at this path, and returns its URL. A change to `null` removes a member.
    fn publish(&self, path: &str, change: &Value) -> String {
        let id = self.server.url(path);
        self.server.answer(path, Answer::json(&document(&id, change)));
        id
    }

    /// Returns what the page gets for an authorization request of this client: the request, or the text for the user.
    async fn ask(&self, id: &str) -> Result<tower_oauth::token_endpoint::AuthorizationRequest, String> {
        self.world.ask(&[("client_id", id)]).await.map_err(|error| error.to_string())
    }
}

#[track_caller]
fn assert_unknown(asked: Result<tower_oauth::token_endpoint::AuthorizationRequest, String>, why: &str) {
    assert_eq!(asked.err().as_deref(), Some(UNKNOWN), "{why}");
}

/// Returns a valid document with these changes.
pub(crate) fn document(id: &str, change: &Value) -> Value {
    let mut document = json!({
        "client_id": id,
        "client_name": "An app",
        "redirect_uris": [CB, "http://localhost/cb", "http://127.0.0.1/cb", "com.example.app:/cb"],
        "grant_types": ["authorization_code", "refresh_token"],
    });
    for (name, value) in change.as_object().unwrap() {
        document[name] = value.clone();
    }
    document.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    document
}

/// Returns an assertion of this client, signed by `key`.
fn assertion(key: &MockIssuer, id: &str, jti: &str) -> String {
    let token = key.client_token(id).claim("iss", id).claim("jti", jti).audience(ISSUER);
    token.expires_in(std::time::Duration::from_secs(60)).header("typ", "JWT").sign()
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const UNKNOWN: &str = "invalid_request: The client is unknown";
const UNAVAILABLE: &str = "temporarily_unavailable: The server is temporarily unavailable";

/// Threat T67
#[tokio::test]
async fn a_client_with_a_document_gets_and_refreshes_tokens() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.publish("/oauth/client.json", &json!({}));
    let world = &documents.world;
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json;
    assert_eq!(metadata["client_id_metadata_document_supported"], true);
    let methods = metadata["token_endpoint_auth_methods_supported"].as_array().unwrap();
    assert!(methods.contains(&json!("none")) && methods.contains(&json!("private_key_jwt")));

    let request = documents.ask(&id).await.unwrap();
    assert_eq!((request.client_name(), request.client_host()), (Some("An app"), Some("localhost")));
    assert_eq!(request.redirect_host().as_deref(), Some("app.test"));
    assert!(!request.redirect_is_loopback());
    for (uri, host, is_loopback) in [
        ("http://localhost:51234/cb", Some("localhost"), true),
        ("http://127.0.0.1:51234/cb", Some("127.0.0.1"), true),
        ("com.example.app:/cb", None, false),
    ] {
        let request = world.ask(&[("client_id", &id), ("redirect_uri", uri)]).await.unwrap();
        assert_eq!((request.redirect_host().as_deref(), request.redirect_is_loopback()), (host, is_loopback), "{uri}");
    }

    let code = world.code(&[("client_id", &id), ("scope", "orders:read orders:write")]).await;
    let issued = world.redeem(&code, &[("client_id", &id)]).await;
    issued.is_ok();
    let refreshed = world.refresh(issued.text("refresh_token"), &[("client_id", &id)]).await;
    refreshed.is_ok();
    let facts = world.introspect("watch", refreshed.text("access_token")).await;
    assert_eq!(
        (&facts["client_id"], &facts["scope"], &facts["aud"]),
        (&json!(id), &json!("orders:read orders:write"), &json!(API))
    );
    assert_eq!(documents.server.requests(), 1, "the document is cached");
    let head = documents.server.last_request();
    assert!(head.starts_with("GET /oauth/client.json HTTP/1.1\r\n"), "{head}");
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("\r\naccept: application/json\r\n") && head.contains("\r\naccept-encoding: identity\r\n"),
        "{head}"
    );
    for secret in ["cookie", "authorization", "referer"] {
        assert!(!head.contains(&format!("\r\n{secret}:")), "{head}");
    }
}

#[tokio::test]
async fn the_metadata_has_no_flag_without_documents() {
    let metadata = World::with_users().get("/.well-known/oauth-authorization-server").await.json;
    assert_eq!(metadata.get("client_id_metadata_document_supported"), None);
    let registered = World::with_users().ask(&[]).await.unwrap();
    assert_eq!((registered.client_name(), registered.client_host()), (None, None));
}

#[test]
fn mistakes_in_the_settings_are_all_reported() {
    let clients = || Clients::new([]).unwrap();
    let error = ClientDocuments::builder(clients()).build().unwrap_err().to_string();
    assert!(error.contains("trust_hosts: no host is trusted") && error.contains("audience"), "{error}");
    let error = ClientDocuments::builder(clients())
        .trust_hosts(["https://claude.ai", "*", "claude.ai:443"])
        .default_scopes(["a\"b"])
        .optional_scopes(["x", "x"])
        .audience("", TokenFormat::Jwt)
        .root_certificates("no PEM")
        .build();
    let error = error.unwrap_err();
    assert_eq!(error.mistakes().len(), 7, "{error}");
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(
        settings,
        ["trust_hosts", "trust_hosts", "trust_hosts", "scope", "scope", "audience", "root_certificates"]
    );
    let client = Client::builder("x", tower_oauth::token_endpoint::ClientCredential::None).build().unwrap();
    let builder = ClientDocuments::builder(Clients::new([client]).unwrap()).danger_trust_any_host();
    builder.audience(API, TokenFormat::Jwt).build().unwrap();
}
