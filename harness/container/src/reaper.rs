//! A process that stands for a program: it passes signals on to it, and ends as the program does.

use std::io::{self, PipeReader, Read};

use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus};

use crate::init::{Doing, Failure, execute, filter_calls, is_orphan};
use crate::signals;
use crate::spec::Spec;
use crate::streams;
use crate::sys::{self, Fork};

/// Process 1 as a reaper: the program is its child and leads a session of its own, with the terminal if there is one; orphans are
/// waited for; signals are passed on.
pub(crate) fn reap(spec: &Spec) -> Result<i32, Failure> {
    // Process 1 stays, where the program can look at it and trace it: it must be held before there is a program.
    let (held_in, held_out) = io::pipe().doing("making a pipe")?;
    let program = match sys::clone3(0, None).doing("starting the program")? {
        Fork::Child => {
            drop(held_out);
            match lead(spec, held_in).and_then(|()| execute(spec)) {
                Ok(status) => std::process::exit(status),
                Err(failure) => failure.exit(),
            }
        }
        Fork::Parent(pid) => pid,
    };
    filter_calls(spec)?;
    drop((held_in, held_out));
    sys::close_others().doing("closing descriptors")?;
    stand_for(program, None)
}

/// The keys of the terminal are for the program, not for process 1 as well. `held`: closed by process 1.
fn lead(spec: &Spec, mut held: PipeReader) -> Result<(), Failure> {
    streams::lead_session()?;
    streams::take_terminal(spec)?;
    held.read_to_end(&mut Vec::new()).doing("waiting for process 1").map(drop)
}

/// Wait for the end of a child, with all signals blocked, and pass every other signal on to it; its exit status, or 128+n. When the
/// starter has ended, the child is killed; some signal says so.
pub(crate) fn stand_for(program: i32, starter: Option<i32>) -> Result<i32, Failure> {
    let own = std::process::id() as i32;
    loop {
        if starter.is_some_and(is_orphan) {
            let _ = signals::send(program, libc::SIGKILL);
        }
        let signal = signals::wait().doing("waiting for a signal")?;
        match signal.number {
            libc::SIGCHLD => {
                if let Some(status) = reap_children(program) {
                    return Ok(status);
                }
            }
            // Our own writing to a pipe without a reader.
            libc::SIGPIPE if signal.sender == own => {}
            // One that has just ended needs none.
            number => drop(signals::send(program, number)),
        }
    }
}

/// Wait for all children that have ended; the status of `program`, if it is one of them.
fn reap_children(program: i32) -> Option<i32> {
    let mut status = None;
    loop {
        // Not nix's, which fails where a real-time signal ended a child.
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, ended))) if pid.as_raw_nonzero().get() == program => status = exit_status(ended),
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) | Err(_) => return status,
        }
    }
}

/// As shells have it: the status that a process exited with, or 128+n after signal n; absent when it has only stopped.
pub fn exit_status(ended: WaitStatus) -> Option<i32> {
    ended.exit_status().or_else(|| ended.terminating_signal().map(|signal| 128 + signal))
}
