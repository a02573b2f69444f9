//! Tokens of the program `authorization_server`, with nonces and with clients that get only bound tokens.

use super::{
    ATPROTO_REQUESTS, DPOP_REQUESTS, DPOP_TOKENS, MACHINE_REQUESTS, TOKEN_WITH_NONCE, USER_REQUESTS, USER_TOKENS,
    atproto,
    exchanges::Exchanges,
    machine, native,
    programs::{ORIGIN, Program},
};
use crate::support::API;

const CLIENT: (&str, &str) = ("reports", "reports-secret");

/// Starts the API in this mode, for tokens of this issuer.
async fn api(issuer: &Program, mode: &str) -> Option<Program> {
    let mut settings = vec![("OAUTH_ISSUER", &*issuer.origin), ("OAUTH_AUDIENCE", API), ("OAUTH_MODE", mode)];
    if mode != "jwt" {
        settings.extend([("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "rs-secret")]);
    }
    Program::protected_api(&settings).await
}

#[tokio::test]
async fn oauth4webapi_repeats_a_request_once_in_each_mode() {
    for (format, modes) in [("jwt", &["jwt", "introspection", "mixed"][..]), ("opaque", &["introspection", "mixed"])] {
        let Some(issuer) = Program::authorization_server(API, format).await else { return };
        for mode in modes {
            let Some(api) = api(&issuer, mode).await else { return };
            let settings = machine(&issuer.origin, CLIENT, API, &format!("{}/whoami", api.origin));
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
    let settings = machine(&issuer.origin, CLIENT, API, &format!("{}/whoami", api.origin));
    let Some(seen) = Exchanges::of("openid-client.mjs", &settings).await else { return };
    seen.are(TOKEN_WITH_NONCE, &MACHINE_REQUESTS.concat());
    seen.take_up_each_nonce();
}

#[tokio::test]
async fn openid_client_refreshes_the_bound_tokens_of_a_public_client() {
    for (format, mode) in [("jwt", "jwt"), ("opaque", "introspection")] {
        let Some(issuer) = Program::authorization_server(API, format).await else { return };
        let Some(api) = api(&issuer, mode).await else { return };
        let settings = native(&issuer.origin, "native", API, "orders:read", &format!("{}/whoami", api.origin));
        let Some(seen) = Exchanges::of("openid-client.mjs", &settings).await else { return };
        seen.are(&USER_TOKENS.concat(), &USER_REQUESTS.concat());
        seen.take_up_each_nonce();
    }
}

#[tokio::test]
async fn proofs_of_npms_dpop_are_accepted_in_each_algorithm() {
    let Some(issuer) = Program::authorization_server(API, "jwt").await else { return };
    let Some(api) = api(&issuer, "jwt").await else { return };
    let settings = machine(&issuer.origin, CLIENT, API, &format!("{}/whoami", api.origin));
    let Some(seen) = Exchanges::of("dpop.mjs", &settings).await else { return };
    seen.are(DPOP_TOKENS, &DPOP_REQUESTS.concat());
    seen.take_up_each_nonce();
}

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
