//! Earlier runs of the same series: how far runs lie apart that nothing tells apart.

use std::collections::{BTreeMap, BTreeSet};

use super::sample::Measured;
use super::{CompareError, check_suite, difference};
use crate::analysis::LEAST_BLOCKS;
use crate::between::RunMean;
use crate::identity::Seen;
use crate::imported::CAVEAT;
use crate::record::Run;
use crate::store::Record;

/// Workload, environment, metric.
type Key = (String, String, String);

/// What is kept of earlier runs: a mean for each workload, environment and metric. A record can be let go once it is added.
#[derive(Debug, Clone, PartialEq)]
pub struct History {
    /// The run that is compared with: what is comparable with it counts.
    base: Run,
    /// Id of the run that is compared.
    new: String,
    /// Both of them, and all that were added.
    seen: Seen,
    /// The means of each earlier run that counts.
    runs: Vec<BTreeMap<Key, RunMean>>,
    /// Why a run does not count, and how many do not for that.
    left_out: BTreeMap<String, usize>,
}

fn means(record: &Record) -> BTreeMap<Key, RunMean> {
    let measured = Measured::of(record);
    let (run, mut means) = (&record.run, BTreeMap::new());
    for workload in &run.plan.workloads {
        for environment in run.environments.iter().filter(|e| e.name != run.plan.reference) {
            for metric in measured.values.metrics(&workload.name, &environment.name) {
                let ratios = measured.fair_overhead(&workload.name, metric.name, &environment.name);
                let mean = RunMean::of(&ratios).filter(|mean| mean.blocks >= LEAST_BLOCKS);
                let key = (workload.name.clone(), environment.name.clone(), metric.name.to_owned());
                means.extend(mean.map(|mean| (key, mean)));
            }
        }
    }
    means
}

impl History {
    /// Of the series that `base` and `new` belong to: the two themselves tell nothing of it.
    pub fn new(base: &Record, new: &Record) -> History {
        let mut seen = Seen::default();
        // Whether they are the same run is for others to say.
        let _ = (seen.add(base), seen.add(new));
        let new = new.run.id.clone();
        History { base: base.run.clone(), new, seen, runs: Vec::new(), left_out: BTreeMap::new() }
    }

    /// Take a run into account, or remember why not.
    pub fn add(&mut self, record: &Record) {
        match self.seen.add(record).map(|same| self.copy_of(&same)).or_else(|| self.why_not(&record.run)) {
            Some(why) => self.leave_out(why),
            None => self.runs.push(means(record)),
        }
    }

    /// A run of the folder that does not count, for this reason.
    pub fn leave_out(&mut self, why: impl Into<String>) {
        *self.left_out.entry(why.into()).or_default() += 1;
    }

    fn copy_of(&self, id: &str) -> String {
        let named = if id == self.base.id {
            "BASE itself"
        } else if id == self.new {
            "NEW itself"
        } else {
            "a copy of another"
        };
        named.to_owned()
    }

    fn why_not(&self, run: &Run) -> Option<String> {
        match check_suite(&self.base, run) {
            Err(CompareError::Suites { .. }) => return Some("of another suite".to_owned()),
            Err(CompareError::Imported { .. }) => return Some(format!("of another kind ({CAVEAT})")),
            Err(_) => return Some("relative to another environment".to_owned()),
            Ok(()) => {}
        }
        if !run.plan.profile.verdicts && run.imported.is_none() {
            return Some(format!("of the profile `{}`, which gives no verdicts", run.plan.profile.name));
        }
        let aspects: BTreeSet<_> = difference::differences(&self.base, run).into_iter().map(|one| one.aspect).collect();
        let names: Vec<String> = aspects.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| format!("under other conditions ({})", names.join(", ")))
    }

    /// The means of the runs that have this one.
    pub(super) fn means(&self, workload: &str, environment: &str, metric: &str) -> Vec<RunMean> {
        let key = (workload.to_owned(), environment.to_owned(), metric.to_owned());
        self.runs.iter().filter_map(|means| means.get(&key).copied()).collect()
    }

    /// `23 earlier runs; 3 left out: 2 under other conditions (kernel), 1 NEW itself`.
    pub(super) fn said(&self) -> String {
        let count = self.runs.len();
        let said = format!("the history has {count} earlier run{} of this series", crate::sentence::plural(count));
        let left_out: usize = self.left_out.values().sum();
        if left_out == 0 {
            return said;
        }
        let reasons: Vec<String> = self.left_out.iter().map(|(why, count)| format!("{count} {why}")).collect();
        format!("{said}; {left_out} left out: {}", reasons.join(", "))
    }
}
