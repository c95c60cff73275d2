//! The default capability set, and what a program is left with (capabilities(7)).

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, remove_capability_from_bounding_set, set_capabilities,
};

use crate::init::{Doing, Failure};

/// All capabilities by name. The number is the position.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// What Docker leaves by default, but for three: devices are given, not made (MKNOD); packets are not forged (NET_RAW); and records
/// for the host's audit log are the host's (AUDIT_WRITE).
const DEFAULT: [&str; 11] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
];

/// Give up everything but the default and `more`: at once (a process 1 that is a reaper never executes anything), and in the
/// bounding set, so that root is left with exactly the rest at exec.
pub(crate) fn limit(more: &[String]) -> Result<(), Failure> {
    let kept = kept(more)?;
    for number in 0..NAMES.len() {
        let set = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(set) {
            continue;
        }
        match remove_capability_from_bounding_set(set) {
            // A kernel that does not know the newest has nothing to drop.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(e) => return Err(Failure::own("dropping capabilities", Some(io::Error::from(e)))),
        }
    }
    capabilities(None)
        .and_then(|held| {
            let left = held.permitted.intersection(kept);
            let inheritable = CapabilitySet::empty();
            set_capabilities(None, CapabilitySets { effective: left, permitted: left, inheritable })
        })
        .doing("dropping capabilities")
}

/// The default and `more`, which may name what is there already.
pub(crate) fn kept(more: &[String]) -> Result<CapabilitySet, Failure> {
    DEFAULT.into_iter().chain(more.iter().map(String::as_str)).try_fold(CapabilitySet::empty(), |kept, name| {
        let one = set(name).ok_or_else(|| Failure::own(format!("there is no capability `{name}`"), None))?;
        Ok(kept | one)
    })
}

/// The default and `more` as the OCI runtime specification has them (`CAP_KILL`). Unknown names are left out.
pub fn names(more: &[String]) -> Vec<String> {
    let all = DEFAULT.into_iter().chain(more.iter().map(String::as_str));
    let kept = all.filter_map(set).fold(CapabilitySet::empty(), |kept, one| kept | one);
    let is_kept = |name: &&str| set(name).is_some_and(|one| kept.contains(one));
    NAMES.iter().filter(|name| is_kept(name)).map(|name| format!("CAP_{name}")).collect()
}

/// One capability, by a name with or without `CAP_`, in capitals or not.
pub(crate) fn set(name: &str) -> Option<CapabilitySet> {
    let name = name.to_ascii_uppercase();
    let name = name.strip_prefix("CAP_").unwrap_or(&name);
    NAMES.iter().position(|known| *known == name).map(|number| CapabilitySet::from_bits_retain(1 << number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        for (name, expected) in [("CHOWN", 0), ("sys_admin", 21), ("CAP_SYS_TIME", 25), ("MKNOD", 27), ("BPF", 39)] {
            assert_eq!(set(name).map(|one| one.bits()), Some(1 << expected), "{name}");
        }
        assert_eq!(set("FLY"), None);
    }

    #[test]
    fn one_that_is_there_already_may_be_asked_for() {
        let bits =
            |more: &[&str]| kept(&more.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap().bits();
        assert_eq!(bits(&[]), 0x8004_05fb);
        assert_eq!(bits(&["CHOWN", "cap_kill", "KILL"]), 0x8004_05fb);
        assert_eq!(bits(&["net_raw", "NET_RAW"]), 0x8004_25fb);
        assert!(kept(&["FLY".to_owned()]).is_err());
    }
}
