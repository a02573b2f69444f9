//! The tests that every [`Store`] must pass.
//!
//! *In*: a store, opened several times on the same data. *Out*: a panic if the store does not conform.
//!
//! Not tested: what a store does when its server fails.

mod access;
mod clients;
mod codes;
mod deadlines;
mod keys;
mod listing;
mod refreshes;
mod restart;
mod seen;

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

pub use self::clients::client_store_conformance;
use super::{
    encode::b64,
    store_requests::{StoreRequests, after},
};
use crate::{
    jws::random,
    token_endpoint::{
        AddCode, FoundSession, Issue, Issued, NewAccess, Redeem, Redeemed, Refresh, Refreshed, SessionId, Store,
        Timestamp, TokenHash, Written,
    },
};

/// Tests a store. `open` opens it on the same data each time: every instance must see what another one has stored.
///
/// Call it from a test, in a tokio runtime, on a separate database or prefix: the suite advances the time by some days, and the
/// store may delete everything that expires until then. The suite refreshes one session 10 000 times; for a slow store, as often
/// as it can in 5 seconds.
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
    let stores = [Arc::new(open().await), Arc::new(open().await)];
    let mut suite = Suite { stores, now: SystemTime::now().into() };
    suite.store().check().await.expect("check");
    suite.codes().await;
    suite.later().refreshes().await;
    suite.later().tokens().await;
    suite.later().limits().await;
    suite.later().listing().await;
    suite.later().seen().await;
    suite.later().deadlines().await;
    suite.later().keys().await;
    let entries = suite.later().store_entries().await;
    drop(suite);
    entries.find_again(&open().await).await;
}

/// Two instances of the store on the same data.
struct Suite<S> {
    stores: [Arc<S>; 2],
    now: Timestamp,
}

/// A session of a new client and a new subject.
struct StartedSession {
    requests: StoreRequests,
    code: AddCode,
    redeem: Redeem,
}

impl StartedSession {
    fn id(&self) -> SessionId {
        self.code.session
    }

    /// The first refresh token.
    fn first(&self) -> TokenHash {
        self.redeem.refresh.expect("every session of this suite has a refresh token").hash
    }

    fn refresh(&self, presented: TokenHash) -> Refresh {
        self.requests.refresh(self.id(), presented)
    }
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
        self.now = after(self.now, 10_000);
        self
    }

    /// Requests of a new client and a new subject.
    fn requests(&self) -> StoreRequests {
        StoreRequests::new(&new_text(), &new_text()).time(self.now)
    }

    async fn add_code(&self, code: &AddCode) {
        assert_eq!(self.store().add_code(code).await.expect("add_code"), Written::Done);
    }

    /// Starts a session of a new client and a new subject.
    async fn session(&self) -> StartedSession {
        self.session_of(self.requests()).await
    }

    async fn session_of(&self, requests: StoreRequests) -> StartedSession {
        let code = requests.add_code();
        self.add_code(&code).await;
        let redeem = requests.redeem(&code);
        assert_eq!(self.redeem(&redeem).await, Redeemed::Done, "a code that was stored can be used");
        StartedSession { requests, code, redeem }
    }

    async fn redeem(&self, request: &Redeem) -> Redeemed {
        self.other().redeem(request).await.expect("redeem")
    }

    async fn refresh(&self, request: &Refresh) -> Refreshed {
        self.other().refresh(request).await.expect("refresh")
    }

    async fn issue(&self, request: &Issue) {
        assert_eq!(self.other().issue(request).await.expect("issue"), Issued::Done);
    }

    async fn end_session(&self, session: &StartedSession) {
        let ended = self.store().end_session(&session.requests.end_session(session.id())).await.expect("end_session");
        assert_eq!(ended, Written::Done);
    }

    async fn revoke(&self, requests: &StoreRequests, access: &NewAccess) {
        let revoked = self.store().revoke_access(&requests.revoke_access(access)).await.expect("revoke_access");
        assert_eq!(revoked, Written::Done);
    }

    /// Returns whether an access token is active, and checks that it is found as it was stored.
    async fn is_active(&self, access: &NewAccess, now: Timestamp) -> bool {
        let request = self.requests().time(now).find_access(access);
        let found = self.store().find_access(&request).await.expect("find_access");
        assert!(found.iter().all(|found| found.record == access.record), "an access token is found as it was stored");
        found.is_some()
    }

    async fn count_active(&self, tokens: impl IntoIterator<Item = &NewAccess>, now: Timestamp) -> usize {
        let mut active = 0;
        for access in tokens {
            active += usize::from(self.is_active(access, now).await);
        }
        active
    }

    async fn find_session(
        &self,
        session: &StartedSession,
        presented: TokenHash,
        now: Timestamp,
    ) -> Option<FoundSession> {
        let request = session.requests.clone().time(now).find_session(session.id(), presented);
        self.store().find_session(&request).await.expect("find_session")
    }

    /// Checks that nothing that belongs to a session is found any more.
    async fn check_ended(&self, session: &StartedSession, now: Timestamp) {
        let requests = session.requests.clone().time(now);
        assert!(!self.is_active(&session.redeem.access, now).await, "an ended session has no access token");
        let code = self.store().find_code(&requests.find_code(&session.code)).await.expect("find_code");
        assert_eq!(code, None, "an ended session has no code");
        assert_eq!(self.find_session(session, session.first(), now).await, None, "an ended session is not found");
        let refreshed = self.refresh(&requests.refresh(session.id(), session.first())).await;
        assert_eq!(refreshed, Refreshed::Unknown, "an ended session can't be refreshed");
        assert_eq!(
            self.redeem(&requests.redeem(&session.code)).await,
            Redeemed::Unknown,
            "an ended session stays ended"
        );
        let listed = self.store().list_sessions(&requests.list_by_subject()).await.expect("list_sessions");
        assert!(listed.iter().all(|listed| listed.id != session.id()), "an ended session is not listed");
    }

    /// Returns the results of 64 concurrent tasks, on both instances.
    async fn race<T, F>(&self, call: impl Fn(Arc<S>, u64) -> F) -> Vec<T>
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
}

fn count<T: PartialEq>(results: &[T], wanted: &T) -> usize {
    results.iter().filter(|result| *result == wanted).count()
}

/// Returns a deadline that has passed.
fn passed() -> Instant {
    let now = Instant::now();
    now.checked_sub(std::time::Duration::from_millis(1)).unwrap_or(now)
}

/// Returns 16 random bytes as text.
fn new_text() -> String {
    b64(random::<16>().expect("the system gives random bytes"))
}
