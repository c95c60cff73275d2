//! Copying one stream into another on a thread of its own, so that nothing waits for a slow reader or writer.

use std::fs::File;
use std::io::{self, ErrorKind, PipeWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How much is copied at a time: what a pipe holds.
const PIECE: usize = 64 << 10;

/// Why a copy ended before its source did.
#[derive(Debug)]
pub enum Broken {
    /// Its source cannot be read.
    Source(io::Error),
    /// What is read can be written nowhere.
    Sink(io::Error),
}

/// A copy that goes on.
pub struct Copy {
    /// What it is a copy of or to, in words.
    pub what: &'static str,
    /// True for output of the program.
    pub is_output: bool,
    source: OwnedFd,
    has_piece: Arc<AtomicBool>,
    thread: JoinHandle<Result<(), Broken>>,
}

impl Copy {
    /// Begin. When it has ended, `number` is written to `ended`.
    pub fn begin(plan: Plan, number: u8, mut ended: PipeWriter) -> io::Result<Copy> {
        let (what, is_output, source) = (plan.what, plan.is_output, plan.from.try_clone()?);
        let has_piece = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&has_piece);
        let copy = move || {
            let done = copy(plan, &flag);
            // Whoever waits for it may have gone.
            drop(ended.write_all(&[number]));
            done
        };
        let thread = std::thread::Builder::new().stack_size(4 * PIECE).spawn(copy)?;
        Ok(Copy { what, is_output, source, has_piece, thread })
    }

    /// True when all that was written to its source has been passed on, and somebody still has the other end, from whom more may never
    /// come.
    pub fn is_idle(&self) -> bool {
        let mut source = [PollFd::new(&self.source, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Where nobody has, the copy comes to its end by itself.
        let has_end = poll(&mut source, Some(&now)).is_ok_and(|ready| ready > 0);
        // In this order: a piece is taken before it is written.
        let is_empty = rustix::io::ioctl_fionread(&self.source).is_ok_and(|bytes| bytes == 0);
        !has_end && is_empty && !self.has_piece.load(Ordering::SeqCst)
    }

    /// How it ended. From here on its source is closed.
    pub fn outcome(self) -> Result<(), Broken> {
        self.thread.join().unwrap_or_else(|_| Err(Broken::Source(io::Error::other("its thread ended"))))
    }
}

/// What to copy.
pub struct Plan {
    /// In words.
    pub what: &'static str,
    /// True for output of the program.
    pub is_output: bool,
    /// To be read.
    pub from: OwnedFd,
    /// To be written; the file's offset and flags are the caller's own.
    pub to: OwnedFd,
    /// Written after the last byte.
    pub end: &'static [u8],
    /// End lines as a terminal in raw mode needs it.
    pub to_raw: bool,
}

fn copy(plan: Plan, has_piece: &AtomicBool) -> Result<(), Broken> {
    let (mut from, mut to) = (File::from(plan.from), File::from(plan.to));
    let mut piece = vec![0; PIECE];
    loop {
        has_piece.store(false, Ordering::SeqCst);
        let length = match from.read(&mut piece) {
            Ok(0) => break,
            Ok(length) => length,
            Err(e) => match again(&from, PollFlags::IN, e) {
                Ok(()) => continue,
                // A terminal that nobody has open any more.
                Err(e) if e.raw_os_error() == Some(nix::libc::EIO) && rustix::termios::isatty(&from) => break,
                Err(e) => return Err(Broken::Source(e)),
            },
        };
        has_piece.store(true, Ordering::SeqCst);
        let read = &piece[..length];
        let lines =
            if plan.to_raw { String::from_utf8_lossy(read).replace('\n', "\r\n").into_bytes() } else { Vec::new() };
        write(&mut to, if plan.to_raw { &lines } else { read }).map_err(Broken::Sink)?;
    }
    write(&mut to, plan.end).map_err(Broken::Sink)
}

fn write(to: &mut File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => bytes = &bytes[length..],
            Err(e) => again(to, PollFlags::OUT, e)?,
        }
    }
    Ok(())
}

/// Whether to try again, and when: a caller's stream may be one that does not wait.
fn again(file: &File, ready: PollFlags, error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => Ok(poll(&mut [PollFd::new(file, ready)], None).map(drop)?),
        _ => Err(error),
    }
}
