//! Security schemes and requirements: their JSON, and the types of the libraries that read it (OpenAPI 3.2, §4.27 to §4.30).

use serde_json::{Value, json};
use tower_oauth::{
    AnyOf, Scoped, Token,
    openapi::{bearer_scheme, oauth2_scheme, requirements, requirements_of},
};

use crate::support::{Admin, DESCRIBED, OrdersRead, OrdersWrite};

const AUTHORIZE: &str = "https://auth.test/authorize";
const TOKEN: &str = "https://auth.test/token";
const DEVICE: &str = "https://auth.test/device";
const METADATA: &str = "https://auth.test/.well-known/oauth-authorization-server";

fn two_flows() -> Value {
    oauth2_scheme(DESCRIBED).client_credentials(TOKEN).authorization_code(AUTHORIZE, TOKEN).build().unwrap()
}

/// OpenAPI 1 (MUST, accepts)
#[test]
fn an_oauth2_scheme_has_its_flows_with_described_scopes() {
    let scopes = json!({"orders:read": "Read any order.", "orders:write": "", "admin": ""});
    assert_eq!(
        two_flows(),
        json!({
            "type": "oauth2",
            "flows": {
                "clientCredentials": {"tokenUrl": TOKEN, "scopes": scopes},
                "authorizationCode": {"authorizationUrl": AUTHORIZE, "tokenUrl": TOKEN, "scopes": scopes},
            },
        })
    );
    let newest =
        oauth2_scheme(DESCRIBED).device_authorization(DEVICE, TOKEN).metadata_url(METADATA).description("Log in.");
    assert_eq!(
        newest.build().unwrap(),
        json!({
            "type": "oauth2",
            "description": "Log in.",
            "oauth2MetadataUrl": METADATA,
            "flows": {"deviceAuthorization": {"deviceAuthorizationUrl": DEVICE, "tokenUrl": TOKEN, "scopes": scopes}},
        })
    );
}

#[test]
fn the_scopes_of_several_modules_make_one_scheme() {
    let others = [("orders:write", "Change any order."), ("orders:read", "Another text."), ("users", "Read users.")];
    let scheme = oauth2_scheme(DESCRIBED.iter().chain(&others)).client_credentials(TOKEN).build().unwrap();
    let scopes = json!({
        "orders:read": "Read any order.", "orders:write": "Change any order.", "admin": "", "users": "Read users."
    });
    assert_eq!(scheme["flows"]["clientCredentials"]["scopes"], scopes);
}

/// OpenAPI 1 (MUST, refuses)
#[test]
fn an_oauth2_scheme_reports_all_mistakes() {
    let mistakes = |scheme: tower_oauth::openapi::OAuth2SchemeBuilder| {
        let error = scheme.build().unwrap_err();
        error.mistakes().iter().map(|mistake| mistake.setting().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(mistakes(oauth2_scheme(DESCRIBED)), ["flows"]);
    let wrong = oauth2_scheme(&[("a b", ""), ("good", "")])
        .client_credentials("http://auth.test/token")
        .client_credentials("http://127.0.0.1:8080/token")
        .authorization_code("/authorize", "https://user@auth.test/token")
        .metadata_url("");
    let expected = [
        "scopes",
        "client_credentials",
        "client_credentials",
        "authorization_code",
        "authorization_code",
        "metadata_url",
    ];
    assert_eq!(mistakes(wrong), expected, "a loopback address may be plain http");
}

/// OpenAPI 2 (MUST, accepts)
#[test]
fn the_list_of_requirements_has_one_object_for_each_alternative() {
    type Needed = (OrdersRead, AnyOf<(OrdersWrite, Admin)>);
    async fn bare(_: Scoped<Needed>) {}
    async fn with_more(_: Scoped<Needed>, _: Token, _: String) -> &'static str {
        ""
    }
    // axum's handlers have at most 16 arguments. An optional `Scoped` requires nothing.
    #[rustfmt::skip]
    #[expect(clippy::too_many_arguments, reason = "as many as axum permits")]
    async fn with_most(
        _: Scoped<Needed>, _: Option<Scoped<Admin>>, (): (), (): (), (): (), (): (), (): (), (): (), (): (), (): (), (): (),
        (): (), (): (), (): (), (): (), _: String,
    ) {}

    assert_eq!(requirements::<OrdersRead>("oauth2"), json!([{"oauth2": ["orders:read"]}]));
    assert_eq!(requirements::<(OrdersRead, Admin)>("login"), json!([{"login": ["orders:read", "admin"]}]));
    assert_eq!(requirements::<AnyOf<(OrdersRead, Admin)>>("x"), json!([{"x": ["orders:read"]}, {"x": ["admin"]}]));
    let nested = json!([{"x": ["orders:read", "orders:write"]}, {"x": ["orders:read", "admin"]}]);
    assert_eq!(requirements::<Needed>("x"), nested);
    for stated in [requirements_of(&bare, "x"), requirements_of(&with_more, "x"), requirements_of(&with_most, "x")] {
        assert_eq!(stated, nested);
    }
    assert_eq!(requirements_of(&|_: Scoped<Admin>| async {}, "x"), json!([{"x": ["admin"]}]), "a closure");
}

/// OpenAPI 2 (MUST, accepts)
#[test]
fn utoipa_reads_requirements_without_a_loss() {
    use utoipa::openapi::security::SecurityRequirement;
    let list = requirements::<AnyOf<(OrdersRead, Admin)>>("oauth2");
    let read: Vec<SecurityRequirement> = serde_json::from_value(list.clone()).unwrap();
    let written = [SecurityRequirement::new("oauth2", ["orders:read"]), SecurityRequirement::new("oauth2", ["admin"])];
    assert!(read == written);
    assert_eq!(serde_json::to_value(read).unwrap(), list);
}

/// OpenAPI 1 (MUST, accepts)
#[test]
fn utoipa_writes_the_same_schemes_from_its_own_types() {
    use utoipa::openapi::security::{
        AuthorizationCode, ClientCredentials, DeviceAuthorization, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Scopes,
        SecurityScheme,
    };
    let scopes = || DESCRIBED.iter().copied().collect::<Scopes>();
    let flows = [
        Flow::ClientCredentials(ClientCredentials::new(TOKEN, scopes())),
        Flow::AuthorizationCode(AuthorizationCode::new(AUTHORIZE, TOKEN, scopes())),
        Flow::DeviceAuthorization(DeviceAuthorization::new(DEVICE, TOKEN, scopes())),
    ];
    let ours = oauth2_scheme(DESCRIBED).client_credentials(TOKEN).authorization_code(AUTHORIZE, TOKEN);
    let ours = ours.device_authorization(DEVICE, TOKEN).metadata_url(METADATA).description("Log in.").build().unwrap();
    let mut theirs = OAuth2::with_description(flows, "Log in.");
    theirs.oauth2_metadata_url = Some(METADATA.to_owned());
    assert_eq!(serde_json::to_value(SecurityScheme::OAuth2(theirs)).unwrap(), ours);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    assert_eq!(serde_json::to_value(SecurityScheme::Http(bearer)).unwrap(), bearer_scheme());

    let read = |scheme: Value| serde_json::from_value::<SecurityScheme>(scheme).unwrap();
    let own = oauth2_scheme(DESCRIBED).client_credentials(TOKEN).metadata_url(METADATA).build().unwrap();
    for scheme in [own, bearer_scheme()] {
        assert_eq!(serde_json::to_value(read(scheme.clone())).unwrap(), scheme);
    }
    let lost = serde_json::to_value(read(two_flows())).unwrap();
    let change = "utoipa reads the flow of an authorization code now: change the module's docs";
    assert!(lost["flows"]["authorizationCode"]["tokenUrl"].is_null(), "{change}");
}

/// OpenAPI 1 (MUST, accepts)
#[test]
fn aide_reads_schemes_and_requirements() {
    use aide::openapi::{SecurityRequirement, SecurityScheme};
    for scheme in [two_flows(), bearer_scheme()] {
        let read: SecurityScheme = serde_json::from_value(scheme.clone()).unwrap();
        assert_eq!(without_nulls(serde_json::to_value(read).unwrap()), scheme);
    }
    let list = requirements::<AnyOf<(OrdersRead, Admin)>>("oauth2");
    let read: Vec<SecurityRequirement> = serde_json::from_value(list.clone()).unwrap();
    assert_eq!(read[1]["oauth2"], ["admin"]);
    assert_eq!(serde_json::to_value(read).unwrap(), list);
}

/// aide writes absent URLs as null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name, without_nulls(value)))
            .collect(),
        other => other,
    }
}
