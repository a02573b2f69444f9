//! Requests with tokens and with sessions.

use futures_util::future::join_all;

use super::{ACME, ADA, ALL, MINE, app_center, session, signed_in, start, status, was_called};
use crate::{program::Program, support::DEFAULT_CHALLENGE};

/// Returns the status of a ticket that is opened with these headers.
async fn open_ticket(program: &Program, headers: &[(&str, &str)]) -> u16 {
    program.send("POST", MINE, headers, "text").await.status.as_u16()
}

#[tokio::test]
async fn the_provider_is_called_once_for_many_requests_with_one_token_and_user() {
    let Some(program) = start(&[]).await else { return };
    for _ in 0..20 {
        assert_eq!(program.get(MINE, &ADA).await.status, 200);
    }
    was_called(&program, 1).await;
    // The cache has one entry for a token, that of the last user.
    let of_no_user = &ADA[..2];
    for answer in join_all((0..20).map(|_| program.get(MINE, of_no_user))).await {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    was_called(&program, 2).await;
    assert_eq!(program.get(ALL, &ACME).await.status, 200);
    was_called(&program, 3).await;

    let token_for = |token, user| [("authorization", token), ("x-host-auid", "acme"), ("x-user-auid", user)];
    let of_another_user = program.get(MINE, &token_for("Bearer token-of-ada", "bob")).await;
    assert!(of_another_user.is_refusal(401, "invalid_token"), "{of_another_user:?}");
    let unknown = program.get(MINE, &token_for("Bearer token-of-eve", "ada")).await;
    assert!(unknown.is_refusal(401, "invalid_token"), "{unknown:?}");
    assert_eq!(program.get(ALL, &ADA).await.status, 403);
    let of_a_host_for_a_user = program.get(ALL, &token_for("Bearer token-of-acme", "ada")).await;
    assert!(of_a_host_for_a_user.is_refusal(401, "invalid_token"), "{of_a_host_for_a_user:?}");
    assert_eq!(program.get(MINE, &ACME).await.status, 403);
    was_called(&program, 7).await;

    // Without a host or a token, the provider is not called.
    let without_host = program.get(MINE, &ADA[..1]).await;
    assert!(without_host.is_refusal(401, "invalid_token"), "{without_host:?}");
    let without_token = program.get(MINE, &ADA[1..]).await;
    assert_eq!((without_token.status.as_u16(), without_token.challenges()), (401, vec![DEFAULT_CHALLENGE]));
    let log = program.stop("INT").await;
    assert_eq!(log.matches("app center checks a token").count(), 7, "{log}");
}

#[tokio::test]
async fn a_session_replaces_the_token_and_cannot_be_changed() {
    let Some(program) = start(&[]).await else { return };
    let cookie = signed_in(&program).await;
    assert_eq!(status(&program, MINE, &cookie).await, 200);
    assert_eq!(status(&program, ALL, &cookie).await, 403);
    let (name, value) = cookie.split_once('=').unwrap();
    let other = if &value[10..11] == "A" { "B" } else { "A" };
    let changed = format!("{name}={}{other}{}", &value[..10], &value[11..]);
    for wrong in [&*changed, &cookie[..60], "__Host-session=token-of-ada"] {
        let answer = program.get(MINE, &[&ADA[1..], &[("cookie", wrong)]].concat()).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{wrong}: {answer:?}");
    }
    let both = program.get(MINE, &[&ADA[..], &[("cookie", &cookie)]].concat()).await;
    assert!(both.is_refusal(400, "invalid_request"), "{both:?}");
    was_called(&program, 1).await;
    let as_token = format!("Bearer {value}");
    let as_token = program.get(MINE, &[&ADA[1..], &[("authorization", &as_token)]].concat()).await;
    assert!(as_token.is_refusal(401, "invalid_token"), "{as_token:?}");
    program.stop("INT").await;
}

#[tokio::test]
async fn a_session_changes_something_only_for_a_page_of_the_app_and_a_token_needs_no_page() {
    let Some(program) = start(&[]).await else { return };
    let cookie = signed_in(&program).await;
    let with_session = async |header| {
        let headers: Vec<_> = [("cookie", &*cookie)].into_iter().chain(header).collect();
        open_ticket(&program, &headers).await
    };
    let own = program.url("");
    let (longer, secure) = (format!("{own}.evil.example"), own.replace("http:", "https:"));
    for wrong in ["https://evil.example", "null", "", &longer, &secure] {
        assert_eq!(with_session(Some(("origin", wrong))).await, 403, "{wrong}");
    }
    for wrong in ["cross-site", "same-site", "none"] {
        assert_eq!(with_session(Some(("sec-fetch-site", wrong))).await, 403, "{wrong}");
    }
    assert_eq!(with_session(None).await, 403, "without a header that names the page");
    for right in [("sec-fetch-site", "same-origin"), ("origin", &own)] {
        assert_eq!(with_session(Some(right)).await, 201, "{right:?}");
    }
    assert_eq!(open_ticket(&program, &ADA).await, 201);
    assert_eq!(open_ticket(&program, &ACME).await, 403);
    assert_eq!(program.send("POST", MINE, &ADA, &"x".repeat(20_000)).await.status, 413);
    assert_eq!(program.get(MINE, &ADA).await.body, "the tickets of ada at acme:\nada: text\nada: text\nada: text\n");
    program.stop("INT").await;
}

#[tokio::test]
async fn the_users_of_a_host_share_its_tickets_if_the_app_decides_so() {
    let Some(program) = start(&[("ACCESS", "host")]).await else { return };
    let cookie = signed_in(&program).await;
    for path in [ALL, MINE] {
        assert_eq!(status(&program, path, &cookie).await, 200, "{path}");
    }
    program.stop("INT").await;
}

#[tokio::test]
async fn a_session_expires() {
    let Some(program) = start(&[("SESSION_SECONDS", "1")]).await else { return };
    let answer = program.post_form("/sign_in", &[], &super::SIGN_IN).await;
    assert!(answer.header("set-cookie").unwrap().ends_with("; Max-Age=1"), "{answer:?}");
    let cookie = session(&answer);
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let expired = program.get(MINE, &[("cookie", &cookie)]).await;
    assert!(expired.is_refusal(401, "invalid_token"), "{expired:?}");
    assert_eq!(program.get(MINE, &ADA).await.status, 200, "the token is still valid");
    program.stop("INT").await;
}

#[tokio::test]
async fn during_an_outage_cached_verdicts_and_sessions_stay_valid() {
    let Some(first) = start(&[]).await else { return };
    let center = app_center(&first);
    let Some(second) = start(&[("APP_CENTER", &center)]).await else { return };
    assert_eq!(second.get(MINE, &ADA).await.status, 200);
    let cookie = signed_in(&second).await;
    was_called(&first, 2).await;
    first.stop("INT").await;
    assert_eq!(second.get(MINE, &ADA).await.status, 200);
    assert_eq!(status(&second, MINE, &cookie).await, 200);
    super::is_unavailable(&second.get(ALL, &ACME).await);
    super::is_unavailable(&second.post_form("/sign_in", &[], &super::SIGN_IN).await);
    second.stop("INT").await;
}
