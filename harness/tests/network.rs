//! Network labs and the network suite, with the real binary and the real kernel.

mod support;

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use support::{Machine, Stage, eventually, namespaces, stage};

/// All five environments, emulated guests so that KVM is not probed here.
const ENVIRONMENTS: &str = "native,container-host=container:net=host,container-nat=container:net=nat,\
    vm-bridge=vm:net=bridge:accel=tcg,vm-nat=vm:net=nat:accel=tcg";

fn trials(stage: &Stage) -> Vec<serde_json::Value> {
    let text = fs::read_to_string(stage.only_run().join("trials.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn value(trial: &serde_json::Value, metric: &str) -> Option<f64> {
    trial["measurements"].as_array()?.iter().find(|m| m["metric"] == metric)?["value"].as_f64()
}

/// These tests compare the machine before and after: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Every check of a network trial has its figure.
fn all_is_checked(trial: &serde_json::Value) {
    const OF_STORAGE: [&str; 7] =
        ["fio.", "disk.", "cgroup.io_", "vmm.disk_", "vmm.host_cached", "guest.disk_", "histogram."];
    let (workload, environment) = (trial["workload"].as_str().unwrap(), trial["environment"].as_str().unwrap());
    let due = |fact: &&str| match *fact {
        "pace.reached_percent" => workload.contains("-paced-"),
        "net.rule_packets" => environment.ends_with("-nat"),
        "net.dropped_per_million" => workload != "udp-pps",
        "probe.waited_percent" => workload.contains("-rr") || workload.contains("-crr"),
        // `smoke` asks for none.
        "warmup.off_percent" => false,
        fact => !OF_STORAGE.iter().any(|storage| fact.starts_with(storage)),
    };
    let unchecked: Vec<_> = support::unchecked(trial).into_iter().filter(due).collect();
    assert!(unchecked.is_empty(), "{}: {unchecked:?}", trial["id"]);
}

/// All five environments measured, by which process of bench. A machine that was busy with something else while half a second of
/// a paced stream passed is asked again, twice.
fn measured_in_peace(stage: &Stage) -> (u32, Vec<serde_json::Value>) {
    const BUSY: [&str; 2] = [support::STOLEN, "the paced workload reached"];
    let only = "tcp-stream-tx,tcp-stream-paced-rx,tcp-rr,udp-rr,tcp-crr,udp-pps";
    let mut seen = Vec::new();
    for _ in 0..3 {
        drop(fs::remove_dir_all(stage.path().join("bench-runs")));
        let child = stage.spawn(&format!("run --suite network --profile smoke --env {ENVIRONMENTS} --only {only}"));
        let pid = child.id();
        let (status, out, err) = support::wait(child);
        assert!(out.contains("vm-nat (TCG emulation)"), "{out}{err}");
        let trials = trials(stage);
        let reasons = trials.iter().flat_map(|trial| trial["invalid"].as_array().unwrap());
        let reasons: Vec<_> = reasons.map(|reason| reason.as_str().unwrap().to_owned()).collect();
        if reasons.is_empty() {
            assert_eq!(status, 0, "{err}");
            return (pid, trials);
        }
        let is_busy = |reason: &String| BUSY.iter().any(|busy| reason.starts_with(busy));
        assert!(reasons.iter().all(is_busy), "{reasons:?} {err}");
        seen.push(reasons);
    }
    panic!("no run of three without a stolen CPU or a stream that was kept from its rate: {seen:?}");
}

#[test]
fn all_five_paths_are_measured_and_the_machine_is_as_before() {
    let Some(stage) = stage() else { return };
    let _alone = alone();
    let before = Machine::now();
    let (pid, trials) = measured_in_peace(&stage);
    assert_eq!(trials.len(), 6 * 5);
    for trial in &trials {
        let id = &trial["id"];
        assert_eq!((&trial["failure"], &trial["invalid"]), (&serde_json::Value::Null, &serde_json::json!([])), "{id}");
        let wanted = match trial["workload"].as_str().unwrap() {
            "tcp-stream-tx" => ["bandwidth_bytes_per_s", "cpu_ns_per_byte"],
            "tcp-stream-paced-rx" => ["bandwidth_bytes_per_s", "machine_cpu_ns_per_byte"],
            "udp-pps" => ["packets_per_s", "machine_cpu_ns_per_packet"],
            "tcp-crr" => ["transactions_per_s", "round_trip_latency_mean_ns"],
            _ => ["transactions_per_s", "round_trip_latency_p50_ns"],
        };
        for metric in wanted {
            assert!(value(trial, metric).is_some_and(|value| value > 0.0), "{metric} of {id}");
        }
        all_is_checked(trial);
        // The path is proved by what the kernel counted on it.
        let through_nat = trial["environment"].as_str().unwrap().ends_with("-nat");
        let seen = trial["facts"]["net.rule_packets"].as_u64();
        assert_eq!(seen.is_some_and(|packets| packets > 0), through_nat, "{id}: {seen:?}");
    }
    let run = fs::read(stage.only_run().join("run.json")).unwrap();
    paced_alike(&trials, &serde_json::from_slice(&run).unwrap());
    stage.assert_clean(pid);
    before.assert_comes_back();
}

/// One rate for all that are not emulated, and none that an emulated guest sets.
fn paced_alike(trials: &[serde_json::Value], run: &serde_json::Value) {
    let paced = |emulated: bool| {
        let of = |trial: &&serde_json::Value| {
            trial["workload"] == "tcp-stream-paced-rx" && (trial["accelerator"] == "tcg") == emulated
        };
        trials.iter().filter(of).filter_map(|trial| value(trial, "bandwidth_bytes_per_s")).collect::<Vec<f64>>()
    };
    let (real, emulated) = (paced(false), paced(true));
    let (low, high) = real.iter().fold((f64::MAX, 0.0_f64), |(low, high), &rate| (low.min(rate), high.max(rate)));
    assert!(real.len() == 3 && high / low < 1.12, "{real:?}");
    let planned = run["plan"]["workloads"].as_array().unwrap().iter().find(|w| w["name"] == "tcp-stream-paced-rx");
    let rate: f64 = planned.unwrap()["parameters"]["bytes_per_s"].as_str().unwrap().parse().unwrap();
    assert!((0.88..1.12).contains(&(low / rate)), "{low} of {rate}");
    // Under emulation the network is many times slower: such a guest has a rate of its own, which is recorded and told.
    for environment in run["environments"].as_array().unwrap().iter().filter(|e| e["accelerator"] == "tcg") {
        let own = environment["own_rates_per_s"]["tcp-stream-paced-rx"].as_f64().unwrap();
        assert!(own < rate && emulated.iter().any(|found| (0.88..1.12).contains(&(found / own))), "{own} {emulated:?}");
    }
    assert!(run["warnings"].to_string().contains("cannot follow"), "{}", run["warnings"]);
}

#[test]
fn two_suites_are_one_run_and_one_report() {
    let Some(stage) = stage() else { return };
    let _alone = alone();
    let line =
        "run --suite io,network --profile smoke --only rand-read,tcp-rr --env native,container:net=nat:seccomp=docker";
    let (status, out, err) = stage.run(line);
    assert_eq!(status, 0, "{err}");
    assert!(out.contains("rand-read") && out.contains("tcp-rr"), "{out}");
    let folder = stage.only_run();
    for figure in ["random-iops", "round-trips"] {
        assert!(folder.join(format!("report/{figure}.png")).exists(), "{figure}");
    }
}

#[test]
fn after_a_kill_no_namespace_is_left() {
    let Some(stage) = stage() else { return };
    let _alone = alone();
    let (before, labs) = (Machine::now(), namespaces().len());
    let mut child = stage.spawn("run --suite network --profile smoke --env native,container --only tcp-rr --blocks 20");
    let pid = child.id();
    // The lab of the driven instance, its peer, and the container's.
    eventually("labs", || namespaces().len() >= labs + 3);
    child.kill().unwrap();
    child.wait().unwrap();
    let (status, _, err) = stage.run("clean");
    assert_eq!(status, 0, "{err}");
    before.assert_comes_back();
    stage.assert_clean(pid);
}

#[test]
fn a_person_gets_a_lab_with_a_peer() {
    let Some(stage) = stage() else { return };
    let _alone = alone();
    for (net, address) in [("nat", "198.19.0.2"), ("bridge", "198.18.0.3")] {
        let script = "ip -4 addr show eth0; ping -c 1 -W 5 198.18.0.2; iperf3 -c 198.18.0.2 -n 1M";
        let (status, out, err) = stage.container(&format!("--net {net}"), script);
        assert_eq!(status, 0, "{out}{err}");
        assert!(out.contains(address) && out.contains(" 0% packet loss") && out.contains("iperf Done"), "{out}{err}");
        assert!(err.contains("a peer is at 198.18.0.2"), "{err}");
    }
    let mut command = stage.bench("vm run --options accel=tcg:net=nat -- sh -c");
    command.arg("ping -c 1 -W 5 198.18.0.2; cat /proc/sys/net/ipv4/tcp_no_metrics_save");
    let (status, out, err) = support::finish(command);
    assert!(status == 0 && out.contains(" 0% packet loss") && out.ends_with("1\n"), "{out}{err}");
}

/// Debian's.
const REAL: &str = "/usr/bin/iperf3";

/// An iperf3 in front of the real one, for what real ones do on bad days.
fn with_iperf3(stage: &Stage, script: &str) -> (i32, serde_json::Value, String) {
    let folder = stage.path().join("bin");
    fs::create_dir_all(&folder).unwrap();
    support::write_program(&folder.join("iperf3"), &format!("#!/bin/sh\n{script}\n"));
    drop(fs::remove_dir_all(stage.path().join("bench-runs")));
    let mut command = stage.bench("run --suite network --profile smoke --only tcp-stream-tx,tcp-rr --env native");
    // The peer sees the tools tree alone.
    command.args(["--with", REAL]).env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()));
    let (status, _, err) = support::finish(command);
    let trial = trials(stage).into_iter().find(|trial| trial["workload"] == "tcp-stream-tx").unwrap();
    let other = trials(stage).into_iter().find(|trial| trial["workload"] == "tcp-rr").unwrap();
    assert!(other["failure"].is_null(), "what one server does must not cost the next workload: {other}");
    (status, trial, err)
}

#[test]
fn servers_and_clients_on_bad_days_cost_a_trial_and_no_more() {
    let Some(stage) = stage() else { return };
    let _alone = alone();
    let version = format!("[ \"$1\" != --version ] || exec {REAL} --version");
    let server = |does: &str| format!("{version}\nif [ \"$1\" = -s ]; then {does}; fi\nexec {REAL} \"$@\"");
    for (does, said) in [
        ("echo unable to start listener: Address already in use >&2; exit 1", "Address already in use"),
        (&*format!("({REAL} \"$@\") & sleep 0.4; kill -9 $!; exit 1"), "iperf3: "),
    ] {
        let (status, trial, err) = with_iperf3(&stage, &server(does));
        assert!(status == 3 && trial["failure"].as_str().unwrap().contains(said), "{trial} {err}");
    }
    // One that serves for ever is ended, and the trial stands.
    let (status, trial, err) = with_iperf3(&stage, &server(&format!("shift 2; exec {REAL} -s \"$@\"")));
    assert!(status == 0 && trial["failure"].is_null(), "{trial} {err}");
    let garbage = format!("{version}\n[ \"$1\" = -s ] && exec {REAL} \"$@\"\necho garbage");
    let (status, trial, err) = with_iperf3(&stage, &garbage);
    assert!(status == 3 && trial["failure"].as_str().unwrap().contains("printed no result"), "{trial} {err}");
    // The peer's limits are looked at, too.
    let all = fs::read_to_string("/proc/self/status").unwrap();
    let all = all.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    if all.parse::<u32>().is_ok() {
        eprintln!("skipped: with one CPU the peer's cannot be widened");
        return;
    }
    let script = stage.path().join("bin/iperf3 -s").display().to_string();
    let widened = thread::spawn({
        let all = all.to_owned();
        move || eventually("a group of the peer's server", || widen(&script, &all))
    });
    let (status, trial, err) = with_iperf3(&stage, &server(&format!("{REAL} \"$@\"; exit")));
    widened.join().unwrap();
    assert!(status == 3 && trial["invalid"].to_string().contains("the limit of cpus was"), "{trial} {err}");
}

/// Give the group of a process with these words all CPUs; false where there is none.
fn widen(words: &str, cpus: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let is_it = |process: &PathBuf| {
        let words_of = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        words_of.replace('\0', " ").contains(words)
    };
    let groups = processes.filter(is_it).filter_map(|process| fs::read_to_string(process.join("cgroup")).ok());
    let mut files = groups.flat_map(|groups| {
        let group = |key: &str| groups.lines().find_map(|line| Some(line.split_once(key)?.1.to_owned()));
        let of = |root: &str, group: String| PathBuf::from(format!("/sys/fs/cgroup/{root}{group}/cpuset.cpus"));
        [group(":cpuset:").map(|group| of("cpuset", group)), group("0::").map(|group| of("", group))]
    });
    files.any(|file| file.is_some_and(|file| fs::write(file, cpus).is_ok()))
}

#[test]
fn without_nftables_nat_is_refused_with_the_package() {
    let Some(stage) = stage() else { return };
    let _alone = alone();
    let path = stage.path().join("bin");
    fs::create_dir_all(&path).unwrap();
    // Programs are also looked for in the system's own folders: those are hidden by a mount namespace of the test's own.
    let bench = env!("CARGO_BIN_EXE_bench");
    let script = format!(
        "for file in /usr/sbin/nft /sbin/nft; do [ -e $file ] && mount --bind /dev/null $file; done; \
         exec {bench} container run --net nat -- true"
    );
    let mut command = std::process::Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", &script]);
    stage.own(&mut command);
    let (status, _, err) = support::finish(command);
    assert!(status == 125 && err.contains("nftables") && err.contains("doctor --install"), "{status} {err}");
}

#[test]
fn what_is_wrong_is_said() {
    let Some(stage) = stage() else { return };
    let _alone = alone();
    for (arguments, status, said) in [
        ("run --suite network --env native:net=nat", 2, "no option `net`"),
        ("run --suite network --env container:net=wifi", 2, "none, host, bridge"),
        ("run --suite network,network", 2, "run them one by one"),
        ("run --suite network --only rand-read", 2, "tcp-stream-tx"),
        ("run --suite network --profile smoke --env container:net=none --only tcp-rr", 3, "no way to a peer"),
        ("container run --net wifi -- true", 125, "bridge"),
        ("probe client --mode tcp-xx --address 127.0.0.1 --port 1", 2, "tcp-rr, udp-rr"),
        ("probe client --mode tcp-rr --address 127.0.0.1 --port 1 --request-bytes 3", 2, "8 to 1472"),
    ] {
        let (found, out, err) = stage.run(arguments);
        assert!(found == status && (err.contains(said) || out.contains(said)), "{arguments}: {found} {out}{err}");
    }
}
