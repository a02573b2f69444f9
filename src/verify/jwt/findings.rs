//! Why a JWT is refused, with what was found, what was expected, and what to change.
//!
//! *In*: the checked value and the setting. *Out*: the error. Nothing is decided here.

use super::TokenTypes;
use crate::{
    error::{AuthError, Finding, Reason, quoted, quoted_list},
    jws::{JoseHeader, SignatureAlgorithm},
    keys::{KeySet, MAX_CANDIDATES},
};

/// The token doesn't have three segments.
pub(in crate::verify) fn not_a_jws(token: &[u8]) -> AuthError {
    let segments = token.split(|byte| *byte == b'.').count();
    let (found, change) = match segments {
        5 => (
            "an encrypted token (JWE)".to_owned(),
            "let the issuer turn off the encryption of access tokens, or introspect the tokens (IntrospectionVerifier)",
        ),
        3 if token.ends_with(b".") => (
            "a JWT without a signature".to_owned(),
            "let the issuer sign its tokens; an unsigned token is never accepted",
        ),
        3 => ("a JWT with an empty segment".to_owned(), "let the client send the token exactly as it got it"),
        1 => (
            "an opaque token".to_owned(),
            "introspect opaque tokens (IntrospectionVerifier, or JwtOrOpaque for both kinds), or let the issuer issue JWTs \
             for this API",
        ),
        _ => (format!("{segments} segments"), "let the client send the token exactly as it got it"),
    };
    Reason::NotAJws.because(found, "a signed JWT: three segments with dots between them", change)
}

/// The header isn't acceptable at all.
pub(super) fn malformed_header() -> AuthError {
    Reason::MalformedHeader.because(
        "a header that can't be read strictly",
        "base64url without padding of one JSON object with alg, without a member twice",
        "let the client send the token exactly as it got it",
    )
}

pub(super) fn critical_header() -> AuthError {
    Reason::CriticalHeader.because(
        "crit, b64 or zip in the header",
        "none of them",
        "let the issuer issue tokens without this extension",
    )
}

pub(super) fn type_not_accepted(typ: Option<&str>, types: TokenTypes) -> AuthError {
    let change = if types == TokenTypes::AccessToken && TokenTypes::AccessTokenOrPlain.accept(typ) {
        "call accept_plain_jwt_type, or give the preset of the provider, if this is an access token and not an ID token"
    } else {
        "send an access token"
    };
    Reason::TypeNotAccepted.because(shown("typ", typ), types.description(), change)
}

pub(super) fn algorithm_not_accepted(header: &JoseHeader<'_>, accepted: &[SignatureAlgorithm]) -> AuthError {
    let change = match header.algorithm {
        Some(SignatureAlgorithm::Hmac(_)) => {
            "let the issuer sign with a key pair, such as RS256 or ES256; or build the verifier from the shared secret \
             (builder_from_secret)"
        }
        Some(SignatureAlgorithm::Asymmetric(_)) => "name it in algorithms, if the issuer is meant to use it",
        None if header.algorithm_name.eq_ignore_ascii_case("none") => "never accept unsigned tokens; refuse the client",
        None => "let the issuer sign with an algorithm that this build can verify",
    };
    Reason::AlgorithmNotAccepted.because(format!("alg {}", quoted(&header.algorithm_name)), names(accepted), change)
}

/// Returns what is missing in the key set, if it has no key for the header.
pub(super) fn no_key(keys: Option<&KeySet>, key_id: Option<&str>, algorithm: SignatureAlgorithm) -> Finding {
    let found = format!("{} and alg {}", shown("kid", key_id), algorithm.as_str());
    let Some(keys) = keys else {
        return Finding::new(found, "a key set, but none was fetched yet", "check that this API can reach the issuer");
    };
    if key_id.is_some_and(|key_id| keys.has_key_id(key_id)) {
        let expected = "a key with this kid for this alg";
        return Finding::new(found, expected, "let the issuer publish the key with the alg that it signs with");
    }
    let mut ids: Vec<&str> = keys.key_ids().collect();
    ids.sort_unstable();
    let expected = match quoted_list(ids) {
        ids if ids.is_empty() => "a key for this alg; the key set has no kids".to_owned(),
        ids => format!("a kid of the key set: {ids}"),
    };
    let change = "if the token is new, check that the key set is that of its issuer (jwks_uri, or the file); the issuer may \
                  also have withdrawn the key, and then the client needs a new token";
    Finding::new(found, expected, change)
}

/// Returns which keys don't fit the signature.
pub(super) fn bad_signature(keys: &KeySet, key_id: Option<&str>, algorithm: SignatureAlgorithm) -> Finding {
    let selected = keys.candidate_count(key_id, algorithm);
    let tried = selected.min(MAX_CANDIDATES);
    let (kid, algorithm) = (shown("kid", key_id), algorithm.as_str());
    let found = format!("a signature ({kid}, alg {algorithm}) that no key fits; keys tried: {tried}");
    if tried < selected {
        let expected = format!("a key among the first {MAX_CANDIDATES}; not all {selected} keys were tried");
        return Finding::new(found, expected, "let the issuer write a kid into its tokens and its keys");
    }
    let change = "check that the key set is that of the token's issuer, and that the client sends the token unchanged";
    Finding::new(found, "a signature by the issuer", change)
}

/// A claim that must be present is missing or blank.
pub(super) fn missing_claim(name: &'static str) -> AuthError {
    let change = match name {
        "client_id" => {
            "name the claim with the client (client_claim), give the preset of the provider, or accept tokens without it \
             (accept_without), if the ID tokens of the issuer are still refused then"
        }
        "sub" | "iat" | "jti" => {
            "give the preset of the provider, or accept tokens without it (accept_without), if the ID tokens of the issuer \
             are still refused then"
        }
        _ => "let the issuer write it into its access tokens",
    };
    Reason::MissingClaim(name).because(format!("no {name}"), format!("{name} (RFC 9068 §2.2)"), change)
}

/// Returns a member of the header with its value, for logs.
pub(super) fn shown(name: &str, value: Option<&str>) -> String {
    value.map_or_else(|| format!("no {name}"), |value| format!("{name} {}", quoted(value)))
}

/// Returns the names of algorithms, for logs.
pub(super) fn names(algorithms: &[SignatureAlgorithm]) -> String {
    let names: Vec<_> = algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
    names.join(", ")
}
