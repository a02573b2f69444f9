//! [`DiscoveryError`]: why the keys of an issuer could not be fetched at start-up.
//!
//! *In*: the mistakes of a configuration, or the error of a fetch. *Out*: a text with what was found and what to change.

use std::{error::Error, fmt};

use crate::{
    config_error::ConfigError,
    error::{AuthError, causes, differ_by_trailing_slash, quoted},
    fetch::FetchError,
};

/// Why [`discover`](super::IssuerBuilder::discover) failed: correct the configuration, or try again.
///
/// Its `Debug` is the same text as its `Display`, because `main` prints the `Debug` of an error.
#[derive(Clone)]
#[non_exhaustive]
pub enum DiscoveryError {
    /// The configuration has mistakes.
    Config(ConfigError),
    /// The issuer's metadata names another issuer, so that nothing else of it is used (RFC 8414 §3.3).
    #[non_exhaustive]
    OtherIssuer {
        /// The identifier in the configuration.
        issuer: String,
        /// The identifier in the metadata.
        found: String,
        /// The cause, with the URLs that were tried.
        cause: AuthError,
    },
    /// The issuer can't be reached, or has no usable metadata or keys now.
    #[non_exhaustive]
    Unavailable {
        /// The issuer's identifier.
        issuer: String,
        /// The cause.
        cause: AuthError,
    },
}

impl DiscoveryError {
    pub(super) fn of(issuer: &str, cause: AuthError) -> Self {
        let issuer = issuer.to_owned();
        let fetch_error = cause.source().and_then(|source| source.downcast_ref::<FetchError>());
        match fetch_error.and_then(FetchError::other_issuer).map(str::to_owned) {
            Some(found) => Self::OtherIssuer { issuer, found, cause },
            None => Self::Unavailable { issuer, cause },
        }
    }
}

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(error) => error.fmt(f),
            Self::OtherIssuer { issuer, found, cause } => {
                write!(f, "the metadata of {issuer:?} names the issuer {}", quoted(found))?;
                if differ_by_trailing_slash(issuer, found) {
                    f.write_str(", which differs by a trailing slash only")?;
                }
                let causes = causes(cause).unwrap_or_default();
                write!(f, "; if you trust that issuer, give its identifier exactly as its metadata has it ({causes})")
            }
            Self::Unavailable { issuer, cause } => {
                write!(f, "no keys could be fetched for {issuer:?}")?;
                if let Some(causes) = causes(cause) {
                    write!(f, ": {causes}")?;
                }
                f.write_str("; check the URL and that the issuer is up, or start without it (`IssuerBuilder::build`)")
            }
        }
    }
}

impl fmt::Debug for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for DiscoveryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::OtherIssuer { cause, .. } | Self::Unavailable { cause, .. } => Some(cause),
        }
    }
}
