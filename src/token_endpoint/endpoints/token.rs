//! The token endpoint (RFC 6749 §3.2, §5.1; RFC 9068 §2).
//!
//! *In*: a request whose client is authenticated. *Out*: the response with the tokens, which are stored before it is sent.
//!
//! What a grant requires is checked in `grant`.

use http::{Response, StatusCode, request::Parts};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{
    ClientRequest, ServerState,
    issue::{IssuedTokens, TokenDemand},
    token_claims::token_type,
};
use crate::token_endpoint::{
    events::{Event, EventKind},
    grant::{ErasedGrant, TokenRequest},
    http::{
        error::{TokenError, TokenErrorKind},
        response::{ResponseBody, json},
    },
};

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
    pub(crate) async fn token(
        &self,
        request: &ClientRequest,
        parts: &Parts,
    ) -> Result<Response<ResponseBody>, TokenError> {
        let ClientRequest { client, parameters, .. } = request;
        let missing = || TokenError::new(TokenErrorKind::InvalidRequest, "The grant_type is missing");
        let grant_type = parameters.get("grant_type")?.ok_or_else(missing)?;
        let offered = self.grants.iter().find(|grant| grant.grant_type() == grant_type);
        let unsupported = || TokenError::new(TokenErrorKind::UnsupportedGrantType, "The grant type is not supported");
        let grant = offered.ok_or_else(unsupported)?;
        if !client.may_use(grant_type) {
            let description = "The client is not registered for this grant type";
            return Err(TokenError::new(TokenErrorKind::UnauthorizedClient, description));
        }
        // After the client has authenticated, and before a code or a refresh token is looked up.
        let proof = self.sender_proof(request, parts).map_err(|error| self.with_nonce(error))?;
        let demand =
            TokenDemand { client, grant_type, headers: &parts.headers, assertion: &request.assertion, proof: &proof };
        let answer = match self.grant(&**grant, request, &demand).await {
            Ok(issued) => {
                let mut response = token_response(issued);
                self.renew_nonce(&proof, response.headers_mut());
                Ok(response)
            }
            Err(error) => Err(self.with_nonce(error)),
        };
        // A repeated request would present a used proof.
        answer.map_err(|error| if proof.once.was_used() { error.without_retry() } else { error })
    }

    async fn grant(
        &self,
        grant: &dyn ErasedGrant,
        request: &ClientRequest,
        demand: &TokenDemand<'_>,
    ) -> Result<IssuedTokens, TokenError> {
        if !grant.only_reads() {
            self.use_up(demand.assertion).await?;
            self.use_up(&demand.proof.once).await?;
        }
        let granted = grant.decide(&TokenRequest::new(request, demand.headers, demand.proof, self)).await?;
        let issued = self.issue(demand, granted).await?;
        self.services.emit(&Event {
            client_id: Some(demand.client.id()),
            subject: Some(&issued.facts.subject),
            grant_type: Some(demand.grant_type),
            session: issued.session,
            ..Event::new(EventKind::Issued)
        });
        Ok(issued)
    }
}

fn token_response(issued: IssuedTokens) -> Response<ResponseBody> {
    let IssuedTokens { access_token, refresh_token, facts, extra, .. } = issued;
    json(
        StatusCode::OK,
        &TokenResponse {
            access_token: &access_token,
            token_type: token_type(facts.confirmation.as_ref()),
            expires_in: facts.expires_at.as_secs().saturating_sub(facts.issued_at.as_secs()),
            scope: &facts.scope,
            refresh_token: refresh_token.as_deref(),
            extra,
        },
    )
}
