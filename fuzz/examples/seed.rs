//! Writes the inputs that fuzzing starts from into `FOLDER/TARGET/`: real tool outputs and suites that are committed, and what
//! our own code writes. `cargo run --example seed -- FOLDER`; `harness/tests/fuzz_corpus.rs` includes this very file.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use bench_agent::{Bytes, Greeting, Job, JobFile, JobOutput, JobStatus, PROTOCOL_VERSION, Reply, Request, Rusage};
use bench_results::store::{Record, RunFolder};
use bench_results::{archive, testing};
use bench_workloads::probe::Outcome;
use serde::Serialize;

/// What was made, or why not.
pub type Outcomes<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> Outcomes<()> {
    write(&PathBuf::from(std::env::args().nth(1).ok_or("name the folder to write to")?))
}

/// Write every seed into the folder.
pub fn write(folder: &Path) -> Outcomes<()> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let put = |target: &str, name: &str, content: &[u8]| -> Outcomes<()> {
        fs::create_dir_all(folder.join(target))?;
        Ok(fs::write(folder.join(target).join(format!("seed-{name}")), content)?)
    };
    for (target, from) in
        [("fio", "workloads/fio-rs/tests/golden"), ("iperf3", "workloads/tests/golden"), ("suite", "workloads/suites")]
    {
        for entry in fs::read_dir(project.join(from))? {
            let path = entry?.path();
            if path.extension().is_some_and(|ending| ["out", "json", "toml"].iter().any(|known| ending == *known)) {
                put(target, &path.file_name().unwrap_or_default().to_string_lossy(), &fs::read(&path)?)?;
            }
        }
    }
    let fio = fs::read_to_string(project.join("workloads/fio-rs/tests/golden/good.out"))?;
    for (name, text) in forms_of_fio(&fio) {
        put("fio", name, text.as_bytes())?;
    }
    let iperf3 = fs::read_to_string(project.join("workloads/tests/golden/iperf3-good.json"))?;
    for (name, text) in forms_of_iperf3(&iperf3)? {
        put("iperf3", name, text.as_bytes())?;
    }
    put("suite", "every-kind", EVERY_KIND.as_bytes())?;
    put("policy", "every-key", POLICY.as_bytes())?;
    put("probe", "outcome", &serde_json::to_vec(&outcome())?)?;
    put("agent_request", "conversation", &frames(&requests())?)?;
    put("agent_reply", "conversation", &frames(&replies())?)?;
    put("agent_reply", "refusal", &frames(&[replies()[0].clone(), Reply::Refused("no".to_owned())])?)?;
    for (name, emulated) in [("kvm", false), ("emulated", true)] {
        let record = small(testing::record(1, 3, emulated));
        put("record", name, &text(&record)?)?;
        put("archive", name, &tar(&record)?)?;
    }
    Ok(())
}

/// Real output in the forms of other versions, and as it may be damaged.
fn forms_of_fio(good: &str) -> [(&'static str, String); 8] {
    [
        ("without-bw-bytes", good.replace("bw_bytes", "bw_of_old").replace("fio-3.33", "fio-3.1")),
        ("no-numbers", good.replace("0.000000", "-nan")),
        ("decimal-commas", good.replace(" : 0.", " : 0,")),
        ("clients", good.replace("\"jobs\"", "\"client_stats\"")),
        ("together", good.replacen("\"write\"", "\"mixed\"", 1)),
        ("null-read", good.replacen("\"read\" : {", "\"read\" : null, \"odd\" : {", 1)),
        ("notes-amid", good.replace("      \"error\" : 0,\n", "      \"error\" : 0,\nfio: a note {\n")),
        ("twice", format!("{good}{good}")),
    ]
}

fn forms_of_iperf3(good: &str) -> Outcomes<[(&'static str, String); 4]> {
    let all: serde_json::Value = serde_json::from_str(good)?;
    let event = |name: &str| format!("{}\n", serde_json::json!({"event": name, "data": all[name]}));
    Ok([
        ("no-retransmits", good.replace("\"retransmits\":\t", "\"retransmits\":\t-")),
        ("events", event("start") + &event("end")),
        ("no-sum", good.replace("sum_received", "sum_of_none")),
        ("error-twice", good.replacen('{', "{\"error\": \"one\", \"error\": [],", 1)),
    ])
}

fn frames<T: Serialize>(messages: &[T]) -> Outcomes<Vec<u8>> {
    let mut bytes = Vec::new();
    for message in messages {
        bytes.extend(bench_agent::encode(message)?);
    }
    Ok(bytes)
}

fn requests() -> Vec<Request> {
    let job = Job {
        argv: vec!["fio".to_owned(), "job.fio".to_owned()],
        env: vec![("PATH".to_owned(), "/bin".to_owned())],
        cwd: Some("/".to_owned()),
        files: vec![JobFile { name: "job.fio".to_owned(), content: "[measured]".into() }],
        collect: vec!["out".to_owned()],
        deadline_ns: 1_000_000_000,
        streams: Default::default(),
    };
    vec![
        Request::Ping,
        Request::Digest(vec!["/usr/bin/fio".to_owned()]),
        Request::Read(vec!["/proc/version".to_owned()]),
        Request::Execute(job),
        Request::Stdin("x".into()),
        Request::StdinEnd,
        Request::Signal(15),
        Request::Shutdown,
    ]
}

/// In the order of the target's questions.
fn replies() -> Vec<Reply> {
    let greeting = Greeting {
        protocol: PROTOCOL_VERSION,
        kernel_release: "6.12.0".to_owned(),
        hostname: "guest".to_owned(),
        pid: 1,
        cpus: 2,
        clock_source: Some("tsc".to_owned()),
        clock_read_ns: 25.0,
        clock_ns: 1_000,
        began_ns: 0,
        warnings: vec!["a warning".to_owned()],
    };
    let output = JobOutput {
        status: JobStatus::Exited(0),
        stdout: "{}".into(),
        stderr: Bytes::default(),
        files: vec![JobFile { name: "out".to_owned(), content: "x".into() }],
        started_ns: 1,
        ended_ns: 2,
        rusage: Rusage::default(),
    };
    let pongs = |first: u64| (first..first + 3).map(|clock_ns| Reply::Pong { clock_ns });
    let mut all = vec![Reply::Greeting(greeting)];
    all.extend(pongs(1_000));
    all.extend([
        Reply::Digests(vec![None]),
        Reply::Texts(vec![Some("Linux".to_owned())]),
        Reply::Done(Box::new(output)),
    ]);
    all.extend(pongs(2_000));
    all.extend([Reply::Stdout("out".into()), Reply::Stderr("err".into())]);
    all
}

fn outcome() -> Outcome {
    let bins = vec![(30_000, 3_000), (41_000, 1_000)];
    Outcome { done: 4_000, lost: 10, warmup_s: 0.5, seconds: 2.0, mean_ns: Some(30_500.0), max_ns: Some(41_000), bins }
}

/// One workload and a few bins are as good as seven and hundreds, and are executed faster.
fn small(mut record: Record) -> Record {
    let keep = ["rand-mixed"];
    record.run.plan.workloads.retain(|workload| keep.contains(&workload.name.as_str()));
    record.run.plan.trials.retain(|trial| keep.contains(&trial.workload.as_str()));
    record.trials.retain(|trial| keep.contains(&trial.planned.workload.as_str()));
    for histogram in record.trials.iter_mut().flat_map(|trial| trial.histograms.values_mut()) {
        let bins: Vec<_> = histogram.bins().to_vec();
        *histogram = bench_results::Histogram::from_bins(bins.into_iter().step_by(60));
    }
    record
}

fn text(record: &Record) -> Outcomes<Vec<u8>> {
    let mut bytes = serde_json::to_vec(&record.run)?;
    bytes.push(0);
    for trial in &record.trials {
        bytes.extend(serde_json::to_vec(trial)?);
        bytes.push(b'\n');
    }
    Ok(bytes)
}

fn tar(record: &Record) -> Outcomes<Vec<u8>> {
    let scratch = tempfile::tempdir()?;
    let mut folder = RunFolder::create(scratch.path(), &record.run)?;
    record.trials.iter().take(2).try_for_each(|trial| folder.append_trial(trial))?;
    fs::write(folder.raw("b01-rand-read-vm", 1)?.join("fio.json"), "{}")?;
    let file = scratch.path().join("run.tar.gz");
    archive::export(folder.path(), &file)?;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(fs::File::open(file)?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

const EVERY_KIND: &str = r#"name = "mine"
title = "my own"
environments = ["native", "c=container:userns=yes", "vm:accel=tcg:cache=none"]
[[workload]]
name = "sort"
title = "sorting"
kind = "command"
argv = ["sort", "/etc/passwd"]
deciding = "wall_time_ns"
[[workload]]
name = "mixed"
title = "mixed"
pattern = "random-mixed"
read-percent = 70
block-size = "4KiB"
iodepth = 4
jobs = 2
deciding = "iops"
[[profile]]
name = "quick"
blocks = 3
runtime = "1s"
warm-up = "0.5s"
settle = "1m"
size = "64MiB"
margin = "5%"
verdicts = true
"#;

const POLICY: &str = r#"margin = "5%"
fail-on = ["worse"]
on-inconclusive = "fail"
confirm = 1
[[metric]]
name = "iops"
workloads = ["rand-read"]
decides = true
margin = "10%"
[[ignore]]
workload = "seq-write"
environment = "vm"
metric = "iops"
reason = "known"
until = 2026-03-01
"#;
