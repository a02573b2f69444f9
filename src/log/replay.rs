//! Events about the store of used DPoP proofs.
//!
//! *In*: its failures. *Out*: a log event, and a metric.

use std::error::Error;

use super::OutageLine;
#[cfg(feature = "tracing")]
use crate::error::causes;

/// A store could not record a used proof, so a request is refused with 503. `line` says whether it is logged: a client can fill a
/// store.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "only events use all of them"))]
pub(crate) fn replay_store_failed(store: &'static str, error: &dyn Error, line: Option<OutageLine>) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_replay_store_errors_total", "store" => store).increment(1);
    #[cfg(feature = "tracing")]
    if let Some(OutageLine::Failing { failures }) = line {
        let cause = causes(error);
        tracing::error!(target: "tower_oauth", store, %error, cause, failures, "used DPoP proofs can't be recorded, so requests are refused with 503");
    }
}

/// A store records used proofs again.
#[cfg(feature = "redis-replay")]
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn replay_store_works_again(store: &'static str) {
    #[cfg(feature = "tracing")]
    tracing::info!(target: "tower_oauth", store, "used DPoP proofs can be recorded again");
}
