//! Presets: tokens with the claims that well-known providers put into them.
//!
//! The important ones are in this file and in `more.rs`. `PROVIDER_FIXTURES` names a file with more of them, which is not in
//! this repository. Without the variable, that test does not run.

mod more;

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, Write as _},
    time::{Duration, UNIX_EPOCH},
};

use http::Request;
use serde_json::{Value, json};
use tower_oauth::{
    AuthError, Issuer, JwtVerifier, Preset, ResourceServer, Token,
    acts_for::ActsFor,
    error::AuthErrorKind,
    keys::{Algorithm, KeySet},
    testing::{ManualClock, MockIssuer},
    verify::JwtVerifierBuilder,
};

use crate::support::{API, issuer, not_run_here};

pub(crate) const NOW: u64 = 1_800_000_000;

/// A token with exactly these members, and the issuer that it names.
pub(crate) struct Shape {
    pub(crate) header: Value,
    pub(crate) claims: Value,
}

impl Shape {
    fn signer(&self) -> MockIssuer {
        let named = match self.header["alg"].as_str().unwrap() {
            "Ed25519" => "EdDSA",
            other => other,
        };
        let known = Algorithm::supported().iter().find(|algorithm| algorithm.to_string() == named);
        MockIssuer::new("https://shapes.test").with_algorithm(*known.unwrap_or_else(|| panic!("{named}")))
    }

    /// An issuer with the identifier and the `kid` that the token names.
    pub(crate) fn issuer(&self) -> Issuer {
        let mut jwk = self.signer().jwk();
        jwk["kid"] = self.header["kid"].clone();
        let keys = KeySet::from_json(json!({ "keys": [jwk] }).to_string()).unwrap();
        Issuer::from_keys(self.claims["iss"].as_str().unwrap(), keys).unwrap()
    }

    /// The verdict one second after the token was issued.
    pub(crate) async fn verify(
        &self,
        audience: &str,
        configure: impl FnOnce(JwtVerifierBuilder) -> JwtVerifierBuilder,
    ) -> Result<Token, AuthError> {
        self.verify_with(configure(JwtVerifier::builder(self.issuer(), audience))).await
    }

    pub(crate) async fn verify_with(&self, verifier: JwtVerifierBuilder) -> Result<Token, AuthError> {
        let issued = self.claims["iat"].as_u64().unwrap();
        let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(issued + 1));
        let verifier = verifier.clock(clock).build().unwrap();
        let token = self.signer().token("unused").sign_raw(self.header.to_string(), self.claims.to_string());
        let request = Request::get("/").header("authorization", format!("Bearer {token}")).body(()).unwrap();
        let verdict = ResourceServer::new(verifier).authenticate(&request.into_parts().0).await;
        if let Err(error) = &verdict {
            assert_eq!(error.kind(), AuthErrorKind::InvalidToken, "{error}");
        }
        verdict
    }

    pub(crate) async fn verify_with_preset(&self, preset: Preset, audience: &str) -> Result<Token, AuthError> {
        self.verify(audience, |verifier| verifier.preset(preset)).await
    }

    /// The same token with some members changed; `null` removes a member.
    pub(crate) fn with(&self, changes: &Value) -> Self {
        let mut claims = self.claims.clone();
        for (name, value) in changes.as_object().unwrap() {
            let members = claims.as_object_mut().unwrap();
            if value.is_null() {
                members.remove(name)
            } else {
                members.insert(name.clone(), value.clone())
            };
        }
        Self { header: self.header.clone(), claims }
    }
}

pub(crate) fn shape(typ: Option<&str>, claims: &Value) -> Shape {
    let mut header = json!({"alg": "ES256", "kid": "k1"});
    if let Some(typ) = typ {
        header["typ"] = typ.into();
    }
    Shape { header, claims: json!({}) }.with(&json!({"iat": NOW, "exp": NOW + 3600})).with(claims)
}

fn auth0() -> Shape {
    let claims = json!({"iss": "https://t.auth0.com/", "sub": "auth0|1", "aud": [API, "https://t.auth0.com/userinfo"],
        "azp": "web", "scope": "openid orders:read", "permissions": ["orders:write"]});
    shape(Some("JWT"), &claims)
}

fn okta() -> Shape {
    let claims = json!({"iss": "https://t.okta.com/oauth2/default", "sub": "ada@example.com", "aud": "api://default",
        "cid": "web", "uid": "00u1", "scp": ["openid", "orders:read"], "jti": "AT.1"});
    shape(None, &claims)
}

fn entra_id_v2() -> Shape {
    let claims = json!({"iss": "https://login.microsoftonline.com/t/v2.0", "sub": "pairwise", "oid": "ada", "tid": "t",
        "aud": "api", "azp": "web", "scp": "orders.read orders.write", "ver": "2.0", "uti": "u"});
    shape(Some("JWT"), &claims)
}

fn entra_id_v1() -> Shape {
    entra_id_v2().with(&json!({"iss": "https://sts.windows.net/t/", "azp": null, "appid": "web", "ver": "1.0"}))
}

/// A token that an application obtained for itself.
fn entra_id_app() -> Shape {
    entra_id_v2().with(&json!({"scp": null, "roles": ["Orders.Read.All"], "sub": "principal", "oid": "principal"}))
}

fn cognito() -> Shape {
    let claims = json!({"iss": "https://cognito-idp.eu-west-1.amazonaws.com/p", "sub": "ada", "client_id": "web",
        "token_use": "access", "scope": "openid orders/read", "username": "ada", "jti": "j", "cognito:groups": ["staff"]});
    shape(None, &claims)
}

fn keycloak() -> Shape {
    let claims = json!({"iss": "https://kc.test/realms/r", "sub": "uuid", "aud": ["orders-api", "account"], "typ": "Bearer",
        "azp": "web", "jti": "j", "sid": "s", "scope": "openid orders:read", "preferred_username": "ada",
        "realm_access": {"roles": ["staff"]},
        "resource_access": {"account": {"roles": ["manage"]}, "orders-api": {"roles": ["clerk"]}}});
    shape(Some("JWT"), &claims)
}

/// A token of a service account.
fn keycloak_account() -> Shape {
    keycloak().with(&json!({"sid": null, "client_id": "web", "preferred_username": "service-account-web"}))
}

fn zitadel() -> Shape {
    let claims = json!({"iss": "https://t.zitadel.cloud", "sub": "123", "aud": ["web@shop", "2345"], "jti": "j",
        "client_id": "web@shop", "urn:zitadel:iam:org:project:roles": {"admin": {"1": "org.test"}, "clerk": {"1": "org.test"}},
        "urn:zitadel:iam:org:project:2345:roles": {"admin": {"1": "org.test"}}});
    shape(Some("JWT"), &claims)
}

/// A token of a provider without a preset of its own.
fn openid_connect() -> Shape {
    let claims = json!({"iss": "https://op.test", "sub": "ada", "aud": API, "azp": "web", "scope": "orders:read"});
    shape(None, &claims)
}

/// Every token, with its preset and its audience.
fn all() -> Vec<(Preset, &'static str, Shape)> {
    let rfc9068 = auth0().with(&json!({"azp": null, "client_id": "web", "jti": "j"}));
    let rfc9068 = Shape { header: json!({"alg": "ES256", "kid": "k1", "typ": "at+jwt"}), ..rfc9068 };
    vec![
        (Preset::Auth0, API, auth0()),
        (Preset::Auth0Rfc9068, API, rfc9068),
        (Preset::Okta, "api://default", okta()),
        (Preset::EntraId, "api", entra_id_v2()),
        (Preset::EntraId, "api", entra_id_v1()),
        (Preset::EntraId, "api", entra_id_app()),
        (Preset::Cognito, "web", cognito()),
        (Preset::Keycloak, "orders-api", keycloak()),
        (Preset::Keycloak, "orders-api", keycloak_account()),
        (Preset::Zitadel, "2345", zitadel()),
        (Preset::OpenIdConnect, API, openid_connect()),
    ]
}

#[tokio::test]
async fn each_preset_reads_the_client_scopes_and_roles_of_its_provider() {
    let expected = [
        ("web", "openid orders:read", vec![]),
        ("web", "openid orders:read", vec![]),
        ("web", "openid orders:read", vec![]),
        ("web", "orders.read orders.write", vec![]),
        ("web", "orders.read orders.write", vec![]),
        ("web", "", vec!["Orders.Read.All"]),
        ("web", "openid orders/read", vec![]),
        ("web", "openid orders:read", vec!["staff"]),
        ("web", "openid orders:read", vec!["staff"]),
        ("web@shop", "", vec!["admin", "clerk"]),
        ("web", "orders:read", vec![]),
    ];
    for ((preset, audience, shape), (client, scopes, roles)) in all().iter().zip(expected) {
        let token =
            shape.verify_with_preset(*preset, audience).await.unwrap_or_else(|error| panic!("{preset:?}: {error}"));
        assert_eq!(token.client_id(), Some(client), "{preset:?}");
        assert_eq!(token.scopes().to_string(), scopes, "{preset:?}");
        assert_eq!(token.roles(), roles, "{preset:?}");
        let strict = shape.verify(audience, |verifier| verifier).await;
        assert_eq!(strict.is_ok(), *preset == Preset::Auth0Rfc9068, "{preset:?}: the default profile stays strict");
    }
}

#[tokio::test]
async fn every_preset_checks_issuer_audience_times_subject_and_binding() {
    let changes = [
        json!({"iss": "https://evil.test"}),
        json!({"aud": "https://other.test"}),
        json!({"exp": NOW - 60}),
        json!({"exp": null}),
        json!({"nbf": NOW + 3600}),
        json!({"sub": null}),
        json!({"sub": " "}),
        json!({"cnf": {"jkt": "x"}}),
        json!({"client_id": null, "azp": null, "cid": null, "appid": null}),
        json!({"scope": ["a b"]}),
    ];
    for (preset, audience, shape) in all() {
        // An empty list is as no `aud`, which only Cognito's tokens may lack: it accepts the client's id in place of it.
        let empty = shape.with(&json!({"aud": []})).verify_with_preset(preset, audience).await;
        assert_eq!(empty.is_ok(), preset == Preset::Cognito, "{preset:?}");
        for change in &changes {
            let modified = shape.with(change);
            let verifier = JwtVerifier::builder(shape.issuer(), audience).preset(preset);
            assert!(modified.verify_with(verifier).await.is_err(), "{preset:?} {change}");
        }
        let forged =
            Shape { header: json!({"alg": "ES256", "kid": "k1", "typ": "JOSE"}), claims: shape.claims.clone() };
        assert!(forged.verify_with_preset(preset, audience).await.is_err(), "{preset:?}: another typ");
    }
}

#[tokio::test]
async fn each_preset_refuses_an_id_token_for_the_same_audience() {
    let rows = [
        (Preset::Auth0, API, auth0().with(&json!({"nonce": "n"}))),
        (Preset::Auth0, API, auth0().with(&json!({"at_hash": "h"}))),
        (Preset::Okta, "api://default", okta().with(&json!({"cid": null, "scp": null}))),
        (Preset::EntraId, "api", entra_id_v2().with(&json!({"azp": null, "scp": null, "roles": ["admin"]}))),
        (Preset::EntraId, "api", entra_id_v2().with(&json!({"nonce": "n", "at_hash": "h"}))),
        (Preset::EntraId, "api", entra_id_v2().with(&json!({"c_hash": "h"}))),
        (Preset::EntraId, "api", entra_id_v1().with(&json!({"nonce": "n"}))),
        (Preset::Cognito, "web", cognito().with(&json!({"token_use": "id", "aud": "web"}))),
        (Preset::Cognito, "web", cognito().with(&json!({"token_use": "id"}))),
        (Preset::Cognito, "web", cognito().with(&json!({"token_use": null}))),
        (Preset::Cognito, "web", cognito().with(&json!({"token_use": ["access"]}))),
        (Preset::Keycloak, "orders-api", keycloak().with(&json!({"typ": "ID"}))),
        (Preset::Keycloak, "orders-api", keycloak().with(&json!({"typ": "Refresh"}))),
        (Preset::Keycloak, "orders-api", keycloak().with(&json!({"typ": null}))),
        (Preset::Zitadel, "2345", zitadel().with(&json!({"jti": null}))),
        (Preset::Zitadel, "2345", zitadel().with(&json!({"c_hash": "h"}))),
        (Preset::OpenIdConnect, API, openid_connect().with(&json!({"at_hash": "h"}))),
        (Preset::OpenIdConnect, API, openid_connect().with(&json!({"nonce": "n"}))),
    ];
    for (preset, audience, shape) in rows {
        assert!(shape.verify_with_preset(preset, audience).await.is_err(), "{preset:?} {}", shape.claims);
    }
}

/// RFC 9068 §5 a (derived, refuses)
#[tokio::test]
async fn cognito_compares_client_id_with_the_audience_only_if_aud_is_missing() {
    for other in ["Web", "we", "web ", "", "other"] {
        let shape = cognito().with(&json!({"client_id": other}));
        assert!(shape.verify_with_preset(Preset::Cognito, "web").await.is_err(), "{other:?}");
    }
    let bound = cognito().with(&json!({"aud": API}));
    assert!(
        bound.verify_with_preset(Preset::Cognito, API).await.is_ok(),
        "a present aud is compared with the audience"
    );
    assert!(
        bound.verify_with_preset(Preset::Cognito, "web").await.is_err(),
        "client_id is not compared if aud is present"
    );
    let several = cognito().verify("mobile", |verifier| verifier.audience("web").preset(Preset::Cognito)).await;
    assert!(several.is_ok());
    for (preset, audience, shape) in all().into_iter().filter(|(preset, ..)| *preset != Preset::Cognito) {
        for missing in [json!(null), json!([])] {
            let shape = shape.with(&json!({"aud": missing, "client_id": audience, "token_use": "access"}));
            assert!(shape.verify_with_preset(preset, audience).await.is_err(), "{preset:?}");
        }
    }
}

#[tokio::test]
async fn refuses_an_entra_token_without_roles_and_scopes() {
    for change in [json!({"roles": null}), json!({"roles": []}), json!({"roles": null, "scp": " "})] {
        assert!(entra_id_app().with(&change).verify_with_preset(Preset::EntraId, "api").await.is_err(), "{change}");
    }
}

/// RFC 9068 §2.2 b (derived, accepts)
#[tokio::test]
async fn acts_for_follows_the_providers_claims_and_is_otherwise_unknown() {
    use ActsFor::{Client, Unknown, User};
    let rows = [
        (Preset::Auth0, API, auth0(), User),
        (Preset::Auth0, API, auth0().with(&json!({"sub": "web@clients", "gty": "client-credentials"})), Client),
        (Preset::Auth0, API, auth0().with(&json!({"sub": "web@clients"})), Client),
        (Preset::Auth0, API, auth0().with(&json!({"sub": "other@clients"})), Unknown),
        (Preset::Auth0, API, auth0().with(&json!({"gty": "client-credentials"})), Unknown),
        (Preset::Auth0, API, auth0().with(&json!({"sub": "web"})), Unknown),
        (Preset::Okta, "api://default", okta(), User),
        (Preset::Okta, "api://default", okta().with(&json!({"sub": "web", "uid": null})), Client),
        (Preset::Okta, "api://default", okta().with(&json!({"sub": "web"})), Unknown),
        (Preset::Okta, "api://default", okta().with(&json!({"uid": null})), Unknown),
        (Preset::EntraId, "api", entra_id_v2(), User),
        (Preset::EntraId, "api", entra_id_v1(), User),
        (Preset::EntraId, "api", entra_id_v2().with(&json!({"idtyp": "user"})), User),
        (Preset::EntraId, "api", entra_id_v2().with(&json!({"idtyp": "app"})), Unknown),
        (Preset::EntraId, "api", entra_id_v2().with(&json!({"idtyp": 1})), Unknown),
        (Preset::EntraId, "api", entra_id_v2().with(&json!({"roles": ["admin"]})), User),
        (Preset::EntraId, "api", entra_id_app(), Client),
        (Preset::EntraId, "api", entra_id_app().with(&json!({"idtyp": "app"})), Client),
        (Preset::EntraId, "api", entra_id_app().with(&json!({"idtyp": "device"})), Unknown),
        (Preset::EntraId, "api", entra_id_app().with(&json!({"oid": "another"})), Unknown),
        (Preset::EntraId, "api", entra_id_app().with(&json!({"scp": ""})), Unknown),
        (Preset::Cognito, "web", cognito(), User),
        (Preset::Cognito, "web", cognito().with(&json!({"sub": "web", "username": null})), Client),
        (Preset::Cognito, "web", cognito().with(&json!({"sub": "web"})), Unknown),
        (Preset::Cognito, "web", cognito().with(&json!({"username": null})), Unknown),
        (Preset::Keycloak, "orders-api", keycloak(), User),
        (Preset::Keycloak, "orders-api", keycloak_account(), Client),
        (
            Preset::Keycloak,
            "orders-api",
            keycloak_account().with(&json!({"client_id": null, "clientId": "web"})),
            Client,
        ),
        (Preset::Keycloak, "orders-api", keycloak_account().with(&json!({"client_id": null})), Unknown),
        (Preset::Keycloak, "orders-api", keycloak_account().with(&json!({"preferred_username": null})), Unknown),
        (Preset::Keycloak, "orders-api", keycloak_account().with(&json!({"preferred_username": "ada"})), Unknown),
        (
            Preset::Keycloak,
            "orders-api",
            keycloak().with(&json!({"preferred_username": "service-account-web"})),
            Unknown,
        ),
        (Preset::Keycloak, "orders-api", keycloak().with(&json!({"clientHost": "10.0.0.1"})), Unknown),
        (Preset::Keycloak, "orders-api", keycloak().with(&json!({"sid": null})), Unknown),
        (Preset::Zitadel, "2345", zitadel(), Unknown),
        (Preset::Zitadel, "2345", zitadel().with(&json!({"sub": "web@shop"})), Client),
        (Preset::OpenIdConnect, API, openid_connect(), Unknown),
        (Preset::OpenIdConnect, API, openid_connect().with(&json!({"sub": "web"})), Client),
    ];
    for (preset, audience, shape, acts_for) in rows {
        let token =
            shape.verify_with_preset(preset, audience).await.unwrap_or_else(|error| panic!("{preset:?}: {error}"));
        assert_eq!(token.acts_for(), acts_for, "{preset:?} {}", shape.claims);
    }
    let no_subject =
        |verifier: JwtVerifierBuilder| verifier.accept_without(tower_oauth::verify::OptionalClaim::Subject);
    let light = keycloak().with(&json!({"sub": null}));
    let token = light.verify("orders-api", |verifier| no_subject(verifier.preset(Preset::Keycloak))).await.unwrap();
    assert_eq!(token.acts_for(), Unknown, "the lightweight token of a user has no sub either");
}

#[tokio::test]
async fn an_application_whose_roles_are_read_as_scopes_stays_a_client() {
    let configure = |verifier: JwtVerifierBuilder| verifier.preset(Preset::EntraId).scope_claim("roles");
    let token = entra_id_app().verify("api", configure).await.unwrap();
    assert_eq!(token.scopes().to_string(), "Orders.Read.All", "the later setting counts");
    assert_eq!(token.acts_for(), ActsFor::Client);
}

#[tokio::test]
async fn other_settings_can_come_before_or_after_a_preset() {
    for preset_first in [true, false] {
        let configure = |verifier: JwtVerifierBuilder| {
            let path = ["resource_access", "orders-api", "roles"];
            if preset_first {
                verifier.preset(Preset::Keycloak).roles_claim(path)
            } else {
                verifier.roles_claim(path).preset(Preset::Keycloak)
            }
        };
        let token = keycloak().verify("orders-api", configure).await.unwrap();
        assert_eq!(token.roles(), ["clerk"], "instead of the realm's roles, not in addition");
        assert_eq!(token.keycloak_client_roles("account"), ["manage"]);
        assert_eq!(token.keycloak_client_roles("web"), [""; 0]);
    }
    let configure = |verifier: JwtVerifierBuilder| verifier.preset(Preset::Auth0).roles_claim(["permissions"]);
    assert_eq!(auth0().verify(API, configure).await.unwrap().roles(), ["orders:write"]);
    let mistakes = issuer().verifier_builder(API).preset(Preset::Okta).preset(Preset::Auth0).roles_claim([""]).build();
    let mistakes = mistakes.unwrap_err();
    let named: Vec<_> = mistakes.mistakes().iter().map(tower_oauth::error::ConfigMistake::setting).collect();
    assert_eq!(named, ["roles_claim", "preset"], "{mistakes}");
    assert!(issuer().verifier_builder(API).roles_claim([""; 0]).build().is_err());
}

#[tokio::test]
async fn reads_cognitos_groups_and_zitadels_project_roles() {
    let token = cognito().verify_with_preset(Preset::Cognito, "web").await.unwrap();
    assert_eq!(token.groups(), ["staff"]);
    assert!(token.roles().is_empty());
    let token = zitadel().verify_with_preset(Preset::Zitadel, "2345").await.unwrap();
    assert_eq!(token.zitadel_project_roles("2345"), ["admin"]);
    assert_eq!(token.zitadel_project_roles("9"), [""; 0]);
}

// The file of `PROVIDER_FIXTURES`.

/// Why an entry of the file is not for a verifier of JWT access tokens.
fn is_out_of_scope(fixture: &Value) -> Option<&'static str> {
    let provider = fixture["provider"].as_str().unwrap();
    match () {
        () if fixture["opaque"] == true => Some("opaque tokens can't be checked here"),
        () if fixture["expect"]["introspection_response"] == true => Some("an introspection response, no token"),
        () if fixture["expect"]["issuer_template"] == true => Some("an issuer's metadata, no token"),
        () if fixture["header"]["alg"] == "HS256" => Some("shared secrets have their own constructor"),
        () if fixture["header"].is_null() => panic!("{provider}: no header, and no reason"),
        () => None,
    }
}

/// Why a JWT of the file must be refused.
fn refusal_reason(fixture: &Value) -> Option<&'static str> {
    let (expect, provider) = (&fixture["expect"], fixture["provider"].as_str().unwrap());
    match () {
        () if expect["reject"] == true => Some("the fixture requires it"),
        () if expect["is_id_token"] == true => Some("an ID token"),
        () if expect["reject_for_audience"].is_string() => Some("meant for another resource"),
        () if fixture["claims"].get("cnf").is_some() => Some("bound to a key"),
        () if fixture["header"]["typ"] == "token-introspection+jwt" => {
            Some("a signed introspection response (RFC 9701)")
        }
        () if provider == "keycloak lightweight access token" => Some("no sub and no aud: needs introspection"),
        () => None,
    }
}

fn preset_of(provider: &str) -> Option<Preset> {
    let named = [
        ("auth0 default profile", Some(Preset::Auth0)),
        ("auth0 rfc9068_profile", Some(Preset::Auth0Rfc9068)),
        ("okta ", Some(Preset::Okta)),
        ("entra id ", Some(Preset::EntraId)),
        ("microsoft graph ", Some(Preset::EntraId)),
        ("google id token", Some(Preset::OpenIdConnect)),
        ("cognito ", Some(Preset::Cognito)),
        ("keycloak ", Some(Preset::Keycloak)),
        ("zitadel ", Some(Preset::Zitadel)),
        ("oidc-provider ", None),
        ("glewlwyd ", None),
    ];
    let found = named.iter().find(|(prefix, _)| provider.starts_with(prefix));
    found.unwrap_or_else(|| panic!("no preset for {provider:?}")).1
}

fn audience_of(fixture: &Value) -> &str {
    let claims = &fixture["claims"];
    let named = [&fixture["expect"]["reject_for_audience"], &claims["aud"], &claims["aud"][0], &claims["client_id"]];
    named.into_iter().find_map(Value::as_str).unwrap_or(API)
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

fn compare(token: &Token, expect: &Value, provider: &str) {
    for (member, expected) in expect.as_object().unwrap() {
        match member.as_str() {
            "client_id" => assert_eq!(token.client_id(), expected.as_str(), "{provider}"),
            "scopes" => assert_eq!(token.scopes().iter().collect::<Vec<_>>(), names(expected), "{provider}"),
            "aud" => assert_eq!(token.audience().collect::<Vec<_>>(), names(expected), "{provider}"),
            "roles" => assert_eq!(token.roles(), names(expected), "{provider}"),
            "permissions" | "token_use" => {
                let claims: Value = token.claims().unwrap();
                assert_eq!(claims[member], *expected, "{provider}");
            }
            "passes_strict_rfc9068" => {}
            other => panic!("{provider}: no rule for {other:?}"),
        }
    }
}

#[tokio::test]
async fn gives_the_expected_verdict_for_every_token_in_the_providers_file() {
    let Some(path) = env::var_os("PROVIDER_FIXTURES") else {
        not_run_here("tokens of providers", "the file of tokens that PROVIDER_FIXTURES names (see tests/README.md)");
        return;
    };
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let fixtures: Vec<Value> = serde_json::from_str(&text).unwrap();
    let mut tally: BTreeMap<&str, usize> = BTreeMap::new();
    for fixture in &fixtures {
        let provider = fixture["provider"].as_str().unwrap();
        if let Some(reason) = is_out_of_scope(fixture) {
            *tally.entry(reason).or_default() += 1;
            continue;
        }
        let token = Shape { header: fixture["header"].clone(), claims: fixture["claims"].clone() };
        let audience = audience_of(fixture);
        let strict = token.verify(audience, |verifier| verifier).await;
        let verdict = match preset_of(provider) {
            Some(preset) => token.verify_with_preset(preset, audience).await,
            None => strict.clone(),
        };
        if let Some(passes) = fixture["expect"]["passes_strict_rfc9068"].as_bool() {
            assert_eq!(strict.is_ok(), passes, "{provider}: the default profile");
        }
        let outcome = match (refusal_reason(fixture), verdict) {
            (None, Ok(token)) => {
                compare(&token, &fixture["expect"], provider);
                "accepted"
            }
            (None, Err(error)) => panic!("{provider}: refused: {error}"),
            (Some(reason), Ok(_)) => panic!("{provider}: accepted, but it must be refused: {reason}"),
            (Some(reason), Err(_)) => {
                assert!(
                    strict.is_err(),
                    "{provider}: the default profile accepted it, but it must be refused: {reason}"
                );
                reason
            }
        };
        *tally.entry(outcome).or_default() += 1;
    }
    print_line(&format!("provider fixtures: {} run: {tally:?}", fixtures.len()));
    assert_eq!(fixtures.len(), 69, "this test was written for another version of the file");
    assert_eq!(tally.values().sum::<usize>(), fixtures.len());
    assert!(tally["accepted"] >= 20, "{tally:?}");
}

/// Writes directly to standard error, because the test harness hides the `eprintln!` output of a test that passes.
fn print_line(line: &str) {
    let mut stderr = io::stderr().lock();
    writeln!(stderr, "{line}").unwrap();
}
