//! The conductor: from a plan to trials, block by block.

pub mod agent_client;
mod container;
pub mod environment;
pub mod event;
pub mod instance;
pub mod interrupt;
mod native;
mod peer;
pub mod plan;
mod process;
pub mod progress;
mod settle;
pub mod trial;
pub mod vm;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bench_agent::clock_ns;
use bench_results::record::{Overhead, PlannedTrial, Run, Trial};
use bench_results::store::RunFolder;

use environment::Environment;
use event::{Event, Listener};
use instance::{Instance, Setting};
use plan::Planned;
pub use trial::now;

/// Everything a run is executed with.
pub struct Conductor<'a> {
    /// What all instances share.
    pub setting: &'a Setting,
    /// The environments, in the record's order.
    pub environments: &'a [Environment],
    /// What is measured.
    pub workloads: &'a [Planned],
    /// Native access to the target, for filling and driving it; absent when there is none.
    pub driver: Option<&'a Environment>,
}

/// An instance, or why there is none.
type Started<'a> = Result<Instance<'a>, String>;

impl<'a> Conductor<'a> {
    /// Execute the whole plan, recording each trial as it ends. `run` is what stands in `run.json`.
    pub async fn conduct(&self, run: &mut Run, folder: &mut RunFolder, listener: Listener<'_>) -> Result<()> {
        let mut driver = match self.driver {
            Some(environment) => Some((Instance::start(environment, self.setting).await?, &environment.place)),
            None => None,
        };
        if let Some((driver, place)) = &mut driver {
            listener(Event::Phase("writing the target once with incompressible data".into()));
            settle::fill(&mut driver.agent, place).await?;
            self.sync_target()?;
        }
        let mut cost = Cost::begin();
        if let Some((driver, place)) = &mut driver {
            listener(Event::Phase("driving the target until it is steady".into()));
            run.settle = Some(settle::settle(&mut driver.agent, place, run.plan.profile.settle_s).await?);
            folder.replace_run(run)?;
        }
        let blocks: Vec<_> = run.plan.trials.chunk_by(|a, b| a.block == b.block).map(<[_]>::to_vec).collect();
        for block in &blocks {
            listener(Event::Block { number: block[0].block, of: blocks.len() as u32 });
            let mut instances = self.start_instances(listener).await;
            if let (Some((driver, place)), 2..) = (&mut driver, block[0].block) {
                settle::drive(&mut driver.agent, place, u64::from(block[0].block)).await?;
            }
            for planned in block {
                let trial = self.execute(planned, run, folder, &mut instances, &mut cost).await?;
                folder.append_trial(&trial)?;
                listener(Event::Trial(&trial));
            }
            for (environment, instance) in self.environments.iter().zip(instances) {
                if let Ok(instance) = instance {
                    stop(instance, &evidence(folder, block[0].block, &environment.name)?).await?;
                }
            }
            run.overhead = Some(cost.overhead());
            folder.replace_run(run)?;
            listener(Event::BlockDone);
        }
        match driver {
            Some((driver, _)) => driver.stop().await,
            None => Ok(()),
        }
    }

    /// One fresh instance of every environment. One that does not start costs its own trials of this block, no others'.
    async fn start_instances(&self, listener: Listener<'_>) -> Vec<Started<'a>> {
        let mut instances = Vec::with_capacity(self.environments.len());
        for environment in self.environments {
            let started = Instance::start(environment, self.setting).await.map_err(|e| format!("{e:#}"));
            if let Err(why) = &started {
                listener(Event::Note(format!("{why}; the run goes on without it until the next block")));
            }
            instances.push(started);
        }
        instances
    }

    async fn execute(
        &self,
        planned: &PlannedTrial,
        run: &Run,
        folder: &RunFolder,
        instances: &mut [Started<'a>],
        cost: &mut Cost,
    ) -> Result<Trial> {
        let index = self.environments.iter().position(|environment| environment.name == planned.environment);
        let index =
            index.with_context(|| format!("the plan names an unknown environment `{}`", planned.environment))?;
        let mut workloads = self.workloads.iter().map(|planned| &planned.workload);
        let workload = workloads.find(|workload| workload.name() == planned.workload);
        let raw = folder.raw(&planned.id)?;
        let subject = trial::Subject {
            planned,
            workload: workload.with_context(|| format!("the plan names an unknown workload `{}`", planned.workload))?,
            environment: &self.environments[index],
            profile: &run.plan.profile,
            raw: &raw,
        };
        let instance = match &mut instances[index] {
            Ok(instance) => instance,
            Err(why) => return Ok(trial::lost(&subject, why)),
        };
        let used = own_cpu_ns();
        let outcome = trial::execute(&subject, instance, self.setting).await?;
        cost.add(own_cpu_ns() - used, outcome.trial.elapsed_ns);
        if outcome.broken {
            // Its later trials of this block would only wait for the same silence.
            let why = format!("the instance broke in {}", planned.id);
            if let Ok(instance) = std::mem::replace(&mut instances[index], Err(why)) {
                stop(instance, &evidence(folder, planned.block, &planned.environment)?).await?;
            }
        }
        Ok(outcome.trial)
    }

    fn sync_target(&self) -> Result<()> {
        match &self.setting.target {
            Some(target) => trial::sync(Path::new(&target.target.path)),
            None => Ok(()),
        }
    }
}

/// Where the evidence of an instance is kept.
fn evidence(folder: &RunFolder, block: u32, environment: &str) -> Result<PathBuf> {
    Ok(folder.raw(&format!("b{block:02}-instance-{environment}"))?)
}

async fn stop(mut instance: Instance<'_>, evidence: &Path) -> Result<()> {
    instance.keep_evidence(evidence).await?;
    instance.stop().await
}

/// What the run itself costs, as far as it went.
struct Cost {
    began_ns: u64,
    own_cpu_ns: u64,
    measured_ns: u64,
}

impl Cost {
    fn begin() -> Cost {
        Cost { began_ns: clock_ns(), own_cpu_ns: 0, measured_ns: 0 }
    }

    fn add(&mut self, own_cpu_ns: u64, measured_ns: u64) {
        self.own_cpu_ns += own_cpu_ns;
        self.measured_ns += measured_ns;
    }

    fn overhead(&self) -> Overhead {
        Overhead {
            wall_s: (clock_ns() - self.began_ns) as f64 / 1e9,
            conductor_cpu: self.own_cpu_ns as f64 / self.measured_ns.max(1) as f64,
        }
    }
}

/// CPU time of this process so far.
fn own_cpu_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
