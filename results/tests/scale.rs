//! What is read may be large: nothing grows faster than it, and of a set little is kept. Generous bounds, since machines are busy: what is
//! proportional takes 4 times as long for 4 times as much, what is quadratic 16 times. `reports/examples/scale.rs` measures it.

use std::time::Duration;

use bench_results::analysis::analyse;
use bench_results::compare::{Judgement, Sides, compare};
use bench_results::lean::Set;
use bench_results::policy::Policy;
use bench_results::record::{Remark, Trial};
use bench_results::store::Record;
use bench_results::testing::{another, counted, in_two_turns, record};
use rustix::time::{ClockId, clock_gettime};

/// Longest that four times as much may take, in times of the one.
const MOST: u32 = 10;
/// Blocks of the smaller run.
const BLOCKS: u32 = 30;

/// CPU time of the thread, the least of some tries: others use the machine, too.
fn time(work: impl Fn()) -> Duration {
    let clock = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let once = || {
        let began = clock();
        work();
        clock() - began
    };
    (0..3).map(|_| once()).min().unwrap()
}

fn grows_no_faster<T>(what: &str, of: impl Fn(u32) -> T, work: impl Fn(&T)) {
    let [one, four] = [BLOCKS, 4 * BLOCKS].map(|blocks| {
        let made = of(blocks);
        time(|| work(&made))
    });
    assert!(four < one * MOST, "{what}: {one:?}, and {four:?} for four times as much");
}

/// Every sixteenth trial is remarked, of every check and place.
fn remarked(blocks: u32) -> Record {
    let mut record = counted(record(1, blocks, false));
    for trial in record.trials.iter_mut().step_by(16) {
        for check in ["host.other_cpu_percent", "disk.extra_percent", "fio.major_faults"] {
            trial.facts.insert(check.to_owned(), 9.into());
            trial.remarks.push(Remark { check: check.to_owned(), text: format!("{check} is 9") });
        }
    }
    record
}

fn bytes(record: &Record) -> (Vec<u8>, Vec<u8>) {
    let line = |trial: &Trial| [serde_json::to_vec(trial).unwrap(), b"\n".to_vec()].concat();
    (serde_json::to_vec(&record.run).unwrap(), record.trials.iter().flat_map(line).collect())
}

#[test]
fn nothing_grows_faster_than_what_is_read() {
    grows_no_faster(
        "reading",
        |blocks| bytes(&remarked(blocks)),
        |(run, trials)| {
            assert!(Record::parse("run".as_ref(), run, trials).is_ok());
        },
    );
    grows_no_faster("analysing with remarks", remarked, |record| drop(analyse(record)));
    let sides = |blocks| [remarked(blocks), counted(another(2, blocks, false))];
    grows_no_faster("comparing", sides, |[base, new]| {
        drop(judged(std::slice::from_ref(base), std::slice::from_ref(new)));
    });
}

fn judged(base: &[Record], new: &[Record]) -> Judgement {
    compare(Sides::Runs { base, new, allowed: &Default::default() }, &Policy::default(), None).unwrap()
}

fn lean(records: &[Record]) -> Vec<Record> {
    let mut set = Set::default();
    records.iter().for_each(|record| set.add(record.clone()));
    set.into_records()
}

#[test]
fn a_set_is_judged_as_its_whole_runs_are() {
    let runs = |seeds: std::ops::Range<u64>, edit: fn(Record) -> Record| -> Vec<Record> {
        seeds.map(|seed| edit(counted(another(seed, 8, false)))).collect()
    };
    let broken = |mut record: Record| {
        let of = |trial: &&mut Trial| trial.planned.environment == "vm" && trial.planned.workload == "rand-read";
        record.trials.iter_mut().filter(of).take(6).for_each(|trial| trial.failure = Some("it did not come up".into()));
        record.trials[0].invalid.push("a limit was not in force".into());
        record.run.state = bench_results::record::State::Interrupted;
        record
    };
    for edit in [|record| record, in_two_turns, broken] {
        let (base, new) = (runs(1..5, |record| record), runs(5..11, edit));
        let (base, new) = if new[0].run.plan.profile.turns > 1 { (runs(1..5, edit), new) } else { (base, new) };
        assert_eq!(judged(&lean(&base), &lean(&new)), judged(&base, &new));
        let pair = |runs: &[Record]| {
            let sides = Sides::Environments { runs, base: "native", new: "container" };
            compare(sides, &Policy::default(), None).unwrap()
        };
        assert_eq!(pair(&lean(&new)), pair(&new));
    }
}

#[test]
fn of_a_set_little_is_kept() {
    const MOST_BYTES: usize = 250_000;
    let sets: Vec<Record> = lean(&(1..9).map(|seed| counted(another(seed, 8, false))).collect::<Vec<_>>());
    let mut kept = 0;
    for record in &sets[1..] {
        kept +=
            record.trials.capacity() * (size_of::<Trial>() + 64) + format!("{:?}{:?}", record.run, record.lean).len();
        assert!(
            record
                .trials
                .iter()
                .all(|one| one.histograms.is_empty() && one.facts.is_empty() && one.measurements.is_empty())
        );
    }
    let each = kept / (sets.len() - 1);
    assert!(each < MOST_BYTES, "{each} bytes of each run: a thousand a side are to take less than 500 MB");
}
