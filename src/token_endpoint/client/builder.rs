//! The settings of a [`Client`] (RFC 7591 §2).
//!
//! *In*: the application's settings. *Out*: a checked client, or every mistake at once.

use std::{fmt, time::Duration};

use serde_json::Map;

use super::{Client, ClientCredential, ClientSecret, ExcessScopes, Introspects, Pkce, TokenFormat};
use crate::{config_error::ConfigError, token_endpoint::http::redirect::LocalhostPort};

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
                dpop_bound_access_tokens: false,
                certificate_bound: false,
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

    /// Refuses the client's token requests without a DPoP proof, so that all of its access tokens are bound to a key (RFC 9449
    /// §5.2). Default: the client chooses with each request. The endpoint must
    /// [support DPoP](crate::token_endpoint::TokenEndpointBuilder::dpop).
    pub fn dpop_bound_access_tokens(mut self) -> Self {
        self.client.dpop_bound_access_tokens = true;
        self
    }

    /// Binds the client's tokens to its TLS certificate, and refuses its token requests without one (RFC 8705 §3.4). Default: its
    /// tokens are not bound to a certificate. The endpoint must
    /// [read certificates](crate::token_endpoint::TokenEndpointBuilder::mutual_tls).
    pub fn tls_client_certificate_bound_access_tokens(mut self) -> Self {
        self.client.certificate_bound = true;
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
        client.check(&private_schemes)?;
        Ok(client)
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("client", &self.client).finish_non_exhaustive()
    }
}

/// Maximum length of a client's id.
pub(crate) const MAX_CLIENT_ID_BYTES: usize = 1024;
