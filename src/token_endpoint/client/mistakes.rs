//! The mistakes in the settings of a client.
//!
//! *In*: a client as the application has configured it. *Out*: every mistake at once.

use std::collections::HashSet;

use super::{Client, ClientSecret, Introspects, MAX_GENERATION, Pkce, builder::MAX_CLIENT_ID_BYTES};
use crate::{
    config_error::{ConfigError, MistakeCollector},
    scope::is_scope_name,
    token_endpoint::{
        http::redirect::{check_redirect_uri, is_private_scheme},
        signer::MAX_LIFETIME,
    },
};

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
    /// Checks all settings, and returns every mistake at once. `private_schemes` are the accepted schemes without a dot.
    pub(super) fn check(&self, private_schemes: &[String]) -> Result<(), ConfigError> {
        let mut mistakes = ClientMistakes { id: &self.id, mistakes: MistakeCollector::new() };
        self.check_identity(&mut mistakes);
        self.check_scopes(&mut mistakes);
        if self.lifetime.is_some_and(|lifetime| lifetime.as_secs() == 0 || lifetime > MAX_LIFETIME) {
            let found = "less than a second, or more than a day";
            mistakes.add("access_token_lifetime", found, "give between a second and a day");
        }
        if self.max_active_tokens == Some(0) {
            mistakes.add("max_active_tokens", "0", "allow at least one, or give the client no grants");
        }
        if self.max_sessions == Some(0) {
            mistakes.add("max_sessions", "0", "allow at least one, or give the client no grants");
        }
        self.check_audiences(&mut mistakes);
        self.check_audience_scopes(&mut mistakes);
        self.check_public(&mut mistakes);
        self.check_redirect_uris(private_schemes, &mut mistakes);
        mistakes.mistakes.finish()
    }

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
