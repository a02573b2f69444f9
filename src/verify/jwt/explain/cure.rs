//! What would make a token pass a check, and what that costs.

use std::fmt;

/// A change that would make a token pass a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cure {
    method: Option<&'static str>,
    argument: Option<String>,
    text: String,
    cost: &'static str,
}

impl Cure {
    /// A call of a method of the builder, or of another constructor.
    pub(super) fn call(method: &'static str, argument: Option<String>, cost: &'static str) -> Self {
        let shown = argument.as_ref().map(|argument| format!("{argument:?}")).unwrap_or_default();
        Self { method: Some(method), text: format!("{method}({shown})"), argument, cost }
    }

    /// Something to do that is no call.
    pub(super) fn action(text: impl Into<String>) -> Self {
        Self { method: None, argument: None, text: text.into(), cost: "" }
    }

    /// Returns the method to call, such as `accept_plain_jwt_type`. `None` if the change is not in this API's program.
    #[must_use]
    pub fn method(&self) -> Option<&'static str> {
        self.method
    }

    /// Returns the method's argument: the issuer, the audience, the name of a claim, or a number of seconds.
    #[must_use]
    pub fn argument(&self) -> Option<&str> {
        self.argument.as_deref()
    }

    /// Returns what the change costs. Empty if it costs nothing.
    #[must_use]
    pub fn cost(&self) -> &'static str {
        self.cost
    }
}

impl fmt::Display for Cure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
