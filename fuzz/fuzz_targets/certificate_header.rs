#![no_main]
//! Any bytes as a proxy's header with the certificate of a client. The first byte is the form: R for RFC 9440, X for
//! `X-Forwarded-Client-Cert`, P for PEM. Each line is a header of its own. A token is accepted only with the certificate that
//! it is bound to.

use std::sync::LazyLock;

use http::{HeaderValue, Request};
use libfuzzer_sys::{Corpus, fuzz_target};
use tower_oauth::{
    ResourceServer,
    mutual_tls::{CertificateHeader, MutualTls},
};
use tower_oauth_fuzz::{API, authenticate, check_refusal, issuer};

/// The DER of the seeds.
const CERTIFICATE: [u8; 14] = [0x30, 12, 0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff, 1, 2, 3, 4, 5, 6];
/// Its base64, without the last block.
const BASE64: &str = "MAz7777///8BAgMEBQ";
/// The hash of the certificate.
const HASH: &str = "34e4941129818e4ebee85d927099ce0a5e156a65706d179d0e1d4d862b767a4e";

static TOKEN: LazyLock<String> =
    LazyLock::new(|| format!("Bearer {}", issuer().token("ada").bound_to_certificate(&CERTIFICATE).sign()));

fn server(header: CertificateHeader) -> ResourceServer {
    ResourceServer::builder(issuer().verifier(API)).mutual_tls(MutualTls::behind_proxy(header)).build().unwrap()
}

static SERVERS: LazyLock<[(ResourceServer, &str); 3]> = LazyLock::new(|| {
    [
        (server(CertificateHeader::rfc9440()), "client-cert"),
        (server(CertificateHeader::xfcc()), "x-forwarded-client-cert"),
        (server(CertificateHeader::pem("x-cert")), "x-cert"),
    ]
});

/// Checks that a seed of each form is accepted, so that the fuzzer reaches the checks below.
fn check_the_seeds() {
    let seeds = [
        include_str!("../seeds/certificate_header/rfc9440"),
        include_str!("../seeds/certificate_header/xfcc_both"),
        include_str!("../seeds/certificate_header/pem_nginx"),
    ];
    for (seed, (server, name)) in seeds.iter().zip(&*SERVERS) {
        let request = Request::get("/").header("authorization", &*TOKEN).header(*name, &seed[1..]);
        let (parts, ()) = request.body(()).unwrap().into_parts();
        assert!(authenticate(server, &parts).is_ok(), "the seed for {name} is not accepted");
    }
}

fuzz_target!(init: check_the_seeds(), |input: &[u8]| -> Corpus {
    let Some((form, values)) = input.split_first() else { return Corpus::Reject };
    let Some(form) = b"RXP".iter().position(|known| known == form) else { return Corpus::Reject };
    let (server, name) = &SERVERS[form];
    let mut request = Request::get("/").header("authorization", &*TOKEN).body(()).unwrap();
    for value in values.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(value) else { return Corpus::Reject };
        request.headers_mut().append(*name, value);
    }
    let (parts, ()) = request.into_parts();
    match authenticate(server, &parts) {
        Ok(token) => {
            let text: String = decoded(values).into_iter().filter(|c| !c.is_ascii_whitespace()).collect();
            let names_it = text.contains(BASE64) || text.to_ascii_lowercase().contains(HASH);
            assert!(names_it && !values.contains(&b'\n'), "accepted with another certificate");
            assert!(token.confirmation().is_some());
        }
        Err(error) => {
            check_refusal(server, &error);
            assert!(!format!("{error} {error:?}").contains(BASE64));
        }
    }
    Corpus::Keep
});

/// Decodes percent-encoding.
fn decoded(text: &[u8]) -> Vec<char> {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (mut decoded, mut position) = (Vec::new(), 0);
    while let Some(byte) = text.get(position) {
        let encoded =
            (*byte == b'%').then(|| digit(text.get(position + 1)).zip(digit(text.get(position + 2)))).flatten();
        decoded.push(encoded.map_or(char::from(*byte), |(high, low)| char::from((high << 4 | low) as u8)));
        position += if encoded.is_some() { 3 } else { 1 };
    }
    decoded
}
