//! The gRPC status code of each kind of refusal: in the layer's response, and for methods that refuse a request themselves.

use std::time::Duration;

use axum::{Router, body::Body, extract::FromRequestParts as _, routing::post};
use http::{Request, Version};
use tonic::Code;
use tower::ServiceExt as _;
use tower_oauth::{
    AuthError, Token,
    error::AuthErrorKind::{
        self, Forbidden, InsufficientScope, InsufficientUserAuthentication, InvalidRequest, InvalidToken,
        MissingCredentials, MissingLayer, Unavailable,
    },
    layer::require::RequireStepUpLayer,
    step_up::StepUp,
    testing::TestToken,
};

use super::{grpc_layer, status};
use crate::support::{Admin, router, send, valid_token};

/// The layer's error for a request with this `Authorization`.
async fn refusal(app: &Router, authorization: &str) -> AuthError {
    let request = Request::get("/me").header("authorization", authorization).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    response.extensions().get::<AuthError>().cloned().unwrap()
}

/// One error of each kind.
async fn each_kind() -> [(AuthErrorKind, AuthError, Code); 8] {
    let recent = StepUp::builder().max_age(Duration::from_secs(60)).build().unwrap();
    let stepped = router().layer(RequireStepUpLayer::new(recent)).layer(grpc_layer());
    let malformed = refusal(&stepped, "Bearer a b").await;
    let too_old = refusal(&stepped, &format!("Bearer {}", valid_token().sign())).await;
    let (mut without_layer, ()) = Request::new(()).into_parts();
    let no_layer = Token::from_request_parts(&mut without_layer, &()).await.unwrap_err();
    let no_scope = TestToken::user("ada").build().require::<Admin>().unwrap_err();
    [
        (MissingCredentials, AuthError::missing_credentials(), Code::Unauthenticated),
        (InvalidRequest, malformed, Code::InvalidArgument),
        (InvalidToken, AuthError::invalid_token(), Code::Unauthenticated),
        (InsufficientScope, no_scope, Code::PermissionDenied),
        (Forbidden, AuthError::forbidden("This is not your order"), Code::PermissionDenied),
        (InsufficientUserAuthentication, too_old, Code::Unauthenticated),
        (Unavailable, AuthError::unavailable(Duration::from_secs(2)), Code::Unavailable),
        (MissingLayer, no_layer, Code::Internal),
    ]
}

/// gRPC 1 (MUST NOT, accepts)
#[tokio::test]
async fn each_kind_of_error_has_its_grpc_code_in_methods_and_in_the_layer() {
    for (kind, error, code) in each_kind().await {
        assert_eq!(error.kind(), kind);
        assert_eq!(Code::from_i32(error.grpc_code()), code, "{kind}");
        assert_eq!((status(&error).code(), status(&error).message()), (code, error.description()), "{kind}");

        let refuse = error.clone();
        let app = Router::new().route("/", post(|| async move { Err::<(), _>(refuse) })).layer(grpc_layer());
        let request = Request::post("/").version(Version::HTTP_2).header("content-type", "application/grpc");
        let request = request.header("authorization", format!("Bearer {}", valid_token().sign()));
        let answer = send(&app, request.body(Body::empty()).unwrap()).await;
        let sent = answer.header("grpc-status").map(|code| code.parse::<i32>().unwrap());
        assert_eq!(sent, Some(error.grpc_code()), "{kind}");
    }
}

/// gRPC 1 (MUST NOT, accepts)
#[tokio::test]
async fn the_guide_has_the_code_of_each_kind() {
    let guide = include_str!("../../../src/guide/grpc.md");
    for (kind, _, code) in each_kind().await {
        let row = format!("| `{kind:?}` | {} `{code:?}` |", i32::from(code));
        assert!(guide.contains(&row), "{row}");
    }
}
