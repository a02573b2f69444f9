//! `PyPI`'s Authlib with requests, and joserfc for the tokens. `.ci/install clients` installs them.
//!
//! Differences to other clients: it does not form-encode id and secret in Basic, so special characters need the body, or its user
//! must encode them. The audience of its assertions is the token endpoint's URL unless the issuer is configured. It does not check
//! `iss`.

use tower_oauth::{keys::Algorithm, token_endpoint::TokenEndpointBuilder};

use super::{CLIENTS, Host, program::AuthorizationServer, script::Script, tools::in_target};
use crate::servers::not_run;

fn script() -> Option<Script> {
    let program = in_target("authlib").join("bin/python");
    if program.is_file() {
        return Some(Script { program, file: Some("authlib_client.py") });
    }
    not_run("PyPI's Authlib", CLIENTS);
    None
}

#[tokio::test]
async fn everything_that_a_client_needs_works() {
    let Some(script) = script() else { return };
    script.prints(&Host::start("").await, &expected("invalid_client")).await;
}

#[tokio::test]
async fn an_issuer_with_a_path_works_and_accepts_the_librarys_assertions_if_configured() {
    let Some(script) = script() else { return };
    let host =
        Host::with("/tenants/a", Algorithm::ES256, TokenEndpointBuilder::accept_token_endpoint_as_assertion_audience);
    script.prints(&host.await, &expected("a token")).await;
}

#[tokio::test]
async fn the_example_authorization_server_works() {
    let Some(script) = script() else { return };
    for path in ["", "/tenants/a"] {
        let Some(host) = AuthorizationServer::start(path).await else { return };
        script.prints(&host, &expected("invalid_client")).await;
    }
}

/// Returns the expected lines. `assertion` is the result for an assertion with the library's own audience.
fn expected(assertion: &str) -> Vec<String> {
    let without_users = [
        "discovery",
        "client_credentials by client_secret_basic: reports",
        "client_credentials by client_secret_post: reports",
        "client_credentials by client_secret_basic: no encoding needed",
        "client_credentials by client_secret_basic: special characters: invalid_client",
        "client_credentials by client_secret_basic: special characters, encoded by hand",
        "client_credentials by client_secret_post: special characters",
        "client_credentials by private_key_jwt",
        &format!("client_credentials by private_key_jwt for the token endpoint: {assertion}"),
        "the key set verifies the JWT",
        "introspection: active",
        "revocation, then introspection: inactive",
        "a wrong secret by client_secret_basic: invalid_client",
        "a wrong secret by client_secret_post: invalid_client",
        "a wrong key: invalid_client",
        "a wrong scope: invalid_scope",
        "a wrong resource: invalid_target",
        "a grant that the client may not use: unauthorized_client",
    ];
    let with_users = [
        "a code, with state and iss",
        "the JWT is Ada's",
        "refreshed",
        "an old refresh token: invalid_grant",
        "the session has ended: invalid_grant",
        "a wrong verifier: invalid_grant",
        "a replayed code: invalid_grant",
        "its tokens are revoked",
        "a revoked refresh token: invalid_grant",
    ];
    let users = ["web", "native"].into_iter();
    let with_users = users.flat_map(|id| with_users.map(|what| format!("{id}: {what}")));
    // The refresh tokens of clients that authenticate don't rotate.
    let only_native = ["web: an old refresh token: invalid_grant", "web: the session has ended: invalid_grant"];
    let with_users = with_users.filter(move |line| !only_native.contains(&line.as_str()));
    without_users.map(str::to_owned).into_iter().chain(with_users).collect()
}
