//! NEW against BASE: two runs, two sets of runs, or two environments of one run; judged by a policy.
//!
//! Between runs nothing is paired: the log-ratios of environment to reference are compared, of two runs with the between-run
//! spread that their blocks do not show, of sets of runs by Welch's test. Within one run the two environments are paired by block,
//! which is the better method where both sides are at hand.

mod confirm;
mod difference;
mod family;
mod gate;
mod history;
mod judgement;
mod missing;
mod partners;
mod rows;
mod sample;
pub mod simulated;
mod spread;

use std::collections::BTreeSet;

use crate::identity::Seen;
use crate::imported::CAVEAT;
use crate::isolation;
use crate::patterns::{Kind, Pattern};
use crate::policy::{KnownNames, Policy};
use crate::record::{Accelerator, Run, State};
use crate::store::Record;

pub use difference::{Aspect, Difference, differences};
pub use gate::{Gate, GateRow, gate};
pub use history::History;
pub use judgement::{
    COMPARE_SCHEMA_VERSION, Judged, Judgement, Method, Outcome, Part, PolicyFacts, Quantity, RunFacts, Unmatched,
};

/// Fewer runs a side, and an absolute metric informs and decides nothing: the hours of a few runs are not comparable.
pub const LEAST_RUNS_FOR_ABSOLUTES: usize = 5;

/// What is to be compared.
#[derive(Debug, Clone, Copy)]
pub enum Sides<'a> {
    /// Two runs, or two sets of runs.
    Runs {
        /// What was before.
        base: &'a [Record],
        /// What is now.
        new: &'a [Record],
        /// Differences of the two that are what is being compared.
        allowed: &'a BTreeSet<Aspect>,
    },
    /// Two environments of the same runs.
    Environments {
        /// One run, or a set of them.
        runs: &'a [Record],
        /// Name of the environment that was before.
        base: &'a str,
        /// Name of the environment that is now.
        new: &'a str,
    },
}

/// The sides cannot be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// A run on both sides.
    #[error("the run {0} is on both sides: compared with itself it says nothing")]
    Itself(String),
    /// A run twice on one side.
    #[error("the run {0} is there twice on one side: counted twice it would look more certain than it is")]
    Twice(String),
    /// Another suite.
    #[error("BASE is a run of suite {base} and NEW of suite {new}: they have nothing in common to compare")]
    Suites {
        /// Of BASE.
        base: String,
        /// Of NEW.
        new: String,
    },
    /// One side was measured by `bench`, the other was not.
    #[error(
        "one of {base} and {new} is imported and the other is not ({CAVEAT}): compare two imported runs, or two that bench measured"
    )]
    Imported {
        /// A run of BASE.
        base: String,
        /// A run that is compared with it.
        new: String,
    },
    /// Ratios to different things.
    #[error("BASE is relative to `{base}` and NEW to `{new}`: execute one of them again with --reference")]
    References {
        /// Of BASE.
        base: String,
        /// Of NEW.
        new: String,
    },
    /// Ratios to different things, of imported runs.
    #[error(
        "BASE is relative to `{base}` and NEW to `{new}`: import both again with the same names of environments (--env NAME), or into one \
         run (`bench import {base}=... {new}=...`), and compare these two (`bench compare RUN --env {base},{new}`)"
    )]
    ImportedReferences {
        /// Of BASE.
        base: String,
        /// Of NEW.
        new: String,
    },
    /// The fingerprints differ.
    #[error("BASE and NEW were measured under other conditions:\n{}\nmeasure both on one machine, best in one run (`bench run --env old=...,new=... --reference old`); to compare just this difference: --allow-difference {}", lines(.0), aspects(.0))]
    Differ(Vec<Difference>),
    /// Nothing has a partner.
    #[error("nothing in BASE has a partner in NEW:\n{}", lines(.0))]
    NothingMatches(Vec<Unmatched>),
    /// No such environment.
    #[error("the run {run} has no environment `{name}`; it has {}", .known.join(", "))]
    NoEnvironment {
        /// The run.
        run: String,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// An environment with itself.
    #[error("--env {0},{0}: an environment compared with itself says nothing")]
    SameEnvironment(String),
    /// KVM with TCG.
    #[error(
        "one of `{base}` and `{new}` is emulated (TCG) and the other is not: emulation says nothing about KVM, they are never compared"
    )]
    Accelerators {
        /// One.
        base: String,
        /// The other.
        new: String,
    },
}

fn lines<T: ToString>(all: &[T]) -> String {
    all.iter().map(|one| format!("  {}", one.to_string())).collect::<Vec<_>>().join("\n")
}

fn aspects(differences: &[Difference]) -> String {
    let aspects: BTreeSet<Aspect> = differences.iter().map(|difference| difference.aspect).collect();
    aspects.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

impl<'a> Sides<'a> {
    /// The records that are compared with.
    pub fn base_runs(&self) -> &'a [Record] {
        match *self {
            Sides::Runs { base, .. } => base,
            Sides::Environments { runs, .. } => runs,
        }
    }

    /// The records that are compared.
    pub fn new_runs(&self) -> &'a [Record] {
        match *self {
            Sides::Runs { new, .. } => new,
            Sides::Environments { runs, .. } => runs,
        }
    }

    /// The names that a policy for these sides may use.
    pub fn known_names(&self) -> KnownNames {
        let mut known = KnownNames::default();
        for run in self.base_runs().iter().chain(self.new_runs()).map(|record| &record.run) {
            known.workloads.extend(run.plan.workloads.iter().map(|workload| workload.name.clone()));
            known.environments.extend(run.environments.iter().map(|environment| environment.name.clone()));
        }
        known
    }
}

/// Compare and judge without a history. `policy_file`: where the policy is from.
pub fn compare(sides: Sides<'_>, policy: &Policy, policy_file: Option<&str>) -> Result<Judgement, CompareError> {
    compare_with(sides, policy, policy_file, None)
}

/// Compare and judge. `history`: earlier runs of the series; it says something of two single runs only.
pub fn compare_with(
    sides: Sides<'_>,
    policy: &Policy,
    policy_file: Option<&str>,
    history: Option<&History>,
) -> Result<Judgement, CompareError> {
    let differences = match sides {
        Sides::Runs { base, new, allowed } => check_runs(base, new, allowed)?,
        Sides::Environments { runs, base, new } => {
            check_environments(runs, base, new)?;
            Vec::new()
        }
    };
    let (rows, unmatched) = rows::judge(sides, policy, history);
    let isolation = isolation_of(sides);
    if rows.is_empty() && isolation.is_empty() {
        return Err(CompareError::NothingMatches(unmatched));
    }
    let policy = PolicyFacts::of(policy, policy_file);
    let notes = [isolation, notes(sides), spread::notes(&rows, history)].concat();
    Ok(Judgement::new(sides, policy, (differences, unmatched, notes), rows))
}

/// Probes of isolation that come out in another way, of single runs; that none does where both sides have some.
fn isolation_of(sides: Sides<'_>) -> Vec<String> {
    let (looked, changes) = match sides {
        Sides::Runs { base: [base], new: [new], .. } => {
            (isolation::both_looked(base, new), isolation::changes(base, new))
        }
        Sides::Environments { runs: [run], base, new } => {
            (isolation::both_looked(run, run), isolation::between_environments(run, base, new))
        }
        _ => return Vec::new(),
    };
    match changes.is_empty() && looked {
        true => vec!["isolation: every probe comes out on both sides in the same way".to_owned()],
        false => changes,
    }
}

fn check_runs(base: &[Record], new: &[Record], allowed: &BTreeSet<Aspect>) -> Result<Vec<Difference>, CompareError> {
    let mut seen = check_once(base)?;
    check_once(new)?;
    if let Some(both) = new.iter().find_map(|new| seen.add(new).map(|same| named(new, &same))) {
        return Err(CompareError::Itself(both));
    }
    let Some(first) = base.first() else { return Err(CompareError::NothingMatches(Vec::new())) };
    let mut found = BTreeSet::new();
    for other in base.iter().chain(new).map(|record| &record.run) {
        check_suite(&first.run, other)?;
        found.extend(difference::differences(&first.run, other));
    }
    // Of imported runs nothing is judged that a difference could spoil: they are told.
    let is_allowed = |difference: &Difference| first.run.imported.is_some() || allowed.contains(&difference.aspect);
    let (allowed, refused): (Vec<_>, Vec<_>) = found.into_iter().partition(is_allowed);
    if refused.is_empty() { Ok(allowed) } else { Err(CompareError::Differ(refused)) }
}

/// The runs, of which none may be there twice, whatever it is called.
fn check_once(records: &[Record]) -> Result<Seen, CompareError> {
    let mut seen = Seen::default();
    match records.iter().find_map(|record| seen.add(record).map(|same| named(record, &same))) {
        Some(twice) => Err(CompareError::Twice(twice)),
        None => Ok(seen),
    }
}

/// A run that is the same as another one, which may have another name.
fn named(record: &Record, same: &str) -> String {
    let id = &record.run.id;
    if id == same { id.clone() } else { format!("{id} (a copy of {same}: they measured the very same values)") }
}

fn check_suite(base: &Run, new: &Run) -> Result<(), CompareError> {
    if base.imported.is_some() != new.imported.is_some() {
        return Err(CompareError::Imported { base: base.id.clone(), new: new.id.clone() });
    }
    let shared = base.plan.suite.split(',').any(|suite| new.plan.suite.split(',').any(|other| other == suite));
    if !shared {
        return Err(CompareError::Suites { base: base.plan.suite.clone(), new: new.plan.suite.clone() });
    }
    if base.plan.reference != new.plan.reference {
        let is_imported = base.imported.is_some();
        let (base, new) = (base.plan.reference.clone(), new.plan.reference.clone());
        return Err(match is_imported {
            true => CompareError::ImportedReferences { base, new },
            false => CompareError::References { base, new },
        });
    }
    Ok(())
}

fn check_environments(runs: &[Record], base: &str, new: &str) -> Result<(), CompareError> {
    if base == new {
        return Err(CompareError::SameEnvironment(base.to_owned()));
    }
    check_once(runs)?;
    for run in runs.iter().map(|record| &record.run) {
        let is_emulated = |name: &str| match run.environments.iter().find(|environment| environment.name == name) {
            Some(environment) => Ok((environment.accelerator.is_some(), environment.is_emulated())),
            None => Err(CompareError::NoEnvironment {
                run: run.id.clone(),
                name: name.to_owned(),
                known: run.environments.iter().map(|environment| environment.name.clone()).collect(),
            }),
        };
        let ((base_is_guest, base_emulated), (new_is_guest, new_emulated)) = (is_emulated(base)?, is_emulated(new)?);
        if base_is_guest && new_is_guest && base_emulated != new_emulated {
            return Err(CompareError::Accelerators { base: base.to_owned(), new: new.to_owned() });
        }
    }
    Ok(())
}

/// What the reader should know of the runs: what was tolerated, how far they came, what failed.
fn notes(sides: Sides<'_>) -> Vec<String> {
    let mut records: Vec<&Record> = sides.base_runs().iter().collect();
    if let Sides::Runs { new, .. } = sides {
        records.extend(new);
    }
    let mut notes = Vec::new();
    if let Sides::Runs { base: [base, ..], new, .. } = sides {
        let renamed: BTreeSet<String> = new.iter().filter_map(|new| difference::renamed(&base.run, &new.run)).collect();
        notes.extend(renamed);
    }
    for record in records {
        let id = &record.run.id;
        notes.extend(record.notes.iter().map(|note| format!("{id}: {note}")));
        notes.extend(match record.lean.as_ref().and_then(|lean| lean.set.as_ref()) {
            Some(set) => set.notes.clone(),
            None => notes_of(record),
        });
    }
    notes
}

/// What the reader should know of one run, besides its own notes.
pub(crate) fn notes_of(record: &Record) -> Vec<String> {
    let (id, mut notes) = (&record.run.id, Vec::new());
    if record.run.state == State::Interrupted {
        let (begun, planned) = (record.blocks_begun(), record.run.plan.profile.blocks);
        notes.push(format!("{id}: it was interrupted in block {begun} of {planned}; what it has is compared"));
    }
    let broken = record.trials.iter().filter(|trial| !trial.is_valid()).count();
    if broken > 0 {
        let total = record.trials.len();
        notes.push(format!("{id}: {broken} of {total} trials failed or are invalid, and are in no number"));
    }
    let (reportable, patterns) = crate::analysis::of_run(record);
    // What is said of it above is not said again.
    let reasons = reportable.reasons.iter().filter(|reason| !matches!(reason.rule, "complete" | "broken"));
    notes.extend(reasons.map(|reason| format!("{id} is not reportable: {}", reason.text)));
    notes.extend(patterns.iter().filter_map(two_kinds).map(|text| format!("{id}: {text}")));
    notes
}

/// That a mean of ratios is one of two kinds of blocks.
fn two_kinds(pattern: &Pattern) -> Option<String> {
    let [low, high] = pattern.modes.filter(|_| pattern.notable && pattern.kind == Kind::RatioModes)?;
    let (workload, environment) = (&pattern.workload, &pattern.environment);
    Some(format!(
        "{workload} in {environment} is bimodal, its ratio is near {:.3} in {} blocks and near {:.3} in {}: what is compared is \
         their mean",
        low.center, low.blocks, high.center, high.blocks
    ))
}

/// KVM, TCG or no guest, of an environment by name.
fn accelerator(run: &Run, name: &str) -> Option<Accelerator> {
    run.environments.iter().find(|environment| environment.name == name)?.accelerator
}
