//! The comparison of two made-up runs: `cargo run --example compare -- FOLDER [paired|passes|few]`.
//!
//! Shows what every form looks like without measuring anything.

use std::collections::BTreeSet;
use std::path::PathBuf;

use bench_reports::CompareReport;
use bench_results::compare::{Sides, compare};
use bench_results::policy::Policy;
use bench_results::testing::{another, record, speed_up};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let folder = PathBuf::from(arguments.first().ok_or("usage: compare FOLDER [paired|passes|few]")?);
    let kind = arguments.get(1).map_or("", String::as_str);
    let blocks = if kind == "few" { 2 } else { 8 };
    let (base, mut new) = ([record(1, blocks, false)], [another(2, blocks, false)]);
    if kind != "passes" {
        speed_up(&mut new[0], "rand-read", "container", 0.8);
        speed_up(&mut new[0], "seq-write", "vm", 1.3);
    }
    let allowed = BTreeSet::new();
    let sides = match kind {
        "paired" => Sides::Environments { runs: &new, base: "native", new: "container" },
        _ => Sides::Runs { base: &base, new: &new, allowed: &allowed },
    };
    let judgement = compare(sides, &Policy::default(), None)?;
    let report = CompareReport::new(&judgement, sides);
    let written = report.write_all(&folder)?;
    print!("{}", report.terminal(120, false, written.first().map(PathBuf::as_path)));
    print!("{}", report.annotations());
    Ok(())
}
