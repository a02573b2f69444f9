//! The clients of the model, as they are registered at the endpoint.

use tower_oauth::token_endpoint::{Client, ClientCredential, ClientSecret, TokenFormat};

use super::{
    super::OPAQUE,
    expected::{CLIENTS, MAX_SESSIONS, MAX_TOKENS, Model, PUBLIC, SCOPES},
};
use crate::support::API;

pub(super) const IDS: [&str; CLIENTS] = ["public", "web", "job"];
pub(super) const CALLBACK: &str = "https://client.test/cb";

pub(super) fn client(model: &Model, which: usize) -> Client {
    let registered = &model.clients[which];
    let credential = match which {
        PUBLIC => ClientCredential::None,
        _ => ClientSecret::new(&registered.secret).into(),
    };
    let own = if which == 2 { &["client_credentials"][..] } else { &[] };
    let (audience, format) = if which == PUBLIC { (API, TokenFormat::Jwt) } else { (OPAQUE, TokenFormat::Opaque) };
    let client = Client::builder(IDS[which], credential)
        .credential_generation(registered.generation)
        .grant_types([&["authorization_code", "refresh_token"], own].concat())
        .default_scopes(SCOPES[registered.scopes].split(' '))
        .redirect_uri(CALLBACK)
        .audience(audience, format);
    let limit = |limit: usize| u32::try_from(limit).unwrap();
    let client = MAX_SESSIONS[which].into_iter().fold(client, |client, most| client.max_sessions(limit(most)));
    let client = MAX_TOKENS[which].into_iter().fold(client, |client, most| client.max_active_tokens(limit(most)));
    client.build().unwrap()
}
