//! The programs, each at a free port that the test knows before, because the API's URL is one of its settings.

use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader},
    process::{Child, Command},
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::timeout,
};

use super::{ATPROTO_SCOPE, CALLBACK, SECRET_IN_HEX, atproto_client_id};
use crate::support::not_run;

/// Stands for the origin of the program in its settings.
pub(super) const ORIGIN: &str = "{origin}";

/// A running program, which is killed when this value is dropped.
pub(super) struct Program {
    /// Such as `http://127.0.0.1:3000`.
    pub(super) origin: String,
    _process: Child,
    file: Option<PathBuf>,
}

impl Drop for Program {
    fn drop(&mut self) {
        self.file.take().map(fs::remove_file);
    }
}

impl Program {
    /// Starts `protected_api` with nonces.
    pub(super) async fn protected_api(settings: &[(&str, &str)]) -> Option<Self> {
        let dpop = [("OAUTH_DPOP_BASE", ORIGIN), ("OAUTH_DPOP_NONCE_SECRET", SECRET_IN_HEX)];
        Self::start("protected_api", "http", &[&dpop, settings].concat()).await
    }

    /// Starts `authorization_server` with nonces, and with clients that get tokens for `resource`, in this format.
    pub(super) async fn authorization_server(resource: &str, format: &str) -> Option<Self> {
        Self::authorization_server_with(resource, format, &[("DPOP_NONCE_SECRET", SECRET_IN_HEX)]).await
    }

    /// Starts `authorization_server` with these variables beside those that it needs.
    pub(super) async fn authorization_server_with(
        resource: &str,
        format: &str,
        settings: &[(&str, &str)],
    ) -> Option<Self> {
        static FILES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("bound-clients-{}-{}.json", std::process::id(), FILES.fetch_add(1, Relaxed));
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&file, clients(resource, format).to_string()).unwrap();
        let needed = [
            ("CLIENTS", file.to_str().unwrap()),
            ("USERS", "ada:correct horse"),
            ("DPOP", "on"),
            // The client of the AT Protocol requires a server that fetches client documents, and has none itself.
            ("CLIENT_DOCUMENT_HOSTS", "app.test"),
        ];
        let mut program = Self::start("authorization_server", "http", &[&needed, settings].concat()).await?;
        program.file = Some(file);
        Some(program)
    }

    /// Starts this program with these variables and no others. In each value, [`ORIGIN`] stands for the program's own one.
    pub(super) async fn start(name: &str, scheme: &str, settings: &[(&str, &str)]) -> Option<Self> {
        let tests = env::current_exe().unwrap();
        let program = tests.parent().and_then(|folder| folder.parent()).unwrap().join("examples").join(name);
        if !program.is_file() {
            not_run(name, "the example programs (cargo build --all-features --examples)");
            return None;
        }
        let mut log = Vec::new();
        // Another program may take the port first.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let origin = format!("{scheme}://127.0.0.1:{port}");
            let mut process = Command::new(&program)
                .env_clear()
                .env("BIND", format!("127.0.0.1:{port}"))
                .envs(settings.iter().map(|(name, value)| (name, value.replace(ORIGIN, &origin))))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap();
            let (send, receive) = mpsc::unbounded_channel();
            read_on(process.stdout.take().unwrap(), send.clone());
            read_on(process.stderr.take().unwrap(), send);
            match timeout(Duration::from_secs(30), until_ready(receive)).await.expect("it starts within 30 s") {
                Ok(()) => return Some(Self { origin, _process: process, file: None }),
                Err(lines) => log = lines,
            }
        }
        panic!("{name} with {settings:?} does not start: {log:#?}");
    }
}

/// Reads the lines of the program until it ends, so that it never waits for a full pipe.
fn read_on(pipe: impl AsyncRead + Send + Unpin + 'static, send: UnboundedSender<String>) {
    let mut lines = BufReader::new(pipe).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            send.send(line).ok();
        }
    });
}

/// Waits until a line says that the program listens. Returns the lines if the program ends before.
async fn until_ready(mut lines: UnboundedReceiver<String>) -> Result<(), Vec<String>> {
    let mut log = Vec::new();
    while let Some(line) = lines.recv().await {
        if ["listening address=", "authorization server at "].iter().any(|ready| line.contains(ready)) {
            return Ok(());
        }
        log.push(line);
    }
    Err(log)
}

/// The registrations: `rs` introspects. `native` is not registered for bound tokens, and gets them because it sends proofs.
fn clients(resource: &str, format: &str) -> Value {
    let audiences = json!({resource: format});
    let public = |id: &str, scope: &str, only_bound: bool| {
        json!({
            "client_id": id, "token_endpoint_auth_method": "none", "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": [CALLBACK], "scope": scope, "audiences": audiences, "dpop_bound_access_tokens": only_bound,
        })
    };
    json!([
        {
            "client_id": "reports", "client_secret": "reports-secret", "grant_types": ["client_credentials"],
            "scope": "orders:read", "audiences": audiences, "dpop_bound_access_tokens": true,
        },
        { "client_id": "rs", "client_secret": "rs-secret", "grant_types": [], "introspect": true },
        public("native", "orders:read", false),
        public(&atproto_client_id(), ATPROTO_SCOPE, true),
    ])
}
