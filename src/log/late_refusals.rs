//! Events about refusals that handlers record for the layer.
//!
//! *In*: a refusal. *Out*: a log event, and a metric.

use std::{panic::Location, sync::LazyLock};

#[cfg(feature = "tracing")]
use super::RefusalCounts;
use super::{ReportedPaths, count_refusal, log_refusal};
use crate::error::AuthError;

/// A handler records refusals on a route without the layer that returns them, which is a mistake in the program. The event has level
/// `error`, once for each place in the program, and `debug` after that. Without `tracing` the first ones are printed on standard
/// error.
pub(crate) fn late_refusals_missing(error: &AuthError, caller: &Location<'_>) {
    static REPORTED: LazyLock<ReportedPaths> = LazyLock::new(ReportedPaths::default);
    count_refusal(error);
    if !REPORTED.is_new(&caller.to_string()) {
        return log_refusal(error);
    }
    #[cfg(feature = "tracing")]
    tracing::error!(target: "tower_oauth", %caller, "{MISSING}");
    #[cfg(not(feature = "tracing"))]
    eprintln!("tower-oauth: {caller}: {MISSING}");
}

const MISSING: &str = "a handler records refusals, but its route has no LateRefusalsLayer inside of an OAuthLayer; use `OAuthLayer::late_refusals()` on the route's router";

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
