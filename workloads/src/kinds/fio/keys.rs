//! The keys of a block workload, as a suite has them: each of a type of its own, and refused where it stands.

use std::fmt;
use std::str::FromStr;

use bench_results::quantity::{Written, parse_size, parse_whole_percent};
use fio_rs::{Direction, Pattern};
use serde::Deserialize;
use toml::Spanned;

use super::{Fio, Rate};
use crate::entry::{self, Entry, Wrong, count, wrong};
use crate::kinds::Kind;

/// Bytes of a block at most: buffers are huge pages of 2 MiB.
const LARGEST_BLOCK: u64 = 1 << 20;
/// I/Os per second at most, of all processes.
const FASTEST: u32 = 100_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Keys {
    pattern: Spanned<String>,
    read_percent: Option<Spanned<Written>>,
    block_size: Spanned<Written>,
    iodepth: Spanned<Written>,
    jobs: Spanned<Written>,
    ioengine: Option<Spanned<String>>,
    direct: Option<Spanned<bool>>,
    fsync: Option<Spanned<Written>>,
    fdatasync: Option<Spanned<Written>>,
    rate_iops: Option<Spanned<Written>>,
    paced: Option<Spanned<Written>>,
    distribution: Option<Spanned<String>>,
}

/// How fio does I/O. Engines of other kinds of I/O are for job files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// Linux's own asynchronous I/O, io_submit(2).
    Libaio,
    /// io_uring(7).
    IoUring,
    /// POSIX's asynchronous I/O, by threads of the C library.
    Posixaio,
    /// read(2) and write(2) after lseek(2).
    Sync,
    /// pread(2) and pwrite(2).
    Psync,
    /// preadv(2) and pwritev(2).
    Pvsync,
    /// preadv2(2) and pwritev2(2).
    Pvsync2,
}

/// All engines by fio's names.
const ENGINES: [(Engine, &str); 7] = [
    (Engine::Libaio, "libaio"),
    (Engine::IoUring, "io_uring"),
    (Engine::Posixaio, "posixaio"),
    (Engine::Sync, "sync"),
    (Engine::Psync, "psync"),
    (Engine::Pvsync, "pvsync"),
    (Engine::Pvsync2, "pvsync2"),
];

impl Engine {
    /// True when it has one I/O in flight, whatever depth is asked for.
    fn is_synchronous(self) -> bool {
        !matches!(self, Engine::Libaio | Engine::IoUring | Engine::Posixaio)
    }

    /// Refuse a depth that fio would cap at 1.
    pub(super) fn check_depth(self, iodepth: u32) -> Result<(), String> {
        match iodepth {
            2.. if self.is_synchronous() => Err(format!(
                "ioengine `{self}` is synchronous and has one I/O in flight: iodepth must be 1, and not {iodepth}; more jobs give more"
            )),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = ENGINES.iter().find(|(engine, _)| engine == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Engine, String> {
        ENGINES.iter().find(|(_, name)| *name == text).map(|(engine, _)| *engine).ok_or_else(|| {
            let known = ENGINES.map(|(_, name)| name).join(", ");
            format!(
                "there is no ioengine `{text}` for suites; there are {known}; a job file (--fio-job) may name others"
            )
        })
    }
}

/// After how many writes it waits for them to be on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Syncs {
    /// fsync(2).
    Fsync(u32),
    /// fdatasync(2).
    Fdatasync(u32),
}

impl Syncs {
    /// Name of the option, and its value.
    pub(super) fn option(self) -> (&'static str, u32) {
        match self {
            Syncs::Fsync(writes) => ("fsync", writes),
            Syncs::Fdatasync(writes) => ("fdatasync", writes),
        }
    }
}

/// Which blocks are hit more often than others, in fio's words: `zipf:1.2`, `pareto:0.2`, `normal:20`.
fn distribution(text: &str) -> Result<Option<String>, String> {
    let refuse = || {
        Err(format!(
            "`{text}` is no distribution; there are random (all blocks alike), zipf:THETA (above 0, and not 1), pareto:H (between 0 and 1) \
             and normal:DEVIATION (percent, above 0 and up to 100)"
        ))
    };
    let Some((name, number)) = text.split_once(':') else {
        return if text == "random" { Ok(None) } else { refuse() };
    };
    let Ok(value) = number.parse::<f64>() else { return refuse() };
    let is_one = match name {
        "zipf" => value > 0.0 && value <= 100.0 && (value - 1.0).abs() > 1e-9,
        "pareto" => value > 0.0 && value < 1.0,
        "normal" => value > 0.0 && value <= 100.0,
        _ => false,
    };
    if is_one { Ok(Some(format!("{name}:{value}"))) } else { refuse() }
}

pub(in crate::kinds) fn read(entry: Entry<'_>) -> Result<Box<dyn Kind>, Wrong> {
    let (keys, no_percent) = entry.read_or::<Keys>("read-percent")?;
    let direct = keys.direct.as_ref().is_none_or(|direct| *direct.get_ref());
    let iodepth = count(&keys.iodepth, 1024)?;
    let jobs = count(&keys.jobs, 256)?;
    let engine = match &keys.ioengine {
        Some(named) => named.get_ref().parse().map_err(|e: String| wrong(named, e))?,
        None => Engine::Libaio,
    };
    engine.check_depth(iodepth).map_err(|e| wrong(&keys.iodepth, e))?;
    let pattern = pattern(&keys, no_percent)?;
    Ok(Box::new(Fio {
        pattern,
        block_size_bytes: block_size(&keys.block_size, direct)?,
        iodepth,
        jobs,
        engine,
        direct,
        syncs: syncs(&keys, pattern)?,
        distribution: hits(keys.distribution.as_ref(), pattern)?,
        rate: rate(&keys, jobs)?,
    }))
}

fn block_size(written: &Spanned<Written>, direct: bool) -> Result<u64, Wrong> {
    let bytes = entry::read(written, parse_size)?;
    let whole = bytes.is_multiple_of(512) && LARGEST_BLOCK.is_multiple_of(bytes);
    match direct {
        true if !whole => Err(wrong(
            written,
            "with direct I/O a block size must divide 1 MiB and be a multiple of 512 bytes (KiB, not kB); direct = false takes others",
        )),
        _ if bytes > LARGEST_BLOCK => Err(wrong(written, "a block size must be 1 MiB at most")),
        _ => Ok(bytes),
    }
}

fn pattern(keys: &Keys, no_percent: Wrong) -> Result<Pattern, Wrong> {
    let mixed = || {
        let percent = keys.read_percent.as_ref().ok_or(no_percent)?;
        Ok(Direction::Mixed { read_percent: entry::read(percent, parse_whole_percent)? })
    };
    let (order, direction): (fn(Direction) -> Pattern, _) = match keys.pattern.get_ref().as_str() {
        "sequential-read" => (Pattern::Sequential, Direction::Read),
        "sequential-write" => (Pattern::Sequential, Direction::Write),
        "random-read" => (Pattern::Random, Direction::Read),
        "random-write" => (Pattern::Random, Direction::Write),
        "random-mixed" => (Pattern::Random, mixed()?),
        "sequential-mixed" => (Pattern::Sequential, mixed()?),
        other => {
            let known = "sequential-read, sequential-write, sequential-mixed, random-read, random-write, random-mixed";
            return Err(wrong(&keys.pattern, format!("there is no pattern `{other}`; there are {known}")));
        }
    };
    match (direction, &keys.read_percent) {
        (Direction::Read | Direction::Write, Some(percent)) => {
            Err(wrong(percent, "read-percent belongs to a mixed pattern"))
        }
        _ => Ok(order(direction)),
    }
}

fn syncs(keys: &Keys, pattern: Pattern) -> Result<Option<Syncs>, Wrong> {
    let (at, syncs) = match (&keys.fsync, &keys.fdatasync) {
        (None, None) => return Ok(None),
        (Some(_), Some(at)) => return Err(wrong(at, "give fsync or fdatasync, and not both")),
        (Some(at), None) => (at, Syncs::Fsync(count(at, u32::MAX)?)),
        (None, Some(at)) => (at, Syncs::Fdatasync(count(at, u32::MAX)?)),
    };
    match pattern {
        Pattern::Sequential(Direction::Read) | Pattern::Random(Direction::Read) => {
            Err(wrong(at, "a pattern that only reads has nothing to wait for"))
        }
        _ => Ok(Some(syncs)),
    }
}

fn hits(written: Option<&Spanned<String>>, pattern: Pattern) -> Result<Option<String>, Wrong> {
    let Some(at) = written else { return Ok(None) };
    match pattern {
        Pattern::Sequential(_) => Err(wrong(at, "a distribution belongs to a random pattern")),
        Pattern::Random(_) => distribution(at.get_ref()).map_err(|e| wrong(at, e)),
    }
}

fn rate(keys: &Keys, jobs: u32) -> Result<Rate, Wrong> {
    match (&keys.rate_iops, &keys.paced) {
        (None, None) => Ok(Rate::Free),
        (Some(_), Some(at)) => Err(wrong(at, "give rate-iops or paced, and not both")),
        (None, Some(at)) => Ok(Rate::Share { percent: entry::read(at, parse_whole_percent)?, per_s: None }),
        (Some(at), None) => match count(at, FASTEST)? {
            rate if rate < jobs => {
                Err(wrong(at, format!("it is the rate of all {jobs} jobs together: each needs at least 1 per second")))
            }
            rate => Ok(Rate::Fixed(f64::from(rate))),
        },
    }
}
