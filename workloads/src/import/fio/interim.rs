//! Which of fio's results are interim ones: with `--status-interval`, or at SIGUSR1, a process prints everything that it has counted so
//! far. The next result has it once more, so that only the last counts.
//!
//! A result does not tell of which process it is. What is compared is when the process began, and what only grows in it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::PARTS;

/// How far times are off, in ms: fio takes them one after the other, and processes take time to start.
const SLACK_MS: u64 = 100;
/// Results of processes that ran at the same time are printed within so many ms, and have run as long.
const PARALLEL_MS: u64 = 500;

/// What a result is to the one after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Relation {
    /// The other has it once more.
    Interim,
    /// The other is of another process.
    Other,
    /// It could be both.
    Unclear,
}

/// How far a process had come when it printed a result. What cannot be read is as if it were not there.
#[derive(Debug)]
pub(in super::super) struct Progress {
    times: Option<Times>,
    /// True where fio forgets at some time what it has counted (`ramp_time`).
    ramps: bool,
    jobs: Vec<Job>,
}

/// When a result was printed, and how long the process had run.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// Since 1970.
    printed_ms: u64,
    /// Whole seconds, rounded up.
    elapsed_ms: u64,
    /// How exactly it is told.
    grain_ms: u64,
}

/// A job, or a group.
#[derive(Debug)]
struct Job {
    /// What it is: name, group, host and options.
    what: [Option<Value>; 5],
    /// When it was started, in ms by some clock; from fio 3.36 on.
    start: Option<u64>,
    parts: Vec<Part>,
}

/// What a job did in one direction.
#[derive(Debug, Default)]
struct Part {
    ios: u64,
    bytes: u64,
    runtime_ms: u64,
    /// Smallest and largest latency; absent where it is not told.
    extremes: Option<(u64, u64)>,
    mean: Option<f64>,
    bins: BTreeMap<String, u64>,
}

/// What a part says of being an interim one of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Evidence {
    Silent,
    /// Two processes would not have the same to the nanosecond, or to the count.
    Shown,
    /// Something became less that only grows.
    Denied,
}

impl Progress {
    /// Of a result.
    pub fn of(result: &Value) -> Progress {
        let jobs = ["jobs", "client_stats"].iter().find_map(|name| result.get(name)?.as_array());
        let elapsed_s = jobs.into_iter().flatten().filter_map(|job| job.get("elapsed")?.as_u64()).max();
        let told = |name: &str| result.get(name)?.as_u64();
        let printed = told("timestamp_ms").map(|ms| (ms, 1));
        let printed = printed.or_else(|| Some((told("timestamp")?.saturating_mul(1000), 1000)));
        let times = printed.zip(elapsed_s).map(|((printed_ms, grain_ms), elapsed_s)| Times {
            printed_ms,
            elapsed_ms: elapsed_s.saturating_mul(1000),
            grain_ms,
        });
        let options = jobs.into_iter().flatten().filter_map(|job| job.get("job options"));
        let ramps = options
            .chain(result.get("global options"))
            .any(|options| options.get("ramp_time").or_else(|| options.get("ramp_size")).is_some());
        Progress { times, ramps, jobs: jobs.into_iter().flatten().map(Job::of).collect() }
    }

    /// What this result is to the next in the file.
    pub fn relation(&self, next: &Progress) -> Relation {
        let began = self.times.zip(next.times);
        let is_same_work = self.jobs.len() == next.jobs.len()
            && self.jobs.iter().zip(&next.jobs).all(|(one, next)| one.what == next.what);
        if !is_same_work || began.is_some_and(|(times, next)| !times.began_with(next)) {
            return Relation::Other;
        }
        let pairs = || self.jobs.iter().zip(&next.jobs);
        let mut starts = pairs().filter_map(|(job, next)| job.start.zip(next.start));
        if let Some((start, next)) = starts.next() {
            return if start == next { Relation::Interim } else { Relation::Other };
        }
        let parts = pairs().flat_map(|(job, next)| job.parts.iter().zip(&next.parts));
        let evidence = parts.map(|(part, next)| part.evidence(next)).max().unwrap_or(Evidence::Silent);
        match (evidence, began) {
            (Evidence::Shown, _) => Relation::Interim,
            (_, None) => Relation::Other,
            (Evidence::Denied, Some((times, later)))
                if !self.ramps || times.may_be_before(later, next.longest_ms()) =>
            {
                Relation::Other
            }
            (Evidence::Silent, Some((times, later))) if self.goes_on(next, times, later) => Relation::Interim,
            (Evidence::Denied | Evidence::Silent, _) => Relation::Unclear,
        }
    }

    fn longest_ms(&self) -> u64 {
        self.jobs.iter().map(Job::runtime_ms).max().unwrap_or(0)
    }

    /// True where the next process would have begun before this one ended, and its jobs ran most of the time between both results.
    fn goes_on(&self, next: &Progress, times: Times, later: Times) -> bool {
        let between_ms = later.printed_ms.saturating_sub(times.printed_ms);
        let grown = |(job, next): (&Job, &Job)| next.runtime_ms().saturating_sub(job.runtime_ms());
        let grown_ms = self.jobs.iter().zip(&next.jobs).map(grown).fold(0, u64::saturating_add);
        between_ms >= PARALLEL_MS && grown_ms >= between_ms / 2 && !times.may_be_before(later, next.longest_ms())
    }
}

impl Times {
    /// When the process began: not before, and not after.
    fn began_ms(&self) -> (u64, u64) {
        let first = self.printed_ms.saturating_sub(self.elapsed_ms);
        (first, first.saturating_add(1000 + self.grain_ms))
    }

    /// True where both can have begun at the same time.
    fn began_with(self, other: Times) -> bool {
        let ((first, last), (other_first, other_last)) = (self.began_ms(), other.began_ms());
        first <= other_last.saturating_add(SLACK_MS) && other_first <= last.saturating_add(SLACK_MS)
    }

    /// True where a process with the other times, whose jobs ran so long, can have begun when this result was there.
    fn may_be_before(self, other: Times, longest_ms: u64) -> bool {
        // Interim results of earlier versions tell of longer times than there were.
        let took_ms = longest_ms.min(other.elapsed_ms);
        let since_ms = other.printed_ms.saturating_sub(self.printed_ms) + SLACK_MS + other.grain_ms;
        other.began_ms().1 + SLACK_MS >= self.printed_ms && since_ms >= took_ms
    }
}

impl Job {
    fn of(job: &Value) -> Job {
        let what = ["jobname", "groupid", "hostname", "port", "job options"].map(|name| job.get(name).cloned());
        let start = job.get("job_start").and_then(Value::as_u64).filter(|start| *start > 0);
        let parts = PARTS.iter().map(|name| job.get(name).map(Part::of).unwrap_or_default()).collect();
        Job { what, start, parts }
    }

    fn runtime_ms(&self) -> u64 {
        self.parts.iter().map(|part| part.runtime_ms).max().unwrap_or(0)
    }
}

impl Part {
    fn of(part: &Value) -> Part {
        let count = |of: &Value, name: &str| of.get(name).and_then(Value::as_u64);
        let latency = part.get("clat_ns");
        let extremes = latency.and_then(|latency| count(latency, "min").zip(count(latency, "max")));
        let bins = latency.and_then(|latency| latency.get("bins")?.as_object()).into_iter().flatten();
        Part {
            ios: count(part, "total_ios").unwrap_or(0),
            bytes: count(part, "io_bytes").unwrap_or(0),
            runtime_ms: count(part, "runtime").unwrap_or(0),
            extremes: extremes.filter(|(_, max)| *max > 0),
            mean: latency.and_then(|latency| latency.get("mean")?.as_f64()),
            bins: bins.filter_map(|(ns, count)| Some((ns.clone(), count.as_u64()?))).collect(),
        }
    }

    /// Whether the next has this one once more. Runtimes say nothing: interim results of earlier versions add to those of jobs that have
    /// ended.
    fn evidence(&self, next: &Part) -> Evidence {
        if self.ios > next.ios || self.bytes > next.bytes {
            return Evidence::Denied;
        }
        let Some(((min, max), (next_min, next_max))) = self.extremes.zip(next.extremes).filter(|_| self.ios > 0) else {
            return Evidence::Silent;
        };
        let is_same = self.ios == next.ios;
        let is_fewer = |(ns, count): (&String, &u64)| next.bins.get(ns).is_none_or(|next| next < count);
        let has_bins = !self.bins.is_empty() && !next.bins.is_empty();
        if max > next_max || min < next_min || (is_same && self.mean != next.mean) {
            return Evidence::Denied;
        }
        match has_bins && self.bins.iter().any(is_fewer) {
            true => Evidence::Denied,
            false if has_bins || (min, max) == (next_min, next_max) => Evidence::Shown,
            false => Evidence::Silent,
        }
    }
}
