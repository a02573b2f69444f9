//! `/authorize` and `authorization_code`: RFC 6749 §4.1, RFC 7636, RFC 8707, RFC 9207, RFC 9700.

use std::time::{Duration, SystemTime};

use axum::{Router, body::Body, extract::FromRef, response::IntoResponse as _, routing::get};
use futures_util::future::join_all;
use http::Request;
use tower::ServiceExt as _;
use tower_oauth::{
    clock::Clock as _,
    keys::Algorithm,
    token_endpoint::{AuthorizationError, AuthorizationRequest, DenialReason, TokenEndpoint, TokenFormat},
};

use super::{CB, CHALLENGE, ISSUER, OPAQUE, VERIFIER, World, assertion_key, basic, confidential, part, sent, usual};
use crate::support::API;

type Sent = Vec<(String, String)>;

fn pairs(pairs: &[(&str, &str)]) -> Sent {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Returns the error that the redirect sends to the client.
fn error_in_redirect(error: AuthorizationError) -> String {
    assert_eq!(error.redirect_uri(), Some(CB), "{error}");
    let sent = sent(&error.into_response().map(Body::new));
    let names: Vec<_> = sent.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["error", "error_description", "state", "iss"]);
    assert_eq!(sent[2..], pairs(&[("state", "s t&te"), ("iss", ISSUER)]));
    sent[0].1.clone()
}

/// RFC 6749 §3.2.1 (MUST, accepts)
/// RFC 6749 §4.1.2 a (MUST, SHOULD, accepts)
/// RFC 6749 §4.1.2 b (REQUIRED, accepts)
/// RFC 7636 §4.4 (MUST, accepts)
/// RFC 9700 §4.12 (MUST, SHOULD, accepts)
/// RFC 9700 §4.15.1 (SHOULD NOT, accepts)
/// RFC 9207 §2 (MUST, accepts)
/// Threats T17, T26
#[tokio::test]
async fn a_code_is_requested_approved_and_redeemed() {
    let world = World::with_users();
    let request = world.ask(&[]).await.unwrap();
    assert_eq!((request.client_id(), request.redirect_uri()), ("app", CB));
    assert_eq!(request.scopes().collect::<Vec<_>>(), ["orders:read"]);
    assert_eq!(request.resources().collect::<Vec<_>>(), [API]);
    let login = world.clock.now() - Duration::from_secs(120);
    let response = request.with_authentication_time(login).approve("ada", ["orders:read"]).await.map(Body::new);
    let sent = sent(&response);
    let code = sent[0].1.clone();
    assert_eq!(sent, pairs(&[("code", &code), ("state", "s t&te"), ("iss", ISSUER)]));
    assert_eq!(code.len(), 64);
    assert!(response.headers()["location"].to_str().unwrap().contains("&state=s+t%26te&iss=https%3A%2F%2Fas.test"));

    let answer = world.redeem(&code, &[]).await;
    answer.is_ok();
    assert_eq!(answer.text("scope"), "orders:read");
    assert_eq!(answer.text("refresh_token").len(), 64);
    let claims = part(answer.text("access_token"), 1);
    assert_eq!((&claims["sub"], &claims["client_id"], &claims["aud"]), (&"ada".into(), &"app".into(), &API.into()));
    let since = login.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert_eq!(claims["auth_time"], since);
    assert_eq!(world.introspect("watch", answer.text("access_token")).await["auth_time"], since);
    // A refresh token is not an access token.
    assert!(!world.is_active(answer.text("refresh_token")).await);
}

/// RFC 6749 §4.1.2 b (REQUIRED, refuses)
/// RFC 9207 §2 (MUST, refuses)
/// Threat T17
#[tokio::test]
async fn deny_redirects_to_the_client_with_an_error() {
    let world = World::with_users();
    let sent = sent(&world.ask(&[]).await.unwrap().deny(DenialReason::AccessDenied).map(Body::new));
    assert_eq!(sent[0], ("error".to_owned(), "access_denied".to_owned()));
    assert_eq!(sent[2..], pairs(&[("state", "s t&te"), ("iss", ISSUER)]));
    let world = World::with_users();
    let sent = super::sent(&world.ask(&[("state", "")]).await.unwrap().deny(DenialReason::AccessDenied).map(Body::new));
    assert_eq!(sent[2..], pairs(&[("iss", ISSUER)]), "without state in the request there is none in the redirect");
}

/// RFC 6749 §4.1.2.1 (MUST NOT, refuses)
/// RFC 9700 §2.1 a (MUST, refuses)
/// RFC 9700 §4.12 (MUST, SHOULD, refuses)
/// Threat T16
#[tokio::test]
async fn a_wrong_client_or_redirect_uri_never_redirects() {
    let world = World::with_users();
    for wrong in [
        vec![("client_id", "")],
        vec![("client_id", "unknown")],
        vec![("client_id", "app"), ("client_id", "app")],
        vec![("redirect_uri", CB), ("redirect_uri", CB)],
        vec![("redirect_uri", "https://evil.test/cb")],
        vec![("redirect_uri", "https://app.test/cb/")],
        vec![("redirect_uri", "https://app.test/cb?x")],
        vec![("redirect_uri", "https://app.test.evil.test/cb")],
        vec![("client_id", "reports")],
        vec![("client_id", "web"), ("redirect_uri", "")],
        vec![("client_id", "native"), ("redirect_uri", "http://localhost:1/cb")],
    ] {
        let error = world.ask(&wrong).await.unwrap_err();
        assert_eq!((error.redirect_uri(), error.code()), (None, "invalid_request"), "{wrong:?}");
        let response = error.into_response();
        assert_eq!(response.status(), 400);
        assert!(!response.headers().contains_key("location"));
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    }
    let uri = "/authorize?client_id=%FF".parse().unwrap();
    assert!(world.endpoint.authorize(&uri).await.unwrap_err().redirect_uri().is_none());
}

/// RFC 6749 §4.1.2.1 (MUST NOT, accepts)
/// RFC 9700 §2.1.1 a (MUST, refuses)
/// RFC 9700 §2.4 (MUST NOT, refuses)
/// RFC 9207 §2 (MUST, refuses)
/// Threats T14, T15
#[tokio::test]
async fn every_other_error_is_sent_to_the_client() {
    let world = World::with_users();
    for (change, code) in [
        (vec![("response_type", "")], "invalid_request"),
        (vec![("response_type", "token")], "unsupported_response_type"),
        (vec![("response_type", "code token")], "unsupported_response_type"),
        (vec![("response_type", "code"), ("response_type", "code")], "invalid_request"),
        (vec![("response_mode", "fragment")], "invalid_request"),
        (vec![("scope", "admin")], "invalid_scope"),
        (vec![("scope", "a\"b")], "invalid_scope"),
        (vec![("scope", "orders:read"), ("scope", "orders:read")], "invalid_request"),
        (vec![("resource", "https://other.test")], "invalid_target"),
        (vec![("request", "x")], "request_not_supported"),
        (vec![("request_uri", "urn:x")], "request_uri_not_supported"),
        (vec![("code_challenge", "")], "invalid_request"),
        (vec![("code_challenge_method", "")], "invalid_request"),
        (vec![("code_challenge_method", "plain")], "invalid_request"),
        (vec![("code_challenge_method", "s256")], "invalid_request"),
        (vec![("code_challenge", VERIFIER), ("code_challenge_method", "plain")], "invalid_request"),
        (vec![("code_challenge", &CHALLENGE[1..])], "invalid_request"),
        (vec![("code_challenge", &format!("{CHALLENGE}="))], "invalid_request"),
        (vec![("code_challenge", CHALLENGE), ("code_challenge", CHALLENGE)], "invalid_request"),
    ] {
        assert_eq!(error_in_redirect(world.ask(&change).await.unwrap_err()), code, "{change:?}");
    }
    world.clients.insert(confidential("web").redirect_uri(CB).build().unwrap());
    assert_eq!(error_in_redirect(world.ask(&[("client_id", "web")]).await.unwrap_err()), "unauthorized_client");
    // Without the grant authorization_code.
    assert_eq!(error_in_redirect(World::new().ask(&[]).await.unwrap_err()), "unsupported_response_type");
    assert!(
        world.ask(&[("prompt", "none"), ("nonce", "x"), ("nonce", "x")]).await.is_ok(),
        "unknown parameters are ignored"
    );
}

/// RFC 7636 §4.4 (MUST, refuses)
/// RFC 9700 §2.1.1 a (MUST, refuses)
/// Threats T13, T14
#[tokio::test]
async fn pkce_binds_the_code_to_the_client_that_requested_it() {
    let world = World::with_users();
    let code = world.code(&[]).await;
    let long = "a".repeat(129);
    for wrong in ["", &VERIFIER[1..], &VERIFIER.replace('d', "e"), CHALLENGE, &long, &format!("{VERIFIER}=")] {
        world.redeem(&code, &[("code_verifier", wrong)]).await.is_error(400, "invalid_grant");
    }
    world
        .redeem(&code, &[("code_verifier", VERIFIER), ("code_verifier", VERIFIER)])
        .await
        .is_error(400, "invalid_request");
    world.redeem(&code, &[]).await.is_ok();
    // A client can't leave the challenge out, unless it is so configured.
    assert!(world.ask(&[("code_challenge", ""), ("code_challenge_method", "")]).await.is_err());
    assert!(
        world
            .ask(&[("client_id", "web"), ("redirect_uri", "https://web.test/2"), ("code_challenge", "")])
            .await
            .is_err()
    );
}

/// RFC 6749 §3.2.1 (MUST, refuses)
/// RFC 6749 §4.1.2 a (MUST, SHOULD, refuses)
/// RFC 6749 §4.1.3 (MUST, accepts and refuses)
/// Threat T12
#[tokio::test]
async fn a_code_is_bound_to_its_client_and_redirect_uri() {
    let world = World::with_users();
    let code = world.code(&[]).await;
    for wrong in [
        vec![("redirect_uri", "https://app.test/cb/")],
        vec![("redirect_uri", "http://127.0.0.1/cb")],
        vec![("client_id", "native")],
        vec![("client_id", "native"), ("redirect_uri", "")],
        vec![("client_id", "web"), ("client_secret", "web-secret")],
        vec![("code", "x")],
    ] {
        world.redeem(&code, &wrong).await.is_error(400, "invalid_grant");
    }
    world.redeem(&code, &[("code", "")]).await.is_error(400, "invalid_request");
    world.redeem(&code, &[("client_id", "unknown")]).await.is_error(401, "invalid_client");
    world.redeem(&code, &[("client_id", "")]).await.is_error(401, "invalid_client");
    world.redeem(&code, &[]).await.is_ok();

    // A redirect URI that was not in the authorization request must not be in the token request.
    let code = world.code(&[("redirect_uri", "")]).await;
    world.redeem(&code, &[]).await.is_error(400, "invalid_grant");
    world.redeem(&code, &[("redirect_uri", "")]).await.is_ok();
}

/// RFC 6749 §3.2.1 (MUST, accepts)
#[tokio::test]
async fn a_confidential_client_authenticates_when_it_redeems() {
    let world = World::with_users();
    let ask = [("client_id", "web"), ("redirect_uri", "https://web.test/cb?tenant=1")];
    let code = world.code(&ask).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("redirect_uri", "https://web.test/cb?tenant=1"),
        ("code_verifier", VERIFIER),
        ("code", &*code),
    ];
    world.redeem(&code, &ask).await.is_error(401, "invalid_client");
    world.post("/token", &basic("web", "wrong"), &form).await.is_error(401, "invalid_client");
    world.post("/token", &usual("app"), &form).await.is_error(401, "invalid_client");
    world.post("/token", &usual("web"), &form).await.is_ok();

    // It can also authenticate with an assertion. The redirect URI keeps its own query.
    let response = world.ask(&ask).await.unwrap().deny(DenialReason::AccessDenied);
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.starts_with("https://web.test/cb?tenant=1&error=access_denied&"), "{location}");
    let code = world.code(&[("client_id", "bank")]).await;
    let signed = assertion_key(Algorithm::ES256).with_clock(world.clock.clone()).client_token("bank");
    let signed = signed.claim("iss", "bank").audience(ISSUER).header("typ", "JWT").sign();
    let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    let proof = [("client_id", "bank"), ("client_assertion_type", kind), ("client_assertion", &*signed)];
    world.redeem(&code, &proof).await.is_ok();
}

/// RFC 6749 §4.1.2 a (MUST, SHOULD, accepts)
/// Threat T12
#[tokio::test]
async fn a_code_expires_after_a_minute() {
    let world = World::with_users();
    let (one, two) = (world.code(&[]).await, world.code(&[]).await);
    world.clock.advance(Duration::from_secs(59));
    world.redeem(&one, &[]).await.is_ok();
    world.clock.advance(Duration::from_secs(1));
    world.redeem(&two, &[]).await.is_error(400, "invalid_grant");
    // A code that is expired but still stored is refused, too: the store removes expired entries in batches.
    for _ in 0..64 {
        world.code(&[]).await;
    }
    world.clock.advance(Duration::from_secs(1));
    let last = world.code(&[]).await;
    world.clock.advance(Duration::from_secs(60));
    world.redeem(&last, &[]).await.is_error(400, "invalid_grant");
}

/// RFC 6749 §4.1.2 a (MUST, SHOULD, refuses)
/// Threat T10
#[tokio::test]
async fn a_replayed_code_revokes_the_tokens_issued_for_it() {
    let world = World::with_users();
    let code = world.code(&[]).await;
    let first = world.redeem(&code, &[]).await;
    first.is_ok();
    let next = world.refresh(first.text("refresh_token"), &[]).await;
    next.is_ok();
    // With the code alone an attacker can't revoke the tokens.
    for wrong in [("code_verifier", CHALLENGE), ("redirect_uri", "https://app.test/"), ("client_id", "native")] {
        world.redeem(&code, &[wrong]).await.is_error(400, "invalid_grant");
    }
    assert!(world.is_active(first.text("access_token")).await && world.is_active(next.text("access_token")).await);
    // A complete request revokes them, also long after the code has expired: its sender has the code and the verifier.
    world.clock.advance(Duration::from_secs(600));
    world.redeem(&code, &[]).await.is_error(400, "invalid_grant");
    assert!(!world.is_active(first.text("access_token")).await && !world.is_active(next.text("access_token")).await);
    world.refresh(next.text("refresh_token"), &[]).await.is_error(400, "invalid_grant");
}

/// RFC 6749 §4.1.2 a (MUST, SHOULD, refuses)
/// Threat T11
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_requests_that_redeem_one_code_one_succeeds() {
    let world = World::with_users();
    let code = world.code(&[]).await;
    let answers = join_all((0..64).map(|_| world.redeem(&code, &[]))).await;
    let winners: Vec<_> = answers.iter().filter(|answer| answer.status() == 200).collect();
    assert_eq!(winners.len(), 1);
    assert!(!world.is_active(winners[0].text("access_token")).await, "the replays revoked its tokens");
}

#[tokio::test]
async fn a_user_can_approve_some_of_the_scopes_and_no_others() {
    let world = World::with_users();
    let both =
        [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:5000/cb"), ("scope", "orders:read orders:write")];
    let request = world.ask(&both).await.unwrap();
    let some = sent(&request.approve("ada", ["orders:write"]).await.map(Body::new));
    let answer = world.redeem(&some[0].1, &both[..2]).await;
    answer.is_ok();
    assert_eq!(answer.text("scope"), "orders:write");
    // A response without a scope would mean all requested scopes (RFC 6749 §5.1).
    let none = sent(&world.ask(&both).await.unwrap().approve("ada", [""; 0]).await.map(Body::new));
    assert_eq!(none[0].1, "access_denied");
    for beyond in ["admin", "orders:read admin", ""] {
        let sent = sent(&world.ask(&both).await.unwrap().approve("ada", [beyond]).await.map(Body::new));
        assert_eq!(sent[0].1, "server_error", "{beyond}");
    }
}

/// RFC 9700 §4.15.1 (SHOULD NOT, refuses)
#[tokio::test]
async fn an_empty_subject_or_a_client_id_as_subject_is_refused() {
    let world = World::with_users();
    for subject in ["", "app", "reports"] {
        let sent = sent(&world.ask(&[]).await.unwrap().approve(subject, ["orders:read"]).await.map(Body::new));
        assert_eq!(sent[0].1, "server_error", "{subject}");
        assert_eq!(sent.last().unwrap().1, ISSUER);
    }
}

/// RFC 8707 §2.2 (MUST, accepts and refuses)
/// Threat T23
#[tokio::test]
async fn a_token_is_for_one_of_the_approved_resources() {
    let world = World::with_users();
    let native = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:1/cb")];
    let ask = [&native[..], &[("resource", OPAQUE), ("resource", API)]].concat();
    let code = world.code(&ask).await;
    let answer = world.redeem(&code, &[&native[..], &[("resource", API)]].concat()).await;
    assert_eq!(part(answer.text("access_token"), 1)["aud"], API);
    let refresh = answer.text("refresh_token");
    let answer = world.refresh(refresh, &[("client_id", "native")]).await;
    assert_eq!(answer.text("access_token").len(), 64, "the first requested resource");
    let refresh = answer.text("refresh_token");
    let answer = world.refresh(refresh, &[("client_id", "native"), ("resource", API)]).await;
    assert_eq!(part(answer.text("access_token"), 1)["aud"], API);

    let code = world.code(&[&native[..], &[("resource", API)]].concat()).await;
    world
        .redeem(&code, &[&native[..], &[("resource", "https://other.test")]].concat())
        .await
        .is_error(400, "invalid_target");
    world
        .redeem(&code, &[&native[..], &[("resource", API), ("resource", OPAQUE)]].concat())
        .await
        .is_error(400, "invalid_target");
    // Registered for the client, but not approved by the user.
    world.redeem(&code, &[&native[..], &[("resource", OPAQUE)]].concat()).await.is_error(400, "invalid_target");
}

/// Threat T20
#[tokio::test]
async fn a_code_grants_only_what_the_client_is_still_registered_for() {
    let world = World::with_users();
    let ask = [("client_id", "web"), ("redirect_uri", CB), ("scope", "orders:read orders:write"), ("resource", OPAQUE)];
    let proof = [("client_id", "web"), ("client_secret", "web-secret")];
    let web = |scopes: &[&str], audience| {
        let web = confidential("web").grant_types(["authorization_code", "refresh_token"]).redirect_uri(CB);
        web.default_scopes(scopes.iter().copied()).audience(audience, TokenFormat::Opaque).build().unwrap()
    };
    for (scopes, audience, given) in [
        (&["orders:read", "orders:write"][..], OPAQUE, Ok("orders:read orders:write")),
        (&["orders:write"], OPAQUE, Ok("orders:write")),
        (&["admin"], OPAQUE, Err("invalid_scope")),
        (&["orders:read"], API, Err("invalid_target")),
    ] {
        world.clients.insert(web(&["orders:read", "orders:write"], OPAQUE));
        let code = world.code(&ask).await;
        world.clients.insert(web(scopes, audience));
        let answer = world.redeem(&code, &proof).await;
        match given {
            Ok(given) => assert_eq!(answer.text("scope"), given),
            Err(code) => answer.is_error(400, code),
        }
    }
}

/// RFC 6749 §4.1.3 (MUST, refuses)
/// RFC 9700 §2.1 a (MUST, accepts)
/// RFC 8252 §7.3 (MUST, NOT RECOMMENDED, accepts)
#[tokio::test]
async fn the_port_of_a_loopback_redirect_uri_may_vary() {
    let world = World::with_users();
    for uri in ["http://127.0.0.1/cb", "http://127.0.0.1:49152/cb"] {
        let native = [("client_id", "native"), ("redirect_uri", uri)];
        let code = world.code(&native).await;
        world.redeem(&code, &native).await.is_ok();
        // But the code is bound to the port of the authorization request.
        let code = world.code(&native).await;
        let other = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:2/cb")];
        world.redeem(&code, &other).await.is_error(400, "invalid_grant");
    }
}

#[tokio::test]
async fn a_client_without_refresh_tokens_gets_none_and_a_leaked_secret_ends_its_codes() {
    let world = World::with_users();
    let once = confidential("web").grant_types(["authorization_code"]).redirect_uri(CB).default_scopes(["orders:read"]);
    world.clients.insert(once.audience(API, TokenFormat::Jwt).build().unwrap());
    let proof = [("client_id", "web"), ("client_secret", "web-secret")];
    let answer = world.redeem(&world.code(&proof[..1]).await, &proof).await;
    answer.is_ok();
    assert!(answer.json.get("refresh_token").is_none());

    let code = world.code(&proof[..1]).await;
    let secret = world.clients.replace_leaked_secret("web").unwrap();
    let proof = [("client_id", "web"), ("client_secret", &*secret)];
    world.redeem(&code, &proof).await.is_error(400, "invalid_grant");
    assert!(!world.is_active(answer.text("access_token")).await);
}

#[derive(Clone)]
struct Host(TokenEndpoint);

impl FromRef<Host> for TokenEndpoint {
    fn from_ref(host: &Host) -> Self {
        host.0.clone()
    }
}

#[tokio::test]
async fn an_axum_handler_takes_the_request_as_an_argument() {
    let world = World::with_users();
    let page = get(|request: AuthorizationRequest| async move { request.client_id().to_owned() }).post(
        |request: AuthorizationRequest| async move { request.approve("ada", ["orders:read"]).await.into_response() },
    );
    let app = Router::new().route("/authorize", page).with_state(Host(world.endpoint.clone()));
    let query = format!("client_id=app&response_type=code&code_challenge={CHALLENGE}&code_challenge_method=S256");
    let ask = async |request: http::request::Builder| {
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    assert_eq!(ask(Request::get(format!("/authorize?{query}"))).await.status(), 200);
    let response = ask(Request::post(format!("/authorize?{query}"))).await;
    let sent = sent(&response);
    world.redeem(&sent[0].1, &[("redirect_uri", "")]).await.is_ok();
    assert_eq!(ask(Request::get("/authorize")).await.status(), 400);
    assert_eq!(ask(Request::get("/authorize?client_id=app")).await.status(), 303);
}

/// RFC 9700 §2.1.1 a (MUST, accepts)
/// RFC 9207 §2 (MUST, accepts)
/// RFC 8414 §2 b (MUST, accepts)
#[tokio::test]
async fn the_metadata_has_what_codes_need() {
    let world = World::with_users();
    let json = world.get("/.well-known/oauth-authorization-server").await.json;
    assert_eq!(json["authorization_endpoint"], super::AUTHORIZE);
    assert_eq!(json["response_types_supported"], serde_json::json!(["code"]));
    assert_eq!(json["response_modes_supported"], serde_json::json!(["query"]));
    assert_eq!(json["code_challenge_methods_supported"], serde_json::json!(["S256"]));
    assert_eq!(json["authorization_response_iss_parameter_supported"], true);
    let grants = serde_json::json!(["client_credentials", "authorization_code", "refresh_token"]);
    assert_eq!(json["grant_types_supported"], grants);
    let methods = serde_json::json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]);
    assert_eq!(json["token_endpoint_auth_methods_supported"], methods);
    assert_eq!(json["revocation_endpoint_auth_methods_supported"], methods);
    assert_ne!(json["introspection_endpoint_auth_methods_supported"], methods, "a public client can't introspect");
}

/// Threat T32
#[cfg(feature = "tracing")]
#[tokio::test]
async fn the_log_has_server_errors_and_no_secret() {
    let log = crate::log::Log::default();
    let (world, broken) = (
        World::with_users(),
        World::with(|builder| builder.store(tower_oauth::token_endpoint::MemoryStore::builder().capacity(0).build())),
    );
    let texts = log.capture(async {
        let code = world.code(&[]).await;
        let answer = world.redeem(&code, &[]).await;
        let next = world.refresh(answer.text("refresh_token"), &[]).await;
        world.redeem(&code, &[]).await.is_error(400, "invalid_grant");
        broken.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
        world.post("/token", &basic("reports", "correct-horse"), &[]).await.is_error(401, "invalid_client");
        let tokens = [answer.text("access_token"), answer.text("refresh_token"), next.text("refresh_token")];
        tokens.map(str::to_owned).into_iter().chain([code])
    });
    let texts: Vec<_> = texts.await.chain(["correct-horse", "reports-secret", VERIFIER].map(str::to_owned)).collect();
    let log = log.text();
    assert!(log.contains("ERROR") && log.contains("the store in memory is full"), "{log}");
    for text in texts {
        assert!(!log.contains(&text), "{text} in {log}");
    }
}
