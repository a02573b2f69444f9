//! Compares all contenders on this machine and writes Markdown: `benches/issuing/run`, which builds them and starts the
//! stores.
//!
//! In every round each contender has one turn, as a new process pinned to one core. This program sends from another core. The
//! compared figure is the number of operations per second of the server's CPU time, by the kernel's account. Therefore a client or
//! a store that is slower than the server changes little. All traffic stays on 127.0.0.1.

mod check;
mod lineup;
mod load;
mod process;
mod report;
mod stores;
mod work;

use std::{
    env,
    time::{Duration, Instant},
};

use lineup::{Contender, lineup};
use process::Server;
use report::{Measured, Run};
use stores::Stores;

/// Number and duration of the rounds.
struct Effort {
    rounds: usize,
    warm_up: Duration,
    load: Duration,
}

const FULL: Effort = Effort { rounds: 5, warm_up: Duration::from_secs(2), load: Duration::from_secs(3) };
const QUICK: Effort = Effort { rounds: 1, warm_up: Duration::from_millis(300), load: Duration::from_millis(700) };

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let effort = if arguments.iter().any(|argument| argument == "--quick") { QUICK } else { FULL };
    let only = arguments.iter().find_map(|argument| argument.strip_prefix("--only=")).unwrap_or_default();
    let mut contenders = lineup(&Stores::from_environment());
    contenders.retain(|contender| !contender.issues() || contender.name.contains(only));
    let mut all: Vec<Measured> = contenders.iter().map(|_| Measured::default()).collect();
    let count = contenders.len();
    for round in 0..effort.rounds {
        for place in (0..count).map(|place| (place + round) % count) {
            let contender = &contenders[place];
            eprintln!("round {} of {}: {}", round + 1, effort.rounds, contender.name);
            let outcome = turn(contender, &effort).await;
            if let Err(reason) = &outcome {
                eprintln!("  {reason}");
            }
            all[place].runs.push(outcome);
        }
    }
    println!("{}", report::markdown(&contenders, &all, &effort));
}

/// Starts a process, checks it, warms it up, measures it, and kills it.
async fn turn(contender: &Contender, effort: &Effort) -> Result<Run, String> {
    if let Some(store) = &contender.store {
        store.as_ref().map_err(Clone::clone)?.empty()?;
    }
    let store = contender.store.as_ref().and_then(|store| store.as_ref().ok());
    let server = Server::start(contender, store).await?;
    check::issues_tokens(&server, contender).await?;
    warm_up(&server, contender, effort).await?;
    let usage = || Ok::<_, String>((server.cpu()?, server.memory()?, store.map_or(Ok(0.0), stores::Store::cpu)?));
    let (cpu, memory, stored) = usage()?;
    let load = load::run(&server.address, contender.work, effort.load).await?;
    let (cpu_then, memory_then, stored_then) = usage()?;
    check::introspects(&server, contender).await?;
    let (count, used) = (load.count as f64, cpu_then - cpu);
    Ok(Run {
        per_second: count / load.took,
        server: used.all / count,
        user: used.user / count,
        busy: used.all / load.took,
        store: (stored_then - stored) / count,
        memory: (memory_then - memory) / count,
        p50: load.percentile(50),
        p99: load.percentile(99),
    })
}

/// Sends load, until the client has as many active tokens as it may have.
async fn warm_up(server: &Server, contender: &Contender, effort: &Effort) -> Result<(), String> {
    let (begin, mut issued) = (Instant::now(), 0);
    let limit = if effort.rounds > 1 { contender.token_limit.unwrap_or_default() } else { 0 };
    loop {
        issued += load::run(&server.address, contender.work, effort.warm_up).await?.count;
        if issued >= limit as usize || begin.elapsed() > MAX_WARM_UP {
            return Ok(());
        }
    }
}

const MAX_WARM_UP: Duration = Duration::from_secs(20);
