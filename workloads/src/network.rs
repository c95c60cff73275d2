//! What workloads over the network have in common: where the two ends are, and how their jobs are set up.

use bench_agent::Job;
use serde::{Deserialize, Deserializer, de};

use crate::workload::tool_env;

/// What a workload may know of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Address of the peer.
    pub peer: String,
    /// Absolute path of iperf3, inside and at the peer alike.
    pub iperf3: String,
    /// Path of `bench`, which is the probe, inside.
    pub bench: String,
    /// Path of `bench` at the peer.
    pub peers_bench: String,
}

/// The other end of a trial, executed at the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// What to start.
    pub job: Job,
    /// The TCP port on which it listens when it is ready.
    pub port: u16,
}

/// A job of either end; with a deadline when it is known how long it should take.
pub(crate) fn network_job(argv: Vec<String>, seconds: Option<f64>) -> Job {
    let deadline_s = seconds.map_or(0.0, |seconds| 3.0 * seconds + 30.0);
    Job { argv, env: tool_env(), deadline_ns: (deadline_s * 1e9) as u64, ..Job::default() }
}

/// Ports that need no privilege, and leave room for the client's above them.
pub(crate) fn port<'de, D: Deserializer<'de>>(from: D) -> Result<u16, D::Error> {
    let port = u16::try_from(u32::deserialize(from)?).ok().filter(|port| (1024..=50_000).contains(port));
    port.ok_or_else(|| de::Error::custom("port must be 1024 to 50000"))
}
