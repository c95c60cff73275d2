//! A container that tries to get out, on this machine and on pure cgroup v2 in our own guest; and, in the guest, the same
//! attempts without a container, where most must succeed: else they would show nothing.
//!
//! `cargo test -p bench --test escape -- --nocapture` prints every attempt, and `escapes: N tried, N stopped`.

mod attempts;
mod grammar;
mod hostile;
mod outside;
mod reach;
mod starts;
mod system;

#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output};

use attempts::{ATTEMPTS, NEEDS_OWN_NETWORK};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use outside::{Outside, Stage};
use starts::Effort;

/// Ways to start a container. Most are without the filter of system calls, which stops so much that it would hide what else there is.
const VARIANTS: [&str; 6] = [
    "",
    "--userns",
    UNFILTERED,
    "--seccomp unconfined --init",
    "--seccomp unconfined --userns",
    "--seccomp unconfined --userns --net host",
];
const UNFILTERED: &str = "--seccomp unconfined";
/// Id of the user namespace's root outside.
const SHIFTED: u32 = 100_000;
/// What the guest does not have, or refuses without a container: these attempts show their worth nowhere here.
const NOT_IN_A_GUEST: [&str; 21] = [
    "write to the executable of process 1",
    "write to it through a descriptor that was held",
    "find the starter's environment at process 1",
    "read /proc/sched_debug",
    "list /proc/scsi",
    "list /sys/devices/virtual/powercap",
    "list /sys/kernel/debug",
    "open the path of the hotplug helper",
    "take the mask off /proc",
    "make /proc/sys writable",
    "write to the root",
    "take the mask off /proc in a user namespace",
    "make /proc/sys writable in a user namespace",
    "open a release agent in a user namespace",
    "open /dev/mem",
    "open /dev/port",
    "open /dev/kvm",
    "see a network device of the host",
    "call a guest or the hypervisor",
    "open a file by its handle in a user namespace",
    "lift its limits by a cgroup mount in a user namespace",
];
/// Allowed without the filter, as the documentation says (docs/SECURITY.md): not counted there.
const NEEDS_FILTER: [&str; 5] = [
    "make a user namespace",
    "make an io_uring",
    "keep a key in the kernel",
    "handle its own page faults",
    "call a guest or the hypervisor",
];
/// Stopped by the filter or by a user namespace.
const NEEDS_EITHER: [&str; 1] = ["lift its limits by a cgroup mount in a user namespace"];
const HERE: Effort = Effort { races: 20, every: 1 };
const IN_A_GUEST: Effort = Effort { races: 2, every: 5 };
/// Containers started from random root folders; `BENCH_SOAK_STARTS` is another number.
const RANDOM_STARTS: usize = 500;
/// A section without a container.
const BARE: &str = "no container";

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["inside", outside] => inside(&serde_json::from_str(outside).unwrap()),
        ["host", folder, bench] => {
            all(Path::new(folder), Path::new(bench), "", false).unwrap();
            starts::all(&Path::new(folder).join("starts"), Path::new(bench), &HERE).unwrap();
            start_at_random(Path::new(folder), Path::new(bench));
        }
        ["guest", folder] => {
            starts::all(&Path::new(folder).join("starts"), Path::new("/bench"), &IN_A_GUEST).unwrap();
            all(Path::new(folder), Path::new("/bench"), "--rootfs /", true).unwrap();
        }
        // By hand, against any build: in one that lacks the defences, most of them reach something.
        ["starts", folder, bench] => starts::all(Path::new(folder), Path::new(bench), &HERE).unwrap(),
        ["random", folder, bench] => start_at_random(Path::new(folder), Path::new(bench)),
        ["who"] => println!("{}", nix::unistd::geteuid()),
        ref asked if support::asks_for(asked, "escape") => drive(),
        _ => {}
    }
}

/// Try everything, each in a process of its own.
fn inside(outside: &Outside) {
    for (name, body) in ATTEMPTS.iter().filter(|(name, _)| outside.own_network || !NEEDS_OWN_NETWORK.contains(name)) {
        io::stdout().flush().unwrap();
        // SAFETY: this program has one thread.
        match unsafe { fork() }.unwrap() {
            ForkResult::Child => {
                system::own_mounts();
                match body(outside) {
                    Ok(reached) => println!("ESCAPED {name}: {reached}"),
                    Err(e) => println!("stopped {name}: {e}"),
                }
                io::stdout().flush().unwrap();
                std::process::exit(0);
            }
            ForkResult::Parent { child } => match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, 0)) => {}
                other => println!("BROKEN {name}: {other:?}"),
            },
        }
    }
}

/// All kinds of containers beside the things that they must not reach: `## SECTION`, then a line for each attempt.
fn all(folder: &Path, bench: &Path, arguments: &str, bare: bool) -> io::Result<()> {
    let stage = Stage::make(folder)?;
    for variant in VARIANTS {
        println!("## container {variant}");
        show(&stage.container(bench, &format!("{arguments} {variant}"))?)?;
    }
    println!("## container --userns");
    match stage.owner_outside(bench, arguments)? {
        SHIFTED => println!("stopped be root outside: user {SHIFTED}"),
        other => println!("ESCAPED be root outside: user {other}"),
    }
    if bare {
        println!("## {BARE}");
        show(&stage.bare()?)?;
    }
    Ok(())
}

fn start_at_random(folder: &Path, bench: &Path) {
    let starts = std::env::var("BENCH_SOAK_STARTS");
    let starts = starts.map_or(RANDOM_STARTS, |text| text.parse().expect("a number of starts"));
    let reached = grammar::fuzz(&folder.join("random"), bench, starts).unwrap();
    assert!(reached.is_empty(), "{}", reached.join("\n"));
}

fn show(output: &Output) -> io::Result<()> {
    io::stdout().write_all(&output.stdout)?;
    io::stderr().write_all(&output.stderr)?;
    io::stdout().flush()
}

/// What came of the attempts: `(section, attempt)` to what is said of it.
type Results = BTreeMap<(String, String), Line>;

#[derive(Debug, PartialEq, Eq)]
struct Line {
    stopped: bool,
    text: String,
}

fn read(output: &str) -> Results {
    let (mut results, mut section) = (Results::new(), String::new());
    for line in output.lines() {
        if let Some(name) = line.strip_prefix("## ") {
            section = name.trim().to_owned();
        } else if let Some((verdict @ ("stopped" | "ESCAPED" | "BROKEN"), rest)) = line.split_once(' ') {
            let (name, text) = rest.split_once(": ").unwrap_or((rest, ""));
            let line = Line { stopped: verdict == "stopped", text: text.to_owned() };
            let known = results.insert((section.clone(), name.to_owned()), line);
            assert_eq!(known, None, "{section}: {name} is there once");
        }
    }
    results
}

fn drive() {
    let Some(stage) = support::stage() else { return };
    let itself = std::env::current_exe().unwrap();
    let folder = stage.path().join("host");
    std::fs::create_dir(&folder).unwrap();
    // A process of its own: its mounts go with it.
    let mut command = Command::new(&itself);
    command.arg("host").arg(&folder).arg(env!("CARGO_BIN_EXE_bench"));
    stage.own(&mut command);
    let host = text("host", &command.output().unwrap());
    let guest = text("guest, cgroup v2", &in_guest(&stage, &itself));
    host.lines().filter(|line| line.starts_with("random starts: ")).for_each(|line| println!("{line}"));
    let (mut host, guest) = (read(&host), read(&guest));
    let (bare, mut guest): (Results, Results) = guest.into_iter().partition(|((section, _), _)| section == BARE);

    let inside = VARIANTS.len() * ATTEMPTS.len() + 1 - NEEDS_OWN_NETWORK.len();
    let expected = (inside + HERE.lines(), inside + IN_A_GUEST.lines(), ATTEMPTS.len());
    assert_eq!((host.len(), guest.len(), bare.len()), expected, "all were tried");
    let is_counted = |(section, name): &(String, String)| {
        let name = name.as_str();
        let needs_filter =
            NEEDS_FILTER.contains(&name) || (NEEDS_EITHER.contains(&name) && !section.contains("--userns"));
        !(needs_filter && section.contains(UNFILTERED))
    };
    let all = host.len() + guest.len();
    host.retain(|line, _| is_counted(line));
    guest.retain(|line, _| is_counted(line));
    let only_there: Vec<_> = guest.keys().filter(|name| !host.contains_key(*name)).collect();
    assert!(only_there.is_empty(), "the guest tries what is tried here: {only_there:?}");
    let stopped = |results: &Results| results.values().filter(|line| line.stopped).count();
    println!("without a container: {} tried, {} stopped", bare.len(), stopped(&bare));
    let tried = host.len() + guest.len();
    let all_stopped = stopped(&host) + stopped(&guest);
    let documented = all - tried;
    println!(
        "escapes: {tried} tried, {all_stopped} stopped (and {documented} without the filter that they need, not counted)"
    );
    let escaped: Vec<_> = host.iter().chain(&guest).filter(|(_, line)| !line.stopped).collect();
    assert!(escaped.is_empty(), "{escaped:#?}");
    let is_shown = |name: &str| NOT_IN_A_GUEST.contains(&name);
    let harmless: Vec<_> = bare.iter().filter(|((_, name), line)| line.stopped && !is_shown(name)).collect();
    assert!(harmless.is_empty(), "each attempt succeeds where nothing stops it: {harmless:?}");
}

fn text(place: &str, output: &Output) -> String {
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if std::env::args().any(|word| word == "--nocapture") {
        text.lines().for_each(|line| println!("{place}: {line}"));
    }
    assert!(output.status.success(), "{place}: {errors}");
    text.into_owned()
}

/// The same program by way of a guest's standard input.
fn in_guest(stage: &support::Stage, itself: &Path) -> Output {
    let small = stage.path().join("escape");
    let stripped = Command::new("strip").arg("-o").arg(&small).arg(itself).output();
    let program = if stripped.is_ok_and(|output| output.status.success()) { &small } else { itself };
    let mut command = stage.bench("vm run --options accel=tcg -- sh -c");
    command.arg(
        "export BENCH_STATE_DIR=/tmp/state; cat > /tmp/program; chmod 755 /tmp/program; mkdir /tmp/stage; \
         /tmp/program guest /tmp/stage",
    );
    command.stdin(File::open(program).unwrap()).output().unwrap()
}
