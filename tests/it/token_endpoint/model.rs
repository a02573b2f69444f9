//! Compares the whole endpoint with a simple model of which tokens are active, for random sequences of requests by two clients,
//! which also use each other's tokens. A failure prints the seed and the shortest failing sequence; see `crate::properties`.

use std::time::Duration;

use axum::body::Body;
use proptest::prelude::*;
use tokio::runtime::{Builder, Runtime};
use tower_oauth::{
    clock::Clock as _,
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientBuilder, ClientCredential, ClientSecret, RefreshTokenGrant, TokenFormat,
    },
};

use super::{AUTHORIZE, Answer, OPAQUE, VERIFIER, World, basic};
use crate::{properties::check, support::API};

const IDS: [&str; 2] = ["confidential", "public"];
const CB: [&str; 2] = ["https://confidential.test/cb", "https://public.test/cb"];
/// The endpoint's defaults, in seconds: lifetime of access tokens and codes, idle and absolute lifetime of refresh tokens.
const ACCESS: u64 = 900;
const CODE: u64 = 60;
const IDLE: u64 = 14 * 86_400;
const ABSOLUTE: u64 = 30 * 86_400;
/// Maximum number of active tokens of the public client.
const MOST: usize = 3;

#[derive(Debug, Clone)]
enum Step {
    Approve { client: usize, scopes: usize },
    Redeem { code: u8, client: usize, verified: bool },
    Refresh { token: u8, client: usize, scope: usize },
    Own,
    Revoke { token: u8, client: usize },
    Wait(u64),
    Remove(usize),
    Register { client: usize, scopes: usize },
    Renew,
    Leak,
}

/// The scopes that a client requests and is registered for: `read`, `write`, both.
const SCOPES: [&str; 3] = ["read", "write", "read write"];

fn any_step() -> impl Strategy<Value = Step> {
    let client = || 0usize..2;
    let scopes = || 0usize..3;
    prop_oneof![
        4 => (client(), scopes()).prop_map(|(client, scopes)| Step::Approve { client, scopes }),
        6 => (any::<u8>(), client(), prop::bool::weighted(0.9))
            .prop_map(|(code, client, verified)| Step::Redeem { code, client, verified }),
        8 => (any::<u8>(), client(), 0usize..8).prop_map(|(token, client, scope)| Step::Refresh { token, client, scope }),
        1 => Just(Step::Own),
        2 => (any::<u8>(), client()).prop_map(|(token, client)| Step::Revoke { token, client }),
        4 => prop::sample::select(vec![1, 30, 59, 60, 600, 900, 86_400, 13 * 86_400]).prop_map(Step::Wait),
        1 => client().prop_map(Step::Remove),
        2 => (client(), scopes()).prop_map(|(client, scopes)| Step::Register { client, scopes }),
        1 => Just(Step::Renew),
        1 => Just(Step::Leak),
    ]
}

/// The expected state.
struct Model {
    now: u64,
    clients: [Known; 2],
    families: Vec<Family>,
    codes: Vec<Code>,
    refresh: Vec<Refresh>,
    access: Vec<Access>,
}

struct Known {
    there: bool,
    secret: String,
    generation: u32,
    scopes: usize,
}

struct Family {
    client: usize,
    /// The client's generation at the time of the approval.
    generation: u32,
    scopes: usize,
    ends: u64,
    revoked: bool,
}

struct Code {
    text: String,
    family: usize,
    used: bool,
}

struct Refresh {
    text: String,
    family: usize,
    ends: u64,
    used: bool,
}

struct Access {
    text: String,
    client: usize,
    generation: u32,
    family: Option<usize>,
    ends: u64,
    revoked: bool,
}

impl Model {
    fn family_is_active(&self, family: usize) -> bool {
        let family = &self.families[family];
        !family.revoked && self.now < family.ends
    }

    fn has_generation(&self, client: usize, generation: u32) -> bool {
        self.clients[client].there && self.clients[client].generation == generation
    }

    /// True if the token counts against the limit of its client.
    fn lives(&self, access: &Access) -> bool {
        !access.revoked && self.now < access.ends && access.family.is_none_or(|family| self.family_is_active(family))
    }

    fn is_active(&self, access: &Access) -> bool {
        self.lives(access) && self.has_generation(access.client, access.generation)
    }

    /// Returns the scopes of a family that its client is still registered for.
    fn scopes_of(&self, family: usize) -> Vec<&'static str> {
        let family = &self.families[family];
        let registered: Vec<_> = SCOPES[self.clients[family.client].scopes].split(' ').collect();
        SCOPES[family.scopes].split(' ').filter(|name| registered.contains(name)).collect()
    }

    fn add_access(&mut self, client: usize, family: Option<usize>, text: &str) {
        let ends = (self.now + ACCESS).min(family.map_or(u64::MAX, |family| self.families[family].ends));
        let generation = self.clients[client].generation;
        let counts = |access: &Access| client == 1 && access.client == 1 && self.lives(access);
        let living: Vec<_> = (0..self.access.len()).filter(|at| counts(&self.access[*at])).collect();
        for at in living.iter().take((living.len() + 1).saturating_sub(MOST)) {
            self.access[*at].revoked = true;
        }
        self.access.push(Access { text: text.to_owned(), client, generation, family, ends, revoked: false });
    }

    fn add_tokens(&mut self, family: usize, answer: &Answer) {
        self.add_access(self.families[family].client, Some(family), answer.text("access_token"));
        let ends = self.families[family].ends.min(self.now + IDLE);
        self.refresh.push(Refresh { text: answer.text("refresh_token").to_owned(), family, ends, used: false });
    }
}

fn client(which: usize, known: &Known) -> Client {
    let client: ClientBuilder = match which {
        0 => Client::builder(IDS[0], ClientSecret::new(&known.secret)),
        _ => Client::builder(IDS[1], ClientCredential::None).max_active_tokens(u32::try_from(MOST).unwrap()),
    };
    let own = if which == 0 { &["client_credentials"][..] } else { &[] };
    let (audience, format) = [(API, TokenFormat::Jwt), (OPAQUE, TokenFormat::Opaque)][which];
    client
        .grant_types([&["authorization_code", "refresh_token"], own].concat())
        .default_scopes(SCOPES[known.scopes].split(' '))
        .redirect_uri(CB[which])
        .audience(audience, format)
        .credential_generation(known.generation)
        .build()
        .unwrap()
}

/// One endpoint and its model.
struct Trial {
    world: World,
    model: Model,
}

impl Trial {
    fn new() -> Self {
        // The model has no throttle, so this limit is never reached.
        let world = World::with(|builder| {
            let builder = builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new());
            builder.max_failed_authentications(1_000_000, Duration::from_secs(60))
        });
        let known = |secret: &str| Known { there: true, secret: secret.to_owned(), generation: 0, scopes: 2 };
        let clients = [known("first secret"), known("")];
        for (which, known) in clients.iter().enumerate() {
            world.clients.insert(client(which, known));
        }
        let now = world.clock.now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let model = Model { now, clients, families: vec![], codes: vec![], refresh: vec![], access: vec![] };
        Self { world, model }
    }

    /// Posts as this client, with its current secret.
    async fn post(&self, path: &str, client: usize, form: &[(&str, &str)]) -> Answer {
        let proof = if client == 0 { basic(IDS[0], &self.model.clients[0].secret) } else { String::new() };
        let own = [("client_id", IDS[client])];
        self.world.post(path, &proof, &[&own[..], form].concat()).await
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Approve { client, scopes } => self.approve(client, scopes).await,
            Step::Redeem { code, client, verified } if !self.model.codes.is_empty() => {
                self.redeem(usize::from(code) % self.model.codes.len(), client, verified).await;
            }
            Step::Refresh { token, client, scope } if !self.model.refresh.is_empty() => {
                // Mostly one of the last tokens, which may be valid.
                let (count, back) = (self.model.refresh.len(), usize::from(token));
                let at = if back < 128 { count - 1 - back % count.min(4) } else { back % count };
                self.refresh(at, client, scope).await;
            }
            Step::Own => self.own().await,
            Step::Revoke { token, client } => self.revoke(usize::from(token), client).await,
            Step::Wait(seconds) => {
                self.world.clock.advance(Duration::from_secs(seconds));
                self.model.now += seconds;
            }
            Step::Remove(which) => {
                self.world.clients.remove(IDS[which]);
                self.model.clients[which].there = false;
            }
            Step::Register { client: which, scopes } => {
                let known = &mut self.model.clients[which];
                (known.there, known.scopes) = (true, scopes);
                self.world.clients.insert(client(which, known));
            }
            Step::Renew => {
                let renewed = self.world.clients.renew_secret(IDS[0]);
                assert_eq!(renewed.is_ok(), self.model.clients[0].there);
                if let Ok(secret) = renewed {
                    self.model.clients[0].secret = secret;
                }
            }
            Step::Leak => {
                if let Ok(secret) = self.world.clients.replace_leaked_secret(IDS[0]) {
                    let known = &mut self.model.clients[0];
                    (known.secret, known.generation) = (secret, known.generation + 1);
                }
            }
            Step::Redeem { .. } | Step::Refresh { .. } => {}
        }
    }

    async fn approve(&mut self, client: usize, scopes: usize) {
        let ask = [("client_id", IDS[client]), ("redirect_uri", CB[client]), ("scope", SCOPES[scopes])];
        let asked = self.world.ask(&ask).await;
        let known = &self.model.clients[client];
        let allowed = SCOPES[scopes].split(' ').all(|name| SCOPES[known.scopes].contains(name));
        assert_eq!(asked.is_ok(), known.there && allowed);
        let Ok(request) = asked else { return };
        let response = request.approve("ada", SCOPES[scopes].split(' ')).await.map(Body::new);
        let text = super::sent(&response).swap_remove(0).1;
        let (generation, ends) = (known.generation, self.model.now + CODE + ABSOLUTE);
        let family = self.model.families.len();
        self.model.families.push(Family { client, generation, scopes, ends, revoked: false });
        self.model.codes.push(Code { text, family, used: false });
    }

    async fn redeem(&mut self, at: usize, client: usize, verified: bool) {
        let code = &self.model.codes[at];
        let family = code.family;
        let owner = self.model.families[family].client;
        let proof = if verified { VERIFIER.to_owned() } else { VERIFIER.replace('d', "e") };
        let form = [
            ("grant_type", "authorization_code"),
            ("redirect_uri", CB[owner]),
            ("code", &code.text),
            ("code_verifier", &proof),
        ];
        let answer = self.post("/token", client, &form).await;
        if !self.model.clients[client].there {
            return answer.is_error(401, "invalid_client");
        }
        let ends = self.model.families[family].ends - ABSOLUTE;
        if client != owner || !verified || (!code.used && self.model.now >= ends) {
            return answer.is_error(400, "invalid_grant");
        }
        if code.used {
            self.model.families[family].revoked = true;
            return answer.is_error(400, "invalid_grant");
        }
        self.model.codes[at].used = true;
        let scopes = self.model.scopes_of(family);
        if !self.model.has_generation(owner, self.model.families[family].generation) {
            answer.is_error(400, "invalid_grant");
        } else if scopes.is_empty() {
            answer.is_error(400, "invalid_scope");
        } else {
            answer.is_ok();
            assert_eq!(answer.text("scope"), scopes.join(" "));
            self.model.add_tokens(family, &answer);
        }
    }

    async fn refresh(&mut self, at: usize, client: usize, scope: usize) {
        let token = &self.model.refresh[at];
        let family = token.family;
        let wanted = ["read", "write", "admin"].get(scope).copied();
        let form =
            [("grant_type", "refresh_token"), ("refresh_token", &*token.text), ("scope", wanted.unwrap_or_default())];
        let answer = self.post("/token", client, &form).await;
        if !self.model.clients[client].there {
            return answer.is_error(401, "invalid_client");
        }
        let alive = self.model.now < token.ends && self.model.family_is_active(family);
        let Family { client: owner, generation, .. } = &self.model.families[family];
        if !alive || *owner != client || !self.model.has_generation(client, *generation) {
            return answer.is_error(400, "invalid_grant");
        }
        let left = self.model.scopes_of(family);
        if left.is_empty() || wanted.is_some_and(|wanted| !left.contains(&wanted)) {
            return answer.is_error(400, "invalid_scope");
        }
        if token.used {
            self.model.families[family].revoked = true;
            return answer.is_error(400, "invalid_grant");
        }
        answer.is_ok();
        assert_eq!(answer.text("scope"), wanted.map_or_else(|| left.join(" "), str::to_owned));
        self.model.refresh[at].used = true;
        self.model.add_tokens(family, &answer);
    }

    async fn own(&mut self) {
        let answer = self.post("/token", 0, &[("grant_type", "client_credentials")]).await;
        if !self.model.clients[0].there {
            return answer.is_error(401, "invalid_client");
        }
        answer.is_ok();
        assert!(
            answer.json.get("refresh_token").is_none(),
            "client_credentials gives no refresh token, also for a client with that grant"
        );
        self.model.add_access(0, None, answer.text("access_token"));
    }

    async fn revoke(&mut self, at: usize, client: usize) {
        let Model { access, refresh, .. } = &self.model;
        let Some(at) = at.checked_rem(access.len() + refresh.len()) else { return };
        let (text, owner, lives) = if let Some(access) = access.get(at) {
            (&access.text, access.client, self.model.lives(access))
        } else {
            let token = &refresh[at - access.len()];
            // A store may have removed an expired token, or not.
            if self.model.now >= token.ends {
                return;
            }
            let owner = self.model.families[token.family].client;
            (&token.text, owner, self.model.family_is_active(token.family))
        };
        let answer = self.post("/revoke", client, &[("token", text)]).await;
        if !self.model.clients[client].there {
            return answer.is_error(401, "invalid_client");
        }
        if owner != client && lives {
            return answer.is_error(400, "invalid_grant");
        }
        answer.is_ok();
        let count = self.model.access.len();
        if owner != client {
        } else if at < count {
            self.model.access[at].revoked = true;
        } else {
            let family = self.model.refresh[at - count].family;
            self.model.families[family].revoked = true;
        }
    }

    async fn agree(&self, tokens: impl Iterator<Item = usize>) {
        for at in tokens {
            let access = &self.model.access[at];
            let active = self.world.is_active(&access.text).await;
            assert_eq!(active, self.model.is_active(access), "access token {at} of {}", IDS[access.client]);
        }
        for token in self.model.refresh.iter().rev().take(2) {
            assert!(!self.world.is_active(&token.text).await, "a refresh token is not an access token");
        }
    }
}

#[test]
fn after_any_sequence_of_requests_the_active_tokens_match_a_simple_model() {
    let runtime: Runtime = Builder::new_current_thread().build().unwrap();
    check(40, prop::collection::vec(any_step(), 1..300), |steps| {
        runtime.block_on(async {
            let mut trial = Trial::new();
            for step in &steps {
                trial.take(step).await;
                let count = trial.model.access.len();
                trial.agree(count.saturating_sub(4)..count).await;
            }
            trial.agree(0..trial.model.access.len()).await;
        });
        Ok(())
    });
}
