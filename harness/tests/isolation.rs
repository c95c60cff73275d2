//! `bench run --suite isolation`: what is the host's in a container and in a guest, tried for real, and nothing left afterwards.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bench_results::isolation::{Isolation, Outcome, PROBES, of};
use bench_results::store::Record;
use support::{Stage, finish, stage};

/// What a write to one of these would have changed.
const SETTINGS: [&str; 6] = [
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/printk",
    "/proc/sys/vm/swappiness",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/proc/modules",
];

fn settings() -> BTreeMap<&'static str, Option<String>> {
    SETTINGS.into_iter().map(|path| (path, fs::read_to_string(path).ok())).collect()
}

fn isolation(run: &Path) -> Isolation {
    of(&Record::load(run).unwrap()).expect("the run has probes")
}

/// Execute the suite in these environments, and give what it found.
fn found(stage: &Stage, environments: &str) -> Isolation {
    let before = settings();
    let child = stage.spawn(&format!("run --suite isolation --profile smoke --env {environments}"));
    let pid = child.id();
    let (status, out, err) = support::wait(child);
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(settings(), before, "nothing is changed for good");
    stage.assert_clean(pid);
    isolation(&stage.only_run())
}

fn outcome(found: &Isolation, id: &str, environment: &str) -> Outcome {
    found.cell(id, environment).unwrap_or_else(|| panic!("no cell of {id} in {environment}")).outcome.clone()
}

#[test]
fn a_container_shares_the_kernel_and_the_time_and_a_guest_neither() {
    let Some(stage) = stage() else { return };
    let found = found(&stage, "native,container,vm:accel=tcg");
    let expected = [
        ("namespace-pid", Outcome::Own),
        ("namespace-mnt", Outcome::Own),
        ("namespace-net", Outcome::Own),
        ("namespace-ipc", Outcome::Own),
        ("namespace-uts", Outcome::Own),
        ("namespace-cgroup", Outcome::Own),
        ("namespace-user", Outcome::Hosts),
        ("namespace-time", Outcome::Hosts),
        ("hostname", Outcome::Own),
        ("process-1", Outcome::Own),
        ("root", Outcome::Own),
        ("cgroup-path", Outcome::Own),
        ("socket-seen", Outcome::Own),
        ("segment-seen", Outcome::Own),
        ("boot-id", Outcome::Hosts),
        ("kernel-release", Outcome::Hosts),
        ("process-seen", Outcome::Hosts),
        ("lock-seen", Outcome::Hosts),
        ("real-time", Outcome::Hosts),
        ("boot-clock", Outcome::Hosts),
        ("boot-date", Outcome::Hosts),
        ("memory-total", Outcome::Hosts),
        ("program-pages", Outcome::Hosts),
        ("step-clock", Outcome::Denied),
        ("mount", Outcome::Denied),
        ("make-device-node", Outcome::Denied),
    ];
    for (id, expected) in expected {
        match outcome(&found, id, "native") {
            Outcome::NotTestable(why) => eprintln!("not tested here: {id}: {why}"),
            native => {
                assert_eq!(native, Outcome::Hosts, "{id} natively");
                assert_eq!(outcome(&found, id, "container"), expected, "{id} in the container");
            }
        }
    }
    let vm = found.environments.iter().position(|name| name == "vm").unwrap();
    for row in &found.rows {
        let is_hosts = row.cells[vm].outcome == Outcome::Hosts;
        assert!(!is_hosts || row.probe.of.is_empty(), "{} of an emulated guest: {:?}", row.probe.id, row.cells[vm]);
    }
    for id in ["boot-id", "real-time", "step-clock", "kernel-release"] {
        assert_eq!(outcome(&found, id, "vm"), Outcome::Own, "{id} in the guest");
    }
    let testable = found.rows.iter().filter(|row| row.cells[0].outcome == Outcome::Hosts).count();
    assert_eq!(found.rows.len(), PROBES.len());
    assert!(testable >= 60, "{testable} of {} can be tested here", PROBES.len());
    shown(&stage);
}

/// The forms of the report say what the record says, and have no tables without numbers.
fn shown(stage: &Stage) {
    let run = stage.only_run();
    let page = fs::read_to_string(run.join("report/index.html")).unwrap();
    assert!(page.contains("id=\"isolation\"") && page.contains("boot-id") && !page.contains("Deciding metric of each"));
    assert!(!page.contains("<script"));
    let markdown = fs::read_to_string(run.join("report/report.md")).unwrap();
    assert!(markdown.contains("## Isolation") && !markdown.contains("## Result"), "{markdown}");
    let kernel = "| A container runs on the host's kernel | holds |";
    let time = "time, for example, is the host's | holds |";
    assert!(markdown.contains(kernel) && markdown.contains(time), "{markdown}");
    let (status, out, err) = stage.run("report last");
    assert!(status == 0 && out.contains("container: ") && out.contains("time"), "{out}{err}");
}

#[test]
fn an_option_of_a_container_changes_what_is_its_own_and_compare_names_it() {
    let Some(stage) = stage() else { return };
    let found = found(&stage, "native,container,user=container:userns=yes,filtered=container:seccomp=docker");
    assert_eq!(outcome(&found, "namespace-user", "container"), Outcome::Hosts);
    assert_eq!(outcome(&found, "namespace-user", "user"), Outcome::Own);
    assert_eq!(outcome(&found, "seccomp", "container"), Outcome::Hosts);
    assert_eq!(outcome(&found, "seccomp", "filtered"), Outcome::Own);
    assert_eq!(outcome(&found, "real-time", "user"), Outcome::Hosts, "no namespace has a time of its own");
    let (_, out, err) = finish(stage.bench("compare last --env container,user"));
    assert!(out.contains("`namespace-user` (users) is own in user, and was host's in container"), "{out}{err}");
    assert!(!out.contains("`namespace-uts`"), "{out}");
}

#[test]
fn without_a_native_environment_nothing_is_proved() {
    let Some(stage) = stage() else { return };
    let found = found(&stage, "container");
    for row in &found.rows {
        let why = row.cells[0].outcome.why().unwrap_or_else(|| panic!("{:?}", row.cells[0]));
        assert!(why.contains("no positive control"), "{why}");
    }
}

#[test]
fn a_dry_run_lists_every_probe_and_where_it_would_be_tried() {
    let Some(stage) = stage() else { return };
    let (status, out, err) = stage.run("run --suite isolation --env native,container --profile smoke --dry-run");
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("in each of native, container"), "{out}");
    for probe in PROBES.iter() {
        assert!(out.contains(probe.id) && out.contains(probe.undone), "{}", probe.id);
    }
    assert!(!stage.path().join("bench-runs").exists());
}
