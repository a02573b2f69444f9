//! Draws `benches/performance.svg` from `benches/peers/results.txt`.

use std::{error::Error, fs};

use picture::{PICTURE, RESULTS, Results, draw};

fn main() -> Result<(), Box<dyn Error>> {
    let results: Results = fs::read_to_string(RESULTS)?.parse()?;
    fs::write(PICTURE, draw(&results))?;
    println!("drawn from the results of {}", results.date);
    Ok(())
}
