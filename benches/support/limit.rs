//! The limit that no verifier can beat: a layer that checks one signature by a parsed key and does nothing else. The signature
//! is decoded once, when the layer is built, and the header of the request is never read.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use axum::body::Body;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures_util::future::Either;
use http::{Request, Response, StatusCode};
use serde_json::Value;
use tower::{Layer, Service};

/// The key, the signed bytes and the signature.
#[derive(Clone)]
pub(crate) struct Limit(Arc<(ParsedPublicKey, Vec<u8>, Vec<u8>)>);

impl Limit {
    /// Takes the key as a JWK (RSA, P-256 or Ed25519), and the token that is checked for every request.
    pub(crate) fn new(jwk: &Value, token: &str) -> Self {
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let member = |name: &str| URL_SAFE_NO_PAD.decode(jwk[name].as_str().unwrap()).unwrap();
        let key = match jwk["kty"].as_str().unwrap() {
            "RSA" => {
                let components = RsaPublicKeyComponents { n: member("n"), e: member("e") };
                components.to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256).unwrap()
            }
            "EC" => {
                let point = [vec![4], member("x"), member("y")].concat();
                ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).unwrap()
            }
            _ => ParsedPublicKey::new(&signature::ED25519, member("x")).unwrap(),
        };
        Self(Arc::new((key, signed.as_bytes().to_vec(), URL_SAFE_NO_PAD.decode(signature).unwrap())))
    }
}

impl<S> Layer<S> for Limit {
    type Service = Limited<S>;

    fn layer(&self, inner: S) -> Limited<S> {
        Limited { inner, limit: self.clone() }
    }
}

#[derive(Clone)]
pub(crate) struct Limited<S> {
    inner: S,
    limit: Limit,
}

impl<S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>> Service<Request<Body>> for Limited<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Infallible>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (key, signed, signature) = &*self.limit.0;
        if key.verify_sig(signed, signature).is_ok() {
            Either::Left(self.inner.call(request))
        } else {
            let mut refused = Response::new(Body::empty());
            *refused.status_mut() = StatusCode::UNAUTHORIZED;
            Either::Right(ready(Ok(refused)))
        }
    }
}
