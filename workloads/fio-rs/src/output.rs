//! What fio prints, read tolerantly: fields may be missing, unknown or new, and other text may stand around the JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// One latency bin: the middle of its range in nanoseconds, and how many I/Os fell into it.
pub type Bin = (u64, u64);

/// The output of one fio process.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Output {
    /// `fio-3.33`.
    #[serde(rename = "fio version")]
    pub version: String,
    /// One entry per job, or per group with `group_reporting`.
    #[serde(deserialize_with = "lenient_vec")]
    pub jobs: Vec<JobOutput>,
    /// The lines around the JSON: notes, warnings, errors.
    #[serde(skip)]
    pub diagnostics: Vec<String>,
}

/// One job or group.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct JobOutput {
    /// Name of the section.
    #[serde(rename = "jobname")]
    pub name: String,
    /// `errno` of the first failure; 0: none.
    #[serde(deserialize_with = "lenient")]
    pub error: i64,
    /// Reads.
    pub read: Traffic,
    /// Writes.
    pub write: Traffic,
    /// User CPU time in percent of the runtime, as fio sees it (tick-sampled).
    #[serde(deserialize_with = "lenient")]
    pub usr_cpu: f64,
    /// System CPU time in percent of the runtime, as fio sees it (tick-sampled).
    #[serde(deserialize_with = "lenient")]
    pub sys_cpu: f64,
    /// Major page faults.
    #[serde(deserialize_with = "lenient")]
    pub majf: u64,
    /// Percent of I/Os that found this depth in flight when submitted: `1`, `2`, `4`, ... `>=64`.
    #[serde(deserialize_with = "lenient_map")]
    pub iodepth_level: BTreeMap<String, f64>,
}

/// Reads or writes of a job.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Traffic {
    /// Bytes done.
    #[serde(deserialize_with = "lenient")]
    pub io_bytes: u64,
    /// Bytes per second.
    #[serde(deserialize_with = "lenient")]
    pub bw_bytes: f64,
    /// I/Os per second.
    #[serde(deserialize_with = "lenient")]
    pub iops: f64,
    /// Time it ran, in milliseconds.
    #[serde(rename = "runtime", deserialize_with = "lenient")]
    pub runtime_ms: u64,
    /// I/Os done.
    #[serde(deserialize_with = "lenient")]
    pub total_ios: u64,
    /// I/Os that moved fewer bytes than asked.
    #[serde(deserialize_with = "lenient")]
    pub short_ios: u64,
    /// Completion latency.
    pub clat_ns: Latency,
}

/// A latency distribution, in nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Latency {
    /// Smallest.
    #[serde(deserialize_with = "lenient")]
    pub min: u64,
    /// Largest.
    #[serde(deserialize_with = "lenient")]
    pub max: u64,
    /// Mean.
    #[serde(deserialize_with = "lenient")]
    pub mean: f64,
    /// Standard deviation.
    #[serde(deserialize_with = "lenient")]
    pub stddev: f64,
    /// How many.
    #[serde(rename = "N", deserialize_with = "lenient")]
    pub n: u64,
    /// All of them (only json+), ascending; resolution 1/64 of the value or better.
    #[serde(deserialize_with = "bins")]
    pub bins: Vec<Bin>,
}

/// A value that may be of another type in another version: then the default.
fn lenient<'de, D: Deserializer<'de>, T: serde::de::DeserializeOwned + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(serde_json::from_value(value).unwrap_or_default())
}

/// Jobs of one process that are read at most: a guest may have written the text, and an empty one takes 100 times its three bytes.
const MOST_JOBS: usize = 1024;
/// The same of bins: fio has 29 groups of 64 (stat.h).
const MOST_BINS: usize = 4096;

fn lenient_vec<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<JobOutput>, D::Error> {
    let values: Vec<serde_json::Value> = lenient(deserializer)?;
    if values.len() > MOST_JOBS {
        return Ok(Vec::new());
    }
    Ok(values.into_iter().map(serde_json::from_value).collect::<Result<_, _>>().unwrap_or_default())
}

fn lenient_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let map: BTreeMap<String, serde_json::Value> = lenient(deserializer)?;
    Ok(map.into_iter().filter_map(|(key, value)| Some((key, value.as_f64()?))).collect())
}

fn bins<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Bin>, D::Error> {
    let map: BTreeMap<String, serde_json::Value> = lenient(deserializer)?;
    let pairs = map.iter().take(MOST_BINS).filter_map(|(ns, count)| Some((ns.parse().ok()?, count.as_u64()?)));
    let mut bins: Vec<Bin> = pairs.filter(|&(_, count)| count > 0).collect();
    bins.sort_unstable();
    Ok(bins)
}

/// The text holds no JSON of fio.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("fio printed no JSON{}", .diagnostics.last().map(|line| format!("; its last words: {line}")).unwrap_or_default())]
pub struct ParseError {
    /// What it printed instead.
    pub diagnostics: Vec<String>,
}

/// How many lines are tried as the beginning of the JSON: nested ones could make it read everything again and again.
const MOST_BEGINNINGS: usize = 16;

/// Find and read the JSON in what fio printed. Notes and errors come in the same stream, before and after it, and are kept.
pub fn parse(text: &[u8]) -> Result<Output, ParseError> {
    let text = String::from_utf8_lossy(text);
    let mut before = Vec::new();
    let (mut offset, mut beginnings) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim_end() == "{" && beginnings < MOST_BEGINNINGS {
            beginnings += 1;
            let mut stream = serde_json::Deserializer::from_str(&text[offset..]).into_iter::<Output>();
            if let Some(Ok(mut output)) = stream.next() {
                let after = text[offset + stream.byte_offset()..].lines();
                let lines = before.into_iter().chain(after.map(str::to_owned));
                output.diagnostics = lines.filter(|line: &String| !line.trim().is_empty()).collect();
                return Ok(output);
            }
        }
        before.push(line.trim_end().to_owned());
        offset += line.len();
    }
    before.retain(|line| !line.is_empty());
    Err(ParseError { diagnostics: before })
}

/// Why a fio process must not be believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A job met an error.
    #[error("fio job `{job}` failed: {reason}")]
    Job {
        /// Its name.
        job: String,
        /// fio's own words, or the `errno`.
        reason: String,
    },
    /// It exited with another status than 0.
    #[error("fio exited with status {status}{}", .reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    Exit {
        /// The status.
        status: i32,
        /// fio's own words.
        reason: Option<String>,
    },
    /// It says that all is well, but did nothing.
    #[error("fio job `{job}` did no I/O at all")]
    Nothing {
        /// Its name.
        job: String,
    },
    /// There is no job of this name.
    #[error("fio reported no job `{job}`")]
    Absent {
        /// The name looked for.
        job: String,
    },
}

impl Output {
    /// The job of this name.
    pub fn job(&self, name: &str) -> Option<&JobOutput> {
        self.jobs.iter().find(|job| job.name == name)
    }

    /// The job of this name, when exit status, errors of all jobs and its own I/O say that it can be believed.
    pub fn check(&self, exit_status: i32, name: &str) -> Result<&JobOutput, Failure> {
        let said = self.complaint();
        if let Some(failed) = self.jobs.iter().find(|job| job.error != 0) {
            let errno = || std::io::Error::from_raw_os_error(failed.error as i32).to_string();
            return Err(Failure::Job { job: failed.name.clone(), reason: said.unwrap_or_else(errno) });
        }
        if exit_status != 0 {
            return Err(Failure::Exit { status: exit_status, reason: said });
        }
        let job = self.job(name).ok_or_else(|| Failure::Absent { job: name.to_owned() })?;
        if job.read.total_ios.saturating_add(job.write.total_ios) == 0 {
            return Err(Failure::Nothing { job: name.to_owned() });
        }
        Ok(job)
    }

    /// The first line around the JSON that speaks of an error.
    fn complaint(&self) -> Option<String> {
        let speaks = |line: &&String| ["err", "fail", "No space", "Read-only"].iter().any(|word| line.contains(word));
        self.diagnostics.iter().find(speaks).map(|line| line.trim().to_owned())
    }
}
