//! What would make a token pass a check, and what that costs.

use std::fmt;

use crate::error::quoted;

/// A change that would make a token pass a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cure {
    method: Option<&'static str>,
    argument: Option<String>,
    text: String,
    cost: &'static str,
}

impl Cure {
    /// A call of a method of the builder, or of another constructor, without arguments.
    pub(super) fn call(method: &'static str, cost: &'static str) -> Self {
        Self { method: Some(method), argument: None, text: format!("{method}()"), cost }
    }

    /// A call with a text of the token. It is shortened if it is too long for a setting.
    pub(super) fn call_with(method: &'static str, argument: &str, cost: &'static str) -> Self {
        let text = format!("{method}({})", quoted(argument));
        let usable = argument.len() <= MAX_ARGUMENT_BYTES && !argument.chars().any(char::is_control);
        Self { method: Some(method), argument: usable.then(|| argument.to_owned()), text, cost }
    }

    /// A call with an argument that is not a text: `text` is how it is written in Rust.
    pub(super) fn call_as(method: &'static str, argument: String, text: &str, cost: &'static str) -> Self {
        Self { method: Some(method), argument: Some(argument), text: format!("{method}({text})"), cost }
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

    /// Returns the method's argument: the issuer, the audience, the name of a claim or an algorithm, or a number of seconds.
    /// `None` if the method has no argument, or if it is too long or has control characters.
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

const MAX_ARGUMENT_BYTES: usize = 512;
