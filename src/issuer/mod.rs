//! Whom we trust: an authorization server's identifier and its keys.
//!
//! *In*: the identifier, exactly as the tokens' `iss` has it, and the keys or the way to them.
//! *Out*: an [`Issuer`] for a verifier.
//!
//! Keys belong to their issuer and are never looked up elsewhere (RFC 8725 §3.8). How fetched keys are kept fresh, and
//! what happens while the issuer is down, is told at [`IssuerBuilder`].

pub(crate) mod discovery;
mod remote;
pub(crate) mod site;

use std::{fmt, net::IpAddr, sync::Arc};

use arc_swap::Guard;
use bytes::Bytes;
use http::{Uri, uri::Authority};

pub use self::remote::{DiscoveryError, IssuerBuilder};
use self::site::Site;
use crate::{
    error::{AuthError, ConfigError, ConfigMistake, Reason},
    keys::{
        KeySet,
        remote::{RemoteKeys, Snapshot, Waiting},
    },
};

/// An authorization server whose tokens are accepted. Clones share the keys.
#[derive(Clone)]
pub struct Issuer {
    identifier: Arc<str>,
    keys: Keys,
    /// Absent where nothing is fetched.
    site: Option<Arc<Site>>,
}

#[derive(Clone)]
enum Keys {
    Known(Arc<KeySet>),
    Remote(Arc<RemoteKeys>),
}

/// The keys of this moment; holding it blocks nobody.
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
    /// An issuer whose keys are known.
    ///
    /// The identifier is compared with `iss` byte for byte: a trailing slash counts.
    ///
    /// ```
    /// # fn main() -> Result<(), tower_oauth::ConfigError> {
    /// # let keys = tower_oauth::KeySet::from_json(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
    /// use tower_oauth::{Issuer, JwtVerifier};
    ///
    /// let issuer = Issuer::with_keys("https://auth.example.com", keys)?;
    /// let verifier = JwtVerifier::new(issuer, "https://api.example.com")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The identifier is not an `https` URL without query and fragment (RFC 8414 §2). Plain `http` is accepted for a
    /// loopback address, for tests.
    pub fn with_keys(identifier: impl Into<String>, keys: KeySet) -> Result<Self, ConfigError> {
        let identifier = identifier.into();
        check_identifier("issuer", &identifier, Plain::Loopback)?;
        Ok(Self { identifier: identifier.into(), keys: Keys::Known(Arc::new(keys)), site: None })
    }

    /// For a shared secret: the two sides agree on a name, which need not be a URL (RFC 7519 §4.1.1).
    pub(crate) fn named(identifier: String, keys: KeySet) -> Result<Self, ConfigError> {
        if identifier.trim().is_empty() {
            return Err(ConfigMistake::new("issuer", "it is empty", "give the value of the tokens' iss").into());
        }
        Ok(Self { identifier: identifier.into(), keys: Keys::Known(Arc::new(keys)), site: None })
    }

    /// Finds the issuer's metadata and fetches its keys (RFC 8414 §3). The only I/O before the first request.
    ///
    /// # Errors
    /// The identifier is not an `https` URL, or no usable keys can be fetched now. An API that is to start while its
    /// issuer is down uses [`IssuerBuilder::lazy`].
    #[cfg(feature = "http-client")]
    pub async fn discover(identifier: impl Into<String>) -> Result<Self, DiscoveryError> {
        IssuerBuilder::new(identifier).discover().await
    }

    /// An issuer whose key set is at a known URL; nothing is fetched before it is needed.
    ///
    /// # Errors
    /// One of the two is not an `https` URL.
    #[cfg(feature = "http-client")]
    pub fn jwks(identifier: impl Into<String>, jwks_uri: impl Into<String>) -> Result<Self, ConfigError> {
        IssuerBuilder::new(identifier).jwks_uri(jwks_uri).lazy()
    }

    /// An issuer whose keys are fetched, with more to say about how.
    pub fn builder(identifier: impl Into<String>) -> IssuerBuilder {
        IssuerBuilder::new(identifier)
    }

    /// The identifier.
    #[must_use]
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Fetches the keys now, so that the first request need not wait for them.
    ///
    /// # Errors
    /// [`Unavailable`](crate::AuthErrorKind::Unavailable): the issuer can't be reached or has no usable keys, and there are
    /// none to go on with. Nothing is lost: the next attempt is made when a request needs it.
    pub async fn warm_up(&self) -> Result<(), AuthError> {
        match &self.keys {
            Keys::Known(_) => Ok(()),
            Keys::Remote(keys) => keys.warm_up().await,
        }
    }

    /// Whether there are keys to check a token with: for a readiness probe. Where there are none, they are asked for.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        match &self.keys {
            Keys::Known(_) => true,
            Keys::Remote(keys) => keys.is_ready(),
        }
    }

    /// The fetched key set as the issuer wrote it, to be saved and given to [`IssuerBuilder::seed`] at the next start.
    #[must_use]
    pub fn key_set_json(&self) -> Option<Bytes> {
        match &self.keys {
            Keys::Known(_) => None,
            Keys::Remote(keys) => keys.json(),
        }
    }

    /// How it is reached, where anything of it is fetched.
    pub(crate) fn site(&self) -> Option<&Arc<Site>> {
        self.site.as_ref()
    }

    pub(crate) fn current_keys(&self) -> CurrentKeys<'_> {
        match &self.keys {
            Keys::Known(keys) => CurrentKeys::Known(keys),
            Keys::Remote(keys) => CurrentKeys::Remote(keys.current()),
        }
    }

    /// The keys, where they never change.
    pub(crate) fn known_keys(&self) -> Option<&KeySet> {
        match &self.keys {
            Keys::Known(keys) => Some(keys),
            Keys::Remote(_) => None,
        }
    }

    /// For a token whose key isn't among the current ones: something to wait for, or why there is no hope.
    pub(crate) fn seek(&self, key_id: Option<&str>) -> Result<Waiting, AuthError> {
        match &self.keys {
            Keys::Known(_) => Err(Reason::UnknownKey.into()),
            Keys::Remote(keys) => keys.seek(key_id),
        }
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without asking for anything: printing is not using.
        let keys = match &self.keys {
            Keys::Known(keys) => CurrentKeys::Known(keys),
            Keys::Remote(keys) => CurrentKeys::Remote(keys.peek()),
        };
        f.debug_struct("Issuer")
            .field("identifier", &self.identifier)
            .field("keys", &keys.set())
            .finish_non_exhaustive()
    }
}

/// Where plain `http` is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plain {
    Nowhere,
    Loopback,
    Anywhere,
}

/// An issuer's or a resource's identifier: a URL without query and fragment.
pub(crate) fn check_identifier(setting: &'static str, url: &str, plain: Plain) -> Result<(), ConfigError> {
    if url.contains(['?', '#']) {
        return Err(bad_url(setting, url, "has a query or fragment, which an identifier has not"));
    }
    check_url(setting, url, plain)
}

/// An absolute `https` URL.
pub(crate) fn check_url(setting: &'static str, url: &str, plain: Plain) -> Result<(), ConfigError> {
    let Ok(uri) = url.parse::<Uri>() else { return Err(bad_url(setting, url, "is not a URL")) };
    let found = match (uri.scheme_str(), uri.authority()) {
        // Never quoted: there may be a password in it.
        (_, Some(authority)) if authority.as_str().contains('@') => {
            return Err(ConfigMistake::new(setting, "the URL has a user name", CHANGE).into());
        }
        (_, Some(authority)) if !is_complete(authority) => "has no host, or no possible port",
        (Some("https"), Some(_)) => return Ok(()),
        (Some("http"), Some(_)) if plain == Plain::Anywhere => return Ok(()),
        (Some("http"), Some(authority)) if plain == Plain::Loopback && is_loopback(authority.host()) => return Ok(()),
        (Some("http"), Some(_)) => "is plain http",
        _ => "is not an absolute https URL",
    };
    Err(bad_url(setting, url, found))
}

fn bad_url(setting: &'static str, url: &str, found: &str) -> ConfigError {
    ConfigMistake::new(setting, format!("{url:?} {found}"), CHANGE).into()
}

/// `http` reads a port only when asked for it, and takes an impossible one for none.
fn is_complete(authority: &Authority) -> bool {
    let port = authority.port_u16().map_or(0, |_| authority.port().map_or(0, |port| port.as_str().len() + 1));
    !authority.host().is_empty() && authority.host().len() + port == authority.as_str().len()
}

/// An address of this machine; a name such as `localhost.example.com` is none.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

const CHANGE: &str = "give an absolute https URL";
