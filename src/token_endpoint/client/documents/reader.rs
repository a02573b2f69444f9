//! Fetches a document and its keys, and makes the client of them.
//!
//! *In*: the URL of a document on a trusted host. *Out*: the client, and how long it may be cached.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};

use super::{
    builder::DocumentAccess,
    document::{ClientAuthenticationMethod, ClientMetadata},
    location::TrustedHosts,
    places::{FetchPlaces, FetchTime},
};
use crate::{
    clock::Clock,
    config_error::ConfigError,
    fetch::{FetchError, HttpClient, NotPublicAddress, exchange},
    keys::KeySet,
    token_endpoint::client::{Client, ClientCredential, builder::ClientBuilder},
};

/// Reads documents, a limited number at once.
pub(super) struct DocumentReader {
    pub(super) client: HttpClient,
    pub(super) access: DocumentAccess,
    pub(super) places: FetchPlaces,
}

/// Why there is no client.
pub(super) enum ReadFailure {
    /// The server has no valid document there. The reason is for the log.
    Invalid(String),
    /// A later attempt may succeed.
    Unavailable(FetchError),
    /// Other fetches took the time of this one, so nothing is known about the server.
    Crowded,
}

impl From<String> for ReadFailure {
    fn from(reason: String) -> Self {
        Self::Invalid(reason)
    }
}

impl From<ConfigError> for ReadFailure {
    fn from(error: ConfigError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl DocumentReader {
    /// Fetches the document at `client_id`, whose host is trusted. A client in use has places of its own.
    pub(super) async fn read(
        &self,
        client_id: &str,
        host: &str,
        trusted: &TrustedHosts,
        clock: &dyn Clock,
        is_in_use: bool,
    ) -> Result<(Client, Duration), ReadFailure> {
        let mut time = FetchTime { deadline: clock.sleep(TIMEOUT), waited: false, is_in_use };
        let response = self.fetch(client_id, host, "application/json", &mut time).await?;
        let metadata = ClientMetadata::parse(client_id, response.body())?;
        let mut lifetime = lifetime(response.headers());
        let credential = match metadata.authentication {
            ClientAuthenticationMethod::None => ClientCredential::None,
            ClientAuthenticationMethod::Keys(keys) => keys_of(keys.as_bytes())?.into(),
            ClientAuthenticationMethod::KeysAt(url) => {
                let Some(host) = trusted.host_of(&url) else {
                    return Err(ReadFailure::Invalid("its jwks_uri is no https URL on a trusted host".to_owned()));
                };
                let keys = self.fetch(&url, &host, "application/jwk-set+json, application/json", &mut time).await?;
                lifetime = lifetime.min(self::lifetime(keys.headers()));
                keys_of(keys.body())?.into()
            }
        };
        if matches!(credential, ClientCredential::Keys(_)) {
            // A stolen key is accepted until its removal is read.
            lifetime = lifetime.min(MAX_LIFETIME_OF_KEYS);
        }
        let client = self.access.client(client_id, credential).any_localhost_port().grant_types(metadata.grant_types);
        let client = if metadata.dpop_bound_access_tokens { client.dpop_bound_access_tokens() } else { client };
        let client = metadata.redirect_uris.into_iter().fold(client, ClientBuilder::redirect_uri).build()?;
        Ok((Client { name: Some(metadata.name), host: Some(host.to_owned()), ..client }, lifetime))
    }

    /// Fetches a URL that was checked, and that has this host.
    async fn fetch(
        &self,
        url: &str,
        host: &str,
        accept: &'static str,
        time: &mut FetchTime,
    ) -> Result<Response<Bytes>, ReadFailure> {
        let request = Request::get(url).header(header::ACCEPT, HeaderValue::from_static(accept));
        let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
        let _place = self.places.take(host, time).await.ok_or(ReadFailure::Crowded)?;
        let exchanged = tokio::select! {
            biased;
            exchanged = exchange(&self.client, request) => exchanged,
            () = &mut time.deadline => return Err(late(time)),
        };
        let response = exchanged.map_err(|error| {
            if error.is_unreadable() || NotPublicAddress::among_causes(&error).is_some() {
                ReadFailure::Invalid(error.to_string())
            } else {
                ReadFailure::Unavailable(error)
            }
        })?;
        let status = response.status();
        match status {
            StatusCode::OK if is_json(response.headers()) => Ok(response),
            StatusCode::OK => Err(ReadFailure::Invalid("its Content-Type is not JSON".to_owned())),
            status if status.is_server_error() || UNAVAILABLE.contains(&status) => Err(failed(status)),
            status => Err(ReadFailure::Invalid(format!("the response has status {}", status.as_u16()))),
        }
    }
}

fn failed(status: StatusCode) -> ReadFailure {
    ReadFailure::Unavailable(FetchError::new(format!("the response has status {}", status.as_u16())))
}

fn late(time: &FetchTime) -> ReadFailure {
    if time.waited {
        return ReadFailure::Crowded;
    }
    ReadFailure::Unavailable(FetchError::new("the document was not complete within 3 s"))
}

/// True for `application/json` and `application/…+json`, such as the `application/jwk-set+json` of keys (RFC 7517 §8.5.2). Every
/// other type is an error (§4 of the draft).
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let name = only.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    let Some(subtype) = name.strip_prefix(b"application/") else { return false };
    let is_token = |name: &[u8]| {
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(byte))
    };
    subtype == b"json" || subtype.strip_suffix(b"+json").is_some_and(is_token)
}

fn keys_of(json: &[u8]) -> Result<KeySet, String> {
    KeySet::from_fetched(json, MAX_KEYS).map_err(|found| format!("its keys are unusable: {found}"))
}

/// Returns how long a response may be cached (RFC 9111 §4.2.1), within our limits.
fn lifetime(headers: &HeaderMap) -> Duration {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut seconds: Option<u64> = None;
    for directive in lines.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'));
        match name.as_str() {
            "no-store" | "no-cache" => seconds = Some(0),
            "max-age" => {
                let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
                // A number that is too large is a long time; what is no number is stale (§4.2.1).
                let age = if digits { value.parse().unwrap_or(u64::MAX) } else { 0 };
                seconds = Some(seconds.map_or(age, |known| known.min(age)));
            }
            _ => {}
        }
    }
    let age = headers.get(header::AGE).and_then(|value| value.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    Duration::from_secs(seconds.unwrap_or(0).saturating_sub(age)).clamp(MIN_LIFETIME, MAX_LIFETIME)
}

/// Statuses of an error of a client that say nothing about the document. A firewall or a proxy before its server sends most of them.
const UNAVAILABLE: [StatusCode; 6] = [
    StatusCode::REQUEST_TIMEOUT,
    StatusCode::TOO_MANY_REQUESTS,
    StatusCode::UNAUTHORIZED,
    StatusCode::FORBIDDEN,
    StatusCode::PROXY_AUTHENTICATION_REQUIRED,
    StatusCode::MISDIRECTED_REQUEST,
];
/// Maximum time for a document with its keys.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);
/// Maximum size of a document, and of its keys.
pub(super) const MAX_BYTES: usize = 5 * 1024;
/// Each signature of an assertion without `kid` is checked with each of the keys.
const MAX_KEYS: usize = 10;
const MIN_LIFETIME: Duration = Duration::from_secs(30);
const MAX_LIFETIME: Duration = Duration::from_secs(86_400);
const MAX_LIFETIME_OF_KEYS: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::{is_json, lifetime};

    /// Threat T63
    #[test]
    fn only_json_is_a_document() {
        for (lines, accepted) in [
            (&["application/json"][..], true),
            (&["Application/JSON; charset=utf-8"], true),
            (&[" application/json ;x"], true),
            (&["application/jwk-set+json"], true),
            (&["application/client-metadata+json;v=1"], true),
            (&[], false),
            (&[""], false),
            (&["json"], false),
            (&["text/json"], false),
            (&["text/html"], false),
            (&["text/plain; application/json"], false),
            (&["application/+json"], false),
            (&["application/x y+json"], false),
            (&["application/json+x"], false),
            (&["application/jsonx"], false),
            (&["application/json, text/html"], false),
            (&["application/json", "application/json"], false),
            (&["application/json", "text/html"], false),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("content-type", HeaderValue::from_static(line));
            }
            assert_eq!(is_json(&headers), accepted, "{lines:?}");
        }
    }

    /// Threat T65
    #[test]
    fn a_document_is_cached_as_its_headers_say_between_30_s_and_a_day() {
        const DAY: u64 = 86_400;
        for (lines, seconds) in [
            (&[][..], 30),
            (&["max-age=0"][..], 30),
            (&["max-age=29"], 30),
            (&["max-age=31"], 31),
            (&["public, max-age=3600, must-revalidate"], 3600),
            (&["Max-Age=\"600\""], 600),
            (&["max-age=86400"], DAY),
            (&["max-age=86401"], DAY),
            (&["max-age=99999999999999999999999"], DAY),
            (&["max-age=-1"], 30),
            (&["max-age=600, max-age=60"], 60),
            (&["max-age=600", "no-store"], 30),
            (&["no-cache, max-age=600"], 30),
            (&["max-age=600, NO-STORE"], 30),
            (&["s-maxage=600"], 30),
            (&["nonsense, =, max-age"], 30),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("cache-control", HeaderValue::from_static(line));
            }
            assert_eq!(lifetime(&headers), Duration::from_secs(seconds), "{lines:?}");
        }
        let aged = [("cache-control", "max-age=600"), ("age", "500")];
        let aged = aged.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        assert_eq!(lifetime(&aged.into_iter().collect()), Duration::from_secs(100));
    }
}
