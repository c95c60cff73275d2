//! The levels of sequential looks: prints `results/reference/looks.json`.
//!
//! `cargo run --release -p bench-results --example looks > looks.json && mv looks.json results/reference/`; always the same.

use bench_results::sequential::{MOST_BLOCKS, Paths, Row, SQUARES, looks_of};

/// Simulated runs for each size of squares; each counts for the upper and for the lower bound. An error of 2.5 % is then known to 0.04 %.
const RUNS: usize = 100_000;
const SEED: u64 = 19_830_659;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut rows = Vec::new();
    for square in SQUARES {
        let paths = Paths::simulate(square, RUNS, SEED + u64::from(square));
        for blocks in (square..=MOST_BLOCKS).filter(|&blocks| looks_of(square, blocks).len() > 1) {
            // Six digits: more are not known.
            let rounded = |tail: f64| format!("{tail:.6e}").parse::<f64>();
            let tails = paths.tails(blocks).into_iter().map(rounded).collect::<Result<Vec<f64>, _>>()?;
            rows.push(serde_json::to_string(&Row { square, blocks, tails })?);
        }
        eprintln!("squares of {square} blocks: done");
    }
    println!("[\n{}\n]", rows.join(",\n"));
    Ok(())
}
