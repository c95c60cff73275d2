//! Running the real binary with state and lock of its own.
#![allow(dead_code)]

pub mod desk;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// Where the machine's lock is, which only one run holds.
const MACHINE: &str = "/run/bench";
/// Where ledgers are.
const STATE: &str = "/var/lib/bench";
/// Root's trees and images.
const CACHE: &str = "/var/cache/bench";

/// A place for one test: state, runs, and what must be as before at the end.
pub struct Stage {
    folder: tempfile::TempDir,
    /// In place of the machine's folders.
    own: tempfile::TempDir,
    before: Vec<String>,
}

/// A place, or `None` when this is not root: then the reason is said.
pub fn stage() -> Option<Stage> {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: it needs root (cgroups, namespaces, mounts); run `make test`");
        return None;
    }
    [MACHINE, STATE, CACHE].into_iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
    let folder = tempfile::tempdir_in(disk()).unwrap();
    let own = tempfile::tempdir_in(disk()).unwrap();
    ["machine", "state"].into_iter().for_each(|name| std::fs::create_dir(own.path().join(name)).unwrap());
    count_by_group(folder.path());
    Some(Stage { folder, own, before: mounts() })
}

/// A folder on a disk where what root makes is root's: below somebody else's, it would be touched with their rights.
fn disk() -> &'static Path {
    let here = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let is_roots = |path: &Path| path.metadata().is_ok_and(|found| found.uid() == 0 && found.mode() & 0o022 == 0);
    if here.ancestors().all(is_roots) { here } else { Path::new("/var/tmp") }
}

/// cgroup v1 counts a disk's bytes by group only after some limit was set on it since the machine was booted.
fn count_by_group(path: &Path) {
    let disk = disk_folder(path);
    let whole = if disk.join("partition").exists() { "../dev" } else { "dev" };
    let Ok(whole) = std::fs::read_to_string(disk.join(whole)) else { return };
    for limit in ["1000000000000", "0"] {
        drop(std::fs::write(
            "/sys/fs/cgroup/blkio/blkio.throttle.read_bps_device",
            format!("{} {limit}", whole.trim()),
        ));
    }
}

/// The folder in sysfs of the disk, or partition, beneath a path.
pub fn disk_folder(path: &Path) -> PathBuf {
    let number = path.metadata().unwrap().dev();
    format!("/sys/dev/block/{}:{}", nix::sys::stat::major(number), nix::sys::stat::minor(number)).into()
}

/// Write a program.
pub fn write_program(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

impl Stage {
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// `bench` with these arguments.
    pub fn bench(&self, arguments: &str) -> Command {
        self.program(Path::new(env!("CARGO_BIN_EXE_bench")), arguments)
    }

    /// A program that ends in `bench`, with these arguments.
    pub fn program(&self, path: &Path, arguments: &str) -> Command {
        let mut command = Command::new(path);
        command.args(arguments.split_whitespace());
        self.own(&mut command);
        command
    }

    /// Let a command start in this place, and in a mount namespace where lock and ledgers are this place's own: others test at the
    /// same time, and no variable moves the lock.
    pub fn own(&self, command: &mut Command) {
        command.env_remove("BENCH_STATE_DIR").env_remove("SUDO_UID").env_remove("SUDO_GID");
        command.current_dir(self.path()).stdin(Stdio::null());
        let own = [("machine", MACHINE), ("state", STATE)].map(|(name, of)| (self.own.path().join(name), of));
        let enter = move || {
            unshare(CloneFlags::CLONE_NEWNS)?;
            mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_SLAVE, NOTHING)?;
            own.iter().try_for_each(|(from, to)| bind(from, to))
        };
        // SAFETY: system calls alone, with paths that are made already.
        unsafe { command.pre_exec(enter) };
    }

    /// Where its ledgers are.
    pub fn ledgers(&self) -> PathBuf {
        self.own.path().join("state/ledgers")
    }

    /// The same with a cache of its own, for a command of this place.
    pub fn own_cache(command: &mut Command, cache: &Path) {
        let cache = cache.to_path_buf();
        // SAFETY: a system call alone, with paths that are made already.
        unsafe { command.pre_exec(move || bind(&cache, CACHE)) };
    }

    /// A line for a shell, which becomes its last command, where `bench` would be started.
    pub fn shell(&self, line: &str) -> Command {
        let mut command = self.program(Path::new("sh"), "-c");
        command.arg(format!("exec {line}"));
        command
    }

    /// `bench` as a program that is told of no stolen CPU time: the hypervisor beneath must not spoil what is asked about
    /// something else. (Its `/proc/stat` stands still: CPU per I/O of the whole machine means nothing there.)
    pub fn unrobbed(&self) -> PathBuf {
        let stat = self.path().join("stat");
        std::fs::write(&stat, std::fs::read("/proc/stat").unwrap()).unwrap();
        self.told_by(&stat)
    }

    /// `bench` as a program that reads this file as its `/proc/stat`.
    pub fn told_by(&self, stat: &Path) -> PathBuf {
        let program = self.path().join("told");
        let (stat, bench) = (stat.display(), env!("CARGO_BIN_EXE_bench"));
        let inside = format!("mount --bind {stat} /proc/stat && exec \"$@\"");
        write_program(&program, &format!("#!/bin/sh\nexec unshare --mount sh -c '{inside}' sh {bench} \"$@\"\n"));
        program
    }

    /// Run it to its end: status, standard output, standard error.
    pub fn run(&self, arguments: &str) -> (i32, String, String) {
        finish(self.bench(arguments))
    }

    /// `bench container run ARGUMENTS -- sh -c SCRIPT`.
    pub fn container(&self, arguments: &str, script: &str) -> (i32, String, String) {
        let mut command = self.bench(&format!("container run {arguments}"));
        command.args(["--", "sh", "-c", script]);
        finish(command)
    }

    /// Start it, with standard error to be read.
    pub fn spawn(&self, arguments: &str) -> Child {
        self.bench(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Write the suite `./NAME.toml` of random reads under this load, with a profile that judges: `load` and `profile` are lines of it.
    pub fn write_suite(&self, name: &str, load: &str, profile: &str) {
        let text = format!(
            "name = \"{name}\"\ntitle = \"for tests\"\nenvironments = [\"native\"]\n\n[[workload]]\nname = \"rand-read\"\n\
             title = \"random read\"\ndeciding = \"iops\"\npattern = \"random-read\"\nblock-size = \"4KiB\"\n{load}\n\n\
             [[profile]]\n{profile}\nmargin = \"10%\"\nverdicts = true\n"
        );
        std::fs::write(self.path().join(format!("{name}.toml")), text).unwrap();
    }

    /// The folder of the only run.
    pub fn only_run(&self) -> PathBuf {
        let runs = std::fs::read_dir(self.path().join("bench-runs")).unwrap().flatten().map(|entry| entry.path());
        let runs: Vec<_> = runs.filter(|path| path.join("run.json").exists()).collect();
        assert_eq!(runs.len(), 1, "{runs:?}");
        runs[0].clone()
    }

    /// Nothing of this process id is left: no group, no folder in memory, no mount, no target, no ledger.
    pub fn assert_clean(&self, pid: u32) {
        let groups = cgroups(pid);
        assert!(groups.is_empty(), "{groups:?}");
        assert_eq!(processes(pid), Vec::<String>::new());
        for folder in ["/run", "/dev/shm"] {
            let left = names(Path::new(folder)).into_iter().find(|name| name.starts_with(&format!("bench-{pid}-")));
            assert_eq!(left, None, "in {folder}");
        }
        assert_eq!(mounts(), self.before);
        let hidden = names(&self.path().join("bench-runs")).into_iter().find(|name| name.starts_with('.'));
        assert_eq!(hidden, None);
        assert_eq!(names(&self.ledgers()), Vec::<String>::new());
    }
}

const NOTHING: Option<&str> = None;

fn bind(from: &Path, to: &str) -> std::io::Result<()> {
    Ok(mount(Some(from), to, NOTHING, MsFlags::MS_BIND, NOTHING)?)
}

impl Drop for Stage {
    /// What a test leaves that failed between a kill and its `clean` would spoil the next ones, and stay on the machine.
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.run("clean");
        }
    }
}

/// A root folder with a static busybox and nothing else.
pub fn busybox_root(stage: &Stage) -> PathBuf {
    let root = stage.path().join("root");
    std::fs::create_dir_all(root.join("bin")).unwrap();
    std::fs::copy("/usr/bin/busybox", root.join("bin/busybox"))
        .or_else(|_| std::fs::copy("/bin/busybox", root.join("bin/busybox")))
        .unwrap();
    for name in ["sh", "sleep", "echo", "cat", "true", "grep", "ls"] {
        std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    root
}

fn text(output: &Output) -> (i32, String, String) {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (status, out) = (output.status.code().unwrap_or(-1), lossy(&output.stdout));
    (if status == 3 && is_only_stolen(&out) { 0 } else { status }, out, lossy(&output.stderr))
}

/// What makes a trial invalid because of the machine that the test happens to be on.
pub const STOLEN: &str = "the hypervisor beneath took";

/// True when no trial of a run failed, and those that are invalid are so because the hypervisor beneath this machine took its CPUs away.
fn is_only_stolen(out: &str) -> bool {
    let words = out.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut invalid = words.split("invalid: b").skip(1).peekable();
    let is_stolen = |rest: &str| rest.split_once(": ").is_some_and(|(_, reason)| reason.starts_with(STOLEN));
    !words.contains("failed: b") && invalid.peek().is_some() && invalid.all(is_stolen)
}

/// Run a command to its end.
pub fn finish(mut command: Command) -> (i32, String, String) {
    text(&command.output().unwrap())
}

/// The checks that nobody makes in a trial, since it has no figure for them; without those that only some machines or jobs have, and in
/// other environments than guests those of guests.
pub fn unchecked(trial: &serde_json::Value) -> Vec<&'static str> {
    const SOME: [&str; 4] =
        ["cpu.throttle_events", "cpu.frequency_percent", "host.memory_stalled_percent", "fio.steady_attained"];
    let is_guest = !trial["accelerator"].is_null();
    let facts = bench_results::validity::CHECKS.iter().map(|check| check.fact);
    let due = |fact: &&str| {
        let of_guests = fact.starts_with("guest.") || fact.starts_with("vmm.");
        !SOME.contains(fact) && (is_guest || !of_guests)
    };
    facts.filter(due).filter(|fact| !trial["facts"][fact].is_number()).collect()
}

/// Wait for a started one.
pub fn wait(child: Child) -> (i32, String, String) {
    text(&child.wait_with_output().unwrap())
}

pub fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn mounts() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    text.lines().map(|line| line.split(' ').nth(4).unwrap_or_default().to_owned()).collect()
}

/// The groups that the process `pid` of bench made.
pub fn cgroups(pid: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    find_groups(Path::new("/sys/fs/cgroup"), &[format!("bench-{pid}-"), format!("bench-container-{pid}")], &mut found);
    found
}

/// Ids of the processes in a group; none where it is gone.
pub fn members(group: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// Ids of all processes that the process `pid` of bench put into groups.
pub fn contained(pid: u32) -> Vec<String> {
    cgroups(pid).iter().flat_map(|group| members(group)).collect()
}

/// True when a test without libtest's main, which is also a program of its own, is asked for: with names to filter by, and how to print.
pub fn asks_for(words: &[&str], name: &str) -> bool {
    words.iter().all(|word| word.starts_with('-') || name.contains(word))
}

/// The number of an instance, by the name of its group: `bench-PID-DIGITS-NUMBER`.
pub fn instance(group: &Path) -> Option<u32> {
    group.file_name()?.to_str()?.rsplit('-').next()?.parse().ok()
}

fn find_groups(folder: &Path, prefixes: &[String], found: &mut Vec<PathBuf>) {
    for name in names(folder) {
        let path = folder.join(&name);
        if path.is_dir() && !path.is_symlink() {
            if prefixes.iter().any(|prefix| name.starts_with(prefix)) {
                found.push(path.clone());
            }
            find_groups(&path, prefixes, found);
        }
    }
}

/// Command lines of processes that carry the name of an instance of `pid`.
fn processes(pid: u32) -> Vec<String> {
    let command_line = |name: &String| std::fs::read(format!("/proc/{name}/cmdline")).ok();
    let lines = names(Path::new("/proc")).into_iter().filter(|name| name.parse::<u32>().is_ok());
    let lines =
        lines.filter_map(|name| command_line(&name)).map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&format!("/bench-{pid}-"))).collect()
}

/// The network namespaces that any process is in.
pub fn namespaces() -> BTreeSet<PathBuf> {
    namespaces_of("net")
}

fn namespaces_of(kind: &str) -> BTreeSet<PathBuf> {
    let link = |pid: String| std::fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    names(Path::new("/proc")).into_iter().filter_map(link).collect()
}

/// A file or device that the kernel swaps to; not any more when the test ends.
pub struct Swap(PathBuf);

impl Swap {
    /// Absent where the kernel or the file system has no use for one.
    pub fn on(path: PathBuf) -> Option<Swap> {
        let done = |program| Command::new(program).arg(&path).output().is_ok_and(|output| output.status.success());
        let is_on = done("mkswap") && done("swapon");
        is_on.then_some(path).map(Swap)
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let is_off = Command::new("swapoff").arg(&self.0).status().is_ok_and(|status| status.success());
        assert!(is_off || std::thread::panicking(), "{} is still swapped to", self.0.display());
    }
}

/// What of the machine must be after a run as it was before: name to value.
#[derive(Debug, PartialEq, Eq)]
pub struct Machine(BTreeMap<String, String>);

impl Machine {
    /// Network devices, addresses, routes, rules, settings, mounts, loop devices, namespaces, and files in memory.
    pub fn now() -> Machine {
        let sorted = |folder: &str| names(Path::new(folder)).into_iter().collect::<BTreeSet<_>>();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let rules = Command::new("nft").args(["list", "ruleset"]).output();
        let loops = sorted("/sys/block").into_iter().filter(|name| {
            name.starts_with("loop") && Path::new(&format!("/sys/block/{name}/loop/backing_file")).exists()
        });
        let bench =
            |folder: &str| sorted(folder).into_iter().filter(|name| name.starts_with("bench-")).collect::<Vec<_>>();
        let mut facts = BTreeMap::from([
            ("devices".to_owned(), format!("{:?}", sorted("/sys/class/net"))),
            ("routes".to_owned(), read("/proc/net/route")),
            ("addresses".to_owned(), read("/proc/net/fib_trie") + &read("/proc/net/if_inet6")),
            (
                "rules".to_owned(),
                rules.map(|out| String::from_utf8_lossy(&out.stdout).into_owned()).unwrap_or_default(),
            ),
            ("loop devices".to_owned(), format!("{:?}", loops.collect::<Vec<_>>())),
            ("mounts".to_owned(), format!("{:?}", mounts())),
            ("files in /run".to_owned(), format!("{:?}", bench("/run"))),
            ("files in /dev/shm".to_owned(), format!("{:?}", bench("/dev/shm"))),
        ]);
        // Services of the machine make the other kinds for themselves at any time.
        for kind in ["net", "pid", "ipc", "cgroup", "time"] {
            facts.insert(format!("{kind} namespaces"), format!("{:?}", namespaces_of(kind)));
        }
        for name in [
            "net/ipv4/ip_forward",
            "net/ipv4/tcp_rmem",
            "net/ipv4/tcp_wmem",
            "net/ipv4/tcp_congestion_control",
            "net/ipv4/tcp_no_metrics_save",
            "net/ipv6/conf/all/disable_ipv6",
            "net/bridge/bridge-nf-call-iptables",
            "net/core/default_qdisc",
            "kernel/hostname",
            "vm/swappiness",
        ] {
            facts.insert(name.to_owned(), read(&format!("/proc/sys/{name}")));
        }
        Machine(facts)
    }

    /// What is not as it was.
    pub fn differences(&self, before: &Machine) -> Vec<String> {
        let changed = self.0.iter().filter(|(name, value)| before.0.get(*name) != Some(value));
        changed.map(|(name, value)| format!("{name}: {:?} became {value:?}", before.0.get(name))).collect()
    }

    /// Asserts that the machine comes to be as it was, within a minute: what a killed process leaves behind dead keeps its PID
    /// namespace until the first process of the machine looks after it.
    pub fn assert_comes_back(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !Machine::now().differences(self).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(Machine::now().differences(self), Vec::<String>::new());
    }
}

/// Wait until something holds, at most a minute.
pub fn eventually(what: &str, holds: impl FnMut() -> bool) {
    within(Duration::from_secs(60), what, holds);
}

/// The same with another patience.
pub fn within(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "{what} did not come to pass");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A device on a file.
pub struct Loop(pub String);

impl Loop {
    pub fn on(path: &Path) -> Loop {
        std::fs::File::create(path).unwrap().set_len(32 << 20).unwrap();
        let made = Command::new("losetup").args(["--find", "--show"]).arg(path).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        Loop(String::from_utf8(made.stdout).unwrap().trim().to_owned())
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}
