//! The one place that logs and counts, so that no other line asks whether the features `tracing` and `metrics` are on.
//!
//! Never a token, a secret, a claim's value or a header's text: our own words, and the identifiers of trusted issuers.
//!
//! | metric | kind | labels | |
//! |---|---|---|---|
//! | `tower_oauth_admitted_total` | counter | | Requests whose token was accepted. |
//! | `tower_oauth_refused_total` | counter | `kind` | Refusals by [`AuthErrorKind`], those of handlers too. |
//! | `tower_oauth_cache_lookups_total` | counter | `result` | What [`Cached`](crate::Cached) had: `hit`, `refused`, `joined`, `miss`. |
//! | `tower_oauth_introspections_total` | counter | `issuer`, `result` | Questions to the issuer: `active`, `inactive`, `failure`. |
//! | `tower_oauth_introspection_seconds` | histogram | `issuer` | How long they took. |
//! | `tower_oauth_key_refreshes_total` | counter | `issuer`, `result` | Attempts to fetch keys: `success`, `failure`. |
//! | `tower_oauth_key_age_seconds` | gauge | `issuer` | How old the keys in use are, at the end of each attempt. |
//! | `tower_oauth_unknown_kids_total` | counter | `issuer` | Tokens that name a key we don't have. |
//! | `tower_oauth_key_wait_seconds` | histogram | `issuer` | How long such a token waited. |

use std::time::Duration;

use crate::{
    error::{AuthError, AuthErrorKind},
    fetch::FetchError,
};

/// A token was accepted.
pub(crate) fn admitted() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_admitted_total").increment(1);
}

/// A request was refused. A stranger can cause it, so it is told quietly; what is our fault is told where it happens.
pub(crate) fn refused(error: &AuthError) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_refused_total", "kind" => error.kind().name()).increment(1);
    #[cfg(feature = "tracing")]
    {
        let (kind, cause) = (error.kind(), causes(error));
        tracing::debug!(target: "tower_oauth", ?kind, reason = %error, cause, "request refused");
    }
    if error.kind() == AuthErrorKind::MissingLayer {
        mistake(error);
    }
}

/// A mistake in the program, which must be seen: through `tracing`, or once on standard error where that is off.
fn mistake(error: &AuthError) {
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_oauth", "{error}; add `.layer(OAuthLayer::new(verifier))` to the route's router, outside of what needs the token");
    #[cfg(not(feature = "tracing"))]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            eprintln!("tower-oauth: {error}; add `.layer(OAuthLayer::new(verifier))` to the route's router, outside of what needs the token");
        });
    }
}

/// An attempt to fetch an issuer's keys ended. A failure is nobody's token's fault, and somebody should look.
#[cfg_attr(not(any(feature = "metrics", feature = "tracing")), expect(unused_variables, reason = "nobody listens"))]
pub(crate) fn refresh_ended(issuer: &str, result: Result<(), &FetchError>, age: Option<Duration>) {
    #[cfg(feature = "metrics")]
    {
        let outcome = if result.is_ok() { "success" } else { "failure" };
        metrics::counter!("tower_oauth_key_refreshes_total", "issuer" => issuer.to_owned(), "result" => outcome)
            .increment(1);
        if let Some(age) = age {
            metrics::gauge!("tower_oauth_key_age_seconds", "issuer" => issuer.to_owned()).set(age.as_secs_f64());
        }
    }
    #[cfg(feature = "tracing")]
    match result {
        Ok(()) => tracing::debug!(target: "tower_oauth", issuer, "the issuer's keys were fetched"),
        Err(error) => {
            let cause = causes(error);
            let age = age.map(|age| age.as_secs());
            tracing::warn!(target: "tower_oauth", issuer, reason = %error, cause, age, "the issuer's keys could not be fetched");
        }
    }
}

/// The token endpoint could not answer, through no fault of the client's, and somebody should look.
#[cfg(feature = "token-endpoint")]
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "nobody listens"))]
pub(crate) fn token_endpoint_failed(error: &dyn std::error::Error) {
    #[cfg(feature = "tracing")]
    {
        let cause = causes(error);
        tracing::error!(target: "tower_oauth", reason = %error, cause, "the token endpoint could not answer");
    }
}

/// A store could not delete what has expired. Nobody waits for that, but it grows meanwhile.
#[cfg(feature = "postgres")]
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "nobody listens"))]
pub(crate) fn cleaning_failed(error: &dyn std::error::Error) {
    #[cfg(feature = "tracing")]
    {
        let cause = causes(error);
        tracing::warn!(target: "tower_oauth", reason = %error, cause, "what has expired could not be deleted");
    }
}

/// Everything below an error, outermost first; the reason of a failed connection lies deep.
pub(crate) fn causes(error: &dyn std::error::Error) -> Option<String> {
    let mut causes = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        causes.push(cause.to_string());
        next = cause.source();
    }
    (!causes.is_empty()).then(|| causes.join(": "))
}

/// A token names a key that its issuer's set, as we have it, doesn't hold.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "nobody listens"))]
pub(crate) fn unknown_key_id(issuer: &str) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_unknown_kids_total", "issuer" => issuer.to_owned()).increment(1);
}

/// A token waited for its key.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "nobody listens"))]
pub(crate) fn waited(issuer: &str, time: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("tower_oauth_key_wait_seconds", "issuer" => issuer.to_owned()).record(time.as_secs_f64());
}

/// A question to an issuer ended: whether the token is active, or why there is no answer. That is our credentials or
/// their outage, and nobody's token's fault.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "nobody listens"))]
pub(crate) fn introspected(issuer: &str, active: Result<bool, &FetchError>, took: Duration) {
    #[cfg(feature = "metrics")]
    {
        let outcome = match active {
            Ok(true) => "active",
            Ok(false) => "inactive",
            Err(_) => "failure",
        };
        metrics::counter!("tower_oauth_introspections_total", "issuer" => issuer.to_owned(), "result" => outcome)
            .increment(1);
        metrics::histogram!("tower_oauth_introspection_seconds", "issuer" => issuer.to_owned())
            .record(took.as_secs_f64());
    }
    #[cfg(feature = "tracing")]
    match active {
        Ok(active) => tracing::debug!(target: "tower_oauth", issuer, active, "the issuer was asked about a token"),
        Err(error) => {
            let cause = causes(error);
            tracing::error!(target: "tower_oauth", issuer, reason = %error, cause, "the issuer could not be asked about a token");
        }
    }
}

/// What a cache had for a token.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lookup {
    Hit,
    Refused,
    /// Somebody was asking already.
    Joined,
    Miss,
}

/// A cache was asked.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "nobody listens"))]
pub(crate) fn looked_up(lookup: Lookup) {
    #[cfg(feature = "metrics")]
    {
        let result = match lookup {
            Lookup::Hit => "hit",
            Lookup::Refused => "refused",
            Lookup::Joined => "joined",
            Lookup::Miss => "miss",
        };
        metrics::counter!("tower_oauth_cache_lookups_total", "result" => result).increment(1);
    }
}
