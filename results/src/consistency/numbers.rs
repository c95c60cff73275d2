//! Checks of one trial: what was measured against what was counted. All of them leave room for how tools round, and none for a
//! difference that a margin would see.

use serde_json::Value;

use super::{Check, OfTrial};
use crate::Histogram;
use crate::percentiles::PERCENTILES;
use crate::record::{Run, Trial, Workload};

/// How far rates may be from what their counts give: fio computes both from the same milliseconds.
const RATE: f64 = 0.01;
/// Bytes per second that a bandwidth may be off besides: earlier versions of fio tell it in KiB/s.
const KIB: f64 = 1024.0;
/// How far a mean or a largest latency may be from the histogram's: a bin of fio is 1/64 of its value wide.
const BIN: f64 = 0.05;
/// How far more than the asked depth may be in flight on average.
const DEPTH: f64 = 0.05;
/// How much longer the parts may take than the whole, which is on the host's clock.
const CLOCKS: f64 = 0.05;

/// All of them.
pub(super) const CHECKS: &[Check<OfTrial>] = &[
    Check { what: "`iops` that `fio.ios` and `fio.runtime_s` deny", find: iops },
    Check { what: "`iops` that is not the sum of `read_iops`, `write_iops` and `trim_iops`", find: directions },
    Check { what: "a bandwidth that `fio.bytes` and `fio.runtime_s` deny", find: bandwidth },
    Check { what: "a bandwidth that is not `iops` × the block size", find: block_size },
    Check { what: "`fio.bytes` that is not `fio.ios` × the block size, or more than all jobs moved", find: bytes },
    Check { what: "a histogram with another number of entries than I/Os or round trips were counted", find: entries },
    Check { what: "transactions per second that the round trips in the measured time deny", find: transactions },
    Check { what: "a latency that its histogram denies, or percentiles that are not in order", find: latencies },
    Check {
        what: "`iops` × mean latency that is more than the I/Os that may be in flight (Little's law)",
        find: in_flight,
    },
    Check {
        what: "a measured time, with its warm-up, or a wall time that is longer than the whole trial",
        find: times,
    },
];

/// Directions of latencies.
const DIRECTIONS: [&str; 5] = ["read", "write", "trim", "sync", "round_trip"];

fn fact(trial: &Trial, name: &str) -> Option<f64> {
    trial.facts.get(name).and_then(Value::as_f64)
}

/// A positive value of a metric: others have no ratio, and their rows say so.
fn value(trial: &Trial, metric: &str) -> Option<f64> {
    trial.value(metric).filter(|value| *value > 0.0)
}

fn workload<'a>(run: &'a Run, trial: &Trial) -> Option<&'a Workload> {
    run.plan.workloads.iter().find(|workload| workload.name == trial.planned.workload)
}

fn number(workload: &Workload, parameter: &str) -> Option<f64> {
    workload.parameters.get(parameter)?.parse().ok().filter(|value: &f64| *value > 0.0)
}

fn is_near(found: f64, expected: f64, share: f64, besides: f64) -> bool {
    (found - expected).abs() <= share * found.abs().max(expected.abs()) + besides
}

/// That a rate is not a count in a time. One more or less is how counts round.
fn rate(trial: &Trial, metric: &str, count: &str, besides: f64) -> Option<String> {
    let (rate, count_, seconds) = (value(trial, metric)?, fact(trial, count)?, fact(trial, "fio.runtime_s")?);
    let denied = seconds <= 0.0 || !is_near(rate, count_ / seconds, RATE, besides + 2.0 / seconds);
    denied.then(|| format!("{metric} is {rate:.1}, and {count} {count_} in {seconds} s are {:.1}", count_ / seconds))
}

fn iops(_: &Run, trial: &Trial) -> Option<String> {
    rate(trial, "iops", "fio.ios", 0.0)
}

fn bandwidth(_: &Run, trial: &Trial) -> Option<String> {
    rate(trial, "bandwidth_bytes_per_s", "fio.bytes", KIB)
}

fn directions(_: &Run, trial: &Trial) -> Option<String> {
    let all = value(trial, "iops")?;
    let apart = ["read_iops", "write_iops", "trim_iops"].map(|name| Some((name, value(trial, name)?)));
    let apart: Vec<_> = apart.into_iter().flatten().collect();
    let sum: f64 = apart.iter().map(|(_, iops)| iops).sum();
    (apart.len() > 1 && !is_near(all, sum, RATE, 1.0)).then(|| {
        let said: Vec<_> = apart.iter().map(|(name, iops)| format!("{name} {iops:.1}")).collect();
        format!("iops is {all:.1}, and {} are {sum:.1}", said.join(" and "))
    })
}

fn block_size(run: &Run, trial: &Trial) -> Option<String> {
    let (iops, moved) = (value(trial, "iops")?, value(trial, "bandwidth_bytes_per_s")?);
    let block = number(workload(run, trial)?, "block_size_bytes")?;
    (!is_near(moved, iops * block, RATE, KIB.max(block))).then(|| {
        format!("bandwidth_bytes_per_s is {moved:.1}, and iops {iops:.1} of {block} bytes are {:.1}", iops * block)
    })
}

fn bytes(run: &Run, trial: &Trial) -> Option<String> {
    let bytes = fact(trial, "fio.bytes")?;
    if let (Some(ios), Some(block)) = (fact(trial, "fio.ios"), number(workload(run, trial)?, "block_size_bytes"))
        && !is_near(bytes, ios * block, RATE, block)
    {
        return Some(format!("fio.bytes is {bytes}, and fio.ios {ios} of {block} bytes are {}", ios * block));
    }
    let all = fact(trial, "fio.read_bytes")? + fact(trial, "fio.written_bytes")?;
    (bytes > all).then(|| format!("fio.bytes is {bytes}, and all jobs of the trial together moved {all}"))
}

fn entries(_: &Run, trial: &Trial) -> Option<String> {
    if trial.histograms.is_empty() {
        return None;
    }
    let found = trial.histograms.values().fold(0, |sum: u64, one| sum.saturating_add(one.count())) as f64;
    let missing = fact(trial, "histogram.missing").unwrap_or(0.0);
    let expected = fact(trial, "histogram.expected").filter(|expected| !is_near(found + missing, *expected, RATE, 2.0));
    let denied = expected.map(|expected| ("histogram.expected", expected));
    // fio can tell of one direction's I/Os only how many there were, and counts no syncs.
    let syncs = trial.histograms.get("sync").map_or(0, |one| one.count()) as f64;
    let ios = fact(trial, "fio.ios")
        .map(|ios| ios + syncs)
        .filter(|ios| found > ios * (1.0 + RATE) + 2.0)
        .map(|ios| ("fio.ios", ios));
    let (name, count) = denied.or(ios)?;
    Some(format!("its histograms hold {found} entries, and {name} is {count}"))
}

fn transactions(_: &Run, trial: &Trial) -> Option<String> {
    let (rate, seconds) = (value(trial, "transactions_per_s")?, fact(trial, "runtime.measured_s")?);
    let count = fact(trial, "histogram.expected")?;
    let denied = seconds <= 0.0 || !is_near(rate, count / seconds, RATE, 2.0 / seconds);
    denied.then(|| {
        format!("transactions_per_s is {rate:.1}, and {count} round trips in {seconds} s are {:.1}", count / seconds)
    })
}

fn latencies(_: &Run, trial: &Trial) -> Option<String> {
    DIRECTIONS.into_iter().find_map(|direction| {
        let named = |end: &str| {
            let metric = format!("{direction}_latency_{end}");
            let found = value(trial, &metric)?;
            Some((metric, found))
        };
        let ascending: Vec<_> =
            PERCENTILES.map(|(end, _)| end).into_iter().chain(["max_ns"]).filter_map(named).collect();
        if let Some([low, high]) = ascending.windows(2).find(|pair| pair[0].1 > pair[1].1 * (1.0 + BIN)) {
            return Some(format!("{} is {}, and {} is {}", low.0, low.1, high.0, high.1));
        }
        let histogram = trial.histograms.get(direction)?;
        let denied = |(metric, found): (String, f64), (low, high): (f64, f64)| {
            let reach = (low * (1.0 - BIN) - 1.0, high * (1.0 + BIN) + 1.0);
            let is_denied = found < reach.0 || found > reach.1;
            is_denied.then(|| format!("{metric} is {found:.0}, and its histogram says {low:.0} to {high:.0}"))
        };
        let of_percentiles = PERCENTILES.into_iter().find_map(|(end, q)| denied(named(end)?, around(histogram, q)?));
        // What the tool computed from every I/O belongs to a histogram of every I/O, of which the record says that it is.
        let is_whole = trial.facts.contains_key("histogram.expected") && fact(trial, "histogram.missing") == Some(0.0);
        of_percentiles.or_else(|| {
            let histogram = Some(histogram).filter(|_| is_whole)?;
            let mean = mean(histogram)?;
            let max = histogram.bins().last()?.0 as f64;
            denied(named("mean_ns")?, (mean, mean)).or_else(|| denied(named("max_ns")?, (max, max)))
        })
    })
}

/// The bins before and after the one in which a percentile is, however it is interpolated between them.
fn around(histogram: &Histogram, q: f64) -> Option<(f64, f64)> {
    let (bins, rank) = (histogram.bins(), q * histogram.count() as f64);
    let mut seen = 0.0;
    let at = bins.iter().position(|&(_, count)| {
        seen += count as f64;
        seen >= rank
    })?;
    let (before, after) = (at.saturating_sub(1), (at + 1).min(bins.len() - 1));
    Some((bins[before].0 as f64, bins[after].0 as f64))
}

fn mean(histogram: &Histogram) -> Option<f64> {
    let sum: f64 = histogram.bins().iter().map(|&(ns, count)| ns as f64 * count as f64).sum();
    let count: f64 = histogram.bins().iter().map(|&(_, count)| count as f64).sum();
    (count > 0.0).then(|| sum / count)
}

fn in_flight(run: &Run, trial: &Trial) -> Option<String> {
    // Whether fio added up several sections in a group is not in its output.
    if run.imported.is_some() {
        return None;
    }
    let workload = workload(run, trial)?;
    let most = number(workload, "iodepth")? * number(workload, "jobs")?;
    let iops = value(trial, "iops")?;
    let of = |direction: &str| {
        let mean = value(trial, &format!("{direction}_latency_mean_ns"))?;
        Some(value(trial, &format!("{direction}_iops")).unwrap_or(iops) * mean / 1e9)
    };
    let found: f64 = ["read", "write", "trim"].into_iter().filter_map(of).sum();
    (found > most * (1.0 + DEPTH))
        .then(|| format!("iops {iops:.1} × mean latency are {found:.1} I/Os in flight, and at most {most} can be"))
}

fn times(_: &Run, trial: &Trial) -> Option<String> {
    let elapsed_s = trial.elapsed_ns as f64 / 1e9;
    let warm_up = fact(trial, "warmup.measured_s").unwrap_or(0.0);
    let part = |name: &'static str| fact(trial, name).map(|seconds| (name, seconds + warm_up));
    let wall = value(trial, "wall_time_ns").map(|ns| ("wall_time_ns", ns / 1e9));
    let inside = fact(trial, "job.elapsed_inside_ns").map(|ns| ("job.elapsed_inside_ns", ns / 1e9));
    let parts = [part("runtime.measured_s"), part("fio.runtime_s"), wall, inside];
    let (name, seconds) = parts.into_iter().flatten().find(|(_, s)| *s > elapsed_s * (1.0 + CLOCKS) + 0.1)?;
    Some(format!("{name}, with the warm-up before it, are {seconds:.3} s, and the whole trial took {elapsed_s:.3} s"))
}
