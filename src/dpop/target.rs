//! The URL that a proof is for: `htu` (RFC 9449 §4.3, check 9).
//!
//! *In*: the URL that clients use, and `htu`. *Out*: whether they are equal after the normalization of RFC 3986 §6.2.2 and
//! §6.2.3. Query and fragment are ignored on both sides.

use crate::{config_error::ConfigMistake, url::parse_resource_identifier};

/// The URL that clients use, up to where the path of the layer's requests begins.
#[derive(Debug, Clone)]
pub(crate) struct BaseUrl {
    /// In its normal form, without a slash at the end.
    url: String,
    has_path: bool,
}

impl BaseUrl {
    /// Parses an absolute `https` URL without user name, query and fragment. For a loopback address, `http` is accepted.
    pub(crate) fn parse(setting: &'static str, url: &str) -> Result<Self, ConfigMistake> {
        let (_, parsed) = parse_resource_identifier(setting, url).map_err(|error| {
            let mistake = error.mistakes().first().cloned();
            mistake.unwrap_or_else(|| ConfigMistake::new(setting, "it is not a URL", CHANGE))
        })?;
        if parsed.query().is_some() {
            return Err(ConfigMistake::new(setting, format!("{url:?} has a query"), CHANGE));
        }
        let path = parsed.path().strip_suffix('/').unwrap_or(parsed.path());
        if path.contains("//") || path.ends_with('/') {
            return Err(ConfigMistake::new(setting, format!("{url:?} has an empty segment in its path"), CHANGE));
        }
        let url = format!("{}://{}{path}", parsed.scheme(), parsed.authority());
        Ok(Self { url, has_path: !path.is_empty() })
    }

    /// True if `htu` is this URL and the path.
    pub(crate) fn names(&self, path: &str, htu: &str) -> bool {
        // `*` of an OPTIONS request names no resource (RFC 9112 §3.2.4).
        if !path.starts_with('/') {
            return false;
        }
        let target = without_query(htu);
        if target.strip_prefix(&*self.url) == Some(path) {
            return path.bytes().all(|byte| byte.is_ascii_graphic());
        }
        // No client sends dot segments. Without this, a proof for `/b` would be good for the request `/a/../b`, which a router
        // can send to another handler.
        if has_dot_segments(path) {
            return false;
        }
        // axum's `nest` makes `/` of the path of the nested router itself.
        let is_nested_root = self.has_path && path == "/" && same_target(&self.url, target);
        is_nested_root || same_target(&[&*self.url, path].concat(), target)
    }
}

/// True if both URLs are equal by RFC 3986 §6.2.2 and §6.2.3, without query and fragment.
pub(crate) fn same_target(one: &str, other: &str) -> bool {
    let (one, other) = (without_query(one), without_query(other));
    one == other || normal_form(one).is_some_and(|one| Some(one) == normal_form(other))
}

/// Returns the URL up to its query or fragment.
pub(super) fn without_query(url: &str) -> &str {
    url.find(['?', '#']).and_then(|end| url.get(..end)).unwrap_or(url)
}

/// Returns the normal form of an absolute URL without query and fragment. `None` if it has another scheme than `http` and
/// `https`, a user name, or is no URL.
fn normal_form(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let default_port = match scheme {
        scheme if scheme.eq_ignore_ascii_case("https") => "443",
        scheme if scheme.eq_ignore_ascii_case("http") => "80",
        _ => return None,
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (host, port) = split_authority(authority)?;
    let mut normal = [scheme, "://", host].concat().to_ascii_lowercase();
    if !port.is_empty() && port != default_port {
        normal.push(':');
        normal.push_str(port);
    }
    push_path(&mut normal, &decode_unreserved(path)?);
    Some(normal)
}

/// Splits host and port. `None` if there is a user name, or if they contain other characters than host names and addresses do.
fn split_authority(authority: &str) -> Option<(&str, &str)> {
    let host_chars = match authority.strip_prefix('[') {
        Some(address) => address.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, port) = authority.split_at_checked(host_chars)?;
    let port = match port.strip_prefix(':') {
        Some(port) => port,
        None if port.is_empty() => port,
        None => return None,
    };
    let is_address = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => !address.is_empty() && address.bytes().all(is_address),
        None => !host.is_empty() && host.bytes().all(is_name),
    };
    (is_host && port.bytes().all(|byte| byte.is_ascii_digit())).then_some((host, port))
}

/// Decodes the percent-encoded characters that need no encoding, and writes the others in upper case (RFC 3986 §6.2.2.1,
/// §6.2.2.2). `None` if a character can't be in a path.
fn decode_unreserved(path: &str) -> Option<String> {
    let mut decoded = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte.is_ascii_graphic().then_some(char::from(byte))?);
            continue;
        }
        let (high, low) = (char::from(bytes.next()?), char::from(bytes.next()?));
        let value = high.to_digit(16)? * 16 + low.to_digit(16)?;
        match char::from_u32(value)? {
            unreserved @ ('-' | '.' | '_' | '~') => decoded.push(unreserved),
            unreserved if unreserved.is_ascii_alphanumeric() => decoded.push(unreserved),
            _ => decoded.extend(['%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]),
        }
    }
    Some(decoded)
}

/// Appends a path without its dot segments (RFC 3986 §5.2.4). An empty path becomes `/` (§6.2.3).
fn push_path(url: &mut String, path: &str) {
    let start = url.len();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment == ".." {
            let parent = url.get(start..).and_then(|path| path.rfind('/')).unwrap_or(0);
            url.truncate(start + parent);
        }
        if !is_dot_segment(segment) {
            url.push('/');
            url.push_str(segment);
        } else if is_last {
            url.push('/');
        }
    }
}

fn has_dot_segments(path: &str) -> bool {
    // Nearly all paths have neither a dot nor a percent sign.
    let may_have = path.contains(['.', '%']);
    may_have && decode_unreserved(path).is_none_or(|path| path.split('/').any(is_dot_segment))
}

fn is_dot_segment(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

const CHANGE: &str = "give an absolute https URL without query";
