//! The two limits, and tower-oauth's token endpoint with a page that approves every request at once. The first argument selects
//! one of them. `STORE`, `LIFETIME` and `TOKEN_LIMIT` configure the token endpoint.

use std::{
    env,
    error::Error,
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_lc_rs::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use axum::{
    Router,
    body::Bytes,
    http::{Response, header::CONTENT_TYPE},
    routing::{get, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tokio::net::TcpListener;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, AuthorizationRequest, Client, ClientCredential, ClientCredentialsGrant, ClientSecret,
        Clients, MemoryStore, PostgresStore, RedisStore, RefreshTokenGrant, ResponseBody, TokenEndpoint, TokenFormat,
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
    let key = PrivateKey::generate(Algorithm::ES256)?;
    let endpoint = TokenEndpoint::builder(setting("ISSUER")?, key, clients(format)?)
        .grant(ClientCredentialsGrant::new())
        .grant(AuthorizationCodeGrant::new(format!("{}/authorize", setting("ISSUER")?)))
        .grant(RefreshTokenGrant::new());
    let store = setting("STORE")?;
    let endpoint = if store.starts_with("redis:") {
        endpoint.store(RedisStore::builder(store).connect().await?)
    } else if store.starts_with("postgres:") {
        endpoint.store(PostgresStore::builder(store).connect().await?)
    } else {
        // More than one run issues, so that the store never refuses and never evicts.
        endpoint.store(MemoryStore::builder().capacity(10_000_000).client_capacity(10_000_000).build())
    };
    let endpoint = endpoint.build()?;
    let pages = Router::new().route("/authorize", get(approve)).with_state(endpoint.clone());
    Ok(pages.fallback_service(endpoint))
}

fn clients(format: TokenFormat) -> Result<Clients> {
    let lifetime = Duration::from_secs(setting("LIFETIME")?.parse()?);
    let confidential = |id: String| -> Result<_> {
        let secret = ClientSecret::new(setting("CLIENT_SECRET")?);
        Ok(Client::builder(id, secret).grant_types(["client_credentials"]))
    };
    let limited = confidential(setting("LIMITED_ID")?)?;
    let limited = match setting("TOKEN_LIMIT")?.as_str() {
        "" => limited,
        limit => limited.max_active_tokens(limit.parse()?),
    };
    let app = Client::builder(setting("APP_ID")?, ClientCredential::None)
        .grant_types(["authorization_code", "refresh_token"])
        .redirect_uri(setting("APP_URI")?);
    let (scope, audience) = (setting("SCOPE")?, setting("AUDIENCE")?);
    let clients = [confidential(setting("CLIENT_ID")?)?, limited, app].map(|client| {
        let client = client.optional_scopes(scope.split(' ')).audience(&audience, format);
        client.access_token_lifetime(lifetime).build()
    });
    Ok(Clients::new(clients.into_iter().collect::<std::result::Result<Vec<_>, _>>()?)?)
}

/// Approves each request, for a user of its own.
async fn approve(request: AuthorizationRequest) -> Response<ResponseBody> {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let user = LAST.fetch_add(1, Ordering::Relaxed);
    let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
    request.approve(format!("user-{user}"), scopes).await
}

fn setting(name: &str) -> Result<String> {
    env::var(name).map_err(|_| format!("{name} is not set").into())
}
