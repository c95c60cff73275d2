//! The verdict on a run itself: whether its numbers may be passed on.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::analysis::{Comparison, LEAST_BLOCKS};
use crate::consistency;
use crate::folded::{MOVED, UNACCOUNTED};
use crate::host::Host;
use crate::imported;
use crate::metric;
use crate::record::{Baseline, Break, Capability, Class, Environment, Run, State, Trial};
use crate::sentence::{percent, plural};
use crate::store::Record;
use crate::validity::{self, CHECKS, worst};
use crate::verdict::{Verdict, decide};

/// Share of trials that may fail or be invalid, and that may have the same remark.
const SHARE: f64 = 0.10;
/// Share of the trials of one workload in one environment that may have the same remark: more is no accident, but one side of
/// a comparison.
const SHARE_OF_SIDE: f64 = 0.5;
/// Share of its blocks that a comparison may lose.
const LOST_BLOCKS: f64 = 0.25;
/// The rules that an imported run is judged by.
const IMPORTED: [&str; 3] = ["imported", "consistent", "broken"];
/// Figures that every machine has: a trial without them was not watched.
const WATCHED: [&str; 2] = ["limits.broken", "host.other_cpu_percent"];

/// A run is reportable, or these are the reasons why not.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Reportable {
    /// True without reasons.
    pub reportable: bool,
    /// What speaks against it.
    pub reasons: Vec<Reason>,
    /// What does not, but limits what can be said.
    pub notes: Vec<String>,
}

/// Why a run is not reportable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Name of the rule: one of [`RULES`].
    pub rule: &'static str,
    /// In words for people.
    pub text: String,
}

/// All rules: name, and what makes a run not reportable.
pub const RULES: [(&str, &str); 17] = [
    (
        "imported",
        "others measured it with their own tools (`bench import`): no other rule but `consistent` and `broken` is asked then",
    ),
    ("emulated", "the machine's own CPU is emulated (TCG): its times say nothing"),
    (
        "consistent",
        "the record contradicts itself: a value that its own counts deny, times that run backwards, two trials with the very same \
         values (RECORD-FORMAT has them all)",
    ),
    ("profile", "the profile gives no verdicts: `smoke` exists to show that everything works"),
    ("complete", "not every planned trial was executed and recorded"),
    ("blocks", "fewer than 3 blocks were planned"),
    ("broken", "more than 10 % of the trials failed or are invalid"),
    ("pairs", "a comparison by a deciding metric lost more than a quarter of its blocks, or has fewer than 3"),
    (
        "remarks",
        "one check was remarked in more than 10 % of the trials, or in more than half of those of one workload in one environment",
    ),
    (
        "watched",
        "in more than 10 % of the trials, failed ones apart, there is no figure of the limits, or of what others did on the CPUs",
    ),
    ("judged", "a trial is said to be valid whose figures are beyond a bound"),
    (
        "baseline",
        "before the first block, or before the run went on, others took more of the CPUs than `host.other_cpu_percent` \
         allows in a trial, or moved more than 1 MB/s on the target's disk; or the record does not say what they did",
    ),
    ("control", "the whole interval of the control (A/A) is beyond the margin in a deciding metric"),
    ("cache", "a guest is faster than native in a storage workload, by more than the margin"),
    ("bytes", "in more than 10 % of the storage trials nothing but fio itself says how many bytes were moved"),
    ("tools", "an environment executed another tool than the reference"),
    ("fingerprint", "the record does not say on which CPU, kernel and tools it was measured"),
];

/// Judge a run. Emulated guests are left out: their rows are not judged anyway, and say so.
pub fn judge(record: &Record, comparisons: &[Comparison]) -> Reportable {
    let about = About { record, run: &record.run, comparisons };
    let complete = about.run.state == State::Complete;
    let mut reasons = Vec::new();
    let mut add = |rule, text: Option<String>| reasons.extend(text.map(|text| Reason { rule, text }));
    add("imported", imported::why_not_judged(about.run).map(str::to_owned));
    add("emulated", about.emulated());
    for text in consistency::doubts(about.run, &record.trials) {
        add("consistent", Some(text));
    }
    add("profile", about.profile());
    add("complete", about.complete());
    add("blocks", about.blocks());
    add("broken", about.broken());
    add("pairs", about.pairs().filter(|_| complete));
    for text in about.remarks() {
        add("remarks", Some(text));
    }
    add("watched", about.watched());
    add("judged", about.judged());
    add("baseline", about.baseline());
    add("control", about.control());
    add("cache", about.cache());
    add("bytes", about.bytes());
    add("tools", about.tools());
    add("fingerprint", about.fingerprint());
    // Of how an imported run was measured nothing is known.
    if about.run.imported.is_some() {
        reasons.retain(|reason| IMPORTED.contains(&reason.rule));
    }
    Reportable { reportable: reasons.is_empty(), reasons, notes: about.notes() }
}

struct About<'a> {
    record: &'a Record,
    run: &'a Run,
    comparisons: &'a [Comparison],
}

impl<'a> About<'a> {
    fn environment(&self, name: &str) -> Option<&'a Environment> {
        self.run.environments.iter().find(|environment| environment.name == name)
    }

    /// Trials that can make the run not reportable: those of environments that are not emulated.
    fn trials(&self) -> impl Iterator<Item = &'a Trial> {
        let real = |trial: &&Trial| {
            self.environment(&trial.planned.environment).is_none_or(|environment| !environment.is_emulated())
        };
        self.record.trials.iter().filter(real)
    }

    fn emulated(&self) -> Option<String> {
        let emulated = Host::of(self.run) == Host::Emulated;
        emulated.then(|| "the machine's own CPU is emulated: its times say nothing".to_owned())
    }

    fn profile(&self) -> Option<String> {
        let profile = &self.run.plan.profile;
        let text = || format!("a `{}` run exists to show that everything works", profile.name);
        (!profile.verdicts).then(text)
    }

    fn complete(&self) -> Option<String> {
        let (done, planned) = (self.record.trials.len(), self.run.plan.trials.len());
        let text = || format!("the run is not complete: {done} of {planned} trials are recorded");
        (self.run.state != State::Complete || done < planned).then(text)
    }

    fn blocks(&self) -> Option<String> {
        let blocks = self.run.plan.profile.blocks as usize;
        let text = || format!("it has {blocks} block{}, and needs {LEAST_BLOCKS}", plural(blocks));
        (self.run.plan.profile.verdicts && blocks < LEAST_BLOCKS).then(text)
    }

    fn broken(&self) -> Option<String> {
        let broken = self.trials().filter(|trial| !trial.is_valid()).count();
        too_many(broken, self.all()).then(|| format!("{} failed or are invalid", self.of_all(broken)))
    }

    /// Deciding comparisons that lost too many blocks, the worst of them by name.
    fn pairs(&self) -> Option<String> {
        let plan = &self.run.plan;
        let planned = plan.profile.blocks as usize;
        let least = ((1.0 - LOST_BLOCKS) * planned as f64).max(LEAST_BLOCKS as f64);
        let real = |environment: &&Environment| environment.name != plan.reference && !environment.is_emulated();
        let mut lost = Vec::new();
        for workload in plan.workloads.iter().filter(|workload| workload.is_measured()) {
            for environment in self.run.environments.iter().filter(real).filter(|e| workload.runs_in(&e.name)) {
                let of =
                    |c: &&Comparison| c.deciding && c.workload == workload.name && c.environment == environment.name;
                let has = self.comparisons.iter().find(of).map_or(0, |comparison| comparison.pairs.len());
                if plan.profile.verdicts && planned >= LEAST_BLOCKS && (has as f64) < least {
                    lost.push((has, format!("{} in {}", workload.name, environment.name)));
                }
            }
        }
        let reference = self.environment(&plan.reference).is_some_and(Environment::is_emulated);
        let (has, worst) = lost.iter().filter(|_| !reference).min_by_key(|(has, _)| *has)?;
        let others = match lost.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} other comparison{} lost too many)", plural(more)),
        };
        Some(format!("{worst} has {has} of {planned} blocks{others}"))
    }

    /// How many trials can make the run not reportable.
    fn all(&self) -> usize {
        self.trials().count()
    }

    /// `5 of 168 trials`: every count of the run is of the same trials.
    fn of_all(&self, count: usize) -> String {
        let apart = if self.all() < self.record.trials.len() { " outside of emulated guests" } else { "" };
        format!("{count} of {} trials{apart}", self.all())
    }

    fn remarks(&self) -> Vec<String> {
        let mut remarked: BTreeMap<&str, Vec<Remarked<'a>>> = BTreeMap::new();
        for trial in self.trials() {
            for remark in &trial.remarks {
                let list = remarked.entry(&remark.check).or_default();
                // A trial counts once, with what was said first.
                if !list.last().is_some_and(|(last, _)| std::ptr::eq(*last, trial)) {
                    list.push((trial, &remark.text));
                }
            }
        }
        let (all, sides) = (self.all(), by_side(self.trials()));
        let said = remarked.into_iter().filter_map(|(check, trials)| {
            let such_as = |trials: &[Remarked<'a>]| {
                let worst = worst(check, trials.iter().map(|(trial, _)| *trial))?;
                let (_, text) = trials.iter().find(|(trial, _)| std::ptr::eq(*trial, worst))?;
                Some(format!("such as: {text}"))
            };
            if too_many(trials.len(), all) {
                return Some(format!("in {}, {}", self.of_all(trials.len()), such_as(&trials)?));
            }
            let (here, all, place) = worst_side(&trials, &sides)?;
            Some(format!("in {} of {all} trials of {place}, {}", here.len(), such_as(&here)?))
        });
        said.collect()
    }

    fn watched(&self) -> Option<String> {
        let done = self.trials().filter(|trial| trial.failure.is_none());
        let unwatched = done.filter(|trial| WATCHED.iter().any(|fact| !trial.knows(fact))).count();
        let text = || format!("{} do not say whether anything disturbed them", self.of_all(unwatched));
        too_many(unwatched, self.all()).then(text)
    }

    /// By the checks as they are here and now: the record may come from another bench, or from another hand.
    fn judged(&self) -> Option<String> {
        let soft = self.run.plan.profile.verdicts;
        let wrong = |trial: &'a Trial| {
            let mut findings = validity::judge(&trial.facts, soft).into_iter();
            let finding = findings.find(|finding| finding.check.weight != validity::Weight::Remark);
            finding.filter(|_| trial.is_valid()).map(|finding| (trial, finding))
        };
        let all: Vec<_> = self.trials().filter_map(wrong).collect();
        let place = |finding: &validity::Finding| CHECKS.iter().position(|check| check.fact == finding.check.fact);
        // The gravest check first, and of its trials the worst.
        let (_, gravest) = all.iter().min_by_key(|(_, finding)| place(finding))?;
        let of_it = all.iter().filter(|(_, finding)| finding.check.fact == gravest.check.fact);
        let trial = worst(gravest.check.fact, of_it.map(|(trial, _)| *trial))?;
        let (_, finding) = all.iter().find(|(found, _)| found.planned.id == trial.planned.id)?;
        let are = if all.len() == 1 { "is said to be valid and is not" } else { "are said to be valid and are not" };
        Some(format!("{} {are}, such as {}: {}", self.of_all(all.len()), trial.planned.id, finding.sentence))
    }

    fn baseline(&self) -> Option<String> {
        let is_due = self.run.plan.profile.verdicts && self.run.state == State::Complete;
        if is_due && self.run.baselines().next().is_none() {
            let text =
                "the record does not say what others did before the first block: it comes from a bench without checks";
            return Some(text.to_owned());
        }
        let first = self.run.baseline.as_ref().map(|baseline| (baseline, "before the first block"));
        let later = |stop: &'a Break| Some((stop.baseline.as_ref()?, "before it went on"));
        let all = first.into_iter().chain(self.run.breaks.iter().filter_map(later));
        let disturbed = all.filter_map(|(seen, when)| Some((seen.other_cpu_percent, disturbance(seen, when)?)));
        // The first of equals.
        disturbed.reduce(|worst, next| if next.0 > worst.0 { next } else { worst }).map(|(_, text)| text)
    }

    fn control(&self) -> Option<String> {
        let beyond = |verdict| matches!(verdict, Some(Verdict::Better | Verdict::Worse));
        let off: Vec<_> = self
            .comparisons
            .iter()
            .filter(|c| c.is_control && c.deciding && !c.emulated && beyond(c.verdict))
            .collect();
        let worst = off.iter().copied().reduce(farther)?;
        let (name, workload) = (&worst.environment, &worst.workload);
        let reference = &self.run.plan.reference;
        let more = match off.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} other workload{}", plural(more)),
        };
        let margin = percent(self.run.plan.profile.margin);
        Some(format!(
            "`{name}` is the same as `{reference}`, yet differs by more than {margin} in {workload}{more}: the machine drifts"
        ))
    }

    fn cache(&self) -> Option<String> {
        let run = self.run;
        if run.target.is_none() || self.environment(&run.plan.reference)?.class() != Class::Process {
            return None;
        }
        let stores = |name: &str| {
            let workload = run.plan.workloads.iter().find(|workload| workload.name == name);
            workload.is_some_and(|workload| workload.parameters.contains_key("engine") && workload.is_direct_storage())
        };
        let faster = |c: &&Comparison| {
            let guest = self.environment(&c.environment).is_some_and(|one| one.has(Capability::OwnKernel));
            let better = metric::find(&c.metric).map(|metric| metric.better);
            let verdict =
                c.interval.zip(better).map(|(interval, better)| decide(interval, run.plan.profile.margin, better));
            let enough = run.plan.profile.verdicts && c.pairs.len() >= LEAST_BLOCKS;
            c.deciding
                && !c.emulated
                && !c.partial
                && guest
                && enough
                && stores(&c.workload)
                && verdict == Some(Verdict::Better)
        };
        let found = self.comparisons.iter().filter(faster).reduce(farther)?;
        Some(format!(
            "`{}` is faster than native in {}: a guest that beats the machine it runs on has a cache in its path",
            found.environment, found.workload
        ))
    }

    /// A file system without a single disk beneath may hold I/O back in memory, and nobody would see it.
    fn bytes(&self) -> Option<String> {
        const SEEN_BY: [&str; 3] = ["disk.missing_percent", "cgroup.io_missing_percent", "vmm.disk_off_bytes"];
        // Where the page cache is the point, or fio does not count all that it moves, nobody could.
        let is_stored = |trial: &&Trial| trial.knows(MOVED) && !trial.knows(UNACCOUNTED);
        let stored: Vec<_> = self.trials().filter(is_stored).collect();
        let unseen = stored.iter().filter(|trial| SEEN_BY.iter().all(|fact| !trial.knows(fact))).count();
        let text = || {
            format!(
                "in {unseen} of {} storage trials nothing but fio says how many bytes were moved: the kernel names no single \
                 disk beneath the target; give a --target on one",
                stored.len()
            )
        };
        too_many(unseen, stored.len()).then(text)
    }

    fn tools(&self) -> Option<String> {
        let reference = self.environment(&self.run.plan.reference)?;
        for (axis, expected) in reference.sameness.iter().filter(|(axis, _)| axis.ends_with(" sha256")) {
            let other = |e: &&Environment| e.sameness.get(axis).is_some_and(|found| found != expected);
            if let Some(environment) = self.run.environments.iter().find(other) {
                let tool = axis.trim_end_matches(" sha256");
                let (name, reference) = (&environment.name, &reference.name);
                return Some(format!(
                    "`{name}` executed another {tool} than `{reference}`: more differs than the environment"
                ));
            }
        }
        None
    }

    fn fingerprint(&self) -> Option<String> {
        let has = |prefix: &str| self.run.fingerprint.keys().any(|name| name.starts_with(prefix));
        let missing: Vec<_> = ["cpu.", "kernel.", "tool."].into_iter().filter(|prefix| !has(prefix)).collect();
        let text = || format!("its fingerprint has no facts of {}", missing.join(", ").replace('.', ""));
        (!missing.is_empty()).then(text)
    }

    fn notes(&self) -> Vec<String> {
        let emulated: Vec<_> =
            self.run.environments.iter().filter(|e| e.is_emulated()).map(Environment::label).collect();
        if emulated.is_empty() {
            return Vec::new();
        }
        vec![format!("rows of {} say nothing about KVM, whatever the rest is worth", emulated.join(", "))]
    }
}

/// A trial, and what was remarked about it.
type Remarked<'a> = (&'a Trial, &'a str);
/// Name of a workload, and of an environment.
type SideOf<'a> = (&'a str, &'a str);

fn side_of(trial: &Trial) -> SideOf<'_> {
    (&trial.planned.workload, &trial.planned.environment)
}

/// How many trials there are of each workload in each environment.
fn by_side<'a>(trials: impl Iterator<Item = &'a Trial>) -> BTreeMap<SideOf<'a>, usize> {
    let mut counts = BTreeMap::new();
    trials.for_each(|trial| *counts.entry(side_of(trial)).or_default() += 1);
    counts
}

/// Of some trials those of one workload in one environment, where they are too many of its trials; of how many they are.
fn worst_side<'a>(
    some: &[Remarked<'a>],
    all: &BTreeMap<SideOf<'_>, usize>,
) -> Option<(Vec<Remarked<'a>>, usize, String)> {
    let counts = by_side(some.iter().map(|(trial, _)| *trial));
    let (trial, _) = some.iter().max_by_key(|(trial, _)| counts.get(&side_of(trial)))?;
    let side = side_of(trial);
    let here: Vec<_> = some.iter().copied().filter(|(trial, _)| side_of(trial) == side).collect();
    let all = all.get(&side).copied().unwrap_or(0);
    let place = format!("{} in {}", side.0, side.1);
    (here.len() as f64 > SHARE_OF_SIDE * all as f64).then_some((here, all, place))
}

/// What others did on the machine at a time, if it was too much.
fn disturbance(baseline: &Baseline, when: &str) -> Option<String> {
    let check = validity::find("host.other_cpu_percent")?;
    let mut said = Vec::new();
    if !check.bound.holds(baseline.other_cpu_percent) {
        let whose = baseline.busiest.as_ref().map_or(String::new(), |name| format!(", most of it `{name}`"));
        said.push(format!("took {} of the machine's CPUs{whose}", check.figure_text(baseline.other_cpu_percent)));
    }
    if let Some(moved) = baseline.disk_bytes_per_s.filter(|moved| *moved > validity::IDLE_DISK_BYTES_PER_S) {
        said.push(format!("moved {:.0} MB/s on the target's disk", moved / 1e6));
    }
    (!said.is_empty()).then(|| format!("{when} others {}; {}", said.join(" and "), check.advice))
}

/// The one of two comparisons whose ratio is farther from 1; the first of equals.
fn farther<'a>(a: &'a Comparison, b: &'a Comparison) -> &'a Comparison {
    let distance = |comparison: &Comparison| comparison.ratio.map_or(0.0, |ratio| ratio.ln().abs());
    if distance(b) > distance(a) { b } else { a }
}

fn too_many(count: usize, all: usize) -> bool {
    count as f64 > SHARE * all as f64
}

/// The rules for the documentation, in Markdown.
pub fn markdown() -> String {
    RULES.iter().map(|(name, what)| format!("- `{name}`: {what}\n")).collect()
}

#[cfg(test)]
mod tests {
    /// `BLESS=1 cargo test -p bench-results` writes the list in the documentation anew.
    #[test]
    fn the_documentation_has_these_rules() {
        crate::testing::documented_in(
            "VALIDITY.md",
            "rules: written by a test of results/src/reportable.rs",
            "/rules",
            &super::markdown(),
        );
    }
}
