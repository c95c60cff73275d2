//! A record that is read lean, with its histograms and facts let go on the way, is reported as the whole one is, byte for byte.

mod support;

use std::path::Path;

use bench_reports::Report;
use bench_results::Histogram;
use bench_results::analysis::analyse;
use bench_results::compare::{Sides, compare};
use bench_results::imported::{Imported, ImportedFile};
use bench_results::lean::Set;
use bench_results::policy::Policy;
use bench_results::record::{Capability, Class, Remark, State, Trial};
use bench_results::store::{Record, RunFolder};
use bench_results::testing::{another, counted, in_two_turns, record, speed_up};
use proptest::prelude::*;
use serde_json::json;
use support::measurements;

/// The same record in a folder, read whole and lean.
fn both(record: &Record) -> (Record, Record) {
    let parent = tempfile::tempdir().unwrap();
    let mut folder = RunFolder::create(parent.path(), &record.run).unwrap();
    folder.append_trials(&record.trials).unwrap();
    let (whole, lean) = (Record::load(folder.path()).unwrap(), Record::load_lean(folder.path(), |_| {}).unwrap());
    let is_let_go = |trial: &Trial| trial.histograms.is_empty() && trial.folded.is_some();
    assert!(lean.trials.iter().all(is_let_go), "{:?}", lean.trials.iter().find(|trial| !is_let_go(trial)));
    (whole, lean)
}

fn forms(record: &Record) -> Vec<String> {
    let report = Report::new(record, &analyse(record));
    vec![
        report.html().unwrap(),
        report.markdown(),
        report.json().unwrap(),
        report.comparisons_csv(),
        report.terminal(100, true, Some(Path::new("page"))),
        measurements(record),
    ]
}

fn assert_same(name: &str, record: &Record) {
    let (whole, lean) = both(record);
    assert_eq!(analyse(&whole), analyse(&lean), "{name}");
    for (a, b) in forms(&whole).iter().zip(forms(&lean)) {
        assert!(*a == b, "{name}:\n{a}\nand lean\n{b}");
    }
}

/// Something of everything that is judged by facts and histograms.
fn disturbed(mut record: Record) -> Record {
    let set =
        |trial: &mut Trial, fact: &str, value: serde_json::Value| drop(trial.facts.insert(fact.to_owned(), value));
    let remark = |trial: &mut Trial, check: &str| {
        trial.remarks.push(Remark { check: check.to_owned(), text: format!("{check} is too much") });
    };
    for (index, trial) in record.trials.iter_mut().enumerate() {
        match index % 11 {
            1 => {
                set(trial, "host.other_cpu_percent", json!(9));
                remark(trial, "host.other_cpu_percent");
            }
            2 => set(trial, "clock.off_percent", json!(7.5)),
            3 => set(trial, "limits.said", json!("text that nobody asks for")),
            4 => trial.failure = Some("it ended with status 1".to_owned()),
            5 => trial.invalid.push("a limit was not in force".to_owned()),
            6 => drop(trial.facts.remove("host.other_cpu_percent")),
            // Its own counts deny it.
            7 => set(trial, "fio.ios", json!(1)),
            // Nothing but fio says how many bytes were moved; of one in two it does not count them all.
            at @ (8 | 9) => {
                for fact in ["disk.missing_percent", "cgroup.io_missing_percent", "qmp.disk_off_bytes"] {
                    trial.facts.remove(fact);
                }
                set(trial, "fio.bytes", json!(1 << 30));
                if at == 9 {
                    set(trial, "fio.unaccounted", json!("it writes through the page cache"));
                }
            }
            _ => {}
        }
    }
    record
}

#[test]
fn a_lean_record_is_reported_as_the_whole_one_is() {
    let mut unknown = counted(record(1, 4, false));
    unknown.trials[3].remarks.push(Remark { check: "of.another.bench".to_owned(), text: "it was so".to_owned() });
    let mut refused = record(1, 8, false);
    refused.trials[26].histograms.insert("read".to_owned(), Histogram::from_bins([(9_000, 100)]));
    let mut turns = in_two_turns(counted(record(2, 8, false)));
    turns.trials.swap_remove(40);
    turns.trials.truncate(210);
    turns.run.state = State::Interrupted;
    let mut without = counted(record(1, 4, false));
    without.trials.iter_mut().step_by(3).for_each(|trial| trial.histograms.clear());
    let mut imported = disturbed(record(1, 8, false));
    imported.run.imported = Some(Imported {
        files: vec![ImportedFile {
            name: "native.json".to_owned(),
            sha256: "00".repeat(32),
            environment: "native".to_owned(),
            tools: vec!["fio-3.33".to_owned()],
            results: 1,
        }],
    });
    imported.trials.iter_mut().for_each(|trial| trial.accelerator = None);
    for environment in &mut imported.run.environments {
        environment.kind = "imported".to_owned();
        environment.definition = "imported".to_owned();
        (environment.class, environment.capabilities) = (Some(Class::Unknown), Some(Default::default()));
        environment.accelerator = None;
    }
    let mut of_docker = counted(record(1, 8, false));
    of_docker.run.environments[2].kind = "docker".to_owned();
    of_docker.run.environments[2].class = Some(Class::Container);
    of_docker.run.environments[2].capabilities = Some([Capability::Docker].into());
    let mut empty = record(1, 3, false);
    empty.trials.clear();
    for (name, record) in [
        ("as it is", counted(record(1, 8, false))),
        ("emulated", counted(record(1, 8, true))),
        ("disturbed", disturbed(counted(record(1, 8, false)))),
        ("a percentile that is not borne", refused),
        ("two turns", in_two_turns(disturbed(counted(record(3, 8, false))))),
        ("broken off in two turns", turns),
        ("without some histograms", without),
        ("imported", imported),
        ("of another kind", of_docker),
        ("nothing executed", empty),
    ] {
        assert_same(name, &record);
    }
    // All of its facts are kept where another bench had something to say.
    let parent = tempfile::tempdir().unwrap();
    let mut folder = RunFolder::create(parent.path(), &unknown.run).unwrap();
    folder.append_trials(&unknown.trials).unwrap();
    let lean = Record::load_lean(folder.path(), |_| {}).unwrap();
    assert_eq!(lean.trials[3].facts, unknown.trials[3].facts);
    assert_eq!(forms(&lean), forms(&Record::load(folder.path()).unwrap()));
}

#[test]
fn lean_records_are_compared_as_whole_ones_are_alone_and_in_sets() {
    let mut slow = disturbed(counted(another(2, 8, false)));
    speed_up(&mut slow, "rand-read", "vm", 0.8);
    let runs = [counted(another(1, 8, false)), slow, counted(another(3, 8, false))].map(|record| both(&record));
    let (whole, lean): (Vec<_>, Vec<_>) = runs.into_iter().unzip();
    let allowed = Default::default();
    let judge = |base: &[Record], new: &[Record]| {
        compare(Sides::Runs { base, new, allowed: &allowed }, &Policy::default(), None).unwrap()
    };
    assert_eq!(judge(&whole[..1], &whole[1..2]), judge(&lean[..1], &lean[1..2]));
    let set = |records: &[Record]| {
        let mut set = Set::default();
        records.iter().for_each(|record| set.add(record.clone()));
        set.into_records()
    };
    assert_eq!(judge(&set(&whole[..1]), &set(&whole[1..])), judge(&set(&lean[..1]), &set(&lean[1..])));
}

#[test]
fn a_trial_that_is_denied_while_it_is_read_is_in_no_number() {
    let made = counted(record(1, 8, false));
    let (mut whole, _) = both(&made);
    let parent = tempfile::tempdir().unwrap();
    let mut folder = RunFolder::create(parent.path(), &made.run).unwrap();
    folder.append_trials(&made.trials).unwrap();
    let is_it = |trial: &Trial| trial.planned.workload == "rand-read" && trial.planned.block == 3;
    let lean = Record::load_lean(folder.path(), |trial| {
        if is_it(trial) {
            trial.deny("somebody says so");
        }
    });
    whole.trials.iter_mut().filter(|trial| is_it(trial)).for_each(|trial| trial.deny("somebody says so"));
    assert_eq!(forms(&whole), forms(&lean.unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn whatever_its_trials_say(
        seed in 1_u64..1000,
        blocks in 1_u32..6,
        facts in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..6, -1.0_f64..120.0), 0..30),
        thinned in proptest::collection::vec((any::<prop::sample::Index>(), 1_u64..2000), 0..10),
    ) {
        const NAMES: [&str; 6] = [
            "limits.broken", "host.other_cpu_percent", "disk.missing_percent", "clock.off_percent", "fio.bytes", "runtime.off_percent",
        ];
        let mut record = record(seed, blocks, false);
        for (at, name, value) in facts {
            at.get_mut(&mut record.trials).facts.insert(NAMES[name].to_owned(), json!(value));
        }
        for (at, by) in thinned {
            let histogram = at.get_mut(&mut record.trials).histograms.get_mut("read").unwrap();
            *histogram = Histogram::from_bins(histogram.bins().iter().map(|&(ns, count)| (ns, count / by)));
        }
        assert_same("made up", &record);
    }
}
