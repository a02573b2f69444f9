//! Rows S1 to S4, S8 to S12 and S17 to S20: the scheme of a request, and what its token is bound to.

use serde_json::{Value, json};
use tower_oauth::testing::ProofKey;

use super::{Bound, Row, must_be};
use crate::{
    programs::protected_api::sender_fixture::{RawResponse, Reply, SenderApi, proof},
    support::API,
};

/// RFC 9449 §4.1 (MUST, accepts)
/// RFC 9449 §6.1 (MUST, accepts and refuses)
#[tokio::test]
async fn s1_to_s4_the_scheme_and_the_key() {
    let Some(client) = Bound::start(&[]).await else { return };
    let (dpop, bearer, other) = (client.dpop(), client.bearer(), ProofKey::new());
    let unbound = client.api.token().sign();
    let good = || ("DPoP", client.proof().sign());
    let for_unbound = || ("DPoP", proof(&client.key, "GET", "/orders", &unbound).sign());
    let of_other = || ("DPoP", proof(&other, "GET", "/orders", &client.token).sign());
    let with = |value: &str| ("Authorization", value.to_owned());
    let upper = format!("{}{}", "BEARER ", client.token);
    client
        .check(vec![
            Row("S1", "as Bearer", vec![with(&bearer)], Reply::BearerToken),
            Row("S1", "as Bearer, with a good proof", vec![with(&bearer), good()], Reply::BearerToken),
            Row("S1", "as Bearer, with a bad proof", vec![with(&bearer), ("DPoP", "x".into())], Reply::BearerToken),
            Row("S1", "in capitals, with a good proof", vec![with(&upper), good()], Reply::BearerToken),
            Row("S2", "unbound", vec![with(&format!("DPoP {unbound}")), for_unbound()], Reply::DpopToken),
            Row("S2", "unbound, without a proof", vec![with(&format!("DPoP {unbound}"))], Reply::DpopToken),
            Row("S3", "another key", vec![with(&dpop), of_other()], Reply::DpopToken),
            Row("S4", "dpop", vec![with(&format!("dpop {}", client.token)), good()], Reply::Ok),
            Row("S4", "DPOP", vec![with(&format!("DPOP {}", client.token)), good()], Reply::Ok),
            Row("S4", "dPoP", vec![with(&format!("dPoP {}", client.token)), good()], Reply::Ok),
            Row("S4", "several spaces", vec![with(&format!("DPoP     {}", client.token)), good()], Reply::Ok),
            Row("S4", "spaces around", vec![with(&format!("  {dpop}  ")), good()], Reply::Ok),
            Row("S4", "a tab", vec![with(&format!("DPoP\t{}", client.token)), good()], Reply::Bare),
            Row("S4", "another scheme", vec![with(&format!("DPoPx {}", client.token)), good()], Reply::Bare),
            Row("S8", "a good stray proof", vec![with(&format!("Bearer {unbound}")), for_unbound()], Reply::Ok),
            Row("S8", "a used stray proof", vec![with(&format!("Bearer {unbound}")), good()], Reply::Ok),
            Row("S8", "a bad stray proof", vec![with(&format!("Bearer {unbound}")), ("DPoP", "x".into())], Reply::Ok),
            Row("S8", "an empty one", vec![with(&format!("Bearer {unbound}")), ("DPoP", String::new())], Reply::Ok),
            Row("S8", "two", vec![with(&format!("Bearer {unbound}")), good(), good()], Reply::Ok),
            Row("bare", "no credentials", vec![], Reply::Bare),
            Row("bare", "no credentials but a proof", vec![good()], Reply::Bare),
            Row("S17", "bad token, bad proof", vec![with(&format!("{dpop}x")), ("DPoP", "x".into())], Reply::DpopToken),
            Row("S17", "bad token, no proof", vec![with(&format!("{dpop}x"))], Reply::DpopToken),
            Row("S17", "bad token, two proofs", vec![with(&format!("{dpop}x")), good(), good()], Reply::DpopToken),
            Row("S17", "no JWT", vec![with("DPoP opaque"), good()], Reply::DpopToken),
            Row("S17", "bad token, good proof", vec![with(&format!("{dpop}x")), good()], Reply::DpopToken),
        ])
        .await;
    let expired = client.api.token().bound_to(&client.key).claim("exp", 1_000_000_000).sign();
    let proof = proof(&client.key, "GET", "/orders", &expired).sign();
    must_be(&client.api.present("GET", "/orders", &expired, &proof).await, Reply::DpopToken, "S17: expired");
}

/// Something binds the token that the server can't check, so it refuses the token.
///
/// RFC 7800 §3.1 (derived, refuses)
#[tokio::test]
async fn s9_a_confirmation_that_is_not_understood_refuses_the_token() {
    let certificates = [("OAUTH_CLIENT_CERT", "rfc9440")];
    for settings in [&[][..], &certificates] {
        let Some(client) = Bound::start(settings).await else { return };
        let jkt = client.key.thumbprint();
        let x5t = "A".repeat(43);
        for cnf in [
            Value::Null,
            json!({}),
            json!(jkt),
            json!([{"jkt": jkt}]),
            json!(5),
            json!(true),
            json!({"jkt": ""}),
            json!({"jkt": null}),
            json!({"jkt": 5}),
            json!({"jkt": [jkt]}),
            json!({"jkt": {"S256": jkt}}),
            json!({"jkt": jkt[..42]}),
            json!({"jkt": format!("{jkt}A")}),
            json!({"jkt": format!("{jkt}=")}),
            json!({"jkt": format!("{jkt} ")}),
            json!({"jkt": format!("{}!", &jkt[..42])}),
            json!({"jkt": jkt, "foo": 1}),
            json!({"jkt": jkt, "kid": "a"}),
            json!({"jkt": jkt, "x5t": "a"}),
            json!({"jkt": jkt, "x5t#S256": null}),
            json!({"jkt": jkt, "x5t#S256": "short"}),
            json!({"jwk": client.key.jwk()}),
            json!({"kid": "a"}),
            json!({"jku": "https://app.test/keys"}),
            json!({"jwe": "a.b.c.d.e"}),
            json!({"x5t#S256": x5t, "foo": 1}),
            json!({"x5t": "AAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
            json!({"JKT": jkt}),
            json!({"osc": {}}),
        ] {
            let token = client.api.token().claim("cnf", cnf.clone()).sign();
            let proof = proof(&client.key, "GET", "/orders", &token).sign();
            let response = client.api.present("GET", "/orders", &token, &proof).await;
            must_be(&response, Reply::DpopToken, &format!("S9: {cnf} under DPoP"));
            for more in [&[][..], &[("DPoP", &*proof)], &[("Client-Cert", ":MAA=:")]] {
                let bearer = format!("Bearer {token}");
                let response =
                    client.api.send("GET", "/orders", &[&[("Authorization", &*bearer)], more].concat()).await;
                must_be(&response, Reply::BearerToken, &format!("S9: {cnf} under Bearer"));
            }
        }
        let bound = json!({"jkt": jkt});
        let token = client.api.token().claim("cnf", bound).sign();
        let proof = proof(&client.key, "GET", "/orders", &token).sign();
        must_be(&client.api.present("GET", "/orders", &token, &proof).await, Reply::Ok, "S9: jkt alone");
    }
}

/// RFC 7800 §3.1 (derived, accepts)
#[tokio::test]
async fn s10_key_and_certificate_must_both_be_proven() {
    let Some(client) = Bound::start(&[("OAUTH_CLIENT_CERT", "rfc9440")]).await else { return };
    // The certificate is an empty sequence: only its hash counts.
    let token = client.api.token().bound_to(&client.key).bound_to_certificate(&[0x30, 0]).sign();
    let right = ("Client-Cert", ":MAA=:".to_owned());
    let other = ("Client-Cert", ":MAMCAQA=:".to_owned());
    let good = || ("DPoP", proof(&client.key, "GET", "/orders", &token).sign());
    let of_other_key = ("DPoP", proof(&ProofKey::new(), "GET", "/orders", &token).sign());
    let dpop = ("Authorization", format!("DPoP {token}"));
    let bearer = ("Authorization", format!("Bearer {token}"));
    client
        .check(vec![
            Row("S10", "both", vec![dpop.clone(), good(), right.clone()], Reply::Ok),
            Row("S10", "no certificate", vec![dpop.clone(), good()], Reply::DpopToken),
            Row("S10", "another certificate", vec![dpop.clone(), good(), other.clone()], Reply::DpopToken),
            Row("S10", "two certificates", vec![dpop.clone(), good(), right.clone(), other], Reply::DpopToken),
            Row("S10", "another key", vec![dpop.clone(), of_other_key, right.clone()], Reply::DpopToken),
            Row("S10", "neither", vec![dpop.clone()], Reply::DpopToken),
            // The proof alone is missing, as in row P1.
            Row("S10", "no proof", vec![dpop, right.clone()], Reply::Proof),
            Row("S10", "as Bearer", vec![bearer.clone(), right.clone()], Reply::BearerToken),
            Row("S10", "as Bearer, with a proof", vec![bearer, good(), right], Reply::BearerToken),
        ])
        .await;
    // Where certificates are off, nothing proves the certificate.
    let Some(client) = Bound::start(&[]).await else { return };
    let token = client.api.token().bound_to(&client.key).bound_to_certificate(&[0x30, 0]).sign();
    let proof = ("DPoP", proof(&client.key, "GET", "/orders", &token).sign());
    let headers = vec![("Authorization", format!("DPoP {token}")), proof, ("Client-Cert", ":MAA=:".to_owned())];
    client.check(vec![Row("S10", "certificates are off", headers, Reply::DpopToken)]).await;
}

#[tokio::test]
async fn s11_without_dpop_all_is_as_before() {
    let Some(client) = Bound::start(&[("OAUTH_DPOP_BASE", "")]).await else { return };
    let unbound = client.api.token().sign();
    let good = || ("DPoP", client.proof().sign());
    let with = |value: String| ("Authorization", value);
    client
        .check(vec![
            Row("S11", "scheme DPoP", vec![with(client.dpop()), good()], Reply::Bare),
            Row("S11", "scheme DPoP, unbound", vec![with(format!("DPoP {unbound}")), good()], Reply::Bare),
            Row("S11", "scheme DPoP, no proof", vec![with(client.dpop())], Reply::Bare),
            Row("S11", "bound", vec![with(client.bearer())], Reply::BearerToken),
            Row("S11", "bound, with a proof", vec![with(client.bearer()), good()], Reply::BearerToken),
            Row("S11", "unbound", vec![with(format!("Bearer {unbound}")), good()], Reply::Ok),
            Row("S11", "no credentials", vec![], Reply::Bare),
        ])
        .await;
    let response = client.api.send("GET", "/orders", &[]).await;
    assert_eq!(response.all("www-authenticate"), ["Bearer realm=\"api\""], "S11: one line");
}

#[tokio::test]
async fn s12_where_only_bound_tokens_are_accepted() {
    let Some(client) = Bound::start(&[("OAUTH_SENDER_CONSTRAINT", "require")]).await else { return };
    let unbound = client.api.token().sign();
    let good = || ("DPoP", client.proof().sign());
    let with = |value: String| ("Authorization", value);
    let used = good();
    client
        .check(vec![
            Row("S12", "unbound", vec![with(format!("Bearer {unbound}"))], Reply::OnlyDpop),
            Row("S12", "unbound, with a proof", vec![with(format!("Bearer {unbound}")), good()], Reply::OnlyDpop),
            Row("S12", "a bad bearer token", vec![with(format!("Bearer {unbound}x"))], Reply::OnlyDpop),
            Row("S12", "no credentials", vec![], Reply::OnlyDpop),
            Row("S12", "unbound under DPoP", vec![with(format!("DPoP {unbound}")), good()], Reply::DpopToken),
            Row("S12", "bound, as Bearer", vec![with(client.bearer())], Reply::BearerToken),
            Row("S12", "no proof", vec![with(client.dpop())], Reply::Proof),
            Row("S12", "bound", vec![with(client.dpop()), used.clone()], Reply::Ok),
            Row("S12", "a replay", vec![with(client.dpop()), used], Reply::Proof),
            Row("S12", "no token", vec![with("DPoP".to_owned())], Reply::DpopRequest),
        ])
        .await;
}

/// RFC 9470 §3 b (MUST, refuses)
#[tokio::test]
async fn s18_a_missing_scope_is_in_the_line_of_the_scheme() {
    let Some(client) = Bound::start(&[]).await else { return };
    let token = client.api.token().scope("orders:read").bound_to(&client.key).sign();
    let response = client.api.prove(&client.key, "POST", "/orders", &token).await;
    must_be(&response, Reply::DpopScope("orders:write"), "S18: POST /orders");
    let response = client.api.prove(&client.key, "GET", "/admin", &token).await;
    must_be(&response, Reply::DpopScope("orders:read admin"), "S18: GET /admin");
    let response = client.api.prove(&client.key, "POST", "/transfer", &token).await;
    must_be(&response, Reply::DpopScope("orders:write"), "S18: POST /transfer");
    let unbound = format!("Bearer {}", client.api.token().scope("orders:read").sign());
    let response = client.api.send("POST", "/orders", &[("Authorization", &unbound)]).await;
    must_be(&response, Reply::BearerScope("orders:write"), "S18: under Bearer");
}

/// Panics unless these are the lines, without `algs` and the descriptions.
#[track_caller]
fn lines_are(response: &RawResponse, status: u16, expected: [&str; 2], row: &str) {
    assert_eq!(response.status, status, "{row}: {response:#?}");
    let short = |line: &&str| {
        let line = line.split(", algs=\"").next().unwrap_or_default();
        let Some((before, rest)) = line.split_once(", error_description=\"") else { return line.to_owned() };
        format!("{before}{}", rest.split_once('"').unwrap().1)
    };
    assert_eq!(response.all("www-authenticate").iter().map(short).collect::<Vec<_>>(), expected, "{row}");
    for line in response.all("www-authenticate") {
        assert_eq!(line.contains(", algs=\""), line.starts_with("DPoP "), "{row}: {line}");
    }
    assert_eq!(response.one("cache-control"), Some("no-store"), "{row}");
    assert_eq!(response.all("dpop-nonce"), [""; 0], "{row}");
}

/// RFC 9470 §3 b (MUST, accepts)
#[tokio::test]
async fn s19_a_step_up_is_in_the_line_of_the_scheme() {
    let Some(client) = Bound::start(&[]).await else { return };
    let error = "error=\"insufficient_user_authentication\", acr_values=\"urn:example:mfa\", max_age=\"300\"";
    let response = client.api.prove(&client.key, "GET", "/step-up", &client.token).await;
    lines_are(&response, 401, [&format!("DPoP realm=\"api\", {error}"), "Bearer realm=\"api\""], "S19: under DPoP");
    let unbound = format!("Bearer {}", client.api.token().sign());
    let response = client.api.send("GET", "/step-up", &[("Authorization", &unbound)]).await;
    lines_are(&response, 401, [&format!("Bearer realm=\"api\", {error}"), "DPoP realm=\"api\""], "S19: under Bearer");
}

#[tokio::test]
async fn s20_one_proof_is_good_for_two_layers_of_one_request() {
    let Some(client) = Bound::start(&[]).await else { return };
    let path = "/nested/orders";
    let used = client.proof_for("GET", path).sign();
    for reply in [Reply::Ok, Reply::Proof, Reply::Proof] {
        must_be(&client.api.present("GET", path, &client.token, &used).await, reply, "S20");
    }
    // No header takes the place of the outer layer's mark.
    let headers = [("Authorization", &*client.dpop()), ("DPoP", &*used), ("X-DPoP-Checked", "1")];
    must_be(&client.api.send("GET", path, &headers).await, Reply::Proof, "S20: a header");
    let bearer = client.bearer();
    let response = client.api.send("GET", path, &[("Authorization", &bearer), ("DPoP", &used)]).await;
    must_be(&response, Reply::BearerToken, "S20: as Bearer");
}

/// Each line has the URL of the metadata and, where it would be without DPoP, the scope.
#[tokio::test]
async fn every_line_has_the_url_of_the_metadata() {
    let resource = "https://api.test";
    let settings = [("OAUTH_RESOURCE_METADATA", "1"), ("OAUTH_AUDIENCE", resource)];
    let Some(api) = SenderApi::start(&settings).await else { return };
    assert_eq!(API, resource, "the audience of the tokens");
    let key = ProofKey::new();
    let url = "resource_metadata=\"https://api.test/.well-known/oauth-protected-resource\"";
    let token = api.token().scope("orders:read").bound_to(&key).sign();
    let both = |first: &str, error: &str, second: &str, more: &str| {
        [format!("{first} realm=\"api\", {error}{more}{url}"), format!("{second} realm=\"api\", {more}{url}")]
    };
    for (response, status, [first, second]) in [
        (api.send("GET", "/orders", &[]).await, 401, both("Bearer", "", "DPoP", "")),
        (
            api.present("GET", "/orders", &token, "x").await,
            401,
            both("DPoP", "error=\"invalid_dpop_proof\", ", "Bearer", ""),
        ),
        (
            api.send("GET", "/orders", &[("Authorization", &format!("Bearer {token}"))]).await,
            401,
            both("Bearer", "error=\"invalid_token\", ", "DPoP", ""),
        ),
        (
            api.prove(&key, "POST", "/orders", &token).await,
            403,
            both("DPoP", "error=\"insufficient_scope\", ", "Bearer", "scope=\"orders:write\", "),
        ),
    ] {
        lines_are(&response, status, [&first, &second], "resource_metadata");
    }
}
