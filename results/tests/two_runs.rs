//! Two runs of different hours: the spread between runs, where it is from, and how often a verdict is wrong that has it.

use std::collections::BTreeSet;

use bench_results::between::{DEFAULT_SD, Source};
use bench_results::compare::simulated::{Ends, Pairs, Row, Scatter, Told};
use bench_results::compare::{History, Judged, Judgement, Outcome, Part, Quantity, Sides, compare, compare_with, gate};
use bench_results::metric;
use bench_results::policy::Policy;
use bench_results::store::Record;
use bench_results::testing::{another, record, speed_up};
use bench_results::verdict::Verdict;

const MARGIN: f64 = 0.05;

/// Fewer comparisons than are behind the figures of the methodology: three standard errors of 2.5 % in 1,000 are 1.5 %.
fn ends(blocks: [u32; 2], between: f64, told: Told, scatter: Scatter, (rows, worse_by): (usize, f64)) -> Ends {
    let row = Row { metric: metric::find("iops").unwrap(), scatter, margin: MARGIN, worse_by, between, told };
    let pairs = Pairs { base_blocks: blocks[0], new_blocks: blocks[1], rows: vec![row; rows], others: 0 };
    pairs.ends(1000, 1)
}

/// How often a row at the margin's edge is called `worse`.
fn false_worse(blocks: [u32; 2], between: f64, told: Told, scatter: Scatter) -> f64 {
    ends(blocks, between, told, scatter, (1, 1.0 + MARGIN)).rows[0].worse
}

#[test]
fn with_a_history_a_row_at_the_edge_is_called_worse_as_rarely_as_promised() {
    for between in [0.0, 0.01, 0.02, 0.03, 0.05] {
        for scatter in
            [Scatter::Normal(0.05), Scatter::HeavyTails(0.05), Scatter::Lopsided(0.05), Scatter::Lopsided(-0.05)]
        {
            let rate = false_worse([28, 28], between, Told::History(20), scatter.clone());
            assert!(rate < 0.045, "{between} {scatter:?}: {rate}");
        }
    }
    // The level is used, not merely kept.
    assert!(false_worse([28, 28], 0.03, Told::History(20), Scatter::Normal(0.05)) > 0.01);
}

#[test]
fn few_and_unequal_blocks_keep_the_level_and_three_are_refused() {
    for blocks in [[6, 6], [8, 8], [12, 12], [6, 28], [28, 6]] {
        for scatter in [Scatter::Normal(0.05), Scatter::Lopsided(0.05), Scatter::Lopsided(-0.05)] {
            for between in [0.0, 0.02] {
                let rate = false_worse(blocks, between, Told::History(20), scatter.clone());
                assert!(rate < 0.045, "{blocks:?} {between} {scatter:?}: {rate}");
            }
        }
    }
    let refused = ends([3, 28], 0.0, Told::History(20), Scatter::Normal(0.05), (1, 2.0));
    assert_eq!((refused.inconclusive, refused.fail), (1.0, 0.0), "three blocks of anything say nothing");
    assert_eq!(ends([6, 6], 0.0, Told::History(20), Scatter::Normal(0.01), (1, 2.0)).fail, 1.0, "and six see a half");
}

#[test]
fn without_a_history_the_rates_are_those_that_the_methodology_states() {
    let of = |between, told| false_worse([28, 28], between, told, Scatter::Normal(0.05));
    assert!(of(0.0, Told::Nothing) < 0.005 && of(0.02, Told::Nothing) < 0.02);
    assert!(of(0.03, Told::Nothing) < 0.05, "{}", of(0.03, Told::Nothing));
    // It is a default, and no knowledge: with a larger spread false alarms are more.
    assert!((0.08..0.18).contains(&of(0.05, Told::Nothing)), "{}", of(0.05, Told::Nothing));
    let controls = |alike| of(0.05, Told::Controls { workloads: 7, alike });
    assert!(controls(false) < 0.045 && controls(true) < 0.08, "{} {}", controls(false), controls(true));
    for between in [0.0, 0.03] {
        let equal = ends([28, 28], between, Told::Nothing, Scatter::Normal(0.05), (7, 1.0));
        assert!(equal.fail < 0.005, "{between}: {equal:?}");
    }
}

fn runs<'a>(base: &'a Record, new: &'a Record, allowed: &'a BTreeSet<bench_results::compare::Aspect>) -> Sides<'a> {
    Sides::Runs { base: std::slice::from_ref(base), new: std::slice::from_ref(new), allowed }
}

/// All ratios of a run but the control's are moved by this factor: the run's own draw.
fn moved(seed: u64, blocks: u32, factor: f64) -> Record {
    let mut record = another(seed, blocks, false);
    for workload in record.run.plan.workloads.clone() {
        for environment in ["container", "vm"] {
            speed_up(&mut record, &workload.name, environment, factor);
        }
    }
    record
}

fn judge(base: &Record, new: &Record, earlier: &[Record]) -> Judgement {
    let mut history = History::new(base, new);
    earlier.iter().for_each(|record| history.add(record));
    let history = (!earlier.is_empty()).then_some(&history);
    compare_with(runs(base, new, &BTreeSet::new()), &Policy::default(), None, history).unwrap()
}

fn row<'a>(judgement: &'a Judgement, environment: &str) -> &'a Judged {
    let is = |row: &&Judged| {
        (row.workload.as_str(), row.environment.as_str(), row.metric.as_str(), row.quantity)
            == ("rand-read", environment, "iops", Quantity::Overhead)
    };
    judgement.rows.iter().find(is).unwrap()
}

/// Ten earlier runs whose ratios lie 3 % apart.
fn restless() -> Vec<Record> {
    let moves = [0.97, 1.03, 1.04, 0.96, 1.0, 1.02, 0.98, 1.03, 0.97, 1.0];
    (0..).zip(moves).map(|(number, factor)| moved(100 + number, 8, factor)).collect()
}

#[test]
fn earlier_runs_tell_how_far_runs_lie_apart_and_the_rows_say_so() {
    let (base, new) = (record(1, 8, false), another(2, 8, false));
    let quiet: Vec<Record> = (0..10).map(|number| another(100 + number, 8, false)).collect();
    let judged = [judge(&base, &new, &restless()), judge(&base, &new, &quiet), judge(&base, &new, &[])];
    let [wide, narrow, assumed] = judged.each_ref().map(|judgement| row(judgement, "container").clone());
    let spread = wide.between.unwrap();
    assert_eq!((spread.source, spread.runs), (Source::History, 10));
    // Of these moves 2.9 %, and a little that blocks do not explain.
    assert!((0.027..0.032).contains(&spread.sd_log), "{spread:?}");
    assert!(wide.sentence.ends_with("; between-run spread 3.0 %, from 10 runs"), "{}", wide.sentence);
    assert!(narrow.between.unwrap().sd_log < 0.005, "{narrow:?}");
    let (spread, text) = (assumed.between.unwrap(), &assumed.sentence);
    assert_eq!((spread.source, spread.sd_log, spread.runs), (Source::Default, DEFAULT_SD, 0));
    assert!(text.ends_with("; between-run spread 2.5 %, assumed"), "{text}");
    let width = |row: &Judged| (row.interval.unwrap().high / row.interval.unwrap().low).ln();
    assert!(width(&narrow) < width(&assumed) / 4.0 && width(&assumed) < width(&wide));
    assert!(width(row(&judged[1], "vm")) < 0.05, "each row has its own");
    let noted = |judgement: &Judgement, said: &str| judgement.notes.iter().any(|note| note.contains(said));
    assert!(noted(&judged[0], "the history has 10 earlier runs of this series"), "{:?}", judged[0].notes);
    assert!(noted(&judged[2], "2.5 % are assumed") && !noted(&judged[0], "assumed"), "{:?}", judged[2].notes);
    // Nobody who looks at a set, at absolute values or at one run is told of it.
    let absolute = judged[2].rows.iter().filter(|row| row.quantity == Quantity::Absolute);
    assert!(absolute.into_iter().all(|row| row.between.is_none()));
}

#[test]
fn what_a_run_of_another_hour_may_be_is_no_alarm_and_a_real_loss_is() {
    let base = record(1, 8, false);
    let unlucky = moved(2, 8, 0.9);
    let mut within = Policy::default();
    within.margin = Some(0.05);
    let by_blocks_alone = {
        let (mut history, allowed) = (History::new(&base, &unlucky), BTreeSet::new());
        (0..10).for_each(|number| history.add(&another(100 + number, 8, false)));
        compare_with(runs(&base, &unlucky, &allowed), &within, None, Some(&history)).unwrap()
    };
    assert_eq!(by_blocks_alone.outcome, Outcome::Fail, "runs that never lay apart");
    let (mut history, allowed) = (History::new(&base, &unlucky), BTreeSet::new());
    restless().iter().for_each(|record| history.add(record));
    let judged = compare_with(runs(&base, &unlucky, &allowed), &within, None, Some(&history)).unwrap();
    assert_eq!(judged.outcome, Outcome::Inconclusive, "{}", judged.headline);
    // Without a history it is no silent pass, and what is lost beyond any such spread is an alarm.
    let judged = compare(runs(&base, &unlucky, &allowed), &within, None).unwrap();
    assert_eq!(judged.outcome, Outcome::Inconclusive, "{}", judged.headline);
    let lost = moved(2, 8, 0.6);
    assert_eq!(compare(runs(&base, &lost, &allowed), &within, None).unwrap().outcome, Outcome::Fail);
}

#[test]
fn only_earlier_runs_of_the_same_series_count_and_why_others_do_not_is_said() {
    let (base, new) = (record(1, 8, false), another(2, 8, false));
    let mut earlier: Vec<Record> = (0..6).map(|number| another(100 + number, 8, false)).collect();
    let mut other = |number: u64, change: fn(&mut Record)| {
        let mut record = another(200 + number, 8, false);
        change(&mut record);
        earlier.push(record);
    };
    other(0, |record| drop(record.run.fingerprint.insert("kernel.release".into(), "6.13.0-demo".into())));
    other(1, |record| record.run.plan.suite = "network".into());
    other(2, |record| record.run.plan.reference = "container".into());
    other(3, |record| record.run.plan.profile.verdicts = false);
    other(4, |record| record.run.plan.profile.runtime_s = 20.0);
    let mut copy = earlier[0].clone();
    copy.run.id = "20260109T000000Z-io-c0c0c0".into();
    let mut copy_of_new = new.clone();
    copy_of_new.run.id = "20260109T000000Z-io-c1c1c1".into();
    earlier.extend([copy, copy_of_new, base.clone(), new.clone()]);
    let judgement = judge(&base, &new, &earlier);
    let said = "the history has 6 earlier runs of this series; 9 left out: 1 BASE itself, 2 NEW itself, 1 a copy of another, 1 of another \
                suite, 1 of the profile `quick`, which gives no verdicts, 1 relative to another environment, 1 under other conditions \
                (kernel), 1 under other conditions (profile)";
    assert!(judgement.notes.iter().any(|note| note == said), "{:?}", judgement.notes);
    assert_eq!(row(&judgement, "container").between.unwrap().runs, 6);
    let judgement = judge(&base, &new, &earlier[..4]);
    assert_eq!(row(&judgement, "container").between.unwrap().source, Source::Default, "four runs tell too little");
    assert!(judgement.notes.iter().any(|note| note.starts_with("fewer than 5 earlier runs have a value of")));
}

#[test]
fn controls_raise_the_spread_and_never_lower_it() {
    let (base, mut new) = (record(1, 8, false), another(2, 8, false));
    assert_eq!(row(&judge(&base, &new, &[]), "vm").between.unwrap().source, Source::Default);
    for (workload, factor) in new.run.plan.workloads.clone().iter().zip([1.2, 0.85, 1.15, 0.9, 1.1, 0.8, 1.2]) {
        speed_up(&mut new, &workload.name, "native-control", factor);
    }
    let judgement = judge(&base, &new, &[]);
    let spread = row(&judgement, "vm").between.unwrap();
    assert_eq!((spread.source, spread.runs), (Source::Controls, 2));
    // Seven logarithms of about 0.16 among fourteen.
    assert!((0.08..0.16).contains(&spread.sd_log), "{spread:?}");
    assert!(judgement.notes.iter().any(|note| note.contains("the controls of the two runs lie further apart")));
    for run in [&mut new, &mut base.clone()] {
        run.run.plan.control = None;
    }
    assert_eq!(row(&judge(&base, &new, &[]), "vm").between.unwrap().source, Source::Default);
}

#[test]
fn a_gate_is_planned_by_the_code_that_judges_it() {
    let mut run = record(1, 8, false);
    run.run.plan.workloads.retain(|workload| ["seq-read", "rand-read"].contains(&workload.name.as_str()));
    run.run.environments.retain(|environment| environment.name != "vm");
    let planned = |blocks, history: Option<&History>| gate(&run, (None, 0.95), blocks, history).unwrap();
    let alone = planned(None, None);
    assert_eq!((alone.blocks, alone.rows.len(), alone.rows[0].between.source), (8, 2, Source::Default));
    assert!((alone.passes + alone.cannot_tell + alone.fails - 1.0).abs() < 1e-9 && alone.fails < 0.01, "{alone:?}");
    let mut history = History::new(&run, &run);
    (0..8).for_each(|number| history.add(&another(100 + number, 8, false)));
    let told = planned(None, Some(&history));
    assert_eq!((told.rows[0].between.source, told.rows[0].between.runs), (Source::History, 8));
    // Blocks that scatter by 1 %, a margin of 10 %: runs that lie no further apart pass, and lose little unseen.
    assert!(told.passes > 0.99 && told.passes >= alone.passes, "{told:?}");
    for (alone, told) in alone.rows.iter().zip(&told.rows) {
        let (alone, told) = (alone.loss_found.unwrap(), told.loss_found.unwrap());
        assert!((0.10..0.14).contains(&told) && alone > told + 0.04, "{told} {alone}");
    }
    let more = planned(Some(28), None);
    assert!(more.rows[0].loss_found < alone.rows[0].loss_found && more.run_s > 3.0 * alone.run_s, "{more:?}");
    assert!(gate(&run, (None, 0.95), Some(5), None).unwrap_err().to_string().contains("needs 6 blocks a side"));
    run.run.plan.profile.verdicts = false;
    assert!(gate(&run, (None, 0.95), None, None).unwrap_err().to_string().contains("gives no verdicts"));
}

#[test]
fn a_fresh_run_that_cannot_tell_by_itself_may_with_the_first() {
    let base = record(1, 8, false);
    let mut policy = Policy::default();
    (policy.margin, policy.confirm) = (Some(0.05), 1);
    let judged = |factor: f64, seed: u64| {
        let (new, allowed) = (moved(seed, 8, factor), BTreeSet::new());
        compare(runs(&base, &new, &allowed), &policy, None).unwrap()
    };
    let first = judged(0.7, 2);
    assert_eq!(first.outcome, Outcome::Fail);
    let confirmed = |factor: f64| {
        let mut judgement = first.clone();
        judgement.confirm(&judged(factor, 3));
        row(&judgement, "container").clone()
    };
    let together = confirmed(0.83);
    assert_eq!((together.part, &together.confirmations[..]), (Part::Fails, &[Some(Verdict::Inconclusive)][..]));
    let said = "; a fresh run by itself cannot tell, and together: 24 % slower, at least ";
    assert!(together.sentence.contains(said), "{}", together.sentence);
    assert_eq!(together.fresh_values.len(), 1);
    let open = confirmed(0.97);
    assert_eq!(open.part, Part::Undecided, "{}", open.sentence);
}
