//! Clients that send all kinds of requests to two instances, and record the responses.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{StatusCode, header, redirect::Policy};
use serde_json::Value;

use super::program::CALLBACK;
use crate::token_endpoint::{CHALLENGE, FORM, VERIFIER, basic, encode};

/// The responses to all clients.
pub(super) struct History {
    record: Mutex<Record>,
}

#[derive(Default)]
struct Record {
    /// Issued access tokens that no client has revoked.
    active: HashSet<String>,
    /// Tokens that a client knows to be revoked.
    inactive: HashSet<String>,
    counts: Counts,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Counts {
    redeemed: u32,
    /// Codes and refresh tokens that were sent to both instances at once.
    raced: u32,
    refreshed: u32,
    revoked: u32,
    own: u32,
    looked_up: u32,
    /// Operators that have ended all sessions of a user.
    ended: u32,
    /// Requests that were sent again, as `Retry-After` says or because a refresh can be repeated.
    repeated: u32,
    /// Requests with an unknown outcome: no response, or 503 without `Retry-After`.
    unknown: u32,
}

impl Counts {
    pub(super) fn are_many(&self) -> bool {
        self.redeemed.min(self.raced).min(self.refreshed) > 50 && self.ended > 3
    }
}

impl History {
    pub(super) fn new() -> Self {
        Self { record: Mutex::default() }
    }

    pub(super) fn counts(&self) -> Counts {
        self.record.lock().unwrap().counts.clone()
    }

    fn note(&self, note: impl FnOnce(&mut Record)) {
        note(&mut self.record.lock().unwrap());
    }

    /// Checks that every instance agrees with the clients about every token. Returns the numbers of active and inactive tokens.
    pub(super) async fn check(&self, bases: &[String; 2]) -> (usize, usize) {
        let (active, inactive) = {
            let record = self.record.lock().unwrap();
            (record.active.clone(), record.inactive.clone())
        };
        let client = Client::new(bases.clone());
        for instance in 0..2 {
            for (tokens, expected) in [(&active, true), (&inactive, false)] {
                for token in tokens {
                    let known =
                        client.is_active(instance, token).await.expect("a response, because all instances are running");
                    assert_eq!(
                        known, expected,
                        "instance {instance} disagrees about a token whose `active` is {expected}"
                    );
                }
            }
        }
        (active.len(), inactive.len())
    }
}

/// The tokens of one approval that its client has.
#[derive(Clone)]
struct Session {
    access: Vec<String>,
    refresh: String,
}

/// A client of one user, and the operator who ends that user's sessions.
pub(super) struct Worker<'h> {
    client: Client,
    history: &'h History,
    random: Random,
    user: String,
    sessions: Vec<Session>,
}

impl<'h> Worker<'h> {
    pub(super) fn new(bases: [String; 2], history: &'h History, random: Random, user: String) -> Self {
        Self { client: Client::new(bases), history, random, user, sessions: Vec::new() }
    }

    pub(super) async fn run(mut self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            match self.random.below(28) {
                0..6 => self.redeem().await,
                6..9 => self.race_for_a_code().await,
                9..15 => self.refresh().await,
                15..18 => self.race_for_a_refresh_token().await,
                18..21 => self.own_token().await,
                21..24 => self.revoke().await,
                24..27 => self.look_up().await,
                _ => self.end_all().await,
            }
        }
    }

    /// Redeems a code, and repeats the request only if the response says so.
    async fn redeem(&mut self) {
        let instance = self.instance();
        let Some(code) = self.client.code(instance, &self.user).await else { return self.unknown() };
        for _ in 0..MAX_ATTEMPTS {
            let instance = self.instance();
            match self.client.token(instance, Sender::App, &redemption(&code)).await {
                Reply::Tokens(session) => {
                    self.history.note(|record| record.counts.redeemed += 1);
                    return self.keep(session);
                }
                Reply::Refused(error) => panic!("an issued and unused code was refused: {error}"),
                Reply::Repeat => self.wait().await,
                Reply::Unknown => return self.unknown(),
            }
        }
    }

    async fn race_for_a_code(&mut self) {
        let instance = self.instance();
        let Some(code) = self.client.code(instance, &self.user).await else { return self.unknown() };
        let form = redemption(&code);
        let (one, other) =
            tokio::join!(self.client.token(0, Sender::App, &form), self.client.token(1, Sender::App, &form));
        assert!(!matches!((&one, &other), (Reply::Tokens(_), Reply::Tokens(_))), "both instances accepted a code");
        let refused = [&one, &other].iter().any(|reply| matches!(reply, Reply::Refused(_)));
        let given = [one, other].into_iter().filter_map(Reply::tokens).flat_map(|session| session.access);
        self.history.note(|record| {
            record.counts.raced += 1;
            // A refused request was the second one, so the session has ended. Without a refusal the outcome is unknown.
            record.inactive.extend(given.filter(|_| refused));
        });
    }

    /// Refreshes, and repeats the request until there is a response: the last token gets the same successor again.
    async fn refresh(&mut self) {
        let Some(mut session) = self.some_session() else { return self.redeem().await };
        for _ in 0..MAX_ATTEMPTS {
            let instance = self.instance();
            match self.client.token(instance, Sender::App, &refreshment(&session.refresh)).await {
                Reply::Tokens(next) => {
                    self.history.note(|record| record.counts.refreshed += 1);
                    session.access.extend(next.access);
                    return self.keep(Session { refresh: next.refresh, ..session });
                }
                Reply::Refused(error) => panic!("a session was lost: {error}"),
                Reply::Repeat | Reply::Unknown => self.wait().await,
            }
        }
        panic!("no response to any attempt");
    }

    /// Sends the same refresh token to both instances. Both accept it, and return the same successor.
    async fn race_for_a_refresh_token(&mut self) {
        let Some(mut session) = self.some_session() else { return self.redeem().await };
        let form = refreshment(&session.refresh);
        let (one, other) =
            tokio::join!(self.client.token(0, Sender::App, &form), self.client.token(1, Sender::App, &form));
        let mut next = Vec::new();
        for reply in [one, other] {
            match reply {
                Reply::Tokens(tokens) => next.push(tokens),
                Reply::Refused(error) => panic!("a session was lost: {error}"),
                Reply::Repeat | Reply::Unknown => {}
            }
        }
        assert!(next.windows(2).all(|pair| pair[0].refresh == pair[1].refresh), "a token has two successors");
        self.history.note(|record| record.counts.raced += 1);
        for tokens in next {
            session.refresh = tokens.refresh;
            session.access.extend(tokens.access);
        }
        // Without a response, the token is sent again, as after any other lost response.
        self.keep(session);
    }

    /// Ends all sessions of the user, as an operator does.
    async fn end_all(&mut self) {
        // From now on, no token of the user is known to be active.
        let ended = std::mem::take(&mut self.sessions);
        self.history.note(|record| {
            for token in ended.iter().flat_map(|session| &session.access) {
                record.active.remove(token);
            }
        });
        for _ in 0..MAX_ATTEMPTS {
            let instance = self.instance();
            if self.client.end_all(instance, &self.user).await {
                self.history.note(|record| {
                    record.counts.ended += 1;
                    record.inactive.extend(ended.iter().flat_map(|session| session.access.iter().cloned()));
                });
                return self.is_over(&ended).await;
            }
            self.wait().await;
        }
    }

    /// Checks that an ended session cannot be refreshed.
    async fn is_over(&mut self, ended: &[Session]) {
        let Some(session) = ended.last() else { return };
        let instance = self.instance();
        let reply = self.client.token(instance, Sender::App, &refreshment(&session.refresh)).await;
        assert!(reply.tokens().is_none(), "an ended session was refreshed");
    }

    async fn own_token(&mut self) {
        let resource = ["https://api.test", "https://jwt.test"][usize::from(self.random.below(2) == 0)];
        let form = encode(&[("grant_type", "client_credentials"), ("resource", resource)]);
        let instance = self.instance();
        match self.client.token(instance, Sender::Job, &form).await {
            Reply::Tokens(session) => self.history.note(|record| {
                record.counts.own += 1;
                record.active.extend(session.access);
            }),
            Reply::Refused(error) => panic!("client_credentials was refused: {error}"),
            Reply::Repeat | Reply::Unknown => self.unknown(),
        }
    }

    async fn revoke(&mut self) {
        let Some(mut session) = self.some_session() else { return self.redeem().await };
        let instance = self.instance();
        if let Some(token) = session.access.pop() {
            let revoked = self.client.revoke(instance, &token).await;
            self.history.note(|record| {
                record.active.remove(&token);
                if revoked {
                    record.counts.revoked += 1;
                    record.inactive.insert(token);
                }
            });
        }
        self.sessions.push(session);
    }

    async fn look_up(&mut self) {
        let Some(session) = self.some_session() else { return self.redeem().await };
        let instance = self.instance();
        if let Some(token) = session.access.last()
            && let Some(active) = self.client.is_active(instance, token).await
        {
            assert!(active, "an issued token is inactive under load");
            self.history.note(|record| record.counts.looked_up += 1);
        }
        self.sessions.push(session);
    }

    fn keep(&mut self, session: Session) {
        self.history.note(|record| record.active.extend(session.access.iter().cloned()));
        self.sessions.push(session);
    }

    fn some_session(&mut self) -> Option<Session> {
        let many = u64::try_from(self.sessions.len()).unwrap();
        (many > 0).then(|| self.sessions.swap_remove(usize::try_from(self.random.below(many)).unwrap()))
    }

    fn instance(&mut self) -> usize {
        usize::from(self.random.below(2) == 0)
    }

    /// Waits before a request is repeated: not as long as `Retry-After` says, so that the test has many of them.
    async fn wait(&mut self) {
        self.history.note(|record| record.counts.repeated += 1);
        tokio::time::sleep(Duration::from_millis(20 + self.random.below(200))).await;
    }

    fn unknown(&self) {
        self.history.note(|record| record.counts.unknown += 1);
    }
}

/// The client of a request: a public one, which sends its id in the form, or one with a secret.
#[derive(Clone, Copy)]
enum Sender {
    App,
    Job,
}

/// The outcome of a token request.
enum Reply {
    Tokens(Session),
    Refused(String),
    /// 503 with `Retry-After`.
    Repeat,
    /// No response, or 503 without `Retry-After`.
    Unknown,
}

impl Reply {
    fn tokens(self) -> Option<Session> {
        if let Self::Tokens(session) = self { Some(session) } else { None }
    }
}

/// Sends forms to one of the instances. An unexpected response is a failure.
struct Client {
    http: reqwest::Client,
    bases: [String; 2],
}

impl Client {
    fn new(bases: [String; 2]) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().timeout(Duration::from_secs(10));
        Self { http: http.build().unwrap(), bases }
    }

    /// Returns a code that the user approved; `None` without a response, and if it could not be stored.
    async fn code(&self, instance: usize, user: &str) -> Option<String> {
        let query = encode(&[
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", CALLBACK),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("login_hint", user),
        ]);
        let answer = self.http.get(format!("{}/authorize?{query}", self.bases[instance])).send().await.ok()?;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let location = answer.headers()[header::LOCATION].to_str().unwrap();
        let (_, query) = location.split_once('?').unwrap();
        let mut members: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert!(members.get("error").is_none_or(|error| error == "server_error"), "{location}");
        members.remove("code")
    }

    async fn token(&self, instance: usize, sender: Sender, form: &str) -> Reply {
        let Some(Sent { status, body, may_repeat }) = self.post(instance, "token", sender, form).await else {
            return Reply::Unknown;
        };
        match status {
            StatusCode::OK => {
                let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
                Reply::Tokens(Session { access: vec![text("access_token")], refresh: text("refresh_token") })
            }
            StatusCode::SERVICE_UNAVAILABLE if may_repeat => Reply::Repeat,
            StatusCode::SERVICE_UNAVAILABLE => Reply::Unknown,
            _ => {
                assert_eq!(
                    (status, &body["error"]),
                    (StatusCode::BAD_REQUEST, &Value::from("invalid_grant")),
                    "{body}"
                );
                Reply::Refused(body.to_string())
            }
        }
    }

    /// Ends all sessions of a user. Returns whether the instance says that it is done.
    async fn end_all(&self, instance: usize, user: &str) -> bool {
        let url = format!("{}/end?{}", self.bases[instance], encode(&[("subject", user)]));
        self.http.get(url).send().await.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    async fn revoke(&self, instance: usize, token: &str) -> bool {
        let form = encode(&[("token", token), ("client_id", "app")]);
        let sent = self.post(instance, "revoke", Sender::App, &form).await;
        sent.filter(|sent| sent.status != StatusCode::SERVICE_UNAVAILABLE).is_some_and(|sent| {
            assert_eq!(sent.status, StatusCode::OK, "{}", sent.body);
            true
        })
    }

    async fn is_active(&self, instance: usize, token: &str) -> Option<bool> {
        let sent = self.post(instance, "introspect", Sender::Job, &encode(&[("token", token)])).await?;
        if sent.status == StatusCode::SERVICE_UNAVAILABLE {
            return None;
        }
        assert_eq!(sent.status, StatusCode::OK, "{}", sent.body);
        Some(sent.body["active"].as_bool().unwrap())
    }

    async fn post(&self, instance: usize, path: &str, sender: Sender, form: &str) -> Option<Sent> {
        let mut request = self.http.post(format!("{}/{path}", self.bases[instance])).header(header::CONTENT_TYPE, FORM);
        if let Sender::Job = sender {
            request = request.header(header::AUTHORIZATION, basic("job", "job-secret"));
        }
        let answer = request.body(form.to_owned()).send().await.ok()?;
        let (status, may_repeat) = (answer.status(), answer.headers().contains_key(header::RETRY_AFTER));
        let body = answer.bytes().await.ok()?;
        Some(Sent { status, body: serde_json::from_slice(&body).unwrap(), may_repeat })
    }
}

/// A response.
struct Sent {
    status: StatusCode,
    body: Value,
    may_repeat: bool,
}

fn redemption(code: &str) -> String {
    encode(&[
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
        ("client_id", "app"),
    ])
}

fn refreshment(token: &str) -> String {
    encode(&[("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "app")])
}

/// Attempts of one request. Processes and servers are back within a second or two.
const MAX_ATTEMPTS: u32 = 300;

/// Random numbers that can be reproduced with the seed.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns a number below `bound`, by the method `SplitMix64`.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}
