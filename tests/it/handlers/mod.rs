//! What a handler requires of a token: extractors, scopes, roles.

mod extractors;
mod roles;
mod scopes;
