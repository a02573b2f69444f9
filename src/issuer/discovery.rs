//! Metadata: where an issuer's keys and endpoints are (RFC 8414 §3, OpenID Connect Discovery §4).
//!
//! *In*: an issuer's identifier. *Out*: the URL of one endpoint, from a document that names exactly this issuer (RFC 8414
//! §3.3).
//!
//! Nothing else of the document is used. A document that names another issuer is ignored. The error lists the URLs that were
//! tried, each with its result.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use serde::Deserialize;

use crate::{
    clock::Clock,
    error::{causes, differ_by_trailing_slash, quoted},
    fetch::{Fetch, FetchError, exchange, retry_after},
    json::{issuer_text, object},
    url::{PlainHttp, check_url},
};

/// The endpoint to find in the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EndpointKind {
    Jwks,
    Introspection,
}

impl EndpointKind {
    fn member(self) -> &'static str {
        match self {
            Self::Jwks => "jwks_uri",
            Self::Introspection => "introspection_endpoint",
        }
    }
}

#[derive(Deserialize)]
struct DiscoveredMetadata {
    issuer: String,
    jwks_uri: Option<String>,
    introspection_endpoint: Option<String>,
}

/// Fetches the well-known URLs one after the other, until one has a valid document with the endpoint. Each has its own
/// timeout, so that one that hangs leaves time for the next.
pub(crate) async fn locate(
    fetch: &dyn Fetch,
    clock: &dyn Clock,
    issuer: &str,
    endpoint: EndpointKind,
    plain: PlainHttp,
) -> Result<String, FetchError> {
    let mut failures = Vec::new();
    for url in well_known(issuer) {
        let fetched = tokio::select! {
            fetched = get(fetch, &url, None) => fetched.map_err(FetchError::temporary),
            () = clock.sleep(METADATA_TIMEOUT) => Err(FetchError::new("the metadata did not arrive in time").temporary()),
        };
        match fetched.and_then(|response| read_endpoint(&response, issuer, endpoint, plain)) {
            Ok(url) => return Ok(url),
            Err(error) => failures.push((url, error)),
        }
    }
    Err(no_metadata(&failures))
}

/// Returns the error with the result of each URL.
fn no_metadata(failures: &[(String, FetchError)]) -> FetchError {
    let results = failures.iter().map(|(url, error)| match causes(error) {
        Some(causes) => format!("{url}: {error}: {causes}"),
        None => format!("{url}: {error}"),
    });
    let results = results.collect::<Vec<_>>().join("; ");
    FetchError::new(format!("the issuer has no usable metadata at its well-known URLs ({results})"))
        .with_mark_of(failures.iter().map(|(_, error)| error))
}

fn read_endpoint(
    response: &Response<Bytes>,
    issuer: &str,
    endpoint: EndpointKind,
    plain: PlainHttp,
) -> Result<String, FetchError> {
    if response.status() == StatusCode::OK {
        parse_endpoint(response.body(), issuer, endpoint, plain)
    } else {
        Err(status_error("it", response))
    }
}

fn parse_endpoint(body: &[u8], issuer: &str, endpoint: EndpointKind, plain: PlainHttp) -> Result<String, FetchError> {
    let malformed = || FetchError::new("the issuer's metadata is malformed");
    let text = issuer_text(body).map_err(|_| malformed())?;
    let metadata: DiscoveredMetadata = object(text).map_err(|_| malformed())?;
    if metadata.issuer != issuer {
        return Err(foreign(&metadata.issuer, issuer));
    }
    let member = endpoint.member();
    let url = match endpoint {
        EndpointKind::Jwks => metadata.jwks_uri,
        EndpointKind::Introspection => metadata.introspection_endpoint,
    };
    let url = url.ok_or_else(|| FetchError::new(format!("the metadata has no {member}")))?;
    check_url(member, &url, plain)
        .map_err(|error| FetchError::new(format!("the {member} is not an https URL")).with_source(error))?;
    Ok(url)
}

/// Returns the error for metadata of another issuer (RFC 8414 §3.3: the identifiers must be identical).
fn foreign(found: &str, issuer: &str) -> FetchError {
    let hint = if differ_by_trailing_slash(found, issuer) { "; they differ by a trailing slash only" } else { "" };
    let text = format!("it names the issuer {}, not {}{hint}", quoted(found), quoted(issuer));
    FetchError::new(text).with_other_issuer(found)
}

/// Returns the URLs at which metadata can be. RFC 8414 §3.1 inserts the well-known path before the issuer's path. OpenID
/// Connect Discovery appends it, and RFC 8414 §5 allows that.
fn well_known(issuer: &str) -> Vec<String> {
    let (scheme, rest) = issuer.split_once("://").unwrap_or_default();
    let (host, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let path = path.trim_end_matches('/');
    let mut urls = vec![
        format!("{scheme}://{host}/.well-known/oauth-authorization-server{path}"),
        format!("{scheme}://{host}/.well-known/openid-configuration{path}"),
    ];
    if !path.is_empty() {
        urls.push(format!("{scheme}://{host}{path}/.well-known/openid-configuration"));
    }
    urls
}

/// Fetches one document.
pub(crate) async fn get(
    fetch: &dyn Fetch,
    url: &str,
    etag: Option<&header::HeaderValue>,
) -> Result<Response<Bytes>, FetchError> {
    let mut request = Request::get(url).header(header::ACCEPT, "application/json, application/jwk-set+json");
    if let Some(etag) = etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let request = request.body(Bytes::new()).map_err(|error| FetchError::new("not a URL").with_source(error))?;
    exchange(fetch, request).await
}

/// Returns the error for a response with an unexpected status, with its `Retry-After` if that counts.
pub(crate) fn status_error(place: &str, response: &Response<Bytes>) -> FetchError {
    let pause = asks_for_pause(response).then(|| retry_after(response.headers(), MAX_RETRY_AFTER)).flatten();
    let status = response.status();
    let error = FetchError::new(format!("{place} responded with status {}", status.as_u16())).with_retry_after(pause);
    if is_temporary(status) { error.temporary() } else { error }
}

/// True for the statuses that say that the server could not process the request now (RFC 9110 §15.5.9, §15.6, RFC 6585 §4).
fn is_temporary(status: StatusCode) -> bool {
    status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// True for the statuses whose `Retry-After` is about later requests (RFC 6585 §4, RFC 9110 §15.6.4).
fn asks_for_pause(response: &Response<Bytes>) -> bool {
    matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE)
}

/// Maximum time for one well-known URL, and for all of them if an earlier URL of the endpoint is known: much less than a
/// whole attempt may take.
pub(crate) const METADATA_TIMEOUT: Duration = Duration::from_millis(1500);
/// Maximum time that an issuer can defer the next attempt by `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::well_known;

    /// RFC 8414 §3.1 (MUST, accepts)
    #[test]
    fn inserts_the_well_known_path_and_appends_it_for_openid_connect() {
        assert_eq!(
            well_known("https://auth.test/realms/x/"),
            [
                "https://auth.test/.well-known/oauth-authorization-server/realms/x",
                "https://auth.test/.well-known/openid-configuration/realms/x",
                "https://auth.test/realms/x/.well-known/openid-configuration",
            ]
        );
        assert_eq!(
            well_known("https://auth.test"),
            [
                "https://auth.test/.well-known/oauth-authorization-server",
                "https://auth.test/.well-known/openid-configuration",
            ]
        );
    }
}
