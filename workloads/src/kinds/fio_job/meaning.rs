//! What a section does, as far as bench has to know: how long, how far into the target, and what its figures can tell.

use std::collections::BTreeMap;

use super::ini::{JobFileError, Setting, short};
use super::options::find;
use crate::kinds::fio::{BUFFERED, SYNCED};

/// The slowest that a job which ends by its size may go, in bytes and in I/Os per second, before it is given up.
const SLOWEST: (f64, f64) = (5e6, 20.0);
/// The smallest block where a section has several sizes.
const SMALLEST_BLOCK: u64 = 512;

/// A size as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Amount {
    Bytes(u64),
    /// Of the target.
    Percent(u64),
}

impl Amount {
    /// In bytes of a target of this size, in whole blocks of 4 KiB.
    pub(super) fn of(self, target_bytes: u64) -> u64 {
        match self {
            Amount::Bytes(bytes) => bytes,
            Amount::Percent(percent) => (u128::from(target_bytes) * u128::from(percent) / 100) as u64 / 4096 * 4096,
        }
    }
}

/// What a section does, with what it has of `[global]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Meaning {
    /// `randread`, without what follows a colon.
    pub(super) rw: String,
    pub(super) engine: String,
    /// Past the page cache.
    pub(super) direct: bool,
    /// Absent: several sizes.
    pub(super) block_bytes: Option<u64>,
    pub(super) depth: u64,
    pub(super) jobs: u64,
    /// It waits for data to be on the disk, again and again.
    pub(super) syncs: bool,
    /// Its rate is given, so that only its latency can differ.
    pub(super) rated: bool,
    pub(super) latencies: bool,
    /// It starts only when those before it have ended.
    pub(super) stonewall: bool,
    pub(super) size: Option<Amount>,
    /// Why its bytes are not those that the disk moves; absent where they are.
    pub(super) unaccounted: Option<&'static str>,
    /// Bytes of the target that it needs, from the start; absent where that follows from the target.
    pub(super) reach: Option<u64>,
    /// Seconds that it takes whatever happens; absent where that depends.
    pub(super) exactly_s: Option<f64>,
    /// Seconds before the measured time (`ramp_time`, `startdelay`), and that time at most; absent: its size alone ends it.
    at_most_s: (f64, Option<f64>),
    /// Bytes that it does, of a target of unknown size if that is a share, and how often.
    volume: (Option<Amount>, u64),
    /// Seconds that each I/O waits by its own will.
    waits_s: f64,
}

impl Meaning {
    pub(super) fn is_sequential(&self) -> bool {
        !self.rw.starts_with("rand")
    }

    /// `read`, `write`, `trim`: which of them it does.
    pub(super) fn directions(&self) -> Vec<&'static str> {
        match self.rw.trim_start_matches("rand") {
            "write" => vec!["write"],
            "trim" => vec!["trim"],
            "rw" | "readwrite" => vec!["read", "write"],
            "trimwrite" => vec!["write", "trim"],
            _ => vec!["read"],
        }
    }

    /// Seconds after which it is given up; `runtime_s` ends it in place of whatever it says.
    pub(super) fn deadline_s(&self, target_bytes: u64, runtime_s: Option<f64>) -> f64 {
        if let (before_s, Some(seconds)) = (self.at_most_s.0, runtime_s.or(self.at_most_s.1)) {
            return 3.0 * (before_s + seconds) + 30.0;
        }
        let (amount, times) = self.volume;
        let bytes = amount.unwrap_or(Amount::Percent(100)).of(target_bytes) as f64 * times as f64;
        let ios = bytes / self.block_bytes.unwrap_or(SMALLEST_BLOCK).max(1) as f64;
        60.0 + (bytes / SLOWEST.0).max(ios / SLOWEST.1) + 3.0 * ios * self.waits_s
    }

    /// From all settings that hold for the section, later ones before earlier ones.
    pub(super) fn of(settings: &[&Setting]) -> Result<Meaning, JobFileError> {
        let all = Settings(settings.iter().filter_map(|one| Some((find(&one.key)?.0, *one))).collect());
        let engine = all.text("ioengine", "psync");
        let (jobs, loops) = (all.count("numjobs", 1)?, all.count("loops", 1)?);
        let size = all.amount("size")?;
        let io_size = all.amount("io_size")?;
        let block_bytes = all.block()?;
        let (rate_iops, rate) = (all.rate("rate_iops"), all.rate("rate"));
        let waits_s = all.seconds("thinktime", 1e-6)?.unwrap_or(0.0)
            + rate_iops.map_or(0.0, |ios| 1.0 / ios)
            + rate.map_or(0.0, |bytes| block_bytes.unwrap_or(SMALLEST_BLOCK) as f64 / bytes);
        let runtime_s = all.seconds("runtime", 1.0)?.filter(|seconds| *seconds > 0.0);
        let before_s = all.seconds("ramp_time", 1.0)?.unwrap_or(0.0) + all.seconds("startdelay", 1.0)?.unwrap_or(0.0);
        let ends_early = ["steadystate", "number_ios", "io_size", "exitall", "exitall_on_error", "max_latency"];
        let is_exact = all.flag("time_based") && !ends_early.iter().any(|key| all.has(key));
        let verifies = 1 + u64::from(all.verifies());
        Ok(Meaning {
            rw: all.text("rw", "read").split(':').next().unwrap_or_default().to_owned(),
            direct: all.is_direct(),
            block_bytes,
            depth: all.count("iodepth", 1)?,
            jobs,
            syncs: all.flag("fsync") || all.flag("fdatasync") || all.has("sync_file_range"),
            rated: rate_iops.is_some() || rate.is_some(),
            latencies: !["gtod_reduce", "disable_clat"].iter().any(|key| all.flag(key))
                && !all.is_off("clat_percentiles"),
            stonewall: all.flag("stonewall"),
            size,
            unaccounted: all.unaccounted(),
            reach: all.reach(size, jobs)?,
            exactly_s: runtime_s.filter(|_| is_exact),
            at_most_s: (before_s, runtime_s),
            volume: (io_size.or(size), loops.saturating_mul(jobs).saturating_mul(verifies)),
            waits_s,
            engine,
        })
    }
}

/// The settings of a section by their own names.
struct Settings<'a>(BTreeMap<&'static str, &'a Setting>);

impl Settings<'_> {
    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    fn text(&self, key: &str, usual: &str) -> String {
        self.0.get(key).map_or(usual, |setting| setting.value()).to_owned()
    }

    fn flag(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|setting| !["0", "none", "no"].contains(&setting.value()))
    }

    fn is_off(&self, key: &str) -> bool {
        self.has(key) && !self.flag(key)
    }

    /// A value, where it is set; else nothing. One that cannot be read is refused where it stands.
    fn read<T>(&self, key: &str, form: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, JobFileError> {
        let Some(setting) = self.0.get(key) else { return Ok(None) };
        let value = parse(setting.value());
        value.map(Some).ok_or_else(|| {
            setting
                .at
                .wrong(format!("`{key}={}` cannot be read: bench has to know it, as {form}", short(setting.value())))
        })
    }

    fn count(&self, key: &str, usual: u64) -> Result<u64, JobFileError> {
        let number = self.read(key, "a number above 0", |text| bytes(text).filter(|number| *number > 0))?;
        Ok(number.unwrap_or(usual))
    }

    fn amount(&self, key: &str) -> Result<Option<Amount>, JobFileError> {
        self.read(key, "4096, 64k, 1g or 50%", |text| match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Amount::Percent),
            None => bytes(text).map(Amount::Bytes),
        })
    }

    fn seconds(&self, key: &str, unit_s: f64) -> Result<Option<f64>, JobFileError> {
        self.read(key, "30, 90s, 5m or 500ms", |text| seconds(text, unit_s))
    }

    /// The smallest of a rate's parts, where it is one.
    fn rate(&self, key: &str) -> Option<f64> {
        let parts = self.0.get(key)?.value().split(',').filter_map(bytes).filter(|part| *part > 0);
        parts.min().map(|rate| rate as f64)
    }

    fn block(&self) -> Result<Option<u64>, JobFileError> {
        if self.has("bsrange") || self.has("bssplit") {
            return Ok(None);
        }
        let block = |text: &str| match text.contains([',', '-', '/']) {
            true => Some(None),
            false => bytes(text).filter(|size| *size > 0).map(Some),
        };
        Ok(self.read("bs", "512, 4k or 1m", block)?.unwrap_or(Some(4096)))
    }

    fn is_direct(&self) -> bool {
        let buffered = self.0.get("buffered").map(|_| self.flag("buffered"));
        self.flag("atomic") || buffered.map_or(self.flag("direct"), |buffered| !buffered)
    }

    fn verifies(&self) -> bool {
        self.flag("verify") || self.flag("verify_only")
    }

    fn unaccounted(&self) -> Option<&'static str> {
        let trims = self.text("rw", "read").contains("trim") || self.flag("trim_percentage");
        let syncs = ["fsync", "fdatasync", "sync_file_range", "end_fsync", "fsync_on_close", "sync"];
        let reasons = [
            (!self.is_direct(), BUFFERED),
            (self.verifies(), "verified: the reads of a verification are no part of what was asked for"),
            (trims, "trims move no bytes that a disk counts as such"),
            (self.flag("ramp_time"), "fio does not count the I/O of its ramp_time"),
            (self.flag("pre_read"), "fio does not count what it reads in advance"),
            (syncs.iter().any(|key| self.flag(key)), SYNCED),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }

    /// Where the last process of it ends, in bytes.
    fn reach(&self, size: Option<Amount>, jobs: u64) -> Result<Option<u64>, JobFileError> {
        let Some(Amount::Bytes(size)) = size else { return Ok(None) };
        let known = |amount| match amount {
            Some(Amount::Bytes(bytes)) => bytes,
            _ => 0,
        };
        let (offset, increment) = (known(self.amount("offset")?), known(self.amount("offset_increment")?));
        let last = increment.saturating_mul(jobs.saturating_sub(1));
        Ok(Some(size.saturating_add(offset).saturating_add(last)))
    }
}

/// fio's sizes: `k` is 1024 and `ki` 1000, as long as `kb_base` says nothing else.
fn bytes(text: &str) -> Option<u64> {
    let text = text.to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let unit = unit.strip_suffix('b').unwrap_or(unit);
    let (unit, base) = unit.strip_suffix('i').map_or((unit, 1024_u64), |unit| (unit, 1000));
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == unit)?;
    number.checked_mul(base.checked_pow(power as u32)?)
}

/// fio's times; without a unit they are in that of the option.
fn seconds(text: &str, unit_s: f64) -> Option<f64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_s = match unit {
        "" => unit_s,
        "us" | "usec" => 1e-6,
        "ms" | "msec" => 1e-3,
        "s" | "sec" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return None,
    };
    number.parse::<u64>().ok().map(|number| number as f64 * unit_s)
}
