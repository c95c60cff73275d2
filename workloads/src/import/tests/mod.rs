mod fio;
mod interim;
mod iperf3;

use serde_json::{Value, json};

use super::*;

const FIO: &str = include_str!("../../../fio-rs/tests/golden/good.out");
const OLD_FIO: &str = include_str!("../../../fio-rs/tests/golden/good-3.1.out");
const NEW_FIO: &str = include_str!("../../../fio-rs/tests/golden/good-3.42.out");
const IPERF3: &str = include_str!("../../../tests/golden/iperf3-3.19.json");
const HYPERFINE: &str = r#"{"results": [
    {"command": "sleep 0.1", "mean": 0.102, "stddev": 0.001, "median": 0.102, "user": 0.001, "system": 0.002, "min": 0.101,
     "max": 0.103, "times": [0.101, 0.102, 0.103], "exit_codes": [0, 0, 0]},
    {"command": "true", "mean": 0.001, "stddev": null, "median": 0.001, "user": 0.0, "system": 0.0, "min": 0.001, "max": 0.001,
     "times": [0.001], "exit_codes": [0]}]}"#;

fn read(text: impl AsRef<[u8]>) -> File {
    super::read(text.as_ref(), 1 << 20).unwrap_or_else(|e| panic!("{e}"))
}

fn refused(text: impl AsRef<[u8]>) -> String {
    match super::read(text.as_ref(), 1 << 20) {
        Ok(file) => panic!("{file:?}"),
        Err(error) => error.to_string(),
    }
}

fn value(sample: &Sample, metric: &str) -> Option<f64> {
    sample.measured.measurements.iter().find(|one| one.metric == metric).map(|one| one.value)
}

fn only(workload: &Workload) -> &Sample {
    assert_eq!(workload.samples.len(), 1);
    &workload.samples[0]
}

/// A result with another value in one place; nothing: without it.
fn with(text: &str, pointer: &str, other: Option<Value>) -> String {
    let mut all: Value = serde_json::from_str(text).unwrap();
    match other {
        Some(other) => *all.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = other,
        None => {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            all.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name).unwrap();
        }
    }
    all.to_string()
}

#[test]
fn results_are_found_in_whatever_form_they_come() {
    let minified = serde_json::from_str::<Value>(FIO).unwrap().to_string();
    let same = |text: &str| {
        let file = read(text);
        assert_eq!(
            value(only(&file.results[0].workloads[1]), "iops"),
            value(only(&read(FIO).results[0].workloads[1]), "iops")
        );
        (file.results.len(), file.notes)
    };
    assert_eq!(same(&minified), (1, Vec::new()));
    assert_eq!(same(&format!("\u{feff}{FIO}")), (1, Vec::new()));
    assert_eq!(same(&FIO.replace('\n', "\r\n")), (1, Vec::new()));
    let warned = format!("fio: this {{platform}} warns\n{{it}} does\n\u{feff}{FIO}\nand after it\n");
    assert_eq!(same(&warned).1, ["fio: this {platform} warns", "{it} does", "and after it"]);
    let later = with(&minified, "/timestamp_ms", Some(json!(1_795_494_999_000_u64)));
    for between in ["", "\n", "\n\n  ", ",", " ,\n", "\nfio: a note\n", "a note\n", "\rJobs: 1 (f=1)\r"] {
        assert_eq!(same(&format!("{}{between}{later}", FIO.trim())).0, 2, "{between:?}");
    }
    assert_eq!(same(&format!("{FIO}{HYPERFINE}{IPERF3}")).0, 3);
}

/// Every figure that is needed, with whatever stands in its place.
#[test]
fn a_figure_that_cannot_be_read_is_an_error_with_its_place() {
    let odd = [json!(null), json!(-3), json!("fast"), json!("12"), json!([]), json!({}), json!(true)];
    for (text, pointer, place) in [
        (FIO, "/jobs/1/read/iops", "jobs[1].read.iops"),
        (FIO, "/jobs/0/write/total_ios", "jobs[0].write.total_ios"),
        (FIO, "/jobs/1/read/io_bytes", "jobs[1].read.io_bytes"),
        (FIO, "/jobs/1/read/bw_bytes", "jobs[1].read.bw_bytes"),
        (FIO, "/jobs/1/read/runtime", "jobs[1].read.runtime"),
        (FIO, "/jobs/1/write/clat_ns", "jobs[1].write.clat_ns"),
        (FIO, "/jobs/1/write/clat_ns/mean", "jobs[1].write.clat_ns.mean"),
        (FIO, "/jobs/1/write/clat_ns/max", "jobs[1].write.clat_ns.max"),
        (FIO, "/jobs/1/read/clat_ns/percentile/99.000000", "jobs[1].read.clat_ns.percentile[\"99.000000\"]"),
        (OLD_FIO, "/jobs/1/read/bw", "jobs[1].read.bw"),
        (IPERF3, "/end/sum_received/bits_per_second", "end.sum_received.bits_per_second"),
        (IPERF3, "/end/sum_received/seconds", "end.sum_received.seconds"),
        (HYPERFINE, "/results/0/times/1", "results[0].times[1]"),
        (HYPERFINE, "/results/1/mean", "results[1].mean"),
    ] {
        for odd in &odd {
            // An object of bins is one, if empty.
            if *odd == json!({}) && place.ends_with("clat_ns") {
                continue;
            }
            let said = refused(with(text, pointer, Some(odd.clone())));
            assert!(said.starts_with(&format!("{place}: ")) && said.contains("must be"), "{odd}: {said}");
        }
    }
    for (text, pointer, place) in [
        (FIO, "/jobs", "jobs"),
        (FIO, "/fio version", "[\"fio version\"]"),
        (FIO, "/jobs/1/jobname", "jobs[1].jobname"),
        (FIO, "/jobs/1/read/iops", "jobs[1].read.iops"),
        (FIO, "/jobs/1/read/clat_ns/max", "jobs[1].read.clat_ns.max"),
        (IPERF3, "/end/sum_received/bytes", "end.sum_received.bytes"),
        (HYPERFINE, "/results/0/times", "results[0].times"),
        (HYPERFINE, "/results/0/command", "results[0].command"),
    ] {
        assert_eq!(refused(with(text, pointer, None)), format!("{place}: it is missing"));
    }
    let iops = "\"iops\" : 22683.168317";
    for token in ["nan", "-nan", "inf", "NaN"] {
        let text = FIO.replace(iops, &format!("\"iops\" : {token}"));
        assert_ne!(text, FIO);
        assert!(refused(text).starts_with("jobs[1].read.iops: it is null, or no number such as NaN"), "{token}");
    }
    assert!(refused(FIO.replace(iops, "\"iops\" : 0.000000")).starts_with("jobs[1].read.iops: it is 0"));
    let bins = refused(FIO.replacen("\"bins\" : {", "\"bins\" : {\"x\": 3,", 1));
    assert!(bins.starts_with("jobs[0].read.clat_ns.bins.x: its name is no time"), "{bins}");
    // In which of several results it is.
    let second = refused(format!("{FIO}\n{}", with(FIO, "/jobs/1/read/iops", Some(json!(null)))));
    let line = FIO.lines().count() + 2;
    assert!(second.starts_with(&format!("in the result that begins in line {line}: jobs[1].read.iops: ")), "{second}");
}

#[test]
fn what_failed_is_no_result() {
    for (text, said) in [
        (
            include_str!("../../../fio-rs/tests/golden/failed.out"),
            "jobs[0].error: the job \"failed\" failed (Not a directory)",
        ),
        (include_str!("../../../fio-rs/tests/golden/full.out"), "No space left on device"),
        (include_str!("../../../fio-rs/tests/golden/readonly.out"), "Read-only file system"),
        (
            include_str!("../../../tests/golden/iperf3-refused.json"),
            "error: iperf3 failed: unable to connect to server",
        ),
        (include_str!("../../../tests/golden/iperf3-server-died.json"), "error: iperf3 failed: "),
    ] {
        let found = refused(text);
        assert!(found.contains(said), "{found}");
    }
    let failed = with(HYPERFINE, "/results/0/exit_codes/2", Some(json!(1)));
    assert!(refused(failed).starts_with("results[0].exit_codes[2]: this run failed with exit code 1"));
    let killed = with(HYPERFINE, "/results/0/exit_codes/0", Some(json!(null)));
    assert!(refused(killed).starts_with("results[0].exit_codes[0]: this run was killed"));
    // It was stopped early, and says all that it did.
    let stopped = read(include_str!("../../../fio-rs/tests/golden/sigint.out"));
    assert!(stopped.notes.iter().any(|note| note.contains("terminating on signal 2")), "{:?}", stopped.notes);
}

#[test]
fn what_is_no_result_is_refused() {
    for (text, said) in [
        ("", "it is empty"),
        (" \n\u{feff}\n", "it is empty"),
        ("<!DOCTYPE html><html></html>", "HTML or XML"),
        ("[{\"fio version\": \"fio-3.33\"}]", "it is a list"),
        ("42", "there is no JSON object"),
        ("randread: (groupid=0, jobs=1): err= 0: pid=1: IOPS=1k", "--output-format=json+"),
        ("{}", "it is no result of fio"),
        ("{\"a\": 1}", "its fields: a"),
        ("{\"results\": 3}", "it is no result of fio"),
        ("{\"results\": []}", "results: it is empty"),
        ("{\"jobs\": []}", "[\"fio version\"]: it is missing"),
        ("{\"fio version\": \"fio-3.33\", \"jobs\": []}", "jobs: it has 0 jobs"),
        ("{\"fio version\": \"fio-3.33\", \"jobs\": [7]}", "jobs[0]: it is 7, and must be an object"),
        ("{\"fio version\": \"fio-3.33\", \"jobs\": [{\"jobname\": \"x\"}]}", "jobs[0].read: it is missing"),
        ("[{\"fio version\": \"fio-3.33\"}]", "it is a list"),
        ("{\"jobname\": \"x\", \"read\": {}}", "it is one of the jobs in a result of fio, and no whole one"),
        ("{\"sum_sent\": {}, \"sum_received\": {}}", "it is the end of a result of iperf3, and no whole one"),
    ] {
        let found = refused(text);
        assert!(found.contains(said), "{text}: {found}");
    }
    assert!(refused(b"\xff\xfe{\0}\0").contains("UTF-16"));
    assert!(super::read(FIO.as_bytes(), 100).unwrap_err().to_string().contains("100 at most"));
}

#[test]
fn what_breaks_off_is_refused_with_its_line() {
    for text in [FIO, IPERF3, HYPERFINE] {
        let text = text.trim();
        for part in [2, 3, 10] {
            let torn = &text[..text.len() - text.len() / part];
            let said = refused(format!("a warning\n\n{torn}"));
            assert!(said.starts_with("line 3: the result that begins here breaks off"), "{said}");
        }
        assert!(refused(format!("{text}\n{}", &text[..text.len() / 2])).contains("breaks off"));
    }
    for odd in [format!("{} and {HYPERFINE}", FIO.trim()), format!("{FIO}\nhost1: {HYPERFINE}")] {
        assert!(refused(odd).contains("an object begins amid a line of other text"), "nothing is lost in silence");
    }
    let said = refused("note\n{\n  \"fio version\" : \"fio-3.33\"\n  \"jobs\" : 1\n}\n");
    assert!(said.starts_with("line 4, column ") && said.contains("it is no JSON"), "{said}");
}

#[test]
fn each_time_of_hyperfine_is_a_sample() {
    let file = read(HYPERFINE);
    let [sleep, one] = &file.results[0].workloads[..] else { panic!("two commands") };
    let times: Vec<_> = sleep.samples.iter().map(|sample| value(sample, "wall_time_ns").unwrap().round()).collect();
    assert_eq!((times, sleep.name.as_str(), one.samples.len()), (vec![101e6, 102e6, 103e6], "sleep 0.1", 1));
}

#[test]
fn what_is_nested_too_deeply_is_said_to_be_so() {
    let nested = |levels: usize| format!("{}1{}", "{\"a\": ".repeat(levels), "}".repeat(levels));
    assert!(refused(nested(127)).contains("its fields: a"));
    for levels in [128, 129, 100_000] {
        let said = refused(nested(levels));
        assert!(said.starts_with("line 1: the result that begins here is nested too deeply"), "{levels}: {said}");
    }
}

#[test]
fn names_take_no_more_room_than_they_should() {
    let long = "x".repeat(1 << 20);
    let job = json!({"fio version": "fio-3.33", "jobs": [{"jobname": &long, "error": 5}]}).to_string();
    let bins = FIO.replacen("\"bins\" : {", &format!("\"bins\" : {{\"{long}\": 3,"), 1);
    for text in [json!({&long: 1}).to_string(), job, bins] {
        let said = refused(text);
        assert!(said.len() < 1000 && said.contains("xxx"), "{} bytes", said.len());
    }
}

#[test]
fn every_name_is_one_of_its_own() {
    let mut names = ["x", "x", "x (2)", "y", "x", "x (2)"].map(str::to_owned);
    number_equals(names.iter_mut());
    assert_eq!(names, ["x", "x (3)", "x (2)", "y", "x (4)", "x (2) (2)"]);
}

#[test]
fn times_are_within_reason() {
    for odd in [1e300, 1e12] {
        let said = refused(with(HYPERFINE, "/results/0/times/1", Some(json!(odd))));
        assert!(said.starts_with("results[0].times[1]: it is 1") && said.contains("1000000000 s at most"), "{said}");
        let said = refused(with(IPERF3, "/end/sum_received/seconds", Some(json!(odd))));
        assert!(said.starts_with("end.sum_received.seconds: it is 1"), "{said}");
    }
    let said = refused(with(FIO, "/jobs/1/read/runtime", Some(json!(u64::MAX))));
    assert!(said.starts_with("jobs[1].read.runtime: it is 1") && said.contains("ms at most"), "{said}");
    // What no record can hold is no value.
    let both = with(&with(FIO, "/jobs/1/read/iops", Some(json!(1e308))), "/jobs/1/write/iops", Some(json!(1e308)));
    assert!(refused(both).starts_with("jobs[1]: its iops cannot be told"));
}
