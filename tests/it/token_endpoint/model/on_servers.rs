//! The model with stores that several instances share.

use tower_oauth::token_endpoint::{PostgresStore, RedisStore};

use super::agrees_with_the_model;
use crate::servers::{postgres, redis::RedisServer, redis_cluster::RedisCluster};

/// Session 15 (design, accepts)
#[test]
fn each_response_is_predicted_with_a_store_in_redis() {
    let Some(redis) = RedisServer::start("the model of the endpoint on Redis") else { return };
    for rotates_all in [false, true] {
        agrees_with_the_model(4, rotates_all, async || RedisStore::builder(redis.url()).connect().await.unwrap());
    }
}

#[test]
fn each_response_is_predicted_with_a_store_in_a_redis_cluster() {
    let Some(cluster) = RedisCluster::shared("the model of the endpoint on a Redis Cluster") else { return };
    let builder = || RedisStore::builder_from_cluster(cluster.urls()).key_prefix("model");
    agrees_with_the_model(3, false, async || builder().connect().await.unwrap());
}

/// Session 15 (design, accepts)
#[test]
fn each_response_is_predicted_with_a_store_in_postgres() {
    let Some(postgres) = postgres::shared() else { return };
    for rotates_all in [false, true] {
        let builder = PostgresStore::builder(postgres.url()).schema(postgres::fresh_schema());
        agrees_with_the_model(4, rotates_all, async || builder.connect().await.unwrap());
    }
}
