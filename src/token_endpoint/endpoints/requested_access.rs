//! The parameters of an authorization request (RFC 6749 §4.1.1, RFC 7636 §4.3, RFC 8707 §2.1).
//!
//! *In*: the parameters, and a client whose redirect URI is checked. *Out*: what is requested, or the error for the client.

use std::time::Duration;

use super::ServerState;
use crate::token_endpoint::{
    client::{Client, Pkce},
    grant::pkce::is_challenge,
    http::{error::TokenError, request::Parameters},
};

/// What a client requests. It is registered for all of it.
pub(super) struct RequestedAccess {
    pub(super) scope: String,
    pub(super) audiences: Vec<String>,
    /// The PKCE challenge, if the client sent one.
    pub(super) challenge: Option<String>,
    pub(super) wishes: LoginWishes,
}

/// How the client wants the user to log in (OpenID Connect Core §3.1.2.1). The application decides.
#[derive(Default)]
pub(super) struct LoginWishes {
    pub(super) prompt: Vec<String>,
    pub(super) max_age: Option<Duration>,
    pub(super) acr_values: Vec<String>,
    pub(super) login_hint: Option<String>,
}

/// An error that is sent to the client.
pub(super) struct AuthorizationRefusal {
    pub(super) code: &'static str,
    pub(super) description: &'static str,
}

impl From<TokenError> for AuthorizationRefusal {
    fn from(error: TokenError) -> Self {
        Self { code: error.kind().as_str(), description: error.description() }
    }
}

impl RequestedAccess {
    /// Checks the parameters of a request whose client and redirect URI are valid. Sets `state` first, because an error
    /// response contains it too.
    pub(super) fn from_parameters(
        inner: &ServerState,
        client: &Client,
        parameters: &Parameters,
        state: &mut Option<String>,
    ) -> Result<Self, AuthorizationRefusal> {
        let refuse = |code, description| Err(AuthorizationRefusal { code, description });
        *state = parameters.get("state")?.map(str::to_owned);
        parameters.refuse_repeated()?;
        // RFC 9101 §6: not supported, and never ignored.
        for (name, code) in [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")] {
            if parameters.get(name)?.is_some() {
                return refuse(code, "Request objects are not supported");
            }
        }
        match parameters.get("response_type")? {
            Some("code") if inner.authorization_endpoint.is_some() => {}
            None => return refuse("invalid_request", "The response_type is missing"),
            Some(_) => return refuse("unsupported_response_type", "The response_type is not supported"),
        }
        if parameters.get("response_mode")?.is_some_and(|mode| mode != "query") {
            return refuse("invalid_request", "The response_mode is not supported");
        }
        if !client.may_use("authorization_code") {
            return refuse("unauthorized_client", "The client is not registered for this response type");
        }
        // RFC 7636 §4.3: a missing method means plain, which is refused.
        let challenge = match (parameters.get("code_challenge")?, parameters.get("code_challenge_method")?) {
            (Some(challenge), Some("S256")) if is_challenge(challenge) => Some(challenge.to_owned()),
            // A public client proves nothing else (RFC 9700 §2.1.1), whatever the record of a store has.
            (None, None) if client.pkce == Pkce::Optional && !client.is_public() => None,
            _ => return refuse("invalid_request", "A code_challenge with method S256 is required"),
        };
        let scope = client.scopes(parameters.get("scope")?)?;
        let mut audiences: Vec<String> = Vec::new();
        for wanted in parameters.all("resource").chain(parameters.all("audience")) {
            let audience = client.audience(&[wanted])?;
            if !audiences.iter().any(|other| other == audience) {
                audiences.push(audience.to_owned());
            }
        }
        if audiences.is_empty() {
            audiences.push(client.audience(&[])?.to_owned());
        }
        let wishes = LoginWishes::from_parameters(parameters)?;
        Ok(Self { scope, audiences, challenge, wishes })
    }
}

impl LoginWishes {
    fn from_parameters(parameters: &Parameters) -> Result<Self, AuthorizationRefusal> {
        let names = |name| -> Result<Vec<String>, TokenError> {
            let text = parameters.get(name)?.unwrap_or_default();
            Ok(text.split(' ').filter(|part| !part.is_empty()).map(str::to_owned).collect())
        };
        let prompt = names("prompt")?;
        let refuse = |description| AuthorizationRefusal { code: "invalid_request", description };
        if prompt.len() > 1 && prompt.iter().any(|value| value == "none") {
            return Err(refuse("The prompt none excludes all others"));
        }
        let max_age = parameters.get("max_age")?.map(str::parse).transpose();
        let max_age = max_age.map_err(|_| refuse("The max_age is not a number of seconds"))?;
        Ok(Self {
            prompt,
            max_age: max_age.map(Duration::from_secs),
            acr_values: names("acr_values")?,
            login_hint: parameters.get("login_hint")?.map(str::to_owned),
        })
    }
}
