//! The connection to Redis: replaced when it fails.
//!
//! *In*: a call of a script. *Out*: its reply in time, or an error in time.
//!
//! A call is sent again only if a server has said that it did not execute it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ::redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, cmd};
use tokio::time::{sleep, timeout_at};

use super::{
    super::StoreError,
    clocks::Clocks,
    script::{Limit, Reply, ScriptCall},
};
use crate::redis_link::{self, Link, Node, SharedLink, Target};

/// How many replicas must have a write before it is answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replicas {
    pub(super) count: u32,
    pub(super) timeout: Duration,
}

/// The connections that all clones share.
pub(super) struct Connection {
    link: Arc<SharedLink>,
    /// For writes that wait for replicas: Redis executes nothing else of their connection meanwhile.
    waiting: Arc<SharedLink>,
    clocks: Clocks,
    timeout: Duration,
    replicas: Option<Replicas>,
}

impl Connection {
    pub(super) fn new(target: &Target, timeout: Duration, replicas: Option<Replicas>) -> Result<Self, RedisError> {
        let link = SharedLink::new(target.clone(), timeout)?;
        let waiting = if replicas.is_some() { SharedLink::new(target.clone(), timeout)? } else { Arc::clone(&link) };
        Ok(Self { link, waiting, clocks: Clocks::new(), timeout, replicas })
    }

    /// Runs a script, until it was executed or its time is over.
    pub(super) async fn run(&self, call: &ScriptCall) -> Result<Reply, StoreError> {
        let end = self.end(call);
        let (mut pause, mut node, mut is_repeated) = (FIRST_PAUSE, None, false);
        loop {
            if call.deadline().is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(Reply::late());
            }
            let sent = Instant::now();
            match self.send(call, end, node.take()).await {
                Ok(reply) => {
                    self.clocks.learn(call.slot, sent, Instant::now(), reply.server_time);
                    // The server's clock was set, or another server executes the call now. Nothing was done, so the call is
                    // sent again with what was learned.
                    if is_repeated || !reply.is("late") {
                        return Ok(reply);
                    }
                    is_repeated = true;
                }
                Err(Failure::Asked(other)) => node = Some(other),
                Err(Failure::Passing(error)) => {
                    if Instant::now() + pause >= call.deadline().unwrap_or(end) {
                        return Err(error);
                    }
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(Failure::Final(error)) => return Err(error),
            }
        }
    }

    /// Returns a moment as time of the server that has the slot, in milliseconds.
    pub(super) fn server_time(&self, slot: u16, moment: Instant) -> Option<i64> {
        self.clocks.server_time(slot, moment)
    }

    /// Until when the reply is waited for.
    fn end(&self, call: &ScriptCall) -> Instant {
        match call.limit {
            Limit::Read => Instant::now() + self.timeout,
            Limit::Write(deadline) => deadline.max(Instant::now()) + self.timeout,
            Limit::FollowUp => Instant::now() + self.timeout * 2,
        }
    }

    async fn send(&self, call: &ScriptCall, end: Instant, node: Option<Node>) -> Result<Reply, Failure> {
        let shared = if self.replicas.is_some() && !call.is_read() { &self.waiting } else { &self.link };
        let link = shared.get();
        let mut reply = Box::pin(self.execute(&link, call, node));
        let soon = (Instant::now() + self.timeout).min(end);
        let reply = if let Ok(reply) = timeout_at(soon.into(), &mut reply).await {
            reply
        } else {
            // Later calls get a new connection. This one may still be executed.
            shared.replace(&link, call.slot, || call.by_hash(None));
            let late = |_| Failure::Final(StoreError::new("Redis did not reply in time"));
            timeout_at(end.into(), reply).await.map_err(late)?
        };
        reply.map_err(|problem| match problem {
            Unanswered::Redis(error) => {
                if !redis_link::recovers(&error) {
                    shared.replace(&link, call.slot, || call.by_hash(None));
                }
                Failure::new(error, call.is_read(), matches!(*link, Link::Cluster(_)))
            }
            Unanswered::Store(error) => Failure::Final(error),
        })
    }

    async fn execute(&self, link: &Link, call: &ScriptCall, node: Option<Node>) -> Result<Reply, Unanswered> {
        let deadline = call.deadline().and_then(|deadline| self.clocks.server_time(call.slot, deadline));
        let mut replies = self.transmit(link, call, call.by_hash(deadline), node.as_ref()).await;
        if let Err(error) = &replies
            && error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
        {
            replies = self.transmit(link, call, call.by_text(deadline), node.as_ref()).await;
        }
        let (reply, acknowledged) = replies.map_err(Unanswered::Redis)?;
        let reply = Reply::parse(reply).map_err(Unanswered::Store)?;
        match (self.replicas.filter(|_| !call.is_read()), acknowledged) {
            (Some(replicas), Some(Value::Int(count))) if count < i64::from(replicas.count) && !reply.is("late") => {
                Err(Unanswered::Store(StoreError::new("too few replicas of Redis have acknowledged a write in time")))
            }
            (Some(_), acknowledged) if !matches!(acknowledged, Some(Value::Int(_))) => {
                Err(Unanswered::Store(StoreError::new("Redis has not waited for its replicas")))
            }
            _ => Ok(reply),
        }
    }

    /// Sends the command. Returns its reply, and that of `WAIT` on the same connection.
    async fn transmit(
        &self,
        link: &Link,
        call: &ScriptCall,
        command: Cmd,
        node: Option<&Node>,
    ) -> Result<(Value, Option<Value>), RedisError> {
        let replicas = self.replicas.filter(|_| !call.is_read());
        if replicas.is_none() && node.is_none() {
            return Ok((link.command(command, call.slot).await?, None));
        }
        let mut pipeline = Pipeline::new();
        if node.is_some() {
            pipeline.add_command(cmd("ASKING"));
        }
        pipeline.add_command(command);
        if let Some(replicas) = replicas {
            let milliseconds = u64::try_from(replicas.timeout.as_millis()).unwrap_or(u64::MAX).max(1);
            pipeline.add_command(cmd("WAIT").arg(replicas.count).arg(milliseconds).to_owned());
        }
        let mut replies = link.pipeline(pipeline, call.slot, node).await?.into_iter();
        if node.is_some() {
            replies.next();
        }
        let reply = replies.next().unwrap_or(Value::Nil).extract_error()?;
        Ok((reply, replies.next()))
    }

    /// Checks that all masters of a cluster reply.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        let failed = || StoreError::new("a node of the Redis cluster does not reply");
        let link = self.link.get();
        if let Link::Server(_) = *link {
            return Ok(());
        }
        let replies = timeout_at((Instant::now() + self.timeout).into(), link.ask_masters(cmd("PING")));
        let replies = replies.await.map_err(|_| failed())?.map_err(|error| failed().with_source(error))?;
        if replies.iter().any(|(_, reply)| matches!(reply, Value::ServerError(_))) { Err(failed()) } else { Ok(()) }
    }
}

enum Unanswered {
    Redis(RedisError),
    Store(StoreError),
}

/// Why a call has no reply, and what to do.
enum Failure {
    /// It was not executed. That node has the key already.
    Asked(Node),
    /// It was not executed, and that may change soon.
    Passing(StoreError),
    Final(StoreError),
}

impl Failure {
    fn new(error: RedisError, is_read: bool, is_cluster: bool) -> Self {
        if let Some(node) = redis_link::asked(&error) {
            return Self::Asked(node);
        }
        // Another node may have the slot soon, and a read may be repeated.
        let repeats = error.kind() == ErrorKind::Io && is_read && is_cluster;
        let passes = repeats || redis_link::passes(&error, is_cluster);
        let is_certain = passes || was_refused(&error);
        let what = "Redis failed";
        let store_error = if is_certain { StoreError::not_executed(what) } else { StoreError::new(what) };
        let store_error = store_error.with_source(error);
        if passes { Self::Passing(store_error) } else { Self::Final(store_error) }
    }
}

/// True if the server has refused the command, or no connection was made.
fn was_refused(error: &RedisError) -> bool {
    match error.kind() {
        ErrorKind::Server(kind) => matches!(
            kind,
            ServerErrorKind::NoScript
                | ServerErrorKind::NoPerm
                | ServerErrorKind::ReadOnly
                | ServerErrorKind::CrossSlot
        ),
        ErrorKind::Io => error.is_connection_refusal(),
        ErrorKind::AuthenticationFailed => true,
        ErrorKind::Extension => {
            matches!(error.code(), Some("OOM" | "NOAUTH" | "WRONGPASS" | "MISCONF" | "NOREPLICAS"))
        }
        _ => false,
    }
}

/// Between two attempts of a call that was not executed.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
