//! One run: sends requests to two instances, and compares each response with the model.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use axum::body::Body;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use tower_oauth::{
    clock::Clock as _,
    keys::{Algorithm, PrivateKey},
    testing::ManualClock,
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientCredentialsGrant, ClientSecret, Clients, RefreshTokenGrant, SessionId,
        Store, TokenEndpoint,
    },
};

use super::{
    super::{AUTHORIZE, Answer, CHALLENGE, VERIFIER, World, basic, encode, sent, stores::faulty_store::FaultyStore},
    Step, USERS,
    clients::{CALLBACK, IDS, client},
    expected::{CLIENTS, Expected, Failure, GRACE, INVALID_CLIENT, Model, PUBLIC, Presented, SCOPES},
};

const WATCH: &str = "watch secret";

/// Two endpoints with one store, and their model.
pub(super) struct Trial<S> {
    instances: [World; 2],
    turn: usize,
    pub(super) store: FaultyStore<S>,
    pub(super) model: Model,
    /// The code of each session of the model, if a client got it.
    pub(super) codes: Vec<Option<String>>,
    /// The generation of the refresh token that the honest client holds.
    held: Vec<Option<usize>>,
    /// Whether the honest client has sent the code of each session.
    is_sent: Vec<bool>,
    audit: Audit,
}

/// What was accepted, without the model: when, and what followed.
#[derive(Default)]
struct Audit {
    redeemed: HashMap<String, u32>,
    rotated: HashMap<String, (u64, String)>,
}

impl<S: Store + Clone> Trial<S> {
    pub(super) fn new(store: S, rotates_all: bool) -> Self {
        let (store, clock) = (FaultyStore::new(store), ManualClock::default());
        let now = clock.now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let model = Model::new(now, rotates_all);
        let watch = Client::builder("watch", ClientSecret::new(WATCH)).introspects_any_token().build().unwrap();
        let clients = Clients::new([watch]).unwrap();
        (0..CLIENTS).for_each(|which| clients.insert(client(&model, which)));
        // Each run has an issuer of its own, so that a store can be used for several runs.
        let issuer = format!("https://as-{}-{}.test", std::process::id(), RUNS.fetch_add(1, Ordering::Relaxed));
        let key = || PrivateKey::generate(Algorithm::ES256).unwrap();
        let refresh = RefreshTokenGrant::new();
        let refresh = if rotates_all { refresh.rotate_for_all_clients() } else { refresh };
        let instance = || World {
            endpoint: TokenEndpoint::builder(&issuer, key(), clients.clone())
                .grant(ClientCredentialsGrant::new())
                .grant(AuthorizationCodeGrant::new(AUTHORIZE))
                .grant(refresh)
                .clock(clock.clone())
                // The model has no throttle, so this limit is never reached.
                .max_failed_authentications(1_000_000, Duration::from_secs(60))
                .store(store.clone())
                .build()
                .unwrap(),
            clients: clients.clone(),
            clock: clock.clone(),
        };
        let instances = [instance(), instance()];
        Self { instances, turn: 0, store, model, codes: vec![], held: vec![], is_sent: vec![], audit: Audit::default() }
    }

    /// The instances take turns.
    pub(super) fn world(&mut self) -> &World {
        self.turn += 1;
        &self.instances[self.turn % 2]
    }

    pub(super) fn plan(&self, failure: Failure) {
        match failure {
            Failure::None => {}
            Failure::Read => self.store.fail_next_read(),
            Failure::Write(fault) => self.store.fail_next_write(fault),
        }
    }

    /// Posts as this client, with its current secret.
    async fn post(&mut self, path: &str, sender: usize, form: &[(&str, &str)], failure: Failure) -> Answer {
        let secret = &self.model.clients[sender].secret;
        let proof = if sender == PUBLIC { String::new() } else { basic(IDS[sender], secret) };
        self.plan(failure);
        let own = if sender == PUBLIC { vec![("client_id", IDS[sender])] } else { vec![] };
        let answer = self.world().post(path, &proof, &[&own[..], form].concat()).await;
        self.store.clear();
        answer
    }

    pub(super) async fn take(&mut self, step: &Step) {
        let session = |at: u8| usize::from(at).checked_rem(self.codes.len());
        match *step {
            Step::Approve { client, user, scopes, failure } => self.approve(client, user, scopes, failure).await,
            Step::LogIn { client, user } => {
                let scopes = self.model.clients[client].scopes;
                self.approve(client, user, scopes, Failure::None).await;
                self.redeem_own(0, Failure::None).await;
            }
            Step::Redeem { at, failure } => self.redeem_own(at, failure).await,
            Step::MisuseCode { at, sender, verified, failure } => {
                if let Some(session) = session(at) {
                    self.model.sessions[session].is_misused |= self.codes[session].is_some();
                    self.redeem(session, sender, verified, failure).await;
                }
            }
            Step::Refresh { at, scope, ref failures } => self.refresh_own(at, scope, failures).await,
            Step::Steal { at, age, sender, failure } => self.steal(at, age, sender, failure).await,
            Step::Own { failure } => {
                let answer = self.post("/token", 2, &[("grant_type", "client_credentials")], failure).await;
                let expected = self.model.own(2, failure);
                self.compare(expected, &answer, None);
            }
            Step::RevokeAccess { at, sender, failure } => self.revoke_access(at, sender, failure).await,
            Step::RevokeRefresh { at, age, sender, failure } => self.revoke_refresh(at, age, sender, failure).await,
            Step::EndSession { at, failure } => {
                if let Some(session) = session(at) {
                    self.end_session(session, failure).await;
                }
            }
            Step::EndSubject { user, failure } => self.end_subject(user, failure).await,
            Step::EndClient { client, failure } => self.end_client(client, failure).await,
            Step::Wait(seconds) => self.wait(seconds),
            Step::Remove(which) => {
                self.instances[0].clients.remove(IDS[which]);
                self.model.clients[which].is_there = false;
            }
            Step::Register { client: which, scopes } => {
                let registered = &mut self.model.clients[which];
                (registered.is_there, registered.scopes) = (true, scopes);
                self.instances[0].clients.insert(client(&self.model, which));
            }
            Step::Renew { client, leaked } => self.renew(client, leaked),
        }
        let count = self.model.access.len();
        self.agree(count.saturating_sub(3)..count).await;
        self.lists_are_exact().await;
    }

    /// Compares everything.
    pub(super) async fn finish(&mut self) {
        self.agree(0..self.model.access.len()).await;
    }

    pub(super) fn wait(&mut self, seconds: u64) {
        self.instances[0].clock.advance(Duration::from_secs(seconds));
        self.model.now += seconds;
    }

    fn renew(&mut self, which: usize, leaked: bool) {
        let clients = &self.instances[0].clients;
        let renewed = if leaked { clients.replace_leaked_secret(IDS[which]) } else { clients.renew_secret(IDS[which]) };
        let registered = &mut self.model.clients[which];
        assert_eq!(renewed.is_ok(), registered.is_there);
        if let Ok(secret) = renewed {
            registered.secret = secret;
            registered.generation += u32::from(leaked);
        }
    }

    async fn approve(&mut self, client: usize, user: usize, scopes: usize, failure: Failure) {
        let query = encode(&[
            ("client_id", IDS[client]),
            ("redirect_uri", CALLBACK),
            ("response_type", "code"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("scope", SCOPES[scopes]),
        ]);
        let uri = format!("/authorize?{query}").parse().unwrap();
        let asked = self.world().endpoint.authorize(&uri).await;
        let registered = &self.model.clients[client];
        let allowed = SCOPES[scopes].split(' ').all(|name| SCOPES[registered.scopes].contains(name));
        assert_eq!(asked.is_ok(), registered.is_there && allowed);
        let Ok(request) = asked else { return };
        self.plan(failure);
        let response = request.approve(USERS[user], SCOPES[scopes].split(' ')).await.map(Body::new);
        self.store.clear();
        let (name, code) = sent(&response).swap_remove(0);
        let Failure::Write(fault) = failure else {
            assert_eq!(name, "code");
            return self.add_session(client, user, scopes, Some(code));
        };
        assert_eq!((&*name, &*code), ("error", "server_error"));
        if fault == super::Fault::Lost {
            self.add_session(client, user, scopes, None);
        }
    }

    fn add_session(&mut self, client: usize, user: usize, scopes: usize, code: Option<String>) {
        self.model.add_code(client, user, scopes);
        self.codes.push(code);
        self.held.push(None);
        self.is_sent.push(false);
    }

    /// The client of a session redeems its code for the first time, and again if it is told to.
    async fn redeem_own(&mut self, at: u8, failure: Failure) {
        // Mostly one of the last codes, which may be valid.
        let Some(back) = usize::from(at).checked_rem(self.codes.len().min(6)) else { return };
        let session = self.codes.len() - 1 - back;
        if self.codes[session].is_none() || std::mem::replace(&mut self.is_sent[session], true) {
            return;
        }
        let owner = self.model.sessions[session].client;
        let mut expected = self.redeem(session, owner, true, failure).await;
        if expected == (Expected::Unavailable { may_repeat: true }) {
            self.wait(5);
            expected = self.redeem(session, owner, true, Failure::None).await;
        }
        if let Expected::Tokens { session: Some((session, generation)), .. } = expected {
            self.held[session] = Some(generation);
        }
    }

    async fn redeem(&mut self, session: usize, sender: usize, is_verified: bool, failure: Failure) -> Expected {
        let Some(code) = self.codes[session].clone() else { return INVALID_CLIENT };
        let proof = if is_verified { VERIFIER.to_owned() } else { VERIFIER.replace('d', "e") };
        let form = [
            ("grant_type", "authorization_code"),
            ("redirect_uri", CALLBACK),
            ("code", &*code),
            ("code_verifier", &*proof),
        ];
        let answer = self.post("/token", sender, &form, failure).await;
        let expected = self.model.redeem(session, sender, is_verified, failure);
        self.compare(expected, &answer, Some(&self.model.scopes_of(session).join(" ")));
        if answer.status() == 200 {
            let count = self.audit.redeemed.entry(code).or_default();
            *count += 1;
            assert_eq!(*count, 1, "a code was redeemed twice");
        }
        expected
    }

    /// The honest client: it sends the newest token that it has, and repeats the request as often as it is told to.
    async fn refresh_own(&mut self, at: u8, scope: usize, failures: &[Failure]) {
        let holding: Vec<_> = (0..self.held.len()).filter(|session| self.held[*session].is_some()).collect();
        // Mostly one of the last sessions.
        let Some(back) = usize::from(at).checked_rem(holding.len().min(if at < 200 { 4 } else { 256 })) else { return };
        let session = holding[holding.len() - 1 - back];
        let Some(generation) = self.held[session] else { return };
        let owner = self.model.sessions[session].client;
        let was_alive = self.model.is_alive(session);
        for failure in failures.iter().copied().chain([Failure::None]) {
            let expected = self.refresh(session, Presented::Generation(generation), owner, scope, failure).await;
            match expected {
                Expected::Unavailable { may_repeat } => assert!(may_repeat, "a refresh can be repeated"),
                Expected::Tokens { session: Some((_, generation)), .. } => {
                    self.held[session] = Some(generation);
                    return;
                }
                _ => {
                    let lost = was_alive && !self.model.is_alive(session);
                    assert!(!lost || self.model.sessions[session].is_misused, "an honest client lost its session");
                    return;
                }
            }
            self.wait(5);
        }
    }

    /// A thief sends a text of a session, or a secret that the session never had.
    async fn steal(&mut self, at: u8, age: Option<u8>, sender: Option<usize>, failure: Failure) {
        let Some((session, generation)) = self.some_refresh(at, age.unwrap_or_default()) else { return };
        let presented = if age.is_some() { Presented::Generation(generation) } else { Presented::Forged };
        let sender = sender.unwrap_or(self.model.sessions[session].client);
        self.model.sessions[session].is_misused = true;
        self.refresh(session, presented, sender, 7, failure).await;
    }

    /// Returns a session with refresh tokens, and the generation of one that is about this old, and known.
    fn some_refresh(&self, at: u8, age: u8) -> Option<(usize, usize)> {
        let known = |session: &usize| self.model.sessions[*session].refresh.iter().any(Option::is_some);
        let sessions: Vec<_> = (0..self.codes.len()).filter(known).collect();
        let session = *sessions.iter().rev().nth(usize::from(at).checked_rem(sessions.len().min(6))?)?;
        let refresh = &self.model.sessions[session].refresh;
        let oldest = refresh.len().saturating_sub(1 + usize::from(age));
        let generation = (oldest..refresh.len()).chain(0..oldest).find(|at| refresh[*at].is_some())?;
        Some((session, generation))
    }

    async fn refresh(
        &mut self,
        session: usize,
        presented: Presented,
        sender: usize,
        scope: usize,
        failure: Failure,
    ) -> Expected {
        let text = match presented {
            Presented::Generation(generation) => self.model.sessions[session].refresh[generation].clone().unwrap(),
            Presented::Forged => {
                let known = self.model.sessions[session].refresh.iter().flatten().next().unwrap();
                let mut bytes = URL_SAFE_NO_PAD.decode(known).unwrap();
                bytes[20] ^= 1;
                URL_SAFE_NO_PAD.encode(bytes)
            }
        };
        let wanted = ["read", "write", "admin"].get(scope).copied();
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*text), ("scope", wanted.unwrap_or_default())];
        let answer = self.post("/token", sender, &form, failure).await;
        let expected = self.model.refresh(session, presented, sender, wanted, failure);
        let scopes = wanted.map_or_else(|| self.model.scopes_of(session).join(" "), str::to_owned);
        self.compare(expected, &answer, Some(&scopes));
        if answer.status() == 200 && self.model.rotates(sender) {
            self.audit_rotation(text, answer.text("refresh_token"));
        }
        expected
    }

    fn audit_rotation(&mut self, text: String, next: &str) {
        assert_ne!(text, next);
        let now = self.model.now;
        let (first, successor) = self.audit.rotated.entry(text).or_insert_with(|| (now, next.to_owned()));
        assert!(now < *first + GRACE && successor == next, "a refresh token was good twice");
    }

    async fn revoke_access(&mut self, at: u8, sender: Option<usize>, failure: Failure) {
        let known: Vec<_> = (0..self.model.access.len()).filter(|at| self.model.access[*at].text.is_some()).collect();
        let Some(back) = usize::from(at).checked_rem(known.len().min(12)) else { return };
        let access = known[known.len() - 1 - back];
        let text = self.model.access[access].text.clone().unwrap();
        let sender = sender.unwrap_or_else(|| self.model.client_of(access));
        let answer = self.post("/revoke", sender, &[("token", &text)], failure).await;
        let expected = self.model.revoke_access(access, sender, failure);
        self.compare(expected, &answer, None);
        self.agree(access..=access).await;
    }

    async fn revoke_refresh(&mut self, at: u8, age: u8, sender: Option<usize>, failure: Failure) {
        let Some((session, generation)) = self.some_refresh(at, age) else { return };
        let text = self.model.sessions[session].refresh[generation].clone().unwrap();
        let sender = sender.unwrap_or(self.model.sessions[session].client);
        let answer = self.post("/revoke", sender, &[("token", &text)], failure).await;
        let expected = self.model.revoke_refresh(session, sender, failure);
        self.compare(expected, &answer, None);
    }

    /// Compares a response with the prediction, and keeps the texts of tokens.
    #[track_caller]
    fn compare(&mut self, expected: Expected, answer: &Answer, scope: Option<&str>) {
        match expected {
            Expected::Done => answer.is_ok(),
            Expected::Refused(status, code) => answer.is_error(status, code),
            Expected::Unavailable { may_repeat } => {
                assert_eq!(answer.status(), 503, "{answer:?}");
                assert_eq!(answer.header("retry-after").is_some(), may_repeat, "{answer:?}");
            }
            Expected::Tokens { access, session } => {
                answer.is_ok();
                assert!(scope.is_none_or(|scope| answer.text("scope") == scope), "{answer:?}");
                self.model.access[access].text = Some(answer.text("access_token").to_owned());
                let Some((session, generation)) = session else {
                    return assert!(answer.json.get("refresh_token").is_none());
                };
                let refresh = answer.text("refresh_token");
                let known = self.model.sessions[session].refresh[generation].get_or_insert_with(|| refresh.to_owned());
                assert_eq!(known, refresh, "each token has one successor");
            }
        }
    }

    /// Compares access tokens, and all of the sessions that they belong to, with what introspection says.
    pub(super) async fn agree(&mut self, tokens: impl Iterator<Item = usize>) {
        for at in tokens {
            let access = &self.model.access[at];
            let Some(text) = access.text.clone() else { continue };
            let expected = self.model.is_active(access);
            let form = [("token", &*text)];
            let answer = self.world().post("/introspect", &basic("watch", WATCH), &form).await;
            answer.is_ok();
            assert_eq!(answer.json["active"], expected, "access token {at}: {:?}", self.model.access[at]);
        }
    }

    /// Returns the id of a session whose code a client got: the first bytes of the code.
    pub(super) fn id(&self, session: usize) -> Option<SessionId> {
        let bytes = URL_SAFE_NO_PAD.decode(self.codes[session].as_ref()?).unwrap();
        Some(SessionId::from(*bytes.first_chunk::<16>().unwrap()))
    }
}

static RUNS: AtomicU64 = AtomicU64::new(0);
