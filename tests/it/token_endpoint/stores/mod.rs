//! Every store behaves as the endpoint requires. The store in memory has a share for each client and user.

mod clients;
mod faults;
pub(super) mod faulty_store;
#[cfg(any(feature = "postgres", feature = "redis"))]
mod on_servers;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "postgres")]
mod postgres_endpoint;
#[cfg(feature = "postgres")]
mod postgres_load;
#[cfg(feature = "postgres")]
mod postgres_pooler;
pub(super) mod records;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "redis")]
mod redis_cluster;
#[cfg(feature = "redis")]
mod redis_mistakes;

use std::time::Duration;

use tower_oauth::{
    testing::{StoreRequests, store_conformance},
    token_endpoint::{
        Issued, MemoryStore, NewAccess, Redeem, Redeemed, Refreshed, SessionId, Store, StoreError, Timestamp,
        TokenHash, Written,
    },
};

/// Threats T11, T19
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_memory_conforms() {
    let store = MemoryStore::new();
    store_conformance(async || store.clone()).await;
}

#[tokio::test]
async fn a_small_store_in_memory_conforms() {
    let store = MemoryStore::builder().capacity(2000).client_capacity(500).user_capacity(400).build();
    store_conformance(async || store.clone()).await;
}

#[tokio::test]
async fn expired_entries_make_room_in_memory() {
    let store = MemoryStore::builder().capacity(100).build();
    let requests = requests("job", "job");
    for round in 0..3 {
        let requests = requests.clone().time(at(round * 300));
        assert_eq!(issued_until_full(&store, &requests).await, 100, "round {round}");
        assert_full(store.issue(&requests.clone().time(at(round * 300 + 299)).issue()).await);
    }
    assert_eq!(store.issue(&requests.time(at(900)).issue()).await.unwrap(), Issued::Done);
}

#[tokio::test]
async fn an_expired_token_that_is_not_removed_yet_does_not_count_in_memory() {
    let store = MemoryStore::new();
    let job = requests("job", "job").token_limit(2);
    // These expire first, and an operation removes only some of them.
    for _ in 0..100 {
        store.issue(&requests("other", "other").issue()).await.unwrap();
    }
    let oldest = job.clone().time(at(150)).issue();
    let expired = job.issue();
    for issue in [&oldest, &expired] {
        assert_eq!(store.issue(issue).await.unwrap(), Issued::Done);
    }
    let later = job.time(at(300));
    store.issue(&later.issue()).await.unwrap();
    let find = later.find_access(oldest.access());
    assert!(store.find_access(&find).await.unwrap().is_some(), "the expired token was removed first");
}

/// Threat T42
#[tokio::test]
async fn log_ins_of_one_user_leave_others_unharmed_in_memory() {
    let store = MemoryStore::new();
    let ada = requests("app", "ada");
    let mut sessions = Vec::new();
    let mut refused = 0;
    for _ in 0..30_000 {
        match log_in(&store, &ada).await {
            Ok(session) => sessions.push(session),
            Err(error) => {
                assert!(!error.may_be_executed());
                refused += 1;
            }
        }
    }
    // A session needs two places, and a user has a hundredth of 250 000.
    assert_eq!((sessions.len(), refused), (1250, 28_750));
    for session in sessions.iter().take(20) {
        refresh_often(&store, &ada, session).await;
    }
    for (client, subject) in [("app", "grace"), ("app", "alan"), ("other", "ada")] {
        let others = requests(client, subject);
        let session = log_in(&store, &others).await.unwrap();
        refresh_often(&store, &others, &session).await;
        assert_eq!(store.issue(&others.issue()).await.unwrap(), Issued::Done);
    }
    for session in &sessions {
        store.end_session(&ada.end_session(session.0.session())).await.unwrap();
    }
    for _ in 0..1250 {
        log_in(&store, &ada).await.unwrap();
    }
    assert!(log_in(&store, &ada).await.is_err(), "ended sessions freed their places, and no more");
}

/// Threat T42
#[tokio::test]
async fn tokens_of_one_client_leave_others_unharmed_in_memory() {
    let store = MemoryStore::new();
    let (job, user) = (requests("job", "job"), requests("job", "ada"));
    let session = log_in(&store, &user).await.unwrap();
    let code = user.add_code();
    assert_eq!(store.add_code(&code).await.unwrap(), Written::Done);
    let mut tokens = Vec::new();
    for _ in 0..100_000 {
        let issue = job.issue();
        if store.issue(&issue).await.is_ok() {
            tokens.push(issue.access().clone());
        }
    }
    // A client has a tenth of 250 000; a session and a code with two places each were first.
    assert_eq!(tokens.len(), 25_000 - 4);
    // The `jti` of a revocation, which frees places, may use a tenth more.
    assert_eq!(store.insert_seen(&job.insert_seen()).await.unwrap(), Issued::Done);
    assert!(store.add_code(&user.add_code()).await.is_err());
    assert_eq!(store.redeem(&user.redeem(&code)).await.unwrap(), Redeemed::Done, "a stored code can be used");
    refresh_often(&store, &user, &session).await;
    let other = requests("other", "ada");
    let session = log_in(&store, &other).await.unwrap();
    refresh_often(&store, &other, &session).await;
    assert_eq!(issued_until_full(&store, &other).await, 25_000 - 12);

    for access in &tokens {
        assert!(is_active(&store, access).await, "no token is removed for another one");
        store.revoke_access(&job.revoke_access(access)).await.unwrap();
    }
    // The session, the code and the `jti` stay.
    assert_eq!(issued_until_full(&store, &job).await, 25_000 - 5, "revoked tokens freed their places");
}

/// Threat T42
#[tokio::test]
async fn a_living_session_is_refreshed_in_a_full_store_in_memory() {
    let store = MemoryStore::builder().capacity(20).build();
    let ada = requests("app", "ada");
    let (redeem, code) = (log_in(&store, &ada).await.unwrap(), ada.add_code());
    store.add_code(&code).await.unwrap();
    issued_until_full(&store, &requests("job", "job")).await;
    let (last, token) = refresh_often(&store, &ada, &redeem).await;
    assert!(is_active(&store, &last).await);
    assert!(!is_active(&store, redeem.0.access()).await, "the oldest access token of the session was replaced");

    // A tenth of the places is left for the `jti`s of such requests.
    let assertion = |jwt_id: &str| ada.clone().jwt_id(jwt_id, "a request");
    let refresh = |jwt_id, token| assertion(jwt_id).refresh(redeem.0.session(), token);
    assert_eq!(store.redeem(&assertion("1").redeem(&code)).await.unwrap(), Redeemed::Done);
    assert_eq!(store.refresh(&refresh("1", token)).await.unwrap(), Refreshed::Seen);
    let second = refresh("2", token);
    assert_eq!(store.refresh(&second).await.unwrap(), Refreshed::Done);
    let token = second.successor().unwrap().hash();
    assert_full(store.refresh(&refresh("3", token)).await);
    assert_eq!(
        store.refresh(&ada.refresh(redeem.0.session(), token)).await.unwrap(),
        Refreshed::Done,
        "the refusal used nothing up"
    );
}

/// Every place that was taken is free when everything has ended or expired.
///
/// Threat T42
#[tokio::test]
async fn no_place_is_lost_in_memory() {
    for seed in 0..40_u64 {
        println!("seed {seed}");
        let store = MemoryStore::builder().capacity(60).client_capacity(45).user_capacity(20).build();
        let mut random = Random(seed);
        let mut sessions: Vec<(StoreRequests, Redeem, TokenHash)> = Vec::new();
        let mut tokens: Vec<NewAccess> = Vec::new();
        for step in 0..600 {
            let mut requests =
                requests(["app", "other"][random.below(2)], ["ada", "alan"][random.below(2)]).time(at(step));
            if random.below(2) == 0 {
                requests = requests.token_limit(3).session_limit(2);
            }
            if random.below(4) == 0 {
                requests = requests.jwt_id(&random.below(50).to_string(), &step.to_string());
            }
            let any = random.below(sessions.len().max(1));
            match (random.below(8), sessions.get_mut(any)) {
                (0, _) => drop(store.add_code(&requests.add_code()).await),
                (1, _) => {
                    let code = requests.add_code();
                    let redeem = requests.redeem(&code);
                    let stored = store.add_code(&code).await.is_ok();
                    if stored && matches!(store.redeem(&redeem).await, Ok(Redeemed::Done)) {
                        let first = redeem.refresh().unwrap().hash();
                        sessions.push((requests, redeem, first));
                    }
                }
                (2, Some((own, redeem, _))) => {
                    store.end_session(&own.clone().time(at(step)).end_session(redeem.session())).await.unwrap();
                }
                (3, _) => {
                    let issue = requests.issue();
                    if store.issue(&issue).await.is_ok() {
                        tokens.push(issue.access().clone());
                    }
                }
                (4, _) => drop(store.insert_seen(&requests.insert_seen()).await),
                (5, _) if !tokens.is_empty() => {
                    let revoked = tokens.swap_remove(random.below(tokens.len()));
                    store.revoke_access(&requests.revoke_access(&revoked)).await.unwrap();
                }
                (_, Some((own, redeem, token))) => {
                    let refresh = own.clone().time(at(step)).refresh(redeem.session(), *token);
                    if matches!(store.refresh(&refresh).await, Ok(Refreshed::Done)) {
                        *token = refresh.successor().unwrap().hash();
                        tokens.push(refresh.access().clone());
                    }
                }
                _ => {}
            }
        }
        let end = at(20_000);
        // Each call removes some expired entries.
        for _ in 0..100 {
            let nothing = requests("app", "ada").time(end).list_by_subject();
            assert_eq!(store.list_sessions(&nothing).await.unwrap(), []);
        }
        for (client, places) in [("app", 45), ("other", 15)] {
            let issued = issued_until_full(&store, &requests(client, "ada").time(end)).await;
            assert_eq!(issued, places, "seed {seed}, client {client}");
        }
    }
}

#[test]
fn debug_of_store_requests_shows_no_record_and_no_salt() {
    let requests = requests("app", "ada").jwt_id("shy-jti", "shy-request");
    let code = requests.add_code();
    let redeem = requests.redeem(&code);
    let refresh = requests.refresh(redeem.session(), code.code());
    let again = Refreshed::Again { salt: [77; 32] };
    let shown = format!("{code:?} {redeem:?} {refresh:?} {again:?} {:?}", requests.issue());
    let salt = refresh.successor().unwrap().salt().map(|byte| byte.to_string()).join(", ");
    for secret in ["approval", r#"{"session"#, r#"{"access"#, "shy", "77, 77", &salt] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    assert!(shown.contains(&redeem.session().to_string()), "{shown}");
}

/// A session: how it was started, and its current refresh token.
type LoggedIn = (Redeem, TokenHash);

fn requests(client: &str, subject: &str) -> StoreRequests {
    StoreRequests::new(client, subject).time(at(0))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(1_800_000_000).saturating_add(Duration::from_secs(seconds))
}

async fn log_in(store: &MemoryStore, requests: &StoreRequests) -> Result<LoggedIn, StoreError> {
    let code = requests.add_code();
    assert_eq!(store.add_code(&code).await?, Written::Done);
    let redeem = requests.redeem(&code);
    assert_eq!(store.redeem(&redeem).await?, Redeemed::Done, "a stored code can be used");
    let first = redeem.refresh().unwrap().hash();
    Ok((redeem, first))
}

/// Refreshes a session; returns its last access token and its current refresh token.
async fn refresh_often(
    store: &MemoryStore,
    requests: &StoreRequests,
    (redeem, first): &LoggedIn,
) -> (NewAccess, TokenHash) {
    let (id, mut token): (SessionId, _) = (redeem.session(), *first);
    let mut access = redeem.access().clone();
    for _ in 0..10 {
        let refresh = requests.refresh(id, token);
        assert_eq!(store.refresh(&refresh).await.unwrap(), Refreshed::Done, "a living session can be refreshed");
        token = refresh.successor().unwrap().hash();
        access = refresh.access().clone();
        assert!(is_active(store, &access).await);
    }
    (access, token)
}

async fn is_active(store: &MemoryStore, access: &NewAccess) -> bool {
    store.find_access(&requests("any", "any").find_access(access)).await.unwrap().is_some()
}

/// Returns how many access tokens were issued until there was no place left.
async fn issued_until_full(store: &MemoryStore, requests: &StoreRequests) -> usize {
    let mut issued = 0;
    loop {
        match store.issue(&requests.issue()).await {
            Ok(outcome) => assert_eq!(outcome, Issued::Done),
            Err(error) => {
                assert!(!error.may_be_executed());
                return issued;
            }
        }
        issued += 1;
    }
}

fn assert_full<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    let error = result.unwrap_err();
    assert!(!error.may_be_executed(), "nothing was done");
    assert!(error.to_string().contains("in memory"), "{error}");
}

/// A generator of numbers (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }
}
