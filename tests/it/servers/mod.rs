//! Real servers, which a test starts on a port and in a folder of its own, where their programs are found.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "redis")]
pub(crate) mod redis;

use std::{env, io::Write as _};

/// Says loudly that a test did not run; where everything is to run, that is a failure.
pub(crate) fn not_run(what: &str, why: &str) {
    assert!(env::var_os("CI").is_none(), "NOT RUN: {what}: {why}");
    // Past the harness, which shows what a test prints only when it fails.
    let _ = writeln!(std::io::stderr(), "\nNOT RUN: {what}: {why}\n");
}
