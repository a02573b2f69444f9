//! The check of the sender: is a bound token used by the client that it is bound to (RFC 9449 §7, RFC 8705 §3)?
//!
//! *In*: the head of a request, and its verified token. *Out*: the token, marked as proven, or why the request is refused.
//!
//! It comes after the verdict of the verifier, so no cache, and no verifier of the application, can leave it out. Used proofs are
//! recorded last, so a request that is refused for any other reason doesn't use its proof up.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, request::Parts};

use super::ResourceServer;
use crate::{
    confirmation::{Binding, Confirmation, Thumbprint},
    dpop::{CheckedProof, DPOP, Insertion, ProofChecker, ProofDefect, ReplayError, ReplayKey, Sighting},
    error::{AuthError, Reason},
    mutual_tls::{BadCertificate, MutualTls},
    scheme::{Scheme, authorization_token},
    token::Token,
};

/// What a server can check about the sender of a request.
#[derive(Default)]
pub(super) struct SenderChecks {
    pub(super) dpop: Option<ProofChecker>,
    pub(super) certificates: Option<MutualTls>,
    /// True if only bound tokens are accepted.
    pub(super) required: bool,
}

/// A token that is used by the client that it is bound to.
pub(crate) struct CheckedSender {
    pub(crate) token: Token,
    /// The client used an old nonce, and the response has a new one.
    pub(crate) old_nonce: bool,
    proof: Option<UsedProof>,
}

/// The result of the check, now or after a wait for the store of used proofs.
pub(crate) enum SenderVerdict {
    Now(Result<CheckedSender, AuthError>),
    Later(SenderFuture),
}

pub(crate) struct SenderFuture(Pin<Box<dyn Future<Output = Result<CheckedSender, AuthError>> + Send>>);

/// In a request's extensions: the proofs that layers further out have checked and recorded.
#[derive(Clone, Default)]
struct UsedProofs(Vec<UsedProof>);

/// A proof, and the store that it was recorded in.
#[derive(Clone, Copy, PartialEq, Eq)]
struct UsedProof {
    key: ReplayKey,
    store: usize,
}

impl SenderChecks {
    /// Returns the headers that prove the sender.
    pub(super) fn headers(&self) -> impl Iterator<Item = &HeaderName> {
        static PROOF: HeaderName = DPOP;
        let proof = self.dpop.is_some().then_some(&PROOF);
        proof.into_iter().chain(self.certificates.as_ref().and_then(MutualTls::header))
    }
}

impl CheckedSender {
    fn new(token: Token, old_nonce: bool, proof: Option<UsedProof>) -> Self {
        Self { token: token.with_proof_of_sender(), old_nonce, proof }
    }

    /// Leaves a mark for layers further in, which check the same proof again.
    pub(crate) fn mark(&mut self, extensions: &mut Extensions) {
        if let Some(proof) = self.proof.take() {
            extensions.get_or_insert_default::<UsedProofs>().0.push(proof);
        }
    }
}

impl SenderVerdict {
    pub(super) async fn resolve(self) -> Result<CheckedSender, AuthError> {
        match self {
            Self::Now(result) => result,
            Self::Later(checking) => checking.await,
        }
    }
}

impl Future for SenderFuture {
    type Output = Result<CheckedSender, AuthError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl ResourceServer {
    /// Returns the scheme of a request. Without proofs there is only `Bearer`.
    pub(crate) fn scheme_of(&self, headers: &HeaderMap) -> Scheme {
        if self.sender().dpop.is_some() { Scheme::of(headers) } else { Scheme::Bearer }
    }

    /// True if the token is bound, or was sent under a scheme for bound tokens.
    pub(crate) fn must_check_sender(token: &Token, scheme: Scheme) -> bool {
        token.facts().binding.is_some() || scheme == Scheme::Dpop
    }

    /// Returns the nonce for the next proof of a client (RFC 9449 §8.2). `None` without [`nonces`](crate::dpop::Dpop::nonces).
    ///
    /// [`challenge`](Self::challenge) and [`OAuthLayer`](crate::OAuthLayer) write it where a client needs it. A server without the
    /// layer can also send it as `DPoP-Nonce` with any other response, which must then not be cached.
    #[must_use]
    pub fn dpop_nonce(&self) -> Option<HeaderValue> {
        self.sender().dpop.as_ref().and_then(|dpop| dpop.rules().nonce())
    }

    /// Checks that the sender of the request has what the token is bound to.
    pub(crate) fn check_sender(&self, token: Token, parts: &Parts, scheme: Scheme) -> SenderVerdict {
        let confirmation = match token.facts().binding.as_deref() {
            None if scheme == Scheme::Dpop => return SenderVerdict::Now(Err(not_bound_to_a_key())),
            None => return SenderVerdict::Now(Ok(CheckedSender { token, old_nonce: false, proof: None })),
            Some(Binding::Unknown) => return SenderVerdict::Now(Err(unknown_confirmation())),
            Some(Binding::Known(confirmation)) => *confirmation,
        };
        if let Err(error) = self.check_certificate(&confirmation, parts) {
            return SenderVerdict::Now(Err(error));
        }
        match (confirmation.key(), &self.sender().dpop, scheme) {
            (Some(key), Some(dpop), Scheme::Dpop) => self.check_proof(token, dpop, key, parts),
            // RFC 9449 §7.2: a token that is bound to a key must not be accepted under `Bearer`.
            (Some(_), ..) => SenderVerdict::Now(Err(AuthError::sender_constrained())),
            (None, _, Scheme::Dpop) => SenderVerdict::Now(Err(not_bound_to_a_key())),
            (None, ..) => SenderVerdict::Now(Ok(CheckedSender::new(token, false, None))),
        }
    }

    fn check_certificate(&self, confirmation: &Confirmation, parts: &Parts) -> Result<(), AuthError> {
        let Some(expected) = confirmation.certificate() else { return Ok(()) };
        let certificates = self.sender().certificates.as_ref().ok_or_else(AuthError::sender_constrained)?;
        match certificates.thumbprint(&parts.headers, &parts.extensions) {
            Ok(Some(found)) if found == *expected => Ok(()),
            Ok(Some(_)) => Err(Reason::OtherCertificate.into()),
            Ok(None) => Err(certificate_missing()),
            Err(BadCertificate(found)) => Err(malformed_certificate(found)),
        }
    }

    fn check_proof(&self, token: Token, dpop: &ProofChecker, key: &Thumbprint, parts: &Parts) -> SenderVerdict {
        let proof = match dpop.check(parts, key, authorization_token(&parts.headers)) {
            Ok(proof) => proof,
            Err(defect) => return SenderVerdict::Now(Err(refusal(defect))),
        };
        let used = dpop.store_address().map(|store| UsedProof { key: proof.replay_key, store });
        let earlier = parts.extensions.get::<UsedProofs>();
        if let (Some(used), Some(UsedProofs(earlier))) = (&used, earlier)
            && earlier.contains(used)
        {
            return SenderVerdict::Now(Ok(CheckedSender::new(token, proof.old_nonce, None)));
        }
        match dpop.record(&proof) {
            None => SenderVerdict::Now(Ok(CheckedSender::new(token, proof.old_nonce, None))),
            Some(Insertion::Now(sighting)) => SenderVerdict::Now(first_use(sighting, token, &proof, used)),
            Some(Insertion::Later(inserting)) => {
                let timeout = self.timeout().clone();
                SenderVerdict::Later(SenderFuture(Box::pin(async move {
                    let sighting =
                        timeout.limit(inserting).await.unwrap_or_else(|| Err(ReplayError::new("no answer in time")));
                    first_use(sighting, token, &proof, used)
                })))
            }
        }
    }
}

/// Accepts a proof that was not used before.
fn first_use(
    sighting: Result<Sighting, ReplayError>,
    token: Token,
    proof: &CheckedProof,
    used: Option<UsedProof>,
) -> Result<CheckedSender, AuthError> {
    match sighting {
        Ok(Sighting::First) => Ok(CheckedSender::new(token, proof.old_nonce, used)),
        Ok(Sighting::Before) => Err(Reason::ProofReplayed.into()),
        // The proof may have been used before, so the request is not let through.
        Err(error) => Err(AuthError::unavailable(RETRY_AFTER).with_source(error)),
    }
}

fn not_bound_to_a_key() -> AuthError {
    let change = "let the client ask for a token that is bound to its key, or send the token as Bearer";
    Reason::NotBound.because("a token without cnf.jkt under the scheme DPoP", "cnf.jkt", change)
}

fn unknown_confirmation() -> AuthError {
    let change = "let the issuer bind the token to a key (jkt) or a certificate (x5t#S256)";
    let found = "a cnf that is malformed or has a member that is not known";
    Reason::SenderConstrained.because(found, "jkt, x5t#S256 or both", change)
}

fn certificate_missing() -> AuthError {
    let change = "let the client connect with its certificate; behind a proxy, check that the proxy passes it on";
    Reason::CertificateMissing.because("no client certificate", "the certificate that the token is bound to", change)
}

fn malformed_certificate(found: &'static str) -> AuthError {
    let change = "compare the form that the proxy writes with the setting of MutualTls::behind_proxy";
    Reason::BadCertificate.because(found, "one certificate in the configured form", change)
}

fn refusal(defect: ProofDefect) -> AuthError {
    match defect {
        ProofDefect::Missing => Reason::ProofMissing.into(),
        ProofDefect::NotGood(found) => {
            let change = "let the client make its proofs as RFC 9449 §4.2 says";
            Reason::InvalidProof.because(found, "a proof by RFC 9449 §4.2", change)
        }
        ProofDefect::OtherKey => Reason::OtherKey.into(),
        ProofDefect::OtherTarget => {
            let change =
                "compare the URL that clients use with the base URL of Dpop::new and the path that the layer sees";
            Reason::ProofTarget.because(
                "htm or htu of another request",
                "the method and the URL of this request",
                change,
            )
        }
        ProofDefect::OtherTime => {
            let change = "set the clocks, or require nonces, so that clocks don't count";
            Reason::ProofTime.because(
                "an iat that is too old or ahead, or a proof that expired",
                "a recent iat",
                change,
            )
        }
        ProofDefect::OtherToken => Reason::ProofToken.into(),
        ProofDefect::NonceRequired => Reason::NonceRequired.into(),
    }
}

impl fmt::Debug for SenderChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SenderChecks")
            .field("dpop", &self.dpop.is_some())
            .field("certificates", &self.certificates.is_some())
            .field("required", &self.required)
            .finish()
    }
}

/// `Retry-After` if the store of used proofs can't be reached or is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);
