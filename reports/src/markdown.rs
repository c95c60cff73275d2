//! report.md: what fits into a comment of a review or the summary of a CI job.

use crate::figures::Table;
use crate::report::{Outcome, Report, ResultRow};
use crate::units;

impl Report {
    /// The report as GitHub-flavoured Markdown; pictures are those beside it.
    pub fn markdown(&self) -> String {
        let mut out = Page::default();
        out.line(&format!("# {}", escaped(&self.headline)));
        if let Some(unfinished) = &self.unfinished {
            out.line(&format!("**Not finished: {}.**", escaped(unfinished)));
        }
        let facts: Vec<String> = self.facts.iter().map(|fact| escaped(fact)).collect();
        out.line(&facts.join(" · "));
        if let Some(answer) = self.figures.first() {
            out.line(&format!("![{}]({}.png)", escaped(&answer.title), answer.name));
        }
        out.section("Result", &self.results_table(&self.results));
        out.section("Emulated guests: shown apart, never judged", &self.results_table(&self.emulated));
        out.section("Measured", &self.absolutes_table());
        out.section("The way behind NAT, one step at a time", &self.ladder_table());
        out.section("Claims of the paper", &self.claims_table());
        out.section("Sameness", &self.sameness_table());
        out.section("Trials that failed or are invalid", &self.troubles_table());
        out.list("Left out", self.left_out.iter().map(|row| format!("{}: {}", row.environment, row.reason)));
        out.list("Warnings", self.warnings.iter().cloned());
        out.section("Cost of an instance", &self.instances_table());
        out.line("## Repeat it");
        out.line(&fenced(&self.command));
        out.line(&format!("Made by {}; run {}.", escaped(&self.bench), escaped(&self.id)));
        out.text
    }

    /// Comparisons as shown on page and in Markdown.
    pub(crate) fn results_table(&self, rows: &[ResultRow]) -> Table {
        let head =
            ["workload", "environment", "metric", "mean", "ratio [95 %]", "verdict", "noise floor", "paper's ratio"];
        let cells = |row: &ResultRow| {
            vec![
                row.workload.clone(),
                row.environment.clone(),
                row.metric_text(),
                row.means_text(),
                row.ratio_text(),
                row.verdict_text(),
                row.noise_text(),
                row.paper_text(),
            ]
        };
        Table { head: head.map(str::to_owned).into(), rows: rows.iter().map(cells).collect() }
    }

    pub(crate) fn absolutes_table(&self) -> Table {
        let head = ["workload", "environment", "metric", "mean over blocks", "smallest to largest block", "blocks"];
        let rows = self.absolutes.iter().map(|row| {
            let (low, high) = row.range;
            vec![
                row.workload.clone(),
                row.environment.clone(),
                row.metric.clone(),
                units::human(row.mean, row.unit),
                format!("{} to {}", units::human(low, row.unit), units::human(high, row.unit)),
                row.blocks.to_string(),
            ]
        });
        Table { head: head.map(str::to_owned).into(), rows: rows.collect() }
    }

    /// What each step of the way behind NAT adds.
    pub(crate) fn ladder_table(&self) -> Table {
        let head = ["workload", "step", "mean", "added to the step before [95 %]", "metric"];
        let rows = self.ladder.iter().map(|row| {
            let signed = |value: f64| {
                let sign = if value < 0.0 { "−" } else { "+" };
                format!("{sign}{}", units::human(value.abs(), row.unit))
            };
            let added = match (row.added, row.interval) {
                (Some(added), Some((low, high))) => format!("{} [{}, {}]", signed(added), signed(low), signed(high)),
                (Some(added), None) => signed(added),
                (None, _) => "–".to_owned(),
            };
            let mean = units::human(row.mean, row.unit);
            vec![row.workload.clone(), row.environment.clone(), mean, added, row.metric.clone()]
        });
        Table { head: head.map(str::to_owned).into(), rows: rows.collect() }
    }

    fn claims_table(&self) -> Table {
        let head = ["claim", "here", "because", "source"];
        let rows = self
            .claims
            .iter()
            .map(|row| vec![row.sentence.clone(), row.outcome.clone(), row.reason.clone(), row.source.clone()]);
        Table { head: head.map(str::to_owned).into(), rows: rows.collect() }
    }

    fn sameness_table(&self) -> Table {
        let mut head = vec!["axis".to_owned()];
        head.extend(self.sameness.environments.iter().cloned());
        let rows = self.sameness.rows.iter().map(|row| {
            let mut cells = vec![row.axis.clone()];
            let marked = |differs: bool, value: &str| if differs { format!("≠ {value}") } else { value.to_owned() };
            cells.extend(row.cells.iter().map(|cell| marked(cell.differs, &cell.value)));
            cells
        });
        Table { rows: rows.collect(), head }
    }

    pub(crate) fn troubles_table(&self) -> Table {
        let head = ["trial", "workload", "environment", "block", "what", "reason"];
        let rows = self.troubles.iter().map(|row| {
            let block = row.block.to_string();
            let kind = row.kind.to_owned();
            vec![row.trial.clone(), row.workload.clone(), row.environment.clone(), block, kind, row.reason.clone()]
        });
        Table { head: head.map(str::to_owned).into(), rows: rows.collect() }
    }

    /// Medians over instances; columns that no environment has are left out.
    pub(crate) fn instances_table(&self) -> Table {
        use bench_results::Unit::{Bytes, Ns};
        let columns = [
            ("start to ready", Ns, self.instances.iter().map(|row| row.start_to_ready_ns).collect::<Vec<_>>()),
            ("memory when ready", Bytes, self.instances.iter().map(|row| row.memory_at_ready_bytes).collect()),
            ("QEMU itself", Bytes, self.instances.iter().map(|row| row.vmm_memory_at_ready_bytes).collect()),
            (
                "guest RAM in use when ready",
                Bytes,
                self.instances.iter().map(|row| row.guest_memory_at_ready_bytes).collect(),
            ),
        ];
        let columns: Vec<_> = columns.into_iter().filter(|(_, _, values)| values.iter().any(Option::is_some)).collect();
        let mut head = vec!["environment".to_owned(), "instances".to_owned()];
        head.extend(columns.iter().map(|(name, _, _)| (*name).to_owned()));
        head.push("kernel inside".to_owned());
        let rows = self.instances.iter().enumerate().map(|(at, row)| {
            let mut cells = vec![row.environment.clone(), row.instances.to_string()];
            let shown = |value: Option<f64>, unit| value.map_or("–".to_owned(), |value| units::human(value, unit));
            cells.extend(columns.iter().map(|(_, unit, values)| shown(values[at], *unit)));
            cells.push(row.kernel_release.clone().unwrap_or_else(|| "–".to_owned()));
            cells
        });
        Table { rows: rows.collect(), head }
    }
}

impl ResultRow {
    /// The metric, and which way is better.
    pub(crate) fn metric_text(&self) -> String {
        let better = match self.better {
            bench_results::Direction::Higher => "higher",
            bench_results::Direction::Lower => "lower",
        };
        format!("{} ({better} is better)", self.metric)
    }

    /// Reference and environment: `84.0 → 82.1 k IOPS`.
    pub(crate) fn means_text(&self) -> String {
        units::from_to(self.reference_mean, self.mean, self.unit)
    }

    /// The verdict, what it means here, and what a mean hides.
    fn verdict_text(&self) -> String {
        let mut text = match self.verdict {
            Outcome::None => self.sentence.clone(),
            verdict => format!("{}: {}", verdict.text(), self.sentence),
        };
        for note in &self.notes {
            text.push_str("; ");
            text.push_str(note);
        }
        text
    }

    pub(crate) fn ratio_text(&self) -> String {
        if let Some([low, high]) = self.ratio_modes {
            return format!("{} or {}", units::ratio(low.center), units::ratio(high.center));
        }
        self.ratio.map_or("–".to_owned(), |ratio| units::ratio_with(ratio, self.interval))
    }

    pub(crate) fn noise_text(&self) -> String {
        self.noise_floor.map_or("–".to_owned(), units::bounds)
    }

    pub(crate) fn paper_text(&self) -> String {
        self.paper.map_or("–".to_owned(), units::ratio)
    }
}

/// A Markdown document that is being written.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) text: String,
}

impl Page {
    pub(crate) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push_str("\n\n");
    }

    fn section(&mut self, heading: &str, table: &Table) {
        if !table.rows.is_empty() {
            self.line(&format!("## {heading}"));
            self.table(table);
        }
    }

    pub(crate) fn table(&mut self, table: &Table) {
        let row = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        self.text.push_str(&row(&table.head));
        self.text.push_str(&format!("|{}\n", " --- |".repeat(table.head.len())));
        for cells in &table.rows {
            self.text.push_str(&row(cells));
        }
        self.text.push('\n');
    }

    pub(crate) fn list(&mut self, heading: &str, items: impl Iterator<Item = String>) {
        let items: Vec<String> = items.map(|item| format!("- {}\n", escaped(&item))).collect();
        if !items.is_empty() {
            self.line(&format!("## {heading}"));
            self.line(items.concat().trim_end());
        }
    }
}

/// Text that means nothing to Markdown or HTML, on one line.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A code block whose fence the text cannot close.
fn fenced(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(3.max(longest + 1));
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{fence}sh\n{text}\n{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_becomes_markup() {
        assert_eq!(escaped("<b>|a_b`\n# x"), "&lt;b&gt;\\|a\\_b\\` \\# x");
        assert_eq!(fenced("echo ```\n"), "````sh\necho ``` \n````");
    }
}
