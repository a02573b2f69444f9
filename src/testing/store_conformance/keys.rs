//! Keys are published until they expire or are withdrawn.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    super::store_requests::{after, new_hash},
    Suite,
};
use crate::token_endpoint::{KeyPublished, ListKeys, PublishKey, Store, Timestamp, WithdrawKey, Written};

impl<S: Store> Suite<S> {
    pub(super) async fn keys(&self) {
        self.a_key_is_published_until_it_expires().await;
        self.a_withdrawn_key_can_not_be_published().await;
        self.each_issuer_has_its_own_keys().await;
    }

    /// Returns a request that publishes a key of a new issuer for 100 seconds.
    pub(super) fn publish_key(&self, key_id: &str) -> PublishKey {
        PublishKey {
            issuer: new_hash(),
            key_id: key_id.to_owned(),
            jwk: format!(r#"{{"kid":"{key_id}"}}"#),
            expires_at: after(self.now, 100),
            now: self.now,
            deadline: Instant::now() + Duration::from_secs(60),
        }
    }

    /// Returns a request that withdraws this key for 200 seconds.
    pub(super) fn withdraw_key(&self, published: &PublishKey) -> WithdrawKey {
        let PublishKey { issuer, key_id, now, deadline, .. } = published.clone();
        WithdrawKey { issuer, key_id, expires_at: after(self.now, 200), now, deadline }
    }

    /// Returns the ids and JWKs of the keys of the issuer, in the order of the ids.
    pub(super) async fn listed_keys(&self, published: &PublishKey, now: Timestamp) -> Vec<(String, String)> {
        let request = ListKeys { issuer: published.issuer, now };
        let listed = self.other().list_keys(&request).await.expect("list_keys");
        let mut keys: Vec<_> = listed.into_iter().map(|key| (key.key_id, key.jwk)).collect();
        keys.sort();
        keys
    }

    async fn publish(&self, request: &PublishKey) -> KeyPublished {
        self.store().publish_key(request).await.expect("publish_key")
    }

    async fn a_key_is_published_until_it_expires(&self) {
        let first = self.publish_key("ü'\" one");
        assert_eq!(self.publish(&first).await, KeyPublished::Done { since: self.now });
        let key = (first.key_id.clone(), first.jwk.clone());
        assert_eq!(self.listed_keys(&first, after(self.now, 99)).await, [key]);
        assert_eq!(
            self.listed_keys(&first, after(self.now, 100)).await.len(),
            0,
            "a publication expires at its second"
        );

        let prolonged = PublishKey { now: after(self.now, 50), expires_at: after(self.now, 150), ..first.clone() };
        let since = KeyPublished::Done { since: self.now };
        assert_eq!(self.publish(&prolonged).await, since, "a key that is prolonged was published before");
        let second = PublishKey { key_id: "two".to_owned(), ..prolonged.clone() };
        assert_eq!(self.publish(&second).await, KeyPublished::Done { since: after(self.now, 50) });
        let listed = self.other().list_keys(&ListKeys { issuer: first.issuer, now: after(self.now, 149) }).await;
        let mut listed: Vec<_> = listed.expect("list_keys").into_iter().map(|key| (key.key_id, key.since)).collect();
        listed.sort();
        assert_eq!(listed, [(second.key_id, after(self.now, 50)), (first.key_id.clone(), self.now)]);

        let again = PublishKey { now: after(self.now, 150), expires_at: after(self.now, 250), ..first };
        let since = KeyPublished::Done { since: after(self.now, 150) };
        assert_eq!(self.publish(&again).await, since, "a publication that has expired begins anew");

        let publish = self.publish_key("of two instances");
        let call = |store: Arc<S>, number| {
            let publish = PublishKey { now: after(self.now, number), ..publish.clone() };
            async move { store.publish_key(&publish).await.expect("publish_key") }
        };
        let published = self.race(call).await;
        assert!(published.iter().all(|one| Some(one) == published.first()), "all get the same time: {published:?}");
    }

    async fn a_withdrawn_key_can_not_be_published(&self) {
        let publish = self.publish_key("withdrawn");
        self.publish(&publish).await;
        self.withdraw(&self.withdraw_key(&publish)).await;
        assert_eq!(self.listed_keys(&publish, self.now).await.len(), 0, "a withdrawn key is not listed");
        let at = |seconds| PublishKey {
            now: after(self.now, seconds),
            expires_at: after(self.now, seconds + 100),
            ..publish.clone()
        };
        assert_eq!(self.publish(&at(199)).await, KeyPublished::Withdrawn);
        let since = after(self.now, 200);
        assert_eq!(self.publish(&at(200)).await, KeyPublished::Done { since }, "after the time of the withdrawal");
        let unknown = self.publish_key("never published");
        self.withdraw(&self.withdraw_key(&unknown)).await;
        assert_eq!(
            self.publish(&unknown).await,
            KeyPublished::Withdrawn,
            "a key can be withdrawn before it is published"
        );
    }

    async fn withdraw(&self, request: &WithdrawKey) {
        let withdrawn = self.store().withdraw_key(request).await.expect("withdraw_key");
        assert_eq!(withdrawn, Written::Done);
    }

    async fn each_issuer_has_its_own_keys(&self) {
        let (one, two) = (self.publish_key("same"), self.publish_key("same"));
        let other = PublishKey { jwk: "{}".to_owned(), ..two };
        self.publish(&one).await;
        self.publish(&other).await;
        assert_eq!(self.listed_keys(&one, self.now).await, [(one.key_id.clone(), one.jwk.clone())]);
        assert_eq!(self.listed_keys(&other, self.now).await, [(other.key_id.clone(), other.jwk.clone())]);
        self.withdraw(&self.withdraw_key(&one)).await;
        assert_eq!(self.listed_keys(&other, self.now).await.len(), 1, "the key of another issuer stays published");
    }
}
