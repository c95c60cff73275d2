//! Statistics over blocks, as pure functions. All inputs are checked; what cannot be said is `None`, never NaN.
//!
//! Oracle values in the tests come from SciPy (`docs/statistics-oracle.py`).

use schemars::JsonSchema;
use serde::Serialize;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Level of every one-sided test. An interval of 95 % is two of them.
pub const TAIL: f64 = 0.025;

/// An interval, on the scale of ratios unless said otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A mean of logarithms, given back as a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Geometric mean.
    pub ratio: f64,
    /// Its 95 % Student interval.
    pub interval: Interval,
    /// Number of values.
    pub n: usize,
    /// Standard deviation of the logarithms (n - 1).
    pub sd_log: f64,
}

fn student(freedom: f64) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, freedom).ok()
}

/// The upper quantile of Student's distribution. The last one is kept: it is found by iteration, and a simulation asks for the
/// same one thousands of times.
pub(crate) fn upper_quantile(freedom: f64, tail: f64) -> Option<f64> {
    thread_local!(static LAST: std::cell::Cell<Option<([f64; 2], f64)>> = const { std::cell::Cell::new(None) });
    if let Some((_, quantile)) = LAST.get().filter(|(asked, _)| *asked == [freedom, tail]) {
        return Some(quantile);
    }
    let quantile = student(freedom)?.inverse_cdf(1.0 - tail);
    LAST.set(Some(([freedom, tail], quantile)));
    Some(quantile)
}

/// The share of Student's distribution above a value.
pub(crate) fn upper_tail(freedom: f64, value: f64) -> Option<f64> {
    Some(student(freedom)?.sf(value))
}

/// Logarithms of positive, finite ratios; `None` when one of them is neither.
pub fn logs(ratios: &[f64]) -> Option<Vec<f64>> {
    ratios.iter().map(|&ratio| (ratio.is_finite() && ratio > 0.0).then(|| ratio.ln())).collect()
}

/// Mean and standard deviation (n - 1) of at least two finite values.
pub(crate) fn moments(values: &[f64]) -> Option<(f64, f64)> {
    if values.len() < 2 || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
    Some((mean, variance.sqrt()))
}

/// A geometric mean ratio with what every interval and every test of it needs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Effect {
    /// Geometric mean.
    pub ratio: f64,
    /// Standard error of its logarithm.
    pub error: f64,
    /// Degrees of freedom; after Welch and Satterthwaite where two samples may have different variances.
    pub freedom: f64,
}

impl Effect {
    /// Of paired ratios. Needs two.
    pub fn paired(ratios: &[f64]) -> Option<Effect> {
        let (mean, sd) = moments(&logs(ratios)?)?;
        let n = ratios.len() as f64;
        Some(Effect { ratio: mean.exp(), error: sd / n.sqrt(), freedom: n - 1.0 })
    }

    /// Of two independent samples, `new` over `base` (Welch). Needs two values a side.
    pub fn welch(new: &[f64], base: &[f64]) -> Option<Effect> {
        let ((mean_new, sd_new), (mean_base, sd_base)) = (moments(&logs(new)?)?, moments(&logs(base)?)?);
        let (part_new, part_base) = (sd_new.powi(2) / new.len() as f64, sd_base.powi(2) / base.len() as f64);
        let variance = part_new + part_base;
        let below = part_new.powi(2) / (new.len() as f64 - 1.0) + part_base.powi(2) / (base.len() as f64 - 1.0);
        // Without any variance, or with one too small for its square to be a number, the formula is 0 ÷ 0.
        let pooled = (new.len() + base.len()) as f64 - 2.0;
        let freedom = if below > 0.0 { variance.powi(2) / below } else { pooled };
        Some(Effect { ratio: (mean_new - mean_base).exp(), error: variance.sqrt(), freedom })
    }

    /// The same, with its interval and its tests at another one-sided level than [`TAIL`]: as much less certain as that level asks.
    pub(crate) fn at_level(&self, tail: f64) -> Option<Effect> {
        let error = self.error * upper_quantile(self.freedom, tail)? / upper_quantile(self.freedom, TAIL)?;
        Some(Effect { error, ..*self })
    }

    /// How far, on the log scale, the limit of a one-sided test at the level `tail` is from the ratio.
    pub fn reach(&self, tail: f64) -> Option<f64> {
        Some(upper_quantile(self.freedom, tail)? * self.error).filter(|reach| reach.is_finite())
    }

    /// The 95 % interval; absent where its ends are no numbers.
    pub fn interval(&self) -> Option<Interval> {
        let interval = around(self.ratio, self.reach(TAIL)?);
        (interval.low > 0.0 && interval.high.is_finite()).then_some(interval)
    }

    /// One-sided p of the hypothesis that the true ratio is not above `edge`.
    pub fn p_above(&self, edge: f64) -> Option<f64> {
        let distance = self.ratio.ln() - edge.ln();
        match self.error > 0.0 {
            true => Some(student(self.freedom)?.sf(distance / self.error)),
            false => Some(if distance > 0.0 { 0.0 } else { 1.0 }),
        }
    }

    /// One-sided p of the hypothesis that the true ratio is not below `edge`.
    pub fn p_below(&self, edge: f64) -> Option<f64> {
        Effect { ratio: 1.0 / self.ratio, ..*self }.p_above(1.0 / edge)
    }
}

/// The 95 % Student interval of the mean of plain differences, on their own scale. Needs two.
pub fn mean_interval(values: &[f64]) -> Option<Interval> {
    let (mean, sd) = moments(values)?;
    let half = upper_quantile(values.len() as f64 - 1.0, TAIL)? * sd / (values.len() as f64).sqrt();
    Some(Interval { low: mean - half, high: mean + half })
}

/// Sums over points of their distances from the mean point: x², x·y and y².
pub fn sums_about_mean(points: &[(f64, f64)]) -> (f64, f64, f64) {
    let n = points.len() as f64;
    let (mean_x, mean_y) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let sum = |of: fn(f64, f64) -> f64| points.iter().map(|&(x, y)| of(x - mean_x, y - mean_y)).sum::<f64>();
    (sum(|x, _| x * x), sum(|x, y| x * y), sum(|_, y| y * y))
}

/// The value with this share of the others below it, interpolated between its neighbours; absent without values. Sorts them.
pub fn quantile(values: &mut [f64], share: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let place = share * values.len().checked_sub(1)? as f64;
    let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
    Some(low + (high - low) * place.fract())
}

/// The geometric mean of paired ratios with its 95 % Student interval. Needs two blocks.
pub fn paired(ratios: &[f64]) -> Option<Estimate> {
    let effect = Effect::paired(ratios)?;
    let interval = around(effect.ratio, effect.reach(TAIL)?);
    let n = ratios.len();
    Some(Estimate { ratio: effect.ratio, interval, n, sd_log: effect.error * (n as f64).sqrt() })
}

/// The interval that reaches so far on the log scale.
pub(crate) fn around(ratio: f64, reach: f64) -> Interval {
    Interval { low: (ratio.ln() - reach).exp(), high: (ratio.ln() + reach).exp() }
}

/// Geometric mean of at least one positive, finite value.
pub fn geometric_mean(values: &[f64]) -> Option<f64> {
    let logs = logs(values)?;
    (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
}

/// Two-sided p of a sign-flip permutation test on the logarithms of paired ratios: all 2^n flips up to 32 blocks; above that
/// it is not computed. A check that decides nothing.
pub fn sign_flip_p(ratios: &[f64]) -> Option<f64> {
    let logs = logs(ratios)?;
    if logs.is_empty() || logs.len() > 32 {
        return None;
    }
    // Sums that differ by rounding only are equal.
    let tolerance = 1e-12 * logs.iter().map(|x| x.abs()).sum::<f64>();
    let least = logs.iter().sum::<f64>().abs() - tolerance;
    if least <= 0.0 {
        return Some(1.0);
    }
    // Each sum is one of the first half's and one of the second's; for each there is its negative.
    let (first, second) = logs.split_at(logs.len() / 2);
    let mut second = signed_sums(second);
    second.sort_by(f64::total_cmp);
    let beyond = |sum: f64| second.len() - second.partition_point(|other| sum + other < least);
    let as_extreme: usize = signed_sums(first).into_iter().map(beyond).sum();
    Some(2.0 * as_extreme as f64 / 2_f64.powi(logs.len() as i32))
}

/// The sums under all 2^n signs.
fn signed_sums(values: &[f64]) -> Vec<f64> {
    values.iter().fold(vec![0.0], |sums, value| sums.iter().flat_map(|sum| [sum + value, sum - value]).collect())
}

/// p values adjusted by Holm's method, in the given order.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut largest = 0.0_f64;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max(((p.len() - rank) as f64 * p[index]).min(1.0));
        adjusted[index] = largest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RATIOS: [f64; 8] = [1.02, 0.97, 1.05, 1.01, 0.99, 1.03, 1.00, 1.04];

    const PAIRED: (f64, f64, f64) = (1.0134411679181023, 0.9913016795802325, 1.0360751141530578);
    const SIGN_FLIP_P: f64 = 0.234375;
    const WELCH: (f64, f64, f64) = (1.0500497124786774, 1.007162295432102, 1.09476337992131);

    const MEAN: (f64, f64) = (0.16986126513920152, 2.5801387348607987);

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * b.abs().max(1.0)
    }

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        assert_eq!(quantile(&mut [4.0, 1.0, 3.0, 2.0], 0.5), Some(2.5));
        assert_eq!(quantile(&mut [7.0], 0.95), Some(7.0));
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn the_interval_of_plain_differences_is_scipys() {
        let interval = mean_interval(&[1.5, -0.25, 3.0, 2.25, 0.75, 1.0]).unwrap();
        assert!(close(interval.low, MEAN.0) && close(interval.high, MEAN.1), "{interval:?}");
        assert_eq!(mean_interval(&[1.0]), None);
        assert_eq!(mean_interval(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn paired_agrees_with_scipy() {
        let estimate = paired(&RATIOS).unwrap();
        assert!(close(estimate.ratio, PAIRED.0), "{estimate:?}");
        assert!(close(estimate.interval.low, PAIRED.1) && close(estimate.interval.high, PAIRED.2), "{estimate:?}");
        assert!(close(sign_flip_p(&RATIOS).unwrap(), SIGN_FLIP_P));
    }

    #[test]
    fn welch_agrees_with_scipy() {
        let effect = Effect::welch(&[101.0, 99.0, 104.0, 102.0, 98.0], &[95.0, 97.0, 93.0, 99.0]).unwrap();
        let interval = effect.interval().unwrap();
        assert!(close(effect.ratio, WELCH.0), "{effect:?}");
        assert!(close(interval.low, WELCH.1) && close(interval.high, WELCH.2), "{interval:?}");
    }

    #[test]
    fn freedom_and_one_sided_p_agree_with_scipy() {
        let new = [0.80, 0.83, 0.79, 0.81, 0.82, 0.78];
        let effect = Effect::welch(&new, &[0.97, 1.01, 0.90, 1.06]).unwrap();
        let interval = effect.interval().unwrap();
        assert!(close(effect.freedom, 3.4562025823784652) && close(effect.ratio, 0.8185359093251897), "{effect:?}");
        assert!(close(interval.low, 0.736093999951755) && close(interval.high, 0.9102112432633991), "{interval:?}");
        assert!(close(effect.p_below(1.0 / 1.05).unwrap(), 0.009145157930597758));
        assert!(close(effect.p_above(1.05).unwrap(), 0.9980885647771));
        let paired = Effect::paired(&RATIOS).unwrap();
        assert!(close(paired.p_below(1.05).unwrap(), 0.003384371735510309));
        assert!(close(paired.p_above(1.0 / 1.05).unwrap(), 0.00014491726333958044));
    }

    #[test]
    fn holm_agrees_with_statsmodels() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (a, b) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!(close(*a, b), "{adjusted:?}");
        }
    }

    #[test]
    fn few_values_and_wrong_ones_are_refused() {
        assert_eq!(paired(&[]), None);
        assert_eq!(paired(&[1.0]), None);
        for wrong in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            assert_eq!(paired(&[1.0, wrong, 1.0]), None);
            assert_eq!(Effect::welch(&[1.0, 2.0], &[1.0, wrong]), None);
            assert_eq!(Effect::welch(&[1.0, wrong], &[1.0, 2.0]), None);
            assert_eq!(geometric_mean(&[1.0, wrong]), None);
            assert_eq!(sign_flip_p(&[wrong]), None);
        }
        let two = paired(&[1.0, 1.1]).unwrap();
        assert!(two.interval.low < 0.7 && two.interval.high > 1.4, "two blocks say little: {two:?}");
    }

    #[test]
    fn without_variance_the_interval_is_the_point() {
        let estimate = paired(&[0.9, 0.9, 0.9]).unwrap();
        assert!(close(estimate.ratio, 0.9) && close(estimate.interval.low, 0.9) && close(estimate.interval.high, 0.9));
        let effect = Effect::welch(&[2.0, 2.0], &[1.0, 1.0]).unwrap();
        assert_eq!((effect.ratio, effect.error, effect.freedom), (2.0, 0.0, 2.0));
        assert_eq!((effect.p_above(1.9), effect.p_above(2.1), effect.p_below(2.1)), (Some(0.0), Some(1.0), Some(0.0)));
        assert_eq!(effect.interval(), Some(Interval { low: 2.0, high: 2.0 }));
        assert_eq!(Effect::welch(&[2.0], &[1.0, 1.0]), None, "one value has no variance");
    }

    #[test]
    fn the_smallest_sign_flip_p_is_two_of_all_flips() {
        assert!(close(sign_flip_p(&[1.1, 1.2, 1.3, 1.15, 1.05]).unwrap(), 2.0 / 32.0));
        assert_eq!(sign_flip_p(&[1.1; 24]), Some(2.0_f64.powi(-23)));
    }

    /// What a gate promises: fourteen rows whose true ratio is exactly at the edge raise an alarm in 2.5 % of comparisons, and
    /// without Holm's adjustment it would be three of ten.
    #[test]
    fn a_family_at_the_edge_raises_as_many_false_alarms_as_one_test() {
        use rand::{Rng, SeedableRng};
        const COMPARISONS: usize = 3000;
        let normal = statrs::distribution::Normal::standard();
        let mut rng = rand_chacha::ChaCha12Rng::seed_from_u64(1);
        let mut sample = |mean: f64, sd: f64| -> Vec<f64> {
            (0..8).map(|_| (mean + sd * normal.inverse_cdf(rng.random_range(1e-12..1.0))).exp()).collect()
        };
        let edge = 1.0_f64 / 1.1;
        let (mut adjusted, mut raw) = (0, 0);
        for _ in 0..COMPARISONS {
            let row = |_| Effect::welch(&sample(edge.ln(), 0.06), &sample(0.0, 0.02)).unwrap().p_below(edge).unwrap();
            let p: Vec<f64> = (0..14).map(row).collect();
            raw += usize::from(p.iter().any(|&p| p < TAIL));
            adjusted += usize::from(holm(&p).iter().any(|&p| p < TAIL));
        }
        let rate = |count: usize| count as f64 / COMPARISONS as f64;
        // Three standard errors of 2.5 % in 3,000 are 0.9 %.
        assert!((0.016..0.034).contains(&rate(adjusted)), "{}", rate(adjusted));
        assert!((0.26..0.34).contains(&rate(raw)), "{}", rate(raw));
    }

    fn ratios() -> impl Strategy<Value = Vec<f64>> {
        proptest::collection::vec(0.2_f64..5.0, 2..12)
    }

    proptest! {
        #[test]
        fn exchanging_runs_turns_everything_over(new in ratios(), base in ratios(), edge in 1.01_f64..1.5) {
            let (a, b) = (Effect::welch(&new, &base).unwrap(), Effect::welch(&base, &new).unwrap());
            prop_assert!(close(a.ratio * b.ratio, 1.0) && close(a.freedom, b.freedom));
            prop_assert!(close(a.p_above(edge).unwrap(), b.p_below(1.0 / edge).unwrap()));
        }

        #[test]
        fn the_interval_and_the_tests_say_the_same(new in ratios(), base in ratios(), edge in 0.5_f64..2.0) {
            let effect = Effect::welch(&new, &base).unwrap();
            let Some(interval) = effect.interval() else { return Ok(()) };
            prop_assume!((interval.low / edge - 1.0).abs() > 1e-9 && (interval.high / edge - 1.0).abs() > 1e-9);
            prop_assert_eq!(interval.low > edge, effect.p_above(edge).unwrap() < TAIL);
            prop_assert_eq!(interval.high < edge, effect.p_below(edge).unwrap() < TAIL);
        }

        #[test]
        fn freedom_lies_between_the_smaller_sample_and_both(new in ratios(), base in ratios()) {
            let freedom = Effect::welch(&new, &base).unwrap().freedom;
            let (least, most) = (new.len().min(base.len()) as f64 - 1.0, (new.len() + base.len()) as f64 - 2.0);
            prop_assert!(freedom >= least - 1e-9 && freedom <= most + 1e-9, "{freedom} not in {least}..{most}");
        }

        #[test]
        fn the_order_of_blocks_does_not_matter(ratios in ratios(), shift in 0_usize..12) {
            let mut other = ratios.clone();
            let by = shift % other.len();
            other.rotate_left(by);
            let (a, b) = (paired(&ratios).unwrap(), paired(&other).unwrap());
            prop_assert!(close(a.ratio, b.ratio) && close(a.interval.low, b.interval.low));
        }

        #[test]
        fn swapping_sides_turns_everything_over(ratios in ratios()) {
            let other: Vec<_> = ratios.iter().map(|ratio| 1.0 / ratio).collect();
            let (a, b) = (paired(&ratios).unwrap(), paired(&other).unwrap());
            prop_assert!(close(a.ratio * b.ratio, 1.0));
            prop_assert!((a.interval.low * b.interval.high - 1.0).abs() < 1e-6);
        }

        #[test]
        fn scaling_one_side_scales_the_ratio(ratios in ratios(), by in 0.5_f64..2.0) {
            let other: Vec<_> = ratios.iter().map(|ratio| ratio * by).collect();
            let (a, b) = (paired(&ratios).unwrap(), paired(&other).unwrap());
            prop_assert!(close(a.ratio * by, b.ratio) && close(a.sd_log, b.sd_log));
        }

        #[test]
        fn the_interval_holds_the_ratio(ratios in ratios()) {
            let estimate = paired(&ratios).unwrap();
            prop_assert!(estimate.interval.low <= estimate.ratio && estimate.ratio <= estimate.interval.high);
        }

        #[test]
        fn holm_never_lowers_a_p_value(p in proptest::collection::vec(0.0_f64..1.0, 1..10)) {
            for (raw, adjusted) in p.iter().zip(holm(&p)) {
                prop_assert!(adjusted >= *raw && adjusted <= 1.0);
            }
        }
    }
}
