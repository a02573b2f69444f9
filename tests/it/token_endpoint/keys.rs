//! The signing keys of one instance and their rotation: RFC 7517, RFC 9068 §2.1.

use std::{collections::BTreeSet, time::Duration};

use tower_oauth::{
    clock::Clock as _,
    keys::{Algorithm, KeySet, PrivateKey},
    token_endpoint::{ClientCredentialsGrant, KeyRotationError, SigningKeys, Timestamp, TokenEndpoint},
};

use super::{ISSUER, OPAQUE, World, part};

pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) async fn published(world: &World) -> Vec<String> {
    let answer = world.get("/jwks.json").await;
    assert_eq!(answer.status(), 200);
    answer.json["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

pub(crate) async fn signs(world: &World) -> String {
    part(&world.access_token("reports", &[]).await, 0)["kid"].as_str().unwrap().to_owned()
}

pub(crate) fn named(id: &str) -> PrivateKey {
    PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id(id)
}

/// An endpoint with these keys.
fn with_keys(keys: impl Into<SigningKeys>) -> World {
    let world = World::new();
    let endpoint = TokenEndpoint::builder(ISSUER, keys, world.clients.clone());
    let endpoint = endpoint.grant(ClientCredentialsGrant::new()).clock(world.clock.clone()).build().unwrap();
    World { endpoint, ..world }
}

/// Threat T30
#[tokio::test]
async fn the_key_set_is_public_and_may_be_cached_for_five_minutes() {
    let world = World::new();
    let answer = world.get("/jwks.json").await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let keys = answer.json["keys"].as_array().unwrap();
    let members: BTreeSet<_> = keys.iter().flat_map(|key| key.as_object().unwrap().keys()).cloned().collect();
    assert_eq!(members.into_iter().collect::<Vec<_>>(), ["alg", "crv", "kid", "kty", "use", "x", "y"]);
    assert_eq!(KeySet::from_json(&answer.plain.body).unwrap().len(), 1);
}

/// Threat T30
#[tokio::test]
async fn the_next_key_is_published_before_it_signs_and_the_last_one_until_its_tokens_expire() {
    let world = World::new();
    assert_eq!(published(&world).await, ["first"]);
    let from = world.endpoint.rotate_key(named("second")).await.unwrap();
    assert_eq!(Timestamp::from(from), Timestamp::from(world.clock.now() + HOUR));
    assert_eq!(published(&world).await, ["first", "second"]);
    assert_eq!(signs(&world).await, "first");
    world.clock.advance(Duration::from_secs(3599));
    assert_eq!(signs(&world).await, "first");
    world.clock.advance(SECOND);
    assert_eq!(signs(&world).await, "second");
    assert_eq!(published(&world).await, ["first", "second"]);
    world.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(published(&world).await, ["first", "second"], "a token with a lifetime of a day may still be valid");
    // The publication lasts two hours longer than the last token, so that it can be prolonged once an hour.
    world.clock.advance(2 * HOUR + SECOND);
    assert_eq!(published(&world).await, ["second"]);
    assert_eq!(signs(&world).await, "second");
}

#[tokio::test]
async fn several_rotations_may_be_in_progress() {
    let world = World::new();
    for (number, id) in ["second", "third", "fourth"].iter().enumerate() {
        world.endpoint.rotate_key(named(id)).await.unwrap();
        assert_eq!(published(&world).await.len(), number + 2);
        world.clock.advance(HOUR);
        assert_eq!(signs(&world).await, *id);
    }
    let refused = world.endpoint.rotate_key(named("fourth")).await.unwrap_err();
    assert!(matches!(refused, KeyRotationError::KeyId(_)), "the key id is in use");
    assert_eq!(published(&world).await.len(), 4);
    world.clock.advance(26 * HOUR);
    world.endpoint.rotate_key(named("first")).await.unwrap();
    assert_eq!(published(&world).await, ["fourth", "first"], "the key id of a removed key can be used again");
}

#[tokio::test]
async fn a_rotation_before_the_first_token_waits_too() {
    let world = World::new();
    world.endpoint.rotate_key(named("second")).await.unwrap();
    assert_eq!(signs(&world).await, "first");
    world.clock.advance(HOUR);
    assert_eq!(signs(&world).await, "second");
}

#[tokio::test]
async fn keys_and_times_may_be_configured_at_start_up() {
    let now = World::new().clock.now();
    let keys = SigningKeys::new(named("a")).with_next(named("c"), now + 2 * HOUR).with_next(named("b"), now + HOUR);
    let world = with_keys(keys);
    assert_eq!(published(&world).await, ["a", "b", "c"]);
    for id in ["a", "b", "c"] {
        assert_eq!(signs(&world).await, id);
        world.clock.advance(HOUR);
    }
}

#[tokio::test]
async fn an_explicit_time_is_kept_whenever_the_older_key_is_due() {
    let now = World::new().clock.now();
    let world = with_keys(SigningKeys::new(named("a")).with_next(named("b"), now + 60 * SECOND));
    assert_eq!(signs(&world).await, "a");
    world.clock.advance(60 * SECOND);
    assert_eq!(signs(&world).await, "b");
    world.clock.advance(HOUR);
    assert_eq!(signs(&world).await, "b", "the older key is published for an hour now");
}

#[tokio::test]
async fn of_several_new_keys_the_oldest_signs_until_the_newest_is_known() {
    let world = with_keys(SigningKeys::new(named("a")).with_newer(named("b")).with_newer(named("c")));
    assert_eq!(signs(&world).await, "a");
    assert_eq!(published(&world).await, ["a", "b", "c"]);
    world.clock.advance(HOUR);
    assert_eq!(signs(&world).await, "c");
}

#[tokio::test]
async fn a_key_that_nothing_has_used_for_days_signs_after_it_was_published_again() {
    let world = World::new();
    assert_eq!(signs(&world).await, "first");
    world.clock.advance(100 * HOUR);
    assert_eq!(signs(&world).await, "first");
    assert_eq!(published(&world).await, ["first"]);
}

/// Threat T39
#[tokio::test]
async fn a_withdrawn_key_is_neither_published_nor_used_again() {
    let world = World::new();
    world.endpoint.rotate_key(named("second")).await.unwrap();
    world.clock.advance(2 * HOUR);
    assert_eq!(signs(&world).await, "second");
    world.endpoint.withdraw_key("second").await.unwrap();
    assert_eq!(published(&world).await, ["first"]);
    assert_eq!(signs(&world).await, "first");
    let again = world.endpoint.rotate_key(named("second")).await.unwrap_err();
    assert!(matches!(again, KeyRotationError::KeyId(_)), "{again}");
    world.clock.advance(1000 * HOUR);
    assert!(world.endpoint.rotate_key(named("second")).await.is_err());
    assert_eq!(signs(&world).await, "first");
}

/// Threat T39
#[tokio::test]
async fn without_any_key_jwts_are_refused_until_the_next_rotation_and_opaque_tokens_go_on() {
    let world = World::new();
    assert_eq!(signs(&world).await, "first");
    world.endpoint.withdraw_key("first").await.unwrap();
    assert!(published(&world).await.is_empty());
    world.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    world.access_token("reports", &[("resource", OPAQUE)]).await;
    let from = world.endpoint.rotate_key(named("second")).await.unwrap();
    assert_eq!(from, world.clock.now(), "the only key signs at once");
    assert_eq!(signs(&world).await, "second");
}

/// RFC 9068 §2 (MUST, accepts)
#[tokio::test]
async fn every_algorithm_signs_and_a_key_without_a_name_gets_its_thumbprint() {
    for algorithm in [Algorithm::ES256, Algorithm::RS256, Algorithm::PS256, Algorithm::EdDSA] {
        let world = with_keys(PrivateKey::generate(algorithm).unwrap());
        let header = part(&world.access_token("reports", &[]).await, 0);
        assert_eq!(header["alg"], algorithm.as_str());
        assert_eq!(header["kid"].as_str().unwrap().len(), 43);
        assert_eq!(published(&world).await, [header["kid"].as_str().unwrap()]);
    }
}
