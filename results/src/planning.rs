//! How many blocks see the margin, and how long they take: one number by one method, wherever it is said.

use statrs::distribution::{ContinuousCDF, Normal};

use crate::analysis::LEAST_BLOCKS;
use crate::order;
use crate::record::{Run, State};
use crate::statistics::{TAIL, upper_quantile};

/// How often the right verdict is to be given, where nobody says.
pub const POWER: f64 = 0.95;
/// More blocks than this are not looked for: the run would take days.
pub const MOST_BLOCKS: u32 = 1000;

/// The least number of blocks that see the margin: with them truly equal sides are called `equivalent` with this probability, and
/// one that is worse by twice the margin is called `worse` with at least the same. `sd_log`: standard deviation of the log-ratios from
/// block to block, which are taken to be normal. Absent beyond [`MOST_BLOCKS`].
pub fn blocks_needed(sd_log: f64, margin: f64, power: f64) -> Option<u32> {
    least(|blocks| found_equivalent(sd_log, margin, blocks).is_some_and(|found| found >= power))
}

/// How often truly equal sides are called `equivalent` with so many blocks.
///
/// The interval lies within the margin if |mean| + t S ÷ √n does: the mean is normal, and S, what the blocks show of their spread, is
/// chi-distributed, with the order in the block modelled ([`order::freedom`]). The other answer needs to keep from one edge only, which it
/// does more often.
pub fn found_equivalent(sd_log: f64, margin: f64, blocks: u32) -> Option<f64> {
    /// Points of the integral over S.
    const POINTS: u32 = 400;
    let freedom = f64::from(order::freedom(blocks).filter(|&freedom| freedom > 0)?);
    let quantile = upper_quantile(freedom, TAIL)?;
    if !(sd_log >= 0.0 && sd_log.is_finite() && margin > 0.0) {
        return None;
    }
    let edge = margin.ln_1p() * f64::from(blocks).sqrt() / sd_log;
    // Beyond six standard deviations of S there is nothing.
    let (low, high) = ((1.0 - 6.0 / (2.0 * freedom).sqrt()).max(0.0), 1.0 + 6.0 / (2.0 * freedom).sqrt());
    let normal = Normal::standard();
    let (mut found, mut all) = (0.0, 0.0);
    for point in 0..POINTS {
        let s = low + (high - low) * (f64::from(point) + 0.5) / f64::from(POINTS);
        let density = ((freedom - 1.0) * s.ln() - freedom * (s * s - 1.0) / 2.0).exp();
        all += density;
        found += density * (2.0 * normal.cdf(edge - quantile * s) - 1.0).max(0.0);
    }
    Some(found / all).filter(|found| found.is_finite())
}

/// The least number of blocks that is enough, if more are enough as well.
fn least(is_enough: impl Fn(u32) -> bool) -> Option<u32> {
    let mut high = LEAST_BLOCKS as u32;
    let mut low = high;
    while !is_enough(high) {
        if high == MOST_BLOCKS {
            return None;
        }
        low = high + 1;
        high = (high * 2).min(MOST_BLOCKS);
    }
    while low < high {
        let middle = low.midpoint(high);
        if is_enough(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(high)
}

/// About how long a run of so many blocks takes, in seconds: as long for each as this one took, or was planned to if it did not end.
pub fn seconds(run: &Run, blocks: u32) -> f64 {
    let whole = run.overhead.as_ref().filter(|_| run.state == State::Complete && run.breaks.is_empty());
    let all = whole.map_or(run.plan.planned_s, |overhead| overhead.wall_s);
    all / f64::from(run.plan.profile.blocks.max(1)) * f64::from(blocks)
}

/// So many seconds to the minute, rounded up.
pub fn about(seconds: f64) -> String {
    let minutes = (seconds.max(0.0) / 60.0).ceil() as u64;
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::Direction;
    use crate::simulation::{Judged, Noise, RUNS};
    use crate::testing;

    #[test]
    fn the_least_that_is_enough_is_found() {
        for wanted in [3, 4, 7, 12, 100, 999, 1000] {
            assert_eq!(least(|blocks| blocks >= wanted), Some(wanted));
        }
        assert_eq!(least(|_| false), None);
        assert_eq!(least(|_| true), Some(3));
    }

    /// What the formula says and what the judge of real runs does.
    #[test]
    fn the_probability_is_that_of_simulated_runs() {
        let normal = Normal::standard();
        for (sd, margin, blocks) in
            [(0.02, 0.05, 6), (0.05, 0.05, 12), (0.05, 0.05, 28), (0.08, 0.10, 8), (0.12, 0.1, 40)]
        {
            let logs: Vec<f64> = (0..2000).map(|i| sd * normal.inverse_cdf((f64::from(i) + 0.5) / 2000.0)).collect();
            let noise = Noise::of(&logs.iter().map(|log| log.exp()).collect::<Vec<_>>()).unwrap();
            let judged = Judged { blocks, margin, better: Direction::Higher };
            let simulated = noise.rates(1.0, judged, RUNS).equivalent;
            let found = found_equivalent(sd, margin, blocks).unwrap();
            assert!((found - simulated).abs() < 0.02, "{sd} {margin} {blocks}: {found} {simulated}");
            let needed = blocks_needed(sd, margin, 0.9).unwrap();
            assert!(found_equivalent(sd, margin, needed).unwrap() >= 0.9);
            assert!(needed == 3 || found_equivalent(sd, margin, needed - 1).unwrap() < 0.9);
            let twice = 1.0 / (1.0 + margin).powi(2);
            let rates = |truth| noise.rates(truth, Judged { blocks: needed, ..judged }, RUNS);
            assert!(rates(twice).worse >= rates(1.0).equivalent - 0.01, "equality is the harder one");
        }
    }

    #[test]
    fn no_spread_needs_the_fewest_blocks_and_nonsense_none() {
        assert_eq!(blocks_needed(0.0, 0.05, POWER), Some(3));
        assert_eq!(blocks_needed(10.0, 0.05, POWER), None);
        for (sd, margin) in [(f64::NAN, 0.05), (f64::INFINITY, 0.05), (-1.0, 0.05), (0.05, 0.0), (0.05, f64::NAN)] {
            assert_eq!(blocks_needed(sd, margin, POWER), None, "{sd} {margin}");
        }
        let needed = [0.01, 0.05, 0.1, 0.3].map(|sd| blocks_needed(sd, 0.05, POWER).unwrap());
        assert!(needed.is_sorted() && needed[3] > 300, "{needed:?}");
    }

    #[test]
    fn times_are_told_to_the_minute() {
        assert_eq!([700.0, 7_140.0].map(about), ["12 min", "1 h 59 min"]);
    }

    #[test]
    fn a_run_says_how_long_its_blocks_take() {
        let mut run = testing::record(1, 7, false).run;
        assert_eq!(seconds(&run, 14), 1400.0, "of 7 in 700 s");
        run.state = State::Interrupted;
        assert_eq!(seconds(&run, 14), 2.0 * run.plan.planned_s, "it was not all executed");
    }
}
