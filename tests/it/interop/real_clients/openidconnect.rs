//! The crate openidconnect 4, in a program of its own, which `.ci/install clients` builds.
//!
//! It is a client for `OpenID` providers. The token endpoint is not one: it has no ID tokens and no user info. The crate's
//! discovery requests `/.well-known/openid-configuration`, which is not served by default. It can read the document of RFC 8414
//! as `ProviderMetadata` if two members are added, which `OpenID` Discovery requires and RFC 8414 does not have. The rest works:
//! codes with PKCE, refresh, introspection, revocation, and its JWK set verifies our tokens.

use tower_oauth::keys::Algorithm;

use super::{CLIENTS, Host, script::Script, tools::in_target};
use crate::servers::not_run;

fn script() -> Option<Script> {
    let program = in_target("openidconnect").join("debug/openidconnect-client");
    if program.is_file() {
        return Some(Script { program, file: None });
    }
    not_run("crates.io's openidconnect", CLIENTS);
    None
}

#[tokio::test]
async fn everything_but_openid_discovery_works() {
    let Some(script) = script() else { return };
    script.prints(&Host::start("").await, &expected("EcdsaP256Sha256")).await;
}

#[tokio::test]
async fn an_issuer_with_a_path_works() {
    let Some(script) = script() else { return };
    script.prints(&Host::start("/tenants/a").await, &expected("EcdsaP256Sha256")).await;
}

#[tokio::test]
async fn its_key_set_reads_ours_and_its_keys_verify_our_tokens() {
    let Some(script) = script() else { return };
    // Not Ed25519: CoreJwsSigningAlgorithm has no such name. It takes the curve of EdDSA from the key.
    let algorithms = [
        (Algorithm::RS256, "RsaSsaPkcs1V15Sha256"),
        (Algorithm::PS256, "RsaSsaPssSha256"),
        (Algorithm::EdDSA, "EdDsa"),
    ];
    for (algorithm, name) in algorithms {
        script.prints(&Host::signing(algorithm).await, &expected(name)).await;
    }
}

/// Returns the expected lines. `algorithm` is the crate's name of the algorithm of the tokens.
fn expected(algorithm: &str) -> Vec<String> {
    let lines = [
        "OpenID discovery: 404",
        "OAuth metadata: without subject_types_supported",
        "OAuth metadata: read with two more members",
        "client_credentials by client_secret_basic: reports",
        "active, and after a revocation inactive: reports",
        "client_credentials by client_secret_post: reports",
        "active, and after a revocation inactive: reports",
        "a wrong secret: reports: invalid_client",
        "client_credentials by client_secret_basic: special characters",
        "active, and after a revocation inactive: special characters",
        "client_credentials by client_secret_post: special characters",
        "active, and after a revocation inactive: special characters",
        "a wrong secret: special characters: invalid_client",
        "web: a wrong verifier: invalid_grant",
        "web: a code, with state and iss",
        "web: the refreshed token is Ada's",
        "web: refreshed again",
        "web: a replayed code: invalid_grant",
        "web: its tokens are revoked",
        "native: a wrong verifier: invalid_grant",
        "native: a code, with state and iss",
        "native: the refreshed token is Ada's",
        "native: refreshed again",
        "native: an old refresh token: invalid_grant",
        "native: the session has ended: invalid_grant",
        "native: a replayed code: invalid_grant",
        "native: its tokens are revoked",
        &format!("the key set verifies the JWT: {algorithm}"),
    ];
    lines.map(str::to_owned).into()
}
