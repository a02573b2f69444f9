//! Step-up: a fresher or stronger authentication for some operations (RFC 9470).
//!
//! *In*: a [`Token`]. *Out*: nothing, or the error that tells the client what to ask for.
//!
//! A token without the claim that a rule needs does not meet it.

use std::{sync::Arc, time::Duration};

use crate::{
    challenge::QuotedText,
    clock::{Clock, SystemClock},
    error::{AuthError, ConfigError, ConfigMistake},
    token::Token,
};

/// How far ahead of ours the issuer's clock may be.
const CLOCKS_DIFFER: Duration = Duration::from_secs(30);

/// How a person must have authenticated for an operation.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use std::time::Duration;
/// use tower_oauth::{AuthError, StepUp, Token};
///
/// let transfer = StepUp::new().acr("urn:example:mfa")?.max_age(Duration::from_secs(300));
///
/// fn handler(token: &Token, transfer: &StepUp) -> Result<(), AuthError> {
///     transfer.check(token)?;
///     Ok(())
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct StepUp {
    acr_values: Vec<String>,
    max_age: Option<Duration>,
    clock: Arc<dyn Clock>,
}

impl Default for StepUp {
    fn default() -> Self {
        Self::new()
    }
}

impl StepUp {
    /// No rule yet.
    pub fn new() -> Self {
        Self { acr_values: Vec::new(), max_age: None, clock: Arc::new(SystemClock::new()) }
    }

    /// One more authentication context class that is enough, the preferred first.
    ///
    /// # Errors
    /// An empty value, and one that no challenge can carry: spaces, quotes, backslashes, what is not ASCII.
    pub fn acr(mut self, value: &str) -> Result<Self, ConfigError> {
        if value.is_empty() || value.contains(' ') {
            let found = format!("{value:?} is not one value");
            return Err(ConfigMistake::new("acr", found, "give one value without spaces at a time").into());
        }
        QuotedText::new("acr", value)?;
        self.acr_values.push(value.to_owned());
        Ok(self)
    }

    /// How long ago the person may have authenticated, in whole seconds.
    pub fn max_age(self, max_age: Duration) -> Self {
        Self { max_age: Some(max_age), ..self }
    }

    /// Another source of time, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Whether the token meets the rules.
    ///
    /// # Errors
    /// [`InsufficientUserAuthentication`](crate::AuthErrorKind::InsufficientUserAuthentication), which becomes 401 with
    /// `acr_values` and `max_age`.
    pub fn check(&self, token: &Token) -> Result<(), AuthError> {
        let strong = self.acr_values.is_empty()
            || token.authentication_context().is_some_and(|acr| self.acr_values.iter().any(|value| value == acr));
        let fresh = self.max_age.is_none_or(|max_age| {
            token.authenticated_at().is_some_and(|at| match self.clock.now().duration_since(at) {
                Ok(ago) => ago <= max_age,
                Err(ahead) => ahead.duration() <= CLOCKS_DIFFER,
            })
        });
        if strong && fresh {
            return Ok(());
        }
        let acr_values = (!self.acr_values.is_empty()).then(|| self.acr_values.join(" "));
        Err(AuthError::insufficient_authentication(acr_values, self.max_age))
    }
}
