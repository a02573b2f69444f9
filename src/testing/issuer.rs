//! An authorization server's keys and tokens, without the server.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use serde_json::{Value, json};

use super::{TokenBuilder, encode};
use crate::{
    clock::{Clock, SystemClock},
    issuer::Issuer,
    jws::{Algorithm, SigningKey},
    keys::{KeySet, public_members},
    verify::{JwtVerifier, JwtVerifierBuilder},
};

/// Issues tokens that a [`JwtVerifier`] accepts, and forged ones that it doesn't. No sockets.
///
/// Keys are made once a process for each identifier and algorithm.
#[derive(Clone)]
pub struct MockIssuer {
    identifier: String,
    algorithm: Algorithm,
    key: Arc<SigningKey>,
    clock: Arc<dyn Clock>,
}

impl MockIssuer {
    /// An issuer that signs with ES256.
    ///
    /// # Panics
    /// The identifier is not a URL that an [`Issuer`] can have.
    #[must_use]
    pub fn new(identifier: &str) -> Self {
        Self::with_algorithm(identifier, Algorithm::ES256)
    }

    /// An issuer that signs with another algorithm.
    ///
    /// # Panics
    /// The identifier is not a URL that an [`Issuer`] can have, or this build cannot sign with the algorithm.
    #[must_use]
    pub fn with_algorithm(identifier: &str, algorithm: Algorithm) -> Self {
        let key = key_of(identifier, algorithm);
        Self { identifier: identifier.to_owned(), algorithm, key, clock: Arc::new(SystemClock::new()) }
    }

    /// The same issuer by another clock, which its verifiers go by as well.
    #[must_use]
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// The identifier.
    #[must_use]
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// The algorithm it signs with.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The `kid` of its key.
    #[must_use]
    pub fn key_id(&self) -> String {
        format!("{}-{}", self.identifier.trim_start_matches("https://"), self.algorithm)
    }

    /// Its JWK set, as a server would publish it.
    #[must_use]
    pub fn jwks(&self) -> Value {
        json!({"keys": [self.jwk()]})
    }

    /// Its public key as a JWK.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let mut jwk = public_members(&self.key.public());
        jwk["kid"] = self.key_id().into();
        jwk["alg"] = self.algorithm.as_str().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// Its public key in PEM (`PUBLIC KEY`).
    #[must_use]
    pub fn public_key_pem(&self) -> String {
        encode::spki(&self.key.public()).1
    }

    /// Its public key in DER (`SubjectPublicKeyInfo`).
    #[must_use]
    pub fn public_key_der(&self) -> Vec<u8> {
        encode::spki(&self.key.public()).0
    }

    /// Its public key in PKCS#1 DER, if it is an RSA key.
    #[must_use]
    pub fn public_key_pkcs1(&self) -> Option<Vec<u8>> {
        encode::pkcs1(&self.key.public()).ok().filter(|der| !der.is_empty())
    }

    /// Its key set.
    ///
    /// # Panics
    /// Never: the key was made for this build.
    #[must_use]
    pub fn key_set(&self) -> KeySet {
        KeySet::from_json(self.jwks().to_string()).expect("a generated key is usable")
    }

    /// It, as a verifier trusts it.
    ///
    /// # Panics
    /// The identifier is not a URL that an [`Issuer`] can have.
    #[must_use]
    pub fn issuer(&self) -> Issuer {
        Issuer::from_keys(&self.identifier, self.key_set()).expect("the mock issuer's identifier is an https URL")
    }

    /// A verifier of its tokens for `audience`.
    ///
    /// # Panics
    /// The audience is empty.
    #[must_use]
    pub fn verifier(&self, audience: &str) -> JwtVerifier {
        self.verifier_builder(audience).build().expect("the audience is not empty")
    }

    /// The same, with more to say.
    ///
    /// # Panics
    /// The identifier is not a URL that an [`Issuer`] can have.
    pub fn verifier_builder(&self, audience: &str) -> JwtVerifierBuilder {
        JwtVerifier::builder(self.issuer(), audience).clock(Arc::clone(&self.clock))
    }

    /// A token that acts for a person, from the client `test-client`, for `https://api.test`, for five minutes.
    pub fn token(&self, subject: &str) -> TokenBuilder {
        TokenBuilder::new(self, self.clock.now(), subject, "test-client")
    }

    /// A token that a client got for itself.
    pub fn client_token(&self, client: &str) -> TokenBuilder {
        TokenBuilder::new(self, self.clock.now(), client, client)
    }

    pub(super) fn key(&self) -> &SigningKey {
        &self.key
    }
}

impl std::fmt::Debug for MockIssuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MockIssuer")
            .field("identifier", &self.identifier)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

fn key_of(identifier: &str, algorithm: Algorithm) -> Arc<SigningKey> {
    type Keys = Mutex<HashMap<(String, Algorithm), Arc<SigningKey>>>;
    static KEYS: OnceLock<Keys> = OnceLock::new();
    let mut keys = KEYS.get_or_init(Keys::default).lock().unwrap_or_else(PoisonError::into_inner);
    let key = keys.entry((identifier.to_owned(), algorithm)).or_insert_with(|| {
        Arc::new(SigningKey::generate(algorithm).unwrap_or_else(|_| panic!("this build cannot sign with {algorithm}")))
    });
    Arc::clone(key)
}
