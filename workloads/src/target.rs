//! Jobs on the target that are not measured: writing it once, and driving it until it is steady.

use bench_agent::{Job, JobOutput};
use fio_rs::{Direction, Length, Pattern};

use crate::kinds::fio::{fio_job, parse, said, unread};
use crate::workload::{Place, exit_status};

/// The slowest disk that filling waits for, in bytes per second.
const SLOWEST_FILL: f64 = 5e6;
/// Steady: over this many seconds ...
const STEADY_S: usize = 4;
/// ... throughput varies by no more than this share of its mean.
const STEADY_SPREAD: f64 = 0.05;
/// Name of the driving job.
const DRIVE: &str = "drive";

/// Write the whole target once with incompressible data: unwritten extents read as zeros without I/O.
pub fn fill_job(place: &Place) -> Job {
    let section = fio_rs::Job {
        pattern: Pattern::Sequential(Direction::Write),
        block_size_bytes: 1 << 20,
        iodepth: 16,
        numjobs: 1,
        length: Length::Whole,
        refill_buffers: true,
        end_fsync: true,
        ..drive_section(place, 0)
    };
    fio_job(place, &[section], place.size_bytes as f64 / SLOWEST_FILL + 60.0)
}

/// Drive the target for some seconds with random reads.
pub fn drive_job(place: &Place, seconds: f64, seed: u64) -> Job {
    let length = Length::Time(std::time::Duration::from_secs_f64(seconds));
    let section = fio_rs::Job { length, ..drive_section(place, seed as u32) };
    fio_job(place, &[section], 3.0 * seconds + 30.0)
}

/// Read a single block of the target with this engine, to see whether that can be done at all.
pub fn engine_job(place: &Place, engine: &str) -> Job {
    let section = fio_rs::Job {
        size_bytes: 4096,
        iodepth: 1,
        numjobs: 1,
        direct: false,
        engine: engine.to_owned(),
        ..drive_section(place, 0)
    };
    fio_job(place, &[section], 30.0)
}

/// Whether an [`engine_job`] could be done; an error is why not, in fio's words.
///
/// # Errors
/// What fio said.
pub fn engine_result(output: &JobOutput) -> Result<(), String> {
    let parsed = parse(output)?;
    parsed.check(exit_status(output)?, DRIVE).map(|_| ()).map_err(|failure| said(&failure))
}

fn drive_section(place: &Place, seed: u32) -> fio_rs::Job {
    fio_rs::Job {
        name: DRIVE.to_owned(),
        filename: place.target.clone().unwrap_or_default(),
        size_bytes: place.size_bytes,
        pattern: Pattern::Random(Direction::Read),
        block_size_bytes: 4096,
        iodepth: 16,
        numjobs: 8,
        direct: true,
        engine: "libaio".to_owned(),
        length: Length::Whole,
        seed,
        refill_buffers: false,
        end_fsync: false,
        stonewall: false,
        more: Vec::new(),
    }
}

/// IOPS of a [`drive_job`] or [`fill_job`]; an error is why it failed.
pub fn drive_result(output: &JobOutput) -> Result<f64, String> {
    let parsed = parse(output)?;
    let job = parsed.check(exit_status(output)?, DRIVE).map_err(|failure| said(&failure))?;
    let iops: f64 =
        [&job.read, &job.write, &job.mixed].into_iter().filter(|part| part.has("iops")).map(|part| part.iops).sum();
    if iops > 0.0 { Ok(iops) } else { Err(unread(&parsed, DRIVE, "iops")) }
}

/// True when the last four seconds differ by at most 5 % of their mean.
pub fn is_steady(iops: &[f64]) -> bool {
    let Some(last) = iops.len().checked_sub(STEADY_S).map(|from| &iops[from..]) else { return false };
    let mean = last.iter().sum::<f64>() / last.len() as f64;
    let (low, high) = last.iter().fold((f64::MAX, 0.0_f64), |(low, high), &x| (low.min(x), high.max(x)));
    mean > 0.0 && high - low <= STEADY_SPREAD * mean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warming_disk_is_not_steady() {
        assert!(!is_steady(&[33e3, 42e3, 50e3, 57e3, 63e3]));
        assert!(!is_steady(&[83e3, 84e3, 85e3]));
        assert!(is_steady(&[33e3, 83e3, 84e3, 85e3, 86e3]));
        assert!(!is_steady(&[0.0, 0.0, 0.0, 0.0]));
    }
}
