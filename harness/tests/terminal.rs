//! `bench vm run` by somebody at a terminal: a real pseudo-terminal, and a guest under emulation.

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::Pid;
use support::{Stage, stage};

/// Under emulation on a busy machine a boot takes tens of seconds.
const PATIENCE: Duration = Duration::from_secs(120);

/// A person's terminal with `bench` on it.
struct Desk {
    screen: File,
    terminal: OwnedFd,
    child: Child,
    shown: String,
}

impl Desk {
    fn sit_down(stage: &Stage, script: &str) -> Desk {
        let window = Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(Some(&window), None).unwrap();
        let mut command = stage.bench("vm run --options accel=tcg -- sh -c");
        let end = || Stdio::from(slave.try_clone().unwrap());
        command.arg(script).stdin(end()).stdout(end()).stderr(end());
        let lead = || {
            nix::unistd::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        };
        // SAFETY: between fork and exec nothing but two system calls is made.
        unsafe { command.pre_exec(lead) };
        let child = command.spawn().unwrap();
        Desk { screen: File::from(master), terminal: slave, child, shown: String::new() }
    }

    fn modes(&self) -> Termios {
        tcgetattr(&self.terminal).unwrap()
    }

    /// Read until this is shown.
    fn see(&mut self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown.contains(wanted) {
            assert!(Instant::now() < deadline, "{wanted:?} was not shown: {:?}", self.shown);
            let mut fds = [PollFd::new(self.screen.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, PollTimeout::from(100_u16)).unwrap() > 0 {
                let mut piece = [0; 4096];
                let length = self.screen.read(&mut piece).unwrap();
                self.shown.push_str(&String::from_utf8_lossy(&piece[..length]));
            }
        }
    }

    fn keys(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    /// Wait for the end; its status.
    fn end(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

#[test]
fn somebody_at_a_terminal_has_one_inside_and_theirs_is_as_before_afterwards() {
    let Some(stage) = stage() else { return };
    let script = "[ -t 0 ] && [ -t 1 ] && [ -t 2 ] && stty size && echo $TERM; trap 'echo interrupted' INT; \
        trap 'stty size' WINCH; echo ready; while :; do read line && echo \"got $line\"; [ \"$line\" = end ] && exit 7; done";
    let mut desk = Desk::sit_down(&stage, script);
    let (pid, before) = (desk.child.id(), desk.modes());
    desk.see("ready");
    assert!(desk.shown.contains("33 77"), "{:?}", desk.shown);
    assert!(
        !desk.modes().local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG),
        "every key goes inside"
    );
    // A line with two corrections, as the terminal inside edits it.
    desk.keys("wrong\u{15}rightt\u{7f}\r");
    desk.see("got right");
    desk.keys("\u{3}");
    desk.see("interrupted");
    let window = rustix::termios::Winsize { ws_row: 50, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&desk.terminal, window).unwrap();
    desk.keys("\r");
    desk.see("50 120");
    desk.keys("end\r");
    assert_eq!(desk.end(), Some(7), "{:?}", desk.shown);
    assert_eq!(desk.modes(), before, "line editing is back");
    stage.assert_clean(pid);
}

#[test]
fn a_terminal_is_given_back_whatever_ends_the_command() {
    let Some(stage) = stage() else { return };
    // Ended from outside while it prints without end.
    let mut desk = Desk::sit_down(&stage, "echo ready; sleep 100");
    let (pid, before) = (desk.child.id(), desk.modes());
    desk.see("ready");
    assert_ne!(desk.modes(), before);
    kill(Pid::from_raw(pid as i32), Signal::SIGTERM).unwrap();
    assert_eq!(desk.end(), Some(130));
    assert_eq!(desk.modes(), before);
    stage.assert_clean(pid);
    // The guest's kernel dies.
    let mut desk = Desk::sit_down(&stage, "echo ready; echo c > /proc/sysrq-trigger");
    let before = desk.modes();
    desk.see("panicked");
    assert_eq!(desk.end(), Some(125));
    assert_eq!(desk.modes(), before);
}

#[test]
fn a_command_that_prints_without_end_is_interrupted_by_a_key() {
    let Some(stage) = stage() else { return };
    let mut desk = Desk::sit_down(&stage, "trap 'exit 9' INT; while :; do echo printing; done");
    desk.see("printing");
    desk.keys("\u{3}");
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        // Somebody has to read what it prints.
        desk.shown.clear();
        let mut fds = [PollFd::new(desk.screen.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(50_u16)).unwrap() > 0 {
            drop(desk.screen.read(&mut [0; 65536]));
        }
        match desk.child.try_wait().unwrap() {
            Some(status) => break status.code(),
            None => assert!(Instant::now() < deadline, "Ctrl-C did not reach it"),
        }
    };
    assert_eq!(status, Some(9));
}
