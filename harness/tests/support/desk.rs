//! Somebody at a terminal: a real pseudo-terminal with `bench` on it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::termios::{Termios, tcgetattr};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Under emulation on a busy machine a boot takes tens of seconds.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A person's terminal with `bench` on it.
pub struct Desk {
    pub screen: File,
    pub terminal: OwnedFd,
    pub child: Child,
    pub shown: String,
}

impl Desk {
    /// Start it as a shell does on a terminal of 33 lines.
    pub fn sit_down(command: Command) -> Desk {
        Desk::with(command, |_, _| {})
    }

    /// The same, with other streams than the terminal's.
    pub fn with(mut command: Command, streams: impl FnOnce(&mut Command, &OwnedFd)) -> Desk {
        // What another test starts at the same time must not keep it open.
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        tcsetwinsize(&master, Winsize { ws_row: 33, ws_col: 77, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let end = || Stdio::from(slave.try_clone().unwrap());
        command.stdin(end()).stdout(end()).stderr(end());
        streams(&mut command, &slave);
        let terminal = slave.try_clone().unwrap();
        let lead = move || {
            nix::unistd::setsid()?;
            rustix::process::ioctl_tiocsctty(&terminal)?;
            Ok(())
        };
        // SAFETY: between fork and exec nothing but two system calls is made.
        unsafe { command.pre_exec(lead) };
        let child = command.spawn().unwrap();
        Desk { screen: File::from(master), terminal: slave, child, shown: String::new() }
    }

    pub fn modes(&self) -> Termios {
        tcgetattr(&self.terminal).unwrap()
    }

    /// Read until this is shown.
    pub fn see(&mut self, wanted: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.shown.contains(wanted) {
            assert!(Instant::now() < deadline, "{wanted:?} was not shown: {:?}", self.shown);
            self.look(100);
        }
    }

    /// Read what is shown within some milliseconds.
    pub fn look(&mut self, ms: u16) {
        let mut fds = [PollFd::new(self.screen.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(ms)).unwrap() > 0 {
            let mut piece = [0; 65536];
            let length = self.screen.read(&mut piece).unwrap_or(0);
            self.shown.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
    }

    pub fn keys(&mut self, keys: &str) {
        self.screen.write_all(keys.as_bytes()).unwrap();
    }

    /// Edit a line twice, interrupt, and make the window 120 characters wide, before a script that answers each and gives 7 after the
    /// line `end`; `size` is how it says the new size.
    pub fn converse(&mut self, size: &str) {
        self.keys("wrong\u{15}rightt\u{7f}\r");
        self.see("got right");
        self.keys("\u{3}");
        self.see("interrupted");
        tcsetwinsize(&self.terminal, Winsize { ws_row: 50, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        self.keys("\r");
        self.see(size);
        self.keys("end\r");
        assert_eq!(self.end(), Some(7), "{:?}", self.shown);
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Wait for the end, and read what is shown meanwhile; its status.
    pub fn end(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.look(20);
            if let Some(status) = self.child.try_wait().unwrap() {
                self.look(0);
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end: {:?}", self.shown);
        }
    }
}
