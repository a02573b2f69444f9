//! Defects of the payload, under a genuine signature: its JSON, its claims, its type.
//!
//! *In*: a valid token. *Out*: tokens with one defect of the payload each, with a valid signature.

use serde_json::{Value, json};

use super::{
    Forgery,
    json::{self, member_of},
};
use crate::testing::{MockIssuer, TokenBuilder};

pub(super) fn json(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    let (header, claims) = (valid.header_json(), valid.claims_json());
    let malformed = json::payloads(&claims, &["iss", "sub", "aud", "exp", "iat", "jti", "client_id"]);
    let too_large = ("payload with 1e400".to_owned(), json::with(&claims, "\"z\":1e400").into());
    let malformed = malformed.chain([too_large]);
    into.extend(malformed.map(|(name, payload)| Forgery::new(name, valid.sign_raw(&header, payload))));
}

pub(super) fn claims(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    let now = valid.now();
    let wrong_strings = || vec![Value::Null, json!(true), json!(5), json!({}), json!("")];
    for name in ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"] {
        into.push(Forgery::new(format!("no {name}"), valid.clone().without_claim(name).sign()));
    }
    let own = valid.issuer().identifier().to_owned();
    let others = [
        format!("{own}/"),
        own.to_uppercase(),
        own[..own.len() - 1].to_owned(),
        own.replace("https", "http"),
        format!("{own}.other.test"),
        own[..1].to_owned(),
        format!("{own}\0"),
        format!(" {own}"),
        "https://localhost".to_owned(),
    ];
    let issuers =
        others.into_iter().map(Value::String).chain(wrong_strings()).chain([json!([&own]), json!([&own, "x"])]);
    into.extend(issuers.map(|iss| Forgery::new(format!("iss {iss}"), valid.clone().claim("iss", iss).sign())));
    let own = member_of(&valid.claims_json(), "aud");
    let own = own.as_str().unwrap_or_default();
    let others = [
        format!("{own}/"),
        format!("{own}:443"),
        own.to_uppercase(),
        own[..own.len() - 1].to_owned(),
        format!("{own}x"),
        format!("{own}\0"),
        format!("{own} https://x.test"),
        format!("{own},https://x.test"),
        "*".to_owned(),
        "https://x.test".to_owned(),
    ];
    let audiences = others.into_iter().map(Value::String).chain(wrong_strings());
    let audiences =
        audiences.chain([json!([]), json!([[own]]), json!([own, 1]), json!([""]), json!(["https://x.test"])]);
    into.extend(audiences.map(|aud| Forgery::new(format!("aud {aud}"), valid.clone().claim("aud", aud).sign())));
    let times = [
        json!(now - 120),
        json!(now - 31),
        json!("never"),
        json!(format!("{}", now + 300)),
        Value::Null,
        json!(true),
        json!([]),
        json!({}),
        json!(""),
        json!(0),
        json!(-1),
        json!(-1e308),
        json!(i64::MIN),
        json!([now + 300]),
    ];
    into.extend(times.map(|exp| Forgery::new(format!("exp {exp}"), valid.clone().claim("exp", exp).sign())));
    let times = [
        json!(now + 120),
        json!("9999999999"),
        json!(format!("{}", now - 10)),
        json!(u64::MAX),
        json!(i64::MAX),
        json!(1e308),
        json!(true),
        json!([]),
        json!({}),
    ];
    into.extend(times.map(|nbf| Forgery::new(format!("nbf {nbf}"), valid.clone().claim("nbf", nbf).sign())));
    let times =
        [json!(now + 120), json!(format!("{now}")), json!(u64::MAX), json!(-1), Value::Null, json!(true), json!([now])];
    into.extend(times.map(|iat| Forgery::new(format!("iat {iat}"), valid.clone().claim("iat", iat).sign())));
    for name in ["sub", "client_id", "jti"] {
        let values = wrong_strings().into_iter().chain([json!(["ada"]), json!({"id": "ada"})]);
        into.extend(
            values.map(|value| Forgery::new(format!("{name} {value}"), valid.clone().claim(name, value).sign())),
        );
    }
    for scope in [json!(1), json!({}), json!([["orders:read"]]), json!([1]), json!(["a b"]), json!([""]), json!(true)] {
        into.push(Forgery::new(format!("scope {scope}"), valid.clone().claim("scope", scope).sign()));
    }
    for cnf in [
        json!({"jkt": "x"}),
        json!({"x5t#S256": "x"}),
        json!({"jkt": "x", "other": 1}),
        json!({}),
        json!("x"),
        Value::Null,
    ] {
        into.push(Forgery::new(format!("sender-constrained, cnf {cnf}"), valid.clone().claim("cnf", cnf).sign()));
    }
    let expired = valid
        .clone()
        .claim("exp", now - 999)
        .sign_with(&MockIssuer::new("https://other.test").with_algorithm(valid.issuer().algorithm()));
    into.push(Forgery::new("expired, with another issuer's signature", expired));
}

/// JWTs of other kinds, signed with the issuer's key (RFC 8725 §3.11, §3.12).
pub(super) fn types(valid: &TokenBuilder, into: &mut Vec<Forgery>) {
    let kinds = [
        "JWT",
        "jwt",
        "",
        "logout+jwt",
        "secevent+jwt",
        "dpop+jwt",
        "token-introspection+jwt",
        "oauth-authz-req+jwt",
        "client-authentication+jwt",
        "txn_token",
        "kb+jwt",
        "id+jwt",
        "at+jws",
        "at+jwt ",
        "application/at+jwt;v=1",
        "text/at+jwt",
    ];
    into.extend(kinds.map(|typ| Forgery::new(format!("typ {typ:?}"), valid.clone().header("typ", typ).sign())));
    for typ in [json!(1), Value::Null, json!(["at+jwt"])] {
        into.push(Forgery::new(format!("typ {typ}"), valid.clone().header("typ", typ).sign()));
    }
    into.push(Forgery::new("no typ", valid.clone().without_header("typ").sign()));
}
