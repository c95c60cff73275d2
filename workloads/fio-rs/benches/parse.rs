//! Reading the output of a measured job.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};

const GOOD: &[u8] = include_bytes!("../tests/golden/good.out");

fn benches(criterion: &mut Criterion) {
    criterion.bench_function("parse json+", |bencher| bencher.iter(|| fio_rs::parse(black_box(GOOD))));
}

criterion_group!(all, benches);
criterion_main!(all);
