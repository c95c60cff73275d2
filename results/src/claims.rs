//! The claims of the paper and of articles that cite it, judged by a record.

use serde::Serialize;

use crate::analysis::LEAST_BLOCKS;
use crate::host;
use crate::isolation::{Isolation, Outcome as Tried};
use crate::judge::{self, WhyNot};
use crate::metric;
use crate::order::Places;
use crate::paper::{Claim, Predicate, paper};
use crate::patterns::{Mode, PairModes, Pattern};
use crate::record::{Capability, Class, Environment, Trial};
use crate::statistics::Interval;
use crate::store::Record;
use crate::values::Values;

/// How a claim comes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole interval is within the claim's band, in every workload.
    Holds,
    /// The whole interval is outside of it, in at least one workload.
    DoesNotHold,
    /// Anything else.
    Inconclusive,
    /// This run cannot tell, and why.
    NotTested(String),
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Outcome::Holds => f.write_str("holds"),
            Outcome::DoesNotHold => f.write_str("does not hold"),
            Outcome::Inconclusive => f.write_str("inconclusive"),
            Outcome::NotTested(why) => write!(f, "not tested ({why})"),
        }
    }
}

/// A claim and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClaimResult {
    /// Short name.
    pub id: String,
    /// The sentence.
    pub sentence: String,
    /// `paper` or `article`.
    pub source: String,
    /// How it comes out.
    pub outcome: Outcome,
    /// The figures that it comes from.
    pub evidence: String,
}

/// Something that every claim about Docker must add: which container it was.
fn which_container(environment: &Environment) -> String {
    if Class::of_kind(&environment.kind) != Some(Class::Container) {
        let isolation = environment.sameness.get("isolation").map_or("not said how", String::as_str);
        let what = if environment.has(Capability::Docker) { "Docker itself" } else { "a container of another runtime" };
        return format!("tested with {what}, as `{}`: {isolation}", environment.name);
    }
    let has = |asked: &str| environment.definition.split(':').any(|option| option == asked);
    let filter = if has("seccomp=docker") { "Docker's seccomp profile" } else { "no seccomp" };
    let root = if has("root=overlay") { "an overlay in memory" } else { "no overlay" };
    format!("tested with bench's own container: {filter}, {root}")
}

/// A run, and what was found in it.
pub(crate) struct Evidence<'a> {
    pub record: &'a Record,
    pub values: &'a Values<'a>,
    pub places: &'a Places<'a>,
    pub patterns: &'a [Pattern],
    pub isolation: Option<&'a Isolation>,
}

pub(crate) fn judge_claims(of: &Evidence<'_>) -> Vec<ClaimResult> {
    let record = of.record;
    // They are about environments of known kinds.
    if record.run.imported.is_some() {
        return Vec::new();
    }
    let relevant = |claim: &&Claim| match &claim.predicate {
        Predicate::Ratio { workloads, .. } => {
            workloads.iter().any(|name| record.run.plan.workloads.iter().any(|workload| workload.name == *name))
        }
        Predicate::GuestMemory { .. } | Predicate::WhoseKernel => {
            record.run.environments.iter().any(|environment| environment.class() != Class::Process)
        }
        Predicate::Shared { .. } => of.isolation.is_some(),
    };
    paper().claims.iter().filter(relevant).map(|claim| judge(claim, of)).collect()
}

fn judge(claim: &Claim, of: &Evidence<'_>) -> ClaimResult {
    let record = of.record;
    let judged = || match &claim.predicate {
        Predicate::Ratio { numerator, denominator, metric, workloads, at_least, at_most } => {
            let band = Interval { low: at_least.unwrap_or(0.0), high: at_most.unwrap_or(f64::INFINITY) };
            let about = Ratio { sides: [numerator, denominator], metric, workloads, band };
            judge_ratio(&about, of)
        }
        Predicate::GuestMemory { at_least_bytes, at_most_bytes } => {
            judge_memory(record, Interval { low: *at_least_bytes, high: *at_most_bytes })
        }
        Predicate::WhoseKernel => judge_kernel(record),
        Predicate::Shared { class, probes } => judge_shared(*class, probes, of),
    };
    // Whose a resource is does not go by the clock.
    let is_timeless = matches!(claim.predicate, Predicate::Shared { .. });
    let (outcome, evidence) = on_emulated_machine(record).filter(|_| !is_timeless).unwrap_or_else(judged);
    ClaimResult {
        id: claim.id.clone(),
        sentence: claim.sentence.clone(),
        source: claim.source.clone(),
        outcome,
        evidence,
    }
}

struct Ratio<'a> {
    sides: [&'a str; 2],
    metric: &'a str,
    workloads: &'a [String],
    band: Interval,
}

/// The environment that a claim names; where no environment has that name, the first of the class of such a kind. The claims' container is
/// Docker's, so that an environment of Docker's goes first.
fn named<'a>(record: &'a Record, name: &str) -> Option<&'a Environment> {
    let control = record.run.plan.control.as_ref();
    let is_dockers = |one: &&Environment| one.has(Capability::Docker) && Some(&one.name) != control;
    if let (Some(Class::Container), Some(dockers)) =
        (Class::of_kind(name), record.run.environments.iter().find(is_dockers))
    {
        return Some(dockers);
    }
    let by_name = record.run.environments.iter().find(|environment| environment.name == name);
    by_name.or_else(|| first(record, Class::of_kind(name)?))
}

/// The first environment of a class that is not the control.
fn first(record: &Record, class: Class) -> Option<&Environment> {
    let control = record.run.plan.control.as_ref();
    record.run.environments.iter().find(|one| one.class() == class && Some(&one.name) != control)
}

/// Not tested, where the profile judges nothing.
fn no_verdicts(record: &Record) -> Option<Outcome> {
    let profile = &record.run.plan.profile;
    (!profile.verdicts).then(|| Outcome::NotTested(format!("the profile `{}` gives no verdicts", profile.name)))
}

/// Not tested, where the machine itself is emulated: no predicate is asked.
fn on_emulated_machine(record: &Record) -> Option<(Outcome, String)> {
    host::why_not_judged(&record.run).map(|why| (Outcome::NotTested(why.to_owned()), String::new()))
}

fn judge_ratio(about: &Ratio<'_>, of: &Evidence<'_>) -> (Outcome, String) {
    let record = of.record;
    let (mut names, mut container) = (Vec::new(), None);
    for side in about.sides {
        match named(record, side) {
            Some(environment) if environment.is_emulated() => {
                return (Outcome::NotTested("guest was emulated".to_owned()), String::new());
            }
            Some(environment) if environment.class() == Class::Container => {
                names.push(environment.name.as_str());
                container = container.or(Some(environment));
            }
            Some(environment) => names.push(environment.name.as_str()),
            None => return (Outcome::NotTested(format!("no {side} in this run")), String::new()),
        }
    }
    if let Some(why) = no_verdicts(record) {
        return (why, String::new());
    }
    let sides = [names[0], names[1]];
    let modes = PairModes::among(of.patterns.to_vec(), record, (of.values, of.places), (sides[1], sides[0]));
    let title = metric::find(about.metric).map_or(about.metric, |metric| metric.title);
    let (mut outcome, mut evidence) = (Outcome::Holds, Vec::new());
    for workload in about.workloads {
        let (found, said) = judge_workload(workload, (about, sides), of, &modes);
        if let Outcome::NotTested(_) = found {
            return (found, evidence.join("; "));
        }
        evidence.push(match evidence.is_empty() {
            true => format!("{title}, {} ÷ {}: {said}", sides[0], sides[1]),
            false => said,
        });
        outcome = match (outcome, found) {
            (Outcome::DoesNotHold, _) | (_, Outcome::DoesNotHold) => Outcome::DoesNotHold,
            (Outcome::Holds, Outcome::Holds) => Outcome::Holds,
            _ => Outcome::Inconclusive,
        };
    }
    evidence.extend(container.map(which_container));
    (outcome, evidence.join("; "))
}

/// A claim in one of its workloads, and the figures that it comes from.
fn judge_workload(
    workload: &str,
    (about, [above, below]): (&Ratio<'_>, [&str; 2]),
    of: &Evidence<'_>,
    modes: &PairModes,
) -> (Outcome, String) {
    if let Some(why) = of.values.why_refused(workload, [above, below], about.metric) {
        return (Outcome::NotTested(format!("{workload}: {why}")), String::new());
    }
    let pairs = of.values.pairs(workload, about.metric, above, below);
    if pairs.iter().any(|&(_, ratio)| ratio <= 0.0) {
        return (Outcome::Inconclusive, format!("{workload}: {}", WhyNot::NoRatio));
    }
    let fit = of.places.fit(workload, (above, below), &pairs);
    let Some(estimate) = judge::estimate(fit).filter(|estimate| estimate.n >= LEAST_BLOCKS) else {
        return (Outcome::NotTested(format!("too few valid blocks of {workload}")), String::new());
    };
    // No block behaves as the mean of two kinds does.
    if let Some([low, high]) = modes.of_row(workload, about.metric) {
        let point = |mode: &Mode| against(Interval { low: mode.center, high: mode.center }, about.band);
        if point(&low) != point(&high) {
            let said = format!(
                "{workload} of two kinds: near {:.2} in {} blocks, near {:.2} in {}",
                low.center, low.blocks, high.center, high.blocks
            );
            return (Outcome::Inconclusive, said);
        }
    }
    let interval = estimate.interval;
    let said = format!("{workload} {:.2} [{:.2}, {:.2}]", estimate.ratio, interval.low, interval.high);
    (against(interval, about.band), said)
}

/// How an interval lies to a band.
fn against(interval: Interval, band: Interval) -> Outcome {
    if interval.high < band.low || interval.low > band.high {
        return Outcome::DoesNotHold;
    }
    let is_within = interval.low >= band.low && interval.high <= band.high;
    if is_within { Outcome::Holds } else { Outcome::Inconclusive }
}

/// The trials of the first environment of a class.
fn trials(record: &Record, class: Class) -> impl Iterator<Item = &Trial> {
    let name = first(record, class).map(|environment| environment.name.as_str());
    record.trials.iter().filter(move |trial| Some(trial.planned.environment.as_str()) == name)
}

/// Memory of the VMM and of the guest's touched RAM when the agent was ready, once for each instance.
fn judge_memory(record: &Record, band: Interval) -> (Outcome, String) {
    let Some(environment) = first(record, Class::Vm) else {
        return (Outcome::NotTested("no vm in this run".to_owned()), String::new());
    };
    let mut by_block = std::collections::BTreeMap::new();
    for trial in trials(record, Class::Vm).filter(|trial| trial.is_valid()) {
        let instance = &trial.instance;
        if let (Some(vmm), Some(guest)) = (instance.vmm_memory_at_ready_bytes, instance.guest_memory_at_ready_bytes) {
            by_block.insert(trial.planned.block, (vmm as f64, guest as f64));
        }
    }
    if by_block.is_empty() {
        return (Outcome::NotTested("no guest's memory was recorded".to_owned()), String::new());
    }
    let mean = |of: fn(&(f64, f64)) -> f64| by_block.values().map(of).sum::<f64>() / by_block.len() as f64;
    let (vmm, guest) = (mean(|memory| memory.0), mean(|memory| memory.1));
    let evidence =
        format!("the VMM {:.0} MB and {:.0} MB of guest RAM touched when the agent was ready", vmm / 1e6, guest / 1e6);
    if environment.is_emulated() {
        // The translation buffer of TCG is in the VMM's figure.
        return (Outcome::NotTested("guest was emulated".to_owned()), evidence);
    }
    if let Some(why) = no_verdicts(record) {
        return (why, evidence);
    }
    if by_block.len() < crate::analysis::LEAST_BLOCKS {
        return (Outcome::NotTested("too few valid blocks".to_owned()), evidence);
    }
    let all = by_block.values().map(|(vmm, guest)| vmm + guest);
    let inside = all.filter(|total| (band.low..=band.high).contains(total)).count();
    let outcome = match inside {
        0 => Outcome::DoesNotHold,
        _ if inside == by_block.len() => Outcome::Holds,
        _ => Outcome::Inconclusive,
    };
    (outcome, evidence)
}

fn judge_kernel(record: &Record) -> (Outcome, String) {
    let release = |class| trials(record, class).find_map(|trial| trial.instance.kernel_release.as_deref());
    let Some(host) = record.run.fingerprint.get("kernel.release") else {
        return (Outcome::NotTested("the host's kernel was not recorded".to_owned()), String::new());
    };
    let (container, vm) = (release(Class::Container), release(Class::Vm));
    let evidence = format!(
        "host {host}; container {}; VM {}",
        container.unwrap_or("not in this run"),
        vm.unwrap_or("not in this run")
    );
    let outcome = match (container, vm) {
        (Some(release), _) if release != host => Outcome::DoesNotHold,
        (None, _) => Outcome::NotTested("no container in this run".to_owned()),
        (_, None) => Outcome::NotTested("no vm in this run".to_owned()),
        // The same release in a guest is the same file booted a second time: still a kernel of its own.
        (Some(_), Some(_)) => Outcome::Holds,
    };
    (outcome, evidence)
}

/// Probes of isolation, in every environment of a class.
fn judge_shared(class: Class, probes: &[String], of: &Evidence<'_>) -> (Outcome, String) {
    let Some(isolation) = of.isolation else {
        return (Outcome::NotTested("no probe was tried in this run".to_owned()), String::new());
    };
    let environments = &of.record.run.environments;
    let here = environments.iter().filter(|one| one.class() == class && isolation.environments.contains(&one.name));
    let (mut all, mut said) = (Vec::new(), Vec::new());
    for environment in here {
        for id in probes {
            let outcome = isolation.cell(id, &environment.name).map(|cell| &cell.outcome);
            said.push(format!("{id} in {}: {}", environment.name, outcome.map_or("not tried", Tried::text)));
            all.push(outcome);
        }
    }
    let outcome = match () {
        () if all.is_empty() => Outcome::NotTested(format!("no {} in this run", class.text())),
        () if all.iter().any(|one| matches!(one, Some(Tried::Own | Tried::Denied))) => Outcome::DoesNotHold,
        () if all.iter().all(|one| *one == Some(&Tried::Hosts)) => Outcome::Holds,
        () => Outcome::Inconclusive,
    };
    (outcome, said.join("; "))
}
