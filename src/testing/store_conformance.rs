//! The tests that every [`Store`] must pass.
//!
//! *In*: a store, opened several times on the same data. *Out*: a panic if the store does not conform.
//!
//! Not tested: what a store does when its server fails.

use std::sync::Arc;

use super::encode::b64;
use crate::{
    clock::{SystemClock, unix_seconds},
    jws::random,
    token_endpoint::{
        AccessRecord, CodeRecord, CodeTaken, Family, Issued, NewAccess, NewRefresh, Revoked, Rotated, Store, Successor,
        TokenHash,
    },
};

/// Tests a store. `open` opens it on the same data each time: every instance must see what another one has stored.
///
/// Call it from a test, in a tokio runtime, on a separate database or prefix: the suite advances the time by half a day, and
/// the store may delete everything that expires until then.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use tower_oauth::{testing::store_conformance, token_endpoint::MemoryStore};
///
/// let store = MemoryStore::new();
/// store_conformance(async || store.clone()).await;
/// # }
/// ```
///
/// # Panics
/// The store does not conform; the message describes the difference.
pub async fn store_conformance<S: Store>(open: impl AsyncFn() -> S) {
    let now = unix_seconds(&SystemClock::new());
    let mut suite = Suite { stores: [Arc::new(open().await), Arc::new(open().await)], now };
    suite.a_code_has_one_winner().await;
    suite.a_code_is_bound_and_expires().await;
    suite.later().a_replayed_code_revokes_its_tokens().await;
    suite.a_refresh_token_has_one_winner().await;
    suite.a_grace_period_returns_one_successor().await;
    suite.a_refresh_token_is_bound_and_expires().await;
    suite.later().tokens_are_revoked_by_their_client_only().await;
    suite.access_tokens_expire_and_are_counted().await;
    suite.later().a_key_is_new_once().await;
    let now = suite.later().now;
    let entries = suite.store_entries().await;
    drop(suite);
    find_entries(&open().await, entries, now).await;
}

/// Two instances of the store on the same data.
struct Suite<S> {
    stores: [Arc<S>; 2],
    now: u64,
}

/// Entries that must be found after a restart.
struct StoredEntries {
    code: (TokenHash, CodeRecord),
    access: NewAccess,
    refresh: TokenHash,
    used_code: (TokenHash, TokenHash),
    key: TokenHash,
}

impl<S: Store> Suite<S> {
    fn store(&self) -> &S {
        &self.stores[0]
    }

    fn other(&self) -> &S {
        &self.stores[1]
    }

    /// Advances the time beyond everything so far: a store may delete expired entries, then or a little later.
    fn later(&mut self) -> &Self {
        self.now += 10_000;
        self
    }

    /// Returns the results of 64 concurrent tasks, on both instances.
    async fn race<T, F>(&self, call: impl Fn(Arc<S>, usize) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let tasks: Vec<_> = (0..64)
            .zip(self.stores.iter().cycle())
            .map(|(number, store)| tokio::spawn(call(Arc::clone(store), number)))
            .collect();
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.expect("a task of the race panicked"));
        }
        results
    }

    /// A family whose code was used, with an access and a refresh token.
    async fn family(&self) -> (NewAccess, NewRefresh) {
        let (code, record) = code(self.now);
        self.store().add_code(&code, &record, self.now).await.expect("add_code");
        let taken = self.other().take_code(&code, &record.binding, self.now).await.expect("take_code");
        assert_eq!(taken, CodeTaken::First(record.family.clone()), "a code returns the family that it was stored with");
        let access = access(Some(&record.family), self.now);
        let refresh = NewRefresh { hash: hash(), expires_at: self.now + 1000 };
        let issued = self.store().issue(&access, Some(&refresh), None, self.now).await.expect("issue");
        assert_eq!(issued, Issued::Stored);
        (access, refresh)
    }

    async fn is_active(&self, access: &NewAccess, now: u64) -> bool {
        let found = self.other().find_access(&access.hash, now).await.expect("find_access");
        assert!(found.iter().all(|found| *found == access.record), "an access token is found as it was stored");
        found.is_some()
    }

    async fn a_code_has_one_winner(&self) {
        let (code, record) = code(self.now);
        self.store().add_code(&code, &record, self.now).await.expect("add_code");
        let (binding, now) = (record.binding, self.now);
        let call =
            move |store: Arc<S>, _| async move { store.take_code(&code, &binding, now).await.expect("take_code") };
        let taken = self.race(call).await;
        let winners = taken.iter().filter(|taken| **taken == CodeTaken::First(record.family.clone())).count();
        let losers = taken.iter().filter(|taken| **taken == CodeTaken::Again).count();
        assert_eq!((winners, losers), (1, 63), "of 64 calls that take one code, one wins and the others are replays");
        let issued = self.store().issue(&access(Some(&record.family), now), None, None, now).await.expect("issue");
        assert_eq!(issued, Issued::FamilyRevoked, "the replays revoked the family, also for what is issued afterwards");
    }

    async fn a_code_is_bound_and_expires(&self) {
        let (code, record) = code(self.now);
        let take = async |code, binding, now| self.other().take_code(&code, &binding, now).await.expect("take_code");
        assert_eq!(take(code, record.binding, self.now).await, CodeTaken::Unknown, "an unknown code");
        self.store().add_code(&code, &record, self.now).await.expect("add_code");
        assert_eq!(take(code, hash(), self.now).await, CodeTaken::Unknown, "another binding");
        let (old, old_record) = self::code(self.now);
        self.store().add_code(&old, &old_record, self.now).await.expect("add_code");
        let last = record.expires_at - 1;
        assert_eq!(take(code, record.binding, last).await, CodeTaken::First(record.family.clone()), "its last second");
        let access = access(Some(&record.family), last);
        assert_eq!(self.store().issue(&access, None, None, last).await.expect("issue"), Issued::Stored);
        assert_eq!(take(code, hash(), last).await, CodeTaken::Unknown, "a replay with another binding");
        assert!(self.is_active(&access, last).await, "a replay with another binding revokes nothing");
        let late = take(old, old_record.binding, old_record.expires_at).await;
        assert_eq!(late, CodeTaken::Unknown, "a code that has expired");
        let later = record.expires_at + 10;
        assert_eq!(take(code, record.binding, later).await, CodeTaken::Again, "a replay after the code's own time");
        assert!(!self.is_active(&access, later).await, "a late replay revokes too");
    }

    async fn a_replayed_code_revokes_its_tokens(&self) {
        let (code, record) = code(self.now);
        self.store().add_code(&code, &record, self.now).await.expect("add_code");
        self.store().take_code(&code, &record.binding, self.now).await.expect("take_code");
        let access = access(Some(&record.family), self.now);
        let refresh = NewRefresh { hash: hash(), expires_at: self.now + 100 };
        self.store().issue(&access, Some(&refresh), None, self.now).await.expect("issue");
        let taken = self.other().take_code(&code, &record.binding, self.now).await.expect("take_code");
        assert_eq!(taken, CodeTaken::Again);
        assert!(!self.is_active(&access, self.now).await, "a replay revokes the access token");
        let found = self.other().find_refresh(&refresh.hash, self.now).await.expect("find_refresh");
        assert_eq!(found, None, "a replay revokes the refresh token");
        let rotated = self.rotate(&refresh.hash, &successor(self.now), 10, self.now).await;
        assert_eq!(rotated, Rotated::Unknown, "a refresh token of a revoked family is not rotated");
    }

    async fn rotate(&self, token: &TokenHash, successor: &Successor, grace: u64, now: u64) -> Rotated {
        self.other().rotate(token, CLIENT, successor, grace, now).await.expect("rotate")
    }

    async fn a_refresh_token_has_one_winner(&self) {
        let (access, refresh) = self.family().await;
        let now = self.now;
        let call = move |store: Arc<S>, _| async move {
            store.rotate(&refresh.hash, CLIENT, &successor(now), 0, now).await.expect("rotate")
        };
        let rotated = self.race(call).await;
        let winners = rotated.iter().filter(|rotated| matches!(rotated, Rotated::First(_))).count();
        let reused = rotated.iter().filter(|rotated| **rotated == Rotated::Reused).count();
        // After the first reuse the family is revoked, and its tokens may be unknown.
        let unknown = rotated.iter().filter(|rotated| **rotated == Rotated::Unknown).count();
        assert_eq!((winners, reused + unknown), (1, 63), "of 64 calls that rotate one refresh token, one wins");
        assert!(reused > 0, "reuse is detected");
        assert!(!self.is_active(&access, now).await, "reuse revokes the family");
    }

    async fn a_grace_period_returns_one_successor(&self) {
        let (access, refresh) = self.family().await;
        let (now, token) = (self.now, refresh.hash);
        let call = move |store: Arc<S>, number: usize| async move {
            let own = successor(now);
            let at = now + (number as u64 % 10);
            (own.clone(), store.rotate(&token, CLIENT, &own, 10, at).await.expect("rotate"))
        };
        let rotated = self.race(call).await;
        let winners: Vec<_> = rotated.iter().filter(|(_, rotated)| matches!(rotated, Rotated::First(_))).collect();
        assert_eq!(winners.len(), 1, "one successor is stored");
        let next = winners.first().map(|(own, _)| own.clone()).expect("a winner");
        for (_, rotated) in &rotated {
            if let Rotated::Again { salt, family } = rotated {
                assert_eq!(*salt, next.salt, "all get the same successor");
                assert_eq!(Some(&family.id), access.record.family.as_ref());
            } else {
                assert!(matches!(rotated, Rotated::First(_)), "{rotated:?} within the grace");
            }
        }
        assert!(self.is_active(&access, now).await, "the grace revokes nothing");
        let after = successor(now);
        let rotated = self.rotate(&next.hash, &after, 10, now + 1).await;
        assert!(matches!(rotated, Rotated::First(_)), "the successor can be used");
        assert_eq!(self.rotate(&token, &successor(now), 10, now + 1).await, Rotated::Reused, "its successor was used");
        let rotated = self.rotate(&after.hash, &successor(now), 10, now + 1).await;
        assert_eq!(rotated, Rotated::Unknown, "the family is revoked");

        let (access, refresh) = self.family().await;
        assert!(matches!(self.rotate(&refresh.hash, &successor(now), 10, now).await, Rotated::First(_)));
        let late = self.rotate(&refresh.hash, &successor(now), 10, now + 10).await;
        assert_eq!(late, Rotated::Reused, "after the grace period");
        assert!(!self.is_active(&access, now).await);

        let (_, refresh) = self.family().await;
        assert!(matches!(self.rotate(&refresh.hash, &successor(now), 0, now).await, Rotated::First(_)));
        let again = self.rotate(&refresh.hash, &successor(now), 0, now - 1).await;
        assert_eq!(again, Rotated::Reused, "without a grace, an instance whose clock is behind has none either");
    }

    async fn a_refresh_token_is_bound_and_expires(&self) {
        let (access, refresh) = self.family().await;
        let (_, old) = self.family().await;
        let next = successor(self.now);
        let other_client = self.store().rotate(&refresh.hash, "another", &next, 10, self.now).await.expect("rotate");
        assert_eq!(other_client, Rotated::Unknown, "a token of another client");
        assert_eq!(self.rotate(&hash(), &next, 10, self.now).await, Rotated::Unknown, "an unknown token");
        let rotated = self.rotate(&next.hash, &successor(self.now), 0, self.now).await;
        assert_eq!(rotated, Rotated::Unknown, "a refused rotation stores no successor");
        let find = async |now| self.other().find_refresh(&refresh.hash, now).await.expect("find_refresh");
        let family = find(self.now).await.expect("a valid refresh token is found");
        assert_eq!(Some(&family.id), access.record.family.as_ref());
        let last = refresh.expires_at - 1;
        let late = Successor { expires_at: last + 9000, ..successor(last) };
        assert_eq!(self.rotate(&refresh.hash, &late, 0, last).await, Rotated::First(family.clone()));
        let found = self.other().find_refresh(&old.hash, old.expires_at).await.expect("find_refresh");
        assert_eq!(found, None, "expired");
        assert_eq!(self.rotate(&old.hash, &successor(self.now), 10, old.expires_at).await, Rotated::Unknown, "expired");
        // A store may delete entries that have expired, so the following calls are in the order of time.
        let end = family.expires_at;
        let found = self.other().find_refresh(&late.hash, end).await.expect("find_refresh");
        assert_eq!(found, None, "the family has expired");
        assert_eq!(self.rotate(&late.hash, &successor(end), 0, end).await, Rotated::Unknown, "the family has expired");
    }

    async fn tokens_are_revoked_by_their_client_only(&self) {
        let revoke = async |token, client| self.store().revoke(&token, client, self.now).await.expect("revoke");
        assert_eq!(revoke(hash(), CLIENT).await, Revoked::Gone, "an unknown token");
        let (access, refresh) = self.family().await;
        assert_eq!(revoke(access.hash, "another").await, Revoked::NotYours);
        assert_eq!(revoke(refresh.hash, "another").await, Revoked::NotYours);
        assert!(self.is_active(&access, self.now).await, "a refused revocation changes nothing");
        assert_eq!(revoke(access.hash, CLIENT).await, Revoked::Gone);
        assert!(!self.is_active(&access, self.now).await, "an access token is revoked");
        let next = successor(self.now);
        assert!(
            matches!(self.rotate(&refresh.hash, &next, 0, self.now).await, Rotated::First(_)),
            "revoking an access token keeps its refresh token"
        );
        let other =
            self::access(self.other().find_refresh(&next.hash, self.now).await.expect("find").as_ref(), self.now);
        assert_eq!(self.store().issue(&other, None, None, self.now).await.expect("issue"), Issued::Stored);
        assert_eq!(revoke(next.hash, CLIENT).await, Revoked::Gone);
        assert!(!self.is_active(&other, self.now).await, "a refresh token is revoked with all of its family");
        assert_eq!(self.rotate(&next.hash, &successor(self.now), 0, self.now).await, Rotated::Unknown);
    }

    async fn access_tokens_expire_and_are_counted(&self) {
        let lone = access(None, self.now);
        assert_eq!(self.store().issue(&lone, None, None, self.now).await.expect("issue"), Issued::Stored);
        assert!(self.is_active(&lone, lone.record.expires_at - 1).await);
        assert!(!self.is_active(&lone, lone.record.expires_at).await, "expired");

        let (now, subject) = (self.now, text());
        let of_subject = subject.clone();
        let call = move |store: Arc<S>, _| {
            let mut access = access(None, now);
            access.record.subject.clone_from(&of_subject);
            async move {
                assert_eq!(store.issue(&access, None, Some(3), now).await.expect("issue"), Issued::Stored);
                access
            }
        };
        let issued = self.race(call).await;
        let mut active = 0;
        for access in &issued {
            active += usize::from(self.is_active(access, now).await);
        }
        assert_eq!(active, 3, "of 64 tokens with a limit of 3, three are active");
        let mut one_more = access(None, now);
        one_more.record.subject = subject;
        self.store().issue(&one_more, None, Some(1), now).await.expect("issue");
        assert!(self.is_active(&one_more, now).await, "the new token is active");
        for access in &issued {
            assert!(!self.is_active(access, now).await, "a lower limit revokes every token beyond it");
        }
    }

    async fn a_key_is_new_once(&self) {
        let (key, now) = (hash(), self.now);
        let call =
            move |store: Arc<S>, _| async move { store.insert_if_absent(&key, now + 5, now).await.expect("insert") };
        let new = self.race(call).await;
        assert_eq!(new.iter().filter(|new| **new).count(), 1, "of 64 calls that insert one key, one gets true");
        let again = async |now| self.other().insert_if_absent(&key, now + 5, now).await.expect("insert");
        assert!(!again(now + 4).await, "a key is known until it expires");
        assert!(again(now + 5).await, "an expired key is new again");
        assert!(!again(now + 6).await);
    }

    async fn store_entries(&self) -> StoredEntries {
        let (access, refresh) = self.family().await;
        let (code, record) = code(self.now);
        self.store().add_code(&code, &record, self.now).await.expect("add_code");
        let (used, used_record) = self::code(self.now);
        self.store().add_code(&used, &used_record, self.now).await.expect("add_code");
        self.store().take_code(&used, &used_record.binding, self.now).await.expect("take_code");
        let key = hash();
        self.store().insert_if_absent(&key, self.now + 100, self.now).await.expect("insert_if_absent");
        let used_code = (used, used_record.binding);
        StoredEntries { code: (code, record), access, refresh: refresh.hash, used_code, key }
    }
}

async fn find_entries<S: Store>(store: &S, entries: StoredEntries, now: u64) {
    let StoredEntries { code: (code, record), access, refresh, used_code, key } = entries;
    let found = store.find_access(&access.hash, now).await.expect("find_access");
    assert_eq!(found, Some(access.record), "an access token survives a restart");
    let rotated = store.rotate(&refresh, CLIENT, &successor(now), 0, now).await.expect("rotate");
    assert!(matches!(rotated, Rotated::First(_)), "a refresh token survives a restart");
    let taken = store.take_code(&code, &record.binding, now).await.expect("take_code");
    assert_eq!(taken, CodeTaken::First(record.family), "a code survives a restart");
    let (used, binding) = used_code;
    let taken = store.take_code(&used, &binding, now).await.expect("take_code");
    assert_eq!(taken, CodeTaken::Again, "that a code was used survives a restart");
    let new = store.insert_if_absent(&key, now + 100, now).await.expect("insert_if_absent");
    assert!(!new, "a key survives a restart");
}

/// 32 random bytes as text.
fn text() -> String {
    b64(random::<32>().expect("the system gives random bytes"))
}

fn hash() -> TokenHash {
    TokenHash::of(&text())
}

fn code(now: u64) -> (TokenHash, CodeRecord) {
    let family = Family {
        id: text(),
        client_id: CLIENT.to_owned(),
        credential: "credential".to_owned(),
        subject: text(),
        scope: "one two:ü".to_owned(),
        audiences: vec!["https://one.test".to_owned(), "https://two.test".to_owned()],
        auth_time: Some(now - 5),
        expires_at: now + 5000,
    };
    (hash(), CodeRecord { binding: hash(), family, expires_at: now + 60 })
}

fn access(family: Option<&Family>, now: u64) -> NewAccess {
    let record = AccessRecord {
        id: text(),
        family: family.map(|family| family.id.clone()),
        client_id: CLIENT.to_owned(),
        credential: String::new(),
        subject: text(),
        scope: String::new(),
        audience: "https://one.test".to_owned(),
        auth_time: None,
        issued_at: now,
        expires_at: now + 300,
    };
    NewAccess { hash: hash(), record }
}

fn successor(now: u64) -> Successor {
    let hash = hash();
    Successor { hash, salt: *hash.as_bytes(), expires_at: now + 2000 }
}

const CLIENT: &str = "a client: ü'\"";
