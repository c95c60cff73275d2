//! A container of a runtime: created, looked at, started, and ended.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bench_agent::Greeting;
use bench_container::Namespace;
use tokio::time::timeout;

use super::config::Wanted;
use super::runtime::{Call, Runtime, with_root};
use crate::conductor::agent_client::AgentClient;
use crate::conductor::instance::{Ground, Pipes, Setting};
use crate::conductor::process::{Adopted, Process, Subreaper};
use crate::environments::contained::{Inside, Walls};
use crate::environments::{Doing, Logs, Parts, Running, Start};
use crate::host::cpus;
use crate::host::fingerprint::Fingerprint;
use crate::output;

/// The container's group below that of the instance.
const GROUP: &str = "container";
/// How long a killed container may take to end.
const DIE: Duration = Duration::from_secs(10);

/// Starts containers of a runtime.
pub struct Containers {
    /// The runtime.
    pub runtime: Arc<Runtime>,
    /// Namespaces of their own.
    pub namespaces: Vec<Namespace>,
    /// What else is between them and the host.
    pub walls: Walls,
}

impl Start for Containers {
    fn start<'a>(&'a self, setting: &'a Setting, ground: &'a Ground<'_>) -> Doing<'a, Parts> {
        Box::pin(async move {
            let inside = Inside::of(setting, ground)?;
            let container = self.write_down(&inside, setting, ground)?;
            let (mut process, pipes) = container.create(inside.work, ground).await?;
            match container.begin(&process, pipes, ground).await {
                Ok((agent, greeting)) => {
                    Ok(Parts { agent, greeting, child: process.into(), running: Box::new(container) })
                }
                Err(e) => {
                    drop(timeout(DIE, process.kill()).await);
                    Err(e)
                }
            }
        })
    }

    fn describe(&self, facts: &mut Fingerprint) {
        let tool = format!("tool.oci-{}", self.runtime.name());
        facts.insert(format!("{tool}.version"), self.runtime.version.clone());
        if let Ok(digest) = bench_agent::sha256(&self.runtime.program) {
            facts.insert(format!("{tool}.sha256"), digest);
        }
    }
}

impl Containers {
    /// The bundle of a container, in the instance's folder.
    fn write_down(&self, inside: &Inside, setting: &Setting, ground: &Ground<'_>) -> Result<Container> {
        let below = ground.cgroup.below(GROUP)?;
        let wanted = Wanted {
            argv: inside.argv.clone(),
            tree: &setting.tree.path,
            binds: &inside.binds,
            namespaces: &self.namespaces,
            network: ground.network.as_deref(),
            cgroups_path: &below.cgroups_path,
            cpus: cpus::format(&setting.cpus),
            memory_bytes: setting.memory_bytes,
            seccomp: self.walls.seccomp,
        };
        let config = serde_json::to_vec_pretty(&wanted.config()?)?;
        let container =
            Container { runtime: self.runtime.clone(), groups: below.runtime, folder: ground.folder.clone() };
        let path = container.config();
        std::fs::write(&path, config).with_context(|| format!("writing {}", path.display()))?;
        Ok(container)
    }
}

/// A container of a runtime.
struct Container {
    runtime: Arc<Runtime>,
    /// The groups of the runtime itself.
    groups: Vec<PathBuf>,
    /// The instance's folder, which is the bundle, and holds the runtime's state: both go with it, and its name is the container's.
    folder: PathBuf,
}

impl Container {
    fn config(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    fn in_folder(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    fn id(&self) -> String {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn call(&self) -> Call<'_> {
        Call { program: &self.runtime.program, groups: &self.groups }
    }

    /// Call the runtime with its state and a command for this container.
    async fn run(&self, ground: &Ground<'_>, command: &[&str]) -> Result<()> {
        let state = self.in_folder("state");
        self.call().run(ground, &with_root(&state, command)).await.map(drop)
    }

    /// Have it created: its process, which waits to be started and which the runtime leaves to us by ending, and the streams that it has got.
    async fn create(&self, work: Option<bench_container::Work>, ground: &Ground<'_>) -> Result<(Adopted, Pipes)> {
        let [state, pid_file, bundle] = ["state", "pid", ""].map(|name| self.in_folder(name));
        let id = self.id();
        let command = ["create", "--bundle", &bundle, "--pid-file", &pid_file, &id];
        let reaper = Subreaper::begin()?;
        let pipes = self.call().create(ground, &with_root(&state, &command), work).await?;
        drop(reaper);
        let shown = self.runtime.program.display();
        let text = std::fs::read_to_string(&pid_file);
        let pid = text.ok().and_then(|text| text.trim().parse().ok());
        let pid = pid.with_context(|| format!("`{shown} create` left no process id in {pid_file}"))?;
        let process = Adopted::take(pid);
        let process =
            process.with_context(|| format!("`{shown} create` left process {pid}, which is no child of ours"))?;
        Ok((process, pipes))
    }

    /// See that it is where it should be and limited as it should be, have it started, and wait for the agent's greeting.
    async fn begin(&self, process: &Adopted, pipes: Pipes, ground: &Ground<'_>) -> Result<(AgentClient, Greeting)> {
        let shown = self.runtime.program.display();
        let pid = process.id().with_context(|| format!("the process that `{shown} create` left has ended"))?;
        let wrong = ground.cgroup.check_below(GROUP, pid).context("looking at the container's cgroup")?;
        ensure!(wrong.is_empty(), "{shown} made a container that is not limited as asked: {}", wrong.join("; "));
        self.run(ground, &["start", &self.id()]).await?;
        pipes.greet().await
    }

    /// Kill it and have the runtime forget it.
    async fn delete(&self, ground: &Ground<'_>, child: &mut Process) -> Result<()> {
        let id = self.id();
        // One that has ended already cannot be killed; that it has ended is all that matters.
        let killed = self.run(ground, &["kill", &id, "KILL"]).await;
        // A runtime takes a process for alive as long as nobody has waited for it.
        match timeout(DIE, child.wait()).await {
            Ok(ended) => drop(ended.context("waiting for the end of the container")?),
            Err(_) => return killed.and(Err(anyhow!("the container did not end within {} s", DIE.as_secs()))),
        }
        self.run(ground, &["delete", "--force", &id]).await
    }
}

impl Running for Container {
    /// What the runtime leaves is killed and removed with the ground all the same.
    fn end<'a>(&'a mut self, ground: &'a Ground<'_>, child: &'a mut Process) -> Doing<'a, ()> {
        Box::pin(async move {
            if let Err(e) = self.delete(ground, child).await {
                output::tell(&format!("bench: {e:#}; bench removes the container itself"));
            }
            Ok(())
        })
    }

    /// What the runtime was asked for.
    fn logs(&mut self) -> Doing<'_, Logs> {
        Box::pin(async move { Ok(Logs { files: vec![self.config()], ..Logs::default() }) })
    }
}
