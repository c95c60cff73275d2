//! The between-run spread: how far the mean of one run lies from that of another beyond what their blocks explain.
//!
//! A run's log-ratio is `mu + a + e`: the truth, a draw of the run (its hour, the layout of its target, its neighbours) with the
//! standard deviation tau, and the mean of its blocks' noise. Blocks show only the last one, so that two runs need tau from
//! elsewhere: from earlier runs of the same series, else from the controls, else from a default.

use schemars::JsonSchema;
use serde::Serialize;

use crate::sentence;
use crate::statistics::{Effect, logs, moments};

/// Fewer blocks a side, and two runs get no verdict.
pub const LEAST_BLOCKS_A_RUN: usize = 6;
/// Fewer earlier runs, and the default tells more than they do.
pub const LEAST_RUNS: usize = 5;
/// Where nothing else tells it. Six runs in a row on one quiet evening gave 1.8 and 4.0 % for container ÷ native (`rand-read`,
/// `rand-read-qd1`) and 0 and 1.6 % for the control: 2.3 % together. Another machine has another: docs/STATISTICS.md says what follows.
pub const DEFAULT_SD: f64 = 0.025;
/// The default is taken to be known as well as eleven runs would tell it.
const DEFAULT_FREEDOM: f64 = 10.0;

/// Where a [`Spread`] is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Earlier runs of the same series.
    History,
    /// The controls of the two runs that are compared: they differed by more than the default.
    Controls,
    /// Nothing of this machine.
    Default,
}

/// The between-run spread, and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Spread {
    /// Where it is from.
    pub source: Source,
    /// Runs of this machine that it is from; of the default, none.
    pub runs: usize,
    /// Standard deviation of a run's log-ratio beyond its blocks (tau): 0.014 is 1.4 %.
    pub sd_log: f64,
    /// Mean square of the runs' means, the blocks' part included: tau² is the rest.
    pub mean_square: f64,
    /// Of the mean square.
    pub degrees_of_freedom: f64,
}

/// The blocks of one run: all that a comparison of runs needs of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunMean {
    /// Mean of the log-ratios.
    pub mean: f64,
    /// Variance of that mean, by the spread between the blocks.
    pub variance: f64,
    /// How many blocks.
    pub blocks: usize,
}

impl RunMean {
    /// Of the ratios of at least two blocks; absent where one is no positive number.
    pub fn of(ratios: &[f64]) -> Option<RunMean> {
        let (mean, sd) = moments(&logs(ratios)?)?;
        Some(RunMean { mean, variance: sd.powi(2) / ratios.len() as f64, blocks: ratios.len() })
    }
}

impl Spread {
    /// The default.
    pub fn assumed() -> Spread {
        let mean_square = DEFAULT_SD.powi(2);
        let degrees_of_freedom = DEFAULT_FREEDOM;
        Spread { source: Source::Default, runs: 0, sd_log: DEFAULT_SD, mean_square, degrees_of_freedom }
    }

    /// Of earlier runs, at least [`LEAST_RUNS`]: the variance of their means less what their blocks explain, and not below 0.
    /// (Cochran's ANOVA estimate, Biometrics 10 (1954), 101-129; unweighted, so that runs of few blocks with an accidentally small
    /// spread do not count for more.)
    pub fn of_history(runs: &[RunMean]) -> Option<Spread> {
        if runs.len() < LEAST_RUNS {
            return None;
        }
        let (_, sd) = moments(&runs.iter().map(|run| run.mean).collect::<Vec<_>>())?;
        Some(Spread::of(Source::History, runs.len(), (sd.powi(2), runs.len() as f64 - 1.0), runs))
    }

    /// Of the controls of `runs` runs, one mean for each run and workload, whose truth is 0. A control differs from its reference in
    /// less than other environments do, so that it can only raise the default: absent where it does not.
    pub fn of_controls(controls: &[RunMean], runs: usize) -> Option<Spread> {
        let count = controls.len() as f64;
        let mean_square = controls.iter().map(|control| control.mean.powi(2)).sum::<f64>() / count;
        // What is of the run, and not of the workload, is drawn once for each run only: how much that is cannot be seen from two.
        let spread = Spread::of(Source::Controls, runs, (mean_square, count), controls);
        Some(spread).filter(|spread| spread.sd_log > DEFAULT_SD)
    }

    fn of(source: Source, runs: usize, (mean_square, degrees_of_freedom): (f64, f64), means: &[RunMean]) -> Spread {
        let within = means.iter().map(|run| run.variance).sum::<f64>() / means.len() as f64;
        let sd_log = (mean_square - within).max(0.0).sqrt();
        Spread { source, runs, sd_log, mean_square, degrees_of_freedom }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let percent = sentence::percent(self.sd_log);
        match self.source {
            Source::History => write!(f, "between-run spread {percent}, from {} runs", self.runs),
            Source::Controls => write!(f, "between-run spread {percent}, from the controls"),
            Source::Default => write!(f, "between-run spread {percent}, assumed"),
        }
    }
}

/// `new` over `base`, each the mean of one run or more, every one of which is a draw of its own.
///
/// The degrees of freedom are those of Welch and Satterthwaite over all parts of the variance: the blocks of each run, and the mean
/// square behind the spread, also where nothing is left of it beyond the blocks. They are never more than the smaller side's blocks
/// less one: a side of few blocks is known as badly as these tell.
pub fn effect(new: &[RunMean], base: &[RunMean], spread: &Spread) -> Option<Effect> {
    if new.is_empty() || base.is_empty() {
        return None;
    }
    let mean = |side: &[RunMean]| side.iter().map(|run| run.mean).sum::<f64>() / side.len() as f64;
    let draws = 1.0 / new.len() as f64 + 1.0 / base.len() as f64;
    let (mut variance, mut below) = (draws * spread.sd_log.powi(2), 0.0);
    if spread.degrees_of_freedom > 0.0 {
        below += (draws * spread.mean_square).powi(2) / spread.degrees_of_freedom;
    }
    for side in [new, base] {
        for run in side {
            let part = run.variance / (side.len() as f64).powi(2);
            variance += part;
            below += part.powi(2) / (run.blocks as f64 - 1.0);
        }
    }
    let blocks = |side: &[RunMean]| side.iter().map(|run| run.blocks).sum::<usize>();
    let most = blocks(new).min(blocks(base)) as f64 - 1.0;
    // A spread that is hardly known leaves one degree, the fewest for which there is a quantile.
    let freedom = if below > 0.0 { (variance.powi(2) / below).clamp(1.0, most.max(1.0)) } else { most.max(1.0) };
    Some(Effect { ratio: (mean(new) - mean(base)).exp(), error: variance.sqrt(), freedom })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Spread =
        Spread { source: Source::Default, runs: 0, sd_log: 0.0, mean_square: 0.0, degrees_of_freedom: 10.0 };

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-12 * b.abs().max(1.0)
    }

    fn run(mean: f64, sd_of_mean: f64, blocks: usize) -> RunMean {
        RunMean { mean, variance: sd_of_mean.powi(2), blocks }
    }

    #[test]
    fn without_a_spread_it_is_welchs_test_with_no_more_freedom_than_the_smaller_side_has() {
        let (new, base) = ([0.80, 0.83, 0.79, 0.81, 0.82, 0.78], [0.97, 1.01, 0.90, 1.06]);
        let welch = Effect::welch(&new, &base).unwrap();
        let mine = effect(&[RunMean::of(&new).unwrap()], &[RunMean::of(&base).unwrap()], &NONE).unwrap();
        assert!(close(mine.ratio, welch.ratio) && close(mine.error, welch.error), "{mine:?} {welch:?}");
        assert!(welch.freedom > 3.0 && mine.freedom == 3.0, "{mine:?} {welch:?}");
    }

    #[test]
    fn a_history_gives_what_is_left_of_the_variance_of_its_means() {
        let means = [0.0, 0.02, -0.02, 0.04, -0.04].map(|mean| run(mean, 0.01, 8));
        let spread = Spread::of_history(&means).unwrap();
        assert!(close(spread.mean_square, 1e-3) && close(spread.sd_log, 0.03), "{spread:?}");
        assert_eq!((spread.degrees_of_freedom, spread.runs, spread.source), (4.0, 5, Source::History));
        assert_eq!(spread.to_string(), "between-run spread 3.0 %, from 5 runs");
        assert_eq!(Spread::of_history(&means[..4]), None);
        // Blocks that explain more than there is leave nothing, and what is known of it stays little.
        let spread = Spread::of_history(&means.map(|mean| RunMean { variance: 0.01, ..mean })).unwrap();
        assert_eq!(spread.sd_log, 0.0);
        let sides = [run(0.0, 0.01, 28), run(-0.1, 0.01, 28)];
        assert!(effect(&sides[..1], &sides[1..], &spread).unwrap().freedom < 4.0);
    }

    #[test]
    fn each_run_is_a_draw_and_several_of_one_side_are_known_better() {
        let spread = Spread { sd_log: 0.03, mean_square: 9e-4, degrees_of_freedom: 1e9, ..NONE };
        let side = |runs: usize| vec![run(0.0, 0.0, 1000); runs];
        let error = |new, base| effect(&side(new), &side(base), &spread).unwrap().error;
        assert!(close(error(1, 1), 0.03 * 2.0_f64.sqrt()) && close(error(3, 1), 0.03 * (4.0_f64 / 3.0).sqrt()));
        assert_eq!(effect(&side(0), &side(1), &spread), None);
    }

    #[test]
    fn controls_raise_the_default_only() {
        let controls = |size: f64| [size, -size, size, -size].map(|mean| run(mean, 0.01, 8));
        assert_eq!(Spread::of_controls(&controls(0.02), 2), None);
        let spread = Spread::of_controls(&controls(0.05), 2).unwrap();
        assert!(close(spread.sd_log, 24e-4_f64.sqrt()), "{spread:?}");
        assert_eq!((spread.degrees_of_freedom, spread.runs, spread.source), (4.0, 2, Source::Controls));
        assert_eq!(Spread::of_controls(&[], 0), None);
    }

    #[test]
    fn what_is_no_number_has_no_interval() {
        for odd in [f64::NAN, f64::INFINITY, 1e200] {
            let found = effect(&[run(0.0, odd, 8)], &[run(0.0, 0.01, 8)], &Spread::assumed());
            assert_eq!(found.and_then(|found| found.interval()), None, "{odd}");
        }
        assert_eq!(RunMean::of(&[1.0, 0.0]), None);
        assert_eq!(RunMean::of(&[1.0]), None);
    }
}
