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
    /// Transactions or packets per second.
    PerS,
    /// Nanoseconds of CPU time per I/O.
    NsPerIo,
    /// Nanoseconds of CPU time per byte of payload.
    NsPerByte,
    /// Nanoseconds of CPU time per transaction or packet.
    NsPerUnit,
    /// Processor cycles per byte of payload: how the paper gives CPU cost.
    CyclesPerByte,
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

/// Every metric that a trial may have. Latencies are completion latencies (fio's `clat`), those of syncs, or round
/// trips. CPU of the machine is
/// that of all its CPUs, for workloads over the network both ends together.
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
    metric("trim_iops", "trims", Unit::Iops, Higher),
    metric("trim_latency_mean_ns", "mean trim latency", Unit::Ns, Lower),
    metric("trim_latency_p50_ns", "median trim latency", Unit::Ns, Lower),
    metric("trim_latency_p99_ns", "trim latency p99", Unit::Ns, Lower),
    metric("trim_latency_p999_ns", "trim latency p99.9", Unit::Ns, Lower),
    metric("trim_latency_max_ns", "largest trim latency", Unit::Ns, Lower),
    metric("sync_latency_mean_ns", "mean sync latency", Unit::Ns, Lower),
    metric("sync_latency_p50_ns", "median sync latency", Unit::Ns, Lower),
    metric("sync_latency_p99_ns", "sync latency p99", Unit::Ns, Lower),
    metric("sync_latency_p999_ns", "sync latency p99.9", Unit::Ns, Lower),
    metric("sync_latency_max_ns", "largest sync latency", Unit::Ns, Lower),
    metric("cpu_ns_per_io", "CPU per I/O (cgroup)", Unit::NsPerIo, Lower),
    metric("machine_cpu_ns_per_io", "machine CPU per I/O", Unit::NsPerIo, Lower),
    metric("transactions_per_s", "transactions", Unit::PerS, Higher),
    metric("packets_per_s", "packets received", Unit::PerS, Higher),
    metric("round_trip_latency_mean_ns", "mean round trip", Unit::Ns, Lower),
    metric("round_trip_latency_p50_ns", "median round trip", Unit::Ns, Lower),
    metric("round_trip_latency_p99_ns", "round trip p99", Unit::Ns, Lower),
    metric("round_trip_latency_p999_ns", "round trip p99.9", Unit::Ns, Lower),
    metric("round_trip_latency_max_ns", "largest round trip", Unit::Ns, Lower),
    metric("cpu_ns_per_byte", "CPU per byte (cgroup)", Unit::NsPerByte, Lower),
    metric("machine_cpu_ns_per_byte", "machine CPU per byte", Unit::NsPerByte, Lower),
    metric("cpu_ns_per_transaction", "CPU per transaction (cgroup)", Unit::NsPerUnit, Lower),
    metric("machine_cpu_ns_per_transaction", "machine CPU per transaction", Unit::NsPerUnit, Lower),
    metric("cpu_ns_per_packet", "CPU per packet (cgroup)", Unit::NsPerUnit, Lower),
    metric("machine_cpu_ns_per_packet", "machine CPU per packet", Unit::NsPerUnit, Lower),
    metric("memory_peak_bytes", "peak memory", Unit::Bytes, Lower),
    metric("wall_time_ns", "wall time", Unit::Ns, Lower),
    metric("cpu_time_ns", "CPU time", Unit::Ns, Lower),
    metric("start_to_ready_p50_ns", "median start to ready", Unit::Ns, Lower),
    metric("start_to_ready_p95_ns", "start to ready p95", Unit::Ns, Lower),
    metric("start_to_first_instruction_p50_ns", "median start to first instruction", Unit::Ns, Lower),
    metric("start_to_kernel_p50_ns", "median start to the guest's kernel", Unit::Ns, Lower),
    metric("end_to_gone_p50_ns", "median end to gone", Unit::Ns, Lower),
    metric("machine_cpu_ns_per_start", "machine CPU per start and end", Unit::Ns, Lower),
    metric("idle_memory_available_bytes", "memory of an idle instance (MemAvailable)", Unit::Bytes, Lower),
    metric("idle_memory_cgroup_bytes", "memory of an idle instance (cgroup)", Unit::Bytes, Lower),
    metric("idle_memory_pss_bytes", "memory of an idle instance (PSS)", Unit::Bytes, Lower),
];

/// The metric of this name.
pub fn find(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}
