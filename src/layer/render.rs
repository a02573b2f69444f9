//! The bodies of refusals.
//!
//! *In*: a [`Refusal`]. *Out*: a [`RenderedBody`]. A renderer can't change the status or the challenge.

use http::{HeaderValue, StatusCode};

use crate::{
    challenge::{Challenge, error_code},
    error::AuthError,
};

/// A refused request, as a renderer sees it.
#[derive(Debug)]
pub struct Refusal<'r> {
    error: &'r AuthError,
    challenge: &'r Challenge,
}

impl<'r> Refusal<'r> {
    pub(super) fn new(error: &'r AuthError, challenge: &'r Challenge) -> Self {
        Self { error, challenge }
    }

    /// Returns why the request is refused.
    #[must_use]
    pub fn error(&self) -> &'r AuthError {
        self.error
    }

    /// Returns the status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.challenge.status()
    }

    /// Returns the challenge: the status and headers of the response.
    #[must_use]
    pub fn challenge(&self) -> &'r Challenge {
        self.challenge
    }
}

/// Renders the body of a refusal. Implemented by [`EmptyBody`], [`ProblemJson`], and closures.
///
/// A closure takes a [`&Refusal`](Refusal) and returns a body, a pair of content type and body, or a [`RenderedBody`].
pub trait RenderBody<Body> {
    /// Returns the body and its content type.
    fn render(&self, refusal: &Refusal<'_>) -> RenderedBody<Body>;
}

/// A body and its content type.
#[derive(Debug, Clone)]
pub struct RenderedBody<Body> {
    pub(super) body: Body,
    pub(super) content_type: Option<HeaderValue>,
    /// True for [`empty`](Self::empty). Only then can a refusal become a gRPC status.
    pub(super) empty: bool,
}

impl<Body> RenderedBody<Body> {
    /// Returns a body without a content type.
    pub fn new(body: Body) -> Self {
        Self { body, content_type: None, empty: false }
    }

    /// Returns an empty body without a content type. A refused gRPC request can get a gRPC status only with this body; see
    /// [`grpc_status`](crate::server::ResourceServerBuilder::grpc_status).
    #[must_use]
    pub fn empty() -> Self
    where
        Body: Default,
    {
        Self { body: Body::default(), content_type: None, empty: true }
    }

    /// Returns the body with this content type.
    #[must_use]
    pub fn with_content_type(self, content_type: HeaderValue) -> Self {
        Self { content_type: Some(content_type), ..self }
    }
}

impl<Body> From<Body> for RenderedBody<Body> {
    fn from(body: Body) -> Self {
        Self::new(body)
    }
}

impl<Body> From<(HeaderValue, Body)> for RenderedBody<Body> {
    fn from((content_type, body): (HeaderValue, Body)) -> Self {
        Self::new(body).with_content_type(content_type)
    }
}

/// Renders no body.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct EmptyBody;

impl EmptyBody {
    /// Returns the renderer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<Body: Default> RenderBody<Body> for EmptyBody {
    fn render(&self, _: &Refusal<'_>) -> RenderedBody<Body> {
        RenderedBody::empty()
    }
}

/// Renders a problem document (RFC 9457) with `type`, `title`, `status`, `detail`, and `error` with the error code of RFC 6750 §3.1.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct ProblemJson;

impl ProblemJson {
    /// Returns the renderer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl<Body: From<String>> RenderBody<Body> for ProblemJson {
    fn render(&self, refusal: &Refusal<'_>) -> RenderedBody<Body> {
        let status = refusal.status();
        let mut problem = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "detail": refusal.error().description(),
        });
        if let (Some(code), Some(members)) = (error_code(refusal.error().kind()), problem.as_object_mut()) {
            members.insert("error".to_owned(), code.into());
        }
        let content_type = HeaderValue::from_static("application/problem+json");
        RenderedBody::new(problem.to_string().into()).with_content_type(content_type)
    }
}

impl<F, T, Body> RenderBody<Body> for F
where
    F: Fn(&Refusal<'_>) -> T,
    T: Into<RenderedBody<Body>>,
{
    fn render(&self, refusal: &Refusal<'_>) -> RenderedBody<Body> {
        self(refusal).into()
    }
}
