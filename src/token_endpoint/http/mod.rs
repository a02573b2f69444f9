//! HTTP: what the endpoints read from requests and write into responses.
//!
//! *In*: a request. *Out*: its parameters; later a response, a redirect or an error.

pub(crate) mod cors;
pub(crate) mod error;
pub(crate) mod metadata;
pub(crate) mod redirect;
pub(crate) mod request;
pub(crate) mod response;
