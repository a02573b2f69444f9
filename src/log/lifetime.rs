//! Tokens of streams.
//!
//! *In*: what happened. *Out*: an event, and a metric.

use std::sync::LazyLock;

use super::{MissingAt, ReportedPlaces, report_place};
use crate::error::AuthError;
#[cfg(feature = "tracing")]
use crate::error::causes;

/// A handler requires the lifetime of a token, but the layer of its route doesn't give any. Reported like a missing layer.
pub(crate) fn lifetimes_missing(error: &AuthError, place: MissingAt<'_>) {
    static REPORTED: LazyLock<ReportedPlaces> = LazyLock::new(ReportedPlaces::default);
    let text = format_args!(
        "a handler requires a TokenLifetime, but the OAuthLayer of its route gives none; call `.token_lifetimes()` on the layer"
    );
    report_place(&REPORTED, error, place, text);
}

/// The token of a stream was refused or could not be checked, when its client renewed it (`renewal`) or when the verifier was
/// asked again (`recheck`). Any client can cause this event, so its level is `debug`.
#[cfg_attr(
    not(any(feature = "metrics", feature = "tracing")),
    expect(unused_variables, reason = "no feature uses them")
)]
pub(crate) fn lifetime_refused(occasion: &'static str, error: &AuthError) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_lifetime_refusals_total", "occasion" => occasion, "kind" => error.kind().as_str(), "reason" => error.reason())
        .increment(1);
    #[cfg(feature = "tracing")]
    {
        let (kind, reason, cause) = (error.kind().as_str(), error.reason(), causes(error));
        tracing::debug!(target: "tower_oauth", occasion, kind, reason, %error, cause, "the token of a stream was refused");
    }
}
