//! A private key, bound to one algorithm (RFC 7515 §5.1, RFC 7517 §9.3).
//!
//! *In*: PEM, a private JWK, or nothing (for a new key). *Out*: signatures, and the public key as a JWK.
//!
//! Whether the public key is published is *not* checked here.

mod jwk;
mod pem;

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pkcs1::RsaPrivateKey;
use pkcs8::{PrivateKeyInfo, SecretDocument};
use serde::Serialize;
use spki::der::pem::LineEnding;

#[cfg(feature = "token-endpoint")]
use super::thumbprint;
use super::{der, public_members};
#[cfg(feature = "token-endpoint")]
use crate::confirmation::Thumbprint;
use crate::{
    config_error::{ConfigError, ConfigMistake},
    jws::{Algorithm, CannotSign, Curve, KeyMaterial, SignatureAlgorithm, SigningKey, VerifyingKey},
};

/// A private key that signs with one algorithm: for a client that authenticates by `private_key_jwt` (RFC 7523), or for
/// issuing tokens.
///
/// Prefer [`ES256`](Algorithm::ES256) or [`EdDSA`](Algorithm::EdDSA). RSA with the feature `rust-crypto` is not
/// constant-time ([RUSTSEC-2023-0071], "Marvin"): an attacker who can measure the time of many signatures may learn the key.
/// Each signature is blinded, which makes that harder but not impossible. RSA with `aws-lc-rs` is not affected.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::keys::{Algorithm, KeySet, PrivateKey};
///
/// let key = PrivateKey::generate(Algorithm::ES256)?.with_key_id("2026-11");
/// let published = KeySet::from_json(format!(r#"{{"keys": [{}]}}"#, key.public_jwk()))?;
/// assert_eq!(published.len(), 1);
/// # Ok(())
/// # }
/// ```
///
/// [RUSTSEC-2023-0071]: https://rustsec.org/advisories/RUSTSEC-2023-0071.html
pub struct PrivateKey {
    algorithm: Algorithm,
    id: Option<String>,
    key: SigningKey,
}

impl PrivateKey {
    /// Parses a private key in PEM: `PRIVATE KEY` (PKCS#8, RFC 5958), `RSA PRIVATE KEY` (PKCS#1) or `EC PRIVATE KEY` (SEC 1).
    ///
    /// The key has no `kid`. [`with_key_id`](Self::with_key_id) sets it.
    ///
    /// # Errors
    /// The text is anything else, such as an encrypted key, a public key or a certificate; the algorithm doesn't belong to
    /// the kind of key, or this build lacks it; or the key is too weak for a [`KeySet`](crate::keys::KeySet).
    pub fn from_pem(pem: impl AsRef<[u8]>, algorithm: Algorithm) -> Result<Self, ConfigError> {
        Ok(Self::load(&pem::parse(pem.as_ref())?, algorithm, None)?)
    }

    /// Parses a private JWK (RFC 7518 §6): RSA with all members up to `qi`, EC with P-256, P-384 or P-521, or OKP with
    /// Ed25519.
    ///
    /// `alg` is the algorithm. Default: the only algorithm of the curve, or RS256 for RSA. `kid` is the key id.
    ///
    /// # Errors
    /// The text is anything else, such as a JWK set, a public key or a shared secret; `use` or `key_ops` don't allow signing;
    /// the members don't belong together; or the key is one that [`from_pem`](Self::from_pem) refuses.
    pub fn from_jwk(json: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let jwk::PrivateJwkMembers { der, algorithm, id } = jwk::parse(json.as_ref())?;
        let default = match &KeyKind::of(&der)? {
            KeyKind::Rsa => Algorithm::RS256,
            KeyKind::Ec(Curve::P256) => Algorithm::ES256,
            KeyKind::Ec(Curve::P384) => Algorithm::ES384,
            KeyKind::Ec(Curve::P521) => Algorithm::ES512,
            KeyKind::Ed25519 => Algorithm::EdDSA,
        };
        Ok(Self::load(&der, algorithm.unwrap_or(default), id)?)
    }

    /// Generates a key. RSA keys have 2048 bits, and their generation can take seconds.
    ///
    /// # Errors
    /// This build lacks the algorithm, or the system returns no random bytes.
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        let key = SigningKey::generate(algorithm).map_err(|found| mistake(found, GIVE_ANOTHER))?;
        Ok(Self { algorithm, id: None, key })
    }

    fn load(der: &SecretDocument, algorithm: Algorithm, id: Option<String>) -> Result<Self, ConfigMistake> {
        let kind = KeyKind::of(der)?;
        if !kind.can_sign_with(algorithm) {
            let found = format!("{}, which cannot sign with {algorithm}", kind.name());
            return Err(mistake(found, "name the algorithm that belongs to the key"));
        }
        // Checked first, because the messages of the backends are less precise.
        if let Some(public) = rsa_public(der)? {
            let usable = public.check().and_then(|()| check_verifiable(algorithm, &public));
            usable.map_err(|found| mistake(found, GIVE_ANOTHER))?;
        }
        let key = SigningKey::from_pkcs8(algorithm, der.as_bytes()).map_err(|found| mistake(found, GIVE_ANOTHER))?;
        let public = key.public();
        public
            .check()
            .and_then(|()| check_verifiable(algorithm, &public))
            .map_err(|found| mistake(found, GIVE_ANOTHER))?;
        Ok(Self { algorithm, id, key })
    }

    /// Returns the key with this key id: the `kid` in the header of what it signs, and in its public JWK.
    #[must_use]
    pub fn with_key_id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// Returns the `kid`, if the key has one.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Returns the algorithm that the key signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the public key as a JWK, to publish or register it. It has the public members, `use`, `alg` and `kid`.
    #[must_use]
    pub fn public_jwk(&self) -> String {
        let mut jwk = public_members(&self.key.public());
        if let Some(members) = jwk.as_object_mut() {
            members.insert("use".to_owned(), "sig".into());
            members.insert("alg".to_owned(), self.algorithm.as_str().into());
            members.extend(self.id.clone().map(|id| ("kid".to_owned(), id.into())));
        }
        jwk.to_string()
    }

    /// Returns the thumbprint of the public key (RFC 7638).
    #[cfg(feature = "token-endpoint")]
    pub(crate) fn thumbprint(&self) -> Thumbprint {
        thumbprint(&self.key.public())
    }

    /// Returns the private key, unencrypted, in PEM (`PRIVATE KEY`), to store a generated key. The text has no `kid`.
    ///
    /// Everyone who reads this text can sign as this program. The text is not wiped from memory when it is dropped.
    ///
    /// # Errors
    /// The backend can't write the key. This is not known to happen.
    pub fn expose_pkcs8_pem(&self) -> Result<String, ConfigError> {
        let pem = self.key.to_pkcs8().ok().and_then(|der| der.to_pem("PRIVATE KEY", LineEnding::LF).ok());
        let pem = pem.ok_or_else(|| mistake("it cannot be written as PKCS#8", "generate a key of another kind"))?;
        Ok(pem.as_str().to_owned())
    }

    /// Signs `claims`. Returns a JWS in compact form (RFC 7515 §7.1) with `alg`, `typ` and, if the key has one, `kid`.
    pub(crate) fn sign_jws(&self, typ: &str, claims: &impl Serialize) -> Result<String, CannotSign> {
        let header = JwsHeader { alg: self.algorithm.as_str(), typ, kid: self.key_id() };
        let mut jws = String::new();
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(&header).map_err(|_| CannotSign)?, &mut jws);
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(claims).map_err(|_| CannotSign)?, &mut jws);
        let signature = self.key.sign(self.algorithm, jws.as_bytes())?;
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
        Ok(jws)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateKey")
            .field("algorithm", &self.algorithm)
            .field("key_id", &self.id)
            .field("key", &"[redacted]")
            .finish()
    }
}

#[derive(Serialize)]
struct JwsHeader<'h> {
    alg: &'static str,
    typ: &'h str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'h str>,
}

/// The kinds of keys that can sign.
enum KeyKind {
    Rsa,
    Ec(Curve),
    Ed25519,
}

impl KeyKind {
    fn of(pkcs8: &SecretDocument) -> Result<Self, ConfigMistake> {
        let info = info(pkcs8)?;
        match info.algorithm.oid {
            der::RSA => Ok(Self::Rsa),
            der::ED25519 => Ok(Self::Ed25519),
            der::EC => match info.algorithm.parameters_oid().ok().and_then(der::curve) {
                Some(curve) => Ok(Self::Ec(curve)),
                None => Err(mistake("its curve is not supported", GIVE_ANOTHER)),
            },
            _ => Err(mistake("its algorithm is not supported", GIVE_ANOTHER)),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Rsa => "an RSA key",
            Self::Ec(Curve::P256) => "a P-256 key",
            Self::Ec(Curve::P384) => "a P-384 key",
            Self::Ec(Curve::P521) => "a P-521 key",
            Self::Ed25519 => "an Ed25519 key",
        }
    }

    fn can_sign_with(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Ec(Curve::P256) => algorithm == Algorithm::ES256,
            Self::Ec(Curve::P384) => algorithm == Algorithm::ES384,
            Self::Ec(Curve::P521) => algorithm == Algorithm::ES512,
            Self::Ed25519 => algorithm == Algorithm::EdDSA,
            Self::Rsa => {
                !matches!(algorithm, Algorithm::ES256 | Algorithm::ES384 | Algorithm::ES512 | Algorithm::EdDSA)
            }
        }
    }
}

fn info(pkcs8: &SecretDocument) -> Result<PrivateKeyInfo<'_>, ConfigMistake> {
    pkcs8.decode_msg().map_err(|_| mistake("it is not PKCS#8", GIVE_ANOTHER))
}

/// Returns the public numbers of an RSA key.
fn rsa_public(pkcs8: &SecretDocument) -> Result<Option<KeyMaterial>, ConfigMistake> {
    let info = info(pkcs8)?;
    if info.algorithm.oid != der::RSA {
        return Ok(None);
    }
    let numbers = RsaPrivateKey::try_from(info.private_key).map_err(|_| mistake(NOT_RSA, GIVE_ANOTHER))?;
    let (modulus, exponent) = (numbers.modulus.as_bytes().to_vec(), numbers.public_exponent.as_bytes().to_vec());
    Ok(Some(KeyMaterial::Rsa { modulus, exponent }))
}

/// Checks that this build can verify what the key signs.
fn check_verifiable(algorithm: Algorithm, public: &KeyMaterial) -> Result<(), &'static str> {
    VerifyingKey::load(SignatureAlgorithm::Asymmetric(algorithm), public).map(drop)
}

fn mistake(found: impl Into<String>, change: &'static str) -> ConfigMistake {
    ConfigMistake::new("private key", found, change)
}

const GIVE_ANOTHER: &str = "give an RSA key from 2048 bits, or one of P-256, P-384, P-521 or Ed25519";
const NOT_RSA: &str = "its RSA numbers are malformed";
