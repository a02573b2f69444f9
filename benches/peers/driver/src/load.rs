//! Load over sockets: keep-alive connections, each with one request at a time. The client writes prepared bytes and parses only
//! the necessary part of a response, to need little CPU time.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::Sockets;

const CONNECTIONS: usize = 32;
const WARM_UP: Duration = Duration::from_millis(300);

/// The requests: known tokens in turn, and every tenth request has a new token, if there are any.
#[derive(Clone)]
pub(crate) struct Supply(Rc<Requests>);

struct Requests {
    hot: Vec<Vec<u8>>,
    fresh: RefCell<Vec<Vec<u8>>>,
    mixed: bool,
    sent: Cell<usize>,
}

impl Supply {
    pub(crate) fn rotating(hot: &[String], fresh: Vec<String>) -> Self {
        let bytes = |token: &String| {
            format!(
                "GET {} HTTP/1.1\r\nhost: api.example.com\r\nauthorization: Bearer {token}\r\n\r\n",
                contestant::PATH
            )
            .into_bytes()
        };
        Self(Rc::new(Requests {
            hot: hot.iter().map(bytes).collect(),
            mixed: !fresh.is_empty(),
            fresh: RefCell::new(fresh.iter().map(bytes).collect()),
            sent: Cell::new(0),
        }))
    }

    /// Sends the next request. Returns `None` if all new tokens are used, which ends the run.
    async fn send(&self, stream: &mut TcpStream, warming: bool) -> io::Result<Option<()>> {
        let sent = self.0.sent.replace(self.0.sent.get() + 1);
        if self.0.mixed && !warming && sent % 10 == 9 {
            let Some(fresh) = self.0.fresh.borrow_mut().pop() else { return Ok(None) };
            stream.write_all(&fresh).await?;
        } else {
            stream.write_all(&self.0.hot[sent % self.0.hot.len()]).await?;
        }
        Ok(Some(()))
    }
}

/// Sends load to one server. Returns an error if any status is not 200.
pub(crate) async fn run(address: &str, supply: &Supply, lasting: Duration) -> Result<Sockets, String> {
    let failed = |error: io::Error| format!("over a socket: {error}");
    all(address, supply, WARM_UP, true).await.map_err(failed)?;
    let start = Instant::now();
    let mut latencies = all(address, supply, lasting, false).await.map_err(failed)?;
    let took = start.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |percent: usize| f64::from(latencies[(latencies.len() - 1) * percent / 100]) / 1000.0;
    Ok(Sockets { per_second: latencies.len() as f64 / took, p50: at(50), p99: at(99) })
}

/// Returns the nanoseconds of every request on every connection.
async fn all(address: &str, supply: &Supply, lasting: Duration, warming: bool) -> io::Result<Vec<u32>> {
    let end = Instant::now() + lasting;
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|_| tokio::task::spawn_local(connection(address.to_owned(), supply.clone(), end, warming)))
        .collect();
    let mut latencies = Vec::new();
    for connection in connections {
        latencies.extend(connection.await.expect("a connection never panics")?);
    }
    Ok(latencies)
}

async fn connection(address: String, supply: Supply, end: Instant, warming: bool) -> io::Result<Vec<u32>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (mut latencies, mut answer) = (Vec::new(), Vec::with_capacity(4096));
    loop {
        let start = Instant::now();
        if start >= end || supply.send(&mut stream, warming).await?.is_none() {
            return Ok(latencies);
        }
        answer.clear();
        while !is_complete(&answer) {
            if stream.read_buf(&mut answer).await? == 0 {
                return Err(io::Error::other("the server closed the connection"));
            }
        }
        if !answer.starts_with(b"HTTP/1.1 200 ") {
            return Err(io::Error::other(String::from_utf8_lossy(&answer[..answer.len().min(12)])));
        }
        latencies.push(u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX));
    }
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
