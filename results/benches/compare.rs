//! Reading, comparing and judging two runs of 5,000 trials. The budget for all of it is 2 s.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bench_results::compare::{Sides, compare};
use bench_results::policy::Policy;
use bench_results::store::Record;
use bench_results::testing::{another, record};
use criterion::{Criterion, criterion_group, criterion_main};

/// 28 trials a block.
const BLOCKS: u32 = 179;

/// A run's folder as a finished run leaves it, without syncing 5,000 times.
fn stored(parent: &Path, record: &Record) -> PathBuf {
    let folder = parent.join(&record.run.id);
    std::fs::create_dir(&folder).expect("a temporary folder can be written");
    let mut trials = String::new();
    for trial in &record.trials {
        let line = serde_json::to_string(trial).expect("a record can be serialised");
        writeln!(trials, "{line}").expect("writing to a string");
    }
    let run = serde_json::to_string(&record.run).expect("a record can be serialised");
    std::fs::write(folder.join("run.json"), run).expect("a temporary folder can be written");
    std::fs::write(folder.join("trials.jsonl"), trials).expect("a temporary folder can be written");
    folder
}

fn benches(criterion: &mut Criterion) {
    let parent = tempfile::tempdir().expect("a temporary folder");
    let folders = [record(1, BLOCKS, false), another(2, BLOCKS, false)].map(|record| stored(parent.path(), &record));
    let load = || folders.each_ref().map(|folder| [Record::load(folder).expect("it was just written")]);
    let judged = |[base, new]: &[[Record; 1]; 2]| {
        let allowed = BTreeSet::new();
        compare(Sides::Runs { base, new, allowed: &allowed }, &Policy::default(), None).expect("they are comparable")
    };
    let loaded = load();
    let mut group = criterion.benchmark_group("two runs of 5,000 trials");
    group.sample_size(10);
    group.bench_function("compare", |bencher| bencher.iter(|| judged(&loaded)));
    group.bench_function("load and compare", |bencher| bencher.iter(|| judged(&load())));
    group.finish();
}

criterion_group!(all, benches);
criterion_main!(all);
