//! The machine that "native" is: bare metal, the guest of a hypervisor, or a CPU that is emulated.

use std::time::{Duration, Instant};

use raw_cpuid::{CpuId, Hypervisor};

use super::fingerprint::Fingerprint;
use super::read;

/// In the model name of a CPU that is emulated, which a KVM guest with `-cpu host` inherits from such a machine.
const EMULATED_MODEL: &str = "TCG CPU";
/// Name of the software emulation in `machine.hypervisor`.
const EMULATION: &str = "TCG";

/// The hypervisor beneath by its CPUID signature (leaf 0x4000_0000); absent on bare metal, and where it hides.
fn hypervisor() -> Option<String> {
    let info = CpuId::new().get_hypervisor_info()?;
    Some(match info.identify() {
        Hypervisor::KVM => "KVM".to_owned(),
        Hypervisor::QEMU => EMULATION.to_owned(),
        Hypervisor::HyperV => "Hyper-V".to_owned(),
        Hypervisor::VMware => "VMware".to_owned(),
        Hypervisor::Xen => "Xen".to_owned(),
        Hypervisor::Bhyve => "bhyve".to_owned(),
        Hypervisor::QNX => "QNX".to_owned(),
        Hypervisor::ACRN => "ACRN".to_owned(),
        Hypervisor::Unknown(ebx, ecx, edx) => signature([ebx, ecx, edx]),
    })
}

/// Twelve characters in three registers.
fn signature(registers: [u32; 3]) -> String {
    let bytes = registers.iter().flat_map(|register| register.to_le_bytes());
    let text: String = bytes.map(char::from).filter(|c| c.is_ascii_graphic()).collect();
    if text.is_empty() { "an unknown hypervisor".to_owned() } else { text }
}

/// A value of the first CPU in `/proc/cpuinfo`.
pub(super) fn cpu(key: &str) -> Option<String> {
    value(&read("/proc/cpuinfo")?, key).map(str::to_owned)
}

/// The first value of a key in lines of `KEY: VALUE`.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim())
}

/// True when the instructions of this machine are executed by software: its times say nothing. An emulation that hides both its
/// signature and its model name is not recognised.
pub fn is_emulated() -> bool {
    hypervisor().is_some_and(|name| name == EMULATION) || cpu("model name").is_some_and(|m| m.contains(EMULATED_MODEL))
}

/// How long the time stamp counter is watched: each end is uncertain by less than a microsecond.
const WATCH: Duration = Duration::from_millis(20);

/// Speed of the time stamp counter, in kHz.
pub fn tsc_khz() -> u64 {
    let (ticks, at) = tick();
    std::thread::sleep(WATCH);
    let (later_ticks, later) = tick();
    let ns = later.duration_since(at).as_nanos() as u64;
    later_ticks.saturating_sub(ticks).saturating_mul(1_000_000) / ns.max(1)
}

/// The counter, and when it was read: of several readings the one that took least.
fn tick() -> (u64, Instant) {
    let read = || {
        let before = Instant::now();
        // SAFETY: every x86-64 has the counter, and programs may read it.
        let ticks = unsafe { std::arch::x86_64::_rdtsc() };
        (before.elapsed(), ticks, before)
    };
    let first = read();
    let (_, ticks, at) = (0..16).map(|_| read()).fold(first, |best, next| if next.0 < best.0 { next } else { best });
    (ticks, at)
}

/// How many filters of system calls hold a process, from its `/proc/PID/status`; before Linux 5.9, whether any does. A kernel without
/// filters says nothing of them. Absent where there is no status.
pub fn seccomp_filters(status: &str) -> Option<u64> {
    let number = |key: &str| value(status, key)?.parse::<u64>().ok();
    let told = number("Seccomp_filters").or_else(|| number("Seccomp").map(|mode| mode.min(1)));
    (!status.is_empty()).then(|| told.unwrap_or(0))
}

/// Type of the file system that is seen at `/`, from a `/proc/PID/mountinfo`: that of the mount that covers all others there.
pub fn root_file_system(mountinfo: &str) -> Option<String> {
    let root = mountinfo.lines().rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    Some(root.split_once(" - ")?.1.split(' ').next()?.to_owned())
}

/// `machine.virtualised`, `machine.hypervisor` and `machine.emulated`, and, in a build for tests that judges on an emulated machine
/// all the same, the mark of it.
pub(super) fn facts(facts: &mut Fingerprint) {
    let says_so = cpu("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    let (hypervisor, emulated) = (hypervisor(), is_emulated());
    let is_guest = says_so || emulated || hypervisor.is_some();
    let yes_no = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    facts.insert("machine.virtualised".to_owned(), yes_no(is_guest));
    facts.insert("machine.emulated".to_owned(), yes_no(emulated));
    if is_guest {
        let name = hypervisor.unwrap_or_else(|| "an unknown hypervisor".to_owned());
        facts.insert("machine.hypervisor".to_owned(), name);
    }
    if emulated && cfg!(feature = "judge-emulated") {
        facts.insert(bench_results::host::JUDGED_FACT.to_owned(), "yes".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_text() {
        assert_eq!(signature([0x786f_4256, 0x786f_4256, 0x786f_4256]), "VBoxVBoxVBox");
        assert_eq!(signature([0; 3]), "an unknown hypervisor");
    }

    /// Half a percent is the most that a clock inside may be wrong by.
    #[test]
    fn the_counter_has_one_speed() {
        let speeds = [tsc_khz(), tsc_khz(), tsc_khz()].map(|khz| khz as f64);
        let (least, most) =
            speeds.iter().fold((f64::MAX, 0.0_f64), |(least, most), &khz| (least.min(khz), most.max(khz)));
        assert!(least > 100_000.0 && most / least < 1.001, "{speeds:?}");
    }

    #[test]
    fn filters_of_system_calls_are_counted() {
        assert_eq!(
            seccomp_filters("Seccomp:\t2\nSeccomp_filters:\t3\nSpeculation_Store_Bypass:\tthread vulnerable\n"),
            Some(3)
        );
        assert_eq!(seccomp_filters("NoNewPrivs:\t1\nSeccomp:\t2\n"), Some(1));
        assert_eq!(seccomp_filters("Seccomp:\t0\nSeccomp_filters:\t0\n"), Some(0));
        assert_eq!(seccomp_filters("Name:\tbench\n"), Some(0));
        assert_eq!(seccomp_filters(""), None);
    }

    #[test]
    fn the_root_is_the_mount_that_covers_the_others() {
        let mounts = "1 1 0:2 / / rw - rootfs rootfs rw\n21 1 254:0 / / ro shared:1 - ext4 /dev/vda ro\n\
                      22 21 0:20 / /proc rw - proc proc rw\n";
        assert_eq!(root_file_system(mounts).as_deref(), Some("ext4"));
        assert_eq!(root_file_system("22 21 0:20 / /proc rw - proc proc rw\n"), None);
    }

    #[test]
    fn the_facts_agree_with_each_other() {
        let mut told = Fingerprint::new();
        facts(&mut told);
        assert_eq!(told["machine.virtualised"] == "yes", told.contains_key("machine.hypervisor"), "{told:?}");
        assert_eq!(told["machine.emulated"] == "yes", is_emulated());
    }
}
