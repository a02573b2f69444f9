//! Clients as their documentation has them, with the programs `authorization_server` and `protected_api`. Each is a script in
//! `tests/clients`, which prints `works` at the end, or `refused: ` and why.
//!
//! Each row of these tests has the client, its version, what must be set, and what the client then prints. The versions are those
//! that `.ci/install` installs.

mod npm;
mod other;
mod pypi;

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use tokio::process::Command;

use super::{
    CLIENTS,
    tools::{folder, free_port, in_target, missing, run},
};
use crate::{
    program::{ORIGIN, Program},
    support::not_run,
};

const WORKS: &str = "works";
/// Sends no PKCE by default, which the server requires.
const WITHOUT_PKCE: &str = "refused: A code_challenge with method S256 is required";

/// The programs that a client uses.
struct Servers {
    authorization_server: Program,
    /// The port of a page of another origin, which may read responses of the server.
    page: u16,
}

impl Servers {
    /// Starts `authorization_server` with `tests/clients/clients.json`. Returns `None` if it was not built.
    async fn start() -> Option<Self> {
        let page = free_port();
        let clients = folder().join("clients.json");
        let settings = [
            ("CLIENTS", clients.to_str().unwrap()),
            ("USERS", "ada:correct horse"),
            ("DPOP", "on"),
            ("DPOP_NONCE_SECRET", "random"),
            ("ALLOW_ORIGINS", &format!("http://127.0.0.1:{page}")),
            ("CLIENT_DOCUMENT_HOSTS", "claude.ai"),
            ("CLIENT_DOCUMENT_SCOPE", "profile"),
            ("CLIENT_DOCUMENT_AUDIENCES", r#"{"https://api.test":"jwt"}"#),
        ];
        let launch = Program::example("authorization_server").settings(&settings);
        Some(Self { authorization_server: launch.start("authorization server at ").await?, page })
    }

    fn issuer(&self) -> String {
        self.authorization_server.url("")
    }

    /// Starts `protected_api`, which accepts the tokens of the server and requires nonces in DPoP proofs.
    async fn protected_api(&self) -> Option<Program> {
        let settings = [
            ("OAUTH_ISSUER", &*self.issuer()),
            ("OAUTH_AUDIENCE", ORIGIN),
            ("OAUTH_RESOURCE_METADATA", "1"),
            ("OAUTH_RESOURCE_ALSO", "https://api.test"),
            ("OAUTH_DPOP_BASE", ORIGIN),
            ("OAUTH_DPOP_NONCE_SECRET", "random"),
            ("OAUTH_ACCEPT", "plain-http"),
        ];
        Program::example("protected_api").settings(&settings).start("listening address=").await
    }
}

/// A client that is installed, and the command that runs it.
struct Client {
    name: &'static str,
    command: Vec<PathBuf>,
    /// Directories with further programs.
    folders: Vec<PathBuf>,
}

impl Client {
    fn new(name: &'static str, command: Vec<PathBuf>) -> Self {
        Self { name, command, folders: vec![folder().join("bin")] }
    }

    /// A package of npm, of this version, with a script. Returns `None` and reports it if the package is not installed.
    fn npm(name: &'static str, version: &str, script: &str) -> Option<Self> {
        let package = folder().join("node_modules").join(name).join("package.json");
        let (Ok(package), None) = (fs::read_to_string(package), missing(&["node", "python3"])) else {
            not_run(&format!("npm's {name}"), CLIENTS);
            return None;
        };
        let package: Value = serde_json::from_str(&package).unwrap();
        has_version(name, package["version"].as_str().unwrap(), version);
        Some(Self::new(name, vec!["node".into(), folder().join(script)]))
    }

    /// A package of `PyPI`, of this version, with a script. Returns `None` and reports it if the package is not installed.
    fn pypi(name: &'static str, version: &str, script: &str) -> Option<Self> {
        let Some(python) = python() else {
            not_run(&format!("PyPI's {name}"), CLIENTS);
            return None;
        };
        let pinned = fs::read_to_string(folder().join("requirements.txt")).unwrap();
        let pinned = pinned.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("=="));
        has_version(name, pinned.unwrap_or_else(|| panic!("{name} is not in requirements.txt")), version);
        Some(Self::new(name, vec![python, folder().join(script)]))
    }

    /// Runs the client with these variables. It must print a line that begins like this at the end.
    async fn prints(&self, servers: &Servers, setting: &str, expected: &str, variables: &[(&str, &str)]) {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env("ISSUER", servers.issuer()).envs(variables.iter().copied());
        let output = run(command, &self.folders).await;
        let printed = String::from_utf8_lossy(&output.stdout);
        let last = printed.lines().last().unwrap_or_default();
        assert!(
            last.starts_with(expected),
            "{}, {setting}: it prints {last:?} instead of {expected:?}\n{printed}\n{}\n{}",
            self.name,
            String::from_utf8_lossy(&output.stderr),
            servers.authorization_server.log()
        );
    }

    /// The client is refused as its documentation has it. It works with its own setting for PKCE, if it has one, and with the
    /// setting `accept_without_pkce` of the server.
    async fn needs_pkce(&self, refusal: &str, own_setting: Option<&str>) {
        let Some(servers) = Servers::start().await else { return };
        self.prints(&servers, "as documented", refusal, &[("CLIENT_ID", "web")]).await;
        if let Some(setting) = own_setting {
            self.prints(&servers, setting, WORKS, &[("CLIENT_ID", "web"), ("PKCE", "1")]).await;
        }
        self.prints(&servers, "accept_without_pkce", WORKS, &[("CLIENT_ID", "without-pkce")]).await;
    }
}

/// Returns the Python with the clients of `PyPI`.
fn python() -> Option<PathBuf> {
    Some(in_target("authlib").join("bin/python")).filter(|python| python.is_file())
}

/// The installed version must be this one: `1.8` stands for `1.8.0`, too.
fn has_version(name: &str, installed: &str, version: &str) {
    let rest = installed.strip_prefix(version);
    assert!(rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.')), "{name} {installed} is not {version}");
}

/// The page that Chromium runs is the one that users read.
#[test]
fn a_guide_contains_the_page_with_oidc_client_ts() {
    let page = fs::read_to_string(folder().join("spa.html")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guides = fs::read_dir(root.join("src/guide")).into_iter().flatten().map(|entry| entry.unwrap().path());
    let mut files = guides.chain([root.join("README.md")]);
    let has_it = files.any(|file| fs::read_to_string(file).is_ok_and(|text| text.contains(&page)));
    assert!(has_it, "neither a guide nor README.md contains tests/clients/spa.html");
}
