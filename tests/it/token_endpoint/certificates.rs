//! Tokens that are bound to the client's TLS certificate (RFC 8705 §3).

use serde_json::{Value, json};
use tower_oauth::{
    mutual_tls::{CertificateHeader, ClientCertificate, MutualTls},
    testing::ProofKey,
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientBuilder, ClientCredential, RefreshTokenGrant, StoredClients,
        TokenEndpointBuilder, TokenFormat,
    },
};

use super::{
    AUTHORIZE, Answer, CB, ISSUER, OPAQUE, VERIFIER, World, machine, part, post, stores::records::OpenStore, usual,
};
use crate::support::API;

/// SHA-256 of `abc` (FIPS 180-4).
const ABC: &str = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
const CC: [(&str, &str); 1] = [("grant_type", "client_credentials")];

fn world(source: MutualTls) -> World {
    let world = World::with(|builder| {
        let builder = builder.grant(AuthorizationCodeGrant::new(AUTHORIZE)).grant(RefreshTokenGrant::new());
        builder.dpop().mutual_tls(source)
    });
    world.clients.insert(machine("bound").tls_client_certificate_bound_access_tokens().build().unwrap());
    let public = Client::builder("public", ClientCredential::None).tls_client_certificate_bound_access_tokens();
    world.clients.insert(with_users(public));
    let web = Client::builder("site", tower_oauth::token_endpoint::ClientSecret::new("site-secret"));
    world.clients.insert(with_users(web.tls_client_certificate_bound_access_tokens()));
    world
}

fn with_users(client: ClientBuilder) -> Client {
    let client = client.grant_types(["authorization_code", "refresh_token"]).redirect_uri(CB);
    client.default_scopes(["orders:read"]).audience(API, TokenFormat::Jwt).build().unwrap()
}

/// Posts a form on a connection with this certificate, with this proof.
async fn send(
    world: &World,
    authorization: &str,
    form: &[(&str, &str)],
    (der, proof): (Option<&str>, Option<&str>),
) -> Answer {
    let mut request = post("/token", authorization, form);
    if let Some(der) = der {
        request.extensions_mut().insert(ClientCertificate::unverified(der));
    }
    if let Some(proof) = proof {
        request.headers_mut().insert("dpop", proof.parse().unwrap());
    }
    world.send(request).await
}

/// Redeems a new code of `public`.
async fn begin(world: &World, with: (Option<&str>, Option<&str>)) -> Answer {
    let code = world.code(&[("client_id", "public")]).await;
    let form =
        [("grant_type", "authorization_code"), ("client_id", "public"), ("code_verifier", VERIFIER), ("code", &*code)];
    send(world, "", &form, with).await
}

async fn refresh(world: &World, token: &str, with: (Option<&str>, Option<&str>)) -> Answer {
    let form = [("grant_type", "refresh_token"), ("client_id", "public"), ("refresh_token", token)];
    send(world, "", &form, with).await
}

/// RFC 8705 §3 b (MUST, accepts)
#[tokio::test]
async fn the_tokens_of_a_client_that_is_registered_so_are_bound_to_its_certificate() {
    let world = world(MutualTls::on_the_connection());
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json;
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    for resource in [API, OPAQUE] {
        let form = [CC[0], ("resource", resource)];
        for (client, der, cnf) in [
            ("bound", Some("abc"), json!({"x5t#S256": ABC})),
            ("reports", Some("abc"), Value::Null),
            ("reports", None, Value::Null),
        ] {
            let answer = send(&world, &usual(client), &form, (der, None)).await;
            answer.is_ok();
            let token = answer.text("access_token");
            assert_eq!(answer.json["token_type"], "Bearer");
            let found = world.introspect("watch", token).await;
            assert_eq!((&found["token_type"], &found["cnf"]), (&json!("Bearer"), &cnf));
            if resource == API {
                assert_eq!(part(token, 1)["cnf"], cnf);
            }
        }
        send(&world, &usual("bound"), &form, (None, None)).await.is_error(400, "invalid_request");
    }
}

/// RFC 8705 §3 b (MUST, accepts)
#[tokio::test]
async fn with_a_proof_and_a_certificate_both_are_in_the_token() {
    let world = world(MutualTls::on_the_connection());
    let key = ProofKey::new();
    let proof = || key.proof("POST", "https://as.test/token").clock(world.clock.clone()).sign();
    let answer = send(&world, &usual("bound"), &CC, (Some("abc"), Some(&proof()))).await;
    assert_eq!(answer.json["token_type"], "DPoP");
    assert_eq!(part(answer.text("access_token"), 1)["cnf"], json!({"jkt": key.thumbprint(), "x5t#S256": ABC}));
    // Only the key, because the client is not registered for certificates.
    let answer = send(&world, &usual("reports"), &CC, (Some("abc"), Some(&proof()))).await;
    assert_eq!(part(answer.text("access_token"), 1)["cnf"], json!({"jkt": key.thumbprint()}));
    send(&world, &usual("bound"), &CC, (None, Some(&proof()))).await.is_error(400, "invalid_request");

    let first = begin(&world, (Some("abc"), Some(&proof()))).await;
    let token = first.text("refresh_token");
    let other = ProofKey::new().proof("POST", "https://as.test/token").clock(world.clock.clone()).sign();
    for (der, proof) in [("abc", None), ("other", Some(proof())), ("abc", Some(other))] {
        refresh(&world, token, (Some(der), proof.as_deref())).await.is_error(400, "invalid_grant");
    }
    let next = refresh(&world, token, (Some("abc"), Some(&proof()))).await;
    assert_eq!(part(next.text("access_token"), 1)["cnf"], json!({"jkt": key.thumbprint(), "x5t#S256": ABC}));
}

/// RFC 8705 §3 b (MUST, refuses)
#[tokio::test]
async fn a_public_client_refreshes_only_with_its_certificate_and_a_failure_costs_nothing() {
    let world = world(MutualTls::on_the_connection());
    let first = begin(&world, (Some("abc"), None)).await;
    let token = first.text("refresh_token");
    refresh(&world, token, (Some("other"), None)).await.is_error(400, "invalid_grant");
    refresh(&world, token, (None, None)).await.is_error(400, "invalid_request");
    assert!(world.is_active(first.text("access_token")).await, "the session goes on");
    let next = refresh(&world, token, (Some("abc"), None)).await;
    assert_eq!(part(next.text("access_token"), 1)["cnf"], json!({"x5t#S256": ABC}));
    assert!(next.text("refresh_token") != token);
}

#[tokio::test]
async fn a_client_that_authenticates_may_change_its_certificate() {
    let world = world(MutualTls::on_the_connection());
    let code = world.code(&[("client_id", "site")]).await;
    let form = [("grant_type", "authorization_code"), ("code_verifier", VERIFIER), ("code", &*code)];
    let first = send(&world, &usual("site"), &form, (Some("other"), None)).await;
    let form = [("grant_type", "refresh_token"), ("refresh_token", first.text("refresh_token"))];
    let next = send(&world, &usual("site"), &form, (Some("abc"), None)).await;
    assert_eq!(part(next.text("access_token"), 1)["cnf"], json!({"x5t#S256": ABC}));
}

#[tokio::test]
async fn the_header_of_a_proxy_is_read_only_if_it_is_trusted() {
    let proxy = world(MutualTls::behind_proxy(CertificateHeader::rfc9440()));
    let own = world(MutualTls::on_the_connection());
    // An empty SEQUENCE in DER.
    let answer = async |world: &World, value: &str| {
        let mut request = post("/token", &usual("bound"), &CC);
        request.headers_mut().insert("client-cert", value.parse().unwrap());
        world.send(request).await
    };
    let good = answer(&proxy, ":MAA=:").await;
    good.is_ok();
    assert!(part(good.text("access_token"), 1)["cnf"]["x5t#S256"].is_string());
    for bad in ["", "MAA=", ":MAA=:, :MAA=:", ":AAAA:", "::"] {
        answer(&proxy, bad).await.is_error(400, "invalid_request");
    }
    answer(&own, ":MAA=:").await.is_error(400, "invalid_request");
}

#[tokio::test]
async fn a_client_with_bound_tokens_is_a_mistake_where_no_certificate_is_read() {
    let clients = || {
        let bound = machine("bound").tls_client_certificate_bound_access_tokens().build().unwrap();
        tower_oauth::token_endpoint::Clients::new([bound]).unwrap()
    };
    let builder = || {
        let key = tower_oauth::keys::PrivateKey::generate(tower_oauth::keys::Algorithm::ES256).unwrap();
        let builder = tower_oauth::token_endpoint::TokenEndpoint::builder(ISSUER, key, clients());
        builder.grant(tower_oauth::token_endpoint::ClientCredentialsGrant::new())
    };
    let settings = |builder: TokenEndpointBuilder| {
        let error = builder.build().unwrap_err();
        error.mistakes().iter().map(|mistake| mistake.setting().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(settings(builder().dpop()), ["mutual_tls"]);
    assert_eq!(settings(builder().mutual_tls(MutualTls::behind_proxy(CertificateHeader::pem("a b")))).len(), 1);
    builder().mutual_tls(MutualTls::on_the_connection()).build().unwrap();
    let world = World::new();
    world.clients.insert(machine("bound").tls_client_certificate_bound_access_tokens().build().unwrap());
    send(&world, &usual("bound"), &CC, (Some("abc"), None)).await.is_error(400, "invalid_request");
}

#[tokio::test]
async fn a_stored_client_with_bound_tokens_stops_versions_that_do_not_know_it() {
    let store = OpenStore::default();
    let clients = StoredClients::new(store.clone(), ISSUER);
    let client = machine("bound").tls_client_certificate_bound_access_tokens().dpop_bound_access_tokens();
    clients.insert(client.build().unwrap()).await.unwrap();
    clients.renew_secret("bound").await.unwrap();
    let record: Value = serde_json::from_str(&store.only()).unwrap();
    let names = json!(["dpop_bound_access_tokens", "tls_client_certificate_bound_access_tokens"]);
    assert_eq!(record["must"], names);
    assert!(names.as_array().unwrap().iter().all(|name| record[name.as_str().unwrap()] == true));
}
