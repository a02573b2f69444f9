//! [`Anonymous`]: marks a request that was let pass without credentials.
//!
//! *In*: nothing. *Out*: the mark, in the request's extensions.

/// In a request's extensions: the layer let the request pass without credentials.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Anonymous;
