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

/// Returns the challenge of a verifier (§4.6), if the verifier is well-formed: 43 to 128 unreserved characters (§4.1).
pub(crate) fn challenge_of(verifier: &str) -> Option<String> {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let well_formed = (43..=128).contains(&verifier.len()) && verifier.bytes().all(unreserved);
    well_formed.then(|| URL_SAFE_NO_PAD.encode(sha256([verifier.as_bytes()])))
}

#[cfg(test)]
mod tests {
    use super::{challenge_of, is_challenge};

    #[test]
    fn computes_the_example_of_rfc_7636_appendix_b() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert_eq!(challenge_of(verifier).as_deref(), Some(challenge));
        assert!(is_challenge(challenge));
    }

    #[test]
    fn refuses_malformed_verifiers_and_challenges() {
        for length in [42, 129, 0] {
            assert_eq!(challenge_of(&"a".repeat(length)), None);
        }
        for length in [43, 128] {
            assert!(challenge_of(&"a".repeat(length)).is_some());
        }
        for bad in ["+", "/", "=", " ", "ä"] {
            assert_eq!(challenge_of(&format!("{}{bad}", "a".repeat(43))), None);
        }
        let good = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        for bad in ["", &format!("{good}="), &good[1..], &good.replace('-', "+"), &good.replace('M', "N")] {
            assert!(!is_challenge(bad), "{bad}");
        }
    }
}
