//! fio's output as measurements, whichever kind of workload asked for it; and its job, whoever wrote the text.

use std::collections::BTreeMap;

use bench_agent::{Job, JobFile, JobOutput, printable};
use bench_results::Histogram;
use fio_rs::{Latency, Traffic};
use serde_json::json;

use super::{JOB_FILE, MEASURED, MIXED};
use crate::workload::{Measured, Place, Work, exit_status, last_words, printed, tool_env};

/// Metric, fio's field, and how it is read.
type Rate = (&'static str, &'static str, fn(&Traffic) -> f64);

/// The rates of a workload.
const RATES: [Rate; 2] =
    [("iops", "iops", |part| part.iops), ("bandwidth_bytes_per_s", "bw_bytes", |part| part.bw_bytes)];

/// Percent of the I/Os that were due. How many come due in a time is chance: three standard deviations are no fault.
pub(super) fn paced(done: f64, asked: f64) -> f64 {
    (100.0 * (done + 3.0 * done.sqrt()) / asked.max(1.0)).min(100.0)
}

pub(super) fn iops(measured: &Measured) -> Option<f64> {
    let iops = measured.measurements.iter().find(|one| one.metric == "iops").map(|one| one.value);
    iops.filter(|iops| *iops > 0.0)
}

/// I/Os of one size are counted at the disk, others by fio; and so are those that the disk moves otherwise.
pub(in crate::kinds) fn work(measured: &Measured, block: Option<u64>, unaccounted: Option<&str>) -> Option<Work> {
    let per_s = || iops(measured).map(|per_s| Work::PerSecond { unit: "io", per_s });
    let block = block.filter(|_| unaccounted.is_none());
    block.map(|bytes| Work::Blocks { bytes }).or_else(per_s)
}

/// How long a job waited for data to be on the disk, where it did.
pub(in crate::kinds) fn put_syncs(measured: &mut Measured, latency: &Latency, parameters: &BTreeMap<String, String>) {
    if latency.bins.is_empty() {
        return;
    }
    if latency.mean > 0.0 {
        measured.put("sync_latency_mean_ns", latency.mean);
        measured.put("sync_latency_max_ns", latency.max as f64);
    }
    measured.histogram("sync", Histogram::from_bins(latency.bins.iter().copied()), latency.n, parameters);
}

/// Rates and latencies of the measured job by fio's output alone, whatever the workload: to be held against what was recorded of it.
/// Metric and value; nothing where the output cannot be read.
pub fn recount(stdout: &[u8]) -> Vec<(String, f64)> {
    let Ok(parsed) = fio_rs::parse(stdout) else { return Vec::new() };
    let Some(job) = parsed.job(MEASURED) else { return Vec::new() };
    let parts = active(job);
    if parts.is_empty() {
        return Vec::new();
    }
    let mut counted: Vec<_> = rates(&parts).map(|(metric, value)| (metric.to_owned(), value)).collect();
    counted.extend(parts.iter().filter(|(name, _)| *name != MIXED).flat_map(|(name, part)| mean_and_max(name, part)));
    counted
}

/// The parts of a job in which it did anything, whatever it was asked for.
pub(crate) fn active(job: &fio_rs::JobOutput) -> Vec<(&'static str, &Traffic)> {
    let parts = if is_counted_together(job) {
        vec![(MIXED, &job.mixed)]
    } else {
        vec![("read", &job.read), ("write", &job.write)]
    };
    parts.into_iter().filter(|(_, part)| part.total_ios > 0).collect()
}

/// What these jobs did together, and what fio said besides.
pub(in crate::kinds) fn facts(measured: &mut Measured, parsed: &fio_rs::Output, jobs: &[fio_rs::JobOutput]) {
    let of = |part: &Traffic| (!part.unread.contains(&"io_bytes")).then_some(part.io_bytes);
    let bytes = |job: &fio_rs::JobOutput| {
        let bytes = of(&job.read)?.saturating_add(of(&job.write)?).saturating_add(job.trim.io_bytes);
        Some(bytes.max(job.mixed.io_bytes))
    };
    let mut put = |name: &str, value: serde_json::Value| drop(measured.facts.insert(format!("fio.{name}"), value));
    put("ios", json!(jobs.iter().map(fio_rs::JobOutput::total_ios).fold(0, u64::saturating_add)));
    if let Some(bytes) = jobs.iter().map(bytes).try_fold(0, |sum: u64, bytes| Some(sum.saturating_add(bytes?))) {
        put("bytes", json!(bytes));
    }
    if let Some(seconds) = jobs.iter().filter_map(seconds).reduce(f64::max) {
        put("runtime_s", json!(seconds));
    }
    if let Some(faults) = jobs.iter().filter_map(|job| job.majf).reduce(u64::saturating_add) {
        put("major_faults", json!(faults));
    }
    if !parsed.diagnostics.is_empty() {
        let lines: Vec<_> = parsed.diagnostics.iter().take(20).map(|line| printable(line, 400)).collect();
        put("diagnostics", json!(lines));
    }
}

/// Rates and latencies of some parts of a job; `apart`: each direction has a rate of its own as well.
pub(crate) fn put_all(
    measured: &mut Measured,
    parts: &[(&'static str, &Traffic)],
    apart: bool,
    parameters: &BTreeMap<String, String>,
) {
    rates(parts).for_each(|(metric, value)| measured.put(metric, value));
    for (name, part) in parts.iter().filter(|(name, _)| *name != MIXED) {
        if apart && part.has("iops") {
            measured.put(&format!("{name}_iops"), part.iops);
        }
        if part.total_ios > 0 {
            latencies(measured, name, part, parameters);
        }
    }
}

pub(super) fn is_counted_together(job: &fio_rs::JobOutput) -> bool {
    job.mixed.total_ios > 0 && job.read.total_ios == 0 && job.write.total_ios == 0
}

/// The rates that all parts tell, summed up.
fn rates(parts: &[(&'static str, &Traffic)]) -> impl Iterator<Item = (&'static str, f64)> {
    let told = RATES.into_iter().filter(|(_, field, _)| parts.iter().all(|(_, part)| part.has(field)));
    told.map(|(metric, _, of)| (metric, parts.iter().map(|(_, part)| of(part)).sum()))
}

/// Of a direction's latencies, as metrics: no 0, which would be the best of all.
fn mean_and_max(name: &str, traffic: &Traffic) -> impl Iterator<Item = (String, f64)> {
    let clat = &traffic.clat_ns;
    let told = [("mean", clat.mean), ("max", clat.max as f64)].into_iter().filter(|(_, ns)| *ns > 0.0);
    told.map(move |(of, ns)| (format!("{name}_latency_{of}_ns"), ns))
}

/// fio on these sections, in the agent's scratch folder.
pub(crate) fn fio_job(place: &Place, sections: &[fio_rs::Job], deadline_s: f64) -> Job {
    // What cannot be written down is refused by fio itself, in a failed trial.
    let text = fio_rs::job_file(sections).unwrap_or_else(|e| format!("# {e}\n"));
    fio_text_job(place, &text, deadline_s)
}

/// fio on the text of a job file, in the agent's scratch folder.
pub(in crate::kinds) fn fio_text_job(place: &Place, text: &str, deadline_s: f64) -> Job {
    let mut env = tool_env();
    for (name, value) in [("PATH", place.path_env.as_str()), fio_rs::HUGE_BUFFERS] {
        env.push((name.to_owned(), value.to_owned()));
    }
    Job {
        argv: [&place.fio, "--output-format=json+", "--eta=never", JOB_FILE].map(str::to_owned).to_vec(),
        env,
        files: vec![JobFile { name: JOB_FILE.to_owned(), content: text.into() }],
        deadline_ns: (deadline_s * 1e9) as u64,
        ..Job::default()
    }
}

/// fio's output; when it is no JSON, its last words.
pub(crate) fn parse(output: &JobOutput) -> Result<fio_rs::Output, String> {
    match (fio_rs::parse(printed(output)?), exit_status(output)) {
        (_, Err(why)) => Err(format!("fio: {why}")),
        (Ok(mut parsed), Ok(_)) => {
            // What went wrong is told there.
            let lines = output.stderr.text().lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
            parsed.diagnostics.extend(lines.into_iter().filter(|line| !line.is_empty()).take(MOST_LINES));
            Ok(parsed)
        }
        (Err(e), Ok(status)) if e.torn => Err(format!("{} (exit status {status})", printable(&e.fault, 400))),
        (Err(_), Ok(status)) => {
            Err(format!("fio exited with status {status} and printed no result: {}", last_words(output)))
        }
    }
}

/// A failure in words, which may be those of a guest.
pub(crate) fn said(failure: &fio_rs::Failure) -> String {
    printable(&failure.to_string(), 2000)
}

/// Lines of stderr that are read.
const MOST_LINES: usize = 1000;

/// Something is not in the output; which fio printed it.
pub(crate) fn unread(parsed: &fio_rs::Output, job: &str, what: &str) -> String {
    format!("{} does not tell `{what}` of its job `{job}`, or not as a number", printable(parsed.fio(), 64))
}

/// The time that a job took; absent where it is not told.
pub(in crate::kinds) fn seconds(job: &fio_rs::JobOutput) -> Option<f64> {
    let parts = [&job.read, &job.write, &job.trim, &job.mixed].into_iter();
    let parts = parts.filter(|part| part.total_ios > 0 && part.has("runtime"));
    parts.map(|part| part.runtime_ms as f64 / 1e3).reduce(f64::max)
}

/// Bytes that all jobs read and wrote; absent where one of them does not tell, or tells them together.
pub(in crate::kinds) fn moved_bytes(parsed: &fio_rs::Output) -> Option<(u64, u64)> {
    let is_unread = |part: &Traffic| part.unread.contains(&"io_bytes");
    let unread = |job: &fio_rs::JobOutput| is_unread(&job.read) || is_unread(&job.write) || job.mixed.io_bytes > 0;
    if parsed.jobs.iter().any(unread) {
        return None;
    }
    let all = |of: fn(&fio_rs::JobOutput) -> u64| parsed.jobs.iter().map(of).fold(0, u64::saturating_add);
    Some((all(|job| job.read.io_bytes), all(|job| job.write.io_bytes)))
}

/// Everything that is told of a direction's latencies.
fn latencies(measured: &mut Measured, name: &str, traffic: &Traffic, parameters: &BTreeMap<String, String>) {
    mean_and_max(name, traffic).for_each(|(metric, value)| measured.put(&metric, value));
    let clat = &traffic.clat_ns;
    if !clat.bins.is_empty() {
        measured.histogram(name, Histogram::from_bins(clat.bins.iter().copied()), traffic.total_ios, parameters);
    }
}
