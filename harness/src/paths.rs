//! Where `bench` keeps what outlives a process. As root, all of it is root's: see [`trusted`].

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::unistd::geteuid;

use crate::caller::{Caller, Hands};
use crate::trusted::{self, NotRoots};

/// Where root keeps trees, images and what is known of KVM: executed and mounted as root.
const CACHE: &str = "/var/cache/bench";
/// Where ledgers are: they survive a power cut.
const STATE: &str = "/var/lib/bench";
/// The machine's own, which no variable moves, and which is gone when it is off: the lock of the one run that may measure.
pub const MACHINE: &str = "/run/bench";

/// Create a folder for results with what is missing above it, with the hands that work there; what root makes for the person behind
/// `sudo` is given to them. The hands to go on with.
pub fn create_for_caller(folder: &Path) -> Result<Hands> {
    let folder = std::path::absolute(folder)?;
    let hands = Hands::in_folder(&folder)?;
    let missing = folder.ancestors().take_while(|path| !path.exists()).last().map(Path::to_path_buf);
    hands.act(|| std::fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display())))?;
    missing.map_or(Ok(()), |path| give_to_caller(&path, hands))?;
    Hands::in_folder(&folder)
}

/// Give what these hands made to the person behind `sudo`, when there is one whose it is not already.
pub fn give_to_caller(path: &Path, made_by: Hands) -> Result<()> {
    let (None, Some(caller)) = (made_by.whose(), Caller::behind_sudo()) else { return Ok(()) };
    trusted::give(&std::path::absolute(path)?, caller)
        .with_context(|| format!("giving {} to user {}", path.display(), caller.uid))
}

/// Trees and images; made where it is missing.
pub fn cache_dir() -> Result<PathBuf> {
    if geteuid().is_root() {
        return roots("BENCH_CACHE_DIR", CACHE, trusted::roots_own);
    }
    let dir = users_cache()?;
    std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
    Ok(dir)
}

/// Where trees and images are kept: root's `BENCH_CACHE_DIR` or `/var/cache/bench`, others' `BENCH_CACHE_DIR` or `~/.cache/bench`,
/// which root never uses. It may not exist yet.
pub fn cache_path() -> Result<PathBuf> {
    if geteuid().is_root() { roots("BENCH_CACHE_DIR", CACHE, trusted::check_roots_own) } else { users_cache() }
}

/// Where root remembers whether KVM boots a guest, for whoever wants to know.
pub fn roots_cache() -> PathBuf {
    set("BENCH_CACHE_DIR").unwrap_or_else(|| PathBuf::from(CACHE))
}

fn users_cache() -> Result<PathBuf> {
    let below = |dir: PathBuf| dir.join("bench");
    let home = || Some(set("HOME")?.join(".cache/bench"));
    set("BENCH_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(below))
        .or_else(home)
        .context("finding the cache: neither BENCH_CACHE_DIR nor HOME is set")
}

/// The folder that a variable names.
fn set(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

/// Ledgers, as root: `BENCH_STATE_DIR`, else `/var/lib/bench`; made where it is missing.
pub fn state_dir() -> Result<PathBuf> {
    roots("BENCH_STATE_DIR", STATE, trusted::roots_own)
}

/// The same, which may not exist. Who is not root is not asked to trust it.
pub fn state_path() -> Result<PathBuf> {
    let check = if geteuid().is_root() { trusted::check_roots_own } else { |path: &Path| Ok(path.to_path_buf()) };
    roots("BENCH_STATE_DIR", STATE, check)
}

/// [`MACHINE`], made where it is missing.
pub fn machine_dir() -> Result<PathBuf> {
    trusted::roots_own(Path::new(MACHINE)).with_context(|| refusal(MACHINE))
}

/// The folder that a variable names, or the usual one, if the check lets it pass.
fn roots(variable: &str, usual: &str, check: impl Fn(&Path) -> Result<PathBuf, NotRoots>) -> Result<PathBuf> {
    let (path, otherwise) = match set(variable) {
        Some(path) => (path, format!("choose another folder, or unset {variable} to use {usual}")),
        None => (PathBuf::from(usual), refusal(usual)),
    };
    check(&path).map_err(|e| match e {
        NotRoots::Stranger(_) => anyhow::Error::from(e).context(format!(
            "{}: root trusts its contents, so it and every folder above it must belong to root and be writable by root alone; {otherwise}",
            path.display()
        )),
        NotRoots::Io(..) => e.into(),
    })
}

fn refusal(usual: &str) -> String {
    format!("fix that with `chown root` and `chmod go-w`, and remove {usual} unless you trust its contents")
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

/// The running executable itself, whatever its name leads to by now.
pub const OWN_EXECUTABLE: &str = "/proc/self/exe";
