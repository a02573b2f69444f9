//! How a request carries its token.

mod credentials;
mod cross_site;
mod websocket;
