//! Finding an issuer's keys (RFC 8414 §3, OpenID Connect Discovery §4).

use serde_json::{Value, json};
use tower_oauth::Issuer;

use crate::fake_issuer::{Answer, FakeIssuer};

async fn discover(fake: &FakeIssuer) -> Result<Issuer, String> {
    Issuer::discover(&fake.identifier).await.map_err(|error| error.to_string())
}

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

#[tokio::test]
async fn refuses_a_plain_http_jwks_uri_of_an_https_issuer() {
    let fake = FakeIssuer::start().await;
    let error = Issuer::from_jwks_uri("https://auth.test", fake.jwks_uri()).unwrap_err();
    assert!(error.to_string().contains("plain http"), "{error}");
    let issuer = Issuer::builder("https://auth.test").jwks_uri(fake.jwks_uri()).danger_accept_plain_http().build();
    assert!(issuer.unwrap().warm_up().await.is_ok());
}

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
    let error = Issuer::builder("ftp://auth.test")
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
