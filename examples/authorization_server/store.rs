//! The store of the setting `STORE`.

#[cfg(feature = "postgres")]
use tower_oauth::token_endpoint::PostgresStore;
#[cfg(feature = "redis")]
use tower_oauth::token_endpoint::RedisStore;
use tower_oauth::{ConfigError, token_endpoint::TokenEndpointBuilder};

use crate::mistakes::Mistakes;

/// Where codes and tokens are stored.
pub(crate) enum Store {
    Memory,
    #[cfg(feature = "redis")]
    Redis(RedisStore),
    #[cfg(feature = "postgres")]
    Postgres(PostgresStore),
}

impl Store {
    /// Reads the setting and connects to the store. Returns `Memory` after a mistake.
    pub(crate) async fn read(mistakes: &mut Mistakes) -> Self {
        let url = mistakes.optional("STORE").unwrap_or_else(|| "memory".to_owned());
        let connected = match url.split_once("://").map_or(&*url, |(scheme, _)| scheme) {
            "memory" if url == "memory" => Ok(Self::Memory),
            "redis" | "rediss" | "redis+unix" | "redis-cluster" => Self::redis(url, mistakes).await,
            "postgres" | "postgresql" => Self::postgres(url, mistakes).await,
            // Never quoted: the URL may contain a password.
            _ => {
                mistakes.add(
                    "STORE",
                    "it is neither memory nor a redis://, rediss://, redis-cluster://, postgres:// or postgresql:// URL",
                );
                Ok(Self::Memory)
            }
        };
        mistakes.check(|_| "STORE", connected).unwrap_or(Self::Memory)
    }

    #[cfg(feature = "redis")]
    async fn redis(url: String, _: &mut Mistakes) -> Result<Self, ConfigError> {
        let builder = match url.strip_prefix("redis-cluster://") {
            Some(nodes) => RedisStore::builder_from_cluster(nodes.split(',').map(|node| format!("redis://{node}"))),
            None => RedisStore::builder(url),
        };
        builder.connect().await.map(Self::Redis)
    }

    #[cfg(not(feature = "redis"))]
    #[expect(clippy::unused_async, reason = "the other build of it connects")]
    async fn redis(_: String, mistakes: &mut Mistakes) -> Result<Self, ConfigError> {
        mistakes.add("STORE", "this program was built without Redis; build it with --features redis, or use memory");
        Ok(Self::Memory)
    }

    #[cfg(feature = "postgres")]
    async fn postgres(url: String, mistakes: &mut Mistakes) -> Result<Self, ConfigError> {
        let builder = PostgresStore::builder(url);
        let builder = match mistakes.optional("STORE_POOLER").as_deref() {
            None => builder,
            Some("transaction") => builder.transaction_pooler(),
            Some(other) => {
                mistakes.add("STORE_POOLER", format_args!("{other:?} is not transaction"));
                return Ok(Self::Memory);
            }
        };
        builder.connect().await.map(Self::Postgres)
    }

    #[cfg(not(feature = "postgres"))]
    #[expect(clippy::unused_async, reason = "the other build of it connects")]
    async fn postgres(_: String, mistakes: &mut Mistakes) -> Result<Self, ConfigError> {
        mistakes.add(
            "STORE",
            "this program was built without PostgreSQL; build it with --features postgres, or use memory",
        );
        Ok(Self::Memory)
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            #[cfg(feature = "redis")]
            Self::Redis(_) => "Redis",
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => "PostgreSQL",
        }
    }

    /// Returns whether the store keeps its data after the process has ended.
    pub(crate) fn is_durable(&self) -> bool {
        !matches!(self, Self::Memory)
    }

    /// Makes the token endpoint use this store.
    pub(crate) fn add_to(self, builder: TokenEndpointBuilder) -> TokenEndpointBuilder {
        match self {
            Self::Memory => builder,
            #[cfg(feature = "redis")]
            Self::Redis(store) => builder.store(store),
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => builder.store(store),
        }
    }
}
