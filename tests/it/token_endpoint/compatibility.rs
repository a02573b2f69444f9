//! What clients of other projects send, and is accepted: by default where nothing is lost, else by a setting of the client or of
//! the endpoint. Each test also has what is still refused.

use std::time::Duration;

use axum::body::Body;
use tower_oauth::{
    error::ConfigMistake,
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        Client, ClientBuilder, ClientCredential, ClientCredentialsGrant, TokenEndpoint, TokenEndpointBuilder,
        TokenFormat,
    },
};

use super::{CB, ISSUER, OPAQUE, VERIFIER, World, basic, machine, part, raw_basic, sent, usual, with_users};
use crate::support::API;

const CC: (&str, &str) = ("grant_type", "client_credentials");

fn public(id: &str) -> ClientBuilder {
    with_users(Client::builder(id, ClientCredential::None))
}

/// Returns what the configuration error says about one redirect URI.
fn mistakes(client: ClientBuilder) -> Vec<(&'static str, String)> {
    let mistakes = client.build().err().map(|error| error.mistakes().to_vec()).unwrap_or_default();
    mistakes.iter().map(|mistake| (mistake.setting(), mistake.to_string())).collect()
}

/// RFC 8252 §7.3 (MUST, NOT RECOMMENDED, accepts)
#[tokio::test]
async fn the_port_of_localhost_may_vary_only_if_the_client_is_so_configured() {
    let world = World::with_users();
    let uri = "http://localhost:57470/cb";
    let ask = [("client_id", "cli"), ("redirect_uri", uri)];
    world.clients.insert(public("cli").redirect_uri("http://localhost/cb").build().unwrap());
    let error = world.ask(&ask).await.unwrap_err();
    assert!(error.redirect_uri().is_none());
    let shown = error.to_string();
    assert!(shown.contains("the name localhost can resolve to another machine (RFC 8252 section 8.3)"), "{shown}");
    let error = world.ask(&[ask[0], ("redirect_uri", "http://localhost/other")]).await.unwrap_err().to_string();
    assert!(error.ends_with("The redirect_uri is not registered for the client"), "{error}");

    world.clients.insert(
        public("cli").redirect_uri("http://localhost/cb").redirect_uri(CB).any_localhost_port().build().unwrap(),
    );
    let code = world.code(&ask).await;
    // The code is bound to the port of the authorization request.
    world.redeem(&code, &[ask[0], ("redirect_uri", "http://localhost:2/cb")]).await.is_error(400, "invalid_grant");
    world.redeem(&code, &[ask[0], ("redirect_uri", "http://localhost/cb")]).await.is_error(400, "invalid_grant");
    world.redeem(&code, &ask).await.is_ok();
    for other in
        ["https://localhost:1/cb", "http://localhost:1@evil.test/cb", "https://app.test:1/cb", "http://127.0.0.1:1/cb"]
    {
        let error = world.ask(&[ask[0], ("redirect_uri", other)]).await.unwrap_err();
        assert!(error.redirect_uri().is_none(), "{other}");
    }
}

#[tokio::test]
async fn the_settings_of_a_client_stay_when_its_secret_is_renewed() {
    let world = World::with_users();
    let client = with_users(super::confidential("web")).redirect_uri("http://localhost/cb");
    world.clients.insert(client.any_localhost_port().grant_less_than_asked().build().unwrap());
    world.clients.renew_secret("web").unwrap();
    let ask =
        [("client_id", "web"), ("redirect_uri", "http://localhost:1/cb"), ("scope", "orders:read offline_access")];
    let request = world.ask(&ask).await.unwrap();
    assert_eq!(request.scopes().collect::<Vec<_>>(), ["orders:read"]);
}

/// RFC 6749 §3.3 d (MAY, accepts and refuses)
#[tokio::test]
async fn less_than_was_asked_is_granted_only_if_the_client_is_so_configured() {
    let world = World::with_users();
    world.token("reports", &[("scope", "orders:read offline_access")]).await.is_error(400, "invalid_scope");
    world.clients.insert(machine("less").grant_less_than_asked().build().unwrap());
    for (asked, granted) in [
        ("orders:read offline_access", "orders:read"),
        ("openid orders:write admin orders:read", "orders:write orders:read"),
        ("orders:write", "orders:write"),
        ("", "orders:read"),
    ] {
        let answer = world.token("less", &[("scope", asked)]).await;
        answer.is_ok();
        assert_eq!(answer.text("scope"), granted, "{asked:?}");
        assert_eq!(part(answer.text("access_token"), 1)["scope"], granted);
    }
    // Nothing is left, or a name is malformed.
    for asked in ["offline_access", "openid admin", "ORDERS:READ", " ", "orders:read a\"b", "a\"b"] {
        world.token("less", &[("scope", asked)]).await.is_error(400, "invalid_scope");
    }
}

/// RFC 6749 §3.3 d (MAY, accepts and refuses)
#[tokio::test]
async fn a_user_approves_and_a_client_refreshes_less_than_was_asked_and_never_more_than_was_approved() {
    let world = World::with_users();
    world.clients.insert(public("less").redirect_uri(CB).grant_less_than_asked().build().unwrap());
    let id = ("client_id", "less");
    let request = world.ask(&[id, ("scope", "offline_access orders:read openid")]).await.unwrap();
    assert_eq!(request.scopes().collect::<Vec<_>>(), ["orders:read"], "the page shows what can be granted");
    let sent = sent(&request.approve("ada", ["orders:read"]).await.map(Body::new));
    let answer = world.redeem(&sent[0].1, &[id]).await;
    answer.is_ok();
    assert_eq!(answer.text("scope"), "orders:read");
    // `orders:write` is registered, but was not approved.
    let token = answer.text("refresh_token");
    for beyond in ["orders:write", "offline_access"] {
        world.refresh(token, &[id, ("scope", beyond)]).await.is_error(400, "invalid_scope");
    }
    let answer = world.refresh(token, &[id, ("scope", "orders:write orders:read offline_access")]).await;
    answer.is_ok();
    assert_eq!(answer.text("scope"), "orders:read");

    let error = world.ask(&[id, ("scope", "offline_access")]).await.unwrap_err();
    assert_eq!((error.code(), error.redirect_uri()), ("invalid_scope", Some(CB)));
    // The application can't approve what was dropped.
    let request = world.ask(&[id, ("scope", "orders:read admin")]).await.unwrap();
    let sent = super::sent(&request.approve("ada", ["orders:read", "admin"]).await.map(Body::new));
    assert_eq!(sent[0].1, "server_error");
}

/// RFC 6749 §3.3 e (choice, accepts and refuses)
#[tokio::test]
async fn spaces_around_scopes_are_forgiven_at_every_endpoint() {
    let world = World::with_users();
    let request = world.ask(&[("scope", " orders:read ")]).await.unwrap();
    assert_eq!(request.scopes().collect::<Vec<_>>(), ["orders:read"]);
    let answer = world.redeem(&world.code(&[]).await, &[]).await;
    let answer = world.refresh(answer.text("refresh_token"), &[("scope", "orders:read ")]).await;
    answer.is_ok();
    assert_eq!(answer.text("scope"), "orders:read");
    world.refresh(answer.text("refresh_token"), &[("scope", " ")]).await.is_error(400, "invalid_scope");
    assert_eq!(world.ask(&[("scope", "  ")]).await.unwrap_err().code(), "invalid_scope");
}

/// RFC 6749 §2.3.1 b (MAY, accepts and refuses)
#[tokio::test]
async fn an_empty_secret_in_basic_counts_as_none() {
    let world = World::with_users();
    let code = world.code(&[]).await;
    let form = [("grant_type", "authorization_code"), ("code", &*code), ("code_verifier", VERIFIER)];
    let answer = world.post("/token", &raw_basic("app:"), &form).await;
    answer.is_ok();
    // The same answer as with the id alone in the body.
    for (id, status) in [("app", 400), ("reports", 401), ("signs", 401), ("unknown", 401)] {
        let form = [("grant_type", "refresh_token"), ("refresh_token", "x")];
        for path in ["/token", "/introspect", "/revoke"] {
            let basic = world.post(path, &basic(id, ""), &form).await;
            let body = world.post(path, "", &[&form[..], &[("client_id", id)]].concat()).await;
            assert_eq!((basic.plain.status, &basic.json), (body.plain.status, &body.json), "{id} {path}");
            assert!(path != "/token" || basic.status() == status, "{id}: {basic:?}");
        }
    }
    world.post("/token", &raw_basic("app:"), &[CC, ("client_id", "app")]).await.is_error(400, "unauthorized_client");
    for other in [("client_id", "reports"), ("client_secret", "x"), ("client_assertion", "x")] {
        world.post("/token", &raw_basic("app:"), &[CC, other]).await.is_error(400, "invalid_request");
    }
    for wrong in ["app: ", "app:x", "app::", "app", ":", "app:%00"] {
        world.post("/token", &raw_basic(wrong), &[CC]).await.is_error(401, "invalid_client");
    }
}

/// RFC 6749 §2.3.1 b (MAY, refuses)
#[tokio::test]
async fn an_empty_secret_is_no_guess_and_restores_no_attempts() {
    let world =
        World::with(|builder| builder.max_failed_authentications(3, Duration::from_secs(60)).throttle_right_secrets());
    let empty = raw_basic("reports:");
    for _ in 0..30 {
        world.post("/token", &empty, &[CC]).await.is_error(401, "invalid_client");
    }
    world.post("/token", &usual("reports"), &[CC]).await.is_ok();
    for _ in 0..3 {
        world.post("/token", &basic("reports", "wrong"), &[CC]).await.is_error(401, "invalid_client");
        world.post("/token", &empty, &[CC]).await.is_error(401, "invalid_client");
    }
    world.post_and_wait("/token", &usual("reports"), &[CC]).await.is_error(429, "temporarily_unavailable");
    world.post("/token", &empty, &[CC]).await.is_error(401, "invalid_client");
    world.post_and_wait("/token", &usual("reports"), &[CC]).await.is_error(429, "temporarily_unavailable");
}

/// RFC 6749 §4.1.3 (MUST, refuses)
/// Threat T12
#[tokio::test]
async fn the_redirect_uri_may_be_left_out_when_a_code_is_redeemed() {
    let world = World::with_users();
    let without = ("redirect_uri", "");
    let code = world.code(&[]).await;
    // The verifier and the client are still needed. None of these requests uses the code up.
    for wrong in [("code_verifier", ""), ("code_verifier", CB), ("client_id", "native")] {
        world.redeem(&code, &[without, wrong]).await.is_error(400, "invalid_grant");
    }
    world.redeem(&code, &[("redirect_uri", "https://evil.test/cb")]).await.is_error(400, "invalid_grant");
    let answer = world.redeem(&code, &[without]).await;
    answer.is_ok();
    // It is used up now, and a replay in either form revokes its tokens.
    world.redeem(&code, &[without]).await.is_error(400, "invalid_grant");
    assert!(!world.is_active(answer.text("access_token")).await);

    // A code can't be mixed from two codes.
    let native = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:1/cb")];
    let other = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:2/cb")];
    let (one, two) = (world.code(&native).await, world.code(&other).await);
    let mixed = format!("{}{}", &one[..22], &two[22..]);
    for uri in [native[1], other[1], without] {
        world.redeem(&mixed, &[native[0], uri]).await.is_error(400, "invalid_grant");
    }
    for cut in [&one[..43], &one[..63], &one[..22], &format!("{one}A"), &format!("{}ä{}", &one[..42], &one[43..])] {
        for uri in [native[1], without] {
            world.redeem(cut, &[native[0], uri]).await.is_error(400, "invalid_grant");
        }
    }
    world.redeem(&one, &[native[0], without]).await.is_ok();
    world.redeem(&two, &other).await.is_ok();
}

/// RFC 8414 §5 (MAY, accepts and refuses)
#[tokio::test]
async fn the_metadata_is_at_the_address_of_openid_connect_only_if_configured() {
    let key = || PrivateKey::generate(Algorithm::ES256).unwrap();
    for (issuer, paths) in [
        (ISSUER, vec!["/.well-known/openid-configuration"]),
        ("https://as.test/", vec!["/.well-known/openid-configuration"]),
        ("https://as.test/a/b", vec!["/.well-known/openid-configuration/a/b", "/a/b/.well-known/openid-configuration"]),
    ] {
        let base = World::new();
        let with = |configure: fn(TokenEndpointBuilder) -> TokenEndpointBuilder| {
            let builder =
                TokenEndpoint::builder(issuer, key(), base.clients.clone()).grant(ClientCredentialsGrant::new());
            let endpoint = configure(builder).build().unwrap();
            World { endpoint, clients: base.clients.clone(), clock: base.clock.clone() }
        };
        let (off, on) = (with(|builder| builder), with(TokenEndpointBuilder::metadata_at_openid_configuration));
        let own = format!("/.well-known/oauth-authorization-server{}", issuer[ISSUER.len()..].trim_end_matches('/'));
        let document = on.get(&own).await;
        assert_eq!((document.status(), &document.json["issuer"]), (200, &issuer.into()));
        assert_eq!(on.endpoint.paths().skip(5).collect::<Vec<_>>(), paths);
        assert_eq!(off.endpoint.paths().count(), 5);
        for path in paths {
            let answer = on.get(path).await;
            assert_eq!((answer.status(), &answer.plain.body), (200, &document.plain.body), "{path}");
            assert_eq!(answer.header("content-type"), Some("application/json"));
            let posted = on.post(path, "", &[]).await;
            assert_eq!((posted.status(), posted.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
            assert_eq!(off.get(path).await.status(), 404, "{path}");
        }
    }
}

/// RFC 8707 §2 b (SHOULD, accepts and refuses)
#[tokio::test]
async fn a_resource_with_or_without_a_slash_after_its_host_is_the_registered_one() {
    let world = World::with_users();
    let bare = "https://api.test";
    assert_eq!(API, bare);
    for name in ["resource", "audience"] {
        let answer = world.token("reports", &[(name, "https://api.test/")]).await;
        answer.is_ok();
        assert_eq!(part(answer.text("access_token"), 1)["aud"], bare);
        world.token("reports", &[(name, "https://api.test/"), (name, bare)]).await.is_ok();
        for other in [
            "https://api.test//",
            "https://api.test/?",
            "https://api.test/#",
            "https://api.test?",
            "https://api.test/x",
            "https://api.test/x/",
            "https://api.test\\",
            "http://api.test/",
            "https://API.test/",
            "https://api.test:443/",
            "https://",
            "https:///",
            "/",
        ] {
            world.token("reports", &[(name, other)]).await.is_error(400, "invalid_target");
        }
    }
    // The registered text is issued, also if it has the slash. A path is compared byte for byte.
    let slash = "https://slash.test/";
    let client = super::confidential("slash").grant_types(["client_credentials"]).default_scopes(["a"]);
    let client = client.audience(slash, TokenFormat::Opaque).audience("https://p.test/a", TokenFormat::Jwt);
    let client = client.audience("urn:x", TokenFormat::Jwt).audience("https://both.test", TokenFormat::Jwt);
    world.clients.insert(client.audience("https://both.test/", TokenFormat::Jwt).build().unwrap());
    let token = world.access_token("slash", &[("resource", "https://slash.test")]).await;
    assert_eq!(world.introspect("watch", &token).await["aud"], slash);
    for other in ["https://p.test/a/", "https://p.test", "https://p.test/", "urn:x/"] {
        world.token("slash", &[("resource", other)]).await.is_error(400, "invalid_target");
    }
    for both in ["https://both.test", "https://both.test/"] {
        let token = world.access_token("slash", &[("resource", both)]).await;
        assert_eq!(part(&token, 1)["aud"], both, "the same text comes first");
    }
}

/// RFC 8707 §2 b (SHOULD, accepts)
#[tokio::test]
async fn a_user_approves_the_registered_resource_whichever_form_was_requested() {
    let world = World::with_users();
    let native = [("client_id", "native"), ("redirect_uri", "http://127.0.0.1:1/cb")];
    let forms = [("resource", "https://api.test/"), ("resource", API), ("audience", "https://api.test/")];
    let request = world.ask(&[&native[..], &forms].concat()).await.unwrap();
    assert_eq!(request.resources().collect::<Vec<_>>(), [API]);
    let code = world.code(&[&native[..], &forms].concat()).await;
    let answer = world.redeem(&code, &[&native[..], &forms[..1]].concat()).await;
    assert_eq!(part(answer.text("access_token"), 1)["aud"], API);
    let token = answer.text("refresh_token");
    let opaque = format!("{OPAQUE}/");
    world.refresh(token, &[native[0], ("resource", &opaque)]).await.is_error(400, "invalid_target");
    let answer = world.refresh(token, &[native[0], forms[0]]).await;
    assert_eq!(part(answer.text("access_token"), 1)["aud"], API);
}

/// RFC 8252 §7.1 (SHOULD, accepts and refuses)
#[tokio::test]
async fn a_private_scheme_without_a_dot_is_accepted_only_by_its_name() {
    let uri = "cursor://anysphere.cursor-mcp/oauth/callback";
    let found = mistakes(public("cursor").redirect_uri(uri));
    assert_eq!(found.len(), 1);
    assert!(found[0].0 == "redirect_uri" && found[0].1.contains("accept_private_scheme"), "{found:?}");
    assert!(found[0].1.contains(uri), "{found:?}");
    let world = World::with_users();
    world.clients.insert(public("cursor").redirect_uri(uri).accept_private_scheme("cursor").build().unwrap());
    let ask = [("client_id", "cursor"), ("redirect_uri", uri)];
    let response = world.ask(&ask).await.unwrap().approve("ada", ["orders:read"]).await.map(Body::new);
    assert!(response.headers()["location"].to_str().unwrap().starts_with(&format!("{uri}?code=")));
    world.redeem(&sent(&response)[0].1, &ask).await.is_ok();
    for other in ["cursor://evil/oauth/callback", "CURSOR://anysphere.cursor-mcp/oauth/callback", "cursor:evil"] {
        assert!(world.ask(&[ask[0], ("redirect_uri", other)]).await.is_err());
    }
    // The name accepts one scheme only, and none that belongs to browsers.
    for (scheme, uri) in
        [("vscode", uri), ("cursor", "cursor2://x"), ("cursor", "cursor:"), ("Cursor", uri), ("cursor:", uri)]
    {
        assert!(!mistakes(public("x").redirect_uri(uri).accept_private_scheme(scheme)).is_empty(), "{scheme} {uri}");
    }
    for scheme in ["javascript", "data", "file", "http", "https", "JavaScript", "web+x", "", "a b", "curs\u{f6}r"] {
        let found = mistakes(public("x").redirect_uri(CB).accept_private_scheme(scheme));
        assert_eq!(found.len(), 1, "{scheme}");
        assert_eq!(found[0].0, "accept_private_scheme");
    }
    for scheme in [
        "search-ms",
        "microsoft-edge",
        "itms-services",
        "magnet",
        "moz-extension",
        "shell",
        "x-apple-systempreferences",
    ] {
        let client = public("x").redirect_uri(format!("{scheme}://cb")).accept_private_scheme(scheme);
        assert_eq!(mistakes(client).len(), 2, "{scheme}");
    }
    for uri in ["javascript:alert(1)", "javascript://x/%0aalert(1)"] {
        assert!(mistakes(public("x").redirect_uri(uri).accept_private_scheme("javascript")).len() == 2);
    }
}

/// RFC 9700 §2.1 b (MUST NOT, accepts and refuses)
#[test]
fn a_redirect_uri_that_can_never_match_is_a_mistake_that_is_named() {
    for (uri, named) in [
        ("https://*.example/cb", "not a wildcard"),
        ("https://app.example/*", "not a wildcard"),
        ("http://localhost:*/cb", "not a wildcard"),
        ("com.example.app:/*", "not a wildcard"),
        ("https://app.example:99999/cb", "port"),
        ("https://app.example:65536/cb", "port"),
        ("http://127.0.0.1:70000/cb", "port"),
        ("http://[::1]:70000/cb", "port"),
        ("https://app.example:+443/cb", "port"),
    ] {
        let found = mistakes(public("app").redirect_uri(uri));
        assert_eq!(found.iter().map(|(setting, _)| *setting).collect::<Vec<_>>(), ["redirect_uri"], "{uri}");
        assert!(found[0].1.contains(named) && found[0].1.contains(uri), "{found:?}");
    }
    for uri in
        ["https://app.example:65535/cb", "https://app.example:443/cb", "http://[::1]:1/cb", "http://localhost:3000/cb"]
    {
        assert_eq!(mistakes(public("app").redirect_uri(uri)), [], "{uri}");
    }
    // A password is not repeated.
    let error = public("app").redirect_uri("https://ada:hush@app.example:99999/*").build().unwrap_err();
    assert!(!error.mistakes().iter().map(ConfigMistake::to_string).any(|text| text.contains("hush")), "{error}");
}
