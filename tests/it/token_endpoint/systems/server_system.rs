//! A server-to-server system: each consumer has an id and a secret, which it renews at run time.
//!
//! - `POST /token` with JSON: `grant_type`, `client_id`, `client_secret` and `audience`
//! - the JWT has `clientId` beside `client_id`, and `scope` as an array
//! - APIs get `Authorization: <token>`, without a scheme
//! - a client has at most ten active tokens: the eleventh ends the first

use axum::{Router, routing::get};
use serde_json::{Value, json};
use tower_oauth::{
    ClientToken, OAuthLayer, ResourceServer, Scoped,
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        Client, ClientCredentialsGrant, ClientSecret, ClientStore, MemoryStore, Store, StoredClients, TokenContent,
        TokenEndpoint, TokenFormat,
    },
};

use super::{Received, get as fetch, listen, post_json, serve};
use crate::token_endpoint::part;

tower_oauth::scopes! {
    /// Reads the resource.
    Read = "read";
    /// Writes the resource.
    Write = "write";
}

const ISSUER: &str = "https://tokens.test";
const ORDERS: &str = "https://orders.test";
const STOCK: &str = "https://stock.test";

/// One run of the system. Another one with the same store and key is the system after a restart.
struct ServerSystem {
    url: String,
    clients: StoredClients,
}

impl ServerSystem {
    async fn start<S: Store + ClientStore + Clone>(store: S, key: &str) -> Self {
        let (listener, url) = listen().await;
        let clients = StoredClients::new(store.clone(), ISSUER);
        let endpoint =
            TokenEndpoint::builder(ISSUER, PrivateKey::from_pem(key, Algorithm::ES256).unwrap(), clients.clone())
                .grant(ClientCredentialsGrant::new())
                .accept_json()
                .store(store)
                .customize_tokens(|issuance| async move {
                    Ok(TokenContent::new().claim("clientId", issuance.client_id()).scope_as_array())
                })
                .build()
                .unwrap();
        let api = |audience: &str| {
            let server = ResourceServer::builder(endpoint.verifier(audience));
            let server = server.accept_authorization_without_scheme().build().unwrap();
            Router::new()
                .route("/who", get(|client: ClientToken| async move { client.client_id().unwrap_or("-").to_owned() }))
                .route("/read", get(|_: Scoped<Read>| async { "read" }))
                .route("/write", get(|_: Scoped<Write>| async { "write" }))
                .layer(OAuthLayer::from_server(server))
        };
        let apis = Router::new().nest("/orders", api(ORDERS)).nest("/stock", api(STOCK));
        serve(listener, apis.fallback_service(endpoint));
        Self { url, clients }
    }

    /// Starts the system with one consumer, which has at most ten active tokens.
    async fn with_consumer<S: Store + ClientStore + Clone>(store: S, key: &str) -> Self {
        let system = Self::start(store, key).await;
        let consumer = Client::builder("consumer", ClientSecret::new("first-secret"))
            .grant_types(["client_credentials"])
            .default_scopes(["read", "list"])
            .audience(ORDERS, TokenFormat::Jwt)
            .audience(STOCK, TokenFormat::Jwt)
            .max_active_tokens(10);
        system.clients.insert(consumer.build().unwrap()).await.unwrap();
        system
    }

    async fn post(&self, id: &str, secret: &str, audience: &str) -> Received {
        let body = json!({
            "grant_type": "client_credentials", "client_id": id, "client_secret": secret, "audience": audience,
        });
        post_json(&format!("{}/token", self.url), &body).await
    }

    /// Requests a token for orders, which must succeed.
    async fn token(&self, id: &str, secret: &str) -> String {
        self.post(id, secret, ORDERS).await.is_ok().text("access_token").to_owned()
    }

    /// Sends the token without a scheme.
    async fn api(&self, path: &str, token: &str) -> Received {
        fetch(&format!("{}{path}", self.url), token).await
    }
}

/// Returns a signing key in PEM, which stays the same over a restart.
fn key() -> String {
    PrivateKey::generate(Algorithm::ES256).unwrap().expose_pkcs8_pem().unwrap()
}

/// System 2 (own, accepts)
#[tokio::test]
async fn a_server_gets_a_token_and_uses_it_without_a_scheme() {
    let system = ServerSystem::with_consumer(MemoryStore::new(), &key()).await;
    let answer = system.post("consumer", "first-secret", ORDERS).await;
    let token = answer.is_ok().text("access_token");
    let claims = part(token, 1);
    assert_eq!((&claims["client_id"], &claims["clientId"]), (&json!("consumer"), &json!("consumer")));
    assert_eq!((&claims["scope"], &claims["aud"]), (&json!(["read", "list"]), &json!(ORDERS)));
    assert_eq!((answer.text("scope"), answer.text("token_type")), ("read list", "Bearer"));
    for authorization in [token, &format!("Bearer {token}")] {
        assert_eq!(system.api("/orders/who", authorization).await.is_ok().body, Value::from("consumer"));
        assert_eq!(system.api("/orders/read", authorization).await.is_ok().body, Value::from("read"));
        assert_eq!(system.api("/orders/write", authorization).await.status, 403, "the scope was not granted");
        assert_eq!(system.api("/stock/read", authorization).await.status, 401, "the audience is another one");
    }
    for wrong in ["", &token[..token.len() - 2], "consumer", &format!("Token {token}")] {
        assert_eq!(system.api("/orders/read", wrong).await.status, 401, "{wrong}");
    }
    let stock = system.post("consumer", "first-secret", STOCK).await;
    assert_eq!(system.api("/stock/read", stock.is_ok().text("access_token")).await.status, 200);
}

/// System 2 (own, refuses)
#[tokio::test]
async fn a_wrong_request_of_a_server_gets_no_token() {
    let system = ServerSystem::with_consumer(MemoryStore::new(), &key()).await;
    system.post("consumer", "wrong", ORDERS).await.is_error(401, "invalid_client");
    system.post("unknown", "first-secret", ORDERS).await.is_error(401, "invalid_client");
    system.post("consumer", "first-secret", "https://other.test").await.is_error(400, "invalid_target");
    for body in [json!({}), json!([]), json!("x"), json!({"grant_type": "client_credentials", "client_id": 7})] {
        system_answers_400_or_401(&post_json(&format!("{}/token", system.url), &body).await);
    }
}

#[track_caller]
fn system_answers_400_or_401(answer: &Received) {
    assert!([400, 401].contains(&answer.status), "{answer:?}");
    assert!(answer.body["error"].is_string(), "{answer:?}");
}

/// System 2 (own, accepts)
#[tokio::test]
async fn the_eleventh_token_of_a_server_ends_the_first_one_only() {
    let system = ServerSystem::with_consumer(MemoryStore::new(), &key()).await;
    let mut tokens = Vec::new();
    for _ in 0..10 {
        tokens.push(system.token("consumer", "first-secret").await);
    }
    for (number, token) in tokens.iter().enumerate() {
        assert_eq!(system.api("/orders/read", token).await.status, 200, "token {number} of ten");
    }
    tokens.push(system.token("consumer", "first-secret").await);
    for (number, token) in tokens.iter().enumerate() {
        let status = if number == 0 { 401 } else { 200 };
        assert_eq!(system.api("/orders/read", token).await.status, status, "token {number} of eleven");
    }
}

/// Renews the id and the secret, and starts the system again. `open` connects to the same store anew.
async fn renewed_credentials_last<S: Store + ClientStore + Clone>(open: impl AsyncFn() -> S) {
    let key = key();
    let (id, secret, renewed) = {
        let system = ServerSystem::with_consumer(open().await, &key).await;
        let old = system.token("consumer", "first-secret").await;
        let (id, secret) = system.clients.renew_id_and_secret("consumer").await.unwrap();
        assert_ne!(id, "consumer");
        // The old ones are refused at once, and so is what was issued to them.
        system.post("consumer", "first-secret", ORDERS).await.is_error(401, "invalid_client");
        system.post("consumer", &secret, ORDERS).await.is_error(401, "invalid_client");
        system.post(&id, "first-secret", ORDERS).await.is_error(401, "invalid_client");
        assert_eq!(system.api("/orders/read", &old).await.status, 401);
        let renewed = system.token(&id, &secret).await;
        (id, secret, renewed)
    };
    let system = ServerSystem::start(open().await, &key).await;
    let answer = system.api("/orders/who", &renewed).await;
    assert_eq!(answer.is_ok().body, *id, "a token of before the restart");
    let token = system.token(&id, &secret).await;
    assert_eq!(part(&token, 1)["clientId"], *id);
    system.post("consumer", "first-secret", ORDERS).await.is_error(401, "invalid_client");
    // Its settings are those of the registration. The token of before the restart counts.
    for _ in 0..9 {
        system.token(&id, &secret).await;
    }
    assert_eq!(system.api("/orders/who", &renewed).await.status, 401, "it is the eleventh");
    assert_eq!(system.api("/orders/who", &token).await.status, 200);
    // The secret alone can be renewed too, and what was issued stays valid.
    let next = system.clients.renew_secret(&id).await.unwrap();
    let system = ServerSystem::start(open().await, &key).await;
    system.post(&id, &secret, ORDERS).await.is_error(401, "invalid_client");
    assert_eq!(system.api("/orders/who", &token).await.status, 200);
    system.token(&id, &next).await;
}

/// System 2 (own, accepts)
#[tokio::test]
async fn a_renewed_id_and_secret_last_over_a_restart_of_the_program() {
    let store = MemoryStore::new();
    renewed_credentials_last(async || store.clone()).await;
}

/// System 2 (own, accepts)
#[cfg(feature = "redis")]
#[tokio::test]
async fn a_renewed_id_and_secret_last_over_a_restart_with_redis() {
    use crate::servers::redis::RedisServer;
    let Some(redis) = RedisServer::start("renewed credentials of the server system") else { return };
    let open = async || tower_oauth::token_endpoint::RedisStore::builder(redis.url()).connect().await.unwrap();
    renewed_credentials_last(open).await;
}
