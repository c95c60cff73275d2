//! One trial: a job in an instance, and everything that is known of it afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bench_agent::{Job, JobOutput, clock_ns};
use bench_results::metric;
use bench_results::record::{self, Measurement, PlannedTrial, Profile, Trial};
use bench_workloads::{Measured, Workload};
use serde_json::json;

use super::agent_client::ClockComparison;
use super::environment::Environment;
use super::instance::{Instance, Setting};
use crate::host::sampler::{Sample, Sampler};

/// What a trial is about.
pub struct Subject<'a> {
    /// Its line of the plan.
    pub planned: &'a PlannedTrial,
    /// What is executed.
    pub workload: &'a Workload,
    /// Where.
    pub environment: &'a Environment,
    /// For how long.
    pub profile: &'a Profile,
    /// Where raw tool output goes.
    pub raw: &'a Path,
}

/// The outcome of the job itself.
struct Executed {
    output: JobOutput,
    samples: Vec<Sample>,
    clocks: [ClockComparison; 2],
    elapsed_ns: u64,
    /// Of the cgroup while the job was executed; absent where the kernel cannot tell.
    memory_peak_bytes: Option<u64>,
}

/// A trial that was executed.
pub struct Outcome {
    /// For the record.
    pub trial: Trial,
    /// True when the conversation with the agent broke: the instance is of no use any more.
    pub broken: bool,
}

/// Execute one trial. Whatever goes wrong in the environment becomes part of the trial; an error is a failure of the run.
pub async fn execute(subject: &Subject<'_>, instance: &mut Instance<'_>, setting: &Setting) -> Result<Outcome> {
    let jobs = subject.workload.trial(&subject.environment.place, subject.profile, subject.planned.seed);
    let mut trial = blank(subject, &instance.facts);
    let began = clock_ns();
    let executed = run_job(&jobs.measured, instance, setting).await;
    let broken = executed.is_err();
    match executed {
        Ok(executed) => {
            trial.elapsed_ns = executed.elapsed_ns;
            write_raw(
                subject.raw,
                "job.json",
                &serde_json::to_vec_pretty(&describe(&jobs.measured, &executed.output))?,
            )?;
            match subject.workload.measure(&executed.output) {
                Ok(measured) => fill(&mut trial, subject, measured, &executed, instance, setting)?,
                Err(why) => trial.failure = Some(why),
            }
            for (name, content) in [("stdout", &executed.output.stdout), ("stderr", &executed.output.stderr)] {
                if trial.failure.is_some() && !content.0.is_empty() {
                    write_raw(subject.raw, name, &content.0)?;
                }
            }
        }
        Err(e) => {
            trial.elapsed_ns = clock_ns() - began;
            trial.failure = Some(format!("{:#}", instance.explain(e).await));
        }
    }
    // An I/O that is still on its way would be the next trial's load: alike for all environments.
    if let Some(target) = &setting.target {
        sync(Path::new(&target.target.path))?;
    }
    judge(&mut trial, instance, setting);
    Ok(Outcome { trial, broken })
}

/// A trial that could not be executed, because its instance is not there.
pub fn lost(subject: &Subject<'_>, why: &str) -> Trial {
    Trial { failure: Some(why.to_owned()), ..blank(subject, &record::Instance::default()) }
}

/// A trial of which nothing is known but that it was planned.
fn blank(subject: &Subject<'_>, instance: &record::Instance) -> Trial {
    Trial {
        planned: subject.planned.clone(),
        started_at: now(),
        elapsed_ns: 0,
        accelerator: subject.environment.accelerator(),
        failure: None,
        invalid: Vec::new(),
        measurements: Vec::new(),
        histograms: BTreeMap::new(),
        facts: BTreeMap::new(),
        instance: instance.clone(),
    }
}

/// The time now, RFC 3339, UTC, whole seconds.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

async fn run_job(job: &Job, instance: &mut Instance<'_>, setting: &Setting) -> Result<Executed> {
    instance.resume().await?;
    let before = instance.agent.compare_clocks().await?;
    let peak = instance.ground.cgroup.memory_peak();
    let mut samples = Vec::new();
    let began = clock_ns();
    let disk = setting.target.as_ref().and_then(|target| target.disk.as_ref());
    let output = match disk {
        Some(disk) => {
            let sampler = Sampler::open(&instance.ground.cgroup, disk)?;
            tokio::select! {
                output = instance.agent.execute(job) => output?,
                () = sampler.sample_into(&mut samples) => unreachable!("the sampler never ends by itself"),
            }
        }
        None => instance.agent.execute(job).await?,
    };
    let elapsed_ns = clock_ns() - began;
    let after = instance.agent.compare_clocks().await?;
    let memory_peak_bytes = peak.and_then(|peak| peak.bytes());
    instance.pause().await?;
    Ok(Executed { output, samples, clocks: [before, after], elapsed_ns, memory_peak_bytes })
}

fn fill(
    trial: &mut Trial,
    subject: &Subject<'_>,
    measured: Measured,
    executed: &Executed,
    instance: &Instance<'_>,
    setting: &Setting,
) -> Result<()> {
    for (name, content) in &measured.raw {
        write_raw(subject.raw, name, content)?;
    }
    trial.measurements = measured.measurements;
    trial.histograms = measured.histograms;
    trial.facts = measured.facts;
    trial.invalid = measured.invalid;
    clock_facts(trial, executed);
    if let Some(peak) = executed.memory_peak_bytes {
        trial.measurements.retain(|measurement| measurement.metric != "memory_peak_bytes");
        put(trial, "memory_peak_bytes", peak as f64);
    }
    if let (Some(disk), Some(block_size)) =
        (setting.target.as_ref().and_then(|target| target.disk.as_ref()), measured.block_size_bytes)
    {
        let sampler = Sampler::open(&instance.ground.cgroup, disk)?;
        let ended_ns = executed.output.ended_ns.saturating_add_signed(-executed.clocks[1].offset_ns);
        if let Some(cost) = sampler.cost(&executed.samples, ended_ns, subject.profile.runtime_s, block_size) {
            put(trial, "cpu_ns_per_io", cost.cgroup_ns_per_io);
            put(trial, "machine_cpu_ns_per_io", cost.machine_ns_per_io);
            trial.facts.insert("cpu.window_ns".into(), json!(cost.window_ns));
        }
    }
    Ok(())
}

fn clock_facts(trial: &mut Trial, executed: &Executed) {
    let [before, after] = executed.clocks;
    let inside = executed.output.ended_ns.saturating_sub(executed.output.started_ns);
    trial.facts.insert("clock.offset_ns".into(), json!(after.offset_ns));
    trial.facts.insert("clock.round_trip_ns".into(), json!(after.round_trip_ns));
    trial.facts.insert("clock.drift_ns".into(), json!(after.offset_ns - before.offset_ns));
    trial.facts.insert("job.elapsed_inside_ns".into(), json!(inside));
}

/// Hard reasons that only the host can see: limits not in force, an out-of-memory kill.
fn judge(trial: &mut Trial, instance: &Instance<'_>, setting: &Setting) {
    match instance.ground.cgroup.verify() {
        Ok(broken) => trial.invalid.extend(broken),
        Err(e) => trial.invalid.push(format!("the limits could not be read back: {e}")),
    }
    if instance.ground.cgroup.oom_kills().is_ok_and(|kills| kills > 0) {
        let mib = setting.memory_bytes >> 20;
        trial
            .invalid
            .push(format!("the memory limit of {mib} MiB was met and a process was killed; give a larger --memory"));
    }
    if let Some(resident) = instance.resident() {
        trial.facts.insert("vmm.memory_bytes".into(), json!(resident.rest_bytes));
        trial.facts.insert("guest.memory_bytes".into(), json!(resident.guest_ram_bytes));
    }
}

fn put(trial: &mut Trial, name: &str, value: f64) {
    if let Some(metric) = metric::find(name) {
        trial.measurements.push(Measurement {
            metric: name.to_owned(),
            unit: metric.unit,
            better: metric.better,
            value,
        });
    }
}

fn describe(job: &Job, output: &JobOutput) -> serde_json::Value {
    json!({
        "argv": job.argv,
        "env": job.env,
        "status": output.status,
        "started_ns": output.started_ns,
        "ended_ns": output.ended_ns,
        "rusage": output.rusage,
    })
}

fn write_raw(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, content).with_context(|| format!("writing {}", path.display()))
}

/// fdatasync(2) on the target, from the host.
pub fn sync(target: &Path) -> Result<()> {
    let file = fs::OpenOptions::new().write(true).open(target);
    file.and_then(|file| file.sync_data()).with_context(|| format!("syncing the target {}", target.display()))
}
