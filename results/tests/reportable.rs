//! The verdict on a run: each rule provoked in a record that is otherwise reportable, just inside and just outside its bound.

use bench_results::analysis::analyse;
use bench_results::record::{Baseline, Break, Remark, State};
use bench_results::reportable::{RULES, Reportable};
use bench_results::store::Record;
use bench_results::testing;

const BLOCKS: u32 = 8;

fn judged(record: &Record) -> Reportable {
    analyse(record).reportable
}

/// The rules that a record breaks after `change`, with the words for people.
fn broken(change: impl FnOnce(&mut Record)) -> Vec<(&'static str, String)> {
    let mut record = testing::record(1, BLOCKS, false);
    change(&mut record);
    let verdict = judged(&record);
    assert_eq!(verdict.reportable, verdict.reasons.is_empty());
    verdict.reasons.into_iter().map(|reason| (reason.rule, reason.text)).collect()
}

fn only(rule: &str, said: &str, change: impl FnOnce(&mut Record)) {
    let found = broken(change);
    assert!(found.len() == 1 && found[0].0 == rule && found[0].1.contains(said), "{rule}: {found:?}");
    assert!(RULES.iter().any(|(name, _)| *name == rule));
}

/// Scale a metric in an environment.
fn scale(record: &mut Record, environment: &str, workload: &str, factor: f64) {
    let of = |planned: &bench_results::record::PlannedTrial| {
        planned.environment == environment && planned.workload == workload
    };
    for trial in record.trials.iter_mut().filter(|trial| of(&trial.planned)) {
        trial.measurements.iter_mut().for_each(|measurement| measurement.value *= factor);
    }
}

/// Change the first `count` trials.
fn first(record: &mut Record, count: usize, change: impl Fn(&mut bench_results::record::Trial)) {
    record.trials.iter_mut().take(count).for_each(change);
}

/// Change the trials of random reads in one environment, in the first `blocks`.
fn random_reads(
    record: &mut Record,
    environment: &str,
    blocks: u32,
    change: impl Fn(&mut bench_results::record::Trial),
) {
    let of = |t: &&mut bench_results::record::Trial| {
        t.planned.workload == "rand-read" && t.planned.environment == environment && t.planned.block <= blocks
    };
    record.trials.iter_mut().filter(of).for_each(change);
}

fn remark(trial: &mut bench_results::record::Trial) {
    trial.remarks.push(Remark { check: "host.other_cpu_percent".into(), text: "other processes took 9 %".into() });
}

#[test]
fn a_whole_quiet_run_is_reportable() {
    assert_eq!(broken(|_| {}), []);
}

#[test]
fn smoke_exists_to_show_that_everything_works() {
    only("profile", "exists to show that everything works", |record| {
        record.run.plan.profile.name = "smoke".into();
        record.run.plan.profile.verdicts = false;
    });
}

#[test]
fn somebody_besides_fio_must_have_seen_its_bytes() {
    const WITNESSES: [&str; 3] = ["disk.missing_percent", "cgroup.io_missing_percent", "vmm.disk_off_bytes"];
    let seen = |by: &'static str, unseen: usize| {
        move |record: &mut Record| {
            for (at, trial) in record.trials.iter_mut().enumerate() {
                trial.facts.retain(|name, _| !WITNESSES.contains(&name.as_str()));
                trial.facts.insert("fio.bytes".into(), 4096.into());
                trial.facts.extend((at >= unseen).then(|| (by.to_owned(), 0.into())));
            }
        }
    };
    for witness in WITNESSES {
        assert_eq!(broken(seen(witness, 22)), [], "{witness}");
        only("bytes", "in 23 of 224 storage trials", seen(witness, 23));
    }
    // Of trials of which fio itself does not count all, nobody could have seen it.
    let uncounted = |record: &mut Record| {
        seen(WITNESSES[0], 224)(record);
        record.trials.iter_mut().for_each(|trial| drop(trial.facts.insert("fio.unaccounted".into(), "why".into())));
    };
    assert_eq!(broken(uncounted), []);
}

#[test]
fn a_run_that_lacks_trials_is_not_reportable() {
    only("complete", "200 of 224 trials", |record| {
        record.run.state = State::Interrupted;
        record.trials.truncate(200);
    });
    // Whatever it says of itself.
    only("complete", "223 of 224 trials", |record| record.trials.truncate(223));
}

#[test]
fn two_blocks_are_too_few() {
    let mut record = testing::record(1, 2, false);
    record.run.plan.profile.blocks = 2;
    let reasons = judged(&record).reasons;
    assert!(reasons.len() == 1 && reasons[0].rule == "blocks", "{reasons:?}");
}

#[test]
fn a_tenth_of_the_trials_may_be_invalid_and_no_more() {
    let invalid = |trial: &mut bench_results::record::Trial| trial.invalid.push("a limit".into());
    // 224 trials: 22 are within a tenth, and lie in the first block, so that no comparison loses more than it may.
    assert_eq!(broken(|record| first(record, 22, invalid)), []);
    only("broken", "23 of 224 trials", |record| first(record, 23, invalid));
}

#[test]
fn a_comparison_may_lose_a_quarter_of_its_blocks_and_no_more() {
    let lose = |blocks: u32| {
        move |record: &mut Record| random_reads(record, "vm", blocks, |trial| trial.failure = Some("it broke".into()))
    };
    assert_eq!(broken(lose(2)), []);
    only("pairs", "rand-read in vm has 5 of 8 blocks", lose(3));
}

#[test]
fn a_tenth_of_the_trials_may_have_one_remark_and_no_more() {
    assert_eq!(broken(|record| first(record, 22, remark)), []);
    only("remarks", "in 23 of 224 trials, such as: other processes", |record| first(record, 23, remark));
}

#[test]
fn the_worst_of_many_is_quoted_and_every_count_is_of_the_same_trials() {
    let busy = |record: &mut Record| {
        for (at, trial) in record.trials.iter_mut().enumerate().take(60) {
            let percent = if at == 41 { 48 } else { 6 };
            trial.facts.insert("host.other_cpu_percent".into(), percent.into());
            trial
                .remarks
                .push(Remark { check: "host.other_cpu_percent".into(), text: format!("others took {percent} %") });
        }
    };
    only("remarks", "in 60 of 224 trials, such as: others took 48 %", busy);
    // What emulated guests did is in no count.
    let mut emulated = testing::record(1, 8, true);
    busy(&mut emulated);
    for trial in emulated.trials.iter_mut().take(100) {
        trial.invalid.push("a limit".into());
        trial.facts.remove("limits.broken");
    }
    for reason in judged(&emulated).reasons {
        let counted = ["remarks", "broken", "watched"].contains(&reason.rule);
        assert!(!counted || reason.text.contains(" of 168 trials outside of emulated guests"), "{reason:?}");
    }
}

#[test]
fn half_of_one_sides_trials_may_have_one_remark_and_no_more() {
    let side = |blocks: u32| move |record: &mut Record| random_reads(record, "container", blocks, remark);
    assert_eq!(broken(side(4)), []);
    only("remarks", "in 5 of 8 trials of rand-read in container, such as: other processes", side(5));
}

#[test]
fn a_trial_without_figures_was_not_watched() {
    for fact in ["limits.broken", "host.other_cpu_percent"] {
        let forget = |trial: &mut bench_results::record::Trial| drop(trial.facts.remove(fact));
        assert_eq!(broken(|record| first(record, 22, forget)), [], "{fact}");
        only("watched", "23 of 224 trials do not say", |record| first(record, 23, forget));
    }
}

#[test]
fn what_is_beyond_a_bound_is_not_valid_whatever_the_record_says() {
    let steal = |percent: f64| {
        move |record: &mut Record| {
            first(record, 1, |trial| drop(trial.facts.insert("host.steal_percent".into(), percent.into())));
        }
    };
    assert_eq!(broken(steal(5.0)), []);
    only("judged", "1 of 224 trials is said to be valid and is not, such as b01", steal(5.1));
}

#[test]
fn load_before_the_first_block_is_a_reason() {
    let load =
        |percent: f64| move |record: &mut Record| record.run.baseline.as_mut().unwrap().other_cpu_percent = percent;
    assert_eq!(broken(load(5.0)), []);
    only("baseline", "5.1 % of the machine's CPUs, most of it `sshd`", load(5.1));
}

#[test]
fn a_busy_disk_before_the_first_block_is_a_reason() {
    let disk = |bytes_per_s: f64| {
        move |record: &mut Record| record.run.baseline.as_mut().unwrap().disk_bytes_per_s = Some(bytes_per_s)
    };
    assert_eq!(broken(disk(1e6)), []);
    only("baseline", "moved 41 MB/s on the target's disk", disk(41e6));
}

#[test]
fn a_control_beyond_the_margin_is_a_reason() {
    assert_eq!(broken(|record| scale(record, "native-control", "rand-read", 1.05)), []);
    only("control", "rand-read: the machine drifts", |record| scale(record, "native-control", "rand-read", 0.8));
}

#[test]
fn a_guest_that_beats_its_machine_is_a_reason_but_only_in_storage_and_beyond_the_margin() {
    let engine = |record: &mut Record, name: &str| {
        for workload in &mut record.run.plan.workloads {
            workload.parameters.insert("engine".into(), name.into());
        }
    };
    let faster = |record: &mut Record| scale(record, "vm", "rand-read", 3.0);
    only("cache", "`vm` is faster than native in rand-read", |record| {
        engine(record, "libaio, direct");
        faster(record);
    });
    assert_eq!(
        broken(|record| {
            engine(record, "libaio, direct");
            scale(record, "vm", "seq-write", 1.02);
        }),
        []
    );
    assert_eq!(
        broken(|record| {
            engine(record, "bench probe");
            faster(record);
        }),
        []
    );
}

#[test]
fn another_tool_in_one_environment_is_a_reason() {
    only("tools", "`container` executed another fio than `native`", |record| {
        record.run.environments[2].sameness.insert("fio sha256".into(), "fff".into());
    });
}

#[test]
fn without_a_fingerprint_nobody_knows_what_was_measured() {
    only("fingerprint", "no facts of cpu, tool", |record| {
        record.run.fingerprint.retain(|name, _| name.starts_with("kernel."));
    });
}

#[test]
fn an_emulated_guest_makes_nothing_unreportable_and_is_noted() {
    let mut record = testing::record(1, BLOCKS, true);
    for trial in record.trials.iter_mut().filter(|trial| trial.planned.environment == "vm") {
        trial.failure = Some("it did not boot".into());
        remark(trial);
    }
    let verdict = judged(&record);
    assert_eq!(verdict.reasons, []);
    assert!(verdict.notes[0].contains("vm (TCG emulation) say nothing about KVM"), "{verdict:?}");
}

#[test]
fn a_record_of_before_these_checks_is_read_and_not_reportable() {
    let mut record = testing::record(1, BLOCKS, false);
    record.run.baseline = None;
    let text = serde_json::to_string(&record.trials[0]).unwrap().replace("\"remarks\":[],", "");
    assert_eq!(serde_json::from_str::<bench_results::record::Trial>(&text).unwrap(), record.trials[0]);
    let verdict = judged(&record);
    let rules: Vec<_> = verdict.reasons.iter().map(|reason| reason.rule).collect();
    assert_eq!(rules, ["baseline"]);
}

#[test]
fn going_on_does_not_wash_out_what_was_seen_before() {
    let stop = |baseline| Break {
        block: 2,
        attempt: 2,
        last_trial_at: None,
        resumed_at: "2026-01-01T00:00:00Z".into(),
        superseded: 0,
        baseline,
        settle: None,
    };
    let quiet = testing::record(1, BLOCKS, false);
    let noisy = quiet.run.baseline.clone().map(|baseline| Baseline { other_cpu_percent: 50.0, ..baseline });
    for (first, later, said) in [
        (&noisy, &quiet.run.baseline, "before the first block others took 50 %"),
        (&quiet.run.baseline, &noisy, "before it went on others took 50 %"),
    ] {
        let mut record = quiet.clone();
        record.run.baseline = first.clone();
        record.run.breaks = vec![stop(later.clone())];
        let verdict = judged(&record);
        assert!(verdict.reasons.len() == 1 && verdict.reasons[0].text.starts_with(said), "{verdict:?}");
    }
    let mut record = quiet.clone();
    record.run.baseline = None;
    record.run.breaks = vec![stop(quiet.run.baseline)];
    assert_eq!(judged(&record).reasons, []);
}
