//! Connections to Redis, for all stores in it: one server, or a cluster.
//!
//! *In*: URLs, and commands. *Out*: replies, or errors that say whether a command was executed.
//!
//! Commands are not repeated here: a store knows which of its commands may be executed twice.

mod checks;
mod failure;
mod link;
mod slots;

#[cfg(feature = "redis")]
pub(crate) use self::{
    checks::{NOT_REDIS, field, infos},
    slots::SLOTS,
};
pub(crate) use self::{
    checks::{SETTING, ServerKind, address, check_kind, cluster, eviction, mistake, no_url},
    failure::{asked, passes, recovers},
    link::{Link, Node, SharedLink, Target},
    slots::slot,
};
