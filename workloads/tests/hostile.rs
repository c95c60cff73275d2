//! What a guest may say that a tool printed costs the host little memory.

use bench_agent::{Bytes, JobOutput, JobStatus, Rusage};
use bench_results::testing::peak_kib;
use bench_workloads::Suite;

fn measure(suite: &str, workload: &str, stdout: Vec<u8>) -> String {
    let output = JobOutput {
        status: JobStatus::Exited(0),
        stdout: Bytes(stdout),
        stderr: Bytes::default(),
        files: Vec::new(),
        started_ns: 0,
        ended_ns: 1,
        rusage: Rusage::default(),
    };
    let suite = Suite::builtin(suite).unwrap();
    let workload = suite.workloads.into_iter().find(|known| known.name() == workload).unwrap();
    workload.measure(&output).unwrap_err()
}

#[test]
fn memory_stays_bounded() {
    let list = |before: &str, item: &str, after: &str, bytes: usize| {
        let items = item.repeat((bytes - before.len() - after.len()) / item.len());
        [before, items.trim_end_matches(','), after].concat().into_bytes()
    };
    let before = peak_kib();
    let most = 8 << 20;
    for (begin, item, end) in [
        ("{\n\"jobs\":[", "{},", "]}"),
        ("{\n\"jobs\":[{\"read\":{\"clat_ns\":{\"bins\":{", "\"7\":1,", "}}}}]}"),
        ("{\n\"jobs\":[", "[[]],", "]}"),
    ] {
        let said = measure("io", "rand-read", list(begin, item, end, most));
        assert!(said.contains("measured"), "{said}");
        let said = measure("network", "tcp-stream-tx", list(begin, item, end, most));
        assert!(said.contains("received nothing"), "{said}");
        let said = measure("io", "rand-read", list(begin, item, end, 60 << 20));
        assert!(said.contains("are read at most"), "{said}");
    }
    let taken = peak_kib() - before;
    assert!(taken < 700_000, "{taken} kB more at the peak");
}

#[test]
fn what_is_kept_of_complaints_is_bounded() {
    let complaints = "fio: error \u{1b}[31m\n".repeat(200_000);
    let said = measure("io", "rand-read", complaints.into_bytes());
    assert!(said.len() < 10_000 && !said.contains('\u{1b}'), "{} bytes", said.len());
}
