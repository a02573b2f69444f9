//! The public key in the header of a DPoP proof (RFC 9449 §4.2).
//!
//! *In*: a JWK from any client. *Out*: the key and its thumbprint, or why it is refused.
//!
//! The parser is strict: each key has one accepted form, and so one thumbprint.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use super::thumbprint::RequiredMembers;
use crate::{
    confirmation::Thumbprint,
    json::{AnyValue, OtherNames, Skip, Str, once},
    jws::{Algorithm, Curve, KeyMaterial, SignatureAlgorithm, VerifyingKey},
};

/// A JWK that is parsed but not checked. It borrows from the header.
#[derive(Default)]
pub(crate) struct SenderJwk<'j> {
    kty: Option<Str<'j>>,
    crv: Option<Str<'j>>,
    x: Option<Str<'j>>,
    y: Option<Str<'j>>,
    n: Option<Str<'j>>,
    e: Option<Str<'j>>,
    alg: Option<Str<'j>>,
    public_key_use: Option<Str<'j>>,
    key_ops: Option<AnyValue<'j>>,
    /// True if there is a private or symmetric member, of any type.
    has_private_member: bool,
}

/// A key that a client can prove to have.
pub(crate) struct SenderKey {
    pub(crate) thumbprint: Thumbprint,
    pub(crate) verifying: VerifyingKey,
}

impl SenderJwk<'_> {
    /// Checks the key, and binds it to the algorithm of the header.
    pub(crate) fn load(&self, algorithm: Algorithm) -> Result<SenderKey, &'static str> {
        self.check_purpose(algorithm)?;
        let (material, members) = self.material()?;
        material.check()?;
        let algorithm = SignatureAlgorithm::Asymmetric(algorithm);
        if !material.algorithms().contains(&algorithm) {
            return Err("its alg does not belong to its kind of key");
        }
        let verifying = VerifyingKey::load(algorithm, &material)?;
        Ok(SenderKey { thumbprint: members.thumbprint(), verifying })
    }

    /// Checks the members that say what the key is for (RFC 7517 §4.2 to §4.4).
    fn check_purpose(&self, algorithm: Algorithm) -> Result<(), &'static str> {
        if self.has_private_member {
            return Err("its jwk has a private member");
        }
        if text(self.public_key_use.as_ref()).is_some_and(|purpose| purpose != "sig") {
            return Err("the use of its jwk is not sig");
        }
        // WebCrypto writes `["verify"]`.
        match &self.key_ops {
            None => {}
            Some(AnyValue::Texts(names)) if names.iter().any(|Str(name)| name == "verify") => {}
            Some(_) => return Err("the key_ops of its jwk have no verify"),
        }
        match text(self.alg.as_ref()) {
            Some(name) if name.parse() != Ok(algorithm) => Err("the alg of its jwk is not that of the header"),
            _ => Ok(()),
        }
    }

    fn material(&self) -> Result<(KeyMaterial, RequiredMembers<'_>), &'static str> {
        match (text(self.kty.as_ref()), text(self.crv.as_ref())) {
            (Some("RSA"), _) => self.rsa(),
            (Some("EC"), Some("P-256")) => self.ec(Curve::P256),
            (Some("EC"), Some("P-384")) => self.ec(Curve::P384),
            (Some("EC"), Some("P-521")) => self.ec(Curve::P521),
            (Some("OKP"), Some("Ed25519")) => {
                let x = required(self.x.as_ref())?;
                let point = decoded(x)?.try_into().map_err(|_| "an Ed25519 point has 32 bytes")?;
                Ok((KeyMaterial::Ed25519(point), RequiredMembers::Okp { crv: "Ed25519", x }))
            }
            _ => Err("the kty or crv of its jwk is not supported"),
        }
    }

    /// RFC 7518 §6.3.1: a number has no leading zero. Otherwise, one key would have several thumbprints.
    fn rsa(&self) -> Result<(KeyMaterial, RequiredMembers<'_>), &'static str> {
        let (n, e) = (required(self.n.as_ref())?, required(self.e.as_ref())?);
        let (modulus, exponent) = (decoded(n)?, decoded(e)?);
        if modulus.len() > MAX_MODULUS_BYTES {
            return Err("its RSA key has more than 4096 bits");
        }
        if [&modulus, &exponent].into_iter().any(|number| number.first() == Some(&0)) {
            return Err("an RSA number has a leading zero");
        }
        Ok((KeyMaterial::Rsa { modulus, exponent }, RequiredMembers::Rsa { n, e }))
    }

    /// RFC 7518 §6.2.1.2: a coordinate has the length of the field. [`KeyMaterial::check`] checks that.
    fn ec(&self, curve: Curve) -> Result<(KeyMaterial, RequiredMembers<'_>), &'static str> {
        let (x, y) = (required(self.x.as_ref())?, required(self.y.as_ref())?);
        let material = KeyMaterial::Ec { curve, x: decoded(x)?, y: decoded(y)? };
        Ok((material, RequiredMembers::Ec { crv: curve.as_str(), x, y }))
    }
}

fn text<'j>(member: Option<&'j Str<'_>>) -> Option<&'j str> {
    member.map(|Str(text)| &**text)
}

fn required<'j>(member: Option<&'j Str<'_>>) -> Result<&'j str, &'static str> {
    text(member).ok_or("its jwk lacks a member of its kind of key")
}

/// Decodes base64url without padding and in the only form of these bytes (RFC 7515 §2).
fn decoded(text: &str) -> Result<Vec<u8>, &'static str> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "a member of its jwk is not base64url")
}

impl<'de> Deserialize<'de> for SenderJwk<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SenderJwkVisitor)
    }
}

struct SenderJwkVisitor;

impl<'de> Visitor<'de> for SenderJwkVisitor {
    type Value = SenderJwk<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JWK")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut jwk = SenderJwk::default();
        let mut others = OtherNames::at_most(MAX_MEMBERS);
        while let Some(Str(name)) = map.next_key()? {
            let member = match &*name {
                "kty" => &mut jwk.kty,
                "crv" => &mut jwk.crv,
                "x" => &mut jwk.x,
                "y" => &mut jwk.y,
                "n" => &mut jwk.n,
                "e" => &mut jwk.e,
                "alg" => &mut jwk.alg,
                "use" => &mut jwk.public_key_use,
                "key_ops" => {
                    once(&mut jwk.key_ops, map.next_value()?)?;
                    continue;
                }
                other => {
                    jwk.has_private_member |= PRIVATE_MEMBERS.contains(&other);
                    map.next_value::<Skip>()?;
                    others.add(name)?;
                    continue;
                }
            };
            once(member, map.next_value()?)?;
        }
        Ok(jwk)
    }
}

/// Private and symmetric members (RFC 7518 §6.2.2, §6.3.2, §6.4.1; RFC 8037 §2).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// 4096 bits. Any client can choose the key of a proof, and the time of a check grows with its length.
const MAX_MODULUS_BYTES: usize = 512;
/// Maximum number of members that are not used.
const MAX_MEMBERS: usize = 64;
