//! Redirect URIs (RFC 6749 §3.1.2, RFC 8252 §7.3, RFC 9700 §4.1).
//!
//! *In*: the redirect URIs that a client registers, and the one in a request. *Out*: the one to use, if it is registered.
//!
//! Whether the host of a URI belongs to the client is not checked here.

use http::{HeaderValue, Response, StatusCode, Uri, header};

use super::response::{ResponseBody, empty};

/// Checks a redirect URI for the registration (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1). The error is what was found.
pub(crate) fn check_redirect_uri(uri: &str) -> Result<(), &'static str> {
    let Some((scheme, rest)) = uri.split_once(':') else { return Err("a redirect URI is relative") };
    if uri.contains('#') || !uri.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("a redirect URI has a fragment, or a character that is invalid in URIs");
    }
    match scheme {
        "https" | "http" => {
            let parsed: Uri = uri.parse().map_err(|_| "a redirect URI is malformed")?;
            let authority = parsed.authority().ok_or("a redirect URI has no host")?;
            if authority.host().is_empty() || authority.as_str().contains('@') {
                return Err("a redirect URI has no host, or has a user name");
            }
            if scheme == "http" && !is_loopback(authority.host()) {
                return Err("a redirect URI is plain http to another machine");
            }
            Ok(())
        }
        // RFC 8252 §7.1: a domain name in reverse. This excludes `javascript:` and similar schemes.
        own if is_scheme(own) && own.contains('.') && !rest.is_empty() => Ok(()),
        _ => Err("a redirect URI's scheme is not a domain name in reverse"),
    }
}

/// True for a loopback address, and for the name used in development (RFC 8252 §7.3, §8.3).
fn is_loopback(host: &str) -> bool {
    matches!(host, "127.0.0.1" | "[::1]" | "localhost")
}

/// True for a scheme (RFC 3986 §3.1). The text before a colon is not always one: in `localhost:3000/callback` it is a host.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Returns the redirect URI of a request, if the client registered it. The comparison is byte for byte, except for the port
/// of a loopback address, which an app can't know in advance. A request without one uses the only registered one.
pub(crate) fn matching_redirect_uri<'u>(registered: &'u [String], requested: Option<&'u str>) -> Option<&'u str> {
    match (requested, registered) {
        (None, [only]) => Some(only),
        (None, _) => None,
        (Some(requested), _) => {
            let same = |own: &String| own == requested || differs_only_in_port(own, requested);
            registered.iter().any(same).then_some(requested)
        }
    }
}

/// Redirects the browser with these parameters. The status is 303: 307 would forward the user's password (RFC 9700 §4.12).
pub(crate) fn redirect(uri: &str, parameters: &[(&str, &str)]) -> Response<ResponseBody> {
    let separator = if uri.contains('?') { '&' } else { '?' };
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    let Ok(location) = HeaderValue::try_from(format!("{uri}{separator}{query}")) else {
        // Only a registry of the application can return an invalid redirect URI.
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = empty(StatusCode::SEE_OTHER);
    response.headers_mut().insert(header::LOCATION, location);
    // RFC 9700 §4.2.4: keeps the code out of the `Referer` header.
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

fn differs_only_in_port(registered: &str, requested: &str) -> bool {
    without_port(registered).is_some_and(|own| without_port(requested) == Some(own))
}

/// Returns a loopback URI without its port: what is before and after it. Addresses only, because a name may resolve to
/// another machine (RFC 8252 §8.3).
fn without_port(uri: &str) -> Option<(&str, &str)> {
    let hosts = ["http://127.0.0.1", "http://[::1]"];
    let (host, rest) = hosts.iter().find_map(|host| Some((*host, uri.strip_prefix(host)?)))?;
    let rest = match rest.strip_prefix(':') {
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (port, rest) = rest.split_at(digits);
            port.parse::<u16>().ok()?;
            rest
        }
        None => rest,
    };
    (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((host, rest))
}

#[cfg(test)]
mod tests {
    use super::matching_redirect_uri;

    #[test]
    fn accepts_a_registered_redirect_uri_byte_for_byte() {
        let registered = ["https://app.test/cb?x=1".to_owned(), "http://127.0.0.1/cb".to_owned()];
        let [only, loopback] = &registered;
        assert_eq!(matching_redirect_uri(&registered, Some(only)), Some(only.as_str()));
        assert_eq!(matching_redirect_uri(&registered[..1], None), Some(only.as_str()));
        assert_eq!(matching_redirect_uri(&registered, None), None, "ambiguous without redirect_uri");
        for port in ["http://127.0.0.1:1/cb", "http://127.0.0.1:65535/cb", loopback] {
            assert_eq!(matching_redirect_uri(&registered, Some(port)), Some(port));
        }
        for bad in [
            "",
            "https://app.test/cb",
            "https://app.test/cb?x=1&y=2",
            "https://app.test/cb?x=1#f",
            "https://app.test/cb/../cb?x=1",
            "https://app.test/CB?x=1",
            "https://APP.test/cb?x=1",
            "https://app.test:443/cb?x=1",
            "https://app.test:8443/cb?x=1",
            "http://app.test/cb?x=1",
            "https://ada@app.test/cb?x=1",
            "https://app.test.evil/cb?x=1",
            "http://127.0.0.1:1/cb/",
            "http://127.0.0.1:1/other",
            "http://127.0.0.1:1@evil.test/cb",
            "http://127.0.0.1:99999/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1.evil.test/cb",
            "http://localhost:1/cb",
            "http://[::1]:1/cb",
            "https://127.0.0.1:1/cb",
        ] {
            assert_eq!(matching_redirect_uri(&registered, Some(bad)), None, "{bad}");
        }
    }
}
