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
        let path = parsed.path();
        let path = path.strip_suffix('/').unwrap_or(path);
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

/// True if `htu` is this absolute URL, which the application has computed from a request.
pub(super) fn is_named_by(url: &str, htu: &str) -> bool {
    let (url, target) = (without_query(url), without_query(htu));
    // As in `BaseUrl::names`: a router can send a path with dot segments to another handler.
    normal_form(url).is_some() && (url == target || (!has_dot_segments(url) && same_target(url, target)))
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
            // Browsers read a backslash as a slash, so it would have two meanings.
            let is_path = byte.is_ascii_graphic() && byte != b'\\';
            decoded.push(is_path.then_some(char::from(byte))?);
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

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        hash::{BuildHasher, RandomState},
    };

    use proptest::{
        prelude::*,
        test_runner::{RngSeed, TestRunner},
    };
    use url::Url;

    use super::*;

    fn base(url: &str) -> BaseUrl {
        BaseUrl::parse("dpop", url).unwrap()
    }

    #[test]
    fn accepts_what_rfc_3986_calls_equal() {
        for other in [
            "https://api.test/a/b",
            "HTTPS://API.test/a/b",
            "https://api.test:443/a/b",
            "https://api.test:/a/b",
            "https://api.test/%61/b",
            "https://api.test/a/./b",
            "https://api.test/a/x/../b",
            "https://api.test/../a/b",
            "https://api.test/a/x/%2e%2E/b",
            "https://api.test/a/b?page=2",
            "https://api.test/a/b#top",
            "https://api.test/a/b?",
            "https://api.test/a/b#?",
            "https://api.test/a/b?/../c",
        ] {
            assert!(same_target("https://api.test/a/b", other), "{other}");
            assert!(same_target(other, "https://api.test/a/b?x"), "{other}");
            assert!(base("https://api.test").names("/a/b", other), "{other}");
            assert!(base("https://api.test/a").names("/b", other), "{other}");
        }
        for (one, other) in [
            ("https://api.test", "https://api.test/"),
            ("https://api.test?x", "https://api.test/"),
            ("http://localhost:80/", "http://LOCALHOST"),
            ("https://[2001:DB8::1]:443/", "https://[2001:db8::1]"),
            ("https://api.test/%e4/%7E~", "https://api.test/%E4/~%7e"),
            ("https://api.test/a//../b", "https://api.test/a/b"),
            ("https://api.test/a/..", "https://api.test/"),
            ("https://api.test/a/b/.", "https://api.test/a/b/"),
        ] {
            assert!(same_target(one, other) && same_target(other, one), "{one} {other}");
        }
    }

    #[test]
    fn refuses_every_other_target() {
        for other in [
            "https://other.test/a/b",
            "https://api.test.evil.test/a/b",
            "http://api.test/a/b",
            "https://api.test:8443/a/b",
            "https://api.test:80/a/b",
            "https://api.test:0443/a/b",
            "https://api.test:+443/a/b",
            "https://api.test:443:443/a/b",
            "https://api.test/a",
            "https://api.test/a/b/",
            "https://api.test//a/b",
            "https://api.test/a//b",
            "https://api.test/A/b",
            "https://api.test/a%2Fb",
            "https://api.test/a%2fb",
            "https://api.test/a/../b",
            "https://api.test/a/b/..",
            "https://api.test/a/b;v=1",
            "https://user@api.test/a/b",
            "https://user:password@api.test/a/b",
            "https://@api.test/a/b",
            "https://api.test\\@evil.test/a/b",
            "https://evil.test/https://api.test/a/b",
            "//api.test/a/b",
            "/a/b",
            "a/b",
            "",
            "*",
            "https:",
            "https://",
            "https:///a/b",
            "https:api.test/a/b",
            "https:/api.test/a/b",
            "ftp://api.test/a/b",
            " https://api.test/a/b",
            "https://api.test/a/b ",
            "https://api.test/a/b\n",
            "https://api.test/a/\tb",
            "https://api.test/a/b\0",
            "https://api.test/ä/b",
            "https://äpi.test/a/b",
            "https://%61pi.test/a/b",
            "https://api.test./a/b",
            "https://[api.test]/a/b",
            "https://[::1/a/b",
            "https://api.test/a/b%",
            "https://api.test/a/b%0",
            "https://api.test/a/%zzb",
            "https://api.test\\a/b",
            "https://api.test/a\\b",
            "https://api.test/a/\\/../b",
        ] {
            assert!(!same_target("https://api.test/a/b", other), "{other}");
            assert!(!same_target(other, "https://api.test/a/b"), "{other}");
            assert!(!base("https://api.test").names("/a/b", other), "{other}");
            assert!(!base("https://api.test/a").names("/b", other), "{other}");
        }
    }

    #[test]
    fn joins_the_base_and_the_path() {
        for (url, path, htu, expected) in [
            ("https://api.test", "/", "https://api.test", true),
            ("https://api.test", "/", "https://api.test/", true),
            ("https://api.test/", "/orders", "https://api.test/orders", true),
            ("https://api.test/", "/orders", "https://api.test//orders", false),
            ("https://API.test:443", "/orders", "https://api.test/orders", true),
            ("https://api.test/v1", "/orders", "https://api.test/v1/orders", true),
            ("https://api.test/v1/", "/orders", "https://api.test/v1/orders", true),
            ("https://api.test/v1", "/orders", "https://api.test/orders", false),
            ("https://api.test/v1", "/orders", "https://api.test/v1orders", false),
            // axum's `nest` makes `/` of `/v1`.
            ("https://api.test/v1", "/", "https://api.test/v1", true),
            ("https://api.test/v1", "/", "https://api.test/v1/", true),
            ("https://api.test/v1/", "/", "https://API.test/v1", true),
            ("https://api.test/v1", "/", "https://api.test/", false),
            ("https://api.test/v1", "/x", "https://api.test/v1", false),
            ("https://api.test/v1", "//", "https://api.test/v1", false),
            ("http://127.0.0.1:8080", "/a", "http://127.0.0.1:8080/a", true),
            ("http://localhost", "/a", "http://localhost:80/a", true),
            ("https://api.test", "*", "https://api.test*", false),
            ("https://api.test", "*", "*", false),
            ("https://api.test", "", "https://api.test", false),
            ("https://api.test", "api.test:443", "https://api.test", false),
            // What a router sees is not normalized, so it must be what the client wrote.
            ("https://api.test", "/a/../b", "https://api.test/a/../b", true),
            ("https://api.test", "/a/../b", "https://api.test/b", false),
            ("https://api.test", "/a/%2e%2e/b", "https://api.test/b", false),
            ("https://api.test", "/a/%2E/b", "https://api.test/a/b", false),
            ("https://api.test", "/a/%7e.b", "https://api.test/a/~.b", true),
            ("https://api.test", "/a|b", "https://api.test/a|b", true),
            ("https://api.test", "/a\\b", "https://API.test/a\\b", false),
            ("https://api.test", "/a%zz", "https://api.test/a%zz", true),
            ("https://api.test", "/ä", "https://api.test/ä", false),
            ("https://api.test", "/a\u{7f}", "https://api.test/a\u{7f}", false),
        ] {
            assert_eq!(base(url).names(path, htu), expected, "{url} {path} {htu}");
        }
    }

    #[test]
    fn refuses_a_base_that_is_no_public_url() {
        for url in [
            "",
            "api.test",
            "/v1",
            "http://api.test",
            "http://localhost.test",
            "ftp://api.test",
            "https://",
            "https://user@api.test",
            "https://user:secret@api.test",
            "https://api.test/?a=b",
            "https://api.test?",
            "https://api.test/#a",
            "https://api.test/a/../b",
            "https://api.test/a//b",
            "https://api.test/a//",
            "https://api.test//",
            "https://api.test/ä",
            "https://api.test/a b",
            "https://api.test:99999",
            "https://api.test\n",
        ] {
            let mistake = BaseUrl::parse("dpop", url).unwrap_err();
            assert_eq!(mistake.setting(), "dpop", "{url}");
            assert!(!mistake.to_string().contains("secret"), "{mistake}");
        }
    }

    #[test]
    fn cuts_at_the_first_question_mark_or_number_sign() {
        for (url, expected) in [("a?b#c", "a"), ("a#b?c", "a"), ("a", "a"), ("?", ""), ("ä#", "ä"), ("", "")] {
            assert_eq!(without_query(url), expected);
        }
    }

    /// URLs of few kinds of parts, so that many pairs are equal, and URLs with a wrong part.
    fn any_url() -> impl Strategy<Value = String> {
        // The first of each list most often, so that many pairs are equal.
        let mostly =
            |first, others: Vec<&'static str>| prop_oneof![5 => Just(first), 1 => prop::sample::select(others)];
        let scheme = mostly("https://", vec!["http://", "HTTPS://"]);
        let host = mostly("a.test", vec!["A.test", "a.test.", "[::1]", "127.0.0.1", "u@a.test", "%61.test"]);
        let port = mostly("", vec![":", ":443", ":80", ":8443"]);
        let segment = prop::sample::select(vec![
            "", "a", "b", "A", "%61", "%41", ".", "..", "%2e", "%2E%2e", "%2f", "%2F", "%7e", "~", "%c3%a4", "%C3%A4",
            "a.b", "%", "%6", "a b", "ä", "\\", ";", "+",
        ]);
        let path = prop::collection::vec(segment, 0..4).prop_map(|segments| segments.join("/"));
        let end = prop::sample::select(vec!["", "?", "?a=/../b", "#x", " "]);
        (scheme, host, port, any::<bool>(), path, end).prop_map(|(scheme, host, port, slash, path, end)| {
            format!("{scheme}{host}{port}{}{path}{end}", if slash || !path.is_empty() { "/" } else { "" })
        })
    }

    /// The normal form by another parser. It doesn't decode unreserved characters, so this is done here.
    fn by_other_parser(url: &str) -> Option<String> {
        let url = Url::parse(without_query(url)).ok()?;
        let mut normal = String::new();
        let mut rest = url.as_str();
        while let Some((before, encoded)) = rest.split_once('%') {
            normal.push_str(before);
            let (digits, after) = encoded.split_at_checked(2)?;
            let byte = u8::from_str_radix(digits, 16).ok()?;
            match char::from(byte) {
                unreserved if byte.is_ascii_alphanumeric() || "-._~".contains(unreserved) => normal.push(unreserved),
                _ => normal.extend(format!("%{byte:02X}").chars()),
            }
            rest = after;
        }
        Some(normal + rest)
    }

    /// True if the syntax of RFC 3986 and that of browsers are the same for this URL.
    fn is_plain(url: &str) -> bool {
        let url = without_query(url);
        let is_encoded = |rest: &str| {
            let digits = rest.get(..2).unwrap_or_default();
            digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
        };
        let is_uri = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\\@".contains(&byte));
        is_uri && !url.contains("://%") && url.split('%').skip(1).all(is_encoded)
    }

    fn check(cases: u32, property: impl Fn((String, String)) -> Result<(), TestCaseError>) {
        let chosen = std::env::var("PROPTEST_RNG_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = chosen.unwrap_or_else(|| RandomState::new().hash_one(0));
        let rng_seed = RngSeed::Fixed(seed);
        let config = ProptestConfig { cases, rng_seed, failure_persistence: None, ..ProptestConfig::default() };
        TestRunner::new(config)
            .run(&(any_url(), any_url()), property)
            .unwrap_or_else(|failure| panic!("PROPTEST_RNG_SEED={seed}: {failure}"));
    }

    #[test]
    fn agrees_with_the_parser_of_browsers() {
        let equal = Cell::new(0);
        check(20_000, |(one, other)| {
            let same = same_target(&one, &other);
            equal.set(equal.get() + usize::from(same && one != other));
            prop_assert_eq!(same, same_target(&other, &one));
            prop_assert!(same_target(&one, &one));
            let (parsed, other_parsed) = (by_other_parser(&one), by_other_parser(&other));
            let both = parsed.is_some() && other_parsed.is_some();
            if same && without_query(&one) != without_query(&other) {
                prop_assert!(both, "{} {}", one, other);
            }
            if both && same {
                prop_assert_eq!(&parsed, &other_parsed, "{} {}", one, other);
            }
            if both && is_plain(&one) && is_plain(&other) {
                prop_assert_eq!(same, parsed == other_parsed, "{} {}", one, other);
            }
            Ok(())
        });
        assert!(equal.get() > 100, "only {} equal pairs", equal.get());
    }
}
