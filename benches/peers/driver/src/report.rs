//! The tables, and the figures that are stored.

use std::{fmt::Write as _, path::PathBuf, process::Command};

use picture::{Kind, Results, Row};

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

    /// Returns the name, with the version of the peer's crate, such as `axum-jwks 0.12`.
    fn name_with_version(&self) -> String {
        let mut words = self.graph.split([' ', ',']);
        let (Some(first), Some(version)) = (words.next(), words.next()) else { return self.entry.name.to_owned() };
        match self.entry.name.strip_prefix(first).filter(|_| !first.is_empty()) {
            Some(rest) => {
                let version: Vec<_> = version.split('.').take(2).collect();
                format!("{first} {}{rest}", version.join("."))
            }
            None => self.entry.name.to_owned(),
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
            socket_row(text, MIXED, &one.mixed, bare);
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

/// Returns the figures for `benches/peers/results.txt`.
pub(crate) fn results(all: &[Measured]) -> Results {
    let limit = &all[LIMIT];
    let mut rows = Vec::new();
    for (place, one) in all.iter().enumerate().filter(|(_, one)| one.outcome.is_ok()) {
        let kind = match place {
            BARE | LIMIT => Kind::Bound,
            _ if one.entry.package == "ours" => Kind::Ours,
            _ => Kind::Peer,
        };
        rows.push(Row {
            kind,
            ratio: Some(ratio(&one.times, &limit.times)),
            allocations: Some(one.allocations),
            per_second: Some(per_second(&one.sockets)),
            name: one.name_with_version(),
            accepts: one.accepts.join(", "),
        });
        if !one.mixed.is_empty() {
            let (name, per_second) = (MIXED.to_owned(), Some(per_second(&one.mixed)));
            rows.push(Row { kind, ratio: None, allocations: None, per_second, name, accepts: String::new() });
        }
    }
    Results { date: output_of("date", "+%F"), token: "RS256, 2048 bits".to_owned(), machine: processor(), rows }
}

fn per_second(runs: &[Sockets]) -> f64 {
    median(runs.iter().map(|run| run.per_second).collect())
}

fn machine() -> String {
    format!("{}, {}.", output_of("rustc", "--version"), processor())
}

fn processor() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{cores} cores, {}", cpu.trim_start_matches(['\t', ' ', ':']))
}

/// Returns what a program prints, or nothing if it is not installed.
fn output_of(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
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

const MIXED: &str = "tower-oauth, cached: nine hits to one new token";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lineup::ENTRIES;

    fn measured(place: usize, graph: &str, time: f64) -> Measured {
        let run = || Sockets { per_second: 1000.0 / time, p50: 1.0, p99: 2.0 };
        let mut one = Measured::new(&ENTRIES[place], graph.to_owned(), Ok(PathBuf::new()));
        one.times = vec![time, time, time];
        one.sockets = vec![run(), run(), run()];
        one
    }

    #[test]
    fn the_figures_are_stored_and_can_be_drawn() {
        let mut all = vec![
            measured(BARE, "axum 0.8.9", 1.0),
            measured(LIMIT, "aws-lc-rs 1.19.0", 10.0),
            measured(2, "aws-lc-rs 1.19.0", 12.0),
            measured(4, "jwt-authorizer 0.15.0, jsonwebtoken 9.3.1 (ring)", 16.0),
            measured(8, "axum-jwt-auth 0.7.2, jsonwebtoken 10.4.0 (aws_lc_rs)", 15.0),
        ];
        all[2].mixed = vec![Sockets { per_second: 50.0, p50: 1.0, p99: 2.0 }];
        all[3].accepts = vec!["no `aud`", "`typ: JWT`"];
        all.push(Measured::new(&ENTRIES[5], "not built 1.0".to_owned(), Err("the build fails".to_owned())));

        let stored: Results = results(&all).to_string().parse().expect("the file can be read");
        let rows: Vec<_> = stored.rows.iter().map(|row| (row.kind, row.ratio, row.name.as_str())).collect();
        assert_eq!(
            rows,
            [
                (Kind::Bound, Some(0.1), "bare route"),
                (Kind::Bound, Some(1.0), "limit: bare + one parsed-key verification"),
                (Kind::Ours, Some(1.2), "tower-oauth, no cache"),
                (Kind::Ours, None, MIXED),
                (Kind::Peer, Some(1.6), "jwt-authorizer 0.15"),
                (Kind::Peer, Some(1.5), "axum-jwt-auth 0.7, aws-lc-rs installed by hand"),
            ]
        );
        assert_eq!(stored.rows[3].per_second, Some(50.0));
        assert_eq!(stored.rows[4].accepts, "no `aud`, `typ: JWT`");
        assert!(picture::draw(&stored).contains(">axum-jwt-auth 0.7, aws-lc-rs installed by hand<"));
    }
}
