//! The introspection response (RFC 7662 §2.2, RFC 9701 §5).
//!
//! *In*: the body of a response. *Out*: a token, or that it is inactive, or an error if the response is malformed.
//!
//! The parser is strict: `active` must be a boolean, and a member that is used and has a wrong type, or a duplicate one, makes
//! the response malformed. Null counts as absent (RFC 7662 §2.2: all members but `active` are optional). The token's issuer,
//! audience and times are *not* checked here.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::IntrospectionRules;
use crate::{
    claims::{NumericDate, TokenOrigin},
    confirmation::Binding,
    error::{AuthError, Reason, quoted},
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
    /// The endpoint doesn't introspect tokens of this kind (RFC 7009 §2.2.1).
    Unsupported,
}

/// The members that are checked before the claims, as JSON texts, so that an error names the member.
#[derive(Deserialize)]
struct StatusMembers<'r> {
    #[serde(borrow)]
    active: Option<&'r RawValue>,
    #[serde(borrow)]
    token_type: Option<&'r RawValue>,
    #[serde(borrow)]
    token_use: Option<&'r RawValue>,
}

struct IntrospectionStatus {
    active: bool,
    token_type: Option<String>,
    token_use: Option<String>,
}

impl StatusMembers<'_> {
    fn parse(&self) -> Result<IntrospectionStatus, FetchError> {
        let active = match self.active.map(RawValue::get) {
            Some("true") => true,
            Some("false") => false,
            Some(_) => return Err(FetchError::new("active in the response is not a boolean (RFC 7662 §2.2)")),
            None => return Err(FetchError::new("the response has no active (RFC 7662 §2.2)")),
        };
        let text = |name: &str, member: Option<&RawValue>| {
            let text = member.map(|value| serde_json::from_str(value.get())).transpose();
            text.map_err(|_| FetchError::new(format!("{name} in the response is not a string")))
        };
        let (token_type, token_use) = (text("token_type", self.token_type)?, text("token_use", self.token_use)?);
        Ok(IntrospectionStatus { active, token_type, token_use })
    }
}

impl IntrospectionRules {
    /// Parses a plain JSON response.
    pub(super) fn parse_response(&self, body: &[u8]) -> Result<IntrospectionResult, FetchError> {
        let text = issuer_text(body).map_err(|_| FetchError::new("the response is not UTF-8"))?;
        // The message of serde_json may quote the response, so only the column is reported.
        let members: StatusMembers<'_> = object(text).map_err(|error| {
            FetchError::new(format!("the response is not an introspection response (column {})", error.column()))
        })?;
        let status = members.parse()?;
        if !status.active {
            return Ok(IntrospectionResult::Inactive);
        }
        if let Some(error) = status.refusal() {
            return Ok(IntrospectionResult::NotBearer(error));
        }
        let origin = TokenOrigin { verifier: Some(self.id), ..TokenOrigin::default() };
        let token = Token::from_claims(origin, text.to_owned(), &self.names)
            .map_err(|error| FetchError::new("a member of the response is malformed").with_source(error))?;
        if let Some(kind) = status.dpop().filter(|_| !token.facts().binding.as_deref().is_some_and(Binding::has_key)) {
            return Ok(IntrospectionResult::NotBearer(dpop_without_key(kind)));
        }
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
    /// Returns `token_type`, if it says that the token is for requests with a proof (RFC 9449 §6.2).
    fn dpop(&self) -> Option<&str> {
        self.token_type.as_deref().filter(|kind| kind.eq_ignore_ascii_case("DPoP"))
    }

    /// Returns the refusal of an active token that is not an access token, such as a refresh token.
    fn refusal(&self) -> Option<AuthError> {
        let (token_type, token_use) = (self.token_type.as_deref(), self.token_use.as_deref());
        let not_access = |name, value, expected| {
            let change = "let the client send its access token, and no refresh token or ID token";
            Some(Reason::NotAnAccessToken.because(member(name, value), expected, change))
        };
        if let Some(kind) = token_type.filter(|kind| self.dpop().is_none() && !is_any(kind, &BEARER_TYPES)) {
            return not_access("token_type", kind, "token_type \"Bearer\" or \"DPoP\", or none");
        }
        let other_use = token_use.filter(|purpose| !is_any(purpose, &ACCESS_USES))?;
        not_access("token_use", other_use, "token_use \"access_token\", or none")
    }
}

/// Returns the refusal of a token that is bound to a key which the response doesn't name.
fn dpop_without_key(kind: &str) -> AuthError {
    let change = "let the introspection endpoint return cnf with jkt";
    let found = format!("{}, without cnf.jkt", member("token_type", kind));
    Reason::SenderConstrained.because(found, "cnf.jkt (RFC 9449 §6.2)", change)
}

fn is_any(value: &str, accepted: &[&str]) -> bool {
    accepted.iter().any(|name| value.eq_ignore_ascii_case(name))
}

/// Returns a member of the response with its value, for logs.
fn member(name: &str, value: &str) -> String {
    format!("{name} {} in the introspection response", quoted(value))
}

/// The values of `token_type` of a bearer token: its type (RFC 6749 §7.1), or the kind of token, which some servers send
/// instead (RFC 8693 §3, RFC 9068 §2.1).
const BEARER_TYPES: [&str; 7] = [
    "Bearer",
    "access_token",
    "JWT",
    "at+jwt",
    "",
    "urn:ietf:params:oauth:token-type:access_token",
    "urn:ietf:params:oauth:token-type:jwt",
];

/// The values of `token_use` of an access token.
const ACCESS_USES: [&str; 2] = ["access", "access_token"];

/// True if the server says in an error response that it does not introspect tokens of this kind (RFC 7009 §2.2.1).
pub(super) fn is_unsupported_token_type(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct ErrorResponse {
        error: String,
    }
    let error = issuer_text(body).ok().and_then(|text| object::<ErrorResponse>(text).ok());
    error.is_some_and(|response| response.error == "unsupported_token_type")
}

/// Maximum age of a signed response, by its `iat`. It was requested a moment ago.
const MAX_RESPONSE_AGE: Duration = Duration::from_secs(60);

fn not_verified(cause: AuthError) -> FetchError {
    FetchError::new("the signed response could not be verified").with_source(cause)
}
