//! HMAC signatures for test tokens.
//!
//! *In*: a secret and a message. *Out*: the signature.

use aws_lc_rs::hmac::{self, Key};

use super::{HmacAlgorithm, hmac_algorithm};

pub(crate) fn sign_hmac(algorithm: HmacAlgorithm, secret: &[u8], message: &[u8]) -> Vec<u8> {
    hmac::sign(&Key::new(hmac_algorithm(algorithm), secret), message).as_ref().to_vec()
}
