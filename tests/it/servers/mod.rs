//! Real servers. A test starts each on its own port and in its own directory, if their programs are installed.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::{env, io::Write as _};

/// Reports that a test did not run. With `CI` set, this is a failure.
pub(crate) fn not_run(what: &str, why: &str) {
    assert!(env::var_os("CI").is_none(), "NOT RUN: {what}: {why}");
    // Not through the test harness, which shows the output only of failed tests.
    let _ = writeln!(std::io::stderr(), "\nNOT RUN: {what}: {why}\n");
}
