//! Disturbances of network trials: what loses, drops and slows packets on their way.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::{Stage, cgroups, eventually, finish, wait};
use crate::{Trials, is_valid, stage};

/// The process of this name, with this word among its arguments, in a cgroup of `bench`.
fn process(bench: u32, name: &str, argument: &str) -> Option<i32> {
    let groups = cgroups(bench);
    let text: String = groups.iter().filter_map(|path| fs::read_to_string(path.join("cgroup.procs")).ok()).collect();
    let is_it = |pid: &i32| {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        comm.trim() == name && String::from_utf8_lossy(&line).split('\0').any(|word| word == argument)
    };
    text.lines().filter_map(|line| line.parse().ok()).find(is_it)
}

/// One block of this workload in an environment, which is disturbed, given the process of bench, as soon as an iperf3 with this
/// argument is seen on the host; it must end with this status.
fn disturbed(
    stage: &Stage,
    (environment, workload, argument): (&str, &str, &str),
    disturb: impl FnOnce(u32),
    expected: &[i32],
) -> Trials {
    let run =
        format!("run --suite network --only {workload} --env {environment} --no-control --profile quick --blocks 1");
    let child = stage.spawn(&run);
    let pid = child.id();
    eventually("the stream", || process(pid, "iperf3", argument).is_some());
    disturb(pid);
    let (status, _, err) = wait(child);
    assert!(expected.contains(&status), "{err}");
    Trials::of(stage)
}

/// Execute a command in a network namespace, of which this is the file.
fn in_network(namespace: &str, command: &[&str]) -> (i32, String, String) {
    let mut nsenter = Command::new("nsenter");
    nsenter.arg(format!("--net={namespace}")).args(command);
    finish(nsenter)
}

/// The network namespace of the process of this name, with this word among its arguments, in a cgroup of `bench`.
fn network_of(bench: u32, name: &str, argument: &str) -> String {
    format!("/proc/{}/ns/net", process(bench, name, argument).unwrap())
}

/// The peer of this bench loses those datagrams and data packets that nft's words match (a handshake that is lost would cost a
/// second).
fn lose(bench: u32, lost: &str) {
    let rules = format!(
        "add table ip loss; add chain ip loss in {{ type filter hook input priority 0; }}; \
         add rule ip loss in meta length > 1000 {lost} drop; \
         add rule ip loss in ip protocol udp {lost} drop"
    );
    let (status, _, said) = in_network(&network_of(bench, "iperf3", "-s"), &["nft", &rules]);
    assert_eq!(status, 0, "{said}");
}

/// Five of a thousand.
const FEW: &str = "numgen random mod 1000 < 5";

#[test]
fn segments_and_answers_that_are_lost_on_the_way_are_remarked() {
    let Some((_alone, stage)) = stage() else { return };
    // A last answer that is waited for makes the measured time longer, and may make its trial invalid.
    let trials = disturbed(&stage, ("native", "tcp-stream-tx,tcp-rr,udp-rr", "-c"), |pid| lose(pid, FEW), &[0, 3]);
    for trial in trials.0.iter().filter(|trial| trial["workload"] != "udp-rr") {
        assert!(is_valid(trial), "{trial:#}");
        let (asked, measured) = (&trial["facts"]["warmup.asked_s"], &trial["facts"]["warmup.measured_s"]);
        assert!(measured.as_f64().unwrap() >= 0.95 * asked.as_f64().unwrap(), "{trial:#}");
    }
    trials.assert_remarked("native", "net.retransmitted_per_million");
    trials.only("udp-rr").assert_remarked("native", "probe.waited_percent");
}

#[test]
fn packets_that_the_rule_of_the_lab_did_not_see_make_a_trial_invalid() {
    let Some((_alone, stage)) = stage() else { return };
    // As a firewall that is loaded again does it: the new rule sees no packet of a connection that is there already.
    let rules = "flush chain ip bench postrouting; add rule ip bench postrouting oifname \"up0\" counter masquerade";
    let renew = |pid| {
        let lab = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().map(|entry| entry.path());
        let of_network =
            |path: &PathBuf| fs::read_link(path).is_ok_and(|link| link.to_string_lossy().starts_with("net:"));
        let renewed = lab
            .filter(of_network)
            .filter(|namespace| in_network(&namespace.display().to_string(), &["nft", rules]).0 == 0);
        assert_eq!(renewed.count(), 1, "one namespace of the lab has the rule");
    };
    let trials = disturbed(&stage, ("container:net=nat", "tcp-stream-tx", "-c"), renew, &[3]);
    trials.assert_invalid("container", &["nftables rule saw no packet"]);
}

#[test]
fn segments_that_a_guest_sends_again_and_packets_that_its_device_drops_are_remarked() {
    let Some((_alone, stage)) = stage() else { return };
    let disturb = |pid| {
        lose(pid, FEW);
        let server = || process(pid, "iperf3", "-s");
        let of_first = server();
        eventually("the second stream", || server().is_some_and(|server| Some(server) != of_first));
        // The guest's end of the bridge holds but one packet.
        let qemu = network_of(pid, "qemu-system-x86", "-nodefaults");
        let (status, _, said) = in_network(&qemu, &["ip", "link", "set", "port0", "txqueuelen", "1"]);
        assert_eq!(status, 0, "{said}");
    };
    let workloads = "tcp-stream-tx,tcp-stream-rx";
    let trials = disturbed(&stage, ("vm:net=bridge:accel=tcg", workloads, "-s"), disturb, &[0]);
    let (sent, received) = (trials.only("tcp-stream-tx"), trials.only("tcp-stream-rx"));
    sent.assert_remarked("vm", "net.retransmitted_per_million");
    received.assert_remarked("vm", "net.dropped_per_million");
}

#[test]
fn a_paced_stream_that_falls_behind_its_rate_is_invalid() {
    let Some((_alone, stage)) = stage() else { return };
    let slow = |pid| lose(pid, "limit rate over 20 mbytes/second");
    let trials = disturbed(&stage, ("native", "tcp-stream-paced-tx", "-b"), slow, &[3]);
    trials.assert_invalid("native", &["of its rate"]);
    assert!(trials.fact("native", "pace.reached_percent") < 90.0);
}
