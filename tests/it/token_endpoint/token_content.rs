//! What the application's hook adds to tokens and responses.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use serde_json::{Value, json};
use tower::ServiceExt as _;
use tower_oauth::token_endpoint::{
    AuthorizationCodeGrant, Issuance, RefreshTokenGrant, SessionId, TokenContent, TokenEndpointBuilder, TokenError,
    TokenErrorKind,
};

use super::{AUTHORIZE, OPAQUE, World, part, post, usual};
use crate::support::API;

/// An endpoint with all grants, whose tokens have this content.
fn with_content(make: impl Fn(&Issuance) -> Result<TokenContent, TokenError> + Send + Sync + 'static) -> World {
    World::with(|builder| {
        with_users(builder).customize_tokens(move |issuance| {
            let content = make(&issuance);
            async { content }
        })
    })
}

fn with_users(builder: TokenEndpointBuilder) -> TokenEndpointBuilder {
    builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new())
}

/// Returns the claims of a new JWT of `reports`, and what introspection reports of it.
async fn claims(world: &World) -> (Value, Value) {
    let token = world.access_token("reports", &[]).await;
    (part(&token, 1), world.introspect("watch", &token).await)
}

/// RFC 8693 §4.1 (optional, accepts)
/// RFC 7662 §2.2 f (MAY, accepts)
#[tokio::test]
async fn claims_are_equal_in_the_jwt_and_in_the_introspection_response() {
    let world = with_content(|issuance| {
        let act = json!({"sub": "service"});
        Ok(TokenContent::new()
            .claim("clientId", issuance.client_id())
            .claim("roles", ["editor", "reader"])
            .claim("act", act)
            .claims(json!({"tenant": {"id": 7, "share": 0.5}, "absent": null}))
            .claim("absent_too", None::<u8>))
    });
    let (jwt, introspected) = claims(&world).await;
    for members in [&jwt, &introspected] {
        assert_eq!(members["clientId"], "reports");
        assert_eq!(members["roles"], json!(["editor", "reader"]));
        assert_eq!(members["act"], json!({"sub": "service"}));
        assert_eq!(members["tenant"], json!({"id": 7, "share": 0.5}));
        assert!(members.get("absent").is_none() && members.get("absent_too").is_none(), "{members}");
    }
    let mut shared = introspected.as_object().unwrap().clone();
    assert_eq!((shared.remove("active"), shared.remove("token_type")), (Some(json!(true)), Some(json!("Bearer"))));
    assert_eq!(Value::Object(shared), jwt);
    // An opaque token has them too.
    let opaque = world.access_token("reports", &[("resource", OPAQUE)]).await;
    assert_eq!(world.introspect("watch", &opaque).await["roles"], json!(["editor", "reader"]));
    // The response has none of them.
    assert_eq!(world.token("reports", &[]).await.json.as_object().unwrap().len(), 4);
}

/// RFC 7662 §2.2 f (MAY, refuses)
/// Threat T53
#[tokio::test]
async fn members_that_the_endpoint_sets_cannot_be_set() {
    let registered = [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "scope",
        "cnf",
        "auth_time",
        "acr",
        "active",
        "token_type",
        "username",
    ];
    let name = Arc::new(Mutex::new(""));
    let (one, many) = (Arc::clone(&name), Arc::clone(&name));
    let one = with_content(move |_| Ok(TokenContent::new().claim(*one.lock().unwrap(), "mine")));
    let many = with_content(move |_| {
        let claims = json!({ *many.lock().unwrap(): "mine", "tenant": 7 });
        Ok(TokenContent::new().claims(claims))
    });
    for world in [one, many] {
        for registered in registered {
            *name.lock().unwrap() = registered;
            world.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
        }
        for free in ["act", "may_act", "amr", "roles", "groups", "clientId"] {
            *name.lock().unwrap() = free;
            assert_eq!(claims(&world).await.0[free], "mine");
        }
    }
}

/// Threat T53
#[tokio::test]
async fn the_cause_in_the_error_names_the_member() {
    type Make = fn() -> TokenContent;
    let mistakes: [(Make, &str); 4] = [
        (|| TokenContent::new().claim("cnf", 1), "the claim \"cnf\""),
        (|| TokenContent::new().response_parameter("scope", "all"), "the response parameter \"scope\""),
        (|| TokenContent::new().claims(["no object"]), "not an object"),
        (|| TokenContent::new().scopes(["orders:delete"]), "\"orders:delete\", which was not granted"),
    ];
    for (make, text) in mistakes {
        let world = with_content(move |_| Ok(make()));
        let request = post("/token", &usual("reports"), &[("grant_type", "client_credentials")]);
        let response = world.endpoint.clone().oneshot(request).await.unwrap();
        let error = response.extensions().get::<TokenError>().unwrap();
        let cause = std::error::Error::source(error).unwrap().to_string();
        assert!(cause.contains(text), "{cause}");
    }
}

/// Threat T56
#[tokio::test]
async fn a_hook_can_set_the_lifetime_within_its_limits() {
    let day = 24 * 3600;
    for (seconds, lifetime) in [(1, 1), (7, 7), (day, day), (day + 1, day), (0, 1)] {
        let world = with_content(move |_| Ok(TokenContent::new().lifetime(Duration::from_secs(seconds))));
        let answer = world.token("reports", &[]).await;
        assert_eq!(answer.json["expires_in"], lifetime, "{seconds}");
        let claims = part(answer.text("access_token"), 1);
        assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), lifetime);
        assert!(world.is_active(answer.text("access_token")).await);
        world.clock.advance(Duration::from_secs(lifetime));
        assert!(!world.is_active(answer.text("access_token")).await);
    }
    // No token outlives its session.
    let world = World::with(|builder| {
        let short = RefreshTokenGrant::new().idle_lifetime(Duration::from_secs(60));
        let short = short.absolute_lifetime(Duration::from_secs(60));
        let builder = builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(short);
        builder.customize_tokens(|_| async { Ok(TokenContent::new().lifetime(Duration::from_secs(3600))) })
    });
    let answer = world.redeem(&world.code(&[]).await, &[]).await;
    assert!(answer.json["expires_in"].as_u64().unwrap() <= 120, "{answer:?}");
}

/// Threat T56
#[tokio::test]
async fn scopes_can_be_narrowed_and_never_widened_and_the_session_keeps_them() {
    let keep = Arc::new(Mutex::new(vec!["orders:read"]));
    let kept = Arc::clone(&keep);
    let world = with_content(move |_| Ok(TokenContent::new().scopes(kept.lock().unwrap().clone())));
    let both = [("scope", "orders:write orders:read")];
    let answer = world.token("reports", &both).await;
    assert_eq!(answer.text("scope"), "orders:read");
    assert_eq!(part(answer.text("access_token"), 1)["scope"], "orders:read");
    assert_eq!(world.introspect("watch", answer.text("access_token")).await["scope"], "orders:read");
    // The client has orders:write, but this request doesn't grant it.
    *keep.lock().unwrap() = vec!["orders:write"];
    world.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    *keep.lock().unwrap() = vec![];
    world.token("reports", &[]).await.is_error(400, "invalid_scope");
    // A narrowed token of a session leaves the session as it is.
    let cb = ("redirect_uri", "http://127.0.0.1/cb");
    *keep.lock().unwrap() = vec!["orders:read"];
    let code = world.code(&[("client_id", "native"), cb, both[0]]).await;
    let first = world.redeem(&code, &[("client_id", "native"), cb]).await;
    assert_eq!(first.text("scope"), "orders:read");
    *keep.lock().unwrap() = vec!["orders:read", "orders:write"];
    let second = world.refresh(first.text("refresh_token"), &[("client_id", "native")]).await;
    assert_eq!(second.text("scope"), "orders:write orders:read");
}

/// RFC 9068 §2.2.3 (choice, accepts and refuses)
#[tokio::test]
async fn scope_is_an_array_only_if_asked_for_and_never_in_the_response() {
    let world = with_content(|_| Ok(TokenContent::new().scope_as_array()));
    let answer = world.token("reports", &[("scope", "orders:write orders:read")]).await;
    assert_eq!(answer.text("scope"), "orders:write orders:read");
    let array = json!(["orders:write", "orders:read"]);
    assert_eq!(part(answer.text("access_token"), 1)["scope"], array);
    assert_eq!(world.introspect("watch", answer.text("access_token")).await["scope"], array);
    let world = with_content(|_| Ok(TokenContent::new()));
    assert_eq!(claims(&world).await.0["scope"], "orders:read");
}

/// RFC 7662 §2.2 f (MAY, accepts)
#[tokio::test]
async fn username_is_in_the_introspection_response_only() {
    let world = with_content(|_| Ok(TokenContent::new().username("Ada L.")));
    let (jwt, introspected) = claims(&world).await;
    assert_eq!((jwt.get("username"), &introspected["username"]), (None, &json!("Ada L.")));
    assert!(claims(&World::new()).await.1.get("username").is_none());
}

/// Threat T55
#[tokio::test]
async fn the_hook_gets_what_the_token_will_say() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&seen);
    let world = with_content(move |issuance| {
        calls.lock().unwrap().push(issuance.clone());
        Ok(TokenContent::new())
    });
    let client = world.token("reports", &[]).await;
    let first = world.redeem(&world.code(&[]).await, &[]).await;
    let second = world.refresh(first.text("refresh_token"), &[]).await;
    let sessions = world.endpoint.sessions_of_subject("ada", None).await.unwrap();
    let session: SessionId = sessions[0].id();
    let seen = seen.lock().unwrap();
    let expected = [
        (&client, "reports", "reports", "client_credentials", None),
        (&first, "app", "ada", "authorization_code", Some(session)),
        (&second, "app", "ada", "refresh_token", Some(session)),
    ];
    assert_eq!(seen.len(), expected.len(), "one call for each token");
    for (issuance, (answer, client, subject, grant_type, session)) in seen.iter().zip(expected) {
        let claims = part(answer.text("access_token"), 1);
        assert_eq!((issuance.client_id(), issuance.client().id(), issuance.subject()), (client, client, subject));
        assert_eq!((issuance.grant_type(), issuance.session()), (grant_type, session));
        assert_eq!((claims["scope"].as_str(), claims["aud"].as_str()), (Some(issuance.scope()), Some(API)));
        assert_eq!((issuance.scopes().collect::<Vec<_>>(), issuance.audience()), (vec!["orders:read"], API));
        let since = issuance.issued_at().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(claims["iat"], since.as_secs());
        assert_eq!(issuance.headers()["content-type"], super::FORM);
        let shown = format!("{issuance:?}");
        assert!(!shown.contains("Basic") && !shown.contains("ada"), "{shown}");
    }
}

/// Threat T54
#[tokio::test]
async fn a_refusal_of_the_hook_is_the_answer_and_costs_neither_code_nor_refresh_token() {
    let refuse = Arc::new(Mutex::new(None));
    let refusal = Arc::clone(&refuse);
    let world = with_content(move |_| match *refusal.lock().unwrap() {
        Some(kind) => Err(TokenError::new(kind, "The user is locked")),
        None => Ok(TokenContent::new()),
    });
    let kinds = [
        (TokenErrorKind::InvalidGrant, 400, "invalid_grant"),
        (TokenErrorKind::UnauthorizedClient, 400, "unauthorized_client"),
        (TokenErrorKind::AccessDenied, 400, "access_denied"),
        (TokenErrorKind::Other("account_locked"), 400, "account_locked"),
        (TokenErrorKind::Unavailable, 503, "temporarily_unavailable"),
    ];
    let code = world.code(&[]).await;
    for (kind, status, text) in kinds {
        *refuse.lock().unwrap() = Some(kind);
        world.redeem(&code, &[]).await.is_error(status, text);
    }
    *refuse.lock().unwrap() = None;
    let answer = world.redeem(&code, &[]).await;
    answer.is_ok();
    for (kind, status, text) in kinds {
        *refuse.lock().unwrap() = Some(kind);
        world.refresh(answer.text("refresh_token"), &[]).await.is_error(status, text);
    }
    *refuse.lock().unwrap() = None;
    world.refresh(answer.text("refresh_token"), &[]).await.is_ok();
}

/// Threat T54
#[tokio::test]
async fn a_hook_that_hangs_gets_503_after_two_seconds_and_costs_no_code() {
    let hangs = Arc::new(AtomicBool::new(true));
    let world = World::with(|builder| {
        let hangs = Arc::clone(&hangs);
        with_users(builder).customize_tokens(move |_| {
            let hangs = hangs.load(SeqCst);
            async move {
                if hangs {
                    std::future::pending::<()>().await;
                }
                Ok(TokenContent::new())
            }
        })
    });
    let code = world.code(&[]).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "app"),
        ("redirect_uri", super::CB),
        ("code_verifier", super::VERIFIER),
        ("code", &*code),
    ];
    world.post_and_wait("/token", "", &form).await.is_error(503, "temporarily_unavailable");
    hangs.store(false, SeqCst);
    world.redeem(&code, &[]).await.is_ok();
}

/// Threat T54
#[tokio::test]
async fn a_hook_that_panics_gets_503_and_the_next_request_succeeds() {
    let calls = Arc::new(AtomicUsize::new(0));
    let world = World::with(|builder| {
        let calls = Arc::clone(&calls);
        with_users(builder).customize_tokens(move |_| {
            let call = calls.fetch_add(1, SeqCst);
            assert!(call != 0, "a panic before the future");
            async move {
                tokio::task::yield_now().await;
                assert!(call != 1, "a panic in the future");
                Ok(TokenContent::new())
            }
        })
    });
    let code = world.code(&[]).await;
    for _ in 0..2 {
        world.redeem(&code, &[]).await.is_error(503, "temporarily_unavailable");
    }
    world.redeem(&code, &[]).await.is_ok();
}

/// Threat T55
#[tokio::test]
async fn concurrent_requests_keep_their_own_content() {
    let gate = Arc::new(tokio::sync::Barrier::new(2));
    let world = World::with(|builder| {
        let gate = Arc::clone(&gate);
        builder.customize_tokens(move |issuance| {
            let gate = Arc::clone(&gate);
            async move {
                // Both hooks run before either returns.
                gate.wait().await;
                let client = issuance.client_id();
                Ok(TokenContent::new().claim("tenant", client).response_parameter("member", client).username(client))
            }
        })
    });
    for _ in 0..20 {
        let (one, other) = tokio::join!(world.token("reports", &[]), world.token("others", &[]));
        for (answer, client) in [(one, "reports"), (other, "others")] {
            let token = answer.text("access_token");
            let introspected = world.introspect("watch", token).await;
            assert_eq!((answer.text("member"), &part(token, 1)["tenant"]), (client, &json!(client)));
            assert_eq!((&introspected["tenant"], &introspected["username"]), (&json!(client), &json!(client)));
        }
    }
}
