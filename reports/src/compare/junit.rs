//! junit.xml: one test case for each deciding row, for CI systems that read test results.

use askama::Template;
use bench_results::compare::{Judged, Outcome, Part};
use bench_results::policy::OnInconclusive;

use super::{CompareReport, tables};
use crate::build::described;
use crate::{ReportError, units};

#[derive(Template)]
#[template(path = "junit.xml")]
struct Suite {
    name: String,
    /// When NEW started; absent where its record holds no time.
    timestamp: Option<String>,
    cases: Vec<Case>,
}

struct Case {
    class: String,
    name: String,
    result: CaseResult,
    message: String,
    details: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CaseResult {
    Passed,
    Failed,
    /// An error: there is nothing to judge.
    Broken,
    /// An error: it cannot be told.
    Undecided,
    Skipped,
}

impl Suite {
    fn count(&self, result: CaseResult) -> usize {
        self.cases.iter().filter(|case| case.result == result).count()
    }

    fn failures(&self) -> usize {
        self.count(CaseResult::Failed)
    }

    fn errors(&self) -> usize {
        self.count(CaseResult::Broken) + self.count(CaseResult::Undecided)
    }

    fn skipped(&self) -> usize {
        self.count(CaseResult::Skipped)
    }
}

impl CompareReport<'_> {
    /// The deciding rows as JUnit XML, by the schema `reports/schema/junit.xsd`. What is broken is an error. What cannot be told is
    /// skipped, or an error where the policy fails it; what is ignored is skipped.
    pub fn junit(&self) -> Result<String, ReportError> {
        let timestamp = self.judgement.new.first().and_then(|run| date_time(&run.started_at));
        let mut cases: Vec<Case> = self.judgement.deciding().map(|row| self.case(row)).collect();
        match self.judgement.outcome {
            Outcome::Incomparable => cases.push(self.comparison_itself(CaseResult::Broken)),
            Outcome::Inconclusive if self.judgement.is_imported() => {
                cases.push(self.comparison_itself(CaseResult::Undecided));
            }
            _ => {}
        }
        let suite = Suite { name: format!("bench compare {}", self.suite()), timestamp, cases };
        Ok(suite.render()?)
    }

    /// An error even where no row decides.
    fn comparison_itself(&self, result: CaseResult) -> Case {
        Case {
            class: self.suite().to_owned(),
            name: "comparison".to_owned(),
            result,
            message: self.judgement.headline.clone(),
            details: self.judgement.notes.join("; "),
        }
    }

    fn case(&self, row: &Judged) -> Case {
        let undecided = match self.judgement.policy.on_inconclusive {
            OnInconclusive::Pass => CaseResult::Skipped,
            OnInconclusive::Fail => CaseResult::Undecided,
        };
        let result = match row.part {
            Part::Fails => CaseResult::Failed,
            Part::Broken => CaseResult::Broken,
            Part::Undecided => undecided,
            Part::Unconfirmed | Part::Ignored => CaseResult::Skipped,
            Part::Passes | Part::Informs => CaseResult::Passed,
        };
        let ignored = row.ignored.as_ref().map(|it| format!("; ignored until {}: {}", it.until, it.reason));
        let details = format!(
            "NEW / BASE {}, {}, p {} (Holm), alarm from {}, {}",
            tables::ratio_text(row),
            units::is_better(row.better),
            tables::p_text(row),
            tables::alarm_text(row),
            self.change_text(row)
        );
        Case {
            class: format!("{}.{}", self.suite(), self.environment(row)),
            name: format!("{}: {} ({})", row.workload, described(&row.metric).0, self.quantity(row)),
            result,
            message: format!("{}: {}{}", tables::verdict_text(row), row.sentence, ignored.unwrap_or_default()),
            details,
        }
    }
}

/// A time of a record as `xs:dateTime`.
fn date_time(text: &str) -> Option<String> {
    let time: jiff::Timestamp = text.parse().ok()?;
    // Years before the first are written in another way there.
    Some(time.to_string()).filter(|text| text.starts_with(|first: char| first.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::date_time;

    #[test]
    fn only_a_time_is_one() {
        assert_eq!(date_time("2026-01-01T00:00:00Z").as_deref(), Some("2026-01-01T00:00:00Z"));
        for other in ["", "yesterday", "2026-01-01T00:00:00Z\u{1b}", "-000005-01-01T00:00:00Z", "2026-13-01T00:00:00Z"]
        {
            assert_eq!(date_time(other), None, "{other:?}");
        }
    }
}
