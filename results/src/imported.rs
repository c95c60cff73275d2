//! Runs that others measured with other tools, and that `bench import` only wrote down.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::Run;

/// What is said of every imported run, wherever a verdict would stand.
pub const CAVEAT: &str = "imported: comparability unknown";

/// Where an imported run is from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Imported {
    /// The files, in the order in which they were given.
    pub files: Vec<ImportedFile>,
}

/// A file whose results were imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedFile {
    /// Its name, without its folder.
    pub name: String,
    /// SHA-256 of its content.
    pub sha256: String,
    /// Name of the environment that its results are filed under.
    pub environment: String,
    /// The tools that wrote it, with their versions where they tell: `fio-3.33`, `iperf 3.19`, `hyperfine`.
    pub tools: Vec<String>,
    /// How many results it holds, one after the other.
    pub results: u32,
}

impl Imported {
    /// The tools of all files, each once.
    pub fn tools(&self) -> BTreeSet<&str> {
        self.files.iter().flat_map(|file| &file.tools).map(String::as_str).collect()
    }
}

/// Why nothing of an imported run may be judged; absent where `bench` measured it.
pub fn why_not_judged(run: &Run) -> Option<&'static str> {
    run.imported.as_ref().map(|_| CAVEAT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet as Set;

    use super::*;
    use crate::analysis::analyse;
    use crate::compare::{CompareError, Judged, Judgement, Outcome, Part, Sides, compare};
    use crate::policy::Policy;
    use crate::store::Record;
    use crate::testing;

    fn imported(mut record: Record) -> Record {
        let file = |environment: &str| ImportedFile {
            name: format!("{environment}.json"),
            sha256: "00".repeat(32),
            environment: environment.to_owned(),
            tools: vec!["fio-3.33".to_owned()],
            results: 1,
        };
        record.run.imported = Some(Imported { files: vec![file("native"), file("vm")] });
        record
    }

    fn judgement(base: &Record, new: &Record) -> Result<Judgement, CompareError> {
        let (base, new, allowed) = ([base.clone()], [new.clone()], Set::new());
        compare(Sides::Runs { base: &base, new: &new, allowed: &allowed }, &Policy::default(), None)
    }

    #[test]
    fn nothing_of_an_imported_run_is_judged() {
        let analysis = analyse(&imported(testing::record(1, 8, false)));
        assert_eq!(analysis.headline, format!("not judged: {CAVEAT}"));
        assert!(analysis.comparisons.iter().all(|c| c.verdict.is_none() && c.why_no_verdict.is_some()));
        assert!(analysis.comparisons.iter().any(|c| c.ratio.is_some() && c.sentence.contains(CAVEAT)));
        let reasons: Vec<_> = analysis.reportable.reasons.iter().map(|reason| reason.text.as_str()).collect();
        assert_eq!(reasons, [CAVEAT]);
    }

    #[test]
    fn two_imported_runs_have_ratios_and_no_gate() {
        let (base, new) = (testing::record(1, 8, false), testing::another(2, 8, false));
        let judged = judgement(&imported(base.clone()), &imported(new.clone())).unwrap();
        assert_eq!((judged.outcome, &judged.headline), (Outcome::Inconclusive, &format!("not judged: {CAVEAT}")));
        let is_open = |row: &Judged| matches!(row.part, Part::Undecided | Part::Informs) && !row.emulated;
        assert!(judged.rows.iter().all(|row| is_open(row) && row.p.is_none() && row.sentence.contains(CAVEAT)));
        assert!(judged.deciding().any(|row| row.ratio.is_some()) && judged.tests == 0);
        // What was measured by bench is not held against what was not.
        for (base, new) in [(imported(base.clone()), new.clone()), (base, imported(new))] {
            assert!(judgement(&base, &new).unwrap_err().to_string().contains(CAVEAT));
        }
    }

    #[test]
    fn runs_with_other_references_are_told_what_can_be_done() {
        let (base, mut new) = (testing::record(1, 2, false), testing::another(2, 2, false));
        new.run.plan.reference = "container".to_owned();
        let measured = judgement(&base, &new).unwrap_err().to_string();
        assert!(measured.contains("execute one of them again with --reference"), "{measured}");
        let said = judgement(&imported(base), &imported(new)).unwrap_err().to_string();
        assert!(said.contains("bench import native=... container=...") && !said.contains("--reference"), "{said}");
    }

    #[test]
    fn a_record_of_before_there_were_imports_is_read() {
        let mut value = serde_json::to_value(testing::record(1, 1, false).run).unwrap();
        assert!(value.get("imported").is_none(), "nothing is written where nothing was imported");
        value["imported"] = serde_json::Value::Null;
        assert_eq!(serde_json::from_value::<Run>(value).unwrap().imported, None);
    }
}
