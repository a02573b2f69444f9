//! A request for a token, as a grant sees it.
//!
//! *In*: a request whose client is authenticated, and whose proof is good. *Out*: its parameters, and decisions within what the
//! client is registered for.

use std::{fmt, time::SystemTime};

use http::HeaderMap;

use super::{Granted, authorization_code::audience as approved_audience};
use crate::{
    confirmation::Confirmation,
    token_endpoint::{
        client::Client,
        endpoints::{ClientRequest, ServerState, introspect::OwnToken},
        http::{
            error::{TokenError, TokenErrorKind},
            request::Parameters,
        },
        once::OnceValue,
        proofs::SenderProof,
        services::Services,
    },
};

/// A request for a token, from an authenticated client.
pub struct TokenRequest<'r> {
    client: &'r Client,
    parameters: &'r Parameters,
    pub(super) assertion: &'r OnceValue,
    pub(super) proof: &'r SenderProof,
    headers: &'r HeaderMap,
    pub(super) server: &'r ServerState,
}

impl<'r> TokenRequest<'r> {
    pub(crate) fn new(
        request: &'r ClientRequest,
        headers: &'r HeaderMap,
        proof: &'r SenderProof,
        server: &'r ServerState,
    ) -> Self {
        let ClientRequest { client, parameters, assertion } = request;
        Self { client, parameters, assertion, proof, headers, server }
    }

    /// Returns the client.
    #[must_use]
    pub fn client(&self) -> &'r Client {
        self.client
    }

    /// Returns the time of day.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.server.services.now()
    }

    /// Returns a parameter. An empty value counts as absent (RFC 6749 §3.2).
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::token_endpoint::TokenErrorKind::InvalidRequest): the parameter is repeated.
    pub fn parameter(&self, name: &str) -> Result<Option<&'r str>, TokenError> {
        self.parameters.get(name)
    }

    /// Returns a required parameter.
    ///
    /// # Errors
    /// [`InvalidRequest`](crate::token_endpoint::TokenErrorKind::InvalidRequest): the parameter is missing or repeated.
    pub fn required(&self, name: &str) -> Result<&'r str, TokenError> {
        self.parameters.required(name)
    }

    /// Returns the headers of the request. They may contain the client's secret.
    #[must_use]
    pub fn headers(&self) -> &'r HeaderMap {
        self.headers
    }

    /// Returns the key that the request has proven, to which the token will be bound (RFC 9449 §5). `None` for a bearer token.
    #[must_use]
    pub fn confirmation(&self) -> Option<Confirmation> {
        self.proof.confirmation()
    }

    /// Returns the access token with this text, if this endpoint issued it and it is active, for example the `subject_token` of a
    /// token exchange (RFC 8693 §2.1). The grant decides whether the client may use it: any client may have got it, for any API.
    ///
    /// # Errors
    /// The store or the client registry is unavailable.
    pub async fn active_token(&self, text: &str) -> Result<Option<OwnToken>, TokenError> {
        Ok(self.server.active_token(text).await?.map(OwnToken::from))
    }

    /// Grants the requested scopes and resource to `subject`, within what the client is registered for. A request without scopes
    /// gets the client's default scopes. For scopes that were requested or approved before this request, see
    /// [`grant_access_to`](Self::grant_access_to).
    ///
    /// # Errors
    /// [`InvalidScope`](crate::token_endpoint::TokenErrorKind::InvalidScope) or
    /// [`InvalidTarget`](crate::token_endpoint::TokenErrorKind::InvalidTarget): the request exceeds the registration.
    pub fn grant_to(&self, subject: impl Into<String>) -> Result<Granted, TokenError> {
        let scope = self.client.scopes(self.parameter("scope")?)?;
        let audience = self.client.audience(&self.resources())?.to_owned();
        Ok(Granted::new(subject.into(), scope, audience, Vec::new()))
    }

    /// Grants what a user approved for `subject` before this request: these scopes, and a token for one of these resources. With
    /// `resource`, the request chooses which one (RFC 8707 §2.2); otherwise it is the first. Without resources, it is the first
    /// audience of the client. The parameter `scope` is not read. As for a code, scopes that the client is not registered for are
    /// left out.
    ///
    /// A refresh token of [`with_refresh_token`](Granted::with_refresh_token) is for all of these scopes and resources.
    ///
    /// ```
    /// use tower_oauth::token_endpoint::{Granted, TokenError, TokenRequest};
    ///
    /// /// What the user approved on the page of the device authorization (RFC 8628 §3.3).
    /// struct Approval {
    ///     user: String,
    ///     scopes: Vec<String>,
    ///     resources: Vec<String>,
    /// }
    ///
    /// fn decide(request: &TokenRequest<'_>, approval: &Approval) -> Result<Granted, TokenError> {
    ///     let granted = request.grant_access_to(&approval.user, &approval.scopes, &approval.resources)?;
    ///     Ok(granted.with_refresh_token())
    /// }
    /// # let _ = decide;
    /// ```
    ///
    /// # Errors
    /// - [`InvalidScope`](crate::token_endpoint::TokenErrorKind::InvalidScope): the client is registered for scopes, but for none of
    ///   these.
    /// - [`InvalidTarget`](crate::token_endpoint::TokenErrorKind::InvalidTarget): the resource is not one of these, or the client is
    ///   not registered for it.
    pub fn grant_access_to<N: AsRef<str>, R: AsRef<str>>(
        &self,
        subject: impl Into<String>,
        scopes: impl IntoIterator<Item = N>,
        resources: impl IntoIterator<Item = R>,
    ) -> Result<Granted, TokenError> {
        let mut names: Vec<String> = Vec::new();
        for name in scopes {
            if self.client.may_have(name.as_ref()) && names.iter().all(|other| other != name.as_ref()) {
                names.push(name.as_ref().to_owned());
            }
        }
        // A response without `scope` means all requested scopes (RFC 6749 §5.1), so no token with none can be issued.
        if names.is_empty() && self.client.has_scopes() {
            return Err(TokenError::new(
                TokenErrorKind::InvalidScope,
                "No approved scope may be granted to the client",
            ));
        }
        let mut resources: Vec<String> = resources.into_iter().map(|resource| resource.as_ref().to_owned()).collect();
        if resources.is_empty() {
            resources.push(self.client.audience(&[])?.to_owned());
        }
        let audience = approved_audience(&resources, self.client, &self.resources())?;
        Ok(Granted::new(subject.into(), names.join(" "), audience, resources))
    }

    /// Returns the values of `resource` (RFC 8707 §2) and `audience`, its name in RFC 8693 §2.1.
    pub(crate) fn resources(&self) -> Vec<&'r str> {
        self.parameters.all("resource").chain(self.parameters.all("audience")).collect()
    }

    pub(super) fn services(&self) -> &'r Services {
        &self.server.services
    }
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("client", &self.client)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}
