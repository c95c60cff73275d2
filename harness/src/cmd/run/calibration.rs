//! What holds for all environments together: one rate for paced workloads, and network devices that are set alike.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use bench_results::record::{self, Profile};
use bench_workloads::Workload;

use super::definition::Definition;
use crate::conductor::environment::Environment;
use crate::conductor::instance::{Instance, Setting};
use crate::conductor::plan::Planned;
use crate::conductor::trial;
use crate::netlab::Interface;

/// The share of what the slowest environment can do at which all are measured: enough to be work, and no saturation.
const SHARE: f64 = 0.5;
/// Seconds of each calibrating trial.
const SECONDS: f64 = 1.0;

/// What preflight finds out about the environments, one after the other.
pub struct Calibration {
    paced: Vec<Planned>,
    profile: Profile,
    /// The slowest rate of each paced workload so far, and the label of whose it is where that is emulated.
    slowest: BTreeMap<String, (f64, Option<String>)>,
    /// Why guests are emulated, as far as it was told.
    told: BTreeSet<String>,
    /// Name and device of the first environment with a network.
    device: Option<(String, Interface)>,
}

impl Calibration {
    /// Nothing is known yet.
    pub fn new(definition: &Definition) -> Calibration {
        let is_paced = |planned: &&Planned| planned.workload.needs_pace();
        Calibration {
            paced: definition.workloads.iter().filter(is_paced).cloned().collect(),
            profile: Profile { runtime_s: SECONDS, warmup_s: 0.0, ..definition.profile().clone() },
            slowest: BTreeMap::new(),
            told: BTreeSet::new(),
            device: None,
        }
    }

    /// A note that was not told yet.
    pub fn news<'a>(&mut self, note: Option<&'a String>) -> Option<&'a String> {
        note.filter(|note| self.told.insert((*note).clone()))
    }

    /// Compare an environment's device with the first one's, and see how fast its paced workloads could go.
    pub async fn measure(
        &mut self,
        environment: &Environment,
        record: &record::Environment,
        instance: &mut Instance<'_>,
        setting: &Setting,
    ) -> Result<()> {
        if environment.route.is_none() {
            return Ok(());
        }
        let device = environment.interface(instance).await?;
        match &self.device {
            None => self.device = Some((environment.name.clone(), device)),
            Some((first, known)) => {
                let differences = device.differences(known);
                if !differences.is_empty() {
                    bail!("its network device is not set as that of `{first}`: {}", differences.join("; "));
                }
            }
        }
        for planned in &self.paced {
            let workload = &planned.workload;
            if planned.environments.contains(&environment.name) {
                let rate = rate(&workload.unpaced(), environment, &self.profile, instance, setting).await;
                let rate = rate.with_context(|| format!("finding out how fast {} can go", workload.name()))?;
                let slower = self.slowest.get(workload.name()).is_none_or(|(slowest, _)| rate < *slowest);
                if slower {
                    let emulated = record.is_emulated().then(|| record.label());
                    self.slowest.insert(workload.name().to_owned(), (rate, emulated));
                }
            }
        }
        Ok(())
    }

    /// Give the paced workloads their rates; a warning where an emulated guest set them.
    pub fn pace(&self, workloads: &mut [Planned]) -> Option<String> {
        let mut emulated = None;
        for planned in workloads {
            if let Some((slowest, whose_emulated)) = self.slowest.get(planned.workload.name()) {
                planned.workload.set_pace((slowest * SHARE).round());
                emulated = emulated.or(whose_emulated.as_ref());
            }
        }
        emulated.map(|whose| {
            format!(
                "paced workloads are executed at half of what {whose} can do: for the cost of a real load leave emulated \
                 guests out (--env native,...)"
            )
        })
    }
}

/// Units of work per second, as fast as it goes.
async fn rate(
    workload: &Workload,
    environment: &Environment,
    profile: &Profile,
    instance: &mut Instance<'_>,
    setting: &Setting,
) -> Result<f64> {
    let jobs = workload.trial(&environment.place, profile, 0).map_err(anyhow::Error::msg)?;
    let executed = trial::run_jobs(&jobs, instance, setting).await?.map_err(anyhow::Error::msg)?;
    let measured = workload.measure(&executed.output).map_err(anyhow::Error::msg)?;
    measured.rate_per_s.context("it has no rate")
}
