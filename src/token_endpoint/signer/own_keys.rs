//! Chooses the key that signs among the keys of this instance, and which of them must be published.
//!
//! *In*: the keys, and what the store has answered about each. *Out*: the key that signs at a time, and the ones to publish.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    MAX_LIFETIME,
    signing_keys::{KeyStart, OwnKey, SigningKeys},
};
use crate::token_endpoint::store::Timestamp;

/// The keys of this instance that were not withdrawn, the oldest first.
#[derive(Clone)]
pub(super) struct OwnKeys {
    keys: Vec<OwnKeyState>,
    prepublication: Duration,
}

#[derive(Clone)]
struct OwnKeyState {
    key: Arc<OwnKey>,
    /// Orders the keys by age. Of equal ones, the later in the list is newer.
    rank: SystemTime,
    /// `None` before the first publication.
    publication: Option<KeyPublication>,
}

/// What is known of a key in the store.
#[derive(Clone, Copy)]
struct KeyPublication {
    /// When it was published first.
    since: Timestamp,
    /// From when on the key may sign.
    start: SystemTime,
    renewed_at: Timestamp,
    until: Timestamp,
}

impl OwnKeys {
    pub(super) fn new(keys: SigningKeys, prepublication: Duration) -> Self {
        let mut own = Self { keys: Vec::new(), prepublication };
        keys.keys.into_iter().for_each(|key| own.add(key));
        own
    }

    pub(super) fn add(&mut self, key: Arc<OwnKey>) {
        self.keys.push(OwnKeyState { rank: key.start.rank(), key, publication: None });
    }

    /// Removes a key that was withdrawn.
    pub(super) fn remove(&mut self, id: &str) {
        self.keys.retain(|own| own.key.id != id);
    }

    /// Removes the keys whose last token has expired.
    pub(super) fn remove_obsolete(&mut self, now: SystemTime) {
        let kept = self.in_use(now).cloned().collect();
        self.keys = kept;
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|own| own.key.id == id)
    }

    /// Returns the key that signs at this time, if its publication lasts until its tokens expire.
    pub(super) fn signing(&self, now: SystemTime) -> Option<&OwnKey> {
        let (_, own) = self.intended(now)?;
        let end = Timestamp::from(now).saturating_add(MAX_LIFETIME);
        let lasts = |publication: KeyPublication| publication.until >= end;
        own.publication.is_some_and(lasts).then_some(&*own.key)
    }

    /// Returns the keys that an API needs: those that have signed an unexpired token, or will sign one.
    pub(super) fn public(&self, now: SystemTime) -> impl Iterator<Item = &OwnKey> {
        self.in_use(now).map(|own| &*own.key)
    }

    /// Returns a key that must be published now, or whose publication must be prolonged. `is_listed`: the store has listed the
    /// key with this id. Leaves out the keys with an id in `done`.
    pub(super) fn to_publish(
        &self,
        now: SystemTime,
        is_listed: impl Fn(&str) -> bool,
        done: &[Arc<OwnKey>],
    ) -> Option<Arc<OwnKey>> {
        let intended = self.intended(now);
        let is_due = |position: usize, own: &OwnKeyState| {
            let Some(publication) = own.publication else { return true };
            let signs = intended.is_some_and(|(signing, _)| signing == position);
            let will_sign = intended.is_none_or(|(signing, older)| (older.rank, signing) <= (own.rank, position));
            // Of a key that does not sign any more, only a loss or a withdrawal must be noticed.
            (signs || !self.is_obsolete(position, own, now))
                && (!is_listed(&own.key.id)
                    || will_sign && Timestamp::from(now).abs_diff(publication.renewed_at) >= RENEWAL.as_secs())
        };
        let rest = self.keys.iter().enumerate().filter(|(_, own)| done.iter().all(|done| done.id != own.key.id));
        rest.into_iter().find(|(position, own)| is_due(*position, own)).map(|(_, own)| Arc::clone(&own.key))
    }

    /// Returns when a publication that begins or is prolonged now must end: after the last token that the key may have signed
    /// until the next prolongation.
    pub(super) fn publication_end(&self, id: &str, now: Timestamp) -> Timestamp {
        let own = self.keys.iter().find(|own| own.key.id == id);
        let publication = own.and_then(|own| own.publication);
        let has_begun = publication.is_some_and(|publication| publication.start <= now.into());
        let wait = if has_begun { Duration::ZERO } else { self.prepublication };
        now.saturating_add(wait).saturating_add(MAX_LIFETIME).saturating_add(MARGIN)
    }

    /// Notes that the store has published a key. Returns whether this is the first time.
    pub(super) fn set_published(&mut self, id: &str, since: Timestamp, until: Timestamp, now: Timestamp) -> bool {
        let prepublication = self.prepublication;
        let mut newest = SystemTime::UNIX_EPOCH;
        for own in &mut self.keys {
            if own.key.id == id {
                // A store that has lost the key reports a later time. The key goes on signing.
                let since = own.publication.map_or(since, |known| known.since.min(since));
                let published: SystemTime = since.into();
                let published = published.checked_add(prepublication).unwrap_or(published);
                let start = match own.key.start {
                    KeyStart::Oldest => published,
                    KeyStart::WhenPublished => published.max(newest),
                    KeyStart::At(from) => from,
                };
                if own.key.start == KeyStart::WhenPublished {
                    own.rank = start;
                }
                return own.publication.replace(KeyPublication { since, start, renewed_at: now, until }).is_none();
            }
            if own.key.start == KeyStart::WhenPublished {
                newest = newest.max(own.rank);
            }
        }
        false
    }

    /// Returns from when on the key signs: now, if it is the one that signs.
    pub(super) fn start(&self, id: &str, now: SystemTime) -> Option<SystemTime> {
        let signs = self.intended(now).is_some_and(|(_, own)| own.key.id == id);
        let own = self.keys.iter().find(|own| own.key.id == id)?;
        if signs { Some(now) } else { own.publication.map(|publication| publication.start) }
    }

    /// Returns the key that should sign at this time, and its position.
    fn intended(&self, now: SystemTime) -> Option<(usize, &OwnKeyState)> {
        let published =
            || self.keys.iter().enumerate().filter_map(|(at, own)| own.publication.map(|known| (at, own, known)));
        let due = published().filter(|(_, _, known)| known.start <= now).max_by_key(|(_, own, _)| own.rank);
        let signing = due.or_else(|| published().min_by_key(|(_, _, known)| known.since));
        signing.map(|(position, own, _)| (position, own))
    }

    fn in_use(&self, now: SystemTime) -> impl Iterator<Item = &OwnKeyState> {
        let keys = self.keys.iter().enumerate();
        keys.filter(move |(position, own)| !self.is_obsolete(*position, own, now)).map(|(_, own)| own)
    }

    /// Returns whether a newer key signs for so long that every token of this one has expired.
    fn is_obsolete(&self, position: usize, own: &OwnKeyState, now: SystemTime) -> bool {
        let ended = |known: KeyPublication| known.start.checked_add(MAX_LIFETIME).is_some_and(|end| end <= now);
        let newer = |other: (usize, &OwnKeyState)| (own.rank, position) < (other.1.rank, other.0);
        own.publication.is_some()
            && self.keys.iter().enumerate().any(|other| newer(other) && other.1.publication.is_some_and(ended))
    }
}

/// The publication of a key that signs is prolonged after this time.
const RENEWAL: Duration = Duration::from_secs(3600);
/// For how much longer than a token's lifetime a key is published: while it can't be prolonged, it signs for this time.
const MARGIN: Duration = Duration::from_secs(2 * 3600);
