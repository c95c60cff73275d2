//! Noise sources that are told by one file of `/proc` or `/sys`: a table.

use super::{Finding, Level, finding, fine_if, read, unreadable};

/// A file, how its text is read, and what it means.
struct Look {
    name: &'static str,
    /// The first that is there counts.
    paths: &'static [&'static str],
    /// How to show the text, and whether it is fine.
    judge: fn(&str) -> (String, bool),
    why: &'static str,
    advice: &'static str,
}

const LOOKS: &[Look] = &[
    Look {
        name: "governor",
        paths: &["/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"],
        judge: |text| (text.to_owned(), text == "performance"),
        why: "the CPU frequency follows the load, so environments can run at different frequencies",
        advice: "`cpupower frequency-set -g performance`",
    },
    Look {
        name: "turbo",
        paths: &["/sys/devices/system/cpu/intel_pstate/no_turbo"],
        judge: |text| if text == "1" { ("off".to_owned(), true) } else { ("on".to_owned(), false) },
        why: "the speed of a CPU then depends on its temperature and on the load of other CPUs",
        advice: "`echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo`, if you can accept lower speed",
    },
    Look {
        name: "boost",
        paths: &["/sys/devices/system/cpu/cpufreq/boost"],
        judge: |text| if text == "0" { ("off".to_owned(), true) } else { ("on".to_owned(), false) },
        why: "the speed of a CPU then depends on its temperature and on the load of other CPUs",
        advice: "`echo 0 > /sys/devices/system/cpu/cpufreq/boost`, if you can accept lower speed",
    },
    Look {
        name: "smt",
        paths: &["/sys/devices/system/cpu/smt/control"],
        judge: |text| (text.to_owned(), text != "on"),
        why: "two threads share one core",
        advice: "give --cpus with one thread of each core",
    },
    Look {
        name: "huge pages",
        paths: &["/sys/kernel/mm/transparent_hugepage/enabled"],
        judge: |text| (chosen(text), chosen(text) == "madvise"),
        why: "with `always`, the use of huge pages depends on chance and on uptime; with `never`, fio's buffers are scattered, \
              and how large its requests to the disk are is luck",
        advice: "`echo madvise > /sys/kernel/mm/transparent_hugepage/enabled`",
    },
    Look {
        name: "ksm",
        paths: &["/sys/kernel/mm/ksm/run"],
        judge: |text| if text == "1" { ("on".to_owned(), false) } else { ("off".to_owned(), true) },
        why: "a kernel thread merges equal pages of guests, and a write to a merged page causes a fault",
        advice: "`echo 0 > /sys/kernel/mm/ksm/run`",
    },
    Look {
        name: "swap",
        paths: &["/proc/swaps"],
        judge: |text| {
            let areas = text.lines().skip(1).count();
            (format!("{areas} areas"), areas == 0)
        },
        why: "a memory limit can cause swapping, which adds I/O",
        advice: "`swapoff -a`",
    },
    Look {
        name: "numa balancing",
        paths: &["/proc/sys/kernel/numa_balancing"],
        judge: |text| if text == "0" { ("off".to_owned(), true) } else { ("on".to_owned(), false) },
        why: "the kernel unmaps pages to find out who uses them, and migrates them",
        advice: "`sysctl kernel.numa_balancing=0`",
    },
    Look {
        name: "clock source",
        paths: &[bench_agent::CLOCK_SOURCE],
        judge: |text| (text.to_owned(), ["tsc", "kvm-clock", "arch_sys_counter"].contains(&text)),
        why: "fio reads the clock twice for each I/O, and other sources than the processor's counter are slow to read",
        advice: "`dmesg | grep -i tsc` shows why the kernel does not use the processor's counter",
    },
    Look {
        name: "aslr",
        paths: &["/proc/sys/kernel/randomize_va_space"],
        judge: |text| if text == "2" { ("on".to_owned(), true) } else { (format!("level {text}"), false) },
        why: "a fixed memory layout is a hidden constant, and not part of the noise that intervals show",
        advice: "`sysctl kernel.randomize_va_space=2`",
    },
    Look {
        name: "mitigations",
        paths: &["/proc/cmdline"],
        judge: |text| match text.split_whitespace().find_map(|word| word.strip_prefix("mitigations=")) {
            Some(value) => (value.to_owned(), value != "off"),
            None => ("the kernel's default".to_owned(), true),
        },
        why: "mitigations slow down system calls and guest exits by different amounts; guests boot with the same option",
        advice: "results do not apply to machines with mitigations: remove `mitigations=off` from the kernel's command line",
    },
];

/// The word in brackets of `always [madvise] never`.
pub(super) fn chosen(text: &str) -> String {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or_else(|| text.to_owned(), |(word, _)| word.to_owned())
}

fn look(look: &Look, text: Option<&str>) -> Finding {
    match text {
        None => unreadable(look.name, look.why),
        Some(text) => {
            let (value, fine) = (look.judge)(text);
            let level: Level = fine_if(fine);
            finding(look.name, level, value, look.why, look.advice)
        }
    }
}

/// Every file of the table.
pub(super) fn all() -> impl Iterator<Item = Finding> {
    LOOKS.iter().map(|one| look(one, one.paths.iter().find_map(read).as_deref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, text: &str) -> (String, Level) {
        let found = look(LOOKS.iter().find(|look| look.name == name).unwrap(), Some(text));
        (found.value, found.level)
    }

    #[test]
    fn what_files_say_is_understood() {
        use Level::{Fine, Matters};
        let swaps = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n/dev/zram0  partition\t8388604\t\t0\t\t100";
        for (name, text, value, level) in [
            ("governor", "performance", "performance", Fine),
            ("governor", "powersave", "powersave", Matters),
            ("turbo", "0", "on", Matters),
            ("turbo", "1", "off", Fine),
            ("boost", "1", "on", Matters),
            ("smt", "on", "on", Matters),
            ("smt", "notsupported", "notsupported", Fine),
            ("huge pages", "always [madvise] never", "madvise", Fine),
            ("huge pages", "[always] madvise never", "always", Matters),
            ("ksm", "1", "on", Matters),
            ("ksm", "2", "off", Fine),
            ("swap", swaps, "1 areas", Matters),
            ("swap", "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority", "0 areas", Fine),
            ("numa balancing", "1", "on", Matters),
            ("clock source", "hpet", "hpet", Matters),
            ("clock source", "tsc", "tsc", Fine),
            ("aslr", "0", "level 0", Matters),
            ("mitigations", "quiet mitigations=off root=/dev/vda", "off", Matters),
            ("mitigations", "root=/dev/vda", "the kernel's default", Fine),
        ] {
            assert_eq!(of(name, text), (value.to_owned(), level), "{name}: {text}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_guessed() {
        for one in LOOKS {
            let found = look(one, None);
            assert_eq!((found.level, found.value.as_str()), (Level::Unreadable, "not readable here"));
        }
    }
}
