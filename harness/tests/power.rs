//! `bench power` by the real binary, on made-up records: what it says is tested in the library, here how it says it.

use std::path::Path;
use std::process::Command;

use bench_results::store::{Record, RunFolder};
use bench_results::testing;

/// Store a record; its id.
fn store(folder: &Path, record: &Record) -> String {
    let mut written = RunFolder::create(folder, &record.run).unwrap();
    for trial in &record.trials {
        written.append_trial(trial).unwrap();
    }
    record.run.id.clone()
}

fn power(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        // As whoever tests, also by sudo.
        .env_remove("SUDO_UID")
        .arg("power")
        .args(arguments)
        .arg("--out")
        .arg(folder)
        .output()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn text_and_json_say_the_same_and_say_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let id = store(folder.path(), &testing::record(1, 8, true));
    let (status, text, _) = power(folder.path(), &[&id, "--margin", "1%"]);
    assert_eq!(status, 0);
    assert!(text.starts_with(&format!("{id}: margin 1.0 %, power 95 %, 10000 simulated runs")), "{text}");
    assert!(text.contains("left out: vm: an emulated guest is never judged (seq-write, "), "{text}");
    let widest = text.lines().filter(|line| !line.starts_with("left out")).map(|line| line.chars().count()).max();
    assert!(widest.unwrap() <= 120, "{text}");
    let (status, json, _) = power(folder.path(), &[&id, "--margin", "1%", "--format", "json"]);
    assert_eq!(status, 0);
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    let row = &told["rows"][0];
    let line = text.lines().find(|line| line.starts_with("seq-write")).unwrap();
    let needed = row["blocks_needed"].to_string();
    assert!(line.split_whitespace().any(|word| word == needed), "{line}: {row}");
    assert_eq!(power(folder.path(), &[&id, "--margin", "1%", "--format", "json"]).1, json);
}

#[test]
fn a_gate_is_planned_with_what_it_will_be_judged_by() {
    let folder = tempfile::tempdir().unwrap();
    let id = store(folder.path(), &testing::record(1, 8, true));
    let (status, text, err) = power(folder.path(), &[&id, "--gate"]);
    assert_eq!((status, err.as_str()), (0, ""), "{text}");
    assert!(text.starts_with(&format!("a gate of two runs like {id}: 8 blocks a side (about 11 min")), "{text}");
    assert!(text.contains("2.5 % (assumed)") && text.contains("--history DIR"), "{text}");
    assert!(text.contains("left out: vm: an emulated guest is never judged"), "{text}");
    let (_, json, _) = power(folder.path(), &[&id, "--gate", "--format", "json", "--blocks", "28"]);
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((told["blocks"].as_u64(), told["rows"].as_array().unwrap().len()), (Some(28), 7));
    let sum = ["passes", "cannot_tell", "fails"].iter().map(|name| told[name].as_f64().unwrap()).sum::<f64>();
    assert!((sum - 1.0).abs() < 1e-9, "{told}");
    for (arguments, said) in [
        (vec![id.as_str(), "--gate", "--blocks", "5"], "needs 6 blocks a side, and 5 were asked for"),
        (vec![&id, "--gate", "--blocks", "0"], "--blocks"),
        (vec![&id, "--blocks", "8"], "--gate"),
        (vec![&id, "--gate", "--history", "nowhere"], "there is no such folder"),
    ] {
        let (status, out, err) = power(folder.path(), &arguments);
        assert!(status == 2 && out.is_empty() && err.contains(said), "{arguments:?}: {status} {out} {err}");
    }
}

#[test]
fn what_cannot_be_told_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let few = store(folder.path(), &testing::another(1, 4, false));
    let mut smoke = testing::record(2, 8, false);
    smoke.run.id = "20260103T000000Z-io-000003".into();
    smoke.run.plan.profile.verdicts = false;
    let smoke = store(folder.path(), &smoke);
    for (arguments, reason) in [
        (vec![few.as_str()], "4 of the 5 blocks"),
        (vec![&smoke], "gives no verdicts"),
        (vec!["nothing"], "no run `nothing`"),
        (vec![&few, "--margin", "0%"], "such as 5%"),
        (vec![&few, "--power", "9.5"], "such as 0.95"),
    ] {
        let (status, out, err) = power(folder.path(), &arguments);
        assert!(status == 2 && out.is_empty() && err.contains(reason), "{arguments:?}: {status} {out} {err}");
    }
}
