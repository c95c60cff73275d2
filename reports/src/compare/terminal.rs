//! The comparison on a terminal.

use std::path::Path;

use bench_results::compare::{Judged, Outcome, Part};

use super::{CompareReport, tables};
use crate::terminal::{JudgedRow, Screen, Style};

impl CompareReport<'_> {
    /// Headline, one line per deciding row, the worst first, and what the reader should know. `width` in columns; `color`
    /// false: plain text. `page`: where the page is, when one was written.
    pub fn terminal(&self, width: usize, color: bool, page: Option<&Path>) -> String {
        let mut out = Screen::new(width, color);
        let style = match self.judgement.outcome {
            Outcome::Pass => Style::Good,
            Outcome::Fail | Outcome::Incomparable => Style::Bad,
            Outcome::Inconclusive => Style::Warning,
        };
        out.wrapped(&format!("{}: {}", self.outcome_text(), self.judgement.headline), "", style);
        out.wrapped(&self.method_text(), "", Style::Faint);
        out.blank();
        let head = ["environment", "NEW ÷ BASE [95 %]", "verdict", "p (Holm)", "alarm from", "BASE → NEW"];
        let cells = |row: &Judged| {
            [
                self.environment(row),
                tables::ratio_text(row),
                tables::verdict_text(row),
                tables::p_text(row),
                tables::alarm_text(row),
                self.change_text(row),
            ]
        };
        let row = |row| JudgedRow {
            heading: self.heading(row),
            cells: cells(row),
            verdict: tables::colour(row),
            sentence: &row.sentence,
            notes: if row.part == Part::Broken { std::slice::from_ref(&row.sentence) } else { &[] },
        };
        let rows: Vec<_> = self.judgement.deciding().map(row).collect();
        if !rows.is_empty() {
            out.judged(&head, &rows);
        }
        out.wrapped(&self.tests_text(), "", Style::Faint);
        out.blank();
        for remark in self.remarks() {
            out.wrapped(&remark, "  ", Style::Warning);
        }
        if let Some(page) = page {
            out.line(&format!("report: {}", page.display()), Style::Plain);
        }
        out.text
    }
}
