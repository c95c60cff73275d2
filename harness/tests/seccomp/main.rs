//! The filter of system calls: a container of `bench` and one of runc with Docker's profile answer every call alike, 64-bit and 32-bit,
//! whatever capabilities they have. `cargo test -p bench --test seccomp -- --nocapture` prints how many were compared.

mod probe;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use support::{Stage, finish};

/// Where this program is inside.
const PROBE: &str = "/probe";
/// Each opens calls in the profile.
const OPENING: [&str; 14] = [
    "BPF",
    "DAC_READ_SEARCH",
    "PERFMON",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "SYSLOG",
];
/// An answer of the kernel that a call does not exist.
const ABSENT: &str = "error 38";
/// personality(-1): the kernel looks at 32 bits, as our filter does, and libseccomp's at 64.
const NARROWER: (&str, &str) = ("x86-64", "135");
/// So many answers, at least, are the filter's: those of a container without it are others.
const LEAST_FILTERED: usize = 60;

/// What was asked (ABI and call) to the answer.
type Answers = BTreeMap<(String, String), String>;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["inside"] => probe::all(),
        ref asked if support::asks_for(asked, "seccomp") => drive(),
        _ => {}
    }
}

fn drive() {
    let Some(stage) = support::stage() else { return };
    let root = root(&stage);
    for more in [&[][..], &["SYS_ADMIN"], &OPENING] {
        let options: String = more.iter().map(|name| format!(" --cap-add {name}")).collect();
        let ours = ours(&stage, &root, &options);
        let free = ours_unfiltered(&stage, &root, &options);
        let filtered = ours.iter().filter(|(call, answer)| free.get(*call) != Some(answer)).count();
        assert!(ours.len() > 1200 && filtered >= LEAST_FILTERED, "{filtered} of {}", ours.len());
        match runc(&stage, &root, more) {
            Some(theirs) => compare(more, &ours, &theirs, filtered),
            None => println!("skipped: there is no runc to compare with; `make test` installs it"),
        }
    }
}

/// runc's library knows the calls of its own day only, and says of all newer ones that they do not exist.
fn compare(more: &[&str], ours: &Answers, theirs: &Answers, filtered: usize) {
    let newest = theirs.iter().filter(|((abi, _), answer)| abi == "x86-64" && *answer != ABSENT);
    let newest = newest.filter_map(|((_, call), _)| call.parse::<u32>().ok()).max().unwrap_or_default();
    assert!(newest >= 440, "runc knows the calls of Linux 5.13: {newest}");
    let is_known = |call: &str| call.parse::<u32>().map_or(true, |number| number <= newest);
    let known = ours.iter().filter(|((abi, call), _)| is_known(call) && (abi.as_str(), call.as_str()) != NARROWER);
    let different: Vec<_> = known.clone().filter(|(call, answer)| theirs.get(*call) != Some(answer)).collect();
    let different: Vec<_> = different.iter().map(|(call, answer)| (call, answer, theirs.get(*call))).collect();
    println!("{more:?}: {} answers compared up to call {newest}, {filtered} of them the filter's", known.count());
    assert!(different.is_empty(), "{more:?}: ours and runc's: {different:#?}");
}

fn read(output: (i32, String, String)) -> Answers {
    let (status, out, err) = output;
    assert_eq!(status, 0, "{out}{err}");
    let line = |line: &str| {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        Some(((words.next()?, words.next()?), words.next()?))
    };
    out.lines().map(|text| line(text).unwrap_or_else(|| panic!("{text}"))).collect()
}

fn ours(stage: &Stage, root: &Path, options: &str) -> Answers {
    read(stage.run(&format!("container run --rootfs {}{options} -- {PROBE} inside", root.display())))
}

fn ours_unfiltered(stage: &Stage, root: &Path, options: &str) -> Answers {
    ours(stage, root, &format!("{options} --seccomp unconfined"))
}

fn runc(stage: &Stage, root: &Path, more: &[&str]) -> Option<Answers> {
    let bundle = stage.path().join(format!("bundle-{}", more.len()));
    std::fs::create_dir(&bundle).unwrap();
    let in_bundle = |arguments: &str| {
        let mut command = stage.program(Path::new("runc"), arguments);
        command.current_dir(&bundle);
        command
    };
    in_bundle("spec").status().ok()?;
    let path = bundle.join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let more: Vec<String> = more.iter().map(|name| (*name).to_owned()).collect();
    let capabilities = bench_container::capability_names(&more);
    config["process"]["args"] = json!([PROBE, "inside"]);
    config["process"]["terminal"] = json!(false);
    config["process"]["noNewPrivileges"] = json!(true);
    for set in ["bounding", "effective", "permitted"] {
        config["process"]["capabilities"][set] = json!(capabilities);
    }
    config["root"] = json!({"path": root, "readonly": true});
    config["linux"]["seccomp"] = bench_container::seccomp_for_runtimes(&more);
    std::fs::write(&path, config.to_string()).unwrap();
    let name = format!("bench-seccomp-{}", std::process::id());
    Some(read(finish(in_bundle(&format!("--root {} run {name}", bundle.join("state").display())))))
}

/// A root folder with this program and its libraries.
fn root(stage: &Stage) -> PathBuf {
    let root = stage.path().join("root");
    for folder in ["proc", "sys", "dev", "tmp"] {
        std::fs::create_dir_all(root.join(folder)).unwrap();
    }
    let itself = std::env::current_exe().unwrap();
    std::fs::copy(&itself, root.join(&PROBE[1..])).unwrap();
    let listed = Command::new("ldd").arg(&itself).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = root.join(&library[1..]);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::copy(library, copy).unwrap();
    }
    root
}
