//! The results of a run as a small text file, and the picture that is drawn from it.
//!
//! Without dependencies, so that `benches/peers/run --draw` builds nothing else.

mod results;
mod svg;

pub use results::{Kind, Results, Row};
pub use svg::draw;

/// The file with the results of the last full run.
pub const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../results.txt");

/// The picture.
pub const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../performance.svg");
