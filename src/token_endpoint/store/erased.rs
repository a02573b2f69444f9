//! [`Store`] as a trait object.

use std::pin::Pin;

use super::{
    AddCode, EndSession, FindAccess, FindCode, FindSession, FoundAccess, FoundCode, FoundSession, InsertSeen, Issue,
    Issued, KeyPublished, ListKeys, ListSessions, ListedSession, PublishKey, PublishedKey, Redeem, Redeemed, Refresh,
    Refreshed, RevokeAccess, Store, StoreError, WithdrawKey, Written,
};

/// The future of an operation of [`ErasedStore`].
pub(crate) type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Defines `ErasedStore`: [`Store`] as a trait object.
macro_rules! erased {
    ($($name:ident($($argument:ident: $type:ty)?) -> $result:ty;)+) => {
        pub(crate) trait ErasedStore: Send + Sync {
            $(fn $name<'a>(&'a self, $($argument: &'a $type)?) -> StoreFuture<'a, $result>;)+
        }

        impl<S: Store> ErasedStore for S {
            $(fn $name<'a>(&'a self, $($argument: &'a $type)?) -> StoreFuture<'a, $result> {
                Box::pin(Store::$name(self, $($argument)?))
            })+
        }
    };
}

erased! {
    add_code(request: AddCode) -> Written;
    find_code(request: FindCode) -> Option<FoundCode>;
    redeem(request: Redeem) -> Redeemed;
    find_session(request: FindSession) -> Option<FoundSession>;
    refresh(request: Refresh) -> Refreshed;
    issue(request: Issue) -> Issued;
    find_access(request: FindAccess) -> Option<FoundAccess>;
    revoke_access(request: RevokeAccess) -> Written;
    end_session(request: EndSession) -> Written;
    list_sessions(request: ListSessions) -> Vec<ListedSession>;
    insert_seen(request: InsertSeen) -> Issued;
    publish_key(request: PublishKey) -> KeyPublished;
    withdraw_key(request: WithdrawKey) -> Written;
    list_keys(request: ListKeys) -> Vec<PublishedKey>;
    check() -> ();
}
