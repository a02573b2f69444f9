//! The page for login and consent, and the health check.

use super::{AUTHORIZE, CALLBACK, Folder, Server, http};

#[tokio::test]
async fn a_request_that_forbids_a_page_gets_login_required() {
    let folder = Folder::new();
    let Some(server) = Server::start(&folder, &[]).await else { return };
    let response = http().get(server.url(&format!("{AUTHORIZE}&prompt=none"))).send().await.unwrap();
    assert_eq!(response.status(), 303);
    let location = response.headers()["location"].to_str().unwrap();
    assert!(location.starts_with(&format!("{CALLBACK}?")) && location.contains("error=login_required"), "{location}");
}

#[tokio::test]
async fn the_name_that_the_client_expects_is_filled_in_and_escaped() {
    let folder = Folder::new();
    let Some(server) = Server::start(&folder, &[]).await else { return };
    let hint = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E";
    let response = http().get(server.url(&format!("{AUTHORIZE}&login_hint={hint}"))).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let page = response.text().await.unwrap();
    assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\""), "{page}");
    assert!(!page.contains("<script"), "{page}");
}

#[tokio::test]
async fn the_server_is_healthy_while_its_store_answers() {
    let folder = Folder::new();
    let Some(server) = Server::start(&folder, &[]).await else { return };
    assert_eq!(server.status("/healthz").await, 200);
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn the_server_is_not_healthy_while_its_store_is_down() {
    let folder = Folder::new();
    let Some(mut redis) = crate::servers::redis::RedisServer::start("the health check") else { return };
    let Some(server) = Server::start(&folder, &[("STORE", &redis.url())]).await else { return };
    assert_eq!(server.status("/healthz").await, 200);
    redis.kill();
    assert_eq!(server.status("/healthz").await, 503);
    assert_eq!(server.status("/jwks.json").await, 200);
}
