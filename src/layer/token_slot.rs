//! [`TokenSlot`]: gives a layer further out the token of an accepted request.
//!
//! *In*: the token that `OAuthLayer` accepted. *Out*: the token, in the outer layer's clone of the slot.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crate::token::Token;

/// Gives a layer outside of [`OAuthLayer`](crate::OAuthLayer) the token that a request was accepted with, for access logs.
///
/// The outer layer puts a slot into the request's extensions and keeps a clone. `OAuthLayer` fills it when it accepts the
/// request. For a refused request the slot stays empty, and the [`AuthError`](crate::AuthError) is in the response's
/// extensions.
///
/// ```
/// use axum::{extract::Request, middleware::Next, response::Response};
/// use tower_oauth::{AuthError, layer::TokenSlot};
///
/// async fn access_log(mut request: Request, next: Next) -> Response {
///     let slot = TokenSlot::new();
///     request.extensions_mut().insert(slot.clone());
///     let response = next.run(request).await;
///     let error = response.extensions().get::<AuthError>();
///     match (slot.token(), error) {
///         (_, Some(error)) => println!("{} refused: {}", response.status(), error.reason()),
///         (Some(token), None) => println!("{} {:?} {:?}", response.status(), token.subject(), token.client_id()),
///         (None, None) => println!("{} anonymous", response.status()),
///     }
///     response
/// }
/// # fn example(layer: tower_oauth::OAuthLayer) {
/// # let _: axum::Router =
/// axum::Router::new().layer(layer).layer(axum::middleware::from_fn(access_log)); // the last layer is the outermost
/// # }
/// ```
#[derive(Clone, Default)]
pub struct TokenSlot {
    token: Arc<OnceLock<Token>>,
}

impl TokenSlot {
    /// Returns an empty slot.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the token that the request was accepted with. If several layers accepted it, the outermost one's token.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        self.token.get()
    }

    pub(super) fn fill(&self, token: &Token) {
        self.token.get_or_init(|| token.clone());
    }
}

impl fmt::Debug for TokenSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSlot").field("filled", &self.token.get().is_some()).finish()
    }
}
