//! The pages that the user sees: what the client requests, with a form to log in and to allow or deny it. Plain HTML without
//! any script.

use std::{
    fmt::{self, Write as _},
    time::Duration,
};

use aws_lc_rs::digest;
use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, Uri, header},
    middleware::Next,
    response::{Html, IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tower_oauth::token_endpoint::AuthorizationRequest;

/// Why the form is shown again.
pub(crate) enum Problem {
    /// The page does not reveal which of the two is wrong.
    WrongNameOrPassword,
    TooManyAttempts(Duration),
    InvalidForm,
    NoAnswer,
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::WrongNameOrPassword | Self::InvalidForm => StatusCode::FORBIDDEN,
            Self::TooManyAttempts(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::NoAnswer => StatusCode::BAD_REQUEST,
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Self::WrongNameOrPassword => "Name or password is wrong.",
            Self::TooManyAttempts(_) => "Too many attempts with this name. Please wait a minute.",
            Self::InvalidForm => "This form was out of date. Please fill it in once more.",
            Self::NoAnswer => "Please choose Allow or Deny.",
        }
    }
}

/// Returns the page for login and consent.
///
/// The browser posts the form to the page's own URL, whose query contains the request. The form contains the name
/// that the client expects, or after a problem the name that the user typed.
pub(crate) fn consent(
    request: &AuthorizationRequest,
    client: &str,
    csrf: &str,
    problem: Option<(&Problem, &str)>,
) -> Response {
    let client = Escaped(client);
    let (mut alert, mut error, mut focus) = (String::new(), "", ["", ""]);
    let typed = problem.filter(|(problem, _)| !matches!(problem, Problem::InvalidForm)).map(|(_, name)| name);
    let typed = typed.or_else(|| request.login_hint()).unwrap_or_default();
    let problem = problem.map(|(problem, _)| problem);
    if let Some(problem) = problem {
        let text = problem.text();
        alert = format!(r#"<p class="alert" role="alert" id="problem"><strong>Error:</strong> {text}</p>"#);
        let (described, focused) = (r#" aria-describedby="problem""#, r#" aria-describedby="problem" autofocus"#);
        (error, focus) = ("Error: ", if typed.is_empty() { [focused, described] } else { [described, focused] });
    }
    let ([name, password], typed) = (focus, Escaped(typed));
    let scopes = list(request.scopes(), "nothing beyond knowing who you are");
    let to = Escaped(destination(request.redirect_uri()));
    let origin = origin(request);
    let resources = list(request.resources(), "no service");
    let page = format!(
        r#"{HEAD}<title>{error}Log in for {client}</title><style>{STYLE}</style></head><body><main>
<h1><bdi>{client}</bdi> asks for access</h1>{alert}{origin}
<h2>What it may do in your name</h2>{scopes}
<h2>Where it may do so</h2>{resources}
<form method="post"><h2>Log in to allow it</h2>
<input type="hidden" name="csrf" value="{csrf}">
<label for="name">Name</label>
<input id="name" name="name" value="{typed}" autocomplete="username" autocapitalize="none" spellcheck="false" required{name}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required{password}>
<p>Your answer is sent to <strong>{to}</strong>.</p>
<div class="answers"><button name="answer" value="allow">Allow</button>
<button name="answer" value="deny" formnovalidate class="second">Deny</button></div></form></main></body></html>"#
    );
    let status = problem.map_or(StatusCode::OK, Problem::status);
    let mut response = (status, Html(page)).into_response();
    if let Some(Problem::TooManyAttempts(wait)) = problem {
        response.headers_mut().insert(header::RETRY_AFTER, (wait.as_secs() + 1).into());
    }
    if let Ok(policy) = HeaderValue::try_from(policy(Some(request.redirect_uri()))) {
        response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Returns what the page says about a client that chose its name itself: the host of its document, the only part that is
/// verified, and a warning if any program on the user's machine could be the client.
fn origin(request: &AuthorizationRequest) -> String {
    let Some(host) = request.client_host().map(Escaped) else { return String::new() };
    let warning = if request.redirect_is_loopback() {
        r#"<p class="alert" role="note"><strong>Warning:</strong> The answer is sent to a program on this computer. This server
cannot verify which program that is. Allow it only if you have just started to log in there.</p>"#
    } else {
        ""
    };
    format!(
        r"<p>This app is registered nowhere. It describes itself at <strong>{host}</strong>; its name is not verified.</p>{warning}"
    )
}

/// Returns the page for a request that is not redirected to a client.
pub(crate) fn refusal(status: StatusCode, reason: &str) -> Response {
    let reason = Escaped(reason);
    let page = format!(
        r#"{HEAD}<title>Error: This request cannot be answered</title><style>{STYLE}</style></head><body><main>
<h1>This request cannot be answered</h1><p class="alert" role="alert">{reason}</p>
<p>The app that sent you here made a mistake, or is not registered here. You were not logged in.</p>
</main></body></html>"#
    );
    (status, Html(page)).into_response()
}

/// Adds the security headers to every response of a page.
pub(crate) async fn add_security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::try_from(policy(None)) {
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(policy);
    }
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// Returns a content security policy that allows only this page's style, and no frame.
///
/// Chromium applies `form-action` to every redirect after the form, also to one from the app to another host. Therefore the
/// policy allows the scheme of the redirect URI, and not only its host.
fn policy(redirect_uri: Option<&str>) -> String {
    let style = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let scheme = redirect_uri.and_then(|uri| uri.split_once(':')).map_or("", |(scheme, _)| scheme);
    let is_valid = scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let after = if is_valid && !scheme.is_empty() { format!(" {scheme}:") } else { String::new() };
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'{after}; frame-ancestors 'none'; base-uri 'none'"
    )
}

/// Returns the host of the redirect URI, or its scheme if that belongs to one app.
fn destination(redirect_uri: &str) -> &str {
    let scheme = redirect_uri.split(':').next().unwrap_or_default();
    if scheme != "https" && scheme != "http" {
        return scheme;
    }
    let authority = redirect_uri.split('/').nth(2).unwrap_or_default();
    if redirect_uri.parse::<Uri>().is_ok() { authority.split('?').next().unwrap_or_default() } else { redirect_uri }
}

fn list<'i>(items: impl Iterator<Item = &'i str>, none: &str) -> String {
    let items = items.fold(String::new(), |mut list, item| {
        let _ = write!(list, "<li>{}</li>", Escaped(item)); // writing to a String never fails
        list
    });
    if items.is_empty() { format!("<p>{none}</p>") } else { format!("<ul>{items}</ul>") }
}

/// Displays a text with the special characters of HTML and of attributes escaped.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

const HEAD: &str = r#"<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">"#;
const STYLE: &str = "\
    body{margin:0;background:#eef1f5;color:#1b1f24;font:1.0625rem/1.5 system-ui,sans-serif}\
    main{box-sizing:border-box;max-width:28rem;margin:2rem auto;padding:1.5rem 2rem 2rem;background:#fff;\
    border:1px solid #c3c9d1;border-radius:.5rem;overflow-wrap:anywhere}\
    h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.25}h2{margin:1.25rem 0 .25rem;font-size:1rem}\
    ul{margin:0;padding-left:1.25rem}p{margin:1rem 0}form{margin-top:1.5rem;border-top:1px solid #c3c9d1}\
    label{display:block;margin:.75rem 0 .25rem;font-weight:600}\
    input{box-sizing:border-box;width:100%;padding:.5rem .625rem;font:inherit;color:inherit;background:#fff;\
    border:1px solid #5b6470;border-radius:.25rem}\
    .answers{display:flex;gap:.75rem}\
    button{flex:1;padding:.625rem;font:inherit;font-weight:600;border:2px solid #0b4fb3;border-radius:.25rem;\
    background:#0b4fb3;color:#fff;cursor:pointer}button.second{background:#fff;color:#0b4fb3}\
    input:focus,button:focus-visible{outline:3px solid #b35900;outline-offset:2px}\
    .alert{padding:.75rem 1rem;background:#fdecea;border-left:.25rem solid #b3261e;color:#7a1a14}\
    @media(max-width:30rem){main{margin:0;border:0;border-radius:0;padding:1.25rem}}";
