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
    /// Requests with an unknown outcome: no response, or 503.
    unknown: u32,
}

impl Counts {
    pub(super) fn are_many(&self) -> bool {
        self.redeemed.min(self.raced).min(self.refreshed) > 50
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

pub(super) struct Worker<'h> {
    client: Client,
    history: &'h History,
    random: Random,
    sessions: Vec<Session>,
}

impl<'h> Worker<'h> {
    pub(super) fn new(bases: [String; 2], history: &'h History, random: Random) -> Self {
        Self { client: Client::new(bases), history, random, sessions: Vec::new() }
    }

    pub(super) async fn run(mut self, done: &AtomicBool) {
        while !done.load(Ordering::Relaxed) {
            match self.random.below(9) {
                0 | 1 => self.redeem().await,
                2 => self.race_for_a_code().await,
                3 | 4 => self.refresh().await,
                5 => self.race_for_a_refresh_token().await,
                6 => self.own_token().await,
                7 => self.revoke().await,
                _ => self.look_up().await,
            }
        }
    }

    async fn redeem(&mut self) {
        let instance = self.instance();
        let Some(code) = self.client.code(instance).await else { return self.unknown() };
        let instance = self.instance();
        match self.client.token(instance, Sender::App, &redemption(&code)).await {
            Some(Ok(session)) => {
                self.history.note(|record| record.counts.redeemed += 1);
                self.keep(session);
            }
            Some(Err(error)) => panic!("an issued and unused code was refused: {error}"),
            None => self.unknown(),
        }
    }

    async fn race_for_a_code(&mut self) {
        let instance = self.instance();
        let Some(code) = self.client.code(instance).await else { return self.unknown() };
        self.race(&redemption(&code), Vec::new()).await;
    }

    async fn refresh(&mut self) {
        let Some(mut session) = self.some_session() else { return self.redeem().await };
        let instance = self.instance();
        match self.client.token(instance, Sender::App, &refreshment(&session.refresh)).await {
            Some(Ok(next)) => {
                self.history.note(|record| record.counts.refreshed += 1);
                session.access.extend(next.access);
                self.keep(Session { refresh: next.refresh, ..session });
            }
            Some(Err(error)) => panic!("an issued and unused refresh token was refused: {error}"),
            // The token may be used up, so it is not sent again. The access tokens stay active.
            None => self.unknown(),
        }
    }

    async fn race_for_a_refresh_token(&mut self) {
        let Some(session) = self.some_session() else { return self.redeem().await };
        self.race(&refreshment(&session.refresh), session.access).await;
    }

    /// Sends the same request to both instances. At most one accepts it; if the other one refuses it, the family is revoked.
    async fn race(&mut self, form: &str, others: Vec<String>) {
        let (one, other) =
            tokio::join!(self.client.token(0, Sender::App, form), self.client.token(1, Sender::App, form));
        assert!(!matches!((&one, &other), (Some(Ok(_)), Some(Ok(_)))), "both instances accepted {form}");
        let refused = [&one, &other].iter().any(|answer| matches!(answer, Some(Err(_))));
        let given = [one, other].into_iter().flatten().filter_map(Result::ok).flat_map(|session| session.access);
        let family: Vec<String> = given.chain(others).collect();
        self.history.note(|record| {
            record.counts.raced += 1;
            for token in family {
                record.active.remove(&token);
                // A refused request was the second one, so the family is revoked. Without a refusal the outcome is unknown.
                if refused {
                    record.inactive.insert(token);
                }
            }
        });
    }

    async fn own_token(&mut self) {
        let resource = ["https://api.test", "https://jwt.test"][usize::from(self.random.below(2) == 0)];
        let form = encode(&[("grant_type", "client_credentials"), ("resource", resource)]);
        let instance = self.instance();
        match self.client.token(instance, Sender::Job, &form).await {
            Some(Ok(session)) => self.history.note(|record| {
                record.counts.own += 1;
                record.active.extend(session.access);
            }),
            Some(Err(error)) => panic!("client_credentials was refused: {error}"),
            None => self.unknown(),
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

/// Sends forms to one of the instances. Returns `None` without a response, and for 503. An unexpected response is a failure.
struct Client {
    http: reqwest::Client,
    bases: [String; 2],
}

impl Client {
    fn new(bases: [String; 2]) -> Self {
        let http = reqwest::Client::builder().redirect(Policy::none()).no_proxy().timeout(Duration::from_secs(10));
        Self { http: http.build().unwrap(), bases }
    }

    async fn code(&self, instance: usize) -> Option<String> {
        let query = encode(&[
            ("response_type", "code"),
            ("client_id", "app"),
            ("redirect_uri", CALLBACK),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]);
        let answer = self.http.get(format!("{}/authorize?{query}", self.bases[instance])).send().await.ok()?;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let location = answer.headers()[header::LOCATION].to_str().unwrap();
        let (_, query) = location.split_once('?').unwrap();
        let mut members: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert!(members.get("error").is_none_or(|error| error == "server_error"), "{location}");
        members.remove("code")
    }

    async fn token(&self, instance: usize, sender: Sender, form: &str) -> Option<Result<Session, String>> {
        let (status, body) = self.post(instance, "token", sender, form).await?;
        if status == StatusCode::OK {
            let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            return Some(Ok(Session { access: vec![text("access_token")], refresh: text("refresh_token") }));
        }
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(body["error"], "invalid_grant", "{body}");
        Some(Err(body.to_string()))
    }

    async fn revoke(&self, instance: usize, token: &str) -> bool {
        let form = encode(&[("token", token), ("client_id", "app")]);
        self.post(instance, "revoke", Sender::App, &form).await.is_some_and(|(status, body)| {
            assert_eq!(status, StatusCode::OK, "{body}");
            true
        })
    }

    async fn is_active(&self, instance: usize, token: &str) -> Option<bool> {
        let (status, body) = self.post(instance, "introspect", Sender::Job, &encode(&[("token", token)])).await?;
        assert_eq!(status, StatusCode::OK, "{body}");
        Some(body["active"].as_bool().unwrap())
    }

    async fn post(&self, instance: usize, path: &str, sender: Sender, form: &str) -> Option<(StatusCode, Value)> {
        let mut request = self.http.post(format!("{}/{path}", self.bases[instance])).header(header::CONTENT_TYPE, FORM);
        if let Sender::Job = sender {
            request = request.header(header::AUTHORIZATION, basic("job", "job-secret"));
        }
        let answer = request.body(form.to_owned()).send().await.ok()?;
        let status = answer.status();
        let body = answer.bytes().await.ok()?;
        (status != StatusCode::SERVICE_UNAVAILABLE).then(|| (status, serde_json::from_slice(&body).unwrap()))
    }
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
