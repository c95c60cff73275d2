//! What tells whether a trial measured what it was meant to: looks at host, guest and VMM before and after the job, and the
//! figures that `bench_results::validity` judges.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use bench_agent::clock_source;
use bench_results::record::Baseline;
use bench_results::validity;
use serde_json::{Value, json};

use super::agent_client::ClockComparison;
use super::instance::{Instance, Setting};
use crate::host::disk::Moved;
use crate::host::witness::{Kernel, Witness};
use crate::netlab::Counters;

/// How long the machine is looked at before the first block.
const BASELINE: Duration = Duration::from_secs(1);

/// Facts of a trial.
pub type Facts = BTreeMap<String, Value>;

/// One look from all sides.
pub struct Look {
    host: Witness,
    guest: Option<GuestLook>,
}

/// What a guest's kernel and its VMM count and say.
#[derive(Default)]
pub struct GuestLook {
    /// Counts of its kernel.
    pub kernel: Kernel,
    /// The target as the guest's kernel counts it.
    pub disk: Option<Moved>,
    /// The target as its VMM counts it.
    pub vmm: Option<Moved>,
    /// Whether its VMM holds the target open past the host's page cache.
    pub direct: Option<bool>,
    /// Virtual CPUs that are not where they were put.
    pub unpinned: usize,
    /// Name of the clock that the guest's kernel reads.
    pub clock: Option<String>,
    /// Of the guest's own network.
    pub network: Counters,
}

impl Look {
    /// Before the job: the host last, so that the look at the guest is not in it.
    pub async fn before(instance: &mut Instance<'_>, setting: &Setting) -> Result<Look> {
        let guest = instance.running.look(&mut instance.agent, setting).await?;
        Ok(Look { host: look_at_host(instance, setting), guest })
    }

    /// After the job: the host first.
    pub async fn after(instance: &mut Instance<'_>, setting: &Setting) -> Result<Look> {
        let host = look_at_host(instance, setting);
        Ok(Look { host, guest: instance.running.look(&mut instance.agent, setting).await? })
    }

    /// What was counted in the guest's own network; nothing where there is no guest.
    pub fn guest_network(&self) -> Counters {
        self.guest.as_ref().map(|guest| guest.network).unwrap_or_default()
    }
}

/// The host, and the instance as it is seen from there.
pub fn look_at_host(instance: &Instance<'_>, setting: &Setting) -> Witness {
    let disk = setting.target.as_ref().and_then(|target| target.disk.as_ref());
    Witness::look_for(instance.running.helpers(), Some(&instance.ground.cgroup), disk)
}

impl GuestLook {
    /// From what the guest's files say, whatever that is.
    pub fn parse([stat, vmstat, disk, clock, dev, snmp]: [String; 6]) -> GuestLook {
        GuestLook {
            kernel: Kernel::parse(&stat, &vmstat),
            disk: Moved::parse(&disk),
            clock: Some(clock_source(&clock)).filter(|name| !name.is_empty()),
            network: Counters::parse(&dev, &snmp),
            ..GuestLook::default()
        }
    }
}

/// What happened between two looks, and how the bytes of the tool, reads and writes, compare with what each layer saw.
/// `idle_bytes_per_s`: what the disk moves without us.
pub fn facts(before: &Look, after: &Look, tool: Option<(u64, u64)>, idle_bytes_per_s: f64) -> Facts {
    let mut facts = after.host.facts_since(&before.host);
    let seconds = after.host.seconds_since(&before.host);
    let tool = tool.map(|(read_bytes, written_bytes)| Moved { read_bytes, written_bytes, requests: None });
    moved_facts(&mut facts, "fio", tool);
    let disk = since(after.host.disk, before.host.disk);
    moved_facts(&mut facts, "disk", disk);
    let group = after.host.group_since(&before.host);
    moved_facts(&mut facts, "cgroup", group);
    if let (Some(tool), Some(group)) = (tool, group) {
        put(&mut facts, "cgroup.io_missing_percent", missing_percent(tool, group));
        put(&mut facts, "cgroup.io_extra_percent", extra_percent(tool, group, tool.bytes()));
    }
    if let (Some(tool), Some(disk)) = (tool, disk) {
        let ours = tool.bytes().max(group.map_or(0, Moved::bytes));
        let idle = (idle_bytes_per_s.min(validity::IDLE_DISK_BYTES_PER_S) * seconds) as u64;
        put(&mut facts, "disk.missing_percent", missing_percent(tool, disk));
        put(&mut facts, "disk.extra_percent", extra_percent(tool, disk, ours.saturating_add(idle)));
    }
    if let (Some(before), Some(after)) = (&before.guest, &after.guest) {
        guest_facts(&mut facts, before, after, tool);
    }
    facts
}

fn guest_facts(facts: &mut Facts, before: &GuestLook, after: &GuestLook, tool: Option<Moved>) {
    facts.extend(after.kernel.facts_since(&before.kernel, "guest"));
    facts.insert("guest.unpinned_cpus".into(), json!(after.unpinned));
    for (name, moved) in [("guest", since(after.disk, before.disk)), ("vmm", since(after.vmm, before.vmm))] {
        moved_facts(facts, name, moved);
        if let (Some(tool), Some(moved)) = (tool, moved) {
            let (read, written) =
                (tool.read_bytes.abs_diff(moved.read_bytes), tool.written_bytes.abs_diff(moved.written_bytes));
            let off = read.saturating_add(written);
            facts.insert(format!("{name}.disk_off_bytes"), json!(off));
        }
    }
    if let (Some(was), Some(is)) = (&before.clock, &after.clock) {
        facts.insert("guest.clock_changed".into(), json!(u8::from(was != is)));
    }
    if let Some(direct) = after.direct {
        facts.insert("vmm.host_cached".into(), json!(u8::from(!direct)));
    }
}

fn since(now: Option<Moved>, before: Option<Moved>) -> Option<Moved> {
    Some(now?.since(before?))
}

fn put(facts: &mut Facts, name: &str, value: Option<f64>) {
    facts.extend(value.map(|value| (name.to_owned(), json!(value))));
}

fn moved_facts(facts: &mut Facts, whose: &str, moved: Option<Moved>) {
    let Some(moved) = moved else { return };
    facts.insert(format!("{whose}.read_bytes"), json!(moved.read_bytes));
    facts.insert(format!("{whose}.written_bytes"), json!(moved.written_bytes));
    if let Some(mean) = moved.requests.and_then(|requests| moved.bytes().checked_div(requests)) {
        facts.insert(format!("{whose}.request_bytes"), json!(mean));
    }
}

/// What of the tool's bytes was not seen, in percent, of the direction that lacks more; absent when it moved nothing.
fn missing_percent(tool: Moved, seen: Moved) -> Option<f64> {
    let directions = [(tool.read_bytes, seen.read_bytes), (tool.written_bytes, seen.written_bytes)];
    let moved = directions.into_iter().filter(|(tool, _)| *tool > 0);
    moved.map(|(tool, seen)| 100.0 * tool.saturating_sub(seen) as f64 / tool as f64).reduce(f64::max)
}

/// What was seen beyond these bytes, in percent of the tool's; absent when it moved nothing.
fn extra_percent(tool: Moved, seen: Moved, known_bytes: u64) -> Option<f64> {
    let extra = seen.bytes().saturating_sub(known_bytes);
    (tool.bytes() > 0).then(|| 100.0 * extra as f64 / tool.bytes() as f64)
}

/// How the clock inside went against the host's.
pub fn clock_facts(clocks: [ClockComparison; 2], elapsed_ns: u64) -> Facts {
    let [before, after] = clocks;
    let drift_ns = after.drift_ns(before);
    let uncertain_ns = (before.round_trip_ns + after.round_trip_ns) / 2;
    let certain_ns = drift_ns.unsigned_abs().saturating_sub(uncertain_ns);
    [
        ("clock.offset_ns", json!(after.offset_ns)),
        ("clock.round_trip_ns", json!(after.round_trip_ns)),
        ("clock.drift_ns", json!(drift_ns)),
        ("clock.off_percent", json!(100.0 * certain_ns as f64 / elapsed_ns.max(1) as f64)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Seconds that a warm-up may be off before it counts: it is short, nothing is computed from it, and its end waits for I/O.
pub const WARM_UP_GRAIN_S: f64 = 0.25;

/// How the time that the tool counted compares with the time asked for, beyond `grain_s`: `runtime` or `warmup`.
pub fn time_facts(name: &str, asked_s: f64, measured_s: Option<f64>, grain_s: f64) -> Facts {
    let Some(measured_s) = measured_s.filter(|_| asked_s > 0.0) else { return Facts::new() };
    let off = 100.0 * ((measured_s - asked_s).abs() - grain_s).max(0.0) / asked_s;
    [("asked_s", asked_s), ("measured_s", measured_s), ("off_percent", off)]
        .map(|(what, value)| (format!("{name}.{what}"), json!(value)))
        .into()
}

/// Look at the machine while nothing of ours works.
pub async fn baseline(setting: &Setting) -> Baseline {
    let disk = setting.target.as_ref().and_then(|target| target.disk.as_ref());
    let before = Witness::look(None, disk);
    tokio::time::sleep(BASELINE).await;
    let after = Witness::look(None, disk);
    let seconds = after.seconds_since(&before);
    let (other_cpu_percent, busiest) = after.other_cpu_since(&before);
    Baseline {
        seconds,
        other_cpu_percent,
        busiest,
        disk_bytes_per_s: since(after.disk, before.disk).map(|moved| moved.bytes() as f64 / seconds),
        steal_percent: after.steal_since(&before),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts as the kernel writes them, but for their numbers, and texts that are not.
    const GUESTS_TEXT: &str = "((cpu|cpu0|pswpin|pswpout|pgmajfault|oom_kill|eth0:|.{0,8})( [0-9]{1,20}){0,16}\n){0,4}\
        (Tcp: OutSegs RetransSegs\nTcp:( [0-9]{1,20}){0,3}\n)?";

    proptest! {
        #[test]
        fn whatever_a_guest_says_every_figure_is_a_number(
            before in proptest::array::uniform6(GUESTS_TEXT),
            after in proptest::array::uniform6(GUESTS_TEXT),
            tool in any::<(u64, u64)>(),
        ) {
            let [before, after] = [before, after].map(GuestLook::parse);
            let mut facts = after.network.facts_since(&before.network);
            guest_facts(&mut facts, &before, &after, Some(moved(tool.0, tool.1)));
            prop_assert!(facts.values().all(Value::is_number), "{facts:?}");
        }
    }

    fn moved(read_bytes: u64, written_bytes: u64) -> Moved {
        Moved { read_bytes, written_bytes, requests: None }
    }

    #[test]
    fn reads_that_never_came_are_missing_even_when_somebody_wrote_as_much() {
        assert_eq!(missing_percent(moved(1000, 0), moved(990, 10)), Some(1.0));
        assert_eq!(missing_percent(moved(1000, 500), moved(1000, 250)), Some(50.0));
        assert_eq!(missing_percent(moved(1000, 0), moved(2000, 7)), Some(0.0));
        assert_eq!(missing_percent(moved(0, 0), moved(5, 5)), None);
    }

    #[test]
    fn what_is_known_to_be_moved_is_not_extra() {
        assert_eq!(extra_percent(moved(1000, 0), moved(1000, 30), 1010), Some(2.0));
        assert_eq!(extra_percent(moved(1000, 0), moved(1000, 5), 1010), Some(0.0));
        assert_eq!(extra_percent(moved(0, 0), moved(5, 5), 0), None);
    }

    #[test]
    fn a_clock_is_off_only_beyond_what_round_trips_leave_uncertain() {
        let clock = |offset_ns, round_trip_ns| ClockComparison { offset_ns, round_trip_ns };
        let off = |facts: Facts| facts["clock.off_percent"].as_f64().unwrap();
        assert_eq!(off(clock_facts([clock(5, 1000), clock(905, 1000)], 1_000_000)), 0.0);
        assert_eq!(off(clock_facts([clock(0, 1000), clock(-11_000, 1000)], 1_000_000)), 1.0);
    }

    #[test]
    fn time_is_compared_with_what_was_asked() {
        assert_eq!(time_facts("runtime", 2.0, Some(2.5), 0.0)["runtime.off_percent"], 25.0);
        assert_eq!(time_facts("warmup", 0.5, Some(1.0), 0.25)["warmup.off_percent"], 50.0);
        assert_eq!(time_facts("warmup", 0.1, Some(0.3), 0.25)["warmup.off_percent"], 0.0);
        let nothing = [time_facts("warmup", 0.0, Some(0.1), 0.0), time_facts("runtime", 2.0, None, 0.0)];
        assert!(nothing.iter().all(Facts::is_empty));
    }
}
