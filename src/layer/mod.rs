//! The layer: where a request comes in and where its answer leaves.
//!
//! *In*: any `http::Request<B>`. *Out*: the inner service's response, or a refusal with its challenge.
//!
//! It fails closed: without a verdict the inner service is not called. The [`Token`] is put into the request's
//! extensions. A refusal from further in (an extractor's, [`RequireScopes`]', a handler's `token.require()?`) is worded
//! here too, on its way out, so that every answer of a server reads alike.
//!
//! ```
//! # fn example(verifier: tower_oauth::JwtVerifier) {
//! use axum::{Router, routing::get};
//! use tower_oauth::{OAuthLayer, Token};
//!
//! let app: Router = Router::new()
//!     .route("/me", get(|token: Token| async move { token.subject().unwrap_or("a client").to_owned() }))
//!     .layer(OAuthLayer::new(verifier));
//! # }
//! ```
//!
//! Put CORS and tracing layers outside of it: a preflight request has no token, and a refusal should be seen. Put limits of
//! concurrency outside too: a request whose token waits for its issuer's keys holds what the service inside made ready.

mod form;
mod future;
mod refusal;
mod require;

use std::{
    mem,
    task::{Context, Poll},
};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use self::refusal::Anonymous;
pub use self::{
    form::{FormBody, FormBodyLayer},
    future::ResponseFuture,
    refusal::{EmptyBody, ProblemJson, RenderBody},
    require::{RequireScopes, RequireScopesFuture, RequireScopesService},
};
#[cfg(feature = "axum")]
pub(crate) use self::{refusal::unworded, require::admitted};
use crate::{
    error::AuthError,
    log,
    server::ResourceServer,
    token::Token,
    verify::{Verdict, Verify},
};

/// Protects an inner service with bearer tokens. See the [module docs](crate::layer).
#[derive(Debug, Clone)]
pub struct OAuthLayer {
    door: Door<EmptyBody>,
}

/// [`OAuthLayer`] with a body of the user's own in its refusals.
#[derive(Debug, Clone)]
pub struct RenderedOAuthLayer<R> {
    door: Door<R>,
}

/// The service that [`OAuthLayer`] makes.
#[derive(Debug, Clone)]
pub struct OAuth<S, R = EmptyBody> {
    inner: S,
    door: Door<R>,
}

/// What decides and what words.
#[derive(Debug, Clone)]
pub(crate) struct Door<R> {
    server: ResourceServer,
    renderer: R,
    anonymous: bool,
}

impl OAuthLayer {
    /// Tokens from the `Authorization` header, judged by `verifier`.
    #[must_use]
    pub fn new(verifier: impl Verify) -> Self {
        Self::with_server(ResourceServer::new(verifier))
    }

    /// With everything a [`ResourceServer`] can be told.
    #[must_use]
    pub fn with_server(server: ResourceServer) -> Self {
        Self { door: Door { server, renderer: EmptyBody::new(), anonymous: false } }
    }

    /// Lets requests without any credentials through; wrong ones are still refused.
    ///
    /// Handlers then take `Option<Token>`. One that takes `Token` or `Scoped<S>` still refuses the anonymous.
    #[must_use]
    pub fn allow_anonymous(mut self) -> Self {
        self.door.anonymous = true;
        self
    }

    /// Makes the refusals' bodies: [`ProblemJson`], or a closure. Status and challenge stay.
    ///
    /// ```
    /// # fn example(verifier: tower_oauth::JwtVerifier) {
    /// use http::HeaderValue;
    /// use tower_oauth::{AuthError, OAuthLayer};
    ///
    /// let layer = OAuthLayer::new(verifier).render(|error: &AuthError| {
    ///     (HeaderValue::from_static("text/plain"), axum::body::Body::from(error.description()))
    /// });
    /// # let _: axum::Router = axum::Router::new().layer(layer);
    /// # }
    /// ```
    #[must_use]
    pub fn render<R>(self, renderer: R) -> RenderedOAuthLayer<R> {
        let Door { server, anonymous, .. } = self.door;
        RenderedOAuthLayer { door: Door { server, renderer, anonymous } }
    }

    /// Also reads `access_token` from a form body (RFC 6750 §2.2).
    ///
    /// What it costs: the body of every form request without an `Authorization` header, up to `max_body_bytes`, is held
    /// in memory before anybody is known; larger ones are refused with 413.
    #[must_use]
    pub fn accept_form_body(self, max_body_bytes: usize) -> FormBodyLayer<Self> {
        FormBodyLayer::new(self, max_body_bytes)
    }
}

impl<R> RenderedOAuthLayer<R> {
    /// As [`OAuthLayer::allow_anonymous`].
    #[must_use]
    pub fn allow_anonymous(mut self) -> Self {
        self.door.anonymous = true;
        self
    }

    /// As [`OAuthLayer::accept_form_body`].
    #[must_use]
    pub fn accept_form_body(self, max_body_bytes: usize) -> FormBodyLayer<Self> {
        FormBodyLayer::new(self, max_body_bytes)
    }
}

impl<S> Layer<S> for OAuthLayer {
    type Service = OAuth<S>;

    fn layer(&self, inner: S) -> OAuth<S> {
        OAuth { inner, door: self.door.clone() }
    }
}

impl<S, R: Clone> Layer<S> for RenderedOAuthLayer<R> {
    type Service = OAuth<S, R>;

    fn layer(&self, inner: S) -> OAuth<S, R> {
        OAuth { inner, door: self.door.clone() }
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
        let verdict = self.door.server.judge(&parts);
        self.door.server.hide_credentials(&mut parts.headers);
        let grpc = R::EMPTY && self.door.server.answers_grpc() && refusal::is_grpc(&parts.headers);
        let request = Request::from_parts(parts, body);
        match verdict {
            Verdict::Now(verdict) => match self.door.admit(request, verdict) {
                Ok(request) => ResponseFuture::serving(self.inner.call(request), self.door.clone(), grpc),
                Err(error) => ResponseFuture::refused(error, self.door.clone(), grpc),
            },
            Verdict::Later(judging) => {
                // The instance that was polled ready must be the one that is called, so the clone stays behind:
                // https://docs.rs/tower/latest/tower/trait.Service.html#be-careful-when-cloning-inner-services
                let clone = self.inner.clone();
                let ready = mem::replace(&mut self.inner, clone);
                ResponseFuture::waiting(judging, request, ready, self.door.clone(), grpc)
            }
        }
    }
}

impl<R> Door<R> {
    /// Puts the token into the request, or turns the request away.
    fn admit<B>(&self, mut request: Request<B>, verdict: Result<Token, AuthError>) -> Result<Request<B>, AuthError> {
        match self.server.settle(verdict) {
            Ok(token) => {
                log::admitted();
                request.extensions_mut().insert(token);
                Ok(request)
            }
            Err(error) if self.anonymous && error.is_absence() => {
                // A layer further out may have read a way that is closed here.
                request.extensions_mut().remove::<Token>();
                request.extensions_mut().insert(Anonymous);
                Ok(request)
            }
            Err(error) => Err(error),
        }
    }
}
