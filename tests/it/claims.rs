//! Judging the claims (RFC 7519 §4.1, RFC 9068 §4; THREATS section 6), and the verifier's settings.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use http::Request;
use serde_json::{Value, json};
use tower_oauth::{
    AuthError, Issuer, JwtVerifier, ResourceServer, Token,
    acts_for::ActsFor,
    error::AuthErrorKind,
    keys::{Algorithm, HmacAlgorithm, SharedSecret},
    testing::{ManualClock, MockIssuer, TokenBuilder},
    verify::{JwtVerifierBuilder, OptionalClaim},
};

use crate::support::{API, ISSUER, get_with_token, issuer, router};

const NOW: u64 = 1_800_000_000;

/// A verifier whose clock stands at [`NOW`], and the issuer it trusts.
struct Desk {
    issuer: MockIssuer,
    clock: ManualClock,
    server: ResourceServer,
}

fn desk() -> Desk {
    desk_with(|verifier| verifier)
}

fn desk_with(say: impl FnOnce(JwtVerifierBuilder) -> JwtVerifierBuilder) -> Desk {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
    let issuer = issuer().with_clock(clock.clone());
    let server = ResourceServer::new(say(issuer.verifier_builder(API)).build().unwrap());
    Desk { issuer, clock, server }
}

impl Desk {
    fn token(&self) -> TokenBuilder {
        self.issuer.token("ada").scope("orders:read")
    }

    async fn judge(&self, token: &str) -> Result<Token, AuthError> {
        let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
        self.server.authenticate(&request.into_parts().0).await
    }

    /// Accepted, or refused as `invalid_token`; nothing else may come of a claim.
    async fn accepts(&self, token: &TokenBuilder) -> bool {
        self.accepts_signed(&token.sign()).await
    }

    async fn accepts_signed(&self, token: &str) -> bool {
        match self.judge(token).await {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error.kind(), AuthErrorKind::InvalidToken, "{error}");
                false
            }
        }
    }

    /// The good token with `name` spelled as `json`, which no JSON value of Rust's may be able to hold.
    fn spelled(&self, name: &str, json: &str) -> String {
        let token = self.token().without(name);
        let claims = token.claims_json().replacen('{', &format!("{{\"{name}\":{json},"), 1);
        token.sign_raw(token.header_json(), claims)
    }

    async fn refuses_all(&self, name: &str, values: impl IntoIterator<Item = Value>) {
        for value in values {
            assert!(!self.accepts(&self.token().claim(name, value.clone())).await, "{name} {value}");
        }
    }
}

// --- exp, nbf, iat ---

#[tokio::test]
async fn exp_must_be_there_and_a_number() {
    let desk = desk();
    assert!(desk.accepts(&desk.token()).await);
    assert!(!desk.accepts(&desk.token().without("exp")).await);
    let wrong = [
        json!("9999999999"),
        json!("never"),
        Value::Null,
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!([NOW + 9]),
    ];
    desk.refuses_all("exp", wrong).await;
    desk.refuses_all("exp", [json!(0), json!(-1), json!(-0.0), json!(-1e308), json!(i64::MIN), json!(NOW - 400)]).await;
}

#[tokio::test]
async fn nbf_and_iat_of_a_wrong_type_are_never_taken_for_absent() {
    let desk = desk();
    for name in ["nbf", "iat"] {
        let wrong =
            [json!("0"), json!(format!("{NOW}")), json!("9999999999"), Value::Null, json!(true), json!([]), json!({})];
        desk.refuses_all(name, wrong).await;
        assert!(desk.accepts(&desk.token().claim(name, NOW)).await, "{name}");
    }
    assert!(desk.accepts(&desk.token().without("nbf")).await);
}

#[tokio::test]
async fn a_token_is_accepted_until_exactly_its_expiry_and_the_leeway() {
    for leeway in [0, 30, 300] {
        let desk = desk_with(|verifier| verifier.leeway(Duration::from_secs(leeway)));
        let token = desk.token().claim("exp", NOW + 10).sign();
        let end = UNIX_EPOCH + Duration::from_secs(NOW + 10 + leeway);
        for (now, accepted) in [
            (end - Duration::from_secs(1), true),
            (end - Duration::from_millis(1), true),
            (end, false),
            (end + Duration::from_secs(1), false),
        ] {
            desk.clock.set(now);
            assert_eq!(desk.accepts_signed(&token).await, accepted, "leeway {leeway}, {now:?}");
        }
    }
}

#[tokio::test]
async fn a_token_is_accepted_from_exactly_nbf_and_iat_less_the_leeway() {
    for (name, leeway) in [("nbf", 0), ("nbf", 30), ("iat", 0), ("iat", 30)] {
        let desk = desk_with(|verifier| verifier.leeway(Duration::from_secs(leeway)));
        let token = desk.token().claim(name, NOW + 100).sign();
        let start = UNIX_EPOCH + Duration::from_secs(NOW + 100 - leeway);
        for (now, accepted) in
            [(start - Duration::from_secs(1), false), (start - Duration::from_millis(1), false), (start, true)]
        {
            desk.clock.set(now);
            assert_eq!(desk.accepts_signed(&token).await, accepted, "{name}, leeway {leeway}, {now:?}");
        }
    }
}

#[tokio::test]
async fn the_leeway_is_30_seconds_unless_said() {
    let desk = desk();
    for (exp, accepted) in [(NOW - 29, true), (NOW - 30, false), (NOW - 120, false), (NOW - 400, false)] {
        assert_eq!(desk.accepts(&desk.token().claim("exp", exp)).await, accepted, "exp {exp}");
    }
    for name in ["nbf", "iat"] {
        for (from, accepted) in [(NOW + 30, true), (NOW + 31, false), (NOW + 120, false)] {
            assert_eq!(desk.accepts(&desk.token().claim(name, from)).await, accepted, "{name} {from}");
        }
    }
}

#[tokio::test]
async fn dates_may_have_fractions_and_exponents() {
    let desk = desk();
    for exp in ["1800000100.5", "1800000100.0", "1.8000001e9", "1800000100.000000001", "18000001E2"] {
        let token = desk.judge(&desk.spelled("exp", exp)).await.unwrap();
        assert!(token.expires_at().unwrap() >= UNIX_EPOCH + Duration::from_secs(NOW + 100), "{exp}");
    }
    for (name, value) in
        [("nbf", "1799999999.75"), ("iat", "1.799999999e9"), ("nbf", "0"), ("nbf", "-1.5"), ("iat", "0.25")]
    {
        assert!(desk.accepts_signed(&desk.spelled(name, value)).await, "{name} {value}");
    }
    assert!(!desk.accepts_signed(&desk.spelled("exp", "1799999960.5")).await);
    assert!(!desk.accepts_signed(&desk.spelled("nbf", "1800000030.5")).await);
}

#[tokio::test]
async fn huge_and_tiny_numbers_are_answered_and_never_panic() {
    let huge = [
        "18446744073709551615",
        "9223372036854775807",
        "-9223372036854775808",
        "1e308",
        "-1e308",
        "99999999999999999999",
        "1e-308",
        "5e-324",
        "-0.0",
        "340282366920938463463374607431768211456",
        "253402300800",
    ];
    let digits = "9".repeat(4_000);
    for leeway in [0, 300] {
        let desk = desk_with(|verifier| verifier.leeway(Duration::from_secs(leeway)));
        for number in huge.into_iter().chain(["1e400", "-1e400", &digits, "NaN", "Infinity"]) {
            for name in ["exp", "nbf", "iat", "auth_time"] {
                let judged = desk.judge(&desk.spelled(name, number)).await;
                if let Ok(token) = judged {
                    // Whatever was accepted can be asked about.
                    let _ = (token.expires_at(), token.issued_at(), token.authenticated_at());
                }
            }
        }
        for (name, number) in [
            ("nbf", "18446744073709551615"),
            ("nbf", "1e308"),
            ("iat", "1e308"),
            ("exp", "1e400"),
            ("exp", "1e308"),
            ("iat", "-1"),
        ] {
            assert!(!desk.accepts_signed(&desk.spelled(name, number)).await, "{name} {number}");
        }
    }
}

#[tokio::test]
async fn an_exp_beyond_the_year_9999_is_no_date() {
    let desk = desk();
    assert!(desk.accepts(&desk.token().claim("exp", 253_402_300_799_u64)).await);
    desk.refuses_all("exp", [json!(253_402_300_800_u64), json!(u64::MAX), json!(i64::MAX), json!(1e308)]).await;
}

#[tokio::test]
async fn a_clock_before_1970_does_not_panic() {
    let desk = desk();
    let token = desk.token();
    desk.clock.set(UNIX_EPOCH - Duration::from_secs(1_000));
    assert!(!desk.accepts(&token).await, "issued in the future");
}

// --- aud and iss ---

#[tokio::test]
async fn aud_must_contain_our_identifier_exactly() {
    let desk = desk();
    for good in [json!(API), json!([API]), json!(["https://x.test", API]), json!([API, API])] {
        assert!(desk.accepts(&desk.token().claim("aud", good.clone())).await, "{good}");
    }
    assert!(!desk.accepts(&desk.token().without("aud")).await);
    let foreign = [
        "https://x.test",
        "https://api.tes",
        "https://api.test2",
        "ttps://api.test",
        "https://api.test/",
        "https://API.test",
        "https://api.test:443",
        "https://api.test\0",
        "https://api.test https://x.test",
        "https://api.test,https://x.test",
        "*",
        "",
        "http://api.test",
        " https://api.test",
        "https://api.test/orders",
    ];
    desk.refuses_all("aud", foreign.map(Value::from)).await;
    desk.refuses_all("aud", foreign.map(|aud| json!([aud]))).await;
    let wrong = [
        json!([]),
        json!([[API]]),
        json!([API, 1]),
        json!([API, null]),
        json!({API: true}),
        json!(5),
        Value::Null,
        json!(true),
    ];
    desk.refuses_all("aud", wrong).await;
}

#[tokio::test]
async fn several_audiences_may_be_ours() {
    let desk = desk_with(|verifier| verifier.audience("urn:orders").audience("urn:invoices"));
    for ours in [json!(API), json!("urn:orders"), json!(["urn:x", "urn:invoices"])] {
        let token = desk.judge(&desk.token().claim("aud", ours.clone()).sign()).await.unwrap();
        let named: Vec<_> = token.audience().collect();
        assert_eq!(json!(named), if ours.is_array() { ours } else { json!([ours]) });
    }
    desk.refuses_all("aud", [json!("urn:order"), json!("urn:"), json!(["urn:x"]), json!([])]).await;
}

#[tokio::test]
async fn iss_must_be_the_issuers_identifier_exactly() {
    let desk = desk();
    assert_eq!(desk.judge(&desk.token().sign()).await.unwrap().issuer(), Some(ISSUER));
    assert!(!desk.accepts(&desk.token().without("iss")).await);
    let others = [
        "https://auth.test/",
        "https://AUTH.test",
        "https://auth.tes",
        "https://auth.testx",
        "http://auth.test",
        "h",
        "",
        "https://localhost",
        "https://auth.test\0",
        " https://auth.test",
        "https://auth.test https://x.test",
    ];
    desk.refuses_all("iss", others.map(Value::from)).await;
    desk.refuses_all("iss", [json!([ISSUER]), json!([ISSUER, "x"]), json!(5), Value::Null, json!({})]).await;
}

#[tokio::test]
async fn a_token_of_another_issuer_with_its_own_key_is_refused() {
    let desk = desk();
    let stranger = MockIssuer::new("https://stranger.test").with_clock(desk.clock.clone());
    for token in [stranger.token("ada"), stranger.token("ada").claim("iss", ISSUER)] {
        assert!(!desk.accepts(&token).await);
        assert!(!desk.accepts(&token.header("kid", desk.issuer.key_id())).await);
    }
}

#[tokio::test]
async fn a_forged_token_that_also_expired_is_told_as_forged() {
    let desk = desk();
    let stranger = MockIssuer::new("https://stranger.test");
    let expired = desk.token().claim("exp", NOW - 400).audience("https://x.test");
    let forged = desk.judge(&expired.sign_with(&stranger)).await.unwrap_err();
    let genuine = desk.judge(&desk.token().claim("exp", NOW - 400).sign()).await.unwrap_err();
    assert_eq!(
        (forged.description(), genuine.description()),
        ("The access token is invalid", "The access token expired")
    );
    let unknown_key = desk.token().header("kid", "nobody's").sign_with(&stranger);
    assert_eq!(desk.judge(&unknown_key).await.unwrap_err().description(), forged.description(), "told alike");
}

// --- the claims that RFC 9068 §2.2 requires ---

#[tokio::test]
async fn sub_client_id_iat_and_jti_are_required_unless_said() {
    for (name, claim) in [
        ("sub", OptionalClaim::Subject),
        ("client_id", OptionalClaim::ClientId),
        ("iat", OptionalClaim::IssuedAt),
        ("jti", OptionalClaim::JwtId),
    ] {
        let (strict, lenient) = (desk(), desk_with(|verifier| verifier.accept_without(claim)));
        assert!(!strict.accepts(&strict.token().without(name)).await, "{name}");
        assert!(lenient.accepts(&lenient.token().without(name)).await, "{name}");
        assert!(lenient.accepts(&lenient.token()).await, "{name}");
        for other in ["sub", "client_id", "iat", "jti"].into_iter().filter(|other| *other != name) {
            assert!(
                !lenient.accepts(&lenient.token().without(other)).await,
                "without {name}, but also without {other}"
            );
        }
        let error = strict.judge(&strict.token().without(name).sign()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the token lacks {name}"));
    }
}

#[tokio::test]
async fn iss_aud_and_exp_are_required_whatever_was_said() {
    let desk = desk_with(|verifier| {
        let all = [OptionalClaim::Subject, OptionalClaim::ClientId, OptionalClaim::IssuedAt, OptionalClaim::JwtId];
        all.into_iter().fold(verifier.accept_plain_jwt_type(), JwtVerifierBuilder::accept_without)
    });
    for name in ["iss", "aud", "exp"] {
        assert!(!desk.accepts(&desk.token().without(name)).await, "{name}");
    }
}

#[tokio::test]
async fn sub_client_id_and_jti_must_be_text_and_not_blank() {
    let desk = desk();
    for name in ["sub", "client_id", "jti"] {
        desk.refuses_all(name, [json!(5), Value::Null, json!(true), json!(["ada"]), json!({"id": "ada"}), json!("")])
            .await;
    }
    let odd = "\"</script>\u{2028}\0 \\ \u{1f980} \u{e4}";
    let token = desk.judge(&desk.token().claim("sub", odd).sign()).await.unwrap();
    assert_eq!(token.subject(), Some(odd), "any text comes through unchanged");
}

#[tokio::test]
async fn names_that_mean_something_in_other_languages_mean_nothing_here() {
    let desk = desk();
    let odd = desk.token().claim("__proto__", json!({"scope": "admin", "sub": "eve"})).claim("constructor", "x");
    let token = desk.judge(&odd.claim("toString", 1).sign()).await.unwrap();
    assert_eq!((token.subject(), token.allows("admin")), (Some("ada"), false));
}

#[tokio::test]
async fn the_facts_are_the_tokens() {
    let desk = desk();
    let token = desk.token().claim("acr", "urn:mfa").claim("auth_time", NOW - 5).claim("jti", "j1").sign();
    let token = desk.judge(&token).await.unwrap();
    let at = |seconds| Some(UNIX_EPOCH + Duration::from_secs(seconds));
    assert_eq!((token.issuer(), token.subject(), token.client_id()), (Some(ISSUER), Some("ada"), Some("test-client")));
    assert_eq!((token.jwt_id(), token.authentication_context()), (Some("j1"), Some("urn:mfa")));
    assert_eq!(
        (token.issued_at(), token.expires_at(), token.authenticated_at()),
        (at(NOW), at(NOW + 300), at(NOW - 5))
    );
    assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["orders:read"]);
    assert_eq!(token.audience().collect::<Vec<_>>(), [API]);
}

#[tokio::test]
async fn a_token_acts_for_a_person_or_for_its_client() {
    let desk =
        desk_with(|verifier| verifier.accept_without(OptionalClaim::Subject).accept_without(OptionalClaim::ClientId));
    let rows = [
        (desk.token(), ActsFor::User),
        (desk.issuer.client_token("batch"), ActsFor::Client),
        (desk.token().without("sub"), ActsFor::Client),
        (desk.token().without("client_id"), ActsFor::Unknown),
        (desk.token().without("sub").without("client_id"), ActsFor::Client),
        (desk.token().claim("sub", "BATCH").client_id("batch"), ActsFor::User),
    ];
    for (token, acts_for) in rows {
        assert_eq!(desk.judge(&token.sign()).await.unwrap().acts_for(), acts_for, "{}", token.claims_json());
    }
}

// --- cnf, typ ---

#[tokio::test]
async fn a_sender_bound_token_is_no_bearer_token() {
    let desk = desk();
    let bound = [json!({"jkt": "x"}), json!({"x5t#S256": "x"}), json!({"jwk": {}}), json!({}), json!("x"), Value::Null];
    desk.refuses_all("cnf", bound).await;
    assert!(desk.accepts(&desk.token().claim("cnfx", json!({"jkt": "x"}))).await);
}

#[tokio::test]
async fn typ_must_be_that_of_an_access_token_in_any_case() {
    let desk = desk();
    for typ in ["at+jwt", "AT+JWT", "at+JWT", "application/at+jwt", "Application/AT+JWT"] {
        assert!(desk.accepts(&desk.token().header("typ", typ)).await, "{typ}");
    }
    let others = [
        "JWT",
        "jwt",
        "",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
        "oauth-client-attestation+jwt",
        "txn_token+jwt",
        "application/jwt",
        "at+jwt ",
        " at+jwt",
        "at+jwt;a=b",
        "application/application/at+jwt",
        "at",
        "a\u{fe0f}t+jwt",
    ];
    for typ in others {
        assert!(!desk.accepts(&desk.token().header("typ", typ)).await, "{typ}");
    }
    assert!(!desk.accepts(&desk.token().without_header("typ")).await);
}

#[tokio::test]
async fn a_plain_type_is_accepted_only_where_it_was_asked_for() {
    let desk = desk_with(JwtVerifierBuilder::accept_plain_jwt_type);
    assert!(desk.accepts(&desk.token()).await);
    for typ in ["JWT", "jwt", "at+jwt"] {
        assert!(desk.accepts(&desk.token().header("typ", typ)).await, "{typ}");
    }
    assert!(desk.accepts(&desk.token().without_header("typ")).await);
    for typ in ["logout+jwt", "dpop+jwt", "application/jwt", "", "secevent+jwt"] {
        assert!(!desk.accepts(&desk.token().header("typ", typ)).await, "{typ}");
    }
    assert!(!desk.accepts(&desk.token().header("typ", Value::Null)).await, "null is not absent");
}

#[tokio::test]
async fn an_id_token_is_no_access_token_even_if_it_names_us() {
    let desk = desk();
    let id_token = desk
        .token()
        .header("typ", "JWT")
        .claim("aud", json!(["client", API]))
        .claim("nonce", "n")
        .claim("azp", "client");
    assert!(!desk.accepts(&id_token).await);
    let lenient = desk_with(JwtVerifierBuilder::accept_plain_jwt_type);
    assert!(!lenient.accepts(&id_token.audience("client")).await, "then the audience is what is left");
}

// --- scopes and clients from other members ---

#[tokio::test]
async fn scopes_are_read_from_a_string_and_from_an_array_of_names() {
    let desk = desk();
    for scope in [json!("a b"), json!(["a", "b"])] {
        let token = desk.judge(&desk.token().claim("scope", scope).sign()).await.unwrap();
        assert_eq!(token.scopes().iter().collect::<Vec<_>>(), ["a", "b"]);
        assert!(token.allows("a") && token.allows("b") && !token.allows("a b") && !token.allows(""));
    }
    let none = desk.judge(&desk.token().without("scope").sign()).await.unwrap();
    assert!(none.scopes().is_empty());
}

#[tokio::test]
async fn other_members_hold_scopes_where_that_was_said_and_the_first_named_wins() {
    let desk = desk_with(|verifier| verifier.scope_claim("scp").scope_claim("roles"));
    let scopes = async |members: &[(&str, Value)]| {
        let token =
            members.iter().fold(desk.token().without("scope"), |token, (name, value)| token.claim(name, value.clone()));
        let token = desk.judge(&token.sign()).await.unwrap();
        token.scopes().to_string()
    };
    assert_eq!(scopes(&[("scp", json!("a b"))]).await, "a b");
    assert_eq!(scopes(&[("roles", json!(["a", "b"]))]).await, "a b");
    assert_eq!(scopes(&[("roles", json!("r")), ("scp", json!("s"))]).await, "s");
    assert_eq!(scopes(&[("roles", json!("r")), ("scp", json!("s")), ("scope", json!("o"))]).await, "o");
    assert_eq!(scopes(&[("roles", json!("r")), ("scope", json!(""))]).await, "", "an empty scope is a scope");
    assert_eq!(scopes(&[("permissions", json!("p"))]).await, "");
    // Whatever the order in the text.
    for (first, second) in [("scp", "roles"), ("roles", "scp")] {
        let token = desk.token().without("scope");
        let claims =
            token.claims_json().replacen('{', &format!("{{\"{first}\":\"{first}\",\"{second}\":\"{second}\","), 1);
        let token = desk.judge(&token.sign_raw(token.header_json(), claims)).await.unwrap();
        assert_eq!(token.scopes().to_string(), "scp");
    }
    desk.refuses_all("scp", [json!(1), Value::Null, json!(["a b"]), json!({})]).await;
}

#[tokio::test]
async fn other_members_hold_the_client_where_that_was_said_and_the_first_named_wins() {
    let (strict, desk) = (desk(), desk_with(|verifier| verifier.client_claim("azp").client_claim("cid")));
    let other = |desk: &Desk| desk.token().without("client_id").claim("azp", "z");
    assert!(!strict.accepts(&other(&strict)).await);
    let client = async |token: TokenBuilder| desk.judge(&token.sign()).await.unwrap().client_id().map(str::to_owned);
    assert_eq!(client(other(&desk)).await.as_deref(), Some("z"));
    assert_eq!(client(desk.token().without("client_id").claim("cid", "c")).await.as_deref(), Some("c"));
    assert_eq!(client(other(&desk).claim("cid", "c")).await.as_deref(), Some("z"));
    assert_eq!(client(other(&desk).client_id("own")).await.as_deref(), Some("own"));
    let own = desk.judge(&other(&desk).claim("sub", "z").sign()).await.unwrap();
    assert_eq!(own.acts_for(), ActsFor::Client, "the client from azp tells a client's own token");
    desk.refuses_all("azp", [json!(1), Value::Null, json!(["z"])]).await;
    assert!(!desk.accepts(&desk.token().without("client_id").claim("clientId", "c")).await);
}

// --- a shared secret ---

#[tokio::test]
async fn a_shared_secret_is_accepted_through_its_own_constructor_only() {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(NOW));
    let issuer = issuer().with_clock(clock.clone());
    for (algorithm, length) in [(HmacAlgorithm::HS256, 32), (HmacAlgorithm::HS384, 48), (HmacAlgorithm::HS512, 64)] {
        assert!(SharedSecret::new(algorithm, vec![7; length - 1]).is_err(), "{algorithm:?}: shorter than the hash");
        let secret = vec![7; length];
        let shared = SharedSecret::new(algorithm, secret.clone()).unwrap();
        let verifier = JwtVerifier::builder_from_secret(ISSUER, shared, API).clock(clock.clone()).build().unwrap();
        let desk = Desk { issuer: issuer.clone(), clock: clock.clone(), server: ResourceServer::new(verifier) };
        let token = desk.token();
        assert!(desk.accepts_signed(&token.sign_hmac(algorithm, &secret)).await);
        assert!(desk.accepts_signed(&token.clone().without_header("kid").sign_hmac(algorithm, &secret)).await);
        assert!(!desk.accepts_signed(&token.sign_hmac(algorithm, &[8; 64])).await, "another secret");
        for other in [HmacAlgorithm::HS256, HmacAlgorithm::HS384, HmacAlgorithm::HS512] {
            let accepted = desk.accepts_signed(&token.sign_hmac(other, &secret)).await;
            assert_eq!(accepted, other == algorithm, "{other:?} with a secret for {algorithm:?}");
        }
        assert!(!desk.accepts(&token).await, "an asymmetric signature");
        assert!(!desk.accepts_signed(&token.without("exp").sign_hmac(algorithm, &secret)).await, "the claims count");
        let public = self::desk();
        assert!(!public.accepts_signed(&public.token().sign_hmac(algorithm, &secret)).await);
    }
    let secret = || SharedSecret::new(HmacAlgorithm::HS256, [7; 32]).unwrap();
    assert!(JwtVerifier::builder_from_secret(" ", secret(), API).build().is_err());
    let algorithms = JwtVerifier::builder_from_secret(ISSUER, secret(), API);
    assert!(algorithms.audience("").build().is_err());
}

// --- start-up ---

#[test]
fn every_mistake_of_a_verifier_is_told_at_once_and_by_the_settings_name() {
    let error = issuer()
        .verifier_builder(" ")
        .audience("")
        .leeway(Duration::from_secs(301))
        .scope_claim("")
        .client_claim("")
        .algorithms([Algorithm::RS256])
        .build()
        .unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(settings, ["audience", "audience", "leeway", "scope_claim", "client_claim", "algorithms"]);
    for (line, setting) in error.to_string().lines().zip(settings) {
        assert!(line.starts_with(&format!("{setting}: ")) && line.contains("; "), "{line}");
    }
    let builder = || issuer().verifier_builder(API);
    assert!(builder().leeway(Duration::from_secs(300)).build().is_ok());
    assert!(builder().leeway(Duration::from_millis(300_001)).build().is_err());
    assert!(builder().algorithms([]).build().is_err());
    assert!(builder().algorithms([Algorithm::RS256, Algorithm::ES256]).build().is_ok());
    assert!(JwtVerifier::new(issuer().issuer(), "").is_err());
    for member in ["sub", "aud", "cnf"] {
        let error = builder().scope_claim(member).client_claim(member).build().unwrap_err();
        assert_eq!(error.mistakes().len(), 2, "{error}");
    }
}

#[test]
fn an_issuer_is_an_https_url_and_http_is_for_this_machine_only() {
    let good = [
        "https://auth.test",
        "https://auth.test/tenant/",
        "http://localhost:8080",
        "http://127.0.0.1",
        "http://[::1]:9",
    ];
    for identifier in good {
        let issuer = Issuer::from_keys(identifier, issuer().key_set()).unwrap();
        assert_eq!(issuer.identifier(), identifier, "unchanged");
    }
    let bad = [
        "",
        "auth.test",
        "http://auth.test",
        "http://localhost.auth.test",
        "http://127.0.0.1.auth.test",
        "ftp://auth.test",
        "https://",
        "https://auth.test?a=b",
        "https://auth.test#a",
        "https://u:p@auth.test",
        "/tenant",
        "urn:x",
        "http://localhost@auth.test",
    ];
    for identifier in bad {
        let error = Issuer::from_keys(identifier, issuer().key_set()).unwrap_err();
        assert_eq!(error.mistakes()[0].setting(), "issuer", "{identifier}");
    }
}

#[tokio::test]
async fn the_allow_list_of_algorithms_is_kept() {
    let (ours, other) = (
        MockIssuer::new(ISSUER).with_algorithm(Algorithm::ES256),
        MockIssuer::new(ISSUER).with_algorithm(Algorithm::EdDSA),
    );
    let keys = ours.key_set().with_keys(other.key_set());
    let issuer = Issuer::from_keys(ISSUER, keys).unwrap();
    let app = |verifier: JwtVerifierBuilder| -> Router {
        router().layer(tower_oauth::OAuthLayer::new(verifier.build().unwrap()))
    };
    let both = app(JwtVerifier::builder(issuer.clone(), API));
    let one = app(JwtVerifier::builder(issuer, API).algorithms([Algorithm::ES256]));
    for (issuer, by_one) in [(&ours, 200), (&other, 401)] {
        let token = issuer.token("ada").sign();
        assert_eq!(get_with_token(&both, "/me", &token).await.status, 200);
        assert_eq!(get_with_token(&one, "/me", &token).await.status, by_one, "{}", issuer.algorithm());
    }
}

#[tokio::test]
async fn the_machines_own_clock_is_the_default() {
    let verifier = JwtVerifier::new(issuer().issuer(), API).unwrap();
    let app = router().layer(tower_oauth::OAuthLayer::new(verifier));
    assert_eq!(get_with_token(&app, "/me", &issuer().token("ada").sign()).await.status, 200);
    let old = ManualClock::new(SystemTime::now() - Duration::from_secs(3_600));
    assert_eq!(get_with_token(&app, "/me", &issuer().with_clock(old).token("ada").sign()).await.status, 401);
}
