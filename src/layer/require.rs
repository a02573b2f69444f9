//! [`RequireScopes`]: scopes without axum, or with names known at run time only.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::refusal::{Anonymous, unworded};
use crate::{
    error::{AuthError, ConfigError, Reason},
    scope::Scopes,
    token::Token,
};

/// Lets requests through whose token grants the scopes. Goes inside of [`OAuthLayer`](crate::OAuthLayer).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_oauth::testing::MockIssuer;
/// # let verifier = MockIssuer::new("https://auth.test").verifier("https://api.test");
/// use axum::{Router, routing::get};
/// use tower_oauth::{OAuthLayer, RequireScopes};
///
/// let reports: Router = Router::new()
///     .route("/reports", get(|| async { "all of them" }))
///     .layer(RequireScopes::all(["reports:read", "audit"])?)
///     .layer(OAuthLayer::new(verifier)); // the last layer is the outermost
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RequireScopes {
    needed: Scopes<'static>,
    any: bool,
}

/// The service that [`RequireScopes`] makes.
#[derive(Debug, Clone)]
pub struct RequireScopesService<S> {
    inner: S,
    require: RequireScopes,
}

impl RequireScopes {
    /// All of these scopes.
    ///
    /// # Errors
    /// No name, or one that is not a scope-token (RFC 6749 §3.3).
    pub fn all<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, ConfigError> {
        Ok(Self { needed: Scopes::new(names)?, any: false })
    }

    /// Any one of these scopes.
    ///
    /// # Errors
    /// No name, or one that is not a scope-token (RFC 6749 §3.3).
    pub fn any<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, ConfigError> {
        Ok(Self { needed: Scopes::new(names)?, any: true })
    }

    fn check(&self, extensions: &http::Extensions) -> Result<(), AuthError> {
        let token = admitted(extensions)?;
        let mut names = self.needed.iter();
        let enough = if self.any { names.any(|name| token.allows(name)) } else { names.all(|name| token.allows(name)) };
        if enough { Ok(()) } else { Err(AuthError::insufficient_scope(self.needed.clone())) }
    }
}

/// The token that the layer put there. Fails closed: no layer, no token.
pub(crate) fn admitted(extensions: &http::Extensions) -> Result<&Token, AuthError> {
    match extensions.get::<Token>() {
        Some(token) => Ok(token),
        None if extensions.get::<Anonymous>().is_some() => Err(Reason::NoCredentials.into()),
        None => Err(Reason::MissingLayer.into()),
    }
}

impl<S> Layer<S> for RequireScopes {
    type Service = RequireScopesService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireScopesService { inner, require: self.clone() }
    }
}

impl<S, B, ResBody> Service<Request<B>> for RequireScopesService<S>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = RequireScopesFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let state = match self.require.check(request.extensions()) {
            Ok(()) => State::Serving { future: self.inner.call(request) },
            Err(error) => State::Refused { error: Some(error) },
        };
        RequireScopesFuture { state }
    }
}

pin_project! {
    /// The future of [`RequireScopesService`].
    pub struct RequireScopesFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        Serving { #[pin] future: F },
        Refused { error: Option<AuthError> },
    }
}

impl<F, Body, E> Future for RequireScopesFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
    Body: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Serving { future } => Poll::Ready(ready!(future.poll(cx))),
            StateProjection::Refused { error } => {
                error.take().map_or(Poll::Pending, |error| Poll::Ready(Ok(unworded(error))))
            }
        }
    }
}

impl<F> fmt::Debug for RequireScopesFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireScopesFuture").finish_non_exhaustive()
    }
}
