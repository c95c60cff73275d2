//! What a hostile program in a container tries. Each attempt is one function; it returns what it reached, or the error that
//! stopped it. None does harm where it succeeds: files are opened and not written, the clock is set to what it shows.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::libc;

use crate::outside::{Outside, VOLUME};
use crate::reach::{
    by_handle, enter_namespaces, fresh, hosts_device, leaked, leave_root, list, make_device, marker_below,
    more_capabilities, mount, mount_v1, on_process, one, only_privilege, open_disk, open_write, open_write_below,
    open_write_in_proc, opened, read, see_process, setuid_program, starter_is_writable, strangers_by_cgroup, unmount,
};
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
    ("find the host's files above the root", |outside| marker_below(outside, "/..")),
    // What proc and sysfs tell.
    ("read /proc/kcore", |_| read("/proc/kcore")),
    ("read /proc/kallsyms", |_| read("/proc/kallsyms")),
    ("read /proc/slabinfo", |_| read("/proc/slabinfo")),
    ("read /proc/vmallocinfo", |_| read("/proc/vmallocinfo")),
    ("read /proc/kpagecount", |_| read("/proc/kpagecount")),
    ("read /proc/kpageflags", |_| read("/proc/kpageflags")),
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
    ("open any file of /proc that belongs to no process", |_| open_write_in_proc()),
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
    ("send packets of any kind", |_| {
        let arguments = [libc::AF_INET as usize, libc::SOCK_RAW as usize, libc::IPPROTO_RAW as usize, 0, 0, 0];
        call(libc::SYS_socket, arguments).map(|_| "a raw socket".to_owned())
    }),
    // Privileges.
    ("open a file by its handle", |_| by_handle()),
    ("open a file by its handle in a user namespace", |_| {
        in_new_namespaces(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)?;
        by_handle()
    }),
    ("become root by a setuid program", |_| setuid_program()),
    ("hold a capability that is not given", |_| more_capabilities()),
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
    // Interfaces of the kernel for everybody, which had faults.
    ("make a user namespace", |_| in_new_namespaces(libc::CLONE_NEWUSER).map(|()| "root in it".to_owned())),
    ("make an io_uring", |_| {
        let parameters = [0_u8; 120];
        call(libc::SYS_io_uring_setup, [1, parameters.as_ptr() as usize, 0, 0, 0, 0]).map(|_| "a ring".to_owned())
    }),
    ("keep a key in the kernel", |outside| {
        let (kind, name) = (text("user")?, text(&format!("kept-{}", outside.token))?);
        const PROCESS: isize = -2;
        let pointers = [&kind, &name].map(|text| text.as_ptr() as usize);
        call(libc::SYS_add_key, [pointers[0], pointers[1], pointers[1], 1, PROCESS as usize, 0])
            .map(|id| format!("key {id}"))
    }),
    ("handle its own page faults", |_| {
        const USER_MODE_ONLY: usize = 1;
        call(libc::SYS_userfaultfd, [USER_MODE_ONLY, 0, 0, 0, 0, 0]).map(|_| "userfaultfd".to_owned())
    }),
    ("call a guest or the hypervisor", |_| {
        let arguments = [libc::AF_VSOCK as usize, libc::SOCK_STREAM as usize, 0, 0, 0, 0];
        call(libc::SYS_socket, arguments).map(|_| "a socket".to_owned())
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
