//! The example program `authorization_server`, if it was built. `cargo test` builds it with the tests.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use tower_oauth::keys::{Algorithm, PrivateKey};

use super::{Host, clients};
use crate::program::{ORIGIN, Program};

/// The program runs until this value is dropped.
pub(super) struct AuthorizationServer {
    _program: Program,
    file: PathBuf,
}

impl Drop for AuthorizationServer {
    fn drop(&mut self) {
        fs::remove_file(&self.file).ok();
    }
}

impl AuthorizationServer {
    /// Starts the program with an issuer that has this path. Returns `None` and reports it if the program was not built.
    pub(super) async fn start(path: &str) -> Option<Host> {
        let key = PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id("of signs");
        let file = clients_file();
        fs::write(&file, clients(&key).to_string()).unwrap();
        let settings = [("CLIENTS", file.to_str().unwrap()), ("USERS", "bob:hunter2,ada:correct horse")];
        let launch = Program::example("authorization_server").settings(&settings);
        let launch = if path.is_empty() { launch } else { launch.set("ISSUER", &format!("{ORIGIN}{path}")) };
        let program = launch.start("authorization server at ").await?;
        let issuer = program.url(path);
        assert!(program.log().contains(&format!(" {issuer} ")), "{}", program.log());
        Some(Host { issuer, key, _program: Some(Self { _program: program, file }) })
    }
}

fn clients_file() -> PathBuf {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("clients-{}-{}.json", std::process::id(), FILES.fetch_add(1, Relaxed));
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}
