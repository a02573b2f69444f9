//! What the token endpoint reports to operators: events, log and metrics.
//!
//! *In*: what has just happened. *Out*: one [`Event`] for each observer; a log event (feature `tracing`) and a counter (feature
//! `metrics`).
//!
//! An event never contains the text of a code, a token or a secret.

use std::fmt;

use super::{http::error::TokenError, store::SessionId};
use crate::log;

/// Something that an operator may want to know.
///
/// ```
/// # fn example(builder: tower_oauth::token_endpoint::TokenEndpointBuilder) {
/// use tower_oauth::token_endpoint::EventKind;
///
/// let builder = builder.observe(|event| {
///     if event.kind() == EventKind::ReuseDetected {
///         eprintln!("a refresh token of {:?} was stolen: client {:?}", event.subject(), event.client_id());
///     }
/// });
/// # let _ = builder;
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Event<'e> {
    pub(crate) kind: EventKind,
    pub(crate) client_id: Option<&'e str>,
    pub(crate) subject: Option<&'e str>,
    pub(crate) grant_type: Option<&'e str>,
    pub(crate) session: Option<SessionId>,
    pub(crate) error: Option<&'static str>,
    pub(crate) reason: Option<&'e str>,
    pub(crate) key_id: Option<&'e str>,
}

/// The kinds of events. `Display` and [`as_str`](Self::as_str) return the name in log and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// A user's approval was stored as a code.
    Approved,
    /// Tokens were issued.
    Issued,
    /// A request was refused, for the [`error`](Event::error) and [`reason`](Event::reason) of the event.
    Refused,
    /// A refresh token was used that had a successor already, or never existed in its session: two parties have the tokens of
    /// the session. The session has ended.
    ReuseDetected,
    /// A code was used again. Its session has ended.
    CodeReplayed,
    /// A client sent so many wrong secrets that it must wait.
    HeldOff,
    /// A client revoked an access token.
    Revoked,
    /// A client revoked a refresh token, or an operator ended a session.
    SessionEnded,
    /// A key was published.
    KeyAdded,
    /// A key signed for the first time.
    KeyUsed,
    /// A key was withdrawn.
    KeyWithdrawn,
    /// The store needed more than half a second for an operation, which is the [`reason`](Event::reason).
    StoreSlow,
    /// The store failed. The operation is the [`reason`](Event::reason).
    StoreFailed,
}

impl EventKind {
    /// Returns the name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Issued => "issued",
            Self::Refused => "refused",
            Self::ReuseDetected => "reuse_detected",
            Self::CodeReplayed => "code_replayed",
            Self::HeldOff => "held_off",
            Self::Revoked => "revoked",
            Self::SessionEnded => "session_ended",
            Self::KeyAdded => "key_added",
            Self::KeyUsed => "key_used",
            Self::KeyWithdrawn => "key_withdrawn",
            Self::StoreSlow => "store_slow",
            Self::StoreFailed => "store_failed",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl<'e> Event<'e> {
    pub(crate) fn new(kind: EventKind) -> Self {
        Self {
            kind,
            client_id: None,
            subject: None,
            grant_type: None,
            session: None,
            error: None,
            reason: None,
            key_id: None,
        }
    }

    /// Returns the event of a refused request.
    pub(crate) fn refused(error: &'e TokenError) -> Self {
        Self {
            client_id: error.client_id(),
            error: Some(error.kind().as_str()),
            reason: Some(error.reason()),
            ..Self::new(EventKind::Refused)
        }
    }

    /// Returns the kind.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        self.kind
    }

    /// Returns the client, if it has authenticated or is registered.
    #[must_use]
    pub fn client_id(&self) -> Option<&'e str> {
        self.client_id
    }

    /// Returns `sub`: a user, or the client itself.
    #[must_use]
    pub fn subject(&self) -> Option<&'e str> {
        self.subject
    }

    /// Returns `grant_type`, if tokens were issued.
    #[must_use]
    pub fn grant_type(&self) -> Option<&'e str> {
        self.grant_type
    }

    /// Returns the session, if there is one.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Returns `error` of the response, if the request was refused.
    #[must_use]
    pub fn error(&self) -> Option<&'static str> {
        self.error
    }

    /// Returns the exact reason, which the client does not get.
    #[must_use]
    pub fn reason(&self) -> Option<&'e str> {
        self.reason
    }

    /// Returns `kid`, if the event is about a key.
    #[must_use]
    pub fn key_id(&self) -> Option<&'e str> {
        self.key_id
    }
}

/// An observer of the application.
pub(crate) type Observer = Box<dyn Fn(&Event<'_>) + Send + Sync>;

/// The observers of one token endpoint.
#[derive(Default)]
pub(crate) struct Observers(Vec<Observer>);

impl Observers {
    pub(crate) fn add(&mut self, observer: Observer) {
        self.0.push(observer);
    }

    /// Logs and counts the event, and gives it to the observers.
    pub(crate) fn emit(&self, event: &Event<'_>) {
        log::token_endpoint_event(&log::TokenEndpointEvent {
            kind: event.kind.as_str(),
            level: event.level(),
            client_id: event.client_id,
            grant_type: event.grant_type,
            session: event.session.as_ref().map(|session| session as _),
            error: event.error,
            reason: event.reason,
            key_id: event.key_id,
        });
        for observer in &self.0 {
            observer(event);
        }
    }
}

impl Event<'_> {
    /// Only what no client can cause at will is a warning, except for a sign of theft.
    fn level(&self) -> log::EventLevel {
        match self.kind {
            EventKind::ReuseDetected | EventKind::CodeReplayed => log::EventLevel::Warn,
            EventKind::SessionEnded
            | EventKind::KeyAdded
            | EventKind::KeyUsed
            | EventKind::KeyWithdrawn
            | EventKind::StoreSlow => log::EventLevel::Info,
            // A failure is logged with its cause where the request ends.
            _ => log::EventLevel::Debug,
        }
    }
}
