//! Runs a client's script. The script reads its settings from the environment and prints a line for each result. For a line
//! `browse URL` it gets the URL of the redirect that the browser would follow.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
    time::timeout,
};

use super::{Host, tools::folder};

/// A client's script and its interpreter.
pub(super) struct Script {
    pub(super) interpreter: PathBuf,
    pub(super) file: &'static str,
}

impl Script {
    /// Runs the script, and checks that it succeeds and prints exactly these lines in this order.
    pub(super) async fn prints<S: AsRef<str>>(&self, host: &Host, expected: &[S]) {
        let mut process = Command::new(&self.interpreter)
            .arg(folder().join(self.file))
            .env("SERVER", host.settings().to_string())
            .env("NO_PROXY", "127.0.0.1")
            .env("no_proxy", "127.0.0.1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut answers = process.stdin.take().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut printed = Vec::new();
        let run = async {
            while let Some(line) = lines.next_line().await.unwrap() {
                match line.strip_prefix("browse ") {
                    Some(url) => answers.write_all(format!("{}\n", host.browse(url).await).as_bytes()).await.unwrap(),
                    None => printed.push(line),
                }
            }
            process.wait().await.unwrap()
        };
        let status = timeout(MAX_DURATION, run).await.unwrap_or_else(|_| panic!("{} does not end", self.file));
        assert!(status.success(), "{} at {}: {status}; it printed {printed:#?}", self.file, host.issuer);
        assert_eq!(printed, expected.iter().map(AsRef::as_ref).collect::<Vec<_>>(), "{}", self.file);
    }
}

const MAX_DURATION: Duration = Duration::from_secs(120);
