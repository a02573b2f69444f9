//! One call of the introspection endpoint (RFC 7662 §2).
//!
//! *In*: a token. *Out*: the parsed response, or the cause of the failure.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::{HeaderMap, Request, StatusCode, header};

use super::{
    IntrospectionRules, SIGNED_RESPONSE,
    response::{IntrospectionResult, is_unsupported_token_type},
};
use crate::{
    clock::Moment,
    fetch::{FetchError, SentOnce, exchange, retry_after},
};

/// The reason why there is no usable response.
pub(super) struct IntrospectionFailure {
    pub(super) error: FetchError,
    pub(super) retry_after: Option<Duration>,
    pub(super) cause: FailureCause,
}

/// Why there is no usable response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureCause {
    /// The server can't be reached or says that it is overloaded, or this API can't authenticate itself. All others are
    /// responses of no use. Perhaps only this token is their cause.
    Outage,
    /// 401 or 403 (RFC 7662 §2.3).
    ClientRejected,
    /// 404, 405 or 410.
    NoEndpoint,
    /// Another status, except 200, and except 400 with `unsupported_token_type`, which is a verdict.
    Status,
    /// 200 with a body that is not an introspection response.
    Unreadable,
}

impl FailureCause {
    /// Returns what an operator should check.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Outage => "check that this API can reach the introspection endpoint",
            Self::ClientRejected => "check this API's client credentials, and that the client may introspect tokens",
            Self::NoEndpoint => "check the URL of the introspection endpoint",
            Self::Status => "check that the URL is an introspection endpoint, and what is in front of it",
            Self::Unreadable => "check that the URL is an introspection endpoint, and whether its responses are signed",
        }
    }
}

/// The causes that were logged. Any client may be able to cause a failure, so each cause is logged once.
#[derive(Default)]
pub(super) struct ReportedFailures(AtomicU16);

impl ReportedFailures {
    /// Failures for known tokens count separately, because no other client can cause them.
    pub(super) fn is_first(&self, cause: FailureCause, known: bool) -> bool {
        let bit = 1 << (2 * cause as u16 + u16::from(known));
        self.0.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }
}

impl From<FetchError> for IntrospectionFailure {
    fn from(error: FetchError) -> Self {
        Self { error, retry_after: None, cause: FailureCause::Outage }
    }
}

impl IntrospectionFailure {
    fn unreadable(error: FetchError) -> Self {
        Self { error, retry_after: None, cause: FailureCause::Unreadable }
    }
}

impl IntrospectionRules {
    /// Sends one request, and parses the response in the requested form.
    pub(super) async fn call_endpoint(
        self: &Arc<Self>,
        token: &str,
    ) -> Result<IntrospectionResult, IntrospectionFailure> {
        let url = self.locate().await?;
        let request = self.make_request(&url, token).await?;
        let response = exchange(&*self.issuer_client.fetch, request).await.map_err(|error| {
            if error.is_unreadable() { IntrospectionFailure::unreadable(error) } else { error.into() }
        })?;
        if response.status() == StatusCode::BAD_REQUEST && is_unsupported_token_type(response.body()) {
            return Ok(IntrospectionResult::Unsupported);
        }
        if response.status() != StatusCode::OK {
            let failure = self.failure(response.status(), response.headers());
            if failure.cause == FailureCause::NoEndpoint {
                // This call reads the metadata again, so that no other token has to wait for it.
                self.locate().await.ok();
            }
            return Err(failure);
        }
        let result = match (self.signed, is_signed(response.headers())) {
            (false, false) => self.parse_response(response.body()),
            (true, true) => self.parse_signed_response(response.body()).await,
            (true, false) => Err(FetchError::new("the response is not signed, but that was requested")),
            (false, true) => Err(FetchError::new("the response is signed, but that was not requested")),
        };
        result.map_err(IntrospectionFailure::unreadable)
    }

    /// Makes the request (RFC 7662 §2.1). The token is in the body only.
    async fn make_request(&self, url: &str, token: &str) -> Result<Request<Bytes>, FetchError> {
        let now = Moment::now(&*self.issuer_client.clock);
        let proof = self.client.authenticate(self.issuer.identifier(), now).await?;
        let mut form = Serializer::new(String::new());
        form.append_pair("token", token).append_pair("token_type_hint", "access_token").extend_pairs(&proof.form);
        let mut request = Request::post(url)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, if self.signed { SIGNED_RESPONSE } else { "application/json" });
        if let Some(authorization) = proof.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if proof.single_use {
            request = request.extension(SentOnce);
        }
        request
            .body(Bytes::from(form.finish()))
            .map_err(|error| FetchError::new("the endpoint is not a URL").with_source(error))
    }

    /// Returns the failure for a status other than 200.
    fn failure(&self, status: StatusCode, headers: &HeaderMap) -> IntrospectionFailure {
        let cause = match status {
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => FailureCause::Outage,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => FailureCause::ClientRejected,
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::GONE => {
                // The endpoint may have a new URL.
                self.locator.mark_stale_unless_new(&Moment::now(&*self.issuer_client.clock), MOVED_PAUSE);
                FailureCause::NoEndpoint
            }
            _ => FailureCause::Status,
        };
        let hint = match cause {
            // RFC 7662 §2.3.
            FailureCause::ClientRejected => ": the server rejected this API's client credentials",
            _ => "",
        };
        let error = FetchError::new(format!("the introspection endpoint responded {}{hint}", status.as_u16()));
        IntrospectionFailure { error, retry_after: retry_after(headers, MAX_RETRY_AFTER), cause }
    }
}

fn is_signed(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(SIGNED_RESPONSE))
}

const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Minimum age of the metadata before it is read again because the endpoint is not found.
const MOVED_PAUSE: Duration = Duration::from_secs(1);
