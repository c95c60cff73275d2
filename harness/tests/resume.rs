//! `bench run --resume`: what goes on, and what is refused.

mod support;

use std::fs;
use std::os::unix::fs::chown;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{eventually, names, stage, wait};

const RUN: &str = "run --suite io --profile smoke --env native,container --only rand-read --size 64MiB --blocks 3";

#[test]
fn an_interrupted_run_goes_on_only_where_it_was_begun() {
    let Some(stage) = stage() else { return };
    let child = stage.spawn(RUN);
    let pid = child.id();
    let runs = stage.path().join("bench-runs");
    let recorded = || {
        let run = names(&runs).into_iter().find(|name| !name.starts_with('.')).unwrap_or_default();
        fs::read_to_string(runs.join(run).join("trials.jsonl")).unwrap_or_default().lines().count()
    };
    eventually("the first trial of the second block", || recorded() == 3);
    kill(Pid::from_raw(pid as i32), Signal::SIGINT).unwrap();
    assert_eq!(wait(child).0, 130);
    let run = stage.only_run();
    let file = run.join("run.json");
    let original = fs::read_to_string(&file).unwrap();
    let trials = fs::read_to_string(run.join("trials.jsonl")).unwrap();

    let mut other: serde_json::Value = serde_json::from_str(&original).unwrap();
    other["fingerprint"]["kernel.release"] = "1.2.3".into();
    other["environments"][1]["sameness"]["memory"] = "plenty".into();
    other["bench"]["sha256"] = "00".into();
    fs::write(&file, other.to_string()).unwrap();
    let (status, _, err) = stage.run("run --resume last");
    assert_eq!(status, 2, "{err}");
    for named in ["kernel.release was `1.2.3`", "bench itself was `00`", "memory of container was `plenty`"] {
        assert!(err.contains(named), "{named}: {err}");
    }
    other["command"] = serde_json::json!(["bench", "run", "--nonsense"]);
    fs::write(&file, other.to_string()).unwrap();
    let (status, _, err) = stage.run("run --resume last");
    assert!(status == 2 && err.contains("--nonsense"), "{err}");
    fs::write(&file, &original).unwrap();

    chown(&run, Some(12345), None).unwrap();
    let (status, _, err) = stage.run("run --resume last");
    assert!(status == 2 && err.contains("belongs to user 12345"), "{err}");
    chown(&run, Some(0), None).unwrap();
    let (status, _, err) = stage.run("run --resume last --blocks 2");
    assert!(status == 2 && err.contains("--resume"), "{err}");
    assert_eq!(fs::read_to_string(run.join("trials.jsonl")).unwrap(), trials, "what was refused changed nothing");

    let (status, out, err) = stage.run(&format!("run --resume {}", run.display()));
    assert_eq!(status, 0, "{out}{err}");
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("went on at") && words.contains("with block 2, from its start"), "{out}");
    let text = fs::read_to_string(run.join("trials.jsonl")).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("\"superseded\":true")).count(), 1);
    assert_eq!(text.lines().count(), 7);
    let (_, csv, _) = stage.run("report last --format csv");
    assert_eq!(csv.lines().filter(|line| line.contains(",iops,")).count(), 6, "superseded trials are in no number");
}
