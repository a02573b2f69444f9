//! The processes of a run: this program, started again with a role, and what Linux reports about it.
//!
//! A process writes its port as its first line, then one line of figures for each line that it reads. It ends with its input,
//! so that none outlives the program.

use std::{
    fs,
    io::{BufRead as _, stdin},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// The first argument of a started process.
pub(crate) mod role {
    pub(crate) const API: &str = "serve-api";
    pub(crate) const ISSUER: &str = "serve-issuer";
}

pub(crate) struct Process {
    pub(crate) port: u16,
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts this program with these arguments in a shell that has run `limit`. Returns when it has a port.
    pub(crate) async fn start(limit: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("{limit} && exec \"$0\" \"$@\"")).arg(std::env::current_exe().unwrap());
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = output.next_line().await.unwrap().expect("the process ended").parse().unwrap();
        Self { port, child, input, output }
    }

    /// Returns the figures of the process, by its pipes: a socket would count as one of its sockets.
    pub(crate) async fn ask(&mut self) -> Vec<usize> {
        self.input.write_all(b"\n").await.unwrap();
        let line = self.output.next_line().await.unwrap().expect("the process ended");
        line.split(' ').map(|figure| figure.parse().unwrap()).collect()
    }

    pub(crate) async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Returns the resident memory and its maximum, in KiB.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse().unwrap()
        };
        (figure("VmRSS:"), figure("VmHWM:"))
    }

    /// Counts the open files of the process every 10 ms, until the result is dropped.
    pub(crate) fn watch_files(&self) -> WatchedFiles {
        let most = Arc::new(AtomicUsize::new(0));
        let (directory, watched) = (format!("/proc/{}/fd", self.id()), Arc::clone(&most));
        let watching = tokio::spawn(async move {
            while let Ok(files) = fs::read_dir(&directory) {
                watched.fetch_max(files.count(), Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        WatchedFiles { most, watching }
    }

    fn id(&self) -> u32 {
        self.child.id().unwrap()
    }
}

pub(crate) struct WatchedFiles {
    most: Arc<AtomicUsize>,
    watching: tokio::task::JoinHandle<()>,
}

impl WatchedFiles {
    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for WatchedFiles {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// In a started process: reports the port, then the figures for each line of the input. Ends the process with its input.
pub(crate) fn report(port: u16, figures: impl Fn() -> Vec<usize> + Send + 'static) {
    println!("{port}");
    std::thread::spawn(move || {
        for _ in stdin().lock().lines() {
            let figures: Vec<_> = figures().iter().map(usize::to_string).collect();
            println!("{}", figures.join(" "));
        }
        std::process::exit(0);
    });
}
