//! The clients of issuers.
//!
//! *In*: records of clients. *Out*: those that are stored now.

use sqlx::postgres::PgRow;

use super::{
    PostgresStore,
    call::FunctionCall,
    connections::UNEXPECTED,
    rows::{column, record},
};
use crate::token_endpoint::store::{
    ClientSaved, ClientStore, FindClient, ListClients, Record, RemoveClient, SaveClient, StoreError,
};

impl ClientStore for PostgresStore {
    async fn find_client(&self, request: &FindClient) -> Result<Option<Record>, StoreError> {
        let call = FunctionCall::new("find_client").hash(request.issuer).hash(request.client);
        let rows = self.0.connections.read(call).await?;
        rows.first().map(|row| record(row, 0)).transpose()
    }

    async fn save_client(&self, request: &SaveClient) -> Result<ClientSaved, StoreError> {
        let call = FunctionCall::new("save_client")
            .hash(request.issuer)
            .hash(request.client)
            .bytes(request.record.as_str().as_bytes())
            .bytes_or_null(bytes(request.expected.as_ref()))
            .deadline();
        saved(self.0.connections.write(call, Some(*request.client.as_bytes()), request.deadline).await?)
    }

    async fn remove_client(&self, request: &RemoveClient) -> Result<ClientSaved, StoreError> {
        let call = FunctionCall::new("remove_client")
            .hash(request.issuer)
            .hash(request.client)
            .bytes_or_null(bytes(request.expected.as_ref()))
            .deadline();
        saved(self.0.connections.write(call, Some(*request.client.as_bytes()), request.deadline).await?)
    }

    async fn list_clients(&self, request: &ListClients) -> Result<Vec<Record>, StoreError> {
        let after = request.after.as_ref().map_or(&[][..], |after| after.as_bytes());
        let limit = u64::try_from(request.limit.max(1)).unwrap_or(u64::MAX);
        let call = FunctionCall::new("list_clients").hash(request.issuer).bytes(after).number(limit);
        self.0.connections.read(call).await?.iter().map(|row| record(row, 0)).collect()
    }
}

fn bytes(record: Option<&Record>) -> Option<&[u8]> {
    record.map(|record| record.as_str().as_bytes())
}

fn saved(row: Option<PgRow>) -> Result<ClientSaved, StoreError> {
    let Some(row) = row else { return Ok(ClientSaved::Late) };
    match column(&row, 0)? {
        "done" => Ok(ClientSaved::Done),
        "conflict" => Ok(ClientSaved::Conflict),
        "late" => Ok(ClientSaved::Late),
        _ => Err(StoreError::new(UNEXPECTED)),
    }
}
