//! Simulated runs: blocks drawn from what real blocks scattered by, with a truth that is known, judged by the very code that
//! judges a real run.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF};

use crate::metric::Direction;
use crate::order;
use crate::statistics::{self, Interval, TAIL};
use crate::verdict::{Verdict, judge};

/// Runs that are simulated for each figure: a rate of 1 % is then known to ±0.2 %, one of 95 % to ±0.4 %.
pub const RUNS: u32 = 10_000;
/// Fewer blocks are no sample of how blocks scatter: from five, the standard deviation is known to a factor of 0.6 to 2.9.
pub const LEAST_RESIDUALS: usize = 5;
/// Of every simulation: the same record gives the same figures.
const SEED: u64 = 20_141_021;

/// How the log-ratios of blocks scatter about their mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Noise {
    /// Residuals of the logarithms, with the variance (their degrees of freedom) of the sample they came from.
    residuals: Vec<f64>,
    /// Standard deviation of the log-ratios.
    pub sd_log: f64,
    /// Degrees of freedom that it is known with.
    freedom: usize,
}

/// How often each verdict is given, as fractions of all simulated runs.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, JsonSchema)]
pub struct Rates {
    /// Beyond the margin, on the good side.
    pub better: f64,
    /// Beyond the margin, on the bad side.
    pub worse: f64,
    /// Within the margin.
    pub equivalent: f64,
    /// Neither.
    pub inconclusive: f64,
}

impl Rates {
    /// How often this verdict is given.
    pub fn of(&self, verdict: Verdict) -> f64 {
        match verdict {
            Verdict::Better => self.better,
            Verdict::Worse => self.worse,
            Verdict::Equivalent => self.equivalent,
            Verdict::Inconclusive => self.inconclusive,
        }
    }
}

/// What a simulated run is judged by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Blocks of each run.
    pub blocks: u32,
    /// The margin.
    pub margin: f64,
    /// Which values of the metric are better.
    pub better: Direction,
}

impl Noise {
    /// Of the ratios of real blocks; absent for fewer than [`LEAST_RESIDUALS`], or where one is no positive number.
    pub fn of(ratios: &[f64]) -> Option<Noise> {
        Noise::with_freedom(ratios, ratios.len().checked_sub(1)?)
    }

    /// The same of ratios out of which something was fitted that left so many degrees of freedom: a mean and the order in the block
    /// leave two fewer than there are blocks ([`crate::order::Places::without_order`]).
    pub fn with_freedom(ratios: &[f64], freedom: usize) -> Option<Noise> {
        let mean = statistics::geometric_mean(ratios).filter(|_| ratios.len() >= LEAST_RESIDUALS && freedom > 0)?.ln();
        let about: Vec<f64> = statistics::logs(ratios)?.into_iter().map(|log| log - mean).collect();
        let sd_log = (about.iter().map(|residual| residual.powi(2)).sum::<f64>() / freedom as f64).sqrt();
        // Residuals about what was fitted to them are too small by this factor.
        let widened = (ratios.len() as f64 / freedom as f64).sqrt();
        let residuals = about.into_iter().map(|residual| residual * widened).collect();
        Some(Noise { residuals, sd_log, freedom })
    }

    /// Residuals of the logarithms, to draw from.
    pub fn residuals(&self) -> &[f64] {
        &self.residuals
    }

    /// The 95 % interval of the standard deviation, were the log-ratios normal.
    pub fn sd_interval(&self) -> Option<Interval> {
        let freedom = self.freedom as f64;
        let chi = ChiSquared::new(freedom).ok()?;
        let end = |tail: f64| self.sd_log * (freedom / chi.inverse_cdf(tail)).sqrt();
        Some(Interval { low: end(1.0 - TAIL), high: end(TAIL) })
    }

    /// How runs end whose true ratio is `truth`: each block is `truth` times a residual, drawn with replacement. The environment comes
    /// before and after the other by turns, which tells nothing here, and costs what it costs a real run to model it.
    pub fn rates(&self, truth: f64, judged: Judged, runs: u32) -> Rates {
        let pool: Vec<f64> = self.residuals.iter().map(|residual| truth * residual.exp()).collect();
        let mut rng = ChaCha12Rng::seed_from_u64(SEED);
        let mut counts = [0_u32; 4];
        let mut ratios = vec![0.0; judged.blocks as usize];
        let later: Vec<f64> = (0..judged.blocks).map(|block| if block % 2 == 0 { 1.0 } else { -1.0 }).collect();
        for _ in 0..runs {
            ratios.fill_with(|| pool[rng.random_range(0..pool.len())]);
            let estimate = order::fit(&ratios, &later).and_then(|fit| fit.estimate());
            let verdict = estimate.and_then(|estimate| judge(&estimate, judged.margin, judged.better));
            counts[verdict.unwrap_or(Verdict::Inconclusive) as usize] += 1;
        }
        let rate = |verdict: Verdict| f64::from(counts[verdict as usize]) / f64::from(runs.max(1));
        Rates {
            better: rate(Verdict::Better),
            worse: rate(Verdict::Worse),
            equivalent: rate(Verdict::Equivalent),
            inconclusive: rate(Verdict::Inconclusive),
        }
    }
}

/// The ratio of something that is worse by this factor (above 1), whichever way the metric is better.
pub fn worse_by(factor: f64, better: Direction) -> f64 {
    match better {
        Direction::Higher => 1.0 / factor,
        Direction::Lower => factor,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A normal sample with exactly this standard deviation: quantiles, scaled.
    fn normal(sd: f64, n: u32) -> Vec<f64> {
        let quantile = statrs::distribution::Normal::standard();
        let logs: Vec<f64> = (0..n).map(|i| quantile.inverse_cdf((f64::from(i) + 0.5) / f64::from(n))).collect();
        let variance = logs.iter().map(|x| x * x).sum::<f64>() / f64::from(n - 1);
        logs.iter().map(|x| (x / variance.sqrt() * sd).exp()).collect()
    }

    fn judged(blocks: u32, margin: f64) -> Judged {
        Judged { blocks, margin, better: Direction::Higher }
    }

    #[test]
    fn residuals_keep_the_spread_and_lose_the_mean() {
        let ratios: Vec<f64> = normal(0.05, 40).iter().map(|ratio| ratio * 0.7).collect();
        let noise = Noise::of(&ratios).unwrap();
        assert!((noise.sd_log - 0.05).abs() < 1e-9);
        let n = noise.residuals.len() as f64;
        let mean = noise.residuals.iter().sum::<f64>() / n;
        let variance = noise.residuals.iter().map(|x| x * x).sum::<f64>() / n;
        assert!(mean.abs() < 1e-12 && (variance.sqrt() - 0.05).abs() < 1e-9, "{mean} {variance}");
        let interval = noise.sd_interval().unwrap();
        // chi2.ppf of SciPy with 39 degrees of freedom: 23.654, 58.120.
        assert!((interval.low - 0.05 * (39.0_f64 / 58.120).sqrt()).abs() < 1e-6, "{interval:?}");
        assert!((interval.high - 0.05 * (39.0_f64 / 23.654).sqrt()).abs() < 1e-6, "{interval:?}");
    }

    #[test]
    fn too_few_or_wrong_ratios_are_no_noise() {
        assert_eq!(Noise::of(&[1.0, 1.1, 0.9, 1.05]), None);
        assert_eq!(Noise::of(&[1.0, 1.1, 0.9, 1.05, 0.0]), None);
        assert_eq!(Noise::of(&[1.0, 1.1, 0.9, 1.05, f64::NAN]), None);
    }

    /// The table of the methodology: with this spread, 80 % of runs of truly equal sides are `equivalent`.
    #[test]
    fn rates_are_those_of_the_methodology() {
        // The table's 1.10 is rounded.
        for (blocks, margin, sd, worse_at) in
            [(8, 0.10, 0.069, 1.19), (12, 0.05, 0.047, 1.095), (28, 0.05, 0.077, 1.095), (24, 0.05, 0.070, 1.095)]
        {
            let noise = Noise::of(&normal(sd, 200)).unwrap();
            let equal = noise.rates(1.0, judged(blocks, margin), RUNS);
            assert!((equal.equivalent - 0.8).abs() < 0.03, "{blocks}: {equal:?}");
            assert!(equal.better + equal.worse < 0.001, "{blocks}: {equal:?}");
            let slower = noise.rates(1.0 / worse_at, judged(blocks, margin), RUNS);
            assert!((slower.worse - 0.8).abs() < 0.05, "{blocks}: {slower:?}");
        }
    }

    #[test]
    fn at_the_edge_one_run_in_forty_is_called_worse() {
        let noise = Noise::of(&normal(0.03, 200)).unwrap();
        let edge = noise.rates(1.0 / 1.05, judged(12, 0.05), RUNS);
        assert!((edge.worse - 0.025).abs() < 0.006 && (edge.equivalent - 0.025).abs() < 0.006, "{edge:?}");
        assert_eq!(edge.better, 0.0);
    }

    #[test]
    fn the_direction_of_the_metric_is_minded() {
        let noise = Noise::of(&normal(0.02, 50)).unwrap();
        for better in [Direction::Higher, Direction::Lower] {
            let judged = Judged { better, ..judged(8, 0.05) };
            let rates = noise.rates(worse_by(1.2, better), judged, 500);
            assert_eq!((rates.worse, rates.of(Verdict::Worse)), (1.0, 1.0), "{rates:?}");
        }
    }

    #[test]
    fn two_blocks_are_never_judged_and_the_same_seed_says_the_same() {
        let noise = Noise::of(&normal(0.001, 20)).unwrap();
        assert_eq!(noise.rates(0.5, judged(2, 0.05), 200).inconclusive, 1.0);
        assert_eq!(noise.rates(0.95, judged(8, 0.05), 500), noise.rates(0.95, judged(8, 0.05), 500));
    }
}
