//! The end of a group: everything in it is killed, then it is removed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cgroup::CgroupError;

/// How long a killed process may take to go; one that waits for a disk goes when the disk answers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kill everything in these groups and in those below, and remove them. Groups that are gone already are fine.
pub fn remove_paths(paths: &[PathBuf]) -> Result<(), CgroupError> {
    // What is empty can be removed, and most often it is.
    if paths.iter().all(|path| remove(path).is_ok()) {
        return Ok(());
    }
    let deadline = Instant::now() + PATIENCE;
    let mut pause = Duration::from_micros(100);
    let groups = loop {
        // Anew each time: until the last is dead, groups may be made.
        let mut groups = Vec::new();
        for path in paths {
            collect(path, &mut groups);
        }
        // On v1 nobody may fork any more, else a fork bomb outruns the killing; and what is frozen does not die.
        for group in &groups {
            drop(fs::write(group.join("pids.max"), "0"));
            drop(fs::write(group.join("freezer.state"), "THAWED"));
        }
        let alive = groups.iter().map(|group| kill(group)).sum::<usize>();
        let removed = alive == 0 && groups.iter().all(|group| remove(group).is_ok());
        if removed {
            return Ok(());
        }
        if Instant::now() > deadline {
            break groups;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    match groups.iter().find_map(|group| remove(group).err().map(|e| (group, e))) {
        Some((group, source)) => {
            Err(CgroupError::Io { doing: "removing the cgroup", path: group.display().to_string(), source })
        }
        None => Ok(()),
    }
}

/// The group and all below it, the deepest first.
fn collect(path: &Path, groups: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), groups);
        }
    }
    groups.push(path.to_path_buf());
}

/// Kill the processes of one group; how many there were.
fn kill(group: &Path) -> usize {
    let Ok(text) = fs::read_to_string(group.join("cgroup.procs")) else { return 0 };
    if !text.is_empty() && fs::write(group.join("cgroup.kill"), "1").is_ok() {
        return text.lines().count();
    }
    let own = std::process::id() as i32;
    let pids = text.lines().filter_map(|line| line.parse::<i32>().ok()).filter(|&pid| pid > 0 && pid != own);
    let pids: Vec<_> = pids.filter_map(Pid::from_raw).collect();
    for &pid in &pids {
        // One that is gone already is as good as killed.
        let _ = kill_process(pid, Signal::KILL);
    }
    pids.len()
}

fn remove(group: &Path) -> std::io::Result<()> {
    match fs::remove_dir(group) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}
