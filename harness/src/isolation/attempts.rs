//! Attempts by system calls and files, by the ids of their probes; those on the kernel itself are in [`super::attempts_of_kernel`].

use std::ffi::CStr;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;

use nix::errno::Errno;
use nix::libc::{self, c_int, c_long};
use nix::unistd::{ForkResult, fork};
use rustix::time::{ClockId, clock_gettime};

use super::attempts_of_kernel::KERNEL;
use super::{Tried, name_of, named};

/// What makes an attempt.
pub(super) type Attempt = fn() -> Tried;

/// A system call with numbers, and pointers to what lives at least as long as the call.
macro_rules! call {
    ($number:expr $(, $argument:expr)* $(,)?) => {{
        // SAFETY: every pointer that is given is null, or to something of this function that is as large as the call takes it to be.
        let result: nix::libc::c_long = unsafe { nix::libc::syscall($number $(, $argument)*) };
        nix::errno::Errno::result(result)
    }};
}
pub(super) use call;

/// `CLONE_NEWTIME` of unshare(2).
const NEW_TIME: c_int = 0x80;
/// Seconds by which the boot time is shifted.
const SHIFT_S: i64 = 1000;

/// By the id of the probe.
const ATTEMPTS: &[(&str, Attempt)] = &[
    ("signal-1", || done(call!(libc::SYS_kill, 1, 0))),
    ("trace", trace),
    ("new-pid-namespace", || unshare(libc::CLONE_NEWPID)),
    ("mount", mount),
    ("new-mount-namespace", || unshare(libc::CLONE_NEWNS)),
    ("enter-namespace", enter_namespace),
    ("change-root", || done(call!(libc::SYS_chroot, c"/".as_ptr()))),
    ("open-by-handle", open_by_handle),
    ("new-network-namespace", || unshare(libc::CLONE_NEWNET)),
    ("raw-socket", || socket(libc::AF_INET, libc::IPPROTO_ICMP)),
    ("packet-socket", || socket(libc::AF_PACKET, 0)),
    ("new-ipc-namespace", || unshare(libc::CLONE_NEWIPC)),
    ("set-hostname", set_hostname),
    ("new-uts-namespace", || unshare(libc::CLONE_NEWUTS)),
    ("new-user-namespace", || unshare(libc::CLONE_NEWUSER)),
    ("new-cgroup-namespace", || unshare(libc::CLONE_NEWCGROUP)),
    ("step-clock", step_clock),
    ("set-time-zone", set_time_zone),
    ("new-time-namespace", new_time_namespace),
    ("clock-device", || open("/dev/rtc0", false)),
    ("log-device", || open("/dev/kmsg", false)),
    ("set-log-levels", || write_same("/proc/sys/kernel/printk")),
    ("drop-caches", || open("/proc/sys/vm/drop_caches", true)),
    ("set-swappiness", || write_same("/proc/sys/vm/swappiness")),
    ("write-sysfs", || open("/sys/kernel/mm/transparent_hugepage/enabled", true)),
    ("write-core-pattern", || open("/proc/sys/kernel/core_pattern", true)),
    ("system-request", || open("/proc/sysrq-trigger", true)),
    ("kernel-memory", || open("/proc/kcore", false)),
    ("spared-from-oom", || write("/proc/self/oom_score_adj", b"-1000")),
    ("memory-device", || open("/dev/mem", false)),
    ("make-device-node", make_device_node),
    ("loop-device", || open("/dev/loop-control", true)),
    ("tunnel-device", || open("/dev/net/tun", true)),
    ("kvm-device", || open("/dev/kvm", true)),
];

/// What makes the attempt of this probe.
pub(super) fn find(id: &str) -> Option<Attempt> {
    ATTEMPTS.iter().chain(KERNEL).find(|(known, _)| *known == id).map(|(_, attempt)| *attempt)
}

/// Make the attempt of a probe; in a process that ends afterwards.
pub(super) fn attempt(id: &str) -> Tried {
    find(id).map_or_else(|| Err("there is no such attempt".to_owned()), |attempt| attempt())
}

/// What a call says that is meant to succeed.
pub(super) fn done(result: Result<c_long, Errno>) -> Tried {
    result.map(|_| "permitted".to_owned()).map_err(named)
}

/// What a call says that is wrong on purpose: with this error it got past the question of permission.
pub(super) fn wrong(result: Result<c_long, Errno>, expected: Errno) -> Tried {
    match result {
        Err(errno) if errno == expected => Ok(format!("permitted ({}, as the call is wrong on purpose)", named(errno))),
        other => done(other),
    }
}

fn unshare(flag: c_int) -> Tried {
    done(call!(libc::SYS_unshare, flag))
}

fn socket(family: c_int, protocol: c_int) -> Tried {
    done(call!(libc::SYS_socket, family, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol))
}

fn open(path: &str, for_writing: bool) -> Tried {
    let mut options = OpenOptions::new();
    options.read(!for_writing).write(for_writing).custom_flags(libc::O_NONBLOCK);
    options.open(path).map(|_| "permitted".to_owned()).map_err(|e| name_of(&e))
}

fn write(path: &str, content: &[u8]) -> Tried {
    let written = OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(content));
    written.map(|()| "permitted".to_owned()).map_err(|e| name_of(&e))
}

/// Write what is there.
fn write_same(path: &str) -> Tried {
    let there = super::read::text(path)?;
    write(path, &there)
}

/// A child that waits for its end.
fn waiting_child() -> Result<nix::unistd::Pid, String> {
    // SAFETY: this program has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
            loop {
                nix::unistd::pause();
            }
        }
        Ok(ForkResult::Parent { child }) => Ok(child),
        Err(e) => Err(named(e)),
    }
}

fn trace() -> Tried {
    let child = waiting_child()?;
    let traced = call!(libc::SYS_ptrace, libc::PTRACE_SEIZE, child.as_raw(), 0, 0);
    let _ = nix::sys::signal::kill(child, nix::sys::signal::Signal::SIGKILL);
    done(traced)
}

/// In a mount namespace of this process where it may have one. Where it may not and mounts all the same, it unmounts.
fn mount() -> Tried {
    let none: *const libc::c_char = std::ptr::null();
    let is_apart = call!(libc::SYS_unshare, libc::CLONE_NEWNS).is_ok();
    if is_apart {
        call!(libc::SYS_mount, none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none).map_err(named)?;
    }
    let here = c".".as_ptr();
    let mounted = call!(libc::SYS_mount, c"none".as_ptr(), here, c"tmpfs".as_ptr(), 0, none);
    if mounted.is_ok() {
        call!(libc::SYS_umount2, here, libc::MNT_DETACH).map_err(named)?;
    }
    done(mounted)
}

fn enter_namespace() -> Tried {
    let file = std::fs::File::open("/proc/1/ns/mnt").map_err(|e| name_of(&e))?;
    done(call!(libc::SYS_setns, file.as_raw_fd(), libc::CLONE_NEWNS))
}

/// A handle of no file: whoever may open handles is told that it is stale.
fn open_by_handle() -> Tried {
    // `struct file_handle` with 8 bytes of type 1.
    let handle: [u32; 4] = [8, 1, 0, 0];
    let root = std::fs::File::open("/").map_err(|e| name_of(&e))?;
    let opened =
        call!(libc::SYS_open_by_handle_at, root.as_raw_fd(), handle.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
    wrong(opened, Errno::ESTALE)
}

fn set_hostname() -> Tried {
    let name = rustix::system::uname();
    let name: &CStr = name.nodename();
    done(call!(libc::SYS_sethostname, name.as_ptr(), name.to_bytes().len()))
}

/// Step the clock by nothing, with the capability and without it.
fn step_clock() -> Tried {
    let step = || {
        // SAFETY: the structure consists of numbers, for which 0 is a value.
        let mut by_nothing: libc::timex = unsafe { std::mem::zeroed() };
        by_nothing.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
        call!(libc::SYS_clock_adjtime, libc::CLOCK_REALTIME, &raw mut by_nothing)
    };
    let with = done(step())?;
    drop_time_capability().map_err(|errno| format!("the capability cannot be dropped: {}", named(errno)))?;
    let without = step().map_or_else(named, |_| "permitted as well".to_owned());
    Ok(format!("{with}; without CAP_SYS_TIME: {without}"))
}

/// Take CAP_SYS_TIME out of the effective set of this process.
fn drop_time_capability() -> Result<c_long, Errno> {
    const TIME: u32 = 25;
    // `_LINUX_CAPABILITY_VERSION_3`, and this process.
    let head: [u32; 2] = [0x2008_0522, 0];
    // Effective, permitted, inheritable; twice.
    let mut sets = [0_u32; 6];
    call!(libc::SYS_capget, head.as_ptr(), sets.as_mut_ptr())?;
    sets[0] &= !(1 << TIME);
    call!(libc::SYS_capset, head.as_ptr(), sets.as_ptr())
}

/// Only where the kernel's time zone is 0: another one is taken for the hardware clock's by its first use.
fn set_time_zone() -> Tried {
    let nothing: *const libc::timeval = std::ptr::null();
    // `struct timezone`: minutes west of Greenwich, and nothing that is used.
    let mut zone: [c_int; 2] = [0; 2];
    call!(libc::SYS_gettimeofday, nothing, zone.as_mut_ptr()).map_err(named)?;
    if zone[0] != 0 {
        return Err("not tried: the kernel has a time zone".to_owned());
    }
    done(call!(libc::SYS_settimeofday, nothing, zone.as_ptr()))
}

/// Seconds of CLOCK_BOOTTIME and CLOCK_REALTIME.
fn clocks() -> [i64; 2] {
    [ClockId::Boottime, ClockId::Realtime].map(|clock| clock_gettime(clock).tv_sec)
}

/// A child in a time namespace compares its clocks with ours.
fn new_time_namespace() -> Tried {
    done(call!(libc::SYS_unshare, NEW_TIME))?;
    write("/proc/self/timens_offsets", format!("boottime {SHIFT_S} 0\n").as_bytes())?;
    let (mut reader, mut writer) = std::io::pipe().map_err(|e| name_of(&e))?;
    let before = clocks();
    // SAFETY: this program has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let shifts: Vec<String> = clocks().iter().zip(before).map(|(now, was)| (now - was).to_string()).collect();
            drop(writer.write_all(shifts.join(" ").as_bytes()));
            // SAFETY: it ends this process at once.
            unsafe { libc::_exit(0) }
        }
        Ok(ForkResult::Parent { .. }) => drop(writer),
        Err(e) => return Err(named(e)),
    }
    let mut said = String::new();
    reader.read_to_string(&mut said).map_err(|e| name_of(&e))?;
    let shifts: Vec<i64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match shifts.as_slice() {
        // A second may have begun between the two.
        [boot, real] if (boot - SHIFT_S).abs() <= 1 && real.abs() <= 1 => {
            Ok(format!("permitted: the time since the boot is shifted by {SHIFT_S} s, the real time is not"))
        }
        _ => Err(format!("clocks are shifted by {said} s")),
    }
}

fn make_device_node() -> Tried {
    let path = c"isolation-node".as_ptr();
    let null = libc::makedev(1, 3);
    let made = call!(libc::SYS_mknodat, libc::AT_FDCWD, path, libc::S_IFCHR | 0o600, null);
    if made.is_ok() {
        call!(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0).map_err(named)?;
    }
    done(made)
}
