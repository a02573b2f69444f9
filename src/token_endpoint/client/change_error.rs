//! Why a stored client was not changed.
//!
//! *In*: a mistake of the caller, or a failure of the store. *Out*: an error that says what to do.

use std::{error::Error, fmt};

use crate::{
    config_error::{ConfigError, ConfigMistake},
    token_endpoint::store::StoreError,
};

/// Why a client was not changed.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ClientChangeError {
    /// The change is not possible. Nothing was changed.
    Refused(ConfigError),
    /// The store is unavailable, or the client's record can't be read.
    /// [`may_be_executed`](StoreError::may_be_executed) returns whether the client may be changed.
    Store(StoreError),
    /// The new id and secret of a client are stored and valid, and the store failed before the old id was known to be removed.
    OldIdLeft(RenewedWithOldId),
}

/// A client's new id and secret, which are valid, while the old id may be valid too.
///
/// Give both to the client as after a success, and call [`StoredClients::remove`](super::stored::StoredClients::remove) with the
/// old id until it succeeds.
#[derive(Clone)]
pub struct RenewedWithOldId {
    pub(super) client_id: String,
    pub(super) secret: String,
    pub(super) error: StoreError,
}

impl RenewedWithOldId {
    /// Returns the new id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Returns the text of the new secret, which can't be read again.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// Returns why the old id may not be removed.
    #[must_use]
    pub fn error(&self) -> &StoreError {
        &self.error
    }
}

impl fmt::Debug for RenewedWithOldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenewedWithOldId").field("error", &self.error).finish_non_exhaustive()
    }
}

impl fmt::Display for ClientChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::OldIdLeft(renewed) => {
                write!(f, "the new id and secret are valid, but the old id may not be removed: {}", renewed.error)
            }
        }
    }
}

impl Error for ClientChangeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(_) => None,
            Self::Store(error) => error.source(),
            Self::OldIdLeft(renewed) => renewed.error.source(),
        }
    }
}

impl From<ConfigError> for ClientChangeError {
    fn from(error: ConfigError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for ClientChangeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl ClientChangeError {
    pub(super) fn refused(setting: &'static str, found: String, change: &'static str) -> Self {
        Self::Refused(ConfigMistake::new(setting, found, change).into())
    }

    pub(super) fn taken(client_id: &str) -> Self {
        let found = format!("there is a client {client_id:?}");
        Self::refused("client_id", found, "give each client its own id, or replace the client")
    }

    pub(super) fn unknown(client_id: &str) -> Self {
        let found = format!("there is no stored client {client_id:?}");
        Self::refused("client_id", found, "name a client that is stored")
    }

    pub(super) fn without_secret(client_id: &str) -> Self {
        let found = format!("the client {client_id:?} has no secret");
        Self::refused("client_id", found, "name a client that has a secret")
    }

    pub(super) fn changed_meanwhile(client_id: &str) -> Self {
        let found = format!("the secret of the client {client_id:?} was changed at the same time");
        Self::refused("client_secret", found, "use the secret of the other change, or try again")
    }

    pub(super) fn older_generation(client_id: &str, given: u32, stored: u32) -> Self {
        let found =
            format!("generation {given} for the client {client_id:?}, which is stored with generation {stored}");
        Self::refused("credential_generation", found, "read the client again, and change what is stored now")
    }

    pub(super) fn old_secret(client_id: &str) -> Self {
        let found = format!("a secret of the client {client_id:?} that was replaced after it was read");
        Self::refused("client_secret", found, "read the client again, and change what is stored now")
    }

    pub(super) fn no_randomness(error: impl fmt::Display) -> Self {
        Self::refused("client_id", error.to_string(), "check the system's source of random bytes")
    }
}
