//! A container: made, attached to, started, looked at, and spoken with.

use std::cell::RefCell;
use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::Pin;
use std::process::ExitStatus;
use std::rc::Rc;

use anyhow::{Context, Result, ensure};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerState, DeviceMapping, HostConfig, HostConfigLogConfig, Mount, MountType,
};
use bollard::query_parameters::{
    AttachContainerOptions, CreateContainerOptions, InspectContainerOptions, StartContainerOptions,
    WaitContainerOptions,
};
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncWriteExt, DuplexStream};

use super::TARGET;
use super::engine::{Engine, EngineObject, LABEL};
use crate::conductor::agent_client::AgentClient;
use crate::conductor::instance::{GREETING, Ground, Setting};
use crate::conductor::process::Process;
use crate::environments::{BENCH, Doing, Logs, Parts, Running, Start};
use crate::host::cpus;
use crate::host::fingerprint::Fingerprint;
use crate::host::target::Checked;
use crate::ledger::Change;
use crate::netlab::{self, Route};

/// Where the agent keeps the tools' temporary files: in memory, as everywhere.
const SCRATCH: &str = "/tmp";
/// Bytes of the agent's output that wait to be read.
const BUFFER: usize = 64 << 10;
/// Bytes of standard error that are kept.
const SAID: usize = 4096;
/// Processes that work for containers: the daemon, its containerd, and a shim for each container (as the kernel shortens its name).
const HELPERS: &[&str] = &["dockerd", "containerd", "containerd-shim"];

/// Starts containers of an environment.
pub struct Contained {
    engine: Rc<Engine>,
    walls: Walls,
    target: Option<Target>,
}

/// What the engine is asked to put around it.
pub struct Walls {
    /// The engine's default filter of system calls.
    pub is_filtered: bool,
    /// Another runtime than the engine's default.
    pub runtime: Option<String>,
    /// How it reaches the peer, if it does.
    pub route: Option<Route>,
}

impl Walls {
    /// In Docker's words.
    fn network(&self) -> &'static str {
        match self.route {
            Some(Route::Direct) => "host",
            Some(_) => "bridge",
            None => "none",
        }
    }

    /// What is set in every network namespace of a lab; the host's was set with the lab.
    fn sysctls(&self) -> Option<HashMap<String, String>> {
        let is_own = self.network() == "bridge";
        is_own.then(|| netlab::sysctls().map(|(name, value)| (name.replace('/', "."), value.to_owned())).into())
    }
}

/// What is handed in.
struct Target {
    /// Where the engine sees it.
    path: String,
    is_device: bool,
}

impl Contained {
    pub fn new(engine: Rc<Engine>, walls: Walls, target: Option<&Checked>) -> Result<Contained> {
        let target = target.map(|checked| Target::of(checked, &engine)).transpose()?;
        Ok(Contained { engine, walls, target })
    }

    /// What holds it, for the sameness table.
    pub fn isolation(&self) -> String {
        let info = &self.engine.info;
        let or_unknown = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        let has_apparmor = info.security_options.iter().flatten().any(|option| option.starts_with("name=apparmor"));
        format!(
            "{}; runtime {}; {}; {}; writable root on {}; Docker's default namespaces and capabilities; network {}; log driver none; \
             cgroup driver cgroupfs",
            self.engine.text(),
            self.walls.runtime.clone().unwrap_or_else(|| or_unknown(&info.default_runtime)),
            if self.walls.is_filtered { "the engine's default seccomp profile" } else { "no seccomp filter" },
            if has_apparmor { "AppArmor profile docker-default" } else { "no AppArmor" },
            or_unknown(&info.driver),
            self.walls.network(),
        )
    }

    /// What the engine is told to make.
    fn body(&self, setting: &Setting, name: &str) -> ContainerCreateBody {
        let some = |text: &str| Some(text.to_owned());
        let is_device = |target: &&Target| target.is_device;
        let device = self.target.as_ref().filter(is_device).map(|target| DeviceMapping {
            path_on_host: Some(target.path.clone()),
            path_in_container: some(TARGET),
            cgroup_permissions: some("rwm"),
        });
        let bind = |source: String, target: &str, read_only| Mount {
            typ: Some(MountType::BIND),
            source: Some(source),
            target: some(target),
            read_only: Some(read_only),
            ..Mount::default()
        };
        let file = self
            .target
            .as_ref()
            .filter(|target| !is_device(target))
            .map(|target| bind(target.path.clone(), TARGET, false));
        let bench = bind(setting.executable.display().to_string(), BENCH, true);
        let host_config = HostConfig {
            cgroup_parent: Some(format!("/{name}")),
            cpuset_cpus: Some(cpus::format(&setting.cpus)),
            memory: Some(setting.memory_bytes as i64),
            // Swap is not limited, as in no other environment.
            memory_swap: Some(-1),
            network_mode: some(self.walls.network()),
            sysctls: self.walls.sysctls(),
            // What the agent says is not written to a disk.
            log_config: Some(HostConfigLogConfig { typ: some("none"), config: None }),
            mounts: Some([Some(bench), file].into_iter().flatten().collect()),
            devices: device.map(|device| vec![device]),
            tmpfs: Some(HashMap::from([(SCRATCH.to_owned(), String::new())])),
            security_opt: (!self.walls.is_filtered).then(|| vec!["seccomp=unconfined".to_owned()]),
            runtime: self.walls.runtime.clone(),
            ..HostConfig::default()
        };
        ContainerCreateBody {
            image: Some(self.engine.image.clone()),
            cmd: Some([BENCH, "agent", "--scratch", SCRATCH].map(str::to_owned).to_vec()),
            hostname: some("container"),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            tty: Some(false),
            labels: Some(HashMap::from([(LABEL.to_owned(), setting.ledger.name().to_owned())])),
            host_config: Some(host_config),
            ..ContainerCreateBody::default()
        }
    }

    /// Make one, attach to it, start it, see that its limits hold, and wait for its agent.
    async fn begin(&self, setting: &Setting, ground: &Ground<'_>) -> Result<Parts> {
        let (api, name) = (&self.engine.api, ground.name());
        let change = setting.ledger.record(Change::Engine {
            socket: self.engine.socket.clone(),
            object: EngineObject::Container,
            name: name.to_owned(),
            run: setting.ledger.name().to_owned(),
            goes_along: self.engine.own.is_some(),
        })?;
        ground.undo_first(change);
        let options = CreateContainerOptions { name: Some(name.to_owned()), ..CreateContainerOptions::default() };
        let made = api.create_container(Some(options), self.body(setting, name)).await;
        let id = made.context("making a container with Docker")?.id;
        let attached = api.attach_container(&id, Some(streams())).await.context("attaching to the container")?;
        api.start_container(&id, None::<StartContainerOptions>).await.context("starting the container with Docker")?;
        let state = state(api, &id).await?;
        let pid = state.pid.and_then(|pid| u32::try_from(pid).ok()).filter(|&pid| pid > 0);
        let pid = pid.with_context(|| format!("the container ended as soon as it was started: {}", said_of(&state)))?;
        ground.cgroup.check_below(&id, pid).context("looking for the container's limits")?;
        let (output, said) = separate(attached.output);
        let child = Process::of_others(pid, end(api.clone(), id.clone()));
        let running = Box::new(Started { api: api.clone(), id, said });
        match AgentClient::greet(output, attached.input, GREETING).await {
            Ok((agent, greeting)) => Ok(Parts { agent, greeting, child, running }),
            Err(e) => Err(running.explain(e).await),
        }
    }
}

impl Target {
    /// A target of a folder where others can write is mounted for bench and its children alone: the machine's engine is none.
    fn of(checked: &Checked, engine: &Engine) -> Result<Target> {
        let path = match &engine.own {
            Some(own) => own.target.as_deref().unwrap_or(checked.path()),
            None => {
                ensure!(
                    checked.path() == Path::new(&checked.target.path),
                    "the target {} lies where others than root can write, so that bench opens it for its own processes alone, which \
                     the machine's Docker engine is not: give --target or --out in a folder of root's, or `engine=private`",
                    checked.target.path
                );
                checked.path()
            }
        };
        let path = path.to_str().with_context(|| format!("naming the target {} to Docker", path.display()))?.to_owned();
        Ok(Target { path, is_device: checked.target.is_device })
    }
}

impl Start for Contained {
    fn start<'a>(&'a self, setting: &'a Setting, ground: &'a Ground<'_>) -> Doing<'a, Parts> {
        Box::pin(self.begin(setting, ground))
    }

    fn describe(&self, facts: &mut Fingerprint) {
        facts.insert("tool.docker.version".into(), self.engine.text());
    }
}

fn streams() -> AttachContainerOptions {
    AttachContainerOptions {
        stream: true,
        stdin: true,
        stdout: true,
        stderr: true,
        ..AttachContainerOptions::default()
    }
}

async fn state(api: &Docker, id: &str) -> Result<ContainerState> {
    let found = api.inspect_container(id, None::<InspectContainerOptions>).await.context("looking at the container")?;
    found.state.context("the engine does not say whether the container runs")
}

/// How a container ended, in the engine's words.
fn said_of(state: &ContainerState) -> String {
    let code = state.exit_code.unwrap_or_default();
    let killed = if state.oom_killed == Some(true) { ", killed because its memory limit was met" } else { "" };
    let error = state.error.as_deref().filter(|error| !error.is_empty()).map(|error| format!(": {error}"));
    format!("exit code {code}{killed}{}", error.unwrap_or_default())
}

/// What comes out of a container.
type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>;

/// What was said first on standard error.
type Said = Rc<RefCell<Vec<u8>>>;

/// The two streams that Docker sends as one: standard output to be read, of standard error the beginning.
fn separate(mut both: Output) -> (DuplexStream, Said) {
    let (reader, mut writer) = tokio::io::duplex(BUFFER);
    let said = Said::default();
    let keep = Rc::clone(&said);
    tokio::task::spawn_local(async move {
        while let Some(Ok(piece)) = both.next().await {
            match piece {
                LogOutput::StdOut { message } if writer.write_all(&message).await.is_err() => break,
                LogOutput::StdErr { message } => {
                    let room = SAID.saturating_sub(keep.borrow().len()).min(message.len());
                    keep.borrow_mut().extend_from_slice(&message[..room]);
                }
                _ => {}
            }
        }
    });
    (reader, said)
}

/// How a container ends, when it does.
async fn end(api: Docker, id: String) -> std::io::Result<ExitStatus> {
    let mut told = std::pin::pin!(api.wait_container(&id, None::<WaitContainerOptions>));
    let code = match told.next().await {
        Some(Ok(ended)) => ended.status_code,
        Some(Err(Error::DockerContainerWaitError { code, .. })) => code,
        Some(Err(e)) => return Err(std::io::Error::other(format!("the Docker engine went away: {e}"))),
        None => return Err(std::io::Error::other("the Docker engine went away")),
    };
    Ok(ExitStatus::from_raw((code as i32 & 0xff) << 8))
}

/// A container that runs.
struct Started {
    api: Docker,
    id: String,
    said: Said,
}

impl Started {
    /// Add what it said, and how it ended, to why it did not greet.
    async fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let error = match state(&self.api, &self.id).await {
            Ok(state) if state.running != Some(true) => {
                error.context(format!("the container ended ({})", said_of(&state)))
            }
            _ => error,
        };
        self.with_words(error)
    }

    fn with_words(&self, error: anyhow::Error) -> anyhow::Error {
        let said = super::one_line(&self.said.borrow());
        if said.is_empty() { error } else { error.context(said) }
    }
}

impl Running for Started {
    fn helpers(&self) -> &'static [&'static str] {
        HELPERS
    }

    /// What the engine says of the container.
    fn logs(&mut self) -> Doing<'_, Logs> {
        Box::pin(async move {
            let mut logs = Logs::default();
            // An engine that is gone says nothing; why is said elsewhere.
            if let Ok(found) = self.api.inspect_container(&self.id, None::<InspectContainerOptions>).await {
                logs.texts.push(("container.json", serde_json::to_vec_pretty(&found)?));
            }
            Ok(logs)
        })
    }

    fn diagnose(&self, error: anyhow::Error, ended: ExitStatus) -> anyhow::Error {
        self.with_words(error.context(format!("the container ended ({ended})")))
    }
}
