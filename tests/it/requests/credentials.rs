//! Reading the request (RFC 6750 §2, OAuth 2.1 §5.1; threats H).

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, routing::any};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use serde_json::json;
use tower_oauth::{
    OAuthLayer, ResourceServer, Token, server::ResourceServerBuilder, testing::ManualClock, verify::Verdict,
};

use crate::support::{
    API, Answer, DEFAULT_CHALLENGE, app, get_with, get_with_headers, get_with_token, get_without_token, issuer,
    layer_with, router, send, serve, valid_token, verifier_from, write_raw,
};

const FORM: &str = "application/x-www-form-urlencoded";

fn body_request(method: Method, content_type: &str, body: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri("/me")
        .header("content-type", content_type)
        .body(body.to_owned().into())
        .unwrap()
}

/// RFC 6749 §7 (MUST, accepts)
/// RFC 6750 §2.1 a (MUST, accepts)
/// RFC 9110 §5.3 (MUST NOT, accepts)
#[tokio::test]
async fn reads_the_token_from_the_authorization_header() {
    let answer = get_with_token(&app(), "/me", &valid_token().sign()).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "\"ada\""));
}

/// RFC 6750 §2.1 a (MUST, refuses)
/// RFC 6750 §3.1 b (SHOULD NOT, accepts)
/// RFC 9110 §11.1 (MUST, refuses)
/// Threat H1
#[tokio::test]
async fn missing_credentials_and_other_schemes_get_the_default_challenge() {
    let (app, token) = (app(), valid_token().sign());
    let mut answers = vec![("nothing".to_owned(), get_without_token(&app, "/me").await)];
    let others = ["Basic YWRhOnB3", "Negotiate YII", "Digest username=\"ada\"", "Token x", "x", "", "OAuth x", "JWT x"];
    let values = others.map(str::to_owned).into_iter().chain([format!("DPoP {token}"), token.clone()]);
    for value in values {
        let answer = get_with(&app, "/me", &value).await;
        answers.push((value, answer));
    }
    for (value, answer) in answers {
        assert_eq!((answer.status.as_u16(), answer.challenges()), (401, vec![DEFAULT_CHALLENGE]), "{value:?}");
        assert!(answer.body.is_empty(), "{value:?}: {}", answer.body);
    }
}

/// RFC 6750 §2 a (MUST, SHOULD, refuses)
/// RFC 9110 §5.3 (MUST NOT, refuses)
/// Threat H2
#[tokio::test]
async fn refuses_two_authorization_headers_even_if_they_are_equal() {
    let app = app();
    let good = format!("Bearer {}", valid_token().sign());
    let (good, bad, basic) = (good.as_bytes(), &b"Bearer x.y.z"[..], &b"Basic YWRhOnB3"[..]);
    for values in
        [vec![good, good], vec![good, bad], vec![bad, good], vec![basic, good], vec![good, basic], vec![good; 50]]
    {
        let headers: Vec<_> = values.iter().map(|value| ("authorization", *value)).collect();
        let answer = get_with_headers(&app, "/me", &headers).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{} headers: {answer:?}", headers.len());
    }
}

/// RFC 6750 §2.1 a (MUST, accepts)
/// RFC 6750 §2.1 b (MUST, accepts)
/// RFC 9110 §11.1 (MUST, accepts)
/// Threat H3
#[tokio::test]
async fn accepts_the_scheme_in_any_case_and_with_any_number_of_spaces() {
    let (app, token) = (app(), valid_token().sign());
    for scheme in ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer    "] {
        assert_eq!(get_with(&app, "/me", &format!("{scheme}{token}")).await.status, 200, "{scheme:?}");
    }
}

/// RFC 6750 §2.1 b (MUST, refuses)
/// Threat H4
#[tokio::test]
async fn a_scheme_without_a_token_is_malformed() {
    let app = app();
    for value in ["Bearer", "Bearer ", "Bearer     ", "bearer"] {
        let answer = get_with(&app, "/me", value).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{value:?}: {answer:?}");
    }
}

/// RFC 6750 §2.1 b (MUST, refuses)
/// RFC 8725bis §3.14 (MUST, refuses)
/// Threat H5
#[tokio::test]
async fn the_scheme_must_be_followed_by_exactly_one_b64token() {
    let (app, token) = (app(), valid_token().sign());
    let malformed = [
        format!("Bearer \"{token}\""),
        format!("Bearer {token} {token}"),
        format!("Bearer {token},{token}"),
        format!("Bearer {token}, Basic YWRhOnB3"),
        format!("Bearer {token};"),
        format!("Bearer {token},"),
        format!("Bearer token={token}"),
        format!("Bearer {}", token.replace('.', "%2E")),
        format!("Bearer {token} "),
        format!("Bearer Bearer {token}"),
        "Bearer {}".to_owned(),
        "Bearer =".to_owned(),
    ];
    for value in malformed {
        let answer = get_with(&app, "/me", &value).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{value}: {answer:?}");
    }
    for value in
        [format!("Bearer: {token}"), format!("Bearer={token}"), format!("Bearer{token}"), format!(" Bearer {token}")]
    {
        let answer = get_with(&app, "/me", &value).await;
        assert_eq!((answer.status.as_u16(), answer.challenges()), (401, vec![DEFAULT_CHALLENGE]), "{value}");
    }
    let padded = get_with(&app, "/me", "Bearer abc==").await;
    assert!(padded.is_refusal(401, "invalid_token"), "a b64token that is not a valid token: {padded:?}");
}

/// RFC 6750 §2.1 b (MUST, refuses)
/// Threat H6
#[tokio::test]
async fn refuses_bytes_that_are_no_text_without_a_panic() {
    let (app, token) = (app(), valid_token().sign());
    let no_text: [&[u8]; 7] =
        [b"\t", b"\xa0", b"\xc2\xa0", "\u{200b}".as_bytes(), b"\xe4", "ä".as_bytes(), b"\xff\xfe"];
    for bytes in no_text {
        let values = [
            [b"Bearer ", bytes, token.as_bytes()].concat(),
            [b"Bearer ", token.as_bytes(), bytes].concat(),
            [b"Bearer ", token.as_bytes(), bytes, token.as_bytes()].concat(),
        ];
        for value in values {
            let answer = get_with_headers(&app, "/me", &[("authorization", &value)]).await;
            assert!(answer.is_refusal(400, "invalid_request"), "{bytes:x?}: {answer:?}");
        }
        let in_the_scheme = [b"Bearer", bytes, token.as_bytes()].concat();
        let answer = get_with_headers(&app, "/me", &[("authorization", &in_the_scheme)]).await;
        assert!([400, 401].contains(&answer.status.as_u16()), "{bytes:x?}: {answer:?}");
    }
}

/// RFC 6750 §2.1 b (MUST, refuses)
/// Threat H6
#[tokio::test]
async fn refuses_bytes_that_http_forbids_in_headers_over_a_socket() {
    let address = serve(app()).await;
    let token = valid_token().sign();
    let request = |bytes: &[u8]| {
        [b"GET /me HTTP/1.1\r\nhost: a\r\nconnection: close\r\nauthorization: Bearer ", bytes, b"\r\n\r\n"].concat()
    };
    assert!(write_raw(address, request(token.as_bytes())).await.starts_with("HTTP/1.1 200 "), "the unchanged token");
    for bytes in [&b"\0"[..], b"\x7f", b"\x01", b"\xe4", b"\t"] {
        let (start, end) = token.split_at(20);
        let answer = write_raw(address, request(&[start.as_bytes(), bytes, end.as_bytes()].concat())).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{bytes:x?}: {answer}");
        assert!(!answer.contains(start), "the response contains the token: {answer}");
    }
}

/// RFC 6750 §2.3 (MAY, SHOULD, refuses)
/// RFC 6750 §5.2 (MUST NOT, refuses)
/// Threat H7
#[tokio::test]
async fn ignores_a_token_in_the_query_by_default() {
    let (app, token) = (app(), valid_token().sign());
    for query in
        [format!("access_token={token}"), format!("access%5Ftoken={token}"), format!("a=b&access_token={token}")]
    {
        let answer = get_without_token(&app, &format!("/me?{query}")).await;
        assert_eq!((answer.status.as_u16(), answer.challenges()), (401, vec![DEFAULT_CHALLENGE]), "{query}");
    }
}

/// RFC 6750 §2 a (MUST, SHOULD, refuses)
/// Threat H8
#[tokio::test]
async fn refuses_a_token_in_the_query_beside_one_in_the_header() {
    let (app, token) = (app(), valid_token().sign());
    let queries = ["access_token=x", "access%5Ftoken=x", "a=b&%61ccess_token=x", "access_token=", "access_token"];
    for query in queries.map(str::to_owned).into_iter().chain([format!("access_token={token}")]) {
        let answer = get_with_token(&app, &format!("/me?{query}"), &token).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{query}: {answer:?}");
    }
    for harmless in ["access_tokens=x", "Access_Token=x", "a=access_token", ""] {
        assert_eq!(get_with_token(&app, &format!("/me?{harmless}"), &token).await.status, 200, "{harmless}");
    }
}

/// RFC 6750 §2.2 (MAY, MUST NOT, refuses)
/// Threat H9
#[tokio::test]
async fn never_reads_the_body_by_default() {
    let (app, token) = (app_for_any_method(layer_with(|server| server)), valid_token().sign());
    let form = format!("access_token={token}");
    for request in [
        body_request(Method::POST, FORM, &form),
        body_request(Method::GET, FORM, &form),
        body_request(Method::POST, "application/json", &format!("{{\"access_token\":\"{token}\"}}")),
    ] {
        assert!(send(&app, request).await.is_refusal(401, ""));
    }
    let mut both = body_request(Method::POST, FORM, &form);
    both.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let answer = send(&app, both).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, &*format!("ada {form}")));
}

/// RFC 6750 §2 a (MUST, SHOULD, accepts)
/// RFC 6750 §5.2 (MUST NOT, refuses)
/// Threat H10
#[tokio::test]
async fn ignores_tokens_in_other_headers() {
    let (app, token) = (app(), valid_token().sign());
    for name in ["cookie", "proxy-authorization", "x-authorization", "x-access-token", "x-forwarded-access-token"] {
        for value in [format!("Bearer {token}"), token.clone(), format!("access_token={token}")] {
            let answer = get_with_headers(&app, "/me", &[(name, value.as_bytes())]).await;
            assert_eq!(
                (answer.status.as_u16(), answer.challenges()),
                (401, vec![DEFAULT_CHALLENGE]),
                "{name}: {value}"
            );
        }
    }
}

/// Threat H13
#[tokio::test]
async fn a_preflight_request_neither_reaches_the_handler_nor_gets_cors_headers() {
    let app = app_for_any_method(layer_with(|server| server));
    let request = Request::options("/me")
        .header("origin", "https://other.test")
        .header("access-control-request-method", "POST")
        .body(Body::empty());
    let answer = send(&app, request.unwrap()).await;
    assert!(answer.is_refusal(401, ""), "{answer:?}");
    let good = Request::get("/me")
        .header("origin", "https://other.test")
        .header("authorization", format!("Bearer {}", valid_token().sign()));
    let good = send(&app, good.body(Body::empty()).unwrap()).await;
    assert_eq!(good.status, 200);
    for answer in [answer, good] {
        let added =
            answer.headers.keys().find(|name| name.as_str().starts_with("access-control") || *name == "set-cookie");
        assert_eq!(added, None);
    }
}

/// Threat E5
#[tokio::test]
async fn accepts_a_token_of_max_token_bytes_and_refuses_a_longer_one() {
    let token = valid_token().sign();
    for (limit, status) in [(token.len(), 200), (token.len() + 1, 200), (token.len() - 1, 401), (1, 401)] {
        let app = router().layer(layer_with(|server| server.max_token_bytes(limit)));
        let answer = get_with_token(&app, "/me", &token).await;
        assert_eq!(answer.status, status, "limit {limit}");
        assert!(status == 200 || answer.is_refusal(401, "invalid_token"), "{answer:?}");
    }
}

/// Threat E5
#[tokio::test]
async fn the_default_of_max_token_bytes_is_16_kib() {
    let padded = |padding| valid_token().claim("padding", "x".repeat(padding)).sign();
    let longest = (11_000..12_500).rev().map(padded).find(|token| token.len() <= 16 * 1024).unwrap();
    let too_long = padded(12_500);
    assert!(longest.len() > 16 * 1024 - 4 && too_long.len() > 16 * 1024);
    assert_eq!(get_with_token(&app(), "/me", &longest).await.status, 200);
    assert!(get_with_token(&app(), "/me", &too_long).await.is_refusal(401, "invalid_token"));
    let megabyte = "A".repeat(1 << 20);
    assert!(get_with_token(&app(), "/me", &megabyte).await.is_refusal(401, "invalid_token"));
}

// --- bearer methods that a server must enable ---

/// An application whose handler accepts any method and returns the subject and the body.
fn app_for_any_method(layer: OAuthLayer) -> Router {
    Router::new().route("/me", any(subject_and_body)).layer(layer)
}

async fn subject_and_body(token: Token, body: String) -> String {
    format!("{} {body}", token.subject().unwrap())
}

fn app_with_form_body(limit: usize) -> Router {
    Router::new().route("/me", any(subject_and_body)).layer(layer_with(|server| server).accept_form_body(limit))
}

/// RFC 6750 §5.2 (MUST NOT, accepts)
#[tokio::test]
async fn reads_the_token_from_a_cookie_if_enabled() {
    let app = router().layer(layer_with(|server| server.accept_cookie("session")));
    let token = valid_token().sign();
    let get_with_values = async |cookies: &[&[u8]]| {
        let headers: Vec<_> = cookies.iter().map(|value| ("cookie", *value)).collect();
        get_with_headers(&app, "/me", &headers).await
    };
    let alone = format!("session={token}");
    let among = format!("a=b; session={token};c=d");
    assert_eq!(get_with_values(&[alone.as_bytes()]).await.body, "\"ada\"");
    assert_eq!(get_with_values(&[among.as_bytes()]).await.status, 200);
    assert_eq!(get_with_values(&[b"a=b", alone.as_bytes()]).await.status, 200);
    let other_cookie = [b"a=\xe4\xff; ", alone.as_bytes()].concat();
    assert_eq!(get_with_values(&[&other_cookie]).await.status, 200, "another application's cookie may hold any bytes");
    let twice = format!("{alone}; {alone}");
    let latin1 = [b"session=\xe4", token.as_bytes()].concat();
    let quoted = format!("session=\"{token}\"");
    for malformed in [twice.as_bytes(), &latin1, quoted.as_bytes(), b"session="] {
        let answer = get_with_values(&[malformed]).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{answer:?}");
    }
    assert!(get_with_values(&[alone.as_bytes(), alone.as_bytes()]).await.is_refusal(400, "invalid_request"));
    for absent in
        [format!("Session={token}"), format!("xsession={token}"), format!("session2={token}"), "session".to_owned()]
    {
        assert!(get_with_values(&[absent.as_bytes()]).await.is_refusal(401, ""), "{absent}");
    }
}

#[tokio::test]
async fn reads_the_token_from_another_header_if_enabled() {
    let app = router().layer(layer_with(|server| server.accept_header("X-Access-Token")));
    let token = valid_token().sign();
    let get_with_values = async |values: &[&[u8]]| {
        let headers: Vec<_> = values.iter().map(|value| ("x-access-token", *value)).collect();
        get_with_headers(&app, "/me", &headers).await
    };
    assert_eq!(get_with_values(&[token.as_bytes()]).await.body, "\"ada\"");
    let latin1 = [token.as_bytes(), b"\xe4"].concat();
    let tab = [token.as_bytes(), b"\t"].concat();
    for malformed in [&[token.as_bytes(), token.as_bytes()][..], &[&latin1], &[&tab], &[b""], &[b"  "]] {
        let answer = get_with_values(malformed).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{answer:?}");
    }
    assert!(get_with_values(&[]).await.is_refusal(401, ""));
    // The verifier gets every other value. This one accepts only JWTs.
    let with_scheme = format!("Bearer {token}");
    let padded = token.replacen('.', "==.", 1);
    for foreign in [with_scheme, padded, "=".to_owned(), "{\"json\": 1}".to_owned()] {
        let answer = get_with_values(&[foreign.as_bytes()]).await;
        assert!(answer.is_refusal(401, "invalid_token"), "{foreign}: {answer:?}");
    }
}

/// Threat H10
#[tokio::test]
async fn a_verifier_gets_the_value_of_an_accepted_header_as_it_is() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let stored = Arc::clone(&seen);
    let verifier = verifier_from(move |presented| {
        stored.lock().unwrap().push(presented.token().to_owned());
        Verdict::Now(presented.permit().token(&json!({"sub": "ada"})))
    });
    let server = ResourceServer::builder(verifier).accept_header("x-token").accept_cookie("session");
    let app = router().layer(OAuthLayer::from_server(server.max_token_bytes(1024).build().unwrap()));
    let all: String = (' '..='~').collect();
    let accepted = ["eyJhIjoxfQ==.e30=.AA==", "a b", "=", &format!("x{all}x"), &"x".repeat(1024)];
    for value in accepted {
        assert_eq!(get_with_headers(&app, "/me", &[("x-token", value.as_bytes())]).await.body, "\"ada\"", "{value}");
    }
    assert_eq!(*seen.lock().unwrap(), accepted);
    assert!(get_with_headers(&app, "/me", &[("x-token", &[b'x'; 1025])]).await.is_refusal(401, "invalid_token"));
    // The grammar of the other bearer methods does not change.
    for (name, value) in [("authorization", "Bearer a=.b"), ("cookie", "session=a=.b")] {
        let answer = get_with_headers(&app, "/me", &[(name, value.as_bytes())]).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{name}: {answer:?}");
    }
    assert_eq!(seen.lock().unwrap().len(), accepted.len());
}

#[tokio::test]
async fn accepts_authorization_without_a_scheme_if_enabled() {
    let app = router().layer(layer_with(ResourceServerBuilder::accept_authorization_without_scheme));
    let token = valid_token().sign();
    for value in [token.clone(), format!("Bearer {token}"), format!("bearer {token}")] {
        assert_eq!(get_with(&app, "/me", &value).await.body, "\"ada\"", "{value}");
    }
    let mistyped = get_with(&app, "/me", "Bearerx").await;
    assert!(mistyped.is_refusal(401, "invalid_token"), "{mistyped:?}");
    assert!(get_with(&app, "/me", "Basic YWRhOnB3").await.is_refusal(401, ""));
    assert!(get_with(&app, "/me", &format!("\"{token}\"")).await.is_refusal(401, ""));
    assert!(get_with(&app, "/me", "Bearer").await.is_refusal(400, "invalid_request"));
}

/// RFC 6750 §2.3 (MAY, SHOULD, accepts)
#[tokio::test]
async fn reads_the_query_if_enabled_and_marks_the_response_private() {
    let app = router().layer(layer_with(ResourceServerBuilder::danger_accept_query));
    let token = valid_token().sign();
    for query in [format!("access_token={token}"), format!("a=b&access%5Ftoken={token}&c=d")] {
        let answer = get_without_token(&app, &format!("/me?{query}")).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, Some("private")), "{query}");
    }
    for query in [
        format!("access_token={token}&access_token={token}"),
        "access_token=%FF".to_owned(),
        "access_token=".to_owned(),
    ] {
        let answer = get_without_token(&app, &format!("/me?{query}")).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{query}: {answer:?}");
    }
    assert!(get_without_token(&app, "/me?a=b").await.is_refusal(401, ""));
    let header = get_with_token(&app, "/me", &token).await;
    assert_eq!(header.status, 200);
}

/// RFC 6750 §2.3 (MAY, SHOULD, refuses)
#[tokio::test]
async fn does_not_change_responses_if_only_authorization_is_enabled() {
    let answer = get_with_token(&app(), "/me", &valid_token().sign()).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, None));
}

/// A handler that sends back the request's `x-cache` headers as its `Cache-Control`.
async fn with_cache_control(_: Option<Token>, headers: HeaderMap) -> HeaderMap {
    headers.get_all("x-cache").iter().map(|value| (header::CACHE_CONTROL, value.clone())).collect()
}

/// RFC 6750 §2.3 (MAY, SHOULD, refuses)
#[tokio::test]
async fn a_response_is_private_if_its_token_came_by_a_method_that_caches_do_not_know() {
    let layer = layer_with(|server| server.accept_cookie("session").accept_header("x-token").danger_accept_query());
    let app = Router::new().route("/", any(with_cache_control)).layer(layer.allow_anonymous().accept_form_body(4096));
    let token = valid_token().sign();
    let request = |method: &str| {
        let request = Request::post(if method == "query" { format!("/?access_token={token}") } else { "/".to_owned() });
        let (request, body) = match method {
            "authorization" => (request.header("authorization", format!("Bearer {token}")), String::new()),
            "cookie" => (request.header("cookie", format!("session={token}")), String::new()),
            "header" => (request.header("x-token", &token), String::new()),
            "form" => (request.header("content-type", FORM), format!("access_token={token}")),
            _ => (request, String::new()),
        };
        request.body(Body::from(body)).unwrap()
    };
    let rows: [(&[&str], &[&str]); 16] = [
        (&[], &["private"]),
        (&[""], &["private"]),
        (&["max-age=60"], &["max-age=60, private"]),
        (&["no-cache", "max-age=60"], &["no-cache, private", "max-age=60"]),
        (&["s-maxage=60, must-revalidate"], &["s-maxage=60, must-revalidate, private"]),
        (&["max-age=60, Private"], &["max-age=60, Private"]),
        (&["no-store"], &["no-store"]),
        (&["max-age=60", "PUBLIC"], &["max-age=60", "PUBLIC"]),
        (&["public,max-age=60"], &["public,max-age=60"]),
        (&["x-private, privately"], &["x-private, privately, private"]),
        (&["private=\"set-cookie\""], &["private=\"set-cookie\", private"]),
        (&["no-cache=\"a, private, b\""], &["no-cache=\"a, private, b\", private"]),
        (&["no-cache=\"a, b\",private"], &["no-cache=\"a, b\",private"]),
        (&["no-cache=\"a"], &["private"]),
        (&["no-cache=\"\\\", private\""], &["private"]),
        (&[" , "], &[" , , private"]),
    ];
    for (of_the_handler, expected) in rows {
        for method in ["authorization", "none", "cookie", "header", "query", "form"] {
            let mut request = request(method);
            for value in of_the_handler {
                request.headers_mut().append("x-cache", value.parse().unwrap());
            }
            let answer = send(&app, request).await;
            let values: Vec<_> =
                answer.headers.get_all("cache-control").iter().map(|value| value.to_str().unwrap()).collect();
            let expected = if ["authorization", "none"].contains(&method) { of_the_handler } else { expected };
            assert_eq!((answer.status.as_u16(), &*values), (200, expected), "{method}");
        }
    }
}

/// RFC 6750 §2.3 (MAY, SHOULD, refuses)
#[tokio::test]
async fn a_refusal_of_a_token_from_a_cookie_is_never_stored() {
    let app = router().layer(layer_with(|server| server.accept_cookie("session")));
    let cookie = |token: &str| format!("session={token}");
    for (path, cookie, status) in
        [("/me", cookie("x"), 401), ("/me", cookie(""), 400), ("/admin", cookie(&valid_token().sign()), 403)]
    {
        let answer = get_with_headers(&app, path, &[("cookie", cookie.as_bytes())]).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (status, Some("no-store")));
    }
}

/// RFC 6750 §2.2 (MAY, MUST NOT, accepts)
#[tokio::test]
async fn reads_a_form_body_if_enabled_and_passes_it_to_the_handler() {
    let (app, token) = (app_with_form_body(4096), valid_token().sign());
    let form = format!("a=b&access_token={token}&c=d");
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        for content_type in [FORM, "Application/X-WWW-Form-Urlencoded; charset=UTF-8"] {
            let answer = send(&app, body_request(method.clone(), content_type, &form)).await;
            assert_eq!(
                (answer.status.as_u16(), &*answer.body),
                (200, &*format!("ada {form}")),
                "{method} {content_type}"
            );
        }
    }
    let without = send(&app, body_request(Method::POST, FORM, "a=b")).await;
    assert!(without.is_refusal(401, ""), "{without:?}");
    for malformed in [format!("{form}&{form}"), "access_token=".to_owned(), "access_token=%FF".to_owned()] {
        let answer = send(&app, body_request(Method::POST, FORM, &malformed)).await;
        assert!(answer.is_refusal(400, "invalid_request"), "{malformed}: {answer:?}");
    }
}

/// Threat V2
#[tokio::test]
async fn a_form_body_that_is_not_complete_in_time_gets_408() {
    let clock = ManualClock::default();
    let server = ResourceServer::builder(issuer().verifier(API)).clock(clock.clone()).build().unwrap();
    let layer = OAuthLayer::from_server(server).accept_form_body(4096);
    let app = Router::new().route("/me", any(subject_and_body)).layer(layer);
    // A body whose second part never arrives.
    let (sender, body) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    sender.send(Ok(Bytes::from_static(b"access_"))).await.unwrap();
    let body = Body::from_stream(ReceiverStream(body));
    let request = Request::post("/me").header("content-type", FORM).body(body).unwrap();
    let mut answer = Box::pin(send(&app, request));
    assert!(futures_util::future::poll_immediate(&mut answer).await.is_none());
    clock.advance(Duration::from_millis(9_999));
    assert!(futures_util::future::poll_immediate(&mut answer).await.is_none());
    clock.advance(Duration::from_millis(1));
    let answer = answer.await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (408, Some("no-store")));
    drop(sender);
}

/// Receives the parts of a body.
struct ReceiverStream<T>(tokio::sync::mpsc::Receiver<T>);

impl<T> futures_util::Stream for ReceiverStream<T> {
    type Item = T;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.0.poll_recv(cx)
    }
}

/// RFC 6750 §2.2 (MAY, MUST NOT, refuses)
/// Threat H9
#[tokio::test]
async fn reads_a_form_body_only_under_the_conditions_of_rfc_6750_2_2() {
    let (app, token) = (app_with_form_body(4096), valid_token().sign());
    let form = format!("access_token={token}");
    let no_forms = [
        body_request(Method::GET, FORM, &form),
        body_request(Method::DELETE, FORM, &form),
        body_request(Method::POST, "application/json", &form),
        body_request(Method::POST, "multipart/form-data; boundary=x", &form),
        body_request(Method::POST, "application/x-www-form-urlencoded-not", &form),
        body_request(Method::POST, "text/plain", &form),
    ];
    for request in no_forms {
        let description = format!("{} {:?}", request.method(), request.headers()["content-type"]);
        assert!(send(&app, request).await.is_refusal(401, ""), "{description}");
    }
    let mut both = body_request(Method::POST, FORM, "access_token=x");
    both.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let answer = send(&app, both).await;
    assert_eq!(answer.body, "ada access_token=x", "with a token in the header, the layer must not read the body");
}

/// RFC 6750 §2.2 (MAY, MUST NOT, refuses)
#[tokio::test]
async fn only_the_layer_that_reads_forms_accepts_their_tokens() {
    let accepts_forms = || layer_with(|server| server).accept_form_body(4096);
    let form = format!("access_token={}", valid_token().sign());
    let route = || Router::new().route("/me", any(subject_and_body));
    let post = async |app: &Router| send(app, body_request(Method::POST, FORM, &form)).await;
    let inner_without = route().layer(layer_with(|server| server)).layer(accepts_forms());
    assert!(post(&inner_without).await.is_refusal(401, ""));
    let inner_with = route().layer(accepts_forms()).layer(layer_with(|server| server).allow_anonymous());
    assert_eq!(post(&inner_with).await.body, format!("ada {form}"));
    let both = route().layer(accepts_forms()).layer(accepts_forms());
    assert_eq!(post(&both).await.body, format!("ada {form}"));
    let anonymous_inside = Router::new()
        .route("/me", any(async |token: Option<Token>| if token.is_some() { "a token" } else { "anonymous" }))
        .layer(layer_with(|server| server).allow_anonymous())
        .layer(accepts_forms());
    assert_eq!(post(&anonymous_inside).await.body, "anonymous");
}

/// RFC 6750 §2 a (MUST, SHOULD, refuses)
#[tokio::test]
async fn refuses_a_token_in_the_query_beside_one_in_the_form() {
    let (app, token) = (app_with_form_body(4096), valid_token().sign());
    for (uri, status) in [("/me?access_token=x", 400), ("/me?a=b&access%5Ftoken", 400), ("/me?access_tokens=x", 200)] {
        let mut request = body_request(Method::POST, FORM, &format!("access_token={token}"));
        *request.uri_mut() = uri.parse().unwrap();
        let answer = send(&app, request).await;
        assert!(answer.status == status, "{uri}: {answer:?}");
        assert!(status == 200 || answer.is_refusal(400, "invalid_request"), "{uri}: {answer:?}");
    }
    let mut without = body_request(Method::POST, FORM, "a=b");
    *without.uri_mut() = format!("/me?access_token={token}").parse().unwrap();
    assert!(send(&app, without).await.is_refusal(401, ""), "the query alone is ignored");
}

/// RFC 6750 §2.2 (MAY, MUST NOT, refuses)
#[tokio::test]
async fn refuses_a_form_body_over_the_limit_with_413() {
    let form = format!("access_token={}", valid_token().sign());
    for (limit, status) in [(form.len(), 200), (form.len() - 1, 413), (0, 413)] {
        let answer = send(&app_with_form_body(limit), body_request(Method::POST, FORM, &form)).await;
        assert_eq!(answer.status, status, "limit {limit}");
        assert!(status == 200 || answer.body.is_empty());
    }
}

/// RFC 6750 §2 a (MUST, SHOULD, accepts and refuses)
#[tokio::test]
async fn refuses_two_enabled_bearer_methods_in_one_request() {
    let layer = layer_with(|server| server.accept_cookie("session").accept_header("x-token").danger_accept_query());
    let app = Router::new().route("/me", any(subject_and_body)).layer(layer.accept_form_body(4096));
    let token = valid_token().sign();
    let methods = ["authorization", "cookie", "header", "query", "form"];
    let post_with = async |used: &[&str]| -> Answer {
        let uri = if used.contains(&"query") { format!("/me?access_token={token}") } else { "/me".to_owned() };
        let mut request = Request::post(uri);
        if used.contains(&"authorization") {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if used.contains(&"cookie") {
            request = request.header("cookie", format!("session={token}"));
        }
        if used.contains(&"header") {
            request = request.header("x-token", &token);
        }
        let form = if used.contains(&"form") { format!("access_token={token}") } else { String::new() };
        send(&app, request.header("content-type", FORM).body(form.into()).unwrap()).await
    };
    for (index, one) in methods.iter().enumerate() {
        assert_eq!(post_with(&[one]).await.status, 200, "{one}");
        for other in &methods[index + 1..] {
            let answer = post_with(&[one, other]).await;
            // With a token in the header, the layer does not read the body (§2.2 and H9 allow both).
            if (*one, *other) == ("authorization", "form") {
                assert_eq!(answer.status, 200);
            } else {
                assert!(answer.is_refusal(400, "invalid_request"), "{one} and {other}: {answer:?}");
            }
        }
    }
}

/// RFC 6750 §2.1 a (MUST, accepts)
#[tokio::test]
async fn a_resource_server_authenticates_requests_without_tower() {
    authenticates_requests(&ResourceServer::new(issuer().verifier(API))).await;
}

#[tokio::test]
async fn a_clone_of_a_leaked_server_works_after_the_original_is_dropped() {
    let server = ResourceServer::new(issuer().verifier(API)).leak();
    let clone = server.clone().leak();
    drop(server);
    authenticates_requests(&clone).await;
}

async fn authenticates_requests(server: &ResourceServer) {
    let head = |authorization: Option<String>| {
        let mut request = Request::new(());
        if let Some(value) = authorization {
            request.headers_mut().insert("authorization", value.parse().unwrap());
        }
        request.into_parts().0
    };
    let token = server.authenticate(&head(Some(format!("Bearer {}", valid_token().sign())))).await.unwrap();
    assert_eq!(token.subject(), Some("ada"));
    let error = server.authenticate(&head(None)).await.unwrap_err();
    let challenge = server.challenge(&error);
    assert_eq!(challenge.status(), 401);
    assert_eq!(challenge.www_authenticate().collect::<Vec<_>>(), [DEFAULT_CHALLENGE]);
}
