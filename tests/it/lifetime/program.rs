//! The WebSocket of the example program `streams`, as a process. `cargo test` builds it with the tests.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::time::timeout;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest as _},
};

use super::SECOND;
use crate::program::Program;

/// RFC 9068 §2.2 c (MUST, accepts)
#[tokio::test]
async fn the_example_renews_and_closes_the_websocket_of_the_line_that_it_prints() {
    let Some(program) = Program::example("streams").start("Ctrl-C").await else { return };
    let line = program.line_with("new WebSocket(").await;
    let quoted: Vec<_> = line.split('\'').skip(1).step_by(2).collect();
    let [url, protocol, token] = quoted[..] else { panic!("{line}") };
    // What a browser sends for this line.
    let open = async |token: &str| {
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", format!("{protocol}, {token}").parse().unwrap());
        connect_async(request).await
    };
    let (mut socket, response) = open(token).await.unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], protocol);
    for (message, answer) in [("no token", "The credentials are malformed"), (token, "renewed")] {
        socket.send(Message::text(message)).await.unwrap();
        let text = timeout(10 * SECOND, socket.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(text.to_text().unwrap(), answer);
    }
    let end = timeout(20 * SECOND, socket.next()).await.expect("it ends with its token").unwrap().unwrap();
    let Message::Close(Some(close)) = end else { panic!("{end:?}") };
    assert_eq!((u16::from(close.code), close.reason.as_str()), (1008, "The access token expired"));
    let Err(Error::Http(refused)) = open("no.such.token").await else { panic!("it is refused") };
    assert_eq!(refused.status(), 401);
}
