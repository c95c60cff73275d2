//! `bench doctor` by the real binary, on the real machine.

use std::process::Command;

fn doctor(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.arg("doctor").args(arguments).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn it_tells_every_noise_source_and_how_evenly_the_machine_goes() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let is_root = nix::unistd::geteuid().is_root();
    let kvm: &[&str] = if is_root { &["--kvm"] } else { &[] };
    let (status, json) = doctor(&[kvm, &["--json", "--noise", folder.path().to_str().unwrap()]].concat());
    assert!(status == 0 || status == 2, "{status}");
    let told: serde_json::Value = serde_json::from_str(&json).unwrap();
    let findings = told["findings"].as_array().unwrap();
    for name in [
        "governor",
        "turbo",
        "smt",
        "idle states",
        "huge pages",
        "ksm",
        "swap",
        "numa balancing",
        "irqbalance",
        "steal",
        "machine",
        "nesting",
        "write cache",
        "i/o scheduler",
        "i/o by cgroup",
        "free space here",
        "loop devices",
        "kvm",
        "vhost-net",
        "cgroups",
        "controllers",
        "locked memory",
        "open files",
        "clock source",
        "time sync",
        "aslr",
        "mitigations",
    ] {
        let finding = findings.iter().find(|finding| finding["name"] == name);
        let finding = finding.unwrap_or_else(|| panic!("{name} in {json}"));
        let unreadable = finding["level"] == "unreadable";
        assert_eq!(finding["value"] == "not readable here", unreadable, "{finding}");
    }
    let kvm = findings.iter().find(|finding| finding["name"] == "kvm").unwrap();
    assert!(!is_root || !kvm["value"].as_str().unwrap().contains("was not tested"), "{kvm}");
    let noise = &told["noise"];
    assert!((0.0..1.0).contains(&noise["taken"].as_f64().unwrap()), "{noise}");
    assert!(noise["longest_gap_ns"].as_u64().unwrap() > 0 && noise["cpu_sd_log"].as_f64().unwrap() > 0.0, "{noise}");
    assert!(noise["disk_sd_log"].is_f64() != noise["no_disk"].is_string(), "{noise}");
    assert!(noise["sentence"].as_str().unwrap().contains("blocks"), "{noise}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "its file is gone");
}

#[test]
fn noise_of_what_is_no_folder_is_refused_at_once() {
    let began = std::time::Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(["doctor", "--noise", "/dev/null"]).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && err.contains("cannot create a file to read in /dev/null"), "{err}");
    assert!(began.elapsed().as_secs() < 5);
}

#[test]
fn what_is_shown_has_one_line_each_and_says_what_to_do() {
    let (_, text) = doctor(&[]);
    let mark = |line: &&str| ["ok ", "note ", "? ", "MISSING "].iter().any(|mark| line.starts_with(mark));
    assert!(text.lines().filter(mark).count() >= 30, "{text}");
    assert!(text.ends_with("noise: `bench doctor --noise` measures it in ten seconds\n"), "{text}");
}

/// `doctor` and the code that starts a program look in the same folders.
#[test]
fn a_program_that_path_does_not_lead_to_is_missing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    std::os::unix::fs::symlink("/bin/sh", folder.path().join("xz")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).arg("doctor").env("PATH", folder.path()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for (name, mark) in [("xz", "ok"), ("zstd", "MISSING")] {
        let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(name)).unwrap();
        assert!(line.starts_with(mark), "{line}");
    }
}
