//! JSON Web Signature, compact form (RFC 7515 §7.1, RFC 8725 §3). Only this module uses the crypto crates.
//!
//! *In*: a token. *Out*: its header, and whether a key signed exactly these bytes.
//!
//! Keys are parsed once, when they are loaded. The process-global provider of jsonwebtoken is never used: it panics at the
//! first token if both or neither of its backends are enabled anywhere in the program. Claims are *not* checked here.

mod algorithm;
#[cfg(feature = "aws-lc-rs")]
mod aws_lc;
mod header;
mod material;
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
mod rust_crypto;

#[cfg(not(any(feature = "aws-lc-rs", feature = "rust-crypto")))]
compile_error!("tower-oauth needs a crypto backend: turn on the feature `aws-lc-rs` (the default) or `rust-crypto`");

use std::fmt;

use base64::{
    DecodeSliceError, Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::URL_SAFE_NO_PAD},
};

pub use self::algorithm::{Algorithm, HmacAlgorithm, UnknownAlgorithm};
#[cfg(feature = "aws-lc-rs")]
use self::aws_lc as backend;
#[cfg(feature = "test-util")]
pub(crate) use self::backend::sign_hmac;
#[cfg(all(feature = "rust-crypto", not(feature = "aws-lc-rs")))]
use self::rust_crypto as backend;
pub(crate) use self::{
    algorithm::SignatureAlgorithm,
    backend::{SUPPORTED, SigningKey, TokenMac, VerifyingKey, hmac_sha256, random, sha256},
    header::{JoseHeader, is_media_type},
    material::{Curve, KeyMaterial},
};

/// The system returned no random bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NoRandomness;

impl fmt::Display for NoRandomness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the system returned no random bytes")
    }
}

impl std::error::Error for NoRandomness {}

/// A private key could not sign.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CannotSign;

impl fmt::Display for CannotSign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the private key could not be used")
    }
}

impl std::error::Error for CannotSign {}

/// A token in compact form, split into its three segments.
#[derive(Clone, Copy)]
pub(crate) struct Compact<'t> {
    token: &'t [u8],
    header: &'t [u8],
    payload: &'t [u8],
    signature: &'t [u8],
}

impl<'t> Compact<'t> {
    /// Splits a token into three segments, none of them empty (RFC 7515 §7.1). With more segments, as in a JWE, the third one
    /// has a dot, which is not base64.
    pub(crate) fn split(token: &'t [u8]) -> Option<Self> {
        let (header, rest) = split_at_dot(token)?;
        let (payload, signature) = split_at_dot(rest)?;
        let complete = !header.is_empty() && !payload.is_empty() && !signature.is_empty();
        complete.then_some(Self { token, header, payload, signature })
    }

    /// Returns the whole token.
    pub(crate) fn token(&self) -> &'t [u8] {
        self.token
    }

    /// True if the token has more than three segments, as a JWE has (RFC 7516 §7.1).
    pub(crate) fn has_more_segments(&self) -> bool {
        memchr::memchr(b'.', self.signature).is_some()
    }

    /// Returns the encoded header.
    pub(crate) fn header(&self) -> &'t [u8] {
        self.header
    }

    /// Decodes the header into `buffer`.
    pub(crate) fn header_bytes<'b>(&self, buffer: &'b mut HeaderBuffer) -> Option<&'b [u8]> {
        let HeaderBuffer { inline, large } = buffer;
        match URL_SAFE_NO_PAD.decode_slice(self.header, inline) {
            Ok(length) => inline.get(..length),
            Err(DecodeSliceError::OutputSliceTooSmall) => {
                *large = URL_SAFE_NO_PAD.decode(self.header).ok()?;
                Some(large)
            }
            Err(DecodeSliceError::DecodeError(_)) => None,
        }
    }

    /// Decodes the payload.
    pub(crate) fn payload(&self) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(self.payload).ok()
    }

    /// True if one of `keys` signed the bytes as they were received (RFC 7515 §5.2).
    pub(crate) fn is_signed_by<'k>(&self, keys: impl Iterator<Item = &'k VerifyingKey>) -> bool {
        let mut buffer = [0; MAX_SIGNATURE_BYTES];
        let Ok(length) = URL_SAFE_NO_PAD.decode_slice(self.signature, &mut buffer) else { return false };
        let signed = self.token.get(..self.header.len() + 1 + self.payload.len()).unwrap_or_default();
        let signature = buffer.get(..length).unwrap_or_default();
        keys.into_iter().any(|key| key.verify(signed, signature))
    }
}

fn split_at_dot(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (before, rest) = text.split_at(memchr::memchr(b'.', text)?);
    Some((before, rest.get(1..)?))
}

/// Decodes the second segment of a token, without any check. It can have fewer or more segments than a JWS.
pub(crate) fn unverified_payload(token: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()
}

/// True if a token has the form of a JWS or JWE: its first segment, before a dot, encodes a JSON object.
///
/// This also holds for many malformed headers: other base64, white space or a byte order mark before the object, an object
/// that does not end, other text around it, which a header that the server accepts by name may have. So no malformed JWT counts as
/// an opaque token.
pub(crate) fn has_jwt_form(token: &str) -> bool {
    let is_b64token = |character: char| character.is_ascii_alphanumeric() || "-._~+/=".contains(character);
    token.split(|character| !is_b64token(character)).any(is_word_with_jwt_form)
}

fn is_word_with_jwt_form(word: &str) -> bool {
    let Some((header, _)) = word.split_once('.') else { return false };
    let header = header.replace('+', "-").replace('/', "_");
    let is_base64 = |byte: char| byte.is_ascii_alphanumeric() || matches!(byte, '-' | '_');
    header.split(|byte| !is_base64(byte)).any(is_encoded_object)
}

fn is_encoded_object(base64: &str) -> bool {
    let Ok(text) = ANY_BASE64.decode(base64) else { return false };
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    text.trim_ascii_start().starts_with(b"{")
}

/// Base64 with or without padding and with any bits at the end. Only to recognize what a strict decoder refuses.
const ANY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A buffer on the stack for headers of usual size; a larger one is on the heap.
pub(crate) struct HeaderBuffer {
    inline: [u8; 512],
    large: Vec<u8>,
}

impl HeaderBuffer {
    pub(crate) fn new() -> Self {
        Self { inline: [0; 512], large: Vec::new() }
    }
}

/// Size of the longest supported signature, RSA with 8192 bits, as the base64 crate estimates it.
const MAX_SIGNATURE_BYTES: usize = 1028;

#[cfg(test)]
mod tests {
    use super::{TokenMac, hmac_sha256, random, sha256};

    #[test]
    fn sha256_is_that_of_fips_180_4() {
        let abc = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23, 0xb0, 0x03,
            0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad,
        ];
        assert_eq!(sha256([b"abc".as_slice()]), abc);
        assert_eq!(sha256([b"a".as_slice(), b"", b"bc"]), abc);
    }

    #[test]
    fn hmac_sha256_is_that_of_rfc_4231_section_4_3() {
        // The key is `Jefe`. HMAC pads a shorter key with zeros.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let mac = [
            0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00,
            0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
        ];
        assert_eq!(hmac_sha256(&key, [b"what do ya want ".as_slice(), b"for nothing?"]), mac);
        assert_eq!(hmac_sha256(&key, [b"what do ya want for nothing?".as_slice()]), mac);
    }

    #[test]
    fn a_mac_depends_on_the_key_and_on_the_message() {
        let (one, other) = (TokenMac::new().unwrap(), TokenMac::new().unwrap());
        assert_eq!(one.mac(b"token"), one.mac(b"token"));
        assert_ne!(one.mac(b"token"), one.mac(b"token\0"), "the length counts");
        assert_ne!(one.mac(b""), one.mac(b"\0"));
        assert_ne!(one.mac(b"token"), other.mac(b"token"));
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random::<16>().unwrap(), random::<16>().unwrap());
    }
}
