//! The variables of the program, right and wrong, and its arguments.

use std::{
    collections::BTreeSet,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::json;
use tower_oauth::{Preset, keys::Algorithm, testing::TokenBuilder};

use super::{Api, run};
use crate::{
    fake_issuer::{Answer, FakeIssuer},
    program::{Program, SECRET},
    support::API,
};

const SOURCES: [&str; 6] = [
    include_str!("../../../../examples/protected_api/main.rs"),
    include_str!("../../../../examples/protected_api/settings.rs"),
    include_str!("../../../../examples/protected_api/sender_settings.rs"),
    include_str!("../../../../examples/protected_api/tls.rs"),
    include_str!("../../../../examples/support/jwt_settings.rs"),
    include_str!("../../../../examples/support/log.rs"),
];

impl Api {
    /// Starts the program for the tokens of this issuer.
    async fn trusting(issuer: &FakeIssuer, settings: &[(&str, &str)]) -> Option<Self> {
        let trusted = [("OAUTH_ISSUER", &*issuer.identifier), ("OAUTH_AUDIENCE", API)];
        Self::start(&[&trusted[..], settings].concat()).await
    }
}

/// Runs the program, which must refuse to start and name these settings. Returns its messages.
async fn refusal(settings: &[(&str, &str)], named: &[&str]) -> Option<String> {
    let named: Vec<_> = named.iter().map(|name| format!("{name}: ")).collect();
    let named: Vec<_> = named.iter().map(String::as_str).collect();
    Program::example("protected_api").settings(settings).refuses_to_start(&named).await
}

fn token(issuer: &FakeIssuer) -> TokenBuilder {
    issuer.signer(Algorithm::ES256).token("ada").audience(API).scope("orders:read")
}

#[tokio::test]
async fn without_new_settings_it_accepts_tokens_of_rfc_9068_and_shows_their_claims() {
    let issuer = FakeIssuer::start().await;
    let Some(api) = Api::trusting(&issuer, &[]).await else { return };
    let token = token(&issuer).client_id("app");
    let shown = json!({"sub": "ada", "client_id": "app", "scopes": ["orders:read"], "iss": issuer.identifier, "confirmation": null});
    assert_eq!(api.who_am_i(&token.sign()).await, shown);
    assert_eq!(api.status("/orders", &token.sign()).await, 200);
    assert_eq!(api.status("/admin", &token.sign()).await, 403);
    api.refusal(&token.header("typ", "JWT").sign()).await;
}

#[tokio::test]
async fn accepts_what_each_name_in_oauth_accept_says_and_nothing_else() {
    let issuer = FakeIssuer::start().await;
    let id_token = || token(&issuer).header("typ", "JWT").claim("nonce", "n");
    let cases = [
        ("plain-type", "accept_plain_jwt_type", "", token(&issuer).header("typ", "JWT")),
        ("missing-audience", "danger_accept_missing_audience", "", token(&issuer).without_claim("aud")),
        ("id-tokens", "danger_accept_id_tokens", "plain-type", id_token()),
        ("without-sub", "accept_without_sub", "", token(&issuer).without_claim("sub")),
        ("without-client-id", "accept_without_client_id", "", token(&issuer).without_claim("client_id")),
        ("without-iat", "accept_without_iat", "", token(&issuer).without_claim("iat")),
        ("without-jti", "accept_without_jti", "", token(&issuer).without_claim("jti")),
    ];
    for (name, method, also, token) in &cases {
        // Without plain-type, id-tokens would be a mistake.
        let not_with_it = if *name == "plain-type" { "id-tokens" } else { "" };
        let others = cases.iter().map(|(other, ..)| *other).filter(|other| ![*name, not_with_it].contains(other));
        let others = others.collect::<Vec<_>>().join(" ");
        let Some(api) = Api::trusting(&issuer, &[("OAUTH_ACCEPT", &others)]).await else { return };
        api.refusal(&token.sign()).await;
        for list in [format!("{name},{also}"), format!("{also} {method}"), format!("{others}, {name}")] {
            let Some(api) = Api::trusting(&issuer, &[("OAUTH_ACCEPT", list.trim())]).await else { return };
            assert_eq!(api.status("/whoami", &token.sign()).await, 200, "{list:?}");
        }
    }
}

#[tokio::test]
async fn accepts_introspection_responses_without_aud_if_oauth_accept_says_so() {
    let issuer = FakeIssuer::start().await;
    let response = json!({"active": true, "client_id": "app", "sub": "ada", "iss": issuer.identifier});
    issuer.introspection(Answer::Body(response.to_string()));
    for mode in ["introspection", "mixed"] {
        let settings = [("OAUTH_MODE", mode), ("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "secret")];
        let Some(api) = Api::trusting(&issuer, &settings).await else { return };
        api.refusal("opaque").await;
        let settings = [&settings[..], &[("OAUTH_ACCEPT", "missing-audience")]].concat();
        let Some(api) = Api::trusting(&issuer, &settings).await else { return };
        assert_eq!(api.who_am_i("opaque").await["sub"], "ada");
    }
}

#[tokio::test]
async fn accepts_plain_http_beyond_the_loopback_address_only_if_oauth_accept_says_so() {
    let settings = [("OAUTH_ISSUER", "http://auth.test"), ("OAUTH_AUDIENCE", API)];
    let Some(output) = run(&settings, &[]).await else { return };
    let errors = output.stderr;
    assert!(output.status == Some(2) && errors.contains("OAUTH_ISSUER: "), "{errors}");
    for name in ["plain-http", "danger_accept_plain_http"] {
        assert!(Api::start(&[&settings[..], &[("OAUTH_ACCEPT", name)]].concat()).await.is_some());
    }
}

#[tokio::test]
async fn applies_the_leeway() {
    let issuer = FakeIssuer::start().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let expired = token(&issuer).claim("exp", now.as_secs() - 100).sign();
    let Some(api) = Api::trusting(&issuer, &[("OAUTH_LEEWAY", "300")]).await else { return };
    assert_eq!(api.status("/whoami", &expired).await, 200);
    for settings in [&[("OAUTH_LEEWAY", "0")][..], &[]] {
        let Some(api) = Api::trusting(&issuer, settings).await else { return };
        assert!(api.refusal(&expired).await.contains("The access token expired"));
    }
}

#[tokio::test]
async fn applies_the_leeway_to_introspection_responses() {
    let issuer = FakeIssuer::start().await;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let response = json!({"active": true, "aud": API, "sub": "ada", "exp": now.as_secs() - 100});
    issuer.introspection(Answer::Body(response.to_string()));
    let settings = [("OAUTH_MODE", "introspection"), ("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", "secret")];
    for (leeway, status) in [("300", 200), ("30", 401)] {
        let settings = [&settings[..], &[("OAUTH_LEEWAY", leeway)]].concat();
        let Some(api) = Api::trusting(&issuer, &settings).await else { return };
        assert_eq!(api.status("/whoami", "opaque").await, status, "{leeway}");
    }
}

#[tokio::test]
async fn knows_every_preset_by_its_name_and_applies_it() {
    let issuer = FakeIssuer::start().await;
    for preset in Preset::all() {
        if Api::trusting(&issuer, &[("OAUTH_PRESET", preset.as_str())]).await.is_none() {
            return;
        }
    }
    let scopes = token(&issuer).header("typ", "JWT").without_claim("scope").claim("scp", json!(["orders:read"]));
    let token = scopes.without_claim("client_id").claim("cid", "app").claim("uid", "u1").sign();
    for (preset, status) in [("okta", 200), ("Okta", 200), ("keycloak", 401)] {
        let Some(api) = Api::trusting(&issuer, &[("OAUTH_PRESET", preset)]).await else { return };
        assert_eq!(api.status("/orders", &token).await, status, "{preset}");
    }
}

#[tokio::test]
async fn reads_the_token_from_the_header_of_the_preset_or_of_oauth_header() {
    let issuer = FakeIssuer::start().await;
    let valid = token(&issuer).sign();
    let cases = [
        (("OAUTH_PRESET", "cloudflare-access"), "cf-access-jwt-assertion"),
        (("OAUTH_PRESET", "google-iap"), "x-goog-iap-jwt-assertion"),
        (("OAUTH_HEADER", "X-Token"), "x-token"),
    ];
    for (setting, header) in cases {
        let Some(api) = Api::trusting(&issuer, &[setting]).await else { return };
        // Garbage, because a preset may refuse a valid token of another provider. It shows that the header is read.
        let garbage = api.get("/whoami", (header, "garbage")).await;
        assert!(garbage.header("www-authenticate").unwrap().contains("invalid_token"), "{header}");
        let garbage = api.get("/whoami", ("x-other", "garbage")).await;
        assert!(!garbage.header("www-authenticate").unwrap().contains("error"), "{header}");
        let Some(api) = Api::trusting(&issuer, &[]).await else { return };
        assert_eq!(api.get("/whoami", (header, &valid)).await.status, 401, "no header but Authorization by default");
    }
    let Some(api) = Api::trusting(&issuer, &[("OAUTH_HEADER", "X-Token")]).await else { return };
    assert_eq!(api.get("/whoami", ("x-token", &valid)).await.status, 200);
    assert_eq!(api.status("/whoami", &valid).await, 200, "Authorization is still read");
}

#[tokio::test]
async fn names_every_wrong_setting_at_once() {
    let wrong = [
        ("BIND", "127.0.0.1"),
        ("OAUTH_ISSUER", ""),
        ("OAUTH_AUDIENCE", ""),
        ("OAUTH_JWKS_URI", "ftp://x"),
        ("OAUTH_PRESET", "keyclock"),
        ("OAUTH_ACCEPT", "plain-type, everything"),
        ("OAUTH_LEEWAY", "301"),
        ("OAUTH_HEADER", "X Token"),
        ("OAUTH_MODE", "mixed"),
        ("OAUTH_CLIENT_ID", ""),
        ("OAUTH_CLIENT_SECRET", " hush"),
        ("OAUTH_INTROSPECTION_URL", "ftp://x"),
        ("OAUTH_INTROSPECTION_CACHE_SECONDS", "soon"),
        ("RUST_LOG", "a=b"),
    ];
    let named: Vec<_> = wrong.iter().filter(|(name, _)| *name != "OAUTH_MODE").map(|(name, _)| *name).collect();
    let Some(errors) = refusal(&wrong, &named).await else { return };
    for preset in Preset::all() {
        assert!(errors.contains(preset.as_str()), "the message lists the presets: {errors}");
    }
    for accepted in ["plain-type", "missing-audience", "id-tokens", "plain-http", "without-jti"] {
        assert!(errors.contains(accepted), "the message lists what can be accepted: {errors}");
    }
}

#[tokio::test]
async fn names_settings_that_are_missing_or_without_effect_in_each_mode() {
    let url = ("OAUTH_INTROSPECTION_URL", "https://x.test");
    let (id, secret) = (("OAUTH_CLIENT_ID", "rs"), ("OAUTH_CLIENT_SECRET", SECRET));
    let (cache, mode) = (("OAUTH_INTROSPECTION_CACHE_SECONDS", "5"), |mode| ("OAUTH_MODE", mode));
    for (settings, named) in [
        (&[mode("jwt"), url, id, secret, cache][..], &[url.0, id.0, secret.0, cache.0][..]),
        (&[secret], &[secret.0]),
        (&[mode("mixed")], &[id.0, secret.0]),
        (&[mode("introspection"), (url.0, "")], &[url.0, id.0]),
        (&[mode("introspection"), ("OAUTH_PRESET", "okta")], &["OAUTH_PRESET", id.0]),
        (&[mode("opaque")], &["OAUTH_MODE"]),
    ] {
        // Two mistakes of other kinds are reported beside them.
        let named = [named, &["OAUTH_ISSUER", "OAUTH_AUDIENCE"]].concat();
        if refusal(settings, &named).await.is_none() {
            return;
        }
    }
}

#[tokio::test]
async fn reports_each_wrong_value_of_each_new_setting() {
    let cases = [
        ("OAUTH_PRESET", &["", "nothing", "okta,auth0", " okta"][..]),
        ("OAUTH_ACCEPT", &["", "typ", "id-tokens", "plain-type;without-jti", "accept", "without-aud", "without-exp"]),
        ("OAUTH_LEEWAY", &["", "-1", "1.5", "30s", "301", "99999999999999999999"]),
        ("OAUTH_HEADER", &["", "a b", "a:"]),
    ];
    for (name, values) in cases {
        for value in values {
            let settings = [("OAUTH_ISSUER", "http://127.0.0.1:1"), ("OAUTH_AUDIENCE", API), (name, *value)];
            let Some(output) = run(&settings, &[]).await else { return };
            let errors = output.stderr;
            assert!(output.status == Some(2), "{name}={value}: {errors}");
            assert!(errors.contains(&format!("\n{name}: ")) && errors.lines().count() == 2, "{name}={value}: {errors}");
        }
    }
}

#[tokio::test]
async fn refuses_a_preset_where_no_jwt_is_verified() {
    let settings = [
        ("OAUTH_ISSUER", "http://127.0.0.1:1"),
        ("OAUTH_AUDIENCE", API),
        ("OAUTH_MODE", "introspection"),
        ("OAUTH_CLIENT_ID", "rs"),
        ("OAUTH_CLIENT_SECRET", "secret"),
        ("OAUTH_PRESET", "okta"),
    ];
    let Some(output) = run(&settings, &[]).await else { return };
    assert_eq!(output.status, Some(2));
    assert!(output.stderr.contains("OAUTH_PRESET: mode introspection never verifies a JWT"));
}

#[tokio::test]
async fn help_lists_every_variable_that_the_program_reads() {
    let quoted = SOURCES.iter().flat_map(|source| source.split('"').skip(1).step_by(2));
    let is_variable = |text: &&str| {
        let name = text.strip_prefix("OAUTH_").or_else(|| text.strip_prefix("TLS_")).unwrap_or_default();
        ["BIND", "RUST_LOG"].contains(text)
            || !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    let variables: BTreeSet<_> = quoted.filter(is_variable).collect();
    assert!(
        variables.contains("OAUTH_PRESET") && variables.contains("RUST_LOG") && variables.len() > 10,
        "{variables:?}"
    );
    for argument in ["--help", "-h"] {
        // Wrong settings don't matter.
        let Some(output) = run(&[("OAUTH_LEEWAY", "x")], &[argument]).await else { return };
        let help = output.stdout;
        assert!(output.status == Some(0) && output.stderr.is_empty(), "{help}");
        let documentation = SOURCES[0];
        for name in &variables {
            assert!(help.contains(name), "{name} is missing in {help}");
            assert!(documentation.contains(&format!("`{name}`")), "{name} is missing in the documentation");
        }
    }
}

#[tokio::test]
async fn an_unknown_argument_ends_the_program() {
    for arguments in [&["--port"][..], &["help"], &["", "--help"]] {
        let Some(output) = run(&[("OAUTH_ISSUER", "http://127.0.0.1:1"), ("OAUTH_AUDIENCE", API)], arguments).await
        else {
            return;
        };
        let errors = output.stderr;
        assert!(output.status == Some(2) && errors.contains("--help"), "{arguments:?}: {errors}");
    }
}
