//! Defects of the JSON of header and payload, which tokens and DPoP proofs have in common.
//!
//! *In*: the JSON of a valid header or payload. *Out*: names of defects, and bytes with one defect each.

use serde_json::Value;

/// Malformed headers; each of `names` is once a duplicate. `alg` is a member of the header.
pub(in crate::testing) fn headers(header: &str, names: &[&str]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let mut into = Vec::new();
    let mut push = |name: &str, header: String| into.push((format!("header {name}"), header.into_bytes()));
    for name in names {
        push(&format!("with {name} twice"), with(header, &format!("\"{name}\":{}", member_of(header, name))));
    }
    let escaped = with(header, &format!("\"\\u0061lg\":{}", member_of(header, "alg")));
    push("with alg twice, once escaped", escaped);
    push("with an unknown member twice", with(header, "\"z\":1,\"z\":2"));
    push("nested 2000 deep", with(header, &format!("\"z\":{}{}", "[".repeat(2_000), "]".repeat(2_000))));
    for header in ["[]", "null", "\"x\"", "{}", "", "{", "\u{feff}{}"] {
        push(&format!("{header:?}"), header.to_owned());
    }
    push("with trailing bytes", format!("{header}{{}}"));
    let mut latin1 = with(header, "\"z\":\"?\"").into_bytes();
    if let Some(byte) = latin1.iter_mut().find(|byte| **byte == b'?') {
        *byte = 0xe4;
    }
    into.push(("header that is not UTF-8".to_owned(), latin1));
    into.into_iter()
}

/// Malformed payloads; each of `names` is once a duplicate.
pub(in crate::testing) fn payloads(claims: &str, names: &[&str]) -> impl Iterator<Item = (String, Vec<u8>)> {
    let mut into = Vec::new();
    let mut push = |name: String, payload: Vec<u8>| into.push((name, payload));
    for payload in ["[]", "\"x\"", "1", "null", "", "{", "{}", "NaN", "Infinity"] {
        push(format!("payload {payload:?}"), payload.into());
    }
    push("payload with a byte order mark".to_owned(), format!("\u{feff}{claims}").into());
    push("payload in UTF-16".to_owned(), claims.encode_utf16().flat_map(u16::to_le_bytes).collect());
    push("payload with trailing bytes".to_owned(), format!("{claims} x").into());
    push("two payloads".to_owned(), format!("{claims}{claims}").into());
    push("payload with a comment".to_owned(), claims.replacen('{', "{/* */", 1).into());
    push("payload with a trailing comma".to_owned(), format!("{},}}", claims.trim_end_matches('}')).into());
    push("payload with a raw newline in a string".to_owned(), with(claims, "\"z\":\"\n\"").into());
    for bytes in [&b"\xe4"[..], b"\xc0\xae", b"\xed\xa0\x80", b"\xff"] {
        let (start, end) = claims.split_at(1);
        let payload = [start.as_bytes(), b"\"z\":\"", bytes, b"\",", end.as_bytes()].concat();
        push(format!("payload that is not UTF-8: {bytes:x?}"), payload);
    }
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        let nested = format!("\"z\":{}1{}", open.repeat(500), close.repeat(500));
        push(format!("payload nested 500 deep in {open}"), with(claims, &nested).into());
    }
    for name in names {
        let value = member_of(claims, name);
        push(format!("{name} twice"), with(claims, &format!("\"{name}\":{value}")).into());
        let escaped = format!("\\u{:04x}{}", u32::from(name.as_bytes()[0]), &name[1..]);
        push(format!("{name} twice, once escaped"), with(claims, &format!("\"{escaped}\":{value}")).into());
    }
    push("an unknown claim twice".to_owned(), with(claims, "\"z\":1,\"z\":1").into());
    into.into_iter()
}

/// Returns the object with further members before its own.
pub(in crate::testing) fn with(object: &str, members: &str) -> String {
    object.replacen('{', &format!("{{{members},"), 1)
}

pub(in crate::testing) fn member_of(json: &str, name: &str) -> Value {
    serde_json::from_str::<Value>(json).map(|object| object[name].clone()).unwrap_or_default()
}
