//! [`Issuer`]: an authorization server whose tokens are accepted.
//!
//! *In*: the identifier, and keys or how to fetch them. *Out*: the current keys, and a wait for a missing one.

use std::{fmt, sync::Arc};

use arc_swap::Guard;
use bytes::Bytes;

use super::{IssuerBuilder, client::IssuerClient};
use crate::{
    config_error::ConfigError,
    error::AuthError,
    keys::{
        KeySet,
        remote::{KeyWait, MissingKey, RemoteKeys, Snapshot},
    },
    log::IssuerLabel,
    url::{check_name, check_resolvable_identifier},
};

/// An authorization server whose tokens are accepted. Clones share the keys.
#[doc(alias("authorization server", "OpenID Connect", "OIDC"))]
#[derive(Clone)]
pub struct Issuer {
    pub(super) identifier: Arc<str>,
    pub(super) keys: IssuerKeys,
    /// `None` if nothing is fetched from this issuer.
    pub(super) client: Option<Arc<IssuerClient>>,
    /// True if metrics have the label `issuer`.
    pub(super) in_metrics: bool,
}

#[derive(Clone)]
pub(super) enum IssuerKeys {
    Known(Arc<KeySet>),
    Remote(Arc<RemoteKeys>),
}

/// The current keys. Holding them blocks no refresh.
pub(crate) enum CurrentKeys<'i> {
    Known(&'i KeySet),
    Remote(Guard<Option<Arc<Snapshot>>>),
}

impl CurrentKeys<'_> {
    pub(crate) fn set(&self) -> Option<&KeySet> {
        match self {
            Self::Known(keys) => Some(keys),
            Self::Remote(snapshot) => snapshot.as_ref().map(|snapshot| snapshot.keys()),
        }
    }
}

impl Issuer {
    /// Returns an issuer with fixed keys. Nothing is fetched.
    ///
    /// The identifier is compared with `iss` byte for byte, including a trailing slash.
    ///
    /// ```
    /// # fn main() -> Result<(), tower_oauth::ConfigError> {
    /// # let keys = tower_oauth::keys::KeySet::from_json(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
    /// use tower_oauth::{Issuer, JwtVerifier};
    ///
    /// let issuer = Issuer::from_keys("https://auth.example.com", keys)?;
    /// let verifier = JwtVerifier::new(issuer, "https://api.example.com")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The identifier is blank, or has white space around it or a control character. It need not be a URL (RFC 7519 §4.1.1),
    /// because nothing is fetched.
    pub fn from_keys(identifier: impl Into<String>, keys: KeySet) -> Result<Self, ConfigError> {
        let identifier = identifier.into();
        check_name("issuer", &identifier)?;
        Ok(Self {
            identifier: identifier.into(),
            keys: IssuerKeys::Known(Arc::new(keys)),
            client: None,
            in_metrics: true,
        })
    }

    /// Fetches the issuer's metadata and keys (RFC 8414 §3). This is the only I/O before the first request.
    ///
    /// # Errors
    /// The identifier is not an `https` URL in its normal form, or no usable keys can be fetched now. To start an API while its issuer is down,
    /// use [`IssuerBuilder::build`].
    #[cfg(feature = "http-client")]
    pub async fn discover(identifier: impl Into<String>) -> Result<Self, super::DiscoveryError> {
        IssuerBuilder::new(identifier).discover().await
    }

    /// Returns an issuer whose key set is at a known URL. The keys are fetched when the first token needs them.
    ///
    /// # Errors
    /// The identifier is blank, or has white space around it or a control character; or `jwks_uri` is not an `https` URL. The
    /// identifier need not be a URL (RFC 7519 §4.1.1), because it is never fetched.
    #[cfg(feature = "http-client")]
    pub fn from_jwks_uri(identifier: impl Into<String>, jwks_uri: impl Into<String>) -> Result<Self, ConfigError> {
        IssuerBuilder::new(identifier).jwks_uri(jwks_uri).build()
    }

    /// Returns a builder for an issuer whose keys are fetched.
    pub fn builder(identifier: impl Into<String>) -> IssuerBuilder {
        IssuerBuilder::new(identifier)
    }

    /// Returns the identifier.
    #[must_use]
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Returns the identifier, to be shared.
    pub(crate) fn shared_identifier(&self) -> &Arc<str> {
        &self.identifier
    }

    /// Fetches the keys now, so that the first request doesn't wait for them.
    ///
    /// # Errors
    /// [`Unavailable`](crate::error::AuthErrorKind::Unavailable): the issuer can't be reached or has no usable keys, and no
    /// earlier key set is usable. The next request that needs the keys starts another attempt.
    pub async fn warm_up(&self) -> Result<(), AuthError> {
        match &self.keys {
            IssuerKeys::Known(_) => Ok(()),
            IssuerKeys::Remote(keys) => keys.warm_up().await,
        }
    }

    /// Returns `true` if there are usable keys, for a readiness probe. If there are none, starts to fetch them.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.keys {
            IssuerKeys::Known(_) => true,
            IssuerKeys::Remote(keys) => keys.is_ready(),
        }
    }

    /// Returns the fetched key set as the issuer wrote it. Save it, and pass it to [`IssuerBuilder::initial_keys`] at the next
    /// start.
    #[must_use]
    pub fn key_set_json(&self) -> Option<Bytes> {
        match &self.keys {
            IssuerKeys::Known(_) => None,
            IssuerKeys::Remote(keys) => keys.json(),
        }
    }

    /// Returns how to send requests to the issuer, or `None` if nothing is fetched from it.
    pub(crate) fn client(&self) -> Option<&Arc<IssuerClient>> {
        self.client.as_ref()
    }

    /// True if the issuer's metadata can be fetched: its identifier is a URL in its normal form.
    pub(crate) fn is_resolvable(&self) -> bool {
        let plain = self.client.as_ref().map(|client| client.plain);
        plain.is_some_and(|plain| check_resolvable_identifier("issuer", &self.identifier, plain).is_ok())
    }

    /// True unless keys are fetched for an issuer whose identifier is not a URL in its normal form.
    pub(crate) fn is_fixed_or_resolvable(&self) -> bool {
        self.client.is_none() || self.is_resolvable()
    }

    /// Returns the current usable keys. If they are stale, starts a refresh in the background.
    pub(crate) fn current_keys(&self) -> CurrentKeys<'_> {
        match &self.keys {
            IssuerKeys::Known(keys) => CurrentKeys::Known(keys),
            IssuerKeys::Remote(keys) => CurrentKeys::Remote(keys.current()),
        }
    }

    /// Returns the keys if they are fixed.
    pub(crate) fn known_keys(&self) -> Option<&KeySet> {
        match &self.keys {
            IssuerKeys::Known(keys) => Some(keys),
            IssuerKeys::Remote(_) => None,
        }
    }

    /// Starts a search for a key that is not among the current ones. Returns what to wait for, or the error for the token if
    /// no refresh may start now.
    pub(crate) fn seek(&self, missing: &MissingKey) -> Result<KeyWait, AuthError> {
        match &self.keys {
            IssuerKeys::Known(_) => Err(missing.error()),
            IssuerKeys::Remote(keys) => keys.seek(missing),
        }
    }

    /// Returns the issuer's name in events and metrics.
    pub(crate) fn label(&self) -> IssuerLabel<'_> {
        IssuerLabel { identifier: &self.identifier, in_metrics: self.in_metrics }
    }

    /// Logs failures of key fetches at `debug` instead of `warn`, while only unauthenticated clients have named this issuer.
    pub(crate) fn set_quiet(&self, quiet: bool) {
        if let IssuerKeys::Remote(keys) = &self.keys {
            keys.set_quiet(quiet);
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `peek` starts no refresh: printing must have no effect.
        let keys = match &self.keys {
            IssuerKeys::Known(keys) => CurrentKeys::Known(keys),
            IssuerKeys::Remote(keys) => CurrentKeys::Remote(keys.peek()),
        };
        f.debug_struct("Issuer")
            .field("identifier", &self.identifier)
            .field("keys", &keys.set())
            .finish_non_exhaustive()
    }
}
