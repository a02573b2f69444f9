//! Every algorithm, with whatever backends are enabled.

use tower_oauth::keys::Algorithm;

use crate::material::{accepts, issuer_of};

/// RFC 7515 §4.1.1 (MUST, accepts)
/// RFC 9068 §4 d (MUST, accepts)
#[test]
fn accepts_every_supported_algorithm_with_both_backends_enabled() {
    for &algorithm in Algorithm::supported() {
        let issuer = issuer_of(algorithm);
        assert!(accepts(issuer.key_set(), &issuer.token("ada").sign()), "{algorithm}");
    }
}
