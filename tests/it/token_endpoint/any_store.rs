//! Tests for all stores in addition to the conformance tests, and the records that they use.

use tower_oauth::token_endpoint::{
    AccessRecord, CodeRecord, CodeTaken, Family, Issued, NewAccess, NewRefresh, Revoked, Rotated, Store, Successor,
    TokenHash,
};

use super::OPAQUE;

/// Runs the tests. No other test may use clients of these names in this store.
pub(crate) async fn behaves_like_any_store(store: &impl Store) {
    a_limit_revokes_the_oldest_active_tokens_and_does_not_count_inactive_ones(store).await;
    any_text_can_be_a_client_id_and_any_time_an_expiry(store).await;
}

async fn a_limit_revokes_the_oldest_active_tokens_and_does_not_count_inactive_ones(store: &impl Store) {
    let issue = async |access: &NewAccess, limit, now| {
        assert_eq!(store.issue(access, None, Some(limit), now).await.unwrap(), Issued::Stored);
    };
    let is_active = async |access: &NewAccess, now| store.find_access(&access.hash, now).await.unwrap().is_some();
    // All in the same second; the order of the hashes is random.
    let many: Vec<_> = (0..6).map(|_| access("a client", "a subject", 1000)).collect();
    for access in &many {
        issue(access, 4, 1).await;
    }
    for (number, access) in many.iter().enumerate() {
        assert_eq!(is_active(access, 1).await, number >= 2, "{number}");
    }
    // A revoked token, an expired one and one of a revoked family do not count.
    assert_eq!(store.revoke(&many[4].hash, "a client", 1).await.unwrap(), Revoked::Gone);
    issue(&access("a client", "a subject", 5), 4, 1).await;
    let (family, refresh) = family(store, "a client", 1000, 1).await;
    let mut of_family = access("a client", "a subject", 1000);
    of_family.record.family = Some(family.id);
    issue(&of_family, 5, 1).await;
    assert_eq!(store.revoke(&refresh.hash, "a client", 1).await.unwrap(), Revoked::Gone);
    issue(&access("a client", "a subject", 1000), 4, 5).await;
    for number in [2, 3, 5] {
        assert!(is_active(&many[number], 5).await, "{number}");
    }
    let other = access("a client", "another subject", 1000);
    issue(&other, 0, 5).await;
    assert!(
        is_active(&other, 5).await && is_active(&many[2], 5).await,
        "each subject has its own limit, of at least one"
    );
}

async fn any_text_can_be_a_client_id_and_any_time_an_expiry(store: &impl Store) {
    let long = "long ü ".repeat(20_000);
    for client in ["a client: ü'\"", "a\0b\\u0000\u{1}\u{7f}\u{2028}\u{1f511}", "", "{}:*?[a-z]\r\n", "\\\"$1", &long]
    {
        for end in [1000, u64::MAX] {
            let (family, refresh) = family(store, client, end, 1).await;
            assert_eq!(store.find_refresh(&refresh.hash, 1).await.unwrap().as_ref(), Some(&family));
            assert_eq!(store.revoke(&refresh.hash, "another", 1).await.unwrap(), Revoked::NotYours);
            let unknown = store.rotate(&refresh.hash, "another", &successor(end), 0, 1).await.unwrap();
            assert_eq!(unknown, Rotated::Unknown);
            let next = successor(end);
            let rotated = store.rotate(&refresh.hash, client, &next, u64::MAX, 1).await.unwrap();
            assert_eq!(rotated, Rotated::First(family.clone()));
            let again = store.rotate(&refresh.hash, client, &successor(end), u64::MAX, 2).await.unwrap();
            assert_eq!(again, Rotated::Again { family: family.clone(), salt: next.salt });
            let mut access = access(client, client, end);
            access.record.family = Some(family.id);
            assert_eq!(store.issue(&access, None, Some(u32::MAX), 1).await.unwrap(), Issued::Stored);
            assert_eq!(store.find_access(&access.hash, 1).await.unwrap().as_ref(), Some(&access.record));
            assert_eq!(store.find_access(&access.hash, u64::MAX).await.unwrap(), None, "every token expires");
            assert_eq!(store.revoke(&access.hash, "another", 1).await.unwrap(), Revoked::NotYours);
            assert_eq!(store.revoke(&access.hash, client, 1).await.unwrap(), Revoked::Gone);
            assert_eq!(store.find_access(&access.hash, 1).await.unwrap(), None);
        }
    }
}

/// Returns a family whose code was redeemed, and its first refresh token.
pub(crate) async fn family(store: &impl Store, client: &str, end: u64, now: u64) -> (Family, NewRefresh) {
    let (code, record) = code(client, end);
    store.add_code(&code, &record, now).await.unwrap();
    let taken = store.take_code(&code, &record.binding, now).await.unwrap();
    assert_eq!(taken, CodeTaken::First(record.family.clone()));
    let mut access = access(client, "of a family", end);
    access.record.family = Some(record.family.id.clone());
    let refresh = NewRefresh { hash: fresh_hash(), expires_at: end };
    assert_eq!(store.issue(&access, Some(&refresh), None, now).await.unwrap(), Issued::Stored);
    (record.family, refresh)
}

pub(crate) fn code(client: &str, end: u64) -> (TokenHash, CodeRecord) {
    let family = Family {
        id: format!("{:?}", fresh_hash().as_bytes()),
        client_id: client.to_owned(),
        credential: String::new(),
        subject: client.to_owned(),
        scope: client.to_owned(),
        audiences: vec![client.to_owned()],
        auth_time: Some(end),
        expires_at: end,
    };
    (fresh_hash(), CodeRecord { binding: fresh_hash(), family, expires_at: end })
}

pub(crate) fn access(client: &str, subject: &str, end: u64) -> NewAccess {
    let record = AccessRecord {
        id: client.to_owned(),
        family: None,
        client_id: client.to_owned(),
        credential: String::new(),
        subject: subject.to_owned(),
        scope: String::new(),
        audience: OPAQUE.to_owned(),
        auth_time: None,
        issued_at: 1,
        expires_at: end,
    };
    NewAccess { hash: fresh_hash(), record }
}

pub(crate) fn successor(end: u64) -> Successor {
    let hash = fresh_hash();
    Successor { hash, salt: *hash.as_bytes(), expires_at: end }
}

pub(crate) fn fresh_hash() -> TokenHash {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    TokenHash::of(&COUNT.fetch_add(1, Ordering::Relaxed).to_string())
}
