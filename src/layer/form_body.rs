//! [`FormBodyLayer`]: reads the token from a form body (RFC 6750 §2.2).
//!
//! *In*: a request with a form. *Out*: the request with its body and with the tokens of the form in its extensions, where the inner
//! `OAuthLayer` reads them.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower_layer::Layer;
use tower_service::Service;

use crate::{credentials::FormTokens, server::VerificationTimeout};

/// Reads a token from a form body, around another layer. Made by
/// [`OAuthLayer::accept_form_body`](crate::OAuthLayer::accept_form_body).
#[derive(Debug, Clone)]
pub struct FormBodyLayer<L> {
    layer: L,
    max_body_bytes: usize,
    timeout: VerificationTimeout,
}

impl<L> FormBodyLayer<L> {
    pub(super) fn new(layer: L, max_body_bytes: usize, timeout: VerificationTimeout) -> Self {
        Self { layer, max_body_bytes, timeout }
    }

    pub(super) fn inner(&self) -> &L {
        &self.layer
    }

    /// Changes the layer inside.
    pub(super) fn map<N>(self, change: impl FnOnce(L) -> N) -> FormBodyLayer<N> {
        FormBodyLayer { layer: change(self.layer), max_body_bytes: self.max_body_bytes, timeout: self.timeout }
    }
}

/// The service that [`FormBodyLayer`] makes.
#[derive(Debug, Clone)]
pub struct FormBody<S> {
    inner: S,
    max_body_bytes: usize,
    timeout: VerificationTimeout,
}

impl<S, L: Layer<S>> Layer<S> for FormBodyLayer<L> {
    type Service = FormBody<L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        FormBody { inner: self.layer.layer(inner), max_body_bytes: self.max_body_bytes, timeout: self.timeout.clone() }
    }
}

impl<S, B, ResBody> Service<Request<B>> for FormBody<S>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>, Data: Send> + From<Bytes> + Send + 'static,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<ResBody, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !may_carry_a_token(request.method(), request.headers()) {
            return ResponseFuture(Box::pin(self.inner.call(request)));
        }
        let (limit, timeout, version) = (self.max_body_bytes, self.timeout.clone(), request.version());
        let clone = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, clone);
        ResponseFuture(Box::pin(async move {
            // A client that sends its body slowly must not hold the request for ever.
            let read = timeout.limit(read_form(request, limit)).await;
            match read.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT)) {
                Ok(request) => ready.call(request).await,
                Err(status) => Ok(refusal(status, version)),
            }
        }))
    }
}

/// The future of [`FormBody`].
pub struct ResponseFuture<Body, E>(Pin<Box<dyn Future<Output = Result<Response<Body>, E>> + Send>>);

impl<Body, E> Future for ResponseFuture<Body, E> {
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl<Body, E> fmt::Debug for ResponseFuture<Body, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// True for a form in a request whose method defines a body (RFC 6750 §2.2). False if there is an `Authorization` header,
/// because such a request needs no other token.
fn may_carry_a_token(method: &Method, headers: &HeaderMap) -> bool {
    let form = headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let media_type = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        media_type.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    });
    form && !headers.contains_key(header::AUTHORIZATION) && [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// Returns the response to a request whose form was not read.
fn refusal<Body: Default>(status: StatusCode, version: Version) -> Response<Body> {
    let mut response = Response::new(Body::default());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // RFC 9110 §15.5.9: the rest of the body would still arrive on the connection. HTTP/2 ends only the stream.
    if status == StatusCode::REQUEST_TIMEOUT && version < Version::HTTP_2 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Reads the body, and returns the request with its tokens, or the status of the refusal.
async fn read_form<B>(request: Request<B>, limit: usize) -> Result<Request<B>, StatusCode>
where
    B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + From<Bytes>,
{
    let (mut parts, body) = request.into_parts();
    let body = match Limited::new(body, limit).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => return Err(StatusCode::BAD_REQUEST),
    };
    let tokens: Vec<String> = form_urlencoded::parse(&body)
        .filter(|(name, _)| name == "access_token")
        .map(|(_, value)| value.into_owned())
        .collect();
    parts.extensions.insert(FormTokens(tokens));
    Ok(Request::from_parts(parts, body.into()))
}
