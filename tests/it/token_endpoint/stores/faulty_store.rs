//! A store that fails when a test says so, and that can change the records that it returns.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_oauth::token_endpoint::{
    AddCode, EndSession, FindAccess, FindCode, FindSession, FoundAccess, FoundCode, FoundSession, InsertSeen, Issue,
    Issued, KeyPublished, ListKeys, ListSessions, ListedSession, PublishKey, PublishedKey, Record, Redeem, Redeemed,
    Refresh, Refreshed, RevokeAccess, Store, StoreError, WithdrawKey, Written,
};

/// How a write fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The operation is executed, and its answer is lost.
    Lost,
    /// The operation is not executed, and the store does not know that.
    Unsent,
    /// The operation is not executed, and the store knows that.
    NotExecuted,
    /// The store gets to the operation after its deadline.
    Late,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Lost, Self::Unsent, Self::NotExecuted, Self::Late];

    /// Whether the endpoint can't know if the operation was executed.
    pub(crate) fn is_unknown(self) -> bool {
        matches!(self, Self::Lost | Self::Unsent)
    }
}

pub(crate) type Rewrite = dyn Fn(&str) -> String + Send + Sync;

#[derive(Default)]
struct Plan {
    next_write: Option<Fault>,
    /// How many writes are executed before that one.
    writes_before: usize,
    next_read_fails: bool,
    is_down: bool,
    delay: Option<Duration>,
    rewrite: Option<Arc<Rewrite>>,
}

/// Clones share the store and the plan.
#[derive(Clone)]
pub(crate) struct FaultyStore<S> {
    inner: S,
    plan: Arc<Mutex<Plan>>,
}

impl<S> fmt::Debug for FaultyStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").finish_non_exhaustive()
    }
}

impl<S> FaultyStore<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self { inner, plan: Arc::default() }
    }

    pub(crate) fn fail_next_write(&self, fault: Fault) {
        self.plan.lock().unwrap().next_write = Some(fault);
    }

    /// Lets the write after `before` others fail.
    pub(crate) fn fail_write_after(&self, before: usize, fault: Fault) {
        let mut plan = self.plan.lock().unwrap();
        (plan.next_write, plan.writes_before) = (Some(fault), before);
    }

    pub(crate) fn fail_next_read(&self) {
        self.plan.lock().unwrap().next_read_fails = true;
    }

    /// Forgets a failure that was planned and has not happened. Returns whether there was one.
    pub(crate) fn clear(&self) -> bool {
        let mut plan = self.plan.lock().unwrap();
        plan.next_write.take().is_some() | std::mem::take(&mut plan.next_read_fails)
    }

    /// Lets each write wait for this time.
    pub(crate) fn delay(&self, time: Duration) {
        self.plan.lock().unwrap().delay = Some(time);
    }

    pub(crate) fn set_down(&self, is_down: bool) {
        self.plan.lock().unwrap().is_down = is_down;
    }

    /// Changes each record that is returned from now on.
    pub(crate) fn rewrite(&self, rewrite: impl Fn(&str) -> String + Send + Sync + 'static) {
        self.plan.lock().unwrap().rewrite = Some(Arc::new(rewrite));
    }

    pub(crate) fn rewrite_nothing(&self) {
        self.plan.lock().unwrap().rewrite = None;
    }

    async fn wait(&self) {
        let delay = self.plan.lock().unwrap().delay;
        if let Some(delay) = delay {
            tokio::time::sleep(delay).await;
        }
    }

    fn write_fault(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        if plan.is_down {
            return Some(Fault::NotExecuted);
        }
        if plan.writes_before > 0 {
            plan.writes_before -= 1;
            return None;
        }
        plan.next_write.take()
    }

    fn check_read(&self) -> Result<(), StoreError> {
        self.check_up()?;
        if std::mem::take(&mut self.plan.lock().unwrap().next_read_fails) {
            return Err(StoreError::not_executed("the test lets a read fail"));
        }
        Ok(())
    }

    fn check_up(&self) -> Result<(), StoreError> {
        if self.plan.lock().unwrap().is_down {
            return Err(StoreError::not_executed("the test has turned the store off"));
        }
        Ok(())
    }

    fn changed(&self, record: &Record) -> Record {
        let rewrite = self.plan.lock().unwrap().rewrite.clone();
        rewrite.map_or_else(|| record.clone(), |rewrite| Record::from(rewrite(record.as_str())))
    }
}

macro_rules! writes {
    ($($name:ident($request:ty) -> $answer:ty;)+) => {$(
        async fn $name(&self, request: &$request) -> Result<$answer, StoreError> {
            self.wait().await;
            match self.write_fault() {
                None => self.inner.$name(request).await,
                Some(Fault::Late) => Ok(<$answer>::Late),
                Some(Fault::NotExecuted) => Err(StoreError::not_executed("the test lets a write fail")),
                Some(Fault::Unsent) => Err(StoreError::new("the test loses a request")),
                Some(Fault::Lost) => {
                    self.inner.$name(request).await?;
                    Err(StoreError::new("the test loses an answer"))
                }
            }
        }
    )+};
}

impl<S: Store> Store for FaultyStore<S> {
    writes! {
        add_code(AddCode) -> Written;
        redeem(Redeem) -> Redeemed;
        refresh(Refresh) -> Refreshed;
        issue(Issue) -> Issued;
        revoke_access(RevokeAccess) -> Written;
        end_session(EndSession) -> Written;
        insert_seen(InsertSeen) -> Issued;
    }

    // Instances publish keys at any time, so only requests of clients meet a planned failure.
    async fn publish_key(&self, request: &PublishKey) -> Result<KeyPublished, StoreError> {
        self.check_up()?;
        self.inner.publish_key(request).await
    }

    async fn withdraw_key(&self, request: &WithdrawKey) -> Result<Written, StoreError> {
        self.check_up()?;
        self.inner.withdraw_key(request).await
    }

    async fn find_code(&self, request: &FindCode) -> Result<Option<FoundCode>, StoreError> {
        self.check_read()?;
        let found = self.inner.find_code(request).await?;
        Ok(found.map(|found| FoundCode { record: self.changed(&found.record), ..found }))
    }

    async fn find_session(&self, request: &FindSession) -> Result<Option<FoundSession>, StoreError> {
        self.check_read()?;
        let found = self.inner.find_session(request).await?;
        Ok(found.map(|found| FoundSession { record: self.changed(&found.record), ..found }))
    }

    async fn find_access(&self, request: &FindAccess) -> Result<Option<FoundAccess>, StoreError> {
        self.check_read()?;
        let found = self.inner.find_access(request).await?;
        Ok(found.map(|found| FoundAccess {
            record: self.changed(&found.record),
            session: found.session.map(|record| self.changed(&record)),
        }))
    }

    async fn list_sessions(&self, request: &ListSessions) -> Result<Vec<ListedSession>, StoreError> {
        self.check_read()?;
        let listed = self.inner.list_sessions(request).await?;
        let change = |listed: ListedSession| ListedSession { record: self.changed(&listed.record), ..listed };
        Ok(listed.into_iter().map(change).collect())
    }

    async fn list_keys(&self, request: &ListKeys) -> Result<Vec<PublishedKey>, StoreError> {
        self.check_up()?;
        self.inner.list_keys(request).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.check_read()?;
        self.inner.check().await
    }
}
