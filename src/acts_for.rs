//! For whom a token acts: a user, or the client itself (RFC 9068 §2.2, RFC 9700 §4.15).
//!
//! *In*: nothing. *Out*: [`ActsFor`], which [`Token::acts_for`](crate::Token::acts_for) returns, and [`ActingRule`], which
//! decides it for an issuer without a preset.
//!
//! By RFC 9068 §2.2, `sub` is the client if a client obtained the token for itself. Some providers set `sub` of such a token
//! to another value, so by this rule it would count as a user's token. The [`Preset`](crate::Preset) of such a provider has
//! a different rule. For an issuer without a preset,
//! [`JwtVerifierBuilder::acting_rule`](crate::verify::JwtVerifierBuilder::acting_rule) sets one.

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

/// A rule that decides for whom the tokens of an issuer act, for
/// [`JwtVerifierBuilder::acting_rule`](crate::verify::JwtVerifierBuilder::acting_rule).
///
/// A token without `sub`, or with a blank one, never acts for a user: where a rule would decide so, it acts for
/// [`Unknown`](ActsFor::Unknown).
///
/// ```
/// # fn example(issuer: tower_oauth::Issuer) -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::{JwtVerifier, Preset, acts_for::ActingRule};
///
/// // This issuer puts the claim `email` into the tokens of users only.
/// let verifier = JwtVerifier::builder(issuer, "https://api.example.com")
///     .preset(Preset::OpenIdConnect)
///     .acting_rule(ActingRule::users_with_claim("email"))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActingRule {
    pub(crate) basis: ActingBasis,
}

/// What an [`ActingRule`] looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ActingBasis {
    Users,
    Clients,
    UserClaim(Box<str>),
    ClientValue { claim: Box<str>, value: Box<str> },
}

impl ActingRule {
    /// Each token acts for a user. For an issuer that gives no client a token of its own.
    #[must_use]
    pub fn users() -> Self {
        Self { basis: ActingBasis::Users }
    }

    /// Each token acts for a client. For an issuer that gives no user a token.
    #[must_use]
    pub fn clients() -> Self {
        Self { basis: ActingBasis::Clients }
    }

    /// A token with this claim acts for a user, a token without it for a client.
    ///
    /// `null` counts as no claim. A token whose claim is a blank text acts for [`Unknown`](ActsFor::Unknown).
    #[must_use]
    pub fn users_with_claim(claim: impl Into<Box<str>>) -> Self {
        Self { basis: ActingBasis::UserClaim(claim.into()) }
    }

    /// A token whose claim has this value acts for a client, any other token for a user. An array has the value if one of its
    /// elements is the value.
    ///
    /// A token whose claim is neither a text nor an array of texts acts for [`Unknown`](ActsFor::Unknown).
    #[must_use]
    pub fn clients_with_value(claim: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        Self { basis: ActingBasis::ClientValue { claim: claim.into(), value: value.into() } }
    }

    /// The name of the claim, if the rule looks at one.
    pub(crate) fn claim(&self) -> Option<&str> {
        match &self.basis {
            ActingBasis::Users | ActingBasis::Clients => None,
            ActingBasis::UserClaim(claim) | ActingBasis::ClientValue { claim, .. } => Some(claim),
        }
    }
}
