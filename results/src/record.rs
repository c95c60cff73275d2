//! The record of a run: `run.json` ([`Run`]) and the lines of `trials.jsonl` ([`Trial`]).
//!
//! Base units and full precision; what is absent is `None`, never 0.

use std::collections::{BTreeMap, BTreeSet};

/// A name of which a record has millions: up to 24 bytes of it take no memory of their own.
pub use compact_str::CompactString as Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::aliases;
pub use crate::class::{Capability, Class};
use crate::folded::Folded;
use crate::histogram::Histogram;
use crate::imported::Imported;
pub use crate::isolation::{Observation, Sight};
use crate::metric::{Direction, Unit};
use crate::sequential::Sequential;
pub use crate::work::WorkFolder;

/// Version of the record's format; a reader refuses a newer one.
pub const SCHEMA_VERSION: u32 = 2;

/// `run.json`: everything about a run but its trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Name of the run's folder: `20261124T101500Z-io-3fa2c1`.
    pub id: String,
    /// Which `bench` wrote it.
    pub bench: Version,
    /// The command that repeats the run, argument by argument.
    pub command: Vec<String>,
    /// When it started, RFC 3339, UTC.
    pub started_at: String,
    /// When it ended; absent while it is running or when it was killed.
    pub ended_at: Option<String>,
    /// How far it came.
    pub state: State,
    /// What was to be measured, in order, fixed before the first trial.
    pub plan: Plan,
    /// The environments, the reference first.
    pub environments: Vec<Environment>,
    /// Environments of the suite's default list that could not be had, and why.
    pub left_out: Vec<LeftOut>,
    /// Limits that hold in every environment.
    pub limits: Limits,
    /// The storage under test; absent for suites without storage.
    pub target: Option<Target>,
    /// The machine before anything was measured; absent in `smoke` runs, and in records of before it was looked at.
    #[serde(default)]
    pub baseline: Option<Baseline>,
    /// How the target was driven before the first block.
    pub settle: Option<Settle>,
    /// Facts of machine, kernel, tools and settings that a number depends on: dotted name to value
    /// (`cpu.model`, `kernel.release`, `block.scheduler`, `tool.fio.sha256`).
    #[serde(deserialize_with = "aliases::facts")]
    pub fingerprint: BTreeMap<String, String>,
    /// What the reader should know: what was seen, why it matters, what to do.
    pub warnings: Vec<String>,
    /// What running the run itself cost; absent until it ended.
    pub overhead: Option<Overhead>,
    /// Where it was stopped and went on later.
    #[serde(default)]
    pub breaks: Vec<Break>,
    /// Where it is from; absent of what `bench` measured itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Imported>,
}

/// A run was stopped, and went on later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Break {
    /// The first block after it, executed from its start.
    pub block: u32,
    /// Which attempt at this block that is, counted from 1.
    pub attempt: u32,
    /// When the last trial before it was started; absent when there was none.
    pub last_trial_at: Option<String>,
    /// When the run went on.
    pub resumed_at: String,
    /// Trials of the broken block, which are kept as `superseded`.
    pub superseded: u32,
    /// The machine before it went on.
    #[serde(default)]
    pub baseline: Option<Baseline>,
    /// How the target was driven before the run went on.
    pub settle: Option<Settle>,
}

impl Run {
    /// The machine before anything was measured, and before each time that the run went on.
    pub fn baselines(&self) -> impl Iterator<Item = &Baseline> {
        self.baseline.iter().chain(self.breaks.iter().filter_map(|stop| stop.baseline.as_ref()))
    }
}

/// A build of `bench`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Version {
    /// Version of the crate.
    pub version: String,
    /// git revision it was built from, where known (`-dirty` when the tree had changes).
    pub git_revision: Option<String>,
    /// SHA-256 of the executable.
    pub sha256: String,
}

/// How far a run came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not ended, or killed.
    Running,
    /// Every planned trial was executed.
    Complete,
    /// Stopped by the user.
    Interrupted,
}

/// The seeded, ordered list of trials, complete before the first one executes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    /// Names of the suites, joined by `,`; `command` for `bench run -- CMD`.
    pub suite: String,
    /// How long and how often.
    pub profile: Profile,
    /// Everything random follows from it.
    pub seed: u64,
    /// Name of the environment that the others are divided by.
    pub reference: String,
    /// Name of the second environment with the reference's definition.
    pub control: Option<String>,
    /// What is measured.
    pub workloads: Vec<Workload>,
    /// All trials in the order of execution.
    pub trials: Vec<PlannedTrial>,
    /// Names of the environments in the order in which each block starts them, block by block; empty in records of before the order
    /// was drawn: that of `environments`.
    #[serde(default)]
    pub starts: Vec<Vec<String>>,
    /// Seconds of warm-up, measurement and settling, without anything else.
    pub planned_s: f64,
    /// When the run looks at its verdicts, and may end (`--until-decided`); absent where it does not.
    #[serde(default)]
    pub sequential: Option<Sequential>,
}

/// How long and how often: `smoke`, `quick`, `standard`, `paper`, with what the user changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Profile {
    /// Name.
    pub name: String,
    /// How many blocks; each has one fresh instance of every environment.
    pub blocks: u32,
    /// How often a block has each workload in each environment, by turns; a block's value is one over all of them.
    #[serde(default = "once")]
    pub turns: u32,
    /// Measured seconds of a trial.
    pub runtime_s: f64,
    /// Seconds of warm-up before them.
    pub warmup_s: f64,
    /// Most seconds that the target is driven before the first block.
    pub settle_s: f64,
    /// Size of the target.
    pub size_bytes: u64,
    /// The smallest relative difference the user cares about: 0.10 is 10 %.
    pub margin: f64,
    /// False: no comparison of this run gets a verdict (`smoke`).
    pub verdicts: bool,
}

/// Of records from before turns, attempts and executions were counted.
pub(crate) fn once() -> u32 {
    1
}

/// What is planned to be measured under one name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Workload {
    /// Unique name: `rand-read`.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Name of the metric that its verdict is about; empty where nothing is measured (probes of isolation).
    pub deciding: String,
    /// Its parameters as written in the suite (`rw`, `block_size_bytes`, `iodepth`, `jobs`, ...).
    pub parameters: BTreeMap<String, String>,
    /// Names of the environments that it is executed in; empty in records of before this was told: all.
    #[serde(default)]
    pub environments: Vec<String>,
}

/// Parameters of a paced workload that each run finds out anew: a share of what the slowest environment that is not emulated can do that
/// day.
pub const RATES: [&str; 3] = ["bytes_per_s", "per_s", "ios_per_s"];

impl Workload {
    /// True for a command: program and arguments, whatever they do.
    pub fn is_command(&self) -> bool {
        self.parameters.contains_key("argv")
    }

    /// True for block I/O past the page cache; records of before workloads named their engine have nothing else.
    pub fn is_direct_storage(&self) -> bool {
        self.parameters.get("engine").is_none_or(|engine| engine.ends_with(", direct"))
    }

    /// The rate of a paced one, in units of its work per second.
    pub fn rate_per_s(&self) -> Option<f64> {
        RATES.iter().find_map(|name| self.parameters.get(*name)?.parse().ok())
    }

    /// True when it is executed in the environment of this name.
    pub fn runs_in(&self, environment: &str) -> bool {
        self.environments.is_empty() || self.environments.iter().any(|name| name == environment)
    }
}

/// One trial of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlannedTrial {
    /// Unique, and the name of its folder in `raw/`: `b02-rand-read-container`.
    pub id: Name,
    /// Block, counted from 1.
    pub block: u32,
    /// Turn within the block, counted from 1.
    #[serde(default = "once")]
    pub turn: u32,
    /// Position among the environments of its workload, block and turn, counted from 1.
    pub order: u32,
    /// Name of the environment.
    pub environment: Name,
    /// Name of the workload.
    pub workload: Name,
    /// Seed of the workload's own random choices.
    pub seed: u64,
}

/// An environment of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Environment {
    /// Name within the run: `vm`, `container-nat`.
    pub name: String,
    /// Name of its kind: `native`, `container`, `vm`; `imported`: unknown.
    pub kind: String,
    /// Class of its kind; absent in records of before it was told: that of `native`, `container` or `vm`.
    #[serde(default)]
    pub class: Option<Class>,
    /// What it has that others have not; absent in records of before it was told: what a guest has.
    #[serde(default)]
    pub capabilities: Option<BTreeSet<Capability>>,
    /// Its definition as it could be given to `--env`: `old=vm:kernel=/boot/vmlinuz-6.1`.
    pub definition: String,
    /// What executes the guest's instructions; only where there is a VMM.
    pub accelerator: Option<Accelerator>,
    /// Why it is not the accelerator that one would wish for.
    pub accelerator_note: Option<String>,
    /// Rates of paced workloads that are not those of the plan, by name: an emulated guest that cannot follow has its own.
    #[serde(default)]
    pub own_rates_per_s: BTreeMap<String, f64>,
    /// What commands work on; absent where none was executed, and in records of before it was told.
    #[serde(default)]
    pub work: Option<WorkFolder>,
    /// The rows of the sameness table: axis (`cpus`, `memory limit`, `fio sha256`, `kernel`, ...) to what holds here.
    pub sameness: BTreeMap<String, String>,
}

impl Environment {
    /// True when the guest's instructions are emulated: its numbers say nothing about KVM.
    pub fn is_emulated(&self) -> bool {
        self.accelerator == Some(Accelerator::Tcg)
    }

    /// Name for people: an emulated guest always says so.
    pub fn label(&self) -> String {
        if self.is_emulated() { format!("{} (TCG emulation)", self.name) } else { self.name.clone() }
    }
}

/// What executes a guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Accelerator {
    /// Hardware virtualisation.
    Kvm,
    /// Software emulation.
    Tcg,
}

/// An environment that could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// Its name.
    pub environment: String,
    /// Why.
    pub reason: String,
}

/// Limits that hold in every environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Limits {
    /// CPUs as a list: `0-1,4`.
    pub cpus: String,
    /// Memory; for a guest this is its RAM.
    pub memory_bytes: u64,
}

/// The storage under test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Path on the host.
    pub path: String,
    /// File or block device.
    pub is_device: bool,
    /// Size driven.
    pub size_bytes: u64,
    /// File system that holds it (`ext4`); absent for a device.
    pub file_system: Option<String>,
    /// The disk beneath it (`vda`), where one can be named.
    pub disk: Option<String>,
}

/// What others did on the machine in an idle moment before the first block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Baseline {
    /// How long it was looked at.
    pub seconds: f64,
    /// CPU time of processes that do not belong to the run, in percent of the whole machine's.
    pub other_cpu_percent: f64,
    /// The busiest of them.
    pub busiest: Option<String>,
    /// Bytes that the disk beneath the target moved per second; absent without one.
    pub disk_bytes_per_s: Option<f64>,
    /// CPU time that a hypervisor beneath took away, in percent of the whole machine's.
    pub steal_percent: Option<f64>,
}

/// How the target was driven before the first block.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Settle {
    /// True when the throughput was steady before the time was over.
    pub steady: bool,
    /// Seconds it took.
    pub seconds: f64,
    /// IOPS of each second.
    pub iops: Vec<f64>,
}

/// What running the run itself cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Overhead {
    /// Wall time from the first block's start to the last block's end, in seconds, without image build and first fill.
    pub wall_s: f64,
    /// CPU time that `bench` itself used while trials measured, as a fraction of one CPU.
    pub conductor_cpu: f64,
}

/// One line of `trials.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trial {
    /// Which of the plan it is.
    #[serde(flatten)]
    pub planned: PlannedTrial,
    /// Which attempt at its block it belongs to, counted from 1; a run that was stopped makes another when it goes on.
    #[serde(default = "once")]
    pub attempt: u32,
    /// Which execution in its attempt it is, counted from 1; one that was disturbed is followed by another.
    #[serde(default = "once")]
    pub execution: u32,
    /// True when a later attempt at its block, or a later execution in the same one, took its place: kept, and in no number.
    #[serde(default)]
    pub superseded: bool,
    /// When the job was sent, RFC 3339, UTC.
    pub started_at: Name,
    /// Wall time of the job on the host's clock, in nanoseconds.
    pub elapsed_ns: u64,
    /// What executes the guest's instructions; only where there is a VMM.
    pub accelerator: Option<Accelerator>,
    /// Why the trial did not succeed; absent when it did.
    pub failure: Option<String>,
    /// Reasons for which a trial that did succeed must not be averaged in; empty: valid.
    pub invalid: Vec<String>,
    /// What disturbed it without making it invalid.
    #[serde(default)]
    pub remarks: Vec<Remark>,
    /// What was measured.
    pub measurements: Vec<Measurement>,
    /// Completion latencies `read` and `write`; `round_trip`s over the network.
    pub histograms: BTreeMap<String, Histogram>,
    /// What else is known of it: dotted name to value (`clock.offset_ns`); some are judged by [`crate::validity::CHECKS`].
    #[serde(deserialize_with = "aliases::facts")]
    pub facts: BTreeMap<String, serde_json::Value>,
    /// What probes of isolation saw; empty of all other workloads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub observations: Vec<Observation>,
    /// Of the instance it was executed in.
    pub instance: Instance,
    /// What stands for facts and histograms that were let go ([`crate::lean`]).
    #[serde(skip)]
    pub folded: Option<Box<Folded>>,
}

impl Trial {
    /// True when its numbers may be used.
    pub fn is_valid(&self) -> bool {
        self.failure.is_none() && self.invalid.is_empty()
    }

    /// The value of a metric.
    pub fn value(&self, metric: &str) -> Option<f64> {
        self.measurements.iter().find(|m| m.metric == metric).map(|m| m.value)
    }
}

/// A check that a trial did not pass and that does not make it invalid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remark {
    /// Name of the check.
    pub check: String,
    /// What it means, in words for people.
    pub text: String,
}

/// One measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Measurement {
    /// Name out of [`crate::metric::METRICS`].
    pub metric: Name,
    /// Unit of the value.
    pub unit: Unit,
    /// Which values are better.
    pub better: Direction,
    /// The value.
    pub value: f64,
}

/// Facts of one fresh start of an environment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// Its position among the instances that its block started one after the other, counted from 1.
    #[serde(default)]
    pub start_order: Option<u32>,
    /// From the start of its first process to the agent's greeting.
    pub start_to_ready_ns: Option<u64>,
    /// Memory that its cgroup held when the agent was ready; of a guest without its RAM, see `guest_memory_bytes`.
    pub memory_at_ready_bytes: Option<u64>,
    /// Resident memory of the process that is the guest's machine (its VMM) when the agent was ready, guest RAM apart.
    pub vmm_memory_at_ready_bytes: Option<u64>,
    /// The part of the guest's RAM that was resident when the agent was ready.
    pub guest_memory_at_ready_bytes: Option<u64>,
    /// `uname -r` inside.
    pub kernel_release: Option<Name>,
    /// Clock source inside.
    pub clock_source: Option<Name>,
    /// Cost of one clock read inside.
    pub clock_read_ns: Option<f64>,
}
