//! [`ServeMetadataLayer`]: responds to requests for the metadata of the resource (RFC 9728 §3), around another layer.
//!
//! *In*: a request. *Out*: the document, if the request is for it; else the response of the inner layer.

use std::{
    fmt,
    panic::Location,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{form_body::FormBodyLayer, future::polled_again, oauth_layer::OAuthLayer};
use crate::{
    config_error::ConfigError,
    log,
    metadata::{MetadataBody, ProtectedResource, ResourceMetadata},
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
    /// [`serve_metadata`](Self::serve_metadata). The layer must see each request, with the path that clients send, so put it around
    /// the whole application. In these places it doesn't: inside of `Router::nest`, which cuts the prefix off the path; in
    /// `Router::route_layer`, which is called for matched routes only, so the document is 404; on one of two routers that
    /// `Router::merge` joins, because axum keeps the fallback of only one of them, with its layers; and around one service of a tonic
    /// server. There, make the document a route of the outermost router: `route_service(path, metadata)`, see [`ResourceMetadata`].
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
    /// [`resource`](crate::server::ResourceServerBuilder::resource), without a token. A server without a resource has none: then every
    /// request passes on, and a warning in the log names the place of this call.
    ///
    /// For the places that the layer can stand in, see [`for_resource`](crate::OAuthLayer::for_resource).
    #[must_use]
    #[track_caller]
    pub fn serve_metadata(self) -> ServeMetadataLayer<Self> {
        let metadata = resource_metadata(self.server(), Location::caller());
        ServeMetadataLayer { layer: self, metadata }
    }
}

impl<R> FormBodyLayer<OAuthLayer<R>> {
    /// Like [`OAuthLayer::serve_metadata`](crate::OAuthLayer::serve_metadata). The document has the bearer method `body` too.
    #[must_use]
    #[track_caller]
    pub fn serve_metadata(self) -> ServeMetadataLayer<Self> {
        let metadata = resource_metadata(self.inner().server(), Location::caller());
        let metadata = metadata.map(ResourceMetadata::with_form_body);
        ServeMetadataLayer { layer: self, metadata }
    }
}

impl<R> ServeMetadataLayer<OAuthLayer<R>> {
    /// See [`OAuthLayer::accept_form_body`](crate::OAuthLayer::accept_form_body).
    #[must_use]
    pub fn accept_form_body(self, max_body_bytes: usize) -> ServeMetadataLayer<FormBodyLayer<OAuthLayer<R>>> {
        let metadata = self.metadata.map(ResourceMetadata::with_form_body);
        ServeMetadataLayer { layer: self.layer.accept_form_body(max_body_bytes), metadata }
    }
}

impl<L> ServeMetadataLayer<L> {
    /// Replaces the layer inside by one that reads its tokens by the same bearer methods.
    pub(super) fn map<N>(self, change: impl FnOnce(L) -> N) -> ServeMetadataLayer<N> {
        ServeMetadataLayer { layer: change(self.layer), metadata: self.metadata }
    }
}

/// Returns the metadata of the server, or reports that it has none.
fn resource_metadata(server: &ResourceServer, caller: &Location<'_>) -> Option<ResourceMetadata> {
    let metadata = server.metadata().cloned();
    if metadata.is_none() {
        log::no_metadata_to_serve(caller);
    }
    metadata
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
{
    type Response = Response<ServedBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, uri, headers) = (request.method(), request.uri(), request.headers());
        let response = self.metadata.as_ref().and_then(|metadata| metadata.respond_to(method, uri, headers));
        let progress = match response {
            Some(response) => Served::Metadata { response: Some(response) },
            None => Served::Passed { future: self.inner.call(request) },
        };
        ResponseFuture { progress }
    }
}

pin_project! {
    /// The future of [`ServeMetadata`].
    pub struct ResponseFuture<F> {
        #[pin]
        progress: Served<F>,
    }
}

pin_project! {
    #[project = ServedProjection]
    enum Served<F> {
        Passed { #[pin] future: F },
        Metadata { response: Option<Response<MetadataBody>> },
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<ServedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().progress.project() {
            ServedProjection::Passed { future } => {
                let response = ready!(future.poll(cx))?;
                Poll::Ready(Ok(response.map(|body| ServedBody { content: Content::Inner { body } })))
            }
            ServedProjection::Metadata { response } => match response.take() {
                Some(response) => {
                    Poll::Ready(Ok(response.map(|body| ServedBody { content: Content::Metadata { body } })))
                }
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

pin_project! {
    /// The body of a response of [`ServeMetadata`]: a document, or the body `B` of the inner service. So no body type has to be
    /// made of a document, and the layer works with the bodies of axum, hyper and tonic alike.
    #[derive(Debug)]
    pub struct ServedBody<B> {
        #[pin]
        content: Content<B>,
    }
}

pin_project! {
    #[project = ContentProjection]
    #[derive(Debug)]
    enum Content<B> {
        Inner { #[pin] body: B },
        Metadata { body: MetadataBody },
    }
}

impl<B: Default> Default for ServedBody<B> {
    fn default() -> Self {
        Self { content: Content::Inner { body: B::default() } }
    }
}

impl<B: Body<Data: From<Bytes>>> Body for ServedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        match self.project().content.project() {
            ContentProjection::Inner { body } => body.poll_frame(cx),
            ContentProjection::Metadata { body } => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                let frame = frame.map(|frame| frame.unwrap_or_else(|never| match never {}));
                Poll::Ready(frame.map(|frame| Ok(frame.map_data(Into::into))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Inner { body } => body.is_end_stream(),
            Content::Metadata { body } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Inner { body } => body.size_hint(),
            Content::Metadata { body } => body.size_hint(),
        }
    }
}
