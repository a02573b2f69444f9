//! Log events and metrics. Only this module depends on the features `tracing` and `metrics`.
//!
//! *In*: what happened. *Out*: an event under the target `tower_oauth`, and a metric. `src/guide/operations.md` documents both.
//!
//! An event never contains a token, a secret or the value of a personal claim: only fixed texts, the identifiers of trusted
//! issuers, the path of a route whose layer is missing, and for a refused token its issuer, audience, `typ`, `alg` and `kid`,
//! quoted and shortened.

mod late_refusals;
mod lifetime;
mod outage;
#[cfg(feature = "tracing")]
mod refusal_counts;
mod replay;
#[cfg(feature = "token-endpoint")]
mod token_endpoint;

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
    panic::Location,
    sync::{LazyLock, Mutex},
    time::Duration,
};

#[cfg(feature = "tracing")]
use self::refusal_counts::RefusalCounts;
#[cfg(feature = "redis-replay")]
pub(crate) use self::replay::replay_store_works_again;
#[cfg(all(feature = "token-endpoint", feature = "http-client"))]
pub(crate) use self::token_endpoint::client_document;
#[cfg(feature = "token-endpoint")]
pub(crate) use self::token_endpoint::{
    EventLevel, TokenEndpointEvent, client_unavailable, path_removed, store_operation, token_endpoint_event,
};
pub(crate) use self::{
    late_refusals::{late_refusals_missing, refused_too_late},
    lifetime::{lifetime_refused, lifetimes_missing},
    outage::{Outage, OutageLine},
    replay::replay_store_failed,
};
#[cfg(feature = "tracing")]
use crate::error::{Finding, causes};
use crate::{
    error::{AuthError, AuthErrorKind},
    fetch::FetchError,
    sync::lock,
};

/// An issuer, in events and metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IssuerLabel<'i> {
    pub(crate) identifier: &'i str,
    /// True if metrics have the label `issuer`. Events always name the issuer.
    pub(crate) in_metrics: bool,
}

#[cfg(feature = "metrics")]
impl IssuerLabel<'_> {
    /// Returns the labels of a metric: the issuer, and `others`.
    fn with(self, others: &[(&'static str, &'static str)]) -> Vec<metrics::Label> {
        let issuer = self.in_metrics.then(|| metrics::Label::new("issuer", self.identifier.to_owned()));
        issuer.into_iter().chain(others.iter().map(metrics::Label::from)).collect()
    }
}

/// A request was accepted.
pub(crate) fn request_accepted() {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_accepted_total").increment(1);
}

/// A request was refused. Any client can cause this event, so its level is `debug`. The first refusal that looks like a wrong
/// configuration of this API has level `warn`: once for each reason and issuer. Faults on our side are logged where they occur.
pub(crate) fn request_refused(error: &AuthError) {
    // `layer_missing` has counted and logged it.
    if error.kind() != AuthErrorKind::MissingLayer {
        count_refusal(error);
        log_refusal(error);
    }
}

#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "no feature uses them"))]
fn count_refusal(error: &AuthError) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_refused_total", "kind" => error.kind().as_str(), "reason" => error.reason())
        .increment(1);
}

#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "no feature uses them"))]
fn log_refusal(error: &AuthError) {
    #[cfg(feature = "tracing")]
    {
        static REFUSALS: LazyLock<RefusalCounts> = LazyLock::new(RefusalCounts::default);
        let count = error.exact_reason().may_be_misconfiguration().then(|| REFUSALS.add(error)).flatten();
        let (kind, reason, cause) = (error.kind().as_str(), error.reason(), causes(error));
        let finding = error.finding();
        let (issuer, found) = (finding.and_then(Finding::issuer), finding.map(Finding::found));
        let (expected, change) = (finding.map(Finding::expected), finding.map(Finding::change));
        if count == Some(1) {
            tracing::warn!(target: "tower_oauth", kind, reason, %error, cause, issuer, found, expected, change, "a request was refused; if this happens to every request, the configuration of this API or of its issuer may be wrong. Further refusals for this reason are debug events");
        } else {
            tracing::debug!(target: "tower_oauth", kind, reason, %error, cause, issuer, found, expected, change, count, "a request was refused");
        }
    }
}

/// A token is required on a route without the layer, which is a mistake in the program. The event has level `error`. Any client
/// can repeat it, so later ones for the same place, and all after the first 64, have level `debug`. Without `tracing` the
/// first ones are printed on standard error.
pub(crate) fn layer_missing(error: &AuthError, place: MissingAt<'_>) {
    static REPORTED: LazyLock<ReportedPlaces> = LazyLock::new(ReportedPlaces::default);
    report_place(
        &REPORTED,
        error,
        place,
        format_args!(
            "{error}; add `.layer(OAuthLayer::new(verifier))` to the route's router, outside of the handler that requires the token"
        ),
    );
}

/// Where a layer is missing.
#[derive(Debug, Clone, Copy)]
pub(crate) enum MissingAt<'p> {
    /// On the route with this path.
    Path(&'p str),
    /// On the route of the handler that calls this crate here.
    Caller(&'p Location<'p>),
}

/// Reports a route whose layers are wrong, with this text for the first time.
fn report_place(reported: &ReportedPlaces, error: &AuthError, place: MissingAt<'_>, text: fmt::Arguments<'_>) {
    count_refusal(error);
    let new = match place {
        MissingAt::Path(path) => reported.is_new(path),
        MissingAt::Caller(caller) => reported.is_new(&caller.to_string()),
    };
    if !new {
        return log_refusal(error);
    }
    #[cfg(feature = "tracing")]
    match place {
        MissingAt::Path(path) => tracing::error!(target: "tower_oauth", path = shortened(path), "{text}"),
        MissingAt::Caller(caller) => tracing::error!(target: "tower_oauth", %caller, "{text}"),
    }
    #[cfg(not(feature = "tracing"))]
    match place {
        MissingAt::Path(path) => eprintln!("tower-oauth: {:?}: {text}", shortened(path)),
        MissingAt::Caller(caller) => eprintln!("tower-oauth: {caller}: {text}"),
    }
}

fn shortened(path: &str) -> &str {
    let mut end = path.len().min(MAX_PATH_BYTES);
    while !path.is_char_boundary(end) {
        end -= 1;
    }
    path.get(..end).unwrap_or_default()
}

/// A layer should serve the metadata of a server without a resource, so it serves none. The event has level `warn`, once for each
/// such layer.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn no_metadata_to_serve(caller: &Location<'_>) {
    #[cfg(feature = "tracing")]
    tracing::warn!(target: "tower_oauth", %caller, "serve_metadata() has no effect, because the server has no resource; call `.resource(…)` on the builder of the ResourceServer");
}

/// The places that were reported, as hashes. Their number is bounded, because clients choose the paths.
#[derive(Default)]
struct ReportedPlaces {
    hasher: RandomState,
    places: Mutex<Vec<u64>>,
}

impl ReportedPlaces {
    /// Adds the place. Returns false if it is there already, or if there are too many.
    fn is_new(&self, place: &str) -> bool {
        let hash = self.hasher.hash_one(place);
        let mut places = lock(&self.places);
        let new = places.len() < MAX_REPORTED_PLACES && !places.contains(&hash);
        if new {
            places.push(hash);
        }
        new
    }
}

const MAX_REPORTED_PLACES: usize = 64;
const MAX_PATH_BYTES: usize = 256;

/// An attempt to fetch an issuer's keys ended. `line` says whether the outage is logged: not if only an unauthenticated client
/// has named the issuer.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "metrics use only some of them"))]
pub(crate) fn refresh_ended(
    issuer: IssuerLabel<'_>,
    result: Result<(), &FetchError>,
    age: Option<Duration>,
    line: Option<OutageLine>,
) {
    #[cfg(feature = "metrics")]
    {
        let outcome = if result.is_ok() { "success" } else { "failure" };
        metrics::counter!("tower_oauth_key_refreshes_total", issuer.with(&[("result", outcome)])).increment(1);
        if let Some(age) = age {
            metrics::gauge!("tower_oauth_key_age_seconds", issuer.with(&[])).set(age.as_secs_f64());
        }
    }
    #[cfg(feature = "tracing")]
    {
        let (issuer, age) = (issuer.identifier, age.map(|age| age.as_secs()));
        match (result, line) {
            (Ok(()), Some(OutageLine::Ended)) => {
                tracing::info!(target: "tower_oauth", issuer, "the issuer's keys were fetched again");
            }
            (Ok(()), _) => tracing::debug!(target: "tower_oauth", issuer, "the issuer's keys were fetched"),
            (Err(error), Some(OutageLine::Failing { failures })) => {
                let cause = causes(error);
                tracing::warn!(target: "tower_oauth", issuer, %error, cause, age, failures, "the issuer's keys could not be fetched");
            }
            (Err(error), _) => {
                let cause = causes(error);
                tracing::debug!(target: "tower_oauth", issuer, %error, cause, age, "the issuer's keys could not be fetched");
            }
        }
    }
}

/// The token endpoint failed, and the client is not the cause. An operator should look into it.
#[cfg(feature = "token-endpoint")]
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn token_endpoint_failed(error: &dyn std::error::Error) {
    #[cfg(feature = "tracing")]
    {
        let cause = causes(error);
        tracing::error!(target: "tower_oauth", %error, cause, "the token endpoint could not process a request");
    }
}

/// A store could not delete expired rows. No request waits for that, but the tables grow.
#[cfg(feature = "postgres")]
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn cleaning_failed(error: &dyn std::error::Error) {
    #[cfg(feature = "tracing")]
    {
        let cause = causes(error);
        tracing::warn!(target: "tower_oauth", %error, cause, "expired rows could not be deleted");
    }
}

/// A token names a key that is not in its issuer's key set.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn unknown_key_id(issuer: IssuerLabel<'_>) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_unknown_kids_total", issuer.with(&[])).increment(1);
}

/// A request waited for the key of its token.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn waited(issuer: IssuerLabel<'_>, time: Duration) {
    #[cfg(feature = "metrics")]
    metrics::histogram!("tower_oauth_key_wait_seconds", issuer.with(&[])).record(time.as_secs_f64());
}

/// An introspection request ended. `active` is the issuer's response, or the error if there is no response. Any client can cause failures, so
/// each is a `debug` event; `line` says whether the outage is logged.
#[cfg_attr(
    not(all(feature = "metrics", feature = "tracing")),
    expect(unused_variables, reason = "each feature uses some of them")
)]
pub(crate) fn introspected(
    issuer: IssuerLabel<'_>,
    active: Result<bool, &FetchError>,
    duration: Duration,
    line: Option<OutageLine>,
) {
    #[cfg(feature = "metrics")]
    {
        let outcome = match active {
            Ok(true) => "active",
            Ok(false) => "inactive",
            Err(_) => "failure",
        };
        metrics::counter!("tower_oauth_introspections_total", issuer.with(&[("result", outcome)])).increment(1);
        metrics::histogram!("tower_oauth_introspection_seconds", issuer.with(&[])).record(duration.as_secs_f64());
    }
    #[cfg(feature = "tracing")]
    {
        let issuer = issuer.identifier;
        match active {
            Ok(active) => tracing::debug!(target: "tower_oauth", issuer, active, "a token was introspected"),
            Err(error) => {
                let cause = causes(error);
                tracing::debug!(target: "tower_oauth", issuer, %error, cause, "a token could not be introspected");
            }
        }
        match (line, active.err()) {
            (Some(OutageLine::Failing { failures }), Some(error)) => {
                let cause = causes(error);
                tracing::error!(target: "tower_oauth", issuer, %error, cause, failures, "tokens can't be introspected");
            }
            (Some(OutageLine::Ended), _) => {
                tracing::info!(target: "tower_oauth", issuer, "tokens can be introspected again");
            }
            _ => {}
        }
    }
}

/// A token could not be introspected, in a way that looks like a wrong configuration of this API. Logged once for each cause,
/// because a client may be able to cause it.
#[cfg_attr(not(feature = "tracing"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn introspection_misconfigured(issuer: IssuerLabel<'_>, advice: &'static str, error: &FetchError) {
    #[cfg(feature = "tracing")]
    {
        let (issuer, cause) = (issuer.identifier, causes(error));
        tracing::warn!(target: "tower_oauth", issuer, %error, cause, "a token could not be introspected; if this happens to every token, {advice}. Further failures for this reason are debug events");
    }
}

/// A token was not introspected, because too many introspection requests are running.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "no feature uses them"))]
pub(crate) fn introspection_over_limit(issuer: IssuerLabel<'_>) {
    #[cfg(feature = "metrics")]
    metrics::counter!("tower_oauth_introspections_over_limit_total", issuer.with(&[])).increment(1);
}

/// The circuit breaker of an introspection endpoint opened or closed.
#[cfg_attr(
    not(any(feature = "metrics", feature = "tracing")),
    expect(unused_variables, reason = "no feature uses them")
)]
pub(crate) fn breaker_changed(issuer: IssuerLabel<'_>, open: bool) {
    #[cfg(feature = "metrics")]
    {
        let state = if open { "open" } else { "closed" };
        metrics::counter!("tower_oauth_breaker_changes_total", issuer.with(&[("state", state)])).increment(1);
        metrics::gauge!("tower_oauth_breaker_open", issuer.with(&[])).set(if open { 1.0 } else { 0.0 });
    }
    #[cfg(feature = "tracing")]
    match (issuer.identifier, open) {
        (issuer, true) => {
            tracing::info!(target: "tower_oauth", issuer, "the circuit breaker opened: the introspection endpoint is not called");
        }
        (issuer, false) => tracing::info!(target: "tower_oauth", issuer, "the circuit breaker closed"),
    }
}

/// The result of a cache look-up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lookup {
    /// An accepted token.
    Hit,
    /// A cached rejection.
    Refused,
    /// Another request with the same token was being verified already.
    Joined,
    Miss,
}

/// A cache look-up ended.
#[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "no feature uses them"))]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Threat W13
    #[test]
    fn reports_each_path_once_and_at_most_64_paths() {
        let reported = ReportedPlaces::default();
        for number in 0..1_000 {
            for repetition in 0..3 {
                let new = reported.is_new(&format!("/{number}"));
                assert_eq!(new, number < 64 && repetition == 0, "/{number}, repetition {repetition}");
            }
        }
        assert_eq!(lock(&reported.places).len(), 64);
    }
}
