//! What suites say of fio, in real environments: engines, logs that wait for the disk, shares of a rate.

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{finish, stage};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn trials(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("trials.jsonl")).unwrap();
    let trials: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for trial in &trials {
        assert_eq!((&trial["failure"], &trial["invalid"]), (&Value::Null, &json!([])), "{}", trial["id"]);
    }
    trials
}

#[test]
fn databases_are_measured_through_a_page_cache_that_is_named() {
    let Some(stage) = stage() else { return };
    let (status, out, err) = finish(stage.bench("run --suite database --profile smoke --env native,container"));
    assert_eq!(status, 0, "{out}{err}");
    let run = stage.only_run();
    let record = read(&run.join("run.json"));
    for environment in record["environments"].as_array().unwrap() {
        let row = environment["sameness"]["page cache"].as_str().unwrap();
        assert!(row.contains("host kernel"), "{row}");
    }
    let trials = trials(&run);
    assert_eq!(trials.len(), 8);
    for trial in trials {
        let waits = trial["workload"].as_str().unwrap().starts_with("log");
        assert_eq!(trial["facts"].get("fio.unaccounted").is_some(), waits, "{}", trial["id"]);
        assert_eq!(trial["facts"].get("disk.missing_percent").is_some(), !waits, "{}", trial["id"]);
        assert_eq!(trial["histograms"].get("sync").is_some(), waits, "{}", trial["id"]);
    }
}

#[test]
fn shares_of_the_slowest_environments_rate_are_found_out_once() {
    let Some(stage) = stage() else { return };
    let (status, out, err) = finish(stage.bench("run --suite open-loop --profile smoke --env native,container"));
    assert_eq!(status, 0, "{out}{err}");
    let run = stage.only_run();
    let record = read(&run.join("run.json"));
    let rate = |index: usize| {
        let text = record["plan"]["workloads"][index]["parameters"]["ios_per_s"].as_str().unwrap();
        text.parse::<f64>().unwrap()
    };
    let (half, most) = (rate(0), rate(2));
    assert!((rate(1) / half - 1.4).abs() < 0.02 && (most / half - 1.8).abs() < 0.02, "{half} {most}");
    assert_eq!(trials(&run).len(), 8);
}

#[test]
fn an_engine_for_a_whole_suite_is_recorded_and_one_that_is_forbidden_is_told_in_a_sentence() {
    let Some(stage) = stage() else { return };
    let line = "run --suite io --only rand-read --ioengine io_uring --profile smoke --env";
    let (status, out, err) = finish(stage.bench(&format!("{line} native,container:seccomp=docker")));
    let said = "fio cannot use ioengine `io_uring` there: a seccomp filter forbids io_uring";
    assert!(status == 69 && err.contains(said), "{status} {out}{err}");
    let (status, out, err) = finish(stage.bench(&format!("{line} native,container:seccomp=unconfined")));
    assert_eq!(status, 0, "{out}{err}");
    let run = stage.only_run();
    let record = read(&run.join("run.json"));
    assert_eq!(record["plan"]["workloads"][0]["parameters"]["engine"], "io_uring, direct");
    assert!(record["command"].as_array().unwrap().contains(&json!("--ioengine")));
    assert_eq!(trials(&run).len(), 2);
}
