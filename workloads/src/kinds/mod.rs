//! The kinds of workloads, one file for each: everything that depends on the kind.
//!
//! A kind is a struct of its parameters, as serde reads them from a suite's entry. Nothing outside of this folder asks of which kind a
//! workload is: a new kind is a file here and a line in [`KINDS`].

pub(crate) mod command;
mod exchange;
pub(crate) mod fio;
pub(crate) mod fio_job;
mod probes;
mod stream;

use std::collections::BTreeMap;
use std::fmt::Debug;

use bench_agent::JobOutput;
use bench_results::record::Profile;
use dyn_clone::DynClone;
use serde::de::DeserializeOwned;

use crate::entry::{Entry, Wrong};
use crate::workload::{Measured, Place, TrialJobs};
use command::Command;
use exchange::Exchange;
use probes::Probes;
use stream::Stream;

/// Reads the parameters of a kind.
type Read = fn(Entry<'_>) -> Result<Box<dyn Kind>, Wrong>;

/// All kinds, by their names in suites.
const KINDS: [(&str, Read); 6] = [
    ("fio", fio::read),
    ("command", read::<Command>),
    ("stream", read::<Stream>),
    ("exchange", read::<Exchange>),
    ("fio-job", fio_job::read),
    ("probes", read::<Probes>),
];

/// The kind of a workload that names none.
pub(crate) const USUAL: &str = "fio";

fn read<K: Kind + DeserializeOwned + 'static>(entry: Entry<'_>) -> Result<Box<dyn Kind>, Wrong> {
    entry.read::<K>().map(|kind| Box::new(kind) as Box<dyn Kind>)
}

/// What reads the parameters of the kind of this name; an error names those that there are.
pub(crate) fn find(name: &str) -> Result<Read, String> {
    let found = KINDS.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, read)| read).ok_or_else(|| {
        let names = KINDS.map(|(known, _)| known);
        let known =
            names.split_last().map_or(String::new(), |(last, others)| format!("{} and {last}", others.join(", ")));
        format!("there is no kind of workload `{name}`; there are {known}")
    })
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

    /// See [`crate::Workload::is_probed`].
    fn is_probed(&self) -> bool {
        false
    }

    /// Program and arguments, of a command.
    fn argv(&self) -> Option<&[String]> {
        None
    }

    /// See [`crate::Workload::set_program`].
    fn set_program(&mut self, _path: String) {}

    /// See [`crate::Workload::needs_pace`].
    fn needs_pace(&self) -> bool {
        false
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
