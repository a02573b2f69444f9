//! The responses at the URL of the document: methods, caches, web pages.

use http::Method;

use super::{WELL_KNOWN, app, document, request, resource};
use crate::support::{API, Answer};

async fn respond(method: &str, headers: &[(&str, &str)]) -> Answer {
    let app = app(resource().build().unwrap());
    request(&app, Method::from_bytes(method.as_bytes()).unwrap(), WELL_KNOWN, headers).await
}

/// The names in a header with a list.
fn list<'a>(answer: &'a Answer, name: &str) -> Vec<&'a str> {
    answer.header(name).unwrap_or_default().split(',').map(str::trim).collect()
}

/// RFC 9728 §3.2 (MUST, accepts)
#[tokio::test]
async fn get_returns_a_document_that_caches_and_web_pages_may_have() {
    let answer = respond("GET", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(
        (answer.header("vary"), answer.header("www-authenticate"), answer.header("set-cookie")),
        (None, None, None)
    );
    assert!(answer.body.starts_with('{'), "{answer:?}");
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let (get, head) = (respond("GET", &[]).await, respond("HEAD", &[]).await);
    assert_eq!((head.status, &head.headers), (get.status, &get.headers));
    assert_eq!((&*head.body, head.header("content-length")), ("", Some(&*get.body.len().to_string())));
}

/// RFC 9728 §3.1 (MUST, refuses)
#[tokio::test]
async fn other_methods_get_405_with_the_allowed_ones() {
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "get"] {
        let answer = respond(method, &[("authorization", "Bearer x")]).await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")), "{method}");
        assert_eq!((&*answer.body, answer.header("access-control-allow-origin")), ("", Some("*")), "{method}");
    }
}

/// Metadata 1 (derived, accepts)
#[tokio::test]
async fn a_preflight_request_may_name_mcp_protocol_version_and_any_other_header() {
    let preflight = [
        ("origin", "https://inspector.test"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "mcp-protocol-version"),
    ];
    let answer = respond("OPTIONS", &preflight).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (204, ""));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD"));
    assert_eq!(answer.header("access-control-allow-headers"), Some("mcp-protocol-version"));
    assert_eq!(answer.header("access-control-max-age"), Some("7200"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);

    let asked = [
        ("access-control-request-headers", "X-One,  x-two"),
        ("access-control-request-headers", "MCP-Protocol-Version"),
    ];
    assert_eq!(
        list(&respond("OPTIONS", &asked).await, "access-control-allow-headers"),
        ["mcp-protocol-version", "x-one", "x-two"]
    );
    // Also without a question.
    assert_eq!(respond("OPTIONS", &[]).await.header("access-control-allow-headers"), Some("mcp-protocol-version"));
}

/// Metadata 1 (derived, refuses)
#[tokio::test]
async fn a_preflight_request_gets_back_only_names_of_headers_and_not_too_many() {
    let odd = "x-good, , a b, \"q\", (x), x:y, x;y, x=y, \t, {}, <script>, x-also";
    let answer = respond("OPTIONS", &[("access-control-request-headers", odd)]).await;
    assert_eq!(list(&answer, "access-control-allow-headers"), ["mcp-protocol-version", "x-good", "x-also"]);
    let many = (0..10_000).map(|number| format!("x-{number}")).collect::<Vec<_>>().join(",");
    let long = "x".repeat(5_000);
    let answer =
        respond("OPTIONS", &[("access-control-request-headers", &long), ("access-control-request-headers", &many)])
            .await;
    assert!(answer.header("access-control-allow-headers").unwrap().len() < 2_000);
    assert_eq!(list(&answer, "access-control-allow-headers").len(), 17);
}

/// RFC 9728 §3.1 (MUST, refuses)
#[tokio::test]
async fn credentials_of_any_kind_change_nothing() {
    let plain = respond("GET", &[]).await;
    for header in [
        ("authorization", "Bearer x"),
        ("authorization", "Bearer a b"),
        ("authorization", "Basic eDp5"),
        ("cookie", "session=x"),
    ] {
        let answer = respond("GET", &[header, header]).await;
        assert_eq!(
            (answer.status, &answer.headers, &answer.body),
            (plain.status, &plain.headers, &plain.body),
            "{header:?}"
        );
    }
    let app = app(resource().build().unwrap());
    assert_eq!(document(&app, &format!("{WELL_KNOWN}?access_token=a&access_token=b")).await["resource"], API);
}
