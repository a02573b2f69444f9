//! A member system: its apps sign members in with a code, without PKCE, and get the member with the token.
//!
//! - `GET /api/oauth/authorize?client_id=…&redirect_uri=…&response_type=code`
//! - `POST /api/oauth/token` with JSON: `grant_type`, `code`, `client_id`, `client_secret` and `redirect_uri`
//! - the response has `created_at` and `member`, which is looked up while the token is issued

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::State,
    http::Uri,
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::{Value, json};
use tokio::{sync::RwLock, time::sleep};
use tower_oauth::{
    OAuthLayer, Scoped, UserToken,
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientCredential, ClientSecret, Clients, TokenContent, TokenEndpoint,
        TokenError, TokenErrorKind, TokenFormat,
    },
};

use super::{Received, get as fetch, listen, post_json, serve};
use crate::token_endpoint::{CHALLENGE, VERIFIER, encode, part};

tower_oauth::scopes! {
    /// Name of the member.
    Public = "public";
    /// Address of the member.
    Email = "email";
}

const CALLBACK: &str = "https://forum.test/auth/callback";

/// The database: names by id.
type Members = Arc<RwLock<Vec<(&'static str, &'static str)>>>;

struct MemberSystem {
    issuer: String,
    members: Members,
}

impl MemberSystem {
    async fn start() -> Self {
        let (listener, url) = listen().await;
        let issuer = format!("{url}/api/oauth");
        let members = Members::new(RwLock::new(vec![("7", "Grace"), ("8", "Ada")]));
        let endpoint = endpoint(&issuer, &members);
        let layer = OAuthLayer::new(endpoint.verifier("https://members.test"));
        let api = Router::new()
            .route("/api/me", get(|user: UserToken| async move { user.subject().unwrap().to_owned() }))
            .route("/api/email", get(|_: Scoped<Email>| async { "ada@members.test" }))
            .route_layer(layer);
        let page = Router::new().route("/api/oauth/authorize", get(page)).with_state(endpoint.clone());
        serve(listener, api.merge(page).fallback_service(endpoint));
        Self { issuer, members }
    }

    /// Requests `/authorize` with the documented parameters and `more`. The page approves as member 8.
    async fn authorize(&self, more: &[(&str, &str)]) -> Received {
        let documented = [("client_id", "forum"), ("redirect_uri", CALLBACK), ("response_type", "code")];
        let query = encode(&[&documented[..], more].concat());
        fetch(&format!("{}/authorize?{query}", self.issuer), "").await
    }

    /// Redeems a code with the documented parameters, of which `changed` replaces some. A `null` removes one.
    async fn redeem(&self, code: &str, changed: Value) -> Received {
        let mut body = json!({
            "grant_type": "authorization_code", "code": code, "client_id": "forum", "client_secret": "forum-secret",
            "redirect_uri": CALLBACK,
        });
        body.as_object_mut().unwrap().extend(changed.as_object().cloned().unwrap());
        body.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        post_json(&format!("{}/token", self.issuer), &body).await
    }

    async fn api(&self, path: &str, token: &str) -> Received {
        let url = self.issuer.replace("/api/oauth", path);
        fetch(&url, &format!("Bearer {token}")).await
    }
}

fn endpoint(issuer: &str, members: &Members) -> TokenEndpoint {
    let with_settings = |client: tower_oauth::token_endpoint::ClientBuilder| {
        let client = client.grant_types(["authorization_code"]).redirect_uri(CALLBACK).default_scopes(["public"]);
        client.optional_scopes(["email"]).audience("https://members.test", TokenFormat::Jwt)
    };
    let forum = with_settings(Client::builder("forum", ClientSecret::new("forum-secret"))).accept_without_pkce();
    let strict = with_settings(Client::builder("strict", ClientSecret::new("strict-secret")));
    let app = with_settings(Client::builder("app", ClientCredential::None));
    let clients = Clients::new([forum, strict, app].map(|client| client.build().unwrap())).unwrap();
    let members = members.clone();
    TokenEndpoint::builder(issuer, PrivateKey::generate(Algorithm::ES256).unwrap(), clients)
        .grant(AuthorizationCodeGrant::new(format!("{issuer}/authorize")))
        .accept_json()
        .customize_tokens(move |issuance| {
            let members = members.clone();
            async move {
                sleep(Duration::from_millis(1)).await; // the database is elsewhere
                let members = members.read().await;
                let Some((id, name)) = members.iter().find(|(id, _)| *id == issuance.subject()) else {
                    return Err(TokenError::new(TokenErrorKind::InvalidGrant, "The member has left"));
                };
                let created = issuance.issued_at().duration_since(UNIX_EPOCH).unwrap().as_secs();
                let member = json!({"id": id, "name": name});
                Ok(TokenContent::new().response_parameter("created_at", created).response_parameter("member", member))
            }
        })
        .build()
        .unwrap()
}

/// The application's page: member 8 is logged in and approves everything that is asked for.
async fn page(State(endpoint): State<TokenEndpoint>, uri: Uri) -> Response {
    match endpoint.authorize(&uri).await {
        Ok(request) => {
            let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
            request.approve("8", scopes).await.into_response()
        }
        Err(error) => axum::response::IntoResponse::into_response(error),
    }
}

/// System 1 (own, accepts)
#[tokio::test]
async fn an_app_signs_a_member_in_with_the_documented_requests() {
    let system = MemberSystem::start().await;
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let code = system.authorize(&[]).await.redirected("code");
    let answer = system.redeem(&code, json!({})).await;
    answer.is_ok();
    let token = answer.text("access_token");
    let created = answer.body["created_at"].as_u64().unwrap();
    assert!((before..before + 60).contains(&created), "{answer:?}");
    assert_eq!(part(token, 1)["iat"], created);
    assert_eq!(answer.body["member"], json!({"id": "8", "name": "Ada"}));
    assert_eq!((answer.text("token_type"), answer.text("scope")), ("Bearer", "public"));
    let members: Vec<_> = answer.body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members.len(), 6, "{members:?}");
    assert!(members.contains(&"expires_in"), "{members:?}");
    assert_eq!(part(token, 1)["iss"], *system.issuer);
    assert_eq!(system.api("/api/me", token).await.is_ok().body, 8, "the subject");
    // The code was used.
    system.redeem(&code, json!({})).await.is_error(400, "invalid_grant");
    assert_eq!(system.api("/api/me", token).await.status, 401, "a second use of the code revokes its token");
}

/// System 1 (own, accepts)
#[tokio::test]
async fn default_scopes_are_granted_without_scope_and_optional_ones_if_requested() {
    let system = MemberSystem::start().await;
    for (asked, granted, status) in
        [("", "public", 403), ("public", "public", 403), ("public email", "public email", 200), ("email", "email", 200)]
    {
        let more = [("scope", asked)];
        let code = system.authorize(if asked.is_empty() { &[] } else { &more }).await.redirected("code");
        let answer = system.redeem(&code, json!({})).await;
        assert_eq!(answer.is_ok().text("scope"), granted, "{asked}");
        assert_eq!(system.api("/api/email", answer.text("access_token")).await.status, status, "{asked}");
    }
    assert_eq!(system.authorize(&[("scope", "public admin")]).await.redirected("error"), "invalid_scope");
}

/// System 1 (own, refuses)
#[tokio::test]
async fn a_wrong_request_of_the_member_system_gets_no_token_and_does_not_use_the_code() {
    let system = MemberSystem::start().await;
    let code = system.authorize(&[("state", "s&t")]).await;
    assert_eq!(code.redirected("state"), "s&t");
    let code = code.redirected("code");
    for (changed, status, error) in [
        (json!({"client_secret": "wrong"}), 401, "invalid_client"),
        (json!({"client_secret": null}), 401, "invalid_client"),
        (json!({"client_id": "strict", "client_secret": "strict-secret"}), 400, "invalid_grant"),
        // Without a challenge, only the redirect URI binds the code to the request (RFC 6749 §4.1.3).
        (json!({"redirect_uri": null}), 400, "invalid_grant"),
        (json!({"redirect_uri": "https://forum.test/other"}), 400, "invalid_grant"),
        // A verifier for a code without a challenge (RFC 9700 §4.8.2).
        (json!({"code_verifier": VERIFIER}), 400, "invalid_grant"),
        (json!({"code": "x"}), 400, "invalid_grant"),
        (json!({"grant_type": "password"}), 400, "unsupported_grant_type"),
        (json!({"code": 7}), 400, "invalid_request"),
    ] {
        system.redeem(&code, changed).await.is_error(status, error);
    }
    system.redeem(&code, json!({})).await.is_ok();
}

/// System 1 (own, refuses)
#[tokio::test]
async fn only_the_client_that_is_so_configured_may_leave_out_pkce() {
    let system = MemberSystem::start().await;
    for client in ["strict", "app"] {
        let query = format!("client_id={client}&response_type=code&redirect_uri={CALLBACK}");
        let answer = fetch(&format!("{}/authorize?{query}", system.issuer), "").await;
        assert_eq!(answer.redirected("error"), "invalid_request", "{client}");
    }
    // A request that has a challenge is bound to it.
    let challenge = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
    let code = system.authorize(&challenge).await.redirected("code");
    system.redeem(&code, json!({})).await.is_error(400, "invalid_grant");
    system.redeem(&code, json!({"code_verifier": VERIFIER})).await.is_ok();
    // A redirect URI that is not registered is never redirected to.
    let url = format!("{}/authorize?client_id=forum&response_type=code&redirect_uri=https://evil.test/", system.issuer);
    let answer = fetch(&url, "").await;
    assert_eq!((answer.status, answer.headers.get("location")), (400, None));
}

/// System 1 (own, accepts)
#[tokio::test]
async fn the_member_is_looked_up_when_the_token_is_issued() {
    let system = MemberSystem::start().await;
    let [kept, lost] =
        [system.authorize(&[]).await, system.authorize(&[]).await].map(|answer| answer.redirected("code"));
    system.members.write().await[1].1 = "Ada L.";
    let answer = system.redeem(&kept, json!({})).await;
    assert_eq!(answer.is_ok().body["member"]["name"], "Ada L.");
    system.members.write().await.truncate(1);
    let answer = system.redeem(&lost, json!({})).await;
    answer.is_error(400, "invalid_grant");
    assert_eq!(answer.text("error_description"), "The member has left");
}
