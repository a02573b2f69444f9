//! Where the document of an identifier is (RFC 9728 §3.1).

use axum::{Router, routing::get};
use proptest::prelude::*;
use tower_oauth::ProtectedResource;

use super::{WELL_KNOWN, app, document, named_metadata};
use crate::support::{API, get_without_token};

/// Identifiers with the URLs of their documents.
const URLS: [(&str, &str); 12] = [
    ("https://api.test", "https://api.test/.well-known/oauth-protected-resource"),
    ("https://api.test/", "https://api.test/.well-known/oauth-protected-resource"),
    ("https://api.test/mcp", "https://api.test/.well-known/oauth-protected-resource/mcp"),
    ("https://api.test/v1/", "https://api.test/.well-known/oauth-protected-resource/v1/"),
    ("https://api.test/v1/mcp?tenant=a", "https://api.test/.well-known/oauth-protected-resource/v1/mcp?tenant=a"),
    ("https://api.test?tenant=a", "https://api.test/.well-known/oauth-protected-resource?tenant=a"),
    ("https://api.test/?tenant=a", "https://api.test/.well-known/oauth-protected-resource?tenant=a"),
    ("https://api.test:8443/mcp", "https://api.test:8443/.well-known/oauth-protected-resource/mcp"),
    ("http://[::1]:5001/mcp", "http://[::1]:5001/.well-known/oauth-protected-resource/mcp"),
    ("http://127.0.0.1:5001/mcp", "http://127.0.0.1:5001/.well-known/oauth-protected-resource/mcp"),
    ("https://API.Test/Mcp", "https://API.Test/.well-known/oauth-protected-resource/Mcp"),
    ("HTTPS://api.test//a/%C3%A4", "https://api.test/.well-known/oauth-protected-resource//a/%C3%A4"),
];

/// RFC 9728 §1.2 (MUST, SHOULD, accepts)
/// RFC 9728 §3 (MUST, accepts)
/// RFC 9728 §3.3 a (MUST, accepts)
#[tokio::test]
async fn the_path_of_the_document_is_inserted_between_host_and_path() {
    for (identifier, url) in URLS {
        let resource = ProtectedResource::new(identifier).unwrap();
        assert_eq!(resource.metadata_url(), url);
        let app = app(resource);
        let refused = get_without_token(&app, "/me").await;
        assert_eq!(named_metadata(&refused), url);
        // What a client requests that follows the challenge.
        let (_, path) = url.split_once("://").unwrap().1.split_once('/').unwrap();
        assert_eq!(document(&app, &format!("/{path}")).await["resource"], identifier);
    }
}

/// RFC 9728 §3 (MUST, accepts)
#[tokio::test]
async fn the_url_is_the_one_that_a_url_parser_makes_of_the_identifier() {
    for (identifier, expected) in URLS {
        let mut url = url::Url::parse(identifier).unwrap();
        let path = if url.path() == "/" { String::new() } else { url.path().to_owned() };
        url.set_path(&format!("{WELL_KNOWN}{path}"));
        assert_eq!(url::Url::parse(expected).unwrap(), url, "{identifier}");
    }
}

#[test]
fn the_hosts_are_those_that_clients_send() {
    let resource = ProtectedResource::builder("https://API.test:443/mcp").also("http://127.0.0.1:5001/mcp");
    let resource = resource.also("http://[::1]:80").also("https://localhost:80").build().unwrap();
    let hosts: Vec<_> = resource.hosts().collect();
    assert_eq!(hosts, ["api.test", "127.0.0.1:5001", "[::1]", "localhost:80"]);
}

/// RFC 9728 §3 (MUST, refuses)
#[tokio::test]
async fn no_other_path_and_no_other_query_has_the_document() {
    let cases: [(&str, &[&str]); 4] = [
        (
            "https://api.test",
            &[
                "/.well-known/oauth-protected-resource/",
                "/.well-known/oauth-protected-resource/mcp",
                "/.well-known/oauth-protected-resourcex",
                "/.well-known//oauth-protected-resource",
                "//.well-known/oauth-protected-resource",
                "/.well-known/oauth%2Dprotected-resource",
                "/.well-known/Oauth-protected-resource",
                "/x/.well-known/oauth-protected-resource",
                "/.well-known/oauth-authorization-server",
            ],
        ),
        (
            "https://api.test/mcp",
            &[
                "/.well-known/oauth-protected-resource",
                "/.well-known/oauth-protected-resource/mcp/",
                "/.well-known/oauth-protected-resource/mc",
                "/.well-known/oauth-protected-resource/../mcp",
                "/mcp/.well-known/oauth-protected-resource",
            ],
        ),
        ("https://api.test/v1/", &["/.well-known/oauth-protected-resource/v1"]),
        (
            "https://api.test/mcp?tenant=a",
            &[
                "/.well-known/oauth-protected-resource/mcp",
                "/.well-known/oauth-protected-resource/mcp?",
                "/.well-known/oauth-protected-resource/mcp?tenant=b",
                "/.well-known/oauth-protected-resource/mcp?tenant=a&x=y",
            ],
        ),
    ];
    for (identifier, paths) in cases {
        let app = app(ProtectedResource::new(identifier).unwrap());
        for path in paths {
            let answer = get_without_token(&app, path).await;
            assert_eq!((answer.status.as_u16(), &*answer.body), (401, ""), "{identifier} {path}");
        }
    }
}

#[tokio::test]
async fn the_query_of_a_request_has_no_meaning_if_the_identifier_has_none() {
    let app = app(ProtectedResource::new(API).unwrap());
    for query in ["?", "?x", "?access_token=secret"] {
        assert_eq!(document(&app, &format!("{WELL_KNOWN}{query}")).await["resource"], API);
    }
}

proptest! {
    /// Whatever a configuration has as identifier, it is refused at start-up, or its document is found where a client looks.
    ///
    /// RFC 9728 §1.2 (MUST, SHOULD, refuses)
    #[test]
    fn an_identifier_is_refused_or_its_document_is_where_a_client_looks(
        scheme in "(https|http|HTTPS|ftp|)",
        host in "(api\\.test|API\\.test|localhost|127\\.0\\.0\\.1|\\[::1\\]|[a-zA-Z0-9.@%-]{0,12})",
        port in "(|:|:443|:0|:[0-9]{1,6})",
        rest in "(|/|/[a-z/]{0,8}|[/?#a-zA-Z0-9%äß\\\\.;:@&='\" <>{}|^`~!*()$,_+-]{0,20})",
    ) {
        let identifier = format!("{scheme}://{host}{port}{rest}");
        let Ok(resource) = ProtectedResource::new(&identifier) else { return Ok(()) };
        prop_assert_eq!(resource.identifier(), &identifier);
        let mut expected = url::Url::parse(&identifier).unwrap();
        let path = if expected.path() == "/" { String::new() } else { expected.path().to_owned() };
        expected.set_path(&format!("{WELL_KNOWN}{path}"));
        // What a client requests: the normal form of the URL in the challenge.
        let requested = url::Url::parse(resource.metadata_url()).unwrap();
        prop_assert_eq!(&requested, &expected);
        prop_assert!(requested.username().is_empty() && requested.fragment().is_none());
        // axum panics if a path can't be a route.
        drop(Router::<()>::new().route(requested.path(), get(async || "")));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let path = &requested[url::Position::BeforePath..];
        let found = runtime.block_on(async { document(&app(resource), path).await });
        prop_assert_eq!(&found["resource"], &serde_json::Value::from(identifier));
    }
}
