//! [`ResourceMetadata`]: the metadata documents of a server, and which of them a request gets.
//!
//! *In*: a [`ProtectedResource`], and what the server enforces. *Out*: documents (RFC 9728 §2), and the responses at their URLs.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    iter::once,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use serde_json::{Map, Value};
use tower_service::Service;

use super::{
    identifier::{ResourceIdentifier, WELL_KNOWN},
    protected_resource::ProtectedResource,
    response::{MetadataBody, respond},
};
use crate::{
    challenge::QuotedText,
    config_error::{ConfigError, ConfigMistake, MistakeCollector},
    error::quoted_list,
    jws::Algorithm,
    scope::Scopes,
    url::is_issuer_url,
};

/// The metadata documents of a [`ResourceServer`](crate::ResourceServer), one for each identifier of its
/// [`ProtectedResource`](crate::ProtectedResource). Cheap to clone.
///
/// It is a tower service that responds to requests for a document, and with 404 to all others. No request needs a token, and
/// any web page may read the responses (CORS).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use tower_oauth::testing::MockIssuer;
/// # let issuer = MockIssuer::new("https://auth.test").issuer();
/// use axum::{Router, routing::get};
/// use tower_oauth::{JwtVerifier, OAuthLayer, ProtectedResource, ResourceServer, Token};
///
/// let resource = ProtectedResource::new("https://api.example.com/orders")?;
/// let verifier = JwtVerifier::new(issuer, resource.identifier())?;
/// let server = ResourceServer::builder(verifier).resource(resource).build()?;
/// let mut app = Router::new();
/// if let Some(metadata) = server.metadata() {
///     for path in metadata.paths() {
///         app = app.route_service(path, metadata.clone());
///     }
/// }
/// let orders = Router::new().route("/", get(|_: Token| async { "[]" })).layer(OAuthLayer::from_server(server));
/// let app: Router = app.nest("/orders", orders);
/// # let _ = app;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ResourceMetadata {
    documents: Arc<ResourceDocuments>,
}

#[derive(Debug, Clone)]
struct ResourceDocuments {
    first: ResourceDocument,
    also: Vec<ResourceDocument>,
}

#[derive(Debug, Clone)]
struct ResourceDocument {
    identifier: ResourceIdentifier,
    members: Map<String, Value>,
    body: Bytes,
}

/// What the server enforces, from which members of the documents are derived.
#[derive(Debug)]
pub(crate) struct EnforcedSettings<'s> {
    /// Those that the verifier names.
    pub(crate) issuers: Vec<String>,
    /// Those that the verifier accepts. `None`: not known.
    pub(crate) audiences: Option<Vec<String>>,
    pub(crate) bearer_methods: Vec<&'static str>,
    /// `scope` of the challenges.
    pub(crate) scopes: Option<&'s Scopes<'static>>,
    /// The accepted algorithms of proofs. `None`: the server checks no proofs.
    pub(crate) proof_algorithms: Option<Vec<Algorithm>>,
    /// True if every token must be bound to a key.
    pub(crate) proofs_required: bool,
    /// True if the server accepts tokens that are bound to certificates.
    pub(crate) certificates: bool,
}

impl ResourceMetadata {
    /// Makes the documents of `resource`.
    ///
    /// # Errors
    /// Every mistake at once: an identifier that the verifier does not accept as audience, or no authorization server.
    pub(crate) fn new(resource: &ProtectedResource, enforced: &EnforcedSettings<'_>) -> Result<Self, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        for identifier in resource.identifiers() {
            mistakes.check(check_audience(identifier, enforced.audiences.as_deref()));
        }
        let members = mistakes.check(derived_members(resource, enforced));
        mistakes.finish()?;
        let members = members.unwrap_or_default();
        let document = |identifier: &ResourceIdentifier| ResourceDocument::new(identifier.clone(), members.clone());
        let first = document(&resource.identifier);
        let also = resource.also.iter().map(document).collect();
        Ok(Self { documents: Arc::new(ResourceDocuments { first, also }) })
    }

    /// Returns the documents with the bearer method `body`, for a server whose layer
    /// [reads forms](crate::OAuthLayer::accept_form_body).
    #[must_use]
    pub fn with_form_body(mut self) -> Self {
        let documents = Arc::make_mut(&mut self.documents);
        once(&mut documents.first).chain(&mut documents.also).for_each(ResourceDocument::add_form_body);
        self
    }

    /// Returns the path of the document of the first identifier, such as `/.well-known/oauth-protected-resource/mcp`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.documents.first.identifier.metadata_path()
    }

    /// Returns the paths of all documents, each path once.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let mut paths: Vec<&str> = self.documents().map(|document| document.identifier.metadata_path()).collect();
        paths.sort_unstable();
        paths.dedup();
        paths.into_iter()
    }

    /// Returns the response to a request for a document, whatever its method. `None` if the request is for something else. The
    /// arguments are those of a `Request` or of its `Parts`.
    #[must_use]
    pub fn respond_to<Body: From<Bytes>>(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Option<Response<Body>> {
        // Most requests end here.
        if !uri.path().starts_with(WELL_KNOWN) {
            return None;
        }
        let document = self.document(self.index_for(uri, headers));
        if !document.identifier.has_metadata_at(uri) {
            return None;
        }
        Some(respond(method, headers, &document.body, !self.documents.also.is_empty()))
    }

    /// Returns the index of the identifier that the request was sent to. 0 if it was sent to none of them.
    pub(crate) fn index_for(&self, uri: &Uri, headers: &HeaderMap) -> usize {
        if self.documents.also.is_empty() {
            return 0;
        }
        let addressed = |document: &ResourceDocument| document.identifier.is_addressed_by(uri, headers);
        self.documents().position(addressed).unwrap_or(0)
    }

    /// Returns the URLs of the documents in the order of the identifiers.
    pub(crate) fn urls(&self) -> impl Iterator<Item = &QuotedText> {
        self.documents().map(|document| document.identifier.metadata_url())
    }

    fn document(&self, index: usize) -> &ResourceDocument {
        let also = index.checked_sub(1).and_then(|index| self.documents.also.get(index));
        also.unwrap_or(&self.documents.first)
    }

    fn documents(&self) -> impl Iterator<Item = &ResourceDocument> {
        once(&self.documents.first).chain(&self.documents.also)
    }
}

impl<B> Service<Request<B>> for ResourceMetadata {
    type Response = Response<MetadataBody>;
    type Error = Infallible;
    type Future = Ready<Result<Response<MetadataBody>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let response = self.respond_to(request.method(), request.uri(), request.headers()).unwrap_or_else(|| {
            let mut response = Response::new(MetadataBody::default());
            *response.status_mut() = StatusCode::NOT_FOUND;
            response
        });
        ready(Ok(response))
    }
}

impl ResourceDocument {
    fn new(identifier: ResourceIdentifier, mut members: Map<String, Value>) -> Self {
        members.insert("resource".to_owned(), identifier.as_str().into());
        let body = Bytes::from(Value::Object(members.clone()).to_string());
        Self { identifier, members, body }
    }

    fn add_form_body(&mut self) {
        if let Some(Value::Array(methods)) = self.members.get_mut(BEARER_METHODS)
            && !methods.iter().any(|method| method == "body")
        {
            methods.push("body".into());
            self.body = Bytes::from(Value::Object(self.members.clone()).to_string());
        }
    }
}

/// Checks that the verifier accepts tokens for this identifier. Otherwise each client that follows the document gets 401.
fn check_audience(identifier: &str, audiences: Option<&[String]>) -> Result<(), ConfigMistake> {
    let Some(audiences) = audiences.filter(|audiences| !audiences.iter().any(|audience| audience == identifier)) else {
        return Ok(());
    };
    let accepted = match audiences {
        [] => "nor any other: two verifiers that must both accept a token may have no audience in common".to_owned(),
        _ => format!("but {}", quoted_list(audiences.iter().map(String::as_str))),
    };
    let found = format!("the verifier does not accept {identifier:?} as audience, {accepted}");
    Err(ConfigMistake::new("resource", found, "give the verifier each identifier of the resource as audience"))
}

/// Returns the members that all documents of a resource share. Empty lists are left out (RFC 9728 §3.2).
fn derived_members(
    resource: &ProtectedResource,
    enforced: &EnforcedSettings<'_>,
) -> Result<Map<String, Value>, ConfigMistake> {
    let mut members = resource.texts.clone();
    // An issuer of another form, such as a name, is not one that a client can look up (RFC 8414 §2).
    let issuers = enforced.issuers.iter().filter(|issuer| is_issuer_url(issuer)).map(String::as_str);
    let servers = match &resource.authorization_servers[..] {
        [] => distinct(issuers),
        configured => distinct(configured.iter().map(String::as_str)),
    };
    if servers.is_empty() {
        let found = "the verifier names no issuer with a URL";
        return Err(ConfigMistake::new("resource", found, "name the authorization servers with authorization_server"));
    }
    members.insert("authorization_servers".to_owned(), servers.into());
    members.insert(BEARER_METHODS.to_owned(), enforced.bearer_methods.clone().into());
    let lists = [enforced.scopes, resource.further_scopes.as_ref()];
    let scopes = distinct(lists.into_iter().flatten().flat_map(Scopes::iter));
    if !scopes.is_empty() {
        members.insert("scopes_supported".to_owned(), scopes.into());
    }
    if let Some(algorithms) = &enforced.proof_algorithms {
        let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        members.insert("dpop_signing_alg_values_supported".to_owned(), names.into());
    }
    // Both are false if they are absent (RFC 9728 §2).
    let enabled = [
        ("dpop_bound_access_tokens_required", enforced.proofs_required),
        ("tls_client_certificate_bound_access_tokens", enforced.certificates),
    ];
    for (name, _) in enabled.into_iter().filter(|(_, enabled)| *enabled) {
        members.insert(name.to_owned(), true.into());
    }
    Ok(members)
}

/// Returns the texts in their order, each once.
fn distinct<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut distinct = Vec::new();
    for text in texts {
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    }
    distinct
}

const BEARER_METHODS: &str = "bearer_methods_supported";
