//! npm's oidc-provider, with a user who logs in and approves the client on its pages.

use std::process::{Command, Stdio};

use bytes::Bytes;
use http::{Request, Response};
use serde_json::{Value, json};

use super::{Browser, CALLBACK, ORDERS, RealIssuer, code, encoded, folder, has_package, location, request_token, text};
use crate::programs::protected_api::Api;

/// The challenge of [`VERIFIER`] (RFC 7636 Appendix B).
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

fn start() -> Option<RealIssuer> {
    if !has_package("oidc-provider") {
        return None;
    }
    let keys = Command::new(folder().join("gen-keys.sh")).stdout(Stdio::null()).status().unwrap();
    assert!(keys.success(), "gen-keys.sh failed");
    Some(RealIssuer::start("oidc-provider"))
}

impl RealIssuer {
    /// Logs ada in, who approves the client `web`, and returns the response with the access token and the ID token.
    async fn authorize(&self) -> Value {
        let mut browser = Browser::new();
        let query = [
            ("response_type", "code"),
            ("client_id", "web"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid orders:read"),
            ("resource", ORDERS),
            ("nonce", "n-1"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let mut url = format!("{}/auth?{}", self.identifier, encoded(&query));
        while !url.starts_with(CALLBACK) {
            let page = browser.get(&url).await;
            let next = if page.status() == 200 { self.submit(&mut browser, &url, &page).await } else { page };
            let next = location(&next);
            url = if next.starts_with('/') { format!("{}{next}", self.identifier) } else { next.to_owned() };
        }
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code(&url)),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("resource", ORDERS),
        ];
        request_token(&format!("{}/token", self.identifier), "web", &form).await
    }

    /// Submits the form of a login or consent page.
    async fn submit(&self, browser: &mut Browser, url: &str, page: &Response<Bytes>) -> Response<Bytes> {
        let login = String::from_utf8_lossy(page.body()).contains("name=\"login\"");
        let form = [("prompt", if login { "login" } else { "consent" }), ("login", "ada"), ("password", "any")];
        let request = Request::post(url).header("content-type", "application/x-www-form-urlencoded");
        browser.send(request, encoded(if login { &form } else { &form[..1] })).await
    }

    async fn interop_api(&self, settings: &[(&str, &str)]) -> Option<Api> {
        Api::start(&[&[("OAUTH_ISSUER", &*self.identifier), ("OAUTH_AUDIENCE", ORDERS)][..], settings].concat()).await
    }
}

#[tokio::test]
async fn protected_api_accepts_the_token_of_a_user_and_refuses_the_id_token_beside_it() {
    let Some(issuer) = start() else { return };
    let tokens = issuer.authorize().await;
    for settings in [&[][..], &[("OAUTH_PRESET", "openid-connect")]] {
        let Some(api) = issuer.interop_api(settings).await else { return };
        let shown = json!({"sub": "ada", "client_id": "web", "scopes": ["orders:read"], "iss": issuer.identifier, "confirmation": null});
        assert_eq!(api.who_am_i(text(&tokens["access_token"])).await, shown, "{settings:?}");
        api.refusal(text(&tokens["id_token"])).await;
    }
}

/// Threat C14
#[tokio::test]
async fn accepts_its_id_token_only_where_id_tokens_are_accepted() {
    let Some(issuer) = start() else { return };
    let tokens = issuer.authorize().await;
    let id_token = text(&tokens["id_token"]);
    let relaxed = "plain-type without-jti without-client-id";
    for (accepted, status) in [(relaxed, 401), (&format!("{relaxed} id-tokens"), 200)] {
        let settings = [("OAUTH_AUDIENCE", "web"), ("OAUTH_ACCEPT", accepted)];
        let Some(api) = issuer.interop_api(&settings).await else { return };
        assert_eq!(api.status("/whoami", id_token).await, status, "{accepted}");
    }
}

#[tokio::test]
async fn protected_api_accepts_a_client_with_the_preset_and_no_other_audience() {
    let Some(issuer) = start() else { return };
    let Some(api) = issuer.interop_api(&[("OAUTH_PRESET", "openid-connect")]).await else { return };
    let token = async |resource| {
        let form = [("grant_type", "client_credentials"), ("scope", "orders:read"), ("resource", resource)];
        text(&request_token(&format!("{}/token", issuer.identifier), "cc-basic", &form).await["access_token"])
            .to_owned()
    };
    assert_eq!(api.who_am_i(&token(ORDERS).await).await["client_id"], "cc-basic");
    api.refusal(&token("https://api.interop.test/es256").await).await;
}
