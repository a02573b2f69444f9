//! The example program `authorization_server`, as a process. `cargo test` builds it with the tests.

mod commands;
#[cfg(all(feature = "redis", feature = "http-client"))]
mod documents;
mod dpop;
mod page;
mod settings;
mod signing_keys;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    time::timeout,
};
use tower_oauth::keys::{Algorithm, PrivateKey};

use crate::support::not_run;

const ISSUER: &str = "https://as.test";
const CALLBACK: &str = "https://app.test/cb";
/// RFC 7636 Appendix B.
#[cfg(feature = "redis")]
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const AUTHORIZE: &str = "/authorize?response_type=code&client_id=web&redirect_uri=https://app.test/cb&state=s\
    &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

/// A folder of the test, removed when this value is dropped.
struct Folder(PathBuf);

impl Folder {
    /// Returns an empty folder, with a file of clients beside it.
    fn new() -> Self {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authorization-server-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Relaxed));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(folder.join("keys")).unwrap();
        let clients = json!([
            {
                "client_id": "reports", "client_secret": "reports-secret", "grant_types": ["client_credentials"],
                "audiences": {"https://api.test": "jwt"},
            },
            {
                "client_id": "web", "token_endpoint_auth_method": "none", "redirect_uris": [CALLBACK],
                "grant_types": ["authorization_code", "refresh_token"], "scope": "read write",
                "audiences": {"https://api.test": "jwt"},
            },
        ]);
        fs::write(folder.join("clients.json"), clients.to_string()).unwrap();
        Self(folder)
    }

    fn keys(&self) -> PathBuf {
        self.0.join("keys")
    }

    /// Writes a new key, and returns its text.
    fn add_key(&self, name: &str) -> String {
        let pem = PrivateKey::generate(Algorithm::ES256).unwrap().expose_pkcs8_pem().unwrap();
        write_private(&self.keys().join(name), &pem);
        pem
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

/// A running program, which is killed when this value is dropped.
struct Server {
    address: String,
    process: Child,
}

impl Server {
    /// Starts the program with these variables. Returns `None` and reports it if the program was not built.
    async fn start(folder: &Folder, settings: &[(&str, &str)]) -> Option<Self> {
        let pipes = &mut command(folder, settings)?;
        let mut process = pipes.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = timeout(Duration::from_secs(20), lines.next_line()).await.expect("it starts").unwrap();
        let line = line.expect("the program ended");
        let address = line.split("listening on ").nth(1).unwrap().trim_end_matches(')').to_owned();
        Some(Self { address, process })
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn status(&self, path: &str) -> u16 {
        http().get(self.url(path)).send().await.unwrap().status().as_u16()
    }

    /// Returns the `kid`s of the key set.
    async fn published(&self) -> Vec<String> {
        let keys = http().get(self.url("/jwks.json")).send().await.unwrap().bytes().await.unwrap();
        let keys: Value = serde_json::from_slice(&keys).unwrap();
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the response of the token endpoint.
    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request = http().post(self.url("/token")).header("content-type", "application/x-www-form-urlencoded");
        let response = request.body(form).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
    }

    /// Returns the `kid` of a new JWT.
    async fn signs(&self) -> String {
        let (client, secret) = (("client_id", "reports"), ("client_secret", "reports-secret"));
        let (status, json) = self.token(&[("grant_type", "client_credentials"), client, secret]).await;
        assert_eq!(status, 200, "{json}");
        crate::token_endpoint::part(json["access_token"].as_str().unwrap(), 0)["kid"].as_str().unwrap().to_owned()
    }

    /// Sends a signal to the process.
    async fn signal(&self, name: &str) {
        let id = self.process.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().await.unwrap().success());
    }
}

/// Runs the program with these arguments until it ends. Returns `None` and reports it if the program was not built.
async fn run(folder: &Folder, settings: &[(&str, &str)], arguments: &[&str]) -> Option<(i32, String, String)> {
    let mut command = command(folder, settings)?;
    let output = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
    let Output { status, stdout, stderr } =
        timeout(Duration::from_secs(20), output).await.expect("the program ends").unwrap();
    Some((status.code().unwrap(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap()))
}

/// Returns the command with these variables and no others, at a free port.
fn command(folder: &Folder, settings: &[(&str, &str)]) -> Option<Command> {
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(|folder| folder.parent()).unwrap().join("examples/authorization_server");
    if !program.is_file() {
        not_run("the program authorization_server", "the example programs (cargo build --all-features --examples)");
        return None;
    }
    let mut command = Command::new(program);
    command
        .env_clear()
        .envs([("BIND", "127.0.0.1:0"), ("ISSUER", ISSUER), ("USERS", "ada:correct horse")])
        .env("CLIENTS", folder.0.join("clients.json"))
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    Some(command)
}

/// Returns a client that follows no redirects and uses no proxy.
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}
