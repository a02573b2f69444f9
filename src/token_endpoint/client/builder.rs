//! The settings of a [`Client`].

use std::{collections::HashSet, fmt, time::Duration};

use super::{Client, ClientCredential, Introspects, TokenFormat};
use crate::{
    config_error::{ConfigError, ConfigMistake},
    scope::is_scope_name,
    token_endpoint::{http::redirect::check_redirect_uri, signer::MAX_LIFETIME},
};

/// Says the rest about a [`Client`].
pub struct ClientBuilder {
    client: Client,
}

impl ClientBuilder {
    pub(super) fn new(id: String, credential_kind: ClientCredential) -> Self {
        Self {
            client: Client {
                id,
                credential_kind,
                grant_types: Vec::new(),
                redirect_uris: Vec::new(),
                default_scopes: Vec::new(),
                optional_scopes: Vec::new(),
                audiences: Vec::new(),
                lifetime: None,
                max_active_tokens: None,
                introspects: Introspects::Audiences(Vec::new()),
            },
        }
    }

    /// The grants it may use, by their `grant_type`.
    #[must_use]
    pub fn grant_types<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.client.grant_types.extend(names.into_iter().map(Into::into));
        self
    }

    /// Where the code may be sent. Compared byte for byte, but for the port of a loopback address (RFC 8252 §7.3).
    #[must_use]
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.client.redirect_uris.push(uri.into());
        self
    }

    /// The scopes it gets without asking.
    #[must_use]
    pub fn default_scopes<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.client.default_scopes.extend(names.into_iter().map(Into::into));
        self
    }

    /// The scopes it gets if it asks for them.
    #[must_use]
    pub fn optional_scopes<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.client.optional_scopes.extend(names.into_iter().map(Into::into));
        self
    }

    /// An API that its tokens may be for, and what they are there. The first is the one that is meant if the client names
    /// none by `resource` (RFC 8707 §2) or `audience`.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>, format: TokenFormat) -> Self {
        self.client.audiences.push((audience.into(), format));
        self
    }

    /// How long its access tokens live, in whole seconds, instead of
    /// [the endpoint's time](crate::token_endpoint::TokenEndpointBuilder::access_token_lifetime).
    #[must_use]
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.client.lifetime = Some(lifetime);
        self
    }

    /// How many access tokens it may have at a time for each subject. One more ends the oldest: it is revoked, which
    /// introspection tells and the check of a JWT's signature does not.
    #[must_use]
    pub fn max_active_tokens(mut self, most: u32) -> Self {
        self.client.max_active_tokens = Some(most);
        self
    }

    /// It is the API with this identifier, so it may introspect the tokens that are meant for it.
    #[must_use]
    pub fn introspects_audience(mut self, audience: impl Into<String>) -> Self {
        if let Introspects::Audiences(own) = &mut self.client.introspects {
            own.push(audience.into());
        }
        self
    }

    /// It may introspect every token. Whoever has its credentials can tell for any text whether it is a token.
    #[must_use]
    pub fn introspects_any_token(mut self) -> Self {
        self.client.introspects = Introspects::Any;
        self
    }

    /// The client.
    ///
    /// # Errors
    /// All at once: an empty id, secret or list entry; a malformed scope; a lifetime or a limit of nothing; grants without
    /// an audience; a public client with `client_credentials` (RFC 6749 §4.4) or introspection; `authorization_code` without a
    /// redirect URI; a redirect URI that is relative, has a fragment, or is plain `http` to another machine.
    pub fn build(self) -> Result<Client, ConfigError> {
        let client = self.client;
        let mut mistakes = Vec::new();
        let mut found = |setting, found: &str, change| {
            mistakes.push(ConfigMistake::new(setting, format!("client {:?}: {found}", client.id), change));
        };
        if client.id.is_empty() {
            found("client_id", "it is empty", "give each client an id");
        }
        if matches!(&client.credential_kind, ClientCredential::Secret(secret) if secret.is_empty()) {
            found("client_secret", "it is empty", "draw one with ClientSecret::generate");
        }
        let mut scopes = HashSet::new();
        for name in client.default_scopes.iter().chain(&client.optional_scopes) {
            if !is_scope_name(name) {
                found("scope", "a name is no scope-token", "use printable ASCII without space, quote and backslash");
            } else if !scopes.insert(name) {
                found("scope", "a name stands twice", "name a scope once, as default or as optional");
            }
        }
        if client.lifetime.is_some_and(|lifetime| lifetime.as_secs() == 0 || lifetime > MAX_LIFETIME) {
            found("access_token_lifetime", "less than a second, or more than a day", "give a second to a day");
        }
        if client.max_active_tokens == Some(0) {
            found("max_active_tokens", "0", "allow at least one, or give the client no grants");
        }
        if !client.grant_types.is_empty() && client.audiences.is_empty() {
            found("audience", "it has grants, but no API", "name the API that its tokens are for (RFC 9068 §3)");
        }
        if client.audiences.iter().any(|(audience, _)| audience.is_empty()) {
            found("audience", "it is empty", "name the API that its tokens are for (RFC 9068 §3)");
        }
        if client.is_public() && client.may_use("client_credentials") {
            found("grant_types", "public, with client_credentials", "give it a secret or keys (RFC 6749 §4.4)");
        }
        let introspects = match &client.introspects {
            Introspects::Any => true,
            Introspects::Audiences(own) => !own.is_empty(),
        };
        if client.is_public() && introspects {
            found("introspects", "public, and may introspect", "give it a secret or keys (RFC 7662 §2.1)");
        }
        if client.may_use("authorization_code") && client.redirect_uris.is_empty() {
            found("redirect_uri", "authorization_code without any", "say where the code may be sent");
        }
        for uri in &client.redirect_uris {
            if let Err(wrong) = check_redirect_uri(uri) {
                found("redirect_uri", wrong, "give an absolute URI: https, loopback http, or a scheme with a dot");
            }
        }
        ConfigError::unless_empty(mistakes)?;
        Ok(client)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("client", &self.client).finish()
    }
}
