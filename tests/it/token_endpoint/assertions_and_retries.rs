//! When a client's assertion is used up, and when a 503 may be repeated.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use tower_oauth::{
    keys::Algorithm,
    token_endpoint::{
        AuthorizationCodeGrant, Client, EventKind, Grant, Granted, MemoryStore, RefreshTokenGrant, TokenContent,
        TokenEndpointBuilder, TokenError, TokenErrorKind, TokenRequest,
    },
};

use super::{
    AUTHORIZE, Answer, CB, OPAQUE, VERIFIER, World, assertion, assertion_key, basic, may_have_tokens,
    stores::faulty_store::{Fault, FaultyStore},
};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const SECOND: Duration = Duration::from_secs(1);

fn faulty(
    settings: RefreshTokenGrant,
    configure: impl FnOnce(TokenEndpointBuilder) -> TokenEndpointBuilder,
) -> (World, FaultyStore<MemoryStore>) {
    let store = FaultyStore::new(MemoryStore::new());
    let world = World::with(|builder| {
        configure(builder.store(store.clone()).grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(settings))
    });
    (world, store)
}

/// Posts a form with this assertion.
async fn signed_post(world: &World, path: &str, signed: &str, rest: &[(&str, &str)]) -> Answer {
    let form = [("client_assertion_type", JWT_BEARER), ("client_assertion", signed)];
    world.post(path, "", &[&form[..], rest].concat()).await
}

fn signed_by(world: &World, client: &str, jti: &str) -> String {
    assertion(world, jti).claim("iss", client).claim("sub", client).sign()
}

/// Waits as `Retry-After` says, if the answer has it, and repeats the request, which must pass then.
#[track_caller]
fn wait(world: &World, answer: &Answer) -> bool {
    assert_eq!(answer.status(), 503, "{answer:?}");
    let seconds = answer.header("retry-after").map(|seconds| seconds.parse().unwrap());
    world.clock.advance(SECOND * seconds.unwrap_or_default());
    seconds.is_some()
}

struct GiftCard;

impl Grant for GiftCard {
    fn grant_type(&self) -> &'static str {
        "urn:example:gift-card"
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        match request.required("gift_card")? {
            "good" => request.grant_to("ada"),
            _ => Err(TokenError::new(TokenErrorKind::InvalidGrant, "The gift card is unknown")),
        }
    }
}

fn with_gift_cards() -> (World, FaultyStore<MemoryStore>) {
    let (world, store) = faulty(RefreshTokenGrant::new(), |builder| builder.grant(GiftCard));
    let keys = assertion_key(Algorithm::ES256).key_set();
    let client = may_have_tokens(Client::builder("signs", keys)).grant_types(["urn:example:gift-card"]);
    world.clients.insert(client.build().unwrap());
    (world, store)
}

const GIFT: (&str, &str) = ("grant_type", "urn:example:gift-card");

#[tokio::test]
async fn a_client_with_keys_gets_the_error_of_an_own_grant() {
    let (world, _) = with_gift_cards();
    let refused = signed_post(&world, "/token", &signed_by(&world, "signs", "1"), &[GIFT, ("gift_card", "bad")]).await;
    refused.is_error(400, "invalid_grant");
}

/// Threat T51
#[tokio::test]
async fn a_503_of_an_own_grant_has_retry_after_only_if_its_assertion_is_unused() {
    for fault in Fault::ALL {
        let (world, store) = with_gift_cards();
        let signed = signed_by(&world, "signs", "1");
        let send = async || signed_post(&world, "/token", &signed, &[GIFT, ("gift_card", "good")]).await;
        store.fail_write_after(1, fault);
        if wait(&world, &send().await) {
            send().await.is_ok();
        }
    }
}

/// Threat T51
#[tokio::test]
async fn parameters_of_the_application_that_fail_cost_no_session() {
    let fails = Arc::new(AtomicBool::new(true));
    let (world, _) = faulty(RefreshTokenGrant::new(), |builder| {
        let fails = Arc::clone(&fails);
        builder.customize_tokens(move |_| {
            // A map whose keys are no strings can't be serialized.
            let map = fails.load(SeqCst).then_some((vec![1_u8], 1)).into_iter().collect::<HashMap<Vec<u8>, i32>>();
            async { Ok(TokenContent::new().response_parameters(map)) }
        })
    });
    let code = world.code(&[]).await;
    let may_repeat = wait(&world, &world.redeem(&code, &[]).await);
    fails.store(false, SeqCst);
    if may_repeat {
        world.redeem(&code, &[]).await.is_ok();
    }
}

/// Threat T51
#[tokio::test]
async fn a_client_that_waits_as_retry_after_says_loses_no_session_with_a_short_grace() {
    for seconds in [1, 3, 5, 6] {
        let (world, store) = faulty(RefreshTokenGrant::new().grace_period(SECOND * seconds), |builder| builder);
        let first = world.redeem(&world.code(&[]).await, &[]).await;
        let token = first.text("refresh_token");
        store.fail_next_write(Fault::Lost);
        if wait(&world, &world.refresh(token, &[]).await) {
            let repeated = world.refresh(token, &[]).await;
            assert_eq!(repeated.status(), 200, "grace of {seconds} s: {repeated:?}");
        }
    }
}

/// Threat T51
#[tokio::test]
async fn a_lost_answer_to_the_use_of_an_assertion_has_no_retry_after() {
    let (world, store) = faulty(RefreshTokenGrant::new(), |builder| builder);
    for (path, rest) in
        [("/introspect", [("token", "x")]), ("/revoke", [("token", "x")]), ("/token", [("grant_type", "unknown")])]
    {
        let signed = signed_by(&world, "signs", path);
        let send = async || signed_post(&world, path, &signed, &rest).await;
        store.fail_next_write(Fault::Lost);
        if wait(&world, &send().await) {
            let repeated = send().await;
            assert_ne!(repeated.status(), 401, "{path}: {repeated:?}");
        }
    }
}

/// Threat T51
#[tokio::test]
async fn a_late_revocation_with_a_used_assertion_has_no_retry_after() {
    let (world, store) = faulty(RefreshTokenGrant::new(), |builder| builder);
    let cc = [("grant_type", "client_credentials")];
    let token = signed_post(&world, "/token", &signed_by(&world, "signs", "1"), &cc).await;
    let signed = signed_by(&world, "signs", "2");
    let send = async || signed_post(&world, "/revoke", &signed, &[("token", token.text("access_token"))]).await;
    store.fail_write_after(1, Fault::Late);
    if wait(&world, &send().await) {
        send().await.is_ok();
    }
}

async fn bank_session(world: &World, jti: &str) -> (Vec<(&'static str, String)>, Answer) {
    let code = world.code(&[("client_id", "bank")]).await;
    let form = vec![
        ("client_assertion_type", JWT_BEARER.to_owned()),
        ("client_assertion", signed_by(world, "bank", jti)),
        ("grant_type", "authorization_code".to_owned()),
        ("redirect_uri", CB.to_owned()),
        ("code_verifier", VERIFIER.to_owned()),
        ("code", code),
    ];
    let answer = repeat(world, &form).await;
    answer.is_ok();
    (form, answer)
}

async fn repeat(world: &World, form: &[(&'static str, String)]) -> Answer {
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    world.post("/token", "", &form).await
}

/// Threat T50
#[tokio::test]
async fn a_replayed_code_with_a_used_assertion_ends_no_session() {
    let world = World::with_refresh(RefreshTokenGrant::new().rotate_for_all_clients());
    let (form, first) = bank_session(&world, "1").await;
    repeat(&world, &form).await.is_error(401, "invalid_client");
    assert!(world.is_active(first.text("access_token")).await, "the replayed request has ended the session");
}

/// Threat T50
#[tokio::test]
async fn an_old_refresh_token_with_a_used_assertion_ends_no_session() {
    let world = World::with_refresh(RefreshTokenGrant::new().rotate_for_all_clients());
    let (_, mut last) = bank_session(&world, "1").await;
    let mut forms = Vec::new();
    for number in 2..4 {
        let form = vec![
            ("client_assertion_type", JWT_BEARER.to_owned()),
            ("client_assertion", signed_by(&world, "bank", &number.to_string())),
            ("grant_type", "refresh_token".to_owned()),
            ("refresh_token", last.text("refresh_token").to_owned()),
        ];
        last = repeat(&world, &form).await;
        last.is_ok();
        forms.push(form);
    }
    repeat(&world, &forms[0]).await.is_error(401, "invalid_client");
    assert!(world.is_active(last.text("access_token")).await, "the replayed request has ended the session");
}

/// Threat T52
#[tokio::test]
async fn an_assertion_needs_a_place_only_as_long_as_it_is_valid() {
    let store = MemoryStore::builder().capacity(1_000).build();
    let world = World::with(|builder| {
        builder.store(store).grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new())
    });
    let (_, first) = bank_session(&world, "1").await;
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", first.text("refresh_token"))];
    for number in 0..300 {
        // Every earlier assertion has expired for 3 minutes at least: at most a few are alive.
        world.clock.advance(SECOND * 10);
        let signed = assertion(&world, &format!("r{number}")).claim("iss", "bank").claim("sub", "bank");
        let signed = signed.expires_in(SECOND * 5).sign();
        let answer = signed_post(&world, "/token", &signed, &refresh).await;
        assert_eq!(answer.status(), 200, "refresh {number}, one each 10 s: {answer:?}");
    }
}

/// Threat T50
#[tokio::test]
async fn a_refused_introspection_or_revocation_uses_its_assertion_up() {
    let world = World::new();
    for path in ["/introspect", "/revoke"] {
        let signed = signed_by(&world, "signs", path);
        signed_post(&world, path, &signed, &[]).await.is_error(400, "invalid_request");
        let again = signed_post(&world, "/token", &signed, &[("grant_type", "client_credentials")]).await;
        assert_eq!(again.status(), 401, "{path}: the assertion is accepted a second time");
    }
}

#[tokio::test]
async fn a_client_revokes_what_a_newer_version_has_issued_to_it() {
    let (world, store) = faulty(RefreshTokenGrant::new(), |builder| builder);
    let first = world.redeem(&world.code(&[]).await, &[]).await;
    let token = first.text("refresh_token");
    store.rewrite(|record| record.replacen('{', r#"{"must":["cnf"],"#, 1));
    let answer = world.post("/revoke", "", &[("client_id", "app"), ("token", token)]).await;
    store.rewrite_nothing();
    let goes_on = world.refresh(token, &[]).await.status() == 200;
    assert!(answer.status() != 200 || !goes_on, "200, but the session goes on");
}

#[tokio::test]
async fn the_event_of_a_wrong_secret_names_the_registered_client() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let world = World::with(|builder| {
        let seen = Arc::clone(&seen);
        builder.observe(move |event| seen.lock().unwrap().push((event.kind(), event.client_id().map(str::to_owned))))
    });
    let cc = [("grant_type", "client_credentials")];
    world.post("/token", &basic("reports", "wrong"), &cc).await.is_error(401, "invalid_client");
    let seen = seen.lock().unwrap();
    assert_eq!(*seen, [(EventKind::Refused, Some("reports".to_owned()))]);
}

/// A full share must not prevent what frees places.
///
/// Threat T52
#[tokio::test]
async fn a_client_with_keys_and_a_full_share_can_revoke_and_introspect() {
    let store = MemoryStore::builder().capacity(1_000).build();
    let world = World::with(|builder| builder.store(store));
    let cc = [("grant_type", "client_credentials"), ("resource", OPAQUE)];
    let mut last = None;
    for number in 0..100 {
        let answer = signed_post(&world, "/token", &signed_by(&world, "signs", &number.to_string()), &cc).await;
        if answer.status() == 503 {
            break;
        }
        last = Some(answer);
    }
    let last = last.unwrap();
    let token = [("token", last.text("access_token"))];
    let introspected = signed_post(&world, "/introspect", &signed_by(&world, "signs", "i"), &token).await;
    let revoked = signed_post(&world, "/revoke", &signed_by(&world, "signs", "v"), &token).await;
    assert_eq!((introspected.status(), revoked.status()), (200, 200));
}
