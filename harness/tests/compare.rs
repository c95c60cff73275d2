//! `bench compare` and `bench export` by the real binary, on real runs.

mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::{Stage, finish, stage};

/// A profile whose blocks take seconds: what is tested is the gate, not the disk.
const PROFILE: &str = r#"
name = "quick"
blocks = 6
runtime = "600ms"
warm-up = "100ms"
settle = "0s"
size = "64MiB"
"#;

/// Two containers, the second of which may do so many reads a second. Both are throttled far below what a disk can do, so that
/// their ratio is known whatever the disk does meanwhile.
fn arguments(iops: u32) -> String {
    let environments = format!("ref=container:read_iops=2000,app=container:read_iops={iops}");
    format!("run --suite ./gate.toml --env {environments} --reference ref --no-control")
}

/// Execute a run; its folder.
fn execute(stage: &Stage, arguments: &str) -> PathBuf {
    let before = runs(stage);
    let (status, out, err) = finish(stage.program(&stage.unrobbed(), arguments));
    assert_eq!(status, 0, "{arguments}: {out}{err}");
    runs(stage).into_iter().find(|run| !before.contains(run)).unwrap()
}

fn runs(stage: &Stage) -> Vec<PathBuf> {
    let entries = fs::read_dir(stage.path().join("bench-runs")).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.join("run.json").exists()).collect()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn write(stage: &Stage, name: &str, text: &str) -> String {
    fs::write(stage.path().join(name), text).unwrap();
    name.to_owned()
}

#[test]
fn a_gate_on_real_runs() {
    let Some(stage) = stage() else { return };
    stage.write_suite("gate", "iodepth = 4\njobs = 1", PROFILE);
    let [base, same, slow, few] = [(2000, ""), (2000, ""), (1400, ""), (1400, " --blocks 2")]
        .map(|(iops, more)| shown(&execute(&stage, &format!("{}{more}", arguments(iops)))));
    let of_environments = "--allow-difference environment";
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(Path::new(&slow).join("run.json")).unwrap()).unwrap();
    let storage = record["environments"][1]["sameness"]["storage path"].as_str().unwrap();
    assert!(storage.ends_with("at most 1400 reads a second"), "{storage}");

    let (status, out, err) = stage.run(&format!("compare {base} {same}"));
    assert_eq!(status, 0, "the same revision twice raises no alarm: {out}{err}");
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("2.5 % are assumed; earlier runs of the same series tell it (--history DIR"), "{out}");

    let (status, out, err) = stage.run(&format!("compare {base} {slow} {of_environments} --report gate"));
    assert_eq!(status, 1, "a planted slowdown of 30 % fails: {out}{err}");
    let judgement: serde_json::Value =
        serde_json::from_slice(&fs::read(stage.path().join("gate/compare.json")).unwrap()).unwrap();
    let ratio = judgement["rows"][0]["ratio"].as_f64().unwrap();
    assert!((ratio - 0.7).abs() < 0.03, "throttled to 0.7, measured {ratio}");
    let said = format!("1 alarm in 1 comparison: rand-read in app {:.0} % slower", 100.0 * (1.0 - ratio));
    assert!(out.contains(&said), "{said}: {out}");
    for file in ["index.html", "compare.md", "junit.xml", "change.png", "sides.svg", "histograms.png"] {
        assert!(stage.path().join("gate").join(file).exists(), "{file}");
    }

    let (status, out, _) = stage.run(&format!("compare {slow} --env ref,app"));
    assert_eq!(status, 1, "and both sides in one run, paired: {out}");
    assert!(out.contains("ref → app") && out.contains("paired by block"), "{out}");

    let policy = write(&stage, "strict.toml", "on-inconclusive = \"fail\"\n");
    let too_few = format!("compare {base} {few} {of_environments}");
    let (status, out, _) = stage.run(&too_few);
    assert_eq!(status, 0, "too few blocks cannot be told: {out}");
    assert!(out.starts_with("cannot tell") && out.contains("2 of the 6 blocks"), "{out}");
    assert_eq!(stage.run(&format!("{too_few} --policy {policy}")).0, 4, "and fail where that is asked");

    let (status, _, err) = stage.run(&format!("compare {base} {slow}"));
    assert_eq!(status, 2, "other conditions are refused");
    assert!(err.contains("app is `app=container:read_iops=2000` in BASE and `app=container:read_iops=1400`"), "{err}");

    an_alarm_is_confirmed(&stage, &base, &slow);
    an_archive_is_a_run(&stage, &base, &slow);
    another_metric_decides(&stage, &base, &slow);
}

fn another_metric_decides(stage: &Stage, base: &str, slow: &str) {
    let by = |metric: &str| {
        stage.run(&format!("compare {base} {slow} --allow-difference environment --primary {metric} --format json"))
    };
    let (status, out, err) = by("read_latency_mean_ns");
    assert_eq!(status, 1, "{out}{err}");
    let judgement: serde_json::Value = serde_json::from_str(&out).unwrap();
    let row = &judgement["rows"][0];
    assert_eq!((&row["metric"], &row["verdict"]), (&"read_latency_mean_ns".into(), &"worse".into()), "{row}");
    assert!(row["ratio"].as_f64().unwrap() > 1.2, "a latency, and not its inverse: {row}");
    assert!(judgement["notes"].to_string().contains("--primary read_latency_mean_ns"), "{}", judgement["notes"]);
    // 1,200 reads of depth 4 bear no p99; a command has other metrics, and nobody has the third.
    for metric in ["read_latency_p99_ns", "wall_time_ns", "iop"] {
        let (status, out, err) = by(metric);
        assert_eq!((status, out.as_str()), (2, ""), "{metric}: {err}");
        assert!(err.contains(metric) && err.contains("there are iops, ") && !err.contains("p99_ns, "), "{err}");
        assert_eq!(stage.run(&format!("report {slow} --primary {metric}")).0, 2);
    }
    let (status, out, err) = stage.run(&format!("report {slow} --primary read_latency_mean_ns"));
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("mean read latency (lower is better)") && out.contains("secondary metrics: "), "{out}");
    assert!(Path::new(slow).join("report-read_latency_mean_ns/comparisons.csv").exists(), "{out}");
    let (status, csv, _) = stage.run(&format!("report {slow} --format comparisons"));
    assert_eq!(status, 0);
    let p99 = csv.lines().find(|line| line.contains(",secondary,read_latency_p99_ns,ns,lower,ref,,,,none,")).unwrap();
    assert!(p99.contains("too few I/Os: it takes 4000 in a block, 10 stalls of up to 4 in flight"), "{p99}");
}

fn an_alarm_is_confirmed(stage: &Stage, base: &str, slow: &str) {
    let policy = write(stage, "confirm.toml", "confirm = 1\nmargin = \"15%\"\n");
    let compare = format!("compare {base} {slow} --allow-difference environment --policy {policy}");
    let (status, out, _) = stage.run(&compare);
    assert_eq!(status, 1);
    assert!(out.contains("no command was given"), "{out}");
    let confirmed = |iops: u32| {
        let mut command = stage.bench(&compare);
        command.arg("--").arg(stage.unrobbed()).args(arguments(iops).split_whitespace());
        finish(command)
    };
    let (status, out, err) = confirmed(1400);
    assert_eq!(status, 1, "it came back: {out}{err}");
    assert!(err.contains("fresh run 1 of 1") && out.contains("fresh run 1 to confirm"), "{out}{err}");
    let (status, out, err) = confirmed(2000);
    assert_eq!(status, 0, "it did not come back: {out}{err}");
    assert!(out.contains("1 not confirmed") && out.contains("worse (not confirmed)"), "{out}");
    let mut lost = stage.bench(&compare);
    lost.args(["--", "true"]);
    let (status, _, err) = finish(lost);
    assert_eq!(status, 2);
    assert!(err.contains("left no run in bench-runs"), "{err}");
}

fn an_archive_is_a_run(stage: &Stage, base: &str, slow: &str) {
    let (status, out, err) = stage.run(&format!("export {base} --to base.tar.gz"));
    assert_eq!((status, out.as_str()), (0, "base.tar.gz\n"), "{err}");
    let compared = |base: &str| stage.run(&format!("compare {base} {slow} --allow-difference environment"));
    assert_eq!(compared("base.tar.gz"), compared(base), "the archive is read like the folder");
    let report = |run: &str| stage.run(&format!("report {run} --format csv"));
    assert_eq!(report("base.tar.gz"), report(base));
    let (status, out, err) = stage.run("report base.tar.gz");
    assert_eq!(status, 0, "{err}");
    let page = out.lines().find_map(|line| line.strip_prefix("report: ")).unwrap();
    assert!(page.ends_with("-report/index.html") && stage.path().join(page).exists(), "{page}");
    let (status, _, err) = stage.run(&format!("export {base} --to base.tar.gz"));
    assert_eq!(status, 2);
    assert!(err.contains("exists already"), "{err}");
    let (status, out, _) = stage.run("compare base.tar.gz bench-runs --allow-difference environment");
    assert_eq!((status, out.as_str()), (2, ""), "the run is in the set, too");
}

/// A run of 3 blocks of `sh -c SCRIPT`, natively and in a container; its folder.
fn of_script(stage: &Stage, script: &str, status: i32) -> String {
    let before = runs(stage);
    let mut command = stage.program(&stage.unrobbed(), "run --blocks 3 --env native,container -- sh -c");
    command.arg(script);
    let (found, out, err) = finish(command);
    assert_eq!(found, status, "{script}: {out}{err}");
    shown(&runs(stage).into_iter().find(|run| !before.contains(run)).unwrap())
}

#[test]
fn a_gate_does_not_pass_by_failing() {
    let Some(stage) = stage() else { return };
    let base = of_script(&stage, "true", 0);
    // There is no such folder in a container.
    let [broken, failed] =
        [("test -d /var/lib/dpkg", 3), ("false", 3)].map(|(script, is)| of_script(&stage, script, is));
    for (run, name) in [(&base, "base.tar.gz"), (&broken, "broken.tar.gz")] {
        assert_eq!(stage.run(&format!("export {run} --to {name}")).0, 0);
    }
    let compared =
        |sides: &str, more: &str| stage.run(&format!("compare {sides} --allow-difference workload,tools {more}"));
    let pair = format!("{base} {broken}");
    for (format, said) in [
        ("", "fails: 1 of 1 comparison broken: sh in container"),
        ("--format md", "## bench compare fails"),
        ("--format html", "3 of 3 trials in container failed or are invalid"),
        ("--format json", "\"part\": \"broken\""),
        ("--format junit", "failures=\"0\" errors=\"1\""),
        ("--format github", "::error title=broken%3A sh in container"),
    ] {
        let (status, out, err) = compared(&pair, format);
        assert_eq!((status, err.as_str()), (1, ""), "{format}: {out}");
        assert!(out.contains(said), "{format}: {out}");
        assert_eq!(compared("base.tar.gz broken.tar.gz", format), (status, out, err), "archives are read like folders");
    }
    let policy = write(&stage, "lenient.toml", "fail-on = []\non-inconclusive = \"pass\"\n");
    assert_eq!(compared(&pair, &format!("--policy {policy}")).0, 1, "it is no verdict");
    for sides in [format!("{base} {failed}"), format!("{failed} {base}")] {
        let (status, out, err) = compared(&sides, "--report gate --format junit");
        assert_eq!(status, 2, "{out}{err}");
        assert!(out.contains("<error type=\"broken\"") && err.starts_with("bench: nothing was compared"), "{out}{err}");
        assert!(stage.path().join("gate/index.html").exists());
    }
    let paired = |run: &str, names: &str| stage.run(&format!("compare {run} --env {names}"));
    assert_eq!(paired(&failed, "native,container").0, 2);
    let (status, out, err) = paired(&broken, "native,container");
    assert_eq!(status, 2, "of the only pair there is no block: {out}{err}");
    assert!(paired(&base, "native,container").1.contains("sh"), "and where nothing failed it is judged");
}

#[test]
fn what_cannot_be_compared_is_said_with_what_would_be_right() {
    let Some(stage) = stage() else { return };
    let run = || shown(&execute(&stage, "run --profile smoke --env native -- true"));
    let (one, two) = (run(), run());
    let (status, out, _) = stage.run(&format!("compare {one} {two}"));
    assert_eq!(status, 0, "a smoke run judges nothing: {out}");
    assert!(out.starts_with("cannot tell"), "{out}");
    fs::create_dir(stage.path().join("empty")).unwrap();
    write(&stage, "no.tar.gz", "not an archive");
    let copy = |name: &str, from: &str, to: &str| {
        let folder = stage.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::copy(Path::new(&two).join("trials.jsonl"), folder.join("trials.jsonl")).unwrap();
        let text = fs::read_to_string(Path::new(&two).join("run.json")).unwrap();
        fs::write(folder.join("run.json"), text.replacen(from, to, 1)).unwrap();
        name.to_owned()
    };
    let newer = copy("newer", "\"schema_version\": 2", "\"schema_version\": 9");
    let damaged = copy("damaged", "\"plan\"", "\"plam\"");
    let suite = copy("suite", "\"suite\": \"command\"", "\"suite\": \"network\"");
    let kernel = copy("kernel", "\"kernel.release\": \"", "\"kernel.release\": \"9");
    let negative = write(&stage, "negative.toml", "margin = \"-5%\"");
    let metric = write(&stage, "metric.toml", "[[metric]]\nname = \"iop\"\ndecides = true");
    let expired = write(&stage, "expired.toml", "[[ignore]]\nworkload = \"true\"\nreason = \"x\"\nuntil = 2020-01-01");
    let idle = write(&stage, "idle.toml", "margin = \"5%\"");
    for (arguments, said) in [
        (format!("compare {one}"), "--env BASE,NEW out of native"),
        (format!("compare {one} {one}"), "on both sides"),
        (format!("compare {one} nonsense"), "there is no run `nonsense`"),
        (format!("compare {one} empty"), "holds no run"),
        (format!("compare {one} no.tar.gz"), "no compressed tar archive"),
        (format!("compare {one} {newer}"), "schema version 9"),
        (format!("compare {one} {damaged}"), "damaged"),
        (format!("compare {one} {suite}"), "suite network"),
        (format!("compare {one} {kernel}"), "--allow-difference kernel"),
        (format!("compare {one} {kernel} --allow-difference speed"), "guest-kernel"),
        (format!("compare {one} --env native,docker"), "no environment `docker`; it has native"),
        (format!("compare {one} --env native"), "two names"),
        (format!("compare {one} {two} --env native,x"), "cannot be used with"),
        (format!("compare {one} --env native,x --history ."), "cannot be used with"),
        (format!("compare {one} {two} --history nowhere"), "--history nowhere: there is no such folder"),
        (format!("compare {one} {two} --history no.tar.gz"), "--history no.tar.gz: there is no such folder"),
        (format!("compare {one} {two} --history {one}"), "is one run: give the folder that holds the earlier ones"),
        (format!("compare {one} {two} --history empty"), "empty/ holds no run"),
        (format!("compare {one} bench-runs --history ."), "a set of runs contains its own spread"),
        (format!("compare {one} {two} --policy no.toml"), "reading the policy no.toml"),
        (format!("compare {one} {two} --policy {negative}"), "negative.toml:1:10"),
        (format!("compare {one} {two} --policy {metric}"), "metric.toml:2:8: there is no metric `iop`"),
        (format!("compare {one} {two} --policy {expired}"), "expired.toml:4:9: ignoring this ended on 2020-01-01"),
        (format!("compare {one} {two} --policy {idle} -- true"), "confirm = 1"),
        (format!("compare {one} {two} -- true"), "--policy"),
        (format!("compare {one} {two} --report /proc/x"), "/proc/x"),
        ("export nonsense".to_owned(), "there is no run `nonsense`"),
        (format!("export {one} --to x.zip"), ".tar.gz"),
        (format!("export {one} --to /no/such/x.tar.gz"), "/no/such"),
        (format!("export {damaged} --to x.tar.gz"), "damaged"),
        ("report no.tar.gz".to_owned(), "no compressed tar archive"),
    ] {
        let (status, out, err) = stage.run(&arguments);
        assert_eq!((status, out.as_str()), (2, ""), "{arguments}: {err}");
        assert!(err.contains(said) && !err.contains("panicked"), "{arguments}: {err}");
    }
    assert!(!stage.path().join("x.tar.gz").exists(), "nothing half-written");
}
