//! The shell of the GitHub action, with the real binary. Only `gh` is not the real one: it writes down what it is asked.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::{Stage, finish, stage, write_program};

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
    stage.own(&mut command);
    command.env("PATH", path);
    command.env("GITHUB_OUTPUT", stage.path().join("output")).env("GITHUB_STEP_SUMMARY", stage.path().join("summary"));
    command.env("GITHUB_REPOSITORY", "owner/project").env("GITHUB_WORKFLOW", "bench");
    command.envs(variables.iter().copied());
    finish(command)
}

/// A `gh` that writes down its arguments and answers with `answer`.
fn record_gh(stage: &Stage, answer: &str) {
    script_gh(stage, &format!("echo '{answer}'"));
}

/// A `gh` that writes down its arguments and goes on with these lines.
fn script_gh(stage: &Stage, lines: &str) {
    fs::create_dir_all(stage.path().join("bin")).unwrap();
    let asked = stage.path().join("asked");
    let text = format!("#!/bin/sh\necho \"$*\" >> {}\n{lines}\n", asked.display());
    write_program(&stage.path().join("bin/gh"), &text);
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

const BASELINE: [(&str, &str); 2] = [("BENCH_BASELINE_BRANCH", "main"), ("BENCH_ARTIFACT", "bench-run")];

#[test]
fn a_baseline_that_is_not_there_is_told_from_one_that_cannot_be_had() {
    let Some(stage) = stage() else { return };
    let refuses = |what: &str, error: &str| {
        format!("case \"$*\" in \"run {what}\"*) echo '{error}' >&2; exit 1 ;; \"run list\"*) echo 7; echo 6 ;; esac")
    };
    for (gh, status, said) in [
        (refuses("list", "could not find any workflows named bench"), 0, "the first push makes the baseline"),
        (refuses("list", "HTTP 404: workflow bench.yml not found on the default branch (url)"), 0, "the first push"),
        (refuses("list", "HTTP 403: Resource not accessible by integration (url)"), 2, "actions: read"),
        (refuses("list", "HTTP 404: Not Found (url)"), 2, "::error title=bench::asking"),
        (refuses("list", "error connecting to api.github.com"), 2, "::error title=bench::asking"),
        (
            refuses("download", "no valid artifacts found to download"),
            0,
            "::warning title=bench::no run of bench on main",
        ),
        (refuses("download", "no artifact matches any of the names or patterns provided"), 0, "::warning"),
        (refuses("download", "HTTP 410: Artifact has expired (url)"), 0, "::warning"),
        (refuses("download", "HTTP 500: Internal Server Error (url)"), 2, "::error title=bench::downloading"),
    ] {
        script_gh(&stage, &gh);
        fs::create_dir_all(stage.path().join("bench-gate/baseline")).unwrap();
        fs::write(stage.path().join("bench-gate/baseline/of-another-day.tar.gz"), "").unwrap();
        let (found, out, err) = step(&stage, "baseline.sh", &BASELINE);
        assert_eq!(found, status, "{gh}: {out}{err}");
        assert!(out.contains(said), "{gh}: {out}");
        assert!(!stage.path().join("bench-gate/baseline").exists(), "what an earlier job left is no baseline");
        let (tries, asked) =
            (if gh.contains("500") || gh.contains("connecting") { 3 } else { 1 }, take(&stage, "asked"));
        let last = if gh.contains("\"run list\"*) echo '") { "run list" } else { "run download 7 " };
        assert_eq!(asked.matches(last).count(), tries, "{asked}");
    }
    // The last run lacks the artifact, since its job was skipped; the one before has it.
    let second =
        "case \"$*\" in \"run list\"*) echo 7; echo 6 ;; *\" 7 \"*) echo no valid artifacts >&2; exit 1 ;; esac";
    script_gh(&stage, second);
    let (status, out, _) = step(&stage, "baseline.sh", &BASELINE);
    assert!(status == 0 && out.contains("of run 6"), "{out}");
    let file = ("GITHUB_WORKFLOW_REF", "owner/project/.github/workflows/gate.yml@refs/heads/main");
    take(&stage, "asked");
    step(&stage, "baseline.sh", &[BASELINE[0], BASELINE[1], file]);
    assert!(take(&stage, "asked").contains("--workflow gate.yml "), "its name may not be the only one");
}

#[test]
fn only_a_token_that_may_not_comment_is_a_warning() {
    let Some(stage) = stage() else { return };
    let report = stage.path().join("bench-gate/report");
    fs::create_dir_all(&report).unwrap();
    fs::write(report.join("compare.md"), "<!-- bench compare: io -->\n## bench compare passes\n").unwrap();
    for (error, status, said, tries) in [
        ("gh: Resource not accessible by integration (HTTP 403)", 0, "::warning title=bench::this token may not", 1),
        ("gh: Resource not accessible by personal access token (HTTP 403)", 0, "::warning", 1),
        ("gh: Unable to create comment because issue is locked. (HTTP 403)", 0, "::warning", 1),
        (
            "gh: To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN environment variable.",
            0,
            "::warning",
            1,
        ),
        ("gh: API rate limit exceeded for installation. (HTTP 403)", 2, "::error", 3),
        ("gh: Bad credentials (HTTP 401)\nTry authenticating with:  gh auth login", 2, "::error", 1),
        ("gh: Not Found (HTTP 404)", 2, "::error title=bench::commenting on pull request 7: gh: Not Found", 1),
        ("gh: Validation Failed (HTTP 422)", 2, "::error", 1),
        ("gh: Bad Gateway (HTTP 502)", 2, "::error", 3),
        ("error connecting to api.github.com\ncheck your internet connection", 2, "connection", 3),
    ] {
        for method in ["api", "--method"] {
            script_gh(&stage, &format!("case \"$*\" in *\"{method}\"*) echo '{error}' >&2; exit 1 ;; esac"));
            let (found, out, err) = step(&stage, "comment.sh", &[("BENCH_PULL_REQUEST", "7")]);
            assert_eq!(found, status, "{error}: {out}{err}");
            assert!(out.contains(said) && out.lines().count() == 1, "{error}: {out}");
            assert_eq!(take(&stage, "asked").matches(method).count(), tries, "{error}");
        }
    }
}

#[test]
fn a_comment_is_of_one_job_and_never_too_long() {
    let Some(stage) = stage() else { return };
    let report = stage.path().join("bench-gate/report");
    fs::create_dir_all(&report).unwrap();
    let comment = |text: &str, more: &[(&str, &str)]| {
        fs::write(report.join("compare.md"), text).unwrap();
        record_gh(&stage, "");
        let variables = [&[("BENCH_PULL_REQUEST", "7"), ("GITHUB_RUN_ID", "99")], more].concat();
        let (status, out, err) = step(&stage, "comment.sh", &variables);
        assert_eq!(status, 0, "{out}{err}");
        let asked = take(&stage, "asked");
        let path = asked.lines().last().unwrap().split("body=@").nth(1).unwrap().to_owned();
        (fs::read_to_string(stage.path().join(path)).unwrap(), asked)
    };
    let short = "<!-- bench compare: io -->\n## bench compare passes\n\n| a |\n";
    assert_eq!(comment(short, &[]).0, short);
    let of = |artifact| comment(short, &[("BENCH_ARTIFACT", artifact)]);
    let (one, asked) = of("bench-run-io");
    assert!(one.starts_with("<!-- bench compare: io; bench bench-run-io -->\n## bench"), "{one}");
    assert!(asked.contains("startswith(\"<!-- bench compare: io; bench bench-run-io -->\")"), "{asked}");
    assert_ne!(one.lines().next(), of("bench-run-network").0.lines().next());
    let rows = "| µ one of many rows of the table | container | 1.000 |\n".repeat(2_000);
    let long = format!("<!-- bench compare: io -->\n## fails\n\n<details><summary>x</summary>\n\n{rows}\n</details>\n");
    let (body, _) = comment(&long, &[("BENCH_ARTIFACT", "bench-run-io")]);
    assert!((60_000..65_536).contains(&body.len()), "{}", body.len());
    let end = "1.000 |\n\n</details>\n\n_It goes on in the artifact `bench-run-io-report` of \
               [this run](https://github.com/owner/project/actions/runs/99)._\n";
    assert!(body.ends_with(end), "{}", &body[body.len() - 400..]);
}

#[test]
fn every_job_has_an_artifact_of_its_own() {
    let Some(stage) = stage() else { return };
    let name = |job: &str, matrix: &str| {
        let (status, _, err) = step(&stage, "name.sh", &[("GITHUB_JOB", job), ("BENCH_MATRIX", matrix)]);
        assert_eq!(status, 0, "{err}");
        take(&stage, "output")
    };
    assert_eq!(name("io", "null"), "artifact=bench-run-io\n");
    assert_eq!(name("io", ""), name("io", "{}"));
    let matrix = "{\n  \"os\": \"ubuntu-24.04\",\n  \"suite\": \"io\"\n}";
    let named = name("io", matrix);
    assert!(named.starts_with("artifact=bench-run-io-ubuntu-24.04-io-"), "{named}");
    assert_eq!(named, name("io", matrix), "a baseline is found again");
    let all =
        [name("net", "null"), name("io", "null"), named, name("io", "{\"a\":\"x/y\"}"), name("io", "{\"a\":\"x:y\"}")];
    assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len(), "{all:?}");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-=\n".contains(c);
    assert!(all.iter().all(|name| name.chars().all(is_plain) && name.lines().count() == 1), "{all:?}");
}

/// The words that `bench run` is asked with, or the exit status and what was said.
fn words(stage: &Stage, arguments: &str) -> Result<Vec<String>, (i32, String)> {
    let asked = stage.path().join("words");
    let _ = fs::remove_file(&asked);
    let stub = format!("#!/bin/sh\n[ \"$1\" != run ] || printf '%s\\0' \"$@\" > {}\n", asked.display());
    fs::create_dir_all(stage.path().join("bin")).unwrap();
    write_program(&stage.path().join("bin/bench"), &stub);
    let (status, _, err) = step(stage, "run.sh", &[("BENCH_ARGUMENTS", arguments)]);
    if status != 0 {
        assert!(!asked.exists(), "nothing is measured");
        return Err((status, err));
    }
    let text = fs::read_to_string(&asked).unwrap();
    Ok(text.split_terminator('\0').skip(3).map(str::to_owned).collect())
}

#[test]
fn arguments_are_words_as_in_a_shell_over_any_number_of_lines() {
    let Some(stage) = stage() else { return };
    for (text, expected) in [
        ("--suite io --profile quick", &["--suite", "io", "--profile", "quick"][..]),
        ("--suite io\n--profile standard\n--only a,b\n", &["--suite", "io", "--profile", "standard", "--only", "a,b"]),
        ("\r\n\t--suite\tio \r\n\r\n  --blocks 3\r\n", &["--suite", "io", "--blocks", "3"]),
        ("--env 'old=vm:kernel=/boot/my kernel' x", &["--env", "old=vm:kernel=/boot/my kernel", "x"]),
        ("-- sh -c \"echo 'a  b' \\\"c\\\" \\$HOME \\x\"", &["--", "sh", "-c", "echo 'a  b' \"c\" $HOME \\x"]),
        ("a\\ b \\'c \\# --x='' \"\" ''", &["a b", "'c", "#", "--x=", "", ""]),
        ("--suite io \\\n  --blocks 3 \\\r\n --x \\", &["--suite", "io", "--blocks", "3", "--x"]),
        ("# all of it\n--suite io # the disk's\n  # --only x\na#b '#c'", &["--suite", "io", "a#b", "#c"]),
        ("$HOME `id` $(id) * ~ ; & | > x", &["$HOME", "`id`", "$(id)", "*", "~", ";", "&", "|", ">", "x"]),
        ("'two\nlines' \"µ\"漢", &["two\nlines", "µ漢"]),
        ("", &[]),
        (" \n\t# nothing\n", &[]),
    ] {
        assert_eq!(
            words(&stage, text).as_deref(),
            Ok(&expected.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()[..]),
            "{text}"
        );
    }
    for text in ["--env 'old", "it's", "a \"b", "\"a\\\"", "'a\\'b'"] {
        let (status, said) = words(&stage, text).unwrap_err();
        assert!(status == 2 && said.contains("never closed"), "{text}: {said}");
    }
}

#[test]
fn a_job_whose_trials_all_fail_does_not_pass() {
    let Some(stage) = stage() else { return };
    let run = |code: u8| {
        let arguments = format!("--profile smoke --env native,container\n-- sh -c 'exit {code}'");
        let (status, out, err) = step(&stage, "run.sh", &[("BENCH_ARGUMENTS", &arguments)]);
        assert_eq!(status, 0, "the verdict is a later step's: {out}{err}");
    };
    run(1);
    let (status, out, _) = step(&stage, "compare.sh", &[]);
    assert_eq!((status, take(&stage, "output").as_str()), (0, "status=3\n"), "it must not become the baseline");
    assert!(
        out.starts_with("::error title=bench::trials failed") && take(&stage, "summary").contains("no baseline"),
        "{out}"
    );
    let gate = |name: &str| stage.path().join("bench-gate").join(name);
    run(0);
    fs::rename(gate("new.tar.gz"), gate("baseline/new.tar.gz")).unwrap();
    run(1);
    let (status, out, err) = step(&stage, "compare.sh", &[("BENCH_ALLOW_DIFFERENCE", "workload")]);
    assert_eq!((status, take(&stage, "output").as_str()), (0, "status=2\n"), "{out}{err}");
    assert!(
        out.starts_with("::error title=bench compare cannot compare::") && err.contains("nothing was compared"),
        "{out}{err}"
    );
    assert!(take(&stage, "summary").contains("## bench compare cannot compare"));
    assert!(fs::read_to_string(gate("report/junit.xml")).unwrap().contains("<error type=\"broken\""));
}

#[test]
fn the_baseline_is_that_of_the_last_successful_run() {
    let Some(stage) = stage() else { return };
    record_gh(&stage, "");
    let (status, out, err) = step(&stage, "baseline.sh", &BASELINE);
    assert_eq!(status, 0, "{err}");
    let asked = take(&stage, "asked");
    assert!(out.contains("becomes the first baseline") && asked.starts_with("run list"), "{out}");
    assert!(asked.contains("--event push") && asked.contains("--branch main"), "a fork's branch is no push: {asked}");
    record_gh(&stage, "123");
    assert_eq!(step(&stage, "baseline.sh", &BASELINE).0, 0);
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
