//! The example program `grpc`, which calls itself. `cargo test` builds it with the tests.

use crate::program::Program;

#[tokio::test]
async fn the_example_serves_refuses_and_ends_its_stream_with_the_token() {
    let Some(ended) = Program::example("grpc").ends().await else { return };
    let text = ended.stdout;
    assert_eq!(ended.status, Some(0), "{text}\n{}", ended.stderr);
    let lines: Vec<_> = text.lines().collect();
    let expected: [(&str, &[&str]); 7] = [
        ("health without a token: Ok(", &[]),
        ("List without a token: Err(", &["Unauthenticated", "An access token is required", "www-authenticate"]),
        ("List: Ok(\"the orders of ada\")", &[]),
        ("Place: Err(", &["PermissionDenied", "does not grant the required scope", "orders:read orders:write"]),
        ("Watch: Ok(\"one\")", &[]),
        ("Watch: Ok(\"two\")", &[]),
        ("Watch: Err(", &["Unauthenticated", "The access token expired"]),
    ];
    assert_eq!(lines.len(), expected.len(), "{text}");
    for (line, (start, parts)) in lines.iter().zip(expected) {
        assert!(line.starts_with(start) && parts.iter().all(|part| line.contains(part)), "{line}");
    }
}
