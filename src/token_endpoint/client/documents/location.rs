//! Which `client_id` names a document, and on which hosts documents are trusted.
//!
//! *In*: a `client_id`, or the URL of a key set. *Out*: its host, if the URL may be fetched. Nothing is resolved here.

use std::collections::HashSet;

use ::url::Url;

use crate::{config_error::ConfigMistake, token_endpoint::client::builder::MAX_CLIENT_ID_BYTES};

/// The hosts whose documents are fetched.
#[derive(Debug)]
pub(super) enum TrustedHosts {
    Any,
    /// In the form of the URL parser: lower case, in ASCII.
    Hosts(HashSet<String>),
}

impl TrustedHosts {
    /// Returns the host of a URL that may be fetched.
    pub(super) fn host_of(&self, url: &str) -> Option<String> {
        let host = document_host(url)?;
        match self {
            Self::Any => Some(host),
            Self::Hosts(hosts) => hosts.contains(&host).then_some(host),
        }
    }
}

/// Reads the host of a list, in the form of the URL parser.
pub(super) fn trusted_host(entry: &str) -> Result<String, ConfigMistake> {
    let is_ipv6 = entry.starts_with('[') && entry.ends_with(']');
    let is_host = !entry.is_empty()
        && !entry.contains(|c: char| c.is_whitespace() || c.is_control() || "/?#@\\*%".contains(c))
        && (is_ipv6 || !entry.contains(':'));
    let url = is_host.then(|| Url::parse(&format!("https://{entry}/")).ok()).flatten();
    url.and_then(|url| url.host_str().map(str::to_owned)).ok_or_else(|| {
        let change = "give the exact name of each host, such as claude.ai, without scheme, port and path";
        ConfigMistake::new("trust_hosts", format!("{entry:?} is no host"), change)
    })
}

/// Returns the host of a client id that is the URL of a document (§3 of the draft): `https`, with a path, without a fragment, a
/// user name and dot segments. It has at most 1024 bytes, and its path and query are sent exactly as they are written.
fn document_host(id: &str) -> Option<String> {
    if id.len() > MAX_CLIENT_ID_BYTES || !id.bytes().all(|byte| byte.is_ascii_graphic()) || id.contains(['#', '\\']) {
        return None;
    }
    let (authority, path_and_query) = id.strip_prefix("https://")?.split_once('/')?;
    if authority.is_empty() || authority.contains(['@', '?', '%']) {
        return None;
    }
    let (path, query) = match path_and_query.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path_and_query, None),
    };
    let url = Url::parse(id).ok()?;
    // The parser removes dot segments, also percent-encoded ones. So a URL with one is not sent as it is written.
    let is_unchanged = url.path().strip_prefix('/') == Some(path) && url.query() == query;
    url.host_str().filter(|_| is_unchanged).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{document_host, trusted_host};

    /// Threat T62
    #[test]
    fn a_document_has_an_https_url_that_is_sent_as_it_is_written() {
        for (id, host) in [
            ("https://claude.ai/oauth/client.json", "claude.ai"),
            ("https://claude.ai:8443/c", "claude.ai"),
            ("https://CLAUDE.ai/c", "claude.ai"),
            ("https://claude.ai/", "claude.ai"),
            ("https://claude.ai/c?v=1&x=/../y", "claude.ai"),
            ("https://claude.ai/a%2Fb/..c/.well-known/@x", "claude.ai"),
            ("https://127.1/c", "127.0.0.1"),
            ("https://0x7f000001/c", "127.0.0.1"),
            ("https://2130706433/c", "127.0.0.1"),
            ("https://[::1]/c", "[::1]"),
            ("https://[::ffff:127.0.0.1]/c", "[::ffff:7f00:1]"),
        ] {
            assert_eq!(document_host(id).as_deref(), Some(host), "{id}");
        }
        let long = format!("https://claude.ai/{}", "x".repeat(1024));
        for id in [
            "",
            "claude",
            "http://claude.ai/c",
            "HTTPS://claude.ai/c",
            "https:claude.ai/c",
            "https:/claude.ai/c",
            "https:///claude.ai/c",
            "https:\\\\claude.ai/c",
            "https://claude.ai",
            "https://claude.ai?x=/",
            "https://claude.ai/c#f",
            "https://claude.ai/c#",
            "https://ada@claude.ai/c",
            "https://ada:pw@claude.ai/c",
            "https://@claude.ai/c",
            "https://claude.ai/./c",
            "https://claude.ai/a/../c",
            "https://claude.ai/..",
            "https://claude.ai/%2e%2e/c",
            "https://claude.ai/.%2E/c",
            "https://claude.ai/%2e",
            "https://claude.ai\\@evil.test/c",
            "https://claude.ai/a\\b",
            "https://claude.ai/a b",
            "https://claude.ai/\tc",
            "https://clau\nde.ai/c",
            "https://claude.ai/ä",
            "https://claude.ai/a\"b",
            "https://claude.ai:99999/c",
            "https://clau%64e.ai/c",
            &long,
        ] {
            assert_eq!(document_host(id), None, "{id}");
        }
    }

    /// Threat T62
    #[test]
    fn a_trusted_host_is_one_exact_host() {
        for (entry, host) in [
            ("claude.ai", "claude.ai"),
            ("Claude.AI", "claude.ai"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(trusted_host(entry).ok().as_deref(), Some(host));
        }
        for entry in [
            "",
            " ",
            "*",
            "*.claude.ai",
            "https://claude.ai",
            "claude.ai:443",
            "claude.ai/",
            "a@b",
            "a b",
            "a?b",
            "a#b",
            "claude.ai\n",
            "::1",
            "a%62",
        ] {
            assert!(trusted_host(entry).is_err(), "{entry:?}");
        }
    }
}
