//! `JwtOrOpaque` verifies JWTs of known issuers locally and introspects opaque tokens. The first verdict is final.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_oauth::{
    IntrospectionVerifier, JwtOrOpaque, JwtVerifier, OAuthLayer, ResourceServer,
    error::AuthErrorKind,
    keys::Algorithm,
    testing::{Forgery, ManualClock, MockIssuer, TokenBuilder},
    verify::{DynamicIssuers, IssuerInquiry, JwtOrOpaqueBuilder, TrustedIssuers, Verdict, Verify},
};

use crate::{
    fake_issuer::{Answer, FakeIssuer},
    introspection::{IntrospectionFixture, NOW, client, soon},
    support::{API, get_with_headers, issuer, router, verifier_from},
};

/// An API that verifies the fake issuer's JWTs locally and introspects opaque tokens.
async fn mixed_as<V: Verify>(
    configure: impl FnOnce(JwtOrOpaqueBuilder<JwtVerifier, IntrospectionVerifier>) -> V,
) -> IntrospectionFixture {
    let fake = FakeIssuer::start().await;
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
    let issuer = fake.builder().clock(clock.clone()).build().unwrap();
    let jwt = JwtVerifier::builder(issuer.clone(), API).clock(clock.clone()).build().unwrap();
    let introspection = IntrospectionVerifier::builder(issuer, client(), API).clock(clock.clone()).build().unwrap();
    IntrospectionFixture::with_verifier(fake, clock, configure(JwtOrOpaque::builder(jwt, introspection)))
}

async fn mixed() -> IntrospectionFixture {
    mixed_as(JwtOrOpaqueBuilder::build).await
}

async fn require_both_fixture() -> IntrospectionFixture {
    mixed_as(|builder| builder.require_both().build()).await
}

impl IntrospectionFixture {
    fn jwt(&self) -> TokenBuilder {
        self.fake.signer(Algorithm::ES256).with_clock(self.clock.clone()).token("ada")
    }
}

#[tokio::test]
async fn verifies_jwts_of_a_known_issuer_locally_and_introspects_the_rest() {
    let fixture = mixed().await;
    assert_eq!(fixture.authenticate(&fixture.jwt().sign()).await.unwrap().subject(), Some("ada"));
    assert_eq!(fixture.fake.introspection_count(), 0);
    fixture.respond_with(&fixture.active_with("sub", json!("grace")));
    assert_eq!(fixture.authenticate("opaque").await.unwrap().subject(), Some("grace"));
    assert_eq!(fixture.fake.introspection_count(), 1);
    fixture.respond_with(&json!({"active": false}));
    assert!(fixture.get("opaque").await.is_refusal(401, "invalid_token"));
    assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
    assert_eq!(fixture.fake.introspection_count(), 2);
}

/// Threat V8
#[tokio::test]
async fn introspects_only_tokens_that_do_not_have_the_form_of_a_jwt() {
    let fixture = mixed().await;
    let opaque = ["a.b.c", "a.b", "...", "opaque", "v2.local.bG9uZw", "e30", "eyJ", "YWJj.ZGVm.Z2hp"];
    for (index, token) in opaque.iter().enumerate() {
        assert_eq!(fixture.kind(token).await, None, "the issuer responds that the token is active");
        assert_eq!(fixture.fake.introspection_count(), index + 1, "{token}");
    }
    fixture.respond_with(&json!({"active": false}));
    for token in opaque {
        assert_eq!(fixture.kind(token).await, Some(AuthErrorKind::InvalidToken));
    }
}

/// JWTs of other issuers, and malformed ones of our own, all with a header that a JWT has.
fn foreign_and_bent(fixture: &IntrospectionFixture) -> (Vec<String>, Vec<String>) {
    let own = &fixture.fake.identifier;
    let encode = |text: &[u8]| URL_SAFE_NO_PAD.encode(text);
    let signed = fixture.jwt().sign();
    let [header, payload, signature] = signed.split('.').collect::<Vec<_>>()[..] else { panic!("{signed}") };
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let with_payload = |payload: &[u8]| format!("{header}.{}.{signature}", encode(payload));
    let with_header = |header: &[u8]| format!("{}.{payload}.{signature}", encode(header));
    let foreign = vec![
        MockIssuer::new("https://untrusted.test").token("ada").sign(),
        fixture.jwt().claim("iss", format!("{own}/")).sign(),
        fixture.jwt().claim("iss", own.to_uppercase()).sign(),
    ];
    let bent = vec![
        fixture.jwt().without_claim("iss").sign(),
        fixture.jwt().claim("iss", json!([own])).sign(),
        with_payload(format!("{{\"iss\":\"{own}\",{}", &claims[1..]).as_bytes()),
        with_payload(format!("{claims} x").as_bytes()),
        with_payload(format!("{claims}{claims}").as_bytes()),
        with_payload(format!("\u{feff}{claims}").as_bytes()),
        with_payload(format!("[{claims}]").as_bytes()),
        with_payload(b"{"),
        format!("{header}..{signature}"),
        format!("{header}."),
        format!("{header}.{payload}.{signature}.{signature}"),
        with_header(b" {\"alg\":\"ES256\"}").replace(payload, "x"),
        with_header(b"\xef\xbb\xbf{\"alg\":\"ES256\"}").replace(payload, "x"),
        with_header(b"{\"alg\":\"dir\",\"enc\":\"A256GCM\"}").replace(payload, ""),
        with_header(b"{").replace(payload, "x"),
    ];
    (foreign, bent)
}

/// Threat V8
#[tokio::test]
async fn refuses_foreign_and_malformed_jwts_without_introspection() {
    let fixture = mixed().await;
    let (foreign, bent) = foreign_and_bent(&fixture);
    for token in foreign.iter().chain(&bent) {
        let answer = fixture.get(token).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{token}: {answer:?}");
    }
    assert_eq!(fixture.fake.introspection_count(), 0);
}

/// Threat V8
#[tokio::test]
async fn introspects_foreign_jwts_only_if_asked_to_and_never_malformed_ones() {
    let fixture = mixed_as(|builder| builder.introspect_foreign_jwts().build()).await;
    let (foreign, bent) = foreign_and_bent(&fixture);
    for (index, token) in foreign.iter().enumerate() {
        assert_eq!(fixture.kind(token).await, None, "{token}");
        assert_eq!(fixture.fake.introspection_count(), index + 1);
    }
    for token in &bent {
        assert_eq!(fixture.kind(token).await, Some(AuthErrorKind::InvalidToken), "{token}");
    }
    assert_eq!(fixture.fake.introspection_count(), foreign.len());
}

/// The local refusal is final (I14), although the issuer here responds that every token is active.
///
/// Threat I14
#[tokio::test]
async fn refuses_an_invalid_jwt_of_a_known_issuer_without_introspection() {
    for fixture in [mixed().await, require_both_fixture().await] {
        assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
        let before = fixture.fake.introspection_count();
        let untrusted = MockIssuer::new("https://untrusted.test");
        for token in [
            fixture.jwt().sign_with(&untrusted),
            fixture.jwt().claim("exp", NOW - 31).sign(),
            fixture.jwt().claim("nbf", NOW + 31).sign(),
            fixture.jwt().audience("https://other.test").sign(),
            fixture.jwt().without_claim("aud").sign(),
            fixture.jwt().without_claim("sub").sign(),
            fixture.jwt().header("typ", "JWT").sign(),
            fixture.jwt().header("alg", "none").sign(),
            fixture.jwt().header("crit", json!(["x"])).sign(),
            fixture.jwt().header("kid", "unknown").sign(),
            fixture.jwt().claim("exp", "soon").sign(),
        ] {
            assert!(fixture.get(&token).await.is_refusal(401, "invalid_token"), "{token}");
        }
        assert_eq!(fixture.fake.introspection_count(), before);
    }
}

/// Whether the claims name this issuer. Does not verify the signature.
fn has_issuer(token: &str, issuer: &str) -> bool {
    let Some(claims) = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok()) else {
        return false;
    };
    serde_json::from_slice::<Value>(&claims).is_ok_and(|claims| claims["iss"] == issuer)
}

/// Threat I14
#[tokio::test]
async fn never_introspects_a_forgery_that_names_a_known_issuer() {
    for fixture in [mixed().await, require_both_fixture().await] {
        assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
        let (mut refused_locally, mut introspected) = (0, Vec::new());
        // The forgery that replaces https by http does not change this issuer's identifier.
        let unchanged = format!("iss {:?}", fixture.fake.identifier);
        for forgery in fixture.jwt().forgeries().into_iter().filter(|forgery| forgery.name() != unchanged) {
            let before = fixture.fake.introspection_count();
            let kind = fixture.kind(forgery.token()).await;
            if fixture.fake.introspection_count() > before {
                introspected.push(forgery);
            } else {
                assert!(kind.is_some(), "{}", forgery.name());
                refused_locally += 1;
            }
        }
        // A token with two `iss` claims names no issuer.
        introspected.retain(|forgery| {
            has_issuer(forgery.token(), &fixture.fake.identifier) && !forgery.name().contains("iss twice")
        });
        let introspected: Vec<_> = introspected.iter().map(Forgery::name).collect();
        assert!(introspected.is_empty(), "{introspected:#?}");
        assert!(refused_locally > 200, "{refused_locally}");
    }
}

/// Threat I14
#[tokio::test]
async fn never_passes_on_a_jwt_with_other_text_around_it_in_an_accepted_header() {
    let accept_all = verifier_from(|presented| Verdict::Now(presented.permit().token(&json!({"sub": "opaque"}))));
    let verifier = JwtOrOpaque::new(issuer().verifier(API), accept_all);
    let server = ResourceServer::builder(verifier).accept_header("x-token").build().unwrap();
    let app = router().layer(OAuthLayer::from_server(server));
    let get = async |value: &str| get_with_headers(&app, "/me", &[("x-token", value.as_bytes())]).await;
    let expired = issuer().token("ada").claim("exp", 1).sign();
    let (header, rest) = expired.split_once('.').unwrap();
    let padded = format!("{header}{}.{rest}==", "=".repeat((4 - header.len() % 4) % 4));
    for jwt in [&expired, &padded] {
        for before in ["", " ", "Bearer ", "JWT:", "\"", "{", "token=", "a=\"", "Bearer  \"", "<a> ; "] {
            for after in ["", " ", "\"", ", x"] {
                let value = format!("{before}{jwt}{after}");
                assert!(get(&value).await.is_refusal(401, "invalid_token"), "{value}");
            }
        }
    }
    assert_eq!(get(&issuer().token("ada").sign()).await.body, "\"ada\"");
    for opaque in ["opaque", "a b.c", "{\"user\": \"x.y\"}", "a=b; c=d.e"] {
        assert_eq!(get(opaque).await.body, "\"opaque\"", "{opaque}");
    }
}

/// The introspection response replaces the claims of the JWT, but it must not remove the key that the JWT is bound to.
///
/// RFC 9449 §6.2 a (MUST, refuses)
#[tokio::test]
async fn refuses_a_bound_jwt_even_if_the_introspection_response_has_no_cnf() {
    let fixture = require_both_fixture().await;
    for cnf in [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({}), Value::Null] {
        // The first request waits for the key set.
        let answer = fixture.get(&fixture.jwt().claim("cnf", cnf).sign()).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{answer:?}");
        assert!(answer.challenges()[0].contains("bound to a key"), "{answer:?}");
    }
    assert_eq!(fixture.fake.introspection_count(), 0);
    fixture.respond_with(&fixture.active_with("cnf", json!({"jkt": "x"})));
    assert!(
        fixture.get(&fixture.jwt().sign()).await.is_refusal(401, "invalid_token"),
        "also refuses a JWT if only the response has a cnf"
    );
}

/// Threat I17
#[tokio::test]
async fn accepts_jwts_but_not_opaque_tokens_while_the_issuer_is_down() {
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
async fn require_both_introspects_valid_jwts_and_uses_the_response() {
    let fixture = require_both_fixture().await;
    fixture.respond_with(&fixture.active_with("scope", json!("orders:write")));
    let token = fixture.authenticate(&fixture.jwt().scope("orders:read").sign()).await.unwrap();
    assert!(
        token.allows("orders:write") && !token.allows("orders:read"),
        "the handler must get the claims of the response"
    );
    let jwt = fixture.jwt().sign();
    assert_eq!(fixture.kind(&jwt).await, None);
    assert_eq!(fixture.fake.introspection_requests()[1].parameter("token").as_deref(), Some(&*jwt));
    fixture.respond_with(&json!({"active": false}));
    assert!(fixture.get(&jwt).await.is_refusal(401, "invalid_token"), "revoked");
    fixture.fake.introspection(Answer::Status(500));
    fixture.assert_unavailable("5", "opaque").await;
    assert_eq!(
        fixture.kind(&jwt).await,
        Some(AuthErrorKind::Unavailable),
        "the JWT may be revoked, so it must not be accepted"
    );
    assert_eq!(fixture.fake.introspection_count(), 5);
}

/// Threat I14
#[tokio::test]
async fn require_both_fetches_the_key_and_verifies_before_introspection() {
    let fixture = require_both_fixture().await;
    // No key is cached: the verifier fetches the key set first.
    assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
    let paths = || -> Vec<String> {
        let heads = fixture.fake.requests();
        let paths = heads.iter().map(|head| head.split(' ').nth(1).unwrap().to_owned());
        paths.filter(|path| !path.contains("well-known")).collect()
    };
    assert_eq!(paths(), ["/jwks", "/introspect"]);
    // The issuer publishes a new key; a forged token has its kid.
    fixture.fake.publish(&[Algorithm::ES256, Algorithm::EdDSA]);
    let new = fixture.fake.signer(Algorithm::EdDSA).with_clock(fixture.clock.clone());
    let forged =
        new.token("eve").sign_with(&MockIssuer::new("https://untrusted.test").with_algorithm(Algorithm::EdDSA));
    assert!(fixture.get(&forged).await.is_refusal(401, "invalid_token"));
    assert_eq!(paths(), ["/jwks", "/introspect", "/jwks"]);
    assert_eq!(fixture.kind(&new.token("ada").sign()).await, None);
    assert_eq!(paths(), ["/jwks", "/introspect", "/jwks", "/introspect"]);
}

#[tokio::test]
async fn require_both_never_introspects_a_jwt_whose_key_is_unavailable() {
    let fixture = require_both_fixture().await;
    fixture.fake.answer(Answer::Status(500));
    assert_eq!(
        fixture.kind(&fixture.jwt().sign()).await,
        Some(AuthErrorKind::Unavailable),
        "no key is cached, and the issuer returns none"
    );
    fixture.fake.answer(Answer::Keys);
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(fixture.kind(&fixture.jwt().sign()).await, None);
    assert_eq!(fixture.fake.introspection_count(), 1);
    let unknown = fixture.jwt().header("kid", "unknown").sign();
    assert_eq!(fixture.kind(&unknown).await, Some(AuthErrorKind::InvalidToken));
    assert_eq!(fixture.fake.introspection_count(), 1);
}

/// The second verifier needs the headers and the bearer method, also if the first one waited for a key.
#[tokio::test]
async fn the_second_verifier_gets_the_parts_of_the_request() {
    let fake = FakeIssuer::start().await;
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
    let jwks = fake.builder().clock(clock.clone()).build().unwrap();
    let jwt = JwtVerifier::builder(jwks, API).clock(clock.clone()).build().unwrap();
    let rest = verifier_from(|presented| {
        let tenant = presented.parts().headers.get("x-tenant").map_or("", |tenant| tenant.to_str().unwrap());
        let claims = json!({"sub": format!("{tenant} {:?} {}", presented.bearer_method(), presented.token().len())});
        Verdict::Now(presented.permit().token(&claims))
    });
    let fixture =
        IntrospectionFixture::with_verifier(fake, clock, JwtOrOpaque::builder(jwt, rest).require_both().build());
    let token = fixture.jwt().sign();
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", authorization.as_bytes()), ("x-tenant", b"acme".as_slice())];
    for key_cache in ["no key cached", "key cached"] {
        let answer = get_with_headers(&fixture.app, "/me", &headers).await;
        assert_eq!(answer.body, format!("\"acme Authorization {}\"", token.len()), "{key_cache}");
    }
}

#[tokio::test]
async fn never_introspects_tokens_of_any_of_several_known_issuers() {
    let (one, two) = (issuer(), MockIssuer::new("https://two.test"));
    let fake = FakeIssuer::start().await;
    let clock = ManualClock::default();
    let issuer_of_opaque = fake.builder().clock(clock.clone()).build().unwrap();
    let introspection = || {
        IntrospectionVerifier::builder(issuer_of_opaque.clone(), client(), API).clock(clock.clone()).build().unwrap()
    };
    let issuers = || TrustedIssuers::new([one.verifier(API), two.verifier(API)]).unwrap();
    let tenants = {
        let (one, two) = (one.clone(), two.clone());
        DynamicIssuers::new(move |inquiry: IssuerInquiry| {
            let known = [&one, &two].into_iter().find(|issuer| issuer.identifier() == inquiry.issuer());
            std::future::ready(known.map(|known| known.verifier(API)))
        })
    };
    let nested = JwtOrOpaque::new(one.verifier(API), two.verifier(API));
    let fixtures = [
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
    for fixture in fixtures {
        active("sub", json!("grace"));
        let before = fake.introspection_count();
        for known in [&one, &two] {
            assert_eq!(fixture.authenticate(&known.token("ada").sign()).await.unwrap().subject(), Some("ada"));
            let forged = known.token("eve").sign_with(&MockIssuer::new("https://untrusted.test"));
            assert_eq!(fixture.kind(&forged).await, Some(AuthErrorKind::InvalidToken));
        }
        assert_eq!(fake.introspection_count(), before);
        let untrusted = MockIssuer::new("https://untrusted.test").token("ada").sign();
        assert_eq!(fixture.kind(&untrusted).await, Some(AuthErrorKind::InvalidToken));
        assert_eq!(fixture.authenticate("opaque").await.unwrap().subject(), Some("grace"));
        assert_eq!(fake.introspection_count(), before + 1);
    }
}

/// The innermost verifier decides first, and each verdict is final.
#[tokio::test]
async fn the_inner_of_two_nested_verifiers_gives_the_final_verdict() {
    let opaque = |name: &'static str| {
        verifier_from(move |presented| Verdict::Now(presented.permit().token(&json!({"sub": name}))))
    };
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
