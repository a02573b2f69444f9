//! The settings of a [`Client`] (RFC 7591 §2).
//!
//! *In*: the application's settings. *Out*: a checked client, or every mistake at once.

use std::{collections::HashSet, fmt, time::Duration};

use serde_json::Map;

use super::{Client, ClientCredential, ClientSecret, ExcessScopes, Introspects, MAX_GENERATION, Pkce, TokenFormat};
use crate::{
    config_error::{ConfigError, MistakeCollector},
    scope::is_scope_name,
    token_endpoint::{
        http::redirect::{LocalhostPort, check_redirect_uri, is_private_scheme},
        signer::MAX_LIFETIME,
    },
};

/// Builder for a [`Client`]. [`build`](Self::build) reports every mistake at once.
#[must_use]
pub struct ClientBuilder {
    client: Client,
    /// Schemes of redirect URIs without a dot.
    private_schemes: Vec<String>,
}

impl ClientBuilder {
    pub(super) fn new(id: String, credential: ClientCredential) -> Self {
        Self {
            client: Client {
                id,
                credential,
                previous_secret: None,
                generation: 0,
                grant_types: Vec::new(),
                redirect_uris: Vec::new(),
                localhost_port: LocalhostPort::Fixed,
                pkce: Pkce::Required,
                default_scopes: Vec::new(),
                optional_scopes: Vec::new(),
                excess: ExcessScopes::Refuse,
                audiences: Vec::new(),
                audience_scopes: Vec::new(),
                lifetime: None,
                max_active_tokens: None,
                max_sessions: None,
                introspects: Introspects::Audiences(Vec::new()),
                name: None,
                host: None,
                unknown: Map::new(),
            },
            private_schemes: Vec::new(),
        }
    }

    /// Also accepts the client's old secret, while the client changes to the new one. Default: none.
    pub fn previous_secret(mut self, secret: ClientSecret) -> Self {
        self.client.previous_secret = Some(secret);
        self
    }

    /// Generation of the client's credential. Default: 0. Maximum: 1 073 741 823.
    ///
    /// Increase it when the client's secret or key has leaked: every code, session and token that was issued under another
    /// generation, or under another kind of [credential](ClientCredential), is refused and reported as inactive. A new secret or
    /// key alone invalidates none.
    pub fn credential_generation(mut self, generation: u32) -> Self {
        self.client.generation = generation;
        self
    }

    /// Adds grants that the client may use, by their `grant_type`. Default: none.
    pub fn grant_types<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.client.grant_types.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds a URI to which a code may be sent. It is compared byte for byte, except for the port of a loopback address:
    /// `http://127.0.0.1/cb` and `http://[::1]/cb` match any port, because an app can't know its port in advance (RFC 8252
    /// §7.3). There are no wildcards (RFC 9700 §2.1).
    ///
    /// The URI is `https`, `http` with one of these addresses or `localhost`, or has a private scheme:
    /// - The port of `localhost` is fixed, because the name can resolve to another machine (RFC 8252 §8.3).
    ///   [`any_localhost_port`](Self::any_localhost_port) changes this.
    /// - A private scheme is a domain name in reverse, such as `com.example.app:/cb` (RFC 8252 §7.1), so that no two apps choose
    ///   the same. [`accept_private_scheme`](Self::accept_private_scheme) accepts one without a dot.
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.client.redirect_uris.push(uri.into());
        self
    }

    /// Lets a [redirect URI](Self::redirect_uri) that begins with `http://localhost` match any port, as those with a loopback
    /// address do. Default: only the registered port. It changes nothing for other hosts.
    ///
    /// The cost: RFC 8252 §8.3 recommends against `localhost`. Where the name resolves to another machine, or another program
    /// listens on the port, the code is sent there. Without the PKCE verifier it can't be redeemed.
    pub fn any_localhost_port(mut self) -> Self {
        self.client.localhost_port = LocalhostPort::Any;
        self
    }

    /// Accepts [redirect URIs](Self::redirect_uri) with this private scheme, which has no dot: `cursor` for
    /// `cursor://auth/callback`. Default: a scheme is a domain name in reverse.
    ///
    /// The cost: a name without a domain belongs to no one. Another app on the user's device can register the same scheme and
    /// receive the code (RFC 8252 §8.4). Without the PKCE verifier it can't redeem it, but it can request a code of its own and
    /// so act as this client.
    pub fn accept_private_scheme(mut self, scheme: impl Into<String>) -> Self {
        self.private_schemes.push(scheme.into());
        self
    }

    /// Accepts authorization requests of this confidential client without a PKCE challenge. Default: a challenge with the method
    /// `S256` is required. A request that has one stays bound to it.
    ///
    /// The cost: RFC 9700 §2.1.1 recommends PKCE for confidential clients, and requires it of public ones, for which this is a
    /// mistake. Without it, an attacker who gets a user's code can give it to the client in a session of the attacker's own, and
    /// only the client's check of `state` prevents that (§4.5). The token request must then repeat `redirect_uri`, if the
    /// authorization request had it (RFC 6749 §4.1.3).
    pub fn accept_without_pkce(mut self) -> Self {
        self.client.pkce = Pkce::Optional;
        self
    }

    /// Adds scopes that the client gets if it requests none. Default: none.
    pub fn default_scopes<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.client.default_scopes.extend(names.into_iter().map(Into::into));
        self
    }

    /// Adds scopes that the client gets only if it requests them. Default: none.
    pub fn optional_scopes<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.client.optional_scopes.extend(names.into_iter().map(Into::into));
        self
    }

    /// Grants a request the scopes that the client may have, and drops the others, instead of refusing it with `invalid_scope`
    /// (RFC 6749 §3.3). This helps clients that always request `offline_access`, or everything in `scopes_supported`. Default:
    /// a request is refused if it exceeds what may be granted.
    ///
    /// It applies to every grant. `scope` in the token response has what was granted, and
    /// [`AuthorizationRequest::scopes`](crate::token_endpoint::AuthorizationRequest::scopes) what the user can approve. A request
    /// of which nothing is left is refused with `invalid_scope`.
    pub fn grant_less_than_asked(mut self) -> Self {
        self.client.excess = ExcessScopes::Drop;
        self
    }

    /// Adds an API that tokens may be for, and their format there. The first one is used if a request has neither `resource`
    /// (RFC 8707 §2) nor `audience`.
    ///
    /// A request must name it byte for byte, except that `https://api.example.com` and `https://api.example.com/` are the same
    /// (RFC 3986 §6.2.3). `aud` of the token is always the text that is given here.
    pub fn audience(mut self, audience: impl Into<String>, format: TokenFormat) -> Self {
        self.client.audiences.push((audience.into(), format));
        self
    }

    /// Adds scopes that belong to the API `audience`, which [`audience`](Self::audience) names with the same text. A token for
    /// this API has only those of its granted scopes that belong to it. Default: all scopes belong to each API.
    ///
    /// A request of which no granted scope belongs to the API is refused with `invalid_scope`.
    ///
    /// ```
    /// # fn example(client: tower_oauth::token_endpoint::ClientBuilder) {
    /// use tower_oauth::token_endpoint::TokenFormat;
    ///
    /// let client = client
    ///     .default_scopes(["orders:read", "stock:read"])
    ///     .audience("https://orders.example.com", TokenFormat::Jwt)
    ///     .audience_scopes("https://orders.example.com", ["orders:read"])
    ///     .audience("https://stock.example.com", TokenFormat::Jwt)
    ///     .audience_scopes("https://stock.example.com", ["stock:read"]);
    /// # let _ = client;
    /// # }
    /// ```
    pub fn audience_scopes<N: Into<String>>(
        mut self,
        audience: impl Into<String>,
        names: impl IntoIterator<Item = N>,
    ) -> Self {
        let (audience, names) = (audience.into(), names.into_iter().map(Into::into));
        match self.client.audience_scopes.iter_mut().find(|(own, _)| *own == audience) {
            Some((_, own)) => own.extend(names),
            None => self.client.audience_scopes.push((audience, names.collect())),
        }
        self
    }

    /// Lifetime of the client's access tokens, in whole seconds. Default:
    /// [the endpoint's](crate::token_endpoint::TokenEndpointBuilder::access_token_lifetime). Maximum: one day.
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.client.lifetime = Some(lifetime);
        self
    }

    /// Maximum number of active access tokens for each subject. Issuing one more revokes the oldest. Introspection detects
    /// that; an API that verifies JWTs itself doesn't. Default: no limit.
    pub fn max_active_tokens(mut self, max: u32) -> Self {
        self.client.max_active_tokens = Some(max);
        self
    }

    /// Maximum number of sessions of each subject with this client. A session begins when the client redeems a code. One more
    /// session ends the oldest one, with its tokens. Default: no limit.
    pub fn max_sessions(mut self, max: u32) -> Self {
        self.client.max_sessions = Some(max);
        self
    }

    /// Allows the client to introspect the tokens for this audience: the client is that API. Default: its own tokens only.
    pub fn introspects_audience(mut self, audience: impl Into<String>) -> Self {
        if let Introspects::Audiences(own) = &mut self.client.introspects {
            own.push(audience.into());
        }
        self
    }

    /// Allows the client to introspect every token.
    ///
    /// The cost: with the client's credentials, an attacker can find out for any text whether it is an active token.
    pub fn introspects_any_token(mut self) -> Self {
        self.client.introspects = Introspects::Any;
        self
    }

    /// Builds the client.
    ///
    /// # Errors
    /// Every mistake at once: an empty id, secret or audience; an id of more than 1024 bytes; a previous secret of a client without
    /// a secret; a too great generation; a scope that is malformed or named twice; a lifetime of 0, or longer than a day; a maximum of 0 tokens or 0
    /// sessions; grants without an audience; scopes of an audience that the client doesn't have, a scope of an audience that the
    /// client may not have, or an audience with an empty list of scopes; a public client with `client_credentials`
    /// (RFC 6749 §4.4) or introspection, or without PKCE (RFC 9700 §2.1.1); `authorization_code` without a redirect URI; a redirect URI that is relative, has a
    /// fragment, is plain `http` to another machine, or can never match, because it has a `*` or a port over 65535; a private
    /// scheme that is no scheme in lower case, or that belongs to no app, such as `javascript`.
    pub fn build(self) -> Result<Client, ConfigError> {
        let Self { client, private_schemes } = self;
        let mut mistakes = ClientMistakes { id: &client.id, mistakes: MistakeCollector::new() };
        client.check_identity(&mut mistakes);
        client.check_scopes(&mut mistakes);
        if client.lifetime.is_some_and(|lifetime| lifetime.as_secs() == 0 || lifetime > MAX_LIFETIME) {
            let found = "less than a second, or more than a day";
            mistakes.add("access_token_lifetime", found, "give between a second and a day");
        }
        if client.max_active_tokens == Some(0) {
            mistakes.add("max_active_tokens", "0", "allow at least one, or give the client no grants");
        }
        if client.max_sessions == Some(0) {
            mistakes.add("max_sessions", "0", "allow at least one, or give the client no grants");
        }
        client.check_audiences(&mut mistakes);
        client.check_audience_scopes(&mut mistakes);
        client.check_public(&mut mistakes);
        client.check_redirect_uris(&private_schemes, &mut mistakes);
        mistakes.mistakes.finish()?;
        Ok(client)
    }
}

/// Collects the mistakes of one client.
struct ClientMistakes<'c> {
    id: &'c str,
    mistakes: MistakeCollector,
}

impl ClientMistakes<'_> {
    fn add(&mut self, setting: &'static str, found: &str, change: &'static str) {
        self.mistakes.add(setting, format!("client {:?}: {found}", self.id), change);
    }
}

impl Client {
    fn check_identity(&self, mistakes: &mut ClientMistakes<'_>) {
        if self.id.is_empty() {
            mistakes.add("client_id", "the id is empty", "give each client an id");
        }
        if self.id.len() > MAX_CLIENT_ID_BYTES {
            mistakes.add("client_id", "the id has more than 1024 bytes", "give the client a shorter id");
        }
        if self.secret().into_iter().chain(self.previous_secret()).any(ClientSecret::is_empty) {
            mistakes.add("client_secret", "the secret is empty", "generate one with ClientSecret::generate");
        }
        if self.secret().is_none() && self.previous_secret.is_some() {
            let found = "a previous secret, but no secret";
            mistakes.add("previous_secret", found, "remove it, or give the client a secret too");
        }
        if self.generation > MAX_GENERATION {
            mistakes.add("credential_generation", "more than 1073741823", "count from 0");
        }
    }

    fn check_scopes(&self, mistakes: &mut ClientMistakes<'_>) {
        let mut scopes = HashSet::new();
        for name in self.default_scopes.iter().chain(&self.optional_scopes) {
            if !is_scope_name(name) {
                let change = "use printable ASCII without space, quote and backslash (RFC 6749 §3.3)";
                mistakes.add("scope", "a name is not a scope name", change);
            } else if !scopes.insert(name) {
                mistakes.add("scope", "a scope is named twice", "name a scope once, as default or as optional");
            }
        }
    }

    fn check_audiences(&self, mistakes: &mut ClientMistakes<'_>) {
        let change = "name the API that the client's tokens are for (RFC 9068 §3)";
        if !self.grant_types.is_empty() && self.audiences.is_empty() {
            mistakes.add("audience", "the client has grants, but no audience", change);
        }
        if self.audiences.iter().any(|(audience, _)| audience.is_empty()) {
            mistakes.add("audience", "an audience is empty", change);
        }
    }

    fn check_audience_scopes(&self, mistakes: &mut ClientMistakes<'_>) {
        for (audience, names) in &self.audience_scopes {
            if self.audiences.iter().all(|(own, _)| own != audience) {
                let found = format!("scopes of {audience:?}, which is no audience of the client");
                mistakes.add("audience_scopes", &found, "also name it with audience, byte for byte");
            }
            if names.is_empty() {
                let found = format!("no scope belongs to {audience:?}");
                mistakes.add("audience_scopes", &found, "name at least one scope");
            }
            if let Some(name) = names.iter().find(|name| !self.may_have(name)) {
                let found = format!("{name:?} belongs to {audience:?}, but the client may not have it");
                mistakes.add("audience_scopes", &found, "also name it as a default or an optional scope");
            }
        }
    }

    fn check_public(&self, mistakes: &mut ClientMistakes<'_>) {
        if !self.is_public() {
            return;
        }
        if self.may_use("client_credentials") {
            let found = "a public client with client_credentials";
            mistakes.add("grant_types", found, "give it a secret or keys (RFC 6749 §4.4)");
        }
        if self.pkce == Pkce::Optional {
            let found = "a public client without PKCE";
            mistakes.add(
                "accept_without_pkce",
                found,
                "remove it, or give the client a secret or keys (RFC 9700 §2.1.1)",
            );
        }
        let introspects = match &self.introspects {
            Introspects::Any => true,
            Introspects::Audiences(own) => !own.is_empty(),
        };
        if introspects {
            let found = "a public client that may introspect";
            mistakes.add("introspects", found, "give it a secret or keys (RFC 7662 §2.1)");
        }
    }

    fn check_redirect_uris(&self, private_schemes: &[String], mistakes: &mut ClientMistakes<'_>) {
        if self.may_use("authorization_code") && self.redirect_uris.is_empty() {
            let found = "authorization_code without a redirect URI";
            mistakes.add("redirect_uri", found, "register where the code may be sent");
        }
        for uri in &self.redirect_uris {
            if let Err(found) = check_redirect_uri(uri, private_schemes) {
                // Not quoted if it may contain a password.
                let shown = if uri.contains('@') { String::new() } else { format!(": {uri:?}") };
                let change = "give an absolute URI without wildcards: https, loopback http, or a scheme with a dot";
                mistakes.add("redirect_uri", &format!("{found}{shown}"), change);
            }
        }
        for scheme in private_schemes.iter().filter(|scheme| !is_private_scheme(scheme)) {
            let found = format!("{scheme:?} is no scheme of an app");
            let change = "give the scheme of the redirect URI in lower case, without the colon, such as cursor";
            mistakes.add("accept_private_scheme", &found, change);
        }
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("client", &self.client).finish_non_exhaustive()
    }
}

/// Maximum length of a client's id.
pub(crate) const MAX_CLIENT_ID_BYTES: usize = 1024;
