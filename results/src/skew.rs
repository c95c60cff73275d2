//! How far Student's interval leans on a symmetric distribution: a bootstrap-t interval beside it, and when to warn.
//!
//! Student's interval is as long on either side of the mean. Where log-ratios are skewed, the long tail is on one side, a sample of few
//! blocks often holds none of it, and then both mean and spread are too small: the interval errs on that side more often than in 2.5 %.
//! The bootstrap-t interval (Efron and Tibshirani, 1993, chapter 12.5) takes its quantiles from the sample itself. It decides nothing: it
//! errs less often on skewed samples, and is as uncertain as the tail is unknown.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::statistics::{Effect, Interval, TAIL, logs};

/// Resamples of each interval: its ends are the 25th from either side.
pub const RESAMPLES: usize = 999;
/// Fewer blocks give no such interval: of five, one resample in 625 has no spread.
pub const LEAST_BLOCKS: usize = 5;
/// From so many blocks on, a warning says something.
pub const LEAST_TO_WARN: usize = 6;

/// The 95 % bootstrap-t interval of the geometric mean ratio; the same seed gives the same interval. `freedom`: the degrees of freedom
/// that are left to the ratios, which is their number less 1, and less 2 where the order was taken out ([`crate::order`]). Absent for fewer than
/// [`LEAST_BLOCKS`], for what has no logarithm, and where too many resamples have no spread for a quantile.
pub fn bootstrap_t(ratios: &[f64], freedom: f64, seed: u64) -> Option<Interval> {
    let effect = Effect::paired(ratios).filter(|effect| effect.error > 0.0 && freedom > 0.0)?;
    let logs = logs(ratios).filter(|logs| logs.len() >= LEAST_BLOCKS)?;
    let (n, mean) = (logs.len() as f64, effect.ratio.ln());
    let mut rng = ChaCha12Rng::seed_from_u64(seed);
    let mut resampled = || {
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..logs.len() {
            let distance = logs[rng.random_range(0..logs.len())] - mean;
            sum += distance;
            squares += distance * distance;
        }
        let error = ((squares - sum * sum / n).max(0.0) / (n - 1.0) / n).sqrt();
        if error > 1e-9 * effect.error { sum / n / error } else { f64::INFINITY.copysign(sum) }
    };
    let mut t: Vec<f64> = (0..RESAMPLES).map(|_| resampled()).collect();
    t.sort_by(f64::total_cmp);
    let from_end = (TAIL * (RESAMPLES + 1) as f64) as usize - 1;
    // What was fitted to the ratios made them scatter less.
    let error = effect.error * ((n - 1.0) / freedom).sqrt();
    let (low, high) = (mean - t[RESAMPLES - 1 - from_end] * error, mean - t[from_end] * error);
    let interval = Interval { low: low.exp(), high: high.exp() };
    (interval.low > 0.0 && interval.low <= effect.ratio && interval.high >= effect.ratio && interval.high.is_finite())
        .then_some(interval)
}

/// How lopsided an interval is: the logarithm of its upper arm ÷ its lower one; 0 for Student's.
fn lopsided(ratio: f64, interval: Interval) -> f64 {
    ((interval.high / ratio).ln() / (ratio / interval.low).ln()).ln()
}

/// True where the bootstrap-t interval of so many blocks is too lopsided to be an accident of a symmetric distribution: one arm exceeds
/// the other by more than e^(8.5 / blocks), and by e^0.25. Of normal log-ratios about one row in twenty is called so by accident, from
/// [`LEAST_TO_WARN`] blocks on.
pub fn is_skewed(ratio: f64, interval: Interval, blocks: usize) -> bool {
    let most = (8.5 / blocks as f64).max(0.25);
    // Without one arm, the other is infinitely longer.
    let by = lopsided(ratio, interval).abs();
    blocks >= LEAST_TO_WARN && (by > most || by.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Direction;
    use crate::statistics::paired;
    use crate::testing;
    use crate::verdict::{Verdict, decide};

    /// Draws with mean 0 and standard deviation 1.
    type Shape = fn(&mut ChaCha12Rng) -> f64;

    fn normal(rng: &mut ChaCha12Rng) -> f64 {
        let (a, b) = (rng.random_range(f64::MIN_POSITIVE..1.0), rng.random_range(0.0..std::f64::consts::TAU));
        (-2.0 * a.ln()).sqrt() * b.cos()
    }

    fn t_of_3(rng: &mut ChaCha12Rng) -> f64 {
        let chi: f64 = (0..3).map(|_| normal(rng).powi(2)).sum();
        normal(rng) / (chi / 3.0).sqrt() / 3_f64.sqrt()
    }

    fn lognormal(rng: &mut ChaCha12Rng, sigma: f64) -> f64 {
        let variance = sigma.powi(2).exp_m1() * sigma.powi(2).exp();
        ((sigma * normal(rng)).exp() - (sigma.powi(2) / 2.0).exp()) / variance.sqrt()
    }

    const SHAPES: [(&str, Shape); 4] = [
        ("normal", normal),
        ("t with 3 df", t_of_3),
        ("lognormal, σ 0.4", |rng| lognormal(rng, 0.4)),
        ("lognormal, σ 0.8", |rng| lognormal(rng, 0.8)),
    ];
    const MARGIN: f64 = 0.05;

    /// How often runs are judged so whose truth is the upper edge of the margin; the spread is small against it.
    #[derive(Default)]
    struct Rates {
        equivalent: f64,
        beyond: f64,
        bootstrap_equivalent: f64,
        bootstrap_beyond: f64,
        warned: f64,
        warned_of_equivalent: f64,
    }

    fn rates(shape: Shape, blocks: usize, (runs, with_bootstrap): (u32, u32)) -> Rates {
        let mut rng = ChaCha12Rng::seed_from_u64(blocks as u64);
        let [mut equivalent, mut beyond, mut b_equivalent, mut b_beyond, mut warned, mut both, mut first] = [0_u32; 7];
        for run in 0..runs {
            let ratios: Vec<f64> = (0..blocks).map(|_| (MARGIN.ln_1p() + 0.01 * shape(&mut rng)).exp()).collect();
            let estimate = paired(&ratios).unwrap();
            let of = |interval| decide(interval, MARGIN, Direction::Lower);
            let is_equivalent = of(estimate.interval) == Verdict::Equivalent;
            equivalent += u32::from(is_equivalent);
            beyond += u32::from(of(estimate.interval) == Verdict::Worse);
            if run < with_bootstrap {
                let bootstrap = bootstrap_t(&ratios, ratios.len() as f64 - 1.0, u64::from(run));
                b_equivalent += u32::from(bootstrap.is_some_and(|interval| of(interval) == Verdict::Equivalent));
                b_beyond += u32::from(bootstrap.is_some_and(|interval| of(interval) == Verdict::Worse));
                let is_warned = bootstrap.is_some_and(|interval| is_skewed(estimate.ratio, interval, blocks));
                warned += u32::from(is_warned);
                first += u32::from(is_equivalent);
                both += u32::from(is_warned && is_equivalent);
            }
        }
        let of = |count: u32, all: u32| f64::from(count) / f64::from(all.max(1));
        Rates {
            equivalent: of(equivalent, runs),
            beyond: of(beyond, runs),
            bootstrap_equivalent: of(b_equivalent, with_bootstrap),
            bootstrap_beyond: of(b_beyond, with_bootstrap),
            warned: of(warned, with_bootstrap),
            warned_of_equivalent: of(both, first),
        }
    }

    /// The table in docs/FIGURES.md, and what it must show.
    #[test]
    fn the_rates_of_skewed_log_ratios_are_documented() {
        let mut text = String::from(
            "| log-ratios | blocks | Student: `equivalent` | Student: `worse` | bootstrap-t: `equivalent` | bootstrap-t: `worse` | warned | of wrong `equivalent`, warned |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for (name, shape) in SHAPES {
            for blocks in [8, 12, 28] {
                let found = rates(shape, blocks, (10_000, 1_000));
                let percent = [
                    found.equivalent,
                    found.beyond,
                    found.bootstrap_equivalent,
                    found.bootstrap_beyond,
                    found.warned,
                    found.warned_of_equivalent,
                ]
                .map(|rate| format!("{:.1} %", rate * 100.0));
                text.push_str(&format!("| {name} | {blocks} | {} |\n", percent.join(" | ")));
                if name == "normal" {
                    assert!((found.equivalent - 0.025).abs() < 0.006 && (found.beyond - 0.025).abs() < 0.006);
                    assert!(found.warned < 0.08, "{}", found.warned);
                }
                if name.ends_with("0.8") {
                    assert!(found.equivalent > 0.08 && found.bootstrap_equivalent < found.equivalent);
                    assert!(found.warned > 0.25, "{}", found.warned);
                }
            }
        }
        testing::documented_in("FIGURES.md", "skew: written by a test of results/src/skew.rs", "/skew", &text);
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_few_or_odd_values_none() {
        const FREEDOM: f64 = 7.0;
        let ratios = [1.02, 0.97, 1.05, 1.01, 0.99, 1.03, 1.00, 1.04];
        let (one, other) = (bootstrap_t(&ratios, FREEDOM, 7).unwrap(), bootstrap_t(&ratios, FREEDOM, 8).unwrap());
        assert_eq!(Some(one), bootstrap_t(&ratios, FREEDOM, 7));
        assert!(one != other && (one.low / other.low - 1.0).abs() < 0.01, "{one:?} {other:?}");
        assert!(!is_skewed(paired(&ratios).unwrap().ratio, one, 8));
        for odd in [&ratios[..4], &[1.0; 8], &[1.0, 0.0, 1.0, 1.1, 1.2], &[1.0, f64::NAN, 1.0, 1.1, 1.2]] {
            assert_eq!(bootstrap_t(odd, FREEDOM, 7), None, "{odd:?}");
        }
        let fitted = bootstrap_t(&ratios, 6.0, 7).unwrap();
        let width = |interval: Interval| (interval.high / interval.low).ln();
        assert!((width(fitted) / width(one) - (7.0_f64 / 6.0).sqrt()).abs() < 1e-9, "{fitted:?} {one:?}");
        // Inverted ratios have the inverted interval, if drawn alike.
        let inverted = bootstrap_t(&ratios.map(f64::recip), FREEDOM, 7).unwrap();
        assert!((inverted.low * one.high - 1.0).abs() < 1e-9 && (inverted.high * one.low - 1.0).abs() < 1e-9);
        let outlier = [1.00, 1.01, 1.00, 1.01, 1.00, 1.01, 1.00, 1.01, 1.00, 1.01, 1.00, 2.5];
        let interval = bootstrap_t(&outlier, FREEDOM, 7).unwrap();
        assert!(is_skewed(paired(&outlier).unwrap().ratio, interval, 12), "{interval:?}");
    }
}
