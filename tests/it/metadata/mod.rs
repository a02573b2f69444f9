//! Protected resource metadata (RFC 9728): the document, its URL, its responses, and the challenges that name it.

mod hosts;
mod mistakes;
mod places;
mod responses;
mod urls;
mod verifiers;

use axum::{Router, routing::get};
use http::Method;
use serde_json::{Value, json};
use tower_oauth::{
    OAuthLayer, ProtectedResource, ResourceServer, Token,
    metadata::ProtectedResourceBuilder,
    scope::Scopes,
    server::ResourceServerBuilder,
    testing::MockIssuer,
    verify::{JwtVerifierBuilder, TrustedIssuers},
};

use crate::support::{API, Answer, ISSUER, get_without_token, issuer, send};

pub(super) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

pub(super) fn resource() -> ProtectedResourceBuilder {
    ProtectedResource::builder(API)
}

/// A server of this resource whose verifier accepts each identifier of it.
pub(super) fn server(resource: ProtectedResource) -> ResourceServerBuilder {
    let verifier = issuer().verifier_builder(resource.identifier());
    let verifier = resource.identifiers().skip(1).fold(verifier, JwtVerifierBuilder::audience);
    ResourceServer::builder(verifier.build().unwrap()).resource(resource)
}

pub(super) fn routes() -> Router {
    Router::new().route("/me", get(async |_: Token| "you"))
}

pub(super) fn app(resource: ProtectedResource) -> Router {
    routes().layer(OAuthLayer::from_server(server(resource).build().unwrap()).serve_metadata())
}

pub(super) async fn request(app: &Router, method: Method, uri: &str, headers: &[(&str, &str)]) -> Answer {
    let request = http::Request::builder().method(method).uri(uri);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    send(app, request.body(axum::body::Body::empty()).unwrap()).await
}

/// The document at this path.
pub(super) async fn document(app: &Router, path: &str) -> Value {
    let answer = get_without_token(app, path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    serde_json::from_str(&answer.body).unwrap()
}

/// The value of `resource_metadata` in the only challenge.
pub(super) fn named_metadata(answer: &Answer) -> &str {
    let [challenge] = answer.challenges()[..] else { panic!("{answer:?}") };
    let (_, rest) = challenge.split_once("resource_metadata=\"").unwrap_or_else(|| panic!("{challenge}"));
    rest.strip_suffix('"').unwrap_or_else(|| panic!("{challenge}"))
}

/// RFC 9728 §2 a (REQUIRED, accepts)
/// RFC 9728 §3.2 (MUST, refuses)
#[tokio::test]
async fn the_document_has_what_the_server_enforces_and_nothing_else() {
    let app = app(resource().build().unwrap());
    let least = json!({"resource": API, "authorization_servers": [ISSUER], "bearer_methods_supported": ["header"]});
    assert_eq!(document(&app, WELL_KNOWN).await, least);
}

/// RFC 9728 §2.1 (RECOMMENDED, accepts)
#[tokio::test]
async fn the_document_has_the_texts_in_each_language() {
    let resource = resource()
        .name("Orders")
        .localized_name("de", "Bestellungen")
        .localized_name("pt-BR", "Pedidos")
        .documentation("https://docs.test/orders#start")
        .localized_documentation("de", "https://docs.test/de")
        .policy_uri("https://docs.test/policy")
        .localized_policy_uri("de", "https://docs.test/richtlinie")
        .tos_uri("https://docs.test/terms")
        .localized_tos_uri("de", "https://docs.test/agb")
        // The last one counts; the case of a language tag has no meaning.
        .localized_name("DE", "Aufträge");
    let expected = json!({
        "resource": API,
        "authorization_servers": [ISSUER],
        "bearer_methods_supported": ["header"],
        "resource_name": "Orders",
        "resource_name#DE": "Aufträge",
        "resource_name#pt-BR": "Pedidos",
        "resource_documentation": "https://docs.test/orders#start",
        "resource_documentation#de": "https://docs.test/de",
        "resource_policy_uri": "https://docs.test/policy",
        "resource_policy_uri#de": "https://docs.test/richtlinie",
        "resource_tos_uri": "https://docs.test/terms",
        "resource_tos_uri#de": "https://docs.test/agb",
    });
    assert_eq!(document(&app(resource.build().unwrap()), WELL_KNOWN).await, expected);
}

/// RFC 9728 §2 d (RECOMMENDED, accepts)
/// MCP 1 (SHOULD NOT, accepts)
#[tokio::test]
async fn the_scopes_of_the_resource_are_in_the_challenge_and_with_further_ones_in_the_document() {
    let resource = resource().scopes(["mcp:tools", "orders:read"]).scopes_supported(["orders:read", "admin"]);
    let app = app(resource.build().unwrap());
    assert_eq!(document(&app, WELL_KNOWN).await["scopes_supported"], json!(["mcp:tools", "orders:read", "admin"]));
    let refused = get_without_token(&app, "/me").await;
    assert!(refused.challenges()[0].contains(r#"scope="mcp:tools orders:read""#), "{refused:?}");
}

/// RFC 9728 §2 d (RECOMMENDED, accepts)
#[tokio::test]
async fn the_scopes_of_the_server_are_in_the_document_of_a_resource_without_scopes() {
    let scopes = Scopes::new(["orders:read"]).unwrap();
    let server = server(resource().build().unwrap()).scopes(scopes).build().unwrap();
    let app = routes().layer(OAuthLayer::from_server(server).serve_metadata());
    assert_eq!(document(&app, WELL_KNOWN).await["scopes_supported"], json!(["orders:read"]));
    let refused = get_without_token(&app, "/me").await;
    assert!(refused.challenges()[0].contains(r#"scope="orders:read""#), "{refused:?}");
}

/// RFC 9728 §2 c (derived, accepts and refuses)
#[tokio::test]
async fn the_bearer_methods_are_those_that_the_server_accepts() {
    let methods = async |layer: Router| document(&layer, WELL_KNOWN).await["bearer_methods_supported"].clone();
    let built = |configure: fn(ResourceServerBuilder) -> ResourceServerBuilder| {
        OAuthLayer::from_server(configure(server(resource().build().unwrap())).build().unwrap())
    };
    // A cookie and another header are no methods of RFC 6750.
    let other = built(|server| server.accept_cookie("session").accept_header("x-token"));
    assert_eq!(methods(routes().layer(other.serve_metadata())).await, json!(["header"]));
    let query = built(ResourceServerBuilder::danger_accept_query);
    assert_eq!(methods(routes().layer(query.clone().serve_metadata())).await, json!(["header", "query"]));
    let all = json!(["header", "query", "body"]);
    assert_eq!(methods(routes().layer(query.clone().accept_form_body(1_000).serve_metadata())).await, all);
    assert_eq!(methods(routes().layer(query.clone().serve_metadata().accept_form_body(1_000))).await, all);
    let metadata = built(|server| server).serve_metadata().accept_form_body(1_000);
    assert_eq!(methods(routes().layer(metadata)).await, json!(["header", "body"]));
}

/// RFC 9728 §2 b (MUST, accepts)
#[tokio::test]
async fn the_authorization_servers_are_the_issuers_of_the_verifier_or_those_that_are_configured() {
    let named = async |resource: ProtectedResourceBuilder| {
        let trusted =
            ["https://internal.test", "https://public.test"].map(|issuer| MockIssuer::new(issuer).verifier(API));
        let layer = OAuthLayer::for_resource(resource.build().unwrap(), TrustedIssuers::new(trusted).unwrap());
        document(&routes().layer(layer.unwrap()), WELL_KNOWN).await["authorization_servers"].clone()
    };
    assert_eq!(named(resource()).await, json!(["https://internal.test", "https://public.test"]));
    let configured =
        resource().authorization_server("https://public.test").authorization_server("https://other.test/x");
    assert_eq!(
        named(configured.authorization_server("https://public.test")).await,
        json!(["https://public.test", "https://other.test/x"])
    );
}

/// RFC 9728 §5.1 (MAY, accepts)
#[tokio::test]
async fn each_challenge_names_the_metadata_and_no_other_refusal_does() {
    let resource = resource().scopes(["orders:read"]).build().unwrap();
    let url = resource.metadata_url().to_owned();
    assert_eq!(url, format!("{API}{WELL_KNOWN}"));
    let server = server(resource).build().unwrap();
    let app = Router::new()
        .route("/me", get(async |_: tower_oauth::Scoped<crate::support::Admin>| "you"))
        .route("/forbidden", get(async || Err::<(), _>(tower_oauth::AuthError::forbidden("no"))))
        .layer(OAuthLayer::from_server(server).serve_metadata());
    let token = crate::support::valid_token().sign();
    let cases = [(None, 401, ""), (Some("x"), 401, "invalid_token"), (Some("a b"), 400, "invalid_request")];
    for (presented, status, code) in cases.into_iter().chain([(Some(&*token), 403, "insufficient_scope")]) {
        let value = presented.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = value.iter().map(|value| ("authorization", &**value)).collect();
        let refused = request(&app, Method::GET, "/me", &headers).await;
        assert!(refused.is_refusal(status, code), "{refused:?}");
        assert_eq!(named_metadata(&refused), url);
    }
    let forbidden = request(&app, Method::GET, "/forbidden", &[("authorization", &format!("Bearer {token}"))]).await;
    assert_eq!((forbidden.status.as_u16(), forbidden.challenges().len()), (403, 0));
}
