//! Where a group of ours is made: each controller where the host has it, on v1 or in cgroup2.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::cgroup::{CgroupError, io};
use crate::hierarchy::{Hierarchy, layout};

/// Controllers that a group of ours needs: by their v1 names, and by those of cgroup2. CPU time is counted in every cgroup2 group,
/// by no controller.
const CONTROLLERS: [(&str, Option<&str>); 6] = [
    ("cpu", Some("cpu")),
    ("cpuacct", None),
    ("cpuset", Some("cpuset")),
    ("memory", Some("memory")),
    ("pids", Some("pids")),
    ("blkio", Some("io")),
];

/// A folder of a group, in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    /// The group.
    pub path: PathBuf,
    /// True in cgroup2.
    pub v2: bool,
    /// Its controllers, by the names of its version.
    controllers: Vec<String>,
}

impl Folder {
    #[cfg(test)]
    pub fn new(path: PathBuf, v2: bool, controllers: &[&str]) -> Folder {
        Folder { path, v2, controllers: controllers.iter().map(|&name| name.to_owned()).collect() }
    }

    /// The group above it.
    pub fn above(&self) -> &Path {
        self.path.parent().unwrap_or(&self.path)
    }

    /// True when it has a controller, by its v1 name.
    fn has(&self, controller: &str) -> bool {
        let name = match CONTROLLERS.iter().find(|(v1, _)| self.v2 && *v1 == controller) {
            Some((_, None)) => return true,
            Some((_, Some(name))) => name,
            None => controller,
        };
        self.controllers.iter().any(|known| known == name)
    }
}

/// The folders of a group, one per hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    folders: Vec<Folder>,
}

impl Place {
    /// The place of a group of this name below our own, or below the nearest above it that can have it.
    pub fn find(name: &str) -> Result<Place, CgroupError> {
        let [cgroup, mountinfo] = texts()?;
        Place::of(&cgroup, &mountinfo, name)
    }

    /// The place of a group of this name at the top of every hierarchy, as far as its mount shows it.
    pub fn at_top(name: &str) -> Result<Place, CgroupError> {
        let [cgroup, mountinfo] = texts()?;
        let hierarchies = layout(&cgroup, &mountinfo).ok_or(CgroupError::NotMounted)?;
        let at_top = |hierarchy: Hierarchy| Hierarchy { own: hierarchy.mount.clone(), ..hierarchy };
        Place::among(hierarchies.into_iter().map(at_top).collect(), name)
    }

    fn of(cgroup: &str, mountinfo: &str, name: &str) -> Result<Place, CgroupError> {
        Place::among(layout(cgroup, mountinfo).ok_or(CgroupError::NotMounted)?, name)
    }

    fn among(hierarchies: Vec<Hierarchy>, name: &str) -> Result<Place, CgroupError> {
        let on_v1: Vec<String> = hierarchies.iter().flat_map(|hierarchy| hierarchy.controllers.clone()).collect();
        let left = CONTROLLERS.iter().filter(|(v1, _)| !on_v1.iter().any(|name| name == v1));
        let left: Vec<&str> = left.filter_map(|(_, v2)| *v2).collect();
        let folder = |hierarchy: Hierarchy| match hierarchy.is_v2() {
            true => folder_v2(&hierarchy, &left, name),
            false => {
                Ok(Folder { path: above_v1(&hierarchy).join(name), v2: false, controllers: hierarchy.controllers })
            }
        };
        Ok(Place { folders: hierarchies.into_iter().map(folder).collect::<Result<_, _>>()? })
    }

    /// All folders.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.folders.iter().map(|folder| folder.path.clone()).collect()
    }

    /// The folder that has a controller, by its v1 name.
    pub fn at(&self, controller: &str) -> Result<&Folder, CgroupError> {
        let mut having = self.folders.iter().filter(|folder| folder.has(controller));
        having.next().ok_or_else(|| CgroupError::NoController(controller.to_owned(), self.at_hand()))
    }

    /// The folders that limits and usage of a group are in.
    pub fn in_use(&self) -> BTreeSet<&Path> {
        CONTROLLERS.iter().filter_map(|(v1, _)| Some(self.at(v1).ok()?.path.as_path())).collect()
    }

    /// The controllers that are not at hand, by their cgroup2 names.
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = CONTROLLERS.into_iter().filter(|(v1, _)| self.at(v1).is_err());
        missing.filter_map(|(_, v2)| v2).collect()
    }

    fn at_hand(&self) -> String {
        let known: Vec<_> =
            CONTROLLERS.iter().map(|(v1, _)| *v1).filter(|v1| self.folders.iter().any(|f| f.has(v1))).collect();
        if known.is_empty() { "none".to_owned() } else { known.join(", ") }
    }

    /// Make the group above ours hand down its controllers in cgroup2.
    pub fn enable(&self) -> Result<(), CgroupError> {
        for folder in self.folders.iter().filter(|folder| folder.v2) {
            let file = folder.above().join("cgroup.subtree_control");
            let down = words(&file);
            for name in folder.controllers.iter().filter(|name| !down.contains(name)) {
                fs::write(&file, format!("+{name}")).map_err(io("enabling a controller in", &file))?;
            }
        }
        Ok(())
    }

    /// Limit, in cgroup2, the groups that can be made below ours: files of it, and what to write. A kernel that lacks them (before 4.14)
    /// has no such limit.
    pub fn limit_groups_below(&self, files: &[(&str, &str)]) {
        for folder in self.folders.iter().filter(|folder| folder.v2) {
            for (file, most) in files {
                drop(fs::write(folder.path.join(file), most));
            }
        }
    }
}

/// Where this process is, and what is mounted.
fn texts() -> Result<[String; 2], CgroupError> {
    let read = |path: &str| fs::read_to_string(path).map_err(io("reading", Path::new(path)));
    Ok([read("/proc/self/cgroup")?, read("/proc/self/mountinfo")?])
}

/// Our own place, or what is left above it.
fn above_v1(hierarchy: &Hierarchy) -> &Path {
    let mut above = hierarchy.own.ancestors().take_while(|path| path.starts_with(&hierarchy.mount));
    above.find(|path| path.is_dir()).unwrap_or(&hierarchy.mount)
}

fn folder_v2(hierarchy: &Hierarchy, needed: &[&str], name: &str) -> Result<Folder, CgroupError> {
    // What the highest group that we see does not have, none has.
    let top = words(&hierarchy.mount.join("cgroup.controllers"));
    let wanted: Vec<String> = top.into_iter().filter(|name| needed.contains(&name.as_str())).collect();
    let above = above_v2(&hierarchy.mount, &hierarchy.own, &wanted)?;
    Ok(Folder { path: above.join(name), v2: true, controllers: wanted })
}

/// The group that ours is made in: our own place or the nearest above it that has all these controllers and hands them down, or can
/// be made to.
fn above_v2(mount: &Path, own: &Path, wanted: &[String]) -> Result<PathBuf, CgroupError> {
    let mut reasons = Vec::new();
    for group in own.ancestors().take_while(|path| path.starts_with(mount)) {
        match why_not(group, wanted) {
            None => return Ok(group.to_path_buf()),
            Some(reason) => reasons.push(format!("{} {reason}", group.display())),
        }
    }
    Err(CgroupError::NoPlace { wanted: wanted.join(", "), reasons: reasons.join("; ") })
}

/// Why a group of cgroup2 cannot have one of ours below it that has these controllers (kernel: cgroup-v2, "Controlling Controllers",
/// "Threads").
fn why_not(group: &Path, wanted: &[String]) -> Option<String> {
    if !group.is_dir() {
        return Some("was removed".to_owned());
    }
    // The root of the whole hierarchy has no type, and may have both processes and groups below it.
    let kind = fs::read_to_string(group.join("cgroup.type")).ok();
    if let Some(kind) = kind.as_deref().map(str::trim).filter(|kind| *kind != "domain") {
        return Some(format!("is `{kind}`, and takes threads only"));
    }
    if let Err(e) = access(group, Access::WRITE_OK) {
        return Some(format!("cannot be written to ({})", std::io::Error::from(e)));
    }
    let without = |known: &[String]| wanted.iter().filter(|name| !known.contains(name)).cloned().collect::<Vec<_>>();
    let absent = without(&words(&group.join("cgroup.controllers")));
    if !absent.is_empty() {
        return Some(format!("lacks {}", absent.join(", ")));
    }
    let not_down = without(&words(&group.join("cgroup.subtree_control")));
    let is_empty = || fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|text| text.trim().is_empty());
    if !not_down.is_empty() && kind.is_some() && !is_empty() {
        return Some(format!("holds processes and so cannot hand down {}", not_down.join(", ")));
    }
    None
}

fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An imitation of cgroup2: groups with type, controllers, those that they hand down, and processes.
    fn tree(groups: &[(&str, Option<&str>, &str, &str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, kind, has, down, procs) in groups {
            let group = root.path().join(path);
            fs::create_dir_all(&group).unwrap();
            let files = [("cgroup.controllers", has), ("cgroup.subtree_control", down), ("cgroup.procs", procs)];
            files.into_iter().chain(kind.as_ref().map(|kind| ("cgroup.type", kind))).for_each(|(name, text)| {
                fs::write(group.join(name), format!("{text}\n").trim_start()).unwrap();
            });
        }
        root
    }

    const ALL: &str = "cpuset cpu io memory pids";
    const DOMAIN: Option<&str> = Some("domain");

    /// A service whose manager gave it only memory and pids, and a job in it that got nothing.
    fn service() -> tempfile::TempDir {
        tree(&[
            ("", None, ALL, ALL, "1"),
            ("system.slice", DOMAIN, ALL, "memory pids", ""),
            ("system.slice/ci.service", DOMAIN, "memory pids", "", ""),
            ("system.slice/ci.service/job", DOMAIN, "", "", "4242"),
        ])
    }

    fn wanted() -> Vec<String> {
        ALL.split(' ').map(str::to_owned).collect()
    }

    /// The group, below the root, that one of `own` is made in.
    fn above(root: &tempfile::TempDir, own: &str) -> Result<String, String> {
        let found = above_v2(root.path(), &root.path().join(own), &wanted()).map_err(|e| e.to_string())?;
        Ok(found.strip_prefix(root.path()).unwrap().to_str().unwrap().to_owned())
    }

    #[test]
    fn a_group_that_was_handed_nothing_is_passed_by() {
        let root = service();
        for own in ["system.slice/ci.service/job", "system.slice/ci.service", "system.slice", "system.slice/gone/deep"]
        {
            assert_eq!(above(&root, own).as_deref(), Ok("system.slice"), "{own}");
        }
        assert_eq!(above(&root, "").as_deref(), Ok(""));
    }

    #[test]
    fn a_delegated_group_is_used_when_it_is_free_or_hands_down_already() {
        let delegated = |down, procs| {
            let ours = ("system.slice/ci.service", DOMAIN, ALL, down, procs);
            tree(&[("", None, ALL, ALL, "1"), ("system.slice", DOMAIN, ALL, ALL, ""), ours])
        };
        let own = "system.slice/ci.service";
        assert_eq!(above(&delegated("", ""), own).as_deref(), Ok(own));
        assert_eq!(above(&delegated(ALL, ""), own).as_deref(), Ok(own));
        // No group hands down controllers and holds processes, but for the root.
        assert_eq!(above(&delegated("", "77"), own).as_deref(), Ok("system.slice"));
    }

    #[test]
    fn threaded_groups_hold_threads_only() {
        for kind in ["threaded", "domain threaded", "domain invalid"] {
            let root =
                tree(&[("", None, ALL, ALL, ""), ("a", DOMAIN, ALL, ALL, ""), ("a/b", Some(kind), ALL, ALL, "")]);
            assert_eq!(above(&root, "a/b").as_deref(), Ok("a"), "{kind}");
        }
    }

    #[test]
    fn in_a_container_every_group_says_why_it_cannot() {
        let root = tree(&[("", DOMAIN, ALL, "", "1\n7"), ("x", DOMAIN, "", "", "9")]);
        let error = above(&root, "x").unwrap_err();
        let all = "cpuset, cpu, io, memory, pids";
        for part in [
            format!("/x lacks {all};"),
            format!("holds processes and so cannot hand down {all};"),
            "Delegate=yes".into(),
        ] {
            assert!(error.contains(&part), "{error}");
        }
    }

    #[test]
    fn the_group_above_is_made_to_hand_down_what_is_missing() {
        let root = service();
        let mounts = format!("30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n", root.path().display());
        let place = Place::of("0::/system.slice/ci.service/job (deleted)\n", &mounts, "ours").unwrap();
        assert_eq!(place.paths(), [root.path().join("system.slice/ours")]);
        assert!(CONTROLLERS.iter().all(|(v1, _)| place.at(v1).is_ok_and(|folder| folder.v2)));
        place.enable().unwrap();
        // A plain file keeps the last word.
        assert_eq!(fs::read_to_string(root.path().join("system.slice/cgroup.subtree_control")).unwrap(), "+io");
    }

    /// The version that each controller is found in: 1, 2, or 0 for none.
    fn versions(place: &Place) -> [(&'static str, u8); 6] {
        CONTROLLERS.map(|(v1, _)| (v1, place.at(v1).map_or(0, |folder| 1 + u8::from(folder.v2))))
    }

    /// Two layouts that hosts really have: v1 and cgroup2 share the controllers.
    #[test]
    fn each_controller_is_where_the_host_has_it() {
        let root =
            tree(&[("", None, "cpuset io pids", "", "1"), ("memory", None, "", "", ""), ("cpu", None, "", "", "")]);
        let at = root.path().display();
        // WSL 2.
        let mounts = format!(
            "60 59 0:29 / {at} rw,relatime shared:15 - cgroup2 none rw\n\
             71 60 0:31 / {at}/memory rw,relatime shared:16 - cgroup cgroup rw,memory\n\
             72 60 0:32 / {at}/cpu rw,relatime shared:17 - cgroup cgroup rw,cpu\n"
        );
        let place = Place::of("2:cpu:/\n1:memory:/\n0::/\n", &mounts, "ours").unwrap();
        assert_eq!(place.paths(), ["cpu/ours", "memory/ours", "ours"].map(|path| root.path().join(path)));
        let expected = [("cpu", 1), ("cpuacct", 2), ("cpuset", 2), ("memory", 1), ("pids", 2), ("blkio", 2)];
        assert_eq!(versions(&place), expected);

        // `cgroup_no_v1=memory`, with systemd's own hierarchy beside.
        let root =
            tree(&[("unified/user.slice", DOMAIN, "memory", "", ""), ("unified", None, "memory", "memory", "1")]);
        for path in ["systemd/user.slice", "cpuset", "pids/user.slice", "cpu,cpuacct", "blkio"] {
            fs::create_dir_all(root.path().join(path)).unwrap();
        }
        let at = root.path().display();
        let v1 = |id: u32, names: &str, options: &str| {
            format!("{id} 30 0:{id} / {at}/{names} rw - cgroup cgroup rw,{options}\n")
        };
        let mounts = [
            format!(
                "30 24 0:26 / {at} ro - tmpfs tmpfs ro,mode=755\n31 30 0:27 / {at}/unified rw - cgroup2 cgroup2 rw\n"
            ),
            v1(32, "systemd", "xattr,name=systemd"),
            v1(36, "pids", "pids"),
            v1(37, "cpu,cpuacct", "cpu,cpuacct"),
            v1(38, "cpuset", "cpuset"),
            v1(39, "blkio", "blkio"),
        ];
        let cgroup = "9:cpuset:/\n8:pids:/user.slice\n7:blkio:/gone\n4:cpu,cpuacct:/\n1:name=systemd:/user.slice\n0::/user.slice\n";
        let place = Place::of(cgroup, &mounts.concat(), "ours").unwrap();
        let expected = [("cpu", 1), ("cpuacct", 1), ("cpuset", 1), ("memory", 2), ("pids", 1), ("blkio", 1)];
        assert_eq!(versions(&place), expected);
        let paths = ["cpuset", "pids/user.slice", "blkio", "cpu,cpuacct", "systemd/user.slice", "unified/user.slice"];
        assert_eq!(place.paths(), paths.map(|path| root.path().join(path).join("ours")));
        assert_eq!(place.missing(), <[&str; 0]>::default());
    }

    #[test]
    fn what_the_kernel_lacks_is_named_with_what_there_is() {
        let root = tree(&[("", None, "cpu memory", "", "1")]);
        let mounts = format!("30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n", root.path().display());
        let place = Place::of("0::/\n", &mounts, "ours").unwrap();
        assert_eq!(place.missing(), ["cpuset", "pids", "io"]);
        let error = place.at("cpuset").unwrap_err().to_string();
        assert!(error.contains("`cpuset` is not available here (at hand: cpu, cpuacct, memory)"), "{error}");
    }
}
