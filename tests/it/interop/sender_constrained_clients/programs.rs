//! The programs, each at a free port that the test knows before, because the API's URL is one of its settings.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use serde_json::{Value, json};

use super::{ATPROTO_SCOPE, CALLBACK, SECRET_IN_HEX, atproto_client_id};
pub(super) use crate::program::ORIGIN;

/// A running program, which is killed when this value is dropped.
pub(super) struct Program {
    /// Such as `http://127.0.0.1:3000`.
    pub(super) origin: String,
    _process: crate::program::Program,
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
        let ready = if name == "protected_api" { "listening address=" } else { "authorization server at " };
        let launch = crate::program::Program::example(name).settings(settings).scheme(scheme);
        let program = launch.start(ready).await?;
        Some(Self { origin: format!("{scheme}://{}", program.address()), _process: program, file: None })
    }
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
