//! The conductor: from a plan to trials, block by block.

pub mod agent_client;
pub mod environment;
pub mod event;
pub mod evidence;
pub mod instance;
pub mod interrupt;
mod lifecycle;
mod peer;
pub mod plan;
pub mod process;
pub mod progress;
mod repeats;
pub mod settle;
pub mod trial;
pub mod work;

use std::path::Path;

use anyhow::{Context, Result, bail};
use bench_agent::clock_ns;
use bench_results::record::{Overhead, Plan, PlannedTrial, Run, Trial};
use bench_results::resume::Round;
use bench_results::sequential;
use bench_results::store::{self, Record, RunFolder};
use bench_workloads::Place;

use environment::Environment;
use event::{Event, Listener};
use instance::{Instance, Setting};
use plan::Planned;
use repeats::Repeats;
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
    /// Execute these rounds of the plan, recording each trial as it ends. `run` is what stands in `run.json`.
    pub async fn conduct(
        &self,
        rounds: &[Round],
        run: &mut Run,
        folder: &mut RunFolder,
        listener: Listener<'_>,
    ) -> Result<()> {
        if rounds.is_empty() {
            // It was stopped after its last trial: only its end is missing.
            return Ok(());
        }
        let mut driver = match self.driver {
            Some(environment) => Some((Instance::start(environment, self.setting).await?, &environment.place)),
            None => None,
        };
        let mut cost = self.prepare(&mut driver, run, folder, listener).await?;
        let hands = self.setting.hands;
        let mut repeats = hands.act(|| Repeats::left(run, folder))?;
        for (index, round) in rounds.iter().enumerate() {
            if self.ends_before(round.block, run, folder, listener)? {
                break;
            }
            self.check_programs()?;
            listener(Event::Block { number: round.block, of: run.plan.profile.blocks });
            let mut instances = self.start_instances(&run.plan, round.block, listener).await;
            if let (Some((driver, place)), 1..) = (&mut driver, index) {
                settle::drive(&mut driver.agent, place, u64::from(round.block)).await?;
            }
            if run.plan.profile.verdicts {
                // What bench itself wrote, the last page above all, would be written in the middle of a trial.
                hands.act(|| sync_disk(folder.path()))?;
            }
            for planned in &round.trials {
                let mut counts = (round.attempt, 1);
                let trial = loop {
                    let mut trial = self.execute(planned, counts, run, folder, &mut instances, &mut cost).await?;
                    // A command would find what it did the last time.
                    let is_command = run.plan.workloads.iter().any(|w| w.name == planned.workload && w.is_command());
                    let Some(why) = repeats.why_again(&trial).filter(|_| !is_command) else { break trial };
                    listener(Event::Note(format!("{} is executed again: {why}", planned.id)));
                    trial.superseded = true;
                    folder.append_trial(&trial)?;
                    counts.1 += 1;
                };
                folder.append_trial(&trial)?;
                listener(Event::Trial(&trial));
            }
            self.stop_all(instances, folder, (round.block, round.attempt)).await?;
            run.overhead = Some(cost.overhead());
            hands.act(|| Ok(folder.replace_run(run)?))?;
            listener(Event::BlockDone);
        }
        match driver {
            Some((driver, _)) => driver.stop().await,
            None => Ok(()),
        }
    }

    /// Fill the target, look at what others do, and drive the target until it is steady; what the run costs counts from there.
    async fn prepare(
        &self,
        driver: &mut Option<(Instance<'a>, &Place)>,
        run: &mut Run,
        folder: &mut RunFolder,
        listener: Listener<'_>,
    ) -> Result<Cost> {
        if let Some((driver, place)) = driver
            && !self.setting.filled.get()
        {
            listener(Event::Phase("writing the target once with incompressible data".into()));
            settle::fill(driver, place, self.setting).await?;
        }
        if run.plan.profile.verdicts {
            listener(Event::Phase("looking at what others do on the machine".into()));
            self.setting.hands.act(|| sync_disk(folder.path()))?;
            let seen = evidence::baseline(self.setting).await;
            *run.breaks.last_mut().map_or(&mut run.baseline, |last| &mut last.baseline) = Some(seen);
        }
        let cost = self.setting.hands.act(|| Cost::begin(run, folder))?;
        if let Some((driver, place)) = driver {
            listener(Event::Phase("driving the target until it is steady".into()));
            let settled = settle::settle(&mut driver.agent, place, run.plan.profile.settle_s).await?;
            *run.breaks.last_mut().map_or(&mut run.settle, |last| &mut last.settle) = Some(settled);
            self.setting.hands.act(|| Ok(folder.replace_run(run)?))?;
        }
        Ok(cost)
    }

    /// True when the run looks at its verdicts before this block and has them all: it gives up the rest. What is left of a plan is
    /// executed in its order, so that all earlier blocks are there.
    fn ends_before(&self, block: u32, run: &mut Run, folder: &RunFolder, listener: Listener<'_>) -> Result<bool> {
        let is_decided = || Ok(sequential::is_decided(&Record::load_lean(folder.path(), |_| {})?));
        if !run.plan.looks_before(block) || !self.setting.hands.act(is_decided)? {
            return Ok(false);
        }
        listener(Event::Note(format!("every verdict is given after {} blocks: the run ends here", block - 1)));
        run.plan.stop_after(block - 1);
        Ok(true)
    }

    /// A run whose programs are other ones by now would only add invalid trials.
    fn check_programs(&self) -> Result<()> {
        for environment in self.environments {
            if let Some(path) = environment.sources.changed().next() {
                bail!(
                    "measuring `{}`: {} changed since the run began, so that no later trial of it could be valid; what was measured is \
                     kept. Install nothing and remove no image while bench measures, and measure again",
                    environment.name,
                    path.display()
                );
            }
        }
        Ok(())
    }

    /// One fresh instance of every environment, started in the plan's order and given in that of the environments. One that does not
    /// start costs its own trials of this block, no others'.
    async fn start_instances(&self, plan: &Plan, block: u32, listener: Listener<'_>) -> Vec<Started<'a>> {
        let order = plan.starts.get((block as usize).saturating_sub(1)).map_or(&[][..], Vec::as_slice);
        let position = |environment: &Environment| order.iter().position(|name| *name == environment.name);
        let mut all: Vec<(usize, &'a Environment)> = self.environments.iter().enumerate().collect();
        all.sort_by_key(|(_, environment)| position(environment));
        let mut instances = Vec::with_capacity(all.len());
        for (at, (index, environment)) in all.into_iter().enumerate() {
            let mut started = Instance::start(environment, self.setting).await.map_err(|e| format!("{e:#}"));
            match &mut started {
                Ok(instance) => instance.facts.start_order = Some(at as u32 + 1),
                Err(why) => listener(Event::Note(format!("{why}; the run continues without it until the next block"))),
            }
            instances.push((index, started));
        }
        instances.sort_by_key(|(index, _)| *index);
        instances.into_iter().map(|(_, started)| started).collect()
    }

    async fn execute(
        &self,
        planned: &PlannedTrial,
        (attempt, execution): (u32, u32),
        run: &Run,
        folder: &RunFolder,
        instances: &mut [Started<'a>],
        cost: &mut Cost,
    ) -> Result<Trial> {
        let index = self.environments.iter().position(|environment| environment.name == planned.environment);
        let index =
            index.with_context(|| format!("the plan names an unknown environment `{}`", planned.environment))?;
        let workload = self.workloads.iter().find(|known| known.workload.name() == planned.workload);
        let workload =
            workload.with_context(|| format!("the plan names an unknown workload `{}`", planned.workload))?;
        let workload = workload.as_in(&planned.environment);
        let later = if execution > 1 { format!("-execution{execution}") } else { String::new() };
        let raw = self.setting.hands.act(|| Ok(folder.raw(&format!("{}{later}", planned.id), attempt)?))?;
        let subject = trial::Subject {
            planned,
            attempt,
            execution,
            workload: &workload,
            environment: &self.environments[index],
            profile: &run.plan.profile,
            baseline: run.baselines().last(),
            raw: &raw,
        };
        let instance = match &mut instances[index] {
            Ok(instance) => instance,
            Err(why) => return Ok(trial::lost(&subject, why)),
        };
        let used = own_cpu_ns();
        let outcome = match workload.instances() {
            Some(what) => lifecycle::execute(&subject, &what, instance, self.setting).await?,
            None => trial::execute(&subject, instance, self.setting).await?,
        };
        cost.add(own_cpu_ns() - used, outcome.trial.elapsed_ns);
        if outcome.broken {
            // Its later trials of this block would only wait for the same silence.
            let why = format!("the instance broke in {}", planned.id);
            if let Ok(instance) = std::mem::replace(&mut instances[index], Err(why)) {
                self.stop(instance, folder, &planned.environment, (planned.block, attempt)).await?;
            }
        }
        Ok(outcome.trial)
    }

    async fn stop_all(&self, all: Vec<Started<'a>>, folder: &RunFolder, of: (u32, u32)) -> Result<()> {
        for (environment, instance) in self.environments.iter().zip(all) {
            if let Ok(instance) = instance {
                self.stop(instance, folder, &environment.name, of).await?;
            }
        }
        Ok(())
    }

    /// Keep the evidence of an instance, and end it.
    async fn stop(
        &self,
        mut instance: Instance<'_>,
        folder: &RunFolder,
        environment: &str,
        (block, attempt): (u32, u32),
    ) -> Result<()> {
        let hands = self.setting.hands;
        let kept = hands.act(|| Ok(folder.raw(&format!("b{block:02}-instance-{environment}"), attempt)?))?;
        instance.keep_evidence(&kept, hands).await?;
        instance.stop().await
    }
}

/// syncfs(2) of the file system that holds this folder.
fn sync_disk(folder: &Path) -> Result<()> {
    let opened = std::fs::File::open(folder).and_then(|file| Ok(rustix::fs::syncfs(file)?));
    opened.with_context(|| format!("syncing the file system of {}", folder.display()))
}

/// What the run itself costs, as far as it went.
struct Cost {
    began_ns: u64,
    /// Seconds until it was stopped, of a run that goes on.
    earlier_s: f64,
    own_cpu_ns: u64,
    measured_ns: u64,
}

impl Cost {
    /// From nothing, or from where a run was when it was stopped.
    fn begin(run: &Run, folder: &RunFolder) -> Result<Cost> {
        let began_ns = clock_ns();
        let Some(earlier) = &run.overhead else {
            return Ok(Cost { began_ns, earlier_s: 0.0, own_cpu_ns: 0, measured_ns: 0 });
        };
        let recorded = store::recorded(folder.path(), run)?;
        let measured_ns: u64 = recorded.iter().filter(|trial| !trial.superseded).map(|trial| trial.elapsed_ns).sum();
        let own_cpu_ns = (earlier.conductor_cpu * measured_ns as f64) as u64;
        Ok(Cost { began_ns, earlier_s: earlier.wall_s, own_cpu_ns, measured_ns })
    }

    fn add(&mut self, own_cpu_ns: u64, measured_ns: u64) {
        self.own_cpu_ns += own_cpu_ns;
        self.measured_ns += measured_ns;
    }

    fn overhead(&self) -> Overhead {
        Overhead {
            wall_s: self.earlier_s + (clock_ns() - self.began_ns) as f64 / 1e9,
            conductor_cpu: self.own_cpu_ns as f64 / self.measured_ns.max(1) as f64,
        }
    }
}

/// CPU time of this process so far.
fn own_cpu_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
