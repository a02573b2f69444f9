//! Real servers. A test starts each on its own port and in its own directory, if their programs are installed.

#[cfg(feature = "postgres")]
pub(crate) mod pgbouncer;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;
#[cfg(feature = "redis")]
pub(crate) mod redis_cluster;

pub(crate) use crate::support::not_run;
