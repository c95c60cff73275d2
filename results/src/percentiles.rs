//! Percentiles: which of them a number of I/Os bears, and their values; one rule for every place that shows one.
//!
//! A percentile is interpolated within its bin, and is refused unless [`STALLS`] stalls lie beyond it: one stall delays whatever is in
//! flight, so that the I/Os beyond a percentile come in groups.

use std::collections::BTreeMap;

use crate::histogram::Histogram;
use crate::metric::{self, Metric};
use crate::record::Trial;
use crate::sentence;
use crate::values::Values;

/// So many stalls must lie beyond a percentile.
pub const STALLS: u64 = 10;

/// Percentiles that are metrics: the end of their names, and the fraction.
pub const PERCENTILES: [(&str, f64); 3] = [("p50_ns", 0.5), ("p99_ns", 0.99), ("p999_ns", 0.999)];

/// Which latencies a bin holds, by who recorded it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bins {
    /// fio's: 64 in each power of two, named by their middle; one for each ns below 128 (fio's stat.c, `plat_idx_to_val`).
    Fio,
    /// Those of an HDR histogram of two significant digits: 128 in each power of two, named by the largest ns in them; one for each ns
    /// below 256.
    Probe,
}

impl Bins {
    /// From and to, in ns: `from <= latency < to`.
    fn edges(self, ns: u64) -> (f64, f64) {
        let per_octave_log2 = match self {
            Bins::Fio => 6,
            Bins::Probe => 7,
        };
        let width_log2 = ns.checked_ilog2().unwrap_or(0).saturating_sub(per_octave_log2);
        let (ns, width) = (ns as f64, 2_f64.powi(width_log2 as i32));
        match self {
            Bins::Fio if width_log2 > 0 => (ns - width / 2.0, ns + width / 2.0),
            Bins::Fio => (ns, ns + 1.0),
            Bins::Probe => (ns + 1.0 - width, ns + 1.0),
        }
    }
}

/// How latencies were recorded: all that a percentile depends on besides their histogram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recorded {
    bins: Bins,
    /// I/Os or requests in flight at most, of a closed loop.
    depth: u64,
    /// Requests per second, where they are due at a fixed rate.
    per_s: Option<f64>,
}

impl Recorded {
    /// Of a workload with these parameters (as records have them), in this direction (`read`, `write`, `round_trip`).
    pub fn of(parameters: &BTreeMap<String, String>, direction: &str) -> Recorded {
        let number = |name: &str| parameters.get(name).and_then(|text| text.parse::<u64>().ok()).unwrap_or(1).max(1);
        let per_s = parameters.get("per_s").and_then(|text| text.parse::<f64>().ok());
        Recorded {
            bins: if direction == "round_trip" { Bins::Probe } else { Bins::Fio },
            // A process waits for one sync at a time.
            depth: if direction == "sync" { number("jobs") } else { number("iodepth").saturating_mul(number("jobs")) },
            per_s: per_s.filter(|per_s| per_s.is_finite() && *per_s > 0.0),
        }
    }

    /// How many I/Os one stall delays at most. In a closed loop, those in flight; at a fixed rate, those that were due during the
    /// longest latency seen.
    pub fn in_flight(&self, histogram: &Histogram) -> u64 {
        let longest_s = histogram.bins().last().map_or(0.0, |&(ns, _)| ns as f64 / 1e9);
        let due = self.per_s.map_or(0.0, |per_s| (per_s * longest_s).ceil());
        self.depth.max(due as u64)
    }

    /// The I/Os that must lie beyond the percentile of the fraction `q`: those of [`STALLS`] stalls. At a fixed rate this grows with the
    /// longest stall only beyond the median, which no stall makes that takes less than half of the time: else blocks would lose their
    /// median for their value.
    pub(crate) fn least_beyond(&self, histogram: &Histogram, q: f64) -> u64 {
        let in_flight = if q > 0.5 { self.in_flight(histogram) } else { self.depth };
        in_flight.saturating_mul(STALLS)
    }

    /// The I/Os that the percentile of the fraction `q` needs.
    pub fn needs(&self, histogram: &Histogram, q: f64) -> u64 {
        (self.least_beyond(histogram, q) as f64 / (1.0 - q) * (1.0 - 1e-9)).ceil() as u64
    }

    /// The largest fraction whose percentile the I/Os bear; negative where there is none.
    fn borne(&self, histogram: &Histogram) -> f64 {
        let total = histogram.count() as f64;
        let median = if total >= self.needs(histogram, 0.5) as f64 { 0.5 } else { -1.0 };
        f64::max(1.0 - self.least_beyond(histogram, 1.0) as f64 / total, median)
    }

    /// The latency, in ns, that the fraction `q` of all I/Os does not exceed: where the q-th part of the counts is reached, interpolated
    /// within its bin. Refused (`None`) when fewer than [`Recorded::needs`] I/Os bear it, or when `q` is not within 0..1.
    pub fn percentile_ns(&self, histogram: &Histogram, q: f64) -> Option<f64> {
        let total = histogram.count();
        if !(0.0..1.0).contains(&q) || total == 0 || total < self.needs(histogram, q) {
            return None;
        }
        // A rank that is whole but for rounding is whole.
        let wanted = (q - 1e-9) * total as f64;
        let mut below = 0.0;
        self.edges(histogram).find_map(|([from, to], count)| {
            let before = below;
            below += count;
            (below >= wanted).then(|| from + ((wanted - before) / count).clamp(0.0, 1.0) * (to - from))
        })
    }

    /// The share of I/Os by latency: `(ns, share that took no longer)`, straight from point to point, as far as the I/Os bear it. Its
    /// percentiles are those of [`Recorded::percentile_ns`].
    pub fn cumulated(&self, histogram: &Histogram) -> Vec<(f64, f64)> {
        let total = histogram.count() as f64;
        let borne = self.borne(histogram);
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut below = 0.0;
        for ([from, to], count) in self.edges(histogram) {
            let (before, after) = (below / total, (below + count) / total);
            if before > borne {
                break;
            }
            if points.last().is_none_or(|&(reached, _)| reached < from) {
                points.push((from, before));
            }
            let share = ((borne - before) / (after - before)).min(1.0);
            points.push((from + share * (to - from), after.min(borne)));
            below += count;
        }
        points
    }

    /// From, to and count of each bin, ascending and without overlaps.
    fn edges<'a>(&self, histogram: &'a Histogram) -> impl Iterator<Item = ([f64; 2], f64)> + use<'a> {
        let (bins, all) = (self.bins, histogram.bins());
        let mut reached = 0.0;
        all.iter().enumerate().map(move |(at, &(ns, count))| {
            let (from, to) = bins.edges(ns);
            // Those of no such tool may overlap: what is shown must rise all the same.
            let from = f64::max(from, reached).min(ns as f64);
            let next = all.get(at + 1).map_or(f64::INFINITY, |&(next, _)| next as f64);
            reached = to.min(next).max(from);
            ([from, reached], count as f64)
        })
    }
}

/// The latencies of all valid trials of a workload in an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Distribution {
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// `read`, `write` or `round_trip`.
    pub direction: String,
    /// Merged by adding bins.
    pub histogram: Histogram,
    /// How they were recorded.
    pub recorded: Recorded,
}

impl Distribution {
    /// [`Recorded::percentile_ns`] of the merged histogram.
    pub fn percentile_ns(&self, q: f64) -> Option<f64> {
        self.recorded.percentile_ns(&self.histogram, q)
    }

    /// [`Recorded::cumulated`] of the merged histogram.
    pub fn cumulated(&self) -> Vec<(f64, f64)> {
        self.recorded.cumulated(&self.histogram)
    }
}

/// Those of one workload in one environment, out of all that [`distributions`](crate::latencies::distributions) gave.
pub fn distributions_of<'a>(all: &'a [Distribution], workload: &str, environment: &str) -> &'a [Distribution] {
    let order = |d: &Distribution| (&*d.workload, &*d.environment).cmp(&(workload, environment));
    &all[all.partition_point(|d| order(d).is_lt())..all.partition_point(|d| order(d).is_le())]
}

/// Direction and fraction of a metric that is a percentile.
pub(crate) fn direction_and_q(metric: &str) -> Option<(&str, f64)> {
    let (direction, rest) = metric.split_once("_latency_")?;
    PERCENTILES.iter().find(|(name, _)| *name == rest).map(|&(_, q)| (direction, q))
}

/// True when the metric is a percentile of latencies that the trial has a histogram of.
pub(crate) fn has_histogram(trial: &Trial, metric: &str) -> bool {
    direction_and_q(metric).is_some_and(|(direction, _)| trial.histograms.contains_key(direction))
}

/// A percentile of an environment comes from its merged histogram, never from averaging.
pub(crate) fn percentile<'a, I: Iterator<Item = &'a Distribution>>(metric: &str, of: impl Fn() -> I) -> Option<f64> {
    let (direction, q) = direction_and_q(metric)?;
    of().find(|distribution| distribution.direction == direction)?.percentile_ns(q)
}

/// A percentile that not every block bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// Blocks that do not bear it.
    pub(crate) blocks: usize,
    /// The fewest I/Os of one of them.
    pub(crate) fewest: u64,
    /// How many it would take there.
    pub(crate) needs: u64,
    /// In flight there.
    pub(crate) in_flight: u64,
    /// The block that it was: the earliest of those with as few.
    pub(crate) block: u32,
}

impl Values<'_> {
    /// Why a percentile of a workload is not judged, in words: one of these sides has blocks that do not bear it.
    pub(crate) fn why_refused(&self, workload: &str, sides: [&str; 2], metric: &str) -> Option<String> {
        let (side, refusal) = sides.iter().find_map(|side| Some((side, self.refused(workload, side, metric)?)))?;
        let Refusal { blocks, fewest, needs, in_flight, .. } = refusal;
        Some(format!(
            "too few I/Os: it takes {needs} in a block, {STALLS} stalls of up to {in_flight} in flight beyond it; of {side}, {blocks} \
             block{} had fewer, one of them {fewest}",
            sentence::plural(blocks)
        ))
    }
}

/// The percentiles of a direction that are metrics.
pub(crate) fn metrics(direction: &str) -> impl Iterator<Item = (&'static Metric, f64)> + use<'_> {
    PERCENTILES.iter().filter_map(move |&(name, q)| Some((metric::find(&format!("{direction}_latency_{name}"))?, q)))
}
