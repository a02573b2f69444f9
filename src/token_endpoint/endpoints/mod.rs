//! Finds the endpoint of a request, and responds.
//!
//! *In*: a request to any path. *Out*: the endpoint's response; 404 for an unknown path.
//!
//! Each endpoint has a submodule, except the key set and the metadata. The authorization endpoint is a page of the
//! application, which calls `authorize`.

pub(crate) mod authorization_error;
pub(crate) mod authorize;
pub(crate) mod customize;
pub(crate) mod introspect;
pub(crate) mod issue;
mod new_session;
mod requested_access;
pub(crate) mod revoke;
pub(crate) mod token;
mod token_claims;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, Uri, header, request::Parts};
use http_body::Body;

use self::customize::Customize;
use super::{
    client::{
        Client,
        authenticate::{Authenticated, Authenticator, used_assertion},
    },
    events::Event,
    grant::{ErasedGrant, RefreshTokenGrant},
    http::{
        cors::{Cors, Page, Readers},
        error::{TokenError, TokenErrorKind},
        request::{Bodies, Parameters},
        response::{ResponseBody, cacheable_json, empty},
    },
    once::OnceValue,
    proofs::EndpointDpop,
    services::Services,
    signer::Signer,
};
use crate::{log, mutual_tls::MutualTls};

/// Everything that the clones of one [`TokenEndpoint`](super::TokenEndpoint) share.
pub(crate) struct ServerState {
    pub(crate) issuer: String,
    pub(crate) paths: EndpointPaths,
    pub(crate) services: Services,
    pub(crate) authenticator: Authenticator,
    pub(crate) signer: Signer,
    pub(crate) grants: Vec<Box<dyn ErasedGrant>>,
    pub(crate) bodies: Bodies,
    pub(crate) cors: Cors,
    /// Lifetime of access tokens, unless the client has its own.
    pub(crate) lifetime: Duration,
    /// The application's hook for the content of tokens.
    pub(crate) customize: Option<Customize>,
    /// The metadata document, as JSON.
    pub(crate) metadata: Bytes,
    /// URL of the application's own page, if authorization codes are offered.
    pub(crate) authorization_endpoint: Option<String>,
    /// The lifetimes of refresh tokens, if they are offered.
    pub(crate) refresh: Option<RefreshTokenGrant>,
    /// How proofs are checked, if tokens can be bound to a key.
    pub(crate) dpop: Option<EndpointDpop>,
    /// Where the client's certificate is, if tokens can be bound to it.
    pub(crate) mutual_tls: Option<MutualTls>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Token,
    Introspect,
    Revoke,
    Jwks,
    Metadata,
}

/// What is published at `/.well-known/openid-configuration`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OpenIdConfiguration {
    NotFound,
    Metadata,
}

/// What the router has left of the path of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mount {
    Whole,
    Nested,
}

/// The paths of the endpoints.
pub(crate) struct EndpointPaths {
    /// The issuer's own path, without a slash at its end.
    base: String,
    paths: Vec<(Endpoint, String)>,
}

/// A request whose client is authenticated.
pub(crate) struct ClientRequest {
    pub(crate) client: Arc<Client>,
    /// The `jti` of the client's assertion, which the request uses up unless it fails with 503.
    pub(crate) assertion: OnceValue,
    pub(crate) parameters: Parameters,
}

impl ServerState {
    pub(crate) async fn respond<B>(self: Arc<Self>, parts: Parts, body: B, mount: Mount) -> Response<ResponseBody>
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let Some(endpoint) = self.find(parts.uri.path(), mount) else { return empty(StatusCode::NOT_FOUND) };
        let mut page = self.cors.page(endpoint.readers(), &parts.headers);
        if parts.method == Method::OPTIONS {
            return page.respond_to_options(endpoint.allow());
        }
        let response = if endpoint.allows(&parts.method) {
            self.handle(endpoint, &parts, body, &mut page).await.unwrap_or_else(TokenError::into_response)
        } else {
            endpoint.refuse_method()
        };
        page.add_to(response)
    }

    fn find(&self, path: &str, mount: Mount) -> Option<Endpoint> {
        match mount {
            Mount::Whole => {
                let found = self.paths.find(path);
                if found.is_none() && self.paths.find_nested(path).is_some() {
                    log::path_removed(&self.paths.base);
                }
                found
            }
            Mount::Nested => self.paths.find_nested(path),
        }
    }

    async fn handle<B>(
        &self,
        endpoint: Endpoint,
        parts: &Parts,
        body: B,
        page: &mut Page<'_>,
    ) -> Result<Response<ResponseBody>, TokenError>
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        match endpoint {
            Endpoint::Token | Endpoint::Introspect | Endpoint::Revoke => {
                let request = self.client_request(parts, body).await.inspect_err(|error| {
                    self.services.emit(&Event::refused(error));
                })?;
                page.set_client(&request.client);
                let answer = match endpoint {
                    Endpoint::Introspect => self.introspect(&request).await,
                    Endpoint::Revoke => self.revoke(&request).await,
                    _ => self.token(&request, parts).await,
                };
                self.finish(&request, answer).await.inspect_err(|error| {
                    self.services.emit(&Event { client_id: Some(request.client.id()), ..Event::refused(error) });
                })
            }
            Endpoint::Jwks => Ok(cacheable_json(&self.signer.key_set(&self.services).await, CACHEABLE)),
            Endpoint::Metadata => Ok(self.metadata()),
        }
    }

    /// Reads a request and authenticates its client.
    async fn client_request<B>(&self, parts: &Parts, body: B) -> Result<ClientRequest, TokenError>
    where
        B: Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>>,
    {
        let (headers, peer) = (&parts.headers, parts.extensions.get());
        let parameters = Parameters::from_body(headers, body, self.bodies, &*self.services.clock).await?;
        let Authenticated { client, assertion } =
            self.authenticator.authenticate(&self.services, headers, peer, &parameters).await?;
        Ok(ClientRequest { client, assertion: OnceValue::new(assertion, used_assertion), parameters })
    }

    /// Uses up the client assertion of a refused request, too. One that failed with 503 can be repeated with it, unless a step
    /// has used it up.
    async fn finish(
        &self,
        request: &ClientRequest,
        answer: Result<Response<ResponseBody>, TokenError>,
    ) -> Result<Response<ResponseBody>, TokenError> {
        let Err(error) = answer else { return answer };
        let failed = match error.kind() {
            TokenErrorKind::Unavailable => error,
            _ => self.use_up(&request.assertion).await.err().unwrap_or(error),
        };
        Err(if request.assertion.was_used() { failed.without_retry() } else { failed })
    }

    fn metadata(&self) -> Response<ResponseBody> {
        let mut response = Response::new(self.metadata.clone().into());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHEABLE));
        response
    }

    /// Returns the settings of refresh tokens, if this client may have any.
    pub(crate) fn refresh_tokens(&self, client: &Client) -> Option<&RefreshTokenGrant> {
        self.refresh.as_ref().filter(|_| client.may_use("refresh_token"))
    }

    /// Returns the maximum lifetime of a session.
    pub(crate) fn session_lifetime(&self, client: &Client) -> Duration {
        let access = client.lifetime.unwrap_or(self.lifetime);
        self.refresh_tokens(client).map_or(access, |refresh| refresh.absolute)
    }
}

impl Endpoint {
    fn allows(self, method: &Method) -> bool {
        match self {
            Self::Token | Self::Introspect | Self::Revoke => method == Method::POST,
            Self::Jwks | Self::Metadata => method == Method::GET || method == Method::HEAD,
        }
    }

    /// Returns `Allow` (RFC 9110 §10.2.1).
    fn allow(self) -> &'static str {
        match self {
            Self::Token | Self::Introspect | Self::Revoke => "POST, OPTIONS",
            Self::Jwks | Self::Metadata => "GET, HEAD, OPTIONS",
        }
    }

    /// Returns which web pages may read its responses.
    fn readers(self) -> Readers {
        match self {
            Self::Jwks | Self::Metadata => Readers::All,
            Self::Token | Self::Revoke => Readers::Clients,
            Self::Introspect => Readers::Apis,
        }
    }

    /// Responds to a method that the endpoint doesn't allow.
    fn refuse_method(self) -> Response<ResponseBody> {
        let mut response = match self {
            // RFC 6749 §5.2: the request is malformed.
            Self::Token | Self::Introspect | Self::Revoke => {
                TokenError::new(TokenErrorKind::InvalidRequest, "The request method must be POST").into_response()
            }
            Self::Jwks | Self::Metadata => empty(StatusCode::METHOD_NOT_ALLOWED),
        };
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(self.allow()));
        response
    }
}

impl EndpointPaths {
    /// Returns the paths below the issuer's own path. The well-known path of the metadata precedes it (RFC 8414 §3.1).
    pub(crate) fn new(issuer: &str, openid_configuration: OpenIdConfiguration) -> Self {
        let uri: Uri = issuer.parse().unwrap_or_default();
        let base = uri.path().trim_end_matches('/').to_owned();
        let mut paths = vec![
            (Endpoint::Token, format!("{base}/token")),
            (Endpoint::Introspect, format!("{base}/introspect")),
            (Endpoint::Revoke, format!("{base}/revoke")),
            (Endpoint::Jwks, format!("{base}/jwks.json")),
            (Endpoint::Metadata, format!("/.well-known/oauth-authorization-server{base}")),
        ];
        if openid_configuration == OpenIdConfiguration::Metadata {
            paths.push((Endpoint::Metadata, format!("/.well-known/openid-configuration{base}")));
            // OpenID Connect Discovery §4 appends the path. Without a path of the issuer, both forms are equal.
            if !base.is_empty() {
                paths.push((Endpoint::Metadata, format!("{base}/.well-known/openid-configuration")));
            }
        }
        Self { base, paths }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(|(_, path)| path.as_str())
    }

    fn find(&self, path: &str) -> Option<Endpoint> {
        self.paths.iter().find(|(_, other)| other == path).map(|(endpoint, _)| *endpoint)
    }

    /// Finds the endpoint of a request from which a router has removed the issuer's own path.
    fn find_nested(&self, path: &str) -> Option<Endpoint> {
        let is_it = |other: &str| other.strip_prefix(&self.base) == Some(path);
        self.paths.iter().find(|(_, other)| is_it(other)).map(|(endpoint, _)| *endpoint)
    }
}

/// `Cache-Control` of the key set and the metadata: five minutes.
const CACHEABLE: &str = "public, max-age=300";
