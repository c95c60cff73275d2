//! A gate cannot pass by failing: trials that failed, and what NEW lacks.

use std::collections::BTreeSet;

use bench_results::compare::{Judged, Judgement, Outcome, Part, Quantity, Sides, compare};
use bench_results::policy::{KnownNames, Policy};
use bench_results::record::{LeftOut, State, Trial};
use bench_results::store::Record;
use bench_results::testing::{another, compare_in_series, in_two_turns, record, speed_up};
use bench_results::verdict::Verdict;
use jiff::civil::Date;

fn judge_with(base: &[Record], new: &[Record], policy: &Policy) -> Judgement {
    compare_in_series(Sides::Runs { base, new, allowed: &BTreeSet::new() }, policy).unwrap()
}

fn judge(base: &Record, new: &Record) -> Judgement {
    judge_with(std::slice::from_ref(base), std::slice::from_ref(new), &Policy::default())
}

fn pair(record: &Record, base: &str, new: &str) -> Judgement {
    let sides = Sides::Environments { runs: std::slice::from_ref(record), base, new };
    compare(sides, &Policy::default(), None).unwrap()
}

fn policy(text: &str) -> Policy {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let known = KnownNames { workloads: names(&["rand-read", "seq-write"]), environments: names(&["vm"]) };
    Policy::parse(text, "gate.toml", &known, Date::constant(2026, 1, 1)).unwrap()
}

fn row<'a>(judgement: &'a Judgement, workload: &str, environment: &str, quantity: Quantity) -> &'a Judged {
    let is = |row: &&Judged| {
        (row.workload.as_str(), row.environment.as_str(), row.quantity, row.metric.as_str())
            == (workload, environment, quantity, "iops")
    };
    judgement.rows.iter().find(is).unwrap()
}

fn is_of(trial: &Trial, workload: &str, environment: &str) -> bool {
    trial.planned.workload == workload && trial.planned.environment == environment
}

/// The trials of rand-read in an environment fail in these blocks.
fn fail(record: &mut Record, environment: &str, blocks: std::ops::RangeInclusive<u32>) {
    let fails = |trial: &&mut Trial| is_of(trial, "rand-read", environment) && blocks.contains(&trial.planned.block);
    for trial in record.trials.iter_mut().filter(fails) {
        trial.failure = Some("the guest did not come up".into());
        trial.measurements.clear();
    }
}

fn fail_all(record: &mut Record) {
    record.trials.iter_mut().for_each(|trial| trial.failure = Some("CMD exited with 1".into()));
}

fn base() -> Record {
    record(1, 8, false)
}

fn new() -> Record {
    another(2, 8, false)
}

#[test]
fn too_few_valid_blocks_of_failed_trials_fail_on_either_side() {
    let mut broken = new();
    fail(&mut broken, "vm", 1..=6);
    let judgement = judge(&base(), &broken);
    let found = row(&judgement, "rand-read", "vm", Quantity::Overhead);
    assert_eq!((judgement.outcome, found.part, found.verdict), (Outcome::Fail, Part::Broken, None));
    assert!(found.p.is_none() && judgement.tests == 13, "it is in no family of tests");
    let said = "2 valid blocks in NEW of the 6 that a verdict needs: 6 of 8 trials in vm failed or are invalid (the first: \
                the guest did not come up)";
    assert!(found.sentence.contains(said), "{}", found.sentence);
    assert_eq!(judgement.headline, "1 of 14 comparisons broken: rand-read in vm");
    assert!(judgement.notes.iter().any(|note| note.contains("6 of 224 trials failed")), "{:?}", judgement.notes);
    assert_eq!(judge(&broken, &base()).outcome, Outcome::Fail, "BASE may be the one that failed");
    fail(&mut broken, "vm", 7..=8);
    let judgement = judge(&base(), &broken);
    let sentence = &row(&judgement, "rand-read", "vm", Quantity::Overhead).sentence;
    assert!(sentence.starts_with("no valid block in NEW: 8 of 8 trials in vm"), "{sentence}");
}

#[test]
fn enough_valid_blocks_are_judged_and_too_few_executed_ones_are_not_told() {
    let mut some = new();
    fail(&mut some, "vm", 1..=2);
    assert_eq!(judge(&base(), &some).outcome, Outcome::Pass, "6 blocks are left");
    fail(&mut some, "vm", 3..=3);
    assert_eq!(judge(&base(), &some).outcome, Outcome::Fail, "and 5 are too few between two runs");
    let mut short = another(2, 2, false);
    fail(&mut short, "vm", 1..=1);
    assert_eq!(judge(&base(), &short).outcome, Outcome::Inconclusive, "2 blocks would have been too few anyway");
    let mut none = another(2, 2, false);
    fail(&mut none, "vm", 1..=2);
    assert_eq!(judge(&base(), &none).outcome, Outcome::Fail);
    let mut smoke = another(2, 1, false);
    smoke.run.plan.profile.verdicts = false;
    assert_eq!(judge(&base(), &smoke).outcome, Outcome::Inconclusive);
    fail(&mut smoke, "container", 1..=1);
    assert_eq!(judge(&base(), &smoke).outcome, Outcome::Fail, "a smoke run judges nothing, and must work");
}

#[test]
fn invalid_trials_and_those_of_the_reference_count_alike() {
    let mut invalid = new();
    let of = |trial: &&mut Trial| is_of(trial, "rand-read", "native") && trial.planned.block <= 6;
    invalid.trials.iter_mut().filter(of).for_each(|trial| trial.invalid.push("a limit was not in force".into()));
    let judgement = judge(&base(), &invalid);
    let broken: Vec<&str> =
        judgement.deciding().filter(|row| row.part == Part::Broken).map(|row| row.environment.as_str()).collect();
    assert_eq!((judgement.outcome, broken), (Outcome::Fail, vec!["container", "vm"]));
    assert!(judgement.rows[0].sentence.contains("6 of 8 trials in native failed or are invalid (the first: a limit"));
    let mut turns = in_two_turns(another(3, 8, false));
    let second = |trial: &&mut Trial| is_of(trial, "rand-read", "vm") && trial.planned.turn == 2;
    turns.trials.iter_mut().filter(second).for_each(|trial| trial.failure = Some("fio exited with 1".into()));
    let judgement = judge(&in_two_turns(base()), &turns);
    let sentence = &row(&judgement, "rand-read", "vm", Quantity::Overhead).sentence;
    assert!(sentence.starts_with("no valid block in NEW: 4 of 8 trials"), "a block lacks a turn: {sentence}");
}

#[test]
fn nothing_that_has_values_on_both_sides_is_no_comparison() {
    let mut failed = new();
    fail_all(&mut failed);
    for judgement in [judge(&base(), &failed), judge(&failed, &base()), pair(&failed, "native", "container")] {
        assert_eq!(judgement.outcome, Outcome::Incomparable);
        assert!(judgement.deciding().count() > 0 && judgement.deciding().all(|row| row.part == Part::Broken));
        assert_eq!(judgement.headline, "no row has valid values on both sides");
    }
    failed.run.plan.profile.verdicts = false;
    assert_eq!(judge(&base(), &failed).outcome, Outcome::Incomparable);
    failed.trials.clear();
    assert_eq!(judge(&base(), &failed).outcome, Outcome::Incomparable);
}

#[test]
fn pairs_of_one_run_break_alike() {
    let mut record = new();
    fail(&mut record, "container", 1..=3);
    fail(&mut record, "native", 4..=6);
    let judgement = pair(&record, "native", "container");
    let found = row(&judgement, "rand-read", "container", Quantity::Pair);
    assert_eq!((judgement.outcome, found.part), (Outcome::Fail, Part::Broken));
    for said in ["2 valid blocks of the 3", "3 of 8 trials in native", "3 of 8 trials in container"] {
        assert!(found.sentence.contains(said), "{said}: {}", found.sentence);
    }
    let mut silent = new();
    let of = |trial: &&mut Trial| is_of(trial, "rand-read", "container");
    silent.trials.iter_mut().filter(of).for_each(|trial| trial.measurements.clear());
    let judgement = pair(&silent, "native", "container");
    let found = row(&judgement, "rand-read", "container", Quantity::Pair);
    assert_eq!((judgement.outcome, found.sentence.as_str()), (Outcome::Fail, "NEW has no value of it, and BASE has"));
}

#[test]
fn what_a_suite_executes_in_one_of_a_pair_alone_is_no_change() {
    let mut record = new();
    record.run.plan.workloads[2].environments = vec!["native".into(), "vm".into()];
    record.trials.retain(|trial| !is_of(trial, "rand-read", "container"));
    let judgement = pair(&record, "native", "container");
    assert_eq!((judgement.outcome, judgement.deciding().count()), (Outcome::Pass, 6), "{}", judgement.headline);
    assert_eq!(judgement.unmatched[0].to_string(), "workload rand-read: only in BASE");
    assert_eq!(
        pair(&record, "container", "native").unmatched[0].to_string(),
        "workload rand-read in native: only in NEW"
    );
    record.run.plan.workloads[2].environments.clear();
    assert_eq!(pair(&record, "native", "container").outcome, Outcome::Fail, "planned, and not executed in one");
}

#[test]
fn what_base_has_and_new_lacks_fails_and_the_other_way_round_is_named() {
    let mut less = new();
    less.run.environments.retain(|environment| environment.name != "vm");
    less.trials.retain(|trial| trial.planned.environment != "vm");
    let judgement = judge(&base(), &less);
    assert_eq!(judgement.outcome, Outcome::Fail);
    assert_eq!(
        judgement.headline,
        "7 of 14 comparisons broken: seq-write in vm, seq-read in vm, rand-read in vm, and 4 more"
    );
    assert_eq!(row(&judgement, "rand-read", "vm", Quantity::Overhead).sentence, "NEW has no environment vm");
    less.run.left_out.push(LeftOut { environment: "vm".into(), reason: "QEMU is missing".into() });
    let judgement = judge(&base(), &less);
    let sentence = &row(&judgement, "rand-read", "vm", Quantity::Overhead).sentence;
    assert_eq!(sentence, "NEW has no environment vm: it was left out (QEMU is missing)");
    let back = judge(&less, &base());
    assert_eq!((back.outcome, back.unmatched[0].to_string().as_str()), (Outcome::Pass, "environment vm: only in NEW"));

    let mut less = new();
    less.run.plan.workloads.retain(|workload| workload.name != "rand-read");
    less.trials.retain(|trial| trial.planned.workload != "rand-read");
    let judgement = judge(&base(), &less);
    let broken: Vec<&Judged> = judgement.deciding().filter(|row| row.part == Part::Broken).collect();
    assert_eq!((judgement.outcome, broken.len()), (Outcome::Fail, 2));
    assert!(broken.iter().all(|row| row.sentence == "NEW has no workload rand-read"));
    assert_eq!(judge(&less, &base()).outcome, Outcome::Pass);

    let mut elsewhere = new();
    elsewhere.run.plan.workloads[2].environments = vec!["native".into(), "container".into()];
    elsewhere.trials.retain(|trial| !is_of(trial, "rand-read", "vm"));
    let judgement = judge(&base(), &elsewhere);
    let found = row(&judgement, "rand-read", "vm", Quantity::Overhead);
    assert_eq!((found.part, found.sentence.as_str()), (Part::Broken, "NEW does not execute rand-read in vm"));
    let back = judge(&elsewhere, &base());
    assert_eq!(back.unmatched[0].to_string(), "workload rand-read in vm: only in NEW");
}

#[test]
fn what_new_never_executed_fails_and_an_interruption_alone_does_not() {
    let mut interrupted = new();
    interrupted.run.state = State::Interrupted;
    interrupted.trials.truncate(28 * 2);
    assert_eq!(judge(&base(), &interrupted).outcome, Outcome::Inconclusive);
    interrupted.trials.truncate(20);
    let judgement = judge(&base(), &interrupted);
    assert_eq!(judgement.outcome, Outcome::Fail);
    let last = judgement.deciding().find(|row| row.workload == "rand-read-qd1").unwrap();
    assert_eq!(last.sentence, "NEW executed none of its trials, and BASE did");
}

#[test]
fn a_metric_that_only_base_bears_fails_where_it_decides() {
    let mut slow = new();
    for trial in slow.trials.iter_mut().filter(|trial| trial.planned.block > 5) {
        trial.measurements.retain(|m| m.metric != "read_latency_p99_ns");
    }
    let decides = policy("[[metric]]\nname = \"read_latency_p99_ns\"\nworkloads = [\"rand-read\"]\ndecides = true");
    let judgement = judge_with(&[base()], &[slow.clone()], &decides);
    let broken: Vec<&Judged> = judgement.deciding().filter(|row| row.part == Part::Broken).collect();
    assert_eq!((judgement.outcome, broken.len()), (Outcome::Fail, 2));
    assert!(broken[0].sentence.ends_with("NEW has a value of it in 5 of 8 blocks, and a verdict needs 6"));
    assert_eq!(judge(&base(), &slow).outcome, Outcome::Pass, "what informs fails nothing");
}

#[test]
fn emulated_rows_are_not_judged_and_a_guest_that_is_gone_is_missed() {
    let base = record(1, 8, true);
    let mut broken = another(2, 8, true);
    fail(&mut broken, "vm", 1..=8);
    let judgement = judge(&base, &broken);
    assert_eq!(judgement.outcome, Outcome::Pass);
    assert_eq!(row(&judgement, "rand-read", "vm", Quantity::Overhead).part, Part::Informs);
    broken.run.environments.retain(|environment| environment.name != "vm");
    let judgement = judge(&base, &broken);
    assert_eq!(judgement.outcome, Outcome::Fail);
    assert!(judgement.deciding().filter(|row| row.environment == "vm").all(|row| row.part == Part::Broken));
}

#[test]
fn a_policy_decides_what_is_missed() {
    let mut broken = new();
    fail(&mut broken, "vm", 1..=8);
    let judged = |text: &str| judge_with(&[base()], std::slice::from_ref(&broken), &policy(text));
    assert_eq!(judged("fail-on = []\non-inconclusive = \"pass\"").outcome, Outcome::Fail, "it is no verdict");
    let ignored = judged("[[ignore]]\nenvironment = \"vm\"\nreason = \"known\"\nuntil = 2026-02-01");
    assert_eq!(ignored.outcome, Outcome::Pass, "{}", ignored.headline);
    assert_eq!(row(&ignored, "rand-read", "vm", Quantity::Overhead).part, Part::Ignored);
    let informs = judged("[[metric]]\nname = \"iops\"\nworkloads = [\"rand-read\"]\ndecides = false");
    assert_eq!(informs.outcome, Outcome::Pass);
    let both = judged("[[metric]]\nname = \"read_latency_p99_ns\"\nworkloads = [\"rand-read\"]\ndecides = true");
    assert_eq!(both.deciding().filter(|row| row.part == Part::Broken).count(), 2, "each metric that decides");
    let mut less = new();
    less.run.environments.retain(|environment| environment.name != "vm");
    let ignored = policy("[[ignore]]\nenvironment = \"vm\"\nreason = \"removed\"\nuntil = 2026-02-01");
    assert_eq!(judge_with(&[base()], &[less], &ignored).outcome, Outcome::Pass);
}

#[test]
fn in_a_set_runs_that_gave_no_value_count() {
    let side = |seeds: std::ops::Range<u64>, broken: usize| -> Vec<Record> {
        let mut all: Vec<Record> = seeds.map(|seed| another(seed, 3, false)).collect();
        all.iter_mut().take(broken).for_each(|record| fail(record, "vm", 1..=3));
        all
    };
    let judged = |broken| judge_with(&side(10..15, 0), &side(20..25, broken), &Policy::default());
    assert_eq!(judged(2).outcome, Outcome::Pass, "3 of 5 runs are left");
    let judgement = judged(3);
    assert_eq!(judgement.outcome, Outcome::Fail);
    for quantity in [Quantity::Overhead, Quantity::Absolute] {
        let found = row(&judgement, "rand-read", "vm", quantity);
        assert_eq!(found.part, Part::Broken, "from five runs a side on absolute values decide, too");
        assert!(found.sentence.contains("2 valid runs in NEW of the 3"), "{}", found.sentence);
    }
    let mut rare = side(20..25, 0);
    for record in rare.iter_mut().take(3) {
        record.run.environments.retain(|environment| environment.name != "vm");
        record.trials.retain(|trial| trial.planned.environment != "vm");
    }
    let judgement = judge_with(&side(10..15, 0), &rare, &Policy::default());
    let sentence = &row(&judgement, "rand-read", "vm", Quantity::Overhead).sentence;
    assert!(sentence.contains("in 2 of 5 runs") && judgement.outcome == Outcome::Fail, "{sentence}");
}

#[test]
fn an_alarm_is_not_dismissed_by_a_fresh_run_that_failed() {
    let mut slower = new();
    speed_up(&mut slower, "rand-read", "vm", 0.8);
    let mut judgement = judge(&base(), &slower);
    let mut fresh = another(3, 8, false);
    fail(&mut fresh, "vm", 1..=8);
    judgement.confirm(&judge(&base(), &fresh));
    assert_eq!((judgement.outcome, judgement.rows[0].part), (Outcome::Fail, Part::Fails));
    assert_eq!(judgement.rows[0].verdict, Some(Verdict::Worse));
    assert!(judgement.rows[0].sentence.ends_with("it stands, since a fresh run has no valid values of it"));
    fresh.run.plan.workloads.retain(|workload| workload.name != "rand-read");
    judgement.confirm(&judge(&base(), &fresh));
    assert_eq!(judgement.outcome, Outcome::Fail, "nor by one that did not execute it");
}
