//! A comparison of two sides, rendered: one judgement, every form the same numbers.

mod github;
mod html;
mod junit;
mod markdown;
mod pictures;
mod tables;
mod terminal;

use std::path::{Path, PathBuf};

use bench_results::compare::{Judgement, Method, Outcome, Sides};
use bench_results::imported::CAVEAT;

use crate::{ReportError, escape, make_folder, units, write, write_figures};

/// A judged comparison, ready to be shown.
#[derive(Debug, Clone, Copy)]
pub struct CompareReport<'a> {
    judgement: &'a Judgement,
    /// What it was made from: figures show more than the judgement says.
    sides: Sides<'a>,
}

impl<'a> CompareReport<'a> {
    /// The report of a judgement on these sides.
    pub fn new(judgement: &'a Judgement, sides: Sides<'a>) -> CompareReport<'a> {
        CompareReport { judgement, sides }
    }

    /// The judgement as JSON, by the schema `results/schema/compare.schema.json`.
    pub fn json(&self) -> Result<String, ReportError> {
        Ok(escape::json(self.judgement)?)
    }

    /// Write every form into `folder` (made where it is missing): index.html, compare.md, compare.json, junit.xml, and each
    /// figure as .svg and .png. Returns the files, the page first.
    pub fn write_all(&self, folder: &Path) -> Result<Vec<PathBuf>, ReportError> {
        make_folder(folder)?;
        let mut written = vec![write(folder, "index.html", &self.html()?)?];
        written.push(write(folder, "compare.md", &self.markdown())?);
        written.push(write(folder, "compare.json", &self.json()?)?);
        written.push(write(folder, "junit.xml", &self.junit()?)?);
        written.extend(write_figures(&self.figures(), folder)?);
        Ok(written)
    }

    /// `passes`, `fails`, `cannot tell`, `cannot compare`.
    fn outcome_text(&self) -> &'static str {
        match self.judgement.outcome {
            Outcome::Pass => "passes",
            Outcome::Fail => "fails",
            Outcome::Inconclusive => "cannot tell",
            Outcome::Incomparable => "cannot compare",
        }
    }

    /// The name of its class on the page.
    fn outcome_class(&self) -> &'static str {
        match self.judgement.outcome {
            Outcome::Pass => "better",
            Outcome::Fail | Outcome::Incomparable => "worse",
            Outcome::Inconclusive => "inconclusive",
        }
    }

    /// Names of the suites of NEW.
    fn suite(&self) -> &str {
        self.judgement.new.first().map_or("", |run| run.suite.as_str())
    }

    /// Name of the environment that ratios are relative to.
    fn reference(&self) -> &str {
        self.judgement.new.first().map_or("", |run| run.reference.as_str())
    }

    /// What was compared with what, in one sentence.
    fn method_text(&self) -> String {
        let side = |runs: &[bench_results::compare::RunFacts]| match runs {
            [run] => run.id.clone(),
            runs => format!("{} ({}, …)", units::count(runs.len(), "run"), runs.first().map_or("", |run| &run.id)),
        };
        let (base, new) = (side(&self.judgement.base), side(&self.judgement.new));
        let reference = self.reference();
        match &self.judgement.method {
            Method::Blocks => format!(
                "{new} against {base}: ratios to {reference} of the same block, the blocks of the two runs and the between-run spread"
            ),
            Method::Runs => format!(
                "{new} against {base}: one value for each run (ratios to {reference} of the same block), Welch's test between runs"
            ),
            Method::PairedBlocks { base: before, new: now } => {
                format!("{now} against {before} in {new}: paired by block")
            }
            Method::PairedRuns { base: before, new: now } => {
                format!("{now} against {before} in {new}: paired by block, one ratio for each run")
            }
        }
    }

    /// What p values and verdicts were adjusted for, and what an alarm has to be.
    fn tests_text(&self) -> String {
        if self.judgement.is_imported() {
            return format!("no row is judged, and none passes, whatever the policy says: {CAVEAT}");
        }
        let policy = &self.judgement.policy;
        let by = policy.file.as_ref().map_or("the default policy".to_owned(), |file| format!("the policy {file}"));
        let on: Vec<String> = policy.fail_on.iter().map(ToString::to_string).collect();
        let on = if on.is_empty() { "nothing".to_owned() } else { on.join(" and ") };
        let open = match policy.on_inconclusive {
            bench_results::policy::OnInconclusive::Pass => "passes",
            bench_results::policy::OnInconclusive::Fail => "fails",
        };
        format!(
            "{} at 2.5 %, alarms adjusted by Holm's method; judged by {by}: it fails on {on}, and what cannot be told {open}",
            units::count(self.judgement.tests, "test")
        )
    }

    /// Everything that is not a row and that the reader should know.
    fn remarks(&self) -> Vec<String> {
        let judgement = self.judgement;
        let unmatched = judgement.unmatched.iter().map(|one| format!("no partner: {one}"));
        let kind = if judgement.is_imported() { "difference" } else { "allowed difference" };
        let differences = judgement.differences.iter().map(|one| format!("{kind}: {one}"));
        unmatched.chain(differences).chain(judgement.notes.iter().cloned()).collect()
    }
}
