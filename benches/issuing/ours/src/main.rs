//! The two limits, and tower-oauth's token endpoint. The first argument selects one of them. `STORE` and `LIFETIME` configure
//! the token endpoint.

use std::{env, error::Error, io::Write as _, sync::Arc, time::Duration};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use axum::{
    Router,
    body::Bytes,
    http::header::CONTENT_TYPE,
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::net::TcpListener;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        Client, ClientCredentialsGrant, ClientSecret, Clients, MemoryStore, PostgresStore, RedisStore, TokenEndpoint,
        TokenFormat,
    },
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let app = match env::args().nth(1).as_deref() {
        Some("bare") => bare(),
        Some("signature") => signature()?,
        Some("opaque") => ours(TokenFormat::Opaque).await?,
        Some("jwt") => ours(TokenFormat::Jwt).await?,
        other => return Err(format!("unknown variant {other:?}").into()),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(axum::serve(listener, app).await?)
}

/// The limit for an opaque token: a route that reads the request and always sends the same response.
fn bare() -> Router {
    Router::new().route("/token", post(async |_: Bytes| response(&"A".repeat(43))))
}

/// The limit for a JWT: the same with one signature over constant claims.
fn signature() -> Result<Router> {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?;
    let (x, y) = key.public_key().as_ref().get(1..).ok_or("no point")?.split_at(32);
    let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
    let keys = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}]}}"#);
    let header =
        URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256","typ":"at+jwt","kid":"0123456789012345678901234567890123456789012"}"#);
    let claims = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&serde_json::json!({
        "iss": setting("ISSUER")?, "sub": setting("CLIENT_ID")?, "aud": setting("AUDIENCE")?,
        "client_id": setting("CLIENT_ID")?, "iat": 1_800_000_000, "exp": 1_800_000_900,
        "jti": "A".repeat(43), "scope": setting("SCOPE")?
    }))?);
    let (key, signed) = (Arc::new(key), format!("{header}.{claims}"));
    let sign = async move |_: Bytes| {
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).expect("aws-lc-rs signs");
        response(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    };
    Ok(Router::new().route("/token", post(sign)).route("/jwks.json", get(async || keys)))
}

fn response(token: &str) -> ([(axum::http::HeaderName, &'static str); 1], String) {
    let body = format!(
        r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":900,"scope":"orders:read orders:write"}}"#
    );
    ([(CONTENT_TYPE, "application/json")], body)
}

async fn ours(format: TokenFormat) -> Result<Router> {
    let lifetime = Duration::from_secs(setting("LIFETIME")?.parse()?);
    let client = Client::builder(setting("CLIENT_ID")?, ClientSecret::new(setting("CLIENT_SECRET")?))
        .grant_types(["client_credentials"])
        .optional_scopes(setting("SCOPE")?.split(' '))
        .audience(setting("AUDIENCE")?, format)
        .access_token_lifetime(lifetime)
        .build()?;
    let key = PrivateKey::generate(Algorithm::ES256)?;
    let endpoint = TokenEndpoint::builder(setting("ISSUER")?, key, Clients::new([client])?);
    let endpoint = endpoint.grant(ClientCredentialsGrant::new());
    let store = setting("STORE")?;
    let endpoint = if store.starts_with("redis:") {
        endpoint.store(RedisStore::builder(store).connect().await?)
    } else if store.starts_with("postgres:") {
        endpoint.store(PostgresStore::builder(store).connect().await?)
    } else {
        // More than one run issues, so that the store never evicts.
        endpoint.store(MemoryStore::builder().capacity(10_000_000).build())
    };
    Ok(Router::new().fallback_service(endpoint.build()?))
}

fn setting(name: &str) -> Result<String> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}
