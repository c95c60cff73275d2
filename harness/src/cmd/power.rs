//! `bench power RUN`: how many blocks would see the margin, and what a gate of two such runs would tell, by simulation from the
//! run's own blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::Result;
use bench_results::compare::{Gate, GateRow, gate};
use bench_results::planning::{self, MOST_BLOCKS};
use bench_results::power::{LeftOut, Power, PowerRow, power};
use bench_results::quantity::{parse_count, parse_margin, parse_power};
use bench_results::store::{Record, find_run};

use crate::caller::{Caller, Hands};
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
    /// Probability of the right verdict: 0.95, 95% or 95
    #[arg(long, value_name = "SHARE", default_value = "0.95", value_parser = parse_power, allow_hyphen_values = true)]
    power: f64,
    /// Plan a gate instead: how often `bench compare` of two such runs passes without a change, and which loss it detects
    #[arg(long)]
    gate: bool,
    /// Blocks of each of the two runs [default: as many as RUN has]
    #[arg(long, value_name = "N", requires = "gate", value_parser = parse_blocks)]
    blocks: Option<u32>,
    /// Folder of earlier runs of the same series, as for `bench compare --history`
    #[arg(long, value_name = "DIR", requires = "gate")]
    history: Option<PathBuf>,
    /// Output format
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
    let folder = find_run(&args.out, &args.run)?;
    let record = super::raw::load(&folder, Hands::in_folder(&folder)?)?;
    if args.gate {
        return plan_gate(args, &record);
    }
    let told = power(&record, args.margin, args.power)?;
    match args.format {
        Format::Json => output::print_json(&told)?,
        Format::Text => output::print(&text(&told))?,
    }
    Ok(0)
}

fn parse_blocks(text: &str) -> Result<u32, String> {
    parse_count(text, u64::from(MOST_BLOCKS)).map(|blocks| blocks as u32)
}

fn plan_gate(args: &PowerArgs, record: &Record) -> Result<i32> {
    let side = std::slice::from_ref(record);
    let history =
        args.history.as_ref().map(|folder| super::compare::history::of(folder, side, side, None)).transpose()?;
    let told = gate(record, (args.margin, args.power), args.blocks, history.as_ref())?;
    match args.format {
        Format::Json => output::print_json(&told)?,
        Format::Text => output::print(&gate_text(&told))?,
    }
    Ok(0)
}

fn gate_text(told: &Gate) -> String {
    let head = ["workload", "environment", "blocks' spread", "runs' spread", "equivalent", "loss found"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(told.rows.iter().map(gate_cells));
    let sources: BTreeSet<String> = told.rows.iter().map(|row| row.between.to_string()).collect();
    let mut text = format!(
        "a gate of two runs like {}: {} blocks a side (about {} each), margin {}, {} simulated comparisons\n\n\
         where nothing changed it passes in {}, cannot tell in {}, fails in {} of comparisons\n\n{}\n",
        told.run,
        told.blocks,
        output::duration(told.run_s),
        percent(told.margin),
        told.simulated_comparisons,
        percent(told.passes),
        percent(told.cannot_tell),
        percent(told.fails),
        output::columns(&rows)
    );
    for (said, workloads) in left_out(&told.left_out) {
        text.push_str(&format!("left out: {said} ({workloads})\n"));
    }
    if sources.iter().any(|source| source.ends_with("assumed")) {
        text.push_str(
            "the between-run spread is assumed to be 2.5 %; --history DIR, a folder of earlier runs, estimates it\n",
        );
    }
    text.push_str(&format!(
        "runs' spread: standard deviation between runs, beyond the variation between their blocks\n\
        equivalent: how often the row is equivalent if nothing changed; the gate passes only if all rows are\n\
        loss found: the smallest loss of this row alone that fails the gate in {} of comparisons\n\
        both sides in one run, paired by block (bench compare RUN --env), are more precise than two runs\n",
        percent(told.power)
    ));
    text
}

fn gate_cells(row: &GateRow) -> Vec<String> {
    let from = row.between.to_string();
    let from = from.rsplit(", ").next().unwrap_or_default();
    vec![
        row.workload.clone(),
        row.environment.clone(),
        percent(row.sd_log),
        format!("{} ({from})", percent(row.between.sd_log)),
        percent(row.found_equivalent),
        row.loss_found.map_or("none".to_owned(), percent),
    ]
}

fn text(told: &Power) -> String {
    let head =
        ["workload", "environment", "blocks", "spread [95 %]", "needed", "takes", "right", "wrong", "found", "edge"];
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
    for (said, workloads) in left_out(&told.left_out) {
        text.push_str(&format!("left out: {said} ({workloads})\n"));
    }
    text.push_str(&format!(
        "spread: standard deviation of environment ÷ reference from block to block\n\
        needed: blocks with which equal sides are called equivalent, and one that is worse by twice the margin\n        \
        is called worse, each in {} of runs, if log-ratios are normal; takes: about how long such a run takes\n\
        with as many blocks as this run has:\n  \
        right, wrong: how often equal sides are called equivalent; better or worse (false alarms)\n  \
        found: how often one that is worse by twice the margin is called worse\n  \
        edge: how often one that is worse by exactly the margin is called worse (2.5 % by design)\n",
        percent(told.power)
    ));
    text
}

/// Why an environment is left out, and in which workloads.
fn left_out(rows: &[LeftOut]) -> BTreeMap<String, String> {
    let mut said: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in rows {
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
        row.run_needed_s.map_or(String::new(), planning::about),
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
