//! A write whose deadline has passed does nothing.

use super::{Suite, passed};
use crate::token_endpoint::{Issued, KeyPublished, Redeemed, Refreshed, Store, Written};

impl<S: Store> Suite<S> {
    pub(super) async fn deadlines(&self) {
        self.late_uses_change_nothing().await;
        self.late_ends_change_nothing().await;
        self.late_keys_change_nothing().await;
    }

    async fn late_uses_change_nothing(&self) {
        let requests = self.requests();
        let late = requests.clone().deadline(passed());
        let code = late.add_code();
        assert_eq!(self.store().add_code(&code).await.expect("add_code"), Written::Late);
        let found = self.store().find_code(&requests.find_code(&code)).await.expect("find_code");
        assert_eq!(found, None, "a code that came too late is not stored");

        let code = requests.add_code();
        self.add_code(&code).await;
        let redeem = late.redeem(&code);
        assert_eq!(self.redeem(&redeem).await, Redeemed::Late);
        assert!(!self.is_active(&redeem.access, self.now).await);
        let redeem = requests.redeem(&code);
        assert_eq!(self.redeem(&redeem).await, Redeemed::Done, "a use that came too late uses no code up");
        assert_eq!(self.redeem(&late.redeem(&code)).await, Redeemed::Late);
        assert!(self.is_active(&redeem.access, self.now).await, "a replay that came too late ends nothing");

        let first = redeem.refresh.expect("the request has one").hash;
        let refresh = late.refresh(code.session, first);
        assert_eq!(self.refresh(&refresh).await, Refreshed::Late);
        assert!(!self.is_active(&refresh.access, self.now).await);
        let refresh = requests.clone().grace(0).refresh(code.session, first);
        assert_eq!(self.refresh(&refresh).await, Refreshed::Done, "a use that came too late uses no token up");
        let reuse = late.clone().grace(0).refresh(code.session, first);
        assert_eq!(self.refresh(&reuse).await, Refreshed::Late);
        assert!(self.is_active(&refresh.access, self.now).await, "reuse that came too late ends nothing");

        let issue = late.issue();
        assert_eq!(self.store().issue(&issue).await.expect("issue"), Issued::Late);
        assert!(!self.is_active(&issue.access, self.now).await);
        let value = late.insert_seen();
        assert_eq!(self.store().insert_seen(&value).await.expect("insert_seen"), Issued::Late);
        let mut again = requests.insert_seen();
        again.seen = value.seen;
        assert_eq!(self.store().insert_seen(&again).await.expect("insert_seen"), Issued::Done);
    }

    async fn late_ends_change_nothing(&self) {
        let session = self.session().await;
        let late = session.requests.clone().deadline(passed());
        let revoked = self.store().revoke_access(&late.revoke_access(&session.redeem.access)).await;
        assert_eq!(revoked.expect("revoke_access"), Written::Late);
        let ended = self.store().end_session(&late.end_session(session.id())).await.expect("end_session");
        assert_eq!(ended, Written::Late);
        assert!(self.is_active(&session.redeem.access, self.now).await, "a call that came too late ends nothing");
        assert_eq!(self.refresh(&session.refresh(session.first())).await, Refreshed::Done);
    }

    async fn late_keys_change_nothing(&self) {
        let mut publish = self.publish_key("late");
        let in_time = std::mem::replace(&mut publish.deadline, passed());
        assert_eq!(self.store().publish_key(&publish).await.expect("publish_key"), KeyPublished::Late);
        assert_eq!(self.listed_keys(&publish, self.now).await, [] as [(String, String); 0]);
        publish.deadline = in_time;
        let published = self.store().publish_key(&publish).await.expect("publish_key");
        assert_eq!(published, KeyPublished::Done { since: self.now });
        let mut withdraw = self.withdraw_key(&publish);
        withdraw.deadline = passed();
        assert_eq!(self.store().withdraw_key(&withdraw).await.expect("withdraw_key"), Written::Late);
        assert_eq!(self.listed_keys(&publish, self.now).await.len(), 1, "the key is published still");
    }
}
