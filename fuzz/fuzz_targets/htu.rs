#![no_main]
//! Two lines: two URLs, which are equal only if they are equal for the parser of browsers. The first line is also a path below
//! a base URL.

use libfuzzer_sys::{Corpus, fuzz_target};
use tower_oauth::testing::fuzzing::{is_same_target, is_target};
use url::Url;

const BASE: &str = "https://api.test/v1";

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(input) = str::from_utf8(input) else { return Corpus::Reject };
    let Some((one, other)) = input.split_once('\n') else { return Corpus::Reject };
    check_equality(one, other);
    check_base(one, other);
    Corpus::Keep
});

fn check_equality(one: &str, other: &str) {
    let same = is_same_target(one, other);
    assert_eq!(same, is_same_target(other, one));
    assert!(is_same_target(one, one));
    if without_query(one) == without_query(other) {
        assert!(same);
        return;
    }
    let (parsed, other_parsed) = (normal_form(one), normal_form(other));
    if same {
        assert!(parsed.is_some() && parsed == other_parsed, "{parsed:?} {other_parsed:?}");
    } else if is_plain(one) && is_plain(other) && parsed.is_some() {
        assert_ne!(parsed, other_parsed);
    }
}

fn check_base(path: &str, htu: &str) {
    if is_target(BASE, path, htu) != Some(true) {
        return;
    }
    assert!(path.starts_with('/'));
    let url = normal_form(htu);
    let joined = [BASE, path].concat();
    let is_root = path == "/" && url.as_deref() == Some(BASE);
    assert!(is_root || joined == without_query(htu) || url == normal_form(&joined), "{joined}");
    // A path can have characters after which another URL begins, but not in the host.
    assert_eq!(Url::parse(htu).expect("htu is a URL").origin().ascii_serialization(), "https://api.test");
    // Any URL as the base: it is accepted or refused.
    let _ = is_target(htu, path, path);
}

/// The normal form by another parser. It doesn't decode unreserved characters, so this is done here.
fn normal_form(url: &str) -> Option<String> {
    let url = Url::parse(without_query(url)).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let mut normal = String::new();
    let mut rest = url.as_str();
    while let Some((before, encoded)) = rest.split_once('%') {
        normal.push_str(before);
        let (digits, after) = encoded.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16).ok()?;
        match char::from(byte) {
            unreserved if byte.is_ascii_alphanumeric() || "-._~".contains(unreserved) => normal.push(unreserved),
            _ => normal.push_str(&format!("%{byte:02X}")),
        }
        rest = after;
    }
    Some(normal + rest)
}

/// True if the syntax of RFC 3986 and that of browsers are the same for this URL: a host name without a number at its end,
/// which browsers read as an IPv4 address, and a path of unreserved characters, `%` and slashes.
fn is_plain(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    let Some(rest) = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://")) else { return false };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_host = host.ends_with(".test") && host.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.');
    // `xn--` has no hyphen here, so a label is never checked as an internationalized one.
    let is_encoded = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|digit| digit.is_ascii_hexdigit());
    let is_path = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte));
    is_host && is_path && path.split('%').skip(1).all(is_encoded)
}

fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or_default()
}
