//! The only door to changing the machine: a list of what was changed, and how to undo it.
//!
//! A change is recorded before it is made; undoing goes in reverse. What outlives a power cut is synced first; the rest only has
//! to outlive this process, and what was written does. That something was undone need not be known: undoing twice does no
//! harm. One file per process in the state directory, which is root's alone, locked
//! (`flock`) while its process lives, so that [`clean`] recognises the ledgers of processes that are gone. No process is listed:
//! every process is started inside a listed cgroup, and undoing a cgroup kills what is in it.

mod change;
mod lock;

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Error, Result, anyhow, bail};
use nix::fcntl::{Flock, FlockArg};
use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::trusted::{self, Folder};

pub use change::{Change, Identity};
pub use lock::MachineLock;
use lock::lock;

/// One line of a ledger's file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Made { id: u64, change: Change },
    Undone { id: u64 },
}

/// Names a recorded change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeId(u64);

/// The ledger of this process. Dropping it undoes what is left, in reverse.
pub struct Ledger {
    name: String,
    path: PathBuf,
    inner: RefCell<Inner>,
}

struct Inner {
    file: Flock<File>,
    next: u64,
    standing: Vec<(u64, Change)>,
}

impl Ledger {
    /// A new, empty, locked ledger for this process.
    pub fn open(state_dir: &Path) -> Result<Ledger> {
        let dir = ledgers(state_dir);
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .with_context(|| format!("creating {} for the list of changes", dir.display()))?;
        let name = format!("{}-{:08x}", std::process::id(), rand::random::<u32>());
        let path = dir.join(format!("{name}.jsonl"));
        // Locked before it has its name, so that no cleaner can take it for one of a process that is gone.
        let hidden = path.with_extension("new");
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&hidden);
        let file = file.with_context(|| format!("creating {}", hidden.display()))?;
        let file = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, errno)| errno)
            .with_context(|| format!("locking {}", hidden.display()))?;
        fs::rename(&hidden, &path).with_context(|| format!("naming {}", path.display()))?;
        Ok(Ledger { name, path, inner: RefCell::new(Inner { file, next: 0, standing: Vec::new() }) })
    }

    /// Process id and random digits, for the names of what is made: a process id alone comes back, and what a dead ledger lists
    /// must not be somebody else's by then.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Record a change; make it only after this returned.
    pub fn record(&self, change: Change) -> Result<ChangeId> {
        let mut inner = self.inner.borrow_mut();
        let id = inner.next;
        inner.next += 1;
        self.append(&mut inner, &Line::Made { id, change: change.clone() })?;
        if change.outlives_power() {
            self.sync(&inner.file).with_context(|| format!("syncing {}", self.path.display()))?;
        }
        inner.standing.push((id, change));
        Ok(ChangeId(id))
    }

    /// Create an empty file that did not exist, recorded with its identity; the file, for reading and writing, since its name may be
    /// another's any time where others can write.
    pub fn create_file(&self, folder: &Folder, name: impl AsRef<OsStr>) -> Result<(ChangeId, File)> {
        let name = name.as_ref();
        let path = folder.path.join(name);
        let before = self.record(Change::File { path: path.clone(), identity: None })?;
        let created = folder.create_file(name).and_then(|file| Ok((file.metadata()?, file)));
        match created {
            Ok((metadata, file)) => {
                let identity = Some(Identity::of(&metadata));
                let id = self.record(Change::File { path, identity })?;
                self.forget(before)?;
                Ok((id, file))
            }
            Err(e) => {
                self.forget(before)?;
                Err(e).with_context(|| format!("creating {}", path.display()))
            }
        }
    }

    /// Create a folder that did not exist where nobody else can take it away, only for ourselves (mode 0700).
    pub fn create_folder(&self, path: &Path) -> Result<ChangeId> {
        let id = self.record(Change::Folder { path: path.to_path_buf(), by: None })?;
        match fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => Ok(id),
            Err(e) => {
                self.forget(id)?;
                Err(e).with_context(|| format!("creating {}", path.display()))
            }
        }
    }

    /// Undo one change now.
    pub fn undo(&self, id: ChangeId) -> Result<()> {
        let change = self.inner.borrow().standing.iter().find(|(standing, _)| *standing == id.0).cloned();
        if let Some((_, change)) = change {
            change.undo()?;
            self.forget(id)?;
        }
        Ok(())
    }

    /// Strike a change that was undone by other means or was never made.
    pub fn forget(&self, id: ChangeId) -> Result<()> {
        let mut inner = self.inner.borrow_mut();
        self.append(&mut inner, &Line::Undone { id: id.0 })?;
        inner.standing.retain(|(standing, _)| *standing != id.0);
        Ok(())
    }

    /// Undo everything that stands, in reverse; the first failure is returned after all were tried.
    pub fn undo_all(&self) -> Result<()> {
        let mut first = Ok(());
        let standing: Vec<_> = self.inner.borrow().standing.iter().map(|&(id, _)| ChangeId(id)).collect();
        for id in standing.into_iter().rev() {
            first = first.and(self.undo(id));
        }
        first
    }

    fn append(&self, inner: &mut Inner, line: &Line) -> Result<()> {
        inner.file.write_all(&self::line(line)?).with_context(|| format!("writing {}", self.path.display()))
    }

    /// The lines, and that there is such a file.
    fn sync(&self, file: &File) -> std::io::Result<()> {
        file.sync_data()?;
        self.path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        match self.undo_all() {
            Ok(()) => drop(fs::remove_file(&self.path)),
            Err(e) => crate::output::tell(&format!("bench: {e:#}; `bench clean` will try again")),
        }
    }
}

fn ledgers(state_dir: &Path) -> PathBuf {
    state_dir.join("ledgers")
}

/// What [`clean`] did or would do.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// Changes undone (or, on a dry run, standing).
    pub changes: Vec<Change>,
    /// What could not be read or undone; its ledger stays.
    pub failures: Vec<Error>,
    /// Ledgers whose process is still alive.
    pub live: usize,
}

/// Undo what the ledgers of processes that are gone still list. What fails stops nothing else.
pub fn clean(state_dir: &Path, dry_run: bool) -> Result<Cleaned> {
    let mut cleaned = Cleaned::default();
    let dir = ledgers(state_dir);
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(cleaned),
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            bail!("reading {}: permission denied: run this as root, or with sudo", dir.display())
        }
        Err(e) => return Err(e).with_context(|| format!("reading {}", dir.display())),
    };
    for entry in entries {
        let path = entry.with_context(|| format!("reading {}", dir.display()))?.path();
        if let Err(e) = replay(&path, dry_run, &mut cleaned) {
            cleaned.failures.push(e);
        }
    }
    Ok(cleaned)
}

/// Undo what one ledger lists, unless its process lives.
fn replay(path: &Path, dry_run: bool, cleaned: &mut Cleaned) -> Result<()> {
    let file = match trusted::open_file(path, OFlags::RDWR | OFlags::APPEND) {
        Ok(file) => file,
        // Its process has just ended, and undone everything.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e).with_context(|| format!("opening {}", path.display())),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(mut file) = lock(file, || name.split('-').next().and_then(|pid| pid.parse().ok())) else {
        cleaned.live += 1;
        return Ok(());
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text).with_context(|| format!("reading {}", path.display()))?;
    if !dry_run {
        // What is written below must not be joined to a torn line.
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        file.set_len(whole as u64).with_context(|| format!("cutting a torn line off {}", path.display()))?;
    }
    let (standing, damaged) = standing(&text);
    let mut failures = Vec::new();
    if let Some(number) = damaged {
        let path = path.display();
        failures.push(anyhow!("line {number} of {path} is damaged; remove the file when you have looked at it"));
    }
    for (id, change) in standing.into_iter().rev() {
        let mut undo = || {
            change.undo()?;
            file.write_all(&line(&Line::Undone { id })?).with_context(|| format!("writing {}", path.display()))
        };
        match if dry_run { Ok(()) } else { undo() } {
            Ok(()) => cleaned.changes.push(change),
            Err(e) => failures.push(e),
        }
    }
    if !dry_run && failures.is_empty() {
        match fs::remove_file(path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(e).with_context(|| format!("removing {}", path.display()));
            }
            _ => {}
        }
    }
    cleaned.failures.extend(failures);
    Ok(())
}

fn line(line: &Line) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    Ok(text)
}

/// The changes of a ledger that were not undone, and the number of the first line that is damaged. A torn last line was never
/// followed by its change and is ignored.
fn standing(text: &[u8]) -> (Vec<(u64, Change)>, Option<usize>) {
    let mut standing: Vec<(u64, Change)> = Vec::new();
    let mut damaged = None;
    for (index, line) in text.split_inclusive(|byte| *byte == b'\n').enumerate() {
        match serde_json::from_slice(line) {
            Ok(Line::Made { id, change }) => standing.push((id, change)),
            Ok(Line::Undone { id }) => standing.retain(|(made, _)| *made != id),
            Err(_) if !line.ends_with(b"\n") => {}
            Err(_) => damaged = damaged.or(Some(index + 1)),
        }
    }
    (standing, damaged)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_left_is_undone_in_reverse_and_the_ledger_goes() {
        let state = tempfile::tempdir().unwrap();
        let work = tempfile::tempdir().unwrap();
        let folder = work.path().join("folder");
        let file = folder.join("file");
        let ledger = Ledger::open(state.path()).unwrap();
        ledger.create_folder(&folder).unwrap();
        ledger.create_file(&Folder::open(&folder).unwrap(), "file").unwrap();
        fs::write(&file, "data").unwrap();
        drop(ledger);
        assert!(!folder.exists());
        assert_eq!(fs::read_dir(ledgers(state.path())).unwrap().count(), 0);
    }

    #[test]
    fn a_live_ledger_is_left_alone_and_a_dead_one_is_replayed_despite_a_torn_line() {
        let state = tempfile::tempdir().unwrap();
        let work = tempfile::tempdir().unwrap();
        let live = Ledger::open(state.path()).unwrap();
        let kept = work.path().join("kept");
        live.create_file(&Folder::open(work.path()).unwrap(), "kept").unwrap();
        let lost = work.path().join("lost");
        fs::write(&lost, "data").unwrap();
        let identity = Identity::of(&fs::metadata(&lost).unwrap());
        let line = Line::Made { id: 0, change: Change::File { path: lost.clone(), identity: Some(identity) } };
        let text = format!("{}\n{{\"made\":{{\"id\":1,\"chan", serde_json::to_string(&line).unwrap());
        fs::write(ledgers(state.path()).join("1-dead.jsonl"), text).unwrap();

        let would = clean(state.path(), true).unwrap();
        assert_eq!((would.changes.len(), would.live), (1, 1));
        assert!(lost.exists());
        let did = clean(state.path(), false).unwrap();
        assert_eq!((did.changes.len(), did.live), (1, 1));
        assert!(!lost.exists() && kept.exists());
        assert_eq!(clean(state.path(), false).unwrap().changes.len(), 0);
    }

    #[test]
    fn a_lock_that_a_dead_process_left_to_its_child_is_waited_for() {
        let state = tempfile::tempdir().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        fs::create_dir_all(ledgers(state.path())).unwrap();
        let folder = state.path().join("left");
        fs::create_dir(&folder).unwrap();
        let line = Line::Made { id: 0, change: Change::Folder { path: folder.clone(), by: None } };
        let path = ledgers(state.path()).join(format!("{}-0.jsonl", gone.id()));
        fs::write(&path, format!("{}\n", serde_json::to_string(&line).unwrap())).unwrap();
        let held = Flock::lock(File::open(&path).unwrap(), FlockArg::LockExclusiveNonblock).unwrap();
        let heir = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(held);
        });
        let cleaned = clean(state.path(), false).unwrap();
        heir.join().unwrap();
        assert_eq!((cleaned.changes.len(), cleaned.live), (1, 0));
        assert!(!folder.exists());
    }

    #[test]
    fn a_damaged_ledger_and_a_change_that_cannot_be_undone_stop_nothing_else() {
        let state = tempfile::tempdir().unwrap();
        let work = tempfile::tempdir().unwrap();
        fs::create_dir_all(ledgers(state.path())).unwrap();
        let made = |id: u64, name: &str| {
            fs::write(work.path().join(name), "").unwrap();
            let change = Change::File { path: work.path().join(name), identity: None };
            serde_json::to_string(&Line::Made { id, change }).unwrap()
        };
        // This is the name of no folder in another one: it cannot be undone.
        let stuck = Change::Folder { path: PathBuf::from("/stuck/.."), by: None };
        let stuck = serde_json::to_string(&Line::Made { id: 1, change: stuck }).unwrap();
        let ledger = |name: &str, text: String| fs::write(ledgers(state.path()).join(name), text).unwrap();
        ledger("1-stuck.jsonl", format!("{}\n{stuck}\n", made(0, "a")));
        ledger("2-damaged.jsonl", format!("{{}}\n{}\n", made(0, "b")));
        let mut torn = format!("{}\n", made(0, "c")).into_bytes();
        torn.extend("{\"made\":{\"id\":1,\"path\":\"/\u{fc}".as_bytes());
        torn.pop();
        fs::write(ledgers(state.path()).join("3-torn.jsonl"), torn).unwrap();

        let cleaned = clean(state.path(), false).unwrap();
        assert_eq!((cleaned.changes.len(), cleaned.failures.len()), (3, 2), "{cleaned:?}");
        assert!(["a", "b", "c"].iter().all(|name| !work.path().join(name).exists()));
        let said: Vec<String> = cleaned.failures.iter().map(|failure| format!("{failure:#}")).collect();
        assert!(said.iter().any(|text| text.contains("line 1 of ") && text.contains("2-damaged")), "{said:?}");
        assert!(said.iter().any(|text| text.contains("/stuck")), "{said:?}");
        assert_eq!(fs::read_dir(ledgers(state.path())).unwrap().count(), 2, "those that failed stay");
        let again = clean(state.path(), false).unwrap();
        assert_eq!(
            (again.changes.len(), again.failures.len()),
            (0, 2),
            "what was undone is not undone again: {again:?}"
        );
    }

    #[test]
    fn a_file_that_is_not_ours_any_more_stays() {
        let state = tempfile::tempdir().unwrap();
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("file");
        let folder = Folder::open(work.path()).unwrap();
        let ledger = Ledger::open(state.path()).unwrap();
        ledger.create_file(&folder, "file").unwrap();
        let other = work.path().join("other");
        fs::write(&other, "somebody's").unwrap();
        fs::rename(&other, &path).unwrap();
        drop(ledger);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");

        // A new file may well get the number of the one that was removed.
        let ledger = Ledger::open(state.path()).unwrap();
        fs::remove_file(&path).unwrap();
        ledger.create_file(&folder, "file").unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "somebody's").unwrap();
        drop(ledger);
        assert_eq!(fs::read_to_string(&path).unwrap(), "somebody's");
    }
}
