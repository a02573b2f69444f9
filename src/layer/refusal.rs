//! The response of a refusal: status and challenge always, a body if wanted.

use http::{HeaderMap, HeaderValue, Response, StatusCode, header, response::Parts};

use super::Door;
use crate::{
    challenge::{Challenge, error_code},
    error::{AuthError, AuthErrorKind},
    log,
};

/// In a request's extensions: the layer let it through without credentials.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anonymous;

/// In a response's extensions: a refusal from further in, which the layer words on the way out.
#[derive(Debug, Clone)]
pub(crate) struct Unworded(pub(crate) AuthError);

/// Makes the body of a refusal. It cannot touch status and challenge.
///
/// Implemented by [`EmptyBody`], [`ProblemJson`], and closures from `&AuthError` to a content type and a body.
pub trait RenderBody<Body> {
    /// Whether the bodies are empty. Only then can a refusal be worded for gRPC, whose answer has no body.
    const EMPTY: bool = false;

    /// The content type, if there is content, and the body.
    fn render(&self, error: &AuthError, status: StatusCode) -> (Option<HeaderValue>, Body);
}

/// No body.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct EmptyBody;

impl EmptyBody {
    /// No body.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<Body: Default> RenderBody<Body> for EmptyBody {
    const EMPTY: bool = true;

    fn render(&self, _: &AuthError, _: StatusCode) -> (Option<HeaderValue>, Body) {
        (None, Body::default())
    }
}

/// A problem document (RFC 9457): `type`, `title`, `status`, `detail`, and `error` with the code of RFC 6750 §3.1.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ProblemJson;

impl ProblemJson {
    /// Problem documents.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<Body: From<String>> RenderBody<Body> for ProblemJson {
    fn render(&self, error: &AuthError, status: StatusCode) -> (Option<HeaderValue>, Body) {
        let mut problem = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": error.description(),
        });
        if let (Some(code), Some(members)) = (error_code(error.kind()), problem.as_object_mut()) {
            members.insert("error".to_owned(), code.into());
        }
        (Some(HeaderValue::from_static("application/problem+json")), problem.to_string().into())
    }
}

impl<F, Body> RenderBody<Body> for F
where
    F: Fn(&AuthError) -> (HeaderValue, Body),
{
    fn render(&self, error: &AuthError, _: StatusCode) -> (Option<HeaderValue>, Body) {
        let (content_type, body) = self(error);
        (Some(content_type), body)
    }
}

impl<R> Door<R> {
    /// Words a refusal. `head` is the response that it replaces, if it comes from further in.
    pub(super) fn refuse<Body>(&self, error: AuthError, head: Option<Parts>, grpc: bool) -> Response<Body>
    where
        R: RenderBody<Body>,
    {
        log::refused(&error);
        let challenge = self.server.challenge(&error);
        let (content_type, body) = self.renderer.render(&error, challenge.status());
        let mut response = Response::new(body);
        if let Some(mut head) = head {
            head.headers.remove(header::CONTENT_LENGTH);
            head.headers.remove(header::CONTENT_TYPE);
            *response.headers_mut() = head.headers;
            *response.extensions_mut() = head.extensions;
        }
        *response.status_mut() = challenge.status();
        if let Some(content_type) = content_type {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        challenge.write_to(response.headers_mut());
        if grpc {
            word_for_grpc(&mut response, &error);
        }
        response.extensions_mut().insert(error);
        response
    }

    /// Words a refusal that an extractor or handler answered; leaves every other response alone.
    pub(super) fn see_out<Body>(&self, mut response: Response<Body>, grpc: bool) -> Response<Body>
    where
        R: RenderBody<Body>,
    {
        if let Some(Unworded(error)) = response.extensions_mut().remove() {
            let (head, _) = response.into_parts();
            return self.refuse(error, Some(head), grpc);
        }
        if self.anonymous {
            // A cache must not give the answer for nobody to somebody.
            for name in self.server.credential_headers() {
                response.headers_mut().append(header::VARY, HeaderValue::from(name.clone()));
            }
        }
        if self.server.must_mark_private() && !response.headers().contains_key(header::CACHE_CONTROL) {
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
        }
        response
    }
}

/// A refusal that has no layer to word it yet: complete by itself, and marked for the layer that may be further out.
pub(crate) fn unworded<Body: Default>(error: AuthError) -> Response<Body> {
    if error.kind() == AuthErrorKind::MissingLayer {
        log::refused(&error);
    }
    let challenge = Challenge::new(&error, &crate::challenge::Doorplate::default());
    let mut response = Response::new(Body::default());
    *response.status_mut() = challenge.status();
    challenge.write_to(response.headers_mut());
    response.extensions_mut().insert(Unworded(error));
    response
}

/// `application/grpc`, alone or with a message format; not gRPC-Web, whose answers look otherwise.
pub(super) fn is_grpc(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let format = content_type.and_then(|value| value.strip_prefix(b"application/grpc"));
    format.is_some_and(|format| matches!(format.first(), None | Some(b'+' | b';')))
}

/// The codes of the gRPC specification, as a response without messages: status 200, and the trailers as headers.
fn word_for_grpc<Body>(response: &mut Response<Body>, error: &AuthError) {
    let code = match error.kind() {
        AuthErrorKind::InvalidRequest => "3",
        AuthErrorKind::InsufficientScope => "7",
        AuthErrorKind::MissingLayer => "13",
        AuthErrorKind::Unavailable => "14",
        AuthErrorKind::MissingCredentials
        | AuthErrorKind::InvalidToken
        | AuthErrorKind::InsufficientUserAuthentication => "16",
    };
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from_static(code));
    headers.insert("grpc-message", HeaderValue::from_static(error.description()));
}
