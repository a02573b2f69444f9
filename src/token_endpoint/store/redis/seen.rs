//! Values that are accepted once, such as the `jti` of an assertion (RFC 7523 §3).
//!
//! *In*: a value and a write that depends on it. *Out*: the answer of the write, or that the value is known.
//!
//! The value has a shard of its own and the write belongs to a session, so they may be on two nodes. The value is stored first, for this
//! request only; when the write is done, for good. While the request may be executed, the same request waits for its outcome.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    super::{Issued, Redeemed, Refreshed, Seen, StoreError, Timestamp},
    RedisStore,
    keys::{EntryKind, Tag},
    script::{self, Limit},
    unreadable,
};

/// The answer to a write that may depend on a value.
pub(super) trait Answer: Copy {
    const SEEN: Self;
    const LATE: Self;

    /// Whether the write was executed, so that the value must not be accepted again.
    fn is_done(self) -> bool;
}

impl Answer for Redeemed {
    const SEEN: Self = Self::Seen;
    const LATE: Self = Self::Late;

    fn is_done(self) -> bool {
        self == Self::Done
    }
}

impl Answer for Refreshed {
    const SEEN: Self = Self::Seen;
    const LATE: Self = Self::Late;

    fn is_done(self) -> bool {
        matches!(self, Self::Done | Self::Again { .. })
    }
}

impl Answer for Issued {
    const SEEN: Self = Self::Seen;
    const LATE: Self = Self::Late;

    fn is_done(self) -> bool {
        self == Self::Done
    }
}

impl RedisStore {
    /// Runs a write, if the value is new.
    pub(super) async fn with_seen<A: Answer, F: Future<Output = Result<A, StoreError>>>(
        &self,
        seen: Option<&Seen>,
        now: Timestamp,
        deadline: Instant,
        run: impl FnOnce() -> F,
    ) -> Result<A, StoreError> {
        let Some(seen) = seen else { return run().await };
        let tag = Tag::of(&seen.shard);
        // Until then the write may be executed: the clocks of two nodes may differ a little.
        let until = deadline + DIFFERENCE_OF_CLOCKS;
        let until = self.inner.connection.server_time(tag.slot(), until).map(|time| time.to_string());
        let until = until.unwrap_or_else(|| "0".to_owned());
        match self.begin(seen, &until, now, deadline).await? {
            Begun::New => {}
            Begun::Known => return Ok(A::SEEN),
            Begun::Late => return Ok(A::LATE),
        }
        let outcome = run().await;
        let is_done = match &outcome {
            Ok(answer) => answer.is_done(),
            // The same request may be accepted once more.
            Err(error) if error.may_be_executed() => return outcome,
            Err(_) => false,
        };
        let call = self.call(&script::FINISH_SEEN, tag, now, Limit::FollowUp).key(EntryKind::Seen(seen.key));
        let call = call.arg(seen.attempt.as_bytes()).time(seen.expires_at).arg(until).number(u8::from(is_done));
        let finished = self.run(call).await;
        if is_done {
            finished?;
        }
        outcome
    }

    /// Stores a value for good.
    pub(super) async fn store_seen(
        &self,
        seen: &Seen,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Issued, StoreError> {
        Ok(match self.begin(seen, "", now, deadline).await? {
            Begun::New => Issued::Done,
            Begun::Known => Issued::Seen,
            Begun::Late => Issued::Late,
        })
    }

    async fn begin(&self, seen: &Seen, until: &str, now: Timestamp, deadline: Instant) -> Result<Begun, StoreError> {
        loop {
            let call = self.call(&script::BEGIN_SEEN, Tag::of(&seen.shard), now, Limit::Write(deadline));
            let call = call.key(EntryKind::Seen(seen.key)).arg(seen.attempt.as_bytes()).time(seen.expires_at);
            match self.run(call.arg(until)).await?.parts().as_slice() {
                [b"done"] => return Ok(Begun::New),
                [b"seen"] => return Ok(Begun::Known),
                [b"late"] => return Ok(Begun::Late),
                [b"busy"] => sleep(PAUSE).await,
                _ => return Err(unreadable()),
            }
        }
    }
}

enum Begun {
    New,
    Known,
    Late,
}

const DIFFERENCE_OF_CLOCKS: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(25);
