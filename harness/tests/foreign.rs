//! Text and files from elsewhere, by the real binary: what it repeats on standard error is text, and it reads no more than it says.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bench_results::record::Remark;
use bench_results::store::RunFolder;
use bench_results::{limits, testing};

/// Names a file or an option, ends its line, and goes on as a command to a CI system and to a terminal.
const HOSTILE: &str = "x\n::error::y\r \t::warning::z\n##vso[task.setvariable variable=a]b ##[error]\u{1b}]0;c\u{7}\u{1b}[31m\u{202e}\u{200b}";
/// Memory that is enough for anything, in KiB, its address space among it.
const MEMORY_KIB: u64 = 2_000_000;
/// Longest that a refusal may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(30);

fn bench(folder: &Path, arguments: &[&str]) -> Output {
    let began = Instant::now();
    let limited = format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\"");
    let mut command = Command::new("sh");
    command
        .args(["-c", &limited, env!("CARGO_BIN_EXE_bench")])
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null());
    command.env("BENCH_STATE_DIR", folder.join("state"));
    let output = command.output().unwrap();
    assert!(began.elapsed() < LONGEST, "{arguments:?} took {:?}", began.elapsed());
    output
}

fn assert_harmless(bytes: &[u8], about: &str) {
    let text = std::str::from_utf8(bytes).unwrap();
    for line in text.split(['\n', '\r']) {
        assert!(!line.trim_start().starts_with("::"), "{about}: {line:?}");
        assert!(!["##[", "##vso["].iter().any(|command| line.contains(command)), "{about}: {line:?}");
        assert!(!line.contains(|c: char| c != '\t' && bench_text::is_hidden(c)), "{about}: {line:?}");
    }
}

#[test]
fn no_error_is_a_command_whatever_it_repeats() {
    let folder = tempfile::tempdir().unwrap();
    let (path, option) = (format!("./{HOSTILE}"), format!("--{HOSTILE}"));
    fs::create_dir(folder.path().join("bench-runs")).unwrap();
    fs::create_dir_all(folder.path().join("bench-runs").join(HOSTILE)).unwrap();
    fs::write(folder.path().join("bench-runs").join(HOSTILE).join("run.json"), format!("{{\"{HOSTILE}")).unwrap();
    fs::write(folder.path().join("wrong.toml"), "name = \"a\n::error::b\"\n").unwrap();
    for arguments in [
        &[HOSTILE][..],
        &[&option],
        &["report", HOSTILE],
        &["report", &path],
        &["report", "x", &option],
        &["report", "--out", HOSTILE],
        &["report", "--format", HOSTILE],
        &["compare", HOSTILE, HOSTILE],
        &["compare", "a", "b", "--allow-difference", HOSTILE],
        &["export", HOSTILE],
        &["import", HOSTILE],
        &["import", "x", "--env", HOSTILE],
        &["power", HOSTILE],
        &["power", "--margin", HOSTILE],
        &["list", HOSTILE],
        &["list", "runs", "--out", HOSTILE],
        &["list", "runs"],
        &["image", HOSTILE],
        &["run", "--suite", &path],
        &["run", "--suite", HOSTILE],
        &["run", "--suite", "./wrong.toml"],
        &["run", "--dry-run", "--env", HOSTILE, "--", "true"],
        &["run", "--dry-run", "--env", "native", "--", HOSTILE],
        &["run", "--dry-run", "--cpus", HOSTILE],
        &["run", "--dry-run", "--target", HOSTILE, "--suite", "io"],
        &["run", "--resume", HOSTILE],
        &["container", "run", "--workdir", &path, "--", "true"],
        &["container", "run", "--rootfs", HOSTILE, "--", "true"],
        &["container", "run", "--", HOSTILE],
        &["vm", "run", "--options", HOSTILE, "--", "true"],
        &["probe", "interface", HOSTILE],
        &["probe", HOSTILE],
    ] {
        let output = bench(folder.path(), arguments);
        let about = format!("{arguments:?}");
        assert_harmless(&output.stdout, &about);
        assert_harmless(&output.stderr, &about);
        let is_answer = arguments[0] == "list" || arguments.contains(&"--target");
        assert!(is_answer || output.status.code() != Some(0), "{about}");
    }
}

fn run(parent: &Path) -> PathBuf {
    let record = testing::record(1, 3, false);
    let mut folder = RunFolder::create(parent, &record.run).unwrap();
    record.trials.iter().for_each(|trial| folder.append_trial(trial).unwrap());
    folder.path().to_owned()
}

/// Files that are none, or are endless, by their ending.
fn wrong_files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let path = |name: &str| folder.join(format!("{name}{ending}"));
    let made = Command::new("mkfifo").arg(path("pipe")).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo is of coreutils");
    symlink("/dev/zero", path("device")).unwrap();
    symlink(path("pipe"), path("link")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    File::create(path("huge")).unwrap().set_len(10 << 30).unwrap();
    ["pipe", "device", "link", "folder", "huge"].map(path).into()
}

#[test]
fn what_is_no_regular_file_or_too_large_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    let run = run.to_str().unwrap();
    for path in wrong_files(folder.path(), ".toml") {
        let path = path.to_str().unwrap();
        for arguments in
            [&["run", "--dry-run", "--suite", path][..], &["compare", run, "--env", "native,vm", "--policy", path]]
        {
            assert_refused(folder.path(), arguments, &limits::size(limits::DEFINITION_BYTES));
        }
    }
    for path in wrong_files(folder.path(), ".json") {
        assert_refused(folder.path(), &["import", path.to_str().unwrap()], &limits::size(limits::IMPORT_BYTES));
    }
    for path in wrong_files(folder.path(), ".tar.gz") {
        let path = path.to_str().unwrap();
        let limit = if path.contains("folder") { "run.json" } else { &limits::size(limits::ARCHIVE_BYTES) };
        assert_refused(folder.path(), &["report", path], limit);
        assert_refused(folder.path(), &["compare", path, run], limit);
    }
    for (name, most) in [("run.json", limits::RUN_BYTES), ("trials.jsonl", limits::TRIALS_BYTES)] {
        let kept = folder.path().join("kept");
        fs::rename(Path::new(run).join(name), &kept).unwrap();
        for path in wrong_files(&tempfile::tempdir_in(folder.path()).unwrap().keep(), "") {
            let limit = if path.is_symlink() { "it is a link" } else { &limits::size(most) };
            fs::rename(&path, Path::new(run).join(name)).unwrap();
            assert_refused(folder.path(), &["report", run], limit);
            fs::rename(Path::new(run).join(name), &path).unwrap();
        }
        fs::rename(&kept, Path::new(run).join(name)).unwrap();
    }
}

fn assert_refused(folder: &Path, arguments: &[&str], said: &str) {
    let output = bench(folder, arguments);
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {err}");
    assert!(err.contains(said) && err.lines().count() == 1, "{arguments:?}: {err}");
}

#[test]
fn an_export_takes_no_more_memory_than_a_buffer_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let run = run(folder.path());
    let raw = run.join("raw/b01-rand-read-vm");
    fs::create_dir_all(&raw).unwrap();
    File::create(raw.join("stdout")).unwrap().set_len(10 << 30).unwrap();
    let run = run.to_str().unwrap();
    assert_refused(folder.path(), &["export", run, "--to", "a.tar.gz"], &limits::size(limits::UNPACKED_FILE_BYTES));
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let begun: Vec<_> = names.filter(|name| name.contains("tar.gz") || name.ends_with(".new")).collect();
    assert!(begun.is_empty(), "{begun:?}");
    File::create(raw.join("stdout")).unwrap().set_len(300 << 20).unwrap();
    let output = bench(folder.path(), &["export", run, "--to", "a.tar.gz"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(bench(folder.path(), &["report", "a.tar.gz", "--format", "csv"]).status.code(), Some(0));
}

#[test]
fn many_warnings_and_workloads_take_no_more_than_their_share() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = testing::record(1, 3, false);
    let remark = |number| Remark { check: format!("check-{number}"), text: format!("text {number}") };
    record.trials[0].remarks = (0..80_000).map(remark).collect();
    record.run.warnings = (0..80_000).map(|number| format!("warning {number}")).collect();
    let mut many = RunFolder::create(folder.path(), &record.run).unwrap();
    record.trials.iter().for_each(|trial| many.append_trial(trial).unwrap());
    let output = bench(folder.path(), &["report", many.path().to_str().unwrap(), "--format", "md"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("text 79999"));

    let one = record.run.plan.workloads[0].clone();
    let named = |number| bench_results::record::Workload { name: format!("w{number}"), ..one.clone() };
    record.run.plan.workloads.extend((0..12_000).map(named));
    let run = many.path().join("run.json");
    fs::write(&run, serde_json::to_string(&record.run).unwrap()).unwrap();
    assert_refused(
        folder.path(),
        &["report", many.path().to_str().unwrap()],
        "12007 workloads, and a run has at most 1000",
    );
    let too_large = RunFolder::create(&folder.path().join("other"), &record.run).unwrap_err().to_string();
    assert!(too_large.contains("at most 1000"), "{too_large}");
}

/// What crosses from an environment has its limits elsewhere than the table that a test of bench-results writes.
#[test]
fn the_documentation_has_the_limits_of_what_environments_send() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/RECORD-FORMAT.md")).unwrap();
    let said = [
        format!("{} for one answer of its agent", limits::size(bench_agent::FRAME_LIMIT as u64)),
        format!("{} for each output", limits::size(bench_agent::OUTPUT_LIMIT)),
        format!("the last {} of a guest's console", limits::size(bench_vm::LOG_BYTES)),
    ];
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    said.iter().for_each(|said| assert!(page.contains(said), "{said}"));
}
