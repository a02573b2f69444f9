//! The example program `authorization_server`, as a process. `cargo test` builds it with the tests.

mod commands;
#[cfg(all(feature = "redis", feature = "http-client"))]
mod documents;
mod dpop;
mod endpoints;
mod form;
mod login_page;
mod mistakes;
mod page;
mod settings;
mod signing_keys;
#[cfg(all(unix, any(feature = "redis", feature = "postgres")))]
mod two_instances;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use serde_json::{Value, json};
use tower_oauth::keys::{Algorithm, PrivateKey};

use crate::{
    program::{Ended, Launch, Program},
    support::Answer,
};

/// Begins the line with the address.
const READY: &str = "authorization server at ";
const ISSUER: &str = "https://as.test";
const CALLBACK: &str = "https://app.test/cb";
/// RFC 7636 Appendix B.
#[cfg(any(feature = "redis", feature = "postgres"))]
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const AUTHORIZE: &str = "/authorize?response_type=code&client_id=web&redirect_uri=https://app.test/cb&state=s\
    &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

/// A folder of the test, removed when this value is dropped.
struct Folder(PathBuf);

impl Folder {
    /// Returns an empty folder, with a file of clients beside it.
    fn new() -> Self {
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
        Self::with_clients(&clients.to_string())
    }

    /// Returns an empty folder, with these clients in a file beside it.
    fn with_clients(clients: &str) -> Self {
        static FOLDERS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authorization-server-{}-{}", std::process::id(), FOLDERS.fetch_add(1, Relaxed));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(folder.join("keys")).unwrap();
        fs::write(folder.join("clients.json"), clients).unwrap();
        Self(folder)
    }

    /// Returns the path of the file of clients.
    fn clients(&self) -> String {
        self.0.join("clients.json").to_str().unwrap().to_owned()
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

/// The running program, which is killed when this value is dropped.
struct Server(Program);

impl Server {
    /// Starts the program with these variables. Returns `None` and reports it if the program was not built.
    async fn start(folder: &Folder, settings: &[(&str, &str)]) -> Option<Self> {
        launch(folder).settings(settings).start(READY).await.map(Self)
    }

    /// Starts the program with [`ODD_CLIENTS`] and these variables, as an issuer at its own address unless they name another one.
    async fn of_odd_clients(folder: &Folder, settings: &[(&str, &str)]) -> Option<Self> {
        let users = format!("ada:{PASSWORD},bob:right");
        launch(folder).unset("ISSUER").set("USERS", &users).settings(settings).start(READY).await.map(Self)
    }

    fn url(&self, path: &str) -> String {
        self.0.url(path)
    }

    /// Returns what the program has printed.
    fn log(&self) -> String {
        self.0.log()
    }

    async fn get(&self, path: &str) -> Answer {
        self.0.get(path, &[]).await
    }

    /// Posts a form.
    async fn post(&self, path: &str, headers: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
        self.0.post_form(path, headers, form).await
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.status.as_u16()
    }

    /// Returns the `kid`s of the key set.
    async fn published(&self) -> Vec<String> {
        let keys: Value = serde_json::from_str(&self.get("/jwks.json").await.body).unwrap();
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    /// Returns the response of the token endpoint.
    async fn token(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let answer = self.post("/token", &[], form).await;
        (answer.status.as_u16(), serde_json::from_str(&answer.body).unwrap())
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
        self.0.signal(name).await;
    }

    /// Sends a signal on which the program must end with status 0. Its log must contain no secret.
    async fn stop(self, signal: &str) {
        let log = self.0.stop(signal).await;
        assert!(!log.contains(PASSWORD), "{log}");
    }
}

/// Runs the program with these arguments until it ends. Returns `None` and reports it if the program was not built.
async fn run(folder: &Folder, settings: &[(&str, &str)], arguments: &[&str]) -> Option<(i32, String, String)> {
    let Ended { status, stdout, stderr } = launch(folder).settings(settings).arguments(arguments).ends().await?;
    Some((status.unwrap(), stdout, stderr))
}

/// Returns the program with the clients of this folder.
fn launch(folder: &Folder) -> Launch {
    let variables = [("ISSUER", ISSUER), ("USERS", "ada:correct horse"), ("CLIENTS", &folder.clients())];
    Program::example("authorization_server").settings(&variables)
}

/// The id and the secret of the first of [`ODD_CLIENTS`].
const ODD: (&str, &str) = ("odd: id %41+ü\"'&=", " hush%40:s \"ü'+/=&~");
/// Ada's password at the server of [`ODD_CLIENTS`].
const PASSWORD: &str = "correct horse: battery";

/// Clients with unusual names and secrets. The first audience of a client is its default.
const ODD_CLIENTS: &str = r#"[
    {
        "client_id": "odd: id %41+ü\"'&=", "client_secret": " hush%40:s \"ü'+/=&~", "grant_types": ["client_credentials"],
        "scope": "read write", "audiences": {"https://z.test": "opaque", "https://a.test": "jwt"}
    },
    {
        "client_id": "web", "client_name": "Reports <b>&amp; \"Söhne\"</b>", "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "redirect_uris": ["http://127.0.0.1/cb"], "scope": "profile orders:read",
        "audiences": {"https://api.test/a?b=<c>&d": "jwt"}
    },
    { "client_id": "an api", "client_secret": "hush api", "grant_types": [], "introspect": true },
    {
        "client_id": "another", "client_secret": "hush", "token_endpoint_auth_method": "client_secret_post",
        "grant_types": []
    }
]"#;

/// Returns a client that follows no redirects and uses no proxy.
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}
