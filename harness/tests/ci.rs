//! The shell of the GitHub action, with the real binary. Only `gh` is not the real one: it writes down what it is asked.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Stage, finish, stage};

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/github")
}

/// A script of the action as a job executes it.
fn step(stage: &Stage, script: &str, variables: &[(&str, &str)]) -> (i32, String, String) {
    let bin = stage.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let _ = std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_bench"), bin.join("bench"));
    let mut command = Command::new(scripts().join(script));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    command.current_dir(stage.path()).env("PATH", path).env("BENCH_STATE_DIR", stage.path().join("state"));
    command.env("GITHUB_OUTPUT", stage.path().join("output")).env("GITHUB_STEP_SUMMARY", stage.path().join("summary"));
    command.env("GITHUB_REPOSITORY", "owner/project").env("GITHUB_WORKFLOW", "bench");
    command.envs(variables.iter().copied());
    finish(command)
}

/// A `gh` that writes down its arguments and answers with `answer`.
fn record_gh(stage: &Stage, answer: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = stage.path().join("bin/gh");
    let asked = stage.path().join("asked");
    fs::write(&path, format!("#!/bin/sh\necho \"$*\" >> {}\necho '{answer}'\n", asked.display())).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn take(stage: &Stage, name: &str) -> String {
    let text = fs::read_to_string(stage.path().join(name)).unwrap_or_default();
    let _ = fs::remove_file(stage.path().join(name));
    text
}

#[test]
fn a_first_run_becomes_the_baseline_and_the_second_is_compared_with_it() {
    let Some(stage) = stage() else { return };
    let run = [("BENCH_ARGUMENTS", "--profile smoke --env native,container -- true")];
    let (status, out, err) = step(&stage, "run.sh", &run);
    assert_eq!(status, 0, "{out}{err}");
    let (status, _, err) = step(&stage, "compare.sh", &[]);
    assert_eq!(status, 0, "{err}");
    assert!(take(&stage, "summary").contains("no baseline") && take(&stage, "output") == "status=0\n");

    let gate = |name: &str| stage.path().join("bench-gate").join(name);
    fs::rename(gate("new.tar.gz"), gate("baseline/new.tar.gz")).unwrap();
    assert_eq!(step(&stage, "run.sh", &run).0, 0);
    let policy = [("BENCH_POLICY", "strict.toml")];
    fs::write(stage.path().join("strict.toml"), "on-inconclusive = \"fail\"\n").unwrap();
    let (status, out, err) = step(&stage, "compare.sh", &policy);
    assert_eq!(status, 0, "the verdict is a later step's: {err}");
    assert!(out.starts_with("::notice title=bench compare cannot tell"), "{out}");
    assert!(out.contains("::error title=inconclusive%3A true in container%2C wall time"), "{out}");
    assert_eq!(take(&stage, "output"), "status=4\n");
    assert!(take(&stage, "summary").starts_with("<!-- bench compare: command -->"));

    record_gh(&stage, "");
    let pull_request = [("BENCH_PULL_REQUEST", "7")];
    assert_eq!(step(&stage, "comment.sh", &pull_request).0, 0);
    assert!(take(&stage, "asked").contains("--method POST repos/owner/project/issues/7/comments"));
    record_gh(&stage, "42");
    assert_eq!(step(&stage, "comment.sh", &pull_request).0, 0);
    let asked = take(&stage, "asked");
    assert!(asked.contains("startswith(\"<!-- bench compare: command -->\")"), "{asked}");
    assert!(asked.contains("--method PATCH repos/owner/project/issues/comments/42"), "{asked}");

    let (status, _, err) = step(&stage, "compare.sh", &[("BENCH_PAIR", "native,container")]);
    assert_eq!((status, take(&stage, "output").as_str()), (0, "status=0\n"), "{err}");
    let (status, _, err) = step(&stage, "compare.sh", &[("BENCH_PAIR", "native,docker")]);
    assert_eq!((status, take(&stage, "output").as_str()), (0, "status=2\n"), "{err}");
    assert!(take(&stage, "summary").contains("no environment `docker`"), "the refusal is in the summary");
}

#[test]
fn the_baseline_is_that_of_the_last_successful_run() {
    let Some(stage) = stage() else { return };
    let variables = [("BENCH_BASELINE_BRANCH", "main"), ("BENCH_ARTIFACT", "bench-run")];
    fs::create_dir_all(stage.path().join("bin")).unwrap();
    record_gh(&stage, "");
    let (status, out, err) = step(&stage, "baseline.sh", &variables);
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("becomes the first baseline") && take(&stage, "asked").starts_with("run list"), "{out}");
    record_gh(&stage, "123");
    assert_eq!(step(&stage, "baseline.sh", &variables).0, 0);
    let asked = take(&stage, "asked");
    assert!(
        asked.contains("run download 123 --repo owner/project --name bench-run --dir bench-gate/baseline"),
        "{asked}"
    );
}

#[test]
fn a_run_that_fails_ends_the_job() {
    let Some(stage) = stage() else { return };
    let (status, _, err) = step(&stage, "run.sh", &[("BENCH_ARGUMENTS", "--profile nonsense")]);
    assert_eq!(status, 2);
    assert!(err.contains("smoke, quick"), "{err}");
}

#[test]
fn the_action_calls_every_script_and_nothing_else() {
    let action = fs::read_to_string(scripts().join("action.yml")).unwrap();
    let mut called: Vec<&str> =
        action.split("$GITHUB_ACTION_PATH/").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    called.sort_unstable();
    let mut scripts: Vec<String> =
        support::names(&scripts()).into_iter().filter(|name| name.ends_with(".sh")).collect();
    scripts.sort_unstable();
    assert_eq!(called, scripts);
    let variables = action.matches("BENCH_").count();
    assert!(variables >= 9, "the inputs are handed on: {variables}");
}

#[test]
fn the_shell_is_clean() {
    let mut command = Command::new("shellcheck");
    let files: Vec<PathBuf> = support::names(&scripts()).iter().map(|name| scripts().join(name)).collect();
    command.args(files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "sh")));
    match command.output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(_) => eprintln!("skipped: there is no shellcheck, which `make test` installs"),
    }
}
