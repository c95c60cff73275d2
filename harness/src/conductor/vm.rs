//! Vm: QEMU in the instance's cgroup, the agent as `/init` of the guest.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use bench_container::Spec;
use bench_vm::{BootError, Config, Disk, Guest, Sockets};
use bench_workloads::EnvironmentDefinition;

use super::agent_client::AgentClient;
use super::instance::{Ground, Parts, Setting};
use super::process::Process;
use crate::host::cpus::pin_vcpus;
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
    /// As the option `boot-timeout=` says, in seconds; else as long as this machine needs.
    pub fn of(asked: Option<&str>) -> Patience {
        match asked.and_then(|text| bench_workloads::parse_duration(text).ok()) {
            Some(seconds) => {
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
pub fn argv_file(folder: &Path) -> PathBuf {
    folder.join("qemu.argv")
}

/// How the guest of a definition does I/O on its disks, whichever they are.
pub fn disk(definition: &EnvironmentDefinition, qemu: &Path, is_used: bool) -> Disk {
    let option = |name: &str| definition.options.get(name).cloned();
    let detect = || if is_used { bench_vm::detect_aio(qemu) } else { "native" };
    Disk {
        path: PathBuf::new(),
        is_device: false,
        size_bytes: 0,
        cache: option("cache").unwrap_or_else(|| "none".to_owned()),
        aio: option("aio").unwrap_or_else(|| detect().to_owned()),
        iothread: option("iothread").as_deref() != Some("no"),
    }
}

/// Boot a guest and wait for its agent.
pub async fn start(setting: &Setting, ground: &Ground<'_>, machine: &Machine) -> Result<Parts> {
    let work = machine.config.work.as_ref().zip(ground.work.as_ref());
    let work = work.map(|(disk, work)| Disk { path: work.source.clone(), ..disk.clone() });
    let config = Config { runtime_dir: ground.folder.clone(), work, ..machine.config.clone() };
    let argv = bench_vm::argv(&config);
    let file = argv_file(&ground.folder);
    std::fs::write(&file, argv.join("\n") + "\n").with_context(|| format!("writing {}", file.display()))?;
    let spec = Spec { argv, parent_death_signal: true, ..Spec::default() };
    let mut command = ground.command(spec)?;
    let Sockets { log, console, .. } = Sockets::in_folder(&ground.folder);
    let stderr = std::fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr).spawn().context("starting QEMU")?;
    connect(setting, ground, Process::keeping_console(child, &console)?, machine.patience).await
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
        Ok((agent, greeting)) => Ok(Parts { agent, greeting, child, guest: Some(guest) }),
        Err(_) => {
            // A QEMU that gives up closes its sockets a moment before it ends.
            let status = tokio::time::timeout(bench_vm::LAST_WORDS, child.wait()).await.ok().and_then(Result::ok);
            Err(BootError::diagnose(&sockets, status, patience).into())
        }
    }
}

/// Boot a guest, see that its agent greets, and end it.
pub async fn boot(setting: &Setting, machine: &Machine) -> Result<()> {
    let limits = bench_container::Limits { cpus: Some(crate::host::cpus::format(&setting.cpus)), ..Default::default() };
    let ground = Ground::prepare(&setting.ledger, &setting.next_name(), &limits)?;
    let parts = start(setting, &ground, machine).await?;
    drop(ground);
    end(parts).await
}

async fn end(mut parts: Parts) -> Result<()> {
    parts.child.wait().await.context("waiting for QEMU's end").map(drop)
}
