//! The metadata of the resource (RFC 9728) and the route `/any`.

use serde_json::{Value, json};
use tower_oauth::keys::Algorithm;

use super::{Api, run};
use crate::{
    fake_issuer::{Answer, FakeIssuer},
    support::write_raw,
};

const RESOURCE: &str = "https://api.test/orders";
const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

async fn start(issuer: &FakeIssuer, settings: &[(&str, &str)]) -> Option<Api> {
    let usual = [("OAUTH_ISSUER", &*issuer.identifier), ("OAUTH_AUDIENCE", RESOURCE), ("OAUTH_RESOURCE_METADATA", "1")];
    Api::start(&[&usual[..], settings].concat()).await
}

impl Api {
    /// Returns the response to a request without a token, with this `Host`.
    async fn raw(&self, method: &str, path: &str, host: &str) -> String {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nx-forwarded-host: evil.test\r\n");
        write_raw(self.address().parse().unwrap(), format!("{head}connection: close\r\n\r\n")).await
    }
}

/// RFC 9728 §3 (MUST, accepts)
#[tokio::test]
async fn publishes_the_document_of_the_resource() {
    let issuer = FakeIssuer::start().await;
    let Some(api) = start(&issuer, &[]).await else { return };
    let answer = api.raw("GET", &format!("{WELL_KNOWN}/orders"), "evil.test").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("content-type: application/json\r\n"), "{answer}");
    let issuers = [&issuer.identifier];
    let expected =
        json!({"resource": RESOURCE, "authorization_servers": issuers, "bearer_methods_supported": ["header"]});
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);
    let named = format!("resource_metadata=\"https://api.test{WELL_KNOWN}/orders\"");
    assert!(api.raw("GET", "/whoami", "evil.test").await.contains(&named));
    assert!(api.raw("OPTIONS", &format!("{WELL_KNOWN}/orders"), "x").await.starts_with("HTTP/1.1 204 "));
    assert!(api.raw("POST", &format!("{WELL_KNOWN}/orders"), "x").await.starts_with("HTTP/1.1 405 "));
    for path in [WELL_KNOWN, "/orders/.well-known/oauth-protected-resource", "/unknown"] {
        assert!(api.raw("GET", path, "x").await.starts_with("HTTP/1.1 404 "), "{path}");
    }
    let token = issuer.signer(Algorithm::ES256).token("ada").audience(RESOURCE).sign();
    assert_eq!(api.status("/whoami", &token).await, 200);
}

#[tokio::test]
async fn publishes_nothing_by_default() {
    let settings = [("OAUTH_ISSUER", "http://127.0.0.1:1"), ("OAUTH_AUDIENCE", "https://api.test")];
    let Some(api) = Api::start(&settings).await else { return };
    assert!(api.raw("GET", WELL_KNOWN, "x").await.starts_with("HTTP/1.1 404 "));
    assert!(!api.raw("GET", "/whoami", "x").await.contains("resource_metadata"));
}

/// RFC 9728 §7.4 (derived, accepts)
#[tokio::test]
async fn accepts_tokens_for_each_identifier_and_chooses_by_host() {
    let issuer = FakeIssuer::start().await;
    let response = json!({"active": true, "sub": "ada", "aud": "https://other.test/orders"});
    issuer.introspection(Answer::Body(response.to_string()));
    let introspection = [("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "secret")];
    let also = ("OAUTH_RESOURCE_ALSO", "https://other.test/orders, http://127.0.0.1:8443");
    let signer = issuer.signer(Algorithm::ES256);
    for (mode, jwt, opaque) in [("jwt", 200, 401), ("mixed", 200, 200), ("introspection", 200, 200)] {
        let mut settings = vec![also, ("OAUTH_MODE", mode)];
        settings.extend(introspection.iter().filter(|_| mode != "jwt"));
        let Some(api) = start(&issuer, &settings).await else { return };
        for audience in [RESOURCE, "https://other.test/orders", "http://127.0.0.1:8443"] {
            let token = signer.token("ada").audience(audience).sign();
            assert_eq!(api.status("/whoami", &token).await, jwt, "{mode} {audience}");
        }
        assert_eq!(api.status("/whoami", "opaque").await, opaque, "{mode}");
        for (host, path, resource) in [
            ("api.test", "/orders", RESOURCE),
            ("evil.test", "/orders", RESOURCE),
            ("OTHER.test:443", "/orders", "https://other.test/orders"),
            ("127.0.0.1:8443", "", "http://127.0.0.1:8443"),
        ] {
            let answer = api.raw("GET", &format!("{WELL_KNOWN}{path}"), host).await;
            assert!(answer.contains(&format!("\"resource\":\"{resource}\"")), "{host}: {answer}");
            let (origin, _) = resource.split_at(resource.find("/orders").unwrap_or(resource.len()));
            let named = format!("resource_metadata=\"{origin}{WELL_KNOWN}{path}\"");
            assert!(api.raw("GET", "/whoami", host).await.contains(&named), "{host}");
        }
    }
}

#[tokio::test]
async fn reports_each_wrong_setting_of_the_resource() {
    let publish = ("OAUTH_RESOURCE_METADATA", "1");
    let cases = [
        (("OAUTH_RESOURCE_METADATA", ""), None),
        (("OAUTH_RESOURCE_METADATA", "0"), None),
        (("OAUTH_RESOURCE_METADATA", "true"), None),
        (("OAUTH_RESOURCE_ALSO", "https://other.test"), None),
        (("OAUTH_RESOURCE_ALSO", ""), Some(publish)),
        (("OAUTH_RESOURCE_ALSO", "https://other.test,"), Some(publish)),
        (("OAUTH_RESOURCE_ALSO", "https://api.test/x"), Some(publish)),
        (("OAUTH_RESOURCE_ALSO", "https://API.test:443/x"), Some(publish)),
        (("OAUTH_RESOURCE_ALSO", "https://other.test/a,https://other.test/b"), Some(publish)),
        (("OAUTH_RESOURCE_ALSO", "https://other.test/#x"), Some(publish)),
        (("OAUTH_AUDIENCE", "orders-api"), Some(publish)),
        (("OAUTH_AUDIENCE", "http://api.test"), Some(publish)),
        (("OAUTH_AUDIENCE", "https://api.test/#x"), Some(publish)),
        // axum panics if such a path becomes a route.
        (("OAUTH_AUDIENCE", "https://api.test/:tenant"), Some(publish)),
        (("OAUTH_AUDIENCE", "https://api.test/{tenant}"), Some(publish)),
        (("OAUTH_RESOURCE_ALSO", "https://other.test/*"), Some(publish)),
    ];
    for (wrong, beside) in cases {
        let usual = [("OAUTH_ISSUER", "http://127.0.0.1:1"), ("OAUTH_AUDIENCE", RESOURCE)];
        let settings = usual.into_iter().filter(|(name, _)| *name != wrong.0).chain(beside).chain([wrong]);
        let Some(output) = run(&settings.collect::<Vec<_>>(), &[]).await else { return };
        let errors = output.stderr;
        assert_eq!(output.status, Some(2), "{wrong:?}: {errors}");
        assert!(errors.contains(&format!("\n{}: ", wrong.0)) && errors.lines().count() == 2, "{wrong:?}: {errors}");
    }
    let all = [
        ("OAUTH_AUDIENCE", "orders"),
        ("OAUTH_RESOURCE_METADATA", "on"),
        ("OAUTH_RESOURCE_ALSO", "x"),
        ("OAUTH_HEADER", " "),
    ];
    let Some(output) = run(&all, &[]).await else { return };
    let errors = output.stderr;
    for name in ["OAUTH_ISSUER", "OAUTH_AUDIENCE", "OAUTH_RESOURCE_METADATA", "OAUTH_RESOURCE_ALSO", "OAUTH_HEADER"] {
        assert!(errors.contains(&format!("\n{name}: ")), "{name} is missing in {errors}");
    }
}

/// MCP 7 (SHOULD, accepts)
#[tokio::test]
async fn any_requires_one_scope_and_one_of_two_others() {
    let issuer = FakeIssuer::start().await;
    let Some(api) = start(&issuer, &[]).await else { return };
    let get = async |scope: &str| {
        let token = issuer.signer(Algorithm::ES256).token("ada").audience(RESOURCE).scope(scope).sign();
        api.get("/any", ("authorization", &format!("Bearer {token}"))).await
    };
    for scope in ["orders:read orders:write", "admin orders:read", "orders:read orders:write admin"] {
        assert_eq!(get(scope).await.status, 200, "{scope}");
    }
    for (scope, least) in [
        ("orders:read", "orders:read orders:write"),
        ("orders:write", "orders:read orders:write"),
        ("admin", "orders:read admin"),
        ("orders:write admin", "orders:read orders:write"),
        ("other", "orders:read orders:write"),
    ] {
        let response = get(scope).await;
        assert_eq!(response.status, 403, "{scope}");
        let challenge = response.header("www-authenticate").unwrap();
        assert!(challenge.contains(&format!(", scope=\"{least}\"")), "{scope}: {challenge}");
        assert_eq!(get(least).await.status, 200, "a token with exactly these scopes is accepted");
    }
}
