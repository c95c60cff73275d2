//! The report of a made-up run: `cargo run --example demo -- FOLDER [BLOCKS] [emulated]`.
//!
//! Shows what a report looks like without measuring anything, and how long a large one takes.

use std::path::PathBuf;
use std::time::Instant;

use bench_reports::{Report, write_all};
use bench_results::analysis::analyse;
use bench_results::testing::record;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = PathBuf::from(arguments.first().ok_or("usage: demo FOLDER [BLOCKS] [emulated]")?);
    let blocks = arguments.get(1).map_or(Ok(8), |blocks| blocks.parse())?;
    let emulated = arguments.iter().any(|argument| argument == "emulated");

    let record = record(1, blocks, emulated);
    let start = Instant::now();
    let written = write_all(&record, &folder)?;
    let elapsed = start.elapsed();
    print!("{}", Report::new(&record, &analyse(&record)).terminal(110, false, written.first().map(PathBuf::as_path)));
    println!("{} trials in {} ms", record.trials.len(), elapsed.as_millis());
    Ok(())
}
