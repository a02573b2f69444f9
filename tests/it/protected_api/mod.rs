//! The example program `protected_api`, as a process. `cargo test` builds it with the tests.

mod resource;
// The program that they drive was built with all features.
#[cfg(feature = "aws-lc-rs")]
mod sender;
#[cfg(feature = "aws-lc-rs")]
pub(crate) mod sender_fixture;
mod settings;
#[cfg(feature = "aws-lc-rs")]
mod settings_sender;

use std::{
    env,
    process::{Output, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tower_oauth::fetch::{Fetch as _, HttpClient};

use crate::support::not_run;

/// A running program, which is killed when this value is dropped.
pub(crate) struct Api {
    address: String,
    client: HttpClient,
    log: Arc<Mutex<Vec<String>>>,
    _process: Child,
}

impl Api {
    /// Starts the program with these variables. Returns `None` and reports it if the program was not built.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Option<Self> {
        let mut process = command(settings)?.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(Vec::new()));
        let address = loop {
            let line =
                timeout(Duration::from_secs(10), lines.next_line()).await.expect("it starts within 10 s").unwrap();
            let line = line.unwrap_or_else(|| panic!("with {settings:?} the program ended: {log:#?}"));
            log.lock().unwrap().push(line.clone());
            if let Some((_, rest)) = line.split_once("listening address=") {
                break rest.split(' ').next().unwrap().to_owned();
            }
        };
        // Read on, so that the program never waits for a full pipe.
        let lines_of_log = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                lines_of_log.lock().unwrap().push(line);
            }
        });
        Some(Self { address, client: HttpClient::new().unwrap(), log, _process: process })
    }

    /// Returns the address that the program listens on.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Returns what the program has logged.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) async fn get(&self, path: &str, header: (&str, &str)) -> Response<Bytes> {
        let request = Request::get(format!("http://{}{path}", self.address)).header(header.0, header.1);
        self.client.fetch(request.body(Bytes::new()).unwrap()).await.unwrap()
    }

    /// Returns the status of `GET path` with this token.
    pub(crate) async fn status(&self, path: &str, token: &str) -> u16 {
        self.get(path, ("authorization", &format!("Bearer {token}"))).await.status().as_u16()
    }

    /// Returns the response of `/whoami`, which must accept the token.
    pub(crate) async fn who_am_i(&self, token: &str) -> Value {
        let response = self.get("/whoami", ("authorization", &format!("Bearer {token}"))).await;
        assert_eq!(response.status(), 200, "{response:?}");
        serde_json::from_slice(response.body()).unwrap()
    }

    /// `/whoami` must refuse the token as `invalid_token`. Returns the challenge.
    pub(crate) async fn refusal(&self, token: &str) -> String {
        let response = self.get("/whoami", ("authorization", &format!("Bearer {token}"))).await;
        assert_eq!(response.status(), 401, "{response:?}");
        let challenge = response.headers()["www-authenticate"].to_str().unwrap().to_owned();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        challenge
    }
}

/// Runs the program until it ends. Returns `None` and reports it if the program was not built.
pub(crate) async fn run(settings: &[(&str, &str)], arguments: &[&str]) -> Option<Output> {
    let mut command = command(settings)?;
    let output = command.args(arguments).output();
    Some(timeout(Duration::from_secs(10), output).await.expect("the program ends at once").unwrap())
}

/// Returns the command with these variables and no others, at a free port.
fn command(settings: &[(&str, &str)]) -> Option<Command> {
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(|folder| folder.parent()).unwrap().join("examples/protected_api");
    if !program.is_file() {
        not_run("the program protected_api", "the example programs (cargo build --all-features --examples)");
        return None;
    }
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("BIND", "127.0.0.1:0")
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    Some(command)
}
