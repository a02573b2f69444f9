//! [`LifetimeState`]: the current token of a stream, which all clones of a `TokenLifetime` share.
//!
//! *In*: an accepted token, renewals and further verdicts. *Out*: what to do next: wait, ask the verifier again, or end.

use std::{mem, sync::Arc, time::Duration};

use http::request::Parts;
use serde_json::{Map, Value};
use tokio::{runtime::Handle, sync::watch};
use zeroize::Zeroizing;

use super::Ended;
use crate::{
    clock::{Deadline, Moment, SleepFuture},
    credentials::BearerMethod,
    error::{AuthError, AuthErrorKind, Reason},
    log,
    scope::{Scopes, is_scope_name},
    server::ResourceServer,
    token::Token,
    verify::Verdict,
};

pub(super) struct LifetimeState {
    server: ResourceServer,
    /// The head of the request, for verifiers that read it.
    head: Parts,
    /// The token that the request was accepted with.
    first: Token,
    current: watch::Sender<CurrentToken>,
}

struct CurrentToken {
    text: Arc<Zeroizing<String>>,
    method: BearerMethod,
    token: Token,
    /// `None`: it doesn't expire.
    end: Option<Deadline>,
    /// When it was last verified, or when the check began that is running.
    checked: Moment,
    checking: bool,
    refused: Option<AuthError>,
    /// How often the token was renewed, so that the verdict about an old token doesn't end a new one.
    renewals: u64,
}

/// What a lifetime does next.
pub(super) enum NextStep {
    End(Ended),
    /// Ask the verifier again. Only one of the clones gets this step.
    Check,
    /// Wait for a change, at most this time.
    Wait(Option<Duration>),
}

impl LifetimeState {
    pub(super) fn new(server: ResourceServer, head: Parts, method: BearerMethod, text: &str, token: Token) -> Self {
        let now = Moment::now(server.clock());
        let current = CurrentToken {
            text: Arc::new(Zeroizing::new(text.to_owned())),
            method,
            token: token.clone(),
            end: end_of(&token, &now),
            checked: now,
            checking: false,
            refused: None,
            renewals: 0,
        };
        Self { server, head, first: token, current: watch::Sender::new(current) }
    }

    /// True if the request was accepted with this token.
    pub(super) fn began_with(&self, token: &Token) -> bool {
        self.first.has_facts_of(token)
    }

    pub(super) fn token(&self) -> Token {
        self.current.borrow().token.clone()
    }

    /// Returns a receiver that sees every change from now on.
    pub(super) fn subscribe(&self) -> watch::Receiver<impl Sized> {
        self.current.subscribe()
    }

    pub(super) fn sleep(&self, time: Duration) -> SleepFuture {
        self.server.clock().sleep(time)
    }

    /// Returns what to do now. If it is a check, the caller must make it.
    pub(super) fn next_step(&self, recheck: Option<Duration>) -> NextStep {
        let now = Moment::now(self.server.clock());
        let mut next = NextStep::Wait(None);
        self.current.send_if_modified(|current| {
            next = current.next_step(recheck, &now);
            if matches!(next, NextStep::Check) {
                (current.checked, current.checking) = (now, true);
            }
            // Nothing that the others wait for.
            false
        });
        next
    }

    /// Asks the verifier again. With a tokio runtime the check runs in a task of its own, so that it ends even if the client's
    /// messages make the caller drop its future again and again.
    pub(super) async fn check_again(this: &Arc<Self>) {
        let running = RunningCheck(Arc::clone(this));
        let (text, method, renewals) = {
            let current = this.current.borrow();
            (Arc::clone(&current.text), current.method, current.renewals)
        };
        let check = running.finish(this.server.verify_text(method, &text, &this.head), renewals);
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(check)),
            Err(_) => check.await,
        }
    }

    pub(super) async fn renew(&self, text: &str) -> Result<(), AuthError> {
        let method = BearerMethod::Direct;
        let verdict = self.server.verify_text(method, text, &self.head);
        let bound = self.token();
        let renewed = self.server.accept_again(verdict.resolve().await, &bound)?;
        let now = Moment::now(self.server.clock());
        let mut result = Ok(());
        self.current.send_if_modified(|current| {
            result = check_known(&renewed).and_then(|()| check_successor(&current.token, &renewed));
            if result.is_err() {
                return false;
            }
            current.text = Arc::new(Zeroizing::new(text.to_owned()));
            (current.method, current.refused, current.checked) = (method, None, now);
            (current.end, current.token) = (end_of(&renewed, &now), renewed.clone());
            current.renewals += 1;
            true
        });
        result
    }
}

impl CurrentToken {
    fn next_step(&self, recheck: Option<Duration>, now: &Moment) -> NextStep {
        if let Some(error) = &self.refused {
            return NextStep::End(Ended::Refused(error.clone()));
        }
        if self.end.is_some_and(|end| end.is_reached(now)) {
            return NextStep::End(Ended::Expired);
        }
        let until_check = recheck.map(|interval| interval.saturating_sub(self.checked.age(now)));
        let until_check = match until_check {
            Some(Duration::ZERO) if !self.checking => return NextStep::Check,
            // The end of the check that is running is a change.
            _ if self.checking => None,
            other => other,
        };
        let until_end = self.end.map(|end| end.remaining(now));
        // Timers may not count the time that a machine is suspended.
        NextStep::Wait([until_check, until_end].into_iter().flatten().min().map(|time| time.min(MAX_SLEEP)))
    }
}

/// A check of the current token. If it doesn't finish, because the verifier panics, the next one can begin.
struct RunningCheck(Arc<LifetimeState>);

impl RunningCheck {
    async fn finish(self, verdict: Verdict, renewals: u64) {
        let state = &self.0;
        let bound = state.token();
        let verdict = state.server.accept_again(verdict.resolve().await, &bound);
        let now = Moment::now(state.server.clock());
        let mut refused = None;
        state.current.send_if_modified(|current| {
            if current.renewals != renewals {
                return false;
            }
            let verdict = verdict.and_then(|token| check_successor(&current.token, &token).map(|()| token));
            match verdict {
                Ok(token) => (current.end, current.token) = (end_of(&token, &now), token),
                Err(error) if error.kind() == AuthErrorKind::Unavailable => refused = Some(error),
                Err(error) => (current.refused, refused) = (Some(error.clone()), Some(error)),
            }
            true
        });
        if let Some(error) = refused {
            log::lifetime_refused("recheck", &error);
        }
    }
}

impl Drop for RunningCheck {
    fn drop(&mut self) {
        self.0.current.send_if_modified(|current| mem::take(&mut current.checking));
    }
}

/// Returns when a token expires. `None` if it has no `exp`.
fn end_of(token: &Token, now: &Moment) -> Option<Deadline> {
    let left = token.expires_at()?.duration_since(now.time_of_day()).unwrap_or_default();
    Some(Deadline::after(now, left))
}

/// Refuses a token of which it is not known whose it is.
fn check_known(token: &Token) -> Result<(), AuthError> {
    let known = token.subject().or_else(|| token.client_id()).is_some();
    if known { Ok(()) } else { Err(Reason::OtherIdentity.into()) }
}

fn identity(token: &Token) -> [Option<&str>; 3] {
    [token.issuer(), token.subject(), token.client_id()]
}

/// True if both tokens have the same claims in which providers name the client. For verifiers that don't read them.
fn same_client_claims(old: &Token, new: &Token) -> bool {
    let claims = |token: &Token| token.claims::<Map<String, Value>>().ok();
    let (Some(old), Some(new)) = (claims(old), claims(new)) else { return false };
    CLIENT_CLAIMS.iter().all(|name| old.get(*name) == new.get(*name))
}

/// Checks that `new` was issued to the same subject and client as `old`, and grants its scopes.
fn check_successor(old: &Token, new: &Token) -> Result<(), AuthError> {
    if identity(old) != identity(new) || (old.client_id().is_none() && !same_client_claims(old, new)) {
        return Err(Reason::OtherIdentity.into());
    }
    let scopes = old.scopes();
    if scopes.iter().all(|name| new.allows(name)) {
        return Ok(());
    }
    let legal = Scopes::new(scopes.iter().filter(|name| is_scope_name(name)));
    Err(legal.map_or_else(|_| Reason::Scope.into(), AuthError::insufficient_scope))
}

const CLIENT_CLAIMS: [&str; 4] = ["azp", "appid", "cid", "clientId"];
/// The longest sleep, so that the time of a suspended machine is noticed.
const MAX_SLEEP: Duration = Duration::from_secs(30);
