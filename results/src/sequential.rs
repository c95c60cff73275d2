//! Sequential looks: a run that looks at its verdicts after whole Latin squares, and ends when all of them are given.
//!
//! Who looks seven times with the bounds of one look is wrong far more often than promised. So each look spends a part of the error:
//! little while little is known, what is left at the end (O'Brien and Fleming's bounds in the form of Lan and DeMets, Biometrika 70
//! (1983), 659-663). Their bounds assume a known variance; with few blocks Student's quantiles at the same levels are wrong too often.
//! The levels here are therefore found by simulation ([`Paths::tails`]), kept in `results/reference/looks.json`.
//!
//! An interval at a look's level is a repeated confidence interval (Jennison and Turnbull, JRSS B 51 (1989), 305-361): with 97.5 % a side
//! it holds the true ratio at *all* looks, whatever made the run stop.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, Normal};

use crate::analysis::analyse;
use crate::judge;
use crate::order::{self, LEAST_BLOCKS};
use crate::record::{Environment, Plan, Run};
use crate::statistics::{TAIL, upper_quantile, upper_tail};
use crate::store::Record;

/// Squares of so many blocks, and runs of so many, are in the table.
pub const SQUARES: std::ops::RangeInclusive<u32> = 2..=12;
/// The longest run in the table, in blocks.
pub const MOST_BLOCKS: u32 = 60;
/// Smaller levels are rounded up to this: nobody's verdict depends on them.
const LEAST_TAIL: f64 = 1e-6;
/// Where a share of all paths is fewer than these, their quantile says nothing.
const LEAST_PATHS: usize = 100;

/// When a run looks at its verdicts, and how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sequential {
    /// Written before the first trial; the last one is after the last block of the plan.
    pub looks: Vec<Look>,
    /// The block after which every verdict was given, and the rest of the plan was given up: its trials are not in `trials`, and
    /// `profile.blocks` is this. Absent where the run has not stopped before its last look.
    #[serde(default)]
    pub stopped_after: Option<u32>,
}

/// One look.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Look {
    /// It is after this block, counted from 1.
    pub block: u32,
    /// One-sided level of the interval at this look, in place of 0.025.
    pub tail: f64,
}

/// There is no way to look so.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum NoLooks {
    /// The first look would be the last.
    #[error(
        "--until-decided looks after whole squares of {square} blocks, from block {first} on: of {blocks} blocks there is no look before \
         the end; give more --blocks"
    )]
    TooFew {
        /// Blocks of a square.
        square: u32,
        /// The first look.
        first: u32,
        /// Blocks of the plan.
        blocks: u32,
    },
    /// Beyond the table.
    #[error(
        "--until-decided has bounds for up to {} blocks and whole squares of up to {} blocks: {blocks} blocks with squares of {square} \
         are more; give fewer --blocks, or leave --until-decided out",
        MOST_BLOCKS,
        SQUARES.end()
    )]
    TooMany {
        /// Blocks of a square.
        square: u32,
        /// Blocks of the plan.
        blocks: u32,
    },
}

/// After so many blocks every workload's orders are whole Latin squares: one for each number of environments, each with `turns` rows a
/// block.
pub fn square(environments: impl IntoIterator<Item = u32>, turns: u32) -> u32 {
    let rows = environments.into_iter().filter(|&count| count > 1).map(|count| count / gcd(count, turns));
    rows.fold(1, |square, rows| square / gcd(square, rows) * rows).max(2)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

/// Blocks after which a run looks: whole squares from [`LEAST_BLOCKS`] on, and its end.
pub fn looks_of(square: u32, blocks: u32) -> Vec<u32> {
    let squares = (1..).map(|count| count * square).skip_while(|&block| block < LEAST_BLOCKS as u32);
    squares.take_while(|&block| block < blocks).chain([blocks]).collect()
}

/// The looks of a run of so many blocks.
pub fn looks(square: u32, blocks: u32) -> Result<Vec<Look>, NoLooks> {
    if !SQUARES.contains(&square) || blocks > MOST_BLOCKS {
        return Err(NoLooks::TooMany { square, blocks });
    }
    let at = looks_of(square, blocks);
    let tails = table().get(&(square, blocks)).filter(|tails| tails.len() == at.len() && at.len() > 1);
    let Some(tails) = tails else {
        return Err(NoLooks::TooFew { square, first: (LEAST_BLOCKS as u32).div_ceil(square) * square, blocks });
    };
    Ok(at.into_iter().zip(tails).map(|(block, &tail)| Look { block, tail }).collect())
}

/// One row of the recorded table.
#[derive(Debug, Serialize, Deserialize)]
pub struct Row {
    /// Blocks of a square.
    pub square: u32,
    /// Blocks of the run.
    pub blocks: u32,
    /// Levels, look by look.
    pub tails: Vec<f64>,
}

/// What `examples/looks.rs` wrote.
fn table() -> &'static BTreeMap<(u32, u32), Vec<f64>> {
    static TABLE: OnceLock<BTreeMap<(u32, u32), Vec<f64>>> = OnceLock::new();
    TABLE.get_or_init(|| {
        // A test reads it.
        let rows: Vec<Row> = serde_json::from_str(include_str!("../reference/looks.json")).unwrap_or_default();
        rows.into_iter().map(|row| ((row.square, row.blocks), row.tails)).collect()
    })
}

/// The one-sided error that may be spent when this share of the blocks is there.
pub fn spent(share: f64) -> f64 {
    let normal = Normal::standard();
    2.0 * normal.sf(normal.inverse_cdf(1.0 - TAIL / 2.0) / share.sqrt())
}

impl Sequential {
    /// The level of an interval over the blocks up to this one: that of the last look, or of the first while there was none.
    pub fn tail(&self, block: u32) -> Option<f64> {
        let last = self.looks.iter().rfind(|look| look.block <= block);
        last.or(self.looks.first()).map(|look| look.tail).filter(|tail| *tail > 0.0 && *tail <= TAIL)
    }

    /// In words: what was planned, what came of it, and what it means for the numbers.
    pub fn note(&self) -> String {
        let at: Vec<String> = self.looks.iter().map(|look| look.block.to_string()).collect();
        let planned = self.looks.last().map_or(0, |look| look.block);
        let end = match self.stopped_after {
            Some(block) => format!(
                "it stopped after {block} of {planned} blocks, since every verdict was given; ratios of runs that stop early are a little \
                 extreme, and their spread a little small"
            ),
            None => format!("{planned} blocks are planned"),
        };
        format!(
            "--until-decided: the run looks at its verdicts after blocks {}, and its intervals are repeated confidence intervals, which \
             hold at all looks together; {end}",
            at.join(", ")
        )
    }
}

impl Plan {
    /// True when the run is to look before it goes on with this block.
    pub fn looks_before(&self, block: u32) -> bool {
        self.sequential.iter().flat_map(|sequential| &sequential.looks).any(|look| look.block + 1 == block)
    }

    /// Give up all blocks after this one.
    pub fn stop_after(&mut self, block: u32) {
        let Some(sequential) = &mut self.sequential else { return };
        sequential.stopped_after = Some(block);
        let planned = self.trials.len().max(1) as f64;
        self.trials.retain(|trial| trial.block <= block);
        self.starts.truncate(block as usize);
        self.profile.blocks = block;
        self.planned_s *= self.trials.len() as f64 / planned;
    }
}

/// Whether every row that can have a verdict has one: each environment against the reference in each workload, by its deciding metric.
/// Emulated guests, commands on other storage, and the control have none. Where there is no such row, nothing is decided
/// ([`never_decided`]).
pub fn is_decided(record: &Record) -> bool {
    let comparisons = analyse(record).comparisons;
    let rows = rows(&record.run).into_iter().filter(|row| row.why_never.is_none());
    let mut rows = rows.map(|Compared { workload, environment, .. }| {
        let mut of =
            comparisons.iter().filter(|c| c.deciding && c.workload == workload && c.environment == environment);
        of.any(|c| c.verdict.is_some_and(|verdict| verdict != crate::verdict::Verdict::Inconclusive))
    });
    let first = rows.next();
    first.is_some_and(|first| first && rows.all(|is_judged| is_judged))
}

/// An environment against the reference in a workload.
struct Compared<'a> {
    workload: &'a str,
    environment: &'a str,
    /// Why it has no verdict, whatever is measured.
    why_never: Option<String>,
}

/// Each environment in each of its workloads, but the reference and the control.
fn rows(run: &Run) -> Vec<Compared<'_>> {
    let plan = &run.plan;
    let Some(reference) = run.environments.iter().find(|environment| environment.name == plan.reference) else {
        return Vec::new();
    };
    let compared = |environment: &&Environment| {
        environment.name != reference.name && plan.control.as_ref() != Some(&environment.name)
    };
    let compared: Vec<&Environment> = run.environments.iter().filter(compared).collect();
    let mut rows = Vec::new();
    for workload in &plan.workloads {
        rows.extend(compared.iter().filter(|environment| workload.runs_in(&environment.name)).map(|environment| {
            Compared {
                workload: &workload.name,
                environment: &environment.name,
                why_never: judge::why_never(run, workload, (environment, reference)),
            }
        }));
    }
    rows
}

/// That a run which is to look at its verdicts can have none, and why; absent where it can have one, or is not to look.
pub fn never_decided(run: &Run) -> Option<String> {
    let rows = rows(run).into_iter().map(|row| (row.environment, row.why_never));
    run.plan.sequential.as_ref().and_then(|_| nothing_to_decide(run.plan.profile.blocks, rows))
}

/// That no look at these rows can end a run of so many blocks: of each its environment, and why it never has a verdict.
pub fn nothing_to_decide<'a>(blocks: u32, rows: impl IntoIterator<Item = (&'a str, Option<String>)>) -> Option<String> {
    let mut reasons: Vec<(String, Vec<&str>)> = Vec::new();
    for (environment, why) in rows {
        let why = why?;
        match reasons.iter_mut().find(|(known, _)| *known == why) {
            Some((_, named)) if named.contains(&environment) => {}
            Some((_, named)) => named.push(environment),
            None => reasons.push((why, vec![environment])),
        }
    }
    let said: Vec<_> = reasons.iter().map(|(why, named)| format!("{}: {why}", named.join(", "))).collect();
    let why = if said.is_empty() { "nothing is compared with the reference".to_owned() } else { said.join("; ") };
    Some(format!(
        "--until-decided: no row of this run can have a verdict ({why}), so that it goes on to the end of its {blocks} blocks"
    ))
}

/// Simulated runs without any difference, whose blocks are normal: Student's statistic after each block, for runs with squares of one
/// size.
pub struct Paths {
    square: u32,
    /// By number of blocks.
    statistics: Vec<Vec<f32>>,
}

impl Paths {
    /// So many runs of [`MOST_BLOCKS`] blocks each.
    pub fn simulate(square: u32, runs: usize, seed: u64) -> Paths {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut statistics = vec![Vec::with_capacity(runs); MOST_BLOCKS as usize + 1];
        for _ in 0..runs {
            let mut sums = Sums::default();
            for block in 0..MOST_BLOCKS {
                sums.add(later(square, block), normal(&mut rng));
                if block + 1 >= LEAST_BLOCKS as u32 {
                    statistics[block as usize + 1].push(sums.statistic() as f32);
                }
            }
        }
        Paths { square, statistics }
    }

    /// One-sided levels for a run of so many blocks, with which as many paths have crossed a bound after each look as [`spent`] allows.
    /// Upper and lower bounds are crossed by different paths, and each counts.
    pub fn tails(&self, blocks: u32) -> Vec<f64> {
        let runs = self.statistics[LEAST_BLOCKS].len();
        let mut inside = vec![true; 2 * runs];
        let (mut crossed, mut before) = (0, 0.0);
        let mut tails = Vec::new();
        for look in looks_of(self.square, blocks) {
            let freedom = order::freedom(look).map_or(1.0, f64::from);
            let may = spent(f64::from(look) / f64::from(blocks));
            let mut left: Vec<f32> =
                self.sides(look).zip(&inside).filter(|(_, inside)| **inside).map(|(t, _)| t).collect();
            let count = ((may * 2.0 * runs as f64).round() as usize).saturating_sub(crossed);
            // What this look adds is a level by itself, if a cautious one: some who cross now had crossed before.
            let mut tail = (may - before).max(LEAST_TAIL);
            if count >= LEAST_PATHS && count < left.len() {
                let (_, bound, _) = left.select_nth_unstable_by(count, |a, b| b.total_cmp(a));
                tail = upper_tail(freedom, f64::from(*bound)).unwrap_or(tail);
            }
            let bound = upper_quantile(freedom, tail).unwrap_or(f64::INFINITY) as f32;
            for (t, inside) in self.sides(look).zip(&mut inside) {
                if *inside && t > bound {
                    *inside = false;
                    crossed += 1;
                }
            }
            before = may;
            tails.push(tail);
        }
        tails
    }

    /// Share of paths that cross an upper bound of these looks at any of them.
    pub fn crossing(&self, looks: &[Look]) -> f64 {
        let runs = self.statistics[LEAST_BLOCKS].len();
        let mut inside = vec![true; 2 * runs];
        for look in looks {
            let freedom = order::freedom(look.block).map_or(1.0, f64::from);
            let bound = upper_quantile(freedom, look.tail).unwrap_or(f64::INFINITY) as f32;
            self.sides(look.block).zip(&mut inside).for_each(|(t, inside)| *inside &= t <= bound);
        }
        inside.iter().filter(|inside| !**inside).count() as f64 / inside.len() as f64
    }

    /// The paths as they are, and mirrored.
    fn sides(&self, look: u32) -> impl Iterator<Item = f32> + '_ {
        let all = &self.statistics[look as usize];
        all.iter().copied().chain(all.iter().map(|t| -t))
    }
}

/// Box and Muller's: far quicker than to invert the distribution.
fn normal(rng: &mut ChaCha12Rng) -> f64 {
    let (radius, angle) = (rng.random_range(1e-12..1.0_f64), rng.random_range(0.0..std::f64::consts::TAU));
    (-2.0 * radius.ln()).sqrt() * angle.cos()
}

/// Places that are balanced over each square: later and earlier by turns; of an odd number, the last three are 1, 1, -2.
fn later(square: u32, block: u32) -> f64 {
    let at = block % square;
    match (square % 2 == 1 && at + 3 >= square, at + 1 == square) {
        (true, true) => -2.0,
        (true, false) => 1.0,
        _ if at.is_multiple_of(2) => 1.0,
        _ => -1.0,
    }
}

/// What the line through the blocks so far needs ([`order::fit`] does the same for one run).
#[derive(Default)]
struct Sums {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Sums {
    fn add(&mut self, x: f64, y: f64) {
        self.n += 1.0;
        self.x += x;
        self.y += y;
        self.xx += x * x;
        self.xy += x * y;
        self.yy += y * y;
    }

    /// Student's statistic of the effect at equal places.
    fn statistic(&self) -> f64 {
        let (mean_x, mean_y) = (self.x / self.n, self.y / self.n);
        let (xx, xy) = (self.xx - self.n * mean_x * mean_x, self.xy - self.n * mean_x * mean_y);
        let slope = xy / xx;
        let rest = self.yy - self.n * mean_y * mean_y - slope * xy;
        let error = (rest / (self.n - 2.0) * (1.0 / self.n + mean_x * mean_x / xx)).sqrt();
        (mean_y - slope * mean_x) / error
    }
}

#[cfg(test)]
mod tests;
