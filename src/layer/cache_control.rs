//! `Cache-Control: private`, for responses to requests whose token shared caches don't recognize (RFC 9111 §3.5).
//!
//! *In*: the headers of a response. *Out*: the same headers, with the directive.

use http::{HeaderMap, HeaderValue, header};

/// Adds `private` to `Cache-Control`, unless `private`, `no-store` or `public` is there already.
pub(super) fn mark_private(headers: &mut HeaderMap) {
    let decided = headers.get_all(header::CACHE_CONTROL).iter().any(|value| decides(value.as_bytes()));
    if decided {
        return;
    }
    let private = match headers.get(header::CACHE_CONTROL).filter(|value| is_complete(value.as_bytes())) {
        Some(value) => HeaderValue::from_bytes(&[value.as_bytes(), b", private"].concat()).ok(),
        None => None,
    };
    let private = private.unwrap_or(HeaderValue::from_static("private"));
    match headers.entry(header::CACHE_CONTROL) {
        // Further lines of the header stay as they are.
        header::Entry::Occupied(mut values) => {
            if let Some(first) = values.iter_mut().next() {
                *first = private;
            }
        }
        header::Entry::Vacant(entry) => {
            entry.insert(private);
        }
    }
}

/// True if a directive of the value says already whether shared caches may store the response. `private="a-header"` does not
/// count: it concerns only that header (RFC 9111 §5.2.2.7).
fn decides(value: &[u8]) -> bool {
    if !is_complete(value) {
        return false;
    }
    let mut quoted = false;
    let directives = value.split(|byte| {
        quoted ^= *byte == b'"';
        *byte == b',' && !quoted
    });
    directives.map(<[u8]>::trim_ascii).any(|directive| {
        [&b"private"[..], b"no-store", b"public"].iter().any(|name| directive.eq_ignore_ascii_case(name))
    })
}

/// True if the directives of the value can be separated: it is not blank, every quoted string ends, and none has an escape.
fn is_complete(value: &[u8]) -> bool {
    let quoted = value.iter().fold(false, |quoted, byte| quoted ^ (*byte == b'"'));
    !value.trim_ascii().is_empty() && !quoted && !value.contains(&b'\\')
}
