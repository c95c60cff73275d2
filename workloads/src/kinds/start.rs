//! Fresh instances, started one after the other: how long they take to their program's first instruction, to be ready, and to be gone.

use std::collections::BTreeMap;

use bench_agent::JobOutput;
use bench_results::record::Profile;
use serde::Deserialize;

use super::{Instances, Kind, NO_JOB};
use crate::workload::{Measured, Place, TrialJobs};

/// Starts of instances.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Start {
    /// How many are started in a trial.
    #[serde(deserialize_with = "super::instances")]
    instances: u32,
}

impl Kind for Start {
    fn instances(&self) -> Option<Instances> {
        Some(Instances::Started { count: self.instances })
    }

    fn seconds(&self, _profile: &Profile) -> (f64, f64) {
        (0.0, 0.0)
    }

    fn parameters(&self) -> BTreeMap<String, String> {
        [("instances".to_owned(), self.instances.to_string())].into()
    }

    fn yields(&self) -> Vec<&'static str> {
        vec![
            "start_to_ready_p50_ns",
            "start_to_ready_p95_ns",
            "start_to_first_instruction_p50_ns",
            "start_to_kernel_p50_ns",
            "end_to_gone_p50_ns",
            "machine_cpu_ns_per_start",
        ]
    }

    fn trial(&self, _place: &Place, _profile: &Profile, _seed: u64) -> Result<TrialJobs, String> {
        Err(NO_JOB.to_owned())
    }

    fn measure(&self, _output: &JobOutput, _deciding: &str) -> Result<Measured, String> {
        Err(NO_JOB.to_owned())
    }
}
