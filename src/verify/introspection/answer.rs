//! What the server said (RFC 7662 §2.2, RFC 9701 §5).
//!
//! *In*: the body of its answer. *Out*: the token's facts, or that it is not active; or that this is no answer.
//!
//! Nothing is guessed: `active` is a boolean, a member of a wrong type or one that stands twice spoils the answer. Whether
//! the token is meant for us, and now, is not looked at here.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{IntrospectionRules, SIGNED};
use crate::{
    claims::NumericDate,
    error::AuthError,
    fetch::FetchError,
    json::{OneOrMany, object},
    jws::Compact,
    keys::remote::StillUnknown,
    token::Token,
    verify::jwt::{Fault, check_signature},
};

/// An answer that can be used.
pub(super) enum IntrospectionResult {
    Active(Token),
    /// Active, but no access token that may be used as a plain bearer token.
    NotBearer(AuthError),
    Inactive,
}

/// The members that decide before any fact is looked at.
#[derive(Deserialize)]
struct IntrospectionStatus {
    active: bool,
    token_type: Option<String>,
    token_use: Option<String>,
}

impl IntrospectionRules {
    /// An answer in plain JSON.
    pub(super) fn parse_response(&self, body: &[u8]) -> Result<IntrospectionResult, FetchError> {
        let text = str::from_utf8(body).map_err(|_| FetchError::new("the answer is not UTF-8"))?;
        // serde_json's own message may quote what stands there, so only the place is told.
        let status_members: IntrospectionStatus = object(text).map_err(|error| {
            FetchError::new(format!("the answer is no introspection response (column {})", error.column()))
        })?;
        if !status_members.active {
            return Ok(IntrospectionResult::Inactive);
        }
        if let Some(error) = status_members.objection() {
            return Ok(IntrospectionResult::NotBearer(error));
        }
        let token = Token::from_claims(text.to_owned(), &self.names)
            .map_err(|error| FetchError::new("the answer's members are malformed").with_source(error))?;
        Ok(IntrospectionResult::Active(token))
    }

    /// A signed answer: its signature, its type, that the issuer gave it, and to us.
    pub(super) async fn parse_signed_response(&self, body: &[u8]) -> Result<IntrospectionResult, FetchError> {
        let text = str::from_utf8(body).map_err(|_| FetchError::new("the answer is not UTF-8"))?.trim_ascii();
        let jws = Compact::split(text.as_bytes()).ok_or_else(|| FetchError::new("the signed answer is no JWS"))?;
        if let Err(fault) = self.check_signature(&jws) {
            let Fault::NoKey(key_id) = fault else { return Err(unsigned(fault)) };
            let failed = |error| FetchError::new("the key of the signed answer is not to be had").with_source(error);
            // Where there is nothing to wait for, the set may have come in since we looked.
            let sought = match self.issuer.seek(key_id.as_deref()) {
                Ok(waiting) => Ok(waiting.wait().await),
                Err(error) => Err(error),
            };
            self.check_signature(&jws).map_err(|fault| match fault {
                Fault::NoKey(_) => failed(sought.map_or_else(|error| error, StillUnknown::error)),
                fault @ Fault::Refused(_) => unsigned(fault),
            })?;
        }
        let payload = jws.payload().ok_or_else(|| FetchError::new("the signed answer's payload is malformed"))?;
        self.parse_signed_payload(&payload)
    }

    fn check_signature(&self, jws: &Compact<'_>) -> Result<(), Fault> {
        let keys = self.issuer.current_keys();
        // RFC 9701 §5: a type of its own, so that it is no access token and an access token is no answer.
        check_signature(jws, keys.set(), &self.algorithms, |typ| {
            typ.is_some_and(|typ| {
                typ.eq_ignore_ascii_case("token-introspection+jwt") || typ.eq_ignore_ascii_case(SIGNED)
            })
        })
    }

    fn parse_signed_payload(&self, payload: &[u8]) -> Result<IntrospectionResult, FetchError> {
        #[derive(Deserialize)]
        struct Signed<'p> {
            iss: String,
            #[serde(borrow)]
            aud: &'p RawValue,
            iat: NumericDate,
            #[serde(borrow)]
            token_introspection: &'p RawValue,
        }
        let malformed = || FetchError::new("the signed answer lacks iss, aud, iat or token_introspection");
        let text = str::from_utf8(payload).map_err(|_| malformed())?;
        let signed: Signed<'_> = object(text).map_err(|_| malformed())?;
        if signed.iss != self.issuer.identifier() {
            return Err(FetchError::new("the signed answer is another issuer's"));
        }
        let ours = |named: &str| {
            self.client.client_id() == Some(named) || self.expected.audience.iter().any(|audience| audience == named)
        };
        let audience: OneOrMany<'_> = serde_json::from_str(signed.aud.get()).map_err(|_| malformed())?;
        if !audience.iter().any(ours) {
            return Err(FetchError::new("the signed answer is meant for somebody else"));
        }
        let NumericDate(now) = NumericDate::of(self.expected.clock.now());
        if signed.iat.0 > now + self.expected.leeway.as_secs_f64() {
            return Err(FetchError::new("the signed answer was given in the future"));
        }
        self.parse_response(signed.token_introspection.get().as_bytes())
    }
}

impl IntrospectionStatus {
    /// A refresh token is active too, and a token that is bound to a key needs more than to be shown.
    fn objection(&self) -> Option<AuthError> {
        use crate::error::Reason;
        let is = |member: &Option<String>, accepted: &[&str]| {
            member.as_ref().is_none_or(|value| accepted.iter().any(|name| value.eq_ignore_ascii_case(name)))
        };
        // RFC 9449 §6.2.
        if self.token_type.as_ref().is_some_and(|kind| kind.eq_ignore_ascii_case("DPoP")) {
            return Some(Reason::SenderConstrained.into());
        }
        // RFC 6749 §7.1; some servers write what kind of token it is instead.
        let bearer = is(&self.token_type, &["Bearer", "access_token"]);
        (!bearer || !is(&self.token_use, &["access", "access_token"])).then(|| Reason::NotAnAccessToken.into())
    }
}

fn unsigned(fault: Fault) -> FetchError {
    let error = FetchError::new("the signed answer is not good");
    match fault {
        Fault::Refused(cause) => error.with_source(cause),
        Fault::NoKey(_) => error,
    }
}
