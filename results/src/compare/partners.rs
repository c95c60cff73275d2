//! What is compared with what: each workload in each environment, and what has no partner on the other side.

use super::rows::{Case, Side};
use super::{Quantity, Sides, Unmatched, accelerator};
use crate::metric::{self, Metric};
use crate::record::Workload;

/// What a row is about.
pub(super) struct About<'a> {
    pub(super) workload: &'a Workload,
    pub(super) environment: &'a str,
    pub(super) metric: &'static Metric,
    pub(super) quantity: Quantity,
    /// What NEW lacks for it, in words; such a row cannot be judged, and fails where it decides.
    pub(super) lacking: Option<String>,
}

/// An environment to compare in.
struct Place<'a> {
    name: &'a str,
    is_reference: bool,
    /// False where only BASE has it.
    is_in_new: bool,
}

impl<'a> Case<'a> {
    /// What is to be compared, and what has no partner.
    pub(super) fn abouts(&self) -> (Vec<About<'a>>, Vec<Unmatched>) {
        let mut unmatched = Vec::new();
        let (workloads, of_new) = (self.base.workloads(), self.new_side().workloads());
        let is_among = |all: &[&Workload], one: &Workload| all.iter().any(|other| other.name == one.name);
        let lost = workloads.iter().filter(|workload| !is_among(&of_new, workload));
        unmatched.extend(lost.map(|workload| only("workload", &workload.name, "BASE")));
        let added = of_new.iter().filter(|workload| !is_among(&workloads, workload));
        unmatched.extend(added.map(|workload| only("workload", &workload.name, "NEW")));
        let places = self.places(&mut unmatched);
        let is_alone = places.iter().all(|place| place.is_reference);
        let mut abouts = Vec::new();
        for workload in workloads {
            for place in &places {
                let lacking = match (is_among(&of_new, workload), place.is_in_new) {
                    (false, _) => Some(format!("NEW has no workload {}", workload.name)),
                    (true, false) => Some(self.gone(place.name)),
                    (true, true) => match self.executed_by(workload, place.name) {
                        (false, false) => continue,
                        (true, true) => None,
                        (true, false) if self.is_pair() => {
                            unmatched.push(only("workload", &workload.name, "BASE"));
                            continue;
                        }
                        (true, false) => Some(format!("NEW does not execute {} in {}", workload.name, place.name)),
                        (false, true) => {
                            let what = format!("{} in {}", workload.name, place.name);
                            unmatched.push(only("workload", &what, "NEW"));
                            continue;
                        }
                    },
                };
                abouts.extend(match lacking {
                    None => self.of_cell(workload, place),
                    Some(lacking) => self.of_lost_cell(workload, place, is_alone, &lacking),
                });
            }
        }
        (abouts, unmatched)
    }

    /// That NEW lacks an environment, and why where its run says so.
    fn gone(&self, environment: &str) -> String {
        let mut left_out = self.new_side().runs.iter().flat_map(|run| &run.record.run.left_out);
        let why = left_out.find(|left_out| left_out.environment == environment);
        let why = why.map_or(String::new(), |left_out| format!(": it was left out ({})", left_out.reason));
        format!("NEW has no environment {environment}{why}")
    }

    /// Two environments of the same runs: what is executed in one of them alone is so by the suite, and no change.
    fn is_pair(&self) -> bool {
        matches!(self.sides, Sides::Environments { .. })
    }

    /// Whether BASE and NEW execute the workload in this environment, or each in its own of a pair, by their plans.
    fn executed_by(&self, workload: &Workload, environment: &str) -> (bool, bool) {
        let of_base = match self.sides {
            Sides::Environments { base, .. } => base,
            Sides::Runs { .. } => environment,
        };
        let by = |side: &Side<'_>, environment| {
            let plans = side.runs.iter().flat_map(|run| &run.record.run.plan.workloads);
            plans.filter(|planned| planned.name == workload.name).any(|planned| planned.runs_in(environment))
        };
        (by(&self.base, of_base), by(self.new_side(), environment))
    }

    /// The environments to compare in: those of BASE, but not KVM with emulation.
    fn places(&self, unmatched: &mut Vec<Unmatched>) -> Vec<Place<'a>> {
        if let Sides::Environments { new, .. } = self.sides {
            return vec![Place { name: new, is_reference: false, is_in_new: true }];
        }
        let (base, new) = (self.base.environments(), self.new_side().environments());
        unmatched.extend(new.iter().filter(|name| !base.contains(name)).map(|name| only("environment", name, "NEW")));
        let mut places = Vec::new();
        for name in base {
            let accelerator = |side: &Side<'_>| side.runs.iter().find_map(|run| accelerator(&run.record.run, name));
            let is_in_new = new.contains(&name);
            if is_in_new && accelerator(&self.base) != accelerator(self.new_side()) {
                let reason = "KVM on one side and TCG emulation on the other: never compared".to_owned();
                unmatched.push(Unmatched { what: format!("environment {name}"), reason });
                continue;
            }
            if !is_in_new {
                unmatched.push(only("environment", name, "BASE"));
            }
            let is_reference = self.base.runs.iter().any(|run| run.record.run.plan.reference == name);
            places.push(Place { name, is_reference, is_in_new });
        }
        places
    }

    /// The rows of a workload in an environment: all metrics of either side, and what must decide.
    fn of_cell(&self, workload: &'a Workload, place: &Place<'a>) -> Vec<About<'a>> {
        let measured = |side: &Side<'_>| side.metrics(&workload.name, place.name);
        let (base, new) = (measured(&self.base), measured(self.new_side()));
        let is_wanted =
            |metric: &&Metric| metric.name == workload.deciding || base.contains(metric) || new.contains(metric);
        let quantities: &[Quantity] = match (self.sides, place.is_reference) {
            (Sides::Environments { .. }, _) => &[Quantity::Pair],
            (Sides::Runs { .. }, true) => &[Quantity::Absolute],
            (Sides::Runs { .. }, false) => &[Quantity::Overhead, Quantity::Absolute],
        };
        let about = |metric, quantity| About { workload, environment: place.name, metric, quantity, lacking: None };
        let metrics = metric::METRICS.iter().filter(is_wanted);
        metrics.flat_map(|metric| quantities.iter().map(move |&quantity| about(metric, quantity))).collect()
    }

    /// The rows that NEW lacks: one for each metric that would decide. Where the reference is alone, its absolute values stand for
    /// the workload.
    fn of_lost_cell(&self, workload: &'a Workload, place: &Place<'a>, is_alone: bool, lacking: &str) -> Vec<About<'a>> {
        let quantity = match (place.is_reference, is_alone) {
            (false, _) => Quantity::Overhead,
            (true, true) => Quantity::Absolute,
            (true, false) => return Vec::new(),
        };
        let base = self.base.metrics(&workload.name, place.name);
        let is_wanted = |metric: &&Metric| {
            let by_suite = metric.name == workload.deciding;
            (by_suite || base.contains(metric)) && self.policy.decides(&workload.name, metric.name, by_suite)
        };
        let about =
            |metric| About { workload, environment: place.name, metric, quantity, lacking: Some(lacking.to_owned()) };
        metric::METRICS.iter().filter(is_wanted).map(about).collect()
    }
}

fn only(what: &str, name: &str, side: &str) -> Unmatched {
    Unmatched { what: format!("{what} {name}"), reason: format!("only in {side}") }
}
