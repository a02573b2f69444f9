//! What a refusal says: the status and the challenges (RFC 6750 §3, RFC 9110 §11.6.1, RFC 9470 §3, RFC 9728 §5.1).
//!
//! *In*: an [`AuthError`] and what the server knows of itself. *Out*: headers that are legal by construction.
//!
//! Nothing of the token gets in here: texts are from a fixed list, scopes are the route's.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    error::{AuthError, AuthErrorKind, ConfigError, ConfigMistake},
    scope::Scopes,
};

/// Status and headers of a refusal. [`ResourceServer::challenge`](crate::ResourceServer::challenge) makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    status: StatusCode,
    lines: Vec<HeaderValue>,
    retry_after: Option<HeaderValue>,
}

/// What the server says of itself in every challenge.
#[derive(Debug, Clone)]
pub(crate) struct Doorplate {
    pub(crate) realm: QuotedText,
    pub(crate) resource_metadata: Option<QuotedText>,
    pub(crate) scopes: Option<Scopes<'static>>,
    pub(crate) others: Vec<SchemeChallenge>,
}

impl Default for Doorplate {
    fn default() -> Self {
        Self { realm: QuotedText("api".to_owned()), resource_metadata: None, scopes: None, others: Vec::new() }
    }
}

impl Challenge {
    pub(crate) fn new(error: &AuthError, doorplate: &Doorplate) -> Self {
        let mut lines = Vec::new();
        if challenges(error.kind()) {
            lines.extend(bearer(error, doorplate).into_header());
        }
        if error.kind() == AuthErrorKind::MissingCredentials {
            lines.extend(doorplate.others.iter().cloned().filter_map(SchemeChallenge::into_header));
        }
        let retry_after = (error.kind() == AuthErrorKind::Unavailable).then(|| {
            let wait = error.retry_after().unwrap_or(Duration::from_secs(1));
            HeaderValue::from(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)))
        });
        Self { status: status(error.kind()), lines, retry_after }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The values of `WWW-Authenticate`, one header line each.
    pub fn www_authenticate(&self) -> impl Iterator<Item = &HeaderValue> {
        self.lines.iter()
    }

    /// Writes the headers, over any that stand there.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        headers.remove(header::WWW_AUTHENTICATE);
        for line in &self.lines {
            headers.append(header::WWW_AUTHENTICATE, line.clone());
        }
        if let Some(retry_after) = &self.retry_after {
            headers.insert(header::RETRY_AFTER, retry_after.clone());
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

fn status(kind: AuthErrorKind) -> StatusCode {
    match kind {
        AuthErrorKind::InvalidRequest => StatusCode::BAD_REQUEST,
        AuthErrorKind::InsufficientScope => StatusCode::FORBIDDEN,
        AuthErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        AuthErrorKind::MissingLayer => StatusCode::INTERNAL_SERVER_ERROR,
        AuthErrorKind::MissingCredentials
        | AuthErrorKind::InvalidToken
        | AuthErrorKind::InsufficientUserAuthentication => StatusCode::UNAUTHORIZED,
    }
}

/// Whether the client can do something about it with credentials.
fn challenges(kind: AuthErrorKind) -> bool {
    !matches!(kind, AuthErrorKind::Unavailable | AuthErrorKind::MissingLayer)
}

/// The code of RFC 6750 §3.1 or RFC 9470 §3; none where no authentication was tried.
pub(crate) fn error_code(kind: AuthErrorKind) -> Option<&'static str> {
    match kind {
        AuthErrorKind::InvalidRequest => Some("invalid_request"),
        AuthErrorKind::InvalidToken => Some("invalid_token"),
        AuthErrorKind::InsufficientScope => Some("insufficient_scope"),
        AuthErrorKind::InsufficientUserAuthentication => Some("insufficient_user_authentication"),
        AuthErrorKind::MissingCredentials | AuthErrorKind::Unavailable | AuthErrorKind::MissingLayer => None,
    }
}

fn bearer(error: &AuthError, doorplate: &Doorplate) -> SchemeChallenge {
    let mut line = SchemeChallenge { line: "Bearer".to_owned(), names: Vec::new() };
    line.push("realm", &doorplate.realm.0);
    if let Some(code) = error_code(error.kind()) {
        line.push("error", code);
        line.push("error_description", error.description());
    }
    let known = matches!(error.kind(), AuthErrorKind::MissingCredentials | AuthErrorKind::InvalidToken);
    if let Some(scopes) = error.scopes().or_else(|| doorplate.scopes.as_ref().filter(|_| known)) {
        line.push("scope", &scopes.to_string());
    }
    let (acr_values, max_age) = error.authentication();
    if let Some(acr_values) = acr_values {
        line.push("acr_values", acr_values);
    }
    if let Some(max_age) = max_age {
        line.push("max_age", &max_age.as_secs().to_string());
    }
    if let Some(url) = &doorplate.resource_metadata {
        line.push("resource_metadata", &url.0);
    }
    line
}

/// A challenge of another scheme that is spoken on the same routes, for `WWW-Authenticate` (RFC 9110 §11.6.1).
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// let basic = tower_oauth::SchemeChallenge::new("Basic")?.parameter("realm", "reports")?;
/// assert_eq!(basic.to_string(), r#"Basic realm="reports""#);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeChallenge {
    line: String,
    names: Vec<String>,
}

impl SchemeChallenge {
    /// A scheme without parameters yet.
    ///
    /// # Errors
    /// The name is not a token (RFC 9110 §5.6.2).
    pub fn new(scheme: &str) -> Result<Self, ConfigError> {
        check_token(scheme)?;
        Ok(Self { line: scheme.to_owned(), names: Vec::new() })
    }

    /// Adds `name="value"`.
    ///
    /// # Errors
    /// The name is not a token or stands there already, or the value has characters that RFC 6750 §3 does not allow.
    pub fn parameter(mut self, name: &str, value: &str) -> Result<Self, ConfigError> {
        check_token(name)?;
        if self.names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(
                ConfigMistake::new("challenge", format!("{name:?} stands twice"), "name each parameter once").into()
            );
        }
        let QuotedText(value) = QuotedText::new("challenge", value)?;
        self.push(name, &value);
        Ok(self)
    }

    fn push(&mut self, name: &str, value: &str) {
        let separator = if self.names.is_empty() { " " } else { ", " };
        self.line.push_str(separator);
        self.line.push_str(name);
        self.line.push_str("=\"");
        self.line.push_str(value);
        self.line.push('"');
        self.names.push(name.to_owned());
    }

    /// Always there: the line is made of tokens and quoted text.
    fn into_header(self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.line).ok()
    }
}

impl fmt::Display for SchemeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

fn check_token(text: &str) -> Result<(), ConfigError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(legal) {
        return Ok(());
    }
    Err(ConfigMistake::new("challenge", format!("{text:?} is not a token"), "use the characters of RFC 9110 §5.6.2")
        .into())
}

/// Text that stands between quotes without escapes: `%x20-21 / %x23-5B / %x5D-7E` (RFC 6750 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuotedText(String);

impl QuotedText {
    pub(crate) fn new(setting: &'static str, text: &str) -> Result<Self, ConfigError> {
        if text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            return Ok(Self(text.to_owned()));
        }
        let change = "use printable ASCII without quote and backslash (RFC 6750 §3)";
        Err(ConfigMistake::new(setting, format!("{text:?} has characters that no challenge can carry"), change).into())
    }
}
