//! JWTs judged here and the rest by their issuer, behind one layer: whose token it is, and that the first verdict is final.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_oauth::{
    IntrospectionVerifier, JwtOrOpaque, JwtVerifier,
    error::AuthErrorKind,
    keys::Algorithm,
    testing::{Forgery, ManualClock, MockIssuer, TokenBuilder},
    verify::{DynamicIssuers, JwtOrOpaqueBuilder, TrustedIssuers, Verdict, Verify},
};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    introspection::{IntrospectionFixture, NOW, client, soon},
    support::{API, issuer, says},
};

/// An API that judges the fake issuer's JWTs by itself, and asks it about the rest.
async fn mixed_as<V: Verify>(
    build: impl FnOnce(JwtOrOpaqueBuilder<JwtVerifier, IntrospectionVerifier>) -> V,
) -> IntrospectionFixture {
    let fake = FakeIssuer::start().await;
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
    let issuer = fake.builder().clock(clock.clone()).build().unwrap();
    let jwt = JwtVerifier::builder(issuer.clone(), API).clock(clock.clone()).build().unwrap();
    let introspection = IntrospectionVerifier::builder(issuer, client(), API).clock(clock.clone()).build().unwrap();
    IntrospectionFixture::with_verifier(fake, clock, build(JwtOrOpaque::builder(jwt, introspection)))
}

async fn mixed() -> IntrospectionFixture {
    mixed_as(JwtOrOpaqueBuilder::build).await
}

async fn always_asking() -> IntrospectionFixture {
    mixed_as(|builder| builder.require_both().build()).await
}

impl IntrospectionFixture {
    fn jwt(&self) -> TokenBuilder {
        self.fake.mint(Algorithm::ES256).with_clock(self.clock.clone()).token("ada")
    }
}

#[tokio::test]
async fn a_jwt_of_a_known_issuer_is_judged_here_and_the_rest_by_the_issuer() {
    let fixture = mixed().await;
    assert_eq!(fixture.authenticate(&fixture.jwt().sign()).await.unwrap().subject(), Some("ada"));
    assert_eq!(fixture.fake.asked(), 0);
    fixture.respond_with(&fixture.active_with("sub", json!("grace")));
    assert_eq!(fixture.authenticate("opaque").await.unwrap().subject(), Some("grace"));
    assert_eq!(fixture.fake.asked(), 1);
    fixture.respond_with(&json!({"active": false}));
    assert!(fixture.get("opaque").await.is_refusal(401, "invalid_token"));
    assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
    assert_eq!(fixture.fake.asked(), 2);
}

#[tokio::test]
async fn a_jwt_of_another_issuer_and_what_is_no_jwt_is_asked_about() {
    let fixture = mixed().await;
    let own = &fixture.fake.identifier;
    let tokens = [
        MockIssuer::new("https://stranger.test").token("ada").sign(),
        fixture.jwt().claim("iss", format!("{own}/")).sign(),
        fixture.jwt().without("iss").sign(),
        "a.b.c".to_owned(),
        "a.b".to_owned(),
        "...".to_owned(),
        "opaque".to_owned(),
    ];
    for (index, token) in tokens.iter().enumerate() {
        assert_eq!(fixture.kind(token).await, None, "the issuer says that it is good");
        assert_eq!(fixture.fake.asked(), index + 1, "{token}");
    }
    fixture.respond_with(&json!({"active": false}));
    for token in &tokens {
        assert_eq!(fixture.kind(token).await, Some(AuthErrorKind::InvalidToken));
    }
}

/// Whatever was refused here gets no second chance (I14), also where the issuer would call anything active.
#[tokio::test]
async fn a_bent_jwt_of_a_known_issuer_is_refused_and_nobody_is_asked() {
    for fixture in [mixed().await, always_asking().await] {
        assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
        let asked = fixture.fake.asked();
        let stranger = MockIssuer::new("https://stranger.test");
        for token in [
            fixture.jwt().sign_with(&stranger),
            fixture.jwt().claim("exp", NOW - 31).sign(),
            fixture.jwt().claim("nbf", NOW + 31).sign(),
            fixture.jwt().audience("https://other.test").sign(),
            fixture.jwt().without("aud").sign(),
            fixture.jwt().without("sub").sign(),
            fixture.jwt().header("typ", "JWT").sign(),
            fixture.jwt().header("alg", "none").sign(),
            fixture.jwt().header("crit", json!(["x"])).sign(),
            fixture.jwt().header("kid", "nobody's").sign(),
            fixture.jwt().claim("exp", "soon").sign(),
        ] {
            assert!(fixture.get(&token).await.is_refusal(401, "invalid_token"), "{token}");
        }
        assert_eq!(fixture.fake.asked(), asked);
    }
}

/// Whose it is, anybody can read there.
fn names(token: &str, issuer: &str) -> bool {
    let Some(claims) = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok()) else {
        return false;
    };
    serde_json::from_slice::<Value>(&claims).is_ok_and(|claims| claims["iss"] == issuer)
}

#[tokio::test]
async fn no_forgery_that_names_a_known_issuer_is_sent_on() {
    for fixture in [mixed().await, always_asking().await] {
        assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
        let (mut kept, mut sent_on) = (0, Vec::new());
        // One of them has http for https, which is no change here.
        let unchanged = format!("iss {:?}", fixture.fake.identifier);
        for forgery in fixture.jwt().forgeries().into_iter().filter(|forgery| forgery.name() != unchanged) {
            let asked = fixture.fake.asked();
            let kind = fixture.kind(forgery.token()).await;
            if fixture.fake.asked() > asked {
                sent_on.push(forgery);
            } else {
                assert!(kind.is_some(), "{}", forgery.name());
                kept += 1;
            }
        }
        // Who names two issuers names none.
        sent_on.retain(|forgery| {
            names(forgery.token(), &fixture.fake.identifier) && !forgery.name().contains("iss twice")
        });
        let sent_on: Vec<_> = sent_on.iter().map(Forgery::name).collect();
        assert!(sent_on.is_empty(), "{sent_on:#?}");
        assert!(kept > 200, "{kept}");
    }
}

/// The issuer's answer takes the place of the claims, so it must not lose the key that a JWT is bound to.
#[tokio::test]
async fn a_bound_jwt_does_not_become_a_bearer_token_because_the_issuers_answer_is_silent_about_it() {
    let fixture = always_asking().await;
    for cnf in [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({}), Value::Null] {
        // The first of them waits for the keys.
        let answer = fixture.get(&fixture.jwt().claim("cnf", cnf).sign()).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{answer:?}");
        assert!(answer.challenges()[0].contains("bound to a key"), "{answer:?}");
    }
    assert_eq!(fixture.fake.asked(), 0);
    fixture.respond_with(&fixture.active_with("cnf", json!({"jkt": "x"})));
    assert!(fixture.get(&fixture.jwt().sign()).await.is_refusal(401, "invalid_token"), "nor the other way round");
}

#[tokio::test]
async fn while_the_issuer_is_down_jwts_keep_working_and_opaque_tokens_cannot_be_judged() {
    let fixture = mixed().await;
    assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
    for fault in [Answer::Reset, Answer::Status(503), Answer::Status(401), Answer::Body("<html>".to_owned())] {
        fixture.fake.introspection(fault.clone());
        fixture.fake.answer(fault);
        assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
        fixture.assert_unavailable("5", "opaque").await;
    }
    fixture.fake.introspection(Answer::Hang);
    fixture.fake.answer(Answer::Hang);
    assert_eq!(soon(fixture.kind(&fixture.jwt().sign())).await, None);
}

#[tokio::test]
async fn where_everything_is_asked_about_a_good_jwt_is_too_and_the_issuers_word_counts() {
    let fixture = always_asking().await;
    fixture.respond_with(&fixture.active_with("scope", json!("orders:write")));
    let token = fixture.authenticate(&fixture.jwt().scope("orders:read").sign()).await.unwrap();
    assert!(token.allows("orders:write") && !token.allows("orders:read"), "the handler sees the issuer's answer");
    let jwt = fixture.jwt().sign();
    assert_eq!(fixture.kind(&jwt).await, None);
    assert_eq!(fixture.fake.questions()[1].parameter("token").as_deref(), Some(&*jwt));
    fixture.respond_with(&json!({"active": false}));
    assert!(fixture.get(&jwt).await.is_refusal(401, "invalid_token"), "revoked");
    fixture.fake.introspection(Answer::Status(500));
    fixture.assert_unavailable("5", "opaque").await;
    assert_eq!(fixture.kind(&jwt).await, Some(AuthErrorKind::Unavailable), "nobody can tell whether it was revoked");
    assert_eq!(fixture.fake.asked(), 5);
}

#[tokio::test]
async fn a_jwt_whose_key_must_be_fetched_is_asked_about_after_it_was_verified() {
    let fixture = always_asking().await;
    // Cold: the keys come first.
    assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
    let paths = || -> Vec<String> {
        let heads = fixture.fake.requests();
        let paths = heads.iter().map(|head| head.split(' ').nth(1).unwrap().to_owned());
        paths.filter(|path| !path.contains("well-known")).collect()
    };
    assert_eq!(paths(), ["/jwks", "/introspect"]);
    // A new key, and a forged token that names it.
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    let new = fixture.fake.mint(Algorithm::EdDSA).with_clock(fixture.clock.clone());
    let forged = new.token("eve").sign_with(&MockIssuer::new("https://stranger.test").with_algorithm(Algorithm::EdDSA));
    assert!(fixture.get(&forged).await.is_refusal(401, "invalid_token"));
    assert_eq!(paths(), ["/jwks", "/introspect", "/jwks"]);
    assert_eq!(fixture.kind(&new.token("ada").sign()).await, None);
    assert_eq!(paths(), ["/jwks", "/introspect", "/jwks", "/introspect"]);
}

#[tokio::test]
async fn a_jwt_whose_key_never_comes_is_not_asked_about() {
    let fixture = always_asking().await;
    fixture.fake.answer(Answer::Status(500));
    assert_eq!(fixture.kind(&fixture.jwt().sign()).await, Some(AuthErrorKind::Unavailable), "cold, and no keys");
    fixture.fake.answer(Answer::Keys);
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
    assert_eq!(fixture.fake.asked(), 1);
    let unknown = fixture.jwt().header("kid", "nobody's").sign();
    assert_eq!(fixture.kind(&unknown).await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(fixture.fake.asked(), 1);
}

/// The second verifier needs what the request brought, also after a wait.
#[tokio::test]
async fn what_the_request_brought_is_there_for_the_second_verdict() {
    let fake = FakeIssuer::start().await;
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
    let jwks = fake.builder().clock(clock.clone()).build().unwrap();
    let jwt = JwtVerifier::builder(jwks, API).clock(clock.clone()).build().unwrap();
    let rest = says(|presented| {
        let tenant = presented.parts().headers.get("x-tenant").map_or("", |tenant| tenant.to_str().unwrap());
        let claims = json!({"sub": format!("{tenant} {:?} {}", presented.bearer_method(), presented.token().len())});
        Verdict::Now(presented.permit().token(&claims))
    });
    let fixture =
        IntrospectionFixture::with_verifier(fake, clock, JwtOrOpaque::builder(jwt, rest).require_both().build());
    let token = fixture.jwt().sign();
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_bytes()), ("x-tenant", b"acme".as_slice())];
    for warmth in ["cold", "warm"] {
        let answer = crate::support::get_with_headers(&fixture.app, "/me", &headers).await;
        assert_eq!(answer.body, format!("\"acme Authorization {}\"", token.len()), "{warmth}");
    }
}

#[tokio::test]
async fn several_issuers_know_their_own_tokens_too() {
    let (one, two) = (issuer(), MockIssuer::new("https://two.test"));
    let fake = FakeIssuer::start().await;
    let clock = ManualClock::default();
    let asked = fake.builder().clock(clock.clone()).build().unwrap();
    let introspection =
        || IntrospectionVerifier::builder(asked.clone(), client(), API).clock(clock.clone()).build().unwrap();
    let issuers = || TrustedIssuers::new([one.verifier(API), two.verifier(API)]).unwrap();
    let tenants = {
        let (one, two) = (one.clone(), two.clone());
        DynamicIssuers::new(move |named| {
            let known = [&one, &two].into_iter().find(|issuer| issuer.identifier() == named);
            known.map(|known| known.verifier(API))
        })
    };
    let nested = JwtOrOpaque::new(one.verifier(API), two.verifier(API));
    let benches = [
        IntrospectionFixture::with_verifier(
            FakeIssuer::start().await,
            clock.clone(),
            JwtOrOpaque::new(issuers(), introspection()),
        ),
        IntrospectionFixture::with_verifier(
            FakeIssuer::start().await,
            clock.clone(),
            JwtOrOpaque::new(tenants, introspection()),
        ),
        IntrospectionFixture::with_verifier(
            FakeIssuer::start().await,
            clock.clone(),
            JwtOrOpaque::new(nested, introspection()),
        ),
    ];
    let active = |member: &str, value: Value| {
        let mut answer = json!({"active": true, "aud": API, "sub": "grace"});
        answer[member] = value;
        fake.introspection(Answer::Body(answer.to_string()));
    };
    for fixture in benches {
        active("sub", json!("grace"));
        let before = fake.asked();
        for known in [&one, &two] {
            assert_eq!(fixture.authenticate(&known.token("ada").sign()).await.unwrap().subject(), Some("ada"));
            let forged = known.token("eve").sign_with(&MockIssuer::new("https://stranger.test"));
            assert_eq!(fixture.kind(&forged).await, Some(AuthErrorKind::InvalidToken));
        }
        assert_eq!(fake.asked(), before);
        let stranger = MockIssuer::new("https://stranger.test").token("ada").sign();
        for token in ["opaque", &stranger] {
            assert_eq!(fixture.authenticate(token).await.unwrap().subject(), Some("grace"));
        }
        assert_eq!(fake.asked(), before + 2);
    }
}

/// One after the other, the innermost first; and each verdict is the last word.
#[tokio::test]
async fn what_is_nested_hands_on_what_is_nobodys() {
    let opaque =
        |name: &'static str| says(move |presented| Verdict::Now(presented.permit().token(&json!({"sub": name}))));
    let inner = JwtOrOpaque::new(issuer().verifier(API), opaque("inner"));
    let fixture = IntrospectionFixture::with_verifier(
        FakeIssuer::start().await,
        ManualClock::default(),
        JwtOrOpaque::new(inner, opaque("outer")),
    );
    assert_eq!(fixture.authenticate("opaque").await.unwrap().subject(), Some("inner"));
    assert_eq!(fixture.authenticate(&issuer().token("ada").sign()).await.unwrap().subject(), Some("ada"));
    assert_eq!(fixture.kind(&issuer().token("ada").claim("exp", 1).sign()).await, Some(AuthErrorKind::InvalidToken));
    let asking = JwtOrOpaque::builder(issuer().verifier(API), opaque("inner")).require_both().build();
    let fixture = IntrospectionFixture::with_verifier(
        FakeIssuer::start().await,
        ManualClock::default(),
        JwtOrOpaque::new(asking, opaque("outer")),
    );
    assert_eq!(fixture.authenticate(&issuer().token("ada").sign()).await.unwrap().subject(), Some("inner"));
}
