//! Several trusted issuers behind one layer: an allow-list first (RFC 8725 §3.8, RFC 9068 §4).
//!
//! *In*: a token's text. *Out*: the verdict of the one verifier whose issuer the token names.
//!
//! What a token says of its issuer is not believed here, it only chooses who judges: the chosen verifier has its own keys,
//! audience, algorithms and relaxations, and accepts tokens of its own issuer only. An issuer that is not on the list
//! causes no look-up of anything.

use std::{collections::HashMap, fmt, sync::Arc};

use super::{JwtVerifier, PresentedToken, Verdict, Verify};
use crate::{
    claims::unverified_issuer,
    config_error::{ConfigError, MistakeCollector},
    error::{AuthError, Reason},
    jws::unverified_payload,
    token::Token,
};

/// Verifies the JWT access tokens of several issuers, each by its own rules.
///
/// ```
/// # fn example(staff: tower_oauth::Issuer, partners: tower_oauth::Issuer) -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::{verify::TrustedIssuers, JwtVerifier, OAuthLayer};
///
/// let staff = JwtVerifier::new(staff, "https://api.example.com")?;
/// let partners = JwtVerifier::builder(partners, "https://api.example.com").accept_plain_jwt_type().build()?;
/// let layer = OAuthLayer::new(TrustedIssuers::new([staff, partners])?);
/// # Ok(())
/// # }
/// ```
///
/// A `sub` or `client_id` is unique within its issuer only: use it together with [`Token::issuer`](crate::Token::issuer).
#[derive(Clone)]
pub struct TrustedIssuers {
    verifiers: Arc<HashMap<Box<str>, JwtVerifier>>,
}

impl TrustedIssuers {
    /// Trusts the issuers of these verifiers.
    ///
    /// # Errors
    /// No verifier, or two of the same issuer.
    pub fn new(verifiers: impl IntoIterator<Item = JwtVerifier>) -> Result<Self, ConfigError> {
        let (mut list, mut mistakes) = (HashMap::new(), MistakeCollector::new());
        for verifier in verifiers {
            let identifier: Box<str> = verifier.issuer().identifier().into();
            if list.insert(identifier.clone(), verifier).is_some() {
                let found = format!("{identifier:?} has two verifiers");
                mistakes.add("issuers", found, "give one verifier for each issuer");
            }
        }
        if list.is_empty() {
            mistakes.add("issuers", "the list is empty", "give at least one verifier");
        }
        mistakes.finish()?;
        Ok(Self { verifiers: Arc::new(list) })
    }
}

impl Verify for TrustedIssuers {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        let named = named_issuer(presented.token());
        match named.and_then(|issuer| self.verifiers.get(&*issuer).ok_or_else(|| Reason::WrongIssuer.into())) {
            Ok(verifier) => verifier.verify(presented),
            Err(error) => Verdict::Now(Err(error)),
        }
    }

    fn verify_own(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        let verifier = self.verifiers.get(&*named_issuer(presented.token()).ok()?)?;
        Some(verifier.verify(presented))
    }

    fn still_holds(&self, token: &Token) -> bool {
        let verifier = token.issuer().and_then(|issuer| self.verifiers.get(issuer));
        verifier.is_some_and(|verifier| verifier.still_holds(token))
    }
}

/// The issuer that a token names, unverified: it chooses who judges, and proves nothing. One without a signature, or with
/// a segment too many, names one too: else it would be nobody's, and [`JwtOrOpaque`](super::JwtOrOpaque) would hand it on.
pub(super) fn named_issuer(token: &str) -> Result<String, AuthError> {
    let claims = unverified_payload(token).ok_or(Reason::NotAJws)?;
    Ok(unverified_issuer(&claims).ok_or(Reason::WrongIssuer)?)
}

impl fmt::Debug for TrustedIssuers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.verifiers.keys()).finish()
    }
}
