//! Native: the agent as a child process in its own cgroup; for commands also in a mount namespace, for their work folder.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result};
use bench_container::{Bind, Spec};
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
fn agent(setting: &Setting, ground: &Ground<'_>) -> Result<Command> {
    let argv = ["agent", "--scratch"].map(str::to_owned).into_iter().chain([ground.folder.display().to_string()]);
    let (executable, work) = match (&setting.work, &ground.work) {
        (Some(plan), Some(work)) => {
            let seen_at = place_for_executable(ground)?;
            let kept = Bind { source: setting.executable.clone(), target: seen_at.clone(), read_only: true };
            (seen_at, Some(plan.natively(work, vec![kept])))
        }
        _ => (setting.executable.clone(), None),
    };
    let spec = Spec {
        argv: [executable.display().to_string()].into_iter().chain(argv).collect(),
        env: Vec::new(),
        work,
        // The agent ends on the end of its input and takes its job along; a signal when its parent's *thread* ends would
        // be one difference more to the other environments.
        ..Spec::default()
    };
    ground.command(spec)
}

/// A file to bind `bench` to, which may itself lie in the folder that the work folder covers.
fn place_for_executable(ground: &Ground<'_>) -> Result<PathBuf> {
    let path = ground.folder.join("bench");
    std::fs::File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    Ok(path)
}
