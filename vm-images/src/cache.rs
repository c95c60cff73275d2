//! What the cache holds.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rustix::fs::OFlags;
use tempfile::{Builder, NamedTempFile, TempDir};

use crate::{ImageError, io};

/// Folder in which things are made, under the lock; nothing else is in it.
const HALF_MADE: &str = "half-made";
/// Locked while something is made.
const LOCK: &str = ".lock";
/// How long the children of a killed builder may hold its lock, and write.
const HEIRS: Duration = Duration::from_secs(2);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// A folder to make something in.
pub(crate) fn half_made(cache: &Path) -> Result<TempDir, ImageError> {
    Builder::new().tempdir_in(workshop(cache)?).map_err(io("writing to the cache", cache))
}

/// A file to make something in.
pub(crate) fn half_made_file(cache: &Path) -> Result<NamedTempFile, ImageError> {
    Builder::new().tempfile_in(workshop(cache)?).map_err(io("writing to the cache", cache))
}

fn workshop(cache: &Path) -> Result<PathBuf, ImageError> {
    let path = cache.join(HALF_MADE);
    match fs::create_dir(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(io("writing to the cache", &path)(e)),
        _ => own_folder(&path).map(|_| path),
    }
}

/// Refuse a link, which would have its target written to and cleaned; false where there is nothing.
fn own_folder(path: &Path) -> Result<bool, ImageError> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => Ok(true),
        Ok(_) => Err(ImageError::Missing(format!("{} is no folder but a link or a file: remove it", path.display()))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(io("reading the cache", path)(e)),
    }
}

/// Open the lock's file, which is no link and no pipe.
fn open_lock(path: &Path, options: &mut fs::OpenOptions) -> Result<File, std::io::Error> {
    let file = options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(rustix::io::Errno::INVAL.into()) }
}

/// Keep other processes from building at the same time; until dropped. What a killed builder left half-made is removed.
pub(crate) fn lock(cache: &Path) -> Result<Flock<File>, ImageError> {
    fs::create_dir_all(cache).map_err(io("creating the cache", cache))?;
    let path = cache.join(LOCK);
    let file =
        open_lock(&path, File::options().write(true).create(true).truncate(false)).map_err(io("opening", &path))?;
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io("locking", &path)(errno.into()))?;
    remove_patiently(&half_made_there(cache)?, Instant::now() + HEIRS)?;
    Ok(lock)
}

/// Remove what killed builders left half-made, or only look for it; the paths. Absent while somebody builds.
pub fn remove_half_made(cache: &Path, dry_run: bool) -> Result<Option<Vec<PathBuf>>, ImageError> {
    let path = cache.join(LOCK);
    let mut file = match open_lock(&path, File::options().read(true)) {
        Ok(file) => file,
        // Nothing was ever built.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Some(Vec::new())),
        Err(e) => return Err(io("opening", &path)(e)),
    };
    let deadline = Instant::now() + HEIRS;
    let _lock = loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => break lock,
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() > deadline => return Ok(None),
            Err((file, Errno::EWOULDBLOCK)) => file,
            Err((_, errno)) => return Err(io("locking", &path)(errno.into())),
        };
        std::thread::sleep(LOOK);
    };
    let found = half_made_there(cache)?;
    if !dry_run {
        remove_patiently(&found, deadline)?;
    }
    Ok(Some(found))
}

/// Programs that outlived a killed builder may still write there for a moment.
fn remove_patiently(paths: &[PathBuf], deadline: Instant) -> Result<(), ImageError> {
    for path in paths {
        while let Err(e) = remove_all(path) {
            if e.kind() == std::io::ErrorKind::NotFound {
                break;
            }
            if Instant::now() > deadline {
                return Err(io("removing the half-made", path)(e));
            }
            std::thread::sleep(LOOK);
        }
    }
    Ok(())
}

fn half_made_there(cache: &Path) -> Result<Vec<PathBuf>, ImageError> {
    let path = cache.join(HALF_MADE);
    if !own_folder(&path)? {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(&path).map_err(io("reading the cache", &path))?;
    Ok(entries.flatten().map(|entry| entry.path()).collect())
}

/// Of a link the link.
fn remove_all(path: &Path) -> std::io::Result<()> {
    if path.symlink_metadata()?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

/// One thing in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheItem {
    /// `tree`, `kernel`, `initramfs`, `root` or `bench`.
    pub kind: String,
    /// The beginning of its digest; empty for the kernel.
    pub digest: String,
    /// Bytes on disk.
    pub bytes: u64,
    /// Where it is.
    pub path: String,
}

/// Everything of ours in the cache, by name.
pub fn list(cache: &Path) -> Result<Vec<CacheItem>, ImageError> {
    let entries = match fs::read_dir(cache) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(io("reading the cache", cache)(e)),
    };
    let mut items: Vec<_> = entries.flatten().filter_map(|entry| item(&entry.path())).collect();
    items.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(items)
}

fn item(path: &Path) -> Option<CacheItem> {
    let name = path.file_name()?.to_str()?;
    let (kind, rest) = name.split_once('-').unwrap_or((name, ""));
    let known = ["tree", "kernel", "initramfs", "root", "bench"].contains(&kind);
    let digest = rest.split('.').next().unwrap_or_default().to_owned();
    known.then(|| CacheItem { kind: kind.to_owned(), digest, bytes: bytes(path), path: path.display().to_string() })
}

fn bytes(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(own) = path.symlink_metadata() else { return 0 };
    let entries = own.is_dir().then(|| fs::read_dir(path)).into_iter().flatten();
    let inner = entries.flatten().flatten().map(|entry| bytes(&entry.path())).sum::<u64>();
    own.blocks() * 512 + inner
}

/// Remove everything, or what has a digest that begins so; the paths.
pub fn remove(cache: &Path, digest: Option<&str>) -> Result<Vec<String>, ImageError> {
    let chosen = |item: &CacheItem| digest.is_none_or(|digest| !digest.is_empty() && item.digest.starts_with(digest));
    let items: Vec<_> = list(cache)?.into_iter().filter(chosen).collect();
    if let (Some(digest), true) = (digest, items.is_empty()) {
        return Err(ImageError::Missing(format!(
            "nothing in {} has a digest that begins with {digest}",
            cache.display()
        )));
    }
    for item in &items {
        let path = Path::new(&item.path);
        remove_all(path).map_err(io("removing", path))?;
    }
    Ok(items.into_iter().map(|item| item.path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_made_goes_unless_somebody_makes_it() {
        let cache = tempfile::tempdir().unwrap();
        let nothing = Some(Vec::new());
        assert_eq!(remove_half_made(&cache.path().join("none"), false).unwrap(), nothing);
        assert_eq!(remove_half_made(cache.path(), false).unwrap(), nothing);
        assert_eq!(fs::read_dir(cache.path()).unwrap().count(), 0, "looking makes nothing");
        let builder = lock(cache.path()).unwrap();
        let folder = half_made(cache.path()).unwrap().keep();
        fs::write(folder.join("inner"), "").unwrap();
        fs::create_dir(cache.path().join("tree-1")).unwrap();
        assert_eq!(remove_half_made(cache.path(), false).unwrap(), None);
        drop(builder);
        assert_eq!(remove_half_made(cache.path(), true).unwrap(), Some(vec![folder.clone()]));
        assert!(folder.exists(), "only looked for");
        assert_eq!(remove_half_made(cache.path(), false).unwrap(), Some(vec![folder.clone()]));
        assert!(!folder.exists() && cache.path().join("tree-1").exists());
    }

    #[test]
    fn links_in_a_cache_lead_nowhere() {
        let (cache, precious) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(precious.path().join("file"), "mine").unwrap();
        let link = |name: &str| std::os::unix::fs::symlink(precious.path(), cache.path().join(name)).unwrap();
        link(HALF_MADE);
        drop(lock(cache.path()).unwrap_err());
        assert!(remove_half_made(cache.path(), false).unwrap_err().to_string().contains("a link or a file"));
        assert!(half_made(cache.path()).is_err());
        fs::remove_file(cache.path().join(HALF_MADE)).unwrap();
        link("tree-0");
        remove(cache.path(), None).unwrap();
        assert!(precious.path().join("file").exists());
        fs::remove_file(cache.path().join(LOCK)).unwrap();
        nix::unistd::mkfifo(&cache.path().join(LOCK), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(lock(cache.path()).is_err() && remove_half_made(cache.path(), false).is_err());
    }
}
