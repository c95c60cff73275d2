//! Results that cannot be written, and readers that went away, by the real binary.

mod support;

use std::fs::{self, OpenOptions};
use std::process::{Command, Stdio};

use support::{Stage, finish, stage};

/// Its exit status and standard error, where standard output is this file.
fn into(mut command: Command, stdout: impl Into<Stdio>) -> (i32, String) {
    let output = command.stdin(Stdio::null()).stdout(stdout).output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn full() -> fs::File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

/// A pipe that nobody reads.
fn closed() -> std::io::PipeWriter {
    std::io::pipe().unwrap().1
}

/// A run that can be reported and compared.
fn with_runs(stage: &Stage) {
    for name in ["one", "two"] {
        let (status, out, err) = stage.run(&format!("run --profile smoke --env native --out {name} -- sh -c true"));
        assert_eq!(status, 0, "{out}{err}");
    }
}

/// Everything that prints a result, and what it ends with where nothing is wrong.
fn printing(stage: &Stage) -> Vec<(String, i32)> {
    let ok = [
        "--help",
        "--version",
        "run --help",
        "list suites",
        "list workloads",
        "list environments",
        "list runs --out one",
        "image list",
        "clean --dry-run",
        "clean",
        "run --dry-run -- true",
        "run --dry-run --suite io",
        "report last --out one",
        "report last --out one --format html",
        "report last --out one --format md",
        "report last --out one --format csv",
        "report last --out one --format json",
        "compare one two",
        "compare one two --format html",
        "compare one two --format md",
        "compare one two --format json",
        "compare one two --format junit",
        "compare one two --format github",
        "probe interface lo",
    ];
    let mut all: Vec<(String, i32)> = ok.map(|arguments| (arguments.to_owned(), 0)).into();
    // Something may be missing on this machine.
    for arguments in ["doctor", "doctor --json"] {
        all.push((arguments.to_owned(), stage.run(arguments).0));
    }
    all
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_and_a_closed_pipe_is_quiet() {
    let Some(stage) = stage() else { return };
    with_runs(&stage);
    for (arguments, status) in printing(&stage) {
        let (found, err) = into(stage.bench(&arguments), full());
        assert_eq!(found, if arguments.starts_with("probe") { 1 } else { 2 }, "{arguments} > /dev/full: {err}");
        assert!(err.contains("standard output") && err.contains("No space left"), "{arguments} > /dev/full: {err}");
        assert_eq!(into(stage.bench(&arguments), closed()), (status, String::new()), "{arguments} | head -n 0");
        let unwritable = fs::File::open("/dev/null").unwrap();
        if !arguments.ends_with("--help") && arguments != "--version" {
            let (found, err) = into(stage.bench(&arguments), unwritable);
            assert!(
                found != 0 && err.contains("Bad file descriptor"),
                "{arguments} to what is open for reading: {err}"
            );
        }
    }
    export_and_power(&stage);
}

fn export_and_power(stage: &Stage) {
    let (status, err) = into(stage.bench("export last --out one --to one.tar.gz"), full());
    assert!(status == 2 && err.contains("No space left"), "{err}");
    assert!(stage.path().join("one.tar.gz").exists(), "the archive is there, only its name could not be said");
    let (status, err) = into(stage.bench("export last --out two --to two.tar.gz"), closed());
    assert_eq!((status, err.as_str()), (0, ""));
}

#[test]
fn a_regression_is_not_hidden_by_a_pipe_and_a_run_is_kept() {
    let Some(stage) = stage() else { return };
    with_runs(&stage);
    let (status, out, err) = stage.run("run --profile smoke --env native --out bad -- sh -c false");
    assert_eq!(status, 3, "{out}{err}");
    let (status, err) = into(stage.bench("compare one bad --allow-difference workload,tools"), closed());
    assert_eq!(status, 2);
    assert!(err.starts_with("bench: nothing was compared") && err.lines().count() == 1, "{err}");
    let (status, err) = into(stage.bench("run --profile smoke --env native --out full -- true"), full());
    assert!(status == 2 && err.contains("No space left"), "{err}");
    assert_eq!(stage.run("report last --out full --format csv").0, 0, "what was measured is there");
}

#[test]
fn a_standard_error_that_nobody_reads_stops_nothing() {
    let Some(stage) = stage() else { return };
    for stderr in [Stdio::from(full()), Stdio::from(closed())] {
        let mut run = stage.bench("run --profile smoke --env native,container -- true");
        let output = run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let output = output.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let mut wrong = stage.bench("report nonsense");
    assert_eq!(
        wrong.stdin(Stdio::null()).stderr(full()).status().unwrap().code(),
        Some(2),
        "an error is one unheard, too"
    );
    let (status, out, _) = finish(stage.bench("clean"));
    assert_eq!((status, out.as_str()), (0, "nothing is left on this machine\n"));
}

#[test]
fn what_a_guests_command_says_reaches_its_reader_or_is_missed() {
    let Some(stage) = stage() else { return };
    let (status, err) = into(stage.bench("vm run -- echo said"), full());
    assert!(status == 125 && err.contains("No space left"), "{status}: {err}");
    let (status, err) = into(stage.bench("vm run -- yes"), closed());
    assert_eq!(status, 141, "as if it were killed by SIGPIPE: {err}");
    assert!(!err.contains("Broken pipe"), "{err}");
    // Process 1 of a container would not be killed by it.
    let (status, _) = into(stage.bench("container run --init -- yes"), closed());
    assert_eq!(status, 141);
}
