//! A stand-in for the app center. It knows two tokens, and prints a line for each call.

use std::io;

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    routing::get,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[derive(Deserialize)]
struct CheckRequest {
    access_token: String,
    app_secret: String,
    host_auid: String,
    user_auid: Option<String>,
}

/// Responds as the documentation says: 200 with an authorization, or 403 with errors.
async fn app_user_authorization(
    State([secret, namespace]): State<[String; 2]>,
    Query(request): Query<CheckRequest>,
) -> (StatusCode, Json<Value>) {
    let CheckRequest { access_token, app_secret, host_auid, user_auid } = request;
    println!("# The app center checks a token of {} at {host_auid}.", user_auid.as_deref().unwrap_or("no user"));
    if app_secret != secret {
        return (StatusCode::UNAUTHORIZED, Json(json!({"errors": ["unknown app"]})));
    }
    let user = match (&*access_token, &*host_auid, user_auid.as_deref()) {
        ("token-of-ada", "acme", None | Some("ada")) => Some("ada"),
        ("token-of-acme", "acme", None) => None,
        _ => return (StatusCode::FORBIDDEN, Json(json!({"errors": ["User is not authorized for your application"]}))),
    };
    let authorization = json!({"namespace": namespace, "host_auid": host_auid, "user_auid": user});
    (StatusCode::OK, Json(json!({"authorization": authorization})))
}

/// Starts the stand-in on this machine. Returns its URL.
pub(crate) async fn start(app_secret: &str, namespace: &str) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = Router::new().route("/api/app_user_authorization", get(app_user_authorization));
    let app = app.with_state([app_secret.to_owned(), namespace.to_owned()]);
    println!("# A stand-in for the app center is at {url}\n");
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}
