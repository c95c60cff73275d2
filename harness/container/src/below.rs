//! Groups below ours: those that a container runtime or engine, or a program inside, makes.
//!
//! A runtime is told the path of its group. An absolute `linux.cgroupsPath` of the OCI runtime specification is below each mount point;
//! runtimes agree on no more. Where v1 hierarchies have our group at different places, no such path names all of them. Then it is relative:
//! some runtimes take it to be below their own group, so that they have to be in ours. Where a container came to be is looked at afterwards ([`Cgroup::check_below`]).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cgroup::{Cgroup, CgroupError, field, io};
use crate::sys::is_cgroup2;

/// Where runtimes look for cgroups.
const MOUNT: &str = "/sys/fs/cgroup";
/// The group of a runtime itself on cgroup2, where a group that has others below it holds no processes.
const RUNTIME: &str = "runtime";
/// How deep is looked: an engine's group lies directly below ours, and what a service manager inside makes is not much deeper.
const DEPTH: usize = 8;

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

    /// Ids of the processes in it and in the groups below it; none that the kernel does not tell.
    pub fn processes(&self) -> Vec<u32> {
        let Ok(folder) = self.place.at("cpuacct") else { return Vec::new() };
        let texts =
            folders(&folder.path).into_iter().filter_map(|path| fs::read_to_string(path.join("cgroup.procs")).ok());
        texts.flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<_>>()).collect()
    }

    /// What a `key value` line of a file says, summed over the groups below.
    pub(crate) fn count_below(&self, controller: &str, file: &str, key: &str) -> u64 {
        let Ok(folder) = self.place.at(controller) else { return 0 };
        let below = folders(&folder.path).into_iter().skip(1);
        below.filter_map(|path| field(&fs::read_to_string(path.join(file)).ok()?, key)).sum()
    }
}

/// A group and those below it, itself first.
fn folders(group: &Path) -> Vec<PathBuf> {
    let mut all = vec![group.to_path_buf()];
    let mut level = all.clone();
    for _ in 0..DEPTH {
        let entries = level.iter().filter_map(|path| fs::read_dir(path).ok()).flat_map(|entries| entries.flatten());
        let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        level = entries.filter(is_folder).map(|entry| entry.path()).collect();
        all.extend(level.iter().cloned());
    }
    all
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

    #[test]
    fn a_group_comes_before_those_below_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        fs::write(root.path().join("cgroup.procs"), "").unwrap();
        let found = folders(root.path());
        let root = root.path();
        assert_eq!(found, [root.to_path_buf(), root.join("a"), root.join("a/b")]);
    }

    /// A real group with one below it, as an engine makes it.
    #[test]
    fn processes_below_are_ours_and_other_limits_there_are_told() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: it needs root (cgroups)");
            return;
        }
        let name = format!("bench-test-below-{}", std::process::id());
        let limits = crate::Limits { memory_bytes: Some(64 << 20), ..crate::Limits::default() };
        let group = Cgroup::plan_at_top(&name).unwrap().create(&limits).unwrap();
        let memory = group.place.at("memory").unwrap().clone();
        let below: Vec<_> = group.paths().iter().map(|path| path.join("inner")).collect();
        below.iter().for_each(|path| fs::create_dir(path).unwrap());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pid = child.id();
        let elsewhere = group.check_below("inner", pid).unwrap();
        assert!(elsewhere.iter().any(|one| one.contains(&format!("process {pid} is not in"))), "{elsewhere:?}");
        for path in below.iter().filter(|path| !path.join("cpuset.cpus").exists()) {
            fs::write(path.join("cgroup.procs"), pid.to_string()).unwrap();
        }
        assert!(group.processes().contains(&pid) && group.processes().len() == 1);
        let unlimited = group.check_below("inner", pid).unwrap();
        assert!(unlimited.iter().any(|one| one.contains("memory")), "{unlimited:?}");
        let file = if memory.v2 { "memory.max" } else { "memory.limit_in_bytes" };
        let limited = fs::write(memory.path.join("inner").join(file), (64 << 20).to_string());
        limited.unwrap();
        let limited = group.check_below("inner", pid).unwrap();
        assert!(!limited.iter().any(|one| one.contains("memory.")), "{limited:?}");
        group.remove().unwrap();
        child.wait().unwrap();
    }
}
