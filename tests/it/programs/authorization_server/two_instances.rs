//! Two instances of the program with one store are one server, also after they are killed and started again.

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::Value;

use super::{
    Folder, ODD_CLIENTS, Server, VERIFIER,
    endpoints::access_token,
    form::{Form, PAGE},
};
use crate::{servers, support::Answer};

#[cfg(feature = "redis")]
#[tokio::test]
async fn on_redis() {
    let Some(redis) = servers::redis::RedisServer::start("two instances of authorization_server") else { return };
    are_one_server(&redis.url()).await;
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn on_postgres() {
    // A server of its own, because the program uses the default schema.
    let Some(postgres) = servers::postgres::Server::start() else { return };
    are_one_server(&postgres.url()).await;
}

const AN_API: (&str, &str) = ("an api", "hush api");

async fn are_one_server(store: &str) {
    let folder = Folder::with_clients(ODD_CLIENTS);
    let settings = [("ISSUER", "https://as.test"), ("STORE", store)];
    let start = || Server::of_odd_clients(&folder, &settings);
    // Each creates a key, and both use one of the two.
    let (Some(mut first), Some(mut second)) = tokio::join!(start(), start()) else { return };
    for server in [&first, &second] {
        assert!(server.log().contains("authorization server at https://as.test (ES256, store: "), "{}", server.log());
    }
    assert_eq!(first.get("/jwks.json").await.body, second.get("/jwks.json").await.body);
    let keys = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let keys: Vec<_> = keys.filter(|name| name.starts_with("clients.json.")).collect();
    assert_eq!(keys, ["clients.json.es256.pem"], "a temporary file is left beside the key");
    let mode = fs::metadata(folder.0.join(&keys[0])).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "other users may read the key");

    // The form of the first instance is posted to the second, and the code of the second is redeemed at the first.
    let (form, _) = Form::open(&first, PAGE).await;
    let location = form.redirects(&second).await;
    let query = location.split_once('?').unwrap().1;
    let code = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code").unwrap().1.into_owned();
    let answer = redeem(&first, &code).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let token = access_token(&answer);
    let refresh = serde_json::from_str::<Value>(&answer.body).unwrap()["refresh_token"].as_str().unwrap().to_owned();
    assert!(second.introspects(AN_API, &token).await.contains(r#""active":true,"#));

    // After a restart, issued tokens are valid and used codes are refused.
    first.0.kill().await;
    second.0.kill().await;
    let server = start().await.unwrap();
    assert!(server.introspects(AN_API, &token).await.contains(r#""active":true,"#));
    let form = [("grant_type", "refresh_token"), ("client_id", "web"), ("refresh_token", &refresh)];
    let answer = server.post("/token", &[], &form).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let answer = redeem(&server, &code).await;
    assert!(answer.status == 400 && answer.body.starts_with(r#"{"error":"invalid_grant","#), "{answer:?}");
    assert_eq!(server.introspects(AN_API, &token).await, r#"{"active":false}"#);
    for server in [&first, &second, &server] {
        assert!(!server.log().contains("hush"), "{}", server.log());
    }
    server.stop("TERM").await;
}

async fn redeem(server: &Server, code: &str) -> Answer {
    let (grant, client) = (("grant_type", "authorization_code"), ("client_id", "web"));
    let form = [grant, client, ("code", code), ("redirect_uri", "http://127.0.0.1:9/cb"), ("code_verifier", VERIFIER)];
    server.post("/token", &[], &form).await
}
