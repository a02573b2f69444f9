//! The output of `server_to_server`, line by line.

use super::{TOKEN, printed};
use crate::program::Program;

const LINES: &str = concat!(
    r#"GET /public
  200 OK  this needs no token
GET /read-resource
  401 Unauthorized Bearer realm="api"
POST /token
  401 Unauthorized Basic realm="token endpoint", charset="UTF-8" "#,
    r#"{"error":"invalid_client","error_description":"Client authentication failed"}
POST /token
  200 OK  {"access_token":"…","token_type":"Bearer","expires_in":3600,"scope":"read"}
GET /read-resource
  200 OK  the first value
POST /write-resource
  401 Unauthorized Bearer realm="api", error="invalid_token", error_description="The access token is invalid"
POST /write-resource
  200 OK
GET /read-resource
  200 OK  a new value
"#
);

#[tokio::test]
async fn server_to_server_prints_each_request_with_its_response() {
    let Some(ended) = Program::example("server_to_server").ends().await else { return };
    printed(&ended, LINES);
    let tokens: Vec<_> = ended.stdout.split(TOKEN).skip(1).collect();
    let [token] = tokens[..] else { panic!("not one token: {ended:?}") };
    let parts: Vec<_> = token.split('"').next().unwrap().split('.').collect();
    let in_base64url =
        |part: &&str| !part.is_empty() && part.chars().all(|next| next.is_ascii_alphanumeric() || "-_".contains(next));
    assert!(parts.len() == 3 && parts.iter().all(in_base64url), "it is not a JWT: {token}");
}
