//! Whom we trust: an authorization server's identifier and its keys.
//!
//! *In*: the identifier, exactly as the tokens' `iss` has it, and the keys. *Out*: an [`Issuer`] for a verifier.
//!
//! Keys belong to their issuer and are never looked up elsewhere (RFC 8725 §3.8).

use std::{fmt, net::IpAddr, sync::Arc};

use http::Uri;

use crate::{
    error::{ConfigError, ConfigMistake},
    keys::KeySet,
};

/// An authorization server whose tokens are accepted.
#[derive(Clone)]
pub struct Issuer {
    identifier: Arc<str>,
    keys: Arc<KeySet>,
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
    pub fn with_keys(identifier: impl AsRef<str>, keys: KeySet) -> Result<Self, ConfigError> {
        let identifier = identifier.as_ref();
        check_https("issuer", identifier)?;
        Ok(Self { identifier: identifier.into(), keys: Arc::new(keys) })
    }

    /// For a shared secret: the two sides agree on a name, which need not be a URL (RFC 7519 §4.1.1).
    pub(crate) fn named(identifier: &str, keys: KeySet) -> Result<Self, ConfigError> {
        if identifier.trim().is_empty() {
            return Err(ConfigMistake::new("issuer", "it is empty", "give the value of the tokens' iss").into());
        }
        Ok(Self { identifier: identifier.into(), keys: Arc::new(keys) })
    }

    /// The identifier.
    #[must_use]
    pub fn identifier(&self) -> &str {
        &self.identifier
    }

    pub(crate) fn keys(&self) -> &KeySet {
        &self.keys
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("identifier", &self.identifier).field("keys", &self.keys).finish()
    }
}

/// An absolute `https` URL without query and fragment; `http` for a loopback host only.
pub(crate) fn check_https(setting: &'static str, url: &str) -> Result<(), ConfigError> {
    let change = "give an absolute https URL without query and fragment";
    let mistake = |found: &str| Err(ConfigMistake::new(setting, format!("{url:?} {found}"), change).into());
    let Ok(uri) = url.parse::<Uri>() else { return mistake("is not a URL") };
    if url.contains(['?', '#']) {
        return mistake("has a query or fragment");
    }
    match (uri.scheme_str(), uri.authority()) {
        (_, Some(authority)) if authority.as_str().contains('@') => mistake("has a user name"),
        (Some("https"), Some(_)) => Ok(()),
        (Some("http"), Some(authority)) if is_loopback(authority.host()) => Ok(()),
        (Some("http"), Some(_)) => mistake("is plain http"),
        _ => mistake("is not an absolute https URL"),
    }
}

/// An address of this machine; a name such as `localhost.example.com` is none.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
