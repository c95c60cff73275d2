//! An instance: one fresh start of an environment. The unit of replication.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bench_agent::{Greeting, Job, JobStatus, clock_ns};
use bench_container::{Cgroup, CgroupError, Limits, PlannedCgroup, Spec};
use bench_results::record;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use super::agent_client::AgentClient;
use super::environment::{Environment, PATH};
use super::peer::Peer;
use super::process::Process;
use super::work::{Work, WorkPlan};
use crate::caller::Hands;
use crate::environments::{Parts, Running, Shared};
use crate::host::target::Checked;
use crate::ledger::{Change, ChangeId, Ledger};
use crate::netlab::{Lab, Route, User};
use crate::{output, paths};

/// How long an agent may take to greet from a process or a container.
pub const GREETING: Duration = Duration::from_secs(10);

/// How long the first process of a broken instance may take to end.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// Bytes of last words that are read.
const SAID_BYTES: u64 = 4096;

/// What all instances of a run share.
pub struct Setting {
    /// Where every change is written down first.
    pub ledger: Ledger,
    /// CPUs of every environment.
    pub cpus: Vec<usize>,
    /// CPUs of the other end of the network.
    pub peer_cpus: Vec<usize>,
    /// Memory limit; RAM of a guest.
    pub memory_bytes: u64,
    /// The root of containers, and of guests in their image.
    pub tree: bench_vm::ToolsTree,
    /// The storage under test.
    pub target: Option<Checked>,
    /// What commands work in; absent where none is executed.
    pub work: Option<WorkPlan>,
    /// `bench` itself, which is the agent everywhere, without symbols.
    pub executable: PathBuf,
    /// With whose rights the run's folder is touched.
    pub hands: Hands,
    /// Counts instances, for their names.
    pub started: Cell<u32>,
    /// True once the whole target was written.
    pub filled: Cell<bool>,
    /// What environments of a kind have in common.
    pub shared: Shared,
}

impl Setting {
    /// A name for the next instance, unlike that of any other process's, also of one that is long gone.
    pub fn next_name(&self) -> String {
        let number = self.started.get();
        self.started.set(number + 1);
        format!("{}-{number}", self.ledger.name())
    }
}

/// The ground an instance stands on: its cgroup and its folder in memory. Dropping it kills what is in the cgroup.
pub struct Ground<'a> {
    ledger: &'a Ledger,
    changes: RefCell<Vec<ChangeId>>,
    /// Its cgroup, which every process of it is in.
    pub cgroup: Cgroup,
    /// Scratch and sockets, only for root.
    pub folder: PathBuf,
    /// The network namespace that its processes start in, where it is not the machine's.
    pub network: Option<PathBuf>,
    /// What commands work in. It is undone when all processes have been killed.
    pub work: Option<Work<'a>>,
}

/// Finds the place of a group of a name.
pub type PlanGroup = fn(&str) -> Result<PlannedCgroup, CgroupError>;

impl<'a> Ground<'a> {
    /// Make cgroup and folder, each written down before it is made.
    pub fn prepare(ledger: &'a Ledger, name: &str, limits: &Limits) -> Result<Ground<'a>> {
        Ground::prepare_at(Cgroup::plan, ledger, name, limits)
    }

    /// The same with the cgroup at another place.
    pub fn prepare_at(plan: PlanGroup, ledger: &'a Ledger, name: &str, limits: &Limits) -> Result<Ground<'a>> {
        let name = &format!("bench-{name}");
        let folder = paths::volatile_dir(name.trim_start_matches("bench-"))?;
        let planned = plan(name).with_context(|| format!("finding a place for the cgroup {name}"))?;
        let group = ledger.record(Change::Cgroup { paths: planned.paths() })?;
        let made = planned.create(limits).with_context(|| format!("creating the cgroup {name}"));
        let made = made.and_then(|cgroup| Ok((cgroup, ledger.create_folder(&folder)?)));
        match made {
            Ok((cgroup, id)) => {
                let changes = RefCell::new(vec![group, id]);
                Ok(Ground { ledger, changes, cgroup, folder, network: None, work: None })
            }
            Err(e) => {
                ledger.undo(group)?;
                Err(e)
            }
        }
    }

    /// Undo this change as well when it is dropped, before the processes in the cgroup are killed.
    pub fn undo_first(&self, change: ChangeId) {
        self.changes.borrow_mut().push(change);
    }

    /// The name of its cgroup.
    pub fn name(&self) -> &str {
        let path = self.cgroup.paths().first();
        path.and_then(|path| path.file_name()).and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The command of a spec, in this cgroup and in a process group of its own: a Ctrl-C on the terminal is for us.
    pub fn command(&self, spec: Spec) -> Result<Command> {
        self.command_in(spec, self.cgroup.paths())
    }

    /// The same in other groups, which lie below this one where they are not it.
    pub fn command_in(&self, mut spec: Spec, groups: &[PathBuf]) -> Result<Command> {
        use std::os::unix::process::CommandExt;
        spec.join(&self.cgroup);
        spec.cgroup = groups.to_vec();
        spec.network = self.network.clone();
        let mut command = bench_container::command(&spec).context("preparing the first process")?;
        command.process_group(0);
        Ok(Command::from(command))
    }
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        for id in self.changes.take().into_iter().rev() {
            if let Err(e) = self.ledger.undo(id) {
                output::tell(&format!("bench: {e:#}"));
            }
        }
    }
}

/// The network of an instance.
pub struct Network<'a> {
    /// The other end.
    pub peer: Peer<'a>,
    /// Namespaces and links.
    pub lab: Lab,
}

/// A started environment with its agent.
pub struct Instance<'a> {
    /// The conversation with the agent.
    pub agent: AgentClient,
    /// What the agent said first.
    pub greeting: Greeting,
    /// Facts for the record.
    pub facts: record::Instance,
    /// What depends on its kind.
    pub running: Box<dyn Running>,
    /// The network and the other end of it, where it has one.
    pub network: Option<Network<'a>>,
    /// First process on the host.
    child: Process,
    /// Dropped last: it kills what is left.
    pub ground: Ground<'a>,
}

impl<'a> Instance<'a> {
    /// Start an environment afresh.
    pub async fn start(environment: &Environment, setting: &'a Setting) -> Result<Instance<'a>> {
        let name = setting.next_name();
        // Before its group, so that it is undone after the group's processes were killed.
        let is_disk = environment.prepared.work_disk.is_some();
        let work = setting.work.as_ref().map(|plan| plan.make(&setting.ledger, &name, is_disk));
        let work = work.transpose().with_context(|| format!("making the work folder of `{}`", environment.name))?;
        let prepared = &environment.prepared;
        let mut ground = Ground::prepare_at(prepared.plan_group, &setting.ledger, &name, &prepared.limits)?;
        ground.work = work;
        let mut network = match environment.route {
            Some(route) => {
                let lab = Lab::make(route, prepared.user, prepared.host_network.as_deref())?;
                ground.network = Some(lab.work());
                Some(Network { peer: Peer::start(setting, &lab).await?, lab })
            }
            None => None,
        };
        let began = clock_ns();
        let parts = environment.prepared.start.start(setting, &ground).await;
        let parts = parts.with_context(|| format!("starting an instance of `{}`", environment.name))?;
        let ready_ns = clock_ns() - began;
        if let (Some(network), Some(Route::Engine), Some(pid)) = (&mut network, environment.route, parts.child.id()) {
            network.lab.find_inside(pid)?;
        }
        let mut instance = Instance {
            facts: facts(&parts, &ground, ready_ns)?,
            agent: parts.agent,
            greeting: parts.greeting,
            running: parts.running,
            network,
            child: parts.child,
            ground,
        };
        if environment.prepared.user == User::Guest {
            instance.take_place_in_network().await?;
        }
        instance.pause().await?;
        Ok(instance)
    }

    /// A guest has a kernel of its own, and sets up its end of the network itself.
    async fn take_place_in_network(&mut self) -> Result<()> {
        let Some(network) = &self.network else { return Ok(()) };
        let job = Job {
            argv: ["sh", "-c", &network.lab.guest_script()].map(str::to_owned).to_vec(),
            env: vec![("PATH".to_owned(), PATH.to_owned())],
            deadline_ns: 20_000_000_000,
            ..Job::default()
        };
        let output = self.agent.execute(&job).await.context("setting up the guest's network")?;
        ensure!(
            output.status == JobStatus::Exited(0),
            "setting up the guest's network: {}",
            output.stderr.text().trim().replace('\n', " | ")
        );
        Ok(())
    }

    /// Let it wait without costing anything.
    pub async fn pause(&mut self) -> Result<()> {
        self.running.pause().await
    }

    /// Let it go on.
    pub async fn resume(&mut self) -> Result<()> {
        self.running.resume().await
    }

    /// Why the conversation with it broke, where that can be told.
    pub async fn explain(&mut self, error: anyhow::Error) -> anyhow::Error {
        match tokio::time::timeout(LAST_WORDS, self.child.wait()).await {
            Ok(Ok(ended)) => self.running.diagnose(error, ended),
            Ok(Err(why)) => error.context(why),
            Err(_) => error,
        }
    }

    /// Resident memory of the guest's machine now, guest RAM apart; only for guests.
    pub fn resident(&self) -> Option<bench_vm::Resident> {
        self.running.resident(self.child.id()?)
    }

    /// Keep what tells how it was really run.
    pub async fn keep_evidence(&mut self, folder: &Path, hands: Hands) -> Result<()> {
        let logs = self.running.logs().await?;
        for (name, text) in logs.texts {
            hands.act(|| keep(&folder.join(name), &text[..]))?;
        }
        for from in logs.files {
            // Only root reads it there.
            let open = File::open(&from).with_context(|| format!("opening {}", from.display()))?;
            hands.act(|| keep(&folder.join(from.file_name().unwrap_or_default()), open))?;
        }
        Ok(())
    }

    /// End it: everything in its cgroup is killed.
    pub async fn stop(self) -> Result<()> {
        let Instance { ground, mut child, agent, mut running, network, .. } = self;
        drop(agent);
        running.end(&ground, &mut child).await?;
        drop(running);
        drop(ground);
        child.end().await.context("waiting for the end of an instance")?;
        match network {
            Some(network) => network.peer.stop().await,
            None => Ok(()),
        }
    }
}

/// Write what can be read to a new file.
fn keep(path: &Path, mut from: impl Read) -> Result<()> {
    let kept = File::create_new(path).and_then(|mut file| std::io::copy(&mut from, &mut file));
    kept.map(drop).with_context(|| format!("writing {}", path.display()))
}

fn facts(parts: &Parts, ground: &Ground<'_>, ready_ns: u64) -> Result<record::Instance> {
    let usage = ground.cgroup.usage().context("reading what the instance used")?;
    let resident = parts.child.id().and_then(|pid| parts.running.resident(pid));
    let guest_memory = resident.as_ref().map(|resident| resident.guest_ram_bytes);
    Ok(record::Instance {
        start_order: None,
        start_to_ready_ns: Some(ready_ns),
        memory_at_ready_bytes: Some(usage.memory_bytes.saturating_sub(guest_memory.unwrap_or(0))),
        vmm_memory_at_ready_bytes: resident.map(|resident| resident.rest_bytes),
        guest_memory_at_ready_bytes: guest_memory,
        kernel_release: Some(parts.greeting.kernel_release.as_str().into()),
        clock_source: parts.greeting.clock_source.as_deref().map(Into::into),
        clock_read_ns: Some(parts.greeting.clock_read_ns),
    })
}

/// Wait for the greeting of an agent that is a child with pipes; when it does not come, say what the child said.
pub async fn greet_child(mut child: Child) -> Result<(AgentClient, Greeting, Child)> {
    match Pipes::of(&mut child)?.greet().await {
        Ok((agent, greeting)) => Ok((agent, greeting, child)),
        Err(e) => {
            child.start_kill().ok();
            Err(e)
        }
    }
}

/// The standard streams of an agent.
pub struct Pipes {
    input: ChildStdout,
    output: ChildStdin,
    stderr: ChildStderr,
}

impl Pipes {
    /// Those of a child, which need not become the agent itself.
    pub fn of(child: &mut Child) -> Result<Pipes> {
        Ok(Pipes {
            output: child.stdin.take().context("the agent has no standard input")?,
            input: child.stdout.take().context("the agent has no standard output")?,
            stderr: child.stderr.take().context("the agent has no standard error")?,
        })
    }

    /// Wait for the greeting; when it does not come, say what came on standard error.
    pub async fn greet(self) -> Result<(AgentClient, Greeting)> {
        let Pipes { input, output, mut stderr } = self;
        match AgentClient::greet(input, output, GREETING).await {
            Ok(greeted) => {
                // Kept open and empty: an agent that complains must not be stopped by a full pipe.
                tokio::task::spawn_local(async move {
                    let mut sink = [0; 1024];
                    while matches!(stderr.read(&mut sink).await, Ok(1..)) {}
                });
                Ok(greeted)
            }
            Err(e) => {
                let said = last_words(stderr).await;
                Err(if said.is_empty() { e } else { e.context(said) })
            }
        }
    }

    /// What comes on standard error, when nothing else will.
    pub async fn last_words(self) -> String {
        drop((self.input, self.output));
        last_words(self.stderr).await
    }
}

async fn last_words(stderr: ChildStderr) -> String {
    let mut said = Vec::new();
    // Whoever else holds it may never let go.
    drop(tokio::time::timeout(LAST_WORDS, stderr.take(SAID_BYTES).read_to_end(&mut said)).await);
    String::from_utf8_lossy(&said).trim().to_owned()
}
