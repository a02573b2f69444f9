//! Tokens that are bound to the key of a DPoP proof (RFC 9449 §5 to §8).

mod clients;
mod defects;
mod grants;
mod nonces;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod on_servers;
mod refresh_tokens;
mod replay;
mod resource_server;
mod retries;

use serde_json::Value;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    testing::{ProofBuilder, ProofKey},
    token_endpoint::{
        AuthorizationCodeGrant, ClientCredentialsGrant, Grant, Granted, RefreshTokenGrant, Store, TokenEndpoint,
        TokenEndpointBuilder, TokenError, TokenErrorKind, TokenRequest,
    },
};

use super::{AUTHORIZE, Answer, CB, ISSUER, VERIFIER, World, part, post, usual};

/// `htu` of every proof.
const TOKEN_URL: &str = "https://as.test/token";
const CC: (&str, &str) = ("grant_type", "client_credentials");
const WEB: [(&str, &str); 2] = [("client_id", "web"), ("redirect_uri", "https://web.test/2")];

/// An endpoint with all grants that binds tokens.
fn world() -> World {
    world_with(TokenEndpointBuilder::dpop)
}

fn world_with(configure: impl FnOnce(TokenEndpointBuilder) -> TokenEndpointBuilder) -> World {
    World::with(|builder| {
        configure(builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new()))
    })
}

fn world_on(store: impl Store) -> World {
    world_with(|builder| builder.dpop().store(store))
}

/// Two instances of one endpoint, with the same clients, clock and store.
fn instances(store: impl Store + Clone) -> [World; 2] {
    let first = world_on(store.clone());
    let key = PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id("second");
    let second = TokenEndpoint::builder(ISSUER, key, first.clients.clone())
        .grant(ClientCredentialsGrant::new())
        .grant(AuthorizationCodeGrant::new(AUTHORIZE))
        .grant(RefreshTokenGrant::new())
        .clock(first.clock.clone())
        .store(store)
        .dpop()
        .build()
        .unwrap();
    let second = World { endpoint: second, clients: first.clients.clone(), clock: first.clock.clone() };
    [first, second]
}

/// Returns a new proof that the endpoint accepts.
fn proof(world: &World, key: &ProofKey) -> ProofBuilder {
    key.proof("POST", TOKEN_URL).clock(world.clock.clone())
}

/// Posts a form to the token endpoint with these `DPoP` headers.
async fn send(world: &World, authorization: &str, form: &[(&str, &str)], proofs: &[&str]) -> Answer {
    let mut request = post("/token", authorization, form);
    for proof in proofs {
        request.headers_mut().append("dpop", proof.parse().unwrap());
    }
    world.send(request).await
}

/// Requests a token for `reports` with this proof.
async fn token_with(world: &World, proof: &str) -> Answer {
    send(world, &usual("reports"), &[CC], &[proof]).await
}

/// The form of `app` that redeems a code.
fn code_form(code: &str) -> [(&str, &str); 5] {
    [
        ("grant_type", "authorization_code"),
        ("client_id", "app"),
        ("redirect_uri", CB),
        ("code_verifier", VERIFIER),
        ("code", code),
    ]
}

/// The form of `app` that uses a refresh token.
fn refresh_form(token: &str) -> [(&str, &str); 3] {
    [("grant_type", "refresh_token"), ("client_id", "app"), ("refresh_token", token)]
}

/// Redeems a new code as `app` with a new proof of this key, if there is one.
async fn begin(world: &World, key: Option<&ProofKey>) -> Answer {
    let answer = send_with_key(world, "", &code_form(&world.code(&[]).await), key).await;
    answer.is_ok();
    answer
}

/// Redeems a new code as the confidential client `web`.
async fn begin_confidential(world: &World, key: Option<&ProofKey>) -> Answer {
    let code = world.code(&WEB).await;
    let form = [("grant_type", "authorization_code"), WEB[1], ("code_verifier", VERIFIER), ("code", &*code)];
    let answer = send_with_key(world, &usual("web"), &form, key).await;
    answer.is_ok();
    answer
}

/// Uses a refresh token as `app`.
async fn refresh(world: &World, token: &str, key: Option<&ProofKey>) -> Answer {
    send_with_key(world, "", &refresh_form(token), key).await
}

/// Uses a refresh token as `web`.
async fn refresh_confidential(world: &World, token: &str, key: Option<&ProofKey>) -> Answer {
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    send_with_key(world, &usual("web"), &form, key).await
}

async fn send_with_key(world: &World, authorization: &str, form: &[(&str, &str)], key: Option<&ProofKey>) -> Answer {
    let proof = key.map(|key| proof(world, key).sign());
    send(world, authorization, form, proof.as_deref().as_slice()).await
}

/// Checks that the access token is bound to this key, or that it is a bearer token: in the response, in introspection, and in the
/// token itself if it is a JWT.
#[track_caller]
fn is_bound<'w>(world: &'w World, answer: &'w Answer, key: Option<&ProofKey>) -> impl Future<Output = ()> + 'w {
    let cnf = key.map_or(Value::Null, |key| serde_json::json!({"jkt": key.thumbprint()}));
    let token_type = if key.is_some() { "DPoP" } else { "Bearer" };
    answer.is_ok();
    let token = answer.text("access_token");
    assert_eq!(answer.json["token_type"], token_type, "{answer:?}");
    if token.contains('.') {
        assert_eq!(part(token, 1)["cnf"], cnf);
    }
    async move {
        let found = world.introspect("watch", token).await;
        assert_eq!((&found["active"], &found["token_type"], &found["cnf"]), (&true.into(), &token_type.into(), &cnf));
    }
}

/// Returns the values of `DPoP-Nonce`.
fn nonces(answer: &Answer) -> Vec<&str> {
    answer.plain.headers.get_all("dpop-nonce").iter().map(|value| value.to_str().unwrap()).collect()
}

/// A grant of the application. It says which key the request has proven, and counts the cards that were used.
#[derive(Clone, Default)]
struct GiftCard(std::sync::Arc<std::sync::atomic::AtomicUsize>);

const GIFT: (&str, &str) = ("grant_type", "urn:example:gift-card");

impl GiftCard {
    fn used(&self) -> usize {
        self.0.load(std::sync::atomic::Ordering::SeqCst)
    }
}

impl Grant for GiftCard {
    fn grant_type(&self) -> &'static str {
        GIFT.1
    }

    fn issues_refresh_tokens(&self) -> bool {
        true
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        if request.required("gift_card")? != "good" {
            return Err(TokenError::new(TokenErrorKind::InvalidGrant, "The gift card is unknown"));
        }
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let key = request.confirmation().and_then(|confirmation| confirmation.jwk_thumbprint());
        let content = tower_oauth::token_endpoint::TokenContent::new().response_parameter("key", key);
        Ok(request.grant_to("ada")?.with_content(content).with_refresh_token())
    }
}
