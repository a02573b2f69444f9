//! The stores. `run` starts them and passes `PORT PID` of each in the environment, or nothing.

use std::{env, fs, process::Command};

use crate::process::cpu;

/// One server, in one of its settings.
#[derive(Clone)]
pub(crate) struct Store {
    kind: Kind,
    port: u16,
    pid: u32,
}

#[derive(Clone, Copy)]
enum Kind {
    Redis,
    /// With this `synchronous_commit`.
    Postgres(&'static str),
}

pub(crate) struct Stores {
    redis_everysec: Result<Store, String>,
    redis_always: Result<Store, String>,
    postgres: Result<Store, String>,
}

impl Stores {
    pub(crate) fn from_environment() -> Self {
        Self {
            redis_everysec: Store::named("REDIS_EVERYSEC", Kind::Redis),
            redis_always: Store::named("REDIS_ALWAYS", Kind::Redis),
            postgres: Store::named("POSTGRES", Kind::Postgres("on")),
        }
    }

    /// Returns all stores in the order of the report.
    pub(crate) fn all(&self) -> [(&'static str, Result<Store, String>); 4] {
        let off = self.postgres.clone().map(|store| Store { kind: Kind::Postgres("off"), ..store });
        [
            ("Redis, appendfsync everysec", self.redis_everysec.clone()),
            ("Redis, appendfsync always", self.redis_always.clone()),
            ("PostgreSQL, synchronous_commit on", self.postgres.clone()),
            ("PostgreSQL, synchronous_commit off", off),
        ]
    }
}

impl Store {
    fn named(name: &str, kind: Kind) -> Result<Self, String> {
        let value = env::var(name).unwrap_or_default();
        let found = value.split_once(' ').and_then(|(port, pid)| Some((port.parse().ok()?, pid.parse().ok()?)));
        let (port, pid) = found.ok_or("its server is not installed here")?;
        Ok(Self { kind, port, pid })
    }

    pub(crate) fn url(&self) -> String {
        match self.kind {
            Kind::Redis => format!("redis://127.0.0.1:{}", self.port),
            Kind::Postgres(_) => format!("postgres://postgres@127.0.0.1:{}/issuing", self.port),
        }
    }

    /// Removes all data.
    pub(crate) fn empty(&self) -> Result<(), String> {
        let port = self.port.to_string();
        match self.kind {
            Kind::Redis => run(Command::new("redis-cli").args(["-p", &port, "FLUSHALL"])),
            Kind::Postgres(commit) => {
                let mut psql = Command::new("psql");
                psql.args(["-q", "-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-v", "ON_ERROR_STOP=1"]);
                psql.args(["-c", "SET client_min_messages TO warning"]);
                psql.args(["-c", "DROP DATABASE IF EXISTS issuing WITH (FORCE)", "-c", "CREATE DATABASE issuing"]);
                psql.args(["-c", &format!("ALTER DATABASE issuing SET synchronous_commit = {commit}")]);
                run(psql.args(["-c", "CHECKPOINT"]))
            }
        }
    }

    /// Returns the CPU time of the server and its children so far, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64, String> {
        let path = format!("/proc/{0}/task/{0}/children", self.pid);
        let children = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        // The CPU time of an ended child is in the account of its parent.
        Ok(cpu(self.pid)?.all + children.filter_map(|child| cpu(child).ok()).map(|cpu| cpu.all).sum::<f64>())
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}
