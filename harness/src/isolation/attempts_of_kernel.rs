//! Attempts on the kernel itself: its modules, its interfaces for programs that look inside, priorities, and devices.

use nix::errno::Errno;
use nix::libc;

use super::attempts::{Attempt, call, done, wrong};
use super::{Tried, named};

/// No such file.
const NO_FILE: *const libc::c_char = c"/bench-isolation-no-such-file".as_ptr();
/// `IOPRIO_WHO_PROCESS`, and the real-time class at its lowest priority.
const PROCESS: libc::c_int = 1;
const REAL_TIME_IO: libc::c_int = (1 << 13) | 7;
/// `FAN_CLASS_CONTENT`.
const CONTENT: libc::c_uint = 4;
/// `BPF_MAP_CREATE`, and an array of one number.
const MAP_CREATE: libc::c_int = 0;
const ARRAY: [u32; 4] = [2, 4, 4, 1];
/// A port that does nothing but take time.
const DELAY_PORT: libc::c_ulong = 0x80;

/// By the id of the probe.
pub(super) const KERNEL: &[(&str, Attempt)] = &[
    ("swap-on", || wrong(call!(libc::SYS_swapon, NO_FILE, 0), Errno::ENOENT)),
    ("reboot", || wrong(call!(libc::SYS_reboot, 0, 0, 0, 0), Errno::EINVAL)),
    ("load-module", || wrong(call!(libc::SYS_init_module, c"".as_ptr(), 0, c"".as_ptr()), Errno::ENOEXEC)),
    ("remove-module", || {
        let name = c"bench_no_such_module".as_ptr();
        wrong(call!(libc::SYS_delete_module, name, libc::O_NONBLOCK), Errno::ENOENT)
    }),
    ("load-kernel", load_kernel),
    ("bpf", bpf),
    ("performance-events", performance_events),
    ("io-uring", || {
        let mut parameters = [0_u64; 16];
        done(call!(libc::SYS_io_uring_setup, 1, parameters.as_mut_ptr()))
    }),
    ("page-fault-handler", || done(call!(libc::SYS_userfaultfd, libc::O_CLOEXEC))),
    ("watch-file-systems", || done(call!(libc::SYS_fanotify_init, CONTENT, 0))),
    ("accounting", || wrong(call!(libc::SYS_acct, NO_FILE), Errno::ENOENT)),
    ("negative-nice", || done(call!(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, -20))),
    ("real-time-priority", || {
        let lowest: libc::c_int = 1;
        done(call!(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &raw const lowest))
    }),
    ("real-time-io", || done(call!(libc::SYS_ioprio_set, PROCESS, 0, REAL_TIME_IO))),
    ("io-ports", || done(call!(libc::SYS_ioperm, DELAY_PORT, 1_u64, 1))),
];

/// More segments than there may be: 0 would take away the kernel that is loaded.
fn load_kernel() -> Tried {
    const SEGMENTS: libc::c_ulong = 17;
    const NO_FLAGS: libc::c_ulong = 0xf000;
    let nothing: *const libc::c_void = std::ptr::null();
    wrong(call!(libc::SYS_kexec_load, 0_u64, SEGMENTS, nothing, NO_FLAGS), Errno::EINVAL)
}

/// A map of one number.
fn bpf() -> Tried {
    let mut attributes = [0_u32; 32];
    attributes[..ARRAY.len()].copy_from_slice(&ARRAY);
    done(call!(libc::SYS_bpf, MAP_CREATE, attributes.as_ptr(), size_of_val(&attributes)))
}

/// The software clock of CPU 0, for whatever runs there.
fn performance_events() -> Tried {
    const SOFTWARE: u32 = 1;
    const SIZE: u32 = 64;
    const ANY_PROCESS: libc::c_int = -1;
    let mut attributes = [0_u32; 16];
    (attributes[0], attributes[1]) = (SOFTWARE, SIZE);
    let opened = call!(libc::SYS_perf_event_open, attributes.as_ptr(), ANY_PROCESS, 0, -1, 0_u64);
    opened.map(|_| "permitted".to_owned()).map_err(named)
}
