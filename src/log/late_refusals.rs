//! Events about refusals that handlers record for the layer.
//!
//! *In*: a refusal. *Out*: a log event, and a metric.

use std::sync::LazyLock;

#[cfg(feature = "tracing")]
use super::RefusalCounts;
use super::{MissingAt, ReportedPlaces, report_place};
use crate::error::AuthError;

/// A handler records refusals on a route whose layer doesn't return them. Reported like a missing layer.
pub(crate) fn late_refusals_missing(error: &AuthError, place: MissingAt<'_>) {
    static REPORTED: LazyLock<ReportedPlaces> = LazyLock::new(ReportedPlaces::default);
    let text = format_args!(
        "a handler records refusals, but its route has no OAuthLayer with late refusals; use `OAuthLayer::late_refusals()` on the route's router"
    );
    report_place(&REPORTED, error, place, text);
}

/// A handler recorded a refusal after the head of its response had left. Any client with a valid token can cause this event, so
/// only the first one for each reason is a warning.
#[cfg_attr(
    not(any(feature = "metrics", feature = "tracing")),
    expect(unused_variables, reason = "no feature uses them")
)]
pub(crate) fn refused_too_late(error: &AuthError) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_refused_too_late_total", "kind" => error.kind().as_str(), "reason" => error.reason())
        .increment(1);
    #[cfg(feature = "tracing")]
    {
        static REFUSALS: LazyLock<RefusalCounts> = LazyLock::new(RefusalCounts::default);
        let (kind, reason, count) = (error.kind().as_str(), error.reason(), REFUSALS.add(error));
        if count == Some(1) {
            tracing::warn!(target: "tower_oauth", kind, reason, %error, "a refusal came after the head of the response had left, so the client did not get its challenge; let the server run the operation before it sends the head (rmcp: with_legacy_session_mode(false) and with_json_response(true)). Further ones for this reason are debug events");
        } else {
            tracing::debug!(target: "tower_oauth", kind, reason, %error, count, "a refusal came after the head of the response had left, so the client did not get its challenge");
        }
    }
}
