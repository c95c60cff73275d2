//! The parts of a report that are taken from the record as they are: facts, sameness, instances, troubles, values.

use std::collections::{BTreeMap, BTreeSet};

use bench_results::imported::{CAVEAT, Imported};
use bench_results::record::{Break, Environment, Run, State, Trial};
use bench_results::store::Record;
use bench_results::{Unit, host, statistics};

use crate::report::{InstanceRow, LeftOutRow, Sameness, SamenessCell, SamenessRow, Trouble};
use crate::units;

/// Label of an environment by its name.
pub(crate) fn label(run: &Run, name: &str) -> String {
    run.environments.iter().find(|environment| environment.name == name).map_or(name.to_owned(), Environment::label)
}

/// What is missing of a run that is not complete.
pub(crate) fn unfinished(record: &Record) -> Option<String> {
    let run = &record.run;
    let state = match run.state {
        State::Complete => return None,
        State::Running => "",
        State::Interrupted => ", interrupted",
    };
    let (done, planned) = (record.trials.len(), run.plan.trials.len());
    let block = record.blocks_begun();
    Some(format!("block {block} of {}, {done} of {planned} trials{state}", run.plan.profile.blocks))
}

/// What the numbers belong to, in a few words each.
pub(crate) fn facts(run: &Run) -> Vec<String> {
    if let Some(imported) = &run.imported {
        return of_imported(run, imported);
    }
    let profile = &run.plan.profile;
    let times = if profile.turns > 1 { format!("{} × ", profile.turns) } else { String::new() };
    let mut facts = vec![
        format!("suite {}, profile {}", run.plan.suite, profile.name),
        format!(
            "{} of {times}{}",
            units::count(profile.blocks as usize, "block"),
            units::chosen(profile.runtime_s * 1e9, Unit::Ns)
        ),
        run.started_at.clone(),
    ];
    for name in ["cpu.model", "kernel.release"] {
        facts.extend(run.fingerprint.get(name).cloned());
    }
    facts.extend(host::label(run));
    let memory = units::chosen(run.limits.memory_bytes as f64, Unit::Bytes);
    facts.push(format!("CPUs {}, memory {memory}", run.limits.cpus));
    if let Some(target) = &run.target {
        let size = units::chosen(target.size_bytes as f64, Unit::Bytes);
        let on = target.file_system.as_ref().map_or(String::new(), |fs| format!(" on {fs}"));
        facts.push(format!("target {size}{on}"));
    }
    facts.extend(run.overhead.as_ref().map(|overhead| format!("took {}", units::duration(overhead.wall_s))));
    facts
}

/// Nothing is known but who wrote which files.
fn of_imported(run: &Run, imported: &Imported) -> Vec<String> {
    const NAMED: usize = 3;
    let tools = imported.tools().into_iter().collect::<Vec<_>>().join(", ");
    let names: Vec<&str> = imported.files.iter().take(NAMED).map(|file| file.name.as_str()).collect();
    let more = imported.files.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    vec![
        CAVEAT.to_owned(),
        format!("results of {tools}"),
        format!("from {}{more}", names.join(", ")),
        units::count(run.plan.profile.blocks as usize, "block"),
        format!("imported {}", run.started_at),
    ]
}

/// Axes in the order of their names; the reference first.
pub(crate) fn sameness(run: &Run) -> Sameness {
    let axes: BTreeSet<&String> = run.environments.iter().flat_map(|environment| environment.sameness.keys()).collect();
    let reference = run.environments.iter().find(|environment| environment.name == run.plan.reference);
    let rows = axes.into_iter().map(|axis| {
        let expected = reference.and_then(|reference| reference.sameness.get(axis));
        let cell = |environment: &Environment| {
            let value = environment.sameness.get(axis);
            SamenessCell { value: value.cloned().unwrap_or_else(|| "–".to_owned()), differs: value != expected }
        };
        SamenessRow { axis: axis.clone(), cells: run.environments.iter().map(cell).collect() }
    });
    Sameness { rows: rows.collect(), environments: run.environments.iter().map(Environment::label).collect() }
}

pub(crate) fn left_out(run: &Run) -> Vec<LeftOutRow> {
    let row = |left: &bench_results::record::LeftOut| LeftOutRow {
        environment: left.environment.clone(),
        reason: left.reason.clone(),
    };
    run.left_out.iter().map(row).collect()
}

/// Warnings of the run, of its environments, and of reading its record.
pub(crate) fn warnings(record: &Record) -> Vec<String> {
    // Guests that are emulated for the same reason share one warning.
    let mut accelerators: Vec<(&str, String)> = Vec::new();
    for environment in &record.run.environments {
        let Some(note) = environment.accelerator_note.as_deref() else { continue };
        match accelerators.iter_mut().find(|(known, _)| *known == note) {
            Some((_, labels)) => labels.push_str(&format!(", {}", environment.label())),
            None => accelerators.push((note, environment.label())),
        }
    }
    let accelerators = accelerators.into_iter().map(|(note, labels)| format!("{labels}: {note}"));
    let breaks = record.run.breaks.iter().map(stopped);
    record.run.warnings.iter().cloned().chain(accelerators).chain(breaks).chain(record.notes.iter().cloned()).collect()
}

/// Where the run was stopped and went on.
fn stopped(at: &Break) -> String {
    let last = at.last_trial_at.as_ref().map_or("before its first trial".to_owned(), |time| format!("after {time}"));
    let aside = match at.superseded {
        0 => String::new(),
        count => format!(" (set aside of its earlier attempt: {})", units::count(count as usize, "trial")),
    };
    format!(
        "the run was stopped {last} and went on at {} with block {}, from its start{aside}. Ratios are taken within blocks; absolute \
         values before and after the break are of different hours",
        at.resumed_at, at.block
    )
}

/// Trials that failed or are invalid, in the order of execution.
pub(crate) fn troubles(record: &Record) -> Vec<Trouble> {
    let trouble = |trial: &Trial| {
        let (kind, reason) = match &trial.failure {
            Some(failure) => ("failed", failure.clone()),
            None => ("invalid", trial.invalid.join("; ")),
        };
        Trouble {
            trial: trial.planned.id.to_string(),
            workload: trial.planned.workload.to_string(),
            environment: label(&record.run, &trial.planned.environment),
            block: trial.planned.block,
            kind,
            reason,
        }
    };
    record.trials.iter().filter(|trial| !trial.is_valid()).map(trouble).collect()
}

/// The first valid trial of an environment in each block: one instance per block, whatever its number of valid trials.
pub(crate) fn first_trials<'a>(record: &'a Record, environment: &Environment) -> BTreeMap<u32, &'a Trial> {
    let mut blocks: BTreeMap<u32, &Trial> = BTreeMap::new();
    let its = |trial: &&Trial| trial.planned.environment == environment.name && trial.is_valid();
    for trial in record.trials.iter().filter(its) {
        blocks.entry(trial.planned.block).or_insert(trial);
    }
    blocks
}

/// Medians over the instances of each environment.
pub(crate) fn instances(record: &Record) -> Vec<InstanceRow> {
    let of_environment = |environment: &Environment| {
        let blocks = first_trials(record, environment);
        let instances = || blocks.values().map(|trial| &trial.instance);
        let first = instances().next()?;
        Some(InstanceRow {
            environment: environment.label(),
            instances: blocks.len(),
            start_orders: instances().filter_map(|i| i.start_order).collect(),
            start_to_ready_ns: median(instances().filter_map(|i| i.start_to_ready_ns)),
            memory_at_ready_bytes: median(instances().filter_map(|i| i.memory_at_ready_bytes)),
            vmm_memory_at_ready_bytes: median(instances().filter_map(|i| i.vmm_memory_at_ready_bytes)),
            guest_memory_at_ready_bytes: median(instances().filter_map(|i| i.guest_memory_at_ready_bytes)),
            kernel_release: first.kernel_release.as_ref().map(ToString::to_string),
        })
    };
    // Nobody knows in what others measured.
    let known = record.run.environments.iter().filter(|_| record.run.imported.is_none());
    known.filter_map(of_environment).collect()
}

fn median(values: impl Iterator<Item = u64>) -> Option<f64> {
    statistics::quantile(&mut values.map(|value| value as f64).collect::<Vec<_>>(), 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_even_and_nothing() {
        assert_eq!(median([3, 1, 2].into_iter()), Some(2.0));
        assert_eq!(median([1, 2, 3, 10].into_iter()), Some(2.5));
        assert_eq!(median(std::iter::empty()), None);
    }
}
