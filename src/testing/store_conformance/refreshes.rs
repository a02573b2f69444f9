//! A refresh token is used once, or within the grace, or as often as the endpoint allows.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::store_requests::{after, new_hash},
    StartedSession, Suite, count,
};
use crate::token_endpoint::{
    FirstRefresh, Presented, Redeem, Redeemed, Refresh, Refreshed, SessionId, Store, Successor, Timestamp, TokenHash,
};

impl<S: Store> Suite<S> {
    pub(super) async fn refreshes(&self) {
        self.a_refresh_token_has_one_winner().await;
        self.all_within_the_grace_get_one_successor().await;
        self.the_grace_has_an_end().await;
        self.a_token_without_a_successor_stays_valid().await;
        self.a_refresh_token_expires().await;
        self.any_other_token_ends_the_session().await;
        self.every_old_token_ends_the_session().await;
        self.any_time_can_be_the_end().await;
    }

    async fn a_refresh_token_has_one_winner(&self) {
        let session = self.session().await;
        let call = |store: Arc<S>, _| {
            let refresh = Refresh { grace: 0, ..session.refresh(session.first()) };
            async move { store.refresh(&refresh).await.expect("refresh") }
        };
        let refreshed = self.race(call).await;
        // After the first reuse the session has ended.
        let losers = count(&refreshed, &Refreshed::Reused) + count(&refreshed, &Refreshed::Unknown);
        let winners = count(&refreshed, &Refreshed::Done);
        assert_eq!((winners, losers), (1, 63), "of 64 calls that use one refresh token, one wins");
        assert!(count(&refreshed, &Refreshed::Reused) > 0, "reuse is detected");
        self.check_ended(&session, self.now).await;
    }

    async fn all_within_the_grace_get_one_successor(&self) {
        let session = self.session().await;
        let call = |store: Arc<S>, number| {
            let requests = session.requests.clone().time(after(self.now, number % 10));
            let refresh = requests.refresh(session.id(), session.first());
            async move { (store.refresh(&refresh).await.expect("refresh"), refresh) }
        };
        let refreshed = self.race(call).await;
        let mut winners = refreshed.iter().filter(|(refreshed, _)| *refreshed == Refreshed::Done);
        let next = winners.next().and_then(|(_, refresh)| refresh.successor).expect("one call wins");
        let again = Refreshed::Again { salt: next.salt };
        let repeated = refreshed.iter().filter(|(refreshed, _)| *refreshed == again).count();
        assert_eq!((winners.count(), repeated), (0, 63), "all others get the salt of the first");
        let tokens = refreshed.iter().map(|(_, refresh)| &refresh.access);
        assert_eq!(self.count_active(tokens, self.now).await, 64, "the access token of each of them is stored");

        let presented =
            async |token| self.find_session(&session, token, self.now).await.expect("the session").presented;
        assert_eq!(presented(session.first()).await, Presented::Last);
        assert_eq!(presented(next.hash).await, Presented::Current);
        assert_eq!(presented(new_hash()).await, Presented::Other);
        let found = self.find_session(&session, next.hash, self.now).await.expect("the session");
        assert_eq!((found.record, found.expires_at), (session.redeem.record.clone(), session.redeem.expires_at));

        assert_eq!(self.refresh(&session.refresh(next.hash)).await, Refreshed::Done, "the successor can be used");
        assert_eq!(presented(session.first()).await, Presented::Other);
        assert_eq!(self.refresh(&session.refresh(session.first())).await, Refreshed::Reused, "its successor was used");
        self.check_ended(&session, self.now).await;
    }

    async fn the_grace_has_an_end(&self) {
        // The time of the first use, the grace, the time of the second use, and whether it is within the grace.
        for (first, grace, second, passes) in [
            (0, 10, 9, true),
            (0, 10, 10, false),
            (9, 10, 0, true),
            (10, 10, 0, false),
            (0, 0, 0, false),
            (1, 0, 0, false),
            (0, 600, 599, true),
        ] {
            let session = self.session().await;
            let requests = session.requests.clone().grace(grace);
            let use_at =
                |seconds| requests.clone().time(after(self.now, seconds)).refresh(session.id(), session.first());
            let winner = use_at(first);
            assert_eq!(self.refresh(&winner).await, Refreshed::Done);
            let repeated = self.refresh(&use_at(second)).await;
            let salt = winner.successor.expect("the request has one").salt;
            let expected = if passes { Refreshed::Again { salt } } else { Refreshed::Reused };
            assert_eq!(repeated, expected, "first use at {first}, second at {second}, grace {grace}");
        }
        let session = self.session().await;
        let use_at =
            |seconds| session.requests.clone().time(after(self.now, seconds)).refresh(session.id(), session.first());
        let winner = use_at(0);
        assert_eq!(self.refresh(&winner).await, Refreshed::Done);
        let salt = winner.successor.expect("the request has one").salt;
        for seconds in [4, 8] {
            assert_eq!(self.refresh(&use_at(seconds)).await, Refreshed::Again { salt });
        }
        assert_eq!(self.refresh(&use_at(12)).await, Refreshed::Reused, "a repeated use does not prolong the grace");
        self.check_ended(&session, self.now).await;
    }

    async fn a_token_without_a_successor_stays_valid(&self) {
        let session = self.session().await;
        for seconds in [0, 900, 1800] {
            let now = after(self.now, seconds);
            let requests = session.requests.clone().time(now).grace(0);
            let refresh = Refresh { successor: None, ..requests.refresh(session.id(), session.first()) };
            assert_eq!(self.refresh(&refresh).await, Refreshed::Done, "{seconds} seconds later");
            assert!(self.is_active(&refresh.access, now).await);
            let found = self.find_session(&session, session.first(), now).await.expect("the session");
            assert_eq!(found.presented, Presented::Current);
        }
        let now = after(self.now, 2799);
        let rotated = session.requests.clone().time(now).refresh(session.id(), session.first());
        assert_eq!(self.refresh(&rotated).await, Refreshed::Done, "each use prolongs the life of the token");
        let again = session.requests.clone().time(after(now, 10)).refresh(session.id(), session.first());
        assert_eq!(self.refresh(&again).await, Refreshed::Reused, "from the first rotation on it is an old token");
        self.check_ended(&session, now).await;
    }

    async fn a_refresh_token_expires(&self) {
        let session = self.session().await;
        let at = |seconds, token| session.requests.clone().time(after(self.now, seconds)).refresh(session.id(), token);
        let first = at(999, session.first());
        assert_eq!(self.refresh(&first).await, Refreshed::Done, "in its last second");
        // A store may delete entries that have expired, so the calls are in the order of time.
        let current = first.successor.expect("the request has one").hash;
        assert!(
            self.find_session(&session, current, after(self.now, 1998)).await.is_some(),
            "its successor lives longer"
        );
        let end = after(self.now, 1999);
        assert_eq!(self.find_session(&session, current, end).await, None, "expired");
        assert_eq!(self.refresh(&at(1999, current)).await, Refreshed::Unknown, "expired");
        assert_eq!(self.refresh(&at(1999, new_hash())).await, Refreshed::Unknown, "expired");
        let used = self
            .store()
            .find_code(&session.requests.clone().time(end).find_code(&session.code))
            .await
            .expect("find_code");
        assert!(
            used.is_some_and(|found| found.is_used),
            "the code of a session whose refresh token has expired is known"
        );

        let session = self.session().await;
        let end = session.redeem.expires_at;
        let mut last = session.requests.clone().refresh(session.id(), session.first());
        last.idle_until = after(end, 1000);
        last.access.expires_at = after(end, 1000);
        assert_eq!(self.refresh(&last).await, Refreshed::Done);
        let current = last.successor.expect("the request has one").hash;
        let before_end = end.saturating_sub(Duration::from_secs(1));
        assert!(self.find_session(&session, current, before_end).await.is_some());
        assert!(self.is_active(&last.access, before_end).await);
        assert_eq!(self.find_session(&session, current, end).await, None, "the session has expired");
        assert!(!self.is_active(&last.access, end).await, "the session has expired, with its access tokens");
        let late = session.requests.clone().time(end).refresh(session.id(), current);
        assert_eq!(self.refresh(&late).await, Refreshed::Unknown, "the session has expired");
    }

    async fn any_other_token_ends_the_session(&self) {
        let requests = self.requests();
        let unknown = requests.refresh(SessionId::from([7; 16]), new_hash());
        assert_eq!(self.refresh(&unknown).await, Refreshed::Unknown, "an unknown session");
        assert!(!self.is_active(&unknown.access, self.now).await);
        let session = self.session().await;
        let wrong = session.refresh(new_hash());
        assert_eq!(self.refresh(&wrong).await, Refreshed::Reused, "a token that never existed");
        assert!(!self.is_active(&wrong.access, self.now).await);
        self.check_ended(&session, self.now).await;
        let session = self.session().await;
        let last = session.refresh(session.first());
        assert_eq!(self.refresh(&last).await, Refreshed::Done);
        assert_eq!(self.refresh(&session.refresh(new_hash())).await, Refreshed::Reused);
        assert!(!self.is_active(&last.access, self.now).await, "an ended session has no access token of any refresh");
        self.check_ended(&session, self.now).await;
    }

    async fn every_old_token_ends_the_session(&self) {
        let session = self.session().await;
        let started = Instant::now();
        let mut token = session.first();
        for rotations in 0..MANY_ROTATIONS {
            if rotations >= ROTATIONS && started.elapsed() > TIME_FOR_MANY_ROTATIONS {
                break;
            }
            token = self.rotate(&session, token).await;
        }
        assert_eq!(self.refresh(&session.refresh(session.first())).await, Refreshed::Reused, "after many rotations");
        assert_eq!(self.refresh(&session.refresh(token)).await, Refreshed::Unknown, "the session has ended");
        self.check_ended(&session, self.now).await;

        // The old tokens from the first to the last but one, each in a session of its own.
        for old in (0..ROTATIONS).step_by(5) {
            let session = self.session().await;
            let mut tokens = vec![session.first()];
            for _ in 0..=ROTATIONS {
                let next = self.rotate(&session, tokens.last().copied().unwrap_or_else(|| session.first())).await;
                tokens.push(next);
            }
            assert_eq!(
                self.refresh(&session.refresh(tokens[old])).await,
                Refreshed::Reused,
                "token {old} of a session"
            );
            self.check_ended(&session, self.now).await;
        }
    }

    async fn rotate(&self, session: &StartedSession, token: TokenHash) -> TokenHash {
        let refresh = session.refresh(token);
        assert_eq!(self.refresh(&refresh).await, Refreshed::Done);
        refresh.successor.expect("the request has one").hash
    }

    async fn any_time_can_be_the_end(&self) {
        let (requests, end) = (self.requests(), Timestamp::from_secs(u64::MAX));
        let mut code = requests.add_code();
        code.expires_at = end;
        self.add_code(&code).await;
        let first = FirstRefresh { hash: new_hash(), idle_until: end };
        let mut redeem = Redeem { refresh: Some(first), expires_at: end, ..requests.redeem(&code) };
        (redeem.access.expires_at, redeem.token_limit, redeem.session_limit) = (end, Some(u32::MAX), Some(u32::MAX));
        assert_eq!(self.redeem(&redeem).await, Redeemed::Done);
        let successor = Successor { hash: new_hash(), salt: [0xff; 32] };
        let refresh = || {
            let refresh = requests.clone().grace(u64::MAX).token_limit(u32::MAX).refresh(code.session, first.hash);
            Refresh { successor: Some(successor), idle_until: end, ..refresh }
        };
        assert_eq!(self.refresh(&refresh()).await, Refreshed::Done);
        assert_eq!(self.refresh(&refresh()).await, Refreshed::Again { salt: [0xff; 32] });
        assert!(self.is_active(&redeem.access, self.now).await);
        let request = requests.find_session(code.session, successor.hash);
        let found = self.store().find_session(&request).await.expect("find_session").expect("the session");
        assert_eq!((found.expires_at, found.presented), (end, Presented::Current));
        let ended = self.store().end_session(&requests.end_session(code.session)).await;
        ended.expect("end_session");
        assert!(!self.is_active(&redeem.access, self.now).await);
    }
}

const ROTATIONS: usize = 101;
const MANY_ROTATIONS: usize = 10_000;
const TIME_FOR_MANY_ROTATIONS: Duration = Duration::from_secs(5);
