//! Requests with bound tokens: the new routes, the exact responses over sockets, and CORS.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tower_oauth::testing::ProofKey;

use super::sender_fixture::{BASE, NONCE_SECRET, RawResponse, Reply, SenderApi, in_one_step, nonce, proof};
use crate::{fake_issuer::Answer, support::API};

/// The header lines of a response but for `Date`, in their order, and the body.
fn transcript(response: &RawResponse) -> String {
    let lines = response.headers.iter().filter(|(name, _)| name != "date");
    let lines: Vec<_> = lines.map(|(name, value)| format!("{name}: {value}\n")).collect();
    format!("{}\n{}\n{}", response.status, lines.concat(), response.body)
}

const CORS: &str = "access-control-allow-origin: *\naccess-control-expose-headers: dpop-nonce,www-authenticate\n";

/// RFC 9449 §7.1 a (SHOULD, accepts)
#[tokio::test]
async fn refusals_are_these_to_the_byte() {
    let settings = [("OAUTH_DPOP_ALGS", "ES256 EdDSA"), ("OAUTH_DPOP_REPLAY", "memory")];
    let Some(api) = SenderApi::start(&settings).await else { return };
    let (key, other) = (ProofKey::new(), ProofKey::new());
    let (unbound, bound) = (api.token().sign(), api.bound_to(&key));
    let good = || proof(&key, "GET", "/orders", &bound).sign();
    let (dpop, bearer) = (format!("DPoP {bound}"), format!("Bearer {bound}"));
    let read_only = api.token().scope("orders:read").bound_to(&key).sign();
    let used = good();
    assert_eq!(api.present("GET", "/orders", &bound, &used).await.status, 200);
    let cases = [
        (
            "proof: missing",
            api.send("GET", "/orders", &[("Authorization", &dpop)]).await,
            "401",
            [
                r#"DPoP realm="api", error="invalid_dpop_proof", error_description="The request needs a DPoP proof", algs="ES256 EdDSA""#,
                r#"Bearer realm="api""#,
            ],
        ),
        (
            "proof: used before",
            api.present("GET", "/orders", &bound, &used).await,
            "401",
            [
                r#"DPoP realm="api", error="invalid_dpop_proof", error_description="The DPoP proof was used before", algs="ES256 EdDSA""#,
                r#"Bearer realm="api""#,
            ],
        ),
        (
            "dtoken: unbound",
            api.prove(&key, "GET", "/orders", &unbound).await,
            "401",
            [
                r#"DPoP realm="api", error="invalid_token", error_description="The access token is not bound to a key", algs="ES256 EdDSA""#,
                r#"Bearer realm="api""#,
            ],
        ),
        (
            "dtoken: another key",
            api.prove(&other, "GET", "/orders", &bound).await,
            "401",
            [
                r#"DPoP realm="api", error="invalid_token", error_description="The access token is bound to another key", algs="ES256 EdDSA""#,
                r#"Bearer realm="api""#,
            ],
        ),
        (
            "btoken",
            api.send("GET", "/orders", &[("Authorization", &bearer), ("DPoP", &good())]).await,
            "401",
            [
                r#"Bearer realm="api", error="invalid_token", error_description="The access token is bound to a key and cannot be used as a plain bearer token""#,
                r#"DPoP realm="api", algs="ES256 EdDSA""#,
            ],
        ),
        (
            "bare",
            api.send("GET", "/orders", &[]).await,
            "401",
            [r#"Bearer realm="api""#, r#"DPoP realm="api", algs="ES256 EdDSA""#],
        ),
        (
            "both400",
            api.send("GET", "/orders", &[("Authorization", &bearer), ("Authorization", &dpop), ("DPoP", &good())])
                .await,
            "400",
            [
                r#"Bearer realm="api", error="invalid_request", error_description="The header with the access token must be sent once""#,
                r#"DPoP realm="api", error="invalid_request", error_description="The header with the access token must be sent once", algs="ES256 EdDSA""#,
            ],
        ),
        (
            "403",
            api.prove(&key, "POST", "/orders", &read_only).await,
            "403",
            [
                r#"DPoP realm="api", error="insufficient_scope", error_description="The access token does not grant the required scope", scope="orders:write", algs="ES256 EdDSA""#,
                r#"Bearer realm="api", scope="orders:write""#,
            ],
        ),
    ];
    for (name, response, status, [first, second]) in &cases {
        let challenges = format!("www-authenticate: {first}\nwww-authenticate: {second}\n");
        let expected =
            format!("{status}\n{challenges}cache-control: no-store\n{CORS}connection: close\ncontent-length: 0\n\n");
        let sorted = |text: &str| {
            let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
            lines.sort_by_key(|line| !line.starts_with("www-authenticate"));
            lines[2..].sort();
            lines
        };
        assert_eq!(sorted(&transcript(response)), sorted(&expected), "{name}: {response:#?}");
    }
}

#[tokio::test]
async fn good_proofs_pass_and_a_nonce_is_offered_if_the_client_has_an_old_one() {
    let Some(api) = SenderApi::start(&[("OAUTH_DPOP_NONCE_SECRET", NONCE_SECRET)]).await else { return };
    let key = ProofKey::new();
    let token = api.bound_to(&key);
    let (now, [without, current, previous]) = in_one_step(async |now| {
        let with = |step| proof(&key, "GET", "/orders", &token).nonce(&nonce(step)).sign();
        [
            api.prove(&key, "GET", "/orders", &token).await,
            api.present("GET", "/orders", &token, &with(now)).await,
            api.present("GET", "/orders", &token, &with(now - 1)).await,
        ]
    })
    .await;
    without.must_be(Reply::Nonce, "no nonce");
    assert_eq!(without.one("dpop-nonce"), Some(&*nonce(now)), "the nonce of the secret");
    assert_eq!(without.description(), "The DPoP proof needs the nonce of this server");
    current.must_be(Reply::Ok, "the current nonce");
    previous.must_be(Reply::OkWithNonce, "the previous nonce");
    assert_eq!(previous.one("dpop-nonce"), Some(&*nonce(now)));
    let bad = proof(&key, "GET", "/admin", &token).nonce(&nonce(now)).sign();
    let bad = api.present("GET", "/orders", &token, &bad).await;
    bad.must_be(Reply::Proof, "another URL");
    assert!(bad.one("dpop-nonce").is_some(), "{bad:?}");
    let bearer = api.send("GET", "/orders", &[("Authorization", &format!("Bearer {token}"))]).await;
    bearer.must_be(Reply::BearerToken, "no nonce under Bearer");
    let unbound = format!("Bearer {}", api.token().sign());
    api.send("GET", "/orders", &[("Authorization", &unbound)]).await.must_be(Reply::Ok, "unbound");
}

#[tokio::test]
async fn the_error_is_in_the_challenge_of_the_scheme_that_the_request_used() {
    let Some(api) = SenderApi::start(&[]).await else { return };
    let key = ProofKey::new();
    let (unbound, bound) = (api.token().scope("orders:read").sign(), api.bound_to(&key));
    let good = || proof(&key, "GET", "/orders", &bound).sign();
    let (bearer, dpop) = (format!("Bearer {unbound}"), format!("DPoP {bound}"));
    api.send("POST", "/orders", &[("Authorization", &bearer)])
        .await
        .must_be(Reply::BearerScope("orders:write"), "scope");
    for other in [&bearer, &dpop] {
        let headers = [("Authorization", &**other), ("Authorization", &dpop), ("DPoP", &good())];
        api.send("GET", "/orders", &headers).await.must_be(Reply::BothRequest, "two tokens");
    }
    for malformed in ["DPoP", "DPoP ", "DPoP a,b", "dpop \"a\""] {
        let headers = [("Authorization", malformed), ("DPoP", &good())];
        api.send("GET", "/orders", &headers).await.must_be(Reply::DpopRequest, malformed);
    }
    for spelling in [format!("dpop {bound}"), format!("DPOP   {bound}")] {
        let headers = [("authorization", &*spelling), ("dPoP", &good())];
        api.send("GET", "/orders", &headers).await.must_be(Reply::Ok, "schemes and names have no case");
    }
}

#[tokio::test]
async fn whoami_shows_what_the_token_is_bound_to() {
    let Some(api) = SenderApi::start(&[("OAUTH_CLIENT_CERT", "rfc9440")]).await else { return };
    let key = ProofKey::new();
    // A sequence without members, whose hash is all that counts.
    let (der, certificate) = ([0x30, 0], ("Client-Cert", ":MAA=:"));
    let x5t = URL_SAFE_NO_PAD.encode(digest(&SHA256, &der));
    let by_certificate = api.token().bound_to_certificate(&der).sign();
    let by_both = api.token().bound_to(&key).bound_to_certificate(&der).sign();
    let by_key = api.bound_to(&key);
    let jkt = key.thumbprint();
    let bearer = |token: &str| format!("Bearer {token}");
    let proven = |token: &str| proof(&key, "GET", "/whoami", token).sign();
    let cases = [
        (api.send("GET", "/whoami", &[("Authorization", &bearer(&api.token().sign()))]).await, Value::Null),
        (api.prove(&key, "GET", "/whoami", &by_key).await, json!({"jkt": jkt})),
        (
            api.send("GET", "/whoami", &[("Authorization", &bearer(&by_certificate)), certificate]).await,
            json!({"x5t#S256": x5t}),
        ),
        (
            api.send(
                "GET",
                "/whoami",
                &[("Authorization", &format!("DPoP {by_both}")), ("DPoP", &proven(&by_both)), certificate],
            )
            .await,
            json!({"jkt": jkt, "x5t#S256": x5t}),
        ),
    ];
    for (response, confirmation) in cases {
        response.must_be(Reply::Ok, "bound");
        let issuer = &api.issuer.identifier;
        let scopes = ["orders:read", "orders:write"];
        let shown =
            json!({"sub": "ada", "client_id": "app", "scopes": scopes, "iss": issuer, "confirmation": confirmation});
        assert_eq!(serde_json::from_str::<Value>(&response.body).unwrap(), shown);
    }
}

#[tokio::test]
async fn transfer_takes_bound_tokens_with_its_scope_only() {
    let Some(api) = SenderApi::start(&[]).await else { return };
    let key = ProofKey::new();
    api.prove(&key, "POST", "/transfer", &api.bound_to(&key)).await.must_be(Reply::Ok, "bound");
    let read_only = api.token().scope("orders:read").bound_to(&key).sign();
    let refused = api.prove(&key, "POST", "/transfer", &read_only).await;
    refused.must_be(Reply::DpopScope("orders:write"), "scope");
    let unbound = format!("Bearer {}", api.token().sign());
    let refused = api.send("POST", "/transfer", &[("Authorization", &unbound)]).await;
    refused.must_be(Reply::OnlyDpop, "an unbound token");
    api.send("POST", "/transfer", &[]).await.must_be(Reply::Bare, "no token");
    let bearer = format!("Bearer {}", api.bound_to(&key));
    api.send("POST", "/transfer", &[("Authorization", &bearer)]).await.must_be(Reply::BearerToken, "bound, as Bearer");
    assert_eq!(api.send("GET", "/transfer", &[]).await.status, 401, "another method needs a token too");
}

#[tokio::test]
async fn transfer_takes_no_token_without_dpop_and_certificates() {
    let Some(api) = SenderApi::start(&[("OAUTH_DPOP_BASE", "")]).await else { return };
    let key = ProofKey::new();
    for token in [api.token().sign(), api.bound_to(&key)] {
        let bearer = format!("Bearer {token}");
        let response = api.send("POST", "/transfer", &[("Authorization", &bearer)]).await;
        response.must_be(Reply::BearerToken, "nothing can be proven");
        let response = api.prove(&key, "POST", "/transfer", &token).await;
        response.must_be(Reply::Bare, "the scheme is not known");
    }
}

#[tokio::test]
async fn step_up_requires_a_recent_strong_authentication() {
    let Some(api) = SenderApi::start(&[]).await else { return };
    let key = ProofKey::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let authenticated = |acr: &str, ago: u64| {
        let at = now.saturating_sub(Duration::from_secs(ago)).as_secs();
        api.token().claim("acr", acr).claim("auth_time", at)
    };
    let recent = authenticated("urn:example:mfa", 200);
    api.prove(&key, "GET", "/step-up", &recent.clone().bound_to(&key).sign()).await.must_be(Reply::Ok, "recent");
    let bearer = format!("Bearer {}", recent.sign());
    api.send("GET", "/step-up", &[("Authorization", &bearer)]).await.must_be(Reply::Ok, "unbound");
    for token in [authenticated("urn:example:mfa", 400), authenticated("pwd", 1), api.token()] {
        let parameters = "error=\"insufficient_user_authentication\", error_description=\"This resource requires a more recent or \
                          stronger authentication\", acr_values=\"urn:example:mfa\", max_age=\"300\"";
        let response = api.prove(&key, "GET", "/step-up", &token.clone().bound_to(&key).sign()).await;
        assert_eq!(response.status, 401);
        let [dpop, bearer] = response.all("www-authenticate")[..] else { panic!("{response:?}") };
        assert!(dpop.starts_with(&format!("DPoP realm=\"api\", {parameters}, algs=\"")), "{dpop}");
        assert_eq!(bearer, "Bearer realm=\"api\"");
        let response = api.send("GET", "/step-up", &[("Authorization", &format!("Bearer {}", token.sign()))]).await;
        let [bearer, dpop] = response.all("www-authenticate")[..] else { panic!("{response:?}") };
        assert_eq!(bearer, format!("Bearer realm=\"api\", {parameters}"));
        assert!(dpop.starts_with("DPoP realm=\"api\", algs=\""), "{dpop}");
    }
}

#[tokio::test]
async fn one_proof_is_good_for_both_layers_of_a_nested_route() {
    for settings in [&[][..], &[("OAUTH_DPOP_NONCE_SECRET", NONCE_SECRET)]] {
        let Some(api) = SenderApi::start(settings).await else { return };
        let key = ProofKey::new();
        let token = api.bound_to(&key);
        let path = "/nested/orders";
        let (_, [response, old, again]) = in_one_step(async |now| {
            let current = proof(&key, "GET", path, &token).nonce(&nonce(now)).sign();
            let old = proof(&key, "GET", path, &token).nonce(&nonce(now - 1)).sign();
            [
                api.present("GET", path, &token, &current).await,
                api.present("GET", path, &token, &old).await,
                api.present("GET", path, &token, &current).await,
            ]
        })
        .await;
        response.must_be(Reply::Ok, "the proof of this request");
        old.must_be(if settings.is_empty() { Reply::Ok } else { Reply::OkWithNonce }, "an old nonce");
        again.must_be(Reply::Proof, "a second request");
        assert_eq!(again.description(), "The DPoP proof was used before");
        let other_scope = api.token().scope("orders:write").bound_to(&key).sign();
        let with_nonce = proof(&key, "GET", path, &other_scope).nonce(&nonce(super::sender_fixture::step())).sign();
        let refused = api.present("GET", path, &other_scope, &with_nonce).await;
        refused.must_be(Reply::DpopScope("orders:read"), "scope");
        let unbound = format!("Bearer {}", api.token().sign());
        api.send("GET", path, &[("Authorization", &unbound)]).await.must_be(Reply::Ok, "unbound");
    }
}

#[tokio::test]
async fn echo_returns_the_path_as_it_was_received() {
    let Some(api) = SenderApi::start(&[]).await else { return };
    let key = ProofKey::new();
    let token = api.bound_to(&key);
    for (method, path) in [("GET", "/echo/a"), ("POST", "/echo/a/b%7e/~"), ("GET", "/echo/A//%C3%A9/")] {
        let response = api.prove(&key, method, path, &token).await;
        response.must_be(Reply::Ok, path);
        assert_eq!(response.body, path);
    }
    let response = api.present("GET", "/echo/a?b=c", &token, &proof(&key, "GET", "/echo/a", &token).sign()).await;
    assert_eq!((response.status, &*response.body), (200, "/echo/a"), "without the query");
    let unbound = format!("Bearer {}", api.token().scope("other").sign());
    api.send("POST", "/echo/x", &[("Authorization", &unbound)]).await.must_be(Reply::Ok, "any token");
    api.send("GET", "/echo/x", &[]).await.must_be(Reply::Bare, "no token");
}

#[tokio::test]
async fn require_refuses_every_unbound_token() {
    let Some(api) = SenderApi::start(&[("OAUTH_SENDER_CONSTRAINT", "require")]).await else { return };
    let key = ProofKey::new();
    let bound = api.bound_to(&key);
    api.prove(&key, "GET", "/orders", &bound).await.must_be(Reply::Ok, "bound");
    let unbound = format!("Bearer {}", api.token().sign());
    api.send("GET", "/orders", &[("Authorization", &unbound)]).await.must_be(Reply::OnlyDpop, "unbound");
    api.send("GET", "/orders", &[]).await.must_be(Reply::Bare, "no token");
    let bearer = format!("Bearer {bound}");
    api.send("GET", "/orders", &[("Authorization", &bearer)]).await.must_be(Reply::BearerToken, "bound, as Bearer");
    let garbage = api.present("GET", "/orders", "garbage", "x").await;
    garbage.must_be(Reply::DpopToken, "not a token");
    api.present("GET", "/orders", &bound, "x").await.must_be(Reply::Proof, "not a proof");
}

#[tokio::test]
async fn require_with_certificates_only_refuses_unbound_tokens_as_invalid() {
    let settings =
        [("OAUTH_DPOP_BASE", ""), ("OAUTH_CLIENT_CERT", "pem:X-Cert"), ("OAUTH_SENDER_CONSTRAINT", "require")];
    let Some(api) = SenderApi::start(&settings).await else { return };
    let unbound = format!("Bearer {}", api.token().sign());
    let response = api.send("GET", "/orders", &[("Authorization", &unbound), ("X-Cert", "MAA=")]).await;
    response.must_be(Reply::BearerToken, "unbound");
    let bound = format!("Bearer {}", api.token().bound_to_certificate(&[0x30, 0]).sign());
    let response = api.send("POST", "/transfer", &[("Authorization", &bound), ("X-Cert", "MAA=")]).await;
    response.must_be(Reply::Ok, "bound");
    let response = api.send("POST", "/transfer", &[("Authorization", &bound), ("Client-Cert", ":MAA=:")]).await;
    response.must_be(Reply::BearerToken, "another header");
}

#[tokio::test]
async fn each_base_url_of_the_list_is_accepted() {
    let bases = "https://api.example.test/v1/, http://localhost:8080,https://other.test";
    let Some(api) = SenderApi::start(&[("OAUTH_DPOP_BASE", bases)]).await else { return };
    let key = ProofKey::new();
    let token = api.bound_to(&key);
    for (base, reply) in [
        (BASE, Reply::Ok),
        ("http://localhost:8080", Reply::Ok),
        ("https://other.test", Reply::Ok),
        ("https://api.example.test", Reply::Proof),
        ("https://other.test/v1", Reply::Proof),
        ("https://inside.test", Reply::Proof),
    ] {
        let proof = key.proof("GET", &format!("{base}/orders")).token(&token).sign();
        api.present("GET", "/orders", &token, &proof).await.must_be(reply, base);
    }
}

#[tokio::test]
async fn the_settings_of_proofs_are_applied() {
    let key = ProofKey::new();
    let aged = |api: &SenderApi, age: u64| {
        let token = api.bound_to(&key);
        let at = SystemTime::now() - Duration::from_secs(age);
        (proof(&key, "GET", "/orders", &token).issued_at(at).sign(), token)
    };
    for (max_age, accepted, refused) in [("", 50, 70), ("300", 290, 310), ("10", 5, 20)] {
        let Some(api) = SenderApi::start(&[("OAUTH_DPOP_MAX_AGE", max_age)]).await else { return };
        let (proof, token) = aged(&api, accepted);
        api.present("GET", "/orders", &token, &proof).await.must_be(Reply::Ok, max_age);
        let (proof, token) = aged(&api, refused);
        let response = api.present("GET", "/orders", &token, &proof).await;
        assert_eq!(
            response.must_be(Reply::Proof, max_age).description(),
            "The DPoP proof is from another time: check the clock"
        );
    }
    let Some(api) = SenderApi::start(&[("OAUTH_DPOP_ALGS", "RS256 EdDSA")]).await else { return };
    api.prove(&key, "GET", "/orders", &api.bound_to(&key)).await.must_be(Reply::Proof, "ES256 is not in the list");
    let key = ProofKey::with_algorithm(tower_oauth::keys::Algorithm::EdDSA);
    api.prove(&key, "GET", "/orders", &api.bound_to(&key)).await.must_be(Reply::Ok, "EdDSA is");
    let Some(api) = SenderApi::start(&[("OAUTH_DPOP_REPLAY", "off")]).await else { return };
    let token = api.bound_to(&key);
    let used = proof(&key, "GET", "/orders", &token).sign();
    for _ in 0..2 {
        api.present("GET", "/orders", &token, &used).await.must_be(Reply::Ok, "replays are accepted");
    }
}

#[tokio::test]
async fn random_nonces_are_those_of_one_instance() {
    let random = [("OAUTH_DPOP_NONCE_SECRET", "random")];
    let Some(one) = SenderApi::start(&random).await else { return };
    let Some(other) = SenderApi::trusting(one.issuer.clone(), &random).await else { return };
    let key = ProofKey::new();
    let token = one.bound_to(&key);
    let first = one.prove(&key, "GET", "/orders", &token).await;
    let nonce = first.must_be(Reply::Nonce, "no nonce").one("dpop-nonce").unwrap().to_owned();
    let with_nonce = || proof(&key, "GET", "/orders", &token).nonce(&nonce).sign();
    assert_eq!(one.present("GET", "/orders", &token, &with_nonce()).await.status, 200);
    other.present("GET", "/orders", &token, &with_nonce()).await.must_be(Reply::Nonce, "another secret");
}

#[tokio::test]
async fn always_ask_introspects_good_jwts_too() {
    let mixed = [("OAUTH_MODE", "mixed"), ("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "secret")];
    for (always, asked) in [("", 0), ("1", 1)] {
        let settings = [&mixed[..], &[("OAUTH_ALWAYS_ASK", always)]].concat();
        let Some(api) = SenderApi::start(&settings).await else { return };
        let key = ProofKey::new();
        let token = api.bound_to(&key);
        let response = json!({
            "active": true,
            "sub": "ada",
            "client_id": "app",
            "aud": API,
            "scope": "orders:read",
            "iss": api.issuer.identifier,
            "cnf": {"jkt": key.thumbprint()},
        });
        api.issuer.introspection_of(&token, Answer::Body(response.to_string()));
        api.prove(&key, "GET", "/orders", &token).await.must_be(Reply::Ok, "both accept it");
        assert_eq!(api.issuer.introspection_count(), asked, "{always:?}");
        // Inactive, by the default answer of the issuer.
        let revoked = api.token().claim("jti", "revoked").bound_to(&key).sign();
        let reply = if always.is_empty() { Reply::Ok } else { Reply::DpopToken };
        api.prove(&key, "GET", "/orders", &revoked).await.must_be(reply, "the issuer revoked it");
    }
}

/// Without the feature, a Redis URL is a wrong setting.
#[cfg(feature = "redis-replay")]
#[tokio::test]
async fn proofs_get_503_while_redis_is_down() {
    let Some(api) = SenderApi::start(&[("OAUTH_DPOP_REPLAY", "redis://127.0.0.1:1")]).await else { return };
    let key = ProofKey::new();
    api.prove(&key, "GET", "/orders", &api.bound_to(&key)).await.must_be(Reply::Unavailable, "a good proof");
    api.present("GET", "/orders", &api.bound_to(&key), "x").await.must_be(Reply::Proof, "a bad proof");
    let unbound = format!("Bearer {}", api.token().sign());
    api.send("GET", "/orders", &[("Authorization", &unbound)]).await.must_be(Reply::Ok, "unbound");
}

/// RFC 9449 §7.1 b (derived, accepts)
#[tokio::test]
async fn web_pages_of_every_origin_can_send_proofs_and_read_nonces() {
    let with_cors: [&[(&str, &str)]; 5] = [
        &[("OAUTH_DPOP_BASE", BASE)],
        &[("OAUTH_SENDER_CONSTRAINT", "accept")],
        &[("OAUTH_CLIENT_CERT", "rfc9440")],
        &[("OAUTH_ALWAYS_ASK", "1"), ("OAUTH_MODE", "mixed"), ("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "s")],
        &[("OAUTH_DPOP_BASE", BASE), ("OAUTH_DPOP_NONCE_SECRET", "random")],
    ];
    for settings in with_cors {
        let without_dpop = [("OAUTH_DPOP_BASE", "")];
        let settings =
            if settings[0].0 == "OAUTH_DPOP_BASE" { settings.to_vec() } else { [&without_dpop[..], settings].concat() };
        let Some(api) = SenderApi::start(&settings).await else { return };
        for path in
            ["/whoami", "/orders", "/transfer", "/step-up", "/nested/orders", "/echo/a/b", "/public", "/unknown"]
        {
            let response = api.send("OPTIONS", path, &PREFLIGHT).await;
            assert_eq!(response.status, 200, "{path}: {response:?}");
            let allowed = response.one("access-control-allow-headers").unwrap().to_ascii_lowercase();
            let allowed: Vec<_> = allowed.split(',').map(str::trim).collect();
            assert!(allowed.contains(&"authorization") && allowed.contains(&"dpop"), "{path}: {allowed:?}");
            assert_eq!(response.one("access-control-allow-origin"), Some("*"), "{path}");
            assert_eq!(response.one("access-control-allow-methods"), Some("GET,POST"), "{path}");
            assert_eq!(response.all("www-authenticate"), [""; 0], "{path}");
            let response = api.send("GET", path, &[("Origin", "https://app.test")]).await;
            assert_eq!(response.one("access-control-allow-origin"), Some("*"), "{path}: {response:?}");
            let exposed = response.one("access-control-expose-headers").unwrap();
            assert_eq!(exposed, "dpop-nonce,www-authenticate", "{path}: {response:?}");
        }
    }
}

/// RFC 9449 §7.1 b (derived, refuses)
#[tokio::test]
async fn without_new_settings_there_is_no_cors() {
    let Some(api) = SenderApi::start(&[("OAUTH_DPOP_BASE", "")]).await else { return };
    let response = api.send("OPTIONS", "/orders", &PREFLIGHT).await;
    assert_eq!(response.status, 401, "{response:?}");
    let response = api.send("GET", "/public", &[("Origin", "https://app.test")]).await;
    assert!(
        response.headers.iter().all(|(name, _)| !name.starts_with("access-control-") && name != "vary"),
        "{response:?}"
    );
}

const PREFLIGHT: [(&str, &str); 3] = [
    ("Origin", "https://app.test"),
    ("Access-Control-Request-Method", "POST"),
    ("Access-Control-Request-Headers", "authorization,dpop"),
];
