//! What fio may print instead of what it should, as workloads read it: a trial has its deciding figure, or the reason why not.

use bench_agent::{Bytes, JobOutput, JobStatus, Rusage};
use bench_workloads::{AnyKind, Measured, Suite, Workload, drive_result};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Real output of fio 3.33: 70 % reads of 4 KiB.
const GOOD: &str = include_str!("../fio-rs/tests/golden/good.out");

fn output(stdout: &[u8], stderr: &str, status: i32) -> JobOutput {
    JobOutput {
        status: JobStatus::Exited(status),
        stdout: Bytes(stdout.to_vec()),
        stderr: Bytes(stderr.as_bytes().to_vec()),
        files: Vec::new(),
        started_ns: 0,
        ended_ns: 1,
        rusage: Rusage::default(),
    }
}

/// A workload with this pattern that is decided by this metric.
fn deciding(pattern: &str, metric: &str) -> Workload {
    let percent = if pattern.ends_with("mixed") { "read-percent = 70\n" } else { "" };
    let text = format!(
        "name = \"mine\"\ntitle = \"t\"\nenvironments = [\"native\"]\n[[workload]]\nname = \"w\"\ntitle = \"w\"\npattern = \"{pattern}\"\n\
        {percent}block-size = \"4KiB\"\niodepth = 4\njobs = 2\ndeciding = \"{metric}\"\n[[profile]]\nname = \"quick\"\nblocks = 3\n\
        runtime = \"1s\"\nwarm-up = \"0s\"\nsettle = \"0s\"\nsize = \"64MiB\"\nmargin = \"5%\"\nverdicts = true\n"
    );
    Suite::parse(&text, "mine.toml", &AnyKind).unwrap().workloads.swap_remove(0)
}

fn good() -> Value {
    serde_json::from_str(GOOD).unwrap()
}

/// The real result with something done to its job `measured`.
fn with(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut all = good();
    change(&mut all["jobs"][1]);
    all.to_string().into_bytes()
}

fn value(measured: &Measured, metric: &str) -> Option<f64> {
    measured.measurements.iter().find(|measurement| measurement.metric == metric).map(|measurement| measurement.value)
}

#[test]
fn bandwidth_of_an_old_fio_is_that_of_a_new_one() {
    let mixed = deciding("random-mixed", "bandwidth_bytes_per_s");
    let now = mixed.measure(&output(GOOD.as_bytes(), "", 0)).unwrap();
    let old = with(|job| {
        for kind in ["read", "write"] {
            job[kind].as_object_mut().unwrap().remove("bw_bytes");
            job[kind]["clat_ns"].as_object_mut().unwrap().remove("N");
        }
    });
    let then = mixed.measure(&output(&old, "", 0)).unwrap();
    let [now, then] = [now, then].map(|measured| value(&measured, "bandwidth_bytes_per_s").unwrap());
    assert!((then / now - 1.0).abs() < 1e-6, "{then} {now}");
}

#[test]
fn a_figure_that_decides_is_there_or_the_trial_is_refused() {
    let read = |name: &str, metric: &str, text: &[u8]| deciding(name, metric).measure(&output(text, "", 0));
    let no_writes = with(|job| drop(job.as_object_mut().unwrap().remove("write")));
    let said = read("random-mixed", "iops", &no_writes).unwrap_err();
    assert_eq!(said, "fio-3.33 does not tell `iops` of its job `measured`, or not as a number");
    assert!(read("random-read", "iops", &no_writes).is_ok(), "it needs none");
    let said = read("random-write", "iops", &no_writes).unwrap_err();
    assert!(said.contains("fio-3.33 does not tell `iops`"), "{said}");
    let none = with(|job| job["read"]["total_ios"] = json!(0));
    assert!(read("random-read", "iops", &none).unwrap_err().contains("none of the I/O"));
    // Rates that nothing is left to work out from.
    let no_bytes = with(|job| {
        for field in ["io_bytes", "io_kbytes", "bw", "bw_bytes"] {
            job["read"][field] = json!(-1);
        }
    });
    let said = read("random-read", "bandwidth_bytes_per_s", &no_bytes).unwrap_err();
    assert_eq!(said, "fio-3.33 does not tell `bandwidth_bytes_per_s` of its job `measured`, or not as a number");
    let no_bandwidth = with(|job| {
        for field in ["io_bytes", "io_kbytes", "bw", "bw_bytes"] {
            job["read"][field] = json!(0);
        }
    });
    assert!(read("random-read", "bandwidth_bytes_per_s", &no_bandwidth).is_err(), "2,291 I/Os moved something");
    let measured = read("random-read", "iops", &no_bytes).unwrap();
    assert_eq!((value(&measured, "bandwidth_bytes_per_s"), measured.moved_bytes), (None, None));
    let old = GOOD.replace("fio-3.33", "fio-2.16");
    assert!(read("random-read", "iops", old.as_bytes()).unwrap_err().starts_with("fio-2.16 is too old"));
    let torn = &GOOD.as_bytes()[..GOOD.len() - 9];
    assert_eq!(read("random-read", "iops", torn).unwrap_err(), "the result of fio-3.33 breaks off (exit status 0)");
}

/// Without json+, with `clat_percentiles=0` or `gtod_reduce=1`.
#[test]
fn without_bins_there_are_rates_and_no_percentiles() {
    let no_bins = with(|job| drop(job["read"]["clat_ns"].as_object_mut().unwrap().remove("bins")));
    let measured = deciding("random-read", "iops").measure(&output(&no_bins, "", 0)).unwrap();
    assert!(measured.histograms.is_empty() && !measured.facts.contains_key("histogram.missing"));
    assert!(value(&measured, "read_latency_mean_ns").unwrap() > 1e4);
    let said = deciding("random-read", "read_latency_p99_ns").measure(&output(&no_bins, "", 0)).unwrap_err();
    assert!(said.starts_with("fio-3.33 does not tell `read_latency_p99_ns`"), "{said}");
    let zeros = json!({"min": 0, "max": 0, "mean": 0.0, "stddev": 0.0, "N": 0});
    let untimed = with(|job| job["read"]["clat_ns"] = zeros);
    let said = deciding("random-read", "read_latency_mean_ns").measure(&output(&untimed, "", 0)).unwrap_err();
    assert!(said.starts_with("fio-3.33 does not tell `read_latency_mean_ns`"), "{said}");
    let measured = deciding("random-read", "iops").measure(&output(&untimed, "", 0)).unwrap();
    assert_eq!(value(&measured, "read_latency_mean_ns"), None, "no latency is not the best of all");
}

#[test]
fn what_is_absent_is_no_fact() {
    let text = with(|job| {
        let job = job.as_object_mut().unwrap();
        job.remove("iodepth_level");
        job.remove("majf");
        job["read"]["runtime"] = json!(null);
    });
    let measured = deciding("random-read", "iops").measure(&output(&text, "", 0)).unwrap();
    for fact in ["fio.depth_reached_percent", "fio.major_faults"] {
        assert!(!measured.facts.contains_key(fact), "{fact}");
    }
    let mut all = good();
    all["jobs"][0]["read"] = Value::Null;
    let measured = deciding("random-read", "iops").measure(&output(all.to_string().as_bytes(), "", 0)).unwrap();
    assert_eq!(measured.moved_bytes, None, "the warm-up's are not known");
}

#[test]
fn reads_and_writes_that_are_counted_together_have_one_rate() {
    let together = with(|job| {
        let job = job.as_object_mut().unwrap();
        let read = job.remove("read").unwrap();
        job.remove("write");
        job.insert("mixed".into(), read);
    });
    let iops = good()["jobs"][1]["read"]["iops"].as_f64();
    for name in ["random-read", "random-mixed"] {
        let measured = deciding(name, "iops").measure(&output(&together, "", 0)).unwrap();
        assert_eq!(value(&measured, "iops"), iops);
        assert_eq!(value(&measured, "read_iops"), None);
    }
    let said = deciding("random-mixed", "read_latency_p99_ns").measure(&output(&together, "", 0)).unwrap_err();
    assert!(said.starts_with("fio-3.33 does not tell"), "{said}");
}

/// fio writes its errors to stderr, and its result to stdout.
#[test]
fn the_complaint_is_found_on_both_streams() {
    let text = with(|job| job["error"] = json!(5));
    let stderr = "fio: file /srv/failed/err/x exceeds 32-bit tausworthe random generator.\n\
        fio: io_u error on file x: Input/output error: read offset=0, buflen=4096\n";
    let said = deciding("random-read", "iops").measure(&output(&text, stderr, 1)).unwrap_err();
    assert_eq!(
        said,
        "fio job `measured` failed: fio: io_u error on file x: Input/output error: read offset=0, buflen=4096"
    );
    let said = deciding("random-read", "iops").measure(&output(&text, "fio: error=\u{1b}[31m\n", 1)).unwrap_err();
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn driving_needs_a_rate() {
    let drive =
        |reads: Value| json!({"fio version": "fio-3.33", "jobs": [{"jobname": "drive", "read": reads}]}).to_string();
    let result = |reads: Value| drive_result(&output(drive(reads).as_bytes(), "", 0));
    assert_eq!(result(json!({"total_ios": 100, "runtime": 500})), Ok(200.0));
    assert!(
        result(json!({"total_ios": 100})).unwrap_err().starts_with("fio-3.33 does not tell `iops` of its job `drive`")
    );
}

/// All places of a document, as paths.
fn places(value: &Value, path: &str, all: &mut Vec<String>) {
    let children: Vec<(String, &Value)> = match value {
        Value::Object(map) => {
            map.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect()
        }
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => return,
    };
    for (key, child) in children.into_iter().filter(|(key, _)| key != "bins" && key != "percentile") {
        let path = format!("{path}/{key}");
        places(child, &path, all);
        all.push(path);
    }
}

/// One odd value in any place, for every metric that may decide: it is there and above 0, or the trial is refused.
#[test]
fn no_zero_counts() {
    let clean = good();
    let mut paths = Vec::new();
    places(&clean["jobs"][1], "/jobs/1", &mut paths);
    let odd = [
        json!(null),
        json!([]),
        json!({}),
        json!("x"),
        json!(0),
        json!(-1),
        json!(1e40),
        json!(true),
        json!({"total_ios": 9}),
    ];
    let metrics = ["iops", "bandwidth_bytes_per_s", "read_latency_mean_ns", "read_latency_p50_ns"];
    let workloads = metrics.map(|metric| (metric, deciding("random-read", metric)));
    for (path, odd) in paths.iter().flat_map(|path| odd.iter().map(move |odd| (path, odd))) {
        let mut all = clean.clone();
        *all.pointer_mut(path).unwrap() = odd.clone();
        let output = output(all.to_string().as_bytes(), "", 0);
        for (metric, workload) in &workloads {
            if let Ok(measured) = workload.measure(&output) {
                let value = value(&measured, metric);
                assert!(
                    value.is_some_and(|value| value > 0.0 && value.is_finite()),
                    "{path} = {odd}: {metric} is {value:?}"
                );
            }
        }
    }
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic_or_count_nothing(at in 0..GOOD.len(), bytes in proptest::collection::vec(any::<u8>(), 0..8), cut in 0..40_usize) {
        let mut text = GOOD.as_bytes().to_vec();
        text.splice(at..(at + cut).min(GOOD.len()), bytes);
        if let Ok(measured) = deciding("random-read", "iops").measure(&output(&text, "", 0)) {
            prop_assert!(value(&measured, "iops").is_some_and(|iops| iops > 0.0));
        }
    }
}
