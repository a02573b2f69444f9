//! Step-up: some operations require that the user authenticated recently or strongly enough (RFC 9470).
//!
//! *In*: a [`Token`]. *Out*: nothing, or the error that lists what the client must request.
//!
//! A token without the claim that a requirement needs doesn't meet it. As a layer:
//! [`RequireStepUpLayer`](crate::layer::require::RequireStepUpLayer).

use std::{sync::Arc, time::Duration};

use crate::{
    challenge::QuotedText,
    clock::{Clock, SystemClock},
    config_error::{ConfigError, ConfigMistake, MistakeCollector},
    error::AuthError,
    token::Token,
};

/// Requirements of an operation for the user's authentication: how recent and how strong.
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use std::time::Duration;
/// use tower_oauth::{AuthError, Token, step_up::StepUp};
///
/// let transfer = StepUp::builder().acr("urn:example:mfa").max_age(Duration::from_secs(300)).build()?;
///
/// fn handler(token: &Token, transfer: &StepUp) -> Result<(), AuthError> {
///     transfer.check(token)?;
///     Ok(())
/// }
/// # Ok(())
/// # }
/// ```
#[doc(alias("acr", "max_age"))]
#[derive(Debug, Clone)]
pub struct StepUp {
    acr_values: Vec<String>,
    max_age: Option<Duration>,
    clock: Arc<dyn Clock>,
}

/// Builder for a [`StepUp`]. [`build`](Self::build) reports every mistake at once.
#[derive(Debug, Clone)]
#[must_use]
pub struct StepUpBuilder {
    acr_values: Vec<String>,
    max_age: Option<Duration>,
    clock: Arc<dyn Clock>,
}

impl StepUp {
    /// Returns a builder without any requirement.
    pub fn builder() -> StepUpBuilder {
        StepUpBuilder { acr_values: Vec::new(), max_age: None, clock: Arc::new(SystemClock::new()) }
    }

    /// Checks the token against the requirements.
    ///
    /// # Errors
    /// [`InsufficientUserAuthentication`](crate::error::AuthErrorKind::InsufficientUserAuthentication), which becomes 401 with
    /// `acr_values` and `max_age`.
    pub fn check(&self, token: &Token) -> Result<(), AuthError> {
        let strong = self.acr_values.is_empty()
            || token.authentication_context().is_some_and(|acr| self.acr_values.iter().any(|value| value == acr));
        let recent = self.max_age.is_none_or(|max_age| {
            token.authenticated_at().is_some_and(|at| match self.clock.now().duration_since(at) {
                Ok(ago) => ago <= max_age,
                Err(ahead) => ahead.duration() <= LEEWAY,
            })
        });
        if strong && recent {
            return Ok(());
        }
        let acr_values = (!self.acr_values.is_empty()).then(|| self.acr_values.join(" "));
        Err(AuthError::insufficient_authentication(acr_values, self.max_age))
    }
}

impl StepUpBuilder {
    /// Adds an accepted authentication context class (`acr`). For several values, call it several times, with the
    /// preferred value first.
    pub fn acr(mut self, value: impl Into<String>) -> Self {
        self.acr_values.push(value.into());
        self
    }

    /// Maximum time since the user authenticated. The challenge states it in whole seconds. Default: unlimited.
    pub fn max_age(self, max_age: Duration) -> Self {
        Self { max_age: Some(max_age), ..self }
    }

    /// Uses another clock, for tests.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Builds the requirements.
    ///
    /// # Errors
    /// Every mistake at once: an empty `acr` value, or one that a challenge can't carry because it has spaces, quotes,
    /// backslashes or characters outside ASCII.
    pub fn build(self) -> Result<StepUp, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        for value in &self.acr_values {
            mistakes.check(check_acr(value));
        }
        mistakes.finish()?;
        Ok(StepUp { acr_values: self.acr_values, max_age: self.max_age, clock: self.clock })
    }
}

fn check_acr(value: &str) -> Result<(), ConfigError> {
    if value.is_empty() || value.contains(' ') {
        let found = format!("{value:?} is not one value");
        return Err(ConfigMistake::new("acr", found, "give one value without spaces in each call").into());
    }
    QuotedText::new("acr", value).map(drop)
}

/// How far the issuer's clock may be ahead of ours, so that `auth_time` is in the future.
const LEEWAY: Duration = Duration::from_secs(30);
