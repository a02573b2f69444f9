//! Requirements as layers: scopes, a step-up of the user's authentication, and tokens that are bound to their sender.
//!
//! *In*: the token that [`OAuthLayer`](crate::OAuthLayer) put into the request. *Out*: the inner service's response, or a
//! refusal that `OAuthLayer` renders.
//!
//! For services without axum, and for scope names that are known only at run time. With axum, prefer the extractors.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{future::polled_again, refusal::unrendered_response, verified_token::verified_token};
use crate::{config_error::ConfigError, error::AuthError, scope::Scopes, step_up::StepUp, token::Token};

/// Lets requests pass whose token grants the scopes. Goes inside of [`OAuthLayer`](crate::OAuthLayer).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_oauth::testing::MockIssuer;
/// # let verifier = MockIssuer::new("https://auth.test").verifier("https://api.test");
/// use axum::{Router, routing::get};
/// use tower_oauth::{OAuthLayer, layer::require::RequireScopesLayer};
///
/// let reports: Router = Router::new()
///     .route("/reports", get(|| async { "all of them" }))
///     .layer(RequireScopesLayer::all(["reports:read", "audit"])?)
///     .layer(OAuthLayer::new(verifier)); // the last layer is the outermost
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RequireScopesLayer {
    scopes: Arc<RequiredNames>,
}

#[derive(Debug)]
struct RequiredNames {
    names: Scopes<'static>,
    /// True if one of the names is enough.
    any: bool,
}

/// The service that [`RequireScopesLayer`] makes.
#[derive(Debug, Clone)]
pub struct RequireScopes<S> {
    inner: S,
    scopes: Arc<RequiredNames>,
}

/// Lets requests pass whose user authenticated recently and strongly enough (RFC 9470). Goes inside of
/// [`OAuthLayer`](crate::OAuthLayer).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_oauth::testing::MockIssuer;
/// # let verifier = MockIssuer::new("https://auth.test").verifier("https://api.test");
/// use std::time::Duration;
///
/// use axum::{Router, routing::post};
/// use tower_oauth::{OAuthLayer, layer::require::RequireStepUpLayer, step_up::StepUp};
///
/// let recent = StepUp::builder().acr("urn:example:mfa").max_age(Duration::from_secs(300)).build()?;
/// let transfers: Router = Router::new()
///     .route("/transfers", post(|| async { "done" }))
///     .layer(RequireStepUpLayer::new(recent))
///     .layer(OAuthLayer::new(verifier)); // the last layer is the outermost
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RequireStepUpLayer {
    step_up: Arc<StepUp>,
}

/// Lets requests pass whose token is bound to a key or a certificate of their sender (RFC 9449, RFC 8705). Goes inside of
/// [`OAuthLayer`](crate::OAuthLayer). Other tokens are refused with 401, reason `constraint_required`.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_oauth::testing::MockIssuer;
/// # let verifier = MockIssuer::new("https://auth.test").verifier("https://api.test");
/// use axum::{Router, routing::post};
/// use tower_oauth::{OAuthLayer, ResourceServer, dpop::Dpop, layer::require::RequireSenderConstraintLayer};
///
/// let server = ResourceServer::builder(verifier).dpop(Dpop::new("https://api.example.com")).build()?;
/// let transfers: Router = Router::new()
///     .route("/transfers", post(|| async { "done" }))
///     .layer(RequireSenderConstraintLayer::new())
///     .layer(OAuthLayer::from_server(server)); // the last layer is the outermost
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct RequireSenderConstraintLayer;

/// The service that [`RequireSenderConstraintLayer`] makes.
#[derive(Debug, Clone)]
pub struct RequireSenderConstraint<S> {
    inner: S,
    requirement: RequireSenderConstraintLayer,
}

/// The service that [`RequireStepUpLayer`] makes.
#[derive(Debug, Clone)]
pub struct RequireStepUp<S> {
    inner: S,
    step_up: Arc<StepUp>,
}

impl RequireScopesLayer {
    /// Returns a layer that requires all of these scopes. The challenge of a refusal names all of them.
    ///
    /// # Errors
    /// The list is empty, or a name is not a scope-token (RFC 6749 §3.3).
    pub fn all<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, ConfigError> {
        Ok(Self { scopes: Arc::new(RequiredNames { names: Scopes::new(names)?, any: false }) })
    }

    /// Returns a layer that requires any one of these scopes. The challenge of a refusal names the first, or one that the
    /// first includes by the server's [`ScopeHierarchy`](crate::scope::ScopeHierarchy).
    ///
    /// # Errors
    /// The list is empty, or a name is not a scope-token (RFC 6749 §3.3).
    pub fn any<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> Result<Self, ConfigError> {
        Ok(Self { scopes: Arc::new(RequiredNames { names: Scopes::new(names)?, any: true }) })
    }
}

impl RequireStepUpLayer {
    /// Returns a layer that requires `step_up`.
    #[must_use]
    pub fn new(step_up: StepUp) -> Self {
        Self { step_up: Arc::new(step_up) }
    }
}

impl RequireSenderConstraintLayer {
    /// Returns the layer.
    #[must_use]
    pub fn new() -> Self {
        Self
    }

    #[expect(clippy::unused_self, reason = "the other requirements have settings")]
    fn check(self, token: &Token) -> Result<(), AuthError> {
        token.require_sender_constraint()
    }
}

impl RequiredNames {
    fn check(&self, token: &Token) -> Result<(), AuthError> {
        let mut names = self.names.iter();
        let granted =
            if self.any { names.any(|name| token.allows(name)) } else { names.all(|name| token.allows(name)) };
        if granted {
            return Ok(());
        }
        let names = self.names.iter();
        let alternatives: Vec<_> =
            if self.any { names.map(|name| vec![name]).collect() } else { vec![names.collect()] };
        Err(token.lacks_scopes(&alternatives))
    }
}

impl<S> Layer<S> for RequireScopesLayer {
    type Service = RequireScopes<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireScopes { inner, scopes: Arc::clone(&self.scopes) }
    }
}

impl<S> Layer<S> for RequireStepUpLayer {
    type Service = RequireStepUp<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireStepUp { inner, step_up: Arc::clone(&self.step_up) }
    }
}

impl<S> Layer<S> for RequireSenderConstraintLayer {
    type Service = RequireSenderConstraint<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireSenderConstraint { inner, requirement: *self }
    }
}

macro_rules! checks_token {
    ($($service:ident, $requirement:ident;)+) => {$(
        impl<S, B, ResBody> Service<Request<B>> for $service<S>
        where
            S: Service<Request<B>, Response = Response<ResBody>>,
            ResBody: Default,
        {
            type Response = Response<ResBody>;
            type Error = S::Error;
            type Future = ResponseFuture<S::Future>;

            fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
                self.inner.poll_ready(cx)
            }

            fn call(&mut self, request: Request<B>) -> Self::Future {
                let checked =
                    verified_token(request.extensions(), request.uri()).and_then(|token| self.$requirement.check(token));
                let progress = match checked {
                    Ok(()) => Checked::Serving { future: self.inner.call(request) },
                    Err(error) => Checked::Refused { error: Some(error) },
                };
                ResponseFuture { progress }
            }
        }
    )+};
}

checks_token! {
    RequireScopes, scopes;
    RequireStepUp, step_up;
    RequireSenderConstraint, requirement;
}

pin_project! {
    /// The future of [`RequireScopes`], [`RequireStepUp`] and [`RequireSenderConstraint`].
    pub struct ResponseFuture<F> {
        #[pin]
        progress: Checked<F>,
    }
}

pin_project! {
    #[project = CheckedProjection]
    enum Checked<F> {
        Serving { #[pin] future: F },
        Refused { error: Option<AuthError> },
    }
}

impl<F, Body, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
    Body: Default,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().progress.project() {
            CheckedProjection::Serving { future } => future.poll(cx),
            CheckedProjection::Refused { error } => match error.take() {
                Some(error) => Poll::Ready(Ok(unrendered_response(error))),
                None => polled_again(),
            },
        }
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
