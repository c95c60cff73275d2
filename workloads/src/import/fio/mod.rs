//! fio's results: a section is a workload, and jobs that its `numjobs` made are one, as `group_reporting` makes them.

mod interim;
mod options;
mod sections;
mod sums;

use std::collections::BTreeMap;

use bench_results::Histogram;
use bench_results::percentiles::{PERCENTILES, Recorded};
use fio_rs::{Failure, Output, Traffic};
use serde_json::{Value, json};

use super::place::{Fault, NAME_LENGTH, Place};
use super::{Results, Sample, Tool, Workload};
use crate::kinds::fio::{MIXED, active, put_all};
use crate::workload::Measured;
pub(super) use interim::{Progress, Relation};
use sections::{Section, sections};

/// Before this version times and sizes mean something else.
const OLDEST: (u32, u32) = (3, 1);
/// Jobs that fio-rs reads.
const MOST_JOBS: usize = 1024;
/// The parts of a job that may have figures.
const PARTS: [&str; 3] = ["read", "write", MIXED];
/// Name of the metric that sections are compared by.
const DECIDING: &str = "iops";

/// True for what fio wrote.
pub(super) fn is_result(value: &Value) -> bool {
    ["fio version", "jobs", "client_stats"].iter().any(|name| value.get(name).is_some())
}

/// Read a result.
pub(super) fn results(at: &Place<'_>, json: &str) -> Result<Results, Fault> {
    let version = version(at)?;
    let list = at.find("jobs").or_else(|| at.find("client_stats"));
    let places = list.map_or_else(|| at.field("jobs"), Ok)?;
    let jobs = places.items()?;
    if jobs.is_empty() || jobs.len() > MOST_JOBS {
        return Err(places.fault(format!("it has {} jobs, and must have 1 to {MOST_JOBS}", jobs.len())));
    }
    // Before any figure: those of a job that failed are of no use, be they whole or not.
    let output = fio_rs::parse(json.as_bytes()).map_err(|e| at.fault(e.fault))?;
    if output.jobs.len() != jobs.len() {
        return Err(places.fault("it cannot be read as a list of jobs"));
    }
    check_failures(&jobs, &output)?;
    let mut notes = Vec::new();
    let sections = sections(at, jobs.into_iter().zip(&output.jobs).collect(), &mut notes)?;
    let workloads = sections.into_iter().map(|section| workload(&section));
    let workloads: Vec<Workload> = workloads.collect::<Result<_, _>>()?;
    if workloads.is_empty() {
        return Err(
            places.fault("no section in it read or wrote anything: neither trims nor CPU work have a metric here")
        );
    }
    Ok(Results { tool: Tool::Fio, version, workloads, notes })
}

/// The version, if it is one that is read.
fn version(at: &Place<'_>) -> Result<String, Fault> {
    let place = at.field("fio version")?;
    let version = bench_agent::printable(place.text()?, 64);
    let Some(number) = version.strip_prefix("fio-") else {
        return Err(place.fault(format!("it is {version:?}, and no version of fio such as fio-3.33")));
    };
    let mut parts = number.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse::<u32>().ok());
    let (major, minor) = (parts.next().flatten(), parts.next().flatten());
    match major.map(|major| (major, minor.unwrap_or(0))) {
        Some(found) if found >= OLDEST => Ok(version),
        Some(_) => Err(place.fault(format!(
            "it was written by fio {number}, whose times and sizes mean something else: results are read from fio 3.1 on; measure \
             again with a newer fio"
        ))),
        None => Err(place.fault(format!("it is {version:?}, and no version of fio such as fio-3.33"))),
    }
}

/// That no job says of itself that it failed.
fn check_failures(jobs: &[Place<'_>], output: &Output) -> Result<(), Fault> {
    for (at, job) in jobs.iter().zip(&output.jobs) {
        if job.is_odd {
            return Err(at.find("error").map_or_else(|| at.not("an object"), |error| error.not("a whole number")));
        }
        for name in ["total_err", "first_error"] {
            at.find(name).map(|count| count.count()).transpose()?;
        }
        if (job.error, job.total_err) != (0, 0) {
            let why = match output.check(0, &job.name) {
                Err(Failure::Job { reason, .. }) => reason,
                _ => "some of its I/Os failed".to_owned(),
            };
            let place = at.find("error").unwrap_or_else(|| at.clone());
            let name = bench_agent::printable(&job.name, NAME_LENGTH);
            return Err(place.fault(format!("the job {name:?} failed ({why}): its figures are not of the whole")));
        }
    }
    Ok(())
}

/// That every figure of a job can be read that is needed.
fn check_job(at: &Place<'_>) -> Result<(), Fault> {
    let parts: Vec<_> = PARTS.iter().filter_map(|name| at.find(name)).collect();
    if parts.is_empty() {
        return Err(at.field("read").err().unwrap_or_else(|| at.fault("it has no figures")));
    }
    parts.iter().try_for_each(check_traffic)
}

/// The same of a direction.
fn check_traffic(at: &Place<'_>) -> Result<(), Fault> {
    at.fields()?;
    if at.field("total_ios")?.count()? == 0 {
        return Ok(());
    }
    at.field("io_bytes")?.positive()?;
    at.field("io_bytes")?.count()?;
    at.field("iops")?.positive()?;
    at.field("runtime")?.milliseconds()?;
    // fio 3.1 tells it in KiB per second alone.
    match at.find("bw_bytes") {
        Some(bandwidth) => drop(bandwidth.positive()?),
        None => drop(at.field("bw")?.number()?),
    }
    check_latency(&at.field("clat_ns")?)
}

fn check_latency(at: &Place<'_>) -> Result<(), Fault> {
    let (mean, max) = (at.field("mean")?, at.field("max")?);
    let (mean_ns, max_ns) = (mean.number()?, max.count()?);
    // Both are 0 where fio was told not to look (`disable_clat`).
    if (mean_ns > 0.0) != (max_ns > 0) {
        return Err(mean.fault(format!("it is {mean_ns}, and the largest latency is {max_ns}")));
    }
    for (name, value) in at.find("percentile").map(|all| all.fields()).transpose()?.into_iter().flatten() {
        if name.parse::<f64>().is_err() {
            return Err(value.fault("its name is no percentage"));
        }
        value.number()?;
    }
    for (name, count) in at.find("bins").map(|all| all.fields()).transpose()?.into_iter().flatten() {
        if name.parse::<u64>().is_err() {
            return Err(count.fault("its name is no time in ns"));
        }
        count.count()?;
    }
    Ok(())
}

fn workload(section: &Section<'_>) -> Result<Workload, Fault> {
    let Section { name, place: at, jobs, parameters, .. } = section;
    let added;
    let job = match &jobs[..] {
        [(_, job)] => *job,
        _ => {
            added = sums::added_up(&jobs.iter().map(|(_, job)| *job));
            &added
        }
    };
    let parts = active(job);
    let mut measured = Measured::default();
    put_all(&mut measured, &parts, parts.len() > 1, parameters);
    if jobs.len() == 1 {
        for (direction, part) in parts.iter().filter(|(direction, _)| *direction != MIXED) {
            put_percentiles(&mut measured, at, direction, part, parameters);
        }
    }
    let milliseconds = parts.iter().map(|(_, part)| part.runtime_ms);
    let seconds = milliseconds.clone().max().unwrap_or(0) as f64 / 1e3;
    // Where directions ran for different times, their sums belong to no time.
    if milliseconds.clone().max() == milliseconds.min() {
        let sum = |of: fn(&Traffic) -> u64| parts.iter().map(|(_, part)| of(part)).fold(0, u64::saturating_add);
        measured.facts.insert("fio.ios".to_owned(), json!(sum(|part| part.total_ios)));
        measured.facts.insert("fio.bytes".to_owned(), json!(sum(|part| part.io_bytes)));
        measured.facts.insert("fio.runtime_s".to_owned(), json!(seconds));
    }
    let samples = vec![Sample::of(at, measured, seconds, DECIDING)?];
    let (name, title) = (name.clone(), options::title(name, parameters));
    Ok(Workload { name, title, deciding: DECIDING, parameters: parameters.clone(), samples })
}

/// fio's own percentiles, where there are no bins, and as many I/Os as a percentile of bench needs.
fn put_percentiles(
    measured: &mut Measured,
    at: &Place<'_>,
    direction: &str,
    part: &Traffic,
    parameters: &BTreeMap<String, String>,
) {
    let told = || at.find(direction)?.find("clat_ns")?.find("percentile");
    let Some(told) = told().filter(|_| part.clat_ns.bins.is_empty()) else { return };
    let recorded = Recorded::of(parameters, direction);
    for (end, q) in PERCENTILES {
        let is_it = |name: &str| name.parse::<f64>().is_ok_and(|percent| (percent - 100.0 * q).abs() < 1e-6);
        let fields = told.fields().unwrap_or_default();
        let ns = fields.iter().find(|(name, _)| is_it(name)).and_then(|(_, value)| value.value().as_f64());
        let is_borne = part.total_ios >= recorded.needs(&Histogram::default(), q);
        if let Some(ns) = ns.filter(|ns| *ns > 0.0 && is_borne) {
            measured.put(&format!("{direction}_latency_{end}"), ns);
        }
    }
}
