//! Our own place in the cgroup hierarchies (cgroups(7), proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

/// Controllers that limits and usage need, by their v1 names.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio"];

/// One hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    /// Its v1 controllers, or `name=...` where it has none; empty for cgroup2, whose controllers are those that v1 leaves.
    pub controllers: Vec<String>,
    /// Mount point.
    pub mount: PathBuf,
    /// Our own place; it may have been removed.
    pub own: PathBuf,
}

impl Hierarchy {
    /// True for cgroup2.
    pub fn is_v2(&self) -> bool {
        self.controllers.is_empty()
    }
}

/// All mounted hierarchies, of v1 those that can be written to, and cgroup2 last, from the texts of `/proc/self/cgroup` and `/proc/self/mountinfo`: also those without a
/// controller we need, since the cgroup namespace of a container without a group there would begin at ours. Absent where nothing
/// that can limit is mounted.
pub(crate) fn layout(cgroup: &str, mountinfo: &str) -> Option<Vec<Hierarchy>> {
    let mounts = visible(mountinfo.lines().filter_map(Mount::parse).collect());
    let mut hierarchies: Vec<Hierarchy> = cgroup.lines().filter_map(|line| hierarchy(line, &mounts)).collect();
    hierarchies.sort_by_key(Hierarchy::is_v2);
    let limits = |hierarchy: &Hierarchy| {
        hierarchy.is_v2() || hierarchy.controllers.iter().any(|name| CONTROLLERS.contains(&name.as_str()))
    };
    hierarchies.iter().any(limits).then_some(hierarchies)
}

/// A line of `/proc/self/cgroup`: `4:cpu,cpuacct:/user.slice`, `0::/user.slice`.
fn hierarchy(line: &str, mounts: &[Mount<'_>]) -> Option<Hierarchy> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (controllers, path) = (fields.next()?, fields.next()?);
    let controllers: Vec<String> = controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let of_it = |mount: &&Mount<'_>| match controllers.first() {
        Some(first) => mount.kind == "cgroup" && mount.is_writable && mount.has_option(first),
        None => mount.kind == "cgroup2",
    };
    // A part of the hierarchy may be mounted elsewhere, too: the mount that shows our own place, can be written to and shows most.
    let rank = |mount: &&Mount<'_>| {
        let depth = mount.root.components().count();
        (mount.below(path).is_some(), mount.is_writable, std::cmp::Reverse(depth))
    };
    let mount = mounts.iter().filter(of_it).rev().max_by_key(rank)?;
    // To join nothing would add a slash.
    let below = mount.below(path).filter(|below| !below.as_os_str().is_empty());
    let own = below.map_or_else(|| mount.point.clone(), |below| mount.point.join(below));
    Some(Hierarchy { controllers, mount: mount.point.clone(), own })
}

/// A line of mountinfo.
struct Mount<'a> {
    id: &'a str,
    parent: &'a str,
    root: PathBuf,
    point: PathBuf,
    is_writable: bool,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Mount<'a>> {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ');
        let (id, parent, root) = (left.next()?, left.next()?, left.nth(1)?);
        let (point, flags) = (left.next()?, left.next()?);
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let is_writable = flags.split(',').any(|flag| flag == "rw");
        Some(Mount { id, parent, root: unescape(root), point: unescape(point), is_writable, kind, options })
    }

    fn has_option(&self, name: &str) -> bool {
        self.options.split(',').any(|option| option == name)
    }

    /// A cgroup path below the mount; absent when it lies outside of what the mount shows, as that of another cgroup namespace.
    fn below<'p>(&self, path: &'p str) -> Option<&'p Path> {
        let below = Path::new(path).strip_prefix(&self.root).ok()?;
        (!below.components().any(|part| part == Component::ParentDir)).then_some(below)
    }
}

/// The mounts that no later one covers.
fn visible(mounts: Vec<Mount<'_>>) -> Vec<Mount<'_>> {
    let parent = |mount: &Mount<'_>| mounts.iter().find(|other| other.id == mount.parent && other.id != mount.id);
    let stands_on = |mount: &Mount<'_>, other: &Mount<'_>| {
        let mut above = parent(mount);
        // No chain is longer than there are mounts, whatever the text says.
        (0..mounts.len()).any(|_| {
            let found = above.is_some_and(|above| above.id == other.id);
            above = above.and_then(parent);
            found
        })
    };
    let is_visible = |at: usize| {
        let mount = &mounts[at];
        !mounts[at + 1..].iter().any(|later| mount.point.starts_with(&later.point) && !stands_on(mount, later))
    };
    let keep: Vec<bool> = (0..mounts.len()).map(is_visible).collect();
    mounts.into_iter().zip(keep).filter_map(|(mount, keep)| keep.then_some(mount)).collect()
}

/// A path of mountinfo, in which blanks, line ends and backslashes are octal: `\040`.
fn unescape(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
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

    /// Mount points and own places of all hierarchies.
    fn places(cgroup: &str, mountinfo: &str) -> Vec<(String, String)> {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let all = layout(cgroup, mountinfo).unwrap_or_default();
        all.into_iter().map(|hierarchy| (text(hierarchy.mount), text(hierarchy.own))).collect()
    }

    /// The one place of a process at `path` of cgroup2.
    fn own_v2(path: &str, mountinfo: &str) -> String {
        let [(_, own)] = <[_; 1]>::try_from(places(&format!("0::{path}\n"), mountinfo)).unwrap();
        own
    }

    #[test]
    fn a_hybrid_host_has_a_place_in_every_hierarchy() {
        let own: Vec<_> = places(HYBRID_CGROUP, HYBRID_MOUNTS).into_iter().map(|(_, own)| own).collect();
        let expected = ["systemd", "pids", "blkio", "freezer", "memory/service/7", "cpuset", "cpu,cpuacct", "unified"];
        assert_eq!(own, expected.map(|name| format!("/sys/fs/cgroup/{name}")));
    }

    #[test]
    fn a_v2_host_has_one_place() {
        let mounts =
            "30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let scope = "/user.slice/user-1000.slice/session-1.scope";
        assert_eq!(own_v2(scope, mounts), format!("/sys/fs/cgroup{scope}"));
        // The group was removed while the process stayed.
        assert_eq!(own_v2("/a.service/job (deleted)", mounts), "/sys/fs/cgroup/a.service/job");
    }

    #[test]
    fn a_container_sees_only_its_part() {
        let mounts = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(own_v2("/docker/abc/x", mounts), "/sys/fs/cgroup/x");
        assert_eq!(own_v2("/docker/abcdef/x", mounts), "/sys/fs/cgroup");
        assert_eq!(own_v2("/../other", mounts), "/sys/fs/cgroup");
        // A cgroup namespace whose maker's mount is still there.
        assert_eq!(own_v2("/", &mounts.replace("/docker/abc", "/../..")), "/sys/fs/cgroup");
    }

    #[test]
    fn blanks_and_commas_in_paths_are_read() {
        let mounts = "30 23 0:26 / /mnt/c\\040group\\134\\011x rw - cgroup2 none rw\n\
            31 23 0:27 / /mnt/cpu,cpu\\040acct rw - cgroup none rw,cpu,cpuacct\n";
        let found = places("2:cpu,cpuacct:/a:b c\n0::/\n", mounts);
        let expected = [("/mnt/cpu,cpu acct", "/mnt/cpu,cpu acct/a:b c"), ("/mnt/c group\\\tx", "/mnt/c group\\\tx")];
        assert_eq!(found, expected.map(|(mount, own)| (mount.to_owned(), own.to_owned())));
        assert_eq!(unescape("/a\\04"), Path::new("/a\\04"));
        assert_eq!(unescape("/a\\999"), Path::new("/a\\999"));
    }

    #[test]
    fn of_several_mounts_the_one_that_shows_our_place_is_taken() {
        let part = "40 23 0:26 /system.slice/other /srv/jail/cgroup rw - cgroup2 cgroup2 rw\n";
        let whole = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let read_only = "50 23 0:26 / /srv/view ro - cgroup2 cgroup2 rw\n";
        for mounts in [format!("{part}{whole}{read_only}"), format!("{read_only}{whole}{part}")] {
            assert_eq!(own_v2("/user.slice", &mounts), "/sys/fs/cgroup/user.slice");
        }
        // Something was mounted over it later, and then cgroup2 there once more.
        let covered = format!("{whole}60 30 0:50 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n");
        assert_eq!(layout("0::/\n", &covered), None);
        let again = format!("{covered}61 60 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
        assert_eq!(own_v2("/x", &again), "/sys/fs/cgroup/unified/x");
    }

    #[test]
    fn nothing_to_write_to_is_nothing() {
        assert_eq!(layout("0::/\n", ""), None);
        assert_eq!(layout("", HYBRID_MOUNTS), None);
        assert_eq!(layout("1:name=systemd:/\n", HYBRID_MOUNTS), None);
        let read_only = "31 23 0:27 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        assert_eq!(layout("2:memory:/\n", read_only), None);
    }
}
