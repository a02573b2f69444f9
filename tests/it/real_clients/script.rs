//! Runs a client's script. It reads from the environment what it must know, and writes a line for each thing that it saw; when
//! it says `browse URL`, it is told where the browser was sent.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
    time::timeout,
};

use super::Host;

/// A client's script, and what runs it.
pub(super) struct Script {
    pub(super) interpreter: PathBuf,
    pub(super) file: &'static str,
}

impl Script {
    /// Runs it to its end: it succeeds, and saw these things and no others, in this order.
    pub(super) async fn sees<S: AsRef<str>>(&self, host: &Host, expected: &[S]) {
        let mut process = Command::new(&self.interpreter)
            .arg(folder().join(self.file))
            .env("SERVER", host.tell().to_string())
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut answers = process.stdin.take().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut seen = Vec::new();
        let run = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                match line.strip_prefix("browse ") {
                    Some(url) => answers.write_all(format!("{}\n", host.browse(url).await).as_bytes()).await.unwrap(),
                    None => seen.push(line),
                }
            }
            process.wait().await.unwrap()
        };
        let status = timeout(PATIENCE, run).await.unwrap_or_else(|_| panic!("{} does not end", self.file));
        assert!(status.success(), "{} at {}: {status}; before that: {seen:#?}", self.file, host.issuer);
        assert_eq!(seen, expected.iter().map(AsRef::as_ref).collect::<Vec<_>>(), "{}", self.file);
    }
}

/// Where the scripts are.
pub(super) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

const PATIENCE: Duration = Duration::from_secs(120);
