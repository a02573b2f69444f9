//! Every grant gives bound tokens for a proof, and bearer tokens without one.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use http::Request;
use serde_json::json;
use tower_oauth::{
    OAuthLayer, Token,
    keys::Algorithm,
    testing::ProofKey,
    token_endpoint::{
        Client, ClientCredential, EventKind, Grant, Granted, MemoryStore, TokenEndpointBuilder, TokenError,
        TokenErrorKind, TokenRequest,
    },
};

use super::{
    super::{OPAQUE, World, basic, machine, may_have_tokens, post, stores::faulty_store::FaultyStore, usual},
    CC, GIFT, GiftCard, begin, is_bound, proof, refresh, send, send_with_key, token_with, world, world_on, world_with,
};
use crate::support::{API, get_with_token};

/// RFC 9449 §5 a (MUST, accepts)
#[tokio::test]
async fn each_grant_gives_tokens_that_are_bound_to_the_key_of_the_proof() {
    let cards = GiftCard::default();
    let world = world_with(|builder| builder.dpop().grant(cards));
    let shop = Client::builder("shop", ClientCredential::None).redirect_uri("https://shop.test/cb");
    world.clients.insert(
        shop.grant_types([GIFT.1, "refresh_token"])
            .audience(OPAQUE, tower_oauth::token_endpoint::TokenFormat::Opaque)
            .build()
            .unwrap(),
    );
    let one = ProofKey::new();
    for key in [Some(&one), None] {
        for resource in [API, OPAQUE] {
            let answer = send_with_key(&world, &usual("reports"), &[CC, ("resource", resource)], key).await;
            is_bound(&world, &answer, key).await;
        }
        let answer = begin(&world, key).await;
        is_bound(&world, &answer, key).await;
        let answer = refresh(&world, answer.text("refresh_token"), key).await;
        is_bound(&world, &answer, key).await;
        let gift = [GIFT, ("client_id", "shop"), ("gift_card", "good")];
        let answer = send_with_key(&world, "", &gift, key).await;
        is_bound(&world, &answer, key).await;
        assert_eq!(answer.json.get("key").cloned(), key.map(|key| key.thumbprint().into()), "the grant sees the key");
        let next =
            [("grant_type", "refresh_token"), ("client_id", "shop"), ("refresh_token", answer.text("refresh_token"))];
        send_with_key(&world, "", &next, None).await.is_ok_only_if(key.is_none());
        let answer = send_with_key(&world, "", &next, key).await;
        if key.is_some() {
            is_bound(&world, &answer, key).await;
        }
    }
}

impl super::Answer {
    /// Checks for tokens, or for a refusal that costs nothing.
    #[track_caller]
    fn is_ok_only_if(&self, is_ok: bool) {
        if is_ok { self.is_ok() } else { self.is_error(400, "invalid_grant") }
    }
}

/// RFC 9449 §5.1 (OPTIONAL, accepts)
#[tokio::test]
async fn a_key_for_every_algorithm_is_accepted_and_the_metadata_has_them() {
    let world = world();
    let names: Vec<_> = Algorithm::supported().iter().map(|algorithm| algorithm.as_str()).collect();
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json;
    assert_eq!(metadata["dpop_signing_alg_values_supported"], json!(names));
    assert!(!names.contains(&"none") && names.contains(&"ES256"));
    for algorithm in Algorithm::supported() {
        let key = ProofKey::with_algorithm(*algorithm);
        let answer = token_with(&world, &proof(&world, &key).sign()).await;
        is_bound(&world, &answer, Some(&key)).await;
    }
}

/// RFC 9449 §5 a (MUST, refuses)
/// RFC 9449 §5.1 (OPTIONAL, refuses)
#[tokio::test]
async fn a_proof_is_ignored_where_dpop_is_off() {
    let world = World::with_users();
    let metadata = world.get("/.well-known/oauth-authorization-server").await.json;
    assert_eq!(metadata.get("dpop_signing_alg_values_supported"), None);
    for text in ["", "not a proof", &proof(&world, &ProofKey::new()).sign()] {
        let answer = token_with(&world, text).await;
        is_bound(&world, &answer, None).await;
    }
}

#[tokio::test]
async fn revocation_and_introspection_ignore_the_dpop_header() {
    let world = world();
    let key = ProofKey::new();
    let token = token_with(&world, &proof(&world, &key).sign()).await;
    let form = [("token", token.text("access_token"))];
    for proofs in [&["bad"][..], &["bad", "worse"], &[&proof(&world, &ProofKey::new()).sign()]] {
        for (path, client) in [("/introspect", "watch"), ("/revoke", "others")] {
            let mut request = post(path, &usual(client), &form);
            for proof in proofs {
                request.headers_mut().append("dpop", proof.parse().unwrap());
            }
            let answer = world.send(request).await;
            answer.is_ok();
            assert_eq!(answer.json.get("active"), (path == "/introspect").then_some(&json!(true)));
        }
    }
    world.post("/revoke", &usual("reports"), &form).await.is_ok();
    assert!(!world.is_active(token.text("access_token")).await);
}

/// RFC 9449 §5 b (MUST, refuses)
#[tokio::test]
async fn the_client_and_the_grant_type_are_checked_before_the_proof() {
    let world = world();
    let nothing = |answer: &super::Answer| assert!(super::nonces(answer).is_empty());
    for proofs in [&["bad"][..], &["bad", "worse"]] {
        let answer = send(&world, &basic("reports", "wrong"), &[CC], proofs).await;
        answer.is_error(401, "invalid_client");
        nothing(&answer);
        for (form, error) in [
            (&[][..], "invalid_request"),
            (&[("grant_type", "password")], "unsupported_grant_type"),
            (&[("grant_type", "refresh_token")], "unauthorized_client"),
            (&[CC, CC], "invalid_request"),
        ] {
            let answer = send(&world, &usual("reports"), form, proofs).await;
            answer.is_error(400, error);
            nothing(&answer);
        }
    }
}

#[tokio::test]
async fn the_record_of_a_bound_token_stops_versions_that_do_not_know_cnf() {
    let store = FaultyStore::new(MemoryStore::new());
    let world = world_on(store.clone());
    let key = ProofKey::new();
    let records = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&records);
    store.rewrite(move |record| {
        seen.lock().unwrap().push(serde_json::from_str::<serde_json::Value>(record).unwrap());
        record.to_owned()
    });
    let bound = token_with(&world, &proof(&world, &key).sign()).await;
    assert!(world.is_active(bound.text("access_token")).await);
    let bearer = world.access_token("reports", &[]).await;
    assert!(world.is_active(&bearer).await);
    let records = std::mem::take(&mut *records.lock().unwrap());
    assert_eq!(records[0]["must"], json!(["cnf"]));
    assert_eq!(records[0]["cnf"], json!({"jkt": key.thumbprint()}));
    assert_eq!((records[1].get("must"), records[1].get("cnf")), (None, None), "as before");
    for (what, change) in [
        ("an unknown member", r#""cnf":{"kid":"x","jkt":"#),
        ("null", r#""cnf":null,"_":{"jkt":"#),
        ("a name that must be understood", r#""must":["later"],"cnf":{"jkt":"#),
    ] {
        let change = change.to_owned();
        store.rewrite(move |record| record.replace(r#""must":["cnf"],"#, "").replace(r#""cnf":{"jkt":"#, &change));
        assert!(!world.is_active(bound.text("access_token")).await, "{what}");
    }
    store.rewrite_nothing();
    assert!(world.is_active(bound.text("access_token")).await);
}

#[tokio::test]
async fn a_verifier_in_the_process_sees_what_a_token_is_bound_to() {
    let world = world();
    let key = ProofKey::new();
    for resource in [API, OPAQUE] {
        let app = axum::Router::new()
            .route(
                "/me",
                axum::routing::get(|token: Token| async move { token.subject().unwrap_or_default().to_owned() }),
            )
            .layer(OAuthLayer::new(world.endpoint.verifier(resource)));
        for (key, status) in [(None, 200), (Some(&key), 401)] {
            let answer = send_with_key(&world, &usual("reports"), &[CC, ("resource", resource)], key).await;
            let found = get_with_token(&app, "/me", answer.text("access_token")).await;
            assert_eq!(found.status.as_u16(), status, "as a bearer token: {found:?}");
        }
    }
}

#[tokio::test]
async fn events_have_the_exact_reason_of_a_refused_proof_and_nothing_of_it() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let world = world_with(|builder| {
        let seen = Arc::clone(&seen);
        builder.dpop().observe(move |event| {
            let texts = (event.error().map(str::to_owned), event.reason().map(str::to_owned));
            seen.lock().unwrap().push((event.kind(), event.client_id().map(str::to_owned), texts));
        })
    });
    let key = ProofKey::new();
    let defects = [
        (proof(&world, &key).claim("htm", "GET").sign(), "The DPoP proof was made for another method or URL"),
        (proof(&world, &key).sign_with(&ProofKey::new()), "its signature is not that of its jwk"),
        (proof(&world, &key).claim("iat", 1).sign(), "The DPoP proof is from another time: check the clock"),
    ];
    for (text, reason) in defects {
        token_with(&world, &text).await.is_error(400, "invalid_dpop_proof");
        let texts = (Some("invalid_dpop_proof".to_owned()), Some(reason.to_owned()));
        assert_eq!(seen.lock().unwrap().pop(), Some((EventKind::Refused, Some("reports".to_owned()), texts)));
    }
    token_with(&world, &proof(&world, &key).sign()).await.is_ok();
    assert_eq!(seen.lock().unwrap().pop().unwrap().0, EventKind::Issued);
}

#[tokio::test]
async fn pages_may_send_proofs_and_read_nonces() {
    let world = world_with(|builder| builder.dpop().allow_origins(["https://app.test"]));
    let preflight = Request::options("/token")
        .header("origin", "https://app.test")
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "dpop");
    let answer = world.send(preflight.body(Body::empty()).unwrap()).await;
    let has = |answer: &super::Answer, header: &str, name: &str| {
        answer.header(header).unwrap().split(", ").any(|other| other == name)
    };
    assert!(has(&answer, "access-control-allow-headers", "dpop"));
    let mut request = post("/token", &usual("reports"), &[CC]);
    request.headers_mut().insert("origin", "https://app.test".parse().unwrap());
    assert!(has(&world.send(request).await, "access-control-expose-headers", "dpop-nonce"));
}

/// Exchanges a token for one with the same key only.
struct SameKey;

impl Grant for SameKey {
    fn grant_type(&self) -> &'static str {
        "urn:example:same-key"
    }

    async fn decide(&self, request: &TokenRequest<'_>) -> Result<Granted, TokenError> {
        let refused = || TokenError::new(TokenErrorKind::InvalidGrant, "This is another key");
        let subject = request.active_token(request.required("subject_token")?).await?.ok_or_else(refused)?;
        if subject.confirmation() != request.confirmation().as_ref() {
            return Err(refused());
        }
        request.grant_to(subject.subject())
    }
}

#[tokio::test]
async fn a_grant_can_compare_the_key_of_a_subject_token() {
    let world = world_with(|builder: TokenEndpointBuilder| builder.dpop().grant(SameKey));
    world.clients.insert(machine("exchange").grant_types(["urn:example:same-key"]).build().unwrap());
    world.clients.insert(
        may_have_tokens(Client::builder(
            "other",
            ClientCredential::from(tower_oauth::token_endpoint::ClientSecret::new("other-secret")),
        ))
        .build()
        .unwrap(),
    );
    let (one, other) = (ProofKey::new(), ProofKey::new());
    let token = token_with(&world, &proof(&world, &one).sign()).await;
    let form = [("grant_type", "urn:example:same-key"), ("subject_token", token.text("access_token"))];
    for key in [Some(&other), None] {
        send_with_key(&world, &usual("exchange"), &form, key).await.is_error(400, "invalid_grant");
    }
    let answer = send_with_key(&world, &usual("exchange"), &form, Some(&one)).await;
    is_bound(&world, &answer, Some(&one)).await;
}
