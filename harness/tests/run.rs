//! `bench run` and what belongs to it, by the real binary in the real environments.

mod support;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use support::{Swap, cgroups, eventually, finish, instance, names, stage, unchecked, wait};

const SMALL: &str = "run --profile smoke --size 64MiB";

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn trials(run: &Path) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(run.join("trials.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_smoke_run_in_all_three_environments_measures_and_leaves_only_its_folder() {
    let Some(stage) = stage() else { return };
    let child = stage.spawn(&format!(
        "{SMALL} --env native,container,vm:accel=tcg,user=container:userns=yes:seccomp=docker:root=overlay --only rand-read,rand-read-qd1"
    ));
    let pid = child.id();
    let (status, out, err) = wait(child);
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("vm (TCG emulation)") && out.contains("judges nothing"), "{out}");
    stage.assert_clean(pid);
    let run = stage.only_run();
    let trials = trials(&run);
    assert_eq!(trials.len(), 8);
    for trial in &trials {
        assert_eq!((&trial["failure"], &trial["invalid"]), (&serde_json::Value::Null, &serde_json::json!([])));
        let of_others =
            |fact: &&str| !["net.", "pace.", "probe.", "warmup."].iter().any(|other| fact.starts_with(other));
        let unchecked: Vec<_> = unchecked(trial).into_iter().filter(of_others).collect();
        assert!(unchecked.is_empty(), "{}: {unchecked:?}", trial["id"]);
        let metrics: Vec<_> =
            trial["measurements"].as_array().unwrap().iter().map(|m| m["metric"].as_str().unwrap()).collect();
        for metric in ["iops", "read_latency_p50_ns", "cpu_ns_per_io", "machine_cpu_ns_per_io"] {
            assert!(metrics.contains(&metric), "{metric} of {}", trial["id"]);
        }
    }
    let record = json(&run.join("run.json"));
    assert_eq!(record["state"], "complete");
    let digest = |index: usize| record["environments"][index]["sameness"]["fio sha256"].clone();
    assert!(digest(0) == digest(1) && digest(1) == digest(2), "the same fio everywhere");
    let filters =
        |index: usize| record["environments"][index]["sameness"]["seccomp filters"].as_str().unwrap().parse::<u32>();
    assert_eq!((filters(1), filters(2), filters(3)), (filters(0), Ok(0), filters(0).map(|outside| outside + 1)));
    let isolation = record["environments"][3]["sameness"]["isolation"].as_str().unwrap();
    assert!(isolation.contains("Docker's seccomp filter (moby ") && isolation.contains("overlay"), "{isolation}");
    let root = |index: usize| record["environments"][index]["sameness"]["root file system"].as_str().unwrap();
    assert!(root(3) == "overlay" && root(1) != "overlay", "{} {}", root(1), root(3));
    let scheduler = record["environments"][2]["sameness"]["I/O scheduler"].as_str().unwrap();
    assert!(scheduler.starts_with("[none]"), "{scheduler}");
    for file in ["qemu.argv", "block-nodes.json", "console.log"] {
        assert!(run.join("raw/b01-instance-vm").join(file).exists(), "{file}");
    }
    assert!(run.join("raw/b01-rand-read-vm/fio.json").exists());
    let page = fs::read(run.join("report/index.html")).unwrap();
    fs::remove_dir_all(run.join("report")).unwrap();
    let (status, _, err) = stage.run("report last");
    assert_eq!(status, 0, "{err}");
    assert_eq!(fs::read(run.join("report/index.html")).unwrap(), page, "the record alone makes the same page");
}

#[test]
fn a_dry_run_prints_the_plan_and_touches_nothing() {
    let Some(stage) = stage() else { return };
    let (status, out, _) = stage.run("run --dry-run --seed 7");
    assert_eq!(status, 0);
    assert!(out.contains("224 trials") && out.contains("seed: 7") && out.contains("native-control"), "{out}");
    assert_eq!(names(stage.path()), Vec::<String>::new());
    assert_eq!(stage.run("run --dry-run --seed 7").1, out, "the same seed gives the same plan");
}

#[test]
fn a_dry_run_says_first_what_it_comes_to_and_fails_where_the_run_would() {
    let Some(stage) = stage() else { return };
    let (status, out, err) = stage.run("run --dry-run --seed 7 --margin 5 --size 1G --memory 512M --cpus 0");
    assert_eq!(status, 0, "{err}");
    let (summary, plan) = out.split_once("\n\n").unwrap();
    for said in ["margin 5 %", "memory 512 MiB", "CPUs 0", "1 GiB", "224 trials"] {
        assert!(summary.contains(said), "{said}: {summary}");
    }
    assert!(plan.starts_with("block  turn  order") && plan.contains("starts its instances"), "{plan}");
    fs::write(stage.path().join("mine"), "precious").unwrap();
    let before = names(stage.path());
    for (arguments, status, said) in [
        ("--target mine", 2, "--destroy-data"),
        ("--target nowhere/target", 2, "does not exist"),
        ("--target /dev/shm/target", 2, "memory, not storage"),
        ("--size 900TiB", 2, "MiB are free"),
        ("--cpus 8000", 2, "CPU 8000"),
        ("--out mine", 2, "mine is no folder"),
        ("--out mine/below", 2, "mine is no folder"),
        ("--with nowhere", 2, "there is no such file"),
        ("--env native,vm:qemu=/nowhere", 69, "qemu=/nowhere"),
        ("--env native,vm:kernel=/bin/true:accel=tcg", 69, "not a kernel image"),
        ("--env native,container:fio=/etc/passwd", 69, "it is no program"),
        ("-- nosuchcmd", 2, "nosuchcmd"),
    ] {
        let (found, out, err) = stage.run(&format!("run --dry-run {arguments}"));
        assert!(found == status && err.contains(said) && out.is_empty(), "{arguments}: {found} {out}{err}");
    }
    assert_eq!(names(stage.path()), before, "nothing was changed");
    assert_eq!(fs::read_to_string(stage.path().join("mine")).unwrap(), "precious");
}

#[test]
fn instances_start_in_the_plans_order_and_say_so() {
    let Some(stage) = stage() else { return };
    let line = "run --profile smoke --blocks 4 --seed 5 --env native,other=native,container -- true";
    let (status, out, err) = stage.run(line);
    assert_eq!(status, 0, "{out}{err}");
    let run = stage.only_run();
    let starts = json(&run.join("run.json"))["plan"]["starts"].clone();
    let starts: Vec<Vec<String>> = serde_json::from_value(starts).unwrap();
    assert_eq!(starts.len(), 4);
    let first: std::collections::BTreeSet<_> = starts[..3].iter().map(|order| &order[0]).collect();
    assert_eq!(first.len(), 3, "over three blocks each starts first once: {starts:?}");
    for trial in trials(&run) {
        let block = trial["block"].as_u64().unwrap() as usize;
        let order = trial["instance"]["start_order"].as_u64().unwrap() as usize;
        assert_eq!(starts[block - 1][order - 1], trial["environment"].as_str().unwrap(), "{}", trial["id"]);
    }
}

#[test]
fn a_users_own_command_is_measured_and_its_failure_is_a_failed_trial() {
    let Some(stage) = stage() else { return };
    let (status, out, err) = stage.run("run --profile smoke --env native,container -- sleep 0.2");
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("sleep") && out.contains(" ms"), "{out}");
    let run = stage.only_run();
    for trial in trials(&run) {
        let wall = trial["measurements"][0]["value"].as_f64().unwrap();
        assert!((0.2e9..2e9).contains(&wall), "{wall}");
    }
    fs::remove_dir_all(run).unwrap();
    let (status, out, _) = stage.run("run --profile smoke --env native,container -- false");
    assert_eq!(status, 3, "{out}");
    assert!(out.contains("failed: b01-false-container"), "{out}");
}

#[test]
fn a_second_run_refuses_and_ctrl_c_keeps_what_was_measured() {
    let Some(stage) = stage() else { return };
    let child = stage.spawn(&format!("{SMALL} --env native,container --blocks 50 --only rand-read"));
    let pid = child.id();
    eventually("the first trial", || {
        let runs = names(&stage.path().join("bench-runs"));
        let run = runs.iter().find(|name| !name.starts_with('.'));
        run.is_some_and(|run| {
            let file = stage.path().join("bench-runs").join(run).join("trials.jsonl");
            fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0)
        })
    });
    let (status, _, err) = stage.run(&format!("{SMALL} --env native"));
    assert_eq!(status, 2);
    assert!(err.contains(&pid.to_string()) && err.contains("falsify"), "{err}");
    kill(Pid::from_raw(pid as i32), Signal::SIGINT).unwrap();
    let (status, out, err) = wait(child);
    assert_eq!(status, 130, "{err}");
    assert!(out.contains("rand-read"), "what was measured is shown: {out}");
    stage.assert_clean(pid);
    let run = stage.only_run();
    assert_eq!(json(&run.join("run.json"))["state"], "interrupted");
    assert!(!trials(&run).is_empty() && run.join("report/index.html").exists());
}

#[test]
fn a_second_ctrl_c_ends_at_once_and_clean_undoes_what_is_left() {
    let Some(stage) = stage() else { return };
    let mut child = stage.spawn(&format!("{SMALL} --env native,container --blocks 50 --only rand-read"));
    let pid = child.id();
    // Instances: 0 and 1 are preflight's, 2 drives, 3 and 4 are the first block's.
    eventually("the instances of a block", || cgroups(pid).iter().any(|path| instance(path) == Some(4)));
    eventually("its end", || {
        let _ = kill(Pid::from_raw(pid as i32), Signal::SIGINT);
        child.try_wait().unwrap().is_some()
    });
    let status = child.wait().unwrap();
    assert_eq!((status.signal(), status.code()), (Some(Signal::SIGINT as i32), None), "the second is not waited for");
    let (status, _, err) = stage.run("clean");
    assert_eq!(status, 0, "{err}");
    stage.assert_clean(pid);
}

#[test]
fn after_a_kill_clean_leaves_nothing() {
    let Some(stage) = stage() else { return };
    let mut child = stage.spawn(&format!("{SMALL} --env native,container,vm:accel=tcg --blocks 5 --only rand-read"));
    let pid = child.id();
    eventually("the guest of a block", || names(&stage.ledgers()).len() == 1 && cgroups(pid).len() > 12);
    child.kill().unwrap();
    child.wait().unwrap();
    let (status, out, _) = stage.run("clean --dry-run");
    assert_eq!(status, 0);
    assert!(out.contains("would undo: cgroup") && !cgroups(pid).is_empty(), "{out}");
    let (status, out, err) = stage.run("clean");
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("undid: cgroup"), "{out}");
    stage.assert_clean(pid);
    assert_eq!(stage.run("clean").1, "nothing is left on this machine\n");
}

#[test]
fn an_environment_that_breaks_does_not_stop_the_others() {
    let Some(stage) = stage() else { return };
    // With this seed the first block starts the container last.
    let line = format!("{SMALL} --seed 1 --env native,container --blocks 2 --only rand-read,rand-write,rand-mixed");
    let child = stage.spawn(&line);
    let pid = child.id();
    // Instances: 0 and 1 are preflight's, 2 drives, 3 and 4 are the first block's.
    let group = |number: u32| cgroups(pid).into_iter().find(|path| instance(path) == Some(number));
    eventually("the container of the first block", || group(4).is_some());
    let processes = || fs::read_to_string(group(4)?.join("cgroup.procs")).ok().filter(|text| !text.is_empty());
    eventually("its processes", || processes().is_some());
    for line in processes().unwrap().lines() {
        let _ = kill(Pid::from_raw(line.parse().unwrap()), Signal::SIGKILL);
    }
    let (status, out, err) = wait(child);
    assert_eq!(status, 3, "{err}");
    stage.assert_clean(pid);
    let trials = trials(&stage.only_run());
    assert_eq!(trials.len(), 12, "all trials are recorded");
    let failed = |trial: &&serde_json::Value| !trial["failure"].is_null();
    let lost: Vec<_> = trials.iter().filter(failed).collect();
    assert!(!lost.is_empty() && lost.iter().all(|trial| trial["environment"] == "container" && trial["block"] == 1));
    assert!(out.contains("failed: b01-"), "{out}");
}

#[test]
fn a_fio_that_is_killed_is_a_failed_trial() {
    let Some(stage) = stage() else { return };
    let child = stage.spawn(&format!("{SMALL} --env native --only rand-read-qd1 --blocks 3"));
    let pid = child.id();
    let fio = || {
        let groups = cgroups(pid);
        // Instance 1 drives; those after it measure.
        let measuring = groups.iter().filter(|path| instance(path).is_some_and(|number| number > 1));
        let text: String = measuring.filter_map(|path| fs::read_to_string(path.join("cgroup.procs")).ok()).collect();
        let is_fio = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "fio");
        text.lines().filter_map(|line| line.parse::<i32>().ok()).find(is_fio)
    };
    eventually("a fio", || fio().is_some());
    kill(Pid::from_raw(fio().unwrap()), Signal::SIGKILL).unwrap();
    let (status, out, _) = wait(child);
    assert_eq!(status, 3);
    assert!(out.contains("failed: b0") && out.contains("signal 9"), "{out}");
    stage.assert_clean(pid);
}

#[test]
fn a_named_environment_that_cannot_be_had_stops_before_anything_is_measured() {
    let Some(stage) = stage() else { return };
    let (status, _, err) = stage.run(&format!("{SMALL} --env native,vm:qemu=/bin/false:accel=tcg --only rand-read"));
    assert_eq!(status, 69, "{err}");
    assert!(err.contains("`vm` cannot be used") && err.contains("QEMU ended"), "{err}");
    assert!(names(&stage.path().join("bench-runs")).is_empty());
    let (status, _, err) = stage.run(&format!("{SMALL} --env native,vm:qemu=/no/qemu:accel=tcg --only rand-read"));
    assert_eq!(status, 69, "{err}");
    assert!(err.contains("/no/qemu"), "{err}");
}

/// The seam below `vm`: another type of machine, and a VMM that answers no question, are measured in as the usual one is.
#[cfg(feature = "silent-vmm")]
#[test]
fn other_machines_and_a_vmm_that_says_nothing_are_measured_in() {
    let Some(stage) = stage() else { return };
    let of = |name: &str| format!("{name}=vm:accel=tcg:machine={name}");
    let (status, out, err) =
        stage.run(&format!("{SMALL} --env native,{},{} --only rand-read", of("microvm"), of("silent")));
    assert_eq!(status, 0, "{out}{err}");
    let run = stage.only_run();
    let record = json(&run.join("run.json"));
    for (name, isolation, iothread, fact) in [
        ("microvm", "QEMU, machine microvm (TCG emulation)", "no IOThread", true),
        ("silent", "QEMU without QMP, machine silent (TCG emulation)", "IOThread", false),
    ] {
        let environments = record["environments"].as_array().unwrap();
        let sameness = &environments.iter().find(|one| one["name"] == name).unwrap()["sameness"];
        let row = |axis: &str| sameness[axis].as_str().unwrap().to_owned();
        assert!(row("isolation").contains(isolation), "{sameness}");
        assert!(row("storage path").ends_with(&format!(", {iothread})")), "{sameness}");
        assert!(row("I/O scheduler").starts_with("[none]"), "{sameness}");
        for trial in trials(&run).iter().filter(|trial| trial["environment"] == name) {
            let facts = &trial["facts"];
            assert_eq!(
                (&trial["failure"], &trial["invalid"]),
                (&serde_json::Value::Null, &serde_json::json!([])),
                "{trial}"
            );
            assert_eq!(facts["guest.unpinned_cpus"], 0);
            assert_eq!(facts["guest.read_bytes"], facts["fio.read_bytes"]);
            assert_eq!(
                facts["vmm.read_bytes"],
                if fact { facts["fio.read_bytes"].clone() } else { serde_json::Value::Null }
            );
            assert!(facts["vmm.memory_bytes"].as_u64().unwrap() > 1 << 20);
        }
        assert_eq!(run.join(format!("raw/b01-instance-{name}/block-nodes.json")).exists(), fact);
    }
}

#[test]
fn a_kvm_that_boots_nothing_is_found_out_by_booting() {
    let Some(stage) = stage() else { return };
    if Path::new("/dev/kvm").exists() && !Path::new("/sys/module/kvm_pvm").exists() {
        eprintln!(
            "skipped: KVM may work here; the trap is there only on a host with page-table virtualisation, or without KVM"
        );
        return;
    }
    let (status, _, err) = stage.run(&format!("{SMALL} --env native,vm:accel=kvm --only rand-read"));
    assert_eq!(status, 69, "{err}");
    assert!(
        err.contains("the VMM gives up under KVM")
            || err.contains("does not boot under KVM")
            || err.contains("no /dev/kvm"),
        "{err}"
    );
}

#[test]
fn targets_that_are_no_storage_or_somebodys_are_refused() {
    let Some(stage) = stage() else { return };
    let disk = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let root = disk.lines().find(|line| line.split(' ').nth(4) == Some("/")).and_then(|line| line.split(" - ").nth(1));
    let root = root
        .and_then(|rest| rest.split(' ').nth(1))
        .filter(|source| source.starts_with("/dev/") && Path::new(source).exists());
    let mut cases = vec![
        ("--target /dev/shm/target".to_owned(), "memory, not storage"),
        ("--target /etc/passwd".to_owned(), "--destroy-data"),
        ("--target /etc".to_owned(), "it is a folder"),
        ("--target /dev/null".to_owned(), "neither a file nor a block device"),
        ("--target /no/such/folder/file".to_owned(), "does not exist"),
        ("--size 1024TiB".to_owned(), "MiB are free"),
    ];
    match root {
        Some(device) => cases.push((format!("--target {device} --destroy-data"), "mounted")),
        None => eprintln!("skipped in part: the root is not on a device that can be named"),
    }
    for (arguments, said) in cases {
        let (status, _, err) = stage.run(&format!("run --profile smoke --env native --only rand-read {arguments}"));
        assert_eq!(status, 2, "{arguments}: {err}");
        assert!(err.contains(said), "{arguments}: {err}");
    }
}

#[test]
fn a_block_device_is_driven_only_with_consent() {
    let Some(stage) = stage() else { return };
    let image = stage.path().join("image");
    fs::File::create(&image).unwrap().set_len(96 << 20).unwrap();
    let mut losetup = std::process::Command::new("losetup");
    losetup.args(["--find", "--show", "--direct-io=on"]).arg(&image);
    let (status, device, err) = finish(losetup);
    if status != 0 {
        eprintln!("skipped: no loop device with direct I/O here: {err}");
        return;
    }
    let device = device.trim().to_owned();
    let arguments = format!("{SMALL} --env native,container,vm:accel=tcg --only rand-read --target {device}");
    let refused = stage.run(&arguments);
    let swap = Swap::on(device.clone().into());
    let swapped_to = swap.map(|_swap| stage.run(&format!("{arguments} --destroy-data")));
    let driven = stage.run(&format!("{arguments} --destroy-data"));
    assert!(std::process::Command::new("losetup").args(["--detach", &device]).status().unwrap().success());
    assert_eq!(refused.0, 2);
    assert!(refused.2.contains("--destroy-data"), "{}", refused.2);
    match swapped_to {
        Some((status, _, err)) => assert!(status == 2 && err.contains("is swap space; `swapoff"), "{status} {err}"),
        None => eprintln!("skipped in part: this kernel does not swap to a loop device"),
    }
    assert_eq!(driven.0, 0, "{}", driven.2);
    let record = json(&stage.only_run().join("run.json"));
    assert_eq!(record["target"]["is_device"], true);
    assert_eq!(record["target"]["path"], device);
}

#[test]
fn what_is_wrong_is_said_with_what_would_be_right() {
    let Some(stage) = stage() else { return };
    for (arguments, said) in [
        ("run --suite nonsense", "there are io"),
        ("run --suite ./no.toml", "no.toml"),
        ("run --only nonsense", "rand-read"),
        ("run --profile nonsense", "smoke, quick, standard, paper"),
        ("run --env nonsense", "native, container, docker, oci"),
        ("run --env vm:speed=1", "qemu, kernel"),
        ("run --size 0", "such as 64MiB"),
        ("run --size -1", "such as 64MiB"),
        ("run --size 10", "needs a unit"),
        ("run --size 1500KiB", "nearest is 1MiB"),
        ("run --cpus 0,4000", "CPU 4000"),
        ("run --margin 0%", "such as 5%"),
        ("run --nonsense", "--nonsense"),
        ("run --env native:fio=/no/fio", "/no/fio"),
        ("run --with /no/file -- true", "/no/file"),
        ("run --env native,container --with /proc/version -- true", "have a /proc of their own"),
        ("run --env native,container:fio=/tmp/fio --only rand-read", "have a /tmp of their own"),
        ("nonsense", "nonsense"),
        ("report nonsense", "there is no run `nonsense`"),
        ("report", "there is no run `last`"),
        ("image remove 0000", "0000"),
    ] {
        let (status, out, err) = stage.run(arguments);
        assert_eq!(status, 2, "{arguments}: {out}{err}");
        assert!(err.contains(said), "{arguments}: {err}");
        assert!(!err.contains("panicked"), "{arguments}: {err}");
    }
}

#[test]
fn a_record_that_is_damaged_is_not_half_read() {
    let Some(stage) = stage() else { return };
    assert_eq!(stage.run("run --profile smoke --env native -- true").0, 0);
    let run = stage.only_run();
    let name = run.display().to_string();
    let whole = fs::read_to_string(run.join("run.json")).unwrap();
    for (content, said) in [
        (whole[..whole.len() / 2].to_owned(), "damaged"),
        (whole.replacen("\"schema_version\": 2", "\"schema_version\": 9", 1), "schema version 9"),
        (String::new(), "damaged"),
    ] {
        fs::write(run.join("run.json"), content).unwrap();
        let (status, _, err) = stage.run(&format!("report {name}"));
        assert_eq!(status, 2);
        assert!(err.contains(said), "{err}");
    }
    fs::write(run.join("run.json"), whole).unwrap();
    assert_eq!(stage.run(&format!("report {name} --format json")).0, 0);
}

#[test]
fn without_root_it_says_what_needs_root() {
    use std::os::unix::process::CommandExt;
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can execute it as nobody");
        return;
    }
    let as_nobody = |arguments: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
        command.args(arguments.split(' ')).uid(65534).gid(65534).current_dir("/");
        finish(command)
    };
    if as_nobody("--version").0 != 0 {
        eprintln!("skipped: nobody may not execute the test's binary where it is");
        return;
    }
    let (status, _, err) = as_nobody("run --profile smoke");
    assert_eq!(status, 2);
    assert!(err.contains("needs root") && err.contains("sudo"), "{err}");
}
