//! `client_credentials`, and the issued tokens: RFC 6749 §4.4, §5.1; RFC 8707 §2; RFC 9068 §2.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde::Serialize;
use serde_json::json;
use tower_oauth::{
    error::ConfigMistake,
    token_endpoint::{
        AddCode, AuthorizationCodeGrant, Client, ClientCredential, EndSession, FindAccess, FindCode, FindSession,
        FoundAccess, FoundCode, FoundSession, Grant, Granted, InsertSeen, Issue, Issued, KeyPublished, ListKeys,
        ListSessions, ListedSession, MemoryStore, PublishKey, PublishedKey, Redeem, Redeemed, Refresh,
        RefreshTokenGrant, Refreshed, RevokeAccess, Store, StoreError, TokenContent, TokenError, TokenErrorKind,
        TokenFormat, TokenRequest, WithdrawKey, Written,
    },
};

use super::{ISSUER, OPAQUE, World, confidential, machine, part, usual};
use crate::support::API;

/// RFC 6749 §4.4 (MUST, SHOULD NOT, accepts)
/// RFC 6749 §5.1 (MUST, accepts)
/// RFC 9068 §2 (MUST, accepts)
/// Threats T9, T31
#[tokio::test]
async fn a_jwt_has_what_rfc_9068_requires() {
    let world = World::new();
    let answer = world.token("reports", &[("scope", "orders:write orders:read")]).await;
    answer.is_ok();
    assert_eq!(answer.json["expires_in"], 3600);
    assert_eq!(answer.json["token_type"], "Bearer");
    assert_eq!(answer.json["scope"], "orders:write orders:read");
    assert_eq!(answer.json.as_object().unwrap().len(), 4, "no refresh token (RFC 6749 §4.4.3)");
    let token = answer.text("access_token");
    assert_eq!(part(token, 0), json!({"alg": "ES256", "typ": "at+jwt", "kid": "first"}));
    let claims = part(token, 1);
    let issued = claims["iat"].as_u64().unwrap();
    let now = tower_oauth::clock::Clock::now(&world.clock).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(issued, now);
    assert_eq!(
        claims,
        json!({
            "iss": ISSUER, "sub": "reports", "aud": API, "client_id": "reports", "scope": "orders:write orders:read",
            "iat": now, "exp": now + 3600, "jti": claims["jti"],
        })
    );
    assert_eq!(claims["jti"].as_str().unwrap().len(), 43);
}

/// RFC 6749 §10.3 c (MUST, accepts)
/// Threat T8
#[tokio::test]
async fn an_opaque_token_has_32_random_bytes_and_never_repeats() {
    let world = World::new();
    let mut seen = BTreeSet::new();
    for _ in 0..100 {
        let opaque = world.access_token("reports", &[("resource", OPAQUE)]).await;
        assert_eq!(opaque.len(), 64);
        assert!(opaque.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
        let jwt = world.access_token("reports", &[]).await;
        assert!(seen.insert(opaque) && seen.insert(jwt));
    }
}

/// RFC 6749 §3.3 c (MUST, accepts)
/// RFC 6749 §3.3 e (choice, accepts and refuses)
/// Threat T21
#[tokio::test]
async fn scopes_are_granted_within_the_registration() {
    let world = World::new();
    for (asked, granted) in [
        ("", "orders:read"),
        ("orders:write", "orders:write"),
        ("orders:read orders:write", "orders:read orders:write"),
        ("orders:read orders:read", "orders:read"),
        ("orders:read ", "orders:read"),
        ("  orders:write   orders:read  ", "orders:write orders:read"),
    ] {
        let answer = world.token("reports", &[("scope", asked)]).await;
        answer.is_ok();
        assert_eq!(answer.text("scope"), granted, "{asked:?}");
    }
    for beyond in [
        "admin",
        "orders:read admin",
        "ORDERS:READ",
        "orders",
        " ",
        "   ",
        "orders:read ORDERS:READ",
        "orders:read\torders:write",
        "orders:read\t",
        "orders:read\u{a0}",
        "orders:read,orders:write",
        "orders:read\"",
        "*",
    ] {
        world.token("reports", &[("scope", beyond)]).await.is_error(400, "invalid_scope");
    }
}

/// RFC 6749 §3.3 c (MUST, refuses)
/// Threat T21
#[tokio::test]
async fn a_client_without_default_scopes_must_name_one_and_one_without_any_gets_none() {
    let world = World::new();
    let choosy = confidential("choosy").grant_types(["client_credentials"]).optional_scopes(["orders:read"]);
    world.clients.insert(choosy.audience(API, TokenFormat::Jwt).build().unwrap());
    world.token("choosy", &[]).await.is_error(400, "invalid_scope");
    world.token("choosy", &[("scope", "orders:read")]).await.is_ok();
    let bare = confidential("bare").grant_types(["client_credentials"]).audience(API, TokenFormat::Jwt);
    world.clients.insert(bare.build().unwrap());
    let answer = world.token("bare", &[]).await;
    answer.is_ok();
    assert!(answer.json.get("scope").is_none());
    assert!(part(answer.text("access_token"), 1).get("scope").is_none());
    world.token("bare", &[("scope", "orders:read")]).await.is_error(400, "invalid_scope");
}

/// RFC 8707 §2 a (SHOULD, accepts and refuses)
/// RFC 9068 §2 (MUST, refuses)
/// Threat T23
#[tokio::test]
async fn a_token_is_for_one_resource_that_the_client_may_request() {
    let world = World::new();
    for name in ["resource", "audience"] {
        let opaque = world.access_token("reports", &[(name, OPAQUE)]).await;
        assert_eq!(world.introspect("watch", &opaque).await["aud"], OPAQUE);
        let jwt = world.access_token("reports", &[(name, API)]).await;
        assert_eq!(part(&jwt, 1)["aud"], API);
        for other in ["https://other.test", "https://api.test//", "HTTPS://API.TEST", "https://api.test#x", "x"] {
            world.token("reports", &[(name, other)]).await.is_error(400, "invalid_target");
        }
        world.token("reports", &[(name, API), (name, OPAQUE)]).await.is_error(400, "invalid_target");
        world.token("reports", &[(name, API), (name, API)]).await.is_ok();
    }
    world.token("reports", &[("resource", API), ("audience", OPAQUE)]).await.is_error(400, "invalid_target");
    world.token("reports", &[("resource", API), ("audience", API)]).await.is_ok();
}

/// RFC 6749 §5.2 (MUST, accepts)
/// RFC 9700 §2.4 (MUST NOT, refuses)
/// Threat T22
#[tokio::test]
async fn only_what_is_offered_and_registered_is_granted() {
    let world = World::new();
    for unknown in ["password", "implicit", "Client_Credentials", "client_credentials ", "urn:x", "authorization_code"]
    {
        let form = [("grant_type", unknown), ("username", "ada"), ("password", "x")];
        world.post("/token", &usual("reports"), &form).await.is_error(400, "unsupported_grant_type");
    }
    let none = confidential("none").audience(API, TokenFormat::Jwt).build().unwrap();
    world.clients.insert(none);
    world.token("none", &[]).await.is_error(400, "unauthorized_client");
    // The client is authenticated first.
    let form = [("grant_type", "password")];
    world.post("/token", &super::basic("reports", "x"), &form).await.is_error(401, "invalid_client");
}

struct TokenPermit;

impl Grant for TokenPermit {
    fn grant_type(&self) -> &'static str {
        "urn:example:permit"
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        match request.required("permit")? {
            "2026-ada" => request.grant_to("ada"),
            _ => Err(TokenError::new(TokenErrorKind::InvalidGrant, "The \"permit\" is unknown")),
        }
    }
}

/// RFC 6749 §5.2 (MUST, refuses)
/// RFC 9700 §2.4 (MUST NOT, accepts)
/// Threat T25
#[tokio::test]
async fn a_custom_grant_works_like_the_others() {
    let world = World::with(|builder| builder.grant(TokenPermit));
    let own = machine("own").grant_types(["urn:example:permit"]).build().unwrap();
    world.clients.insert(own);
    let ask = async |form: &[(&str, &str)]| {
        let form = [&[("grant_type", "urn:example:permit")], form].concat();
        world.post("/token", &usual("own"), &form).await
    };
    let answer = ask(&[("permit", "2026-ada"), ("scope", "orders:write")]).await;
    answer.is_ok();
    let claims = part(answer.text("access_token"), 1);
    assert_eq!((&claims["sub"], &claims["client_id"]), (&json!("ada"), &json!("own")));
    ask(&[("permit", "x")]).await.is_error(400, "invalid_grant");
    ask(&[]).await.is_error(400, "invalid_request");
    ask(&[("permit", "2026-ada"), ("permit", "2026-ada")]).await.is_error(400, "invalid_request");
    ask(&[("permit", "2026-ada"), ("scope", "admin")]).await.is_error(400, "invalid_scope");
    let form = [("grant_type", "urn:example:permit"), ("permit", "2026-ada")];
    world.post("/token", &usual("reports"), &form).await.is_error(400, "unauthorized_client");
}

#[derive(Serialize)]
struct Own {
    created_at: u64,
    member: String,
    absent: Option<u8>,
}

/// RFC 6749 §5.1 (MUST, accepts and refuses)
#[tokio::test]
async fn the_host_can_add_response_parameters_and_change_none() {
    let world = World::with(|builder| {
        builder.customize_tokens(|issuance| async move {
            Ok(TokenContent::new().response_parameters(Own {
                created_at: issuance.issued_at().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs(),
                member: format!("{} {} {}", issuance.client_id(), issuance.subject(), issuance.grant_type()),
                absent: None,
            }))
        })
    });
    let answer = world.token("reports", &[]).await;
    answer.is_ok();
    assert_eq!(answer.json["created_at"], part(answer.text("access_token"), 1)["iat"]);
    assert_eq!(answer.json["member"], "reports reports client_credentials");
    assert_eq!(answer.json.as_object().unwrap().len(), 6);
    // One that a specification defines is a mistake of the host.
    for name in ["access_token", "token_type", "expires_in", "scope", "refresh_token", "error", "error_uri"] {
        let world = World::with(|builder| {
            builder.customize_tokens(move |_| async move { Ok(TokenContent::new().response_parameter(name, "mine")) })
        });
        world.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    }
}

#[tokio::test]
async fn a_token_over_the_limit_revokes_the_oldest() {
    let world = World::new();
    let mut tokens = Vec::new();
    for number in 0..4 {
        let resource = if number % 2 == 0 { API } else { OPAQUE };
        tokens.push(world.access_token("limited", &[("resource", resource)]).await);
    }
    let mut active = Vec::new();
    for token in &tokens {
        active.push(world.is_active(token).await);
    }
    assert_eq!(active, [false, false, true, true]);
    // A revoked or expired token doesn't count.
    world.post("/revoke", &usual("limited"), &[("token", &tokens[3])]).await.is_ok();
    let next = world.access_token("limited", &[]).await;
    assert!(world.is_active(&tokens[2]).await && world.is_active(&next).await);
    world.clock.advance(Duration::from_secs(15 * 60));
    let (one, two) = (world.access_token("limited", &[]).await, world.access_token("limited", &[]).await);
    assert!(world.is_active(&one).await && world.is_active(&two).await && !world.is_active(&next).await);
}

#[tokio::test]
async fn the_lifetime_is_that_of_the_client_or_of_the_endpoint() {
    let world = World::with(|builder| builder.access_token_lifetime(Duration::from_secs(300)));
    assert_eq!(world.token("reports", &[]).await.json["expires_in"], 3600);
    let answer = world.token("others", &[("resource", OPAQUE)]).await;
    assert_eq!(answer.json["expires_in"], 300);
    world.clock.advance(Duration::from_secs(299));
    assert!(world.is_active(answer.text("access_token")).await);
    world.clock.advance(Duration::from_secs(1));
    assert!(!world.is_active(answer.text("access_token")).await);
}

/// Passes all calls to a store and records their arguments.
#[derive(Clone, Default)]
struct Spy {
    inner: MemoryStore,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Spy {
    fn record(&self, what: String) {
        self.seen.lock().unwrap().push(what);
    }
}

/// Implements operations that only record their request.
macro_rules! forward {
    ($($name:ident($request:ty) -> $result:ty;)+) => {$(
        async fn $name(&self, request: &$request) -> Result<$result, StoreError> {
            self.record(format!("{request:?}"));
            self.inner.$name(request).await
        }
    )+};
}

impl Store for Spy {
    async fn add_code(&self, request: &AddCode) -> Result<Written, StoreError> {
        self.record(format!("{} {:?}", request.record().as_str(), request.code().as_bytes()));
        self.inner.add_code(request).await
    }

    async fn redeem(&self, request: &Redeem) -> Result<Redeemed, StoreError> {
        self.record(format!("{} {}", request.record().as_str(), request.access().record().as_str()));
        self.inner.redeem(request).await
    }

    async fn refresh(&self, request: &Refresh) -> Result<Refreshed, StoreError> {
        self.record(request.access().record().as_str().to_owned());
        self.inner.refresh(request).await
    }

    async fn issue(&self, request: &Issue) -> Result<Issued, StoreError> {
        self.record(request.access().record().as_str().to_owned());
        self.inner.issue(request).await
    }

    forward! {
        find_code(FindCode) -> Option<FoundCode>;
        find_session(FindSession) -> Option<FoundSession>;
        find_access(FindAccess) -> Option<FoundAccess>;
        revoke_access(RevokeAccess) -> Written;
        end_session(EndSession) -> Written;
        list_sessions(ListSessions) -> Vec<ListedSession>;
        insert_seen(InsertSeen) -> Issued;
        publish_key(PublishKey) -> KeyPublished;
        withdraw_key(WithdrawKey) -> Written;
        list_keys(ListKeys) -> Vec<PublishedKey>;
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner.check().await
    }
}

/// RFC 6749 §10.3 c (MUST, refuses)
/// Threat T8
#[tokio::test]
async fn a_store_never_sees_a_token_or_a_secret() {
    let spy = Spy::default();
    let world = World::with(|builder| {
        let builder = builder.store(spy.clone()).grant(AuthorizationCodeGrant::new(super::AUTHORIZE));
        builder.grant(RefreshTokenGrant::new())
    });
    let native = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:1/cb")];
    let code = world.code(&native).await;
    let redeemed = world.redeem(&code, &native).await;
    let refreshed = world.refresh(redeemed.text("refresh_token"), &[("client_id", "native")]).await;
    let mut texts = vec![code, world.access_token("reports", &[]).await];
    texts.push(world.access_token("reports", &[("resource", OPAQUE)]).await);
    for answer in [&redeemed, &refreshed] {
        texts.extend(["access_token", "refresh_token"].map(|member| answer.text(member).to_owned()));
    }
    let seen = spy.seen.lock().unwrap().join("\n");
    assert!(seen.contains("reports") && seen.contains("ada"), "the spy records: {seen}");
    for part in texts.iter().flat_map(|text| text.split('.')) {
        assert!(!seen.contains(part), "{part}");
        // The secret is what follows the first 16 bytes.
        assert!(!seen.contains(&part[part.len().min(24)..]) || part.len() < 48, "{part}");
    }
    assert!(!seen.contains("reports-secret"));
}

/// Threat T27
#[tokio::test]
async fn with_a_full_store_the_response_is_503_and_nothing_is_issued() {
    let store = MemoryStore::builder().capacity(2).client_capacity(2).build();
    let world = World::with(|builder| builder.store(store));
    let token = world.access_token("reports", &[]).await;
    world.access_token("others", &[]).await;
    world.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    assert!(world.is_active(&token).await, "existing tokens stay active");
    // Expired tokens make room.
    world.clock.advance(Duration::from_secs(901));
    world.token("reports", &[]).await.is_ok();
    world.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
}

/// Threat T37
#[tokio::test]
async fn a_token_has_only_the_scopes_that_belong_to_its_api() {
    let world = World::new();
    let client = machine("shop").audience_scopes(API, ["orders:write"]).audience("https://all.test", TokenFormat::Jwt);
    world.clients.insert(client.audience_scopes(OPAQUE, ["orders:read", "orders:write"]).build().unwrap());
    for (resource, asked, granted) in [
        (API, "orders:write", "orders:write"),
        (API, "orders:read orders:write", "orders:write"),
        (OPAQUE, "", "orders:read"),
        (OPAQUE, "orders:write orders:read", "orders:write orders:read"),
        ("https://all.test", "orders:read orders:write", "orders:read orders:write"),
    ] {
        let answer = world.token("shop", &[("resource", resource), ("scope", asked)]).await;
        answer.is_ok();
        assert_eq!(answer.text("scope"), granted, "{resource}: {asked}");
        let seen = world.introspect("watch", answer.text("access_token")).await;
        assert_eq!(seen["scope"], granted, "{resource}: {asked}");
    }
    for asked in ["", "orders:read"] {
        world.token("shop", &[("resource", API), ("scope", asked)]).await.is_error(400, "invalid_scope");
    }
    world.token("shop", &[("resource", API), ("scope", "admin")]).await.is_error(400, "invalid_scope");
}

/// RFC 6749 §4.4 (MUST, SHOULD NOT, refuses)
#[test]
fn every_mistake_of_a_client_is_reported_at_once() {
    let client = Client::builder("", ClientCredential::None)
        .grant_types(["client_credentials", "authorization_code"])
        .default_scopes(["a b", "c"])
        .optional_scopes(["c"])
        .access_token_lifetime(Duration::from_millis(1))
        .max_active_tokens(0)
        .max_sessions(0)
        .audience_scopes(API, ["c"])
        .audience_scopes(API, ["d"])
        .audience_scopes(OPAQUE, [""; 0])
        .introspects_any_token();
    let error = client.build().unwrap_err();
    let settings: Vec<_> = error.mistakes().iter().map(ConfigMistake::setting).collect();
    assert_eq!(
        settings,
        [
            "client_id",
            "scope",
            "scope",
            "access_token_lifetime",
            "max_active_tokens",
            "max_sessions",
            "audience",
            "audience_scopes",
            "audience_scopes",
            "audience_scopes",
            "audience_scopes",
            "grant_types",
            "introspects",
            "redirect_uri"
        ]
    );
    let redirects = [
        "/cb",
        "https:///cb",
        "https://app.test/cb#x",
        "https://ada@app.test/cb",
        "http://app.test/cb",
        "http://127.0.0.1.app.test/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://app.test/c b",
        "myapp:/cb",
        "//app.test:443/cb",
        "/a.b:c",
        ".b:c",
        "4.b:c",
        "a_.b:c",
    ];
    for uri in redirects {
        assert!(Client::builder("app", ClientCredential::None).redirect_uri(uri).build().is_err(), "{uri}");
    }
    for uri in ["https://app.test/cb?x=y", "http://127.0.0.1/cb", "http://[::1]:8080/cb", "com.example.app:/cb"] {
        assert!(Client::builder("app", ClientCredential::None).redirect_uri(uri).build().is_ok(), "{uri}");
    }
}
