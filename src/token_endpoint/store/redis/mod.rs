//! To be written in this session.

/// To be written.
#[derive(Debug, Clone)]
pub struct RedisStore;

/// To be written.
#[derive(Debug)]
pub struct RedisStoreBuilder;
