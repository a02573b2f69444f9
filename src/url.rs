//! URL checks for the configuration.
//!
//! *In*: the text of a setting. *Out*: nothing, or the mistake.
//!
//! Nothing is resolved or fetched here.

use std::net::IpAddr;

use ::url::Url;
use http::{HeaderMap, Uri, header, uri::Authority};

use crate::{
    config_error::{ConfigError, ConfigMistake},
    error::quoted,
};

/// Where plain `http` is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainHttp {
    /// Nowhere, unless `danger_accept_plain_http` is called.
    Nowhere,
    /// For a loopback address, unless `danger_accept_plain_http` is called.
    LoopbackByDefault,
    /// For a loopback address. No setting accepts more.
    Loopback,
    Anywhere,
}

impl PlainHttp {
    fn accepts(self, host: &str) -> bool {
        match self {
            Self::Nowhere => false,
            Self::LoopbackByDefault | Self::Loopback => is_loopback(host),
            Self::Anywhere => true,
        }
    }

    fn advice(self) -> &'static str {
        match self {
            Self::Nowhere | Self::LoopbackByDefault => {
                "give an absolute https URL; in a closed test network, IssuerBuilder::danger_accept_plain_http accepts it"
            }
            Self::Loopback | Self::Anywhere => CHANGE,
        }
    }
}

/// Checks an identifier that is only compared with the tokens' `iss`: any text (RFC 7519 §4.1.1). White space around it and
/// control characters are not from the issuer: a line break at the end comes from a file or an environment variable.
pub(crate) fn check_name(setting: &'static str, name: &str) -> Result<(), ConfigMistake> {
    let found = if name.trim().is_empty() {
        "it is empty".to_owned()
    } else if name.trim() != name {
        format!("{} has white space around it", quoted(name))
    } else if name.contains(char::is_control) {
        format!("{} has a control character", quoted(name))
    } else {
        return Ok(());
    };
    Err(ConfigMistake::new(setting, found, "give the value of the tokens' iss"))
}

/// Checks an identifier that is also looked up, such as that of an issuer whose metadata is fetched: an absolute URL without
/// query and fragment (RFC 8414 §2). It must be its own normal form, because the HTTP client fetches the normal form: two
/// identifiers would name one server.
pub(crate) fn check_resolvable_identifier(
    setting: &'static str,
    url: &str,
    plain: PlainHttp,
) -> Result<(), ConfigError> {
    if url.contains(['?', '#']) {
        return Err(bad_url(setting, url, "has a query or a fragment, which an identifier must not have"));
    }
    check_syntax(setting, url, plain)?;
    let Ok(parsed) = Url::parse(url) else { return Err(bad_url(setting, url, "is not a URL")) };
    let normal = parsed.as_str();
    // The path of `https://host` is `/` (RFC 3986 §6.2.3), and most identifiers leave it out.
    if normal == url || (parsed.path() == "/" && normal.strip_suffix('/') == Some(url)) {
        return Ok(());
    }
    let found = format!("{url:?} is not in the normal form, which is {normal:?}");
    Err(ConfigMistake::new(setting, found, "give the URL in its normal form").into())
}

/// True for a plain `http` URL of a loopback address.
pub(crate) fn is_loopback_http(url: &str) -> bool {
    url.starts_with("http://") && check_syntax("url", url, PlainHttp::Loopback).is_ok()
}

/// Checks an absolute `https` URL.
pub(crate) fn check_url(setting: &'static str, url: &str, plain: PlainHttp) -> Result<(), ConfigError> {
    check_syntax(setting, url, plain)?;
    let parsers_agree = match (url.parse::<Uri>(), Url::parse(url)) {
        (Ok(uri), Ok(parsed)) => has_host_of(&parsed, &uri) && has_port_of(&parsed, &uri),
        _ => false,
    };
    if parsers_agree { Ok(()) } else { Err(bad_url(setting, url, "has an unusual host or port")) }
}

/// Checks and parses the identifier of a protected resource: an absolute URL without a fragment (RFC 9728 §1.2). Path and query
/// must be in their normal form, because clients send the normal form. The case of scheme and host has no meaning.
pub(crate) fn parse_resource_identifier(setting: &'static str, url: &str) -> Result<(Uri, Url), ConfigError> {
    if url.contains('#') {
        return Err(bad_url(setting, url, "has a fragment, which an identifier must not have"));
    }
    check_url(setting, url, PlainHttp::Loopback)?;
    let (Ok(uri), Ok(parsed)) = (url.parse::<Uri>(), Url::parse(url)) else {
        return Err(bad_url(setting, url, "is not a URL"));
    };
    if uri.query() == Some("") {
        return Err(bad_url(setting, url, "ends in an empty query"));
    }
    if uri.path() == parsed.path() && uri.query() == parsed.query() {
        return Ok((uri, parsed));
    }
    let found = format!("path or query of {url:?} are not in the normal form, which is {:?}", parsed.as_str());
    Err(ConfigMistake::new(setting, found, "give the URL in its normal form").into())
}

/// True for an issuer identifier that a client can look up: an absolute URL without query and fragment (RFC 8414 §2). Plain
/// `http` is that of a closed network, where the settings of the issuer accept it.
pub(crate) fn is_issuer_url(issuer: &str) -> bool {
    !issuer.contains(['?', '#']) && check_syntax("issuer", issuer, PlainHttp::Anywhere).is_ok()
}

/// Returns host and port that a request was sent to. The authority of the URI is `:authority` in HTTP/2, and takes precedence
/// over `Host` (RFC 9112 §3.2.2). `None` if there is no authority, or more than one `Host`.
pub(crate) fn request_authority<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Option<&'r [u8]> {
    if let Some(authority) = uri.authority() {
        return authority.as_str().rsplit('@').next().map(str::as_bytes);
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next()?;
    hosts.next().is_none().then_some(host.as_bytes())
}

/// Checks the origin of a web application, as browsers send it in `Origin` (RFC 6454 §6.2).
pub(crate) fn check_origin(setting: &'static str, origin: &str) -> Result<(), ConfigMistake> {
    if is_origin(origin) {
        return Ok(());
    }
    // Not quoted if it may contain a password.
    let shown = if origin.contains('@') { "a URL with a user name".to_owned() } else { format!("{origin:?}") };
    let found = format!("{shown} is not an origin in the form in which browsers send it");
    Err(ConfigMistake::new(setting, found, "give scheme://host, and the port if it is not the default one"))
}

fn is_origin(text: &str) -> bool {
    // `Url` accepts a `*` in a host, but no origin has one.
    let Some(url) = Url::parse(text).ok().filter(|_| !text.contains(['*', '@'])) else { return false };
    let origin = url.origin();
    if origin.is_tuple() {
        return origin.ascii_serialization() == text;
    }
    // The scheme of an application, such as `capacitor`. `Url` does not change the case of its host.
    let has_host = url.host_str().is_some_and(|host| !host.is_empty() && !host.contains(char::is_uppercase));
    has_host && format!("{}://{}", url.scheme(), url.authority()) == text
}

fn check_syntax(setting: &'static str, url: &str, plain: PlainHttp) -> Result<(), ConfigError> {
    let Ok(uri) = url.parse::<Uri>() else { return Err(bad_url(setting, url, "is not a URL")) };
    let found = match (uri.scheme_str(), uri.authority()) {
        // Not quoted, because it may contain a password.
        (_, Some(authority)) if authority.as_str().contains('@') => {
            return Err(ConfigMistake::new(setting, "the URL has a user name", CHANGE).into());
        }
        (_, Some(authority)) if !is_complete(authority) => "has no host, or an invalid port",
        (Some("https"), Some(_)) => return Ok(()),
        (Some("http"), Some(authority)) if plain.accepts(authority.host()) => return Ok(()),
        (Some("http"), Some(_)) => {
            return Err(ConfigMistake::new(setting, format!("{url:?} is plain http"), plain.advice()).into());
        }
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

/// True if both parsers read the same host. The case does not matter, and an IPv6 address has several forms.
fn has_host_of(parsed: &Url, uri: &Uri) -> bool {
    match (parsed.host_str(), uri.host()) {
        (Some(parsed), Some(host)) => host.starts_with('[') || parsed.eq_ignore_ascii_case(host),
        _ => false,
    }
}

/// True if the port has its usual form, without a sign and without leading zeros. The `http` crate accepts `:+80`.
fn has_port_of(parsed: &Url, uri: &Uri) -> bool {
    match uri.port() {
        Some(port) => parsed.port_or_known_default().is_some_and(|number| number.to_string() == port.as_str()),
        None => true,
    }
}

/// True for an address of this machine. A name such as `localhost.example.com` isn't one.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

const CHANGE: &str = "give an absolute https URL";
