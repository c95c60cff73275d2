//! Several jobs as one, as `group_reporting` adds them up.

use bench_results::Histogram;
use fio_rs::{JobOutput, Latency, Traffic};

/// Jobs as `group_reporting` adds them up (stat.c, `sum_thread_stats`): sums over the longest time.
pub(super) fn added_up<'a>(jobs: &(impl Iterator<Item = &'a JobOutput> + Clone)) -> JobOutput {
    let part = |of: fn(&JobOutput) -> &Traffic| added_traffic(&jobs.clone().map(of).collect::<Vec<_>>());
    let (read, write, mixed) = (part(|job| &job.read), part(|job| &job.write), part(|job| &job.mixed));
    JobOutput { read, write, mixed, ..JobOutput::default() }
}

fn added_traffic(parts: &[&Traffic]) -> Traffic {
    let parts: Vec<&Traffic> = parts.iter().copied().filter(|part| part.total_ios > 0).collect();
    let sum = |of: fn(&Traffic) -> u64| parts.iter().map(|part| of(part)).fold(0, u64::saturating_add);
    let (total_ios, io_bytes) = (sum(|part| part.total_ios), sum(|part| part.io_bytes));
    let runtime_ms = parts.iter().map(|part| part.runtime_ms).max().unwrap_or(0);
    let per_s = |count: u64| if runtime_ms > 0 { 1e3 * count as f64 / runtime_ms as f64 } else { 0.0 };
    Traffic {
        told: true,
        unread: Vec::new(),
        io_bytes,
        bw_bytes: per_s(io_bytes),
        iops: per_s(total_ios),
        runtime_ms,
        total_ios,
        short_ios: sum(|part| part.short_ios),
        clat_ns: added_latency(&parts, total_ios),
    }
}

/// Of parts that did anything. Where one lacks something, the whole does.
fn added_latency(parts: &[&Traffic], total_ios: u64) -> Latency {
    if parts.iter().any(|part| part.clat_ns.mean <= 0.0) {
        return Latency::default();
    }
    let weighted = parts.iter().map(|part| part.clat_ns.mean * part.total_ios as f64).sum::<f64>();
    let bins = match parts.iter().all(|part| !part.clat_ns.bins.is_empty()) {
        true => Histogram::from_bins(parts.iter().flat_map(|part| part.clat_ns.bins.iter().copied())).bins().to_vec(),
        false => Vec::new(),
    };
    Latency {
        max: parts.iter().map(|part| part.clat_ns.max).max().unwrap_or(0),
        mean: if total_ios > 0 { weighted / total_ios as f64 } else { 0.0 },
        n: total_ios,
        bins,
        ..Latency::default()
    }
}
