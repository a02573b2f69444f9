//! An app and the browser of its user. A production app uses a client library for this.

use std::{collections::HashMap, error::Error};

use aws_lc_rs::{digest, rand};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{Request, Response, header};
use serde::Deserialize;
use tower_oauth::fetch::{Fetch as _, HttpClient};

pub(crate) const CALLBACK: &str = "https://app.example.com/callback";

pub(crate) struct App {
    url: String,
    http: HttpClient,
    state: String,
    verifier: String,
}

#[derive(Deserialize)]
pub(crate) struct Tokens {
    pub(crate) access_token: String,
    #[serde(default)]
    pub(crate) refresh_token: String,
}

impl App {
    pub(crate) fn new(url: &str) -> Result<Self, Box<dyn Error>> {
        Ok(Self { url: url.to_owned(), http: HttpClient::new()?, state: random()?, verifier: random()? })
    }

    /// Returns path and query of the page to which the app sends the browser. The query contains the hash of a secret, with
    /// which only this app can redeem the code (RFC 7636 §4.2).
    pub(crate) fn authorization_url(&self) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.verifier.as_bytes()));
        let query = Serializer::new(String::new())
            .extend_pairs([("response_type", "code"), ("client_id", "app"), ("redirect_uri", CALLBACK)])
            .extend_pairs([("state", &*self.state), ("code_challenge", &challenge), ("code_challenge_method", "S256")])
            .finish();
        format!("/authorize?{query}")
    }

    /// Returns the code in the response that sends the browser back to the app. It must belong to this app's request (`state`)
    /// and come from the server to which the request went (`iss`, RFC 9207 §2.4).
    pub(crate) fn code(&self, response: &Response<Bytes>) -> Result<String, Box<dyn Error>> {
        let location = response.headers().get(header::LOCATION).ok_or("the response has no location")?.to_str()?;
        let (callback, query) = location.split_once('?').ok_or("the location has no query")?;
        let mut query: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if callback != CALLBACK || query.get("state") != Some(&self.state) || query.get("iss") != Some(&self.url) {
            return Err("this response belongs to another request".into());
        }
        Ok(query.remove("code").ok_or("the response has no code")?)
    }

    pub(crate) async fn redeem(&self, code: &str) -> Result<Tokens, Box<dyn Error>> {
        let form = [("grant_type", "authorization_code"), ("client_id", "app"), ("code", code)];
        self.request_tokens(&[&form[..], &[("redirect_uri", CALLBACK), ("code_verifier", &self.verifier)]].concat())
            .await
    }

    pub(crate) async fn refresh(&self, token: &str) -> Result<Tokens, Box<dyn Error>> {
        self.request_tokens(&[("grant_type", "refresh_token"), ("client_id", "app"), ("refresh_token", token)]).await
    }

    /// Sends a token request. The tokens are empty if the server refuses it.
    pub(crate) async fn request_tokens(&self, form: &[(&str, &str)]) -> Result<Tokens, Box<dyn Error>> {
        let response = self.send("POST /token", "", form).await?;
        let none = Tokens { access_token: String::new(), refresh_token: String::new() };
        Ok(serde_json::from_slice(response.body()).unwrap_or(none))
    }

    /// Sends a request and prints it with its response, without queries and tokens.
    pub(crate) async fn send(
        &self,
        what: &str,
        token: &str,
        form: &[(&str, &str)],
    ) -> Result<Response<Bytes>, Box<dyn Error>> {
        let (method, path) = what.split_once(' ').ok_or("not a request")?;
        let body = Serializer::new(String::new()).extend_pairs(form).finish();
        let request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let bearer = Some(format!("Bearer {token}")).filter(|_| !token.is_empty());
        let request = bearer.into_iter().fold(request, |request, bearer| request.header(header::AUTHORIZATION, bearer));
        let response = self.http.fetch(request.body(body.into())?).await?;
        let text = String::from_utf8_lossy(response.body());
        let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let shown = match (json.get("error"), json.get("scope"), text.split_once("role=alert>")) {
            (Some(error), ..) => format!("error {error}"),
            (_, Some(scope), _) => format!("a token with the scope {scope}"),
            (.., Some((_, alert))) => format!("a page: {}", alert.split('<').next().unwrap_or_default()),
            _ => text.into_owned(),
        };
        println!("{}\n  {} {shown}", what.split('?').next().unwrap_or(what), response.status());
        Ok(response)
    }
}

/// Returns 32 random bytes as text.
fn random() -> Result<String, Box<dyn Error>> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| "the system has no random bytes")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
