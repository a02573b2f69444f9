//! The introspection response (RFC 7662 §2.2, RFC 9701 §5).
//!
//! *In*: the body of a response. *Out*: a token, or that it is inactive, or an error if the response is malformed.
//!
//! The parser is strict: `active` must be a boolean, and a member of a wrong type or a duplicate one makes the response
//! malformed. The token's issuer, audience and times are *not* checked here.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::IntrospectionRules;
use crate::{
    claims::{NumericDate, TokenOrigin},
    error::{AuthError, Reason},
    fetch::FetchError,
    json::{OneOrMany, issuer_text, object},
    jws::Compact,
    token::Token,
    verify::jwt::{Fault, TokenTypes, check_signature},
};

/// A well-formed response.
pub(super) enum IntrospectionResult {
    Active(Token),
    /// Active, but not an access token that may be used as a plain bearer token.
    NotBearer(AuthError),
    Inactive,
}

/// The members that are checked before the claims.
#[derive(Deserialize)]
struct IntrospectionStatus {
    active: bool,
    token_type: Option<String>,
    token_use: Option<String>,
}

impl IntrospectionRules {
    /// Parses a plain JSON response.
    pub(super) fn parse_response(&self, body: &[u8]) -> Result<IntrospectionResult, FetchError> {
        let text = issuer_text(body).map_err(|_| FetchError::new("the response is not UTF-8"))?;
        // The message of serde_json may quote the response, so only the column is reported.
        let status: IntrospectionStatus = object(text).map_err(|error| {
            FetchError::new(format!("the response is not an introspection response (column {})", error.column()))
        })?;
        if !status.active {
            return Ok(IntrospectionResult::Inactive);
        }
        if let Some(error) = status.refusal() {
            return Ok(IntrospectionResult::NotBearer(error));
        }
        let origin = TokenOrigin { verifier: Some(self.id), key_epoch: 0 };
        let token = Token::from_claims(origin, text.to_owned(), &self.names)
            .map_err(|error| FetchError::new("a member of the response is malformed").with_source(error))?;
        Ok(IntrospectionResult::Active(token))
    }

    /// Parses a signed response (RFC 9701 §5). Checks its signature, type, issuer and audience.
    pub(super) async fn parse_signed_response(&self, body: &[u8]) -> Result<IntrospectionResult, FetchError> {
        let text = str::from_utf8(body).map_err(|_| FetchError::new("the response is not UTF-8"))?.trim_ascii();
        let jws = Compact::split(text.as_bytes()).ok_or_else(|| FetchError::new("the signed response is not a JWS"))?;
        if let Err(fault) = self.check_signature(&jws) {
            let missing = match fault {
                Fault::NoKey(missing) => missing,
                Fault::Refused(error) => return Err(not_verified(error)),
            };
            // Even if there is no refresh to wait for, a new key set may have arrived since the check above.
            let refreshed = match self.issuer.seek(&missing) {
                Ok(waiting) => Ok(waiting.wait().await),
                Err(error) => Err(error),
            };
            self.check_signature(&jws).map_err(|fault| match (fault, refreshed) {
                (Fault::Refused(error), _) => not_verified(error),
                (Fault::NoKey(missing), Ok(outcome)) => not_verified(outcome.error_for(&missing)),
                (Fault::NoKey(missing), Err(error)) => not_verified(missing.error_or(error)),
            })?;
        }
        let payload =
            jws.payload().ok_or_else(|| FetchError::new("the payload of the signed response is malformed"))?;
        self.parse_signed_payload(&payload)
    }

    fn check_signature(&self, jws: &Compact<'_>) -> Result<(), Fault> {
        let keys = self.issuer.current_keys();
        check_signature(jws, keys.set(), &self.algorithms, TokenTypes::IntrospectionResponse)
    }

    fn parse_signed_payload(&self, payload: &[u8]) -> Result<IntrospectionResult, FetchError> {
        #[derive(Deserialize)]
        struct SignedPayload<'p> {
            iss: String,
            #[serde(borrow)]
            aud: &'p RawValue,
            iat: NumericDate,
            #[serde(borrow)]
            token_introspection: &'p RawValue,
        }
        let malformed = || FetchError::new("the signed response lacks iss, aud, iat or token_introspection");
        let text = str::from_utf8(payload).map_err(|_| malformed())?;
        let signed: SignedPayload<'_> = object(text).map_err(|_| malformed())?;
        if signed.iss != self.issuer.identifier() {
            return Err(FetchError::new("the signed response is from another issuer"));
        }
        let ours = |named: &str| {
            self.client.client_id() == Some(named) || self.expected.audience.iter().any(|audience| audience == named)
        };
        let audience: OneOrMany<'_> = serde_json::from_str(signed.aud.get()).map_err(|_| malformed())?;
        if !audience.iter().any(ours) {
            return Err(FetchError::new("the signed response has another audience"));
        }
        let NumericDate(now) = NumericDate::of(self.expected.clock.now());
        let leeway = self.expected.leeway.as_secs_f64();
        if signed.iat.0 > now + leeway {
            return Err(FetchError::new("the signed response was issued in the future"));
        }
        // An older response may be a recorded one, from a time when the token was active.
        if signed.iat.0 < now - leeway - MAX_RESPONSE_AGE.as_secs_f64() {
            return Err(FetchError::new("the signed response is too old"));
        }
        self.parse_response(signed.token_introspection.get().as_bytes())
    }
}

impl IntrospectionStatus {
    /// Returns the refusal of an active token that is not a bearer access token: a refresh token, or a token that is bound to
    /// a key.
    fn refusal(&self) -> Option<AuthError> {
        let is_any = |member: &Option<String>, accepted: &[&str]| {
            member.as_ref().is_none_or(|value| accepted.iter().any(|name| value.eq_ignore_ascii_case(name)))
        };
        // RFC 9449 §6.2.
        if self.token_type.as_ref().is_some_and(|kind| kind.eq_ignore_ascii_case("DPoP")) {
            return Some(Reason::SenderConstrained.into());
        }
        // RFC 6749 §7.1. Some servers send the kind of token instead.
        let bearer = is_any(&self.token_type, &["Bearer", "access_token"]);
        (!bearer || !is_any(&self.token_use, &["access", "access_token"])).then(|| Reason::NotAnAccessToken.into())
    }
}

/// Maximum age of a signed response, by its `iat`. It was requested a moment ago.
const MAX_RESPONSE_AGE: Duration = Duration::from_secs(60);

fn not_verified(cause: AuthError) -> FetchError {
    FetchError::new("the signed response could not be verified").with_source(cause)
}
