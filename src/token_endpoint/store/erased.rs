//! [`Store`] as a trait object.

use std::{
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    AddCode, EndSession, FindAccess, FindCode, FindSession, FoundAccess, FoundCode, FoundSession, InsertSeen, Issue,
    Issued, KeyPublished, ListKeys, ListSessions, ListedSession, PublishKey, PublishedKey, Redeem, Redeemed, Refresh,
    Refreshed, RevokeAccess, Store, StoreError, WithdrawKey, Written,
};
use crate::{
    log,
    token_endpoint::events::{Event, EventKind, Observers},
};

/// The future of an operation of [`ErasedStore`].
pub(crate) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Defines `ErasedStore`: [`Store`] as a trait object; and `WatchedStore`, with the same operations.
macro_rules! erased {
    ($($limit:ident $name:ident($($argument:ident: $type:ty)?) -> $result:ty;)+) => {
        #[expect(clippy::elidable_lifetime_names, reason = "one operation has no request")]
        pub(crate) trait ErasedStore: Send + Sync {
            $(fn $name<'a>(&'a self, $($argument: &'a $type)?) -> StoreFuture<'a, $result>;)+
        }

        #[expect(clippy::elidable_lifetime_names, reason = "one operation has no request")]
        impl<S: Store> ErasedStore for S {
            $(fn $name<'a>(&'a self, $($argument: &'a $type)?) -> StoreFuture<'a, $result> {
                Box::pin(Store::$name(self, $($argument)?))
            })+
        }

        impl WatchedStore {
            $(pub(crate) async fn $name(&self, $($argument: &$type)?) -> Result<$result, StoreError> {
                self.watch(stringify!($name), $limit, self.store.$name($($argument)?)).await
            })+
        }
    };
}

erased! {
    WRITE add_code(request: AddCode) -> Written;
    READ find_code(request: FindCode) -> Option<FoundCode>;
    WRITE redeem(request: Redeem) -> Redeemed;
    READ find_session(request: FindSession) -> Option<FoundSession>;
    WRITE refresh(request: Refresh) -> Refreshed;
    WRITE issue(request: Issue) -> Issued;
    READ find_access(request: FindAccess) -> Option<FoundAccess>;
    WRITE revoke_access(request: RevokeAccess) -> Written;
    WRITE end_session(request: EndSession) -> Written;
    READ list_sessions(request: ListSessions) -> Vec<ListedSession>;
    WRITE insert_seen(request: InsertSeen) -> Issued;
    WRITE publish_key(request: PublishKey) -> KeyPublished;
    WRITE withdraw_key(request: WithdrawKey) -> Written;
    READ list_keys(request: ListKeys) -> Vec<PublishedKey>;
    READ check() -> ();
}

/// A store whose operations end in time, and are measured.
pub(crate) struct WatchedStore {
    store: Box<dyn ErasedStore>,
    observers: Arc<Observers>,
}

impl WatchedStore {
    pub(crate) fn new(store: Box<dyn ErasedStore>, observers: Arc<Observers>) -> Self {
        Self { store, observers }
    }

    async fn watch<T>(
        &self,
        operation: &'static str,
        limit: Duration,
        future: StoreFuture<'_, T>,
    ) -> Result<T, StoreError> {
        let begin = Instant::now();
        let result = tokio::select! {
            biased;
            result = future => result,
            // In a block, so that no timer is created for a store that responds at once.
            () = async { tokio::time::sleep(limit).await } => Err(StoreError::new("the store did not answer in time")),
        };
        let time = begin.elapsed();
        log::store_operation(operation, if result.is_ok() { "ok" } else { "error" }, time);
        let kind = match &result {
            Err(_) => EventKind::StoreFailed,
            Ok(_) if time > SLOW => EventKind::StoreSlow,
            Ok(_) => return result,
        };
        self.observers.emit(&Event { reason: Some(operation), ..Event::new(kind) });
        result
    }
}

/// A store has its own timeout, so these limits matter only for one that does not. A write has more time than its deadline
/// allows: a client whose write has an unknown outcome may lose its session.
const READ: Duration = Duration::from_secs(3);
const WRITE: Duration = Duration::from_secs(5);
/// An operation that needs more time is reported.
const SLOW: Duration = Duration::from_millis(500);
