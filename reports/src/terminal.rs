//! The summary on a terminal.

use std::path::Path;

use crate::figures::Table;
use crate::report::{Outcome, Report, ResultRow};
use crate::units;

impl Report {
    /// The summary: headline, for each workload its metric and one line per environment, what went wrong, what instances cost, and where
    /// the page is. `width` in columns; `color` false: plain text.
    pub fn terminal(&self, width: usize, color: bool, page: Option<&Path>) -> String {
        let mut out = Screen::new(width, color);
        out.wrapped(&self.headline, "", Style::Strong);
        if let Some(unfinished) = &self.unfinished {
            out.wrapped(&format!("not finished: {unfinished}"), "", Style::Warning);
        }
        let style = if self.reportable.reportable { Style::Good } else { Style::Warning };
        out.wrapped(&self.reportable_line(), "    ", style);
        out.blank();
        out.results(&self.results, &self.reference);
        out.secondaries(self);
        if !self.emulated.is_empty() {
            out.wrapped("emulated guests (never judged: they say nothing about KVM)", "", Style::Strong);
            out.results(&self.emulated, &self.reference);
        }
        out.absolutes(&self.absolutes_table());
        out.ladder(&self.ladder_table());
        out.isolation(self);
        out.claims(self);
        for row in &self.left_out {
            out.wrapped(&format!("left out: {}: {}", row.environment, row.reason), "  ", Style::Warning);
        }
        for row in &self.troubles {
            out.wrapped(&format!("{}: {}: {}", row.kind, row.trial, row.reason), "  ", Style::Warning);
        }
        for row in &self.remarks {
            out.wrapped(&format!("remark: {}", row.line()), "  ", Style::Warning);
        }
        for warning in &self.warnings {
            out.wrapped(&format!("warning: {warning}"), "  ", Style::Warning);
        }
        if !(self.left_out.is_empty()
            && self.troubles.is_empty()
            && self.remarks.is_empty()
            && self.warnings.is_empty())
        {
            out.blank();
        }
        out.instances(&self.instances_table());
        if let Some(page) = page {
            out.line(&format!("report: {}", page.display()), Style::Plain);
        }
        out.text
    }
}

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Strong,
    Faint,
    Good,
    Bad,
    Warning,
}

impl Style {
    fn of(verdict: Outcome) -> Style {
        match verdict {
            Outcome::Better | Outcome::Equivalent => Style::Good,
            Outcome::Worse => Style::Bad,
            Outcome::Inconclusive => Style::Warning,
            Outcome::None => Style::Faint,
        }
    }

    /// Select Graphic Rendition of ECMA-48.
    fn code(self) -> Option<&'static str> {
        match self {
            Style::Plain => None,
            Style::Strong => Some("1"),
            Style::Faint => Some("2"),
            Style::Good => Some("32"),
            Style::Bad => Some("31"),
            Style::Warning => Some("33"),
        }
    }
}

/// What is written to a terminal.
pub(crate) struct Screen {
    pub(crate) text: String,
    width: usize,
    color: bool,
}

impl Screen {
    pub(crate) fn new(width: usize, color: bool) -> Screen {
        Screen { text: String::new(), width: width.max(40), color }
    }

    fn painted(&self, text: &str, style: Style) -> String {
        match style.code().filter(|_| self.color) {
            Some(code) => format!("\x1b[{code}m{text}\x1b[0m"),
            None => text.to_owned(),
        }
    }

    /// The one door to the screen: what is not seen, or is a command to a terminal or to a CI system, does not pass.
    pub(crate) fn line(&mut self, text: &str, style: Style) {
        let painted = self.painted(bench_text::line(text.trim_end()).trim_end(), style);
        self.text.push_str(&painted);
        self.text.push('\n');
    }

    pub(crate) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// Broken at spaces; the first line keeps its indentation, following lines have `indent`.
    pub(crate) fn wrapped(&mut self, text: &str, indent: &str, style: Style) {
        let text = units::together(&bench_text::visible(text));
        let mut line: String = text.chars().take_while(|c| *c == ' ').collect();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let fits = line.chars().count() + 1 + word.chars().count() <= self.width;
            if !line.trim().is_empty() && !fits {
                self.line(&line, style);
                line = indent.to_owned();
            } else if !line.trim().is_empty() {
                line.push(' ');
            }
            line.push_str(&word.replace(units::NO_BREAK, " "));
        }
        self.line(&line, style);
    }

    fn results(&mut self, rows: &[ResultRow], reference: &str) {
        if rows.is_empty() {
            return;
        }
        let head = ["environment", "ratio [95 %]", "verdict", "noise floor", "mean (from → to)"];
        let judged = rows.iter().map(|row| JudgedRow {
            heading: format!("{}: {}", row.workload, row.metric_text()),
            cells: [
                row.environment.clone(),
                row.ratio_text(),
                row.verdict.text().to_owned(),
                row.noise_text(),
                row.means_text(),
            ],
            verdict: row.verdict,
            sentence: &row.sentence,
            notes: &row.notes,
        });
        let mut note = format!("ratios: environment ÷ {reference} of the metric above, in the same block");
        if rows.iter().any(|row| row.noise_floor.is_some()) {
            note.push_str("; noise floor: the control's interval");
        }
        self.judged(&head, &judged.collect::<Vec<_>>());
        self.wrapped(&note, "", Style::Faint);
        self.blank();
    }

    /// Rows in the colour of their verdict, under what they are about; an inconclusive one has its sentence below it, and each its notes.
    pub(crate) fn judged<const N: usize>(&mut self, head: &[&str; N], rows: &[JudgedRow<'_, N>]) {
        let all: Vec<[String; N]> =
            rows.iter().map(|row| row.cells.each_ref().map(|cell| bench_text::visible(cell).into_owned())).collect();
        let widths = self.widths(head, &all);
        self.line(&format!("{BELOW}{}", padded(head, &widths)), Style::Faint);
        let mut heading = None;
        for (row, cells) in rows.iter().zip(&all) {
            if heading != Some(&row.heading) {
                self.wrapped(&row.heading, BELOW, Style::Strong);
                heading = Some(&row.heading);
            }
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            self.line(&format!("{BELOW}{}", padded(&cells, &widths)), Style::of(row.verdict));
            if row.verdict == Outcome::Inconclusive && !row.sentence.is_empty() {
                self.wrapped(&format!("    {}", row.sentence), "    ", Style::Faint);
            }
            for note in row.notes {
                self.wrapped(&format!("    {note}"), "    ", Style::Faint);
            }
        }
    }

    /// Widths of as many columns as fit below a heading, at least the first three.
    fn widths<const N: usize>(&self, head: &[&str; N], rows: &[[String; N]]) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..N)
            .map(|at| {
                rows.iter().map(|row| row[at].chars().count()).chain([head[at].chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let taken = |widths: &[usize]| BELOW.len() + widths.iter().sum::<usize>() + 2 * (widths.len() - 1);
        while widths.len() > 3 && taken(&widths) > self.width {
            widths.pop();
        }
        // Names give way, numbers never.
        let too_wide = taken(&widths).saturating_sub(self.width);
        widths[0] = widths[0].saturating_sub(too_wide).max(widths[0].min(8));
        widths
    }

    fn absolutes(&mut self, table: &Table) {
        if !table.rows.is_empty() {
            self.grouped(table);
            self.blank();
        }
    }

    /// A table whose first columns are workload and metric: these are a heading above the rows that share them.
    fn grouped(&mut self, table: &Table) {
        for rows in table.rows.chunk_by(|a, b| a[..2] == b[..2]) {
            self.wrapped(&format!("{}: {}", rows[0][0], rows[0][1]), BELOW, Style::Strong);
            let rows = rows.iter().map(|row| row[2..].to_vec()).collect();
            self.table(&Table { head: table.head[2..].to_vec(), rows });
        }
    }

    fn ladder(&mut self, table: &Table) {
        if !table.rows.is_empty() {
            self.line("one step at a time", Style::Strong);
            self.grouped(table);
            self.blank();
        }
    }

    fn isolation(&mut self, report: &Report) {
        let Some(section) = &report.isolation else { return };
        self.line("isolation", Style::Strong);
        for line in section.lines() {
            self.wrapped(&line, BELOW, Style::Plain);
        }
        self.blank();
        self.table(&report.isolation_table());
        self.blank();
    }

    /// Tested claims one by one; what could not be tested by its reason.
    fn claims(&mut self, report: &Report) {
        if report.claims.is_empty() {
            return;
        }
        self.line("claims of the paper (2014)", Style::Strong);
        let mut untested: Vec<(&str, usize)> = Vec::new();
        for claim in &report.claims {
            if claim.class == "none" {
                match untested.iter_mut().find(|(reason, _)| *reason == claim.reason) {
                    Some((_, count)) => *count += 1,
                    None => untested.push((&claim.reason, 1)),
                }
                continue;
            }
            let style = if claim.class == "equivalent" { Style::Good } else { Style::Plain };
            self.wrapped(&format!("{}: {} ({})", claim.outcome, claim.sentence, claim.reason), "    ", style);
        }
        for (reason, count) in untested {
            self.wrapped(&format!("not tested: {} ({reason})", units::count(count, "claim")), "    ", Style::Faint);
        }
        self.blank();
    }

    fn instances(&mut self, table: &Table) {
        if !table.rows.is_empty() {
            self.line("cost of an instance (medians)", Style::Strong);
            self.table(table);
            self.blank();
        }
    }

    fn table(&mut self, table: &Table) {
        let rows: Vec<Vec<String>> = table
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| bench_text::visible(cell).into_owned()).collect())
            .collect();
        let mut widths: Vec<usize> = (0..table.head.len())
            .map(|at| {
                rows.iter().map(|r| r[at].chars().count()).chain([table.head[at].chars().count()]).max().unwrap_or(0)
            })
            .collect();
        while widths.len() > 2 && widths.iter().sum::<usize>() + 2 * (widths.len() - 1) > self.width {
            widths.pop();
        }
        let head: Vec<&str> = table.head.iter().map(String::as_str).collect();
        self.line(&padded(&head, &widths), Style::Faint);
        for row in &rows {
            let cells: Vec<&str> = row.iter().map(String::as_str).collect();
            self.line(&padded(&cells, &widths), Style::Plain);
        }
    }
}

/// Indent of the lines below a heading.
const BELOW: &str = "  ";

/// A row with a verdict.
pub(crate) struct JudgedRow<'a, const N: usize> {
    /// Workload, metric and which way is better; rows of the same follow each other below one heading.
    pub(crate) heading: String,
    pub(crate) cells: [String; N],
    pub(crate) verdict: Outcome,
    pub(crate) sentence: &'a str,
    pub(crate) notes: &'a [String],
}

/// Cells in columns of these widths; what is too long ends in an ellipsis.
fn padded(cells: &[&str], widths: &[usize]) -> String {
    let cell = |(text, &width): (&&str, &usize)| {
        let length = text.chars().count();
        if length > width {
            let kept: String = text.chars().take(width.saturating_sub(1)).collect();
            format!("{kept}…")
        } else {
            format!("{text}{}", " ".repeat(width - length))
        }
    };
    let cells: Vec<String> = cells.iter().zip(widths).map(cell).collect();
    cells.join("  ").trim_end().to_owned()
}
