//! Every step of a container's start that fails ends the start: the program never runs with less than it was promised. The kernel's refusals
//! are injected by strace(1).

mod support;

use std::process::Command;

use support::{Stage, finish, stage};

/// System calls of the start, and how many of each are passed over from one that is refused to the next: those that are much alike.
const CALLS: [(&str, usize); 18] = [
    ("open_tree", 1),
    ("fsopen", 1),
    ("fsconfig", 4),
    ("fsmount", 1),
    ("mount_setattr", 1),
    ("move_mount", 1),
    ("mknodat", 1),
    ("symlinkat", 1),
    ("pivot_root", 1),
    ("umount2", 1),
    ("keyctl", 1),
    ("setsid", 1),
    ("close_range", 1),
    ("setgroups", 1),
    ("prctl", 6),
    ("capset", 1),
    ("seccomp", 1),
    ("dup2", 1),
];
/// More than any start makes of one kind.
const MOST: usize = 100;

/// What became of a start whose `number`-th `call` was refused.
enum Ended {
    /// It never came to so many before the program was executed.
    Unrefused,
    /// With this status, output and message.
    With(i32, String, String),
}

fn start(stage: &Stage, call: &str, number: usize) -> Ended {
    let trace = stage.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&trace).args(["-e", &format!("trace={call},execve"), "-e"]);
    command.arg(format!("inject={call}:error=EPERM:when={number}")).arg(env!("CARGO_BIN_EXE_bench"));
    command.args(["container", "run", "--", "echo", "it ran"]);
    stage.own(&mut command);
    let (status, out, err) = finish(command);
    let trace = std::fs::read_to_string(trace).unwrap();
    let place = |of: &str| trace.lines().position(|line| line.contains(of));
    match (place("(INJECTED)"), place("execve(\"/usr/bin/echo\"").or_else(|| place("execve(\"/bin/echo\""))) {
        (None, _) => Ended::Unrefused,
        // The program's own.
        (Some(refused), Some(executed)) if executed < refused => Ended::Unrefused,
        _ => Ended::With(status, out, err),
    }
}

#[test]
fn a_step_of_a_start_that_fails_ends_it() {
    let Some(stage) = stage() else { return };
    if !Command::new("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!(
            "skipped: it needs strace (Debian: strace) and the right to trace, to refuse system calls in the kernel's place"
        );
        return;
    }
    let mut refused = 0;
    for (call, step) in CALLS {
        let before = refused;
        for number in (1..MOST).step_by(step) {
            let Ended::With(status, out, err) = start(&stage, call, number) else { break };
            assert!(status == 125 && out.is_empty(), "{call} {number}: {status} {out}{err}");
            assert!(err.contains("bench: ") && err.contains("Operation not permitted"), "{call} {number}: {err}");
            refused += 1;
        }
        assert!(refused > before, "no start made a {call}");
    }
    println!("{refused} calls refused");
    stage.assert_clean(0);
}
