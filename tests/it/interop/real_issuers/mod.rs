//! Real issuers, whose tokens `protected_api` accepts with the settings for the provider: the npm packages better-auth and
//! oidc-provider, and Debian's glewlwyd. The scripts in `tests/interop` start them.
//!
//! A test that can't run because a program is missing prints that. With `CI` set, it fails.

mod better_auth;
mod glewlwyd;
mod oidc_provider;

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, request::Builder};
use serde_json::Value;
use tower_oauth::fetch::{Fetch as _, HttpClient};

use crate::support::not_run;

/// The redirect URI of the clients. No server is needed there, because the browser does not follow redirects.
const CALLBACK: &str = "http://127.0.0.1:8799/cb";
const ORDERS: &str = "https://api.interop.test/orders";

/// A running issuer. Dropping this value stops it.
struct RealIssuer {
    identifier: String,
    process: Child,
}

impl RealIssuer {
    /// Runs `NAME.mjs`, which prints the issuer's name and identifier.
    fn start(name: &str) -> Self {
        let mut process = Command::new("node")
            .arg(format!("{name}.mjs"))
            .current_dir(folder())
            .env_remove("ISSUER")
            .env("PORT", "0")
            .env("UNTIL_STDIN_ENDS", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines().map_while(Result::ok);
        let of_line =
            |line: String| Some(line.strip_prefix(name)?.trim().to_owned()).filter(|rest| rest.starts_with("http"));
        let identifier = lines.find_map(of_line);
        let identifier = identifier.unwrap_or_else(|| panic!("{name} stopped; run `node {name}.mjs` to see why"));
        Self { identifier, process }
    }
}

impl Drop for RealIssuer {
    fn drop(&mut self) {
        // The script stops the server and removes its files when its standard input ends.
        drop(self.process.stdin.take());
        self.process.wait().ok();
    }
}

/// Where the scripts and their packages are.
fn folder() -> PathBuf {
    let named = env::var_os("OIDC_PROVIDER_DIR").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop"))
}

fn runs(program: &str) -> bool {
    let status = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Returns whether node and a package are there. If not, reports it.
fn has_package(name: &str) -> bool {
    let installed = runs("node") && folder().join("node_modules").join(name).is_dir();
    if !installed {
        not_run(name, "the issuers of others are not installed (CI=true .ci/install issuers)");
    }
    installed
}

/// A browser that keeps cookies and follows no redirect.
struct Browser {
    client: HttpClient,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    fn new() -> Self {
        Self { client: HttpClient::new().unwrap(), cookies: BTreeMap::new() }
    }

    async fn send(&mut self, request: Builder, body: impl Into<Bytes>) -> Response<Bytes> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header("cookie", cookies.join("; ")).body(body.into()).unwrap();
        let response = self.client.fetch(request).await.unwrap();
        for cookie in response.headers().get_all("set-cookie") {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
        }
        response
    }

    async fn get(&mut self, url: &str) -> Response<Bytes> {
        self.send(Request::get(url), "").await
    }

    /// Posts JSON as a page of this origin.
    async fn post(&mut self, origin: &str, path: &str, body: &Value) -> Value {
        let request = Request::post(format!("{origin}{path}")).header("content-type", "application/json");
        json(&self.send(request.header("origin", origin), body.to_string()).await)
    }
}

/// Posts a form to a token endpoint as the client `id`, whose secret is `id-secret`. Returns the response.
async fn request_token(url: &str, id: &str, form: &[(&str, &str)]) -> Value {
    let request = Request::post(url)
        .header("authorization", format!("Basic {}", STANDARD.encode(format!("{id}:{id}-secret"))))
        .header("content-type", "application/x-www-form-urlencoded");
    json(&Browser::new().send(request, encoded(form)).await)
}

fn encoded(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

fn json(response: &Response<Bytes>) -> Value {
    assert!(response.status().is_success(), "{response:?}");
    serde_json::from_slice(response.body()).unwrap()
}

fn location(response: &Response<Bytes>) -> &str {
    assert!(response.status().is_redirection(), "{response:?}");
    response.headers()["location"].to_str().unwrap()
}

/// Returns a parameter of the redirect to [`CALLBACK`].
fn code(location: &str) -> String {
    let (_, query) = location.strip_prefix(CALLBACK).unwrap().split_once('?').unwrap();
    let mut parameters = form_urlencoded::parse(query.as_bytes());
    parameters.find(|(name, _)| name == "code").unwrap_or_else(|| panic!("no code in {location}")).1.into_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// Returns the claims of a JWT.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}
