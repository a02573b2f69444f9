//! [`ProtectedResource`] and its builder.
//!
//! *In*: the identifier of an API, its scopes, and texts about it. *Out*: a checked value, from which the server makes its
//! metadata and its challenges.

use std::iter::once;

use serde_json::{Map, Value};

use super::{
    human_readable::{HumanReadableTexts, TextKind},
    identifier::ResourceIdentifier,
};
use crate::{
    config_error::{ConfigError, ConfigMistake, MistakeCollector},
    scope::Scopes,
    url::{PlainHttp, check_resolvable_identifier},
};

/// An API as clients see it: its identifier, which is also its audience, its scopes, and texts about it. See the
/// [module docs](crate::metadata).
///
/// ```
/// # fn main() -> Result<(), tower_oauth::ConfigError> {
/// use tower_oauth::ProtectedResource;
///
/// let resource = ProtectedResource::builder("https://mcp.example.com/mcp")
///     .scopes(["mcp:tools"])
///     .name("Orders")
///     .localized_name("de", "Bestellungen")
///     .documentation("https://docs.example.com/orders")
///     .build()?;
/// assert_eq!(resource.metadata_url(), "https://mcp.example.com/.well-known/oauth-protected-resource/mcp");
/// assert!(resource.hosts().eq(["mcp.example.com"]));
/// # Ok(())
/// # }
/// ```
#[doc(alias("MCP", "well-known"))]
#[derive(Debug, Clone)]
pub struct ProtectedResource {
    pub(super) identifier: ResourceIdentifier,
    pub(super) also: Vec<ResourceIdentifier>,
    pub(super) scopes: Option<Scopes<'static>>,
    pub(super) further_scopes: Option<Scopes<'static>>,
    pub(super) authorization_servers: Vec<String>,
    pub(super) texts: Map<String, Value>,
}

impl ProtectedResource {
    /// Returns the resource with this identifier. See [`builder`](Self::builder).
    ///
    /// # Errors
    /// Those of [`build`](ProtectedResourceBuilder::build).
    pub fn new(identifier: impl Into<String>) -> Result<Self, ConfigError> {
        Self::builder(identifier).build()
    }

    /// Returns a builder for further settings. `identifier` is the URL of the API, such as `https://mcp.example.com/mcp`, in
    /// exactly the form that the tokens have as `aud`.
    pub fn builder(identifier: impl Into<String>) -> ProtectedResourceBuilder {
        ProtectedResourceBuilder {
            identifier: identifier.into(),
            also: Vec::new(),
            scopes: None,
            further_scopes: None,
            authorization_servers: Vec::new(),
            texts: HumanReadableTexts::default(),
        }
    }

    /// Returns the identifier, for the audience of a verifier.
    #[must_use]
    pub fn identifier(&self) -> &str {
        self.identifier.as_str()
    }

    /// Returns all identifiers, the first one first. The verifier must accept each of them as audience.
    pub fn identifiers(&self) -> impl Iterator<Item = &str> {
        self.parts().map(ResourceIdentifier::as_str)
    }

    /// Returns the host of each identifier as clients send it in `Host`: in lower case, and with the port if it is not the default
    /// one. For a check of `Host`, as servers of the Model Context Protocol have it.
    pub fn hosts(&self) -> impl Iterator<Item = String> {
        self.parts().map(ResourceIdentifier::authority)
    }

    /// Returns the URL of the metadata of [`identifier`](Self::identifier) (RFC 9728 §3.1).
    #[must_use]
    pub fn metadata_url(&self) -> &str {
        self.identifier.metadata_url().as_str()
    }

    /// Returns `scope` of the challenges.
    pub(crate) fn scopes(&self) -> Option<&Scopes<'static>> {
        self.scopes.as_ref()
    }

    pub(super) fn parts(&self) -> impl Iterator<Item = &ResourceIdentifier> {
        once(&self.identifier).chain(&self.also)
    }
}

/// Builder for a [`ProtectedResource`]. [`build`](Self::build) reports every mistake at once.
#[derive(Debug, Clone)]
#[must_use]
pub struct ProtectedResourceBuilder {
    identifier: String,
    also: Vec<String>,
    scopes: Option<Vec<String>>,
    further_scopes: Option<Vec<String>>,
    authorization_servers: Vec<String>,
    texts: HumanReadableTexts,
}

impl ProtectedResourceBuilder {
    /// Adds an identifier, for an API that clients reach at several hosts. Can be called several times. Default: none.
    ///
    /// The host of a request chooses the document and the challenge's `resource_metadata` among the configured identifiers: the
    /// authority of its URI (`:authority` in HTTP/2), else `Host`. A request to another host gets those of the first identifier.
    /// `Forwarded` and `X-Forwarded-*` are never read, so a proxy must leave `Host` as the client sent it.
    pub fn also(mut self, identifier: impl Into<String>) -> Self {
        self.also.push(identifier.into());
        self
    }

    /// The scopes that a client should request first: `scope` of the challenges to requests without a valid token, and
    /// `scopes_supported`. Default: none.
    pub fn scopes<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        Self { scopes: Some(names.into_iter().map(Into::into).collect()), ..self }
    }

    /// Further scopes for `scopes_supported`, beside [`scopes`](Self::scopes). Default: none.
    ///
    /// Many clients request all scopes in this list. Name those that most clients need, not all that exist.
    pub fn scopes_supported<N: Into<String>>(self, names: impl IntoIterator<Item = N>) -> Self {
        Self { further_scopes: Some(names.into_iter().map(Into::into).collect()), ..self }
    }

    /// Names an authorization server in the document, by its issuer identifier (RFC 8414 §2). Can be called several times.
    /// Default: all issuers that the verifier names in [`Verify::issuers`](crate::verify::Verify::issuers).
    ///
    /// Once set, the document names only these servers. Any client can read it, so set it if the verifier also trusts issuers that
    /// must not be public. Needed for [`DynamicIssuers`](crate::verify::DynamicIssuers), and for verifiers of your own that name no
    /// issuer. Which tokens are accepted does not change.
    pub fn authorization_server(mut self, issuer: impl Into<String>) -> Self {
        self.authorization_servers.push(issuer.into());
        self
    }

    /// `resource_name`: a name for people, in one line. Default: none.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.text(TextKind::Name, None, name.into())
    }

    /// `resource_name` in the language with this tag, such as `de` (RFC 9728 §2.1). Set [`name`](Self::name) too: clients show it to
    /// people with another language.
    pub fn localized_name(self, language: impl Into<String>, name: impl Into<String>) -> Self {
        self.text(TextKind::Name, Some(language.into()), name.into())
    }

    /// `resource_documentation`: the URL of a page for developers. Default: none.
    pub fn documentation(self, url: impl Into<String>) -> Self {
        self.text(TextKind::Documentation, None, url.into())
    }

    /// `resource_documentation` in the language with this tag (RFC 9728 §2.1).
    pub fn localized_documentation(self, language: impl Into<String>, url: impl Into<String>) -> Self {
        self.text(TextKind::Documentation, Some(language.into()), url.into())
    }

    /// `resource_policy_uri`: the URL of a page about what clients may do with the data. Default: none.
    pub fn policy_uri(self, url: impl Into<String>) -> Self {
        self.text(TextKind::PolicyUri, None, url.into())
    }

    /// `resource_policy_uri` in the language with this tag (RFC 9728 §2.1).
    pub fn localized_policy_uri(self, language: impl Into<String>, url: impl Into<String>) -> Self {
        self.text(TextKind::PolicyUri, Some(language.into()), url.into())
    }

    /// `resource_tos_uri`: the URL of the terms of service. Default: none.
    pub fn tos_uri(self, url: impl Into<String>) -> Self {
        self.text(TextKind::TosUri, None, url.into())
    }

    /// `resource_tos_uri` in the language with this tag (RFC 9728 §2.1).
    pub fn localized_tos_uri(self, language: impl Into<String>, url: impl Into<String>) -> Self {
        self.text(TextKind::TosUri, Some(language.into()), url.into())
    }

    fn text(mut self, kind: TextKind, language: Option<String>, text: String) -> Self {
        self.texts.set(kind, language, text);
        self
    }

    /// Builds the resource.
    ///
    /// # Errors
    /// Every mistake at once: an identifier that is not an absolute `https` URL (`http` only with a loopback address), that has a
    /// fragment or a user name, whose path or query is not in its normal form, or with a path segment that begins with `:` or `*`,
    /// which routers read as a parameter; two identifiers with the same host and port;
    /// an invalid scope name, or `offline_access`, which is a scope of the authorization server; an authorization server that
    /// is not a URL as RFC 8414 §2 has it; an empty name; a page whose URL is not `https`; an invalid language tag.
    pub fn build(self) -> Result<ProtectedResource, ConfigError> {
        let mut mistakes = MistakeCollector::new();
        let identifier = mistakes.check(ResourceIdentifier::parse("resource", &self.identifier));
        let also: Vec<_> =
            self.also.iter().filter_map(|text| mistakes.check(ResourceIdentifier::parse("also", text))).collect();
        check_authorities(identifier.iter().chain(&also), &mut mistakes);
        let scopes = self.scopes.and_then(|names| checked_scopes("scopes", &names, &mut mistakes));
        let further_scopes =
            self.further_scopes.and_then(|names| checked_scopes("scopes_supported", &names, &mut mistakes));
        for issuer in &self.authorization_servers {
            mistakes.check(check_resolvable_identifier("authorization_server", issuer, PlainHttp::Loopback));
        }
        let texts = self.texts.members(&mut mistakes);
        let authorization_servers = self.authorization_servers;
        let resource = identifier.map(|identifier| ProtectedResource {
            identifier,
            also,
            scopes,
            further_scopes,
            authorization_servers,
            texts,
        });
        mistakes.finish()?;
        resource.ok_or_else(|| ConfigMistake::new("resource", "it is missing", "give the URL of the API").into())
    }
}

/// Checks that the host of a request can choose between the identifiers.
fn check_authorities<'i>(identifiers: impl Iterator<Item = &'i ResourceIdentifier>, mistakes: &mut MistakeCollector) {
    let mut earlier: Vec<&ResourceIdentifier> = Vec::new();
    for identifier in identifiers {
        if let Some(other) = earlier.iter().find(|other| other.has_authority_of(identifier)) {
            let found = format!("{:?} and {:?} have the same host and port", other.as_str(), identifier.as_str());
            mistakes.add("also", found, "give each host one identifier, or build a server for each resource");
        }
        earlier.push(identifier);
    }
}

fn checked_scopes(setting: &'static str, names: &[String], mistakes: &mut MistakeCollector) -> Option<Scopes<'static>> {
    if names.iter().any(|name| name == "offline_access") {
        let found = "offline_access asks the authorization server for refresh tokens, and permits nothing here";
        mistakes.add(setting, found, "leave it out; clients that need refresh tokens add it");
    }
    mistakes.check(Scopes::new(names))
}
