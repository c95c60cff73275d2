//! The end of a group: everything in it is killed, then it is removed.
//!
//! What is below a group was perhaps made by a program inside, as deep as it liked: no path is as long. So everything is reached from
//! the folder above, by descriptors.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};

use crate::cgroup::CgroupError;

/// How long a killed process may take to go; one that waits for a disk goes when the disk answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kill everything in these groups and in those below, and remove them. Groups that are gone already are fine.
pub fn remove_paths(paths: &[PathBuf]) -> Result<(), CgroupError> {
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    let mut left: Vec<&PathBuf> = paths.iter().collect();
    loop {
        // What is empty can be removed, and most often it is. What is not is killed first, all over again: until the last is dead,
        // groups may be made.
        let mut failed = None;
        left.retain(|path| match remove(path).or_else(|_| kill(path).and_then(|()| remove(path))) {
            Ok(()) => false,
            Err(source) => {
                failed = Some((path.display().to_string(), source));
                true
            }
        });
        match failed {
            None => return Ok(()),
            Some((path, source)) if Instant::now() > deadline => {
                return Err(CgroupError::Io { doing: "removing the cgroup", path, source: source.into() });
            }
            Some(_) => {}
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// A folder, and nothing that only leads to one.
const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Remove one group; one that is gone is as good.
fn remove(group: &Path) -> rustix::io::Result<()> {
    match unlinkat(CWD, group, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

/// Kill all that is in a group and in those below it, from the top down, and remove on the way back what is empty below it. However
/// deep it goes, two descriptors of groups are open at a time, and those of up to [`AT_ONCE`] processes.
fn kill(group: &Path) -> rustix::io::Result<()> {
    let mut here = openat(CWD, group, FOLDER, Mode::empty())?;
    stop(&here);
    let mut to_come = vec![groups_in(&here)];
    let mut names = Vec::new();
    while let Some(below) = to_come.last_mut() {
        if let Some(name) = below.pop() {
            // It may be gone by now.
            if let Ok(folder) = openat(&here, &name, FOLDER, Mode::empty()) {
                stop(&folder);
                to_come.push(groups_in(&folder));
                names.push(name);
                here = folder;
            }
            continue;
        }
        to_come.pop();
        if let Some(name) = names.pop() {
            // Groups are not moved from one to another, so that this leads back.
            here = openat(&here, c"..", FOLDER, Mode::empty())?;
            // What is not empty yet is removed another time.
            let _ = unlinkat(&here, &name, AtFlags::REMOVEDIR);
        }
    }
    Ok(())
}

/// The names of the groups in a group.
fn groups_in(folder: &OwnedFd) -> Vec<CString> {
    let Ok(entries) = Dir::read_from(folder) else { return Vec::new() };
    let is_group = |name: &CStr| !matches!(name.to_bytes(), b"." | b"..");
    let folders = entries.flatten().filter(|entry| entry.file_type() == FileType::Directory);
    folders.map(|entry| entry.file_name().to_owned()).filter(|name| is_group(name)).collect()
}

/// Kill the processes of one group, and on cgroup2 those of all below it.
fn stop(group: &OwnedFd) {
    // What is frozen does not die; and nobody may fork any more, else a fork bomb outruns the killing.
    for (file, text) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0"), ("pids.max", "0")] {
        drop(write_in(group, file, text));
    }
    // Whatever its list of processes says: in a threaded group there is none.
    if write_in(group, "cgroup.kill", "1").is_ok() {
        return;
    }
    // cgroup v1, Linux before 5.14, and threaded groups.
    let processes = || read_in(group, "cgroup.procs").or_else(|_| read_in(group, "cgroup.threads")).unwrap_or_default();
    let numbers = |text: &str| -> BTreeSet<i32> { text.lines().filter_map(|line| line.parse().ok()).collect() };
    let own = std::process::id() as i32;
    let listed: Vec<i32> = numbers(&processes()).into_iter().filter(|&pid| pid > 0 && pid != own).collect();
    for some in listed.chunks(AT_ONCE) {
        // The number of a process that ends may become another's. One that is held, and still listed afterwards, is in this group.
        let held = some.iter().filter_map(|&pid| Pid::from_raw(pid));
        let held: Vec<_> = held.map(|pid| (pid, pidfd_open(pid, PidfdFlags::empty()))).collect();
        let still = numbers(&processes());
        for (pid, process) in held.iter().filter(|(pid, _)| still.contains(&pid.as_raw_nonzero().get())) {
            // One that is gone already is as good as killed.
            let _ = match process {
                Ok(process) => pidfd_send_signal(process, Signal::KILL),
                // A thread of a threaded group, or too many open files.
                Err(_) => kill_process(*pid, Signal::KILL),
            };
        }
    }
}

/// Processes that are held by a descriptor at the same time.
const AT_ONCE: usize = 256;

fn write_in(group: &OwnedFd, file: &str, text: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    File::from(openat(group, file, flags, Mode::empty())?).write_all(text.as_bytes())
}

fn read_in(group: &OwnedFd, file: &str) -> io::Result<String> {
    let mut text = String::new();
    File::from(openat(group, file, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
        .read_to_string(&mut text)?;
    Ok(text)
}
