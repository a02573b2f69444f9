//! A token without a key, for tests of the code behind the layer.
//!
//! *In*: claims. *Out*: a [`Token`](crate::Token), in a request or by itself.

use std::task::{Context, Poll};

use http::Request;
use serde_json::{Map, Value};
use tower_layer::Layer;
use tower_service::Service;

use super::{ProofKey, encode::b64, proof_key::with_confirmation};
use crate::{
    claims::{ClaimNames, TokenOrigin},
    jws::sha256,
    scope::ScopeHierarchy,
    token::Token,
};

/// Builder for a [`Token`](crate::Token) that no verifier checked. It can put the token into a request, like the layer.
///
/// ```
/// # tower_oauth::scopes! { pub OrdersRead = "orders:read"; }
/// use tower_oauth::{Scoped, testing::TestToken};
///
/// fn cancel(_proof: &Scoped<OrdersRead>) {}
///
/// let token = TestToken::user("ada").scope("orders:read").build();
/// cancel(&token.require::<OrdersRead>()?);
///
/// let mut request = http::Request::new(());
/// TestToken::client("batch").insert_into(&mut request);
/// # Ok::<(), tower_oauth::AuthError>(())
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct TestToken {
    claims: Map<String, Value>,
    hierarchy: Option<ScopeHierarchy>,
    /// True if the sender of the request counts as the one that the token is bound to.
    proven: bool,
}

impl TestToken {
    /// Returns a token that acts for a user, issued to the client `test-client`.
    pub fn user(subject: &str) -> Self {
        Self::new(subject, "test-client")
    }

    /// Returns a token that a client obtained for itself.
    pub fn client(client: &str) -> Self {
        Self::new(client, client)
    }

    fn new(subject: &str, client: &str) -> Self {
        Self { claims: Map::new(), hierarchy: None, proven: false }.claim("sub", subject).claim("client_id", client)
    }

    /// Sets `scope`: names separated by spaces.
    pub fn scope(self, scopes: &str) -> Self {
        self.claim("scope", scopes)
    }

    /// Binds the token to the key of a client, as if the request had a good proof of the key:
    /// [`Token::confirmation`](crate::Token::confirmation) returns it. So handlers that require
    #[cfg_attr(feature = "axum", doc = " [`SenderConstrained`](crate::extract::SenderConstrained)")]
    #[cfg_attr(not(feature = "axum"), doc = " `SenderConstrained`")]
    /// accept it. With [`claim`](Self::claim)`("cnf", …)` the token is bound, but nothing is proven.
    pub fn bound_to(self, key: &ProofKey) -> Self {
        self.confirmed("jkt", key.thumbprint())
    }

    /// Binds the token to a client's certificate in DER, as if the request came with this certificate.
    pub fn bound_to_certificate(self, der: &[u8]) -> Self {
        self.confirmed("x5t#S256", b64(sha256([der])))
    }

    fn confirmed(self, member: &str, thumbprint: String) -> Self {
        let cnf = with_confirmation(&self.claims, member, thumbprint);
        Self { proven: true, ..self.claim("cnf", cnf) }
    }

    /// Sets a claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Sets which scopes include others, like the setting of a server.
    pub fn scope_hierarchy(self, hierarchy: ScopeHierarchy) -> Self {
        Self { hierarchy: Some(hierarchy), ..self }
    }

    /// Builds the token.
    ///
    /// # Panics
    /// A standard claim has a wrong type.
    #[must_use]
    pub fn build(self) -> Token {
        let token =
            Token::from_claims(TokenOrigin::default(), Value::Object(self.claims).to_string(), &ClaimNames::default());
        let token = token
            .expect("the claims have the types of the standard")
            .with_hierarchy(self.hierarchy.map(Into::into).as_ref());
        if self.proven { token.with_proof_of_sender() } else { token }
    }

    /// Puts the token into the request's extensions, where the extractors read it.
    ///
    /// # Panics
    /// A standard claim has a wrong type.
    pub fn insert_into<B>(self, request: &mut Request<B>) {
        request.extensions_mut().insert(self.build());
    }

    /// Returns a layer that puts the token into every request. Use it instead of [`OAuthLayer`](crate::OAuthLayer).
    ///
    /// # Panics
    /// A standard claim has a wrong type.
    #[must_use]
    pub fn into_layer(self) -> InjectTokenLayer {
        InjectTokenLayer { token: self.build() }
    }
}

/// Puts a token into every request. Made by [`TestToken::into_layer`].
#[derive(Debug, Clone)]
pub struct InjectTokenLayer {
    token: Token,
}

/// The service that [`InjectTokenLayer`] makes.
#[derive(Debug, Clone)]
pub struct InjectToken<S> {
    inner: S,
    token: Token,
}

impl<S> Layer<S> for InjectTokenLayer {
    type Service = InjectToken<S>;

    fn layer(&self, inner: S) -> Self::Service {
        InjectToken { inner, token: self.token.clone() }
    }
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for InjectToken<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> S::Future {
        request.extensions_mut().insert(self.token.clone());
        self.inner.call(request)
    }
}
