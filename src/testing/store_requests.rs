//! The requests of a token endpoint to a store, for the tests of a store.
//!
//! *In*: a client, a subject and the time. *Out*: requests with new random hashes.

use std::time::{Duration, Instant};

use super::encode::b64;
use crate::{
    jws::random,
    token_endpoint::{
        AddCode, EndSession, FindAccess, FindCode, FindSession, FirstRefresh, InsertSeen, Issue, ListSessions,
        NewAccess, Partition, Record, Redeem, Refresh, RevokeAccess, Seen, SessionId, SessionIndex, Successor,
        Timestamp, TokenHash,
    },
};

/// Makes the requests of a token endpoint to a [`Store`](crate::token_endpoint::Store), for one client and one subject.
///
/// Every code and token is new. A code expires after 60 seconds, an access token after 300, a refresh token after 1000 unless it
/// is used, and a session after 5000.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_oauth::{testing::StoreRequests, token_endpoint::{MemoryStore, Redeemed, Store}};
///
/// let store = MemoryStore::new();
/// let requests = StoreRequests::new("app", "ada").token_limit(10);
/// let code = requests.add_code();
/// store.add_code(&code).await?;
/// assert_eq!(store.redeem(&requests.redeem(&code)).await?, Redeemed::Done);
/// assert_eq!(store.redeem(&requests.redeem(&code)).await?, Redeemed::Replayed);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct StoreRequests {
    client: TokenHash,
    subject: TokenHash,
    owner: TokenHash,
    now: Timestamp,
    deadline: Option<Instant>,
    grace: u64,
    token_limit: Option<u32>,
    session_limit: Option<u32>,
    seen: Option<Seen>,
}

impl StoreRequests {
    /// Returns the requests for a client and a subject, at the system's time.
    pub fn new(client: &str, subject: &str) -> Self {
        Self {
            client: TokenHash::of(&format!("{:?}", ("client", client))),
            subject: TokenHash::of(&format!("{:?}", ("subject", subject))),
            owner: TokenHash::of(&format!("{:?}", ("owner", client, subject))),
            now: std::time::SystemTime::now().into(),
            deadline: None,
            grace: 10,
            token_limit: None,
            session_limit: None,
            seen: None,
        }
    }

    /// The time of the requests. Default: the system's time when this value was made.
    pub fn time(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    /// The deadline of the requests. Default: a minute after the request is made.
    pub fn deadline(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// For how many seconds the last refresh token gets the same successor again. Default: 10.
    pub fn grace(self, seconds: u64) -> Self {
        Self { grace: seconds, ..self }
    }

    /// Maximum number of active access tokens. Default: no maximum.
    pub fn token_limit(self, tokens: u32) -> Self {
        Self { token_limit: Some(tokens), ..self }
    }

    /// Maximum number of sessions. Default: no maximum.
    pub fn session_limit(self, sessions: u32) -> Self {
        Self { session_limit: Some(sessions), ..self }
    }

    /// The `jti` of the client's assertion, which must be new and is known for 100 seconds. `attempt` is the text of the request
    /// that has sent it. Default: no assertion.
    pub fn jwt_id(self, jwt_id: &str, attempt: &str) -> Self {
        let key = TokenHash::of(&format!("{:?}", ("seen", jwt_id)));
        let (client, expires_at) = (self.client, after(self.now, 100));
        let attempt = TokenHash::of(attempt);
        Self { seen: Some(Seen { key, client, shard: client, attempt, expires_at }), ..self }
    }

    /// Returns a request that stores a code of a new session.
    #[must_use]
    pub fn add_code(&self) -> AddCode {
        let session = SessionId::from(random_bytes());
        AddCode {
            session,
            code: new_hash(),
            record: record("approval"),
            client: self.client,
            subject: self.subject,
            expires_at: after(self.now, 60),
            now: self.now,
            deadline: self.deadline_or_default(),
        }
    }

    /// Returns a request that looks up a code.
    #[must_use]
    pub fn find_code(&self, code: &AddCode) -> FindCode {
        FindCode { session: code.session, code: code.code, now: self.now }
    }

    /// Returns a request that uses a code, with a refresh token.
    #[must_use]
    pub fn redeem(&self, code: &AddCode) -> Redeem {
        Redeem {
            session: code.session,
            code: code.code,
            record: record("session"),
            client: self.client,
            subject: self.subject,
            owner: self.owner,
            expires_at: after(self.now, 5000),
            refresh: Some(FirstRefresh { hash: new_hash(), idle_until: after(self.now, 1000) }),
            access: self.new_access(code.session.partition()),
            token_limit: self.token_limit,
            session_limit: self.session_limit,
            seen: self.seen,
            now: self.now,
            deadline: self.deadline_or_default(),
        }
    }

    /// Returns a request that looks up a session by a refresh token.
    #[must_use]
    pub fn find_session(&self, session: SessionId, presented: TokenHash) -> FindSession {
        FindSession { session, presented, now: self.now }
    }

    /// Returns a request that uses a refresh token, with a successor.
    #[must_use]
    pub fn refresh(&self, session: SessionId, presented: TokenHash) -> Refresh {
        Refresh {
            session,
            presented,
            successor: Some(Successor { hash: new_hash(), salt: random_bytes() }),
            idle_until: after(self.now, 1000),
            grace: self.grace,
            client: self.client,
            owner: self.owner,
            access: self.new_access(session.partition()),
            token_limit: self.token_limit,
            seen: self.seen,
            now: self.now,
            deadline: self.deadline_or_default(),
        }
    }

    /// Returns a request that stores an access token without a session.
    #[must_use]
    pub fn issue(&self) -> Issue {
        Issue {
            client: self.client,
            owner: self.owner,
            access: self.new_access(self.partition()),
            token_limit: self.token_limit,
            seen: self.seen,
            now: self.now,
            deadline: self.deadline_or_default(),
        }
    }

    /// Returns a request that looks up an access token.
    #[must_use]
    pub fn find_access(&self, access: &NewAccess) -> FindAccess {
        FindAccess { partition: access.partition, token: access.hash, now: self.now }
    }

    /// Returns a request that revokes an access token.
    #[must_use]
    pub fn revoke_access(&self, access: &NewAccess) -> RevokeAccess {
        let NewAccess { partition, hash, .. } = access;
        RevokeAccess { partition: *partition, token: *hash, now: self.now, deadline: self.deadline_or_default() }
    }

    /// Returns a request that ends a session.
    #[must_use]
    pub fn end_session(&self, session: SessionId) -> EndSession {
        EndSession { session, now: self.now, deadline: self.deadline_or_default() }
    }

    /// Returns a request that lists up to 1000 sessions of the subject.
    #[must_use]
    pub fn list_by_subject(&self) -> ListSessions {
        ListSessions { index: SessionIndex::Subject(self.subject), after: None, limit: 1000, now: self.now }
    }

    /// Returns a request that lists up to 1000 sessions of the client.
    #[must_use]
    pub fn list_by_client(&self) -> ListSessions {
        ListSessions { index: SessionIndex::Client(self.client), ..self.list_by_subject() }
    }

    /// Returns a request that stores the [`jwt_id`](Self::jwt_id), or a random one.
    #[must_use]
    pub fn insert_seen(&self) -> InsertSeen {
        let random = || {
            let (client, expires_at) = (self.client, after(self.now, 100));
            Seen { key: new_hash(), client, shard: client, attempt: new_hash(), expires_at }
        };
        let seen = self.seen.unwrap_or_else(random);
        InsertSeen { seen, now: self.now, deadline: self.deadline_or_default() }
    }

    /// Returns the partition of the client's own tokens.
    fn partition(&self) -> Partition {
        let bytes = self.owner.as_bytes().first_chunk().expect("a hash has more than 16 bytes");
        Partition::from(*bytes)
    }

    fn new_access(&self, partition: Partition) -> NewAccess {
        NewAccess { partition, hash: new_hash(), record: record("access"), expires_at: after(self.now, 300) }
    }

    fn deadline_or_default(&self) -> Instant {
        self.deadline.unwrap_or_else(|| Instant::now() + Duration::from_secs(60))
    }
}

/// Returns the time that is this many seconds later.
pub(super) fn after(time: Timestamp, seconds: u64) -> Timestamp {
    time.saturating_add(Duration::from_secs(seconds))
}

/// Returns the hash of 32 random bytes.
pub(super) fn new_hash() -> TokenHash {
    TokenHash::from(random_bytes())
}

/// Returns a record that differs from all others.
fn record(kind: &str) -> Record {
    Record::from(format!(r#"{{"{kind}":"{}"}}"#, b64(random_bytes::<16>())))
}

fn random_bytes<const N: usize>() -> [u8; N] {
    random().expect("the system gives random bytes")
}
