//! A group below one of ours that another container runtime makes, at a path that it is told.
//!
//! An absolute `linux.cgroupsPath` of the OCI runtime specification is below each mount point; runtimes agree on no more. Where v1 hierarchies
//! have our group at different places, no such path names all of them. Then it is relative: some runtimes take it to be below their own
//! group, so that they have to be in ours. Where a container came to be is looked at afterwards ([`Cgroup::check_below`]).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cgroup::{Cgroup, CgroupError, io};
use crate::sys::is_cgroup2;

/// Where runtimes look for cgroups.
const MOUNT: &str = "/sys/fs/cgroup";
/// The group of a runtime itself on cgroup2, where a group that has others below it holds no processes.
const RUNTIME: &str = "runtime";

/// How a runtime is told to make a group below one of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Below {
    /// `linux.cgroupsPath`.
    pub cgroups_path: PathBuf,
    /// The groups that the runtime has to be in itself; they are there.
    pub runtime: Vec<PathBuf>,
}

impl Cgroup {
    /// Have a runtime make a group of this name below ours. It goes with ours.
    ///
    /// # Errors
    /// A group for the runtime itself cannot be made.
    pub fn below(&self, name: &str) -> Result<Below, CgroupError> {
        let is_v2 = is_cgroup2(Path::new(MOUNT));
        let mut runtime = self.paths().to_vec();
        if is_v2 {
            for group in &mut runtime {
                group.push(RUNTIME);
                fs::create_dir(&*group).map_err(io("creating the cgroup", group))?;
            }
        }
        // Beside hierarchies of v1, runtimes leave cgroup2 alone.
        let used = self.paths().iter().filter(|path| is_v2 || !is_cgroup2(path));
        Ok(Below { cgroups_path: cgroups_path(used, is_v2, name), runtime })
    }

    /// What is not as it should be with a process that a runtime was to put into a group of this name below ours: where it is, and our limits
    /// there.
    ///
    /// # Errors
    /// A group or a limit cannot be read.
    pub fn check_below(&self, name: &str, pid: u32) -> Result<Vec<String>, CgroupError> {
        let below = |group: &Path| {
            let made = group.join(name);
            if made.is_dir() { made } else { group.to_path_buf() }
        };
        let mut wrong = Vec::new();
        for group in self.place.in_use() {
            let procs = below(group).join("cgroup.procs");
            let listed = fs::read_to_string(&procs).map_err(io("reading", &procs))?;
            if !listed.lines().any(|line| line.parse() == Ok(pid)) {
                wrong.push(format!("process {pid} is not in {}", below(group).display()));
            }
        }
        let file_below = |file: &Path| match (file.parent(), file.file_name()) {
            (Some(group), Some(file)) => below(group).join(file),
            _ => file.to_path_buf(),
        };
        wrong.extend(self.not_in_force(file_below)?);
        Ok(wrong)
    }
}

/// The path of the group `name` below groups of ours, one for each hierarchy: absolute where one path names it in all of them.
fn cgroups_path<'a>(groups: impl Iterator<Item = &'a PathBuf>, is_v2: bool, name: &str) -> PathBuf {
    let in_hierarchy = |group: &'a PathBuf| {
        let path = group.strip_prefix(MOUNT).ok()?;
        if is_v2 { Some(path) } else { Some(path.components().next()?).and_then(|first| path.strip_prefix(first).ok()) }
    };
    let places: BTreeSet<Option<&Path>> = groups.map(in_hierarchy).collect();
    match Vec::from_iter(places)[..] {
        [Some(place)] => Path::new("/").join(place).join(name),
        _ => PathBuf::from(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_names_a_group_where_all_hierarchies_have_ours_at_one_place() {
        let path = |groups: &[&str], is_v2| {
            let groups: Vec<PathBuf> = groups.iter().map(|group| format!("{MOUNT}/{group}").into()).collect();
            cgroups_path(groups.iter(), is_v2, "c").display().to_string()
        };
        assert_eq!(path(&["user.slice/ours"], true), "/user.slice/ours/c");
        assert_eq!(path(&["cpu,cpuacct/ours", "memory/ours"], false), "/ours/c");
        assert_eq!(path(&["cpu/ours", "memory/job/ours"], false), "c");
        let elsewhere = [PathBuf::from("/mnt/cgroup/ours")];
        assert_eq!(cgroups_path(elsewhere.iter(), true, "c"), Path::new("c"));
    }
}
