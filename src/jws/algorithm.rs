//! The algorithms, by their registered names (RFC 7518 §3.1, RFC 8037, RFC 9864).

use std::fmt;

/// An asymmetric signature algorithm.
///
/// ```
/// use tower_oauth::Algorithm;
///
/// assert_eq!(Algorithm::named("ES256"), Some(Algorithm::ES256));
/// assert_eq!(Algorithm::named("Ed25519"), Some(Algorithm::EdDSA));
/// assert_eq!(Algorithm::named("HS256"), None, "a shared secret is no algorithm for an allow-list");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA with P-256 and SHA-256.
    ES256,
    /// ECDSA with P-384 and SHA-384.
    ES384,
    /// ECDSA with P-521 and SHA-512. Not with the feature `rust-crypto` alone.
    ES512,
    /// Ed25519, by its old name `EdDSA` and its own name `Ed25519`.
    EdDSA,
}

/// A shared-secret algorithm; see [`SharedSecret`](crate::keys::SharedSecret).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HmacAlgorithm {
    /// HMAC with SHA-256; a secret of at least 32 bytes.
    HS256,
    /// HMAC with SHA-384; a secret of at least 48 bytes.
    HS384,
    /// HMAC with SHA-512; a secret of at least 64 bytes.
    HS512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
    ];

    /// Those that this build can verify: all with `aws-lc-rs`, all but [`ES512`](Self::ES512) with `rust-crypto` alone.
    #[must_use]
    pub fn supported() -> &'static [Self] {
        super::SUPPORTED
    }

    /// The algorithm with this registered name, exactly.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "RS256" => Self::RS256,
            "RS384" => Self::RS384,
            "RS512" => Self::RS512,
            "PS256" => Self::PS256,
            "PS384" => Self::PS384,
            "PS512" => Self::PS512,
            "ES256" => Self::ES256,
            "ES384" => Self::ES384,
            "ES512" => Self::ES512,
            "EdDSA" | "Ed25519" => Self::EdDSA,
            _ => return None,
        })
    }

    /// The registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl HmacAlgorithm {
    /// The least length of a secret, in bytes: the hash's (RFC 7518 §3.2).
    #[must_use]
    pub fn min_secret_bytes(self) -> usize {
        match self {
            Self::HS256 => 32,
            Self::HS384 => 48,
            Self::HS512 => 64,
        }
    }
}

/// What a header's `alg` can name. Two kinds that never mix: a public key is never taken for a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    Asymmetric(Algorithm),
    Hmac(HmacAlgorithm),
}

impl SignatureAlgorithm {
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "HS256" => Some(Self::Hmac(HmacAlgorithm::HS256)),
            "HS384" => Some(Self::Hmac(HmacAlgorithm::HS384)),
            "HS512" => Some(Self::Hmac(HmacAlgorithm::HS512)),
            _ => Algorithm::named(name).map(Self::Asymmetric),
        }
    }
}
