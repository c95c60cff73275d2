//! System calls as they are: what is tried is often what no library offers.

use std::ffi::CString;
use std::fs;
use std::io;

use nix::libc;

/// Any system call.
pub fn call(number: libc::c_long, arguments: [usize; 6]) -> io::Result<i64> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the callers pass numbers, or pointers to what lives through the call and is as large as the call says.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(io::Error::last_os_error()),
        value => Ok(value),
    }
}

/// A system call whose first argument is a path.
pub fn call_path(number: libc::c_long, path: &str, rest: [usize; 4]) -> io::Result<i64> {
    let path = text(path)?;
    call(number, [path.as_ptr() as usize, rest[0], rest[1], rest[2], rest[3], 0])
}

/// A text for the kernel.
pub fn text(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(io::Error::from)
}

/// Keep mounts from the other attempts, where that is allowed: not in a container.
pub fn own_mounts() {
    use nix::mount::{MsFlags, mount};
    const NONE: Option<&str> = None;
    if call(libc::SYS_unshare, [libc::CLONE_NEWNS as usize, 0, 0, 0, 0, 0]).is_ok() {
        let _ = mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE);
    }
}

/// Become the root of new namespaces.
pub fn in_new_namespaces(flags: libc::c_int) -> io::Result<()> {
    let (user, group) = (nix::unistd::geteuid(), nix::unistd::getegid());
    call(libc::SYS_unshare, [flags as usize, 0, 0, 0, 0, 0])?;
    // Needed by who may not set groups anyway.
    let _ = fs::write("/proc/self/setgroups", "deny");
    fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
    if flags & libc::CLONE_NEWPID != 0 {
        // Only a child is in a new pid namespace.
        return in_child();
    }
    Ok(())
}

/// Go on as a child; the parent waits for it and ends as it does.
fn in_child() -> io::Result<()> {
    // SAFETY: this process has one thread.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(()),
        nix::unistd::ForkResult::Parent { child } => match nix::sys::wait::waitpid(child, None) {
            Ok(nix::sys::wait::WaitStatus::Exited(_, status)) => std::process::exit(status),
            _ => std::process::exit(2),
        },
    }
}
