//! The tables.

use std::{fmt::Write as _, path::PathBuf, process::Command};

use crate::{
    Effort, Entry,
    lineup::{BARE, LIMIT},
};

/// The results of one contestant.
pub(crate) struct Measured {
    pub(crate) entry: &'static Entry,
    /// Versions and backend.
    graph: String,
    /// Its program, or why it is not measured.
    pub(crate) outcome: Result<PathBuf, String>,
    /// Nanoseconds per request, round by round.
    pub(crate) times: Vec<f64>,
    pub(crate) allocations: f64,
    pub(crate) bytes: f64,
    /// Invalid tokens that it accepts.
    pub(crate) accepts: Vec<&'static str>,
    /// Invalid tokens for which it responds with 5xx.
    pub(crate) fails_on: Vec<&'static str>,
    pub(crate) sockets: Vec<Sockets>,
    pub(crate) mixed: Vec<Sockets>,
}

/// One run over sockets; microseconds.
pub(crate) struct Sockets {
    pub(crate) per_second: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

impl Measured {
    pub(crate) fn new(entry: &'static Entry, graph: String, outcome: Result<PathBuf, String>) -> Self {
        Self {
            entry,
            graph,
            outcome,
            times: Vec::new(),
            allocations: 0.0,
            bytes: 0.0,
            accepts: Vec::new(),
            fails_on: Vec::new(),
            sockets: Vec::new(),
            mixed: Vec::new(),
        }
    }
}

pub(crate) fn markdown(all: &[Measured], effort: &Effort, token: usize) -> String {
    let mut text = format!(
        "RS256 with 2048 bits, a token of {token} bytes. {}\n\n## In-process\n\n{} paired rounds of {} requests through \
         `tower::Service`, one thread, one process per contestant. The ratio is the median of the rounds' ratios.\n\n",
        machine(),
        effort.rounds,
        effort.requests
    );
    in_process(&mut text, all);
    let _ = write!(
        text,
        "\n## Over sockets\n\n32 keep-alive connections from one client process, each with one request at a time, 64 tokens in turn, the server \
         on one thread; {} runs of {} s each, interleaved. Median of the runs (least to most).\n\n",
        effort.repeats,
        effort.load.as_secs_f64()
    );
    over_sockets(&mut text, all);
    text.push_str(
        "\n## Invalid tokens\n\nEach is signed by the right key and breaks one rule of \
         RFC 7515, 7519, 9068 or 9449. `typ: JWT` is the type of an ID token.\n\n",
    );
    invalid_tokens(&mut text, all);
    text
}

fn in_process(text: &mut String, all: &[Measured]) {
    text.push_str(
        "| contestant | versions, signatures by | ns/request: median (min–max) | × limit, paired | × limit, of minima | \
         µs over bare | allocations | bytes |\n|---|---|---:|---:|---:|---:|---:|---:|\n",
    );
    let (bare, limit) = (&all[BARE], &all[LIMIT]);
    for one in all {
        let _ = write!(text, "| {} | {} | ", one.entry.name, one.graph);
        if let Err(reason) = &one.outcome {
            let _ = writeln!(text, "not measured: {reason} | | | | | |");
            continue;
        }
        let over = |round: usize| one.times[round] - bare.times[round];
        let over_bare = median((0..one.times.len()).map(over).collect()) / 1000.0;
        let _ = writeln!(
            text,
            "{:.0} ({:.0}–{:.0}) | {:.2} | {:.2} | {over_bare:.1} | {:.0} | {:.0} |",
            median(one.times.clone()),
            least(&one.times),
            most(&one.times),
            ratio(&one.times, &limit.times),
            least(&one.times) / least(&limit.times),
            one.allocations,
            one.bytes
        );
    }
}

fn over_sockets(text: &mut String, all: &[Measured]) {
    text.push_str("| contestant | requests/s | of bare, paired | p50 µs | p99 µs |\n|---|---:|---:|---:|---:|\n");
    let bare = &all[BARE].sockets;
    for one in all {
        if let Err(reason) = &one.outcome {
            let _ = writeln!(text, "| {} | not measured: {reason} | | | |", one.entry.name);
            continue;
        }
        socket_row(text, one.entry.name, &one.sockets, bare);
        if !one.mixed.is_empty() {
            socket_row(text, "tower-oauth, cached: nine hits to one new token", &one.mixed, bare);
        }
    }
}

fn socket_row(text: &mut String, name: &str, runs: &[Sockets], bare: &[Sockets]) {
    let per_second: Vec<f64> = runs.iter().map(|run| run.per_second).collect();
    let bare: Vec<f64> = bare.iter().map(|run| run.per_second).collect();
    let column = |pick: fn(&Sockets) -> f64| {
        let values: Vec<f64> = runs.iter().map(pick).collect();
        format!("{:.0} ({:.0}–{:.0})", median(values.clone()), least(&values), most(&values))
    };
    let _ = writeln!(
        text,
        "| {name} | {} | {:.2} | {} | {} |",
        column(|run| run.per_second),
        ratio(&per_second, &bare),
        column(|run| run.p50),
        column(|run| run.p99)
    );
}

fn invalid_tokens(text: &mut String, all: &[Measured]) {
    text.push_str("| contestant | accepts | responds with 5xx |\n|---|---|---|\n");
    for one in all.iter().filter(|one| one.entry.verifies && one.outcome.is_ok()) {
        let _ = writeln!(text, "| {} | {} | {} |", one.entry.name, one.accepts.join(", "), one.fails_on.join(", "));
    }
}

fn machine() -> String {
    let output = Command::new("rustc").arg("--version").output();
    let rustc = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{rustc}, {cores} cores, {}.", cpu.trim_start_matches(['\t', ' ', ':']))
}

fn ratio(times: &[f64], to: &[f64]) -> f64 {
    median(times.iter().zip(to).map(|(one, other)| one / other).collect())
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
