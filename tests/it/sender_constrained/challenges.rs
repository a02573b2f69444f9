//! Which challenges a refusal has, in which order, and where the error is.

use std::time::Duration;

use tower_oauth::{
    dpop::NonceSecret, keys::Algorithm, mutual_tls::MutualTls, server::ResourceServerBuilder, testing::ProofKey,
};

use super::{Fixture, Unreachable, get_as};
use crate::support::{API, Answer};

/// `algs` with all algorithms of this build.
fn algs() -> String {
    let names: Vec<_> = Algorithm::supported().iter().map(|algorithm| algorithm.as_str()).collect();
    format!("algs=\"{}\"", names.join(" "))
}

/// The challenges without `error_description`, and with `ALGS` for the list of all algorithms.
fn challenges(answer: &Answer) -> Vec<String> {
    let without_description = |line: &str| {
        let Some((before, rest)) = line.split_once(", error_description=\"") else { return line.to_owned() };
        format!("{before}{}", rest.split_once('"').unwrap().1)
    };
    let shorten = |line: String| line.replace(&algs(), "ALGS");
    answer.challenges().into_iter().map(without_description).map(shorten).collect()
}

fn refused(error: &str) -> Vec<String> {
    vec![format!(r#"DPoP realm="api", error="{error}", ALGS"#), r#"Bearer realm="api""#.to_owned()]
}

fn bearer(error: &str) -> Vec<String> {
    vec![format!(r#"Bearer realm="api", error="{error}""#), r#"DPoP realm="api", ALGS"#.to_owned()]
}

fn bare() -> Vec<String> {
    vec![r#"Bearer realm="api""#.to_owned(), r#"DPoP realm="api", ALGS"#.to_owned()]
}

/// RFC 9449 §7.1 a (SHOULD, refuses)
#[tokio::test]
async fn the_challenge_of_the_scheme_that_was_used_is_first_and_alone_has_the_error() {
    let fixture = Fixture::new();
    let app = fixture.app(|server| server);
    let (token, unbound) = (&fixture.token, fixture.unbound());
    let other = ProofKey::new().with_clock(fixture.clock.clone());
    let of_other = other.proof("GET", &format!("{API}/me")).token(token).sign();
    let good = || fixture.proof("/me");
    for (authorization, proof, status, expected, why) in [
        (format!("DPoP {token}"), None, 401, refused("invalid_dpop_proof"), "no proof"),
        (format!("DPoP {token}"), Some(fixture.proof("/other")), 401, refused("invalid_dpop_proof"), "another URL"),
        (format!("DPoP {token}"), Some(of_other), 401, refused("invalid_token"), "another key"),
        (format!("DPoP {unbound}"), Some(good()), 401, refused("invalid_token"), "an unbound token"),
        (format!("DPoP {token}x"), Some(good()), 401, refused("invalid_token"), "a bad token"),
        (format!("DPoP {token}x"), None, 401, refused("invalid_token"), "the token is looked at first"),
        (format!("Bearer {token}"), None, 401, bearer("invalid_token"), "a bound token as Bearer"),
        (format!("Bearer {token}"), Some(good()), 401, bearer("invalid_token"), "as Bearer, with a proof"),
        (format!("Bearer {unbound}x"), None, 401, bearer("invalid_token"), "a bad bearer token"),
        ("Basic YTpi".to_owned(), None, 401, bare(), "another scheme"),
        ("DPoP".to_owned(), None, 400, refused("invalid_request"), "no token"),
        ("DPoP a b".to_owned(), None, 400, refused("invalid_request"), "a token with a space"),
        ("Bearer a b".to_owned(), None, 400, bearer("invalid_request"), "a bearer token with a space"),
    ] {
        let answer = get_as(&app, "/me", &authorization, proof.as_deref()).await;
        assert_eq!(answer.status, status, "{why}");
        assert_eq!(challenges(&answer), expected, "{why}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{why}");
        assert_eq!(answer.header("dpop-nonce"), None, "{why}");
    }
    for (authorization, why) in
        [(format!("dpop {token}"), "lower case"), (format!("DPOP    {token}"), "several spaces")]
    {
        assert_eq!(get_as(&app, "/me", &authorization, Some(&good())).await.status, 200, "{why}");
    }
}

/// MCP 12 (MUST, accepts)
#[tokio::test]
async fn a_request_without_credentials_gets_both_challenges_bearer_first() {
    let app = Fixture::new().app(|server| server);
    let answer = crate::support::get_without_token(&app, "/me").await;
    assert_eq!((answer.status.as_u16(), challenges(&answer)), (401, bare()));
}

#[tokio::test]
async fn two_tokens_get_the_error_in_both_challenges() {
    let fixture = Fixture::new();
    let app = fixture.app(ResourceServerBuilder::danger_accept_query);
    let both = vec![
        r#"Bearer realm="api", error="invalid_request""#.to_owned(),
        r#"DPoP realm="api", error="invalid_request", ALGS"#.to_owned(),
    ];
    let dpop = format!("DPoP {}", fixture.token);
    let bearer = format!("Bearer {}", fixture.unbound());
    for [first, second] in [[&dpop, &dpop], [&dpop, &bearer], [&bearer, &dpop]] {
        let headers = [("authorization", first.as_bytes()), ("authorization", second.as_bytes())];
        let answer = crate::support::get_with_headers(&app, "/me", &headers).await;
        assert_eq!((answer.status.as_u16(), challenges(&answer)), (400, both.clone()));
    }
    let path = format!("/me?access_token={}", fixture.unbound());
    let answer = get_as(&app, &path, &dpop, Some(&fixture.proof("/me"))).await;
    assert_eq!((answer.status.as_u16(), challenges(&answer)), (400, both));
}

#[tokio::test]
async fn a_missing_scope_and_a_step_up_are_in_the_challenge_of_the_scheme() {
    let fixture = Fixture::new();
    let app = fixture.app(|server| server);
    let answer = fixture.get(&app, "/write").await;
    assert_eq!(answer.status, 403);
    let scope = r#"scope="orders:write""#;
    let expected = [
        format!(r#"DPoP realm="api", error="insufficient_scope", {scope}, ALGS"#),
        format!(r#"Bearer realm="api", {scope}"#),
    ];
    assert_eq!(challenges(&answer), expected);

    let answer = fixture.get(&app, "/strong").await;
    assert_eq!(answer.status, 401);
    let error = r#"error="insufficient_user_authentication", acr_values="mfa""#;
    assert_eq!(
        challenges(&answer),
        [format!(r#"DPoP realm="api", {error}, ALGS"#), r#"Bearer realm="api""#.to_owned()]
    );

    let bearer = format!("Bearer {}", fixture.unbound());
    let answer = get_as(&app, "/write", &bearer, None).await;
    assert!(challenges(&answer)[0].starts_with(r#"Bearer realm="api", error="insufficient_scope""#));
    assert_eq!(challenges(&answer)[1], format!(r#"DPoP realm="api", {scope}, ALGS"#));
}

#[tokio::test]
async fn where_only_bound_tokens_are_accepted_bearer_is_not_offered() {
    let fixture = Fixture::new();
    let app = fixture.app(ResourceServerBuilder::require_sender_constraint);
    let only = [r#"DPoP realm="api", ALGS"#];
    let unbound = format!("Bearer {}", fixture.unbound());
    for answer in [
        crate::support::get_without_token(&app, "/me").await,
        get_as(&app, "/me", &unbound, None).await,
        get_as(&app, "/me", &format!("{unbound}x"), None).await,
    ] {
        assert_eq!((answer.status.as_u16(), challenges(&answer)), (401, only.map(str::to_owned).to_vec()));
    }
    let answer = get_as(&app, "/me", &format!("DPoP {}", fixture.token), None).await;
    assert_eq!(challenges(&answer), [r#"DPoP realm="api", error="invalid_dpop_proof", ALGS"#]);
    let answer = get_as(&app, "/me", &format!("Bearer {}", fixture.token), None).await;
    assert_eq!(challenges(&answer), bearer("invalid_token"), "a bound token is refused as without the setting");
    assert_eq!(fixture.get(&app, "/me").await.status, 200);
    let unknown = fixture.issuer.token("ada").claim("cnf", serde_json::json!({"kid": "a"})).sign();
    let answer = get_as(&app, "/me", &format!("DPoP {unknown}"), None).await;
    assert_eq!(challenges(&answer), [r#"DPoP realm="api", error="invalid_token", ALGS"#], "a cnf that is not known");
}

#[tokio::test]
async fn where_certificates_are_accepted_too_bearer_is_offered() {
    let fixture = Fixture::new();
    let certificates = MutualTls::on_the_connection();
    let app = fixture.app(|server| server.mutual_tls(certificates).require_sender_constraint());
    let unbound = format!("Bearer {}", fixture.unbound());
    for path in ["/me", "/pay"] {
        assert_eq!(challenges(&get_as(&app, path, &unbound, None).await), bearer("invalid_token"), "{path}");
    }
}

#[tokio::test]
async fn a_route_for_bound_tokens_offers_only_dpop_to_others() {
    let fixture = Fixture::new();
    let app = fixture.app(|server| server);
    let unbound = format!("Bearer {}", fixture.unbound());
    let answer = get_as(&app, "/pay", &unbound, None).await;
    assert_eq!((answer.status.as_u16(), challenges(&answer)), (401, vec![r#"DPoP realm="api", ALGS"#.to_owned()]));
    assert_eq!(get_as(&app, "/maybe", &unbound, None).await.body, "false");
    assert_eq!(fixture.get(&app, "/pay").await.body, "paid");
    assert_eq!(fixture.get(&app, "/maybe").await.body, "true");
    assert_eq!(get_as(&app, "/orders", &unbound, None).await.status, 200, "other routes accept bearer tokens");
}

#[tokio::test]
async fn nonces_come_with_errors_of_proofs_and_with_responses_to_old_ones() {
    let fixture = Fixture::new();
    let dpop = fixture.dpop().nonces(NonceSecret::shared([7; 32]));
    let app = fixture.app(|server| server.dpop(dpop));
    let with_nonce = |path: &str, nonce: &str| {
        fixture.key.proof("GET", &format!("{API}{path}")).token(&fixture.token).nonce(nonce).sign()
    };
    let answer = fixture.get(&app, "/me").await;
    assert_eq!((answer.status.as_u16(), challenges(&answer)), (401, refused("use_dpop_nonce")));
    let nonce = answer.header("dpop-nonce").unwrap().to_owned();

    let answer = fixture.get_with_proof(&app, "/me", &with_nonce("/me", &nonce)).await;
    assert_eq!((answer.status.as_u16(), answer.header("dpop-nonce")), (200, None), "a current nonce");
    assert_eq!(answer.header("cache-control"), None);

    fixture.clock.advance(Duration::from_secs(60));
    let answer = fixture.get_with_proof(&app, "/me", &with_nonce("/me", &nonce)).await;
    let newer = answer.header("dpop-nonce").unwrap().to_owned();
    assert_eq!(answer.status, 200, "an old nonce");
    assert_ne!(newer, nonce);
    assert_eq!(answer.header("cache-control"), Some("no-store"), "the nonce must not be cached");

    let answer = fixture.get_with_proof(&app, "/write", &with_nonce("/write", &nonce)).await;
    assert_eq!((answer.status.as_u16(), answer.header("dpop-nonce")), (403, Some(&*newer)), "a refusal of the handler");
    let answer = fixture.get_with_proof(&app, "/none", &with_nonce("/none", &nonce)).await;
    assert_eq!((answer.status.as_u16(), answer.header("dpop-nonce")), (404, Some(&*newer)), "no route");

    let broken = with_nonce("/me", &nonce) + "AAAA";
    let answer = fixture.get_with_proof(&app, "/me", &broken).await;
    assert_eq!(challenges(&answer), refused("invalid_dpop_proof"));
    assert_eq!(answer.header("dpop-nonce"), Some(&*newer), "a Rust client insists on it");

    let bearer = format!("Bearer {}", fixture.unbound());
    assert_eq!(get_as(&app, "/me", &bearer, None).await.header("dpop-nonce"), None);
    assert_eq!(get_as(&app, "/me", &format!("DPoP {}x", fixture.token), None).await.header("dpop-nonce"), None);

    fixture.clock.advance(Duration::from_secs(300));
    let answer = fixture.get_with_proof(&app, "/me", &with_nonce("/me", &nonce)).await;
    assert_eq!(challenges(&answer), refused("use_dpop_nonce"), "more than 5 minutes old");
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_503() {
    let fixture = Fixture::new();
    let dpop = fixture.dpop().replay_store(Unreachable);
    let app = fixture.app(|server| server.dpop(dpop));
    let answer = fixture.get(&app, "/me").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
    assert!(answer.challenges().is_empty());
    let bearer = format!("Bearer {}", fixture.unbound());
    assert_eq!(get_as(&app, "/me", &bearer, None).await.status, 200, "bearer tokens need no store");
}
