//! The one place that logs, so that no other line asks whether the feature `tracing` is on.
//!
//! Never a token, a secret, a claim's value or a header's text: our own words only.

use crate::error::{AuthError, AuthErrorKind};

/// A request was refused. A stranger can cause it, so it is told quietly, unless the fault is on our side.
pub(crate) fn refused(error: &AuthError) {
    #[cfg(feature = "tracing")]
    {
        let cause = std::error::Error::source(error).map(tracing::field::display);
        match error.kind() {
            AuthErrorKind::Unavailable => {
                tracing::warn!(target: "tower_oauth", reason = %error, cause, "a token could not be judged");
            }
            kind => tracing::debug!(target: "tower_oauth", ?kind, reason = %error, cause, "request refused"),
        }
    }
    if error.kind() == AuthErrorKind::MissingLayer {
        mistake(error);
    }
}

/// A mistake in the program, which must be seen: through `tracing`, or once on standard error where that is off.
fn mistake(error: &AuthError) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_oauth", "{error}; add `.layer(OAuthLayer::new(verifier))` to the route's router");
    #[cfg(not(feature = "tracing"))]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            eprintln!("tower-oauth: {error}; add `.layer(OAuthLayer::new(verifier))` to the route's router");
        });
    }
}

/// A key set could not be renewed: nobody's token is to blame, and somebody should look.
pub(crate) fn refresh_failed(error: &crate::fetch::FetchError) {
    #[cfg(feature = "tracing")]
    {
        let cause = std::error::Error::source(error).map(tracing::field::display);
        tracing::warn!(target: "tower_oauth", reason = %error, cause, "the issuer's keys could not be fetched");
    }
    #[cfg(not(feature = "tracing"))]
    let _ = error;
}
