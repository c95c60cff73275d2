//! Folders that root trusts, and work in those that it does not.
//!
//! Root believes, executes and mounts only what lies where nobody else can write: [`roots_own`]. Elsewhere a name may lead to another
//! file at each look: there nothing is done by a path that was looked at before, but in an open folder, through no link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::caller::Caller;

/// As many links of root's are followed on the way to a path: what Linux allows (path_resolution(7)).
const MOST_LINKS: u32 = 40;
/// A folder or file to look at: neither read nor, if it is a link, followed.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Below an open folder, and through no link.
const WITHIN: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// The first entry on the way to a path that somebody other than root could have made, or can fill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// The entry.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: Caller,
    mode: u32,
}

impl Stranger {
    fn of(path: PathBuf, found: &Stat) -> Stranger {
        Stranger { path, owner: Caller { uid: found.st_uid, gid: found.st_gid }, mode: found.st_mode }
    }
}

impl std::fmt::Display for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match (self.owner.uid, FileType::from_raw_mode(self.mode)) {
            (0, FileType::Symlink) => write!(f, "{path} is a link where others can make one"),
            (0, _) => write!(f, "{path} can be written by others (mode {:o})", self.mode & 0o7777),
            (uid, _) => write!(f, "{path} belongs to user {uid}"),
        }
    }
}

/// An entry that holds or is what root trusts: root's, and written by nobody else. In a sticky folder such as `/tmp` nobody can take
/// away or replace what is root's.
fn stranger(path: &Path, found: &Stat) -> Option<Stranger> {
    let is_sticky = FileType::from_raw_mode(found.st_mode) == FileType::Directory && found.st_mode & 0o1000 != 0;
    let is_open = found.st_mode & 0o022 != 0 && !is_sticky;
    (found.st_uid != 0 || is_open).then(|| Stranger::of(path.to_path_buf(), found))
}

/// Follow a path from the top, one open folder after the other: the path without links, or the first entry that is not root's alone.
/// What does not exist is believed to be made by who asks. Links are followed where only root can have made them.
pub fn way_to(path: &Path) -> io::Result<Result<PathBuf, Stranger>> {
    let mut left: Vec<OsString> = names(&std::path::absolute(path)?);
    let (mut at, mut real, mut links) = (open_top()?, PathBuf::from("/"), 0);
    let mut holder = rustix::fs::fstat(&at)?;
    if let Some(stranger) = stranger(&real, &holder) {
        return Ok(Err(stranger));
    }
    while let Some(name) = left.pop() {
        let next = match rustix::fs::openat(&at, &name, LOOK, Mode::empty()) {
            Ok(next) => next,
            Err(Errno::NOENT) => {
                real.push(name);
                real.extend(left.into_iter().rev());
                return Ok(Ok(real));
            }
            Err(e) => return Err(e.into()),
        };
        let found = rustix::fs::fstat(&next)?;
        if FileType::from_raw_mode(found.st_mode) == FileType::Symlink {
            if found.st_uid != 0 || holder.st_mode & 0o022 != 0 {
                return Ok(Err(Stranger::of(real.join(name), &found)));
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Errno::LOOP.into());
            }
            let to = rustix::fs::readlinkat(&next, "", Vec::new())?;
            let to = Path::new(OsStr::from_bytes(to.to_bytes()));
            if to.is_absolute() {
                (at, real) = (open_top()?, PathBuf::from("/"));
            }
            left.extend(names(to));
            continue;
        }
        if name == ".." {
            real.pop();
        } else {
            real.push(&name);
        }
        if let Some(stranger) = stranger(&real, &found) {
            return Ok(Err(stranger));
        }
        (at, holder) = (next, found);
    }
    Ok(Ok(real))
}

/// The names of a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let is_name = |part: &Component<'_>| matches!(part, Component::Normal(_) | Component::ParentDir);
    path.components().filter(is_name).map(|part| part.as_os_str().to_owned()).rev().collect()
}

fn open_top() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// A folder is not root's alone, or cannot be looked at.
#[derive(Debug, thiserror::Error)]
pub enum NotRoots {
    /// Others can write there.
    #[error("{0}")]
    Stranger(Stranger),
    /// The system refused.
    #[error("looking at {}", .0.display())]
    Io(PathBuf, #[source] io::Error),
}

/// The same folder without links on the way, if it is root's alone with all above it; it may be missing. Above it there may be sticky
/// folders such as `/tmp`; in the folder itself nobody else may make anything.
pub fn check_roots_own(folder: &Path) -> Result<PathBuf, NotRoots> {
    Ok(look_at_roots_own(folder)?.0)
}

/// The same, and whether it is there.
fn look_at_roots_own(folder: &Path) -> Result<(PathBuf, bool), NotRoots> {
    let failed = |e| NotRoots::Io(folder.to_path_buf(), e);
    let path = way_to(folder).map_err(failed)?.map_err(NotRoots::Stranger)?;
    match rustix::fs::lstat(&path) {
        Ok(found) if found.st_uid != 0 || found.st_mode & 0o022 != 0 => {
            Err(NotRoots::Stranger(Stranger::of(path, &found)))
        }
        Ok(found) => Ok((path, FileType::from_raw_mode(found.st_mode) == FileType::Directory)),
        Err(Errno::NOENT) => Ok((path, false)),
        Err(e) => Err(failed(e.into())),
    }
}

/// The same, made with what is missing above it.
pub fn roots_own(folder: &Path) -> Result<PathBuf, NotRoots> {
    let (real, is_there) = look_at_roots_own(folder)?;
    if is_there {
        return Ok(real);
    }
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(&real);
    made.map_err(|e| NotRoots::Io(real.clone(), e))?;
    // Where others can write, as in `/tmp`, somebody may have been faster.
    check_roots_own(&real)
}

/// A folder that is open: what is done in it is done there, whatever becomes of its name.
#[derive(Debug)]
pub struct Folder {
    open: OwnedFd,
    /// Its path without links, as it was when it was opened.
    pub path: PathBuf,
}

impl Folder {
    /// Open it as whoever this thread is, if files can be made in it.
    pub fn open(path: &Path) -> io::Result<Folder> {
        let open = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        rustix::fs::accessat(&open, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)?;
        let path = std::fs::read_link(seen_by_descriptor(&open))?;
        Ok(Folder { open, path })
    }

    /// Create a file that did not exist, for reading and writing by its owner alone.
    pub fn create_file(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        open_in(&self.open, name, flags, Mode::RUSR | Mode::WUSR).map(File::from)
    }
}

/// A path that leads to what is open here, for all processes of root's, whatever becomes of its name.
pub fn seen_by_descriptor(open: impl AsFd) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), open.as_fd().as_raw_fd()))
}

/// The folder that holds a path, open, and the path's name in it. Where root alone could write on the way, links are followed; else none
/// is, root's neither.
fn holder(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL.into()) };
    let folder = way_to(folder)?.unwrap_or_else(|_| folder.to_path_buf());
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok((rustix::fs::openat2(CWD, &folder, flags, Mode::empty(), resolve)?, name))
}

fn open_in(folder: impl AsFd, name: &OsStr, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    // A pipe would keep who opens it waiting.
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(rustix::fs::openat2(folder, name, flags, mode, WITHIN)?)
}

/// Open or create a file by its absolute path, if it is one: no link, no pipe, no folder.
pub fn open_file(path: &Path, flags: OFlags) -> io::Result<File> {
    let (folder, name) = holder(path)?;
    let mode = if flags.contains(OFlags::CREATE) { Mode::RUSR | Mode::WUSR } else { Mode::empty() };
    let file = File::from(open_in(&folder, name, flags, mode)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file but a folder, a pipe or a device"));
    }
    Ok(file)
}

/// Remove what has an absolute path, a folder with all that it holds, if `is_ours` says so; nothing there is no error. Nothing is removed
/// through a link, nor in another file system that is mounted below.
pub fn remove(path: &Path, is_ours: impl Fn(&std::fs::Metadata) -> bool) -> io::Result<()> {
    let removed = holder(path).and_then(|(folder, name)| {
        let found = File::from(rustix::fs::openat(&folder, name, LOOK, Mode::empty())?).metadata()?;
        if !is_ours(&found) {
            return Ok(());
        }
        if found.is_dir() { remove_folder(folder.as_fd(), name, found.ino()) } else { unlink(&folder, name, false) }
    });
    // Behind somebody's link, or below a file, it is not what it was.
    let is_gone = |e: &io::Error| {
        [Errno::NOENT, Errno::LOOP, Errno::NOTDIR].iter().any(|gone| e.raw_os_error() == Some(gone.raw_os_error()))
    };
    match removed {
        Err(e) if is_gone(&e) => Ok(()),
        other => other,
    }
}

/// A folder with all that it holds, if it is still the one with this inode.
fn remove_folder(folder: BorrowedFd<'_>, name: &OsStr, inode: u64) -> io::Result<()> {
    let resolve = WITHIN | ResolveFlags::NO_XDEV;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let own = rustix::fs::openat2(folder, name, flags, Mode::empty(), resolve)?;
    if rustix::fs::fstat(&own)?.st_ino != inode {
        return Err(Errno::STALE.into());
    }
    for (name, found) in entries(&own)? {
        let removed = match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => remove_folder(own.as_fd(), &name, found.st_ino),
            _ => unlink(&own, &name, false),
        };
        // Somebody else may have been faster.
        removed.or_else(|e| if e.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(e) })?;
    }
    unlink(folder, name, true)
}

fn unlink(folder: impl AsFd, name: &OsStr, is_folder: bool) -> io::Result<()> {
    let flags = if is_folder { AtFlags::REMOVEDIR } else { AtFlags::empty() };
    Ok(rustix::fs::unlinkat(folder, name, flags)?)
}

/// What an open folder holds, as it is, links as links.
fn entries(folder: impl AsFd) -> io::Result<Vec<(OsString, Stat)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            match rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => found.push((name.to_owned(), stat)),
                Err(Errno::NOENT) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(found)
}

/// Give what root made to somebody: a file, or a folder with all that it holds, itself last, so that nobody else can write there
/// meanwhile. What is not root's, or has another name elsewhere, is left as it is.
pub fn give(path: &Path, to: Caller) -> io::Result<()> {
    let (folder, name) = holder(path)?;
    give_in(folder.as_fd(), name, to)
}

fn give_in(folder: BorrowedFd<'_>, name: &OsStr, to: Caller) -> io::Result<()> {
    let own = open_in(folder, name, OFlags::RDONLY, Mode::empty())?;
    let found = rustix::fs::fstat(&own)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    if kind == FileType::Directory {
        for (name, found) in entries(&own)? {
            if matches!(FileType::from_raw_mode(found.st_mode), FileType::Directory | FileType::RegularFile) {
                give_in(own.as_fd(), &name, to)?;
            }
        }
    }
    let is_ours =
        found.st_uid == 0 && (kind == FileType::Directory || kind == FileType::RegularFile && found.st_nlink == 1);
    if is_ours {
        rustix::fs::fchown(&own, Some(to.owner()), Some(to.group()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    /// A folder of root's; absent, with the reason, for others.
    fn folder() -> Option<tempfile::TempDir> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root has folders that are root's");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Some(folder)
    }

    fn said(path: &Path) -> String {
        way_to(path).unwrap().unwrap_err().to_string()
    }

    #[test]
    fn a_folder_is_roots_when_nobody_else_can_change_anything_on_the_way() {
        let Some(folder) = folder() else { return };
        let own = folder.path().join("own/inner");
        assert_eq!(roots_own(&own).unwrap(), own);
        assert_eq!(way_to(&own.join("../x/y")).unwrap().unwrap(), folder.path().join("own/x/y"));
        symlink(&own, folder.path().join("link")).unwrap();
        assert_eq!(
            way_to(&folder.path().join("link/x")).unwrap().unwrap(),
            own.join("x"),
            "root's link is root's word"
        );
        let mode = |mode| fs::set_permissions(folder.path().join("own"), fs::Permissions::from_mode(mode)).unwrap();
        for open in [0o777, 0o775] {
            mode(open);
            assert!(said(&own).contains(&format!("/own can be written by others (mode {open:o})")), "{}", said(&own));
        }
        mode(0o1777);
        let refused = roots_own(&folder.path().join("own")).unwrap_err().to_string();
        assert!(refused.contains("/own can be written by others (mode 1777)"), "{refused}");
        assert_eq!(roots_own(&own).unwrap(), own, "sticky folders may be above");
        assert_eq!(way_to(&own).unwrap().unwrap(), own, "nobody takes root's folder out of a sticky one");
        symlink("inner", folder.path().join("own/made")).unwrap();
        assert!(said(&folder.path().join("own/made")).contains("is a link where others can make one"));
        chown(&own, Some(54_321), None).unwrap();
        assert!(said(&own.join("below")).ends_with("inner belongs to user 54321"));
        symlink("/etc", folder.path().join("theirs")).unwrap();
        std::os::unix::fs::lchown(folder.path().join("theirs"), Some(54_321), None).unwrap();
        assert!(said(&folder.path().join("theirs/passwd")).ends_with("theirs belongs to user 54321"));
    }

    #[test]
    fn nothing_is_removed_or_given_through_a_link() {
        let Some(folder) = folder() else { return };
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("precious/inner")).unwrap();
        fs::write(path("precious/inner/file"), "").unwrap();
        fs::create_dir(path("ours")).unwrap();
        symlink(path("precious"), path("ours/link")).unwrap();
        symlink(path("precious"), path("link")).unwrap();
        fs::hard_link(path("precious/inner/file"), path("ours/second name")).unwrap();
        fs::write(path("ours/file"), "").unwrap();
        give(&path("ours"), Caller { uid: 54_321, gid: 54_321 }).unwrap();
        let uid = |name: &str| path(name).symlink_metadata().unwrap().uid();
        assert_eq!((uid("ours"), uid("ours/file")), (54_321, 54_321));
        assert_eq!((uid("precious"), uid("precious/inner/file"), uid("ours/link")), (0, 0, 0));
        remove(&path("ours"), |_| false).unwrap();
        assert!(path("ours/file").exists());
        remove(&path("ours"), |_| true).unwrap();
        remove(&path("link"), |_| true).unwrap();
        remove(&path("never/there"), |_| true).unwrap();
        assert!(
            !path("ours").exists() && path("link").symlink_metadata().is_err() && path("precious/inner/file").exists()
        );
    }

    #[test]
    fn a_pipe_and_a_link_are_no_files() {
        let Some(folder) = folder() else { return };
        let path = |name: &str| folder.path().join(name);
        nix::unistd::mkfifo(&path("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        fs::write(path("file"), "").unwrap();
        symlink("file", path("link")).unwrap();
        assert!(open_file(&path("file"), OFlags::RDONLY).is_ok());
        assert!(open_file(&path("pipe"), OFlags::RDONLY).unwrap_err().to_string().contains("a pipe"));
        assert!(open_file(&path("link"), OFlags::RDWR | OFlags::CREATE).is_err());
        let folder = Folder::open(folder.path()).unwrap();
        assert!(folder.create_file("link".as_ref()).is_err() && folder.create_file("file".as_ref()).is_err());
        folder.create_file("new".as_ref()).unwrap();
    }
}
