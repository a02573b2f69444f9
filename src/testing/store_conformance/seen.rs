//! A value that must be new is stored together with the write that it comes with.

use std::sync::Arc;

use super::{
    super::store_requests::{StoreRequests, after, new_hash},
    StartedSession, Suite, count, new_text, passed,
};
use crate::token_endpoint::{Issued, Redeem, Redeemed, Refreshed, Store};

impl<S: Store> Suite<S> {
    pub(super) async fn seen(&self) {
        self.a_value_is_new_once().await;
        self.a_known_value_stops_each_write().await;
        self.only_a_write_that_is_done_stores_the_value().await;
        self.one_of_concurrent_writes_is_done().await;
    }

    async fn insert_seen(&self, requests: &StoreRequests) -> Issued {
        self.store().insert_seen(&requests.insert_seen()).await.expect("insert_seen")
    }

    async fn a_value_is_new_once(&self) {
        let (requests, jwt_id) = (self.requests(), new_text());
        let call = |store: Arc<S>, number: u64| {
            let request = requests.clone().jwt_id(&jwt_id, &number.to_string()).insert_seen();
            async move { store.insert_seen(&request).await.expect("insert_seen") }
        };
        let inserted = self.race(call).await;
        let counts = (count(&inserted, &Issued::Done), count(&inserted, &Issued::Seen));
        assert_eq!(counts, (1, 63), "of 64 calls that insert one value, one is done");
        let requests = requests.jwt_id(&jwt_id, "another");
        let at = |seconds| requests.clone().time(after(self.now, seconds));
        assert_eq!(self.insert_seen(&at(99)).await, Issued::Seen, "a value is known until it expires");
        let renewed = at(100).jwt_id(&jwt_id, "a third");
        assert_eq!(self.insert_seen(&renewed).await, Issued::Done, "an expired value is new again");
        assert_eq!(self.insert_seen(&renewed.time(after(self.now, 101))).await, Issued::Seen);
    }

    async fn a_known_value_stops_each_write(&self) {
        let session = self.session().await;
        let code = session.requests.add_code();
        self.add_code(&code).await;
        let known = session.requests.clone().jwt_id(&new_text(), "first");
        assert_eq!(self.insert_seen(&known).await, Issued::Done);
        // Also the same request again.
        let redeem = known.redeem(&code);
        assert_eq!(self.redeem(&redeem).await, Redeemed::Seen);
        assert!(!self.is_active(&redeem.access, self.now).await);
        assert_eq!(self.redeem(&known.redeem(&session.code)).await, Redeemed::Seen, "it ends no session either");
        let refresh = known.refresh(session.id(), session.first());
        assert_eq!(self.refresh(&refresh).await, Refreshed::Seen);
        assert!(!self.is_active(&refresh.access, self.now).await);
        assert_eq!(self.refresh(&known.refresh(session.id(), new_hash())).await, Refreshed::Seen, "it ends no session");
        let issue = known.issue();
        assert_eq!(self.store().issue(&issue).await.expect("issue"), Issued::Seen);
        assert!(!self.is_active(&issue.access, self.now).await);

        let new = |text: &str| session.requests.clone().jwt_id(&new_text(), text);
        assert_eq!(self.redeem(&new("a").redeem(&code)).await, Redeemed::Done, "the code was not used up");
        let refresh = new("b").refresh(session.id(), session.first());
        assert_eq!(self.refresh(&refresh).await, Refreshed::Done, "the refresh token was not used up");
    }

    async fn only_a_write_that_is_done_stores_the_value(&self) {
        let session = self.session().await;
        let new = || session.requests.clone().jwt_id(&new_text(), "first");
        let stored = [new(), new(), new(), new()];
        let code = stored[0].add_code();
        self.add_code(&code).await;
        assert_eq!(self.redeem(&stored[0].redeem(&code)).await, Redeemed::Done);
        assert_eq!(self.refresh(&stored[1].refresh(session.id(), session.first())).await, Refreshed::Done);
        let again = self.refresh(&stored[2].refresh(session.id(), session.first())).await;
        assert!(matches!(again, Refreshed::Again { .. }), "{again:?}");
        self.issue(&stored[3].issue()).await;
        for requests in &stored {
            assert_eq!(self.insert_seen(requests).await, Issued::Seen, "a write that is done stores the value");
        }

        let unstored = [new(), new(), new(), new(), new(), new(), new(), new()];
        let late = |requests: &StoreRequests| requests.clone().deadline(passed());
        let unused = session.requests.add_code();
        self.add_code(&unused).await;
        let StartedSession { code: replayed, .. } = self.session().await;
        let reused = self.session().await;
        let wrong = Redeem { code: new_hash(), ..unstored[0].redeem(&unused) };
        assert_eq!(self.redeem(&wrong).await, Redeemed::Unknown);
        assert_eq!(self.redeem(&unstored[1].redeem(&replayed)).await, Redeemed::Replayed);
        assert_eq!(self.redeem(&late(&unstored[2]).redeem(&unused)).await, Redeemed::Late);
        assert_eq!(self.refresh(&unstored[3].refresh(unused.session, new_hash())).await, Refreshed::Unknown);
        assert_eq!(self.refresh(&unstored[4].refresh(reused.id(), new_hash())).await, Refreshed::Reused);
        assert_eq!(self.refresh(&late(&unstored[5]).refresh(session.id(), session.first())).await, Refreshed::Late);
        assert_eq!(self.store().issue(&late(&unstored[6]).issue()).await.expect("issue"), Issued::Late);
        assert_eq!(self.insert_seen(&late(&unstored[7])).await, Issued::Late);
        for (number, requests) in unstored.iter().enumerate() {
            assert_eq!(
                self.insert_seen(requests).await,
                Issued::Done,
                "refused write {number} does not store the value"
            );
        }
    }

    async fn one_of_concurrent_writes_is_done(&self) {
        let (requests, jwt_id) = (self.requests(), new_text());
        let call = |store: Arc<S>, number: u64| {
            let issue = requests.clone().jwt_id(&jwt_id, &number.to_string()).issue();
            async move { (store.issue(&issue).await.expect("issue"), issue.access) }
        };
        let (issued, tokens): (Vec<_>, Vec<_>) = self.race(call).await.into_iter().unzip();
        let counts = (count(&issued, &Issued::Done), count(&issued, &Issued::Seen));
        assert_eq!(counts, (1, 63), "of 64 writes with one value, one is done");
        assert_eq!(self.count_active(&tokens, self.now).await, 1);
    }
}
