//! Tokens of npm's oidc-provider, which requires nonces too: JWTs that `protected_api` verifies, and opaque tokens that it
//! introspects.

use super::{
    ATPROTO_REQUESTS, DPOP_REQUESTS, DPOP_TOKENS, MACHINE_REQUESTS, TOKEN_WITH_NONCE, USER_REQUESTS, USER_TOKENS,
    atproto,
    exchanges::Exchanges,
    machine, native,
    programs::{ORIGIN, Program},
};
use crate::interop::oidc_provider::Provider;

pub(super) const AUDIENCE: &str = "https://api.interop.test/orders";
const OPAQUE: &str = "https://api.interop.test/orders-opaque";
const CLIENT: (&str, &str) = ("cc-dpop", "cc-dpop-secret");
/// Each mode of `protected_api` with the resources whose tokens it accepts.
pub(super) const MODES: [(&str, &[&str]); 3] =
    [("jwt", &[AUDIENCE]), ("introspection", &[OPAQUE]), ("mixed", &[AUDIENCE, OPAQUE])];

/// Starts the issuer, which requires nonces.
fn start() -> Option<Provider> {
    Provider::start_with(&[("DPOP_NONCE", "1")])
}

async fn api(provider: &Provider, mode: &str) -> Option<Program> {
    Program::protected_api(&of_issuer(provider, mode)).await
}

/// The settings of the API in this mode.
pub(super) fn of_issuer<'a>(provider: &'a Provider, mode: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut settings =
        vec![("OAUTH_ISSUER", &*provider.identifier), ("OAUTH_AUDIENCE", AUDIENCE), ("OAUTH_MODE", mode)];
    if mode != "jwt" {
        settings.extend([("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "rs-secret")]);
    }
    settings
}

#[tokio::test]
async fn oauth4webapi_repeats_a_request_once_in_each_mode() {
    let Some(provider) = start() else { return };
    for (mode, resources) in MODES {
        let Some(api) = api(&provider, mode).await else { return };
        for resource in resources {
            let settings = machine(&provider.identifier, CLIENT, resource, &api);
            let Some(seen) = Exchanges::of("oauth4webapi.mjs", &settings).await else { return };
            seen.are(TOKEN_WITH_NONCE, &MACHINE_REQUESTS.concat());
            seen.take_up_each_nonce();
            let whoami = &seen.step("third")[0]["answer"];
            assert_eq!(whoami["client_id"], "cc-dpop", "{whoami}");
            assert_eq!(whoami["confirmation"]["jkt"].as_str().map(str::len), Some(43), "{whoami}");
        }
    }
}

#[tokio::test]
async fn openid_client_refreshes_the_bound_tokens_of_a_public_client() {
    let Some(provider) = start() else { return };
    let Some(api) = api(&provider, "mixed").await else { return };
    for resource in [AUDIENCE, OPAQUE] {
        let settings = native(&provider.identifier, "dpop-native", resource, "openid offline_access orders:read", &api);
        let Some(seen) = Exchanges::of("openid-client.mjs", &settings).await else { return };
        seen.are(&USER_TOKENS.concat(), &USER_REQUESTS.concat());
        seen.take_up_each_nonce();
    }
}

#[tokio::test]
async fn proofs_of_npms_dpop_are_accepted_in_each_algorithm() {
    let Some(provider) = start() else { return };
    let Some(api) = api(&provider, "jwt").await else { return };
    let settings = machine(&provider.identifier, CLIENT, AUDIENCE, &api);
    let Some(seen) = Exchanges::of("dpop.mjs", &settings).await else { return };
    seen.are(DPOP_TOKENS, &DPOP_REQUESTS.concat());
    seen.take_up_each_nonce();
}

#[tokio::test]
async fn a_client_of_the_at_protocol_takes_up_each_nonce() {
    let settings = [("DPOP_NONCE", "1"), ("CLIENT_DOCUMENTS", "1"), ("DEFAULT_RESOURCE", "orders")];
    let Some(provider) = Provider::start_with(&settings) else { return };
    let publish = [
        ("OAUTH_ISSUER", &*provider.identifier),
        ("OAUTH_AUDIENCE", ORIGIN),
        ("OAUTH_RESOURCE_METADATA", "1"),
        ("OAUTH_RESOURCE_ALSO", AUDIENCE),
    ];
    let Some(api) = Program::protected_api(&publish).await else { return };
    let settings = atproto(&provider.identifier, &api);
    let Some(seen) = Exchanges::of("atproto.mjs", &settings).await else { return };
    // The pushed authorization request took the nonce.
    seen.are(&["token: 200", "refresh: 200"], &ATPROTO_REQUESTS.concat());
    seen.take_up_each_nonce();
}
