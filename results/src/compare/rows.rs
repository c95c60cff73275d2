//! From values to rows: what has a partner, its effect, its verdict under the policy.

use std::collections::BTreeSet;

use super::partners::About;
use super::sample::{self, Measured, Sample};
use super::{Judged, LEAST_RUNS_FOR_ABSOLUTES, Method, Part, Quantity, Sides, Unmatched, accelerator};
use crate::analysis::{self, Distribution, LEAST_BLOCKS, loss};
use crate::host;
use crate::metric::{self, Direction, Metric};
use crate::policy::Policy;
use crate::record::{Accelerator, Profile, Workload};
use crate::sentence;
use crate::statistics::{Effect, Interval, TAIL, geometric_mean, holm, logs};
use crate::verdict::{Verdict, decide, edges};

/// One side with what is shown of it.
pub(super) struct Side<'a> {
    pub(super) runs: Vec<Measured<'a>>,
    distributions: Vec<Distribution>,
}

impl<'a> Side<'a> {
    fn of(records: &'a [crate::store::Record]) -> Side<'a> {
        let distributions = analysis::distributions(records.iter().flat_map(|record| &record.trials));
        Side { runs: Measured::all(records), distributions }
    }

    /// Planned workloads by name, in the order of the first run that has them.
    pub(super) fn workloads(&self) -> Vec<&'a Workload> {
        let mut all: Vec<&Workload> = Vec::new();
        for workload in self.runs.iter().flat_map(|run| &run.record.run.plan.workloads) {
            if !all.iter().any(|known| known.name == workload.name) {
                all.push(workload);
            }
        }
        all
    }

    /// Names of all environments but controls.
    pub(super) fn environments(&self) -> Vec<&'a str> {
        let mut all = Vec::new();
        for run in self.runs.iter().map(|run| &run.record.run) {
            for name in run.environments.iter().map(|environment| environment.name.as_str()) {
                if run.plan.control.as_deref() != Some(name) && !all.contains(&name) {
                    all.push(name);
                }
            }
        }
        all
    }

    fn is_emulated(&self, environment: &str) -> bool {
        self.runs.iter().any(|run| accelerator(&run.record.run, environment) == Some(Accelerator::Tcg))
    }

    pub(super) fn metrics(&self, workload: &str, environment: &str) -> Vec<&'static Metric> {
        let has = |metric: &&Metric| {
            self.runs.iter().any(|run| !run.values.get(workload, environment, metric.name).is_empty())
        };
        metric::METRICS.iter().filter(has).collect()
    }

    /// What to show: the mean over all blocks, or all that the other environment has as well; for a percentile, the one of the
    /// merged histogram.
    fn mean(&self, (workload, metric): (&str, &str), environment: &str, paired_with: Option<&str>) -> Option<f64> {
        let merged = analysis::percentile(metric, || {
            analysis::distributions_of(&self.distributions, workload, environment).iter()
        });
        let values = self.runs.iter().flat_map(|run| {
            let others = paired_with.map(|other| run.values.get(workload, other, metric));
            let others: Option<BTreeSet<u32>> = others.map(|others| others.iter().map(|&(block, _)| block).collect());
            let is_paired = move |block| others.as_ref().is_none_or(|others| others.contains(&block));
            run.values.get(workload, environment, metric).iter().filter(move |&&(block, _)| is_paired(block))
        });
        merged.or_else(|| analysis::mean(values))
    }
}

/// Both sides and what they are judged by.
pub(super) struct Case<'a> {
    pub(super) sides: Sides<'a>,
    pub(super) policy: &'a Policy,
    pub(super) base: Side<'a>,
    /// Absent for two environments of the same runs.
    new: Option<Side<'a>>,
}

/// All rows, and what has no partner; no row where nothing has one.
pub(super) fn judge(sides: Sides<'_>, policy: &Policy) -> (Vec<Judged>, Vec<Unmatched>) {
    let new = match sides {
        Sides::Runs { new, .. } => Some(Side::of(new)),
        Sides::Environments { .. } => None,
    };
    let case = Case { sides, policy, base: Side::of(sides.base_runs()), new };
    let (abouts, unmatched) = case.abouts();
    if abouts.iter().all(|about| about.lacking.is_some()) {
        return (Vec::new(), unmatched);
    }
    let mut rows: Vec<Judged> = abouts.iter().map(|about| case.row(about)).collect();
    adjust(&mut rows, policy);
    (rows, unmatched)
}

impl<'a> Case<'a> {
    pub(super) fn new_side(&self) -> &Side<'a> {
        self.new.as_ref().unwrap_or(&self.base)
    }

    fn runs(&self) -> (&[Measured<'a>], &[Measured<'a>]) {
        (&self.base.runs, &self.new_side().runs)
    }

    fn sample(&self, about: &About<'_>, environment: &str) -> Sample {
        let (workload, metric) = (about.workload.name.as_str(), about.metric.name);
        match (self.sides, about.quantity) {
            (Sides::Environments { base, .. }, _) => Sample {
                base: Vec::new(),
                new: sample::paired(&self.base.runs, (workload, metric), (base, environment)),
            },
            (_, Quantity::Absolute) => sample::absolute(self.runs(), (workload, environment, metric)),
            _ => sample::overhead(self.runs(), (workload, environment, metric)),
        }
    }

    fn effect(&self, about: &About<'_>, environment: &str, sample: &Sample) -> Option<Effect> {
        match self.sides {
            Sides::Environments { .. } if sample.new.is_empty() => None,
            Sides::Environments { base, .. } => {
                let what = (about.workload.name.as_str(), about.metric.name);
                sample::paired_effect(&self.base.runs, what, (base, environment))
            }
            Sides::Runs { .. } => Effect::welch(&sample.new, &sample.base),
        }
    }

    /// The control's change: what no change looks like. Within one run, the control against the reference.
    fn noise_floor(&self, about: &About<'_>) -> Option<Interval> {
        if about.quantity == Quantity::Absolute {
            return None;
        }
        let plan = &self.base.runs.first()?.record.run.plan;
        let control = plan.control.as_deref()?;
        match self.sides {
            Sides::Environments { .. } => {
                let what = (about.workload.name.as_str(), about.metric.name);
                sample::paired_effect(&self.base.runs, what, (&plan.reference, control))?.interval()
            }
            Sides::Runs { .. } => self.effect(about, control, &self.sample(about, control))?.interval(),
        }
    }

    fn row(&self, about: &About<'_>) -> Judged {
        let (workload, environment, metric) = (about.workload, about.environment, about.metric);
        let mut sample = self.sample(about, environment);
        if about.lacking.is_some() {
            sample.new.clear();
        }
        let effect = self.effect(about, environment, &sample).filter(|effect| effect.interval().is_some());
        let by_profile = self.profiles().next().map_or(0.1, |profile| profile.margin);
        let margin = self.policy.margin(&workload.name, metric.name, by_profile);
        let base_environment = match self.sides {
            Sides::Environments { base, .. } => base,
            Sides::Runs { .. } => environment,
        };
        let (base_mean, new_mean) = self.means(about, base_environment);
        // What an overhead is divided by counts as a side, too.
        let reference = self.divisor(about.quantity);
        let is_emulated = |name: &str| self.base.is_emulated(name) || self.new_side().is_emulated(name);
        let emulated = [Some(environment), Some(base_environment), reference].into_iter().flatten().any(is_emulated)
            || self.on_emulated_machine().is_some();
        // That NEW lacks it needs no number of a guest.
        let decides = (!emulated || about.lacking.is_some()) && self.decides(about);
        let broken = if decides { self.broken(about, &sample) } else { None };
        let mut row = Judged {
            workload: workload.name.clone(),
            environment: environment.to_owned(),
            metric: metric.name.to_owned(),
            unit: metric.unit,
            better: metric.better,
            quantity: about.quantity,
            part: match (&broken, decides) {
                (_, false) => Part::Informs,
                (None, true) => Part::Undecided,
                (Some(_), true) => Part::Broken,
            },
            emulated,
            base_mean,
            new_mean,
            ratio: effect.map(|effect| effect.ratio).or_else(|| ratio(&sample, self.sides)),
            interval: effect.and_then(|effect| effect.interval()),
            degrees_of_freedom: effect.map(|effect| effect.freedom),
            margin,
            p: effect.and_then(|effect| p_beyond(&effect, margin)),
            p_holm: None,
            smallest_alarm: None,
            noise_floor: self.noise_floor(about),
            verdict: None,
            confirmations: Vec::new(),
            ignored: self.policy.ignored(&workload.name, environment, metric.name).filter(|_| decides).cloned(),
            sentence: String::new(),
            base_values: sample.base.clone(),
            new_values: sample.new.clone(),
        };
        let why_not = broken.or_else(|| self.why_not(&row, &sample));
        first_verdict(&mut row, why_not, metric);
        row
    }

    /// Of both sides; where blocks are paired, over the pairs.
    fn means(&self, about: &About<'_>, base: &str) -> (Option<f64>, Option<f64>) {
        let what = (about.workload.name.as_str(), about.metric.name);
        let paired = matches!(self.sides, Sides::Environments { .. });
        let base_mean = self.base.mean(what, base, paired.then_some(about.environment));
        (base_mean, self.new_side().mean(what, about.environment, paired.then_some(base)))
    }

    fn decides(&self, about: &About<'_>) -> bool {
        let (workload, metric) = (about.workload, about.metric.name);
        let enough = self.base.runs.len().min(self.new_side().runs.len()) >= LEAST_RUNS_FOR_ABSOLUTES;
        self.policy.decides(&workload.name, metric, workload.deciding == metric)
            && (about.quantity != Quantity::Absolute || enough || about.lacking.is_some())
    }

    /// The environment that values of this kind are divided by.
    pub(super) fn divisor(&self, quantity: Quantity) -> Option<&'a str> {
        let plan = &self.base.runs.first()?.record.run.plan;
        (quantity == Quantity::Overhead).then_some(plan.reference.as_str())
    }

    /// The unit of replication of a row, and whether it is the run.
    pub(super) fn unit(&self, quantity: Quantity) -> (&'static str, bool) {
        let unit = if quantity == Quantity::Absolute { "run" } else { Method::of(self.sides).unit() };
        (unit, unit == "run")
    }

    /// The profiles of all runs.
    pub(super) fn profiles(&self) -> impl Iterator<Item = &'a Profile> {
        self.sides.base_runs().iter().chain(self.sides.new_runs()).map(|record| &record.run.plan.profile)
    }

    /// Why nothing of a run on an emulated machine is judged.
    fn on_emulated_machine(&self) -> Option<&'static str> {
        let mut runs = self.sides.base_runs().iter().chain(self.sides.new_runs());
        runs.find_map(|record| host::why_not_judged(&record.run))
    }

    /// Why a command's two sides are not comparable within one run: in each, they must work on the same storage.
    fn other_storage(&self, row: &Judged) -> Option<String> {
        if row.quantity == Quantity::Absolute {
            return None;
        }
        let runs = self.sides.base_runs().iter().chain(self.sides.new_runs()).map(|record| &record.run);
        let mut found = runs.filter_map(|run| {
            let environment = |name: &str| run.environments.iter().find(|environment| environment.name == name);
            let divided_by = match self.sides {
                Sides::Environments { base, .. } => base,
                Sides::Runs { .. } => &run.plan.reference,
            };
            let workload = run.plan.workloads.iter().find(|workload| workload.name == row.workload)?;
            crate::work::other_storage(workload, environment(&row.environment)?, environment(divided_by)?)
        });
        found.next()
    }

    /// Why nothing can be tested.
    fn why_not(&self, row: &Judged, sample: &Sample) -> Option<String> {
        if let Some(why) = self.on_emulated_machine() {
            return Some(why.to_owned());
        }
        if row.emulated {
            return Some("emulated: says nothing about KVM".to_owned());
        }
        if let Some(why) = self.other_storage(row) {
            return Some(why);
        }
        if let Some(profile) = self.profiles().find(|profile| !profile.verdicts) {
            return Some(format!("the profile `{}` gives no verdicts", profile.name));
        }
        if row.quantity == Quantity::Absolute && !row.decides() && row.interval.is_none() {
            return Some("informs: one run a side shares its hour with everything in it".to_owned());
        }
        if logs(&sample.base).is_none() || logs(&sample.new).is_none() {
            return Some("a value is not above 0, and has no ratio".to_owned());
        }
        let count = match self.sides {
            Sides::Environments { .. } => sample.new.len(),
            Sides::Runs { .. } => sample.base.len().min(sample.new.len()),
        };
        if count == 0 {
            return Some("no valid value on a side".to_owned());
        }
        let (unit, _) = self.unit(row.quantity);
        let too_few = format!("{count} of the {LEAST_BLOCKS} {unit}s a side that a verdict needs");
        (count < LEAST_BLOCKS || row.interval.is_none()).then_some(too_few)
    }
}

/// The verdict before any adjustment, and its sentence; `why_not`: why there is none.
fn first_verdict(row: &mut Judged, why_not: Option<String>, metric: &Metric) {
    let by = row.ratio.map(|ratio| sentence::by(ratio, metric));
    if why_not.is_some() {
        row.p = None;
        row.verdict = (row.decides() && row.part != Part::Broken).then_some(Verdict::Inconclusive);
    } else if let (Some(ratio), Some(interval)) = (row.ratio, row.interval) {
        let verdict = decide(interval, row.margin, row.better);
        row.verdict = Some(verdict);
        row.sentence = sentence::judged(ratio, interval, verdict, row.margin, metric);
        return;
    }
    row.sentence = [by, why_not].into_iter().flatten().collect::<Vec<_>>().join("; ");
}

/// The ratio where there are too few values for an interval.
fn ratio(sample: &Sample, sides: Sides<'_>) -> Option<f64> {
    let new = geometric_mean(&sample.new)?;
    match sides {
        Sides::Environments { .. } => Some(new),
        Sides::Runs { .. } => Some(new / geometric_mean(&sample.base)?),
    }
}

/// One-sided p of "not beyond the margin", on the side on which the ratio is.
fn p_beyond(effect: &Effect, margin: f64) -> Option<f64> {
    let edges = edges(margin);
    if effect.ratio >= 1.0 { effect.p_above(edges.high) } else { effect.p_below(edges.low) }
}

/// Holm over all deciding rows that could be tested, and what each does to the outcome.
///
/// Only alarms are adjusted: one false `worse` among many tests fails the gate, so that the family counts. `equivalent` needs
/// no adjustment, since the gate passes only if every row passes.
fn adjust(rows: &mut [Judged], policy: &Policy) {
    let is_tested = |row: &Judged| row.decides() && row.ignored.is_none() && row.p.is_some();
    let tested: Vec<usize> = (0..rows.len()).filter(|&at| is_tested(&rows[at])).collect();
    let p: Vec<f64> = tested.iter().filter_map(|&at| rows[at].p).collect();
    for (&at, adjusted) in tested.iter().zip(holm(&p)) {
        let row = &mut rows[at];
        row.p_holm = Some(adjusted);
        row.smallest_alarm = smallest_alarm(row, tested.len());
        let is_alarm = matches!(row.verdict, Some(Verdict::Worse | Verdict::Better));
        if is_alarm && adjusted >= TAIL {
            row.verdict = Some(Verdict::Inconclusive);
            let by = row.ratio.zip(metric::find(&row.metric)).map(|(ratio, metric)| sentence::by(ratio, metric));
            row.sentence = format!(
                "{}; beyond the margin by itself, not as one of {} tests",
                by.unwrap_or_default(),
                tested.len()
            );
        }
        if let (Some(Verdict::Inconclusive), Some(alarm)) = (row.verdict, row.smallest_alarm) {
            row.sentence.push_str(&format!("; an alarm would have needed {}", sentence::percent(alarm)));
        }
    }
    for row in rows.iter_mut().filter(|row| row.decides()) {
        row.part = match row.verdict {
            _ if row.ignored.is_some() => Part::Ignored,
            _ if row.part == Part::Broken => Part::Broken,
            Some(verdict) if policy.fail_on.contains(&verdict) => Part::Fails,
            Some(Verdict::Inconclusive) | None => Part::Undecided,
            Some(_) => Part::Passes,
        };
    }
}

/// The smallest loss that would have been called `worse`, were all tests but this one far from any alarm.
fn smallest_alarm(row: &Judged, tests: usize) -> Option<f64> {
    // The interval is symmetric on the log scale: its half is the standard error times its quantile.
    let (interval, freedom) = (row.interval?, row.degrees_of_freedom?);
    let error_reach = (interval.high / interval.low).ln() / 2.0;
    let unit = Effect { ratio: 1.0, error: 1.0, freedom };
    let reach = error_reach / unit.reach(TAIL)? * unit.reach(TAIL / tests as f64)?;
    let ratio = (1.0 + row.margin) * reach.exp();
    Some(match row.better {
        Direction::Higher => loss(1.0 / ratio, row.better),
        Direction::Lower => loss(ratio, row.better),
    })
}
