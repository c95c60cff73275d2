//! The validity of a run: whether it is reportable, and every check with its worst figure.

use bench_results::record::{Run, Trial};
use bench_results::store::Record;
use bench_results::validity::{CHECKS, Check, Weight};
use serde::Serialize;
use serde_json::Value;

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
    /// What was said of the first of them.
    pub(crate) text: String,
}

/// Checks that have a figure in this run, in the table's order.
pub(crate) fn checks(record: &Record) -> Vec<CheckRow> {
    CHECKS.iter().filter_map(|check| row(check, record)).collect()
}

fn row(check: &'static Check, record: &Record) -> Option<CheckRow> {
    let figure = |trial: &Trial| trial.facts.get(check.fact).and_then(Value::as_f64);
    let figures: Vec<(f64, &Trial)> = record.trials.iter().filter_map(|trial| Some((figure(trial)?, trial))).collect();
    let worst = figures.iter().map(|(figure, _)| *figure).reduce(|a, b| check.bound.worse(a, b))?;
    let (_, trial) = figures.iter().find(|(figure, _)| *figure == worst)?;
    let beyond: Vec<&Trial> =
        figures.iter().filter(|(figure, _)| !check.bound.holds(*figure)).map(|(_, trial)| *trial).collect();
    Some(CheckRow {
        check: check.fact,
        compared: check.compared,
        bound: check.bound_text(),
        worst,
        worst_text: check.figure_text(worst),
        trial: trial.planned.id.clone(),
        trials: figures.len(),
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

/// Remarks by check and environment, in the order in which they were first made.
pub(crate) fn remarks(record: &Record) -> Vec<RemarkRow> {
    let mut rows: Vec<RemarkRow> = Vec::new();
    for trial in &record.trials {
        let environment = facts::label(&record.run, &trial.planned.environment);
        for remark in &trial.remarks {
            match rows.iter_mut().find(|row| row.check == remark.check && row.environment == environment) {
                Some(row) => row.trials += 1,
                None => rows.push(RemarkRow {
                    check: remark.check.clone(),
                    environment: environment.clone(),
                    trials: 1,
                    text: remark.text.clone(),
                }),
            }
        }
    }
    rows
}

impl RemarkRow {
    /// `vm, 3 trials: ...`.
    pub(crate) fn line(&self) -> String {
        format!("{}, {}, such as: {}", self.environment, units::count(self.trials, "trial"), self.text)
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
                format!("{} of {}", row.beyond, row.trials),
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
