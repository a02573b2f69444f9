//! The settings of the layer, in any order.

use axum::{Router, body::Body, routing::get};
use http::{Method, Request};
use serde_json::{Value, json};
use tower_oauth::{
    AuthError, OAuthLayer, ProtectedResource, ResourceServer, Token,
    layer::{ProblemJson, form_body::FormBodyLayer, late_refusals::LateRefusals, serve_metadata::ServeMetadataLayer},
    lifetime::TokenLifetime,
    verify::Verdict,
};

use crate::support::{API, Admin, Answer, send, verifier_from};

/// The type of a layer with all settings, whatever their order is.
type WithAll = ServeMetadataLayer<FormBodyLayer<OAuthLayer<ProblemJson>>>;

/// Calls the settings on the layer in each order, and pushes the resulting layers.
macro_rules! all_orders {
    ($layers:ident, $layer:expr, [], []) => {
        $layers.push($layer)
    };
    ($layers:ident, $layer:expr, [$($skipped:ident $arguments:tt)+], []) => {};
    (
        $layers:ident, $layer:expr,
        [$($skipped:ident $skipped_arguments:tt)*], [$next:ident $arguments:tt $($later:ident $later_arguments:tt)*]
    ) => {
        all_orders!(
            $layers, $layer.$next $arguments, [],
            [$($skipped $skipped_arguments)* $($later $later_arguments)*]
        );
        all_orders!(
            $layers, $layer, [$($skipped $skipped_arguments)* $next $arguments], [$($later $later_arguments)*]
        );
    };
}

fn layer() -> OAuthLayer {
    let verifier = verifier_from(|presented| {
        let token = presented.permit().token(&json!({"iss": "https://auth.test", "sub": "ada", "scope": "a"}));
        Verdict::Now(if presented.token() == "good" { token } else { Err(AuthError::invalid_token()) })
    });
    let resource = ProtectedResource::builder(API).authorization_server("https://auth.test").build().unwrap();
    OAuthLayer::from_server(ResourceServer::builder(verifier).resource(resource).build().unwrap())
}

async fn who(token: Option<Token>, lifetime: Option<TokenLifetime>) -> &'static str {
    match (token, lifetime) {
        (Some(_), Some(_)) => "a token and its lifetime",
        (None, None) => "anonymous",
        _ => "only one of them",
    }
}

/// Responds 200, whatever it finds.
async fn late(refusals: LateRefusals) -> String {
    refusals.require::<Admin>().map_or_else(|error| error.to_string(), |_| "granted".to_owned())
}

async fn call(app: &Router, method: Method, path: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    send(app, request.body(Body::from(body)).unwrap()).await
}

/// Threat W10
#[tokio::test]
#[expect(clippy::vec_init_then_push, reason = "the macro pushes 720 layers")]
async fn every_order_of_the_settings_gives_the_same_layer() {
    let layer = layer();
    let mut layers: Vec<WithAll> = Vec::new();
    all_orders!(layers, layer.clone(), [], [
        serve_metadata() accept_form_body(1_000) render(ProblemJson::new()) allow_anonymous() token_lifetimes()
        late_refusals()
    ]);
    assert_eq!(layers.len(), 720);
    for (order, layer) in layers.into_iter().enumerate() {
        let app = Router::new().route("/", get(who).post(who)).route("/late", get(late)).layer(layer);
        let document = call(&app, Method::GET, "/.well-known/oauth-protected-resource", &[], "").await;
        let document: Value = serde_json::from_str(&document.body).unwrap();
        assert_eq!(document["bearer_methods_supported"], json!(["header", "body"]), "{order}");
        assert_eq!(call(&app, Method::GET, "/", &[], "").await.body, "anonymous", "{order}");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let posted = call(&app, Method::POST, "/", &form, "access_token=good").await;
        assert_eq!(posted.body, "a token and its lifetime", "{order}");
        let refused = call(&app, Method::GET, "/late", &[("authorization", "Bearer good")], "").await;
        assert_eq!(refused.status, 403, "{order}: {refused:?}");
        assert!(refused.challenges()[0].contains("scope=\"admin\""), "{order}: {refused:?}");
        assert_eq!(refused.header("content-type"), Some("application/problem+json"), "{order}");
    }
}

/// Threat W10
#[tokio::test]
async fn settings_can_follow_for_resource() {
    let resource = ProtectedResource::new(API).unwrap();
    let verifier = crate::support::issuer().verifier(API);
    let layer = OAuthLayer::for_resource(resource, verifier).unwrap().token_lifetimes().late_refusals();
    let app = Router::new().route("/", get(who)).layer(layer);
    let token = format!("Bearer {}", crate::support::valid_token().sign());
    let answer = call(&app, Method::GET, "/", &[("authorization", &token)], "").await;
    assert_eq!(answer.body, "a token and its lifetime");
}
