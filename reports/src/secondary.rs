//! Secondary metrics: what their rows say together, as a table, and the most different on a terminal.

use crate::figures::Table;
use crate::report::{Outcome, Report, ResultRow};
use crate::terminal::{JudgedRow, Screen, Style};
use crate::units;

/// Most rows on a terminal.
const MOST: usize = 6;
/// Most rows of one table on the page or in Markdown: a record may have any number.
pub(crate) const MOST_ROWS: usize = 400;

impl Report {
    /// How many there are, and what they say: `28 rows: 4 worse, 24 equivalent`. Empty without any.
    pub(crate) fn secondaries_text(&self) -> String {
        let outcomes = [Outcome::Worse, Outcome::Better, Outcome::Equivalent, Outcome::Inconclusive, Outcome::None]
            .map(|outcome| {
                let count = self.secondaries.iter().filter(|row| row.verdict == outcome).count();
                (count > 0).then(|| format!("{count} {}", outcome.text()))
            });
        match self.secondaries.len() {
            0 => String::new(),
            count => {
                let outcomes: Vec<String> = outcomes.into_iter().flatten().collect();
                format!("{}: {}", units::count(count, "row"), outcomes.join(", "))
            }
        }
    }

    /// Those that page and Markdown show: all, or the first that are better or worse and then the others.
    pub(crate) fn secondaries_shown(&self) -> Vec<&ResultRow> {
        let mut rows: Vec<&ResultRow> = self.secondaries.iter().collect();
        if rows.len() > MOST_ROWS {
            rows.sort_by_key(|row| !matches!(row.verdict, Outcome::Worse | Outcome::Better));
            rows.truncate(MOST_ROWS);
        }
        rows
    }

    /// The rows that are shown, as a table.
    pub(crate) fn secondaries_table(&self) -> Table {
        let head = ["workload", "environment", "metric", "ratio [95 %]", "verdict", "p (Holm)", "noise floor", "mean"];
        let cells = |row: &ResultRow| {
            vec![
                row.workload.clone(),
                row.environment.clone(),
                row.metric_text(),
                row.ratio_text(),
                row.verdict_text(),
                row.p_text(),
                row.noise_text(),
                row.means_text(),
            ]
        };
        Table { head: head.map(str::to_owned).into(), rows: self.secondaries_shown().into_iter().map(cells).collect() }
    }

    /// How they are judged, and where those are that are not shown.
    pub(crate) fn secondaries_note(&self) -> String {
        let more = match self.secondaries.len().saturating_sub(MOST_ROWS) {
            0 => String::new(),
            more => format!(" {more} more are in comparisons.csv."),
        };
        format!(
            "Percentiles of latency and CPU per unit of work (where one of these decides, the rate), judged by the same margin as a \
             family of their own: alarms among them are adjusted by Holm's method for their number. They decide nothing.{more}"
        )
    }
}

impl ResultRow {
    pub(crate) fn p_text(&self) -> String {
        self.p_holm.map_or("–".to_owned(), units::p_value)
    }
}

impl Screen {
    /// The counts, and what is better or worse, the farthest first.
    pub(crate) fn secondaries(&mut self, report: &Report) {
        if report.secondaries.is_empty() {
            return;
        }
        self.wrapped(&format!("secondary metrics: {}", report.secondaries_text()), "    ", Style::Strong);
        let is_apart = |row: &&ResultRow| matches!(row.verdict, Outcome::Worse | Outcome::Better);
        let mut apart: Vec<&ResultRow> = report.secondaries.iter().filter(is_apart).collect();
        let distance = |row: &ResultRow| row.ratio.map_or(0.0, |ratio| ratio.ln().abs());
        apart.sort_by(|a, b| distance(b).total_cmp(&distance(a)));
        let row = |row: &&ResultRow| JudgedRow {
            heading: format!("{}: {}", row.workload, row.metric_text()),
            cells: [
                row.environment.clone(),
                row.ratio_text(),
                row.verdict.text().to_owned(),
                row.p_text(),
                row.noise_text(),
                row.means_text(),
            ],
            verdict: row.verdict,
            sentence: "",
            notes: &[],
        };
        let shown: Vec<_> = apart.iter().take(MOST).map(row).collect();
        if !shown.is_empty() {
            let head = ["environment", "ratio [95 %]", "verdict", "p (Holm)", "noise floor", "mean (from → to)"];
            self.judged(&head, &shown);
        }
        let more = match apart.len().saturating_sub(MOST) {
            0 => String::new(),
            more => format!(" {more} more that are better or worse, and"),
        };
        let note =
            format!("they decide nothing;{more} all others are in the report and in --format md, json, comparisons");
        self.wrapped(&note, "", Style::Faint);
        self.blank();
    }
}
