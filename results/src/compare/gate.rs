//! Planning a gate: how often the comparison of two runs like this one passes where nothing changed, and which loss it finds.

use schemars::JsonSchema;
use serde::Serialize;

use super::History;
use super::sample::Measured;
use super::simulated::{Pairs, Row, Scatter, Told};
use super::spread::Spreads;
use crate::analysis::{Comparison, analyse, loss};
use crate::between::{LEAST_BLOCKS_A_RUN, Source, Spread};
use crate::planning;
use crate::power::{LeftOut, PowerError, can_be_judged, noise};
use crate::simulation;
use crate::store::Record;

/// Simulated comparisons behind each rate: 50 % is then known to ±3 %, 95 % to ±1.4 %.
const COMPARISONS: u32 = 1_000;
/// Of every simulation: the same record gives the same figures.
const SEED: u64 = 20_141_021;
/// Losses beyond this factor are not looked for.
const MOST_WORSE: f64 = 20.0;

/// What a gate of two runs like this one can tell.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Gate {
    /// Id of the run.
    pub run: String,
    /// The margin: 0.05 is 5 %.
    pub margin: f64,
    /// How often the loss of [`GateRow::loss_found`] is found: 0.95 is 95 %.
    pub power: f64,
    /// Blocks of each of the two runs.
    pub blocks: u32,
    /// About how long a run of so many takes, in seconds.
    pub run_s: f64,
    /// Simulated comparisons behind each rate.
    pub simulated_comparisons: u32,
    /// Where nothing changed: how often every row is found equivalent and the gate passes.
    pub passes: f64,
    /// How often a row cannot be told and none fails.
    pub cannot_tell: f64,
    /// How often it raises a false alarm.
    pub fails: f64,
    /// Deciding rows, by workload and environment in the record's order.
    pub rows: Vec<GateRow>,
    /// Rows that could not be simulated, and why.
    pub left_out: Vec<LeftOut>,
}

/// One deciding row.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct GateRow {
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// Name of the deciding metric.
    pub metric: String,
    /// Standard deviation of the log-ratios from block to block.
    pub sd_log: f64,
    /// How far runs are taken to lie apart beyond that.
    pub between: Spread,
    /// How often equal sides are found equivalent.
    pub found_equivalent: f64,
    /// The smallest loss of this row alone that fails the gate as often as was asked, as a fraction; absent beyond 95 %.
    pub loss_found: Option<f64>,
}

/// Simulate comparisons of two runs of `blocks` blocks a side (as many as the run has where absent), whose blocks scatter as the
/// run's own and whose runs lie as far apart as history, controls or default say.
pub fn gate(
    record: &Record,
    (margin, power): (Option<f64>, f64),
    blocks: Option<u32>,
    history: Option<&History>,
) -> Result<Gate, PowerError> {
    let (run, profile) = (&record.run, &record.run.plan.profile);
    can_be_judged(run)?;
    let margin = margin.unwrap_or(profile.margin);
    let blocks = blocks.unwrap_or(profile.blocks);
    if (blocks as usize) < LEAST_BLOCKS_A_RUN {
        return Err(PowerError::FewForGate { blocks });
    }
    let measured = Measured::of(record);
    let spreads = Spreads::of(&measured, &measured, history);
    let (mut rows, mut simulated, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    let comparisons = analyse(record).comparisons;
    for comparison in comparisons.iter().filter(|comparison| comparison.deciding && !comparison.is_control) {
        match of(record, comparison, (margin, &spreads, history)) {
            Ok((row, simulation)) => {
                rows.push(row);
                simulated.push(simulation);
            }
            Err(reason) => left_out.push(LeftOut::of(comparison, reason)),
        }
    }
    if rows.is_empty() {
        return Err(PowerError::nothing(run, left_out));
    }
    let pairs = |rows, others| Pairs { base_blocks: blocks, new_blocks: blocks, rows, others };
    let equal = pairs(simulated.clone(), 0).ends(COMPARISONS, SEED);
    for ((row, simulation), ends) in rows.iter_mut().zip(&simulated).zip(&equal.rows) {
        row.found_equivalent = ends.equivalent;
        let one = pairs(vec![simulation.clone()], simulated.len() - 1);
        row.loss_found = loss_found(one, power).map(|ratio| loss(ratio, simulation.metric.better));
    }
    Ok(Gate {
        run: run.id.clone(),
        margin,
        power,
        blocks,
        run_s: planning::seconds(run, blocks),
        simulated_comparisons: COMPARISONS,
        passes: equal.pass,
        cannot_tell: equal.inconclusive,
        fails: equal.fail,
        rows,
        left_out,
    })
}

fn of(
    record: &Record,
    comparison: &Comparison,
    (margin, spreads, history): (f64, &Spreads<'_>, Option<&History>),
) -> Result<(GateRow, Row), String> {
    let (metric, noise) = noise(comparison, true)?;
    let workload = record.run.plan.workloads.iter().find(|workload| workload.name == comparison.workload);
    let workload = workload.ok_or_else(|| "it is not in the plan".to_owned())?;
    let (environment, name) = (comparison.environment.as_str(), comparison.metric.as_str());
    let between = spreads.of_row(workload, environment, name);
    let told = match between.source {
        Source::History => {
            Told::History(history.map_or(0, |history| history.means(&workload.name, environment, name).len()))
        }
        Source::Controls => Told::Controls { workloads: record.run.plan.workloads.len(), alike: false },
        Source::Default => Told::Nothing,
    };
    let simulated = Row {
        metric,
        scatter: Scatter::Residuals(noise.residuals().to_vec()),
        margin,
        worse_by: 1.0,
        between: between.sd_log,
        told,
    };
    let row = GateRow {
        workload: comparison.workload.clone(),
        environment: comparison.environment.clone(),
        metric: comparison.metric.clone(),
        sd_log: noise.sd_log,
        between,
        found_equivalent: 0.0,
        loss_found: None,
    };
    Ok((row, simulated))
}

/// The ratio of the smallest loss that is found so often: by halving, on the log scale.
fn loss_found(mut pairs: Pairs, power: f64) -> Option<f64> {
    const STEPS: u32 = 10;
    let (margin, better) = (pairs.rows.first()?.margin, pairs.rows.first()?.metric.better);
    let mut is_found = |log: f64| {
        pairs.rows.iter_mut().for_each(|row| row.worse_by = log.exp());
        pairs.ends(COMPARISONS, SEED).rows.first().is_some_and(|ends| ends.worse >= power)
    };
    let (mut low, mut high) = (margin.ln_1p(), MOST_WORSE.ln());
    if !is_found(high) {
        return None;
    }
    for _ in 0..STEPS {
        let middle = f64::midpoint(low, high);
        if is_found(middle) { high = middle } else { low = middle }
    }
    Some(simulation::worse_by(high.exp(), better))
}
