//! The other machine of a lab: an agent of its own in the peer's namespace, which executes the servers of trials.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bench_agent::{Job, JobOutput, Reply, Request};
use bench_container::{Bind, Cgroup, Limits};
use bench_workloads::Server;
use tokio::process::Child;

use super::agent_client::AgentClient;
use super::instance::{Ground, Setting, greet_child};
use crate::environments::BENCH;
use crate::host::cpus;
use crate::netlab::{self, Lab};

/// How long a server may take to listen.
const LISTEN: Duration = Duration::from_secs(10);
/// How long it may take to end by itself when its client has ended.
const END: Duration = Duration::from_secs(2);
/// How long it may take to die.
const DIE: Duration = Duration::from_secs(10);
/// Between two looks whether a server listens.
const LOOK: Duration = Duration::from_millis(2);

/// The peer's agent.
pub struct Peer<'a> {
    agent: AgentClient,
    child: Child,
    /// True while a server runs.
    serving: bool,
    /// Dropped last: it kills what is left.
    ground: Ground<'a>,
}

impl<'a> Peer<'a> {
    /// Start the agent in the peer's namespace, on the peer's CPUs.
    pub async fn start(setting: &'a Setting, lab: &Lab) -> Result<Peer<'a>> {
        let limits = Limits { cpus: Some(cpus::format(&setting.peer_cpus)), ..Limits::default() };
        let mut ground = Ground::prepare(&setting.ledger, &setting.next_name(), &limits)?;
        ground.network = Some(lab.peer());
        let bench = Bind { source: setting.executable.clone(), target: PathBuf::from(BENCH), read_only: true };
        let argv = [BENCH, "agent", "--scratch", "/tmp"].map(str::to_owned).to_vec();
        let mut command = ground.command(netlab::peer_spec(argv, setting.tree.path.clone(), vec![bench]))?;
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let (agent, _, child) = greet_child(child.context("starting the peer's agent")?).await?;
        Ok(Peer { agent, child, serving: false, ground })
    }

    /// Start a server and wait until it listens. It must be ended by [`Peer::end_server`], whatever happens.
    pub async fn start_server(&mut self, server: &Server) -> Result<()> {
        self.execute(server.job.clone()).await?;
        let pid = self.child.id().context("the peer's agent has ended")?;
        let deadline = Instant::now() + LISTEN;
        while !netlab::is_listening(pid, server.port)? {
            tokio::select! {
                biased;
                ready = self.agent.readable() => {
                    ready?;
                    let output = self.done().await?;
                    bail!("the server at the peer ended before it listened on port {}: {}", server.port, words(&output));
                }
                () = tokio::time::sleep(LOOK) => {}
            }
            if Instant::now() > deadline {
                bail!("the server at the peer does not listen on port {} after {} s", server.port, LISTEN.as_secs());
            }
        }
        Ok(())
    }

    /// Its cgroup.
    pub fn cgroup(&self) -> &Cgroup {
        &self.ground.cgroup
    }

    /// Start something that stays until the instance ends.
    pub async fn launch(&mut self, argv: Vec<String>) -> Result<()> {
        self.execute(Job { argv, ..Job::default() }).await
    }

    async fn execute(&mut self, job: Job) -> Result<()> {
        self.agent.send(&Request::Execute(job)).await?;
        self.serving = true;
        Ok(())
    }

    /// Wait for the server's end, and bring it about where it does not come by itself.
    pub async fn end_server(&mut self) -> Result<()> {
        if !self.serving {
            return Ok(());
        }
        if tokio::time::timeout(END, self.agent.readable()).await.is_err() {
            self.agent.send(&Request::Signal(nix::sys::signal::Signal::SIGKILL as i32)).await?;
        }
        let ended = tokio::time::timeout(DIE, self.done()).await;
        ended.context("the server at the peer does not die")?.map(drop)
    }

    async fn done(&mut self) -> Result<JobOutput> {
        self.serving = false;
        match self.agent.receive().await? {
            Reply::Done(output) => Ok(*output),
            Reply::Refused(why) => bail!("the peer's agent could not start the server: {why}"),
            _ => bail!("the peer's agent answered something else than the end of its server"),
        }
    }

    /// End it, with whatever it has started.
    pub async fn stop(self) -> Result<()> {
        let Peer { agent, mut child, ground, .. } = self;
        drop((agent, ground));
        child.wait().await.context("waiting for the end of the peer's agent").map(drop)
    }
}

fn words(output: &JobOutput) -> String {
    let text = [output.stderr.text(), output.stdout.text()].into_iter().find(|text| !text.trim().is_empty());
    let last = text.as_deref().and_then(|text| text.trim().lines().last()).unwrap_or("it printed nothing").to_owned();
    format!("{last} ({:?})", output.status)
}
