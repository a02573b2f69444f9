//! Nonces that a server gives to its clients (RFC 9449 §8, §9).
//!
//! *In*: a secret and the time. *Out*: the current nonce, and whether a client's nonce is recent. Nothing is stored for a nonce:
//! it is a keyed hash of the minute in which it was given out.

use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::{
    config_error::{ConfigError, ConfigMistake},
    jws::{hmac_sha256, random},
};

/// The secret from which a server makes the nonces of its clients (RFC 9449 §8). `Debug` hides it.
///
/// A client must not be able to guess a nonce. So every instance that serves the same URL must have the same secret, and no
/// other program may know it.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::dpop::NonceSecret;
///
/// let secret = NonceSecret::for_one_instance()?;
/// assert!(!format!("{secret:?}").contains(char::is_numeric));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct NonceSecret(Zeroizing<[u8; 32]>);

impl NonceSecret {
    /// Returns a secret that all instances of one server share: 32 random bytes from their configuration.
    #[must_use]
    pub fn shared(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns a new random secret, for a server with one instance. With several instances, each would refuse the nonces of the
    /// others: use [`shared`](Self::shared).
    ///
    /// # Errors
    /// The system returned no random bytes.
    pub fn for_one_instance() -> Result<Self, ConfigError> {
        let bytes = random().map_err(|error| {
            ConfigMistake::new("nonces", error.to_string(), "start the program where the system has random numbers")
        })?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

impl fmt::Debug for NonceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NonceSecret").field(&"[redacted]").finish()
    }
}

/// The nonces of one server. A nonce is current for a minute, and accepted for four more.
pub(crate) struct Nonces {
    secret: NonceSecret,
    /// Nonces with another purpose differ, also if the secret is the same (RFC 9449 §9).
    purpose: &'static [u8],
    /// Computed again when the minute has changed.
    accepted: ArcSwapOption<AcceptedNonces>,
}

/// A nonce that a client sent and that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecentNonce {
    /// Unix seconds. The nonce is not accepted from then on.
    pub(crate) expires_at: u64,
    pub(crate) is_current: bool,
}

impl Nonces {
    pub(crate) fn for_resource_server(secret: NonceSecret) -> Self {
        Self::new(secret, b"tower-oauth nonce rs")
    }

    #[cfg(any(test, feature = "token-endpoint"))]
    pub(crate) fn for_token_endpoint(secret: NonceSecret) -> Self {
        Self::new(secret, b"tower-oauth nonce as")
    }

    fn new(secret: NonceSecret, purpose: &'static [u8]) -> Self {
        Self { secret, purpose, accepted: ArcSwapOption::empty() }
    }

    /// Returns the nonce to give out at this time, in Unix seconds.
    pub(crate) fn current(&self, now: u64) -> Option<HeaderValue> {
        self.accepted(now).nonces.get(CURRENT).and_then(|(_, text)| HeaderValue::from_bytes(text).ok())
    }

    /// Finds the nonce among the accepted ones. The time does not depend on which of them it is.
    pub(crate) fn find(&self, nonce: &str, now: u64) -> Option<RecentNonce> {
        let sent: &[u8; NONCE_CHARS] = nonce.as_bytes().try_into().ok()?;
        let accepted = self.accepted(now);
        let mut found = None;
        for (index, (step, text)) in accepted.nonces.iter().enumerate() {
            let difference = text.iter().zip(sent).fold(0, |difference, (one, other)| difference | (one ^ other));
            if difference == 0 {
                let end = step.saturating_add(PREVIOUS_STEPS + 1).saturating_mul(STEP_SECONDS);
                found = Some(RecentNonce { expires_at: end, is_current: index == CURRENT });
            }
        }
        found
    }

    fn accepted(&self, now: u64) -> Arc<AcceptedNonces> {
        let step = now / STEP_SECONDS;
        if let Some(accepted) = self.accepted.load().as_ref().filter(|accepted| accepted.step == step) {
            return Arc::clone(accepted);
        }
        let nonces = std::array::from_fn(|index| {
            // From the next step down to the oldest one.
            let step = (step + 1).saturating_sub(index as u64);
            (step, self.nonce(step))
        });
        let accepted = Arc::new(AcceptedNonces { step, nonces });
        self.accepted.store(Some(Arc::clone(&accepted)));
        accepted
    }

    fn nonce(&self, step: u64) -> [u8; NONCE_CHARS] {
        let mac = hmac_sha256(&self.secret.0, [self.purpose, &step.to_be_bytes()]);
        let mut text = [0; ENCODED_MAC_CHARS];
        // The buffer has the exact length.
        let _ = URL_SAFE_NO_PAD.encode_slice(mac, &mut text);
        let mut nonce = [0; NONCE_CHARS];
        nonce.iter_mut().zip(text).for_each(|(to, from)| *to = from);
        nonce
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

struct AcceptedNonces {
    step: u64,
    /// With their steps: the next one, for a server whose clock is ahead, the current one, and the previous ones.
    nonces: [(u64, [u8; NONCE_CHARS]); ACCEPTED],
}

/// The index of the current nonce.
const CURRENT: usize = 1;
/// Duration of a step.
const STEP_SECONDS: u64 = 60;
const PREVIOUS_STEPS: u64 = 4;
const ACCEPTED: usize = 6;
/// 132 bits in base64url.
const NONCE_CHARS: usize = 22;
const ENCODED_MAC_CHARS: usize = 43;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn nonces(secret: u8) -> Nonces {
        Nonces::for_resource_server(NonceSecret::shared([secret; 32]))
    }

    fn text(nonces: &Nonces, now: u64) -> String {
        nonces.current(now).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_nonce_is_current_for_a_minute_and_accepted_for_four_more() {
        let nonces = nonces(1);
        let nonce = text(&nonces, NOW);
        let current = RecentNonce { expires_at: NOW + 300, is_current: true };
        let old = RecentNonce { is_current: false, ..current };
        for (time, expected) in [
            (NOW, Some(current)),
            (NOW + 59, Some(current)),
            (NOW + 60, Some(old)),
            (NOW + 299, Some(old)),
            (NOW + 300, None),
            (NOW + 1_000_000, None),
            // Another instance with a slower clock.
            (NOW - 1, Some(old)),
            (NOW - 60, Some(old)),
            (NOW - 61, None),
            (0, None),
        ] {
            assert_eq!(nonces.find(&nonce, time), expected, "{time}");
        }
    }

    #[test]
    fn a_nonce_is_refused_from_its_expiry_on() {
        let nonces = nonces(1);
        for made in (NOW..NOW + 120).step_by(7) {
            let nonce = text(&nonces, made);
            for time in made.saturating_sub(60)..made + 400 {
                if let Some(found) = nonces.find(&nonce, time) {
                    assert!(time < found.expires_at);
                    assert_eq!(nonces.find(&nonce, found.expires_at), None);
                    assert!(nonces.find(&nonce, found.expires_at - 1).is_some());
                }
            }
        }
    }

    #[test]
    fn every_instance_with_the_same_secret_makes_the_same_nonces() {
        let (one, same, other) = (nonces(1), nonces(1), nonces(2));
        let nonce = text(&one, NOW);
        assert_eq!(nonce, text(&same, NOW + 1));
        assert!(same.find(&nonce, NOW).is_some() && other.find(&nonce, NOW).is_none());
        assert_ne!(nonce, text(&one, NOW + 60));
        let random = || Nonces::for_resource_server(NonceSecret::for_one_instance().unwrap());
        assert_ne!(text(&random(), NOW), text(&random(), NOW));
    }

    #[test]
    fn a_resource_server_and_a_token_endpoint_refuse_the_nonces_of_each_other() {
        let secret = NonceSecret::shared([1; 32]);
        let (api, endpoint) = (Nonces::for_resource_server(secret.clone()), Nonces::for_token_endpoint(secret));
        for time in [NOW, NOW + 60] {
            let (of_api, of_endpoint) = (text(&api, NOW), text(&endpoint, NOW));
            assert!(api.find(&of_api, time).is_some() && endpoint.find(&of_endpoint, time).is_some());
            assert!(api.find(&of_endpoint, time).is_none() && endpoint.find(&of_api, time).is_none());
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let nonces = nonces(1);
        let nonce = text(&nonces, NOW);
        let other_case = if nonce == nonce.to_lowercase() { nonce.to_uppercase() } else { nonce.to_lowercase() };
        for other in ["", "a", &nonce[1..], &format!("{nonce}A"), &format!("{nonce}\0"), &other_case, &"A".repeat(22)] {
            assert_eq!(nonces.find(other, NOW), None, "{other}");
        }
    }

    #[test]
    fn a_nonce_has_only_characters_of_the_header() {
        for step in 0..200 {
            let nonce = text(&nonces(1), step * 60);
            // NQCHAR (RFC 9449 §8.1).
            let is_nqchar = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
            assert!(nonce.len() == NONCE_CHARS && nonce.bytes().all(is_nqchar), "{nonce}");
        }
        assert!(nonces(1).current(u64::MAX).is_some(), "no time makes it fail");
    }

    #[test]
    fn a_clock_that_is_set_back_changes_the_nonce_again() {
        let nonces = nonces(1);
        let (first, later) = (text(&nonces, NOW), text(&nonces, NOW + 600));
        assert_eq!(text(&nonces, NOW), first);
        assert_eq!(nonces.find(&later, NOW), None);
    }

    #[test]
    fn debug_hides_the_secret() {
        let secret = NonceSecret::shared([77; 32]);
        let text = format!("{secret:?} {:?}", Nonces::for_token_endpoint(secret.clone()));
        assert_eq!(text, "NonceSecret(\"[redacted]\") Nonces { .. }");
    }
}
