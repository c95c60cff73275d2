//! From values to rows: what has a partner, its effect, its verdict under the policy.

use std::collections::BTreeSet;

use super::family::{adjust, first_verdict};
use super::partners::About;
use super::sample::{self, Measured, Sample};
use super::spread::Spreads;
use super::{History, Judged, LEAST_RUNS_FOR_ABSOLUTES, Method, Part, Quantity, Sides, Unmatched, accelerator};
use crate::analysis::{self, Distribution, LEAST_BLOCKS};
use crate::between::{self, LEAST_BLOCKS_A_RUN, RunMean, Spread};
use crate::host;
use crate::judge::{self, Said, WhyNot};
use crate::metric::{self, Metric};
use crate::patterns::PairModes;
use crate::policy::Policy;
use crate::record::{Accelerator, Profile, Workload};
use crate::statistics::{Effect, Interval, geometric_mean, logs};

/// One side with what is shown of it.
pub(super) struct Side<'a> {
    pub(super) runs: Vec<Measured<'a>>,
    distributions: Vec<Distribution>,
}

impl<'a> Side<'a> {
    fn of(records: &'a [crate::store::Record]) -> Side<'a> {
        let distributions = analysis::distributions(records);
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
        let merged = crate::percentiles::percentile(metric, || {
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
    /// Between two runs; absent where the run or the pair is what is replicated.
    spreads: Option<Spreads<'a>>,
    /// Of two environments of one run.
    modes: Option<PairModes>,
}

/// All rows, and what has no partner; no row where nothing has one.
pub(super) fn judge(sides: Sides<'_>, policy: &Policy, history: Option<&History>) -> (Vec<Judged>, Vec<Unmatched>) {
    let base = Side::of(sides.base_runs());
    let new = match sides {
        Sides::Runs { new, .. } => Some(Side::of(new)),
        Sides::Environments { .. } => None,
    };
    let spreads = match (&base.runs[..], new.as_ref().map(|new| &new.runs[..])) {
        ([base], Some([new])) => Some(Spreads::of(base, new, history)),
        _ => None,
    };
    let modes = match (sides, &base.runs[..]) {
        (Sides::Environments { base, new, .. }, [run]) => Some(PairModes::of(run.record, &run.values, (base, new))),
        _ => None,
    };
    let case = Case { sides, policy, base, new, spreads, modes };
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

    /// Each once.
    fn all_runs(&self) -> impl Iterator<Item = &Measured<'a>> {
        self.base.runs.iter().chain(self.new.iter().flat_map(|new| &new.runs))
    }

    fn sample(&self, about: &About<'_>, environment: &str) -> Sample {
        let (workload, metric) = (about.workload.name.as_str(), about.metric.name);
        match (self.sides, about.quantity) {
            (Sides::Environments { base, .. }, _) => Sample {
                base: Vec::new(),
                new: sample::paired(&self.base.runs, (workload, metric), (base, environment)),
                fit: sample::paired_fit(&self.base.runs, (workload, metric), (base, environment)),
            },
            (_, Quantity::Absolute) => sample::absolute(self.runs(), (workload, environment, metric)),
            _ => sample::overhead(self.runs(), (workload, environment, metric)),
        }
    }

    /// NEW over BASE of a sample of an environment, and the between-run spread that is in its error.
    fn effect(&self, about: &About<'_>, environment: &str, sample: &Sample) -> (Option<Effect>, Option<Spread>) {
        let spreads = self.spreads.as_ref().filter(|_| about.quantity == Quantity::Overhead);
        if let Some(spread) = spreads.map(|spreads| spreads.of_row(about.workload, environment, about.metric.name)) {
            let sides = RunMean::of(&sample.new).zip(RunMean::of(&sample.base));
            return (sides.and_then(|(new, base)| between::effect(&[new], &[base], &spread)), Some(spread));
        }
        let effect = match self.sides {
            Sides::Environments { .. } => sample.fit.map(|fit| fit.effect),
            Sides::Runs { .. } => Effect::welch(&sample.new, &sample.base),
        };
        (effect, None)
    }

    /// The control's change: what no change looks like. Within one run, the control against the reference.
    fn noise_floor(&self, about: &About<'_>) -> Option<Interval> {
        if about.quantity == Quantity::Absolute {
            return None;
        }
        let plan = &self.base.runs.first()?.record.run.plan;
        let control = plan.control.as_deref()?;
        let is_refused = |run: &Measured<'_>| {
            run.values.is_refused(&about.workload.name, [control, &*plan.reference], about.metric.name)
        };
        if self.all_runs().any(is_refused) {
            return None;
        }
        match self.sides {
            Sides::Environments { .. } => {
                let what = (about.workload.name.as_str(), about.metric.name);
                sample::paired_fit(&self.base.runs, what, (&plan.reference, control))?.effect.interval()
            }
            Sides::Runs { .. } => self.effect(about, control, &self.sample(about, control)).0?.interval(),
        }
    }

    fn row(&self, about: &About<'_>) -> Judged {
        let (workload, environment, metric) = (about.workload, about.environment, about.metric);
        let mut sample = self.sample(about, environment);
        if about.lacking.is_some() {
            (sample.new, sample.fit) = (Vec::new(), None);
        }
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
            || (!self.is_imported() && self.why_not_judged().is_some());
        // That NEW lacks it needs no number of a guest.
        let decides = (!emulated || about.lacking.is_some()) && self.decides(about);
        let broken = if decides && !self.is_imported() { self.broken(about, &sample) } else { None };
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
            ratio: ratio(&sample, self.sides),
            interval: None,
            degrees_of_freedom: None,
            between: None,
            margin,
            p: None,
            p_holm: None,
            smallest_alarm: None,
            noise_floor: self.noise_floor(about),
            verdict: None,
            confirmations: Vec::new(),
            fresh_values: Vec::new(),
            ignored: self.policy.ignored(&workload.name, environment, metric.name).filter(|_| decides).cloned(),
            sentence: String::new(),
            base_values: sample.base.clone(),
            new_values: sample.new.clone(),
        };
        let (effect, spread) = self.effect(about, environment, &sample);
        row.measure(effect, spread);
        let said = self.said(about, &row, &sample, broken);
        first_verdict(&mut row, said, metric);
        row
    }

    /// What is said of a row by itself. `broken`: that it has too few values, since trials failed or NEW lacks them.
    fn said(&self, about: &About<'_>, row: &Judged, sample: &Sample, broken: Option<String>) -> Said {
        let conditions = broken.or_else(|| self.conditions(row)).or_else(|| self.refused(about));
        let rule = (row.margin, row.better);
        match self.sides {
            Sides::Environments { .. } => {
                let modes = self.modes.as_ref().and_then(|modes| modes.of_row(&about.workload.name, about.metric.name));
                judge::paired((&sample.new, sample.fit), self.unit(row.quantity).0, (conditions, modes), rule).1
            }
            Sides::Runs { .. } => {
                let why_not = conditions.map(WhyNot::Withheld).or_else(|| self.why_not(row, sample));
                Said::of(row.interval, why_not, rule)
            }
        }
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
        // Of imported runs nothing is judged, and most have nothing but absolutes.
        let enough =
            self.base.runs.len().min(self.new_side().runs.len()) >= LEAST_RUNS_FOR_ABSOLUTES || self.is_imported();
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

    /// How many of them a side a verdict needs.
    pub(super) fn least(&self, quantity: Quantity) -> usize {
        match &self.spreads {
            Some(_) if quantity == Quantity::Overhead => LEAST_BLOCKS_A_RUN,
            _ => LEAST_BLOCKS,
        }
    }

    /// The profiles of all runs.
    pub(super) fn profiles(&self) -> impl Iterator<Item = &'a Profile> {
        self.sides.base_runs().iter().chain(self.sides.new_runs()).map(|record| &record.run.plan.profile)
    }

    /// Why nothing of one of the runs is judged.
    fn why_not_judged(&self) -> Option<&'static str> {
        let mut runs = self.sides.base_runs().iter().chain(self.sides.new_runs());
        runs.find_map(|record| host::why_not_judged(&record.run))
    }

    fn is_imported(&self) -> bool {
        let mut runs = self.sides.base_runs().iter().chain(self.sides.new_runs());
        runs.any(|record| record.run.imported.is_some())
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

    /// Why nothing that was measured so is judged.
    fn conditions(&self, row: &Judged) -> Option<String> {
        if let Some(why) = self.why_not_judged() {
            return Some(why.to_owned());
        }
        if row.emulated {
            return Some(host::EMULATED_GUEST.to_owned());
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
        None
    }

    /// Why a percentile is not judged: blocks that do not bear it.
    fn refused(&self, about: &About<'_>) -> Option<String> {
        let other = match (self.sides, about.quantity) {
            (Sides::Environments { base, .. }, _) => base,
            (_, quantity) => self.divisor(quantity).unwrap_or(about.environment),
        };
        let sides = [about.environment, other];
        self.all_runs().find_map(|run| run.values.why_refused(&about.workload.name, sides, about.metric.name))
    }

    /// Why two runs, or sets of them, cannot be told.
    fn why_not(&self, row: &Judged, sample: &Sample) -> Option<WhyNot> {
        if logs(&sample.base).is_none() || logs(&sample.new).is_none() {
            return Some(WhyNot::NoRatio);
        }
        match sample.base.len().min(sample.new.len()) {
            0 => Some(WhyNot::Withheld("no valid value on a side".to_owned())),
            count => {
                let needed = (self.unit(row.quantity).0, self.least(row.quantity));
                row.too_few(count, needed).map(WhyNot::Withheld)
            }
        }
    }
}

/// The ratio where there are too few values for an interval.
fn ratio(sample: &Sample, sides: Sides<'_>) -> Option<f64> {
    let new = geometric_mean(&sample.new)?;
    match sides {
        Sides::Environments { .. } => Some(new),
        Sides::Runs { .. } => Some(new / geometric_mean(&sample.base)?),
    }
}
