//! What an application and its operator decide: sessions, approvals and denials, and where the endpoint is mounted.

use std::{collections::BTreeSet, time::Duration};

use axum::{
    Router,
    body::Body,
    routing::{any_service, get},
};
use http::{Request, StatusCode};
use tower_oauth::{
    AuthError, IntrospectionVerifier, Issuer, JwtVerifier, OAuthLayer, Token,
    clock::Clock as _,
    keys::{Algorithm, PrivateKey},
    step_up::StepUp,
    testing::ManualClock,
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientBuilder, ClientCredential, ClientCredentialsGrant, DenialReason,
        RefreshTokenGrant, Session, SessionId, TokenEndpoint, TokenFormat,
    },
    verify::ClientAuthentication,
};

use super::{
    AUTHORIZE, Answer, CB, FORM, ISSUER, OPAQUE, World, basic, confidential, encode, part, resource_server::Wire, sent,
    usual, with_users,
};
use crate::support::{API, get_with_token, send};

const HOUR: Duration = Duration::from_secs(3600);

/// Logs a user in at `app`, and returns the response to the redemption.
async fn log_in(world: &World, user: &str, client: &str) -> Answer {
    let request = world.ask(&[("client_id", client)]).await.unwrap();
    let scopes: Vec<String> = request.scopes().map(str::to_owned).collect();
    let sent = sent(&request.approve(user, scopes).await.map(Body::new));
    let answer = world.redeem(&sent[0].1, &[("client_id", client)]).await;
    answer.is_ok();
    answer
}

async fn ids_of(world: &World, user: &str) -> Vec<SessionId> {
    let sessions = world.endpoint.sessions_of_subject(user, None).await.unwrap();
    sessions.iter().map(Session::id).collect()
}

/// Session 14 (design, accepts)
#[tokio::test]
async fn a_users_sessions_are_listed_with_what_was_approved() {
    let world = World::with_users();
    let since = world.clock.now();
    let first = log_in(&world, "ada", "app").await;
    world.clock.advance(HOUR);
    let change = [
        ("client_id", "web"),
        ("redirect_uri", "https://web.test/2"),
        ("scope", "orders:read orders:write"),
        ("resource", OPAQUE),
    ];
    let code = world.code(&change).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("redirect_uri", "https://web.test/2"),
        ("code_verifier", super::VERIFIER),
        ("code", &*code),
    ];
    world.post("/token", &usual("web"), &form).await.is_ok();
    world.clock.advance(HOUR);
    world.refresh(first.text("refresh_token"), &[]).await.is_ok();
    log_in(&world, "bob", "app").await;

    let sessions = world.endpoint.sessions_of_subject("ada", None).await.unwrap();
    assert_eq!(sessions.len(), 2);
    let seconds = |time: std::time::SystemTime| time.duration_since(since).unwrap().as_secs_f64().round();
    for session in &sessions {
        let (scopes, audiences): (Vec<_>, Vec<_>) = (session.scopes().collect(), session.audiences().collect());
        assert_eq!(session.subject(), "ada");
        let times = (seconds(session.since() + Duration::from_secs(1)), seconds(session.last_used_at()));
        match session.client_id() {
            "app" => {
                assert_eq!((&*scopes, &*audiences), (&["orders:read"][..], &[API][..]));
                assert!(times.0 <= 1.0 && (7199.0..=7201.0).contains(&times.1), "{times:?}");
            }
            "web" => {
                assert_eq!((&*scopes, &*audiences), (&["orders:read", "orders:write"][..], &[OPAQUE][..]));
                assert!((3599.0..=3601.0).contains(&times.1), "{times:?}");
            }
            other => panic!("{other}"),
        }
        assert!(!format!("{session:?}").contains("ada"), "the user is not part of Debug");
    }
    assert_eq!(ids_of(&world, "bob").await.len(), 1);
    assert!(ids_of(&world, "eve").await.is_empty());
}

/// Session 14 (design, refuses)
#[tokio::test]
async fn a_session_that_an_operator_ends_is_over_at_once() {
    let world = World::with_users();
    let (first, second) = (log_in(&world, "ada", "app").await, log_in(&world, "ada", "app").await);
    let ids = ids_of(&world, "ada").await;
    let is_first =
        |id: &&SessionId| part(first.text("access_token"), 1)["jti"].as_str().unwrap()[..20] == id.to_string()[..20];
    let id = *ids.iter().find(is_first).unwrap();
    world.endpoint.end_session(id).await.unwrap();
    assert!(!world.is_active(first.text("access_token")).await && world.is_active(second.text("access_token")).await);
    world.refresh(first.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
    world.refresh(second.text("refresh_token"), &[]).await.is_ok();
    // It can be repeated, also for a session that never was.
    world.endpoint.end_session(id).await.unwrap();
    world.endpoint.end_session(SessionId::from([7; 16])).await.unwrap();
    assert_eq!(ids_of(&world, "ada").await.len(), 1);
}

/// Session 14 (design, refuses)
#[tokio::test]
async fn ending_all_sessions_of_a_user_or_a_client_includes_unused_codes() {
    let world = World::with_users();
    let own = world.access_token("reports", &[]).await;
    let second = ClientCredential::None;
    world.clients.insert(with_users(Client::builder("second", second).redirect_uri(CB)).build().unwrap());
    for ends_client in [false, true] {
        let tokens = [log_in(&world, "ada", "app").await, log_in(&world, "ada", "app").await];
        let code = world.code(&[]).await;
        let others = log_in(&world, "bob", "second").await;
        assert_eq!(ids_of(&world, "ada").await.len(), 2, "an unused code is not a session");
        let ended = if ends_client {
            world.endpoint.end_sessions_of_client("app").await.unwrap()
        } else {
            world.endpoint.end_sessions_of_subject("ada").await.unwrap()
        };
        assert_eq!(ended, 3);
        world.redeem(&code, &[]).await.is_error(400, "invalid_grant");
        for answer in tokens {
            assert!(!world.is_active(answer.text("access_token")).await);
            world.refresh(answer.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
        }
        assert!(ids_of(&world, "ada").await.is_empty());
        world.refresh(others.text("refresh_token"), &[("client_id", "second")]).await.is_ok();
    }
    assert_eq!(world.endpoint.end_sessions_of_client("reports").await.unwrap(), 0);
    assert!(world.is_active(&own).await, "a client's own tokens belong to no session");
}

/// Session 14 (design, accepts)
#[tokio::test]
async fn a_long_list_is_read_in_pages_and_ended_as_a_whole() {
    let world = World::with_users();
    for number in 0..250 {
        log_in(&world, "ada", "app").await;
        // More codes than a page has places, between the sessions.
        if number % 2 == 0 {
            world.code(&[]).await;
        }
    }
    let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = world.endpoint.sessions_of_subject("ada", after).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.len() <= 100);
        after = Some(last.id());
        found.extend(page.iter().map(Session::id));
        pages += 1;
    }
    assert!(pages >= 3 && found.is_sorted());
    assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 250);
    assert_eq!(found.len(), 250);
    assert_eq!(world.endpoint.end_sessions_of_subject("ada").await.unwrap(), 375);
    assert_eq!(world.endpoint.end_sessions_of_subject("ada").await.unwrap(), 0);
}

#[tokio::test]
async fn a_list_of_unused_codes_only_has_no_session_and_ends() {
    let world = World::with_users();
    for _ in 0..250 {
        world.code(&[]).await;
    }
    assert!(ids_of(&world, "ada").await.is_empty());
    log_in(&world, "ada", "app").await;
    assert_eq!(ids_of(&world, "ada").await.len(), 1);
}

/// Session 14 (design, accepts)
#[tokio::test]
async fn with_max_sessions_the_oldest_session_of_client_and_user_ends() {
    let world = World::with_users();
    let few = with_users(confidential("few").redirect_uri(CB)).max_sessions(2).build().unwrap();
    world.clients.insert(few);
    let log_in = async |user: &str| {
        let request = world.ask(&[("client_id", "few")]).await.unwrap();
        let sent = sent(&request.approve(user, ["orders:read"]).await.map(Body::new));
        let form = [
            ("grant_type", "authorization_code"),
            ("redirect_uri", CB),
            ("code_verifier", super::VERIFIER),
            ("code", &*sent[0].1),
        ];
        let answer = world.post("/token", &usual("few"), &form).await;
        answer.is_ok();
        answer
    };
    let elsewhere = self::log_in(&world, "ada", "app").await;
    let bob = log_in("bob").await;
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(log_in("ada").await);
        let active: Vec<_> = which_are_active(&world, &sessions).await;
        let expected: Vec<_> = (0..sessions.len()).map(|at| at + 2 >= sessions.len()).collect();
        assert_eq!(active, expected);
    }
    // A code that is never used takes no place of a session.
    world.code(&[("client_id", "few")]).await;
    assert_eq!(which_are_active(&world, &sessions[3..]).await, [true, true]);
    assert_eq!(which_are_active(&world, &[bob, elsewhere]).await, [true, true]);
    assert_eq!(ids_of(&world, "ada").await.len(), 3);
}

/// Returns which of the access tokens are active.
async fn which_are_active(world: &World, answers: &[Answer]) -> Vec<bool> {
    let mut active = Vec::new();
    for answer in answers {
        active.push(world.is_active(answer.text("access_token")).await);
    }
    active
}

/// RFC 7009 §2.2 (MUST, refuses)
#[tokio::test]
async fn revoking_a_token_of_another_client_gets_200_and_revokes_nothing() {
    let world = World::with_users();
    let session = log_in(&world, "ada", "app").await;
    let own = world.access_token("reports", &[("resource", OPAQUE)]).await;
    for text in [session.text("access_token"), session.text("refresh_token"), &own] {
        for (proof, form) in
            [(usual("others"), vec![("token", text)]), (String::new(), vec![("token", text), ("client_id", "native")])]
        {
            let answer = world.post("/revoke", &proof, &form).await;
            answer.is_ok();
            assert_eq!(answer.plain.body, "{}");
        }
    }
    assert!(world.is_active(session.text("access_token")).await && world.is_active(&own).await);
    world.refresh(session.text("refresh_token"), &[]).await.is_ok();
    world.post("/revoke", &basic("others", "wrong"), &[("token", &own)]).await.is_error(401, "invalid_client");
}

/// RFC 9470 §5 (MUST, refuses)
#[tokio::test]
async fn approving_no_scope_denies_the_request() {
    let world = World::with_users();
    let none: [&str; 0] = [];
    let denied = sent(&world.ask(&[]).await.unwrap().approve("ada", none).await.map(Body::new));
    assert_eq!(denied[0], ("error".to_owned(), "access_denied".to_owned()));
    assert_eq!(world.endpoint.end_sessions_of_subject("ada").await.unwrap(), 0);
    // A client that has no scopes requests none.
    let plain = Client::builder("plain", ClientCredential::None)
        .grant_types(["authorization_code"])
        .redirect_uri(CB)
        .audience(API, TokenFormat::Jwt);
    world.clients.insert(plain.build().unwrap());
    let asked = world.ask(&[("client_id", "plain")]).await.unwrap();
    let approved = sent(&asked.approve("ada", none).await.map(Body::new));
    assert_eq!(approved[0].0, "code");
    let answer = world.redeem(&approved[0].1, &[("client_id", "plain")]).await;
    answer.is_ok();
    assert!(answer.json.get("scope").is_none() && answer.json.get("refresh_token").is_none());
}

/// RFC 9470 §5 (MUST, accepts)
#[tokio::test]
async fn a_denial_has_the_registered_code_of_its_reason() {
    let world = World::with_users();
    for (reason, code) in [
        (DenialReason::AccessDenied, "access_denied"),
        (DenialReason::LoginRequired, "login_required"),
        (DenialReason::ConsentRequired, "consent_required"),
        (DenialReason::AccountSelectionRequired, "account_selection_required"),
        (DenialReason::InteractionRequired, "interaction_required"),
        (DenialReason::UnmetAuthenticationRequirements, "unmet_authentication_requirements"),
    ] {
        assert_eq!(reason.as_str(), code);
        let sent = sent(&world.ask(&[]).await.unwrap().deny(reason).map(Body::new));
        let names: Vec<_> = sent.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["error", "error_description", "state", "iss"]);
        assert_eq!((&*sent[0].1, &*sent[2].1, &*sent[3].1), (code, "s t&te", ISSUER));
    }
}

/// RFC 9470 §4 (SHOULD, accepts)
#[tokio::test]
async fn the_application_can_read_how_the_client_wants_the_user_to_log_in() {
    let world = World::with_users();
    let plain = world.ask(&[]).await.unwrap();
    assert_eq!((plain.prompts().count(), plain.acr_values().count()), (0, 0));
    assert_eq!((plain.max_age(), plain.login_hint()), (None, None));
    let asked = world
        .ask(&[
            ("prompt", "login consent"),
            ("max_age", "300"),
            ("acr_values", "urn:mfa  urn:password"),
            ("login_hint", "ada@example.test"),
        ])
        .await
        .unwrap();
    assert_eq!(asked.prompts().collect::<Vec<_>>(), ["login", "consent"]);
    assert_eq!(asked.max_age(), Some(Duration::from_secs(300)));
    assert_eq!(asked.acr_values().collect::<Vec<_>>(), ["urn:mfa", "urn:password"]);
    assert_eq!(asked.login_hint(), Some("ada@example.test"));
    let silent = world.ask(&[("prompt", "none"), ("max_age", "0")]).await.unwrap();
    assert_eq!((silent.prompts().collect::<Vec<_>>(), silent.max_age()), (vec!["none"], Some(Duration::ZERO)));
}

/// RFC 9470 §4 (SHOULD, refuses)
#[tokio::test]
async fn a_contradictory_prompt_and_a_malformed_max_age_are_refused() {
    let world = World::with_users();
    for (name, value) in [
        ("prompt", "none login"),
        ("prompt", "consent none"),
        ("max_age", "-1"),
        ("max_age", "1.5"),
        ("max_age", "soon"),
        ("max_age", "99999999999999999999999"),
    ] {
        let refused = world.ask(&[(name, value)]).await.err().unwrap_or_else(|| panic!("{name}={value}"));
        assert_eq!((refused.code(), refused.redirect_uri()), ("invalid_request", Some(CB)), "{name}={value}");
    }
}

/// An API with an operation for users that logged in by a strong method, five minutes ago at most.
fn strict_api(layer: OAuthLayer, clock: &ManualClock) -> Router {
    let step_up = StepUp::builder().acr("urn:mfa").max_age(Duration::from_secs(300)).clock(clock.clone()).build();
    let step_up = step_up.unwrap();
    let handler = move |token: Token| {
        let step_up = step_up.clone();
        async move { step_up.check(&token).map(|()| "transferred") as Result<_, AuthError> }
    };
    Router::new().route("/transfer", get(handler)).layer(layer)
}

/// RFC 9470 §6 b (SHOULD, accepts and refuses)
#[tokio::test]
async fn a_token_has_acr_and_auth_time_which_step_up_requires() {
    let world = World::with_users();
    let wire = || Wire(world.endpoint.clone());
    let issuer = Issuer::builder(ISSUER).fetch(wire()).discover().await.unwrap();
    let jwts = JwtVerifier::builder(issuer.clone(), API).clock(world.clock.clone()).build().unwrap();
    let watch = ClientAuthentication::secret_basic("watch", "watch-secret");
    let asks = IntrospectionVerifier::builder(issuer, watch, OPAQUE).fetch(wire()).clock(world.clock.clone());
    let apps = [
        (API, strict_api(OAuthLayer::new(jwts), &world.clock)),
        (OPAQUE, strict_api(OAuthLayer::new(asks.build().unwrap()), &world.clock)),
    ];
    for (resource, app) in apps {
        let logged_in = world.clock.now() - Duration::from_secs(100);
        for strong in [true, false] {
            let change = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1/cb"), ("resource", resource)];
            let request = world.ask(&change).await.unwrap().with_authentication_time(logged_in);
            let request = if strong { request.with_authentication_context("urn:mfa") } else { request };
            let sent = sent(&request.approve("ada", ["orders:read"]).await.map(Body::new));
            let first = world.redeem(&sent[0].1, &change[..2]).await;
            first.is_ok();
            // The next tokens of the session have the same values.
            let second = world.refresh(first.text("refresh_token"), &change[..1]).await;
            for answer in [&first, &second] {
                let token = answer.text("access_token");
                let facts = world.introspect("watch", token).await;
                let seconds = logged_in.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
                assert_eq!(facts["auth_time"], seconds);
                assert_eq!(facts.get("acr").and_then(serde_json::Value::as_str), strong.then_some("urn:mfa"));
                if resource == API {
                    let claims = part(token, 1);
                    assert_eq!((&claims["auth_time"], claims.get("acr")), (&facts["auth_time"], facts.get("acr")));
                }
                let answer = get_with_token(&app, "/transfer", token).await;
                if strong {
                    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "transferred"), "{resource}");
                } else {
                    assert!(answer.is_refusal(401, "insufficient_user_authentication"), "{answer:?}");
                }
            }
        }
    }
}

/// RFC 8707 §2.2 (MUST, accepts)
#[tokio::test]
async fn a_token_has_only_the_scopes_of_its_api() {
    let world = World::with_users();
    let split = |client: ClientBuilder| {
        let client = client.audience_scopes(API, ["orders:read"]).audience_scopes(OPAQUE, ["orders:write"]);
        client.build().unwrap()
    };
    world.clients.insert(split(super::machine("split")));
    let both = ("scope", "orders:read orders:write");
    for (resource, scope) in [(API, "orders:read"), (OPAQUE, "orders:write")] {
        let answer = world.token("split", &[both, ("resource", resource)]).await;
        answer.is_ok();
        assert_eq!(answer.text("scope"), scope);
        assert_eq!(world.introspect("watch", answer.text("access_token")).await["scope"], scope);
    }
    // The default scope does not belong to that API, so there is nothing to grant.
    world.token("split", &[("resource", OPAQUE)]).await.is_error(400, "invalid_scope");

    // One session with both APIs gets a token for each.
    let user = Client::builder("pair", ClientCredential::None);
    world.clients.insert(split(with_users(user.redirect_uri(CB))));
    let own = ("client_id", "pair");
    let code = {
        let query = encode(&[
            own,
            ("redirect_uri", CB),
            ("response_type", "code"),
            ("code_challenge", super::CHALLENGE),
            ("code_challenge_method", "S256"),
            both,
            ("resource", API),
            ("resource", OPAQUE),
        ]);
        let request = world.endpoint.authorize(&format!("/authorize?{query}").parse().unwrap()).await.unwrap();
        sent(&request.approve("ada", ["orders:read", "orders:write"]).await.map(Body::new)).swap_remove(0).1
    };
    let first = world.redeem(&code, &[own]).await;
    assert_eq!(first.text("scope"), "orders:read");
    let second = world.refresh(first.text("refresh_token"), &[own, ("resource", OPAQUE)]).await;
    assert_eq!(second.text("scope"), "orders:write");
    // A refused request costs nothing.
    let token = second.text("refresh_token");
    world.refresh(token, &[own, ("resource", OPAQUE), ("scope", "orders:read")]).await.is_error(400, "invalid_scope");
    assert_eq!(world.refresh(token, &[own, ("resource", API)]).await.text("scope"), "orders:read");
}

#[tokio::test]
async fn the_endpoint_works_nested_at_the_path_of_its_issuer() {
    let world = World::with_users();
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let endpoint = TokenEndpoint::builder("https://as.test/tenant/1", key, world.clients.clone())
        .grant(ClientCredentialsGrant::new())
        .grant(AuthorizationCodeGrant::new(AUTHORIZE))
        .grant(RefreshTokenGrant::new())
        .metadata_at_openid_configuration()
        .build()
        .unwrap();
    let well_known = "/.well-known/oauth-authorization-server/tenant/1";
    let nested =
        Router::new().nest_service("/tenant/1", endpoint.nested()).route(well_known, any_service(endpoint.clone()));
    let mounted = endpoint.paths().fold(Router::new(), |app, path| app.route(path, any_service(endpoint.clone())));
    let below = Router::new().fallback_service(endpoint.clone());
    for app in [nested, mounted, below] {
        let post = async |path: &str, form: &[(&str, &str)]| {
            let request = Request::post(format!("/tenant/1{path}")).header("content-type", FORM);
            let request = request.header("authorization", usual("watch"));
            send(&app, request.body(Body::from(encode(form))).unwrap()).await
        };
        let form = [("grant_type", "client_credentials")];
        let request = Request::post("/tenant/1/token").header("content-type", FORM);
        let request = request.header("authorization", usual("reports")).body(Body::from(encode(&form))).unwrap();
        let answer = send(&app, request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let answer: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let token = answer["access_token"].as_str().unwrap();
        assert_eq!(part(token, 1)["iss"], "https://as.test/tenant/1");
        assert!(post("/introspect", &[("token", token)]).await.body.contains(r#""active":true"#));
        assert_eq!(post("/revoke", &[("token", token)]).await.status, 200);
        for path in ["/tenant/1/jwks.json", well_known, "/tenant/1/.well-known/openid-configuration"] {
            let answer = send(&app, Request::get(path).body(Body::empty()).unwrap()).await;
            assert_eq!(answer.status, 200, "{path}");
        }
        let unknown = send(&app, Request::get("/tenant/1/unknown").body(Body::empty()).unwrap()).await;
        assert_eq!(unknown.status, 404);
    }
}
