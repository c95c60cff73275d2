//! Interim results of fio, and those that look like some.

use super::*;

/// What fio 3.33 printed with `--status-interval=1` of two sections, one after the other.
const INTERIM: &str = include_str!("../../../tests/golden/fio-interim.json");

/// The results in a text.
fn results(text: &str) -> Vec<Value> {
    let mut all = Vec::new();
    crate::import::documents::each(text.as_bytes(), 1 << 20, |document| {
        all.push(document.value);
        Ok(())
    })
    .unwrap();
    all
}

fn text(all: &[Value]) -> String {
    all.iter().map(|one| format!("{one}\n")).collect()
}

/// The golden result as it would be of another process or moment, which printed it so many ms later and had run so many seconds.
fn at(ms: u64, elapsed_s: u64, change: impl Fn(&mut Value)) -> Value {
    let mut all: Value = serde_json::from_str(FIO).unwrap();
    let printed = all["timestamp_ms"].as_u64().unwrap() + ms;
    all["timestamp_ms"] = json!(printed);
    all["timestamp"] = json!(printed / 1000);
    for job in all["jobs"].as_array_mut().unwrap() {
        job["elapsed"] = json!(elapsed_s);
        ["read", "write"].iter().for_each(|part| change(&mut job[part]));
    }
    all
}

/// Multiply what is counted, and leave no histogram.
fn counts(factor: f64) -> impl Fn(&mut Value) {
    move |part: &mut Value| {
        for name in ["total_ios", "io_bytes", "runtime"] {
            part[name] = json!((part[name].as_f64().unwrap() * factor).round() as u64);
        }
        part["clat_ns"].as_object_mut().unwrap().remove("bins");
    }
}

#[test]
fn only_the_last_of_a_process_counts() {
    let all = results(INTERIM);
    assert_eq!(all.len(), 4);
    assert_eq!(all[0]["jobs"][1]["read"]["total_ios"], 0, "the second section had not begun");
    let file = read(INTERIM);
    let [result] = &file.results[..] else { panic!("{}", file.results.len()) };
    let ios: Vec<_> = result.workloads.iter().map(|workload| &only(workload).measured.facts["fio.ios"]).collect();
    assert_eq!(ios, [0, 1].map(|job| &all[3]["jobs"][job]["read"]["total_ios"]));
    assert_eq!(file.notes, ["3 interim results of the same process (--status-interval) are left out"]);
}

#[test]
fn earlier_versions_tell_longer_times_of_ended_sections_meanwhile() {
    let mut all = results(INTERIM);
    for (at, longer) in [(1, 2500), (2, 3500)] {
        all[at]["jobs"][0]["read"]["runtime"] = json!(longer);
    }
    let file = read(text(&all));
    assert_eq!((file.results.len(), only(&file.results[0].workloads[0]).seconds < 1.6), (1, true));
}

#[test]
fn an_interim_result_just_before_the_end_is_one() {
    let mut all = results(INTERIM);
    let mut last = all[3].clone();
    last["timestamp_ms"] = json!(last["timestamp_ms"].as_u64().unwrap() + 3);
    let second = &mut last["jobs"][1]["read"];
    for (name, more) in [("total_ios", 1), ("io_bytes", 4096), ("runtime", 3)] {
        second[name] = json!(second[name].as_u64().unwrap() + more);
    }
    all.push(last);
    assert_eq!(read(text(&all)).results.len(), 1);
    // Of a result that is there twice, one counts.
    assert_eq!(read(text(&[all[4].clone(), all[4].clone()])).results.len(), 1);
}

#[test]
fn the_start_of_a_job_tells_of_its_process() {
    let started = |mut result: Value, ms: u64| {
        result["jobs"].as_array_mut().unwrap().iter_mut().for_each(|job| job["job_start"] = json!(ms));
        result
    };
    let (one, more) = (at(0, 1, counts(1.0)), at(400, 1, counts(1.3)));
    assert_eq!(read(text(&[started(one.clone(), 5), started(more.clone(), 5)])).results.len(), 1);
    assert_eq!(read(text(&[started(one, 5), started(more, 6)])).results.len(), 2);
}

#[test]
fn another_process_is_a_block_of_its_own() {
    let one = at(0, 1, counts(1.0));
    let other = |part: &mut Value| {
        counts(1.3)(part);
        part["clat_ns"]["max"] = json!(part["clat_ns"]["max"].as_u64().unwrap() - 1);
    };
    for (next, why) in [
        (at(700, 1, counts(0.9)), "it did less"),
        (at(700, 1, other), "its largest latency is smaller"),
        (at(5000, 1, counts(1.3)), "it began later"),
        (at(5000, 1, counts(1.0)), "it did as much, and began later"),
    ] {
        assert_eq!(read(text(&[one.clone(), next.clone()])).results.len(), 2, "{why}");
    }
    // Ten runs, one after the other, of a size and not a time: each does as many I/Os.
    let mean = |ms: u64| move |part: &mut Value| part["clat_ns"]["mean"] = json!(200_000 + ms);
    let many: Vec<Value> = (0..10).map(|run| at(400 * run, 1, mean(run))).collect();
    assert_eq!(read(text(&many)).results.len(), 10);
}

#[test]
fn what_could_be_both_is_refused() {
    let later = |part: &mut Value| {
        counts(1.3)(part);
        part["clat_ns"]["max"] = json!(part["clat_ns"]["max"].as_u64().unwrap() + 1);
    };
    let said = refused(text(&[at(0, 1, counts(1.0)), at(700, 1, later)]));
    assert!(
        said.starts_with("in the result that begins in line 2: whether the result that begins in line 1 is an"),
        "{said}"
    );
    // What was counted while it ramped up is forgotten: less says nothing then.
    let ramped = |mut result: Value| {
        result["global options"]["ramp_time"] = json!("2s");
        result
    };
    let [ramping, measuring] = [at(0, 5, counts(1.0)), at(1000, 6, counts(0.5))].map(ramped);
    assert!(refused(text(&[ramping, measuring])).contains("cannot be told"));
    // Two processes at the same time, which began and ended together.
    let said = refused(text(&[at(0, 9, counts(1.0)), at(100, 9, later)]));
    assert!(said.contains("cannot be told"), "{said}");
}

#[test]
fn what_does_not_count_need_not_be_whole() {
    let mut all = results(INTERIM);
    all[1]["jobs"][1]["read"]["iops"] = json!(null);
    assert_eq!(read(text(&all)).results.len(), 1);
    all[3]["jobs"][1]["read"]["iops"] = json!(null);
    assert!(refused(text(&all)).starts_with("in the result that begins in line 4: jobs[1].read.iops: "));
}
