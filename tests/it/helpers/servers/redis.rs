//! `redis-server`, with settings that lose nothing when it is killed.

use std::{
    env, fs,
    hash::{BuildHasher as _, RandomState},
    io::{self, BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::not_run;

/// A running server. When this value is dropped, the server stops and its directory is removed.
pub(crate) struct RedisServer {
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    process: Child,
}

impl RedisServer {
    /// Starts a server on a free port. If `redis-server` is not installed, reports that `what` did not run.
    pub(crate) fn start(what: &str) -> Option<Self> {
        Self::start_with(what, &[])
    }

    /// Starts a server with more command line settings, which override the others. `{folder}` and `{port}` in them are replaced.
    pub(crate) fn start_with(what: &str, settings: &[&str]) -> Option<Self> {
        let random = RandomState::new();
        for attempt in 0..20_u64 {
            // A port below those that the system assigns, so that no other program gets it while the server is down.
            let port = 10_000 + u16::try_from(random.hash_one(attempt) % 20_000).unwrap();
            let folder = env::temp_dir().join(format!("tower-oauth-redis-{}-{port}", std::process::id()));
            let own = |setting: &&str| {
                setting.replace("{folder}", folder.to_str().unwrap()).replace("{port}", &port.to_string())
            };
            let settings: Vec<_> = settings.iter().map(own).collect();
            match fs::create_dir(&folder) {
                // A server of another test has this port.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.unwrap(),
            }
            match spawn(&folder, port, &settings) {
                Ok(Some(process)) => return Some(Self { folder, port, settings, process }),
                Ok(None) => fs::remove_dir_all(&folder).unwrap(),
                Err(error) => {
                    fs::remove_dir_all(&folder).unwrap();
                    assert_eq!(error.kind(), io::ErrorKind::NotFound, "redis-server: {error}");
                    not_run(what, "redis-server is not installed (Debian: apt-get install redis-server)");
                    return None;
                }
            }
        }
        panic!("redis-server did not start on any of 20 ports");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Sends SIGKILL, so that the server can't clean up.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts the server again, on the same port and with its data.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.folder, self.port, &self.settings).unwrap().expect("another program uses its port");
    }

    /// Starts a proxy. Returns its URL, and a sender that silences the connections that it has: they stay open without any data, as
    /// behind a firewall that dropped them.
    pub(crate) async fn proxy(&self) -> (String, watch::Sender<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, upstream) = (listener.local_addr().unwrap(), self.port);
        let (silence, heard) = watch::channel(());
        tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(("127.0.0.1", upstream)).await.unwrap();
                let mut heard = heard.clone();
                heard.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = heard.changed() => std::future::pending().await,
                    }
                });
            }
        });
        (format!("redis://{address}"), silence)
    }

    /// Runs `redis-cli`, and returns what it prints.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let ran = Command::new("redis-cli").args(["-p", &port]).args(arguments).output().unwrap();
        String::from_utf8(ran.stdout).unwrap()
    }

    /// Sends SIGSTOP: the connections stay open, and the server does not respond.
    pub(crate) fn hang(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").arg(signal).arg(self.process.id().to_string()).status().unwrap().success());
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Starts the program. Returns `None` if it ended at once, because then the port was not free.
fn spawn(folder: &std::path::Path, port: u16, settings: &[String]) -> io::Result<Option<Child>> {
    let mut process = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir", folder.to_str().unwrap()])
        .args(["--appendonly", "yes", "--appendfsync", "always", "--save", ""])
        .args(settings)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if line.contains("Ready to accept connections") {
            // The pipe must be read, or the server would block.
            thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
            return Ok(Some(process));
        }
        line.clear();
    }
    process.wait()?;
    Ok(None)
}
