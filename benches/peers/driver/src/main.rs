//! Compares all contestants on this machine and writes Markdown: `benches/peers/run`, or with `--quick`. A full run also stores
//! its results in `benches/peers/results.txt`, and draws `benches/performance.svg` from them.
//!
//! It builds each contestant with a command of its own and starts each as a process. In every round every contestant serves a few
//! requests, so that other load on the machine changes the ratios within a round little. Then the same processes serve over
//! sockets, one after the other, several times. All traffic stays on 127.0.0.1.

mod building;
mod issuer;
mod lineup;
mod load;
mod process;
mod report;
mod tokens;

use std::time::Duration;

use lineup::Entry;
use process::Process;
use report::{Measured, Sockets};
use tokens::Tokens;

const AUDIENCE: &str = "https://api.example.com";

/// Number and duration of the rounds.
struct Effort {
    rounds: usize,
    requests: u32,
    repeats: usize,
    load: Duration,
    fresh_tokens: usize,
}

const FULL: Effort =
    Effort { rounds: 201, requests: 100, repeats: 5, load: Duration::from_secs(2), fresh_tokens: 25_000 };
const QUICK: Effort =
    Effort { rounds: 31, requests: 50, repeats: 2, load: Duration::from_millis(800), fresh_tokens: 4_000 };

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if let Some(unknown) =
        arguments.iter().find(|argument| !["--quick", "--build-only", "--no-build"].contains(&argument.as_str()))
    {
        eprintln!("unknown argument {unknown}; the arguments are --quick, --build-only and --no-build");
        std::process::exit(2);
    }
    let effort = if has("--quick") { QUICK } else { FULL };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let built = building::all(!has("--no-build"));
        if !has("--build-only") {
            let (measured, token) = compare(built, &effort).await;
            let markdown = report::markdown(&measured, &effort, token);
            let file = building::target().join("peers.md");
            std::fs::write(&file, &markdown).expect("the target directory is writable");
            println!("{markdown}");
            eprintln!("also written to {}", file.display());
            if !has("--quick") {
                let results = report::results(&measured);
                std::fs::write(picture::RESULTS, results.to_string()).expect("the sources are writable");
                std::fs::write(picture::PICTURE, picture::draw(&results)).expect("the sources are writable");
            }
        }
    });
}

/// Returns the results, and the size of the token in bytes.
async fn compare(built: Vec<Measured>, effort: &Effort) -> (Vec<Measured>, usize) {
    let issuer = issuer::start().await;
    let tokens = Tokens::new(&issuer, AUDIENCE);
    eprintln!("starting {} contestants", built.len());
    let mut contestants = Vec::new();
    for mut measured in built {
        let process = match &measured.outcome {
            Ok(program) => Process::start(program, measured.entry, &issuer, &tokens).await,
            Err(reason) => Err(reason.clone()),
        };
        if let Err(reason) = &process {
            measured.outcome = Err(reason.clone());
        }
        contestants.push((measured, process.ok()));
    }
    in_process(&mut contestants, effort).await;
    invalid_tokens(&mut contestants, &tokens).await;
    over_sockets(&mut contestants, &tokens, effort).await;
    (contestants.into_iter().map(|(measured, _)| measured).collect(), tokens.good.len())
}

type Contestants = [(Measured, Option<Process>)];

/// Sends a command to a contestant and returns its response. A contestant that fails once is excluded, and the table has the
/// reason.
async fn command((measured, process): &mut (Measured, Option<Process>), command: &str) -> Option<String> {
    match process.as_mut()?.command(command).await {
        Ok(answer) => Some(answer),
        Err(reason) => {
            eprintln!("{}: {reason}", measured.entry.name);
            measured.outcome = Err(reason);
            *process = None;
            None
        }
    }
}

/// Runs every contestant in every round, each time with another one first. The first ten rounds don't count.
async fn in_process(contestants: &mut Contestants, effort: &Effort) {
    let count = contestants.len();
    for round in 0..effort.rounds + 10 {
        if round % 50 == 0 {
            eprintln!("in-process, round {round} of {}", effort.rounds + 10);
        }
        for index in 0..count {
            let contestant = &mut contestants[(index + round) % count];
            let Some(answer) = command(contestant, &format!("run {}", effort.requests)).await else { continue };
            if round >= 10 {
                contestant.0.times.push(answer.parse().expect("nanoseconds"));
            }
        }
    }
    for contestant in contestants {
        let Some(answer) = command(contestant, "allocations").await else { continue };
        let (allocations, bytes) = answer.split_once(' ').expect("two numbers");
        contestant.0.allocations = allocations.parse().expect("a number");
        contestant.0.bytes = bytes.parse().expect("a number");
    }
}

/// Sends invalid tokens.
async fn invalid_tokens(contestants: &mut Contestants, tokens: &Tokens) {
    for contestant in contestants.iter_mut().filter(|(measured, _)| measured.entry.verifies) {
        for (defect, token) in &tokens.bad {
            let Some(status) = command(contestant, &format!("status {token}")).await else { break };
            if status == "200" {
                contestant.0.accepts.push(defect);
            } else if status.starts_with('5') {
                contestant.0.fails_on.push(defect);
            }
        }
    }
}

async fn over_sockets(contestants: &mut Contestants, tokens: &Tokens, effort: &Effort) {
    eprintln!("signing {} tokens for the mixed load", effort.fresh_tokens);
    let mut fresh = tokens.fresh(effort.fresh_tokens).into_iter();
    let hot = tokens.fresh(64);
    let mut addresses = Vec::new();
    for contestant in contestants.iter_mut() {
        addresses.push(command(contestant, "serve").await);
    }
    let count = contestants.len();
    for repeat in 0..effort.repeats {
        eprintln!("over sockets, {} of {}", repeat + 1, effort.repeats);
        for place in (0..count).map(|place| (place + repeat) % count) {
            let ((measured, _), Some(address)) = (&mut contestants[place], &addresses[place]) else { continue };
            if measured.outcome.is_err() {
                continue;
            }
            match load::run(address, &load::Supply::rotating(&hot, Vec::new()), effort.load).await {
                Ok(run) => measured.sockets.push(run),
                Err(reason) => measured.outcome = Err(reason),
            }
            if measured.entry.caches {
                let fresh = fresh.by_ref().take(effort.fresh_tokens / effort.repeats).collect();
                match load::run(address, &load::Supply::rotating(&hot, fresh), effort.load).await {
                    Ok(run) => measured.mixed.push(run),
                    Err(reason) => measured.outcome = Err(reason),
                }
            }
        }
    }
}
