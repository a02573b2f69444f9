//! The clients of the API: those whose requests are measured, and the flood.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::body::Body;
use futures_util::future::join_all;
use http::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::AsyncWriteExt as _,
    net::TcpStream,
    sync::Semaphore,
    time::{Instant, sleep, sleep_until, timeout},
};

/// How the known tokens begin.
pub(crate) const REGULAR: &str = "regular-";
const REGULARS: u32 = 20;
const REGULAR_PERIOD: Duration = Duration::from_millis(50);
const PUBLIC_PERIOD: Duration = Duration::from_millis(20);
/// A request without a response after this time has failed.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A request that was due at `started`. It succeeded if its response was 200.
#[derive(Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) started: Instant,
    pub(crate) ended: Instant,
    succeeded: bool,
}

/// Sends the requests of all regulars until `end`. Their starts are spread evenly over a period.
pub(crate) async fn regulars(api: SocketAddr, end: Instant) -> Vec<Sample> {
    let begin = Instant::now();
    let clients = (0..REGULARS).map(|index| {
        let (client, token) = (Client::persistent(api), format!("{REGULAR}{index}"));
        let first = begin + REGULAR_PERIOD * index / REGULARS;
        tokio::spawn(repeat(client, "/orders", Some(token), first, REGULAR_PERIOD, end))
    });
    join_all(clients).await.into_iter().flat_map(Result::unwrap).collect()
}

/// Sends the requests to `/public` until `end`. Each opens a connection, which an API without free files can't accept.
pub(crate) async fn public(api: SocketAddr, end: Instant) -> Vec<Sample> {
    repeat(Client::new(api), "/public", None, Instant::now(), PUBLIC_PERIOD, end).await
}

async fn repeat(
    mut client: Client,
    path: &str,
    token: Option<String>,
    first: Instant,
    period: Duration,
    end: Instant,
) -> Vec<Sample> {
    let (mut due, mut samples) = (first, Vec::new());
    while due < end {
        sleep_until(due).await;
        let started = Instant::now();
        let status = timeout(TIMEOUT, client.send(path, token.as_deref())).await;
        let (ended, succeeded) = (Instant::now(), matches!(status, Ok(Some(200))));
        samples.push(Sample { started, ended, succeeded });
        due += period;
        // The requests that were due meanwhile would have waited too. Without them, a long wait counts as one request.
        while due < ended {
            samples.push(Sample { started: due, ended, succeeded });
            due += period;
        }
    }
    samples
}

/// A client with one HTTP/1.1 connection.
struct Client {
    api: SocketAddr,
    /// Whether the connection is used for the next request. If it fails, the client opens another one.
    persistent: bool,
    connection: Option<http1::SendRequest<Body>>,
}

impl Client {
    fn new(api: SocketAddr) -> Self {
        Self { api, persistent: false, connection: None }
    }

    fn persistent(api: SocketAddr) -> Self {
        Self { persistent: true, ..Self::new(api) }
    }

    /// Returns the status. If the future is dropped, the connection is closed.
    async fn send(&mut self, path: &str, token: Option<&str>) -> Option<u16> {
        let mut connection = match self.connection.take() {
            Some(connection) if !connection.is_closed() => connection,
            _ => self.connect().await?,
        };
        let mut request = Request::get(path).header("host", "api.test");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        connection.ready().await.ok()?;
        let response = connection.send_request(request.body(Body::empty()).unwrap()).await.ok()?;
        let status = response.status().as_u16();
        axum::body::to_bytes(Body::new(response.into_body()), 4096).await.ok()?;
        self.connection = self.persistent.then_some(connection);
        Some(status)
    }

    async fn connect(&self) -> Option<http1::SendRequest<Body>> {
        let stream = connect(self.api).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        tokio::spawn(connection);
        Some(sender)
    }
}

async fn connect(api: SocketAddr) -> Option<TcpStream> {
    let stream = TcpStream::connect(api).await.ok()?;
    stream.set_nodelay(true).ok()?;
    Some(stream)
}

/// What a set of requests showed.
pub(crate) struct Measured {
    succeeded: usize,
    /// The latencies in order. A failed request counts as [`TIMEOUT`].
    latencies: Vec<Duration>,
}

impl Measured {
    pub(crate) fn of<'s>(samples: impl Iterator<Item = &'s Sample>) -> Self {
        let samples: Vec<_> = samples.collect();
        let latency = |sample: &&Sample| if sample.succeeded { sample.ended - sample.started } else { TIMEOUT };
        let mut latencies: Vec<_> = samples.iter().map(latency).collect();
        latencies.sort();
        Self { succeeded: samples.iter().filter(|sample| sample.succeeded).count(), latencies }
    }

    /// Returns the share of the requests that succeeded, from 0 to 1.
    pub(crate) fn share(&self) -> f64 {
        self.succeeded as f64 / self.latencies.len() as f64
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent: usize| self.latencies[(self.latencies.len() - 1) * percent / 100].as_secs_f64() * 1000.0;
        write!(f, "{:.1} / {:.1} ms", at(50), at(99))
    }
}

/// How clients without a valid token treat the API.
#[derive(Clone, Copy)]
pub(crate) enum Flood {
    Reset,
    Closed,
    Patient,
}

impl Flood {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Patient => "patient",
        }
    }

    pub(crate) fn duration(self) -> Duration {
        match self {
            Self::Reset | Self::Closed => INTERVAL * REQUESTS,
            // Longer than the slow issuer takes for a response.
            Self::Patient => Duration::from_secs(6),
        }
    }
}

/// Runs a flood on this thread alone, so that it takes no time from the clients that measure. At its end, every connection
/// is closed.
pub(crate) fn run(flood: Flood, api: SocketAddr) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let flooding = async {
            match flood {
                Flood::Reset => reset(api).await,
                Flood::Closed => closed(api).await,
                Flood::Patient => drop(join_all((0..PATIENT_CLIENTS).map(|_| tokio::spawn(patient(api)))).await),
            }
        };
        // Also ends a flood that is slower than intended.
        timeout(flood.duration(), flooding).await.ok();
    });
}

/// Sends requests over one HTTP/2 connection and resets each stream. If the API closes the connection, opens another one.
async fn reset(api: SocketAddr) {
    let begin = Instant::now();
    let mut connection = None;
    for number in 0..REQUESTS {
        sleep_until(begin + INTERVAL * number).await;
        let mut sender = match connection.take() {
            Some(sender) if !http2::SendRequest::is_closed(&sender) => sender,
            _ => match connect_http2(api).await {
                Some(sender) => sender,
                None => continue,
            },
        };
        let request = Request::get(format!("http://{api}/orders")).header("authorization", made_up_credentials());
        let response = sender.send_request(request.body(Body::empty()).unwrap());
        // When the time is over, the future is dropped, and hyper resets the stream.
        tokio::spawn(timeout(ABANDONED_AFTER, response));
        connection = Some(sender);
    }
}

async fn connect_http2(api: SocketAddr) -> Option<http2::SendRequest<Body>> {
    let stream = TokioIo::new(connect(api).await?);
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

/// Opens a connection for each request, and closes it without waiting for the response.
async fn closed(api: SocketAddr) {
    let begin = Instant::now();
    let places = Arc::new(Semaphore::new(CLOSED_AT_ONCE));
    for number in 0..REQUESTS {
        sleep_until(begin + INTERVAL * number).await;
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        tokio::spawn(async move {
            let _place = place;
            let head =
                format!("GET /orders HTTP/1.1\r\nhost: {api}\r\nauthorization: {}\r\n\r\n", made_up_credentials());
            if let Some(mut stream) = connect(api).await {
                stream.write_all(head.as_bytes()).await.ok();
                // If the API reads the end of the connection together with the request, hyper drops the request.
                sleep(ABANDONED_AFTER).await;
            }
        });
    }
}

/// Sends a request, waits for its response, and so on.
async fn patient(api: SocketAddr) {
    let mut client = Client::persistent(api);
    loop {
        let token = made_up_token();
        if client.send("/orders", Some(&token)).await.is_none() {
            sleep(RETRY_AFTER).await;
        }
    }
}

fn made_up_credentials() -> String {
    format!("Bearer {}", made_up_token())
}

/// Returns a token that was not used before, so that no cache has its verdict.
fn made_up_token() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("made-up-{:032}", NUMBER.fetch_add(1, Ordering::Relaxed))
}

const REQUESTS: u32 = 3000;
const INTERVAL: Duration = Duration::from_millis(1);
const ABANDONED_AFTER: Duration = Duration::from_millis(10);
const CLOSED_AT_ONCE: usize = 256;
const PATIENT_CLIENTS: usize = 500;
/// The pause of a patient client whose connection failed.
const RETRY_AFTER: Duration = Duration::from_millis(10);
