//! `bench run --until-decided`: a run that ends when every verdict is given, at a look that was planned.

mod support;

use std::fs;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{eventually, finish, names, stage, wait};

/// As one line.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Two environments and the control: squares of three blocks.
const RUN: &str = "run --until-decided --blocks 12 --margin 50% --env native,container --out";

#[test]
fn a_run_ends_at_the_first_look_at_which_every_verdict_is_given() {
    let Some(stage) = stage() else { return };
    let runs = stage.path().join("runs");
    let mut command = stage.bench(RUN);
    command.arg(&runs).args(["--", "sleep", "0.4"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let folder = || runs.join(names(&runs).into_iter().find(|name| !name.starts_with('.')).unwrap_or_default());
    let run_json = || -> Value { serde_json::from_slice(&fs::read(folder().join("run.json")).unwrap()).unwrap() };
    let recorded = || fs::read_to_string(folder().join("trials.jsonl")).unwrap_or_default().lines().count();
    eventually("the third block", || recorded() > 6);
    let planned = run_json();
    let looks = planned["plan"]["sequential"]["looks"].as_array().unwrap();
    assert_eq!(looks.iter().map(|look| look["block"].as_u64().unwrap()).collect::<Vec<_>>(), [6, 9, 12]);
    assert!(planned["plan"]["sequential"]["stopped_after"].is_null(), "{planned}");
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    assert_eq!(wait(child).0, 130);

    // It goes on with the looks that were planned, and ends at the first.
    let resume = || {
        let mut command = stage.bench("run --resume");
        command.arg(folder());
        finish(command)
    };
    let (status, out, err) = resume();
    assert_eq!(status, 0, "{out}{err}");
    assert!(err.contains("every verdict is given after 6 blocks"), "{err}");
    let said = flat(&out);
    assert!(said.contains("repeated confidence intervals") && said.contains("stopped after 6 of 12 blocks"), "{out}");
    let run = run_json();
    let plan = &run["plan"];
    let ended = json!([run["state"], plan["profile"]["blocks"], plan["sequential"]["stopped_after"]]);
    assert_eq!(ended, json!(["complete", 6, 6]));
    let trials = plan["trials"].as_array().unwrap().len();
    assert_eq!((trials, &plan["sequential"]["looks"]), (18, &planned["plan"]["sequential"]["looks"]));
    let page = fs::read_to_string(folder().join("report/index.html")).unwrap();
    assert!(flat(&page).contains("repeated confidence intervals"), "the page says so");

    let (status, out, _) = resume();
    assert!(status == 0 && out.contains("nothing left to do"), "{out}");
    let mut command = stage.bench("compare --env native,container");
    command.arg(folder());
    let (status, out, err) = finish(command);
    assert!(status == 0 && flat(&out).contains("repeated confidence intervals"), "{status} {out}{err}");
}

#[test]
fn looks_are_shown_by_a_dry_run_and_refused_where_there_are_none() {
    let Some(stage) = stage() else { return };
    let dry =
        |words: &str| finish(stage.bench(&format!("run --dry-run --until-decided --env native,container {words}")));
    let (status, out, err) = dry("--blocks 12 -- true");
    assert!(status == 0 && flat(&out).contains("looks at its verdicts after blocks 6, 9, 12,"), "{out}{err}");
    for (words, why) in [
        ("--blocks 6 -- true", "give more --blocks"),
        ("--blocks 61 -- true", "give fewer --blocks"),
        ("--profile smoke -- true", "gives no verdicts"),
    ] {
        let (status, _, err) = dry(words);
        assert!(status == 2 && err.contains(why), "{words}: {status} {err}");
    }
}
