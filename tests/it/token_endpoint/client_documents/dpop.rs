//! `dpop_bound_access_tokens` in a document (RFC 9449 §5.2).

use serde_json::{Value, json};
use tower_oauth::{
    testing::ProofKey,
    token_endpoint::{ClientDocumentsBuilder, TokenEndpointBuilder},
};

use super::{Documents, assert_unknown};
use crate::token_endpoint::{Answer, CB, VERIFIER, part, post};

fn trusts(builder: ClientDocumentsBuilder) -> ClientDocumentsBuilder {
    builder.trust_hosts(["localhost"]).danger_allow_loopback()
}

/// Redeems a new code of this client.
async fn redeem(documents: &Documents, id: &str, proof: Option<&str>) -> Answer {
    let code = documents.world.code(&[("client_id", id)]).await;
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", id),
        ("redirect_uri", CB),
        ("code_verifier", VERIFIER),
        ("code", &*code),
    ];
    let mut request = post("/token", "", &form);
    if let Some(proof) = proof {
        request.headers_mut().insert("dpop", proof.parse().unwrap());
    }
    documents.world.send(request).await
}

/// RFC 9449 §5.2 (MUST, accepts)
#[tokio::test]
async fn a_document_can_demand_bound_tokens() {
    let Some(documents) = Documents::with_endpoint(trusts, TokenEndpointBuilder::dpop) else { return };
    let key = ProofKey::new();
    for (path, value, demands) in
        [("/none", Value::Null, false), ("/no", json!(false), false), ("/yes", json!(true), true)]
    {
        let id = documents.publish(path, &json!({"dpop_bound_access_tokens": value}));
        let answer = redeem(&documents, &id, None).await;
        if demands {
            answer.is_error(400, "invalid_dpop_proof");
        } else {
            assert_eq!(answer.text("token_type"), "Bearer");
        }
        let proof = key.proof("POST", "https://as.test/token").clock(documents.world.clock.clone()).sign();
        let answer = redeem(&documents, &id, Some(&proof)).await;
        assert_eq!(part(answer.text("access_token"), 1)["cnf"], json!({"jkt": key.thumbprint()}));
    }
    for (path, wrong) in [("/text", json!("true")), ("/number", json!(1))] {
        let id = documents.publish(path, &json!({"dpop_bound_access_tokens": wrong}));
        assert_unknown(documents.ask(&id).await, path);
    }
}

#[tokio::test]
async fn the_demand_of_a_document_is_ignored_where_the_endpoint_has_no_dpop() {
    let Some(documents) = Documents::with(trusts) else { return };
    let id = documents.publish("/yes", &json!({"dpop_bound_access_tokens": true}));
    assert_eq!(redeem(&documents, &id, None).await.text("token_type"), "Bearer");
}
