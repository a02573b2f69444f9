//! Refusals: the response to the client, and the reasons in log and metrics.

mod answers;
mod explain_token;
#[cfg(feature = "metrics")]
mod metrics;
mod outage_log;
mod reasons;
mod secrets;
