//! Finding an issuer's keys (RFC 8414 §3, OpenID Connect Discovery §4).

use std::error::Error as _;

use serde_json::{Value, json};
use tower_oauth::{AuthError, Issuer, error::AuthErrorKind, issuer::DiscoveryError};

use crate::fake_issuer::{Answer, FakeIssuer};

async fn discover(fake: &FakeIssuer) -> Result<Issuer, String> {
    Issuer::discover(&fake.identifier).await.map_err(|error| error.to_string())
}

/// RFC 8414 §3.1 (MUST, accepts and refuses)
/// RFC 8414 §3.2 (MUST, accepts)
/// Threat J17
#[tokio::test]
async fn finds_the_keys_through_each_of_the_well_known_documents() {
    for (path, paths) in [
        ("", vec!["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"]),
        (
            "/realms/x",
            vec![
                "/.well-known/oauth-authorization-server/realms/x",
                "/.well-known/openid-configuration/realms/x",
                "/realms/x/.well-known/openid-configuration",
            ],
        ),
    ] {
        for document_path in paths {
            let fake = FakeIssuer::start_with_path(path).await;
            fake.without_metadata();
            fake.metadata(document_path, fake.document());
            assert!(discover(&fake).await.unwrap().is_ready(), "{document_path}");
            assert_eq!((fake.hits(document_path), fake.fetches()), (1, 1));
        }
    }
}

/// RFC 8414 §3.3 (MUST, refuses)
/// Threat J14
#[tokio::test]
async fn refuses_metadata_of_another_issuer() {
    let fake = FakeIssuer::start().await;
    let path = "/.well-known/oauth-authorization-server";
    let own = fake.identifier.clone();
    for issuer in [
        json!(format!("{own}/")),
        json!("https://untrusted.test"),
        json!([own]),
        json!(own.to_uppercase()),
        Value::Null,
        json!(1),
    ] {
        fake.metadata(path, json!({"issuer": issuer, "jwks_uri": fake.jwks_uri()}));
        assert!(discover(&fake).await.is_err(), "{issuer}");
    }
    fake.metadata(path, json!({"jwks_uri": fake.jwks_uri()}));
    assert!(discover(&fake).await.unwrap_err().contains("malformed"));
    assert_eq!(fake.fetches(), 0);
    fake.metadata(path, fake.document());
    assert!(discover(&fake).await.is_ok());
}

/// RFC 8414 §6.1 (MUST, refuses)
/// Threat J15
#[tokio::test]
async fn never_fetches_a_jwks_uri_without_https() {
    let fake = FakeIssuer::start().await;
    let port = fake.origin().rsplit(':').next().unwrap().to_owned();
    for uri in [
        Value::Null,
        json!(1),
        json!("/jwks"),
        json!("file:///etc/passwd"),
        json!("data:application/json,{}"),
        json!(format!("http://0.0.0.0:{port}/jwks")),
        json!(format!("http://localhost.untrusted.test:{port}/jwks")),
        json!(format!("http://127.0.0.1@untrusted.test:{port}/jwks")),
        json!("http://169.254.169.254/latest/meta-data"),
    ] {
        fake.metadata("/.well-known/oauth-authorization-server", json!({"issuer": fake.identifier, "jwks_uri": uri}));
        assert!(discover(&fake).await.is_err(), "{uri}");
    }
    assert_eq!(fake.fetches(), 0);
}

/// RFC 8414 §6.1 (MUST, refuses)
/// Threat J15
#[tokio::test]
async fn refuses_a_plain_http_jwks_uri_of_an_https_issuer() {
    let fake = FakeIssuer::start().await;
    let error = Issuer::from_jwks_uri("https://auth.test", fake.jwks_uri()).unwrap_err();
    assert!(error.to_string().contains("plain http"), "{error}");
    let issuer = Issuer::builder("https://auth.test").jwks_uri(fake.jwks_uri()).danger_accept_plain_http().build();
    assert!(issuer.unwrap().warm_up().await.is_ok());
}

/// RFC 8414 §3.3 (MUST, accepts)
/// RFC 8414 §6.1 (MUST, accepts)
/// Threat J16
#[tokio::test]
async fn accepts_a_jwks_uri_on_another_origin() {
    let (fake, keys) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let document = json!({"issuer": fake.identifier, "jwks_uri": keys.jwks_uri()});
    fake.metadata("/.well-known/oauth-authorization-server", document);
    assert!(discover(&fake).await.is_ok());
    assert_eq!((fake.fetches(), keys.fetches()), (0, 1));
}

#[tokio::test]
async fn finds_a_new_jwks_uri_within_an_hour_while_the_old_one_still_works() {
    let (fake, new) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let clock = tower_oauth::testing::ManualClock::default();
    let issuer = fake.builder().clock(clock.clone()).discover().await.unwrap();
    // Both URLs have the same ETag. It is valid only for the URL that sent it (RFC 9110 §8.8.3).
    fake.jwks_headers("ETag: \"1\"\r\n");
    new.jwks_headers("ETag: \"1\"\r\n");
    clock.advance(std::time::Duration::from_secs(660));
    issuer.warm_up().await.unwrap();
    let document = json!({"issuer": fake.identifier, "jwks_uri": new.jwks_uri()});
    fake.metadata("/.well-known/oauth-authorization-server", document);
    clock.advance(std::time::Duration::from_secs(3600));
    issuer.warm_up().await.unwrap();
    assert_eq!((fake.fetches(), new.fetches()), (2, 1));
    assert!(!new.requests()[0].contains("if-none-match"));
}

#[tokio::test]
async fn finds_a_new_jwks_uri_after_the_old_one_fails() {
    let (fake, new) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let clock = tower_oauth::testing::ManualClock::default();
    let issuer = fake.builder().clock(clock.clone()).discover().await.unwrap();
    fake.answer(Answer::Status(404));
    let document = json!({"issuer": fake.identifier, "jwks_uri": new.jwks_uri()});
    fake.metadata("/.well-known/oauth-authorization-server", document);
    for _ in 0..2 {
        clock.advance(std::time::Duration::from_secs(660));
        issuer.warm_up().await.ok();
    }
    assert_eq!(new.fetches(), 1);
}

#[tokio::test]
async fn build_reports_all_invalid_settings_at_once() {
    let error = Issuer::builder(" ")
        .jwks_uri("file:///keys")
        .unknown_kid_cooldown(std::time::Duration::ZERO)
        .lifetime_bounds(std::time::Duration::from_secs(9), std::time::Duration::from_secs(3))
        .build()
        .unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(settings, ["issuer", "jwks_uri", "lifetime_bounds", "unknown_kid_cooldown"], "{error}");
    for identifier in [
        "",
        "auth.test",
        "http://auth.test",
        "https://auth.test?x",
        "https://auth.test#x",
        "https://a@b.test",
        "https://",
        "https://:443",
        "https://auth.test:99999",
        "https://auth.test:",
        "https://auth.test:x",
        "https://[::1]x",
    ] {
        assert!(Issuer::builder(identifier).build().is_err(), "{identifier:?}");
    }
    for identifier in ["https://auth.test:8443/x", "https://[::1]:8443", "https://[::1]", "http://127.0.0.1:1"] {
        assert!(Issuer::builder(identifier).build().is_ok(), "{identifier:?}");
    }
}

#[test]
fn the_error_does_not_contain_a_password_of_the_url() {
    let error = Issuer::builder("https://user:hush@auth.test").build().unwrap_err().to_string();
    assert!(error.contains("user name") && !error.contains("hush"), "{error}");
}

const WELL_KNOWN: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

fn cause(error: &AuthError) -> String {
    error.source().unwrap().to_string()
}

#[tokio::test]
async fn the_error_lists_every_well_known_url_with_its_result() {
    let fake = FakeIssuer::start_with_path("/realms/x").await;
    fake.without_metadata();
    let urls = [
        format!("{}{}/realms/x", fake.origin(), WELL_KNOWN[0]),
        format!("{}{}/realms/x", fake.origin(), WELL_KNOWN[1]),
        format!("{}{}", fake.identifier, WELL_KNOWN[1]),
    ];
    fake.metadata_answer(&format!("{}/realms/x", WELL_KNOWN[0]), Answer::Status(403));
    fake.metadata(&format!("{}/realms/x", WELL_KNOWN[1]), json!({"issuer": fake.identifier}));
    let error = discover(&fake).await.unwrap_err();
    for (url, result) in urls.iter().zip([
        "it responded with status 403",
        "the metadata has no jwks_uri",
        "it responded with status 404",
    ]) {
        assert!(error.contains(&format!("{url}: {result}")), "{url}: {error}");
    }
    fake.metadata(&format!("{}/realms/x", WELL_KNOWN[1]), json!({"issuer": format!("{}/", fake.identifier)}));
    fake.metadata_answer("/realms/x/.well-known/openid-configuration", Answer::Reset);
    let error = discover(&fake).await.unwrap_err();
    let named = format!("{}: it names the issuer \"{}/\", not \"{}\"", urls[1], fake.identifier, fake.identifier);
    assert!(error.contains(&named), "{error}");
    assert!(error.contains(&format!("{}: the connection failed", urls[2])), "{error}");
}

/// RFC 8414 §3.3 (MUST, refuses)
#[tokio::test]
async fn metadata_of_another_issuer_is_an_error_of_its_own_that_names_both() {
    for (suffix, slash_only) in [("/", true), ("/other", false)] {
        let fake = FakeIssuer::start().await;
        let named = format!("{}{suffix}", fake.identifier);
        fake.metadata(WELL_KNOWN[0], json!({"issuer": named, "jwks_uri": fake.jwks_uri()}));
        let error = Issuer::discover(&fake.identifier).await.unwrap_err();
        let DiscoveryError::OtherIssuer { issuer, found, .. } = &error else { panic!("{error}") };
        assert_eq!((issuer, found), (&fake.identifier, &named));
        let text = error.to_string();
        assert!(text.contains(&format!("{:?}", fake.identifier)) && text.contains(&format!("{named:?}")), "{text}");
        assert_eq!(text.contains("differs by a trailing slash only"), slash_only, "{text}");
        assert_eq!(format!("{error:?}"), text);

        // A verifier that was built without I/O can't check a token: 503, and the log names both.
        let lazy = fake.builder().build().unwrap().warm_up().await.unwrap_err();
        assert_eq!(lazy.kind(), AuthErrorKind::Unavailable);
        assert!(cause(&lazy).contains(&format!("names the issuer {named:?}, not {:?}", fake.identifier)), "{lazy}");
    }
    let fake = FakeIssuer::start().await;
    fake.without_metadata();
    let error = Issuer::discover(&fake.identifier).await.unwrap_err();
    assert!(matches!(error, DiscoveryError::Unavailable { .. }));
    assert_eq!(format!("{error:?}"), error.to_string());
}

/// Another tenant's document at one address says nothing while another address fails for a moment.
///
/// Threat J14
#[tokio::test]
async fn metadata_of_another_issuer_is_no_mistake_while_another_address_fails() {
    let fake = FakeIssuer::start_with_path("/realms/a").await;
    let places = [
        format!("{}/realms/a", WELL_KNOWN[0]),
        format!("{}/realms/a", WELL_KNOWN[1]),
        format!("/realms/a{}", WELL_KNOWN[1]),
    ];
    let other = || Answer::Document(json!({"issuer": fake.origin(), "jwks_uri": fake.jwks_uri()}));
    for (answer, temporary) in [
        (Answer::Status(500), true),
        (Answer::Status(503), true),
        (Answer::Status(429), true),
        (Answer::Status(408), true),
        (Answer::Reset, true),
        (Answer::Hang, true),
        (Answer::Status(404), false),
        (Answer::Status(403), false),
        (Answer::Body("<html>".to_owned()), false),
    ] {
        for failing in [0, 2] {
            fake.without_metadata();
            fake.metadata_answer(&places[1], other());
            fake.metadata_answer(&places[failing], answer.clone());
            let error = Issuer::discover(&fake.identifier).await.unwrap_err();
            assert_eq!(matches!(error, DiscoveryError::Unavailable { .. }), temporary, "{error}");
            assert_eq!(matches!(error, DiscoveryError::OtherIssuer { .. }), !temporary, "{error}");
            assert!(error.to_string().contains("it names the issuer"), "both are in the text: {error}");
        }
    }
}

#[tokio::test]
async fn an_error_of_the_key_set_names_its_url_without_its_query() {
    let fake = FakeIssuer::start().await;
    let url = format!("{}?key=hush", fake.jwks_uri());
    fake.metadata(WELL_KNOWN[0], json!({"issuer": fake.identifier, "jwks_uri": url}));
    for (answer, found) in [
        (Answer::Status(404), "responded with status 404"),
        (Answer::Status(500), "responded with status 500"),
        (Answer::Reset, "the connection failed"),
        (Answer::Body("<html>".to_owned()), "it is not a JWK set"),
    ] {
        fake.answer(answer);
        let error = discover(&fake).await.unwrap_err();
        let named = format!("the key set's URL {:?}", fake.jwks_uri());
        assert!(error.contains(&named) && error.contains(found) && !error.contains("hush"), "{error}");
    }
}

#[tokio::test]
async fn a_long_identifier_of_another_issuer_is_cut_off_in_the_error() {
    let fake = FakeIssuer::start().await;
    fake.metadata(WELL_KNOWN[0], json!({"issuer": "x\n".repeat(100_000), "jwks_uri": fake.jwks_uri()}));
    let error = discover(&fake).await.unwrap_err();
    assert!(error.len() < 2000 && !error.contains('\n'), "{} bytes", error.len());
}

#[tokio::test]
async fn a_jwks_uri_on_plain_http_is_refused_with_the_method_that_accepts_it() {
    let fake = FakeIssuer::start().await;
    fake.metadata(WELL_KNOWN[0], json!({"issuer": fake.identifier, "jwks_uri": "http://auth.test/jwks"}));
    let error = discover(&fake).await.unwrap_err();
    assert!(error.contains("is plain http") && error.contains("IssuerBuilder::danger_accept_plain_http"), "{error}");
}

/// RFC 8259 §8.1 (MAY, accepts)
#[tokio::test]
async fn metadata_and_key_sets_with_a_byte_order_mark_are_read() {
    let fake = FakeIssuer::start().await;
    fake.metadata_answer(WELL_KNOWN[0], Answer::Body(format!("\u{feff}{}", fake.document())));
    let keys = json!({"keys": [fake.signer(tower_oauth::keys::Algorithm::ES256).jwk()]});
    fake.answer(Answer::Body(format!("\u{feff}{keys}")));
    let issuer = Issuer::discover(&fake.identifier).await.unwrap();
    let saved = tower_oauth::keys::KeySet::from_json(issuer.key_set_json().unwrap()).unwrap();
    assert_eq!(saved.len(), 1, "the saved set can be read again");
}

/// RFC 9110 §12.5.3 (derived, accepts and refuses)
#[tokio::test]
async fn requests_no_compression_and_names_the_coding_of_a_compressed_response() {
    let fake = FakeIssuer::start().await;
    assert!(discover(&fake).await.is_ok());
    let requests = fake.requests();
    assert_eq!(requests.len(), 2);
    for request in requests {
        assert_eq!(request.matches("accept-encoding: identity\r\n").count(), 1, "{request}");
        assert_eq!(request.to_ascii_lowercase().matches("accept-encoding").count(), 1, "{request}");
    }
    for coding in ["gzip", "br", "GZIP, identity"] {
        let compressed = || Answer::Whole(200, format!("Content-Encoding: {coding}\r\n"), vec![0x1f, 0x8b, 8, 0]);
        fake.answer(compressed());
        let error = discover(&fake).await.unwrap_err();
        assert!(error.contains(&format!("Content-Encoding {coding:?}")), "{error}");
        fake.metadata_answer(WELL_KNOWN[0], compressed());
        let error = discover(&fake).await.unwrap_err();
        assert!(
            error.contains(&format!("{}: the response has the Content-Encoding {coding:?}", WELL_KNOWN[0])),
            "{error}"
        );
        fake.metadata(WELL_KNOWN[0], fake.document());
    }
    let keys = json!({"keys": [fake.signer(tower_oauth::keys::Algorithm::ES256).jwk()]}).to_string();
    fake.answer(Answer::Whole(200, "Content-Encoding: Identity\r\n".to_owned(), keys.into_bytes()));
    assert!(discover(&fake).await.is_ok());
}

#[tokio::test]
async fn certificates_at_the_jwks_uri_are_called_by_their_name() {
    let fake = FakeIssuer::start().await;
    fake.answer(Answer::Body(json!({"k1": "-----BEGIN CERTIFICATE-----\nMIIC\n"}).to_string()));
    let error = discover(&fake).await.unwrap_err();
    assert!(error.contains("certificates") && error.contains("JWK set at another URL"), "{error}");
}
