//! `POST /sign_in`, which opens a session for a page of the app.

use super::{ALL, MINE, SIGN_IN, session, start, status};
use crate::program::Program;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// Posts this form, which is encoded already.
async fn sign_in(program: &Program, form: &str) -> crate::support::Answer {
    program.send("POST", "/sign_in", &[FORM], form).await
}

#[tokio::test]
async fn another_site_signs_no_user_in() {
    let Some(program) = start(&[]).await else { return };
    let own = program.url("");
    for right in [("origin", &*own), ("sec-fetch-site", "same-origin")] {
        session(&program.post_form("/sign_in", &[right], &SIGN_IN).await);
    }
    for wrong in [("origin", "https://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
        let answer = program.post_form("/sign_in", &[wrong], &SIGN_IN).await;
        assert_eq!((answer.status.as_u16(), answer.header("set-cookie")), (403, None), "{wrong:?}");
    }
    program.stop("INT").await;
}

#[tokio::test]
async fn the_token_decides_whether_the_session_is_that_of_a_user_or_of_a_host() {
    let Some(program) = start(&[]).await else { return };
    for (form, all, mine) in [
        ("auid=acme&access_token=token-of-acme", 200, 403),
        // An empty user means no user.
        ("auid=acme&user_auid=&access_token=token-of-acme", 200, 403),
        // The provider's response names the user.
        ("auid=acme&access_token=token-of-ada", 403, 200),
    ] {
        let cookie = session(&sign_in(&program, form).await);
        assert_eq!(
            (status(&program, ALL, &cookie).await, status(&program, MINE, &cookie).await),
            (all, mine),
            "{form}"
        );
    }
    program.stop("INT").await;
}

#[tokio::test]
async fn wrong_tokens_users_and_hosts_are_refused_and_wrong_forms_are_bad_requests() {
    let Some(program) = start(&[]).await else { return };
    for form in [
        "auid=acme&user_auid=ada&access_token=eve",
        "auid=acme&user_auid=bob&access_token=token-of-ada",
        "auid=emca&user_auid=ada&access_token=token-of-ada",
        "auid=acme&user_auid=ada&access_token=token-of-acme",
    ] {
        let answer = sign_in(&program, form).await;
        assert!(answer.is_refusal(401, "invalid_token") && answer.header("set-cookie").is_none(), "{form}: {answer:?}");
    }
    let long_token = format!("auid=acme&access_token={}", "x".repeat(2049));
    let long_host = format!("access_token=x&auid={}", "x".repeat(257));
    for form in [
        "",
        "auid=acme",
        "auid=acme&user_auid=ada",
        "auid=&access_token=x",
        "auid=acme&access_token=",
        "auid=acme&auid=acme&access_token=x",
        "auid=acme&user_auid=a&user_auid=b&access_token=x",
        "%%%",
        &long_token,
        &long_host,
    ] {
        assert_eq!(sign_in(&program, form).await.status, 400, "{form}");
    }
    let json = r#"{"auid":"acme","access_token":"token-of-acme"}"#;
    let json = program.send("POST", "/sign_in", &[("content-type", "application/json")], json).await;
    let no_type = program.send("POST", "/sign_in", &[], "auid=acme&user_auid=ada&access_token=token-of-ada").await;
    assert_eq!((json.status.as_u16(), no_type.status.as_u16()), (400, 400));
    assert_eq!(sign_in(&program, &format!("auid={}", "x".repeat(20_000))).await.status, 413);
    let query = program.get("/sign_in?auid=acme&user_auid=ada&access_token=token-of-ada", &[]).await;
    assert_eq!(query.status, 405, "a token in the query opens no session");
    program.stop("INT").await;
}
