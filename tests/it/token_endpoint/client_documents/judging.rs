//! Which documents make a client, and what such a client may do.

use serde_json::{Value, json};
use tower_oauth::{
    keys::Algorithm,
    testing::MockIssuer,
    token_endpoint::{Client, ClientCredential, TokenFormat},
};

use super::{Answer, CB, Documents, JWT_BEARER, assert_unknown, assertion, document};
use crate::{support::API, token_endpoint::VERIFIER};

fn key() -> MockIssuer {
    MockIssuer::new("https://client.test").with_algorithm(Algorithm::ES256)
}

/// Threats T66, T67
#[tokio::test]
async fn a_wrong_document_is_no_client() {
    let Some(documents) = Documents::new() else { return };
    let (jwks, other) = (key().jwks(), documents.server.url("/other"));
    let long_name = "x".repeat(201);
    let wrong = [
        json!({"client_id": null}),
        json!({"client_id": other}),
        json!({"client_id": "https://LOCALHOST/"}),
        json!({"client_id": 7}),
        json!({"client_name": null}),
        json!({"client_name": " "}),
        json!({"client_name": "An\u{202e}\napp"}),
        json!({"client_name": long_name}),
        json!({"client_name": "Bank\u{202e}ppA"}),
        json!({"client_name": "Bank\u{2066}"}),
        json!({"client_name": "My\u{200b}app"}),
        json!({"client_name": "My\u{200d}app"}),
        json!({"client_name": "\u{feff}Bank"}),
        json!({"client_name": "Bank\u{2028}App"}),
        json!({"client_name": "\u{3164}"}),
        json!({"client_name": "Bank\u{e0041}"}),
        json!({"client_name": "Bank\u{fe0f}"}),
        json!({"client_name": "\u{2800}"}),
        json!({"client_name": "My\u{1d173}app"}),
        json!({"client_name": "My\u{1bca0}app"}),
        json!({"redirect_uris": null}),
        json!({"redirect_uris": []}),
        json!({"redirect_uris": CB}),
        json!({"redirect_uris": [CB, "/cb"]}),
        json!({"redirect_uris": [CB, "https://app.test/cb#x"]}),
        json!({"redirect_uris": [CB, "https://*.app.test/cb"]}),
        json!({"redirect_uris": [CB, "https://ada@app.test/cb"]}),
        json!({"redirect_uris": [CB, "http://app.test/cb"]}),
        json!({"redirect_uris": [CB, "javascript:alert(1)"]}),
        json!({"redirect_uris": [CB, "data:text/html,x"]}),
        json!({"redirect_uris": [CB, "cursor://cb"]}),
        json!({"client_secret": "x"}),
        json!({"client_secret_expires_at": 0}),
        json!({"token_endpoint_auth_method": "client_secret_basic"}),
        json!({"token_endpoint_auth_method": "client_secret_post"}),
        json!({"token_endpoint_auth_method": "client_secret_jwt"}),
        json!({"token_endpoint_auth_method": "tls_client_auth"}),
        json!({"token_endpoint_auth_method": ["none"]}),
        json!({"token_endpoint_auth_method": "private_key_jwt"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": []}}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks": jwks, "jwks_uri": other}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "http://localhost/keys"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://other.test/keys"}),
        json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": other}),
        json!({"grant_types": "authorization_code"}),
    ];
    for (index, change) in wrong.into_iter().enumerate() {
        let path = format!("/{index}.json");
        let id = documents.publish(&path, &change);
        assert_unknown(documents.ask(&id).await, &change.to_string());
        let answer = documents.world.redeem("a", &[("client_id", &id)]).await;
        answer.is_error(401, "invalid_client");
    }
    for (index, body) in ["", "[]", "null", "\"x\"", "{", "\u{0}"].iter().enumerate() {
        let path = format!("/text-{index}");
        documents.server.answer(&path, Answer::json_text(*body));
        assert_unknown(documents.ask(&documents.server.url(&path)).await, body);
    }
    let id = documents.server.url("/twice");
    let text = document(&id, &json!({})).to_string();
    documents.server.answer("/twice", Answer::json_text(text.replacen('{', "{\"client_name\":\"Other\",", 1)));
    assert_unknown(documents.ask(&id).await, "a member is there twice");
    let id = documents.server.url("/latin");
    let text = document(&id, &json!({"client_name": "na?ve"})).to_string().into_bytes();
    let text: Vec<u8> = text.into_iter().map(|byte| if byte == b'?' { 0xe9 } else { byte }).collect();
    documents.server.answer("/latin", Answer::json_text(text));
    assert_unknown(documents.ask(&id).await, "not UTF-8");
}

/// Threat T67
#[tokio::test]
async fn a_name_may_be_in_every_script() {
    let Some(documents) = Documents::new() else { return };
    for (index, name) in ["Éclair & Söhne – 2", "日本語アプリ", "يومية", "יומן", "हिन्दी", "Heart ❤"].iter().enumerate()
    {
        let id = documents.publish(&format!("/{index}"), &json!({"client_name": name}));
        assert_eq!(documents.ask(&id).await.unwrap().client_name(), Some(*name));
    }
}

/// Threat T63
#[tokio::test]
async fn a_document_and_its_keys_have_a_type_of_json() {
    let Some(documents) = Documents::new() else { return };
    let jwks = key().jwks();
    let types = [
        (Some("application/json; charset=utf-8"), true),
        (Some("application/jwk-set+json"), true),
        (Some("text/html"), false),
        (Some("application/octet-stream"), false),
        (None, false),
    ];
    for (index, (name, is_accepted)) in types.into_iter().enumerate() {
        let answer = |body: &Value| {
            let answer = Answer::new(200, body.to_string());
            name.iter().fold(answer, |answer, name| answer.header("content-type", *name))
        };
        let id = documents.server.url(&format!("/{index}"));
        documents.server.answer(&format!("/{index}"), answer(&document(&id, &json!({}))));
        let keys_at = format!("/keys-{index}");
        documents.server.answer(&keys_at, answer(&jwks));
        let change =
            json!({"token_endpoint_auth_method": "private_key_jwt", "jwks_uri": documents.server.url(&keys_at)});
        let with_keys = documents.publish(&format!("/with-{index}"), &change);
        for id in [id, with_keys] {
            let asked = documents.ask(&id).await;
            assert_eq!(asked.is_ok(), is_accepted, "{id} {name:?}");
            if !is_accepted {
                assert_unknown(asked, &id);
            }
        }
    }
}

#[tokio::test]
async fn members_that_are_not_used_change_nothing() {
    let Some(documents) = Documents::new() else { return };
    let more = json!({
        "client_uri": "https://app.test", "logo_uri": "http://10.0.0.1/logo", "scope": "admin orders:write", "contacts": ["x"],
        "software_id": "1", "application_type": "native", "response_types": ["code"], "audiences": {"https://x.test": "jwt"},
        "grant_types": ["authorization_code", "client_credentials", "urn:x"], "token_endpoint_auth_method": "none",
    });
    let id = documents.publish("/c", &more);
    let request = documents.ask(&id).await.unwrap();
    assert_eq!(request.scopes().collect::<Vec<_>>(), ["orders:read"], "a document does not choose its scopes");
    assert_eq!(documents.server.requests(), 1, "no other URL of the document is fetched");
}

/// Threat T66
#[tokio::test]
async fn no_document_widens_what_such_clients_may_get() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.publish("/c", &json!({"scope": "admin"}));
    for (name, value, code) in [("scope", "admin", "invalid_scope"), ("resource", "https://x.test", "invalid_target")] {
        let error = documents.world.ask(&[("client_id", &id), (name, value)]).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!(error.redirect_uri(), Some(CB));
    }
}

/// Threat T66
#[tokio::test]
async fn a_document_without_a_grant_can_do_nothing() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.publish("/c", &json!({"grant_types": ["client_credentials"]}));
    let error = documents.world.ask(&[("client_id", &id)]).await.unwrap_err();
    assert_eq!(error.code(), "unauthorized_client");
    let id = documents.publish("/default", &json!({"grant_types": null}));
    let code = documents.world.code(&[("client_id", &id)]).await;
    let issued = documents.world.redeem(&code, &[("client_id", &id)]).await;
    issued.is_ok();
    assert_eq!(issued.json.get("refresh_token"), None, "refresh_token is not among its grant types");
}

/// Threat T66
#[tokio::test]
async fn a_client_with_keys_authenticates_by_them_and_never_for_itself() {
    let Some(documents) = Documents::new() else { return };
    let world = &documents.world;
    let (key, other) = (key().with_clock(world.clock.clone()), MockIssuer::new("https://client.test"));
    let other = other.with_algorithm(Algorithm::ES384).with_clock(world.clock.clone());
    documents.server.answer("/keys", Answer::json(&key.jwks()));
    let keys_at = documents.server.url("/keys");
    let ways: [Value; 2] = [json!({"jwks": key.jwks()}), json!({"jwks_uri": keys_at})];
    for (index, way) in ways.into_iter().enumerate() {
        let mut change = json!({"token_endpoint_auth_method": "private_key_jwt", "grant_types": ["authorization_code", "client_credentials"]});
        change.as_object_mut().unwrap().extend(way.as_object().unwrap().clone());
        let id = documents.publish(&format!("/c{index}"), &change);
        let code = world.code(&[("client_id", &id)]).await;
        let redeem = async |assertion: &str| {
            let proof = [("client_id", &*id), ("client_assertion", assertion), ("client_assertion_type", JWT_BEARER)];
            world.redeem(&code, &proof).await
        };
        world.redeem(&code, &[("client_id", &id)]).await.is_error(401, "invalid_client");
        redeem(&assertion(&other, &id, "a")).await.is_error(401, "invalid_client");
        redeem(&assertion(&key, &id, "b")).await.is_ok();
        let signed = assertion(&key, &id, "c");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_assertion", &signed),
            ("client_assertion_type", JWT_BEARER),
        ];
        world.post("/token", "", &form).await.is_error(400, "unauthorized_client");
    }
}

/// Threat T66
#[tokio::test]
async fn a_registered_client_takes_precedence_over_a_document() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.publish("/c", &json!({}));
    let client = Client::builder(&id, ClientCredential::None).grant_types(["authorization_code"]);
    let client = client.redirect_uri("https://registered.test/cb").audience(API, TokenFormat::Jwt).build().unwrap();
    documents.world.clients.insert(client);
    let change = [("client_id", &*id), ("redirect_uri", "https://registered.test/cb")];
    let request = documents.world.ask(&change).await.unwrap();
    assert_eq!((request.client_name(), request.client_host()), (None, None));
    assert!(documents.world.ask(&[("client_id", &id)]).await.is_err());
    assert_eq!(documents.server.connections(), 0);
}

/// Threat T66
#[tokio::test]
async fn pkce_is_required_of_clients_with_a_document() {
    let Some(documents) = Documents::new() else { return };
    let id = documents.publish("/c", &json!({}));
    let without = [("client_id", &*id), ("code_challenge", ""), ("code_challenge_method", "")];
    assert_eq!(documents.world.ask(&without).await.unwrap_err().code(), "invalid_request");
    let code = documents.world.code(&[("client_id", &id)]).await;
    let wrong = VERIFIER.replace('d', "e");
    documents
        .world
        .redeem(&code, &[("client_id", &id), ("code_verifier", &wrong)])
        .await
        .is_error(400, "invalid_grant");
}
