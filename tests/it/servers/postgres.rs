//! `postgres`, in a cluster of its own.
