//! A way taken apart: what each step adds to the one before it.

use std::collections::BTreeMap;

use bench_results::record::{Environment, Workload};
use bench_results::statistics;
use bench_results::{Direction, Unit};

use crate::build::{Source, described};
use crate::facts;
use crate::report::LadderRow;

/// Suites whose environments are steps, each of which adds one thing to the one before it.
const SUITES: [&str; 2] = ["nat-ladder", "docker-ladder"];
/// The one whose starts are steps as well.
const STARTS: &str = "docker-ladder";
/// How their workloads are named.
const PREFIX: &str = "ladder-";

/// What is taken apart.
struct Staircase {
    workload: String,
    metric: String,
    unit: Unit,
    better: Direction,
}

/// Values by block.
type Values = Vec<(u32, f64)>;

/// The rows, by workload and step; empty for runs of other suites.
pub(crate) fn rows(source: &Source<'_>) -> Vec<LadderRow> {
    let plan = &source.run().plan;
    let is_of = |name: &str| plan.suite.split(',').any(|suite| suite == name);
    if !SUITES.into_iter().any(is_of) {
        return Vec::new();
    }
    let workloads = plan.workloads.iter().filter(|workload| workload.name.starts_with(PREFIX));
    let mut rows: Vec<_> = workloads.flat_map(|workload| of_workload(source, workload)).collect();
    if is_of(STARTS) {
        rows.extend(of_starts(source));
    }
    rows
}

fn of_workload(source: &Source<'_>, workload: &Workload) -> Vec<LadderRow> {
    let (metric, unit, better) = described(&workload.deciding);
    let values = |environment: &Environment| {
        let is_here = workload.runs_in(&environment.name);
        let cell = is_here.then(|| source.cell(&workload.name, &environment.name, &workload.deciding)).flatten();
        cell.map(|cell| cell.values.clone())
    };
    let staircase = Staircase { workload: workload.name.clone(), metric, unit, better };
    steps(source, &staircase, values)
}

/// From the request to the agent's greeting.
fn of_starts(source: &Source<'_>) -> Vec<LadderRow> {
    let values = |environment: &Environment| {
        let blocks = facts::first_trials(source.record, environment);
        let starts =
            blocks.iter().filter_map(|(block, trial)| Some((*block, trial.instance.start_to_ready_ns? as f64)));
        let starts: Values = starts.collect();
        (!starts.is_empty()).then_some(starts)
    };
    let (workload, metric) = ("start".to_owned(), "start to ready".to_owned());
    steps(source, &Staircase { workload, metric, unit: Unit::Ns, better: Direction::Lower }, values)
}

fn steps(
    source: &Source<'_>,
    staircase: &Staircase,
    values: impl Fn(&Environment) -> Option<Values>,
) -> Vec<LadderRow> {
    let mut rows = Vec::new();
    let mut before: Option<Values> = None;
    for environment in source.environments() {
        let Some(values) = values(environment) else { continue };
        let added = before.map(|before| differences(&before, &values)).filter(|added| !added.is_empty());
        rows.push(LadderRow {
            environment: environment.label(),
            workload: staircase.workload.clone(),
            metric: staircase.metric.clone(),
            unit: staircase.unit,
            better: staircase.better,
            mean: values.iter().map(|(_, value)| value).sum::<f64>() / values.len() as f64,
            added: added.as_ref().map(|added| added.iter().sum::<f64>() / added.len() as f64),
            interval: added.and_then(|added| statistics::mean_interval(&added)).map(|i| (i.low, i.high)),
        });
        before = Some(values);
    }
    rows
}

/// After minus before, in the blocks that have both.
fn differences(before: &[(u32, f64)], after: &[(u32, f64)]) -> Vec<f64> {
    let earlier: BTreeMap<u32, f64> = before.iter().copied().collect();
    after.iter().filter_map(|&(block, value)| Some(value - earlier.get(&block)?)).collect()
}
