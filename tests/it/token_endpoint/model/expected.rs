//! What must happen: a model of the endpoint, without hashes, records and stores.

use super::super::stores::faulty_store::Fault;

/// The endpoint's defaults, in seconds: lifetime of access tokens and codes, idle and absolute lifetime of refresh tokens, grace.
pub(super) const ACCESS: u64 = 900;
const CODE: u64 = 60;
const IDLE: u64 = 14 * 86_400;
const ABSOLUTE: u64 = 30 * 86_400;
pub(super) const GRACE: u64 = 60;
/// The scopes that a client requests and is registered for: `read`, `write`, both.
pub(super) const SCOPES: [&str; 3] = ["read", "write", "read write"];
/// A public client, which may have two sessions; one with a secret, which may have one; one with a secret, which may have few
/// tokens.
pub(super) const CLIENTS: usize = 3;
pub(super) const MAX_SESSIONS: [Option<usize>; CLIENTS] = [Some(2), Some(1), None];
pub(super) const MAX_TOKENS: [Option<usize>; CLIENTS] = [None, None, Some(3)];
pub(super) const PUBLIC: usize = 0;

/// What the endpoint answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// The access token with this number, and the refresh token of this generation of the session.
    Tokens {
        access: usize,
        session: Option<(usize, usize)>,
    },
    Done,
    Refused(u16, &'static str),
    /// 503, and whether the client is told to repeat the request.
    Unavailable {
        may_repeat: bool,
    },
}

pub(super) const INVALID_GRANT: Expected = Expected::Refused(400, "invalid_grant");
pub(super) const INVALID_SCOPE: Expected = Expected::Refused(400, "invalid_scope");
pub(super) const INVALID_CLIENT: Expected = Expected::Refused(401, "invalid_client");

/// How the store fails during a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    None,
    Read,
    Write(Fault),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Revoked,
    /// An operator ended it.
    Ended,
    TooMany,
    /// An old refresh token or a used code was presented.
    Reused,
}

#[derive(Debug)]
pub(super) struct Registered {
    pub(super) is_there: bool,
    pub(super) secret: String,
    pub(super) scopes: usize,
    pub(super) generation: u32,
}

/// A code, and the session that begins when it is used.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) client: usize,
    pub(super) user: usize,
    pub(super) scopes: usize,
    generation: u32,
    pub(super) since: u64,
    /// The place in the order of redemptions.
    redeemed: Option<u64>,
    pub(super) ended: Option<End>,
    /// The refresh tokens, from the first one on. A text that no client got is unknown.
    pub(super) refresh: Vec<Option<String>>,
    pub(super) last_used_at: u64,
    rotated_at: u64,
    idle_until: u64,
    /// A thief or a careless client has sent a request with one of its texts.
    pub(super) is_misused: bool,
}

#[derive(Debug)]
pub(super) struct Access {
    pub(super) text: Option<String>,
    client: usize,
    generation: u32,
    /// `None`: of the client itself.
    user: Option<usize>,
    pub(super) session: Option<usize>,
    ends: u64,
    revoked: bool,
}

/// A refresh token in a request: a text of this generation, or one that never existed in its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presented {
    Generation(usize),
    Forged,
}

#[derive(Debug)]
pub(super) struct Model {
    pub(super) now: u64,
    pub(super) clients: [Registered; CLIENTS],
    pub(super) sessions: Vec<Session>,
    pub(super) access: Vec<Access>,
    /// Whether the refresh tokens of all clients are replaced.
    pub(super) rotates_all: bool,
    redemptions: u64,
}

impl Model {
    pub(super) fn new(now: u64, rotates_all: bool) -> Self {
        let registered = |secret: &str| Registered { is_there: true, secret: secret.into(), scopes: 2, generation: 0 };
        let clients = [registered(""), registered("web secret"), registered("job secret")];
        Self { now, clients, sessions: vec![], access: vec![], rotates_all, redemptions: 0 }
    }

    pub(super) fn add_code(&mut self, client: usize, user: usize, scopes: usize) {
        let generation = self.clients[client].generation;
        self.sessions.push(Session {
            client,
            user,
            scopes,
            generation,
            since: self.now,
            redeemed: None,
            ended: None,
            refresh: vec![],
            last_used_at: self.now,
            rotated_at: 0,
            idle_until: 0,
            is_misused: false,
        });
    }

    pub(super) fn is_alive(&self, session: usize) -> bool {
        let found = &self.sessions[session];
        let end = if found.redeemed.is_some() { found.since + CODE + ABSOLUTE } else { found.since + CODE };
        found.ended.is_none() && self.now < end
    }

    pub(super) fn is_redeemed(&self, session: usize) -> bool {
        self.sessions[session].redeemed.is_some()
    }

    pub(super) fn rotates(&self, client: usize) -> bool {
        client == PUBLIC || self.rotates_all
    }

    fn belongs_to(&self, session: usize, client: usize) -> bool {
        let found = &self.sessions[session];
        found.client == client && found.generation == self.clients[client].generation
    }

    /// Returns the scopes of a session that its client is still registered for.
    pub(super) fn scopes_of(&self, session: usize) -> Vec<&'static str> {
        let found = &self.sessions[session];
        let registered: Vec<_> = SCOPES[self.clients[found.client].scopes].split(' ').collect();
        SCOPES[found.scopes].split(' ').filter(|name| registered.contains(name)).collect()
    }

    /// A token that counts against the limit of its owner.
    fn counts(&self, access: &Access) -> bool {
        !access.revoked && self.now < access.ends && access.session.is_none_or(|session| self.is_alive(session))
    }

    pub(super) fn is_active(&self, access: &Access) -> bool {
        let client = &self.clients[access.client];
        self.counts(access) && client.is_there && client.generation == access.generation
    }

    pub(super) fn client_of(&self, access: usize) -> usize {
        self.access[access].client
    }

    fn add_access(&mut self, client: usize, user: Option<usize>, session: Option<usize>) -> usize {
        let end = session.map_or(u64::MAX, |session| self.sessions[session].since + CODE + ABSOLUTE);
        if let Some(limit) = MAX_TOKENS[client] {
            let is_counted = |access: &Access| access.client == client && access.user == user && self.counts(access);
            let counted: Vec<_> = (0..self.access.len()).filter(|at| is_counted(&self.access[*at])).collect();
            for at in counted.iter().take((counted.len() + 1).saturating_sub(limit)) {
                self.access[*at].revoked = true;
            }
        }
        let (generation, ends) = (self.clients[client].generation, end.min(self.now + ACCESS));
        self.access.push(Access { text: None, client, generation, user, session, ends, revoked: false });
        self.access.len() - 1
    }

    pub(super) fn end(&mut self, session: usize, end: End) {
        // The invariant: a client that sends its newest token, and repeats only what it was told to, never ends its session.
        assert!(end != End::Reused || self.sessions[session].is_misused, "an honest client has ended its session");
        if self.is_alive(session) {
            self.sessions[session].ended = Some(end);
        }
    }

    /// Returns the answer if the write fails and is not executed, or else executes it.
    fn write(
        &mut self,
        failure: Failure,
        may_repeat_unknown: bool,
        execute: impl FnOnce(&mut Self) -> Expected,
    ) -> Expected {
        let Failure::Write(fault) = failure else { return execute(self) };
        if fault == Fault::Lost {
            execute(self);
        }
        Expected::Unavailable { may_repeat: may_repeat_unknown || !fault.is_unknown() }
    }

    /// The client `sender` redeems a code.
    pub(super) fn redeem(&mut self, session: usize, sender: usize, is_verified: bool, failure: Failure) -> Expected {
        if !self.clients[sender].is_there {
            return INVALID_CLIENT;
        }
        if failure == Failure::Read {
            return Expected::Unavailable { may_repeat: true };
        }
        if !self.is_alive(session) || !self.belongs_to(session, sender) || !is_verified {
            return INVALID_GRANT;
        }
        if self.is_redeemed(session) {
            return self.write(failure, true, |model| {
                model.end(session, End::Reused);
                INVALID_GRANT
            });
        }
        if self.scopes_of(session).is_empty() {
            return INVALID_SCOPE;
        }
        self.write(failure, false, |model| model.start(session))
    }

    fn start(&mut self, session: usize) -> Expected {
        let Session { client, user, since, .. } = self.sessions[session];
        if let Some(limit) = MAX_SESSIONS[client] {
            let is_counted = |found: &Session| found.client == client && found.user == user && found.redeemed.is_some();
            let counted = (0..self.sessions.len()).filter(|at| is_counted(&self.sessions[*at]) && self.is_alive(*at));
            let mut counted: Vec<_> = counted.collect();
            counted.sort_by_key(|at| self.sessions[*at].redeemed);
            for at in counted.iter().take((counted.len() + 1).saturating_sub(limit)) {
                self.end(*at, End::TooMany);
            }
        }
        self.redemptions += 1;
        let (now, redemptions) = (self.now, self.redemptions);
        let found = &mut self.sessions[session];
        found.redeemed = Some(redemptions);
        found.refresh.push(None);
        found.last_used_at = now;
        found.idle_until = (since + CODE + ABSOLUTE).min(now + IDLE);
        Expected::Tokens { access: self.add_access(client, Some(user), Some(session)), session: Some((session, 0)) }
    }

    /// The client `sender` presents a refresh token.
    pub(super) fn refresh(
        &mut self,
        session: usize,
        presented: Presented,
        sender: usize,
        scope: Option<&str>,
        failure: Failure,
    ) -> Expected {
        if !self.clients[sender].is_there {
            return INVALID_CLIENT;
        }
        if failure == Failure::Read {
            return Expected::Unavailable { may_repeat: true };
        }
        let found = &self.sessions[session];
        if !self.is_refreshable(session) || !self.belongs_to(session, sender) {
            return INVALID_GRANT;
        }
        let age = match presented {
            Presented::Generation(generation) => found.refresh.len() - 1 - generation,
            Presented::Forged => usize::MAX,
        };
        if age > 1 {
            return self.write(failure, true, |model| {
                model.end(session, End::Reused);
                INVALID_GRANT
            });
        }
        let left = self.scopes_of(session);
        if left.is_empty() || scope.is_some_and(|scope| !left.contains(&scope)) {
            return INVALID_SCOPE;
        }
        self.write(failure, true, |model| model.use_refresh(session, age))
    }

    pub(super) fn is_refreshable(&self, session: usize) -> bool {
        self.is_alive(session) && self.is_redeemed(session) && self.now < self.sessions[session].idle_until
    }

    fn use_refresh(&mut self, session: usize, age: usize) -> Expected {
        let Session { client, user, since, rotated_at, .. } = self.sessions[session];
        if age == 1 && self.now >= rotated_at + GRACE {
            self.end(session, End::Reused);
            return INVALID_GRANT;
        }
        let (now, rotates) = (self.now, self.rotates(client));
        let found = &mut self.sessions[session];
        if age == 0 && rotates {
            found.refresh.push(None);
            found.rotated_at = now;
        }
        found.last_used_at = now;
        found.idle_until = (since + CODE + ABSOLUTE).min(now + IDLE);
        let generation = found.refresh.len() - 1;
        let access = self.add_access(client, Some(user), Some(session));
        Expected::Tokens { access, session: Some((session, generation)) }
    }

    /// A client requests a token for itself.
    pub(super) fn own(&mut self, client: usize, failure: Failure) -> Expected {
        if !self.clients[client].is_there {
            return INVALID_CLIENT;
        }
        self.write(failure, true, |model| Expected::Tokens {
            access: model.add_access(client, None, None),
            session: None,
        })
    }

    pub(super) fn revoke_access(&mut self, access: usize, sender: usize, failure: Failure) -> Expected {
        if !self.clients[sender].is_there {
            return INVALID_CLIENT;
        }
        if failure == Failure::Read {
            return Expected::Unavailable { may_repeat: true };
        }
        if self.access[access].client != sender || !self.is_active(&self.access[access]) {
            return Expected::Done;
        }
        self.write(failure, true, |model| {
            model.access[access].revoked = true;
            Expected::Done
        })
    }

    /// Any refresh token of a session ends it.
    pub(super) fn revoke_refresh(&mut self, session: usize, sender: usize, failure: Failure) -> Expected {
        if !self.clients[sender].is_there {
            return INVALID_CLIENT;
        }
        if failure == Failure::Read {
            return Expected::Unavailable { may_repeat: true };
        }
        if self.sessions[session].client != sender || !self.is_refreshable(session) {
            return Expected::Done;
        }
        self.write(failure, true, |model| {
            model.end(session, End::Revoked);
            Expected::Done
        })
    }

    /// Returns the sessions and unused codes that an operator can end.
    pub(super) fn alive_where(&self, is_meant: impl Fn(&Session) -> bool) -> Vec<usize> {
        (0..self.sessions.len()).filter(|at| self.is_alive(*at) && is_meant(&self.sessions[*at])).collect()
    }
}
