//! The status and the challenges of a refusal (RFC 6750 §3, RFC 9110 §11.6.1, RFC 9449 §7, RFC 9470 §3, RFC 9728 §5.1).
//!
//! *In*: an [`AuthError`] and the server's parameters. *Out*: headers that are legal by construction.
//!
//! A challenge contains no token data: fixed texts and the route's scopes only.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::{
    config_error::{ConfigError, ConfigMistake, MistakeCollector},
    error::{AuthError, AuthErrorKind, Reason},
    scheme::Scheme,
    scope::Scopes,
};

/// The status and headers of a refusal. [`ResourceServer::challenge`](crate::ResourceServer::challenge) makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    status: StatusCode,
    lines: Vec<HeaderValue>,
    retry_after: Option<HeaderValue>,
    dpop_nonce: Option<HeaderValue>,
}

/// The parameters that a server adds to its challenges.
#[derive(Debug, Clone)]
pub(crate) struct ChallengeParameters {
    pub(crate) realm: QuotedText,
    /// The URL of the metadata of each resource that the server describes; the request's host chooses one of them.
    pub(crate) resource_metadata: Vec<QuotedText>,
    pub(crate) scopes: Option<Scopes<'static>>,
    pub(crate) dpop: Option<DpopChallenge>,
    pub(crate) other_schemes: Vec<SchemeChallenge>,
}

/// What a server that checks proofs adds to its challenges (RFC 9449 §7.1).
#[derive(Debug, Clone)]
pub(crate) struct DpopChallenge {
    /// `algs`: the accepted algorithms of proofs, separated by spaces.
    pub(crate) algorithms: String,
    /// True if the server accepts tokens that are bound to certificates, under the scheme `Bearer`.
    pub(crate) certificates: bool,
    /// True if the server accepts no token under the scheme `Bearer`.
    pub(crate) only: bool,
}

/// What a request decides about the challenges of its refusal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChallengeTarget {
    /// The index of the identifier of the resource that the request was sent to.
    pub(crate) resource: usize,
    /// The scheme that the request used.
    pub(crate) scheme: Scheme,
}

impl ChallengeTarget {
    /// Returns the target of a refusal whose request isn't known.
    pub(crate) fn unknown(error: &AuthError) -> Self {
        let of_proof = matches!(error.kind(), AuthErrorKind::InvalidDpopProof | AuthErrorKind::UseDpopNonce)
            || matches!(error.exact_reason(), Reason::NotBound | Reason::OtherKey);
        Self { resource: 0, scheme: if of_proof { Scheme::Dpop } else { Scheme::Bearer } }
    }
}

impl Default for ChallengeParameters {
    fn default() -> Self {
        let realm = QuotedText("api".to_owned());
        Self { realm, resource_metadata: Vec::new(), scopes: None, dpop: None, other_schemes: Vec::new() }
    }
}

impl Challenge {
    pub(crate) fn new(error: &AuthError, parameters: &ChallengeParameters) -> Self {
        Self::for_request(error, parameters, ChallengeTarget::unknown(error))
    }

    /// Returns the challenge for this request.
    pub(crate) fn for_request(error: &AuthError, parameters: &ChallengeParameters, target: ChallengeTarget) -> Self {
        let mut lines = Vec::new();
        if has_challenge(error.kind()) {
            let metadata = parameters.resource_metadata.get(target.resource);
            let offered = offered_schemes(error, parameters.dpop.as_ref(), target.scheme);
            let challenges = offered.map(|(scheme, code)| token_challenge(scheme, code, error, parameters, metadata));
            lines.extend(challenges.filter_map(SchemeChallenge::into_header));
        }
        if error.kind() == AuthErrorKind::MissingCredentials {
            lines.extend(parameters.other_schemes.iter().cloned().filter_map(SchemeChallenge::into_header));
        }
        let retry_after = (error.kind() == AuthErrorKind::Unavailable).then(|| {
            let wait = error.retry_after().unwrap_or(Duration::from_secs(1));
            HeaderValue::from(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)))
        });
        Self { status: status(error.kind()), lines, retry_after, dpop_nonce: None }
    }

    /// Adds the nonce for the client's next proof (RFC 9449 §9).
    pub(crate) fn with_dpop_nonce(self, nonce: Option<HeaderValue>) -> Self {
        Self { dpop_nonce: nonce, ..self }
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Returns the values of `WWW-Authenticate`, one for each header line.
    pub fn www_authenticate(&self) -> impl Iterator<Item = &HeaderValue> {
        self.lines.iter()
    }

    /// Writes the headers, replacing existing ones.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        headers.remove(header::WWW_AUTHENTICATE);
        for line in &self.lines {
            headers.append(header::WWW_AUTHENTICATE, line.clone());
        }
        if let Some(retry_after) = &self.retry_after {
            headers.insert(header::RETRY_AFTER, retry_after.clone());
        }
        if let Some(nonce) = &self.dpop_nonce {
            headers.insert("dpop-nonce", nonce.clone());
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

fn status(kind: AuthErrorKind) -> StatusCode {
    match kind {
        AuthErrorKind::InvalidRequest => StatusCode::BAD_REQUEST,
        AuthErrorKind::InsufficientScope | AuthErrorKind::Forbidden => StatusCode::FORBIDDEN,
        AuthErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        AuthErrorKind::MissingLayer => StatusCode::INTERNAL_SERVER_ERROR,
        AuthErrorKind::MissingCredentials
        | AuthErrorKind::InvalidToken
        | AuthErrorKind::InvalidDpopProof
        | AuthErrorKind::UseDpopNonce
        | AuthErrorKind::InsufficientUserAuthentication => StatusCode::UNAUTHORIZED,
    }
}

/// True if the refusal has a challenge, because the client may succeed with other credentials.
fn has_challenge(kind: AuthErrorKind) -> bool {
    !matches!(kind, AuthErrorKind::Forbidden | AuthErrorKind::Unavailable | AuthErrorKind::MissingLayer)
}

/// Returns the error code of RFC 6750 §3.1, RFC 9449 §7.1 or RFC 9470 §3. `None` if there is no code for the kind, or if the request had no
/// credentials (RFC 6750 §3.1).
pub(crate) fn error_code(kind: AuthErrorKind) -> Option<&'static str> {
    match kind {
        AuthErrorKind::InvalidRequest => Some("invalid_request"),
        AuthErrorKind::InvalidToken => Some("invalid_token"),
        AuthErrorKind::InvalidDpopProof => Some("invalid_dpop_proof"),
        AuthErrorKind::UseDpopNonce => Some("use_dpop_nonce"),
        AuthErrorKind::InsufficientScope => Some("insufficient_scope"),
        AuthErrorKind::InsufficientUserAuthentication => Some("insufficient_user_authentication"),
        AuthErrorKind::MissingCredentials
        | AuthErrorKind::Forbidden
        | AuthErrorKind::Unavailable
        | AuthErrorKind::MissingLayer => None,
    }
}

/// Returns the schemes that the challenges name, in their order, and the error code of each. The scheme that the request used
/// comes first, and only its challenge has the code (RFC 9449 §7.2), because some clients merge the parameters of all challenges.
fn offered_schemes(
    error: &AuthError,
    dpop: Option<&DpopChallenge>,
    used: Scheme,
) -> impl Iterator<Item = (Scheme, Option<&'static str>)> {
    let (code, reason) = (error_code(error.kind()), error.exact_reason());
    let two = used == Scheme::Dpop && matches!(reason, Reason::TwoMethods | Reason::RepeatedHeader);
    let code_of = |scheme: Scheme| code.filter(|_| two || used == scheme);
    let (bearer, proof) = ((Scheme::Bearer, code_of(Scheme::Bearer)), (Scheme::Dpop, code_of(Scheme::Dpop)));
    let offered = match dpop {
        None => [Some((Scheme::Bearer, code)), None],
        // `Bearer` was used and is not offered, so its error has no challenge.
        Some(dpop) if reason == Reason::ConstraintRequired && !dpop.certificates => [Some((Scheme::Dpop, None)), None],
        // A bound token under `Bearer` is refused as on other servers.
        Some(dpop) if dpop.only && !(reason == Reason::SenderConstrained && used == Scheme::Bearer) => {
            [Some(proof), None]
        }
        Some(_) if used == Scheme::Dpop && !two => [Some(proof), Some(bearer)],
        Some(_) => [Some(bearer), Some(proof)],
    };
    offered.into_iter().flatten()
}

/// Returns the challenge of one scheme, with this error code.
fn token_challenge(
    scheme: Scheme,
    code: Option<&'static str>,
    error: &AuthError,
    parameters: &ChallengeParameters,
    resource_metadata: Option<&QuotedText>,
) -> SchemeChallenge {
    let mut line = ChallengeLine::new(match scheme {
        Scheme::Bearer => "Bearer",
        Scheme::Dpop => "DPoP",
    });
    line.push("realm", &parameters.realm.0);
    if let Some(code) = code {
        line.push("error", code);
        line.push("error_description", error.description());
    }
    let no_valid_token = matches!(
        error.kind(),
        AuthErrorKind::MissingCredentials
            | AuthErrorKind::InvalidToken
            | AuthErrorKind::InvalidDpopProof
            | AuthErrorKind::UseDpopNonce
    );
    if let Some(scopes) = error.scopes().or_else(|| parameters.scopes.as_ref().filter(|_| no_valid_token)) {
        line.push("scope", &scopes.to_string());
    }
    let (acr_values, max_age) = error.authentication();
    if let Some(acr_values) = acr_values.filter(|_| code.is_some()) {
        line.push("acr_values", acr_values);
    }
    if let Some(max_age) = max_age.filter(|_| code.is_some()) {
        line.push("max_age", &max_age.as_secs().to_string());
    }
    // RFC 9728 §5.1.
    if let Some(url) = resource_metadata {
        line.push("resource_metadata", &url.0);
    }
    if let Some(dpop) = parameters.dpop.as_ref().filter(|_| scheme == Scheme::Dpop) {
        line.push("algs", &dpop.algorithms);
    }
    line.finish()
}

/// A challenge of another authentication scheme that is accepted on the same routes (RFC 9110 §11.6.1).
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::challenge::SchemeChallenge;
///
/// let basic = SchemeChallenge::builder("Basic").parameter("realm", "reports").build()?;
/// assert_eq!(basic.to_string(), r#"Basic realm="reports""#);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemeChallenge {
    line: String,
}

/// Builder for a [`SchemeChallenge`]. [`build`](Self::build) reports every mistake at once.
#[derive(Debug, Clone)]
#[must_use]
pub struct SchemeChallengeBuilder {
    scheme: String,
    parameters: Vec<(String, String)>,
}

impl SchemeChallenge {
    /// Returns a builder for a challenge of this scheme, without parameters.
    pub fn builder(scheme: impl Into<String>) -> SchemeChallengeBuilder {
        SchemeChallengeBuilder { scheme: scheme.into(), parameters: Vec::new() }
    }

    /// True for a challenge of this scheme.
    pub(crate) fn is_for(&self, scheme: &str) -> bool {
        self.line.split(' ').next().is_some_and(|name| name.eq_ignore_ascii_case(scheme))
    }

    /// Returns the header's value. Always `Some`: the line consists of tokens and quoted texts.
    fn into_header(self) -> Option<HeaderValue> {
        HeaderValue::try_from(self.line).ok()
    }
}

impl SchemeChallengeBuilder {
    /// Adds the parameter `name="value"`.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Builds the challenge.
    ///
    /// # Errors
    /// Every mistake at once: the scheme or a parameter's name is not a token (RFC 9110 §5.6.2), a name is repeated, or a
    /// value has characters that RFC 6750 §3 does not allow.
    pub fn build(self) -> Result<SchemeChallenge, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        mistakes.check(check_http_token(&self.scheme));
        let mut line = ChallengeLine::new(&self.scheme);
        for (index, (name, value)) in self.parameters.iter().enumerate() {
            mistakes.check(check_http_token(name));
            mistakes.check(QuotedText::new("challenge", value));
            if self.parameters.iter().take(index).any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                mistakes.add("challenge", format!("{name:?} is repeated"), "name each parameter once");
            }
            line.push(name, value);
        }
        mistakes.finish()?;
        Ok(line.finish())
    }
}

impl fmt::Display for SchemeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// A challenge that is being written.
struct ChallengeLine {
    line: String,
    separator: &'static str,
}

impl ChallengeLine {
    fn new(scheme: &str) -> Self {
        Self { line: scheme.to_owned(), separator: " " }
    }

    fn push(&mut self, name: &str, value: &str) {
        for part in [self.separator, name, "=\"", value, "\""] {
            self.line.push_str(part);
        }
        self.separator = ", ";
    }

    fn finish(self) -> SchemeChallenge {
        SchemeChallenge { line: self.line }
    }
}

/// `token = 1*tchar` of the HTTP grammar, which is not an access token (RFC 9110 §5.6.2).
pub(crate) fn is_http_token(text: &[u8]) -> bool {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(legal)
}

fn check_http_token(text: &str) -> Result<(), ConfigMistake> {
    if is_http_token(text.as_bytes()) {
        return Ok(());
    }
    let found = format!("{text:?} has characters that are not allowed here, or is empty");
    Err(ConfigMistake::new("challenge", found, "use the characters of RFC 9110 §5.6.2"))
}

/// A text that needs no escapes between quotes: `%x20-21 / %x23-5B / %x5D-7E` (RFC 6750 §3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuotedText(String);

impl QuotedText {
    pub(crate) fn new(setting: &'static str, text: &str) -> Result<Self, ConfigError> {
        if text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
            return Ok(Self(text.to_owned()));
        }
        let change = "use printable ASCII without quotes and backslashes (RFC 6750 §3)";
        Err(ConfigMistake::new(setting, format!("{text:?} has characters that a challenge can't carry"), change).into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
