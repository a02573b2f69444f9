//! Trusted issuers: their identifiers, their metadata, and the HTTP client that fetches them.

mod discovery;
mod dynamic;
mod http_client;
mod identifiers;
mod several;
