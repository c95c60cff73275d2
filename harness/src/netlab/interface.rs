//! What a network device is set to: for the sameness of environments.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::link::LinkAttribute;
use serde::{Deserialize, Serialize};

/// A device's settings that change what a packet costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Queueing discipline.
    pub qdisc: String,
    /// Offload to whether it is on.
    pub offloads: BTreeMap<String, bool>,
}

/// Ask about a device of this thread's namespace.
pub fn describe(name: &str) -> Result<Interface> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the runtime")?;
    let (mtu, qdisc) = runtime.block_on(async {
        let (connection, netlink, _) = rtnetlink::new_connection().context("opening a netlink socket")?;
        tokio::spawn(connection);
        let found = netlink.link().get().match_name(name).execute().try_next().await;
        let link = found.ok().flatten().with_context(|| format!("there is no network device `{name}` here"))?;
        let (mut mtu, mut qdisc) = (0, String::new());
        for attribute in link.attributes {
            match attribute {
                LinkAttribute::Mtu(bytes) => mtu = bytes,
                LinkAttribute::Qdisc(name) => qdisc = name,
                _ => {}
            }
        }
        Ok::<_, anyhow::Error>((mtu, qdisc))
    })?;
    let offloads = bench_container::offloads(name).with_context(|| format!("asking for the offloads of {name}"))?;
    Ok(Interface { mtu, qdisc, offloads: offloads.into_iter().map(|(name, on)| (name.to_owned(), on)).collect() })
}

/// The devices of this thread's namespace.
pub fn names() -> Result<Vec<String>> {
    let file = "/proc/thread-self/net/dev";
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    Ok(text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect())
}

impl std::fmt::Display for Interface {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MTU {}, {}, {}", self.mtu, self.qdisc, self.offloads_on())
    }
}

impl Interface {
    /// The offloads that are on, for people.
    pub fn offloads_on(&self) -> String {
        let on: Vec<_> = self.offloads.iter().filter(|(_, on)| **on).map(|(name, _)| name.as_str()).collect();
        if on.is_empty() { "none".to_owned() } else { on.join(", ") }
    }

    /// What differs from another environment's device and is no part of any design.
    pub fn differences(&self, other: &Interface) -> Vec<String> {
        // Receive offloads mean other things to a pair of virtual devices and to a card, and a queue is a device's own.
        const ALIKE: [&str; 4] = ["tx-checksum", "scatter-gather", "tso", "gso"];
        let mut found = Vec::new();
        if self.mtu != other.mtu {
            found.push(format!("its MTU is {} bytes, not {}", self.mtu, other.mtu));
        }
        for name in ALIKE {
            if self.offloads.get(name) != other.offloads.get(name) {
                let on = |interface: &Interface| match interface.offloads.get(name) {
                    Some(true) => "on",
                    _ => "off",
                };
                found.push(format!("its offload {name} is {}, not {}", on(self), on(other)));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_described_and_compared() {
        let lo = describe("lo").unwrap();
        assert_eq!((lo.mtu, lo.qdisc.as_str()), (65_536, "noqueue"));
        assert_eq!(lo.differences(&lo), Vec::<String>::new());
        let mut other = lo.clone();
        other.mtu = 1500;
        other.offloads.insert("tso".into(), false);
        other.offloads.insert("gro".into(), false);
        assert_eq!(lo.differences(&other), ["its MTU is 65536 bytes, not 1500", "its offload tso is on, not off"]);
        assert!(describe("nonsense0").unwrap_err().to_string().contains("nonsense0"));
    }
}
