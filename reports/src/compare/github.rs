//! Annotations: lines that a GitHub job prints, and GitHub shows beside the change.

use bench_results::compare::{Judged, Outcome, Part};
use bench_results::policy::OnInconclusive;

use super::{CompareReport, tables};

impl CompareReport<'_> {
    /// Workflow commands: an error for each row that fails, a warning for each that cannot be told, and a notice; where nothing
    /// could be compared, an error in its place.
    pub fn annotations(&self) -> String {
        let fails = self.judgement.policy.on_inconclusive == OnInconclusive::Fail;
        let level = if self.judgement.outcome == Outcome::Incomparable { "error" } else { "notice" };
        let mut text = command(level, &format!("bench compare {}", self.outcome_text()), &self.judgement.headline);
        for row in self.judgement.deciding() {
            let level = match row.part {
                Part::Fails | Part::Broken => "error",
                Part::Undecided if fails => "error",
                Part::Undecided | Part::Unconfirmed => "warning",
                Part::Passes | Part::Ignored | Part::Informs => continue,
            };
            text.push_str(&command(level, &self.title(row), &format!("{} {}", tables::ratio_text(row), row.sentence)));
        }
        text
    }

    fn title(&self, row: &Judged) -> String {
        let about = format!("{} ({})", tables::metric_text(row), self.quantity(row));
        format!("{}: {} in {}, {about}", tables::verdict_text(row), row.workload, self.environment(row))
    }
}

/// One workflow command, on one line: a line end would begin another.
fn command(level: &str, title: &str, message: &str) -> String {
    let data = |text: &str| bench_text::line(text).replace('%', "%25");
    let title = data(title).replace(':', "%3A").replace(',', "%2C");
    format!("::{level} title={title}::{}\n", data(message))
}

#[cfg(test)]
mod tests {
    use super::command;

    #[test]
    fn a_name_begins_no_command_of_its_own() {
        let text = command("error", "a:b,c", "20 % slower\n::set-env name=x::y");
        assert_eq!(text, "::error title=a%3Ab%2Cc::20 %25 slower ::set-env name=x::y\n");
    }
}
