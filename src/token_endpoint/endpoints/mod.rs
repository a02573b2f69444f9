//! The endpoints, one file each.

pub(crate) mod authorize;
pub(crate) mod introspect;
pub(crate) mod revoke;
pub(crate) mod token;
