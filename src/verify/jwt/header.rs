//! The checks of the header and of the signature.
//!
//! *In*: a token and a key set. *Out*: the members of the header, or why the token is refused.

use std::borrow::Cow;

use super::{Fault, TokenTypes, findings, not_a_jws};
use crate::{
    error::{AuthError, Reason},
    jws::{Compact, HeaderBuffer, JoseHeader, SignatureAlgorithm},
    keys::{KeySet, remote::MissingKey},
};

/// The members of a header that has passed its checks.
pub(super) struct CheckedHeader<'b> {
    pub(super) algorithm: SignatureAlgorithm,
    pub(super) key_id: Option<Cow<'b, str>>,
    /// True if `typ` says that it is an access token.
    pub(super) typed: bool,
}

/// Checks the header and the signature, but no claims. `testing` uses it for published test vectors.
pub(crate) fn check_signature(
    jws: &Compact<'_>,
    keys: Option<&KeySet>,
    algorithms: &[SignatureAlgorithm],
    types: TokenTypes,
) -> Result<(), Fault> {
    let mut buffer = HeaderBuffer::new();
    let header = parse_header(jws, &mut buffer, algorithms, types)?;
    verify_signature(jws, keys, header.algorithm, header.key_id.as_deref())
}

/// Checks the header.
pub(super) fn parse_header<'b>(
    jws: &Compact<'_>,
    buffer: &'b mut HeaderBuffer,
    algorithms: &[SignatureAlgorithm],
    types: TokenTypes,
) -> Result<CheckedHeader<'b>, AuthError> {
    let header = jws.header_bytes(buffer).and_then(JoseHeader::parse).ok_or_else(findings::malformed_header)?;
    // The header of a JWE has another `typ` and `alg`, and may have `zip`, but its form says more.
    if header.algorithm.is_none() && jws.has_more_segments() {
        return Err(not_a_jws(jws.token()));
    }
    if header.critical {
        return Err(findings::critical_header());
    }
    if !types.accept(header.typ.as_deref()) {
        return Err(findings::type_not_accepted(header.typ.as_deref(), types));
    }
    match header.algorithm.filter(|algorithm| algorithms.contains(algorithm)) {
        Some(algorithm) => {
            let is_access_token = TokenTypes::AccessToken.accept(header.typ.as_deref());
            Ok(CheckedHeader { algorithm, key_id: header.key_id, typed: is_access_token })
        }
        None => Err(findings::algorithm_not_accepted(&header, algorithms)),
    }
}

/// Checks the signature with the keys that the header selects.
pub(super) fn verify_signature(
    jws: &Compact<'_>,
    keys: Option<&KeySet>,
    algorithm: SignatureAlgorithm,
    key_id: Option<&str>,
) -> Result<(), Fault> {
    let no_key = || findings::no_key(keys, key_id, algorithm);
    let Some(keys) = keys else { return Err(Fault::NoKey(MissingKey::unknown(key_id, None, no_key()))) };
    let mut candidates = keys.candidates(key_id, algorithm).peekable();
    let has_candidates = candidates.peek().is_some();
    if jws.is_signed_by(candidates) {
        return Ok(());
    }
    // At most keys without a `kid` were tried if this one is unknown. The issuer may have published it since.
    Err(Fault::NoKey(if key_id.is_some_and(|key_id| !keys.has_key_id(key_id)) {
        MissingKey::unknown(key_id, Some(keys), no_key())
    } else if has_candidates {
        let finding = findings::bad_signature(keys, key_id, algorithm);
        MissingKey::mismatched(key_id, keys, Reason::BadSignature, finding)
    } else {
        MissingKey::mismatched(key_id, keys, Reason::UnknownKey, no_key())
    }))
}
