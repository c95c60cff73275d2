//! The ratio of two environments of one run, with the order within its blocks taken out.
//!
//! Whoever comes later in a block finds another disk, other caches, another moment. Over whole Latin squares that cancels in the mean,
//! but it stays in the spread between blocks, and in the mean of a run that lost blocks or ends within a square. So each block's log-ratio
//! is taken as `effect + slope × places + noise`, where `places` is how many places later than the other the environment came (the
//! mean over the block's turns), and both are fitted by least squares. The effect is the one at equal places.
//!
//! Whether this is done depends on the number of blocks and on the plan alone, never on what was measured: to choose whichever model
//! shows more would make every promised error rate wrong.

use std::collections::BTreeMap;

use crate::statistics::{Effect, Estimate, TAIL, around, logs};
use crate::store::Record;

/// From so many blocks on the order is modelled. It costs a degree of freedom: with 6 blocks the quantile of Student's distribution
/// grows by 8 %, with 8 by 3.5 %, with 5 by 15 %, with 4 by 35 %.
pub const LEAST_BLOCKS: usize = 6;
/// Places are means over turns: those that differ by rounding only are equal.
const ROUNDING: f64 = 1e-9;

/// Degrees of freedom of the spread of so many blocks, where their places vary.
pub fn freedom(blocks: u32) -> Option<u32> {
    blocks.checked_sub(if blocks as usize >= LEAST_BLOCKS { 2 } else { 1 })
}

/// By workload and environment: block, and the mean place in it over its turns, counted from 1.
pub struct Places<'a> {
    places: BTreeMap<(&'a str, &'a str), BTreeMap<u32, f64>>,
    /// One-sided level of intervals, of a run that looks at its verdicts on the way.
    tail: Option<f64>,
}

/// What the blocks of one run say about a ratio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fit {
    /// The ratio (at equal places, where the order is modelled), its standard error and degrees of freedom.
    pub effect: Effect,
    /// Number of blocks.
    pub blocks: usize,
    /// Standard deviation of the log-ratios from block to block; about the line, where the order is modelled.
    pub sd_log: f64,
    /// Factor on the ratio for one place later in the block; absent where the order is not modelled.
    pub per_place: Option<f64>,
}

impl<'a> Places<'a> {
    /// Of a record.
    pub fn of(record: &'a Record) -> Places<'a> {
        let turns = f64::from(record.run.plan.profile.turns);
        let mut places = BTreeMap::<_, BTreeMap<u32, f64>>::new();
        for planned in record.trials.iter().map(|trial| &trial.planned) {
            let mine = places.entry((planned.workload.as_str(), planned.environment.as_str())).or_default();
            *mine.entry(planned.block).or_default() += f64::from(planned.order) / turns;
        }
        let sequential = record.run.plan.sequential.as_ref();
        Places { places, tail: sequential.and_then(|sequential| sequential.tail(record.blocks_whole())) }
    }

    /// How many places later than `other` an environment came in a block; negative: earlier.
    pub fn later(&self, workload: &str, (environment, other): (&str, &str), block: u32) -> Option<f64> {
        let place = |environment| self.places.get(&(workload, environment))?.get(&block);
        Some(place(environment)? - place(other)?)
    }

    /// What `(block, environment ÷ other)` say together. Needs two blocks, and positive ratios.
    pub fn fit(&self, workload: &str, sides: (&str, &str), pairs: &[(u32, f64)]) -> Option<Fit> {
        let ratios: Vec<f64> = pairs.iter().map(|&(_, ratio)| ratio).collect();
        let later: Option<Vec<f64>> = pairs.iter().map(|&(block, _)| self.later(workload, sides, block)).collect();
        let fit = fit(&ratios, &later.unwrap_or_default())?;
        self.tail.map_or(Some(fit), |tail| fit.at_level(tail))
    }

    /// The ratios as they would have been at equal places, block by block, by the fit to them; as they are, where the order is not
    /// modelled.
    pub fn without_order(
        &self,
        workload: &str,
        sides: (&str, &str),
        (pairs, fit): (&[(u32, f64)], Option<Fit>),
    ) -> Vec<f64> {
        let per_place = fit.and_then(|fit| fit.per_place);
        let factor = |block| match (per_place, self.later(workload, sides, block)) {
            (Some(per_place), Some(later)) => per_place.powf(later),
            _ => 1.0,
        };
        pairs.iter().map(|&(block, ratio)| ratio / factor(block)).collect()
    }
}

impl Fit {
    /// The same with its interval at this one-sided level ([`crate::sequential`]).
    pub fn at_level(self, tail: f64) -> Option<Fit> {
        Some(Fit { effect: self.effect.at_level(tail)?, ..self })
    }

    /// The ratio with its 95 % interval.
    pub fn estimate(&self) -> Option<Estimate> {
        let interval = around(self.effect.ratio, self.effect.reach(TAIL)?);
        Some(Estimate { ratio: self.effect.ratio, interval, n: self.blocks, sd_log: self.sd_log })
    }
}

/// What ratios say together that came so many places `later` in their blocks. The order is modelled from [`LEAST_BLOCKS`] on, where
/// every place is known and the environment came both before and after the other: equal places then lie within what was measured, and
/// nothing is extrapolated.
pub fn fit(ratios: &[f64], later: &[f64]) -> Option<Fit> {
    let logs = logs(ratios)?;
    let varies = later.iter().any(|&places| places > ROUNDING) && later.iter().any(|&places| places < -ROUNDING);
    if logs.len() < LEAST_BLOCKS || later.len() != logs.len() || !varies {
        let effect = Effect::paired(ratios)?;
        let sd_log = effect.error * (logs.len() as f64).sqrt();
        return Some(Fit { effect, blocks: logs.len(), sd_log, per_place: None });
    }
    let n = logs.len() as f64;
    let (mean_later, mean) = (later.iter().sum::<f64>() / n, logs.iter().sum::<f64>() / n);
    let points = || later.iter().zip(&logs).map(|(x, y)| (x - mean_later, y - mean));
    let xx: f64 = points().map(|(x, _)| x * x).sum();
    let slope = points().map(|(x, y)| x * y).sum::<f64>() / xx;
    let rest: f64 = points().map(|(x, y)| (y - slope * x).powi(2)).sum();
    let sd_log = (rest / (n - 2.0)).sqrt();
    let effect = Effect {
        ratio: (mean - slope * mean_later).exp(),
        error: sd_log * (1.0 / n + mean_later.powi(2) / xx).sqrt(),
        freedom: n - 2.0,
    };
    Some(Fit { effect, blocks: logs.len(), sd_log, per_place: Some(slope.exp()) })
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha12Rng;
    use statrs::distribution::{ContinuousCDF, Normal};

    use super::*;
    use crate::analysis::{Comparison, analyse};
    use crate::compare::{Sides, compare};
    use crate::metric::Direction;
    use crate::policy::Policy;
    use crate::statistics;
    use crate::testing;
    use crate::verdict::{Verdict, judge};

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-9 * b.abs().max(1.0)
    }

    /// `ORDER` and `ORDER_UNBALANCED` of docs/statistics-oracle.py: ratio, interval, factor for one place; spread, freedom.
    #[test]
    fn the_line_is_the_one_of_numpy_and_scipy() {
        let whole: &[_] = &[
            (1.0, 1.02),
            (-2.0, 0.95),
            (3.0, 1.09),
            (-1.0, 1.0),
            (2.0, 1.03),
            (-3.0, 0.94),
            (1.0, 1.04),
            (-1.0, 0.97),
        ];
        let unbalanced: &[_] =
            &[(1.0, 0.90), (2.0, 0.93), (-1.0, 0.84), (1.0 / 3.0, 0.88), (3.0, 0.95), (2.0, 0.91), (1.0, 0.92)];
        let wanted = [
            [1.003899073352912, 0.9908136660663384, 1.0171572960635353, 1.0234489032936611, 0.015165955526593698, 6.0],
            [0.8725876747935747, 0.8563307898074726, 0.8891531862037142, 1.02982921127595, 0.013778514843288915, 5.0],
        ];
        for (points, wanted) in [whole, unbalanced].into_iter().zip(wanted) {
            let (later, ratios): (Vec<f64>, Vec<f64>) = points.iter().copied().unzip();
            let fit = fit(&ratios, &later).unwrap();
            let estimate = fit.estimate().unwrap();
            let interval = estimate.interval;
            let found =
                [estimate.ratio, interval.low, interval.high, fit.per_place.unwrap(), fit.sd_log, fit.effect.freedom];
            assert!(found.iter().zip(wanted).all(|(a, b)| close(*a, b)), "{found:?} {wanted:?}");
            assert_eq!((estimate.n, estimate.sd_log), (ratios.len(), fit.sd_log));
        }
    }

    const RATIOS: [f64; 8] = [1.02, 0.97, 1.05, 1.01, 0.99, 1.03, 1.00, 1.04];

    #[test]
    fn the_plan_alone_decides_whether_the_order_is_modelled() {
        let by_turns = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0];
        let modelled = |blocks: usize, later: &[f64]| {
            let fit = fit(&RATIOS[..blocks], &later[..later.len().min(blocks)]).unwrap();
            assert_eq!(fit.effect.freedom, blocks as f64 - if fit.per_place.is_some() { 2.0 } else { 1.0 });
            if fit.per_place.is_none() {
                assert_eq!(fit.estimate(), statistics::paired(&RATIOS[..blocks]));
            }
            fit.per_place.is_some()
        };
        for blocks in 2..=8 {
            assert_eq!(modelled(blocks, &by_turns), blocks >= LEAST_BLOCKS, "{blocks}");
            assert_eq!(freedom(blocks as u32), Some(blocks as u32 - if blocks >= 6 { 2 } else { 1 }));
        }
        // Always the same place, always one side of the other, within each block by turns, or a record that does not tell.
        let later = [2.0; 8];
        let always_after = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0, 1.0, 2.0];
        for later in [
            &later[..],
            &always_after,
            &always_after.map(|x| -x),
            &[0.0; 8],
            &[1e-16, -1e-16, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            &[],
        ] {
            assert!(!modelled(8, later), "{later:?}");
        }
    }

    #[test]
    fn few_values_and_wrong_ones_are_refused() {
        assert_eq!((fit(&[], &[]), fit(&[1.0], &[1.0]), freedom(0)), (None, None, None));
        let later = [1.0, -1.0, 1.0, -1.0, 1.0, -1.0];
        for wrong in [f64::NAN, f64::INFINITY, 0.0, -1.0] {
            assert_eq!(fit(&[1.0, 1.0, 1.0, 1.0, 1.0, wrong], &later), None);
        }
        let steady = fit(&[0.9; 6], &later).unwrap().estimate().unwrap();
        assert!(close(steady.ratio, 0.9) && close(steady.interval.low, 0.9) && close(steady.interval.high, 0.9));
    }

    /// The design of a real plan: Latin squares of environments, each relabelled and its rows shuffled; `later` of the last one than
    /// the first.
    pub(crate) fn places(environments: usize, blocks: usize, rng: &mut ChaCha12Rng) -> Vec<f64> {
        let mut later = Vec::new();
        while later.len() < blocks {
            let mut labels: Vec<usize> = (0..environments).collect();
            labels.shuffle(rng);
            let mut shifts = labels.clone();
            shifts.shuffle(rng);
            // Williams: 0, 1, n-1, 2, n-2, ... and its shifts.
            let first = |at: usize| if at % 2 == 1 { at.div_ceil(2) } else { (environments - at / 2) % environments };
            for shift in shifts {
                let place =
                    |label| (0..environments).position(|at| labels[(first(at) + shift) % environments] == label);
                later.push(place(environments - 1).unwrap() as f64 - place(0).unwrap() as f64);
            }
        }
        later.truncate(blocks);
        later
    }

    /// How runs end whose true ratio is at the lower edge of a margin of 5 %, and how wide their intervals are.
    #[derive(Debug, Default)]
    struct Seen {
        worse: f64,
        equivalent: f64,
        half: f64,
        /// The same by Student's interval of the mean.
        plain_worse: f64,
        plain_half: f64,
    }

    const RUNS: usize = 8000;

    /// `cut`: leave out so many blocks at the end, as a run does that lost some.
    fn simulate((blocks, cut): (usize, usize), sd: f64, per_place: f64) -> Seen {
        let (mut rng, normal) = (ChaCha12Rng::seed_from_u64(blocks as u64), Normal::standard());
        let mut seen = Seen::default();
        let edge = 1.0 / 1.05;
        for _ in 0..RUNS {
            let mut later = places(4, blocks, &mut rng);
            later.truncate(blocks - cut);
            let ratio = |&later: &f64| {
                edge * per_place.powf(later) * (sd * normal.inverse_cdf(rng.random_range(1e-12..1.0))).exp()
            };
            let ratios: Vec<f64> = later.iter().map(ratio).collect();
            let share = |yes: bool| if yes { 1.0 / RUNS as f64 } else { 0.0 };
            let half = |interval: statistics::Interval| (interval.high / interval.low).ln() / 2.0 / RUNS as f64;
            let (modelled, plain) =
                (fit(&ratios, &later).unwrap().estimate().unwrap(), statistics::paired(&ratios).unwrap());
            let verdict = judge(&modelled, 0.05, Direction::Higher);
            seen.worse += share(verdict == Some(Verdict::Worse));
            seen.equivalent += share(verdict == Some(Verdict::Equivalent));
            seen.plain_worse += share(judge(&plain, 0.05, Direction::Higher) == Some(Verdict::Worse));
            seen.half += half(modelled.interval);
            seen.plain_half += half(plain.interval);
        }
        seen
    }

    /// What docs/FIGURES.md promises. Three standard errors of 2.5 % in 8,000 are 0.5 %.
    #[test]
    fn at_the_edge_one_run_in_forty_is_wrong_with_an_effect_of_the_order_and_without() {
        for (shape, per_place, narrower) in [
            ((8, 0), 1.0, 1.029),
            ((28, 0), 1.0, 1.001),
            ((8, 0), 1.02, 0.63),
            ((28, 0), 1.02, 0.63),
            ((8, 2), 1.02, 0.655),
            ((28, 3), 1.02, 0.63),
        ] {
            let seen = simulate(shape, 0.03, per_place);
            let ratio = seen.half / seen.plain_half;
            println!("{shape:?} {per_place}: {ratio:.4} {seen:?}");
            assert!((0.019..0.031).contains(&seen.worse), "{shape:?} {per_place}: {seen:?}");
            assert!((0.019..0.031).contains(&seen.equivalent), "{shape:?} {per_place}: {seen:?}");
            assert!((ratio - narrower).abs() < 0.01, "{shape:?} {per_place}: {ratio} {seen:?}");
        }
    }

    /// A made-up run whose blocks are in the order of such a design, and in which each place later is worth 4 %.
    fn planted(blocks: u32) -> Record {
        let mut record = testing::record(5, blocks, false);
        let mut rng = ChaCha12Rng::seed_from_u64(5);
        for block in record.trials.chunks_mut(4) {
            let mut orders = [1, 2, 3, 4];
            orders.shuffle(&mut rng);
            for (trial, order) in block.iter_mut().zip(orders) {
                trial.planned.order = order;
                trial.measurements.iter_mut().for_each(|m| m.value *= 1.04_f64.powi(order as i32));
            }
        }
        record
    }

    fn deciding(record: &Record, environment: &str) -> Comparison {
        let comparisons = analyse(record).comparisons;
        let is_it = |c: &&Comparison| c.deciding && c.workload == "rand-read" && c.environment == environment;
        comparisons.iter().find(is_it).unwrap().clone()
    }

    #[test]
    fn reports_and_comparisons_of_one_run_have_one_judge() {
        let record = planted(12);
        let row = deciding(&record, "container");
        assert!((row.fit.unwrap().per_place.unwrap() / 1.04 - 1.0).abs() < 0.01, "{row:?}");
        let values: Vec<f64> = row.pairs.iter().map(|&(_, ratio)| ratio).collect();
        let plain = statistics::paired(&values).unwrap();
        let width = |interval: statistics::Interval| (interval.high / interval.low).ln();
        assert!(width(row.interval.unwrap()) < 0.5 * width(plain.interval), "{row:?} {plain:?}");
        let control = deciding(&record, "native-control");
        assert!(control.fit.unwrap().per_place.is_some() && row.noise_floor == control.ratio.zip(control.interval));

        let runs = std::slice::from_ref(&record);
        let sides = Sides::Environments { runs, base: "native", new: "container" };
        let judgement = compare(sides, &Policy::default(), None).unwrap();
        let judged = judgement.rows.iter().find(|row| row.workload == "rand-read" && row.metric == "iops").unwrap();
        assert_eq!((judged.ratio, judged.interval, judged.degrees_of_freedom), (row.ratio, row.interval, Some(10.0)));
        assert_eq!(judged.noise_floor, control.interval);
    }

    #[test]
    fn a_run_of_few_blocks_or_of_one_order_is_judged_by_its_mean() {
        assert_eq!(deciding(&planted(5), "container").fit.unwrap().per_place, None);
        // Every block of the made-up record has one order.
        let record = testing::record(5, 12, false);
        let row = deciding(&record, "container");
        let values: Vec<f64> = row.pairs.iter().map(|&(_, ratio)| ratio).collect();
        let plain = statistics::paired(&values).unwrap();
        assert_eq!(
            (row.fit.unwrap().per_place, row.ratio, row.interval),
            (None, Some(plain.ratio), Some(plain.interval))
        );
    }

    #[test]
    fn power_does_not_take_the_order_for_noise() {
        let record = planted(12);
        let power = crate::power::power(&record, Some(0.05), 0.9).unwrap();
        let is_it = |row: &&crate::power::PowerRow| row.workload == "rand-read" && row.environment == "container";
        let row = power.rows.iter().find(is_it).unwrap();
        let values: Vec<f64> = deciding(&record, "container").pairs.iter().map(|&(_, ratio)| ratio).collect();
        assert!(row.sd_log < 0.5 * statistics::paired(&values).unwrap().sd_log, "{row:?}");
    }

    proptest! {
        #[test]
        fn an_effect_of_the_order_alone_is_taken_out_wholly(
            later in proptest::collection::vec(-3_i32..=3, 6..20),
            (ratio, per_place) in (0.5_f64..2.0, 0.9_f64..1.1),
        ) {
            prop_assume!(later.iter().any(|&x| x > 0) && later.iter().any(|&x| x < 0));
            let later: Vec<f64> = later.into_iter().map(f64::from).collect();
            let ratios: Vec<f64> = later.iter().map(|&later| ratio * per_place.powf(later)).collect();
            let fit = fit(&ratios, &later).unwrap();
            prop_assert!(close(fit.effect.ratio, ratio) && close(fit.per_place.unwrap(), per_place), "{fit:?}");
            prop_assert!(fit.sd_log < 1e-9);
        }

        #[test]
        fn exchanging_the_sides_turns_everything_over(
            points in proptest::collection::vec((-3_i32..=3, 0.5_f64..2.0), 2..20),
        ) {
            let (later, ratios): (Vec<f64>, Vec<f64>) = points.into_iter().map(|(x, y)| (f64::from(x), y)).unzip();
            let inverse: Vec<f64> = ratios.iter().map(|ratio| 1.0 / ratio).collect();
            let turned: Vec<f64> = later.iter().map(|later| -later).collect();
            let (a, b) = (fit(&ratios, &later).unwrap(), fit(&inverse, &turned).unwrap());
            prop_assert!(close(a.effect.ratio * b.effect.ratio, 1.0) && close(a.effect.error, b.effect.error));
            prop_assert_eq!(a.effect.freedom, b.effect.freedom);
        }
    }
}
