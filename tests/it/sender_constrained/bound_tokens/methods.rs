//! Rows S5 to S7: malformed credentials, two tokens, and bound tokens that come in another way than `Authorization`.

use std::net::SocketAddr;

use tower_oauth::OAuthLayer;

use super::{
    Bound, Row, must_be,
    served::{Served, header_lines, routes, send},
};
use crate::{
    programs::protected_api::sender_fixture::{Offer, RawResponse, Reply},
    support::{serve, write_raw},
};

#[tokio::test]
async fn s5_a_malformed_token_under_dpop() {
    let Some(client) = Bound::start(&[]).await else { return };
    let good = || ("DPoP", client.proof().sign());
    for value in [
        "DPoP",
        "dpop",
        "DPoP ",
        "DPoP    ",
        "DPoP a b",
        "DPoP a,b",
        "DPoP \"a\"",
        "DPoP a=b",
        "DPoP =",
        "DPoP a\"",
        "DPoP a;b",
        "DPoP {}",
    ] {
        let headers = vec![("Authorization", value.to_owned()), good()];
        client.check(vec![Row("S5", value, headers, Reply::DpopRequest)]).await;
        client.check(vec![Row("S5", value, vec![("Authorization", value.to_owned())], Reply::DpopRequest)]).await;
    }
    for bytes in [&b"DPoP \xc3\xa9"[..], b"DPoP a\xff", b"DPoP \x80"] {
        let response = client.api.send_bytes("GET", "/orders", &[("Authorization", bytes)]).await;
        must_be(&response, Reply::DpopRequest, "S5: bytes that are no ASCII");
    }
    // The good token with something after it.
    for more in [" ", "x y", ",", "\u{e9}"] {
        let value = format!("DPoP {}{more}", client.token);
        let headers = [("Authorization", value.as_bytes()), ("DPoP", &*client.proof().sign().into_bytes())];
        let reply = if more == " " { Reply::Ok } else { Reply::DpopRequest };
        must_be(&client.api.send_bytes("GET", "/orders", &headers).await, reply, &format!("S5: {more:?} after it"));
    }
}

/// RFC 9449 §7.2 (MUST, accepts)
#[tokio::test]
async fn s6_two_tokens_are_refused_under_both_schemes() {
    let Some(client) = Bound::start(&[]).await else { return };
    let good = || ("DPoP", client.proof().sign());
    let (dpop, bearer) = (("Authorization", client.dpop()), ("Authorization", client.bearer()));
    let unbound = ("Authorization", format!("Bearer {}", client.api.token().sign()));
    let other = ("Authorization", "Basic YTpi".to_owned());
    client
        .check(vec![
            Row("S6", "Bearer and DPoP", vec![unbound.clone(), dpop.clone(), good()], Reply::BothRequest),
            Row("S6", "DPoP and Bearer", vec![dpop.clone(), unbound, good()], Reply::BothRequest),
            Row("S6", "the same token under both", vec![bearer, dpop.clone(), good()], Reply::BothRequest),
            Row("S6", "DPoP twice", vec![dpop.clone(), dpop.clone(), good()], Reply::BothRequest),
            Row("S6", "DPoP and Basic", vec![dpop.clone(), other.clone(), good()], Reply::BothRequest),
            Row("S6", "Basic and DPoP", vec![other, dpop.clone(), good()], Reply::BothRequest),
        ])
        .await;
    // The program does not read the query, but a client that uses it too has sent two tokens.
    let headers = [("Authorization", &*dpop.1), ("DPoP", &*client.proof().sign())];
    for query in [client.token.clone(), client.api.token().sign()] {
        let path = format!("/orders?access_token={query}");
        must_be(&client.api.send("GET", &path, &headers).await, Reply::BothRequest, "S6: DPoP and a query");
    }
    must_be(&client.api.send("GET", "/orders", &headers).await, Reply::Ok, "S6: the proof is not used up");
}

/// In process: a server that reads form, query, cookie and a header of its own.
async fn with_all_methods(client: &Served) -> SocketAddr {
    let server = client.builder(client.dpop());
    let server = server.danger_accept_query().accept_cookie("token").accept_header("x-token").build().unwrap();
    serve(routes().layer(OAuthLayer::from_server(server).accept_form_body(1024))).await
}

async fn post(address: SocketAddr, headers: &[(&str, &str)], form: &str) -> RawResponse {
    let headers = header_lines(headers);
    let head = "POST /orders HTTP/1.1\r\nHost: inside.test\r\nConnection: close\r\n";
    let of_form = format!("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n", form.len());
    RawResponse::parse(
        &write_raw(address, format!("{head}{of_form}{headers}\r\n{form}")).await,
        Offer::default_proofs(),
    )
}

/// Under a method without a scheme there is no proof, so the token is a plain bearer token.
///
/// RFC 9449 §7.2 (MUST, refuses)
#[tokio::test]
async fn s6_and_s7_form_query_cookie_and_own_header() {
    let client = Served::new();
    let address = with_all_methods(&client).await;
    let unbound = client.issuer.token("ada").sign();
    let dpop = format!("DPoP {}", client.token);
    let token = &*client.token;
    let (cookie, free_cookie) = (format!("token={token}"), format!("token={unbound}"));
    let (query, free_query) = (format!("/orders?access_token={token}"), format!("/orders?access_token={unbound}"));
    let post_proof = || client.key.proof("POST", super::URL).token(token).sign();
    for (with_proof, reply) in [(false, Reply::BearerToken), (true, Reply::BearerToken)] {
        let proof = client.proof("/orders").sign();
        let more: &[(&str, &str)] = if with_proof { &[("DPoP", &proof)] } else { &[] };
        let what = |method: &str| format!("S7: {method}, with a proof: {with_proof}");
        must_be(&send(address, "GET", &query, more).await, reply, &what("query"));
        let headers = [&[("Cookie", &*cookie)], more].concat();
        must_be(&send(address, "GET", "/orders", &headers).await, reply, &what("cookie"));
        let headers = [&[("X-Token", token)], more].concat();
        must_be(&send(address, "GET", "/orders", &headers).await, reply, &what("own header"));
        let proof = post_proof();
        let more: &[(&str, &str)] = if with_proof { &[("DPoP", &proof)] } else { &[] };
        must_be(&post(address, more, &format!("access_token={token}")).await, reply, &what("form"));
    }
    // The same methods accept an unbound token.
    assert_eq!(send(address, "GET", &free_query, &[]).await.status, 200);
    assert_eq!(send(address, "GET", "/orders", &[("Cookie", &free_cookie)]).await.status, 200);
    assert_eq!(send(address, "GET", "/orders", &[("X-Token", &unbound)]).await.status, 200);
    assert_eq!(post(address, &[], &format!("access_token={unbound}")).await.status, 200);

    for (bound, other) in [("bound", token), ("unbound", &unbound)] {
        let proof = client.proof("/orders").sign();
        let headers = [("Authorization", &*dpop), ("DPoP", &*proof)];
        let what = |method: &str| format!("S6: DPoP and a {bound} token in the {method}");
        let path = format!("/orders?access_token={other}");
        must_be(&send(address, "GET", &path, &headers).await, Reply::BothRequest, &what("query"));
        let cookie = format!("token={other}");
        let with_cookie = [&headers[..], &[("Cookie", &*cookie)]].concat();
        must_be(&send(address, "GET", "/orders", &with_cookie).await, Reply::BothRequest, &what("cookie"));
        let with_header = [&headers[..], &[("X-Token", other)]].concat();
        must_be(&send(address, "GET", "/orders", &with_header).await, Reply::BothRequest, &what("header"));
        must_be(&send(address, "GET", "/orders", &headers).await, Reply::Ok, "S6: the proof is not used up");
        let proof = post_proof();
        let headers = [("Authorization", &*dpop), ("DPoP", &*proof)];
        let response = post(address, &headers, &format!("access_token={other}")).await;
        // With a token in the header, the layer does not read the body (RFC 6750 §2.2 allows both).
        must_be(&response, Reply::Ok, &what("form"));
    }
}

/// The program with a header of its own.
#[tokio::test]
async fn s7_a_bound_token_in_the_programs_own_header() {
    let Some(client) = Bound::start(&[("OAUTH_HEADER", "X-Token")]).await else { return };
    let token = || ("X-Token", client.token.clone());
    let good = || ("DPoP", client.proof().sign());
    client
        .check(vec![
            Row("S7", "own header", vec![token()], Reply::BearerToken),
            Row("S7", "own header, with a proof", vec![token(), good()], Reply::BearerToken),
            Row("S7", "own header, with a scheme", vec![("X-Token", client.dpop()), good()], Reply::BearerToken),
            Row(
                "S6",
                "own header and DPoP",
                vec![("Authorization", client.dpop()), token(), good()],
                Reply::BothRequest,
            ),
        ])
        .await;
    let unbound = client.api.token().sign();
    assert_eq!(client.api.send("GET", "/orders", &[("X-Token", &unbound)]).await.status, 200, "S7: unbound");
}
