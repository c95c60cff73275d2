//! What fio printed, as types.

use std::collections::BTreeMap;

use serde::de::MapAccess;

use crate::loose::{Figure, Loose, Record, Several, Text};

/// One latency bin: the middle of its range in nanoseconds, and how many I/Os fell into it.
pub type Bin = (u64, u64);

/// The output of one fio process.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Output {
    /// `fio-3.33`; empty where it does not tell.
    pub version: String,
    /// One entry per job, or per group with `group_reporting`.
    pub jobs: Vec<JobOutput>,
    /// The lines around the JSON: notes, warnings, errors.
    pub diagnostics: Vec<String>,
}

/// One job or group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JobOutput {
    /// Name of the section.
    pub name: String,
    /// `errno` of the first failure; 0: none.
    pub error: i64,
    /// I/Os that failed while the job went on (`continue_on_error`).
    pub total_err: u64,
    /// `errno` of the first of them.
    pub first_error: i64,
    /// Reads.
    pub read: Traffic,
    /// Writes.
    pub write: Traffic,
    /// Discards.
    pub trim: Traffic,
    /// How long it waited for data to be on the disk (fsync(2) and the like).
    pub sync_lat_ns: Latency,
    /// All of them together (`unified_rw_reporting`).
    pub mixed: Traffic,
    /// User CPU time in percent of the runtime, as fio sees it (tick-sampled).
    pub usr_cpu: f64,
    /// System CPU time in percent of the runtime, as fio sees it (tick-sampled).
    pub sys_cpu: f64,
    /// Major page faults; absent where fio does not tell.
    pub majf: Option<u64>,
    /// Percent of I/Os that found this depth in flight when submitted: `1`, `2`, `4`, ... `>=64`.
    pub iodepth_level: BTreeMap<String, f64>,
    /// Of a job that goes on until it is steady (`steadystate`).
    pub steady_state: Option<SteadyState>,
    /// True when fio said of it, in a way that cannot be read, whether it failed, or anything else than what a job is.
    pub is_odd: bool,
}

/// Whether a job became steady, as fio judges that.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SteadyState {
    /// What was to be steady, and how much, as the job said it: `iops_slope:0.300000%`.
    pub criterion: String,
    /// It was, before its time was over.
    pub attained: bool,
    /// Mean of the window that was judged, in I/Os per second.
    pub iops_mean: Option<f64>,
    /// The same of bandwidth, in KiB per second.
    pub bw_mean: Option<f64>,
}

/// Reads or writes of a job. What fio does not tell is worked out from what it does, else 0 and named in `unread`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Traffic {
    /// True when fio told of it, be it that there was none.
    pub told: bool,
    /// Fields that should be there, and are not or cannot be read.
    pub unread: Vec<&'static str>,
    /// Bytes done.
    pub io_bytes: u64,
    /// Bytes per second. fio has it since 3.2, in KiB before.
    pub bw_bytes: f64,
    /// I/Os per second.
    pub iops: f64,
    /// Time it ran, in milliseconds.
    pub runtime_ms: u64,
    /// I/Os done.
    pub total_ios: u64,
    /// I/Os that moved fewer bytes than asked.
    pub short_ios: u64,
    /// Completion latency.
    pub clat_ns: Latency,
}

/// A latency distribution, in nanoseconds. What is 0 was not told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Latency {
    /// Smallest.
    pub min: u64,
    /// Largest.
    pub max: u64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation.
    pub stddev: f64,
    /// How many; fio has it since 3.18.
    pub n: u64,
    /// All of them (only json+), ascending; resolution 1/64 of the value or better.
    pub bins: Vec<Bin>,
}

/// Jobs of one process that are read at most: a guest may have written the text, and an empty one takes 100 times its three bytes.
const MOST_JOBS: usize = 1024;
/// The same of bins: fio has 29 groups of 64 (stat.h).
const MOST_BINS: usize = 4096;
/// The same of depths: fio has 7.
const MOST_DEPTHS: usize = 64;

/// A result as fio says it.
#[derive(Default)]
pub(crate) struct RawOutput {
    pub(crate) version: String,
    /// Absent: there was no such field.
    pub(crate) jobs: Option<Vec<JobOutput>>,
}

impl Record for RawOutput {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        match name {
            "fio version" => self.version = from.next_value::<Text>()?.0.unwrap_or_default(),
            // What `fio --client` calls them.
            "jobs" | "client_stats" => {
                let several: Several<RawJob, MOST_JOBS> = from.next_value()?;
                let kept = if several.count > MOST_JOBS { Vec::new() } else { several.kept };
                self.jobs = Some(kept.into_iter().map(JobOutput::from).collect());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// A job as fio says it.
#[derive(Default)]
struct RawJob {
    job: JobOutput,
    error: Figure,
}

impl Record for RawJob {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        let job = &mut self.job;
        match name {
            "jobname" => job.name = from.next_value::<Text>()?.0.unwrap_or_default(),
            "error" => self.error = from.next_value()?,
            "total_err" => job.total_err = count(from)?,
            "first_error" => job.first_error = errno(from.next_value()?).unwrap_or(0),
            "read" => job.read = traffic(from)?,
            "write" => job.write = traffic(from)?,
            "trim" => job.trim = traffic(from)?,
            "sync" => job.sync_lat_ns = from.next_value::<Loose<RawSync>>()?.0.unwrap_or_default().0,
            "mixed" => job.mixed = traffic(from)?,
            "usr_cpu" => job.usr_cpu = number(from)?,
            "sys_cpu" => job.sys_cpu = number(from)?,
            "majf" => job.majf = from.next_value::<Figure>()?.count(),
            "steadystate" => job.steady_state = from.next_value::<Loose<SteadyState>>()?.0,
            "iodepth_level" => job.iodepth_level = from.next_value::<Loose<Depths>>()?.0.unwrap_or_default().0,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn count<'de, A: MapAccess<'de>>(from: &mut A) -> Result<u64, A::Error> {
    Ok(from.next_value::<Figure>()?.count().unwrap_or_default())
}

fn number<'de, A: MapAccess<'de>>(from: &mut A) -> Result<f64, A::Error> {
    Ok(from.next_value::<Figure>()?.number().unwrap_or_default())
}

fn traffic<'de, A: MapAccess<'de>>(from: &mut A) -> Result<Traffic, A::Error> {
    Ok(from.next_value::<Loose<RawTraffic>>()?.0.map_or_else(Traffic::unread, Traffic::from))
}

/// An `errno`, of either sign; absent where it is no number.
fn errno(figure: Figure) -> Option<i64> {
    match figure {
        Figure::Absent => Some(0),
        figure => figure.number().map(|number| number.abs() as i64),
    }
}

impl From<Loose<RawJob>> for JobOutput {
    fn from(raw: Loose<RawJob>) -> JobOutput {
        let Some(RawJob { mut job, error }) = raw.0 else {
            return JobOutput {
                read: Traffic::unread(),
                write: Traffic::unread(),
                is_odd: true,
                ..JobOutput::default()
            };
        };
        match errno(error) {
            Some(errno) => job.error = errno,
            None => job.is_odd = true,
        }
        job
    }
}

impl JobOutput {
    /// I/Os of all kinds.
    pub fn total_ios(&self) -> u64 {
        let kinds = [&self.read, &self.write, &self.trim];
        let apart = kinds.iter().fold(0_u64, |sum, traffic| sum.saturating_add(traffic.total_ios));
        // With `unified_rw_reporting=both` they are told twice.
        apart.max(self.mixed.total_ios)
    }
}

impl Record for SteadyState {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        match name {
            "ss" => self.criterion = from.next_value::<Text>()?.0.unwrap_or_default(),
            "attained" => self.attained = count(from)? == 1,
            "data" => {
                let data = from.next_value::<Loose<Steady>>()?.0.unwrap_or_default();
                (self.iops_mean, self.bw_mean) = (data.iops.positive(), data.bandwidth.positive());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// What was seen in the window that was judged.
#[derive(Default)]
struct Steady {
    iops: Figure,
    bandwidth: Figure,
}

impl Record for Steady {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        let figure = match name {
            "iops_mean" => &mut self.iops,
            "bw_mean" => &mut self.bandwidth,
            _ => return Ok(false),
        };
        *figure = from.next_value()?;
        Ok(true)
    }
}

/// Syncs as fio says them.
#[derive(Default)]
struct RawSync(Latency);

impl Record for RawSync {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        if name == "lat_ns" {
            self.0 = from.next_value::<Loose<Latency>>()?.0.unwrap_or_default();
        }
        Ok(name == "lat_ns")
    }
}

/// Reads or writes as fio says them.
#[derive(Default)]
struct RawTraffic {
    io_bytes: Figure,
    io_kbytes: Figure,
    bw_bytes: Figure,
    bw: Figure,
    iops: Figure,
    runtime: Figure,
    total_ios: Figure,
    short_ios: Figure,
    clat_ns: Latency,
}

impl Record for RawTraffic {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        let figure = match name {
            "io_bytes" => &mut self.io_bytes,
            "io_kbytes" => &mut self.io_kbytes,
            "bw_bytes" => &mut self.bw_bytes,
            "bw" => &mut self.bw,
            "iops" => &mut self.iops,
            "runtime" => &mut self.runtime,
            "total_ios" => &mut self.total_ios,
            "short_ios" => &mut self.short_ios,
            "clat_ns" => {
                self.clat_ns = from.next_value::<Loose<Latency>>()?.0.unwrap_or_default();
                return Ok(true);
            }
            _ => return Ok(false),
        };
        *figure = from.next_value()?;
        Ok(true)
    }
}

impl From<RawTraffic> for Traffic {
    /// The rates are what fio itself makes of the sums (stat.c, `add_ddir_status_json`).
    fn from(raw: RawTraffic) -> Traffic {
        let total_ios = raw.total_ios.count();
        let io_bytes = raw.io_bytes.count().or_else(|| raw.io_kbytes.count()?.checked_mul(1024));
        let runtime_ms = raw.runtime.count();
        let per_s = |sum: Option<u64>| match (sum?, runtime_ms?) {
            (0, _) | (_, 0) => None,
            (sum, runtime_ms) => Some(1e3 * sum as f64 / runtime_ms as f64),
        };
        let kib_per_s = || raw.bw.positive().map(|kib| kib * 1024.0);
        // Only where nothing was done a rate is 0.
        let of_nothing = (total_ios == Some(0)).then_some(0.0);
        let iops = raw.iops.positive().or_else(|| per_s(total_ios)).or(of_nothing);
        let bw_bytes = raw.bw_bytes.positive().or_else(|| per_s(io_bytes)).or_else(kib_per_s).or(of_nothing);
        let told = [
            ("total_ios", total_ios.is_some()),
            ("io_bytes", io_bytes.is_some()),
            ("runtime", runtime_ms.is_some()),
            ("iops", iops.is_some()),
            ("bw_bytes", bw_bytes.is_some()),
        ];
        Traffic {
            told: true,
            unread: told.into_iter().filter(|&(_, is_told)| !is_told).map(|(name, _)| name).collect(),
            io_bytes: io_bytes.unwrap_or_default(),
            bw_bytes: bw_bytes.unwrap_or_default(),
            iops: iops.unwrap_or_default(),
            runtime_ms: runtime_ms.unwrap_or_default(),
            total_ios: total_ios.unwrap_or_default(),
            short_ios: raw.short_ios.count().unwrap_or_default(),
            clat_ns: raw.clat_ns,
        }
    }
}

impl Traffic {
    /// Something is there, and is nothing that could be read.
    fn unread() -> Traffic {
        Traffic { told: false, ..Traffic::from(RawTraffic::default()) }
    }

    /// True when this field is told, or can be worked out from others.
    pub fn has(&self, field: &str) -> bool {
        self.told && !self.unread.contains(&field)
    }
}

impl Record for Latency {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        match name {
            "min" => self.min = count(from)?,
            "max" => self.max = count(from)?,
            "mean" => self.mean = number(from)?,
            "stddev" => self.stddev = number(from)?,
            "N" => self.n = count(from)?,
            "bins" => self.bins = from.next_value::<Loose<Bins>>()?.0.unwrap_or_default().sorted(),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

#[derive(Default)]
struct Bins(Vec<Bin>);

impl Record for Bins {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        let count = count(from)?;
        if let (true, Ok(ns)) = (count > 0 && self.0.len() < MOST_BINS, name.parse()) {
            self.0.push((ns, count));
        }
        Ok(true)
    }
}

impl Bins {
    fn sorted(mut self) -> Vec<Bin> {
        self.0.sort_unstable();
        self.0
    }
}

#[derive(Default)]
struct Depths(BTreeMap<String, f64>);

impl Record for Depths {
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error> {
        let percent = from.next_value::<Figure>()?.number();
        if let Some(percent) = percent.filter(|_| self.0.len() < MOST_DEPTHS) {
            self.0.insert(name.to_owned(), percent);
        }
        Ok(true)
    }
}
