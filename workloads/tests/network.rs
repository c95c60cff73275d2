//! What iperf3 really printed (3.12), as measurements or as the reason of a failure.

use bench_agent::{Bytes, JobOutput, JobStatus};
use bench_results::record::Profile;
use bench_results::validity::judge;
use bench_workloads::{Network, Place, Suite, Workload};

fn workload(name: &str) -> Workload {
    let suite = Suite::builtin("network").unwrap();
    suite.workloads.into_iter().find(|workload| workload.name() == name).unwrap()
}

fn output(status: JobStatus, stdout: &[u8]) -> JobOutput {
    JobOutput {
        status,
        stdout: Bytes(stdout.to_vec()),
        stderr: Bytes::default(),
        files: Vec::new(),
        started_ns: 0,
        ended_ns: 1,
        rusage: bench_agent::Rusage::default(),
    }
}

fn golden(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

#[test]
fn received_bytes_count_and_not_sent_ones() {
    let measured =
        workload("tcp-stream-tx").measure(&output(JobStatus::Exited(0), &golden("iperf3-good.json"))).unwrap();
    assert_eq!(measured.measurements[0].metric, "bandwidth_bytes_per_s");
    assert!((measured.measurements[0].value - 16_069_694_341.053864 / 8.0).abs() < 1.0, "{measured:?}");
    assert_eq!(measured.facts["iperf3.retransmits"], 26);
    assert_eq!(measured.rate_per_s, Some(measured.measurements[0].value));
    assert_eq!(measured.seconds, (Some(1.0001120567321777), Some(1.004551)), "the omitted second is the warm-up");
}

#[test]
fn a_paced_stream_must_reach_its_rate() {
    let mut paced = workload("tcp-stream-paced-rx");
    assert!(paced.needs_pace() && !paced.unpaced().needs_pace());
    let output = output(JobStatus::Exited(0), &golden("iperf3-paced-reverse.json"));
    paced.set_pace(10_000_000.0);
    assert!(!paced.needs_pace());
    let reached = |paced: &Workload| judge(&paced.measure(&output).unwrap().facts, false);
    assert_eq!(reached(&paced), []);
    paced.set_pace(20_000_000.0);
    assert!(reached(&paced)[0].sentence.contains(" % of its rate"));
}

/// iperf3 exits with status 0 when it printed an error as JSON.
#[test]
fn errors_are_failures_whatever_the_status() {
    for (file, said) in [("iperf3-refused.json", "Connection refused"), ("iperf3-server-died.json", "control socket")] {
        let error = workload("tcp-stream-rx").measure(&output(JobStatus::Exited(0), &golden(file))).unwrap_err();
        assert!(error.starts_with("iperf3: ") && error.contains(said), "{error}");
    }
}

#[test]
fn garbage_silence_and_a_hang_are_failures() {
    let stream = workload("tcp-stream-tx");
    let torn = &golden("iperf3-good.json")[..1500];
    for (status, stdout, said) in [
        (JobStatus::Exited(0), &b"garbage"[..], "printed no result"),
        (JobStatus::Exited(1), b"", "status 1"),
        (JobStatus::Exited(0), torn, "printed no result"),
        (JobStatus::Exited(0), b"{\"end\":{}}", "received nothing"),
        (JobStatus::DeadlinePassed, b"", "deadline"),
    ] {
        let error = stream.measure(&output(status, stdout)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn both_ends_are_told_the_same() {
    let suite = Suite::builtin("network").unwrap();
    let profile: &Profile = suite.profile("quick").unwrap();
    let network = Network {
        peer: "198.18.0.2".into(),
        iperf3: "/usr/bin/iperf3".into(),
        bench: "/bench".into(),
        peers_bench: "/srv/bench".into(),
    };
    let mut place = Place {
        target: None,
        size_bytes: 0,
        fio: String::new(),
        bench: String::new(),
        path_env: String::new(),
        network: Some(network),
    };
    let port_of = |argv: &[String]| {
        let at = argv.iter().position(|word| word == "-p" || word == "--port").unwrap();
        argv[at + 1].clone()
    };
    for workload in &suite.workloads {
        let jobs = workload.trial(&place, profile, 1).unwrap();
        let server = jobs.server.unwrap();
        let port = server.port.to_string();
        assert_eq!((port_of(&server.job.argv), port_of(&jobs.measured.argv)), (port.clone(), port));
        assert!(jobs.measured.deadline_ns > 0, "one that hangs is ended");
        assert!(jobs.measured.argv.iter().any(|word| word == "198.18.0.2"));
    }
    // iperf3 knows whole seconds only.
    assert_eq!(workload("tcp-stream-tx").seconds(profile), (1.0, 2.0));
    assert_eq!(workload("tcp-rr").seconds(profile), (0.5, 2.0));
    place.network = None;
    assert!(workload("tcp-rr").trial(&place, profile, 1).unwrap_err().contains("tcp-rr"));
}
