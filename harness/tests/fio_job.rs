//! `bench run --fio-job FILE...`: job files as they are, in real environments, and what is refused before anything is touched.

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{Stage, finish, stage};

const WAL: &str = "; a log that waits for the disk\n[wal]\nrw=write\nioengine=sync\nfdatasync=1\nsize=3m\nbs=2300\ndirectory=wal-test\n";

const GROUPS: &str = "[global]\nioengine=libaio\nfilename=disk.tmp\nsize=${AREA}\ndirect=1\ngroup_reporting\n\
    [seq-read]\nstonewall\nrw=read\nbs=1m\niodepth=8\nloops=4\n\
    [rand-write-q4]\nstonewall\ninclude timed.inc\nrw=randwrite\nbs=4k\niodepth=4\nnumjobs=2\n";

const TIMED: &str = "time_based\nruntime=1\n";

fn write(stage: &Stage, files: &[(&str, &str)]) {
    files.iter().for_each(|(name, text)| fs::write(stage.path().join(name), text).unwrap());
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn job_files_are_executed_as_they_are_in_every_environment() {
    let Some(stage) = stage() else { return };
    write(&stage, &[("wal.fio", WAL), ("groups.fio", GROUPS), ("timed.inc", TIMED)]);
    let mut bench = stage.bench("run --profile smoke --env native,container --fio-job wal.fio groups.fio");
    bench.env("AREA", "8m");
    let (status, out, err) = finish(bench);
    assert_eq!(status, 0, "{out}{err}");
    let run = stage.only_run();
    let record = read(&run.join("run.json"));
    assert_eq!((&record["plan"]["suite"], &record["target"]["size_bytes"]), (&json!("fio-job"), &json!(8 << 20)));
    let told: Vec<_> =
        record["plan"]["workloads"].as_array().unwrap().iter().map(|w| (&w["name"], &w["deciding"])).collect();
    let wanted = [("wal", "sync_latency_p99_ns"), ("seq-read", "bandwidth_bytes_per_s"), ("rand-write-q4", "iops")];
    assert_eq!(
        told,
        wanted.each_ref().map(|(name, metric)| (json!(name), json!(metric))).each_ref().map(|(a, b)| (a, b))
    );
    let parameters = &record["plan"]["workloads"][2]["parameters"];
    assert_eq!((&parameters["variables"], &parameters["includes"]), (&json!("AREA=8m"), &json!("timed.inc")));
    assert!(
        parameters["job"].as_str().unwrap().contains("[rand-write-q4]; stonewall; time_based; runtime=1; rw=randwrite")
    );
    let text = fs::read_to_string(run.join("trials.jsonl")).unwrap();
    let trials: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(trials.len(), 6);
    for trial in &trials {
        assert_eq!((&trial["failure"], &trial["invalid"]), (&Value::Null, &json!([])), "{}", trial["id"]);
        let metric = wanted.iter().find(|(name, _)| trial["workload"] == *name).unwrap().1;
        let measured = trial["measurements"].as_array().unwrap().iter().any(|one| one["metric"] == metric);
        assert!(measured, "{metric} of {}", trial["id"]);
        let is_buffered = trial["workload"] == "wal";
        assert_eq!(trial["facts"].get("fio.unaccounted").is_some(), is_buffered, "{}", trial["id"]);
        assert_eq!(trial["facts"].get("disk.missing_percent").is_some(), !is_buffered, "{}", trial["id"]);
    }
}

#[test]
fn a_time_from_the_command_line_ends_a_job_of_any_size() {
    let Some(stage) = stage() else { return };
    write(&stage, &[("long.fio", "[long]\nrw=randread\nbs=4k\ndirect=1\nsize=16m\nloops=1000000\n")]);
    let (status, out, err) =
        finish(stage.bench("run --profile smoke --env native,container --fio-job long.fio --runtime 500ms"));
    assert_eq!(status, 0, "{out}{err}");
    let record = read(&stage.only_run().join("run.json"));
    assert_eq!(record["plan"]["profile"]["runtime_s"], 0.5);
    assert_eq!(record["plan"]["workloads"][0]["parameters"]["runtime_s"], "0.5");
}

#[test]
fn what_reaches_beyond_the_target_is_refused_by_file_and_line_before_anything_is_touched() {
    let Some(stage) = stage() else { return };
    write(
        &stage,
        &[
            ("evil.fio", "[a]\nrw=read\nexec_prerun=touch touched\n"),
            ("device.fio", "[global]\nbs=4k\n[a]\nfilename=/dev/sda\n"),
            ("unset.fio", "[a]\nsize=${NO_SUCH_VARIABLE}\n"),
            ("good.fio", "[a]\nrw=randread\nsize=2m\n"),
        ],
    );
    for (options, said) in [
        ("--fio-job evil.fio", "evil.fio:3: `exec_prerun` is refused: it executes a program as root"),
        ("--fio-job device.fio", "device.fio:4: `filename=/dev/sda` is refused"),
        ("--fio-job unset.fio", "unset.fio:2: the variable `NO_SUCH_VARIABLE` is not set"),
        ("--fio-job none.fio", "none.fio:1: reading none.fio"),
        ("--fio-job good.fio good.fio", "a second workload would have the name `good`"),
        ("--fio-job good.fio --size 1MiB", "up to 2MiB"),
        ("--fio-job good.fio --primary write_latency_p99_ns", "there are"),
        ("--fio-job good.fio --only other", "there is no workload `other` in the job files; there are good"),
        ("--runtime 2s", "no workload of this run is a fio job file"),
        ("--fio-job good.fio --runtime 2", "unit"),
    ] {
        let (status, _, err) = finish(stage.bench(&format!("run --profile smoke --env native {options}")));
        assert!(status == 2 && err.contains(said), "{options}: {status} {err}");
    }
    assert!(!stage.path().join("touched").exists() && !stage.path().join("bench-runs").exists());
}
