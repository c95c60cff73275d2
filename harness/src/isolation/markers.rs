//! Markers: what is made inside to be seen on the host, and what the host sees of it.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use bench_results::record::Sight;
use nix::errno::Errno;
use nix::libc;

use super::attempts::call;
use super::read::text;
use super::{Tried, name_of, named, sight};

/// The probes that leave a marker.
pub(super) const IDS: [&str; 5] = ["socket-seen", "segment-seen", "key-seen", "process-seen", "lock-seen"];

/// `KEY_SPEC_PROCESS_KEYRING`.
const PROCESS_KEYRING: libc::c_int = -2;
/// `KEYCTL_REVOKE` and `KEYCTL_SET_TIMEOUT` of keyctl(2).
const REVOKE: libc::c_int = 3;
const SET_TIMEOUT: libc::c_int = 15;
/// Seconds after which a key goes by itself.
const KEY_S: libc::c_uint = 60;

/// The name of a socket, of a key.
fn name(marker: u32) -> String {
    format!("bench-isolation-{marker}")
}

/// The name of a process: at most 15 characters.
fn short_name(marker: u32) -> String {
    format!("iso-{marker:08x}")
}

/// The size of a segment in bytes: that of no segment that somebody would make.
fn size(marker: u32) -> u64 {
    1_000_001 + u64::from(marker % 1_000_000)
}

/// What was made.
pub(super) struct Made {
    sights: Vec<(&'static str, Sight)>,
    key: Option<libc::c_long>,
    /// They go with it.
    _held: (Option<UnixDatagram>, Option<std::fs::File>),
}

impl Made {
    /// How it went, by probe.
    pub(super) fn sights(&self) -> Vec<(&'static str, Sight)> {
        self.sights.clone()
    }

    /// Remove what does not go with this process at once.
    pub(super) fn remove(self) {
        if let Some(key) = self.key {
            let _ = call!(libc::SYS_keyctl, REVOKE, key);
        }
    }
}

/// Make all markers.
pub(super) fn make(marker: u32) -> Made {
    fn made<T>(made: &Result<T, String>) -> Sight {
        sight(made.as_ref().map(|_| "made".to_owned()).map_err(Clone::clone))
    }
    let (socket, lock, key) = (socket(marker), lock(marker), key(marker));
    let tried = [made(&socket), sight(segment(marker)), made(&key), sight(rename(marker)), made(&lock)];
    Made { sights: IDS.into_iter().zip(tried).collect(), key: key.ok(), _held: (socket.ok(), lock.ok()) }
}

fn socket(marker: u32) -> Result<UnixDatagram, String> {
    let address = SocketAddr::from_abstract_name(name(marker)).map_err(|e| name_of(&e))?;
    UnixDatagram::bind_addr(&address).map_err(|e| name_of(&e))
}

/// Attached to this process, and marked for removal: it goes with the process, however that ends.
fn segment(marker: u32) -> Tried {
    let nowhere: *const libc::c_void = std::ptr::null();
    let id = call!(libc::SYS_shmget, libc::IPC_PRIVATE, size(marker), libc::IPC_CREAT | 0o600).map_err(named)?;
    let attached = call!(libc::SYS_shmat, id, nowhere, libc::SHM_RDONLY);
    call!(libc::SYS_shmctl, id, libc::IPC_RMID, nowhere).map_err(named)?;
    attached.map(|_| "made".to_owned()).map_err(named)
}

fn key(marker: u32) -> Result<libc::c_long, String> {
    let name = std::ffi::CString::new(name(marker)).map_err(|e| e.to_string())?;
    let payload = [1_u8];
    let key =
        call!(libc::SYS_add_key, c"user".as_ptr(), name.as_ptr(), payload.as_ptr(), payload.len(), PROCESS_KEYRING);
    let key = key.map_err(named)?;
    call!(libc::SYS_keyctl, SET_TIMEOUT, key, KEY_S).map_err(named)?;
    Ok(key)
}

fn rename(marker: u32) -> Tried {
    let name = std::ffi::CString::new(short_name(marker)).map_err(|e| e.to_string())?;
    nix::sys::prctl::set_name(&name).map(|()| "made".to_owned()).map_err(named)
}

/// Of a file in memory, at a place that is the marker.
fn lock(marker: u32) -> Result<std::fs::File, String> {
    let file = rustix::fs::memfd_create("isolation", rustix::fs::MemfdFlags::CLOEXEC);
    let file = std::fs::File::from(file.map_err(|e| named(Errno::from_raw(e.raw_os_error())))?);
    let place = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: i64::from(marker),
        l_len: 1,
        l_pid: 0,
    };
    call!(libc::SYS_fcntl, file.as_raw_fd(), libc::F_SETLK, &raw const place).map_err(named)?;
    Ok(file)
}

/// Which of the markers are seen here and now.
pub(super) fn seen(marker: u32) -> BTreeSet<&'static str> {
    let is_there = [
        has_line("/proc/net/unix", |line| line.ends_with(&format!("@{}", name(marker)))),
        has_line("/proc/sysvipc/shm", |line| line.split_whitespace().nth(3) == Some(&*size(marker).to_string())),
        has_line("/proc/keys", |line| line.contains(&format!("{}:", name(marker)))),
        has_process(&short_name(marker)),
        has_line("/proc/locks", |line| line.ends_with(&format!(" {marker} {marker}"))),
    ];
    IDS.into_iter().zip(is_there).filter(|(_, is_there)| *is_there).map(|(id, _)| id).collect()
}

fn has_line(path: &str, is_it: impl Fn(&str) -> bool) -> bool {
    text(path).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).lines().any(is_it))
}

fn has_process(name: &str) -> bool {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let named = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
    processes.map(named).any(|comm| comm.trim_end() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_is_seen_by_who_shares_it() {
        let marker = std::process::id();
        assert_eq!(seen(marker), BTreeSet::new());
        // Not all of them in a test: a name and a segment would outlive it within this process.
        let (socket, lock) = (socket(marker).unwrap(), lock(marker).unwrap());
        assert_eq!(seen(marker), BTreeSet::from(["socket-seen", "lock-seen"]));
        drop((socket, lock));
        assert_eq!(seen(marker), BTreeSet::new());
        assert!(short_name(u32::MAX).len() <= 15);
    }
}
