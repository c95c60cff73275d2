//! `bench compare --history` by the real binary, on made-up records: what it says is tested in the library, here how it says it.

use std::fs;
use std::path::Path;
use std::process::Command;

use bench_results::store::{Record, RunFolder};
use bench_results::testing::{another, record, speed_up};

fn store(parent: &Path, record: &Record) {
    let mut written = RunFolder::create(parent, &record.run).unwrap();
    record.trials.iter().for_each(|trial| written.append_trial(trial).unwrap());
}

fn compare(folder: &Path, arguments: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    // As whoever tests, also by sudo.
    let command = command.env_remove("SUDO_UID").current_dir(folder).arg("compare");
    let output = command.args(arguments.split_whitespace()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn earlier_runs_widen_and_narrow_and_what_cannot_be_read_is_left_out() {
    let stage = tempfile::tempdir().unwrap();
    let runs = stage.path().join("runs");
    let (base, mut new) = (record(1, 8, false), another(2, 8, false));
    speed_up(&mut new, "rand-read", "container", 0.83);
    let earlier: Vec<Record> = (0..6).map(|number| another(100 + number, 8, false)).collect();
    earlier.iter().chain([&base, &new]).for_each(|record| store(&runs, record));
    fs::create_dir(runs.join("20260109T000000Z-io-broken")).unwrap();
    fs::write(runs.join("20260109T000000Z-io-broken/run.json"), "{").unwrap();
    let sides = format!("runs/{} runs/{}", base.run.id, new.run.id);

    let (status, out, err) = compare(stage.path(), &sides);
    assert_eq!((status, err.as_str()), (0, ""), "17 % may be the hour: {out}");
    assert!(out.starts_with("cannot tell") && out.contains("2.5 % are assumed"), "{out}");

    let (status, out, err) = compare(stage.path(), &format!("{sides} --history runs"));
    assert_eq!(status, 1, "these runs lie closer together: {out}{err}");
    let flat = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("rand-read in container 17 % slower"), "{out}");
    let said =
        "the history has 6 earlier runs of this series; 3 left out: 1 BASE itself, 1 NEW itself, 1 that cannot be read";
    assert!(flat.contains(said), "{out}");
    assert!(err.contains("io-broken is left out of the history: ") && err.contains("damaged"), "{err}");

    let (status, out, _) = compare(stage.path(), &format!("{sides} --history runs --format json"));
    let judgement: serde_json::Value = serde_json::from_str(&out).unwrap();
    let between = &judgement["rows"][0]["between"];
    assert_eq!((status, between["source"].as_str(), between["runs"].as_u64()), (1, Some("history"), Some(6)));
    // Earlier runs are judged by the metric that was asked for, as the two are.
    let (_, out, _) = compare(stage.path(), &format!("{sides} --history runs --primary bandwidth_bytes_per_s"));
    assert!(out.split_whitespace().collect::<Vec<_>>().join(" ").contains(said), "{out}");
    for format in ["md", "junit", "html"] {
        let (status, out, _) = compare(stage.path(), &format!("{sides} --history runs --format {format}"));
        assert!(status == 1 && out.contains("between-run spread") && out.contains("from 6 runs"), "{format}: {out}");
    }
}
