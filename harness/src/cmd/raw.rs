//! Records as they are read for people: what was measured is held against the raw output of tools that lies beside it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bench_results::archive;
use bench_results::limits::{self, Links};
use bench_results::record::Trial;
use bench_results::store::Record;

use crate::caller::Hands;

/// What fio printed.
const FIO: &str = "fio.json";
/// Share by which a value may differ from what its raw output says: the record has it in full precision.
const TOLERANCE: f64 = 1e-6;

/// Read a record with these hands, and keep of it what reports and comparisons need. A trial whose raw output says otherwise is denied: it
/// is invalid, and the run is not reportable.
pub fn load(path: &Path, hands: Hands) -> Result<Record> {
    hands.act(|| {
        if path.is_file() {
            let counted = counted_in_archive(path)?;
            let of = |trial: &Trial| counted.get(&Path::new(&name_of(trial)).join(FIO));
            return Ok(Record::load_lean(path, |trial| deny(trial, of(trial).map_or(&[], Vec::as_slice)))?);
        }
        let raw = raw_of(path);
        Ok(Record::load_lean(path, |trial| raw.iter().for_each(|raw| deny_from(raw, trial)))?)
    })
}

/// Where raw output of a run's folder is.
fn raw_of(folder: &Path) -> Option<PathBuf> {
    Some(folder.join("raw")).filter(|raw| is_folder(raw))
}

fn deny_from(raw: &Path, trial: &mut Trial) {
    let folder = raw.join(name_of(trial));
    if is_folder(&folder)
        && let Ok(output) = limits::read(&folder.join(FIO), limits::TOOL_OUTPUT_BYTES, Links::Refused)
    {
        deny(trial, &bench_workloads::recount(&output));
    }
}

/// What fio's own outputs in an archive say, by their paths below `raw/`.
fn counted_in_archive(path: &Path) -> Result<BTreeMap<PathBuf, Vec<Counted>>> {
    let mut all = BTreeMap::new();
    archive::each_raw(path, |path, content| {
        let mut output = Vec::new();
        if path.file_name().is_some_and(|name| name == FIO)
            && content.take(limits::TOOL_OUTPUT_BYTES).read_to_end(&mut output).is_ok()
        {
            all.insert(path.to_owned(), bench_workloads::recount(&output));
        }
    })?;
    Ok(all)
}

/// A link would lead elsewhere.
fn is_folder(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir())
}

/// The name of a trial's folder in `raw/`.
fn name_of(trial: &Trial) -> String {
    let later = |count: u32, word: &str| if count > 1 { format!("-{word}{count}") } else { String::new() };
    let (execution, attempt) = (later(trial.execution, "execution"), later(trial.attempt, "attempt"));
    format!("{}{execution}{attempt}", trial.planned.id)
}

/// A metric, and what fio's own output says of it.
type Counted = (String, f64);

/// What fio's own output says against a trial; where it cannot be read, nothing.
fn deny(trial: &mut Trial, counted: &[Counted]) {
    let denial = counted.iter().find_map(|(metric, counted)| {
        let measured = trial.value(metric)?;
        let differs = (measured - counted).abs() > TOLERANCE * measured.abs().max(counted.abs());
        differs.then(|| format!("{metric} is {measured:.1}, and raw/{}/{FIO} says {counted:.1}", name_of(trial)))
    });
    if let Some(why) = denial {
        trial.deny(&why);
    }
}

#[cfg(test)]
mod tests {
    use bench_results::store::RunFolder;
    use bench_results::testing;

    use super::*;

    /// Of every trial that is valid.
    fn deny_all(record: &mut Record) {
        let raw = raw_of(&record.folder);
        let valid = record.trials.iter_mut().filter(|trial| trial.is_valid());
        valid.for_each(|trial| raw.iter().for_each(|raw| deny_from(raw, trial)));
    }

    const GOLDEN: &str = include_str!("../../../workloads/fio-rs/tests/golden/good.out");

    #[test]
    fn a_trial_that_its_raw_output_denies_is_invalid() {
        let parent = tempfile::tempdir().unwrap();
        let counted = bench_workloads::recount(GOLDEN.as_bytes());
        assert!(counted.iter().any(|(metric, value)| metric == "iops" && *value > 0.0), "{counted:?}");
        let read = |edit: fn(&mut Record), raw: &str, text: &str| {
            let mut record = testing::record(1, 1, false);
            record.folder = parent.path().to_owned();
            for (metric, value) in &counted {
                record.trials[0]
                    .measurements
                    .iter_mut()
                    .filter(|one| one.metric == *metric)
                    .for_each(|one| one.value = *value);
            }
            edit(&mut record);
            let folder = parent.path().join("raw").join(raw);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("fio.json"), text).unwrap();
            deny_all(&mut record);
            fs::remove_dir_all(parent.path().join("raw")).unwrap();
            record.trials[0].invalid.clone()
        };
        let id = "b01-seq-write-native";
        assert_eq!(read(|_| {}, id, GOLDEN), [""; 0]);
        let said = read(|record| record.trials[0].measurements[0].value *= 1.5, id, GOLDEN);
        assert!(said.len() == 1 && said[0].contains("iops is ") && said[0].contains(id), "{said:?}");
        assert_eq!(read(|record| record.trials[0].measurements[0].value *= 1.5, "another", GOLDEN), [""; 0]);
        assert_eq!(read(|record| record.trials[0].measurements[0].value *= 1.5, id, "no output"), [""; 0]);
        let later = |record: &mut Record| {
            (record.trials[0].execution, record.trials[0].attempt) = (2, 3);
            record.trials[0].measurements[0].value *= 1.5;
        };
        assert_eq!(read(later, &format!("{id}-execution2-attempt3"), GOLDEN).len(), 1);
    }

    #[test]
    fn raw_output_in_an_archive_counts_as_well() {
        let parent = tempfile::tempdir().unwrap();
        let record = testing::record(1, 1, false);
        let mut folder = RunFolder::create(parent.path(), &record.run).unwrap();
        record.trials.iter().for_each(|trial| folder.append_trial(trial).unwrap());
        fs::write(folder.raw("b01-seq-write-native", 1).unwrap().join(FIO), GOLDEN).unwrap();
        fs::write(folder.raw("b01-seq-read-native", 1).unwrap().join("notes"), GOLDEN).unwrap();
        let to = parent.path().join("run.tar.gz");
        archive::export(folder.path(), &to).unwrap();
        for path in [folder.path(), &to] {
            let read = load(path, Hands::of(None)).unwrap();
            let denied: Vec<_> =
                read.trials.iter().filter(|trial| !trial.is_valid()).map(|trial| &trial.planned.id).collect();
            assert_eq!(denied, ["b01-seq-write-native"], "{}", path.display());
        }
    }

    #[test]
    fn links_in_raw_are_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        let mut record = testing::record(1, 1, false);
        record.folder = parent.path().join("run");
        let elsewhere = parent.path().join("elsewhere");
        fs::create_dir_all(elsewhere.join("b01-seq-write-native")).unwrap();
        fs::write(elsewhere.join("b01-seq-write-native/fio.json"), GOLDEN).unwrap();
        fs::create_dir(&record.folder).unwrap();
        std::os::unix::fs::symlink(&elsewhere, record.folder.join("raw")).unwrap();
        deny_all(&mut record);
        assert!(record.trials.iter().all(Trial::is_valid));
        fs::remove_file(record.folder.join("raw")).unwrap();
        fs::rename(&elsewhere, record.folder.join("raw")).unwrap();
        deny_all(&mut record);
        assert!(!record.trials[0].is_valid(), "its values are made up");
    }
}
