//! Faults that were once measured in how correct operations of a store combine: hidden reuse, sessions that a 503 ends, issuers
//! that accept each other's tokens, a full store, records of a newer version, and codes that a mistake costs.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Body;
use http::Request;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, ClientCredentialsGrant, EventKind, MemoryStore, RefreshTokenGrant, TokenEndpoint,
        TokenEndpointBuilder,
    },
};

use super::super::{
    AUTHORIZE, Answer, CB, FORM, ISSUER, OPAQUE, VERIFIER, World, assertion, basic, encode, sent,
    stores::faulty_store::{Fault, FaultyStore, Rewrite},
    usual,
};
use crate::support::API;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

type Faulty = FaultyStore<MemoryStore>;

fn faulty(settings: RefreshTokenGrant) -> (World, Faulty) {
    faulty_with(settings, |builder| builder)
}

fn faulty_with(
    settings: RefreshTokenGrant,
    configure: impl FnOnce(TokenEndpointBuilder) -> TokenEndpointBuilder,
) -> (World, Faulty) {
    let store = FaultyStore::new(MemoryStore::new());
    let world = World::with(|builder| {
        configure(builder.store(store.clone()).grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(settings))
    });
    (world, store)
}

/// The changes of a redemption or a refresh by the client `web`, which has a secret.
fn web(world: &World) -> WebClient<'_> {
    WebClient { world, secret: "web-secret".to_owned() }
}

struct WebClient<'w> {
    world: &'w World,
    secret: String,
}

const WEB_CB: &str = "https://web.test/2";

impl WebClient<'_> {
    async fn code(&self) -> String {
        self.world.code(&[("client_id", "web"), ("redirect_uri", WEB_CB), ("resource", OPAQUE)]).await
    }

    async fn redeem(&self, code: &str, change: &[(&str, &str)]) -> Answer {
        let usual = [
            ("grant_type", "authorization_code"),
            ("redirect_uri", WEB_CB),
            ("code_verifier", VERIFIER),
            ("code", code),
        ];
        let kept = usual.iter().filter(|(name, _)| change.iter().all(|(changed, _)| changed != name));
        let form: Vec<_> = kept.chain(change).copied().collect();
        self.world.post("/token", &basic("web", &self.secret), &form).await
    }

    async fn refresh(&self, token: &str) -> Answer {
        let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
        self.world.post("/token", &basic("web", &self.secret), &form).await
    }
}

/// Checks for a 503 that says whether the client may repeat the request.
#[track_caller]
fn is_unavailable(answer: &Answer, may_repeat: bool) {
    assert_eq!(answer.status(), 503, "{answer:?}");
    assert_eq!(answer.header("retry-after").is_some(), may_repeat, "{answer:?}");
}

/// RFC 9700 §2.2.2 (MUST, SHOULD, refuses)
#[tokio::test]
async fn the_first_refresh_token_ends_the_session_after_any_number_of_rotations() {
    for rotations in [1, 2, 101, 10_000] {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (world, _) = faulty_with(RefreshTokenGrant::new().grace_period(Duration::ZERO), |builder| {
            let seen = Arc::clone(&seen);
            builder.observe(move |event| seen.lock().unwrap().push(event.kind()))
        });
        let first = world.redeem(&world.code(&[]).await, &[]).await;
        let stolen = first.text("refresh_token").to_owned();
        let (mut thief, mut access) = (stolen.clone(), String::new());
        for _ in 0..rotations {
            let answer = world.refresh(&thief, &[]).await;
            answer.is_ok();
            thief = answer.text("refresh_token").to_owned();
            access = answer.text("access_token").to_owned();
        }
        assert!(world.is_active(&access).await);
        world.refresh(&stolen, &[]).await.is_error(400, "invalid_grant");
        assert!(!world.is_active(&access).await, "after {rotations} rotations");
        world.refresh(&thief, &[]).await.is_error(400, "invalid_grant");
        let seen = seen.lock().unwrap();
        assert_eq!(seen.iter().filter(|kind| **kind == EventKind::ReuseDetected).count(), 1);
    }
}

/// Session 1 (design, accepts and refuses)
#[tokio::test]
async fn two_issuers_with_one_store_know_nothing_of_each_other() {
    let store = MemoryStore::new();
    let one = World::with(|builder| {
        let builder = builder.store(store.clone());
        builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new())
    });
    let key = PrivateKey::generate(Algorithm::ES256).unwrap().with_key_id("of staging");
    let other = TokenEndpoint::builder("https://staging.test", key, one.clients.clone())
        .grant(ClientCredentialsGrant::new())
        .grant(AuthorizationCodeGrant::new(AUTHORIZE))
        .grant(RefreshTokenGrant::new())
        .clock(one.clock.clone())
        .store(store)
        .build()
        .unwrap();
    let other = World { endpoint: other, clients: one.clients.clone(), clock: one.clock.clone() };
    let session = one.redeem(&one.code(&[]).await, &[]).await;
    let unused = one.code(&[]).await;
    let tokens = [
        session.text("access_token").to_owned(),
        one.access_token("reports", &[("resource", OPAQUE)]).await,
        one.access_token("reports", &[("resource", API)]).await,
        one.access_token("limited", &[]).await,
    ];
    for token in &tokens {
        assert!(one.is_active(token).await && !other.is_active(token).await);
        other.post("/revoke", &usual("reports"), &[("token", token)]).await.is_ok();
        assert!(one.is_active(token).await);
    }
    let refresh = session.text("refresh_token");
    other.refresh(refresh, &[]).await.is_error(400, "invalid_grant");
    other.post("/revoke", "", &[("token", refresh), ("client_id", "app")]).await.is_ok();
    other.redeem(&unused, &[]).await.is_error(400, "invalid_grant");
    // Limits count for each issuer, and so do the sessions that an operator sees and ends.
    for _ in 0..3 {
        other.access_token("limited", &[]).await;
    }
    assert!(one.is_active(&tokens[3]).await);
    assert!(other.endpoint.sessions_of_subject("ada", None).await.unwrap().is_empty());
    assert_eq!(other.endpoint.end_sessions_of_subject("ada").await.unwrap(), 0);
    assert_eq!(other.endpoint.end_sessions_of_client("app").await.unwrap(), 0);
    // The same `jti` is new at each issuer.
    for (world, issuer) in [(&one, ISSUER), (&other, "https://staging.test")] {
        let signed = assertion(world, "the same").audience(issuer).sign();
        own_token(world, &signed, &[]).await.is_ok();
        own_token(world, &signed, &[]).await.is_error(401, "invalid_client");
        let ids = world.get("/jwks.json").await.json["keys"].as_array().unwrap().clone();
        assert_eq!(ids.len(), 1, "{ids:?}");
    }
    one.refresh(refresh, &[]).await.is_ok();
    one.redeem(&unused, &[]).await.is_ok();
    assert_eq!(one.endpoint.sessions_of_subject("ada", None).await.unwrap().len(), 2);
}

/// Returns the record with this member more.
fn with_member(member: &'static str) -> impl Fn(&str) -> String + Send + Sync {
    move |record| format!("{},{member}}}", record.strip_suffix('}').unwrap())
}

/// Session 2 (design, accepts)
#[tokio::test]
async fn a_record_with_unknown_members_is_read() {
    let (world, store) = faulty(RefreshTokenGrant::new());
    let client = web(&world);
    let code = client.code().await;
    let own = world.access_token("reports", &[("resource", OPAQUE)]).await;
    for member in [r#""new_claim":null"#, r#""v2":{"must":["x"],"deep":[1,2.5]}"#, r#""must":[]"#] {
        store.rewrite(with_member(member));
        assert!(world.is_active(&own).await, "{member}");
    }
    store.rewrite(with_member(r#""new_claim":null,"dpop_jkt":"abc""#));
    let first = client.redeem(&code, &[]).await;
    first.is_ok();
    assert!(world.is_active(first.text("access_token")).await);
    client.refresh(first.text("refresh_token")).await.is_ok();
    assert_eq!(world.endpoint.sessions_of_subject("ada", None).await.unwrap().len(), 1);
}

/// Session 2 (design, refuses)
#[tokio::test]
async fn a_record_that_must_be_understood_and_is_not_makes_the_token_inactive_and_the_grant_invalid() {
    let (world, store) = faulty(RefreshTokenGrant::new());
    let client = web(&world);
    let (first, code) = (client.redeem(&client.code().await, &[]).await, client.code().await);
    let tokens = [first.text("access_token").to_owned(), world.access_token("reports", &[("resource", OPAQUE)]).await];
    let refresh = first.text("refresh_token");
    let newer: [Box<Rewrite>; 4] = [
        Box::new(with_member(r#""must":["dpop"]"#)),
        Box::new(with_member(r#""must":["dpop","later"]"#)),
        Box::new(|_| "{}".to_owned()),
        Box::new(|_| "not JSON".to_owned()),
    ];
    for newer in newer {
        store.rewrite(move |record| newer(record));
        for token in &tokens {
            assert_eq!(world.introspect("watch", token).await, serde_json::json!({"active": false}));
            world.post("/revoke", &usual("others"), &[("token", token)]).await.is_ok();
        }
        client.refresh(refresh).await.is_error(400, "invalid_grant");
        client.redeem(&code, &[]).await.is_error(400, "invalid_grant");
        world.post("/revoke", &usual("others"), &[("token", refresh)]).await.is_ok();
        assert!(world.endpoint.sessions_of_subject("ada", None).await.unwrap().is_empty());
        // Nothing was lost: an instance of the newer version can use all of it.
        store.rewrite_nothing();
        for token in &tokens {
            assert!(world.is_active(token).await);
        }
        client.refresh(refresh).await.is_ok();
    }
    client.redeem(&code, &[]).await.is_ok();
}

#[tokio::test]
async fn a_session_that_this_version_cannot_read_can_be_ended() {
    let (world, store) = faulty(RefreshTokenGrant::new());
    let client = web(&world);
    let first = client.redeem(&client.code().await, &[]).await;
    store.rewrite(with_member(r#""must":["dpop"]"#));
    assert_eq!(world.endpoint.end_sessions_of_subject("ada").await.unwrap(), 1);
    store.rewrite_nothing();
    assert!(!world.is_active(first.text("access_token")).await);
}

/// RFC 6749 §4.1.2 a (MUST, SHOULD, accepts)
#[tokio::test]
async fn a_mistake_costs_no_code() {
    let world = World::with_users();
    let mut client = web(&world);
    let code = client.code().await;
    let wrong_verifier = VERIFIER.replace('d', "e");
    for (change, error) in [
        (("resource", API), "invalid_target"),
        (("resource", "https://unknown.test"), "invalid_target"),
        (("redirect_uri", CB), "invalid_grant"),
        (("code_verifier", &*wrong_verifier), "invalid_grant"),
        (("code_verifier", ""), "invalid_grant"),
    ] {
        client.redeem(&code, &[change]).await.is_error(400, error);
    }
    // Another client, which also can't end the session.
    world.redeem(&code, &[("redirect_uri", WEB_CB)]).await.is_error(400, "invalid_grant");
    // The secret is renewed as a routine.
    client.secret = world.clients.renew_secret("web").unwrap();
    world.redeem(&code, &[("client_id", "web"), ("client_secret", "web-secret")]).await.is_error(401, "invalid_client");
    client.redeem(&code, &[]).await.is_ok();
    client.redeem(&code, &[]).await.is_error(400, "invalid_grant");
}

#[tokio::test]
async fn a_renewed_secret_ends_no_session_and_a_leaked_one_ends_all() {
    let world = World::with_users();
    let mut client = web(&world);
    let first = client.redeem(&client.code().await, &[]).await;
    let (access, refresh) = (first.text("access_token"), first.text("refresh_token"));
    client.secret = world.clients.add_secret("web").unwrap();
    client.refresh(refresh).await.is_ok();
    world.clients.remove_old_secret("web").unwrap();
    client.refresh(refresh).await.is_ok();
    assert!(world.is_active(access).await);
    client.secret = world.clients.replace_leaked_secret("web").unwrap();
    assert!(!world.is_active(access).await);
    client.refresh(refresh).await.is_error(400, "invalid_grant");
}

/// Session 5 (design, accepts and refuses)
#[tokio::test]
async fn one_users_log_ins_do_not_harm_others() {
    // One user has a hundredth of the places, but at least 50.
    let store = MemoryStore::builder().capacity(2_000).build();
    let world = World::with(|builder| {
        let builder = builder.store(store);
        builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new())
    });
    let before = world.redeem(&world.code(&[]).await, &[]).await;
    let mut living = None;
    let mut refused = 0;
    for _ in 0..2_000 {
        let request = world.ask(&[]).await.unwrap();
        let (name, value) = sent(&request.approve("mallory", ["orders:read"]).await.map(Body::new)).swap_remove(0);
        match &*name {
            "code" => living = Some(world.redeem(&value, &[]).await.text("refresh_token").to_owned()),
            _ => refused += 1,
        }
    }
    assert!(refused > 1_900, "{refused}");
    // The sessions that there are go on, also those of that user.
    let mut living = living.unwrap();
    for _ in 0..10 {
        living = world.refresh(&living, &[]).await.text("refresh_token").to_owned();
    }
    world.refresh(before.text("refresh_token"), &[]).await.is_ok();
    assert!(world.is_active(before.text("access_token")).await);
    world.redeem(&world.code(&[]).await, &[]).await.is_ok();
    world.access_token("reports", &[]).await;
    // Ending that user's sessions frees their places.
    assert!(world.endpoint.end_sessions_of_subject("mallory").await.unwrap() >= 10);
    let request = world.ask(&[]).await.unwrap();
    let sent = sent(&request.approve("mallory", ["orders:read"]).await.map(Body::new));
    world.redeem(&sent[0].1, &[]).await.is_ok();
}

/// Session 5 (design, accepts)
#[tokio::test]
async fn one_clients_tokens_do_not_harm_others() {
    let store = MemoryStore::builder().capacity(2_000).build();
    let world = World::with(|builder| {
        let builder = builder.store(store);
        builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new())
    });
    let session = world.redeem(&world.code(&[]).await, &[]).await;
    let mut issued = 0;
    for _ in 0..3_000 {
        let answer = world.token("reports", &[("resource", OPAQUE)]).await;
        match answer.status() {
            200 => issued += 1,
            _ => is_unavailable(&answer, true),
        }
    }
    assert!((100..=200).contains(&issued), "a tenth of the places: {issued}");
    world.access_token("others", &[]).await;
    world.refresh(session.text("refresh_token"), &[]).await.is_ok();
    world.redeem(&world.code(&[]).await, &[]).await.is_ok();
    // What expires makes room again.
    world.clock.advance(Duration::from_secs(3601));
    world.access_token("reports", &[]).await;
}

/// Requests a token as the client `signs`, with this assertion.
async fn own_token(world: &World, signed: &str, change: &[(&str, &str)]) -> Answer {
    let usual =
        [("grant_type", "client_credentials"), ("client_assertion_type", JWT_BEARER), ("client_assertion", signed)];
    world.post("/token", "", &[&usual[..], change].concat()).await
}

/// Session 4 (design, accepts)
#[tokio::test]
async fn the_same_bytes_with_an_assertion_pass_after_a_503_and_not_after_a_200() {
    let (world, store) = faulty(RefreshTokenGrant::new());
    for fault in Fault::ALL {
        let signed = assertion(&world, &format!("{fault:?}")).sign();
        store.fail_next_write(fault);
        is_unavailable(&own_token(&world, &signed, &[]).await, !fault.is_unknown());
        let repeated = own_token(&world, &signed, &[]).await;
        if fault == Fault::Lost {
            // It was executed, so the assertion was used. That is why the client was not told to repeat the request.
            repeated.is_error(401, "invalid_client");
        } else {
            repeated.is_ok();
        }
        own_token(&world, &signed, &[]).await.is_error(401, "invalid_client");
    }
}

/// Session 4 (design, refuses)
#[tokio::test]
async fn a_refused_request_uses_its_assertion_up_and_one_with_503_does_not() {
    let (world, store) = faulty(RefreshTokenGrant::new());
    for (number, change) in
        [("scope", "admin"), ("resource", "https://unknown.test"), ("grant_type", "refresh_token")].iter().enumerate()
    {
        let signed = assertion(&world, &format!("refused {number}")).sign();
        let form = [("client_assertion_type", JWT_BEARER), ("client_assertion", &*signed)];
        let form: Vec<_> = form.into_iter().chain([*change]).collect();
        let grant = if change.0 == "grant_type" { vec![] } else { vec![("grant_type", "client_credentials")] };
        let refused = world.post("/token", "", &[&form[..], &grant].concat()).await;
        assert_eq!(refused.status(), 400, "{refused:?}");
        own_token(&world, &signed, &[]).await.is_error(401, "invalid_client");
    }
    // A session of a client that signs: the read fails, then the write.
    let bank = |signed: &str, rest: &[(&str, &str)]| {
        let form = [("client_assertion_type", JWT_BEARER), ("client_assertion", signed)];
        encode(&[&form[..], rest].concat())
    };
    let post = async |form: &str| {
        world
            .send(Request::post("/token").header("content-type", FORM).body(Body::from(form.to_owned())).unwrap())
            .await
    };
    let signed = |jti: &str| assertion(&world, jti).claim("iss", "bank").claim("sub", "bank").sign();
    let code = world.code(&[("client_id", "bank")]).await;
    let redeem =
        [("grant_type", "authorization_code"), ("redirect_uri", CB), ("code_verifier", VERIFIER), ("code", &*code)];
    let form = bank(&signed("redeem"), &redeem);
    store.fail_next_read();
    is_unavailable(&post(&form).await, true);
    store.fail_next_write(Fault::Late);
    is_unavailable(&post(&form).await, true);
    let first = post(&form).await;
    first.is_ok();
    let form =
        bank(&signed("refresh"), &[("grant_type", "refresh_token"), ("refresh_token", first.text("refresh_token"))]);
    store.fail_next_read();
    is_unavailable(&post(&form).await, true);
    store.fail_next_write(Fault::NotExecuted);
    is_unavailable(&post(&form).await, true);
    post(&form).await.is_ok();
    post(&form).await.is_error(401, "invalid_client");
    let introspection = encode(&[
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", &signed("introspect")),
        ("token", first.text("access_token")),
    ]);
    let introspect = async || {
        let request = Request::post("/introspect").header("content-type", FORM);
        world.send(request.body(Body::from(introspection.clone())).unwrap()).await
    };
    store.fail_next_read();
    is_unavailable(&introspect().await, true);
    assert_eq!(introspect().await.json["active"], true);
    introspect().await.is_error(401, "invalid_client");
}

/// RFC 6749 §4.1.2 a (MUST, SHOULD, refuses)
/// Session 3 (design, refuses)
#[tokio::test]
async fn a_redemption_with_unknown_outcome_is_not_to_be_repeated() {
    for fault in Fault::ALL {
        let (world, store) = faulty(RefreshTokenGrant::new());
        let code = world.code(&[]).await;
        store.fail_next_write(fault);
        is_unavailable(&world.redeem(&code, &[]).await, !fault.is_unknown());
        if fault != Fault::Lost {
            world.redeem(&code, &[]).await.is_ok();
        }
        assert_eq!(world.endpoint.sessions_of_subject("ada", None).await.unwrap().len(), 1);
        store.fail_next_read();
        is_unavailable(&world.redeem(&code, &[]).await, true);
    }
}

/// RFC 9700 §2.2.2 (MUST, SHOULD, accepts)
/// Session 3 (design, accepts)
#[tokio::test]
async fn a_refresh_that_fails_can_be_repeated_within_the_grace() {
    for fault in Fault::ALL {
        let (world, store) = faulty(RefreshTokenGrant::new());
        let first = world.redeem(&world.code(&[]).await, &[]).await;
        let token = first.text("refresh_token");
        for _ in 0..3 {
            store.fail_next_write(fault);
            is_unavailable(&world.refresh(token, &[]).await, true);
            world.clock.advance(Duration::from_secs(15));
        }
        let next = world.refresh(token, &[]).await;
        next.is_ok();
        world.refresh(next.text("refresh_token"), &[]).await.is_ok();
    }
}

/// Session 3 (design, refuses)
#[tokio::test]
async fn without_a_grace_a_refresh_with_unknown_outcome_is_not_to_be_repeated() {
    for fault in Fault::ALL {
        let (world, store) = faulty(RefreshTokenGrant::new().grace_period(Duration::ZERO));
        let first = world.redeem(&world.code(&[]).await, &[]).await;
        let token = first.text("refresh_token");
        store.fail_next_write(fault);
        is_unavailable(&world.refresh(token, &[]).await, !fault.is_unknown());
        if fault == Fault::Lost {
            // A repeated request would end the session.
            world.refresh(token, &[]).await.is_error(400, "invalid_grant");
        } else {
            world.refresh(token, &[]).await.is_ok();
        }
        // A token that is not replaced can be used again in any case.
        let client = web(&world);
        let first = client.redeem(&client.code().await, &[]).await;
        store.fail_next_write(fault);
        is_unavailable(&client.refresh(first.text("refresh_token")).await, true);
        client.refresh(first.text("refresh_token")).await.is_ok();
    }
}

/// Session 3 (design, accepts)
#[tokio::test]
async fn requests_that_use_nothing_up_can_always_be_repeated() {
    for fault in Fault::ALL {
        let (world, store) = faulty(RefreshTokenGrant::new());
        store.fail_next_write(fault);
        is_unavailable(&world.token("reports", &[]).await, true);
        let token = world.access_token("reports", &[]).await;
        let revoke = async || world.post("/revoke", &usual("reports"), &[("token", &token)]).await;
        store.fail_next_write(fault);
        is_unavailable(&revoke().await, true);
        revoke().await.is_ok();
        store.fail_next_read();
        let introspect = async || world.post("/introspect", &usual("watch"), &[("token", &token)]).await;
        is_unavailable(&introspect().await, true);
        assert_eq!(introspect().await.json["active"], false);
        // Presenting a text that ends a session, too: the repeated request is refused in any case.
        let first = world.redeem(&world.code(&[]).await, &[]).await;
        let second = world.refresh(first.text("refresh_token"), &[]).await;
        world.refresh(second.text("refresh_token"), &[]).await.is_ok();
        store.fail_next_write(fault);
        is_unavailable(&world.refresh(first.text("refresh_token"), &[]).await, true);
        world.refresh(first.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
        assert!(world.endpoint.sessions_of_subject("ada", None).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_approval_that_could_not_be_stored_is_a_server_error_for_the_client() {
    for fault in Fault::ALL {
        let (world, store) = faulty(RefreshTokenGrant::new());
        let request = world.ask(&[]).await.unwrap();
        store.fail_next_write(fault);
        let sent = sent(&request.approve("ada", ["orders:read"]).await.map(Body::new));
        assert_eq!(sent[0], ("error".to_owned(), "server_error".to_owned()));
        // An operator can end even a code that no client got.
        let stored = usize::from(fault == Fault::Lost);
        assert_eq!(world.endpoint.end_sessions_of_subject("ada").await.unwrap(), stored);
    }
}

/// RFC 9700 §2.2.2 (MUST, SHOULD, accepts)
#[tokio::test]
async fn two_refreshes_at_the_same_time_get_the_same_successor() {
    let world = World::with_users();
    let first = world.redeem(&world.code(&[]).await, &[]).await;
    let mut token = first.text("refresh_token").to_owned();
    for _ in 0..20 {
        let (one, two) = tokio::join!(world.refresh(&token, &[]), world.refresh(&token, &[]));
        assert_eq!(one.text("refresh_token"), two.text("refresh_token"));
        assert_ne!(one.text("access_token"), two.text("access_token"));
        token = one.text("refresh_token").to_owned();
    }
}
