//! Where the layer and the service can stand: around a router, inside of `nest`, without axum, beside other layers.

use std::convert::Infallible;

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use serde_json::Value;
use tower::{Layer as _, ServiceBuilder, ServiceExt as _, limit::ConcurrencyLimitLayer, service_fn};
use tower_oauth::{
    OAuthLayer, ProtectedResource, ResourceServer, Token, layer::ProblemJson, layer::require::RequireScopesLayer,
};

use super::{WELL_KNOWN, app, document, named_metadata, request, resource, routes, server};
use crate::{
    log::Log,
    support::{API, get_with_token, get_without_token, issuer, valid_token},
};

/// RFC 9728 §3.1 (MUST, accepts)
#[tokio::test]
async fn for_resource_serves_the_document_without_a_token_and_protects_all_else() {
    let resource = ProtectedResource::builder(API).scopes(["orders:read"]).build().unwrap();
    let app = routes().layer(OAuthLayer::for_resource(resource, issuer().verifier(API)).unwrap());
    assert_eq!(document(&app, WELL_KNOWN).await["resource"], API);
    assert_eq!(get_with_token(&app, "/me", &valid_token().sign()).await.body, "you");
    for path in ["/me", "/unknown", "/", "/.well-known/openid-configuration"] {
        let refused = get_without_token(&app, path).await;
        assert!(refused.is_refusal(401, ""), "{path}: {refused:?}");
        assert_eq!(named_metadata(&refused), format!("{API}{WELL_KNOWN}"));
    }
}

#[tokio::test]
async fn a_server_without_a_resource_serves_no_document() {
    let log = Log::default();
    let _guard = log.install();
    let layer = OAuthLayer::new(issuer().verifier(API)).serve_metadata();
    let form = OAuthLayer::new(issuer().verifier(API)).accept_form_body(100).serve_metadata();
    drop((layer.clone().accept_form_body(100), form));
    let text = log.text();
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("serve_metadata() has no effect")).collect();
    assert_eq!(warnings.len(), 2, "one for each call, none for the layers that are made of it: {text}");
    for line in warnings {
        assert!(line.contains("WARN") && line.contains(&format!("caller={}:", file!())), "{line}");
    }
    let app = routes().layer(layer);
    assert!(get_without_token(&app, WELL_KNOWN).await.is_refusal(401, ""));
    assert_eq!(get_with_token(&app, "/me", &valid_token().sign()).await.status, 200);
}

/// RFC 9728 §3.1 (MUST, accepts)
#[tokio::test]
async fn the_document_is_served_beside_anonymous_requests_and_rendered_refusals() {
    let resource = resource().build().unwrap();
    let optional = || Router::new().route("/me", get(async |token: Option<Token>| token.is_some().to_string()));
    let layer = OAuthLayer::for_resource(resource.clone(), issuer().verifier(API)).unwrap();
    let before = OAuthLayer::from_server(server(resource).build().unwrap());
    for app in [
        optional().layer(layer.clone().allow_anonymous().render(ProblemJson::new())),
        optional().layer(before.allow_anonymous().render(ProblemJson::new()).serve_metadata()),
    ] {
        assert_eq!(get_without_token(&app, "/me").await.body, "false");
        let plain = get_without_token(&app, WELL_KNOWN).await;
        assert_eq!((plain.status.as_u16(), plain.header("vary")), (200, None), "{plain:?}");
        let refused = get_with_token(&app, "/me", "x").await;
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert_eq!(named_metadata(&refused), format!("{API}{WELL_KNOWN}"));
    }
}

/// RFC 9728 §3.1 (MUST, accepts)
#[tokio::test]
async fn inside_of_nest_the_service_is_a_route_of_the_outer_router() {
    let resource = ProtectedResource::new("https://api.test/mcp").unwrap();
    let server = server(resource).build().unwrap();
    let metadata = server.metadata().unwrap().clone();
    let nested = routes().layer(OAuthLayer::from_server(server).serve_metadata());
    let app: Router = Router::new().nest("/mcp", nested).route_service(metadata.path(), metadata.clone());
    assert_eq!(document(&app, &format!("{WELL_KNOWN}/mcp")).await["resource"], "https://api.test/mcp");
    assert_eq!(named_metadata(&get_without_token(&app, "/mcp/me").await), format!("{API}{WELL_KNOWN}/mcp"));
    // A layer around `nest` sees the whole path.
    let resource = ProtectedResource::new("https://api.test/mcp").unwrap();
    let app = Router::new()
        .nest("/mcp", routes())
        .layer(OAuthLayer::for_resource(resource, issuer().verifier("https://api.test/mcp")).unwrap());
    assert_eq!(document(&app, &format!("{WELL_KNOWN}/mcp")).await["resource"], "https://api.test/mcp");
}

/// RFC 9728 §3.1 (MUST, accepts)
#[tokio::test]
async fn under_route_layer_the_service_is_a_route_of_its_own() {
    let server = server(resource().build().unwrap()).build().unwrap();
    let metadata = server.metadata().unwrap().clone();
    let layer = OAuthLayer::from_server(server);
    let app = routes().route_layer(layer.clone().serve_metadata());
    assert_eq!(get_without_token(&app, WELL_KNOWN).await.status, 404, "the layer is not called for this path");
    let app = routes().route_layer(layer).route_service(metadata.path(), metadata.clone());
    assert_eq!(document(&app, WELL_KNOWN).await["resource"], API);
    assert_eq!(get_without_token(&app, "/me").await.status, 401);
    assert_eq!(request(&app, Method::OPTIONS, WELL_KNOWN, &[]).await.status, 204);
    assert_eq!(request(&app, Method::DELETE, WELL_KNOWN, &[]).await.header("allow"), Some("GET, HEAD, OPTIONS"));
    let head = request(&app, Method::HEAD, WELL_KNOWN, &[]).await;
    assert_eq!((head.status.as_u16(), &*head.body), (200, ""));
    assert_eq!(head.header("content-length"), get_without_token(&app, WELL_KNOWN).await.header("content-length"));
}

#[tokio::test]
async fn several_resources_of_one_program_have_a_route_each() {
    let mut app = Router::new();
    for path in ["/orders", "/reports"] {
        let server = server(ProtectedResource::new(format!("{API}{path}")).unwrap()).build().unwrap();
        let metadata = server.metadata().unwrap().clone();
        app = app.nest(path, routes().layer(OAuthLayer::from_server(server)));
        app = app.route_service(metadata.path(), metadata.clone());
    }
    for path in ["/orders", "/reports"] {
        assert_eq!(document(&app, &format!("{WELL_KNOWN}{path}")).await["resource"], format!("{API}{path}"));
        let refused = get_without_token(&app, &format!("{path}/me")).await;
        assert_eq!(named_metadata(&refused), format!("{API}{WELL_KNOWN}{path}"));
    }
}

/// RFC 9728 §3.1 (MUST, accepts)
#[tokio::test]
async fn of_merged_routers_with_a_layer_each_the_service_is_a_route_too() {
    let part = |path: &str| {
        let server = server(ProtectedResource::new(format!("{API}{path}")).unwrap()).build().unwrap();
        let metadata = server.metadata().unwrap().clone();
        let handler = get(async |_: Token| "you");
        (Router::new().route(path, handler).layer(OAuthLayer::from_server(server).serve_metadata()), metadata)
    };
    let ((orders, first), (reports, second)) = (part("/orders"), part("/reports"));
    let mut app = orders.merge(reports);
    let paths = [format!("{WELL_KNOWN}/orders"), format!("{WELL_KNOWN}/reports")];
    let mut served = 0;
    for path in &paths {
        served += usize::from(get_without_token(&app, path).await.status == 200);
    }
    assert_eq!(served, 1, "axum keeps one fallback");
    for metadata in [first, second] {
        for path in metadata.paths() {
            app = app.route_service(path, metadata.clone());
        }
    }
    for (path, resource) in paths.iter().zip(["/orders", "/reports"]) {
        assert_eq!(document(&app, path).await["resource"], format!("{API}{resource}"));
        assert_eq!(named_metadata(&get_without_token(&app, resource).await), format!("{API}{path}"));
    }
}

/// RFC 9728 §3.1 (MUST, accepts)
#[tokio::test]
async fn the_service_responds_at_each_of_its_paths() {
    let resource = resource().also("https://other.test/mcp").build().unwrap();
    let metadata = server(resource).build().unwrap().metadata().unwrap().clone();
    let mut app = Router::new();
    for path in metadata.paths() {
        app = app.route_service(path, metadata.clone());
    }
    let other = request(&app, Method::GET, &format!("{WELL_KNOWN}/mcp"), &[("host", "other.test")]).await;
    assert!(other.body.contains("https://other.test/mcp"), "{other:?}");
    let first = request(&app, Method::GET, WELL_KNOWN, &[("host", "api.test")]).await;
    assert!(first.body.contains("\"https://api.test\""), "{first:?}");
}

async fn inner(_: Request<Full<Bytes>>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("in")))
}

#[tokio::test]
async fn the_layer_works_with_the_body_of_a_hyper_server() {
    let layer = OAuthLayer::for_resource(resource().build().unwrap(), issuer().verifier(API)).unwrap();
    let service = ServiceBuilder::new()
        .layer(ConcurrencyLimitLayer::new(1))
        .layer(layer)
        .layer(RequireScopesLayer::all(["orders:read"]).unwrap())
        .service(service_fn(inner));
    let send = async |path: &str, authorization: Option<String>| {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = path.parse().unwrap();
        if let Some(value) = authorization {
            request.headers_mut().insert("authorization", value.parse().unwrap());
        }
        let (head, body) = service.clone().oneshot(request).await.unwrap().into_parts();
        (head.status.as_u16(), body.collect().await.unwrap().to_bytes())
    };
    // The limit is one: if the document did not release its permit, the next request would wait without end.
    for _ in 0..3 {
        let (status, body) = send(WELL_KNOWN, None).await;
        assert_eq!(status, 200);
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap()["resource"], API);
    }
    let token = format!("Bearer {}", valid_token().sign());
    assert_eq!(send("/", Some(token)).await, (200, Bytes::from("in")));
    assert_eq!(send("/", None).await.0, 401);
}

/// Neither the boxed body of http-body-util nor one of an application can be made of `Bytes`.
///
/// RFC 9728 §3.1 (MUST, accepts)
#[tokio::test]
async fn the_layer_works_with_bodies_that_cannot_be_made_of_a_document() {
    let inner = service_fn(async |_: Request<()>| {
        let body = Full::new(Bytes::from("in")).boxed();
        Ok::<_, Infallible>(Response::new(body))
    });
    let layer = OAuthLayer::for_resource(resource().build().unwrap(), issuer().verifier(API)).unwrap();
    let service = layer.layer(inner);
    let token = format!("Bearer {}", valid_token().sign());
    for (path, authorization, status) in [(WELL_KNOWN, "", 200), ("/", &*token, 200), ("/", "", 401)] {
        let mut request = Request::get(path).body(()).unwrap();
        if !authorization.is_empty() {
            request.headers_mut().insert("authorization", authorization.parse().unwrap());
        }
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        let (exact, body) = (response.body().size_hint().exact(), response.into_body());
        let ended = body.is_end_stream();
        let bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!((exact, ended), (Some(bytes.len() as u64), bytes.is_empty()), "{path}");
        let document = bytes.starts_with(b"{") && bytes.windows(API.len()).any(|text| text == API.as_bytes());
        assert!(if path == WELL_KNOWN { document } else { &*bytes == if status == 200 { &b"in"[..] } else { b"" } });
    }
}

#[tokio::test]
async fn a_server_without_tower_responds_to_requests_for_the_document_itself() {
    let server = server(resource().build().unwrap()).build().unwrap();
    let metadata = server.metadata().unwrap();
    let request = |method: Method, path: &str| Request::builder().method(method).uri(path).body(()).unwrap();
    let (head, ()) = request(Method::GET, WELL_KNOWN).into_parts();
    let response: Response<TextBody> = metadata.respond_to(&head.method, &head.uri, &head.headers).unwrap();
    assert_eq!((response.status().as_u16(), response.body().0.contains(API)), (200, true));
    let respond = |request: &Request<()>| -> Option<Response<TextBody>> {
        metadata.respond_to(request.method(), request.uri(), request.headers())
    };
    let response = respond(&request(Method::PUT, WELL_KNOWN)).unwrap();
    assert_eq!(response.status(), 405);
    for path in ["/", "/me", "/.well-known/oauth-protected-resource/x"] {
        assert!(respond(&request(Method::GET, path)).is_none(), "{path}");
        let response = metadata.clone().oneshot(request(Method::GET, path)).await.unwrap();
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "", "{path}");
    }
}

/// A body of an application.
struct TextBody(String);

impl From<Bytes> for TextBody {
    fn from(bytes: Bytes) -> Self {
        Self(String::from_utf8(bytes.to_vec()).unwrap())
    }
}

async fn never_called(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    panic!("called")
}

#[tokio::test]
async fn the_document_reaches_no_verifier_no_handler_and_no_token_slot() {
    let never = crate::support::verifier_from(|_| panic!("the document needs no verdict"));
    let resource = resource().authorization_server("https://auth.test").build().unwrap();
    let layer = OAuthLayer::for_resource(resource, never).unwrap();
    let service = layer.layer(service_fn(never_called));
    for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::POST] {
        let request = Request::builder().method(method).uri(WELL_KNOWN).header("authorization", "Bearer x");
        let response = service.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert!(response.extensions().get::<tower_oauth::AuthError>().is_none());
        assert_ne!(response.status(), 401);
    }
}

#[tokio::test]
async fn a_leaked_server_has_its_document_too() {
    let server: ResourceServer = server(resource().build().unwrap()).build().unwrap().leak();
    let app = routes().layer(OAuthLayer::from_server(server).serve_metadata());
    assert_eq!(document(&app, WELL_KNOWN).await["resource"], API);
}

/// Of two layers, each serves its own document, and the outer one must let the inner one's path pass.
#[tokio::test]
async fn a_layer_passes_the_path_of_another_document_on() {
    let inner = app(ProtectedResource::new("https://api.test/inner").unwrap());
    let outer = OAuthLayer::for_resource(resource().build().unwrap(), issuer().verifier(API)).unwrap();
    let both = inner.layer(outer.allow_anonymous());
    assert_eq!(document(&both, WELL_KNOWN).await["resource"], API);
    assert_eq!(document(&both, &format!("{WELL_KNOWN}/inner")).await["resource"], "https://api.test/inner");
}
