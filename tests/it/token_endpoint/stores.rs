//! Every store does what the endpoint relies on.

use tower_oauth::token_endpoint::{MemoryStore, conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_store_in_memory_conforms() {
    let store = MemoryStore::new();
    conformance(async || store.clone()).await;
}

#[tokio::test]
async fn what_has_expired_makes_room_in_memory() {
    // Each run leaves some two hundred entries behind, of which none lives longer than an hour and a half.
    let store = MemoryStore::with_capacity(1000);
    conformance(async || store.clone()).await;
}
