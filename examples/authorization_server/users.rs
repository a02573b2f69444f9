//! The users, and a limit for failed logins.
//!
//! A production host stores slow, salted hashes of passwords. These passwords are from the environment, to try the program.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tower_oauth::token_endpoint::{Client, TokenHash};

use crate::mistakes::Mistakes;

pub(crate) struct Users {
    /// The hashes of name and password.
    users: Vec<(TokenHash, TokenHash)>,
    attempts: Attempts,
}

/// Why a login is refused.
pub(crate) enum LoginError {
    /// The response does not reveal which of the two is wrong.
    WrongNameOrPassword,
    /// With the time until the next attempt is possible.
    TooManyAttempts(Duration),
}

impl Users {
    /// Reads `name:password` pairs, separated by commas. A password may contain colons. Neither part can contain a comma.
    pub(crate) fn read(text: &str, clients: &[Client], mistakes: &mut Mistakes) -> Self {
        let mut names: Vec<&str> = Vec::new();
        let mut users = Vec::new();
        for (index, entry) in text.split(',').enumerate().filter(|_| !text.is_empty()) {
            let position = format!("USERS[{index}]");
            let Some((name, password)) = entry.split_once(':') else {
                mistakes.add(&position, "it has no colon: it must be name:password, and neither can contain a comma");
                continue;
            };
            if name.is_empty() || name.trim() != name {
                mistakes.add(&position, "the name is empty, or there is space around it");
            } else if names.contains(&name) {
                mistakes.add(&position, format_args!("{name:?} occurs twice"));
            } else if clients.iter().any(|client| client.id() == name) {
                // RFC 9700 §4.15.1: an API could mistake the user's tokens for those of the client.
                mistakes.add(&position, format_args!("{name:?} is also the id of a client"));
            }
            if password.is_empty() {
                mistakes.add(&position, "the password is empty");
            }
            names.push(name);
            users.push((TokenHash::of(name), TokenHash::of(password)));
        }
        Self { users, attempts: Attempts::new() }
    }

    /// Checks name and password. An unknown name takes the same time as a known one.
    pub(crate) fn log_in(&self, name: &str, password: &str) -> Result<(), LoginError> {
        let (name_hash, password_hash) = (TokenHash::of(name), TokenHash::of(password));
        let same = |user: &&(TokenHash, TokenHash)| user.0.matches(&name_hash) & user.1.matches(&password_hash);
        let is_right = self.users.iter().filter(same).count() == 1;
        self.attempts.count(name, is_right, Instant::now()).map_err(LoginError::TooManyAttempts)?;
        if is_right { Ok(()) } else { Err(LoginError::WrongNameOrPassword) }
    }
}

/// Allows ten failures per minute for each name. After that the right password is refused too, so that guessing cannot go on.
///
/// Names share a fixed number of slots, by a hash with a random key. Therefore the memory is bounded, and unknown names are
/// treated like known ones. The cost: a client that sends thousands of names delays the logins of all users.
struct Attempts {
    /// The time at which each slot has all its attempts again.
    full_at: Mutex<Vec<Option<Instant>>>,
    hash: RandomState,
}

impl Attempts {
    fn new() -> Self {
        Self { full_at: Mutex::new(vec![None; SLOTS]), hash: RandomState::new() }
    }

    /// Counts one attempt. Returns the time to wait if there were too many.
    fn count(&self, name: &str, is_right: bool, now: Instant) -> Result<(), Duration> {
        let mut slots = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = usize::try_from(self.hash.hash_one(name) % SLOTS as u64).unwrap_or_default();
        let Some(full_at) = slots.get_mut(slot) else { return Ok(()) };
        let after = full_at.map_or(now, |at| at.max(now)) + WINDOW / FAILURES;
        let limit = now + WINDOW;
        if after > limit {
            return Err(after.saturating_duration_since(limit));
        }
        if !is_right {
            *full_at = Some(after);
        }
        Ok(())
    }
}

const FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
const SLOTS: usize = 4096;
