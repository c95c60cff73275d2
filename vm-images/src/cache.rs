//! What the cache holds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
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
    fs::create_dir_all(&path).map_err(io("writing to the cache", &path))?;
    Ok(path)
}

/// Keep other processes from building at the same time; until dropped. What a killed builder left half-made is removed.
pub(crate) fn lock(cache: &Path) -> Result<Flock<File>, ImageError> {
    fs::create_dir_all(cache).map_err(io("creating the cache", cache))?;
    let path = cache.join(LOCK);
    let file = File::options().write(true).create(true).truncate(false).open(&path).map_err(io("opening", &path))?;
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| io("locking", &path)(errno.into()))?;
    remove_patiently(&half_made_there(cache)?, Instant::now() + HEIRS)?;
    Ok(lock)
}

/// Remove what killed builders left half-made, or only look for it; the paths. Absent while somebody builds.
pub fn remove_half_made(cache: &Path, dry_run: bool) -> Result<Option<Vec<PathBuf>>, ImageError> {
    let path = cache.join(LOCK);
    let mut file = match File::open(&path) {
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
    match fs::read_dir(&path) {
        Ok(entries) => Ok(entries.flatten().map(|entry| entry.path()).collect()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(io("reading the cache", &path)(e)),
    }
}

fn remove_all(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
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
    let own = path.symlink_metadata().map_or(0, |metadata| metadata.blocks() * 512);
    let inner = fs::read_dir(path).into_iter().flatten().flatten().map(|entry| bytes(&entry.path())).sum::<u64>();
    own + inner
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
}
