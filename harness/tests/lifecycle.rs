//! Starts and idle memory of instances, by the real binary: in every environment, and nothing is left.

mod support;

use std::fs;

use serde_json::Value;
use support::{Stage, stage, wait};

/// Few, since an emulated guest takes ten seconds.
const SUITE: &str = r#"
name = "few"
title = "few starts"
environments = ["native"]

[[workload]]
name = "start"
title = "two starts"
kind = "start"
instances = 2

[[workload]]
name = "idle-memory"
title = "one and two"
kind = "idle-memory"
held = [1, 2]

[[profile]]
name = "smoke"
blocks = 1
runtime = "1s"
warm-up = "0s"
settle = "0s"
size = "64MiB"
margin = "10%"
verdicts = false
"#;

fn trials(stage: &Stage) -> Vec<Value> {
    let text = fs::read_to_string(stage.only_run().join("trials.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn value(trials: &[Value], environment: &str, metric: &str) -> Option<f64> {
    let of = trials.iter().filter(|trial| trial["environment"] == environment);
    let mut all = of.flat_map(|trial| trial["measurements"].as_array().unwrap());
    all.find(|measurement| measurement["metric"] == metric)?["value"].as_f64()
}

#[test]
fn starts_and_idle_memory_are_measured_everywhere_and_nothing_is_left() {
    let Some(stage) = stage() else { return };
    fs::write(stage.path().join("few.toml"), SUITE).unwrap();
    let child = stage.spawn("run --suite ./few.toml --profile smoke --env native,container,vm:accel=tcg");
    let pid = child.id();
    let (status, out, err) = wait(child);
    assert_eq!(status, 0, "{out}{err}");
    stage.assert_clean(pid);
    let trials = trials(&stage);
    assert_eq!(trials.len(), 6);
    for trial in &trials {
        assert_eq!((&trial["failure"], &trial["invalid"]), (&Value::Null, &serde_json::json!([])), "{}", trial["id"]);
    }
    for environment in ["native", "container", "vm"] {
        let of =
            |metric: &str| value(&trials, environment, metric).unwrap_or_else(|| panic!("{environment}: {metric}"));
        let [first, ready] = ["start_to_first_instruction_p50_ns", "start_to_ready_p50_ns"].map(of);
        assert!(0.0 < first && first < ready, "{environment}: {first} {ready}");
        assert!(of("end_to_gone_p50_ns") > 0.0 && of("idle_memory_pss_bytes") > 0.0);
        assert_eq!(value(&trials, environment, "start_to_ready_p95_ns"), None, "two starts have no p95");
    }
    // A guest's clock begins with its kernel, and a container has none of its own.
    let [kernel, first] = ["start_to_kernel_p50_ns", "start_to_first_instruction_p50_ns"]
        .map(|metric| value(&trials, "vm", metric).unwrap());
    assert!(0.0 < kernel && kernel < first, "{kernel} {first}");
    assert_eq!(value(&trials, "container", "start_to_kernel_p50_ns"), None);
    let [container, vm] = ["container", "vm"].map(|name| value(&trials, name, "idle_memory_cgroup_bytes").unwrap());
    assert!(vm > 10.0 * container && vm > 50e6, "a guest takes its RAM: {container} {vm}");
}

#[test]
fn numbers_of_instances_are_refused_at_their_place() {
    let Some(stage) = stage() else { return };
    for (from, to, place) in [
        ("instances = 2", "instances = 0", "few.toml:10:13"),
        ("held = [1, 2]", "held = [2, 1]", "few.toml:16:8"),
        ("held = [1, 2]", "held = [1]", "few.toml:16:8"),
    ] {
        fs::write(stage.path().join("few.toml"), SUITE.replace(from, to)).unwrap();
        let (status, _, err) = stage.run("run --suite ./few.toml --profile smoke --dry-run");
        assert!(status == 2 && err.contains(place), "{to}: {status} {err}");
    }
}
