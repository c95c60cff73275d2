//! `bench power RUN`: how many blocks would see the margin, by simulation from the run's own.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use bench_results::power::{MOST_BLOCKS, Power, PowerRow, power};
use bench_results::quantity::{parse_margin, parse_power};
use bench_results::store::{Record, find_run};

use crate::caller::Caller;
use crate::output;

/// Arguments of `bench power`.
#[derive(clap::Args)]
pub struct PowerArgs {
    /// A run's folder, its archive, a unique prefix of its id, or `last`
    #[arg(default_value = "last")]
    run: String,
    /// Parent of the run folders
    #[arg(long, value_name = "DIR", default_value = "bench-runs")]
    out: PathBuf,
    /// The smallest relative difference you care about: 5% (or 5) is 5 % [default: the run's own]
    #[arg(long, value_name = "PERCENT", value_parser = parse_margin, allow_hyphen_values = true)]
    margin: Option<f64>,
    /// How often the right verdict is to be given: 0.95, 95% or 95
    #[arg(long, value_name = "SHARE", default_value = "0.95", value_parser = parse_power, allow_hyphen_values = true)]
    power: f64,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Format {
    /// A table
    Text,
    /// Everything
    Json,
}

/// Simulate and print.
pub fn run(args: &PowerArgs) -> Result<i32> {
    Caller::take_over()?;
    let record = Record::load(&find_run(&args.out, &args.run)?)?;
    let told = power(&record, args.margin, args.power)?;
    match args.format {
        Format::Json => output::print_json(&told)?,
        Format::Text => output::print(&text(&told))?,
    }
    Ok(0)
}

fn text(told: &Power) -> String {
    let head = ["workload", "environment", "blocks", "spread [95 %]", "needed", "right", "wrong", "found", "edge"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(told.rows.iter().map(cells));
    let mut text = format!(
        "{}: margin {}, power {}, {} simulated runs for each figure\n\n{}\n",
        told.run,
        percent(told.margin),
        percent(told.power),
        told.simulated_runs,
        output::columns(&rows)
    );
    if !told.not_reportable.is_empty() {
        text.push_str(&format!(
            "the run is not reportable, and its blocks may scatter for that: {}\n",
            told.not_reportable.join("; ")
        ));
    }
    for note in &told.notes {
        text.push_str(&format!("{note}; the figures here are of runs that do not look\n"));
    }
    for (said, workloads) in left_out(told) {
        text.push_str(&format!("left out: {said} ({workloads})\n"));
    }
    text.push_str(&format!(
        "spread: standard deviation of environment ÷ reference from block to block\n\
        needed: blocks with which equal sides are called equivalent, and one that is worse by twice the margin\n        \
        is called worse, each in {} of runs\n\
        with as many blocks as this run has:\n  \
        right, wrong: how often equal sides are called equivalent; better or worse (false alarms)\n  \
        found: how often one that is worse by twice the margin is called worse\n  \
        edge: how often one that is worse by exactly the margin is called worse (2.5 % by design)\n",
        percent(told.power)
    ));
    text
}

/// Why an environment is left out, and in which workloads.
fn left_out(told: &Power) -> BTreeMap<String, String> {
    let mut said: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in &told.left_out {
        said.entry(format!("{}: {}", row.environment, row.reason)).or_default().push(&row.workload);
    }
    said.into_iter().map(|(said, workloads)| (said, workloads.join(", "))).collect()
}

fn cells(row: &PowerRow) -> Vec<String> {
    let spread = row
        .sd_interval
        .map_or(String::new(), |interval| format!(" [{}, {}]", percent(interval.low), percent(interval.high)));
    let now = &row.now;
    vec![
        row.workload.clone(),
        if row.is_control { format!("{} (control)", row.environment) } else { row.environment.clone() },
        now.blocks.to_string(),
        format!("{}{spread}", percent(row.sd_log)),
        row.blocks_needed.map_or(format!("over {MOST_BLOCKS}"), |blocks| blocks.to_string()),
        percent(now.equal.equivalent),
        percent(now.equal.better + now.equal.worse),
        percent(now.twice_the_margin.worse),
        percent(now.at_the_edge.worse),
    ]
}

fn percent(fraction: f64) -> String {
    let percent = fraction * 100.0;
    match percent {
        0.0 => "0 %".to_owned(),
        // Nearly always is not always.
        99.0..100.0 => format!("{:.1} %", percent.min(99.9)),
        9.95.. => format!("{percent:.0} %"),
        _ => format!("{percent:.1} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_short() {
        assert_eq!([0.0, 0.0004, 0.025, 0.0996, 0.9].map(percent), ["0 %", "0.0 %", "2.5 %", "10 %", "90 %"]);
        assert_eq!([0.99, 0.996, 0.9999, 1.0].map(percent), ["99.0 %", "99.6 %", "99.9 %", "100 %"]);
    }
}
