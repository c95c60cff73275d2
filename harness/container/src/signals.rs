//! Signals by number, all 64 of them: the sets of libc and nix leave out 32 and 33, and nix has no name for a real-time signal.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// A set as the kernel has it: signal n is bit n - 1.
type Set = u64;
const ALL: Set = Set::MAX;

/// A signal that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Which.
    pub number: i32,
    /// True when the kernel sent it, such as for a key on the terminal; else a process did.
    pub from_kernel: bool,
    /// The sender's process id, as it is known here; 0 for one that is not.
    pub sender: i32,
}

fn done(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn set_mask(set: Set) -> io::Result<()> {
    let nowhere = std::ptr::null_mut::<Set>();
    // SAFETY: the kernel reads as many bytes as there are, from a value that lives through the call, and writes nothing.
    let result = unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const set, nowhere, size_of::<Set>())
    };
    done(result).map(drop)
}

/// Block all that can be blocked in this thread and those that it makes; [`wait`] takes them.
pub(crate) fn block_all() -> io::Result<()> {
    set_mask(ALL)
}

/// Default actions for all signals: as a program expects to be started.
pub(crate) fn default_actions() {
    (1..=libc::SIGRTMAX()).for_each(act_by_default);
}

/// The default action for a signal, whatever the caller wanted.
pub fn act_by_default(number: i32) {
    // SAFETY: the default action runs no code of ours; numbers that cannot be set are refused by the kernel.
    unsafe { libc::signal(number, libc::SIG_DFL) };
}

/// Block none.
pub(crate) fn unblock_all() -> io::Result<()> {
    set_mask(0)
}

/// Wait for any signal; all must be blocked.
pub(crate) fn wait() -> io::Result<Received> {
    let (set, forever) = (ALL, std::ptr::null::<libc::timespec>());
    loop {
        // SAFETY: siginfo_t is a plain C structure for which all zeros is a value.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: set and structure live through the call, and the kernel is told the size of the set.
        let result = unsafe {
            libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, &raw mut info, forever, size_of::<Set>())
        };
        match done(result) {
            Ok(number) => {
                // SAFETY: the kernel fills the sender in for what a process sent; else it is a number without a meaning.
                let sender = unsafe { info.si_pid() };
                return Ok(Received { number: number as i32, from_kernel: info.si_code > 0, sender });
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Send a signal to a process of one's own.
pub fn send(pid: i32, number: i32) -> io::Result<()> {
    // SAFETY: it touches no memory.
    done(unsafe { libc::kill(pid, number) }.into()).map(drop)
}

/// True where whoever started this process had it ignore a signal.
pub fn is_ignored(number: i32) -> io::Result<bool> {
    // SAFETY: sigaction is a plain C structure for which all zeros is a value.
    let mut now: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action this only reads the old one, into a structure that lives through the call.
    done(unsafe { libc::sigaction(number, std::ptr::null(), &raw mut now) }.into())?;
    Ok(now.sa_sigaction == libc::SIG_IGN)
}

/// The signals sent to this process, as a descriptor that is readable while one waits.
#[derive(Debug)]
pub struct Queue(OwnedFd);

impl Queue {
    /// Block all signals but these, in this thread and those that it makes, and take them from here from now on.
    pub fn of_all_but(left_alone: &[i32]) -> io::Result<Queue> {
        let set = left_alone.iter().fold(ALL, |set, number| set & !(1 << (number - 1)));
        set_mask(set)?;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the kernel reads as many bytes as there are, from a value that lives through the call.
        let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const set, size_of::<Set>(), flags) };
        // SAFETY: it is new, and nothing else owns it.
        Ok(Queue(unsafe { OwnedFd::from_raw_fd(done(fd)? as i32) }))
    }

    /// The next that came; absent when there is none.
    pub fn next(&self) -> io::Result<Option<Received>> {
        let mut bytes = [0; size_of::<libc::signalfd_siginfo>()];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut bytes)) {
            Ok(_) => {}
            Err(rustix::io::Errno::AGAIN) => return Ok(None),
            Err(e) => return Err(e.into()),
        }
        // SAFETY: a read gives whole structures only, this is as large as one, and any bytes are one.
        let info: libc::signalfd_siginfo = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
        let (number, sender) = (info.ssi_signo as i32, info.ssi_pid as i32);
        Ok(Some(Received { number, from_kernel: info.ssi_code > 0, sender }))
    }
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
