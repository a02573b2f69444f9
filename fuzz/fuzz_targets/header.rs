#![no_main]
//! Any bytes as credentials. The first byte of each line is the bearer method: A for `Authorization`, C for `Cookie`, H for a
//! custom header, Q for the query. A `$` is replaced by a genuine token.

use std::sync::LazyLock;

use http::{HeaderValue, Request};
use libfuzzer_sys::{Corpus, fuzz_target};
use tower_oauth::ResourceServer;
use tower_oauth_fuzz::{API, authenticate, check_refusal, issuer};

static GENUINE: LazyLock<String> = LazyLock::new(|| issuer().token("ada").scope("orders:read").sign());
static SERVERS: LazyLock<[ResourceServer; 2]> = LazyLock::new(|| {
    let strict = ResourceServer::new(issuer().verifier(API));
    let open = ResourceServer::builder(issuer().verifier(API))
        .accept_cookie("session")
        .accept_header("x-token")
        .accept_authorization_without_scheme()
        .danger_accept_query()
        .build()
        .unwrap();
    [strict, open]
});

fuzz_target!(|input: &[u8]| -> Corpus {
    let mut request = Request::new(());
    let mut genuine = 0;
    for line in input.split(|byte| *byte == b'\n') {
        let Some((method, rest)) = line.split_first() else { continue };
        genuine += rest.iter().filter(|byte| **byte == b'$').count();
        let rest = rest.split(|byte| *byte == b'$').collect::<Vec<_>>().join(GENUINE.as_bytes());
        let name = match method {
            b'A' => "authorization",
            b'C' => "cookie",
            b'H' => "x-token",
            b'Q' => {
                let Ok(uri) = [b"/?", &*rest].concat().as_slice().try_into() else { return Corpus::Reject };
                *request.uri_mut() = uri;
                continue;
            }
            _ => return Corpus::Reject,
        };
        let Ok(value) = HeaderValue::from_bytes(&rest) else { return Corpus::Reject };
        request.headers_mut().append(name, value);
    }
    let (parts, ()) = request.into_parts();
    for server in &*SERVERS {
        match authenticate(server, &parts) {
            Ok(token) => {
                assert!(genuine > 0, "accepted without a genuine token");
                assert_eq!(token.subject(), Some("ada"));
            }
            Err(error) => {
                check_refusal(server, &error);
                assert!(!format!("{error} {error:?}").contains(&GENUINE[..24]));
            }
        }
    }
    Corpus::Keep
});
