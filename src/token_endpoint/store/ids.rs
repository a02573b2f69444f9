//! What entries are found by: ids, hashes and times.
//!
//! *In*: bytes. *Out*: typed values that a store writes and compares.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{config_error::ConfigMistake, token_endpoint::client::secret::TokenHash};

/// A time in whole seconds since 1970-01-01 (UTC). A [`SystemTime`] is rounded down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// Returns the time that is this many seconds after 1970-01-01 (UTC).
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds)
    }

    /// Returns the seconds since 1970-01-01 (UTC).
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// Returns the time that is this much later. The maximum is the end of the range.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }

    /// Returns the time that is this much earlier. The minimum is 1970-01-01.
    #[must_use]
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration.as_secs()))
    }

    /// Returns the seconds between the two times, in either order.
    #[must_use]
    pub const fn abs_diff(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        Self::UNIX_EPOCH.checked_add(Duration::from_secs(time.0)).unwrap_or(Self::UNIX_EPOCH)
    }
}

/// Where an entry is. All entries that one operation reads and writes in one step have the same partition: those of one
/// session, or the access tokens that one client gets for itself. So a store can be spread over several machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition([u8; 16]);

impl Partition {
    /// Returns the bytes of the partition, for a store to write.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl From<[u8; 16]> for Partition {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

/// The id of a session: a user's approval of a client, and everything that is issued from it. It is also the session's
/// [`Partition`].
///
/// It is no secret: access tokens contain it, and nothing can be done with it alone. `Display` and `FromStr` use base64url.
///
/// ```
/// use tower_oauth::token_endpoint::SessionId;
///
/// let id = SessionId::from([7; 16]);
/// assert_eq!(id.to_string().parse::<SessionId>()?, id);
/// assert!("not an id".parse::<SessionId>().is_err());
/// # Ok::<(), tower_oauth::ConfigError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId([u8; 16]);

impl SessionId {
    /// Returns the bytes of the id, for a store to write.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Returns the partition of everything that belongs to the session.
    #[must_use]
    pub fn partition(&self) -> Partition {
        Partition(self.0)
    }
}

impl From<[u8; 16]> for SessionId {
    fn from(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = crate::config_error::ConfigError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(Self).ok_or_else(|| {
            ConfigMistake::new("session", "this is not the id of a session", "give the 22 characters of an id").into()
        })
    }
}

/// By what sessions are listed and ended. The hashes differ for each issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionIndex {
    /// The sessions of one user.
    Subject(TokenHash),
    /// The sessions of one client.
    Client(TokenHash),
}

/// What the token endpoint keeps about a session or an access token: a text that a store returns as it was.
///
/// A store does not read it. It is JSON, which contains no secret, but the user's id and the scopes.
#[derive(Clone, PartialEq, Eq)]
pub struct Record(String);

impl Record {
    /// Returns the text, for a store to write.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Record {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Record([redacted])")
    }
}
