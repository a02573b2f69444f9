//! The identifier of a protected resource, and the URL of its metadata (RFC 9728 §1.2, §3.1).
//!
//! *In*: a URL from the configuration. *Out*: the URL and the path of the metadata, and whether a request was sent to the
//! identifier's host.

use http::{HeaderMap, Uri};

use crate::{
    challenge::QuotedText,
    config_error::{ConfigError, ConfigMistake},
    url::{parse_resource_identifier, request_authority},
};

/// A resource identifier in its parts.
#[derive(Debug, Clone)]
pub(crate) struct ResourceIdentifier {
    /// As it was configured.
    text: String,
    /// In the normal form: lower case, and an IPv6 address in its shortest form.
    host: String,
    port: u16,
    default_port: u16,
    metadata_path: String,
    query: Option<String>,
    metadata_url: QuotedText,
}

impl ResourceIdentifier {
    pub(super) fn parse(setting: &'static str, text: &str) -> Result<Self, ConfigError> {
        let (uri, url) = parse_resource_identifier(setting, text)?;
        check_segments(setting, uri.path())?;
        // Only a slash that directly follows the host is dropped (RFC 9728 §3.1).
        let path = if uri.path() == "/" { "" } else { uri.path() };
        let metadata_path = format!("{WELL_KNOWN}{path}");
        let query = uri.query().map(str::to_owned);
        let separated = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let metadata_url = format!("{}://{authority}{metadata_path}{separated}", url.scheme());
        Ok(Self {
            text: text.to_owned(),
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
            default_port: if url.scheme() == "http" { 80 } else { 443 },
            metadata_path,
            query,
            metadata_url: QuotedText::new(setting, &metadata_url)?,
        })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    pub(super) fn metadata_path(&self) -> &str {
        &self.metadata_path
    }

    pub(super) fn metadata_url(&self) -> &QuotedText {
        &self.metadata_url
    }

    /// True if both identifiers have the same host and port, so that no request can choose between them.
    pub(super) fn has_authority_of(&self, other: &Self) -> bool {
        self.host == other.host && self.port == other.port
    }

    /// True if a request was sent to host and port of this identifier. A proxy may have ended TLS, so the scheme of the request is
    /// not known: without a port it is the default port of the identifier's scheme.
    pub(super) fn is_addressed_by(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let Some(authority) = request_authority(uri, headers).and_then(|bytes| str::from_utf8(bytes).ok()) else {
            return false;
        };
        // The colons of an IPv6 address are in brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, Some(self.default_port)),
        };
        port == Some(self.port) && host.eq_ignore_ascii_case(&self.host)
    }

    /// True if the URL is that of the metadata. Without a query in the identifier, the query of the URL has no meaning.
    pub(super) fn has_metadata_at(&self, uri: &Uri) -> bool {
        uri.path() == self.metadata_path && self.query.as_ref().is_none_or(|query| uri.query() == Some(query))
    }
}

/// Checks that a router can serve the path: axum's refuses segments that its earlier versions read as parameters.
fn check_segments(setting: &'static str, path: &str) -> Result<(), ConfigMistake> {
    let Some(segment) = path.split('/').find(|segment| segment.starts_with([':', '*'])) else { return Ok(()) };
    let found = format!("the path segment {segment:?} begins with a character that routers read as a parameter");
    let change =
        "write %3A for the colon and %2A for the asterisk, also in the audience of the tokens, or give another path";
    Err(ConfigMistake::new(setting, found, change))
}

/// The path of the metadata of a resource without a path (RFC 9728 §3).
pub(super) const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";
