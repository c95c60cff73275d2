//! The kinds of workloads, one file for each: everything that depends on the kind.
//!
//! A kind is a struct of its parameters, as serde reads them from a suite's entry. Nothing outside of this folder asks of which kind a
//! workload is: a new kind is a file here and a line in [`KINDS`].

pub(crate) mod command;
#[cfg(test)]
#[path = "tests/dd.rs"]
mod example;
mod exchange;
pub(crate) mod fio;
pub(crate) mod fio_job;
mod idle_memory;
mod probes;
mod start;
mod stream;

use std::collections::BTreeMap;
use std::fmt::Debug;

use bench_agent::JobOutput;
use bench_results::quantity::{Written, parse_count};
use bench_results::record::Profile;
use dyn_clone::DynClone;
use serde::de::{self, DeserializeOwned};
use serde::{Deserialize, Deserializer};

use crate::entry::{Entry, Wrong};
use crate::workload::{Measured, Place, TrialJobs};
use command::Command;
use exchange::Exchange;
use idle_memory::IdleMemory;
use probes::Probes;
use start::Start;
use stream::Stream;

/// Reads the parameters of a kind.
type Read = fn(Entry<'_>) -> Result<Box<dyn Kind>, Wrong>;

/// All kinds, by their names in suites.
const KINDS: &[(&str, Read)] = &[
    ("fio", fio::read),
    ("command", read::<Command>),
    ("stream", read::<Stream>),
    ("exchange", read::<Exchange>),
    ("fio-job", fio_job::read),
    ("start", read::<Start>),
    ("idle-memory", read::<IdleMemory>),
    ("probes", read::<Probes>),
    // That of docs/ADD-A-WORKLOAD.md.
    #[cfg(test)]
    ("dd", read::<example::Dd>),
];

/// The kind of a workload that names none.
pub(crate) const USUAL: &str = "fio";

/// The share of what the slowest environment can do at which a paced workload is executed, unless it says otherwise: enough to be
/// work, and no saturation.
pub(crate) const HALF: f64 = 0.5;

fn read<K: Kind + DeserializeOwned + 'static>(entry: Entry<'_>) -> Result<Box<dyn Kind>, Wrong> {
    entry.read::<K>().map(|kind| Box::new(kind) as Box<dyn Kind>)
}

/// What reads the parameters of the kind of this name; an error names those that there are.
pub(crate) fn find(name: &str) -> Result<Read, String> {
    let found = KINDS.iter().find(|(known, _)| *known == name);
    found.map(|&(_, read)| read).ok_or_else(|| {
        let names: Vec<_> = KINDS.iter().map(|&(known, _)| known).collect();
        let known =
            names.split_last().map_or(String::new(), |(last, others)| format!("{} and {last}", others.join(", ")));
        format!("there is no kind of workload `{name}`; there are {known}")
    })
}

/// Of a workload that has no job.
const NO_JOB: &str = "it is about instances, and nothing is executed in them";

/// What a trial is about that measures instances themselves, and not a job in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instances {
    /// This many are started one after the other.
    Started {
        /// How many.
        count: u32,
    },
    /// They are started and held.
    Held {
        /// How many at once, in rising order.
        counts: Vec<u32>,
    },
}

/// Instances of one trial, at most: each is written down in the ledger.
const MOST_INSTANCES: u64 = 1000;

/// A number of instances.
fn instances<'de, D: Deserializer<'de>>(from: D) -> Result<u32, D::Error> {
    let number = parse_count(&Written::deserialize(from)?.text(), MOST_INSTANCES);
    number.map(|number| number as u32).map_err(de::Error::custom)
}

/// A workload's parameters, and all that follows from its kind. What is not said is as with a command.
pub(crate) trait Kind: Debug + DynClone + Send + Sync {
    /// True when it drives the target, by fio.
    fn needs_target(&self) -> bool {
        false
    }

    /// See [`crate::Workload::target_bytes`].
    fn target_bytes(&self) -> Option<u64> {
        None
    }

    /// True when it needs a peer, and iperf3 or the probe at both ends.
    fn needs_network(&self) -> bool {
        false
    }

    /// See [`crate::Workload::engines`].
    fn engines(&self) -> Vec<String> {
        Vec::new()
    }

    /// See [`crate::Workload::is_buffered`].
    fn is_buffered(&self) -> bool {
        false
    }

    /// See [`crate::Workload::set_engine`].
    fn set_engine(&mut self, _engine: fio::Engine) -> Result<bool, String> {
        Ok(false)
    }

    /// See [`crate::Workload::is_probed`].
    fn is_probed(&self) -> bool {
        false
    }

    /// Program and arguments, of a command.
    fn argv(&self) -> Option<&[String]> {
        None
    }

    /// What it measures of instances themselves; absent: a job in one.
    fn instances(&self) -> Option<Instances> {
        None
    }

    /// See [`crate::Workload::set_program`].
    fn set_program(&mut self, _path: String) {}

    /// See [`crate::Workload::needs_pace`].
    fn needs_pace(&self) -> bool {
        false
    }

    /// See [`crate::Workload::pace_share`].
    fn pace_share(&self) -> f64 {
        HALF
    }

    /// See [`crate::Workload::set_pace`]; absent: as fast as it goes.
    fn set_pace(&mut self, _rate_per_s: Option<f64>) {}

    /// See [`crate::Workload::set_runtime`].
    fn set_runtime(&mut self, _seconds: f64) -> bool {
        false
    }

    /// See [`crate::Workload::seconds`].
    fn seconds(&self, profile: &Profile) -> (f64, f64) {
        (profile.warmup_s, profile.runtime_s)
    }

    /// Refuse a warm-up that its tool would refuse in every trial.
    fn check(&self, _profile: &Profile) -> Result<(), String> {
        Ok(())
    }

    /// For the plan in the record.
    fn parameters(&self) -> BTreeMap<String, String>;

    /// The metrics that its trials yield; the first decides unless the suite names another.
    fn yields(&self) -> Vec<&'static str>;

    /// The jobs of a trial; an error: the place lacks something.
    fn trial(&self, place: &Place, profile: &Profile, seed: u64) -> Result<TrialJobs, String>;

    /// Read a trial's output; `deciding` is the metric without which a trial is of no use. An error is why the trial failed.
    fn measure(&self, output: &JobOutput, deciding: &str) -> Result<Measured, String>;
}

dyn_clone::clone_trait_object!(Kind);
