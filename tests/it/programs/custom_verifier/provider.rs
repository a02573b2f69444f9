//! Providers that reject the app's secret, authorize another app, user or host, send garbage, or never respond.

use std::time::Duration;

use axum::{
    Router,
    extract::RawQuery,
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::future::join;
use http::{StatusCode, header};
use serde_json::{Value, json};

use super::{ADA, MINE, SIGN_IN, app_center, is_unavailable, start};
use crate::{
    program::{Program, SECRET},
    support::{Answer, serve},
};

#[tokio::test]
async fn a_response_about_another_app_is_no_authorization() {
    let Some(first) = start(&[]).await else { return };
    let settings = [("APP_NAMESPACE", "another"), ("APP_CENTER", &*app_center(&first))];
    let Some(second) = start(&settings).await else { return };
    let answer = second.post_form("/sign_in", &[], &SIGN_IN).await;
    assert!(answer.is_refusal(401, "invalid_token") && answer.header("set-cookie").is_none(), "{answer:?}");
    for program in [first, second] {
        program.stop("INT").await;
    }
}

#[tokio::test]
async fn if_the_provider_rejects_the_apps_own_secret_the_token_is_not_at_fault() {
    let (right, wrong) = (format!("{SECRET}-right"), format!("{SECRET}-wrong"));
    let Some(first) = start(&[("APP_SECRET", &right)]).await else { return };
    assert_eq!(first.get(MINE, &ADA).await.status, 200);
    let settings = [("APP_SECRET", &*wrong), ("APP_CENTER", &app_center(&first))];
    let Some(second) = start(&settings).await else { return };
    let (with_token, sign_in) = both(&second, "token-of-ada").await;
    is_unavailable(&with_token);
    is_unavailable(&sign_in);
    // Each checks that the output has no secret.
    for program in [first, second] {
        program.stop("INT").await;
    }
}

#[tokio::test]
async fn only_a_well_formed_response_about_this_app_host_and_user_is_an_authorization() {
    let provider = serve(Router::new().route("/api/app_user_authorization", get(respond))).await;
    let center = format!("http://{provider}");
    let Some(program) = start(&[("APP_CENTER", &center)]).await else { return };
    for (token, status) in [
        ("right", 200),
        ("another-app", 401),
        ("another-host", 401),
        ("another-user", 401),
        ("no-user", 401),
        ("upper-case", 401),
        ("nothing", 503),
        ("a-page", 503),
        ("a-wrong-type", 503),
        ("a-number", 503),
        ("no-host", 503),
        ("no-reason", 503),
        ("a-401", 503),
        ("a-yes-with-500", 503),
        ("a-redirect", 503),
        ("silence", 503),
    ] {
        let (with_token, sign_in) = both(&program, token).await;
        assert_eq!(with_token.status, status, "{token}: {with_token:?}");
        assert_eq!(sign_in.status, status, "{token}: {sign_in:?}");
        assert_eq!(sign_in.header("set-cookie").is_some(), status == 200, "{token}: {sign_in:?}");
    }
    program.stop("INT").await;
}

/// Sends a request of ada with this token, and signs her in with it, at the same time.
async fn both(program: &Program, token: &str) -> (Answer, Answer) {
    let authorization = format!("Bearer {token}");
    let headers = [&[("authorization", &*authorization)], &ADA[1..]].concat();
    let form = [SIGN_IN[0], SIGN_IN[1], ("access_token", token)];
    join(program.get(MINE, &headers), program.post_form("/sign_in", &[], &form)).await
}

/// Responds as the token says.
async fn respond(RawQuery(query): RawQuery) -> Response {
    let query = query.unwrap_or_default();
    let (_, token) = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "access_token").unwrap();
    let (status, body) = match &*token {
        "silence" => {
            tokio::time::sleep(Duration::from_secs(20)).await;
            (200, String::new())
        }
        "right" => (200, authorization(&json!({"more": 1}))),
        "another-app" => (200, authorization(&json!({"namespace": "another"}))),
        "another-host" => (200, authorization(&json!({"host_auid": "emca"}))),
        "another-user" => (200, authorization(&json!({"user_auid": "bob"}))),
        "no-user" => (200, authorization(&json!({"user_auid": null}))),
        "upper-case" => (200, authorization(&json!({"user_auid": "Ada"}))),
        "nothing" => (200, "{}".to_owned()),
        "a-page" => (200, "<p>welcome".to_owned()),
        "a-wrong-type" => (200, json!({"authorization": true}).to_string()),
        "a-number" => (200, authorization(&json!({"user_auid": 7}))),
        "no-host" => (200, json!({"authorization": {"namespace": "tickets", "user_auid": "ada"}}).to_string()),
        "no-reason" => (403, "denied by the proxy".to_owned()),
        "a-401" => (401, json!({"errors": ["unknown app"]}).to_string()),
        "a-yes-with-500" => (500, authorization(&json!({}))),
        "a-redirect" => (302, authorization(&json!({}))),
        other => panic!("{other}"),
    };
    // Only a response with a redirect status means this header.
    let elsewhere = [(header::LOCATION, "/api/app_user_authorization?access_token=right")];
    (StatusCode::from_u16(status).unwrap(), elsewhere, body).into_response()
}

/// Returns the provider's authorization of ada, with these members changed.
fn authorization(changed: &Value) -> String {
    let mut authorization = json!({"namespace": "tickets", "host_auid": "acme", "user_auid": "ada"});
    for (name, value) in changed.as_object().unwrap() {
        authorization[name] = value.clone();
    }
    json!({"authorization": authorization}).to_string()
}
