//! The token of a request, in its extensions.
//!
//! *In*: the extensions that [`OAuthLayer`](crate::OAuthLayer) put the token into. *Out*: the token, or why the request has no token.

use std::panic::Location;

use http::{Extensions, Uri};

use crate::{
    error::{AuthError, Reason},
    log::{self, MissingAt},
    server::Anonymous,
    token::Token,
};

impl Token {
    /// Returns the token that [`OAuthLayer`](crate::OAuthLayer) accepted, from the request's extensions: for handlers without
    /// extractors, such as the methods of a tonic service.
    ///
    /// `extensions.get::<Token>()` is `None` on a route without the layer too, so the mistake looks like a request without a token.
    /// Here it is reported.
    ///
    /// ```
    /// use tower_oauth::{AuthError, Token};
    ///
    /// fn greet(request: &http::Request<String>) -> Result<String, AuthError> {
    ///     let token = Token::of(request.extensions())?;
    ///     Ok(format!("hello {}", token.subject().unwrap_or("client")))
    /// }
    /// ```
    ///
    /// # Errors
    /// [`MissingCredentials`](crate::error::AuthErrorKind::MissingCredentials) if the layer let the request pass without
    /// credentials, [`MissingLayer`](crate::error::AuthErrorKind::MissingLayer) if the request did not pass a layer. The mistake is
    /// then logged with the place of this call.
    #[track_caller]
    pub fn of(extensions: &Extensions) -> Result<&Self, AuthError> {
        let place = MissingAt::Caller(Location::caller());
        find_token(extensions).inspect_err(|error| report(error, place))
    }
}

/// Like [`Token::of`], with the path for the log. A missing layer is logged here, because a handler may never return the error.
pub(crate) fn verified_token<'r>(extensions: &'r Extensions, uri: &Uri) -> Result<&'r Token, AuthError> {
    find_token(extensions).inspect_err(|error| report(error, MissingAt::Path(uri.path())))
}

/// Like [`Token::of`], but the caller reports a missing layer.
pub(super) fn find_token(extensions: &Extensions) -> Result<&Token, AuthError> {
    match extensions.get::<Token>() {
        Some(token) => Ok(token),
        None if extensions.get::<Anonymous>().is_some() => Err(Reason::NoCredentials.into()),
        None => Err(Reason::MissingLayer.into()),
    }
}

fn report(error: &AuthError, place: MissingAt<'_>) {
    if !error.is_missing_credentials() {
        log::layer_missing(error, place);
    }
}
