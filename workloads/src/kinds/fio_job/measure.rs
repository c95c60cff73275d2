//! fio's output of all sections together, as one workload's measurements.

use bench_agent::JobOutput;
use bench_results::Histogram;
use fio_rs::{Latency, Traffic};
use serde_json::json;

use super::{Ends, FioJob};
use crate::kinds::fio::{facts, moved_bytes, parse, put_all, put_syncs, said, seconds, unread, work};
use crate::workload::{Measured, exit_status};

/// The directions of a job's traffic.
type Of = fn(&fio_rs::JobOutput) -> &Traffic;
const DIRECTIONS: [(&str, Of); 3] = [("read", |job| &job.read), ("write", |job| &job.write), ("trim", |job| &job.trim)];

impl FioJob {
    pub(super) fn read_output(&self, output: &JobOutput, deciding: &str) -> Result<Measured, String> {
        let parsed = parse(output).map_err(|why| self.advise(output, why))?;
        let jobs = parsed.all(exit_status(output)?).map_err(|failure| said(&failure))?;
        let jobs: Vec<_> = jobs.iter().map(|job| self.asked_for(job)).collect();
        let longest_s = jobs.iter().filter_map(seconds).reduce(f64::max);
        let traffic: Vec<_> =
            DIRECTIONS.iter().filter_map(|(name, of)| Some((*name, rolled_up(&jobs, *of)?))).collect();
        let parts: Vec<_> = traffic.iter().map(|(name, traffic)| (*name, traffic)).collect();
        let mut measured = Measured {
            seconds: (None, longest_s),
            moved_bytes: moved_bytes(&parsed).filter(|_| self.unaccounted().is_none()),
            raw: [("fio.json".to_owned(), output.stdout.0.clone())].into_iter().chain(logs(output)).collect(),
            ..Measured::default()
        };
        let parameters = self.told();
        put_all(&mut measured, &parts, parts.len() > 1, &parameters);
        let syncs: Vec<_> =
            jobs.iter().map(|job| &job.sync_lat_ns).filter(|latency| !latency.bins.is_empty()).collect();
        if let Some(latency) = merged(&syncs) {
            put_syncs(&mut measured, &latency, &parameters);
        }
        if !measured.bears(deciding) {
            return Err(unread(&parsed, self.name(), deciding));
        }
        measured.work = work(&measured, self.common(|meaning| meaning.block_bytes), self.unaccounted());
        facts(&mut measured, &parsed, &jobs);
        steady_state(&mut measured, &jobs);
        if let Some(why) = self.unaccounted() {
            measured.facts.insert("fio.unaccounted".to_owned(), json!(why));
        }
        Ok(measured)
    }

    /// A job without directions that it was not asked for: fio counts the reads of a verification, which come after the writes.
    fn asked_for(&self, job: &fio_rs::JobOutput) -> fio_rs::JobOutput {
        let mut job = job.clone();
        let directions = self.directions();
        for (name, part) in [("read", &mut job.read), ("write", &mut job.write), ("trim", &mut job.trim)] {
            if !directions.contains(&name) {
                *part = Traffic::default();
            }
        }
        job
    }

    /// What to do where a job that ends by its size was given up.
    fn advise(&self, output: &JobOutput, why: String) -> String {
        let is_late = output.status == bench_agent::JobStatus::DeadlinePassed;
        if is_late && self.told().get("job").is_some_and(|job| job.contains("io_submit_mode=offload")) {
            return format!("{why} (fio 3.33 often hangs with io_submit_mode=offload: leave it out)");
        }
        match is_late && self.ends == Ends::Themselves && self.any(|meaning| meaning.exactly_s.is_none()) {
            true => {
                format!("{why} (its size or rate ends the job, which took too long: give a smaller size, or --runtime)")
            }
            false => why,
        }
    }
}

/// Whether the jobs that were to go on until they are steady became so.
fn steady_state(measured: &mut Measured, jobs: &[fio_rs::JobOutput]) {
    let told: Vec<_> = jobs.iter().filter_map(|job| job.steady_state.as_ref()).collect();
    let Some(first) = told.first() else { return };
    let mut put =
        |name: &str, value: serde_json::Value| drop(measured.facts.insert(format!("fio.steady_{name}"), value));
    put("attained", json!(u8::from(told.iter().all(|state| state.attained))));
    put("criterion", json!(bench_agent::printable(&first.criterion, 100)));
    for (name, value) in [("iops", first.iops_mean), ("bytes_per_s", first.bw_mean.map(|kib| kib * 1024.0))] {
        if let (Some(value), 1) = (value, told.len()) {
            put(name, json!(value));
        }
    }
}

/// Bytes of a log that are kept: a guest may have written it.
const MOST_LOG: usize = 1 << 20;

/// The logs that came back.
fn logs(output: &JobOutput) -> impl Iterator<Item = (String, Vec<u8>)> + use<'_> {
    let kept = output.files.iter().filter(|file| file.content.0.len() <= MOST_LOG);
    kept.map(|file| (file.name.clone(), file.content.0.clone()))
}

/// A direction of all jobs together, as fio adds up a group: sums over the longest time. Absent where none did anything.
fn rolled_up(jobs: &[fio_rs::JobOutput], of: Of) -> Option<Traffic> {
    let all: Vec<_> = jobs.iter().flat_map(|job| [&job.read, &job.write, &job.trim]).collect();
    let parts: Vec<_> = jobs.iter().map(of).filter(|part| part.total_ios > 0).collect();
    if let ([part], 1) = (parts.as_slice(), all.iter().filter(|part| part.total_ios > 0).count()) {
        return Some((*part).clone());
    }
    let runtime_ms = all.iter().map(|part| part.runtime_ms).max()?;
    let sum = |of: fn(&Traffic) -> u64| parts.iter().fold(0_u64, |sum, part| sum.saturating_add(of(part)));
    let per_s = |sum: u64| 1e3 * sum as f64 / runtime_ms.max(1) as f64;
    let (total_ios, io_bytes) = (sum(|part| part.total_ios), sum(|part| part.io_bytes));
    let latencies: Vec<_> = parts.iter().map(|part| &part.clat_ns).collect();
    let mut unread: Vec<_> = parts.iter().flat_map(|part| part.unread.iter().copied()).collect();
    if unread.contains(&"runtime") || unread.contains(&"total_ios") || unread.contains(&"io_bytes") {
        unread.extend(["iops", "bw_bytes"]);
    }
    (!parts.is_empty()).then(|| Traffic {
        told: true,
        unread,
        io_bytes,
        bw_bytes: per_s(io_bytes),
        iops: per_s(total_ios),
        runtime_ms,
        total_ios,
        short_ios: sum(|part| part.short_ios),
        clat_ns: merged(&latencies).unwrap_or_default(),
    })
}

/// All of these latencies together; absent where there are none.
fn merged(all: &[&Latency]) -> Option<Latency> {
    let counts: Vec<_> = all.iter().map(|one| count(one)).collect();
    let n = counts.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let sum: f64 = all.iter().zip(&counts).map(|(one, count)| one.mean * *count as f64).sum();
    let bins = all.iter().flat_map(|one| one.bins.iter().copied());
    (n > 0).then(|| Latency {
        min: all.iter().map(|one| one.min).min().unwrap_or(0),
        max: all.iter().map(|one| one.max).max().unwrap_or(0),
        mean: sum / n as f64,
        stddev: 0.0,
        n,
        bins: Histogram::from_bins(bins).bins().to_vec(),
    })
}

/// How many there were; fio tells since 3.18.
fn count(latency: &Latency) -> u64 {
    match latency.n {
        0 => latency.bins.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count)),
        n => n,
    }
}
