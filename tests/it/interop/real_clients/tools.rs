//! Programs of other projects, which tests start if they are installed.

use std::{
    env,
    hash::{BuildHasher as _, RandomState},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use tokio::{process::Command, time::timeout};

const MAX_DURATION: Duration = Duration::from_secs(120);

/// Returns the directory of the scripts.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// Returns this directory below the target directory, which is never committed. `.ci/install` writes there.
pub(crate) fn in_target(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join(name)
}

/// Returns the first of these programs that is in no directory of the PATH.
pub(crate) fn missing<'p>(programs: &[&'p str]) -> Option<&'p str> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = env::split_paths(&path).collect();
    programs.iter().copied().find(|program| !folders.iter().any(|folder| folder.join(program).is_file()))
}

/// Runs a command that sends its requests to the loopback address without a proxy, and looks for programs in these directories
/// before those of the PATH.
pub(crate) async fn run(mut command: Command, folders: &[PathBuf]) -> Output {
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths(folders.iter().cloned().chain(env::split_paths(&path))).unwrap();
    let loopback = "127.0.0.1,localhost";
    command.env("PATH", path).env("NO_PROXY", loopback).env("no_proxy", loopback);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output();
    timeout(MAX_DURATION, output).await.expect("the command ends within two minutes").unwrap()
}

/// Returns a port below those that the system assigns, so that no other program gets it before it is used.
pub(super) fn free_port() -> u16 {
    for attempt in 0..50_u64 {
        let port = 10_000 + u16::try_from(RandomState::new().hash_one(attempt) % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("50 ports are in use");
}
