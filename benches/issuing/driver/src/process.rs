//! A running contender, and its CPU time and memory.

use std::{env, fs, ops::Sub, path::PathBuf, process::Stdio, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{
    lineup::{Contender, Program},
    stores::Store,
    work::{APP_ID, APP_URI, AUDIENCE, CLIENT_ID, CLIENT_SECRET, ISSUER, LIMITED_ID, SCOPE},
};

/// CPU time in seconds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cpu {
    /// Without the time in the kernel.
    pub(crate) user: f64,
    /// With it.
    pub(crate) all: f64,
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self { user: self.user - before.user, all: self.all - before.all }
    }
}

pub(crate) struct Server {
    /// Killed when this is dropped.
    _child: Child,
    pid: u32,
    pub(crate) address: String,
}

impl Server {
    /// Starts the contender on a core of its own. Returns when it has printed its address.
    pub(crate) async fn start(contender: &Contender, store: Option<&Store>) -> Result<Self, String> {
        let mut command = Command::new("taskset");
        command.args(["-c", "0"]);
        match contender.program {
            Program::Ours => command.arg(beside("ours")),
            Program::OxideAuth => command.arg(beside("with-oxide-auth")),
            Program::OAuth2Server => {
                command.arg("node").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../with-oauth2-server/server.mjs"))
            }
        };
        let mut child = command
            .arg(contender.variant)
            .envs([("ISSUER", ISSUER), ("AUDIENCE", AUDIENCE), ("SCOPE", SCOPE)])
            .envs([("CLIENT_ID", CLIENT_ID), ("CLIENT_SECRET", CLIENT_SECRET)])
            .envs([("APP_ID", APP_ID), ("APP_URI", APP_URI), ("LIMITED_ID", LIMITED_ID)])
            .env("TOKEN_LIMIT", contender.token_limit.map_or_else(String::new, |limit| limit.to_string()))
            .env("LIFETIME", contender.lifetime.to_string())
            .env("STORE", store.map_or_else(|| "memory".to_owned(), Store::url))
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("the program does not start: {error}"))?;
        let pid = child.id().ok_or("the program has ended")?;
        let mut lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let line = timeout(Duration::from_secs(20), lines.next_line()).await;
        let address = line.ok().and_then(Result::ok).flatten().ok_or("the program ended before it listened")?;
        Ok(Self { _child: child, pid, address })
    }

    /// Returns the CPU time of all threads so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<Cpu, String> {
        cpu(self.pid)
    }

    /// Returns the resident memory in bytes.
    pub(crate) fn memory(&self) -> Result<f64, String> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).map_err(|error| error.to_string())?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
        let kilobytes: f64 = line.trim().trim_end_matches(" kB").parse().map_err(|_| "VmRSS is no number")?;
        Ok(kilobytes * 1024.0)
    }
}

/// Returns the path of another program of this workspace.
fn beside(name: &str) -> PathBuf {
    env::current_exe().expect("the system knows where this program is").with_file_name(name)
}

/// Returns the CPU time of a process and of its ended children (proc(5)).
pub(crate) fn cpu(pid: u32) -> Result<Cpu, String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|error| format!("process {pid}: {error}"))?;
    // The name before the fields may contain spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    let ticks: Vec<f64> = fields.skip(11).take(4).filter_map(|field| field.parse().ok()).collect();
    let [user, system, children_user, children_system] = ticks[..] else { return Err("no times in stat".to_owned()) };
    let user = user + children_user;
    Ok(Cpu { user: user / TICKS, all: (user + system + children_system) / TICKS })
}

/// USER_HZ is 100 on all platforms that Rust and Linux share.
const TICKS: f64 = 100.0;
