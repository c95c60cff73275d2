//! An engine of the run's own: `dockerd`, with a `containerd` that it starts for itself.
//!
//! It lives in a cgroup of the ledger, and in a mount namespace and a network namespace that go with it: whatever it mounts, and whatever
//! it would set in the machine's network, is nobody else's. Its `/run` is a folder of ours, so that it finds no other engine's
//! `containerd` there, and leaves no socket of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bench_container::{Bind, Cgroup, Limits, Namespace, Spec, Work};
use tokio::process::{Child, Command};

use crate::conductor::instance::Setting;
use crate::host::packages;
use crate::ledger::Change;
use crate::netlab::Route;
use crate::paths;

/// What has to be installed.
pub const PROGRAMS: [&str; 4] = ["dockerd", "containerd", "containerd-shim-runc-v2", "runc"];
/// How long it may take until it answers.
const START: Duration = Duration::from_secs(60);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of its log that are shown when it does not come up.
const LAST_WORDS: usize = 2000;
/// The folder that its own stands over.
const RUN: &str = "/run";
/// Where it finds its programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A running engine of ours.
pub struct Private {
    /// What it consists of.
    pub programs: Vec<PathBuf>,
    /// Where it sees the target, if not at the host's path.
    pub target: Option<PathBuf>,
    /// Its network namespace.
    pub network: PathBuf,
    /// Its first process. It ends with its cgroup, by the ledger.
    _first: Child,
}

/// The programs of an engine.
pub fn programs() -> Result<Vec<PathBuf>> {
    let find = |name: &'static str| packages::find(name).ok_or(name);
    PROGRAMS.into_iter().map(find).collect::<Result<_, _>>().map_err(|name| {
        anyhow::anyhow!(
            "no Docker engine answers, and none can be started, since `{name}` is missing: start the machine's, or install the \
             package docker.io (Debian, Ubuntu)"
        )
    })
}

/// Its folders.
struct Folders {
    /// On a disk: images and containers.
    data: PathBuf,
    /// In memory: what it has for its `/run`.
    run: PathBuf,
    /// What it says.
    log: PathBuf,
}

/// Start one and wait until it answers; its socket. The ledger ends it, and all that it has.
pub async fn start(route: Option<Route>, setting: &Setting) -> Result<(PathBuf, Private)> {
    let programs = programs()?;
    let name = setting.next_name();
    let folders = make_folders(setting, &name)?;
    let planned = Cgroup::plan(&format!("bench-{name}")).context("finding a place for the Docker engine's cgroup")?;
    setting.ledger.record(Change::Cgroup { paths: planned.paths() })?;
    let cgroup = planned.create(&Limits::default()).context("creating the Docker engine's cgroup")?;
    let (target, kept) = target(setting, &folders)?;
    let mut spec = Spec {
        argv: arguments(&programs[0], &folders.data, route == Some(Route::Engine)),
        env: vec![("PATH".to_owned(), search_path())],
        namespaces: [Namespace::Net].into(),
        work: Some(Work { source: folders.run.clone(), target: PathBuf::from(RUN), kept, files: Vec::new() }),
        ..Spec::default()
    };
    spec.join(&cgroup);
    let mut first = spawn(&spec, &folders.log)?;
    let socket = folders.run.join("docker.sock");
    wait(&mut first, &socket, &folders.log).await?;
    let network = network(&folders.run.join("docker.pid"))?;
    Ok((socket, Private { programs, target, network, _first: first }))
}

/// The network namespace of the engine whose process id stands in this file: never the machine's.
fn network(pid_file: &Path) -> Result<PathBuf> {
    let reading = || format!("reading {}", pid_file.display());
    let pid: u32 = fs::read_to_string(pid_file).with_context(reading)?.trim().parse().with_context(reading)?;
    let path = PathBuf::from(format!("/proc/{pid}/ns/net"));
    let id = |path: &Path| fs::read_link(path).with_context(|| format!("reading {}", path.display()));
    ensure!(
        id(&path)? != id(Path::new("/proc/self/ns/net"))?,
        "the Docker engine that bench started is in the machine's own network namespace: nothing is done there"
    );
    Ok(path)
}

/// Made before its cgroup, so that they are removed after its processes were killed.
fn make_folders(setting: &Setting, name: &str) -> Result<Folders> {
    let data = paths::state_dir()?.join(format!("engine-{name}"));
    setting.ledger.create_folder(&data)?;
    let memory = paths::volatile_dir(name)?;
    setting.ledger.create_folder(&memory)?;
    let run = memory.join("run");
    fs::create_dir(&run).with_context(|| format!("creating {}", run.display()))?;
    let file = run.join("daemon.json");
    // The machine's own configuration is for the machine's own engine.
    fs::write(&file, "{}\n").with_context(|| format!("writing {}", file.display()))?;
    Ok(Folders { data, run, log: memory.join("dockerd.log") })
}

/// Where it sees the target, and what has to be bound for that, when its own `/run` covers the place.
fn target(setting: &Setting, folders: &Folders) -> Result<(Option<PathBuf>, Vec<Bind>)> {
    let covered = setting.target.as_ref().map(|checked| checked.path()).filter(|path| path.starts_with(RUN));
    let Some(path) = covered else { return Ok((None, Vec::new())) };
    let seen_at = folders.data.join("target");
    File::create(&seen_at).with_context(|| format!("creating {}", seen_at.display()))?;
    let kept = Bind { source: path.to_path_buf(), target: seen_at.clone(), read_only: false };
    Ok((Some(seen_at), vec![kept]))
}

/// Docker's defaults, but for what would reach beyond its folders and namespaces. Where it connects no containers it has no bridge
/// and no rules, which would only take it longer to start.
fn arguments(dockerd: &Path, data: &Path, connects: bool) -> Vec<String> {
    let mut all =
        vec![dockerd.display().to_string(), "--data-root".to_owned(), data.join("root").display().to_string()];
    let fixed = [
        "--config-file=/run/daemon.json",
        "--exec-root=/run/docker",
        "--pidfile=/run/docker.pid",
        "--host=unix:///run/docker.sock",
        "--group=root",
        "--exec-opt=native.cgroupdriver=cgroupfs",
        "--log-driver=none",
        "--log-level=warn",
    ];
    all.extend(fixed.map(str::to_owned));
    if !connects {
        all.extend(["--bridge=none", "--iptables=false", "--ip-forward=false"].map(str::to_owned));
    }
    all
}

fn search_path() -> String {
    match std::env::var("PATH") {
        Ok(own) if !own.is_empty() => format!("{own}:{PATH}"),
        _ => PATH.to_owned(),
    }
}

fn spawn(spec: &Spec, log: &Path) -> Result<Child> {
    use std::os::unix::process::CommandExt;
    let opening = || format!("creating {}", log.display());
    let out = File::create(log).with_context(opening)?;
    let err = out.try_clone().with_context(opening)?;
    let mut command = bench_container::command(spec).context("preparing the Docker engine")?;
    // A Ctrl-C on the terminal is for us.
    command.process_group(0).stdin(Stdio::null()).stdout(out).stderr(err);
    Command::from(command).spawn().context("starting the Docker engine")
}

async fn wait(first: &mut Child, socket: &Path, log: &Path) -> Result<()> {
    let deadline = Instant::now() + START;
    while std::os::unix::net::UnixStream::connect(socket).is_err() {
        if let Some(status) = first.try_wait().context("looking for the Docker engine")? {
            bail!("the Docker engine that bench started ended ({status}): {}", last_words(log));
        }
        if Instant::now() > deadline {
            bail!(
                "the Docker engine that bench started does not answer after {} s: {}",
                START.as_secs(),
                last_words(log)
            );
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn last_words(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let tail = &text[text.len().saturating_sub(LAST_WORDS)..];
    let said = super::one_line(tail);
    if said.is_empty() { "it printed nothing".to_owned() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_touches_neither_the_machines_network_nor_another_engine() {
        let all = arguments(Path::new("/usr/sbin/dockerd"), Path::new("/var/lib/bench/engine-1"), false);
        for needed in ["--bridge=none", "--iptables=false", "--ip-forward=false", "--config-file=/run/daemon.json"] {
            assert!(all.iter().any(|argument| argument == needed), "{needed}");
        }
        assert!(all.windows(2).any(|pair| pair == ["--data-root", "/var/lib/bench/engine-1/root"]));
        assert!(!all.iter().any(|argument| argument.contains("/var/run") || argument.contains("/etc/")));
    }

    #[test]
    fn what_it_said_last_is_one_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(last_words(file.path()), "it printed nothing");
        fs::write(file.path(), format!("{}\nfailed to start\nno space\n", "x".repeat(5000))).unwrap();
        let said = last_words(file.path());
        assert!(said.ends_with("failed to start | no space") && said.len() <= 2 * LAST_WORDS, "{said}");
    }
}
