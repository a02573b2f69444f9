//! Settings of a program: read from the environment, and all that is wrong with them by name.

use std::{
    env,
    fmt::{self, Display, Formatter},
};

use tower_oauth::ConfigError;

/// What is wrong with the environment.
#[derive(Default)]
pub(crate) struct Mistakes(Vec<String>);

impl Mistakes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn add(&mut self, name: impl Display, found: impl Display) {
        self.0.push(format!("{name}: {found}"));
    }

    pub(crate) fn optional(&mut self, name: &str) -> Option<String> {
        match env::var_os(name)?.into_string() {
            Ok(value) if value.trim().is_empty() => self.add(name, "it is empty"),
            Ok(value) if value.trim() != value => self.add(name, "there is space around it"),
            Ok(value) => return Some(value),
            Err(_) => self.add(name, "it is not UTF-8"),
        }
        None
    }

    pub(crate) fn required(&mut self, name: &str, example: &str) -> Option<String> {
        if env::var_os(name).is_none() {
            self.add(name, format_args!("it is missing; give for instance {example}"));
        }
        self.optional(name)
    }

    /// Tells the crate's own findings by the names that they have outside of it.
    pub(crate) fn check<T, N: Display>(
        &mut self,
        name: impl Fn(&'static str) -> N,
        result: Result<T, ConfigError>,
    ) -> Option<T> {
        match result {
            Ok(good) => return Some(good),
            Err(error) => error.mistakes().iter().for_each(|it| self.add(name(it.setting()), it)),
        }
        None
    }
}

impl Display for Mistakes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}
