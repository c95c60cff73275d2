//! Jobs by section: what `numjobs` made of one is one workload.

use std::collections::{BTreeMap, BTreeSet};

use fio_rs::JobOutput;
use serde_json::Value;

use super::super::number_equals;
use super::super::place::{Fault, NAME_LENGTH, Place};
use super::{active, check_job, options};

/// How `fio --client` calls the sum over all hosts.
const ALL_CLIENTS: &str = "All clients";

/// A section of a job file, on one host.
pub(super) struct Section<'a> {
    /// Its name, which no other section of the result has.
    pub name: String,
    /// Where the first of its jobs is.
    pub place: Place<'a>,
    /// Its jobs, at least one: where they are, and what fio-rs read of them.
    pub jobs: Vec<Job<'a>>,
    /// Its options, as a record has them.
    pub parameters: BTreeMap<String, String>,
    key: Key<'a>,
}

/// Where a job is, and what fio-rs read of it.
pub(super) type Job<'a> = (Place<'a>, &'a JobOutput);

/// What jobs of one section have in common.
#[derive(PartialEq)]
struct Key<'a> {
    name: &'a str,
    group: Option<u64>,
    options: Option<&'a Value>,
    host: Host<'a>,
}

/// Where `fio --client` had it executed: name and port; nothing without it.
type Host<'a> = (Option<&'a Value>, Option<&'a Value>);

/// The sections that read or wrote anything, in the order of the result, checked; `notes` tells of what is left out.
pub(super) fn sections<'a>(
    at: &Place<'a>,
    mut jobs: Vec<Job<'a>>,
    notes: &mut Vec<String>,
) -> Result<Vec<Section<'a>>, Fault> {
    if jobs.len() > 1 && jobs.last().is_some_and(is_sum_of_clients) {
        jobs.pop();
        notes.push(format!("`{ALL_CLIENTS}` of fio --client is left out: it is the sum of the others"));
    }
    let mut sections = by_section(jobs)?;
    let hosts: BTreeSet<String> = sections.iter().filter_map(Section::host).collect();
    for section in &mut sections {
        let globals = globals(at, &section.key)?;
        section.parameters = options::parameters(&section.place, globals.as_ref(), section.jobs.len())?;
        if let Some(host) = section.host().filter(|_| hosts.len() > 1) {
            section.name = format!("{} on {host}", section.name);
        }
    }
    number_equals(sections.iter_mut().map(|section| &mut section.name));
    let mut kept = Vec::new();
    for section in sections {
        match section.why_left_out()? {
            None => kept.push(section),
            Some(why) => {
                let name = bench_agent::printable(&section.name, NAME_LENGTH);
                notes.push(format!("the section `{name}` is left out: {why}"));
            }
        }
    }
    Ok(kept)
}

/// Of several jobs on the hosts of `fio --client`, the last entry is their sum.
fn is_sum_of_clients((place, job): &Job<'_>) -> bool {
    job.name == ALL_CLIENTS && place.find("hostname").is_some() && place.find("job options").is_none()
}

fn by_section(jobs: Vec<Job<'_>>) -> Result<Vec<Section<'_>>, Fault> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (place, job) in jobs {
        place.field("jobname")?.text()?;
        let value = |name: &str| place.value().get(name);
        let group = place.find("groupid").map(|group| group.count()).transpose()?;
        let host = (value("hostname"), value("port"));
        let key = Key { name: &job.name, group, options: value("job options"), host };
        match sections.iter_mut().find(|section| section.key == key) {
            Some(section) => section.jobs.push((place, job)),
            None => {
                let (name, parameters) = (job.name.clone(), BTreeMap::new());
                sections.push(Section { name, place: place.clone(), jobs: vec![(place, job)], parameters, key });
            }
        }
    }
    Ok(sections)
}

impl Section<'_> {
    fn host(&self) -> Option<String> {
        Some(bench_agent::printable(self.key.host.0?.as_str()?, NAME_LENGTH))
    }

    /// That it has no figure of any metric; an error where it has one that cannot be read.
    fn why_left_out(&self) -> Result<Option<&'static str>, Fault> {
        // What such a job counts are no reads and writes.
        if self.parameters.get("ioengine").is_some_and(|engine| engine == "cpuio") {
            return Ok(Some("it used the CPU, which no metric tells of"));
        }
        self.jobs.iter().try_for_each(|(place, _)| check_job(place))?;
        let has = |did: fn(&JobOutput) -> bool| self.jobs.iter().any(|(_, job)| did(job));
        Ok(if has(|job| !active(job).is_empty()) {
            None
        } else if has(|job| job.trim.total_ios > 0) {
            Some("it only trimmed, which no metric tells of")
        } else {
            Some("it read and wrote nothing")
        })
    }
}

/// The global options of a section: `fio --client` has those of each host, in a list.
fn globals<'a>(at: &Place<'a>, key: &Key<'_>) -> Result<Option<Place<'a>>, Fault> {
    let Some(globals) = at.find("global options") else { return Ok(None) };
    if !globals.value().is_array() {
        return Ok(Some(globals));
    }
    let is_it = |one: &Place<'_>| (one.value().get("hostname"), one.value().get("port")) == key.host;
    Ok(globals.items()?.into_iter().find(is_it))
}
