//! Stored clients of a store whose records a test changes, as a newer version does, and which takes its time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tower_oauth::{
    clock::Clock,
    testing::ManualClock,
    token_endpoint::{
        Client, ClientRegistry, ClientSaved, ClientSecret, ClientStore, FindClient, ListClients, MemoryStore, Record,
        RemoveClient, SaveClient, StoreError, StoredClients, TokenHash,
    },
};

use super::super::{
    ISSUER, basic, machine, may_have_tokens,
    stores::clients::{token, watch, world_at},
};

/// The clients of one issuer. Each look-up takes `delay`.
#[derive(Clone, Default)]
pub(crate) struct OpenStore {
    records: Arc<Mutex<HashMap<TokenHash, Record>>>,
    clock: ManualClock,
    delay: Duration,
}

impl OpenStore {
    /// Returns the only record, with its members in their order.
    pub(crate) fn only(&self) -> String {
        let records = self.records.lock().unwrap();
        assert_eq!(records.len(), 1);
        records.values().next().unwrap().as_str().to_owned()
    }

    pub(crate) fn rewrite(&self, change: impl Fn(&str) -> String) {
        for record in self.records.lock().unwrap().values_mut() {
            *record = Record::from(change(record.as_str()));
        }
    }
}

impl ClientStore for OpenStore {
    async fn find_client(&self, request: &FindClient) -> Result<Option<Record>, StoreError> {
        if self.delay > Duration::ZERO {
            self.clock.sleep(self.delay).await;
        }
        Ok(self.records.lock().unwrap().get(&request.client()).cloned())
    }

    async fn save_client(&self, request: &SaveClient) -> Result<ClientSaved, StoreError> {
        let mut records = self.records.lock().unwrap();
        if records.get(&request.client()) != request.expected().as_ref() {
            return Ok(ClientSaved::Conflict);
        }
        records.insert(request.client(), request.record().clone());
        Ok(ClientSaved::Done)
    }

    async fn remove_client(&self, request: &RemoveClient) -> Result<ClientSaved, StoreError> {
        let mut records = self.records.lock().unwrap();
        if request.expected().is_some() && records.get(&request.client()) != request.expected().as_ref() {
            return Ok(ClientSaved::Conflict);
        }
        records.remove(&request.client());
        Ok(ClientSaved::Done)
    }

    async fn list_clients(&self, _: &ListClients) -> Result<Vec<Record>, StoreError> {
        Ok(self.records.lock().unwrap().values().cloned().collect())
    }
}

/// Checks that the record has each of its members once, and returns the unknown ones.
#[track_caller]
fn unknown_members(record: &str) -> Value {
    for member in ["\"v\":", "\"hint\":", "\"rate_limit\":", "\"id\":"] {
        assert_eq!(record.matches(member).count(), 1, "{member}: {record}");
    }
    let record: Value = serde_json::from_str(record).unwrap();
    assert_eq!(record["v"], 1);
    json!([record["hint"], record["rate_limit"]])
}

/// Session 12 (design, accepts)
#[tokio::test]
async fn every_change_keeps_the_members_that_a_newer_version_wrote() {
    let store = OpenStore::default();
    let clients = StoredClients::new(store.clone(), ISSUER);
    clients.insert(machine("one").build().unwrap()).await.unwrap();
    let newer = "{\"v\":2,\"must\":[],\"hint\":{\"color\":1.5,\"of\":[null,7]},\"rate_limit\":18446744073709551615,";
    store.rewrite(|text| text.replacen("{\"v\":1,", newer, 1));
    let kept = json!([{"color": 1.5, "of": [null, 7]}, u64::MAX]);

    let mut secrets = vec![clients.renew_secret("one").await.unwrap()];
    assert_eq!(unknown_members(&store.only()), kept, "renew_secret");
    secrets.push(clients.add_secret("one").await.unwrap());
    assert_eq!(unknown_members(&store.only()), kept, "add_secret");
    clients.remove_old_secret("one").await.unwrap();
    assert_eq!(unknown_members(&store.only()), kept, "remove_old_secret");
    secrets.push(clients.replace_leaked_secret("one").await.unwrap());
    assert_eq!(unknown_members(&store.only()), kept, "replace_leaked_secret");
    let (id, _) = clients.renew_id_and_secret("one").await.unwrap();
    assert_eq!(unknown_members(&store.only()), kept, "renew_id_and_secret");

    // A client that was read has its own members, also in another store.
    let read = clients.list(None, 1).await.unwrap().pop().unwrap();
    store.rewrite(|text| text.replacen("18446744073709551615", "3", 1));
    clients.replace(read).await.unwrap();
    assert_eq!(unknown_members(&store.only()), kept, "replace by one that was read");
    let copy = OpenStore::default();
    let read = clients.list(None, 1).await.unwrap().pop().unwrap();
    StoredClients::new(copy.clone(), ISSUER).insert(read).await.unwrap();
    assert_eq!(unknown_members(&copy.only()), kept, "insert");

    // One that this version made has none, so those of the store stay.
    store.rewrite(|text| text.replacen("18446744073709551615", "3", 1));
    let secret = "new";
    let again = may_have_tokens(Client::builder(&*id, ClientSecret::new(secret))).credential_generation(1);
    clients.replace(again.build().unwrap()).await.unwrap();
    assert_eq!(unknown_members(&store.only()), json!([kept[0], 3]), "replace by a new client");
    let world = world_at(ManualClock::default(), MemoryStore::new(), clients.with_configured(watch()));
    token(&world, &id, secret).await.is_ok();
}

/// A registry without clients, whose look-up takes `delay`.
struct SlowRegistry {
    clock: ManualClock,
    delay: Duration,
}

impl ClientRegistry for SlowRegistry {
    async fn find(&self, _: &str) -> Result<Option<Arc<Client>>, StoreError> {
        self.clock.sleep(self.delay).await;
        Ok(None)
    }

    fn time_limit(&self) -> Duration {
        Duration::from_secs(3)
    }
}

/// Session 13 (design, accepts and refuses)
#[tokio::test]
async fn a_look_up_may_take_the_time_of_the_configured_registry_and_that_of_the_store() {
    let limit = |clients: &StoredClients| ClientRegistry::time_limit(clients);
    assert_eq!(limit(&StoredClients::new(OpenStore::default(), ISSUER)), Duration::from_secs(2));
    assert_eq!(
        limit(&StoredClients::new(OpenStore::default(), ISSUER).with_configured(watch())),
        Duration::from_secs(4)
    );
    for (in_store, status) in [(1_800, 200), (2_300, 503)] {
        let clock = ManualClock::default();
        let mut store = OpenStore { clock: clock.clone(), ..OpenStore::default() };
        StoredClients::new(store.clone(), ISSUER).insert(machine("one").build().unwrap()).await.unwrap();
        store.delay = Duration::from_millis(in_store);
        let slow = SlowRegistry { clock: clock.clone(), delay: Duration::from_millis(2_900) };
        let clients = StoredClients::new(store, ISSUER).with_configured(slow);
        assert_eq!(limit(&clients), Duration::from_secs(5));
        let world = world_at(clock, MemoryStore::new(), clients);
        let form = [("grant_type", "client_credentials")];
        let answer = world.post_and_wait("/token", &basic("one", "one-secret"), &form).await;
        assert_eq!(answer.status(), status, "{answer:?}");
    }
}
