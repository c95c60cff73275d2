//! Environments of Docker, by the real binary and a real engine: one of the run's own, and one that runs on the machine already.

mod support;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use support::{Machine, Stage, cgroups, contained, eventually, finish, members, names, stage, unchecked, wait};

const SMALL: &str = "run --suite io --profile smoke --size 64MiB --only rand-read";

/// Engines and what they leave are the whole machine's: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A place, alone on the machine, or `None` where there is no root or no Docker: then the reason is said.
fn stage_with_docker() -> Option<(Stage, MutexGuard<'static, ()>)> {
    for name in ["dockerd", "containerd", "runc"] {
        let folders = ["/usr/sbin", "/usr/bin", "/usr/local/bin", "/usr/local/sbin"];
        if !folders.iter().any(|folder| Path::new(folder).join(name).exists()) {
            eprintln!("skipped: `{name}` is not installed (package docker.io), so that there is no Docker to measure");
            return None;
        }
    }
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Some((stage()?, alone))
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn trials(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("trials.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The trials of an environment, all of which are valid.
fn valid_trials(run: &Path, environment: &str) -> Vec<Value> {
    let found: Vec<_> = trials(run).into_iter().filter(|trial| trial["environment"] == environment).collect();
    assert!(!found.is_empty(), "{environment}");
    for trial in &found {
        assert_eq!((&trial["failure"], &trial["invalid"]), (&Value::Null, &json!([])), "{environment}");
    }
    found
}

/// Command lines of running processes in which this occurs.
fn running(part: &str) -> Vec<String> {
    let line = |pid: String| fs::read(format!("/proc/{pid}/cmdline")).ok();
    let lines = names(Path::new("/proc")).into_iter().filter(|name| name.parse::<u32>().is_ok()).filter_map(line);
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(part)).collect()
}

/// Nothing of an engine of this process of bench is left: no process, no folder.
fn assert_no_engine(pid: u32) {
    eventually("the end of the engine's processes", || running(&format!("engine-{pid}-")).is_empty());
    for folder in ["/run", "/var/lib/bench"] {
        let left: Vec<_> =
            names(Path::new(folder)).into_iter().filter(|name| name.contains(&format!("-{pid}-"))).collect();
        assert_eq!(left, Vec::<String>::new(), "in {folder}");
    }
}

#[test]
fn a_run_with_an_engine_of_its_own_measures_docker_and_leaves_nothing() {
    let Some((stage, _alone)) = stage_with_docker() else { return };
    let before = Machine::now();
    let child = stage.spawn(&format!(
        "{SMALL} --env native,container,docker:engine=private,open=docker:engine=private:seccomp=unconfined"
    ));
    let pid = child.id();
    let (status, out, err) = wait(child);
    assert_eq!(status, 0, "{out}{err}");
    stage.assert_clean(pid);
    assert_no_engine(pid);
    before.assert_comes_back();
    let run = stage.only_run();
    let record = json_of(&run.join("run.json"));
    let [native, container, docker, open] = [0, 1, 2, 3].map(|index| record["environments"][index].clone());
    assert_eq!((&docker["kind"], &docker["class"]), (&json!("docker"), &json!("container")));
    assert_eq!(docker["capabilities"], json!(["docker"]));
    for axis in ["fio sha256", "cpus", "memory", "kernel"] {
        assert_eq!(docker["sameness"][axis], container["sameness"][axis], "{axis}");
    }
    assert_eq!(docker["sameness"]["fio sha256"], native["sameness"]["fio sha256"]);
    let filters =
        |environment: &Value| environment["sameness"]["seccomp filters"].as_str().unwrap().parse::<u32>().unwrap();
    assert_eq!((filters(&docker), filters(&open)), (filters(&native) + 1, filters(&native)));
    let isolation = |environment: &Value| environment["sameness"]["isolation"].as_str().unwrap().to_owned();
    assert!(isolation(&docker).contains("default seccomp profile"), "{}", isolation(&docker));
    assert!(isolation(&open).contains("no seccomp filter"), "{}", isolation(&open));
    for name in ["docker", "open"] {
        for trial in valid_trials(&run, name) {
            assert_eq!(trial["facts"]["limits.broken"], 0);
            assert!(trial["facts"]["helpers.cpu_ms"].is_number(), "{trial:#}");
            assert_ne!(trial["facts"]["host.other_busiest"], "fio", "what a container does is ours");
            let of_others =
                |fact: &&str| !["net.", "pace.", "probe.", "warmup."].iter().any(|other| fact.starts_with(other));
            let unchecked: Vec<_> = unchecked(&trial).into_iter().filter(of_others).collect();
            assert!(unchecked.is_empty(), "{name}: {unchecked:?}");
            let metrics = trial["measurements"].as_array().unwrap();
            let value =
                |name: &str| metrics.iter().find(|one| one["metric"] == name).and_then(|one| one["value"].as_f64());
            assert!(value("cpu_ns_per_io").is_some_and(|ns| ns > 500.0), "CPU time of the container's own group");
        }
    }
    assert_limits(&run, &record);
}

/// The limits that the engine was told are those of the record.
fn assert_limits(run: &Path, record: &Value) {
    let told = json_of(&run.join("raw/b01-instance-docker/container.json"));
    let host = &told["HostConfig"];
    assert_eq!((&host["CpusetCpus"], &host["Memory"]), (&record["limits"]["cpus"], &record["limits"]["memory_bytes"]));
    assert_eq!(told["HostConfig"]["NetworkMode"], "none");
    assert!(host["CgroupParent"].as_str().unwrap().starts_with("/bench-"), "{host:#}");
    assert!(told["Config"]["Labels"]["bench.run"].is_string());
}

/// Where the engine of the run itself is: the processes of its group.
fn engine_group(pid: u32) -> Option<PathBuf> {
    let is_engine = |group: &&PathBuf| {
        members(group)
            .iter()
            .any(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "dockerd"))
    };
    cgroups(pid).iter().find(is_engine).cloned()
}

/// True while the measured tool runs in a container of the process `pid` of bench.
fn measures_in_container(pid: u32) -> bool {
    let is_fio = |pid: &String| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "fio");
    let nested = cgroups(pid).into_iter().flat_map(|group| names(&group).into_iter().map(move |name| group.join(name)));
    nested.filter(|group| group.is_dir()).any(|group| members(&group).iter().any(is_fio))
}

/// Docker's bridge and rules lead to the lab's peer, and are proved by their own counters.
#[test]
fn the_network_suite_goes_through_dockers_own_nat() {
    let Some((stage, _alone)) = stage_with_docker() else { return };
    let before = (Machine::now(), rules());
    let environments = "native,container:net=nat,docker,docker-host=docker:net=host";
    let child = stage.spawn(&format!("run --suite network --profile smoke --env {environments} --only tcp-rr,udp-rr"));
    let pid = child.id();
    let (status, out, err) = wait(child);
    assert_eq!(status, 0, "{out}{err}");
    stage.assert_clean(pid);
    assert_no_engine(pid);
    before.0.assert_comes_back();
    assert_eq!(rules(), before.1, "the machine's own rules");
    let run = stage.only_run();
    let path = |at: usize| json_of(&run.join("run.json"))["environments"][at]["sameness"]["network path"].clone();
    assert!(path(2).as_str().unwrap().contains("the engine's iptables rules"), "{}", path(2));
    for trial in trials(&run) {
        assert_eq!((&trial["failure"], &trial["invalid"]), (&Value::Null, &json!([])), "{}", trial["id"]);
        let packets = trial["facts"]["net.rule_packets"].as_u64().is_some_and(|packets| packets > 0);
        assert_eq!(
            packets,
            ["container", "docker"].contains(&trial["environment"].as_str().unwrap()),
            "{}",
            trial["id"]
        );
    }
    let kept = json_of(&run.join("raw/b01-instance-docker/container.json"));
    assert_eq!(kept["HostConfig"]["NetworkMode"], "bridge");
}

/// The rules of the machine's own network.
fn rules() -> Vec<u8> {
    Command::new("nft").args(["list", "ruleset"]).output().map(|output| output.stdout).unwrap_or_default()
}

#[test]
fn after_a_kill_in_a_trial_clean_ends_the_engine_and_its_container() {
    let Some((stage, _alone)) = stage_with_docker() else { return };
    let before = Machine::now();
    let mut child = stage.spawn(&format!("{SMALL} --blocks 20 --env docker:engine=private"));
    let pid = child.id();
    eventually("a trial in the container", || measures_in_container(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(engine_group(pid).is_some(), "the engine outlives bench");
    let (status, out, err) = stage.run("clean");
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("container bench-") && out.contains("image bench-tools:"), "{out}");
    assert_eq!(contained(pid), Vec::<String>::new());
    stage.assert_clean(pid);
    assert_no_engine(pid);
    before.assert_comes_back();
}

#[test]
fn an_engine_that_dies_in_a_trial_fails_it_and_nothing_is_left() {
    let Some((stage, _alone)) = stage_with_docker() else { return };
    let child = stage.spawn(&format!("{SMALL} --env native,docker:engine=private"));
    let pid = child.id();
    eventually("a trial in the container", || measures_in_container(pid));
    let engine = engine_group(pid).unwrap();
    for member in members(&engine) {
        kill(Pid::from_raw(member.parse().unwrap()), Signal::SIGKILL).ok();
    }
    let (status, out, err) = wait(child);
    assert_eq!(status, 3, "{out}{err}");
    let failed: Vec<_> =
        trials(&stage.only_run()).into_iter().filter(|trial| trial["environment"] == "docker").collect();
    let why = failed[0]["failure"].as_str().unwrap().to_owned();
    assert!(why.contains("the Docker engine went away") || why.contains("the container ended"), "{why}");
    stage.assert_clean(pid);
    assert_no_engine(pid);
}

/// With sudo, the target lies in somebody's folder: bench opens it once, where only it and its children see it.
#[test]
fn a_target_in_a_callers_folder_is_seen_by_an_engine_of_the_runs_own() {
    let Some((stage, _alone)) = stage_with_docker() else { return };
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    std::os::unix::fs::chown(folder.path(), Some(12_345), Some(12_345)).unwrap();
    let run = |engine: &str, host: Option<String>| {
        let mut command = stage.bench(&format!("{SMALL} --env native,docker:engine={engine}"));
        command.current_dir(folder.path()).env("SUDO_UID", "12345").env("SUDO_GID", "12345");
        command.envs(host.map(|host| ("DOCKER_HOST", host)));
        finish(command)
    };
    let (status, out, err) = run("private", None);
    assert_eq!(status, 0, "{out}{err}");
    let runs = folder.path().join("bench-runs");
    let found: Vec<_> =
        names(&runs).into_iter().map(|name| runs.join(name)).filter(|run| run.join("run.json").exists()).collect();
    valid_trials(&found[0], "docker");

    let engine = MachinesEngine::start();
    let (status, _, err) = run("machine", Some(engine.host()));
    assert_eq!(status, 69, "{err}");
    assert!(err.contains("lies where others than root can write") && err.contains("engine=private"), "{err}");
    assert_eq!((engine.has("containers"), engine.has("images")), (0, 0));
}

/// An engine that runs on the machine already, apart from bench.
struct MachinesEngine {
    child: Child,
    folder: tempfile::TempDir,
}

impl MachinesEngine {
    fn start() -> MachinesEngine {
        let folder = tempfile::tempdir_in("/var/tmp").unwrap();
        let socket = folder.path().join("docker.sock");
        let at = folder.path().display();
        // A `/run` of its own keeps it from the sockets of any other engine.
        let script = format!(
            "mount -t tmpfs tmpfs /run && echo {{}} > /run/empty.json && exec dockerd --config-file /run/empty.json --data-root {at}/data \
             --exec-root /run/docker --pidfile /run/docker.pid --host unix://{at}/docker.sock --bridge none --iptables=false \
             --ip-forward=false --exec-opt native.cgroupdriver=cgroupfs"
        );
        let mut command = Command::new("unshare");
        command.args(["--mount", "--net", "sh", "-c", &script]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap();
        let engine = MachinesEngine { child, folder };
        eventually("an engine of the machine", || UnixStream::connect(&socket).is_ok());
        engine
    }

    /// `bench`, which is told of it.
    fn told(&self, mut command: Command) -> Command {
        command.env("DOCKER_HOST", self.host());
        command
    }

    fn host(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.path().display())
    }

    /// Ids that it lists: of `containers` or `images`.
    fn has(&self, what: &str) -> usize {
        use std::io::{Read, Write};
        let mut stream = UnixStream::connect(self.folder.path().join("docker.sock")).unwrap();
        write!(stream, "GET /{what}/json?all=true HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        serde_json::from_str::<Value>(body).unwrap().as_array().unwrap().len()
    }
}

impl Drop for MachinesEngine {
    /// It ends its containerd, and its mounts go with its namespace.
    fn drop(&mut self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_machines_engine_is_used_where_one_runs_and_is_left_as_it_was() {
    let Some((stage, _alone)) = stage_with_docker() else { return };
    let engine = MachinesEngine::start();
    let (status, out, err) = finish(engine.told(stage.bench(&format!("{SMALL} --env native,docker"))));
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!((engine.has("containers"), engine.has("images")), (0, 0));
    let run = stage.only_run();
    valid_trials(&run, "docker");
    let isolation = json_of(&run.join("run.json"))["environments"][1]["sameness"]["isolation"].to_string();
    assert!(isolation.contains("the machine's engine"), "{isolation}");
    let (_, out, _) = finish(engine.told(stage.bench("doctor")));
    assert!(out.contains("docker.sock"), "{out}");

    // And after a kill.
    let mut command = engine.told(stage.bench(&format!("{SMALL} --blocks 20 --env docker")));
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let pid = child.id();
    eventually("a trial in the container", || measures_in_container(pid));
    child.kill().unwrap();
    child.wait().unwrap();
    let (status, out, err) = stage.run("clean");
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!((engine.has("containers"), engine.has("images")), (0, 0));
    stage.assert_clean(pid);
}

#[test]
fn what_docker_cannot_do_here_is_refused_with_what_to_do() {
    let Some(stage) = stage() else { return };
    let nobody = |arguments: &str, host: &str| {
        let mut command = stage.bench(arguments);
        command.env("DOCKER_HOST", host);
        finish(command)
    };
    let none = "unix:///var/tmp/no-such/docker.sock";
    for (arguments, host, said) in [
        ("run --suite network --env native,docker:engine=machine", none, "Leave out engine=machine"),
        ("run --env docker", none, "no Docker engine answers at /var/tmp/no-such/docker.sock"),
        ("run --env docker:engine=machine", none, "engine=private"),
        ("run --env docker", "tcp://192.0.2.1:2375", "give unix:///PATH"),
    ] {
        let (status, _, err) = nobody(&format!("{arguments} --profile smoke --dry-run"), host);
        assert!([2, 69].contains(&status) && err.contains(said), "{arguments}: {status} {err}");
    }
    let (status, _, err) = nobody("run --profile smoke --env native,docker -- true", none);
    assert_eq!(status, 69, "{err}");
    assert!(err.contains("cannot execute commands yet"), "{err}");
}
