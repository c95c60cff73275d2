//! The one latency histogram: merged by adding bins, never by averaging percentiles (see [`crate::percentiles`]).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Counts of I/Os by latency: `(latency in ns, count)`, ascending, every latency once, no count of zero.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Histogram {
    #[serde(deserialize_with = "as_long_as_it_is")]
    bins: Vec<(u64, u64)>,
}

/// A run may have hundreds of thousands of them: none keeps room for more.
fn as_long_as_it_is<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<(u64, u64)>, D::Error> {
    let mut bins = Vec::deserialize(from)?;
    bins.shrink_to_fit();
    Ok(bins)
}

impl Histogram {
    /// From bins in any order; equal latencies are added up.
    pub fn from_bins(bins: impl IntoIterator<Item = (u64, u64)>) -> Histogram {
        let mut bins: Vec<_> = bins.into_iter().filter(|&(_, count)| count > 0).collect();
        add_up(&mut bins);
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

/// Sort by latency, and add up what is equal.
fn add_up(bins: &mut Vec<(u64, u64)>) {
    bins.sort_unstable_by_key(|&(latency_ns, _)| latency_ns);
    bins.dedup_by(|later, kept| {
        let same = later.0 == kept.0;
        if same {
            kept.1 = kept.1.saturating_add(later.1);
        }
        same
    });
}

/// The sum of any number of histograms, in memory for about one of them.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    bins: Vec<(u64, u64)>,
    /// How many different latencies there were when they were last added up.
    different: usize,
}

impl Sum {
    /// Fewer bins than this are not worth adding up.
    const LEAST: usize = 1 << 14;

    /// Add the counts of one.
    pub fn add(&mut self, histogram: &Histogram) {
        self.bins.extend_from_slice(histogram.bins());
        if self.bins.len() > Sum::LEAST.max(2 * self.different) {
            add_up(&mut self.bins);
            self.different = self.bins.len();
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        self.bins.capacity() * size_of::<(u64, u64)>()
    }

    /// All of them as one.
    pub fn histogram(self) -> Histogram {
        Histogram::from_bins(self.bins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_that_of_all_bins_and_keeps_few_of_them() {
        // More different latencies than are left alone, and each of them again and again.
        let all: Vec<Histogram> = (0..400_u64)
            .map(|number| Histogram::from_bins((0..500).map(|bin| (bin * 100 + number % 50, number + bin))))
            .collect();
        let mut sum = Sum::default();
        let mut most = 0;
        for histogram in &all {
            sum.add(histogram);
            most = most.max(sum.bins.capacity());
        }
        assert!(most < 4 * 25_000, "of 200,000 bins {most} were kept, and 25,000 latencies are different");
        let bins = all.iter().flat_map(|histogram| histogram.bins().iter().copied());
        assert_eq!(sum.histogram(), Histogram::from_bins(bins));
        assert_eq!(Sum::default().histogram(), Histogram::default());
    }
}
