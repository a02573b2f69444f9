//! The example program `authorization_server`, if it was built. `cargo test` builds it with the tests.

use std::{
    env, fs,
    net::TcpListener,
    path::PathBuf,
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, ChildStdout, Command},
};
use tower_oauth::keys::{Algorithm, PrivateKey};

use super::{Host, clients};
use crate::servers::not_run;

/// The process runs until this value is dropped.
pub(super) struct Program {
    /// Killed when it is dropped, like its pipe.
    _process: (Child, BufReader<ChildStdout>),
    file: PathBuf,
}

impl Drop for Program {
    fn drop(&mut self) {
        fs::remove_file(&self.file).ok();
    }
}

impl Program {
    /// Starts the program with an issuer that has this path. Returns `None` and reports it if the program was not built.
    pub(super) async fn start(path: &str) -> Option<Host> {
        let tests = env::current_exe().unwrap();
        let program = tests.parent().and_then(|folder| folder.parent()).unwrap().join("examples/authorization_server");
        if !program.is_file() {
            not_run(
                "clients against authorization_server",
                "the example programs (cargo build --all-features --examples)",
            );
            return None;
        }
        let key = PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id("of signs");
        let file = clients_file();
        fs::write(&file, clients(&key).to_string()).unwrap();
        // Another program may take the port first.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let bind = format!("127.0.0.1:{port}");
            let mut command = Command::new(&program);
            command.env("BIND", &bind).env("CLIENTS", &file).env("USERS", "bob:hunter2,ada:correct horse");
            for name in ["ISSUER", "STORE", "SIGNING_ALG", "SIGNING_KEY", "RUST_LOG"] {
                command.env_remove(name);
            }
            let issuer = format!("http://{bind}{path}");
            if !path.is_empty() {
                command.env("ISSUER", &issuer);
            }
            let pipes = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut process = pipes.kill_on_drop(true).spawn().unwrap();
            let mut lines = BufReader::new(process.stdout.take().unwrap());
            let mut line = String::new();
            lines.read_line(&mut line).await.unwrap();
            if line.contains(&format!(" {issuer} ")) {
                return Some(Host { issuer, key, _program: Some(Self { _process: (process, lines), file }) });
            }
            let mut errors = String::new();
            process.stderr.take().unwrap().read_to_string(&mut errors).await.unwrap();
            assert!(errors.contains("BIND: cannot listen"), "it prints {line:?} and {errors}");
        }
        panic!("no free port in five attempts");
    }
}

fn clients_file() -> PathBuf {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let name = format!("clients-{}-{}.json", std::process::id(), FILES.fetch_add(1, Relaxed));
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}
