//! Signature algorithms (RFC 7518 §3.1, RFC 8037, RFC 9864).
//!
//! *In*: a registered name. *Out*: the algorithm.

use std::{fmt, str::FromStr};

/// An asymmetric signature algorithm.
///
/// ```
/// use tower_oauth::keys::Algorithm;
///
/// assert_eq!("ES256".parse(), Ok(Algorithm::ES256));
/// assert_eq!("Ed25519".parse(), Ok(Algorithm::EdDSA));
/// assert!("HS256".parse::<Algorithm>().is_err(), "HMAC algorithms have a type of their own");
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
    /// ECDSA with P-521 and SHA-512. Needs the feature `aws-lc-rs`.
    ES512,
    /// Ed25519, with the names `EdDSA` and `Ed25519`.
    EdDSA,
}

/// An HMAC algorithm, for signatures with a [`SharedSecret`](crate::keys::SharedSecret).
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
    /// All algorithms.
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

    /// Returns the algorithms that this build can verify: all with `aws-lc-rs`, all but [`ES512`](Self::ES512) with
    /// `rust-crypto` alone.
    #[must_use]
    pub fn supported() -> &'static [Self] {
        super::SUPPORTED
    }

    /// Returns the registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
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
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Parses a registered name; upper and lower case differ. `EdDSA` and `Ed25519` are two names of one algorithm.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "Ed25519" => Ok(Self::EdDSA),
            name => Self::ALL.iter().copied().find(|algorithm| algorithm.as_str() == name).ok_or(UnknownAlgorithm(())),
        }
    }
}

/// The error of parsing an [`Algorithm`] or [`HmacAlgorithm`]: the text is not the name of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownAlgorithm(());

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unknown signature algorithm")
    }
}

impl std::error::Error for UnknownAlgorithm {}

impl HmacAlgorithm {
    /// All algorithms.
    pub const ALL: &[Self] = &[Self::HS256, Self::HS384, Self::HS512];

    /// Returns the registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// Returns the minimum length of a secret, in bytes: that of the hash (RFC 7518 §3.2).
    #[must_use]
    pub fn min_secret_bytes(self) -> usize {
        match self {
            Self::HS256 => 32,
            Self::HS384 => 48,
            Self::HS512 => 64,
        }
    }
}

impl fmt::Display for HmacAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for HmacAlgorithm {
    type Err = UnknownAlgorithm;

    /// Parses a registered name; upper and lower case differ.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.as_str() == name).ok_or(UnknownAlgorithm(()))
    }
}

/// An algorithm that a header's `alg` can name. The two kinds are separate, so that a public key is never used as a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    Asymmetric(Algorithm),
    Hmac(HmacAlgorithm),
}

impl SignatureAlgorithm {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        let asymmetric = name.parse().ok().map(Self::Asymmetric);
        asymmetric.or_else(|| name.parse().ok().map(Self::Hmac))
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Asymmetric(algorithm) => algorithm.as_str(),
            Self::Hmac(algorithm) => algorithm.as_str(),
        }
    }
}
