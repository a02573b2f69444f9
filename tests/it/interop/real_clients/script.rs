//! Runs a client: a script or a program. It reads its settings from the environment and prints a line for each result. For a line
//! `browse URL` it gets the URL of the redirect that the browser would follow.

use std::{path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::Command,
    time::timeout,
};

use super::{Host, tools::folder};

/// A client's script and its interpreter, or a program without a script.
pub(super) struct Script {
    pub(super) program: PathBuf,
    pub(super) file: Option<&'static str>,
}

impl Script {
    /// Runs the client, and checks that it succeeds and prints exactly these lines in this order.
    pub(super) async fn prints<S: AsRef<str>>(&self, host: &Host, expected: &[S]) {
        let name = self.file.map_or_else(|| self.program.display().to_string(), str::to_owned);
        let mut process = Command::new(&self.program)
            .args(self.file.map(|file| folder().join(file)))
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
        let status = timeout(MAX_DURATION, run).await.unwrap_or_else(|_| panic!("{name} does not end"));
        assert!(status.success(), "{name} at {}: {status}; it printed {printed:#?}", host.issuer);
        assert_eq!(printed, expected.iter().map(AsRef::as_ref).collect::<Vec<_>>(), "{name}");
    }
}

const MAX_DURATION: Duration = Duration::from_secs(120);
