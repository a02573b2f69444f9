//! Binds tokens to the key of a DPoP proof (RFC 9449 §5) and to the client's TLS certificate (RFC 8705 §3).
//!
//! *In*: a token request whose client is authenticated. *Out*: the key and the certificate that it has proven, or the refusal.
//!
//! The `jti` of a proof is used up by the write that stores the tokens, so a request that a grant of this crate refuses stores
//! nothing. For a grant of the application it is used up before the grant decides.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, request::Parts};

use super::{
    TokenEndpointBuilder,
    client::Client,
    endpoints::{ClientRequest, ServerState},
    grant::invalid_grant,
    http::error::{TokenError, TokenErrorKind},
    once::OnceValue,
    services::Services,
    store::{Seen, Timestamp},
    texts::RefreshBinding,
};
use crate::{
    clock::Clock,
    config_error::MistakeCollector,
    confirmation::{Confirmation, Thumbprint},
    dpop::{
        CheckedProof, DPOP, DPOP_NONCE, ExpectedProof, KnownKeys, NonceSecret, Nonces, ProofDefect, ProofRules,
        same_target,
    },
    jws::Algorithm,
    mutual_tls::MutualTls,
};

/// Whether tokens can be bound to a key.
#[derive(Default)]
pub(super) enum DpopSupport {
    #[default]
    Off,
    WithoutNonces,
    WithNonces(NonceSecret),
}

/// How the proofs of token requests are checked.
pub(crate) struct EndpointDpop {
    rules: ProofRules,
    /// URL of the token endpoint: `htu` of each proof.
    target: String,
}

/// What a token request has proven about its sender.
pub(crate) struct SenderProof {
    key: Option<Thumbprint>,
    certificate: Option<Thumbprint>,
    /// The `jti` of the proof.
    pub(crate) once: OnceValue,
    /// True if the client used an old nonce.
    old_nonce: bool,
}

impl TokenEndpointBuilder {
    /// Binds tokens to the key of a DPoP proof (RFC 9449 §5). Default: a `DPoP` header is ignored.
    ///
    /// A token request with a proof gets an access token with `token_type` `DPoP` and `cnf.jkt`, in the JWT and in introspection.
    /// A request without a proof gets a bearer token, unless its client is
    /// [registered for bound tokens](super::ClientBuilder::dpop_bound_access_tokens), or its session had bound tokens before. The
    /// refresh tokens of a public client are bound to the same key. A client that authenticates can change its key.
    ///
    /// The proof is made for `POST` and the URL of the token endpoint below the issuer, is at most 60 seconds old, at most 30
    /// seconds ahead, and is accepted once: the [store](Self::store) has its `jti`. Every asymmetric algorithm is accepted, which
    /// `dpop_signing_alg_values_supported` of the metadata lists. A proof that is refused costs neither a code nor a refresh token.
    ///
    /// Only resource servers that check proofs accept bound tokens. Upgrade all instances of the endpoint before: an older one
    /// reports bound tokens as inactive.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use tower_oauth::{keys::{Algorithm, PrivateKey}, token_endpoint::*};
    /// # let clients = Clients::new([])?;
    /// let key = PrivateKey::generate(Algorithm::ES256)?;
    /// let endpoint = TokenEndpoint::builder("https://auth.example.com", key, clients)
    ///     .grant(ClientCredentialsGrant::new())
    ///     .dpop()
    ///     .build()?;
    /// # let _ = endpoint;
    /// # Ok(())
    /// # }
    /// ```
    pub fn dpop(mut self) -> Self {
        if matches!(self.dpop, DpopSupport::Off) {
            self.dpop = DpopSupport::WithoutNonces;
        }
        self
    }

    /// Also requires a nonce of this endpoint in every proof (RFC 9449 §8). Implies [`dpop`](Self::dpop). Default: no nonces.
    ///
    /// A proof made in advance is then useless, and the client's clock does not matter. The cost: the first request of a client
    /// is refused with `use_dpop_nonce`. A nonce is accepted for at least four and at most five minutes. All instances need the
    /// same secret. A resource server with the same secret has other nonces.
    pub fn dpop_nonces(mut self, secret: NonceSecret) -> Self {
        self.dpop = DpopSupport::WithNonces(secret);
        self
    }

    /// Binds the tokens of clients that are
    /// [registered so](super::ClientBuilder::tls_client_certificate_bound_access_tokens) to the client's TLS certificate (RFC 8705
    /// §3), which `source` finds in a request. Default: no token is bound to a certificate.
    ///
    /// Such a token has `cnf` with `x5t#S256`, in the JWT and in introspection, and the `token_type` `Bearer`. The refresh tokens of a
    /// public client are bound to the same certificate (§4). If the request has a DPoP proof too, both must be proven. Clients
    /// don't authenticate with the certificate.
    pub fn mutual_tls(mut self, source: MutualTls) -> Self {
        self.mutual_tls = Some(source);
        self
    }

    pub(super) fn check_sender_constraints(&self, mistakes: &mut MistakeCollector) {
        if let (DpopSupport::Off, Some(client)) = (&self.dpop, self.registry.dpop_bound_client()) {
            let found = format!("the client {client:?} is registered for dpop_bound_access_tokens, but DPoP is off");
            mistakes.add("dpop", found, "call TokenEndpointBuilder::dpop, or let the client get bearer tokens");
        }
        match (&self.mutual_tls, self.registry.certificate_bound_client()) {
            (Some(source), _) => source.mistakes(mistakes),
            (None, Some(client)) => {
                let found =
                    format!("the tokens of the client {client:?} are bound to certificates, which are not read");
                mistakes.add(
                    "mutual_tls",
                    found,
                    "call TokenEndpointBuilder::mutual_tls, or let the client get bearer tokens",
                );
            }
            (None, None) => {}
        }
    }
}

impl DpopSupport {
    /// Returns the checks of proofs. `base` is the issuer without a slash at its end.
    pub(super) fn checks(self, base: &str, clock: Arc<dyn Clock>) -> Option<EndpointDpop> {
        let nonces = match self {
            Self::Off => return None,
            Self::WithoutNonces => None,
            Self::WithNonces(secret) => Some(Nonces::for_token_endpoint(secret)),
        };
        let algorithms = Algorithm::supported().to_vec();
        let rules = ProofRules { algorithms, max_age: MAX_AGE, nonces, clock, known_keys: KnownKeys::default() };
        Some(EndpointDpop { rules, target: format!("{base}/token") })
    }
}

impl EndpointDpop {
    /// Returns the accepted algorithms.
    pub(super) fn algorithms(&self) -> &[Algorithm] {
        &self.rules.algorithms
    }

    fn check(&self, headers: &HeaderMap) -> Result<CheckedProof, TokenError> {
        let is_target = |htu: &str| same_target(htu, &self.target);
        let expected = ExpectedProof { method: &Method::POST, key: None, token: None, is_target: &is_target };
        self.rules.check(headers, &expected).map_err(|defect| match defect {
            // The first proof of a client can have no nonce (RFC 9449 §8).
            ProofDefect::Missing if self.rules.nonces.is_some() => refusal(ProofDefect::NonceRequired),
            defect => refusal(defect),
        })
    }
}

impl SenderProof {
    fn none() -> Self {
        Self { key: None, certificate: None, once: OnceValue::new(None, replayed), old_nonce: false }
    }

    fn new(proof: &CheckedProof, request: &ClientRequest, services: &Services) -> Self {
        let CheckedProof { key, replay_key, expires_at, old_nonce, .. } = proof;
        let texts = &services.texts;
        let hash = texts.proof(replay_key.as_bytes());
        let seen = Seen {
            key: hash,
            shard: hash,
            client: texts.client(request.client.id()),
            attempt: texts.attempt(request.parameters.iter()),
            // Later than the last moment at which the proof is accepted, also by an instance whose clock is behind.
            expires_at: Timestamp::from_secs(expires_at.saturating_add(LEEWAY)),
        };
        Self { key: Some(*key), certificate: None, once: OnceValue::new(Some(seen), replayed), old_nonce: *old_nonce }
    }

    /// Returns what the access token is bound to.
    pub(crate) fn confirmation(&self) -> Option<Confirmation> {
        Confirmation::new(self.key, self.certificate)
    }

    /// Returns what the refresh token of a new session is bound to.
    pub(crate) fn refresh_binding(&self, client: &Client) -> RefreshBinding {
        match self.confirmation() {
            None => RefreshBinding::Nothing,
            // RFC 9449 §5, RFC 8705 §4: only those of public clients.
            Some(confirmation) if client.is_public() => RefreshBinding::This(confirmation),
            Some(_) => RefreshBinding::Anything,
        }
    }

    /// Returns what the refresh token of the response is bound to, if the request has proven what the `presented` one is bound to.
    /// A session whose tokens were bound gives no unbound ones.
    pub(crate) fn next_binding(
        &self,
        presented: RefreshBinding,
        client: &Client,
    ) -> Result<RefreshBinding, TokenError> {
        let is_proven = match presented {
            RefreshBinding::Nothing => return Ok(self.refresh_binding(client)),
            RefreshBinding::Anything => self.confirmation().is_some(),
            RefreshBinding::This(own) => {
                let has_key = own.key().is_none_or(|key| self.key == Some(*key));
                has_key && own.certificate().is_none_or(|certificate| self.certificate == Some(*certificate))
            }
        };
        match self.confirmation() {
            _ if is_proven => Ok(presented),
            Some(_) => Err(invalid_grant("the refresh token is bound to another key or certificate")),
            None => {
                Err(invalid_grant("the refresh token is bound, and the request proves neither a key nor a certificate"))
            }
        }
    }
}

impl ServerState {
    /// Checks the proof and the certificate of a request, if it has or must have them.
    pub(crate) fn sender_proof(&self, request: &ClientRequest, parts: &Parts) -> Result<SenderProof, TokenError> {
        let certificate = self.certificate(&request.client, parts)?;
        Ok(SenderProof { certificate, ..self.key_proof(request, &parts.headers)? })
    }

    /// Returns the certificate that the tokens of this client must be bound to.
    fn certificate(&self, client: &Client, parts: &Parts) -> Result<Option<Thumbprint>, TokenError> {
        let needed = |reason| {
            let description = "The client must present its TLS certificate";
            TokenError::new(TokenErrorKind::InvalidRequest, description).because(reason)
        };
        match &self.mutual_tls {
            _ if !client.certificate_bound => Ok(None),
            Some(source) => {
                let found = source.thumbprint(&parts.headers, &parts.extensions).map_err(|bad| needed(bad.0))?;
                found.map(Some).ok_or_else(|| needed("the request has no client certificate"))
            }
            None => Err(needed("the tokens of the client are bound to certificates, which the endpoint does not read")),
        }
    }

    fn key_proof(&self, request: &ClientRequest, headers: &HeaderMap) -> Result<SenderProof, TokenError> {
        let client = &*request.client;
        match &self.dpop {
            Some(dpop) if client.dpop_bound_access_tokens || headers.contains_key(DPOP) => {
                Ok(SenderProof::new(&dpop.check(headers)?, request, &self.services))
            }
            // `TokenEndpointBuilder::build` finds most such clients. A metadata document is for many servers.
            None if client.dpop_bound_access_tokens && client.host.is_none() => {
                Err(refusal(ProofDefect::Missing)
                    .because("the client must use DPoP, which the endpoint does not support"))
            }
            _ => Ok(SenderProof::none()),
        }
    }

    /// Adds the current nonce to the refusal of a proof. No other refusal has one: some clients repeat every request for which they
    /// get a nonce, and a code that is sent again ends its session.
    pub(crate) fn with_nonce(&self, error: TokenError) -> TokenError {
        match (error.kind(), &self.dpop) {
            (TokenErrorKind::InvalidDpopProof | TokenErrorKind::UseDpopNonce, Some(dpop)) => {
                error.with_dpop_nonce(dpop.rules.nonce())
            }
            _ => error,
        }
    }

    /// Adds the current nonce to a response, if the client used an old one (RFC 9449 §8.2).
    pub(crate) fn renew_nonce(&self, proof: &SenderProof, headers: &mut HeaderMap) {
        if let Some(nonce) = self.dpop.as_ref().filter(|_| proof.old_nonce).and_then(|dpop| dpop.rules.nonce()) {
            headers.insert(DPOP_NONCE, nonce);
        }
    }
}

/// Returns the refusal of a proof (RFC 9449 §5, §8).
fn refusal(defect: ProofDefect) -> TokenError {
    let invalid = |description| TokenError::new(TokenErrorKind::InvalidDpopProof, description);
    match defect {
        ProofDefect::Missing => invalid("The request needs a DPoP proof"),
        ProofDefect::OtherTarget => invalid("The DPoP proof was made for another method or URL"),
        ProofDefect::OtherTime => invalid("The DPoP proof is from another time: check the clock"),
        ProofDefect::NotGood(reason) => invalid("The DPoP proof is invalid").because(reason),
        ProofDefect::OtherKey | ProofDefect::OtherToken => invalid("The DPoP proof is invalid"),
        ProofDefect::NonceRequired => {
            TokenError::new(TokenErrorKind::UseDpopNonce, "The DPoP proof needs the nonce of this response")
        }
    }
}

fn replayed() -> TokenError {
    TokenError::new(TokenErrorKind::InvalidDpopProof, "The DPoP proof was used before")
}

/// Maximum age of a proof without a nonce.
const MAX_AGE: Duration = Duration::from_secs(60);
/// Tolerance for the difference of two clocks, in seconds.
const LEEWAY: u64 = 30;
