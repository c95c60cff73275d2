//! The fingerprint: the facts of machine, kernel, tools and settings that a number depends on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::disk::Disk;
use super::{machine, read};

/// Dotted name to value; what cannot be read is absent.
pub type Fingerprint = BTreeMap<String, String>;

/// Everything that is known without a suite.
pub fn machine() -> Fingerprint {
    let mut facts = Fingerprint::new();
    cpu(&mut facts);
    kernel(&mut facts);
    memory(&mut facts);
    facts
}

fn put(facts: &mut Fingerprint, name: &str, value: Option<String>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        facts.insert(name.to_owned(), value);
    }
}

fn cpu(facts: &mut Fingerprint) {
    put(facts, "cpu.model", machine::cpu("model name"));
    put(facts, "cpu.microcode", machine::cpu("microcode"));
    put(facts, "cpu.online", read("/sys/devices/system/cpu/online"));
    put(facts, "cpu.smt", read("/sys/devices/system/cpu/smt/control"));
    put(facts, "cpu.governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"));
    put(facts, "cpu.turbo_off", read("/sys/devices/system/cpu/intel_pstate/no_turbo"));
    put(facts, "numa.nodes", read("/sys/devices/system/node/online"));
    machine::facts(facts);
    put(facts, "machine.product", read("/sys/class/dmi/id/product_name"));
    put(facts, "mitigations", mitigations());
}

fn mitigations() -> Option<String> {
    let folder = std::fs::read_dir("/sys/devices/system/cpu/vulnerabilities").ok()?;
    let mut all: Vec<_> = folder
        .flatten()
        .filter_map(|entry| Some(format!("{}: {}", entry.file_name().to_string_lossy(), read(entry.path())?)))
        .collect();
    all.sort();
    Some(all.join("; "))
}

/// The host's `mitigations=` of its command line, for the guest.
pub fn mitigations_option() -> Option<String> {
    read("/proc/cmdline")?.split_whitespace().find_map(|word| word.strip_prefix("mitigations=")).map(str::to_owned)
}

fn kernel(facts: &mut Fingerprint) {
    put(facts, "kernel.release", read("/proc/sys/kernel/osrelease"));
    put(facts, "kernel.version", read("/proc/sys/kernel/version"));
    put(facts, "kernel.command_line", read("/proc/cmdline"));
    put(facts, "clock.source", read(bench_agent::CLOCK_SOURCE));
    put(facts, "cgroup.version", Some(cgroup_version().to_owned()));
    let release = read("/etc/os-release").unwrap_or_default();
    let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    put(facts, "os.name", name.map(|name| name.trim_matches('"').to_owned()));
}

/// `v1`, `hybrid` or `v2`.
pub fn cgroup_version() -> &'static str {
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let kind = |name: &str| mounts.lines().any(|line| line.contains(&format!(" - {name} ")));
    match (kind("cgroup"), kind("cgroup2")) {
        (true, true) => "hybrid",
        (true, false) => "v1",
        (false, true) => "v2",
        (false, false) => "none",
    }
}

fn memory(facts: &mut Fingerprint) {
    let total = read("/proc/meminfo").and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("MemTotal:").map(|rest| rest.trim().to_owned()))
    });
    put(facts, "memory.total", total);
    put(facts, "memory.transparent_hugepages", read("/sys/kernel/mm/transparent_hugepage/enabled"));
    put(facts, "memory.ksm", read("/sys/kernel/mm/ksm/run"));
    let swaps = read("/proc/swaps").map(|text| text.lines().skip(1).count().to_string());
    put(facts, "memory.swaps", swaps);
}

/// Facts of the disk beneath the target. Its name may change with every boot; the others tell whether it is the same disk, set the
/// same way.
pub fn disk(facts: &mut Fingerprint, disk: &Disk) {
    let first = |names: &[&str]| names.iter().filter_map(|name| disk.attribute(name)).find(|text| !text.is_empty());
    put(facts, "block.device", Some(disk.name.clone()));
    put(facts, "block.model", first(&["device/model"]));
    put(facts, "block.vendor", first(&["device/vendor"]));
    // Of NVMe, SCSI and MMC.
    put(facts, "block.firmware_rev", first(&["device/firmware_rev", "device/rev", "device/fwrev"]));
    put(facts, "block.serial", disk.serial());
    put(facts, "block.wwid", first(&["wwid", "device/wwid"]));
    put(facts, "block.size_bytes", disk.whole_bytes().map(|bytes| bytes.to_string()));
    put(facts, "block.partition", Some(disk.partition().unwrap_or_else(|| "none".to_owned())));
    put(facts, "block.layer", Some(disk.layer().unwrap_or_else(|| "none".to_owned())));
    put(facts, "block.beneath", Some(beneath(disk)));
    put(facts, "block.paths", Some(disk.paths()).filter(|&paths| paths > 0).map(|paths| paths.to_string()));
    for name in [
        "scheduler",
        "nr_requests",
        "rotational",
        "write_cache",
        "read_ahead_kb",
        "logical_block_size",
        "physical_block_size",
        "max_sectors_kb",
        "nomerges",
        "rq_affinity",
        "io_poll",
        "wbt_lat_usec",
    ] {
        put(facts, &format!("block.{name}"), disk.attribute(&format!("queue/{name}")));
    }
}

/// The disks at the bottom of a stack, by model and serial number.
fn beneath(disk: &Disk) -> String {
    let said = |disk: &Disk| {
        let known = [disk.attribute("device/model"), disk.serial(), disk.attribute("wwid")];
        known.into_iter().flatten().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(" ")
    };
    let mut all: Vec<String> = disk.bottom().iter().map(said).filter(|said| !said.is_empty()).collect();
    all.sort();
    all.join("; ")
}

/// Version and digest of a tool.
pub fn tool(facts: &mut Fingerprint, name: &str, path: &Path) {
    let version = Command::new(path).arg("--version").output().ok();
    let line = version.and_then(|output| String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned));
    put(facts, &format!("tool.{name}.version"), line);
    put(facts, &format!("tool.{name}.sha256"), bench_agent::sha256(path).ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An NVMe disk of a name, and what is not its name.
    fn nvme(name: &str) -> Fingerprint {
        let root = tempfile::tempdir().unwrap();
        let files = [
            ("device/model", "Example 980 PRO                         "),
            ("device/serial", "S5GXNF0R123456     "),
            ("device/firmware_rev", "5B2QGXA7"),
            ("wwid", "eui.002538b111b2c3d4"),
            ("queue/scheduler", "[none] mq-deadline"),
            ("size", "4096"),
        ];
        for (file, text) in files {
            let path = root.path().join(name).join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut facts = Fingerprint::new();
        disk(&mut facts, &Disk::at(&root.path().join(name), root.path()).unwrap());
        facts
    }

    #[test]
    fn a_disk_is_told_by_more_than_its_name() {
        let (mut one, mut other) = (nvme("nvme0n1"), nvme("nvme7n1"));
        assert_eq!((one["block.serial"].as_str(), one["block.size_bytes"].as_str()), ("S5GXNF0R123456", "2097152"));
        assert_eq!((one["block.wwid"].as_str(), one["block.partition"].as_str()), ("eui.002538b111b2c3d4", "none"));
        let names = [&mut one, &mut other].map(|facts| facts.remove("block.device").unwrap());
        assert_eq!((names, one), (["nvme0n1", "nvme7n1"].map(str::to_owned), other));
    }

    #[test]
    fn the_machine_says_what_it_is() {
        let facts = machine();
        for name in ["cpu.model", "kernel.release", "memory.total", "cgroup.version", "machine.virtualised"] {
            assert!(facts.contains_key(name), "{name} in {facts:?}");
        }
        assert!(facts.values().all(|value| !value.is_empty()));
    }
}
