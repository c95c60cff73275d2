//! What a sample without two modes looks like, by simulation.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use super::separation;

/// Largest sample that is simulated: the time for one grows with it.
const MOST_FOR_NULL: usize = 200;
/// Samples without modes behind a p of modes.
const SAMPLES: usize = 10_000;

/// The separation of samples without modes, by their size. They are uniform: of all shapes without two humps the flattest, and
/// what a steady drift looks like.
#[derive(Default)]
pub(super) struct Null(BTreeMap<usize, Vec<f64>>);

impl Null {
    /// Of a sample of `n` with the separation `seen`.
    pub(super) fn p(&mut self, n: usize, seen: f64) -> f64 {
        // Larger samples scatter less, so that for them this p is rather too large.
        let n = n.min(MOST_FOR_NULL);
        let null = self.0.entry(n).or_insert_with(|| {
            let mut rng = ChaCha12Rng::seed_from_u64(n as u64);
            let mut sample = vec![0.0; n];
            let mut all: Vec<f64> = (0..SAMPLES)
                .filter_map(|_| {
                    sample.fill_with(|| rng.random::<f64>());
                    sample.sort_by(f64::total_cmp);
                    separation(&sample).map(|(separation, _)| separation)
                })
                .collect();
            all.sort_by(f64::total_cmp);
            all
        });
        let as_extreme = null.len() - null.partition_point(|&separation| separation < seen);
        (as_extreme + 1) as f64 / (null.len() + 1) as f64
    }
}
