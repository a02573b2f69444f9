//! A token without any key: for tests of what comes after the check.

use std::task::{Context, Poll};

use http::Request;
use serde_json::{Map, Value};
use tower_layer::Layer;
use tower_service::Service;

use crate::{claims::ClaimNames, scope::ScopeHierarchy, token::Token};

/// Makes a [`Token`] out of nothing and puts it into a request, as if a layer had checked one.
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
}

impl TestToken {
    /// Acts for a person, through the client `test-client`.
    pub fn user(subject: &str) -> Self {
        Self { claims: Map::new(), hierarchy: None }.claim("sub", subject).claim("client_id", "test-client")
    }

    /// Acts for a client itself.
    pub fn client(client: &str) -> Self {
        Self { claims: Map::new(), hierarchy: None }.claim("sub", client).claim("client_id", client)
    }

    /// `scope`: names separated by spaces.
    pub fn scope(self, scopes: &str) -> Self {
        self.claim("scope", scopes)
    }

    /// Any claim.
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Which scopes include which others, as the server would say it.
    pub fn scope_hierarchy(self, hierarchy: ScopeHierarchy) -> Self {
        Self { hierarchy: Some(hierarchy), ..self }
    }

    /// The token.
    ///
    /// # Panics
    /// A standard claim has a wrong type.
    #[must_use]
    pub fn build(self) -> Token {
        let token = Token::from_claims(Value::Object(self.claims).to_string(), &ClaimNames::default());
        token
            .expect("the claims have the types of the standard")
            .with_hierarchy(self.hierarchy.map(Into::into).as_ref())
    }

    /// Puts the token where the extractors look.
    ///
    /// # Panics
    /// A standard claim has a wrong type.
    pub fn insert_into<B>(self, request: &mut Request<B>) {
        request.extensions_mut().insert(self.build());
    }

    /// A layer that puts the token into every request; in tests it stands where [`OAuthLayer`](crate::OAuthLayer) does.
    ///
    /// # Panics
    /// A standard claim has a wrong type.
    #[must_use]
    pub fn into_layer(self) -> InjectTokenLayer {
        InjectTokenLayer { token: self.build() }
    }
}

/// Made by [`TestToken::into_layer`].
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
