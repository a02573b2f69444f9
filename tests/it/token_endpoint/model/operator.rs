//! What an operator does, and sees.

use tower_oauth::token_endpoint::{Store, StoreError};

use super::{
    USERS,
    clients::IDS,
    expected::{End, Failure},
    trial::Trial,
};
use crate::token_endpoint::stores::faulty_store::Fault;

impl<S: Store + Clone> Trial<S> {
    pub(super) async fn end_session(&mut self, session: usize, failure: Failure) {
        let Some(id) = self.id(session) else { return };
        self.plan(failure);
        let ended = self.world().endpoint.clone().end_session(id).await;
        self.store.clear();
        assert_eq!(ended.is_err(), matches!(failure, Failure::Write(_)), "{ended:?}");
        check_error(ended, failure);
        // An operator repeats a call that has failed.
        if matches!(failure, Failure::Write(_)) {
            self.world().endpoint.clone().end_session(id).await.unwrap();
        }
        self.model.end(session, End::Ended);
        self.are_inactive(&[session]).await;
    }

    pub(super) async fn end_subject(&mut self, user: usize, failure: Failure) {
        let alive = self.model.alive_where(|session| session.user == user);
        self.plan(failure);
        let ended = self.world().endpoint.clone().end_sessions_of_subject(USERS[user]).await;
        self.store.clear();
        if let Some(count) = Self::remaining(alive.len(), failure, ended) {
            assert_eq!(self.world().endpoint.clone().end_sessions_of_subject(USERS[user]).await.unwrap(), count);
        }
        self.all_ended(&alive).await;
    }

    pub(super) async fn end_client(&mut self, client: usize, failure: Failure) {
        let alive = self.model.alive_where(|session| session.client == client);
        self.plan(failure);
        let ended = self.world().endpoint.clone().end_sessions_of_client(IDS[client]).await;
        self.store.clear();
        if let Some(count) = Self::remaining(alive.len(), failure, ended) {
            assert_eq!(self.world().endpoint.clone().end_sessions_of_client(IDS[client]).await.unwrap(), count);
        }
        self.all_ended(&alive).await;
    }

    /// Checks the answer of a call that ends several sessions. Returns how many are left, if it must be repeated.
    fn remaining(alive: usize, failure: Failure, ended: Result<usize, StoreError>) -> Option<usize> {
        // Without a session, nothing is written.
        let fails = failure == Failure::Read || (matches!(failure, Failure::Write(_)) && alive > 0);
        if !fails {
            assert_eq!(ended.unwrap(), alive);
            return None;
        }
        check_error(ended.map(drop), failure);
        Some(alive - usize::from(failure == Failure::Write(Fault::Lost)))
    }

    async fn all_ended(&mut self, sessions: &[usize]) {
        for session in sessions {
            self.model.end(*session, End::Ended);
        }
        self.are_inactive(sessions).await;
    }

    /// An ended session has no active token.
    async fn are_inactive(&mut self, sessions: &[usize]) {
        let is_of = |at: &usize| self.model.access[*at].session.is_some_and(|session| sessions.contains(&session));
        let tokens: Vec<_> = (0..self.model.access.len()).filter(is_of).collect();
        assert!(tokens.iter().all(|at| !self.model.is_active(&self.model.access[*at])));
        self.agree(tokens.into_iter()).await;
    }

    /// Compares the list of each user with the model.
    pub(super) async fn lists_are_exact(&mut self) {
        for (user, name) in USERS.iter().enumerate() {
            let alive = self.model.alive_where(|session| session.user == user);
            let redeemed = alive.into_iter().filter(|session| self.model.is_redeemed(*session));
            let mut expected: Vec<_> = redeemed
                .map(|at| {
                    let session = &self.model.sessions[at];
                    (self.id(at).unwrap(), IDS[session.client].to_owned(), session.since, session.last_used_at)
                })
                .collect();
            expected.sort();
            let listed = self.world().endpoint.clone().sessions_of_subject(name, None).await.unwrap();
            let seconds =
                |time: std::time::SystemTime| time.duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let listed: Vec<_> = listed
                .iter()
                .map(|session| {
                    let times = (seconds(session.since()), seconds(session.last_used_at()));
                    (session.id(), session.client_id().to_owned(), times.0, times.1)
                })
                .collect();
            assert_eq!(listed, expected, "the sessions of {name}");
        }
    }
}

/// Checks that an error says whether something may have been done.
fn check_error(result: Result<(), StoreError>, failure: Failure) {
    if let Failure::Write(fault) = failure {
        assert_eq!(result.unwrap_err().may_be_executed(), fault.is_unknown());
    }
}
