//! One trial: a job in an instance, and everything that is known of it afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use bench_agent::{Job, JobOutput, clock_ns};
use bench_container::Cgroup;
use bench_results::record::{self, Baseline, Measurement, PlannedTrial, Profile, Trial};
use bench_results::{metric, validity};
use bench_workloads::{Measured, TrialJobs, Work, Workload};
use serde_json::json;

use super::agent_client::ClockComparison;
use super::environment::Environment;
use super::evidence::{self, Look};
use super::instance::{Instance, Setting};
use super::work;
use crate::host::sampler::{Sample, Sampler, Window, mean_frequency_percent};
use crate::isolation::{Observer, Outside};
use crate::netlab::Counters;

/// What a trial is about.
pub struct Subject<'a> {
    /// Its line of the plan.
    pub planned: &'a PlannedTrial,
    /// Which attempt at its block this is, counted from 1.
    pub attempt: u32,
    /// Which execution in that attempt, counted from 1.
    pub execution: u32,
    /// What is executed.
    pub workload: &'a Workload,
    /// Where.
    pub environment: &'a Environment,
    /// For how long.
    pub profile: &'a Profile,
    /// What others did before the first block, or before the run went on; absent where it was not looked at.
    pub baseline: Option<&'a Baseline>,
    /// Where raw tool output goes.
    pub raw: &'a Path,
}

impl Subject<'_> {
    /// The planned seed, and 2³² ÷ φ farther on for each later execution: a cache beneath has the offsets of the one before.
    fn seed(&self) -> u64 {
        let farther = (u64::from(self.execution) - 1).wrapping_mul(0x9E37_79B9);
        self.planned.seed.wrapping_add(farther) & u64::from(u32::MAX)
    }
}

/// The outcome of the job itself.
pub struct Executed {
    /// What the agent brought back.
    pub output: JobOutput,
    samples: Vec<Sample>,
    clocks: [ClockComparison; 2],
    looks: [Look; 2],
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
    let mut trial = blank(subject, &instance.facts);
    let jobs = match subject.workload.trial(&subject.environment.place, subject.profile, subject.seed()) {
        Ok(jobs) => jobs,
        Err(why) => return Ok(Outcome { trial: Trial { failure: Some(why), ..trial }, broken: false }),
    };
    let began = clock_ns();
    let kills = instance.ground.cgroup.oom_kills().ok();
    let before = counters(instance, &mut trial);
    let (executed, seen) = run_observed(subject, &jobs, instance, setting).await;
    let broken = executed.is_err();
    let mut guests = [Counters::default(); 2];
    match executed {
        Ok(Err(why)) => trial.failure = Some(why),
        Ok(Ok(executed)) => {
            trial.elapsed_ns = executed.elapsed_ns;
            guests = executed.looks.each_ref().map(Look::guest_network);
            let job = serde_json::to_vec_pretty(&describe(&jobs.measured, &executed.output))?;
            setting.hands.act(|| write_raw(subject.raw, "job.json", &job))?;
            match subject.workload.measure(&executed.output) {
                Ok(mut measured) => {
                    let sights = std::mem::take(&mut measured.sights);
                    trial.observations = seen.map_or(Vec::new(), |seen| seen.beside(sights, instance.ground.name()));
                    fill(&mut trial, subject, measured, &executed, instance, setting)?;
                }
                Err(why) => trial.failure = Some(why),
            }
            for (name, content) in [("stdout", &executed.output.stdout), ("stderr", &executed.output.stderr)] {
                if trial.failure.is_some() && !content.0.is_empty() {
                    setting.hands.act(|| write_raw(subject.raw, name, &content.0))?;
                }
            }
        }
        Err(e) => {
            trial.elapsed_ns = clock_ns() - began;
            trial.failure = Some(format!("{:#}", instance.explain(e).await));
        }
    }
    if !broken {
        sync_caches(&mut trial, subject, instance).await;
    }
    trial.failure = trial.failure.map(bounded);
    // An I/O that is still on its way would be the next trial's load: alike for all environments.
    if let Some(target) = &setting.target {
        sync(target.path())?;
    }
    host_facts(&mut trial, subject.environment, instance);
    if let (Some(before), Ok(kills)) = (kills, instance.ground.cgroup.oom_kills()) {
        trial.facts.insert("memory.oom_kills".into(), json!(kills.saturating_sub(before)));
        trial.facts.insert("memory.limit_mib".into(), json!(setting.memory_bytes >> 20));
    }
    if let (Some(mut before), Some(mut after)) = (before, counters(instance, &mut trial)) {
        before.add(&guests[0]);
        after.add(&guests[1]);
        trial.facts.extend(after.facts_since(&before));
        keep_what_can_be_judged(&mut trial, jobs.server.is_some());
    }
    validity::apply(&mut trial, subject.profile.verdicts);
    Ok(Outcome { trial, broken })
}

/// What a page cache inside holds back reaches its storage before the next trial; if it does not, the trial is invalid.
async fn sync_caches(trial: &mut Trial, subject: &Subject<'_>, instance: &mut Instance<'_>) {
    let synced = match &subject.environment.place.target {
        _ if subject.workload.argv().is_some() => work::sync(instance).await,
        Some(target) if subject.workload.is_buffered() => {
            work::sync_inside(&[target], instance).await.context("syncing the target")
        }
        _ => Ok(()),
    };
    if let Err(e) = synced {
        trial.invalid.push(format!("{e:#}"));
    }
}

/// Characters of a reason that are kept: it may hold words of a guest, and a record has to stay readable.
const REASON_LIMIT: usize = 4000;

/// A reason, as much of it as is kept.
pub fn bounded(why: String) -> String {
    match why.char_indices().nth(REASON_LIMIT) {
        Some((end, _)) => format!("{} ...", &why[..end]),
        None => why,
    }
}

/// A trial that could not be executed, because its instance is not there.
pub fn lost(subject: &Subject<'_>, why: &str) -> Trial {
    Trial { failure: Some(why.to_owned()), ..blank(subject, &record::Instance::default()) }
}

/// A trial of which nothing is known but that it was planned.
pub fn blank(subject: &Subject<'_>, instance: &record::Instance) -> Trial {
    Trial {
        planned: subject.planned.clone(),
        attempt: subject.attempt,
        execution: subject.execution,
        superseded: false,
        started_at: now().into(),
        elapsed_ns: 0,
        accelerator: subject.environment.accelerator(),
        failure: None,
        invalid: Vec::new(),
        remarks: Vec::new(),
        measurements: Vec::new(),
        histograms: BTreeMap::new(),
        facts: BTreeMap::new(),
        observations: Vec::new(),
        instance: instance.clone(),
        folded: None,
    }
}

/// The time now, RFC 3339, UTC, whole seconds.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What was counted in the instance's lab so far; what cannot be read makes the trial invalid.
fn counters(instance: &Instance<'_>, trial: &mut Trial) -> Option<Counters> {
    match instance.network.as_ref()?.lab.counters() {
        Ok(counters) => Some(counters),
        Err(e) => {
            trial.invalid.push(format!("the lab's counters could not be read: {e:#}"));
            None
        }
    }
}

/// The jobs, and what the host showed meanwhile to whom probes of isolation are compared with.
async fn run_observed(
    subject: &Subject<'_>,
    jobs: &TrialJobs,
    instance: &mut Instance<'_>,
    setting: &Setting,
) -> (Result<Result<Executed, String>>, Option<Outside>) {
    let probed = subject.workload.is_probed();
    let observer = probed.then(|| Observer::begin(&subject.seed().to_string(), &setting.executable));
    let executed = run_jobs(jobs, instance, setting).await;
    (executed, observer.map(Observer::end))
}

/// The measured job, with its server at the peer if it has one. The server is ended whatever happens; one that was never there
/// is the trial's failure and not the instance's.
pub async fn run_jobs(
    jobs: &TrialJobs,
    instance: &mut Instance<'_>,
    setting: &Setting,
) -> Result<Result<Executed, String>> {
    if let (Some(server), Some(network)) = (&jobs.server, &mut instance.network)
        && let Err(e) = network.peer.start_server(server).await
    {
        network.peer.end_server().await?;
        return Ok(Err(format!("{e:#}")));
    }
    let executed = run_job(&jobs.measured, instance, setting).await;
    if let (Some(_), Some(network)) = (&jobs.server, &mut instance.network) {
        network.peer.end_server().await?;
    }
    executed.map(Ok)
}

async fn run_job(job: &Job, instance: &mut Instance<'_>, setting: &Setting) -> Result<Executed> {
    instance.resume().await?;
    let peak = instance.ground.cgroup.memory_peak();
    let mut samples = Vec::new();
    let look = Look::before(instance, setting).await?;
    let clock = instance.agent.compare_clocks().await?;
    let sampler = sampler(&instance.ground.cgroup, setting)?;
    let began = clock_ns();
    let output = tokio::select! {
        output = instance.agent.execute(job) => output?,
        () = sampler.sample_into(&mut samples) => unreachable!("the sampler never ends by itself"),
    };
    let elapsed_ns = clock_ns() - began;
    let clocks = [clock, instance.agent.compare_clocks().await?];
    let memory_peak_bytes = peak.and_then(|peak| peak.bytes());
    let looks = [look, Look::after(instance, setting).await?];
    instance.pause().await?;
    Ok(Executed { output, samples, clocks, looks, elapsed_ns, memory_peak_bytes })
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
        setting.hands.act(|| write_raw(subject.raw, name, content))?;
    }
    trial.measurements = measured.measurements;
    trial.histograms = measured.histograms;
    trial.facts = measured.facts;
    let inside = executed.output.ended_ns.saturating_sub(executed.output.started_ns);
    trial.facts.insert("job.elapsed_inside_ns".into(), json!(inside));
    trial.facts.insert("job.major_faults".into(), json!(executed.output.rusage.major_faults));
    trial.facts.extend(evidence::clock_facts(executed.clocks, executed.elapsed_ns));
    let (warmup_s, runtime_s) = subject.workload.seconds(subject.profile);
    let took_s = if runtime_s > 0.0 { runtime_s } else { measured.seconds.1.unwrap_or(0.0) };
    trial.facts.extend(evidence::time_facts("warmup", warmup_s, measured.seconds.0, evidence::WARM_UP_GRAIN_S));
    trial.facts.extend(evidence::time_facts("runtime", runtime_s, measured.seconds.1, 0.0));
    let idle = subject.baseline.and_then(|baseline| baseline.disk_bytes_per_s).unwrap_or(0.0);
    let [before, after] = &executed.looks;
    trial.facts.extend(evidence::facts(before, after, measured.moved_bytes, idle));
    if let Some(frequency) = mean_frequency_percent(&executed.samples) {
        trial.facts.insert("cpu.frequency_percent".into(), json!(frequency));
    }
    if let Some(peak) = executed.memory_peak_bytes.filter(|_| !subject.workload.is_probed()) {
        trial.measurements.retain(|measurement| measurement.metric != "memory_peak_bytes");
        put(trial, "memory_peak_bytes", peak as f64);
    }
    if let Some(work) = measured.work {
        let ended_ns = executed.clocks[1].ours_ns(executed.output.ended_ns);
        if let Some(window) = sampler(&instance.ground.cgroup, setting)?.window(&executed.samples, ended_ns, took_s) {
            cost(trial, work, &window);
        }
    }
    Ok(())
}

fn sampler<'a>(cgroup: &'a Cgroup, setting: &Setting) -> Result<Sampler<'a>> {
    Sampler::open(cgroup, setting.target.as_ref().and_then(|target| target.disk.as_ref()), &setting.cpus)
}

/// CPU time per unit of work in the window; absent where the work in it cannot be counted.
fn cost(trial: &mut Trial, work: Work, window: &Window) {
    let units = match work {
        Work::Blocks { bytes } => window.disk_bytes.map(|moved| moved as f64 / bytes as f64),
        Work::PerSecond { per_s, .. } => Some(per_s * window.length_ns as f64 / 1e9),
    };
    let Some(units) = units.filter(|&units| units >= 1.0) else { return };
    let unit = work.unit();
    put(trial, &format!("cpu_ns_per_{unit}"), window.cgroup_cpu_ns as f64 / units);
    put(trial, &format!("machine_cpu_ns_per_{unit}"), window.machine_cpu_ns as f64 / units);
    trial.facts.insert("cpu.window_ns".into(), json!(window.length_ns));
}

/// Limits of a group that are not in force any more, in words.
fn broken_limits(group: &Cgroup) -> Vec<String> {
    group.verify().unwrap_or_else(|e| vec![format!("the limits could not be read back: {e}")])
}

/// What only the host can see when the job is over: limits that are not in force, programs that are not the same any more, the
/// guest's memory.
pub fn host_facts(trial: &mut Trial, environment: &Environment, instance: &Instance<'_>) {
    let mut broken = broken_limits(&instance.ground.cgroup);
    if let Some(network) = &instance.network {
        broken.extend(broken_limits(network.peer.cgroup()).into_iter().map(|limit| format!("at the peer, {limit}")));
    }
    let mut put = |name: &str, value| drop(trial.facts.insert(name.to_owned(), value));
    put("limits.broken", json!(broken.len()));
    if !broken.is_empty() {
        put("limits.said", json!(broken.join("; ")));
    }
    let changed: Vec<_> = environment.sources.changed().collect();
    put("tools.changed", json!(changed.len()));
    if let Some(first) = changed.first() {
        put("tools.said", json!(first.display().to_string()));
    }
    if let Some(ns) = instance.facts.clock_read_ns {
        put("clock.read_ns", json!(ns));
        put("clock.source", json!(instance.facts.clock_source.as_deref().unwrap_or("unknown")));
    }
    if let Some(resident) = instance.resident() {
        trial.facts.insert("vmm.memory_bytes".into(), json!(resident.rest_bytes));
        trial.facts.insert("guest.memory_bytes".into(), json!(resident.guest_ram_bytes));
    }
}

/// Take away what says nothing of this trial: the rule counts only what goes to a peer, and a packet flood is as fast as packets
/// are lost. A trial that failed may have sent nothing.
fn keep_what_can_be_judged(trial: &mut Trial, has_server: bool) {
    if !has_server || trial.failure.is_some() {
        trial.facts.remove("net.rule_packets");
    }
    if trial.value("packets_per_s").is_some() {
        trial.facts.remove("net.dropped_per_million");
    }
}

/// Add a measurement of [`metric::METRICS`].
pub fn put(trial: &mut Trial, name: &str, value: f64) {
    if let Some(metric) = metric::find(name) {
        trial.measurements.push(Measurement { metric: name.into(), unit: metric.unit, better: metric.better, value });
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
    // Synced: what waits in memory would be written during a later trial.
    let written = fs::File::create_new(&path).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_data()
    });
    written.with_context(|| format!("writing {}", path.display()))
}

/// fdatasync(2) on the target, from the host.
pub fn sync(target: &Path) -> Result<()> {
    let file = fs::OpenOptions::new().write(true).open(target);
    file.and_then(|file| file.sync_data()).with_context(|| format!("syncing the target {}", target.display()))
}
