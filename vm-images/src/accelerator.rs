//! Whether KVM boots a guest here, remembered for this kernel, VMM and boot of the host.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::boot::BootError;
use crate::sources::stamp;
use crate::vmm::Vmm;

/// What a real boot under KVM showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KvmVerdict {
    /// It booted.
    Boots,
    /// There is no `/dev/kvm`.
    NoDevice,
    /// `/dev/kvm` cannot be opened, and why.
    NoPermission(String),
    /// The VMM gave up, and its words.
    VmmAborts(String),
    /// The guest was never heard of, or panicked.
    NeverComesUp {
        /// Its last words, or that it had none.
        why: String,
        /// How long it was waited for, in seconds; absent where it ended by itself.
        waited_s: Option<u64>,
    },
}

impl std::fmt::Display for KvmVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const TRAP: &str = "a /dev/kvm that opens is no promise: on a host that is a virtual machine itself (page-table \
            virtualisation, PVM, or without nesting) use a bare machine, or one with nested virtualisation";
        match self {
            KvmVerdict::Boots => f.write_str("KVM boots a guest"),
            KvmVerdict::NoDevice => f.write_str(
                "there is no /dev/kvm: turn virtualisation on in the firmware and load kvm_intel or kvm_amd, or use a machine \
                 that has it",
            ),
            KvmVerdict::NoPermission(why) => write!(f, "/dev/kvm cannot be opened ({why}): be root or in the group kvm"),
            KvmVerdict::VmmAborts(said) => write!(f, "the VMM gives up under KVM ({said}); {TRAP}"),
            KvmVerdict::NeverComesUp { why, .. } => write!(f, "a guest does not boot under KVM ({why}); {TRAP}"),
        }
    }
}

impl KvmVerdict {
    /// What can be told without booting; `None`: only a boot tells.
    pub fn at_a_glance() -> Option<KvmVerdict> {
        match fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
            Ok(_) => None,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Some(KvmVerdict::NoDevice),
            Err(e) => Some(KvmVerdict::NoPermission(e.to_string())),
        }
    }

    /// From a boot under KVM that failed; `None` where image or configuration are to blame, which says nothing about KVM.
    pub fn of_failure(error: &BootError) -> Option<KvmVerdict> {
        if !error.may_be_of_kvm() {
            return None;
        }
        let waited_s = match error {
            BootError::VmmExited { said, .. } => return Some(KvmVerdict::VmmAborts(said.clone())),
            BootError::NeverCameUp { seconds, .. } => Some(*seconds),
            _ => None,
        };
        Some(KvmVerdict::NeverComesUp { why: error.to_string(), waited_s })
    }

    /// True when it may be another one with this patience: a slow boot is no broken one.
    fn may_change(&self, patience: Duration) -> bool {
        matches!(self, KvmVerdict::NeverComesUp { waited_s: Some(waited_s), .. } if *waited_s < patience.as_secs())
    }
}

#[derive(Serialize, Deserialize)]
struct Remembered {
    key: String,
    verdict: KvmVerdict,
}

/// Each type of machine has its own: one that does not boot says nothing about others.
fn file(cache: &Path, vmm: &dyn Vmm) -> PathBuf {
    cache.join(format!("kvm-{}.json", vmm.machine()))
}

/// This kernel, VMM and boot of the host.
fn key(vmm: &dyn Vmm) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let stamp = stamp(vmm.program()).unwrap_or_default();
    let (release, boot) = (read("/proc/sys/kernel/osrelease"), read("/proc/sys/kernel/random/boot_id"));
    format!("{release} {boot} {} {stamp:?}", vmm.program().display())
}

/// What was found out before, if nothing has changed since, and no guest that was given up sooner would now be given this long.
pub fn recall(cache: &Path, vmm: &dyn Vmm, patience: Duration) -> Option<KvmVerdict> {
    let remembered: Remembered = serde_json::from_slice(&fs::read(file(cache, vmm)).ok()?).ok()?;
    let holds = remembered.key == key(vmm) && !remembered.verdict.may_change(patience);
    holds.then_some(remembered.verdict)
}

/// Keep what was found out; a cache that cannot be written costs a second probe.
pub fn remember(cache: &Path, vmm: &dyn Vmm, verdict: &KvmVerdict) {
    let remembered = Remembered { key: key(vmm), verdict: verdict.clone() };
    drop(serde_json::to_vec(&remembered).map(|text| fs::write(file(cache, vmm), text)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::qemu::{MachineType, Qemu};

    const PATIENCE: Duration = Duration::from_secs(20);

    fn vmm(program: &str, machine: MachineType) -> Qemu {
        Qemu { program: program.into(), machine }
    }

    #[test]
    fn what_was_found_is_remembered_for_this_vmm_and_machine() {
        let cache = tempfile::tempdir().unwrap();
        let [q35, other] = ["/bin/true", "/bin/false"].map(|program| vmm(program, MachineType::Q35));
        let verdict = KvmVerdict::VmmAborts("an assertion failed".into());
        remember(cache.path(), &q35, &verdict);
        assert_eq!(recall(cache.path(), &q35, PATIENCE), Some(verdict));
        assert_eq!(recall(cache.path(), &other, PATIENCE), None);
        assert_eq!(recall(cache.path(), &vmm("/bin/true", MachineType::Microvm), PATIENCE), None);
        fs::write(file(cache.path(), &q35), "{").unwrap();
        assert_eq!(recall(cache.path(), &q35, PATIENCE), None);
    }

    #[test]
    fn a_guest_that_was_given_up_is_tried_again_with_more_patience() {
        let cache = tempfile::tempdir().unwrap();
        let vmm = vmm("/bin/true", MachineType::Q35);
        let error = BootError::NeverCameUp { seconds: 20, started: false, console: String::new() };
        let verdict = KvmVerdict::of_failure(&error).unwrap();
        remember(cache.path(), &vmm, &verdict);
        assert_eq!(recall(cache.path(), &vmm, PATIENCE), Some(verdict));
        assert_eq!(recall(cache.path(), &vmm, PATIENCE * 2), None);
    }
}
