//! `bench vm run` by somebody at a terminal: a real pseudo-terminal, and a guest under emulation.

mod support;

use std::time::Instant;

use nix::sys::signal::Signal;
use nix::sys::termios::LocalFlags;
use support::desk::{Desk, PATIENCE};
use support::{Stage, stage};

fn sit_down(stage: &Stage, script: &str) -> Desk {
    let mut command = stage.bench("vm run --options accel=tcg -- sh -c");
    command.arg(script);
    Desk::sit_down(command)
}

#[test]
fn somebody_at_a_terminal_has_one_inside_and_theirs_is_as_before_afterwards() {
    let Some(stage) = stage() else { return };
    let script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size && echo $TERM; trap 'echo interrupted' INT; \
        trap 'stty size' WINCH; echo ready; while :; do read line && echo \"got $line\"; [ \"$line\" = end ] && exit 7; done";
    let mut desk = sit_down(&stage, script);
    let (pid, before) = (desk.child.id(), desk.modes());
    desk.see("ready");
    assert!(desk.shown.contains("33 77"), "{:?}", desk.shown);
    assert!(
        !desk.modes().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG),
        "every key goes inside"
    );
    desk.converse("50 120");
    assert_eq!(desk.modes(), before, "line editing is back");
    stage.assert_clean(pid);
}

#[test]
fn a_terminal_is_given_back_whatever_ends_the_command() {
    let Some(stage) = stage() else { return };
    // Ended from outside while it prints without end.
    let mut desk = sit_down(&stage, "echo ready; sleep 100");
    let (pid, before) = (desk.child.id(), desk.modes());
    desk.see("ready");
    assert_ne!(desk.modes(), before);
    desk.signal(Signal::SIGTERM);
    assert_eq!(desk.end(), Some(130));
    assert_eq!(desk.modes(), before);
    stage.assert_clean(pid);
    // The guest's kernel dies.
    let mut desk = sit_down(&stage, "echo ready; echo c > /proc/sysrq-trigger");
    let before = desk.modes();
    desk.see("panicked");
    assert_eq!(desk.end(), Some(125));
    assert_eq!(desk.modes(), before);
}

#[test]
fn a_command_that_prints_without_end_is_interrupted_by_a_key() {
    let Some(stage) = stage() else { return };
    let mut desk = sit_down(&stage, "trap 'exit 9' INT; while :; do echo printing; done");
    desk.see("printing");
    desk.keys("\u{3}");
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        // Somebody has to read what it prints.
        desk.shown.clear();
        desk.look(50);
        match desk.child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None => assert!(Instant::now() < deadline, "Ctrl-C did not reach it"),
        }
    };
    assert_eq!(status, Some(9));
}
