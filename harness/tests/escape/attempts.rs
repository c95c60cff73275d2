//! What a hostile program in a container tries. Each attempt is one function; it returns what it reached, or the error that
//! stopped it. None does harm where it succeeds: files are opened and not written, the clock is set to what it shows.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;

use crate::outside::{Outside, VOLUME};
use crate::system::{call, call_path, in_new_namespaces, text};

/// What was reached, or what stopped it.
pub type Tried = io::Result<String>;
/// Name and body.
pub type Attempt = (&'static str, fn(&Outside) -> Tried);

/// Attempts that mean something only where the container has a network of its own.
pub const NEEDS_OWN_NETWORK: [&str; 2] = ["reach an abstract socket of the host", "see a network device of the host"];

/// All of them.
pub const ATTEMPTS: &[Attempt] = &[
    // The starter: CVE-2019-5736 and leaked descriptors (CVE-2024-21626).
    ("write to the executable of process 1", |_| open_write("/proc/1/exe")),
    ("write to it through a descriptor that was held", |_| {
        let held = File::open("/proc/1/exe")?;
        open_write(&format!("/proc/self/fd/{}", held.as_raw_fd()))
    }),
    ("find the starter's executable where it can be written", |_| starter_is_writable()),
    ("find the starter's environment at process 1", |outside| {
        let environment = fs::read("/proc/1/environ")?;
        one(String::from_utf8_lossy(&environment)
            .split('\0')
            .filter(|word| word.contains(&outside.token))
            .map(str::to_owned))
    }),
    ("find a descriptor besides the standard three", |_| leaked("/proc/self/fd", true)),
    ("look through the descriptors of process 1", |_| leaked("/proc/1/fd", false)),
    ("find the host's files at the root of process 1", |outside| marker_below(outside, "/proc/1/root")),
    ("find the host's files at its own working directory", |outside| marker_below(outside, "/proc/self/cwd/../../..")),
    // What proc and sysfs tell.
    ("read /proc/kcore", |_| read("/proc/kcore")),
    ("read /proc/keys", |_| read("/proc/keys")),
    ("read /proc/kmsg", |_| opened(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open("/proc/kmsg"))),
    ("read /proc/timer_list", |_| read("/proc/timer_list")),
    ("read /proc/sched_debug", |_| read("/proc/sched_debug")),
    ("read /proc/interrupts", |_| read("/proc/interrupts")),
    ("list /proc/acpi", |_| list("/proc/acpi")),
    ("list /proc/scsi", |_| list("/proc/scsi")),
    ("list /sys/firmware", |_| list("/sys/firmware")),
    ("list /sys/devices/virtual/powercap", |_| list("/sys/devices/virtual/powercap")),
    ("list /sys/kernel/debug", |_| list("/sys/kernel/debug")),
    ("open /proc/sysrq-trigger", |_| open_write("/proc/sysrq-trigger")),
    ("open the core pattern", |_| open_write("/proc/sys/kernel/core_pattern")),
    ("open the path of modprobe", |_| open_write("/proc/sys/kernel/modprobe")),
    ("open /proc/sys/vm/drop_caches", |_| open_write("/proc/sys/vm/drop_caches")),
    ("open the affinity of interrupts", |_| open_write("/proc/irq/default_smp_affinity")),
    ("open a device on the PCI bus", |_| open_write_below("/proc/bus/pci")),
    ("open the path of the hotplug helper", |_| open_write("/sys/kernel/uevent_helper")),
    ("open settings of a block device", |_| open_write_below("/sys/block")),
    ("open settings of memory management", |_| open_write_below("/sys/kernel/mm")),
    // Mounts.
    ("mount a file system", |_| mount("tmpfs", "/tmp", "tmpfs", 0)),
    ("mount by the new calls", |_| call_path(libc::SYS_fsopen, "tmpfs", [0; 4]).map(|_| "fsopen".to_owned())),
    ("clone the tree of mounts", |_| {
        let (root, clone) = (text("/")?, 1);
        call(libc::SYS_open_tree, [libc::AT_FDCWD as usize, root.as_ptr() as usize, clone, 0, 0, 0])
            .map(|_| "open_tree".to_owned())
    }),
    ("take the mask off /proc", |_| unmount("/proc/kcore")),
    ("make /proc/sys writable", |_| mount("none", "/proc/sys", "", libc::MS_REMOUNT | libc::MS_BIND)),
    ("make the root writable", |_| mount("none", "/", "", libc::MS_REMOUNT | libc::MS_BIND)),
    ("change the root by pivot_root", |_| {
        let here = text(".")?;
        std::env::set_current_dir("/tmp")?;
        call(libc::SYS_pivot_root, [here.as_ptr() as usize, here.as_ptr() as usize, 0, 0, 0, 0])
            .map(|_| "a root".to_owned())
    }),
    ("leave the root by chroot", leave_root),
    ("write to the root", |_| opened(File::create("/escape"))),
    ("write to a read-only volume", |_| opened(File::create(Path::new(VOLUME).join("read-only/x")))),
    ("write to a mount below a read-only volume", |_| {
        opened(File::create(Path::new(VOLUME).join("read-only/below/x")))
    }),
    // The same as the root of a user namespace that it makes itself.
    ("take the mask off /proc in a user namespace", |_| {
        in_new_namespaces(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
        unmount("/proc/kcore")
    }),
    ("make /proc/sys writable in a user namespace", |_| {
        in_new_namespaces(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
        mount("none", "/proc/sys", "", libc::MS_REMOUNT | libc::MS_BIND)
    }),
    ("mount an unmasked /proc in a user namespace", |_| fresh("proc", libc::CLONE_NEWPID)),
    ("mount an unmasked /sys in a user namespace", |_| fresh("sysfs", libc::CLONE_NEWNET)),
    ("open a release agent in a user namespace", |_| {
        in_new_namespaces(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP)?;
        mount_v1()?;
        fs::write("/tmp/release_agent", "/x").map(|()| "release_agent".to_owned())
    }),
    // Devices.
    ("make a device in /tmp", |_| make_device("/tmp/disk")),
    ("make a device in /dev", |_| make_device("/dev/disk")),
    ("open a disk in /dev", |_| open_disk()),
    ("open a device that lies in a volume", |_| opened(File::open(Path::new(VOLUME).join("device")))),
    ("change the mode of a device of the host", |_| {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let found = fs::metadata("/dev/full")?;
        // One that was made for it alone is nobody else's; the same mode again does no harm.
        fs::set_permissions("/dev/full", fs::Permissions::from_mode(found.mode()))?;
        hosts_device("/dev/full")
    }),
    ("open /dev/mem", |_| open_write("/dev/mem")),
    ("open /dev/port", |_| open_write("/dev/port")),
    ("open /dev/kvm", |_| open_write("/dev/kvm")),
    ("open the host's console", |_| open_write("/dev/console")),
    ("reach the I/O ports", |_| call(libc::SYS_iopl, [3, 0, 0, 0, 0, 0]).map(|_| "iopl".to_owned())),
    // Processes.
    ("see a process of the host", see_process),
    ("signal a process of the host", |outside| on_process(outside, call(libc::SYS_kill, [outside.pid, 0, 0, 0, 0, 0]))),
    ("trace a process of the host", |outside| {
        const SEIZE: usize = 0x4206;
        on_process(outside, call(libc::SYS_ptrace, [SEIZE, outside.pid, 0, 0, 0, 0]))
    }),
    ("hold a process of the host", |outside| {
        on_process(outside, call(libc::SYS_pidfd_open, [outside.pid, 0, 0, 0, 0, 0]))
    }),
    ("enter the namespaces of process 1", |_| enter_namespaces()),
    ("find shared memory of the host", |outside| {
        call(libc::SYS_shmget, [outside.key, 0, 0, 0, 0, 0]).map(|id| format!("segment {id}"))
    }),
    ("find a key of the starter's session", |outside| {
        let (kind, name) = (text("user")?, text(&outside.token)?);
        const SEARCH: usize = 10;
        const SESSION: isize = -3;
        let arguments = [SEARCH, SESSION as usize, kind.as_ptr() as usize, name.as_ptr() as usize, 0, 0];
        call(libc::SYS_keyctl, arguments).map(|id| format!("key {id}"))
    }),
    ("reach an abstract socket of the host", |outside| {
        use std::os::linux::net::SocketAddrExt;
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&outside.token)?;
        std::os::unix::net::UnixStream::connect_addr(&address).map(|_| "connected".to_owned())
    }),
    ("see a network device of the host", |_| {
        let text = fs::read_to_string("/proc/net/dev")?;
        let names = text.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim);
        one(names.filter(|name| *name != "lo").map(str::to_owned))
    }),
    // Privileges.
    ("open a file by its handle", |_| by_handle()),
    ("open a file by its handle in a user namespace", |_| {
        in_new_namespaces(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
        by_handle()
    }),
    ("become root by a setuid program", |_| setuid_program()),
    ("hold a capability that Docker does not give", |_| more_capabilities()),
    ("gain privileges by exec", |_| {
        let status = fs::read_to_string("/proc/self/status")?;
        one(status.lines().filter(|line| line.starts_with("NoNewPrivs") && line.ends_with('0')).map(str::to_owned))
    }),
    ("load a module", |_| {
        let (image, none) = ([0_u8; 64], text("")?);
        let done = call(libc::SYS_init_module, [image.as_ptr() as usize, image.len(), none.as_ptr() as usize, 0, 0, 0]);
        only_privilege(done, libc::ENOEXEC)
    }),
    ("load another kernel", |_| only_privilege(call(libc::SYS_kexec_load, [0, 99, 0, 0, 0, 0]), libc::EINVAL)),
    ("turn swap on", |_| only_privilege(call_path(libc::SYS_swapon, "/no/such/file", [0; 4]), libc::ENOENT)),
    ("set the clock", |_| {
        let mut now = [0_i64; 2];
        call(libc::SYS_clock_gettime, [0, now.as_mut_ptr() as usize, 0, 0, 0, 0])?;
        call(libc::SYS_clock_settime, [0, now.as_ptr() as usize, 0, 0, 0, 0]).map(|_| "set".to_owned())
    }),
    ("set the host name", |_| {
        let name = fs::read_to_string("/proc/sys/kernel/hostname")?;
        let name = name.trim();
        call(libc::SYS_sethostname, [name.as_ptr() as usize, name.len(), 0, 0, 0, 0]).map(|_| name.to_owned())
    }),
    ("restart the machine", |_| {
        // Whether Ctrl-Alt-Del restarts at once or asks process 1: the default, and nothing happens.
        const CAD_OFF: usize = 0;
        call(libc::SYS_reboot, [0xfee1_dead, 672_274_793, CAD_OFF, 0, 0, 0]).map(|_| "reboot".to_owned())
    }),
    ("take precedence over the host's processes", |_| {
        let minus_20 = -20_isize;
        call(libc::SYS_setpriority, [0, 0, minus_20 as usize, 0, 0, 0]).map(|_| "nice -20".to_owned())
    }),
    ("hide from the out-of-memory killer", |_| {
        fs::write("/proc/self/oom_score_adj", "-1000").map(|()| "oom_score_adj -1000".to_owned())
    }),
    // Limits.
    ("write to its cgroup", |_| open_write_below("/sys/fs/cgroup")),
    ("lift its limits by a cgroup mount in a user namespace", |_| {
        in_new_namespaces(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP)?;
        match mount("none", "/tmp", "cgroup2", 0) {
            Ok(_) if Path::new("/tmp/memory.max").exists() => open_write("/tmp/memory.max"),
            _ => mount_v1().and_then(|_| open_write("/tmp/memory.limit_in_bytes")),
        }
    }),
    ("find the host's processes by a cgroup mount in a user namespace", strangers_by_cgroup),
    ("make a cgroup", |_| fs::create_dir("/sys/fs/cgroup/escape").map(|()| "a group".to_owned())),
];

fn opened(file: io::Result<File>) -> Tried {
    file.map(|file| format!("{:?}", fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default()))
}

fn one(mut found: impl Iterator<Item = String>) -> Tried {
    found.next().ok_or_else(|| io::Error::from(ErrorKind::NotFound))
}

fn open_write(path: &str) -> Tried {
    opened(OpenOptions::new().write(true).open(path))
}

/// The first file below that can be opened for writing.
fn open_write_below(folder: &str) -> Tried {
    let mut folders = vec![PathBuf::from(folder)];
    let mut refused = io::Error::from(ErrorKind::NotFound);
    for _ in 0..200 {
        let Some(folder) = folders.pop() else { break };
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_dir() => folders.insert(0, entry.path()),
                Ok(_) => match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(entry.path()) {
                    Ok(_) => return Ok(entry.path().display().to_string()),
                    Err(e) => refused = e,
                },
                Err(_) => {}
            }
        }
    }
    Err(refused)
}

fn read(path: &str) -> Tried {
    let mut byte = [0];
    match File::open(path)?.read(&mut byte)? {
        0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "it is empty")),
        _ => Ok(path.to_owned()),
    }
}

fn list(path: &str) -> Tried {
    one(fs::read_dir(path)?.flatten().map(|entry| entry.path().display().to_string()))
}

fn mount(source: &str, on: &str, kind: &str, flags: libc::c_ulong) -> Tried {
    mount_with(source, on, kind, flags, "")
}

fn mount_with(source: &str, on: &str, kind: &str, flags: libc::c_ulong, options: &str) -> Tried {
    let (source, on, kind, options) = (text(source)?, text(on)?, text(kind)?, text(options)?);
    let [source, point, kind, options] = [&source, &on, &kind, &options].map(|text| text.as_ptr() as usize);
    call(libc::SYS_mount, [source, point, kind, flags as usize, options, 0]).map(|_| format!("mounted {on:?}"))
}

fn unmount(path: &str) -> Tried {
    call_path(libc::SYS_umount2, path, [libc::MNT_DETACH as usize, 0, 0, 0]).map(|_| path.to_owned())
}

/// A file system of its own: without what was hidden or made read-only in the container's.
fn fresh(kind: &str, own: libc::c_int) -> Tried {
    in_new_namespaces(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | own)?;
    mount(kind, "/tmp", kind, 0)
}

/// Any hierarchy of cgroup v1 on `/tmp`.
fn mount_v1() -> Tried {
    let mut last = io::Error::from(ErrorKind::NotFound);
    for options in ["memory", "cpu,cpuacct", "pids", "cpuset", "devices", "freezer", "blkio"] {
        match mount_with("none", "/tmp", "cgroup", 0, options) {
            Ok(_) => return Ok("a hierarchy".to_owned()),
            Err(e) => last = e,
        }
    }
    Err(last)
}

/// The mount of a device that is the host's: mounted from elsewhere, or in the kernel's own `/dev`.
fn hosts_device(path: &str) -> Tried {
    use std::os::unix::fs::MetadataExt;
    let device = fs::metadata(path)?.dev();
    let number = format!("{}:{}", libc::major(device), libc::minor(device));
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let is_hosts = |line: &&str| {
        let words: Vec<_> = line.split(' ').collect();
        let is_kernels = || words[4] == "/dev" && line.contains(" - devtmpfs ");
        words[2] == number && (words[4] == path || is_kernels())
    };
    let mount = mounts.lines().find(is_hosts).map(str::to_owned);
    mount.ok_or_else(|| io::Error::other("it is the container's own"))
}

/// A hierarchy in which a container has no group of its own shows the group of its starter: with processes that have no number
/// inside, which could be killed, frozen and left in groups.
fn strangers_by_cgroup(outside: &Outside) -> Tried {
    in_new_namespaces(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWCGROUP)?;
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let mut last = io::Error::from(ErrorKind::NotFound);
    for controllers in groups.lines().filter_map(|line| line.split(':').nth(1)) {
        let kind = if controllers.is_empty() { "cgroup2" } else { "cgroup" };
        if let Err(e) = mount_with("none", "/tmp", kind, 0, controllers) {
            last = e;
            continue;
        }
        if let Some(process) = stranger_below(Path::new("/tmp"), outside) {
            return Ok(format!("{process} by `{controllers}`"));
        }
        unmount("/tmp")?;
        last = io::Error::other("only its own groups");
    }
    Err(last)
}

fn stranger_below(folder: &Path, outside: &Outside) -> Option<String> {
    let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let stranger = processes.lines().find(|pid| *pid == "0" || is_process(outside, pid));
    let below = || fs::read_dir(folder).ok()?.flatten().find_map(|entry| stranger_below(&entry.path(), outside));
    stranger.map(|pid| format!("process {pid}")).or_else(below)
}

/// While the starter runs nobody can write to it (ETXTBSY): what counts is whether its mount or its file allows it afterwards.
fn starter_is_writable() -> Tried {
    use nix::fcntl::{FcntlArg, SealFlag, fcntl};
    use nix::sys::statvfs::{FsFlags, fstatvfs};
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &str| fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()));
    if identity("/proc/1/exe")? == identity("/proc/self/exe")? {
        return Err(io::Error::other("process 1 is this program, and no starter"));
    }
    let executable = File::open("/proc/1/exe")?;
    if fstatvfs(&executable)?.flags().contains(FsFlags::ST_RDONLY) {
        return Err(nix::Error::EROFS.into());
    }
    let seals = fcntl(&executable, FcntlArg::F_GET_SEALS).map_or(SealFlag::empty(), SealFlag::from_bits_truncate);
    if seals.contains(SealFlag::F_SEAL_WRITE) {
        return Err(nix::Error::EPERM.into());
    }
    Ok(fs::read_link("/proc/1/exe")?.display().to_string())
}

fn leaked(folder: &str, own: bool) -> Tried {
    let entries: Vec<_> = fs::read_dir(folder)?.flatten().map(|entry| entry.path()).collect();
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let target = |path: PathBuf| Some(format!("{} -> {}", path.display(), fs::read_link(&path).ok()?.display()));
    // The folder that is being read is open, and gone when it is looked at.
    let is_reading = |text: &String| own && text.contains(&format!("-> /proc/{}/fd", std::process::id()));
    one(entries
        .into_iter()
        .filter(|path| number(path).is_some_and(|number| number > 2))
        .filter_map(target)
        .filter(|text| !is_reading(text)))
}

fn marker_below(outside: &Outside, root: &str) -> Tried {
    let path = format!("{root}{}", outside.marker.display());
    fs::read_to_string(&path)
        .and_then(|text| if text == outside.token { Ok(path) } else { Err(ErrorKind::NotFound.into()) })
}

/// The classic: a root below the working directory, and up.
fn leave_root(outside: &Outside) -> Tried {
    let folder = "/tmp/root";
    match fs::create_dir(folder) {
        Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    call_path(libc::SYS_chroot, folder, [0; 4])?;
    (0..64).try_for_each(|_| std::env::set_current_dir(".."))?;
    call_path(libc::SYS_chroot, ".", [0; 4])?;
    marker_below(outside, "")
}

fn make_device(path: &str) -> Tried {
    let memory = libc::makedev(1, 5) as usize;
    call_path(libc::SYS_mknod, path, [(libc::S_IFCHR | 0o666) as usize, memory, 0, 0])?;
    opened(File::open(path))
}

/// Any block device that the kernel has.
fn open_disk() -> Tried {
    let mut refused = io::Error::from(ErrorKind::NotFound);
    for entry in fs::read_dir("/sys/class/block")?.flatten() {
        match File::open(Path::new("/dev").join(entry.file_name())) {
            Ok(file) => return opened(Ok(file)),
            Err(e) => refused = e,
        }
    }
    Err(refused)
}

fn is_process(outside: &Outside, process: &str) -> bool {
    let words = format!("sleep\0{}\0", outside.process);
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| line == words.as_bytes())
}

fn see_process(outside: &Outside) -> Tried {
    let names = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    one(names.filter(|name| name.parse::<u32>().is_ok() && is_process(outside, name)))
}

/// The same number inside may be another process.
fn on_process(outside: &Outside, done: io::Result<i64>) -> Tried {
    done?;
    let process = outside.pid.to_string();
    if is_process(outside, &process) { Ok(process) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

fn enter_namespaces() -> Tried {
    let mut refused = io::Error::from(ErrorKind::NotFound);
    for kind in ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"] {
        let entered = File::open(format!("/proc/1/ns/{kind}"))
            .and_then(|file| call(libc::SYS_setns, [file.as_raw_fd() as usize, 0, 0, 0, 0, 0]));
        match entered {
            Ok(_) => return Ok(kind.to_owned()),
            Err(e) => refused = e,
        }
    }
    Err(refused)
}

/// Any file of a file system, also outside of the root: the attack that was called shocker.
fn by_handle() -> Tried {
    #[repr(C)]
    struct Handle {
        bytes: u32,
        kind: i32,
        content: [u8; 128],
    }
    // The volume is a part of a file system of the host.
    let mount = File::open(VOLUME)?;
    let mut handle = Handle { bytes: 128, kind: 0, content: [0; 128] };
    let mut id = 0_i32;
    let (empty, at) = (text("")?, &raw mut handle as usize);
    let flags = libc::AT_EMPTY_PATH as usize;
    let name = [mount.as_raw_fd() as usize, empty.as_ptr() as usize, at, &raw mut id as usize, flags, 0];
    call(libc::SYS_name_to_handle_at, name)?;
    call(libc::SYS_open_by_handle_at, [mount.as_raw_fd() as usize, at, 0, 0, 0, 0]).map(|_| "a folder".to_owned())
}

/// As somebody else, execute the setuid copy of this program in the volume; it says who it is.
fn setuid_program() -> Tried {
    let somebody = nix::unistd::Uid::from_raw(1000);
    nix::unistd::setgroups(&[])?;
    nix::unistd::setresgid(
        nix::unistd::Gid::from_raw(1000),
        nix::unistd::Gid::from_raw(1000),
        nix::unistd::Gid::from_raw(1000),
    )?;
    nix::unistd::setresuid(somebody, somebody, somebody)?;
    let output = std::process::Command::new(Path::new(VOLUME).join("setuid")).arg("who").output()?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "0" => Ok("user 0".to_owned()),
        other => Err(io::Error::other(format!("still user {other}"))),
    }
}

/// Docker's fourteen but MKNOD.
const DOCKER: u64 = 0xa004_25fb;

fn more_capabilities() -> Tried {
    let status = fs::read_to_string("/proc/self/status")?;
    let sets = status.lines().filter(|line| line.starts_with("Cap"));
    let beyond = |line: &&str| {
        let set = line.split_whitespace().nth(1).and_then(|set| u64::from_str_radix(set, 16).ok());
        set.is_none_or(|set| set & !DOCKER != 0)
    };
    one(sets.filter(beyond).map(str::to_owned))
}

/// Who has the privilege fails otherwise: with this error.
fn only_privilege(done: io::Result<i64>, privileged: i32) -> Tried {
    match done {
        Ok(_) => Ok("done".to_owned()),
        Err(e) if e.raw_os_error() == Some(privileged) => Ok(format!("it was tried: {e}")),
        Err(e) => Err(e),
    }
}
