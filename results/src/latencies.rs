//! The latencies of trials, taken in one after the other: percentiles of each block, and the histograms of each environment.

use std::collections::BTreeMap;

use crate::histogram::{Histogram, Sum};
use crate::percentiles::{Distribution, Recorded, Refusal, STALLS, metrics};
use crate::record::{Name, PlannedTrial, Run, Trial};
use crate::store::Record;
use crate::values::{ByMetric, ENTRY_BYTES};

/// Workload to its parameters.
pub(crate) type Parameters<'a> = BTreeMap<&'a str, &'a BTreeMap<String, String>>;

pub(crate) fn parameters(run: &Run) -> Parameters<'_> {
    run.plan.workloads.iter().map(|workload| (workload.name.as_str(), &workload.parameters)).collect()
}

fn recorded(parameters: &Parameters<'_>, workload: &str, direction: &str) -> Recorded {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    Recorded::of(parameters.get(workload).copied().unwrap_or(&NONE), direction)
}

/// Percentiles of each block: from the histograms of its turns, merged, so that turns that bear none may bear one together; of a single
/// trial, those that it has by its own account.
pub(crate) struct Blocks<'r> {
    parameters: Parameters<'r>,
    turns: u32,
    /// Blocks of which turns are to come, by workload and environment.
    begun: BTreeMap<(Name, Name, u32), Begun>,
    /// `(block, value)` as they came.
    pub(crate) values: ByMetric<Vec<(u32, f64)>>,
    /// Those that a block's I/Os do not bear.
    pub(crate) refused: ByMetric<Refusal>,
}

/// The turns of a block that are there.
#[derive(Default)]
struct Begun {
    turns: u32,
    /// By direction: how many of them have a histogram, and all of these.
    histograms: BTreeMap<String, (u32, Sum)>,
}

impl<'r> Blocks<'r> {
    pub(crate) fn of(run: &'r Run) -> Blocks<'r> {
        Blocks {
            parameters: parameters(run),
            turns: run.plan.profile.turns,
            begun: BTreeMap::new(),
            values: ByMetric::default(),
            refused: ByMetric::default(),
        }
    }

    /// Bytes that it takes besides values, about.
    pub(crate) fn bytes(&self) -> u64 {
        let begun = self.begun.values().flat_map(|begun| begun.histograms.values());
        let of_begun: usize = begun.map(|(_, sum)| ENTRY_BYTES + sum.bytes()).sum();
        (of_begun + self.refused.values().count() * ENTRY_BYTES) as u64
    }

    /// Take in a valid trial.
    pub(crate) fn add(&mut self, trial: &Trial) {
        let planned = &trial.planned;
        if self.turns == 1 {
            let measured = |metric: &str| trial.measurements.iter().any(|measured| measured.metric == metric);
            for (direction, histogram) in &trial.histograms {
                self.end(planned, direction, histogram, measured);
            }
            return;
        }
        let key = (planned.workload.clone(), planned.environment.clone(), planned.block);
        let begun = self.begun.entry(key.clone()).or_default();
        begun.turns += 1;
        for (direction, histogram) in &trial.histograms {
            let (turns, sum) = begun.histograms.entry(direction.clone()).or_default();
            *turns += 1;
            sum.add(histogram);
        }
        if begun.turns == self.turns {
            let (all, whole) = (self.turns, self.begun.remove(&key).unwrap_or_default().histograms);
            for (direction, (_, sum)) in whole.into_iter().filter(|(_, (turns, _))| *turns == all) {
                self.end(planned, &direction, &sum.histogram(), |_| true);
            }
        }
    }

    /// All latencies of one direction of a block are there. `measured`: whether a percentile is to be told.
    fn end(&mut self, of: &PlannedTrial, direction: &str, histogram: &Histogram, measured: impl Fn(&str) -> bool) {
        let recorded = recorded(&self.parameters, &of.workload, direction);
        for (metric, q) in metrics(direction) {
            let names = (&*of.workload, &*of.environment, metric.name);
            match recorded.percentile_ns(histogram, q).filter(|ns| *ns > 0.0) {
                Some(ns) if measured(metric.name) => {
                    self.values.get_or_insert_with(names, Vec::new).push((of.block, ns));
                }
                Some(_) => {}
                None => {
                    let refusal = Refusal {
                        blocks: 1,
                        fewest: histogram.count(),
                        needs: recorded.needs(histogram, q),
                        in_flight: recorded.least_beyond(histogram, q) / STALLS,
                        block: of.block,
                    };
                    let known = self.refused.get_or_insert_with(names, || Refusal { blocks: 0, ..refusal });
                    let is_worse = (refusal.fewest, refusal.block) < (known.fewest, known.block);
                    *known = Refusal { blocks: known.blocks + 1, ..if is_worse { refusal } else { *known } };
                }
            }
        }
    }
}

/// Histograms by workload, environment and direction, merged.
#[derive(Default)]
pub(crate) struct Merged(ByMetric<(Recorded, Sum)>);

impl Merged {
    /// Take in a valid trial of a run.
    pub(crate) fn add(&mut self, parameters: &Parameters<'_>, trial: &Trial) {
        let planned = &trial.planned;
        for (direction, histogram) in &trial.histograms {
            let names = (&*planned.workload, &*planned.environment, direction.as_str());
            let recorded = || recorded(parameters, &planned.workload, direction);
            self.0.get_or_insert_with(names, || (recorded(), Sum::default())).1.add(histogram);
        }
    }

    /// Bytes that they take, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.values().map(|(_, sum)| ENTRY_BYTES + sum.bytes()).sum::<usize>() as u64
    }

    fn add_merged(&mut self, one: &Distribution) {
        let names = (one.workload.as_str(), one.environment.as_str(), one.direction.as_str());
        self.0.get_or_insert_with(names, || (one.recorded, Sum::default())).1.add(&one.histogram);
    }

    /// All of them, sorted by workload, environment and direction.
    pub(crate) fn distributions(self) -> Vec<Distribution> {
        let of = |(names, (recorded, sum)): ([Name; 3], (Recorded, Sum))| {
            let [workload, environment, direction] = names.map(String::from);
            Distribution { workload, environment, direction, histogram: sum.histogram(), recorded }
        };
        self.0.into_entries().map(of).collect()
    }
}

/// The latencies of all valid trials, merged by workload and environment, and sorted by these.
pub fn distributions<'a>(records: impl IntoIterator<Item = &'a Record>) -> Vec<Distribution> {
    let mut merged = Merged::default();
    for record in records {
        record.lean.iter().flat_map(|lean| &lean.distributions).for_each(|one| merged.add_merged(one));
        let parameters = parameters(&record.run);
        record.trials.iter().filter(|trial| trial.is_valid()).for_each(|trial| merged.add(&parameters, trial));
    }
    merged.distributions()
}
