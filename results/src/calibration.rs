//! The error rates of the verdicts, from how real blocks scatter: recorded residuals, and runs simulated from them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::analysis::analyse;
use crate::metric::{self, Direction};
use crate::simulation::{Judged, Noise, Rates, worse_by};
use crate::store::Record;

/// A profile whose error rates are documented. (A test compares it with the suite's.)
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rated {
    /// Name of a suite that has it.
    pub suite: &'static str,
    /// Name of the profile.
    pub profile: &'static str,
    /// Blocks.
    pub blocks: u32,
    /// Margin, as a fraction.
    pub margin: f64,
    /// Turns of a block.
    pub turns: u32,
    /// Measured seconds of a trial.
    pub runtime_s: f64,
}

/// The profiles whose error rates are documented.
pub const PROFILES: [Rated; 4] = [
    Rated { suite: "io", profile: "standard", blocks: 28, margin: 0.05, turns: 3, runtime_s: 3.0 },
    Rated { suite: "network", profile: "standard", blocks: 24, margin: 0.05, turns: 1, runtime_s: 10.0 },
    Rated { suite: "io", profile: "quick", blocks: 8, margin: 0.10, turns: 1, runtime_s: 2.0 },
    Rated { suite: "network", profile: "quick", blocks: 8, margin: 0.10, turns: 1, runtime_s: 2.0 },
];
/// What is to be found: a speed of 90 %.
pub const SLOWDOWN: f64 = 1.0 / 0.9;
/// At the edge of a margin of 5 %, where no answer is right and only how often each is given counts: a speed of 95 %.
pub const EDGE: f64 = 1.0 / 0.95;

/// Facts of the machine that a residual depends on.
const FACTS: [&str; 9] = [
    "cpu.model",
    "cpu.online",
    "machine.virtualised",
    "kernel.release",
    "memory.total",
    "block.device",
    "block.scheduler",
    "block.write_cache",
    "tool.fio.version",
];

/// Log-ratios of the blocks of a real run, kept with what they belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Residuals {
    /// When the run started, RFC 3339, UTC.
    pub started_at: String,
    /// The suite.
    pub suite: String,
    /// Facts of the machine.
    pub machine: BTreeMap<String, String>,
    /// The command that repeats the run, argument by argument.
    pub command: Vec<String>,
    /// Turns of a block.
    #[serde(default = "crate::record::once")]
    pub turns: u32,
    /// Measured seconds of a trial.
    pub runtime_s: f64,
    /// Seconds of warm-up before them.
    pub warmup_s: f64,
    /// One for each workload and environment.
    pub series: Vec<Series>,
}

/// One environment against the reference in one workload, by its deciding metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// Name of the deciding metric.
    pub metric: String,
    /// Which values are better.
    pub better: Direction,
    /// Logarithm of environment ÷ reference, block by block.
    pub log_ratios: Vec<f64>,
}

impl Residuals {
    /// Of a run: every deciding comparison of environments that are not emulated, the control among them.
    pub fn of(record: &Record) -> Residuals {
        let run = &record.run;
        let comparisons =
            analyse(record).comparisons.into_iter().filter(|c| c.deciding && !c.emulated && c.ratio.is_some());
        let series = comparisons.filter_map(|comparison| {
            Some(Series {
                better: metric::find(&comparison.metric)?.better,
                workload: comparison.workload,
                environment: comparison.environment,
                metric: comparison.metric,
                log_ratios: comparison.pairs.iter().map(|&(_, ratio)| ratio.ln()).collect(),
            })
        });
        let fact = |name: &str| Some((name.to_owned(), run.fingerprint.get(name)?.clone()));
        Residuals {
            started_at: run.started_at.clone(),
            suite: run.plan.suite.clone(),
            machine: FACTS.iter().filter_map(|name| fact(name)).collect(),
            command: run.command.clone(),
            turns: run.plan.profile.turns,
            runtime_s: run.plan.profile.runtime_s,
            warmup_s: run.plan.profile.warmup_s,
            series: series.collect(),
        }
    }
}

/// The error rates of one workload under one profile.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibrated {
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// Name of the profile.
    pub profile: &'static str,
    /// Blocks that the residuals came from.
    pub blocks: usize,
    /// Standard deviation of their log-ratios.
    pub sd_log: f64,
    /// How runs of equal sides end: `better` and `worse` are false alarms.
    pub equal: Rates,
    /// How runs end in which the environment has 90 % of the reference's speed.
    pub slowdown: Rates,
    /// How runs end in which it has 95 %.
    pub edge: Rates,
}

impl Calibrated {
    /// How often a verdict is `better` or `worse` where nothing differs.
    pub fn false_alarms(&self) -> f64 {
        self.equal.better + self.equal.worse
    }
}

/// Simulate runs from every series that is long enough, of the suite's profiles whose blocks have as many turns, and trials as long,
/// as the recorded ones: others scatter otherwise.
pub fn calibrate(residuals: &Residuals, runs: u32) -> Vec<Calibrated> {
    let mut rows = Vec::new();
    let rated = PROFILES.into_iter();
    let is_it = |rated: &Rated| {
        rated.suite == residuals.suite && (rated.turns, rated.runtime_s) == (residuals.turns, residuals.runtime_s)
    };
    let rated = rated.filter(is_it);
    for Rated { profile, blocks, margin, .. } in rated {
        for series in &residuals.series {
            let ratios: Vec<f64> = series.log_ratios.iter().map(|log| log.exp()).collect();
            let Some(noise) = Noise::of(&ratios) else { continue };
            let judged = Judged { blocks, margin, better: series.better };
            rows.push(Calibrated {
                workload: series.workload.clone(),
                environment: series.environment.clone(),
                profile,
                blocks: ratios.len(),
                sd_log: noise.sd_log,
                equal: noise.rates(1.0, judged, runs),
                slowdown: noise.rates(worse_by(SLOWDOWN, series.better), judged, runs),
                edge: noise.rates(worse_by(EDGE, series.better), judged, runs),
            });
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_run_becomes_residuals_and_they_come_back_from_their_file() {
        let residuals = Residuals::of(&testing::record(1, 8, true));
        assert_eq!(residuals.series.len(), 7 * 2, "the control and the container; the guest is emulated");
        assert!(residuals.series.iter().all(|series| series.log_ratios.len() == 8));
        assert_eq!(residuals.machine["cpu.model"], "Example CPU");
        let text = serde_json::to_string(&residuals).unwrap();
        assert_eq!(serde_json::from_str::<Residuals>(&text).unwrap(), residuals);
    }

    #[test]
    fn quiet_blocks_find_everything_and_wild_ones_nothing() {
        let series = |workload: &str, spread: f64| Series {
            workload: workload.into(),
            environment: "container".into(),
            metric: "read_latency_p50_ns".into(),
            better: Direction::Lower,
            // Centred on a difference that is there: it must not count as noise.
            log_ratios: [-1.5, -0.5, 0.0, 0.5, 1.5, 0.3, -0.3, 0.1, -0.1, 0.0].map(|x: f64| 0.4 + spread * x).to_vec(),
        };
        let mut residuals = Residuals::of(&testing::record(1, 8, true));
        residuals.series = vec![series("quiet", 0.01), series("wild", 0.5)];
        let of = |turns, runtime_s| calibrate(&Residuals { turns, runtime_s, ..residuals.clone() }, 500);
        assert_eq!([of(1, 60.0), of(1, 3.0), of(1, 10.0)].concat(), []);
        let rows = [of(3, 3.0), of(1, 2.0)].concat();
        assert_eq!(rows.iter().map(|row| row.profile).collect::<Vec<_>>(), ["standard", "standard", "quick", "quick"]);
        for row in rows {
            assert!(row.false_alarms() < if row.workload == "wild" { 0.05 } else { 0.001 }, "{row:?}");
            assert_eq!(row.slowdown.worse > 0.95, row.workload == "quiet" && row.profile == "standard", "{row:?}");
            assert_eq!(row.edge.equivalent > 0.95, row.workload == "quiet" && row.profile == "quick", "{row:?}");
        }
    }
}
