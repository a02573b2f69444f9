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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{confirmation::encoded, jws::SigningKey, keys::public_members};

    /// The key of RFC 9449, figures 1 and 12.
    const EC: &str = r#"{"kty":"EC","crv":"P-256","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
        "y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"}"#;

    fn load(jwk: &str, algorithm: Algorithm) -> Result<String, &'static str> {
        let jwk: SenderJwk<'_> = serde_json::from_str(jwk).map_err(|_| "malformed")?;
        jwk.load(algorithm).map(|key| encoded(&key.thumbprint))
    }

    fn rsa(modulus: &[u8], exponent: &[u8]) -> String {
        let b64 = |number| URL_SAFE_NO_PAD.encode(number);
        json!({"kty": "RSA", "n": b64(modulus), "e": b64(exponent)}).to_string()
    }

    /// An odd number of this length, whose first byte is given.
    fn number(bytes: usize, first: u8) -> Vec<u8> {
        let mut number = vec![0x5b; bytes];
        number[0] = first;
        number
    }

    #[test]
    fn computes_the_thumbprints_of_the_specifications() {
        assert_eq!(load(EC, Algorithm::ES256).unwrap(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I", "RFC 9449 §6.1");
        let okp = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let expected = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k";
        assert_eq!(load(okp, Algorithm::EdDSA).unwrap(), expected, "RFC 8037 A.3");
        let rsa = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        let expected = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(load(rsa, Algorithm::RS256).unwrap(), expected, "RFC 7638 §3.1");
    }

    #[cfg(any(feature = "token-endpoint", feature = "test-util"))]
    #[test]
    fn a_generated_key_has_the_thumbprint_of_its_jwk() {
        for algorithm in Algorithm::supported() {
            let public = SigningKey::generate(*algorithm).unwrap().public();
            let from_jwk = load(&public_members(&public).to_string(), *algorithm).unwrap();
            assert_eq!(from_jwk, encoded(&crate::keys::thumbprint(&public)), "{algorithm}");
        }
    }

    #[test]
    fn accepts_members_that_clients_add() {
        let thumbprint = load(EC, Algorithm::ES256).unwrap();
        for (name, value) in [
            ("alg", json!("ES256")),
            ("use", json!("sig")),
            ("key_ops", json!(["verify"])),
            ("key_ops", json!(["sign", "verify"])),
            ("ext", json!(true)),
            ("kid", json!("1")),
            ("x5c", json!(["MII"])),
            ("other", json!({"a": [null, 1.5]})),
        ] {
            let mut jwk: Value = serde_json::from_str(EC).unwrap();
            jwk[name] = value;
            assert_eq!(load(&jwk.to_string(), Algorithm::ES256).as_ref(), Ok(&thumbprint), "{jwk}");
        }
        let okp = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","alg":"Ed25519"}"#;
        assert!(load(okp, Algorithm::EdDSA).is_ok(), "both names of one algorithm (RFC 9864)");
    }

    #[test]
    fn refuses_members_that_a_proof_must_not_have() {
        const PRIVATE: &str = "its jwk has a private member";
        const PURPOSE: &str = "the key_ops of its jwk have no verify";
        let mut rows = vec![
            ("use", json!("enc"), "the use of its jwk is not sig"),
            ("use", json!(""), "the use of its jwk is not sig"),
            ("key_ops", json!([]), PURPOSE),
            ("key_ops", json!(["sign"]), PURPOSE),
            ("key_ops", json!("verify"), PURPOSE),
            ("key_ops", json!(["verify", 1]), PURPOSE),
            ("alg", json!("ES384"), "the alg of its jwk is not that of the header"),
            ("alg", json!("none"), "the alg of its jwk is not that of the header"),
            ("alg", json!(null), "malformed"),
            ("use", json!(1), "malformed"),
            ("kty", json!("oct"), "the kty or crv of its jwk is not supported"),
            ("kty", json!("ec"), "the kty or crv of its jwk is not supported"),
            ("kty", json!("RSA"), "its jwk lacks a member of its kind of key"),
            ("kty", json!("OKP"), "the kty or crv of its jwk is not supported"),
            ("crv", json!("secp256k1"), "the kty or crv of its jwk is not supported"),
            ("crv", json!("P-384"), "a coordinate does not have the length of the curve's field"),
            ("x", json!(["AA"]), "malformed"),
            ("x", json!(""), "a coordinate does not have the length of the curve's field"),
        ];
        for name in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            rows.extend([(name, json!("AQAB"), PRIVATE), (name, json!(null), PRIVATE), (name, json!([]), PRIVATE)]);
        }
        for (name, value, expected) in rows {
            let mut jwk: Value = serde_json::from_str(EC).unwrap();
            jwk[name] = value;
            assert_eq!(load(&jwk.to_string(), Algorithm::ES256), Err(expected), "{jwk}");
        }
    }

    #[test]
    fn refuses_a_jwk_that_is_no_object_or_lacks_a_member() {
        for (jwk, expected) in [
            ("null", "malformed"),
            ("\"EC\"", "malformed"),
            ("[]", "malformed"),
            ("{}", "the kty or crv of its jwk is not supported"),
            (r#"{"kty":"EC"}"#, "the kty or crv of its jwk is not supported"),
            (r#"{"kty":"EC","crv":"P-256"}"#, "its jwk lacks a member of its kind of key"),
            (r#"{"kty":"EC","kty":"EC"}"#, "malformed"),
            (r#"{"kty":"EC","a":1,"\u0061":1}"#, "malformed"),
        ] {
            assert_eq!(load(jwk, Algorithm::ES256), Err(expected), "{jwk}");
        }
        let many: serde_json::Map<_, _> = (0..65).map(|number| (number.to_string(), Value::Null)).collect();
        assert_eq!(load(&Value::Object(many).to_string(), Algorithm::ES256), Err("malformed"));
    }

    #[test]
    fn accepts_one_form_of_each_coordinate() {
        const LENGTH: &str = "a coordinate does not have the length of the curve's field";
        const FORM: &str = "a member of its jwk is not base64url";
        let good: Value = serde_json::from_str(EC).unwrap();
        let x = good["x"].as_str().unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(x).unwrap();
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        for (other, expected) in [
            (format!("{x}="), FORM),
            // The last character has two bits that are no part of the coordinate.
            (format!("{}t", x.strip_suffix('s').unwrap()), FORM),
            (x.replace('-', "+"), FORM),
            (format!(" {x}"), FORM),
            (format!("{x}\n"), FORM),
            (b64(&[&[0], &*bytes].concat()), LENGTH),
            (b64(&bytes[1..]), LENGTH),
            (b64(&[&*bytes, &[0]].concat()), LENGTH),
            (b64(&[0; 32]), "the point is not on its curve"),
        ] {
            let mut jwk = good.clone();
            jwk["x"] = other.into();
            let found = load(&jwk.to_string(), Algorithm::ES256);
            // The other backend has another text for a point that is on no curve.
            let not_on_the_curve =
                |text| matches!(text, "the point is not on its curve" | "the key's numbers are not accepted");
            assert!(
                found == Err(expected) || (not_on_the_curve(expected) && found.is_err_and(not_on_the_curve)),
                "{jwk}"
            );
        }
        let mut zero = good;
        (zero["x"], zero["y"]) = (b64(&[0; 32]).into(), b64(&[0; 32]).into());
        assert!(load(&zero.to_string(), Algorithm::ES256).is_err());
    }

    #[test]
    fn accepts_an_escaped_spelling_of_the_same_text() {
        let escaped = EC.replace("l8tF", "\\u006c8tF");
        assert_eq!(load(&escaped, Algorithm::ES256), load(EC, Algorithm::ES256));
    }

    #[test]
    fn refuses_weak_rsa_numbers_and_those_with_two_spellings() {
        const EXPONENT: &str = "an RSA exponent that is even, less than 3 or larger than 33 bits";
        const ZERO: &str = "an RSA number has a leading zero";
        let (three, usual) = (&[3][..], &[1, 0, 1][..]);
        for (modulus, exponent, expected) in [
            (number(256, 0xc1), usual, None),
            (number(256, 0x80), three, None),
            (number(512, 0xff), usual, None),
            (number(256, 0x7f), usual, Some("an RSA key of less than 2048 bits")),
            (number(128, 0xff), usual, Some("an RSA key of less than 2048 bits")),
            (number(513, 0x01), usual, Some("its RSA key has more than 4096 bits")),
            (number(1024, 0xff), usual, Some("its RSA key has more than 4096 bits")),
            (number(257, 0x00), usual, Some(ZERO)),
            (number(256, 0xc1), &[0, 1, 0, 1], Some(ZERO)),
            ([number(255, 0xc1), vec![2]].concat(), usual, Some("an even RSA modulus")),
            (number(256, 0xc1), &[1, 0, 0], Some(EXPONENT)),
            (number(256, 0xc1), &[1], Some(EXPONENT)),
            (number(256, 0xc1), &[], Some(EXPONENT)),
            (number(256, 0xc1), &[2, 0, 0, 0, 1], Some(EXPONENT)),
        ] {
            let jwk = rsa(&modulus, exponent);
            assert_eq!(load(&jwk, Algorithm::RS256).err(), expected, "{exponent:?} {jwk}");
        }
    }

    #[test]
    fn refuses_weak_and_malformed_ed25519_points() {
        const WEAK: &str = "a point of small order or with a second encoding";
        let p_minus_1 = [&[0xec][..], &[0xff; 30], &[0x7f]].concat();
        for (point, expected) in [
            (vec![0; 32], WEAK),
            ([&[1][..], &[0; 31]].concat(), WEAK),
            (p_minus_1, WEAK),
            (vec![0xff; 32], WEAK),
            (vec![7; 31], "an Ed25519 point has 32 bytes"),
            (vec![7; 33], "an Ed25519 point has 32 bytes"),
        ] {
            let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(point)}).to_string();
            assert_eq!(load(&jwk, Algorithm::EdDSA), Err(expected), "{jwk}");
        }
    }

    #[test]
    fn refuses_an_algorithm_of_another_kind_of_key() {
        for signer in [Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA, Algorithm::RS256] {
            let key = SigningKey::generate(signer).unwrap().public();
            let jwk = public_members(&key).to_string();
            for algorithm in Algorithm::supported() {
                let fits = key.algorithms().contains(&SignatureAlgorithm::Asymmetric(*algorithm));
                let expected = if fits { None } else { Some("its alg does not belong to its kind of key") };
                assert_eq!(load(&jwk, *algorithm).err(), expected, "{signer} {algorithm}");
            }
        }
    }
}
