//! Events and metrics of the token endpoint.
//!
//! *In*: what happened. *Out*: one event, whose level depends on who can cause it, and a metric.

use std::{fmt, time::Duration};

/// An event of the token endpoint. The user is not part of it, because a log must not have personal data.
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "only the log uses them"))]
pub(crate) struct TokenEndpointEvent<'e> {
    pub(crate) kind: &'static str,
    pub(crate) level: EventLevel,
    pub(crate) client_id: Option<&'e str>,
    pub(crate) grant_type: Option<&'e str>,
    pub(crate) session: Option<&'e dyn fmt::Display>,
    pub(crate) error: Option<&'static str>,
    pub(crate) reason: Option<&'e str>,
    pub(crate) key_id: Option<&'e str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EventLevel {
    Warn,
    Info,
    Debug,
}

/// Something happened that an operator may want to know.
#[cfg_attr(
    not(any(feature = "metrics", feature = "tracing")),
    expect(unused_variables, reason = "no feature uses them")
)]
pub(crate) fn token_endpoint_event(event: &TokenEndpointEvent<'_>) {
    #[cfg(feature = "metrics")]
    metrics::counter!(
        "tower_oauth_token_endpoint_events_total", "kind" => event.kind, "error" => event.error.unwrap_or_default()
    )
    .increment(1);
    #[cfg(feature = "tracing")]
    {
        macro_rules! log {
            ($level:ident) => {{
                let TokenEndpointEvent { kind, client_id, grant_type, error, reason, key_id, .. } = event;
                let session = event.session.map(tracing::field::display);
                tracing::$level!(
                    target: "tower_oauth", kind, client_id, grant_type, session, error, reason, key_id,
                    "token endpoint: {kind}"
                );
            }};
        }
        match event.level {
            EventLevel::Warn => log!(warn),
            EventLevel::Info => log!(info),
            EventLevel::Debug => log!(debug),
        }
    }
}

/// An operation of the store ended. `outcome` is `ok` or `error`.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn store_operation(operation: &'static str, outcome: &'static str, time: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("tower_oauth_store_seconds", "operation" => operation, "outcome" => outcome)
        .record(time.as_secs_f64());
}

/// A router has removed the issuer's own path from a request, so no endpoint was found. Logged once.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn path_removed(base: &str) {
    #[cfg(feature = "tracing")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            tracing::warn!(
                target: "tower_oauth", base,
                "the router has removed the issuer's path from a request; nest TokenEndpoint::nested() there"
            );
        });
    }
}

/// A request was refused, because the metadata document of its client is unavailable. Any client can repeat it, and
/// `client_document` has logged it.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn client_unavailable(error: &dyn std::error::Error) {
    #[cfg(feature = "tracing")]
    {
        let cause = crate::error::causes(error);
        tracing::debug!(target: "tower_oauth", %error, cause, "the metadata document of a client is unavailable");
    }
}

/// The metadata document of a client was read, or why it was not. `outcome` is `accepted`, `refused` or `unavailable`. Any client
/// can name a URL on a trusted host, so it is never an error.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "no feature uses them"))]
#[cfg(feature = "http-client")]
pub(crate) fn client_document(client_id: &str, outcome: &'static str, reason: Option<&str>) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_client_documents_total", "outcome" => outcome).increment(1);
    #[cfg(feature = "tracing")]
    match reason {
        None => tracing::info!(target: "tower_oauth", client_id, outcome, "client metadata document: {outcome}"),
        Some(reason) => {
            let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
            tracing::warn!(target: "tower_oauth", client_id, outcome, reason, "client metadata document: {outcome}");
        }
    }
}

/// The document's publisher chooses a part of the reason.
#[cfg(all(feature = "http-client", feature = "tracing"))]
const MAX_REASON_CHARS: usize = 200;
