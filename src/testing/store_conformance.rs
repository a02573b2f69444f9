//! What every [`Store`] must do, as tests.

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

/// Puts a store to the test. `open` opens it anew each time, on what is there already: what one instance remembers, another
/// one knows. Call it from a test, in a tokio runtime, and on a place of its own: it turns the clock half a day ahead, and what
/// ends until then may be forgotten.
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
/// The store does not conform; the message says how.
pub async fn store_conformance<S: Store>(open: impl AsyncFn() -> S) {
    let now = unix_seconds(&SystemClock::new());
    let mut trial = Trial { stores: [Arc::new(open().await), Arc::new(open().await)], now };
    trial.a_code_has_one_winner().await;
    trial.a_code_is_bound_and_expires().await;
    trial.later().a_replayed_code_ends_what_it_gave().await;
    trial.a_refresh_token_has_one_winner().await;
    trial.a_grace_gives_the_same_successor().await;
    trial.a_refresh_token_is_bound_and_expires().await;
    trial.later().tokens_are_revoked_by_their_client_only().await;
    trial.access_tokens_expire_and_are_counted().await;
    trial.later().a_key_is_new_once().await;
    let now = trial.later().now;
    let remembered = trial.remember().await;
    drop(trial);
    recall(&open().await, remembered, now).await;
}

/// Two instances on the same data.
struct Trial<S> {
    stores: [Arc<S>; 2],
    now: u64,
}

/// What must be there after a restart.
struct Remembered {
    code: (TokenHash, CodeRecord),
    access: NewAccess,
    refresh: TokenHash,
    used_code: (TokenHash, TokenHash),
    key: TokenHash,
}

impl<S: Store> Trial<S> {
    fn store(&self) -> &S {
        &self.stores[0]
    }

    fn other(&self) -> &S {
        &self.stores[1]
    }

    /// After all times that were told so far: a store may forget what it was told is over, then or a little later.
    fn later(&mut self) -> &Self {
        self.now += 10_000;
        self
    }

    /// The answers of 64 tasks that ask at the same time, on both instances.
    async fn race<T, F>(&self, ask: impl Fn(Arc<S>, usize) -> F) -> Vec<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let tasks: Vec<_> = (0..64)
            .zip(self.stores.iter().cycle())
            .map(|(number, store)| tokio::spawn(ask(Arc::clone(store), number)))
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.expect("a task of the race panicked"));
        }
        answers
    }

    /// A family whose code was used, with an access and a refresh token.
    async fn family(&self) -> (NewAccess, NewRefresh) {
        let (code, record) = code(self.now);
        self.store().add_code(&code, &record, self.now).await.expect("add_code");
        let taken = self.other().take_code(&code, &record.binding, self.now).await.expect("take_code");
        assert_eq!(taken, CodeTaken::First(record.family.clone()), "a code gives what it was remembered with");
        let access = access(Some(&record.family), self.now);
        let refresh = NewRefresh { hash: hash(), expires_at: self.now + 1000 };
        let issued = self.store().issue(&access, Some(&refresh), None, self.now).await.expect("issue");
        assert_eq!(issued, Issued::Remembered);
        (access, refresh)
    }

    async fn is_active(&self, access: &NewAccess, now: u64) -> bool {
        let found = self.other().find_access(&access.hash, now).await.expect("find_access");
        assert!(found.iter().all(|found| *found == access.record), "an access token is found as it was remembered");
        found.is_some()
    }

    async fn a_code_has_one_winner(&self) {
        let (code, record) = code(self.now);
        self.store().add_code(&code, &record, self.now).await.expect("add_code");
        let (binding, now) = (record.binding, self.now);
        let ask =
            move |store: Arc<S>, _| async move { store.take_code(&code, &binding, now).await.expect("take_code") };
        let taken = self.race(ask).await;
        let winners = taken.iter().filter(|taken| **taken == CodeTaken::First(record.family.clone())).count();
        let losers = taken.iter().filter(|taken| **taken == CodeTaken::Again).count();
        assert_eq!((winners, losers), (1, 63), "of 64 that redeem one code, one wins and the others are replays");
        let issued = self.store().issue(&access(Some(&record.family), now), None, None, now).await.expect("issue");
        assert_eq!(issued, Issued::FamilyDead, "the replays revoked the family, also for what is issued afterwards");
    }

    async fn a_code_is_bound_and_expires(&self) {
        let (code, record) = code(self.now);
        let take = async |code, binding, now| self.other().take_code(&code, &binding, now).await.expect("take_code");
        assert_eq!(take(code, record.binding, self.now).await, CodeTaken::Unknown, "a code nobody remembers");
        self.store().add_code(&code, &record, self.now).await.expect("add_code");
        assert_eq!(take(code, hash(), self.now).await, CodeTaken::Unknown, "another binding");
        let (old, old_record) = self::code(self.now);
        self.store().add_code(&old, &old_record, self.now).await.expect("add_code");
        let last = record.expires_at - 1;
        assert_eq!(take(code, record.binding, last).await, CodeTaken::First(record.family.clone()), "its last second");
        let access = access(Some(&record.family), last);
        assert_eq!(self.store().issue(&access, None, None, last).await.expect("issue"), Issued::Remembered);
        assert_eq!(take(code, hash(), last).await, CodeTaken::Unknown, "a replay with another binding");
        assert!(self.is_active(&access, last).await, "a replay with another binding revokes nothing");
        let late = take(old, old_record.binding, old_record.expires_at).await;
        assert_eq!(late, CodeTaken::Unknown, "a code that has expired");
        let later = record.expires_at + 10;
        assert_eq!(take(code, record.binding, later).await, CodeTaken::Again, "a replay after the code's own time");
        assert!(!self.is_active(&access, later).await, "a late replay revokes too");
    }

    async fn a_replayed_code_ends_what_it_gave(&self) {
        let (code, record) = code(self.now);
        self.store().add_code(&code, &record, self.now).await.expect("add_code");
        self.store().take_code(&code, &record.binding, self.now).await.expect("take_code");
        let access = access(Some(&record.family), self.now);
        let refresh = NewRefresh { hash: hash(), expires_at: self.now + 100 };
        self.store().issue(&access, Some(&refresh), None, self.now).await.expect("issue");
        let taken = self.other().take_code(&code, &record.binding, self.now).await.expect("take_code");
        assert_eq!(taken, CodeTaken::Again);
        assert!(!self.is_active(&access, self.now).await, "the access token lives on after a replay");
        let found = self.other().find_refresh(&refresh.hash, self.now).await.expect("find_refresh");
        assert_eq!(found, None, "the refresh token lives on after a replay");
        let rotated = self.rotate(&refresh.hash, &successor(self.now), 10, self.now).await;
        assert_eq!(rotated, Rotated::Unknown, "a dead family's refresh token is rotated");
    }

    async fn rotate(&self, token: &TokenHash, successor: &Successor, grace: u64, now: u64) -> Rotated {
        self.other().rotate(token, CLIENT, successor, grace, now).await.expect("rotate")
    }

    async fn a_refresh_token_has_one_winner(&self) {
        let (access, refresh) = self.family().await;
        let now = self.now;
        let ask = move |store: Arc<S>, _| async move {
            store.rotate(&refresh.hash, CLIENT, &successor(now), 0, now).await.expect("rotate")
        };
        let rotated = self.race(ask).await;
        let winners = rotated.iter().filter(|rotated| matches!(rotated, Rotated::First(_))).count();
        let reused = rotated.iter().filter(|rotated| **rotated == Rotated::Reused).count();
        // After the first reuse the family is dead, and its tokens may be unknown.
        let unknown = rotated.iter().filter(|rotated| **rotated == Rotated::Unknown).count();
        assert_eq!((winners, reused + unknown), (1, 63), "of 64 that rotate one refresh token, one wins");
        assert!(reused > 0, "reuse is noticed");
        assert!(!self.is_active(&access, now).await, "reuse revokes the family");
    }

    async fn a_grace_gives_the_same_successor(&self) {
        let (access, refresh) = self.family().await;
        let (now, token) = (self.now, refresh.hash);
        let ask = move |store: Arc<S>, number: usize| async move {
            let own = successor(now);
            let at = now + (number as u64 % 10);
            (own.clone(), store.rotate(&token, CLIENT, &own, 10, at).await.expect("rotate"))
        };
        let rotated = self.race(ask).await;
        let winners: Vec<_> = rotated.iter().filter(|(_, rotated)| matches!(rotated, Rotated::First(_))).collect();
        assert_eq!(winners.len(), 1, "one successor is made");
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
        assert!(
            matches!(self.rotate(&next.hash, &after, 10, now + 1).await, Rotated::First(_)),
            "the successor is good"
        );
        assert_eq!(self.rotate(&token, &successor(now), 10, now + 1).await, Rotated::Reused, "its successor was used");
        assert_eq!(
            self.rotate(&after.hash, &successor(now), 10, now + 1).await,
            Rotated::Unknown,
            "the family is dead"
        );

        let (access, refresh) = self.family().await;
        assert!(matches!(self.rotate(&refresh.hash, &successor(now), 10, now).await, Rotated::First(_)));
        assert_eq!(
            self.rotate(&refresh.hash, &successor(now), 10, now + 10).await,
            Rotated::Reused,
            "the grace is over"
        );
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
        let stranger = self.store().rotate(&refresh.hash, "another", &next, 10, self.now).await.expect("rotate");
        assert_eq!(stranger, Rotated::Unknown, "another client's");
        assert_eq!(self.rotate(&hash(), &next, 10, self.now).await, Rotated::Unknown, "a token nobody remembers");
        assert_eq!(
            self.rotate(&next.hash, &successor(self.now), 0, self.now).await,
            Rotated::Unknown,
            "no trace is left"
        );
        let find = async |now| self.other().find_refresh(&refresh.hash, now).await.expect("find_refresh");
        let family = find(self.now).await.expect("a living refresh token is found");
        assert_eq!(Some(&family.id), access.record.family.as_ref());
        let last = refresh.expires_at - 1;
        let late = Successor { expires_at: last + 9000, ..successor(last) };
        assert_eq!(self.rotate(&refresh.hash, &late, 0, last).await, Rotated::First(family.clone()));
        let found = self.other().find_refresh(&old.hash, old.expires_at).await.expect("find_refresh");
        assert_eq!(found, None, "expired");
        assert_eq!(self.rotate(&old.hash, &successor(self.now), 10, old.expires_at).await, Rotated::Unknown, "expired");
        // A store need not find again what it was told is over: the rest is in the order of time.
        let end = family.expires_at;
        let found = self.other().find_refresh(&late.hash, end).await.expect("find_refresh");
        assert_eq!(found, None, "the family has ended");
        assert_eq!(self.rotate(&late.hash, &successor(end), 0, end).await, Rotated::Unknown, "the family has ended");
    }

    async fn tokens_are_revoked_by_their_client_only(&self) {
        let revoke = async |token, client| self.store().revoke(&token, client, self.now).await.expect("revoke");
        assert_eq!(revoke(hash(), CLIENT).await, Revoked::Gone, "a token nobody remembers");
        let (access, refresh) = self.family().await;
        assert_eq!(revoke(access.hash, "another").await, Revoked::NotYours);
        assert_eq!(revoke(refresh.hash, "another").await, Revoked::NotYours);
        assert!(self.is_active(&access, self.now).await, "nothing was revoked");
        assert_eq!(revoke(access.hash, CLIENT).await, Revoked::Gone);
        assert!(!self.is_active(&access, self.now).await, "an access token is revoked");
        let next = successor(self.now);
        assert!(matches!(self.rotate(&refresh.hash, &next, 0, self.now).await, Rotated::First(_)), "and nothing else");
        let other =
            self::access(self.other().find_refresh(&next.hash, self.now).await.expect("find").as_ref(), self.now);
        assert_eq!(self.store().issue(&other, None, None, self.now).await.expect("issue"), Issued::Remembered);
        assert_eq!(revoke(next.hash, CLIENT).await, Revoked::Gone);
        assert!(!self.is_active(&other, self.now).await, "a refresh token is revoked with all of its family");
        assert_eq!(self.rotate(&next.hash, &successor(self.now), 0, self.now).await, Rotated::Unknown);
    }

    async fn access_tokens_expire_and_are_counted(&self) {
        let lone = access(None, self.now);
        assert_eq!(self.store().issue(&lone, None, None, self.now).await.expect("issue"), Issued::Remembered);
        assert!(self.is_active(&lone, lone.record.expires_at - 1).await);
        assert!(!self.is_active(&lone, lone.record.expires_at).await, "expired");

        let (now, subject) = (self.now, text());
        let of_subject = subject.clone();
        let ask = move |store: Arc<S>, _| {
            let mut access = access(None, now);
            access.record.subject.clone_from(&of_subject);
            async move {
                assert_eq!(store.issue(&access, None, Some(3), now).await.expect("issue"), Issued::Remembered);
                access
            }
        };
        let issued = self.race(ask).await;
        let mut active = 0;
        for access in &issued {
            active += usize::from(self.is_active(access, now).await);
        }
        assert_eq!(active, 3, "of 64 with a limit of 3, three live");
        let mut one_more = access(None, now);
        one_more.record.subject = subject;
        self.store().issue(&one_more, None, Some(1), now).await.expect("issue");
        assert!(self.is_active(&one_more, now).await, "the new one lives");
        for access in &issued {
            assert!(!self.is_active(access, now).await, "a lower limit ends all that are too many");
        }
    }

    async fn a_key_is_new_once(&self) {
        let (key, now) = (hash(), self.now);
        let ask =
            move |store: Arc<S>, _| async move { store.insert_if_absent(&key, now + 5, now).await.expect("insert") };
        let new = self.race(ask).await;
        assert_eq!(new.iter().filter(|new| **new).count(), 1, "of 64 that insert one key, one is told it was new");
        let again = async |now| self.other().insert_if_absent(&key, now + 5, now).await.expect("insert");
        assert!(!again(now + 4).await, "it is remembered until it expires");
        assert!(again(now + 5).await, "and no longer");
        assert!(!again(now + 6).await);
    }

    async fn remember(&self) -> Remembered {
        let (access, refresh) = self.family().await;
        let (code, record) = code(self.now);
        self.store().add_code(&code, &record, self.now).await.expect("add_code");
        let (used, used_record) = self::code(self.now);
        self.store().add_code(&used, &used_record, self.now).await.expect("add_code");
        self.store().take_code(&used, &used_record.binding, self.now).await.expect("take_code");
        let key = hash();
        self.store().insert_if_absent(&key, self.now + 100, self.now).await.expect("insert_if_absent");
        let used_code = (used, used_record.binding);
        Remembered { code: (code, record), access, refresh: refresh.hash, used_code, key }
    }
}

async fn recall<S: Store>(store: &S, remembered: Remembered, now: u64) {
    let Remembered { code: (code, record), access, refresh, used_code, key } = remembered;
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
    assert!(!new, "what was seen survives a restart");
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
