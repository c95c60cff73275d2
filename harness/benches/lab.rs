//! What a network lab costs: a container that ends at once, without and with a lab and a peer around it. Root only.

use std::process::{Command, Stdio};

use criterion::{Criterion, criterion_group, criterion_main};

fn container(net: &str) {
    let state = std::env::temp_dir().join("bench-lab-state");
    let status = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["container", "run", "--net", net, "--", "true"])
        .env("BENCH_STATE_DIR", state)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "bench container run --net {net} failed (does this run as root?)"
    );
}

fn lab(c: &mut Criterion) {
    let mut group = c.benchmark_group("container_run");
    group.sample_size(40);
    for net in ["none", "bridge", "nat"] {
        group.bench_function(net, |b| b.iter(|| container(net)));
    }
    group.finish();
}

criterion_group!(benches, lab);
criterion_main!(benches);
