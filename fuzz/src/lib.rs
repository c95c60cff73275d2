//! What is fuzzed: one function for each kind of bytes that `bench` reads and did not write. A panic, a hang or endless memory
//! is a finding; an error is an answer. `fuzz_targets/` gives them to libFuzzer, `harness/tests/fuzz_corpus.rs` replays the
//! corpus on any compiler (and includes this very file).

use std::cell::OnceCell;
use std::hint::black_box;
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

use bench_agent::{Bytes, FrameError, Job, JobOutput, JobStatus, Request, Rusage, read_frame};
use bench_results::analysis::analyse;
use bench_results::policy::{KnownNames, Policy};
use bench_results::record::Profile;
use bench_results::store::Record;
use bench_results::{archive as archives, compare};
use bench_workloads::{AnyKind, Network, Place, Suite, Workload};

#[path = "../../harness/src/conductor/agent_client.rs"]
#[allow(dead_code)]
mod agent_client;

use agent_client::AgentClient;

/// A name, and what is done with bytes.
pub type Target = (&'static str, fn(&[u8]));

/// All targets by name.
pub const TARGETS: [Target; 9] = [
    ("agent_request", agent_request),
    ("agent_reply", agent_reply),
    ("fio", fio),
    ("iperf3", iperf3),
    ("probe", probe),
    ("suite", suite),
    ("policy", policy),
    ("record", record),
    ("archive", archive),
];

/// What an agent is sent, as it reads it. What was understood must survive being said again.
pub fn agent_request(bytes: &[u8]) {
    let mut stream = bytes;
    loop {
        match read_frame::<Request>(&mut stream) {
            Ok(request) => {
                let again = bench_agent::encode(&request).expect("it fitted into a frame before");
                assert_eq!(read_frame::<Request>(&mut &again[..]).expect("we wrote it"), request);
            }
            Err(FrameError::Json(_)) => {}
            Err(_) => return,
        }
    }
}

/// What an agent says, to the conductor's own client, through a whole conversation.
pub fn agent_reply(bytes: &[u8]) {
    thread_local! {
        static RUNTIME: tokio::runtime::Runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    }
    let stream = Cursor::new(bytes.to_vec());
    RUNTIME.with(|runtime| runtime.block_on(converse(stream)));
}

async fn converse(stream: Cursor<Vec<u8>>) {
    let greeted = AgentClient::greet(stream, tokio::io::sink(), Duration::from_secs(1)).await;
    let Ok((mut agent, greeting)) = greeted else { return };
    black_box(greeting);
    let first = agent.compare_clocks().await;
    drop(black_box(agent.digests(vec!["/usr/bin/fio".to_owned()]).await));
    drop(black_box(agent.texts(vec!["/proc/version".to_owned()]).await));
    drop(black_box(agent.execute(&Job::default()).await));
    let second = agent.compare_clocks().await;
    if let (Ok(first), Ok(second)) = (first, second) {
        black_box(second.drift_ns(first));
    }
    while let Ok(reply) = agent.receive().await {
        black_box(reply);
    }
}

/// What fio printed.
pub fn fio(bytes: &[u8]) {
    if let Ok(output) = fio_rs::parse(bytes) {
        drop(black_box(output.check(0, "measured")));
    }
    drop(black_box(bench_workloads::drive_result(&printed(bytes))));
    drop(black_box(bench_workloads::import::read(bytes, 1 << 20)));
    measure("io", &["rand-mixed", "seq-read"], bytes);
}

/// What iperf3 printed.
pub fn iperf3(bytes: &[u8]) {
    drop(black_box(bench_workloads::import::read(bytes, 1 << 20)));
    measure("network", &["tcp-stream-tx", "tcp-stream-paced-rx"], bytes);
}

/// What our own probe printed, from an environment that may lie.
pub fn probe(bytes: &[u8]) {
    measure("network", &["tcp-rr", "udp-pps"], bytes);
}

/// Read the output as these workloads of a suite do.
fn measure(suite: &'static str, names: &[&str], bytes: &[u8]) {
    thread_local! {
        static WORKLOADS: [(&'static str, OnceCell<Vec<Workload>>); 2] =
            const { [("io", OnceCell::new()), ("network", OnceCell::new())] };
    }
    let output = printed(bytes);
    WORKLOADS.with(|suites| {
        let (_, workloads) = suites.iter().find(|(name, _)| *name == suite).expect("a suite of these");
        let workloads = workloads.get_or_init(|| Suite::builtin(suite).expect("it comes with bench").workloads);
        for workload in workloads.iter().filter(|workload| names.contains(&workload.name())) {
            let Ok(measured) = black_box(workload.measure(&output)) else { continue };
            // Whatever was printed: no 0 is the figure that decides.
            let deciding = workload.record(Vec::new()).deciding;
            let value = measured.measurements.iter().find(|one| one.metric == deciding).map(|one| one.value);
            assert!(value.is_none_or(|value| value > 0.0 && value.is_finite()), "{deciding}: {value:?}");
        }
    });
}

fn printed(stdout: &[u8]) -> JobOutput {
    JobOutput {
        status: JobStatus::Exited(0),
        stdout: Bytes(stdout.to_vec()),
        stderr: Bytes::default(),
        files: Vec::new(),
        started_ns: 0,
        ended_ns: 1,
        rusage: Rusage::default(),
    }
}

/// A suite file, and the jobs that follow from it.
pub fn suite(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let suite = match Suite::parse(text, "mine.toml", &AnyKind) {
        Ok(suite) => suite,
        Err(e) => return drop(black_box(e.to_string())),
    };
    let place = Place {
        target: Some("/target".to_owned()),
        size_bytes: 1 << 30,
        fio: "/usr/bin/fio".to_owned(),
        bench: String::new(),
        path_env: "/bin".to_owned(),
        network: Some(Network {
            peer: "198.18.0.2".to_owned(),
            iperf3: "/usr/bin/iperf3".to_owned(),
            bench: "/bench".to_owned(),
            peers_bench: "/bench".to_owned(),
        }),
    };
    for (workload, profile) in suite.workloads.iter().flat_map(|one| suite.profiles.iter().map(move |two| (one, two))) {
        let profile: &Profile = profile;
        drop(black_box(workload.trial(&place, profile, u64::MAX)));
        black_box((workload.seconds(profile), workload.record(Vec::new())));
    }
}

/// A policy file.
pub fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let known = KnownNames {
        workloads: ["rand-read".to_owned(), "seq-write".to_owned()].into(),
        environments: ["native".to_owned(), "vm".to_owned()].into(),
    };
    if let Err(e) = Policy::parse(text, "policy.toml", &known, jiff::civil::date(2026, 1, 1)) {
        black_box(e.to_string());
    }
}

/// `run.json`, a NUL, `trials.jsonl`; and everything that is said of a record that was accepted.
pub fn record(bytes: &[u8]) {
    let split = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    let (run, trials) = (&bytes[..split], bytes.get(split + 1..).unwrap_or_default());
    if let Ok(record) = Record::parse(Path::new("run"), run, trials) {
        show(&record);
        // A gate that passes what the report calls worse does harm without a crash.
        assert_eq!(bench_results::testing::disagreement(&record), None);
    }
}

fn show(record: &Record) {
    let report = bench_reports::Report::new(record, &analyse(record));
    black_box((report.terminal(100, true, None), report.markdown(), report.comparisons_csv()));
    drop(black_box(bench_reports::write_measurements(record, &mut Vec::new())));
    drop(black_box((report.json(), report.html())));
    let side = std::slice::from_ref(record);
    let sides = compare::Sides::Runs { base: side, new: side, allowed: &Default::default() };
    if let Ok(judgement) = compare::compare(sides, &Policy::default(), None) {
        let report = bench_reports::CompareReport::new(&judgement, sides);
        black_box((report.terminal(100, false, None), report.markdown(), report.annotations()));
        drop(black_box((report.json(), report.junit(), report.html())));
    }
}

/// A tar archive that may hold a record.
pub fn archive(bytes: &[u8]) {
    if let Ok((run, trials)) = archives::read_tar(Path::new("run.tar.gz"), bytes) {
        drop(black_box(Record::parse(Path::new("run"), &run, &trials)));
    }
}
