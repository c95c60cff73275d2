//! A deciding percentile that some block does not bear is shown for the others, and nothing is judged from them: no claim, pattern, noise
//! floor, plan of blocks or spread between runs, and no rule for whole runs.

use bench_results::Histogram;
use bench_results::analysis::{Analysis, Comparison, analyse};
use bench_results::claims::{ClaimResult, Outcome};
use bench_results::compare::{History, Sides, compare, compare_with};
use bench_results::patterns::{Kind, Pattern};
use bench_results::policy::Policy;
use bench_results::power::power;
use bench_results::record::Trial;
use bench_results::store::Record;
use bench_results::testing::{another, record, speed_up};
use proptest::prelude::*;

const WORKLOAD: &str = "rand-read-latency";
const METRIC: &str = "read_latency_p50_ns";

/// The median decides about one workload.
fn by_median(mut record: Record) -> Record {
    let workload = record.run.plan.workloads.iter_mut().find(|workload| workload.name == WORKLOAD).unwrap();
    METRIC.clone_into(&mut workload.deciding);
    record
}

/// One block of an environment did too few I/Os for it.
fn refuse(record: &mut Record, environment: &str, block: u32) {
    let is_it = |trial: &&mut Trial| {
        let planned = &trial.planned;
        (planned.block, &*planned.workload, &*planned.environment) == (block, WORKLOAD, environment)
    };
    let trial = record.trials.iter_mut().find(is_it).unwrap();
    trial.histograms.insert("read".to_owned(), Histogram::from_bins([(300_000, 100)]));
}

fn row<'a>(analysis: &'a Analysis, environment: &str) -> &'a Comparison {
    let is_it = |c: &&Comparison| c.deciding && c.workload == WORKLOAD && c.environment == environment;
    analysis.comparisons.iter().find(is_it).unwrap()
}

fn claim(analysis: &Analysis) -> &ClaimResult {
    analysis.claims.iter().find(|claim| claim.id == "latency-vm").unwrap()
}

#[test]
fn a_claim_is_not_tested_for_the_reason_of_its_row() {
    let whole = by_median(record(1, 8, false));
    assert!(!matches!(claim(&analyse(&whole)).outcome, Outcome::NotTested(_)), "{:?}", claim(&analyse(&whole)));
    for side in ["native", "vm"] {
        let mut record = whole.clone();
        refuse(&mut record, side, 3);
        let analysis = analyse(&record);
        let (row, claim) = (row(&analysis, "vm"), claim(&analysis));
        let why = row.why_no_verdict.clone().unwrap();
        assert!(
            row.ratio.is_some() && row.verdict.is_none() && why.contains(&format!("of {side}, 1 block")),
            "{row:?}"
        );
        assert_eq!(claim.outcome, Outcome::NotTested(format!("{WORKLOAD}: {why}")), "{claim:?}");
    }
    // What decides does not matter.
    let mut other = record(1, 8, false);
    refuse(&mut other, "vm", 3);
    assert!(claim(&analyse(&other)).outcome.to_string().contains("too few I/Os"), "{:?}", claim(&analyse(&other)));
    let mut container = whole;
    refuse(&mut container, "container", 3);
    assert!(
        !matches!(claim(&analyse(&container)).outcome, Outcome::NotTested(_)),
        "a side that the claim is not about"
    );
}

#[test]
fn no_pattern_is_looked_for_in_the_other_blocks() {
    let whole = by_median(record(1, 12, false));
    let mut refused = whole.clone();
    refuse(&mut refused, "vm", 3);
    let tested = |record: &Record, environment: &str| {
        let patterns = analyse(record).patterns.into_iter();
        patterns.filter(|one| one.workload == WORKLOAD && one.environment == environment).count()
    };
    assert!(tested(&whole, "vm") > 1 && tested(&refused, "vm") == 0);
    assert_eq!(tested(&whole, "container"), tested(&refused, "container"));
}

#[test]
fn a_control_that_does_not_bear_it_is_no_noise_floor() {
    let whole = by_median(record(1, 8, false));
    let mut refused = whole.clone();
    refuse(&mut refused, "native-control", 3);
    let floor = |record: &Record| row(&analyse(record), "container").noise_floor;
    assert!(floor(&whole).is_some() && floor(&refused).is_none());
    let compared = |record: &Record| {
        let runs = std::slice::from_ref(record);
        let sides = Sides::Environments { runs, base: "native", new: "container" };
        let rows = compare(sides, &Policy::default(), None).unwrap().rows;
        rows.into_iter().find(|row| row.workload == WORKLOAD && row.metric == METRIC).unwrap().noise_floor
    };
    assert!(compared(&whole).is_some() && compared(&refused).is_none());
}

#[test]
fn power_leaves_it_out_for_the_reason_of_its_row() {
    let mut record = by_median(record(1, 8, false));
    refuse(&mut record, "vm", 3);
    let why = row(&analyse(&record), "vm").why_no_verdict.clone().unwrap();
    let told = power(&record, None, 0.95).unwrap();
    let left_out: Vec<_> = told.left_out.iter().map(|one| (&*one.workload, &*one.environment, &*one.reason)).collect();
    assert_eq!(left_out, [(WORKLOAD, "vm", &*why)]);
}

#[test]
fn earlier_runs_and_controls_that_do_not_bear_it_tell_nothing_of_how_far_runs_lie_apart() {
    let (base, new) = (by_median(another(1, 8, false)), by_median(another(2, 8, false)));
    let policy = Policy::default();
    let source = |refused: &[&str]| {
        let mut history = History::new(&base, &new);
        for seed in 10..18 {
            let mut earlier = by_median(another(seed, 8, false));
            refused.iter().for_each(|environment| refuse(&mut earlier, environment, 3));
            history.add(&earlier);
        }
        let allowed = Default::default();
        let (base, new) = (std::slice::from_ref(&base), std::slice::from_ref(&new));
        let judgement = compare_with(Sides::Runs { base, new, allowed: &allowed }, &policy, None, Some(&history));
        let rows = judgement.unwrap().rows.into_iter();
        let mut rows = rows.filter(|row| row.workload == WORKLOAD && row.metric == METRIC && row.decides());
        rows.find(|row| row.environment == "vm").unwrap().between.unwrap().to_string()
    };
    assert!(source(&[]).ends_with("from 8 runs"), "{}", source(&[]));
    assert!(!source(&["vm"]).ends_with("runs"), "{}", source(&["vm"]));
}

#[test]
fn a_guest_is_not_too_fast_by_it_and_the_headline_says_why_nothing_is_judged() {
    let mut fast = by_median(record(1, 8, false));
    let workload = fast.run.plan.workloads.iter_mut().find(|workload| workload.name == WORKLOAD).unwrap();
    workload.parameters.insert("engine".to_owned(), "libaio, direct".to_owned());
    speed_up(&mut fast, WORKLOAD, "vm", 2.0);
    let cached = |record: &Record| analyse(record).reportable.reasons.iter().any(|reason| reason.rule == "cache");
    assert!(cached(&fast));
    refuse(&mut fast, "vm", 3);
    assert!(!cached(&fast));

    fast.run.plan.workloads.retain(|workload| workload.name == WORKLOAD);
    fast.run.plan.trials.retain(|trial| trial.workload == WORKLOAD);
    fast.trials.retain(|trial| trial.planned.workload == WORKLOAD);
    let headline = analyse(&fast).headline;
    assert!(headline.contains("VM: too few I/Os for a verdict"), "{headline}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whichever blocks of whichever environment do not bear it: a row without a verdict for that has no outcome of a claim, no pattern
    /// and no noise floor.
    #[test]
    fn what_has_no_verdict_for_it_judges_nothing(
        seed in 1_u64..1000,
        blocks in 3_u32..14,
        refused in proptest::collection::vec((0_usize..4, 1_u32..14), 1..6),
    ) {
        let mut record = by_median(another(seed, blocks, false));
        let names = ["native", "native-control", "container", "vm"];
        for (environment, block) in refused {
            refuse(&mut record, names[environment], 1 + block % blocks);
        }
        let analysis = analyse(&record);
        for row in analysis.comparisons.iter().filter(|row| row.partial) {
            prop_assert!(row.verdict.is_none() && row.why_no_verdict.is_some(), "{row:?}");
            let about = |workload: &str, environment: &str| (workload, environment) == (&*row.workload, &*row.environment);
            let of_ratio = |one: &&Pattern| matches!(one.kind, Kind::RatioDrift | Kind::RatioModes | Kind::Order);
            let mut patterns = analysis.patterns.iter().filter(of_ratio);
            prop_assert!(!row.deciding || !patterns.any(|one| about(&one.workload, &one.environment)));
            prop_assert!(!row.deciding || !about(WORKLOAD, "vm") || matches!(claim(&analysis).outcome, Outcome::NotTested(_)));
            let mut all = analysis.comparisons.iter().filter(|other| other.workload == row.workload && other.metric == row.metric);
            prop_assert!(!row.is_control || all.all(|other| other.noise_floor.is_none()));
        }
    }
}
