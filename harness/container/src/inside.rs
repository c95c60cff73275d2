//! Paths of a root folder that its maker may have made to mislead: they are opened without ever leaving it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, openat2};
use rustix::io::Errno;

use crate::detached::Mount;
use crate::init::{Doing, Failure};

/// How often a path is tried again that others rename meanwhile (openat2(2), EAGAIN).
const TRIES: usize = 100;

/// Links lead where they would lead inside, and those of `/proc` to open files lead nowhere.
const IN_ROOT: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Whether links on a path are followed.
#[derive(Clone, Copy)]
pub(crate) enum Links {
    /// No.
    Refused,
    /// Yes, without leaving the root.
    Inside,
}

/// A path of the host.
pub(crate) fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// A path inside a root: its links lead where they would lead inside, and those of `/proc` to open files lead nowhere.
pub(crate) fn open_in(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    resolve(root, path, OFlags::PATH, IN_ROOT)
}

/// A path in this process's own root. Links of `/proc` to open files lead nowhere.
pub(crate) fn open_here(path: &Path) -> io::Result<OwnedFd> {
    resolve(CWD, path, OFlags::PATH, ResolveFlags::NO_MAGICLINKS)
}

/// A path below this process's own root, for reading or writing; through no link at all, or as [`open_in`] follows them.
pub(crate) fn open_below(path: &str, flags: OFlags, links: Links) -> io::Result<OwnedFd> {
    let how = match links {
        Links::Refused => ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH,
        Links::Inside => IN_ROOT,
    };
    resolve(open_path(Path::new("/"))?, Path::new(path), flags | OFlags::NOCTTY, how)
}

fn resolve(root: impl rustix::fd::AsFd, path: &Path, flags: OFlags, how: ResolveFlags) -> io::Result<OwnedFd> {
    let open = || openat2(&root, path, flags | OFlags::CLOEXEC, Mode::empty(), how);
    let mut opened = open();
    for _ in 0..TRIES {
        match opened {
            Err(Errno::AGAIN) => opened = open(),
            done => return Ok(done?),
        }
    }
    Ok(opened?)
}

/// Whether a root has a folder of this name at its top, in which a file system of the container's own can be mounted. Anything else
/// of that name is refused.
pub(crate) fn has_special(root: &OwnedFd, name: &str) -> Result<bool, Failure> {
    match kind_at(root, name).doing(format!("looking at /{name} of the root folder"))? {
        None => Ok(false),
        Some(FileType::Directory) => Ok(true),
        Some(other) => {
            let text = format!("/{name} of the root folder is {}: it must be a folder", said(other));
            Err(Failure::own(text, None))
        }
    }
}

/// Attach a file system of the container's own at the top of the root, and see that it is what stands there.
pub(crate) fn put_special(root: &OwnedFd, name: &str, mount: &Mount) -> Result<(), Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let exchanged = |e: Option<io::Error>| {
        Failure::own(format!("/{name} of the root folder was exchanged while the container was started"), e)
    };
    // A link is not followed, so that this leads nowhere but into the root.
    let point = rustix::fs::openat(root, name, flags, Mode::empty()).map_err(|e| exchanged(Some(e.into())))?;
    mount.attach(&point).doing(format!("mounting /{name}"))?;
    let seen = rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|e| exchanged(Some(e.into())))?;
    let ours = rustix::fs::fstat(mount.fd()).doing(format!("looking at /{name}"))?;
    if identity(&seen) == identity(&ours) { Ok(()) } else { Err(exchanged(None)) }
}

/// What kind of file a folder has of this name, if any; the name itself, not where it leads.
pub(crate) fn kind_at(folder: &OwnedFd, name: &str) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Make an empty folder or file to mount on, and the folders above it, without ever leaving the root.
pub(crate) fn make_point(root: &OwnedFd, path: &Path, is_folder: bool) -> io::Result<()> {
    let mut so_far = PathBuf::from("/");
    for part in path.strip_prefix("/").unwrap_or(path) {
        let parent = open_in(root, &so_far)?;
        so_far.push(part);
        if open_in(root, &so_far).is_ok() {
            continue;
        }
        if so_far == path && !is_folder {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&parent, part, flags, Mode::from_raw_mode(0o644))?;
        } else {
            rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755))?;
        }
    }
    Ok(())
}

/// What kind of file a descriptor is open on.
pub(crate) fn kind_of(fd: &OwnedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode))
}

/// Whether two descriptors are open on the same file.
pub(crate) fn is_same(one: &OwnedFd, other: &OwnedFd) -> io::Result<bool> {
    Ok(identity(&rustix::fs::fstat(one)?) == identity(&rustix::fs::fstat(other)?))
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Whether a descriptor is open on the character device of this number.
pub(crate) fn is_device(fd: &OwnedFd, (major, minor): (u32, u32)) -> io::Result<bool> {
    let stat = rustix::fs::fstat(fd)?;
    let is_character = FileType::from_raw_mode(stat.st_mode).is_char_device();
    Ok(is_character && stat.st_rdev == rustix::fs::makedev(major, minor))
}

/// A kind of file in words.
pub(crate) fn said(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a folder",
        FileType::RegularFile => "a file",
        FileType::Symlink => "a symbolic link",
        FileType::Socket => "a socket",
        FileType::Fifo => "a pipe",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        FileType::Unknown => "no folder",
    }
}
