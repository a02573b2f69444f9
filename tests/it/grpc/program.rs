//! The example program `grpc`, which calls itself. `cargo test` builds it with the tests.

use std::env;

use tokio::process::Command;

use crate::support::not_run;

#[tokio::test]
async fn the_example_serves_refuses_and_ends_its_stream_with_the_token() {
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(|folder| folder.parent()).unwrap().join("examples/grpc");
    if !program.exists() {
        return not_run("the example grpc", "the example programs (cargo build --all-features --examples)");
    }
    let output = Command::new(program).output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
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
