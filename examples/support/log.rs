//! Starts the log of a program.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

use crate::mistakes::Mistakes;

/// Starts the log on standard error. `RUST_LOG` sets what is logged. Default: `info`.
pub(crate) fn start_log(mistakes: &mut Mistakes) {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env();
    let filter = filter.map_err(|error| mistakes.add("RUST_LOG", error)).unwrap_or_default();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    log.with_ansi(io::stderr().is_terminal()).init();
}
