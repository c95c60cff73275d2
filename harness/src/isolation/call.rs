//! Probes that read by system calls, inside and outside alike.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use rustix::time::{ClockId, clock_gettime};

use super::read::{digest, text};
use super::{Tried, name_of, named};

/// What reads a probe's value; the path is of the program whose pages are asked about.
type Call = fn(&Path) -> Tried;

/// `SYSLOG_ACTION_READ_ALL` of syslog(2).
const READ_ALL: libc::c_int = 3;
/// `SYSLOG_ACTION_SIZE_BUFFER`.
const SIZE_BUFFER: libc::c_int = 10;
/// Bytes at the end of the kernel's log that are read.
const LOG_BYTES: usize = 16 << 10;
/// What `kptr_restrict` leaves of an address.
const HIDDEN: &str = "hidden";

/// By the id of the probe.
const CALLS: &[(&str, Call)] = &[
    ("root", |_| inode(Path::new("/"))),
    ("shared-memory-folder", |_| inode(Path::new("/dev/shm"))),
    ("program-pages", inode),
    ("boot-clock", |_| clock(ClockId::Boottime)),
    ("monotonic-clock", |_| clock(ClockId::Monotonic)),
    ("real-time", |_| clock(ClockId::Realtime)),
    ("clock-discipline", |_| discipline()),
    ("sysinfo-memory", |_| memory()),
    ("load", |_| load()),
    ("symbols", |_| symbols()),
    ("cgroup-path", |_| cgroup_paths()),
    ("log-text", |_| log_text()),
    ("log-size", |_| log_size()),
];

/// The call of this probe.
pub(super) fn find(id: &str) -> Option<Call> {
    CALLS.iter().find(|(known, _)| *known == id).map(|(_, call)| *call)
}

/// Device and inode.
fn inode(path: &Path) -> Tried {
    let found = std::fs::metadata(path).map_err(|e| name_of(&e))?;
    Ok(format!("device {}:{}, inode {}", libc::major(found.dev()), libc::minor(found.dev()), found.ino()))
}

fn clock(which: ClockId) -> Tried {
    let now = clock_gettime(which);
    Ok(format!("{}.{:09} s", now.tv_sec, now.tv_nsec))
}

/// What adjtimex(2) says without being asked to change anything.
fn discipline() -> Tried {
    // SAFETY: the structure consists of numbers, for which 0 is a value.
    let mut state: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: it is given a structure of its own to fill.
    Errno::result(unsafe { libc::adjtimex(&raw mut state) }).map_err(named)?;
    Ok(format!("frequency {}, tick {}, constant {}", state.freq, state.tick, state.constant))
}

fn memory() -> Tried {
    let found = rustix::system::sysinfo();
    Ok(format!("{} bytes", u128::from(found.totalram) * u128::from(found.mem_unit)))
}

/// The averages; where nothing runs, all machines look alike.
fn load() -> Tried {
    let text = text("/proc/loadavg")?;
    let text = String::from_utf8_lossy(&text);
    let averages = text.split_whitespace().take(3).collect::<Vec<_>>().join(" ");
    if averages == "0.00 0.00 0.00" { Err("it is 0, as everywhere".to_owned()) } else { Ok(averages) }
}

/// The paths in all hierarchies, each once.
fn cgroup_paths() -> Tried {
    let text = text("/proc/self/cgroup")?;
    let text = String::from_utf8_lossy(&text);
    let paths: BTreeSet<&str> = text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).collect();
    Ok(paths.into_iter().collect::<Vec<_>>().join(" "))
}

/// Of the first function's address only the digest: a record may be passed on.
fn symbols() -> Tried {
    let text = text("/proc/kallsyms")?;
    let text = String::from_utf8_lossy(&text);
    let address = text.split_whitespace().next().ok_or("it is empty")?;
    match address.bytes().all(|digit| digit == b'0') {
        true => Err(HIDDEN.to_owned()),
        false => Ok(format!("an address, {}", digest(address.as_bytes()))),
    }
}

/// The digest of the last line.
fn log_text() -> Tried {
    let mut buffer = vec![0_u8; LOG_BYTES];
    // SAFETY: it is given a buffer of its own and its length.
    let read = unsafe { libc::klogctl(READ_ALL, buffer.as_mut_ptr().cast(), LOG_BYTES as libc::c_int) };
    let length = Errno::result(read).map_err(named)?;
    let text = String::from_utf8_lossy(&buffer[..length.unsigned_abs() as usize]).into_owned();
    let last = text.lines().rfind(|line| !line.trim().is_empty()).ok_or("it is empty")?;
    Ok(format!("a last line of {} bytes, {}", last.len(), digest(last.as_bytes())))
}

fn log_size() -> Tried {
    // SAFETY: this action takes no buffer.
    let size = unsafe { libc::klogctl(SIZE_BUFFER, std::ptr::null_mut(), 0) };
    Errno::result(size).map(|bytes| format!("{bytes} bytes")).map_err(named)
}
