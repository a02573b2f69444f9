//! Grants of an application, against the public API only: a token exchange (RFC 8693) and a device grant (RFC 8628).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        Client, ClientCredential, ClientCredentialsGrant, Clients, Grant, Granted, RefreshTokenGrant, TokenContent,
        TokenEndpoint, TokenEndpointBuilder, TokenError, TokenErrorKind, TokenFormat, TokenRequest,
    },
};

use super::{ISSUER, OPAQUE, World, confidential, machine, part, usual};
use crate::support::API;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// RFC 8693, for access tokens of the endpoint itself.
struct TokenExchange;

impl Grant for TokenExchange {
    fn grant_type(&self) -> &'static str {
        EXCHANGE
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let refuse = |kind, text| Err(TokenError::new(kind, text));
        if request.required("subject_token_type")? != ACCESS_TOKEN {
            return refuse(TokenErrorKind::InvalidRequest, "Only access tokens are exchanged");
        }
        // §2.2.2: an invalid token is an invalid request.
        let Some(token) = request.active_token(request.required("subject_token")?).await? else {
            return refuse(TokenErrorKind::InvalidRequest, "The subject_token is invalid");
        };
        // Only the API that the token is meant for may exchange it.
        if token.audience() != OPAQUE {
            return refuse(TokenErrorKind::InvalidRequest, "The subject_token is not meant for this client");
        }
        let actor = json!({ "sub": request.client().id(), "act": token.claim::<Value>("act") });
        let granted = request.grant_to(token.subject())?;
        let scopes: Vec<&str> =
            granted.scope().split(' ').filter(|name| token.scopes().any(|own| own == *name)).collect();
        if scopes.is_empty() {
            return refuse(TokenErrorKind::InvalidScope, "The subject_token has none of these scopes");
        }
        let left = token.expires_at().duration_since(request.now()).unwrap_or_default();
        let content = TokenContent::new()
            .claim("act", actor)
            .scopes(scopes)
            .lifetime(left.min(Duration::from_secs(120)))
            .response_parameter("issued_token_type", ACCESS_TOKEN);
        Ok(granted.with_content(content))
    }
}

/// What a user decided about a device.
#[derive(Clone)]
enum Decision {
    Pending,
    Denied,
    Approved { scopes: Vec<&'static str>, resources: Vec<&'static str> },
}

fn approved<const S: usize, const R: usize>(scopes: [&'static str; S], resources: [&'static str; R]) -> Decision {
    Decision::Approved { scopes: scopes.to_vec(), resources: resources.to_vec() }
}

/// A device code: the client that got it, its end, when the client polled last, and the user's decision.
struct DeviceCode {
    client: &'static str,
    expires_at: SystemTime,
    polled_at: Option<SystemTime>,
    decision: Decision,
}

/// RFC 8628 §3.4. The device codes are in memory.
#[derive(Clone, Default)]
struct DeviceGrant {
    codes: Arc<Mutex<HashMap<&'static str, DeviceCode>>>,
}

impl Grant for DeviceGrant {
    fn grant_type(&self) -> &'static str {
        DEVICE
    }

    fn issues_refresh_tokens(&self) -> bool {
        true
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let (code, now) = (request.required("device_code")?, request.now());
        let invalid = || TokenError::new(TokenErrorKind::InvalidGrant, "The device code is invalid");
        let decision = {
            let mut codes = self.codes.lock().unwrap();
            let known =
                codes.get_mut(code).filter(|known| known.client == request.client().id()).ok_or_else(invalid)?;
            if now >= known.expires_at {
                return Err(TokenError::new(TokenErrorKind::ExpiredToken, "The device code has expired"));
            }
            let last = known.polled_at.replace(now);
            if last.is_some_and(|last| now < last + Duration::from_secs(5)) {
                return Err(TokenError::new(TokenErrorKind::SlowDown, "Wait five seconds"));
            }
            let decision = known.decision.clone();
            if matches!(decision, Decision::Approved { .. }) {
                codes.remove(code);
            }
            decision
        };
        match decision {
            Decision::Pending => {
                Err(TokenError::new(TokenErrorKind::AuthorizationPending, "The user has not decided yet"))
            }
            Decision::Denied => Err(TokenError::new(TokenErrorKind::AccessDenied, "The user refused")),
            // RFC 8628 §3.4: the token request has no scope.
            Decision::Approved { scopes, resources } => {
                let device = request.headers().get("device-name").and_then(|name| name.to_str().ok());
                let content = TokenContent::new().claim("device", device).username("Ada L.");
                let granted = request.grant_access_to("ada", scopes, resources)?;
                Ok(granted.with_content(content).with_refresh_token())
            }
        }
    }
}

impl DeviceGrant {
    fn add(&self, world: &World, code: &'static str, client: &'static str) {
        let expires_at = tower_oauth::clock::Clock::now(&world.clock) + Duration::from_secs(600);
        let code_of = DeviceCode { client, expires_at, polled_at: None, decision: Decision::Pending };
        self.codes.lock().unwrap().insert(code, code_of);
    }

    fn decide(&self, code: &str, decision: Decision) {
        self.codes.lock().unwrap().get_mut(code).unwrap().decision = decision;
    }
}

/// An endpoint with these clients.
fn world(
    clients: impl IntoIterator<Item = Client>,
    configure: impl FnOnce(TokenEndpointBuilder) -> TokenEndpointBuilder,
) -> World {
    let clients = Clients::new(clients).unwrap();
    let clock = tower_oauth::testing::ManualClock::default();
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let builder = TokenEndpoint::builder(ISSUER, key, clients.clone()).clock(clock.clone());
    World { endpoint: configure(builder).build().unwrap(), clients, clock }
}

fn with_exchange() -> World {
    let gateway = confidential("gateway")
        .grant_types([EXCHANGE, "refresh_token"])
        .default_scopes(["orders:read"])
        .optional_scopes(["orders:write", "orders:delete"])
        .audience(API, TokenFormat::Jwt)
        .audience(OPAQUE, TokenFormat::Opaque);
    let clients = [
        gateway.build().unwrap(),
        machine("reports").build().unwrap(),
        machine("watch").introspects_any_token().build().unwrap(),
    ];
    world(clients, |builder| builder.grant(ClientCredentialsGrant::new()).grant(TokenExchange))
}

async fn exchange(world: &World, token: &str, form: &[(&str, &str)]) -> super::Answer {
    let usual_form = [("grant_type", EXCHANGE), ("subject_token", token), ("subject_token_type", ACCESS_TOKEN)];
    world.post("/token", &usual("gateway"), &[&usual_form, form].concat()).await
}

/// RFC 8693 §2.1 (MUST, accepts)
/// RFC 8693 §2.2.1 (REQUIRED, SHOULD NOT, accepts and refuses)
#[tokio::test]
async fn a_token_exchange_names_the_actor_narrows_the_scope_and_has_no_refresh_token() {
    let world = with_exchange();
    let both = [("resource", OPAQUE), ("scope", "orders:read orders:write")];
    let token = world.access_token("reports", &both).await;
    let answer = exchange(&world, &token, &[("scope", "orders:write orders:delete"), ("resource", API)]).await;
    answer.is_ok();
    // RFC 8693 §2.2.1
    assert_eq!(answer.text("issued_token_type"), ACCESS_TOKEN);
    assert_eq!((answer.text("token_type"), answer.text("scope")), ("Bearer", "orders:write"));
    assert_eq!(answer.json["expires_in"], 120);
    assert!(answer.json.get("refresh_token").is_none());
    let claims = part(answer.text("access_token"), 1);
    assert_eq!(
        (&claims["sub"], &claims["client_id"], &claims["aud"]),
        (&json!("reports"), &json!("gateway"), &json!(API))
    );
    assert_eq!((&claims["act"]["sub"], &claims["scope"]), (&json!("gateway"), &json!("orders:write")));
    let introspected = world.introspect("watch", answer.text("access_token")).await;
    assert_eq!(introspected["act"], claims["act"]);
}

/// RFC 8693 §4.1 (optional, accepts and refuses)
/// Threat T56
#[tokio::test]
async fn a_token_exchange_keeps_the_chain_of_actors_and_the_end_of_the_token() {
    let world = with_exchange();
    let token = world.access_token("reports", &[("resource", OPAQUE)]).await;
    world.clock.advance(Duration::from_secs(15 * 60 - 50));
    let first = exchange(&world, &token, &[("resource", OPAQUE)]).await;
    let lifetime = first.json["expires_in"].as_u64().unwrap();
    // The clock has fractions of a second.
    assert!((49..=50).contains(&lifetime), "{lifetime}");
    let second = exchange(&world, first.text("access_token"), &[]).await;
    let claims = part(second.text("access_token"), 1);
    assert_eq!(claims["act"]["act"]["sub"], "gateway", "{claims}");
}

/// RFC 8693 §2.1 (MUST, refuses)
#[tokio::test]
async fn a_token_exchange_refuses_every_token_that_it_must_not_accept() {
    let world = with_exchange();
    let elsewhere = world.access_token("reports", &[("resource", API)]).await;
    let revoked = world.access_token("reports", &[("resource", OPAQUE)]).await;
    world.post("/revoke", &usual("reports"), &[("token", &revoked)]).await.is_ok();
    for token in [&*elsewhere, &revoked, "made-up", "a.b.c"] {
        exchange(&world, token, &[]).await.is_error(400, "invalid_request");
    }
    let reader = world.access_token("reports", &[("resource", OPAQUE)]).await;
    exchange(&world, &reader, &[("scope", "orders:write")]).await.is_error(400, "invalid_scope");
}

fn with_devices(refresh: Option<RefreshTokenGrant>) -> (World, DeviceGrant) {
    let devices = DeviceGrant::default();
    let client = |id: &str, grants: &[&str]| {
        let client = Client::builder(id, ClientCredential::None).grant_types(grants.iter().copied());
        let client = client.default_scopes(["orders:read"]).optional_scopes(["orders:write"]);
        client.audience(API, TokenFormat::Jwt).audience(OPAQUE, TokenFormat::Opaque).build().unwrap()
    };
    let clients = [
        client("tv", &[DEVICE, "refresh_token"]),
        client("plain-tv", &[DEVICE]),
        confidential("watch").introspects_any_token().build().unwrap(),
    ];
    let world = world(clients, |builder| {
        let builder = builder.grant(devices.clone());
        refresh.into_iter().fold(builder, TokenEndpointBuilder::grant)
    });
    (world, devices)
}

async fn poll(world: &World, client: &str, code: &str) -> super::Answer {
    poll_with(world, client, code, &[]).await
}

async fn poll_with(world: &World, client: &str, code: &str, more: &[(&str, &str)]) -> super::Answer {
    let form = [("grant_type", DEVICE), ("client_id", client), ("device_code", code)];
    let mut request = super::post("/token", "", &[&form, more].concat());
    request.headers_mut().insert("device-name", "kitchen".parse().unwrap());
    world.send(request).await
}

/// RFC 6749 §8.5 (MUST, accepts)
/// RFC 8628 §3.5 (MUST, refuses)
#[tokio::test]
async fn a_device_grant_has_every_error_of_rfc_8628() {
    let (world, devices) = with_devices(None);
    devices.add(&world, "one", "tv");
    devices.add(&world, "two", "tv");
    poll(&world, "tv", "one").await.is_error(400, "authorization_pending");
    poll(&world, "tv", "one").await.is_error(400, "slow_down");
    world.clock.advance(Duration::from_secs(5));
    poll(&world, "tv", "one").await.is_error(400, "authorization_pending");
    devices.decide("one", Decision::Denied);
    world.clock.advance(Duration::from_secs(5));
    poll(&world, "tv", "one").await.is_error(400, "access_denied");
    poll(&world, "plain-tv", "two").await.is_error(400, "invalid_grant");
    world.clock.advance(Duration::from_secs(600));
    poll(&world, "tv", "two").await.is_error(400, "expired_token");
}

/// RFC 6749 §4.5 (MAY, accepts)
/// RFC 8628 §3.5 (MUST, accepts)
#[tokio::test]
async fn an_approved_device_gets_a_refresh_token_whose_tokens_have_the_same_claims() {
    let (world, devices) = with_devices(Some(RefreshTokenGrant::new()));
    devices.add(&world, "one", "tv");
    devices.decide("one", approved(["orders:read"], []));
    let first = poll(&world, "tv", "one").await;
    first.is_ok();
    poll(&world, "tv", "one").await.is_error(400, "invalid_grant");
    world.clock.advance(Duration::from_secs(3600));
    let second = world.refresh(first.text("refresh_token"), &[("client_id", "tv")]).await;
    second.is_ok();
    for answer in [&first, &second] {
        let claims = part(answer.text("access_token"), 1);
        assert_eq!((&claims["sub"], &claims["device"]), (&json!("ada"), &json!("kitchen")), "{claims}");
    }
    let introspected = world.introspect("watch", second.text("access_token")).await;
    assert_eq!((&introspected["username"], &introspected["device"]), (&json!("Ada L."), &json!("kitchen")));
    // The session is one like any other.
    let sessions = world.endpoint.sessions_of_subject("ada", None).await.unwrap();
    assert_eq!((sessions.len(), sessions[0].client_id()), (1, "tv"));
    // A refresh token that was replaced ends it.
    world.clock.advance(Duration::from_secs(120));
    world.refresh(second.text("refresh_token"), &[("client_id", "tv")]).await.is_ok();
    world.refresh(first.text("refresh_token"), &[("client_id", "tv")]).await.is_error(400, "invalid_grant");
    assert!(!world.is_active(second.text("access_token")).await);
}

/// RFC 8628 §3.1 (design, accepts)
#[tokio::test]
async fn a_device_gets_the_optional_scopes_and_the_resources_that_the_user_approved() {
    let (world, devices) = with_devices(Some(RefreshTokenGrant::new()));
    for code in ["all", "chosen", "defaults"] {
        devices.add(&world, code, "tv");
        devices.decide(code, approved(["orders:write", "orders:read", "orders:write"], [OPAQUE, API]));
    }
    let introspected = async |answer: &super::Answer| {
        answer.is_ok();
        assert_eq!(answer.text("scope"), "orders:write orders:read");
        let seen = world.introspect("watch", answer.text("access_token")).await;
        assert_eq!((&seen["sub"], &seen["scope"]), (&json!("ada"), &json!("orders:write orders:read")));
        seen["aud"].clone()
    };
    let first = poll(&world, "tv", "all").await;
    assert_eq!(introspected(&first).await, OPAQUE, "the first one");
    let chosen = poll_with(&world, "tv", "chosen", &[("resource", API)]).await;
    assert_eq!(introspected(&chosen).await, API);
    // RFC 8707 §2.2: a refresh chooses among all that was approved, and the first one is the default.
    for (session, resource, expected) in
        [(&first, Some(API), API), (&first, None, OPAQUE), (&chosen, None, OPAQUE), (&chosen, Some(API), API)]
    {
        let form: Vec<_> =
            [("client_id", "tv")].into_iter().chain(resource.map(|resource| ("resource", resource))).collect();
        let refreshed = world.refresh(session.text("refresh_token"), &form).await;
        assert_eq!(introspected(&refreshed).await, expected);
    }
    // What the user approved counts, and not what the token request asks for.
    devices.decide("defaults", approved(["orders:read"], []));
    let narrow = poll_with(&world, "tv", "defaults", &[("scope", "orders:write")]).await;
    assert_eq!((narrow.text("scope"), &part(narrow.text("access_token"), 1)["aud"]), ("orders:read", &json!(API)));
    let wider = [("client_id", "tv"), ("scope", "orders:write")];
    world.refresh(narrow.text("refresh_token"), &wider).await.is_error(400, "invalid_scope");
    let elsewhere = [("client_id", "tv"), ("resource", OPAQUE)];
    world.refresh(narrow.text("refresh_token"), &elsewhere).await.is_error(400, "invalid_target");
}

/// RFC 8628 §3.1 (design, refuses)
#[tokio::test]
async fn a_device_gets_no_scope_and_no_resource_that_the_client_may_not_have() {
    let (world, devices) = with_devices(Some(RefreshTokenGrant::new()));
    for code in ["some", "none", "nothing", "foreign", "unapproved", "spaces"] {
        devices.add(&world, code, "tv");
    }
    // As for a code, what the client may not have any more is left out.
    devices.decide("some", approved(["admin", "orders:write"], [API]));
    assert_eq!(poll(&world, "tv", "some").await.text("scope"), "orders:write");
    devices.decide("none", approved(["admin"], [API]));
    poll(&world, "tv", "none").await.is_error(400, "invalid_scope");
    devices.decide("nothing", approved([], [API]));
    poll(&world, "tv", "nothing").await.is_error(400, "invalid_scope");
    devices.decide("spaces", approved(["orders:read orders:write", ""], [API]));
    poll(&world, "tv", "spaces").await.is_error(400, "invalid_scope");
    devices.decide("foreign", approved(["orders:read"], ["https://other.test"]));
    poll(&world, "tv", "foreign").await.is_error(400, "invalid_target");
    devices.decide("unapproved", approved(["orders:read"], [API]));
    poll_with(&world, "tv", "unapproved", &[("resource", OPAQUE)]).await.is_error(400, "invalid_target");
}

/// RFC 8628 §3.1 (design, accepts)
#[tokio::test]
async fn a_device_of_a_client_without_scopes_gets_a_token_without_scopes() {
    let devices = DeviceGrant::default();
    let clock = Client::builder("clock", ClientCredential::None).grant_types([DEVICE]).audience(API, TokenFormat::Jwt);
    let world = world([clock.build().unwrap()], |builder| builder.grant(devices.clone()));
    devices.add(&world, "one", "clock");
    devices.decide("one", approved(["orders:read"], []));
    let answer = poll(&world, "clock", "one").await;
    answer.is_ok();
    let claims = part(answer.text("access_token"), 1);
    assert_eq!((&claims["sub"], &claims["aud"], claims.get("scope")), (&json!("ada"), &json!(API), None));
}

/// RFC 6749 §4.5 (MAY, refuses)
#[tokio::test]
async fn there_is_no_refresh_token_unless_client_and_endpoint_have_the_grant() {
    for (refresh, client) in [(Some(RefreshTokenGrant::new()), "plain-tv"), (None, "tv")] {
        let (world, devices) = with_devices(refresh);
        devices.add(&world, "one", client);
        devices.decide("one", approved(["orders:read"], []));
        let answer = poll(&world, client, "one").await;
        answer.is_ok();
        assert!(answer.json.get("refresh_token").is_none(), "{answer:?}");
        assert!(world.is_active(answer.text("access_token")).await);
        assert!(world.endpoint.sessions_of_subject("ada", None).await.unwrap().is_empty());
    }
}

/// RFC 6749 §4.5 (MAY, refuses)
/// Threat T56
#[tokio::test]
async fn a_session_of_an_own_grant_never_has_more_scopes_than_the_grant_left() {
    struct Narrow;
    impl Grant for Narrow {
        fn grant_type(&self) -> &'static str {
            DEVICE
        }

        fn issues_refresh_tokens(&self) -> bool {
            true
        }

        async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
            let content = TokenContent::new().scopes(["orders:read"]);
            Ok(request.grant_to("ada")?.with_content(content).with_refresh_token())
        }
    }
    let tv = Client::builder("tv", ClientCredential::None)
        .grant_types([DEVICE, "refresh_token"])
        .default_scopes(["orders:read", "orders:write"])
        .audience(API, TokenFormat::Jwt);
    let world = world([tv.build().unwrap()], |builder| builder.grant(Narrow).grant(RefreshTokenGrant::new()));
    let first = poll(&world, "tv", "any").await;
    assert_eq!(first.text("scope"), "orders:read");
    let wider = [("client_id", "tv"), ("scope", "orders:write")];
    world.refresh(first.text("refresh_token"), &wider).await.is_error(400, "invalid_scope");
    let second = world.refresh(first.text("refresh_token"), &[("client_id", "tv")]).await;
    assert_eq!(second.text("scope"), "orders:read");
}

/// RFC 6749 §4.5 (MAY, accepts)
#[tokio::test]
async fn what_the_hook_sets_counts_more_than_what_the_grant_sets() {
    let devices = DeviceGrant::default();
    let tv = Client::builder("tv", ClientCredential::None)
        .grant_types([DEVICE, "refresh_token"])
        .default_scopes(["orders:read"])
        .audience(API, TokenFormat::Jwt);
    let world = world([tv.build().unwrap()], |builder| {
        let builder = builder.grant(devices.clone()).grant(RefreshTokenGrant::new());
        builder.customize_tokens(|issuance| async move {
            let content = TokenContent::new().claim("hook", true);
            Ok(if issuance.grant_type() == DEVICE { content.claim("device", "other") } else { content })
        })
    });
    devices.add(&world, "one", "tv");
    devices.decide("one", approved(["orders:read"], []));
    let first = poll(&world, "tv", "one").await;
    let claims = part(first.text("access_token"), 1);
    assert_eq!((&claims["device"], &claims["hook"]), (&json!("other"), &json!(true)));
    // The session has the value of the grant.
    let second = world.refresh(first.text("refresh_token"), &[("client_id", "tv")]).await;
    assert_eq!(part(second.text("access_token"), 1)["device"], "kitchen");
}

/// RFC 6749 §8.5 (MUST, refuses)
#[tokio::test]
async fn an_error_code_of_an_application_has_only_allowed_characters() {
    struct Odd;
    impl Grant for Odd {
        fn grant_type(&self) -> &'static str {
            DEVICE
        }

        async fn decide(&self, _: &TokenRequest<'_>) -> Result<Granted, TokenError> {
            Err(TokenError::new(TokenErrorKind::Other("odd\"\\\ncode"), "It is odd"))
        }
    }
    let tv = Client::builder("tv", ClientCredential::None).grant_types([DEVICE]).audience(API, TokenFormat::Jwt);
    let world = world([tv.build().unwrap()], |builder| builder.grant(Odd));
    poll(&world, "tv", "any").await.is_error(400, "odd???code");
}
