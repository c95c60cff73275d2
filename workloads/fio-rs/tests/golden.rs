//! Real output of fio 3.33 (made by `golden/make.sh`), and what must never break the reader.

use fio_rs::{Failure, parse};
use proptest::prelude::*;

const GOOD: &str = include_str!("golden/good.out");
const FAILED: &str = include_str!("golden/failed.out");
const FULL: &str = include_str!("golden/full.out");
const READONLY: &str = include_str!("golden/readonly.out");
const SIGINT: &str = include_str!("golden/sigint.out");
const SIGKILL: &str = include_str!("golden/sigkill.out");

#[test]
fn a_good_run_is_read_wholly() {
    let output = parse(GOOD.as_bytes()).unwrap();
    assert_eq!(output.version, "fio-3.33");
    let job = output.check(0, "measured").unwrap();
    for traffic in [&job.read, &job.write] {
        let binned: u64 = traffic.clat_ns.bins.iter().map(|&(_, count)| count).sum();
        assert_eq!(binned, traffic.total_ios);
        assert_eq!(traffic.clat_ns.n, traffic.total_ios);
        assert_eq!(traffic.io_bytes, traffic.total_ios * 4096);
        assert!(traffic.clat_ns.bins.is_sorted());
    }
    let share = job.read.total_ios as f64 / (job.read.total_ios + job.write.total_ios) as f64;
    assert!((0.6..0.8).contains(&share), "{share}");
    assert!(job.read.runtime_ms >= 100 && job.read.runtime_ms < 400, "{}", job.read.runtime_ms);
    assert_ne!(output.job("warm-up").unwrap().read.total_ios, job.read.total_ios);
}

#[test]
fn failures_carry_fios_own_words() {
    for (text, status, name, words) in [
        (FAILED, 1, "failed", "Not a directory"),
        (FULL, 1, "full", "No space left on device"),
        (READONLY, 1, "readonly", "Read-only file system"),
    ] {
        let failure = parse(text.as_bytes()).unwrap().check(status, name).unwrap_err();
        assert!(failure.to_string().contains(words), "{failure}");
        assert!(matches!(failure, Failure::Job { .. }), "{failure:?}");
    }
}

#[test]
fn a_killed_fio_is_a_failure() {
    let interrupted = parse(SIGINT.as_bytes()).unwrap();
    assert!(interrupted.job("killed").unwrap().read.total_ios > 0, "its partial result is read");
    assert!(interrupted.check(128, "killed").is_err());
    assert!(parse(SIGKILL.as_bytes()).is_err());
}

#[test]
fn all_is_well_is_not_believed_without_io() {
    let output = parse(b"{\n\"jobs\": [{\"jobname\": \"x\", \"error\": 0}]\n}").unwrap();
    assert_eq!(output.check(0, "x"), Err(Failure::Nothing { job: "x".into() }));
    assert_eq!(output.check(0, "y"), Err(Failure::Absent { job: "y".into() }));
    assert!(matches!(parse(GOOD.as_bytes()).unwrap().check(3, "measured"), Err(Failure::Exit { status: 3, .. })));
}

#[test]
fn other_versions_and_strange_values_are_tolerated() {
    let text = "note: hello\n{\n\"jobs\": [{\"jobname\": \"x\", \"new\": [1], \"error\": null,\
        \"read\": {\"iops\": \"many\", \"total_ios\": -4, \"io_bytes\": 1e400, \"clat_ns\": {\"bins\": {\"a\": 1, \"7\": 2}}}}]\n}\nbye\n";
    let error = parse(text.as_bytes());
    // 1e400 is no number of JSON; without it everything else is read.
    assert!(error.is_err());
    let output = parse(text.replace("1e400", "1e40").as_bytes()).unwrap();
    assert_eq!(output.diagnostics, ["note: hello", "bye"]);
    assert_eq!(output.jobs[0].read.clat_ns.bins, [(7, 2)]);
    assert_eq!(output.jobs[0].read.total_ios, 0);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse(&bytes);
    }

    #[test]
    fn no_truncation_or_damage_makes_it_panic(end in 0..GOOD.len(), at in 0..GOOD.len(), byte in any::<u8>()) {
        let mut bytes = GOOD.as_bytes()[..end].to_vec();
        if at < end {
            bytes[at] = byte;
        }
        if let Ok(output) = parse(&bytes) {
            let _ = output.check(0, "measured");
        }
    }

    #[test]
    fn noise_around_the_json_is_kept_and_changes_nothing(noise in "[ -z]{1,60}") {
        let noise = noise.trim().to_owned();
        prop_assume!(!noise.is_empty());
        let noisy = parse(format!("{noise}\n{GOOD}\n{noise}\n").as_bytes()).unwrap();
        let clean = parse(GOOD.as_bytes()).unwrap();
        prop_assert_eq!(&noisy.jobs, &clean.jobs);
        prop_assert_eq!(noisy.diagnostics, vec![noise.clone(), noise]);
    }
}

/// 24 MiB, the most that an agent brings back, in the shape that costs most.
#[test]
fn many_beginnings_are_not_each_read_to_the_end() {
    let nested = "{\n\"a\":\n".repeat(120) + "[" + &"1,".repeat(12 << 20);
    let began = std::time::Instant::now();
    assert!(parse(nested.as_bytes()).is_err());
    let took = began.elapsed();
    assert!(took.as_secs() < 10, "{took:?}");
}
