#![no_main]
//! Any request to the token endpoint. The first byte is the path: T, I or R. The second is the content type: F or J. The rest of
//! the line is `Authorization`; after a `B`, the rest is base64-encoded for Basic. The other lines are the body. Secrets are
//! replaced: `$S` (the secret of `machine`), `$C` (a code of `app`), `$R` (a refresh token of `app`), `$A` (an access token of
//! `machine`).

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use libfuzzer_sys::{Corpus, fuzz_target};
use serde_json::Value;
use tower_oauth::{
    keys::{Algorithm, PrivateKey},
    testing::ManualClock,
    token_endpoint::{
        AuthorizationCodeGrant, Client, ClientCredential, ClientCredentialsGrant, ClientSecret, Clients,
        RefreshTokenGrant, ResponseBody, TokenEndpoint, TokenFormat,
    },
};
use tower_oauth_fuzz::{API, ISSUER, at_once, issuer};
use tower_service::Service;

struct Server {
    endpoint: TokenEndpoint,
    clock: ManualClock,
    secret: String,
}

static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let (own, secret) = ClientSecret::generate().unwrap();
    let machine = Client::builder("machine", own).grant_types(["client_credentials"]).introspects_any_token();
    let app = Client::builder("app", ClientCredential::None)
        .grant_types(["authorization_code", "refresh_token"])
        .redirect_uri(CB);
    let signs = Client::builder("signs", issuer().key_set()).grant_types(["client_credentials"]);
    let clients = [machine, app, signs].map(|client| {
        client.default_scopes(["read"]).optional_scopes(["write"]).audience(API, TokenFormat::Opaque).build().unwrap()
    });
    let clock = ManualClock::default();
    let key = PrivateKey::generate(Algorithm::ES256).unwrap();
    let endpoint = TokenEndpoint::builder(ISSUER, key, Clients::new(clients).unwrap())
        .grant(ClientCredentialsGrant::new())
        .grant(AuthorizationCodeGrant::new("https://auth.test/authorize"))
        .grant(RefreshTokenGrant::new().absolute_lifetime(Duration::from_secs(600)).idle_lifetime(MINUTE))
        .accept_json()
        .clock(clock.clone())
        .build()
        .unwrap();
    Server { endpoint, clock, secret }
});

fuzz_target!(init: check_the_seeds(), |input: &[u8]| -> Corpus {
    match respond(input) {
        Some((response, has_secret)) => {
            check(&response, has_secret);
            Corpus::Keep
        }
        None => Corpus::Reject,
    }
});

/// Checks that the seeds succeed, so that the fuzzer reaches the checks below.
fn check_the_seeds() {
    for seed in ["basic", "body", "code", "refresh", "json", "introspect", "revoke"] {
        let path = format!("{}/seeds/token_request/{seed}", env!("CARGO_MANIFEST_DIR"));
        let (response, has_secret) = respond(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(response.status(), 200, "{seed}: {response:?}");
        assert!(has_secret);
    }
}

/// Returns the response, and whether the request contained a secret.
fn respond(input: &[u8]) -> Option<(Response<ResponseBody>, bool)> {
    // Lets issued tokens expire and ends the delay after failed authentications.
    SERVER.clock.advance(MINUTE);
    let line = input.iter().position(|byte| *byte == b'\n')?;
    let (path, content_type, authorization) = (input.first()?, input.get(1)?, input.get(2..line)?);
    let path = match path {
        b'T' => "/token",
        b'I' => "/introspect",
        b'R' => "/revoke",
        _ => return None,
    };
    let content_type = match content_type {
        b'F' => "application/x-www-form-urlencoded",
        b'J' => "application/json",
        _ => return None,
    };
    let (authorization, one) = fill_in(authorization);
    let (body, other) = fill_in(&input[line + 1..]);
    let mut request = Request::post(path).header("content-type", content_type);
    if let Some(credentials) = authorization.strip_prefix(b"B") {
        request = request.header("authorization", format!("Basic {}", base64(credentials)));
    } else if !authorization.is_empty() {
        request = request.header("authorization", HeaderValue::from_bytes(&authorization).ok()?);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    Some((send(request), one || other))
}

fn send(request: Request<Full<Bytes>>) -> Response<ResponseBody> {
    at_once(SERVER.endpoint.clone().call(request)).unwrap()
}

fn check(response: &Response<ResponseBody>, has_secret: bool) {
    let headers = response.headers();
    assert_eq!(headers["content-type"], "application/json");
    assert_eq!(
        (&headers["cache-control"], &headers["pragma"]),
        (&"no-store".parse().unwrap(), &"no-cache".parse().unwrap())
    );
    let json = json(response);
    let status = response.status().as_u16();
    assert_eq!(headers.contains_key("www-authenticate"), status == 401);
    if status == 200 {
        assert!(has_secret, "a request without a secret succeeds: {json}");
        return;
    }
    let members = json.as_object().unwrap();
    assert!(members.len() == 2, "{json}");
    let description = json["error_description"].as_str().unwrap();
    assert!(description.bytes().all(|b| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e)));
    let codes: &[&str] = match status {
        400 => &CODES,
        401 => &["invalid_client"],
        other => panic!("{other}: {json}"),
    };
    assert!(codes.contains(&json["error"].as_str().unwrap()), "{status}: {json}");
}

fn json(response: &Response<ResponseBody>) -> Value {
    let body = at_once(response.body().clone().collect()).unwrap().to_bytes();
    serde_json::from_slice(&body).expect("every response is JSON")
}

/// Replaces the placeholders by secrets. Returns whether there was any.
fn fill_in(text: &[u8]) -> (Vec<u8>, bool) {
    let mut parts = text.split(|byte| *byte == b'$');
    let mut filled = parts.next().unwrap_or_default().to_vec();
    let mut has_secret = false;
    for (number, part) in parts.enumerate() {
        let secret = match part.first().filter(|_| number < 4) {
            Some(b'S') => SERVER.secret.clone(),
            Some(b'C') => code(),
            Some(b'R') => token(&format!("{REDEEM}&code={}", code()), "refresh_token"),
            Some(b'A') => {
                let form = format!("grant_type=client_credentials&client_id=machine&client_secret={}", SERVER.secret);
                token(&form, "access_token")
            }
            _ => {
                filled.push(b'$');
                filled.extend_from_slice(part);
                continue;
            }
        };
        has_secret = true;
        filled.extend_from_slice(secret.as_bytes());
        filled.extend_from_slice(&part[1..]);
    }
    (filled, has_secret)
}

fn code() -> String {
    let uri = format!(
        "/?client_id=app&response_type=code&code_challenge_method=S256&code_challenge={CHALLENGE}&redirect_uri={CB}"
    );
    let request = at_once(SERVER.endpoint.authorize(&uri.parse().unwrap())).unwrap();
    let response = at_once(request.approve("ada", ["read"]));
    let location = response.headers()["location"].to_str().unwrap();
    let (_, rest) = location.split_once("?code=").expect("a code");
    rest.split('&').next().unwrap().to_owned()
}

fn token(form: &str, member: &str) -> String {
    let request = Request::post("/token").header("content-type", "application/x-www-form-urlencoded");
    let answer = json(&send(request.body(Full::new(Bytes::from(form.to_owned()))).unwrap()));
    answer[member].as_str().expect("a token").to_owned()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |group: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(group.get(at).copied().unwrap_or_default()));
        let letters = (0..=group.len()).map(move |at| char::from(ALPHABET[bits >> (18 - 6 * at) & 63]));
        letters.collect::<String>()
    };
    bytes.chunks(3).map(group).collect()
}

const MINUTE: Duration = Duration::from_secs(60);
const CB: &str = "https://app.test/cb";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDEEM: &str = "grant_type=authorization_code&client_id=app&redirect_uri=https://app.test/cb\
    &code_verifier=dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CODES: [&str; 6] = [
    "invalid_request",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
];
