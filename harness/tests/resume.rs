//! `bench run --resume`: what goes on, and what is refused.

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Stage, eventually, names, stage, wait};

/// The command after "resume with", as a person would paste it.
fn pasted(err: &str) -> String {
    let line = err.lines().skip_while(|line| !line.contains("resume with")).nth(1);
    line.unwrap_or_else(|| panic!("no line to go on: {err}")).trim().to_owned()
}

#[test]
fn a_run_that_was_stopped_in_any_way_says_the_command_that_goes_on() {
    let Some(stage) = stage() else { return };
    let runs = stage.path().join("my runs");
    for signal in [Signal::SIGTERM, Signal::SIGHUP] {
        let mut command = stage.bench("run --profile smoke --env native,container --blocks 40 --out");
        command.arg(&runs).args(["--", "sleep", "0.1"]);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let pid = child.id();
        let run = || names(&runs).into_iter().find(|name| !name.starts_with('.')).unwrap_or_default();
        let recorded = || fs::read_to_string(runs.join(run()).join("trials.jsonl")).unwrap_or_default().lines().count();
        eventually("the first trials", || recorded() >= 3);
        kill(Pid::from_raw(pid as i32), signal).unwrap();
        let (status, _, err) = wait(child);
        assert_eq!(status, 130, "{signal}: {err}");
        stage.assert_clean(pid);
        let run = runs.join(run());
        let file = run.join("run.json");
        let json =
            |file: &std::path::Path| -> serde_json::Value { serde_json::from_slice(&fs::read(file).unwrap()).unwrap() };
        assert_eq!(json(&file)["state"], "interrupted");
        let line = pasted(&err);
        assert_eq!(line, format!("{} run --resume '{}'", env!("CARGO_BIN_EXE_bench"), run.display()));
        let child = stage.shell(&line).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let before = recorded();
        eventually("more trials", || recorded() > before + 2);
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        let (status, _, err) = wait(child);
        assert!(status == 130 && pasted(&err) == line, "{status} {err}");
        fs::remove_dir_all(&runs).unwrap();
    }
}

#[test]
fn a_run_that_fails_half_way_says_the_command_that_goes_on() {
    let Some(stage) = stage() else { return };
    // A folder of runs on a disk that is full soon.
    let script = "mkdir full && mount -t tmpfs -o size=200k tmpfs full && exec \"$0\" run --suite network --only tcp-rr \
        --profile smoke --env native --blocks 100 --out full";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script, env!("CARGO_BIN_EXE_bench")]);
    stage.own(&mut command);
    let (status, _, err) = support::finish(command);
    assert!(status == 2 && err.contains("No space left"), "{status} {err}");
    assert!(pasted(&err).contains(" run --resume ") && pasted(&err).contains("/full/"), "{err}");
}

/// Two turns: it is stopped between two.
const RUN: &str = "run --suite ./turns.toml --profile turns --env native,container --no-control";
const PROFILE: &str = r#"
name = "turns"
blocks = 2
turns = 2
runtime = "1s"
warm-up = "0s"
settle = "0s"
size = "64MiB"
"#;

/// Where anything differs, or somebody else could have changed it.
fn is_refused_elsewhere(stage: &Stage, run: &Path) {
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

    chown(run, Some(12345), None).unwrap();
    let (status, _, err) = stage.run("run --resume last");
    assert!(status == 2 && err.contains("belongs to user 12345"), "{err}");
    chown(run, Some(0), None).unwrap();
    chown(&file, Some(12345), None).unwrap();
    let (status, _, err) = stage.run("run --resume last");
    assert!(status == 2 && err.contains("run.json belongs to user 12345"), "{err}");
    chown(&file, Some(0), None).unwrap();
    fs::set_permissions(run, fs::Permissions::from_mode(0o777)).unwrap();
    let (status, _, err) = stage.run("run --resume last");
    assert!(status == 2 && err.contains("can be written by others"), "{err}");
    fs::set_permissions(run, fs::Permissions::from_mode(0o755)).unwrap();
    let elsewhere = stage.path().join("elsewhere.json");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    let (status, _, err) = stage.run("run --resume last");
    assert!(status == 2 && err.contains("link"), "{err}");
    fs::rename(&elsewhere, &file).unwrap();
    let (status, _, err) = stage.run("run --resume last --blocks 2");
    assert!(status == 2 && err.contains("--resume"), "{err}");
    assert_eq!(fs::read_to_string(run.join("trials.jsonl")).unwrap(), trials, "what was refused changed nothing");
}

#[test]
fn an_interrupted_run_goes_on_only_where_it_was_begun() {
    let Some(stage) = stage() else { return };
    stage.write_suite("turns", "iodepth = 16\njobs = 2", PROFILE);
    // No trial is judged by what disturbs it, and none executed again.
    let suite = stage.path().join("turns.toml");
    fs::write(&suite, fs::read_to_string(&suite).unwrap().replace("verdicts = true", "verdicts = false")).unwrap();
    let child = stage.spawn(RUN);
    let pid = child.id();
    let runs = stage.path().join("bench-runs");
    let recorded = || {
        let run = names(&runs).into_iter().find(|name| !name.starts_with('.')).unwrap_or_default();
        fs::read_to_string(runs.join(run).join("trials.jsonl")).unwrap_or_default().lines().count()
    };
    eventually("the first turn of the second block", || recorded() == 6);
    kill(Pid::from_raw(pid as i32), Signal::SIGINT).unwrap();
    assert_eq!(wait(child).0, 130);
    let run = stage.only_run();
    is_refused_elsewhere(&stage, &run);
    let (status, out, err) = stage.run(&format!("run --resume {}", run.display()));
    assert_eq!(status, 0, "{out}{err}");
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("went on at") && words.contains("with block 2, from its start"), "{out}");
    let text = fs::read_to_string(run.join("trials.jsonl")).unwrap();
    assert_eq!(text.lines().filter(|line| line.contains("\"superseded\":true")).count(), 2);
    assert_eq!(text.lines().count(), 10);
    assert!(run.join("raw/b02t2-rand-read-native-attempt2").exists());
    let (_, csv, _) = stage.run("report last --format csv");
    let of_turn = |turn: &str| csv.lines().filter(|line| line.contains(",iops,") && line.ends_with(turn)).count();
    assert_eq!((of_turn(",1"), of_turn(",2")), (4, 4), "superseded trials are in no number");
}
