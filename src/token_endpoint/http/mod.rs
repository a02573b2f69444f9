//! What the endpoints read from requests and write into responses.

pub(crate) mod error;
pub(crate) mod metadata;
pub(crate) mod redirect;
pub(crate) mod request;
pub(crate) mod response;
