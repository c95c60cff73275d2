//! The one latency histogram: merged by adding bins, never by averaging percentiles.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts of I/Os by latency: `(latency in ns, count)`, ascending, every latency once, no count of zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Histogram {
    bins: Vec<(u64, u64)>,
}

impl Histogram {
    /// From bins in any order; equal latencies are added up.
    pub fn from_bins(bins: impl IntoIterator<Item = (u64, u64)>) -> Histogram {
        let mut bins: Vec<_> = bins.into_iter().filter(|&(_, count)| count > 0).collect();
        bins.sort_unstable_by_key(|&(latency_ns, _)| latency_ns);
        bins.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(later.1);
            }
            same
        });
        Histogram { bins }
    }

    /// The bins: `(latency in ns, count)`, ascending.
    pub fn bins(&self) -> &[(u64, u64)] {
        &self.bins
    }

    /// Number of I/Os.
    pub fn count(&self) -> u64 {
        self.bins.iter().fold(0, |sum: u64, &(_, count)| sum.saturating_add(count))
    }

    /// Add the counts of another histogram.
    pub fn merge(&mut self, other: &Histogram) {
        let bins = std::mem::take(&mut self.bins);
        *self = Histogram::from_bins(bins.into_iter().chain(other.bins.iter().copied()));
    }

    /// The smallest bin that at least the fraction `q` of all I/Os do not exceed (nearest rank), in ns.
    /// Refused (`None`) when fewer than 10 / (1 - q) I/Os bear it, or when `q` is not within 0..1.
    pub fn percentile_ns(&self, q: f64) -> Option<u64> {
        let total = self.count();
        if !(0.0..1.0).contains(&q) || (total as f64) * (1.0 - q) < 10.0 * (1.0 - 1e-9) {
            return None;
        }
        let rank = ((q * total as f64).ceil() as u64).max(1);
        let mut seen = 0_u64;
        self.bins.iter().find_map(|&(latency_ns, count)| {
            seen = seen.saturating_add(count);
            (seen >= rank).then_some(latency_ns)
        })
    }
}
