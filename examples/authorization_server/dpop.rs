//! Reads whether tokens can be bound to the key of a DPoP proof (RFC 9449).

use std::env;

use tower_oauth::{dpop::NonceSecret, token_endpoint::TokenEndpointBuilder};

use crate::{mistakes::Mistakes, settings::read_switch};

/// The settings of DPoP.
pub(crate) struct Dpop {
    is_on: bool,
    nonces: Option<NonceSecret>,
}

impl Dpop {
    /// Reads the variables. `bound` has the members of the client file that need DPoP.
    pub(crate) fn read(bound: &[String], mistakes: &mut Mistakes) -> Self {
        let is_on = read_switch("DPOP", mistakes);
        let nonces = mistakes.optional(SECRET).and_then(|text| read_secret(&text, mistakes));
        if env::var_os("DPOP").is_none_or(|value| value == "off") {
            if env::var_os(SECRET).is_some() {
                mistakes.add(SECRET, "it has no effect without DPOP=on");
            }
            for member in bound {
                mistakes.add(member, "it needs DPOP=on");
            }
        }
        Self { is_on, nonces }
    }

    pub(crate) fn add_to(self, builder: TokenEndpointBuilder) -> TokenEndpointBuilder {
        match (self.is_on, self.nonces) {
            (true, Some(secret)) => builder.dpop_nonces(secret),
            (true, None) => builder.dpop(),
            (false, _) => builder,
        }
    }
}

/// Returns the secret of the nonces: 32 bytes in hexadecimal, or new random ones.
fn read_secret(text: &str, mistakes: &mut Mistakes) -> Option<NonceSecret> {
    if text == "random" {
        return mistakes.check(|_| SECRET, NonceSecret::for_one_instance());
    }
    let secret = bytes(text);
    if secret.is_none() {
        // Not quoted, because it is a secret.
        mistakes.add(SECRET, "it is neither 64 hexadecimal digits nor random");
    }
    secret.map(NonceSecret::shared)
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect();
    let digits = digits.filter(|digits| digits.len() == 64)?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    bytes.try_into().ok()
}

const SECRET: &str = "DPOP_NONCE_SECRET";
