//! An issuer that serves HTTP on the loopback address, returns faulty responses on demand, and counts its requests.

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
use tower_oauth::{Issuer, issuer::IssuerBuilder, keys::Algorithm, testing::MockIssuer};

pub(crate) struct FakeIssuer {
    pub(crate) identifier: String,
    state: Arc<Mutex<State>>,
    accepting: tokio::task::JoinHandle<()>,
}

struct State {
    keys: Vec<Value>,
    metadata: HashMap<String, Answer>,
    jwks: Answer,
    jwks_headers: String,
    introspection: Answer,
    /// The introspection responses of single tokens; `introspection` is for all other tokens.
    introspection_by_token: HashMap<String, Answer>,
    introspection_requests: Vec<IntrospectionRequest>,
    connections: usize,
    hits: HashMap<String, usize>,
    requests: Vec<String>,
}

/// What the URL of the key set or the introspection endpoint returns or does.
#[derive(Clone)]
pub(crate) enum Answer {
    /// The published key set.
    Keys,
    /// No response; the connection stays open.
    Hang,
    /// One byte every 20 ms, without end.
    Drip,
    /// A TCP reset.
    Reset,
    Status(u16),
    /// This status, with the published key set as the body.
    StatusWithKeys(u16),
    Body(String),
    /// A JSON document.
    Document(Value),
    Redirect(String),
    /// A status, complete header lines (each with its line end) and a body.
    Whole(u16, String, Vec<u8>),
    /// A body without end, until the client closes the connection.
    Endless,
    /// A body that is shorter than its `Content-Length`.
    Truncated,
}

/// A request to the introspection endpoint.
#[derive(Debug, Clone)]
pub(crate) struct IntrospectionRequest {
    /// The request line and the header lines.
    pub(crate) head: String,
    pub(crate) body: String,
    /// The number of the connection, in the order in which clients opened them.
    pub(crate) connection: usize,
}

impl IntrospectionRequest {
    /// Returns the value of a header. Panics if the request has the header twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().skip(1).filter_map(|line| {
            let (named, value) = line.split_once(": ")?;
            named.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert!(values.next().is_none(), "the request has {name} twice");
        value
    }

    /// The decoded form parameters.
    pub(crate) fn form(&self) -> Vec<(String, String)> {
        let decode = |text: &str| {
            let (text, mut bytes) = (text.replace('+', " ").into_bytes(), Vec::new());
            let mut rest = text.as_slice();
            while let [byte, after @ ..] = rest {
                let hex = after.get(..2).filter(|_| *byte == b'%').map(|hex| std::str::from_utf8(hex).unwrap());
                bytes.push(hex.map_or(*byte, |hex| u8::from_str_radix(hex, 16).unwrap()));
                rest = if hex.is_some() { &after[2..] } else { after };
            }
            String::from_utf8(bytes).unwrap()
        };
        let pairs = self.body.split('&').map(|pair| pair.split_once('=').unwrap());
        pairs.map(|(name, value)| (decode(name), decode(value))).collect()
    }

    /// Returns the value of a parameter. Panics if the form has the parameter twice.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let values: Vec<_> = self.form().into_iter().filter(|(named, _)| named == name).collect();
        assert!(values.len() < 2, "the request has {name} twice");
        values.into_iter().next().map(|(_, value)| value)
    }
}

impl FakeIssuer {
    /// Publishes an ES256 key at `/jwks`, and names this URL in its RFC 8414 metadata.
    pub(crate) async fn start() -> Self {
        Self::start_with_path("").await
    }

    /// Like [`FakeIssuer::start`], but the identifier has a path.
    pub(crate) async fn start_with_path(path: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let identifier = format!("http://{}{path}", listener.local_addr().unwrap());
        let state = State {
            keys: Vec::new(),
            metadata: HashMap::new(),
            jwks: Answer::Keys,
            jwks_headers: String::new(),
            introspection: Answer::Body(json!({"active": false}).to_string()),
            introspection_by_token: HashMap::new(),
            introspection_requests: Vec::new(),
            connections: 0,
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

    /// An issuer of tokens signed with the key for `algorithm`. Does not publish the key.
    pub(crate) fn signer(&self, algorithm: Algorithm) -> MockIssuer {
        MockIssuer::new(&self.identifier).with_algorithm(algorithm)
    }

    pub(crate) fn valid_token(&self) -> String {
        self.signer(Algorithm::ES256).token("ada").sign()
    }

    pub(crate) fn document(&self) -> Value {
        json!({
            "issuer": self.identifier,
            "jwks_uri": self.jwks_uri(),
            "introspection_endpoint": self.introspection_endpoint(),
        })
    }

    pub(crate) fn introspection_endpoint(&self) -> String {
        format!("{}/introspect", self.origin())
    }

    pub(crate) fn origin(&self) -> String {
        self.identifier.split('/').take(3).collect::<Vec<_>>().join("/")
    }

    pub(crate) fn jwks_uri(&self) -> String {
        format!("{}/jwks", self.origin())
    }

    pub(crate) fn publish(&self, algorithms: &[Algorithm]) {
        self.state.lock().unwrap().keys = algorithms.iter().map(|algorithm| self.signer(*algorithm).jwk()).collect();
    }

    pub(crate) fn publish_raw(&self, keys: Vec<Value>) {
        self.state.lock().unwrap().keys = keys;
    }

    /// Sets what the URL of the key set returns.
    pub(crate) fn answer(&self, answer: Answer) {
        self.state.lock().unwrap().jwks = answer;
    }

    /// Sets what the introspection endpoint returns. Default: `{"active":false}`.
    pub(crate) fn introspection(&self, answer: Answer) {
        self.state.lock().unwrap().introspection = answer;
    }

    /// Sets what the introspection endpoint returns for one token.
    pub(crate) fn introspection_of(&self, token: &str, answer: Answer) {
        self.state.lock().unwrap().introspection_by_token.insert(token.to_owned(), answer);
    }

    /// The introspection requests so far.
    pub(crate) fn introspection_requests(&self) -> Vec<IntrospectionRequest> {
        self.state.lock().unwrap().introspection_requests.clone()
    }

    /// The number of introspection requests so far.
    pub(crate) fn introspection_count(&self) -> usize {
        self.state.lock().unwrap().introspection_requests.len()
    }

    /// Waits until there are `count` introspection requests, and checks that there are not more.
    pub(crate) async fn wait_for_introspections(&self, count: usize) {
        let enough = async {
            while self.introspection_count() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), enough)
            .await
            .expect("too few introspection requests within 10 s");
        assert_eq!(self.introspection_count(), count);
    }

    /// Sets additional headers of the key set's response: complete lines, each with its line end.
    pub(crate) fn jwks_headers(&self, headers: &str) {
        headers.clone_into(&mut self.state.lock().unwrap().jwks_headers);
    }

    pub(crate) fn metadata(&self, path: &str, document: Value) {
        self.metadata_answer(path, Answer::Document(document));
    }

    /// Sets what a URL of metadata returns.
    pub(crate) fn metadata_answer(&self, path: &str, answer: Answer) {
        self.state.lock().unwrap().metadata.insert(path.to_owned(), answer);
    }

    pub(crate) fn without_metadata(&self) {
        self.state.lock().unwrap().metadata.clear();
    }

    /// The number of requests for this path.
    pub(crate) fn hits(&self, path: &str) -> usize {
        self.state.lock().unwrap().hits.get(path).copied().unwrap_or_default()
    }

    pub(crate) fn fetches(&self) -> usize {
        self.hits("/jwks")
    }

    /// The request line and headers of each request so far.
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
        let connection = {
            let mut state = state.lock().unwrap();
            state.connections += 1;
            state.connections
        };
        tokio::spawn(serve(stream, Arc::clone(&state), connection));
    }
}

/// The introspection endpoint keeps connections open; the other URLs close them.
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, connection: usize) {
    const CLOSE: &str = "connection: close\r\n";
    while let Some((head, body)) = read(&mut stream).await {
        let path = head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
        let (jwks, jwks_headers, keys, metadata) = {
            let mut state = state.lock().unwrap();
            *state.hits.entry(path.clone()).or_default() += 1;
            state.requests.push(head.clone());
            let keys = json!({"keys": state.keys}).to_string();
            (state.jwks.clone(), state.jwks_headers.clone(), keys, state.metadata.get(&path).cloned())
        };
        match (path.as_str(), metadata) {
            (_, Some(answer)) => {
                if send_answer(&mut stream, answer, CLOSE).await.is_none() {
                    return;
                }
            }
            ("/jwks", None) => {
                let etag = jwks_headers.lines().find_map(|line| line.strip_prefix("ETag: "));
                let unchanged = etag.is_some_and(|etag| head.contains(&format!("if-none-match: {etag}")));
                let headers = format!("{CLOSE}{jwks_headers}");
                match jwks {
                    Answer::Keys if unchanged => respond(&mut stream, 304, &headers, b"").await,
                    Answer::Keys => respond(&mut stream, 200, &headers, keys.as_bytes()).await,
                    Answer::StatusWithKeys(status) => respond(&mut stream, status, CLOSE, keys.as_bytes()).await,
                    other => {
                        if send_answer(&mut stream, other, CLOSE).await.is_none() {
                            return;
                        }
                    }
                }
            }
            ("/introspect", None) => {
                let request = IntrospectionRequest { head, body, connection };
                let answer = {
                    let mut state = state.lock().unwrap();
                    let token = request.parameter("token").unwrap_or_default();
                    state.introspection_requests.push(request);
                    state.introspection_by_token.get(&token).unwrap_or(&state.introspection).clone()
                };
                match send_answer(&mut stream, answer, "").await {
                    Some(()) => continue,
                    None => return,
                }
            }
            _ => respond(&mut stream, 404, CLOSE, b"").await,
        }
        stream.shutdown().await.ok();
        return;
    }
}

/// Reads the head and the body of one request.
async fn read(stream: &mut TcpStream) -> Option<(String, String)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or_default()];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, String::from_utf8(body).unwrap()))
}

/// Sends the answer. Returns `None` if the connection cannot be used again.
async fn send_answer(stream: &mut TcpStream, answer: Answer, headers: &str) -> Option<()> {
    match answer {
        Answer::Keys | Answer::StatusWithKeys(_) => unreachable!("only the URL of the key set returns keys"),
        Answer::Hang => std::future::pending().await,
        Answer::Drip => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await.ok();
            while stream.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            return None;
        }
        Answer::Reset => {
            stream.set_zero_linger().unwrap();
            return None;
        }
        Answer::Status(status) => respond(stream, status, headers, b"").await,
        Answer::Body(body) => respond(stream, 200, headers, body.as_bytes()).await,
        Answer::Document(document) => respond(stream, 200, headers, document.to_string().as_bytes()).await,
        Answer::Redirect(to) => respond(stream, 302, &format!("{headers}Location: {to}\r\n"), b"").await,
        Answer::Whole(status, more, body) => respond(stream, status, &format!("{headers}{more}"), &body).await,
        Answer::Endless => {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"active\":true,").await.ok();
            while stream.write_all(&[b' '; 4096]).await.is_ok() {}
            return None;
        }
        Answer::Truncated => {
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"active\":true").await.ok();
            stream.shutdown().await.ok();
            return None;
        }
    }
    Some(())
}

/// Writes the response at once: with two writes, TCP could delay the second one until an acknowledgement arrives.
async fn respond(stream: &mut TcpStream, status: u16, headers: &str, body: &[u8]) {
    let has_content_type = headers.to_ascii_lowercase().contains("content-type:");
    let content_type = if has_content_type { "" } else { "content-type: application/json\r\n" };
    let head = format!("HTTP/1.1 {status} x\r\n{content_type}{headers}content-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).await.ok();
}
