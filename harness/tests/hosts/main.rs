//! Hosts in a box: stock Debians with KVM, booted under emulation, in which the real program does everything that depends on a host.
//! `make test-hosts` executes them; `HOSTS=debian12,kernels` and `PARTS=kvm,io` choose among them.

mod checks;
mod host;
mod kernels;

use std::path::{Path, PathBuf};
use std::process::Command;

use checks::Results;
use host::{Host, Part};

const DEBIAN_12: Host = Host { name: "debian12", suite: "bookworm", packages: &[], init: "init=/host-init" };
const DEBIAN_13: Host =
    Host { name: "debian13", suite: "trixie", packages: &["systemd-sysv", "dbus", "libpam-systemd", "udev"], init: "" };

/// Whether everything is as it should be after a part.
type Check = fn(&Results);

/// Parts by name, script and words, seconds, and check. Without PARTS, the whole suites stand for their single workloads.
const PARTS: &[(Part, Check)] = &[
    (Part { name: "doctor", script: "doctor", seconds: 60 }, checks::doctor),
    (Part { name: "container", script: "container", seconds: 120 }, checks::container),
    (Part { name: "kvm", script: "kvm", seconds: 900 }, checks::kvm),
    (
        Part {
            name: "io-one",
            script: "run io native,container,vm:accel=kvm rand-read --only rand-read",
            seconds: 600,
        },
        checks::io,
    ),
    (Part { name: "io", script: "run io native,container,vm:accel=kvm rand-read", seconds: 1200 }, checks::io),
    (
        Part {
            name: "network-one",
            script: "run network native,container:net=nat,vm:accel=kvm:net=bridge tcp-rr --only tcp-rr",
            seconds: 600,
        },
        checks::network,
    ),
    (
        Part {
            name: "network",
            script: "run network native,container:net=host,container-nat=container:net=nat,vm:accel=kvm:net=bridge,vm-nat=vm:accel=kvm:net=nat tcp-rr",
            seconds: 1500,
        },
        checks::network,
    ),
    (Part { name: "judged", script: "judged", seconds: 900 }, checks::judged),
    (Part { name: "kill", script: "kill", seconds: 600 }, checks::kill),
    (Part { name: "escape", script: "escape", seconds: 900 }, checks::escape),
];

/// From a unit that was given its group, and from a login session; only where there is systemd.
const UNITS: &[(Part, Check)] = &[
    (Part { name: "delegated", script: "service Delegate=yes container", seconds: 120 }, checks::container),
    (Part { name: "session", script: "service PAMName=login container", seconds: 120 }, checks::container),
];

/// Of everything that was done before.
const LEFT: (Part, Check) = (Part { name: "left", script: "left", seconds: 60 }, checks::left);

#[test]
#[ignore = "takes twenty minutes: make test-hosts"]
fn debian12() {
    all(&DEBIAN_12, PARTS.iter());
}

#[test]
#[ignore = "takes twenty minutes: make test-hosts"]
fn debian13() {
    all(&DEBIAN_13, UNITS.iter().chain(PARTS));
}

#[test]
#[ignore = "takes five minutes: make test-hosts"]
fn kernels() {
    if chosen("HOSTS", "kernels").unwrap_or(true) {
        kernels::all();
    }
}

/// Whether a name is among those in a variable of the environment; `None` where that is not set.
fn chosen(variable: &str, name: &str) -> Option<bool> {
    let names = std::env::var(variable).ok().filter(|names| !names.is_empty())?;
    Some(names.split([',', ' ']).any(|chosen| chosen == name))
}

fn all(host: &Host, parts: impl Iterator<Item = &'static (Part, Check)>) {
    if !chosen("HOSTS", host.name).unwrap_or(true) {
        eprintln!("skipped: {} is not among HOSTS", host.name);
        return;
    }
    assert!(nix::unistd::geteuid().is_root(), "debootstrap needs root: make test-hosts");
    let by_default = |name: &str| !name.ends_with("-one");
    let mut parts: Vec<_> =
        parts.filter(|(part, _)| chosen("PARTS", part.name).unwrap_or(by_default(part.name))).collect();
    parts.push(&LEFT);
    let escape = escape();
    let programs = [("bench", Path::new(env!("CARGO_BIN_EXE_bench"))), ("escape", escape.as_path())];
    let out = host.run(&parts.iter().map(|(part, _)| part).collect::<Vec<_>>(), &programs);
    let failed: Vec<_> = parts.iter().filter(|(part, check)| !passes(host, part, *check, &out)).collect();
    let names: Vec<_> = failed.iter().map(|(part, _)| part.name).collect();
    assert!(names.is_empty(), "{}: failed: {}; what they said is in {}", host.name, names.join(", "), out.display());
}

/// One part after the other, so that one that fails hides no other.
fn passes(host: &Host, part: &Part, check: Check, out: &Path) -> bool {
    let results = Results { folder: out.join(part.name) };
    let passed = std::panic::catch_unwind(|| {
        assert_eq!(results.text("status").trim(), "0", "{}", results.text("said"));
        check(&results);
    });
    eprintln!("{}: {} {}", host.name, part.name, if passed.is_ok() { "ok" } else { "FAILED" });
    passed.is_ok()
}

/// The program of the escape attempts, which another test is.
fn escape() -> PathBuf {
    let mut build = Command::new(env!("CARGO"));
    build.args(["test", "--workspace", "--all-features", "--test", "escape", "--no-run", "--message-format=json"]);
    let output = build.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let messages = lines.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let mut tests = messages.filter(|message| message["target"]["name"] == "escape");
    let test = tests.find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    test.unwrap_or_else(|| panic!("building the escape attempts: {}", String::from_utf8_lossy(&output.stderr)))
}
