//! Access tokens are found until they expire, and are counted.

use std::sync::Arc;

use super::{
    super::store_requests::{after, new_hash},
    StartedSession, Suite,
};
use crate::token_endpoint::{FoundAccess, Issue, NewAccess, Partition, Redeem, Redeemed, Refresh, Refreshed, Store};

impl<S: Store> Suite<S> {
    pub(super) async fn tokens(&self) {
        self.an_access_token_is_found_until_it_expires().await;
        self.a_revoked_token_is_not_found().await;
        self.a_session_ends_while_it_is_refreshed().await;
    }

    pub(super) async fn limits(&self) {
        self.the_oldest_tokens_are_revoked().await;
        self.inactive_tokens_do_not_count().await;
        self.tokens_of_all_sessions_count().await;
        self.the_oldest_sessions_end().await;
        self.limits_hold_for_concurrent_calls().await;
    }

    async fn an_access_token_is_found_until_it_expires(&self) {
        let requests = self.requests();
        let issue = requests.issue();
        let find = async |request| self.store().find_access(&request).await.expect("find_access");
        assert_eq!(find(requests.find_access(&issue.access)).await, None, "an unknown token");
        self.issue(&issue).await;
        let found = FoundAccess { record: issue.access.record.clone(), session: None };
        assert_eq!(find(requests.find_access(&issue.access)).await, Some(found));
        let mut elsewhere = requests.find_access(&issue.access);
        elsewhere.partition = Partition::from([9; 16]);
        assert_eq!(find(elsewhere).await, None, "the same hash in another partition");
        let session = self.session().await;
        let found = find(session.requests.find_access(&session.redeem.access)).await.expect("the token is active");
        assert_eq!(found.session, Some(session.redeem.record.clone()), "a session's token is found with its record");
        let tokens = [&issue.access, &session.redeem.access];
        assert_eq!(self.count_active(tokens, after(self.now, 299)).await, 2);
        assert_eq!(self.count_active(tokens, after(self.now, 300)).await, 0, "a token expires at its second");
    }

    async fn a_revoked_token_is_not_found(&self) {
        let session = self.session().await;
        let StartedSession { requests, redeem, .. } = &session;
        self.revoke(requests, &self.requests().issue().access).await;
        let mut elsewhere = redeem.access.clone();
        elsewhere.partition = Partition::from([9; 16]);
        self.revoke(requests, &elsewhere).await;
        assert!(self.is_active(&redeem.access, self.now).await, "a revocation in another partition revokes nothing");
        for _ in 0..2 {
            self.revoke(requests, &redeem.access).await;
            assert!(!self.is_active(&redeem.access, self.now).await);
        }
        let refresh = session.refresh(session.first());
        assert_eq!(self.refresh(&refresh).await, Refreshed::Done, "the session goes on");
        assert!(self.is_active(&refresh.access, self.now).await);
        for _ in 0..2 {
            self.end_session(&session).await;
            assert!(!self.is_active(&refresh.access, self.now).await);
            self.check_ended(&session, self.now).await;
        }
        let lone = requests.issue();
        self.issue(&lone).await;
        self.revoke(requests, &lone.access).await;
        assert!(!self.is_active(&lone.access, self.now).await);
        let code = requests.add_code();
        self.add_code(&code).await;
        self.store().end_session(&requests.end_session(code.session)).await.expect("end_session");
        assert_eq!(self.redeem(&requests.redeem(&code)).await, Redeemed::Unknown, "an unused code is removed");
    }

    async fn a_session_ends_while_it_is_refreshed(&self) {
        let session = self.session().await;
        let call = |store: Arc<S>, number| {
            let refresh = Refresh { successor: None, ..session.refresh(session.first()) };
            let end = session.requests.end_session(session.id());
            async move {
                if number == 32 {
                    store.end_session(&end).await.expect("end_session");
                } else {
                    let refreshed = store.refresh(&refresh).await.expect("refresh");
                    assert!(matches!(refreshed, Refreshed::Done | Refreshed::Unknown), "{refreshed:?}");
                }
                refresh.access
            }
        };
        let tokens = self.race(call).await;
        assert_eq!(self.count_active(&tokens, self.now).await, 0, "no token is found after the end of its session");
        self.check_ended(&session, self.now).await;
    }

    async fn the_oldest_tokens_are_revoked(&self) {
        // All in the same second; the order of the hashes is random.
        let requests = self.requests().token_limit(4);
        let tokens: Vec<_> = (0..6).map(|_| requests.issue()).collect();
        for issue in &tokens {
            self.issue(issue).await;
        }
        for (number, issue) in tokens.iter().enumerate() {
            assert_eq!(
                self.is_active(&issue.access, self.now).await,
                number >= 2,
                "token {number} of 6 with a limit of 4"
            );
        }
        let other = self.requests().token_limit(0).issue();
        self.issue(&other).await;
        assert!(self.is_active(&other.access, self.now).await, "a limit is at least one");
        assert!(self.is_active(&tokens[2].access, self.now).await, "each owner has its own limit");
        let last = requests.clone().token_limit(1).issue();
        self.issue(&last).await;
        assert!(self.is_active(&last.access, self.now).await, "the new token is active");
        let active = self.count_active(tokens.iter().map(|issue| &issue.access), self.now).await;
        assert_eq!(active, 0, "a lower limit revokes every token beyond it");
    }

    async fn inactive_tokens_do_not_count(&self) {
        let requests = self.requests().token_limit(3);
        let mut tokens: Vec<_> = (0..3).map(|_| requests.issue()).collect();
        tokens[1].access.expires_at = after(self.now, 5);
        for issue in &tokens {
            self.issue(issue).await;
        }
        self.revoke(&requests, &tokens[2].access).await;
        self.issue(&requests.issue()).await;
        let active = self.count_active(tokens.iter().map(|issue| &issue.access), self.now).await;
        assert_eq!(active, 2, "a revoked token does not count");
        let later = after(self.now, 5);
        self.issue(&requests.time(later).issue()).await;
        assert!(self.is_active(&tokens[0].access, later).await, "an expired token does not count");
    }

    async fn tokens_of_all_sessions_count(&self) {
        let requests = self.requests().token_limit(3);
        let first = self.session_of(requests.clone()).await;
        let second = self.session_of(requests.clone()).await;
        let refresh = first.refresh(first.first());
        assert_eq!(self.refresh(&refresh).await, Refreshed::Done);
        let active = |access| self.is_active(access, self.now);
        assert!(active(&first.redeem.access).await && active(&second.redeem.access).await);
        let third = self.session_of(requests.clone()).await;
        assert!(!active(&first.redeem.access).await, "the oldest token of all sessions is revoked");
        assert!(active(&second.redeem.access).await && active(&refresh.access).await);
        self.end_session(&third).await;
        let fourth = self.session_of(requests).await;
        assert!(active(&refresh.access).await, "the tokens of an ended session do not count");
        assert!(active(&second.redeem.access).await && active(&fourth.redeem.access).await);
        let goes_on =
            self.find_session(&first, refresh.successor.map_or_else(new_hash, |next| next.hash), self.now).await;
        assert!(goes_on.is_some(), "the session of a revoked token goes on");
    }

    async fn the_oldest_sessions_end(&self) {
        let requests = self.requests().session_limit(2);
        let pending = requests.add_code();
        self.add_code(&pending).await;
        let first = self.session_of(requests.clone()).await;
        let second = self.session_of(requests.clone()).await;
        assert!(self.is_active(&first.redeem.access, self.now).await, "an unused code does not count");
        let third = self.session_of(requests.clone()).await;
        self.check_ended(&first, self.now).await;
        assert!(self.is_active(&second.redeem.access, self.now).await);
        self.end_session(&third).await;
        assert_eq!(self.redeem(&requests.redeem(&pending)).await, Redeemed::Done);
        assert!(self.is_active(&second.redeem.access, self.now).await, "an ended session does not count");
        let other = self.session_of(self.requests().session_limit(1)).await;
        assert!(self.is_active(&second.redeem.access, self.now).await, "each owner has its own limit");
        self.session_of(other.requests.clone().session_limit(0)).await;
        self.check_ended(&other, self.now).await;

        let requests = self.requests().session_limit(1);
        let code = requests.add_code();
        self.add_code(&code).await;
        let short = Redeem { expires_at: after(self.now, 5), ..requests.redeem(&code) };
        assert_eq!(self.redeem(&short).await, Redeemed::Done);
        let later = self.session_of(requests.clone().session_limit(2)).await;
        self.session_of(requests.time(after(self.now, 5)).session_limit(2)).await;
        assert!(self.is_active(&later.redeem.access, after(self.now, 5)).await, "an expired session does not count");
    }

    async fn limits_hold_for_concurrent_calls(&self) {
        let requests = self.requests().token_limit(3);
        let call = |store: Arc<S>, _| {
            let issue: Issue = requests.issue();
            async move {
                store.issue(&issue).await.expect("issue");
                issue.access
            }
        };
        let tokens: Vec<NewAccess> = self.race(call).await;
        assert_eq!(self.count_active(&tokens, self.now).await, 3, "of 64 tokens with a limit of 3, three are active");

        let requests = self.requests().session_limit(3);
        let mut codes = Vec::new();
        for _ in 0..64 {
            codes.push(requests.add_code());
            self.add_code(codes.last().expect("it was added")).await;
        }
        let call = |store: Arc<S>, number: u64| {
            let redeem = requests.redeem(&codes[usize::try_from(number).expect("below 64")]);
            async move {
                assert_eq!(store.redeem(&redeem).await.expect("redeem"), Redeemed::Done);
                redeem.access
            }
        };
        let tokens = self.race(call).await;
        assert_eq!(self.count_active(&tokens, self.now).await, 3, "of 64 sessions with a limit of 3, three go on");
        let listed = self.store().list_sessions(&requests.list_by_subject()).await.expect("list_sessions");
        assert_eq!(listed.len(), 3);

        let session = self.session_of(self.requests().token_limit(3)).await;
        let call = |store: Arc<S>, _| {
            let refresh = Refresh { successor: None, ..session.refresh(session.first()) };
            async move {
                assert_eq!(store.refresh(&refresh).await.expect("refresh"), Refreshed::Done);
                refresh.access
            }
        };
        let tokens = self.race(call).await;
        assert_eq!(
            self.count_active(&tokens, self.now).await,
            3,
            "of 64 refreshes with a limit of 3, three tokens are active"
        );
    }
}
