//! What is larger than the table in docs/RECORD-FORMAT.md allows is refused with a sentence that says how much is read. Sizes that are
//! announced and never written, and counts of next to nothing, so that it takes no time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bench_results::limits;
use bench_results::record::{Run, Trial};
use bench_results::store::{Record, RunFolder, StoreError, find_runs};
use bench_results::testing;
use serde_json::{Value, json};

fn run(parent: &Path) -> PathBuf {
    let record = testing::record(1, 1, false);
    let mut folder = RunFolder::create(parent, &record.run).unwrap();
    folder.append_trials(&record.trials).unwrap();
    folder.path().to_owned()
}

/// What is said of it, whole or lean.
fn said(path: &Path) -> String {
    let whole = Record::load(path).unwrap_err().to_string();
    assert_eq!(whole, Record::load_lean(path, |_| {}).unwrap_err().to_string());
    whole
}

fn announce(path: &Path, bytes: u64) {
    File::create(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn files_that_are_a_byte_too_large_are_refused_and_the_sentence_has_the_limit() {
    let parent = tempfile::tempdir().unwrap();
    let folder = run(parent.path());
    let archive = parent.path().join("run.tar.gz");
    let policy = parent.path().join("policy.toml");
    for (most, name) in [(limits::RUN_BYTES, "run.json"), (limits::TRIALS_BYTES, "trials.jsonl")] {
        let kept = fs::read(folder.join(name)).unwrap();
        announce(&folder.join(name), most + 1);
        let (said, most) = (said(&folder), limits::size(most));
        assert!(said.contains(name) && said.contains(&format!("at most {most} is read")), "{said}");
        fs::write(folder.join(name), kept).unwrap();
    }
    Record::load(&folder).unwrap();
    announce(&archive, limits::ARCHIVE_BYTES + 1);
    announce(&policy, limits::DEFINITION_BYTES + 1);
    let said_of_policy = limits::read_definition(&policy).unwrap_err().to_string();
    for (said, most) in [(said(&archive), limits::ARCHIVE_BYTES), (said_of_policy, limits::DEFINITION_BYTES)] {
        assert!(said.contains(&format!("at most {} is read", limits::size(most))), "{said}");
    }
}

/// The first trial with something of it exchanged, as it is written.
fn line(edit: impl FnOnce(&mut Trial)) -> Vec<u8> {
    let mut trial = testing::record(1, 1, false).trials.swap_remove(0);
    edit(&mut trial);
    serde_json::to_vec(&trial).unwrap()
}

#[test]
fn a_line_that_is_too_long_or_holds_too_much_is_refused_with_its_number() {
    let parent = tempfile::tempdir().unwrap();
    let folder = run(parent.path());
    let first = line(|_| {});
    let spaces = vec![b' '; limits::TRIAL_BYTES as usize];
    let many = Value::Array(vec![Value::Null; limits::TRIAL_VALUES as usize]);
    let facts = |count: usize| {
        line(|trial| trial.facts = (0..count).map(|number| (format!("fact_{number}"), json!(number))).collect())
    };
    for (second, most) in [
        (spaces, "32 MiB in one line"),
        (line(|trial| drop(trial.facts.insert("many".to_owned(), many))), "1048576 values in one line"),
        (facts(limits::FACTS + 1), "1000 facts"),
    ] {
        fs::write(folder.join("trials.jsonl"), [&first[..], b"\n", &second, b"\n"].concat()).unwrap();
        let said = said(&folder);
        assert!(said.contains("trials.jsonl:2: ") && said.contains(&format!("it is more than {most}")), "{said}");
    }
    fs::write(folder.join("trials.jsonl"), [&facts(limits::FACTS)[..], b"\n"].concat()).unwrap();
    Record::load(&folder).unwrap();
}

/// What is said of a run.
fn refused(edit: impl FnOnce(&mut Run)) -> String {
    let mut run = testing::record(1, 1, false).run;
    edit(&mut run);
    let text = serde_json::to_vec(&run).unwrap();
    match Record::parse(Path::new("run"), &text, b"") {
        Err(StoreError::Damaged { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_run_of_too_many_parts_is_refused_and_none_of_that_size_is_written() {
    fn workloads(run: &mut Run, count: usize) {
        let like = run.plan.workloads[0].clone();
        let named = |number: usize| {
            let mut one = like.clone();
            one.name = format!("w{number}");
            one
        };
        run.plan.workloads = (0..count).map(named).collect();
    }
    fn environments(run: &mut Run, count: usize) {
        let like = run.environments[0].clone();
        let named = |number: usize| {
            let mut one = like.clone();
            one.name = format!("e{number}");
            one
        };
        run.environments = (0..count).map(named).collect();
    }
    let many_workloads = |run: &mut Run| workloads(run, limits::WORKLOADS + 1);
    let many_environments = |run: &mut Run| environments(run, limits::ENVIRONMENTS + 1);
    let many_rows = |run: &mut Run| {
        environments(run, limits::ENVIRONMENTS);
        workloads(run, limits::ROWS / limits::ENVIRONMENTS + 1);
    };
    for (edit, noun) in [
        (&many_workloads as &dyn Fn(&mut Run), "1001 workloads, and a run has at most 1000"),
        (&many_environments, "101 environments, and a run has at most 100"),
        (&many_rows, "10100 workloads × environments, and a run has at most 10000"),
    ] {
        assert_eq!(refused(edit), format!("it has {noun}"));
    }

    let parent = tempfile::tempdir().unwrap();
    let mut run = testing::record(1, 1, false).run;
    let like = run.plan.trials[0].clone();
    run.plan.trials = vec![like; limits::TRIALS + 1];
    let said = RunFolder::create(parent.path(), &run).map(|_| ()).unwrap_err().to_string();
    assert!(said.contains("500001 trials, and a run has at most 500000"), "{said}");
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0, "nothing is left of it");
}

#[test]
fn a_run_of_too_many_values_is_refused() {
    let many = "[],".repeat(limits::RUN_VALUES as usize / 2);
    let text = format!("{{\"schema_version\": 1, \"unknown\": [{many}0]}}");
    let said = Record::parse(Path::new("run"), text.as_bytes(), b"").unwrap_err().to_string();
    assert!(said.contains("it holds more than 6291456 values"), "{said}");
}

#[test]
fn a_set_of_too_many_runs_is_refused_before_one_is_read() {
    let parent = tempfile::tempdir().unwrap();
    for number in 0..=limits::RUNS {
        announce(&parent.path().join(format!("{number}.tar.gz")), 0);
    }
    let name = parent.path().display().to_string();
    let said = find_runs(Path::new("bench-runs"), &name).unwrap_err().to_string();
    assert!(said.contains("it holds 1001 runs, and a set has at most 1000"), "{said}");
    fs::remove_file(parent.path().join("0.tar.gz")).unwrap();
    assert_eq!(find_runs(Path::new("bench-runs"), &name).unwrap().len(), limits::RUNS);
}
