//! The settings of DPoP.

use serde_json::{Value, json};
use tower_oauth::testing::ProofKey;

use super::{Folder, ISSUER, Server, http, run};

const SECRET: &str = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";

/// Writes a client that must use DPoP.
fn write_bound_client(folder: &Folder, more: &Value) {
    let mut client = json!({
        "client_id": "reports", "client_secret": "reports-secret", "grant_types": ["client_credentials"],
        "audiences": {"https://api.test": "jwt"}, "dpop_bound_access_tokens": true,
    });
    client.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    std::fs::write(folder.0.join("clients.json"), json!([client]).to_string()).unwrap();
}

#[tokio::test]
async fn every_mistake_about_dpop_is_named_with_status_2() {
    let folder = Folder::new();
    for (settings, named) in [
        (&[("DPOP", "yes")][..], &["DPOP: "][..]),
        (&[("DPOP", "")], &["DPOP: "]),
        (&[("DPOP_NONCE_SECRET", SECRET)], &["DPOP_NONCE_SECRET: it has no effect"]),
        (&[("DPOP", "off"), ("DPOP_NONCE_SECRET", "random")], &["DPOP_NONCE_SECRET: it has no effect"]),
        (&[("DPOP", "on"), ("DPOP_NONCE_SECRET", "secret-text")], &["DPOP_NONCE_SECRET: it is neither"]),
        (&[("DPOP", "on"), ("DPOP_NONCE_SECRET", &SECRET[1..])], &["DPOP_NONCE_SECRET: it is neither"]),
        (&[("DPOP", "on"), ("DPOP_NONCE_SECRET", "")], &["DPOP_NONCE_SECRET: "]),
        (&[("DPOP", "x"), ("DPOP_NONCE_SECRET", "y"), ("JSON", "z")], &["DPOP: ", "DPOP_NONCE_SECRET: ", "JSON: "]),
    ] {
        let Some((status, _, text)) = run(&folder, settings, &[]).await else { return };
        assert_eq!(status, 2, "{settings:?}: {text}");
        assert!(named.iter().all(|named| text.contains(named)), "{settings:?}: {text}");
        assert!(!text.contains("secret-text") && !text.contains("CLIENTS"), "{text}");
    }
    write_bound_client(&folder, &json!({}));
    let (status, _, text) = run(&folder, &[("JSON", "z")], &[]).await.unwrap();
    assert_eq!(status, 2);
    assert!(text.contains("[0].dpop_bound_access_tokens: it needs DPOP=on") && text.contains("JSON: "), "{text}");
    write_bound_client(&folder, &json!({"dpop_bound_access_tokens": "yes"}));
    let (status, _, text) = run(&folder, &[("DPOP", "on")], &[]).await.unwrap();
    assert_eq!(status, 2);
    assert!(text.contains("[0].dpop_bound_access_tokens: "), "{text}");
}

/// Requests a token with this proof. Returns status, nonce and body.
async fn token(server: &Server, proof: Option<String>) -> (u16, Option<String>, Value) {
    let form = "grant_type=client_credentials&client_id=reports&client_secret=reports-secret";
    let request = http().post(server.url("/token")).header("content-type", "application/x-www-form-urlencoded");
    let request = proof.into_iter().fold(request, |request, proof| request.header("dpop", proof));
    let response = request.body(form).send().await.unwrap();
    let nonce = response.headers().get("dpop-nonce").map(|nonce| nonce.to_str().unwrap().to_owned());
    (response.status().as_u16(), nonce, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap())
}

#[tokio::test]
async fn proofs_bind_tokens_only_if_dpop_is_on() {
    let folder = Folder::new();
    let key = ProofKey::new();
    let url = format!("{ISSUER}/token");
    for (settings, token_type) in [(&[][..], "Bearer"), (&[("DPOP", "off")], "Bearer"), (&[("DPOP", "on")], "DPoP")] {
        let Some(server) = Server::start(&folder, settings).await else { return };
        let (status, nonce, body) = token(&server, Some(key.proof("POST", &url).sign())).await;
        assert_eq!((status, nonce, &body["token_type"]), (200, None, &token_type.into()), "{settings:?}");
        assert_eq!(token(&server, None).await.2["token_type"], "Bearer");
        let metadata = http().get(server.url("/.well-known/oauth-authorization-server")).send().await.unwrap();
        let metadata: Value = serde_json::from_slice(&metadata.bytes().await.unwrap()).unwrap();
        assert_eq!(metadata.get("dpop_signing_alg_values_supported").is_some(), token_type == "DPoP");
    }
    write_bound_client(&folder, &json!({}));
    let server = Server::start(&folder, &[("DPOP", "on")]).await.unwrap();
    let (status, nonce, body) = token(&server, None).await;
    assert_eq!((status, nonce, &body["error"]), (400, None, &"invalid_dpop_proof".into()));
}

#[tokio::test]
async fn instances_with_one_nonce_secret_accept_each_others_nonces() {
    let folder = Folder::new();
    let key = ProofKey::new();
    let url = format!("{ISSUER}/token");
    let start = async |secret| Server::start(&folder, &[("DPOP", "on"), ("DPOP_NONCE_SECRET", secret)]).await;
    let Some(one) = start(SECRET).await else { return };
    let (same, other) = (start(&SECRET.to_lowercase()).await.unwrap(), start("random").await.unwrap());
    let (status, nonce, body) = token(&one, Some(key.proof("POST", &url).sign())).await;
    assert_eq!((status, &body["error"]), (400, &"use_dpop_nonce".into()));
    let nonce = nonce.unwrap();
    for (server, status) in [(&one, 200), (&same, 200), (&other, 400)] {
        let proof = key.proof("POST", &url).nonce(&nonce).sign();
        assert_eq!(token(server, Some(proof)).await.0, status);
    }
}
