//! What containers have in common, whoever makes them: the agent in the tools tree, what it sees of the host, and words for what holds it.

use std::path::PathBuf;

use anyhow::Result;
use bench_container::{Bind, Namespace, Work};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::BENCH;
use super::options::Net;
use crate::conductor::instance::{Ground, Setting};
use crate::netlab::Route;

/// Where the target is inside.
pub const TARGET: &str = "/target";
/// The host name inside.
pub const HOSTNAME: &str = "container";

/// What the option `net` takes.
pub const ROUTES: &[&str] = &["none", "host", "bridge", "routed", "hook", "nat"];

/// The option `net`: how it reaches the peer.
pub fn net<'de, D: Deserializer<'de>>(written: D) -> Result<Option<Net>, D::Error> {
    Net::one_of(written, ROUTES)
}

/// The option `seccomp`: filters of system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Docker's.
    Docker,
    /// None.
    Unconfined,
}

/// The option `root`: what `/` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RootKind {
    /// A read-only mount of the tools tree.
    Bind,
    /// An overlay above it, writable, with its upper layer in memory.
    Overlay,
}

/// What is between the agent and the host.
#[derive(Debug, Clone, Copy)]
pub struct Walls {
    /// The network namespace of the host, or of the host in a lab, instead of one of its own.
    pub host_network: bool,
    /// Docker's filter of system calls.
    pub seccomp: bool,
    /// An overlay as its root.
    pub overlay: bool,
}

impl Walls {
    /// From the options, and how it reaches a peer.
    pub fn of(seccomp: Option<Seccomp>, route: Option<Route>) -> Walls {
        let seccomp = seccomp == Some(Seccomp::Docker);
        Walls { host_network: route == Some(Route::Direct), seccomp, overlay: false }
    }

    /// The namespaces of its own, as Docker makes them.
    pub fn namespaces(self) -> Vec<Namespace> {
        let mut all = Namespace::DOCKER.to_vec();
        all.retain(|kind| *kind != Namespace::Net || !self.host_network);
        all
    }

    /// For the sameness table, with these namespaces.
    pub fn isolation(self, namespaces: &[Namespace]) -> String {
        let names: Vec<_> = namespaces.iter().map(ToString::to_string).collect();
        let filter = if self.seccomp {
            format!("Docker's seccomp filter (moby {})", bench_container::SECCOMP_PROFILE)
        } else {
            "no seccomp filter".to_owned()
        };
        let root = if self.overlay { "overlay as its root, its upper layer in memory" } else { "read-only root" };
        format!(
            "cgroup; {} namespaces; {root}; Docker's default capabilities but MKNOD, NET_RAW and AUDIT_WRITE; no_new_privs; {filter}",
            names.join(", ")
        )
    }
}

/// The agent as the first process in a root that is the tools tree.
pub struct Inside {
    /// Its program and arguments.
    pub argv: Vec<String>,
    /// What it sees of the host.
    pub binds: Vec<Bind>,
    /// What is to be mounted on the host, for the starter of the container alone, before it is bound.
    pub work: Option<Work>,
}

impl Inside {
    /// Of an instance on this ground.
    pub fn of(setting: &Setting, ground: &Ground<'_>) -> Result<Inside> {
        let mut binds =
            vec![Bind { source: setting.executable.clone(), target: PathBuf::from(BENCH), read_only: true }];
        if let Some(target) = &setting.target {
            let source = target.path().to_path_buf();
            binds.push(Bind { source, target: PathBuf::from(TARGET), read_only: false });
        }
        let mut scratch = "/tmp";
        let mut work = None;
        if let (Some(plan), Some(made)) = (&setting.work, &ground.work) {
            let (mounted, of_work) = plan.in_container(made, &ground.folder.join("work"))?;
            binds.extend(of_work);
            (scratch, work) = (bench_vm::MEMORY_IN_GUEST, Some(mounted));
        }
        let argv = [BENCH, "agent", "--scratch", scratch].map(str::to_owned).to_vec();
        Ok(Inside { argv, binds, work })
    }
}
