//! A VMM in the instance's cgroup: started, controlled, and asked why it did not come up.

use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bench_container::Spec;
use bench_vm::{Disk, Guest, Launch, Resident, Vmm};

use super::look;
use crate::conductor::agent_client::AgentClient;
use crate::conductor::evidence::GuestLook;
use crate::conductor::instance::{Ground, Setting};
use crate::conductor::process::Process;
use crate::environments::options::Seconds;
use crate::environments::{Doing, Logs, Parts, Running, Start, limits};
use crate::host::cpus::pin_vcpus;
use crate::host::fingerprint::{self, Fingerprint};
use crate::host::machine;

/// How long a guest may take to greet. Under emulation on a busy machine a boot takes tens of seconds.
const BOOT: Duration = Duration::from_secs(120);
/// How long it may take under KVM while it is not known whether KVM boots a guest at all.
const PROBE: Duration = Duration::from_secs(20);
/// How much longer on a machine whose own CPU is emulated: a guest took 43 to 71 s there under KVM.
const EMULATED: u32 = 6;

/// How long guests may take to greet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// One that is measured or asked for.
    pub boot: Duration,
    /// One that shows whether KVM boots a guest at all.
    pub probe: Duration,
}

impl Patience {
    /// As the option `boot-timeout=` says; else as long as this machine needs.
    pub fn of(asked: Option<Seconds>) -> Patience {
        match asked {
            Some(Seconds(seconds)) => {
                let asked = Duration::from_secs_f64(seconds);
                Patience { boot: asked, probe: asked }
            }
            None => {
                let factor = if machine::is_emulated() { EMULATED } else { 1 };
                Patience { boot: BOOT * factor, probe: PROBE * factor }
            }
        }
    }
}

/// What is the same for every start of this environment's guest.
pub struct Machine {
    /// Where it gets its machine from.
    pub vmm: Arc<dyn Vmm>,
    /// The guest, but for the paths of one instance.
    pub guest: Guest,
    /// How long it may take to greet.
    pub patience: Duration,
}

impl Machine {
    /// Boot a guest and wait for its agent.
    async fn boot(&self, setting: &Setting, ground: &Ground<'_>) -> Result<Parts> {
        let work = self.guest.work.as_ref().zip(ground.work.as_ref());
        let work = work.map(|(disk, work)| Disk { path: work.source.clone(), ..disk.clone() });
        let launch = self.vmm.launch(&Guest { runtime_dir: ground.folder.clone(), work, ..self.guest.clone() });
        let Launch { argv, arguments, log, console, .. } = &launch;
        std::fs::write(arguments, argv.join("\n") + "\n")
            .with_context(|| format!("writing {}", arguments.display()))?;
        let spec = Spec { argv: argv.clone(), parent_death_signal: true, ..Spec::default() };
        let mut command = ground.command(spec)?;
        let stderr = std::fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn();
        let child = child.with_context(|| format!("starting {}", self.vmm.name()))?;
        let child = Process::keeping_console(child, console)?;
        self.connect(setting, launch, child).await
    }

    async fn connect(&self, setting: &Setting, launch: Launch, mut child: Process) -> Result<Parts> {
        let Machine { vmm, patience, .. } = self;
        let diagnosed = |status| anyhow::Error::from(vmm.diagnose(&launch, status, *patience));
        let pid = child.id().with_context(|| format!("{} has no process id", vmm.name()))?;
        let (mut machine, stream) = bench_vm::connect(&**vmm, &launch, pid, *patience, child.wait()).await?;
        let threads = machine.vcpu_threads().await.context("asking the VMM for its threads")?;
        pin_vcpus(&threads, &setting.cpus).context("pinning the guest's CPUs")?;
        let (input, output) = tokio::io::split(stream);
        let greeted = tokio::select! {
            greeted = AgentClient::greet(input, output, *patience) => greeted,
            status = child.wait() => return Err(diagnosed(status.ok())),
        };
        match greeted {
            Ok((agent, greeting)) => {
                let running = Box::new(Booted { vmm: vmm.clone(), machine, launch });
                Ok(Parts { agent, greeting, child, running })
            }
            Err(_) => {
                // A VMM that gives up closes its sockets a moment before it ends.
                let status = tokio::time::timeout(bench_vm::LAST_WORDS, child.wait()).await.ok().and_then(Result::ok);
                Err(diagnosed(status))
            }
        }
    }

    /// Boot a guest, see that its agent greets, and end it.
    pub async fn try_out(&self, setting: &Setting) -> Result<()> {
        let ground = Ground::prepare(&setting.ledger, &setting.next_name(), &limits(setting))?;
        let mut parts = self.boot(setting, &ground).await?;
        drop(ground);
        parts.child.wait().await.context("waiting for the end of a guest's machine").map(drop)
    }
}

impl Start for Machine {
    fn start<'a>(&'a self, setting: &'a Setting, ground: &'a Ground<'_>) -> Doing<'a, Parts> {
        Box::pin(self.boot(setting, ground))
    }

    fn describe(&self, facts: &mut Fingerprint) {
        let image = &self.guest.image;
        fingerprint::tool(facts, "vmm", self.vmm.program());
        facts.insert("guest.kernel.release".into(), image.kernel_release.clone());
        if let Ok(digest) = bench_agent::sha256(&image.kernel) {
            facts.insert("guest.kernel.sha256".into(), digest);
        }
        facts.insert("guest.accelerator".into(), self.guest.accelerator.to_string());
        facts.insert("guest.machine".into(), self.vmm.machine().to_owned());
    }
}

/// A guest that runs.
struct Booted {
    vmm: Arc<dyn Vmm>,
    machine: Box<dyn bench_vm::Machine>,
    launch: Launch,
}

impl Running for Booted {
    fn pause(&mut self) -> Doing<'_, ()> {
        Box::pin(async move { self.machine.pause().await.context("stopping the guest while it waits") })
    }

    fn resume(&mut self) -> Doing<'_, ()> {
        Box::pin(async move { self.machine.resume().await.context("continuing the guest") })
    }

    fn look<'a>(&'a mut self, agent: &'a mut AgentClient, setting: &'a Setting) -> Doing<'a, Option<GuestLook>> {
        Box::pin(async move { look::take(&mut *self.machine, agent, setting).await.map(Some) })
    }

    /// Guest RAM apart from the rest.
    fn resident(&self, _pid: u32) -> Option<Resident> {
        self.machine.resident()
    }

    /// Its machine's arguments and words, what that tells of itself, and the guest's console.
    fn logs(&mut self) -> Doing<'_, Logs> {
        Box::pin(async move {
            // One that has ended tells nothing any more.
            let texts = self.machine.logs().await.unwrap_or_default();
            Ok(Logs { texts, files: self.launch.logs() })
        })
    }

    /// Its machine ended, or its kernel panicked.
    fn diagnose(&self, _error: anyhow::Error, ended: ExitStatus) -> anyhow::Error {
        self.vmm.diagnose(&self.launch, Some(ended), Duration::ZERO).into()
    }
}
