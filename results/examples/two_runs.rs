//! How often a comparison of two runs is wrong, by simulation: the tables of docs/FIGURES.md, "Two runs".
//!
//! `cargo run --release -p bench-results --example two_runs [COMPARISONS]`; the seed is fixed. Margin and spread between blocks are 5 %.

use bench_results::compare::simulated::{Ends, Pairs, Row, Scatter, Told};
use bench_results::metric::{self, Metric};

const SEED: u64 = 20_261_130;
const MARGIN: f64 = 0.05;
/// Standard deviation of the log-ratios of blocks.
const SD: f64 = 0.05;
/// True between-run spreads.
const BETWEEN: [f64; 5] = [0.0, 0.01, 0.02, 0.03, 0.05];
const SOURCES: [(&str, Told); 5] = [
    ("history of 20 runs", Told::History(20)),
    ("history of 5 runs", Told::History(5)),
    ("controls in 7 workloads, each with a draw of its own", Told::Controls { workloads: 7, alike: false }),
    ("controls in 7 workloads, one draw for all", Told::Controls { workloads: 7, alike: true }),
    ("nothing: the default", Told::Nothing),
];

struct Simulation {
    metric: &'static Metric,
    comparisons: u32,
}

impl Simulation {
    fn ends(
        &self,
        blocks: (u32, u32),
        (between, told): (f64, Told),
        scatter: Scatter,
        rows: usize,
        worse_by: f64,
    ) -> Ends {
        let row = Row { metric: self.metric, scatter, margin: MARGIN, worse_by, between, told };
        let pairs = Pairs { base_blocks: blocks.0, new_blocks: blocks.1, rows: vec![row; rows], others: 0 };
        pairs.ends(self.comparisons, SEED)
    }

    /// How often a row at the edge is called `worse`: normal, heavy tails, and the worse of a lopsided one's two sides.
    fn at_the_edge(&self, blocks: (u32, u32), truth: (f64, Told)) -> String {
        let worse = |scatter| self.ends(blocks, truth, scatter, 1, 1.0 + MARGIN).rows[0].worse;
        let lopsided = worse(Scatter::Lopsided(SD)).max(worse(Scatter::Lopsided(-SD)));
        [worse(Scatter::Normal(SD)), worse(Scatter::HeavyTails(SD)), lopsided].map(percent).join(" / ")
    }

    /// How often the gate of seven rows passes and fails where nothing changed.
    fn equal(&self, truth: (f64, Told)) -> String {
        let ends = self.ends((28, 28), truth, Scatter::Normal(SD), 7, 1.0);
        format!("{} / {}", percent(ends.pass), percent(ends.fail))
    }

    fn by_source(&self, cell: impl Fn((f64, Told)) -> String) {
        for (name, told) in SOURCES {
            println!("| {name} | {} |", BETWEEN.map(|between| cell((between, told))).join(" | "));
        }
    }
}

fn percent(rate: f64) -> String {
    format!("{:.1}", rate * 100.0)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let comparisons = std::env::args().nth(1).map_or(Ok(4000), |text| text.parse())?;
    let simulation = Simulation { metric: metric::find("iops").ok_or("there is a metric `iops`")?, comparisons };
    let head = format!(
        "| {} |\n|{}",
        BETWEEN.map(|between| format!("{:.0} %", between * 100.0)).join(" | "),
        "---|".repeat(6)
    );
    println!(
        "at the edge, 28 blocks a side, called `worse` in % of {comparisons} comparisons\n\n| what tells it {head}"
    );
    simulation.by_source(|truth| simulation.at_the_edge((28, 28), truth));
    println!("\nequal, 7 rows, 28 blocks a side: passes / fails in %\n\n| what tells it {head}");
    simulation.by_source(|truth| simulation.equal(truth));
    println!("\nat the edge, history of 20 runs\n\n| blocks | spread 0 % | 2 % |\n|---|---|---|");
    for blocks in [(3, 28), (6, 6), (8, 8), (12, 12), (28, 28), (6, 28), (28, 6)] {
        let cells = [0.0, 0.02].map(|between| simulation.at_the_edge(blocks, (between, Told::History(20))));
        println!("| {} and {} | {} |", blocks.0, blocks.1, cells.join(" | "));
    }
    Ok(())
}
