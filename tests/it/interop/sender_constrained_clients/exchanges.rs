//! Runs a script, and reads the exchanges that it prints.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{process::Command, time::timeout};

use crate::support::not_run;

/// The HTTP exchanges of a client.
pub(super) struct Exchanges {
    all: Vec<Value>,
    /// The URL of the API.
    api: String,
    /// The nonce that the script gives to the client instead of the first one at this URL.
    old_nonces: HashMap<String, String>,
}

impl Exchanges {
    /// Runs this script, which must succeed. Returns `None` and reports it if it can't run here.
    pub(super) async fn of(script: &str, settings: &Value) -> Option<Self> {
        let folder = folder()?;
        let run = Command::new("node")
            .arg(folder.join(script))
            .env("SERVER", settings.to_string())
            .env("NODE_NO_WARNINGS", "1")
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = timeout(MAX_DURATION, run).await.unwrap_or_else(|_| panic!("{script} does not end")).unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let mut lines = printed.lines().rev();
        assert_eq!(lines.next(), Some("works"), "{script} with {settings}: {errors}");
        let all = serde_json::from_str(lines.next().unwrap()).unwrap();
        let api = settings["url"].as_str().unwrap().to_owned();
        let old_nonces = serde_json::from_value(settings["old_nonces"].clone()).unwrap_or_default();
        Some(Self { all, api, old_nonces })
    }

    /// Asserts that these are the exchanges with the token endpoint, and with the API.
    pub(super) fn are(&self, token: &[&str], api: &[&str]) {
        assert_eq!(self.lines(|exchange| path(exchange).ends_with("/token")), token, "{self}");
        assert_eq!(self.lines(|exchange| self.is_at_the_api(exchange)), api, "{self}");
        for exchange in &self.all {
            let nonce = exchange["nonce"].as_str();
            assert!(!nonce.is_some_and(|nonce| nonce.contains([',', ' '])), "{exchange:#}");
            if self.is_at_the_api(exchange) && (exchange["status"] != 200 || nonce.is_some()) {
                assert_eq!(exchange["cache_control"], "no-store", "{exchange:#}");
            }
        }
    }

    /// Asserts that each proof of the client has the nonce that the same origin offered last, if it offered one, and that an
    /// accepted request gets a new nonce exactly if its own was no longer the current one.
    pub(super) fn take_up_each_nonce(&self) {
        let mut offered: HashMap<&str, &str> = HashMap::new();
        let mut old = self.old_nonces.clone();
        for exchange in self.all.iter().filter(|exchange| is_of_the_client(exchange)) {
            let url = path(exchange);
            let origin = url.split('/').nth(2).unwrap();
            let used = exchange["proof"]["claims"]["nonce"].as_str();
            assert_eq!(used, offered.get(origin).copied(), "{exchange:#}");
            let nonce = exchange["nonce"].as_str();
            if exchange["status"] == 200 {
                let is_old = used.is_some() && self.old_nonces.get(url).map(String::as_str) == used;
                assert!(nonce != used || used.is_none(), "{exchange:#}");
                assert!(nonce.is_some() || !is_old, "{exchange:#}");
            }
            if let Some(nonce) = nonce {
                let instead = old.remove(url).and_then(|_| self.old_nonces.get(url));
                offered.insert(origin, instead.map_or(nonce, String::as_str));
            }
        }
        assert!(old.is_empty(), "no nonce was offered at {old:?}");
    }

    /// Returns the exchanges of this step with the API or the token endpoint.
    pub(super) fn step(&self, name: &str) -> Vec<&Value> {
        self.all.iter().filter(|exchange| exchange["step"] == name).collect()
    }

    fn is_at_the_api(&self, exchange: &Value) -> bool {
        path(exchange) == self.api
    }

    fn lines(&self, which: impl Fn(&Value) -> bool) -> Vec<String> {
        self.all.iter().filter(|exchange| which(exchange)).map(line).collect()
    }
}

impl std::fmt::Display for Exchanges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.all.iter().try_for_each(|exchange| {
            let members = ["method", "url", "challenge", "answer"].map(|member| exchange[member].to_string());
            writeln!(f, "{} | {}", line(exchange), members.join(" "))
        })
    }
}

/// True if the client has sent a proof that it made for this request.
fn is_of_the_client(exchange: &Value) -> bool {
    let others = ["replayed", "with a proof for another URL", "refresh with another key"];
    exchange["proof"].is_object() && !others.contains(&exchange["step"].as_str().unwrap())
}

/// Returns the URL without its query.
fn path(exchange: &Value) -> &str {
    exchange["url"].as_str().unwrap().split('?').next().unwrap()
}

/// Describes an exchange.
fn line(exchange: &Value) -> String {
    let error = match exchange["challenge"].as_str() {
        Some(challenges) => format!(" {}", errors(challenges)),
        None => exchange["answer"]["error"].as_str().map(|error| format!(" {error}")).unwrap_or_default(),
    };
    // An accepted request gets a nonce if the minute ended since the client got its one.
    let nonce = if exchange["nonce"].is_string() && exchange["status"] != 200 { " +nonce" } else { "" };
    format!("{}: {}{error}{nonce}", exchange["step"].as_str().unwrap_or("at first"), exchange["status"])
}

/// Returns the schemes of the challenges in their order, each with its error.
fn errors(challenges: &str) -> String {
    let starts = challenges.match_indices(", ").map(|(index, separator)| index + separator.len());
    let is_scheme =
        |start: &usize| ["Bearer realm=", "DPoP realm="].iter().any(|scheme| challenges[*start..].starts_with(scheme));
    let mut starts: Vec<usize> = [0].into_iter().chain(starts).filter(is_scheme).collect();
    starts.push(challenges.len());
    let one = |bounds: &[usize]| {
        let challenge = &challenges[bounds[0]..bounds[1]];
        let (scheme, parameters) = challenge.split_once(' ').unwrap();
        assert!(scheme != "DPoP" || parameters.contains("algs=\""), "{challenges}");
        match parameters.split_once("error=\"").and_then(|(_, rest)| rest.split_once('"')) {
            Some((error, _)) => format!("{scheme} {error}"),
            None => scheme.to_owned(),
        }
    };
    starts.windows(2).map(one).collect::<Vec<_>>().join(", ")
}

/// Returns the directory of the scripts, if they can run.
fn folder() -> Option<PathBuf> {
    let clients = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let node = std::process::Command::new("node").arg("--version").output();
    if node.is_ok_and(|output| output.status.success()) && clients.join("node_modules/dpop").is_dir() {
        return Some(clients.join("sender_constrained"));
    }
    not_run(
        "npm's clients for sender-constrained tokens",
        "the clients of npm, PyPI and crates.io are not installed (CI=true .ci/install clients)",
    );
    None
}

const MAX_DURATION: Duration = Duration::from_secs(60);
