//! Native: the agent as a child process in its own cgroup, and nothing else.

use std::process::Stdio;

use anyhow::{Context, Result};
use bench_container::Spec;
use tokio::process::Command;

use super::instance::{Ground, Parts, Setting, greet_child};

/// Start the agent.
pub async fn start(setting: &Setting, ground: &Ground<'_>) -> Result<Parts> {
    let mut command = agent(setting, ground)?;
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let (agent, greeting, child) = greet_child(child.context("starting the agent")?).await?;
    Ok(Parts { agent, greeting, child: child.into(), guest: None })
}

/// The command of an agent that is a process of the host.
pub fn agent(setting: &Setting, ground: &Ground<'_>) -> Result<Command> {
    let argv = ["agent", "--scratch"].map(str::to_owned).into_iter().chain([ground.folder.display().to_string()]);
    let spec = Spec {
        argv: [setting.executable.display().to_string()].into_iter().chain(argv).collect(),
        env: Vec::new(),
        // The agent ends on the end of its input and takes its job along; a signal when its parent's *thread* ends would
        // be one difference more to the other environments.
        ..Spec::default()
    };
    ground.command(spec)
}
