//! Other URLs in `htu`, and other spellings of the request's URL (RFC 9449 §4.3 item 9, RFC 3986 §6.2).
//!
//! *In*: the URL of a request. *Out*: URLs that do not name it, and URLs that do.

use super::ProofForgery;
use crate::testing::ProofBuilder;

pub(super) fn urls(valid: &ProofBuilder, into: &mut Vec<ProofForgery>) {
    for (name, url) in others(valid.claim_text("htu")) {
        into.push(ProofForgery::new(format!("htu {name}"), valid.renewed().claim("htu", url).sign()));
    }
}

/// An absolute URL without query and fragment.
struct SplitUrl<'u> {
    scheme: &'u str,
    authority: &'u str,
    /// Empty, or from the first slash on.
    path: &'u str,
}

impl<'u> SplitUrl<'u> {
    fn split(url: &'u str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Some(Self { scheme, authority, path })
    }

    fn has_port(&self) -> bool {
        self.authority.rsplit(']').next().is_some_and(|after| after.contains(':'))
    }

    /// Returns the authority without its port.
    fn host(&self) -> &str {
        if self.has_port() { self.authority.rsplit_once(':').map_or("", |(host, _)| host) } else { self.authority }
    }
}

/// Returns URLs that are not the target.
fn others(url: &str) -> Vec<(&'static str, String)> {
    let Some(target) = SplitUrl::split(url) else { return Vec::new() };
    let SplitUrl { scheme, authority, path } = target;
    let (host, port) = (target.host(), authority.strip_prefix(target.host()).unwrap_or_default());
    let other_scheme = if scheme.eq_ignore_ascii_case("https") { "http" } else { "https" };
    let other_port = if port == ":8444" { ":8445" } else { ":8444" };
    let mut urls = vec![
        ("of another host", format!("{scheme}://evil.test{path}")),
        ("of a subdomain", format!("{scheme}://evil.{authority}{path}")),
        ("of a host that begins with this one", format!("{scheme}://{host}.evil.test{port}{path}")),
        ("of a host that ends with this one", format!("{scheme}://evil{authority}{path}")),
        ("with a dot after the host", format!("{scheme}://{host}.{port}{path}")),
        ("of another port", format!("{scheme}://{host}{other_port}{path}")),
        ("of the other scheme's port", format!("{scheme}://{host}:{}{path}", default_port(other_scheme))),
        ("of another scheme", format!("{other_scheme}://{authority}{path}")),
        ("with a user name", format!("{scheme}://user@{authority}{path}")),
        ("with an empty user name", format!("{scheme}://@{authority}{path}")),
        ("with this host as user name", format!("{scheme}://{host}@evil.test{path}")),
        ("with this host as user name, after a backslash", format!("{scheme}://evil.test\\@{authority}{path}")),
        ("without host", format!("{scheme}://{path}")),
        ("without scheme", format!("//{authority}{path}")),
        ("without scheme and slashes", format!("{authority}{path}")),
        ("with one slash after the scheme", format!("{scheme}:/{authority}{path}")),
        ("that is a path", if path.is_empty() { "/".to_owned() } else { path.to_owned() }),
        ("*", "*".to_owned()),
        ("that is no URL", "not a URL".to_owned()),
        ("of one longer path", format!("{url}x")),
        ("of a path below", format!("{}/x", url.trim_end_matches('/'))),
        ("with two slashes at the end", format!("{}//", url.trim_end_matches('/'))),
        ("with an encoded slash at the end", format!("{url}%2F")),
        ("with a space at the end", format!("{url} ")),
        ("with a space at the start", format!(" {url}")),
        ("with a newline", format!("{url}\n")),
        ("with NUL", format!("{url}\0")),
        ("with a raw character that is not ASCII", format!("{url}\u{e9}")),
        ("with a percent sign and no digits", format!("{url}%")),
        ("with a percent sign and other letters", format!("{url}%zz")),
        ("with a parameter in the path", format!("{url};a=1")),
        ("with an encoded question mark", format!("{url}%3Fa=1")),
        ("in angle brackets", format!("<{url}>")),
        ("with another one after it", format!("{url} {url}")),
    ];
    if path.len() > 1 {
        urls.extend(other_paths(&format!("{scheme}://{authority}"), path));
    }
    urls.retain(|(_, other)| other != url);
    urls
}

/// Returns URLs with other paths than `path`, which is more than a slash.
fn other_paths(origin: &str, path: &str) -> Vec<(&'static str, String)> {
    let file = path.trim_end_matches('/');
    let parent = file.rsplit_once('/').map_or("", |(parent, _)| parent);
    let rest = path.strip_prefix('/').unwrap_or_default();
    let mut urls = vec![
        ("without path", origin.to_owned()),
        ("of the parent", format!("{origin}{parent}/")),
        ("with one more slash", format!("{origin}/{path}")),
        ("with dots that lead elsewhere", format!("{origin}{file}/../x")),
        ("with dots that lead to the parent", format!("{origin}{file}/..")),
        ("with encoded dots that lead elsewhere", format!("{origin}{file}/%2e%2e/x")),
        ("with a backslash", format!("{origin}\\{rest}")),
        ("with an encoded slash", format!("{origin}/%2F{rest}")),
    ];
    let slash = match path.strip_suffix('/') {
        Some(path) => ("without the slash at the end", format!("{origin}{path}")),
        None => ("with a slash at the end", format!("{origin}{path}/")),
    };
    urls.push(slash);
    let other_case: String = path
        .chars()
        .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
        .collect();
    // Upper and lower case of escapes do not differ.
    if other_case != path && !path.contains('%') {
        urls.push(("in other case", format!("{origin}{other_case}")));
    }
    if let Some((start, end)) = rest.rsplit_once('/').filter(|(start, _)| !start.is_empty()) {
        urls.push(("with an encoded slash for a slash", format!("{origin}/{start}%2F{end}")));
    }
    if let Some((start, letter, end)) = around_letter(path) {
        urls.push(("with a letter that is encoded twice", format!("{origin}{start}%25{:02X}{end}", u32::from(letter))));
    }
    urls
}

/// Returns other spellings of the target, which RFC 3986 §6.2.2 and §6.2.3 call equal, and the target with a query or fragment.
pub(super) fn spellings(url: &str) -> Vec<(&'static str, String)> {
    let Some(target) = SplitUrl::split(url) else { return Vec::new() };
    let SplitUrl { scheme, authority, path } = target;
    let origin = format!("{scheme}://{authority}");
    let mut urls = vec![
        ("with the host in capitals", format!("{scheme}://{}{path}", authority.to_uppercase())),
        ("with the scheme in capitals", format!("{}://{authority}{path}", scheme.to_uppercase())),
        ("with a query", format!("{url}?a=1")),
        ("with an empty query", format!("{url}?")),
        ("with a query that has slashes", format!("{url}?a=/../b?c")),
        ("with a fragment", format!("{url}#a")),
        ("with an empty fragment", format!("{url}#")),
        ("with query and fragment", format!("{url}?a=1#b")),
        ("with a question mark in the fragment", format!("{url}#a?b")),
    ];
    let default_port = default_port(scheme);
    if target.has_port() {
        let host = target.host();
        urls.extend(
            (authority == format!("{host}:{default_port}"))
                .then(|| ("without the port", format!("{scheme}://{host}{path}"))),
        );
    } else {
        urls.push(("with the default port", format!("{origin}:{default_port}{path}")));
        urls.push(("with an empty port", format!("{origin}:{path}")));
    }
    match path {
        "" => urls.push(("with a slash for the empty path", format!("{origin}/"))),
        "/" => urls.push(("with an empty path", origin.clone())),
        _ => {}
    }
    if !path.is_empty() {
        urls.push(("with a dot segment", format!("{origin}/.{path}")));
        urls.push(("with a segment and two dots after it", format!("{origin}/x/..{path}")));
        urls.push(("with an encoded dot segment", format!("{origin}/%2e{path}")));
        urls.push(("with two dots at the root", format!("{origin}/..{path}")));
    }
    if let Some((start, letter, end)) = around_letter(path) {
        let code = u32::from(letter);
        urls.push(("with an encoded letter", format!("{origin}{start}%{code:02X}{end}")));
        urls.push((
            "with an encoded letter, its hexadecimal digits in lower case",
            format!("{origin}{start}%{code:02x}{end}"),
        ));
    }
    if path.contains('~') {
        urls.push(("with an encoded tilde", format!("{origin}{}", path.replace('~', "%7e"))));
    }
    urls.retain(|(_, other)| other != url);
    urls
}

/// Splits a path at a letter whose hexadecimal digits have a letter, if it has one and no escapes.
fn around_letter(path: &str) -> Option<(&str, char, &str)> {
    let position = path.find(|c: char| matches!(c, 'j'..='o' | 'z' | 'J'..='O' | 'Z'))?;
    let (start, rest) = path.split_at(position);
    let letter = rest.chars().next()?;
    (!path.contains('%')).then(|| (start, letter, &rest[1..]))
}

fn default_port(scheme: &str) -> u16 {
    if scheme.eq_ignore_ascii_case("https") { 443 } else { 80 }
}
