//! The one latency histogram: merged by adding bins, never by averaging percentiles (see [`crate::percentiles`]).

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
}
