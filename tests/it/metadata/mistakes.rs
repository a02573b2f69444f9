//! Mistakes in a resource and in its server are found at start-up, all at once, in words that say what to change.

use axum::{Router, routing::get};
use tower_oauth::{
    ConfigError, JwtOrOpaque, JwtVerifier, OAuthLayer, ProtectedResource, ResourceServer,
    keys::{HmacAlgorithm, SharedSecret},
    scope::Scopes,
};

use super::{WELL_KNOWN, resource, server};
use crate::support::{API, issuer, verifier_from};

/// The settings and the texts of the mistakes.
fn mistakes<T>(result: Result<T, ConfigError>) -> Vec<(&'static str, String)> {
    let Err(error) = result else { return Vec::new() };
    error.mistakes().iter().map(|mistake| (mistake.setting(), mistake.to_string())).collect()
}

/// RFC 9728 §1.2 (MUST, SHOULD, refuses)
#[test]
fn refuses_identifiers_that_no_client_can_look_up() {
    for (identifier, text) in [
        ("", "not"),
        ("api.test", "absolute"),
        ("/mcp", "absolute"),
        ("urn:example:api", "absolute"),
        ("api://orders", "absolute"),
        ("ftp://api.test", "absolute"),
        ("https://", "not a URL"),
        ("https:///mcp", ""),
        ("https://api.test/mcp#tools", "fragment"),
        ("https://api.test/#", "fragment"),
        ("https://ada@api.test/mcp", "user name"),
        ("https://ada:secret@api.test/mcp", "user name"),
        ("http://api.test/mcp", "plain http"),
        ("http://localhost.api.test/mcp", "plain http"),
        ("http://192.168.0.1/mcp", "plain http"),
        ("https://api.test/a/../mcp", "normal form"),
        ("https://api.test/./mcp", "normal form"),
        ("https://api.test/%2e/mcp", "normal form"),
        ("https://api.test/mcp?", "empty query"),
        ("https://api.test/ä", ""),
        ("https://api.test/a b", ""),
        ("https://api.test/a\"b", ""),
        ("https://api.test/a\\b", ""),
        ("https://api.test/mcp?a=\"", ""),
        ("https://api.test:+443/mcp", ""),
        ("https://api.test:0443/mcp", ""),
        ("https://api.test:99999/mcp", ""),
        ("https://127.1/mcp", ""),
        (" https://api.test", ""),
        ("https://api.test\n", ""),
    ] {
        let found = mistakes(ProtectedResource::new(identifier));
        let [("resource", message)] = &found[..] else { panic!("{identifier:?}: {found:?}") };
        assert!(message.contains(text) && !message.contains("secret"), "{identifier:?}: {message}");
        let found = mistakes(resource().also(identifier).build());
        assert!(matches!(found[..], [("also", _)]), "{identifier:?}: {found:?}");
    }
    for identifier in
        ["http://localhost:5001/mcp", "http://127.0.0.2", "http://[::1]/mcp", "https://api.test/a?b=c/d&e"]
    {
        assert_eq!(mistakes(ProtectedResource::new(identifier)), []);
    }
}

/// MCP 2 (SHOULD, refuses)
#[test]
fn refuses_two_identifiers_between_which_no_request_can_choose() {
    for (one, other) in [
        ("https://api.test/a", "https://api.test/b"),
        ("https://api.test/a", "https://API.TEST/b"),
        ("https://api.test/a", "https://api.test:443/b"),
        ("https://api.test/a", "https://api.test/a"),
        ("http://[::1]/a", "http://[::1]:80/b"),
        ("https://127.0.0.1:80/a", "http://127.0.0.1/b"),
    ] {
        let found = mistakes(ProtectedResource::builder(one).also(other).build());
        let [("also", message)] = &found[..] else { panic!("{one} {other}: {found:?}") };
        assert!(message.contains(one) && message.contains(other), "{message}");
    }
    let different = resource().also("https://api.test:8443").also("https://www.api.test").also("http://127.0.0.1");
    assert_eq!(mistakes(different.build()), []);
}

/// RFC 9728 §2 d (RECOMMENDED, refuses)
/// MCP 1 (SHOULD NOT, refuses)
/// RFC 9728 §2.1 (RECOMMENDED, refuses)
#[test]
fn refuses_wrong_scopes_servers_texts_and_languages() {
    let cases: [(&str, Result<_, _>); 18] = [
        ("scope", resource().scopes(["a b"]).build()),
        ("scope", resource().scopes([] as [&str; 0]).build()),
        ("scope", resource().scopes_supported(["ä"]).build()),
        ("scopes", resource().scopes(["orders:read", "offline_access"]).build()),
        ("scopes_supported", resource().scopes_supported(["offline_access"]).build()),
        ("authorization_server", resource().authorization_server("auth.test").build()),
        ("authorization_server", resource().authorization_server("https://auth.test?x").build()),
        ("authorization_server", resource().authorization_server("http://auth.test").build()),
        ("name", resource().name(" ").build()),
        ("name", resource().name("Orders\n").build()),
        ("name", resource().localized_name("deutsch__", "Bestellungen").build()),
        ("name", resource().localized_name("", "Bestellungen").build()),
        ("name", resource().localized_name("de-", "Bestellungen").build()),
        ("documentation", resource().documentation("docs.test").build()),
        ("documentation", resource().localized_documentation("1", "https://docs.test").build()),
        ("policy_uri", resource().policy_uri("http://docs.test").build()),
        ("tos_uri", resource().tos_uri("javascript:alert(1)").build()),
        ("tos_uri", resource().localized_tos_uri("d#e", "https://docs.test").build()),
    ];
    for (setting, result) in cases {
        let found = mistakes(result);
        assert!(matches!(found[..], [(name, _)] if name == setting), "{setting}: {found:?}");
    }
}

/// RFC 9728 §7.4 (derived, refuses)
#[test]
fn refuses_an_identifier_that_is_no_audience_of_the_verifier() {
    let several = || resource().also("https://other.test/mcp").also("https://third.test").build().unwrap();
    let found = mistakes(OAuthLayer::for_resource(several(), issuer().verifier(API)));
    assert_eq!(found.len(), 2, "{found:?}");
    for ((setting, message), identifier) in found.iter().zip(["https://other.test/mcp", "https://third.test"]) {
        assert_eq!(*setting, "resource");
        assert!(message.contains(identifier) && message.contains(API) && message.contains("audience"), "{message}");
    }
    // The text is compared, as with the tokens.
    let slash = mistakes(OAuthLayer::for_resource(resource().build().unwrap(), issuer().verifier("https://api.test/")));
    assert_eq!(slash.len(), 1, "{slash:?}");
    assert_eq!(mistakes(server(several()).build()), []);
    // A verifier of the application may name no audiences.
    let unknown = verifier_from(|_| panic!("not called"));
    let resource = resource().authorization_server("https://auth.test").build().unwrap();
    assert_eq!(mistakes(OAuthLayer::for_resource(resource, unknown)), []);
}

/// RFC 9728 §7.4 (derived, refuses)
#[test]
fn refuses_an_identifier_that_two_required_verifiers_do_not_share() {
    let opaque = || issuer().verifier("https://other.test");
    let both = JwtOrOpaque::builder(issuer().verifier(API), opaque()).require_both().build();
    let found = mistakes(OAuthLayer::for_resource(resource().build().unwrap(), both));
    let [("resource", message)] = &found[..] else { panic!("{found:?}") };
    assert!(message.contains(API) && message.contains("no audience in common"), "{message}");
    let shared = issuer().verifier_builder(API).audience("https://other.test").build().unwrap();
    let resource = ProtectedResource::new("https://other.test").unwrap();
    let both = JwtOrOpaque::builder(shared, opaque()).require_both().build();
    assert_eq!(mistakes(OAuthLayer::for_resource(resource, both)), []);
}

/// RFC 9728 §1.2 (MUST, SHOULD, refuses)
#[test]
fn refuses_a_path_that_no_router_serves() {
    let routed = |path: &str| Router::<()>::new().route(&format!("{WELL_KNOWN}{path}"), get(async || ""));
    for path in ["/:tenant", "/v1/:tenant/mcp", "/*", "/*rest", "/v1//*"] {
        let found = mistakes(ProtectedResource::new(format!("https://api.test{path}")));
        let [("resource", message)] = &found[..] else { panic!("{path}: {found:?}") };
        assert!(message.contains("router") && message.contains("%3A"), "{message}");
        assert!(std::panic::catch_unwind(|| routed(path)).is_err(), "axum refuses {path}");
    }
    for path in ["/{tenant}", "/{*rest}", "/{{a}}", "/a{", "/}"] {
        let found = mistakes(ProtectedResource::new(format!("https://api.test{path}")));
        assert!(matches!(&found[..], [("resource", message)] if message.contains("normal form")), "{path}: {found:?}");
    }
    for path in ["/a:b", "/a*", "/%3Atenant", "/%2A", "/a;b=c,d!$&'()+@~", "//a", "/%7Btenant%7D"] {
        assert_eq!(mistakes(ProtectedResource::new(format!("https://api.test{path}"))), [], "{path}");
        drop(routed(path));
    }
}

/// RFC 9728 §2 b (MUST, refuses)
#[test]
fn refuses_a_resource_without_an_authorization_server() {
    let unknown = || verifier_from(|_| panic!("not called"));
    let found = mistakes(OAuthLayer::for_resource(resource().build().unwrap(), unknown()));
    let [("resource", message)] = &found[..] else { panic!("{found:?}") };
    assert!(message.contains("authorization_server"), "{message}");
    // A name is an issuer that no client can look up.
    let named = || {
        let secret = SharedSecret::new(HmacAlgorithm::HS256, [7; 32]).unwrap();
        JwtVerifier::builder_from_secret("our-issuer", secret, API).build().unwrap()
    };
    assert_eq!(mistakes(OAuthLayer::for_resource(resource().build().unwrap(), named())).len(), 1);
    let added = resource().authorization_server("https://auth.test").build().unwrap();
    assert_eq!(mistakes(OAuthLayer::for_resource(added, named())), []);
}

#[test]
fn refuses_settings_that_the_resource_has_too() {
    let scopes = || Scopes::new(["orders:read"]).unwrap();
    let with_scopes = || resource().scopes(["orders:read"]).build().unwrap();
    let found = mistakes(server(with_scopes()).scopes(scopes()).build());
    assert!(matches!(found[..], [("scopes", _)]), "{found:?}");
    let found = mistakes(server(with_scopes()).resource_metadata("https://api.test/x").build());
    assert!(matches!(found[..], [("resource_metadata", _)]), "{found:?}");
}

#[test]
fn reports_all_mistakes_at_once() {
    let found = mistakes(
        ProtectedResource::builder("http://api.test#x")
            .also("https://ada@api.test")
            .also("https://other.test")
            .also("https://other.test/x")
            .scopes(["a b", "offline_access"])
            .scopes_supported(["\""])
            .authorization_server("auth.test")
            .name("")
            .documentation("x")
            .policy_uri("y")
            .localized_tos_uri("?", "https://docs.test")
            .build(),
    );
    let settings: Vec<_> = found.iter().map(|(setting, _)| *setting).collect();
    let expected = ["resource", "also", "also", "scopes", "scope", "scope", "authorization_server"];
    assert_eq!(settings, [&expected[..], &["name", "documentation", "policy_uri", "tos_uri"]].concat());

    let unknown = ResourceServer::builder(issuer().verifier("https://x.test")).realm("\"").accept_cookie(" ");
    let resource = resource().also("https://other.test").scopes(["a"]).build().unwrap();
    let scopes = Scopes::new(["b"]).unwrap();
    let found = mistakes(unknown.resource(resource).scopes(scopes).resource_metadata("x").build());
    let settings: Vec<_> = found.iter().map(|(setting, _)| *setting).collect();
    let expected =
        ["resource_metadata", "scopes", "resource", "resource", "realm", "resource_metadata", "accept_cookie"];
    assert_eq!(settings, expected);
}
