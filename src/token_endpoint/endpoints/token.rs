//! The token endpoint (RFC 6749 §3.2, §5.1; RFC 9068 §2).
//!
//! *In*: a request whose client is authenticated. *Out*: the response with the tokens, which are stored before it is sent.
//!
//! What a grant requires is checked in `grant`.

use std::time::SystemTime;

use http::{Response, StatusCode};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    ClientRequest, ServerState,
    issue::{IssuedTokens, TokenFacts},
};
use crate::token_endpoint::{
    events::{Event, EventKind},
    grant::TokenRequest,
    http::{
        error::{TokenError, TokenErrorKind},
        response::{ResponseBody, json},
    },
};

/// The tokens that were issued, for
/// [`extra_response_parameters`](crate::token_endpoint::TokenEndpointBuilder::extra_response_parameters).
#[derive(Debug)]
pub struct Issuance<'i> {
    pub(super) facts: &'i TokenFacts,
    pub(super) grant_type: &'i str,
}

impl Issuance<'_> {
    /// Returns `client_id`.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.facts.client_id
    }

    /// Returns the `grant_type` of the request.
    #[must_use]
    pub fn grant_type(&self) -> &str {
        self.grant_type
    }

    /// Returns `sub`: the client itself, or a user.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.facts.subject
    }

    /// Returns `scope`: names separated by spaces; may be empty.
    #[must_use]
    pub fn scope(&self) -> &str {
        &self.facts.scope
    }

    /// Returns `aud`.
    #[must_use]
    pub fn audience(&self) -> &str {
        &self.facts.audience
    }

    /// Returns `iat`.
    #[must_use]
    pub fn issued_at(&self) -> SystemTime {
        self.facts.issued_at.into()
    }
}

/// Makes the application's own parameters of a response.
pub(crate) type ExtraParameters = Box<dyn Fn(&Issuance<'_>) -> Result<Value, serde_json::Error> + Send + Sync>;

/// The response (RFC 6749 §5.1). It contains `scope` whenever the token has scopes, so also if §3.3 requires it.
#[derive(Serialize)]
struct TokenResponse<'t> {
    access_token: &'t str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'t str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'t str>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl ServerState {
    pub(crate) async fn token(&self, request: &ClientRequest) -> Result<Response<ResponseBody>, TokenError> {
        let ClientRequest { client, parameters, assertion } = request;
        let missing = || TokenError::new(TokenErrorKind::InvalidRequest, "The grant_type is missing");
        let grant_type = parameters.get("grant_type")?.ok_or_else(missing)?;
        let offered = self.grants.iter().find(|grant| grant.grant_type() == grant_type);
        let unsupported = || TokenError::new(TokenErrorKind::UnsupportedGrantType, "The grant type is not supported");
        let grant = offered.ok_or_else(unsupported)?;
        if !client.may_use(grant_type) {
            let description = "The client is not registered for this grant type";
            return Err(TokenError::new(TokenErrorKind::UnauthorizedClient, description));
        }
        if !grant.only_reads() {
            self.use_assertion(assertion).await?;
        }
        let granted = grant.decide(&TokenRequest::new(request, self)).await?;
        let issued = self.issue(client, granted, grant_type, assertion.unused()).await?;
        self.services.emit(&Event {
            client_id: Some(client.id()),
            subject: Some(&issued.facts.subject),
            grant_type: Some(grant_type),
            session: issued.session,
            ..Event::new(EventKind::Issued)
        });
        Ok(token_response(issued))
    }

    pub(super) fn extra_parameters(&self, issuance: &Issuance<'_>) -> Result<Map<String, Value>, TokenError> {
        let Some(make) = &self.extra_parameters else { return Ok(Map::new()) };
        match make(issuance).map_err(TokenError::unavailable)? {
            Value::Object(mut parameters) => {
                // A `null` is an absent value of the application's type.
                parameters.retain(|name, value| !DEFINED.contains(&name.as_str()) && !value.is_null());
                Ok(parameters)
            }
            _ => Ok(Map::new()),
        }
    }
}

fn token_response(issued: IssuedTokens) -> Response<ResponseBody> {
    let IssuedTokens { access_token, refresh_token, facts, extra, .. } = issued;
    json(
        StatusCode::OK,
        &TokenResponse {
            access_token: &access_token,
            token_type: "Bearer",
            expires_in: facts.expires_at.as_secs().saturating_sub(facts.issued_at.as_secs()),
            scope: &facts.scope,
            refresh_token: refresh_token.as_deref(),
            extra,
        },
    )
}

/// Parameters that specifications define. The application can't set them.
const DEFINED: [&str; 9] = [
    "access_token",
    "token_type",
    "expires_in",
    "scope",
    "refresh_token",
    "issued_token_type",
    "error",
    "error_description",
    "error_uri",
];
