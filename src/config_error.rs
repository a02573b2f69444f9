//! Configuration errors, found at start-up.
//!
//! *In*: the mistakes that a builder finds. *Out*: a [`ConfigError`] that lists all of them.
//!
//! A message never contains a secret: each mistake names the setting, what was found, and what to change.

use std::{error::Error, fmt};

/// Every mistake in a configuration, reported at once.
///
/// Its `Display` has one line for each mistake. The texts are for people and may change between versions; a program that
/// needs to know which setting is wrong uses [`mistakes`](Self::mistakes). Its `Debug` is the same text, because `main` prints
/// the `Debug` of an error.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigError {
    mistakes: Vec<ConfigMistake>,
}

/// One mistake: which setting is wrong, what was found, and what to change.
#[derive(Clone, PartialEq, Eq)]
pub struct ConfigMistake {
    setting: &'static str,
    found: String,
    change: &'static str,
}

impl ConfigMistake {
    pub(crate) fn new(setting: &'static str, found: impl Into<String>, change: &'static str) -> Self {
        Self { setting, found: found.into(), change }
    }

    /// Returns the name of the setting, usually that of the builder's method.
    #[must_use]
    pub fn setting(&self) -> &'static str {
        self.setting
    }

    /// Returns what was found.
    #[must_use]
    pub fn found(&self) -> &str {
        &self.found
    }

    /// Returns what to change.
    #[must_use]
    pub fn change(&self) -> &'static str {
        self.change
    }
}

impl fmt::Display for ConfigMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.setting, self.found, self.change)
    }
}

impl fmt::Debug for ConfigMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ConfigError {
    /// Returns the mistakes, in the order in which the builder checks its settings.
    #[must_use]
    pub fn mistakes(&self) -> &[ConfigMistake] {
        &self.mistakes
    }
}

impl From<ConfigMistake> for ConfigError {
    fn from(mistake: ConfigMistake) -> Self {
        Self { mistakes: vec![mistake] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for ConfigError {}

/// Collects mistakes, so that a builder reports all of them at once.
#[derive(Debug, Clone, Default)]
pub(crate) struct MistakeCollector {
    mistakes: Vec<ConfigMistake>,
}

impl MistakeCollector {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds one mistake.
    pub(crate) fn add(&mut self, setting: &'static str, found: impl Into<String>, change: &'static str) {
        self.mistakes.push(ConfigMistake::new(setting, found, change));
    }

    /// Returns the value of a check, or collects its mistakes.
    pub(crate) fn check<T>(&mut self, checked: Result<T, impl Into<ConfigError>>) -> Option<T> {
        checked.map_err(|error| self.mistakes.extend(error.into().mistakes)).ok()
    }

    /// Adds the mistakes that another collector has found.
    pub(crate) fn append(&mut self, other: Self) {
        self.mistakes.extend(other.mistakes);
    }

    /// Returns an error if there is any mistake.
    pub(crate) fn finish(self) -> Result<(), ConfigError> {
        if self.mistakes.is_empty() { Ok(()) } else { Err(ConfigError { mistakes: self.mistakes }) }
    }
}
