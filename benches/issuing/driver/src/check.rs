//! Checks that a contender does what is measured.

use std::collections::HashSet;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    lineup::{Contender, Program, Token},
    process::Server,
    work::{AUDIENCE, CLIENT_ID, CLIENT_SECRET, FORM, ISSUER, SCOPE, exchange, request},
};

/// Checks that the tokens have the right form, that all differ, and that a wrong secret gets none.
pub(crate) async fn issues_tokens(server: &Server, contender: &Contender) -> Result<(), String> {
    let mut seen = HashSet::new();
    for _ in 0..TOKENS {
        let token = token(server).await?;
        if contender.token == Token::Jwt {
            check_jwt(&token, &get(server, "/jwks.json").await?)?;
        } else if token.len() < 43 && token.contains('.') {
            return Err(format!("{token:?} is not an opaque token of 32 bytes"));
        }
        seen.insert(token);
    }
    if contender.token != Token::Fixed && seen.len() < TOKENS {
        return Err("the same token was issued twice".to_owned());
    }
    if contender.issues() {
        refuses(server, request("/token", CLIENT_ID, "wrong", Some(FORM))).await?;
        let more = format!("{FORM}+everything");
        // oxide-auth ignores the requested scope and grants the scope of the client.
        if contender.program != Program::OxideAuth {
            refuses(server, request("/token", CLIENT_ID, CLIENT_SECRET, Some(&more))).await?;
        }
    }
    Ok(())
}

/// Checks that tower-oauth still introspects a new token as active after the load.
pub(crate) async fn introspects(server: &Server, contender: &Contender) -> Result<(), String> {
    if contender.program != Program::Ours || !contender.issues() {
        return Ok(());
    }
    let form = format!("token={}", token(server).await?);
    let (status, answer) = send(server, request("/introspect", CLIENT_ID, CLIENT_SECRET, Some(&form))).await?;
    if status == 200 && answer["active"] == true { Ok(()) } else { Err(format!("introspection: {status} {answer}")) }
}

async fn token(server: &Server) -> Result<String, String> {
    let (status, answer) = send(server, request("/token", CLIENT_ID, CLIENT_SECRET, Some(FORM))).await?;
    let right = status == 200
        && answer["token_type"].as_str().is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"))
        && answer["scope"].as_str().is_some_and(is_requested_scope)
        && answer["expires_in"].is_number();
    let token = answer["access_token"].as_str().filter(|_| right);
    token.map(str::to_owned).ok_or_else(|| format!("the response is {status} {answer}"))
}

/// Returns whether this is the requested scope, in any order (RFC 6749 §3.3).
fn is_requested_scope(scope: &str) -> bool {
    scope.split(' ').collect::<HashSet<_>>() == SCOPE.split(' ').collect()
}

async fn refuses(server: &Server, request: Vec<u8>) -> Result<(), String> {
    let (status, answer) = send(server, request).await?;
    let refused = (400..500).contains(&status) && answer["error"].is_string() && answer.get("access_token").is_none();
    if refused { Ok(()) } else { Err(format!("the server must refuse, but the response is {status} {answer}")) }
}

/// Checks the claims of RFC 9068 that all contenders set, and the signature.
fn check_jwt(token: &str, keys: &Value) -> Result<(), String> {
    let wrong = |what: &str| format!("{what}: {token}");
    let (signed, signature) = token.rsplit_once('.').ok_or_else(|| wrong("not a JWT"))?;
    let (header, claims) = signed.split_once('.').ok_or_else(|| wrong("not a JWT"))?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong("not base64url"));
    let json = |text: &str| serde_json::from_slice::<Value>(&decode(text)?).map_err(|_| wrong("not JSON"));
    let (header, claims) = (json(header)?, json(claims)?);
    let expected = [("iss", ISSUER), ("sub", CLIENT_ID), ("client_id", CLIENT_ID), ("aud", AUDIENCE), ("scope", SCOPE)];
    if header["alg"] != "ES256" || expected.iter().any(|(name, value)| claims[*name] != *value) {
        return Err(wrong("wrong claims or algorithm"));
    }
    let number = |name: &str| decode(keys["keys"][0][name].as_str().unwrap_or_default());
    let point = [vec![4], number("x")?, number("y")?].concat();
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    key.verify(signed.as_bytes(), &decode(signature)?).map_err(|_| wrong("not signed by the published key"))
}

async fn get(server: &Server, path: &str) -> Result<Value, String> {
    send(server, request(path, CLIENT_ID, CLIENT_SECRET, None)).await.map(|(_, answer)| answer)
}

async fn send(server: &Server, request: Vec<u8>) -> Result<(u16, Value), String> {
    let failed = |error: std::io::Error| format!("over a socket: {error}");
    let mut stream = TcpStream::connect(&server.address).await.map_err(failed)?;
    let mut answer = Vec::new();
    exchange(&mut stream, &request, &mut answer).await.map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    Ok((status, serde_json::from_str(body).unwrap_or_default()))
}

const TOKENS: usize = 16;
