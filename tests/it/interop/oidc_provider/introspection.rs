//! Introspection of opaque tokens at the same server (RFC 7662, RFC 9701).

use std::{error::Error as _, fs, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use tower_oauth::{
    Cached, IntrospectionVerifier, Issuer, JwtOrOpaque, JwtVerifier, ResourceServer,
    acts_for::ActsFor,
    error::AuthErrorKind,
    fetch::{Fetch, FetchError, FetchFuture, HttpClient},
    keys::PrivateKey,
    testing::ManualClock,
    verify::{ClientAuthentication, IntrospectionVerifierBuilder},
};

use super::{Provider, RESOURCES, authenticate, kind, wait};
use crate::support::not_run;

impl Provider {
    /// Builder for a verifier that introspects tokens for `resource` as `client`, at the endpoint of the metadata.
    fn introspection_by(&self, client: ClientAuthentication, resource: &str) -> IntrospectionVerifierBuilder {
        let issuer = Issuer::builder(&self.identifier).build().unwrap();
        IntrospectionVerifier::builder(issuer, client, format!("{RESOURCES}/{resource}"))
    }

    pub(crate) async fn revoke(&self, token: &str) {
        let request = self.form("token/revocation", &[("token", token)]);
        assert_eq!(HttpClient::new().unwrap().fetch(request).await.unwrap().status(), 200);
    }

    /// The number of introspection requests.
    pub(crate) async fn introspections(&self) -> u64 {
        self.requests("/token/introspection").await
    }
}

fn rs() -> ClientAuthentication {
    ClientAuthentication::secret_basic("rs", "rs-secret")
}

fn server(builder: IntrospectionVerifierBuilder) -> ResourceServer {
    ResourceServer::new(builder.build().unwrap())
}

#[tokio::test]
async fn accepts_an_opaque_token_only_at_the_api_it_was_issued_for() {
    let Some(provider) = Provider::start() else { return };
    let text = provider.token("opaque", "orders:read admin").await;
    let token = authenticate(&server(provider.introspection_by(rs(), "opaque")), &text).await.unwrap();
    assert_eq!(token.issuer(), Some(&*provider.identifier));
    assert_eq!((token.client_id(), token.subject()), (Some("cc-basic"), None));
    assert_eq!(token.acts_for(), ActsFor::Unknown, "the response has no sub");
    assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["orders:read", "admin"]);
    assert!(token.allows("admin") && !token.allows("orders:write") && token.expires_at().is_some());

    let configured = provider.introspection_by(rs(), "opaque").accept_missing_subject_as_client();
    assert_eq!(authenticate(&server(configured), &text).await.unwrap().acts_for(), ActsFor::Client);

    let elsewhere = authenticate(&server(provider.introspection_by(rs(), "orders")), &text).await.unwrap_err();
    assert_eq!(elsewhere.description(), "The access token is meant for another resource");
    let unknown = authenticate(&server(provider.introspection_by(rs(), "opaque")), "not-a-token").await.unwrap_err();
    assert_eq!(unknown.to_string(), "the issuer reports that the token is not active");
}

#[tokio::test]
async fn it_accepts_each_client_authentication_method() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.token("opaque", "orders:read").await;
    let key = fs::read(provider.folder.join("keys/client-es256.json")).unwrap();
    for client in [
        rs(),
        ClientAuthentication::secret_basic("cc:odd id", "p%40 s+/=:~"),
        ClientAuthentication::secret_post("cc-post", "cc-post-secret"),
        ClientAuthentication::private_key_jwt("cc-pkjwt", PrivateKey::from_jwk(key).unwrap()),
    ] {
        let name = format!("{client:?}");
        let server = server(provider.introspection_by(client, "opaque"));
        // The server accepts an assertion once, so each request has a new one.
        for _ in 0..3 {
            authenticate(&server, &token)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error:?}, {:?}", error.source()));
        }
        assert_eq!(kind(&server, "not-a-token").await, Some(AuthErrorKind::InvalidToken), "{name}");
    }
}

#[tokio::test]
async fn responds_503_if_it_refuses_this_apis_credentials() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.token("opaque", "orders:read").await;
    for client in [
        ClientAuthentication::secret_basic("rs", "a wrong secret"),
        ClientAuthentication::secret_basic("unknown", "rs-secret"),
        ClientAuthentication::private_key_jwt(
            "cc-pkjwt",
            PrivateKey::generate(tower_oauth::keys::Algorithm::ES256).unwrap(), // not the registered key
        ),
        ClientAuthentication::tls("cc-mtls"), // without a certificate
    ] {
        let name = format!("{client:?}");
        let server = server(provider.introspection_by(client, "opaque"));
        assert_eq!(kind(&server, &token).await, Some(AuthErrorKind::Unavailable), "{name}");
        assert_eq!(kind(&server, "not-a-token").await, Some(AuthErrorKind::Unavailable), "{name}");
    }
}

#[tokio::test]
async fn it_accepts_this_apis_client_certificate() {
    let Some(provider) = Provider::start() else { return };
    let Some(mtls) = provider.mtls.clone() else {
        return not_run(
            "introspection with a client certificate",
            "openssl is not installed (Debian: apt-get install openssl)",
        );
    };
    let token = provider.token("opaque", "orders:read").await;
    let server = |name| {
        let builder = provider.introspection_by(ClientAuthentication::tls("cc-mtls"), "opaque");
        server(builder.endpoint(format!("{mtls}/token/introspection")).fetch(MtlsClient::new(&provider, name)))
    };
    assert_eq!(kind(&server("client"), &token).await, None);
    assert_eq!(kind(&server("client"), "not-a-token").await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(kind(&server("other"), &token).await, Some(AuthErrorKind::Unavailable), "another client's certificate");
    provider.revoke(&token).await;
    assert_eq!(kind(&server("client"), &token).await, Some(AuthErrorKind::InvalidToken));
}

/// An HTTP client with a client certificate.
struct MtlsClient {
    client: reqwest::Client,
}

impl MtlsClient {
    fn new(provider: &Provider, name: &str) -> Self {
        let read = |file: String| fs::read(provider.folder.join("keys/certificates").join(file)).unwrap();
        let identity = [read(format!("{name}.key")), read(format!("{name}.pem"))].concat();
        let client = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(&read("ca.pem".to_owned())).unwrap()])
            .identity(reqwest::Identity::from_pem(&identity).unwrap())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        Self { client: client.build().unwrap() }
    }
}

impl Fetch for MtlsClient {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        let client = self.client.clone();
        FetchFuture::new(async move {
            let failed = |error| FetchError::new("the connection failed").with_source(error);
            let received = client.execute(request.try_into().map_err(failed)?).await.map_err(failed)?;
            let mut response = Response::builder().status(received.status());
            response.headers_mut().unwrap().clone_from(received.headers());
            Ok(response.body(received.bytes().await.map_err(failed)?).unwrap())
        })
    }
}

#[tokio::test]
async fn verifies_its_signed_responses_with_its_keys() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.token("opaque", "orders:read").await;
    let server_of = |client| server(provider.introspection_by(client, "opaque").signed_responses());
    let server = server_of(rs());
    assert!(authenticate(&server, &token).await.unwrap().allows("orders:read"));
    assert_eq!(kind(&server, "not-a-token").await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(provider.fetches().await, 1);

    // It signs with RS256 for one client, and with ES256 for the other.
    assert_eq!(kind(&server_of(ClientAuthentication::secret_post("cc-post", "cc-post-secret")), &token).await, None);

    provider.revoke(&token).await;
    assert_eq!(kind(&server, &token).await, Some(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn accepts_a_signed_response_with_a_new_key_at_once() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.token("opaque", "orders:read").await;
    let (issuer, _) = provider.discover().await;
    let audience = format!("{RESOURCES}/opaque");
    let server = server(IntrospectionVerifier::builder(issuer, rs(), audience).signed_responses());
    assert_eq!(kind(&server, &token).await, None);
    provider.rotate("add").await; // a rotation deletes all its tokens
    let token = provider.token("opaque", "orders:read").await;
    assert_eq!(kind(&server, &token).await, None);
    assert_eq!(provider.fetches().await, 2);
}

#[tokio::test]
async fn refuses_a_revoked_token_at_once_or_after_max_age() {
    let Some(provider) = Provider::start() else { return };
    let (clock, token) = (ManualClock::default(), provider.token("opaque", "orders:read").await);
    let verifier = provider.introspection_by(rs(), "opaque").clock(clock.clone()).build().unwrap();
    let cached = Cached::builder(verifier.clone(), Duration::from_secs(30)).clock(clock.clone()).build();
    let (uncached, cached_server) = (ResourceServer::new(verifier), ResourceServer::new(cached.clone()));
    for _ in 0..50 {
        assert_eq!(kind(&cached_server, &token).await, None);
    }
    assert_eq!(provider.introspections().await, 1);
    assert_eq!(kind(&uncached, &token).await, None);

    provider.revoke(&token).await;
    assert_eq!(kind(&uncached, &token).await, Some(AuthErrorKind::InvalidToken));
    wait(&clock, Duration::from_secs(29));
    assert_eq!(kind(&cached_server, &token).await, None, "within max_age");
    assert_eq!(provider.introspections().await, 3);
    wait(&clock, Duration::from_secs(1));
    assert_eq!(kind(&cached_server, &token).await, Some(AuthErrorKind::InvalidToken));

    // An invalidation takes effect at once.
    let token = provider.token("opaque", "orders:read").await;
    assert_eq!(kind(&cached_server, &token).await, None);
    provider.revoke(&token).await;
    cached.invalidate(&token);
    assert_eq!(kind(&cached_server, &token).await, Some(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn an_opaque_token_expires_though_max_age_is_longer() {
    let Some(provider) = Provider::start() else { return };
    let verifier = provider.introspection_by(rs(), "opaque").build().unwrap();
    let server = ResourceServer::new(Cached::new(verifier, Duration::from_secs(600)));
    let token = provider.token("opaque-short", "orders:read").await;
    assert_eq!(kind(&server, &token).await, None);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let error = authenticate(&server, &token).await.unwrap_err();
    assert_eq!(error.to_string(), "the issuer reports that the token is not active");
}

#[tokio::test]
async fn one_server_accepts_opaque_tokens_and_jwts() {
    let Some(mut provider) = Provider::start() else { return };
    let (issuer, clock) = provider.discover().await;
    let audience = format!("{RESOURCES}/orders");
    let jwt_verifier = JwtVerifier::builder(issuer, audience).clock(clock.clone()).build().unwrap();
    let introspection = provider.introspection_by(rs(), "orders").clock(clock.clone()).build().unwrap();
    let both = ResourceServer::new(JwtOrOpaque::new(jwt_verifier.clone(), introspection.clone()));
    let jwt = provider.token("orders", "orders:read").await;
    let opaque = provider.token("orders-opaque", "orders:read").await;
    assert_eq!((kind(&both, &jwt).await, kind(&both, &opaque).await), (None, None));

    // A JWT that is refused here is not introspected.
    let invalid = format!("{}AAAA", jwt.strip_suffix(|_: char| true).unwrap());
    let elsewhere = provider.token("es256", "orders:read").await;
    for jwt in [&invalid, &elsewhere] {
        assert_eq!(kind(&both, jwt).await, Some(AuthErrorKind::InvalidToken));
    }
    assert_eq!(provider.introspections().await, 1);
    assert_eq!(kind(&both, "garbage").await, Some(AuthErrorKind::InvalidToken));

    // It responds to an introspection request for a JWT with 400 and `unsupported_token_type`, which is a verdict.
    let critical = ResourceServer::new(JwtOrOpaque::builder(jwt_verifier, introspection).require_both().build());
    let error = authenticate(&critical, &jwt).await.unwrap_err();
    assert_eq!((error.kind(), error.reason()), (AuthErrorKind::InvalidToken, "unsupported_token_type"));
    assert_eq!(kind(&critical, &opaque).await, None);

    provider.stop();
    assert_eq!((kind(&both, &jwt).await, kind(&both, &opaque).await), (None, Some(AuthErrorKind::Unavailable)));
    assert_eq!(kind(&both, "garbage").await, Some(AuthErrorKind::Unavailable), "the token can't be checked");
    provider.start_again();
    wait(&clock, Duration::from_secs(2));
    assert_eq!(kind(&both, &opaque).await, Some(AuthErrorKind::InvalidToken), "the restart deleted the token");
    let opaque = provider.token("orders-opaque", "orders:read").await;
    assert_eq!((kind(&both, &jwt).await, kind(&both, &opaque).await), (None, None));
}
