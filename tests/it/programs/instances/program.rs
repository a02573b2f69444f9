//! One instance: this test binary, started again as a server on a port.

use std::{collections::HashMap, env, time::Duration};

use axum::{
    Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, AuthorizationRequest, Client, ClientBuilder, ClientCredential, ClientCredentialsGrant,
        ClientSecret, Clients, PostgresStore, RedisStore, RefreshTokenGrant, TokenEndpoint, TokenEndpointBuilder,
        TokenFormat,
    },
};

use crate::{program::Program, support::test_name};

/// The issuer of all instances. No request is sent to this URL.
pub(super) const ISSUER: &str = "https://as.test";
pub(super) const CALLBACK: &str = "https://app.test/cb";
/// Begins the list of the URLs of a Redis Cluster.
pub(super) const CLUSTER: &str = "cluster:";
const STORE: &str = "TOWER_OAUTH_INSTANCE_STORE";
const KEY: &str = "TOWER_OAUTH_INSTANCE_KEY";
const PORT: &str = "TOWER_OAUTH_INSTANCE_PORT";
const READY: &str = "an instance serves at ";

/// A process that serves the issuer. It is killed when this value is dropped.
pub(super) struct Instance(Program);

impl Instance {
    /// Starts an instance and waits until it accepts requests. Port 0 is any free port.
    pub(super) async fn start(store: &str, key: &str, port: u16) -> Self {
        let settings = [(STORE, store), (KEY, key), (PORT, &port.to_string())];
        let program = Program::test(&test_name(module_path!(), "serves_as_an_instance")).settings(&settings);
        Self(program.start(READY).await.unwrap())
    }

    pub(super) fn port(&self) -> u16 {
        self.0.address().rsplit(':').next().unwrap().parse().unwrap()
    }

    pub(super) fn base(&self) -> String {
        self.0.url("")
    }

    /// Sends SIGKILL, and returns when the process has ended.
    pub(super) async fn kill(&mut self) {
        self.0.kill().await;
    }
}

/// The program of an [`Instance`]. In a normal test run it does nothing.
#[tokio::test]
async fn serves_as_an_instance() {
    let (Ok(store), Ok(key), Ok(port)) = (env::var(STORE), env::var(KEY), env::var(PORT)) else { return };
    let endpoint = with_store(builder(&key), &store).await.build().unwrap();
    let app = Router::new()
        .route("/authorize", get(authorize).with_state(endpoint.clone()))
        .route("/end", get(end_all).with_state(endpoint.clone()))
        .fallback_service(endpoint);
    let listener = listen(port.parse().unwrap()).await;
    println!("{READY}{}", listener.local_addr().unwrap());
    axum::serve(listener, app).await.unwrap();
}

/// Connects to the store, with retries, because the store may be down at this moment.
async fn with_store(builder: TokenEndpointBuilder, url: &str) -> TokenEndpointBuilder {
    let mut attempts = 0..200;
    loop {
        let mistake = if let Some(urls) = url.strip_prefix(CLUSTER) {
            // Without this, a replica that takes over may lack what was answered.
            let cluster =
                RedisStore::builder_from_cluster(urls.split(',')).wait_for_replicas(1, Duration::from_millis(500));
            match cluster.connect().await {
                Ok(store) => return builder.store(store),
                Err(mistake) => mistake,
            }
        } else if url.starts_with("redis") {
            match RedisStore::builder(url).connect().await {
                Ok(store) => return builder.store(store),
                Err(mistake) => mistake,
            }
        } else {
            match PostgresStore::builder(url).connect().await {
                Ok(store) => return builder.store(store),
                Err(mistake) => mistake,
            }
        };
        assert!(attempts.next().is_some(), "{mistake}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn builder(key: &str) -> TokenEndpointBuilder {
    let key = PrivateKey::from_pem(key, Algorithm::ES256).unwrap();
    let may = |client: ClientBuilder| {
        let client = client.default_scopes(["orders:read"]).access_token_lifetime(Duration::from_secs(3600));
        client
            .audience("https://api.test", TokenFormat::Opaque)
            .audience("https://jwt.test", TokenFormat::Jwt)
            .build()
            .unwrap()
    };
    let app = Client::builder("app", ClientCredential::None)
        .grant_types(["authorization_code", "refresh_token"])
        .redirect_uri(CALLBACK);
    let job = Client::builder("job", ClientSecret::new("job-secret"))
        .grant_types(["client_credentials"])
        .introspects_any_token();
    TokenEndpoint::builder(ISSUER, key, Clients::new([may(app), may(job)]).unwrap())
        .grant(ClientCredentialsGrant::new())
        .grant(AuthorizationCodeGrant::new(format!("{ISSUER}/authorize")))
        .grant(RefreshTokenGrant::new())
}

/// Binds to the port, with retries: after a kill of the former instance a connection may still use the port for a moment.
async fn listen(port: u16) -> TcpListener {
    loop {
        match TcpListener::bind(("127.0.0.1", port)).await {
            Ok(listener) => return listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => panic!("port {port}: {error}"),
        }
    }
}

/// Approves as the user that the client names.
async fn authorize(request: AuthorizationRequest) -> Response {
    let user = request.login_hint().unwrap_or("ada").to_owned();
    request.approve(user, ["orders:read"]).await.into_response()
}

/// Ends all sessions of a user.
async fn end_all(State(endpoint): State<TokenEndpoint>, Query(query): Query<HashMap<String, String>>) -> Response {
    match endpoint.end_sessions_of_subject(&query["subject"]).await {
        Ok(count) => count.to_string().into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    }
}
