//! What fio job files bring along besides their workloads: their own times, and how large the target has to be.

use std::path::PathBuf;

use anyhow::{Result, anyhow, ensure};
use bench_results::quantity::parse_duration;
use bench_results::record::Profile;
use bench_workloads::{Engine, Workload};

use crate::conductor::plan::Planned;

/// Targets are multiples of this.
const GRAIN_BYTES: u64 = 1 << 20;

/// The workloads of all files.
pub fn workloads(files: &[PathBuf]) -> Result<Vec<Workload>> {
    let mut all: Vec<Workload> = Vec::new();
    for file in files {
        for workload in bench_workloads::fio_job(file)? {
            let name = workload.name();
            ensure!(
                all.iter().all(|other| other.name() != name),
                "--fio-job {}: a second workload would have the name `{name}`, which is made from a section's or a file's: rename it, \
                 or execute the files one by one",
                file.display()
            );
            all.push(workload);
        }
    }
    Ok(all)
}

/// A time from a millisecond to a day, in seconds.
pub fn runtime(text: &str) -> Result<f64, String> {
    let seconds = parse_duration(text)?;
    let is_one = (0.001..=86_400.0).contains(&seconds);
    is_one.then_some(seconds).ok_or_else(|| format!("`{text}` is not within 1ms and 1d"))
}

/// Let a time end the job files, and not what they say.
pub fn set_runtime(seconds: f64, planned: &mut [Planned]) -> Result<()> {
    let set = planned.iter_mut().map(|planned| planned.workload.set_runtime(seconds)).filter(|&is_set| is_set).count();
    ensure!(set > 0, "--runtime: no workload of this run is a fio job file; for others --profile gives the time");
    Ok(())
}

/// Let fio do its I/O with this engine in all workloads that let a suite say so.
pub fn set_engine(engine: Engine, planned: &mut [Planned]) -> Result<()> {
    let mut set = 0;
    for planned in planned {
        let is_set = planned.workload.set_engine(engine).map_err(|why| anyhow!("--ioengine {engine}: {why}"))?;
        set += usize::from(is_set);
    }
    ensure!(set > 0, "--ioengine {engine}: no workload of this run is of kind fio; a job file names its engine itself");
    Ok(())
}

/// The target as large as workloads need it that say so: no larger where all do, unless that was asked for.
pub fn fit(profile: &mut Profile, asked_bytes: Option<u64>, planned: &[Planned]) -> Result<()> {
    let driven = planned.iter().filter(|planned| planned.workload.needs_target());
    let needs: Vec<_> = driven.map(|planned| planned.workload.target_bytes()).collect();
    let Some(least) = needs.iter().flatten().max().map(|bytes| bytes.next_multiple_of(GRAIN_BYTES)) else {
        return Ok(());
    };
    if let Some(asked) = asked_bytes {
        let mib = least / GRAIN_BYTES;
        ensure!(asked >= least, "--size: the jobs reach farther into the target, up to {mib}MiB; give at least that");
        return Ok(());
    }
    profile.size_bytes = match needs.iter().all(Option::is_some) {
        true => least,
        false => least.max(profile.size_bytes),
    };
    Ok(())
}

/// Of a run of job files alone: they have their own times, and take them once in each block.
pub fn own_times(profile: &mut Profile, planned: &[Planned]) {
    let longest = planned.iter().map(|planned| planned.workload.seconds(profile).1).fold(0.0, f64::max);
    (profile.turns, profile.warmup_s, profile.runtime_s) = (1, 0.0, longest);
}
