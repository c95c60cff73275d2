//! A look at a guest: by its machine, and by its agent.

use anyhow::Result;
use bench_agent::CLOCK_SOURCE;
use bench_vm::Machine;

use crate::conductor::agent_client::AgentClient;
use crate::conductor::evidence::GuestLook;
use crate::conductor::instance::Setting;
use crate::host::cpus::unpinned_vcpus;
use crate::host::disk::Moved;

/// Take one.
pub async fn take(machine: &mut dyn Machine, agent: &mut AgentClient, setting: &Setting) -> Result<GuestLook> {
    let (mut vmm, mut direct) = (None, None);
    if setting.target.is_some() {
        let io = machine.disk_io().await?;
        vmm = io.map(|io| Moved { read_bytes: io.read_bytes, written_bytes: io.written_bytes, requests: None });
        direct = machine.cache_bypassed().await?;
    }
    let unpinned = unpinned_vcpus(&machine.vcpu_threads().await?, &setting.cpus);
    let paths = ["/proc/stat", "/proc/vmstat", bench_vm::TARGET_STAT, CLOCK_SOURCE, "/proc/net/dev", "/proc/net/snmp"];
    let texts = agent.texts(paths.map(str::to_owned).to_vec()).await?;
    let text = |at: usize| texts.get(at).cloned().flatten().unwrap_or_default();
    let mut look = GuestLook { vmm, direct, unpinned, ..GuestLook::parse(std::array::from_fn(text)) };
    look.disk = look.disk.filter(|_| setting.target.is_some());
    Ok(look)
}
