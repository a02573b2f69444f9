//! The example programs as a user runs them: the commands that they print, their output, and their responses to requests. A file
//! per program, or a directory.

#[cfg(feature = "token-endpoint")]
mod authorization_code;
#[cfg(feature = "token-endpoint")]
mod authorization_server;
mod custom_verifier;
#[cfg(all(feature = "postgres", feature = "redis"))]
mod instances;
mod mcp_server;
pub(crate) mod protected_api;
mod protected_api_with_issuer;
mod quickstart;
#[cfg(feature = "token-endpoint")]
mod server_to_server;
mod streams;
mod tenants;

#[cfg(feature = "token-endpoint")]
use crate::program::Ended;
use crate::{
    program::{Program, paste},
    support::Answer,
};

#[test]
fn the_readme_and_each_program_have_the_command_that_runs_it() {
    let readme = include_str!("../../../README.md");
    assert!(readme.lines().any(|line| line == "cargo run --example quickstart"));
    assert!(readme.contains("cargo run --example protected_api"));
    for (source, options) in [
        (include_str!("../../../examples/quickstart.rs"), "quickstart"),
        (include_str!("../../../examples/streams.rs"), "streams"),
        (include_str!("../../../examples/tenants.rs"), "tenants"),
        (include_str!("../../../examples/custom_verifier/main.rs"), "custom_verifier"),
        (include_str!("../../../examples/server_to_server.rs"), "server_to_server --features token-endpoint"),
        (include_str!("../../../examples/authorization_code/main.rs"), "authorization_code --features token-endpoint"),
    ] {
        let command = format!("//! cargo run --example {options}");
        assert!(source.lines().any(|line| line == command), "{command}");
    }
}

/// Pastes each command with curl that the program has printed. The statuses must be these, and the comment above each command
/// must begin with its status. Returns the responses. Returns `None` and reports it if curl is missing.
async fn paste_all(program: &Program, statuses: &[u16]) -> Option<Vec<Answer>> {
    let lines = program.lines();
    let commands = lines.windows(2).filter(|lines| lines[1].starts_with("curl "));
    let commands: Vec<_> = commands.map(|lines| (lines[0].as_str(), lines[1].as_str())).collect();
    assert_eq!(commands.len(), statuses.len(), "{lines:#?}");
    let mut answers = Vec::new();
    for ((comment, command), status) in commands.into_iter().zip(statuses) {
        let answer = paste(command).await?;
        assert!(comment.starts_with(&format!("# {status}: ")), "{comment}");
        assert_eq!(answer.status, *status, "{command}\n{answer:?}");
        answers.push(answer);
    }
    Some(answers)
}

/// Checks that the program succeeded and printed these lines, with `…` in place of each token and without spaces at their ends.
#[cfg(feature = "token-endpoint")]
#[track_caller]
fn printed(ended: &Ended, expected: &str) {
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let without_token = |line: &str| {
        let (start, rest) = line.split_once(TOKEN)?;
        Some(format!("{start}{TOKEN}…\"{}", rest.split_once('"')?.1))
    };
    let shown = ended.stdout.lines().map(str::trim_end);
    let shown: Vec<_> = shown.map(|line| without_token(line).unwrap_or_else(|| line.to_owned())).collect();
    assert_eq!(shown, expected.lines().collect::<Vec<_>>());
}

/// Begins an access token in a token response.
#[cfg(feature = "token-endpoint")]
const TOKEN: &str = "\"access_token\":\"";
