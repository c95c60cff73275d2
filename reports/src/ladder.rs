//! The way of a container behind NAT, taken apart: what each step adds to the one before it.

use std::collections::BTreeMap;

use bench_results::record::Workload;
use bench_results::statistics;

use crate::build::{Source, described};
use crate::report::LadderRow;

/// The suite whose environments are steps, each of which adds one thing to the one before it.
const SUITE: &str = "nat-ladder";
/// How its workloads are named.
const PREFIX: &str = "ladder-";

/// The rows, by workload and step; empty for runs of other suites.
pub(crate) fn rows(source: &Source<'_>) -> Vec<LadderRow> {
    let plan = &source.run().plan;
    if !plan.suite.split(',').any(|suite| suite == SUITE) {
        return Vec::new();
    }
    let workloads = plan.workloads.iter().filter(|workload| workload.name.starts_with(PREFIX));
    workloads.flat_map(|workload| steps(source, workload)).collect()
}

fn steps(source: &Source<'_>, workload: &Workload) -> Vec<LadderRow> {
    let (metric, unit, better) = described(&workload.deciding);
    let mut rows = Vec::new();
    let mut before: Option<&[(u32, f64)]> = None;
    for environment in source.environments().filter(|environment| workload.runs_in(&environment.name)) {
        let Some(cell) = source.cell(&workload.name, &environment.name, &workload.deciding) else { continue };
        let added = before.map(|before| differences(before, &cell.values)).filter(|added| !added.is_empty());
        rows.push(LadderRow {
            environment: environment.label(),
            workload: workload.name.clone(),
            metric: metric.clone(),
            unit,
            better,
            mean: cell.values.iter().map(|(_, value)| value).sum::<f64>() / cell.values.len() as f64,
            added: added.as_ref().map(|added| added.iter().sum::<f64>() / added.len() as f64),
            interval: added.and_then(|added| statistics::mean_interval(&added)).map(|i| (i.low, i.high)),
        });
        before = Some(&cell.values);
    }
    rows
}

/// After minus before, in the blocks that have both.
fn differences(before: &[(u32, f64)], after: &[(u32, f64)]) -> Vec<f64> {
    let earlier: BTreeMap<u32, f64> = before.iter().copied().collect();
    after.iter().filter_map(|&(block, value)| Some(value - earlier.get(&block)?)).collect()
}
