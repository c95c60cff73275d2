//! The validity of a run: whether it is reportable, and every check with its worst figure.

use std::collections::BTreeMap;

use bench_results::record::{Run, Trial};
use bench_results::store::Record;
use bench_results::validity::{CHECKS, Check, Weight, worst};
use serde::Serialize;

use crate::facts;
use crate::figures::Table;
use crate::report::Report;
use crate::units;

/// One check over all trials.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct CheckRow {
    /// Name of the check.
    pub(crate) check: &'static str,
    /// What is compared.
    pub(crate) compared: &'static str,
    /// The bound, with its unit.
    pub(crate) bound: String,
    /// The figure nearest to the bound or farthest beyond it.
    pub(crate) worst: f64,
    /// The same with its unit.
    pub(crate) worst_text: String,
    /// The trial that it is of.
    pub(crate) trial: String,
    /// Trials that have a figure.
    pub(crate) trials: usize,
    /// All trials of the run.
    pub(crate) of: usize,
    /// Trials whose figure is beyond the bound.
    pub(crate) beyond: usize,
    /// What was made of those.
    pub(crate) effect: &'static str,
}

/// A remark on trials, told once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct RemarkRow {
    /// Name of the check.
    pub(crate) check: String,
    /// Label of the environment.
    pub(crate) environment: String,
    /// Trials of it with this remark.
    pub(crate) trials: usize,
    /// Of how many trials of it.
    pub(crate) of: usize,
    /// What was said of the worst of them.
    pub(crate) text: String,
}

/// Checks that have a figure in this run, in the table's order.
pub(crate) fn checks(record: &Record) -> Vec<CheckRow> {
    CHECKS.iter().filter_map(|check| row(check, record)).collect()
}

fn row(check: &'static Check, record: &Record) -> Option<CheckRow> {
    let figure = |trial: &Trial| trial.figure(check.fact);
    let figures: Vec<(f64, &Trial)> = record.trials.iter().filter_map(|trial| Some((figure(trial)?, trial))).collect();
    let trial = worst(check.fact, figures.iter().map(|(_, trial)| *trial))?;
    let worst = figure(trial)?;
    let beyond: Vec<&Trial> =
        figures.iter().filter(|(figure, _)| !check.bound.holds(*figure)).map(|(_, trial)| *trial).collect();
    Some(CheckRow {
        check: check.fact,
        compared: check.compared,
        bound: check.bound_text(),
        worst,
        worst_text: check.figure_text(worst),
        trial: trial.planned.id.to_string(),
        trials: figures.len(),
        of: record.trials.len(),
        beyond: beyond.len(),
        effect: effect(check, &record.run, &beyond),
    })
}

fn effect(check: &Check, run: &Run, beyond: &[&Trial]) -> &'static str {
    let is_judged = check.weight == Weight::Hard || run.plan.profile.verdicts;
    match check.weight {
        _ if !is_judged => "not judged in this profile",
        Weight::Remark => "remark",
        _ if beyond.iter().any(|trial| trial.is_valid()) => "not judged so by the bench that measured it",
        _ => "invalid",
    }
}

/// Remarks by check and environment, in the order in which they were first made. A trial counts once.
pub(crate) fn remarks(record: &Record) -> Vec<RemarkRow> {
    let mut remarked: Vec<Remarked<'_>> = Vec::new();
    let mut places: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut of: BTreeMap<&str, usize> = BTreeMap::new();
    for trial in &record.trials {
        let environment = trial.planned.environment.as_str();
        *of.entry(environment).or_default() += 1;
        for remark in &trial.remarks {
            let place = *places.entry((&remark.check, environment)).or_insert_with(|| {
                remarked.push(Remarked { check: &remark.check, environment, said: Vec::new() });
                remarked.len() - 1
            });
            let said = &mut remarked[place].said;
            if !said.last().is_some_and(|(last, _)| std::ptr::eq(*last, trial)) {
                said.push((trial, &remark.text));
            }
        }
    }
    let row = |Remarked { check, environment, said }: &Remarked<'_>| {
        let worst = worst(check, said.iter().map(|(trial, _)| *trial))?;
        let (_, text) = said.iter().find(|(trial, _)| std::ptr::eq(*trial, worst))?;
        Some(RemarkRow {
            check: (*check).to_owned(),
            environment: facts::label(&record.run, environment),
            trials: said.len(),
            of: of.get(environment).copied().unwrap_or(0),
            text: (*text).to_owned(),
        })
    };
    remarked.iter().filter_map(row).collect()
}

/// The trials of an environment with one remark, and its words.
struct Remarked<'a> {
    check: &'a str,
    environment: &'a str,
    said: Vec<(&'a Trial, &'a str)>,
}

impl RemarkRow {
    /// `vm, 3 of 56 trials, such as: ...`.
    pub(crate) fn line(&self) -> String {
        let of = units::count(self.of, "trial");
        format!("{}, {} of {of}, such as: {}", self.environment, self.trials, self.text)
    }
}

impl Report {
    /// `reportable`, or why not, for the first lines.
    pub(crate) fn reportable_line(&self) -> String {
        let verdict = &self.reportable;
        let reasons: Vec<&str> = verdict.reasons.iter().map(|reason| reason.text.as_str()).collect();
        let said = match verdict.reportable {
            true => "reportable: it is complete, and no check speaks against it".to_owned(),
            false => format!("not reportable: {}", reasons.join("; ")),
        };
        verdict.notes.iter().fold(said, |said, note| format!("{said} ({note})"))
    }

    /// Checks as shown on page and in Markdown.
    pub(crate) fn checks_table(&self) -> Table {
        let head = ["check", "what is compared", "bound", "worst seen", "in trial", "trials beyond", "then"];
        let cells = |row: &CheckRow| {
            vec![
                row.check.to_owned(),
                row.compared.to_owned(),
                row.bound.clone(),
                row.worst_text.clone(),
                row.trial.clone(),
                format!("{} of {}", row.beyond, row.of),
                row.effect.to_owned(),
            ]
        };
        Table { head: head.map(str::to_owned).into(), rows: self.checks.iter().map(cells).collect() }
    }

    /// Names of the checks without a figure in this run.
    pub(crate) fn unread_checks(&self) -> Vec<&'static str> {
        let read = |check: &&Check| self.checks.iter().any(|row| row.check == check.fact);
        CHECKS.iter().filter(|check| !read(check)).map(|check| check.fact).collect()
    }
}
