//! Widely used clients with the token endpoint, over sockets: the crate oauth2 in this process; the crate openidconnect
//! as a program, npm's openid-client and `PyPI`'s Authlib as scripts, all in `tests/clients`, which a test starts.
//!
//! The server is in this process; the scripts also run with the example program `authorization_server`. All these tests use the
//! same registrations, [`clients`], and the same browser, [`Host::browse`], which logs Ada in and returns the page's redirect.
//!
//! [`documented`] and [`mcp`] have many more clients, each as its documentation has it, with the example programs only.
//! `.ci/install` installs what these tests start.

mod authlib;
mod documented;
mod mcp;
mod oauth2;
mod openid_client;
mod openidconnect;
mod program;
mod script;
pub(crate) mod tools;

use std::collections::HashMap;

use axum::{
    Router,
    extract::Form,
    response::{Html, IntoResponse as _, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tower_oauth::{
    keys::{Algorithm, KeySet, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, AuthorizationRequest, Client, ClientCredential, ClientCredentialsGrant, ClientSecret,
        Clients, RefreshTokenGrant, TokenEndpoint, TokenEndpointBuilder, TokenFormat,
    },
};

use self::program::AuthorizationServer;

/// What is missing on a machine without the clients of npm, `PyPI` and crates.io.
const CLIENTS: &str = "the clients of npm, PyPI and crates.io are not installed (CI=true .ci/install clients)";
/// What is missing on a machine without Chromium.
pub(crate) const CHROMIUM: &str =
    "chromium or chromedriver is not installed (Debian: apt-get install chromium chromium-driver)";
/// What is missing on a machine without the clients of the Model Context Protocol.
const MCP_CLIENTS: &str =
    "the clients of the Model Context Protocol are not installed (CI=true .ci/install mcp_clients)";

const API: &str = "https://api.test";
const OPAQUE: &str = "https://opaque.test";
/// The redirect URI. No server is needed there, because the browser does not follow redirects.
const CALLBACK: &str = "https://app.test/callback";
const CALLBACK_WITH_QUERY: &str = "https://app.test/callback?tenant=1";
const LOOPBACK: &str = "http://127.0.0.1:49152/callback";
/// Id and secret with special characters, which clients encode in different ways, in a form and in Basic.
const ODD: (&str, &str) = ("an odd: id%41+ä", "a b:c%41+&=/?ü");
/// Id and secret that work in Basic without form-encoding, although they have a second colon, a space and separators.
const PLAIN: (&str, &str) = ("reports (v2)", "p:q r&s=t/~");

/// Returns the registrations, in the format of `authorization_server`. `key` is the key of `signs`.
fn clients(key: &PrivateKey) -> Value {
    let audiences = json!({API: "jwt", OPAQUE: "opaque"});
    let secret = |id: &str, secret: &str, grants: Value| {
        json!({
            "client_id": id, "client_secret": secret, "grant_types": grants, "scope": "read write",
            "audiences": audiences, "introspect": true,
        })
    };
    let machine = json!(["client_credentials"]);
    let codes = json!(["authorization_code", "refresh_token"]);
    let mut web = secret("web", "web-secret", codes.clone());
    web["redirect_uris"] = json!([CALLBACK, CALLBACK_WITH_QUERY]);
    let public: Value = serde_json::from_str(&key.public_jwk()).unwrap();
    json!([
        secret("reports", "reports-secret", machine.clone()),
        secret(ODD.0, ODD.1, machine.clone()),
        secret(PLAIN.0, PLAIN.1, machine.clone()),
        {
            "client_id": "signs", "token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [public]},
            "grant_types": machine, "scope": "read write", "audiences": audiences, "introspect": true,
        },
        web,
        {
            "client_id": "native", "token_endpoint_auth_method": "none", "grant_types": codes,
            "redirect_uris": ["http://127.0.0.1/callback"], "scope": "read write", "audiences": audiences,
        },
    ])
}

/// Returns the redirect URI for a client that can send any.
fn callback(id: &str) -> &'static str {
    if id == "native" { LOOPBACK } else { CALLBACK_WITH_QUERY }
}

/// Builds one of [`clients`].
fn client(shape: &Value) -> Client {
    let texts = |list: &Value| list.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    let id = text(&shape["client_id"]);
    let mut client = match (&shape["client_secret"], &shape["jwks"]) {
        (Value::String(secret), _) => Client::builder(id, ClientSecret::new(secret)),
        (_, Value::Object(_)) => Client::builder(id, KeySet::from_json(shape["jwks"].to_string()).unwrap()),
        _ => Client::builder(id, ClientCredential::None),
    };
    client = client.grant_types(texts(&shape["grant_types"])).default_scopes(text(&shape["scope"]).split(' '));
    for uri in texts(&shape["redirect_uris"]) {
        client = client.redirect_uri(uri);
    }
    for (audience, format) in [(API, TokenFormat::Jwt), (OPAQUE, TokenFormat::Opaque)] {
        client = client.audience(audience, format);
    }
    if shape["introspect"] == true {
        client = client.introspects_any_token();
    }
    client.build().unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// A server that runs until this value is dropped or the test ends.
struct Host {
    issuer: String,
    key: PrivateKey,
    /// The process of the server, if it is not this one.
    _program: Option<AuthorizationServer>,
}

impl Host {
    /// Starts a server in this process, whose issuer has this path.
    async fn start(path: &str) -> Self {
        Self::with(path, Algorithm::ES256, |builder| builder).await
    }

    /// Starts a server in this process, with this algorithm for its tokens.
    async fn signing(algorithm: Algorithm) -> Self {
        Self::with("", algorithm, |builder| builder).await
    }

    async fn with(
        path: &str,
        algorithm: Algorithm,
        configure: impl FnOnce(TokenEndpointBuilder) -> TokenEndpointBuilder,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}{path}", listener.local_addr().unwrap());
        let key = PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id("of signs");
        let clients = Clients::new(clients(&key).as_array().unwrap().iter().map(client)).unwrap();
        let builder = TokenEndpoint::builder(&issuer, PrivateKey::generate(algorithm).unwrap(), clients)
            .grant(ClientCredentialsGrant::new())
            .grant(AuthorizationCodeGrant::new(format!("{issuer}/authorize")))
            .grant(RefreshTokenGrant::new());
        let endpoint = configure(builder).build().unwrap();
        let pages = Router::new().route(&format!("{path}/authorize"), get(page).post(decide));
        let app = pages.with_state(endpoint.clone()).fallback_service(endpoint);
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { issuer, key, _program: None }
    }

    /// Returns the settings for a script or program.
    fn settings(&self) -> Value {
        json!({
            "issuer": self.issuer, "api": API, "opaque": OPAQUE, "odd": [ODD.0, ODD.1], "plain": [PLAIN.0, PLAIN.1],
            "callback": CALLBACK, "callback_with_query": CALLBACK_WITH_QUERY, "loopback": LOOPBACK,
            "key": self.key.expose_pkcs8_pem().unwrap(), "kid": self.key.key_id(),
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// Logs Ada in at this page, approves the request, and returns the URL of the redirect.
    async fn browse(&self, url: &str) -> String {
        let http = http();
        let page = http.get(url).send().await.unwrap();
        assert_eq!(page.status(), 200, "{url}");
        let cookies = page.headers().get_all("set-cookie").iter();
        let cookies: Vec<_> = cookies.filter_map(|cookie| cookie.to_str().unwrap().split(';').next()).collect();
        let cookies = cookies.join("; ");
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(filled(&page.text().await.unwrap()));
        // To the URL of the page, because the form has no `action`.
        let request = http.post(url).header("cookie", cookies);
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(form.finish());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 303, "{url}");
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    /// Returns the parameters of the authorization response.
    async fn answer(&self, url: &str) -> HashMap<String, String> {
        let location = self.browse(url).await;
        let (_, query) = location.split_once('?').unwrap();
        form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// Fetches the metadata (RFC 8414 §3.1: the well-known path is inserted before the issuer's path).
    async fn metadata(&self) -> Value {
        let mut url = reqwest::Url::parse(&self.issuer).unwrap();
        let path = format!("/.well-known/oauth-authorization-server{}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        let response = http().get(url).send().await.unwrap();
        assert_eq!(response.status(), 200);
        let metadata: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
        assert_eq!(metadata["issuer"], *self.issuer);
        metadata
    }
}

/// The application's page: the login is also the consent.
async fn page(_: AuthorizationRequest) -> Html<&'static str> {
    Html(
        "<form method=post><input type=hidden name=form value='1 &amp; only'><input name=name>\
         <input name=password type=password><button name=answer value=allow>Allow</button></form>",
    )
}

async fn decide(request: AuthorizationRequest, Form(form): Form<HashMap<String, String>>) -> Response {
    let expected = [("form", "1 & only"), ("name", "ada"), ("password", "correct horse"), ("answer", "allow")];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
    request.approve("ada", scopes).await.into_response()
}

/// Returns the form that a user submits: the hidden fields, name and password, and the first button.
fn filled(page: &str) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    for field in tags(page, "input") {
        let (Some(name), kind) = (field.get("name"), field.get("type").map_or("text", String::as_str)) else {
            continue;
        };
        let value = match kind {
            "password" => "correct horse".to_owned(),
            "text" => "ada".to_owned(),
            _ => field.get("value").map(|value| unescape(value)).unwrap_or_default(),
        };
        fields.push((name.clone(), value));
    }
    let button = tags(page, "button").into_iter().next().unwrap_or_default();
    if let (Some(name), Some(value)) = (button.get("name"), button.get("value")) {
        fields.push((name.clone(), unescape(value)));
    }
    fields
}

/// Returns the attributes of each `<name …>`, still escaped.
fn tags(page: &str, name: &str) -> Vec<HashMap<String, String>> {
    let mut found = Vec::new();
    for part in page.split(&format!("<{name}")).skip(1) {
        let mut attributes = HashMap::new();
        let mut rest = part.trim_start();
        while !rest.is_empty() && !rest.starts_with('>') {
            let end = rest.find(|c: char| c == '=' || c == '>' || c.is_whitespace()).unwrap_or(rest.len());
            let (attribute, after) = rest.split_at(end);
            let (value, after) = match after.strip_prefix('=') {
                None => ("", after),
                Some(after) => match after.chars().next() {
                    Some(quote @ ('"' | '\'')) => after[1..].split_once(quote).unwrap(),
                    _ => after.split_at(after.find(|c: char| c == '>' || c.is_whitespace()).unwrap_or(after.len())),
                },
            };
            attributes.insert(attribute.to_owned(), value.to_owned());
            rest = after.trim_start();
        }
        found.push(attributes);
    }
    found
}

fn unescape(text: &str) -> String {
    let named = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&#x27;", "'"), ("&amp;", "&")];
    named.iter().fold(text.to_owned(), |text, (escape, character)| text.replace(escape, character))
}

/// Returns a client that follows no redirects and uses no proxy.
fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// Sends a request of the crate oauth2. It revokes only at `https` URLs. In production a proxy would terminate TLS; here the
/// request is sent by `http`.
async fn send(request: http::Request<Vec<u8>>) -> Result<http::Response<Vec<u8>>, reqwest::Error> {
    let mut request = reqwest::Request::try_from(request)?;
    request.url_mut().set_scheme("http").unwrap();
    let mut response = http().execute(request).await?;
    let mut answer = http::Response::new(Vec::new());
    *answer.status_mut() = response.status();
    *answer.headers_mut() = std::mem::take(response.headers_mut());
    *answer.body_mut() = response.bytes().await?.to_vec();
    Ok(answer)
}

/// Returns this URL with `https`, which the crate oauth2 requires for a revocation.
fn over_tls(url: &str) -> String {
    url.replacen("http://", "https://", 1)
}
