//! Made-up runs and comparisons of them, judged by the code that judges real ones: what a verdict and a gate promise is shown with it,
//! and a gate is planned with it.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use statrs::distribution::{ContinuousCDF, Normal};

use super::family::{adjust, first_verdict};
use super::judgement::outcome;
use super::{Judged, Outcome, Part, Quantity};
use crate::analysis::LEAST_BLOCKS;
use crate::between::{self, LEAST_BLOCKS_A_RUN, RunMean, Spread};
use crate::judge::{Said, WhyNot, paired};
use crate::metric::Metric;
use crate::order;
use crate::policy::Policy;
use crate::statistics::{Effect, geometric_mean};
use crate::verdict::Verdict;

/// How the log-ratios of blocks scatter about the mean of their run.
#[derive(Debug, Clone, PartialEq)]
pub enum Scatter {
    /// Normal, with this standard deviation.
    Normal(f64),
    /// Student's t with three degrees of freedom, scaled to this standard deviation: outliers on both sides.
    HeavyTails(f64),
    /// A lognormal of shape 0.8, centred and scaled to this standard deviation; a negative one leans to the other side.
    Lopsided(f64),
    /// One block in twenty scatters five times as much as the others; this is the standard deviation of all.
    Outliers(f64),
    /// Half of the blocks lie 1.8 standard deviations below the others; this is the standard deviation of all.
    TwoModes(f64),
    /// Normal, and half of what a block is off by is left in the next one (AR(1) with the coefficient 0.5).
    Autocorrelated(f64),
    /// Drawn with replacement from these.
    Residuals(Vec<f64>),
}

/// What tells the comparison how far runs lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// So many earlier runs, of as many blocks as NEW.
    History(usize),
    /// Controls of both runs in so many workloads.
    Controls {
        /// Of a run.
        workloads: usize,
        /// True where a run's draw is the same in all of them; else each has one of its own.
        alike: bool,
    },
    /// Nothing: the default is taken.
    Nothing,
}

/// One deciding row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What it is judged by.
    pub metric: &'static Metric,
    /// How its blocks scatter.
    pub scatter: Scatter,
    /// The margin.
    pub margin: f64,
    /// By how much NEW is worse in truth, as a factor: 1 is not at all.
    pub worse_by: f64,
    /// The true between-run spread, as the standard deviation of a run's log-ratio.
    pub between: f64,
    /// What is known of it.
    pub told: Told,
}

/// Two runs to compare, again and again.
#[derive(Debug, Clone, PartialEq)]
pub struct Pairs {
    /// Blocks of BASE.
    pub base_blocks: u32,
    /// Blocks of NEW.
    pub new_blocks: u32,
    /// The deciding rows, each with draws of its own.
    pub rows: Vec<Row>,
    /// How many more rows decide, all of them equivalent: they count for the adjustment of alarms.
    pub others: usize,
}

/// How often comparisons end how, as fractions.
#[derive(Debug, Clone, PartialEq)]
pub struct Ends {
    /// The gate passes.
    pub pass: f64,
    /// It fails.
    pub fail: f64,
    /// It cannot tell.
    pub inconclusive: f64,
    /// Of each row.
    pub rows: Vec<RowEnds>,
}

/// How often a row is called so, as fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowEnds {
    /// `worse`, after the adjustment for all rows.
    pub worse: f64,
    /// `equivalent`.
    pub equivalent: f64,
}

impl Pairs {
    /// Compare so many pairs. The same seed gives the same figures.
    pub fn ends(&self, comparisons: u32, seed: u64) -> Ends {
        let mut draws = Draws::new(seed);
        let policy = Policy::default();
        let mut templates: Vec<Judged> = self.rows.iter().map(template).collect();
        if let Some(first) = templates.first().cloned() {
            let far = Judged { p: Some(1.0), ratio: Some(1.0), verdict: Some(Verdict::Equivalent), ..first };
            templates.extend(std::iter::repeat_n(far, self.others));
        }
        let (mut outcomes, mut counts) = ([0_u32; 3], vec![[0_u32; 2]; self.rows.len()]);
        for _ in 0..comparisons {
            let mut rows = templates.clone();
            for (row, judged) in self.rows.iter().zip(&mut rows) {
                self.measure(row, judged, &mut draws);
            }
            adjust(&mut rows, &policy);
            let outcome = outcome(&rows);
            let is = [Outcome::Pass, Outcome::Fail, Outcome::Inconclusive].map(|one| outcome == one);
            outcomes.iter_mut().zip(is).for_each(|(count, is)| *count += u32::from(is));
            for (counts, row) in counts.iter_mut().zip(&rows) {
                counts[0] += u32::from(row.verdict == Some(Verdict::Worse));
                counts[1] += u32::from(row.verdict == Some(Verdict::Equivalent));
            }
        }
        let rate = |count: u32| f64::from(count) / f64::from(comparisons.max(1));
        let [pass, fail, inconclusive] = outcomes.map(rate);
        let rows =
            counts.into_iter().map(|[worse, equivalent]| RowEnds { worse: rate(worse), equivalent: rate(equivalent) });
        Ends { pass, fail, inconclusive, rows: rows.collect() }
    }

    fn measure(&self, row: &Row, judged: &mut Judged, draws: &mut Draws) {
        let truth = crate::simulation::worse_by(row.worse_by, row.metric.better).ln();
        let base = draws.run(0.0, row.between, &row.scatter, self.base_blocks);
        let new = draws.run(truth, row.between, &row.scatter, self.new_blocks);
        let spread = self.spread(row, draws);
        let runs = RunMean::of(&new).zip(RunMean::of(&base));
        judged.measure(runs.and_then(|(new, base)| between::effect(&[new], &[base], &spread)), Some(spread));
        let why_not = judged.too_few(new.len().min(base.len()), ("block", LEAST_BLOCKS_A_RUN)).map(WhyNot::Withheld);
        first_verdict(judged, Said::of(judged.interval, why_not, (row.margin, row.metric.better)), row.metric);
    }

    fn spread(&self, row: &Row, draws: &mut Draws) -> Spread {
        let found = match row.told {
            Told::Nothing => None,
            Told::History(runs) => {
                let earlier = (0..runs).map(|_| draws.run(0.0, row.between, &row.scatter, self.new_blocks));
                let earlier: Vec<RunMean> = earlier.filter_map(|ratios| RunMean::of(&ratios)).collect();
                Spread::of_history(&earlier)
            }
            Told::Controls { workloads, alike } => {
                let mut controls = Vec::new();
                for blocks in [self.base_blocks, self.new_blocks] {
                    let of_run = draws.normal() * row.between;
                    for _ in 0..workloads {
                        let (center, spread) = if alike { (of_run, 0.0) } else { (0.0, row.between) };
                        controls.extend(RunMean::of(&draws.run(center, spread, &row.scatter, blocks)));
                    }
                }
                Spread::of_controls(&controls, 2)
            }
        };
        found.unwrap_or_else(Spread::assumed)
    }
}

/// A deciding row of an overhead before anything is measured.
fn template(row: &Row) -> Judged {
    Judged {
        workload: String::new(),
        environment: String::new(),
        metric: row.metric.name.to_owned(),
        unit: row.metric.unit,
        better: row.metric.better,
        quantity: Quantity::Overhead,
        part: Part::Undecided,
        emulated: false,
        base_mean: None,
        new_mean: None,
        base_values: Vec::new(),
        new_values: Vec::new(),
        ratio: None,
        interval: None,
        degrees_of_freedom: None,
        between: None,
        margin: row.margin,
        p: None,
        p_holm: None,
        smallest_alarm: None,
        noise_floor: None,
        verdict: None,
        confirmations: Vec::new(),
        fresh_values: Vec::new(),
        ignored: None,
        sentence: String::new(),
    }
}

/// One run after the other, judged by its blocks. The environment comes before and after the other by turns, which tells nothing here, and
/// costs what it costs a real run to model it. No verdict is withheld for two modes.
pub fn one_run(row: &Row, blocks: u32, runs: u32, seed: u64) -> RowEnds {
    let (mut draws, better) = (Draws::new(seed), row.metric.better);
    let truth = crate::simulation::worse_by(row.worse_by, better).ln();
    let later: Vec<f64> = (0..blocks).map(|block| if block % 2 == 0 { 1.0 } else { -1.0 }).collect();
    RowEnds::of(runs, || {
        let ratios = draws.run(truth, 0.0, &row.scatter, blocks);
        paired((&ratios, order::fit(&ratios, &later)), "block", (None, None), (row.margin, better)).1.verdict
    })
}

/// Two sets of so many runs, of so many blocks each: one value for each run. `row.told` says nothing here.
pub fn sets(row: &Row, [base_runs, new_runs]: [u32; 2], blocks: u32, (comparisons, seed): (u32, u64)) -> RowEnds {
    let (mut draws, policy) = (Draws::new(seed), Policy::default());
    let truth = crate::simulation::worse_by(row.worse_by, row.metric.better).ln();
    RowEnds::of(comparisons, || {
        let mut side = |truth, runs| -> Vec<f64> {
            let run = |_| geometric_mean(&draws.run(truth, row.between, &row.scatter, blocks));
            (0..runs).filter_map(run).collect()
        };
        let (base, new) = (side(0.0, base_runs), side(truth, new_runs));
        let mut rows = [template(row)];
        let [judged] = &mut rows;
        judged.measure(Effect::welch(&new, &base), None);
        let why_not = judged.too_few(new.len().min(base.len()), ("run", LEAST_BLOCKS)).map(WhyNot::Withheld);
        first_verdict(judged, Said::of(judged.interval, why_not, (row.margin, row.metric.better)), row.metric);
        adjust(&mut rows, &policy);
        rows[0].verdict
    })
}

impl RowEnds {
    fn of(tries: u32, mut verdict: impl FnMut() -> Option<Verdict>) -> RowEnds {
        let (mut worse, mut equivalent) = (0_u32, 0_u32);
        for _ in 0..tries {
            let verdict = verdict();
            worse += u32::from(verdict == Some(Verdict::Worse));
            equivalent += u32::from(verdict == Some(Verdict::Equivalent));
        }
        let rate = |count: u32| f64::from(count) / f64::from(tries.max(1));
        RowEnds { worse: rate(worse), equivalent: rate(equivalent) }
    }
}

struct Draws {
    rng: ChaCha12Rng,
    normal: Normal,
}

impl Draws {
    fn new(seed: u64) -> Draws {
        Draws { rng: ChaCha12Rng::seed_from_u64(seed), normal: Normal::standard() }
    }

    fn normal(&mut self) -> f64 {
        self.normal.inverse_cdf(self.rng.random_range(1e-12..1.0))
    }

    /// The ratios of a run's blocks, whose truth has this logarithm.
    fn run(&mut self, truth: f64, between: f64, scatter: &Scatter, blocks: u32) -> Vec<f64> {
        let center = truth + between * self.normal();
        let mut before = None;
        let block = |_| {
            let drawn = self.scatter(scatter, before);
            before = Some(drawn);
            (center + drawn).exp()
        };
        (0..blocks).map(block).collect()
    }

    /// `before`: what the block before was off by.
    fn scatter(&mut self, scatter: &Scatter, before: Option<f64>) -> f64 {
        /// Shape of the lognormal.
        const SHAPE: f64 = 0.8;
        const LEFT: f64 = 0.5;
        const OUTLIERS: f64 = 0.05;
        const FURTHER: f64 = 5.0;
        /// How far each mode lies from the middle, in standard deviations.
        const MODE: f64 = 0.9;
        match scatter {
            Scatter::Normal(sd) => sd * self.normal(),
            Scatter::Outliers(sd) => {
                let by = if self.rng.random_bool(OUTLIERS) { FURTHER } else { 1.0 };
                sd * by * self.normal() / (1.0 - OUTLIERS + OUTLIERS * FURTHER.powi(2)).sqrt()
            }
            Scatter::TwoModes(sd) => {
                let mode = if self.rng.random_bool(0.5) { MODE } else { -MODE };
                sd * (mode + (1.0 - MODE.powi(2)).sqrt() * self.normal())
            }
            Scatter::Autocorrelated(sd) => match before {
                Some(before) => LEFT * before + (1.0 - LEFT.powi(2)).sqrt() * sd * self.normal(),
                None => sd * self.normal(),
            },
            Scatter::HeavyTails(sd) => {
                let (mut squares, z) = (0.0, self.normal());
                (0..3).for_each(|_| squares += self.normal().powi(2));
                // Student's variance with three degrees of freedom is 3.
                sd * z / (squares / 3.0).sqrt() / 3.0_f64.sqrt()
            }
            Scatter::Lopsided(sd) => {
                let variance = SHAPE.powi(2);
                let (mean, own_sd) = ((variance / 2.0).exp(), (variance.exp_m1() * variance.exp()).sqrt());
                sd * ((SHAPE * self.normal()).exp() - mean) / own_sd
            }
            Scatter::Residuals(residuals) if residuals.is_empty() => 0.0,
            Scatter::Residuals(residuals) => residuals[self.rng.random_range(0..residuals.len())],
        }
    }
}
