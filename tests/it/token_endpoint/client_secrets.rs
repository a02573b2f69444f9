//! Secrets of clients: hashes for a database, two at a time, and what a new one invalidates.

use tower_oauth::{
    error::ConfigMistake,
    token_endpoint::{Client, ClientBuilder, ClientCredential, ClientRegistry as _, ClientSecret, Clients},
};

use super::{Answer, CB, World, basic, confidential, machine, may_have_tokens};

const CC: (&str, &str) = ("grant_type", "client_credentials");

async fn token(world: &World, id: &str, secret: &str) -> Answer {
    world.post("/token", &basic(id, secret), &[CC]).await
}

fn find(clients: &Clients, id: &str) -> Option<std::sync::Arc<Client>> {
    futures_util::FutureExt::now_or_never(clients.find(id)).unwrap().unwrap()
}

/// Threat T34
#[tokio::test]
async fn a_secret_is_stored_and_read_again_as_a_hash() {
    let world = World::new();
    let (generated, text) = ClientSecret::generate().unwrap();
    for (secret, text) in [(generated, &*text), (ClientSecret::new("given"), "given")] {
        let stored = secret.hash();
        assert!(!stored.contains(text), "{stored}");
        let read = ClientSecret::from_hash(&stored).unwrap();
        assert_eq!(read.hash(), stored);
        world.clients.insert(may_have_tokens(Client::builder("stored", read)).build().unwrap());
        token(&world, "stored", text).await.is_ok();
        token(&world, "stored", &stored).await.is_error(401, "invalid_client");
        assert_eq!(find(&world.clients, "stored").unwrap().secret().unwrap().hash(), stored);
    }
}

/// Threat T34
#[test]
fn a_text_that_is_no_hash_is_refused_and_not_quoted() {
    let stored = ClientSecret::new("given").hash();
    for bad in ["", "my-secret", "sha256:", "sha256-generated:", "md5:AAAA", &stored[1..], &stored[..stored.len() - 1]]
    {
        let error = ClientSecret::from_hash(bad).unwrap_err();
        assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
    }
    assert!(ClientSecret::from_hash(&format!("{stored}A")).is_err());
    assert!(ClientSecret::from_hash(&format!("{stored} ")).is_err());
    let empty = ClientSecret::from_hash(&ClientSecret::new("").hash()).unwrap();
    assert!(Client::builder("a", empty).build().is_err(), "an empty secret, also as a hash");
}

/// Threat T35
#[tokio::test]
async fn two_secrets_are_valid_while_one_replaces_the_other() {
    let world = World::new();
    let new = world.clients.add_secret("reports").unwrap();
    let other = world.access_token("others", &[]).await;
    token(&world, "reports", &new).await.is_ok();
    token(&world, "reports", "reports-secret").await.is_ok();
    token(&world, "reports", "wrong").await.is_error(401, "invalid_client");
    assert!(world.clients.add_secret("reports").unwrap_err().to_string().contains("two secrets"));
    token(&world, "reports", "reports-secret").await.is_ok();
    world.clients.remove_old_secret("reports").unwrap();
    world.clients.remove_old_secret("reports").unwrap();
    token(&world, "reports", &new).await.is_ok();
    token(&world, "reports", "reports-secret").await.is_error(401, "invalid_client");
    assert!(world.is_active(&other).await);

    // The same by configuration.
    let two = machine("reports").previous_secret(ClientSecret::new("old"));
    world.clients.insert(two.build().unwrap());
    for secret in ["reports-secret", "old"] {
        token(&world, "reports", secret).await.is_ok();
    }
    // A renewal leaves neither of them.
    let renewed = world.clients.renew_secret("reports").unwrap();
    for secret in ["reports-secret", "old"] {
        token(&world, "reports", secret).await.is_error(401, "invalid_client");
    }
    token(&world, "reports", &renewed).await.is_ok();
    assert_eq!(renewed.len(), 43, "32 bytes");
    assert_ne!(renewed, world.clients.renew_secret("reports").unwrap());
    for id in ["unknown", "app", "signs"] {
        assert!(world.clients.renew_secret(id).is_err(), "{id}");
        assert!(world.clients.add_secret(id).is_err(), "{id}");
        assert!(world.clients.remove_old_secret(id).is_err(), "{id}");
        assert!(world.clients.replace_leaked_secret(id).is_err(), "{id}");
    }
}

/// Returns a code, a refresh token and an access token of `web`.
async fn session(world: &World) -> [String; 3] {
    let ask = [("client_id", "web"), ("redirect_uri", CB)];
    let answer = world.redeem(&world.code(&ask).await, &[&ask[..], &[("client_secret", "web-secret")]].concat()).await;
    let text = |member| answer.text(member).to_owned();
    [world.code(&ask).await, text("refresh_token"), text("access_token")]
}

fn web(id: &str) -> ClientBuilder {
    super::with_users(confidential(id)).redirect_uri(CB)
}

/// Threat T35
#[tokio::test]
async fn a_new_secret_ends_no_code_session_or_token() {
    let world = World::with_users();
    for renew in [Clients::renew_secret, Clients::add_secret] {
        world.clients.insert(web("web").build().unwrap());
        let [code, refresh, access] = session(&world).await;
        let secret = renew(&world.clients, "web").unwrap();
        let proof = [("client_id", "web"), ("client_secret", &*secret)];
        assert!(world.is_active(&access).await);
        world.refresh(&refresh, &proof).await.is_ok();
        world.redeem(&code, &[&proof[..], &[("redirect_uri", CB)]].concat()).await.is_ok();
    }
}

/// Threat T34
#[tokio::test]
async fn a_leaked_secret_ends_every_code_session_and_token() {
    let world = World::with_users();
    world.clients.insert(web("web").build().unwrap());
    let old = world.clients.add_secret("web").unwrap();
    let [code, refresh, access] = session(&world).await;
    let opaque = world.access_token("reports", &[("resource", super::OPAQUE)]).await;
    let secret = world.clients.replace_leaked_secret("web").unwrap();
    let proof = [("client_id", "web"), ("client_secret", &*secret)];
    assert!(!world.is_active(&access).await && world.is_active(&opaque).await);
    world.refresh(&refresh, &proof).await.is_error(400, "invalid_grant");
    world.redeem(&code, &[&proof[..], &[("redirect_uri", CB)]].concat()).await.is_error(400, "invalid_grant");
    for old in ["web-secret", &old] {
        world.refresh(&refresh, &[proof[0], ("client_secret", old)]).await.is_error(401, "invalid_client");
    }
    // What is issued from now on is valid, until a restart with another generation.
    assert_eq!(find(&world.clients, "web").unwrap().generation(), 1);
    let ask = [("client_id", "web"), ("redirect_uri", CB)];
    let redeemed = world.redeem(&world.code(&ask).await, &[&proof[..], &[("redirect_uri", CB)]].concat()).await;
    let access = redeemed.text("access_token");
    for (generation, is_active) in [(1, true), (0, false), (2, false), (1, true)] {
        world.clients.insert(web("web").credential_generation(generation).build().unwrap());
        assert_eq!(world.is_active(access).await, is_active, "{generation}");
    }
    world.clients.replace_leaked_secret("reports").unwrap();
    assert!(!world.is_active(&opaque).await);
}

/// Threat T20
#[test]
fn a_client_that_is_removed_while_its_secret_is_renewed_stays_removed() {
    let clients = World::new().clients;
    let start = std::sync::Barrier::new(2);
    let mut met = 0;
    for _ in 0..3000 {
        clients.insert(machine("brief").build().unwrap());
        std::thread::scope(|scope| {
            let renewing = scope.spawn(|| {
                start.wait();
                clients.renew_secret("brief").is_ok()
            });
            start.wait();
            clients.remove("brief");
            met += u32::from(renewing.join().unwrap());
        });
        assert!(find(&clients, "brief").is_none(), "it was renewed before it was removed, or not at all");
    }
    assert!(met > 0 && find(&clients, "reports").is_some(), "the race took place");
}

#[test]
fn mistakes_of_secrets_are_reported() {
    let settings = |client: ClientBuilder| {
        let error = client.build().unwrap_err();
        error.mistakes().iter().map(ConfigMistake::setting).collect::<Vec<_>>()
    };
    let empty = || ClientSecret::new("");
    assert_eq!(settings(confidential("a").previous_secret(empty())), ["client_secret"]);
    let public = Client::builder("a", ClientCredential::None).previous_secret(ClientSecret::new("old"));
    assert_eq!(settings(public), ["previous_secret"]);
    assert_eq!(settings(confidential("a").credential_generation(1 << 30)), ["credential_generation"]);
    assert!(confidential("a").credential_generation((1 << 30) - 1).build().is_ok());
    assert_eq!(settings(confidential(&"x".repeat(1025))), ["client_id"]);
    assert!(confidential(&"x".repeat(1024)).build().is_ok());
}
