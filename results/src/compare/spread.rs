//! The between-run spread of each row of two runs: from their history, else from their controls, else the default.

use std::collections::{BTreeMap, BTreeSet};

use super::sample::Measured;
use super::{History, Judged};
use crate::between::{LEAST_RUNS, RunMean, Source, Spread};
use crate::record::Workload;
use crate::sentence;
use crate::statistics::{Effect, TAIL};

/// What is known of two runs beyond their blocks.
pub(super) struct Spreads<'a> {
    history: Option<&'a History>,
    /// Of the controls by the deciding metric of each workload.
    deciding: Option<Spread>,
    /// Of the controls by metric.
    by_metric: BTreeMap<&'static str, Spread>,
}

impl<'a> Spreads<'a> {
    pub(super) fn of(base: &Measured<'a>, new: &Measured<'a>, history: Option<&'a History>) -> Spreads<'a> {
        let runs = [base, new];
        let metrics: BTreeSet<&'static str> = runs.iter().flat_map(|run| metrics_of_control(run)).collect();
        let by_metric = metrics.into_iter().filter_map(|metric| Some((metric, of_controls(runs, |_| metric)?)));
        Spreads { history, deciding: of_controls(runs, |workload| &workload.deciding), by_metric: by_metric.collect() }
    }

    /// Of an environment in a workload, by a metric.
    pub(super) fn of_row(&self, workload: &Workload, environment: &str, metric: &str) -> Spread {
        let earlier = self.history.map(|history| history.means(&workload.name, environment, metric));
        let of_controls = if metric == workload.deciding { self.deciding } else { self.by_metric.get(metric).copied() };
        earlier.and_then(|runs| Spread::of_history(&runs)).or(of_controls).unwrap_or_else(Spread::assumed)
    }
}

fn metrics_of_control<'a>(run: &'a Measured<'_>) -> impl Iterator<Item = &'static str> + 'a {
    let plan = &run.record.run.plan;
    let control = plan.control.as_deref().unwrap_or_default();
    let of = |workload: &'a Workload| run.values.metrics(&workload.name, control);
    plan.workloads.iter().flat_map(of).map(|metric| metric.name)
}

/// Pooled over all workloads of the runs, each by the metric that is named for it.
fn of_controls<'a>(runs: [&Measured<'a>; 2], metric: impl Fn(&'a Workload) -> &'a str) -> Option<Spread> {
    let mut means = Vec::new();
    let mut with_control = 0;
    for run in runs {
        let plan = &run.record.run.plan;
        let Some(control) = plan.control.as_deref() else { continue };
        let before = means.len();
        let of = |workload: &'a Workload| RunMean::of(&run.fair_overhead(&workload.name, metric(workload), control));
        means.extend(plan.workloads.iter().filter_map(of));
        with_control += usize::from(means.len() > before);
    }
    Spread::of_controls(&means, with_control)
}

/// What the reader should know of it.
pub(super) fn notes(rows: &[Judged], history: Option<&History>) -> Vec<String> {
    let of = |source| rows.iter().filter(move |row| row.between.is_some_and(|spread| spread.source == source));
    let is_tested = |row: &&Judged| row.decides() && row.p.is_some();
    let mut notes: Vec<String> = history.map(History::said).into_iter().collect();
    let assumed: Vec<&Judged> = of(Source::Default).chain(of(Source::Controls)).filter(is_tested).collect();
    let Some(first) = assumed.first() else { return notes };
    if history.is_some() {
        let named: Vec<String> = assumed.iter().map(|row| format!("{} in {}", row.workload, row.environment)).collect();
        notes.push(format!("fewer than {LEAST_RUNS} earlier runs have a value of {}", named.join(", ")));
    }
    notes.extend(
        of(Source::Controls).find(is_tested).and_then(|row| row.between).map(|spread| {
            format!("the controls of the two runs lie further apart than is assumed elsewhere: {spread}")
        }),
    );
    let spread = sentence::percent(Spread::assumed().sd_log);
    notes.push(format!(
        "how far runs lie apart here is not known: {spread} are assumed; earlier runs of the same series tell it (--history DIR, \
         {LEAST_RUNS} runs or more)"
    ));
    let blind = assumed.iter().filter(|row| reach_of_spread(row).is_some_and(|reach| reach >= row.margin.ln_1p()));
    if blind.count() == assumed.len() {
        let margin = sentence::percent(first.margin);
        notes.push(format!(
            "with that spread two runs of as many blocks as these cannot be found equivalent within {margin}, however little their \
             blocks scatter: give a history, or measure both sides in one run (--env)"
        ));
    }
    notes
}

/// Half the interval if blocks did not scatter.
fn reach_of_spread(row: &Judged) -> Option<f64> {
    let (spread, freedom) = (row.between?, row.degrees_of_freedom?);
    Effect { ratio: 1.0, error: spread.sd_log * std::f64::consts::SQRT_2, freedom }.reach(TAIL)
}
