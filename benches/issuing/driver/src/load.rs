//! Load over sockets: keep-alive connections, each with one request at a time. The client parses only the necessary part of a
//! response, to need little CPU time.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::work::{Connection, Operation, Work};

pub(crate) struct Load {
    /// Nanoseconds, sorted, of the measured connections.
    latencies: Vec<u64>,
    /// Number of operations of all connections.
    pub(crate) count: usize,
    /// Seconds.
    pub(crate) took: f64,
}

impl Load {
    /// In milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        self.latencies[(self.latencies.len() - 1) * percent / 100] as f64 / 1e6
    }
}

/// Sends load to one server. Returns an error if any response is not a success.
pub(crate) async fn run(address: &str, work: Work, lasting: Duration) -> Result<Load, String> {
    let start = Instant::now();
    let spinning = tokio::spawn(spin());
    let mut connections = JoinSet::new();
    for (operation, is_measured) in work.operations() {
        let address = address.to_owned();
        connections.spawn(async move { (is_measured, connection(&address, operation, start + lasting).await) });
    }
    let (mut latencies, mut count) = (Vec::new(), 0);
    while let Some(outcome) = connections.join_next().await {
        let (is_measured, outcome) = outcome.map_err(|error| error.to_string())?;
        let own = outcome.map_err(|error| format!("over a socket: {error}"))?;
        count += own.len();
        if is_measured {
            latencies.extend(own);
        }
    }
    spinning.abort();
    latencies.sort_unstable();
    Ok(Load { latencies, count, took: start.elapsed().as_secs_f64() })
}

/// Keeps this thread awake. Otherwise the server would pay for its wake-up with each response, the more often the slower the
/// server is. A store on the same core goes first.
async fn spin() {
    loop {
        std::thread::yield_now();
        tokio::task::yield_now().await;
    }
}

async fn connection(address: &str, operation: Operation, end: Instant) -> io::Result<Vec<u64>> {
    let mut connection = Connection::open(address, operation).await?;
    let mut latencies = Vec::new();
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok(latencies);
        }
        connection.operate().await?;
        latencies.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
}
