//! Refusals of gRPC requests: the status codes of the gRPC specification, in a response without messages.
//!
//! *In*: a refusal that was rendered for HTTP. *Out*: the same response object with a gRPC status.

use http::{HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};

use crate::error::AuthError;

/// True for a POST over HTTP/2 or HTTP/3 with `application/grpc`, alone or with a message format. Any other request is not
/// gRPC, whatever its content type: a proxy in front of an API would take the status 200 of a gRPC refusal as an approval.
/// gRPC-Web is not included: its responses look different.
pub(super) fn is_grpc(request: &Parts) -> bool {
    if request.method != Method::POST || !matches!(request.version, Version::HTTP_2 | Version::HTTP_3) {
        return false;
    }
    let content_type = request.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let format = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    format.is_some_and(|format| matches!(format.first(), None | Some(b'+' | b';')))
}

/// Turns a refusal into a gRPC status: HTTP status 200, and the trailers as headers.
pub(super) fn into_grpc_status<Body>(response: &mut Response<Body>, error: &AuthError) {
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(error.grpc_code()));
    // `grpc-message` is percent-encoded; `description` has printable ASCII only.
    let message = error.description().replace('%', "%25");
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert("grpc-message", message);
    }
}
