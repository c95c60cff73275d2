//! The standard streams of a container. Pipes without a name are handed in as they are. A file, a device or a terminal of the host never
//! is: inside, it could be opened once more through `/proc/self/fd`, with other rights, and changed. Nor is a socket: it would stay in the
//! host's network, where it can be connected to another address, and descriptors can come through it. A terminal inside is the container's
//! own, and all else is copied through pipes.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use anyhow::{Context, Result};
use bench_container::{Size, Stream, is_pipe, receive_descriptors, resize};
use nix::libc;
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{FileType, Stat, fstat, makedev};
use rustix::stdio::{stderr, stdin, stdout};
use rustix::termios::{isatty, tcgetpgrp};

use super::arguments::RunArgs;
use super::copy::{Broken, Copy, Plan};
use crate::terminal::{self, RawMode};

/// The streams in words.
pub const INPUT: &str = "standard input";
pub const OUTPUT: &str = "standard output";
const ERRORS: &str = "standard error";

/// What a person types at the end of the input (`VEOF` of a terminal as it is made).
const END_OF_INPUT: &[u8] = &[0x04];

/// The streams before anything is started.
pub struct Arranged {
    /// What each is to be.
    pub streams: [Stream; 3],
    /// What the first process is given.
    pub given: [OwnedFd; 3],
    plans: Vec<Plan>,
    /// Over which the outer end of the terminal comes.
    terminal: Option<UnixStream>,
    reads_terminal: bool,
}

/// One of the caller's streams.
struct Theirs<'a> {
    fd: BorrowedFd<'a>,
    stat: Stat,
}

impl Theirs<'_> {
    fn of(fd: BorrowedFd<'_>) -> Result<Theirs<'_>> {
        Ok(Theirs { fd, stat: fstat(fd).context("looking at the standard streams")? })
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// True where it can do nothing but be read or written.
    fn may_go_in(&self) -> bool {
        is_pipe(self.fd)
    }

    fn is_null(&self) -> bool {
        self.kind().is_char_device() && self.stat.st_rdev == makedev(1, 3)
    }

    /// True where somebody at the other end can go away.
    fn has_other_end(&self) -> bool {
        self.kind().is_socket() || self.kind().is_fifo()
    }

    fn is_same_file(&self, other: &Theirs<'_>) -> bool {
        (self.stat.st_dev, self.stat.st_ino) == (other.stat.st_dev, other.stat.st_ino)
    }

    fn duplicate(&self) -> Result<OwnedFd> {
        self.fd.try_clone_to_owned().context("keeping a standard stream")
    }
}

/// True where somebody can type and read.
fn at_a_terminal() -> bool {
    // In the background a terminal is neither read nor set.
    let in_front = || tcgetpgrp(stdin()).is_ok_and(|front| front == rustix::process::getpgrp());
    isatty(stdin()) && isatty(stdout()) && in_front()
}

impl Arranged {
    /// See what there is, and decide.
    pub fn of(args: &RunArgs) -> Result<Arranged> {
        let (input, output, errors) = (Theirs::of(stdin())?, Theirs::of(stdout())?, Theirs::of(stderr())?);
        let at_a_terminal = at_a_terminal();
        let mut plans = Vec::new();
        if args.tty || at_a_terminal {
            let (inner, outer) = UnixStream::pair().context("making a way for the terminal")?;
            let (error_stream, given) = match isatty(errors.fd) {
                // What goes wrong before there is a terminal.
                true => (Stream::Terminal, copied(&errors, ERRORS, true, &mut plans)?),
                false => to(&errors, ERRORS, &mut plans)?,
            };
            let given = [inner.into(), given.try_clone().context("keeping a standard stream")?, given];
            let streams = [Stream::Terminal, Stream::Terminal, error_stream];
            let reads_terminal = at_a_terminal || args.interactive;
            return Ok(Arranged { streams, given, plans, terminal: Some(outer), reads_terminal });
        }
        let (from_input, given_input) = from(&input, args.interactive, &mut plans)?;
        let (to_output, given_output) = to(&output, OUTPUT, &mut plans)?;
        let (to_errors, given_errors) = match (to_output, &given_output) {
            // One file, in which lines are to stand in the order they were written.
            (Stream::Given, given) if !output.may_go_in() && errors.is_same_file(&output) => {
                (Stream::Given, given.try_clone().context("keeping a standard stream")?)
            }
            _ => to(&errors, ERRORS, &mut plans)?,
        };
        let streams = [from_input, to_output, to_errors];
        let given = [given_input, given_output, given_errors];
        Ok(Arranged { streams, given, plans, terminal: None, reads_terminal: false })
    }

    /// Have pipes belong to the root of a user namespace, who could not open them by `/dev/stdout` else.
    pub fn belong_to(&self, root: u32) {
        for given in self.given.iter().filter(|given| is_pipe(given)) {
            // Without it everything works but for that.
            let (uid, gid) = (rustix::fs::Uid::from_raw(root), rustix::fs::Gid::from_raw(root));
            let _ = rustix::fs::fchown(given, Some(uid), Some(gid));
        }
    }

    /// From now on, what the container says is passed on. The caller's ends of what was given are closed.
    pub fn begin(self) -> Result<Stdio> {
        let (ended, end) = io::pipe().context("making a pipe")?;
        let mut stdio = Stdio {
            copies: Vec::new(),
            ended,
            end,
            reader: reader()?,
            pending: self.terminal,
            terminal: None,
            reads_terminal: self.reads_terminal,
            raw: None,
            window: Size::default(),
        };
        self.plans.into_iter().try_for_each(|plan| stdio.copy(plan))?;
        Ok(stdio)
    }
}

/// A stream that is read inside.
fn from(theirs: &Theirs<'_>, interactive: bool, plans: &mut Vec<Plan>) -> Result<(Stream, OwnedFd)> {
    if theirs.may_go_in() {
        return Ok((Stream::Given, theirs.duplicate()?));
    }
    let (reader, writer) = io::pipe().context("making a pipe")?;
    // A loop that reads lines of a file and starts a container for each wants to read the next line itself.
    if theirs.is_null() || !(interactive || theirs.has_other_end()) {
        return Ok((Stream::Null, reader.into()));
    }
    let (what, from, to) = (INPUT, theirs.duplicate()?, writer.into());
    plans.push(Plan { what, is_output: false, from, to, end: &[], to_raw: false });
    Ok((Stream::Given, reader.into()))
}

/// A stream that is written to inside.
fn to(theirs: &Theirs<'_>, what: &'static str, plans: &mut Vec<Plan>) -> Result<(Stream, OwnedFd)> {
    if theirs.may_go_in() {
        return Ok((Stream::Given, theirs.duplicate()?));
    }
    if theirs.is_null() {
        let (_, writer) = io::pipe().context("making a pipe")?;
        return Ok((Stream::Null, writer.into()));
    }
    Ok((Stream::Given, copied(theirs, what, false, plans)?))
}

fn copied(theirs: &Theirs<'_>, what: &'static str, to_raw: bool, plans: &mut Vec<Plan>) -> Result<OwnedFd> {
    let (reader, writer) = io::pipe().context("making a pipe")?;
    plans.push(Plan { what, is_output: true, from: reader.into(), to: theirs.duplicate()?, end: &[], to_raw });
    Ok(writer.into())
}

/// The output that somebody reads: standard output, or standard error where that leads nowhere.
fn reader() -> Result<Option<BorrowedFd<'static>>> {
    let (output, errors) = (Theirs::of(stdout())?, Theirs::of(stderr())?);
    let read = if output.is_null() { errors } else { output };
    Ok(read.has_other_end().then_some(read.fd))
}

/// What became of the output.
#[derive(Debug)]
pub enum Unread {
    /// Its reader has gone.
    Gone,
    /// A stream cannot be read or written, and why.
    Broken(&'static str, io::Error),
}

/// The streams while the container is there.
pub struct Stdio {
    copies: Vec<Option<Copy>>,
    ended: PipeReader,
    end: PipeWriter,
    reader: Option<BorrowedFd<'static>>,
    pending: Option<UnixStream>,
    terminal: Option<OwnedFd>,
    reads_terminal: bool,
    raw: Option<RawMode>,
    window: Size,
}

impl Stdio {
    fn copy(&mut self, plan: Plan) -> Result<()> {
        let end = self.end.try_clone().context("making a pipe")?;
        let what = plan.what;
        let copy = Copy::begin(plan, self.copies.len() as u8, end).with_context(|| format!("copying {what}"))?;
        self.copies.push(Some(copy));
        Ok(())
    }

    /// What to poll for before [`Stdio::turn`].
    pub fn polled(&self) -> Vec<PollFd<'_>> {
        let mut all = vec![PollFd::new(&self.ended, PollFlags::IN)];
        all.extend(self.pending.iter().map(|terminal| PollFd::new(terminal, PollFlags::IN)));
        // Errors are told without being asked for.
        all.extend(self.reader.iter().map(|reader| PollFd::new(reader, PollFlags::empty())));
        all
    }

    /// Do what there is to do.
    pub fn turn(&mut self) -> Result<Option<Unread>> {
        if let Some(way) = self.pending.take_if(|way| is_ready(way.as_fd(), PollFlags::IN)) {
            self.take_terminal(&way)?;
        }
        if self.reader.take_if(|reader| is_ready(*reader, PollFlags::empty())).is_some() {
            return Ok(Some(Unread::Gone));
        }
        if !is_ready(self.ended.as_fd(), PollFlags::IN) {
            return Ok(None);
        }
        let mut number = [0];
        self.ended.read_exact(&mut number).context("waiting for the streams")?;
        let copy = self.copies.get_mut(usize::from(number[0])).and_then(Option::take);
        Ok(copy.and_then(|copy| {
            let (what, is_output) = (copy.what, copy.is_output);
            match copy.outcome() {
                // A program that does not read its input does not want it; and one whose errors nobody reads may go on.
                Err(Broken::Sink(_)) if !is_output => None,
                Err(Broken::Sink(e)) if is_gone(&e) => (what == OUTPUT).then_some(Unread::Gone),
                Err(Broken::Sink(e) | Broken::Source(e)) => Some(Unread::Broken(what, e)),
                Ok(()) => None,
            }
        }))
    }

    /// The container has made its terminal, or has failed to.
    fn take_terminal(&mut self, way: &UnixStream) -> Result<()> {
        let received = receive_descriptors(way).context("receiving the terminal")?;
        let Some(outer) = received.into_iter().next() else { return Ok(()) };
        let keep = || outer.try_clone().context("keeping the terminal");
        let (what, from, to) = (OUTPUT, keep()?, Theirs::of(stdout())?.duplicate()?);
        self.copy(Plan { what, is_output: true, from, to, end: &[], to_raw: false })?;
        if self.reads_terminal {
            if isatty(stdin()) {
                self.raw = Some(RawMode::enter()?);
            }
            let (what, from, to) = (INPUT, Theirs::of(stdin())?.duplicate()?, keep()?);
            self.copy(Plan { what, is_output: false, from, to, end: END_OF_INPUT, to_raw: false })?;
        }
        self.terminal = Some(outer);
        // It may have changed since the container was told.
        self.resize();
        Ok(())
    }

    /// Give the container's terminal the size of this one; false when it had it, or there is none.
    pub fn resize(&mut self) -> bool {
        let (now, before) = (window(), self.window);
        self.window = now;
        now != before && self.terminal.as_ref().is_some_and(|outer| resize(outer, now).is_ok())
    }

    /// Before this process stops.
    pub fn pause(&self) {
        self.raw.iter().for_each(RawMode::give_back);
    }

    /// When this process goes on.
    pub fn resume(&mut self) {
        // Where that fails, the terminal has gone.
        self.raw.iter().for_each(|raw| drop(raw.set()));
        self.resize();
    }

    /// True when all that was said inside has been passed on, or what is left of it never will be: somebody outside of the container may
    /// have been given an end of a pipe, and keep it open.
    pub fn has_passed_on(&self, waited: bool) -> bool {
        let mut outputs = self.copies.iter().flatten().filter(|copy| copy.is_output);
        self.pending.is_none() && outputs.all(|copy| waited && copy.is_idle())
    }
}

/// The size of the terminal here.
pub fn window() -> Size {
    let window = terminal::window();
    Size { rows: window.rows, columns: window.columns }
}

/// A pipe without a reader, a connection that was closed, a terminal that was hung up.
fn is_gone(e: &io::Error) -> bool {
    let is_device = || Theirs::of(stdout()).is_ok_and(|output| output.kind().is_char_device());
    match e.raw_os_error() {
        Some(libc::EPIPE | libc::ECONNRESET) => true,
        Some(libc::EIO) => is_device(),
        _ => false,
    }
}

fn is_ready(fd: BorrowedFd<'_>, wanted: PollFlags) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, wanted)];
    let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}
