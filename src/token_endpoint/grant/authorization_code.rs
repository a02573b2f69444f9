//! `authorization_code`: a client redeems a user's approval (RFC 6749 §4.1.3, RFC 7636 §4.5).
//!
//! *In*: a token request with a code. *Out*: [`Granted`], within what the user approved and the client still may have.

use subtle::ConstantTimeEq;

use super::{CodeOrigin, Grant, Granted, PlannedRedeem, PlannedWrite, TokenRequest, pkce::challenge_of};
use crate::token_endpoint::{
    client::{Client, find_resource, invalid_target},
    endpoints::authorize::CODE_LIFETIME,
    events::EventKind,
    http::error::{TokenError, TokenErrorKind},
    record::{self, SessionRecord},
    store::{EndSession, FindCode, SessionId, Timestamp, Written},
    texts::Handle,
};

/// The grant `authorization_code`, with PKCE (RFC 7636). The only `code_challenge_method` is `S256`.
///
/// The token request may leave out `redirect_uri`, as in OAuth 2.1 §4.1.3. If it is sent, it must be that of the authorization
/// request (RFC 6749 §4.1.3). A code that was requested
/// [without PKCE](crate::token_endpoint::ClientBuilder::accept_without_pkce) needs it, if the authorization request had one.
///
/// ```
/// use tower_oauth::token_endpoint::{AuthorizationCodeGrant, RefreshTokenGrant, TokenEndpointBuilder};
///
/// fn with_users(builder: TokenEndpointBuilder) -> TokenEndpointBuilder {
///     builder
///         .grant(AuthorizationCodeGrant::new("https://auth.example.com/authorize"))
///         .grant(RefreshTokenGrant::new())
/// }
/// # let _ = with_users;
/// ```
#[derive(Debug, Clone)]
pub struct AuthorizationCodeGrant {
    authorization_endpoint: String,
}

impl AuthorizationCodeGrant {
    /// Returns the grant. `authorization_endpoint` is the URL of the application's own page, which handles an
    /// [`AuthorizationRequest`](crate::token_endpoint::AuthorizationRequest): an `https` URL, or plain `http` on a loopback
    /// address.
    #[must_use]
    pub fn new(authorization_endpoint: impl Into<String>) -> Self {
        Self { authorization_endpoint: authorization_endpoint.into() }
    }
}

impl Grant for AuthorizationCodeGrant {
    fn grant_type(&self) -> &'static str {
        "authorization_code"
    }

    fn authorization_endpoint(&self) -> Option<&str> {
        Some(&self.authorization_endpoint)
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let (client, services) = (request.client(), request.services());
        let (code, redirect_uri) = (request.required("code")?, request.parameter("redirect_uri")?);
        let verifier = request.parameter("code_verifier")?;
        let (session, code) = services.texts.read_code(code).ok_or_else(|| invalid("this is not a code"))?;
        let find = FindCode { session, code, now: services.timestamp() };
        let unknown = || invalid("the code is unknown or has expired, or its session has ended");
        let found = services.store.find_code(&find).await?.ok_or_else(unknown)?;
        let record: SessionRecord = record::read(&found.record).ok_or_else(unreadable)?;
        // The code was issued to this client (§4.1.3), for this verifier and this redirect URI. A request that fails here can't
        // end the session, so the thief of a code can't revoke the valid client's tokens (OAuth 2.1 §7.5.2).
        if !record.owner.belongs_to(client) {
            return Err(invalid("the code was issued to another client, or before its secret leaked"));
        }
        check_binding(&record, verifier, redirect_uri)?;
        if found.is_used {
            return Err(request.end_replayed(EventKind::CodeReplayed, &record, session).await);
        }
        let handle = record.handle.as_deref().and_then(Handle::from_text).ok_or_else(unreadable)?;
        // A mistake in the rest of the request must not cost the client its code.
        let audience = audience(&record.audiences, client, &request.resources())?;
        let scope = scope(&record.scope, client, None)?;
        let lifetime = CODE_LIFETIME + request.server.session_lifetime(client);
        Ok(Granted {
            subject: record.owner.subject.clone(),
            scope,
            audience,
            resources: Vec::new(),
            write: PlannedWrite::Redeem(Box::new(PlannedRedeem {
                session,
                code,
                handle,
                expires_at: Timestamp::from_secs(record.since).saturating_add(lifetime),
                record: SessionRecord { handle: None, ..record },
                code_origin: CodeOrigin::Stored,
            })),
            content: None,
        })
    }
}

/// Checks that the code was requested with this verifier's challenge (RFC 7636 §4.6), and with this redirect URI.
fn check_binding(record: &SessionRecord, verifier: Option<&str>, redirect_uri: Option<&str>) -> Result<(), TokenError> {
    let is_redirect_uri = match &record.challenge {
        Some(challenge) => {
            if !verifier.and_then(challenge_of).is_some_and(|own| is_same(challenge, &own)) {
                return Err(invalid("the code_verifier is missing or wrong"));
            }
            // OAuth 2.1 §4.1.3 leaves it out, because the verifier protects against a code for another redirect URI.
            redirect_uri.is_none() || redirect_uri == record.redirect_uri.as_deref()
        }
        // RFC 9700 §4.8.2: an attacker may have removed the challenge from the authorization request.
        None if verifier.is_some() => {
            return Err(invalid("there is a code_verifier, but the authorization request had no code_challenge"));
        }
        // RFC 6749 §4.1.3: required if the authorization request had it, and identical.
        None => redirect_uri == record.redirect_uri.as_deref(),
    };
    if is_redirect_uri {
        Ok(())
    } else {
        Err(invalid("the redirect_uri differs from that of the authorization request"))
    }
}

/// Returns the audience of the token: one that the user approved (RFC 8707 §2.2) and that the client still may have.
pub(super) fn audience(approved: &[String], client: &Client, requested: &[&str]) -> Result<String, TokenError> {
    let mut approved = approved.iter().map(String::as_str);
    let found = match requested {
        [] => approved.next(),
        [first, ..] => find_resource(approved, first),
    };
    let approved = found.ok_or_else(invalid_target)?;
    client.audience(&[&[approved], requested].concat()).map(str::to_owned)
}

/// Returns the requested scopes, if the user approved them (RFC 6749 §6) and the client still may have them; all such scopes
/// if none are requested. Others are refused or dropped, as the client is registered. The scopes of the session don't change, so
/// a later refresh can request all of them again.
pub(super) fn scope(approved: &str, client: &Client, requested: Option<&str>) -> Result<String, TokenError> {
    let allowed: Vec<&str> = approved.split(' ').filter(|name| client.may_have(name)).collect();
    match requested {
        // A response without `scope` means all requested scopes (§5.1), so a token with none can't be issued.
        None if allowed.is_empty() && !approved.is_empty() => {
            Err(TokenError::new(TokenErrorKind::InvalidScope, "The requested scope exceeds what may be granted"))
        }
        None => Ok(allowed.join(" ")),
        Some(requested) => client.subset(requested, |name| allowed.contains(&name)),
    }
}

/// Returns the refusal. Its text is equal for every reason; events have the reason.
pub(crate) fn invalid(reason: &'static str) -> TokenError {
    TokenError::new(TokenErrorKind::InvalidGrant, "The code or refresh token is invalid").because(reason)
}

pub(super) fn unreadable() -> TokenError {
    invalid("the record needs a newer version of tower-oauth")
}

/// Compares in constant time.
fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

impl TokenRequest<'_> {
    /// Ends a session whose code or refresh token was used again. Returns the refusal.
    pub(super) async fn end_replayed(&self, kind: EventKind, record: &SessionRecord, session: SessionId) -> TokenError {
        // A request with a used assertion or proof is no request of the client, and must not end the session.
        for value in [self.assertion, &self.proof.once] {
            if let Err(error) = self.server.use_up(value).await {
                return error;
            }
        }
        let services = self.services();
        let end = EndSession { session, now: services.timestamp(), deadline: services.deadline() };
        match services.store.end_session(&end).await {
            Ok(Written::Done) => {
                self.server.report(kind, &record.owner, session);
                invalid("it was used before")
            }
            Ok(Written::Late) => TokenError::late(),
            Err(error) => error.into(),
        }
    }
}
