//! A stand-in for the provider of `custom_verifier`. It knows two tokens, and prints a line for each call.

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
    user_auid: String,
}

async fn app_user_authorization(
    State(secret): State<String>,
    Query(request): Query<CheckRequest>,
) -> (StatusCode, Json<Value>) {
    println!("# The app center checks a token of {} at {}.", request.user_auid, request.host_auid);
    if request.app_secret != secret {
        return (StatusCode::UNAUTHORIZED, Json(json!({"errors": ["unknown app"]})));
    }
    let access = match (&*request.access_token, &*request.host_auid, &*request.user_auid) {
        ("token-of-ada", "acme", "ada") => Some("user"),
        ("token-of-acme", "acme", _) => Some("host"),
        _ => None,
    };
    match access {
        Some(access) => (StatusCode::OK, Json(json!({"authorization": {"access": access}}))),
        None => (StatusCode::FORBIDDEN, Json(json!({"errors": ["not authorized"]}))),
    }
}

/// Starts the stand-in on this machine. Returns its URL.
pub(crate) async fn start(app_secret: String) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let app = Router::new().route("/api/app_user_authorization", get(app_user_authorization)).with_state(app_secret);
    println!("# A stand-in for the app center is at {url}\n");
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}
