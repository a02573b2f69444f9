//! Redirect URIs (RFC 6749 §3.1.2, RFC 8252 §7.3, RFC 9700 §4.1).
//!
//! *In*: the redirect URIs that a client registers, and the one in a request. *Out*: the one to use, if it is registered.
//!
//! Whether the host of a URI belongs to the client is not checked here.

use http::{HeaderValue, Response, StatusCode, Uri, header, uri::Authority};

use url::Url;

use super::response::{ResponseBody, empty};

/// Whether the port of a registered redirect URI with the host `localhost` may vary in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LocalhostPort {
    Fixed,
    Any,
}

/// Checks a redirect URI for the registration (RFC 6749 §3.1.2, RFC 8252 §7, RFC 9700 §2.1). `private_schemes` are the schemes
/// without a dot that the registration accepts. The error is what was found.
pub(crate) fn check_redirect_uri(uri: &str, private_schemes: &[String]) -> Result<(), &'static str> {
    let Some((scheme, rest)) = uri.split_once(':') else { return Err("a redirect URI is relative") };
    // Valid in a URI, but a request never has it: its author expects a wildcard.
    if uri.contains('*') {
        return Err("a redirect URI has a *, which is not a wildcard, so no request would match");
    }
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
            if !has_valid_port(authority) {
                return Err("a redirect URI has a port that is not a number up to 65535, so no request would match");
            }
            if scheme == "http" && !is_loopback(authority.host()) {
                return Err("a redirect URI is plain http to another machine");
            }
            Ok(())
        }
        // RFC 8252 §7.1: a domain name in reverse. This excludes `javascript:` and similar schemes.
        own if is_scheme(own) && own.contains('.') && !rest.is_empty() => Ok(()),
        own if is_private_scheme(own) && private_schemes.iter().any(|scheme| scheme == own) && !rest.is_empty() => {
            Ok(())
        }
        own if is_private_scheme(own) && rest.starts_with('/') => {
            Err("a redirect URI's scheme is not a domain name in reverse, and is not accepted by accept_private_scheme")
        }
        _ => Err("a redirect URI's scheme is not a domain name in reverse"),
    }
}

/// True if the authority has no port, an empty one, or one that exists.
fn has_valid_port(authority: &Authority) -> bool {
    let port = authority.as_str().strip_prefix(authority.host()).unwrap_or_default();
    match port.strip_prefix(':') {
        Some("") => true,
        Some(number) => number.bytes().all(|byte| byte.is_ascii_digit()) && number.parse::<u16>().is_ok(),
        None => port.is_empty(),
    }
}

/// True for a scheme in lower case that an app can have for itself (RFC 8252 §7.1). False for schemes that browsers, operating
/// systems and mail programs use: a redirect to them could run a script or reach another program.
pub(crate) fn is_private_scheme(scheme: &str) -> bool {
    let is_public = PUBLIC_SCHEMES.contains(&scheme)
        || PUBLIC_PREFIXES.iter().any(|prefix| scheme.starts_with(prefix))
        || scheme.ends_with(PUBLIC_SUFFIX);
    is_scheme(scheme) && !scheme.contains(char::is_uppercase) && !is_public
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
/// of a loopback address, which an app can't know in advance. A request without one uses the only registered one. The error is
/// a text for the user.
pub(crate) fn matching_redirect_uri<'u>(
    registered: &'u [String],
    requested: Option<&'u str>,
    localhost: LocalhostPort,
) -> Result<&'u str, &'static str> {
    let requested = match (requested, registered) {
        (Some(requested), _) => requested,
        (None, [only]) => return Ok(only),
        (None, _) => return Err(NOT_REGISTERED),
    };
    let matches =
        |localhost| registered.iter().any(|own| own == requested || differs_only_in_port(own, requested, localhost));
    if matches(localhost) {
        return Ok(requested);
    }
    Err(if matches(LocalhostPort::Any) { LOCALHOST_PORT_IS_FIXED } else { NOT_REGISTERED })
}

/// True for the origin of a registered redirect URI, as browsers send it (RFC 6454 §6.2). The ports of loopback addresses vary
/// as those of redirect URIs do.
pub(crate) fn has_origin(registered: &[String], origin: &str, localhost: LocalhostPort) -> bool {
    let origins = registered.iter().filter_map(|uri| Some(Url::parse(uri).ok()?.origin()));
    // A private scheme has no origin.
    let mut origins = origins.filter(url::Origin::is_tuple).map(|own| own.ascii_serialization());
    origins.any(|own| own == origin || differs_only_in_port(&own, origin, localhost))
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

fn differs_only_in_port(registered: &str, requested: &str, localhost: LocalhostPort) -> bool {
    without_port(registered, localhost).is_some_and(|own| without_port(requested, localhost) == Some(own))
}

/// Returns a loopback URI without its port: what is before and after it. By default addresses only, because a name may resolve
/// to another machine (RFC 8252 §8.3).
fn without_port(uri: &str, localhost: LocalhostPort) -> Option<(&str, &str)> {
    let name = (localhost == LocalhostPort::Any).then_some("http://localhost");
    let mut hosts = ["http://127.0.0.1", "http://[::1]"].into_iter().chain(name);
    let (host, rest) = hosts.find_map(|host| Some((host, uri.strip_prefix(host)?)))?;
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

const NOT_REGISTERED: &str = "The redirect_uri is not registered for the client";
const LOCALHOST_PORT_IS_FIXED: &str = "The redirect_uri has a port of localhost that is not registered for the client. \
    Only 127.0.0.1 and [::1] may have any port, because the name localhost can resolve to another machine (RFC 8252 section \
    8.3). The server can be configured to accept any port of localhost for this client";
/// Schemes of browsers, operating systems and protocols, which belong to no app.
const PUBLIC_SCHEMES: [&str; 69] = [
    "about",
    "afp",
    "android-app",
    "blob",
    "bluetooth",
    "brave",
    "callto",
    "chrome",
    "cid",
    "content",
    "data",
    "dav",
    "dns",
    "ed2k",
    "edge",
    "facetime",
    "facetime-audio",
    "feed",
    "file",
    "filesystem",
    "firefox",
    "ftp",
    "ftps",
    "geo",
    "git",
    "help",
    "http",
    "https",
    "imap",
    "intent",
    "irc",
    "ircs",
    "itms",
    "jar",
    "javascript",
    "ldap",
    "ldaps",
    "livescript",
    "magnet",
    "mailto",
    "market",
    "mhtml",
    "microsoft-edge",
    "mk",
    "mocha",
    "news",
    "nfs",
    "nntp",
    "opera",
    "pop",
    "resource",
    "rtsp",
    "search",
    "search-ms",
    "sftp",
    "shell",
    "sip",
    "sips",
    "smb",
    "sms",
    "ssh",
    "tel",
    "telnet",
    "urn",
    "vbscript",
    "view-source",
    "webcal",
    "ws",
    "wss",
];
/// What the names of further such schemes begin with. A web page can register itself for `web+…`.
const PUBLIC_PREFIXES: [&str; 5] = ["itms-", "microsoft-edge-", "ms-", "web+", "x-apple-"];
/// What the names of further such schemes end with: those of the extensions of browsers.
const PUBLIC_SUFFIX: &str = "-extension";

#[cfg(test)]
mod tests {
    use super::{LOCALHOST_PORT_IS_FIXED, LocalhostPort, NOT_REGISTERED, check_redirect_uri, is_private_scheme};

    /// RFC 9700 §2.1 a (MUST, refuses)
    /// Threat T16
    #[test]
    fn accepts_a_registered_redirect_uri_byte_for_byte() {
        let registered = ["https://app.test/cb?x=1".to_owned(), "http://127.0.0.1/cb".to_owned()];
        let [only, loopback] = &registered;
        let matching_redirect_uri = |registered, requested| {
            let found = super::matching_redirect_uri(registered, requested, LocalhostPort::Fixed);
            found.map_err(|error| assert_eq!(error, NOT_REGISTERED)).ok()
        };
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

    /// RFC 8252 §7.3 (MUST, NOT RECOMMENDED, refuses)
    /// Threat T16
    #[test]
    fn the_port_of_localhost_may_vary_only_if_configured() {
        let registered = ["http://localhost/cb".to_owned(), "http://localhost:3000/x?y".to_owned()];
        let matches = |uri, localhost| super::matching_redirect_uri(&registered, Some(uri), localhost);
        for uri in ["http://localhost/cb", "http://localhost:3000/x?y"] {
            assert_eq!(matches(uri, LocalhostPort::Fixed), Ok(uri));
            assert_eq!(matches(uri, LocalhostPort::Any), Ok(uri));
        }
        for uri in
            ["http://localhost:1/cb", "http://localhost:65535/cb", "http://localhost/x?y", "http://localhost:2/x?y"]
        {
            assert_eq!(matches(uri, LocalhostPort::Fixed), Err(LOCALHOST_PORT_IS_FIXED), "{uri}");
            assert_eq!(matches(uri, LocalhostPort::Any), Ok(uri));
        }
        for uri in [
            "https://localhost:1/cb",
            "http://LOCALHOST:1/cb",
            "http://localhost.:1/cb",
            "http://localhost.evil.test/cb",
            "http://localhost:1.evil.test/cb",
            "http://localhost:1@evil.test/cb",
            "http://localhost:65536/cb",
            "http://localhost:/cb",
            "http://localhost:+1/cb",
            "http://localhost:1/other",
            "http://localhost:1/cb/",
            "http://localhost:1/cb#x",
            "http://127.0.0.1:1/cb",
            "http://[::1]:1/cb",
        ] {
            assert_eq!(matches(uri, LocalhostPort::Any), Err(NOT_REGISTERED), "{uri}");
            assert_eq!(matches(uri, LocalhostPort::Fixed), Err(NOT_REGISTERED), "{uri}");
        }
    }

    /// RFC 8252 §7.3 (MUST, NOT RECOMMENDED, refuses)
    #[test]
    fn the_port_of_a_public_host_never_varies() {
        let registered = ["http://localhost.test/cb", "https://app.test/cb", "https://localhost/cb"].map(str::to_owned);
        for uri in
            ["http://localhost.test:1/cb", "https://app.test:1/cb", "https://localhost:1/cb", "http://localhost:1/cb"]
        {
            assert_eq!(super::matching_redirect_uri(&registered, Some(uri), LocalhostPort::Any), Err(NOT_REGISTERED));
        }
    }

    /// RFC 8252 §7.1 (SHOULD, refuses)
    #[test]
    fn a_private_scheme_belongs_to_no_browser_and_no_protocol() {
        for scheme in ["cursor", "vscode", "vscode-insiders", "myapp", "x+y", "github", "msal", "com.example.app"] {
            assert!(is_private_scheme(scheme), "{scheme}");
        }
        for scheme in [
            "javascript",
            "data",
            "https",
            "view-source",
            "web+x",
            "ms-word",
            "ms-settings",
            "search",
            "search-ms",
            "microsoft-edge",
            "microsoft-edge-holographic",
            "itms-services",
            "itms-apps",
            "magnet",
            "chrome-extension",
            "moz-extension",
            "safari-web-extension",
            "shell",
            "x-apple-systempreferences",
            "blob",
            "filesystem",
            "intent",
            "Cursor",
            "JavaScript",
            "1a",
            "",
            "a:b",
            "a/b",
            "ä",
        ] {
            assert!(!is_private_scheme(scheme), "{scheme}");
            assert!(
                check_redirect_uri(&format!("{scheme}://x/cb"), &[scheme.to_owned()]).is_err() || scheme == "https"
            );
        }
    }
}
