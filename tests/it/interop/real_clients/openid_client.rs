//! npm's openid-client 6 with its JOSE library. `.ci/install clients` installs it.
//!
//! It removes the query from a redirect URI. For a 401 it reports the challenge; the error code is in the response that the error
//! contains.

use std::process::Command;

use super::{CLIENTS, Host, program::AuthorizationServer, script::Script, tools::folder};
use crate::servers::not_run;

fn script() -> Option<Script> {
    let node = Command::new("node").arg("--version").output();
    if node.is_ok_and(|output| output.status.success()) && folder().join("node_modules/openid-client").is_dir() {
        return Some(Script { program: "node".into(), file: Some("openid-client.mjs") });
    }
    not_run("npm's openid-client", CLIENTS);
    None
}

#[tokio::test]
async fn everything_that_a_client_needs_works() {
    let Some(script) = script() else { return };
    script.prints(&Host::start("").await, EXPECTED).await;
}

#[tokio::test]
async fn an_issuer_with_a_path_works() {
    let Some(script) = script() else { return };
    script.prints(&Host::start("/tenants/a").await, EXPECTED).await;
}

#[tokio::test]
async fn the_example_authorization_server_works() {
    let Some(script) = script() else { return };
    for path in ["", "/tenants/a"] {
        let Some(host) = AuthorizationServer::start(path).await else { return };
        script.prints(&host, EXPECTED).await;
    }
}

const EXPECTED: &[&str] = &[
    "discovery",
    "client_credentials by client_secret_basic: reports",
    "client_credentials by client_secret_post: reports",
    "client_credentials by client_secret_basic: special characters",
    "client_credentials by client_secret_post: special characters",
    "client_credentials by client_secret_basic: no encoding needed",
    "client_credentials by private_key_jwt",
    "the key set verifies the JWT",
    "introspection: active",
    "revocation, then introspection: inactive",
    "a wrong secret by client_secret_basic: 401 invalid_client",
    "a wrong secret by client_secret_post: 401 invalid_client",
    "a wrong key: 401 invalid_client",
    "a wrong scope: 400 invalid_scope",
    "a wrong resource: 400 invalid_target",
    "a grant that the client may not use: 400 unauthorized_client",
    "web: a code, with state and iss",
    "web: the JWT is Ada's",
    "web: refreshed",
    "web: a wrong verifier: 400 invalid_grant",
    "web: a replayed code: 400 invalid_grant",
    "web: its tokens are revoked",
    "web: a revoked refresh token: 400 invalid_grant",
    "native: a code, with state and iss",
    "native: the JWT is Ada's",
    "native: refreshed",
    "native: an old refresh token: 400 invalid_grant",
    "native: the session has ended: 400 invalid_grant",
    "native: a wrong verifier: 400 invalid_grant",
    "native: a replayed code: 400 invalid_grant",
    "native: its tokens are revoked",
    "native: a revoked refresh token: 400 invalid_grant",
    "a wrong iss and a missing one are refused",
];
