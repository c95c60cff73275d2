//! Records that contradict themselves: one table of checks for every way in which a record is read.
//!
//! A record that says two things about who executed what, when or how often is *refused*: none of its numbers can be attributed. A trial
//! that says two things about a number is *denied*: it becomes invalid, and the run is not reportable. Times that run backwards and trials
//! that are copies of each other leave the numbers as they are, and make the run not reportable.

mod numbers;
mod plan;
mod trials;
mod whole;

use crate::record::{Accelerator, Run, Trial};

/// How the reason begins for which a trial is invalid that contradicts itself.
const DENIED: &str = "it contradicts itself: ";

/// A check, and what it refuses or denies, in words for the documentation.
struct Check<F> {
    what: &'static str,
    find: F,
}

/// What is wrong with a `run.json`, in words.
type OfRun = fn(&Run) -> Option<String>;
/// The first line of `trials.jsonl`, counted from 1, that contradicts the run, and how.
type OfTrials = fn(&Run, &[Trial]) -> Option<(usize, String)>;
/// What a trial says against itself.
type OfTrial = fn(&Run, &Trial) -> Option<String>;
/// What the trials that count say against each other.
type OfWhole = fn(&Run, &[Trial]) -> Option<String>;

/// Why a run must not be read, whatever its trials are.
pub(crate) fn refused_run(run: &Run) -> Option<String> {
    plan::CHECKS.iter().find_map(|check| (check.find)(run))
}

/// Why a run must not be read for its trials, superseded ones among them; with the line, counted from 1.
pub(crate) fn refused_trials(run: &Run, trials: &[Trial]) -> Option<(usize, String)> {
    trials::CHECKS.iter().find_map(|check| (check.find)(run, trials))
}

/// Make a valid trial invalid whose numbers are denied by its own counts.
pub(crate) fn deny(run: &Run, trial: &mut Trial) {
    let denied = || numbers::CHECKS.iter().find_map(|check| (check.find)(run, trial));
    if let Some(why) = trial.is_valid().then(denied).flatten() {
        trial.deny(&why);
    }
}

impl Trial {
    /// Make it invalid, since something that belongs to it says otherwise: `why`, with both values.
    pub fn deny(&mut self, why: &str) {
        self.invalid.push(format!("{DENIED}{why}"));
    }

    /// What it says against itself, if it does.
    pub(crate) fn denial(&self) -> Option<&str> {
        self.invalid.iter().find_map(|reason| reason.strip_prefix(DENIED))
    }
}

impl Accelerator {
    /// What the fingerprint and the isolation of a guest call it.
    fn words(self) -> &'static str {
        match self {
            Accelerator::Kvm => "KVM",
            Accelerator::Tcg => "TCG emulation",
        }
    }

    /// The other one.
    fn other(self) -> Accelerator {
        match self {
            Accelerator::Kvm => Accelerator::Tcg,
            Accelerator::Tcg => Accelerator::Kvm,
        }
    }
}

/// Why a record that can be read must not be passed on.
pub(crate) fn doubts(run: &Run, trials: &[Trial]) -> Vec<String> {
    let denied: Vec<(&Trial, &str)> = trials.iter().filter_map(|trial| Some((trial, trial.denial()?))).collect();
    let said = denied.first().map(|(trial, why)| {
        let (count, all) = (denied.len(), trials.len());
        format!("{count} of {all} trials contradict themselves, such as {}: {why}", trial.planned.id)
    });
    said.into_iter().chain(whole::CHECKS.iter().filter_map(|check| (check.find)(run, trials))).collect()
}

/// The checks for the documentation, as a table in Markdown.
pub fn markdown() -> String {
    fn rows<F>(checks: &[Check<F>], what_happens: &str) -> String {
        checks.iter().map(|check| format!("| {} | {what_happens} |\n", check.what)).collect()
    }
    [
        "| what is found | what happens |\n|---|---|\n".to_owned(),
        rows(plan::CHECKS, "refused"),
        rows(trials::CHECKS, "refused, with the line"),
        rows(numbers::CHECKS, "the trial is invalid, the run not reportable"),
        rows(whole::CHECKS, "the run is not reportable"),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    /// `BLESS=1 cargo test -p bench-results` writes the table in the documentation anew.
    #[test]
    fn the_documentation_has_this_table() {
        let (begin, end) = ("contradictions: written by a test of results/src/consistency/mod.rs", "/contradictions");
        crate::testing::documented_in("RECORD-FORMAT.md", begin, end, &super::markdown());
    }
}
