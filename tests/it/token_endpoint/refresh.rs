//! `refresh_token`: RFC 6749 §6, RFC 9700 §4.14.

use std::time::Duration;

use axum::body::Body;
use futures_util::future::join_all;
use tower_oauth::token_endpoint::{
    AuthorizationCodeGrant, Client, ClientCredential, ClientCredentialsGrant, Grant, Granted, MemoryStore,
    RefreshTokenGrant, TokenEndpoint, TokenError, TokenFormat, TokenRequest,
};

use super::{AUTHORIZE, World, part, usual};
use crate::support::API;

const DAY: u64 = 86_400;

/// Redeems a code of `native` with both scopes.
async fn first(world: &World) -> super::Answer {
    let native = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:1/cb")];
    let code = world.code(&[&native[..], &[("scope", "orders:read orders:write")]].concat()).await;
    let answer = world.redeem(&code, &native).await;
    answer.is_ok();
    answer
}

async fn again(world: &World, token: &str, change: &[(&str, &str)]) -> super::Answer {
    world.refresh(token, &[&[("client_id", "native")], change].concat()).await
}

/// Forwards to a grant, as a program does that logs or counts.
struct Wrapped<G>(G);

impl<G: Grant> Grant for Wrapped<G> {
    fn grant_type(&self) -> &str {
        self.0.grant_type()
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        self.0.decide(request).await
    }

    fn refresh_token_settings(&self) -> Option<&RefreshTokenGrant> {
        self.0.refresh_token_settings()
    }

    fn authorization_endpoint(&self) -> Option<&str> {
        self.0.authorization_endpoint()
    }
}

#[tokio::test]
async fn issues_refresh_tokens_when_the_metadata_offers_them() {
    let (code, refresh) = (AuthorizationCodeGrant::new(AUTHORIZE), RefreshTokenGrant::new());
    let plain = World::with(|builder| builder.grant(code.clone()).grant(refresh));
    let wrapped = World::with(|builder| builder.grant(Wrapped(code.clone())).grant(Wrapped(refresh)));
    for world in [plain, wrapped] {
        let metadata = world.get("/.well-known/oauth-authorization-server").await.json;
        assert!(metadata["grant_types_supported"].as_array().unwrap().contains(&"refresh_token".into()));
        assert_eq!(metadata["authorization_endpoint"], AUTHORIZE);
        let answer = first(&world).await;
        again(&world, answer.text("refresh_token"), &[]).await.is_ok();
    }
    let without = World::with(|builder| builder.grant(code));
    assert!(first(&without).await.json.get("refresh_token").is_none());
}

#[test]
fn reports_a_grant_that_does_not_return_its_settings() {
    struct Incomplete(&'static str);
    impl Grant for Incomplete {
        fn grant_type(&self) -> &str {
            self.0
        }

        async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
            request.grant_to("ada")
        }
    }
    let world = World::new();
    let key = tower_oauth::keys::PrivateKey::generate(tower_oauth::keys::Algorithm::ES256).unwrap();
    let builder = TokenEndpoint::builder(super::ISSUER, key, world.clients);
    let error = builder.grant(Incomplete("refresh_token")).grant(Incomplete("authorization_code")).build();
    let error = error.unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(settings, ["grant", "grant"], "{error}");
}

#[test]
fn reports_refresh_tokens_that_no_grant_issues() {
    let build = |with_code: bool| {
        let world = World::new();
        let key = tower_oauth::keys::PrivateKey::generate(tower_oauth::keys::Algorithm::ES256).unwrap();
        let builder = TokenEndpoint::builder(super::ISSUER, key, world.clients).grant(ClientCredentialsGrant::new());
        let builder = builder.grant(RefreshTokenGrant::new());
        if with_code { builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)) } else { builder }.build()
    };
    let error = build(false).unwrap_err().to_string();
    assert!(error.contains("no offered grant issues refresh tokens"), "{error}");
    assert!(build(true).is_ok());
}

/// RFC 6749 §6 (MUST, accepts)
/// RFC 9700 §2.2.2 (MUST, SHOULD, accepts)
#[tokio::test]
async fn each_refresh_token_has_one_successor() {
    let world = World::with_users();
    let mut answer = first(&world).await;
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(DAY));
        let next = again(&world, answer.text("refresh_token"), &[]).await;
        next.is_ok();
        assert_ne!(next.text("refresh_token"), answer.text("refresh_token"));
        assert_eq!(next.text("refresh_token").len(), 64);
        assert_eq!(part(next.text("access_token"), 1)["sub"], "ada");
        assert_eq!(next.text("scope"), "orders:read orders:write");
        answer = next;
    }
}

/// RFC 9700 §2.2.2 (MUST, SHOULD, refuses)
/// Threat T18
#[tokio::test]
async fn reuse_of_an_older_refresh_token_ends_the_session() {
    let world = World::with_users();
    let stolen = first(&world).await;
    let other = first(&world).await;
    let next = again(&world, stolen.text("refresh_token"), &[]).await;
    let last = again(&world, next.text("refresh_token"), &[]).await;
    again(&world, stolen.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
    for revoked in [&stolen, &next, &last] {
        assert!(!world.is_active(revoked.text("access_token")).await);
        again(&world, revoked.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
    }
    assert!(world.is_active(other.text("access_token")).await, "another approval is another session");
    again(&world, other.text("refresh_token"), &[]).await.is_ok();
}

/// RFC 9700 §2.2.2 (MUST, SHOULD, refuses)
/// Threat T19
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_a_grace_of_many_requests_with_one_refresh_token_one_succeeds() {
    let world = World::with_refresh(RefreshTokenGrant::new().grace_period(Duration::ZERO));
    let answer = first(&world).await;
    let token = answer.text("refresh_token");
    let answers = join_all((0..64).map(|_| again(&world, token, &[]))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 1);
    assert!(!world.is_active(answer.text("access_token")).await);
}

/// RFC 9700 §2.2.2 (MUST, SHOULD, accepts)
/// Threat T19
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn reuse_within_a_minute_gets_the_same_successor_until_that_is_used() {
    let world = World::with_users();
    let answer = first(&world).await;
    let token = answer.text("refresh_token");
    let answers = join_all((0..64).map(|_| again(&world, token, &[]))).await;
    let successor = answers[0].text("refresh_token");
    for answer in &answers {
        answer.is_ok();
        assert_eq!(answer.text("refresh_token"), successor);
        assert!(world.is_active(answer.text("access_token")).await);
    }
    world.clock.advance(Duration::from_secs(59));
    assert_eq!(again(&world, token, &[]).await.text("refresh_token"), successor);
    let next = again(&world, successor, &[]).await;
    next.is_ok();
    again(&world, token, &[]).await.is_error(400, "invalid_grant");
    again(&world, next.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");

    let answer = first(&world).await;
    let token = answer.text("refresh_token");
    let next = again(&world, token, &[]).await;
    world.clock.advance(Duration::from_secs(60));
    again(&world, token, &[]).await.is_error(400, "invalid_grant");
    again(&world, next.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
}

/// RFC 6749 §6 (MUST, refuses)
/// Threats T20, T23
#[tokio::test]
async fn scopes_can_be_narrowed_and_never_widened_and_the_refresh_token_still_has_them_all() {
    let world = World::with_users();
    let answer = first(&world).await;
    let token = answer.text("refresh_token");
    for wider in ["admin", "orders:read admin", "orders:read\torders:write"] {
        again(&world, token, &[("scope", wider)]).await.is_error(400, "invalid_scope");
    }
    // A refused request does not use up the token.
    for others in [["https://other.test", API], [API, "https://other.test"], [API, super::OPAQUE]] {
        let resources = others.map(|other| ("resource", other));
        again(&world, token, &resources).await.is_error(400, "invalid_target");
    }
    again(&world, token, &[("resource", API), ("audience", "https://other.test")])
        .await
        .is_error(400, "invalid_target");
    let narrow = again(&world, token, &[("scope", "orders:read")]).await;
    narrow.is_ok();
    assert_eq!(narrow.text("scope"), "orders:read");
    assert_eq!(part(narrow.text("access_token"), 1)["scope"], "orders:read");
    let wide = again(&world, narrow.text("refresh_token"), &[]).await;
    assert_eq!(wide.text("scope"), "orders:read orders:write");

    // A scope that the user did not approve is refused, although the client is registered for it.
    let native = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:1/cb")];
    let less = world.redeem(&world.code(&native).await, &native).await;
    again(&world, less.text("refresh_token"), &[("scope", "orders:write")]).await.is_error(400, "invalid_scope");
}

/// Threat T20
#[tokio::test]
async fn a_scope_that_the_client_lost_is_not_refreshed() {
    let world = World::with_users();
    let mut answer = first(&world).await;
    let native = |scope: &str| {
        let client =
            Client::builder("native", ClientCredential::None).grant_types(["authorization_code", "refresh_token"]);
        let client = client.redirect_uri("http://127.0.0.1/cb").audience(API, TokenFormat::Jwt);
        client.default_scopes([scope]).build().unwrap()
    };
    world.clients.insert(native("orders:read"));
    again(&world, answer.text("refresh_token"), &[("scope", "orders:write")]).await.is_error(400, "invalid_scope");
    answer = again(&world, answer.text("refresh_token"), &[]).await;
    assert_eq!(answer.text("scope"), "orders:read");
    assert_eq!(part(answer.text("access_token"), 1)["scope"], "orders:read");
    // A response without a scope would mean all requested scopes (RFC 6749 §5.1), so the request is refused.
    world.clients.insert(native("admin"));
    again(&world, answer.text("refresh_token"), &[]).await.is_error(400, "invalid_scope");
    world.clients.insert(native("orders:write"));
    assert_eq!(again(&world, answer.text("refresh_token"), &[]).await.text("scope"), "orders:write");
}

/// Threat T27
#[tokio::test]
async fn a_full_memory_store_refreshes_its_sessions_and_redeems_its_codes() {
    // Each code has two places: for its session, and for an access token. One client, and one user, may hold all of them.
    let store = MemoryStore::builder().capacity(4).client_capacity(4).user_capacity(4).build();
    let world = World::with(|builder| {
        builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new()).store(store)
    });
    let native = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:1/cb")];
    let (one, two) = (world.code(&native).await, world.code(&native).await);
    let third = world.ask(&native).await.unwrap().approve("ada", ["orders:read"]).await;
    let third = super::sent(&third.map(Body::new));
    assert!(third.contains(&("error".to_owned(), "server_error".to_owned())), "a third code has no place: {third:?}");
    let answer = world.redeem(&one, &native).await;
    answer.is_ok();
    let refreshed = again(&world, answer.text("refresh_token"), &[]).await;
    refreshed.is_ok();
    assert!(world.is_active(refreshed.text("access_token")).await);
    assert!(!world.is_active(answer.text("access_token")).await, "the older access token made room");
    world.redeem(&two, &native).await.is_ok();
    // A replayed code is detected by a full store, too, and frees its places.
    world.redeem(&one, &native).await.is_error(400, "invalid_grant");
    assert!(!world.is_active(refreshed.text("access_token")).await);
    world.redeem(&world.code(&native).await, &native).await.is_ok();
}

/// Threat T20
#[tokio::test]
async fn codes_and_tokens_are_bound_to_the_kind_of_client_credential() {
    let world = World::with_users();
    let keys = super::assertion_key(tower_oauth::keys::Algorithm::ES256).key_set();
    let usual = |client| super::with_users(client).redirect_uri(super::CB).build().unwrap();
    let answer = first(&world).await;
    world.clients.insert(super::with_users(Client::builder("native", keys).redirect_uri(super::CB)).build().unwrap());
    assert!(!world.is_active(answer.text("access_token")).await);
    let code = world.code(&[("client_id", "native")]).await;
    world.clients.insert(usual(Client::builder("native", ClientCredential::None)));
    world.redeem(&code, &[("client_id", "native")]).await.is_error(400, "invalid_grant");
    again(&world, answer.text("refresh_token"), &[]).await.is_ok();
}

#[tokio::test]
async fn a_session_with_many_refreshes_does_not_fill_the_memory() {
    let store = MemoryStore::builder().capacity(300).build();
    let world = World::with(|builder| {
        builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new()).store(store)
    });
    let mut answer = first(&world).await;
    let first_token = answer.text("refresh_token").to_owned();
    for _ in 0..1000 {
        world.clock.advance(Duration::from_secs(900));
        answer = again(&world, answer.text("refresh_token"), &[]).await;
        answer.is_ok();
    }
    // Reuse of the first one is detected, after any number of rotations.
    again(&world, &first_token, &[]).await.is_error(400, "invalid_grant");
    again(&world, answer.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
    assert!(!world.is_active(answer.text("access_token")).await);
}

/// RFC 6749 §6 (MUST, refuses)
/// Threat T20
#[tokio::test]
async fn a_refresh_token_is_bound_to_its_client() {
    let world = World::with_users();
    let answer = first(&world).await;
    let token = answer.text("refresh_token");
    world.refresh(token, &[]).await.is_error(400, "invalid_grant");
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    world.post("/token", &usual("web"), &form).await.is_error(400, "invalid_grant");
    world.post("/token", &usual("reports"), &form).await.is_error(400, "unauthorized_client");
    world.post("/token", "", &form).await.is_error(401, "invalid_client");
    again(&world, "x", &[]).await.is_error(400, "invalid_grant");
    again(&world, "", &[]).await.is_error(400, "invalid_request");
    again(&world, answer.text("access_token"), &[]).await.is_error(400, "invalid_grant");
    again(&world, token, &[]).await.is_ok();
}

/// RFC 9700 §2.2.2 (MUST, SHOULD, accepts)
#[tokio::test]
async fn a_refresh_token_expires_when_idle_and_the_session_at_its_maximum_age() {
    let lives = RefreshTokenGrant::new();
    let world = World::with_refresh(
        lives.idle_lifetime(Duration::from_secs(2 * DAY)).absolute_lifetime(Duration::from_secs(5 * DAY)),
    );
    let idle = first(&world).await;
    let mut used = first(&world).await;
    for _ in 0..5 {
        world.clock.advance(Duration::from_secs(DAY));
        used = again(&world, used.text("refresh_token"), &[]).await;
        used.is_ok();
    }
    again(&world, idle.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
    // The lifetime of the session is that of the code, a minute, plus five days. No token is valid longer.
    assert_eq!(used.json["expires_in"], 60);
    world.clock.advance(Duration::from_secs(60));
    again(&world, used.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
    assert!(!world.is_active(used.text("access_token")).await);
}

/// RFC 7009 §2.1 b (SHOULD, accepts and refuses)
/// Threat T27
#[tokio::test]
async fn revoking_a_refresh_token_ends_its_session_and_revoking_an_access_token_only_that() {
    let world = World::with_users();
    let revoke = async |client: &str, token: &str| {
        world.post("/revoke", "", &[("client_id", client), ("token", token), ("token_type_hint", "access_token")]).await
    };
    let answer = first(&world).await;
    // Another client gets the same answer as for an unknown token, and revokes nothing.
    revoke("app", answer.text("refresh_token")).await.is_ok();
    assert!(world.is_active(answer.text("access_token")).await);
    revoke("native", answer.text("access_token")).await.is_ok();
    assert!(!world.is_active(answer.text("access_token")).await);
    let next = again(&world, answer.text("refresh_token"), &[]).await;
    next.is_ok();
    revoke("native", next.text("refresh_token")).await.is_ok();
    assert!(!world.is_active(next.text("access_token")).await);
    again(&world, next.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
    revoke("native", next.text("refresh_token")).await.is_ok();
}

/// Threat T20
#[tokio::test]
async fn a_client_that_was_removed_or_whose_secret_leaked_has_no_refresh_tokens() {
    let world = World::with_users();
    let ask = [("client_id", "web"), ("redirect_uri", "https://web.test/2")];
    let code = world.code(&ask).await;
    let answer = world.redeem(&code, &[&ask[..], &[("client_secret", "web-secret")]].concat()).await;
    let token = answer.text("refresh_token");
    let secret = world.clients.replace_leaked_secret("web").unwrap();
    let proof = [("client_id", "web"), ("client_secret", &*secret)];
    world.refresh(token, &proof).await.is_error(400, "invalid_grant");
    assert!(!world.is_active(answer.text("access_token")).await);
    let answer = first(&world).await;
    world.clients.remove("native");
    again(&world, answer.text("refresh_token"), &[]).await.is_error(401, "invalid_client");
    assert!(!world.is_active(answer.text("access_token")).await);
}

#[tokio::test]
async fn refresh_tokens_of_clients_that_authenticate_rotate_only_if_asked_for() {
    let redeem = async |world: &World| {
        let ask = [("client_id", "web"), ("redirect_uri", "https://web.test/2")];
        let proof = [&ask[..], &[("client_secret", "web-secret")]].concat();
        world.redeem(&world.code(&ask).await, &proof).await
    };
    let proof = [("client_id", "web"), ("client_secret", "web-secret")];
    let world = World::with_users();
    let answer = redeem(&world).await;
    let token = answer.text("refresh_token");
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(10 * DAY));
        let next = world.refresh(token, &proof).await;
        next.is_ok();
        assert_eq!(next.text("refresh_token"), token, "the token stays, and its idle lifetime begins again");
    }

    let world = World::with_refresh(RefreshTokenGrant::new().rotate_for_all_clients().grace_period(Duration::ZERO));
    let answer = redeem(&world).await;
    let token = answer.text("refresh_token");
    let next = world.refresh(token, &proof).await;
    assert_ne!(next.text("refresh_token"), token);
    world.refresh(token, &proof).await.is_error(400, "invalid_grant");
    world.refresh(next.text("refresh_token"), &proof).await.is_error(400, "invalid_grant");
}
