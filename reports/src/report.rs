//! The model of a report: everything that any renderer shows, in the order in which it is shown.

use bench_results::patterns::Mode;
use bench_results::reportable::Reportable;
use bench_results::{Direction, Unit};
use serde::Serialize;

use crate::figures::Figure;
use crate::isolation::IsolationSection;
use crate::patterns::PatternRow;
use crate::validity::{CheckRow, RemarkRow};

/// One run, ready to be shown.
///
/// Made by [`Report::new`] from a record and its analysis; every renderer shows the same model.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Name of the run's folder.
    pub(crate) id: String,
    /// Names of the suites.
    pub(crate) suite: String,
    /// Name of the profile.
    pub(crate) profile: String,
    /// When it started, RFC 3339.
    pub(crate) started_at: String,
    /// What is missing of an unfinished run: `block 2 of 8`.
    pub(crate) unfinished: Option<String>,
    /// The answer in one sentence.
    pub(crate) headline: String,
    /// Whether the run may be passed on, and why not.
    pub(crate) reportable: Reportable,
    /// What the numbers belong to: machine, kernel, target, limits.
    pub(crate) facts: Vec<String>,
    /// Name of the environment that the others are divided by.
    pub(crate) reference: String,
    /// The margin of the verdicts; absent where none are given.
    pub(crate) margin: Option<f64>,
    /// Comparisons with the reference, by workload.
    pub(crate) results: Vec<ResultRow>,
    /// Percentiles of latency and CPU per unit of work, judged as a family of their own.
    pub(crate) secondaries: Vec<ResultRow>,
    /// Results of emulated guests: shown apart, never judged.
    pub(crate) emulated: Vec<ResultRow>,
    /// Absolute values where there is nothing to compare with.
    pub(crate) absolutes: Vec<AbsoluteRow>,
    /// Tests for drift, effects of the order and two kinds of blocks; what is notable is said in the rows.
    pub(crate) patterns: Vec<PatternRow>,
    /// Claims of the paper.
    pub(crate) claims: Vec<ClaimRow>,
    /// The answer figure first.
    #[serde(skip)]
    pub(crate) figures: Vec<Figure>,
    /// What is alike in all environments and what is not.
    pub(crate) sameness: Sameness,
    /// Environments that could not be had.
    pub(crate) left_out: Vec<LeftOutRow>,
    /// What the reader should know.
    pub(crate) warnings: Vec<String>,
    /// Trials that failed or are invalid.
    pub(crate) troubles: Vec<Trouble>,
    /// What disturbed trials without making them invalid.
    pub(crate) remarks: Vec<RemarkRow>,
    /// Every check that has a figure in this run.
    pub(crate) checks: Vec<CheckRow>,
    /// What an instance costs before it does anything.
    pub(crate) instances: Vec<InstanceRow>,
    /// What each step of the way behind NAT adds; empty where the run does not take it apart.
    pub(crate) ladder: Vec<LadderRow>,
    /// What probes of isolation found; absent of a run without them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) isolation: Option<IsolationSection>,
    /// Facts of machine, kernel, tools and settings: name and value.
    pub(crate) fingerprint: Vec<(String, String)>,
    /// The command that repeats the run, quoted for a shell.
    pub(crate) command: String,
    /// Which bench made the record.
    pub(crate) bench: String,
}

/// How the row of a comparison ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    /// Better by more than the margin.
    Better,
    /// Worse by more than the margin.
    Worse,
    /// No difference as large as the margin.
    Equivalent,
    /// The run cannot tell.
    Inconclusive,
    /// Not judged: smoke, an emulated guest, too few blocks.
    None,
}

impl Outcome {
    /// The word for it.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Outcome::Better => "better",
            Outcome::Worse => "worse",
            Outcome::Equivalent => "equivalent",
            Outcome::Inconclusive => "inconclusive",
            Outcome::None => "no verdict",
        }
    }

    /// True when there is a verdict.
    pub(crate) fn is_judged(self) -> bool {
        self != Outcome::None
    }

    /// The name of its class on the page.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Outcome::None => "none",
            other => other.text(),
        }
    }
}

/// An environment compared with the reference in one workload, by its deciding metric or a secondary one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ResultRow {
    pub(crate) workload: String,
    /// Label of the environment; an emulated guest's says so.
    pub(crate) environment: String,
    /// Title of the metric.
    pub(crate) metric: String,
    /// Its name in files: `iops`.
    pub(crate) metric_name: String,
    pub(crate) unit: Unit,
    pub(crate) better: Direction,
    /// Mean of the environment over blocks; absent where they are of two kinds.
    pub(crate) mean: Option<f64>,
    /// Mean of the reference over blocks; absent where they are of two kinds.
    pub(crate) reference_mean: Option<f64>,
    /// Environment ÷ reference of the metric, geometric mean over blocks.
    pub(crate) ratio: Option<f64>,
    /// The two kinds of blocks, where they are of two kinds: shown instead of the mean.
    pub(crate) ratio_modes: Option<[Mode; 2]>,
    /// 95 % interval of the ratio.
    pub(crate) interval: Option<(f64, f64)>,
    /// Blocks that were compared.
    pub(crate) blocks: usize,
    pub(crate) verdict: Outcome,
    /// One-sided p of "not beyond the margin", adjusted by Holm's method for all secondary rows; deciding rows have none.
    pub(crate) p_holm: Option<f64>,
    /// Two-sided p of the sign-flip test, which needs no normal distribution and decides nothing; up to 32 blocks.
    pub(crate) sign_flip_p: Option<f64>,
    /// The 95 % bootstrap-t interval, which decides nothing: of the first 1,000 rows with 5 blocks or more.
    pub(crate) bootstrap_t: Option<(f64, f64)>,
    /// What the verdict means here, or why there is none.
    pub(crate) sentence: String,
    /// What a mean over blocks hides.
    pub(crate) notes: Vec<String>,
    /// The control's interval.
    pub(crate) noise_floor: Option<(f64, f64)>,
    /// The paper's ratio of the same metric.
    pub(crate) paper: Option<f64>,
}

/// An environment in one workload without anything to compare it with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct AbsoluteRow {
    pub(crate) workload: String,
    pub(crate) environment: String,
    pub(crate) metric: String,
    pub(crate) unit: Unit,
    pub(crate) better: Direction,
    /// Mean over blocks.
    pub(crate) mean: f64,
    /// Smallest and largest block.
    pub(crate) range: (f64, f64),
    pub(crate) blocks: usize,
}

/// A claim of the paper and what this run says of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct ClaimRow {
    /// The sentence.
    pub(crate) sentence: String,
    /// Where it stands.
    pub(crate) source: String,
    /// `holds`, `does not hold`, `inconclusive`, `not tested`.
    pub(crate) outcome: String,
    /// The numbers behind it, or why it was not tested.
    pub(crate) reason: String,
    /// Name of its class on the page.
    pub(crate) class: &'static str,
}

/// The sameness table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sameness {
    /// Labels of the environments.
    pub(crate) environments: Vec<String>,
    /// One per axis.
    pub(crate) rows: Vec<SamenessRow>,
}

/// One axis of the sameness table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SamenessRow {
    pub(crate) axis: String,
    /// One per environment.
    pub(crate) cells: Vec<SamenessCell>,
}

/// What holds in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SamenessCell {
    pub(crate) value: String,
    /// True where it is not what holds in the reference.
    pub(crate) differs: bool,
}

/// One step of a way that is taken apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LadderRow {
    /// Label of the environment that takes this step and all before it.
    pub(crate) environment: String,
    /// Name of the workload.
    pub(crate) workload: String,
    /// Title of the metric.
    pub(crate) metric: String,
    pub(crate) unit: Unit,
    pub(crate) better: Direction,
    /// Mean over blocks.
    pub(crate) mean: f64,
    /// Mean difference to the step before in the same block.
    pub(crate) added: Option<f64>,
    /// Its 95 % interval.
    pub(crate) interval: Option<(f64, f64)>,
}

/// An environment that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct LeftOutRow {
    pub(crate) environment: String,
    pub(crate) reason: String,
}

/// A trial whose numbers are not used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Trouble {
    /// Name of the trial, and of its folder in `raw/`.
    pub(crate) trial: String,
    pub(crate) workload: String,
    pub(crate) environment: String,
    pub(crate) block: u32,
    /// `failed` or `invalid`.
    pub(crate) kind: &'static str,
    pub(crate) reason: String,
}

/// Medians over the instances of an environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct InstanceRow {
    pub(crate) environment: String,
    /// Number of instances seen.
    pub(crate) instances: usize,
    /// Position of each among the instances that its block started, by block; empty where the record does not say.
    pub(crate) start_orders: Vec<u32>,
    pub(crate) start_to_ready_ns: Option<f64>,
    pub(crate) memory_at_ready_bytes: Option<f64>,
    pub(crate) vmm_memory_at_ready_bytes: Option<f64>,
    pub(crate) guest_memory_at_ready_bytes: Option<f64>,
    /// `uname -r` inside.
    pub(crate) kernel_release: Option<String>,
}

impl Report {
    /// The summary as JSON: comparisons, claims, sameness and all else but figures and single measurements.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        crate::escape::json(self)
    }
}
