//! The metrics: one table of names, units and directions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Unit of a value, always a base unit in full precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// I/O operations per second.
    Iops,
    /// Bytes per second.
    BytesPerS,
    /// Nanoseconds.
    Ns,
    /// Nanoseconds of CPU time per I/O.
    NsPerIo,
    /// Bytes.
    Bytes,
}

/// Which values are better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// A larger value is better.
    Higher,
    /// A smaller value is better.
    Lower,
}

/// What is known of a metric by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Name in files: `iops`, `read_latency_p99_ns`.
    pub name: &'static str,
    /// Name for people.
    pub title: &'static str,
    /// Unit of its values.
    pub unit: Unit,
    /// Which values are better.
    pub better: Direction,
}

const fn metric(name: &'static str, title: &'static str, unit: Unit, better: Direction) -> Metric {
    Metric { name, title, unit, better }
}

use Direction::{Higher, Lower};

/// Every metric that a trial may have. Latencies are completion latencies (fio's `clat`).
pub const METRICS: &[Metric] = &[
    metric("iops", "IOPS", Unit::Iops, Higher),
    metric("read_iops", "read IOPS", Unit::Iops, Higher),
    metric("write_iops", "write IOPS", Unit::Iops, Higher),
    metric("bandwidth_bytes_per_s", "bandwidth", Unit::BytesPerS, Higher),
    metric("read_latency_mean_ns", "mean read latency", Unit::Ns, Lower),
    metric("read_latency_p50_ns", "median read latency", Unit::Ns, Lower),
    metric("read_latency_p99_ns", "read latency p99", Unit::Ns, Lower),
    metric("read_latency_p999_ns", "read latency p99.9", Unit::Ns, Lower),
    metric("read_latency_max_ns", "largest read latency", Unit::Ns, Lower),
    metric("write_latency_mean_ns", "mean write latency", Unit::Ns, Lower),
    metric("write_latency_p50_ns", "median write latency", Unit::Ns, Lower),
    metric("write_latency_p99_ns", "write latency p99", Unit::Ns, Lower),
    metric("write_latency_p999_ns", "write latency p99.9", Unit::Ns, Lower),
    metric("write_latency_max_ns", "largest write latency", Unit::Ns, Lower),
    metric("cpu_ns_per_io", "CPU per I/O (cgroup)", Unit::NsPerIo, Lower),
    metric("machine_cpu_ns_per_io", "CPU per I/O (whole machine)", Unit::NsPerIo, Lower),
    metric("memory_peak_bytes", "peak memory", Unit::Bytes, Lower),
    metric("wall_time_ns", "wall time", Unit::Ns, Lower),
    metric("cpu_time_ns", "CPU time", Unit::Ns, Lower),
];

/// The metric of this name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}
