//! DPoP (RFC 9449): proofs that the sender of a token has the key that the token is bound to.
//!
//! *In*: the proofs of requests. *Out*: whether a proof is used for the first time.

mod replay;

pub use self::replay::{Insertion, InsertionFuture, MemoryReplayStore, ReplayError, ReplayKey, ReplayStore, Sighting};
#[cfg(feature = "redis-replay")]
pub use self::replay::{RedisReplayStore, RedisReplayStoreBuilder};
