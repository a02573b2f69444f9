//! The same server, asked about opaque tokens, of which nobody else knows anything (RFC 7662, RFC 9701).

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

use super::{Provider, RESOURCES, authenticate, kind, say, wait};

impl Provider {
    /// To be asked by `client` about tokens for `resource`, where its metadata says.
    fn asked_by(&self, client: ClientAuthentication, resource: &str) -> IntrospectionVerifierBuilder {
        let issuer = Issuer::builder(&self.identifier).build().unwrap();
        IntrospectionVerifier::builder(issuer, client, format!("{RESOURCES}/{resource}"))
    }

    async fn revoke(&self, token: &str) {
        let request = self.form("token/revocation", &[("token", token)]);
        assert_eq!(HttpClient::new().unwrap().fetch(request).await.unwrap().status(), 200);
    }

    /// How often it was asked about a token.
    async fn questions(&self) -> u64 {
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
async fn an_opaque_token_is_good_where_it_was_issued_for() {
    let Some(provider) = Provider::start() else { return };
    let text = provider.token("opaque", "orders:read admin").await;
    let token = authenticate(&server(provider.asked_by(rs(), "opaque")), &text).await.unwrap();
    assert_eq!(token.issuer(), Some(&*provider.identifier));
    assert_eq!((token.client_id(), token.subject()), (Some("cc-basic"), None));
    assert_eq!(token.acts_for(), ActsFor::Unknown, "it tells no sub");
    assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["orders:read", "admin"]);
    assert!(token.allows("admin") && !token.allows("orders:write") && token.expires_at().is_some());

    let told = provider.asked_by(rs(), "opaque").accept_missing_subject_as_client();
    assert_eq!(authenticate(&server(told), &text).await.unwrap().acts_for(), ActsFor::Client);

    let elsewhere = authenticate(&server(provider.asked_by(rs(), "orders")), &text).await.unwrap_err();
    assert_eq!(elsewhere.description(), "The access token is meant for another resource");
    let nobodys = authenticate(&server(provider.asked_by(rs(), "opaque")), "nobody-issued-this").await.unwrap_err();
    assert_eq!(nobodys.to_string(), "the issuer reports that the token is not active");
}

#[tokio::test]
async fn it_knows_us_by_each_way_to_authenticate() {
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
        let server = server(provider.asked_by(client, "opaque"));
        // An assertion is good for one use, so each question brings its own.
        for _ in 0..3 {
            authenticate(&server, &token)
                .await
                .unwrap_or_else(|error| panic!("{name}: {error:?}, {:?}", error.source()));
        }
        assert_eq!(kind(&server, "nobody-issued-this").await, Some(AuthErrorKind::InvalidToken), "{name}");
    }
}

#[tokio::test]
async fn that_it_does_not_know_us_is_not_the_tokens_fault() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.token("opaque", "orders:read").await;
    for client in [
        ClientAuthentication::secret_basic("rs", "a wrong secret"),
        ClientAuthentication::secret_basic("nobody", "rs-secret"),
        ClientAuthentication::private_key_jwt(
            "cc-pkjwt",
            PrivateKey::generate(tower_oauth::keys::Algorithm::ES256).unwrap(), // not the one that it was told
        ),
        ClientAuthentication::tls("cc-mtls"), // without a certificate
    ] {
        let name = format!("{client:?}");
        let server = server(provider.asked_by(client, "opaque"));
        assert_eq!(kind(&server, &token).await, Some(AuthErrorKind::Unavailable), "{name}");
        assert_eq!(kind(&server, "nobody-issued-this").await, Some(AuthErrorKind::Unavailable), "{name}");
    }
}

#[tokio::test]
async fn a_certificate_of_ours_proves_who_asks() {
    let Some(provider) = Provider::start() else { return };
    let Some(mtls) = provider.mtls.clone() else {
        return say("\n*** NOT RUN: the test with a client certificate: no openssl to make one with ***\n");
    };
    let token = provider.token("opaque", "orders:read").await;
    let server = |name| {
        let builder = provider.asked_by(ClientAuthentication::tls("cc-mtls"), "opaque");
        server(builder.endpoint(format!("{mtls}/token/introspection")).fetch(Certified::new(&provider, name)))
    };
    assert_eq!(kind(&server("client"), &token).await, None);
    assert_eq!(kind(&server("client"), "nobody-issued-this").await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(kind(&server("other"), &token).await, Some(AuthErrorKind::Unavailable), "another's certificate");
    provider.revoke(&token).await;
    assert_eq!(kind(&server("client"), &token).await, Some(AuthErrorKind::InvalidToken));
}

/// A client of the test's own, with a certificate.
struct Certified {
    client: reqwest::Client,
}

impl Certified {
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

impl Fetch for Certified {
    fn fetch(&self, request: Request<Bytes>) -> FetchFuture {
        let client = self.client.clone();
        FetchFuture::new(async move {
            let failed = |error| FetchError::new("the connection failed").with_source(error);
            let answer = client.execute(request.try_into().map_err(failed)?).await.map_err(failed)?;
            let mut response = Response::builder().status(answer.status());
            response.headers_mut().unwrap().clone_from(answer.headers());
            Ok(response.body(answer.bytes().await.map_err(failed)?).unwrap())
        })
    }
}

#[tokio::test]
async fn its_signed_answers_are_judged_by_its_keys() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.token("opaque", "orders:read").await;
    let server_of = |client| server(provider.asked_by(client, "opaque").signed_answers());
    let server = server_of(rs());
    assert!(authenticate(&server, &token).await.unwrap().allows("orders:read"));
    assert_eq!(kind(&server, "nobody-issued-this").await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(provider.fetches().await, 1);

    // It signs by RS256 for this client, by ES256 for that.
    assert_eq!(kind(&server_of(ClientAuthentication::secret_post("cc-post", "cc-post-secret")), &token).await, None);

    provider.revoke(&token).await;
    assert_eq!(kind(&server, &token).await, Some(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn a_signed_answer_under_a_new_key_is_understood_at_once() {
    let Some(provider) = Provider::start() else { return };
    let token = provider.token("opaque", "orders:read").await;
    let (issuer, _) = provider.discover().await;
    let audience = format!("{RESOURCES}/opaque");
    let server = server(IntrospectionVerifier::builder(issuer, rs(), audience).signed_answers());
    assert_eq!(kind(&server, &token).await, None);
    provider.rotate("add").await; // and it forgets all tokens
    let token = provider.token("opaque", "orders:read").await;
    assert_eq!(kind(&server, &token).await, None);
    assert_eq!(provider.fetches().await, 2);
}

#[tokio::test]
async fn a_revocation_is_seen_at_once_or_within_the_chosen_staleness() {
    let Some(provider) = Provider::start() else { return };
    let (clock, token) = (ManualClock::default(), provider.token("opaque", "orders:read").await);
    let verifier = provider.asked_by(rs(), "opaque").clock(clock.clone()).build().unwrap();
    let cached = Cached::new(verifier.clone(), Duration::from_secs(30)).clock(clock.clone());
    let (strict, lax) = (ResourceServer::new(verifier), ResourceServer::new(cached.clone()));
    for _ in 0..50 {
        assert_eq!(kind(&lax, &token).await, None);
    }
    assert_eq!(provider.questions().await, 1);
    assert_eq!(kind(&strict, &token).await, None);

    provider.revoke(&token).await;
    assert_eq!(kind(&strict, &token).await, Some(AuthErrorKind::InvalidToken));
    wait(&clock, Duration::from_secs(29));
    assert_eq!(kind(&lax, &token).await, None, "as was chosen");
    assert_eq!(provider.questions().await, 3);
    wait(&clock, Duration::from_secs(1));
    assert_eq!(kind(&lax, &token).await, Some(AuthErrorKind::InvalidToken));

    // Told of it, it doesn't wait.
    let token = provider.token("opaque", "orders:read").await;
    assert_eq!(kind(&lax, &token).await, None);
    provider.revoke(&token).await;
    cached.forget(&token);
    assert_eq!(kind(&lax, &token).await, Some(AuthErrorKind::InvalidToken));
}

#[tokio::test]
async fn an_opaque_token_expires_however_long_answers_are_kept() {
    let Some(provider) = Provider::start() else { return };
    let verifier = provider.asked_by(rs(), "opaque").build().unwrap();
    let server = ResourceServer::new(Cached::new(verifier, Duration::from_secs(600)));
    let token = provider.token("opaque-short", "orders:read").await;
    assert_eq!(kind(&server, &token).await, None);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let error = authenticate(&server, &token).await.unwrap_err();
    assert_eq!(error.to_string(), "the issuer reports that the token is not active");
}

#[tokio::test]
async fn opaque_tokens_and_jwts_pass_the_same_door() {
    let Some(mut provider) = Provider::start() else { return };
    let (issuer, clock) = provider.discover().await;
    let audience = format!("{RESOURCES}/orders");
    let jwts = JwtVerifier::builder(issuer, audience).clock(clock.clone()).build().unwrap();
    let asking = provider.asked_by(rs(), "orders").clock(clock.clone()).build().unwrap();
    let both = ResourceServer::new(JwtOrOpaque::new(jwts.clone(), asking.clone()));
    let jwt = provider.token("orders", "orders:read").await;
    let opaque = provider.token("orders-opaque", "orders:read").await;
    assert_eq!((kind(&both, &jwt).await, kind(&both, &opaque).await), (None, None));

    // A JWT that is no good here is not sent on.
    let spoilt = format!("{}AAAA", jwt.strip_suffix(|_: char| true).unwrap());
    let elsewhere = provider.token("es256", "orders:read").await;
    for jwt in [&spoilt, &elsewhere] {
        assert_eq!(kind(&both, jwt).await, Some(AuthErrorKind::InvalidToken));
    }
    assert_eq!(provider.questions().await, 1);
    assert_eq!(kind(&both, "garbage").await, Some(AuthErrorKind::InvalidToken));

    // It answers 400 to a question about a JWT, which says nothing of the token.
    let critical = ResourceServer::new(JwtOrOpaque::new(jwts, asking).always_ask());
    assert_eq!(kind(&critical, &jwt).await, Some(AuthErrorKind::Unavailable));
    assert_eq!(kind(&critical, &opaque).await, None);

    provider.stop();
    assert_eq!((kind(&both, &jwt).await, kind(&both, &opaque).await), (None, Some(AuthErrorKind::Unavailable)));
    assert_eq!(kind(&both, "garbage").await, Some(AuthErrorKind::Unavailable), "who knows?");
    provider.start_again();
    wait(&clock, Duration::from_secs(2));
    assert_eq!(kind(&both, &opaque).await, Some(AuthErrorKind::InvalidToken), "it forgot, and says so");
    let opaque = provider.token("orders-opaque", "orders:read").await;
    assert_eq!((kind(&both, &jwt).await, kind(&both, &opaque).await), (None, None));
}
