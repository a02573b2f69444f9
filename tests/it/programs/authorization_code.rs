//! The output of `authorization_code`, line by line: login, consent, code, refresh, and the API's responses to users and clients.

use super::printed;
use crate::program::Program;

const LINES: &str = r#"GET /authorize
  200 OK a page:
POST /authorize
  403 Forbidden a page: Name or password is wrong
POST /authorize
  303 See Other
POST /token
  200 OK a token with the scope "profile"
GET /members/ada
  200 OK name ada
POST /token
  200 OK a token with the scope "profile"
GET /members/ada
  200 OK name ada
GET /members/ada
  200 OK name ada, mail ada@example.com
GET /members/bob
  200 OK name bob
POST /token
  200 OK a token with the scope "profile"
GET /members/ada
  200 OK name ada, mail ada@example.com
POST /token
  400 Bad Request error "invalid_grant"
POST /token
  400 Bad Request error "invalid_grant"
"#;

#[tokio::test]
async fn authorization_code_prints_each_request_with_its_response() {
    let Some(ended) = Program::example("authorization_code").ends().await else { return };
    printed(&ended, LINES);
}
