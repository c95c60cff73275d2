//! The matrix: probes by environments, over all blocks, with the native control; and what it says of each class of resource.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::decide::{self, Outcome};
use super::{Observation, PROBES, Probe, Resource, Sight};
use crate::record::{Class, Environment, Trial};
use crate::store::Record;

/// All that a run says of isolation.
#[derive(Debug, Clone, PartialEq)]
pub struct Isolation {
    /// Names of the environments, in the record's order.
    pub environments: Vec<String>,
    /// Name of the environment that is the positive control.
    pub control: Option<String>,
    /// The probes that some trial says something of.
    pub rows: Vec<Row>,
}

/// A probe in all environments.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Which.
    pub probe: &'static Probe,
    /// One for each environment.
    pub cells: Vec<Cell>,
}

/// A probe in one environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// How it comes out, over all blocks.
    pub outcome: Outcome,
    /// What was seen, by block.
    pub evidence: Vec<Evidence>,
}

/// What was seen in one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The block.
    pub block: u32,
    /// Inside.
    pub inside: Sight,
    /// On the host.
    pub outside: Vec<Sight>,
}

/// What the probes of a class say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Separation {
    /// Own ones, and none of the host's.
    Separated,
    /// Own ones, and others of the host's.
    Partly,
    /// Of the host's, and none of its own.
    Shared,
    /// All that was tried was refused.
    Refused,
    /// Nothing can be told.
    NotTestable,
}

impl Separation {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Separation::Separated => "separated",
            Separation::Partly => "partly shared",
            Separation::Shared => "shared",
            Separation::Refused => "refused",
            Separation::NotTestable => "not testable",
        }
    }
}

/// A class of resource in one environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// What its probes say together.
    pub separation: Separation,
    /// Ids of the probes that say `host's`.
    pub hosts: Vec<&'static str>,
    /// Of those that say `denied`.
    pub denied: Vec<&'static str>,
}

/// What a record says of isolation; absent of a run that did not look.
pub fn of(record: &Record) -> Option<Isolation> {
    let looked: Vec<&Trial> = record.trials.iter().filter(|trial| !trial.observations.is_empty()).collect();
    if looked.is_empty() {
        return None;
    }
    let run = &record.run;
    let names: BTreeSet<&str> = looked.iter().map(|trial| trial.planned.environment.as_str()).collect();
    let here = run.environments.iter().filter(|environment| names.contains(environment.name.as_str()));
    let here: Vec<&Environment> = here.collect();
    let tables: Vec<Table<'_>> = here.iter().map(|environment| Table::of(&looked, &environment.name)).collect();
    let control = here.iter().position(|environment| environment.class() == Class::Process);
    let known = |probe: &&&'static Probe| tables.iter().any(|table| table.seen.contains_key(probe.id));
    let row = |probe: &&'static Probe| {
        let probe: &'static Probe = probe;
        let alone: Vec<Outcome> = tables.iter().map(|table| table.outcome(probe.id)).collect();
        let why_not = why_no_control(control.map(|at| (&alone[at], tables[at].first_error(probe.id))));
        let cells = tables.iter().zip(alone).map(|(table, alone)| Cell {
            outcome: why_not.clone().map_or(alone, Outcome::NotTestable),
            evidence: table.evidence(probe.id),
        });
        Row { probe, cells: cells.collect() }
    };
    Some(Isolation {
        rows: PROBES.iter().filter(known).map(row).collect(),
        control: control.map(|at| here[at].name.clone()),
        environments: here.into_iter().map(|environment| environment.name.clone()).collect(),
    })
}

/// Why a probe proves nothing here; absent where it succeeds natively.
fn why_no_control(native: Option<(&Outcome, Option<&str>)>) -> Option<String> {
    match native {
        None => Some("no native environment in this run: no positive control".to_owned()),
        Some((Outcome::Hosts, _)) => None,
        Some((Outcome::Denied, error)) => Some(format!("natively it fails as well ({})", error.unwrap_or("no error"))),
        Some((Outcome::Own, _)) => Some("natively it is not the host's either".to_owned()),
        Some((Outcome::NotTestable(why), _)) => Some(format!("natively: {why}")),
    }
}

/// The trials of one environment.
struct Table<'a> {
    seen: BTreeMap<&'a str, Vec<(u32, &'a Observation)>>,
    outcomes: Vec<BTreeMap<&'static str, Outcome>>,
}

impl<'a> Table<'a> {
    /// Of the valid ones.
    fn of(trials: &[&'a Trial], environment: &str) -> Table<'a> {
        let mut table = Table { seen: BTreeMap::new(), outcomes: Vec::new() };
        for trial in trials.iter().filter(|trial| trial.is_valid() && trial.planned.environment == environment) {
            table.outcomes.push(decide::all(&trial.observations));
            for (id, observation) in decide::trial(&trial.observations) {
                table.seen.entry(id).or_default().push((trial.planned.block, observation));
            }
        }
        table
    }

    /// Over all blocks: those that can be told have to agree.
    fn outcome(&self, id: &str) -> Outcome {
        let all: Vec<&Outcome> = self.outcomes.iter().filter_map(|of_trial| of_trial.get(id)).collect();
        let told: BTreeSet<&Outcome> = all.iter().copied().filter(|outcome| outcome.why().is_none()).collect();
        match (told.len(), told.first(), all.first()) {
            (1, Some(told), _) => (*told).clone(),
            (0, _, Some(first)) => (*first).clone(),
            (0, ..) => Outcome::NotTestable("no valid trial says anything of it".to_owned()),
            _ => {
                let count = |one: &Outcome| all.iter().filter(|other| **other == one).count();
                let said: Vec<_> = told.iter().map(|one| format!("{} in {}", one.text(), count(one))).collect();
                Outcome::NotTestable(format!("blocks disagree: {}", said.join(", ")))
            }
        }
    }

    fn evidence(&self, id: &str) -> Vec<Evidence> {
        let all = self.seen.get(id).into_iter().flatten();
        let evidence = |(block, seen): &(u32, &Observation)| Evidence {
            block: *block,
            inside: seen.inside.clone(),
            outside: seen.outside.clone(),
        };
        all.map(evidence).collect()
    }

    fn first_error(&self, id: &str) -> Option<&'a str> {
        let all = self.seen.get(id).into_iter().flatten();
        all.filter(|(_, seen)| seen.inside.value().is_none()).map(|(_, seen)| seen.inside.text()).next()
    }
}

impl Isolation {
    /// The classes that there are rows of.
    pub fn resources(&self) -> impl Iterator<Item = Resource> + '_ {
        let is_there = |resource: &Resource| self.rows.iter().any(|row| row.probe.resource == *resource);
        Resource::ALL.into_iter().filter(is_there)
    }

    /// The cell of a probe in an environment.
    pub fn cell(&self, id: &str, environment: &str) -> Option<&Cell> {
        let at = self.environments.iter().position(|name| name == environment)?;
        self.rows.iter().find(|row| row.probe.id == id)?.cells.get(at)
    }

    /// What a class comes to, in the environment at this place.
    pub fn standing(&self, resource: Resource, at: usize) -> Standing {
        let rows = self.rows.iter().filter(|row| row.probe.resource == resource);
        let with = |asked: Outcome| -> Vec<&'static str> {
            let is_it = |row: &&Row| row.cells.get(at).is_some_and(|cell| cell.outcome == asked);
            rows.clone().filter(is_it).map(|row| row.probe.id).collect()
        };
        let (hosts, own, denied) = (with(Outcome::Hosts), with(Outcome::Own), with(Outcome::Denied));
        let separation = match (hosts.is_empty(), own.is_empty(), denied.is_empty()) {
            (false, false, _) => Separation::Partly,
            (false, true, _) => Separation::Shared,
            (true, false, _) => Separation::Separated,
            (true, true, false) => Separation::Refused,
            (true, true, true) => Separation::NotTestable,
        };
        Standing { separation, hosts, denied }
    }

    /// The classes of each kind, in the environment at this place.
    fn by_separation(&self, at: usize) -> impl Fn(Separation) -> Vec<(Resource, Standing)> + '_ {
        let all: Vec<_> = self.resources().map(|resource| (resource, self.standing(resource, at))).collect();
        move |asked| all.iter().filter(|(_, standing)| standing.separation == asked).cloned().collect()
    }

    /// One line for an environment: `processes, mounts separated; time, kernel log shared`.
    pub fn summary(&self, at: usize) -> String {
        let of = self.by_separation(at);
        let names = |all: &[(Resource, Standing)]| {
            all.iter().map(|(resource, _)| resource.name()).collect::<Vec<_>>().join(", ")
        };
        let partly = |all: &[(Resource, Standing)]| {
            let said = |(resource, standing): &(Resource, Standing)| {
                format!("{} (the host's: {})", resource.name(), few(&standing.hosts))
            };
            all.iter().map(said).collect::<Vec<_>>().join(", ")
        };
        let kinds = [
            Separation::Separated,
            Separation::Partly,
            Separation::Shared,
            Separation::Refused,
            Separation::NotTestable,
        ];
        let said = kinds.into_iter().filter_map(|kind| {
            let all = of(kind);
            let listed = if kind == Separation::Partly { partly(&all) } else { names(&all) };
            (!all.is_empty()).then(|| format!("{listed} {}", kind.text()))
        });
        said.collect::<Vec<_>>().join("; ")
    }

    /// The shortest answer for an environment: `shares time, kernel log with the host`.
    pub(crate) fn shares(&self, at: usize) -> String {
        let of = self.by_separation(at);
        let names = |kind| of(kind).iter().map(|(resource, _)| resource.name()).collect::<Vec<_>>().join(", ");
        match (names(Separation::Shared), names(Separation::Partly)) {
            (shared, partly) if shared.is_empty() && partly.is_empty() => {
                "shares nothing (of what was tried)".to_owned()
            }
            (shared, partly) if partly.is_empty() => format!("shares {shared}"),
            (shared, partly) if shared.is_empty() => format!("shares parts of {partly}"),
            (shared, partly) => format!("shares {shared}, and parts of {partly}"),
        }
    }
}

/// The first ones by name, and how many more there are.
fn few(ids: &[&str]) -> String {
    const NAMED: usize = 4;
    let named = ids[..ids.len().min(NAMED)].join(", ");
    match ids.len().saturating_sub(NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}
