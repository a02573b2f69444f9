//! Reads settings from the environment and collects every mistake in them.

use std::{
    env,
    fmt::{self, Display, Formatter},
};

use tower_oauth::ConfigError;

/// The mistakes in the environment, one line each: `NAME: what is wrong`.
#[derive(Default)]
pub(crate) struct Mistakes(Vec<String>);

impl Mistakes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, name: impl Display, found: impl Display) {
        self.0.push(format!("{name}: {found}"));
    }

    /// Returns the value of a variable, or `None` if it is unset or wrong.
    pub(crate) fn optional(&mut self, name: &str) -> Option<String> {
        match env::var_os(name)?.into_string() {
            Ok(value) if value.trim().is_empty() => self.add(name, "it is empty"),
            Ok(value) if value.trim() != value => self.add(name, "there is space around it"),
            Ok(value) => return Some(value),
            Err(_) => self.add(name, "it is not UTF-8"),
        }
        None
    }

    /// Returns the value of a variable. It is a mistake if it is unset.
    pub(crate) fn required(&mut self, name: &str, example: &str) -> Option<String> {
        if env::var_os(name).is_none() {
            self.add(name, format_args!("it is missing; give for instance {example}"));
        }
        self.optional(name)
    }

    /// Returns the value of a result, or adds the mistakes of its error. `name` translates the crate's name of a setting into
    /// the program's name.
    pub(crate) fn check<T, N: Display>(
        &mut self,
        name: impl Fn(&'static str) -> N,
        result: Result<T, ConfigError>,
    ) -> Option<T> {
        match result {
            Ok(value) => return Some(value),
            Err(error) => error.mistakes().iter().for_each(|mistake| self.add(name(mistake.setting()), mistake)),
        }
        None
    }
}

impl Display for Mistakes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
