//! System calls that neither nix nor rustix has, and small readers.

use std::fs::File;
use std::io::{self, PipeWriter};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags};
use rustix::mount::{OpenTreeFlags, open_tree};

/// libc's constant of this name is an `int` and overflows to 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// In which of the two processes [`clone3`] returned.
pub(crate) enum Fork {
    /// The new one.
    Child,
    /// The old one, with the new one's id.
    Parent(i32),
}

/// clone3(2) as fork(2) with namespaces, directly into a cgroup2 group. Only for processes without threads.
pub(crate) fn clone3(flags: u64, cgroup: Option<&File>) -> io::Result<Fork> {
    let mut arguments = libc::clone_args {
        flags: flags | if cgroup.is_some() { CLONE_INTO_CGROUP } else { 0 },
        pidfd: 0,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |group| group.as_raw_fd() as u64),
    };
    let size = std::mem::size_of::<libc::clone_args>();
    // SAFETY: without CLONE_VM this is fork(2): the child has its own copy of everything; the caller has one thread, so that
    // no lock is held by a thread that does not exist there.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) };
    match pid {
        0 => Ok(Fork::Child),
        1.. => Ok(Fork::Parent(pid as i32)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// unshare(2) of namespaces that apply to the caller or its children without leaving anything shared behind.
pub(crate) fn unshare(flags: u64) -> io::Result<()> {
    // SAFETY: of the namespace flags none affects memory or descriptors; the caller has one thread.
    match unsafe { libc::unshare(flags as libc::c_int) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Take a descriptor that this process was given by number.
pub(crate) fn take_fd(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl with F_GETFD only asks whether the number is an open descriptor.
    if number < 3 || unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is open, and whoever started this process handed it over: nothing else here owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// True when every process that could read from a pipe has ended or let go of it.
pub(crate) fn is_read_by_nobody(pipe: &PipeWriter) -> io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut pipes = [PollFd::new(pipe, PollFlags::empty())];
    poll(&mut pipes, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(pipes[0].revents().contains(PollFlags::ERR))
}

/// Have all descriptors but the standard three closed by exec.
pub(crate) fn close_on_exec() -> io::Result<()> {
    // SAFETY: this only sets a flag on descriptors.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Close all descriptors but the standard three, in a process that goes on without them and ends by `exit`.
pub(crate) fn close_others() -> io::Result<()> {
    // SAFETY: no owner of a closed descriptor uses or closes it any more: the caller ends by `exit`, which drops nothing.
    match unsafe { libc::close_range(3, libc::c_uint::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Close all descriptors but the standard three and one more. None of the others may have an owner that would close it.
pub(crate) fn close_others_but(kept: &impl AsRawFd) -> io::Result<()> {
    let kept = kept.as_raw_fd() as libc::c_uint;
    for (first, last) in [(3, kept.saturating_sub(1)), ((kept + 1).max(3), libc::c_uint::MAX)] {
        // SAFETY: as the caller sees to, nobody uses or closes them any more.
        if first <= last && unsafe { libc::close_range(first, last, 0) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// An executable that nobody who is started by it can write to: this one on a detached read-only mount, or where that is not
/// to be had (before Linux 5.12, or without root) a sealed copy in memory.
pub(crate) fn read_only_executable() -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, "/proc/self/exe", flags).map_err(io::Error::from);
    mount.and_then(|mount| restrict(&mount, libc::MOUNT_ATTR_RDONLY, false).map(|()| mount)).or_else(|_| sealed_copy())
}

/// Future writes are sealed off, as there are no mappings yet. `F_SEAL_WRITE` would add nothing and fails with EBUSY while the kernel
/// holds a page for some reason of its own (reclaim, compaction, DAMON).
fn sealed_copy() -> io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    let mut copy = File::from(memfd_create("bench", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
    io::copy(&mut File::open("/proc/self/exe")?, &mut copy)?;
    fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE)?;
    Ok(copy.into())
}

/// Add attributes (`MOUNT_ATTR_*`) to what is mounted at a descriptor, and to all mounts below it if asked (Linux 5.12).
pub(crate) fn restrict(mount: &OwnedFd, attributes: u64, recursive: bool) -> io::Result<()> {
    let mut attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let size = std::mem::size_of::<libc::mount_attr>();
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the descriptor is open, the path is an empty C string, and the structure lives through the call.
    let done = unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw mut attributes, size)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The id of the mount that a path leads to, with what is mounted on top where the path ends in `..` (statx(2), Linux 5.8).
pub(crate) fn mount_id(path: &str) -> io::Result<u64> {
    let asked = StatxFlags::from_bits_retain(libc::STATX_MNT_ID);
    let found = rustix::fs::statx(CWD, path, AtFlags::empty(), asked)?;
    if found.stx_mask & libc::STATX_MNT_ID == 0 {
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(found.stx_mnt_id)
}

/// A session keyring of its own instead of the starter's, in which its keys can be found (keyrings(7)).
pub(crate) fn own_session_keyring() -> io::Result<()> {
    const JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: the two arguments are a number and no name.
    match unsafe { libc::syscall(libc::SYS_keyctl, JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) } {
        -1 => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
            e => Err(e),
        },
        _ => Ok(()),
    }
}

/// Let the calling thread run on every CPU that its cpuset has.
pub(crate) fn run_anywhere() -> io::Result<()> {
    set_affinity(0, &[libc::c_ulong::MAX; MASK_WORDS])
}

/// Bind a thread of any process, or with 0 the calling one, to one CPU.
pub fn pin(thread: i32, cpu: usize) -> io::Result<()> {
    let bits = libc::c_ulong::BITS as usize;
    let mut mask = [0; MASK_WORDS];
    *mask.get_mut(cpu / bits).ok_or(io::ErrorKind::InvalidInput)? = 1 << (cpu % bits);
    set_affinity(thread, &mask)
}

/// Words of a mask of as many CPUs as a kernel can have.
const MASK_WORDS: usize = crate::cpuset::MOST_CPUS / libc::c_ulong::BITS as usize;

/// sched_setaffinity(2) with a mask that does not end at CPU 1023, as libc's does.
fn set_affinity(thread: i32, mask: &[libc::c_ulong; MASK_WORDS]) -> io::Result<()> {
    // SAFETY: the kernel reads as many bytes as there are, and the mask lives through the call.
    match unsafe { libc::syscall(libc::SYS_sched_setaffinity, thread, size_of_val(mask), mask.as_ptr()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// True for a folder of cgroup2.
pub(crate) fn is_cgroup2(path: &Path) -> bool {
    nix::sys::statfs::statfs(path).is_ok_and(|stat| stat.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_writes_to_the_copy_of_the_executable() {
        let copy = sealed_copy().unwrap();
        let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
        // To open it is allowed to root; every way to change it is not.
        let mut file = File::options().write(true).open(&path).unwrap();
        let refused = |result: io::Result<()>| assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EPERM));
        refused(std::io::Write::write_all(&mut file, b"!"));
        refused(file.set_len(0));
        refused(
            rustix::fs::fallocate(
                &file,
                rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE,
                0,
                4096,
            )
            .map_err(io::Error::from),
        );
        drop(file);
        let ran = std::process::Command::new(&path).arg("--list").output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }
}
