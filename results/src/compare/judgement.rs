//! What a comparison says: the file that `bench compare --format json` prints.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Difference, Sides};
use crate::analysis::loss;
use crate::between::Spread;
use crate::imported::CAVEAT;
use crate::metric::{Direction, Unit};
use crate::policy::{Ignored, OnInconclusive, Policy};
use crate::record::State;
use crate::sentence;
use crate::statistics::Interval;
use crate::store::Record;
use crate::verdict::Verdict;

/// Version of the format of a [`Judgement`].
pub const COMPARE_SCHEMA_VERSION: u32 = 1;

/// NEW against BASE, judged.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Judgement {
    /// [`COMPARE_SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// How the gate ended.
    pub outcome: Outcome,
    /// The same in one sentence.
    pub headline: String,
    /// How the two sides were compared.
    pub method: Method,
    /// Runs that are compared with.
    pub base: Vec<RunFacts>,
    /// Runs that are compared; the same for two environments of one run.
    pub new: Vec<RunFacts>,
    /// What it was judged by.
    pub policy: PolicyFacts,
    /// Size of the family that Holm's method adjusted for: deciding rows that could be tested.
    pub tests: usize,
    /// Deciding rows first, the worst first; then what informs, by workload.
    pub rows: Vec<Judged>,
    /// What has no partner on the other side.
    pub unmatched: Vec<Unmatched>,
    /// Differences of the two sides that the user allowed, and all of imported ones.
    pub differences: Vec<Difference>,
    /// What the reader should know.
    pub notes: Vec<String>,
}

/// How a gate ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// No deciding row fails, and all can be told.
    Pass,
    /// A deciding row has a verdict that fails the gate, or is broken.
    Fail,
    /// No deciding row fails, and at least one cannot be told.
    Inconclusive,
    /// No row has valid values on both sides: nothing was compared.
    Incomparable,
}

/// How the two sides are compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Two runs: the logarithms of the blocks' ratios, with the between-run spread.
    Blocks,
    /// Sets of runs: Welch's test, one value for each run.
    Runs,
    /// Two environments of one run, paired by block.
    PairedBlocks {
        /// Name of the environment that was before.
        base: String,
        /// Name of the environment that is now.
        new: String,
    },
    /// Two environments of a set of runs: one ratio for each run.
    PairedRuns {
        /// Name of the environment that was before.
        base: String,
        /// Name of the environment that is now.
        new: String,
    },
}

impl Method {
    pub(super) fn of(sides: Sides<'_>) -> Method {
        let by_run = sides.base_runs().len() > 1 || sides.new_runs().len() > 1;
        match (sides, by_run) {
            (Sides::Runs { .. }, false) => Method::Blocks,
            (Sides::Runs { .. }, true) => Method::Runs,
            (Sides::Environments { base, new, .. }, false) => {
                Method::PairedBlocks { base: base.to_owned(), new: new.to_owned() }
            }
            (Sides::Environments { base, new, .. }, true) => {
                Method::PairedRuns { base: base.to_owned(), new: new.to_owned() }
            }
        }
    }

    /// The unit of replication: `block` or `run`.
    pub fn unit(&self) -> &'static str {
        match self {
            Method::Blocks | Method::PairedBlocks { .. } => "block",
            Method::Runs | Method::PairedRuns { .. } => "run",
        }
    }

    /// The two environments of one run, where it is those.
    pub fn environments(&self) -> Option<(&str, &str)> {
        match self {
            Method::PairedBlocks { base, new } | Method::PairedRuns { base, new } => Some((base, new)),
            Method::Blocks | Method::Runs => None,
        }
    }
}

/// A run that took part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RunFacts {
    /// Its id.
    pub id: String,
    /// When it started, RFC 3339, UTC.
    pub started_at: String,
    /// Names of its suites.
    pub suite: String,
    /// Name of its profile.
    pub profile: String,
    /// Blocks that were planned.
    pub blocks: u32,
    /// How far it came.
    pub state: State,
    /// Name of the environment that its ratios are relative to.
    pub reference: String,
    /// True of an imported run: nothing of the comparison is judged then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
}

impl RunFacts {
    fn of(record: &Record) -> RunFacts {
        let run = &record.run;
        RunFacts {
            id: run.id.clone(),
            started_at: run.started_at.clone(),
            suite: run.plan.suite.clone(),
            profile: run.plan.profile.name.clone(),
            blocks: run.plan.profile.blocks,
            state: run.state,
            reference: run.plan.reference.clone(),
            imported: run.imported.is_some(),
        }
    }
}

/// The parts of a policy that are not of single rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyFacts {
    /// Where it is from; absent: the default policy.
    pub file: Option<String>,
    /// Verdicts that fail the gate.
    pub fail_on: Vec<Verdict>,
    /// Whether a gate that cannot tell passes or fails.
    pub on_inconclusive: OnInconclusive,
    /// In how many fresh runs an alarm must come back.
    pub confirm: u32,
}

impl PolicyFacts {
    pub(super) fn of(policy: &Policy, file: Option<&str>) -> PolicyFacts {
        PolicyFacts {
            file: file.map(str::to_owned),
            fail_on: policy.fail_on.clone(),
            on_inconclusive: policy.on_inconclusive,
            confirm: policy.confirm,
        }
    }
}

/// What the numbers of a row are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Environment ÷ reference: what the environment costs.
    Overhead,
    /// The metric itself.
    Absolute,
    /// NEW's environment ÷ BASE's environment of the same run.
    Pair,
}

/// What a row does to the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Its verdict fails the gate.
    Fails,
    /// It decides and has too few values to be judged, since trials failed or NEW lacks what BASE has: it fails the gate.
    Broken,
    /// It decides, and cannot be told.
    Undecided,
    /// Its verdict would fail the gate, and did not come back in a fresh run.
    Unconfirmed,
    /// Its verdict is ignored for a while.
    Ignored,
    /// It decides, and fails nothing.
    Passes,
    /// It decides nothing.
    Informs,
}

/// One workload in one environment by one metric: NEW against BASE.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Judged {
    /// Name of the workload.
    pub workload: String,
    /// Name of the environment.
    pub environment: String,
    /// Name of the metric.
    pub metric: String,
    /// Its unit.
    pub unit: Unit,
    /// Which values are better.
    pub better: Direction,
    /// What is compared.
    pub quantity: Quantity,
    /// What it does to the outcome.
    pub part: Part,
    /// True when a side is an emulated guest, or was measured on an emulated machine: it is never judged.
    pub emulated: bool,
    /// Mean of the metric over BASE's blocks; of a percentile, the one of the merged histogram. In the metric's unit.
    pub base_mean: Option<f64>,
    /// The same of NEW.
    pub new_mean: Option<f64>,
    /// What was compared, one value for each block or run of BASE; for pairs, empty.
    pub base_values: Vec<f64>,
    /// The same of NEW; for pairs, the ratios NEW ÷ BASE.
    pub new_values: Vec<f64>,
    /// NEW ÷ BASE, geometric mean.
    pub ratio: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<Interval>,
    /// Degrees of freedom of the interval; where nothing is paired after Welch and Satterthwaite, between two runs at most the
    /// smaller side's blocks less one.
    pub degrees_of_freedom: Option<f64>,
    /// How far runs lie apart beyond their blocks: a part of the interval between two runs, and absent elsewhere.
    pub between: Option<Spread>,
    /// The smallest relative difference that the user cares about.
    pub margin: f64,
    /// One-sided p of "not beyond the margin", on the side on which the ratio is.
    pub p: Option<f64>,
    /// The same adjusted by Holm's method over all tests; absent where it decides nothing.
    pub p_holm: Option<f64>,
    /// The smallest loss that would have been called `worse` at this spread and number of tests, as a fraction.
    pub smallest_alarm: Option<f64>,
    /// Interval of the control's change in the same workload and metric: what no change looks like here.
    pub noise_floor: Option<Interval>,
    /// What it says; absent where nothing is judged.
    pub verdict: Option<Verdict>,
    /// Verdicts of fresh runs that an alarm was to come back in.
    pub confirmations: Vec<Option<Verdict>>,
    /// What was compared of each fresh run, as `new_values`.
    pub fresh_values: Vec<Vec<f64>>,
    /// Why it is ignored, where it is.
    pub ignored: Option<Ignored>,
    /// The same in words.
    pub sentence: String,
}

impl Judged {
    /// True when it decides, ignored or not.
    pub fn decides(&self) -> bool {
        self.part != Part::Informs
    }

    /// True for the same workload, environment, metric and quantity.
    pub(super) fn is_about_the_same_as(&self, other: &Judged) -> bool {
        (&self.workload, &self.environment, &self.metric, self.quantity)
            == (&other.workload, &other.environment, &other.metric, other.quantity)
    }

    /// The loss (or, below 0, gain) as a fraction.
    pub fn loss(&self) -> Option<f64> {
        self.ratio.map(|ratio| loss(ratio, self.better))
    }
}

/// Something of one side without a partner on the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Unmatched {
    /// What: `workload rand-read`, `environment vm`.
    pub what: String,
    /// Why it has no partner.
    pub reason: String,
}

impl std::fmt::Display for Unmatched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.what, self.reason)
    }
}

impl Judgement {
    pub(super) fn new(
        sides: Sides<'_>,
        policy: PolicyFacts,
        (differences, unmatched, notes): (Vec<Difference>, Vec<Unmatched>, Vec<String>),
        mut rows: Vec<Judged>,
    ) -> Judgement {
        let loss = |row: &Judged| row.loss().unwrap_or(0.0);
        rows.sort_by(|a, b| {
            let worst_first = || if a.decides() { loss(b).total_cmp(&loss(a)) } else { std::cmp::Ordering::Equal };
            a.part.cmp(&b.part).then_with(worst_first)
        });
        let facts = |records: &[Record]| records.iter().map(RunFacts::of).collect();
        let mut judgement = Judgement {
            schema_version: COMPARE_SCHEMA_VERSION,
            outcome: Outcome::Pass,
            headline: String::new(),
            method: Method::of(sides),
            base: facts(sides.base_runs()),
            new: facts(sides.new_runs()),
            policy,
            tests: rows.iter().filter(|row| row.p_holm.is_some()).count(),
            rows,
            unmatched,
            differences,
            notes,
        };
        judgement.conclude();
        judgement
    }

    /// Outcome and headline from the rows.
    pub(super) fn conclude(&mut self) {
        self.outcome = match outcome(&self.rows) {
            // Nor does it pass where all rows are ignored.
            Outcome::Pass if self.is_imported() => Outcome::Inconclusive,
            found => found,
        };
        self.headline = headline(self);
    }

    /// The rows whose verdict fails the gate, the worst first.
    pub fn alarms(&self) -> impl Iterator<Item = &Judged> {
        self.rows.iter().filter(|row| row.part == Part::Fails)
    }

    /// True where a side is imported, of which nothing is judged: a gate must not take it for a pass.
    pub fn is_imported(&self) -> bool {
        self.base.iter().chain(&self.new).any(|run| run.imported)
    }

    /// Deciding rows.
    pub fn deciding(&self) -> impl Iterator<Item = &Judged> {
        self.rows.iter().filter(|row| row.decides())
    }
}

/// How a gate ends that has these rows.
pub(crate) fn outcome(rows: &[Judged]) -> Outcome {
    let count = |part| rows.iter().filter(|row| row.part == part).count();
    match (count(Part::Fails) + count(Part::Broken), count(Part::Undecided)) {
        _ if !rows.is_empty() && rows.iter().all(|row| row.ratio.is_none()) => Outcome::Incomparable,
        (0, 0) if rows.iter().any(Judged::decides) => Outcome::Pass,
        (0, _) => Outcome::Inconclusive,
        _ => Outcome::Fail,
    }
}

/// `1 alarm in 2 comparisons: rand-read in container 19.8 % slower`.
fn headline(judgement: &Judgement) -> String {
    let rows: Vec<&Judged> = judgement.deciding().collect();
    let count = |part| rows.iter().filter(|row| row.part == part).count();
    let (open, total) = (count(Part::Undecided), rows.len());
    let comparisons = format!("{total} comparison{}", sentence::plural(total));
    let mut said = match judgement.outcome {
        Outcome::Incomparable => return "no row has valid values on both sides".to_owned(),
        Outcome::Fail => failing(judgement, &comparisons),
        Outcome::Inconclusive if judgement.is_imported() => return format!("not judged: {CAVEAT}"),
        Outcome::Inconclusive if total == 0 => return "there is nothing that can be judged".to_owned(),
        Outcome::Inconclusive => format!("no alarm in {comparisons}, but {open} cannot be told"),
        Outcome::Pass => {
            let better = rows.iter().filter(|row| row.verdict == Some(Verdict::Better)).count();
            let better = if better > 0 { format!(", {better} better") } else { String::new() };
            format!("no regression in {comparisons}{better}")
        }
    };
    if judgement.outcome == Outcome::Fail && open > 0 {
        said.push_str(&format!("; {open} cannot be told"));
    }
    for (part, word) in [(Part::Ignored, "ignored"), (Part::Unconfirmed, "not confirmed")] {
        match count(part) {
            0 => {}
            count => said.push_str(&format!("; {count} {word}")),
        }
    }
    said
}

/// The rows that fail, by name: `1 alarm in 14 comparisons: rand-read in container 19.8 % slower; 1 broken: rand-read in vm`.
fn failing(judgement: &Judgement, comparisons: &str) -> String {
    let alarms: Vec<String> = judgement.alarms().map(named).collect();
    let broken = judgement.rows.iter().filter(|row| row.part == Part::Broken);
    let broken: Vec<String> = broken.map(|row| format!("{} in {}", row.workload, row.environment)).collect();
    let mut said = Vec::new();
    if !alarms.is_empty() {
        let count = alarms.len();
        said.push(format!("{count} alarm{} in {comparisons}: {}", sentence::plural(count), first_few(&alarms)));
    }
    if !broken.is_empty() {
        let of = if alarms.is_empty() { format!(" of {comparisons}") } else { String::new() };
        said.push(format!("{}{of} broken: {}", broken.len(), first_few(&broken)));
    }
    said.join("; ")
}

/// The first three, and how many more there are.
fn first_few(all: &[String]) -> String {
    const NAMED: usize = 3;
    let named = all[..all.len().min(NAMED)].join(", ");
    match all.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named}, and {more} more"),
    }
}

fn named(row: &Judged) -> String {
    let absolute = if row.quantity == Quantity::Absolute { ", absolute" } else { "" };
    let said = row
        .ratio
        .zip(crate::metric::find(&row.metric))
        .map(|(ratio, metric)| format!("{} ({}{absolute})", sentence::by(ratio, metric), metric.title));
    format!("{} in {} {}", row.workload, row.environment, said.unwrap_or_default())
}
