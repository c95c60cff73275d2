//! Vm: QEMU in the instance's cgroup, the agent as `/init` of the guest.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use bench_container::Spec;
use bench_vm::{BootError, Config, Guest};
use tokio::process::Child;

use super::agent_client::AgentClient;
use super::instance::{Ground, Parts, Setting};

/// How long a guest may take to greet. Under emulation on a busy machine a boot takes tens of seconds.
const BOOT: Duration = Duration::from_secs(120);

/// What is the same for every start of this environment's guest.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The guest, but for the paths of one instance.
    pub config: Config,
}

/// Where the guest's console is kept.
pub fn console(folder: &Path) -> PathBuf {
    bench_vm::Sockets::in_folder(folder).console
}

/// Boot a guest and wait for its agent.
pub async fn start(setting: &Setting, ground: &Ground<'_>, machine: &Machine) -> Result<Parts> {
    let config = Config { runtime_dir: ground.folder.clone(), ..machine.config.clone() };
    let spec = Spec { argv: bench_vm::argv(&config), parent_death_signal: true, ..Spec::default() };
    let mut command = ground.command(spec)?;
    let log = ground.folder.join("qemu.log");
    let stderr = std::fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr).spawn().context("starting QEMU")?;
    connect(setting, ground, child).await
}

async fn connect(setting: &Setting, ground: &Ground<'_>, mut child: Child) -> Result<Parts> {
    let sockets = bench_vm::Sockets::in_folder(&ground.folder);
    let connected = Guest::connect(&sockets, BOOT, child.wait()).await;
    let (mut guest, stream) = connected.map_err(anyhow::Error::from)?;
    let threads = guest.vcpu_threads().await.context("asking QEMU for its threads")?;
    bench_vm::pin_vcpus(&threads, &setting.cpus).context("pinning the guest's CPUs")?;
    let (input, output) = tokio::io::split(stream);
    let greeted = tokio::select! {
        greeted = AgentClient::greet(input, output, BOOT) => greeted,
        _ = child.wait() => Err(anyhow::anyhow!("QEMU ended while the guest booted")),
    };
    match greeted {
        Ok((agent, greeting)) => Ok(Parts { agent, greeting, child, guest: Some(guest) }),
        Err(e) => {
            let told: BootError = bench_vm::diagnose_boot(&sockets.console, BOOT);
            Err(e.context(told))
        }
    }
}
