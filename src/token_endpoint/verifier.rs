//! Verifies the tokens of a token endpoint in the same process, without HTTP.
//!
//! *In*: the token of a request. *Out*: the verdict, from the endpoint's store: a revoked token is refused at once.

use std::{fmt, sync::Arc, time::Duration};

use super::{TokenEndpoint, endpoints::ServerState};
use crate::{
    claims::{ClaimNames, TokenOrigin, VerifierId},
    error::{AuthError, Reason, likely_slip, quoted},
    jws::has_jwt_form,
    token::Token,
    verify::{CacheKey, PresentedToken, Verdict, Verify, unverified_token_issuer},
};

/// Verifies the tokens of a [`TokenEndpoint`] in the same process: JWTs and opaque tokens, for one audience. Clones share
/// everything.
///
/// Each request reads the endpoint's store, so a token is refused as soon as it is revoked, its session has ended, or its client
/// was removed. If the store or the client registry fails, the request gets 503.
///
/// ```
/// # fn example(endpoint: tower_oauth::token_endpoint::TokenEndpoint) {
/// use tower_oauth::OAuthLayer;
///
/// let layer = OAuthLayer::new(endpoint.verifier("https://api.example.com"));
/// # let _ = layer;
/// # }
/// ```
#[derive(Clone)]
pub struct EndpointVerifier {
    rules: Arc<EndpointRules>,
}

struct EndpointRules {
    id: VerifierId,
    server: Arc<ServerState>,
    issuer: Arc<str>,
    audience: String,
    names: ClaimNames,
}

impl TokenEndpoint {
    /// Returns a verifier of this endpoint's tokens for an API in the same process, whose `aud` is `audience`. It needs neither
    /// HTTP nor the endpoint's address. No token has an empty audience.
    #[must_use]
    pub fn verifier(&self, audience: impl Into<String>) -> EndpointVerifier {
        EndpointVerifier {
            rules: Arc::new(EndpointRules {
                id: VerifierId::new(),
                server: Arc::clone(&self.inner),
                issuer: self.inner.issuer.as_str().into(),
                audience: audience.into(),
                names: ClaimNames::default(),
            }),
        }
    }
}

impl Verify for EndpointVerifier {
    fn verify(&self, presented: &PresentedToken<'_>) -> Verdict {
        presented.called(self.rules.id);
        let (rules, token) = (Arc::clone(&self.rules), presented.token().to_owned());
        Verdict::later(async move { rules.judge(&token).await.map_err(|error| error.of_issuer(&rules.issuer)) })
    }

    /// Responsible for JWTs that name this endpoint as their issuer, and for all opaque tokens.
    fn verify_if_responsible(&self, presented: &PresentedToken<'_>) -> Option<Verdict> {
        let token = presented.token();
        let is_own = || unverified_token_issuer(token).is_ok_and(|issuer| issuer == *self.rules.issuer);
        (!has_jwt_form(token) || is_own()).then(|| self.verify(presented))
    }

    fn cache_key(&self, _: &PresentedToken<'_>, key: &mut CacheKey) {
        key.add_verifier(self.rules.id);
    }

    fn is_still_valid(&self, token: &Token) -> bool {
        token.facts().origin.verifier == Some(self.rules.id)
    }

    fn issuers(&self) -> Vec<String> {
        vec![self.rules.issuer.to_string()]
    }

    fn audiences(&self) -> Option<Vec<String>> {
        Some(vec![self.rules.audience.clone()])
    }
}

impl EndpointRules {
    async fn judge(&self, text: &str) -> Result<Token, AuthError> {
        let found = self.server.active_token(text).await;
        let found = found.map_err(|error| AuthError::unavailable(RETRY_AFTER).with_source(error))?;
        let found = found.ok_or_else(inactive)?;
        self.check_audience(&found.record.audience)?;
        let claims = serde_json::to_string(&found.claims(&self.issuer));
        let claims = claims.map_err(|error| AuthError::unavailable(RETRY_AFTER).with_source(error))?;
        let origin = TokenOrigin { verifier: Some(self.id), key_epoch: 0, typed: true };
        Token::from_claims(origin, claims, &self.names)
    }

    fn check_audience(&self, found: &str) -> Result<(), AuthError> {
        if found == self.audience {
            return Ok(());
        }
        let change = likely_slip(found, &self.audience).unwrap_or("let the client request a token for this API");
        Err(Reason::WrongAudience.because(format!("aud {}", quoted(found)), quoted(&self.audience), change))
    }
}

fn inactive() -> AuthError {
    let change = "let the client get a new token from this endpoint";
    Reason::Inactive.because("a token that the endpoint's store does not have", "an active token", change)
}

impl fmt::Debug for EndpointVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointVerifier")
            .field("issuer", &self.rules.issuer)
            .field("audience", &self.rules.audience)
            .finish_non_exhaustive()
    }
}

const RETRY_AFTER: Duration = Duration::from_secs(5);
