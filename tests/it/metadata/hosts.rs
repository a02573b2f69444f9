//! Several identifiers: the host of a request chooses among them, and nothing that a client sends is ever in a response.

use axum::body::Body;
use http::{Method, Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use tokio::net::TcpStream;
use tower_oauth::{AuthError, ProtectedResource};

use super::{WELL_KNOWN, app, document, named_metadata, request, resource, server};
use crate::support::{API, Answer, get_without_token, send, serve, write_raw};

const INTERNAL: &str = "http://127.0.0.1:8443/mcp";
const OTHER: &str = "https://Other.test:443/mcp";
const IPV6: &str = "http://[::1]:5001/mcp";

fn three_hosts() -> ProtectedResource {
    ProtectedResource::builder("https://api.test/mcp").also(INTERNAL).also(OTHER).also(IPV6).build().unwrap()
}

/// The `Host` values with the identifier that each chooses.
const HOSTS: [(&str, &str); 22] = [
    ("api.test", "https://api.test/mcp"),
    ("api.test:443", "https://api.test/mcp"),
    ("API.TEST", "https://api.test/mcp"),
    ("127.0.0.1:8443", INTERNAL),
    ("other.test", OTHER),
    ("OTHER.test:443", OTHER),
    ("[::1]:5001", IPV6),
    // Unknown: the first one.
    ("127.0.0.1", "https://api.test/mcp"),
    ("127.0.0.1:80", "https://api.test/mcp"),
    ("[::1]", "https://api.test/mcp"),
    ("other.test:80", "https://api.test/mcp"),
    ("other.test:8443", "https://api.test/mcp"),
    ("other.test.", "https://api.test/mcp"),
    ("other.test.evil.test", "https://api.test/mcp"),
    ("evil.test", "https://api.test/mcp"),
    ("evil.test/other.test", "https://api.test/mcp"),
    ("evil.test, other.test", "https://api.test/mcp"),
    ("other.test:", "https://api.test/mcp"),
    ("other.test:x", "https://api.test/mcp"),
    (":443", "https://api.test/mcp"),
    ("", "https://api.test/mcp"),
    ("x\" , evil=\"x", "https://api.test/mcp"),
];

fn url_of(identifier: &str) -> String {
    ProtectedResource::new(identifier).unwrap().metadata_url().to_owned()
}

/// RFC 9728 §3.3 a (MUST, accepts)
/// MCP 2 (SHOULD, accepts)
#[tokio::test]
async fn the_host_of_a_request_chooses_the_document_and_the_challenge() {
    let app = app(three_hosts());
    for (host, identifier) in HOSTS {
        let headers = [("host", host)];
        let found = request(&app, Method::GET, &format!("{WELL_KNOWN}/mcp"), &headers).await;
        let found: serde_json::Value = serde_json::from_str(&found.body).unwrap();
        assert_eq!(found["resource"], identifier, "{host:?}");
        assert_eq!(named_metadata(&request(&app, Method::GET, "/me", &headers).await), url_of(identifier), "{host:?}");
    }
    // HTTP/1.0 needs no host.
    assert_eq!(document(&app, &format!("{WELL_KNOWN}/mcp")).await["resource"], "https://api.test/mcp");
}

#[tokio::test]
async fn without_a_port_a_host_has_the_default_port_of_the_identifiers_scheme() {
    let first = "https://[2001:db8::1]/mcp";
    let resource = ProtectedResource::builder(first).also("http://[::1]/mcp").also("http://localhost/mcp");
    let app = app(resource.build().unwrap());
    for (host, identifier) in [
        ("[2001:DB8::1]", first),
        ("[::1]", "http://[::1]/mcp"),
        ("[::1]:80", "http://[::1]/mcp"),
        ("[::1]:443", first),
        ("localhost", "http://localhost/mcp"),
        ("LOCALHOST:80", "http://localhost/mcp"),
        ("localhost:443", first),
    ] {
        let answer = request(&app, Method::GET, "/me", &[("host", host)]).await;
        assert_eq!(named_metadata(&answer), url_of(identifier), "{host}");
    }
}

/// RFC 9728 §5.1 (MAY, refuses)
#[tokio::test]
async fn a_refusal_of_a_handler_and_a_late_verdict_name_the_metadata_of_the_host_too() {
    let late = crate::support::verifier_from(|_| {
        tower_oauth::verify::Verdict::later(async {
            tokio::task::yield_now().await;
            Err(AuthError::invalid_token())
        })
    });
    let resource =
        ProtectedResource::builder("https://api.test/mcp").also(OTHER).authorization_server("https://auth.test");
    let late = tower_oauth::OAuthLayer::for_resource(resource.build().unwrap(), late).unwrap();
    let token = crate::support::valid_token().audience(OTHER).sign();
    let in_handler = crate::support::router()
        .layer(tower_oauth::OAuthLayer::from_server(server(three_hosts()).build().unwrap()).serve_metadata());
    for (app, path) in [(super::routes().layer(late), "/me"), (in_handler, "/admin")] {
        let headers = [("host", "other.test"), ("authorization", &*format!("Bearer {token}"))];
        assert_eq!(named_metadata(&request(&app, Method::GET, path, &headers).await), url_of(OTHER), "{path}");
    }
}

#[tokio::test]
async fn the_authority_of_the_uri_takes_precedence_over_host() {
    let app = app(three_hosts());
    for (uri, identifier) in [
        ("https://other.test/me", OTHER),
        ("http://other.test/me", OTHER),
        ("https://evil.test@other.test/me", OTHER),
        ("https://other.test@evil.test/me", "https://api.test/mcp"),
        ("http://[::1]:5001/me", IPV6),
        ("https://evil.test/me", "https://api.test/mcp"),
    ] {
        let answer = request(&app, Method::GET, uri, &[("host", "127.0.0.1:8443")]).await;
        assert_eq!(named_metadata(&answer), url_of(identifier), "{uri}");
    }
}

/// RFC 9728 §3.3 b (derived, refuses)
#[tokio::test]
async fn two_host_headers_choose_nothing() {
    let headers = [("host", "other.test"), ("host", "other.test")];
    let answer = request(&app(three_hosts()), Method::GET, "/me", &headers).await;
    assert_eq!(named_metadata(&answer), url_of("https://api.test/mcp"));
}

const POISON: [(&str, &str); 9] = [
    ("x-forwarded-host", "other.test"),
    ("x-forwarded-host", "evil.test"),
    ("x-forwarded-proto", "http"),
    ("x-forwarded-port", "8443"),
    ("x-forwarded-prefix", "/evil"),
    ("x-original-host", "other.test"),
    ("forwarded", "host=other.test;proto=http"),
    ("x-host", "other.test"),
    ("origin", "https://other.test"),
];

/// RFC 9728 §3.3 b (derived, refuses)
#[tokio::test]
async fn forwarded_headers_change_nothing_with_one_identifier_and_with_several() {
    let one = app(resource().build().unwrap());
    let several = app(three_hosts());
    for (app, path) in [(one, WELL_KNOWN.to_owned()), (several, format!("{WELL_KNOWN}/mcp"))] {
        let (plain, refused) = (get_without_token(&app, &path).await, get_without_token(&app, "/me").await);
        let each = POISON.iter().map(std::slice::from_ref).chain([&POISON[..]]);
        for headers in each {
            let answer = request(&app, Method::GET, &path, headers).await;
            assert_eq!((answer.status, &answer.headers, &answer.body), (plain.status, &plain.headers, &plain.body));
            let answer = request(&app, Method::GET, "/me", headers).await;
            assert_eq!(
                (answer.status, &answer.headers, &answer.body),
                (refused.status, &refused.headers, &refused.body)
            );
        }
    }
}

/// RFC 9728 §3.3 b (derived, refuses)
#[tokio::test]
async fn with_one_identifier_the_host_changes_nothing() {
    let app = app(resource().build().unwrap());
    let plain = get_without_token(&app, WELL_KNOWN).await;
    for (host, _) in HOSTS {
        let answer = request(&app, Method::GET, WELL_KNOWN, &[("host", host)]).await;
        assert_eq!(
            (answer.status, &answer.headers, &answer.body),
            (plain.status, &plain.headers, &plain.body),
            "{host}"
        );
        let refused = request(&app, Method::GET, "/me", &[("host", host)]).await;
        assert_eq!(named_metadata(&refused), format!("{API}{WELL_KNOWN}"), "{host}");
    }
}

/// A cache behind a proxy may have only the path in its key.
///
/// Metadata 2 (derived, accepts and refuses)
#[tokio::test]
async fn the_document_varies_with_the_host_only_if_there_are_several_identifiers() {
    let several = app(three_hosts());
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
        let answer = request(&several, method.clone(), &format!("{WELL_KNOWN}/mcp"), &[]).await;
        assert_eq!(answer.header("vary"), Some("host"), "{method}");
    }
    let one = request(&app(resource().build().unwrap()), Method::GET, WELL_KNOWN, &[]).await;
    assert_eq!(one.header("vary"), None);
}

/// RFC 9728 §3.3 a (MUST, refuses)
#[tokio::test]
async fn identifiers_with_different_paths_have_their_documents_at_their_own_hosts_only() {
    let resource = ProtectedResource::builder("https://api.test/a").also("https://other.test/b").build().unwrap();
    let server = server(resource.clone()).build().unwrap();
    let paths: Vec<_> = server.metadata().unwrap().paths().collect();
    assert_eq!(paths, [format!("{WELL_KNOWN}/a"), format!("{WELL_KNOWN}/b")]);
    assert_eq!(server.metadata().unwrap().path(), format!("{WELL_KNOWN}/a"));
    let app = app(resource);
    for (host, path, found) in [
        ("api.test", "/a", true),
        ("other.test", "/b", true),
        ("evil.test", "/a", true),
        ("api.test", "/b", false),
        ("other.test", "/a", false),
        ("evil.test", "/b", false),
    ] {
        let answer = request(&app, Method::GET, &format!("{WELL_KNOWN}{path}"), &[("host", host)]).await;
        assert_eq!(answer.status, if found { 200 } else { 401 }, "{host}{path}");
    }
}

#[test]
fn a_server_without_tower_makes_the_challenge_for_a_request() {
    let server = server(three_hosts()).build().unwrap();
    let error = AuthError::invalid_token();
    let line = |challenge: tower_oauth::challenge::Challenge| {
        challenge.www_authenticate().next().unwrap().to_str().unwrap().to_owned()
    };
    let (parts, ()) = Request::get("/").header("host", "other.test").body(()).unwrap().into_parts();
    assert!(line(server.challenge_for(&error, &parts)).contains(&url_of(OTHER)));
    assert!(line(server.challenge(&error)).contains(&url_of("https://api.test/mcp")));
    let plain = tower_oauth::ResourceServer::new(crate::support::issuer().verifier(API));
    assert_eq!(plain.challenge_for(&error, &parts), plain.challenge(&error));
    assert!(plain.metadata().is_none());
}

// --- sockets ---

/// RFC 9728 §3.3 b (derived, accepts)
#[tokio::test]
async fn http_1_1_chooses_by_host_and_by_an_absolute_uri() {
    let address = serve(app(three_hosts())).await;
    for (target, host, identifier) in [
        ("/me", "other.test", OTHER),
        ("/me", "evil.test", "https://api.test/mcp"),
        ("http://other.test/me", "evil.test", OTHER),
        ("http://evil.test/me", "other.test", "https://api.test/mcp"),
    ] {
        let sent = format!(
            "GET {target} HTTP/1.1\r\nhost: {host}\r\nx-forwarded-host: 127.0.0.1:8443\r\nconnection: close\r\n\r\n"
        );
        let answer = write_raw(address, sent).await;
        assert!(answer.contains(&format!("resource_metadata=\"{}\"", url_of(identifier))), "{target} {host}: {answer}");
    }
    let head = format!("HEAD {WELL_KNOWN}/mcp HTTP/1.1\r\nhost: other.test\r\nconnection: close\r\n\r\n");
    let (head, get) = (write_raw(address, &head).await, write_raw(address, head.replace("HEAD", "GET")).await);
    let (get_head, body) = get.split_once("\r\n\r\n").unwrap();
    assert!(head.ends_with("\r\n\r\n") && body.contains(OTHER), "{head}{get}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())), "{head}");
    assert_eq!(get_head.matches("content-length").count(), 1, "{get_head}");
    let two = "GET /me HTTP/1.1\r\nhost: other.test\r\nhost: other.test\r\nconnection: close\r\n\r\n";
    let two = write_raw(address, two).await;
    assert!(two.starts_with("HTTP/1.1 4") && !two.contains(&url_of(OTHER)), "{two}");
}

/// RFC 9728 §3.3 b (derived, accepts)
#[tokio::test]
async fn http_2_chooses_by_the_authority() {
    let address = serve(app(three_hosts())).await;
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut client, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<bytes::Bytes>>(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    for (method, host, identifier) in [
        (Method::GET, "other.test", OTHER),
        (Method::GET, "api.test", "https://api.test/mcp"),
        (Method::GET, "evil.test", "https://api.test/mcp"),
        (Method::HEAD, "other.test", OTHER),
    ] {
        let request = |path: &str| {
            let request = Request::builder().method(method.clone()).uri(format!("https://{host}{path}"));
            let request = request.version(Version::HTTP_2).header("x-forwarded-host", "127.0.0.1:8443");
            request.body(Empty::new()).unwrap()
        };
        let response = client.send_request(request(&format!("{WELL_KNOWN}/mcp"))).await.unwrap();
        assert_eq!((response.status().as_u16(), response.version()), (200, Version::HTTP_2));
        let length: usize = response.headers()["content-length"].to_str().unwrap().parse().unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        if method == Method::GET {
            let found: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert_eq!((found["resource"].as_str(), body.len()), (Some(identifier), length));
        } else {
            assert!(body.is_empty());
        }
        let refused = client.send_request(request("/me")).await.unwrap();
        assert!(refused.headers()["www-authenticate"].to_str().unwrap().contains(&url_of(identifier)), "{host}");
    }
}

proptest! {
    /// Nothing of a request is in the document or in the challenge.
    ///
    /// RFC 9728 §2 a (REQUIRED, refuses)
    #[test]
    fn a_request_gets_only_configured_texts(
        host in proptest::option::of("[ -~]{0,40}"),
        forwarded in "[ -~]{0,40}",
        authority in proptest::option::of("[a-z0-9.:@\\[\\]-]{1,20}"),
    ) {
        let uri = |path: &str| authority.as_ref().map_or_else(|| path.to_owned(), |host| format!("http://{host}{path}"));
        let send = async |app: &axum::Router, path: &str| -> Option<Answer> {
            let mut request = Request::get(uri(path)).header("x-forwarded-host", &forwarded).header("forwarded", &forwarded);
            if let Some(host) = &host {
                request = request.header("host", host);
            }
            Some(send(app, request.body(Body::empty()).ok()?).await)
        };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let app = app(three_hosts());
        let (found, refused) = runtime.block_on(async {
            (send(&app, &format!("{WELL_KNOWN}/mcp")).await, send(&app, "/me").await)
        });
        let (Some(found), Some(refused)) = (found, refused) else { return Ok(()) };
        let identifiers = ["https://api.test/mcp", INTERNAL, OTHER, IPV6];
        let found: serde_json::Value = serde_json::from_str(&found.body).unwrap();
        let index = identifiers.iter().position(|identifier| found["resource"] == *identifier);
        prop_assert!(index.is_some(), "{found}");
        prop_assert_eq!(named_metadata(&refused), url_of(identifiers[index.unwrap()]));
    }
}
