//! TLS ends in the program: the certificate is that of the connection.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{
    certificates::{Identity, ServerCertificate, hex},
    client::{Client, PROTOCOLS, Protocol, VERSIONS},
    start, token,
};
use crate::{
    fake_issuer::FakeIssuer,
    material::{b64, unb64},
    programs::protected_api::Api,
};

/// Starts the program with TLS. `clients` is `TLS_CLIENT_CERTS`.
async fn start_tls(
    issuer: &FakeIssuer,
    server: &ServerCertificate,
    clients: &str,
    settings: &[(&str, &str)],
) -> Option<Api> {
    let (certificate, key) = (server.path("cert.pem"), server.path("key.pem"));
    let tls = [("TLS_CERT", &*certificate), ("TLS_KEY", &*key), ("TLS_CLIENT_CERTS", clients)];
    start(issuer, &[&tls[..], &[("OAUTH_CLIENT_CERT", "connection")], settings].concat()).await
}

/// RFC 8705 §3 a (MUST, accepts)
/// RFC 8705 §6.2 (MAY, refuses)
#[tokio::test]
async fn accepts_a_bound_token_only_on_a_connection_with_its_certificate() {
    let (issuer, server) = (FakeIssuer::start().await, ServerCertificate::new());
    let Some(api) = start_tls(&issuer, &server, "optional", &[]).await else { return };
    let [with_chain, reversed] = Identity::issued();
    let clients = Identity::of_each_algorithm().into_iter().chain([with_chain]);
    for (index, identity) in clients.enumerate() {
        let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
        let others = [None, Some(Identity::new()), Some(identity.renewed()), Some(reversed.clone())];
        for (version, protocol) in VERSIONS.iter().flat_map(|version| PROTOCOLS.map(|protocol| (version, protocol))) {
            let case = format!("client {index}, {version:?}, {protocol:?}");
            let client = Client::with_version(&server, Some(&identity), version);
            let mut own = client.connect(api.address(), protocol).await.unwrap();
            assert_eq!(own.present(&bound).await.status, 200, "{case}");
            for (other, identity) in others.iter().enumerate() {
                let client = Client::with_version(&server, identity.as_ref(), version);
                let mut connection = client.connect(api.address(), protocol).await.unwrap();
                let answer = connection.present(&bound).await;
                assert!(answer.is_refusal(401, "invalid_token"), "{case}, other {other}: {answer:?}");
            }
        }
    }
}

/// RFC 8705 §3.1 (MUST, accepts)
#[tokio::test]
async fn shows_the_certificate_that_the_sender_has_proven() {
    let (issuer, server, identity) = (FakeIssuer::start().await, ServerCertificate::new(), Identity::new());
    let Some(api) = start_tls(&issuer, &server, "optional", &[]).await else { return };
    let client = Client::new(&server, Some(&identity));
    let bound = token(&issuer).bound_to_certificate(identity.leaf());
    let claims: Value = serde_json::from_str(&bound.claims_json()).unwrap();
    for (token, expected) in [(bound.sign(), claims["cnf"].clone()), (token(&issuer).sign(), Value::Null)] {
        let answer = client.present(api.address(), &token).await;
        let shown: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(shown["confirmation"], expected, "{answer:?}");
    }
}

/// RFC 8705 §3 a (MUST, refuses)
#[tokio::test]
async fn each_request_of_a_kept_connection_is_checked() {
    let (issuer, server) = (FakeIssuer::start().await, ServerCertificate::new());
    let Some(api) = start_tls(&issuer, &server, "optional", &[]).await else { return };
    let (identity, other) = (Identity::new(), Identity::new());
    let own = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    let of_the_other = token(&issuer).bound_to_certificate(other.leaf()).sign();
    let unbound = token(&issuer).sign();
    for protocol in PROTOCOLS {
        let client = Client::new(&server, Some(&identity));
        let mut connection = client.connect(api.address(), protocol).await.unwrap();
        for (token, status) in [(&own, 200), (&of_the_other, 401), (&own, 200), (&unbound, 200), (&of_the_other, 401)] {
            assert_eq!(connection.present(token).await.status, status, "{protocol:?}");
        }
    }
}

#[tokio::test]
async fn a_resumed_session_has_the_certificate_of_the_first() {
    let (issuer, server, identity) = (FakeIssuer::start().await, ServerCertificate::new(), Identity::new());
    let Some(api) = start_tls(&issuer, &server, "optional", &[]).await else { return };
    let own = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    let of_another = token(&issuer).bound_to_certificate(Identity::new().leaf()).sign();
    for version in VERSIONS {
        let client = Client::with_version(&server, Some(&identity), version);
        let mut first = client.connect(api.address(), Protocol::Http1).await.unwrap();
        assert_eq!(first.present(&own).await.status, 200);
        let mut second = client.connect(api.address(), Protocol::Http1).await.unwrap();
        assert!(!first.resumed && second.resumed, "{version:?}");
        assert_eq!(second.present(&own).await.status, 200, "{version:?}");
        assert_eq!(second.present(&of_another).await.status, 401, "{version:?}");
    }
}

/// RFC 9440 §2.4 (MUST, refuses)
#[tokio::test]
async fn reads_no_header_without_a_trusted_proxy() {
    let (issuer, server, identity) = (FakeIssuer::start().await, ServerCertificate::new(), Identity::new());
    let Some(api) = start_tls(&issuer, &server, "optional", &[]).await else { return };
    let authorization = format!("Bearer {}", token(&issuer).bound_to_certificate(identity.leaf()).sign());
    let (rfc9440, pem) = (format!(":{}:", identity.base64()), identity.escaped_pem());
    let xfcc = format!("Cert=\"{pem}\"");
    let headers = [
        ("authorization", &*authorization),
        ("client-cert", &rfc9440),
        ("x-forwarded-client-cert", &xfcc),
        ("x-ssl-client-cert", &pem),
        ("x-forwarded-tls-client-cert", &pem),
    ];
    for other in [None, Some(Identity::new())] {
        let answer = Client::new(&server, other.as_ref()).get(api.address(), &headers).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{answer:?}");
    }
}

#[tokio::test]
async fn accepts_an_unbound_token_with_and_without_a_certificate() {
    let (issuer, server, identity) = (FakeIssuer::start().await, ServerCertificate::new(), Identity::new());
    let Some(api) = start_tls(&issuer, &server, "optional", &[]).await else { return };
    for identity in [None, Some(&identity)] {
        let client = Client::new(&server, identity);
        assert_eq!(client.present(api.address(), &token(&issuer).sign()).await.status, 200);
        let answer = client.get(api.address(), &[]).await;
        assert!(answer.is_refusal(401, ""), "{answer:?}");
    }
}

/// RFC 8705 §3.1 (MUST, refuses)
#[tokio::test]
async fn refuses_a_malformed_or_unknown_confirmation_on_the_right_connection() {
    let (issuer, server, identity) = (FakeIssuer::start().await, ServerCertificate::new(), Identity::new());
    let Some(api) = start_tls(&issuer, &server, "optional", &[]).await else { return };
    let client = Client::new(&server, Some(&identity));
    let bound = token(&issuer).bound_to_certificate(identity.leaf());
    let claims: Value = serde_json::from_str(&bound.claims_json()).unwrap();
    let hash = claims["cnf"]["x5t#S256"].as_str().unwrap();
    let hex = hex(&unb64(&hash.into()));
    let jkt = b64([7; 32]);
    assert_eq!(client.present(api.address(), &bound.sign()).await.status, 200);
    for cnf in [
        json!({"x5t#S256": format!("{hash}=")}),
        json!({"x5t#S256": format!("{}+", &hash[..42])}),
        json!({"x5t#S256": hex}),
        json!({"x5t#S256": &hash[..42]}),
        json!({"x5t#S256": ""}),
        json!({"x5t#S256": null}),
        json!({"x5t#S256": [hash]}),
        json!({"x5t": &hash[..27]}),
        json!({"x5t": hash}),
        json!({"X5T#S256": hash}),
        json!({"x5t#S256": hash, "x5t": &hash[..27]}),
        json!({"x5t#S256": hash, "kid": "a"}),
        json!({"x5t#S256": hash, "jkt": jkt}),
        json!({"jkt": hash}),
        json!({}),
        json!(null),
        json!(hash),
    ] {
        let token = token(&issuer).claim("cnf", cnf.clone()).sign();
        let answer = client.present(api.address(), &token).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{cnf}: {answer:?}");
    }
}

#[tokio::test]
async fn refuses_an_unbound_token_if_only_bound_tokens_are_accepted() {
    let (issuer, server, identity) = (FakeIssuer::start().await, ServerCertificate::new(), Identity::new());
    let require = [("OAUTH_SENDER_CONSTRAINT", "require")];
    let Some(api) = start_tls(&issuer, &server, "optional", &require).await else { return };
    let client = Client::new(&server, Some(&identity));
    let answer = client.present(api.address(), &token(&issuer).sign()).await;
    assert!(answer.is_refusal(401, "invalid_token"), "{answer:?}");
    let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    assert_eq!(client.present(api.address(), &bound).await.status, 200);
}

/// RFC 8705 §6.2 (MAY, accepts)
#[tokio::test]
async fn a_required_certificate_can_be_any_and_must_be_there() {
    let (issuer, server) = (FakeIssuer::start().await, ServerCertificate::new());
    let Some(api) = start_tls(&issuer, &server, "required", &[]).await else { return };
    for (version, protocol) in VERSIONS.iter().flat_map(|version| PROTOCOLS.map(|protocol| (version, protocol))) {
        for identity in [Identity::new(), Identity::issued()[0].clone()] {
            let client = Client::with_version(&server, Some(&identity), version);
            let mut connection = client.connect(api.address(), protocol).await.unwrap();
            let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
            assert_eq!(connection.present(&bound).await.status, 200, "{version:?} {protocol:?}");
        }
        let client = Client::with_version(&server, None, version);
        // With TLS 1.3 the client sees the refusal only when it reads.
        let answer = match client.connect(api.address(), protocol).await {
            Ok(mut connection) => connection.get("/public", &[]).await.ok(),
            Err(_) => None,
        };
        assert!(answer.is_none(), "{version:?} {protocol:?}: {answer:?}");
    }
}

/// RFC 8705 §3 a (MUST, refuses)
#[tokio::test]
async fn a_certificate_without_its_private_key_is_refused() {
    let (issuer, server, identity) = (FakeIssuer::start().await, ServerCertificate::new(), Identity::new());
    let Some(api) = start_tls(&issuer, &server, "optional", &[]).await else { return };
    let stolen = Identity { chain: identity.chain.clone(), key: Identity::new().key };
    let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    for version in VERSIONS {
        let client = Client::with_wrong_key(&server, &stolen, version);
        let answer = match client.connect(api.address(), Protocol::Http1).await {
            Ok(mut connection) => {
                connection.get("/whoami", &[("authorization", &format!("Bearer {bound}"))]).await.ok()
            }
            Err(_) => None,
        };
        assert!(answer.is_none(), "{version:?}: {answer:?}");
    }
}

#[tokio::test]
async fn asks_for_no_certificate_without_the_setting() {
    let (issuer, server, identity) = (FakeIssuer::start().await, ServerCertificate::new(), Identity::new());
    let (certificate, key) = (server.path("cert.pem"), server.path("key.pem"));
    let Some(api) = start(&issuer, &[("TLS_CERT", &certificate), ("TLS_KEY", &key)]).await else { return };
    let client = Client::new(&server, Some(&identity));
    assert_eq!(client.present(api.address(), &token(&issuer).sign()).await.status, 200);
    let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    let answer = client.present(api.address(), &bound).await;
    assert!(answer.is_refusal(401, "invalid_token"), "{answer:?}");
}

#[tokio::test]
async fn a_client_of_reqwest_presents_its_identity() {
    let (issuer, server, identity) = (FakeIssuer::start().await, ServerCertificate::new(), Identity::new());
    let Some(api) = start_tls(&issuer, &server, "optional", &[]).await else { return };
    let port = api.address().rsplit(':').next().unwrap();
    let pem = super::certificates::pem(identity.leaf()) + &identity.key;
    let root = reqwest::Certificate::from_der(&server.der).unwrap();
    let client = || reqwest::Client::builder().no_proxy().tls_certs_only([root.clone()]);
    let with_identity = client().identity(reqwest::Identity::from_pem(pem.as_bytes()).unwrap());
    let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    for (client, status) in [(with_identity, StatusCode::OK), (client(), StatusCode::UNAUTHORIZED)] {
        let request = client.build().unwrap().get(format!("https://localhost:{port}/whoami")).bearer_auth(&bound);
        assert_eq!(request.send().await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn clients_that_never_finish_a_handshake_delay_no_other() {
    let (issuer, server) = (FakeIssuer::start().await, ServerCertificate::new());
    let Some(api) = start_tls(&issuer, &server, "optional", &[]).await else { return };
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(api.address()).await.unwrap());
    }
    // A part of a handshake record.
    silent[0].write_all(&[22, 3, 1, 1]).await.unwrap();
    let (client, token) = (Client::new(&server, None), token(&issuer).sign());
    let answer = client.present(api.address(), &token);
    assert_eq!(timeout(Duration::from_secs(5), answer).await.expect("an answer at once").status, 200);
    // Plain HTTP, which is no handshake, ends the connection.
    silent[1].write_all(b"GET /public HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(5), silent[1].read_to_end(&mut rest)).await.expect("it is closed at once");
    assert!(closed.is_err() || !rest.starts_with(b"HTTP"), "{rest:?}");
}
