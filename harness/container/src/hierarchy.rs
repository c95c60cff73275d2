//! Where our own place in the cgroup hierarchies is (cgroups(7), proc_pid_mountinfo(5)).

use std::path::{Path, PathBuf};

/// Controllers that limits and usage need, by their v1 names.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio"];

/// Where groups of ours are made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One folder per hierarchy, where v1 has the controllers we need: also in hierarchies that have none of them, and last in
    /// cgroup2 (hybrid hosts). Where a container had no group, its cgroup namespace would begin at ours or the host's.
    V1(Vec<Hierarchy>),
    /// The mount point of cgroup2, and our own place below it.
    V2 {
        /// Mount point.
        mount: PathBuf,
        /// Our own place.
        own: PathBuf,
    },
}

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Its controllers; none of cgroup2 beside v1.
    pub controllers: Vec<String>,
    /// Mount point.
    pub mount: PathBuf,
    /// Our own place.
    pub own: PathBuf,
}

/// From the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`; absent where no cgroup file system is mounted.
pub(crate) fn layout(cgroup: &str, mountinfo: &str) -> Option<Layout> {
    let mounts: Vec<Mount> = mountinfo.lines().filter_map(Mount::parse).collect();
    let mut hierarchies: Vec<Hierarchy> = Vec::new();
    let mut unified = None;
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        if controllers.is_empty() {
            let mount = mounts.iter().find(|mount| mount.kind == "cgroup2");
            unified = mount.map(|mount| (mount.point.clone(), mount.place(path)));
            continue;
        }
        let controllers: Vec<String> = controllers.split(',').map(str::to_owned).collect();
        let mount = mounts.iter().find(|mount| mount.kind == "cgroup" && mount.has_option(&controllers[0]));
        if let Some(mount) = mount {
            hierarchies.push(Hierarchy { controllers, mount: mount.point.clone(), own: mount.place(path) });
        }
    }
    let limits = |hierarchy: &Hierarchy| hierarchy.controllers.iter().any(|name| CONTROLLERS.contains(&name.as_str()));
    if !hierarchies.iter().any(limits) {
        return unified.map(|(mount, own)| Layout::V2 { mount, own });
    }
    hierarchies.extend(unified.map(|(mount, own)| Hierarchy { controllers: Vec::new(), mount, own }));
    Some(Layout::V1(hierarchies))
}

/// A line of mountinfo.
struct Mount<'a> {
    root: &'a str,
    point: PathBuf,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let mut right = right.split(' ');
        let (root, point) = (left.next()?, left.next()?);
        let (kind, options) = (right.next()?, right.nth(1)?);
        Some(Mount { root, point: PathBuf::from(point), kind, options })
    }

    fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|option| option == name)
    }

    /// The folder of a cgroup path; what lies outside of the mount's root (another cgroup namespace's) is the mount itself.
    fn place(&self, path: &str) -> PathBuf {
        let below = Path::new(path).strip_prefix(self.root).unwrap_or(Path::new(""));
        if below.components().any(|part| part == std::path::Component::ParentDir) {
            return self.point.clone();
        }
        self.point.join(below)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID_CGROUP: &str = "9:name=systemd:/\n8:pids:/\n7:blkio:/\n6:freezer:/\n5:devices:/\n\
        4:memory:/service/7\n3:cpuset:/\n1:cpu,cpuacct:/\n0::/\n";
    const HYBRID_MOUNTS: &str = "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
        33 31 0:30 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer\n\
        40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd\n\
        32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
        34 31 0:31 / /sys/fs/cgroup/cpuset rw,relatime - cgroup cgroup rw,cpuset\n\
        35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
        38 31 0:35 / /sys/fs/cgroup/blkio rw,relatime - cgroup cgroup rw,blkio\n\
        39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
        41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_hybrid_host_has_its_controllers_on_v1_and_a_place_in_every_hierarchy() {
        let Some(Layout::V1(all)) = layout(HYBRID_CGROUP, HYBRID_MOUNTS) else { panic!("not v1") };
        let own: Vec<_> = all.into_iter().map(|hierarchy| hierarchy.own).collect();
        let expected = ["systemd", "pids", "blkio", "freezer", "memory/service/7", "cpuset", "cpu,cpuacct", "unified"];
        assert_eq!(own, expected.map(|name| Path::new("/sys/fs/cgroup").join(name)));
    }

    #[test]
    fn a_v1_hierarchy_without_controllers_makes_no_v1_host() {
        let mounts = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found = layout("1:name=systemd:/\n0::/x\n", mounts);
        let mount = PathBuf::from("/sys/fs/cgroup/unified");
        assert_eq!(found, Some(Layout::V2 { own: mount.join("x"), mount }));
    }

    #[test]
    fn a_v2_host_has_one_place() {
        let mounts =
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = layout("0::/user.slice/user-1000.slice/session-1.scope\n", mounts);
        let own = PathBuf::from("/sys/fs/cgroup/user.slice/user-1000.slice/session-1.scope");
        assert_eq!(found, Some(Layout::V2 { mount: "/sys/fs/cgroup".into(), own }));
    }

    #[test]
    fn a_container_sees_only_its_part() {
        let mounts = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let place = |cgroup| layout(cgroup, mounts);
        let at = |own: &str| Some(Layout::V2 { mount: "/sys/fs/cgroup".into(), own: own.into() });
        assert_eq!(place("0::/docker/abc/x\n"), at("/sys/fs/cgroup/x"));
        assert_eq!(place("0::/../other\n"), at("/sys/fs/cgroup"));
    }

    #[test]
    fn nothing_mounted_is_nothing() {
        assert_eq!(layout("0::/\n", ""), None);
        assert_eq!(layout("", HYBRID_MOUNTS), None);
    }
}
