//! For whom a token acts: a user, or the client itself (RFC 9068 §2.2, RFC 9700 §4.15).
//!
//! *In*: nothing. *Out*: [`ActsFor`], which [`Token::acts_for`](crate::Token::acts_for) returns.
//!
//! By RFC 9068 §2.2, `sub` is the client if a client obtained the token for itself. Some providers set `sub` of such a token
//! to another value, so by this rule it would count as a user's token. The [`Preset`](crate::Preset) of such a provider has
//! a different rule.

/// For whom a token acts (RFC 9068 §2.2, RFC 9700 §4.15). A [`Preset`](crate::Preset) may have a different rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActsFor {
    /// A user: there is a subject, and it is not the client.
    User,
    /// The client itself: `sub` equals `client_id`, or there is no `sub`.
    Client,
    /// Unknown: the token has a subject but no client, or the provider's tokens don't distinguish users from clients.
    /// Neither `UserToken` nor `ClientToken` accepts such a token.
    Unknown,
}
