//! What the targets share: a world where time stands still and one issuer signs.

use std::{
    pin::pin,
    task::{Context, Poll, Waker},
    time::{Duration, SystemTime},
};

use http::request::Parts;
use tower_oauth::{
    error::AuthErrorKind,
    keys::Algorithm,
    testing::{ManualClock, MockIssuer},
    AuthError,
    ResourceServer,
    Token,
};

pub const ISSUER: &str = "https://auth.test";
pub const API: &str = "https://api.test";
/// When it always is; the seeds' dates are good then.
pub const NOW: u64 = 1_800_000_000;

pub fn issuer() -> MockIssuer {
    let clock = ManualClock::new(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW));
    MockIssuer::new(ISSUER).with_algorithm(Algorithm::EdDSA).clock(clock)
}

/// A JWT is judged without waiting.
pub fn admit(server: &ResourceServer, parts: &Parts) -> Result<Token, AuthError> {
    at_once(server.admit(parts))
}

/// Keys, clients and what was issued are in memory, so one poll is enough.
pub fn at_once<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("with all in memory it had to wait"),
    }
}

/// A refusal is the client's fault, and can be told to it.
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
