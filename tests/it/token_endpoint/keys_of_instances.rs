//! Several instances of one issuer on one store, each with keys of its own: an API that has the key set of any of them accepts the
//! tokens of all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    routing::get,
};
use http::StatusCode;
use tokio::net::TcpListener;
use tower_oauth::{
    Issuer, JwtVerifier, OAuthLayer, Scoped,
    clock::Clock as _,
    keys::{Algorithm, PrivateKey},
    testing::ManualClock,
    token_endpoint::{
        AddCode, ClientCredentialsGrant, EndSession, FindAccess, FindCode, FindSession, FoundAccess, FoundCode,
        FoundSession, InsertSeen, Issue, Issued, KeyPublished, KeyRotationError, ListKeys, ListSessions, ListedSession,
        MemoryStore, PublishKey, PublishedKey, Redeem, Redeemed, Refresh, Refreshed, RevokeAccess, SigningKeys, Store,
        StoreError, Timestamp, TokenEndpoint, WithdrawKey, Written,
    },
};

use super::{
    ISSUER, World,
    keys::{HOUR, SECOND, named, published, signs},
};
use crate::support::{API, OrdersRead, get_with_token};

/// A memory store of several instances that can fail.
#[derive(Clone, Default)]
struct SharedStore {
    store: MemoryStore,
    is_down: Arc<AtomicBool>,
    /// Whether only `publish_key` fails.
    no_publications: Arc<AtomicBool>,
    lists: Arc<AtomicUsize>,
}

impl SharedStore {
    fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, SeqCst);
    }

    fn fail_publications(&self, fail: bool) {
        self.no_publications.store(fail, SeqCst);
    }

    /// Returns how often the keys were listed since the last call.
    fn lists(&self) -> usize {
        self.lists.swap(0, SeqCst)
    }
}

/// Passes each operation on, unless the store is down.
macro_rules! pass_on {
    ($($name:ident($type:ty) -> $result:ty;)+) => {
        impl Store for SharedStore {
            $(async fn $name(&self, request: &$type) -> Result<$result, StoreError> {
                let publishes = stringify!($name) == "publish_key";
                if self.is_down.load(SeqCst) || publishes && self.no_publications.load(SeqCst) {
                    return Err(StoreError::new("down"));
                }
                if stringify!($name) == "list_keys" {
                    self.lists.fetch_add(1, SeqCst);
                }
                Store::$name(&self.store, request).await
            })+

            async fn check(&self) -> Result<(), StoreError> {
                Ok(())
            }
        }
    };
}

pass_on! {
    add_code(AddCode) -> Written;
    find_code(FindCode) -> Option<FoundCode>;
    redeem(Redeem) -> Redeemed;
    find_session(FindSession) -> Option<FoundSession>;
    refresh(Refresh) -> Refreshed;
    issue(Issue) -> Issued;
    find_access(FindAccess) -> Option<FoundAccess>;
    revoke_access(RevokeAccess) -> Written;
    end_session(EndSession) -> Written;
    list_sessions(ListSessions) -> Vec<ListedSession>;
    insert_seen(InsertSeen) -> Issued;
    publish_key(PublishKey) -> KeyPublished;
    withdraw_key(WithdrawKey) -> Written;
    list_keys(ListKeys) -> Vec<PublishedKey>;
}

/// One issuer: a store, a clock, and the address at which the first instance is served.
struct Several {
    issuer: String,
    store: SharedStore,
    clock: ManualClock,
    listener: Option<TcpListener>,
    /// How often the key set was fetched.
    fetches: Arc<AtomicUsize>,
}

impl Several {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        Self {
            issuer,
            store: SharedStore::default(),
            clock: ManualClock::default(),
            listener: Some(listener),
            fetches: Arc::default(),
        }
    }

    /// Starts an instance. The first one is served at the issuer's address.
    fn start(&mut self, keys: impl Into<SigningKeys>) -> World {
        let clients = World::new().clients;
        let endpoint = TokenEndpoint::builder(&self.issuer, keys, clients.clone())
            .grant(ClientCredentialsGrant::new())
            .clock(self.clock.clone())
            .store(self.store.clone())
            .build()
            .unwrap();
        if let Some(listener) = self.listener.take() {
            let fetches = Arc::clone(&self.fetches);
            let count = move |request: Request, next: Next| {
                let is_key_set = request.uri().path() == "/jwks.json";
                fetches.fetch_add(usize::from(is_key_set), SeqCst);
                next.run(request)
            };
            let app = Router::new().fallback_service(endpoint.clone()).layer(middleware::from_fn(count));
            tokio::spawn(async move { axum::serve(listener, app).await });
        }
        World { endpoint, clients, clock: self.clock.clone() }
    }

    /// Returns the time in whole seconds, which a store has.
    fn now(&self) -> SystemTime {
        Timestamp::from(self.clock.now()).into()
    }

    /// Waits until the API has fetched the key set again, in the background.
    async fn wait_for_fetch(&self, api: &Router, token: &str) {
        let before = self.fetches.load(SeqCst);
        let mut attempts = 0..1000;
        while self.fetches.load(SeqCst) == before {
            status(api, token).await;
            assert!(attempts.next().is_some(), "the API does not fetch the key set");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Returns an API that fetches the key set of the first instance.
    async fn api(&self) -> Router {
        let issuer = Issuer::builder(&self.issuer).clock(self.clock.clone()).discover().await.unwrap();
        let verifier = JwtVerifier::builder(issuer, API).clock(self.clock.clone()).build().unwrap();
        let read = get(|_: Scoped<OrdersRead>| async { "read" });
        Router::new().route("/orders", read).layer(OAuthLayer::new(verifier))
    }
}

async fn token(instance: &World) -> String {
    instance.access_token("reports", &[]).await
}

async fn status(api: &Router, token: &str) -> StatusCode {
    get_with_token(api, "/orders", token).await.status
}

/// Threat T38
#[tokio::test]
async fn an_api_accepts_the_tokens_of_two_instances_with_different_keys() {
    let mut several = Several::new().await;
    let a = several.start(named("a"));
    let api = several.api().await;
    assert_eq!(status(&api, &token(&a).await).await, 200);
    // The second instance starts after the API has fetched the key set, in the same second.
    let b = several.start(named("b"));
    for _ in 0..50 {
        assert_eq!(status(&api, &token(&b).await).await, 200);
        assert_eq!(status(&api, &token(&a).await).await, 200);
    }
    assert_eq!((signs(&a).await, signs(&b).await), ("a".to_owned(), "b".to_owned()));
    assert_eq!(
        (published(&a).await, published(&b).await),
        (vec!["a".into(), "b".into()], vec!["b".into(), "a".into()])
    );
}

/// Threat T38
#[tokio::test]
async fn no_token_is_refused_while_two_instances_rotate_at_different_times() {
    let mut several = Several::new().await;
    let (a, b) = (several.start(named("a")), several.start(named("b")));
    let api = several.api().await;
    let next = named("next").expose_pkcs8_pem().unwrap();
    let next = || PrivateKey::from_pem(&next, Algorithm::ES256).unwrap();
    let mut last = Vec::new();
    for step in 0..30 * 6 {
        if step == 12 {
            assert_eq!(a.endpoint.rotate_key(next()).await.unwrap(), several.now() + HOUR);
        }
        if step == 15 {
            // Half an hour later, the same key needs half an hour.
            assert_eq!(b.endpoint.rotate_key(next()).await.unwrap(), several.now() + HOUR / 2);
        }
        if step == 30 {
            assert_eq!(a.endpoint.rotate_key(named("third")).await.unwrap(), several.now() + HOUR);
        }
        // The tokens of the last step are valid for fifty minutes more.
        let tokens = vec![token(&a).await, token(&b).await];
        for token in tokens.iter().chain(&last) {
            assert_eq!(status(&api, token).await, 200, "step {step}");
        }
        several.clock.advance(HOUR / 6);
        several.wait_for_fetch(&api, &tokens[0]).await;
        last = tokens;
    }
    assert_eq!(signs(&a).await, "third");
    assert_eq!(signs(&b).await.len(), 43, "the thumbprint of the key without a name");
}

/// Threat T39
#[tokio::test]
async fn a_key_that_one_instance_withdraws_is_used_by_none() {
    let mut several = Several::new().await;
    let a = several.start(named("a"));
    let b = several.start(SigningKeys::new(named("b")).with_newer(named("newer")));
    let api = several.api().await;
    let stolen = token(&b).await;
    assert_eq!(status(&api, &stolen).await, 200);
    a.endpoint.withdraw_key("b").await.unwrap();
    assert_eq!(published(&a).await, ["a", "newer"]);
    several.clock.advance(5 * SECOND);
    assert_eq!(signs(&b).await, "newer");
    assert_eq!(status(&api, &token(&b).await).await, 200);
    assert_eq!(published(&b).await, ["newer", "a"]);
    several.clock.advance(6 * 60 * SECOND);
    // The API fetches the key set again in the background.
    let mut attempts = 0..500;
    while status(&api, &stolen).await != 401 {
        assert!(attempts.next().is_some(), "the API accepts the stolen token");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    a.endpoint.withdraw_key("newer").await.unwrap();
    several.clock.advance(5 * SECOND);
    b.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    assert_eq!(published(&b).await, ["a"]);
    assert_eq!(signs(&a).await, "a");
}

/// Threat T39
#[tokio::test]
async fn a_withdrawn_key_is_not_used_after_a_restart() {
    let mut several = Several::new().await;
    let a = several.start(named("a"));
    a.endpoint.withdraw_key("b").await.unwrap();
    let b = several.start(SigningKeys::new(named("a2")).with_newer(named("b")));
    assert_eq!(signs(&b).await, "a2");
    several.clock.advance(2 * HOUR);
    assert_eq!(signs(&b).await, "a2");
    assert_eq!(published(&b).await, ["a2"]);
}

/// Threat T38
#[tokio::test]
async fn while_the_store_is_down_the_key_set_is_the_last_one_with_the_own_keys() {
    let mut several = Several::new().await;
    let (a, b) = (several.start(named("a")), several.start(named("b")));
    let _ = (token(&a).await, token(&b).await);
    assert_eq!(published(&a).await, ["a", "b"]);
    several.store.set_down(true);
    let c = several.start(named("c"));
    for _ in 0..3 {
        several.clock.advance(HOUR);
        assert_eq!(published(&a).await, ["a", "b"]);
        assert_eq!(published(&c).await, ["c"]);
        c.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
        assert!(matches!(a.endpoint.rotate_key(named("next")).await, Err(KeyRotationError::Store(_))));
        a.endpoint.withdraw_key("b").await.unwrap_err();
    }
    several.store.set_down(false);
    // The failure counts for some seconds, unless the key that signs must be published.
    assert_eq!(signs(&c).await, "c");
    several.clock.advance(5 * SECOND);
    assert_eq!(published(&a).await, ["a", "b", "c"]);
    assert_eq!(a.endpoint.rotate_key(named("next")).await.unwrap(), several.now() + HOUR);
}

/// Threat T30
#[tokio::test]
async fn a_key_whose_publication_can_not_be_prolonged_stops_signing_before_it_ends() {
    let mut several = Several::new().await;
    let a = several.start(named("a"));
    assert_eq!(signs(&a).await, "a");
    several.store.fail_publications(true);
    several.clock.advance(3 * HOUR);
    assert_eq!(signs(&a).await, "a", "the publication lasts for the prepublication time and two hours more");
    several.clock.advance(SECOND);
    a.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    assert_eq!(published(&a).await, ["a"]);
    several.store.fail_publications(false);
    assert_eq!(signs(&a).await, "a");
}

/// Threat T30
#[tokio::test]
async fn the_keys_of_an_instance_that_has_ended_are_published_until_its_last_token_expires() {
    let mut several = Several::new().await;
    let (a, b) = (several.start(named("a")), several.start(named("b")));
    for _ in 0..30 {
        assert_eq!((signs(&a).await, signs(&b).await), ("a".to_owned(), "b".to_owned()));
        several.clock.advance(HOUR);
    }
    drop(b);
    for hours in 1..30 {
        let keys = published(&a).await;
        assert!(keys == ["a", "b"] || hours > 24, "after {hours} hours: {keys:?}");
        assert!(keys == ["a"] || hours < 27, "after {hours} hours: {keys:?}");
        several.clock.advance(HOUR);
    }
}

/// Threat T38
#[tokio::test]
async fn an_instance_that_starts_again_signs_with_the_key_that_was_published_for_long() {
    let mut several = Several::new().await;
    let [old, new] = ["old", "new"].map(|id| named(id).expose_pkcs8_pem().unwrap());
    let key = |pem: &str| PrivateKey::from_pem(pem, Algorithm::ES256).unwrap();
    let a = several.start(key(&old).with_key_id("old"));
    assert_eq!(signs(&a).await, "old");
    several.clock.advance(10 * HOUR);
    let both = || SigningKeys::new(key(&old).with_key_id("old")).with_newer(key(&new).with_key_id("new"));
    let again = several.start(both());
    assert_eq!(signs(&again).await, "old", "the newer key is published only now");
    several.clock.advance(HOUR);
    assert_eq!(signs(&again).await, "new");
    let third = several.start(both());
    assert_eq!(signs(&third).await, "new");
    assert_eq!(signs(&a).await, "old", "an instance that does not know the newer key");
}

/// Threat T40
#[tokio::test]
async fn another_key_with_the_same_id_does_not_sign() {
    let mut several = Several::new().await;
    let (a, b) = (several.start(named("same")), several.start(named("same")));
    assert_eq!(signs(&a).await, "same");
    b.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    assert!(matches!(a.endpoint.rotate_key(named("same")).await, Err(KeyRotationError::KeyId(_))));
    let c = several.start(named("c"));
    assert!(matches!(c.endpoint.rotate_key(named("same")).await, Err(KeyRotationError::KeyId(_))));
}

/// Threat T40
#[tokio::test]
async fn keys_of_another_issuer_on_the_same_store_are_not_published() {
    let mut several = Several::new().await;
    let a = several.start(named("a"));
    let other = World::with(|builder| builder.store(several.store.clone()));
    assert_eq!((signs(&a).await, signs(&other).await), ("a".to_owned(), "first".to_owned()));
    assert_eq!((published(&a).await, published(&other).await), (vec!["a".to_owned()], vec!["first".to_owned()]));
    assert_ne!(several.issuer, ISSUER);
}

/// Threat T41
#[tokio::test]
async fn the_store_is_asked_for_keys_by_few_of_many_requests() {
    let mut several = Several::new().await;
    let a = several.start(named("a"));
    for _ in 0..1000 {
        token(&a).await;
    }
    assert_eq!(several.store.lists(), 1);
    several.clock.advance(5 * SECOND);
    for _ in 0..1000 {
        token(&a).await;
    }
    assert_eq!(several.store.lists(), 1);
    for _ in 0..1000 {
        published(&a).await;
    }
    assert!((1..=10).contains(&several.store.lists()));
    several.clock.advance(5 * SECOND);
    let first = futures_util::future::join_all((0..64).map(|_| token(&a))).await;
    assert_eq!((first.len(), several.store.lists()), (64, 1));
}

/// Threat T41
#[tokio::test]
async fn of_many_first_requests_one_publishes_the_key() {
    let mut several = Several::new().await;
    let a = several.start(named("a"));
    futures_util::future::join_all((0..64).map(|_| token(&a))).await;
    assert_eq!(several.store.lists(), 1);
}
