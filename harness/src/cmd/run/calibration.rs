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

/// The share of what the slowest environment that is not emulated can do at which all are measured: enough to be work, and no saturation.
const SHARE: f64 = 0.5;
/// Seconds of each calibrating trial.
const SECONDS: f64 = 1.0;

/// What preflight finds out about the environments, one after the other.
pub struct Calibration {
    paced: Vec<Planned>,
    profile: Profile,
    /// What each environment can do in each paced workload.
    found: BTreeMap<String, Vec<Found>>,
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
                self.found.entry(workload.name().to_owned()).or_default().push(Found {
                    environment: record.name.clone(),
                    label: record.label(),
                    is_emulated: record.is_emulated(),
                    per_s: rate,
                });
            }
        }
        Ok(())
    }

    /// Give the paced workloads their rates; warnings where emulated guests have rates of their own, or are all there is.
    pub fn pace(&self, workloads: &mut [Planned]) -> Vec<String> {
        let (mut apart, mut only_emulated) = (BTreeSet::new(), BTreeSet::new());
        for planned in workloads {
            let Some(found) = self.found.get(planned.workload.name()) else { continue };
            let Some(pace) = Pace::of(found) else { continue };
            planned.workload.set_pace(pace.per_s);
            apart.extend(pace.own.iter().map(|found| found.label.clone()));
            planned.own_rates_per_s =
                pace.own.iter().map(|found| (found.environment.clone(), half(found.per_s))).collect();
            if pace.is_emulated {
                only_emulated.insert(planned.workload.name().to_owned());
            }
        }
        let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>().join(", ");
        let mut warnings = Vec::new();
        if !apart.is_empty() {
            warnings.push(format!(
                "paced workloads are executed at half of what the slowest environment that is not emulated can do; {} cannot follow \
                 and have their own rates, half of what each can do: do not compare their cost",
                list(apart)
            ));
        }
        if !only_emulated.is_empty() {
            warnings.push(format!(
                "every environment of {} is emulated: the rate is half of what the slowest guest reaches under emulation, and not a realistic load",
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
    /// Half of what the slowest can do. An emulated guest has no say, unless there is nothing else; absent where nothing was found.
    fn of(found: &'a [Found]) -> Option<Pace<'a>> {
        let slowest = |emulated: bool| {
            let of_kind = found.iter().filter(move |found| found.is_emulated == emulated);
            of_kind.map(|found| found.per_s).reduce(f64::min)
        };
        let is_emulated = slowest(false).is_none();
        let per_s = half(slowest(false).or(slowest(true))?);
        let own = found.iter().filter(|found| found.is_emulated && half(found.per_s) < per_s).collect();
        Some(Pace { per_s, is_emulated, own })
    }
}

fn half(per_s: f64) -> f64 {
    (per_s * SHARE).round().max(1.0)
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
        assert_eq!(Pace::of(&all), Some(Pace { per_s: 300.0, is_emulated: false, own: vec![&all[1]] }));
        let quick = [found("vm", true, 900.0), found("native", false, 1000.0)];
        assert_eq!(Pace::of(&quick).unwrap().own, [&quick[0]], "it would work harder than at half of what it can do");
        let quicker = [found("vm", true, 1200.0), found("native", false, 1000.0)];
        assert_eq!(Pace::of(&quicker), Some(Pace { per_s: 500.0, is_emulated: false, own: vec![] }));
    }

    #[test]
    fn where_all_are_emulated_the_slowest_sets_it_for_all() {
        let all = [found("a", true, 100.0), found("b", true, 40.0)];
        assert_eq!(Pace::of(&all), Some(Pace { per_s: 20.0, is_emulated: true, own: vec![] }));
        assert_eq!(Pace::of(&[]), None);
    }

    #[test]
    fn what_is_emulated_is_told() {
        let suite = bench_workloads::Suite::builtin("network").unwrap();
        let of = |all: &[Found]| {
            let mut workloads: Vec<_> =
                suite.workloads.iter().map(|workload| Planned::new(workload.clone(), Vec::new())).collect();
            let paced = workloads.iter().filter(|planned| planned.workload.needs_pace());
            let found = paced.map(|planned| (planned.workload.name().to_owned(), all.to_vec())).collect();
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
