//! The identifiers and URLs of a configuration: what is looked up must be in its normal form (RFC 3986 §6.2, RFC 8414 §2).

use std::time::Duration;

use tower_oauth::{
    IntrospectionVerifier, Issuer, JwtVerifier, ResourceServer, error::ConfigMistake, issuer::DiscoveryError,
    testing::MockIssuer, verify::ClientAuthentication,
};

use crate::{
    fake_issuer::FakeIssuer,
    material::authenticate,
    support::{API, issuer},
};

/// Identifiers that one parser reads in another way than the next one, or for which the HTTP client fetches another URL.
const NOT_NORMAL: [&str; 22] = [
    "HTTPS://auth.test",
    "Https://auth.test/tenant",
    "https://AUTH.test",
    "https://auth.test/tenants/../x",
    "https://auth.test/tenants/./x",
    "https://auth.test/tenants/..",
    "https://auth.test/%2e%2e/x",
    "https://auth.test/tenants/%2E%2e/x",
    "https://auth.test/tenants/.%2e",
    "https://auth.test:443",
    "https://auth.test:443/tenant",
    "https://auth.test:+80",
    "https://auth.test:08443",
    "https://[::1%25lo]",
    "https://[0:0:0:0:0:0:0:1]/x",
    "https://[::FFFF:1]",
    "https://127.1",
    "https://0x7f.0.0.1/x",
    "https://2130706433",
    "https://xn--a.test",
    "https://auth.test:0443",
    "https://auth.test/a|b\\c",
];

const NORMAL: [&str; 11] = [
    "https://auth.test",
    "https://auth.test/",
    "https://auth.test:8443",
    "https://auth.test:80/x",
    "https://auth.test/tenants/a/",
    "https://auth.test/tenants//a",
    "https://auth.test/Tenants/A%2Fb/%7Ea/...",
    "https://xn--mnchen-3ya.test",
    "https://[2001:db8::1]:8443/x",
    "http://127.0.0.1:8080/realms/a",
    "http://[::1]:9",
];

/// Issuers of `provider-fixtures.json` and `providers-more.json`, which are not in this repository, and of their documentation.
const OF_PROVIDERS: [&str; 26] = [
    "https://abcdefghijklmnopqrst.supabase.co/auth/v1",
    "https://accounts.google.com",
    "https://ak.example/application/o/app/",
    "https://api.workos.com",
    "https://auth.x.com",
    "https://clerk.your-site.com",
    "https://cloud.google.com/iap",
    "https://cognito-idp.us-west-2.amazonaws.com/us-west-2_example",
    "https://example.kinde.com",
    "https://example.okta.com",
    "https://example.okta.com/oauth2/default",
    "https://keycloak.example.com/realms/myrealm",
    "https://kubernetes.default.svc.cluster.local",
    "https://login.microsoftonline.com/aaaabbbb-0000-cccc-1111-dddd2222eeee/v2.0",
    "https://my-domain.auth0.com/",
    "https://securetoken.google.com/my-project",
    "https://sts.windows.net/aaaabbbb-0000-cccc-1111-dddd2222eeee/",
    "https://t.b2clogin.com/tid/v2.0/",
    "https://team.cloudflareaccess.com",
    "https://token.actions.githubusercontent.com",
    "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE",
    "https://x.zitadel.cloud",
    "http://127.0.0.1:4001",
    "http://127.0.0.1:4593/api/oidc-eddsa",
    "http://127.0.0.1:4593/api/oidc-rs256",
    "http://127.0.0.1:7080/realms/master",
];

fn settings(error: &tower_oauth::ConfigError) -> Vec<&'static str> {
    error.mistakes().iter().map(ConfigMistake::setting).collect()
}

/// RFC 8414 §3.3 (MUST, refuses)
#[test]
fn an_issuer_that_is_looked_up_must_be_in_its_normal_form() {
    for identifier in NOT_NORMAL {
        let error = Issuer::builder(identifier).danger_accept_plain_http().build().unwrap_err();
        assert_eq!(settings(&error), ["issuer"], "{identifier}: {error}");
    }
    for identifier in NORMAL.into_iter().chain(OF_PROVIDERS) {
        let issuer = Issuer::builder(identifier).build();
        assert_eq!(issuer.unwrap().identifier(), identifier, "must be unchanged");
    }
    let error = Issuer::builder("https://auth.test:443/a").build().unwrap_err();
    assert!(error.to_string().contains("\"https://auth.test/a\""), "the message has the normal form: {error}");
}

/// RFC 8414 §3.3 (MUST, refuses)
#[test]
fn resource_metadata_must_be_in_its_normal_form() {
    let server = || ResourceServer::builder(issuer().verifier(API));
    for url in NOT_NORMAL {
        let error = server().resource_metadata(url).build().unwrap_err();
        assert_eq!(settings(&error), ["resource_metadata"], "{url}: {error}");
    }
    for url in NORMAL.into_iter().chain(["https://api.test/.well-known/oauth-protected-resource"]) {
        assert!(server().resource_metadata(url).build().is_ok(), "{url}");
    }
}

/// RFC 8414 §3.3 (MUST, refuses)
#[cfg(feature = "token-endpoint")]
#[test]
fn the_issuer_of_a_token_endpoint_must_be_in_its_normal_form() {
    use tower_oauth::{
        keys::{Algorithm, PrivateKey},
        token_endpoint::{ClientCredentialsGrant, Clients, TokenEndpoint},
    };
    let build = |identifier: &str| {
        let key = PrivateKey::generate(Algorithm::ES256).unwrap();
        let endpoint = TokenEndpoint::builder(identifier, key, Clients::new([]).unwrap());
        endpoint.grant(ClientCredentialsGrant::new()).build()
    };
    for identifier in NOT_NORMAL {
        assert_eq!(settings(&build(identifier).unwrap_err()), ["issuer"], "{identifier}");
    }
    for identifier in NORMAL {
        assert!(build(identifier).is_ok(), "{identifier}");
    }
}

/// Identifiers that can be the value of `iss` (RFC 7519 §4.1.1), but not be looked up.
const ONLY_COMPARED: [&str; 10] = [
    "HTTPS://AUTH.test",
    "https://auth.test/tenants/../x",
    "https://auth.test:443",
    "https://127.1",
    "https://auth.test/?tenant=a",
    "http://adfs.test/adfs/services/trust",
    "accounts.test",
    "sa@project.iam.gserviceaccount.test",
    "urn:example:issuer",
    "ada lovelace",
];

/// RFC 8414 §3.3 (MUST, accepts)
/// RFC 7519 §4.1.1 b (derived, accepts)
#[test]
fn an_issuer_whose_identifier_is_only_compared_may_have_any_identifier() {
    for identifier in ONLY_COMPARED {
        let issuer = Issuer::from_keys(identifier, issuer().key_set()).unwrap();
        assert_eq!(issuer.identifier(), identifier);
        let signer = MockIssuer::new(identifier);
        let verifier = || JwtVerifier::new(Issuer::from_keys(identifier, signer.key_set()).unwrap(), API).unwrap();
        assert!(authenticate(verifier(), &signer.token("ada").sign()).is_ok(), "{identifier}");
        for other in [format!("{identifier}/"), identifier.to_ascii_uppercase() + "x"] {
            let other = signer.token("ada").claim("iss", other).sign();
            assert!(authenticate(verifier(), &other).is_err(), "compared byte for byte: {identifier}");
        }
    }
    for blank in ["", " ", "\n"] {
        assert_eq!(settings(&Issuer::from_keys(blank, issuer().key_set()).unwrap_err()), ["issuer"]);
    }
}

/// RFC 7519 §4.1.1 b (derived, refuses)
#[test]
fn an_identifier_with_white_space_around_it_or_a_control_character_is_a_mistake_that_is_named() {
    for (identifier, named) in [
        ("https://auth.test\n", "white space around it"),
        ("https://auth.test\r\n", "white space around it"),
        (" https://auth.test", "white space around it"),
        ("https://auth.test\u{a0}", "white space around it"),
        ("https://auth\n.test", "a control character"),
        ("https://auth.test\0", "a control character"),
        ("\u{1b}[31mhttps://auth.test", "a control character"),
    ] {
        let from_uri = Issuer::from_jwks_uri(identifier, "https://auth.test/jwks");
        for error in [Issuer::from_keys(identifier, issuer().key_set()), from_uri] {
            let error = error.unwrap_err();
            assert_eq!(settings(&error), ["issuer"], "{identifier:?}");
            let text = error.to_string();
            assert!(text.contains(named) && !text.contains(char::is_control), "{text}");
        }
        assert!(Issuer::builder(identifier).build().is_err(), "{identifier:?}");
    }
}

/// RFC 7519 §4.1.1 b (derived, accepts)
#[tokio::test]
async fn an_issuer_with_a_jwks_uri_may_have_any_identifier_because_it_is_never_looked_up() {
    for identifier in ONLY_COMPARED {
        let issuer = Issuer::from_jwks_uri(identifier, "https://auth.test/jwks").unwrap();
        assert_eq!(issuer.identifier(), identifier);
        let error = Issuer::builder(identifier).build().unwrap_err();
        assert_eq!(settings(&error), ["issuer"], "{identifier}");
        // Its name gives no plain http to its keys.
        let error = Issuer::from_jwks_uri(identifier, "http://127.0.0.1:1/jwks").unwrap_err();
        assert_eq!(settings(&error), ["jwks_uri"], "{identifier}");
    }
    assert_eq!(settings(&Issuer::from_jwks_uri(" ", "https://auth.test/jwks").unwrap_err()), ["issuer"]);
    let fake = FakeIssuer::start().await;
    let keys = Issuer::builder("accounts.test").jwks_uri(fake.jwks_uri()).danger_accept_plain_http().build();
    keys.unwrap().warm_up().await.unwrap();
    assert_eq!(fake.requests().len(), 1, "no metadata was fetched");
}

/// RFC 7519 §4.1.1 b (derived, refuses)
#[test]
fn introspection_needs_an_endpoint_if_the_issuer_can_have_no_metadata() {
    let build = |identifier: &str, endpoint: Option<&str>| {
        let issuer = Issuer::from_jwks_uri(identifier, "https://auth.test/jwks").unwrap();
        let client = ClientAuthentication::secret_basic("api", "secret");
        let builder = IntrospectionVerifier::builder(issuer, client, API);
        match endpoint {
            Some(url) => builder.endpoint(url).build(),
            None => builder.build(),
        }
    };
    for identifier in ONLY_COMPARED {
        let error = build(identifier, None).unwrap_err();
        assert_eq!(settings(&error), ["endpoint"], "{identifier}");
        assert!(error.to_string().contains("so it has no metadata; give the introspection endpoint's URL"), "{error}");
        assert!(build(identifier, Some("https://auth.test/introspect")).is_ok(), "{identifier}");
    }
    assert!(build("https://auth.test", None).is_ok());
}

#[test]
fn a_refusal_of_plain_http_names_the_method_that_accepts_it() {
    let method = "IssuerBuilder::danger_accept_plain_http";
    let errors = [
        Issuer::builder("http://auth.test").build().unwrap_err(),
        Issuer::from_jwks_uri("https://auth.test", "http://auth.test/jwks").unwrap_err(),
    ];
    for error in errors {
        assert!(error.to_string().contains("is plain http") && error.to_string().contains(method), "{error}");
    }
    // No method accepts it here.
    let error = ResourceServer::builder(issuer().verifier(API)).resource_metadata("http://api.test").build();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("is plain http") && !error.contains(method), "{error}");
}

#[test]
fn debug_of_a_configuration_error_is_its_text() {
    let error =
        Issuer::builder("ftp://auth.test").jwks_uri("file:///keys").max_stale(Duration::ZERO).build().unwrap_err();
    assert_eq!(format!("{error:?}"), error.to_string());
    assert_eq!(format!("{error:#?}").lines().count(), 2, "one line for each mistake: {error}");
    for mistake in error.mistakes() {
        assert_eq!(format!("{mistake:?}"), mistake.to_string());
    }
    assert_eq!(format!("{:?}", DiscoveryError::Config(error.clone())), error.to_string());
}

/// Threat J15
#[test]
fn a_url_with_a_host_or_port_that_parsers_disagree_on_is_refused() {
    let with_keys_at = |url: &str| Issuer::builder("https://auth.test").jwks_uri(url).build();
    for url in [
        "https://auth.test:+443/jwks",
        "https://auth.test:0443/jwks",
        "https://auth.test:/jwks",
        "https://auth.test:65536/jwks",
        "https://[::1%25lo]/jwks",
        "https://0x7f.1/jwks",
        "https://2130706433/jwks",
        "https://%61uth.test/jwks",
        "https://xn--a.test/jwks",
    ] {
        assert_eq!(settings(&with_keys_at(url).unwrap_err()), ["jwks_uri"], "{url}");
    }
    for url in [
        "https://auth.test/jwks?tenant=a#keys",
        "https://AUTH.test:443/a/../jwks",
        "https://auth.test:8443/jwks",
        "https://[0:0:0:0:0:0:0:1]:8443/jwks",
    ] {
        assert!(with_keys_at(url).is_ok(), "{url}");
    }
}
