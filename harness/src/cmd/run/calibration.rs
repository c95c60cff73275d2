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

/// Seconds of each calibrating trial.
const SECONDS: f64 = 1.0;

/// What preflight finds out about the environments, one after the other.
pub struct Calibration {
    paced: Vec<Planned>,
    profile: Profile,
    /// What each environment can do in what paced workloads are without their pace.
    found: BTreeMap<BTreeMap<String, String>, Vec<Found>>,
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
            found: BTreeMap::new(),
            told: BTreeSet::new(),
            device: None,
        }
    }

    /// True when a paced workload drives the target.
    pub fn drives(&self) -> bool {
        self.paced.iter().any(|planned| planned.workload.needs_target())
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
        if environment.route.is_some() {
            self.compare_device(environment, instance).await?;
        }
        for planned in self.paced.iter().filter(|planned| planned.environments.contains(&environment.name)) {
            let workload = planned.workload.unpaced();
            let found = self.found.entry(key(&workload)).or_default();
            if found.iter().any(|found| found.environment == record.name) {
                // Another share of the same.
                continue;
            }
            let rate = rate(&workload, environment, &self.profile, instance, setting).await;
            let rate = rate.with_context(|| format!("finding out how fast {} can go", workload.name()))?;
            found.push(Found {
                environment: record.name.clone(),
                label: record.label(),
                is_emulated: record.is_emulated(),
                per_s: rate,
            });
        }
        Ok(())
    }

    async fn compare_device(&mut self, environment: &Environment, instance: &mut Instance<'_>) -> Result<()> {
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
        Ok(())
    }

    /// Give the paced workloads their rates; warnings where emulated guests have rates of their own, or are all there is.
    pub fn pace(&self, workloads: &mut [Planned]) -> Vec<String> {
        let (mut apart, mut only_emulated) = (BTreeSet::new(), BTreeSet::new());
        for planned in workloads {
            let Some(found) = self.found.get(&key(&planned.workload.unpaced())) else { continue };
            let share = planned.workload.pace_share();
            let Some(pace) = Pace::of(found, share).filter(|_| planned.workload.needs_pace()) else { continue };
            planned.workload.set_pace(pace.per_s);
            apart.extend(pace.own.iter().map(|found| found.label.clone()));
            let workload = &planned.workload;
            let own = |found: &&Found| (found.environment.clone(), kept(workload, of(found.per_s, share)));
            planned.own_rates_per_s = pace.own.iter().map(own).collect();
            if pace.is_emulated {
                only_emulated.insert(planned.workload.name().to_owned());
            }
        }
        let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
        let mut warnings = Vec::new();
        if !apart.is_empty() {
            warnings.push(format!(
                "paced workloads are executed at a share of what the slowest environment that is not emulated can do; {} cannot follow \
                 and have their own rates, the same share of what each can do: do not compare their cost",
                list(apart)
            ));
        }
        if !only_emulated.is_empty() {
            warnings.push(format!(
                "every environment of {} is emulated: the rate is a share of what the slowest guest reaches under emulation, and not a realistic load",
                list(only_emulated)
            ));
        }
        warnings
    }
}

/// What an environment can do in a paced workload.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    environment: String,
    label: String,
    is_emulated: bool,
    per_s: f64,
}

/// The rate of a paced workload.
#[derive(Debug, PartialEq)]
struct Pace<'a> {
    per_s: f64,
    /// Nothing but emulated guests was there to set it.
    is_emulated: bool,
    /// Emulated guests that cannot follow.
    own: Vec<&'a Found>,
}

impl<'a> Pace<'a> {
    /// This share of what the slowest can do. An emulated guest has no say, unless there is nothing else; absent where nothing was found.
    fn of(found: &'a [Found], share: f64) -> Option<Pace<'a>> {
        let slowest = |emulated: bool| {
            let of_kind = found.iter().filter(move |found| found.is_emulated == emulated);
            of_kind.map(|found| found.per_s).reduce(f64::min)
        };
        let is_emulated = slowest(false).is_none();
        let per_s = of(slowest(false).or(slowest(true))?, share);
        let own = found.iter().filter(|found| found.is_emulated && of(found.per_s, share) < per_s).collect();
        Some(Pace { per_s, is_emulated, own })
    }
}

fn of(per_s: f64, share: f64) -> f64 {
    (per_s * share).round().max(1.0)
}

/// A rate as a workload keeps it: it may be a whole number for each of its processes.
fn kept(workload: &Workload, per_s: f64) -> f64 {
    let mut paced = workload.clone();
    paced.set_pace(per_s);
    paced.record(Vec::new()).rate_per_s().unwrap_or(per_s)
}

/// What it is without its pace: shares of one rate are shares of what was found once.
fn key(unpaced: &Workload) -> BTreeMap<String, String> {
    unpaced.record(Vec::new()).parameters
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str, is_emulated: bool, per_s: f64) -> Found {
        Found { environment: name.to_owned(), label: name.to_owned(), is_emulated, per_s }
    }

    #[test]
    fn an_emulated_guest_never_sets_the_pace_of_others() {
        let all = [found("native", false, 1000.0), found("vm", true, 40.0), found("container", false, 600.0)];
        assert_eq!(Pace::of(&all, 0.5), Some(Pace { per_s: 300.0, is_emulated: false, own: vec![&all[1]] }));
        let quick = [found("vm", true, 900.0), found("native", false, 1000.0)];
        assert_eq!(
            Pace::of(&quick, 0.5).unwrap().own,
            [&quick[0]],
            "it would work harder than at half of what it can do"
        );
        let quicker = [found("vm", true, 1200.0), found("native", false, 1000.0)];
        assert_eq!(Pace::of(&quicker, 0.5), Some(Pace { per_s: 500.0, is_emulated: false, own: vec![] }));
    }

    #[test]
    fn where_all_are_emulated_the_slowest_sets_it_for_all() {
        let all = [found("a", true, 100.0), found("b", true, 40.0)];
        assert_eq!(Pace::of(&all, 0.5), Some(Pace { per_s: 20.0, is_emulated: true, own: vec![] }));
        assert_eq!(Pace::of(&[], 0.5), None);
    }

    #[test]
    fn shares_of_one_rate_are_of_what_was_found_once() {
        let suite = bench_workloads::Suite::builtin("open-loop").unwrap();
        let mut workloads: Vec<_> =
            suite.workloads.iter().map(|workload| Planned::new(workload.clone(), Vec::new())).collect();
        let paced: Vec<_> = workloads.iter().filter(|planned| planned.workload.needs_pace()).cloned().collect();
        let keys: BTreeSet<_> = paced.iter().map(|planned| key(&planned.workload.unpaced())).collect();
        assert_eq!((paced.len(), keys.len()), (3, 1));
        let all = vec![found("native", false, 20_000.0), found("vm", false, 10_000.0)];
        let calibration = Calibration {
            paced,
            profile: suite.profile("smoke").unwrap().clone(),
            found: keys.into_iter().map(|key| (key, all.clone())).collect(),
            told: BTreeSet::new(),
            device: None,
        };
        assert_eq!(calibration.pace(&mut workloads), [""; 0]);
        let rates: Vec<_> = workloads.iter().map(|planned| planned.workload.record(Vec::new()).rate_per_s()).collect();
        // Whole numbers for each of 16 processes.
        assert_eq!(rates, [Some(5008.0), Some(7008.0), Some(9008.0), None]);
    }

    #[test]
    fn what_is_emulated_is_told() {
        let suite = bench_workloads::Suite::builtin("network").unwrap();
        let of = |all: &[Found]| {
            let mut workloads: Vec<_> =
                suite.workloads.iter().map(|workload| Planned::new(workload.clone(), Vec::new())).collect();
            let paced = workloads.iter().filter(|planned| planned.workload.needs_pace());
            let found = paced.map(|planned| (key(&planned.workload.unpaced()), all.to_vec())).collect();
            let calibration = Calibration {
                paced: Vec::new(),
                profile: suite.profile("smoke").unwrap().clone(),
                found,
                told: BTreeSet::new(),
                device: None,
            };
            let warnings = calibration.pace(&mut workloads);
            let own = workloads.iter().map(|planned| planned.own_rates_per_s.len()).sum::<usize>();
            (warnings.join("; "), own)
        };
        let native = found("native", false, 1000.0);
        assert_eq!(of(std::slice::from_ref(&native)), (String::new(), 0));
        let (said, own) = of(&[native, found("vm (TCG emulation)", true, 40.0)]);
        assert!(
            own == 3 && said.contains("vm (TCG emulation) cannot follow") && !said.contains("every"),
            "{own} {said}"
        );
        let (said, own) = of(&[found("vm (TCG emulation)", true, 40.0)]);
        assert!(own == 0 && said.contains("every environment of tcp-rr-rate, tcp-stream-paced-rx"), "{own} {said}");
    }
}
