//! What two runs were measured on, with and by: where that differs, their numbers must not be compared unasked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::aliases;
use crate::record::{Environment, RATES, Run};

/// A group of facts that a number depends on, by the name that `--allow-difference` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Model, microcode, number and settings of the CPUs, and the machine they are in.
    Cpu,
    /// Kernel, its command line, mitigations, clock source, and what it does with memory: huge pages, merging, swap.
    Kernel,
    /// Disk, its queue settings, and the file system of the target.
    Device,
    /// What executes the guest's instructions. Allowed or not, KVM and TCG are never compared.
    Accelerator,
    /// fio.
    Fio,
    /// The VMM.
    Vmm,
    /// The guest's kernel.
    GuestKernel,
    /// The tools tree: measured tools with their libraries, and the user's own programs.
    Tools,
    /// Turns, runtime, warm-up and size of the profile.
    Profile,
    /// CPUs and memory of the environments.
    Limits,
    /// Definition of an environment of the same name.
    Environment,
    /// Parameters or deciding metric of a workload of the same name.
    Workload,
}

const ASPECTS: [(Aspect, &str); 12] = [
    (Aspect::Cpu, "cpu"),
    (Aspect::Kernel, "kernel"),
    (Aspect::Device, "device"),
    (Aspect::Accelerator, "accelerator"),
    (Aspect::Fio, "fio"),
    (Aspect::Vmm, "vmm"),
    (Aspect::GuestKernel, "guest-kernel"),
    (Aspect::Tools, "tools"),
    (Aspect::Profile, "profile"),
    (Aspect::Limits, "limits"),
    (Aspect::Environment, "environment"),
    (Aspect::Workload, "workload"),
];

/// The fingerprint's names by their beginning; the first that fits. Names that are not here do not matter.
const FACTS: [(&str, Aspect); 16] = [
    ("cpu.", Aspect::Cpu),
    ("numa.", Aspect::Cpu),
    ("machine.", Aspect::Cpu),
    ("kernel.", Aspect::Kernel),
    ("cgroup.", Aspect::Kernel),
    ("mitigations", Aspect::Kernel),
    ("clock.", Aspect::Kernel),
    ("memory.transparent_hugepages", Aspect::Kernel),
    ("memory.ksm", Aspect::Kernel),
    ("memory.swaps", Aspect::Kernel),
    ("block.", Aspect::Device),
    ("tool.fio.", Aspect::Fio),
    ("tool.vmm.", Aspect::Vmm),
    ("tool.", Aspect::Tools),
    ("guest.kernel.", Aspect::GuestKernel),
    ("network.", Aspect::Environment),
];

/// Where the disk's name, which may change with every boot, stands: it informs, and decides nothing.
const DISK_NAME: &str = "block.device";

/// Facts that tell one disk from another. What only one side has is no difference: earlier versions did not record them, and not
/// every kernel tells them.
const DISK_IDENTITY: [&str; 8] = [
    "block.serial",
    "block.wwid",
    "block.firmware_rev",
    "block.size_bytes",
    "block.partition",
    "block.layer",
    "block.beneath",
    "block.paths",
];

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ASPECTS.iter().find(|(aspect, _)| aspect == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for Aspect {
    type Err = String;

    fn from_str(text: &str) -> Result<Aspect, String> {
        let asked = aliases::difference(text);
        ASPECTS.iter().find(|(_, name)| *name == asked).map(|(aspect, _)| *aspect).ok_or_else(|| {
            let names = ASPECTS.map(|(_, name)| name).join(", ");
            format!("`{text}` is no difference that can be allowed; there are {names}")
        })
    }
}

/// A fact that is not the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Difference {
    /// What it belongs to.
    pub aspect: Aspect,
    /// Name of the fact: `kernel.release`.
    pub fact: String,
    /// In BASE; absent where it has none.
    pub base: Option<String>,
    /// In NEW.
    pub new: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown =
            |value: &Option<String>| value.as_ref().map_or("absent".to_owned(), |value| format!("`{}`", short(value)));
        write!(f, "{}: {} is {} in BASE and {} in NEW", self.aspect, self.fact, shown(&self.base), shown(&self.new))
    }
}

/// A digest by its beginning; anything else as it is.
fn short(value: &str) -> String {
    let is_digest = value.len() == 64 && value.chars().all(|c| c.is_ascii_hexdigit());
    if is_digest { format!("{}…", &value[..12]) } else { value.to_owned() }
}

/// Everything that matters and is not the same in two runs.
pub fn differences(base: &Run, new: &Run) -> BTreeSet<Difference> {
    let (base, new) = (facts(base), facts(new));
    let names: BTreeSet<&(Aspect, String)> = base.keys().chain(new.keys()).collect();
    let difference = |key: &&(Aspect, String)| {
        let (base, new) = (base.get(*key).cloned(), new.get(*key).cloned());
        // What only one side has is no difference where it is of a thing that the other did not use.
        let is_used_by_both = (base.is_some() && new.is_some()) || is_everywhere(key);
        let differs = is_used_by_both && base != new;
        differs.then(|| Difference { aspect: key.0, fact: key.1.clone(), base, new })
    };
    names.into_iter().filter_map(|key| difference(&key)).collect()
}

/// True for what every run has.
fn is_everywhere((aspect, fact): &(Aspect, String)) -> bool {
    !DISK_IDENTITY.contains(&fact.as_str())
        && matches!(aspect, Aspect::Cpu | Aspect::Kernel | Aspect::Device | Aspect::Profile | Aspect::Limits)
}

/// That the disk has another name in NEW, and what tells whether it is the same.
pub(super) fn renamed(base: &Run, new: &Run) -> Option<String> {
    let (was, is) = (base.fingerprint.get(DISK_NAME)?, new.fingerprint.get(DISK_NAME)?);
    let same = |name: &&str| base.fingerprint.get(*name).is_some_and(|value| new.fingerprint.get(*name) == Some(value));
    let known = ["block.serial", "block.wwid"].into_iter().find(same);
    let told = match known {
        Some(name) => format!("its {name} is the same, and names change from boot to boot"),
        None => "no serial number tells whether it is the same disk; model, firmware and queue settings are the same"
            .to_owned(),
    };
    (was != is).then(|| format!("the disk is called {was} in BASE and {is} in NEW: {told}"))
}

/// The facts that matter, by aspect and name.
fn facts(run: &Run) -> BTreeMap<(Aspect, String), String> {
    let mut facts = BTreeMap::new();
    let mut put = |aspect, name: String, value: String| drop(facts.insert((aspect, name), value));
    for (name, value) in run.fingerprint.iter().filter(|(name, _)| *name != DISK_NAME) {
        if let Some((_, aspect)) = FACTS.iter().find(|(beginning, _)| name.starts_with(beginning)) {
            put(*aspect, name.clone(), value.clone());
        }
    }
    if let Some(target) = &run.target {
        put(Aspect::Device, "target.file_system".into(), target.file_system.clone().unwrap_or("none".into()));
    }
    let profile = &run.plan.profile;
    put(Aspect::Profile, "profile.turns".into(), profile.turns.to_string());
    put(Aspect::Profile, "profile.runtime_s".into(), profile.runtime_s.to_string());
    put(Aspect::Profile, "profile.warmup_s".into(), profile.warmup_s.to_string());
    put(Aspect::Profile, "profile.size_bytes".into(), profile.size_bytes.to_string());
    put(Aspect::Limits, "limits.cpus".into(), run.limits.cpus.clone());
    put(Aspect::Limits, "limits.memory_bytes".into(), run.limits.memory_bytes.to_string());
    for environment in &run.environments {
        put(Aspect::Environment, environment.name.clone(), environment.definition.clone());
        if let Some(work) = &environment.work {
            put(Aspect::Device, format!("work folder of {}", environment.name), work.to_string());
        }
        if environment.accelerator.is_some() {
            put(Aspect::Accelerator, environment.name.clone(), accelerator(environment));
        }
    }
    for workload in &run.plan.workloads {
        put(Aspect::Workload, format!("{} deciding", workload.name), workload.deciding.clone());
        for (name, value) in workload.parameters.iter().filter(|(name, _)| !RATES.contains(&name.as_str())) {
            put(Aspect::Workload, format!("{} {name}", workload.name), value.clone());
        }
    }
    facts
}

fn accelerator(environment: &Environment) -> String {
    if environment.is_emulated() { "TCG emulation".to_owned() } else { "KVM".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn what_matters_is_found_and_what_does_not_is_not() {
        let base = testing::record(1, 1, false).run;
        assert!(differences(&base, &base).is_empty());
        let mut new = base.clone();
        new.fingerprint.insert("kernel.release".into(), "6.13.0-demo".into());
        new.fingerprint.insert("os.name".into(), "another".into());
        new.fingerprint.insert("kernel.version".into(), "0a".repeat(32));
        new.fingerprint.insert("tool.vmm.version".into(), "only here".into());
        new.fingerprint.insert("block.scheduler".into(), "[none]".into());
        new.plan.profile.blocks = 99;
        new.plan.profile.runtime_s = 20.0;
        new.environments[2].definition = "container:userns=yes".into();
        new.plan.workloads[0].parameters.insert("iodepth".into(), "32".into());
        new.plan.workloads[0].parameters.insert("bytes_per_s".into(), "1".into());
        let found: Vec<String> = differences(&base, &new).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "kernel: kernel.release is `6.12.0-demo` in BASE and `6.13.0-demo` in NEW",
                "kernel: kernel.version is absent in BASE and `0a0a0a0a0a0a…` in NEW",
                "device: block.scheduler is absent in BASE and `[none]` in NEW",
                "profile: profile.runtime_s is `2` in BASE and `20` in NEW",
                "environment: container is `container` in BASE and `container:userns=yes` in NEW",
                "workload: seq-write iodepth is `16` in BASE and `32` in NEW",
            ]
        );
    }

    #[test]
    fn the_same_disk_under_another_name_is_no_difference_and_another_one_under_the_same_name_is() {
        let disk = |name: &str, facts: &[(&str, &str)]| {
            let mut run = testing::record(1, 1, false).run;
            let all = [("block.device", name), ("block.model", "Example SSD")].into_iter().chain(facts.iter().copied());
            run.fingerprint.extend(all.map(|(name, value)| (name.to_owned(), value.to_owned())));
            run
        };
        fn found(base: &Run, new: &Run) -> Vec<String> {
            differences(base, new).iter().map(|one| one.fact.clone()).collect()
        }
        let (sda, sdb) = (disk("sda", &[("block.serial", "A1")]), disk("sdb", &[("block.serial", "A1")]));
        assert_eq!(found(&sda, &sdb), [""; 0]);
        assert!(renamed(&sda, &sdb).unwrap().contains("sda in BASE and sdb in NEW: its block.serial is the same"));
        assert_eq!(renamed(&sda, &sda), None);
        // A twin of the same model wears otherwise, and is another disk.
        assert_eq!(found(&sda, &disk("sda", &[("block.serial", "B2")])), ["block.serial"]);
        // Two namespaces of one NVMe disk, two partitions, a disk and what is encrypted on it.
        for (fact, one, other) in [("wwid", "eui.1", "eui.2"), ("partition", "1", "2"), ("layer", "none", "CRYPT")] {
            let fact = format!("block.{fact}");
            assert_eq!(found(&disk("a", &[(&fact, one)]), &disk("a", &[(&fact, other)])), std::slice::from_ref(&fact));
        }
        // A record of before there were serial numbers in it.
        let old = disk("sdc", &[]);
        assert_eq!((found(&old, &sda), found(&sda, &old)), (Vec::new(), Vec::new()));
        assert!(renamed(&old, &sda).unwrap().contains("no serial number tells"));
    }

    #[test]
    fn an_accelerator_is_a_difference_of_the_environment() {
        let (kvm, tcg) = (testing::record(1, 1, false).run, testing::record(1, 1, true).run);
        let found: Vec<String> = differences(&kvm, &tcg).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["accelerator: vm is `KVM` in BASE and `TCG emulation` in NEW"]);
    }

    #[test]
    fn aspects_are_read_by_the_names_that_they_show() {
        for (aspect, name) in ASPECTS {
            assert_eq!((name.parse(), aspect.to_string()), (Ok(aspect), name.to_owned()));
            assert_eq!(serde_json::to_string(&aspect).unwrap(), format!("\"{name}\""));
        }
        assert!("speed".parse::<Aspect>().unwrap_err().contains("cpu, kernel, device"));
    }
}
