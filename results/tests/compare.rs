//! Two records compared and judged, whole, few, strange and refused.

use std::collections::BTreeSet;

use bench_results::compare::{
    Aspect, CompareError, Judged, Judgement, Method, Outcome, Part, Quantity, Sides, compare,
};
use bench_results::policy::{KnownNames, OnInconclusive, Policy};
use bench_results::record::{State, Trial};
use bench_results::store::Record;
use bench_results::testing::{another, compare_in_series, in_two_turns, record, speed_up};
use bench_results::verdict::Verdict;
use jiff::civil::Date;
use proptest::prelude::*;

fn base() -> Record {
    record(1, 8, false)
}

fn slower() -> Record {
    let mut new = another(2, 8, false);
    speed_up(&mut new, "rand-read", "container", 0.8);
    new
}

fn runs<'a>(base: &'a [Record], new: &'a [Record], allowed: &'a BTreeSet<Aspect>) -> Sides<'a> {
    Sides::Runs { base, new, allowed }
}

fn judge_with(base: &[Record], new: &[Record], policy: &Policy) -> Judgement {
    compare_in_series(runs(base, new, &BTreeSet::new()), policy).unwrap()
}

fn judge(base: &Record, new: &Record) -> Judgement {
    judge_with(std::slice::from_ref(base), std::slice::from_ref(new), &Policy::default())
}

fn refusal(base: &[Record], new: &[Record]) -> CompareError {
    compare(runs(base, new, &BTreeSet::new()), &Policy::default(), None).unwrap_err()
}

fn policy(text: &str) -> Policy {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let known = KnownNames { workloads: names(&["rand-read", "seq-read"]), environments: names(&["container"]) };
    Policy::parse(text, "gate.toml", &known, Date::constant(2026, 1, 1)).unwrap()
}

fn row<'a>(judgement: &'a Judgement, workload: &str, environment: &str, metric: &str) -> &'a Judged {
    let is = |row: &&Judged| row.workload == workload && row.environment == environment && row.metric == metric;
    judgement.rows.iter().find(is).unwrap()
}

#[test]
fn a_mean_of_two_kinds_of_blocks_is_said_to_be_one() {
    let mut new = another(2, 12, false);
    let mine = |trial: &&mut Trial| trial.planned.workload == "rand-read" && trial.planned.environment == "container";
    for trial in new.trials.iter_mut().filter(mine).filter(|trial| trial.planned.block % 2 == 0) {
        trial.measurements.iter_mut().filter(|m| m.metric == "iops").for_each(|m| m.value *= 0.5);
    }
    let said = "rand-read in container is bimodal, its ratio is near ";
    let notes =
        |base: &Record, new: &Record| judge(base, new).notes.into_iter().filter(|note| note.contains(said)).count();
    let base = record(1, 12, false);
    assert_eq!((notes(&base, &new), notes(&base, &another(3, 12, false))), (1, 0));
}

#[test]
fn the_same_revision_twice_passes() {
    let judgement = judge(&base(), &another(2, 8, false));
    assert_eq!((judgement.outcome, judgement.tests), (Outcome::Pass, 14), "{}", judgement.headline);
    assert_eq!(judgement.headline, "no regression in 14 comparisons");
    assert!(judgement.deciding().all(|row| row.quantity == Quantity::Overhead && row.p_holm >= row.p));
    let native = row(&judgement, "rand-read", "native", "iops");
    assert_eq!((native.quantity, native.part, native.interval), (Quantity::Absolute, Part::Informs, None));
    assert!(native.sentence.contains("shares its hour"), "{}", native.sentence);
    assert!(row(&judgement, "rand-read", "vm", "iops").noise_floor.is_some());
    assert!(judgement.rows.iter().all(|row| row.environment != "native-control"));
}

#[test]
fn a_run_that_is_not_reportable_is_compared_and_noted() {
    let mut new = another(2, 8, false);
    new.run.baseline.as_mut().unwrap().other_cpu_percent = 50.0;
    let judgement = judge(&base(), &new);
    assert_eq!(judgement.outcome, Outcome::Pass, "{}", judgement.headline);
    let said = format!("{} is not reportable: before the first block others took 50 %", new.run.id);
    assert!(judgement.notes.iter().any(|note| note.starts_with(&said)), "{:?}", judgement.notes);
}

#[test]
fn a_planted_slowdown_fails_naming_the_workload() {
    let judgement = judge(&base(), &slower());
    assert_eq!(judgement.outcome, Outcome::Fail);
    let alarms: Vec<_> = judgement.alarms().collect();
    assert_eq!(
        (alarms.len(), alarms[0].workload.as_str(), alarms[0].environment.as_str()),
        (1, "rand-read", "container")
    );
    assert!((alarms[0].ratio.unwrap() - 0.8).abs() < 0.02 && alarms[0].p_holm.unwrap() < 0.001);
    assert_eq!(alarms[0].degrees_of_freedom, Some(7.0), "of eight blocks a side, whatever Welch and Satterthwaite say");
    assert!(alarms[0].smallest_alarm.unwrap() < 0.2, "{alarms:?}");
    assert!(
        judgement.headline.starts_with("1 alarm in 14 comparisons: rand-read in container"),
        "{}",
        judgement.headline
    );
    assert_eq!(&judgement.rows[0], alarms[0], "the worst is first");
    assert_eq!(judge(&slower(), &base()).outcome, Outcome::Pass, "and the other way round it is better");
}

#[test]
fn too_few_blocks_are_inconclusive_and_one_block_too() {
    for blocks in [1, 2] {
        let judgement = judge(&record(1, blocks, false), &another(2, 8, false));
        assert_eq!((judgement.outcome, judgement.tests), (Outcome::Inconclusive, 0));
        let row = row(&judgement, "rand-read", "container", "iops");
        assert!(row.sentence.contains(&format!("{blocks} of the 6 blocks")), "{}", row.sentence);
        assert!(row.ratio.is_some() && row.p.is_none());
    }
}

#[test]
fn other_conditions_are_refused_naming_each_unless_they_are_what_is_compared() {
    let mut new = slower();
    new.run.fingerprint.insert("kernel.release".into(), "6.13.0-demo".into());
    new.run.fingerprint.insert("tool.fio.version".into(), "fio-3.42".into());
    new.run.fingerprint.insert("memory.ksm".into(), "1".into());
    new.run.fingerprint.insert("memory.total".into(), "does not matter".into());
    let (base, new) = ([base()], [new]);
    let error = refusal(&base, &new).to_string();
    assert!(error.contains("kernel.release is `6.12.0-demo` in BASE and `6.13.0-demo` in NEW"), "{error}");
    assert!(
        error.contains("tool.fio.version") && error.contains("memory.ksm") && !error.contains("memory.total"),
        "{error}"
    );
    assert!(error.contains("--allow-difference kernel,fio"), "{error}");
    let allowed = BTreeSet::from([Aspect::Kernel, Aspect::Fio]);
    let judgement = compare_in_series(runs(&base, &new, &allowed), &Policy::default()).unwrap();
    assert_eq!((judgement.outcome, judgement.differences.len()), (Outcome::Fail, 3));
}

#[test]
fn blocks_of_more_turns_are_other_conditions() {
    let error = refusal(&[base()], &[in_two_turns(another(2, 16, false))]).to_string();
    assert!(error.contains("profile.turns is `1` in BASE and `2` in NEW"), "{error}");
}

#[test]
fn emulation_is_never_judged_and_never_compared_with_kvm() {
    let (kvm, tcg) = ([base()], [another(2, 8, true)]);
    assert!(matches!(refusal(&kvm, &tcg), CompareError::Differ(_)));
    let allowed = BTreeSet::from([Aspect::Accelerator]);
    let judgement = compare(runs(&kvm, &tcg, &allowed), &Policy::default(), None).unwrap();
    assert!(judgement.rows.iter().all(|row| row.environment != "vm") && judgement.tests == 7);
    assert!(judgement.unmatched[0].to_string().contains("never compared"), "{:?}", judgement.unmatched);

    let mut slow = another(2, 8, true);
    speed_up(&mut slow, "rand-read", "vm", 0.5);
    let judgement = judge(&record(1, 8, true), &slow);
    let guests = || judgement.rows.iter().filter(|row| row.environment == "vm");
    assert!(guests().all(|row| row.verdict.is_none() && row.part == Part::Informs && row.emulated));
    assert_eq!(judgement.outcome, Outcome::Pass);
    let sides = Sides::Environments { runs: &tcg, base: "native", new: "vm" };
    assert_eq!(compare(sides, &Policy::default(), None).unwrap().outcome, Outcome::Inconclusive);
}

#[test]
fn the_same_run_on_both_sides_or_twice_on_one_is_refused() {
    let one = [base()];
    assert_eq!(refusal(&one, &one), CompareError::Itself(one[0].run.id.clone()));
    let twice = [another(2, 8, false), another(2, 8, false)];
    assert_eq!(refusal(&one, &twice), CompareError::Twice(twice[0].run.id.clone()));
}

#[test]
fn runs_of_other_suites_and_references_are_refused() {
    let mut network = another(2, 3, false);
    network.run.plan.suite = "network".into();
    let error = refusal(&[base()], &[network]).to_string();
    assert!(error.contains("suite io") && error.contains("suite network"), "{error}");
    let mut relative_to_container = another(2, 3, false);
    relative_to_container.run.plan.reference = "container".into();
    assert!(matches!(refusal(&[base()], &[relative_to_container]), CompareError::References { .. }));
}

#[test]
fn what_has_no_partner_is_listed() {
    let mut new = another(2, 8, false);
    new.run.plan.workloads.remove(0);
    new.run.environments.retain(|environment| environment.name != "vm");
    let judgement = judge(&base(), &new);
    let unmatched: Vec<String> = judgement.unmatched.iter().map(ToString::to_string).collect();
    assert_eq!(unmatched, ["workload seq-write: only in BASE", "environment vm: only in BASE"]);
    assert_eq!(judgement.tests, 6);
    let mut nothing = another(2, 8, false);
    nothing.run.plan.workloads.clear();
    assert!(refusal(&[base()], &[nothing]).to_string().contains("workload rand-read: only in BASE"));
}

#[test]
fn zeros_have_no_ratio_and_are_not_lost() {
    let mut new = another(2, 8, false);
    let first = new.trials.iter_mut().find(|t| t.planned.workload == "rand-read" && t.planned.environment == "vm");
    first.unwrap().measurements[0].value = 0.0;
    let judgement = judge(&base(), &new);
    let row = row(&judgement, "rand-read", "vm", "iops");
    assert_eq!((row.part, row.verdict), (Part::Undecided, Some(Verdict::Inconclusive)));
    assert!(row.sentence.contains("not above 0"), "{}", row.sentence);
}

#[test]
fn without_any_variance_the_point_is_judged() {
    let constant = |mut record: Record| {
        record.trials.iter_mut().flat_map(|trial| &mut trial.measurements).for_each(|m| m.value = 5.0);
        record
    };
    let judgement = judge(&constant(base()), &constant(another(2, 8, false)));
    assert_eq!(judgement.outcome, Outcome::Pass);
}

#[test]
fn a_smoke_run_is_not_judged_and_an_interrupted_one_as_far_as_it_came() {
    let mut smoke = another(2, 8, false);
    smoke.run.plan.profile.verdicts = false;
    let judgement = judge(&base(), &smoke);
    assert_eq!(judgement.outcome, Outcome::Inconclusive);
    assert!(row(&judgement, "rand-read", "vm", "iops").sentence.contains("gives no verdicts"));
    let mut interrupted = slower();
    interrupted.run.state = State::Interrupted;
    interrupted.trials.truncate(28 * 6);
    let judgement = judge(&base(), &interrupted);
    assert_eq!(judgement.outcome, Outcome::Fail);
    assert!(judgement.notes[0].contains("interrupted in block 6 of 8"), "{:?}", judgement.notes);
}

#[test]
fn in_a_set_the_run_is_the_unit_and_five_runs_bear_absolute_metrics() {
    let side = |seeds: std::ops::Range<u64>, factor: f64| -> Vec<Record> {
        seeds
            .map(|seed| {
                let mut record = another(seed, 3, false);
                speed_up(&mut record, "seq-read", "native", factor);
                record
            })
            .collect()
    };
    let judgement = judge_with(&side(10..15, 1.0), &side(20..25, 0.7), &Policy::default());
    assert_eq!(judgement.method, Method::Runs);
    let native = row(&judgement, "seq-read", "native", "bandwidth_bytes_per_s");
    assert_eq!((native.quantity, native.part, native.new_values.len()), (Quantity::Absolute, Part::Fails, 5));
    assert_eq!(judgement.tests, 14 + 21);
    let judgement = judge_with(&side(10..14, 1.0), &side(20..25, 0.7), &Policy::default());
    let native = row(&judgement, "seq-read", "native", "bandwidth_bytes_per_s");
    assert_eq!((native.part, judgement.tests), (Part::Informs, 14), "four runs a side are too few");
    let judgement = judge_with(&side(10..11, 1.0), &side(20..25, 0.7), &Policy::default());
    assert!(row(&judgement, "seq-read", "vm", "bandwidth_bytes_per_s").sentence.contains("1 of the 3 runs"));
}

#[test]
fn two_environments_of_one_run_are_paired_by_block() {
    let record = [slower()];
    let sides = Sides::Environments { runs: &record, base: "native", new: "container" };
    let judgement = compare(sides, &Policy::default(), None).unwrap();
    assert_eq!((judgement.outcome, judgement.tests), (Outcome::Fail, 7));
    let alarm = judgement.alarms().next().unwrap();
    assert_eq!(
        (alarm.workload.as_str(), alarm.quantity, alarm.degrees_of_freedom),
        ("rand-read", Quantity::Pair, Some(7.0))
    );
    assert!(alarm.noise_floor.is_some() && alarm.base_mean > alarm.new_mean);
    // What lacks its partner is in no mean.
    let mut lacking = record.clone();
    let is_first = |t: &&mut Trial| t.planned.workload == "rand-read" && t.planned.block == 1;
    for trial in lacking[0].trials.iter_mut().filter(is_first) {
        match trial.planned.environment.as_str() {
            "container" => trial.invalid.push("a limit was not in force".into()),
            _ => trial.measurements[0].value *= 1e6,
        }
    }
    let judgement =
        compare(Sides::Environments { runs: &lacking, base: "native", new: "container" }, &Policy::default(), None)
            .unwrap();
    let row = row(&judgement, "rand-read", "container", "iops");
    assert!(row.base_mean.unwrap() < 2.0 * alarm.base_mean.unwrap(), "{row:?}");
    let wrong = Sides::Environments { runs: &record, base: "native", new: "docker" };
    let error = compare(wrong, &Policy::default(), None).unwrap_err().to_string();
    assert!(error.contains("no environment `docker`; it has native, native-control, container, vm"), "{error}");
    let same = Sides::Environments { runs: &record, base: "vm", new: "vm" };
    assert!(compare(same, &Policy::default(), None).is_err());
}

/// The workload's IOPS become exactly the reference's times these.
fn set_ratios(record: &mut Record, workload: &str, ratios: &[f64]) {
    let native: Vec<f64> = ratios.iter().map(|_| 1000.0).collect();
    for trial in record.trials.iter_mut().filter(|trial| trial.planned.workload == workload) {
        let at = trial.planned.block as usize - 1;
        let factor = if trial.planned.environment == "container" { ratios[at] } else { 1.0 };
        trial.measurements[0].value = native[at] * factor;
    }
}

#[test]
fn one_alarm_of_many_tests_needs_more_than_one_of_one() {
    let (mut base, mut new) = (record(1, 6, false), another(2, 6, false));
    set_ratios(&mut base, "rand-read", &[1.0, 1.01, 0.99, 1.0, 0.99, 1.01]);
    set_ratios(&mut new, "rand-read", &[0.86, 0.80, 0.90, 0.82, 0.88, 0.80]);
    let judgement = judge(&base, &new);
    let many = row(&judgement, "rand-read", "container", "iops");
    assert!(many.p.unwrap() < 0.025 && many.p_holm.unwrap() > 0.025, "{many:?}");
    assert_eq!(many.verdict, Some(Verdict::Inconclusive));
    assert!(many.sentence.contains("not as one of 14 tests"), "{}", many.sentence);
    for record in [&mut base, &mut new] {
        record.run.plan.workloads.retain(|workload| workload.name == "rand-read");
        record.run.environments.retain(|environment| environment.name != "vm");
    }
    assert_eq!(row(&judge(&base, &new), "rand-read", "container", "iops").verdict, Some(Verdict::Worse));
}

#[test]
fn a_policy_moves_margins_deciders_and_what_fails() {
    let judged = |text: &str| judge_with(&[base()], &[slower()], &policy(text));
    assert_eq!(judged("margin = \"30%\"").outcome, Outcome::Pass);
    let ignored = judged("[[ignore]]\nworkload = \"rand-read\"\nreason = \"known\"\nuntil = 2026-02-01");
    assert_eq!((ignored.outcome, ignored.tests), (Outcome::Pass, 12));
    assert!(ignored.headline.ends_with("2 ignored"), "{}", ignored.headline);
    let informs = judged("[[metric]]\nname = \"iops\"\nworkloads = [\"rand-read\"]\ndecides = false");
    assert_eq!((informs.outcome, informs.tests), (Outcome::Pass, 12));
    let more = judged("[[metric]]\nname = \"read_latency_p99_ns\"\nworkloads = [\"rand-read\"]\ndecides = true");
    assert_eq!(more.alarms().count(), 2);
    let better = judge_with(&[slower()], &[base()], &policy("fail-on = [\"better\"]"));
    assert_eq!(better.alarms().next().unwrap().verdict, Some(Verdict::Better));
    assert_eq!(policy("on-inconclusive = \"fail\"").on_inconclusive, OnInconclusive::Fail);
}

#[test]
fn an_alarm_must_come_back_in_a_fresh_run() {
    let first = judge(&base(), &slower());
    let mut again = another(3, 8, false);
    speed_up(&mut again, "rand-read", "container", 0.8);
    let mut confirmed = first.clone();
    confirmed.confirm(&judge(&base(), &again));
    assert_eq!(confirmed.outcome, Outcome::Fail);
    assert_eq!(confirmed.rows[0].confirmations, [Some(Verdict::Worse)]);
    let mut gone = first.clone();
    gone.confirm(&judge(&base(), &another(3, 8, false)));
    assert_eq!((gone.outcome, gone.rows[0].part), (Outcome::Pass, Part::Unconfirmed));
    assert!(gone.headline.contains("1 not confirmed") && gone.rows[0].sentence.contains("did not come back"));
    let mut open = first;
    open.confirm(&judge(&base(), &another(3, 2, false)));
    assert_eq!(open.outcome, Outcome::Inconclusive);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn exchanging_the_sides_exchanges_the_verdicts(seed in 2_u64..1000, factor in 0.5_f64..2.0, blocks in 3_u32..6) {
        let base = record(1, 4, false);
        let mut new = another(seed, blocks, false);
        speed_up(&mut new, "rand-read", "container", factor);
        let (there, back) = (judge(&base, &new), judge(&new, &base));
        for one in there.rows.iter().filter(|row| row.quantity == Quantity::Overhead) {
            let other = row(&back, &one.workload, &one.environment, &one.metric);
            let expected = match one.verdict {
                Some(Verdict::Worse) => Some(Verdict::Better),
                Some(Verdict::Better) => Some(Verdict::Worse),
                same => same,
            };
            prop_assert_eq!(other.verdict, expected);
            prop_assert!((one.ratio.unwrap() * other.ratio.unwrap() - 1.0).abs() < 1e-9);
        }
    }
}
