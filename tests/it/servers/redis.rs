//! `redis-server`, which forgets nothing when it is killed.

use std::{
    env, fs,
    hash::{BuildHasher as _, RandomState},
    io::{self, BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
};

use super::not_run;

/// A running server. It ends with this value, and so does its folder.
pub(crate) struct RedisServer {
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    process: Child,
}

impl RedisServer {
    /// On a free port. Where there is no `redis-server` it is said that `what` did not run.
    pub(crate) fn start(what: &str) -> Option<Self> {
        Self::start_with(what, &[])
    }

    /// With more settings, as on the command line; they win. `{folder}` and `{port}` in them are the server's own.
    pub(crate) fn start_with(what: &str, settings: &[&str]) -> Option<Self> {
        let random = RandomState::new();
        for attempt in 0..20_u64 {
            // Below those that the system gives away, so that nobody takes it while the server is down.
            let port = 10_000 + u16::try_from(random.hash_one(attempt) % 20_000).unwrap();
            let folder = env::temp_dir().join(format!("tower-oauth-redis-{}-{port}", std::process::id()));
            let own = |setting: &&str| {
                setting.replace("{folder}", folder.to_str().unwrap()).replace("{port}", &port.to_string())
            };
            let settings: Vec<_> = settings.iter().map(own).collect();
            fs::create_dir(&folder).unwrap();
            match spawn(&folder, port, &settings) {
                Ok(Some(process)) => return Some(Self { folder, port, settings, process }),
                Ok(None) => fs::remove_dir_all(&folder).unwrap(),
                Err(error) => {
                    fs::remove_dir_all(&folder).unwrap();
                    assert_eq!(error.kind(), io::ErrorKind::NotFound, "redis-server: {error}");
                    not_run(what, "there is no redis-server");
                    return None;
                }
            }
        }
        panic!("redis-server did not come up on any of 20 ports");
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

    /// SIGKILL: it can't tidy up.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// On the same port, with what it had written.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(&self.folder, self.port, &self.settings).unwrap().expect("its port was taken");
    }

    /// SIGSTOP: connections stay, and nobody answers.
    pub(crate) fn hang(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn go_on(&self) {
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

/// Nothing, if it ended at once: then its port was not free.
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
            // It must be able to go on writing.
            thread::spawn(move || io::copy(&mut lines, &mut io::sink()));
            return Ok(Some(process));
        }
        line.clear();
    }
    process.wait()?;
    Ok(None)
}
