//! The tests that every [`ClientStore`] must pass.
//!
//! *In*: a store, opened several times on the same data. *Out*: a panic if the store does not conform.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{super::store_requests::new_hash, count, passed};
use crate::token_endpoint::{
    ClientSaved, ClientStore, FindClient, ListClients, Record, RemoveClient, SaveClient, TokenHash,
};

/// Tests a store of clients. `open` opens it on the same data each time: every instance must see what another one has stored.
///
/// Call it from a test, in a tokio runtime. The clients that it stores belong to issuers of their own.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use tower_oauth::{testing::client_store_conformance, token_endpoint::MemoryStore};
///
/// let store = MemoryStore::new();
/// client_store_conformance(async || store.clone()).await;
/// # }
/// ```
///
/// # Panics
/// The store does not conform; the message describes the difference.
pub async fn client_store_conformance<S: ClientStore>(open: impl AsyncFn() -> S) {
    let suite = ClientSuite { stores: [Arc::new(open().await), Arc::new(open().await)], issuer: new_hash() };
    suite.a_client_is_found_as_it_was_stored().await;
    suite.a_client_is_replaced_only_if_it_is_as_expected().await;
    suite.a_client_is_removed_only_if_it_is_as_expected().await;
    suite.of_many_changes_of_one_record_one_is_done().await;
    suite.each_issuer_has_its_own_clients().await;
    suite.late_changes_change_nothing().await;
    suite.pages_have_each_client_once_and_in_order().await;
    let (client, kept) = (new_hash(), record("before the restart"));
    assert_eq!(suite.save(client, &kept, None).await, ClientSaved::Done);
    let find = FindClient { issuer: suite.issuer, client };
    drop(suite);
    let found = open().await.find_client(&find).await.expect("find_client");
    assert_eq!(found, Some(kept), "a client survives a restart");
}

/// Two instances of the store on the same data, and an issuer that has no clients yet.
struct ClientSuite<S> {
    stores: [Arc<S>; 2],
    issuer: TokenHash,
}

impl<S: ClientStore> ClientSuite<S> {
    async fn save(&self, client: TokenHash, record: &Record, expected: Option<&Record>) -> ClientSaved {
        self.stores[0].save_client(&self.save_request(client, record, expected)).await.expect("save_client")
    }

    fn save_request(&self, client: TokenHash, record: &Record, expected: Option<&Record>) -> SaveClient {
        let (record, expected) = (record.clone(), expected.cloned());
        SaveClient { issuer: self.issuer, client, record, expected, deadline: in_a_minute() }
    }

    async fn remove(&self, client: TokenHash, expected: Option<&Record>) -> ClientSaved {
        let request = self.remove_request(client, expected);
        self.stores[0].remove_client(&request).await.expect("remove_client")
    }

    fn remove_request(&self, client: TokenHash, expected: Option<&Record>) -> RemoveClient {
        RemoveClient { issuer: self.issuer, client, expected: expected.cloned(), deadline: in_a_minute() }
    }

    async fn find(&self, client: TokenHash) -> Option<Record> {
        let request = FindClient { issuer: self.issuer, client };
        self.stores[1].find_client(&request).await.expect("find_client")
    }

    async fn page(&self, issuer: TokenHash, after: Option<TokenHash>, limit: usize) -> Vec<Record> {
        self.stores[1].list_clients(&ListClients { issuer, after, limit }).await.expect("list_clients")
    }

    async fn a_client_is_found_as_it_was_stored(&self) {
        let long = "ü'\"\\\u{0}\n".repeat(10_000);
        for text in ["{}", "", "0", "nil", "{\"id\":\"a'b\u{0}\"}", &long] {
            let (client, record) = (new_hash(), record(text));
            assert_eq!(self.find(client).await, None, "a client that was not stored is not found");
            assert_eq!(self.save(client, &record, None).await, ClientSaved::Done);
            assert_eq!(self.find(client).await, Some(record), "a client is found as it was stored");
        }
    }

    async fn a_client_is_replaced_only_if_it_is_as_expected(&self) {
        let (client, one, two) = (new_hash(), record("one"), record("two"));
        let conflict = self.save(client, &one, Some(&two)).await;
        assert_eq!(conflict, ClientSaved::Conflict, "a client that is not stored can't be replaced");
        assert_eq!(self.find(client).await, None, "a conflict stores nothing");
        assert_eq!(self.save(client, &one, None).await, ClientSaved::Done);
        let conflict = self.save(client, &two, None).await;
        assert_eq!(conflict, ClientSaved::Conflict, "a client that is stored can't be added");
        for other in [&two, &record(""), &record("one ")] {
            let conflict = self.save(client, &two, Some(other)).await;
            assert_eq!(conflict, ClientSaved::Conflict, "another record than the expected one is stored");
        }
        assert_eq!(self.find(client).await.as_ref(), Some(&one), "a conflict changes nothing");
        assert_eq!(self.save(client, &two, Some(&one)).await, ClientSaved::Done);
        assert_eq!(self.find(client).await, Some(two), "a replaced client is found");
    }

    async fn a_client_is_removed_only_if_it_is_as_expected(&self) {
        let (client, one, two) = (new_hash(), record("one"), record("two"));
        let conflict = self.remove(client, Some(&one)).await;
        assert_eq!(conflict, ClientSaved::Conflict, "a client that is not stored is not as expected");
        assert_eq!(self.remove(client, None).await, ClientSaved::Done, "nothing to remove counts as done");
        for expected in [Some(&one), None] {
            assert_eq!(
                self.save(client, &one, None).await,
                ClientSaved::Done,
                "a client can be added after its removal"
            );
            assert_eq!(self.remove(client, Some(&two)).await, ClientSaved::Conflict);
            assert_eq!(self.find(client).await.as_ref(), Some(&one), "a conflict removes nothing");
            assert_eq!(self.remove(client, expected).await, ClientSaved::Done);
            assert_eq!(self.find(client).await, None, "a removed client is not found");
        }
    }

    async fn of_many_changes_of_one_record_one_is_done(&self) {
        let (client, mut before) = (new_hash(), None);
        for round in ["added", "replaced", "replaced again"] {
            let save = |number| self.save_request(client, &record(&format!("{round} by {number}")), before.as_ref());
            let calls = (0..64_usize).map(|number| (Arc::clone(&self.stores[number % 2]), save(number)));
            let tasks: Vec<_> = calls
                .map(|(store, save)| tokio::spawn(async move { store.save_client(&save).await.expect("save_client") }))
                .collect();
            let mut results = Vec::new();
            for task in tasks {
                results.push(task.await.expect("a task of the race panicked"));
            }
            assert_eq!(count(&results, &ClientSaved::Done), 1, "of many changes, one is done: {results:?}");
            assert_eq!(count(&results, &ClientSaved::Conflict), 63);
            let winner = results.iter().position(|result| *result == ClientSaved::Done);
            before = winner.map(|number| record(&format!("{round} by {number}")));
            assert_eq!(self.find(client).await, before, "the change that was done is found");
        }
        let save = self.save_request(client, &record("replaced while it is removed"), before.as_ref());
        let remove = self.remove_request(client, before.as_ref());
        let (saved, removed) = tokio::join!(self.stores[0].save_client(&save), self.stores[1].remove_client(&remove));
        let results = [saved.expect("save_client"), removed.expect("remove_client")];
        assert_eq!(count(&results, &ClientSaved::Done), 1, "a client is replaced or removed: {results:?}");
        assert_eq!(self.find(client).await.is_some(), results[0] == ClientSaved::Done);
    }

    async fn each_issuer_has_its_own_clients(&self) {
        let other = Self { stores: self.stores.clone(), issuer: new_hash() };
        let (client, one, two) = (new_hash(), record("one"), record("two"));
        assert_eq!(self.save(client, &one, None).await, ClientSaved::Done);
        assert_eq!(other.find(client).await, None, "a client of another issuer is not found");
        assert_eq!(other.save(client, &two, None).await, ClientSaved::Done);
        assert_eq!(other.page(other.issuer, None, 10).await, [two], "clients of another issuer are not listed");
        assert_eq!(other.remove(client, None).await, ClientSaved::Done);
        assert_eq!(self.find(client).await, Some(one), "the client of another issuer stays");
    }

    async fn late_changes_change_nothing(&self) {
        let (client, one, two) = (new_hash(), record("one"), record("two"));
        let late = |save| SaveClient { deadline: passed(), ..save };
        let save = late(self.save_request(client, &one, None));
        assert_eq!(self.stores[0].save_client(&save).await.expect("save_client"), ClientSaved::Late);
        assert_eq!(self.find(client).await, None, "a client that came too late is not stored");
        assert_eq!(self.save(client, &one, None).await, ClientSaved::Done);
        let save = late(self.save_request(client, &two, Some(&one)));
        assert_eq!(self.stores[0].save_client(&save).await.expect("save_client"), ClientSaved::Late);
        let remove = RemoveClient { deadline: passed(), ..self.remove_request(client, None) };
        assert_eq!(self.stores[0].remove_client(&remove).await.expect("remove_client"), ClientSaved::Late);
        assert_eq!(self.find(client).await, Some(one), "a change that came too late changes nothing");
    }

    async fn pages_have_each_client_once_and_in_order(&self) {
        let suite = Self { stores: self.stores.clone(), issuer: new_hash() };
        let mut stored: BTreeMap<_, _> = (0..150).map(|number| (new_hash(), record(&number.to_string()))).collect();
        // The first and the last hash that exist.
        stored.extend([0, u8::MAX].map(|byte| (TokenHash::from([byte; 32]), record(&format!("byte {byte}")))));
        for (client, record) in &stored {
            assert_eq!(suite.save(*client, record, None).await, ClientSaved::Done);
        }
        let removed = *stored.keys().nth(77).expect("there are more");
        assert_eq!(suite.remove(removed, None).await, ClientSaved::Done);
        stored.remove(&removed);
        let all: Vec<_> = stored.values().cloned().collect();
        for limit in [1, 7, 64, 150, 1000] {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let page = suite.page(suite.issuer, after, limit).await;
                assert!(page.len() <= limit, "a page has at most {limit} clients");
                let is_last = page.len() < limit;
                listed.extend(page);
                if is_last {
                    break;
                }
                after = stored.keys().nth(listed.len() - 1).copied();
            }
            assert!(listed == all, "pages of {limit} have each client once, in the order of the hashes");
        }
    }
}

fn record(text: &str) -> Record {
    Record::from(text.to_owned())
}

fn in_a_minute() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
