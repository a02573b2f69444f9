//! Clients that must use DPoP: `dpop_bound_access_tokens` (RFC 9449 §5.2).

use serde_json::{Value, json};
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    testing::ProofKey,
    token_endpoint::{
        ClientCredentialsGrant, ClientRegistry, Clients, MemoryStore, StoredClients, TokenEndpoint,
        TokenEndpointBuilder,
    },
};

use super::{
    super::{ISSUER, World, basic, machine, stores::records::OpenStore, usual},
    CC, begin, is_bound, proof, refresh, send, send_with_key, token_with, world,
};

fn bound(id: &str) -> tower_oauth::token_endpoint::Client {
    machine(id).dpop_bound_access_tokens().build().unwrap()
}

fn endpoint(clients: impl ClientRegistry) -> TokenEndpointBuilder {
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    TokenEndpoint::builder(ISSUER, key, clients).grant(ClientCredentialsGrant::new())
}

/// RFC 9449 §5.2 (MUST, refuses)
#[tokio::test]
async fn a_client_that_needs_dpop_gets_no_bearer_token() {
    let world = world();
    world.clients.insert(bound("reports"));
    send(&world, &usual("reports"), &[CC], &[]).await.is_error(400, "invalid_dpop_proof");
    let key = ProofKey::new();
    is_bound(&world, &token_with(&world, &proof(&world, &key).sign()).await, Some(&key)).await;
    is_bound(&world, &send(&world, &usual("others"), &[CC], &[]).await, None).await;
    // An unbound session from before the client was registered so.
    let first = begin(&world, None).await;
    let app = super::super::Client::builder("app", super::super::ClientCredential::None)
        .grant_types(["authorization_code", "refresh_token"])
        .redirect_uri(super::CB)
        .default_scopes(["orders:read"])
        .audience(crate::support::API, super::super::TokenFormat::Jwt)
        .dpop_bound_access_tokens();
    world.clients.insert(app.build().unwrap());
    refresh(&world, first.text("refresh_token"), None).await.is_error(400, "invalid_dpop_proof");
    is_bound(&world, &refresh(&world, first.text("refresh_token"), Some(&key)).await, Some(&key)).await;
}

#[tokio::test]
async fn a_client_that_needs_dpop_is_a_mistake_where_the_endpoint_has_none() {
    let clients = Clients::new([bound("b"), bound("a"), machine("c").build().unwrap()]).unwrap();
    let registries: [fn(Clients) -> TokenEndpointBuilder; 2] = [
        |clients| endpoint(clients),
        |clients| endpoint(StoredClients::new(MemoryStore::new(), ISSUER).with_configured(clients)),
    ];
    for registry in registries {
        let error = registry(clients.clone()).build().unwrap_err();
        let mistakes: Vec<_> = error.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
        assert_eq!(mistakes, ["dpop"]);
        assert!(error.to_string().contains(r#""a""#), "{error}");
        registry(clients.clone()).dpop().build().unwrap();
        registry(Clients::new([machine("c").build().unwrap()]).unwrap()).build().unwrap();
    }
}

#[tokio::test]
async fn a_client_that_is_added_later_gets_nothing_where_the_endpoint_has_no_dpop() {
    let world = World::new();
    world.clients.insert(bound("reports"));
    for key in [None, Some(&ProofKey::new())] {
        send_with_key(&world, &usual("reports"), &[CC], key).await.is_error(400, "invalid_dpop_proof");
    }
}

#[tokio::test]
async fn a_stored_client_keeps_the_setting_and_stops_versions_that_do_not_know_it() {
    let store = OpenStore::default();
    let clients = StoredClients::new(store.clone(), ISSUER);
    clients.insert(machine("reports").build().unwrap()).await.unwrap();
    let record = || serde_json::from_str::<Value>(&store.only()).unwrap();
    assert_eq!((record().get("dpop_bound_access_tokens"), record().get("must")), (None, None), "as before");
    let world = World { endpoint: endpoint(clients.clone()).dpop().build().unwrap(), ..World::new() };
    jwt_is_bound(&send(&world, &usual("reports"), &[CC], &[]).await, None);

    clients.replace(bound("reports")).await.unwrap();
    let secret = clients.renew_secret("reports").await.unwrap();
    assert_eq!(record()["dpop_bound_access_tokens"], json!(true));
    assert_eq!(record()["must"], json!(["dpop_bound_access_tokens"]));
    let authorization = basic("reports", &secret);
    send(&world, &authorization, &[CC], &[]).await.is_error(400, "invalid_dpop_proof");
    let key = ProofKey::new();
    jwt_is_bound(&send_with_key(&world, &authorization, &[CC], Some(&key)).await, Some(&key));
    // One of a newer version is refused as before.
    store.rewrite(|text| text.replacen(r#""must":["#, r#""must":["later","#, 1));
    send_with_key(&world, &authorization, &[CC], Some(&key)).await.is_error(503, "temporarily_unavailable");
}

#[track_caller]
fn jwt_is_bound(answer: &super::Answer, key: Option<&ProofKey>) {
    answer.is_ok();
    let cnf = super::part(answer.text("access_token"), 1)["cnf"]["jkt"].as_str().map(str::to_owned);
    assert_eq!(cnf, key.map(ProofKey::thumbprint));
}
