//! The responses at the URL of a metadata document (RFC 9728 §3.1, §3.2).
//!
//! *In*: method and headers of the request. *Out*: the document, a response to a preflight request, or 405.
//!
//! The document is public, so pages of any origin may read it (CORS, Fetch Standard §3.3). Clients of the Model Context Protocol
//! that run in a browser send `MCP-Protocol-Version`, for which the browser sends a preflight request.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};

/// The body of a response of [`ResourceMetadata`](super::ResourceMetadata): complete, in memory.
#[derive(Debug, Clone, Default)]
pub struct MetadataBody(Option<Bytes>);

impl From<Bytes> for MetadataBody {
    fn from(bytes: Bytes) -> Self {
        Self((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for MetadataBody {
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

/// Responds to a request for `document`. `varies`: the host of the request chose the document.
pub(super) fn respond<B: From<Bytes>>(
    method: &Method,
    headers: &HeaderMap,
    document: &Bytes,
    varies: bool,
) -> Response<B> {
    let mut response = match *method {
        Method::GET => with_document(document.clone(), document.len()),
        Method::HEAD => with_document(Bytes::new(), document.len()),
        Method::OPTIONS => preflight(headers),
        _ => empty(StatusCode::METHOD_NOT_ALLOWED),
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if varies {
        // A cache behind a proxy may not have the host in its key, as nginx by default.
        headers.insert(header::VARY, HeaderValue::from_static("host"));
    }
    response
}

fn with_document<B: From<Bytes>>(body: Bytes, length: usize) -> Response<B> {
    let mut response = Response::new(body.into());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Responds to `OPTIONS`. A page may set any header, because the document is the same whatever it sets.
fn preflight<B: From<Bytes>>(request: &HeaderMap) -> Response<B> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed_headers(request));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE));
    response
}

fn empty<B: From<Bytes>>(status: StatusCode) -> Response<B> {
    let mut response = Response::new(Bytes::new().into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// Returns the header that clients of MCP set, and those that the request asks for. Only names of headers are sent back.
fn allowed_headers(request: &HeaderMap) -> HeaderValue {
    let requested = request.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let names = requested.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let names = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    let names = names.filter(|name| name.as_str().len() <= MAX_NAME_BYTES && name != MCP_PROTOCOL_VERSION);
    let mut allowed = MCP_PROTOCOL_VERSION.to_owned();
    for name in names.take(MAX_NAMES) {
        allowed.push_str(", ");
        allowed.push_str(name.as_str());
    }
    HeaderValue::try_from(allowed).unwrap_or(HeaderValue::from_static(MCP_PROTOCOL_VERSION))
}

const MCP_PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// Time for which a browser may use the response to a preflight request, in seconds: the maximum of Chromium.
const MAX_AGE: &str = "7200";
const MAX_NAMES: usize = 16;
const MAX_NAME_BYTES: usize = 64;
