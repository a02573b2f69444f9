//! npm's better-auth with its JWT plugin. A user signs up over HTTP and gets a token for the session.

use serde_json::{Value, json};
use tower_oauth::{Issuer, JwtVerifier, Preset, ResourceServer, acts_for::ActsFor};

use super::{Browser, RealIssuer, claims, has_package, json as json_of, text};
use crate::programs::protected_api::Api;

/// A user with a session. The cookies of the browser are the session.
struct User {
    issuer: RealIssuer,
    browser: Browser,
    id: String,
}

impl User {
    async fn sign_up() -> Option<Self> {
        if !has_package("better-auth") {
            return None;
        }
        let (issuer, mut browser) = (RealIssuer::start("better-auth"), Browser::new());
        let form = json!({"name": "Ada", "email": "ada@example.test", "password": "correct horse"});
        let user = browser.post(&issuer.identifier, "/api/auth/sign-up/email", &form).await;
        Some(Self { id: text(&user["user"]["id"]).to_owned(), issuer, browser })
    }

    async fn token(&mut self) -> String {
        let url = format!("{}/api/auth/token", self.issuer.identifier);
        text(&json_of(&self.browser.get(&url).await)["token"]).to_owned()
    }

    /// Returns the JWT that better-auth's server API signs for these claims. It adds `iss`, `exp`, and `aud` if it is missing.
    async fn sign(&mut self, claims: &Value) -> String {
        text(&self.browser.post(&self.issuer.identifier, "/__sign", claims).await["token"]).to_owned()
    }

    /// Starts the API with these settings besides those for the issuer.
    async fn api(&self, settings: &[(&str, &str)]) -> Option<Api> {
        let issuer = &*self.issuer.identifier;
        let jwks_uri = self.jwks_uri();
        let trusted = [("OAUTH_ISSUER", issuer), ("OAUTH_AUDIENCE", issuer), ("OAUTH_JWKS_URI", &jwks_uri)];
        Api::start(&[&trusted[..], settings].concat()).await
    }

    fn jwks_uri(&self) -> String {
        format!("{}/api/auth/jwks", self.issuer.identifier)
    }
}

#[tokio::test]
async fn protected_api_accepts_the_token_of_a_user_with_the_preset() {
    let Some(mut user) = User::sign_up().await else { return };
    let Some(api) = user.api(&[("OAUTH_PRESET", "better-auth")]).await else { return };
    let token = user.token().await;
    let shown =
        json!({"sub": user.id, "client_id": null, "scopes": [], "iss": user.issuer.identifier, "confirmation": null});
    assert_eq!(api.who_am_i(&token).await, shown);
    assert_eq!(api.status("/orders", &token).await, 403, "the token has no scopes");
    assert_eq!(api.status("/public", &token).await, 200);
}

/// Threat C14
#[tokio::test]
async fn refuses_its_other_jwts_which_have_the_same_key() {
    let Some(mut user) = User::sign_up().await else { return };
    let Some(api) = user.api(&[("OAUTH_PRESET", "better-auth")]).await else { return };
    let claims = claims(&user.token().await);
    let with = |name: &str, value: Value| {
        let mut claims = claims.clone();
        claims[name] = value;
        claims
    };
    assert_eq!(api.status("/whoami", &user.sign(&claims).await).await, 200, "the claims as they are");

    let session = user.browser.cookies["better-auth.session_data"].clone();
    assert_eq!(session.split('.').count(), 3, "the session cookie is a JWT");
    api.refusal(&session).await;
    let other = user.sign(&with("aud", json!("https://other.test"))).await;
    assert!(api.refusal(&other).await.contains("The access token is meant for another resource"));
    for id_token in [with("nonce", json!("n")), with("at_hash", json!("h")), with("aud", json!("a-client"))] {
        api.refusal(&user.sign(&id_token).await).await;
    }
    let (signed, _) = other.rsplit_once('.').unwrap();
    let (_, signature) = session.rsplit_once('.').unwrap();
    api.refusal(&format!("{signed}.{signature}")).await;
}

#[tokio::test]
async fn protected_api_refuses_the_token_without_the_preset_and_accepts_it_by_relaxations() {
    let Some(mut user) = User::sign_up().await else { return };
    let token = user.token().await;
    let relaxations = "plain-type without-client-id without-jti";
    for (settings, status) in
        [(&[][..], 401), (&[("OAUTH_ACCEPT", relaxations)], 200), (&[("OAUTH_PRESET", "keycloak")], 401)]
    {
        let Some(api) = user.api(settings).await else { return };
        assert_eq!(api.status("/whoami", &token).await, status, "{settings:?}");
    }
}

#[tokio::test]
async fn its_token_acts_for_a_user() {
    let Some(mut user) = User::sign_up().await else { return };
    let issuer = Issuer::builder(&user.issuer.identifier).jwks_uri(user.jwks_uri()).build().unwrap();
    let builder =
        JwtVerifier::builder(issuer, &user.issuer.identifier).preset("better-auth".parse::<Preset>().unwrap());
    let request = http::Request::get("/").header("authorization", format!("Bearer {}", user.token().await));
    let server = ResourceServer::new(builder.build().unwrap());
    let token = server.authenticate(&request.body(()).unwrap().into_parts().0).await.unwrap();
    assert_eq!((token.acts_for(), token.subject()), (ActsFor::User, Some(&*user.id)));
}
