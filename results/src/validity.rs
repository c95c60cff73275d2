//! The checks of a trial: one table of what is compared, the bound, what follows, and the words for it.
//!
//! The same table stands in docs/METHODOLOGY.md, written by the test at the end of this file.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::record::{Remark, Trial};

/// What follows when a figure is beyond its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The trial is invalid, whatever the profile.
    Hard,
    /// The trial is invalid, but in `smoke`: its trials are too short to be judged so.
    Soft,
    /// It is remarked, but in `smoke`: the trial counts, and too many such trials make the run not reportable.
    Remark,
}

impl Weight {
    /// The words in the documentation.
    pub fn text(self) -> &'static str {
        match self {
            Weight::Hard => "invalid, also in `smoke`",
            Weight::Soft => "invalid",
            Weight::Remark => "remark",
        }
    }
}

/// The bound of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// More is too much.
    AtMost(f64),
    /// Less is too little.
    AtLeast(f64),
}

impl Bound {
    /// True when a figure keeps it.
    pub fn holds(self, figure: f64) -> bool {
        match self {
            Bound::AtMost(bound) => figure <= bound,
            Bound::AtLeast(bound) => figure >= bound,
        }
    }

    /// The one of two figures that is nearer to the bound or farther beyond it.
    pub fn worse(self, a: f64, b: f64) -> f64 {
        match self {
            Bound::AtMost(_) => a.max(b),
            Bound::AtLeast(_) => a.min(b),
        }
    }
}

/// One check of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Check {
    /// Name of the fact that holds the figure, and of the check.
    pub fact: &'static str,
    /// What the figure is.
    pub compared: &'static str,
    /// Its bound.
    pub bound: Bound,
    /// Unit of figure and bound; empty for counts.
    pub unit: &'static str,
    /// What follows.
    pub weight: Weight,
    /// What is said then; `{name}` stands for the fact of that name.
    pub sentence: &'static str,
    /// What to do about it.
    pub advice: &'static str,
}

impl Check {
    /// The bound in words: `at most 1 %`.
    pub fn bound_text(&self) -> String {
        let (words, value) = match self.bound {
            Bound::AtMost(value) => ("at most", value),
            Bound::AtLeast(value) => ("at least", value),
        };
        format!("{words} {}", self.with_unit(&number(value)))
    }

    /// A figure with its unit: `0.4 %`.
    pub fn figure_text(&self, figure: f64) -> String {
        self.with_unit(&number(figure))
    }

    fn with_unit(&self, number: &str) -> String {
        format!("{number} {}", self.unit).trim_end().to_owned()
    }

    /// The sentence with the figures of a trial, and what to do.
    fn words(&self, facts: &BTreeMap<String, Value>) -> String {
        let mut said = String::new();
        let mut rest = self.sentence;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').unwrap_or((after, ""));
            said.push_str(before);
            said.push_str(&match facts.get(name) {
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.as_f64().map_or_else(|| "unknown".to_owned(), number),
                None => "unknown".to_owned(),
            });
            rest = after;
        }
        format!("{said}{rest}; {}", self.advice)
    }
}

/// Three significant digits at most, and no decimals where they are zero.
fn number(value: f64) -> String {
    let decimals = if value.abs() >= 100.0 { 0 } else { 2 };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

const fn check(
    fact: &'static str,
    bound: Bound,
    unit: &'static str,
    weight: Weight,
    words: [&'static str; 3],
) -> Check {
    let [compared, sentence, advice] = words;
    Check { fact, compared, bound, unit, weight, sentence, advice }
}

use Bound::{AtLeast, AtMost};
use Weight::{Hard, Remark as Remarked, Soft};

/// All checks, the gravest first.
pub const CHECKS: &[Check] = &[
    check("limits.broken", AtMost(0.0), "", Hard, [
        "limits that do not read after the trial as they were set, or cannot be read",
        "{limits.said}",
        "let nothing else write to the cgroups of bench",
    ]),
    check("memory.oom_kills", AtMost(0.0), "", Hard, [
        "processes of the instance killed for want of memory",
        "the memory limit of {memory.limit_mib} MiB was met and a process was killed",
        "give a larger --memory",
    ]),
    check("histogram.missing", AtMost(0.0), "", Hard, [
        "I/Os or round trips that the latency histogram does not hold",
        "the latency histogram lacks {histogram.missing} of {histogram.expected} entries: its percentiles cannot be trusted",
        "see the tool's output in raw/",
    ]),
    check("pace.reached_percent", AtLeast(90.0), "%", Hard, [
        "rate of a paced stream, of the rate asked for",
        "the paced stream reached {pace.reached_percent} % of its rate: its CPU cost is that of another load",
        "leave the environment out that cannot follow",
    ]),
    check("net.rule_packets", AtLeast(1.0), "", Hard, [
        "packets that the nftables rule of the lab saw, on the ways that have one",
        "the lab's nftables rule saw no packet: the work did not take its path",
        "report this as a fault of bench",
    ]),
    check("runtime.off_percent", AtMost(5.0), "%", Soft, [
        "measured time as the tool counted it, against the time asked for",
        "the measured part took {runtime.measured_s} s and not {runtime.asked_s} s",
        "see whether the storage stalls or the machine was suspended",
    ]),
    check("warmup.off_percent", AtMost(10.0), "%", Soft, [
        "warm-up as the tool counted it, against the time asked for",
        "the warm-up took {warmup.measured_s} s and not {warmup.asked_s} s",
        "see whether the storage stalls or the machine was suspended",
    ]),
    check("fio.depth_reached_percent", AtLeast(90.0), "%", Soft, [
        "I/Os submitted with the asked queue depth in flight",
        "only {fio.depth_reached_percent} % of I/Os found the asked queue depth: the load was another one",
        "look for a file system that makes direct I/O wait, or take a deeper queue away",
    ]),
    check("disk.missing_percent", AtMost(1.0), "%", Soft, [
        "bytes that fio read or wrote and the disk beneath did not, of either direction (host's /proc/diskstats)",
        "{disk.missing_percent} % of fio's bytes never reached the disk: a cache of the host is in the path",
        "use cache=none for guests, and a target whose file system does direct I/O",
    ]),
    check("cgroup.io_missing_percent", AtMost(1.0), "%", Soft, [
        "the same in the I/O accounting of the instance's cgroup",
        "{cgroup.io_missing_percent} % of fio's bytes are not in the accounting of its cgroup: another cgroup did its I/O",
        "use cache=none for guests, and a target whose file system does direct I/O",
    ]),
    check("guest.disk_off_bytes", AtMost(0.0), "bytes", Soft, [
        "bytes of fio against those that the guest's kernel moved (its /sys/block)",
        "the guest's kernel moved {guest.disk_off_bytes} bytes more or less than fio",
        "let nothing else use the target in the guest",
    ]),
    check("qmp.disk_off_bytes", AtMost(0.0), "bytes", Soft, [
        "bytes of fio against those that QEMU moved for the guest (QMP `query-blockstats`)",
        "QEMU moved {qmp.disk_off_bytes} bytes more or less for the guest than fio did",
        "let nothing else use the target in the guest",
    ]),
    check("qmp.host_cached", AtMost(0.0), "", Soft, [
        "1 where QEMU holds the target open with the host's page cache in the path (QMP `query-named-block-nodes`)",
        "the host's page cache is in the guest's path (cache={qmp.cache}): it can be faster than native and measures memory",
        "use cache=none",
    ]),
    check("cgroup.throttled_percent", AtMost(0.0), "%", Soft, [
        "time that the instance's cgroup was kept from its CPUs by a quota (cgroup cpu.stat)",
        "a CPU quota stopped the instance for {cgroup.throttled_percent} % of the trial",
        "take the quota away",
    ]),
    check("clock.off_percent", AtMost(0.5), "%", Soft, [
        "speed of the clock inside against the host's during the trial, beyond what the round trips leave uncertain",
        "the clock inside went {clock.off_percent} % wrong during the trial: every rate and latency is wrong by as much",
        "see the guest's clock source, and whether something stopped the guest",
    ]),
    check("disk.extra_percent", AtMost(1.0), "%", Remarked, [
        "bytes at the disk beyond fio's and those of an idle second before the run, of fio's",
        "the disk moved {disk.extra_percent} % more than fio did: others used it meanwhile",
        "stop what else uses the disk, or give another --target",
    ]),
    check("host.other_cpu_percent", AtMost(5.0), "%", Remarked, [
        "CPU time of processes that do not belong to the run, of the whole machine's",
        "other processes took {host.other_cpu_percent} % of the machine's CPUs, most of it `{host.other_busiest}`",
        "stop them while bench measures",
    ]),
    check("host.steal_percent", AtMost(2.0), "%", Remarked, [
        "CPU time that the hypervisor beneath this machine took away",
        "the hypervisor beneath took {host.steal_percent} % of the machine's CPU time away",
        "measure on dedicated CPUs, or on the bare machine",
    ]),
    check("guest.steal_percent", AtMost(2.0), "%", Remarked, [
        "the same as the guest's kernel saw it",
        "{guest.steal_percent} % of the guest's CPU time was taken away",
        "stop what else uses its CPUs",
    ]),
    check("host.swapped_bytes", AtMost(0.0), "bytes", Remarked, [
        "swapped in and out by the host",
        "the host swapped {host.swapped_bytes} bytes",
        "free memory, or give a smaller --memory",
    ]),
    check("guest.swapped_bytes", AtMost(0.0), "bytes", Remarked, [
        "swapped in and out by the guest",
        "the guest swapped {guest.swapped_bytes} bytes",
        "give a larger --memory",
    ]),
    check("host.memory_stalled_percent", AtMost(1.0), "%", Remarked, [
        "time in which all work waited for memory (host's /proc/pressure/memory, `full`)",
        "all work on the host waited for memory in {host.memory_stalled_percent} % of the trial",
        "free memory, or give a smaller --memory",
    ]),
    check("fio.major_faults", AtMost(0.0), "", Remarked, [
        "page faults of the measured job that needed I/O",
        "the measured job waited {fio.major_faults} times for a page of its own program",
        "give a larger --memory",
    ]),
    check("clock.read_ns", AtMost(200.0), "ns", Remarked, [
        "cost of one clock read inside; fio reads the clock at least twice per I/O",
        "reading the clock costs {clock.read_ns} ns inside (clock source {clock.source})",
        "use a guest or machine with a usable time stamp counter",
    ]),
    check("net.dropped_per_million", AtMost(100.0), "", Remarked, [
        "packets that devices of the lab dropped, of a million; not of packet floods, which go as fast as packets are lost",
        "devices on the way dropped {net.dropped_per_million} of a million packets",
        "see the queues in the sameness table",
    ]),
    check("net.retransmitted_per_million", AtMost(1000.0), "", Remarked, [
        "TCP segments sent again, of a million",
        "TCP sent {net.retransmitted_per_million} of a million segments again",
        "look for loss or a stall on the way to the peer",
    ]),
    check("cpu.throttle_events", AtMost(0.0), "", Remarked, [
        "times that a CPU slowed itself down for its temperature (sysfs `thermal_throttle`)",
        "CPUs slowed down {cpu.throttle_events} times for their temperature",
        "cool the machine",
    ]),
    check("cpu.frequency_percent", AtLeast(50.0), "%", Remarked, [
        "lowest frequency of the run's CPUs during the trial, of the highest they can have (cpufreq)",
        "a CPU ran at {cpu.frequency_percent} % of its highest frequency",
        "set the governor to performance, and see what keeps the CPU slow",
    ]),
];

/// A check that a trial did not pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Which.
    pub check: &'static Check,
    /// What it means, in words for people.
    pub sentence: String,
}

/// The checks that these facts do not pass; a figure that is absent is not judged. `soft`: not only the hard ones.
pub fn judge(facts: &BTreeMap<String, Value>, soft: bool) -> Vec<Finding> {
    let fails = |check: &&'static Check| {
        let figure = facts.get(check.fact).and_then(Value::as_f64);
        (soft || check.weight == Hard) && figure.is_some_and(|figure| !check.bound.holds(figure))
    };
    CHECKS.iter().filter(fails).map(|check| Finding { check, sentence: check.words(facts) }).collect()
}

/// Judge a trial by its facts: reasons for which it is invalid, and remarks. `soft` as for [`judge`].
pub fn apply(trial: &mut Trial, soft: bool) {
    for Finding { check, sentence } in judge(&trial.facts, soft) {
        match check.weight {
            Hard | Soft => trial.invalid.push(sentence),
            Remarked => trial.remarks.push(Remark { check: check.fact.to_owned(), text: sentence }),
        }
    }
}

/// The check of this name.
pub fn find(fact: &str) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.fact == fact)
}

/// The table for the documentation, in Markdown.
pub fn markdown() -> String {
    let mut text = String::from("| fact | what is compared | bound | beyond it | what to do |\n|---|---|---|---|---|\n");
    for check in CHECKS {
        let Check { fact, compared, weight, advice, .. } = check;
        text.push_str(&format!("| `{fact}` | {compared} | {} | {} | {advice} |\n", check.bound_text(), weight.text()));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    /// The nearest figures on both sides of a bound.
    fn around(bound: Bound) -> (f64, f64) {
        match bound {
            AtMost(bound) => (bound, bound + 0.01),
            AtLeast(bound) => (bound, bound - 0.01),
        }
    }

    #[test]
    fn every_check_passes_at_its_bound_and_fails_just_beyond_it() {
        for check in CHECKS {
            let (inside, outside) = around(check.bound);
            let facts = |figure: f64| BTreeMap::from([(check.fact.to_owned(), json!(figure))]);
            assert_eq!(judge(&facts(inside), true), [], "{}", check.fact);
            let found = judge(&facts(outside), true);
            assert!(found.len() == 1 && found[0].check.fact == check.fact, "{}: {found:?}", check.fact);
            assert_eq!(judge(&facts(outside), false).is_empty(), check.weight != Hard, "{} in smoke", check.fact);
        }
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        assert_eq!(judge(&BTreeMap::new(), true), []);
        let odd = CHECKS.iter().map(|check| (check.fact.to_owned(), json!("unreadable"))).collect();
        assert_eq!(judge(&odd, true), []);
    }

    #[test]
    fn every_sentence_names_its_figures_and_what_to_do() {
        let mut names = std::collections::BTreeSet::new();
        for check in CHECKS {
            assert!(names.insert(check.fact), "{} twice", check.fact);
            let facts = BTreeMap::from([(check.fact.to_owned(), json!(around(check.bound).1))]);
            let said = check.words(&facts);
            assert!(!said.contains(['{', '}']) && said.contains(check.advice), "{said}");
            assert!(!said.ends_with('.') && !check.compared.is_empty(), "{said}");
        }
    }

    #[test]
    fn a_sentence_has_the_value_filled_in() {
        let facts = BTreeMap::from([
            ("host.other_cpu_percent".to_owned(), json!(48.213)),
            ("host.other_busiest".to_owned(), json!("cc1plus")),
        ]);
        let said = &judge(&facts, true)[0].sentence;
        assert!(said.starts_with("other processes took 48.21 % of the machine's CPUs, most of it `cc1plus`; "), "{said}");
    }

    #[test]
    fn figures_are_short() {
        assert_eq!([0.0, 0.5, 5.0, 99.999, 1234.5].map(number), ["0", "0.5", "5", "100", "1234"]);
    }

    /// `BLESS=1 cargo test -p bench-results` writes the table in the documentation anew.
    #[test]
    fn the_documentation_has_this_table() {
        const MARKS: [&str; 2] = ["<!-- checks: written by a test of results/src/validity.rs -->\n", "<!-- /checks -->"];
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/METHODOLOGY.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(MARKS[0]).expect("METHODOLOGY.md has no place for the table");
        let (table, after) = rest.split_once(MARKS[1]).expect("the place for the table has no end");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, format!("{before}{}{}{}{after}", MARKS[0], markdown(), MARKS[1])).unwrap();
        } else {
            assert_eq!(table, markdown(), "docs/METHODOLOGY.md is not current; BLESS=1 rewrites its table");
        }
    }
}
