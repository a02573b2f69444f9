//! Load over sockets: keep-alive connections, each with one request at a time. The client writes prepared bytes and parses only
//! the necessary part of a response, to need little CPU time.

use std::{
    io,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

pub(crate) const ISSUER: &str = "https://auth.example.com";
pub(crate) const AUDIENCE: &str = "https://api.example.com";
pub(crate) const SCOPE: &str = "orders:read orders:write";
pub(crate) const CLIENT_ID: &str = "reports";
pub(crate) const CLIENT_SECRET: &str = "7Fjfp0ZBr1KtDRbnfVdmIw7Fjfp0ZBr1KtDRbnfVdmI";
/// The body of every token request.
pub(crate) const FORM: &str = "grant_type=client_credentials&scope=orders%3Aread+orders%3Awrite";
pub(crate) const CONNECTIONS: usize = 32;

pub(crate) struct Load {
    /// Nanoseconds, sorted.
    pub(crate) latencies: Vec<u64>,
    /// Seconds.
    pub(crate) took: f64,
}

impl Load {
    /// In milliseconds.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        self.latencies[(self.latencies.len() - 1) * percent / 100] as f64 / 1e6
    }
}

/// Returns the bytes of a POST with a form, or of a GET.
pub(crate) fn request(path: &str, secret: &str, form: Option<&str>) -> Vec<u8> {
    let basic = STANDARD.encode(format!("{CLIENT_ID}:{secret}"));
    let head = format!("host: auth.example.com\r\naccept: application/json\r\nauthorization: Basic {basic}\r\n");
    match form {
        None => format!("GET {path} HTTP/1.1\r\n{head}\r\n"),
        Some(form) => format!(
            "POST {path} HTTP/1.1\r\n{head}content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        ),
    }
    .into_bytes()
}

/// Sends load to one server. Returns an error if any response is not a token.
pub(crate) async fn run(address: &str, lasting: Duration) -> Result<Load, String> {
    let start = Instant::now();
    let mut connections = JoinSet::new();
    for _ in 0..CONNECTIONS {
        connections.spawn(connection(address.to_owned(), start + lasting));
    }
    let mut latencies = Vec::new();
    while let Some(outcome) = connections.join_next().await {
        let outcome = outcome.map_err(|error| error.to_string())?;
        latencies.extend(outcome.map_err(|error| format!("over a socket: {error}"))?);
    }
    latencies.sort_unstable();
    Ok(Load { latencies, took: start.elapsed().as_secs_f64() })
}

async fn connection(address: String, end: Instant) -> io::Result<Vec<u64>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let request = request("/token", CLIENT_SECRET, Some(FORM));
    let (mut latencies, mut answer) = (Vec::new(), Vec::with_capacity(4096));
    loop {
        let start = Instant::now();
        if start >= end {
            return Ok(latencies);
        }
        exchange(&mut stream, &request, &mut answer).await?;
        let has_token = answer.windows(14).any(|window| window == b"\"access_token\"");
        if !answer.starts_with(b"HTTP/1.1 200 ") || !has_token {
            return Err(io::Error::other(String::from_utf8_lossy(&answer)));
        }
        latencies.push(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX));
    }
}

/// Sends a request and reads the response, head and body.
pub(crate) async fn exchange(stream: &mut TcpStream, request: &[u8], answer: &mut Vec<u8>) -> io::Result<()> {
    stream.write_all(request).await?;
    answer.clear();
    while !is_complete(answer) {
        if stream.read_buf(answer).await? == 0 {
            return Err(io::Error::other("the server closed the connection"));
        }
    }
    Ok(())
}

/// Returns whether the response has a whole head, and a body of the announced length.
fn is_complete(answer: &[u8]) -> bool {
    const LENGTH: &[u8] = b"content-length: ";
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let length = answer[..head].windows(LENGTH.len()).position(|window| window.eq_ignore_ascii_case(LENGTH));
    let digits = answer[length.map_or(head, |at| at + LENGTH.len())..head].iter();
    let length =
        digits.take_while(|byte| byte.is_ascii_digit()).fold(0, |sum, byte| sum * 10 + usize::from(byte - b'0'));
    answer.len() >= head + 4 + length
}
