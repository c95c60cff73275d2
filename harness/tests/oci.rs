//! Containers of other runtimes: measured as those of `bench`, held as they are, and gone afterwards.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use support::{Machine, Stage, cgroups, eventually, finish, members, names, stage, unchecked, wait, write_program};

const RUNC: &str = "/usr/sbin/runc";
const CRUN: &str = "/usr/bin/crun";
const SMALL: &str = "run --profile smoke --size 64MiB";

/// One at a time: what is left is looked for on the whole machine.
static ALONE: Mutex<()> = Mutex::new(());

/// A place, alone on the machine.
fn stage_alone() -> Option<(Stage, MutexGuard<'static, ()>)> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Some((stage()?, alone))
}

/// The same, where runc is installed as well.
fn stage_with_runc() -> Option<(Stage, MutexGuard<'static, ()>)> {
    if !Path::new(RUNC).exists() {
        eprintln!("skipped: there is no {RUNC}; `make test` installs it");
        return None;
    }
    stage_alone()
}

fn record(stage: &Stage) -> Value {
    serde_json::from_slice(&fs::read(stage.only_run().join("run.json")).unwrap()).unwrap()
}

fn trials(stage: &Stage) -> Vec<Value> {
    let text = fs::read_to_string(stage.only_run().join("trials.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Whatever a runtime keeps of containers where it keeps them for everybody.
fn states() -> Vec<String> {
    ["/run/runc", "/run/crun"].iter().flat_map(|folder| names(Path::new(folder))).collect()
}

#[test]
fn a_runtime_is_measured_as_a_container_and_leaves_nothing() {
    let Some((stage, _alone)) = stage_with_runc() else { return };
    let before = (Machine::now(), states());
    let environments = format!("native,container,oci-runc=oci:runtime={RUNC}");
    let child = stage.spawn(&format!("run --suite io --profile smoke --size 64MiB --env {environments}"));
    let pid = child.id();
    let (status, out, err) = wait(child);
    assert_eq!(status, 0, "{out}{err}");
    assert!(!err.contains("bench removes"), "{err}");
    stage.assert_clean(pid);
    assert_eq!(states(), before.1);
    before.0.assert_comes_back();
    let record = record(&stage);
    let [container, runc] = [1, 2].map(|at| &record["environments"][at]);
    assert_eq!(
        (&runc["name"], &runc["kind"], &runc["class"]),
        (&"oci-runc".into(), &"oci".into(), &"container".into())
    );
    assert_eq!(runc["capabilities"], serde_json::json!([]));
    for axis in ["fio sha256", "memory", "cpus", "storage path", "seccomp filters", "kernel"] {
        assert_eq!(runc["sameness"][axis], container["sameness"][axis], "{axis}");
    }
    let isolation = runc["sameness"]["isolation"].as_str().unwrap();
    let ours = container["sameness"]["isolation"].as_str().unwrap();
    assert!(isolation.starts_with("runc version ") && isolation.ends_with(ours), "{isolation}");
    let fact =
        |name: &str| record["fingerprint"][format!("tool.oci-runc.{name}")].as_str().unwrap_or_default().to_owned();
    assert!(fact("version").starts_with("runc version ") && fact("sha256").len() == 64);
    for trial in trials(&stage).iter().filter(|trial| trial["environment"] == "oci-runc") {
        assert_eq!((&trial["failure"], &trial["invalid"]), (&Value::Null, &serde_json::json!([])), "{}", trial["id"]);
        assert_eq!(trial["facts"]["limits.broken"], 0);
        // What its group used is counted with that of the instance.
        assert!(trial["facts"]["cgroup.read_bytes"].is_number() || trial["facts"]["cgroup.written_bytes"].is_number());
        let of_others =
            |fact: &&str| !["net.", "pace.", "probe.", "warmup."].iter().any(|other| fact.starts_with(other));
        let unchecked: Vec<_> = unchecked(trial).into_iter().filter(of_others).collect();
        assert!(unchecked.is_empty(), "{}: {unchecked:?}", trial["id"]);
    }
    let kept = fs::read(stage.only_run().join("raw/b01-instance-oci-runc/config.json")).unwrap();
    let kept: Value = serde_json::from_slice(&kept).unwrap();
    assert_eq!(kept["process"]["args"][0], "/bench");
}

/// Lines of `/proc/self/status` that a command sees in an environment: it fails, so that what it said is kept.
fn status_inside(stage: &Stage, environment: &str, keys: &[&str]) -> Vec<String> {
    let path = stage.only_run().join(format!("raw/b01-sh-{environment}/stdout"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.lines().filter(|line| keys.iter().any(|key| line.starts_with(key))).map(str::to_owned).collect()
}

#[test]
fn what_is_inside_is_held_as_in_a_container_of_ours() {
    let Some((stage, _alone)) = stage_with_runc() else { return };
    let environments = format!(
        "container,runc=oci:runtime={RUNC},filtered=container:seccomp=docker,runc-filtered=oci:runtime={RUNC}:seccomp=docker"
    );
    let mut command = stage.bench(&format!("run --profile smoke --env {environments}"));
    command.args(["--", "sh", "-c", "cat /proc/self/status; false"]);
    let (status, out, err) = finish(command);
    assert_eq!(status, 3, "{out}{err}");
    const KEYS: [&str; 11] = [
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Uid",
        "Gid",
        "Groups",
        "Cpus_allowed_list",
    ];
    for (ours, theirs) in [("container", "runc"), ("filtered", "runc-filtered")] {
        let [ours, theirs] = [ours, theirs].map(|environment| status_inside(&stage, environment, &KEYS));
        assert_eq!(ours, theirs);
        assert!(ours.iter().any(|line| line == "CapEff:\t00000000800405fb"), "{ours:?}");
    }
    let mode = |environment: &str| status_inside(&stage, environment, &["Seccomp:"]);
    assert_eq!((mode("runc"), mode("runc-filtered")), (vec!["Seccomp:\t0".to_owned()], vec!["Seccomp:\t2".to_owned()]));
}

#[test]
fn a_commands_work_folder_is_the_same_and_a_limit_of_memory_kills() {
    let Some((stage, _alone)) = stage_with_runc() else { return };
    let environments = format!("native,container,runc=oci:runtime={RUNC}");
    let (status, out, err) = stage.run(&format!("run --profile smoke --env {environments} -- cp /etc/passwd copy"));
    assert_eq!(status, 0, "{out}{err}");
    let record = record(&stage);
    let work = |at: usize| record["environments"][at]["work"].clone();
    assert_eq!((work(1), work(2)), (work(0), work(0)));
    fs::remove_dir_all(stage.only_run()).unwrap();
    let hog = "tail /dev/zero";
    let environments = format!("container,runc=oci:runtime={RUNC}");
    let (status, out, err) = stage.run(&format!("run --profile smoke --memory 64MiB --env {environments} -- {hog}"));
    assert_eq!(status, 3, "{out}{err}");
    for trial in trials(&stage) {
        assert!(trial["facts"]["memory.oom_kills"].as_u64().unwrap() >= 1, "{trial:#}");
    }
}

#[test]
fn a_kill_while_it_measures_leaves_nothing_that_clean_does_not_remove() {
    let Some((stage, _alone)) = stage_with_runc() else { return };
    let before = (Machine::now(), states());
    let mut child = stage.spawn(&format!("run --profile smoke --env runc=oci:runtime={RUNC} -- sleep 60"));
    let pid = child.id();
    let sleeps = |group: &PathBuf| {
        let comm = |pid: &String| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        members(group).iter().any(|pid| comm(pid).trim() == "sleep")
    };
    let below = |group: &PathBuf| group.join("container");
    eventually("the command in a group below", || cgroups(pid).iter().map(below).any(|group| sleeps(&group)));
    child.kill().unwrap();
    child.wait().unwrap();
    let (status, out, err) = stage.run("clean");
    assert_eq!(status, 0, "{out}{err}");
    stage.assert_clean(pid);
    assert_eq!(states(), before.1);
    before.0.assert_comes_back();
}

#[test]
fn the_network_suite_reaches_its_peer_out_of_a_runtimes_container() {
    let Some((stage, _alone)) = stage_with_runc() else { return };
    let environments =
        format!("native,runc-nat=oci:runtime={RUNC}:net=nat,runc-host=oci:runtime={RUNC}:net=host:seccomp=docker");
    let child = stage.spawn(&format!("run --suite network --profile smoke --env {environments} --only tcp-rr,udp-rr"));
    let pid = child.id();
    let (status, out, err) = wait(child);
    assert_eq!(status, 0, "{out}{err}");
    stage.assert_clean(pid);
    for trial in trials(&stage) {
        let packets = trial["facts"]["net.rule_packets"].as_u64();
        assert_eq!(packets.is_some_and(|packets| packets > 0), trial["environment"] == "runc-nat", "{}", trial["id"]);
    }
}

/// A script in place of a runtime, which answers `--version` and does this for other commands.
fn script(stage: &Stage, name: &str, then: &str) -> String {
    let path = stage.path().join(name);
    write_program(&path, &format!("#!/bin/sh\n[ \"$1\" = --version ] && echo {name} 1.0 && exit\n{then}\n"));
    path.display().to_string()
}

#[test]
fn a_runtime_that_is_of_no_use_is_an_environment_that_cannot_be_had() {
    let Some((stage, _alone)) = stage_alone() else { return };
    let fails = script(&stage, "fails", "echo out of order >&2; exit 1");
    let silent = script(&stage, "silent", "exit 1");
    let hangs = script(&stage, "hangs", "case \"$*\" in *create*) sleep 1000;; *) exit 1;; esac");
    let lies = script(&stage, "lies", "exit 0");
    let version = stage.path().join("version").display().to_string();
    write_program(Path::new(&version), "#!/bin/sh\nexit 7\n");
    for (runtime, said) in [
        ("/etc/passwd", "runtime=/etc/passwd: it is no program".to_owned()),
        ("/no/runtime", "runtime=/no/runtime".to_owned()),
        ("/bin/true", "`/bin/true create` left no process id in ".to_owned()),
        (&version, format!("`{version} --version` failed (exit status: 7)")),
        (&fails, format!("`{fails} create` failed (exit status: 1): out of order")),
        (&silent, format!("`{silent} create` failed (exit status: 1) and did not say why")),
        (&hangs, format!("`{hangs} create` did not end within 20 s")),
        (&lies, format!("`{lies} create` left no process id in ")),
    ] {
        let child = stage.spawn(&format!("{SMALL} --env native,x=oci:runtime={runtime} --only rand-read"));
        let pid = child.id();
        let (status, _, err) = wait(child);
        assert_eq!(status, 69, "{runtime}: {err}");
        assert!(err.contains("environment `x` cannot be used") && err.contains(&said), "{runtime}: {err}");
        stage.assert_clean(pid);
    }
    assert!(names(&stage.path().join("bench-runs")).is_empty());
    let (status, _, err) = stage.run("run --dry-run --env native,x=oci:runtime=/etc/passwd");
    assert!(status == 69 && err.contains("it is no program"), "{status} {err}");
    let (status, _, err) = stage.run("run --env native,oci");
    assert!(status == 2 && err.contains("oci needs the option `runtime`"), "{status} {err}");
}

/// runc behind a script that puts its containers elsewhere.
#[test]
fn a_container_that_is_not_limited_as_asked_is_refused() {
    let Some((stage, _alone)) = stage_with_runc() else { return };
    let path = stage.path().join("careless");
    let other = "sed -i 's|\"cgroupsPath\": \"[^\"]*\"|\"cgroupsPath\": \"/bench-careless\"|' \"$5/config.json\"";
    write_program(&path, &format!("#!/bin/sh\n[ \"$3\" = create ] && {other}\nexec {RUNC} \"$@\"\n"));
    let (status, out, err) =
        stage.run(&format!("{SMALL} --env native,x=oci:runtime={} --only rand-read", path.display()));
    for group in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        drop(fs::remove_dir(group.path().join("bench-careless")));
    }
    drop(fs::remove_dir("/sys/fs/cgroup/bench-careless"));
    assert_eq!(status, 69, "{out}{err}");
    assert!(err.contains("made a container that is not limited as asked: process "), "{err}");
}

#[test]
fn crun_measures_or_says_that_it_does_not_know_these_cgroups() {
    if !Path::new(CRUN).exists() {
        eprintln!("skipped: there is no {CRUN}");
        return;
    }
    let Some((stage, _alone)) = stage_alone() else { return };
    let child = stage.spawn(&format!("{SMALL} --env native,crun=oci:runtime={CRUN} --only rand-read"));
    let pid = child.id();
    let (status, out, err) = wait(child);
    stage.assert_clean(pid);
    if status != 0 {
        assert_eq!(status, 69, "{out}{err}");
        assert!(err.contains("create` failed") && err.contains("hybrid"), "{err}");
    }
    println!("crun: exit code {status}: {err}");
}
