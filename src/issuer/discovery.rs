//! Metadata: where an issuer's keys and endpoints are (RFC 8414 §3, OpenID Connect Discovery §4).
//!
//! *In*: an issuer's identifier. *Out*: the URL of one endpoint, from a document that names exactly this issuer (RFC 8414
//! §3.3).
//!
//! Nothing else of the document is used. A document that names another issuer is ignored.

use bytes::Bytes;
use http::{Request, StatusCode, header};
use serde::Deserialize;

use crate::{
    fetch::{Fetch, FetchError, MAX_BODY_BYTES},
    json::object,
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

/// Fetches the well-known URLs one after the other, until one has a valid document with the endpoint.
pub(crate) async fn locate(
    fetch: &dyn Fetch,
    issuer: &str,
    endpoint: EndpointKind,
    plain: PlainHttp,
) -> Result<String, FetchError> {
    let mut last_error = FetchError::new("the issuer has no metadata at its well-known URLs");
    for url in well_known(issuer) {
        match get(fetch, &url, None).await {
            Ok(response) if response.status() == StatusCode::OK => {
                match parse_endpoint(response.body(), issuer, endpoint, plain) {
                    Ok(url) => return Ok(url),
                    Err(error) => last_error = error,
                }
            }
            Ok(_) => {}
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn parse_endpoint(body: &[u8], issuer: &str, endpoint: EndpointKind, plain: PlainHttp) -> Result<String, FetchError> {
    let malformed = || FetchError::new("the issuer's metadata is malformed");
    let text = str::from_utf8(body).map_err(|_| malformed())?;
    let metadata: DiscoveredMetadata = object(text).map_err(|_| malformed())?;
    if metadata.issuer != issuer {
        let named: String = metadata.issuer.chars().take(200).collect();
        return Err(FetchError::new(format!(
            "the metadata names the issuer {named:?} (RFC 8414 §3.3: it must be identical)"
        )));
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

/// Fetches one document. The maximum size is checked here too, because not every `Fetch` has one.
pub(crate) async fn get(
    fetch: &dyn Fetch,
    url: &str,
    etag: Option<&header::HeaderValue>,
) -> Result<http::Response<Bytes>, FetchError> {
    let mut request = Request::get(url).header(header::ACCEPT, "application/json, application/jwk-set+json");
    if let Some(etag) = etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    let request = request.body(Bytes::new()).map_err(|error| FetchError::new("not a URL").with_source(error))?;
    let response = fetch.fetch(request).await?;
    if response.body().len() > MAX_BODY_BYTES {
        return Err(FetchError::new("the response is too large"));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::well_known;

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
