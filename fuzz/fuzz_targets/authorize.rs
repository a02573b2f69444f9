#![no_main]
//! First line: redirect URIs that a client registers, separated by spaces. Second line: a query for `/authorize`. No response may
//! redirect to a URI that is not registered.

use std::sync::LazyLock;

use http::Uri;
use libfuzzer_sys::{Corpus, fuzz_target};
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    token_endpoint::{
        AuthorizationCodeGrant, AuthorizationError, Client, ClientCredential, Clients, TokenEndpoint, TokenFormat,
    },
};
use tower_oauth_fuzz::{API, ISSUER, at_once};

static CLIENTS: LazyLock<Clients> = LazyLock::new(|| Clients::new([]).unwrap());
static ENDPOINT: LazyLock<TokenEndpoint> = LazyLock::new(|| {
    let key = PrivateKey::generate(Algorithm::EdDSA).unwrap();
    let builder = TokenEndpoint::builder(ISSUER, key, CLIENTS.clone());
    builder.grant(AuthorizationCodeGrant::new("https://auth.test/authorize")).build().unwrap()
});

fuzz_target!(|input: &[u8]| -> Corpus {
    let Ok(text) = str::from_utf8(input) else { return Corpus::Reject };
    let Some((registered, query)) = text.split_once('\n') else { return Corpus::Reject };
    let registered: Vec<&str> = registered.split(' ').collect();
    let client =
        registered.iter().fold(Client::builder("app", ClientCredential::None), |client, uri| client.redirect_uri(*uri));
    let client = client.grant_types(["authorization_code"]).default_scopes(["read"]).audience(API, TokenFormat::Jwt);
    let Ok(client) = client.build() else { return Corpus::Keep };
    CLIENTS.insert(client);
    let Ok(uri) = format!("/authorize?{query}").parse::<Uri>() else { return Corpus::Reject };
    let response = match at_once(ENDPOINT.authorize(&uri)) {
        // Denies, because each code is stored for a minute, and the fuzzer would create millions.
        Ok(request) => request.deny(tower_oauth::token_endpoint::DenialReason::AccessDenied),
        Err(error) => AuthorizationError::into_response(error),
    };
    let pairs: Vec<_> = form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
    let value =
        |name| pairs.iter().find(|(other, value)| other == name && !value.is_empty()).map(|(_, value)| &**value);
    let Some(location) = response.headers().get("location") else {
        assert_eq!(response.status(), 400);
        return Corpus::Keep;
    };
    assert_eq!((response.status().as_u16(), value("client_id")), (303, Some("app")));
    let location = location.to_str().unwrap();
    let base = match value("redirect_uri") {
        Some(requested) => requested,
        None => registered.iter().find(|_| registered.len() == 1).expect("one registered URI"),
    };
    let allowed = registered
        .iter()
        .any(|own| *own == base || without_port(own).is_some_and(|own| Some(own) == without_port(base)));
    assert!(allowed, "redirected to {location}, registered {registered:?}");
    let parameters = location.strip_prefix(base).expect("the redirect URI unchanged");
    let parameters = parameters.strip_prefix(if base.contains('?') { '&' } else { '?' }).expect("a query");
    let parameters: Vec<_> = form_urlencoded::parse(parameters.as_bytes()).into_owned().collect();
    let names: Vec<_> = parameters.iter().map(|(name, _)| &**name).collect();
    let state = pairs.iter().filter(|(name, _)| name == "state").count() == 1;
    let state = value("state").filter(|_| state);
    assert_eq!(
        names,
        [&["error", "error_description"][..], if state.is_some() { &["state"] } else { &[] }, &["iss"]].concat()
    );
    assert_eq!(parameters.iter().find(|(name, _)| name == "state").map(|(_, value)| &**value), state);
    assert_eq!(parameters.last().unwrap().1, ISSUER);
    Corpus::Keep
});

/// Returns host, path and query of a loopback URI, with another parser than the crate's.
fn without_port(uri: &str) -> Option<(String, String)> {
    let parsed: Uri = uri.parse().ok()?;
    let host = parsed.host().filter(|host| ["127.0.0.1", "[::1]"].contains(host))?;
    let rest = uri.strip_prefix("http://")?.strip_prefix(parsed.authority()?.as_str())?;
    Some((host.to_owned(), rest.to_owned()))
}
