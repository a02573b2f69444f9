//! What the connections send: one operation after the other, each as the previous response requires.

use std::io;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) const ISSUER: &str = "https://auth.example.com";
pub(crate) const AUDIENCE: &str = "https://api.example.com";
pub(crate) const SCOPE: &str = "orders:read orders:write";
pub(crate) const CLIENT_ID: &str = "reports";
/// A client whose number of active tokens can be limited.
pub(crate) const LIMITED_ID: &str = "limited";
/// A public client, with users.
pub(crate) const APP_ID: &str = "app";
pub(crate) const APP_URI: &str = "https://app.example.com/back";
pub(crate) const CLIENT_SECRET: &str = "7Fjfp0ZBr1KtDRbnfVdmIw7Fjfp0ZBr1KtDRbnfVdmI";
/// The body of a token request for `client_credentials`.
pub(crate) const FORM: &str = "grant_type=client_credentials&scope=orders%3Aread+orders%3Awrite";
pub(crate) const CONNECTIONS: usize = 32;
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXkdBjftJeZ";

/// What all connections of a turn do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// `client_credentials`.
    Issue,
    /// `client_credentials` of the client with a limit.
    IssueLimited,
    /// `client_credentials` over half of the connections, and nothing else.
    IssueHalf,
    /// The same, and over the other half of the connections `client_credentials` of the client with a limit.
    IssueBeside,
    /// Refresh: each connection has its own session, and uses the refresh token of the previous response.
    Refresh,
    /// An authorization request that is approved at once, and the token request with its code.
    Code,
    /// Introspection: each connection has its own token.
    Introspect,
}

/// What one connection does.
#[derive(Clone, Copy)]
pub(crate) enum Operation {
    Issue(&'static str),
    Refresh,
    Code,
    Introspect,
}

impl Work {
    /// Returns the operation of each connection, and whether its latency is measured.
    pub(crate) fn operations(self) -> Vec<(Operation, bool)> {
        let half = CONNECTIONS / 2;
        let (measured, beside) = match self {
            Self::Issue => (vec![Operation::Issue(CLIENT_ID); CONNECTIONS], vec![]),
            Self::IssueLimited => (vec![Operation::Issue(LIMITED_ID); CONNECTIONS], vec![]),
            Self::IssueHalf => (vec![Operation::Issue(CLIENT_ID); half], vec![]),
            Self::IssueBeside => (vec![Operation::Issue(CLIENT_ID); half], vec![Operation::Issue(LIMITED_ID); half]),
            Self::Refresh => (vec![Operation::Refresh; CONNECTIONS], vec![]),
            Self::Code => (vec![Operation::Code; CONNECTIONS], vec![]),
            Self::Introspect => (vec![Operation::Introspect; CONNECTIONS], vec![]),
        };
        measured.into_iter().map(|one| (one, true)).chain(beside.into_iter().map(|one| (one, false))).collect()
    }

    /// Returns the number of requests of one operation.
    pub(crate) fn requests(self) -> f64 {
        if self == Self::Code { 2.0 } else { 1.0 }
    }
}

/// One connection, with what it sends next.
pub(crate) struct Connection {
    stream: TcpStream,
    operation: Operation,
    /// The first request of the next operation.
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects, and gets the token or the session that the operation needs.
    pub(crate) async fn open(address: &str, operation: Operation) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, operation, request: Vec::new(), answer: Vec::with_capacity(4096) };
        connection.request = match operation {
            Operation::Issue(client_id) => request("/token", client_id, CLIENT_SECRET, Some(FORM)),
            Operation::Code => authorization_request(),
            Operation::Refresh => {
                connection.redeem(&authorization_request()).await?;
                connection.next_refresh()?
            }
            Operation::Introspect => {
                connection.exchange(&request("/token", CLIENT_ID, CLIENT_SECRET, Some(FORM))).await?;
                let form = format!("token={}", connection.member("\"access_token\":\"", '"')?);
                request("/introspect", CLIENT_ID, CLIENT_SECRET, Some(&form))
            }
        };
        Ok(connection)
    }

    /// Does one operation. Returns an error if it does not succeed.
    pub(crate) async fn operate(&mut self) -> io::Result<()> {
        let request = std::mem::take(&mut self.request);
        match self.operation {
            Operation::Issue(_) => {
                self.exchange(&request).await?;
                self.expect("\"access_token\"")?;
            }
            Operation::Introspect => {
                self.exchange(&request).await?;
                self.expect("\"active\":true")?;
            }
            Operation::Code => self.redeem(&request).await?,
            Operation::Refresh => {
                self.exchange(&request).await?;
                self.expect("\"access_token\"")?;
                self.request = self.next_refresh()?;
                return Ok(());
            }
        }
        self.request = request;
        Ok(())
    }

    /// Sends an authorization request, and the token request with its code.
    async fn redeem(&mut self, authorization: &[u8]) -> io::Result<()> {
        self.exchange(authorization).await?;
        let code = self.member("?code=", '&')?;
        let form = format!(
            "grant_type=authorization_code&client_id={APP_ID}&code={code}&redirect_uri=https%3A%2F%2Fapp.example.com%2Fback\
             &code_verifier={VERIFIER}"
        );
        self.exchange(&post("/token", "", &form)).await?;
        self.expect("\"refresh_token\"")
    }

    fn next_refresh(&self) -> io::Result<Vec<u8>> {
        let token = self.member("\"refresh_token\":\"", '"')?;
        Ok(post("/token", "", &format!("grant_type=refresh_token&client_id={APP_ID}&refresh_token={token}")))
    }

    /// Returns the text between the two in the response.
    fn member(&self, begin: &str, end: char) -> io::Result<&str> {
        let text = str::from_utf8(&self.answer).map_err(io::Error::other)?;
        let found = text.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
        found.map(|(member, _)| member).ok_or_else(|| io::Error::other(text.to_owned()))
    }

    /// Checks that the response is a success that contains the text.
    fn expect(&self, text: &str) -> io::Result<()> {
        let contains = self.answer.windows(text.len()).any(|window| window == text.as_bytes());
        if self.answer.starts_with(b"HTTP/1.1 200 ") && contains {
            return Ok(());
        }
        Err(io::Error::other(String::from_utf8_lossy(&self.answer)))
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<()> {
        exchange(&mut self.stream, request, &mut self.answer).await
    }
}

/// Returns the bytes of a POST with a form, or of a GET, from this client.
pub(crate) fn request(path: &str, client_id: &str, secret: &str, form: Option<&str>) -> Vec<u8> {
    let basic = format!("authorization: Basic {}\r\n", STANDARD.encode(format!("{client_id}:{secret}")));
    form.map_or_else(|| get(path, &basic), |form| post(path, &basic, form))
}

fn authorization_request() -> Vec<u8> {
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, VERIFIER.as_bytes()));
    let query = format!(
        "response_type=code&client_id={APP_ID}&redirect_uri=https%3A%2F%2Fapp.example.com%2Fback&scope=orders%3Aread\
         &code_challenge={challenge}&code_challenge_method=S256&state=af0ifjsldkj"
    );
    get(&format!("/authorize?{query}"), "")
}

fn get(path: &str, header: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\n{HEAD}{header}\r\n").into_bytes()
}

fn post(path: &str, header: &str, form: &str) -> Vec<u8> {
    let length = form.len();
    format!("POST {path} HTTP/1.1\r\n{HEAD}{header}{FORM_TYPE}content-length: {length}\r\n\r\n{form}").into_bytes()
}

const HEAD: &str = "host: auth.example.com\r\naccept: application/json\r\n";
const FORM_TYPE: &str = "content-type: application/x-www-form-urlencoded\r\n";

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
