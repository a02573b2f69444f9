//! The store in Redis, with a real one.
