//! [`OAuthLayer`] and its service.
//!
//! *In*: a request. *Out*: the inner service's response, or a refusal.

use std::{
    mem,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::{
    future::{ResponseFuture, WaitingFor},
    grpc,
    render::{EmptyBody, RenderBody},
    token_slot::TokenSlot,
};
use crate::{
    credentials::BearerMethod,
    error::AuthError,
    layer::{form_body::FormBodyLayer, late_refusals::PendingRecorder},
    lifetime::TokenLifetime,
    log,
    scheme::Scheme,
    server::{Anonymous, CheckedSender, ResourceServer, SenderFuture, SenderVerdict},
    token::Token,
    verify::{Verdict, Verify},
    websocket::HandshakeForm,
};

/// Protects an inner service with bearer tokens. See the [module docs](crate::layer).
///
/// `R` renders the bodies of refusals; see [`render`](Self::render).
#[doc(alias("bearer", "tonic", "middleware"))]
#[derive(Debug, Clone)]
pub struct OAuthLayer<R = EmptyBody> {
    state: LayerState<R>,
}

/// The service that [`OAuthLayer`](crate::OAuthLayer) makes.
#[derive(Debug, Clone)]
pub struct OAuth<S, R = EmptyBody> {
    inner: S,
    state: LayerState<R>,
}

/// What the service and its futures share: the server, which checks requests, and the renderer of refusals.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each one is a setting of its own")]
pub(crate) struct LayerState<R> {
    pub(super) server: ResourceServer,
    pub(super) renderer: R,
    /// True if requests without credentials pass.
    pub(super) anonymous: bool,
    /// True if a [`FormBodyLayer`] around this layer reads forms for it.
    pub(super) form: bool,
    /// True if each accepted request gets a [`TokenLifetime`].
    pub(super) lifetimes: bool,
    /// True if handlers can record refusals.
    pub(super) late_refusals: bool,
}

/// What the request decides about the form of its response.
#[derive(Debug, Clone, Copy)]
pub(super) struct ResponseMarks {
    /// A refusal becomes a gRPC status.
    pub(super) grpc: bool,
    /// Shared caches must be kept from storing the response, because they don't see that the request had a token.
    pub(super) private: bool,
    /// The identifier of the resource that the request was sent to.
    pub(super) resource: usize,
    /// The handshake of a WebSocket whose response must choose the subprotocol that the server reads tokens from.
    pub(super) websocket: Option<HandshakeForm>,
    /// The authentication scheme of the request.
    pub(super) scheme: Scheme,
    /// The client's proof has an old nonce, and the response offers a new one.
    pub(super) old_nonce: bool,
}

/// What follows the verdict about a token.
pub(super) enum CheckedRequest<B> {
    /// The inner service is called.
    Accepted(Request<B>, Option<PendingRecorder>),
    /// The check of the sender waits.
    Waiting(SenderFuture, Request<B>),
    Refused(AuthError),
}

impl OAuthLayer {
    /// Returns a layer that reads tokens from the `Authorization` header and checks them with `verifier`.
    #[must_use]
    pub fn new(verifier: impl Verify) -> Self {
        Self::from_server(ResourceServer::new(verifier))
    }

    /// Returns a layer with all settings of a [`ResourceServer`](crate::ResourceServer).
    #[must_use]
    pub fn from_server(server: ResourceServer) -> Self {
        let renderer = EmptyBody::new();
        let (anonymous, form, lifetimes, late_refusals) = (false, false, false, false);
        Self { state: LayerState { server, renderer, anonymous, form, lifetimes, late_refusals } }
    }
}

impl From<ResourceServer> for OAuthLayer {
    fn from(server: ResourceServer) -> Self {
        Self::from_server(server)
    }
}

impl<R> OAuthLayer<R> {
    /// Lets requests without any credentials pass. Credentials that are not valid are still refused.
    ///
    /// Handlers then take `Option<Token>`. A handler that takes `Token` or `Scoped<S>` still refuses anonymous requests.
    /// Responses get a `Vary` header, so that a cache doesn't serve an anonymous response to a request with credentials.
    #[must_use]
    pub fn allow_anonymous(mut self) -> Self {
        self.state.anonymous = true;
        self
    }

    /// Renders the bodies of refusals with [`ProblemJson`](crate::layer::ProblemJson), a closure, or a
    /// [`RenderBody`] of your own. A renderer can't change the status or the challenge. A closure must state the type of its
    /// argument, as in the example.
    ///
    /// Default: [`EmptyBody`](crate::layer::EmptyBody).
    ///
    /// ```
    /// # fn example(verifier: tower_oauth::JwtVerifier) {
    /// use http::HeaderValue;
    /// use tower_oauth::{OAuthLayer, layer::Refusal};
    ///
    /// let layer = OAuthLayer::new(verifier).render(|refusal: &Refusal<'_>| {
    ///     let text = format!("{}: {}\n", refusal.status(), refusal.error().description());
    ///     (HeaderValue::from_static("text/plain"), axum::body::Body::from(text))
    /// });
    /// # let _: axum::Router = axum::Router::new().layer(layer);
    /// # }
    /// ```
    #[must_use]
    pub fn render<N>(self, renderer: N) -> OAuthLayer<N> {
        let LayerState { server, anonymous, form, lifetimes, late_refusals, .. } = self.state;
        OAuthLayer { state: LayerState { server, renderer, anonymous, form, lifetimes, late_refusals } }
    }

    /// Gives each accepted request a [`TokenLifetime`], for streams and sockets that must end with their token. See
    /// [`lifetime`](crate::lifetime).
    ///
    /// The cost: each request's head and token are copied. Use it for the routes with streams only.
    #[must_use]
    pub fn token_lifetimes(mut self) -> Self {
        self.state.lifetimes = true;
        self
    }

    pub(super) fn server(&self) -> &ResourceServer {
        &self.state.server
    }

    /// Also reads `access_token` from a form body (RFC 6750 §2.2).
    ///
    /// The cost: the body of every form request without an `Authorization` header is read into memory before its token is
    /// checked. A body of more than `max_body_bytes` is refused with 413, one that is not complete within the
    /// [`verification_timeout`](crate::server::ResourceServerBuilder::verification_timeout) with 408, and one that can't be read
    /// with 400. The renderer isn't called for these responses; their bodies are empty. A further `OAuthLayer` inside of this
    /// one doesn't see the token of the form, unless it accepts form bodies too.
    #[must_use]
    pub fn accept_form_body(mut self, max_body_bytes: usize) -> FormBodyLayer<Self> {
        self.state.form = true;
        let timeout = self.state.server.timeout().clone();
        FormBodyLayer::new(self, max_body_bytes, timeout)
    }

    /// Lets handlers refuse a request from inside of a protocol of their own, such as MCP, JSON-RPC or GraphQL, with
    /// [`LateRefusals`](crate::layer::late_refusals::LateRefusals): a refusal that they record replaces their response.
    ///
    /// A recorded refusal replaces the response, whatever its status is. Of that response remain the headers that are not about
    /// its content, such as `Set-Cookie`, `Vary` and those of CORS. Removed are `Content-Type` and the other `Content-*` fields of
    /// RFC 9110 §8, `Content-Disposition`, `ETag`, `Last-Modified`, `Accept-Ranges`, `Content-Digest`, `Repr-Digest`,
    /// `Transfer-Encoding`, `Trailer`, the fields for caches (`Cache-Control`, `Expires`, `Age`), the status of gRPC, `Location`, and
    /// those that change the protocol of the connection: `Connection`, `Upgrade`, `Sec-WebSocket-*`.
    ///
    /// ```
    /// # tower_oauth::scopes! { pub Admin = "admin"; }
    /// # fn example(verifier: tower_oauth::JwtVerifier) {
    /// use axum::{Router, routing::post};
    /// use tower_oauth::{OAuthLayer, layer::late_refusals::LateRefusals};
    ///
    /// async fn call(extensions: http::Extensions) -> String {
    ///     match LateRefusals::of(&extensions).require::<Admin>() {
    ///         Ok(_) => r#"{"result": "wiped"}"#.to_owned(),
    ///         Err(error) => format!(r#"{{"error": "{}"}}"#, error.description()), // the client gets 403 instead
    ///     }
    /// }
    ///
    /// let app: Router = Router::new().route("/rpc", post(call)).layer(OAuthLayer::new(verifier).late_refusals());
    /// # }
    /// ```
    #[must_use]
    pub fn late_refusals(mut self) -> Self {
        self.state.late_refusals = true;
        self
    }
}

impl<S, R: Clone> Layer<S> for OAuthLayer<R> {
    type Service = OAuth<S, R>;

    fn layer(&self, inner: S) -> OAuth<S, R> {
        OAuth { inner, state: self.state.clone() }
    }
}

impl<S, R, B, ResBody> Service<Request<B>> for OAuth<S, R>
where
    S: Service<Request<B>, Response = Response<ResBody>> + Clone,
    R: RenderBody<ResBody> + Clone,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S, B, R>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (mut parts, body) = request.into_parts();
        // Before the verifier sees the head, so that one that prints the head shows no token.
        self.state.server.hide_credentials(&mut parts.headers);
        let form = if self.state.form { parts.extensions.get() } else { None };
        let (verdict, method) = self.state.server.verify_request(&parts, form);
        let mut marks = ResponseMarks {
            grpc: self.state.server.has_grpc_status() && grpc::is_grpc(&parts),
            private: method.is_some_and(BearerMethod::is_unknown_to_caches),
            resource: self.state.server.resource_index(&parts),
            websocket: self.state.server.websocket_to_answer(&parts, method),
            scheme: self.state.server.scheme_of(&parts.headers),
            old_nonce: false,
        };
        let request = Request::from_parts(parts, body);
        match verdict {
            Verdict::Now(verdict) => match self.state.check_request(request, verdict, &mut marks) {
                CheckedRequest::Accepted(request, recorder) => {
                    ResponseFuture::serving(self.inner.call(request), recorder, self.state.clone(), marks)
                }
                CheckedRequest::Waiting(checking, request) => self.wait(WaitingFor::Sender(checking), request, marks),
                CheckedRequest::Refused(error) => ResponseFuture::refused(error, self.state.clone(), marks),
            },
            Verdict::Later(verifying) => self.wait(WaitingFor::Verdict(verifying), request, marks),
        }
    }
}

impl<S: Clone, R: Clone> OAuth<S, R> {
    fn wait<B>(&mut self, waiting: WaitingFor, request: Request<B>, marks: ResponseMarks) -> ResponseFuture<S, B, R>
    where
        S: Service<Request<B>>,
    {
        // Keep the instance that was polled ready for this request, and leave the clone for the next one:
        // https://docs.rs/tower/latest/tower/trait.Service.html#be-careful-when-cloning-inner-services
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        ResponseFuture::waiting(waiting, request, ready, self.state.clone(), marks)
    }
}

impl<R> LayerState<R> {
    /// Checks what remains after the verdict about the token: who sent it.
    pub(super) fn check_request<B>(
        &self,
        request: Request<B>,
        verdict: Result<Token, AuthError>,
        marks: &mut ResponseMarks,
    ) -> CheckedRequest<B> {
        match verdict {
            Ok(token) if ResourceServer::must_check_sender(&token, marks.scheme) => {
                let (parts, body) = request.into_parts();
                let verdict = self.server.check_sender(token, &parts, marks.scheme);
                let request = Request::from_parts(parts, body);
                match verdict {
                    SenderVerdict::Now(sender) => self.accept_sender(request, sender, marks),
                    SenderVerdict::Later(checking) => CheckedRequest::Waiting(checking, request),
                }
            }
            verdict => self.accept_request(request, verdict),
        }
    }

    /// Accepts the request of a sender who was checked.
    pub(super) fn accept_sender<B>(
        &self,
        mut request: Request<B>,
        sender: Result<CheckedSender, AuthError>,
        marks: &mut ResponseMarks,
    ) -> CheckedRequest<B> {
        let verdict = sender.map(|mut sender| {
            marks.old_nonce = sender.old_nonce;
            sender.mark(request.extensions_mut());
            sender.token
        });
        self.accept_request(request, verdict)
    }

    /// Puts the token into the request, and where its handler can record a refusal. Refuses the request without a
    /// token.
    fn accept_request<B>(&self, mut request: Request<B>, verdict: Result<Token, AuthError>) -> CheckedRequest<B> {
        match self.server.accept(verdict) {
            Ok(token) => {
                log::request_accepted();
                if let Some(slot) = request.extensions().get::<TokenSlot>() {
                    slot.fill(&token);
                }
                if self.lifetimes {
                    request = self.with_lifetime(request, &token);
                }
                self.server.remove_websocket_tokens(&mut request);
                request.extensions_mut().insert(token);
            }
            Err(error) if self.anonymous && error.is_missing_credentials() => {
                // Another `OAuthLayer` further out may have put a token there, by a bearer method that this layer doesn't
                // accept.
                request.extensions_mut().remove::<Token>();
                request.extensions_mut().insert(Anonymous);
            }
            Err(error) => return CheckedRequest::Refused(error),
        }
        let recorder = self.late_refusals.then(|| PendingRecorder::insert_into(request.extensions_mut()));
        CheckedRequest::Accepted(request, recorder)
    }

    /// Puts the lifetime of the accepted token into the request.
    fn with_lifetime<B>(&self, request: Request<B>, token: &Token) -> Request<B> {
        let (mut parts, body) = request.into_parts();
        let form = if self.form { parts.extensions.get() } else { None };
        if let Some(lifetime) = TokenLifetime::of_request(&self.server, &parts, form, token) {
            parts.extensions.insert(lifetime);
        }
        Request::from_parts(parts, body)
    }
}
