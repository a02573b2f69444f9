#![no_main]
//! `S`: the first line is the header and the rest the claims of a proof with a genuine signature; a `$` in the header is replaced
//! by the client's JWK. `R`: each line is one `DPoP` header. `P`: a genuine header and signature, with the rest as the claims.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use tower_oauth::testing::{MockIssuer, fuzzing::check_proof};
use tower_oauth_fuzz::{NOW, issuer};
use url::Url;

const BASE: &str = "https://api.test/v1";
const TOKEN: &str = "token";
/// The SHA-256 hash of the token.
const TOKEN_HASH: &str = "PEaenWxYddN6Q_NT1PiOYfz4EsZu7jRXRlpAsNpBU-A";
const SECRETS: [Option<[u8; 32]>; 2] = [None, Some([7; 32])];

/// The client: an issuer signs any header and any payload.
static CLIENT: LazyLock<MockIssuer> = LazyLock::new(issuer);
static JWK: LazyLock<String> = LazyLock::new(|| CLIENT.jwk().to_string());

/// Checks that the seeds are accepted, so that the fuzzer reaches the checks below.
fn check_the_seeds() {
    for (seed, secret) in [
        (include_str!("../seeds/proof/good"), SECRETS[0]),
        (include_str!("../seeds/proof/rich"), SECRETS[0]),
        (include_str!("../seeds/proof/nonce"), SECRETS[1]),
    ] {
        let (header, claims) = seed.strip_prefix('S').unwrap().split_once('\n').unwrap();
        let proof = sign(header.as_bytes(), claims.as_bytes()).0;
        assert!(check([proof.as_bytes()], secret).unwrap().is_ok(), "the seed is not accepted: {seed}");
    }
}

fuzz_target!(init: check_the_seeds(), |input: &[u8]| -> Corpus {
    let Some((mode, rest)) = input.split_first() else { return Corpus::Reject };
    for secret in SECRETS {
        match mode {
            b'S' => {
                let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                let (header, claims) = (&rest[..line], rest.get(line + 1..).unwrap_or_default());
                let (proof, header) = sign(header, claims);
                match check([proof.as_bytes()], secret).unwrap() {
                    Ok((_, expires_at)) => check_accepted(&header, claims, secret, expires_at),
                    Err(defect) => check_refused(&proof, &defect),
                }
            }
            b'R' => {
                let Some(checked) = check(rest.split(|byte| *byte == b'\n'), secret) else { return Corpus::Reject };
                assert!(checked.is_err(), "a proof without a genuine signature is accepted");
            }
            b'P' => {
                let Ok(claims) = str::from_utf8(rest) else { return Corpus::Reject };
                let (header, genuine) = include_str!("../seeds/proof/good")[1..].split_once('\n').unwrap();
                let (proof, _) = sign(header.as_bytes(), genuine.as_bytes());
                let segments: Vec<_> = proof.split('.').collect();
                let changed = [segments[0], claims, segments[2]].join(".");
                let Some(checked) = check([changed.as_bytes()], secret) else { return Corpus::Reject };
                assert_eq!(checked.is_ok(), claims == segments[1] && secret.is_none());
            }
            _ => return Corpus::Reject,
        }
    }
    Corpus::Keep
});

/// Returns the proof, and its header with the JWK.
fn sign(header: &[u8], claims: &[u8]) -> (String, Vec<u8>) {
    let header = header.split(|byte| *byte == b'$').collect::<Vec<_>>().join(JWK.as_bytes());
    (CLIENT.token("client").sign_raw(&header, claims), header)
}

/// Checks the proofs of a request. `None` if a header can't contain one.
fn check<'p>(
    proofs: impl IntoIterator<Item = &'p [u8]>,
    secret: Option<[u8; 32]>,
) -> Option<Result<(String, u64), String>> {
    let mut headers = HeaderMap::new();
    for proof in proofs {
        headers.append("dpop", HeaderValue::from_bytes(proof).ok()?);
    }
    Some(check_proof(&headers, BASE, TOKEN, NOW, secret))
}

/// Checks an accepted proof with other parsers.
fn check_accepted(header: &[u8], claims: &[u8], secret: Option<[u8; 32]>, expires_at: u64) {
    let header: Value = serde_json::from_slice(header).expect("an accepted header is JSON");
    assert!(header["alg"] == "EdDSA" || header["alg"] == "Ed25519", "{header}");
    let typ = header["typ"].as_str().expect("typ is there").to_lowercase();
    assert!(typ == "dpop+jwt" || typ == "application/dpop+jwt", "{header}");
    assert!(["crit", "b64", "zip"].iter().all(|name| header.get(name).is_none()), "{header}");
    let jwk = header["jwk"].as_object().expect("jwk is an object");
    assert!(["d", "k", "p", "q", "oth"].iter().all(|name| !jwk.contains_key(*name)), "{header}");
    assert_eq!(jwk["x"], CLIENT.jwk()["x"], "the key of the signature");

    let claims: Value = serde_json::from_slice(claims).expect("accepted claims are JSON");
    assert_eq!(claims["htm"], "GET");
    assert_eq!(claims["ath"], TOKEN_HASH);
    assert!((1..=512).contains(&claims["jti"].as_str().expect("jti is a string").len()), "{claims}");
    let (now, leeway) = (NOW as f64, 30.0);
    assert!(claims.get("exp").is_none_or(|exp| exp.as_f64().unwrap() > now), "{claims}");
    assert!(claims.get("nbf").is_none_or(|nbf| nbf.as_f64().unwrap() <= now + leeway), "{claims}");
    let issued_at = claims["iat"].as_f64().expect("iat is a number");
    match secret {
        None => {
            assert!((now - 60.0..=now + leeway).contains(&issued_at), "{claims}");
            assert!((NOW + 1..=NOW + 91).contains(&expires_at), "{claims}");
        }
        Some(_) => {
            assert_eq!(claims["nonce"].as_str().expect("nonce is a string").len(), 22);
            assert!((NOW + 1..=NOW + 360).contains(&expires_at), "{claims}");
        }
    }
    let htu = claims["htu"].as_str().expect("htu is a string");
    let url = Url::parse(htu).expect("an accepted htu is a URL");
    assert_eq!(url.origin().ascii_serialization(), "https://api.test", "{htu}");
    assert!(url.username().is_empty() && url.password().is_none() && htu.is_ascii(), "{htu}");
}

/// Checks that a defect contains nothing of the proof. Its texts are short, so only long pieces count.
fn check_refused(proof: &str, defect: &str) {
    assert!(defect.len() < 100 && !proof.get(..40).is_some_and(|start| defect.contains(start)), "{defect}");
}
