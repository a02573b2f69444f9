//! A server for documents: HTTP/1.1 over TLS, one thread for each connection.

use std::{
    collections::HashMap,
    env, fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::Duration,
};

use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use serde_json::Value;

use crate::support::not_run;

/// What the server responds with.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// Waited before the response.
    pub(crate) delay: Duration,
    /// The body is never completed.
    pub(crate) hangs: bool,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), delay: Duration::ZERO, hangs: false }
    }

    pub(crate) fn json(document: &Value) -> Self {
        Self::json_text(document.to_string())
    }

    pub(crate) fn json_text(body: impl Into<Vec<u8>>) -> Self {
        Self::new(200, body).header("content-type", "application/json")
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    /// Number of TCP connections, also of those without TLS.
    connections: usize,
    /// The heads of the requests.
    requests: Vec<String>,
    open: usize,
    most_open: usize,
}

/// The server. Its thread ends with the process.
pub(crate) struct DocumentServer {
    port: u16,
    state: Arc<Mutex<State>>,
    config: Arc<ServerConfig>,
}

impl DocumentServer {
    /// Starts a server with a certificate for `localhost` and `127.0.0.1`. Returns `None` and reports it without openssl.
    pub(crate) fn start() -> Option<Self> {
        let identity = identity()?;
        let certificates =
            CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = Arc::new(config.with_no_client_auth().with_single_cert(certificates, key).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { port: listener.local_addr().unwrap().port(), state: Arc::default(), config };
        server.accept(listener);
        Some(server)
    }

    /// Also listens on this loopback address. False if the machine has no such address.
    pub(crate) fn also_at(&self, address: &str) -> bool {
        TcpListener::bind((address, self.port)).map(|listener| self.accept(listener)).is_ok()
    }

    fn accept(&self, listener: TcpListener) {
        let (config, state) = (Arc::clone(&self.config), Arc::clone(&self.state));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (config, state) = (Arc::clone(&config), Arc::clone(&state));
                state.lock().unwrap().connections += 1;
                thread::spawn(move || serve(stream.unwrap(), config, &state));
            }
        });
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self, path: &str) -> String {
        self.url_at("localhost", path)
    }

    pub(crate) fn url_at(&self, host: &str, path: &str) -> String {
        format!("https://{host}:{}{path}", self.port)
    }

    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.state.lock().unwrap().answers.insert(path.to_owned(), answer);
    }

    pub(crate) fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    pub(crate) fn requests(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }

    pub(crate) fn last_request(&self) -> String {
        self.state.lock().unwrap().requests.last().unwrap().clone()
    }

    /// Returns the largest number of requests that the server processed at once.
    pub(crate) fn most_open(&self) -> usize {
        self.state.lock().unwrap().most_open
    }
}

/// Reads one request and answers it.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, state: &Mutex<State>) -> Option<()> {
    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let answer = {
        let mut state = state.lock().unwrap();
        state.requests.push(head);
        state.open += 1;
        state.most_open = state.most_open.max(state.open);
        state.answers.get(&path).cloned().unwrap_or_else(|| Answer::new(404, ""))
    };
    thread::sleep(answer.delay);
    let has_length = answer.headers.iter().any(|(name, _)| *name == "transfer-encoding");
    let length = answer.body.len() + usize::from(answer.hangs);
    let length = if has_length { String::new() } else { format!("content-length: {length}\r\n") };
    let headers =
        answer.headers.iter().fold(String::new(), |lines, (name, value)| lines + name + ": " + value + "\r\n");
    let head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n{length}{headers}\r\n", answer.status);
    state.lock().unwrap().open -= 1;
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&answer.body).ok()?;
    stream.flush().ok()?;
    if answer.hangs {
        // Until the client closes the connection.
        while stream.read(&mut [0]).is_ok_and(|read| read > 0) {}
    }
    stream.conn.send_close_notify();
    stream.flush().ok()
}

/// The addresses of IPv4 that the certificate names. All of 127.0.0.0/8 is loopback, but not every machine uses it all.
pub(crate) const ADDRESSES: [&str; 6] = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6"];

struct Identity {
    certificate: String,
    key: String,
}

/// Returns the certificate of the servers in PEM.
pub(crate) fn certificate() -> Option<String> {
    identity().map(|identity| identity.certificate.clone())
}

/// Returns a certificate that openssl created once for this process.
fn identity() -> Option<&'static Identity> {
    static IDENTITY: OnceLock<Option<Identity>> = OnceLock::new();
    let identity = IDENTITY.get_or_init(|| {
        let folder = env::temp_dir().join(format!("tower-oauth-documents-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
        let addresses = ADDRESSES.map(|address| format!("IP:{address}")).join(",");
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-subj", "/CN=documents.tower-oauth.test"])
            .args(["-addext", &format!("subjectAltName=DNS:localhost,IP:::1,{addresses}")])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output();
        let made = made.is_ok_and(|made| made.status.success()).then(|| Identity {
            certificate: fs::read_to_string(&certificate).unwrap(),
            key: fs::read_to_string(&key).unwrap(),
        });
        fs::remove_dir_all(&folder).ok();
        made
    });
    if identity.is_none() {
        not_run("Client ID Metadata Documents", "openssl is not installed (Debian: apt-get install openssl)");
    }
    identity.as_ref()
}
