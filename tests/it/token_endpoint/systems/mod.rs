//! Two systems that the token endpoint must serve as they are, with their own requests, over sockets.

mod member_system;
mod server_system;

use axum::Router;
use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::net::TcpListener;

/// A response, and its body as JSON or else as a text.
#[derive(Debug)]
struct Received {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Received {
    #[track_caller]
    fn is_ok(&self) -> &Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }

    /// Checks for an error of a token endpoint (RFC 6749 §5.2).
    #[track_caller]
    fn is_error(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.body["error"].as_str()), (status, Some(code)), "{self:?}");
    }

    #[track_caller]
    fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_else(|| panic!("{member}: {self:?}"))
    }

    /// Returns a parameter of the redirect.
    #[track_caller]
    fn redirected(&self, parameter: &str) -> String {
        assert_eq!(self.status, 303, "{self:?}");
        let url = reqwest::Url::parse(self.headers["location"].to_str().unwrap()).unwrap();
        let found = url.query_pairs().find(|(name, _)| name == parameter);
        found.unwrap_or_else(|| panic!("{parameter}: {url}")).1.into_owned()
    }
}

/// Sends a request without a proxy, and follows no redirects.
async fn send(request: impl FnOnce(&reqwest::Client) -> reqwest::RequestBuilder) -> Received {
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let response = request(&client).send().await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.unwrap();
    Received { status, headers, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
}

async fn get(url: &str, authorization: &str) -> Received {
    send(|client| match authorization {
        "" => client.get(url),
        _ => client.get(url).header("authorization", authorization),
    })
    .await
}

/// Posts JSON without an `Authorization` header, as both systems do.
async fn post_json(url: &str, body: &Value) -> Received {
    let body = body.to_string();
    send(|client| client.post(url).header("content-type", "application/json").body(body)).await
}

/// Returns a socket on a free port, and its URL.
async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

fn serve(listener: TcpListener, app: Router) {
    tokio::spawn(async move { axum::serve(listener, app).await });
}
