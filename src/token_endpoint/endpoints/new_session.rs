//! Begins a session for a grant of the application, which has no page that stored a code.
//!
//! *In*: the decision of a grant. *Out*: the write that issues the tokens, and what stays with the session.

use super::{ServerState, issue::TokenWrite};
use crate::token_endpoint::{
    client::Client,
    endpoints::authorize::CODE_LIFETIME,
    grant::{CodeOrigin, Granted, PlannedRedeem, PlannedWrite},
    http::error::TokenError,
    record::{self, OwnerRecord, SessionRecord},
    store::{AddCode, Timestamp, Written},
    texts::Handle,
    token_content::TokenContent,
};

impl ServerState {
    /// Returns the decision with the content of the grant applied, and with a session if it begins one.
    pub(super) fn planned(&self, client: &Client, granted: Granted, now: Timestamp) -> Result<Granted, TokenError> {
        let mut granted = granted;
        let mut narrowed = None;
        if let Some(content) = &mut granted.content {
            content.check()?;
            narrowed = content.narrowed(&granted.scope)?;
            granted.scope = narrowed.clone().unwrap_or(granted.scope);
        }
        match &mut granted.write {
            PlannedWrite::Begin => granted.write = self.begin(client, &granted, now)?,
            // No later token of the session has more.
            PlannedWrite::Redeem(planned) => {
                if let Some(narrowed) = narrowed {
                    planned.record.scope = narrowed;
                }
            }
            PlannedWrite::Refresh(planned) => {
                if let Some(kept) = planned.record.content.clone().map(TokenContent::from) {
                    granted.content = Some(Box::new(match granted.content {
                        Some(content) => kept.overlaid(*content),
                        None => kept,
                    }));
                }
            }
            PlannedWrite::Issue => {}
        }
        if let (PlannedWrite::Redeem(planned), Some(content)) = (&mut granted.write, &granted.content) {
            planned.record.content = content.kept.clone().unless_empty();
        }
        Ok(granted)
    }

    /// Returns the write for a new session, or for a token alone if the client may have no refresh tokens.
    fn begin(&self, client: &Client, granted: &Granted, now: Timestamp) -> Result<PlannedWrite, TokenError> {
        if self.refresh_tokens(client).is_none() {
            return Ok(PlannedWrite::Issue);
        }
        let handle = Handle::generate().map_err(TokenError::unavailable)?;
        let code = self.services.texts.new_code(handle).map_err(TokenError::unavailable)?;
        let audiences = match &granted.resources[..] {
            [] => vec![granted.audience.clone()],
            resources => resources.to_vec(),
        };
        let record = SessionRecord {
            owner: OwnerRecord::new(client, granted.subject.clone()),
            scope: granted.scope.clone(),
            audiences,
            since: now.as_secs(),
            auth_time: None,
            acr: None,
            // The code is used in this request, and no client has its text.
            challenge: None,
            redirect_uri: None,
            handle: None,
            content: None,
        };
        Ok(PlannedWrite::Redeem(Box::new(PlannedRedeem {
            session: code.id,
            code: code.hash,
            record,
            handle,
            expires_at: now.saturating_add(self.session_lifetime(client)),
            code_origin: CodeOrigin::New,
        })))
    }

    /// Stores the code of a new session, so that the next write can use it.
    pub(super) async fn add_new_code(
        &self,
        tokens: &TokenWrite<'_>,
        planned: &PlannedRedeem,
    ) -> Result<(), TokenError> {
        let add = AddCode {
            session: planned.session,
            code: planned.code,
            record: record::write(&planned.record)?,
            client: tokens.client_hash,
            subject: self.services.texts.subject(&planned.record.owner.subject),
            expires_at: tokens.now.saturating_add(CODE_LIFETIME),
            now: tokens.now,
            deadline: tokens.deadline,
        };
        match self.services.store.add_code(&add).await? {
            Written::Done => Ok(()),
            Written::Late => Err(TokenError::late()),
        }
    }
}
