//! Memory of idle instances, by three methods, as the slope over how many there are at once.

use std::collections::BTreeMap;

use bench_agent::JobOutput;
use bench_results::record::Profile;
use serde::{Deserialize, Deserializer, de};

use super::{Instances, Kind, MOST_INSTANCES, NO_JOB};
use crate::workload::{Measured, Place, TrialJobs};

/// Idle instances.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IdleMemory {
    /// How many are held at once, one number after the other; a slope takes two.
    #[serde(deserialize_with = "rising")]
    held: Vec<u32>,
}

fn rising<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u32>, D::Error> {
    let counts = Vec::<u32>::deserialize(from)?;
    let are_numbers = counts.iter().all(|&count| (1..=MOST_INSTANCES).contains(&u64::from(count)));
    match are_numbers && counts.len() >= 2 && counts.is_sorted_by(|one, next| one < next) {
        true => Ok(counts),
        false => Err(de::Error::custom(format!(
            "it must be at least two numbers from 1 to {MOST_INSTANCES}, each larger than the one before"
        ))),
    }
}

impl Kind for IdleMemory {
    fn instances(&self) -> Option<Instances> {
        Some(Instances::Held { counts: self.held.clone() })
    }

    fn seconds(&self, _profile: &Profile) -> (f64, f64) {
        (0.0, 0.0)
    }

    fn parameters(&self) -> BTreeMap<String, String> {
        let counts: Vec<_> = self.held.iter().map(u32::to_string).collect();
        [("held".to_owned(), counts.join(","))].into()
    }

    fn yields(&self) -> Vec<&'static str> {
        vec!["idle_memory_available_bytes", "idle_memory_cgroup_bytes", "idle_memory_pss_bytes"]
    }

    fn trial(&self, _place: &Place, _profile: &Profile, _seed: u64) -> Result<TrialJobs, String> {
        Err(NO_JOB.to_owned())
    }

    fn measure(&self, _output: &JobOutput, _deciding: &str) -> Result<Measured, String> {
        Err(NO_JOB.to_owned())
    }
}
