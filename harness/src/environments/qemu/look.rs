//! A look at a guest: by QEMU's control, and by its agent.

use anyhow::Result;
use bench_agent::CLOCK_SOURCE;
use bench_vm::Guest;
use serde_json::Value;

use crate::conductor::agent_client::AgentClient;
use crate::conductor::evidence::GuestLook;
use crate::conductor::instance::Setting;
use crate::host::cpus::unpinned_vcpus;
use crate::host::disk::Moved;

/// Take one.
pub async fn take(guest: &mut Guest, agent: &mut AgentClient, setting: &Setting) -> Result<GuestLook> {
    let (mut vmm, mut direct) = (None, None);
    if setting.target.is_some() {
        vmm = moved_by_qemu(&guest.block_stats().await?);
        direct = opened_directly(&guest.block_nodes().await?);
    }
    let unpinned = unpinned_vcpus(&guest.qmp().vcpu_threads().await?, &setting.cpus);
    let paths = ["/proc/stat", "/proc/vmstat", bench_vm::TARGET_STAT, CLOCK_SOURCE, "/proc/net/dev", "/proc/net/snmp"];
    let texts = agent.texts(paths.map(str::to_owned).to_vec()).await?;
    let text = |at: usize| texts.get(at).cloned().flatten().unwrap_or_default();
    let mut look = GuestLook { vmm, direct, unpinned, ..GuestLook::parse(std::array::from_fn(text)) };
    look.disk = look.disk.filter(|_| setting.target.is_some());
    Ok(look)
}

/// The bytes of the target's node in the answer to `query-blockstats`.
fn moved_by_qemu(stats: &Value) -> Option<Moved> {
    let node = stats.as_array()?.iter().find(|node| node["node-name"] == bench_vm::TARGET_NODE)?;
    let bytes = |name: &str| node["stats"][name].as_u64();
    Some(Moved { read_bytes: bytes("rd_bytes")?, written_bytes: bytes("wr_bytes")?, requests: None })
}

/// Whether the target's node goes past the host's page cache, in the answer to `query-named-block-nodes`.
fn opened_directly(nodes: &Value) -> Option<bool> {
    let node = nodes.as_array()?.iter().find(|node| node["node-name"] == bench_vm::TARGET_NODE)?;
    node["cache"]["direct"].as_bool()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_targets_node_is_found_among_qemus() {
        let stats = json!([{"node-name": "root", "stats": {"rd_bytes": 1, "wr_bytes": 2}},
            {"node-name": "target", "stats": {"rd_bytes": 4096, "wr_bytes": 512}}]);
        assert_eq!(moved_by_qemu(&stats), Some(Moved { read_bytes: 4096, written_bytes: 512, requests: None }));
        assert_eq!(moved_by_qemu(&json!([])), None);
        let nodes = json!([{"node-name": "target", "cache": {"direct": false}}]);
        assert_eq!(opened_directly(&nodes), Some(false));
    }
}
