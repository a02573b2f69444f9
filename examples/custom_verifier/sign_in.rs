//! `POST /sign_in`, to which the page posts what it got from the app center's script. It opens a session.

use std::{sync::Arc, time::Duration};

use axum::{
    Form,
    extract::{State, rejection::FormRejection},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use tower_oauth::AuthError;

use crate::app_center::AppCenter;

/// The fields that the documentation names.
#[derive(Deserialize)]
pub(crate) struct SignIn {
    /// The host.
    auid: String,
    /// Absent or empty for the token of a host.
    user_auid: Option<String>,
    access_token: String,
}

pub(crate) async fn sign_in(
    State(center): State<Arc<AppCenter>>,
    form: Result<Form<SignIn>, FormRejection>,
) -> Response {
    let Form(SignIn { auid, user_auid, access_token }) = match form {
        Ok(form) => form,
        Err(FormRejection::BytesRejection(rejection)) => return rejection.into_response(), // such as 413
        Err(_) => return bad_request(),
    };
    // The cookie must fit into the 4096 bytes that browsers accept.
    let fits = |text: &str, most: usize| (1..=most).contains(&text.len());
    let user = user_auid.as_deref().filter(|user| !user.is_empty());
    if !fits(&auid, 256) || !user.is_none_or(|user| fits(user, 256)) || !fits(&access_token, 2048) {
        return bad_request();
    }
    let signed_in = async {
        let session = center.check(&access_token, &auid, user).await?;
        let cookie = center.sessions.cookie(&session).ok_or_else(|| AuthError::unavailable(Duration::from_secs(5)))?;
        let headers = [(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        let user = session.sub.as_deref().unwrap_or("each user");
        Ok::<_, AuthError>((headers, format!("{user} at {} is signed in\n", session.host)))
    };
    signed_in.await.into_response()
}

fn bad_request() -> Response {
    let expected = "Post auid, user_auid and access_token, each once, as application/x-www-form-urlencoded\n";
    (StatusCode::BAD_REQUEST, expected).into_response()
}
