//! Tokens of the program `authorization_server`, with nonces and with clients that get only bound tokens.

use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::Request;
use serde_json::json;
use tower::ServiceExt as _;
use tower_oauth::{
    dpop::NonceSecret,
    keys::{Algorithm, PrivateKey},
    testing::ManualClock,
    token_endpoint::{Client, ClientCredentialsGrant, ClientSecret, Clients, TokenEndpoint, TokenFormat},
};

use super::{
    ATPROTO_REQUESTS, DPOP_REQUESTS, DPOP_TOKENS, MACHINE_REQUESTS, SECRET, TOKEN_WITH_NONCE, USER_REQUESTS,
    USER_TOKENS, atproto,
    exchanges::Exchanges,
    machine, native,
    programs::{ORIGIN, Program},
};
use crate::support::{API, ISSUER};

const CLIENT: (&str, &str) = ("reports", "reports-secret");

/// Starts the API in this mode, for tokens of this issuer.
async fn api(issuer: &Program, mode: &str) -> Option<Program> {
    let mut settings = vec![("OAUTH_ISSUER", &*issuer.origin), ("OAUTH_AUDIENCE", API), ("OAUTH_MODE", mode)];
    if mode != "jwt" {
        settings.extend([("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "rs-secret")]);
    }
    Program::protected_api(&settings).await
}

/// Returns a nonce that the token endpoint offered 90 seconds ago.
async fn old_nonce() -> String {
    let clock = ManualClock::new(SystemTime::now() - Duration::from_secs(90));
    let client = Client::builder("reports", ClientSecret::new("reports-secret")).grant_types(["client_credentials"]);
    let clients = Clients::new([client.audience(API, TokenFormat::Jwt).dpop_bound_access_tokens().build().unwrap()]);
    let endpoint = TokenEndpoint::builder(ISSUER, PrivateKey::generate(Algorithm::ES256).unwrap(), clients.unwrap())
        .grant(ClientCredentialsGrant::new())
        .dpop_nonces(NonceSecret::shared(SECRET))
        .clock(clock)
        .build()
        .unwrap();
    let request = Request::post("/token").header("content-type", "application/x-www-form-urlencoded");
    let form = "grant_type=client_credentials&client_id=reports&client_secret=reports-secret";
    let response = endpoint.oneshot(request.body(Body::from(form)).unwrap()).await.unwrap();
    response.headers()["dpop-nonce"].to_str().unwrap().to_owned()
}

/// RFC 9449 §8 b (MUST, accepts)
#[tokio::test]
async fn oauth4webapi_repeats_a_request_once_in_each_mode() {
    for (format, modes) in [("jwt", &["jwt", "introspection", "mixed"][..]), ("opaque", &["introspection", "mixed"])] {
        let Some(issuer) = Program::authorization_server(API, format).await else { return };
        for mode in modes {
            let Some(api) = api(&issuer, mode).await else { return };
            let settings = machine(&issuer.origin, CLIENT, API, &api);
            let Some(seen) = Exchanges::of("oauth4webapi.mjs", &settings).await else { return };
            seen.are(TOKEN_WITH_NONCE, &MACHINE_REQUESTS.concat());
            seen.take_up_each_nonce();
            assert_eq!(seen.step("token")[1]["answer"]["token_type"], "DPoP");
            let whoami = &seen.step("third")[0]["answer"];
            assert_eq!((&whoami["client_id"], &whoami["sub"]), (&"reports".into(), &"reports".into()), "{whoami}");
            assert_eq!(whoami["confirmation"]["jkt"].as_str().map(str::len), Some(43), "{whoami}");
        }
    }
}

#[tokio::test]
async fn openid_client_works_with_client_credentials() {
    let Some(issuer) = Program::authorization_server(API, "jwt").await else { return };
    let Some(api) = api(&issuer, "jwt").await else { return };
    let settings = machine(&issuer.origin, CLIENT, API, &api);
    let Some(seen) = Exchanges::of("openid-client.mjs", &settings).await else { return };
    seen.are(TOKEN_WITH_NONCE, &MACHINE_REQUESTS.concat());
    seen.take_up_each_nonce();
}

#[tokio::test]
async fn openid_client_refreshes_the_bound_tokens_of_a_public_client() {
    for (format, mode) in [("jwt", "jwt"), ("opaque", "introspection")] {
        let Some(issuer) = Program::authorization_server(API, format).await else { return };
        let Some(api) = api(&issuer, mode).await else { return };
        let mut settings = native(&issuer.origin, "native", API, "orders:read", &api);
        settings["old_nonces"][format!("{}/token", issuer.origin)] = old_nonce().await.into();
        let Some(seen) = Exchanges::of("openid-client.mjs", &settings).await else { return };
        seen.are(&USER_TOKENS.concat(), &USER_REQUESTS.concat());
        seen.take_up_each_nonce();
    }
}

#[tokio::test]
async fn proofs_of_npms_dpop_are_accepted_in_each_algorithm() {
    let Some(issuer) = Program::authorization_server(API, "jwt").await else { return };
    let Some(api) = api(&issuer, "jwt").await else { return };
    let settings = machine(&issuer.origin, CLIENT, API, &api);
    let Some(seen) = Exchanges::of("dpop.mjs", &settings).await else { return };
    seen.are(DPOP_TOKENS, &DPOP_REQUESTS.concat());
    seen.take_up_each_nonce();
}

/// AT Protocol 1 (MUST, accepts)
#[tokio::test]
async fn a_client_of_the_at_protocol_takes_up_each_nonce() {
    let Some(issuer) = Program::authorization_server(API, "jwt").await else { return };
    let publish = [
        ("OAUTH_ISSUER", &*issuer.origin),
        ("OAUTH_AUDIENCE", ORIGIN),
        ("OAUTH_RESOURCE_METADATA", "1"),
        ("OAUTH_RESOURCE_ALSO", API),
    ];
    let Some(api) = Program::protected_api(&publish).await else { return };
    let Some(seen) = Exchanges::of("atproto.mjs", &atproto(&issuer.origin, &api)).await else { return };
    seen.are(&[TOKEN_WITH_NONCE, &["refresh: 200"]].concat(), &ATPROTO_REQUESTS.concat());
    seen.take_up_each_nonce();
}

/// RFC 9449 §8 b (MUST, refuses)
#[tokio::test]
async fn without_nonces_no_request_is_repeated() {
    let Some(issuer) = Program::authorization_server_with(API, "jwt", &[]).await else { return };
    let settings = [
        ("OAUTH_ISSUER", &*issuer.origin),
        ("OAUTH_AUDIENCE", API),
        ("OAUTH_DPOP_BASE", ORIGIN),
        ("OAUTH_SENDER_CONSTRAINT", "require"),
    ];
    let Some(api) = Program::start("protected_api", "http", &settings).await else { return };
    let mut settings = machine(&issuer.origin, CLIENT, API, &api);
    settings["old_nonces"] = json!({});
    let Some(seen) = Exchanges::of("oauth4webapi.mjs", &settings).await else { return };
    // An API that accepts only bound tokens offers only DPoP.
    let requests = [
        "first: 200",
        "second: 200",
        "third: 200",
        "as bearer: 401 Bearer invalid_token, DPoP",
        "without a proof: 401 DPoP invalid_dpop_proof",
        "replayed: 401 DPoP invalid_dpop_proof",
        "afterwards: 200",
    ];
    seen.are(&["token: 200"], &requests);
    seen.take_up_each_nonce();
}
