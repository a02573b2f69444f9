//! Debian's glewlwyd. Its issuer has a path, its access tokens follow RFC 9068, and its ID tokens have the same key.

use std::path::Path;

use serde_json::{Value, json};

use super::{Browser, CALLBACK, ORDERS, RealIssuer, claims, code, encoded, location, request_token, runs, text};
use crate::{programs::protected_api::Api, support::not_run};

/// Created by the package, and read by the script.
const TABLES: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";

fn start() -> Option<RealIssuer> {
    let installed = runs("glewlwyd") && runs("sqlite3") && runs("node") && Path::new(TABLES).is_file();
    if !installed {
        not_run("glewlwyd", "the issuers of others are not installed (CI=true .ci/install issuers)");
        return None;
    }
    Some(RealIssuer::start("glewlwyd"))
}

impl RealIssuer {
    /// Requests a token for the client `web` itself.
    async fn client_token(&self, resource: &str) -> String {
        let form = [("grant_type", "client_credentials"), ("scope", "orders:read"), ("resource", resource)];
        text(&request_token(&format!("{}/token", self.identifier), "web", &form).await["access_token"]).to_owned()
    }

    /// Logs ada in, who has approved the client, and returns the response with the access token and the ID token.
    async fn log_in(&self) -> Value {
        let mut browser = Browser::new();
        let base = self.identifier.strip_suffix("/api/oidc").unwrap();
        let form = json!({"username": "ada", "password": "correct-horse"});
        let request = http::Request::post(format!("{base}/api/auth")).header("content-type", "application/json");
        assert_eq!(browser.send(request, form.to_string()).await.status(), 200);
        let query = [
            ("response_type", "code"),
            ("client_id", "web"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid orders:read"),
            ("resource", ORDERS),
            ("nonce", "n-1"),
            ("g_continue", ""),
        ];
        let response = browser.get(&format!("{}/auth?{}", self.identifier, encoded(&query))).await;
        let code = code(location(&response));
        let form =
            [("grant_type", "authorization_code"), ("code", &*code), ("redirect_uri", CALLBACK), ("resource", ORDERS)];
        request_token(&format!("{}/token", self.identifier), "web", &form).await
    }

    async fn glewlwyd_api(&self, settings: &[(&str, &str)]) -> Option<Api> {
        Api::start(&[&[("OAUTH_ISSUER", &*self.identifier), ("OAUTH_AUDIENCE", ORDERS)][..], settings].concat()).await
    }
}

#[tokio::test]
async fn protected_api_accepts_the_tokens_of_a_user_and_of_a_client() {
    let Some(issuer) = start() else { return };
    let user = issuer.log_in().await;
    let client = issuer.client_token(ORDERS).await;
    for settings in [&[][..], &[("OAUTH_PRESET", "openid-connect")]] {
        let Some(api) = issuer.glewlwyd_api(settings).await else { return };
        let shown = json!({"sub": "web", "client_id": "web", "scopes": ["orders:read"], "iss": issuer.identifier, "confirmation": null});
        assert_eq!(api.who_am_i(&client).await, shown);
        let user = text(&user["access_token"]);
        let sub = &claims(user)["sub"];
        let scopes = ["openid", "orders:read"];
        let shown =
            json!({"sub": sub, "client_id": "web", "scopes": scopes, "iss": issuer.identifier, "confirmation": null});
        assert_eq!(api.who_am_i(user).await, shown);
        assert_eq!((api.status("/orders", user).await, api.status("/admin", user).await), (200, 403));
    }
}

#[tokio::test]
async fn refuses_its_id_tokens_and_tokens_for_other_resources() {
    let Some(issuer) = start() else { return };
    let id_token = issuer.log_in().await["id_token"].clone();
    let other = issuer.client_token("https://api.interop.test/other").await;
    for settings in [&[][..], &[("OAUTH_PRESET", "openid-connect")]] {
        let Some(api) = issuer.glewlwyd_api(settings).await else { return };
        assert!(api.refusal(&other).await.contains("The access token is meant for another resource"));
        api.refusal(text(&id_token)).await;
    }
}

/// Threat C14
#[tokio::test]
async fn an_id_token_is_refused_also_if_its_audience_is_that_of_the_api() {
    let Some(issuer) = start() else { return };
    let id_token = text(&issuer.log_in().await["id_token"]).to_owned();
    let accepted = "plain-type without-jti without-client-id";
    let all = &*format!("{accepted} id-tokens");
    for (setting, status) in
        [(("OAUTH_PRESET", "openid-connect"), 401), (("OAUTH_ACCEPT", accepted), 401), (("OAUTH_ACCEPT", all), 200)]
    {
        let Some(api) = Api::start(&[("OAUTH_ISSUER", &*issuer.identifier), ("OAUTH_AUDIENCE", "web"), setting]).await
        else {
            return;
        };
        assert_eq!(api.status("/whoami", &id_token).await, status, "{setting:?}");
    }
}

#[tokio::test]
async fn introspects_its_tokens_and_finds_its_audience() {
    let Some(issuer) = start() else { return };
    let settings = [("OAUTH_MODE", "introspection"), ("OAUTH_CLIENT_ID", "web"), ("OAUTH_CLIENT_SECRET", "web-secret")];
    let Some(api) = issuer.glewlwyd_api(&settings).await else { return };
    assert_eq!(api.who_am_i(&issuer.client_token(ORDERS).await).await["client_id"], "web");
    api.refusal(&issuer.client_token("https://api.interop.test/other").await).await;
}
