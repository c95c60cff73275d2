//! Where `bench` keeps what outlives a process, and to whom it belongs.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The person behind `sudo`: files end up theirs, and the cache is theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Caller {
    /// From `SUDO_UID` and `SUDO_GID`; absent when `bench` was not started by `sudo`.
    pub fn behind_sudo() -> Option<Caller> {
        let id = |name| std::env::var(name).ok()?.parse().ok();
        Some(Caller { uid: id("SUDO_UID")?, gid: id("SUDO_GID")? })
    }

    /// Give a file or a whole folder to the caller; symbolic links are not followed.
    pub fn own(self, path: &Path) -> std::io::Result<()> {
        std::os::unix::fs::lchown(path, Some(self.uid), Some(self.gid))?;
        if path.symlink_metadata()?.is_dir() {
            for entry in std::fs::read_dir(path)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }
}

/// Give the cache and what is new in it to the person behind `sudo`, when there is one.
pub fn give_cache_to_caller(cache: &Path) -> Result<()> {
    let Some(caller) = Caller::behind_sudo() else { return Ok(()) };
    let is_theirs = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.uid() == caller.uid);
    let give = || {
        std::os::unix::fs::lchown(cache, Some(caller.uid), Some(caller.gid))?;
        for entry in std::fs::read_dir(cache)? {
            let path = entry?.path();
            if !is_theirs(&path) {
                caller.own(&path)?;
            }
        }
        Ok::<_, std::io::Error>(())
    };
    give().with_context(|| format!("giving {} to uid {}", cache.display(), caller.uid))
}

/// Create a folder with what is missing above it; new ones belong to the person behind `sudo`, when there is one.
pub fn create_for_caller(folder: &Path) -> Result<()> {
    let folder = std::path::absolute(folder)?;
    let missing: Vec<_> = folder.ancestors().take_while(|path| !path.exists()).map(Path::to_path_buf).collect();
    std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    missing.iter().try_for_each(|path| give_to_caller(path))
}

/// Give `path` to the person behind `sudo`, when there is one.
pub fn give_to_caller(path: &Path) -> Result<()> {
    match Caller::behind_sudo() {
        Some(caller) => caller.own(path).with_context(|| format!("giving {} to uid {}", path.display(), caller.uid)),
        None => Ok(()),
    }
}

/// Images and probe outcomes: `BENCH_CACHE_DIR`, else `~/.cache/bench` of the caller; made where it is missing.
pub fn cache_dir() -> Result<PathBuf> {
    let dir = cache_path()?;
    create_for_caller(&dir)?;
    Ok(dir)
}

/// Where trees and images are kept; it may not exist yet.
pub fn cache_path() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("BENCH_CACHE_DIR") {
        return Ok(PathBuf::from(dir));
    }
    if let Some(home) = Caller::behind_sudo().and_then(|caller| home_of(caller.uid)) {
        return Ok(home.join(".cache/bench"));
    }
    if let Some(dir) = std::env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty()) {
        return Ok(PathBuf::from(dir).join("bench"));
    }
    let home = std::env::var_os("HOME").context("finding the cache: neither BENCH_CACHE_DIR nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cache/bench"))
}

fn home_of(uid: u32) -> Option<PathBuf> {
    nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.dir)
}

/// Ledgers and the machine-wide lock: `BENCH_STATE_DIR`, else `/var/lib/bench`. They survive a power cut.
pub fn state_dir() -> PathBuf {
    std::env::var_os("BENCH_STATE_DIR").map_or_else(|| PathBuf::from("/var/lib/bench"), PathBuf::from)
}

/// A place in memory for sockets and the tools' temporary files: `/run/bench-NAME`, else below `/dev/shm`. On a disk they would be
/// I/O that only some environments have, so that neither being in memory is an error.
pub fn volatile_dir(name: &str) -> Result<PathBuf> {
    let base = ["/run", "/dev/shm"].map(Path::new).into_iter().find(|dir| is_in_memory(dir));
    let base = base.context(
        "finding a place in memory for the tools' temporary files: neither /run nor /dev/shm is a tmpfs \
         (`mount -t tmpfs tmpfs /dev/shm` makes one)",
    )?;
    Ok(base.join(format!("bench-{name}")))
}

fn is_in_memory(path: &Path) -> bool {
    const TMPFS_MAGIC: i64 = 0x0102_1994;
    nix::sys::statfs::statfs(path).is_ok_and(|stat| stat.filesystem_type().0 == TMPFS_MAGIC)
}

/// The path of the running executable.
pub fn own_executable() -> Result<PathBuf> {
    std::env::current_exe().context("finding bench's own executable")
}
