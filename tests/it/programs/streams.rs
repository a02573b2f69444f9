//! The command that `streams` prints for its events. A test of `lifetime::program` opens its WebSocket.

use crate::program::{Program, paste};

#[tokio::test]
async fn the_events_of_streams_end_with_their_token_and_curl_with_them() {
    let Some(program) = Program::example("streams").start("Ctrl-C").await else { return };
    let lines = program.lines_with_start("curl ");
    let [command] = &lines[..] else { panic!("{lines:#?}") };
    if let Some(answer) = paste(command).await {
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.starts_with("data: tick\n\n"), "{answer:?}");
    }
    // The expired token itself is accepted for another 30 s, the verifier's leeway.
    if let Some(answer) = paste(&command.replace("Bearer ", "Bearer x")).await {
        assert!(answer.is_refusal(401, "invalid_token"), "{answer:?}");
    }
    program.stop("INT").await;
}
