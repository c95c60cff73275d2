//! Locks that end with their process: that of a ledger, and the machine's.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};
use rustix::fs::OFlags;

use crate::trusted;

/// Name of the machine's lock.
const NAME: &str = "run.lock";
/// How long what a killed process had just forked may take to execute its program, or to die.
const HEIRS: Duration = Duration::from_secs(2);

/// Lock a file, unless its process lives. A child that was forked and has not executed its program yet has all that its parent had
/// open, locks too: when the process itself is gone, that is waited for.
pub(super) fn lock(mut file: File, owner: impl Fn() -> Option<u32>) -> Option<Flock<File>> {
    let deadline = Instant::now() + HEIRS;
    loop {
        file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Some(locked),
            Err((file, _)) => file,
        };
        // The command line of a dead process is empty even before its parent has looked after it.
        let lives = |pid| fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty());
        if owner().is_none_or(lives) || Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The machine-wide lock: two measurements at once would falsify each other.
pub struct MachineLock {
    _file: Flock<File>,
}

impl MachineLock {
    /// Take it in the machine's own folder, or say who has it.
    pub fn take(machine_dir: &Path) -> Result<MachineLock> {
        let path = machine_dir.join(NAME);
        let file = trusted::open_file(&path, OFlags::RDWR | OFlags::CREATE);
        let mut file = MachineLock::locked(file.with_context(|| format!("opening {}", path.display()))?)?;
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.with_context(|| format!("writing {}", path.display()))?;
        Ok(MachineLock { _file: file })
    }

    /// See that nobody has it, without changing anything.
    pub fn check(machine_dir: &Path) -> Result<()> {
        let path = machine_dir.join(NAME);
        match trusted::open_file(&path, OFlags::RDONLY) {
            Ok(file) => MachineLock::locked(file).map(drop),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(e).with_context(|| format!("opening {}", path.display())),
        }
    }

    fn locked(file: File) -> Result<Flock<File>> {
        let told = file.try_clone().context("looking at the machine's lock")?;
        let owner = || {
            let mut text = [0; 20];
            let length = told.read_at(&mut text, 0).unwrap_or(0);
            String::from_utf8_lossy(&text[..length]).trim().to_owned()
        };
        lock(file, || owner().parse().ok()).with_context(|| {
            format!(
                "another `bench run` is measuring on this machine (process {}); two at once would falsify each other: \
                 wait for it, or stop it",
                owner()
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_holds_the_machine() {
        let state = tempfile::tempdir().unwrap();
        let held = MachineLock::take(state.path()).unwrap();
        let error = MachineLock::take(state.path()).err().unwrap().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        assert_eq!(MachineLock::check(state.path()).unwrap_err().to_string(), error);
        drop(held);
        MachineLock::check(state.path()).unwrap();
        let nowhere = state.path().join("nowhere");
        assert!(MachineLock::check(&nowhere).is_ok() && !nowhere.exists());
        MachineLock::take(state.path()).unwrap();
    }
}
