//! Proof Key for Code Exchange (RFC 7636), S256 only (RFC 9700 §2.1.1).
//!
//! *In*: the challenge of an authorization request, the verifier of a token request. *Out*: whether they are well-formed.
//!
//! Whether they belong together is not checked here: a code is stored with its challenge, and found only with it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::jws::sha256;

/// True for base64url of a SHA-256 hash, without padding (§4.2).
pub(crate) fn is_challenge(challenge: &str) -> bool {
    // This engine refuses padding and non-canonical encodings.
    challenge.len() == 43 && URL_SAFE_NO_PAD.decode(challenge).is_ok()
}

/// Returns the challenge of a verifier (§4.6), if that has 43 to 128 bytes. §4.1 allows unreserved characters only, but some
/// clients draw theirs from all of base64. The hash is the same for both sides, so nothing is lost.
pub(crate) fn challenge_of(verifier: &str) -> Option<String> {
    (43..=128).contains(&verifier.len()).then(|| URL_SAFE_NO_PAD.encode(sha256([verifier.as_bytes()])))
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    use super::{challenge_of, is_challenge};
    use crate::jws::sha256;

    /// RFC 7636 §4.1 (MUST, accepts)
    #[test]
    fn computes_the_example_of_rfc_7636_appendix_b() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(challenge_of(verifier).as_deref(), Some(challenge));
        assert!(is_challenge(challenge));
    }

    /// RFC 7636 §4.1 (MUST, accepts)
    #[test]
    fn hashes_a_verifier_of_other_characters_as_it_came() {
        for other in ["+", "/", "=", " ", "ä"] {
            let verifier = format!("{}{other}", "a".repeat(43));
            let hash = URL_SAFE_NO_PAD.encode(sha256([verifier.as_bytes()]));
            assert_eq!(challenge_of(&verifier), Some(hash));
        }
        assert_eq!(challenge_of(&"ä".repeat(65)), None, "130 bytes");
    }

    /// RFC 7636 §4.1 (MUST, refuses)
    /// Threat T15
    #[test]
    fn refuses_malformed_verifiers_and_challenges() {
        for length in [42, 129, 0] {
            assert_eq!(challenge_of(&"a".repeat(length)), None);
        }
        for length in [43, 128] {
            assert!(challenge_of(&"a".repeat(length)).is_some());
        }
        let good = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        for bad in ["", &format!("{good}="), &good[1..], &good.replace('-', "+"), &good.replace('M', "N")] {
            assert!(!is_challenge(bad), "{bad}");
        }
    }
}
