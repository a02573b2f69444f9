//! For whom a token acts: a user, or the client itself (RFC 9068 §2.2, RFC 9700 §4.15).
//!
//! *In*: nothing. *Out*: [`ActsFor`], which [`Token::acts_for`](crate::Token::acts_for) returns.
//!
//! RFC 9068 §2.2 puts the client into `sub` if a client obtained the token for itself. Some providers give such a token a
//! subject of its own, and that rule would read it as a user's. Their rules are with each [`Preset`](crate::Preset).

/// For whom a token acts (RFC 9068 §2.2, RFC 9700 §4.15). A [`Preset`](crate::Preset) may have a rule of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ActsFor {
    /// A user: there is a subject, and it is not the client.
    User,
    /// The client itself: `sub` equals `client_id`, or there is no `sub`.
    Client,
    /// The token doesn't say: there is a subject but no client, or the provider's tokens don't distinguish. Neither
    /// `UserToken` nor `ClientToken` accepts such a token.
    Unknown,
}
