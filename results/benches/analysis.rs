//! Merging histograms and analysing a run of 5,000 trials.

use std::hint::black_box;

use bench_results::{Histogram, analysis, testing};
use criterion::{Criterion, criterion_group, criterion_main};

fn benches(criterion: &mut Criterion) {
    let record = testing::record(1, 180, false);
    let one = &record.trials[2].histograms["read"];
    criterion.bench_function("merge two histograms", |bencher| {
        bencher.iter(|| {
            let mut all = Histogram::default();
            all.merge(black_box(one));
            all.merge(black_box(one));
            all
        });
    });
    let mut group = criterion.benchmark_group("a long run");
    group.sample_size(10).bench_function("analyse 5,040 trials", |bencher| {
        bencher.iter(|| analysis::analyse(black_box(&record)));
    });
}

criterion_group!(all, benches);
criterion_main!(all);
