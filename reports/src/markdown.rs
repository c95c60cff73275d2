//! report.md: what fits into a comment of a review or the summary of a CI job.

use crate::figures::Table;
use crate::page::{Markdown, Page, md};
use crate::report::{Outcome, Report, ResultRow};
use crate::units;

/// Failed and invalid trials that a table names.
const MOST_TROUBLES: usize = 500;

impl Report {
    /// The report as GitHub-flavoured Markdown; pictures are those beside it.
    pub fn markdown(&self) -> String {
        let mut out = Page::default();
        out.line(&md!("# {}", self.headline));
        if let Some(unfinished) = &self.unfinished {
            out.line(&md!("**Not finished: {}.**", unfinished));
        }
        out.line(&match self.reportable.reportable {
            true => md!("{}", self.reportable_line()),
            false => md!("**{}.**", self.reportable_line()),
        });
        out.line(&Markdown::joined(&self.facts, " · "));
        if let Some(answer) = self.figures.first() {
            out.line(&md!("![{}]({}.png)", answer.title, answer.name));
        }
        out.section("Result", &self.results_table(&self.results));
        if !self.secondaries.is_empty() {
            out.line(&md!("## Secondary metrics"));
            out.line(&md!("{}. {}", self.secondaries_text(), self.secondaries_note()));
            out.fold("All of them", |out| out.table(&self.secondaries_table()));
        }
        let intervals = self.intervals_table();
        if !intervals.rows.is_empty() {
            out.fold("Intervals, and what checks them", |out| {
                out.line(&md!("{}", self.checks_note()));
                out.table(&intervals);
            });
        }
        out.section("Emulated guests: shown apart, never judged", &self.results_table(&self.emulated));
        out.section("Measured", &self.absolutes_table());
        self.isolation_in(&mut out);
        out.section("One step at a time", &self.ladder_table());
        out.section("Claims of the paper", &self.claims_table());
        out.section("Sameness", &self.sameness_table());
        out.section("Trials that failed or are invalid", &self.troubles_table());
        out.list("Remarks on trials", self.remarks.iter().map(|row| md!("{}", row.line())));
        out.section("Checks", &self.checks_table());
        out.list("Left out", self.left_out.iter().map(|row| md!("{}: {}", row.environment, row.reason)));
        out.list("Warnings", self.warnings.iter().map(|warning| md!("{}", warning)));
        out.section("Cost of an instance", &self.instances_table());
        out.line(&md!("## Reproduce"));
        out.code("sh", &self.command);
        out.line(&md!("Made by {}; run {}.", self.bench, self.id));
        out.end()
    }

    fn isolation_in(&self, out: &mut Page) {
        let Some(section) = &self.isolation else { return };
        out.list("Isolation", section.lines().iter().map(|line| md!("{}", line)));
        out.table(&self.isolation_table());
        out.fold("Every probe", |out| out.table(&self.probes_table()));
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
        let head = ["workload", "metric", "environment", "mean over blocks", "smallest to largest block", "blocks"];
        let rows = self.absolutes.iter().map(|row| {
            let (low, high) = row.range;
            vec![
                row.workload.clone(),
                units::metric(&row.metric, row.better),
                row.environment.clone(),
                units::human(row.mean, row.unit),
                format!("{} to {}", units::human(low, row.unit), units::human(high, row.unit)),
                row.blocks.to_string(),
            ]
        });
        Table { head: head.map(str::to_owned).into(), rows: rows.collect() }
    }

    /// What each step adds.
    pub(crate) fn ladder_table(&self) -> Table {
        let head = ["workload", "metric", "step", "mean", "added to the step before [95 %]"];
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
            vec![row.workload.clone(), units::metric(&row.metric, row.better), row.environment.clone(), mean, added]
        });
        Table { head: head.map(str::to_owned).into(), rows: rows.collect() }
    }

    fn claims_table(&self) -> Table {
        let head = ["claim", "result", "reason", "source"];
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
        let rows = self.troubles.iter().take(MOST_TROUBLES).map(|row| {
            let block = row.block.to_string();
            let kind = row.kind.to_owned();
            vec![row.trial.clone(), row.workload.clone(), row.environment.clone(), block, kind, row.reason.clone()]
        });
        let mut rows: Vec<_> = rows.collect();
        if let Some(more) = self.troubles.len().checked_sub(MOST_TROUBLES).filter(|more| *more > 0) {
            let mut row = vec![String::new(); head.len()];
            (row[0], row[5]) = (format!("{more} more"), "see bench report --format json".to_owned());
            rows.push(row);
        }
        Table { head: head.map(str::to_owned).into(), rows }
    }

    /// Medians over instances; columns that no environment has are left out.
    pub(crate) fn instances_table(&self) -> Table {
        use bench_results::Unit::{Bytes, Ns};
        let columns = [
            ("start to ready", Ns, self.instances.iter().map(|row| row.start_to_ready_ns).collect::<Vec<_>>()),
            ("memory when ready", Bytes, self.instances.iter().map(|row| row.memory_at_ready_bytes).collect()),
            ("VMM itself", Bytes, self.instances.iter().map(|row| row.vmm_memory_at_ready_bytes).collect()),
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
        units::metric(&self.metric, self.better)
    }

    /// Reference and environment: `84.0 → 82.1 k IOPS`.
    pub(crate) fn means_text(&self) -> String {
        units::from_to(self.reference_mean, self.mean, self.unit)
    }

    /// The verdict, what it means here, and what a mean hides.
    pub(crate) fn verdict_text(&self) -> String {
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
