use serde_json::{Value, json};

use super::*;

const FIO: &str = include_str!("../../fio-rs/tests/golden/good.out");
const OLD_FIO: &str = include_str!("../../fio-rs/tests/golden/good-3.1.out");
const NEW_FIO: &str = include_str!("../../fio-rs/tests/golden/good-3.42.out");
const IPERF3: &str = include_str!("../../tests/golden/iperf3-3.19.json");
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
fn fio_of_all_versions_is_read() {
    for (text, version, has_writes) in
        [(OLD_FIO, "fio-3.1", false), (FIO, "fio-3.33", true), (NEW_FIO, "fio-3.42", false)]
    {
        let file = read(text);
        let [result] = &file.results[..] else { panic!("{version}") };
        assert_eq!((result.tool, result.version.as_str()), (Tool::Fio, version));
        let names: Vec<_> = result.workloads.iter().map(|workload| workload.name.as_str()).collect();
        assert_eq!(names, ["warm-up", "measured"]);
        let sample = only(&result.workloads[1]);
        let counted = crate::recount(text.as_bytes());
        assert!(!counted.is_empty());
        for (metric, counted) in counted {
            assert_eq!(value(sample, &metric), Some(counted), "{version}: {metric}");
        }
        assert_eq!(
            (value(sample, "write_iops").is_some(), sample.measured.histograms.len() == 2),
            (has_writes, has_writes)
        );
        assert!(sample.seconds > 0.03 && sample.measured.histograms["read"].count() > 100, "{version}");
    }
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
    for between in ["", "\n", "\n\n  ", "\nfio: a note\n"] {
        assert_eq!(same(&format!("{}{between}{}", FIO.trim(), minified)).0, 2, "{between:?}");
    }
    assert_eq!(same(&format!("{FIO}{HYPERFINE}{IPERF3}")).0, 3);
}

#[test]
fn interim_results_of_one_process_are_no_blocks() {
    let longer = |ms: u64| {
        let mut all: Value = serde_json::from_str(FIO).unwrap();
        for job in all["jobs"].as_array_mut().unwrap() {
            for part in ["read", "write"] {
                job[part]["runtime"] = json!(ms);
            }
        }
        all.to_string()
    };
    let file = read(format!("{}\n{}\n{}\n", longer(1000), longer(2000), longer(3000)));
    assert_eq!((file.results.len(), only(&file.results[0].workloads[0]).seconds), (1, 3.0));
    assert!(file.notes[0].starts_with("2 interim results"), "{:?}", file.notes);
    assert_eq!(read(format!("{}\n{}", longer(2000), longer(1000))).results.len(), 2);
}

#[test]
fn jobs_of_one_section_are_added_up() {
    let mut all: Value = serde_json::from_str(FIO).unwrap();
    all["global options"].as_object_mut().unwrap().remove("group_reporting");
    let mut again = all["jobs"][1].clone();
    again["read"]["runtime"] = json!(202);
    all["jobs"].as_array_mut().unwrap().push(again.clone());
    let file = read(all.to_string());
    let [_, measured] = &file.results[0].workloads[..] else { panic!("two sections") };
    let (one, both) = (read(FIO), only(measured));
    let one = only(&one.results[0].workloads[1]);
    let reads = 2.0 * 2291.0 / 0.202;
    assert!((value(both, "read_iops").unwrap() / reads - 1.0).abs() < 1e-9);
    assert!(
        (value(both, "read_latency_mean_ns").unwrap() / value(one, "read_latency_mean_ns").unwrap() - 1.0).abs() < 1e-9
    );
    assert_eq!(both.measured.histograms["read"].count(), 2 * one.measured.histograms["read"].count());
    assert_eq!(measured.parameters["jobs"], "2");
    // Of another group it is a section of its own.
    again["groupid"] = json!(7);
    all["jobs"][2] = again;
    let names: Vec<_> = read(all.to_string()).results[0].workloads.iter().map(|one| one.name.clone()).collect();
    assert_eq!(names, ["warm-up", "measured", "measured (2)"]);
}

#[test]
fn percentiles_without_bins_are_fios_own_where_enough_bears_them() {
    let plain = with(&with(FIO, "/jobs/1/read/clat_ns/bins", None), "/jobs/1/write/clat_ns/bins", None);
    let file = read(plain);
    let sample = only(&file.results[0].workloads[1]);
    assert!(sample.measured.histograms.is_empty());
    let told = &serde_json::from_str::<Value>(FIO).unwrap()["jobs"][1]["read"]["clat_ns"]["percentile"]["50.000000"];
    assert_eq!(value(sample, "read_latency_p50_ns"), told.as_f64());
    assert_eq!(value(sample, "read_latency_p99_ns"), None, "2291 reads at depth 8 do not bear it");
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
        (IPERF3, "/end/sum_sent/retransmits", "end.sum_sent.retransmits"),
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
fn other_units_are_refused() {
    for version in ["fio-2.21", "fio-2.2.10", "fio-1.59", "fio-3.0", "fio-2.99"] {
        let said = refused(FIO.replace("fio-3.33", version));
        let number = &version[4..];
        assert!(said.contains(&format!("fio {number}")) && said.contains("from fio 3.1 on"), "{said}");
    }
    for version in ["fio-3.1", "fio-3.36-12-gabc", "fio-3.40-dirty", "fio-10.2"] {
        assert_eq!(read(FIO.replace("fio-3.33", version)).results[0].version, version);
    }
    assert!(refused(FIO.replace("fio-3.33", "mine")).contains("no version of fio"));
}

#[test]
fn what_failed_is_no_result() {
    for (text, said) in [
        (
            include_str!("../../fio-rs/tests/golden/failed.out"),
            "jobs[0].error: the job \"failed\" failed (Not a directory)",
        ),
        (include_str!("../../fio-rs/tests/golden/full.out"), "No space left on device"),
        (include_str!("../../fio-rs/tests/golden/readonly.out"), "Read-only file system"),
        (include_str!("../../tests/golden/iperf3-refused.json"), "error: iperf3 failed: unable to connect to server"),
        (include_str!("../../tests/golden/iperf3-server-died.json"), "error: iperf3 failed: "),
    ] {
        let found = refused(text);
        assert!(found.contains(said), "{found}");
    }
    let failed = with(HYPERFINE, "/results/0/exit_codes/2", Some(json!(1)));
    assert!(refused(failed).starts_with("results[0].exit_codes[2]: this run failed with exit code 1"));
    let killed = with(HYPERFINE, "/results/0/exit_codes/0", Some(json!(null)));
    assert!(refused(killed).starts_with("results[0].exit_codes[0]: this run was killed"));
    // It was stopped early, and says all that it did.
    let stopped = read(include_str!("../../fio-rs/tests/golden/sigint.out"));
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
    let said = refused("note\n{\n  \"fio version\" : \"fio-3.33\"\n  \"jobs\" : 1\n}\n");
    assert!(said.starts_with("line 4, column ") && said.contains("it is no JSON"), "{said}");
}

#[test]
fn iperf3_is_read_in_all_its_forms() {
    for (text, version, name) in [
        (include_str!("../../tests/golden/iperf3-3.0.12.json"), "iperf 3.0.12", "tcp-transmit"),
        (include_str!("../../tests/golden/iperf3-3.1.3.json"), "iperf 3.1.3", "tcp-transmit"),
        (include_str!("../../tests/golden/iperf3-good.json"), "iperf 3.12", "tcp-transmit"),
        (include_str!("../../tests/golden/iperf3-paced-reverse.json"), "iperf 3.12", "tcp-receive"),
        (IPERF3, "iperf 3.19", "tcp-transmit"),
        (include_str!("../../tests/golden/iperf3-3.19-stream.json"), "iperf 3.19", "tcp-transmit"),
    ] {
        let file = read(text);
        let [Results { tool: Tool::Iperf3, version: found, workloads, .. }] = &file.results[..] else {
            panic!("{name}")
        };
        assert_eq!((found.as_str(), workloads[0].name.as_str()), (version, name));
        assert!(value(only(&workloads[0]), "bandwidth_bytes_per_s").unwrap() > 1e6);
    }
    let file = read(IPERF3);
    assert_eq!(only(&file.results[0].workloads[0]).measured.facts["iperf3.retransmits"], json!(5));
    let stream = include_str!("../../tests/golden/iperf3-3.19-stream.json");
    assert_eq!(read(format!("{stream}{stream}")).results.len(), 2);
    let torn: String = stream.lines().take(3).map(|line| format!("{line}\n")).collect();
    assert!(refused(torn).starts_with("line 1: the result that begins here breaks off"));
}

#[test]
fn each_time_of_hyperfine_is_a_sample() {
    let file = read(HYPERFINE);
    let [sleep, one] = &file.results[0].workloads[..] else { panic!("two commands") };
    let times: Vec<_> = sleep.samples.iter().map(|sample| value(sample, "wall_time_ns").unwrap().round()).collect();
    assert_eq!((times, sleep.name.as_str(), one.samples.len()), (vec![101e6, 102e6, 103e6], "sleep 0.1", 1));
}
