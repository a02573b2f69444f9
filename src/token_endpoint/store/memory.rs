use super::*;
#[derive(Clone, Default)]
pub struct MemoryStore;
impl MemoryStore {
    pub fn new() -> Self {
        Self
    }
    pub fn builder() -> MemoryStoreBuilder {
        MemoryStoreBuilder
    }
}
#[derive(Debug)]
pub struct MemoryStoreBuilder;
impl Store for MemoryStore {
    async fn add_code(&self, _: &AddCode) -> Result<Written, StoreError> {
        todo!()
    }
    async fn find_code(&self, _: &FindCode) -> Result<Option<FoundCode>, StoreError> {
        todo!()
    }
    async fn redeem(&self, _: &Redeem) -> Result<Redeemed, StoreError> {
        todo!()
    }
    async fn find_session(&self, _: &FindSession) -> Result<Option<FoundSession>, StoreError> {
        todo!()
    }
    async fn refresh(&self, _: &Refresh) -> Result<Refreshed, StoreError> {
        todo!()
    }
    async fn issue(&self, _: &Issue) -> Result<Issued, StoreError> {
        todo!()
    }
    async fn find_access(&self, _: &FindAccess) -> Result<Option<FoundAccess>, StoreError> {
        todo!()
    }
    async fn revoke_access(&self, _: &RevokeAccess) -> Result<Written, StoreError> {
        todo!()
    }
    async fn end_session(&self, _: &EndSession) -> Result<Written, StoreError> {
        todo!()
    }
    async fn list_sessions(&self, _: &ListSessions) -> Result<Vec<ListedSession>, StoreError> {
        todo!()
    }
    async fn insert_seen(&self, _: &InsertSeen) -> Result<Issued, StoreError> {
        todo!()
    }
    async fn publish_key(&self, _: &PublishKey) -> Result<KeyPublished, StoreError> {
        todo!()
    }
    async fn withdraw_key(&self, _: &WithdrawKey) -> Result<Written, StoreError> {
        todo!()
    }
    async fn list_keys(&self, _: &ListKeys) -> Result<Vec<PublishedKey>, StoreError> {
        todo!()
    }
    async fn check(&self) -> Result<(), StoreError> {
        todo!()
    }
}
