//! oxide-auth with its adapter for axum, its clients and its tokens in memory. The first argument selects
//! the issuer and the hash of secrets.
//!
//! It has no JWTs: its `TokenSigner` signs MessagePack with an HMAC, which only the server itself can check.

use std::{
    env,
    error::Error,
    io::Write as _,
    sync::{Arc, Mutex},
};

use axum::{Router, extract::State, response::IntoResponse, routing::post};
use oxide_auth::{
    endpoint::{OwnerConsent, Solicitation},
    frontends::simple::endpoint::{FnSolicitor, client_credentials_flow},
    primitives::{
        generator::RandomGenerator,
        issuer::{Issuer, TokenMap, TokenSigner},
        registrar::{Client, ClientMap, PasswordPolicy, RegisteredUrl, RegistrarError},
    },
};
use oxide_auth_axum::{OAuthRequest, OAuthResponse, WebError};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;

struct Server {
    clients: ClientMap,
    issuer: Mutex<Box<dyn Issuer + Send>>,
}

/// Hashes secrets as tower-oauth does: they are random and long.
struct Hashed;

impl PasswordPolicy for Hashed {
    fn store(&self, _: &str, secret: &[u8]) -> Vec<u8> {
        Sha256::digest(secret).to_vec()
    }

    fn check(&self, _: &str, secret: &[u8], stored: &[u8]) -> Result<(), RegistrarError> {
        let right = bool::from(Sha256::digest(secret)[..].ct_eq(stored));
        if right { Ok(()) } else { Err(RegistrarError::Unspecified) }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let variant = env::args().nth(1).unwrap_or_default();
    let mut clients = ClientMap::new();
    // Its default is Argon2.
    if variant != "argon2" {
        clients.set_password_policy(Hashed);
    }
    let redirect = RegisteredUrl::Semantic("https://app.example.com/back".parse()?);
    let (id, secret) = (env::var("CLIENT_ID")?, env::var("CLIENT_SECRET")?);
    clients.register_client(Client::confidential(&id, redirect, env::var("SCOPE")?.parse()?, secret.as_bytes()));
    let issuer: Box<dyn Issuer + Send> = if variant == "signer" {
        Box::new(TokenSigner::ephemeral())
    } else {
        Box::new(TokenMap::new(RandomGenerator::new(32)))
    };
    let server = Arc::new(Server { clients, issuer: Mutex::new(issuer) });
    let app = Router::new().route("/token", post(token)).with_state(server);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(axum::serve(listener, app).await?)
}

async fn token(State(server): State<Arc<Server>>, request: OAuthRequest) -> Result<OAuthResponse, impl IntoResponse> {
    let mut consent = FnSolicitor(|_: &mut OAuthRequest, asked: Solicitation<'_>| {
        OwnerConsent::Authorized(asked.pre_grant().client_id.clone())
    });
    let mut issuer = server.issuer.lock().expect("nothing panics there");
    client_credentials_flow(&server.clients, &mut **issuer, &mut consent).execute(request).map_err(WebError::from)
}
