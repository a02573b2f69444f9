//! `protected_api` with tokens of npm's oidc-provider, which is down, rotates its keys, revokes tokens, or rejects the program's
//! credentials.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    interop::oidc_provider::Provider,
    program::SECRET,
    programs::protected_api::Api,
    support::{Answer, DEFAULT_CHALLENGE},
};

const AUDIENCE: &str = "https://api.interop.test/orders";
/// The credentials of a client of the provider that may introspect tokens.
const RS: [(&str, &str); 2] = [("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "rs-secret")];

async fn start(provider: &Provider, settings: &[(&str, &str)]) -> Option<Api> {
    let usual = [("OAUTH_ISSUER", &*provider.identifier), ("OAUTH_AUDIENCE", AUDIENCE), ("RUST_LOG", "debug")];
    Api::start(&[&usual[..], settings].concat()).await
}

/// Sends a request until the status changes, for up to 20 s.
async fn until_not(status: u16, api: &Api, path: &str, token: &str) -> Answer {
    let limit = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = api.send("GET", path, token).await;
        if answer.status != status || Instant::now() > limit {
            return answer;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Checks for 403 with exactly these scopes.
#[track_caller]
fn lacks(answer: &Answer, scopes: &str) {
    assert!(answer.is_refusal(403, "insufficient_scope"), "{answer:?}");
    assert!(answer.challenges()[0].contains(&format!("scope=\"{scopes}\"")), "{answer:?}");
}

#[track_caller]
fn is_meant_for_another_resource(answer: &Answer) {
    assert!(answer.is_refusal(401, "invalid_token"), "{answer:?}");
    assert!(answer.challenges()[0].contains("The access token is meant for another resource"), "{answer:?}");
}

/// Checks for 503 with a time to wait and no challenge.
#[track_caller]
fn is_unavailable(answer: &Answer) {
    assert!(answer.status == 503 && answer.header("retry-after").is_some(), "{answer:?}");
    assert!(answer.challenges().is_empty(), "{answer:?}");
}

/// Stops the program, whose log must have none of these secrets.
async fn stop(api: Api, signal: &str, secrets: &[&str]) -> String {
    let log = api.stop(signal).await;
    for secret in secrets {
        assert!(!log.contains(secret), "the log contains {secret}:\n{log}");
    }
    log
}

#[tokio::test]
async fn it_starts_before_its_issuer_and_accepts_its_tokens_and_new_keys() {
    let Some(mut provider) = Provider::start() else { return };
    let reader = provider.token("orders", "orders:read").await;
    provider.stop();
    let Some(api) = start(&provider, &[]).await else { return };
    assert_eq!(api.send("GET", "/public", "").await.body, "open to all");
    assert_eq!(api.send("GET", "/whoami", "").await.challenges(), [DEFAULT_CHALLENGE]);
    is_unavailable(&api.send("GET", "/whoami", &reader).await);

    provider.start_again();
    let reader = provider.token("orders", "orders:read").await;
    let writer = provider.token("orders", "orders:write").await;
    let admin = provider.token("orders", "orders:read admin").await;
    let recovered = until_not(503, &api, "/whoami", &reader).await;
    assert_eq!(recovered.status, 200, "{recovered:?}");
    let shown = json!({
        "client_id": "cc-basic", "confirmation": null, "iss": provider.identifier, "scopes": ["orders:read"],
        "sub": "cc-basic",
    });
    assert_eq!(recovered.body, shown.to_string());

    assert_eq!(api.status("/public", "garbage").await, 200);
    let garbage = api.send("GET", "/whoami", "garbage").await;
    assert!(garbage.is_refusal(401, "invalid_token"), "{garbage:?}");
    is_meant_for_another_resource(&api.send("GET", "/whoami", &provider.token("es256", "orders:read").await).await);
    let symmetric = api.send("GET", "/whoami", &provider.token("hs256", "orders:read").await).await;
    assert!(symmetric.is_refusal(401, "invalid_token"), "{symmetric:?}");
    assert_eq!(api.send("GET", "/orders", "").await.challenges(), [DEFAULT_CHALLENGE]);
    assert_eq!(api.status("/orders", &reader).await, 200);
    lacks(&api.send("GET", "/orders", &writer).await, "orders:read");
    lacks(&api.send("POST", "/orders", &reader).await, "orders:write");
    assert_eq!(api.send("POST", "/orders", &writer).await.status, 200);
    lacks(&api.send("GET", "/admin", &reader).await, "orders:read admin");
    lacks(&api.send("GET", "/admin", &provider.token("orders", "admin").await).await, "orders:read admin");
    assert_eq!(api.status("/admin", &admin).await, 200);
    assert_eq!(api.status("/nowhere", &admin).await, 404);

    provider.rotate("add").await;
    let of_new_key = provider.token("orders", "orders:read").await;
    assert_eq!(api.status("/orders", &of_new_key).await, 200, "at once");
    assert_eq!(provider.fetches().await, 2);
    provider.stop();
    assert_eq!(api.status("/orders", &of_new_key).await, 200, "the keys stay valid");
    stop(api, "TERM", &[&reader, &writer, &admin, &of_new_key]).await;
}

#[tokio::test]
async fn with_the_url_of_the_keys_it_fetches_no_metadata() {
    let Some(provider) = Provider::start() else { return };
    let keys = format!("{}/jwks", provider.identifier);
    let Some(api) = start(&provider, &[("OAUTH_JWKS_URI", &keys)]).await else { return };
    assert_eq!(api.status("/whoami", &provider.token("orders", "orders:read").await).await, 200);
    let requests = provider.all_requests().await.to_string();
    assert!(requests.contains("\"/jwks\":1") && !requests.contains("well-known"), "{requests}");
    stop(api, "INT", &[]).await;
}

#[tokio::test]
async fn in_mode_mixed_it_introspects_opaque_tokens_and_caches_the_verdicts() {
    let Some(provider) = Provider::start() else { return };
    let Some(api) = start(&provider, &[&RS[..], &[("OAUTH_MODE", "mixed")]].concat()).await else { return };
    let reader = provider.token("orders", "orders:read").await;
    let opaque = provider.token("orders-opaque", "orders:read").await;
    for _ in 0..20 {
        assert_eq!(api.status("/orders", &opaque).await, 200);
    }
    assert_eq!(provider.introspections().await, 1);
    let shown = json!({
        "client_id": "cc-basic", "confirmation": null, "iss": provider.identifier, "scopes": ["orders:read"], "sub": null,
    });
    assert_eq!(api.send("GET", "/whoami", &opaque).await.body, shown.to_string());
    lacks(&api.send("POST", "/orders", &opaque).await, "orders:write");
    let writer = provider.token("orders-opaque", "orders:write").await;
    assert_eq!(api.send("POST", "/orders", &writer).await.status, 200);
    is_meant_for_another_resource(&api.send("GET", "/whoami", &provider.token("opaque", "orders:read").await).await);
    let garbage = api.send("GET", "/whoami", "garbage").await;
    assert!(garbage.is_refusal(401, "invalid_token"), "{garbage:?}");

    let before = provider.introspections().await;
    assert_eq!(api.who_am_i(&reader).await["sub"], "cc-basic");
    assert_eq!(api.status("/orders", &reader).await, 200);
    assert_eq!(api.send("POST", "/orders", &reader).await.status, 403);
    api.refusal(&provider.token("es256", "orders:read").await).await;
    api.refusal(&format!("{}AAAAA", &reader[..reader.len() - 5])).await;
    assert_eq!(provider.introspections().await, before, "it introspects no JWT of its issuer");
    stop(api, "TERM", &[&reader, &opaque, &writer, "rs-secret"]).await;
}

#[tokio::test]
async fn a_revoked_token_is_refused_and_an_outage_is_noticed_when_the_cached_verdict_expires() {
    let Some(mut provider) = Provider::start() else { return };
    let mixed = ("OAUTH_MODE", "mixed");
    let brief = [RS[0], RS[1], mixed, ("OAUTH_INTROSPECTION_CACHE_SECONDS", "1")];
    let Some(api) = start(&provider, &brief).await else { return };
    let Some(patient) = start(&provider, &brief[..3]).await else { return };
    let revoked = provider.token("orders-opaque", "orders:read").await;
    assert_eq!(api.status("/orders", &revoked).await, 200);
    provider.revoke(&revoked).await;
    let refused = until_not(200, &api, "/orders", &revoked).await;
    assert!(refused.is_refusal(401, "invalid_token"), "{refused:?}");

    let opaque = provider.token("orders-opaque", "orders:read").await;
    let reader = provider.token("orders", "orders:read").await;
    for api in [&api, &patient] {
        assert_eq!((api.status("/orders", &opaque).await, api.status("/orders", &reader).await), (200, 200));
    }
    provider.stop();
    assert_eq!(patient.status("/orders", &opaque).await, 200, "the verdict is cached for 30 s");
    let unavailable = until_not(200, &api, "/orders", &opaque).await;
    is_unavailable(&unavailable);
    assert_eq!(unavailable.header("retry-after"), Some("5"));
    assert_eq!(api.status("/orders", &reader).await, 200, "a JWT needs no introspection");
    provider.start_again();
    let fresh = provider.token("orders-opaque", "orders:read").await;
    assert_eq!(api.status("/orders", &fresh).await, 200);
    for api in [api, patient] {
        stop(api, "TERM", &[&revoked, &opaque, &reader, &fresh, "rs-secret"]).await;
    }
}

#[tokio::test]
async fn rejected_credentials_of_the_program_are_503_and_one_warning() {
    let Some(provider) = Provider::start() else { return };
    let url = format!("{}/token/introspection", provider.identifier);
    let settings = [RS[0], ("OAUTH_CLIENT_SECRET", SECRET), ("OAUTH_INTROSPECTION_URL", &url)];
    let Some(api) = start(&provider, &settings).await else { return };
    is_unavailable(&api.send("GET", "/whoami", &provider.token("orders-opaque", "orders:read").await).await);
    is_unavailable(&api.send("GET", "/whoami", "garbage").await);
    assert_eq!(api.status("/whoami", &provider.token("orders", "orders:read").await).await, 200);
    let log = stop(api, "TERM", &[]).await;
    // The URL alone implies mixed.
    assert!(log.contains("mode=\"mixed\""), "{log}");
    let warnings: Vec<_> = log.lines().filter(|line| line.contains(" WARN tower_oauth: ")).collect();
    let [warning] = warnings[..] else { panic!("not one warning: {log}") };
    for text in ["a token could not be introspected", "the server rejected this API's client credentials"] {
        assert!(warning.contains(text), "{warning}");
    }
}

#[tokio::test]
async fn in_mode_introspection_every_token_is_introspected_and_no_key_is_fetched() {
    let Some(provider) = Provider::start() else { return };
    let url = format!("{}/token/introspection", provider.identifier);
    let settings = [
        ("OAUTH_MODE", "introspection"),
        ("OAUTH_INTROSPECTION_URL", &url),
        // These need encoding within Basic (RFC 6749 §2.3.1).
        ("OAUTH_CLIENT_ID", "cc:odd id"),
        ("OAUTH_CLIENT_SECRET", "p%40 s+/=:~"),
        ("OAUTH_INTROSPECTION_CACHE_SECONDS", "0"),
    ];
    let Some(api) = start(&provider, &settings).await else { return };
    let opaque = provider.token("orders-opaque", "orders:read").await;
    for _ in 0..5 {
        assert_eq!(api.status("/orders", &opaque).await, 200);
    }
    assert_eq!(provider.introspections().await, 5);
    let jwt = provider.token("orders", "orders:read").await;
    provider.revoke(&opaque).await;
    for token in ["garbage", &jwt, &opaque] {
        let answer = api.send("GET", "/orders", token).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{answer:?}");
    }
    let requests = provider.all_requests().await.to_string();
    assert!(!requests.contains("well-known") && !requests.contains("jwks"), "{requests}");
    let log = stop(api, "INT", &[&opaque, &jwt, "p%40"]).await;
    // This provider introspects no JWT and says so, which is a verdict.
    assert!(log.contains("reason=\"unsupported_token_type\""), "{log}");
}
