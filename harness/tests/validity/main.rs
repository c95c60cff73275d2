//! Real disturbances of real trials: each must be found, named, and kept out of the numbers, and a clean trial must pass.

mod network;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use support::{STOLEN, Stage, Swap, cgroups, disk_folder, eventually, finish, instance, wait, write_program};

/// These tests count bytes on the disk and time on the CPUs that they share: one at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn stage() -> Option<(MutexGuard<'static, ()>, Stage)> {
    let guard = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    support::stage().map(|stage| (guard, stage))
}

/// What was printed, without its line breaks.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A profile whose trials are short and yet judged.
const PROFILE: &str = r#"
name = "short"
blocks = 1
runtime = "RUNTIME"
warm-up = "200ms"
settle = "0s"
size = "32MiB"
"#;

fn suite(stage: &Stage, runtime: &str) -> String {
    stage.write_suite("mine", "iodepth = 16\njobs = 2", &PROFILE.replace("RUNTIME", runtime));
    "run --suite ./mine.toml --profile short --no-control".to_owned()
}

/// `native` with a fio that changes its job file by this sed script first.
fn changed_fio(stage: &Stage, name: &str, script: &str) -> String {
    late_fio(stage, name, "native", &format!("sed -i '{script}' job.fio"))
}

/// An environment with a fio before which something else is done, with the target's path in `$target`.
fn late_fio(stage: &Stage, name: &str, environment: &str, before: &str) -> String {
    let path = stage.path().join(name);
    let target = "target=$(sed -n 's/^filename=//p' job.fio | head -n 1)";
    write_program(&path, &format!("#!/bin/sh\n{target}\n{before}\nexec fio \"$@\"\n"));
    format!("{name}={environment}:fio={}", path.display())
}

/// True, and said, where a container or a guest could not see what the test puts in its place.
fn is_hidden(stage: &Stage) -> bool {
    let hidden = bench_container::SPECIAL.into_iter().find(|folder| stage.path().starts_with(folder));
    hidden.inspect(|folder| eprintln!("skipped: what lies below {folder} is not seen inside")).is_some()
}

/// True of a trial that did not fail, and is invalid at most because of the machine that the test happens to be on.
fn is_valid(trial: &serde_json::Value) -> bool {
    let is_stolen = |reason: &serde_json::Value| reason.as_str().is_some_and(|reason| reason.starts_with(STOLEN));
    trial["failure"].is_null() && trial["invalid"].as_array().is_some_and(|reasons| reasons.iter().all(is_stolen))
}

/// The only trial of each environment of the only run.
struct Trials(Vec<serde_json::Value>);

impl Trials {
    fn of(stage: &Stage) -> Trials {
        let text = fs::read_to_string(stage.only_run().join("trials.jsonl")).unwrap();
        let all = text.lines().map(|line| serde_json::from_str(line).unwrap());
        Trials(all.filter(|trial: &serde_json::Value| trial["superseded"] == false).collect())
    }

    /// Those of one workload.
    fn only(&self, workload: &str) -> Trials {
        Trials(self.0.iter().filter(|trial| trial["workload"] == workload).cloned().collect())
    }

    fn of_environment(&self, name: &str) -> &serde_json::Value {
        self.0.iter().find(|trial| trial["environment"] == name).unwrap()
    }

    fn fact(&self, environment: &str, name: &str) -> f64 {
        let facts = &self.of_environment(environment)["facts"];
        facts[name].as_f64().unwrap_or_else(|| panic!("{environment} has no {name}: {facts:#}"))
    }

    /// Every one of these words must be in a reason for which the trial is invalid.
    fn assert_invalid(&self, environment: &str, words: &[&str]) {
        let trial = self.of_environment(environment);
        let reasons = trial["invalid"].to_string();
        for word in words {
            assert!(reasons.contains(word), "{environment}: `{word}` is not in {reasons}; {:#}", trial["facts"]);
        }
    }

    fn assert_valid(&self, environment: &str) {
        let trial = self.of_environment(environment);
        assert!(is_valid(trial), "{trial:#}");
    }

    fn assert_remarked(&self, environment: &str, check: &str) {
        let remarks = self.of_environment(environment)["remarks"].as_array().unwrap();
        assert!(remarks.iter().any(|remark| remark["check"] == check), "{check} is not in {remarks:?}");
    }
}

#[test]
fn a_job_that_is_not_the_one_that_was_asked_for_is_invalid() {
    let Some((_alone, stage)) = stage() else { return };
    let fios = [
        changed_fio(&stage, "buffered", "s/direct=1/direct=0/"),
        changed_fio(&stage, "longer", "s/runtime=1000ms/runtime=1300ms/; s/runtime=200ms/runtime=700ms/"),
        changed_fio(&stage, "mapped", "s/direct=1/direct=0/; s/ioengine=libaio/ioengine=mmap/"),
        late_fio(&stage, "more", "native", "dd if=$target of=/dev/null bs=1M iflag=direct"),
    ];
    let (status, out, err) = stage.run(&format!("{} --env native,{}", suite(&stage, "1s"), fios.join(",")));
    assert_eq!(status, 3, "{err}");
    let trials = Trials::of(&stage);
    trials.assert_valid("native");
    assert!(trials.fact("native", "disk.missing_percent") == 0.0 && trials.fact("native", "limits.broken") == 0.0);
    trials.assert_invalid("buffered", &["never reached the disk", "not in the accounting of its cgroup"]);
    // A busy machine adds hundredths of a second.
    let took = |fact: &str, asked: f64| {
        let seconds = trials.fact("longer", fact);
        assert!((asked..asked + 0.1).contains(&seconds), "{fact}: {seconds}");
        (100.0 * seconds).round() / 100.0
    };
    let (measured, warm_up) = (took("runtime.measured_s", 1.3), took("warmup.measured_s", 0.7));
    let said =
        [&*format!("measured part took {measured} s and not 1 s"), &*format!("warm-up took {warm_up} s and not 0.2 s")];
    trials.assert_invalid("longer", &said);
    assert!(trials.fact("longer", "runtime.off_percent") > 25.0);
    trials.assert_invalid("mapped", &["found the asked queue depth"]);
    trials.assert_remarked("mapped", "fio.major_faults");
    trials.assert_remarked("more", "cgroup.io_extra_percent");
    let said = words(&out);
    assert!(said.contains("not reportable:") && said.contains("executed another fio than `native`"), "{out}");
    let page = fs::read_to_string(stage.only_run().join("report/index.html")).unwrap();
    let first = page.find("Not reportable").unwrap();
    assert!(first < page.find("<main>").unwrap(), "it stands on the first screen");
}

#[test]
fn fios_files_are_in_memory_and_its_large_ios_are_one_request_everywhere() {
    let Some((_alone, stage)) = stage() else { return };
    if is_hidden(&stage) {
        return;
    }
    // Builds and tests before this one have scattered what is free, and left much to be written.
    let _ = fs::write("/proc/sys/vm/compact_memory", "1");
    nix::unistd::sync();
    let kinds = [("here", "native"), ("inside", "container"), ("guest", "vm:accel=tcg")];
    let in_memory = r#"[ "$(stat -f -c %T "$TMPDIR")" = tmpfs ] || exit 9"#;
    let fios = kinds.map(|(name, environment)| late_fio(&stage, name, environment, in_memory)).join(",");
    let run = "run --suite io --profile smoke --only seq-read,seq-write --no-control --env";
    let (status, out, err) = stage.run(&format!("{run} {fios}"));
    assert_eq!(status, 0, "{out}{err}");
    let huge_pages = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    if huge_pages.is_empty() || huge_pages.contains("[never]") {
        eprintln!("skipped in part: this kernel gives no huge pages ({huge_pages:?})");
        return;
    }
    let host = (1 << 20).min(largest_request(stage.path())) as f64;
    for trial in Trials::of(&stage).0 {
        // How the host's kernel lays out a guest's memory is not fio's to say: of a guest only its own requests.
        let (whose, least) = match trial["environment"] == "guest" {
            true => ("guest", 0.95 * f64::from(1 << 20)),
            false => ("disk", 0.9 * host),
        };
        let fact = |name: &str| trial["facts"][name].as_f64().unwrap_or_else(|| panic!("no {name} in {trial}"));
        let [read, written, mean] = ["read", "written", "request"].map(|what| fact(&format!("{whose}.{what}_bytes")));
        // Whatever is not fio's is taken for pages: so its programs are loaded, hundreds of them in this second where they are not in memory.
        let fios = fact("fio.bytes");
        let requests = (read + written) / mean - (read + written - fios).max(0.0) / 4096.0;
        assert!(fios / requests >= least, "{whose}: {} bytes, at least {least}, in {trial}", fios / requests);
    }
}

/// Bytes of the largest request that the disk beneath a path is given (kernel: sysfs-block, `max_sectors_kb`).
fn largest_request(path: &Path) -> u64 {
    let disk = disk_folder(path);
    let queue = ["queue", "../queue"].map(|queue| fs::read_to_string(disk.join(queue).join("max_sectors_kb")));
    queue.into_iter().flatten().next().unwrap().trim().parse::<u64>().unwrap() << 10
}

#[test]
fn a_tool_that_is_replaced_during_the_run_is_invalid_and_ends_it() {
    let Some((_alone, stage)) = stage() else { return };
    let renewed = late_fio(&stage, "renewed", "native", "[ ! -e job.fio ] || { cp $0 $0.new && mv $0.new $0; }");
    let (status, _, err) = stage.run(&format!("{} --blocks 2 --env {renewed}", suite(&stage, "1s")));
    let path = stage.path().join("renewed");
    assert_eq!(status, 2, "{err}");
    assert!(err.contains(&format!("{} changed since the run began", path.display())), "{err}");
    let trials = Trials::of(&stage);
    trials.assert_invalid("renewed", &[&format!("changed since the run began, such as {}", path.display())]);
    assert_eq!(trials.0.len(), 1, "there is no second block");
}

#[test]
fn a_copy_that_a_container_executes_is_watched_too() {
    let Some((_alone, stage)) = stage() else { return };
    let cache = stage.path().join("cache");
    fs::create_dir(&cache).unwrap();
    let renew = format!(
        "[ ! -e job.fio ] || for copy in {}/tree-*/root/usr/bin/fio; do cp $copy $copy.new && mv $copy.new $copy; done",
        cache.display()
    );
    let native = late_fio(&stage, "meanwhile", "native", &renew);
    let mut command = stage.bench(&format!("{} --blocks 2 --env {native},container", suite(&stage, "1s")));
    support::Stage::own_cache(&mut command, &cache);
    let (status, _, err) = finish(command);
    assert_eq!(status, 2, "{err}");
    assert!(err.contains("/root/usr/bin/fio changed since the run began"), "{err}");
    assert_eq!(Trials::of(&stage).0.len(), 2, "there is no second block");
}

#[test]
fn a_guest_moves_exactly_fios_bytes_unless_the_hosts_cache_is_in_its_path_and_a_slow_clock_is_remarked() {
    let Some((_alone, stage)) = stage() else { return };
    let other = format!("cached=vm:accel=tcg:cache=writeback:qemu={}", slow_clock(&stage));
    let environments = format!("native,vm:accel=tcg,{other}");
    // So small that a slow guest, too, reads from the host's cache what it read before.
    let (status, out, err) = stage.run(&format!("{} --size 8MiB --env {environments}", suite(&stage, "1s")));
    assert_eq!(status, 3, "{err}");
    let trials = Trials::of(&stage);
    trials.assert_remarked("cached", "clock.read_ns");
    trials.assert_valid("vm");
    for fact in ["guest.disk_off_bytes", "vmm.disk_off_bytes", "vmm.host_cached", "disk.missing_percent"] {
        assert_eq!(trials.fact("vm", fact), 0.0, "{fact}");
    }
    assert_eq!(trials.fact("vm", "vmm.read_bytes"), trials.fact("vm", "fio.read_bytes"));
    trials
        .assert_invalid("cached", &["host's page cache is in the guest's path", "not in the accounting of its cgroup"]);
    assert!(out.contains("invalid: b01-rand-read-cached"), "{out}");
}

/// A QEMU whose guest reads its clock from a device, as kernels do where the time stamp counter is of no use.
fn slow_clock(stage: &Stage) -> String {
    let qemu = stage.path().join("qemu");
    let script = r#"#!/bin/bash
words=("$@")
for i in "${!words[@]}"; do [ "${words[i]}" != -append ] || words[i+1]+=" clocksource=acpi_pm"; done
exec qemu-system-x86_64 "${words[@]}"
"#;
    write_program(&qemu, script);
    qemu.display().to_string()
}

#[test]
fn a_guest_that_swaps_to_the_target_is_seen_by_its_kernel_and_by_its_vmm() {
    let Some((_alone, stage)) = stage() else { return };
    if is_hidden(&stage) {
        return;
    }
    // A buffer of more than the guest's memory.
    let swaps = "mkswap $target && swapon $target && dd if=/dev/zero of=/dev/null bs=300M count=1; swapoff $target";
    let vm = late_fio(&stage, "swaps", "vm:accel=tcg", swaps);
    let run = suite(&stage, "1s");
    let (status, _, err) = stage.run(&format!("{run} --size 512MiB --memory 256MiB --env {vm}"));
    assert_eq!(status, 3, "{err}");
    let trials = Trials::of(&stage);
    trials.assert_invalid("swaps", &["the guest's kernel moved", "the VMM moved"]);
    trials.assert_remarked("swaps", "guest.swapped_bytes");
    assert!(trials.fact("swaps", "guest.disk_off_bytes") > 1e6 && trials.fact("swaps", "vmm.disk_off_bytes") > 1e6);
}

/// Ends what a test started, also when it fails.
struct Disturbers(Vec<Child>);

impl Drop for Disturbers {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn disturber(folder: &Path, script: &str) -> Child {
    Command::new("sh").args(["-c", script]).current_dir(folder).stderr(Stdio::null()).spawn().unwrap()
}

/// The file of the innermost group of the trial with this name.
fn limit(groups: &[PathBuf], name: &str) -> PathBuf {
    groups.iter().map(|group| group.join(name)).find(|path| path.exists()).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn other_load_other_io_a_quota_and_changed_limits_are_seen_before_and_while_a_trial_runs() {
    let Some((_alone, stage)) = stage() else { return };
    let mut others = Disturbers(vec![disturber(stage.path(), "while :; do :; done")]);
    let child = stage.spawn(&format!("{} --env native", suite(&stage, "2s")));
    let pid = child.id();
    // Instances: 0 is preflight's, 1 drives, 2 measures.
    let groups = || cgroups(pid).into_iter().filter(|path| instance(path) == Some(2)).collect::<Vec<_>>();
    let measuring = || {
        let text: String =
            groups().iter().filter_map(|path| fs::read_to_string(path.join("cgroup.procs")).ok()).collect();
        text.lines().any(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "fio"))
    };
    eventually("the measured fio", measuring);
    others.0.push(disturber(stage.path(), "dd if=/dev/zero of=other bs=1M count=64 oflag=direct"));
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        fs::write(limit(&groups(), "cpu.max"), "30000 100000").unwrap();
        fs::write(limit(&groups(), "memory.max"), "2147483648").unwrap();
    } else {
        fs::write(limit(&groups(), "cpu.cfs_quota_us"), "30000").unwrap();
        fs::write(limit(&groups(), "memory.limit_in_bytes"), "2147483648").unwrap();
    }
    let (status, out, err) = wait(child);
    drop(others);
    assert_eq!(status, 3, "{err}");
    let trials = Trials::of(&stage);
    trials.assert_invalid("native", &["the limit of memory was", "a CPU quota stopped the instance"]);
    trials.assert_remarked("native", "host.other_cpu_percent");
    trials.assert_remarked("native", "disk.extra_percent");
    assert!(trials.fact("native", "disk.extra_percent") > 1.0);
    let said = words(&out);
    for sentence in ["other processes took", "others used it meanwhile", "before the first block others"] {
        assert!(said.contains(sentence), "{sentence}: {out}");
    }
}

#[test]
fn a_process_that_was_killed_for_want_of_memory_makes_its_trial_invalid() {
    let Some((_alone, stage)) = stage() else { return };
    // Each holds what it may have alone until the other end of its pipe has gone; the shell that outlives them reports success.
    let hungry = "for i in 1 2; do dd if=/dev/zero bs=150M count=1 | sleep 2 & done; wait";
    let workload = |name: &str, script: &str| {
        format!(
            "[[workload]]\nname = \"{name}\"\ntitle = \"{name}\"\nkind = \"command\"\ndeciding = \"wall_time_ns\"\nargv = [\"sh\", \"-c\", \"{script}\"]\n"
        )
    };
    let suite = format!(
        "name = \"memory\"\ntitle = \"for a test\"\nenvironments = [\"native\"]\n{}{}[[profile]]\nname = \"smoke\"\n\
         blocks = 1\nruntime = \"1s\"\nwarm-up = \"0s\"\nsettle = \"0s\"\nsize = \"64MiB\"\nmargin = \"10%\"\nverdicts = false\n",
        workload("hungry", hungry),
        workload("modest", "true"),
    );
    fs::write(stage.path().join("memory.toml"), suite).unwrap();
    let arguments = "run --suite ./memory.toml --profile smoke --memory 256MiB --no-control --env native,vm:accel=tcg";
    let (status, _, err) = stage.run(arguments);
    assert_eq!(status, 3, "{err}");
    let trials = Trials::of(&stage);
    let hungry = trials.only("hungry");
    hungry.assert_invalid("native", &["the memory limit of 256 MiB was met and a process was killed"]);
    hungry.assert_invalid("vm", &["the guest was out of memory and killed"]);
    // What comes after it in the same instance is not to blame.
    let modest = trials.only("modest");
    modest.assert_valid("native");
    modest.assert_valid("vm");
}

#[test]
fn a_guest_whose_clock_goes_wrong_and_whose_cpus_are_let_loose_is_invalid() {
    let Some((_alone, stage)) = stage() else { return };
    let mut command = stage.bench("run --profile quick --blocks 1 --no-control --env vm:accel=tcg -- sh -c");
    // Only the guest's own clock: it is the only environment.
    let clocks = "/sys/devices/system/clocksource/clocksource0";
    command
        .arg(format!("adjtimex -t 9000 && sleep 1 && for c in $(cat {clocks}/available_clocksource); do echo $c > {clocks}/current_clocksource; done"))
        .stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let groups = format!("find /sys/fs/cgroup -path '*/bench-{}-*' -name cgroup.procs -exec cat {{}} +", child.id());
    let loosen =
        format!("while sleep 0.1; do for p in $({groups}); do taskset -a -p -c 0,1 $p; done; done >/dev/null 2>&1");
    let loosening = Disturbers(vec![disturber(stage.path(), &loosen)]);
    let (status, _, err) = wait(child);
    drop(loosening);
    assert_eq!(status, 3, "{err}");
    let trials = Trials::of(&stage);
    trials.assert_invalid(
        "vm",
        &["the clock inside went", "changed its clock source", "of the guest's virtual CPUs may run elsewhere"],
    );
    let off = trials.fact("vm", "clock.off_percent");
    assert!((5.0..15.0).contains(&off), "a tick of 9,000 instead of 10,000 is a tenth: {off}");
}

#[test]
fn a_fio_that_is_another_file_inside_is_refused_before_anything_is_measured() {
    let Some((_alone, stage)) = stage() else { return };
    if is_hidden(&stage) {
        return;
    }
    let fio = stage.path().join("fio");
    fs::copy(Path::new("/usr/bin/fio"), &fio).unwrap();
    // The rate of the paced stream is found out in `native` first: time to change the file that was copied for the container.
    let child = stage.spawn(&format!(
        "run --suite network --only tcp-stream-paced-tx --profile smoke --env native,changed=container:net=nat:fio={}",
        fio.display()
    ));
    let pid = child.id();
    eventually("the first instance", || !cgroups(pid).is_empty());
    fs::write(&fio, "#!/bin/sh\necho another file\n").unwrap();
    let (status, _, err) = wait(child);
    assert_eq!(status, 69, "{err}");
    assert!(err.contains("is another file than"), "{err}");
}

#[test]
fn a_host_that_swaps_is_remarked() {
    let Some((_alone, stage)) = stage() else { return };
    let file = stage.path().join("swap");
    // Written whole: a swap file has no holes.
    fs::write(&file, vec![0; 256 << 20]).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let Some(_swap) = Swap::on(file) else {
        eprintln!("skipped: this kernel or file system takes no swap file");
        return;
    };
    let mut command = stage.bench("run --profile quick --blocks 1 --memory 64MiB --no-control --env native -- sh -c");
    // tail keeps what has no line end: three times of what it may have in memory.
    command.arg("head -c 200M /dev/zero | tail > /dev/null");
    let (status, _, err) = finish(command);
    assert_eq!(status, 0, "{err}");
    let trials = Trials::of(&stage);
    trials.assert_remarked("native", "host.swapped_bytes");
    assert!(trials.fact("native", "host.swapped_bytes") > 1e6);
    // Nothing else runs: what waits for its memory is all there is.
    trials.assert_remarked("native", "host.memory_stalled_percent");
}
