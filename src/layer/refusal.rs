//! The response to a refused request: its status, its challenge, and a body if the renderer makes one.
//!
//! *In*: an [`AuthError`], from a verdict or in the extensions of an inner response. *Out*: the rendered response.

use http::{HeaderMap, HeaderValue, Response, header, response::Parts};

use super::{
    cache_control, grpc,
    late_refusals::remove_content_headers,
    oauth_layer::{LayerState, ResponseMarks},
    render::{Refusal, RenderBody},
};
use crate::{
    challenge::{Challenge, ChallengeParameters, ChallengeTarget},
    dpop::DPOP_NONCE,
    error::AuthError,
    log,
};

/// In a response's extensions: an extractor or handler refused the request, and the layer still has to render the refusal.
#[derive(Debug, Clone)]
pub(crate) struct UnrenderedRefusal(pub(crate) AuthError);

impl<R> LayerState<R> {
    /// Renders a refusal. `head` is the head of the response that it replaces, if the inner service made one.
    pub(super) fn refuse<Body>(&self, error: AuthError, head: Option<Parts>, marks: ResponseMarks) -> Response<Body>
    where
        R: RenderBody<Body>,
    {
        log::request_refused(&error);
        let target = ChallengeTarget { resource: marks.resource, scheme: marks.scheme };
        let challenge = self.server.challenge_for_target(&error, target);
        let rendered = self.renderer.render(&Refusal::new(&error, &challenge));
        let mut response = Response::new(rendered.body);
        if let Some(mut head) = head {
            head.headers.remove(header::CONTENT_LENGTH);
            head.headers.remove(header::CONTENT_TYPE);
            *response.headers_mut() = head.headers;
            *response.extensions_mut() = head.extensions;
        }
        *response.status_mut() = challenge.status();
        if let Some(content_type) = rendered.content_type {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        challenge.write_to(response.headers_mut());
        if marks.old_nonce {
            self.offer_nonce(response.headers_mut());
        }
        if marks.grpc && rendered.empty {
            grpc::into_grpc_status(&mut response, &error);
        }
        response.extensions_mut().insert(error);
        response
    }

    /// Renders a refusal that a handler recorded, or that an extractor or handler returned. Marks other responses as private
    /// where necessary.
    pub(super) fn finish_response<Body>(
        &self,
        mut response: Response<Body>,
        recorded: Option<AuthError>,
        marks: ResponseMarks,
    ) -> Response<Body>
    where
        R: RenderBody<Body>,
    {
        if recorded.is_some() {
            remove_content_headers(response.headers_mut());
        }
        let returned = response.extensions_mut().remove().map(|UnrenderedRefusal(error)| error);
        if let Some(error) = recorded.or(returned) {
            let (head, _) = response.into_parts();
            return self.refuse(error, Some(head), marks);
        }
        if self.anonymous {
            // A cache must not serve the response to an anonymous request to a request with credentials.
            for name in self.server.credential_headers() {
                response.headers_mut().append(header::VARY, HeaderValue::from(name.clone()));
            }
        }
        if marks.websocket.is_some_and(|form| form.is_opened_by(response.status())) {
            self.server.choose_websocket_protocol(response.headers_mut());
        }
        if marks.private {
            cache_control::mark_private(response.headers_mut());
        }
        if marks.old_nonce {
            self.offer_nonce(response.headers_mut());
        }
        response
    }

    /// Gives the client a nonce for its next proof. A cache must not give it to others (RFC 9449 §8.2).
    fn offer_nonce(&self, headers: &mut HeaderMap) {
        if let Some(nonce) = self.server.dpop_nonce() {
            headers.insert(DPOP_NONCE, nonce);
            headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        }
    }
}

/// Returns a refusal that no layer has rendered yet. It is complete, and has the error in its extensions, so that
/// an `OAuthLayer` further out renders it.
pub(crate) fn unrendered_response<Body: Default>(error: AuthError) -> Response<Body> {
    let challenge = Challenge::new(&error, &ChallengeParameters::default());
    let mut response = Response::new(Body::default());
    *response.status_mut() = challenge.status();
    challenge.write_to(response.headers_mut());
    response.extensions_mut().insert(UnrenderedRefusal(error));
    response
}
