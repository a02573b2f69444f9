//! The settings of a [`ResourceServer`].
//!
//! *In*: a verifier and settings. *Out*: a server, or every mistake in the settings.

use std::{fmt, sync::Arc, time::Duration};

use http::{HeaderName, header};

use super::{
    ResourceServer,
    resource_server::{ServerInner, VerificationTimeout},
    sender::SenderChecks,
    sender_settings::SenderSettings,
};
use crate::{
    challenge::{ChallengeParameters, QuotedText, SchemeChallenge, is_http_token},
    clock::Clock,
    config_error::{ConfigError, ConfigMistake, MistakeCollector},
    credentials::AcceptedMethods,
    metadata::{EnforcedSettings, ProtectedResource, ResourceMetadata},
    scope::{ScopeHierarchy, Scopes},
    url::{PlainHttp, check_origin, check_resolvable_identifier},
    verify::Verify,
};

/// Builder for a [`ResourceServer`](crate::ResourceServer). [`build`](Self::build) reports every mistake at once.
#[must_use]
pub struct ResourceServerBuilder {
    verifier: Arc<dyn Verify>,
    accepted: AcceptedMethods,
    hierarchy: ScopeHierarchy,
    realm: Option<String>,
    resource: Option<ProtectedResource>,
    resource_metadata: Option<String>,
    scopes: Option<Scopes<'static>>,
    other_schemes: Vec<SchemeChallenge>,
    header: Option<String>,
    grpc: bool,
    timeout: VerificationTimeout,
    pub(super) sender: SenderSettings,
}

impl ResourceServerBuilder {
    pub(super) fn new(verifier: impl Verify) -> Self {
        Self {
            verifier: Arc::new(verifier),
            accepted: AcceptedMethods::default(),
            hierarchy: ScopeHierarchy::new(),
            realm: None,
            resource: None,
            resource_metadata: None,
            scopes: None,
            other_schemes: Vec::new(),
            header: None,
            grpc: false,
            timeout: VerificationTimeout::default(),
            sender: SenderSettings::default(),
        }
    }

    /// `realm` of the challenges (RFC 9110 §11.5). Default: `api`.
    pub fn realm(self, realm: impl Into<String>) -> Self {
        Self { realm: Some(realm.into()), ..self }
    }

    /// `scope` of the challenges to requests without a valid token: the scopes that a client should request. Default: those of
    /// the [`resource`](Self::resource), else none.
    pub fn scopes(self, scopes: Scopes<'static>) -> Self {
        Self { scopes: Some(scopes), ..self }
    }

    /// The resource that this server protects (RFC 9728). Its metadata document is derived from it, from the verifier and from
    /// the accepted bearer methods; `resource_metadata` and `scope` of the challenges are those of the resource. Default: none.
    ///
    /// Any client can read the document without a token. It lists all issuers that the verifier trusts, also internal ones;
    /// [`authorization_server`](crate::metadata::ProtectedResourceBuilder::authorization_server) replaces that list.
    ///
    /// [`OAuthLayer::serve_metadata`](crate::OAuthLayer::serve_metadata) or [`ResourceServer::metadata`] responds to requests for
    /// the document.
    ///
    /// ```
    /// # fn main() -> Result<(), tower_oauth::ConfigError> {
    /// # use tower_oauth::testing::MockIssuer;
    /// # let issuer = MockIssuer::new("https://auth.test").issuer();
    /// use tower_oauth::{JwtVerifier, OAuthLayer, ProtectedResource, ResourceServer, layer::ProblemJson};
    ///
    /// let resource = ProtectedResource::new("https://api.example.com/orders")?;
    /// let verifier = JwtVerifier::new(issuer, resource.identifier())?;
    /// let server = ResourceServer::builder(verifier).realm("orders").resource(resource).build()?;
    /// let layer = OAuthLayer::from_server(server).render(ProblemJson::new()).serve_metadata();
    /// # let _ = layer;
    /// # Ok(())
    /// # }
    /// ```
    pub fn resource(self, resource: ProtectedResource) -> Self {
        Self { resource: Some(resource), ..self }
    }

    /// `resource_metadata` of the challenges: the absolute URL of this resource's metadata (RFC 9728 §5.1), if another server
    /// publishes it. Default: that of the [`resource`](Self::resource), else none.
    pub fn resource_metadata(self, url: impl Into<String>) -> Self {
        Self { resource_metadata: Some(url.into()), ..self }
    }

    /// Adds the challenge of another authentication scheme that another layer accepts on the same routes. The response to a
    /// request without credentials has it beside the `Bearer` challenge.
    pub fn additional_challenge(mut self, challenge: SchemeChallenge) -> Self {
        self.other_schemes.push(challenge);
        self
    }

    /// Sets which scopes include others. Default: no scope includes another.
    pub fn scope_hierarchy(self, hierarchy: ScopeHierarchy) -> Self {
        Self { hierarchy, ..self }
    }

    /// Maximum length of a token, in bytes. A longer token is refused. Default: 16 384.
    pub fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.accepted.max_token_bytes = bytes;
        self
    }

    /// Also reads the token from this cookie.
    ///
    /// The cost: a browser adds cookies to a request by itself, also if another site causes the request (cross-site request
    /// forgery, RFC 6750 §5.3). Such a request is therefore refused with 403 (reason `cross_site`), before the verifier runs,
    /// if its method is not GET, HEAD, OPTIONS or TRACE:
    ///
    /// - with `Sec-Fetch-Site`, which browsers send over HTTPS: unless it is `same-origin` or `none`;
    /// - without it, but with `Origin`: unless host and port of `Origin` are those of the request;
    /// - with neither header, the request is accepted, because it comes from no current browser.
    ///
    /// The handshake of a WebSocket is checked in the same way, although its method over HTTP/1.1 is GET.
    ///
    /// [`trusted_origin`](Self::trusted_origin) adds further origins. What remains to do: a GET must change nothing. A proxy in
    /// front of the server must leave `Host` as the browser sent it. The cookie must be `Secure`, `HttpOnly` and `SameSite`.
    pub fn accept_cookie(mut self, name: impl Into<String>) -> Self {
        self.accepted.cookie = Some(name.into());
        self
    }

    /// Accepts requests of this origin that have the token in a cookie, whatever their method. Can be called several times.
    /// Default: only the server's own origin.
    ///
    /// Give the scheme, the host, and the port if it is not the default one, such as `https://app.example.com`. It must equal
    /// the request's `Origin` exactly.
    pub fn trusted_origin(mut self, origin: impl Into<String>) -> Self {
        self.accepted.cookie_origins.trusted.push(origin.into());
        self
    }

    /// Accepts requests of any origin that have the token in a cookie, whatever their method.
    ///
    /// What is lost: any site can send requests with the cookie of a user who visits it. Every route that changes something
    /// needs a defence of its own, such as a token in the form (RFC 6750 §5.3).
    pub fn danger_accept_cookie_from_any_origin(mut self) -> Self {
        self.accepted.cookie_origins.any = true;
        self
    }

    /// Also reads the token from this header, without a scheme. The verifier gets the value as it is: any printable ASCII that
    /// is not blank, such as a JWT whose parts are padded.
    ///
    /// The cost: caches, proxies and logs know that `Authorization` is secret. They don't know this header.
    pub fn accept_header(self, name: impl Into<String>) -> Self {
        Self { header: Some(name.into()), ..self }
    }

    /// Also reads `Authorization: <token>` without a scheme, as some older clients send it.
    ///
    /// The cost: a mistyped scheme is read as a token and refused with 401 `invalid_token`.
    pub fn accept_authorization_without_scheme(mut self) -> Self {
        self.accepted.authorization_without_scheme = true;
        self
    }

    /// Also reads the token from the subprotocols of a WebSocket handshake, because the browsers' `WebSocket` can't set
    /// `Authorization`. `name` is the subprotocol that marks the token, usually `bearer`.
    ///
    /// A browser calls `new WebSocket(url, ["bearer", token])`: the entry after `bearer` is the token. A token with characters
    /// that a subprotocol can't have (`/` and `=`) is sent in base64url without padding:
    /// `new WebSocket(url, ["bearer." + base64url(token), "bearer"])`. Further subprotocols come before `bearer`.
    ///
    /// - The token is removed from the request before the handler sees it, so the handler can't echo it. `bearer` stays.
    /// - If the handler chooses no subprotocol, the response chooses `bearer`, but only if it was offered as an entry of its own
    ///   (RFC 6455 §4.2.2). Browsers drop the connection if they offered subprotocols and the response chooses none, so the
    ///   second form needs `bearer` beside it.
    /// - Only handshakes are read: `GET` with `Upgrade: websocket` over HTTP/1.1, extended `CONNECT` over HTTP/2 (RFC 8441). With
    ///   a second token, also in another way, they are refused with 400. A further `OAuthLayer` inside of this one doesn't see
    ///   the token.
    /// - `Origin` is not checked: unlike a cookie, a browser never adds this token by itself.
    ///
    /// The cost: proxies and logs know that `Authorization` is secret. They may not know this header.
    pub fn accept_websocket_protocol(mut self, name: impl Into<String>) -> Self {
        self.accepted.websocket_protocol = Some(name.into());
        self
    }

    /// Also reads `access_token` from the query (RFC 6750 §2.3).
    ///
    /// The cost: the token appears in access logs, browser histories and `Referer` headers. RFC 9700 §4.3.2 and OAuth 2.1
    /// forbid it.
    pub fn danger_accept_query(mut self) -> Self {
        self.accepted.query = true;
        self
    }

    /// Responds to refused gRPC requests (a POST over HTTP/2 or HTTP/3 with `content-type: application/grpc…`) with a gRPC
    /// status: HTTP status 200 and `grpc-status`. A refusal with a rendered body stays an HTTP response. gRPC clients understand both.
    #[doc(alias = "tonic")]
    pub fn grpc_status(self) -> Self {
        Self { grpc: true, ..self }
    }

    /// Maximum time for the verification of one token, and for reading one form body. Default: 10 s.
    ///
    /// After it, the request gets 503 with `Retry-After`, also if a verifier of your own never returns; a form body that was
    /// not complete gets 408. The verifiers of this crate have shorter limits of their own. A request that waits needs tokio's
    /// timer (`enable_time`); without a tokio runtime there is no limit.
    pub fn verification_timeout(mut self, timeout: Duration) -> Self {
        self.timeout.duration = timeout;
        self
    }

    /// Replaces the source of time of [`verification_timeout`](Self::verification_timeout) and of
    /// [`TokenLifetime`](crate::lifetime::TokenLifetime), for tests.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.timeout.clock = Arc::new(clock);
        self
    }

    /// Builds the server.
    ///
    /// # Errors
    /// Every mistake at once: a realm that no header can carry, a `resource_metadata` that is not an `https` URL in its normal
    /// form, an invalid name of a header, cookie or subprotocol, a resource whose identifier the verifier does not accept as
    /// audience, that has no authorization server, or that is set beside `resource_metadata` or `scopes` of its own, a trusted
    /// origin in another form than browsers send it, a wrong setting of proofs or certificates, a maximum length of 0, a timeout of zero, an invalid scope name in the
    /// hierarchy.
    pub fn build(self) -> Result<ResourceServer, ConfigError> {
        let Self {
            verifier,
            mut accepted,
            hierarchy,
            realm,
            resource,
            resource_metadata,
            scopes,
            other_schemes,
            header,
            grpc,
            timeout,
            sender,
        } = self;
        let mut mistakes = MistakeCollector::new();
        let scopes = scopes_for(resource.as_ref(), resource_metadata.is_some(), scopes, &mut mistakes);
        let sender = sender.build(&other_schemes, &mut mistakes);
        accepted.dpop = sender.dpop.is_some();
        let enforced = enforced_settings(&*verifier, &accepted, &sender, scopes.as_ref());
        let metadata = resource.and_then(|resource| mistakes.check(ResourceMetadata::new(&resource, &enforced)));
        let mut parameters =
            ChallengeParameters { scopes, dpop: sender.challenge(), other_schemes, ..ChallengeParameters::default() };
        if let Some(realm) = realm.and_then(|realm| mistakes.check(QuotedText::new("realm", &realm))) {
            parameters.realm = realm;
        }
        parameters.resource_metadata.extend(resource_metadata.and_then(|url| mistakes.check(metadata_url(&url))));
        parameters.resource_metadata.extend(metadata.iter().flat_map(ResourceMetadata::urls).cloned());
        accepted.header = header.and_then(|name| mistakes.check(header_name(&name)));
        if let Some(name) = &accepted.cookie
            && HeaderName::try_from(name).is_err()
        {
            let found = format!("{name:?} is not a cookie name");
            mistakes.add("accept_cookie", found, "give a token (RFC 6265 §4.1.1)");
        }
        if let Some(name) = &accepted.websocket_protocol
            && !is_http_token(name.as_bytes())
        {
            let found = format!("{name:?} is not the name of a subprotocol");
            mistakes.add("accept_websocket_protocol", found, "give a token (RFC 9110 §5.6.2), such as bearer");
        }
        for origin in &accepted.cookie_origins.trusted {
            mistakes.check(check_origin("trusted_origin", origin));
        }
        if timeout.duration.is_zero() {
            mistakes.add("verification_timeout", "it is zero", "give a time above zero");
        }
        if accepted.max_token_bytes == 0 {
            mistakes.add("max_token_bytes", "0 refuses every token", "give a length in bytes");
        }
        mistakes.append(hierarchy.mistakes());
        mistakes.finish()?;
        let hierarchy = (!hierarchy.is_flat()).then(|| Arc::new(hierarchy));
        Ok(ResourceServer::from_inner(ServerInner {
            verifier,
            accepted,
            hierarchy,
            parameters,
            metadata,
            grpc,
            timeout,
            sender,
        }))
    }
}

/// Returns `scope` of the challenges, and reports the settings that the resource has too.
fn scopes_for(
    resource: Option<&ProtectedResource>,
    has_resource_metadata: bool,
    scopes: Option<Scopes<'static>>,
    mistakes: &mut MistakeCollector,
) -> Option<Scopes<'static>> {
    let Some(resource) = resource else { return scopes };
    if has_resource_metadata {
        let found = "the metadata of the resource has a URL of its own";
        mistakes.add("resource_metadata", found, "remove resource_metadata or resource");
    }
    if scopes.is_some() && resource.scopes().is_some() {
        mistakes.add("scopes", "the resource has scopes of its own", "remove one of the two settings");
    }
    resource.scopes().cloned().or(scopes)
}

/// Returns what a client can learn from the metadata of the resource. Members about further checks of a token belong here.
fn enforced_settings<'s>(
    verifier: &dyn Verify,
    accepted: &AcceptedMethods,
    sender: &SenderChecks,
    scopes: Option<&'s Scopes<'static>>,
) -> EnforcedSettings<'s> {
    // A cookie and a header of the application are not methods of RFC 6750.
    let mut bearer_methods = vec!["header"];
    bearer_methods.extend(accepted.query.then_some("query"));
    EnforcedSettings {
        issuers: verifier.issuers(),
        audiences: verifier.audiences(),
        bearer_methods,
        scopes,
        proof_algorithms: sender.dpop.as_ref().map(|dpop| dpop.rules().algorithms.clone()),
        proofs_required: sender.required && sender.certificates.is_none(),
        certificates: sender.certificates.is_some(),
    }
}

fn metadata_url(url: &str) -> Result<QuotedText, ConfigError> {
    check_resolvable_identifier("resource_metadata", url, PlainHttp::Loopback)?;
    QuotedText::new("resource_metadata", url)
}

fn header_name(name: &str) -> Result<HeaderName, ConfigMistake> {
    let mistake = |found: &str| {
        ConfigMistake::new(
            "accept_header",
            format!("{name:?} {found}"),
            "give the name of a header that carries nothing else",
        )
    };
    match HeaderName::try_from(name) {
        Ok(header::AUTHORIZATION | header::COOKIE) => Err(mistake("is read in another way")),
        Ok(name) => Ok(name),
        Err(_) => Err(mistake("is not a header name")),
    }
}

impl fmt::Debug for ResourceServerBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServerBuilder").field("accepted", &self.accepted).finish_non_exhaustive()
    }
}
