//! Responses: the body, and the headers that all of them have (RFC 6749 §5.1).
//!
//! *In*: a status and a value. *Out*: a response that must not be stored, unless the caller allows it.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;

/// The body of every response: complete, in memory.
#[derive(Debug, Clone, Default)]
pub struct ResponseBody(Option<Bytes>);

impl From<Bytes> for ResponseBody {
    fn from(bytes: Bytes) -> Self {
        Self((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// Returns JSON that must not be stored (RFC 6749 §5.1).
pub(crate) fn json(status: StatusCode, members: &impl Serialize) -> Response<ResponseBody> {
    let mut response = cacheable_json(members, "no-store");
    if response.status().is_success() {
        *response.status_mut() = status;
    }
    response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// Returns JSON with this `Cache-Control`.
pub(crate) fn cacheable_json(members: &impl Serialize, cache_control: &'static str) -> Response<ResponseBody> {
    let mut body = Vec::with_capacity(USUAL_BYTES);
    // Fails for a map whose keys are not strings, and for a type of the application whose serialization fails.
    if serde_json::to_writer(&mut body, members).is_err() {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    }
    let mut response = Response::new(Bytes::from(body).into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Returns a response without a body, which must not be stored.
pub(crate) fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::default());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Most bodies are smaller.
const USUAL_BYTES: usize = 1024;
