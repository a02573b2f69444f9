//! Who may log in, and how often one may guess.
//!
//! A real host keeps slow hashes of passwords, with a salt for each. These are from the environment, for trying.

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

/// Why somebody is not let in.
pub(crate) enum Refused {
    /// Which of name and password it is, nobody is told.
    Wrong,
    /// For so long.
    TooOften(Duration),
}

impl Users {
    /// `name:password`, with commas between them. The first colon separates, so a password may have colons; a comma can be
    /// in neither. Every other character counts.
    pub(crate) fn read(text: &str, clients: &[Client], wrong: &mut Mistakes) -> Self {
        let mut names: Vec<&str> = Vec::new();
        let mut users = Vec::new();
        for (index, entry) in text.split(',').enumerate().filter(|_| !text.is_empty()) {
            let place = format!("USERS[{index}]");
            let Some((name, password)) = entry.split_once(':') else {
                wrong.add(&place, "it has no colon: it is name:password, and neither of them can have a comma");
                continue;
            };
            if name.is_empty() || name.trim() != name {
                wrong.add(&place, "the name is empty, or there is space around it");
            } else if names.contains(&name) {
                wrong.add(&place, format_args!("{name:?} stands there twice"));
            } else if clients.iter().any(|client| client.id() == name) {
                // RFC 9700 §4.15.1: its tokens could be taken for those of the client.
                wrong.add(&place, format_args!("{name:?} is the id of a client too"));
            }
            if password.is_empty() {
                wrong.add(&place, "the password is empty");
            }
            names.push(name);
            users.push((TokenHash::of(name), TokenHash::of(password)));
        }
        Self { users, attempts: Attempts::new() }
    }

    /// Whether this is one of the users. It takes as long for a name that nobody has.
    pub(crate) fn judge(&self, name: &str, password: &str) -> Result<(), Refused> {
        let (own_name, own_password) = (TokenHash::of(name), TokenHash::of(password));
        let same = |user: &&(TokenHash, TokenHash)| user.0.matches(&own_name) & user.1.matches(&own_password);
        let right = self.users.iter().filter(same).count() == 1;
        self.attempts.judge(name, right, Instant::now()).map_err(Refused::TooOften)?;
        if right { Ok(()) } else { Err(Refused::Wrong) }
    }
}

/// Ten failures in a minute for each name. Then its right password is refused too, or guessing would go on.
///
/// Names share a fixed number of places, by a hash that is another one in each process: it stays small whatever is sent, and
/// names that nobody has are treated like all others. Who sends thousands of names holds off everybody.
struct Attempts {
    /// When each place has all its attempts again.
    paid_off: Mutex<Vec<Option<Instant>>>,
    hash: RandomState,
}

impl Attempts {
    fn new() -> Self {
        Self { paid_off: Mutex::new(vec![None; PLACES]), hash: RandomState::new() }
    }

    /// Counts one attempt; the error is how long to wait.
    fn judge(&self, name: &str, right: bool, now: Instant) -> Result<(), Duration> {
        let mut places = self.paid_off.lock().unwrap_or_else(PoisonError::into_inner);
        let place = usize::try_from(self.hash.hash_one(name) % PLACES as u64).unwrap_or_default();
        let Some(paid_off) = places.get_mut(place) else { return Ok(()) };
        let after = paid_off.map_or(now, |at| at.max(now)) + WINDOW / FAILURES;
        let limit = now + WINDOW;
        if after > limit {
            return Err(after.saturating_duration_since(limit));
        }
        if !right {
            *paid_off = Some(after);
        }
        Ok(())
    }
}

const FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
const PLACES: usize = 4096;
