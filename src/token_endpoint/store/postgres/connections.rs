//! Connections to PostgreSQL.
//!
//! *In*: a call and its deadline. *Out*: its rows in time, or an error in time.
//!
//! A call that was sent runs to its end in a task of its own. Until then it keeps its place among the connections, also if the
//! request is dropped. So the server never has more than the maximum of connections of this instance.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use sqlx::{
    ConnectOptions as _, Connection as _, Error, Executor as _, PgConnection, Row as _,
    postgres::{PgConnectOptions, PgDatabaseError, PgRow, PgSeverity},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout_at,
};

use super::{
    call::{FunctionCall, Protocol},
    clock::ServerClock,
    queues::{Owner, Queues, Turn},
    schema::Schema,
};
use crate::{sync::lock, token_endpoint::store::StoreError};

#[derive(Clone)]
pub(super) struct Connections {
    shared: Arc<Shared>,
    queues: Queues,
}

struct Shared {
    options: PgConnectOptions,
    schema: Schema,
    protocol: Protocol,
    timeout: Duration,
    places: Arc<Semaphore>,
    /// Connections that no call uses. Those that were used last are last.
    idle: Mutex<Vec<Idle>>,
    clock: ServerClock,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

/// What a call holds until its end.
struct ConnectionPlace {
    _turn: Option<Turn>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(
        options: PgConnectOptions,
        schema: Schema,
        protocol: Protocol,
        max: u32,
        timeout: Duration,
    ) -> Self {
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let (idle, clock) = (Mutex::new(Vec::new()), ServerClock::new());
        let places = Arc::new(Semaphore::new(max));
        let shared = Shared { options, schema, protocol, timeout, places, idle, clock };
        Self { shared: Arc::new(shared), queues: Queues::default() }
    }

    /// Returns the rows of a call that changes nothing. It waits no longer than the timeout.
    pub(super) async fn read(&self, call: FunctionCall) -> Result<Vec<PgRow>, StoreError> {
        let deadline = later(Instant::now(), self.shared.timeout);
        let rows = self.execute(call, None, deadline, deadline).await?;
        rows.ok_or_else(|| StoreError::not_executed("PostgreSQL did not reply in time"))
    }

    /// Returns the row of a call that writes; `None` if the deadline passed before it was sent. It waits for the answer until
    /// the timeout after the deadline. Calls with the same owner are sent one after the other.
    pub(super) async fn write(
        &self,
        call: FunctionCall,
        owner: Option<Owner>,
        deadline: Instant,
    ) -> Result<Option<PgRow>, StoreError> {
        let limit = later(deadline, self.shared.timeout);
        Ok(match self.execute(call, owner, deadline, limit).await? {
            Some(rows) => Some(rows.into_iter().next().ok_or_else(|| StoreError::new(UNEXPECTED))?),
            None => None,
        })
    }

    /// Closes the connections that were idle for long.
    pub(super) fn close_idle(&self) {
        lock(&self.shared.idle).retain(|idle| idle.since.elapsed() < IDLE_TIMEOUT);
    }

    /// Executes a call that must be sent before the deadline; `None` if it was not. Waits until the limit.
    async fn execute(
        &self,
        call: FunctionCall,
        owner: Option<Owner>,
        deadline: Instant,
        limit: Instant,
    ) -> Result<Option<Vec<PgRow>>, StoreError> {
        if Instant::now() >= deadline {
            return Ok(None);
        }
        let Ok(place) = timeout_at(deadline.into(), self.place(owner)).await else { return Ok(None) };
        let begun = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&self.shared);
        let mut task = tokio::spawn(shared.run(call, place?, deadline, Arc::clone(&begun)));
        let ended = |_| StoreError::new("the call to PostgreSQL ended early");
        match timeout_at(deadline.into(), &mut task).await {
            Ok(done) => done.map_err(ended)?,
            // From now on the task does not send it.
            Err(_) if !begun.swap(true, Ordering::SeqCst) => Ok(None),
            Err(_) => match timeout_at(limit.into(), task).await {
                Ok(done) => done.map_err(ended)?,
                Err(elapsed) => Err(StoreError::new("PostgreSQL did not reply in time").with_source(elapsed)),
            },
        }
    }

    async fn place(&self, owner: Option<Owner>) -> Result<ConnectionPlace, StoreError> {
        let turn = match owner {
            Some(owner) => Some(self.queues.turn(owner).await),
            None => None,
        };
        let permit = Arc::clone(&self.shared.places).acquire_owned().await;
        let permit = permit.map_err(|error| StoreError::not_executed("the store is closed").with_source(error))?;
        Ok(ConnectionPlace { _turn: turn, _permit: permit })
    }
}

impl Shared {
    /// Sends a call, unless it is too late, and waits for its end.
    async fn run(
        self: Arc<Self>,
        call: FunctionCall,
        place: ConnectionPlace,
        deadline: Instant,
        begun: Arc<AtomicBool>,
    ) -> Result<Option<Vec<PgRow>>, StoreError> {
        let _place = place;
        // The server ends a statement after its `statement_timeout`. Only a server that hangs does not reply before this.
        let limit = later(deadline, self.timeout.saturating_mul(2));
        let unsent = |error| StoreError::not_executed("no connection to PostgreSQL").with_source(error);
        // A connection that comes too late is for the next call. If it were dropped, the server could still be busy with it.
        let Ok(connected) = timeout_at(limit.into(), self.connection()).await else { return Ok(None) };
        let mut connection = connected.map_err(unsent)?;
        if Instant::now() >= deadline || begun.swap(true, Ordering::SeqCst) {
            self.add_idle(connection);
            return Ok(None);
        }
        let (sent, by_server) = (Instant::now(), self.clock.at(deadline));
        let reply = call.execute(&mut connection, &self.schema, self.protocol, by_server);
        match timeout_at(limit.into(), reply).await {
            Ok(Ok(rows)) => {
                self.learn(sent, &rows);
                self.add_idle(connection);
                Ok(Some(rows))
            }
            Ok(Err(error)) if is_rolled_back(&error) => {
                // After a change of roles, the URL leads to another server.
                if error.as_database_error().is_some_and(|error| error.code().as_deref() == Some(READ_ONLY)) {
                    lock(&self.idle).clear();
                } else {
                    self.add_idle(connection);
                }
                Err(StoreError::not_executed("PostgreSQL refused a statement").with_source(error))
            }
            Ok(Err(error)) => {
                // The others were probably closed too.
                lock(&self.idle).clear();
                Err(StoreError::new("the connection to PostgreSQL failed").with_source(error))
            }
            Err(elapsed) => Err(StoreError::new("PostgreSQL did not reply in time").with_source(elapsed)),
        }
    }

    /// Returns an idle connection, or a new one.
    async fn connection(&self) -> Result<PgConnection, Error> {
        loop {
            let idle = lock(&self.idle).pop();
            let Some(Idle { mut connection, since }) = idle else { break };
            // A connection that was idle for longer may be broken.
            if since.elapsed() < UNCHECKED_FOR || connection.ping().await.is_ok() {
                return Ok(connection);
            }
        }
        let mut connection = self.options.connect().await?;
        let sent = Instant::now();
        let text = self.schema.sql(r#"SELECT "tower_oauth".clock()"#);
        let rows = connection.fetch_all(sqlx::raw_sql(&text)).await?;
        self.learn(sent, &rows);
        Ok(connection)
    }

    fn add_idle(&self, connection: PgConnection) {
        lock(&self.idle).push(Idle { connection, since: Instant::now() });
    }

    fn learn(&self, sent: Instant, rows: &[PgRow]) {
        if let Some(clock) = rows.first().and_then(|row| row.try_get("clock").ok()) {
            self.clock.learn(sent, Instant::now(), clock);
        }
    }
}

/// Returns whether the server has ended the transaction without effect, and the connection can be used further. A fatal error may
/// come after the commit, and the errors of a pooler are fatal.
fn is_rolled_back(error: &Error) -> bool {
    let Error::Database(error) = error else { return false };
    error.try_downcast_ref::<PgDatabaseError>().is_some_and(|error| matches!(error.severity(), PgSeverity::Error))
}

fn later(moment: Instant, duration: Duration) -> Instant {
    moment.checked_add(duration).unwrap_or(moment)
}

pub(super) const UNEXPECTED: &str = "PostgreSQL sent an unexpected reply";
/// A connection that was idle for a shorter time isn't pinged before its use.
const UNCHECKED_FOR: Duration = Duration::from_secs(1);
/// SQLSTATE: the server is a replica now.
const READ_ONLY: &str = "25006";
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
