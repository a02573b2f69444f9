//! Presets for the providers whose tokens are in `providers-more.json`: for each a person, a client if it has one, an ID token
//! beside it, and other defects.

use serde_json::{Value, json};
use tower_oauth::{Preset, acts_for::ActsFor, error::AuthErrorKind};

use crate::presets::Shape;

/// What a fixture is accepted with, and as what.
struct Row {
    provider: &'static str,
    preset: Preset,
    audience: &'static str,
    acts_for: ActsFor,
    client: Option<&'static str>,
    scopes: &'static str,
    roles: &'static [&'static str],
}

const FIXTURES: [Row; 17] = [
    Row {
        provider: "authentik access token",
        preset: Preset::Authentik,
        audience: "CLIENTID",
        acts_for: ActsFor::User,
        client: Some("CLIENTID"),
        scopes: "",
        roles: &["g"],
    },
    Row {
        provider: "kinde access token",
        preset: Preset::OpenIdConnect,
        audience: "myapp:prod-api",
        acts_for: ActsFor::Unknown,
        client: Some("dee7f3c57b3c47e8b96edde2c7ecab7d"),
        scopes: "openid profile email offline",
        roles: &[],
    },
    Row {
        provider: "clerk session token",
        preset: Preset::Clerk,
        audience: "https://example.com",
        acts_for: ActsFor::User,
        client: None,
        scopes: "",
        roles: &[],
    },
    Row {
        provider: "clerk OAuth access token (JWT, default for new apps since 2026-01)",
        preset: Preset::Clerk,
        audience: "client_1",
        acts_for: ActsFor::User,
        client: Some("client_1"),
        scopes: "openid profile",
        roles: &[],
    },
    Row {
        provider: "supabase user token",
        preset: Preset::Supabase,
        audience: "authenticated",
        acts_for: ActsFor::User,
        client: None,
        scopes: "",
        roles: &["authenticated"],
    },
    Row {
        provider: "firebase id token (used as bearer)",
        preset: Preset::Firebase,
        audience: "my-project",
        acts_for: ActsFor::User,
        client: None,
        scopes: "",
        roles: &[],
    },
    Row {
        provider: "workos AuthKit session token",
        preset: Preset::WorkOs,
        audience: "client_1",
        acts_for: ActsFor::User,
        client: None,
        scopes: "",
        roles: &["member"],
    },
    Row {
        provider: "cloudflare access, person",
        preset: Preset::CloudflareAccess,
        audience: "32eafc76",
        acts_for: ActsFor::User,
        client: None,
        scopes: "",
        roles: &[],
    },
    Row {
        provider: "cloudflare access, service token",
        preset: Preset::CloudflareAccess,
        audience: "32eafc76",
        acts_for: ActsFor::Client,
        client: Some("abc.access"),
        scopes: "",
        roles: &[],
    },
    Row {
        provider: "google IAP assertion",
        preset: Preset::GoogleIap,
        audience: "/projects/1/global/backendServices/2",
        acts_for: ActsFor::User,
        client: None,
        scopes: "",
        roles: &[],
    },
    Row {
        provider: "google service-to-service ID token (Cloud Run)",
        preset: Preset::GoogleServiceAccount,
        audience: "https://svc-x.a.run.app",
        acts_for: ActsFor::Client,
        client: Some("113"),
        scopes: "",
        roles: &[],
    },
    Row {
        provider: "kubernetes service account (projected)",
        preset: Preset::Kubernetes,
        audience: "my-api",
        acts_for: ActsFor::Client,
        client: None,
        scopes: "",
        roles: &[],
    },
    Row {
        provider: "github actions OIDC",
        preset: Preset::GitHubActions,
        audience: "https://api.x.com",
        acts_for: ActsFor::Client,
        client: None,
        scopes: "",
        roles: &[],
    },
    Row {
        provider: "better-auth JWT plugin",
        preset: Preset::BetterAuth,
        audience: "https://app.x.com",
        acts_for: ActsFor::User,
        client: None,
        scopes: "",
        roles: &[],
    },
    Row {
        provider: "fusionauth",
        preset: Preset::FusionAuth,
        audience: "app-id",
        acts_for: ActsFor::User,
        client: Some("app-id"),
        scopes: "openid",
        roles: &["admin"],
    },
    Row {
        provider: "azure AD B2C",
        preset: Preset::EntraId,
        audience: "api",
        acts_for: ActsFor::User,
        client: Some("web"),
        scopes: "orders.read",
        roles: &[],
    },
    // The preset of one provider doesn't decide for the tokens of another.
    Row {
        provider: "fusionauth",
        preset: Preset::OpenIdConnect,
        audience: "app-id",
        acts_for: ActsFor::Unknown,
        client: Some("web"),
        scopes: "openid",
        roles: &["admin"],
    },
];

fn fixtures() -> Vec<Value> {
    serde_json::from_str(include_str!("providers-more.json")).unwrap()
}

/// The token of a fixture.
fn token_of(provider: &str) -> Shape {
    let fixtures = fixtures();
    let found = fixtures.iter().find(|fixture| fixture["provider"] == provider);
    let fixture = found.unwrap_or_else(|| panic!("no fixture for {provider:?}"));
    let token = Shape { header: fixture["header"].clone(), claims: fixture["claims"].clone() };
    // FusionAuth names no client that the preset for other providers knows.
    if provider == "fusionauth" { token.with(&json!({"azp": "web"})) } else { token }
}

fn row_of(preset: Preset) -> &'static Row {
    FIXTURES.iter().find(|row| row.preset == preset).unwrap_or_else(|| panic!("no fixture for {preset:?}"))
}

/// The presets that this file is about.
fn presets() -> impl Iterator<Item = Preset> {
    let elsewhere = [
        Preset::Auth0,
        Preset::Auth0Rfc9068,
        Preset::Okta,
        Preset::EntraId,
        Preset::Cognito,
        Preset::Keycloak,
        Preset::Zitadel,
        Preset::OpenIdConnect,
    ];
    Preset::all().iter().copied().filter(move |preset| !elsewhere.contains(preset))
}

/// RFC 9068 §2.2 b (derived, accepts)
#[tokio::test]
async fn each_fixture_is_accepted_with_its_preset_and_not_without() {
    for fixture in fixtures() {
        let provider = fixture["provider"].as_str().unwrap();
        assert!(FIXTURES.iter().any(|row| row.provider == provider), "{provider}: no row for this fixture");
    }
    for row in &FIXTURES {
        let (provider, shape) = (row.provider, token_of(row.provider));
        let token = shape.verify_with_preset(row.preset, row.audience).await;
        let token = token.unwrap_or_else(|error| panic!("{provider}: {error}"));
        assert_eq!(token.acts_for(), row.acts_for, "{provider}");
        assert_eq!(token.client_id(), row.client, "{provider}");
        assert_eq!(token.scopes().to_string(), row.scopes, "{provider}");
        assert_eq!(token.roles(), row.roles, "{provider}");
        let strict = shape.verify(row.audience, |verifier| verifier).await;
        assert!(strict.is_err(), "{provider}: the default profile stays strict");
    }
}

/// RFC 9068 §5 a (derived, refuses)
#[tokio::test]
async fn each_preset_checks_issuer_audience_times_type_and_binding() {
    for preset in presets() {
        let row = row_of(preset);
        let shape = token_of(row.provider);
        let exp = shape.claims["exp"].as_u64().unwrap();
        let changes = [
            json!({"iss": "https://evil.test"}),
            json!({"aud": "https://other.test"}),
            json!({"aud": [format!("{}/", row.audience)]}),
            json!({"exp": exp - 7200}),
            json!({"exp": null}),
            json!({"nbf": exp}),
            json!({"cnf": {"jkt": "x"}}),
            json!({"sub": 7}),
            json!({"sub": null, "common_name": null}),
            json!({"sub": " ", "common_name": null}),
        ];
        for change in changes {
            let token = shape.with(&change);
            let verifier = tower_oauth::JwtVerifier::builder(shape.issuer(), row.audience).preset(preset);
            assert!(token.verify_with(verifier).await.is_err(), "{preset} {change}");
        }
        let mut other_type = shape.with(&json!({}));
        other_type.header["typ"] = "JOSE".into();
        assert!(other_type.verify_with_preset(preset, row.audience).await.is_err(), "{preset}: another typ");
        let without = shape.with(&json!({"aud": null, "azp": null, "client_id": null}));
        let accepted = without.verify_with_preset(preset, row.audience).await.is_ok();
        assert_eq!(accepted, preset == Preset::WorkOs, "{preset}: only WorkOS issues tokens without any audience");
    }
}

/// RFC 8725 §3.11 (MUST, refuses)
#[tokio::test]
async fn each_preset_refuses_an_id_token_beside_the_access_token() {
    // Each row: a change that makes the token an ID token of the provider, or a token of another kind where the provider's own
    // token is an ID token.
    let rows = [
        (Preset::Authentik, json!({"azp": null, "uid": null})),
        (Preset::Authentik, json!({"uid": null, "nonce": "n"})),
        (Preset::Authentik, json!({"azp": null})),
        (Preset::Authentik, json!({"uid": 7})),
        (Preset::Clerk, json!({"nonce": "n"})),
        (Preset::Clerk, json!({"aud": "https://example.com", "at_hash": "h"})),
        (Preset::Clerk, json!({"sts": "pending"})),
        (Preset::Clerk, json!({"sts": ["active"]})),
        (Preset::Supabase, json!({"session_id": null})),
        (Preset::Supabase, json!({"role": null})),
        (Preset::Supabase, json!({"nonce": "n"})),
        (Preset::Firebase, json!({"firebase": null})),
        (Preset::Firebase, json!({"firebase": "password"})),
        (Preset::Firebase, json!({"at_hash": "h"})),
        (Preset::WorkOs, json!({"nonce": "n"})),
        (Preset::WorkOs, json!({"sid": null})),
        (Preset::Clerk, json!({"azp": null, "sid": null, "aud": "https://example.com"})),
        (Preset::WorkOs, json!({"client_id": "client_2"})),
        (Preset::BetterAuth, json!({"nonce": "n"})),
        (Preset::BetterAuth, json!({"aud": "client", "azp": "client"})),
        (Preset::CloudflareAccess, json!({"type": "org"})),
        (Preset::CloudflareAccess, json!({"type": null})),
        (Preset::CloudflareAccess, json!({"nonce": "n"})),
        (Preset::GoogleIap, json!({"at_hash": "h"})),
        (Preset::GoogleServiceAccount, json!({"azp": "web.apps.googleusercontent.com", "email": "ada@example.com"})),
        (Preset::GoogleServiceAccount, json!({"azp": "web.apps.googleusercontent.com"})),
        (Preset::GoogleServiceAccount, json!({"email": "ada@example.com"})),
        (Preset::GoogleServiceAccount, json!({"email": "ada@evilgserviceaccount.com"})),
        (Preset::GoogleServiceAccount, json!({"email": 7})),
        (Preset::GoogleServiceAccount, json!({"azp": null})),
        (Preset::GoogleServiceAccount, json!({"at_hash": "h"})),
        (Preset::Kubernetes, json!({"kubernetes.io": null})),
        (Preset::Kubernetes, json!({"sub": "ada"})),
        (Preset::Kubernetes, json!({"sub": "system:serviceaccount:"})),
        (Preset::Kubernetes, json!({"nonce": "n"})),
        (Preset::GitHubActions, json!({"repository": null})),
        (Preset::GitHubActions, json!({"repository": ""})),
        (Preset::GitHubActions, json!({"jti": null})),
        (Preset::GitHubActions, json!({"nonce": "n"})),
        (Preset::FusionAuth, json!({"at_hash": "h"})),
        (Preset::FusionAuth, json!({"c_hash": "h"})),
        (Preset::FusionAuth, json!({"nonce": "n"})),
    ];
    for preset in presets() {
        assert!(rows.iter().any(|(of, _)| *of == preset), "{preset} has no ID token here");
    }
    for (preset, change) in rows {
        let row = row_of(preset);
        let error = token_of(row.provider).with(&change).verify_with_preset(preset, row.audience).await;
        let error = error.err().unwrap_or_else(|| panic!("{preset} accepts {change}"));
        assert_eq!(error.kind(), AuthErrorKind::InvalidToken, "{preset} {change}");
        if error.reason() == "not_an_access_token" {
            let finding = error.finding().unwrap_or_else(|| panic!("{preset} {change}: no finding"));
            assert!(!finding.change().is_empty() && !finding.expected().is_empty(), "{preset} {change}");
        }
    }
}

/// RFC 9068 §2.2 b (derived, accepts and refuses)
#[tokio::test]
async fn persons_and_clients_are_told_apart_by_marks_and_are_otherwise_unknown() {
    use ActsFor::{Client, Unknown, User};
    let machine = json!({"sub": "mch_1", "aud": "https://example.com", "azp": null, "sid": null});
    let entity = json!({"authenticationType": null, "applicationId": null, "azp": null, "auth_time": null,
        "permissions": ["read"], "roles": null});
    let rows = [
        (Preset::Authentik, json!({}), User),
        (Preset::Authentik, json!({"nonce": "n", "c_hash": "h"}), User),
        (Preset::Authentik, json!({"sid": null}), Unknown),
        (Preset::Authentik, json!({"sid": null, "preferred_username": "ak-app-client_credentials"}), Client),
        (Preset::Authentik, json!({"preferred_username": "ak-app-client_credentials"}), Unknown),
        (Preset::Authentik, json!({"sid": null, "preferred_username": "ada"}), Unknown),
        (Preset::Clerk, json!({}), User),
        (Preset::Clerk, json!({"sts": null}), User),
        (Preset::Clerk, machine.clone(), Client),
        (Preset::Clerk, json!({"sub": "mch_1"}), Unknown),
        (Preset::Clerk, json!({"sub": "user_"}), Unknown),
        (Preset::Clerk, json!({"sub": "ada"}), Unknown),
        (Preset::Supabase, json!({}), User),
        (Preset::Supabase, json!({"is_anonymous": true}), User),
        (Preset::Supabase, json!({"role": "editor"}), User),
        (Preset::Supabase, json!({"role": "service_role"}), Unknown),
        (Preset::Supabase, json!({"role": "anon"}), Unknown),
        (Preset::Firebase, json!({"firebase": {"sign_in_provider": "anonymous"}}), User),
        (Preset::WorkOs, json!({}), User),
        (Preset::WorkOs, json!({"client_id": "client_1"}), User),
        (Preset::WorkOs, json!({"sub": "client_1", "sid": null, "aud": "client_1"}), Client),
        (Preset::WorkOs, json!({"sub": "client_1"}), Unknown),
        (Preset::BetterAuth, json!({}), User),
        (Preset::BetterAuth, json!({"azp": "web"}), User),
        (Preset::BetterAuth, json!({"sub": null, "azp": "robot"}), Client),
        (Preset::BetterAuth, json!({"sub": " ", "azp": "robot"}), Client),
        (Preset::BetterAuth, json!({"sub": "robot", "azp": "robot"}), Client),
        (Preset::CloudflareAccess, json!({}), User),
        (Preset::CloudflareAccess, json!({"sub": "", "email": null, "common_name": "abc.access"}), Client),
        (Preset::CloudflareAccess, json!({"sub": null, "common_name": "abc.access"}), Client),
        (Preset::CloudflareAccess, json!({"common_name": "abc.access"}), Unknown),
        (Preset::GoogleIap, json!({}), User),
        (Preset::GoogleIap, json!({"email": "robot@p.iam.gserviceaccount.com"}), Client),
        (Preset::GoogleIap, json!({"email": "ada@evilgserviceaccount.com"}), User),
        (Preset::GoogleIap, json!({"email": null}), Unknown),
        (Preset::GoogleIap, json!({"email": " "}), Unknown),
        (Preset::GoogleIap, json!({"sub": "securetoken.google.com/p:1", "email": "x@p.iam.gserviceaccount.com"}), User),
        (Preset::GoogleIap, json!({"sub": "sts.google.com:1"}), Unknown),
        (Preset::GoogleServiceAccount, json!({"email": null}), Client),
        (Preset::Kubernetes, json!({"jti": null}), Client),
        (Preset::GitHubActions, json!({}), Client),
        (Preset::FusionAuth, json!({}), User),
        (Preset::FusionAuth, json!({"permissions": ["read"]}), User),
        (Preset::FusionAuth, json!({"applicationId": null, "azp": null}), User),
        (Preset::FusionAuth, entity.clone(), Client),
        (
            Preset::FusionAuth,
            json!({"authenticationType": null, "applicationId": null, "auth_time": null,
            "scope": "target-entity:1:read"}),
            Client,
        ),
        (Preset::FusionAuth, json!({"authenticationType": null, "applicationId": null, "auth_time": null}), Unknown),
        (Preset::FusionAuth, json!({"authenticationType": null, "permissions": ["read"]}), Unknown),
        (Preset::FusionAuth, json!({"authenticationType": ["PASSWORD"]}), Unknown),
    ];
    for preset in presets() {
        assert!(rows.iter().any(|(of, ..)| *of == preset), "{preset} has no row");
    }
    for (preset, change, acts_for) in rows {
        let row = row_of(preset);
        let token = token_of(row.provider).with(&change).verify_with_preset(preset, row.audience).await;
        let token = token.unwrap_or_else(|error| panic!("{preset} {change}: {error}"));
        assert_eq!(token.acts_for(), acts_for, "{preset} {change}");
    }
}

/// RFC 9068 §5 a (derived, accepts and refuses)
#[tokio::test]
async fn clerk_compares_the_origin_or_the_client_with_the_audience_only_if_aud_is_missing() {
    let session = token_of("clerk session token");
    let oauth = token_of("clerk OAuth access token (JWT, default for new apps since 2026-01)");
    let audiences = |shape: &Shape, change: Value, audience: &'static str| {
        let shape = shape.with(&change);
        async move { shape.verify_with_preset(Preset::Clerk, audience).await.is_ok() }
    };
    assert!(audiences(&session, json!({}), "https://example.com").await);
    for other in ["https://example.com/", "http://example.com", "https://evil.example", "https://example.com.evil.test"]
    {
        assert!(!audiences(&session, json!({"azp": other}), "https://example.com").await, "{other}");
    }
    assert!(!audiences(&session, json!({"azp": null}), "https://example.com").await, "a native application");
    assert!(!audiences(&session, json!({"azp": ["https://example.com"]}), "https://example.com").await);
    let custom = json!({"azp": null, "client_id": "https://example.com"});
    assert!(!audiences(&session, custom, "https://example.com").await, "a custom claim of a session is no audience");
    let other_origin = json!({"azp": "https://evil.example", "client_id": "https://example.com"});
    assert!(!audiences(&session, other_origin, "https://example.com").await);
    assert!(audiences(&session, json!({"aud": "https://api.test"}), "https://api.test").await);
    assert!(!audiences(&session, json!({"aud": "https://api.test"}), "https://example.com").await, "aud is present");
    assert!(audiences(&oauth, json!({}), "client_1").await);
    assert!(!audiences(&oauth, json!({"client_id": "client_2"}), "client_1").await);
    assert!(!audiences(&oauth, json!({"aud": "https://api.test"}), "client_1").await, "aud is present");
    assert!(audiences(&oauth, json!({"aud": []}), "client_1").await, "an empty aud is as good as none");
}

/// The cases `b2c-*` of public bug reports.
///
/// RFC 8725 §3.11 (MUST, refuses)
#[tokio::test]
async fn entra_id_accepts_access_tokens_of_b2c_with_a_nonce_but_no_id_token() {
    let access = token_of("azure AD B2C");
    let verify = |change: Value| {
        let shape = access.with(&change);
        async move { shape.verify_with_preset(Preset::EntraId, "api").await }
    };
    let token = verify(json!({"nonce": "defaultNonce"})).await.unwrap();
    assert_eq!(token.acts_for(), ActsFor::User);
    assert!(verify(json!({"nonce": "n", "scp": null, "roles": ["Orders.Read"]})).await.is_ok());
    let id_tokens = [
        json!({"nonce": "n", "at_hash": "h"}),
        json!({"c_hash": "h"}),
        json!({"nonce": "n", "scp": null, "azp": null}),
        json!({"nonce": "n", "azp": null}),
        json!({"nonce": "n", "azp": null, "appid": "web"}),
        json!({"nonce": "n", "scp": null}),
        json!({"nonce": "n", "azp": " "}),
    ];
    for change in id_tokens {
        let error = verify(change.clone()).await.err().unwrap_or_else(|| panic!("{change}"));
        assert_eq!(error.kind(), AuthErrorKind::InvalidToken, "{change}");
    }
}
