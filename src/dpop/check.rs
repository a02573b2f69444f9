//! The checks of a DPoP proof, in their order (RFC 9449 §4.3).
//!
//! *In*: the headers of a request, and what the proof must be for. *Out*: the key that the client has proven, or what is wrong.
//!
//! Whether the proof was used before is *not* checked here.

use std::{
    iter,
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{
    known_keys::KnownKeys,
    nonce::Nonces,
    proof::{ProofClaims, ProofHeader},
    replay::ReplayKey,
    target::without_query,
};
use crate::{
    clock::Clock,
    confirmation::Thumbprint,
    json::{AnyValue, Str},
    jws::{Algorithm, Compact, HeaderBuffer, sha256},
    keys::SenderKey,
};

/// The header field of a proof (RFC 9449 §4.1).
pub(crate) const DPOP: HeaderName = HeaderName::from_static("dpop");
/// The header field of a nonce (RFC 9449 §8).
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// What every proof must fulfil.
#[derive(Debug)]
pub(crate) struct ProofRules {
    pub(crate) algorithms: Vec<Algorithm>,
    /// Maximum age of a proof without a nonce.
    pub(crate) max_age: Duration,
    /// If there are any, every proof must have one.
    pub(crate) nonces: Option<Nonces>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Of the keys that tokens are bound to.
    pub(crate) known_keys: KnownKeys,
}

/// What the proof of one request must fulfil.
pub(crate) struct ExpectedProof<'e> {
    pub(crate) method: &'e Method,
    /// `jkt` of the token. `None` at the token endpoint: any key.
    pub(crate) key: Option<&'e Thumbprint>,
    /// The access token, for `ath`. `None` at the token endpoint: `ath` is ignored.
    pub(crate) token: Option<&'e [u8]>,
    /// True if this `htu` names the request's URL.
    pub(crate) is_target: &'e dyn Fn(&str) -> bool,
}

/// What a good proof has proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CheckedProof {
    pub(crate) key: Thumbprint,
    pub(crate) replay_key: ReplayKey,
    /// Unix seconds. The proof is not accepted from then on.
    pub(crate) expires_at: u64,
    /// Unix seconds: when it was checked. Always before `expires_at`.
    pub(crate) checked_at: u64,
    /// The client used an old nonce: offer the current one.
    pub(crate) old_nonce: bool,
}

/// What is wrong with a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProofDefect {
    /// There is no `DPoP` header.
    Missing,
    /// Anything that has no variant. The text is for logs, and contains nothing of the proof.
    NotGood(&'static str),
    /// A key that the token is not bound to.
    OtherKey,
    /// Another method or URL.
    OtherTarget,
    OtherTime,
    /// The hash of another access token.
    OtherToken,
    NonceRequired,
}

impl ProofRules {
    /// Finds the only proof of the request in its headers, and checks it. Whether it was used before is not checked.
    ///
    /// The order: what the header contains, the key, the signature, the claims. So a resource server checks signatures only with
    /// keys that the authorization server has bound to a token. At the token endpoint, any client's key is accepted.
    pub(crate) fn check(&self, headers: &HeaderMap, expected: &ExpectedProof<'_>) -> Result<CheckedProof, ProofDefect> {
        let jws =
            Compact::split(only_proof(headers)?).ok_or(ProofDefect::NotGood("it is not a JWS in compact form"))?;
        let known = self.known_keys.find(jws.header());
        let is_known = known.is_some();
        let key = known.map_or_else(|| self.read_key(&jws), Ok)?;
        if expected.key.is_some_and(|thumbprint| *thumbprint != key.thumbprint) {
            return Err(ProofDefect::OtherKey);
        }
        if !jws.is_signed_by(iter::once(&key.verifying)) {
            return Err(ProofDefect::NotGood("its signature is not that of its jwk"));
        }
        // Only a key that a token is bound to: any client can make others.
        if !is_known && expected.key.is_some() {
            self.known_keys.store(jws.header(), &key);
        }
        let payload = jws.payload().ok_or(ProofDefect::NotGood("its claims are not base64url"))?;
        let claims = ProofClaims::parse(&payload).map_err(ProofDefect::NotGood)?;
        check_request(&claims, expected)?;
        // Read once, so that a proof that is recorded late is not yet expired by another reading.
        let now = self.now();
        let (expires_at, old_nonce) = self.check_time(&claims, now)?;
        Ok(CheckedProof {
            key: key.thumbprint,
            replay_key: replay_key(&key.thumbprint, &claims),
            expires_at,
            checked_at: now.as_secs(),
            old_nonce,
        })
    }

    /// Reads and checks the header of a proof.
    fn read_key(&self, jws: &Compact<'_>) -> Result<Arc<SenderKey>, ProofDefect> {
        let mut buffer = HeaderBuffer::new();
        let header = jws.header_bytes(&mut buffer).ok_or(ProofDefect::NotGood("its header is not base64url"))?;
        let key = ProofHeader::parse(header).and_then(|header| header.key(&self.algorithms));
        key.map(Arc::new).map_err(ProofDefect::NotGood)
    }

    /// Returns the nonce to offer now. `None` if nonces are off.
    pub(crate) fn nonce(&self) -> Option<HeaderValue> {
        self.nonces.as_ref()?.current(self.now().as_secs())
    }

    /// Returns the names of the accepted algorithms, separated by spaces: `algs` of a challenge (RFC 9449 §7.1).
    pub(crate) fn algorithm_names(&self) -> String {
        let names: Vec<&str> = self.algorithms.iter().map(|algorithm| algorithm.as_str()).collect();
        names.join(" ")
    }

    /// Checks the nonce or `iat` (RFC 9449 §4.3, checks 10 and 11), and `exp` and `nbf` if the client wrote them. Returns when
    /// the proof expires, and whether its nonce is old.
    fn check_time(&self, claims: &ProofClaims<'_>, now: Duration) -> Result<(u64, bool), ProofDefect> {
        let fresh = match &self.nonces {
            Some(nonces) => check_nonce(nonces, claims, now.as_secs())?,
            None => (self.check_age(claims, now)?, false),
        };
        let expired = claims.expires_at.is_some_and(|expires_at| expires_at <= now.as_secs_f64());
        let early = claims.not_before.is_some_and(|not_before| not_before > now.saturating_add(LEEWAY).as_secs_f64());
        if expired || early { Err(ProofDefect::OtherTime) } else { Ok(fresh) }
    }

    /// Checks `iat`, and returns when the proof expires. The arithmetic is exact, so that the proof never outlives the record of
    /// its use.
    fn check_age(&self, claims: &ProofClaims<'_>, now: Duration) -> Result<u64, ProofDefect> {
        // Fails for a negative number and for one that is too large.
        let issued_at = Duration::try_from_secs_f64(claims.issued_at).map_err(|_| ProofDefect::OtherTime)?;
        let end = issued_at.saturating_add(self.max_age);
        if now > end || issued_at > now.saturating_add(LEEWAY) {
            return Err(ProofDefect::OtherTime);
        }
        // The end itself is still accepted.
        Ok(end.as_secs().saturating_add(1))
    }

    /// Returns the time since 1970-01-01 (UTC).
    fn now(&self) -> Duration {
        self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Returns the value of the only `DPoP` header (RFC 9449 §4.3, check 1).
fn only_proof(headers: &HeaderMap) -> Result<&[u8], ProofDefect> {
    let mut proofs = headers.get_all(DPOP).iter();
    let proof = proofs.next().ok_or(ProofDefect::Missing)?;
    if proofs.next().is_some() {
        return Err(ProofDefect::NotGood("there is more than one DPoP header"));
    }
    if proof.len() > MAX_PROOF_BYTES {
        return Err(ProofDefect::NotGood("it is longer than 8 KiB"));
    }
    Ok(proof.as_bytes())
}

/// Checks that the proof was made for this request and this token (RFC 9449 §4.3, checks 8, 9 and 12).
fn check_request(claims: &ProofClaims<'_>, expected: &ExpectedProof<'_>) -> Result<(), ProofDefect> {
    // The target of CONNECT is no URL (RFC 9110 §9.3.6).
    if claims.method != expected.method.as_str() || expected.method == Method::CONNECT {
        return Err(ProofDefect::OtherTarget);
    }
    if !(expected.is_target)(&claims.target) {
        return Err(ProofDefect::OtherTarget);
    }
    let Some(token) = expected.token else { return Ok(()) };
    match &claims.token_hash {
        Some(AnyValue::Text(Str(hash))) if is_hash_of(hash, token) => Ok(()),
        Some(AnyValue::Text(_)) => Err(ProofDefect::OtherToken),
        Some(_) => Err(ProofDefect::NotGood("its ath is not a string")),
        None => Err(ProofDefect::NotGood("it has no ath")),
    }
}

/// True if the text is the SHA-256 hash of the token in base64url without padding (RFC 9449 §4.2).
fn is_hash_of(text: &str, token: &[u8]) -> bool {
    let mut encoded = [0; ENCODED_HASH_CHARS];
    URL_SAFE_NO_PAD.encode_slice(sha256([token]), &mut encoded).is_ok() && text.as_bytes() == encoded
}

/// Checks the nonce, and returns when it expires and whether it is old.
fn check_nonce(nonces: &Nonces, claims: &ProofClaims<'_>, now: u64) -> Result<(u64, bool), ProofDefect> {
    match &claims.nonce {
        Some(AnyValue::Text(Str(nonce))) => {
            let found = nonces.find(nonce, now).ok_or(ProofDefect::NonceRequired)?;
            Ok((found.expires_at, !found.is_current))
        }
        Some(_) => Err(ProofDefect::NotGood("its nonce is not a string")),
        None => Err(ProofDefect::NonceRequired),
    }
}

/// Returns the hash of the key, `htu` and `jti`. It depends on the proof alone, so another spelling of the request's path
/// makes no new proof of a used one. It depends on the key, so no client can use up the `jti` of another.
fn replay_key(key: &Thumbprint, claims: &ProofClaims<'_>) -> ReplayKey {
    let target = without_query(&claims.target);
    ReplayKey::new(sha256([b"tower-oauth dpop".as_slice(), key, target.as_bytes(), &[0], claims.jwt_id.as_bytes()]))
}

const MAX_PROOF_BYTES: usize = 8 * 1024;
/// How far the client's clock may be ahead.
const LEEWAY: Duration = Duration::from_secs(30);
const ENCODED_HASH_CHARS: usize = 43;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        clock::SystemClock,
        dpop::{NonceSecret, target::BaseUrl},
        jws::{SigningKey, hmac_sha256},
        keys::public_members,
    };

    const NOW: u64 = 1_800_000_000;
    const URL: &str = "https://api.test/orders";
    const TOKEN: &str = "the.access.token";

    /// A clock that stands still.
    #[derive(Debug)]
    struct Stopped(Duration);

    impl Clock for Stopped {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH + self.0
        }
    }

    /// A client with a key, and the proof that it makes.
    struct Sender {
        key: SigningKey,
        algorithm: Algorithm,
        header: Value,
        claims: Value,
    }

    impl Sender {
        fn new(algorithm: Algorithm) -> Self {
            let key = SigningKey::generate(algorithm).unwrap();
            let jwk = public_members(&key.public());
            let claims = json!({"jti": "1", "htm": "GET", "htu": URL, "iat": NOW, "ath": hash(TOKEN)});
            Self { key, algorithm, header: json!({"typ": "dpop+jwt", "alg": algorithm.as_str(), "jwk": jwk}), claims }
        }

        fn header(&self, name: &str, value: Value) -> String {
            let mut header = self.header.clone();
            header[name] = value;
            self.sign(header.to_string(), self.claims.to_string())
        }

        fn claim(&self, name: &str, value: Value) -> String {
            let mut claims = self.claims.clone();
            claims[name] = value;
            self.sign(self.header.to_string(), claims.to_string())
        }

        fn without(&self, name: &str) -> String {
            let (mut header, mut claims) = (self.header.clone(), self.claims.clone());
            header.as_object_mut().unwrap().remove(name);
            claims.as_object_mut().unwrap().remove(name);
            self.sign(header.to_string(), claims.to_string())
        }

        fn proof(&self) -> String {
            self.sign(self.header.to_string(), self.claims.to_string())
        }

        fn sign(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
            let signed = format!("{}.{}", b64(header), b64(claims));
            let signature = self.key.sign(self.algorithm, signed.as_bytes()).unwrap();
            format!("{signed}.{}", b64(signature))
        }

        fn thumbprint(&self) -> Thumbprint {
            check(&rules(), &self.proof()).unwrap().key
        }
    }

    fn b64(bytes: impl AsRef<[u8]>) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn hash(token: &str) -> String {
        b64(sha256([token.as_bytes()]))
    }

    fn rules() -> ProofRules {
        ProofRules {
            algorithms: Algorithm::supported().to_vec(),
            max_age: Duration::from_secs(60),
            nonces: None,
            clock: Arc::new(Stopped(Duration::from_secs(NOW))),
            known_keys: KnownKeys::default(),
        }
    }

    fn at(seconds: f64) -> ProofRules {
        ProofRules { clock: Arc::new(Stopped(Duration::from_secs_f64(seconds))), ..rules() }
    }

    fn headers<'p>(proofs: impl IntoIterator<Item = &'p str>) -> HeaderMap {
        proofs.into_iter().map(|proof| (DPOP, HeaderValue::from_bytes(proof.as_bytes()).unwrap())).collect()
    }

    fn check(rules: &ProofRules, proof: &str) -> Result<CheckedProof, ProofDefect> {
        check_as(rules, &headers([proof]), &Method::GET, None)
    }

    fn check_as(
        rules: &ProofRules,
        headers: &HeaderMap,
        method: &Method,
        key: Option<&Thumbprint>,
    ) -> Result<CheckedProof, ProofDefect> {
        let base = BaseUrl::parse("dpop", "https://api.test").unwrap();
        let is_target = |htu: &str| base.names("/orders", htu);
        rules.check(headers, &ExpectedProof { method, key, token: Some(TOKEN.as_bytes()), is_target: &is_target })
    }

    #[track_caller]
    fn assert_not_good(proof: &str, expected: &'static str) {
        assert_eq!(check(&rules(), proof), Err(ProofDefect::NotGood(expected)), "{proof}");
    }

    #[test]
    fn accepts_the_proof_of_rfc_9449_section_7_1() {
        let proof = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
        let key = crate::confirmation::decoded("0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I").unwrap();
        let checked = at(1_562_262_618.0).check(
            &headers([proof]),
            &ExpectedProof {
                method: &Method::GET,
                key: Some(&key),
                token: Some(b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"),
                is_target: &|htu| htu == "https://resource.example.org/protectedresource",
            },
        );
        assert_eq!(checked.map(|checked| checked.expires_at), Ok(1_562_262_618 + 61));
    }

    #[test]
    fn accepts_every_algorithm_of_the_build() {
        for algorithm in Algorithm::supported() {
            let sender = Sender::new(*algorithm);
            let checked = check(&rules(), &sender.proof()).unwrap();
            assert_eq!(checked.expires_at, NOW + 61, "{algorithm}");
            assert!(!checked.old_nonce);
            let same_key = check_as(&rules(), &headers([&*sender.proof()]), &Method::GET, Some(&checked.key));
            assert_eq!(same_key, Ok(checked), "{algorithm}");
        }
        let sender = Sender::new(Algorithm::EdDSA);
        assert!(check(&rules(), &sender.header("alg", "Ed25519".into())).is_ok(), "RFC 9864");
    }

    #[test]
    fn needs_exactly_one_header() {
        let proof = Sender::new(Algorithm::ES256).proof();
        let other = Sender::new(Algorithm::ES256).proof();
        let two = Err(ProofDefect::NotGood("there is more than one DPoP header"));
        for (sent, expected) in
            [(vec![], Err(ProofDefect::Missing)), (vec![&*proof, &*proof], two), (vec![&*proof, &*other], two)]
        {
            assert_eq!(check_as(&rules(), &headers(sent), &Method::GET, None), expected);
        }
    }

    #[test]
    fn refuses_what_is_no_jws_in_compact_form() {
        const FORM: &str = "it is not a JWS in compact form";
        const HEADER: &str = "its header is not base64url";
        const SIGNATURE: &str = "its signature is not that of its jwk";
        let sender = Sender::new(Algorithm::ES256);
        let proof = sender.proof();
        let (signed, signature) = proof.rsplit_once('.').unwrap();
        let (header, claims) = signed.split_once('.').unwrap();
        for (sent, expected) in [
            (String::new(), FORM),
            ("a".to_owned(), FORM),
            (signed.to_owned(), FORM),
            (format!("{signed}."), FORM),
            (format!(".{claims}.{signature}"), FORM),
            (format!("{header}..{signature}"), FORM),
            ("...".to_owned(), FORM),
            (format!("{proof}, {proof}"), SIGNATURE),
            (format!("{proof}."), SIGNATURE),
            (format!("{proof}.{signature}"), SIGNATURE),
            (format!("{proof}.{signature}.{signature}"), SIGNATURE),
            (format!("{proof} "), SIGNATURE),
            (format!("{proof}="), SIGNATURE),
            (format!(" {proof}"), HEADER),
            (format!("{header}=.{claims}.{signature}"), HEADER),
            (format!("{header}.{claims}=.{signature}"), SIGNATURE),
            (format!("{header} .{claims}.{signature}"), HEADER),
            (format!("DPoP {proof}"), HEADER),
            (format!("ä.{claims}.{signature}"), HEADER),
        ] {
            assert_not_good(&sent, expected);
        }
    }

    #[test]
    fn refuses_claims_that_are_not_base64url_in_their_only_form() {
        let sender = Sender::new(Algorithm::ES256);
        // Signed as they are, so that only the encoding of the claims is wrong.
        for claims in [format!("{}=", b64("{}  ")), "e31".to_owned(), "e30+".to_owned(), "e".to_owned()] {
            let signed = format!("{}.{claims}", b64(sender.header.to_string()));
            let signature = sender.key.sign(Algorithm::ES256, signed.as_bytes()).unwrap();
            assert_not_good(&format!("{signed}.{}", b64(signature)), "its claims are not base64url");
        }
    }

    #[test]
    fn accepts_eight_kilobytes_and_no_byte_more() {
        let sender = Sender::new(Algorithm::ES256);
        let of_size = |padding: usize| sender.claim("padding", "a".repeat(padding).into());
        let mut padding = (MAX_PROOF_BYTES - of_size(0).len()) * 3 / 4 - 4;
        while of_size(padding + 1).len() <= MAX_PROOF_BYTES {
            padding += 1;
        }
        assert!(check(&rules(), &of_size(padding)).is_ok(), "{}", of_size(padding).len());
        assert_not_good(&of_size(padding + 1), "it is longer than 8 KiB");
    }

    #[test]
    fn refuses_malformed_json() {
        type Change<'c> = &'c dyn Fn(&str) -> Vec<u8>;

        let sender = Sender::new(Algorithm::ES256);
        let (header, claims) = (sender.header.to_string(), sender.claims.to_string());
        let deep = |json: &str| json.replacen('{', &format!("{{\"deep\":{}{},", "[".repeat(200), "]".repeat(200)), 1);
        let many = |json: &str| {
            let members = (0..65).map(|number| format!("\"{number}\":0,")).collect::<Vec<_>>().concat();
            json.replacen('{', &format!("{{{members}"), 1)
        };
        let wrongs: [Change<'_>; 17] = [
            &|_| b"{}x".to_vec(),
            &|_| b"null".to_vec(),
            &|_| b"[]".to_vec(),
            &|_| b"\"a\"".to_vec(),
            &|_| b"1".to_vec(),
            &|_| b" ".to_vec(),
            &|json| format!("[{json}]").into_bytes(),
            &|json| format!("\u{feff}{json}").into_bytes(),
            &|json| format!("{json}{json}").into_bytes(),
            &|json| json.as_bytes()[..json.len() - 1].to_vec(),
            &|json| json.replacen('{', "{\"a\":NaN,", 1).into_bytes(),
            &|json| json.replacen('{', "{\"a\":1e400,", 1).into_bytes(),
            &|json| json.replacen('{', "{\"a\":1,\"\\u0061\":1,", 1).into_bytes(),
            &|json| json.replacen('}', ",}", 1).into_bytes(),
            &|json| [b"{\"a\":\"\xff\",", &json.as_bytes()[1..]].concat(),
            &|json| deep(json).into_bytes(),
            &|json| many(json).into_bytes(),
        ];
        for wrong in wrongs {
            assert_not_good(&sender.sign(wrong(&header), &claims), "its header is malformed");
            assert_not_good(&sender.sign(&header, wrong(&claims)), "its claims are malformed");
        }
        for name in ["typ", "alg", "jwk"] {
            let twice = header.replacen('{', &format!("{{\"{name}\":{},", sender.header[name]), 1);
            assert_not_good(&sender.sign(twice, &claims), "its header is malformed");
        }
        for name in ["jti", "htm", "htu", "iat", "ath", "nonce", "exp", "nbf"] {
            let mut once = sender.claims.clone();
            once[name] = sender.claims.get(name).cloned().unwrap_or_else(|| (NOW + 5).into());
            let twice = once.to_string().replacen('{', &format!("{{\"{name}\":{},", once[name]), 1);
            assert_not_good(&sender.sign(&header, twice), "its claims are malformed");
        }
        let jwk_member_twice = header.replacen("\"kty\"", "\"kty\":\"EC\",\"kty\"", 1);
        assert_not_good(&sender.sign(jwk_member_twice, &claims), "its header is malformed");
    }

    #[test]
    fn refuses_other_types() {
        const TYPE: &str = "its typ is not dpop+jwt";
        let sender = Sender::new(Algorithm::ES256);
        for (typ, expected) in [
            ("dpop+jwt", None),
            ("DPoP+JWT", None),
            ("application/dpop+jwt", None),
            ("APPLICATION/DPOP+JWT", None),
            ("JWT", Some(TYPE)),
            ("at+jwt", Some(TYPE)),
            ("dpop", Some(TYPE)),
            ("dpop+jwt ", Some(TYPE)),
            (" dpop+jwt", Some(TYPE)),
            ("dpop+jwt;a=b", Some(TYPE)),
            ("application/application/dpop+jwt", Some(TYPE)),
            ("", Some(TYPE)),
            ("ädpop+jwt", Some(TYPE)),
        ] {
            let defect = check(&rules(), &sender.header("typ", typ.into())).err();
            assert_eq!(defect, expected.map(ProofDefect::NotGood), "{typ}");
        }
        assert_not_good(&sender.without("typ"), TYPE);
        for typ in [json!(null), json!(1), json!(["dpop+jwt"])] {
            assert_not_good(&sender.header("typ", typ), "its header is malformed");
        }
    }

    #[test]
    fn refuses_other_algorithms() {
        const ALG: &str = "its alg is not accepted";
        const KIND: &str = "its alg does not belong to its kind of key";
        let sender = Sender::new(Algorithm::ES256);
        for (alg, expected) in [
            ("none", ALG),
            ("None", ALG),
            ("NONE", ALG),
            ("HS256", ALG),
            ("HS384", ALG),
            ("HS512", ALG),
            ("RSA-OAEP", ALG),
            ("dir", ALG),
            ("ES256K", ALG),
            ("es256", ALG),
            ("ES256 ", ALG),
            ("", ALG),
            ("Ed448", ALG),
            ("ES384", KIND),
            ("RS256", KIND),
            ("PS256", KIND),
            ("EdDSA", KIND),
            ("Ed25519", KIND),
        ] {
            assert_not_good(&sender.header("alg", alg.into()), expected);
        }
        assert_not_good(&sender.without("alg"), ALG);
        for alg in [json!(null), json!(256), json!(["ES256"])] {
            assert_not_good(&sender.header("alg", alg), "its header is malformed");
        }
        let only_eddsa = ProofRules { algorithms: vec![Algorithm::EdDSA], ..rules() };
        assert_eq!(check(&only_eddsa, &sender.proof()), Err(ProofDefect::NotGood(ALG)));
    }

    #[test]
    fn refuses_a_mac_whose_secret_is_the_public_key() {
        let sender = Sender::new(Algorithm::ES256);
        let mut header = sender.header.clone();
        header["alg"] = "HS256".into();
        let secret = URL_SAFE_NO_PAD.decode(header["jwk"]["x"].as_str().unwrap()).unwrap();
        let signed = format!("{}.{}", b64(header.to_string()), b64(sender.claims.to_string()));
        let mac = hmac_sha256(&secret.try_into().unwrap(), [signed.as_bytes()]);
        assert_not_good(&format!("{signed}.{}", b64(mac)), "its alg is not accepted");
    }

    #[test]
    fn refuses_a_bad_jwk() {
        const KIND: &str = "the kty or crv of its jwk is not supported";
        let sender = Sender::new(Algorithm::ES256);
        assert_not_good(&sender.without("jwk"), "its header has no jwk");
        assert_not_good(&sender.header("jwk", json!({})), KIND);
        assert_not_good(&sender.header("jwk", json!({"kty": "oct", "k": "AAAA"})), "its jwk has a private member");
        for jwk in [json!(null), json!("jwk"), json!([]), json!([sender.header["jwk"]]), json!(1)] {
            assert_not_good(&sender.header("jwk", jwk), "its header is malformed");
        }
        for name in ["d", "k", "oth"] {
            let mut jwk = sender.header["jwk"].clone();
            jwk[name] = "AQAB".into();
            assert_not_good(&sender.header("jwk", jwk), "its jwk has a private member");
        }
        let mut jwk = sender.header["jwk"].clone();
        jwk["x"] = format!("{}=", jwk["x"].as_str().unwrap()).into();
        assert_not_good(&sender.header("jwk", jwk), "a member of its jwk is not base64url");
    }

    #[test]
    fn a_header_that_names_a_key_elsewhere_is_no_key() {
        let sender = Sender::new(Algorithm::ES256);
        for (name, value) in [
            ("kid", json!("1")),
            ("kid", json!(1)),
            ("jku", json!("https://evil.test/jwks")),
            ("x5u", json!("https://evil.test/cert")),
            ("x5c", json!(["MII"])),
            ("unknown", json!({"a": [1, 2.5, null, true]})),
        ] {
            assert!(check(&rules(), &sender.header(name, value.clone())).is_ok(), "beside a jwk: {name}");
            let mut header = sender.header.clone();
            header.as_object_mut().unwrap().remove("jwk");
            header[name] = value;
            assert_not_good(&sender.sign(header.to_string(), sender.claims.to_string()), "its header has no jwk");
        }
    }

    #[test]
    fn refuses_headers_that_require_an_extension() {
        let sender = Sender::new(Algorithm::ES256);
        for (name, value) in [
            ("crit", json!(["b64"])),
            ("crit", json!([])),
            ("crit", json!(["unknown"])),
            ("crit", json!(null)),
            ("b64", json!(false)),
            ("b64", json!(true)),
            ("zip", json!("DEF")),
        ] {
            assert_not_good(&sender.header(name, value), "its header has crit, b64 or zip");
        }
    }

    #[test]
    fn refuses_every_other_signature() {
        const SIGNATURE: &str = "its signature is not that of its jwk";
        let sender = Sender::new(Algorithm::ES256);
        let proof = sender.proof();
        let (signed, signature) = proof.rsplit_once('.').unwrap();
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let (r, s) = bytes.split_at(32);
        let order = [
            0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
            0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
        ];
        let integer = |number: &[u8]| [&[2, 33, 0], number].concat();
        let der = [vec![0x30, 70], integer(r), integer(s)].concat();
        let other = Sender::new(Algorithm::ES256).key.sign(Algorithm::ES256, signed.as_bytes()).unwrap();
        let flipped: Vec<u8> =
            bytes.iter().enumerate().map(|(i, byte)| if i == 40 { byte ^ 1 } else { *byte }).collect();
        for wrong in [
            flipped,
            other,
            der,
            [&[0; 32], s].concat(),
            [r, &[0; 32]].concat(),
            vec![0; 64],
            [&order, s].concat(),
            [r, &order].concat(),
            vec![0xff; 64],
            [r, s, &[0]].concat(),
            bytes[..63].to_vec(),
            vec![0; 1024],
            vec![0; 3000],
        ] {
            assert_not_good(&format!("{signed}.{}", b64(wrong)), SIGNATURE);
        }
        let (header, claims) = signed.split_once('.').unwrap();
        let other_claims = sender.claim("jti", "2".into()).split('.').nth(1).unwrap().to_owned();
        assert_not_good(&format!("{header}.{other_claims}.{signature}"), SIGNATURE);
        let other_header = sender.header("kid", "1".into()).split('.').next().unwrap().to_owned();
        assert_not_good(&format!("{other_header}.{claims}.{signature}"), SIGNATURE);
    }

    #[test]
    fn the_key_is_compared_before_the_signature_is_checked() {
        let (sender, other) = (Sender::new(Algorithm::ES256), Sender::new(Algorithm::ES256));
        let thumbprint = sender.thumbprint();
        let proof = other.proof();
        let forged = format!("{}.{}", proof.rsplit_once('.').unwrap().0, b64([1; 64]));
        for sent in [&*proof, &*forged] {
            let found = check_as(&rules(), &headers([sent]), &Method::GET, Some(&thumbprint));
            assert_eq!(found, Err(ProofDefect::OtherKey));
        }
        // A key with a second spelling is refused as such.
        let mut jwk = other.header["jwk"].clone();
        jwk["x"] = format!("{}=", jwk["x"].as_str().unwrap()).into();
        let sent = other.header("jwk", jwk);
        let found = check_as(&rules(), &headers([&*sent]), &Method::GET, Some(&thumbprint));
        assert_eq!(found, Err(ProofDefect::NotGood("a member of its jwk is not base64url")));
    }

    #[test]
    fn refuses_missing_claims_and_wrong_types() {
        const MALFORMED: &str = "its claims are malformed";
        const JTI: &str = "its jti is empty or longer than 512 bytes";
        let sender = Sender::new(Algorithm::ES256);
        for (name, missing) in [
            ("jti", "it has no jti"),
            ("htm", "it has no htm"),
            ("htu", "it has no htu"),
            ("iat", "it has no iat"),
            ("ath", "it has no ath"),
        ] {
            assert_not_good(&sender.without(name), missing);
            let wrong_type = if name == "ath" { "its ath is not a string" } else { MALFORMED };
            for value in [json!(null), json!([]), json!({}), json!(true), json!([sender.claims[name]])] {
                assert_not_good(&sender.claim(name, value), wrong_type);
            }
        }
        for name in ["jti", "htm", "htu"] {
            assert_not_good(&sender.claim(name, json!(1)), MALFORMED);
        }
        for name in ["iat", "exp", "nbf"] {
            assert_not_good(&sender.claim(name, json!(NOW.to_string())), MALFORMED);
        }
        assert_not_good(&sender.claim("jti", "".into()), JTI);
        assert_not_good(&sender.claim("jti", "a".repeat(513).into()), JTI);
        assert_not_good(&sender.claim("jti", "ä".repeat(257).into()), JTI);
        for jti in ["a".repeat(512), "ä".repeat(256), " ".to_owned()] {
            assert!(check(&rules(), &sender.claim("jti", jti.into())).is_ok());
        }
        for (name, value) in
            [("iss", json!("client")), ("unknown", json!([{}])), ("nonce", json!(1)), ("nonce", json!("a"))]
        {
            assert!(check(&rules(), &sender.claim(name, value)).is_ok(), "{name}");
        }
    }

    #[test]
    fn refuses_another_method() {
        let sender = Sender::new(Algorithm::ES256);
        for (method, htm, expected) in [
            (Method::GET, "GET", true),
            (Method::POST, "POST", true),
            (Method::from_bytes(b"PURGE").unwrap(), "PURGE", true),
            (Method::POST, "GET", false),
            (Method::GET, "get", false),
            (Method::GET, "GET ", false),
            (Method::GET, "", false),
            (Method::HEAD, "GET", false),
            (Method::HEAD, "HEAD", true),
            (Method::CONNECT, "CONNECT", false),
        ] {
            let proof = sender.claim("htm", htm.into());
            let found = check_as(&rules(), &headers([&*proof]), &method, None);
            assert_eq!(
                found.map(drop),
                if expected { Ok(()) } else { Err(ProofDefect::OtherTarget) },
                "{method} {htm}"
            );
        }
    }

    #[test]
    fn refuses_another_target() {
        let sender = Sender::new(Algorithm::ES256);
        for (htu, expected) in [
            (URL, true),
            ("HTTPS://API.TEST:443/orders", true),
            ("https://api.test/%6frders?page=2#top", true),
            ("https://api.test/orders/", false),
            ("https://evil.test/orders", false),
            ("http://api.test/orders", false),
            ("https://u@api.test/orders", false),
            ("/orders", false),
            ("", false),
            ("*", false),
            ("https://api.test/orders\0", false),
        ] {
            let found = check(&rules(), &sender.claim("htu", htu.into())).map(drop);
            assert_eq!(found, if expected { Ok(()) } else { Err(ProofDefect::OtherTarget) }, "{htu}");
        }
    }

    #[test]
    fn refuses_the_hash_of_another_token() {
        let sender = Sender::new(Algorithm::ES256);
        let hex = sha256([TOKEN.as_bytes()]).map(|byte| format!("{byte:02x}")).concat();
        for ath in [
            hash("another.token"),
            hash(&format!("{TOKEN}\n")),
            hash(&format!("DPoP {TOKEN}")),
            hex,
            format!("{}=", hash(TOKEN)),
            hash(TOKEN)[1..].to_owned(),
            TOKEN.to_owned(),
            String::new(),
            b64([0; 64]),
        ] {
            assert_eq!(
                check(&rules(), &sender.claim("ath", ath.clone().into())),
                Err(ProofDefect::OtherToken),
                "{ath}"
            );
        }
    }

    #[test]
    fn the_token_endpoint_ignores_ath() {
        let sender = Sender::new(Algorithm::ES256);
        for proof in [sender.without("ath"), sender.claim("ath", json!(1)), sender.claim("ath", "a".into())] {
            let expected = ExpectedProof { method: &Method::GET, key: None, token: None, is_target: &|_| true };
            assert!(rules().check(&headers([&*proof]), &expected).is_ok());
        }
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    fn refuses_another_time() {
        let sender = Sender::new(Algorithm::ES256);
        let now = NOW as f64;
        for (iat, expected) in [
            (json!(NOW), Some(NOW + 61)),
            (json!(NOW - 60), Some(NOW + 1)),
            (json!(NOW + 30), Some(NOW + 91)),
            (json!(now - 59.5), Some(NOW + 1)),
            (json!(now + 0.5), Some(NOW + 61)),
            (json!(NOW - 61), None),
            (json!(now - 60.001), None),
            (json!(now + 30.001), None),
            (json!(NOW + 31), None),
            (json!(NOW * 1000), None),
            (json!(-1), None),
            (json!(0), None),
            (json!(1e300), None),
            (json!(-1e300), None),
        ] {
            let found = check(&rules(), &sender.claim("iat", iat.clone())).map(|checked| checked.expires_at);
            assert_eq!(found, expected.ok_or(ProofDefect::OtherTime), "{iat}");
        }
        for (name, value, expected) in [
            ("exp", json!(NOW + 1), true),
            ("exp", json!(NOW), false),
            ("exp", json!(NOW - 60), false),
            ("exp", json!(-1), false),
            ("nbf", json!(NOW + 30), true),
            ("nbf", json!(NOW + 31), false),
            ("nbf", json!(0), true),
        ] {
            let found = check(&rules(), &sender.claim(name, value.clone())).map(drop);
            assert_eq!(found, if expected { Ok(()) } else { Err(ProofDefect::OtherTime) }, "{name} {value}");
        }
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    fn a_proof_is_refused_from_its_expiry_on() {
        let sender = Sender::new(Algorithm::EdDSA);
        for iat in [0.0, 0.001, 0.5, 0.999] {
            let proof = sender.claim("iat", json!(NOW as f64 + iat));
            let end = check(&at(NOW as f64), &proof).unwrap().expires_at;
            assert_eq!(check(&at(end as f64), &proof), Err(ProofDefect::OtherTime));
            assert!(check(&at(NOW as f64 + 60.0), &proof).is_ok());
        }
        let zero = ProofRules { clock: Arc::new(Stopped(Duration::ZERO)), max_age: Duration::MAX, ..rules() };
        assert_eq!(check(&zero, &sender.claim("iat", json!(0))).unwrap().expires_at, u64::MAX, "no overflow");
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "the numbers are small")]
    fn with_nonces_every_proof_needs_one_and_iat_is_not_compared() {
        let sender = Sender::new(Algorithm::ES256);
        let nonces = || Some(Nonces::for_resource_server(NonceSecret::shared([1; 32])));
        let with_nonces = |now: u64| ProofRules { nonces: nonces(), ..at(now as f64) };
        let nonce = with_nonces(NOW).nonce().unwrap().to_str().unwrap().to_owned();
        assert!(rules().nonce().is_none());

        let proof = sender.claim("nonce", nonce.clone().into());
        let good = check(&with_nonces(NOW + 59), &proof).unwrap();
        assert_eq!((good.expires_at, good.old_nonce), (NOW + 300, false));
        let old = check(&with_nonces(NOW + 299), &proof).unwrap();
        assert_eq!((old.expires_at, old.old_nonce), (NOW + 300, true));
        assert_eq!(old.replay_key, good.replay_key);
        assert_eq!(check(&with_nonces(NOW + 300), &proof), Err(ProofDefect::NonceRequired));

        for nonce in ["", "wrong", "AAAAAAAAAAAAAAAAAAAAAA"] {
            let found = check(&with_nonces(NOW), &sender.claim("nonce", nonce.into()));
            assert_eq!(found, Err(ProofDefect::NonceRequired), "{nonce}");
        }
        assert_eq!(check(&with_nonces(NOW), &sender.proof()), Err(ProofDefect::NonceRequired));
        for value in [json!(null), json!(1), json!([nonce])] {
            let found = check(&with_nonces(NOW), &sender.claim("nonce", value));
            assert_eq!(found, Err(ProofDefect::NotGood("its nonce is not a string")));
        }

        let mut other_clock = Sender::new(Algorithm::ES256);
        other_clock.claims["nonce"] = nonce.into();
        for iat in [json!(NOW - 3600), json!(NOW + 3600), json!(0), json!(-5)] {
            assert!(check(&with_nonces(NOW), &other_clock.claim("iat", iat)).is_ok());
        }
        assert_eq!(check(&with_nonces(NOW), &other_clock.without("iat")), Err(ProofDefect::NotGood("it has no iat")));
        let expired = check(&with_nonces(NOW), &other_clock.claim("exp", json!(NOW)));
        assert_eq!(expired, Err(ProofDefect::OtherTime));
    }

    #[test]
    fn the_replay_key_depends_on_key_target_and_jti_alone() {
        let (sender, other) = (Sender::new(Algorithm::ES256), Sender::new(Algorithm::ES256));
        let key = |proof: &str| check(&rules(), proof).unwrap().replay_key;
        let first = key(&sender.proof());
        for same in [
            sender.proof(),
            sender.claim("iat", json!(NOW - 5)),
            sender.claim("htu", format!("{URL}?page=2").into()),
            sender.claim("htu", format!("{URL}#top?").into()),
            sender.header("kid", "1".into()),
        ] {
            assert_eq!(key(&same), first, "{same}");
        }
        for different in [
            other.proof(),
            sender.claim("jti", "2".into()),
            sender.claim("jti", "1\0".into()),
            sender.claim("htu", "https://API.test/orders".into()),
        ] {
            assert_ne!(key(&different), first, "{different}");
        }
    }

    #[test]
    fn a_token_is_no_proof() {
        let sender = Sender::new(Algorithm::ES256);
        let claims =
            json!({"iss": "https://auth.test", "aud": "https://api.test", "iat": NOW, "exp": NOW + 60, "jti": "1"});
        for (typ, expected) in [
            ("at+jwt", "its typ is not dpop+jwt"),
            ("JWT", "its typ is not dpop+jwt"),
            ("logout+jwt", "its typ is not dpop+jwt"),
            ("dpop+jwt", "its header has no jwk"),
        ] {
            let header = json!({"typ": typ, "alg": "ES256", "kid": "1"});
            assert_not_good(&sender.sign(header.to_string(), claims.to_string()), expected);
        }
    }

    #[test]
    fn a_cut_or_changed_proof_never_panics_and_is_never_accepted() {
        let proof = Sender::new(Algorithm::ES256).proof();
        let rules = rules();
        for end in 0..proof.len() {
            assert!(check(&rules, &proof[..end]).is_err(), "{end}");
        }
        for position in (0..proof.len()).step_by(3) {
            let mut changed = proof.clone().into_bytes();
            changed[position] = if changed[position] == b'A' { b'B' } else { b'A' };
            assert!(check(&rules, str::from_utf8(&changed).unwrap()).is_err(), "{position}");
        }
    }

    #[test]
    fn names_its_algorithms() {
        let algorithms = vec![Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256];
        let rules = ProofRules { algorithms, clock: Arc::new(SystemClock::new()), ..rules() };
        assert_eq!(rules.algorithm_names(), "ES256 EdDSA RS256");
    }
}
