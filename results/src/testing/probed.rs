//! A made-up run of probes of isolation.

use crate::isolation::{How, PROBES, Probe, SEEN, Sign};
use crate::record::{Observation, Sight};
use crate::store::Record;

/// A run of three blocks; the container has what it has, and the guest everything of its own. `change` sees each observation with the
/// name of its environment and its block.
pub fn probed(change: impl Fn(&str, u32, &mut Observation)) -> Record {
    let mut record = super::record(1, 3, true);
    let workload = &mut record.run.plan.workloads[0];
    (workload.name, workload.deciding) = ("probes".to_owned(), String::new());
    record.run.plan.suite = "isolation".to_owned();
    record.run.plan.workloads.truncate(1);
    record.run.plan.trials.retain(|trial| trial.workload == "seq-write");
    record.trials.retain(|trial| trial.planned.workload == "seq-write");
    for planned in &mut record.run.plan.trials {
        planned.workload = "probes".into();
    }
    for trial in &mut record.trials {
        trial.planned.workload = "probes".into();
        trial.measurements.clear();
        trial.histograms.clear();
        let (environment, block) = (trial.planned.environment.clone(), trial.planned.block);
        let mut seen: Vec<_> = PROBES.iter().map(|probe| observation(probe, &environment)).collect();
        seen.iter_mut().for_each(|observation| change(&environment, block, observation));
        trial.observations = seen;
    }
    record
}

/// Values that say what one would expect.
fn observation(probe: &Probe, environment: &str) -> Observation {
    let is_own = match environment {
        "vm" => true,
        "container" => probe.id.starts_with("namespace-") && !["namespace-user", "namespace-time"].contains(&probe.id),
        _ => false,
    };
    let (value, outside) = match probe.sign {
        Sign::Within => (if is_own { "1" } else { "15" }, vec!["10", "20"]),
        Sign::Permitted => ("permitted", Vec::new()),
        Sign::Seen => ("made", vec![if is_own { "not seen" } else { SEEN }]),
        Sign::Named => (if is_own { "0::/" } else { "0::/bench-1-2" }, vec!["bench-1-2"]),
        Sign::Equal if is_own => ("b", vec!["a", "a"]),
        Sign::Equal => ("a", vec!["a", "a"]),
    };
    let is_refused = environment == "container" && probe.sign == Sign::Permitted && probe.how == How::Call;
    Observation {
        probe: probe.id.to_owned(),
        inside: if is_refused { Sight::Error("EPERM".to_owned()) } else { Sight::Value(value.to_owned()) },
        outside: outside.into_iter().map(|value| Sight::Value(value.to_owned())).collect(),
    }
}
