//! A load test over sockets: an API that uses introspection, its issuer, and a client that floods the API with made-up tokens.
//! The known clients of the API must not notice. Linux only, because it reads `/proc`.
//!
//! `cargo bench --bench flood` runs every combination, in two minutes, and prints a Markdown table. Words after `--` select
//! runs: `cargo bench --bench flood -- reset slow`. It exits with an error if less than 99 % of the regulars' requests get 200,
//! or if the API opens more than [`MOST_SOCKETS`] sockets to its issuer.
//!
//! Each run starts two processes, both of this program:
//!
//! - The **API** (`server.rs`), with a limit of 1,024 open files: axum over HTTP/1.1 and HTTP/2, with `/public` without a layer,
//!   and `/orders` behind a layer. Its verifier is an `IntrospectionVerifier`, *alone* or *cached* for one second.
//! - The **issuer** (`issuer.rs`). *healthy*: responds in 5 ms, to at most 400 questions a second; the others wait. *slow*:
//!   responds in 5 ms about known tokens, in 4 s about all others. *unaware*, which runs only if it is named: like *healthy*,
//!   but spends its time also on questions of connections that were closed, as a server with a pool of threads does.
//!
//! This process has the clients (`clients.rs`):
//!
//! - **Regulars**: 20 clients, each with a known token and a persistent HTTP/1.1 connection, send a request to `/orders` every
//!   50 ms and expect 200. One more client sends a request to `/public` every 20 ms, each over a connection of its own.
//! - The **flood**, on a thread of its own. *reset*: over one HTTP/2 connection, 3,000 requests in 3 s, each with its stream
//!   reset after 10 ms. *closed*: 3,000 HTTP/1.1 connections in 3 s, each closed 10 ms after its request was sent. *patient*:
//!   500 HTTP/1.1 clients that wait for their response and send the next request at once, for 6 s.
//!
//! What is measured: the requests from the start of the flood until 2 s after its end, because sockets and questions outlive
//! it; "without" are the 3 s before. A request without a response after 3 s has failed. The requests of this client that were
//! due meanwhile end with it: they count too, with their own start. In percentiles, a failed request counts as 3 s.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]
#![allow(clippy::cast_precision_loss)] // Of numbers of requests.

mod clients;
mod issuer;
mod process;
mod server;

use std::{fmt, net::SocketAddr, time::Duration};

use tokio::time::{Instant, sleep_until};

use clients::{Flood, Measured, Sample};
use issuer::IssuerKind;
use process::{Process, role};
use server::VerifierKind;

/// The default limit of the verifier, and a few sockets that are being closed.
const MOST_SOCKETS: usize = 128 + 8;
const LEAST_SHARE: f64 = 0.99;
const WARM_UP: Duration = Duration::from_secs(1);
const WITHOUT: Duration = Duration::from_secs(3);
const AFTERWARDS: Duration = Duration::from_secs(2);

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--test") {
        return; // `cargo test --benches` only checks that it builds.
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [role::ISSUER, kind] => runtime.block_on(issuer::serve(IssuerKind::named(kind))),
        [role::API, kind, issuer] => runtime.block_on(server::serve(VerifierKind::named(kind), issuer)),
        words => {
            let words: Vec<_> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
            if !runtime.block_on(run_all(&words)) {
                std::process::exit(1);
            }
        }
    }
}

/// Runs the selected combinations, and prints the table and what was missed. Returns false if anything was.
async fn run_all(words: &[&str]) -> bool {
    let runs = Run::selected(words);
    assert!(!runs.is_empty(), "no run has all of these words: {words:?}");
    println!("{HEAD}");
    let mut missed = Vec::new();
    for run in runs {
        let outcome = run.measure().await;
        println!("| {run} | {outcome} |");
        missed.extend(outcome.missed().into_iter().map(|what| format!("{run}: {what}").replace(" |", ",")));
    }
    for missed in &missed {
        eprintln!("missed: {missed}");
    }
    missed.is_empty()
}

const HEAD: &str = "\
| flood | issuer | verifier | regulars with 200 | regulars: p50 / p99 | without | `/public`: p50 / p99 | without \
| sockets to the issuer | questions | memory: end, peak | open files |
|---|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|";

#[derive(Clone, Copy)]
struct Run {
    flood: Flood,
    issuer: IssuerKind,
    verifier: VerifierKind,
}

/// What one run showed.
struct Outcome {
    regulars: Measured,
    regulars_without: Measured,
    public: Measured,
    public_without: Measured,
    /// Maximum number of sockets that were open at the issuer.
    sockets: usize,
    /// Questions to the issuer from the start of the flood.
    questions: usize,
    /// Resident memory of the API at the end, and its maximum, in KiB.
    memory: (usize, usize),
    /// Maximum number of files that the API had open.
    files: usize,
}

impl Run {
    /// Returns the runs that have all of these words. An issuer that is [`IssuerKind::Unaware`] must be named.
    fn selected(words: &[&str]) -> Vec<Self> {
        let mut runs = Vec::new();
        for issuer in [IssuerKind::Healthy, IssuerKind::Slow, IssuerKind::Unaware] {
            for flood in [Flood::Reset, Flood::Closed, Flood::Patient] {
                for verifier in [VerifierKind::Alone, VerifierKind::Cached] {
                    let names = [flood.name(), issuer.name(), verifier.name()];
                    let chosen = issuer != IssuerKind::Unaware || words.contains(&issuer.name());
                    if chosen && words.iter().all(|word| names.contains(word)) {
                        runs.push(Self { flood, issuer, verifier });
                    }
                }
            }
        }
        runs
    }

    async fn measure(self) -> Outcome {
        let mut issuer = Process::start("ulimit -n \"$(ulimit -H -n)\"", &[role::ISSUER, self.issuer.name()]).await;
        let issuer_port = issuer.port.to_string();
        let api = Process::start("ulimit -n 1024", &[role::API, self.verifier.name(), &issuer_port]).await;
        let address = SocketAddr::from(([127, 0, 0, 1], api.port));
        let files = api.watch_files();

        let begin = Instant::now() + WARM_UP + WITHOUT;
        let end = begin + self.flood.duration() + AFTERWARDS;
        let regulars = tokio::spawn(clients::regulars(address, end));
        let public = tokio::spawn(clients::public(address, end));
        sleep_until(begin).await;
        let before: usize = issuer.ask().await[1];
        let flood = self.flood;
        let flooding = std::thread::spawn(move || clients::run(flood, address));
        let (regulars, public) = (regulars.await.unwrap(), public.await.unwrap());
        flooding.join().unwrap();

        let figures = issuer.ask().await;
        let without = |sample: &&Sample| sample.started >= begin - WITHOUT && sample.ended < begin;
        let during = |sample: &&Sample| sample.ended >= begin && sample.started < end;
        let outcome = Outcome {
            regulars: Measured::of(regulars.iter().filter(during)),
            regulars_without: Measured::of(regulars.iter().filter(without)),
            public: Measured::of(public.iter().filter(during)),
            public_without: Measured::of(public.iter().filter(without)),
            sockets: figures[0],
            questions: figures[1] - before,
            memory: api.memory(),
            files: files.most(),
        };
        api.stop().await;
        issuer.stop().await;
        outcome
    }
}

impl Outcome {
    fn missed(&self) -> Vec<String> {
        let mut missed = Vec::new();
        if self.regulars.share() < LEAST_SHARE {
            missed.push(format!("{:.1} % of the regulars' requests got 200", self.regulars.share() * 100.0));
        }
        if self.sockets > MOST_SOCKETS {
            missed.push(format!("{} sockets to the issuer", self.sockets));
        }
        missed
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} | {}", self.flood.name(), self.issuer.name(), self.verifier.name())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { regulars, regulars_without, public, public_without, sockets, questions, .. } = self;
        let (end, peak) = self.memory;
        write!(f, "{:.1} % | {regulars} | {regulars_without} | {public} | ", regulars.share() * 100.0)?;
        write!(f, "{public_without} | {sockets} | {questions} | {}, {} MiB | {}", end / 1024, peak / 1024, self.files)
    }
}
