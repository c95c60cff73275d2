//! How often a verdict of one run, of two runs and of sets of them is wrong, by the shape of their noise, by simulation: the table of
//! docs/FIGURES.md, "Promised and reached".
//!
//! `cargo run --release -p bench-results --example rates [TRIES]`; the seed is fixed. Margin and spread between blocks are 5 %.

use bench_results::compare::simulated::{Pairs, Row, RowEnds, Scatter, Told, one_run, sets};
use bench_results::metric::{self, Metric};

const SEED: u64 = 20_261_130;
const MARGIN: f64 = 0.05;
/// Standard deviation of the log-ratios of blocks.
const SD: f64 = 0.05;
/// True between-run spread of two runs and of sets.
const BETWEEN: f64 = 0.02;
/// Blocks of each run of a set.
const BLOCKS_IN_SETS: u32 = 8;
/// Earlier runs that tell the between-run spread of two runs.
const HISTORY: usize = 20;

const SHAPES: [(&str, [Scatter; 2]); 6] = [
    ("normal", [Scatter::Normal(SD), Scatter::Normal(SD)]),
    ("t with 3 df", [Scatter::HeavyTails(SD), Scatter::HeavyTails(SD)]),
    ("lognormal, σ 0.8", [Scatter::Lopsided(SD), Scatter::Lopsided(-SD)]),
    ("outliers", [Scatter::Outliers(SD), Scatter::Outliers(SD)]),
    ("two modes", [Scatter::TwoModes(SD), Scatter::TwoModes(SD)]),
    ("AR(1)", [Scatter::Autocorrelated(SD), Scatter::Autocorrelated(SD)]),
];

struct Simulation {
    metric: &'static Metric,
}

impl Simulation {
    /// `worse` and `equivalent` at the edge, in percent: of a lopsided shape the worse of its two sides.
    fn cell(&self, sides: &[Scatter; 2], between: f64, ends: impl Fn(&Row) -> RowEnds) -> String {
        let of = |scatter: &Scatter| {
            let (metric, told) = (self.metric, Told::History(HISTORY));
            ends(&Row { metric, scatter: scatter.clone(), margin: MARGIN, worse_by: 1.0 + MARGIN, between, told })
        };
        let [one, other] = sides.each_ref().map(of);
        let (worse, equivalent) = (one.worse.max(other.worse), one.equivalent.max(other.equivalent));
        format!("{:.1} / {:.1}", worse * 100.0, equivalent * 100.0)
    }

    fn row(&self, title: &str, sides: impl Fn(&[Scatter; 2]) -> String) {
        let cells: Vec<String> = SHAPES.iter().map(|(_, shape)| sides(shape)).collect();
        println!("| {title} | {} |", cells.join(" | "));
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let tries = std::env::args().nth(1).map_or(Ok(4000), |text| text.parse())?;
    let simulation = Simulation { metric: metric::find("iops").ok_or("there is a metric `iops`")? };
    let names = SHAPES.map(|(name, _)| name);
    println!("`worse` / `equivalent` at the edge, in % of {tries}\n");
    println!("| | {} |\n|{}", names.join(" | "), "---|".repeat(1 + names.len()));
    for blocks in [3, 6, 8, 12, 28] {
        simulation.row(&format!("one run of {blocks} blocks"), |shape| {
            simulation.cell(shape, 0.0, |row| one_run(row, blocks, tries, SEED))
        });
    }
    for (base_blocks, new_blocks) in [(6, 6), (8, 8), (28, 28), (6, 28), (28, 6)] {
        simulation.row(&format!("two runs, {base_blocks} and {new_blocks} blocks"), |shape| {
            simulation.cell(shape, BETWEEN, |row| {
                Pairs { base_blocks, new_blocks, rows: vec![row.clone()], others: 0 }.ends(tries, SEED).rows[0]
            })
        });
    }
    for runs in [[3, 3], [5, 5], [10, 10], [3, 10], [10, 3]] {
        simulation.row(&format!("sets of {} and {} runs", runs[0], runs[1]), |shape| {
            simulation.cell(shape, BETWEEN, |row| sets(row, runs, BLOCKS_IN_SETS, (tries, SEED)))
        });
    }
    Ok(())
}
