//! Issues tokens: makes their texts, and stores them in one write.
//!
//! *In*: the decision of a grant. *Out*: the tokens, which are stored; or the refusal of the store.

use std::{sync::Arc, time::Instant};

use http::HeaderMap;
use serde_json::{Map, Value};

use super::{
    ServerState,
    token_claims::{AccessTokenClaims, ScopeClaim},
};
use crate::{
    confirmation::Confirmation,
    token_endpoint::{
        client::{Client, TokenFormat, secret::TokenHash},
        events::{Event, EventKind},
        grant::{CodeOrigin, Granted, PlannedRedeem, PlannedRefresh, PlannedWrite, invalid_grant},
        http::error::{TokenError, TokenErrorKind},
        once::OnceValue,
        proofs::SenderProof,
        record::{self, AccessRecord, OwnerRecord, SessionRecord},
        store::{
            EndSession, FirstRefresh, Issue, Issued, NewAccess, Partition, Redeem, Redeemed, Refresh, Refreshed, Seen,
            SessionId, StoreError, Timestamp, Written,
        },
        texts::AccessRandom,
        token_content::{ContentRecord, TokenContent},
    },
};

/// The request that tokens are issued for.
pub(crate) struct TokenDemand<'r> {
    pub(crate) client: &'r Arc<Client>,
    pub(crate) grant_type: &'r str,
    pub(crate) headers: &'r HeaderMap,
    pub(crate) assertion: &'r OnceValue,
    pub(crate) proof: &'r SenderProof,
}

/// What was issued.
pub(crate) struct IssuedTokens {
    pub(crate) access_token: String,
    pub(crate) refresh_token: Option<String>,
    pub(crate) facts: TokenFacts,
    pub(crate) session: Option<SessionId>,
    /// The parameters of the application.
    pub(crate) extra: Map<String, Value>,
}

/// What an access token says.
pub(crate) struct TokenFacts {
    /// `jti`.
    pub(crate) id: String,
    pub(crate) client_id: String,
    pub(crate) subject: String,
    /// The scopes, separated by spaces; may be empty.
    pub(crate) scope: String,
    pub(crate) audience: String,
    pub(crate) issued_at: Timestamp,
    pub(crate) expires_at: Timestamp,
    pub(crate) auth_time: Option<u64>,
    pub(crate) acr: Option<String>,
    pub(crate) confirmation: Option<Confirmation>,
    /// What the application adds.
    pub(crate) content: Option<Box<ContentRecord>>,
}

/// What every write of tokens has.
pub(super) struct TokenWrite<'w> {
    client: &'w Client,
    pub(super) client_hash: TokenHash,
    owner: TokenHash,
    access: NewAccess,
    proof: &'w SenderProof,
    /// What the write uses up, and its value.
    once: &'w OnceValue,
    seen: Option<Seen>,
    pub(super) now: Timestamp,
    pub(super) deadline: Instant,
}

impl ServerState {
    /// Makes the tokens, and stores them before they are sent, so that every token a client holds is known.
    pub(crate) async fn issue(&self, demand: &TokenDemand<'_>, granted: Granted) -> Result<IssuedTokens, TokenError> {
        let (services, client) = (&self.services, demand.client);
        let now = services.timestamp();
        let mut granted = self.planned(client, granted, now)?;
        granted.scope = scope_at(client, &granted.audience, &granted.scope)?;
        // Before the write, so that a refusal of the application costs no code.
        if let Some(hook) = &self.customize {
            granted = Box::pin(self.customized(hook, demand, granted, now)).await?;
        }
        if client.format(&granted.audience) == TokenFormat::Jwt {
            self.signer.prepare(services).await?;
        }
        let once = self.used_by_write(demand).await?;
        let (seen, deadline) = (once.unused(), services.deadline());
        let owner = services.texts.owner(client.id(), &granted.subject);
        let random = AccessRandom::generate().map_err(TokenError::unavailable)?;
        let partition = granted.write.partition(client, owner, seen).unwrap_or_else(|| random.partition());
        let (facts, write, extra) = self.facts(demand, granted, random.jwt_id(partition), now);
        let (access_token, access) = self.access_token(client, &write, &facts, (partition, &random))?;
        let client_hash = services.texts.client(client.id());
        let session = write.session_id();
        let tokens = TokenWrite { client, client_hash, owner, access, proof: demand.proof, once, seen, now, deadline };
        let refresh_token = match write {
            PlannedWrite::Issue | PlannedWrite::Begin => self.issue_alone(tokens).await.map(|()| None),
            // In boxes, so that the future of each request stays small.
            PlannedWrite::Redeem(planned) => Box::pin(self.redeem(tokens, *planned)).await,
            PlannedWrite::Refresh(planned) => Box::pin(self.refresh(tokens, *planned)).await.map(Some),
        }?;
        Ok(IssuedTokens { access_token, refresh_token, facts, session, extra })
    }

    /// Returns the value that the write uses up. A write has room for one, so with an assertion the proof is used up first.
    async fn used_by_write<'d>(&self, demand: &TokenDemand<'d>) -> Result<&'d OnceValue, TokenError> {
        if demand.assertion.unused().is_none() {
            return Ok(&demand.proof.once);
        }
        self.use_up(&demand.proof.once).await?;
        Ok(demand.assertion)
    }

    /// Returns what the token says, what is written, and the application's parameters of the response.
    fn facts(
        &self,
        demand: &TokenDemand<'_>,
        granted: Granted,
        id: String,
        now: Timestamp,
    ) -> (TokenFacts, PlannedWrite, Map<String, Value>) {
        let client = demand.client;
        let Granted { subject, scope, audience, write, content, .. } = granted;
        let own_lifetime = content.as_deref().and_then(TokenContent::checked_lifetime);
        let end = now.saturating_add(own_lifetime.or(client.lifetime).unwrap_or(self.lifetime));
        let (content, extra) = match content.map(|content| *content) {
            Some(TokenContent { kept, response, .. }) => (kept.unless_empty().map(Box::new), response),
            None => (None, Map::new()),
        };
        let session = write.session();
        let facts = TokenFacts {
            id,
            client_id: client.id().to_owned(),
            subject,
            scope,
            audience,
            issued_at: now,
            // No token outlives its session.
            expires_at: session.map_or(end, |(_, session_end)| end.min(session_end)),
            auth_time: session.and_then(|(record, _)| record.auth_time),
            acr: session.and_then(|(record, _)| record.acr.clone()),
            confirmation: demand.proof.confirmation(),
            content,
        };
        (facts, write, extra)
    }

    /// Returns the text of the token, and what is stored.
    fn access_token(
        &self,
        client: &Client,
        write: &PlannedWrite,
        facts: &TokenFacts,
        (partition, random): (Partition, &AccessRandom),
    ) -> Result<(String, NewAccess), TokenError> {
        let text = match client.format(&facts.audience) {
            TokenFormat::Opaque => random.opaque_text(partition),
            TokenFormat::Jwt => self.signer.sign(&self.services, &self.claims(facts))?,
        };
        let owner = write.session().is_none().then(|| OwnerRecord::new(client, facts.subject.as_str()));
        let must = if facts.confirmation.is_some() { [record::BOUND].as_slice() } else { &[] };
        let record = AccessRecord {
            id: facts.id.as_str(),
            owner,
            scope: &facts.scope,
            audience: &facts.audience,
            issued_at: facts.issued_at.as_secs(),
            expires_at: facts.expires_at.as_secs(),
            cnf: facts.confirmation,
            content: facts.content.as_deref(),
        };
        let record = record::write_with(&record, must)?;
        let hash = self.services.texts.access_hash(&text);
        Ok((text, NewAccess { partition, hash, record, expires_at: facts.expires_at }))
    }

    fn claims<'t>(&'t self, facts: &'t TokenFacts) -> AccessTokenClaims<'t> {
        AccessTokenClaims {
            iss: &self.issuer,
            sub: &facts.subject,
            aud: &facts.audience,
            client_id: &facts.client_id,
            iat: facts.issued_at.as_secs(),
            exp: facts.expires_at.as_secs(),
            jti: &facts.id,
            scope: ScopeClaim::new(&facts.scope, facts.content.as_deref()),
            auth_time: facts.auth_time,
            acr: facts.acr.as_deref(),
            cnf: facts.confirmation,
            own: facts.content.as_deref().map(|content| &content.claims),
        }
    }

    /// Not an `async fn`, whose future would contain `tokens` beside the request.
    fn issue_alone(&self, tokens: TokenWrite<'_>) -> impl Future<Output = Result<(), TokenError>> {
        let TokenWrite { client, client_hash, owner, access, once, seen, now, deadline, .. } = tokens;
        let token_limit = client.max_active_tokens;
        let issue = Issue { client: client_hash, owner, access, token_limit, seen, now, deadline };
        async move {
            let issued = self.services.store.issue(&issue).await;
            // Without a value that is accepted once, a repeated request only gets another token.
            match issued.map_err(|error| failed_write(error, issue.seen.is_none()))? {
                Issued::Done => Ok(()),
                Issued::Seen => Err(once.refusal()),
                Issued::Late => Err(TokenError::late()),
            }
        }
    }

    async fn redeem(&self, tokens: TokenWrite<'_>, planned: PlannedRedeem) -> Result<Option<String>, TokenError> {
        if planned.code_origin == CodeOrigin::New {
            self.add_new_code(&tokens, &planned).await?;
        }
        let TokenWrite { client, client_hash, owner, access, proof, once, seen, now, deadline } = tokens;
        let PlannedRedeem { session, code, record, handle, expires_at, .. } = planned;
        let texts = &self.services.texts;
        let settings = self.refresh_tokens(client);
        let binding = proof.refresh_binding(client);
        let refresh =
            settings.map(|_| texts.first_refresh(handle, binding)).transpose().map_err(TokenError::unavailable)?;
        let redeem = Redeem {
            session,
            code,
            record: record::write(&record)?,
            client: client_hash,
            subject: texts.subject(&record.owner.subject),
            owner,
            expires_at,
            refresh: settings.zip(refresh.as_ref()).map(|(settings, refresh)| FirstRefresh {
                hash: refresh.hash,
                idle_until: settings.idle_end(expires_at, now),
            }),
            access,
            token_limit: client.max_active_tokens,
            session_limit: client.max_sessions,
            seen,
            now,
            deadline,
        };
        let redeemed = self.services.store.redeem(&redeem).await;
        // A code that is used again ends the session.
        match redeemed.map_err(|error| failed_write(error, false))? {
            Redeemed::Done => Ok(refresh.map(|refresh| refresh.text)),
            Redeemed::Replayed => {
                self.report(EventKind::CodeReplayed, &record.owner, session);
                Err(invalid_grant("the code was used before"))
            }
            Redeemed::Unknown => Err(invalid_grant("the session has ended")),
            Redeemed::Seen => Err(once.refusal()),
            Redeemed::Late => Err(TokenError::late()),
        }
    }

    async fn refresh(&self, tokens: TokenWrite<'_>, planned: PlannedRefresh) -> Result<String, TokenError> {
        let TokenWrite { client, client_hash, owner, access, once, seen, now, deadline, .. } = tokens;
        let PlannedRefresh { presented, text, record, expires_at, binding } = planned;
        let texts = &self.services.texts;
        let settings = self
            .refresh_tokens(client)
            .ok_or_else(|| invalid_grant("the client may have no refresh tokens any more"))?;
        // A session whose tokens are bound from now on goes on with a refresh token that says so.
        let next = if settings.rotates(client) || binding != presented.binding {
            let salt = texts.salt(binding).map_err(TokenError::unavailable)?;
            Some(texts.successor(&presented, salt, binding))
        } else {
            None
        };
        let refresh = Refresh {
            session: presented.session,
            presented: presented.hash,
            successor: next.as_ref().map(|(_, successor)| *successor),
            idle_until: settings.idle_end(expires_at, now),
            grace: settings.grace_seconds(),
            client: client_hash,
            owner,
            access,
            token_limit: client.max_active_tokens,
            seen,
            now,
            deadline,
        };
        let may_repeat = seen.is_none() && (next.is_none() || settings.grace_seconds() > REPEATED_WITHIN_SECONDS);
        let refreshed = self.services.store.refresh(&refresh).await;
        match refreshed.map_err(|error| failed_write(error, may_repeat))? {
            Refreshed::Done => Ok(next.map_or(text, |(next, _)| next.text)),
            Refreshed::Again { salt } if texts.is_salt_of(&salt, binding) => {
                Ok(texts.successor(&presented, salt, binding).0.text)
            }
            // A public client has one key, so two senders have the token (RFC 9700 §4.14.2).
            Refreshed::Again { .. } if client.is_public() => {
                let end = EndSession { session: presented.session, now, deadline };
                match self.services.store.end_session(&end).await? {
                    Written::Done => self.report(EventKind::ReuseDetected, &record.owner, presented.session),
                    Written::Late => return Err(TokenError::late()),
                }
                Err(invalid_grant("the refresh token was used with another key"))
            }
            Refreshed::Again { .. } => {
                Err(invalid_grant("the successor of the refresh token is bound to something else"))
            }
            Refreshed::Reused => {
                self.report(EventKind::ReuseDetected, &record.owner, presented.session);
                Err(invalid_grant("the refresh token was used before"))
            }
            Refreshed::Unknown => Err(invalid_grant("the session has ended")),
            Refreshed::Seen => Err(once.refusal()),
            Refreshed::Late => Err(TokenError::late()),
        }
    }
}

impl ServerState {
    /// Reports what has happened to a session.
    pub(crate) fn report(&self, kind: EventKind, owner: &OwnerRecord, session: SessionId) {
        self.services.emit(&Event {
            client_id: Some(&owner.client_id),
            subject: Some(&owner.subject),
            session: Some(session),
            ..Event::new(kind)
        });
    }
}

impl PlannedWrite {
    /// Returns the session's record, and when it expires.
    fn session(&self) -> Option<(&SessionRecord, Timestamp)> {
        match self {
            Self::Issue | Self::Begin => None,
            Self::Redeem(planned) => Some((&planned.record, planned.expires_at)),
            Self::Refresh(planned) => Some((&planned.record, planned.expires_at)),
        }
    }

    pub(super) fn session_id(&self) -> Option<SessionId> {
        match self {
            Self::Issue | Self::Begin => None,
            Self::Redeem(planned) => Some(planned.session),
            Self::Refresh(planned) => Some(planned.presented.session),
        }
    }

    /// Returns where the access token must be stored. What is counted or checked in the same step is in one partition; `None`:
    /// anywhere.
    fn partition(&self, client: &Client, owner: TokenHash, seen: Option<Seen>) -> Option<Partition> {
        let of_session = self.session_id().map(|session| session.partition());
        of_session.or_else(|| (client.max_active_tokens.is_some() || seen.is_some()).then(|| owner.into()))
    }
}

/// Returns the granted scopes that belong to this API.
fn scope_at(client: &Client, audience: &str, granted: &str) -> Result<String, TokenError> {
    let scope = client.scope_at(audience, granted);
    // A response without `scope` means all requested scopes (RFC 6749 §5.1).
    if scope.is_empty() && !granted.is_empty() {
        return Err(TokenError::new(TokenErrorKind::InvalidScope, "The resource has none of the granted scopes"));
    }
    Ok(scope)
}

/// Returns the refusal after a write with an unknown outcome. `may_repeat`: a repeated request does no harm.
fn failed_write(error: StoreError, may_repeat: bool) -> TokenError {
    let may_repeat = may_repeat || !error.may_be_executed();
    let error = TokenError::from(error);
    if may_repeat { error } else { error.without_retry() }
}

/// The time after which a client that follows `Retry-After` has repeated a request whose write was waited for.
const REPEATED_WITHIN_SECONDS: u64 = 15;
