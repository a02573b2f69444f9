//! Rows C3, C4 and C5: the URL of a proof is compared with the configured one, and never with what the request says about its
//! host.

use axum::{Router, routing::get};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tower_oauth::{OAuthLayer, Token, dpop::Dpop};

use super::{
    Bound, must_be,
    served::{Served, header_lines, send},
};
use crate::{
    programs::protected_api::sender_fixture::{BASE, RawResponse, Reply},
    support::serve,
};

/// The forged and the unusual URLs of `ProofBuilder`, at paths with a slash at the end, with escapes, and with several segments.
///
/// RFC 9449 §4.3 c (MUST, accepts)
#[tokio::test]
async fn c3_and_c4_other_urls_are_refused_and_other_spellings_accepted() {
    let Some(client) = Bound::start(&[]).await else { return };
    // While the forgeries are made, this thread does not serve the key set of the issuer: the program must have it.
    client.must("a usual proof", &client.proof().sign(), Reply::Ok).await;
    for path in ["/echo/a/b", "/echo/A~b", "/echo/a%2Fb", "/echo/a/", "/echo/%C3%A9"] {
        let good = client.proof_for("GET", path);
        let forged = good.forgeries();
        let forged = forged.iter().filter(|forgery| forgery.name().starts_with("htu "));
        for (row, name, proof, reply) in
            forged.map(|forgery| ("C3", forgery.name(), forgery.proof(), Reply::Proof)).chain(
                good.good_variants()
                    .iter()
                    .filter(|variant| variant.name().starts_with("htu "))
                    .map(|variant| ("C4", variant.name(), variant.proof(), Reply::Ok)),
            )
        {
            let response = client.api.present("GET", path, &client.token, proof).await;
            must_be(&response, reply, &format!("{row}: {path}: {name}"));
        }
    }
}

#[tokio::test]
async fn c3_and_c4_the_url_row_by_row() {
    let Some(client) = Bound::start(&[]).await else { return };
    for (row, path, htu, reply) in [
        ("C3: host", "/orders", "https://api.example.com/v1/orders", Reply::Proof),
        ("C3: scheme", "/orders", "http://api.example.test/v1/orders", Reply::Proof),
        ("C3: port", "/orders", "https://api.example.test:8443/v1/orders", Reply::Proof),
        ("C3: path", "/orders", "https://api.example.test/v1/admin", Reply::Proof),
        ("C3: a path that begins with this one", "/orders", "https://api.example.test/v1/orders/7", Reply::Proof),
        ("C3: the beginning of this path", "/orders", "https://api.example.test/v1", Reply::Proof),
        ("C3: without the base's path", "/orders", "https://api.example.test/orders", Reply::Proof),
        ("C3: the base's path twice", "/orders", "https://api.example.test/v1/v1/orders", Reply::Proof),
        ("C3: one more slash", "/orders", "https://api.example.test/v1//orders", Reply::Proof),
        ("C3: one more slash at the end", "/orders", "https://api.example.test/v1/orders/", Reply::Proof),
        ("C3: user name", "/orders", "https://a@api.example.test/v1/orders", Reply::Proof),
        ("C3: relative", "/orders", "/v1/orders", Reply::Proof),
        ("C3: without scheme", "/orders", "//api.example.test/v1/orders", Reply::Proof),
        ("C3: empty", "/orders", "", Reply::Proof),
        ("C3: *", "/orders", "*", Reply::Proof),
        ("C3: no URI", "/orders", "::", Reply::Proof),
        ("C3: a control character", "/orders", "https://api.example.test/v1/or\u{1}ders", Reply::Proof),
        ("C3: not ASCII", "/echo/%C3%A9", "https://api.example.test/v1/echo/\u{e9}", Reply::Proof),
        ("C3: path in capitals", "/orders", "https://api.example.test/v1/Orders", Reply::Proof),
        ("C3: an escaped slash", "/echo/a/b", "https://api.example.test/v1/echo/a%2Fb", Reply::Proof),
        ("C3: a slash for an escaped one", "/echo/a%2Fb", "https://api.example.test/v1/echo/a/b", Reply::Proof),
        ("C3: dots that lead elsewhere", "/orders", "https://api.example.test/v1/orders/../admin", Reply::Proof),
        ("C3: dots that leave the base", "/orders", "https://api.example.test/v1/../orders", Reply::Proof),
        ("C4: as it is", "/orders", "https://api.example.test/v1/orders", Reply::Ok),
        ("C4: host in capitals", "/orders", "https://API.example.TEST/v1/orders", Reply::Ok),
        ("C4: scheme in capitals", "/orders", "HTTPS://api.example.test/v1/orders", Reply::Ok),
        ("C4: default port", "/orders", "https://api.example.test:443/v1/orders", Reply::Ok),
        ("C4: an escaped tilde", "/echo/~a", "https://api.example.test/v1/echo/%7ea", Reply::Ok),
        ("C4: a tilde for an escaped one", "/echo/%7Ea", "https://api.example.test/v1/echo/~a", Reply::Ok),
        ("C4: digits in lower case", "/echo/%C3%A9", "https://api.example.test/v1/echo/%c3%a9", Reply::Ok),
        ("C4: digits in capitals", "/echo/%c3%a9", "https://api.example.test/v1/echo/%C3%A9", Reply::Ok),
        ("C4: a dot segment", "/echo/b", "https://api.example.test/v1/echo/./b", Reply::Ok),
        ("C4: two dots", "/echo/b", "https://api.example.test/v1/echo/x/../b", Reply::Ok),
        ("C4: query", "/orders", "https://api.example.test/v1/orders?page=2", Reply::Ok),
        ("C4: fragment", "/orders", "https://api.example.test/v1/orders#top", Reply::Ok),
        ("C4: the request's query", "/orders?page=2", "https://api.example.test/v1/orders", Reply::Ok),
        ("C4: both queries", "/orders?page=2", "https://api.example.test/v1/orders?page=2", Reply::Ok),
        ("C4: another query", "/orders?page=2", "https://api.example.test/v1/orders?page=3", Reply::Ok),
        // The request's dots are not those of a client: another handler could see the path.
        ("C3: dots in the request", "/echo/x/../b", "https://api.example.test/v1/echo/b", Reply::Proof),
    ] {
        let proof = client.proof().claim("htu", htu).sign();
        let response = client.api.present("GET", path, &client.token, &proof).await;
        must_be(&response, reply, &format!("{row}: {path} with {htu:?}"));
    }
}

/// RFC 9449 §4.3 c (MUST, accepts)
#[tokio::test]
async fn c4_a_base_url_may_have_a_slash_at_its_end_and_several_names() {
    let bases = "https://api.example.test/v1/, https://API.example.test:443/v2, http://localhost:8080";
    let Some(client) = Bound::start(&[("OAUTH_DPOP_BASE", bases)]).await else { return };
    for (htu, reply) in [
        ("https://api.example.test/v1/orders", Reply::Ok),
        ("https://api.example.test/v2/orders", Reply::Ok),
        ("http://localhost:8080/orders", Reply::Ok),
        ("https://api.example.test/v1//orders", Reply::Proof),
        ("https://api.example.test/v3/orders", Reply::Proof),
        ("https://localhost:8080/orders", Reply::Proof),
        ("http://localhost/orders", Reply::Proof),
    ] {
        client.must(&format!("C4: {htu}"), &client.proof().claim("htu", htu).sign(), reply).await;
    }
}

/// In process: the program has no route at the root.
#[tokio::test]
async fn c4_the_root_with_and_without_its_slash() {
    let client = Served::new();
    for (base, seen, htu, reply) in [
        ("https://api.example.test", "/", "https://api.example.test", Reply::Ok),
        ("https://api.example.test", "/", "https://api.example.test/", Reply::Ok),
        ("https://api.example.test/", "/", "https://api.example.test", Reply::Ok),
        ("https://api.example.test/", "/", "https://api.example.test//", Reply::Proof),
        // axum's `nest` makes `/` of `/v1`.
        ("https://api.example.test/v1", "/", "https://api.example.test/v1", Reply::Ok),
        ("https://api.example.test/v1", "/", "https://api.example.test/v1/", Reply::Ok),
        ("https://api.example.test/v1", "/", "https://api.example.test/", Reply::Proof),
        ("https://api.example.test/v1", "/", "https://api.example.test/v1//", Reply::Proof),
    ] {
        let address = client.start(Dpop::new(base).clock(client.clock.clone())).await;
        let proof = client.proof("/").claim("htu", htu).sign();
        let response = client.present(address, seen, &proof).await;
        must_be(&response, reply, &format!("C4: base {base}, path {seen}, htu {htu}"));
    }
    let layer = OAuthLayer::from_server(client.builder(client.dpop()).build().unwrap());
    let inner = Router::new().route("/", get(|_: Token| async { "root" })).layer(layer);
    let address = serve(Router::new().nest("/v1", inner)).await;
    let authorization = format!("DPoP {}", client.token);
    for htu in [BASE.to_owned(), format!("{BASE}/")] {
        let proof = client.proof("").claim("htu", &*htu).sign();
        let response = send(address, "GET", "/v1", &[("Authorization", &authorization), ("DPoP", &proof)]).await;
        must_be(&response, Reply::Ok, &format!("C4: nested, {htu}"));
    }
}

const EVIL: &str = "https://evil.test";

/// RFC 9449 §4.3 c (MUST, refuses)
#[tokio::test]
async fn c5_no_header_and_no_request_line_changes_the_url() {
    let Some(client) = Bound::start(&[]).await else { return };
    let evil_host = ["evil.test", "evil.test:443"];
    for (name, value) in [
        ("Host", evil_host[0]),
        ("Host", evil_host[1]),
        ("X-Forwarded-Host", evil_host[0]),
        ("X-Forwarded-Server", evil_host[0]),
        ("X-Original-Host", evil_host[0]),
        ("X-Host", evil_host[0]),
        ("X-Forwarded-Proto", "http"),
        ("X-Forwarded-Scheme", "http"),
        ("X-Forwarded-Ssl", "off"),
        ("X-Forwarded-Port", "8443"),
        ("X-Forwarded-Prefix", "/v2"),
        ("X-Original-URL", "/v2/orders"),
        ("X-Rewrite-URL", "/v2/orders"),
        ("Forwarded", "host=evil.test;proto=http"),
        ("Forwarded", "for=1.2.3.4;host=\"evil.test\""),
    ] {
        let others = [
            EVIL,
            "https://evil.test/v1",
            "http://evil.test/v1",
            "http://api.example.test/v1",
            "https://api.example.test:8443/v1",
            "https://api.example.test/v2",
        ];
        for (base, reply) in others.into_iter().map(|base| (base, Reply::Proof)).chain([(BASE, Reply::Ok)]) {
            let proof = client.proof().claim("htu", format!("{base}/orders")).sign();
            let headers = [("Authorization", &*client.dpop()), ("DPoP", &proof), (name, value)];
            let response = client.api.send("GET", "/orders", &headers).await;
            must_be(&response, reply, &format!("C5: {name}: {value}, htu {base}/orders"));
        }
    }
    // All of them at once.
    let proof = client.proof().claim("htu", "https://evil.test/v1/orders").sign();
    let all = [
        ("Authorization", &*client.dpop()),
        ("DPoP", &proof),
        ("Host", "evil.test"),
        ("X-Forwarded-Host", "evil.test"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "host=evil.test;proto=https"),
        ("X-Forwarded-Prefix", "/v1"),
    ];
    must_be(&client.api.send("GET", "/orders", &all).await, Reply::Proof, "C5: all headers");
}

#[tokio::test]
async fn c5_an_absolute_request_line_does_not_change_the_url() {
    let Some(client) = Bound::start(&[]).await else { return };
    for line in ["http://evil.test/orders", "https://evil.test:443/orders", "http://api.example.test/orders"] {
        for (htu, reply) in [
            (format!("{BASE}/orders"), Reply::Ok),
            (line.to_owned(), Reply::Proof),
            ("https://evil.test/v1/orders".to_owned(), Reply::Proof),
        ] {
            let proof = client.proof().claim("htu", &*htu).sign();
            let headers = [("Authorization", &*client.dpop()), ("DPoP", &proof), ("Host", "evil.test")];
            must_be(&client.api.send("GET", line, &headers).await, reply, &format!("C5: {line}, htu {htu}"));
        }
    }
    // Without Host, as HTTP/1.0 allows it.
    let proof = client.proof().sign();
    let head = format!("GET /orders HTTP/1.0\r\nAuthorization: {}\r\nDPoP: {proof}\r\n\r\n", client.dpop());
    let response = crate::support::write_raw(client.api.address(), head).await;
    assert!(response.starts_with("HTTP/1.0 200 "), "C5: {response}");
}

/// RFC 9449 §4.3 c (MUST, refuses)
#[tokio::test]
async fn c5_the_authority_of_http_2_does_not_change_the_url() {
    let Some(client) = Bound::start(&[]).await else { return };
    let stream = TcpStream::connect(client.api.address()).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    for scheme in ["http", "https"] {
        for (htu, reply) in [
            (format!("{BASE}/orders"), Reply::Ok),
            (format!("{scheme}://evil.test/orders"), Reply::Proof),
            ("https://evil.test/v1/orders".to_owned(), Reply::Proof),
        ] {
            let proof = client.proof().claim("htu", &*htu).sign();
            let request = Request::get(format!("{scheme}://evil.test/orders"))
                .header("authorization", client.dpop())
                .header("dpop", proof)
                .body(Empty::<Bytes>::new());
            let (head, body) = sender.send_request(request.unwrap()).await.unwrap().into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
            let headers = header_lines(&headers.collect::<Vec<_>>());
            let status = head.status.as_u16();
            let text = format!("HTTP/1.1 {status} \r\n{headers}\r\n{}", String::from_utf8_lossy(&body));
            let response = RawResponse::parse(&text, client.api.offer());
            must_be(&response, reply, &format!("C5: :authority of {scheme}://evil.test, htu {htu}"));
        }
    }
}
