//! What a run could have told, by simulation from its own blocks, and how many blocks would tell more ([`planning`]).
//!
//! *To see the margin* means both: sides that are truly equal are called `equivalent`, and one that is truly worse by twice the
//! margin (the square of its edge) is called `worse`, each with the power asked. The truth is then as far from the edge that
//! decides on either side. Nearer to an edge more blocks are needed, and on it no number of blocks is enough.

use schemars::JsonSchema;
use serde::Serialize;

use crate::analysis::{Comparison, analyse};
use crate::host;
use crate::judge::WhyNot;
use crate::metric::{self, Metric};
use crate::planning;
use crate::record::Run;
use crate::sequential::Sequential;
use crate::simulation::{Judged, LEAST_RESIDUALS, Noise, RUNS, Rates, worse_by};
use crate::statistics::Interval;
use crate::store::Record;

/// Power cannot be computed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PowerError {
    /// There is nothing that could be wrong.
    #[error(
        "run {run} has the profile `{profile}`, which gives no verdicts: measure with another (`bench run --profile quick`)"
    )]
    NoVerdicts {
        /// Id of the run.
        run: String,
        /// Name of its profile.
        profile: String,
    },
    /// Two runs of so few blocks are not judged.
    #[error(
        "a gate of two runs needs {} blocks a side, and {blocks} were asked for: use more --blocks",
        crate::between::LEAST_BLOCKS_A_RUN
    )]
    FewForGate {
        /// Blocks of each.
        blocks: u32,
    },
    /// Every comparison is left out.
    #[error("run {run} has no comparison to simulate: {}", if .reasons.is_empty() { "nothing was compared" } else { .reasons })]
    Nothing {
        /// Id of the run.
        run: String,
        /// Why each is left out.
        reasons: String,
    },
}

/// What simulation says about every deciding comparison of a run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Power {
    /// Id of the run.
    pub run: String,
    /// The margin: 0.05 is 5 %.
    pub margin: f64,
    /// The power asked: 0.95 is 95 %.
    pub power: f64,
    /// Simulated runs behind each rate.
    pub simulated_runs: u32,
    /// By workload and environment, in the record's order.
    pub rows: Vec<PowerRow>,
    /// Comparisons that could not be simulated, and why.
    pub left_out: Vec<LeftOut>,
    /// Why the run is not reportable, if it is not: its blocks may scatter for that reason.
    pub not_reportable: Vec<String>,
    /// What else is to be known of the blocks that were simulated from.
    pub notes: Vec<String>,
}

/// One environment against the reference, by the workload's deciding metric.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PowerRow {
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// True when it is the second copy of the reference.
    pub is_control: bool,
    /// Name of the deciding metric.
    pub metric: String,
    /// Standard deviation of the log-ratios from block to block.
    pub sd_log: f64,
    /// Its 95 % interval: so well is it known from so few blocks.
    pub sd_interval: Option<Interval>,
    /// What this many blocks can tell: as many as the run has.
    pub now: Told,
    /// Blocks that see the margin, were the log-ratios normal ([`planning::blocks_needed`]); absent beyond [`planning::MOST_BLOCKS`].
    pub blocks_needed: Option<u32>,
    /// About how long a run of so many takes, in seconds.
    pub run_needed_s: Option<f64>,
    /// What that many blocks can tell, by simulation.
    pub then: Option<Told>,
}

/// How often runs of so many blocks end how, by what is true.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Told {
    /// Blocks of a run.
    pub blocks: u32,
    /// The sides are equal: `better` and `worse` are false alarms.
    pub equal: Rates,
    /// The environment is worse by exactly the margin: `worse` and `equivalent` are each wrong as often as they are right.
    pub at_the_edge: Rates,
    /// The environment is worse by twice the margin.
    pub twice_the_margin: Rates,
}

/// A comparison that could not be simulated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LeftOut {
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// Why.
    pub reason: String,
}

impl LeftOut {
    pub(crate) fn of(comparison: &Comparison, reason: String) -> LeftOut {
        LeftOut { workload: comparison.workload.clone(), environment: comparison.environment.clone(), reason }
    }
}

impl PowerError {
    /// Nothing of the run is left.
    pub(crate) fn nothing(run: &Run, left_out: Vec<LeftOut>) -> PowerError {
        let mut reasons: Vec<_> = left_out.into_iter().map(|row| row.reason).collect();
        reasons.sort();
        reasons.dedup();
        PowerError::Nothing { run: run.id.clone(), reasons: reasons.join("; ") }
    }
}

/// Whether a run gives verdicts that could be wrong.
pub(crate) fn can_be_judged(run: &Run) -> Result<(), PowerError> {
    let profile = &run.plan.profile;
    match host::why_not_judged(run) {
        Some(why) => Err(PowerError::Nothing { run: run.id.clone(), reasons: why.to_owned() }),
        None if !profile.verdicts => Err(PowerError::NoVerdicts { run: run.id.clone(), profile: profile.name.clone() }),
        None => Ok(()),
    }
}

/// Simulate every deciding comparison of a run. `margin`: the run's own where absent; `power` between 0 and 1.
pub fn power(record: &Record, margin: Option<f64>, power: f64) -> Result<Power, PowerError> {
    let run = &record.run;
    can_be_judged(run)?;
    let margin = margin.unwrap_or(run.plan.profile.margin);
    let (mut rows, mut left_out) = (Vec::new(), Vec::new());
    let analysis = analyse(record);
    for comparison in analysis.comparisons.iter().filter(|comparison| comparison.deciding) {
        match simulate(run, comparison, margin, power) {
            Ok(row) => rows.push(row),
            Err(reason) => left_out.push(LeftOut::of(comparison, reason)),
        }
    }
    if rows.is_empty() {
        return Err(PowerError::nothing(run, left_out));
    }
    let not_reportable = analysis.reportable.reasons.into_iter().map(|reason| reason.text).collect();
    let notes = run.plan.sequential.iter().map(Sequential::note).collect();
    Ok(Power { run: run.id.clone(), margin, power, simulated_runs: RUNS, rows, left_out, not_reportable, notes })
}

/// How the blocks of a comparison scatter, and what it is judged by; else why they cannot be simulated. `with_order`: as between two
/// runs, which are compared by the plain means of their blocks; else as within one, which takes the order out.
pub(crate) fn noise(comparison: &Comparison, with_order: bool) -> Result<(&'static Metric, Noise), String> {
    if comparison.emulated {
        return Err("an emulated guest is never judged".to_owned());
    }
    if let Some(why) = comparison.why_no_verdict.as_ref().filter(|_| comparison.partial) {
        return Err(why.clone());
    }
    let metric = metric::find(&comparison.metric)
        .ok_or_else(|| format!("this bench does not know the metric `{}`", comparison.metric))?;
    if comparison.ratio.is_none() {
        return Err(WhyNot::NoRatio.to_string());
    }
    let raw: Vec<f64> = comparison.pairs.iter().map(|&(_, ratio)| ratio).collect();
    let is_fitted = !with_order && comparison.fit.is_some_and(|fit| fit.per_place.is_some());
    let (ratios, fitted) = if is_fitted { (&comparison.at_equal_places, 2) } else { (&raw, 1) };
    let noise = Noise::with_freedom(ratios, ratios.len().saturating_sub(fitted)).ok_or_else(|| {
        format!(
            "{} of the {LEAST_RESIDUALS} blocks that are needed to see how blocks scatter: use more --blocks",
            ratios.len()
        )
    })?;
    Ok((metric, noise))
}

fn simulate(run: &Run, comparison: &Comparison, margin: f64, power: f64) -> Result<PowerRow, String> {
    let (metric, noise) = noise(comparison, false)?;
    let blocks = comparison.pairs.len() as u32;
    let judged = |blocks| Judged { blocks, margin, better: metric.better };
    let worse = |factor: f64| worse_by(factor, metric.better);
    let (edge, twice) = (worse(1.0 + margin), worse((1.0 + margin).powi(2)));
    let told = |blocks| Told {
        blocks,
        equal: noise.rates(1.0, judged(blocks), RUNS),
        at_the_edge: noise.rates(edge, judged(blocks), RUNS),
        twice_the_margin: noise.rates(twice, judged(blocks), RUNS),
    };
    let blocks_needed = planning::blocks_needed(noise.sd_log, margin, power);
    Ok(PowerRow {
        workload: comparison.workload.clone(),
        environment: comparison.environment.clone(),
        is_control: comparison.is_control,
        metric: comparison.metric.clone(),
        sd_log: noise.sd_log,
        sd_interval: noise.sd_interval(),
        now: told(blocks),
        blocks_needed,
        run_needed_s: blocks_needed.map(|blocks| planning::seconds(run, blocks)),
        then: blocks_needed.map(told),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn the_blocks_named_are_enough_and_fewer_are_not() {
        let record = testing::record(3, 10, false);
        let told = power(&record, Some(0.01), 0.9).unwrap();
        assert_eq!(told.rows.len(), 7 * 3, "container, vm and the control in each workload");
        assert_eq!(told.rows.iter().filter(|row| row.is_control).count(), 7);
        for row in &told.rows {
            let (needed, then) = (row.blocks_needed.unwrap(), row.then.as_ref().unwrap());
            assert_eq!((then.blocks, row.now.blocks), (needed, 10));
            // The number is that of normal log-ratios, these rates are of the run's own.
            assert!(then.equal.equivalent >= 0.87 && then.twice_the_margin.worse >= 0.87, "{row:?}");
            assert!(needed <= 10 || row.now.equal.equivalent < 0.92, "{row:?}");
            assert!(row.now.equal.worse + row.now.equal.better < 0.02, "{row:?}");
            assert!(row.now.at_the_edge.better == 0.0 && row.now.at_the_edge.worse < 0.08, "{row:?}");
        }
    }

    #[test]
    fn a_wider_margin_needs_fewer_blocks() {
        let mut record = testing::record(3, 10, false);
        let first = record.run.plan.trials[0].workload.clone();
        record.trials.retain(|trial| trial.planned.workload == first && trial.planned.environment != "vm");
        let needed = |margin| power(&record, Some(margin), 0.95).unwrap().rows[0].blocks_needed.unwrap();
        let all = [0.005, 0.01, 0.02, 0.1].map(needed);
        assert!(all.is_sorted_by(|a, b| a >= b) && all[0] > all[3], "{all:?}");
    }

    #[test]
    fn what_cannot_be_simulated_is_said() {
        let emulated = power(&testing::record(1, 8, true), None, 0.95).unwrap();
        assert!(emulated.rows.iter().all(|row| row.environment != "vm"));
        assert!(emulated.left_out.iter().all(|row| row.reason.contains("emulated")) && emulated.left_out.len() == 7);
        let few = power(&testing::record(1, 4, false), None, 0.95).unwrap_err().to_string();
        assert!(few.contains("4 of the 5 blocks"), "{few}");
        let mut broken_off = testing::record(1, 8, false);
        assert_eq!(power(&broken_off, None, 0.95).unwrap().not_reportable, Vec::<String>::new());
        broken_off.trials.truncate(200);
        let why = power(&broken_off, None, 0.95).unwrap().not_reportable;
        assert!(why.len() == 1 && why[0].contains("200 of 224 trials"), "{why:?}");
        let mut smoke = testing::record(1, 8, false);
        smoke.run.plan.profile.verdicts = false;
        assert!(matches!(power(&smoke, None, 0.95), Err(PowerError::NoVerdicts { .. })));
        let mut empty = testing::record(1, 8, false);
        empty.trials.clear();
        assert!(power(&empty, None, 0.95).unwrap_err().to_string().contains("nothing was compared"));
    }
}
