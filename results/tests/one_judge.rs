//! `report RUN` and `compare RUN --env BASE,NEW` say the same of the same blocks.

use bench_results::Histogram;
use bench_results::analysis::{Comparison, analyse};
use bench_results::claims::Outcome as ClaimOutcome;
use bench_results::compare::{Judged, Judgement, Outcome, Part, Sides, compare};
use bench_results::policy::Policy;
use bench_results::power::power;
use bench_results::record::Trial;
use bench_results::store::Record;
use bench_results::testing::{another, record, speed_up};
use bench_results::verdict::Verdict;
use proptest::prelude::*;

fn pair(record: &Record, base: &str, new: &str) -> Judgement {
    let sides = Sides::Environments { runs: std::slice::from_ref(record), base, new };
    compare(sides, &Policy::default(), None).unwrap()
}

fn reported(record: &Record, environment: &str) -> Comparison {
    let mut all = analyse(record).comparisons.into_iter();
    all.find(|c| c.deciding && c.workload == "rand-read" && c.environment == environment).unwrap()
}

fn compared(record: &Record, base: &str, new: &str) -> Judged {
    let mut rows = pair(record, base, new).rows.into_iter();
    rows.find(|row| row.decides() && row.workload == "rand-read").unwrap()
}

/// Every row of the report is what the comparison with the reference says, but for the gate's adjustment of alarms.
fn agree(record: &Record) {
    let analysis = analyse(record);
    for environment in ["container", "vm"] {
        let judgement = pair(record, "native", environment);
        for said in analysis.comparisons.iter().filter(|c| c.environment == environment) {
            let is_it = |row: &&Judged| row.workload == said.workload && row.metric == said.metric;
            let Some(row) = judgement.rows.iter().find(is_it) else {
                // A percentile that some block does not bear: the report says why it has no numbers.
                assert!(said.ratio.is_none(), "{said:?}");
                continue;
            };
            assert_eq!((said.ratio, said.interval), (row.ratio, row.interval));
            if said.ratio.is_some() {
                assert_eq!(said.noise_floor.map(|floor| floor.1), row.noise_floor);
            }
            match said.verdict {
                None => {
                    assert!(row.verdict.is_none_or(|verdict| verdict == Verdict::Inconclusive), "{said:?} {row:?}");
                    let why = said.why_no_verdict.as_deref().unwrap();
                    assert!(row.sentence.contains(why) || why.starts_with("too few I/Os"), "{said:?} {row:?}");
                }
                // Of many secondary tests, as a family that a gate does not have.
                Some(Verdict::Inconclusive) if said.sentence.contains("not as one of") => {}
                Some(_) if row.sentence.contains("not as one of") => {
                    assert_eq!(row.verdict, Some(Verdict::Inconclusive));
                }
                said => assert_eq!(said, row.verdict, "{row:?}"),
            }
        }
    }
}

fn change(record: &mut Record, environment: &str, of: impl Fn(u32) -> Option<f64>) {
    let mine = |trial: &&mut Trial| trial.planned.workload == "rand-read" && trial.planned.environment == environment;
    for trial in record.trials.iter_mut().filter(mine) {
        let changed = of(trial.planned.block);
        trial.measurements.iter_mut().filter(|m| m.metric == "iops").for_each(|m| m.value = changed.unwrap_or(m.value));
    }
}

#[test]
fn two_kinds_of_blocks_get_no_verdict_from_either() {
    let mut record = record(1, 12, false);
    let values = |block| Some(if block % 2 == 0 { 40_000.0 } else { 80_000.0 } * (1.0 + 0.001 * f64::from(block)));
    change(&mut record, "container", values);
    change(&mut record, "native", |block| Some(80_000.0 * (1.0 + 0.0011 * f64::from(block))));
    agree(&record);
    let said = reported(&record, "container");
    assert_eq!((said.verdict, said.why_no_verdict.as_ref().unwrap().contains("two kinds")), (None, true), "{said:?}");
    for (base, new) in [("native", "container"), ("container", "native"), ("vm", "container"), ("container", "vm")] {
        let row = compared(&record, base, new);
        assert_eq!(
            (row.verdict, row.part, row.p),
            (Some(Verdict::Inconclusive), Part::Undecided, None),
            "{base} {new}"
        );
        assert!(row.sentence.contains("its blocks are of two kinds: 6 near"), "{base} {new}: {}", row.sentence);
        assert_ne!(pair(&record, base, new).outcome, Outcome::Pass);
    }
    // Nor does it bear a claim: 0.5 and 1 native are not both "as fast", whatever their mean.
    let claims = analyse(&record).claims;
    let claim = claims.iter().find(|claim| claim.id == "random-io-container").unwrap();
    assert_eq!(claim.outcome, ClaimOutcome::Inconclusive, "{claim:?}");
    assert!(claim.evidence.contains("rand-read of two kinds: near 0.5"), "{claim:?}");
    // Neither kind is 1.5 times as fast as a guest.
    let claim = claims.iter().find(|claim| claim.id == "random-io-vm").unwrap();
    assert_eq!(claim.outcome, ClaimOutcome::DoesNotHold, "{claim:?}");
    let same_side = compared(&another(2, 12, false), "native", "container");
    assert_eq!(same_side.verdict, Some(Verdict::Equivalent), "one kind is judged");
}

/// A median that decides, and that the few I/Os of one block do not bear.
#[test]
fn where_a_block_does_not_bear_the_deciding_percentile_there_is_no_verdict() {
    let mut record = record(1, 8, false);
    let is_it = |trial: &&mut Trial| {
        let planned = &trial.planned;
        (planned.block, &*planned.workload, &*planned.environment) == (3, "rand-read-qd1", "container")
    };
    let trial = record.trials.iter_mut().find(is_it).unwrap();
    trial.histograms.insert("read".to_owned(), Histogram::from_bins([(9_000, 100)]));
    agree(&record);
    let said = analyse(&record)
        .comparisons
        .into_iter()
        .find(|said| said.deciding && (&*said.workload, &*said.environment) == ("rand-read-qd1", "container"));
    let said = said.expect("the row stands");
    assert!(said.metric == "read_latency_p50_ns" && said.pairs.len() == 7 && said.ratio.is_some(), "{said:?}");
    let why = said.why_no_verdict.expect("those that bear it are no fair sample");
    assert!(said.verdict.is_none() && why.contains("of container, 1 block had fewer, one of them 100"), "{why}");
}

#[test]
fn a_block_without_a_ratio_is_inconclusive_to_both_and_not_left_out() {
    let odd = [0.0, -0.0, -5.0, -80_000.0, 5e-324, 1e308];
    for (environment, value) in ["container", "native"].into_iter().flat_map(|name| odd.map(|value| (name, value))) {
        let mut record = record(1, 8, false);
        change(&mut record, environment, |block| (block == 3).then_some(value));
        agree(&record);
        let (said, row) = (reported(&record, "container"), compared(&record, "native", "container"));
        assert_eq!(said.verdict, Some(Verdict::Inconclusive), "{environment} {value}: {said:?}");
        assert_eq!(row.verdict, Some(Verdict::Inconclusive), "{environment} {value}: {row:?}");
        if value <= 0.0 {
            assert!(said.sentence.contains("not above 0") && row.sentence.contains("not above 0"), "{said:?} {row:?}");
            assert_eq!((said.ratio, said.interval, said.pairs.len(), said.blocks_needed), (None, None, 7, None));
        }
        assert!(row.new_values.iter().all(|value| value.is_finite()), "JSON has no other numbers: {row:?}");
        assert!(row.new_values.len() == 8, "it is shown");
    }
    // Two negative values have a positive quotient, and are no rates all the same.
    let mut record = record(1, 8, false);
    for environment in ["container", "native"] {
        change(&mut record, environment, |block| (block == 3).then_some(-80_000.0));
    }
    agree(&record);
    assert_eq!(reported(&record, "container").verdict, Some(Verdict::Inconclusive));
}

#[test]
fn no_block_with_a_ratio_and_a_control_without_one_are_said_too() {
    let mut none = record(1, 8, false);
    change(&mut none, "container", |_| Some(0.0));
    agree(&none);
    assert_eq!(reported(&none, "container").verdict, Some(Verdict::Inconclusive));
    let mut control = record(1, 8, false);
    change(&mut control, "native-control", |block| (block == 3).then_some(0.0));
    agree(&control);
    assert_eq!(reported(&control, "native-control").verdict, Some(Verdict::Inconclusive));
    let floor = reported(&control, "container").noise_floor;
    assert_eq!(floor, None, "seven of eight blocks are not what the control showed");
    let holds = |record: &Record| {
        let claims = analyse(record).claims;
        claims
            .into_iter()
            .find(|claim| claim.evidence.contains("rand-write") && claim.evidence.contains("rand-mixed"))
            .unwrap()
    };
    assert_eq!(holds(&record(1, 8, false)).outcome, ClaimOutcome::Holds);
    let mut zero = record(1, 8, false);
    change(&mut zero, "container", |block| (block == 3).then_some(0.0));
    let told = power(&zero, None, 0.95).unwrap();
    let left_out = told.left_out.iter().find(|row| row.workload == "rand-read" && row.environment == "container");
    assert!(left_out.unwrap().reason.contains("not above 0"), "seven of eight blocks are no sample of them");
    let claim = holds(&zero);
    assert!(claim.outcome == ClaimOutcome::Inconclusive && claim.evidence.contains("not above 0"), "{claim:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn whatever_the_blocks_are(seed in 2_u64..1000, blocks in 1_u32..14, factor in 0.7_f64..1.3, low in 0.4_f64..1.0, odd in 0_u32..20) {
        let mut record = another(seed, blocks, false);
        speed_up(&mut record, "rand-read", "container", factor);
        change(&mut record, "vm", |block| (block % 2 == 0).then_some(60_000.0 * low));
        change(&mut record, "container", |block| (block == odd).then_some(0.0));
        agree(&record);
    }
}
