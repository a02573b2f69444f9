//! A running contestant: one line for each command, one line for each response.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use contestant::Setup;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};
use tower_oauth::testing::MockIssuer;

use crate::{AUDIENCE, Entry, issuer::jwks_uri, tokens::Tokens};

pub(crate) struct Process {
    /// Killed when this is dropped.
    _child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: PathBuf,
}

impl Process {
    pub(crate) async fn start(
        program: &Path,
        entry: &'static Entry,
        issuer: &MockIssuer,
        tokens: &Tokens,
    ) -> Result<Self, String> {
        let setup = Setup {
            variant: entry.variant.to_owned(),
            issuer: issuer.identifier().to_owned(),
            jwks_uri: jwks_uri(issuer),
            audience: AUDIENCE.to_owned(),
            token: tokens.good.clone(),
            jwk: issuer.jwk(),
        };
        let stderr = program.with_extension("stderr");
        let errors = std::fs::File::create(&stderr).map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .arg(serde_json::to_string(&setup).expect("plain strings"))
            .env("NO_PROXY", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| error.to_string())?;
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut process = Self { _child: child, stdin, stdout, stderr };
        match process.line(Duration::from_secs(20)).await {
            Some(line) if line == "ready" => Ok(process),
            Some(line) => Err(line.trim_start_matches("failed: ").to_owned()),
            None => Err(process.failure()),
        }
    }

    /// Sends a command and returns the response. An error has the reason from standard error, if there is one.
    pub(crate) async fn command(&mut self, command: &str) -> Result<String, String> {
        let _ = self.stdin.write_all(format!("{command}\n").as_bytes()).await;
        self.line(Duration::from_secs(60)).await.ok_or_else(|| self.failure())
    }

    async fn line(&mut self, limit: Duration) -> Option<String> {
        tokio::time::timeout(limit, self.stdout.next_line()).await.ok()?.ok()?
    }

    fn failure(&self) -> String {
        let errors = std::fs::read_to_string(&self.stderr).unwrap_or_default();
        let mut lines = errors.lines().filter(|line| !line.is_empty());
        match lines.find(|line| line.contains("panicked")) {
            Some(panic) => format!("{panic} {}", lines.next().unwrap_or_default()),
            None => "the program ended, or did not respond in time".to_owned(),
        }
    }
}
