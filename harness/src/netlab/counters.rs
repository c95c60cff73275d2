//! What the kernel counts in a lab: proof of the path, and of what was lost on it.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Lab, Route, iptables, nft};
use crate::host::packages;

/// Counts since the lab was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets dropped by devices of the host's, the container's or guest's, and the peer's namespace.
    pub dropped: u64,
    /// Packets that these devices moved.
    pub packets: u64,
    /// TCP segments sent again in the same namespaces.
    pub retransmitted: u64,
    /// TCP segments that they sent.
    pub segments: u64,
    /// Packets that the lab's nftables rule saw.
    pub rule_packets: Option<u64>,
    /// Connections being tracked.
    pub tracked: Option<u64>,
}

pub(super) fn read(lab: &Lab) -> Result<Counters> {
    let (mut counters, rule_packets, tracked) = lab.in_host(|| {
        let rule_packets = lab.route.program().map(|name| rule_packets(lab.route, name)).transpose()?;
        let tracked = crate::host::read("/proc/sys/net/netfilter/nf_conntrack_count");
        Ok((here()?, rule_packets, tracked.and_then(|text| text.parse().ok())))
    })?;
    counters.add(&lab.in_peer(here)?);
    if let Some(inside) = &lab.inside {
        counters.add(&super::in_namespace(inside, here)?);
    }
    Ok(Counters { rule_packets, tracked, ..counters })
}

/// Devices and TCP of this thread's namespace.
fn here() -> Result<Counters> {
    let text = |name: &str| {
        let file = format!("/proc/thread-self/net/{name}");
        std::fs::read_to_string(&file).with_context(|| format!("reading {file}"))
    };
    Ok(Counters::parse(&text("dev")?, &text("snmp")?))
}

/// A column of both directions in `/proc/net/dev`, summed over devices.
fn column_pairs(dev: &str, columns: [usize; 2]) -> u64 {
    let of_line = |line: &str| {
        let values: Vec<u64> = line.split_once(':')?.1.split_whitespace().map(|v| v.parse().unwrap_or(0)).collect();
        Some(values.get(columns[0])?.saturating_add(*values.get(columns[1])?))
    };
    dev.lines().filter_map(of_line).fold(0, u64::saturating_add)
}

/// A count of the two `Tcp:` lines of `/proc/net/snmp`, by its name.
fn tcp(snmp: &str, wanted: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|name| name == wanted)?;
    values.split_whitespace().nth(at)?.parse().ok()
}

fn rule_packets(route: Route, program: &str) -> Result<u64> {
    let program = packages::require(program)?;
    if route == Route::Engine {
        return iptables::masqueraded(&program);
    }
    nft::packets(&nft::nft(&program, &["list", "table", "ip", "bench"], "")?)
}

impl Counters {
    /// From `/proc/net/dev` and `/proc/net/snmp` of a namespace; what they do not say is 0.
    pub fn parse(dev: &str, snmp: &str) -> Counters {
        Counters {
            dropped: column_pairs(dev, [3, 11]),
            packets: column_pairs(dev, [1, 9]),
            retransmitted: tcp(snmp, "RetransSegs").unwrap_or(0),
            segments: tcp(snmp, "OutSegs").unwrap_or(0),
            ..Counters::default()
        }
    }

    /// Those of another namespace, too.
    pub fn add(&mut self, other: &Counters) {
        self.dropped = self.dropped.saturating_add(other.dropped);
        self.packets = self.packets.saturating_add(other.packets);
        self.retransmitted = self.retransmitted.saturating_add(other.retransmitted);
        self.segments = self.segments.saturating_add(other.segments);
    }

    /// What was added since `before`, as facts of a trial.
    pub fn facts_since(&self, before: &Counters) -> BTreeMap<String, Value> {
        let mut facts = BTreeMap::from([
            ("net.dropped_packets".to_owned(), json!(self.dropped.saturating_sub(before.dropped))),
            ("net.retransmitted_segments".to_owned(), json!(self.retransmitted.saturating_sub(before.retransmitted))),
        ]);
        for (name, count, all) in [
            ("dropped", self.dropped.saturating_sub(before.dropped), self.packets.saturating_sub(before.packets)),
            (
                "retransmitted",
                self.retransmitted.saturating_sub(before.retransmitted),
                self.segments.saturating_sub(before.segments),
            ),
        ] {
            let of_a_million = 1e6 * count as f64 / all.max(1) as f64;
            facts.insert(format!("net.{name}_per_million"), json!(of_a_million));
        }
        if let Some(seen) = self.rules_since(before) {
            facts.insert("net.rule_packets".to_owned(), json!(seen));
        }
        if let Some(tracked) = self.tracked {
            facts.insert("net.tracked_connections".to_owned(), json!(tracked));
        }
        facts
    }

    /// Packets that the lab's rule saw since `before`; absent without a rule.
    pub fn rules_since(&self, before: &Counters) -> Option<u64> {
        Some(self.rule_packets?.saturating_sub(before.rule_packets.unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_both_directions_count() {
        let text = "Inter-|   Receive                |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes\n\
            eth0: 10 1 0 3 0 0 0 0 20 2 0 4 0 0 0 0\n  lo: 1 1 0 0 0 0 0 0 1 1 0 1 0 0 0 0\n";
        assert_eq!((column_pairs(text, [3, 11]), column_pairs(text, [1, 9])), (8, 5));
    }

    #[test]
    fn segments_sent_again_are_found_by_name() {
        let text =
            "Ip: Forwarding\nIp: 1\nTcp: RtoAlgorithm OutSegs RetransSegs InErrs\nTcp: 1 100 7 0\nUdp: A\nUdp: 1\n";
        assert_eq!((tcp(text, "RetransSegs"), tcp(text, "OutSegs")), (Some(7), Some(100)));
        assert_eq!(tcp("Ip: x", "OutSegs"), None);
    }
}
