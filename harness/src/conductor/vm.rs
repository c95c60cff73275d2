//! Vm: QEMU in the instance's cgroup, the agent as `/init` of the guest.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use bench_container::Spec;
use bench_vm::{BootError, Config, Guest, Sockets};

use super::agent_client::AgentClient;
use super::instance::{Ground, Parts, Setting};
use super::process::Process;

/// How long a guest may take to greet. Under emulation on a busy machine a boot takes tens of seconds.
pub const BOOT: Duration = Duration::from_secs(120);
/// How long it may take under KVM while it is not known whether KVM boots a guest at all.
pub const PROBE: Duration = Duration::from_secs(20);

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

/// Boot a guest and wait for its agent.
pub async fn start(setting: &Setting, ground: &Ground<'_>, machine: &Machine) -> Result<Parts> {
    let config = Config { runtime_dir: ground.folder.clone(), ..machine.config.clone() };
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
    bench_vm::pin_vcpus(&threads, &setting.cpus).context("pinning the guest's CPUs")?;
    let (input, output) = tokio::io::split(stream);
    let (greeted, status) = tokio::select! {
        greeted = AgentClient::greet(input, output, patience) => (greeted, None),
        status = child.wait() => (Err(anyhow::anyhow!("QEMU ended while the guest booted")), status.ok()),
    };
    match greeted {
        Ok((agent, greeting)) => Ok(Parts { agent, greeting, child, guest: Some(guest) }),
        Err(_) => Err(BootError::diagnose(&sockets, status, patience).into()),
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
