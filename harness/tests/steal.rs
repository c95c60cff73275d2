//! A hypervisor that takes the CPUs away: not to be had at will, so that a real run reads of it in a `/proc/stat` of its own.

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use support::{finish, names, stage};

const PROFILE: &str = r#"
name = "short"
blocks = 1
runtime = "1s"
warm-up = "0s"
settle = "0s"
size = "64MiB"
"#;

/// What the kernel counts, but that so many ticks of the CPUs' time were stolen.
fn write_stat(path: &Path, stolen: u64) {
    let text = fs::read_to_string("/proc/stat").unwrap();
    let (all, rest) = text.split_once('\n').unwrap();
    let mut fields: Vec<_> = all.split_whitespace().map(str::to_owned).collect();
    fields[8] = stolen.to_string();
    // Never shorter than before: it is read while it is written.
    let text = format!("{}\n{rest:\n<60000}", fields.join(" "));
    let file = File::options().write(true).create(true).truncate(false).open(path).unwrap();
    file.write_all_at(text.as_bytes(), 0).unwrap();
}

#[test]
fn a_trial_that_the_hypervisor_disturbs_is_executed_again() {
    let Some(stage) = stage() else { return };
    stage.write_suite("mine", "iodepth = 4\njobs = 1", PROFILE);
    let stat = stage.path().join("stat");
    write_stat(&stat, 0);
    let run = "run --suite ./mine.toml --profile short --no-control --env native";
    let command = stage.program(&stage.told_by(&stat), run);
    let running = std::thread::spawn(|| finish(command));
    let runs = stage.path().join("bench-runs");
    let has_trial = |run: &String| fs::metadata(runs.join(run).join("trials.jsonl")).is_ok_and(|file| file.len() > 0);
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    let mut stolen = 0;
    while !running.is_finished() {
        // At most every 20 ms a tick of each CPU, of the two that pass: until the first trial is recorded.
        stolen += if names(&runs).iter().any(has_trial) { 0 } else { cpus };
        write_stat(&stat, stolen);
        std::thread::sleep(Duration::from_millis(20));
    }
    let (status, out, err) = running.join().unwrap();
    assert_eq!(status, 0, "{out}{err}");
    assert!(err.contains("b01-rand-read-native is executed again: the hypervisor beneath took"), "{err}");
    let said = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains("disturbed and executed again: 1 of native (the worst: the hypervisor beneath took"),
        "{out}"
    );
    let run = stage.only_run();
    let text = fs::read_to_string(run.join("trials.jsonl")).unwrap();
    let trials: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [disturbed, stands] = &trials[..] else { panic!("{text}") };
    assert!(disturbed["invalid"][0].to_string().contains("hypervisor"), "{disturbed:#}");
    assert_eq!(stands["invalid"], serde_json::json!([]), "{stands:#}");
    let count = |trial: &serde_json::Value| (trial["execution"].as_u64().unwrap(), trial["superseded"] == true);
    assert_eq!((count(disturbed), count(stands)), ((1, true), (2, false)));
    let seed = |name: &str| {
        let text = fs::read_to_string(run.join("raw").join(name).join("fio.json")).unwrap();
        text.lines().find(|line| line.contains("\"randseed\"")).unwrap().to_owned()
    };
    let (first, second) = (seed("b01-rand-read-native"), seed("b01-rand-read-native-execution2"));
    assert_ne!(first, second, "a cache beneath has the offsets of the first");
}
