//! [`ResourceServer`]: the checks of one request.
//!
//! *In*: a request's head, or a bare token. *Out*: the token, or why the request is refused.

use std::{fmt, future::poll_fn, ops::Deref, sync::Arc, task::Poll, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Request, header, request::Parts};
use tokio::runtime::Handle;

use super::{ResourceServerBuilder, sender::SenderChecks};
use crate::{
    challenge::{Challenge, ChallengeParameters, ChallengeTarget},
    clock::{Clock, SystemClock},
    credentials::{AcceptedMethods, BearerMethod, Credentials, FormTokens, without_query_token},
    error::{AuthError, AuthErrorKind, Reason},
    fetch::FetchError,
    metadata::ResourceMetadata,
    scope::ScopeHierarchy,
    token::Token,
    verify::{PresentedToken, Verdict, Verify},
    websocket::{HandshakeForm, OfferedProtocols},
};

/// Authenticates requests, and makes the challenges of refusals. Cheap to clone.
///
/// It works without tower; [`OAuthLayer`](crate::OAuthLayer) uses it as a layer. See the
/// [module docs](crate::server) for an example.
#[derive(Clone)]
pub struct ResourceServer {
    inner: ServerHandle,
}

#[derive(Clone)]
enum ServerHandle {
    Shared(Arc<ServerInner>),
    Leaked(&'static ServerInner),
}

impl Deref for ServerHandle {
    type Target = ServerInner;

    fn deref(&self) -> &ServerInner {
        match self {
            Self::Shared(inner) => inner,
            Self::Leaked(inner) => inner,
        }
    }
}

pub(super) struct ServerInner {
    pub(super) verifier: Arc<dyn Verify>,
    pub(super) accepted: AcceptedMethods,
    pub(super) hierarchy: Option<Arc<ScopeHierarchy>>,
    pub(super) parameters: ChallengeParameters,
    pub(super) metadata: Option<ResourceMetadata>,
    pub(super) grpc: bool,
    pub(super) timeout: VerificationTimeout,
    pub(super) sender: SenderChecks,
}

/// Maximum time for a verification and for reading a form body.
#[derive(Debug, Clone)]
pub(crate) struct VerificationTimeout {
    pub(super) duration: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

impl Default for VerificationTimeout {
    fn default() -> Self {
        Self { duration: Duration::from_secs(10), clock: Arc::new(SystemClock::new()) }
    }
}

impl VerificationTimeout {
    /// Returns the output of `future`, or `None` if it takes too long. Without a tokio runtime there is no limit, because there
    /// is no timer.
    pub(crate) async fn limit<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(future);
        // A future that is ready at once needs no timer.
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Some(output);
        }
        if Handle::try_current().is_err() {
            return Some(future.await);
        }
        tokio::select! {
            biased;
            output = future => Some(output),
            () = self.clock.sleep(self.duration) => None,
        }
    }

    /// Limits the time of a verdict that must wait.
    fn limit_verdict(&self, verdict: Verdict) -> Verdict {
        let Verdict::Later(verifying) = verdict else { return verdict };
        let timeout = self.clone();
        Verdict::later(async move {
            let verdict = timeout.limit(verifying).await;
            verdict.unwrap_or_else(|| {
                let cause = FetchError::new("the verifier returned no verdict in time");
                Err(AuthError::unavailable(RETRY_AFTER).with_source(cause))
            })
        })
    }
}

impl ResourceServer {
    /// Returns a server that reads tokens from the `Authorization` header and checks them with `verifier`.
    #[must_use]
    pub fn new(verifier: impl Verify) -> Self {
        Self::from_inner(ServerInner {
            verifier: Arc::new(verifier),
            accepted: AcceptedMethods::default(),
            hierarchy: None,
            parameters: ChallengeParameters::default(),
            metadata: None,
            grpc: false,
            timeout: VerificationTimeout::default(),
            sender: SenderChecks::default(),
        })
    }

    /// Returns a builder for further settings.
    pub fn builder(verifier: impl Verify) -> ResourceServerBuilder {
        ResourceServerBuilder::new(verifier)
    }

    pub(super) fn from_inner(inner: ServerInner) -> Self {
        Self { inner: ServerHandle::Shared(Arc::new(inner)) }
    }

    /// Leaks the server: it exists until the process ends, so requests on several processors don't share a reference count.
    ///
    /// Use it for the one server of a program with thousands of cache hits per second; the performance section of the
    /// README has the figures. The cost: its memory is never freed, and the background tasks of its verifier never end.
    #[must_use]
    pub fn leak(self) -> Self {
        match self.inner {
            ServerHandle::Shared(inner) => Self { inner: ServerHandle::Leaked(Box::leak(Box::new(inner))) },
            ServerHandle::Leaked(_) => self,
        }
    }

    /// Reads the credentials of a request and verifies the token.
    ///
    /// It reads only the head, so it never finds a token in a form body. It can't change the head, so the headers with
    /// credentials are not marked as sensitive, and `Debug` of the head shows the token. `OAuthLayer` marks them.
    ///
    /// With [`dpop`](ResourceServerBuilder::dpop), call it once for a request: the proof is then used up.
    ///
    /// # Errors
    /// Why the request must be refused; [`challenge`](Self::challenge) makes the status and headers of the response.
    pub async fn authenticate(&self, parts: &Parts) -> Result<Token, AuthError> {
        let (verdict, _) = self.verify_request(parts, None);
        let (verdict, scheme) = (verdict.resolve().await, self.scheme_of(&parts.headers));
        self.accept(match verdict {
            Ok(token) if Self::must_check_sender(&token, scheme) => {
                self.check_sender(token, parts, scheme).resolve().await.map(|checked| checked.token)
            }
            verdict => verdict,
        })
    }

    /// Verifies a token that did not come in an HTTP request: from a WebSocket message, a queue, or a job.
    ///
    /// The verifier sees an empty request head and [`BearerMethod::Direct`](crate::verify::BearerMethod::Direct). Don't
    /// use it with a verifier of your own that reads the tenant or the host from the request. For a socket or stream that must
    /// end with its token, use [`TokenLifetime::authenticate`](crate::lifetime::TokenLifetime::authenticate).
    ///
    /// # Errors
    /// The token is larger than the limit, is not a b64token (RFC 6750 §2.1), is refused by the verifier, or is bound to a key or
    /// a certificate (`cnf`), because there is no request that can prove it.
    pub async fn authenticate_token(&self, token: &str) -> Result<Token, AuthError> {
        let (parts, ()) = Request::new(()).into_parts();
        let verdict = self.verify_text(BearerMethod::Direct, token, &parts);
        self.accept(verdict.resolve().await.map(Token::without_proof_of_sender))
    }

    /// Returns the status and headers of the response to a refused request. For a resource with several identifiers, it names
    /// the metadata of the first one. With [`dpop`](ResourceServerBuilder::dpop), it can't know the scheme that the request used. See
    /// [`challenge_for`](Self::challenge_for).
    #[must_use]
    pub fn challenge(&self, error: &AuthError) -> Challenge {
        self.challenge_for_target(error, ChallengeTarget::unknown(error))
    }

    /// Returns the status and headers of the response to this refused request. They name the metadata of the identifier that the
    /// request was sent to; see [`also`](crate::metadata::ProtectedResourceBuilder::also).
    #[must_use]
    pub fn challenge_for(&self, error: &AuthError, request: &Parts) -> Challenge {
        let (resource, scheme) = (self.resource_index(request), self.scheme_of(&request.headers));
        self.challenge_for_target(error, ChallengeTarget { resource, scheme })
    }

    pub(crate) fn challenge_for_target(&self, error: &AuthError, target: ChallengeTarget) -> Challenge {
        let challenge = Challenge::for_request(error, &self.inner.parameters, target);
        match error.kind() {
            AuthErrorKind::InvalidDpopProof | AuthErrorKind::UseDpopNonce => {
                challenge.with_dpop_nonce(self.dpop_nonce())
            }
            _ => challenge,
        }
    }

    /// Returns the index of the identifier that the request was sent to, for the challenge. 0 without several identifiers.
    pub(crate) fn resource_index(&self, request: &Parts) -> usize {
        self.inner.metadata.as_ref().map_or(0, |metadata| metadata.index_for(&request.uri, &request.headers))
    }

    /// Returns the metadata of the [`resource`](ResourceServerBuilder::resource), as a tower service. `None` if the server has
    /// no resource. [`OAuthLayer::serve_metadata`](crate::OAuthLayer::serve_metadata) is simpler where it can be used.
    #[must_use]
    pub fn metadata(&self) -> Option<&ResourceMetadata> {
        self.inner.metadata.as_ref()
    }

    /// Starts the verification, and returns the bearer method of the token if the request has one. Allocates no future
    /// unless the verifier waits for the network.
    pub(crate) fn verify_request(&self, parts: &Parts, form: Option<&FormTokens>) -> (Verdict, Option<BearerMethod>) {
        match Credentials::from_request(parts, form, &self.inner.accepted) {
            Ok(credentials) => {
                let method = credentials.bearer_method();
                (self.verify(&PresentedToken::new(credentials, parts)), Some(method))
            }
            Err(error) => (Verdict::Now(Err(error)), None),
        }
    }

    /// Reads the credentials of a request, without verifying the token.
    pub(crate) fn read_credentials<'r>(
        &self,
        parts: &'r Parts,
        form: Option<&'r FormTokens>,
    ) -> Result<Credentials<'r>, AuthError> {
        Credentials::from_request(parts, form, &self.inner.accepted)
    }

    /// Starts the verification of a token that is no longer in its request.
    pub(crate) fn verify_text(&self, method: BearerMethod, token: &str, head: &Parts) -> Verdict {
        match Credentials::sent_by(method, token, &self.inner.accepted) {
            Ok(credentials) => self.verify(&PresentedToken::new(credentials, head)),
            Err(error) => Verdict::Now(Err(error)),
        }
    }

    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        self.inner.timeout.limit_verdict(self.inner.verifier.verify(presented))
    }

    pub(super) fn sender(&self) -> &SenderChecks {
        &self.inner.sender
    }

    pub(crate) fn timeout(&self) -> &VerificationTimeout {
        &self.inner.timeout
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.timeout.clock
    }

    /// Checks what doesn't depend on the verifier. Every verdict passes through here.
    pub(crate) fn accept(&self, verdict: Result<Token, AuthError>) -> Result<Token, AuthError> {
        let token = verdict?;
        let bound = token.facts().binding.is_some();
        if (bound || self.inner.sender.required) && token.confirmation().is_none() {
            // RFC 9449 §7.2, RFC 8705 §3: the token is bound, and the client did not prove that it has the key or certificate.
            return if bound { Err(AuthError::sender_constrained()) } else { Err(Reason::ConstraintRequired.into()) };
        }
        Ok(token.with_hierarchy(self.inner.hierarchy.as_ref()))
    }

    /// Checks a further verdict about the stream of an accepted request. The sender proved what the token is bound to when the
    /// stream began, so a token that is bound in the same way needs no further proof. Any other one is refused.
    pub(crate) fn accept_again(&self, verdict: Result<Token, AuthError>, accepted: &Token) -> Result<Token, AuthError> {
        let token = verdict?;
        match accepted.confirmation() {
            Some(_) if token.facts().binding == accepted.facts().binding => {
                self.accept(Ok(token.with_proof_of_sender()))
            }
            Some(_) if token.facts().binding.is_none() => Err(Reason::ConstraintRequired.into()),
            Some(confirmation) if confirmation.key().is_none() => Err(Reason::OtherCertificate.into()),
            Some(_) => Err(Reason::OtherKey.into()),
            None => self.accept(Ok(token.without_proof_of_sender())),
        }
    }

    /// Marks the headers with credentials as sensitive, so that verifiers and inner services that print headers leave them out.
    pub(crate) fn hide_credentials(&self, headers: &mut HeaderMap) {
        // A request with a second value is refused before a verifier sees it.
        if let Some(value) = headers.get_mut(header::AUTHORIZATION) {
            value.set_sensitive(true);
        }
        let websocket = self.inner.accepted.websocket_protocol.is_some().then_some(&header::SEC_WEBSOCKET_PROTOCOL);
        for name in self.other_credential_headers().chain(websocket).chain(self.sender().headers()) {
            if let header::Entry::Occupied(mut values) = headers.entry(name) {
                values.iter_mut().for_each(|value| value.set_sensitive(true));
            }
        }
    }

    /// Returns the headers that may contain a token.
    pub(crate) fn credential_headers(&self) -> impl Iterator<Item = &HeaderName> {
        [&header::AUTHORIZATION].into_iter().chain(self.other_credential_headers())
    }

    fn other_credential_headers(&self) -> impl Iterator<Item = &HeaderName> {
        let accepted = &self.inner.accepted;
        let cookie = accepted.cookie.is_some().then_some(&header::COOKIE);
        accepted.header.as_ref().into_iter().chain(cookie)
    }

    /// Returns the form of a WebSocket handshake whose token came in a subprotocol, if the response must choose the subprotocol
    /// that marks the token: it must choose one that was offered (RFC 6455 §4.2.2).
    pub(crate) fn websocket_to_answer(&self, parts: &Parts, method: Option<BearerMethod>) -> Option<HandshakeForm> {
        if method != Some(BearerMethod::WebSocketProtocol) {
            return None;
        }
        let name = self.inner.accepted.websocket_protocol.as_deref()?;
        let form = HandshakeForm::of(&parts.method, parts.version, &parts.uri, &parts.headers)?;
        OfferedProtocols::read(&parts.headers, name).offer_the_name().then_some(form)
    }

    /// Chooses the subprotocol that marks the token, unless the handler has chosen one: browsers drop a connection without.
    pub(crate) fn choose_websocket_protocol(&self, headers: &mut HeaderMap) {
        let name = self.inner.accepted.websocket_protocol.as_deref();
        if let Some(name) = name.and_then(|name| HeaderValue::from_str(name).ok()) {
            headers.entry(header::SEC_WEBSOCKET_PROTOCOL).or_insert(name);
        }
    }

    /// Removes the tokens from the subprotocols of a WebSocket handshake, so that the handler can't echo them.
    pub(crate) fn remove_websocket_tokens<B>(&self, request: &mut Request<B>) {
        let Some(name) = &self.inner.accepted.websocket_protocol else { return };
        if HandshakeForm::of(request.method(), request.version(), request.uri(), request.headers()).is_none() {
            return;
        }
        match OfferedProtocols::read(request.headers(), name).without_tokens() {
            Some(offered) => request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, offered),
            None => request.headers_mut().remove(header::SEC_WEBSOCKET_PROTOCOL),
        };
    }

    /// Returns a copy of the head without the tokens that this server reads.
    pub(crate) fn head_without_credentials(&self, parts: &Parts) -> Parts {
        let mut request = Request::from_parts(parts.clone(), ());
        self.remove_websocket_tokens(&mut request);
        for name in self.credential_headers().chain(self.sender().headers()) {
            request.headers_mut().remove(name);
        }
        if self.inner.accepted.query {
            *request.uri_mut() = without_query_token(request.uri());
        }
        request.into_parts().0
    }

    pub(crate) fn has_grpc_status(&self) -> bool {
        self.inner.grpc
    }
}

impl fmt::Debug for ResourceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServer")
            .field("accepted", &self.inner.accepted)
            .field("parameters", &self.inner.parameters)
            .finish_non_exhaustive()
    }
}

/// `Retry-After` if the verifier returned no verdict in time.
const RETRY_AFTER: Duration = Duration::from_secs(1);
