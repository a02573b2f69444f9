//! The example program `protected_api`, as a process. `cargo test` builds it with the tests.

mod resource;
// The program that they drive was built with all features.
#[cfg(feature = "aws-lc-rs")]
mod sender;
#[cfg(feature = "aws-lc-rs")]
pub(crate) mod sender_fixture;
mod settings;
#[cfg(feature = "aws-lc-rs")]
mod settings_sender;

use serde_json::Value;

use crate::{
    program::{Ended, Program},
    support::Answer,
};

/// The running program, which is killed when this value is dropped.
pub(crate) struct Api(Program);

impl Api {
    /// Starts the program with these variables. Returns `None` and reports it if the program was not built.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Option<Self> {
        Program::example("protected_api").settings(settings).start("listening address=").await.map(Self)
    }

    /// Returns the address that the program listens on.
    pub(crate) fn address(&self) -> &str {
        self.0.address()
    }

    /// Returns what the program has logged.
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.lines()
    }

    /// Stops the program, which must end well. Returns what it has logged.
    pub(crate) async fn stop(self, signal: &str) -> String {
        self.0.stop(signal).await
    }

    pub(crate) async fn get(&self, path: &str, header: (&str, &str)) -> Answer {
        self.0.get(path, &[header]).await
    }

    /// Sends a request with this token, or without one if it is empty.
    pub(crate) async fn send(&self, method: &str, path: &str, token: &str) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", &*authorization)];
        self.0.send(method, path, if token.is_empty() { &[] } else { &headers }, "").await
    }

    /// Returns the status of `GET path` with this token.
    pub(crate) async fn status(&self, path: &str, token: &str) -> u16 {
        self.send("GET", path, token).await.status.as_u16()
    }

    /// Returns the response of `/whoami`, which must accept the token.
    pub(crate) async fn who_am_i(&self, token: &str) -> Value {
        let response = self.send("GET", "/whoami", token).await;
        assert_eq!(response.status, 200, "{response:?}");
        serde_json::from_str(&response.body).unwrap()
    }

    /// `/whoami` must refuse the token as `invalid_token`. Returns the challenge.
    pub(crate) async fn refusal(&self, token: &str) -> String {
        let response = self.send("GET", "/whoami", token).await;
        assert_eq!(response.status, 401, "{response:?}");
        let challenge = response.challenges()[0].to_owned();
        assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        challenge
    }
}

/// Runs the program until it ends. Returns `None` and reports it if the program was not built.
pub(crate) async fn run(settings: &[(&str, &str)], arguments: &[&str]) -> Option<Ended> {
    Program::example("protected_api").settings(settings).arguments(arguments).ends().await
}
