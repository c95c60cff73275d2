//! fio's results: a section is a workload, and jobs that its `numjobs` made are one, as `group_reporting` makes them.

use std::collections::BTreeMap;

use bench_results::Histogram;
use bench_results::percentiles::{PERCENTILES, Recorded};
use fio_rs::{Failure, JobOutput, Latency, Output, Traffic};
use serde_json::{Value, json};

use super::place::{Fault, Place};
use super::{Results, Sample, Tool, Workload, number_equals};
use crate::kinds::fio::{MIXED, active, put_all};
use crate::workload::Measured;

/// Before this version times and sizes mean something else.
const OLDEST: (u32, u32) = (3, 1);
/// Jobs that fio-rs reads.
const MOST_JOBS: usize = 1024;
/// The parts of a job that may have figures.
const PARTS: [&str; 3] = ["read", "write", MIXED];
/// Options of a job that are told of its workload: our name, and those of fio.
const OPTIONS: [(&str, &[&str]); 6] = [
    ("rw", &["rw", "readwrite"]),
    ("bs", &["bs", "blocksize"]),
    ("iodepth", &["iodepth"]),
    ("ioengine", &["ioengine"]),
    ("direct", &["direct", "buffered"]),
    ("rwmixread", &["rwmixread"]),
];

/// Jobs of one section, with their places and what fio-rs read of them.
type Section<'a> = Vec<(Place<'a>, &'a JobOutput)>;

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
    for job in &jobs {
        check_job(job)?;
    }
    let sections = sections(jobs.into_iter().zip(&output.jobs).collect())?;
    let globals = at.find("global options");
    let began_s = began_s(at, &places);
    let workloads = sections.into_iter().map(|(name, section)| workload(name, &section, globals.as_ref()));
    Ok(Results { tool: Tool::Fio, version, workloads: workloads.collect::<Result<_, _>>()?, began_s })
}

/// When the process began, by its own account.
fn began_s(at: &Place<'_>, jobs: &Place<'_>) -> Option<u64> {
    let number = |place: &Place<'_>, name: &str| place.find(name)?.count().ok();
    let elapsed = jobs.items().ok()?.iter().filter_map(|job| number(job, "elapsed")).max()?;
    number(at, "timestamp")?.checked_sub(elapsed)
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
            return Err(place.fault(format!("the job {:?} failed ({why}): its figures are not of the whole", job.name)));
        }
    }
    Ok(())
}

/// That every figure of a job can be read that is needed.
fn check_job(at: &Place<'_>) -> Result<(), Fault> {
    at.field("jobname")?.text()?;
    let parts: Vec<_> = PARTS.iter().filter_map(|name| at.find(name)).collect();
    if parts.is_empty() {
        return Err(at.field("read").err().unwrap_or_else(|| at.fault("it has no figures")));
    }
    let mut done = 0_u64;
    for part in &parts {
        done = done.saturating_add(check_traffic(part)?);
    }
    if done == 0 {
        return Err(at.fault("this job neither read nor wrote anything"));
    }
    Ok(())
}

/// The same of a direction; how many I/Os it did.
fn check_traffic(at: &Place<'_>) -> Result<u64, Fault> {
    at.fields()?;
    let ios = at.field("total_ios")?.count()?;
    if ios == 0 {
        return Ok(0);
    }
    at.field("io_bytes")?.positive()?;
    at.field("io_bytes")?.count()?;
    at.field("iops")?.positive()?;
    at.field("runtime")?.positive()?;
    at.field("runtime")?.count()?;
    // fio 3.1 tells it in KiB per second alone.
    match at.find("bw_bytes") {
        Some(bandwidth) => drop(bandwidth.positive()?),
        None => drop(at.field("bw")?.number()?),
    }
    check_latency(&at.field("clat_ns")?)?;
    Ok(ios)
}

fn check_latency(at: &Place<'_>) -> Result<(), Fault> {
    let (mean, max) = (at.field("mean")?, at.field("max")?);
    let (mean_ns, max_ns) = (mean.number()?, max.count()?);
    // Both are 0 where fio was told not to look (`disable_clat`).
    if (mean_ns > 0.0) != (max_ns > 0) {
        return Err(mean.fault(format!("it is {mean_ns}, and the largest latency is {max_ns}")));
    }
    if let Some(n) = at.find("N") {
        n.count()?;
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

/// Jobs by section, in the order of the result: those of one name in one group are of one `numjobs`.
fn sections<'a>(jobs: Section<'a>) -> Result<Vec<(String, Section<'a>)>, Fault> {
    let mut sections: Vec<(String, Option<u64>, Section<'a>)> = Vec::new();
    for (at, job) in jobs {
        let group = at.find("groupid").map(|group| group.count()).transpose()?;
        match sections.iter_mut().find(|(name, of, _)| *name == job.name && *of == group) {
            Some((_, _, section)) => section.push((at, job)),
            None => sections.push((job.name.clone(), group, vec![(at, job)])),
        }
    }
    number_equals(sections.iter_mut().map(|(name, _, _)| name));
    Ok(sections.into_iter().map(|(name, _, section)| (name, section)).collect())
}

fn workload(name: String, section: &[(Place<'_>, &JobOutput)], globals: Option<&Place<'_>>) -> Result<Workload, Fault> {
    let Some((at, first)) = section.first() else {
        return Err(Fault { place: "jobs".to_owned(), problem: "a section has no job".to_owned() });
    };
    let parameters = parameters(at, globals, section.len());
    let added;
    let job = match section.len() {
        1 => *first,
        _ => {
            added = added_up(&section.iter().map(|(_, job)| *job));
            &added
        }
    };
    let parts = active(job);
    let mut measured = Measured::default();
    put_all(&mut measured, &parts, parts.len() > 1, &parameters);
    if section.len() == 1 {
        for (direction, part) in parts.iter().filter(|(direction, _)| *direction != MIXED) {
            put_percentiles(&mut measured, at, direction, part, &parameters);
        }
    }
    if !measured.bears("iops") {
        return Err(at.fault("its IOPS cannot be told"));
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
    let samples = vec![Sample { measured, seconds }];
    Ok(Workload { title: title(&name, &parameters), name, deciding: "iops", parameters, samples })
}

/// `randread: rw randread, bs 4k, iodepth 16`.
fn title(name: &str, parameters: &BTreeMap<String, String>) -> String {
    let said = ["rw", "bs", "iodepth", "jobs"].into_iter();
    let said = said.filter_map(|option| Some(format!("{option} {}", parameters.get(option)?))).collect::<Vec<_>>();
    let name = bench_agent::printable(name, 80);
    if said.is_empty() { name } else { format!("{name}: {}", said.join(", ")) }
}

/// Options of a job as they were given to fio, and how many jobs are added up.
fn parameters(at: &Place<'_>, globals: Option<&Place<'_>>, jobs: usize) -> BTreeMap<String, String> {
    let own = at.find("job options");
    let option = |names: &[&str]| {
        let given = |options: &Place<'_>| Some(as_text(&names.iter().find_map(|name| options.find(name))?));
        own.as_ref().and_then(given).or_else(|| globals.and_then(given))
    };
    let known = OPTIONS.iter().filter_map(|(name, names)| Some(((*name).to_owned(), option(names)?)));
    let mut parameters: BTreeMap<_, _> = known.collect();
    let numjobs = option(&["numjobs"]).filter(|_| jobs == 1 && option(&["group_reporting"]).is_some());
    parameters.insert("jobs".to_owned(), numjobs.unwrap_or_else(|| jobs.to_string()));
    parameters.insert("engine".to_owned(), "fio, imported".to_owned());
    parameters
}

fn as_text(option: &Place<'_>) -> String {
    match option.value() {
        Value::String(text) => bench_agent::printable(text, 80),
        other => bench_agent::printable(&other.to_string(), 80),
    }
}

/// Jobs as `group_reporting` adds them up (stat.c, `sum_thread_stats`): sums over the longest time.
fn added_up<'a>(jobs: &(impl Iterator<Item = &'a JobOutput> + Clone)) -> JobOutput {
    let part = |of: fn(&JobOutput) -> &Traffic| added_traffic(&jobs.clone().map(of).collect::<Vec<_>>());
    let (read, write, mixed) = (part(|job| &job.read), part(|job| &job.write), part(|job| &job.mixed));
    JobOutput { read, write, mixed, ..JobOutput::default() }
}

fn added_traffic(parts: &[&Traffic]) -> Traffic {
    let parts: Vec<&Traffic> = parts.iter().copied().filter(|part| part.total_ios > 0).collect();
    let sum = |of: fn(&Traffic) -> u64| parts.iter().map(|part| of(part)).fold(0, u64::saturating_add);
    let (total_ios, io_bytes) = (sum(|part| part.total_ios), sum(|part| part.io_bytes));
    let runtime_ms = parts.iter().map(|part| part.runtime_ms).max().unwrap_or(0);
    let per_s = |count: u64| if runtime_ms > 0 { 1e3 * count as f64 / runtime_ms as f64 } else { 0.0 };
    Traffic {
        told: true,
        unread: Vec::new(),
        io_bytes,
        bw_bytes: per_s(io_bytes),
        iops: per_s(total_ios),
        runtime_ms,
        total_ios,
        short_ios: sum(|part| part.short_ios),
        clat_ns: added_latency(&parts, total_ios),
    }
}

/// Of parts that did anything. Where one lacks something, the whole does.
fn added_latency(parts: &[&Traffic], total_ios: u64) -> Latency {
    if parts.iter().any(|part| part.clat_ns.mean <= 0.0) {
        return Latency::default();
    }
    let weighted = parts.iter().map(|part| part.clat_ns.mean * part.total_ios as f64).sum::<f64>();
    let bins = match parts.iter().all(|part| !part.clat_ns.bins.is_empty()) {
        true => Histogram::from_bins(parts.iter().flat_map(|part| part.clat_ns.bins.iter().copied())).bins().to_vec(),
        false => Vec::new(),
    };
    Latency {
        max: parts.iter().map(|part| part.clat_ns.max).max().unwrap_or(0),
        mean: if total_ios > 0 { weighted / total_ios as f64 } else { 0.0 },
        n: total_ios,
        bins,
        ..Latency::default()
    }
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
