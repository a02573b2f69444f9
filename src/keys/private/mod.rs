//! A private key, bound to one algorithm (RFC 7515 §5.1, RFC 7517 §9.3).
//!
//! *In*: PEM, a private JWK, or nothing (a new key). *Out*: signatures of this server's own, and the public key as a JWK.
//!
//! Whether the other side knows the public key is not checked here.

mod jwk;
mod pem;

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use pkcs1::RsaPrivateKey;
use pkcs8::{PrivateKeyInfo, SecretDocument};
use serde::Serialize;
use spki::der::pem::LineEnding;

use super::{der, public_members};
use crate::{
    config_error::{ConfigError, ConfigMistake},
    jws::{Algorithm, CannotSign, Curve, KeyMaterial, SignatureAlgorithm, SigningKey, VerifyingKey},
};

/// A private key that signs with one algorithm: for a client that authenticates itself by `private_key_jwt`
/// (RFC 7523), or for issuing tokens.
///
/// Prefer [`ES256`](Algorithm::ES256) or [`EdDSA`](Algorithm::EdDSA). RSA with the feature `rust-crypto` is not
/// constant-time ([RUSTSEC-2023-0071], "Marvin"): who can measure how long many signatures take may learn the key. We
/// blind each signature, which makes that harder and not impossible. RSA with `aws-lc-rs` is not affected.
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
    /// A private key in PEM: `PRIVATE KEY` (PKCS#8, RFC 5958), `RSA PRIVATE KEY` (PKCS#1) or `EC PRIVATE KEY` (SEC 1).
    ///
    /// It has no `kid`; [`with_key_id`](Self::with_key_id) gives it one.
    ///
    /// # Errors
    /// Anything else, an encrypted key, a public key and a certificate among them; an algorithm that is not of this kind
    /// of key or that this build lacks; and what [`KeySet`](crate::keys::KeySet) refuses as too weak, too.
    pub fn from_pem(pem: impl AsRef<[u8]>, algorithm: Algorithm) -> Result<Self, ConfigError> {
        Ok(Self::load(&pem::parse(pem.as_ref())?, algorithm, None)?)
    }

    /// A private JWK (RFC 7518 §6): RSA with all its members up to `qi`, EC with P-256, P-384 or P-521, OKP with Ed25519.
    ///
    /// Its `alg` is the algorithm. Without one it is the only one of the curve, and RS256 for RSA. Its `kid` is kept.
    ///
    /// # Errors
    /// Anything else, a JWK set, a public key and a shared secret among them; a `use` or `key_ops` other than for
    /// signing; members that don't belong together; and what [`from_pem`](Self::from_pem) refuses.
    pub fn from_jwk(json: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let jwk::PrivateJwkMembers { der, algorithm, id } = jwk::parse(json.as_ref())?;
        let only = match &KeyKind::of(&der)? {
            KeyKind::Rsa => Algorithm::RS256,
            KeyKind::Ec(Curve::P256) => Algorithm::ES256,
            KeyKind::Ec(Curve::P384) => Algorithm::ES384,
            KeyKind::Ec(Curve::P521) => Algorithm::ES512,
            KeyKind::Ed25519 => Algorithm::EdDSA,
        };
        Ok(Self::load(&der, algorithm.unwrap_or(only), id)?)
    }

    /// A new key. RSA keys have 2048 bits and take a while.
    ///
    /// # Errors
    /// This build lacks the algorithm, or the system gives no random bytes.
    pub fn generate(algorithm: Algorithm) -> Result<Self, ConfigError> {
        let key = SigningKey::generate(algorithm).map_err(|found| mistake(found, GIVE_ANOTHER))?;
        Ok(Self { algorithm, id: None, key })
    }

    fn load(der: &SecretDocument, algorithm: Algorithm, id: Option<String>) -> Result<Self, ConfigMistake> {
        let kind = KeyKind::of(der)?;
        if !kind.serves(algorithm) {
            let found = format!("{}, which cannot sign with {algorithm}", kind.name());
            return Err(mistake(found, "name the algorithm that belongs to the key"));
        }
        // The backends say less about what is wrong.
        if let Some(public) = rsa_public(der)? {
            let usable = public.check().and_then(|()| verifying(algorithm, &public));
            usable.map_err(|found| mistake(found, GIVE_ANOTHER))?;
        }
        let key = SigningKey::from_pkcs8(algorithm, der.as_bytes()).map_err(|found| mistake(found, GIVE_ANOTHER))?;
        let public = key.public();
        public.check().and_then(|()| verifying(algorithm, &public)).map_err(|found| mistake(found, GIVE_ANOTHER))?;
        Ok(Self { algorithm, id, key })
    }

    /// The key's name: the `kid` in the header of what it signs, and in its public JWK.
    #[must_use]
    pub fn with_key_id(self, id: impl Into<String>) -> Self {
        Self { id: Some(id.into()), ..self }
    }

    /// The `kid`, if it has one.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The algorithm it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The public key as a JWK, to be published or registered. It has public members only, `use`, `alg`, and the `kid`.
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

    /// The private key itself, unencrypted, in PEM (`PRIVATE KEY`), to keep a generated key. It has no `kid`.
    ///
    /// Whoever reads this text can sign as this server. The text is not wiped from memory when it goes.
    ///
    /// # Errors
    /// The backend can't write it; not known to happen.
    pub fn expose_pkcs8_pem(&self) -> Result<String, ConfigError> {
        let pem = self.key.to_pkcs8().ok().and_then(|der| der.to_pem("PRIVATE KEY", LineEnding::LF).ok());
        let pem = pem.ok_or_else(|| mistake("it cannot be written as PKCS#8", "make a key of another kind"))?;
        Ok(pem.as_str().to_owned())
    }

    /// A JWS in compact form (RFC 7515 §7.1) with `alg`, `typ` and, where the key has one, `kid`.
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
                None => Err(mistake("its curve is not one that we know", GIVE_ANOTHER)),
            },
            _ => Err(mistake("its algorithm is not one that we know", GIVE_ANOTHER)),
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

    fn serves(&self, algorithm: Algorithm) -> bool {
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

/// The public numbers, if it is an RSA key.
fn rsa_public(pkcs8: &SecretDocument) -> Result<Option<KeyMaterial>, ConfigMistake> {
    let info = info(pkcs8)?;
    if info.algorithm.oid != der::RSA {
        return Ok(None);
    }
    let numbers = RsaPrivateKey::try_from(info.private_key).map_err(|_| mistake(NOT_RSA, GIVE_ANOTHER))?;
    let (modulus, exponent) = (numbers.modulus.as_bytes().to_vec(), numbers.public_exponent.as_bytes().to_vec());
    Ok(Some(KeyMaterial::Rsa { modulus, exponent }))
}

/// What this key signs can be verified by this build.
fn verifying(algorithm: Algorithm, public: &KeyMaterial) -> Result<(), &'static str> {
    VerifyingKey::load(SignatureAlgorithm::Asymmetric(algorithm), public).map(drop)
}

fn mistake(found: impl Into<String>, change: &'static str) -> ConfigMistake {
    ConfigMistake::new("private key", found, change)
}

const GIVE_ANOTHER: &str = "give an RSA key from 2048 bits, or one of P-256, P-384, P-521 or Ed25519";
const NOT_RSA: &str = "its RSA numbers are malformed";
