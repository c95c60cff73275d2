//! `/proc`, `/sys`, `/dev` and `/tmp` of a container's own, as Docker has them, with what is hidden there and read-only.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{Dir, FileType, Mode, OFlags, mkdirat, mknodat, openat, symlinkat};
use rustix::mount::MountAttrFlags as Attributes;

use crate::detached::Mount;
use crate::init::{Doing, Failure};
use crate::inside::{is_device, kind_at, open_path, put_special};
use crate::spec::Namespace;

/// Where a container has file systems of its own, as a guest has: what the host has there is not seen.
pub const SPECIAL: [&str; 4] = ["/proc", "/sys", "/dev", "/tmp"];

/// Hidden in `/proc`: Docker's list, other files about the kernel's memory, and the control file of debug messages, which needs no
/// capability ...
const MASKED_IN_PROC: [&str; 18] = [
    "asound",
    "acpi",
    "dynamic_debug",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "timer_list",
    "timer_stats",
    "sched_debug",
    "scsi",
    "kallsyms",
    "kpagecgroup",
    "kpagecount",
    "kpageflags",
    "pagetypeinfo",
    "slabinfo",
    "vmallocinfo",
];
/// ... and of `/sys` ...
const MASKED_IN_SYS: [&str; 2] = ["firmware", "devices/virtual/powercap"];
/// (and of each CPU here how often it was too hot, which tells of other programs) ...
const CPUS: &str = "devices/system/cpu";
/// ... and what only the host's own `/sys` has: file systems that are mounted there.
const MASKED_IN_HOSTS_SYS: [&str; 6] =
    ["fs/bpf", "fs/pstore", "kernel/config", "kernel/debug", "kernel/security", "kernel/tracing"];
/// What Docker makes read-only in `/proc`.
const READ_ONLY_IN_PROC: [&str; 5] = ["bus", "fs", "irq", "sys", "sysrq-trigger"];
/// The devices of a container, with their numbers (kernel: devices.txt).
const DEVICES: [(&str, (u32, u32)); 6] =
    [("null", (1, 3)), ("zero", (1, 5)), ("full", (1, 7)), ("random", (1, 8)), ("urandom", (1, 9)), ("tty", (5, 0))];

const QUIET: Attributes =
    Attributes::MOUNT_ATTR_NOSUID.union(Attributes::MOUNT_ATTR_NODEV).union(Attributes::MOUNT_ATTR_NOEXEC);
const QUIET_READ_ONLY: Attributes = QUIET.union(Attributes::MOUNT_ATTR_RDONLY);

/// What has to be the host's since a container of these namespaces cannot make it, cloned while this process is still the host's
/// root.
pub(crate) struct Hosts {
    /// Without a pid namespace.
    proc: Option<Mount>,
    /// A user namespace may mount sysfs only with a network namespace of its own.
    sys: Option<Mount>,
    /// A user namespace makes no devices.
    devices: Vec<Mount>,
}

impl Hosts {
    /// Clone what these namespaces need.
    pub(crate) fn clone_for(namespaces: &BTreeSet<Namespace>) -> Result<Hosts, Failure> {
        let has = |kind| namespaces.contains(&kind);
        let proc = (!has(Namespace::Pid)).then(|| clone_of("/proc", Attributes::empty())).transpose()?;
        let needs_sys = has(Namespace::User) && !has(Namespace::Net);
        let sys = needs_sys.then(|| clone_of("/sys", QUIET_READ_ONLY)).transpose()?;
        let devices = if has(Namespace::User) { &DEVICES[..] } else { &[] };
        let devices = devices.iter().map(|(name, number)| clone_of_device(name, *number)).collect::<Result<_, _>>()?;
        Ok(Hosts { proc, sys, devices })
    }
}

fn clone_of(path: &str, attributes: Attributes) -> Result<Mount, Failure> {
    let cloned = open_path(Path::new(path)).and_then(|folder| {
        let mut mount = Mount::clone_of(&folder, true)?;
        mount.restrict(attributes)?;
        Ok(mount)
    });
    cloned.doing(format!("taking the host's {path}"))
}

/// Read-only, which keeps mode and owner of the host's, and lets the device itself be written.
fn clone_of_device(name: &str, number: (u32, u32)) -> Result<Mount, Failure> {
    let path = format!("/dev/{name}");
    let doing = || format!("taking the host's {path}");
    let device = open_path(Path::new(&path)).doing(doing())?;
    check_device(&device, &path, number)?;
    let mut mount = Mount::clone_of(&device, false).doing(doing())?;
    let attributes = Attributes::MOUNT_ATTR_RDONLY | Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NOEXEC;
    mount.restrict(attributes).doing(doing())?;
    Ok(mount)
}

/// The root in which they are mounted, and how.
pub(crate) struct Special<'a> {
    pub(crate) root: &'a OwnedFd,
    pub(crate) hosts: Hosts,
    pub(crate) namespaces: &'a BTreeSet<Namespace>,
}

impl Special<'_> {
    /// Mount all of them, and hide what is to be hidden; `/tmp` only if asked.
    pub(crate) fn mount(mut self, with_tmp: bool) -> Result<(), Failure> {
        let (hosts_proc, hosts_sys) = (self.hosts.proc.take(), self.hosts.sys.take());
        let proc = match hosts_proc {
            Some(mount) => mount,
            None => self.fresh("proc", &[], QUIET | self.as_the_hosts("/proc")?)?,
        };
        put_special(self.root, "proc", &proc)?;
        let is_hosts_sys = hosts_sys.is_some();
        let sys = match hosts_sys {
            Some(mount) => mount,
            None => self.fresh("sysfs", &[], QUIET_READ_ONLY | self.as_the_hosts("/sys")?)?,
        };
        put_special(self.root, "sys", &sys)?;
        self.mount_cgroup(&sys, is_hosts_sys)?;
        let covers = Covers { null: self.mount_dev()?, folder: OnceCell::new() };
        if with_tmp {
            let quiet = Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NODEV;
            put_special(self.root, "tmp", &self.fresh("tmpfs", &[("mode", "1777")], quiet)?)?;
        }
        MASKED_IN_PROC.iter().try_for_each(|path| covers.hide(&proc, "/proc", path))?;
        MASKED_IN_SYS.iter().try_for_each(|path| covers.hide(&sys, "/sys", path))?;
        cpus_in(&sys)
            .doing("listing the CPUs in /sys")?
            .iter()
            .try_for_each(|cpu| covers.hide(&sys, "/sys", &of_heat(cpu)))?;
        if is_hosts_sys {
            MASKED_IN_HOSTS_SYS.iter().try_for_each(|path| covers.hide(&sys, "/sys", path))?;
        }
        READ_ONLY_IN_PROC.iter().try_for_each(|path| make_read_only(&proc, path))
    }

    fn fresh(&self, kind: &str, options: &[(&str, &str)], attributes: Attributes) -> Result<Mount, Failure> {
        Mount::fresh(kind, options, attributes).doing(format!("making {kind}"))
    }

    /// A user namespace may mount what the kernel tells only with the access times that the host's mount has.
    fn as_the_hosts(&self, path: &str) -> Result<Attributes, Failure> {
        if !self.namespaces.contains(&Namespace::User) {
            return Ok(Attributes::empty());
        }
        let flags = rustix::fs::statvfs(path).doing(format!("looking at the host's {path}"))?.f_flag.bits();
        Ok(access_times(flags))
    }

    /// Its own group, where there is cgroup2; never all groups of the host.
    fn mount_cgroup(&self, sys: &Mount, is_hosts_sys: bool) -> Result<(), Failure> {
        let kind = match crate::sys::is_cgroup2(Path::new("/sys/fs/cgroup")) {
            true => "cgroup2",
            false if is_hosts_sys => "tmpfs",
            false => return Ok(()),
        };
        let mount = self.fresh(kind, &[], QUIET_READ_ONLY)?;
        mount.attach_at(sys.fd(), "fs/cgroup").doing(format!("mounting {kind} on /sys/fs/cgroup"))
    }

    /// `/dev` with all that is in it; its `null`.
    fn mount_dev(&self) -> Result<OwnedFd, Failure> {
        let attributes = Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_STRICTATIME;
        let dev = self.fresh("tmpfs", &[("mode", "0755"), ("size", "64k")], attributes)?;
        self.make_nodes(dev.fd())?;
        put_special(self.root, "dev", &dev)?;
        let mount = |mount: &Mount, name: &str| mount.attach_at(dev.fd(), name).doing(format!("mounting /dev/{name}"));
        for ((name, _), host) in DEVICES.iter().zip(&self.hosts.devices) {
            mount(host, name)?;
        }
        let options = [("ptmxmode", "0666"), ("mode", "0620")];
        let not_executed = Attributes::MOUNT_ATTR_NOSUID | Attributes::MOUNT_ATTR_NOEXEC;
        mount(&self.fresh("devpts", &options, not_executed)?, "pts")?;
        mount(&self.fresh("tmpfs", &[("mode", "1777"), ("size", "64m")], QUIET)?, "shm")?;
        if self.namespaces.contains(&Namespace::Ipc) {
            mount(&self.fresh("mqueue", &[], QUIET)?, "mqueue")?;
        }
        // Whatever is hidden looks like this one.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let null = openat(dev.fd(), "null", flags, Mode::empty()).doing("opening /dev/null")?;
        check_device(&null, "/dev/null", DEVICES[0].1)?;
        Ok(null)
    }

    /// Nodes of our own, or empty files for the host's; links and folders.
    fn make_nodes(&self, dev: &OwnedFd) -> Result<(), Failure> {
        let mode = Mode::from_raw_mode(0o666);
        for (name, (major, minor)) in DEVICES {
            let made = match self.hosts.devices.is_empty() {
                true => mknodat(dev, name, FileType::CharacterDevice, mode, rustix::fs::makedev(major, minor)),
                false => {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                    openat(dev, name, flags, mode).map(drop)
                }
            };
            made.doing(format!("making /dev/{name}"))?;
        }
        for (name, to) in
            [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")]
        {
            symlinkat(to, dev, name).doing(format!("making /dev/{name}"))?;
        }
        let folders = ["pts", "shm", "mqueue"];
        folders
            .iter()
            .try_for_each(|name| mkdirat(dev, *name, Mode::from_raw_mode(0o755)).doing(format!("making /dev/{name}")))
    }
}

/// Names of the folders of single CPUs.
fn cpus_in(sys: &Mount) -> io::Result<Vec<String>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = openat(sys.fd(), CPUS, flags, Mode::empty())?;
    let names = Dir::read_from(&folder)?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names.filter(|name| is_cpu(name)).collect())
}

fn is_cpu(name: &str) -> bool {
    name.strip_prefix("cpu").is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

/// Below `/sys`.
fn of_heat(cpu: &str) -> String {
    format!("{CPUS}/{cpu}/thermal_throttle")
}

/// What is hidden in containers, for other runtimes: `linux.maskedPaths` of the OCI runtime specification. Not all of it is there.
pub fn masked_paths() -> Vec<String> {
    let cpus = std::fs::read_dir(Path::new("/sys").join(CPUS)).into_iter().flatten().flatten();
    let mut cpus: Vec<_> = cpus.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    cpus.retain(|name| is_cpu(name));
    cpus.sort();
    let in_sys = MASKED_IN_SYS.map(str::to_owned).into_iter().chain(cpus.iter().map(|cpu| of_heat(cpu)));
    MASKED_IN_PROC.iter().map(|path| format!("/proc/{path}")).chain(in_sys.map(|path| format!("/sys/{path}"))).collect()
}

/// What is read-only in containers, for other runtimes: `linux.readonlyPaths`.
pub fn read_only_paths() -> Vec<String> {
    READ_ONLY_IN_PROC.iter().map(|path| format!("/proc/{path}")).collect()
}

/// statvfs(3)'s access times as attributes.
fn access_times(flags: u64) -> Attributes {
    let mut attributes = match flags {
        flags if flags & libc::ST_NOATIME != 0 => Attributes::MOUNT_ATTR_NOATIME,
        flags if flags & libc::ST_RELATIME != 0 => Attributes::MOUNT_ATTR_RELATIME,
        _ => Attributes::MOUNT_ATTR_STRICTATIME,
    };
    attributes.set(Attributes::MOUNT_ATTR_NODIRATIME, flags & libc::ST_NODIRATIME != 0);
    attributes
}

fn check_device(device: &OwnedFd, path: &str, number: (u32, u32)) -> Result<(), Failure> {
    match is_device(device, number).doing(format!("looking at {path}"))? {
        true => Ok(()),
        false => Err(Failure::own(format!("{path} is not the character device {}:{}", number.0, number.1), None)),
    }
}

/// Hidden files look like `/dev/null`, and hidden folders are one empty folder.
struct Covers {
    null: OwnedFd,
    folder: OnceCell<Mount>,
}

impl Covers {
    /// Cover a file or folder of a file system of the container's own. What it lacks needs no cover.
    fn hide(&self, mount: &Mount, on: &str, path: &str) -> Result<(), Failure> {
        let doing = || format!("hiding {on}/{path}");
        let attach = |cover: &Mount| cover.attach_at(mount.fd(), path);
        match (kind_at(mount.fd(), path).doing(doing())?, self.folder.get()) {
            (None, _) => Ok(()),
            (Some(FileType::Directory), Some(first)) => {
                Mount::clone_of(first.fd(), false).and_then(|cover| attach(&cover))
            }
            // Only what is attached can be cloned.
            (Some(FileType::Directory), None) => Mount::fresh("tmpfs", &[("size", "0k")], QUIET_READ_ONLY)
                .and_then(|cover| attach(&cover).map(|()| drop(self.folder.set(cover)))),
            (Some(_), _) => Mount::clone_of(&self.null, false).and_then(|cover| attach(&cover)),
        }
        .doing(doing())
    }
}

fn make_read_only(proc: &Mount, path: &str) -> Result<(), Failure> {
    let covered = match Mount::clone_at(proc.fd(), path, true) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(()),
        cloned => cloned.and_then(|mut cover| {
            cover.restrict(Attributes::MOUNT_ATTR_RDONLY)?;
            cover.attach_at(proc.fd(), path)
        }),
    };
    covered.doing(format!("making /proc/{path} read-only"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_times_are_told_as_they_are_asked_for() {
        let (no, nodir) = (Attributes::MOUNT_ATTR_NOATIME, Attributes::MOUNT_ATTR_NODIRATIME);
        assert_eq!(access_times(libc::ST_RELATIME | libc::ST_NOSUID), Attributes::MOUNT_ATTR_RELATIME);
        assert_eq!(access_times(libc::ST_NOATIME | libc::ST_NODIRATIME), no | nodir);
        assert_eq!(access_times(libc::ST_NODIRATIME), Attributes::MOUNT_ATTR_STRICTATIME | nodir);
    }
}
