//! What this machine has and lacks for measuring: one line each.

use serde::Serialize;

use super::{fingerprint, packages, read};

/// How a finding bears on measuring.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Fine,
    /// Numbers will be noisier, or something cannot be measured.
    Matters,
    /// `bench run` cannot work.
    Missing,
}

/// One line of `bench doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub name: String,
    /// How it bears on measuring.
    pub level: Level,
    /// What was found.
    pub value: String,
    /// Why it matters and what to do; empty when fine.
    pub advice: String,
}

fn finding(name: &str, level: Level, value: impl Into<String>, advice: &str) -> Finding {
    let advice = if level == Level::Fine { String::new() } else { advice.to_owned() };
    Finding { name: name.to_owned(), level, value: value.into(), advice }
}

/// Look at everything.
pub fn examine() -> Vec<Finding> {
    let mut findings = vec![root(), kvm(), cgroups()];
    findings.extend(packages::PROGRAMS.iter().map(program));
    findings.extend([tun(), vhost()]);
    findings.extend([governor(), smt(), swap(), virtualised(), clock()].into_iter().flatten());
    findings
}

fn root() -> Finding {
    let is_root = nix::unistd::geteuid().is_root();
    let level = if is_root { Level::Fine } else { Level::Matters };
    let value = if is_root { "yes" } else { "no" };
    finding("root", level, value, "`bench run` makes cgroups, namespaces and mounts: run it with sudo")
}

fn kvm() -> Finding {
    const ADVICE: &str = "guests will be emulated (TCG), which says nothing about KVM; `bench image build` and \
        `bench vm run --options accel=kvm -- true` tell whether KVM really boots";
    let open = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
    match open {
        Err(e) => finding("kvm", Level::Matters, format!("/dev/kvm: {e}"), ADVICE),
        Ok(_) if std::path::Path::new("/sys/module/kvm_pvm").exists() => finding(
            "kvm",
            Level::Matters,
            "/dev/kvm opens, but it is page-table virtualisation (PVM), which boots no ordinary guest",
            ADVICE,
        ),
        Ok(_) => finding("kvm", Level::Fine, "/dev/kvm opens (whether it boots a guest, only a boot tells)", ""),
    }
}

fn tun() -> Finding {
    const ADVICE: &str = "guests have no network without it: load the module tun";
    match std::path::Path::new("/dev/net/tun").exists() {
        true => finding("tun", Level::Fine, "/dev/net/tun is there", ""),
        false => finding("tun", Level::Matters, "there is no /dev/net/tun", ADVICE),
    }
}

fn vhost() -> Finding {
    const ADVICE: &str =
        "QEMU itself moves a guest's packets, which is slower than what is usual: load the module vhost_net";
    match crate::netlab::has_vhost() {
        true => finding("vhost-net", Level::Fine, "/dev/vhost-net is there", ""),
        false => finding("vhost-net", Level::Matters, "there is no /dev/vhost-net", ADVICE),
    }
}

fn cgroups() -> Finding {
    let version = fingerprint::cgroup_version();
    let level = if version == "none" { Level::Missing } else { Level::Fine };
    finding("cgroups", level, version, "no cgroup file system is mounted: no limit can be set and no CPU time read")
}

fn program(program: &packages::Program) -> Finding {
    let name = program.name;
    match packages::find(name) {
        Some(path) => finding(name, Level::Fine, path.display().to_string(), ""),
        None => finding(
            name,
            Level::Missing,
            "not found",
            &format!(
                "needed for {}: install the package {} (`bench doctor --install`)",
                program.purpose, program.package
            ),
        ),
    }
}

fn governor() -> Option<Finding> {
    let governor = read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")?;
    let level = if governor == "performance" { Level::Fine } else { Level::Matters };
    Some(finding("governor", level, governor, "the clock follows the load: `cpupower frequency-set -g performance`"))
}

fn smt() -> Option<Finding> {
    let smt = read("/sys/devices/system/cpu/smt/control")?;
    let level = if smt == "on" { Level::Matters } else { Level::Fine };
    Some(finding("smt", level, smt, "two threads of a core share it: give --cpus with one thread of each core"))
}

fn swap() -> Option<Finding> {
    let swaps = read("/proc/swaps")?.lines().skip(1).count();
    let level = if swaps == 0 { Level::Fine } else { Level::Matters };
    Some(finding("swap", level, format!("{swaps} areas"), "a limit of memory may be met by swapping: `swapoff -a`"))
}

fn virtualised() -> Option<Finding> {
    let facts = fingerprint::machine();
    let is_guest = facts.get("machine.virtualised")? == "yes";
    let (level, value) = if is_guest { (Level::Matters, "a virtual machine") } else { (Level::Fine, "bare") };
    Some(finding("machine", level, value, "its \"native\" is itself a guest, and neighbours may take time from it"))
}

fn clock() -> Option<Finding> {
    let source = read("/sys/devices/system/clocksource/clocksource0/current_clocksource")?;
    let level = if source == "tsc" || source == "kvm-clock" { Level::Fine } else { Level::Matters };
    Some(finding("clock source", level, source, "reading the clock is slow, and fio reads it twice for each I/O"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_fine_comes_with_advice() {
        let findings = examine();
        assert!(findings.len() >= 8);
        for finding in findings {
            assert_eq!(finding.level == Level::Fine, finding.advice.is_empty(), "{finding:?}");
        }
    }
}
