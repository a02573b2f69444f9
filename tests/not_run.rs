//! Prints what the tests of `it` did not run. It is a test program without tests of its own.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "it/helpers/not_run.rs"]
#[allow(dead_code)]
mod not_run;

fn main() {
    // `cargo test -- --list` runs no test.
    if !std::env::args().any(|argument| argument == "--list") {
        not_run::print();
    }
}
