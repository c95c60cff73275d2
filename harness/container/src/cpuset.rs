//! CPUs of groups: lists as the kernel writes them, the filling of a cpuset, and who has a CPU for itself (cpuset(7); kernel:
//! cgroup-v2, "Cpuset").

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cgroup::CgroupError;
use crate::place::{Folder, Place};

/// The kernel's own limit (`NR_CPUS`).
pub(crate) const MOST_CPUS: usize = 8192;

/// CPUs of a list as the kernel (bitmap_parselist) and taskset(1) know it: `0-1,4`, the first two of every eight `0-31:2/8`, every
/// second `0-31:2`; an empty list is none. The error says what is wrong.
pub fn parse_cpus(list: &str) -> Result<BTreeSet<usize>, String> {
    let mut cpus = BTreeSet::new();
    for part in list.trim().split(',').filter(|_| !list.trim().is_empty()) {
        let (range, groups) = part.split_once(':').map_or((part, None), |(range, groups)| (range, Some(groups)));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| {
            text.trim().parse::<usize>().map_err(|_| format!("`{list}` is not a list of CPUs such as `0-1,4`"))
        };
        let (first, last) = (number(first)?, number(last)?);
        let (used, size) = match groups.map(|groups| groups.split_once('/').unwrap_or(("1", groups))) {
            Some((used, size)) => (number(used)?, number(size)?),
            None => (1, 1),
        };
        if first > last || last >= MOST_CPUS || used == 0 || used > size {
            return Err(format!("`{part}` in the list of CPUs `{list}` is not a range such as `0-3`"));
        }
        cpus.extend((first..=last).filter(|cpu| (cpu - first) % size < used));
    }
    Ok(cpus)
}

/// Ascending numbers to `0-1,4`.
pub fn format_cpus(cpus: &[usize]) -> String {
    let run = |run: &[usize]| match run {
        [one] => one.to_string(),
        _ => format!("{}-{}", run[0], run[run.len() - 1]),
    };
    cpus.chunk_by(|a, b| a + 1 == *b).map(run).collect::<Vec<_>>().join(",")
}

fn text(cpus: &BTreeSet<usize>) -> String {
    format_cpus(&cpus.iter().copied().collect::<Vec<_>>())
}

/// The CPUs that a group of ours can have: those of the group above it, without those that another group has for itself. Absent
/// where cpusets are not at hand.
pub fn free_cpus() -> Option<BTreeSet<usize>> {
    let place = Place::find("bench-any").ok()?;
    Some(free(place.at("cpuset").ok()?))
}

/// Why a group of ours cannot have these CPUs, as far as its cpuset is concerned; absent where it can.
pub fn refused_cpus(wanted: &BTreeSet<usize>) -> Option<String> {
    let place = Place::find("bench-any").ok()?;
    refusal(place.at("cpuset").ok()?, wanted)
}

fn free(folder: &Folder) -> BTreeSet<usize> {
    let mut cpus = of_above(folder);
    for (_, theirs) in owners(folder) {
        cpus.retain(|cpu| !theirs.contains(cpu));
    }
    cpus
}

pub(crate) fn refusal(folder: &Folder, wanted: &BTreeSet<usize>) -> Option<String> {
    let instead = || match text(&free(folder)) {
        free if free.is_empty() => "none is free".to_owned(),
        free => format!("ask for others: {free} can be had"),
    };
    let mut owners = owners(folder).into_iter();
    if let Some((owner, taken)) = owners.find_map(|(owner, theirs)| {
        let taken: BTreeSet<usize> = theirs.intersection(wanted).copied().collect();
        (!taken.is_empty()).then_some((owner, taken))
    }) {
        let file = if folder.v2 { "cpuset.cpus.partition" } else { "cpuset.cpu_exclusive" };
        let owner = owner.display();
        return Some(format!("{owner} has CPU {} for itself ({file}); {}", text(&taken), instead()));
    }
    let above = of_above(folder);
    let missing: BTreeSet<usize> = wanted.difference(&above).copied().collect();
    let path = folder.above().display();
    (!missing.is_empty())
        .then(|| format!("CPU {} is not in the cpuset of the group above, {path}; {}", text(&missing), instead()))
}

/// A file of a cpuset; v1 mounted with `noprefix` has plain names.
fn file(group: &Path, name: &str) -> PathBuf {
    let plain = group.join(name);
    if plain.exists() { plain } else { group.join(format!("cpuset.{name}")) }
}

fn list(group: &Path, name: &str) -> BTreeSet<usize> {
    fs::read_to_string(file(group, name)).ok().and_then(|list| parse_cpus(&list).ok()).unwrap_or_default()
}

fn word(group: &Path, name: &str) -> String {
    fs::read_to_string(file(group, name)).unwrap_or_default().trim().to_owned()
}

/// The CPUs of a group that are really to be had: its own list may hold CPUs that groups above have lost.
fn effective(group: &Path, v2: bool) -> BTreeSet<usize> {
    let names: [&str; 2] = if v2 { ["cpus.effective", "cpus"] } else { ["effective_cpus", "cpus"] };
    names.map(|name| list(group, name)).into_iter().find(|cpus| !cpus.is_empty()).unwrap_or_default()
}

/// The CPUs of the group above, or where its cpuset is not enabled (v2) or empty, of the nearest above that.
fn of_above(folder: &Folder) -> BTreeSet<usize> {
    let mut groups = folder.above().ancestors().map(|group| effective(group, folder.v2));
    groups.find(|cpus| !cpus.is_empty()).unwrap_or_default()
}

/// Groups that have CPUs for themselves, and which.
fn owners(folder: &Folder) -> Vec<(PathBuf, BTreeSet<usize>)> {
    let mut owners = Vec::new();
    if folder.v2 {
        // A partition may lie anywhere below the root.
        let in_cgroup2 = |group: &&Path| group.join("cgroup.controllers").exists();
        if let Some(top) = folder.above().ancestors().take_while(in_cgroup2).last() {
            partitions(top, folder, &mut owners);
        }
        return owners;
    }
    for group in groups_in(folder.above()).filter(|group| *group != folder.path) {
        if word(&group, "cpu_exclusive") == "1" {
            let cpus = list(&group, "cpus");
            owners.push((group, cpus));
        }
    }
    owners
}

/// The partitions below a group of cgroup2 that ours does not lie in.
fn partitions(group: &Path, ours: &Folder, owners: &mut Vec<(PathBuf, BTreeSet<usize>)>) {
    for group in groups_in(group) {
        let is_partition = matches!(word(&group, "cpus.partition").as_str(), "root" | "isolated");
        if is_partition && !ours.path.starts_with(&group) {
            let mut cpus = list(&group, "cpus.exclusive.effective");
            cpus.extend(list(&group, "cpus.effective"));
            owners.push((group, cpus));
        } else {
            partitions(&group, ours, owners);
        }
    }
}

fn groups_in(group: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

/// Give a group these CPUs; on v1, where no process can join a group without CPUs and memory nodes, those of the group above where
/// none are asked for. The file in which those asked for are read back.
pub(crate) fn fill(folder: &Folder, cpus: Option<&BTreeSet<usize>>) -> Result<PathBuf, CgroupError> {
    let group = &folder.path;
    if !folder.v2 && word(group, "mems").is_empty() {
        let mut above = folder.above().ancestors().map(|group| word(group, "mems"));
        write(folder, "memory nodes", "mems", &above.find(|mems| !mems.is_empty()).unwrap_or_default(), None)?;
    }
    // A parent with `cgroup.clone_children` has filled it already.
    let inherited = (!folder.v2 && word(group, "cpus").is_empty()).then(|| of_above(folder));
    if let Some(cpus) = cpus.or(inherited.as_ref()) {
        write(folder, "cpus", "cpus", &text(cpus), Some(cpus))?;
    }
    let read_back = if folder.v2 { "cpus.effective" } else { "effective_cpus" };
    let read_back = file(group, read_back);
    Ok(if read_back.exists() { read_back } else { file(group, "cpus") })
}

fn write(
    folder: &Folder,
    what: &'static str,
    name: &str,
    value: &str,
    cpus: Option<&BTreeSet<usize>>,
) -> Result<(), CgroupError> {
    fs::write(file(&folder.path, name), value).map_err(|e| CgroupError::Set {
        what,
        value: value.to_owned(),
        group: folder.path.display().to_string(),
        reason: cpus.and_then(|cpus| refusal(folder, cpus)).unwrap_or_else(|| e.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(list: &str) -> BTreeSet<usize> {
        parse_cpus(list).unwrap()
    }

    /// An imitation of a hierarchy: file and text.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{text}\n")).unwrap();
        }
        root
    }

    fn folder(root: &tempfile::TempDir, path: &str, v2: bool) -> Folder {
        let folder = Folder::new(root.path().join(path), v2, &["cpuset"]);
        fs::create_dir_all(&folder.path).unwrap();
        folder
    }

    #[test]
    fn lists_go_both_ways() {
        for list in ["", "0", "0-1,4", "1-3,5-6,9", "0-8191"] {
            assert_eq!(text(&set(list)), list);
        }
        assert_eq!(set(" 4, 0-1\n"), set("0-1,4"));
        assert_eq!(text(&set("0-15:1/4,20-23:2,31")), "0,4,8,12,20,22,31");
        for bad in ["x", "1-", "3-1", "8192", "0-3:0", "0-3:3/2", "0-3:/2", ",", "0,,1"] {
            assert!(parse_cpus(bad).is_err(), "{bad}");
        }
    }

    /// A v1 hierarchy of four CPUs, of which a group has one for itself.
    fn v1(prefix: &str) -> tempfile::TempDir {
        let files = [
            ("cpus", "0-3"),
            ("mems", "0"),
            ("special/cpus", "3"),
            ("special/cpu_exclusive", "1"),
            ("shared/cpus", "0-3"),
            ("shared/cpu_exclusive", "0"),
            ("ours/cpus", ""),
            ("ours/mems", ""),
        ];
        let named = files.map(|(path, text)| match path.split_once('/') {
            Some((group, name)) => (format!("{group}/{prefix}{name}"), text),
            None => (format!("{prefix}{path}"), text),
        });
        tree(&named.each_ref().map(|(path, text)| (path.as_str(), *text)))
    }

    #[test]
    fn a_cpuset_of_v1_is_filled_also_beside_a_group_that_has_cpus_for_itself() {
        for prefix in ["cpuset.", ""] {
            let root = v1(prefix);
            let ours = folder(&root, "ours", false);
            assert_eq!(free(&ours), set("0-2"));
            let read_back = fill(&ours, Some(&set("0-1"))).unwrap();
            assert_eq!(read_back, ours.path.join(format!("{prefix}cpus")));
            assert_eq!((word(&ours.path, "cpus"), word(&ours.path, "mems")), ("0-1".into(), "0".into()));
            let reason = refusal(&ours, &set("0-3")).unwrap();
            let owner = root.path().join("special");
            let expected = format!(
                "{} has CPU 3 for itself (cpuset.cpu_exclusive); ask for others: 0-2 can be had",
                owner.display()
            );
            assert_eq!(reason, expected);
            assert_eq!(refusal(&ours, &set("0-2")), None);
        }
    }

    #[test]
    fn what_a_parent_filled_stays_and_what_nobody_did_is_the_parents() {
        let root = v1("cpuset.");
        let ours = folder(&root, "ours", false);
        fill(&ours, None).unwrap();
        assert_eq!(word(&ours.path, "cpus"), "0-3");
        // As with `cgroup.clone_children`.
        fs::write(ours.path.join("cpuset.cpus"), "2").unwrap();
        fill(&ours, None).unwrap();
        assert_eq!(word(&ours.path, "cpus"), "2");
    }

    #[test]
    fn a_partition_of_cgroup2_takes_cpus_from_everybody_else() {
        let root = tree(&[
            ("cgroup.controllers", "cpuset"),
            ("cpuset.cpus.effective", "0-1"),
            ("a.slice/cgroup.controllers", "cpuset"),
            ("a.slice/fast/cgroup.controllers", "cpuset"),
            ("a.slice/fast/cpuset.cpus.partition", "isolated"),
            ("a.slice/fast/cpuset.cpus.effective", "2-3"),
            ("broken/cpuset.cpus.partition", "root invalid (Cpu list in cpuset.cpus not exclusive)"),
            ("broken/cpuset.cpus.effective", "0-1"),
            ("member/cpuset.cpus.partition", "member"),
            ("member/cpuset.cpus.effective", "0-1"),
            ("b.slice/cgroup.controllers", "cpuset"),
        ]);
        // The group above has no cpuset of its own.
        let ours = folder(&root, "b.slice/ours", true);
        assert_eq!(free(&ours), set("0-1"));
        assert_eq!(refusal(&ours, &set("0-1")), None);
        let reason = refusal(&ours, &set("1-2")).unwrap();
        assert!(reason.contains("a.slice/fast has CPU 2 for itself (cpuset.cpus.partition)"), "{reason}");
        let reason = refusal(&ours, &set("9")).unwrap();
        assert!(reason.contains("CPU 9 is not in the cpuset of the group above"), "{reason}");
        // Inside of a partition its CPUs are ours.
        assert_eq!(refusal(&folder(&root, "a.slice/fast/ours", true), &set("2-3")), None);
    }
}
