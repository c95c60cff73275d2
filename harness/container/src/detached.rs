//! Mounts as descriptors: made or cloned, given their attributes, and only then attached (fsopen(2), open_tree(2),
//! mount_setattr(2), move_mount(2)). What a descriptor is open on cannot be exchanged, as what a path leads to can.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::mount::{MsFlags, mount};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

/// A mount that is attached nowhere, or was attached by [`Mount::attach`]. One that is dropped unattached is gone.
#[derive(Debug)]
pub(crate) struct Mount {
    fd: OwnedFd,
    /// Attributes that it gets when it is attached: before Linux 5.12 a detached mount takes none.
    due: MountAttrFlags,
}

impl Mount {
    /// What a descriptor is open on, with all that is mounted below it if asked.
    pub(crate) fn clone_of(what: &OwnedFd, with_below: bool) -> io::Result<Mount> {
        Mount::clone_at(what, "", with_below)
    }

    /// The same of a path in a file system that the kernel or we ourselves have just filled.
    pub(crate) fn clone_at(folder: &OwnedFd, path: &str, with_below: bool) -> io::Result<Mount> {
        let mut flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH
            | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
        flags.set(OpenTreeFlags::AT_RECURSIVE, with_below);
        let fd = open_tree(folder, path, flags).map_err(named)?;
        Ok(Mount { fd, due: MountAttrFlags::empty() })
    }

    /// A new file system of a kind. An option without a value is a flag.
    pub(crate) fn fresh(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<Mount> {
        let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(named)?;
        // Shown in mountinfo.
        fsconfig_set_string(&context, "source", kind)?;
        for (name, value) in options {
            match value.is_empty() {
                true => fsconfig_set_flag(&context, *name)?,
                false => fsconfig_set_string(&context, *name, *value)?,
            }
        }
        fsconfig_create(&context)?;
        let fd = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        Ok(Mount { fd, due: MountAttrFlags::empty() })
    }

    /// Add attributes to it and to all mounts below it, before anybody can see it. Before Linux 5.12 only it itself gets them, when
    /// it is attached.
    pub(crate) fn restrict(&mut self, more: MountAttrFlags) -> io::Result<()> {
        match crate::sys::restrict(&self.fd, more.bits().into(), true) {
            Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => {
                self.due |= more;
                Ok(())
            }
            done => done,
        }
    }

    /// Attach it on top of what a descriptor is open on.
    pub(crate) fn attach(&self, on: &OwnedFd) -> io::Result<()> {
        self.attach_at(on, "")
    }

    /// Attach it in a file system that the kernel or we ourselves have just filled; never in one that others can write to.
    pub(crate) fn attach_at(&self, folder: &OwnedFd, path: &str) -> io::Result<()> {
        // A link at the end is not followed.
        let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
        flags.set(MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH, path.is_empty());
        move_mount(&self.fd, "", folder, path, flags)?;
        if self.due.is_empty() { Ok(()) } else { remount(&self.fd, self.due) }
    }

    /// Its root.
    pub(crate) fn fd(&self) -> &OwnedFd {
        &self.fd
    }
}

impl AsFd for Mount {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Add attributes to what is mounted at a descriptor, and to all mounts below it; before Linux 5.12 only to itself.
pub(crate) fn restrict(mounted: &OwnedFd, more: MountAttrFlags) -> io::Result<()> {
    match crate::sys::restrict(mounted, more.bits().into(), true) {
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => remount(mounted, more),
        done => done,
    }
}

/// Without these calls there is no container; the kernel's own words would not say so.
fn named(errno: rustix::io::Errno) -> io::Error {
    match errno {
        rustix::io::Errno::NOSYS => io::Error::other("containers need Linux 5.11 or newer"),
        other => other.into(),
    }
}

/// The path by which old calls reach what a descriptor is open on; it leads through the host's `/proc`.
pub(crate) fn by_fd(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// mount(2) with all flags that an attached mount has already, and more: a user namespace may clear none, and nobody wants to.
fn remount(at: &OwnedFd, more: MountAttrFlags) -> io::Result<()> {
    const NONE: Option<&str> = None;
    let have = rustix::fs::fstatvfs(at)?.f_flag;
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | kept(have.bits()) | wanted(more);
    Ok(mount(NONE, by_fd(at).as_str(), NONE, flags, NONE)?)
}

/// The flags of statvfs(3) as those of mount(2). Those of access times are left out: when none is given, all of them stay.
fn kept(have: u64) -> MsFlags {
    /// statvfs(3) of Linux, not of the C library.
    const ST_NOSYMFOLLOW: u64 = 0x2000;
    const MS_NOSYMFOLLOW: libc::c_ulong = 256;
    let flags = [
        (libc::ST_RDONLY, libc::MS_RDONLY),
        (libc::ST_NOSUID, libc::MS_NOSUID),
        (libc::ST_NODEV, libc::MS_NODEV),
        (libc::ST_NOEXEC, libc::MS_NOEXEC),
        (ST_NOSYMFOLLOW, MS_NOSYMFOLLOW),
    ];
    flags.into_iter().filter(|(flag, _)| have & flag != 0).map(|(_, flag)| MsFlags::from_bits_retain(flag)).collect()
}

fn wanted(more: MountAttrFlags) -> MsFlags {
    let flags = [
        (MountAttrFlags::MOUNT_ATTR_RDONLY, MsFlags::MS_RDONLY),
        (MountAttrFlags::MOUNT_ATTR_NOSUID, MsFlags::MS_NOSUID),
        (MountAttrFlags::MOUNT_ATTR_NODEV, MsFlags::MS_NODEV),
        (MountAttrFlags::MOUNT_ATTR_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    flags.into_iter().filter(|(flag, _)| more.contains(*flag)).map(|(_, flag)| flag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remount_keeps_what_a_mount_has() {
        let all = libc::ST_RDONLY | libc::ST_NOSUID | libc::ST_NODEV | libc::ST_NOEXEC | 0x2000;
        let kept_of_all = kept(all | libc::ST_NOATIME | libc::ST_NODIRATIME | libc::ST_RELATIME);
        let expected = libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | 256;
        assert_eq!(kept_of_all.bits(), expected, "and says nothing of access times, which stay then");
        assert_eq!(kept(0), MsFlags::empty());
        assert_eq!(wanted(MountAttrFlags::MOUNT_ATTR_NODEV), MsFlags::MS_NODEV);
    }
}
