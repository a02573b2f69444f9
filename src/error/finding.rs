//! [`Finding`]: what a verifier found, what it expected, and what to change.
//!
//! *In*: the checked value and the setting that it was compared with. *Out*: texts for logs, never for the client.
//!
//! A text may contain an issuer, an audience, a `typ`, an `alg`, a `kid`, a `token_type`, a `token_use`, the name of a claim and a
//! length of time. It never contains a token, a secret or the value of any other claim.

use std::{fmt, sync::Arc};

use super::{AuthError, Reason};

/// What a verifier found when it refused a token, what it expected, and what to change. For logs, not for the client.
///
/// The texts are for people and may change. [`AuthError::reason`] is the stable name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    found: String,
    expected: String,
    change: &'static str,
    issuer: Option<Arc<str>>,
}

impl Finding {
    pub(crate) fn new(found: impl Into<String>, expected: impl Into<String>, change: &'static str) -> Self {
        Self { found: found.into(), expected: expected.into(), change, issuer: None }
    }

    /// Returns the finding with the trusted issuer whose verifier made it.
    pub(crate) fn of_issuer(self, issuer: &Arc<str>) -> Self {
        Self { issuer: Some(Arc::clone(issuer)), ..self }
    }

    /// Returns what was found.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }

    /// Returns what was expected.
    #[must_use]
    pub fn expected(&self) -> &str {
        &self.expected
    }

    /// Returns what to change, if the token should have been accepted.
    #[must_use]
    pub fn change(&self) -> &'static str {
        self.change
    }

    /// Returns the trusted issuer whose verifier refused the token. `None` if no verifier was responsible for it.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "found {}, expected {}; {}", self.found, self.expected, self.change)
    }
}

impl Reason {
    /// Returns the error with what was found, what was expected, and what to change.
    pub(crate) fn because(
        self,
        found: impl Into<String>,
        expected: impl Into<String>,
        change: &'static str,
    ) -> AuthError {
        AuthError::from(self).with_finding(Finding::new(found, expected, change))
    }
}

/// Quotes a text from a token, for a log: escaped, and at most [`MAX_QUOTED_BYTES`] long.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if quoted.len() >= MAX_QUOTED_BYTES {
            quoted.push('…');
            break;
        }
        quoted.extend(character.escape_debug());
    }
    quoted.push('"');
    quoted
}

/// Quotes several texts, the first [`MAX_QUOTED_TEXTS`] of them.
pub(crate) fn quoted_list<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let mut texts = texts.into_iter();
    let shown: Vec<String> = texts.by_ref().take(MAX_QUOTED_TEXTS).map(quoted).collect();
    let more = if texts.next().is_some() { " and more" } else { "" };
    shown.join(", ") + more
}

/// True if one identifier is the other with a slash at its end.
pub(crate) fn differ_by_trailing_slash(one: &str, other: &str) -> bool {
    one.strip_suffix('/') == Some(other) || other.strip_suffix('/') == Some(one)
}

/// Returns how two identifiers differ, if they look like the same one.
pub(crate) fn likely_slip(found: &str, expected: &str) -> Option<&'static str> {
    // Without copies: any client chooses the length of the text, and it is compared with every trusted issuer.
    fn path(text: &str) -> Option<&str> {
        let (_, rest) = text.split_once("://")?;
        rest.find('/').map(|slash| rest.split_at(slash).1)
    }
    if found == expected {
        None
    } else if differ_by_trailing_slash(found, expected) {
        Some("they differ by a trailing slash only: configure exactly the text in the tokens")
    } else if found.eq_ignore_ascii_case(expected) {
        Some("they differ in upper and lower case only: configure exactly the text in the tokens")
    } else if path(found).is_some_and(|path_of_found| path_of_found.len() > 1 && path(expected) == Some(path_of_found))
    {
        Some(
            "only scheme, host or port differ: the client got the token at another address of the same server. Configure \
             the address in the tokens, or let the server write one public address into all tokens",
        )
    } else {
        None
    }
}

const MAX_QUOTED_BYTES: usize = 128;
const MAX_QUOTED_TEXTS: usize = 4;
