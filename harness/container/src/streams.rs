//! The standard streams of a program inside: handed over to the first process, and never a device or a file of the host.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use rustix::process::{getpgrp, getpid, ioctl_tiocsctty, setsid};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stdin};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use serde::{Deserialize, Serialize};

use crate::init::{Doing, Failure};
use crate::inside::{Links, is_device, open_below};
use crate::spec::Spec;

/// What a standard stream of the program is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// What its starter gave; the starter sees to it that this is no file of the host (which a program could open once more, with other
    /// rights, through `/proc/self/fd`).
    #[default]
    Given,
    /// The container's own `/dev/null`.
    Null,
    /// A terminal of the container's own. The given standard input is a socket then, over which its outer end is sent: see
    /// [`receive_descriptors`].
    Terminal,
}

/// The size of a terminal, in characters; 0: not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters of a line.
    pub columns: u16,
}

/// Most descriptors in one message.
const MOST: usize = 3;

/// Send open descriptors over a socket.
pub(crate) fn send_descriptors(socket: impl AsFd, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // They need a byte to travel with; and no signal says that nobody is there any more.
    sendmsg(socket, &[IoSlice::new(b"d")], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receive open descriptors from a socket; none when its other end was closed.
pub fn receive_descriptors(socket: impl AsFd) -> io::Result<Vec<OwnedFd>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::io::retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let rights = |message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    };
    Ok(control.drain().filter_map(rights).flatten().collect())
}

/// Make what a starter sent over a socket the streams of this process. False when it sent nothing: it has ended, or given up.
pub(crate) fn take_over(socket: impl AsFd) -> io::Result<bool> {
    match receive_descriptors(socket)?.as_slice() {
        [] => Ok(false),
        [input, output, errors] => {
            dup2_stdin(input)?;
            dup2_stdout(output)?;
            dup2_stderr(errors)?;
            Ok(true)
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// True for a pipe without a name, which is no file of the host.
pub fn is_pipe(stream: impl AsFd) -> bool {
    const PIPEFS_MAGIC: u64 = 0x5049_5045;
    rustix::fs::fstatfs(stream).is_ok_and(|stat| stat.f_type as u64 == PIPEFS_MAGIC)
}

/// In the new root: make the streams that are to be of the container's own.
pub(crate) fn make_own(spec: &Spec) -> Result<(), Failure> {
    if spec.streams.contains(&Stream::Null) {
        replace(spec, Stream::Null, &device("dev/null", (1, 3), OFlags::RDWR).doing("opening /dev/null")?)?;
    }
    if spec.streams.contains(&Stream::Terminal) {
        let (outer, inner) = terminal(spec.window).doing("making a terminal in /dev/pts")?;
        send_descriptors(stdin(), &[outer.as_fd()]).doing("handing the terminal's outer end out")?;
        replace(spec, Stream::Terminal, &inner)?;
    }
    Ok(())
}

fn replace(spec: &Spec, kind: Stream, with: &OwnedFd) -> Result<(), Failure> {
    let doing = "making it a stream of the program";
    let [input, output, errors] = spec.streams.map(|stream| stream == kind);
    if input {
        dup2_stdin(with).doing(doing)?;
    }
    if output {
        dup2_stdout(with).doing(doing)?;
    }
    if errors {
        dup2_stderr(with).doing(doing)?;
    }
    Ok(())
}

/// Open a device of the container's own by its path below `/` (the new root is the root by now).
fn device(path: &str, number: (u32, u32), flags: OFlags) -> io::Result<OwnedFd> {
    let opened = open_below(path, flags, Links::Refused)?;
    match is_device(&opened, number)? {
        true => Ok(opened),
        false => Err(io::Error::other(format!("/{path} is not the device {}:{}", number.0, number.1))),
    }
}

/// Both ends of a new terminal of this size: the outer and the inner one.
fn terminal(window: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let outer = device("dev/pts/ptmx", (5, 2), OFlags::RDWR)?;
    unlockpt(&outer)?;
    let inner = ioctl_tiocgptpeer(&outer, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    let mut modes = tcgetattr(&inner)?;
    modes.input_modes |= InputModes::IUTF8;
    tcsetattr(&inner, OptionalActions::Now, &modes)?;
    resize(&outer, window)?;
    Ok((outer, inner))
}

/// Change the size of a terminal by its outer end; the program is told by SIGWINCH when it is another.
pub fn resize(outer: impl AsFd, window: Size) -> io::Result<()> {
    let size = Winsize { ws_row: window.rows, ws_col: window.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(outer, size)?)
}

/// Lead a session of one's own: no signal to its group and no key of its terminal reaches the starter, nor the other way around. Who leads
/// a group already stays in the starter's session, with nobody of it in the group.
pub(crate) fn lead_session() -> Result<(), Failure> {
    match setsid() {
        Ok(_) => Ok(()),
        // Nobody outside is in a group that it leads already.
        Err(Errno::PERM) if getpgrp() == getpid() => Ok(()),
        Err(e) => Err(e).doing("leading a session"),
    }
}

/// Take the terminal for the session that is led, if the streams are one.
pub(crate) fn take_terminal(spec: &Spec) -> Result<(), Failure> {
    if spec.streams.contains(&Stream::Terminal) {
        ioctl_tiocsctty(stdin()).doing("taking the terminal for the session")?;
    }
    Ok(())
}
