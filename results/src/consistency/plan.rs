//! Checks of `run.json` alone.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, OfRun};
use crate::record::{Accelerator, Capability, Class, Environment, PlannedTrial, Run};

/// All of them.
pub(super) const CHECKS: &[Check<OfRun>] = &[
    Check {
        what: "a name with other characters than `a-z A-Z 0-9 - _ +`, empty, or over 128 bytes: names become file names",
        find: plain_names,
    },
    Check { what: "an environment or a workload that is listed twice", find: listed_once },
    Check { what: "the reference is not among the environments", find: reference },
    Check { what: "a control that is not among them, is the reference itself, or of another kind", find: control },
    Check {
        what: "a guest without an accelerator, another environment with one, or one that the definition or the fingerprint denies",
        find: accelerators,
    },
    Check {
        what: "a class that its kind denies, an unknown kind without one, or the class `unknown` where nothing was imported, or another one where it was",
        find: class,
    },
    Check { what: "capabilities that its class or kind denies", find: capabilities },
    Check { what: "an environment that was left out and is there all the same", find: left_out },
    Check { what: "a margin that is not positive", find: margin },
    Check { what: "a workload whose environments are unknown or named twice", find: homes },
    Check { what: "a rate of an environment for a workload that there is not", find: own_rates },
    Check {
        what: "a trial planned in a block or turn that the profile has not, of an unknown workload or environment",
        find: places,
    },
    Check { what: "a trial planned twice, by its name or by its place", find: each_once },
    Check {
        what: "a workload that is not planned in every block and turn of its environments, or is planned in others",
        find: everywhere,
    },
    Check {
        what: "trials of one workload, block and turn whose order does not count from 1 without a gap",
        find: orders,
    },
    Check { what: "starts that are not one order of all environments for each block", find: starts },
    Check { what: "a break before a block that the profile has not", find: breaks },
];

/// Names of a record become file names: nothing but plain ones.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '+');
    !name.is_empty() && name.len() <= 128 && name.chars().all(plain)
}

fn environment_names(run: &Run) -> impl Iterator<Item = &str> {
    run.environments.iter().map(|environment| environment.name.as_str())
}

fn workload_names(run: &Run) -> impl Iterator<Item = &str> {
    run.plan.workloads.iter().map(|workload| workload.name.as_str())
}

/// The first that was there before.
fn twice<T: Ord + Copy>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let mut seen = BTreeSet::new();
    all.find(|one| !seen.insert(*one))
}

fn plain_names(run: &Run) -> Option<String> {
    let trials = run.plan.trials.iter().map(|trial| trial.id.as_str());
    let mut names = environment_names(run).chain(workload_names(run)).chain(trials).chain([run.id.as_str()]);
    names.find(|name| !is_plain(name)).map(|name| format!("{name:?} is not a plain name"))
}

fn listed_once(run: &Run) -> Option<String> {
    let environment = twice(environment_names(run)).map(|name| format!("the environment `{name}` is listed twice"));
    environment.or_else(|| twice(workload_names(run)).map(|name| format!("the workload `{name}` is listed twice")))
}

fn reference(run: &Run) -> Option<String> {
    let name = &run.plan.reference;
    let is_there = environment_names(run).any(|known| known == name);
    (!is_there).then(|| format!("the reference `{name}` is not among the environments"))
}

fn control(run: &Run) -> Option<String> {
    let (reference, name) = (&run.plan.reference, run.plan.control.as_ref()?);
    let kind =
        |name: &str| run.environments.iter().find(|one| one.name == name).map(|one| (&one.kind, one.accelerator));
    match kind(name) {
        None => Some(format!("the control `{name}` is not among the environments")),
        Some(_) if name == reference => {
            Some(format!("the control `{name}` is the reference itself: it would show no noise"))
        }
        found if found != kind(reference) => Some(format!(
            "the control `{name}` is of another kind than the reference `{reference}`, of which it is a copy"
        )),
        Some(_) => None,
    }
}

fn accelerators(run: &Run) -> Option<String> {
    let of_one = run.environments.iter().find_map(accelerator);
    of_one.or_else(|| {
        let said = run.fingerprint.get("guest.accelerator")?;
        let mut guests = run.environments.iter().filter_map(|one| one.accelerator).peekable();
        let is_denied = guests.peek().is_some() && !guests.any(|accelerator| accelerator.words() == said);
        is_denied.then(|| format!("its fingerprint says `{said}` of its guests, and no environment does"))
    })
}

/// What an environment says against its accelerator.
fn accelerator(environment: &Environment) -> Option<String> {
    let name = &environment.name;
    let asked = environment.definition.split(':').find_map(|option| match option {
        "accel=kvm" => Some(Accelerator::Kvm),
        "accel=tcg" => Some(Accelerator::Tcg),
        _ => None,
    });
    let isolation = environment.sameness.get("isolation");
    let says = |accelerator: Accelerator| isolation.is_some_and(|text| text.contains(accelerator.words()));
    match (environment.has(Capability::Vmm), environment.accelerator) {
        (true, None) => Some(format!("the guest `{name}` has no accelerator: whether it was emulated cannot be told")),
        (false, Some(accelerator)) => {
            Some(format!("`{name}` is no guest, and has the accelerator {}", accelerator.words()))
        }
        (_, Some(accelerator)) if asked.is_some_and(|asked| asked != accelerator) => Some(format!(
            "`{name}` is defined as `{}`, and has the accelerator {}",
            environment.definition,
            accelerator.words()
        )),
        (_, Some(accelerator)) if says(accelerator.other()) && !says(accelerator) => Some(format!(
            "the accelerator of `{name}` is {}, and its isolation says {}",
            accelerator.words(),
            accelerator.other().words()
        )),
        _ => None,
    }
}

fn class(run: &Run) -> Option<String> {
    run.environments.iter().find_map(|Environment { name, kind, class, .. }| match (Class::of_kind(kind), class) {
        (Some(known), Some(told)) if known != *told => {
            Some(format!("`{name}` is of the kind {kind}, and its class is {}", told.text()))
        }
        (None, None) => Some(format!("`{name}` is of the unknown kind {kind:?}, and has no class")),
        (_, told) if (*told == Some(Class::Unknown)) != run.imported.is_some() => {
            Some(format!("environments of an unknown class are those of imported runs, and `{name}` is not so"))
        }
        _ => None,
    })
}

/// A guest whose record denies it a VMM would pass for one that nothing emulates.
fn capabilities(run: &Run) -> Option<String> {
    run.environments.iter().find_map(|environment| {
        let (told, own) = (environment.capabilities.as_ref()?, environment.class().capabilities());
        let is_old = Class::of_kind(&environment.kind).is_some();
        let lacks = own.iter().any(|capability| !told.contains(capability));
        let has_more = is_old && told.iter().any(|capability| !own.contains(capability));
        let (name, class) = (&environment.name, environment.class().text());
        (lacks || has_more).then(|| format!("the capabilities of `{name}` are not those of the class {class}"))
    })
}

fn left_out(run: &Run) -> Option<String> {
    let left_out = run.left_out.iter().map(|left_out| left_out.environment.as_str());
    let there = left_out.into_iter().find(|name| environment_names(run).any(|known| known == *name))?;
    Some(format!("the environment `{there}` is there, and was left out"))
}

fn margin(run: &Run) -> Option<String> {
    let margin = run.plan.profile.margin;
    (!(margin > 0.0 && margin.is_finite())).then(|| format!("the margin {margin} is not a positive fraction"))
}

fn homes(run: &Run) -> Option<String> {
    let known: BTreeSet<&str> = environment_names(run).collect();
    run.plan.workloads.iter().find_map(|workload| {
        let homes = || workload.environments.iter().map(String::as_str);
        if let Some(nobody) = homes().find(|name| !known.contains(name)) {
            return Some(format!(
                "the workload `{}` is executed in `{nobody}`, which is no environment",
                workload.name
            ));
        }
        twice(homes()).map(|name| format!("the workload `{}` names its environment `{name}` twice", workload.name))
    })
}

fn own_rates(run: &Run) -> Option<String> {
    let known: BTreeSet<&str> = workload_names(run).collect();
    run.environments.iter().find_map(|environment| {
        let unknown = environment.own_rates_per_s.keys().find(|name| !known.contains(name.as_str()))?;
        Some(format!("`{}` has a rate of its own for `{unknown}`, which is no workload", environment.name))
    })
}

fn places(run: &Run) -> Option<String> {
    let environments: BTreeSet<&str> = environment_names(run).collect();
    let workloads: BTreeSet<&str> = workload_names(run).collect();
    let (blocks, turns) = (run.plan.profile.blocks, run.plan.profile.turns);
    run.plan.trials.iter().find_map(|trial| {
        let PlannedTrial { id, block, turn, environment, workload, .. } = trial;
        if !(1..=blocks).contains(block) {
            Some(format!("the trial {id:?} is planned in block {block} of {blocks}"))
        } else if !(1..=turns).contains(turn) {
            Some(format!("the trial {id:?} is planned in turn {turn} of {turns}"))
        } else if !environments.contains(environment.as_str()) {
            Some(format!("the trial {id:?} is planned in `{environment}`, which is no environment of the run"))
        } else if !workloads.contains(workload.as_str()) {
            Some(format!("the trial {id:?} is planned of `{workload}`, which is no workload of the run"))
        } else {
            None
        }
    })
}

/// A trial that is planned twice would count twice in its block.
fn each_once(run: &Run) -> Option<String> {
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    let twice = run.plan.trials.iter().find(|trial| {
        let place = (trial.block, trial.turn, trial.workload.as_str(), trial.environment.as_str());
        !(ids.insert(trial.id.as_str()) & places.insert(place))
    });
    twice.map(|trial| format!("the trial {:?} is planned twice", trial.id))
}

/// By the checks before, no trial is planned twice and each has a place: as many as there are places are all of them.
fn everywhere(run: &Run) -> Option<String> {
    let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for trial in &run.plan.trials {
        *counts.entry((&trial.workload, &trial.environment)).or_default() += 1;
    }
    let all = u64::from(run.plan.profile.blocks) * u64::from(run.plan.profile.turns);
    for workload in &run.plan.workloads {
        for environment in environment_names(run) {
            let planned = counts.get(&(workload.name.as_str(), environment)).copied().unwrap_or(0);
            let name = &workload.name;
            if !workload.runs_in(environment) && planned > 0 {
                let homes = workload.environments.join(", ");
                return Some(format!(
                    "{planned} trials of `{name}` are planned in `{environment}`, and it is executed in {homes}"
                ));
            }
            // Records of before this was told list no environments, and their plans say in which it is executed.
            let may_be_absent = !workload.runs_in(environment) || workload.environments.is_empty();
            if planned != all && !(planned == 0 && may_be_absent) {
                return Some(format!(
                    "{planned} trials of `{name}` are planned in `{environment}`, and the profile has {all}: its blocks × turns"
                ));
            }
        }
    }
    None
}

fn orders(run: &Run) -> Option<String> {
    let mut orders: BTreeMap<(&str, u32, u32), Vec<u32>> = BTreeMap::new();
    for trial in &run.plan.trials {
        orders.entry((&trial.workload, trial.block, trial.turn)).or_default().push(trial.order);
    }
    orders.into_iter().find_map(|((workload, block, turn), mut found)| {
        found.sort_unstable();
        let is_counted = found.iter().zip(1..).all(|(found, expected)| *found == expected);
        (!is_counted).then(|| {
            format!(
                "the trials of `{workload}` in block {block}, turn {turn} have the places {found:?} and not 1, 2, ..."
            )
        })
    })
}

fn starts(run: &Run) -> Option<String> {
    let (starts, blocks) = (&run.plan.starts, run.plan.profile.blocks as usize);
    if starts.is_empty() {
        return None;
    }
    if starts.len() != blocks {
        return Some(format!("it starts the environments of {} blocks, and the profile has {blocks}", starts.len()));
    }
    let known: BTreeSet<&str> = environment_names(run).collect();
    let is_order = |names: &Vec<String>| {
        names.len() == known.len() && names.iter().map(String::as_str).collect::<BTreeSet<_>>() == known
    };
    let at = starts.iter().position(|names| !is_order(names))?;
    Some(format!("block {} starts {}, and not each environment once", at + 1, starts[at].join(", ")))
}

fn breaks(run: &Run) -> Option<String> {
    // A run that stopped early may have gone on before the look at which it stopped.
    let looks = run.plan.sequential.as_ref().and_then(|sequential| sequential.looks.last());
    let blocks = looks.map_or(run.plan.profile.blocks, |last| last.block);
    let beyond = run.breaks.iter().find(|stop| !(1..=blocks).contains(&stop.block) || stop.attempt == 0)?;
    Some(format!("it went on with block {} of {blocks}, as attempt {}", beyond.block, beyond.attempt))
}
