//! The token endpoint with a store in PostgreSQL.

use std::time::Instant;

use tower_oauth::token_endpoint::PostgresStore;

use super::super::{
    OPAQUE, World,
    resource_server::accepts_every_token,
    stores::on_servers::{issue_all_secrets, works_again, world},
    stores::postgres::{SHORT_TIMEOUT, TABLES, builder},
    usual,
};
use crate::servers::postgres::{Server, shared};

/// A store with a short timeout.
async fn with_short_timeout(server: &Server) -> PostgresStore {
    builder(server).0.max_connections(3).timeout(SHORT_TIMEOUT).connect().await.unwrap()
}

/// Returns all rows of a schema as text. Bytes are in hexadecimal.
fn dump(server: &Server, schema: &str) -> String {
    let table = |name| format!(r#"SELECT t FROM "{schema}".{name} t;"#);
    server.sql(&TABLES.map(table).concat())
}

async fn is_unavailable_in_time(world: &World) {
    let start = Instant::now();
    world.token("reports", &[]).await.is_error(503, "temporarily_unavailable");
    assert!(start.elapsed() < 10 * SHORT_TIMEOUT, "503 took {:?}", start.elapsed());
}

#[tokio::test]
async fn the_resource_server_accepts_every_token_stored_in_postgresql() {
    let Some(server) = shared() else { return };
    accepts_every_token(builder(server).0.connect().await.unwrap()).await;
}

/// Threat T8
#[tokio::test]
async fn no_code_token_or_secret_is_readable_in_postgresql() {
    let Some(server) = shared() else { return };
    let (builder, schema) = builder(server);
    let world = world(builder.connect().await.unwrap());
    let secrets = issue_all_secrets(&world).await;

    let dump = dump(server, &schema);
    let hexadecimal = |text: &str| text.bytes().map(|b| format!("{b:02x}")).collect::<Vec<_>>().concat();
    assert!(
        dump.contains(&hexadecimal("ada")) && dump.contains(&hexadecimal("reports")),
        "users and clients are readable, and the search finds them"
    );
    for secret in &secrets {
        // The last part of a JWT is its signature. Bytes are shown in hexadecimal.
        for part in [secret, secret.rsplit('.').next().unwrap()] {
            assert!(!dump.contains(part) && !dump.contains(&hexadecimal(part)), "{secret}");
        }
    }
}

#[tokio::test]
async fn while_postgresql_hangs_requests_get_503_in_time_and_later_work_again() {
    let Some(server) = Server::start() else { return };
    let world = world(with_short_timeout(&server).await);
    let token = world.access_token("reports", &[("resource", OPAQUE)]).await;
    server.hang();
    for _ in 0..5 {
        is_unavailable_in_time(&world).await;
    }
    let answer = world.post("/introspect", &usual("watch"), &[("token", &token)]).await;
    answer.is_error(503, "temporarily_unavailable");
    server.resume();
    works_again(&world).await;
    assert!(world.is_active(&token).await);
}

#[tokio::test]
async fn while_postgresql_is_down_requests_get_503_in_time_and_later_work_again() {
    let Some(server) = Server::start() else { return };
    let world = world(with_short_timeout(&server).await);
    let token = world.access_token("reports", &[("resource", OPAQUE)]).await;
    server.kill();
    for _ in 0..5 {
        is_unavailable_in_time(&world).await;
    }
    server.restart();
    works_again(&world).await;
    assert!(world.is_active(&token).await);
}
