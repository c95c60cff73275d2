//! The rows of a comparison as cells, shared by all forms.

use bench_results::compare::{Judged, Method, Part, Quantity};
use bench_results::statistics::geometric_mean;

use super::CompareReport;
use crate::build::{described, outcome, pair};
use crate::figures::Table;
use crate::report::Outcome;
use crate::units;

/// What the verdict's column says.
pub(super) fn verdict_text(row: &Judged) -> String {
    let verdict = outcome(row.verdict).text();
    match row.part {
        Part::Broken => "broken".to_owned(),
        Part::Ignored => format!("{verdict} (ignored)"),
        Part::Unconfirmed => format!("{verdict} (not confirmed)"),
        _ => verdict.to_owned(),
    }
}

/// The verdict whose colour the row has: what does not fail the gate does not shine red.
pub(super) fn colour(row: &Judged) -> Outcome {
    match row.part {
        Part::Fails | Part::Broken => Outcome::Worse,
        Part::Ignored | Part::Informs => Outcome::None,
        Part::Unconfirmed | Part::Undecided => Outcome::Inconclusive,
        Part::Passes => outcome(row.verdict),
    }
}

/// NEW ÷ BASE with its interval.
pub(super) fn ratio_text(row: &Judged) -> String {
    row.ratio.map_or("–".to_owned(), |ratio| units::ratio_with(ratio, row.interval.map(pair)))
}

/// The smallest loss that would have been called `worse`.
pub(super) fn alarm_text(row: &Judged) -> String {
    row.smallest_alarm.map_or("–".to_owned(), units::percent)
}

pub(super) fn p_text(row: &Judged) -> String {
    row.p_holm.or(row.p).map_or("–".to_owned(), units::p_value)
}

pub(super) fn noise_text(row: &Judged) -> String {
    row.noise_floor.map_or("–".to_owned(), |interval| units::bounds(pair(interval)))
}

/// The metric, and which way is better.
pub(super) fn metric_text(row: &Judged) -> String {
    units::metric(&described(&row.metric).0, row.better)
}

impl CompareReport<'_> {
    /// From BASE to NEW: of an overhead its ratios, else the values.
    pub(super) fn change_text(&self, row: &Judged) -> String {
        if row.quantity != Quantity::Overhead {
            return units::from_to(row.base_mean, row.new_mean, row.unit);
        }
        let mean = |values: &[f64]| geometric_mean(values).map_or("–".to_owned(), units::ratio);
        format!("{} → {} × {}", mean(&row.base_values), mean(&row.new_values), self.reference())
    }

    /// The row's environment; for two of one run, both.
    pub(super) fn environment(&self, row: &Judged) -> String {
        let name = match &self.judgement.method {
            Method::PairedBlocks { base, new } | Method::PairedRuns { base, new } => format!("{base} → {new}"),
            Method::Blocks | Method::Runs => row.environment.clone(),
        };
        if row.emulated { format!("{name} (TCG emulation)") } else { name }
    }

    /// The row's workload and metric, with a word where it is not an overhead.
    pub(super) fn heading(&self, row: &Judged) -> String {
        let absolute = if row.quantity == Quantity::Absolute { ", absolute" } else { "" };
        format!("{}: {}{absolute}", row.workload, metric_text(row))
    }

    /// What is compared: an environment's cost, or the values themselves.
    pub(super) fn quantity(&self, row: &Judged) -> String {
        match row.quantity {
            Quantity::Overhead => format!("÷ {}", self.reference()),
            Quantity::Absolute => "absolute".to_owned(),
            Quantity::Pair => "paired".to_owned(),
        }
    }

    /// The rows that decide, the worst first.
    pub(super) fn deciding_table(&self) -> Table {
        let head = [
            "workload",
            "environment",
            "metric",
            "NEW ÷ BASE [95 %]",
            "verdict",
            "p (Holm)",
            "alarm from",
            "noise floor",
            "BASE → NEW",
        ];
        let cells = |row: &Judged| {
            vec![
                row.workload.clone(),
                self.environment(row),
                metric_text(row),
                ratio_text(row),
                format!("{}: {}", verdict_text(row), row.sentence),
                p_text(row),
                alarm_text(row),
                noise_text(row),
                self.change_text(row),
            ]
        };
        Table { head: head.map(str::to_owned).into(), rows: self.judgement.deciding().map(cells).collect() }
    }

    /// The runs of both sides.
    pub(super) fn runs_table(&self) -> Table {
        let head = ["side", "run", "started", "suite", "profile", "blocks", "state"];
        let sides = match self.judgement.method.environments() {
            Some(_) => vec![("both", &self.judgement.new)],
            None => vec![("BASE", &self.judgement.base), ("NEW", &self.judgement.new)],
        };
        let rows = sides.iter().flat_map(|(side, runs)| {
            runs.iter().map(|run| {
                let state = format!("{:?}", run.state).to_lowercase();
                let mut cells = vec![(*side).to_owned()];
                cells.extend([&run.id, &run.started_at, &run.suite, &run.profile].map(Clone::clone));
                cells.extend([run.blocks.to_string(), state]);
                cells
            })
        });
        Table { head: head.map(str::to_owned).into(), rows: rows.collect() }
    }

    /// The rows that inform.
    pub(super) fn informing_table(&self) -> Table {
        let head = ["workload", "environment", "metric", "of", "NEW ÷ BASE [95 %]", "says", "BASE → NEW"];
        let cells = |row: &Judged| {
            vec![
                row.workload.clone(),
                self.environment(row),
                metric_text(row),
                self.quantity(row),
                ratio_text(row),
                row.sentence.clone(),
                self.change_text(row),
            ]
        };
        let rows = self.judgement.rows.iter().filter(|row| !row.decides()).map(cells).collect();
        Table { head: head.map(str::to_owned).into(), rows }
    }
}
