//! Confidential clients that send no PKCE challenge (`accept_without_pkce`), as the documented default use of several libraries.

use tower_oauth::{
    error::ConfigMistake,
    token_endpoint::{Client, ClientCredential},
};

use super::{CB, CHALLENGE, VERIFIER, World, assertion, assertion_key, confidential, with_users};

const ID: (&str, &str) = ("client_id", "plain");
const SECRET: (&str, &str) = ("client_secret", "plain-secret");
const NO_CHALLENGE: [(&str, &str); 2] = [("code_challenge", ""), ("code_challenge_method", "")];
const NO_VERIFIER: (&str, &str) = ("code_verifier", "");

fn world() -> World {
    let world = World::with_users();
    let client = with_users(confidential("plain").redirect_uri(CB)).accept_without_pkce();
    world.clients.insert(client.build().unwrap());
    world
}

/// Returns a code without a challenge, requested with these changes.
async fn code(world: &World, change: &[(&str, &str)]) -> String {
    world.code(&[&[ID], &NO_CHALLENGE[..], change].concat()).await
}

/// RFC 9700 §2.1.1 a (MUST, accepts)
/// Threat T13
#[tokio::test]
async fn a_confidential_client_may_leave_pkce_out_only_if_so_configured() {
    let world = world();
    let code = code(&world, &[]).await;
    // The client must still authenticate. None of these requests uses the code up.
    world.redeem(&code, &[ID, NO_VERIFIER]).await.is_error(401, "invalid_client");
    world.redeem(&code, &[NO_VERIFIER]).await.is_error(400, "invalid_grant");
    let answer = world.redeem(&code, &[ID, SECRET, NO_VERIFIER]).await;
    answer.is_ok();
    let refreshed = world.refresh(answer.text("refresh_token"), &[ID, SECRET]).await;
    refreshed.is_ok();
    // A replay ends the session.
    world.redeem(&code, &[ID, SECRET, NO_VERIFIER]).await.is_error(400, "invalid_grant");
    for token in [answer.text("access_token"), refreshed.text("access_token")] {
        assert!(!world.is_active(token).await);
    }

    for other in [("client_id", "web"), ("client_id", "app")] {
        let uri = if other.1 == "web" { "https://web.test/2" } else { CB };
        let asked = world.ask(&[&[other, ("redirect_uri", uri)], &NO_CHALLENGE[..]].concat()).await;
        assert_eq!(asked.unwrap_err().code(), "invalid_request", "{other:?}");
    }
    world.clients.renew_secret("plain").unwrap();
    assert!(world.ask(&[&[ID], &NO_CHALLENGE[..]].concat()).await.is_ok(), "a new secret changes nothing");
}

/// RFC 9700 §2.1.1 a (MUST, accepts)
#[tokio::test]
async fn a_client_with_keys_may_leave_pkce_out() {
    let world = World::with_users();
    let keys = assertion_key(tower_oauth::keys::Algorithm::ES256).key_set();
    let client = with_users(Client::builder("signs", keys)).redirect_uri(CB).accept_without_pkce();
    world.clients.insert(client.build().unwrap());
    let code = world.code(&[&[("client_id", "signs")], &NO_CHALLENGE[..]].concat()).await;
    let assertion = assertion(&world, "1").sign();
    let kind = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let form = [("client_id", "signs"), NO_VERIFIER, kind, ("client_assertion", &assertion)];
    world.redeem(&code, &form).await.is_ok();
}

/// RFC 9700 §2.1.1 a (MUST, refuses)
/// RFC 9700 §2.1.1 b (MUST, accepts)
/// Threat T14
#[tokio::test]
async fn a_challenge_of_a_client_that_needs_none_binds_its_code() {
    let world = world();
    for (challenge, method) in [
        (CHALLENGE, "plain"),
        (CHALLENGE, ""),
        (VERIFIER, "plain"),
        ("", "S256"),
        ("", "plain"),
        (&CHALLENGE[1..], "S256"),
        (CHALLENGE, "s256"),
    ] {
        let asked = world.ask(&[ID, ("code_challenge", challenge), ("code_challenge_method", method)]).await;
        assert_eq!(asked.unwrap_err().code(), "invalid_request", "{challenge} {method}");
    }
    let code = world.code(&[ID]).await;
    for wrong in ["", CHALLENGE] {
        world.redeem(&code, &[ID, SECRET, ("code_verifier", wrong)]).await.is_error(400, "invalid_grant");
    }
    // The redirect URI may be left out, because the verifier binds the code.
    world.redeem(&code, &[ID, SECRET, ("redirect_uri", "")]).await.is_ok();
}

/// RFC 9700 §2.1.1 b (MUST, refuses)
/// Threat T14
#[tokio::test]
async fn a_verifier_without_a_challenge_is_a_downgrade_and_refused() {
    let world = world();
    let code = code(&world, &[]).await;
    for verifier in [VERIFIER, "x", CHALLENGE] {
        world.redeem(&code, &[ID, SECRET, ("code_verifier", verifier)]).await.is_error(400, "invalid_grant");
    }
    world.redeem(&code, &[ID, SECRET, NO_VERIFIER]).await.is_ok();
}

/// RFC 6749 §4.1.3 (MUST, accepts)
#[tokio::test]
async fn a_code_without_a_challenge_needs_the_redirect_uri_of_its_request() {
    let world = world();
    let sent = code(&world, &[]).await;
    for wrong in ["", "https://app.test/", "https://app.test/cb?"] {
        world.redeem(&sent, &[ID, SECRET, NO_VERIFIER, ("redirect_uri", wrong)]).await.is_error(400, "invalid_grant");
    }
    world.redeem(&sent, &[ID, SECRET, NO_VERIFIER]).await.is_ok();
    // RFC 6749 §4.1.3: it is required if the authorization request had it.
    let left_out = code(&world, &[("redirect_uri", "")]).await;
    world.redeem(&left_out, &[ID, SECRET, NO_VERIFIER]).await.is_error(400, "invalid_grant");
    world.redeem(&left_out, &[ID, SECRET, NO_VERIFIER, ("redirect_uri", "")]).await.is_ok();
}

/// RFC 9700 §2.1.1 a (MUST, refuses)
/// Threat T13
#[test]
fn a_public_client_without_pkce_is_a_mistake() {
    let client = with_users(Client::builder("app", ClientCredential::None)).redirect_uri(CB).accept_without_pkce();
    let error = client.build().unwrap_err();
    assert_eq!(error.mistakes().iter().map(ConfigMistake::setting).collect::<Vec<_>>(), ["accept_without_pkce"]);
    assert!(error.to_string().contains("RFC 9700 §2.1.1"), "{error}");
}
