//! The table.

use std::{fmt::Write as _, process::Command};

use crate::{
    Effort,
    lineup::{BARE, Contender, SIGNATURE, Token},
    work::CONNECTIONS,
};

/// The results of one contender.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) runs: Vec<Result<Run, String>>,
}

/// The result of one turn.
pub(crate) struct Run {
    pub(crate) per_second: f64,
    /// CPU time of the server per operation, in seconds.
    pub(crate) server: f64,
    /// The part of it outside of the kernel.
    pub(crate) user: f64,
    /// The part of its core that the server used.
    pub(crate) busy: f64,
    /// CPU time of the store per operation, in seconds.
    pub(crate) store: f64,
    /// Growth of the server's memory per operation, in bytes.
    pub(crate) memory: f64,
    /// Milliseconds.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

pub(crate) fn markdown(contenders: &[Contender], all: &[Measured], effort: &Effort) -> String {
    let mut text = format!(
        "{} `client_credentials` with Basic, or the named operation; {CONNECTIONS} keep-alive connections, each with one request at a \
         time; the server on one core, the client and the stores on another. The client never sleeps. {} rounds of {} s after {} s, \
         interleaved. Median of the rounds (least to most). The limit of an opaque token, of introspection and of each request of a \
         code is the bare route, that of a JWT the bare route with a signature; ratios are within one round.\n\n\
         | | per CPU-second of the server | of its limit | user time: µs each | of its limit | store: CPU-µs each | per second | \
         server's core in use | p50 ms | p99 ms | server grows by, bytes each |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        machine(),
        effort.rounds,
        effort.load.as_secs_f64(),
        effort.warm_up.as_secs_f64(),
    );
    for (contender, measured) in contenders.iter().zip(all) {
        let limit = &all[if contender.token == Token::Jwt { SIGNATURE } else { BARE }];
        match measured.runs.iter().find_map(|run| run.as_ref().err()) {
            Some(reason) => {
                let _ = writeln!(text, "| {} | not measured: {} | | | | | | | | | |", contender.name, reason.trim());
            }
            None => row(&mut text, contender, measured, limit),
        }
    }
    text
}

fn row(text: &mut String, contender: &Contender, measured: &Measured, limit: &Measured) {
    let runs: Vec<&Run> = measured.runs.iter().flatten().collect();
    let column = |pick: fn(&Run) -> f64, digits: usize| {
        let values: Vec<f64> = runs.iter().map(|run| pick(run)).collect();
        format!("{:.digits$} ({:.digits$}–{:.digits$})", median(values.clone()), least(&values), most(&values))
    };
    // Round by round, so that other load on the machine changes the ratio little.
    let ratio = |pick: fn(&Run) -> f64| {
        let pairs = measured.runs.iter().zip(&limit.runs);
        let ratio = |(run, limit): (&Result<Run, String>, &Result<Run, String>)| {
            Some(contender.work.requests() * pick(limit.as_ref().ok()?) / pick(run.as_ref().ok()?))
        };
        let ratios: Vec<f64> = pairs.filter_map(ratio).collect();
        if ratios.is_empty() { "–".to_owned() } else { format!("{:.2}", median(ratios)) }
    };
    let store = if contender.store.is_some() { column(|run| run.store * 1e6, 1) } else { "–".to_owned() };
    let _ = writeln!(
        text,
        "| {} | {} | {} | {} | {} | {store} | {} | {:.0} % | {} | {} | {:.0} |",
        contender.name,
        column(|run| 1.0 / run.server, 0),
        ratio(|run| run.server),
        column(|run| run.user * 1e6, 2),
        ratio(|run| run.user),
        column(|run| run.per_second, 0),
        100.0 * median(runs.iter().map(|run| run.busy).collect()),
        column(|run| run.p50, 2),
        column(|run| run.p99, 2),
        median(runs.iter().map(|run| run.memory).collect()),
    );
}

fn machine() -> String {
    let version = |program: &str| {
        let output = Command::new(program).arg("--version").output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    format!(
        "{}; Node {}; {}; {}; {}.",
        version("rustc"),
        version("node"),
        version("redis-server").split(" sha").next().unwrap_or_default(),
        version("postgres"),
        cpu.trim_start_matches(['\t', ' ', ':'])
    )
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn most(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}
