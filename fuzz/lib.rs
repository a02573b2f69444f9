//! Shared by the targets: a constant time and one issuer.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use http::request::Parts;
use tower_oauth::{
    AuthError, ResourceServer, Token,
    error::AuthErrorKind,
    keys::Algorithm,
    testing::{ManualClock, MockIssuer},
};

pub const ISSUER: &str = "https://auth.test";
pub const API: &str = "https://api.test";
/// The constant time, at which the seeds are valid.
pub const NOW: u64 = 1_800_000_000;

pub fn issuer() -> MockIssuer {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW));
    MockIssuer::new(ISSUER).with_algorithm(Algorithm::EdDSA).with_clock(clock)
}

/// Authenticates a request. A JWT needs no waiting.
pub fn authenticate(server: &ResourceServer, parts: &Parts) -> Result<Token, AuthError> {
    at_once(server.authenticate(parts))
}

/// Polls once, which is enough because keys, clients and tokens are in memory.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits although everything is in memory"),
    }
}

/// Checks that a refusal blames the client, and that its challenge is valid.
pub fn check_refusal(server: &ResourceServer, error: &AuthError) {
    let status = match error.kind() {
        AuthErrorKind::MissingCredentials | AuthErrorKind::InvalidToken => 401,
        AuthErrorKind::InvalidRequest => 400,
        other => panic!("{other:?}"),
    };
    let challenge = server.challenge(error);
    assert_eq!(challenge.status(), status);
    let lines: Vec<&str> = challenge.www_authenticate().map(|line| line.to_str().unwrap()).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("Bearer realm=\"api\""), "{lines:?}");
    assert_eq!(lines[0].contains("error="), error.kind() != AuthErrorKind::MissingCredentials, "{lines:?}");
    assert!(!error.description().is_empty() && !error.to_string().is_empty());
}
