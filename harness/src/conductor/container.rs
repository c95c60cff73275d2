//! Container: the agent behind Docker's six namespaces, the tools tree as its read-only root.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use bench_container::{Bind, IoLimit, Namespace, Root, Spec};
use bench_workloads::EnvironmentDefinition;

use super::instance::{Ground, Parts, Setting, greet_child};
use crate::host::disk::Disk;

/// Where `bench` is inside.
const BENCH: &str = "/bench";
/// Where the target is inside.
pub const TARGET: &str = "/target";

/// Options of the kind.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// A user namespace as well.
    pub user: bool,
    /// Throttle of the target's disk.
    pub io: Option<IoLimit>,
}

impl Options {
    /// From the definition's options.
    pub fn of(definition: &EnvironmentDefinition, setting: &Setting) -> Result<Options> {
        let count = |name: &str| definition.options.get(name).and_then(|value| value.parse().ok());
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
        Ok(Options { user: definition.options.get("userns").is_some_and(|value| value == "yes"), io })
    }

    /// The throttle in words, for the sameness table.
    pub fn throttle(self) -> String {
        let said = |rate: Option<u64>, what| rate.map(|rate| format!(", at most {rate} {what} a second"));
        let Some(io) = self.io else { return String::new() };
        [said(io.read_iops, "reads"), said(io.write_iops, "writes")].into_iter().flatten().collect()
    }

    /// The namespaces of its own that the container has.
    pub fn namespaces(self) -> Vec<Namespace> {
        let mut all = Namespace::DOCKER.to_vec();
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
        let source = PathBuf::from(&target.target.path);
        binds.push(Bind { source, target: PathBuf::from(TARGET), read_only: false });
    }
    let spec = Spec {
        argv: [BENCH, "agent", "--scratch", "/tmp"].map(str::to_owned).to_vec(),
        namespaces: options.namespaces().into_iter().collect(),
        root: Some(Root { tree: setting.tree.path.clone(), binds }),
        hostname: Some("container".to_owned()),
        parent_death_signal: true,
        ..Spec::default()
    };
    let mut command = ground.command(spec)?;
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let (agent, greeting, child) = greet_child(child.context("starting the container")?).await?;
    Ok(Parts { agent, greeting, child, guest: None })
}
