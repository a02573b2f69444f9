//! An issuer that speaks real HTTP on loopback and misbehaves on demand. Counts what it is asked.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tower_oauth::{Algorithm, Issuer, IssuerBuilder, testing::MockIssuer};

pub(crate) struct FakeIssuer {
    pub(crate) identifier: String,
    state: Arc<Mutex<State>>,
    accepting: tokio::task::JoinHandle<()>,
}

struct State {
    keys: Vec<Value>,
    metadata: HashMap<String, Value>,
    jwks: Answer,
    jwks_headers: String,
    hits: HashMap<String, usize>,
    requests: Vec<String>,
}

/// What the key set's URL does.
#[derive(Clone)]
pub(crate) enum Answer {
    Keys,
    Hang,
    /// A byte now and then, for ever.
    Drip,
    Reset,
    Status(u16),
    /// This status with the good key set as its body.
    StatusWithKeys(u16),
    Body(String),
    Redirect(String),
}

impl FakeIssuer {
    /// Publishes an ES256 key at `/jwks`, and says so in its RFC 8414 metadata.
    pub(crate) async fn start() -> Self {
        Self::start_with_path("").await
    }

    /// The same, with a path in its identifier.
    pub(crate) async fn start_with_path(path: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let identifier = format!("http://{}{path}", listener.local_addr().unwrap());
        let state = State {
            keys: Vec::new(),
            metadata: HashMap::new(),
            jwks: Answer::Keys,
            jwks_headers: String::new(),
            hits: HashMap::new(),
            requests: Vec::new(),
        };
        let state = Arc::new(Mutex::new(state));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&state)));
        let fake = Self { identifier, state, accepting };
        fake.publish(&[Algorithm::ES256]);
        let document = fake.document();
        fake.metadata(&format!("/.well-known/oauth-authorization-server{path}"), document);
        fake
    }

    /// Tokens under the key for `algorithm`; publishing it is another matter.
    pub(crate) fn mint(&self, algorithm: Algorithm) -> MockIssuer {
        MockIssuer::with_algorithm(&self.identifier, algorithm)
    }

    pub(crate) fn good_token(&self) -> String {
        self.mint(Algorithm::ES256).token("ada").sign()
    }

    pub(crate) fn document(&self) -> Value {
        json!({"issuer": self.identifier, "jwks_uri": self.jwks_uri()})
    }

    pub(crate) fn origin(&self) -> String {
        self.identifier.split('/').take(3).collect::<Vec<_>>().join("/")
    }

    pub(crate) fn jwks_uri(&self) -> String {
        format!("{}/jwks", self.origin())
    }

    pub(crate) fn publish(&self, algorithms: &[Algorithm]) {
        self.state.lock().unwrap().keys = algorithms.iter().map(|algorithm| self.mint(*algorithm).jwk()).collect();
    }

    pub(crate) fn publish_raw(&self, keys: Vec<Value>) {
        self.state.lock().unwrap().keys = keys;
    }

    pub(crate) fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().jwks = answer;
    }

    /// Whole header lines, each with its line end.
    pub(crate) fn jwks_headers(&self, headers: &str) {
        headers.clone_into(&mut self.state.lock().unwrap().jwks_headers);
    }

    pub(crate) fn metadata(&self, path: &str, document: Value) {
        self.state.lock().unwrap().metadata.insert(path.to_owned(), document);
    }

    pub(crate) fn without_metadata(&self) {
        self.state.lock().unwrap().metadata.clear();
    }

    /// How often this path was asked for.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.state.lock().unwrap().hits.get(path).copied().unwrap_or_default()
    }

    pub(crate) fn fetches(&self) -> usize {
        self.hits("/jwks")
    }

    /// The heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn builder(&self) -> IssuerBuilder {
        Issuer::builder(&self.identifier)
    }
}

impl Drop for FakeIssuer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&state)));
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let (answer, headers, keys, metadata) = {
        let mut state = state.lock().unwrap();
        *state.hits.entry(path.clone()).or_default() += 1;
        state.requests.push(head.clone());
        let keys = json!({"keys": state.keys}).to_string();
        (state.jwks.clone(), state.jwks_headers.clone(), keys, state.metadata.get(&path).cloned())
    };
    match (path.as_str(), metadata) {
        (_, Some(document)) => respond(&mut stream, 200, "", &document.to_string()).await,
        ("/jwks", None) => misbehave(&mut stream, answer, &headers, &keys, &head).await,
        _ => respond(&mut stream, 404, "", "").await,
    }
}

async fn misbehave(stream: &mut TcpStream, answer: Answer, headers: &str, keys: &str, head: &str) {
    match answer {
        Answer::Keys => {
            let etag = headers.lines().find_map(|line| line.strip_prefix("ETag: "));
            if etag.is_some_and(|etag| head.contains(&format!("if-none-match: {etag}"))) {
                return respond(stream, 304, headers, "").await;
            }
            respond(stream, 200, headers, keys).await;
        }
        Answer::Hang => std::future::pending().await,
        Answer::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await.ok();
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Answer::Reset => stream.set_zero_linger().unwrap(),
        Answer::Status(status) => respond(stream, status, "", "").await,
        Answer::StatusWithKeys(status) => respond(stream, status, "", keys).await,
        Answer::Body(body) => respond(stream, 200, "", &body).await,
        Answer::Redirect(to) => respond(stream, 302, &format!("Location: {to}\r\n"), "").await,
    }
}

async fn respond(stream: &mut TcpStream, status: u16, headers: &str, body: &str) {
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok();
    stream.write_all(body.as_bytes()).await.ok();
    stream.shutdown().await.ok();
}
