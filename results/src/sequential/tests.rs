use super::*;
use crate::analysis::Comparison;
use crate::compare::{Sides, compare};
use crate::metric::Direction;
use crate::order::tests::places;
use crate::policy::Policy;
use crate::resume;
use crate::statistics::Interval;
use crate::testing;
use crate::verdict::{Verdict, judge};

#[test]
fn every_plan_of_the_table_has_its_looks() {
    for square in SQUARES {
        for blocks in square..=MOST_BLOCKS {
            if looks_of(square, blocks).len() == 1 {
                assert!(matches!(looks(square, blocks), Err(NoLooks::TooFew { .. })), "{square} {blocks}");
                continue;
            }
            let looks = looks(square, blocks).unwrap();
            let is_due = |look: &Look| look.block >= 6 && (look.block.is_multiple_of(square) || look.block == blocks);
            assert!(looks.iter().all(is_due), "{looks:?}");
            // Who crosses a bound has spent it at most; small levels are known to a quarter.
            let may = |look: &Look| LEAST_TAIL.max(1.3 * spent(f64::from(look.block) / f64::from(blocks))).min(TAIL);
            assert!(looks.iter().all(|look| (LEAST_TAIL..=may(look)).contains(&look.tail)), "{looks:?}");
            assert!(looks.is_sorted_by(|a, b| a.block < b.block), "{looks:?}");
            assert_eq!(looks.last().unwrap().block, blocks);
        }
    }
    let at = |square, blocks| looks(square, blocks).unwrap().iter().map(|look| look.block).collect::<Vec<_>>();
    assert_eq!(at(4, 28), [8, 12, 16, 20, 24, 28]);
    assert_eq!(at(3, 10), [6, 9, 10]);
    for (square, blocks) in [(4, 61), (13, 28), (1, 28)] {
        assert!(looks(square, blocks).unwrap_err().to_string().contains("fewer --blocks"));
    }
    let error = looks(4, 8).unwrap_err().to_string();
    assert!(error.contains("squares of 4 blocks, from block 8 on") && error.contains("give more --blocks"), "{error}");
}

#[test]
fn squares_are_whole_in_all_workloads_at_once() {
    for (environments, turns, blocks) in [
        (&[4, 4][..], 1, 4),
        (&[4], 3, 4),
        (&[4], 2, 2),
        (&[4, 6], 1, 12),
        (&[3], 3, 2),
        (&[2], 1, 2),
        (&[1, 5], 1, 5),
        (&[], 1, 2),
    ] {
        assert_eq!(square(environments.iter().copied(), turns), blocks, "{environments:?} {turns}");
    }
}

/// The recorded levels, on other paths than those that they come from. Three standard errors of 2.5 % in 60,000 are 0.2 %.
#[test]
fn the_recorded_levels_spend_the_error_that_they_may() {
    for (square, plans) in [(2, &[8, 28][..]), (3, &[10, 30]), (4, &[12, 28, 60]), (6, &[24])] {
        let paths = Paths::simulate(square, 30_000, 7);
        for &blocks in plans {
            let looks = looks(square, blocks).unwrap();
            let crossing = paths.crossing(&looks);
            assert!((crossing - TAIL).abs() < 0.0024, "{square} {blocks}: {crossing}");
            let halfway = paths.crossing(&looks[..looks.len() / 2]);
            let may = spent(f64::from(looks[looks.len() / 2 - 1].block) / f64::from(blocks));
            assert!((halfway - may).abs() < 0.0015, "{square} {blocks}: {halfway} {may}");
            let one_look: Vec<Look> = looks.iter().map(|look| Look { tail: TAIL, ..*look }).collect();
            let naive = paths.crossing(&one_look);
            assert!(naive > TAIL + 0.004, "the bounds of one look, at every look: {square} {blocks}: {naive}");
        }
    }
}

/// How runs end, and after how many blocks.
#[derive(Debug, Default)]
struct Ends {
    better: f64,
    worse: f64,
    equivalent: f64,
    blocks: f64,
}

/// Runs of up to 28 blocks of four environments, with the orders of a real plan, judged look by look by what judges a record.
fn simulate(truth: f64, sd: f64, per_place: f64) -> Ends {
    const RUNS: usize = 6000;
    let looks = looks(4, 28).unwrap();
    let mut rng = ChaCha12Rng::seed_from_u64(28);
    let mut ends = Ends::default();
    for _ in 0..RUNS {
        let later = places(4, 28, &mut rng);
        let ratios: Vec<f64> =
            later.iter().map(|&later| truth * per_place.powf(later) * (sd * normal(&mut rng)).exp()).collect();
        let verdict = |look: &Look| {
            let n = look.block as usize;
            let fit = order::fit(&ratios[..n], &later[..n])?.at_level(look.tail)?;
            judge(&fit.estimate()?, 0.05, Direction::Higher).filter(|verdict| *verdict != Verdict::Inconclusive)
        };
        let end = looks.iter().find_map(|look| Some((look.block, verdict(look)?)));
        ends.blocks += end.map_or(28.0, |(block, _)| f64::from(block)) / RUNS as f64;
        let share = |verdict| if end.is_some_and(|(_, given)| given == verdict) { 1.0 / RUNS as f64 } else { 0.0 };
        ends.better += share(Verdict::Better);
        ends.worse += share(Verdict::Worse);
        ends.equivalent += share(Verdict::Equivalent);
    }
    ends
}

/// Three standard errors of 2.5 % in 6,000 are 0.6 %.
#[test]
fn at_an_edge_one_run_in_forty_is_wrong_however_often_it_looks() {
    for (sd, per_place) in [(0.03, 1.0), (0.05, 1.0), (0.05, 1.02), (0.08, 1.0)] {
        for (truth, beyond) in [(1.0 / 1.05, Verdict::Worse), (1.05, Verdict::Better)] {
            let ends = simulate(truth, sd, per_place);
            println!("{truth:.3} {sd} {per_place}: {ends:?}");
            let wrong = if beyond == Verdict::Worse { ends.worse } else { ends.better };
            // The equivalent side of a wide spread is cut off by the other edge.
            assert!((0.018..0.0315).contains(&wrong) && ends.equivalent < 0.0315, "{truth} {sd} {per_place}: {ends:?}");
        }
    }
}

#[test]
fn a_row_needs_16_to_20_of_28_blocks() {
    for (sd, expected) in [(0.03, 10.0..15.0), (0.05, 16.0..20.0), (0.076, 20.5..26.0)] {
        for (truth, found) in [(1.0, Verdict::Equivalent), (1.0 / 1.05 / 1.05, Verdict::Worse)] {
            let ends = simulate(truth, sd, 1.0);
            println!("{truth:.3} {sd}: {ends:?}");
            let right = if found == Verdict::Worse { ends.worse } else { ends.equivalent };
            assert!(expected.contains(&ends.blocks) && right > 0.7, "{truth} {sd}: {ends:?}");
        }
    }
}

/// A run of up to 28 blocks as its record is after so many.
fn looking(blocks: u32) -> Record {
    let mut record = testing::record(3, 28, false);
    record.run.plan.sequential = Some(Sequential { looks: looks(4, 28).unwrap(), stopped_after: None });
    record.trials.retain(|trial| trial.planned.block <= blocks);
    record
}

fn of<'a>(comparisons: &'a [Comparison], environment: &str) -> &'a Comparison {
    let is_it = |c: &&Comparison| c.deciding && c.workload == "rand-read" && c.environment == environment;
    comparisons.iter().find(is_it).unwrap()
}

#[test]
fn reports_and_comparisons_show_the_repeated_interval() {
    let width = |interval: Interval| (interval.high / interval.low).ln();
    for blocks in [8, 10, 12, 28] {
        let record = looking(blocks);
        let mut once = record.clone();
        once.run.plan.sequential = None;
        let (repeated, single) = (analyse(&record).comparisons, analyse(&once).comparisons);
        let (repeated, single) = (of(&repeated, "container"), of(&single, "container"));
        let look =
            record.run.plan.sequential.as_ref().unwrap().looks.iter().rfind(|look| look.block <= blocks).unwrap();
        let freedom = f64::from(blocks) - 1.0;
        let wider = upper_quantile(freedom, look.tail).unwrap() / upper_quantile(freedom, TAIL).unwrap();
        let found = width(repeated.interval.unwrap()) / width(single.interval.unwrap());
        assert!(wider > 1.0 && (found / wider - 1.0).abs() < 1e-9, "{blocks}: {found} {wider}");
        assert_eq!(repeated.ratio, single.ratio);
        let runs = std::slice::from_ref(&record);
        let sides = Sides::Environments { runs, base: "native", new: "container" };
        let judgement = compare(sides, &Policy::default(), None).unwrap();
        let row = judgement.rows.iter().find(|row| row.workload == "rand-read" && row.metric == "iops").unwrap();
        let (a, b) = (row.interval.unwrap(), repeated.interval.unwrap());
        assert!((a.low / b.low - 1.0).abs() < 1e-12 && (a.high / b.high - 1.0).abs() < 1e-12, "{row:?}");
    }
}

#[test]
fn a_run_that_can_decide_nothing_says_so_before_it_begins() {
    let emulated = Some("emulated".to_owned());
    let said = |rows: &[(&'static str, Option<String>)]| nothing_to_decide(28, rows.to_vec());
    assert_eq!(said(&[("vm", emulated.clone()), ("container", None)]), None, "one row that can be decided");
    let none = said(&[]).unwrap();
    assert!(none.contains("nothing is compared") && none.ends_with("the end of its 28 blocks"), "{none}");
    let elsewhere = Some("on other storage".to_owned());
    let rows = [("vm", emulated.clone()), ("vm-nat", emulated.clone()), ("vm", emulated), ("container", elsewhere)];
    let all = said(&rows).unwrap();
    assert!(all.contains("(vm, vm-nat: emulated; container: on other storage)"), "{all}");

    // Of a run: only where it looks, and only where no row is left.
    let mut run = testing::record(1, 28, true).run;
    run.environments.retain(|environment| environment.name != "container");
    assert_eq!(never_decided(&run), None);
    run.plan.sequential = Some(Sequential { looks: looks(4, 28).unwrap(), stopped_after: None });
    let why = never_decided(&run).unwrap();
    assert!(why.contains("(vm: emulated: says nothing about KVM)"), "{why}");
    let whole = looking(28).run;
    assert_eq!(never_decided(&whole), None, "a container and a guest under KVM");
    let mut on_tcg = whole;
    on_tcg.fingerprint.insert("machine.emulated".to_owned(), "yes".to_owned());
    assert!(never_decided(&on_tcg).unwrap().contains("container, vm: the machine's own CPU is emulated"));
}

#[test]
fn a_run_is_decided_when_every_row_that_can_be_is() {
    let record = looking(12);
    assert!(is_decided(&record), "{:?}", analyse(&record).headline);
    let open = |change: &dyn Fn(&mut Record)| {
        let mut record = record.clone();
        change(&mut record);
        !is_decided(&record)
    };
    assert!(open(&|record| record.run.plan.profile.margin = 0.0001), "one that is inconclusive");
    assert!(open(&|record| record
        .trials
        .retain(|t| (&*t.planned.workload, &*t.planned.environment) != ("seq-read", "vm"))));
    assert!(open(&|record| record.trials.clear()));
    assert!(open(&|record| record.run.plan.reference = "gone".into()));
    assert!(open(&|record| record.run.environments.truncate(2)), "a control alone decides nothing");
    // What is never judged is not waited for.
    let mut emulated = record.clone();
    let is_vm = |e: &&mut crate::record::Environment| e.name == "vm";
    emulated.run.environments.iter_mut().find(is_vm).unwrap().accelerator = Some(crate::record::Accelerator::Tcg);
    emulated.trials.retain(|trial| trial.planned.environment != "vm");
    assert!(is_decided(&emulated));
}

#[test]
fn a_run_that_stops_gives_up_the_rest_of_its_plan_and_says_so() {
    let mut record = looking(12);
    let plan = &mut record.run.plan;
    plan.starts = vec![["native", "native-control", "container", "vm"].map(str::to_owned).to_vec(); 28];
    assert_eq!((1..=28).filter(|&block| plan.looks_before(block)).collect::<Vec<_>>(), [9, 13, 17, 21, 25]);
    let planned_s = plan.planned_s;
    plan.stop_after(12);
    assert_eq!((plan.profile.blocks, plan.starts.len(), plan.trials.len()), (12, 12, record.trials.len()));
    assert!((plan.planned_s / planned_s - 12.0 / 28.0).abs() < 1e-9);
    assert_eq!(resume::left(plan, &record.trials), []);
    let note = plan.sequential.as_ref().unwrap().note();
    assert!(
        note.contains("after blocks 8, 12, 16, 20, 24, 28") && note.contains("stopped after 12 of 28 blocks"),
        "{note}"
    );
    let reportable = analyse(&record).reportable;
    assert!(reportable.reportable, "{reportable:?}");

    // It went on with a block, and looked before it: that it stopped there is no contradiction.
    record.run.breaks.push(crate::record::Break {
        block: 13,
        attempt: 1,
        last_trial_at: None,
        resumed_at: "2026-01-01T01:00:00Z".into(),
        superseded: 0,
        baseline: None,
        settle: None,
    });
    let text = serde_json::to_string(&record.run).unwrap();
    assert_eq!(serde_json::from_str::<crate::record::Run>(&text).unwrap(), record.run);
    let before = text.replace("\"sequential\"", "\"unknown\"");
    assert_eq!(serde_json::from_str::<crate::record::Run>(&before).unwrap().plan.sequential, None, "older records");

    let parsed = Record::parse(std::path::Path::new("x"), text.as_bytes(), &lines(&record)).unwrap();
    assert!(parsed.notes.iter().any(|note| note.contains("repeated confidence intervals")), "{:?}", parsed.notes);
    let power = crate::power::power(&parsed, None, 0.9).unwrap();
    assert!(power.notes[0].contains("spread a little small"), "{:?}", power.notes);
}

fn lines(record: &Record) -> Vec<u8> {
    let mut text = Vec::new();
    for trial in &record.trials {
        serde_json::to_writer(&mut text, trial).unwrap();
        text.push(b'\n');
    }
    text
}

#[test]
fn levels_that_are_none_are_not_used() {
    let with = |tail| Sequential { looks: vec![Look { block: 8, tail }], stopped_after: None }.tail(8);
    assert_eq!([0.0, -1.0, f64::NAN, 0.5].map(with), [None; 4]);
    assert_eq!(with(0.01), Some(0.01));
    assert_eq!(Sequential { looks: Vec::new(), stopped_after: Some(3) }.tail(8), None);
}
