//! Properties for any request: nothing panics, no response is 5xx, and redirects go only to registered URIs. A failure prints the
//! seed; see `crate::tokens::properties`.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, Bytes};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Request, Response};
use proptest::{prelude::*, sample::select};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tower_oauth::token_endpoint::{
    AuthorizationCodeGrant, Client, ClientCredential, ClientSecret, DenialReason, MemoryStore,
};

use super::{
    CHALLENGE, FORM, ISSUER, OPAQUE, VERIFIER, World, basic, encode, may_have_tokens, raw_basic, usual, with_users,
};
use crate::{random::check, support::API};

const MINUTE: Duration = Duration::from_secs(60);
/// The defined parameters, each of which may occur only once.
const ONCE: [&str; 16] = [
    "grant_type",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "scope",
    "code",
    "redirect_uri",
    "code_verifier",
    "refresh_token",
    "token",
    "token_type_hint",
    "username",
    "password",
    "assertion",
    "state",
];

fn runtime() -> Runtime {
    Builder::new_current_thread().build().unwrap()
}

/// An endpoint with everything enabled, and with a store that does not fill up.
fn world() -> World {
    World::with(|builder| {
        let refresh = tower_oauth::token_endpoint::RefreshTokenGrant::new();
        let builder = builder.grant(AuthorizationCodeGrant::new(super::AUTHORIZE)).grant(refresh).accept_json();
        builder.store(MemoryStore::builder().capacity(1_000_000).build())
    })
}

/// Any characters, also control characters.
fn any_text() -> impl Strategy<Value = String> {
    let any = prop::collection::vec(any::<char>(), 0..12).prop_map(String::from_iter);
    let ascii = prop::collection::vec(0u8..128, 0..12).prop_map(|bytes| bytes.into_iter().map(char::from).collect());
    prop_oneof![any, ascii]
}

fn any_path() -> impl Strategy<Value = &'static str> {
    select(vec!["/token", "/token", "/introspect", "/revoke"])
}

fn any_parameter() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof![
        9 => select([&ONCE[..], &["resource", "audience"]].concat()).prop_map(str::to_owned),
        1 => any_text(),
    ];
    let meaningful = [
        "client_credentials",
        "authorization_code",
        "refresh_token",
        "reports",
        "reports-secret",
        "app",
        "orders:read",
        API,
        OPAQUE,
        VERIFIER,
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "e30.e30.e30",
        "",
    ];
    (name, prop_oneof![select(meaningful.to_vec()).prop_map(str::to_owned), any_text()])
}

/// Any body: bytes, forms and JSON. The content type is chosen independently.
fn any_body() -> impl Strategy<Value = Vec<u8>> {
    let pairs = || prop::collection::vec(any_parameter(), 0..8);
    let form = pairs().prop_map(|pairs| form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish());
    let json = pairs().prop_map(|pairs| json!(pairs.into_iter().collect::<std::collections::BTreeMap<_, _>>()));
    let raw =
        pairs().prop_map(|pairs| pairs.into_iter().map(|(n, v)| format!("{n}={v}")).collect::<Vec<_>>().join("&"));
    let deep = (0usize..30_000, select(vec!["[", "{\"a\":", "{\"scope\":["]))
        .prop_map(|(depth, one)| one.repeat(depth.min(70_000 / one.len())));
    prop_oneof![
        2 => prop::collection::vec(any::<u8>(), 0..200),
        3 => form.prop_map(String::into_bytes),
        2 => json.prop_map(|json: Value| json.to_string().into_bytes()),
        1 => raw.prop_map(String::into_bytes),
        1 => deep.prop_map(String::into_bytes),
    ]
}

fn any_authorization() -> impl Strategy<Value = Option<HeaderValue>> {
    let header = |bytes: &[u8]| HeaderValue::from_bytes(bytes).ok();
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        2 => Just(None),
        2 => Just(header(usual("reports").as_bytes())),
        1 => bytes.clone().prop_map(move |bytes| header(&bytes)),
        1 => bytes.clone().prop_map(move |bytes| header(raw_basic(bytes).as_bytes())),
        1 => bytes.prop_map(move |bytes| header(&[b"Basic ", &*bytes].concat())),
    ]
}

/// Threats T2, T9, T25
#[test]
fn any_post_gets_json_with_no_store_and_never_5xx() {
    let (runtime, world) = (runtime(), world());
    let types = [
        FORM,
        "application/json",
        "application/x-www-form-urlencoded;charset=utf-8",
        "text/plain",
        "multipart/form-data",
    ];
    let content_type = prop_oneof![4 => select(types.to_vec()).prop_map(str::to_owned), 1 => any_text()];
    let anything = (any_path(), content_type, any_authorization(), any_body());
    check(6000, anything, |(path, content_type, authorization, body)| {
        world.clock.advance(MINUTE);
        let mut request = Request::post(path).body(Body::from(body)).unwrap();
        let headers = request.headers_mut();
        headers
            .extend(HeaderValue::from_bytes(content_type.as_bytes()).map(|value| (http::header::CONTENT_TYPE, value)));
        headers.extend(authorization.map(|value| (http::header::AUTHORIZATION, value)));
        let answer = runtime.block_on(world.send(request));
        match answer.status() {
            200 => answer.is_ok(),
            401 => answer.is_error(401, "invalid_client"),
            status => {
                let codes = ["request", "grant", "scope", "target"].map(|what| format!("invalid_{what}"));
                let others = ["unauthorized_client", "unsupported_grant_type"];
                let code = answer.json["error"].as_str().unwrap().to_owned();
                prop_assert!(codes.contains(&code) || others.contains(&&*code), "{:?}", answer);
                prop_assert_eq!(status, 400);
                answer.is_error(400, &code);
            }
        }
        Ok(())
    });
}

/// Threat T4
#[test]
fn any_id_and_secret_are_read_from_basic_and_from_a_body_in_any_encoding() {
    let (runtime, world) = (runtime(), world());
    let text = || any_text().prop_filter("not empty", |text| !text.is_empty());
    check(1000, (text(), text(), any_text()), |(id, secret, other)| {
        let client = Client::builder(&id, ClientSecret::new(&secret));
        world.clients.insert(may_have_tokens(client).build().unwrap());
        let cc = ("grant_type", "client_credentials");
        let post =
            |authorization: &str, form: &[(&str, &str)]| runtime.block_on(world.post("/token", authorization, form));
        // With everything escaped, and as a browser escapes.
        post(&basic(&id, &secret), &[cc]).is_ok();
        let form = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        post(&raw_basic(format!("{}:{}", form(&id), form(&secret))), &[cc]).is_ok();
        // Without escapes, if that does not change the id. The secret is also read as it stands.
        let plain = |text: &str| !text.contains(['%', '+']);
        if plain(&id) && !id.contains(':') {
            post(&raw_basic(format!("{id}:{secret}")), &[cc]).is_ok();
        }
        post("", &[cc, ("client_id", &id), ("client_secret", &secret)]).is_ok();
        let sent = [("grant_type", cc.1), ("client_id", &*id), ("client_secret", &*secret)];
        let browser = form_urlencoded::Serializer::new(String::new()).extend_pairs(sent).finish();
        let json = json!({"grant_type": cc.1, "client_id": id, "client_secret": secret}).to_string();
        for (content_type, body) in [(FORM, browser), ("application/json", json)] {
            let request = Request::post("/token").header("content-type", content_type).body(Body::from(body)).unwrap();
            runtime.block_on(world.send(request)).is_ok();
        }
        if other != secret && super::escape(&other) != secret {
            let status = post(&basic(&id, &other), &[cc]).status();
            prop_assert_eq!(status, 401);
            prop_assert_eq!(
                post("", &[cc, ("client_id", &id), ("client_secret", &format!("{secret}{other}x"))]).status(),
                401
            );
        }
        world.clients.remove(&id);
        world.clock.advance(MINUTE);
        Ok(())
    });
}

/// Threat T1
#[test]
fn the_order_of_parameters_changes_no_response() {
    let (runtime, world) = (runtime(), world());
    let shuffled = (any_path(), any_authorization(), prop::collection::vec(any_parameter(), 0..8)).prop_flat_map(
        |(path, authorization, form)| (Just(path), Just(authorization), Just(form.clone()), Just(form).prop_shuffle()),
    );
    check(3000, shuffled, |(path, authorization, one, other)| {
        let answers = [one, other].map(|form| {
            world.clock.advance(MINUTE);
            let form: Vec<_> = form.iter().map(|(name, value)| (&**name, &**value)).collect();
            let mut request = Request::post(path).header("content-type", FORM).body(Body::from(encode(&form))).unwrap();
            request.headers_mut().extend(authorization.clone().map(|value| (http::header::AUTHORIZATION, value)));
            let mut answer = runtime.block_on(world.send(request));
            let token = answer.json.as_object_mut().and_then(|members| members.remove("access_token"));
            (answer.status(), answer.json, token.is_some())
        });
        prop_assert_eq!(&answers[0], &answers[1]);
        Ok(())
    });
}

/// Threat T1
#[test]
fn a_repeated_defined_parameter_is_refused_at_any_place_and_with_any_value() {
    let (runtime, world) = (runtime(), world());
    let twice =
        (any_path(), select(ONCE.to_vec()), any_text(), any_text(), prop::collection::vec(any_parameter(), 0..4));
    check(1500, (twice, any::<u16>(), any::<bool>()), |((path, name, one, other, mut form), place, known)| {
        form.insert(0, (name.to_owned(), one));
        form.insert(usize::from(place) % (form.len() + 1), (name.to_owned(), other));
        let form: Vec<_> = form.iter().map(|(name, value)| (&**name, &**value)).collect();
        let authorization = if known { usual("reports") } else { String::new() };
        runtime.block_on(world.post(path, &authorization, &form)).is_error(400, "invalid_request");
        Ok(())
    });
}

/// Threat T2
#[test]
fn an_endless_body_and_a_broken_body_are_refused() {
    let (runtime, world) = (runtime(), world());
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from_static(b"x=y&")));
    let broken =
        futures_util::stream::iter([Ok(Bytes::from_static(b"grant_type=")), Err(std::io::Error::other("gone"))]);
    for body in [Body::from_stream(endless), Body::from_stream(broken)] {
        let request = Request::post("/token").header("authorization", usual("reports")).header("content-type", FORM);
        runtime.block_on(world.send(request.body(body).unwrap())).is_error(400, "invalid_request");
    }
    // As many parameters as fit into a body are too many.
    for filler in ["a&", "scope=&", "resource=x&", "%&", "=&"] {
        let many = format!("{}grant_type=client_credentials", filler.repeat(65_000 / filler.len()));
        let request = Request::post("/token").header("authorization", usual("reports")).header("content-type", FORM);
        runtime.block_on(world.send(request.body(Body::from(many)).unwrap())).is_error(400, "invalid_request");
    }
}

const REGISTERED: [&str; 10] = [
    "https://app.test/cb",
    "https://app.test/cb?tenant=1&x=%20",
    "https://app.test:8443/cb/",
    "https://app.test?",
    "http://127.0.0.1/cb",
    "http://127.0.0.1:8080/cb?x=1",
    "http://[::1]/cb",
    "http://[::1]",
    "http://localhost/cb",
    "com.example.app:/cb",
];

/// A registered redirect URI, often with a small change.
fn any_redirect_uri() -> impl Strategy<Value = String> {
    let changed = (select(REGISTERED.to_vec()), 0usize..24, any::<u32>(), any::<prop::sample::Index>(), any_text());
    changed.prop_map(|(uri, change, number, place, text)| {
        let host_end = uri
            .find("://")
            .map_or(0, |start| uri[start + 3..].find(['/', '?']).map_or(uri.len(), |end| start + 3 + end));
        let at_host = |text: &str| format!("{}{text}{}", &uri[..host_end], &uri[host_end..]);
        let place = place.index(uri.len());
        match change {
            0..6 => uri.to_owned(),
            6 => format!("{uri}/"),
            7 => format!("{uri}{text}"),
            8 => format!("{uri}#{text}"),
            9 => format!("{uri}?{text}"),
            10 => uri.replacen("://", "://user@", 1),
            11 => uri.replacen("://", "://evil.test@", 1),
            12 => at_host("@evil.test"),
            13 => at_host(&format!(":{}", number % 70_000)),
            14 => at_host(&format!(":00{}", number % 70_000)),
            15 => at_host(":"),
            16 => at_host(".evil.test"),
            17 => at_host("\\@evil.test"),
            18 => uri.to_uppercase(),
            19 => uri.replace("127.0.0.1", "localhost").replace("[::1]", "[0:0:0:0:0:0:0:1]"),
            20 => uri.replace("localhost", "127.0.0.1").replace("127.0.0.1", "127.1"),
            21 => format!("{}%{:02X}{}", &uri[..place], uri.as_bytes()[place], &uri[place + 1..]),
            22 => format!("{}{}", &uri[..place], &uri[place + 1..]),
            _ => format!("{}{text}{}", &uri[..place], &uri[place..]),
        }
    })
}

/// RFC 9700 §2.1: the same text, or a loopback address that differs only in its port.
fn is_registered(registered: &[&str], requested: &str) -> bool {
    let without_port = |uri: &str| {
        let rest = uri.strip_prefix("http://")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let cut =
            authority.rfind(':').filter(|at| authority[at + 1..].parse::<u16>().is_ok() && !authority.ends_with(']'));
        let (host, port) = authority.split_at(cut.unwrap_or(authority.len()));
        let number = port.is_empty() || port[1..].bytes().all(|byte| byte.is_ascii_digit());
        (number && ["127.0.0.1", "[::1]"].contains(&host)).then(|| format!("{host}{rest}"))
    };
    registered
        .iter()
        .any(|own| *own == requested || without_port(own).is_some_and(|own| without_port(requested) == Some(own)))
}

/// Threats T16, T17
#[test]
fn redirects_go_only_to_registered_uris_and_have_all_parameters() {
    let (runtime, world) = (runtime(), world());
    let registered = prop::collection::btree_set(select(REGISTERED.to_vec()), 1..4);
    let usual = || prop_oneof![12 => Just(true), 1 => Just(false)];
    let request = (
        prop::option::weighted(0.9, any_redirect_uri()),
        prop::option::of(any_text()),
        prop::collection::vec(any_parameter(), 0..3),
        usual(),
        usual(),
        any::<bool>(),
    );
    check(
        1500,
        (registered, request),
        |(registered, (redirect_uri, state, more, with_type, with_challenge, approves))| {
            let registered: Vec<_> = registered.into_iter().collect();
            let client = registered
                .iter()
                .fold(Client::builder("prop", ClientCredential::None), |client, uri| client.redirect_uri(*uri));
            world.clients.insert(with_users(client).build().unwrap());
            let mut query = vec![("client_id", "prop")];
            query.extend(redirect_uri.iter().map(|uri| ("redirect_uri", &**uri)));
            query.extend(with_type.then_some(("response_type", "code")));
            query.extend(with_challenge.then_some(("code_challenge", CHALLENGE)));
            query.push(("code_challenge_method", "S256"));
            query.extend(state.iter().map(|state| ("state", &**state)));
            query.extend(more.iter().map(|(name, value)| (&**name, &**value)));
            let uri = format!("/authorize?{}", encode(&query)).parse().unwrap();
            let asked = runtime.block_on(world.endpoint.authorize(&uri));
            let allowed = asked.is_ok();
            let response = match asked {
                Ok(request) if approves => runtime.block_on(request.approve("ada", ["orders:read"])),
                Ok(request) => request.deny(DenialReason::AccessDenied),
                Err(error) => error.into_response(),
            };
            let values = |name| query.iter().filter(move |(other, _)| *other == name).map(|(_, value)| *value);
            let (wanted, states): (Vec<_>, Vec<_>) = (values("redirect_uri").collect(), values("state").collect());
            let base = match wanted[..] {
                [] | [""] => registered.first().filter(|_| registered.len() == 1).copied(),
                [one] => Some(one).filter(|one| is_registered(&registered, one)),
                _ => None,
            };
            let base = base.filter(|_| values("client_id").count() == 1);
            let Some(base) = base else {
                prop_assert_eq!(response.status(), 400);
                prop_assert!(!response.headers().contains_key("location"));
                return Ok(());
            };
            let parameters = redirect_parameters(&response, base)?;
            let names: Vec<_> = parameters.iter().map(|(name, _)| &**name).collect();
            let state = match states[..] {
                [one] if !one.is_empty() => Some(one),
                _ => None,
            };
            let first: &[&str] = if allowed && approves { &["code"] } else { &["error", "error_description"] };
            prop_assert_eq!(names, [first, if state.is_some() { &["state"] } else { &[] }, &["iss"]].concat());
            prop_assert_eq!(parameters.iter().find(|(name, _)| name == "state").map(|(_, value)| &**value), state);
            prop_assert_eq!(&parameters.last().unwrap().1, ISSUER);
            Ok(())
        },
    );
}

/// Returns the parameters that a redirect adds to the registered URI. Checks that the URI itself is unchanged.
fn redirect_parameters(response: &Response<impl Sized>, base: &str) -> Result<Vec<(String, String)>, TestCaseError> {
    prop_assert_eq!(response.status(), 303);
    let location = response.headers()["location"].to_str().unwrap();
    let rest = location.strip_prefix(base);
    prop_assert!(
        rest.is_some_and(|rest| rest.starts_with(if base.contains('?') { '&' } else { '?' })),
        "{} {}",
        base,
        location
    );
    let (own, sent) = (Url::parse(base).unwrap(), Url::parse(location).unwrap());
    let place =
        |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port(), url.path().to_owned());
    prop_assert_eq!(place(&own), place(&sent));
    prop_assert!(sent.fragment().is_none() && sent.username().is_empty());
    let kept: Vec<_> = own.query_pairs().into_owned().collect();
    let all: Vec<_> = sent.query_pairs().into_owned().collect();
    prop_assert_eq!(&all[..kept.len()], &kept[..]);
    Ok(all[kept.len()..].to_vec())
}

/// Threat T16
#[test]
fn any_query_at_authorize_gets_a_response() {
    let (runtime, world) = (runtime(), world());
    let query = prop_oneof![
        prop::collection::vec(0x21u8..0x7f, 0..100).prop_map(|bytes| String::from_utf8(bytes).unwrap()),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
            let state = bytes.iter().fold(String::new(), |state, byte| format!("{state}%{byte:02x}"));
            format!("client_id=app&state={state}")
        }),
    ];
    check(2000, query, |query| {
        let Ok(uri) = format!("/authorize?{query}").parse() else { return Ok(()) };
        let error = runtime.block_on(world.endpoint.authorize(&uri)).err();
        let response = error.map(tower_oauth::token_endpoint::AuthorizationError::into_response);
        let response = response.ok_or_else(|| TestCaseError::fail("no valid authorization request was generated"))?;
        let status = response.status().as_u16();
        prop_assert_eq!(response.headers().contains_key("location"), status == 303);
        prop_assert!([303, 400].contains(&status));
        Ok(())
    });
}

/// Threats T13, T15
#[test]
fn a_code_is_redeemed_only_with_the_verifier_of_its_challenge() {
    let (runtime, world) = (runtime(), world());
    let s256 = |verifier: &str| URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()));
    let good = || "[A-Za-z0-9._~-]{43,128}".prop_map(|verifier: String| verifier);
    let verifier = || prop_oneof![6 => good(), 1 => "[A-Za-z0-9._~-]{0,42}", 1 => "[A-Za-z0-9._~-]{129,140}", 1 => "[ -~]{43,60}", 1 => any_text()];
    let challenge = prop_oneof![1 => verifier(), 1 => "[A-Za-z0-9_-]{43}"];
    check(1000, (verifier(), challenge, 0u8..4), |(verifier, other, what)| {
        let challenge = match what {
            0 => other,
            1 => verifier.clone(),
            _ => s256(&verifier),
        };
        let is_challenge = URL_SAFE_NO_PAD.decode(&challenge).is_ok_and(|bytes| bytes.len() == 32);
        let asked = runtime.block_on(world.ask(&[("code_challenge", &challenge)]));
        prop_assert_eq!(asked.is_ok(), is_challenge);
        let Ok(request) = asked else { return Ok(()) };
        let response = runtime.block_on(request.approve("ada", ["orders:read"])).map(Body::new);
        let code = super::sent(&response).swap_remove(0).1;
        let answer = runtime.block_on(world.redeem(&code, &[("code_verifier", &verifier)]));
        if (43..=128).contains(&verifier.len()) && s256(&verifier) == challenge {
            answer.is_ok();
        } else {
            answer.is_error(400, "invalid_grant");
        }
        Ok(())
    });
}
