//! The signing keys and their rotation: RFC 7517, RFC 9068 §2.1.

use std::{collections::BTreeSet, time::Duration};

use tower_oauth::{
    clock::Clock as _,
    keys::{Algorithm, KeySet, PrivateKey},
    token_endpoint::{ClientCredentialsGrant, SigningKeys, TokenEndpoint},
};

use super::{ISSUER, World, part};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

async fn published(world: &World) -> Vec<String> {
    let answer = world.get("/jwks.json").await;
    assert_eq!(answer.status(), 200);
    answer.json["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn signs(world: &World) -> String {
    part(&world.access_token("reports", &[]).await, 0)["kid"].as_str().unwrap().to_owned()
}

fn named(id: &str) -> PrivateKey {
    PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id(id)
}

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

#[tokio::test]
async fn the_next_key_is_published_before_it_signs_and_the_last_one_until_its_tokens_expire() {
    let world = World::new();
    assert_eq!(published(&world).await, ["first"]);
    world.endpoint.rotate_key(named("second")).unwrap();
    assert_eq!(published(&world).await, ["first", "second"]);
    assert_eq!(signs(&world).await, "first");
    world.clock.advance(Duration::from_secs(3599));
    assert_eq!(signs(&world).await, "first");
    world.clock.advance(SECOND);
    assert_eq!(signs(&world).await, "second");
    assert_eq!(published(&world).await, ["first", "second"]);
    world.clock.advance(Duration::from_secs(24 * 3600 - 1));
    assert_eq!(published(&world).await, ["first", "second"], "a token with a lifetime of a day may still be valid");
    world.clock.advance(SECOND);
    assert_eq!(published(&world).await, ["second"]);
    assert_eq!(signs(&world).await, "second");
}

#[tokio::test]
async fn several_rotations_may_be_in_progress() {
    let world = World::new();
    for (number, id) in ["second", "third", "fourth"].iter().enumerate() {
        world.endpoint.rotate_key(named(id)).unwrap();
        assert_eq!(published(&world).await.len(), number + 2);
        world.clock.advance(HOUR);
        assert_eq!(signs(&world).await, *id);
    }
    assert!(world.endpoint.rotate_key(named("fourth")).is_err(), "the key id is in use");
    assert_eq!(published(&world).await.len(), 4);
    world.clock.advance(25 * HOUR);
    world.endpoint.rotate_key(named("first")).unwrap();
    assert_eq!(published(&world).await, ["fourth", "first"], "the key id of a removed key can be used again");
}

#[tokio::test]
async fn keys_and_times_may_be_configured_at_start_up() {
    let world = World::new();
    let later = world.clock.now() + HOUR;
    let keys = SigningKeys::new(named("a")).with_next(named("c"), later + HOUR).with_next(named("b"), later);
    let endpoint = TokenEndpoint::builder(ISSUER, keys, world.clients.clone());
    let endpoint = endpoint.grant(ClientCredentialsGrant::new()).clock(world.clock.clone()).build().unwrap();
    let world = World { endpoint, ..world };
    assert_eq!(published(&world).await, ["a", "b", "c"]);
    for id in ["a", "b", "c"] {
        assert_eq!(signs(&world).await, id);
        world.clock.advance(HOUR);
    }
}

#[tokio::test]
async fn every_algorithm_signs_and_a_key_without_a_name_gets_its_thumbprint() {
    for algorithm in [Algorithm::ES256, Algorithm::RS256, Algorithm::PS256, Algorithm::EdDSA] {
        let world = World::new();
        let endpoint = TokenEndpoint::builder(ISSUER, PrivateKey::generate(algorithm).unwrap(), world.clients.clone());
        let endpoint = endpoint.grant(ClientCredentialsGrant::new()).clock(world.clock.clone()).build().unwrap();
        let world = World { endpoint, ..world };
        let header = part(&world.access_token("reports", &[]).await, 0);
        assert_eq!(header["alg"], algorithm.as_str());
        assert_eq!(header["kid"].as_str().unwrap().len(), 43);
        assert_eq!(published(&world).await, [header["kid"].as_str().unwrap()]);
    }
}
