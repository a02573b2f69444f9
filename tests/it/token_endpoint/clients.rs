//! Authentication of clients: RFC 6749 §2.3, RFC 7523 §3.

use std::time::Duration;

use axum::body::Body;
use futures_util::future::join_all;
use http::Request;
use tower_oauth::{
    clock::Clock,
    keys::Algorithm,
    testing::{MockIssuer, TokenBuilder},
    token_endpoint::{Client, ClientSecret, TokenEndpointBuilder, TokenHash},
};

use super::{
    FORM, ISSUER, World, assertion, assertion_key, basic, encode, escape, machine, may_have_tokens, raw_basic, usual,
};

const CC: (&str, &str) = ("grant_type", "client_credentials");
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Makes a good assertion invalid.
type Forge = fn(TokenBuilder) -> String;

pub(super) async fn assert_with(world: &World, assertion: &str) -> super::Answer {
    let form = [CC, ("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    world.post("/token", "", &form).await
}

/// RFC 6749 §2.3 (MUST NOT, accepts)
/// RFC 6749 §2.3.1 a (MUST, MAY, accepts)
#[tokio::test]
async fn a_secret_is_accepted_in_basic_and_in_the_body() {
    let world = World::new();
    world.post("/token", &usual("reports"), &[CC]).await.is_ok();
    let form = [CC, ("client_id", "reports"), ("client_secret", "reports-secret")];
    world.post("/token", "", &form).await.is_ok();
    // The client's own id beside Basic is not a second method.
    world.post("/token", &usual("reports"), &[CC, ("client_id", "reports")]).await.is_ok();
    let wrong = [CC, ("client_id", "reports"), ("client_secret", "reports-secreT")];
    world.post("/token", "", &wrong).await.is_error(401, "invalid_client");
    world.post("/token", &basic("reports", "others-secret"), &[CC]).await.is_error(401, "invalid_client");
}

/// RFC 6749 §2.3.1 a (MUST, MAY, accepts)
#[tokio::test]
async fn ids_and_secrets_in_basic_are_form_decoded_and_may_be_any_text() {
    let world = World::new();
    let (id, secret) = ("odd: id%+ä", "s:e%41 r+é&=");
    world.post("/token", &basic(id, secret), &[CC]).await.is_ok();
    world.post("/token", "", &[CC, ("client_id", id), ("client_secret", secret)]).await.is_ok();
    // A space may be a plus, the scheme is case-insensitive, and characters that need no escape may have one.
    let plus = format!("{}:{}", escape(id).replace("%20", "+"), escape(secret).replace("%20", "+"));
    world.post("/token", &raw_basic(plus).replace("Basic", "bASIC"), &[CC]).await.is_ok();
    world.post("/token", &raw_basic("reports:reports%2Dsecret"), &[CC]).await.is_ok();
    world.post("/token", &raw_basic("reports:reports-secret"), &[CC]).await.is_ok();
    // A text that was not encoded is read whole.
    let raw = format!("{}:s:e%2541 r%2Bé&=", escape(id));
    world.post("/token", &raw_basic(raw), &[CC]).await.is_ok();
}

/// RFC 6749 §2.3.1 a (MUST, MAY, accepts)
/// Threat T4
#[tokio::test]
async fn a_secret_in_basic_is_also_read_as_it_stands() {
    let world = World::with(|builder| builder.max_failed_authentications(3, Duration::from_secs(60)));
    // Decoding changes the first three secrets, and there is no decoded text of the last one.
    for (id, secret) in [("odd: id%+ä", "s:e%41 r+é&="), ("a", "100%25+"), ("b", "%zz+%41"), ("c", "%FF+%C3")] {
        world.clients.insert(may_have_tokens(Client::builder(id, ClientSecret::new(secret))).build().unwrap());
        world.post("/token", &raw_basic(format!("{}:{secret}", escape(id))), &[CC]).await.is_ok();
        world.post("/token", &basic(id, secret), &[CC]).await.is_ok();
    }
    // Nothing is decoded twice.
    for wrong in ["a:100%2525%2B", "a:100%2B", "b:%zz%2041"] {
        let status = world.post("/token", &raw_basic(wrong), &[CC]).await.status();
        assert_eq!(status, if wrong == "a:100%2525%2B" { 200 } else { 401 }, "{wrong}");
    }
    // An id has one reading.
    for id in ["x+y", "x%41"] {
        world.clients.insert(machine(id).build().unwrap());
        world.post("/token", &raw_basic(format!("{id}:{id}-secret")), &[CC]).await.is_error(401, "invalid_client");
    }
    // Two readings are one attempt.
    for _ in 0..3 {
        world.post("/token", &raw_basic("others:wrong%41"), &[CC]).await.is_error(401, "invalid_client");
    }
    world.post_and_wait("/token", &raw_basic("others:wrong%41"), &[CC]).await.is_error(429, "temporarily_unavailable");
}

/// RFC 6749 §2.3.1 a (MUST, MAY, refuses)
/// RFC 6749 §5.2 (MUST, accepts)
/// Threats T4, T9
#[tokio::test]
async fn malformed_or_missing_credentials_are_refused_with_a_challenge() {
    let world = World::new();
    let long = raw_basic(format!("reports:{}", "x".repeat(40_000)));
    let wrong = [
        "Basic",
        "Basic ",
        "Basic !!!",
        "Bearer abc",
        "Digest username=\"reports\"",
        &raw_basic("reports"),
        &raw_basic("reports:"),
        &raw_basic(":reports-secret"),
        &raw_basic(b"reports:\xff\xfe"),
        &raw_basic("reports:%FF"),
        &raw_basic("reports-secret:reports"),
        &long,
    ];
    for wrong in wrong {
        let answer = world.post("/token", wrong, &[CC]).await;
        answer.is_error(401, "invalid_client");
        world.clock.advance(Duration::from_secs(60));
    }
    // The replacement character is a valid secret; invalid UTF-8 is never equal to it.
    let lossy = Client::builder("lossy", ClientSecret::new("\u{fffd}"));
    world.clients.insert(may_have_tokens(lossy).build().unwrap());
    world.post("/token", &basic("lossy", "\u{fffd}"), &[CC]).await.is_ok();
    for bytes in [&b"lossy:%FF"[..], b"lossy:\xff"] {
        world.post("/token", &raw_basic(bytes), &[CC]).await.is_error(401, "invalid_client");
    }
    // No credentials at all, and an empty secret, which counts as absent.
    world.post("/token", "", &[CC]).await.is_error(401, "invalid_client");
    let form = [CC, ("client_id", "reports"), ("client_secret", "")];
    world.post("/token", "", &form).await.is_error(401, "invalid_client");
    world.post("/token", "", &[CC, ("client_secret", "x")]).await.is_error(400, "invalid_request");
}

/// RFC 6749 §2.3 (MUST NOT, refuses)
/// Threat T3
#[tokio::test]
async fn a_client_authenticates_by_one_method_only() {
    let world = World::new();
    let secret = ("client_secret", "reports-secret");
    let two_methods: [&[(&str, &str)]; 4] = [
        &[CC, ("client_id", "reports"), secret],
        &[CC, secret],
        &[CC, ("client_assertion", "x")],
        &[CC, ("client_assertion_type", JWT_BEARER)],
    ];
    for form in two_methods {
        world.post("/token", &usual("reports"), form).await.is_error(400, "invalid_request");
    }
    let signed = assertion(&world, "1").sign();
    let both = [CC, ("client_assertion_type", JWT_BEARER), ("client_assertion", &signed), ("client_secret", "x")];
    world.post("/token", "", &both).await.is_error(400, "invalid_request");
    let twice = Request::post("/token")
        .header("content-type", FORM)
        .header("authorization", usual("reports"))
        .header("authorization", usual("reports"))
        .body(Body::from(encode(&[CC])));
    world.send(twice.unwrap()).await.is_error(400, "invalid_request");
}

/// Threat T5
#[tokio::test]
async fn a_client_id_other_than_the_authenticated_one_is_refused() {
    let world = World::new();
    world.post("/token", &usual("reports"), &[CC, ("client_id", "others")]).await.is_error(400, "invalid_request");
    let signed = assertion(&world, "1").sign();
    let form = |id| [CC, ("client_assertion_type", JWT_BEARER), ("client_assertion", &*signed), ("client_id", id)];
    world.post("/token", "", &form("reports")).await.is_error(401, "invalid_client");
    world.post("/token", "", &form("signs")).await.is_ok();
}

/// RFC 6749 §3.2.1 (MUST, refuses)
/// RFC 6749 §4.4 (MUST, SHOULD NOT, refuses)
/// Threat T21
#[tokio::test]
async fn confidential_and_public_clients_are_not_confused() {
    let world = World::new();
    for id in ["reports", "signs", "unknown"] {
        world.post("/token", "", &[CC, ("client_id", id)]).await.is_error(401, "invalid_client");
    }
    // A public client is identified by its id, and may not use client_credentials.
    world.post("/token", "", &[CC, ("client_id", "app")]).await.is_error(400, "unauthorized_client");
    // Credentials are always checked; these clients have no secret to check them with.
    world.post("/token", &basic("app", "x"), &[CC]).await.is_error(401, "invalid_client");
    world.post("/token", &basic("signs", "signs-secret"), &[CC]).await.is_error(401, "invalid_client");
}

/// RFC 7523 §3 c (MUST, accepts)
/// Threat T24
#[tokio::test]
async fn an_assertion_is_accepted_once() {
    let world = World::new();
    let first = assertion(&world, "1").sign();
    assert_with(&world, &first).await.is_ok();
    assert_with(&world, &first).await.is_error(401, "invalid_client");
    // Another assertion with the same jti is refused, too.
    assert_with(&world, &assertion(&world, "1").claim("x", 1).sign()).await.is_error(401, "invalid_client");
    assert_with(&world, &assertion(&world, "2").sign()).await.is_ok();
    assert_with(&world, &assertion(&world, "3").claim("aud", vec![ISSUER]).sign()).await.is_ok();
    assert_with(&world, &assertion(&world, "4").header("typ", "client-authentication+jwt").sign()).await.is_ok();
    assert_with(&world, &assertion(&world, "5").without_header("typ").without_claim("iat").sign()).await.is_ok();
    assert_with(&world, &assertion(&world, "6").without_header("kid").sign()).await.is_ok();
    // Its jti is stored for as long as the assertion is valid.
    let long = assertion(&world, "7").expires_in(Duration::from_secs(3600)).sign();
    assert_with(&world, &long).await.is_ok();
    world.clock.advance(Duration::from_secs(3599));
    assert_with(&world, &long).await.is_error(401, "invalid_client");
}

/// RFC 7523 §3 c (MUST, refuses)
/// Threat T24
#[tokio::test]
async fn of_many_requests_with_one_assertion_one_is_accepted() {
    let world = World::new();
    let assertion = assertion(&world, "1").sign();
    let answers = join_all((0..64).map(|_| assert_with(&world, &assertion))).await;
    assert_eq!(answers.iter().filter(|answer| answer.status() == 200).count(), 1);
}

/// RFC 7523 §3 c (MUST, refuses)
/// Threat T24
#[tokio::test]
async fn assertions_are_refused_for_every_rule_they_break() {
    let world = World::new();
    let good = |number: usize| assertion(&world, &format!("bad-{number}"));
    let bad: [(&str, Forge); 23] = [
        ("another issuer", |good| good.claim("iss", "reports").sign()),
        ("no issuer", |good| good.without_claim("iss").sign()),
        ("another subject", |good| good.claim("sub", "reports").sign()),
        ("both another client", |good| good.claim("sub", "reports").claim("iss", "reports").sign()),
        ("an unknown client", |good| good.claim("sub", "unknown").claim("iss", "unknown").sign()),
        ("a public client", |good| good.claim("sub", "app").claim("iss", "app").sign()),
        ("no audience", |good| good.without_claim("aud").sign()),
        ("another audience", |good| good.audience("https://other.test").sign()),
        ("another audience beside ours", |good| good.claim("aud", vec![ISSUER, "https://other.test"]).sign()),
        ("our issuer twice", |good| good.claim("aud", vec![ISSUER, ISSUER]).sign()),
        ("a trailing slash", |good| good.audience("https://as.test/").sign()),
        ("the endpoint's URL", |good| good.audience("https://as.test/token").sign()),
        ("no expiry", |good| good.without_claim("exp").sign()),
        ("a string as expiry", |good| good.claim("exp", "9999999999").sign()),
        ("a too long lifetime", |good| good.expires_in(Duration::from_secs(86_400)).sign()),
        ("no jti", |good| good.without_claim("jti").sign()),
        ("an empty jti", |good| good.claim("jti", "").sign()),
        ("an access token", |good| good.header("typ", "at+jwt").sign()),
        ("crit", |good| good.header("crit", vec!["x"]).sign()),
        ("alg none", |good| good.header("alg", "none").sign()),
        ("another key", |good| good.sign_with(&MockIssuer::new("https://other.test"))),
        ("not a JWT", |_| "x".to_owned()),
        ("the public key as a secret", |good| {
            let pem = assertion_key(Algorithm::ES256).public_key_pem();
            good.sign_hmac(tower_oauth::keys::HmacAlgorithm::HS256, pem.as_bytes())
        }),
    ];
    for (number, (what, forge)) in bad.iter().enumerate() {
        let answer = assert_with(&world, &forge(good(number))).await;
        assert_eq!(answer.status(), 401, "{what}: {answer:?}");
        answer.is_error(401, "invalid_client");
    }
    let old = good(100).sign();
    let early = good(101).claim("nbf", 99_999_999_999_i64).sign();
    assert_with(&world, &early).await.is_error(401, "invalid_client");
    world.clock.advance(Duration::from_secs(91));
    assert_with(&world, &old).await.is_error(401, "invalid_client");

    let signed = good(102).sign();
    for form in [
        vec![CC, ("client_assertion", &signed)],
        vec![CC, ("client_assertion", &signed), ("client_assertion_type", "jwt-bearer")],
        vec![CC, ("client_id", "signs"), ("client_assertion_type", JWT_BEARER)],
    ] {
        world.post("/token", "", &form).await.is_error(401, "invalid_client");
    }
    // A refused assertion can still be used.
    assert_with(&world, &signed).await.is_ok();
}

/// RFC 7523 §3 c (MUST, accepts)
#[tokio::test]
async fn the_endpoints_url_is_an_assertions_audience_only_if_configured() {
    let world = World::with(TokenEndpointBuilder::accept_token_endpoint_as_assertion_audience);
    assert_with(&world, &assertion(&world, "1").audience("https://as.test/token").sign()).await.is_ok();
    assert_with(&world, &assertion(&world, "2").sign()).await.is_ok();
    assert_with(&world, &assertion(&world, "3").audience("https://as.test/revoke").sign())
        .await
        .is_error(401, "invalid_client");
}

/// RFC 7523 §3 c (MUST, accepts)
#[tokio::test]
async fn assertions_may_be_signed_with_any_asymmetric_algorithm() {
    for algorithm in Algorithm::supported() {
        let world = World::new();
        let key = assertion_key(*algorithm);
        world.clients.insert(may_have_tokens(Client::builder("signs", key.key_set())).build().unwrap());
        let signed =
            assertion(&world, "1").header("alg", algorithm.as_str()).header("kid", key.key_id()).sign_with(&key);
        assert_with(&world, &signed).await.is_ok();
    }
}

/// Threat T24
#[tokio::test]
async fn an_assertion_signed_by_another_client_is_refused_with_any_kid() {
    let world = World::new();
    let other = assertion_key(Algorithm::EdDSA);
    world.clients.insert(may_have_tokens(Client::builder("other", other.key_set())).build().unwrap());
    let own = assertion_key(Algorithm::ES256);
    for (alg, kid) in [("EdDSA", other.key_id()), ("EdDSA", own.key_id()), ("ES256", other.key_id())] {
        let forged = assertion(&world, "1").header("alg", alg).header("kid", kid).sign_with(&other);
        assert_with(&world, &forged).await.is_error(401, "invalid_client");
    }
    // In the future, by more than the leeway.
    let now = Clock::now(&world.clock).duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
    for begin in ["iat", "nbf"] {
        assert_with(&world, &assertion(&world, begin).claim(begin, now + 31).sign())
            .await
            .is_error(401, "invalid_client");
        assert_with(&world, &assertion(&world, begin).claim(begin, now + 30).sign()).await.is_ok();
    }
    // The limit is an hour plus the leeway.
    assert_with(&world, &assertion(&world, "2").claim("exp", now + 3631).sign()).await.is_error(401, "invalid_client");
    assert_with(&world, &assertion(&world, "2").claim("exp", now + 3630).sign()).await.is_ok();
}

#[tokio::test]
async fn a_removed_client_has_no_tokens() {
    let world = World::new();
    let token = world.access_token("others", &[]).await;
    world.clients.remove("others");
    assert!(!world.is_active(&token).await);
    world.token("others", &[]).await.is_error(401, "invalid_client");
    world.clients.insert(machine("others").build().unwrap());
    world.token("others", &[]).await.is_ok();
}

/// Threat T32
#[test]
fn debug_shows_no_secrets() {
    let secret = ClientSecret::new("correct-horse");
    let shown = format!("{secret:?} {:?}", TokenHash::of("correct-horse"));
    assert!(!shown.contains("correct") && shown.contains("redacted"), "{shown}");
    let client = machine("reports").build().unwrap();
    assert!(!format!("{client:?}").contains("reports-secret"));
    assert!(TokenHash::of("a").matches(&TokenHash::of("a")) && !TokenHash::of("a").matches(&TokenHash::of("b")));
}
