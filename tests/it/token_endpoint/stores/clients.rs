//! Clients in a store: what is added or renewed at run time is there after a restart, and on every instance.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    testing::{ManualClock, client_store_conformance},
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientBuilder, ClientChangeError, ClientCredential, ClientCredentialsGrant,
        ClientRegistry, ClientSaved, ClientSecret, ClientStore, Clients, FindClient, ListClients, MemoryStore, Record,
        RefreshTokenGrant, RemoveClient, SaveClient, Store, StoreError, StoredClients, TokenEndpoint, TokenFormat,
    },
};

use super::super::{
    API, AUTHORIZE, Answer, CB, ISSUER, OPAQUE, World, assertion_key, basic, confidential, machine, may_have_tokens,
    with_users,
};

/// Session 7 (design, accepts)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_clients_in_memory_conform() {
    let store = MemoryStore::new();
    client_store_conformance(async || store.clone()).await;
}

/// An endpoint with these clients. `watch` is configured.
fn world_with(store: impl Store, clients: impl ClientRegistry) -> World {
    world_at(ManualClock::default(), store, clients)
}

pub(super) fn world_at(clock: ManualClock, store: impl Store, clients: impl ClientRegistry) -> World {
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let builder = TokenEndpoint::builder(ISSUER, key, clients)
        .grant(ClientCredentialsGrant::new())
        .grant(AuthorizationCodeGrant::new(AUTHORIZE))
        .grant(RefreshTokenGrant::new())
        .clock(clock.clone())
        .store(store);
    World { endpoint: builder.build().unwrap(), clients: Clients::new([]).unwrap(), clock }
}

pub(super) fn watch() -> Clients {
    Clients::new([confidential("watch").introspects_any_token().build().unwrap()]).unwrap()
}

fn stored(store: impl ClientStore) -> StoredClients {
    StoredClients::new(store, ISSUER).with_configured(watch())
}

pub(super) async fn token(world: &World, id: &str, secret: &str) -> Answer {
    let form = [("grant_type", "client_credentials"), ("resource", OPAQUE)];
    world.post("/token", &basic(id, secret), &form).await
}

/// Checks that what was changed at run time is there after a restart, which `open` is.
pub(crate) async fn changes_survive_a_restart<S: Store + ClientStore + Clone>(open: impl AsyncFn() -> S) {
    let store = open().await;
    let clients = stored(store.clone());
    let world = world_with(store, clients.clone());
    for id in ["renewed", "moved", "leaked", "removed", "two"] {
        clients.insert(machine(id).build().unwrap()).await.unwrap();
    }
    let mut tokens = Vec::new();
    for id in ["renewed", "moved", "leaked", "removed"] {
        tokens.push(world.access_token(id, &[("resource", OPAQUE)]).await);
    }
    let renewed = clients.renew_secret("renewed").await.unwrap();
    let (new_id, moved) = clients.renew_id_and_secret("moved").await.unwrap();
    let leaked = clients.replace_leaked_secret("leaked").await.unwrap();
    clients.remove("removed").await.unwrap();
    let two = clients.add_secret("two").await.unwrap();
    drop((clients, world));

    let store = open().await;
    let clients = stored(store.clone());
    let world = world_with(store, clients.clone());
    for (id, secret) in
        [("renewed", &*renewed), (&*new_id, &moved), ("leaked", &leaked), ("two", &two), ("two", "two-secret")]
    {
        token(&world, id, secret).await.is_ok();
    }
    for (id, secret) in [
        ("renewed", "renewed-secret"),
        ("moved", "moved-secret"),
        ("moved", &moved),
        (&*new_id, "moved-secret"),
        ("leaked", "leaked-secret"),
        ("removed", "removed-secret"),
    ] {
        token(&world, id, secret).await.is_error(401, "invalid_client");
    }
    let mut active = Vec::new();
    for token in &tokens {
        active.push(world.is_active(token).await);
    }
    assert_eq!(active, [true, false, false, false], "only a renewed secret leaves the tokens valid");
    clients.remove_old_secret("two").await.unwrap();
    token(&world, "two", "two-secret").await.is_error(401, "invalid_client");
    let mut ids: Vec<_> = clients.list(None, 100).await.unwrap().iter().map(|client| client.id().to_owned()).collect();
    ids.sort();
    let mut expected = [&*new_id, "leaked", "renewed", "two"];
    expected.sort_unstable();
    assert_eq!(ids, expected);
}

/// Checks that of the secrets that two instances get at the same time, one works, and that no instance gets one that was lost
/// while it was made.
pub(crate) async fn two_instances_renew_at_once<S: Store + ClientStore + Clone>(open: impl AsyncFn() -> S) {
    let stores = [open().await, open().await];
    let instances = stores.clone().map(stored);
    let world = world_with(stores[0].clone(), instances[0].clone());
    let mut refused = 0;
    for round in 0..20 {
        let id = format!("both {round}");
        instances[0].insert(machine(&id).build().unwrap()).await.unwrap();
        let renew = |clients: &StoredClients| {
            let (clients, id) = (clients.clone(), id.clone());
            tokio::spawn(async move { clients.renew_secret(&id).await })
        };
        let (one, two) = (renew(&instances[0]), renew(&instances[1]));
        let results = [one.await.unwrap(), two.await.unwrap()];
        let mut working = 0;
        for result in &results {
            match result {
                Ok(secret) => working += usize::from(token(&world, &id, secret).await.status() == 200),
                Err(ClientChangeError::Refused(error)) => {
                    refused += 1;
                    assert!(error.to_string().contains("at the same time"), "{error}");
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert_eq!(working, 1, "{id}: {results:?}");
        token(&world, &id, &format!("{id}-secret")).await.is_error(401, "invalid_client");
    }
    println!("{refused} of 20 renewals met another one");
}

/// Session 6 (design, accepts)
/// Session 10 (design, accepts)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn changes_in_memory_are_seen_by_every_instance_with_the_store() {
    let store = MemoryStore::new();
    changes_survive_a_restart(async || store.clone()).await;
    two_instances_renew_at_once(async || store.clone()).await;
}

/// Session 6 (design, accepts and refuses)
#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_in_redis_conform_and_survive_a_kill() {
    let Some(server) = crate::servers::redis::RedisServer::start("clients in Redis") else { return };
    let server = std::cell::RefCell::new(server);
    let connect = async |prefix: &str| {
        let url = server.borrow().url();
        tower_oauth::token_endpoint::RedisStore::builder(url).key_prefix(prefix).connect().await.unwrap()
    };
    client_store_conformance(async || connect("conforms").await).await;
    Box::pin(two_instances_renew_at_once(async || connect("at-once").await)).await;
    let opened = std::cell::Cell::new(0);
    Box::pin(changes_survive_a_restart(async || {
        opened.set(opened.get() + 1);
        if opened.get() == 2 {
            server.borrow_mut().kill();
            server.borrow_mut().restart();
        }
        connect("killed").await
    }))
    .await;
    assert_eq!(opened.get(), 2);
}

/// Session 6 (design, accepts)
#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_in_a_cluster_conform_and_are_on_every_master() {
    use crate::servers::{redis::RedisServer, redis_cluster::RedisCluster};
    let Some(cluster) = RedisCluster::start("clients in a cluster") else { return };
    let connect = async |prefix: &str| {
        let builder = tower_oauth::token_endpoint::RedisStore::builder_from_cluster(cluster.urls());
        builder.key_prefix(prefix).connect().await.unwrap()
    };
    client_store_conformance(async || connect("conforms").await).await;
    let count = |server: &&_| RedisServer::cli(server, &["dbsize"]).trim().parse::<u32>().unwrap();
    let counts: Vec<_> = cluster.masters().iter().map(count).collect();
    assert!(counts.iter().all(|count| *count > 5), "the parts of 150 clients: {counts:?}");
    Box::pin(changes_survive_a_restart(async || connect("restarts").await)).await;
    Box::pin(two_instances_renew_at_once(async || connect("at-once").await)).await;
}

/// Session 6 (design, accepts)
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn clients_in_postgresql_conform_and_survive_a_restart() {
    let Some(server) = crate::servers::postgres::shared() else { return };
    let (builder, _) = super::postgres::builder(server);
    let open = async || builder.clone().connect().await.unwrap();
    client_store_conformance(open).await;
    Box::pin(changes_survive_a_restart(open)).await;
    Box::pin(two_instances_renew_at_once(open)).await;
    let with_one_connection = builder.clone().max_connections(1);
    client_store_conformance(async || with_one_connection.clone().connect().await.unwrap()).await;
}

/// A client with every setting, each of which has an effect that [`effects`] sees.
fn with_every_setting(id: &str, credential: impl Into<ClientCredential>) -> ClientBuilder {
    with_users(Client::builder(id, credential))
        .credential_generation(7)
        .redirect_uri("http://localhost:8080/cb")
        .redirect_uri("cursor://auth/cb")
        .any_localhost_port()
        .accept_private_scheme("cursor")
        .grant_less_than_asked()
        .audience("https://part.test", TokenFormat::Opaque)
        .audience_scopes("https://part.test", ["orders:write"])
        .access_token_lifetime(Duration::from_secs(77))
        .max_active_tokens(2)
        .max_sessions(1)
}

/// Returns what requests of the client get, whose secrets are `new` and `old`.
async fn effects(world: &World, registry: &impl ClientRegistry) -> Vec<String> {
    let client = registry.find("every").await.unwrap().unwrap();
    let mut seen = vec![format!("{} {:?} {}", client.id(), client.grant_types(), client.generation())];
    seen.push(format!(
        "{:?} {:?}",
        client.secret().map(ClientSecret::hash),
        client.previous_secret().map(ClientSecret::hash)
    ));
    let both = "orders:read orders:write admin";
    for secret in ["new", "old", "other"] {
        for (audience, scope) in [(API, ""), (OPAQUE, both), ("https://part.test", both), ("https://other.test", "")] {
            let form = [("grant_type", "client_credentials"), ("resource", audience), ("scope", scope)];
            let form: Vec<_> = form.into_iter().filter(|(_, value)| !value.is_empty()).collect();
            let answer = world.post("/token", &basic("every", secret), &form).await.json;
            let is_jwt = answer["access_token"].as_str().map(|token| token.contains('.'));
            seen.push(format!("{} {} {} {is_jwt:?}", answer["error"], answer["scope"], answer["expires_in"]));
        }
    }
    let mut tokens = Vec::new();
    for _ in 0..3 {
        let answer = token(world, "every", "new").await;
        tokens.push(answer.text("access_token").to_owned());
    }
    let theirs = world.access_token("reports", &[("resource", OPAQUE)]).await;
    for token in tokens.iter().chain([&theirs]) {
        let answer = world.post("/introspect", &basic("every", "new"), &[("token", token)]).await;
        seen.push(format!("active: {}", answer.json["active"]));
    }
    for uri in [CB, "http://localhost:9999/cb", "cursor://auth/cb", "https://evil.test/cb"] {
        let asked = world.ask(&[("client_id", "every"), ("redirect_uri", uri)]).await;
        seen.push(format!("{uri}: {}", asked.is_ok()));
    }
    let user = [("client_id", "every"), ("redirect_uri", CB), ("client_secret", "new")];
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let code = world.code(&user[..2]).await;
        sessions.push(world.redeem(&code, &user).await.text("refresh_token").to_owned());
    }
    for refresh in sessions {
        seen.push(format!("session: {}", world.refresh(&refresh, &[user[0], user[2]]).await.status()));
    }
    seen
}

/// Session 6 (design, accepts)
#[tokio::test]
async fn every_setting_of_a_client_survives() {
    let every = || {
        let client = with_every_setting("every", ClientSecret::new("new")).redirect_uri(CB);
        client
            .previous_secret(ClientSecret::new("old"))
            .grant_types(["client_credentials"])
            .introspects_audience(OPAQUE)
    };
    let reports = || machine("reports").build().unwrap();
    let kept = Clients::new([every().build().unwrap(), reports()]).unwrap();
    let expected = effects(&world_with(MemoryStore::new(), kept.clone()), &kept).await;
    let store = MemoryStore::new();
    let clients = stored(store.clone());
    for client in [every().build().unwrap(), reports()] {
        clients.insert(client).await.unwrap();
    }
    assert_eq!(effects(&world_with(store.clone(), clients.clone()), &clients).await, expected);
    // Each setting has an effect, so that its loss would be seen.
    for sign in [
        "every [\"authorization_code\", \"refresh_token\", \"client_credentials\"] 7",
        "null \"orders:read\" 77 Some(true)",
        "null \"orders:read orders:write\" 77 Some(false)",
        "null \"orders:write\" 77 Some(false)",
        "\"invalid_target\" null null None",
        "\"invalid_client\" null null None",
        "active: false",
        "active: true",
        "http://localhost:9999/cb: true",
        "cursor://auth/cb: true",
        "https://evil.test/cb: false",
        "session: 400",
        "session: 200",
    ] {
        assert!(expected.iter().any(|effect| effect == sign), "{sign}: {expected:#?}");
    }

    // Of the record that was read, everything is written again.
    let read = clients.find("every").await.unwrap().unwrap();
    let again = stored(MemoryStore::new());
    for client in clients.list(None, 10).await.unwrap() {
        again.insert(client).await.unwrap();
    }
    assert_eq!(again.find("every").await.unwrap().unwrap().grant_types(), read.grant_types());
    let all = confidential("all").introspects_any_token().build().unwrap();
    clients.insert(all).await.unwrap();
    let world = world_with(store, clients);
    let theirs = world.access_token("reports", &[]).await;
    let answer = world.post("/introspect", &basic("all", "all-secret"), &[("token", &theirs)]).await;
    assert_eq!(answer.json["active"], true, "any token");
}

/// Threat T66
#[tokio::test]
async fn a_public_client_needs_pkce_whatever_its_record_has() {
    let store = PlannedStore::default();
    let clients = stored(store.clone());
    let app = with_users(confidential("app").redirect_uri(CB)).accept_without_pkce().build().unwrap();
    clients.insert(app).await.unwrap();
    let world = world_with(MemoryStore::new(), clients);
    let without = [("code_challenge", ""), ("code_challenge_method", "")];
    world.ask(&without).await.unwrap();
    let public = |record: &str| {
        let mut record: serde_json::Value = serde_json::from_str(record).unwrap();
        assert_eq!(record["pkce"], "optional");
        record["credential"] = "none".into();
        record.to_string()
    };
    store.plan(|plan| plan.rewrite = Some(public));
    assert_eq!(world.ask(&without).await.unwrap_err().code(), "invalid_request");
    world.ask(&[]).await.unwrap();
}

/// Session 6 (design, accepts)
#[tokio::test]
async fn keys_and_public_clients_survive() {
    for algorithm in [Algorithm::ES256, Algorithm::RS256, Algorithm::PS256, Algorithm::EdDSA] {
        let store = MemoryStore::new();
        let clients = stored(store.clone());
        let keys = assertion_key(algorithm).key_set();
        clients.insert(may_have_tokens(Client::builder("signs", keys)).build().unwrap()).await.unwrap();
        let public = with_users(Client::builder("app", ClientCredential::None).redirect_uri(CB)).build().unwrap();
        clients.insert(public).await.unwrap();
        let world = world_with(store, clients);
        let assertion = assertion_key(algorithm)
            .with_clock(world.clock.clone())
            .client_token("signs")
            .claim("iss", "signs")
            .claim("jti", "one")
            .audience(ISSUER)
            .expires_in(Duration::from_secs(60))
            .header("typ", "JWT")
            .sign();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", &*assertion),
        ];
        world.post("/token", "", &form).await.is_ok();
        let code = world.code(&[]).await;
        world.redeem(&code, &[]).await.is_ok();
        world
            .post("/token", &basic("signs", "signs-secret"), &[("grant_type", "client_credentials")])
            .await
            .is_error(401, "invalid_client");
    }
}

type Hook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

#[derive(Default)]
struct Plan {
    before_save: Option<Hook>,
    before_remove: Option<Hook>,
    answer: Option<Result<ClientSaved, StoreError>>,
    loses_removals: bool,
    is_down: bool,
    rewrite: Option<fn(&str) -> String>,
    records: Vec<String>,
    operations: usize,
    outage: Option<Outage>,
}

/// Operations that fail.
#[derive(Debug, Clone, Copy)]
struct Outage {
    first: usize,
    count: usize,
    is_executed: bool,
}

/// A store of clients in which other things happen as a test plans it.
#[derive(Clone, Default)]
struct PlannedStore {
    inner: MemoryStore,
    plan: Arc<Mutex<Plan>>,
}

impl PlannedStore {
    fn plan(&self, change: impl FnOnce(&mut Plan)) {
        change(&mut self.plan.lock().unwrap());
    }

    fn before_save(&self, hook: impl AsyncFnOnceHook) {
        self.plan(|plan| plan.before_save = Some(hook.boxed()));
    }

    /// Executes an operation, unless it is planned that its answer is lost.
    async fn outage<T>(&self, operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let outage = {
            let mut plan = self.plan.lock().unwrap();
            plan.operations += 1;
            let number = plan.operations;
            plan.outage.filter(|outage| (outage.first..outage.first + outage.count).contains(&number))
        };
        match outage {
            None => operation.await,
            Some(outage) => {
                if outage.is_executed {
                    operation.await?;
                }
                Err(StoreError::new("the answer is lost"))
            }
        }
    }

    fn before_remove(&self, hook: impl AsyncFnOnceHook) {
        self.plan(|plan| plan.before_remove = Some(hook.boxed()));
    }
}

trait AsyncFnOnceHook {
    fn boxed(self) -> Hook;
}

impl<F: Future<Output = ()> + Send + 'static> AsyncFnOnceHook for F {
    fn boxed(self) -> Hook {
        Box::new(move || Box::pin(self))
    }
}

impl ClientStore for PlannedStore {
    async fn find_client(&self, request: &FindClient) -> Result<Option<Record>, StoreError> {
        let (is_down, rewrite) = {
            let plan = self.plan.lock().unwrap();
            (plan.is_down, plan.rewrite)
        };
        if is_down {
            return Err(StoreError::new("down"));
        }
        let found = self.outage(self.inner.find_client(request)).await?;
        let changed = |record: Record| match rewrite {
            Some(rewrite) => Record::from(rewrite(record.as_str())),
            None => record,
        };
        Ok(found.map(changed))
    }

    async fn save_client(&self, request: &SaveClient) -> Result<ClientSaved, StoreError> {
        let (hook, answer) = {
            let mut plan = self.plan.lock().unwrap();
            plan.records.push(request.record().as_str().to_owned());
            (plan.before_save.take(), plan.answer.clone())
        };
        if let Some(hook) = hook {
            hook().await;
        }
        match answer {
            Some(answer) => answer,
            None => self.outage(self.inner.save_client(request)).await,
        }
    }

    async fn remove_client(&self, request: &RemoveClient) -> Result<ClientSaved, StoreError> {
        let (hook, answer, is_lost) = {
            let mut plan = self.plan.lock().unwrap();
            (plan.before_remove.take(), plan.answer.clone(), plan.loses_removals)
        };
        if let Some(hook) = hook {
            hook().await;
        }
        match answer {
            Some(answer) => answer,
            None if is_lost => self.inner.remove_client(request).await.and(Err(StoreError::new("the answer is lost"))),
            None => self.outage(self.inner.remove_client(request)).await,
        }
    }

    async fn list_clients(&self, request: &ListClients) -> Result<Vec<Record>, StoreError> {
        self.inner.list_clients(request).await
    }
}

fn works(answer: &Answer) -> bool {
    match answer.status() {
        200 => true,
        401 => false,
        status => panic!("{status}"),
    }
}

/// A store in which the client `one` is, its registry, and an endpoint.
async fn planned() -> (PlannedStore, StoredClients, World) {
    let store = PlannedStore::default();
    let clients = stored(store.clone());
    clients.insert(machine("one").build().unwrap()).await.unwrap();
    let world = world_with(MemoryStore::new(), clients.clone());
    (store, clients, world)
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(result: Result<T, ClientChangeError>, found: &str) {
    match result {
        Err(ClientChangeError::Refused(error)) => assert!(error.to_string().contains(found), "{error}"),
        other => panic!("{other:?}"),
    }
}

/// Session 7 (design, refuses)
#[tokio::test]
async fn a_secret_that_another_instance_gets_meanwhile_is_not_lost() {
    let (store, clients, world) = planned().await;
    let (other, secret) = (stored(store.inner.clone()), Arc::new(Mutex::new(String::new())));
    let gets = Arc::clone(&secret);
    store.before_save(async move {
        let renewed = other.renew_secret("one").await.unwrap();
        *gets.lock().unwrap() = renewed;
    });
    is_refused(clients.renew_secret("one").await, "was changed at the same time");
    let secret = secret.lock().unwrap().clone();
    token(&world, "one", &secret).await.is_ok();
    let again = clients.renew_secret("one").await.unwrap();
    token(&world, "one", &again).await.is_ok();
    token(&world, "one", &secret).await.is_error(401, "invalid_client");
}

/// Session 7 (design, refuses)
#[tokio::test]
async fn a_client_that_is_removed_while_it_is_renewed_stays_removed() {
    let (store, clients, world) = planned().await;
    let other = stored(store.inner.clone());
    store.before_save(async move { other.remove("one").await.unwrap() });
    is_refused(clients.renew_secret("one").await, "no stored client");
    assert!(clients.find("one").await.unwrap().is_none());
    token(&world, "one", "one-secret").await.is_error(401, "invalid_client");
}

/// Session 7 (design, accepts)
#[tokio::test]
async fn a_renewal_keeps_settings_that_another_instance_changes_meanwhile() {
    let (store, clients, world) = planned().await;
    let other = stored(store.inner.clone());
    store.before_save(async move {
        other.replace(machine("one").access_token_lifetime(Duration::from_secs(99)).build().unwrap()).await.unwrap();
    });
    let secret = clients.renew_secret("one").await.unwrap();
    assert_eq!(token(&world, "one", &secret).await.json["expires_in"], 99);
}

/// Session 7 (design, refuses)
#[tokio::test]
async fn of_a_new_id_and_a_new_secret_at_the_same_time_one_is_refused() {
    let (store, clients, world) = planned().await;
    let (other, secret) = (stored(store.inner.clone()), Arc::new(Mutex::new(String::new())));
    let gets = Arc::clone(&secret);
    store.before_remove(async move {
        let renewed = other.renew_secret("one").await.unwrap();
        *gets.lock().unwrap() = renewed;
    });
    is_refused(clients.renew_id_and_secret("one").await, "was changed at the same time");
    let secret = secret.lock().unwrap().clone();
    token(&world, "one", &secret).await.is_ok();
    assert_eq!(clients.list(None, 10).await.unwrap().len(), 1, "the new id is removed again");
}

/// Session 8 (design, refuses)
#[tokio::test]
async fn an_error_says_whether_a_change_may_be_executed() {
    let (store, clients, world) = planned().await;
    let cases = [
        (Ok(ClientSaved::Late), false),
        (Err(StoreError::not_executed("not sent")), false),
        (Err(StoreError::new("the answer is lost")), true),
    ];
    for (answer, may_be_executed) in cases {
        store.plan(|plan| plan.answer = Some(answer));
        for result in [
            clients.insert(machine("two").build().unwrap()).await,
            clients.renew_secret("one").await.map(drop),
            clients.renew_id_and_secret("one").await.map(drop),
            clients.remove("one").await.map_err(ClientChangeError::from),
        ] {
            let Err(ClientChangeError::Store(error)) = result else { panic!("{result:?}") };
            assert_eq!(error.may_be_executed(), may_be_executed, "{error}");
        }
    }
    store.plan(|plan| plan.answer = None);
    token(&world, "one", "one-secret").await.is_ok();
}

/// Session 7 (design, accepts)
/// Session 9 (design, accepts)
#[tokio::test]
async fn a_removal_whose_answer_is_lost_ends_the_renewal_of_an_id() {
    let (store, clients, world) = planned().await;
    store.plan(|plan| plan.loses_removals = true);
    let (id, secret) = clients.renew_id_and_secret("one").await.unwrap();
    token(&world, &id, &secret).await.is_ok();
    token(&world, "one", "one-secret").await.is_error(401, "invalid_client");
}

/// Session 9 (design, refuses)
#[tokio::test]
async fn a_store_that_fails_at_any_step_loses_no_client_whose_id_is_renewed() {
    let (mut finished, mut left, mut failed) = (0, 0, 0);
    for first in 1..=5 {
        for (count, is_executed) in [(1, false), (1, true), (usize::MAX / 2, false), (usize::MAX / 2, true)] {
            let outage = Outage { first, count, is_executed };
            let (store, clients, world) = planned().await;
            store.plan(|plan| (plan.operations, plan.outage) = (0, Some(outage)));
            let result = clients.renew_id_and_secret("one").await;
            store.plan(|plan| plan.outage = None);
            let old_works = works(&token(&world, "one", "one-secret").await);
            match result {
                Ok((id, secret)) => {
                    finished += 1;
                    assert!(!old_works, "{outage:?}");
                    token(&world, &id, &secret).await.is_ok();
                }
                Err(ClientChangeError::OldIdLeft(renewed)) => {
                    left += 1;
                    let shown = format!("{renewed:?} {}", ClientChangeError::OldIdLeft(renewed.clone()));
                    assert!(!shown.contains(renewed.secret()) && !shown.contains(renewed.client_id()), "{shown}");
                    assert!(renewed.error().may_be_executed(), "{outage:?}");
                    token(&world, renewed.client_id(), renewed.secret()).await.is_ok();
                    clients.remove("one").await.unwrap();
                    token(&world, "one", "one-secret").await.is_error(401, "invalid_client");
                    token(&world, renewed.client_id(), renewed.secret()).await.is_ok();
                    assert_eq!(clients.list(None, 10).await.unwrap().len(), 1, "{outage:?}");
                }
                Err(ClientChangeError::Store(error)) => {
                    failed += 1;
                    assert!(error.may_be_executed() && old_works, "{outage:?}");
                    let (id, secret) = clients.renew_id_and_secret("one").await.unwrap();
                    token(&world, &id, &secret).await.is_ok();
                    token(&world, "one", "one-secret").await.is_error(401, "invalid_client");
                }
                Err(error) => panic!("{outage:?}: {error:?}"),
            }
        }
    }
    // Of 20: the look-up and the new record fail 8 times. The removal is lost 4 times, and its outcome is seen once.
    assert_eq!((failed, left, finished), (8, 3, 9));
}

/// Session 10 (design, refuses)
#[tokio::test]
async fn an_old_copy_of_a_client_brings_no_leaked_secret_back() {
    let (store, clients, world) = planned().await;
    let old = || machine("one").build().unwrap();
    let access = world.access_token("one", &[("resource", OPAQUE)]).await;
    let secret = clients.replace_leaked_secret("one").await.unwrap();
    is_refused(clients.replace(old()).await, "generation 0 for the client \"one\", which is stored with generation 1");
    token(&world, "one", "one-secret").await.is_error(401, "invalid_client");
    assert!(!world.is_active(&access).await);
    token(&world, "one", &secret).await.is_ok();
    // Nor if the secret is replaced while the old copy is written.
    let other = stored(store.inner.clone());
    store.before_save(async move { drop(other.replace_leaked_secret("one").await.unwrap()) });
    let copy = || machine("one").credential_generation(1).build().unwrap();
    assert!(clients.replace(copy()).await.is_err());
    is_refused(clients.replace(copy()).await, "generation 1");
    token(&world, "one", "one-secret").await.is_error(401, "invalid_client");
    // The same generation or a higher one is a change like others.
    for generation in [2, 5] {
        let newer = machine("one").credential_generation(generation).access_token_lifetime(Duration::from_secs(9));
        clients.replace(newer.build().unwrap()).await.unwrap();
        assert_eq!(token(&world, "one", "one-secret").await.json["expires_in"], 9);
    }
}

/// Session 11 (design, refuses)
#[tokio::test]
async fn an_old_copy_of_a_client_brings_no_renewed_secret_back() {
    let (store, clients, world) = planned().await;
    let read = async || clients.list(None, 9).await.unwrap().remove(0);
    let (copy, source) = (read().await, read().await);
    let secret = clients.renew_secret("one").await.unwrap();
    is_refused(clients.replace(copy).await, "was replaced after it was read");
    let of_old_secret = |old: &Client| machine_with(old.secret().unwrap().clone()).build().unwrap();
    is_refused(clients.replace(of_old_secret(&source)).await, "was replaced after it was read");
    token(&world, "one", "one-secret").await.is_error(401, "invalid_client");
    token(&world, "one", &secret).await.is_ok();

    let copy = read().await;
    let added = clients.add_secret("one").await.unwrap();
    is_refused(clients.replace(copy).await, "was replaced after it was read");
    let copy = read().await;
    clients.remove_old_secret("one").await.unwrap();
    is_refused(clients.replace(copy).await, "was replaced after it was read");
    token(&world, "one", &secret).await.is_error(401, "invalid_client");
    token(&world, "one", &added).await.is_ok();

    // Nor if the secret is renewed while the copy is written.
    let (copy, other) = (read().await, stored(store.inner.clone()));
    store.before_save(async move { drop(other.renew_secret("one").await.unwrap()) });
    assert!(clients.replace(copy).await.is_err());
    token(&world, "one", &added).await.is_error(401, "invalid_client");
}

/// Session 11 (design, accepts)
#[tokio::test]
async fn a_copy_of_a_client_with_the_current_secret_replaces_it() {
    let (_, clients, world) = planned().await;
    let read = async || clients.list(None, 9).await.unwrap().remove(0);
    clients.replace(read().await).await.unwrap();
    token(&world, "one", "one-secret").await.is_ok();
    // The current secret becomes the previous one.
    let current = read().await.secret().unwrap().clone();
    let changed = machine_with(ClientSecret::new("new-secret")).previous_secret(current);
    clients.replace(changed.build().unwrap()).await.unwrap();
    for secret in ["one-secret", "new-secret"] {
        token(&world, "one", secret).await.is_ok();
    }
    clients.replace(read().await).await.unwrap();
    // A secret from elsewhere is a change like others, also if it is an old one.
    let old = ClientSecret::from_hash(&ClientSecret::new("one-secret").hash()).unwrap();
    clients.replace(machine_with(old).build().unwrap()).await.unwrap();
    token(&world, "one", "one-secret").await.is_ok();
    token(&world, "one", "new-secret").await.is_error(401, "invalid_client");
}

/// Returns the builder of the client `one` with this secret.
fn machine_with(secret: ClientSecret) -> ClientBuilder {
    may_have_tokens(Client::builder("one", secret))
}

/// Session 8 (design, accepts)
#[tokio::test]
async fn a_store_that_is_down_refuses_with_503_and_not_as_unknown() {
    let (store, clients, world) = planned().await;
    let access = world.access_token("one", &[("resource", OPAQUE)]).await;
    store.plan(|plan| plan.is_down = true);
    token(&world, "one", "one-secret").await.is_error(503, "temporarily_unavailable");
    token(&world, "unknown", "unknown-secret").await.is_error(503, "temporarily_unavailable");
    assert!(matches!(clients.renew_secret("one").await, Err(ClientChangeError::Store(_))));
    let answer = world.post("/introspect", &super::super::usual("watch"), &[("token", &access)]).await;
    answer.is_error(503, "temporarily_unavailable");
    store.plan(|plan| plan.is_down = false);
    assert!(world.is_active(&access).await, "a configured client needs no store");
}

/// Session 8 (design, refuses)
/// Session 12 (design, refuses)
#[tokio::test]
async fn a_record_that_this_version_can_not_read_is_unavailable_and_not_unknown() {
    let (store, clients, world) = planned().await;
    let access = world.access_token("one", &[("resource", OPAQUE)]).await;
    let unreadable: [fn(&str) -> String; 6] = [
        |text| text.replacen('{', "{\"must\":[\"rate_limit\"],\"rate_limit\":1,", 1),
        |text| text.replacen("\"secret\"", "\"passkey\"", 1),
        |text| text.replacen("sha256:", "argon2:", 1),
        |text| text.replacen("\"refuse\"", "\"ask_the_user\"", 1),
        |text| text.replacen("\"one\"", "\"other\"", 1),
        |_| "not a record".to_owned(),
    ];
    for rewrite in unreadable {
        store.plan(|plan| plan.rewrite = Some(rewrite));
        token(&world, "one", "one-secret").await.is_error(503, "temporarily_unavailable");
        assert!(matches!(clients.renew_secret("one").await, Err(ClientChangeError::Store(_))), "it is not overwritten");
    }
    let readable: [fn(&str) -> String; 2] = [
        |text| text.replacen('{', "{\"must\":[],\"hint\":{\"color\":1.5e300},", 1),
        |text| text.replacen("\"excess\":\"refuse\",", "", 1),
    ];
    for rewrite in readable {
        store.plan(|plan| plan.rewrite = Some(rewrite));
        token(&world, "one", "one-secret").await.is_ok();
    }
    store.plan(|plan| plan.rewrite = None);
    assert!(world.is_active(&access).await, "nothing was ended meanwhile");
    let records = store.plan.lock().unwrap().records.clone();
    assert!(
        records.iter().all(|record| record.starts_with("{\"v\":1,") && !record.contains("one-secret")),
        "{records:?}"
    );
}

/// Session 6 (design, refuses)
#[tokio::test]
async fn an_id_is_given_once_and_a_configured_client_comes_first() {
    let (_, clients, world) = planned().await;
    is_refused(clients.insert(machine("one").build().unwrap()).await, "there is a client");
    is_refused(clients.insert(machine("watch").build().unwrap()).await, "there is a client");
    is_refused(clients.replace(machine("two").build().unwrap()).await, "no stored client");
    is_refused(clients.renew_secret("watch").await, "no stored client");
    is_refused(clients.renew_id_and_secret("two").await, "no stored client");
    let public = with_users(Client::builder("app", ClientCredential::None).redirect_uri(CB)).build().unwrap();
    clients.insert(public).await.unwrap();
    for id in ["app", "unknown", "watch"] {
        assert!(clients.renew_secret(id).await.is_err(), "{id}");
        assert!(clients.add_secret(id).await.is_err(), "{id}");
        assert!(clients.remove_old_secret(id).await.is_err(), "{id}");
        assert!(clients.replace_leaked_secret(id).await.is_err(), "{id}");
        assert!(clients.renew_id_and_secret(id).await.is_err(), "{id}");
        clients.remove(id).await.unwrap();
    }
    assert!(clients.find("watch").await.unwrap().is_some(), "a configured client can't be removed here");
    clients.add_secret("one").await.unwrap();
    is_refused(clients.add_secret("one").await, "two secrets");
    token(&world, "one", "one-secret").await.is_ok();
}

/// Session 6 (design, accepts)
#[tokio::test]
async fn two_issuers_share_a_store_and_pages_list_every_client() {
    let store = MemoryStore::new();
    let (one, two) = (stored(store.clone()), StoredClients::new(store, "https://other.test"));
    for number in 0..25 {
        one.insert(machine(&format!("one {number}")).build().unwrap()).await.unwrap();
    }
    two.insert(machine("one 1").build().unwrap()).await.unwrap();
    two.remove("one 2").await.unwrap();
    assert!(one.find("one 2").await.unwrap().is_some() && two.find("one 3").await.unwrap().is_none());
    assert_eq!(two.list(None, 10).await.unwrap().len(), 1);
    let (mut ids, mut sizes) = (Vec::<String>::new(), Vec::new());
    loop {
        let page = one.list(ids.last().map(String::as_str), 10).await.unwrap();
        sizes.push(page.len());
        ids.extend(page.iter().map(|client| client.id().to_owned()));
        if page.len() < 10 {
            break;
        }
    }
    assert_eq!(sizes, [10, 10, 5]);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 25);
}
