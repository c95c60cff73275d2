//! QEMU in the instance's cgroup: started, spoken to, and diagnosed when it does not come up.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use bench_container::Spec;
use bench_vm::{BootError, Config, Disk, Guest, Resident, Sockets};

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
#[derive(Debug, Clone)]
pub struct Machine {
    /// The guest, but for the paths of one instance.
    pub config: Config,
    /// How long it may take to greet.
    pub patience: Duration,
}

/// Where QEMU's arguments are kept, one a line.
fn argv_file(folder: &Path) -> PathBuf {
    folder.join("qemu.argv")
}

impl Machine {
    /// Boot a guest and wait for its agent.
    async fn boot(&self, setting: &Setting, ground: &Ground<'_>) -> Result<Parts> {
        let work = self.config.work.as_ref().zip(ground.work.as_ref());
        let work = work.map(|(disk, work)| Disk { path: work.source.clone(), ..disk.clone() });
        let config = Config { runtime_dir: ground.folder.clone(), work, ..self.config.clone() };
        let argv = bench_vm::argv(&config);
        let file = argv_file(&ground.folder);
        std::fs::write(&file, argv.join("\n") + "\n").with_context(|| format!("writing {}", file.display()))?;
        let spec = Spec { argv, parent_death_signal: true, ..Spec::default() };
        let mut command = ground.command(spec)?;
        let Sockets { log, console, .. } = Sockets::in_folder(&ground.folder);
        let stderr = std::fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().context("starting QEMU")?;
        connect(setting, ground, Process::keeping_console(child, &console)?, self.patience).await
    }

    /// Boot a guest, see that its agent greets, and end it.
    pub async fn try_out(&self, setting: &Setting) -> Result<()> {
        let ground = Ground::prepare(&setting.ledger, &setting.next_name(), &limits(setting))?;
        let mut parts = self.boot(setting, &ground).await?;
        drop(ground);
        parts.child.wait().await.context("waiting for QEMU's end").map(drop)
    }
}

impl Start for Machine {
    fn start<'a>(&'a self, setting: &'a Setting, ground: &'a Ground<'_>) -> Doing<'a, Parts> {
        Box::pin(self.boot(setting, ground))
    }

    fn describe(&self, facts: &mut Fingerprint) {
        let image = &self.config.image;
        fingerprint::tool(facts, "vmm", &self.config.qemu);
        facts.insert("guest.kernel.release".into(), image.kernel_release.clone());
        if let Ok(digest) = bench_agent::sha256(&image.kernel) {
            facts.insert("guest.kernel.sha256".into(), digest);
        }
        facts.insert("guest.accelerator".into(), self.config.accelerator.to_string());
    }
}

async fn connect(setting: &Setting, ground: &Ground<'_>, mut child: Process, patience: Duration) -> Result<Parts> {
    let sockets = Sockets::in_folder(&ground.folder);
    let connected = Guest::connect(&sockets, patience, child.wait()).await;
    let (mut guest, stream) = connected.map_err(anyhow::Error::from)?;
    let threads = guest.qmp().vcpu_threads().await.context("asking QEMU for its threads")?;
    pin_vcpus(&threads, &setting.cpus).context("pinning the guest's CPUs")?;
    let (input, output) = tokio::io::split(stream);
    let greeted = tokio::select! {
        greeted = AgentClient::greet(input, output, patience) => greeted,
        status = child.wait() => return Err(BootError::diagnose(&sockets, status.ok(), patience).into()),
    };
    match greeted {
        Ok((agent, greeting)) => {
            let running = Box::new(Booted { guest, folder: ground.folder.clone() });
            Ok(Parts { agent, greeting, child, running })
        }
        Err(_) => {
            // A QEMU that gives up closes its sockets a moment before it ends.
            let status = tokio::time::timeout(bench_vm::LAST_WORDS, child.wait()).await.ok().and_then(Result::ok);
            Err(BootError::diagnose(&sockets, status, patience).into())
        }
    }
}

/// A guest that runs.
struct Booted {
    guest: Guest,
    /// Where its sockets and logs are.
    folder: PathBuf,
}

impl Running for Booted {
    fn pause(&mut self) -> Doing<'_, ()> {
        Box::pin(async move { self.guest.pause().await.context("stopping the guest while it waits") })
    }

    fn resume(&mut self) -> Doing<'_, ()> {
        Box::pin(async move { self.guest.resume().await.context("continuing the guest") })
    }

    fn look<'a>(&'a mut self, agent: &'a mut AgentClient, setting: &'a Setting) -> Doing<'a, Option<GuestLook>> {
        Box::pin(async move { look::take(&mut self.guest, agent, setting).await.map(Some) })
    }

    /// Guest RAM apart from the rest.
    fn resident(&self, pid: u32) -> Option<Resident> {
        bench_vm::resident(pid).ok()
    }

    /// QEMU's arguments and words, its block nodes, the guest's console.
    fn logs(&mut self) -> Doing<'_, Logs> {
        Box::pin(async move {
            let mut logs = Logs::default();
            if let Ok(nodes) = self.guest.block_nodes().await {
                logs.texts.push(("block-nodes.json", serde_json::to_vec_pretty(&nodes)?));
            }
            let sockets = Sockets::in_folder(&self.folder);
            logs.files = vec![sockets.console, sockets.log, argv_file(&self.folder)];
            Ok(logs)
        })
    }

    /// Its machine ended, or its kernel panicked.
    fn diagnose(&self, _error: anyhow::Error, ended: ExitStatus) -> anyhow::Error {
        BootError::diagnose(&Sockets::in_folder(&self.folder), Some(ended), Duration::ZERO).into()
    }
}
