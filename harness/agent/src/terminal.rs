//! A terminal for a job: a pseudo-terminal whose one end is the program's, and whose other end is the conductor's.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::message::Window;

/// Bytes that are kept of what was typed and nobody reads; more is dropped, as a terminal does.
const TYPED_AHEAD: usize = 64 << 10;
/// What a person types at the end of the input (`VEOF` of a terminal as it is made).
const END_OF_INPUT: u8 = 0x04;

/// Both ends.
pub(crate) struct Terminal {
    outer: OwnedFd,
    inner: OwnedFd,
    stderr_apart: bool,
}

impl Terminal {
    /// A new one of this size.
    pub(crate) fn open(window: Window, stderr_apart: bool) -> io::Result<Terminal> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let outer = openpt(flags)?;
        grantpt(&outer)?;
        unlockpt(&outer)?;
        let inner = ioctl_tiocgptpeer(&outer, flags)?;
        let mut modes = tcgetattr(&inner)?;
        modes.input_modes |= InputModes::IUTF8;
        tcsetattr(&inner, OptionalActions::Now, &modes)?;
        resize(&outer, window)?;
        Ok(Terminal { outer, inner, stderr_apart })
    }

    /// Have a command lead a session on it.
    pub(crate) fn give_to(&self, command: &mut Command) -> io::Result<()> {
        let inner = || Ok::<_, io::Error>(Stdio::from(self.inner.try_clone()?));
        command.stdin(inner()?).stdout(inner()?);
        command.stderr(if self.stderr_apart { Stdio::piped() } else { inner()? });
        let lead = || {
            setsid()?;
            ioctl_tiocsctty(rustix::stdio::stdin())?;
            Ok(())
        };
        // SAFETY: between fork and exec nothing but two system calls is made.
        unsafe { command.pre_exec(lead) };
        Ok(())
    }

    /// Keep only the conductor's end, so that what it shows ends with the program.
    pub(crate) fn outer(self) -> io::Result<Outer> {
        let flags = fcntl_getfl(&self.outer)?;
        fcntl_setfl(&self.outer, flags | OFlags::NONBLOCK)?;
        Ok(Outer { end: self.outer, typed: Vec::new() })
    }
}

fn resize(end: impl AsFd, window: Window) -> io::Result<()> {
    let size = Winsize { ws_row: window.rows, ws_col: window.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(end, size)?)
}

/// The conductor's end. Nothing waits for a program that does not read what was typed.
pub(crate) struct Outer {
    end: OwnedFd,
    typed: Vec<u8>,
}

impl Outer {
    /// What is shown can be read here.
    pub(crate) fn shown(&self) -> io::Result<OwnedFd> {
        self.end.try_clone()
    }

    /// Where there is room for what was typed; absent where all of it was taken.
    pub(crate) fn wants_room(&self) -> Option<&OwnedFd> {
        (!self.typed.is_empty()).then_some(&self.end)
    }

    /// Type.
    pub(crate) fn type_in(&mut self, bytes: &[u8]) {
        if self.typed.len() + bytes.len() <= TYPED_AHEAD {
            self.typed.extend_from_slice(bytes);
        }
        self.pass_on();
    }

    /// Type the end of the input.
    pub(crate) fn end_input(&mut self) {
        self.type_in(&[END_OF_INPUT]);
    }

    /// Hand over as much of what was typed as there is room for.
    pub(crate) fn pass_on(&mut self) {
        while !self.typed.is_empty() {
            match rustix::io::write(&self.end, &self.typed) {
                Ok(taken) => drop(self.typed.drain(..taken)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The program has gone, or closed its end.
                Err(_) => self.typed.clear(),
            }
        }
    }

    /// Change the size; the program is told by SIGWINCH.
    pub(crate) fn resize(&self, window: Window) {
        // The size of a terminal whose program has gone matters to nobody.
        let _ = resize(&self.end, window);
    }
}
