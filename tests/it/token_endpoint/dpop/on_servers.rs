//! Replayed proofs with stores that several instances share.

use tower_oauth::token_endpoint::{PostgresStore, RedisStore};

use super::replay::{
    a_replayed_proof_costs_neither_a_code_nor_a_refresh_token, of_50_parallel_uses_of_one_proof_one_is_accepted,
};
use crate::servers::{postgres, redis::RedisServer, redis_cluster::RedisCluster};

/// RFC 9449 §11.1 b (SHOULD, refuses)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_proof_is_accepted_once_with_a_store_in_redis() {
    let Some(redis) = RedisServer::start("replayed proofs on Redis") else { return };
    let connect = async |prefix| RedisStore::builder(redis.url()).key_prefix(prefix).connect().await.unwrap();
    a_replayed_proof_costs_neither_a_code_nor_a_refresh_token(connect("one").await).await;
    of_50_parallel_uses_of_one_proof_one_is_accepted(connect("other").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_proof_is_accepted_once_with_a_store_in_a_redis_cluster() {
    let Some(cluster) = RedisCluster::shared("replayed proofs on a Redis Cluster") else { return };
    let builder = || RedisStore::builder_from_cluster(cluster.urls());
    let connect = async |prefix| builder().key_prefix(prefix).connect().await.unwrap();
    a_replayed_proof_costs_neither_a_code_nor_a_refresh_token(connect("one-proof").await).await;
    of_50_parallel_uses_of_one_proof_one_is_accepted(connect("other-proof").await).await;
}

/// RFC 9449 §11.1 b (SHOULD, refuses)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_proof_is_accepted_once_with_a_store_in_postgres() {
    let Some(postgres) = postgres::shared() else { return };
    let builder = || PostgresStore::builder(postgres.url()).schema(postgres::fresh_schema());
    let connect = async || builder().connect().await.unwrap();
    a_replayed_proof_costs_neither_a_code_nor_a_refresh_token(connect().await).await;
    of_50_parallel_uses_of_one_proof_one_is_accepted(connect().await).await;
}
