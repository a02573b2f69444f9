//! `described` finds each kind of difference between a document and the API, and reports nothing else.

use std::{
    convert::Infallible,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::{
    Router,
    extract::{Path, Query},
    routing::{get, post},
};
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::Layer as _;
use tower_oauth::{
    AnyOf, AuthError, InRole, OAuthLayer, Scoped, Token,
    layer::require::{RequireScopesLayer, RequireStepUpLayer},
    openapi::requirements,
    scope::{ScopeHierarchy, Scopes},
    step_up::StepUp,
    testing::{Drift, DriftKind, Drifts, described},
};

use crate::support::{API, Admin, OrdersRead, OrdersWrite, issuer, layer_with};

tower_oauth::roles! {
    Auditor = "auditor";
}

type Nested = (OrdersRead, AnyOf<(OrdersWrite, Admin)>);

fn token(scopes: &str) -> String {
    issuer().token("ada").scope(scopes).sign()
}

fn protected(routes: Router) -> Router {
    routes.layer(OAuthLayer::new(issuer().verifier(API)))
}

/// A document with `GET /` and this `security`.
fn document(security: &Value) -> Value {
    json!({"paths": {"/": {"get": {"security": security}}}})
}

fn requires(alternatives: &[&[&str]]) -> Value {
    alternatives.iter().map(|scopes| json!({"oauth2": scopes})).collect()
}

/// What `described` says about `GET /`.
async fn compared(security: &Value, routes: Router) -> Result<(), Drifts> {
    described(&document(security), protected(routes), token).await
}

async fn kinds(security: &Value, routes: Router) -> Vec<DriftKind> {
    match compared(security, routes).await {
        Ok(()) => Vec::new(),
        Err(drifts) => drifts.iter().map(Drift::kind).collect(),
    }
}

fn requiring<S: tower_oauth::scope::RequiredScopes>() -> Router {
    Router::new().route("/", get(|_: Scoped<S>| async { "" }))
}

#[tokio::test]
async fn finds_a_documented_scope_that_is_not_enforced() {
    let routes = || requiring::<OrdersRead>();
    let drifts = compared(&requires(&[&["orders:read", "admin"]]), routes()).await.unwrap_err();
    let drift = drifts.iter().next().unwrap();
    assert_eq!((drifts.iter().count(), drift.operation(), drift.kind()), (1, "GET /", DriftKind::ScopeNotEnforced));
    assert!(drift.to_string().contains("`orders:read` got 200 OK without the documented `admin`"), "{drift}");

    let open = Router::new().route("/", get(|_: Token| async { "" }));
    assert_eq!(kinds(&requires(&[&["orders:read"]]), open).await, [DriftKind::ScopeNotEnforced]);
    // The extractor of the path refuses the request before the scope is checked.
    let numbered = Router::new().route("/{id}", get(|_: Path<u64>, _: Scoped<OrdersRead>| async { "" }));
    let parameter = json!({"name": "id", "in": "path", "required": true, "example": "seven"});
    let path = json!({"paths": {"/{id}": {
        "parameters": [parameter], "get": {"security": requires(&[&["orders:read"]])}
    }}});
    let drifts = described(&path, protected(numbered), token).await.unwrap_err();
    assert!(drifts.to_string().contains("a token without scopes got 400 Bad Request"), "{drifts}");
}

/// OpenAPI 2 (MUST, refuses)
#[tokio::test]
async fn finds_an_enforced_scope_that_is_not_documented() {
    let drifts = compared(&requires(&[&["orders:read"]]), requiring::<(OrdersRead, Admin)>()).await.unwrap_err();
    let drift = drifts.iter().next().unwrap();
    assert_eq!((drifts.iter().count(), drift.kind()), (1, DriftKind::ScopeNotDocumented));
    assert!(drift.to_string().contains("a token with `orders:read` is refused because it lacks `admin`"), "{drift}");

    let no_scope = requires(&[&[]]);
    assert_eq!(kinds(&no_scope, requiring::<OrdersRead>()).await, [DriftKind::ScopeNotDocumented]);
    let one_alternative_too_many = requires(&[&["orders:read"], &["admin"]]);
    assert_eq!(kinds(&one_alternative_too_many, requiring::<OrdersRead>()).await, [DriftKind::ScopeNotDocumented]);
    assert_eq!(kinds(&requires(&[&["admin"]]), requiring::<OrdersRead>()).await, [DriftKind::ScopeNotDocumented]);
}

/// OpenAPI 2 (MUST, refuses)
#[tokio::test]
async fn finds_an_operation_without_security_that_requires_a_token() {
    for security in [json!([]), json!([{}, {"oauth2": ["orders:read"]}])] {
        assert_eq!(kinds(&security, requiring::<OrdersRead>()).await, [DriftKind::TokenNotDocumented], "{security}");
    }
    let nothing_said = json!({"paths": {"/": {"get": {}}}});
    let drifts = described(&nothing_said, protected(requiring::<OrdersRead>()), token).await.unwrap_err();
    assert_eq!(drifts.iter().next().unwrap().kind(), DriftKind::TokenNotDocumented);
}

/// OpenAPI 4 (MUST, refuses)
#[tokio::test]
async fn finds_an_operation_with_security_that_is_open() {
    let open = Router::new().route("/", get(|| async { "" }));
    for security in [requires(&[&["orders:read"]]), requires(&[&[]]), json!([{"oauth2": ["a"]}, {"key": []}])] {
        let mut document = document(&security);
        document["components"] =
            json!({"securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "x-key"}}});
        let drifts = described(&document, open.clone(), token).await.unwrap_err();
        let found: Vec<_> = drifts.iter().map(Drift::kind).collect();
        assert_eq!(found, [DriftKind::TokenNotEnforced], "{security}: {drifts}");
    }
    // The document's own `security` holds for operations that have none.
    let mut inherited = json!({"security": requires(&[&[]]), "paths": {"/": {"get": {}}}});
    let drifts = described(&inherited, open.clone(), token).await.unwrap_err();
    assert_eq!(drifts.iter().next().unwrap().kind(), DriftKind::TokenNotEnforced);
    inherited["paths"]["/"]["get"]["security"] = json!([]);
    described(&inherited, open, token).await.unwrap();
    // Without the layer, the status is 500.
    let drifts = described(&document(&requires(&[&[]])), requiring::<OrdersRead>(), token).await.unwrap_err();
    assert!(drifts.to_string().contains("got 500"), "{drifts}");
}

#[tokio::test]
async fn an_alternative_for_other_credentials_is_not_tested() {
    let by_key =
        |status: u16| Router::new().route("/", get(move || async move { StatusCode::from_u16(status).unwrap() }));
    let key = json!({"type": "apiKey", "in": "header", "name": "x-key"});
    for security in [json!([{"key": []}]), json!([{"key": [], "oauth2": ["orders:read"]}])] {
        let mut document = document(&security);
        document["components"] = json!({"securitySchemes": {"key": key}});
        for refused in [400, 401, 403] {
            described(&document, by_key(refused), token).await.unwrap();
        }
        let drifts = described(&document, by_key(200), token).await.unwrap_err();
        assert_eq!(drifts.iter().next().unwrap().kind(), DriftKind::TokenNotEnforced, "{security}");
    }
}

#[tokio::test]
async fn compares_a_service_without_axum() {
    let open = tower::service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new(String::new())));
    let guard = RequireScopesLayer::all(["orders:read"]).unwrap();
    let app = OAuthLayer::new(issuer().verifier(API)).layer(guard.layer(open));
    described(&document(&requires(&[&["orders:read"]])), app.clone(), token).await.unwrap();
    assert!(described(&document(&requires(&[&["admin"]])), app, token).await.is_err());
}

#[tokio::test]
async fn finds_a_challenge_that_names_other_scopes_than_documented() {
    let by_hand = Router::new().route(
        "/",
        get(|token: Token| async move {
            let refused = || AuthError::insufficient_scope(Scopes::new(["orders:list"]).unwrap());
            token.allows("orders:read").then_some("").ok_or_else(refused)
        }),
    );
    let drifts = compared(&requires(&[&["orders:read"]]), by_hand).await.unwrap_err();
    let drift = drifts.iter().next().unwrap();
    assert_eq!((drifts.iter().count(), drift.kind()), (1, DriftKind::OtherScopesInChallenge));
    assert!(drift.to_string().contains("names `orders:list`, but the document requires `orders:read`"), "{drift}");
    // One alternative is not documented, and the challenge names it.
    let two = requiring::<AnyOf<(Admin, OrdersRead)>>();
    assert_eq!(kinds(&requires(&[&["orders:read"]]), two).await, [DriftKind::OtherScopesInChallenge]);
}

#[tokio::test]
async fn a_token_for_another_api_is_reported_and_not_taken_for_a_missing_scope() {
    let foreign = |scopes: &str| issuer().token("ada").audience("https://other.test").scope(scopes).sign();
    let app = protected(requiring::<OrdersRead>());
    let drifts = described(&document(&requires(&[&["orders:read"]])), app, foreign).await.unwrap_err();
    let found: Vec<_> = drifts.iter().map(Drift::kind).collect();
    assert_eq!(found, [DriftKind::TokenNotAccepted], "{drifts}");
}

/// OpenAPI 3 (own, refuses)
#[tokio::test]
async fn reports_an_operation_that_refuses_every_token_before_its_scopes() {
    let recent = || RequireStepUpLayer::new(StepUp::builder().max_age(Duration::from_secs(60)).build().unwrap());
    let stepped_up = || requiring::<OrdersRead>().layer(recent());
    let drifts = compared(&requires(&[&["orders:read"]]), stepped_up()).await.unwrap_err();
    let drift = drifts.iter().next().unwrap();
    assert_eq!((drifts.iter().count(), drift.kind()), (1, DriftKind::ScopesNotCompared), "{drifts}");
    assert!(
        drift.to_string().contains("`orders:read` got 401 Unauthorized with the error `insufficient_user_auth"),
        "{drift}"
    );
    // Also if the document requires any token, or other scopes than the API.
    for security in [requires(&[&[]]), requires(&[&["admin"], &["orders:read", "orders:write"]])] {
        assert_eq!(kinds(&security, stepped_up()).await, [DriftKind::ScopesNotCompared], "{security}");
    }
    let role = Router::new().route("/", get(|_: InRole<Auditor>, _: Scoped<OrdersRead>| async { "" }));
    assert_eq!(kinds(&requires(&[&["orders:read"]]), role).await, [DriftKind::ScopesNotCompared]);
    // Tokens that pass the other check.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let fresh = |scopes: &str| issuer().token("ada").scope(scopes).claim("auth_time", now).sign();
    described(&document(&requires(&[&["orders:read"]])), protected(stepped_up()), fresh).await.unwrap();
    let drifts = described(&document(&requires(&[&["admin"]])), protected(stepped_up()), fresh).await.unwrap_err();
    assert_eq!(drifts.iter().next().unwrap().kind(), DriftKind::ScopeNotDocumented);
    // Scopes are checked first: the challenges show them.
    let after = Router::new().route("/", get(|_: Scoped<OrdersRead>, _: InRole<Auditor>| async { "" }));
    assert_eq!(kinds(&requires(&[&["orders:read"]]), after).await, []);
}

#[tokio::test]
async fn a_document_without_operations_is_reported() {
    for document in [json!({}), json!({"paths": {}}), json!({"paths": {"/": {"summary": "nothing"}}}), json!(null)] {
        let drifts = described(&document, protected(Router::new()), token).await.unwrap_err();
        assert_eq!(drifts.iter().next().unwrap().kind(), DriftKind::NoOperation, "{document}");
    }
}

#[tokio::test]
async fn reports_every_operation_in_one_list() {
    let routes = Router::new()
        .route("/a", get(|_: Scoped<OrdersRead>| async { "" }).post(|| async { "" }))
        .route("/b", post(|_: Scoped<Admin>| async { "" }));
    let document = json!({"paths": {
        "/a": {"get": {"security": requires(&[&["orders:read"]])}, "post": {"security": requires(&[&["x"]])}},
        "/b": {"post": {}},
    }});
    let drifts = described(&document, protected(routes), token).await.unwrap_err();
    let found: Vec<_> = drifts.iter().map(|drift| (drift.operation(), drift.kind())).collect();
    let expected = [("POST /a", DriftKind::ScopeNotEnforced), ("POST /b", DriftKind::TokenNotDocumented)];
    assert_eq!(found, expected);
    assert_eq!(format!("{drifts:?}").lines().count(), 3, "`unwrap` shows one line for each");
}

/// OpenAPI 2 (MUST, accepts)
/// OpenAPI 3 (own, accepts)
/// OpenAPI 4 (MUST, accepts)
#[tokio::test]
async fn a_true_document_has_no_difference() {
    let routes = Router::new()
        .route("/nested", get(|_: Scoped<Nested>| async { "" }))
        .route("/any", get(|_: Scoped<AnyOf<(OrdersRead, Admin)>>| async { "" }))
        .route("/token", get(|_: Token| async { "" }))
        .route("/layered", get(|| async { "" }).layer(RequireScopesLayer::all(["a", "b"]).unwrap()))
        .route("/refusing", get(|_: Scoped<Admin>| async { Err::<(), _>(AuthError::forbidden("No order")) }));
    let public = Router::new().route("/public", get(|| async { "" }));
    let optional = Router::new().route("/optional", get(|_: Option<Token>| async { "" }));
    let optional = optional.layer(layer_with(|server| server).allow_anonymous());
    let app = protected(routes).merge(public).merge(optional);
    let document = json!({
        "security": requires(&[&[]]),
        "paths": {
            "/nested": {"get": {"security": requirements::<Nested>("oauth2")}},
            "/any": {"get": {"security": requirements::<AnyOf<(OrdersRead, Admin)>>("oauth2")}},
            "/token": {"get": {}},
            "/layered": {"get": {"security": requires(&[&["b", "a"]])}},
            "/refusing": {"get": {"security": requires(&[&["admin"]])}},
            "/public": {"get": {"security": []}},
            "/optional": {"get": {"security": [{}, {"oauth2": []}]}},
        }
    });
    described(&document, app, token).await.unwrap();
}

#[tokio::test]
async fn a_scope_that_another_one_includes_is_no_difference() {
    let hierarchy = ScopeHierarchy::new().implies::<Admin, OrdersWrite>().implies::<OrdersWrite, OrdersRead>();
    let app = Router::new()
        .route("/", get(|_: Scoped<(OrdersRead, OrdersWrite)>| async { "" }))
        .layer(layer_with(|server| server.scope_hierarchy(hierarchy)));
    described(&document(&requires(&[&["orders:read", "orders:write"]])), app, token).await.unwrap();
}

#[tokio::test]
async fn requests_have_the_parameters_that_the_document_requires() {
    async fn handler(
        Path((id, name)): Path<(u64, String)>,
        Query(query): Query<Vec<(String, String)>>,
        headers: HeaderMap,
        _: Scoped<OrdersRead>,
    ) -> Result<String, AuthError> {
        let pairs: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let seen = format!("{id} {name} {} {} {}", pairs.join("&"), header("x-tenant"), header("cookie"));
        // The response to the sufficient token shows a wrong request as a refusal for a scope.
        let expected = "12 a b/c since=2000-01-01&deep=true&kind=one acme theme=1";
        if seen == expected {
            Ok(seen)
        } else {
            Err(AuthError::insufficient_scope(Scopes::new([seen.replace(' ', "|")]).unwrap()))
        }
    }
    let app = protected(Router::new().route("/orders/{id}/{name}", get(handler)));
    let document = json!({
        "components": {
            "parameters": {"Id": {"name": "id", "in": "path", "required": true, "schema": {"$ref": "#/components/schemas/Id"}}},
            "schemas": {"Id": {"type": ["integer", "null"], "minimum": 12}},
        },
        "paths": {"/orders/{id}/{name}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}, {"name": "name", "in": "path", "required": true, "example": "replaced"}],
            "get": {
                "security": requires(&[&["orders:read"]]),
                "parameters": [
                    {"name": "name", "in": "path", "required": true, "examples": {"one": {"value": "a b/c"}}},
                    {"name": "since", "in": "query", "required": true, "schema": {"type": "string", "format": "date"}},
                    {"name": "deep", "in": "query", "required": true, "schema": {"anyOf": [{"type": "boolean"}]}},
                    {"name": "kind", "in": "query", "required": true, "schema": {"enum": ["one", "two"]}},
                    {"name": "page", "in": "query", "schema": {"type": "integer"}},
                    {"name": "x-tenant", "in": "header", "required": true, "content": {"text/plain": {"schema": {"const": "acme"}}}},
                    {"name": "theme", "in": "cookie", "required": true},
                ],
            },
        }},
    });
    described(&document, app, token).await.unwrap();
}
