//! Ed25519 points for which one signature is valid for every message, and points in a non-canonical encoding (threat S10,
//! RFC 8032 §5.1.3; "Taming the many `EdDSAs`").

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use serde_json::json;
use tower_oauth::{
    keys::{Algorithm, KeySet},
    testing::TokenBuilder,
};

use crate::material::{accepts, b64, issuer_of, jwk_of, token_of};

const ORDER_8: [&str; 2] = [
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
];

/// Every y of small order, and every y that is not below p, each with both signs of x.
fn weak_points() -> Vec<[u8; 32]> {
    let number = |low: u8, rest: u8, high: u8| {
        let mut point = [rest; 32];
        (point[0], point[31]) = (low, high);
        point
    };
    let mut points = vec![number(0, 0, 0), number(1, 0, 0), number(0xec, 0xff, 0x7f)];
    points.extend(ORDER_8.map(|hex| {
        let byte = |place: usize| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap();
        std::array::from_fn(byte)
    }));
    // p = 2^255 - 19 is …ed; from there to 2^255 - 1.
    points.extend((0xed..=0xff).map(|low| number(low, 0xff, 0x7f)));
    let negative = points.clone().into_iter().map(|mut point| {
        point[31] |= 0x80;
        point
    });
    points.extend(negative.collect::<Vec<_>>());
    points
}

/// RFC 8037 §3.1 (SHOULD, refuses)
/// RFC 8725 §3.4 (MUST, refuses)
/// Threat S10
#[test]
fn skips_ed25519_points_of_small_order_or_non_canonical_encoding() {
    let points = weak_points();
    assert_eq!(points.len(), 2 * (5 + 19));
    for point in points {
        let weak = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "weak", "x": b64(point)});
        let keys = KeySet::from_json(json!({"keys": [weak, jwk_of(Algorithm::EdDSA)]}).to_string()).unwrap();
        let skipped: Vec<String> = keys.skipped().iter().map(ToString::to_string).collect();
        assert_eq!(skipped, ["key 0: a point of small order or with a second encoding"], "{point:x?}");
        assert!(accepts(keys, &token_of(Algorithm::EdDSA)));
    }
}

/// RFC 8725 §3.4 (MUST, refuses)
/// Threat S10
#[test]
fn refuses_a_signature_that_is_valid_for_every_message_with_a_weak_key() {
    // With the neutral point as key, R = neutral and S = 0 satisfy S·B = R + h·A for every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let universal = [neutral, [0; 32]].concat();
    for message in ["one", "another"] {
        let verified = UnparsedPublicKey::new(&ED25519, neutral).verify(message.as_bytes(), &universal);
        assert!(verified.is_ok(), "the crypto library now refuses the signature itself, so this test proves nothing");
    }
    let builder: TokenBuilder = issuer_of(Algorithm::EdDSA).token("ada");
    let signed = format!("{}.{}", b64(builder.clone().header("kid", "weak").header_json()), b64(builder.claims_json()));
    let forged = format!("{signed}.{}", b64(universal));
    let weak = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "weak", "x": b64(neutral)});
    let keys = KeySet::from_json(json!({"keys": [weak, jwk_of(Algorithm::EdDSA)]}).to_string()).unwrap();
    assert!(!accepts(keys, &forged));
}

/// RFC 8725 §3.4 (MUST, refuses)
/// Threat S13
#[test]
fn refuses_tokens_for_an_ed25519_point_that_is_not_on_the_curve() {
    // For these y, (y² - 1) / (d·y² + 1) is no square modulo p, so there is no x (RFC 8032 §5.1.3). RustCrypto refuses
    // the key when it is loaded, AWS-LC refuses each signature.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let universal = [neutral, [0; 32]].concat();
    for y in [2, 7, 8, 11, 12, 13, 17, 20] {
        for sign in [0, 0x80] {
            let mut point = [0; 32];
            (point[0], point[31]) = (y, sign);
            let off_curve =
                json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "off_curve", "x": b64(point)});
            let keys = KeySet::from_json(json!({"keys": [off_curve, jwk_of(Algorithm::EdDSA)]}).to_string()).unwrap();
            assert_eq!(keys.skipped().len(), usize::from(!cfg!(feature = "aws-lc-rs")), "{point:x?}");
            assert!(!accepts(keys, &issuer_of(Algorithm::EdDSA).token("ada").header("kid", "off_curve").sign()));
            let verified = UnparsedPublicKey::new(&ED25519, point).verify(b"", &universal);
            assert!(verified.is_err(), "{point:x?}");
        }
    }
}
