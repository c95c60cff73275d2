//! A running QEMU, by its control socket.

use std::path::Path;

use serde_json::{Value, json};

use super::TARGET_NODE;
use super::qmp::{Qmp, QmpError};
use super::resident::resident;
use crate::boot::reach;
use crate::vmm::{DiskIo, Doing, Machine, Resident, VcpuThreads, VmmError};

impl From<QmpError> for VmmError {
    fn from(error: QmpError) -> VmmError {
        VmmError::from(Box::<dyn std::error::Error + Send + Sync>::from(error))
    }
}

/// The machine that a QEMU is, with its control.
pub(super) struct Controlled {
    qmp: Qmp,
    pid: u32,
    paused: bool,
}

impl Controlled {
    /// Connect as soon as its socket is there.
    pub(super) async fn connect(socket: &Path, pid: u32) -> Result<Controlled, QmpError> {
        let qmp = Qmp::connect(reach(socket).await).await?;
        Ok(Controlled { qmp, pid, paused: false })
    }

    /// Its block nodes: cache and aio that are in force.
    async fn block_nodes(&mut self) -> Result<Value, QmpError> {
        self.qmp.execute("query-named-block-nodes", json!({"flat": true})).await
    }

    async fn set_paused(&mut self, paused: bool) -> Result<(), VmmError> {
        if self.paused != paused {
            self.qmp.execute(if paused { "stop" } else { "cont" }, json!({})).await?;
            self.paused = paused;
        }
        Ok(())
    }
}

impl Machine for Controlled {
    fn pause(&mut self) -> Doing<'_, ()> {
        Box::pin(self.set_paused(true))
    }

    fn resume(&mut self) -> Doing<'_, ()> {
        Box::pin(self.set_paused(false))
    }

    fn vcpu_threads(&mut self) -> Doing<'_, VcpuThreads> {
        Box::pin(async { Ok(self.qmp.vcpu_threads().await?) })
    }

    fn disk_io(&mut self) -> Doing<'_, Option<DiskIo>> {
        Box::pin(async { Ok(moved(&self.qmp.execute("query-blockstats", json!({})).await?)) })
    }

    fn cache_bypassed(&mut self) -> Doing<'_, Option<bool>> {
        Box::pin(async { Ok(is_direct(&self.block_nodes().await?)) })
    }

    /// Its block nodes.
    fn logs(&mut self) -> Doing<'_, Vec<(&'static str, Vec<u8>)>> {
        Box::pin(async {
            let nodes = self.block_nodes().await?;
            let text = serde_json::to_vec_pretty(&nodes)
                .map_err(|_| QmpError::Form { command: "query-named-block-nodes".into() })?;
            Ok(vec![("block-nodes.json", text)])
        })
    }

    fn resident(&self) -> Option<Resident> {
        resident(self.pid).ok()
    }
}

/// The target's node in a list of nodes.
fn target(nodes: &Value) -> Option<&Value> {
    nodes.as_array()?.iter().find(|node| node["node-name"] == TARGET_NODE)
}

/// The bytes of the target's node in the answer to `query-blockstats`.
fn moved(stats: &Value) -> Option<DiskIo> {
    let stats = &target(stats)?["stats"];
    Some(DiskIo { read_bytes: stats["rd_bytes"].as_u64()?, written_bytes: stats["wr_bytes"].as_u64()? })
}

/// Whether the target's node goes past the host's page cache, in the answer to `query-named-block-nodes`.
fn is_direct(nodes: &Value) -> Option<bool> {
    target(nodes)?["cache"]["direct"].as_bool()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_node_is_found_among_qemus() {
        let stats = json!([{"node-name": "root", "stats": {"rd_bytes": 1, "wr_bytes": 2}},
            {"node-name": "target", "stats": {"rd_bytes": 4096, "wr_bytes": 512}}]);
        assert_eq!(moved(&stats), Some(DiskIo { read_bytes: 4096, written_bytes: 512 }));
        assert_eq!(moved(&json!([])), None);
        let nodes = json!([{"node-name": "target", "cache": {"direct": false}}]);
        assert_eq!(is_direct(&nodes), Some(false));
    }
}
