//! URL checks for the configuration.
//!
//! *In*: the text of a setting. *Out*: nothing, or the mistake.
//!
//! Nothing is resolved or fetched here.

use std::net::IpAddr;

use http::{Uri, uri::Authority};

use crate::config_error::{ConfigError, ConfigMistake};

/// Where plain `http` is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    Nowhere,
    Loopback,
    Anywhere,
}

/// Checks the identifier of an issuer or a resource: an absolute URL without query and fragment (RFC 8414 §2).
pub(crate) fn check_identifier(setting: &'static str, url: &str, plain: PlainHttp) -> Result<(), ConfigError> {
    if url.contains(['?', '#']) {
        return Err(bad_url(setting, url, "has a query or a fragment, which an identifier must not have"));
    }
    check_url(setting, url, plain)
}

/// Checks an absolute `https` URL.
pub(crate) fn check_url(setting: &'static str, url: &str, plain: PlainHttp) -> Result<(), ConfigError> {
    let Ok(uri) = url.parse::<Uri>() else { return Err(bad_url(setting, url, "is not a URL")) };
    let found = match (uri.scheme_str(), uri.authority()) {
        // Not quoted, because it may contain a password.
        (_, Some(authority)) if authority.as_str().contains('@') => {
            return Err(ConfigMistake::new(setting, "the URL has a user name", CHANGE).into());
        }
        (_, Some(authority)) if !is_complete(authority) => "has no host, or an invalid port",
        (Some("https"), Some(_)) => return Ok(()),
        (Some("http"), Some(_)) if plain == PlainHttp::Anywhere => return Ok(()),
        (Some("http"), Some(authority)) if plain == PlainHttp::Loopback && is_loopback(authority.host()) => {
            return Ok(());
        }
        (Some("http"), Some(_)) => "is plain http",
        _ => "is not an absolute https URL",
    };
    Err(bad_url(setting, url, found))
}

fn bad_url(setting: &'static str, url: &str, found: &str) -> ConfigError {
    ConfigMistake::new(setting, format!("{url:?} {found}"), CHANGE).into()
}

/// True if host and port make up the whole authority. The `http` crate parses the port lazily and treats an invalid one
/// as absent.
fn is_complete(authority: &Authority) -> bool {
    let port = authority.port_u16().map_or(0, |_| authority.port().map_or(0, |port| port.as_str().len() + 1));
    !authority.host().is_empty() && authority.host().len() + port == authority.as_str().len()
}

/// True for an address of this machine. A name such as `localhost.example.com` isn't one.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

const CHANGE: &str = "give an absolute https URL";
