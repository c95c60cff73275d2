//! The root file system: the tree read-only, `/proc`, `/sys`, `/dev`, `/tmp` of its own, as Docker has them.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, openat2};

use crate::init::{Doing, Failure};
use crate::spec::{Bind, Namespace, Root, Work};

/// Files and folders that Docker hides ...
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
/// ... and those that it makes read-only.
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// Where a container has file systems of its own, as a guest has: what the host has there is not seen.
pub const SPECIAL: [&str; 4] = ["/proc", "/sys", "/dev", "/tmp"];
/// The devices of a container, with their numbers (kernel: devices.txt).
const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const NONE: Option<&str> = None;

/// The new root is built over this folder of the old one, which everyone may enter.
const STAGE: &str = "/tmp";

/// What is needed of the host, opened while this process is still the host's root.
pub(crate) struct Sources<'a> {
    root: &'a Root,
    tree: OwnedFd,
    binds: Vec<OwnedFd>,
    /// Only for a user namespace, where neither devices nor (with the host's network) sysfs can be made.
    devices: Vec<OwnedFd>,
    sys: Option<OwnedFd>,
}

impl<'a> Sources<'a> {
    pub(crate) fn open(root: &'a Root, namespaces: &BTreeSet<Namespace>) -> Result<Sources<'a>, Failure> {
        let user = namespaces.contains(&Namespace::User);
        let path =
            |path: &Path| open_path(path).doing(format!("opening {}, which is to be seen inside", path.display()));
        let devices = if user { &DEVICES[..] } else { &[] };
        Ok(Sources {
            root,
            tree: path(&root.tree)?,
            binds: root.binds.iter().map(|bind| path(&bind.source)).collect::<Result<_, _>>()?,
            devices: devices.iter().map(|(name, ..)| path(&Path::new("/dev").join(name))).collect::<Result<_, _>>()?,
            sys: if user && !namespaces.contains(&Namespace::Net) { Some(path(Path::new("/sys"))?) } else { None },
        })
    }

    /// Build the root in this mount namespace and enter it.
    pub(crate) fn enter(&self, namespaces: &BTreeSet<Namespace>) -> Result<(), Failure> {
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE).doing("keeping mounts to ourselves")?;
        let place = self.ground()?;
        std::env::set_current_dir(&place).doing(format!("entering {}", place.display()))?;
        mount_special(namespaces, self.sys.as_ref())?;
        if !self.root.binds.iter().any(|bind| bind.target == Path::new("/tmp")) {
            special("tmpfs", "tmp", MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=1777")?;
        }
        make_devices(&self.devices)?;
        for (bind, source) in self.root.binds.iter().zip(&self.binds) {
            attach(bind, source)?;
        }
        nix::unistd::pivot_root(".", ".").doing("changing the root")?;
        umount2(".", MntFlags::MNT_DETACH).doing("leaving the old root")?;
        std::env::set_current_dir("/").doing("entering the new root")?;
        mask()?;
        remount(Path::new("/"), MsFlags::MS_RDONLY | MsFlags::MS_NODEV).doing("making the root read-only")
    }

    /// Where the tree is a mount point. A tree that lacks a place to mount on gets it in a layer in memory above it.
    fn ground(&self) -> Result<PathBuf, Failure> {
        let binds =
            self.root.binds.iter().filter(|bind| !SPECIAL.iter().any(|special| bind.target.starts_with(special)));
        let wanted = SPECIAL.map(|path| (Path::new(path), true)).into_iter();
        let wanted = wanted.chain(binds.map(|bind| (bind.target.as_path(), bind.source.is_dir())));
        let absent: Vec<_> = wanted.filter(|(path, _)| open_in(&self.tree, path).is_err()).collect();
        let tree = by_fd(&self.tree);
        if absent.is_empty() {
            mount(Some(tree.as_str()), STAGE, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
                .doing(format!("mounting the root {}", self.root.tree.display()))?;
            restrict(Path::new(STAGE), MsFlags::MS_RDONLY | MsFlags::MS_NODEV).doing("making the root read-only")?;
            return Ok(PathBuf::from(STAGE));
        }
        let stage = Path::new(STAGE);
        special("tmpfs", STAGE, MsFlags::empty(), "mode=0755")?;
        for name in ["upper", "work", "root"] {
            fs::create_dir(stage.join(name)).doing("making a layer in memory")?;
        }
        let place = stage.join("root");
        let options = format!("lowerdir={tree},upperdir={STAGE}/upper,workdir={STAGE}/work");
        mount(Some("overlay"), &place, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
            .doing(format!("laying a layer over {}", self.root.tree.display()))?;
        let root = open_path(&place).doing("opening the layered root")?;
        for (path, is_folder) in absent {
            make_point(&root, path, is_folder).doing(format!("making a place for {}", path.display()))?;
        }
        Ok(place)
    }
}

/// Mount what the program works in, in this mount namespace. What the host unmounts goes here as well; nothing goes to the host.
pub(crate) fn mount_work(work: &Work) -> Result<(), Failure> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SLAVE, NONE).doing("keeping mounts to ourselves")?;
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let (kind, flags) = match work.source.is_dir() {
        true => (NONE, MsFlags::MS_BIND),
        false => (Some("ext4"), quiet),
    };
    let doing = |from: &Path, to: &Path| format!("mounting {} on {}", from.display(), to.display());
    let bind = |Bind { source, target, .. }: &Bind| {
        mount(Some(source), target, NONE, MsFlags::MS_BIND, NONE).doing(doing(source, target))
    };
    work.kept.iter().try_for_each(bind)?;
    mount(Some(&work.source), &work.target, kind, flags, NONE).doing(doing(&work.source, &work.target))?;
    remount(&work.target, quiet).doing(doing(&work.source, &work.target))?;
    let open = fs::Permissions::from_mode(0o1777);
    fs::set_permissions(&work.target, open).doing(format!("opening {} up", work.target.display()))?;
    work.files.iter().try_for_each(bind)
}

/// Make an empty folder or file to mount on, and the folders above it, without ever leaving the root.
fn make_point(root: &OwnedFd, path: &Path, is_folder: bool) -> io::Result<()> {
    let mut so_far = PathBuf::from("/");
    for part in path.strip_prefix("/").unwrap_or(path) {
        let parent = open_in(root, &so_far)?;
        so_far.push(part);
        if open_in(root, &so_far).is_ok() {
            continue;
        }
        if so_far == path && !is_folder {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            rustix::fs::openat(&parent, part, flags, Mode::from_raw_mode(0o644))?;
        } else {
            rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755))?;
        }
    }
    Ok(())
}

fn open_path(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Open a path inside a root without ever leaving it, whatever links say.
fn open_in(root: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    Ok(openat2(root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)?)
}

fn by_fd(fd: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Bind what `source` is open on to a path inside the new root, which is the working directory. A device is one when it is given
/// itself, not when it lies in a folder.
fn attach(bind: &Bind, source: &OwnedFd) -> Result<(), Failure> {
    let doing = || format!("mounting {} on {}", bind.source.display(), bind.target.display());
    let kind = FileType::from_raw_mode(rustix::fs::fstat(source).doing(doing())?.st_mode);
    let here = open_path(Path::new(".")).doing(doing())?;
    if open_in(&here, &bind.target).is_err() {
        // Below a file system of the container's own, such as /dev; all other places have been made.
        make_point(&here, &bind.target, kind.is_dir()).doing(doing())?;
    }
    let target = open_in(&here, &bind.target).doing(doing())?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(by_fd(source).as_str()), by_fd(&target).as_str(), NONE, flags, NONE).doing(doing())?;
    let mut flags = MsFlags::MS_NOSUID;
    flags.set(MsFlags::MS_RDONLY, bind.read_only);
    flags.set(MsFlags::MS_NODEV, !(kind.is_char_device() || kind.is_block_device()));
    let mounted = open_in(&here, &bind.target).doing(doing())?;
    restrict(Path::new(&by_fd(&mounted)), flags).doing(doing())
}

/// Add flags to a mount and to all that are mounted below it; before Linux 5.12 only to itself.
fn restrict(path: &Path, flags: MsFlags) -> io::Result<()> {
    let attributes = [
        (MsFlags::MS_RDONLY, libc::MOUNT_ATTR_RDONLY),
        (MsFlags::MS_NOSUID, libc::MOUNT_ATTR_NOSUID),
        (MsFlags::MS_NODEV, libc::MOUNT_ATTR_NODEV),
        (MsFlags::MS_NOEXEC, libc::MOUNT_ATTR_NOEXEC),
    ];
    let wanted = attributes.into_iter().filter(|(flag, _)| flags.contains(*flag)).map(|(_, attribute)| attribute).sum();
    match crate::sys::restrict(&open_path(path)?, wanted, true) {
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => Ok(remount(path, flags)?),
        done => done,
    }
}

/// Change the flags of a mount, keeping those that a user namespace may not clear.
fn remount(path: &Path, more: MsFlags) -> nix::Result<()> {
    let stat = nix::sys::statvfs::statvfs(path)?.flags();
    use nix::sys::statvfs::FsFlags;
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | more;
    for (have, keep) in [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
        (FsFlags::ST_RDONLY, MsFlags::MS_RDONLY),
        (FsFlags::ST_RELATIME, MsFlags::MS_RELATIME),
        (FsFlags::ST_NOATIME, MsFlags::MS_NOATIME),
    ] {
        if stat.contains(have) {
            flags |= keep;
        }
    }
    mount(NONE, path, NONE, flags, NONE)
}

fn special(kind: &str, on: &str, flags: MsFlags, options: &str) -> Result<(), Failure> {
    let options = Some(options).filter(|options| !options.is_empty());
    mount(Some(kind), on, Some(kind), flags, options).doing(format!("mounting {kind} on {on}"))
}

fn mount_special(namespaces: &BTreeSet<Namespace>, host_sys: Option<&OwnedFd>) -> Result<(), Failure> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    if namespaces.contains(&Namespace::Pid) {
        special("proc", "proc", quiet, "")?;
    } else {
        mount(Some("/proc"), "proc", NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
            .doing("mounting the host's /proc")?;
    }
    match host_sys {
        // A user namespace may mount sysfs only with a network namespace of its own.
        Some(sys) => {
            mount(Some(by_fd(sys).as_str()), "sys", NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
                .doing("mounting the host's /sys")?;
            restrict(Path::new("sys"), quiet | MsFlags::MS_RDONLY).doing("making /sys read-only")?;
            // Instead of all groups of the host.
            special("tmpfs", "sys/fs/cgroup", quiet | MsFlags::MS_RDONLY, "")?;
        }
        None => special("sysfs", "sys", quiet | MsFlags::MS_RDONLY, "")?,
    }
    if crate::sys::is_cgroup2(Path::new("/sys/fs/cgroup")) {
        special("cgroup2", "sys/fs/cgroup", quiet | MsFlags::MS_RDONLY, "")?;
    }
    special("tmpfs", "dev", MsFlags::MS_NOSUID | MsFlags::MS_STRICTATIME, "mode=0755,size=64k")?;
    for folder in ["dev/pts", "dev/shm", "dev/mqueue"] {
        fs::create_dir(folder).doing(format!("making /{folder}"))?;
    }
    special("devpts", "dev/pts", MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620")?;
    special("tmpfs", "dev/shm", quiet, "mode=1777,size=64m")?;
    if namespaces.contains(&Namespace::Ipc) {
        special("mqueue", "dev/mqueue", quiet, "")?;
    }
    Ok(())
}

/// Nodes of our own; in a user namespace, where none can be made, the host's. These are read-only, which keeps their mode and
/// owner, and lets the device itself be written.
fn make_devices(hosts: &[OwnedFd]) -> Result<(), Failure> {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
    let old = umask(Mode::empty());
    for (index, &(name, major, minor)) in DEVICES.iter().enumerate() {
        let path = Path::new("dev").join(name);
        match hosts.get(index) {
            Some(host) => File::create(&path)
                .and_then(|_| Ok(mount(Some(by_fd(host).as_str()), &path, NONE, MsFlags::MS_BIND, NONE)?))
                .and_then(|()| Ok(remount(&path, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC)?)),
            None => {
                mknod(&path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor)).map_err(Into::into)
            }
        }
        .doing(format!("making /dev/{name}"))?;
    }
    umask(old);
    for (name, to) in
        [("fd", "/proc/self/fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2"), ("ptmx", "pts/ptmx")]
    {
        std::os::unix::fs::symlink(to, Path::new("dev").join(name)).doing(format!("making /dev/{name}"))?;
    }
    Ok(())
}

fn mask() -> Result<(), Failure> {
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    for path in MASKED.map(Path::new) {
        let Ok(metadata) = fs::metadata(path) else { continue };
        match metadata.is_dir() {
            true => mount(Some("tmpfs"), path, Some("tmpfs"), quiet, Some("size=0k")),
            false => mount(Some("/dev/null"), path, NONE, MsFlags::MS_BIND, NONE),
        }
        .doing(format!("hiding {}", path.display()))?;
    }
    for path in READ_ONLY.map(Path::new).into_iter().filter(|path| path.exists()) {
        mount(Some(path), path, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
            .and_then(|()| remount(path, MsFlags::MS_RDONLY))
            .doing(format!("making {} read-only", path.display()))?;
    }
    Ok(())
}
