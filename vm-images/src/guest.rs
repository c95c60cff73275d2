//! The guest's side: `bench` as `/init`. Loads modules, finds its disks, enters the tools tree, and serves jobs on a
//! virtio-serial port until it is told to end or the other side goes away.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};

use crate::boot::{COMPLAINT, STARTED};

/// Path of the target's device inside.
pub const TARGET_IN_GUEST: &str = "/target";
/// Where its scheduler can be read inside.
pub const TARGET_SCHEDULER: &str = "/run/target/queue/scheduler";
/// Where its I/O counters can be read inside.
pub const TARGET_STAT: &str = "/run/target/stat";
/// Leads to the target's folder in sysfs: in which order a kernel finds its disks depends on the machine.
const TARGET_FOLDER: &str = "/run/target";

/// Serial number of the root disk.
pub(crate) const ROOT_SERIAL: &str = "root";
/// Serial number of the target's disk.
pub(crate) const TARGET_SERIAL: &str = "target";
/// Serial number of the disk that commands work in.
pub(crate) const WORK_SERIAL: &str = "work";
/// Name of the agent's port.
pub(crate) const PORT: &str = "bench.agent";
/// The folder that commands' file system is mounted on: commands find all their temporary files on it.
pub const WORK_IN_GUEST: &str = "/tmp";
/// A folder in memory, in a guest as in a container.
pub const MEMORY_IN_GUEST: &str = "/dev/shm";
/// A text file in commands' file system: a line for each file that is to be seen elsewhere, its path in there and the other one.
pub const WORK_FILES: &str = ".bench/files";

/// On the kernel's command line of every guest of ours.
pub(crate) const MARK: &str = "bench.guest";

/// How long devices may take to appear.
const DEVICES: Duration = Duration::from_secs(20);

/// True in the first process of a guest of ours.
pub fn is_guest_init() -> bool {
    std::process::id() == 1 && std::env::args_os().next().is_some_and(|name| name == "/init")
}

/// Be the guest's first process. When something goes wrong, it ends, and the kernel's panic with the reason above it stands on
/// the console.
pub fn guest_main() -> ! {
    let mut warnings = Vec::new();
    match serve(&mut warnings) {
        Ok(()) => {}
        Err(e) => {
            eprintln!("{COMPLAINT}{e}");
            std::process::exit(1);
        }
    }
    rustix::fs::sync();
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    std::process::exit(1)
}

/// What was being done when it failed, for the console.
fn doing<T>(result: Result<T, impl std::fmt::Display>, what: &str) -> Result<T, String> {
    result.map_err(|e| format!("{what}: {e}"))
}

fn special(kind: &str, on: &str, options: Option<&str>) -> Result<(), String> {
    doing(fs::create_dir_all(on), on)?;
    doing(mount(Some(kind), on, Some(kind), MsFlags::empty(), options), &format!("mounting {kind} on {on}"))
}

fn serve(warnings: &mut Vec<String>) -> Result<(), String> {
    eprintln!("{STARTED}");
    special("proc", "/proc", None)?;
    special("sysfs", "/sys", None)?;
    special("devtmpfs", "/dev", None)?;
    start_cpus()?;
    let refused = load_modules()?;
    enter_root(warnings).map_err(|e| if refused.is_empty() { e } else { format!("{e} ({})", refused.join("; ")) })?;
    let _ = rustix::system::sethostname(b"guest");
    let port = doing(open_port(), "opening the agent's port")?;
    let mut output = doing(port.try_clone(), "opening the agent's port twice")?;
    let scratch = PathBuf::from(if has_word("bench.work") { MEMORY_IN_GUEST } else { "/tmp" });
    bench_agent::adopt_orphans();
    doing(bench_agent::serve(port.as_fd(), &mut output, &scratch, std::mem::take(warnings)), "serving jobs")
}

/// Start the CPUs that an emulated guest's kernel was told to leave (kernel: admin-guide/cputopology, `online`).
fn start_cpus() -> Result<(), String> {
    let entries = doing(fs::read_dir("/sys/devices/system/cpu"), "listing the CPUs")?;
    let switches = entries.flatten().map(|entry| entry.path().join("online"));
    for switch in switches.filter(|path| fs::read_to_string(path).is_ok_and(|text| text.trim() == "0")) {
        doing(fs::write(&switch, "1"), &format!("starting a CPU by {}", switch.display()))?;
    }
    Ok(())
}

/// Load what is in `/modules`, in the order of the names; those that the kernel refused. Some need a CPU that is not there, such as
/// `crc32c-intel`, and others do instead: what is missing shows when it is used.
fn load_modules() -> Result<Vec<String>, String> {
    let entries = doing(fs::read_dir("/modules"), "reading /modules")?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut refused = Vec::new();
    for path in files {
        let file = doing(File::open(&path), "opening a module")?;
        match rustix::system::finit_module(file, c"", 0) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(e) => refused.push(format!("loading {}: {e}", path.display())),
        }
    }
    Ok(refused)
}

/// Wait for something to be there.
fn wait<T>(what: &str, find: impl Fn() -> Option<T>) -> Result<T, String> {
    let deadline = Instant::now() + DEVICES;
    loop {
        match find() {
            Some(found) => return Ok(found),
            None if Instant::now() > deadline => return Err(format!("{what} did not appear")),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Name of the disk with this serial number, whose node in `/dev` comes a moment after its entry in sysfs.
fn disk(serial: &str) -> Option<String> {
    let entries = fs::read_dir("/sys/block").ok()?.flatten();
    let of =
        |name: &String| fs::read_to_string(format!("/sys/block/{name}/serial")).is_ok_and(|text| text.trim() == serial);
    let name = entries.filter_map(|entry| entry.file_name().into_string().ok()).find(of)?;
    Path::new("/dev").join(&name).exists().then_some(name)
}

/// Why there may be no disk at all.
fn without_devices() -> &'static str {
    match fs::read_dir("/sys/bus/virtio/devices").ok().and_then(|mut found| found.next()) {
        Some(_) => "",
        None => {
            ": the kernel found no virtio device; a machine without PCI (microvm) needs a kernel that has virtio_mmio, built in or as a \
             module"
        }
    }
}

/// True when the kernel's command line has this word.
fn has_word(wanted: &str) -> bool {
    fs::read_to_string("/proc/cmdline").is_ok_and(|line| line.split_whitespace().any(|word| word == wanted))
}

/// Wait for a disk that is measured, and leave the order of its I/O to the host.
fn measured_disk(what: &str, serial: &str, warnings: &mut Vec<String>) -> Result<String, String> {
    let name = wait(what, || disk(serial))?;
    if fs::write(format!("/sys/block/{name}/queue/scheduler"), "none").is_err() {
        warnings.push(format!("the scheduler `none` could not be set for {what} in the guest"));
    }
    Ok(name)
}

/// Mount what commands work in, and have its files seen where they belong.
fn mount_work(warnings: &mut Vec<String>) -> Result<(), String> {
    let name = measured_disk("the work folder's disk", WORK_SERIAL, warnings)?;
    let device = format!("/dev/{name}");
    let quiet = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    let mounted = mount(Some(device.as_str()), WORK_IN_GUEST, Some("ext4"), quiet, None::<&str>);
    doing(mounted, &format!("mounting the work folder's disk {device}"))?;
    let open = fs::Permissions::from_mode(0o1777);
    doing(fs::set_permissions(WORK_IN_GUEST, open), "opening the work folder's file system up")?;
    let files = fs::read_to_string(Path::new(WORK_IN_GUEST).join(WORK_FILES)).unwrap_or_default();
    for (file, seen_at) in files.lines().filter_map(|line| line.split_once(' ')) {
        let from = Path::new(WORK_IN_GUEST).join(file);
        if !Path::new(seen_at).exists() {
            // In memory; all other places have been made.
            let folder = Path::new(seen_at).parent().unwrap_or(Path::new("/"));
            doing(fs::create_dir_all(folder).and_then(|()| File::create(seen_at)), &format!("making {seen_at}"))?;
        }
        let bound = mount(Some(&from), seen_at, None::<&str>, MsFlags::MS_BIND, None::<&str>);
        doing(bound, &format!("having {} seen at {seen_at}", from.display()))?;
    }
    Ok(())
}

/// Make the tools tree the root, as it is in a container.
fn enter_root(warnings: &mut Vec<String>) -> Result<(), String> {
    const NEW: &str = "/newroot";
    let root = wait("the root disk", || disk(ROOT_SERIAL)).map_err(|e| format!("{e}{}", without_devices()))?;
    let device = format!("/dev/{root}");
    let mounted =
        mount(Some(device.as_str()), NEW, Some("ext4"), MsFlags::MS_RDONLY | MsFlags::MS_NOATIME, Some("noload"));
    doing(mounted, &format!("mounting the root disk {device}"))?;
    let bind = |from: &str, to: &str| doing(mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>), to);
    bind("/init", &format!("{NEW}/bench"))?;
    let target = match has_word("bench.target") {
        true => Some(measured_disk("the target's disk", TARGET_SERIAL, warnings)?),
        false => None,
    };
    if let Some(name) = &target {
        bind(&format!("/dev/{name}"), &format!("{NEW}{TARGET_IN_GUEST}"))?;
    }
    for place in ["/proc", "/sys", "/dev"] {
        let to = format!("{NEW}{place}");
        doing(
            mount(Some(place), to.as_str(), None::<&str>, MsFlags::MS_MOVE, None::<&str>),
            &format!("moving {place}"),
        )?;
    }
    doing(std::env::set_current_dir(NEW), "entering the new root")?;
    doing(mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>), "moving the new root")?;
    doing(nix::unistd::chroot("."), "changing the root")?;
    doing(std::env::set_current_dir("/"), "entering the new root")?;
    special("tmpfs", "/run", Some("mode=0755"))?;
    if let Some(name) = target {
        doing(symlink(format!("/sys/block/{name}"), TARGET_FOLDER), "linking the target's folder")?;
    }
    match has_word("bench.work") {
        true => mount_work(warnings)?,
        false => special("tmpfs", "/tmp", Some("mode=1777"))?,
    }
    special("devpts", "/dev/pts", Some("mode=0620,ptmxmode=0666"))?;
    special("tmpfs", "/dev/shm", Some("mode=1777"))?;
    if let Err(e) = special("cgroup2", "/sys/fs/cgroup", None) {
        warnings.push(e);
    }
    Ok(())
}

/// The virtio-serial port of our name, open in both directions (kernel: virtio_console.c, attribute `name`).
fn open_port() -> io::Result<File> {
    let find = || {
        let entries = fs::read_dir("/sys/class/virtio-ports").ok()?.flatten();
        let ours = |path: &Path| fs::read_to_string(path.join("name")).is_ok_and(|name| name.trim() == PORT);
        entries.map(|entry| entry.path()).find(|path| ours(path))
    };
    let port = wait("the agent's port", find).map_err(io::Error::other)?;
    let device = Path::new("/dev").join(port.file_name().unwrap_or_default());
    let device = wait("the agent's port", || device.exists().then(|| device.clone())).map_err(io::Error::other)?;
    OpenOptions::new().read(true).write(true).open(device)
}
