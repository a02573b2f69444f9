//! [`ServeMetadataLayer`]: responds to requests for the metadata of the resource (RFC 9728 §3), around another layer.
//!
//! *In*: a request. *Out*: the document, if the request is for it; else the response of the inner layer.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{form_body::FormBodyLayer, future::polled_again, oauth_layer::OAuthLayer};
use crate::{
    config_error::ConfigError,
    metadata::{ProtectedResource, ResourceMetadata},
    server::ResourceServer,
    verify::Verify,
};

/// Responds to requests for the metadata of the resource, and passes all others to the layer inside. Made by
/// [`OAuthLayer::for_resource`](crate::OAuthLayer::for_resource) and
/// [`OAuthLayer::serve_metadata`](crate::OAuthLayer::serve_metadata).
#[derive(Debug, Clone)]
pub struct ServeMetadataLayer<L> {
    layer: L,
    metadata: Option<ResourceMetadata>,
}

/// The service that [`ServeMetadataLayer`] makes.
#[derive(Debug, Clone)]
pub struct ServeMetadata<S> {
    inner: S,
    metadata: Option<ResourceMetadata>,
}

impl OAuthLayer {
    /// Returns a layer that protects `resource` with `verifier`, and responds to requests for its metadata without a token. Its
    /// challenges name the URL of the metadata, and the scopes of the resource.
    ///
    /// It is short for a server with [`resource`](crate::server::ResourceServerBuilder::resource), and
    /// [`serve_metadata`](Self::serve_metadata). The layer must see the path that clients send: put it around the whole
    /// application, or see [`ResourceMetadata`] for routes inside of `Router::nest`.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_oauth::testing::MockIssuer;
    /// # let issuer = MockIssuer::new("https://auth.test").issuer();
    /// use axum::{Router, routing::get};
    /// use tower_oauth::{JwtVerifier, OAuthLayer, ProtectedResource, Token};
    ///
    /// let resource = ProtectedResource::new("https://api.example.com")?;
    /// let verifier = JwtVerifier::new(issuer, resource.identifier())?;
    /// let app: Router = Router::new()
    ///     .route("/me", get(|_: Token| async { "you" }))
    ///     .layer(OAuthLayer::for_resource(resource, verifier)?);
    /// # let _ = app;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Every mistake at once: the verifier does not accept an identifier as audience, or neither the verifier nor the resource
    /// names an authorization server.
    pub fn for_resource(
        resource: ProtectedResource,
        verifier: impl Verify,
    ) -> Result<ServeMetadataLayer<Self>, ConfigError> {
        Ok(Self::from_server(ResourceServer::builder(verifier).resource(resource).build()?).serve_metadata())
    }
}

impl<R> OAuthLayer<R> {
    /// Responds to requests for the metadata of the server's
    /// [`resource`](crate::server::ResourceServerBuilder::resource), without a token. A server without a resource has none:
    /// then every request passes on.
    #[must_use]
    pub fn serve_metadata(self) -> ServeMetadataLayer<Self> {
        let metadata = self.server().metadata().cloned();
        ServeMetadataLayer { layer: self, metadata }
    }
}

impl<R> FormBodyLayer<OAuthLayer<R>> {
    /// Like [`OAuthLayer::serve_metadata`](crate::OAuthLayer::serve_metadata). The document has the bearer method `body` too.
    #[must_use]
    pub fn serve_metadata(self) -> ServeMetadataLayer<Self> {
        let metadata = self.inner().server().metadata().cloned().map(ResourceMetadata::with_form_body);
        ServeMetadataLayer { layer: self, metadata }
    }
}

impl<R> ServeMetadataLayer<OAuthLayer<R>> {
    /// See [`OAuthLayer::allow_anonymous`](crate::OAuthLayer::allow_anonymous).
    #[must_use]
    pub fn allow_anonymous(self) -> Self {
        self.map(OAuthLayer::allow_anonymous)
    }

    /// See [`OAuthLayer::render`](crate::OAuthLayer::render).
    #[must_use]
    pub fn render<N>(self, renderer: N) -> ServeMetadataLayer<OAuthLayer<N>> {
        self.map(|layer| layer.render(renderer))
    }

    /// See [`OAuthLayer::accept_form_body`](crate::OAuthLayer::accept_form_body).
    #[must_use]
    pub fn accept_form_body(self, max_body_bytes: usize) -> ServeMetadataLayer<FormBodyLayer<OAuthLayer<R>>> {
        self.layer.accept_form_body(max_body_bytes).serve_metadata()
    }
}

impl<L> ServeMetadataLayer<L> {
    /// Replaces the layer inside by one that reads its tokens by the same bearer methods.
    pub(super) fn map<N>(self, change: impl FnOnce(L) -> N) -> ServeMetadataLayer<N> {
        ServeMetadataLayer { layer: change(self.layer), metadata: self.metadata }
    }
}

impl<S, L: Layer<S>> Layer<S> for ServeMetadataLayer<L> {
    type Service = ServeMetadata<L::Service>;

    fn layer(&self, inner: S) -> Self::Service {
        ServeMetadata { inner: self.layer.layer(inner), metadata: self.metadata.clone() }
    }
}

impl<S, B, ResBody> Service<Request<B>> for ServeMetadata<S>
where
    S: Service<Request<B>, Response = Response<ResBody>>,
    ResBody: From<Bytes>,
{
    type Response = Response<ResBody>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, ResBody>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = self.metadata.as_ref().and_then(|metadata| metadata.respond_to(&request));
        let progress = match response {
            Some(response) => Served::Metadata { response: Some(response) },
            None => Served::Passed { future: self.inner.call(request) },
        };
        ResponseFuture { progress }
    }
}

pin_project! {
    /// The future of [`ServeMetadata`].
    pub struct ResponseFuture<F, Body> {
        #[pin]
        progress: Served<F, Body>,
    }
}

pin_project! {
    #[project = ServedProjection]
    enum Served<F, Body> {
        Passed { #[pin] future: F },
        Metadata { response: Option<Response<Body>> },
    }
}

impl<F, Body, E> Future for ResponseFuture<F, Body>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().progress.project() {
            ServedProjection::Passed { future } => future.poll(cx),
            ServedProjection::Metadata { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                None => polled_again(),
            },
        }
    }
}

impl<F, Body> fmt::Debug for ResponseFuture<F, Body> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
