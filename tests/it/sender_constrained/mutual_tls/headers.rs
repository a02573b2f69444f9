//! TLS ends in a proxy: the certificate is in a header. Here the tests write the header, as a proxy would.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    certificates::{Identity, SUBJECT, hex, pem},
    start, token,
};
use crate::{fake_issuer::FakeIssuer, material::unb64, programs::protected_api::Api, support::write_raw};

/// Starts the program with each form of the header. Returns it with the name of the header.
async fn each_form(issuer: &FakeIssuer) -> Option<[(Api, &'static str); 3]> {
    Some([
        (start(issuer, &[("OAUTH_CLIENT_CERT", "rfc9440"), LOG]).await?, "Client-Cert"),
        (start(issuer, &[("OAUTH_CLIENT_CERT", "xfcc"), LOG]).await?, "X-Forwarded-Client-Cert"),
        (start(issuer, &[("OAUTH_CLIENT_CERT", "pem:X-SSL-Client-Cert"), LOG]).await?, "X-SSL-Client-Cert"),
    ])
}

/// Everything that the crate logs.
const LOG: (&str, &str) = ("RUST_LOG", "info,tower_oauth=trace");

/// Returns the response to `GET /whoami` with this token and these header lines.
async fn send(api: &Api, token: &str, lines: &str) -> String {
    let head = format!("GET /whoami HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{lines}");
    write_raw(api.address().parse().unwrap(), format!("{head}connection: close\r\n\r\n")).await
}

fn is_accepted(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200 ")
}

fn is_refused(answer: &str) -> bool {
    let challenge = "www-authenticate: Bearer realm=\"api\", error=\"invalid_token\"";
    answer.starts_with("HTTP/1.1 401 ") && answer.contains(challenge) && answer.contains("cache-control: no-store")
}

/// The values that name this certificate, in each form.
fn values(identity: &Identity) -> [Vec<String>; 3] {
    let (base64, escaped, pem) = (identity.base64(), identity.escaped_pem(), pem(identity.leaf()));
    let hash = hash(identity);
    let other = Identity::new().base64();
    [
        vec![format!(":{base64}:")],
        vec![
            format!("Hash={hash}"),
            format!("hash={}", hash.to_uppercase()),
            format!("Cert=\"{escaped}\""),
            format!("By=spiffe://a.test;Hash={hash};Cert=\"{escaped}\";Subject=\"CN=a;Hash=\\\"b\\\",O=c\";URI=;New=d"),
        ],
        vec![
            escaped,
            pem.replace('\n', "%0A").replace(' ', "%20"),
            pem.replace('\n', " "),
            base64.clone(),
            format!("{base64},{other}"),
        ],
    ]
}

/// Returns the SHA-256 hash of the certificate in hexadecimal.
fn hash(identity: &Identity) -> String {
    let issuer = tower_oauth::testing::MockIssuer::new("https://auth.test");
    let claims = issuer.token("ada").bound_to_certificate(identity.leaf()).claims_json();
    let claims: serde_json::Value = serde_json::from_str(&claims).unwrap();
    hex(&unb64(&claims["cnf"]["x5t#S256"]))
}

/// RFC 9440 §2.1 (MUST, accepts)
#[tokio::test]
async fn accepts_a_bound_token_only_with_its_certificate_in_the_header() {
    let issuer = FakeIssuer::start().await;
    let Some(forms) = each_form(&issuer).await else { return };
    let (identity, other) = (Identity::new(), Identity::new());
    let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    let (own, of_another) = (values(&identity), values(&other));
    for ((api, name), (own, of_another)) in forms.iter().zip(own.iter().zip(&of_another)) {
        for value in own {
            let line = format!("{name}: {value}\r\n");
            let answer = send(api, &bound, &line).await;
            assert!(is_accepted(&answer), "{line}{answer}");
            let answer = send(api, &bound, &line.to_lowercase().replace(&value.to_lowercase(), value)).await;
            assert!(is_accepted(&answer), "{line}{answer}");
            let answer = send(api, &bound, &format!("{line}{line}")).await;
            assert!(is_refused(&answer), "twice: {line}{answer}");
        }
        for value in of_another {
            let answer = send(api, &bound, &format!("{name}: {value}\r\n")).await;
            assert!(is_refused(&answer), "{value}: {answer}");
        }
        let answer = send(api, &bound, "").await;
        assert!(is_refused(&answer), "no header: {answer}");
        let answer = send(api, &bound, &format!("{}: {}\r\n", name.replace('-', "_"), own[0])).await;
        assert!(is_refused(&answer), "underscores: {answer}");
    }
}

/// RFC 9440 §2.1 (MUST, refuses)
#[tokio::test]
async fn refuses_malformed_headers_and_those_of_another_form() {
    let issuer = FakeIssuer::start().await;
    let Some(forms) = each_form(&issuer).await else { return };
    let identity = Identity::new();
    let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    let (base64, all) = (identity.base64(), values(&identity));
    let trailing = STANDARD.encode([identity.leaf().as_ref(), &[0]].concat());
    let no_der = STANDARD.encode("a text that is no certificate");
    let hash = hash(&identity);
    let malformed = [
        String::new(),
        "::".to_owned(),
        format!(":{base64}:, :{base64}:"),
        format!(":{base64}:;a=1"),
        format!("\":{base64}:\""),
        format!(":{trailing}:"),
        format!(":{no_der}:"),
        ":not base64:".to_owned(),
        trailing,
        no_der,
        format!(",{base64}"),
        format!("Hash={hash},Hash={hash}"),
        format!("Hash={hash};Hash={hash}"),
        format!("Hash={hash};Cert=\"{}\"", Identity::new().escaped_pem()),
        format!("Hash={hash}{}", ";a=b".repeat(5_000)),
        "\u{ff}".to_owned(),
    ];
    for (form, (api, name)) in forms.iter().enumerate() {
        let of_other_forms = all.iter().enumerate().filter(|(other, _)| *other != form).flat_map(|(_, values)| values);
        for value in of_other_forms.chain(&malformed) {
            let answer = send(api, &bound, &format!("{name}: {value}\r\n")).await;
            assert!(is_refused(&answer), "{name}: {value}: {answer}");
        }
        // The header is not looked at for a token that is bound to nothing.
        let unbound = token(&issuer).sign();
        for line in [String::new(), format!("{name}: {}\r\n", malformed[1]), format!("{name}: {}\r\n", all[form][0])] {
            assert!(is_accepted(&send(api, &unbound, &line).await), "{line}");
        }
    }
}

/// RFC 9440 §2.1 (MUST, refuses)
#[tokio::test]
async fn reads_no_trailer() {
    let issuer = FakeIssuer::start().await;
    let Some(forms) = each_form(&issuer).await else { return };
    let identity = Identity::new();
    let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    for ((api, name), values) in forms.iter().zip(values(&identity)) {
        let request = format!(
            "GET /whoami HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {bound}\r\ntransfer-encoding: chunked\r\n\
             te: trailers\r\ntrailer: {name}\r\nconnection: close\r\n\r\n0\r\n{name}: {}\r\n\r\n",
            values[0]
        );
        let answer = write_raw(api.address().parse().unwrap(), request).await;
        assert!(is_refused(&answer), "{answer}");
    }
}

/// Sender 2 (derived, accepts and refuses)
#[tokio::test]
async fn no_response_and_no_event_has_a_part_of_the_header() {
    let issuer = FakeIssuer::start().await;
    let Some(forms) = each_form(&issuer).await else { return };
    let (identity, other) = (Identity::new(), Identity::new());
    let bound = token(&issuer).bound_to_certificate(identity.leaf()).sign();
    let (own, of_another) = (values(&identity), values(&other));
    for ((api, name), (own, of_another)) in forms.iter().zip(own.iter().zip(&of_another)) {
        let malformed: Vec<_> = of_another.iter().map(|value| format!("{value}\u{ff}{SUBJECT}")).collect();
        let mut answers = Vec::new();
        for value in own.iter().chain(of_another).chain(&malformed) {
            answers.push(send(api, &bound, &format!("{name}: {value}\r\n")).await);
        }
        let refusals = answers.iter().filter(|answer| is_refused(answer)).count();
        assert_eq!(refusals, of_another.len() + malformed.len());
        // The log of a request may be written after its response.
        let mut log = api.log();
        while log.iter().filter(|line| line.contains("a request was refused")).count() < refusals {
            tokio::task::yield_now().await;
            log = api.log();
        }
        let written = [answers.join("\n"), log.join("\n")];
        for secret in [&other.base64()[40..80], &identity.base64()[40..80], &hash(&other), SUBJECT, "BEGIN"] {
            assert!(written.iter().all(|text| !text.contains(secret)), "{name}: {secret} in {written:?}");
        }
    }
}
