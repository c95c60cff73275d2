//! How long it takes to read, analyse and render a large run. The budget for 5,000 trials is 3 s and 300 MB.
#![allow(missing_docs)] // criterion_group! makes public items

use std::fmt::Write as _;
use std::path::Path;

use bench_results::analysis::analyse;
use bench_results::store::Record;
use bench_results::testing::record;
use criterion::{Criterion, criterion_group, criterion_main};

/// 28 trials a block.
const BLOCKS: u32 = 179;

/// A run's folder as a finished run leaves it, without syncing 5,000 times.
fn stored(folder: &Path) {
    let record = record(1, BLOCKS, false);
    let run = serde_json::to_string(&record.run).expect("a record can be serialised");
    let mut trials = String::new();
    for trial in &record.trials {
        let line = serde_json::to_string(trial).expect("a record can be serialised");
        writeln!(trials, "{line}").expect("writing to a string");
    }
    std::fs::write(folder.join("run.json"), run).expect("a temporary folder can be written");
    std::fs::write(folder.join("trials.jsonl"), trials).expect("a temporary folder can be written");
}

fn report(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    stored(folder.path());
    let record = Record::load(folder.path()).expect("the record was just written");
    let mut group = criterion.benchmark_group("5,000 trials");
    group.sample_size(10);
    group.bench_function("load", |b| b.iter(|| Record::load(folder.path())));
    group.bench_function("analyse", |b| b.iter(|| analyse(&record)));
    group.bench_function("page only", |b| b.iter(|| bench_reports::write_page(&record, &folder.path().join("page"))));
    group.bench_function("load, analyse, write all", |b| {
        b.iter(|| {
            let record = Record::load(folder.path()).expect("the record was just written");
            bench_reports::write_all(&record, &folder.path().join("report"))
        });
    });
    group.finish();
}

criterion_group!(benches, report);
criterion_main!(benches);
