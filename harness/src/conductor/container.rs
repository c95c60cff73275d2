//! Container: the agent behind Docker's six namespaces, the tools tree as its read-only root.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use bench_container::{Bind, IoLimit, Namespace, Root, Spec, UserMap};
use bench_results::quantity::parse_count;
use bench_workloads::EnvironmentDefinition;

use super::instance::{Ground, Parts, Setting, greet_child};
use crate::host::disk::Disk;
use crate::netlab::Route;

/// Where `bench` is inside.
pub const BENCH: &str = "/bench";
/// Where the target is inside.
pub const TARGET: &str = "/target";

/// Ids of a user namespace here: the host's, so that the target is its root's as it is that of every other environment.
const HOST_IDS: UserMap = UserMap { first: 0, count: 65_536 };

/// Options of the kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// A user namespace as well.
    pub user: bool,
    /// The host's network namespace instead of one of its own.
    pub host_network: bool,
    /// Docker's filter of system calls.
    pub seccomp: bool,
    /// Throttle of the target's disk.
    pub io: Option<IoLimit>,
}

impl Options {
    /// From the definition's options, and how it reaches a peer.
    pub fn of(definition: &EnvironmentDefinition, route: Option<Route>, setting: &Setting) -> Result<Options> {
        let count = |name: &str| definition.options.get(name).and_then(|value| parse_count(value, u64::MAX).ok());
        let (read_iops, write_iops) = (count("read_iops"), count("write_iops"));
        let io = match read_iops.or(write_iops) {
            None => None,
            Some(_) => {
                let disk = setting.target.as_ref().and_then(|target| target.disk.as_ref());
                let (major, minor) = disk
                    .and_then(Disk::number)
                    .context("read_iops and write_iops throttle the disk beneath the target, and there is none that can be named")?;
                Some(IoLimit { major, minor, read_iops, write_iops, ..IoLimit::default() })
            }
        };
        let user = definition.options.get("userns").is_some_and(|value| value == "yes");
        let seccomp = definition.options.get("seccomp").is_some_and(|value| value == "docker");
        Ok(Options { user, host_network: route == Some(Route::Direct), seccomp, io })
    }

    /// The throttle in words, for the sameness table.
    pub fn throttle(self) -> String {
        let said = |rate: Option<u64>, what| rate.map(|rate| format!(", at most {rate} {what} a second"));
        let Some(io) = self.io else { return String::new() };
        [said(io.read_iops, "reads"), said(io.write_iops, "writes")].into_iter().flatten().collect()
    }

    /// What holds it, for the sameness table.
    pub fn isolation(self) -> String {
        let names: Vec<_> = self.namespaces().iter().map(ToString::to_string).collect();
        let filter = if self.seccomp {
            format!("Docker's seccomp filter (moby {})", bench_container::SECCOMP_PROFILE)
        } else {
            "no seccomp filter".to_owned()
        };
        format!(
            "cgroup; {} namespaces; read-only root; Docker's default capabilities but MKNOD, NET_RAW and AUDIT_WRITE; no_new_privs; {filter}",
            names.join(", ")
        )
    }

    /// The namespaces of its own that the container has.
    pub fn namespaces(self) -> Vec<Namespace> {
        let mut all = Namespace::DOCKER.to_vec();
        all.retain(|kind| *kind != Namespace::Net || !self.host_network);
        if self.user {
            all.push(Namespace::User);
        }
        all
    }
}

/// Start the agent as the container's process 1.
pub async fn start(setting: &Setting, ground: &Ground<'_>, options: &Options) -> Result<Parts> {
    let mut binds = vec![Bind { source: setting.executable.clone(), target: PathBuf::from(BENCH), read_only: true }];
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
    let is_alone = ground.network.is_none();
    let spec = Spec {
        argv: [BENCH, "agent", "--scratch", scratch].map(str::to_owned).to_vec(),
        // A namespace of the lab is entered, not made.
        namespaces: options.namespaces().into_iter().filter(|kind| *kind != Namespace::Net || is_alone).collect(),
        root: Some(Root { tree: setting.tree.path.clone(), binds }),
        work,
        seccomp: options.seccomp,
        hostname: Some("container".to_owned()),
        user_map: options.user.then_some(HOST_IDS),
        parent_death_signal: true,
        ..Spec::default()
    };
    let mut command = ground.command(spec)?;
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let (agent, greeting, child) = greet_child(child.context("starting the container")?).await?;
    Ok(Parts { agent, greeting, child: child.into(), guest: None })
}
