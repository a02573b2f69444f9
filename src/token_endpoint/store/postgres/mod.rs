//! To be written in this session.

/// To be written.
#[derive(Debug, Clone)]
pub struct PostgresStore;

/// To be written.
#[derive(Debug)]
pub struct PostgresStoreBuilder;
