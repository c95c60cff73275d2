//! From values to rows: what has a partner, its effect, its verdict under the policy.

use super::sample::{self, Measured, Sample};
use super::{Judged, LEAST_RUNS_FOR_ABSOLUTES, Part, Quantity, Sides, Unmatched, accelerator};
use crate::analysis::{self, Distribution, LEAST_BLOCKS, loss};
use crate::metric::{self, Direction, Metric};
use crate::policy::Policy;
use crate::record::{Accelerator, Workload};
use crate::sentence;
use crate::statistics::{Effect, Interval, TAIL, geometric_mean, holm, logs};
use crate::verdict::{Verdict, decide, edges};

/// One side with what is shown of it.
struct Side<'a> {
    runs: Vec<Measured<'a>>,
    distributions: Vec<Distribution>,
}

impl<'a> Side<'a> {
    fn of(records: &'a [crate::store::Record]) -> Side<'a> {
        let distributions = analysis::distributions(records.iter().flat_map(|record| &record.trials));
        Side { runs: Measured::all(records), distributions }
    }

    /// Planned workloads by name, in the order of the first run that has them.
    fn workloads(&self) -> Vec<&'a Workload> {
        let mut all: Vec<&Workload> = Vec::new();
        for workload in self.runs.iter().flat_map(|run| &run.record.run.plan.workloads) {
            if !all.iter().any(|known| known.name == workload.name) {
                all.push(workload);
            }
        }
        all
    }

    /// Names of all environments but controls.
    fn environments(&self) -> Vec<&'a str> {
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

    fn metrics(&self, workload: &str, environment: &str) -> Vec<&'static Metric> {
        let has = |metric: &&Metric| {
            self.runs.iter().any(|run| !run.values.get(workload, environment, metric.name).is_empty())
        };
        metric::METRICS.iter().filter(has).collect()
    }

    /// What to show: the mean over all blocks, or all that the other environment has as well; for a percentile, the one of the
    /// merged histogram.
    fn mean(&self, (workload, metric): (&str, &str), environment: &str, paired_with: Option<&str>) -> Option<f64> {
        let of = |d: &&Distribution| d.workload == workload && d.environment == environment;
        let merged = analysis::percentile(metric, || self.distributions.iter().filter(of));
        let values = self.runs.iter().flat_map(|run| {
            let others = paired_with.map(|other| run.values.get(workload, other, metric));
            let is_paired = move |block| others.is_none_or(|others| others.iter().any(|&(other, _)| other == block));
            run.values.get(workload, environment, metric).iter().filter(move |&&(block, _)| is_paired(block))
        });
        merged.or_else(|| analysis::mean(values))
    }
}

/// Both sides and what they are judged by.
struct Case<'a> {
    sides: Sides<'a>,
    policy: &'a Policy,
    base: Side<'a>,
    /// Absent for two environments of the same runs.
    new: Option<Side<'a>>,
}

/// What a row is about.
struct About<'a> {
    workload: &'a Workload,
    environment: &'a str,
    metric: &'static Metric,
    quantity: Quantity,
}

/// All rows, and what has no partner.
pub(super) fn judge(sides: Sides<'_>, policy: &Policy) -> (Vec<Judged>, Vec<Unmatched>) {
    let new = match sides {
        Sides::Runs { new, .. } => Some(Side::of(new)),
        Sides::Environments { .. } => None,
    };
    let case = Case { sides, policy, base: Side::of(sides.base_runs()), new };
    let (abouts, unmatched) = case.abouts();
    let mut rows: Vec<Judged> = abouts.iter().map(|about| case.row(about)).collect();
    adjust(&mut rows, policy);
    (rows, unmatched)
}

impl<'a> Case<'a> {
    fn new_side(&self) -> &Side<'a> {
        self.new.as_ref().unwrap_or(&self.base)
    }

    fn runs(&self) -> (&[Measured<'a>], &[Measured<'a>]) {
        (&self.base.runs, &self.new_side().runs)
    }

    /// What has a partner and is measured on a side at least, and what has none.
    fn abouts(&self) -> (Vec<About<'a>>, Vec<Unmatched>) {
        let mut unmatched = Vec::new();
        let workloads = self.base.workloads();
        let of_new = self.new_side().workloads();
        let (workloads, lost): (Vec<_>, Vec<_>) =
            workloads.into_iter().partition(|workload| of_new.iter().any(|new| new.name == workload.name));
        unmatched.extend(lost.iter().map(|workload| only("workload", &workload.name, "BASE")));
        let is_new = |new: &&&Workload| !self.base.workloads().iter().any(|base| base.name == new.name);
        unmatched.extend(of_new.iter().filter(is_new).map(|workload| only("workload", &workload.name, "NEW")));
        let environments = self.environments(&mut unmatched);
        let mut abouts = Vec::new();
        for workload in workloads {
            for &(environment, is_reference) in &environments {
                abouts.extend(self.of_cell(workload, environment, is_reference));
            }
        }
        (abouts, unmatched)
    }

    /// The environments to compare, and whether they are the reference.
    fn environments(&self, unmatched: &mut Vec<Unmatched>) -> Vec<(&'a str, bool)> {
        if let Sides::Environments { new, .. } = self.sides {
            return vec![(new, false)];
        }
        let (base, new) = (self.base.environments(), self.new_side().environments());
        unmatched.extend(new.iter().filter(|name| !base.contains(name)).map(|name| only("environment", name, "NEW")));
        let mut matched = Vec::new();
        for name in base {
            let accelerator = |side: &Side<'_>| side.runs.iter().find_map(|run| accelerator(&run.record.run, name));
            if !new.contains(&name) {
                unmatched.push(only("environment", name, "BASE"));
            } else if accelerator(&self.base) != accelerator(self.new_side()) {
                let reason = "KVM on one side and TCG emulation on the other: never compared".to_owned();
                unmatched.push(Unmatched { what: format!("environment {name}"), reason });
            } else {
                matched.push((name, self.base.runs.iter().any(|run| run.record.run.plan.reference == name)));
            }
        }
        matched
    }

    /// The rows of a workload in an environment: all metrics of either side, and what must decide.
    fn of_cell(&self, workload: &'a Workload, environment: &'a str, is_reference: bool) -> Vec<About<'a>> {
        let (base, new) =
            (self.base.metrics(&workload.name, environment), self.new_side().metrics(&workload.name, environment));
        let is_wanted =
            |metric: &&Metric| metric.name == workload.deciding || base.contains(metric) || new.contains(metric);
        let quantities: &[Quantity] = match (self.sides, is_reference) {
            (Sides::Environments { .. }, _) => &[Quantity::Pair],
            (Sides::Runs { .. }, true) => &[Quantity::Absolute],
            (Sides::Runs { .. }, false) => &[Quantity::Overhead, Quantity::Absolute],
        };
        let metrics = metric::METRICS.iter().filter(is_wanted);
        metrics
            .flat_map(|metric| {
                quantities.iter().map(move |&quantity| About { workload, environment, metric, quantity })
            })
            .collect()
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

    fn effect(&self, sample: &Sample) -> Option<Effect> {
        match self.sides {
            Sides::Environments { .. } => Effect::paired(&sample.new),
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
                Effect::paired(&sample::paired(&self.base.runs, what, (&plan.reference, control)))?.interval()
            }
            Sides::Runs { .. } => self.effect(&self.sample(about, control))?.interval(),
        }
    }

    fn row(&self, about: &About<'_>) -> Judged {
        let (workload, environment, metric) = (about.workload, about.environment, about.metric);
        let sample = self.sample(about, environment);
        let effect = self.effect(&sample).filter(|effect| effect.interval().is_some());
        let plan = self.base.runs.first().map(|run| &run.record.run.plan);
        let margin = self.policy.margin(&workload.name, metric.name, plan.map_or(0.1, |plan| plan.profile.margin));
        let base_environment = match self.sides {
            Sides::Environments { base, .. } => base,
            Sides::Runs { .. } => environment,
        };
        let (base_mean, new_mean) = self.means(about, base_environment);
        // What an overhead is divided by counts as a side, too.
        let reference = plan.map(|plan| plan.reference.as_str()).filter(|_| about.quantity == Quantity::Overhead);
        let is_emulated = |name: &str| self.base.is_emulated(name) || self.new_side().is_emulated(name);
        let emulated = [Some(environment), Some(base_environment), reference].into_iter().flatten().any(is_emulated);
        let decides = !emulated && self.decides(about);
        let mut row = Judged {
            workload: workload.name.clone(),
            environment: environment.to_owned(),
            metric: metric.name.to_owned(),
            unit: metric.unit,
            better: metric.better,
            quantity: about.quantity,
            part: if decides { Part::Undecided } else { Part::Informs },
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
        self.first_verdict(&mut row, &sample, metric);
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
            && (about.quantity != Quantity::Absolute || enough)
    }

    /// The verdict before any adjustment, and its sentence.
    fn first_verdict(&self, row: &mut Judged, sample: &Sample, metric: &Metric) {
        let by = row.ratio.map(|ratio| sentence::by(ratio, metric));
        let why = self.why_not(row, sample);
        if why.is_some() {
            row.p = None;
            row.verdict = row.decides().then_some(Verdict::Inconclusive);
        } else if let (Some(ratio), Some(interval)) = (row.ratio, row.interval) {
            let verdict = decide(interval, row.margin, row.better);
            row.verdict = Some(verdict);
            row.sentence = sentence::judged(ratio, interval, verdict, row.margin, metric);
            return;
        }
        row.sentence = [by, why].into_iter().flatten().collect::<Vec<_>>().join("; ");
    }

    /// Why nothing can be tested.
    fn why_not(&self, row: &Judged, sample: &Sample) -> Option<String> {
        if row.emulated {
            return Some("emulated: says nothing about KVM".to_owned());
        }
        let profiles =
            self.sides.base_runs().iter().chain(self.sides.new_runs()).map(|record| &record.run.plan.profile);
        if let Some(profile) = profiles.into_iter().find(|profile| !profile.verdicts) {
            return Some(format!("the profile `{}` gives no verdicts", profile.name));
        }
        if row.quantity == Quantity::Absolute && !row.decides() && row.interval.is_none() {
            return Some("informs: one run a side shares its hour with everything in it".to_owned());
        }
        if logs(&sample.base).is_none() || logs(&sample.new).is_none() {
            return Some("a value is not above 0, and has no ratio".to_owned());
        }
        let unit = super::Method::of(self.sides).unit();
        let unit = if row.quantity == Quantity::Absolute { "run" } else { unit };
        let count = match self.sides {
            Sides::Environments { .. } => sample.new.len(),
            Sides::Runs { .. } => sample.base.len().min(sample.new.len()),
        };
        if count == 0 {
            return Some("no valid value on a side".to_owned());
        }
        let too_few = format!("{count} of the {LEAST_BLOCKS} {unit}s a side that a verdict needs");
        (count < LEAST_BLOCKS || row.interval.is_none()).then_some(too_few)
    }
}

fn only(what: &str, name: &str, side: &str) -> Unmatched {
    Unmatched { what: format!("{what} {name}"), reason: format!("only in {side}") }
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
