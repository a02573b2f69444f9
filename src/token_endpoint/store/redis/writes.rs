//! The writes that issue tokens.
//!
//! *In*: a request, whose value was new if it has one. *Out*: the answer, after all lists and limits are up to date.

use super::{
    super::{Issue, Issued, Redeem, Redeemed, Refresh, Refreshed, StoreError},
    RedisStore,
    keys::{EntryKind, Tag, owner_partition},
    script::{self, Limit},
    unreadable,
};

impl RedisStore {
    pub(super) async fn redeem_code(&self, request: &Redeem) -> Result<Redeemed, StoreError> {
        let Redeem { session, code, client, subject, owner, expires_at, access, now, deadline, .. } = request;
        let limited = request.token_limit.is_some() || request.session_limit.is_some();
        let call = self.session_call(&script::REDEEM, session, *now, Limit::Write(*deadline));
        let call = call.arg(code.as_bytes()).arg(request.record.as_str()).arg(client.as_bytes());
        let call = call.arg(subject.as_bytes()).arg(if limited { owner.as_bytes().as_slice() } else { &[] });
        let call = call.time(*expires_at);
        let call = match &request.refresh {
            Some(refresh) => call.arg(refresh.hash.as_bytes()).time(refresh.idle_until),
            None => call.arg("").arg(""),
        };
        let call = call.arg(access.hash.as_bytes()).time(access.expires_at).arg(access.record.as_str());
        let index = self.add_to_indexes(session, client, subject, *expires_at, *now);
        let (reply, ()) = tokio::try_join!(self.run(call), index)?;
        match reply.parts().as_slice() {
            [b"done"] => {
                let tokens = self.limit_tokens(session, owner, access, request.token_limit, *now);
                let sessions = self.limit_sessions(session, owner, *expires_at, request.session_limit, *now);
                tokio::try_join!(tokens, sessions)?;
                Ok(Redeemed::Done)
            }
            [b"replayed", ended @ ..] => {
                self.forget(session, ended, *now).await?;
                Ok(Redeemed::Replayed)
            }
            [b"unknown"] => Ok(Redeemed::Unknown),
            [b"late"] => Ok(Redeemed::Late),
            _ => Err(unreadable()),
        }
    }

    pub(super) async fn use_refresh_token(&self, request: &Refresh) -> Result<Refreshed, StoreError> {
        let Refresh { session, presented, owner, access, token_limit, now, deadline, .. } = request;
        let call = self.session_call(&script::REFRESH, session, *now, Limit::Write(*deadline));
        let call = call.arg(presented.as_bytes());
        let call = match &request.successor {
            Some(successor) => call.arg(successor.hash.as_bytes()).arg(successor.salt),
            None => call.arg("").arg(""),
        };
        let call = call.time(request.idle_until).number(request.grace);
        let call = call.arg(if token_limit.is_some() { owner.as_bytes().as_slice() } else { &[] });
        let call = call.arg(access.hash.as_bytes()).time(access.expires_at).arg(access.record.as_str());
        let reply = self.run(call).await?;
        let refreshed = match reply.parts().as_slice() {
            [b"done"] => Refreshed::Done,
            [b"again", salt] => Refreshed::Again { salt: <[u8; 32]>::try_from(*salt).map_err(|_| unreadable())? },
            [b"reused", ended @ ..] => {
                self.forget(session, ended, *now).await?;
                return Ok(Refreshed::Reused);
            }
            [b"unknown"] => return Ok(Refreshed::Unknown),
            [b"late"] => return Ok(Refreshed::Late),
            _ => return Err(unreadable()),
        };
        self.limit_tokens(session, owner, access, *token_limit, *now).await?;
        Ok(refreshed)
    }

    pub(super) async fn issue_alone(&self, request: &Issue) -> Result<Issued, StoreError> {
        let Issue { owner, access, token_limit, now, deadline, .. } = request;
        let has_list = token_limit.is_some() || access.partition == owner_partition(owner);
        let tag = Tag::partition(&access.partition);
        let call = self.call(&script::ISSUE, tag, *now, Limit::Write(*deadline));
        let call = call.key(EntryKind::Access).key(EntryKind::AccessOrder).key(EntryKind::AccessExpiry);
        let call = call.arg(access.hash.as_bytes()).time(access.expires_at).arg(access.record.as_str());
        let reply =
            self.run(call.number(u8::from(has_list)).number(token_limit.map_or(0, |limit| limit.max(1)))).await?;
        match reply.parts().as_slice() {
            [b"done", beyond @ ..] => {
                self.revoke_beyond(owner, beyond, *now).await?;
                Ok(Issued::Done)
            }
            [b"late"] => Ok(Issued::Late),
            _ => Err(unreadable()),
        }
    }
}
