//! Compares the whole endpoint with a simple model, for random sequences of requests: two instances with one store, clients of
//! three kinds, users, thieves, an operator, time, and a store that fails before or after a write.
//!
//! Each response is predicted. A client repeats a request exactly if the response has `Retry-After`, and then only. A failure
//! prints the seed; `PROPTEST_RNG_SEED=<seed>` repeats it. `MODEL_CASES` is the number of sequences; default: 16 in each test.

mod clients;
mod expected;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod on_servers;
mod operator;
mod trial;

use std::env;

use proptest::prelude::*;
use tokio::runtime::Builder;
use tower_oauth::token_endpoint::{MemoryStore, Store};

use self::{
    expected::{CLIENTS, Failure, SCOPES},
    trial::Trial,
};
use super::stores::faulty_store::Fault;
use crate::random::check;

/// Users that approve.
const USERS: [&str; 2] = ["ada", "bob"];

#[derive(Debug, Clone)]
enum Step {
    Approve {
        client: usize,
        user: usize,
        scopes: usize,
        failure: Failure,
    },
    /// A user approves, and the client redeems the code at once.
    LogIn {
        client: usize,
        user: usize,
    },
    /// A client redeems the code of a session that it has not redeemed yet.
    Redeem {
        at: u8,
        failure: Failure,
    },
    /// Another party, or the client against the rules, redeems any code.
    MisuseCode {
        at: u8,
        sender: usize,
        verified: bool,
        failure: Failure,
    },
    /// A client refreshes, and repeats as long as it is told to.
    Refresh {
        at: u8,
        scope: usize,
        failures: Vec<Failure>,
    },
    /// A thief sends a refresh token of this age, or one that never existed.
    Steal {
        at: u8,
        age: Option<u8>,
        sender: Option<usize>,
        failure: Failure,
    },
    Own {
        failure: Failure,
    },
    RevokeAccess {
        at: u8,
        sender: Option<usize>,
        failure: Failure,
    },
    RevokeRefresh {
        at: u8,
        age: u8,
        sender: Option<usize>,
        failure: Failure,
    },
    EndSession {
        at: u8,
        failure: Failure,
    },
    EndSubject {
        user: usize,
        failure: Failure,
    },
    EndClient {
        client: usize,
        failure: Failure,
    },
    Wait(u64),
    Remove(usize),
    Register {
        client: usize,
        scopes: usize,
    },
    /// The secret of a client is renewed, because it leaked or as a routine.
    Renew {
        client: usize,
        leaked: bool,
    },
}

fn any_failure() -> impl Strategy<Value = Failure> {
    prop_oneof![
        12 => Just(Failure::None),
        1 => Just(Failure::Read),
        4 => prop::sample::select(Fault::ALL.as_slice()).prop_map(Failure::Write),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![18 => any_request(), 6 => any_misuse(), 7 => any_change()]
}

fn any_request() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    prop_oneof![
        4 => (client(), 0..USERS.len(), 0..SCOPES.len(), any_failure())
            .prop_map(|(client, user, scopes, failure)| Step::Approve { client, user, scopes, failure }),
        5 => (any::<u8>(), any_failure()).prop_map(|(at, failure)| Step::Redeem { at, failure }),
        4 => (client(), 0..USERS.len()).prop_map(|(client, user)| Step::LogIn { client, user }),
        8 => (any::<u8>(), 0..8usize, prop::collection::vec(any_failure(), 1..4))
            .prop_map(|(at, scope, failures)| Step::Refresh { at, scope, failures }),
        1 => any_failure().prop_map(|failure| Step::Own { failure }),
    ]
}

fn any_misuse() -> impl Strategy<Value = Step> {
    let sender = || prop::option::weighted(0.2, 0..CLIENTS);
    prop_oneof![
        1 => (any::<u8>(), 0..CLIENTS, prop::bool::weighted(0.7), any_failure())
            .prop_map(|(at, sender, verified, failure)| Step::MisuseCode { at, sender, verified, failure }),
        3 => (any::<u8>(), prop::option::weighted(0.9, 0..4u8), sender(), any_failure())
            .prop_map(|(at, age, sender, failure)| Step::Steal { at, age, sender, failure }),
    ]
}

fn any_change() -> impl Strategy<Value = Step> {
    let client = || 0..CLIENTS;
    let sender = || prop::option::weighted(0.3, 0..CLIENTS);
    prop_oneof![
        6 => prop::sample::select(vec![1, 30, 59, 60, 600, 900, 86_400, 13 * 86_400]).prop_map(Step::Wait),
        3 => (any::<u8>(), sender(), any_failure())
            .prop_map(|(at, sender, failure)| Step::RevokeAccess { at, sender, failure }),
        1 => (any::<u8>(), 0..3u8, sender(), any_failure())
            .prop_map(|(at, age, sender, failure)| Step::RevokeRefresh { at, age, sender, failure }),
        2 => (any::<u8>(), any_failure()).prop_map(|(at, failure)| Step::EndSession { at, failure }),
        1 => (0..USERS.len(), any_failure()).prop_map(|(user, failure)| Step::EndSubject { user, failure }),
        1 => (client(), any_failure()).prop_map(|(client, failure)| Step::EndClient { client, failure }),
        1 => client().prop_map(Step::Remove),
        3 => (client(), 0..SCOPES.len()).prop_map(|(client, scopes)| Step::Register { client, scopes }),
        1 => (1..CLIENTS, any::<bool>()).prop_map(|(client, leaked)| Step::Renew { client, leaked }),
    ]
}

/// Runs sequences of at least 300 steps with this store. Each sequence has an issuer of its own.
pub(crate) fn agrees_with_the_model<S: Store + Clone>(cases: u32, rotates_all: bool, connect: impl AsyncFnOnce() -> S) {
    let cases = env::var("MODEL_CASES").map_or(cases, |cases| cases.parse().unwrap());
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(connect());
    check(cases, prop::collection::vec(any_step(), 300..400), |steps| {
        runtime.block_on(async {
            let mut trial = Trial::new(store.clone(), rotates_all);
            for step in &steps {
                trial.take(step).await;
            }
            trial.finish().await;
        });
        Ok(())
    });
}

/// Session 15 (design, accepts)
/// Threats T10, T12, T18, T20, T21, T27
#[test]
fn each_response_is_the_one_that_a_simple_model_predicts() {
    agrees_with_the_model(16, false, async || MemoryStore::new());
}

/// Session 15 (design, refuses)
#[test]
fn each_response_is_predicted_if_the_refresh_tokens_of_all_clients_rotate() {
    agrees_with_the_model(16, true, async || MemoryStore::new());
}
