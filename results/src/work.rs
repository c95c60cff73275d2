//! What commands work on, and why two sides of one are not comparable.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::record::{Environment, Workload};

/// The storage that commands work on, in one environment. Where it is not the same there is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkFolder {
    /// Its form, file system and disk: `ext4 image on ext4 (vda)`.
    pub storage: String,
    /// True when its I/O goes past the host's page cache.
    pub direct: bool,
    /// Its size, without the files that are brought along.
    pub size_bytes: u64,
}

impl std::fmt::Display for WorkFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let way = if self.direct { "direct I/O" } else { "through the host's page cache" };
        write!(f, "{}, {way}", self.storage)
    }
}

/// How the reason begins for which a command gets no verdict.
pub(crate) const OTHER_STORAGE: &str = "not judged, on other storage";

/// Why a command's two sides are not comparable: what it works on is not the same storage.
pub(crate) fn other_storage(workload: &Workload, environment: &Environment, reference: &Environment) -> Option<String> {
    let said = |side: &Environment| side.work.as_ref().map_or("unknown".to_owned(), ToString::to_string);
    (workload.is_command() && environment.work != reference.work).then(|| {
        format!(
            "{OTHER_STORAGE}: the work folder is {}; of {} it is {}",
            said(environment),
            reference.name,
            said(reference)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::{Comparison, analyse};
    use crate::store::Record;
    use crate::testing;
    use crate::verdict::Verdict;

    fn folder(storage: &str, direct: bool) -> Option<WorkFolder> {
        Some(WorkFolder { storage: storage.into(), direct, size_bytes: 1 << 30 })
    }

    /// A record of commands, of which the container works on something else.
    fn record(container: Option<WorkFolder>) -> Record {
        let mut record = testing::record(1, 8, false);
        for workload in &mut record.run.plan.workloads {
            workload.parameters = [("argv".to_owned(), "sqlite3 x.db".to_owned())].into();
        }
        for environment in &mut record.run.environments {
            environment.work = folder("ext4 image on ext4 (vda)", true);
        }
        record.run.environments[2].work = container;
        record
    }

    fn of(record: &Record, environment: &str) -> Comparison {
        let mut all = analyse(record).comparisons.into_iter();
        all.find(|c| c.deciding && c.workload == "rand-read" && c.environment == environment).unwrap()
    }

    #[test]
    fn a_command_on_other_storage_is_not_judged() {
        for other in [folder("folder on ext4 (vda)", true), folder("ext4 image on ext4 (vda)", false), None] {
            let record = record(other);
            let container = of(&record, "container");
            assert_eq!(container.verdict, None);
            assert!(container.why_no_verdict.as_ref().unwrap().starts_with(OTHER_STORAGE), "{container:?}");
            assert!(
                container.sentence.contains("of native it is ext4 image on ext4 (vda), direct I/O"),
                "{container:?}"
            );
            assert!(of(&record, "vm").verdict.is_some());
            assert!(analyse(&record).headline.contains("container: not judged, on other storage"));
        }
    }

    #[test]
    fn a_command_on_the_same_storage_is_judged_and_so_is_what_is_no_command() {
        assert!(of(&record(folder("ext4 image on ext4 (vda)", true)), "container").verdict.is_some());
        let mut fio = record(None);
        fio.run.plan.workloads.iter_mut().for_each(|workload| workload.parameters.clear());
        assert!(of(&fio, "container").verdict.is_some());
        let mut old = record(None);
        old.run.environments.iter_mut().for_each(|environment| environment.work = None);
        assert!(of(&old, "container").verdict.is_some(), "records of before stay readable as they are");
    }

    #[test]
    fn a_gate_cannot_tell_of_a_command_on_other_storage() {
        use crate::compare::{Sides, compare};
        use crate::policy::Policy;
        let records = [record(folder("folder on ext4 (vda)", false))];
        let sides = Sides::Environments { runs: &records, base: "native", new: "container" };
        let judgement = compare(sides, &Policy::default(), None).unwrap();
        let row = judgement.rows.iter().find(|row| row.workload == "rand-read" && row.verdict.is_some()).unwrap();
        assert_eq!(row.verdict, Some(Verdict::Inconclusive));
        assert!(row.sentence.contains(OTHER_STORAGE), "{}", row.sentence);
    }
}
