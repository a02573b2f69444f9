//! Rotations of the issuer's keys: which token starts a refresh, how often, and what other tokens get meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use http::HeaderMap;
use serde_json::Value;
use tower_oauth::{
    AuthError, Cached, Issuer, JwtVerifier, ResourceServer,
    error::AuthErrorKind,
    keys::Algorithm,
    testing::{MockIssuer, TokenBuilder},
};

use crate::{
    fake_issuer::Answer,
    keys::remote::{MINUTE, RemoteKeysFixture, authenticate, server},
    support::API,
};

const SECOND: Duration = Duration::from_secs(1);

impl RemoteKeysFixture {
    /// Sends a token. Returns the reason of its refusal and `Retry-After`.
    async fn refusal(&self, token: &str) -> (&'static str, Option<String>) {
        let error = self.authenticate(token).await.unwrap_err();
        (error.reason(), retry_after(&self.server, &error))
    }

    /// A token that claims the `kid` of the published key, signed with another key.
    fn with_bad_signature(&self, subject: &str) -> String {
        self.good(subject).sign_with(&replacement())
    }

    fn good(&self, subject: &str) -> TokenBuilder {
        self.fake.signer(Algorithm::ES256).token(subject)
    }

    /// Publishes another key under the `kid` of the old one.
    fn replace_key_under_old_kid(&self) {
        self.fake.publish_raw(vec![with_kid(&replacement(), Some(&self.fake.signer(Algorithm::ES256).key_id()))]);
    }
}

pub(crate) fn retry_after(server: &ResourceServer, error: &AuthError) -> Option<String> {
    let mut headers = HeaderMap::new();
    server.challenge(error).write_to(&mut headers);
    headers.get("retry-after").map(|value| value.to_str().unwrap().to_owned())
}

/// The owner of another ES256 key.
pub(crate) fn replacement() -> MockIssuer {
    MockIssuer::new("https://replacement.test")
}

/// The public key, with another `kid` or none.
pub(crate) fn with_kid(key: &MockIssuer, kid: Option<&str>) -> Value {
    let mut jwk = key.jwk();
    match kid {
        Some(kid) => jwk["kid"] = kid.into(),
        None => drop(jwk.as_object_mut().unwrap().remove("kid")),
    }
    jwk
}

/// Threat J8
#[tokio::test]
async fn an_unknown_kid_that_no_newer_set_was_searched_for_gets_503_for_the_rest_of_the_cooldown() {
    let fixture = RemoteKeysFixture::warm().await;
    assert_eq!(fixture.refusal(&fixture.with_unknown_kid("invented")).await, ("unknown_key", None));
    // The issuer rotates its keys right after the attacker's token.
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    let honest = fixture.fake.signer(Algorithm::EdDSA).token("ada").sign();
    fixture.wait(10 * SECOND);
    assert_eq!(fixture.refusal(&honest).await, ("unavailable", Some("20".to_owned())));
    assert_eq!(fixture.refusal(&fixture.with_unknown_kid("invented")).await, ("unknown_key", None));
    assert_eq!(fixture.fake.fetches(), 2);
    fixture.wait(20 * SECOND);
    assert_eq!(fixture.kind(&honest).await, None);
    assert_eq!(fixture.fake.fetches(), 3);
}

/// Threat J8
#[tokio::test]
async fn a_token_that_joins_an_attempt_for_another_kid_is_not_refused_as_unknown() {
    let fixture = RemoteKeysFixture::warm().await;
    let tokens = ["a", "b", "a"].map(|kid| fixture.with_unknown_kid(kid));
    let refusals = join_all(tokens.iter().map(|token| fixture.refusal(token))).await;
    let unavailable = ("unavailable", Some("30".to_owned()));
    assert_eq!(refusals, [("unknown_key", None), unavailable, ("unknown_key", None)]);
    assert_eq!(fixture.fake.fetches(), 2);
}

/// Threat J9
#[tokio::test]
async fn a_second_rotation_within_the_cooldown_is_noticed_one_second_after_the_first() {
    let fixture = RemoteKeysFixture::warm().await;
    for (rotation, algorithm) in [Algorithm::EdDSA, Algorithm::ES384, Algorithm::RS256].into_iter().enumerate() {
        fixture.fake.publish(&[algorithm]);
        let token = fixture.fake.signer(algorithm).token("ada").sign();
        if rotation > 0 {
            assert_eq!(fixture.refusal(&token).await, ("unavailable", Some("1".to_owned())));
            fixture.wait(SECOND);
        }
        assert_eq!(fixture.kind(&token).await, None);
        assert_eq!(fixture.fake.fetches(), 2 + rotation);
    }
}

/// Threat J6
#[tokio::test]
async fn a_set_that_changes_all_the_time_is_fetched_at_most_once_a_second() {
    let fixture = RemoteKeysFixture::warm().await;
    for step in 0..100 {
        let kid = format!("new-{step}");
        fixture
            .fake
            .publish_raw(vec![fixture.fake.signer(Algorithm::ES256).jwk(), with_kid(&replacement(), Some(&kid))]);
        fixture.kind(&fixture.with_unknown_kid(&format!("invented-{step}"))).await;
        fixture.kind(&fixture.with_bad_signature("eve")).await;
        fixture.wait(Duration::from_millis(100));
    }
    assert_eq!(fixture.fake.fetches(), 1 + 10, "within ten seconds");
}

#[tokio::test]
async fn an_attempt_that_finds_the_same_keys_in_another_form_starts_the_cooldown() {
    let fixture = RemoteKeysFixture::warm().await;
    let mut same = fixture.fake.signer(Algorithm::ES256).jwk();
    same["note"] = "a member without meaning".into();
    fixture.fake.publish_raw(vec![same, serde_json::json!({"kty": "AKP"})]);
    fixture.kind(&fixture.with_unknown_kid("a")).await;
    fixture.wait(2 * SECOND);
    assert_eq!(fixture.refusal(&fixture.with_unknown_kid("b")).await, ("unavailable", Some("28".to_owned())));
    assert_eq!(fixture.fake.fetches(), 2);
}

/// Threat J9
#[tokio::test]
async fn the_first_token_with_a_new_key_under_an_old_kid_is_accepted() {
    let fixture = RemoteKeysFixture::warm().await;
    fixture.replace_key_under_old_kid();
    let new = fixture.good("ada").sign_with(&replacement());
    assert_eq!(fixture.kind(&new).await, None);
    assert_eq!(fixture.fake.fetches(), 2);
    assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, Some(AuthErrorKind::InvalidToken), "the old key");
    // Also with a key for another algorithm.
    fixture.wait(SECOND);
    let kid = fixture.fake.signer(Algorithm::ES256).key_id();
    let other_algorithm = fixture.fake.signer(Algorithm::EdDSA);
    fixture.fake.publish_raw(vec![with_kid(&other_algorithm, Some(&kid))]);
    assert_eq!(fixture.kind(&other_algorithm.token("ada").header("kid", kid.as_str()).sign()).await, None);
    assert_eq!(fixture.fake.fetches(), 3);
}

/// Threat J9
#[tokio::test]
async fn the_first_token_with_a_new_key_in_a_set_without_kids_is_accepted() {
    let fixture = RemoteKeysFixture::cold().await;
    fixture.fake.publish_raw(vec![with_kid(&fixture.fake.signer(Algorithm::ES256), None)]);
    fixture.issuer.warm_up().await.unwrap();
    for (key, signer) in [
        ("another key for the same algorithm", replacement()),
        ("a key for another algorithm", fixture.fake.signer(Algorithm::EdDSA)),
    ] {
        fixture.fake.publish_raw(vec![with_kid(&signer, None)]);
        let token = fixture.fake.signer(signer.algorithm()).token("ada").without_header("kid").sign_with(&signer);
        let fetches = fixture.fake.fetches();
        assert_eq!(fixture.kind(&token).await, None, "{key}");
        assert_eq!(fixture.fake.fetches(), fetches + 1, "{key}");
        fixture.wait(SECOND);
    }
}

/// Threat J8
#[tokio::test]
async fn neither_kind_of_missing_key_uses_up_the_refresh_of_the_other() {
    let fixture = RemoteKeysFixture::warm().await;
    assert_eq!(fixture.refusal(&fixture.with_unknown_kid("invented")).await.0, "unknown_key");
    fixture.replace_key_under_old_kid();
    assert_eq!(fixture.kind(&fixture.good("ada").sign_with(&replacement())).await, None, "after an invented kid");

    let fixture = RemoteKeysFixture::warm().await;
    assert_eq!(fixture.refusal(&fixture.with_bad_signature("eve")).await.0, "bad_signature");
    fixture.fake.publish(&[Algorithm::EdDSA]);
    let new = fixture.fake.signer(Algorithm::EdDSA).token("ada").sign();
    assert_eq!(fixture.kind(&new).await, None, "after a bad signature");
}

/// Threat J12
#[tokio::test]
async fn a_bad_signature_is_refused_at_once_during_the_cooldown_and_never_gets_503() {
    let fixture = RemoteKeysFixture::warm().await;
    let bad = fixture.with_bad_signature("eve");
    assert_eq!(fixture.refusal(&bad).await, ("bad_signature", None));
    assert_eq!(fixture.fake.fetches(), 2, "the issuer may have a new key under the old kid");
    // The clock stands still and the issuer hangs: a token that waits would never get a response.
    fixture.fake.answer(Answer::Hang);
    fixture.wait(29 * SECOND);
    assert_eq!(fixture.refusal(&bad).await, ("bad_signature", None));
    assert_eq!(fixture.fake.fetches(), 2);
    for (fetches, answer) in [(3, Answer::Status(500)), (4, Answer::Reset)] {
        fixture.fake.answer(answer);
        fixture.wait(MINUTE);
        for _ in 0..3 {
            assert_eq!(fixture.refusal(&bad).await, ("bad_signature", None), "the issuer fails");
        }
        assert_eq!(fixture.fake.fetches(), fetches);
    }
    fixture.fake.answer(Answer::Hang);
    fixture.wait(MINUTE);
    let server = fixture.server.clone();
    let waiting = tokio::spawn(async move { authenticate(&server, &bad).await });
    fixture.wait_for_fetches(5).await;
    fixture.wait(3 * SECOND);
    assert_eq!(waiting.await.unwrap().unwrap_err().reason(), "bad_signature", "the refresh takes too long");
}

/// Threat J6
#[tokio::test]
async fn eighty_forged_tokens_cost_at_most_three_fetches() {
    for at_once in [false, true] {
        let fixture = RemoteKeysFixture::cold().await;
        let unnamed = fixture.good("eve").without_header("kid");
        let tokens: Vec<_> = (0..80)
            .map(|index| match index % 4 {
                0 => fixture.with_unknown_kid(&format!("invented-{index}")),
                1 => fixture.with_bad_signature(&format!("eve-{index}")),
                2 => unnamed.sign_with(&replacement()),
                _ => fixture.fake.signer(Algorithm::EdDSA).token("eve").without_header("kid").sign(),
            })
            .collect();
        if at_once {
            join_all(tokens.iter().map(|token| fixture.kind(token))).await;
        }
        for token in &tokens {
            assert!(fixture.kind(token).await.is_some());
            fixture.wait(Duration::from_millis(300));
        }
        assert_eq!(fixture.fake.fetches(), 3, "at once: {at_once}");
        assert_eq!(fixture.kind(&fixture.fake.valid_token()).await, None);
    }
}

/// Threat J9
#[tokio::test]
async fn requests_with_one_token_share_the_refresh_for_a_new_key_under_an_old_kid() {
    let fixture = RemoteKeysFixture::warm().await;
    let verifier = JwtVerifier::new(fixture.issuer.clone(), API).unwrap();
    let cached = ResourceServer::new(Cached::builder(verifier, MINUTE).clock(fixture.clock.clone()).build());
    let new = fixture.good("ada").sign_with(&replacement());
    assert_eq!(authenticate(&cached, &new).await.unwrap_err().reason(), "bad_signature");
    fixture.replace_key_under_old_kid();
    fixture.wait(30 * SECOND);
    let results = join_all((0..50).map(|_| authenticate(&cached, &new))).await;
    assert!(results.iter().all(Result::is_ok));
    assert_eq!(fixture.fake.fetches(), 3);
}

#[tokio::test]
async fn a_bad_signature_with_fixed_keys_is_refused_at_once() {
    let fixture = RemoteKeysFixture::cold().await;
    let keys = fixture.fake.signer(Algorithm::ES256).key_set();
    let server = server(&Issuer::from_keys(&fixture.fake.identifier, keys).unwrap());
    let bad = fixture.with_bad_signature("eve");
    assert_eq!(authenticate(&server, &bad).await.unwrap_err().reason(), "bad_signature");
    assert_eq!(fixture.fake.requests().len(), 0);
}
